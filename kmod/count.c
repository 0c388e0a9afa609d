// SPDX-License-Identifier: GPL-2.0-only
/*
 * count.c - the parts of classing and counting that few faults need: see count.h.
 */
#include <linux/ktime.h>

#include "count.h"

u64 pf_tick_ms;

u32 pf_tick_renew(u64 tick)
{
	u32 now = ktime_to_ms(ktime_get_coarse());

	WRITE_ONCE(pf_tick_ms, tick | now);
	return now;
}

/* Second half of the rule, for streams that share a thread or move between threads. */
bool pf_continues_slice(const struct pf_region *region, const struct pinfold_slot *slot, u64 page, u32 now)
{
	u32 in_slice = page & region->slice_mask, last;
	const struct pinfold_slot *before;

	if (now - READ_ONCE(slot->last_seen_ms) < PINFOLD_SEQ_WINDOW_MS)
		return in_slice - READ_ONCE(slot->last_page) - 1 < PINFOLD_SEQ_STEP_PAGES;
	if (in_slice >= PINFOLD_SEQ_STEP_PAGES || page == in_slice)
		return false;
	before = pf_slot(region, page - in_slice - 1);
	if (!before)
		return false;
	last = region->slice_mask + 1 - PINFOLD_SEQ_STEP_PAGES;
	return now - READ_ONCE(before->last_seen_ms) < PINFOLD_SEQ_WINDOW_MS && READ_ONCE(before->last_page) >= last;
}

/* Makes the entry the thread's, if it is not. Returns how long it waited for this page before; it waits no more. */
u64 pf_thread_take(struct pf_thread *thread, u32 tid, u64 page)
{
	u64 key = READ_ONCE(thread->key), ns = 0;

	if (key != (tid | PF_THREAD_WAITS))
		WRITE_ONCE(thread->page, PF_NOWHERE);
	else if (READ_ONCE(thread->wait_page) == page)
		ns = READ_ONCE(thread->wait_ns);
	WRITE_ONCE(thread->key, tid);
	return ns;
}

void pf_count_stall(struct pinfold_slot *slot, bool major, bool write, bool random, u64 ns, bool waited)
{
	pf_count_time(slot, ns);
	if (!major) {
		if (waited)
			pf_add(&slot->io_wait, 1);
		return;
	}
	pf_add(&slot->stall_ns, ns);
	if (random)
		pf_add(&slot->stall_random_ns, ns);
	if (write)
		pf_add(&slot->write_major, 1);
}

/**
 * pf_count_wait() - note that a fault waited and will be tried again
 * @region: the region
 * @page: of the file
 * @ns: how long
 */
void pf_count_wait(struct pf_region *region, u64 page, u64 ns)
{
	u32 tid = current->pid;
	struct pf_thread *thread = pf_thread_entry(region, tid);

	if (READ_ONCE(thread->key) != tid)
		ns += pf_thread_take(thread, tid, page);
	WRITE_ONCE(thread->wait_page, page);
	WRITE_ONCE(thread->wait_ns, ns | 1);
	WRITE_ONCE(thread->key, tid | PF_THREAD_WAITS);
}
