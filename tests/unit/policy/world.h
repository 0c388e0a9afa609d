/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * world.h - a small world for policy's tests: slices with heat, a clock, a
 * budget, and a model of what is pinned that checks every decision.
 *
 * Invariants that world_turn() checks (it returns the words of the first that is broken, else NULL)
 *   1. decisions come in order: unpins, renewals, pins, migrations, folds
 *   2. only unpinned slices are pinned, only pinned ones unpinned, renewed, moved or folded
 *   3. pinned bytes are at most the budget after each single slice of each decision
 *   4. a slice is not both pinned and unpinned by one turn
 *   5. the policy's own view and books agree with the model afterwards
 */
#ifndef TEST_POLICY_WORLD_H
#define TEST_POLICY_WORLD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/policy.h"

#define MIB (1ull << 20)
#define SLICE (2 * MIB)
#define WORLD_MAX 12000

struct world {
	struct pf_policy *policy;
	struct pf_snapshot snapshot;
	struct pf_budget budget;
	struct pf_slice_view slices[WORLD_MAX];
	bool pinned[WORLD_MAX];
	uint32_t touched_turn[WORLD_MAX];
	uint32_t turn, pinned_count;
	const struct pf_decision *decisions;
	size_t decision_count;
	int (*kernel)(struct world *w, const struct pf_decision *decision); /* NULL: all goes well */
	uint64_t kernel_limit_slices;
	bool may_exceed; /* explicit pins or a shrunk budget: do not check 3 */
	char words[160];
};

/* A slice @r times as hot as the mean, seen with @confidence. */
static inline void world_slice(struct world *w, uint32_t i, double r, double confidence)
{
	struct pf_slice_view *view = &w->slices[i];

	view->in_use = true;
	view->value = (float)(r * 1e-3);
	view->heat = (float)(r / (1 + r));
	view->confidence = (float)confidence;
	view->random_rate = (float)(r * 10);
	view->fault_rate = (float)(r * 10);
	view->stall_rate = view->value;
	view->pattern = PINFOLD_ACCESS_RANDOM;
}

static inline struct world *world_new(uint32_t slice_count, uint64_t budget_slices,
				      const struct pinfold_pin_config *config)
{
	struct world *w = calloc(1, sizeof(*w));

	if (pf_policy_new(config, SLICE, &w->policy)) {
		free(w);
		return NULL;
	}
	for (uint32_t i = 0; i < slice_count; i++) {
		w->slices[i].index = i;
		w->slices[i].busiest_node = -1;
		w->slices[i].resident_pages = UINT32_MAX;
		world_slice(w, i, 0.5, 1);
	}
	w->snapshot = (struct pf_snapshot){
		.time_ms = 1000000, .slice_size = SLICE, .total_stall_rate = 0.5,
		.slice_count = slice_count, .slices = w->slices,
	};
	w->budget = (struct pf_budget){
		.effective_memory_bytes = budget_slices * SLICE * 5 / 2,
		.pin_bytes = budget_slices * SLICE, .node_count = 1,
	};
	return w;
}

static inline void world_free(struct world *w)
{
	if (w)
		pf_policy_free(w->policy);
	free(w);
}

static inline int world_order(enum pf_action action)
{
	switch (action) {
	case PF_ACTION_ADVISE_RANDOM:
		return 0;
	case PF_ACTION_UNPIN:
		return 1;
	case PF_ACTION_RENEW:
		return 2;
	case PF_ACTION_PIN:
		return 3;
	case PF_ACTION_MIGRATE:
		return 4;
	case PF_ACTION_FOLD:
		return 5;
	case PF_ACTION_ADVISE_NORMAL:
		return 6;
	default:
		return -1;
	}
}

static inline const char *world_broken(struct world *w, const char *what, const struct pf_decision *d, uint32_t index)
{
	snprintf(w->words, sizeof(w->words), "turn %u: %s: action %d reason %d slice %u, %u pinned of %llu", w->turn,
		 what,
		 d ? (int)d->action : -1, d ? (int)d->reason : -1, index, w->pinned_count,
		 (unsigned long long)(w->budget.pin_bytes / SLICE));
	return w->words;
}

