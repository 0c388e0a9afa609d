// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * query.c - what of a range is in memory, and how. Brings nothing in.
 *
 * DESIGN
 *
 *   The page cache answers for the file (cachestat, else mincore): resident, dirty,
 *   writeback, recently evicted. The page tables answer for this mapping only: locked,
 *   huge, large_folio and the nodes count pages that are resident *and mapped here*.
 *   A resident page that was never touched through this mapping is in no node's count.
 *
 *   locked is the mapped part of VMAs that are locked. The kernel tells it without
 *   privilege: msync(MS_INVALIDATE) of a locked VMA is EBUSY, and does nothing else.
 *   (The frame's own mlocked flag is unreliable for large folios.)
 *
 * Invariant: what the host cannot tell is UINT64_MAX, never a guess.
 */
#include "residency/internal.h"

#include "base/error.h"

#include <inttypes.h>
#include <numaif.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/** Pages whose state is held at a time. */
#define BATCH 4096
/** Most pages asked for their node; a longer range is sampled evenly. */
#define NODE_SAMPLES_MAX 16384

struct mapped {
	uint64_t present, locked, large; /* pages */
	uint64_t sampled;
	uint64_t on_node[PINFOLD_NODES_MAX];
	bool large_known, nodes_known, locked_known;
};

static int mincore_pages(const struct pf_range *range, uint64_t *ret_pages)
{
	size_t page = pf_page_size();
	unsigned char vec[BATCH];
	uint64_t pages = 0;

	if (!pf_residency_visible(range->fd))
		return pf_error(-EPERM, "residency of a file is told to its owner and to those who may write it");
	for (size_t at = 0; at < range->size; at += BATCH * page) {
		struct pf_range part = pf_range_part(range, at, BATCH * page);

		if (mincore(part.addr, part.size, vec))
			return pf_error(-errno, "mincore of %zu bytes at file offset %llu: %m", part.size,
					(unsigned long long)part.offset);
		for (size_t i = 0; i < part.size / page; i++)
			pages += vec[i] & 1;
	}
	*ret_pages = pages;
	return 0;
}

int pf_resident_pages(const struct pf_range *range, uint64_t *ret_pages)
{
	struct pf_cachestat stat;
	int r = pf_range_check(range);

	if (r)
		return r;
	if (!pf_cachestat(range->fd, range->offset, range->size, &stat)) {
		*ret_pages = stat.cached;
		return 0;
	}
	return mincore_pages(range, ret_pages);
}

/** End of the VMA that @addr is in (or of the hole before the next), from /proc/self/maps read line by line. */
static uintptr_t vma_end(FILE *maps, uintptr_t addr)
{
	char line[512];

	while (fgets(line, sizeof(line), maps)) {
		uintptr_t start, end;

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &start, &end) == 2 && end > addr)
			return start > addr ? start : end;
	}
	return UINTPTR_MAX;
}

/** Marks the pages of locked VMAs: @locked is one bit per page of the range's VMA runs, as (end, locked) steps. */
struct lock_walk {
	FILE *maps;
	uintptr_t end; /* the run that was asked last ends here */
	bool locked;
};

static bool page_locked(struct lock_walk *walk, uintptr_t addr, size_t page)
{
	if (addr >= walk->end) {
		walk->end = vma_end(walk->maps, addr);
		walk->locked = msync((void *)addr, page, MS_INVALIDATE) && errno == EBUSY;
	}
	return walk->locked;
}

static void ask_nodes(struct mapped *mapped, void **pages, int *status, size_t count)
{
	if (!count || !mapped->nodes_known)
		return;
	if (move_pages(0, count, pages, NULL, status, 0)) {
		mapped->nodes_known = false;
		return;
	}
	for (size_t i = 0; i < count; i++) {
		if (status[i] < 0 || status[i] >= PINFOLD_NODES_MAX)
			continue;
		mapped->on_node[status[i]]++;
		mapped->sampled++;
	}
}

static int walk_mapped(const struct pf_range *range, struct pf_pagemap *pagemap, struct mapped *mapped)
{
	size_t page = pf_page_size(), total = range->size / page;
	size_t stride = total / NODE_SAMPLES_MAX + 1, next_sample = 0, index = 0;
	struct lock_walk walk = {.maps = fopen("/proc/self/maps", "re")};
	uint8_t state[BATCH];
	void *asked[256];
	int status[256], r = 0;
	size_t asked_count = 0;

	*mapped = (struct mapped){.large_known = true, .nodes_known = true, .locked_known = walk.maps != NULL};
	for (size_t at = 0; at < range->size && !r; at += BATCH * page) {
		struct pf_range part = pf_range_part(range, at, BATCH * page);
		bool large_known;

		r = pf_pagemap_read(pagemap, part.addr, part.size / page, state, &large_known);
		if (r)
			break;
		mapped->large_known &= large_known;
		for (size_t i = 0; i < part.size / page; i++, index++) {
			char *addr = (char *)part.addr + i * page;

			if (!(state[i] & PF_PAGE_PRESENT))
				continue;
			mapped->present++;
			mapped->large += !!(state[i] & PF_PAGE_LARGE);
			if (walk.maps)
				mapped->locked += page_locked(&walk, (uintptr_t)addr, page);
			if (index < next_sample)
				continue;
			next_sample = index + stride;
			asked[asked_count++] = addr;
			if (asked_count == 256) {
				ask_nodes(mapped, asked, status, asked_count);
				asked_count = 0;
			}
		}
	}
	ask_nodes(mapped, asked, status, asked_count);
	if (walk.maps)
		fclose(walk.maps);
	return r;
}

static void take_mapped(const struct pf_range *range, struct pinfold_residency *residency)
{
	uint64_t page = pf_page_size();
	struct pf_pagemap pagemap;
	struct mapped mapped;

	if (pf_pagemap_open(&pagemap))
		return;
	if (!walk_mapped(range, &pagemap, &mapped)) {
		if (mapped.locked_known)
			residency->locked = mapped.locked * page;
		if (mapped.large_known)
			residency->large_folio = mapped.large * page;
		if (mapped.nodes_known) {
			for (uint32_t i = 0; i < residency->node_count; i++)
				residency->node_bytes[i] =
					mapped.sampled ? (uint64_t)((double)mapped.on_node[i] / (double)mapped.sampled *
								    (double)mapped.present) *
								 page
						       : 0;
		}
	}
	if (pf_pagemap_huge_bytes(&pagemap, range->addr, range->size, &residency->huge))
		residency->huge = UINT64_MAX;
	pf_pagemap_close(&pagemap);
}

int pf_residency_query(const struct pf_range *range, struct pinfold_residency *ret_residency)
{
	struct pinfold_residency residency;
	uint64_t page = pf_page_size(), pages;
	struct pf_cachestat stat;
	int r = pf_range_check(range);

	if (r)
		return r;
	memset(&residency, 0xff, sizeof(residency));
	residency.size = range->size;
	residency.by_module = false;
	residency.node_count = pf_node_count();
	if (!pf_cachestat(range->fd, range->offset, range->size, &stat)) {
		residency.resident = stat.cached * page;
		residency.dirty = stat.dirty * page;
		residency.writeback = stat.writeback * page;
		residency.evicted_recently = stat.recently_evicted * page;
	} else if (!mincore_pages(range, &pages)) {
		residency.resident = pages * page;
	}
	take_mapped(range, &residency);
	*ret_residency = residency;
	return 0;
}
