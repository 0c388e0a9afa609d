// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * numa.c - moves resident pages of a range between nodes.
 *
 * move_pages() sees only pages mapped here, so resident ones are mapped first
 * (nothing is read in). It says 0 for success in cases where it moved nothing, and
 * moves a large folio whole while its further pages report EBUSY; so what moved is
 * counted by asking where pages are before and after, never by its answer.
 */
#include "residency/internal.h"

#include "base/error.h"

#include <numa.h>
#include <numaif.h>
#include <string.h>
#include <sys/mman.h>

#define BATCH 512
/** Transient refusals (pages under I/O, on per-CPU lists) are asked again this often. */
#define ATTEMPTS 3

uint32_t pf_node_count(void)
{
	int highest = numa_available() < 0 ? 0 : numa_max_node();

	return highest < 0 ? 1 : highest >= PINFOLD_NODES_MAX ? PINFOLD_NODES_MAX : (uint32_t)highest + 1;
}

/** Maps what is in the page cache. Runs of resident pages only: nothing is read. */
static int map_resident(const struct pf_range *range)
{
	size_t page = pf_page_size(), pages = range->size / page;
	unsigned char vec[BATCH];

	if (mincore(range->addr, range->size, vec))
		return pf_error(-errno, "mincore at file offset %llu: %m", (unsigned long long)range->offset);
	for (size_t i = 0; i < pages;) {
		struct pf_range run;
		size_t length = 1;
		int r;

		if (!(vec[i] & 1)) {
			i++;
			continue;
		}
		while (i + length < pages && (vec[i + length] & 1))
			length++;
		run = pf_range_part(range, i * page, length * page);
		r = pf_populate(&run);
		if (r)
			return r;
		i += length;
	}
	return 0;
}

static int where(void **pages, size_t count, int *ret_nodes)
{
	return move_pages(0, count, pages, NULL, ret_nodes, 0) ? -errno : 0;
}

/** Pages of @range that are mapped and not on @node. */
static int misplaced(const struct pf_range *range, int node, void **ret_pages, size_t *ret_count)
{
	size_t page = pf_page_size(), pages = range->size / page, count = 0;
	void *all[BATCH];
	int nodes[BATCH], r;

	for (size_t i = 0; i < pages; i++)
		all[i] = (char *)range->addr + i * page;
	r = where(all, pages, nodes);
	if (r)
		return r;
	for (size_t i = 0; i < pages; i++)
		if (nodes[i] >= 0 && nodes[i] != node)
			ret_pages[count++] = all[i];
	*ret_count = count;
	return 0;
}

static int migrate_part(const struct pf_range *range, int node, uint64_t *moved)
{
	int targets[BATCH], status[BATCH], flags = MPOL_MF_MOVE_ALL, refused = 0, r;
	void *pages[BATCH];
	size_t count, before;

	r = map_resident(range);
	if (r)
		return r;
	r = misplaced(range, node, pages, &count);
	for (int i = 0; i < BATCH; i++)
		targets[i] = node;
	before = count;
	for (int attempt = 0; !r && count && attempt < ATTEMPTS; attempt++) {
		memset(status, 0, sizeof(status));
		if (move_pages(0, count, pages, targets, status, flags) < 0) {
			if (errno == EPERM && flags == MPOL_MF_MOVE_ALL) {
				flags = MPOL_MF_MOVE; /* no CAP_SYS_NICE: only what nobody else maps */
				attempt--;
				continue;
			}
			r = -errno;
			break;
		}
		refused = 0;
		for (size_t i = 0; i < count; i++)
			if (status[i] == -EACCES || status[i] == -ENOMEM)
				refused = status[i];
		r = misplaced(range, node, pages, &count);
	}
	if (r)
		return pf_error(r, "move_pages to node %d, file offset %llu: %s", node,
				(unsigned long long)range->offset, strerror(-r));
	*moved += before > count ? before - count : 0;
	if (count == before && refused)
		return pf_error(refused, "move_pages to node %d, file offset %llu: %s", node,
				(unsigned long long)range->offset,
				refused == -EACCES ? "other processes map the pages too; moving them takes CAP_SYS_NICE"
						   : "the node has no free memory");
	return 0;
}

int pf_migrate(const struct pf_range *range, int node, uint64_t *ret_moved)
{
	size_t step = BATCH * pf_page_size();
	uint64_t moved = 0;
	int r = pf_range_check(range);

	if (r)
		return r;
	if (node < 0 || (uint32_t)node >= pf_node_count())
		return pf_error(-EINVAL, "node %d: this machine's nodes are 0 to %u", node, pf_node_count() - 1);
	for (size_t at = 0; at < range->size; at += step) {
		struct pf_range part = pf_range_part(range, at, step);

		r = migrate_part(&part, node, &moved);
		if (r)
			return r;
	}
	*ret_moved = moved;
	return 0;
}
