/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pollution_cases.c - the cases of the suite, and how long each mode runs in them.
 *
 * Adaptive pinning has 10 s to find a hot set, so its runs are the longest. Bare mmap and pinning by hand do not
 * learn: they are measured as soon as the first pass of the scan is over, and bare mmap, which fares alike wherever
 * the hot set is, need not move it. Each window is 5 s: 100,000 reads at the usual rate.
 */
#include "pollution_report.h"

#include <string.h>

#define SETTLE_S 10 /* what adaptive pinning is given to find the hot set */

static const struct pollution_plan plans[MODE_COUNT] = {
	[MODE_BARE] = { .seconds = 10, .warmup_s = 5 },
	[MODE_RANDOM] = { .seconds = 10, .warmup_s = 5 },
	[MODE_HAND] = { .seconds = 23, .warmup_s = 5, .move_at_s = 10, .settle_s = 8 },
	[MODE_PINFOLD] = { .seconds = 30, .warmup_s = SETTLE_S, .move_at_s = 15, .settle_s = SETTLE_S },
};
/* Where pinning cannot help: nothing moves, both modes are treated alike. */
static const struct pollution_plan plain_plan = { .seconds = 8, .warmup_s = 4 };

static const struct {
	enum pollution_workload workload;
	uint32_t hot_percent, budget_percent;
	bool scattered;
} suite[] = {
	{ WORKLOAD_POLLUTION, 35, 0, false }, { WORKLOAD_POLLUTION, 35, 0, true },
	{ WORKLOAD_POLLUTION, 65, 75, false }, { WORKLOAD_POLLUTION, 65, 75, true },
	{ WORKLOAD_UNIFORM, 35, 0, false }, { WORKLOAD_SCAN, 35, 0, false }, { WORKLOAD_FITS, 35, 0, false },
};
_Static_assert(sizeof(suite) / sizeof(suite[0]) <= CASES_MAX, "room for the suite");

const char *const pollution_workload_name[WORKLOAD_COUNT] = { "pollution", "uniform", "scan", "fits" };

unsigned int pollution_modes(const struct pollution_params *params)
{
	unsigned int modes = 1u << MODE_BARE | 1u << MODE_PINFOLD;

	if (params->workload == WORKLOAD_POLLUTION)
		modes |= 1u << MODE_HAND;
	if (params->workload == WORKLOAD_UNIFORM || (params->random && params->workload != WORKLOAD_SCAN))
		modes |= 1u << MODE_RANDOM;
	return modes;
}

static void set_name(struct pollution_case *c)
{
	const struct pollution_params *p = &c->params;

	if (p->workload == WORKLOAD_POLLUTION)
		snprintf(c->name, sizeof(c->name), "hot%u-%s", p->hot_percent,
			 p->scattered ? "scattered" : "contiguous");
	else
		snprintf(c->name, sizeof(c->name), "%s", pollution_workload_name[p->workload]);
}

static void check_plan(const struct pollution_plan *plan)
{
	if (plan->seconds > POLLUTION_SECONDS_MAX || plan->warmup_s >= plan->seconds ||
	    (plan->move_at_s &&
	     (plan->move_at_s <= plan->warmup_s || plan->move_at_s + plan->settle_s >= plan->seconds)))
		bench_die("a run of %u s (at most %d) leaves nothing to measure after %u s of warm-up, a move at %u s "
			  "and %u s more",
			  plan->seconds, POLLUTION_SECONDS_MAX, plan->warmup_s, plan->move_at_s, plan->settle_s);
}

void pollution_case_complete(struct pollution_case *c, double data_factor, const struct pollution_plan *given)
{
	struct pollution_params *p = &c->params;
	const bool pollution = p->workload == WORKLOAD_POLLUTION;
	const uint64_t data = (uint64_t)((double)p->memory_bytes * (p->workload == WORKLOAD_FITS ? 0.5 : data_factor));

	p->data_bytes = (data + POLLUTION_BLOCK - 1) / POLLUTION_BLOCK * POLLUTION_BLOCK;
	set_name(c);
	if (!pollution)
		p->rate = 0;
	for (int m = 0; m < MODE_COUNT; m++) {
		struct pollution_plan *plan = &c->plan[m];

		*plan = pollution ? plans[m] : plain_plan;
		if (given) {
			*plan = *given;
			plan->settle_s = SETTLE_S;
			if (!pollution)
				plan->move_at_s = 0;
		}
		check_plan(plan);
	}
}

uint32_t pollution_suite(const struct pollution_params *params, struct pollution_case *ret_cases)
{
	const uint32_t count = sizeof(suite) / sizeof(suite[0]);

	for (uint32_t i = 0; i < count; i++) {
		struct pollution_params *p = &ret_cases[i].params;

		*p = *params;
		p->workload = suite[i].workload;
		p->hot_percent = suite[i].hot_percent;
		p->budget_percent = suite[i].budget_percent;
		p->scattered = suite[i].scattered;
		set_name(&ret_cases[i]);
	}
	return count;
}
