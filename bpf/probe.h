/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * probe.h - sizes and types that the probes and their user side share.
 */
#ifndef PF_PROBE_H
#define PF_PROBE_H

#include <linux/types.h>

#define PF_PROBE_PAGE_SHIFT 12
/* Threads whose last fault is remembered. */
#define PF_PROBE_THREADS_SHIFT 10
#define PF_PROBE_THREADS (1 << PF_PROBE_THREADS_SHIFT)

#define PF_PROBE_TICK_SHIFT 20

/* How far a fault that was not served by mapping what is cached has come. */
#define PF_PROBE_WAIT_NONE 0
#define PF_PROBE_WAIT_BEGUN 1
#define PF_PROBE_WAIT_MAPPED 2

/* Where the watched memory is, how it is cut, and what time it is: all that counting a fault needs to know. */
struct pf_probe_watch {
	__u64 base;
	__u64 size;
	__u32 tick_ms_fixed; /* milliseconds per tick << PF_PROBE_TICK_SHIFT */
	__u32 tick_base_ms;  /* CLOCK_MONOTONIC when jiffies were 0 */
	__u8 file_shift;     /* 0: file_size is not a power of two */
	__u8 slice_shift;
	__u8 count_nodes;
	__u8 stamp_in_fault; /* there is no later place to take a major fault's start time */
	__u32 pad;
};

/* What user space tells a probe before it is loaded. */
struct pf_probe_config {
	struct pf_probe_watch watch; /* tick_base_ms is not known yet */
	__u64 file_size;
};

/* What a probe tells user space. */
struct pf_probe_state {
	__u64 lost_events;
	__u32 watch_tgid;
	__u32 tick_base_ms; /* answer of learn_process() */
	__u64 regs_at;      /* where a thread's user registers stand on its kernel stack */
};

/* Names a watched file where a probe sees only its inode. @dev is the kernel's own encoding. */
struct pf_probe_inode {
	__u64 ino;
	__u32 dev;
	__u32 pad;
};

/* What cache.bpf.c and user space tell each other while it runs. */
struct pf_probe_cache {
	__u64 mapping; /* answer of find_mapping() */
	__u32 fd;      /* question */
	__u32 pad;
};

/*
 * The last fault of a thread: one cache line, so that threads do not disturb each other, and so that a fault of a
 * known thread reads no other line but its slot's. User space fills in @watch, the same in all, before probes attach.
 */
struct pf_probe_thread {
	__u64 regs;     /* whose: the address of its user registers on its kernel stack; 0: nobody's */
	__u64 offset;   /* in the arena */
	__u64 start_ns; /* 0: not taken, or used */
	__u32 wait_index; /* page in its file of the fault that start_ns belongs to, where only that is known */
	__u8 random;
	__u8 waited; /* PF_PROBE_WAIT_* */
	__u16 pad;
	struct pf_probe_watch watch;
};

#endif
