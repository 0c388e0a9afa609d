/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/io.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/*
 * A step of writing back takes some tenths of a millisecond of a processor, to unmap pages and give them to the device.
 * After as much of them nobody else should have to wait any more.
 */
#define FLUSH_STEP (512u << 10)
#define FLUSH_TURN_NS 300000u
#define FLUSH_NAP_NS 20000

struct pf_io_ring {
	struct pf_ring ring;
	bool in_person;
};

int pf_io_open(int dirfd, const char *path, int flags, mode_t mode)
{
	int fd, above;

	do
		fd = openat(dirfd, path, flags | O_CLOEXEC, mode);
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return -errno;
	/* Of a program that closed its standard streams: what is printed there later must not go into the store. */
	if (fd <= STDERR_FILENO) {
		above = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
		if (above < 0)
			above = -errno;
		close(fd);
		if (above < 0)
			return above;
		fd = above;
	}
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

int pf_io_write_back(int fd, uint64_t offset, void *mapped, size_t size)
{
	static const struct timespec nap = { .tv_nsec = FLUSH_NAP_NS };
	uint64_t begin = pf_clock_ns();

	for (size_t at = 0; at < size; at += FLUSH_STEP) {
		const size_t step = size - at < FLUSH_STEP ? size - at : FLUSH_STEP;

		/* Else the kernel write-protects page by page and interrupts the other processors for each. */
		madvise((uint8_t *)mapped + at, step, MADV_DONTNEED);
		if (sync_file_range(fd, (off64_t)(offset + at), (off64_t)step, SYNC_FILE_RANGE_WRITE) != 0 &&
		    errno != ENOSYS && errno != EINVAL && errno != ESPIPE) /* then the flush does it all */
			return -errno;
		if (pf_clock_ns() - begin < FLUSH_TURN_NS)
			continue;
		nanosleep(&nap, NULL);
		begin = pf_clock_ns();
	}
	return 0;
}

int pf_io_flush_range(int fd, uint64_t offset, void *mapped, size_t size)
{
	madvise(mapped, size, MADV_DONTNEED); /* as above, of what was changed meanwhile */
	return msync(mapped, size, MS_SYNC) == 0 ? 0 : -errno;
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

int pf_io_ring_open(const struct pf_ring_options *wish, int direct_fd, char *ret_refused, size_t size,
		    struct pf_io_ring **ret_ring)
{
	struct pf_io_ring *ring = calloc(1, sizeof(*ring));
	int r;

	if (!ring)
		return -ENOMEM;
	r = pf_ring_open(wish, direct_fd, &ring->ring, ret_refused, size);
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
	pf_ring_close(&ring->ring);
	free(ring);
}

const char *pf_io_ring_describe(const struct pf_io_ring *ring, char *buf, size_t size)
{
	return pf_ring_describe(&ring->ring, buf, size);
}

void pf_io_ring_in_person(struct pf_io_ring *ring, bool in_person)
{
	ring->in_person = in_person;
}

static ssize_t write_through(int fd, const void *data, size_t size, uint64_t offset)
{
	const struct iovec part = { .iov_base = (void *)(uintptr_t)data, .iov_len = size };
	ssize_t n;

	do
		n = pwritev2(fd, &part, 1, (off_t)offset, RWF_DSYNC);
	while (n < 0 && errno == EINTR); /* then nothing was begun */
	return n < 0 ? -errno : n;
}

ssize_t pf_io_ring_write_flush(struct pf_io_ring *ring, int fd, const void *data, size_t size, uint64_t offset)
{
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	int r;

	if (ring->in_person && ring->ring.is.wait == PF_RING_INTERRUPT && !ring->ring.is.sq_polling)
		return write_through(fd, data, size, offset);
	sqe = io_uring_get_sqe(&ring->ring.uring);
	if (!sqe || size > INT32_MAX)
		return -EINVAL;
	/* one request and not a write linked to an fsync: that costs a second trip through a kernel
	 * worker, and a device that can write through (FUA) need not empty its whole cache */
	io_uring_prep_write(sqe, fd, data, (unsigned int)size, offset);
	sqe->rw_flags = RWF_DSYNC;
	r = pf_ring_wait_cqe(&ring->ring, &cqe);
	if (r == 0) {
		r = cqe->res;
		io_uring_cqe_seen(&ring->ring.uring, cqe);
	}
	return r;
}
