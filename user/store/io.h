/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * io.h - every system call of the durable path, and nothing else.
 *
 * Each returns a count or 0, or -errno. They are called from other files only,
 * so a test binary can replace any of them with the linker's --wrap and fail
 * the n-th call.
 */
#ifndef PF_IO_H
#define PF_IO_H

#include "base/ring.h"

#include <stdint.h>
#include <stddef.h>
#include <sys/types.h>

struct pf_io_ring;

/** File descriptor (close-on-exec). A created file gets exactly @mode, whatever the umask. */
int pf_io_open(int dirfd, const char *path, int flags, mode_t mode);
/** A directory of exactly @mode. */
int pf_io_mkdir(int dirfd, const char *path, mode_t mode);
/** Bytes read, fewer at end of file. EINTR is retried. */
ssize_t pf_io_pread(int fd, void *ret_data, size_t size, uint64_t offset);
/** Bytes written: fewer than @size means that the rest did not fit. */
ssize_t pf_io_pwrite(int fd, const void *data, size_t size, uint64_t offset);
int pf_io_fdatasync(int fd);
/**
 * Begins to write what was changed of @size bytes at @offset, which are mapped at @mapped, shared and writable. In
 * short steps: who waits for a processor gets it in between. It makes nothing durable, but a failure is one of a flush.
 */
int pf_io_write_back(int fd, uint64_t offset, void *mapped, size_t size);
/** As pf_io_fdatasync(), of these bytes alone; in one call, so they had better be on their way already. */
int pf_io_flush_range(int fd, uint64_t offset, void *mapped, size_t size);
int pf_io_fsync(int fd);
int pf_io_ftruncate(int fd, uint64_t size);
int pf_io_fallocate(int fd, int mode, uint64_t offset, uint64_t size);
int pf_io_rename(int dirfd, const char *from, const char *to);
int pf_io_unlink(int dirfd, const char *path);

/** An io_uring, as pf_ring_open(). -ENOSYS, -EPERM: the host has or allows none. */
int pf_io_ring_open(const struct pf_ring_options *wish, int direct_fd, char *ret_refused, size_t size,
		    struct pf_io_ring **ret_ring);
void pf_io_ring_close(struct pf_io_ring *ring);
/** How it works, in words. @buf, of @size bytes. */
const char *pf_io_ring_describe(const struct pf_io_ring *ring, char *buf, size_t size);
/**
 * Whether who calls for the next writes had better wait for write and flush itself than have a worker of the kernel do
 * the flush. A wish: a ring that polls does not grant it. One thread at a time.
 */
void pf_io_ring_in_person(struct pf_io_ring *ring, bool in_person);
/**
 * Writes through: when it returns, these bytes (no others) are durable. Bytes
 * written (a short write is not durable) or -errno. One thread at a time.
 */
ssize_t pf_io_ring_write_flush(struct pf_io_ring *ring, int fd, const void *data, size_t size, uint64_t offset);

#endif
