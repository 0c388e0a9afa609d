// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * scan_plan.c - cuts the ranges of a scan into segments, in order.
 *
 * DESIGN
 *
 *   Residency is asked for in spans of 16 MiB. A wholly resident span is one segment, so a
 *   hot scan costs one mincore per 16 MiB. In a mixed span, resident runs of
 *   SCAN_RUN_MIN or more are handed out in place; everything else is read in
 *   blocks of at most SCAN_BLOCK, resident crumbs included (the kernel writes
 *   dirty ones back first, so what is read is what the mapping shows).
 *
 *   mincore of a cold span looks every page up; cachestat answers "nothing there" at
 *   once. So after a cold span cachestat is asked first.
 *
 * Invariants
 *   1. Segments cover every byte of every range once, in order.
 *   2. The planner reads no data and changes no residency. Its answer may be out of
 *      date by the time of use; that costs time, never correctness.
 */
#include "residency/scan.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

int scan_plan_init(struct scan_plan *plan)
{
	plan->page = pf_page_size();
	plan->span = malloc(SCAN_SPAN / plan->page);
	return plan->span ? 0 : -ENOMEM;
}

void scan_plan_done(struct scan_plan *plan)
{
	free(plan->span);
	plan->span = NULL;
}

static void set_uniform(struct scan_plan *plan, bool resident)
{
	plan->span_uniform = true;
	plan->span_resident = resident;
	plan->was_cold = !resident;
}

/** Pages of the span, from its first on, that are wholly within a file of @size bytes. */
static size_t whole_pages(const struct pf_range *range, const struct scan_plan *plan, uint64_t size)
{
	uint64_t start = range->offset + plan->span_at;

	if (size <= start)
		return 0;
	return size - start < plan->span_size ? (size_t)(size - start) / plan->page : plan->span_size / plan->page;
}

static void look(struct scan_plan *plan, const struct pf_range *range, const struct scan_file *file)
{
	size_t pages, whole, resident = 0;
	struct pf_cachestat stat;
	struct stat st;

	plan->span_at = plan->at;
	plan->span_size = range->size - plan->at < SCAN_SPAN ? range->size - plan->at : SCAN_SPAN;
	pages = plan->span_size / plan->page;
	if (!file->visible) {
		set_uniform(plan, false);
		return;
	}
	if (plan->was_cold && !pf_cachestat(file->fd, range->offset + plan->at, plan->span_size, &stat) &&
	    !stat.cached) {
		set_uniform(plan, false);
		return;
	}
	if (mincore((char *)range->addr + plan->at, plan->span_size, plan->span)) {
		set_uniform(plan, false);
		return;
	}
	/* the page that a truncated file ends in may be resident: it is read, so that the end is found where it is */
	whole = fstat(file->fd, &st) ? 0 : whole_pages(range, plan, (uint64_t)st.st_size);
	for (size_t i = whole; i < pages; i++)
		plan->span[i] = 0;
	for (size_t i = 0; i < pages; i++)
		resident += plan->span[i] & 1;
	if (!resident || resident == pages) {
		set_uniform(plan, resident != 0);
		return;
	}
	plan->span_uniform = false;
	plan->was_cold = false;
}

/** Pages from @from on, at most up to @limit, that are in state @resident. */
static size_t run_length(const struct scan_plan *plan, size_t from, size_t limit, bool resident)
{
	size_t at = from;

	while (at < limit && (plan->span[at] & 1) == resident)
		at++;
	return at - from;
}

static void cut_mixed(const struct scan_plan *plan, size_t run_min, struct scan_segment *segment)
{
	size_t from = (plan->at - plan->span_at) / plan->page, pages = plan->span_size / plan->page;
	size_t block_end, run = run_length(plan, from, pages, true);

	if (run && (run >= run_min || from + run == pages)) {
		segment->in_place = true;
		segment->size = run * plan->page;
		return;
	}
	/* reads end at block boundaries, so that they stay aligned after an odd start */
	block_end = ((plan->at + SCAN_BLOCK) & ~(SCAN_BLOCK - 1)) - plan->span_at;
	block_end = block_end / plan->page < pages ? block_end / plan->page : pages;
	for (size_t at = from; at < block_end; at += run) {
		bool resident = plan->span[at] & 1;

		run = run_length(plan, at, pages, resident);
		if (resident && run >= run_min) {
			block_end = at;
			break;
		}
	}
	segment->in_place = false;
	segment->size = (block_end - from) * plan->page;
}

bool scan_plan_next(struct scan_plan *plan, struct scan_segment *ret_segment)
{
	const struct pf_range *range;
	const struct scan_file *file;
	size_t left;

	if (plan->range == plan->count)
		return false;
	range = &plan->ranges[plan->range];
	file = &plan->files[plan->file_of[plan->range]];
	if (plan->at >= plan->span_at + plan->span_size)
		look(plan, range, file);
	left = plan->span_at + plan->span_size - plan->at;

	*ret_segment = (struct scan_segment){.range = plan->range, .at = plan->at};
	if (!plan->span_uniform) {
		/* without O_DIRECT the pages read are dropped again: then never read resident ones */
		cut_mixed(plan, file->direct < 0 ? 1 : SCAN_RUN_MIN / plan->page, ret_segment);
	} else if (plan->span_resident) {
		ret_segment->in_place = true;
		ret_segment->size = left;
	} else {
		ret_segment->size = SCAN_BLOCK - (plan->at & (SCAN_BLOCK - 1));
		if (ret_segment->size > left)
			ret_segment->size = left;
	}
	plan->at += ret_segment->size;
	if (plan->at == range->size) {
		plan->range++;
		plan->at = 0;
		plan->span_at = 0;
		plan->span_size = 0;
	}
	return true;
}
