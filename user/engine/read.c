/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * read.c - the public reading calls: pointers, copies, guards, batches, scans.
 *
 * Nothing here takes a lock. A pointer is arithmetic on the arena's base after
 * the extent's generation was checked; what keeps it valid is the caller's epoch.
 */
#include "engine/engine.h"

#include <stdlib.h>
#include <string.h>

#include "base/sigbus.h"

/* Most ranges handed to the prefetcher at a time; between two of these the device's queue runs empty. */
#define BATCH_RANGES 8192

void pinfold_read_begin(struct pinfold *pf)
{
	pf_epoch_enter();
}

void pinfold_read_end(struct pinfold *pf)
{
	pf_epoch_leave();
}

int pinfold_extent_ptr(struct pinfold *pf, const struct pinfold_extent *extent, const void **ret_ptr)
{
	int r;

	REQUIRE(pf && extent && ret_ptr);
	r = pf_extent_readable(pf->store, extent);
	if (r)
		return r;
	*ret_ptr = pf_extent_addr(pf->base, pf->file_size, extent);
	return 0;
}

int pinfold_read_at(struct pinfold *pf, const struct pinfold_extent *extent, uint64_t offset, void *ret_data,
		    size_t size)
{
	REQUIRE(pf && extent && (ret_data || !size));
	return pf_read_at(pf->store, extent, offset, ret_data, size);
}

/* ---- guarded sections ---- */

int pinfold_guard_arm_(struct pinfold *pf, struct pinfold_guard *guard)
{
	guard->pf = pf;
	return pf_sigbus_arm_caller(&guard->env, pf->base, pf_store_arena_size(pf->store), &guard->prev);
}

int pinfold_guard_failed_(struct pinfold_guard *guard)
{
	const char *addr = pf_sigbus_address();
	uint64_t position = (uint64_t)(addr - guard->pf->base);

	return pf_error(-EIO, "%s/data.%06u: offset %llu: cannot be read (bad block or truncated file)",
			pf_store_dir(guard->pf->store), (unsigned)(position / guard->pf->file_size),
			(unsigned long long)(position % guard->pf->file_size));
}

void pinfold_guard_leave(struct pinfold_guard *guard)
{
	pf_sigbus_disarm(guard->prev);
}

/* ---- batches and prefetch ---- */

struct pf_range pf_range_of(struct pinfold *pf, uint32_t file_id, uint64_t offset, uint64_t size)
{
	uint64_t start = offset & ~4095ull;
	uint64_t end = (offset + size + 4095) & ~4095ull;

	if (end > pf->file_size)
		end = pf->file_size; /* the last slice of an odd-sized file */
	return (struct pf_range){
		.addr = (char *)pf->base + (uint64_t)file_id * pf->file_size + start,
		.size = end - start,
		.fd = pf_store_file_fd(pf->store, file_id),
		.offset = start,
	};
}

/* @size bytes at @offset lie in @extent, and the extent is what it was. */
static int check_range(struct pinfold *pf, const struct pinfold_extent *extent, uint64_t offset, uint64_t size)
{
	int r = pf_extent_readable(pf->store, extent);

	if (r)
		return r;
	if (offset > extent->len || size > extent->len - offset)
		return pf_error(-ERANGE, "offset %llu + %llu bytes is beyond the extent's %u bytes",
				(unsigned long long)offset, (unsigned long long)size, extent->len);
	return 0;
}

/* Requests [first, first + count) of a batch: what is in order becomes a range. Returns how many. */
static size_t ranges_of(struct pinfold *pf, struct pinfold_read_req *reqs, size_t count, struct pf_range *ret_ranges,
			uint32_t *ret_index)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		struct pinfold_read_req *req = &reqs[i];

		req->ret_ptr = NULL;
		req->ret_result = check_range(pf, &req->extent, req->offset, req->size);
		if (req->ret_result)
			continue;
		req->ret_ptr = (const char *)pf_extent_addr(pf->base, pf->file_size, &req->extent) + req->offset;
		if (!req->size)
			continue;
		ret_index[n] = (uint32_t)i;
		ret_ranges[n++] = pf_range_of(pf, req->extent.file_id, req->extent.offset + req->offset, req->size);
	}
	return n;
}

