/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * count.h - how one fault is classed and counted, by the rule in linux/pinfold.h: what every fault runs. The rest is in
 * count.c, out of the way.
 *
 * DESIGN
 *   Counters are atomic: none is lost. What only serves to class faults (a thread's last page, a slice's last page
 *   and time) is written without a lock: threads that race lose a class, never a count.
 */
#ifndef PF_COUNT_H
#define PF_COUNT_H

#include <linux/jiffies.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/sched.h>
#include <linux/topology.h>

#include "region.h"
#include "trace.h"

#define PF_REACH_PAGES (PINFOLD_SEQ_REACH >> PAGE_SHIFT)
/* So far from every page that none follows it. */
#define PF_NOWHERE BIT_ULL(63)

/* Low half: CLOCK_MONOTONIC in ms at the tick in the high half. One word, so that both belong together. */
extern u64 pf_tick_ms;

u32 pf_tick_renew(u64 tick);
bool pf_continues_slice(const struct pf_region *region, const struct pinfold_slot *slot, u64 page, u32 now);
u64 pf_thread_take(struct pf_thread *thread, u32 tid, u64 page);
void pf_count_stall(struct pinfold_slot *slot, bool major, bool write, bool random, u64 ns, bool waited);

static inline void pf_add(u64 *counter, u64 n)
{
	atomic64_add(n, (atomic64_t *)counter);
}

static inline u32 pf_now_ms(void)
{
	u64 seen = READ_ONCE(pf_tick_ms), tick = (u64)(u32)jiffies << 32;

	return likely(!((seen ^ tick) >> 32)) ? (u32)seen : pf_tick_renew(tick);
}

static __always_inline struct pf_thread *pf_thread_entry(const struct pf_region *region, u32 tid)
{
	return &region->threads[tid & (PF_THREADS - 1)];
}

static inline void pf_count_time(struct pinfold_slot *slot, u64 ns)
{
	atomic_inc((atomic_t *)&slot->latency[min_t(u32, ilog2(ns | 1), PINFOLD_SLOT_HIST - 1)]);
}

/* Is the fault random? Notes it as the thread's last, and takes what the thread waited for the page before. */
static __always_inline bool pf_class(const struct pf_region *region, const struct pinfold_slot *slot, u64 page, u32 now,
				     u64 *ret_waited)
{
	u32 tid = current->pid;
	struct pf_thread *thread = pf_thread_entry(region, tid);
	u64 last;

	/* Another's entry, or it waited. */
	if (unlikely(READ_ONCE(thread->key) != tid))
		*ret_waited = pf_thread_take(thread, tid, page);
	last = READ_ONCE(thread->page);
	WRITE_ONCE(thread->page, page);
	if (likely(page - last - 1 < PF_REACH_PAGES - 1))
		return false;
	return !pf_continues_slice(region, slot, page, now);
}

/**
 * pf_count_fault() - count a fault that was served
 * @region: the region
 * @slot: of the page; NULL if there is none
 * @page: of the file
 * @flags: FAULT_FLAG_* of the fault
 * @major: as getrusage() has it
 * @ns: time of the last attempt
 * @timed: @ns is known and is to be counted in the histogram
 *
 * Context: any that faults run in; does not sleep.
 */
static __always_inline void pf_count_fault(struct pf_region *region, struct pinfold_slot *slot, u64 page,
					   unsigned int flags, bool major, u64 ns, bool timed)
{
	bool write = flags & FAULT_FLAG_WRITE, random = false;
	u64 waited = 0;
	u32 now;

	if (unlikely(!slot)) {
		atomic64_inc(&region->lost);
		return;
	}
	/* Populating and pinning a range is no access, though it counts as faults: not random, and no one's last. */
	if (likely(flags & FAULT_FLAG_INTERRUPTIBLE)) {
		now = pf_now_ms();
		random = pf_class(region, slot, page, now, &waited);
		WRITE_ONCE(slot->last_page, page & region->slice_mask);
		WRITE_ONCE(slot->last_seen_ms, now);
	}
	pf_add(unlikely(major) ? &slot->major : &slot->minor, 1);
	if (write)
		pf_add(&slot->write, 1);
	if (random)
		pf_add(&slot->random, 1);
	if (region->nodes)
		pf_add(&slot->node[numa_node_id() % PINFOLD_SLOT_NODES], 1);
	if (unlikely(timed || waited || major))
		pf_count_stall(slot, major, write, random, ns + waited, waited);
	trace_pinfold_fault(region->id, page, flags, major, random, ns + waited);
}

/*
 * The common case of the function above: a thread goes on where it was, served from memory. That it wrote is for the
 * caller to add. False: something is different, and nothing is counted.
 */
static __always_inline bool pf_count_next(struct pf_region *region, struct pinfold_slot *slot, u64 page)
{
	u32 tid = current->pid;
	struct pf_thread *thread = pf_thread_entry(region, tid);

	if (unlikely(READ_ONCE(thread->key) != tid || page - READ_ONCE(thread->page) - 1 >= PF_REACH_PAGES - 1 ||
		     trace_pinfold_fault_enabled()))
		return false;
	WRITE_ONCE(thread->page, page);
	WRITE_ONCE(slot->last_page, page & region->slice_mask);
	WRITE_ONCE(slot->last_seen_ms, pf_now_ms());
	pf_add(&slot->minor, 1);
	return true;
}

#endif
