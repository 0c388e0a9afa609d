/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * linux/pinfold.h - the telemetry slot, shared by kernel probes and user space.
 *
 * A data file is cut into slices of 2^slice_shift bytes (at least 2 MiB). Each
 * slice has one slot. Slots stand in an array in shared memory; slice i of the
 * file is slot i. Probes write, everybody else maps the array read-only and
 * reads without a system call.
 *
 * Counters only ever grow (they wrap at 2^64). A reader takes differences of
 * two readings; there is no lock, so fields of one slot may differ in age by
 * the faults that happened while it was copied.
 */
#ifndef _UAPI_LINUX_PINFOLD_H
#define _UAPI_LINUX_PINFOLD_H

#include <linux/types.h>

#define PINFOLD_ABI_VERSION 1

#define PINFOLD_SLICE_SHIFT_MIN 21
#define PINFOLD_SLOT_NODES 8
#define PINFOLD_SLOT_HIST 32

/*
 * A fault is *sequential* if it continues a stream:
 *   - it lies ahead of the previous fault of its own thread, by less than
 *     PINFOLD_SEQ_REACH bytes (a scan steps over what is mapped already), or
 *   - it lies at most PINFOLD_SEQ_STEP_PAGES ahead of the slice's previous
 *     fault, less than PINFOLD_SEQ_WINDOW_MS ago, or
 *   - it is the slice's first fault for that long, at the slice's beginning, and the slice
 *     before it was faulted at its end within the window.
 * Every other fault is *random*: a repeated or backward step, a far jump. The
 * last two rules catch streams that share a thread or pass from thread to thread.
 */
#define PINFOLD_SEQ_REACH (8u << 20)
#define PINFOLD_SEQ_STEP_PAGES 64
#define PINFOLD_SEQ_WINDOW_MS 100

struct pinfold_slot {
	/* Line 0: written by every counted fault. */
	__u64 minor;		/* faults served from memory */
	__u64 major;		/* faults that read the device */
	__u64 write;		/* of all faults, those for writing */
	__u64 random;		/* of all faults, those classed random */
	__u64 stall_ns;		/* time spent in major faults */
	__u64 stall_random_ns;	/* the part of it in random faults */
	__u64 io_wait;		/* of the minor ones, those that waited for another's read */
	__u32 last_page;	/* page index in the slice of the last fault */
	__u32 last_seen_ms;	/* CLOCK_MONOTONIC (coarse) of the last fault */

	/* Line 1: faults by the node of the CPU that took them; not counted on a machine with one node. */
	__u64 node[PINFOLD_SLOT_NODES];

	/*
	 * Line 2: what became of the slice's page-cache folios, whichever process did it. Removed are
	 * also pages that were freed in the file. Which pages left is not kept, only how many: evicted - refaulted
	 * are away, and every page that is added while some are away counts as one that came back. Probes that
	 * race may overdraw by a folio, so the difference is signed.
	 */
	__u64 inserted;		/* pages added to the page cache */
	__u64 evicted;		/* pages removed from it */
	__u64 refaulted;	/* pages that came back after an eviction */
	__u64 huge_mapped;	/* PMD mappings made */
	__u64 huge_split;	/* large folios split */
	__u64 migrated;		/* folios moved to another node */
	__u64 __reserved[2];

	/* Lines 3-4: latency of timed faults; bucket b counts [2^b, 2^(b+1)) ns. */
	__u32 latency[PINFOLD_SLOT_HIST];
};

#define PINFOLD_SLOT_SIZE 320

#endif
