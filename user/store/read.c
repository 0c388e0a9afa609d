/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * read.c - copying committed bytes out.
 *
 * DESIGN: (1) take the pages' sequences, even; (2) take S, the last ordered LSN;
 * (3) copy the mapping; (4) lay pending nodes up to S on top; (5) start over if a
 * sequence moved.
 *
 * Why this is the state as of S: unmoved sequences mean that no apply touched the pages
 * meanwhile, so the mapping holds exactly what was applied before (1), all of it
 * ordered before S. What was ordered up to S and not applied by then is still in the
 * overlay at (4), as removal follows apply. Nodes beyond S are skipped, so
 * a transaction that is being ordered is seen on all of its pages or on none.
 */
#include "base/error.h"
#include "base/sigbus.h"
#include "store/internal.h"

#include <string.h>

#define CHUNK_MAX (64u << 10)
#define CHUNK_PAGES (CHUNK_MAX / 4096 + 1)

static void lay_page(const struct pf_bucket *bucket, uint64_t page, uint64_t lsn, uint64_t first, uint8_t *out,
		     size_t size)
{
	for (const struct pf_node *node = atomic_load_explicit(&bucket->head, memory_order_acquire); node;
	     node = atomic_load_explicit(&node->next, memory_order_acquire)) {
		uint64_t from, to, at;

		if (node->page != page || node->lsn > lsn)
			continue;
		at = (page << PF_PAGE_SHIFT) + node->offset; /* in the arena */
		from = at > first ? at : first;
		to = at + node->size < first + size ? at + node->size : first + size;
		if (from < to)
			memcpy(out + (from - first), node->data + (from - at), to - from);
	}
}

/* One attempt at a chunk that starts at arena byte @first. Inside an epoch and a guard. True: consistent. */
static bool read_chunk(const struct pf_store *store, uint64_t first, uint8_t *out, size_t size)
{
	const uint64_t page0 = first >> PF_PAGE_SHIFT, pages = ((first + size - 1) >> PF_PAGE_SHIFT) - page0 + 1;
	uint32_t seqs[CHUNK_PAGES];
	uint64_t lsn;

	for (uint64_t i = 0; i < pages; i++)
		seqs[i] = pf_seq_begin(store, store->base + ((page0 + i) << PF_PAGE_SHIFT));
	lsn = atomic_load_explicit(&store->ordered_lsn, memory_order_acquire);
	memcpy(out, store->base + first, size);
	for (uint64_t i = 0; i < pages; i++) {
		const struct pf_bucket *bucket = pf_bucket_of(store, page0 + i);

		if (atomic_load_explicit(&pf_page_of(store, page0 + i)->pending, memory_order_acquire))
			lay_page(bucket, page0 + i, lsn, first, out, size);
	}
	for (uint64_t i = 0; i < pages; i++)
		if (pf_seq_retry(store, store->base + ((page0 + i) << PF_PAGE_SHIFT), seqs[i]))
			return false;
	return true;
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
	r = pf_extent_check(store, extent);
	if (r == 0 && (offset > extent->len || size > extent->len - offset))
		r = pf_error(-ERANGE, "read of %zu bytes at %llu from an extent of %u", size,
			     (unsigned long long)offset, extent->len);
	if (r == 0 && size > 0)
		r = read_guarded(store, extent->file_id * store->file_size + extent->offset + offset, ret_data, size);
	pf_epoch_leave();
	return r;
}