static inline const char *world_apply(struct world *w, const struct pf_decision *d, int result)
{
	for (uint32_t i = d->index; i < d->index + d->slice_count; i++) {
		const bool want_pinned = d->action == PF_ACTION_UNPIN || d->action == PF_ACTION_RENEW ||
					 d->action == PF_ACTION_MIGRATE || d->action == PF_ACTION_FOLD;

		if (d->file_id || i >= w->snapshot.slice_count)
			return world_broken(w, "no such slice", d, i);
		if (w->pinned[i] != want_pinned)
			return world_broken(w, "slice is not in that state", d, i);
		if (d->action != PF_ACTION_PIN && d->action != PF_ACTION_UNPIN)
			continue;
		if (w->touched_turn[i] == w->turn)
			return world_broken(w, "slice changed twice", d, i);
		w->touched_turn[i] = w->turn;
		if (result)
			continue;
		w->pinned[i] = !want_pinned;
		w->pinned_count += want_pinned ? -1u : 1u;
		if (!w->may_exceed && w->pinned_count * SLICE > w->budget.pin_bytes && d->action == PF_ACTION_PIN)
			return world_broken(w, "budget exceeded", d, i);
	}
	return NULL;
}

static inline const char *world_check(struct world *w)
{
	struct pinfold_pin_stats stats;
	struct pf_pin_view view;

	for (uint32_t i = 0; i < w->snapshot.slice_count; i++) {
		pf_policy_view(w->policy, 0, i, &view);
		if (view.pinned != w->pinned[i])
			return world_broken(w, "policy's view differs", NULL, i);
	}
	pf_policy_stat(w->policy, &w->budget, &stats);
	if (stats.total_pinned_count != w->pinned_count || stats.total_pinned_bytes != w->pinned_count * SLICE)
		return world_broken(w, "policy's books differ", NULL, (uint32_t)stats.total_pinned_count);
	if (stats.by_priority[0].pinned_bytes + stats.by_priority[1].pinned_bytes + stats.by_priority[2].pinned_bytes !=
	    stats.total_pinned_bytes)
		return world_broken(w, "classes do not add up", NULL, 0);
	if (!w->may_exceed && w->pinned_count * SLICE > w->budget.pin_bytes)
		return world_broken(w, "budget exceeded after the turn", NULL, 0);
	return NULL;
}

/* Advances the clock, lets the policy decide, and carries its decisions out. */
static inline const char *world_turn(struct world *w, uint64_t delta_ms)
{
	int order = 0;

	w->turn++;
	w->snapshot.time_ms += delta_ms;
	if (pf_policy_decide(w->policy, &w->snapshot, &w->budget, &w->decisions, &w->decision_count))
		return world_broken(w, "decide failed", NULL, 0);
	for (size_t i = 0; i < w->decision_count; i++) {
		const struct pf_decision *d = &w->decisions[i];
		int result = w->kernel ? w->kernel(w, d) : 0;
		const char *words;

		if (world_order(d->action) < order)
			return world_broken(w, "out of order", d, d->index);
		order = world_order(d->action);
		words = world_apply(w, d, result);
		if (words)
			return words;
		pf_policy_result(w->policy, d, result, w->snapshot.time_ms);
	}
	return world_check(w);
}

/* Slices that this turn's decisions give to @action. */
static inline uint32_t world_count(const struct world *w, enum pf_action action)
{
	uint32_t count = 0;

	for (size_t i = 0; i < w->decision_count; i++)
		if (w->decisions[i].action == action)
			count += w->decisions[i].slice_count;
	return count;
}

static inline enum pinfold_reason world_reason(const struct world *w, uint32_t index)
{
	struct pf_pin_view view;

	pf_policy_view(w->policy, 0, index, &view);
	return view.reason;
}

static inline enum pinfold_priority world_priority(const struct world *w, uint32_t index)
{
	struct pf_pin_view view;

	pf_policy_view(w->policy, 0, index, &view);
	return view.priority;
}

/* xorshift64*, uniform in [0, 1). */
static inline double world_random(uint64_t *seed)
{
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return (double)((*seed * 0x2545f4914f6cdd1dull) >> 11) / 9007199254740992.0;
}

#define ASSERT_TURN(w, delta_ms) do { \
	const char *words_ = world_turn(w, delta_ms); \
	ASSERT_EQ(NULL, words_) TH_LOG("%s", words_); \
} while (0)

#endif
