/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * linux/pinfold.h - the telemetry slot, shared by kernel probes and user space,
 * and the protocol of /dev/pinfold.
 *
 * SLOTS
 *
 * A data file is cut into slices of 2^slice_shift bytes (at least 2 MiB). Each
 * slice has one slot. Slots stand in an array in shared memory; slice i of the
 * file is slot i. Probes write, everybody else maps the array read-only and
 * reads without a system call.
 *
 * Counters only ever grow (they wrap at 2^64). A reader takes differences of
 * two readings; there is no lock, so fields of one slot may differ in age by
 * the faults that happened while it was copied.
 *
 * THE DEVICE
 *
 * PINFOLD_IOC_REGISTER on /dev/pinfold takes a descriptor of a regular file that is open for reading and returns a
 * *region*: a new descriptor of the same file (as if opened again with the same access mode) whose mappings are
 * counted. It can do all that the file's own descriptor can: read, write, lock, sync, the filesystem's ioctls. Its
 * mmap gives the same addresses, permissions, errors and page cache as the file's own. Faults on a mapping of the
 * file's other descriptors are not counted.
 *
 * PINFOLD_IOC_SLOTS on the region returns a read-only descriptor to map the slots from. Slot i is at byte
 * i * PINFOLD_SLOT_SIZE. The array is sparse: memory is taken, 64 slots at a time, when a slice has its first fault
 * or a reader touches its slot. lseek(SEEK_DATA) and SEEK_HOLE tell which parts are there, so a reader of a large
 * file need not touch (and so make) the others.
 *
 * PINFOLD_IOC_INFO, _SCAN, _AGE and _REVOKE also go to the region. A region lives until its last descriptor, mapping
 * and slot mapping are gone; the module cannot be unloaded before.
 *
 * Every argument begins with its size as the caller knows it and with flags. A module that knows a longer one takes
 * the missing fields as 0. A module that knows a shorter one wants the rest to be 0, else -E2BIG. Flags that are not
 * known and reserved fields that are not 0 are -EINVAL. On return the first size bytes are written back. All layouts
 * are the same for 32- and 64-bit programs.
 *
 * Errors of all: -EFAULT (a bad address), -EINVAL, -E2BIG, -EINTR (a fatal signal), -ENOMEM, -ENOTTY (no such call).
 */
#ifndef _UAPI_LINUX_PINFOLD_H
#define _UAPI_LINUX_PINFOLD_H

#include <linux/ioctl.h>
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

	/* The module alone counts these two. */
	__u64 write_major;	/* faults that were for writing and major */
	__u64 mkwrite;		/* pages that the filesystem made writable (page_mkwrite) */

	/* Lines 3-4: latency of timed faults; bucket b counts [2^b, 2^(b+1)) ns. */
	__u32 latency[PINFOLD_SLOT_HIST];
};

#define PINFOLD_SLOT_SIZE 320

/* A region has at most this many slices: 32 TiB at 2 MiB. A larger file needs larger slices. */
#define PINFOLD_SLICES_MAX (1u << 24)
#define PINFOLD_SLICE_SHIFT_MAX 40

/* Also time and count in latency[] the faults that did not wait. Costs two readings of the clock per fault. */
#define PINFOLD_REGISTER_LATENCY (1u << 0)

/*
 * PINFOLD_IOC_REGISTER, on /dev/pinfold. Returns the region's descriptor (close-on-exec).
 *
 * -EBADF: fd is not open, or not for reading. -EOPNOTSUPP: not on ext4 or xfs, on DAX memory, a swap file.
 * -EFBIG: more than PINFOLD_SLICES_MAX slices. -EDQUOT: the user's limit of regions or of slot memory (module
 * parameters regions_per_user and memory_per_user; CAP_SYS_RESOURCE is exempt). -EMFILE, and what open() says.
 */
struct pinfold_register {
	__u32 size;
	__u32 flags;		/* PINFOLD_REGISTER_* */
	__s32 fd;
	__u32 slice_shift;	/* PINFOLD_SLICE_SHIFT_MIN to _MAX */
	__u64 length;		/* bytes of the file that slots are for; 0: its present size */
	__u64 slice_count;	/* out */
	__u64 __reserved[2];
};

/*
 * PINFOLD_IOC_SLOTS, on a region: no argument, returns the descriptor of its slots. -EPERM: only the user who
 * registered the region may ask; he may pass the descriptor on.
 */

