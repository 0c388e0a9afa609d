/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * core.bpf.h - what every probe of faults shares: where the watched memory is,
 * the slots, and how one fault is classed and counted.
 *
 * DESIGN
 *   The watched arena is one address range of one process. An address becomes
 *   (file, slice, page) by subtraction and shifts alone, so the fast path has
 *   no hash lookup. Files have one array of slots each, held by an array of
 *   maps. What is known of a thread's last fault stands in a small table. A
 *   thread is named there by the address of its user registers on its kernel
 *   stack, which the exception hands over, so that a known thread is known to
 *   be the watched process's own without a call: calls are what costs. Two
 *   threads that share an entry only lose precision of classing, never counts.
 *
 * INVARIANTS
 *   1. Faults outside of the arena or of other
 *      processes change nothing.
 *   2. Each fault is counted once in minor or major. It begins as minor; the
 *      probe of majors moves it.
 *   3. An event that could not be counted increments state.lost_events.
 */
#ifndef PF_CORE_BPF_H
#define PF_CORE_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <linux/pinfold.h>
#include <stdbool.h>

#include "compat.bpf.h"
#include "probe.h"

/* Written by user space before loading. */
const volatile struct pf_probe_config config;
/* The process is learned from the process itself (learn_process()), so PID namespaces do not matter. */
struct pf_probe_state state;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} files SEC(".maps");

struct pf_probe_thread threads[PF_PROBE_THREADS] __attribute__((aligned(64)));

/* Where a fault happened. */
struct place {
	struct pinfold_slot *slot;
	void *file;
	__u32 slice;
	__u32 page;
};

static __always_inline void lost(void)
{
	__sync_fetch_and_add(&state.lost_events, 1);
}

static __always_inline void place_in_file(const volatile struct pf_probe_watch *watch, __u64 offset, __u32 *ret_file,
					  __u64 *ret_in_file)
{
	if (watch->file_shift) {
		*ret_file = offset >> watch->file_shift;
		*ret_in_file = offset & ((1ull << watch->file_shift) - 1);
	} else {
		*ret_file = offset / config.file_size;
		*ret_in_file = offset - *ret_file * config.file_size;
	}
}

static __always_inline __u32 index_in_file(__u64 offset)
{
	__u64 in_file;
	__u32 file;

	place_in_file(&config.watch, offset, &file, &in_file);
	return in_file >> PF_PROBE_PAGE_SHIFT;
}

static __always_inline int find_place(const volatile struct pf_probe_watch *watch, __u64 offset, struct place *place)
{
	__u32 file, slice, slice_shift = watch->slice_shift;
	__u64 in_file;

	place_in_file(watch, offset, &file, &in_file);
	slice = in_file >> slice_shift;
	place->file = bpf_map_lookup_elem(&files, &file);
	if (!place->file)
		return -1;
	place->slot = bpf_map_lookup_elem(place->file, &slice);
	if (!place->slot)
		return -1;
	place->slice = slice;
	place->page = (in_file & ((1ull << slice_shift) - 1)) >> PF_PROBE_PAGE_SHIFT;
	return 0;
}

/* The address of the calling thread's user registers, which names it; 0 if it is not of the watched process. */
static __always_inline __u64 own_regs(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	__u64 stack;

	if (task->tgid != state.watch_tgid)
		return 0;
	/* By a call: a pointer that is loaded directly is none to calculate with, on any kernel but a few. */
	if (bpf_core_read(&stack, sizeof(stack), &task->stack))
		return 0;
	return stack + state.regs_at;
}

/* Fibonacci hashing: stacks stand at multiples of their size. The entry may be another thread's. */
static __always_inline struct pf_probe_thread *thread_entry(__u64 regs)
{
	return &threads[regs * 0x9e3779b97f4a7c15ull >> (64 - PF_PROBE_THREADS_SHIFT)];
}

/* Second half of the rule in linux/pinfold.h, for streams that share a thread or move between threads. */
static __always_inline bool continues_slice(const struct place *place, __u32 now_ms)
{
	const struct pinfold_slot *slot = place->slot, *before;
	__u32 index, last;

	if (now_ms - slot->last_seen_ms < PINFOLD_SEQ_WINDOW_MS)
		return place->page - slot->last_page - 1 < PINFOLD_SEQ_STEP_PAGES;
	if (place->page >= PINFOLD_SEQ_STEP_PAGES || !place->slice)
		return false;
	index = place->slice - 1;
	before = bpf_map_lookup_elem(place->file, &index);
	if (!before)
		return false;
	last = (1u << (config.watch.slice_shift - PF_PROBE_PAGE_SHIFT)) - PINFOLD_SEQ_STEP_PAGES;
	return now_ms - before->last_seen_ms < PINFOLD_SEQ_WINDOW_MS && before->last_page >= last;
}

/* CLOCK_MONOTONIC as of the last tick. Probes may not read the coarse clock; jiffies cost one load. */
static __always_inline __u32 coarse_ms(const volatile struct pf_probe_watch *watch)
{
	return (bpf_jiffies64() * watch->tick_ms_fixed >> PF_PROBE_TICK_SHIFT) + watch->tick_base_ms;
}

