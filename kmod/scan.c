// SPDX-License-Identifier: GPL-2.0-only
/*
 * scan.c - what the page cache has of one grain, by a walk under RCU.
 *
 * DESIGN
 *   Most folios are single pages, and all that is asked about one is in the word of its flags. That is read without a
 *   reference, which would cost more than all else, and holds if afterwards the page is neither free nor frozen and
 *   still in its place. Pages that follow each other are mostly alike: runs of the same flags are counted, and added
 *   once. Of a large folio there is more to read, so a reference is taken.
 *
 * INVARIANTS
 *   1. Nothing but flags, reference count and node of a folio is read without a reference to it. Its memory is then
 *      still that of a page, as for everyone who tries to take one under RCU.
 *   2. A place in the file is counted once at most, by what was there; but where a page left and came back between
 *      two reads, its flags may be those of the time between.
 *   3. While a folio is split or moved it is frozen, its flags and its place may belie each other, and it is looked
 *      at again.
 */
#include <linux/mm.h>
#include <linux/page_ref.h>
#include <linux/pagemap.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <linux/xarray.h>

#include "region.h"

/* Entries looked at before others may run. */
#define BATCH 512
#define HUGE_PAGES ((2UL << 20) >> PAGE_SHIFT)

/* What of the flags tells two pages apart here. */
#define FLAGS_SEEN                                                                                    \
	(BIT(PG_uptodate) | BIT(PG_dirty) | BIT(PG_writeback) | BIT(PG_active) | BIT(PG_referenced) | \
	 BIT(PG_mlocked) | BIT(PG_head) | PF_FLAGS_NODE)

struct scan {
	u64 last; /* page of the grain */
	struct pinfold_scan_args *result;
	/* A run of single pages that is not added yet. */
	unsigned long flags;
	u32 pages;
	int node;
};

static inline int node_of(const struct folio *folio)
{
	/* It is in the word of the flags, of which others change theirs meanwhile; a page's node does not change. */
	return data_race(folio_nid(folio));
}

static void add(struct pinfold_scan_args *result, unsigned long flags, int node, u32 pages)
{
	if (!(flags & BIT(PG_uptodate)))
		return;
	result->resident += pages;
	result->dirty += flags & BIT(PG_dirty) ? pages : 0;
	result->writeback += flags & BIT(PG_writeback) ? pages : 0;
	result->active += flags & BIT(PG_active) ? pages : 0;
	result->referenced += flags & BIT(PG_referenced) ? pages : 0;
	result->locked += flags & BIT(PG_mlocked) ? pages : 0;
	result->node[node % PINFOLD_SLOT_NODES] += pages;
}

/* Adds the pages of a folio, to which we hold a reference, from where the walk is, and goes to its last. */
static void add_folio(struct scan *scan, struct xa_state *xas, struct folio *folio)
{
	unsigned long flags = pf_folio_flags(folio);
	u64 end = folio->index + folio_nr_pages(folio) - 1;
	u32 pages = min_t(u64, scan->last, end) - max_t(u64, xas->xa_index, folio->index) + 1;

	/* Not by the entries: the folio may be split as soon as we let go of it. */
	xas_advance(xas, end);
	add(scan->result, flags, node_of(folio), pages);
	if (!(flags & BIT(PG_uptodate)))
		return;
	if (folio_nr_pages(folio) >= HUGE_PAGES)
		scan->result->huge += pages;
	else if (folio_test_large(folio))
		scan->result->large += pages;
}

/* False: it is not there any more, or being changed. */
static noinline bool look_at_large(struct scan *scan, struct xa_state *xas, struct folio *folio)
{
	bool there;

	if (!pf_folio_try_get(folio))
		return false;
	there = folio == xas_reload(xas);
	if (likely(there))
		add_folio(scan, xas, folio);
	folio_put(folio);
	return there;
}

static __always_inline bool look_at(struct scan *scan, struct xa_state *xas, struct folio *folio)
{
	unsigned long flags = pf_folio_flags(folio) & FLAGS_SEEN;

	if (flags & BIT(PG_head))
		return look_at_large(scan, xas, folio);
	/* Who splits it freezes it, changes its flags and then its place, and thaws it: all is read the other way. */
	smp_rmb();
	if (unlikely(!folio_ref_count(folio)))
		return false;
	/* The places behind are read later, too. */
	smp_rmb();
	if (unlikely(folio != xas_reload(xas)))
		return false;
	if (unlikely(flags != scan->flags)) {
		add(scan->result, scan->flags, scan->node, scan->pages);
		scan->flags = flags;
		scan->node = node_of(folio);
		scan->pages = 0;
	}
	scan->pages++;
	return true;
}

/**
 * pf_scan_grain() - look at the page cache
 * @mapping: of the file
 * @first: page
 * @last: page
 * @ret_scan: the answer
 * @work: the number of entries looked at is added to it
 *
 * Return: 0 or -EINTR.
 */
int pf_scan_grain(struct address_space *mapping, u64 first, u64 last, struct pinfold_scan_args *ret_scan, u64 *work)
{
	XA_STATE(xas, &mapping->i_pages, first);
	struct scan scan = {.last = last, .result = ret_scan};
	struct folio *folio;
	u32 count = 0;

	memset(ret_scan, 0, sizeof(*ret_scan));
	rcu_read_lock();
	xas_for_each(&xas, folio, last) {
		/* Values are shadows of folios that were here. */
		if (unlikely(xa_is_value(folio) || xa_is_internal(folio)))
			xas_retry(&xas, folio);
		else if (unlikely(!look_at(&scan, &xas, folio)))
			xas_reset(&xas);
		if (likely(++count % BATCH))
			continue;
		xas_pause(&xas);
		rcu_read_unlock();
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
		rcu_read_lock();
	}
	rcu_read_unlock();
	add(ret_scan, scan.flags, scan.node, scan.pages);
	*work += count;
	return 0;
}
