/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * iohook.h - stands between the store and its pf_io_* calls (linker's --wrap),
 * to record them or to fail one of them.
 */
#ifndef PF_TESTS_IOHOOK_H
#define PF_TESTS_IOHOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum io_op {
	IO_OPEN, IO_MKDIR, IO_READ, IO_WRITE, IO_FDATASYNC, IO_WRITE_BACK, IO_FLUSH_RANGE, IO_FSYNC, IO_TRUNCATE,
	IO_ALLOCATE, IO_RENAME, IO_UNLINK, IO_RING_OPEN, IO_OP_COUNT
};
extern const char *const io_op_names[IO_OP_COUNT];

/** A call about to happen, or that happened. A write-and-flush through the ring shows as IO_WRITE, then IO_FDATASYNC.
 */
struct io_call {
	enum io_op op;
	int fd;              /* file, or the directory of @path */
	const char *path;
	const char *path_to; /* of a rename */
	int flags;
	uint64_t offset;
	size_t size;
	ssize_t result;      /* in after() */
	uint64_t token;      /* before() may leave a number for after() */
};

/** Makes something of a file, or of a directory, durable. */
static inline bool io_call_flushes(const struct io_call *call)
{
	return call->op == IO_FDATASYNC || call->op == IO_FLUSH_RANGE || call->op == IO_FSYNC;
}

#define IO_PASS 0
/* before() of a write may ask for a short one: half of it is written */
#define IO_SHORT 1

/**
 * What to do around each call: @before returns IO_PASS, IO_SHORT or the -errno to fail with (the call is not made
 * then, and after() not called); @after looks at the result. Any thread, so they lock for themselves.
 */
struct io_hooks {
	int (*before)(struct io_call *call);
	void (*after)(struct io_call *call);
};

/** Installs @hooks (NULL: none). Not while the store runs. */
void io_hook_set(const struct io_hooks *hooks);

#endif
