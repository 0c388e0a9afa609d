/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * budget.c - what there is to spend on pins, from the limits that hold now.
 *
 * The pin budget is max_pinned_percent of *effective* memory, the least of RAM,
 * the cgroup's limit and RLIMIT_MEMLOCK, capped by max_pinned_bytes.
 *
 * Memory pressure counts what reclaim cannot take: anonymous and locked pages. The page
 * cache of a program that maps more than fits always fills its limit, so "used"
 * would read 100 % for ever.
 */
#include <stdio.h>
#include <string.h>

#include "engine/engine.h"

#define BUDGET_REFRESH_MS 2000

/* Sums the keys of memory.stat (v1: rss, unevictable; v2: anon, unevictable). 0 if it cannot be read. */
static uint64_t unreclaimable_bytes(const char *cgroup_path)
{
	static const char *const keys[] = { "total_rss", "anon", "total_unevictable", "unevictable" };
	uint64_t values[4] = { 0 };
	char path[320];
	char key[64];
	unsigned long long value;
	FILE *file;

	snprintf(path, sizeof(path), "%s/memory.stat", cgroup_path);
	file = fopen(path, "re");
	if (!file)
		return 0;
	while (fscanf(file, "%63s %llu", key, &value) == 2)
		for (size_t i = 0; i < 4; i++)
			if (strcmp(key, keys[i]) == 0)
				values[i] = value;
	fclose(file);
	/* v1 has both "unevictable" and the hierarchical "total_unevictable". */
	return (values[0] ? values[0] : values[1]) + (values[2] ? values[2] : values[3]);
}

void pf_budget_refresh(struct pinfold *pf, uint64_t now_ms)
{
	const struct pinfold_pin_config *config = &pf->config.pin;
	struct pf_memory_limits *limits = &pf->limits;
	struct pf_budget *budget = &pf->budget;
	uint64_t limit;

	if (pf->budget_read_ms && now_ms - pf->budget_read_ms < BUDGET_REFRESH_MS)
		return;
	if (pf_memory_limits_read(limits))
		return; /* keep the last reading */
	pf->budget_read_ms = now_ms;
	budget->effective_memory_bytes = limits->effective_bytes;
	budget->pin_bytes = limits->effective_bytes / 100 * config->max_pinned_percent;
	if (config->max_pinned_bytes && budget->pin_bytes > config->max_pinned_bytes)
		budget->pin_bytes = config->max_pinned_bytes;
	limit = limits->cgroup_bytes < limits->ram_bytes ? limits->cgroup_bytes : limits->ram_bytes;
	budget->memory_pressure = limits->cgroup_path[0] && limit ?
					  (double)unreclaimable_bytes(limits->cgroup_path) / (double)limit : 0;
	budget->node_count = pf->config.no_migration ? 1 : pf_node_count();
	budget->huge_allowed = !pf->config.no_huge_pages;
	budget->advice_allowed = pf->config.advice == PINFOLD_ADVICE_NORMAL && !pf->config.no_adaptive_readahead;
}
