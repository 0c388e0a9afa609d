/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * residency.h - acts on mapped file ranges and reports what the kernel answered.
 *
 * All ranges are page-aligned parts of a MAP_SHARED, PROT_READ file mapping of
 * this process, given with the file they map. Nothing here decides anything.
 */
#ifndef PF_RESIDENCY_H
#define PF_RESIDENCY_H

#include <pinfold/residency.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ring.h"

struct pf_range {
	void *addr;
	size_t size;
	int fd;
	uint64_t offset; /* of addr in the file */
};

/* ---- pin.c ---- */

/**
 * mlock2(MLOCK_ONFAULT), then (unless @onfault) reads in and maps what is missing. Bounded memory; may take as
 * long as reading @range. -EPERM, -ENOMEM, -EAGAIN as mlock2; -ENOMEM before the cgroup's limit is reached; -EIO. A
 * failed pin leaves none of @range locked. Any thread.
 */
int pf_pin(const struct pf_range *range, bool onfault);
int pf_unpin(const struct pf_range *range);

/* ---- advise.c ---- */

/**
 * Readahead around misses in @range off (@random) or as the kernel thinks best. Splits the mapping at the range's ends;
 * -ENOMEM if that would be one mapping too many. Any thread.
 */
int pf_advise(const struct pf_range *range, bool random);

/* ---- prefetch.c: bring many ranges in at the device's queue depth ---- */

struct pf_prefetcher;
/** @queue_depth: ranges that all threads that wait for theirs keep in flight together; 0: 128. */
int pf_prefetcher_new(uint32_t queue_depth, struct pf_prefetcher **ret_prefetcher);
void pf_prefetcher_free(struct pf_prefetcher *prefetcher);
/**
 * Starts reading all ranges into the page cache; returns when started (@wait false) or resident and mapped
 * (@wait true; -EIO instead of SIGBUS). Any thread.
 */
int pf_prefetch_ranges(struct pf_prefetcher *prefetcher, const struct pf_range *ranges, size_t count, bool wait);

/**
 * As pf_prefetch_ranges(@wait true), with the result of each range in @ret_results (0 or -errno). Any thread.
 * All of a caller's ranges in one call keep the device busier than several calls.
 */
int pf_prefetch_each(struct pf_prefetcher *prefetcher, const struct pf_range *ranges, size_t count, int *ret_results);

/* ---- scan.c: see pinfold_scan in pinfold/read.h ---- */

struct pf_scan;
/** @ranges are copied; their mappings and files must outlive the scan. @wish NULL: without io_uring. */
int pf_scan_open(const struct pf_range *ranges, size_t count, uint32_t queue_depth, const struct pf_ring_options *wish,
		 struct pf_scan **ret_scan);
/**
 * 1 and a block, 0 at the end, -EIO (final). *ret_offset: in range *ret_range. A block is valid until the next
 * call. One thread at a time.
 */
int pf_scan_next(struct pf_scan *scan, const void **ret_data, size_t *ret_size, size_t *ret_range,
		 uint64_t *ret_offset);
void pf_scan_close(struct pf_scan *scan);

/* ---- query.c ---- */

int pf_residency_query(const struct pf_range *range, struct pinfold_residency *ret_residency);
/** Resident 4 KiB pages of @range (cachestat, else mincore). Cheap enough for every turn of a few slices. */
int pf_resident_pages(const struct pf_range *range, uint64_t *ret_pages);

/* ---- huge.c, numa.c ---- */

/**
 * Makes the 2 MiB blocks of @range huge (MADV_HUGEPAGE, then MADV_COLLAPSE or reading again). A reader of a block
 * may wait for one 2 MiB read. -EOPNOTSUPP if none became huge.
 */
int pf_fold(const struct pf_range *range);
int pf_unfold(const struct pf_range *range);
/** Moves resident pages of @range to @node; *ret_moved pages. -EACCES: mapped by others and no CAP_SYS_NICE. */
int pf_migrate(const struct pf_range *range, int node, uint64_t *ret_moved);
uint32_t pf_node_count(void);

/* ---- limits.c: effective memory ---- */

struct pf_memory_limits {
	uint64_t ram_bytes;
	uint64_t cgroup_bytes;   /* UINT64_MAX: none */
	uint64_t cgroup_used_bytes;
	uint64_t memlock_bytes;  /* UINT64_MAX: unlimited or CAP_IPC_LOCK */
	uint64_t effective_bytes;
	const char *limit_name;  /* "ram", "cgroup", "rlimit_memlock". Static */
	char cgroup_path[256];   /* where the limit was read */
};
int pf_memory_limits_read(struct pf_memory_limits *ret_limits);

/* ---- doctor.c ---- */

/**
 * Tries what residency can use on this host, with files in @dir (NULL: what needs none). Returns how
 * many capabilities were stored, at most @limit. Takes tens of milliseconds; leaves nothing behind.
 */
int pf_residency_doctor(const char *dir, struct pinfold_capability *ret_caps, size_t limit);

#endif
