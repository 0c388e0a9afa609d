/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pinfold/read.h - reading: zero-copy pointers, guarded reads, batches, scans.
 *
 * Every thread may read, beside any writer, without a lock.
 */
#ifndef PINFOLD_READ_H
#define PINFOLD_READ_H

#include <pinfold/types.h>
#include <setjmp.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Enters an epoch: extents dropped from now on stay readable until
 * pinfold_read_end(). Nests; same thread ends it. Costs a few nanoseconds; do
 * not sleep for long inside, as reclamation waits.
 */
PINFOLD_API void pinfold_read_begin(struct pinfold *pf);
PINFOLD_API void pinfold_read_end(struct pinfold *pf);

/**
 * The address of @extent's first byte. Valid until pinfold_read_end(); mapped
 * read-only; shows durable data. -ESTALE if it was dropped.
 */
PINFOLD_API int pinfold_extent_ptr(struct pinfold *pf, const struct pinfold_extent *extent, const void **ret_ptr);

/**
 * Copies @size bytes out, including commits not yet durable. Up to 64 KiB are as
 * of one moment: no half-applied transaction. More is copied in parts of 64 KiB
 * from @offset on, each as of its own moment: a transaction committed meanwhile
 * may be in some of them and not in others. -EIO instead of SIGBUS; -ESTALE;
 * -ERANGE past the end. Any thread.
 */
PINFOLD_API int pinfold_read_at(struct pinfold *pf, const struct pinfold_extent *extent, uint64_t offset,
				void *ret_data, size_t size);

/** Typed pinfold_read_at(): pinfold_read_value(pf, &x, off, &my_struct). */
#define pinfold_read_value(pf, extent, offset, ret_value) \
	pinfold_read_at((pf), (extent), (offset), (ret_value), sizeof(*(ret_value)))

/**
 * A guarded section turns SIGBUS (bad block, truncated file) on the store's
 * mapping into -EIO:
 *
 *	struct pinfold_guard guard;
 *	int r = pinfold_guard_enter(pf, &guard);
 *	if (r == 0) {
 *		use(ptr);                // plain loads
 *		pinfold_guard_leave(&guard);
 *	} else { ... }                   // -EIO: jumped here; -E2BIG: not entered
 *
 * As with setjmp: locals changed inside must be volatile, and no lock may be
 * taken or memory allocated inside. Nests up to 8 deep on a thread, beside the
 * guards of the library's own calls inside; a ninth is refused with -E2BIG. Left,
 * once, only if entered: not after an error. By the thread that entered it. Other
 * SIGBUSes go to the handler that was there before.
 */
struct pinfold_guard {
	sigjmp_buf env;
	struct pinfold *pf;
	void *prev;
};
PINFOLD_API int pinfold_guard_arm_(struct pinfold *pf, struct pinfold_guard *guard);
PINFOLD_API int pinfold_guard_failed_(struct pinfold_guard *guard);
#define pinfold_guard_enter(pf, guard) \
	(sigsetjmp((guard)->env, 0) ? pinfold_guard_failed_(guard) : pinfold_guard_arm_((pf), (guard)))
PINFOLD_API void pinfold_guard_leave(struct pinfold_guard *guard);

/** One read of a batch. @ret_ptr is valid until pinfold_read_end(). */
struct pinfold_read_req {
	struct pinfold_extent extent;
	uint64_t offset;
	size_t size;
	const void *ret_ptr;
	int ret_result; /* 0 or -errno of this request */
};

/**
 * Brings the ranges of @reqs into memory, all at once at the device's own
 * queue depth, and fills in their addresses. Inside an epoch. Any thread. 0, or the
 * first error (each request has its own in ret_result, and then no address):
 * -ERANGE past the extent's end; -ESTALE; -EINVAL, no such place; -EIO;
 * -ENOMEM, also of the call itself, when no request was looked at.
 */
PINFOLD_API int pinfold_read_batch(struct pinfold *pf, struct pinfold_read_req *reqs, size_t count);

/** Asks for ranges to be brought in, without waiting. Never fails the caller's work: errors are counted. */
PINFOLD_API void pinfold_prefetch(struct pinfold *pf, const struct pinfold_extent *extent, uint64_t offset,
				  uint64_t size);

/**
 * A scan: hands out blocks of @extents in order, at the device's speed, without
 * evicting hot data: what is in memory is handed out in place, what is not is
 * read past the page cache.
 */
struct pinfold_scan;
struct pinfold_scan_block {
	const void *data; /* valid until the next call or close */
	size_t size;
	size_t extent_index;
	uint64_t offset; /* in the extent */
};
/** @extents (copied) in the order given. Closed by pinfold_scan_close(). -EINVAL, -ESTALE, -ENOMEM. Any
 * thread. */
PINFOLD_API int pinfold_scan_open(struct pinfold *pf, const struct pinfold_extent *extents, size_t count,
				  struct pinfold_scan **ret_scan);
/** 1 and a block; 0 at the end; -EIO, -ESTALE: the extent was dropped meanwhile. One thread at a time. */
PINFOLD_API int pinfold_scan_next(struct pinfold_scan *scan, struct pinfold_scan_block *ret_block);
/** NULL is allowed. */
PINFOLD_API void pinfold_scan_close(struct pinfold_scan *scan);

#ifdef __cplusplus
}
#endif
#endif
