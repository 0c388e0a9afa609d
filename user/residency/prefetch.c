// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * prefetch.c - brings many small ranges in at the device's queue depth, from one thread.
 *
 * DESIGN
 *
 *   Two cursors run over the ranges. The front one starts reads (populate.c), at most
 *   queue_depth pieces and WINDOW_BYTES in front of the back one, which waits and
 *   maps. Reads complete in any order behind it, so waiting for them in order
 *   costs nothing: by the time the first is there, most others are.
 *
 *        done │ mapped... ▲ waiting here │ in flight, <= queue_depth │ not started
 *                       back                                       front
 *
 *   Each call owns its cursors; the prefetcher itself is constant, so any number
 *   of threads may call it without a lock.
 *
 * Invariants
 *   1. Exactly the pages of the ranges are read, none around them.
 *   2. A failed range does not keep the others from being read; the first error is returned.
 */
#include "residency/internal.h"

#include "base/error.h"

#include <stdlib.h>

#define QUEUE_DEPTH_DEFAULT 128
#define QUEUE_DEPTH_MAX 4096
/** Most bytes in flight per call: keeps large ranges from flooding memory before they are mapped. */
#define WINDOW_BYTES ((size_t)32 << 20)

struct pf_prefetcher {
	uint32_t queue_depth;
};

struct cursor {
	size_t index, at; /* range, and byte in it */
};

int pf_prefetcher_new(uint32_t queue_depth, bool io_uring, struct pf_prefetcher **ret_prefetcher)
{
	struct pf_prefetcher *prefetcher = calloc(1, sizeof(*prefetcher));

	if (!prefetcher)
		return pf_error(-ENOMEM, "prefetcher: out of memory");
	prefetcher->queue_depth = queue_depth ? queue_depth : QUEUE_DEPTH_DEFAULT;
	if (prefetcher->queue_depth > QUEUE_DEPTH_MAX)
		prefetcher->queue_depth = QUEUE_DEPTH_MAX;
	*ret_prefetcher = prefetcher;
	return 0;
}

void pf_prefetcher_free(struct pf_prefetcher *prefetcher)
{
	free(prefetcher);
}

static bool take_piece(struct cursor *cursor, const struct pf_range *ranges, size_t count, struct pf_range *ret_piece)
{
	if (cursor->index == count)
		return false;
	*ret_piece = pf_range_part(&ranges[cursor->index], cursor->at, PF_PIECE);
	cursor->at += ret_piece->size;
	if (cursor->at == ranges[cursor->index].size) {
		cursor->index++;
		cursor->at = 0;
	}
	return true;
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

static int read_and_map(const struct pf_prefetcher *prefetcher, const struct pf_range *ranges, size_t count, int *results)
{
	struct cursor front = {0, 0}, back = {0, 0};
	size_t pieces = 0, bytes = 0; /* between the cursors */
	struct pf_range piece;
	int first = 0;

	for (;;) {
		size_t index;
		int r;

		while (pieces < prefetcher->queue_depth && bytes < WINDOW_BYTES && take_piece(&front, ranges, count, &piece)) {
			pf_start_reading(&piece);
			pieces++;
			bytes += piece.size;
		}
		index = back.index;
		if (!take_piece(&back, ranges, count, &piece))
			return first;
		r = pf_populate(&piece);
		if (r && !first)
			first = r;
		if (r && results && !results[index])
			results[index] = r;
		pieces--;
		bytes -= piece.size;
	}
}

int pf_prefetch_ranges(struct pf_prefetcher *prefetcher, const struct pf_range *ranges, size_t count, bool wait)
{
	int r = check_all(ranges, count);

	if (r)
		return r;
	if (wait)
		return read_and_map(prefetcher, ranges, count, NULL);
	for (size_t i = 0; i < count; i++)
		pf_start_reading(&ranges[i]);
	return 0;
}

int pf_prefetch_each(struct pf_prefetcher *prefetcher, const struct pf_range *ranges, size_t count, int *ret_results)
{
	int r = check_all(ranges, count);

	if (r)
		return r;
	for (size_t i = 0; i < count; i++)
		ret_results[i] = 0;
	return read_and_map(prefetcher, ranges, count, ret_results);
}