int pinfold_read_batch(struct pinfold *pf, struct pinfold_read_req *reqs, size_t count)
{
	size_t step = count < BATCH_RANGES ? count : BATCH_RANGES;
	struct pf_range *ranges; /* and behind them, in one block, index and results */
	uint32_t *index;
	int *results;
	int first_error = 0;

	REQUIRE(pf && (reqs || !count));
	if (!count)
		return 0;
	ranges = malloc(step * (sizeof(*ranges) + sizeof(*index) + sizeof(*results)));
	if (!ranges)
		return pf_error(-ENOMEM, "out of memory for a batch of %zu reads", count);
	index = (uint32_t *)(ranges + step);
	results = (int *)(index + step);
	for (size_t at = 0; at < count; at += step) {
		size_t part = count - at < step ? count - at : step;
		size_t n = ranges_of(pf, reqs + at, part, ranges, index);

		if (pf_prefetch_each(pf->prefetcher, ranges, n, results))
			for (size_t i = 0; i < n; i++)
				if (results[i]) {
					reqs[at + index[i]].ret_result = results[i];
					reqs[at + index[i]].ret_ptr = NULL;
				}
		for (size_t i = 0; i < part && !first_error; i++)
			first_error = reqs[at + i].ret_result;
	}
	free(ranges);
	return first_error;
}

void pinfold_prefetch(struct pinfold *pf, const struct pinfold_extent *extent, uint64_t offset, uint64_t size)
{
	struct pf_range range;

	if (check_range(pf, extent, offset, size) || !size)
		return;
	range = pf_range_of(pf, extent->file_id, extent->offset + offset, size);
	pf_prefetch_ranges(pf->prefetcher, &range, 1, false);
}

/* ---- scans ---- */

struct pinfold_scan {
	struct pinfold *pf;
	struct pf_scan *scan;
	size_t extent_count;
	struct pinfold_extent extents[];
};

int pinfold_scan_open(struct pinfold *pf, const struct pinfold_extent *extents, size_t count,
		      struct pinfold_scan **ret_scan)
{
	struct pf_ring_options wish;
	struct pinfold_scan *scan;
	struct pf_range *ranges;
	int r = 0;

	REQUIRE(pf && (extents || !count) && ret_scan);
	if (count > (SIZE_MAX - sizeof(*scan)) / sizeof(*extents))
		return pf_error(-EINVAL, "pinfold_scan_open: %zu extents are too many", count);
	scan = calloc(1, sizeof(*scan) + count * sizeof(*extents));
	ranges = calloc(count ? count : 1, sizeof(*ranges));
	if (!scan || !ranges) {
		r = pf_error(-ENOMEM, "out of memory");
		goto out;
	}
	scan->pf = pf;
	scan->extent_count = count;
	for (size_t i = 0; i < count; i++) {
		r = pf_extent_readable(pf->store, &extents[i]);
		if (r)
			goto out;
		scan->extents[i] = extents[i];
		ranges[i] = pf_range_of(pf, extents[i].file_id, extents[i].offset, extents[i].len);
	}
	pf_config_ring(&pf->config, &wish);
	r = pf_scan_open(ranges, count, pf->config.io_queue_depth, pf->config.no_io_uring ? NULL : &wish, &scan->scan);
	if (r)
		goto out;
	*ret_scan = scan;
	scan = NULL;
out:
	free(ranges);
	free(scan);
	return r;
}

int pinfold_scan_next(struct pinfold_scan *scan, struct pinfold_scan_block *ret_block)
{
	struct pinfold_scan_block block;
	int r;

	REQUIRE(scan && ret_block);
	r = pf_scan_next(scan->scan, &block.data, &block.size, &block.extent_index, &block.offset);
	if (r <= 0)
		return r;
	if (pf_extent_check(scan->pf->store, &scan->extents[block.extent_index]))
		return pf_error(-ESTALE, "extent %zu of the scan was dropped meanwhile", block.extent_index);
	*ret_block = block;
	return 1;
}

void pinfold_scan_close(struct pinfold_scan *scan)
{
	if (!scan)
		return;
	pf_scan_close(scan->scan);
	free(scan);
}
