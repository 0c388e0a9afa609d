// SPDX-License-Identifier: GPL-2.0-only
/*
 * count.c - how one fault is classed and counted, by the rule in linux/pinfold.h.
 *
 * DESIGN
 *   Counters are atomic: none is lost. What only serves to class faults (a thread's last page, a slice's last page
 *   and time) is written without a lock: threads that race lose a class, never a count.
 */
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/log2.h>
#include <linux/sched.h>
#include <linux/topology.h>

#include "region.h"
#include "trace.h"

#define REACH_PAGES (PINFOLD_SEQ_REACH >> PAGE_SHIFT)
#define NOWHERE U64_MAX

/* Low half: CLOCK_MONOTONIC in ms at the tick in the high half. One word, so that both belong together. */
static u64 tick_ms;

static u32 now_ms(void)
{
	u64 seen = READ_ONCE(tick_ms), tick = (u64)(u32)jiffies << 32;

	if (unlikely((seen ^ tick) >> 32)) {
		seen = tick | (u32)ktime_to_ms(ktime_get_coarse());
		WRITE_ONCE(tick_ms, seen);
	}
	return seen;
}

static inline void add(u64 *counter, u64 n)
{
	atomic64_add(n, (atomic64_t *)counter);
}

static struct pf_thread *thread_entry(const struct pf_region *region, u32 tid)
{
	/* Threads of one program have neighbouring ids: two entries apart is a cache line apart. */
	u32 index = tid << 1 | (tid / (PF_THREADS / 2) & 1);

	BUILD_BUG_ON(sizeof(struct pf_thread) != 32);
	return &region->threads[index & (PF_THREADS - 1)];
}

/* Second half of the rule, for streams that share a thread or move between threads. */
static bool continues_slice(const struct pf_region *region, const struct pinfold_slot *slot, u64 page, u32 now)
{
	u32 in_slice = page & ((1ULL << region->slice_shift) - 1), last;
	const struct pinfold_slot *before;

	if (now - READ_ONCE(slot->last_seen_ms) < PINFOLD_SEQ_WINDOW_MS)
		return in_slice - READ_ONCE(slot->last_page) - 1 < PINFOLD_SEQ_STEP_PAGES;
	if (in_slice >= PINFOLD_SEQ_STEP_PAGES || page == in_slice)
		return false;
	before = pf_slot(region, page - in_slice - 1);
	if (!before)
		return false;
	last = (1U << region->slice_shift) - PINFOLD_SEQ_STEP_PAGES;
	return now - READ_ONCE(before->last_seen_ms) < PINFOLD_SEQ_WINDOW_MS && READ_ONCE(before->last_page) >= last;
}

static void count_stall(struct pinfold_slot *slot, bool major, bool random, u64 ns)
{
	u32 bucket = min_t(u32, ilog2(ns | 1), PINFOLD_SLOT_HIST - 1);

	atomic_inc((atomic_t *)&slot->latency[bucket]);
	if (!major)
		return;
	add(&slot->stall_ns, ns);
	if (random)
		add(&slot->stall_random_ns, ns);
}

/* Is the fault random? Notes it as the thread's last, and takes what the thread waited for the page before. */
static bool class(const struct pf_region *region, const struct pinfold_slot *slot, u64 page, u32 now, u64 *ret_waited)
{
	u32 tid = current->pid;
	struct pf_thread *thread = thread_entry(region, tid);
	u64 last = NOWHERE;

	if (READ_ONCE(thread->tid) == tid) {
		last = READ_ONCE(thread->page);
		if (unlikely(READ_ONCE(thread->waits))) {
			if (READ_ONCE(thread->wait_page) == page)
				*ret_waited = READ_ONCE(thread->wait_ns);
			WRITE_ONCE(thread->waits, 0);
		}
	} else {
		WRITE_ONCE(thread->tid, tid);
		WRITE_ONCE(thread->waits, 0);
	}
	WRITE_ONCE(thread->page, page);
	if (last != NOWHERE && page - last - 1 < REACH_PAGES - 1)
		return false;
	return !continues_slice(region, slot, page, now);
}

/**
 * pf_count_fault() - count a fault that was served
 * @region: the region
 * @page: of the file
 * @flags: FAULT_FLAG_* of the fault
 * @major: as getrusage() has it
 * @ns: time of the last attempt
 * @timed: @ns is known and is to be counted in the histogram
 *
 * Context: any that faults run in; does not sleep.
 */
void pf_count_fault(struct pf_region *region, u64 page, unsigned int flags, bool major, u64 ns, bool timed)
{
	struct pinfold_slot *slot = pf_slot(region, page);
	bool write = flags & FAULT_FLAG_WRITE, random = false;
	u64 waited = 0;
	u32 now;

	if (unlikely(!slot)) {
		atomic64_inc(&region->lost);
		return;
	}
	/* Populating and pinning a range is no access, though it counts as faults: not random, and no one's last. */
	if (likely(flags & FAULT_FLAG_INTERRUPTIBLE)) {
		now = now_ms();
		random = class(region, slot, page, now, &waited);
		WRITE_ONCE(slot->last_page, page & ((1ULL << region->slice_shift) - 1));
		WRITE_ONCE(slot->last_seen_ms, now);
	}
	add(major ? &slot->major : &slot->minor, 1);
	if (write)
		add(&slot->write, 1);
	if (write && major)
		add(&slot->write_major, 1);
	if (random)
		add(&slot->random, 1);
	if (region->nodes)
		add(&slot->node[numa_node_id() % PINFOLD_SLOT_NODES], 1);
	if (unlikely(waited && !major))
		add(&slot->io_wait, 1);
	if (unlikely(timed || waited || major))
		count_stall(slot, major, random, ns + waited);
	trace_pinfold_fault(region->id, page, flags, major, random, ns + waited);
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
	struct pf_thread *thread = thread_entry(region, tid);

	if (READ_ONCE(thread->tid) != tid) {
		WRITE_ONCE(thread->tid, tid);
		WRITE_ONCE(thread->page, NOWHERE);
		WRITE_ONCE(thread->waits, 0);
	}
	if (READ_ONCE(thread->waits) && READ_ONCE(thread->wait_page) == page)
		ns += READ_ONCE(thread->wait_ns);
	WRITE_ONCE(thread->wait_page, page);
	WRITE_ONCE(thread->wait_ns, ns | 1);
	WRITE_ONCE(thread->waits, 1);
}
