// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * prefetch.c - brings many small ranges in at the device's queue depth, from one thread.
 *
 * DESIGN
 *
 *   Two cursors run over the ranges. The front one starts reads (populate.c), at most
 *   a window of pieces and WINDOW_BYTES in front of the back one, which waits and
 *   maps. The windows of all callers together are the queue depth that the device is
 *   to see: what is started beyond what its ring takes waits in the block layer, and the
 *   ring is refilled later for it (two threads with 128 each got 5 % less than one with 128).
 *
 *        done │ mapped... ▲ waiting here │ in flight or complete │ not started
 *                       back                                   front
 *
 *   Reads are started through process_madvise(WILLNEED), a few dozen ranges a call, where
 *   the kernel lets us; else by posix_fadvise, one call each. Both read exactly
 *   the range. Per 4 KiB read, start to mapped, one thread (6.18, processor time): 5.2 us and
 *   6.0 us. Buffered io_uring reads cost 6 to 8 us, io_uring's FADVISE 7 to 9 us (it always goes to a
 *   worker thread), and neither maps the page; so io_uring has no part in it.
 *
 *   Each call owns its cursors; what callers share are the count of them and whether batches
 *   were refused, so any number of threads may call it without a lock.
 *
 * Invariants
 *   1. Exactly the pages of the ranges are read, none around them.
 *   2. A failed range does not keep the others from being read; the first error is returned.
 */
#include "residency/internal.h"

#include "base/error.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

#define QUEUE_DEPTH_DEFAULT 128
#define QUEUE_DEPTH_MAX 4096
/** Least window of a caller, however many there are. */
#define WINDOW_MIN 16
/** Part of the window that is refilled at a time: the device must not run dry while it is. */
#define REFILL_SHARE 4
/** Most bytes in flight per call: keeps large ranges from flooding memory before they are mapped. */
#define WINDOW_BYTES ((size_t)32 << 20)
/** Most ranges, or parts of them, per process_madvise call. */
#define BATCH 64

struct pf_prefetcher {
	uint32_t queue_depth;   /* pieces, of all callers */
	atomic_uint callers;    /* in read_and_map() */
	int self;               /* pidfd; -1: none */
	atomic_bool one_by_one; /* process_madvise was refused */
};

struct cursor {
	size_t index, at; /* range, and byte in it */
};

int pf_prefetcher_new(uint32_t queue_depth, struct pf_prefetcher **ret_prefetcher)
{
	struct pf_prefetcher *prefetcher = calloc(1, sizeof(*prefetcher));

	if (!prefetcher)
		return pf_error(-ENOMEM, "prefetcher: out of memory");
	queue_depth = queue_depth ? queue_depth : QUEUE_DEPTH_DEFAULT;
	queue_depth = queue_depth > QUEUE_DEPTH_MAX ? QUEUE_DEPTH_MAX : queue_depth;
	prefetcher->queue_depth = queue_depth;
	atomic_init(&prefetcher->callers, 0);
	prefetcher->self = (int)syscall(SYS_pidfd_open, getpid(), 0);
	atomic_init(&prefetcher->one_by_one, prefetcher->self < 0);
	*ret_prefetcher = prefetcher;
	return 0;
}

void pf_prefetcher_free(struct pf_prefetcher *prefetcher)
{
	if (!prefetcher)
		return;
	if (prefetcher->self >= 0)
		close(prefetcher->self);
	free(prefetcher);
}

/** The next part of at most @size bytes. */
static bool take_part(struct cursor *cursor, const struct pf_range *ranges, size_t count, size_t size,
		      struct pf_range *ret_part)
{
	if (cursor->index == count)
		return false;
	*ret_part = pf_range_part(&ranges[cursor->index], cursor->at, size);
	cursor->at += ret_part->size;
	if (cursor->at == ranges[cursor->index].size) {
		cursor->index++;
		cursor->at = 0;
	}
	return true;
}

