/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/io.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct pf_io_ring {
	struct io_uring uring;
};

int pf_io_open(int dirfd, const char *path, int flags, mode_t mode)
{
	int fd;

	do
		fd = openat(dirfd, path, flags | O_CLOEXEC, mode);
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return -errno;
	if ((flags & O_CREAT) && (flags & O_EXCL) && fchmod(fd, mode) != 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

int pf_io_mkdir(int dirfd, const char *path, mode_t mode)
{
	if (mkdirat(dirfd, path, mode) != 0)
		return -errno;
	return fchmodat(dirfd, path, mode, 0) == 0 ? 0 : -errno;
}

ssize_t pf_io_pread(int fd, void *ret_data, size_t size, uint64_t offset)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, (char *)ret_data + done, size - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

ssize_t pf_io_pwrite(int fd, const void *data, size_t size, uint64_t offset)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pwrite(fd, (const char *)data + done, size - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return done > 0 ? (ssize_t)done : -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int pf_io_fdatasync(int fd)
{
	return fdatasync(fd) == 0 ? 0 : -errno;
}

int pf_io_fsync(int fd)
{
	return fsync(fd) == 0 ? 0 : -errno;
}

int pf_io_ftruncate(int fd, uint64_t size)
{
	return ftruncate(fd, (off_t)size) == 0 ? 0 : -errno;
}

int pf_io_fallocate(int fd, int mode, uint64_t offset, uint64_t size)
{
	int r;

	do
		r = fallocate(fd, mode, (off_t)offset, (off_t)size);
	while (r != 0 && errno == EINTR);
	return r == 0 ? 0 : -errno;
}

int pf_io_rename(int dirfd, const char *from, const char *to)
{
	return renameat(dirfd, from, dirfd, to) == 0 ? 0 : -errno;
}

int pf_io_unlink(int dirfd, const char *path)
{
	return unlinkat(dirfd, path, 0) == 0 ? 0 : -errno;
}

int pf_io_ring_open(unsigned int depth, struct pf_io_ring **ret_ring)
{
	struct pf_io_ring *ring = calloc(1, sizeof(*ring));
	int r;

	if (!ring)
		return -ENOMEM;
	r = io_uring_queue_init(depth, &ring->uring, 0);
	if (r < 0) {
		free(ring);
		return r;
	}
	*ret_ring = ring;
	return 0;
}

void pf_io_ring_close(struct pf_io_ring *ring)
{
	if (!ring)
		return;
	io_uring_queue_exit(&ring->uring);
	free(ring);
}

ssize_t pf_io_ring_write_flush(struct pf_io_ring *ring, int fd, const void *data, size_t size, uint64_t offset)
{
	struct io_uring_sqe *write_sqe = io_uring_get_sqe(&ring->uring);
	struct io_uring_sqe *flush_sqe = io_uring_get_sqe(&ring->uring);
	int results[2] = { 0, 0 };
	int r;

	if (!write_sqe || !flush_sqe || size > INT32_MAX)
		return -EINVAL;
	io_uring_prep_write(write_sqe, fd, data, (unsigned int)size, offset);
	write_sqe->flags |= IOSQE_IO_LINK; /* a short write breaks the link: the flush ends with -ECANCELED */
	write_sqe->user_data = 0;
	io_uring_prep_fsync(flush_sqe, fd, IORING_FSYNC_DATASYNC);
	flush_sqe->user_data = 1;
	do
		r = io_uring_submit_and_wait(&ring->uring, 2);
	while (r == -EINTR);
	if (r < 0)
		return r;
	for (int seen = 0; seen < 2;) {
		struct io_uring_cqe *cqe;

		r = io_uring_wait_cqe(&ring->uring, &cqe);
		if (r == -EINTR)
			continue;
		if (r < 0)
			return r;
		results[cqe->user_data & 1] = cqe->res;
		io_uring_cqe_seen(&ring->uring, cqe);
		seen++;
	}
	if (results[0] < 0 || (size_t)results[0] < size)
		return results[0];
	return results[1] < 0 ? results[1] : results[0];
}
