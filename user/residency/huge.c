// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * huge.c - asks for huge pages on a range, and stops asking.
 *
 * DESIGN
 *
 *   A block of 2 MiB becomes one folio in one of two ways:
 *   collapse  MADV_COLLAPSE copies the small pages into one. Only where the kernel can
 *             do it for this filesystem (CONFIG_READ_ONLY_THP_FOR_FS, shmem).
 *   reread    With MADV_HUGEPAGE the read of a block of which nothing is cached allocates
 *             one folio (xfs from 6.1, ext4 from about 6.16). So the block is written
 *             back, dropped and read again: a reader waits for one 2 MiB read.
 *
 *   A block that is already mapped by a PMD is left alone, so asking again is cheap.
 *
 * Invariants
 *   1. Data is never lost: only clean pages are dropped, by the kernel's own choice.
 *   2. Every block is populated again before the next one is touched.
 */
#include "residency/internal.h"

#include "base/error.h"

#include <fcntl.h>
#include <sys/mman.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

/** Where only sums of VMAs can be had, @vma_before is the sum without the block. */
static bool block_is_huge(struct pf_pagemap *pagemap, const struct pf_range *block, uint64_t vma_before)
{
	uint64_t bytes;

	if (!pf_pagemap_huge_bytes(pagemap, block->addr, block->size, &bytes))
		return bytes == block->size;
	return !pf_pagemap_vma_huge_bytes(block->addr, block->size, &bytes) && bytes >= vma_before + block->size;
}

/* Takes @block out of this mapping and the page cache, except for what others map or are reading just now. */
static int drop(const struct pf_pagemap *pagemap, const struct pf_range *block, uint64_t *ret_vma_before)
{
	if (madvise(block->addr, block->size, MADV_DONTNEED_LOCKED) && madvise(block->addr, block->size, MADV_DONTNEED))
		return pf_error(-errno, "fold at file offset %llu: cannot unmap the block: %m",
				(unsigned long long)block->offset);
	if (pagemap->vma_sums)
		(void)pf_pagemap_vma_huge_bytes(block->addr, block->size, ret_vma_before);
	(void)sync_file_range(block->fd, (off_t)block->offset, (off_t)block->size,
			      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
	(void)posix_fadvise(block->fd, (off_t)block->offset, (off_t)block->size, POSIX_FADV_DONTNEED);
	return 0;
}

/* *ret_vma_before as block_is_huge() takes it. */
static int reread(const struct pf_pagemap *pagemap, const struct pf_range *block, uint64_t *ret_vma_before)
{
	struct pf_range first = pf_range_part(block, 0, pf_page_size());
	uint64_t left;
	int r = drop(pagemap, block, ret_vma_before);

	if (!r && !pf_resident_pages(block, &left) && left) {
		/* Readahead of the block before goes on into this one. Mapping what it reads waits for it. */
		r = pf_populate(block);
		if (!r)
			r = drop(pagemap, block, ret_vma_before);
	}
	/* a fault, not readahead: only the fault path looks at MADV_HUGEPAGE */
	if (!r)
		r = pf_populate(&first);
	return r ? r : pf_populate(block);
}

int pf_fold(const struct pf_range *range)
{
	uintptr_t start, end, huge = PF_PIECE;
	struct pf_pagemap pagemap;
	size_t folded = 0, blocks = 0;
	bool collapse = true;
	int r = pf_range_check(range);

	if (r)
		return r;
	start = ((uintptr_t)range->addr + huge - 1) & ~(huge - 1);
	end = ((uintptr_t)range->addr + range->size) & ~(huge - 1);
	if (start >= end || ((uintptr_t)range->addr ^ range->offset) & (huge - 1))
		return pf_error(-EINVAL, "fold of %zu bytes at file offset %llu: no aligned block of 2 MiB in it",
				range->size, (unsigned long long)range->offset);
	if (madvise((void *)start, end - start, MADV_HUGEPAGE))
		return pf_error(-errno, "MADV_HUGEPAGE at file offset %llu: %m", (unsigned long long)range->offset);
	r = pf_pagemap_open(&pagemap);
	if (r)
		return pf_error(r, "/proc/self/pagemap cannot be opened: whether blocks are huge cannot be told");
	for (uintptr_t at = start; at < end && !r; at += huge, blocks++) {
		struct pf_range block = pf_range_part(range, at - (uintptr_t)range->addr, huge);
		uint64_t before = UINT64_MAX - huge;

		if (block_is_huge(&pagemap, &block, before)) {
			folded++;
			continue;
		}
		if (collapse && !madvise(block.addr, block.size, MADV_COLLAPSE)) {
			folded++;
			continue;
		}
		/* EINVAL: not for this filesystem, so not for the next block either */
		if (errno == EINVAL)
			collapse = false;
		r = reread(&pagemap, &block, &before);
		if (!r && block_is_huge(&pagemap, &block, before))
			folded++;
		if (!r && !folded && blocks >= 3)
			break; /* four blocks in a row did not: this kernel cannot on this filesystem */
	}
	pf_pagemap_close(&pagemap);
	if (!r && !folded)
		r = pf_error(-EOPNOTSUPP,
			     "fold at file offset %llu: this kernel makes no huge page of this filesystem's pages here",
			     (unsigned long long)range->offset);
	if (r)
		(void)madvise((void *)start, end - start, MADV_NOHUGEPAGE);
	return r;
}

int pf_unfold(const struct pf_range *range)
{
	int r = pf_range_check(range);

	if (r)
		return r;
	if (madvise(range->addr, range->size, MADV_NOHUGEPAGE))
		return pf_error(-errno, "MADV_NOHUGEPAGE at file offset %llu: %m", (unsigned long long)range->offset);
	return 0;
}