/* PINFOLD_IOC_INFO, on a region. All but size and flags (0) is written. */
struct pinfold_info {
	__u32 size;
	__u32 flags;
	__u32 slice_shift;
	__u32 register_flags;
	__u64 slice_count;
	__u64 slot_bytes;	/* memory taken, of the user's limit */
	__u64 lost;		/* faults without a slot: beyond length, or no memory for it */
	__u64 __reserved[3];
};

/*
 * PINFOLD_IOC_SCAN and _AGE, on a region: what the page cache has of the file. It is asked in grains of
 * 2^grain_shift bytes, from offset on, and answered by one result per grain: struct pinfold_scan_args, struct
 * pinfold_age. A call does a bounded amount of work, at least one grain of it; count is then the number of grains that
 * were answered, and the caller goes on behind them. Nothing is locked in between: a busy file changes under the scan.
 *
 * -EPERM: as for mincore(), only who owns the file or could write it may know what others made resident.
 * -EINVAL: offset is not a multiple of the grain, or the range leaves the file format's limits.
 * -EOPNOTSUPP: _AGE on a processor other than x86-64.
 */
#define PINFOLD_GRAIN_SHIFT_MIN 12
#define PINFOLD_GRAIN_SHIFT_MAX 30
#define PINFOLD_GRAINS_MAX 65536

struct pinfold_query {
	__u32 size;
	__u32 flags;		/* 0 */
	__u64 offset;		/* bytes */
	__u32 grain_shift;
	__u32 count;		/* in: grains asked for; out: grains answered */
	__u64 results;		/* address of count results */
	__u64 __reserved;
};

/* Pages of one grain. */
struct pinfold_scan_args {
	__u32 resident;		/* read and valid */
	__u32 dirty;
	__u32 writeback;
	__u32 active;		/* on the active list */
	__u32 referenced;
	__u32 locked;		/* a hint: kernels do not keep it for every large folio */
	__u32 huge;		/* of the resident, those in folios of 2 MiB and more */
	__u32 large;		/* and in other folios of more than one page */
	__u32 node[PINFOLD_SLOT_NODES]; /* resident ones by memory node (modulo PINFOLD_SLOT_NODES) */
};

/*
 * Translations of one grain, of all processes. Those found used are marked unused, and their pages are marked
 * referenced for the kernel's own reclaim. A hint: processors keep used translations in their TLB, which is not
 * flushed, and do not mark them again while they are there. REVOKE is exact.
 */
struct pinfold_age {
	__u32 mapped;
	__u32 young;		/* of them, those that were used since the last time */
};

/*
 * PINFOLD_IOC_REVOKE, on a region: drops the translations of the ranges in every process that maps the file, by
 * whatever descriptor, and flushes them from all processors. The next access to each page faults. Pages stay in
 * the page cache and keep their data; those locked by mlock lose that mark until they are touched through the
 * mapping that locked them. A call does a bounded amount of work, at least one range; done says how many ranges were
 * revoked.
 *
 * -EPERM: as for SCAN. -EINVAL: a range that is not made of whole pages, or longer than PINFOLD_REVOKE_LENGTH_MAX.
 */
#define PINFOLD_REVOKE_COUNT_MAX 65536
#define PINFOLD_REVOKE_LENGTH_MAX (1ull << 30)

struct pinfold_range {
	__u64 offset;
	__u64 length;
};

struct pinfold_revoke {
	__u32 size;
	__u32 flags;		/* 0 */
	__u64 ranges;		/* address of count struct pinfold_range */
	__u32 count;
	__u32 done;		/* out */
	__u64 __reserved;
};

/* PINFOLD_IOC_VERSION, on /dev/pinfold: no argument, returns PINFOLD_ABI_VERSION of the module. */
#define PINFOLD_IOC_MAGIC 0xD5
#define PINFOLD_IOC_VERSION _IO(PINFOLD_IOC_MAGIC, 0)
#define PINFOLD_IOC_REGISTER _IOWR(PINFOLD_IOC_MAGIC, 1, struct pinfold_register)
#define PINFOLD_IOC_SLOTS _IO(PINFOLD_IOC_MAGIC, 2)
#define PINFOLD_IOC_INFO _IOWR(PINFOLD_IOC_MAGIC, 3, struct pinfold_info)
#define PINFOLD_IOC_SCAN _IOWR(PINFOLD_IOC_MAGIC, 4, struct pinfold_query)
#define PINFOLD_IOC_AGE _IOWR(PINFOLD_IOC_MAGIC, 5, struct pinfold_query)
#define PINFOLD_IOC_REVOKE _IOWR(PINFOLD_IOC_MAGIC, 6, struct pinfold_revoke)

#endif
