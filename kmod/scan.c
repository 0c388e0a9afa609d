// SPDX-License-Identifier: GPL-2.0-only
/*
 * scan.c - what the page cache has of one grain, by a walk under RCU.
 */
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <linux/xarray.h>

#include "region.h"

/* Folios looked at before others may run. */
#define BATCH 512
#define HUGE_PAGES ((2UL << 20) >> PAGE_SHIFT)

/* Adds the pages of a folio, to which we hold a reference, that lie in the grain. */
static void add(struct folio *folio, u64 first, u64 last, struct pinfold_scan_args *scan)
{
	u32 pages = 1;

	if (!folio_test_uptodate(folio))
		return;
	if (folio_test_large(folio)) {
		u64 end = folio->index + folio_nr_pages(folio) - 1;

		pages = min_t(u64, last, end) - max_t(u64, first, folio->index) + 1;
		if (folio_nr_pages(folio) >= HUGE_PAGES)
			scan->huge += pages;
		else
			scan->large += pages;
	}
	scan->resident += pages;
	scan->dirty += folio_test_dirty(folio) ? pages : 0;
	scan->writeback += folio_test_writeback(folio) ? pages : 0;
	scan->active += folio_test_active(folio) ? pages : 0;
	scan->referenced += folio_test_referenced(folio) ? pages : 0;
	scan->locked += folio_test_mlocked(folio) ? pages : 0;
	scan->node[folio_nid(folio) % PINFOLD_SLOT_NODES] += pages;
}

/**
 * pf_scan_grain() - look at the page cache
 * @mapping: of the file
 * @first: page
 * @last: page
 * @ret_scan: the answer
 * @work: the number of folios is added to it
 *
 * Return: 0 or -EINTR.
 */
int pf_scan_grain(struct address_space *mapping, u64 first, u64 last, struct pinfold_scan_args *ret_scan, u64 *work)
{
	XA_STATE(xas, &mapping->i_pages, first);
	struct folio *folio;
	u32 batch = 0;

	memset(ret_scan, 0, sizeof(*ret_scan));
	rcu_read_lock();
	xas_for_each(&xas, folio, last) {
		if (xas_retry(&xas, folio) || xa_is_value(folio))
			continue;
		if (!pf_folio_try_get(folio))
			goto again;
		if (unlikely(folio != xas_reload(&xas))) {
			folio_put(folio);
			goto again;
		}
		add(folio, first, last, ret_scan);
		folio_put(folio);
		++*work;
		if (++batch % BATCH)
			continue;
		xas_pause(&xas);
		rcu_read_unlock();
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
		rcu_read_lock();
		continue;
again:
		xas_reset(&xas);
	}
	rcu_read_unlock();
	return 0;
}
