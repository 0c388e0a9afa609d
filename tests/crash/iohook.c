/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iohook.h"

#include "store/io.h"

#include <errno.h>

const char *const io_op_names[IO_OP_COUNT] = {
	[IO_OPEN] = "open",
	[IO_MKDIR] = "mkdir",
	[IO_READ] = "read",
	[IO_WRITE] = "write",
	[IO_FDATASYNC] = "fdatasync",
	[IO_WRITE_BACK] = "write-back of a range",
	[IO_FLUSH_RANGE] = "flush of a range",
	[IO_FSYNC] = "fsync",
	[IO_TRUNCATE] = "truncate",
	[IO_ALLOCATE] = "allocate",
	[IO_RENAME] = "rename",
	[IO_UNLINK] = "unlink",
	[IO_RING_OPEN] = "open of the ring",
};

static const struct io_hooks *installed;

void io_hook_set(const struct io_hooks *hooks)
{
	installed = hooks;
}

static int before(struct io_call *call)
{
	return installed && installed->before ? installed->before(call) : IO_PASS;
}

static ssize_t after(struct io_call *call, ssize_t result)
{
	call->result = result;
	if (installed && installed->after)
		installed->after(call);
	return result;
}

#define WRAP(type, name, ...) \
	type __real_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__)

WRAP(int, pf_io_open, int dirfd, const char *path, int flags, mode_t mode)
{
	struct io_call call = { .op = IO_OPEN, .fd = dirfd, .path = path, .flags = flags };
	int r = before(&call);

	return r < 0 ? r : (int)after(&call, __real_pf_io_open(dirfd, path, flags, mode));
}

WRAP(int, pf_io_mkdir, int dirfd, const char *path, mode_t mode)
{
	struct io_call call = { .op = IO_MKDIR, .fd = dirfd, .path = path };
	int r = before(&call);

	return r < 0 ? r : (int)after(&call, __real_pf_io_mkdir(dirfd, path, mode));
}

WRAP(ssize_t, pf_io_pread, int fd, void *ret_data, size_t size, uint64_t offset)
{
	struct io_call call = { .op = IO_READ, .fd = fd, .offset = offset, .size = size };
	int r = before(&call);

	return r < 0 ? r : after(&call, __real_pf_io_pread(fd, ret_data, size, offset));
}

WRAP(ssize_t, pf_io_pwrite, int fd, const void *data, size_t size, uint64_t offset)
{
	struct io_call call = { .op = IO_WRITE, .fd = fd, .offset = offset, .size = size };
	int r = before(&call);

	if (r < 0)
		return r;
	if (r == IO_SHORT)
		call.size = size / 2;
	return after(&call, __real_pf_io_pwrite(fd, data, call.size, offset));
}

WRAP(int, pf_io_fdatasync, int fd)
{
	struct io_call call = { .op = IO_FDATASYNC, .fd = fd };
	int r = before(&call);

	return r < 0 ? r : (int)after(&call, __real_pf_io_fdatasync(fd));
}

WRAP(int, pf_io_write_back, int fd, uint64_t offset, void *mapped, size_t size)
{
	struct io_call call = { .op = IO_WRITE_BACK, .fd = fd, .offset = offset, .size = size };
	int r = before(&call);

	return r < 0 ? r : (int)after(&call, __real_pf_io_write_back(fd, offset, mapped, size));
}

WRAP(int, pf_io_flush_range, int fd, uint64_t offset, void *mapped, size_t size)
{
	struct io_call call = { .op = IO_FLUSH_RANGE, .fd = fd, .offset = offset, .size = size };
	int r = before(&call);

	return r < 0 ? r : (int)after(&call, __real_pf_io_flush_range(fd, offset, mapped, size));
}

WRAP(int, pf_io_fsync, int fd)
{
	struct io_call call = { .op = IO_FSYNC, .fd = fd };
	int r = before(&call);

	return r < 0 ? r : (int)after(&call, __real_pf_io_fsync(fd));
}

WRAP(int, pf_io_ftruncate, int fd, uint64_t size)
{
	struct io_call call = { .op = IO_TRUNCATE, .fd = fd, .offset = size };
	int r = before(&call);

	return r < 0 ? r : (int)after(&call, __real_pf_io_ftruncate(fd, size));
}

WRAP(int, pf_io_fallocate, int fd, int mode, uint64_t offset, uint64_t size)
{
	struct io_call call = { .op = IO_ALLOCATE, .fd = fd, .flags = mode, .offset = offset, .size = size };
	int r = before(&call);

	return r < 0 ? r : (int)after(&call, __real_pf_io_fallocate(fd, mode, offset, size));
}

WRAP(int, pf_io_rename, int dirfd, const char *from, const char *to)
{
	struct io_call call = { .op = IO_RENAME, .fd = dirfd, .path = from, .path_to = to };
	int r = before(&call);

	return r < 0 ? r : (int)after(&call, __real_pf_io_rename(dirfd, from, to));
}

WRAP(int, pf_io_unlink, int dirfd, const char *path)
{
	struct io_call call = { .op = IO_UNLINK, .fd = dirfd, .path = path };
	int r = before(&call);

	return r < 0 ? r : (int)after(&call, __real_pf_io_unlink(dirfd, path));
}

WRAP(int, pf_io_ring_open, const struct pf_ring_options *wish, int direct_fd, char *ret_refused, size_t size,
     struct pf_io_ring **ret_ring)
{
	struct io_call call = { .op = IO_RING_OPEN, .fd = -1 };
	int r = before(&call);

	return r < 0 ? r : (int)after(&call, __real_pf_io_ring_open(wish, direct_fd, ret_refused, size, ret_ring));
}

/* In the two steps that the kernel does it in, so that each can be recorded and failed. */
WRAP(ssize_t, pf_io_ring_write_flush, struct pf_io_ring *ring, int fd, const void *data, size_t size, uint64_t offset)
{
	ssize_t n = __wrap_pf_io_pwrite(fd, data, size, offset);
	int r;

	if (n < 0 || (size_t)n < size)
		return n;
	r = __wrap_pf_io_fdatasync(fd);
	return r < 0 ? r : n;
}
