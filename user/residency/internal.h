/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * internal.h - what the files of this room share and nobody else sees.
 */
#ifndef PF_RESIDENCY_INTERNAL_H
#define PF_RESIDENCY_INTERNAL_H

#include "residency/residency.h"

/** Unit of work of everything that goes through a long range: one huge page. */
#define PF_PIECE ((size_t)2 << 20)
/**
 * Most that is asked for in one call of WILLNEED: of more the kernel may read only a beginning, as much as the larger
 * of the device's readahead window and its largest request (force_page_cache_readahead(), 6.1 to 6.18). 128 KiB is
 * Linux' own default window; calls of 2 MiB were not faster (1 GiB, 6.18).
 */
#define PF_READ_MAX ((size_t)128 << 10)

/** The kernel's page size, bytes. */
size_t pf_page_size(void);
/** 0, or -EINVAL with words if @range is not made of whole pages or is empty. */
int pf_range_check(const struct pf_range *range);
/** @piece of @size bytes at @at in @range, cut off at its end. */
struct pf_range pf_range_part(const struct pf_range *range, size_t at, size_t size);

/** Starts reading exactly the missing pages of @range. No mmap_lock is taken. Errors are left to pf_populate(). */
void pf_start_reading(const struct pf_range *range);
/** Reads in (waits) and maps every page of @range. -EIO instead of SIGBUS. One call's worth: at most a few pieces. */
int pf_populate(const struct pf_range *range);
/** The fallback of pf_populate() where MADV_POPULATE_READ is refused. */
int pf_populate_by_copy(const struct pf_range *range);

/** Opens the file behind @fd anew, read-only plus @flags (O_DIRECT), so that advice on it is its own. -errno, no words.
 */
int pf_reopen(int fd, int flags);
/** Whether mincore and cachestat tell this user the truth about @fd (owner or writer); else they say nothing or all
 * ones. */
bool pf_residency_visible(int fd);

/* cachestat(2), 6.5+ */
struct pf_cachestat {
	uint64_t cached, dirty, writeback, evicted, recently_evicted;
};
/** -ENOSYS, -EPERM, -EOPNOTSUPP. No words. */
int pf_cachestat(int fd, uint64_t offset, uint64_t size, struct pf_cachestat *ret_stat);

/* pagemap.c: this process's own page tables */

#define PF_PAGE_PRESENT (1u << 0)
#define PF_PAGE_LARGE   (1u << 1) /* part of a large folio */
struct pf_pagemap {
	int pagemap_fd, flags_fd; /* flags_fd: -1 without the right to read frame numbers */
	bool vma_sums;            /* found out by pf_pagemap_huge_bytes(): this kernel says it of whole VMAs only */
};
/** -errno, no words. */
int pf_pagemap_open(struct pf_pagemap *ret_pagemap);
void pf_pagemap_close(struct pf_pagemap *pagemap);
/** Fills one byte of PF_PAGE_* for each page. *ret_large_known false: PF_PAGE_LARGE could not be told. */
int pf_pagemap_read(struct pf_pagemap *pagemap, void *addr, size_t pages, uint8_t *ret_state, bool *ret_large_known);
/**
 * Bytes of [addr, addr+size) mapped by PMD entries. Before Linux 6.7 only sums of VMAs can be had: -ENODATA where a
 * VMA is so mapped in part and reaches beyond the range.
 */
int pf_pagemap_huge_bytes(struct pf_pagemap *pagemap, void *addr, size_t size, uint64_t *ret_bytes);
/** The same for all of the VMAs that [addr, addr+size) is in. */
int pf_pagemap_vma_huge_bytes(void *addr, size_t size, uint64_t *ret_bytes);

/* pin.c */

/** Bytes of @range in pieces that are locked: msync(MS_INVALIDATE) says EBUSY there, and does nothing else. */
uint64_t pf_locked_pieces(const struct pf_range *range);

/* limits.c */

/** pf_memory_limits_read() on a tree of files below @root (tests); "" is the running system. */
int pf_memory_limits_read_at(const char *root, struct pf_memory_limits *ret_limits);
/** Bytes this process has locked (VmLck). 0 if unknown. */
uint64_t pf_locked_bytes(void);

/* scan.c */

#define PF_SCAN_NO_DIRECT (1u << 0)
int pf_scan_open_flags(const struct pf_range *ranges, size_t count, uint32_t queue_depth,
		       const struct pf_ring_options *wish, uint32_t flags, struct pf_scan **ret_scan);

#endif
