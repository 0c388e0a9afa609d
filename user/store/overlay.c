/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * overlay.c - what is committed and not yet in the mapping, by page; and the sequences of pages.
 *
 * DESIGN: a bucket names its newest node, a node the one before it. LSNs along the way only fall, so it ends where
 * one is applied, or has been used again since (then its LSN is larger than that of the node that led to it). So
 * nothing is ever taken out: that applied_lsn moves past a node is what removes it. Whether there are any for a page
 * tells its state, with one comparison of groups. Some pages are in every transaction, and others in the same bucket: a
 * node also names the first before it of another page, so who looks for one page passes the thousands of another in
 * one step.
 *
 *  1. Nodes enter in LSN order, under the order lock. The first behind applied ones ends the way: those are used again
 * by other buckets, and with the LSN of its own transaction.
 *  2. A node counts as applied only after its bytes are in the mapping and the sequence of its page has moved.
 *  3. The newest group of all pages is known before a transaction of it is visible, let alone applied: while it is
 *     applied, and stays the newest, the mapping does not change and is all that is committed.
 *  4. A reader that follows a node which is used again meanwhile copies some page-sized part of the log, which is there
 *     (log.c). It learns that it is worth nothing from applied_lsn, which has passed the node by then. From the
 * sequence of the page it need not: that last moved when the node's transaction was stored, and the node counts as
 * pending until the whole group is.
 */
#include "base/words.h"
#include "store/internal.h"

/* What a node of the page of @at that follows on @next names as the first of another page. */
static uint32_t other_of(const struct pf_store *store, uint32_t next, uint64_t at)
{
	const struct pf_node *node = &store->log.nodes[next], *other;
	uint32_t index;
	uint64_t lsn;

	if (next == PF_NODE_NONE || (atomic_load_explicit(&node->at, memory_order_relaxed) ^ at) >> PF_PAGE_SHIFT)
		return next;
	index = atomic_load_explicit(&node->other, memory_order_relaxed);
	if (index == PF_NODE_NONE)
		return index;
	other = &store->log.nodes[index];
	lsn = atomic_load_explicit(&other->lsn, memory_order_relaxed);
	/* it may be applied by now, and have been used again: then it ends the way as a next that is applied does */
	return lsn > atomic_load_explicit(&store->applied_lsn, memory_order_relaxed) &&
			       lsn <= atomic_load_explicit(&node->lsn, memory_order_relaxed) ?
		       index :
		       PF_NODE_NONE;
}

void pf_overlay_insert(struct pf_store *store, uint32_t index, uint64_t lsn, const struct pf_part *part, uint64_t data)
{
	struct pf_bucket *bucket = pf_bucket_of(store, part->at >> PF_PAGE_SHIFT);
	struct pf_node *node = &store->log.nodes[index];
	const uint32_t opened = (uint32_t)store->log.opened;
	bool first = atomic_load_explicit(&bucket->lsn, memory_order_relaxed) <=
		     atomic_load_explicit(&store->applied_lsn, memory_order_relaxed);
	const uint32_t next = first ? PF_NODE_NONE : atomic_load_explicit(&bucket->node, memory_order_relaxed);

	/* its former LSN is smaller than any that may lead here: whoever comes on an old way sees the new one and stops
	 */
	atomic_store_explicit(&node->lsn, lsn, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&node->at, part->at, memory_order_relaxed);
	atomic_store_explicit(&node->data, data << PF_NODE_SIZE_BITS | part->size, memory_order_relaxed);
	atomic_store_explicit(&node->other, other_of(store, next, part->at), memory_order_relaxed);
	atomic_store_explicit(&node->next, next, memory_order_relaxed);
	atomic_store_explicit(&bucket->node, index, memory_order_release);
	atomic_store_explicit(&bucket->lsn, lsn, memory_order_release);
	atomic_store_explicit(&pf_page_of(store, part->at >> PF_PAGE_SHIFT)->group, opened, memory_order_release);
	/* every reader has this line: it is written once per group */
	if (atomic_load_explicit(&store->pages->newest, memory_order_relaxed) != opened)
		atomic_store_explicit(&store->pages->newest, opened, memory_order_release);
}

/* The part of a page that a reader asks for, and where it goes. */
struct want {
	const struct pf_store *store;
	uint64_t from, to; /* in the arena */
	uint8_t *out;
};

static struct want want_of(const struct pf_store *store, uint64_t page, uint64_t first, uint8_t *out, size_t size)
{
	uint64_t begin = page << PF_PAGE_SHIFT, end = begin + PF_BLOCK_SIZE;
	struct want want = { .store = store, .from = first > begin ? first : begin,
			     .to = first + size < end ? first + size : end };

	want.out = out + (want.from - first);
	return want;
}

struct way {
	uint32_t index;
	uint64_t page, lsn, at, data;
	uint32_t size;
};

