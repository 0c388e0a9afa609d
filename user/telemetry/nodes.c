/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * nodes.c - from which NUMA node each slice is used, and on which its memory is.
 *
 * DESIGN
 *   Probes count each fault by the node of the processor that took it. Differences of these counts are summed per slice
 *   and decay slowly: a pinned slice shows no more than a touched sample now and then. Where the memory is, is asked of
 *   a few pages that this process maps, for a few slices each turn.
 *
 * INVARIANTS
 *   1. With one node, with more nodes than a slot tells apart, and with a source that does not count them, nothing is
 *      known: busiest_node is 0 on one node and else -1, remote_permille 0.
 *   2. A turn asks for at most HOME_SLICES * HOME_PAGES pages.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "telemetry/internal.h"

#define HALFLIFE_S 30.0
/* Fewer accesses than this, decayed, say nothing of where a slice is used. */
#define SEEN_MIN 8.0f
#define HOME_SLICES 32
#define HOME_PAGES 16

struct pf_slice_nodes {
	uint64_t last[PINFOLD_SLOT_NODES];
	float seen[PINFOLD_SLOT_NODES];
	int32_t home; /* node of most of its mapped pages; -1: not known */
};

int pf_nodes_new(const struct pf_source_params *params, struct pf_slice_nodes **ret_nodes)
{
	struct pf_slice_nodes *nodes = NULL;

	if (params->node_count > 1 && params->node_count <= PINFOLD_SLOT_NODES) {
		nodes = calloc(params->slice_count, sizeof(*nodes));
		if (!nodes)
			return -ENOMEM;
		for (uint32_t i = 0; i < params->slice_count; i++)
			nodes[i].home = -1;
	}
	*ret_nodes = nodes;
	return 0;
}

void pf_nodes_collect(struct pf_telemetry_file *file, uint32_t index, bool changed, double dt_s)
{
	struct pf_slice_nodes *nodes = file->nodes ? &file->nodes[index] : NULL;
	float keep = (float)exp2(-dt_s / HALFLIFE_S);

	for (int i = 0; nodes && i < PINFOLD_SLOT_NODES; i++) {
		nodes->seen[i] *= keep;
		if (changed) {
			uint64_t now = __atomic_load_n(&file->slots[index].node[i], __ATOMIC_RELAXED);

			nodes->seen[i] += (float)(now - nodes->last[i]);
			nodes->last[i] = now;
		}
	}
}

void pf_nodes_restart(struct pf_telemetry_file *file, uint32_t index)
{
	if (file->nodes)
		memset(file->nodes[index].last, 0, sizeof(file->nodes[index].last));
}

static float sum_seen(const struct pf_slice_nodes *nodes, int32_t *ret_busiest)
{
	float sum = 0;

	*ret_busiest = 0;
	for (int i = 0; i < PINFOLD_SLOT_NODES; i++) {
		sum += nodes->seen[i];
		if (nodes->seen[i] > nodes->seen[*ret_busiest])
			*ret_busiest = i;
	}
	return sum;
}

void pf_nodes_view(const struct pf_telemetry *telemetry, struct pf_slice_view *view)
{
	const struct pf_slice_nodes *nodes = telemetry->files[view->file_id].nodes;
	int32_t busiest;
	float sum;

	view->remote_permille = 0;
	view->busiest_node = telemetry->params.node_count > 1 ? -1 : 0;
	if (!nodes)
		return;
	nodes += view->index;
	sum = sum_seen(nodes, &busiest);
	if (sum < SEEN_MIN)
		return;
	view->busiest_node = busiest;
	if (nodes->home >= 0 && nodes->home < PINFOLD_SLOT_NODES)
		view->remote_permille = (uint32_t)lrintf(1000 * (1 - nodes->seen[nodes->home] / sum));
}

/* The node of most of the pages that are mapped here; what it was before if none is. */
static void find_home(const struct pf_telemetry *telemetry, const struct pf_slice_view *view,
		      struct pf_slice_nodes *nodes)
{
	const char *start = pf_slice_addr(telemetry, view);
	uint32_t count[PINFOLD_SLOT_NODES] = {0}, most = 0;
	void *pages[HOME_PAGES];
	int status[HOME_PAGES];

	for (int i = 0; i < HOME_PAGES; i++)
		pages[i] = (void *)(start + telemetry->slice_size / HOME_PAGES * i);
	if (syscall(SYS_move_pages, 0, (unsigned long)HOME_PAGES, pages, NULL, status, 0))
		return;
	for (int i = 0; i < HOME_PAGES; i++) {
		if (status[i] >= 0 && status[i] < PINFOLD_SLOT_NODES && ++count[status[i]] > most) {
			most = count[status[i]];
			nodes->home = status[i];
		}
	}
}

void pf_nodes_find_homes(struct pf_telemetry *telemetry)
{
	uint32_t asked = 0;

	for (uint64_t i = 0; i < telemetry->view_count && asked < HOME_SLICES; i++) {
		uint64_t at = (telemetry->home_cursor + i) % telemetry->view_count;
		const struct pf_slice_view *view = &telemetry->views[at];

		if (view->busiest_node < 0 || !telemetry->files[view->file_id].nodes)
			continue;
		find_home(telemetry, view, &telemetry->files[view->file_id].nodes[view->index]);
		if (++asked == HOME_SLICES)
			telemetry->home_cursor = at + 1;
	}
}