/** Whether process_madvise took all of @parts. */
static bool advise(struct pf_prefetcher *prefetcher, const struct pf_range *parts, size_t count)
{
	struct iovec iov[BATCH];
	size_t bytes = 0;
	ssize_t advised;

	if (atomic_load_explicit(&prefetcher->one_by_one, memory_order_relaxed))
		return false;
	for (size_t i = 0; i < count; i++) {
		iov[i] = (struct iovec){parts[i].addr, parts[i].size};
		bytes += parts[i].size;
	}
	advised = syscall(SYS_process_madvise, prefetcher->self, iov, count, MADV_WILLNEED, 0);
	if (advised < 0 && (errno == EPERM || errno == ENOSYS || errno == EINVAL || errno == ESRCH))
		atomic_store_explicit(&prefetcher->one_by_one, true, memory_order_relaxed);
	return advised == (ssize_t)bytes;
}

/**
 * Starts reading @count ranges. What process_madvise leaves (after fork it names the parent, which may be
 * gone) is started range by range; what nothing starts, pf_populate() reads.
 */
static void start_many(struct pf_prefetcher *prefetcher, const struct pf_range *ranges, size_t count)
{
	struct cursor cursor = {0, 0};
	struct pf_range parts[BATCH];
	size_t n;

	do {
		for (n = 0; n < BATCH && take_part(&cursor, ranges, count, PF_READ_MAX, &parts[n]); n++)
			;
		if (n && !advise(prefetcher, parts, n))
			for (size_t i = 0; i < n; i++)
				pf_start_reading(&parts[i]);
	} while (n == BATCH);
}

static int check_all(const struct pf_range *ranges, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int r = pf_range_check(&ranges[i]);

		if (r)
			return r;
	}
	return 0;
}

/** This caller's share of the queue. Others come and go: asked anew at each refill. */
static size_t window_now(struct pf_prefetcher *prefetcher)
{
	unsigned callers = atomic_load_explicit(&prefetcher->callers, memory_order_relaxed);
	size_t share = prefetcher->queue_depth / (callers ? callers : 1);

	return share > WINDOW_MIN ? share : WINDOW_MIN;
}

static int read_and_map(struct pf_prefetcher *prefetcher, const struct pf_range *ranges, size_t count, int *results)
{
	struct cursor front = {0, 0}, back = {0, 0};
	size_t pieces = 0, bytes = 0; /* between the cursors */
	struct pf_range piece, batch[BATCH];
	int first = 0;

	atomic_fetch_add_explicit(&prefetcher->callers, 1, memory_order_relaxed);
	for (;;) {
		size_t window = window_now(prefetcher), refill = window / REFILL_SHARE, index;
		int r;

		refill = refill < BATCH ? refill : BATCH;
		/* always whole refills, so that the window is never emptier than by one */
		while (pieces + refill <= window && bytes < WINDOW_BYTES) {
			size_t n = 0;

			while (n < refill && bytes < WINDOW_BYTES &&
			       take_part(&front, ranges, count, PF_PIECE, &batch[n])) {
				bytes += batch[n].size;
				n++;
			}
			if (!n)
				break;
			start_many(prefetcher, batch, n);
			pieces += n;
		}
		index = back.index;
		if (!take_part(&back, ranges, count, PF_PIECE, &piece))
			break;
		r = pf_populate(&piece);
		if (r && !first)
			first = r;
		if (r && results && !results[index])
			results[index] = r;
		pieces--;
		bytes -= piece.size;
	}
	atomic_fetch_sub_explicit(&prefetcher->callers, 1, memory_order_relaxed);
	return first;
}

int pf_prefetch_ranges(struct pf_prefetcher *prefetcher, const struct pf_range *ranges, size_t count, bool wait)
{
	int r = check_all(ranges, count);

	if (r)
		return r;
	if (wait)
		return read_and_map(prefetcher, ranges, count, NULL);
	start_many(prefetcher, ranges, count);
	return 0;
}

int pf_prefetch_each(struct pf_prefetcher *prefetcher, const struct pf_range *ranges, size_t count, int *ret_results)
{
	int r = check_all(ranges, count);

	for (size_t i = 0; i < count; i++)
		ret_results[i] = r;
	return r ? r : read_and_map(prefetcher, ranges, count, ret_results);
}