/* The newest node of the bucket of @page; false: none is pending. */
static bool way_begin(const struct pf_store *store, uint64_t page, struct way *way)
{
	const struct pf_bucket *bucket = pf_bucket_of(store, page);

	way->page = page;
	way->lsn = UINT64_MAX;
	if (atomic_load_explicit(&bucket->lsn, memory_order_acquire) <=
	    atomic_load_explicit(&store->applied_lsn, memory_order_acquire))
		return false;
	way->index = atomic_load_explicit(&bucket->node, memory_order_acquire);
	return true;
}

/* Reads the node that @way has come to and moves on. False: the way ends here. */
static bool way_step(const struct pf_store *store, struct way *way)
{
	const struct pf_node *node = &store->log.nodes[way->index];
	uint64_t lsn, data;

	if (way->index == PF_NODE_NONE)
		return false;
	lsn = atomic_load_explicit(&node->lsn, memory_order_acquire);
	if (lsn > way->lsn || lsn <= atomic_load_explicit(&store->applied_lsn, memory_order_acquire))
		return false;
	way->lsn = lsn;
	way->at = atomic_load_explicit(&node->at, memory_order_relaxed);
	data = atomic_load_explicit(&node->data, memory_order_relaxed);
	way->data = pf_node_data(data);
	way->size = pf_node_size(data);
	way->index = atomic_load_explicit(way->at >> PF_PAGE_SHIFT == way->page ? &node->next : &node->other,
					  memory_order_relaxed);
	return true;
}

/* Whether the node has bytes that are wanted: [*ret_from, *ret_to) of the arena. */
static bool way_meets(const struct way *way, const struct want *want, uint64_t lsn, uint64_t *ret_from,
		      uint64_t *ret_to)
{
	if (way->lsn > lsn || way->at >= want->to || way->at + way->size <= want->from)
		return false;
	*ret_from = way->at > want->from ? way->at : want->from;
	*ret_to = way->at + way->size < want->to ? way->at + way->size : want->to;
	return true;
}

bool pf_overlay_newest(const struct pf_store *store, uint64_t page, uint64_t lsn, uint64_t first, uint8_t *out,
		       size_t size, uint64_t *oldest)
{
	struct want want = want_of(store, page, first, out, size);
	struct way way;
	uint64_t from, to;

	if (!way_begin(store, page, &way))
		return false;
	while (way_step(store, &way)) {
		if (!way_meets(&way, &want, lsn, &from, &to))
			continue;
		if (from != want.from || to != want.to)
			return false;
		if (way.lsn < *oldest)
			*oldest = way.lsn;
		pf_words_load(want.out, store->log.data + way.data + (from - way.at), to - from);
		return true;
	}
	return false;
}

/* Copies the bytes of [from, to) that no newer node had, and notes them. */
static void lay_missing(const struct want *want, uint64_t *covered, const uint8_t *data, uint64_t from, uint64_t to)
{
	const uint64_t base = want->from;

	for (uint64_t at = from, end; at < to; at = end) {
		bool missing = !(covered[(at - base) / 64] >> (at - base) % 64 & 1);

		for (end = at; end < to && !(covered[(end - base) / 64] >> (end - base) % 64 & 1) == missing; end++)
			if (missing)
				covered[(end - base) / 64] |= 1ull << (end - base) % 64;
		if (missing)
			pf_words_load(want->out + (at - base), data + (at - from), end - at);
	}
}

void pf_overlay_lay(const struct pf_store *store, uint64_t page, uint64_t lsn, uint64_t first, uint8_t *out,
		    size_t size, uint64_t *oldest)
{
	struct want want = want_of(store, page, first, out, size);
	uint64_t covered[PF_BLOCK_SIZE / 64] = { 0 }, from, to;
	struct way way;

	if (!way_begin(store, page, &way))
		return;
	while (way_step(store, &way)) {
		if (!way_meets(&way, &want, lsn, &from, &to))
			continue;
		lay_missing(&want, covered, store->log.data + way.data + (from - way.at), from, to);
		if (way.lsn < *oldest)
			*oldest = way.lsn;
	}
}

/* ---- sequences ---- */

const struct pf_pages *pf_store_pages(const struct pf_store *store)
{
	return store->pages;
}

static uint64_t page_of(const struct pf_store *store, const void *addr)
{
	return (uint64_t)((const uint8_t *)addr - store->base) >> PF_PAGE_SHIFT;
}

uint32_t pf_seq_begin(const struct pf_store *store, const void *addr)
{
	return atomic_load_explicit(&pf_page_of(store, page_of(store, addr))->seq, memory_order_acquire);
}

bool pf_seq_retry(const struct pf_store *store, const void *addr, uint32_t seq)
{
	atomic_thread_fence(memory_order_acquire);
	return seq & 1 ||
	       atomic_load_explicit(&pf_page_of(store, page_of(store, addr))->seq, memory_order_relaxed) != seq;
}

bool pf_page_pending(const struct pf_store *store, const void *addr)
{
	return pf_state_pending(store->pages, pf_page_of(store, page_of(store, addr)));
}
