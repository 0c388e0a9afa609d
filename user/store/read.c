/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * read.c - copying committed bytes out.
 *
 * DESIGN: (1) take the pages' sequences; (2) take S, the last LSN that is visible;
 * (3) copy each page from the mapping; (4) lay its pending nodes up to S on top; (5) start over if a
 * sequence moved, or if one of those nodes is applied by now: its bytes may have been used again meanwhile. A page
 * whose newest node has all that is asked for need not be copied first.
 *
 * Why this is the state as of S: unmoved sequences mean that no apply touched the pages
 * meanwhile, so the mapping holds exactly what was applied before (1), all of it
 * ordered before S. What was ordered up to S and not applied by then is still in the
 * overlay at (4), as it counts as applied only after its page's sequence moved. Nodes beyond S are skipped, so
 * a transaction that is being ordered is seen on all of its pages or on none.
 *
 * An odd sequence is one like the others: all that the transaction at work stores to the page is in nodes of it that
 * stay pending until the sequence has moved, and are laid on top, as it was visible before it could be applied. So
 * nobody waits for the applier, which may wait for a page that is being written out, for as long as that takes.
 */
#include "base/error.h"
#include "base/sigbus.h"
#include "store/internal.h"

#include <string.h>

#define CHUNK_MAX (64u << 10)
#define CHUNK_PAGES (CHUNK_MAX / 4096 + 1)

/* One attempt at a chunk that starts at arena byte @first. Inside an epoch and a guard. True: consistent. */
static bool read_chunk(const struct pf_store *store, uint64_t first, uint8_t *out, size_t size)
{
	const uint64_t page0 = first >> PF_PAGE_SHIFT, pages = ((first + size - 1) >> PF_PAGE_SHIFT) - page0 + 1;
	uint32_t seqs[CHUNK_PAGES];
	uint64_t lsn, oldest = UINT64_MAX;

	for (uint64_t i = 0; i < pages; i++)
		seqs[i] = atomic_load_explicit(&pf_page_of(store, page0 + i)->seq, memory_order_acquire);
	lsn = atomic_load_explicit(&store->visible_lsn, memory_order_acquire);
	for (uint64_t i = 0, at = first, step; i < pages; i++, at += step) {
		uint8_t *to = out + (at - first);

		step = PF_BLOCK_SIZE - (at & (PF_BLOCK_SIZE - 1));
		if (step > first + size - at)
			step = first + size - at;
		if (!pf_page_pending(store, store->base + at)) {
			memcpy(to, store->base + at, step);
		} else if (!pf_overlay_newest(store, page0 + i, lsn, at, to, step, &oldest)) {
			memcpy(to, store->base + at, step);
			pf_overlay_lay(store, page0 + i, lsn, at, to, step, &oldest);
		}
	}
	/* what a node led to is used again once the node is applied */
	atomic_thread_fence(memory_order_acquire);
	for (uint64_t i = 0; i < pages; i++)
		if (atomic_load_explicit(&pf_page_of(store, page0 + i)->seq, memory_order_relaxed) != seqs[i])
			return false;
	return atomic_load_explicit(&store->applied_lsn, memory_order_relaxed) < oldest;
}

/* Its own function, not inlined: locals of the guarding one must not change inside the guard. */
static __attribute__((noinline)) void read_chunks(const struct pf_store *store, uint64_t first, uint8_t *out,
						  size_t size)
{
	while (size > 0) {
		size_t step = size < CHUNK_MAX ? size : CHUNK_MAX;

		while (!read_chunk(store, first, out, step))
			;
		first += step;
		out += step;
		size -= step;
	}
}

static int read_guarded(struct pf_store *store, uint64_t first, uint8_t *out, size_t size)
{
	sigjmp_buf env;
	void *prev;

	if (sigsetjmp(env, 0) != 0)
		return pf_error(-EIO, "%s/data.%06u: offset %llu: I/O error while reading", store->dir,
				(unsigned int)(first / store->file_size),
				(unsigned long long)(first % store->file_size));
	prev = pf_sigbus_arm(&env, store->base, store->arena_size);
	read_chunks(store, first, out, size);
	pf_sigbus_disarm(prev);
	return 0;
}

int pf_read_at(struct pf_store *store, const struct pinfold_extent *extent, uint64_t offset, void *ret_data,
	       size_t size)
{
	int r;

	pf_epoch_enter(); /* an extent that is live now keeps its bytes until we leave */
	r = pf_extent_readable(store, extent);
	if (r == 0 && (offset > extent->len || size > extent->len - offset))
		r = pf_error(-ERANGE, "read of %zu bytes at %llu from an extent of %u", size,
			     (unsigned long long)offset, extent->len);
	if (r == 0 && size > 0)
		r = read_guarded(store, extent->file_id * store->file_size + extent->offset + offset, ret_data, size);
	pf_epoch_leave();
	return r;
}