/* The entry of thread @regs, another's until now or not. */
static __always_inline struct pf_probe_thread *take_entry(__u64 regs, __u64 offset)
{
	struct pf_probe_thread *thread = thread_entry(regs);

	if (thread->regs != regs) {
		thread->regs = regs;
		thread->offset = offset; /* as if repeated: no part of a stream */
	}
	return thread;
}

/*
 * Counts a fault at @offset of the arena by the thread that @thread was taken for, as minor, and classes it. False:
 * lost.
 * Atomic operations come last: nothing after one starts before all writes before it are done.
 */
static __always_inline bool count_fault(struct pf_probe_thread *thread, __u64 offset, bool write)
{
	struct place place;
	__u32 now_ms;
	bool random;

	if (find_place(&thread->watch, offset, &place)) {
		lost();
		return false;
	}
	now_ms = coarse_ms(&thread->watch);
	random = offset - thread->offset - 1 >= PINFOLD_SEQ_REACH - 1;
	if (random)
		random = !continues_slice(&place, now_ms);
	thread->offset = offset;
	thread->random = random;
	thread->waited = PF_PROBE_WAIT_NONE;
	thread->start_ns = thread->watch.stamp_in_fault ? bpf_ktime_get_ns() : 0;
	place.slot->last_page = place.page;
	place.slot->last_seen_ms = now_ms;
	if (thread->watch.count_nodes)
		__sync_fetch_and_add(&place.slot->node[bpf_get_numa_node_id() & (PINFOLD_SLOT_NODES - 1)], 1);
	if (write)
		__sync_fetch_and_add(&place.slot->write, 1);
	if (random)
		__sync_fetch_and_add(&place.slot->random, 1);
	__sync_fetch_and_add(&place.slot->minor, 1);
	return true;
}

static __always_inline __u32 log2_bucket(__u64 ns)
{
	__u32 bucket = 0;

	if (ns >> 32)
		return PINFOLD_SLOT_HIST - 1;
	if (ns >> 16) {
		bucket += 16;
		ns >>= 16;
	}
	if (ns >> 8) {
		bucket += 8;
		ns >>= 8;
	}
	if (ns >> 4) {
		bucket += 4;
		ns >>= 4;
	}
	if (ns >> 2) {
		bucket += 2;
		ns >>= 2;
	}
	if (ns >> 1)
		bucket++;
	return bucket & (PINFOLD_SLOT_HIST - 1);
}

/* The fault at @offset, counted by count_fault() as minor, turned out to have read the device. */
static __always_inline void count_major(__u64 offset, __u64 regs)
{
	struct pf_probe_thread *thread = thread_entry(regs);
	struct place place;
	__u64 stall_ns;

	if (find_place(&config.watch, offset, &place)) {
		lost();
		return;
	}
	__sync_fetch_and_add(&place.slot->minor, -1);
	__sync_fetch_and_add(&place.slot->major, 1);
	if (thread->regs != regs || !thread->start_ns)
		return; /* its start is not known: no latency rather than a wrong one */
	stall_ns = bpf_ktime_get_ns() - thread->start_ns;
	thread->start_ns = 0;
	__sync_fetch_and_add(&place.slot->stall_ns, stall_ns);
	if (thread->random)
		__sync_fetch_and_add(&place.slot->stall_random_ns, stall_ns);
	if (thread->waited)
		__sync_fetch_and_add(&place.slot->io_wait, -1);
	thread->waited = PF_PROBE_WAIT_NONE;
	__sync_fetch_and_add(&place.slot->latency[log2_bucket(stall_ns)], 1);
}

/*
 * The fault of thread @regs was not served by mapping what is in memory: its
 * start is taken here, off the fast path. It waits for another's read unless
 * it turns out to be major. @page_index (in the file) tells our fault from one on another file.
 */
static __always_inline void count_wait(__u32 page_index, __u64 regs)
{
	struct pf_probe_thread *thread = thread_entry(regs);
	struct place place;

	if (thread->regs != regs || thread->waited || index_in_file(thread->offset) != page_index)
		return;
	if (find_place(&config.watch, thread->offset, &place)) {
		lost();
		return;
	}
	thread->waited = PF_PROBE_WAIT_BEGUN;
	if (!thread->start_ns)
		thread->start_ns = bpf_ktime_get_ns();
	__sync_fetch_and_add(&place.slot->io_wait, 1);
}

/* Run once by test_run in the process to be watched. */
SEC("raw_tp")
int learn_process(void *ctx)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();

	__u64 stack = 0;

	state.watch_tgid = task->tgid;
	bpf_core_read(&stack, sizeof(stack), &task->stack);
	/* Through memory it becomes a number. */
	*(volatile __u64 *)&state.regs_at = (__u64)bpf_task_pt_regs((void *)task);
	*(volatile __u64 *)&state.regs_at -= stack;
	state.tick_base_ms = bpf_ktime_get_ns() / 1000000 - coarse_ms(&config.watch);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";

#endif
