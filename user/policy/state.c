/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * state.c - the policy's memory: configuration, slices, the books of each
 * class, and what outsiders may see of them.
 *
 * Invariants
 *   1. account[c].used_bytes is slice_size times the pinned slices of class c; explicit_bytes the
 *      explicit part of it. Only pf_state_pin, _unpin and _rebook change them.
 *   2. A slice's reason is the last word said on it, pinned or not.
 */
#include "policy/state.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static const struct pinfold_class_config default_classes[PINFOLD_PRIORITY_COUNT] = {
	[PINFOLD_PRIORITY_BACKGROUND] = { .budget_share_percent = 20, .max_pin_time_ms = 300000 },
	[PINFOLD_PRIORITY_QUERY_CRITICAL] = { .budget_share_percent = 30, .max_pin_time_ms = 30000 },
	[PINFOLD_PRIORITY_TAIL_LATENCY_CRITICAL] = { .budget_share_percent = 50, .max_pin_time_ms = 5000 },
};

static void fill(uint32_t *field, uint32_t value)
{
	if (!*field)
		*field = value;
}

static int complete_config(struct pinfold_pin_config *config)
{
	uint32_t shares = 0;

	for (int c = 0; c < PINFOLD_PRIORITY_COUNT; c++) {
		fill(&config->class_[c].budget_share_percent, default_classes[c].budget_share_percent);
		fill(&config->class_[c].max_pin_time_ms, default_classes[c].max_pin_time_ms);
		if (config->class_[c].budget_share_percent > 100)
			return pf_error(-EINVAL, "pin.class[%d].budget_share_percent is %u; at most 100", c,
					config->class_[c].budget_share_percent);
		shares += config->class_[c].budget_share_percent;
	}
	if (shares > 100)
		return pf_error(-EINVAL, "budget shares of the pin classes add up to %u %%; at most 100", shares);
	fill(&config->max_pinned_percent, 40);
	fill(&config->pin_heat_percent, 70);
	fill(&config->tail_heat_percent, 90);
	fill(&config->unpin_heat_percent, 50);
	fill(&config->pressure_percent, 85);
	fill(&config->memory_pressure_percent, 85);
	fill(&config->huge_percent, 60);
	fill(&config->fault_spike_per_s, 1000);
	fill(&config->learning_window_min, 30);
	fill(&config->rebalance_interval_min, 10);
	fill(&config->numa_miss_percent, 30);
	fill(&config->tick_ms, 500);
	fill(&config->sample_rate_per_s, 1000);
	if (config->tail_heat_percent > 100 || config->pin_heat_percent > config->tail_heat_percent ||
	    config->unpin_heat_percent > config->pin_heat_percent)
		return pf_error(-EINVAL, "heat thresholds must ascend, at most 100: unpin %u, pin %u, tail %u %%",
				config->unpin_heat_percent, config->pin_heat_percent, config->tail_heat_percent);
	if (config->pressure_percent > 100)
		return pf_error(-EINVAL, "pin.pressure_percent is %u; at most 100", config->pressure_percent);
	return 0;
}

int pf_policy_new(const struct pinfold_pin_config *config, uint64_t slice_size, struct pf_policy **ret_policy)
{
	struct pf_policy *policy;
	int r;

	if (slice_size < 4096 || slice_size & (slice_size - 1))
		return pf_error(-EINVAL, "slice size %llu is not a power of two of at least 4096",
				(unsigned long long)slice_size);
	policy = calloc(1, sizeof(*policy));
	if (!policy)
		return pf_error(-ENOMEM, "no memory for the policy");
	if (config)
		policy->config = *config;
	policy->slice_size = slice_size;
	policy->cap_bytes = UINT64_MAX;
	policy->candidate_max = PF_CHURN_BYTES_PER_TURN > slice_size ? PF_CHURN_BYTES_PER_TURN / slice_size : 1;
	policy->candidates = calloc(policy->candidate_max, sizeof(*policy->candidates));
	r = policy->candidates ? complete_config(&policy->config) : pf_error(-ENOMEM, "no memory for the policy");
	if (r) {
		pf_policy_free(policy);
		return r;
	}
	*ret_policy = policy;
	return 0;
}

void pf_policy_free(struct pf_policy *policy)
{
	if (!policy)
		return;
	for (uint32_t f = 0; f < policy->file_count; f++) {
		free(policy->files[f].slices);
		free(policy->files[f].plan);
	}
	free(policy->files);
	free(policy->pins);
	free(policy->candidates);
	free(policy->decisions);
	free(policy);
}

/* ---- slices ---- */

int pf_state_reserve(void *array, size_t *capacity, size_t count, size_t size)
{
	size_t grown = *capacity ? *capacity : 64;
	void *old, *more;

	if (count <= *capacity)
		return 0;
	while (grown < count)
		grown *= 2;
	memcpy(&old, array, sizeof(old)); /* @array points to a pointer of any type */
	more = reallocarray(old, grown, size);
	if (!more)
		return pf_error(-ENOMEM, "no memory for %zu records of %zu bytes", grown, size);
	memcpy(array, &more, sizeof(more));
	*capacity = grown;
	return 0;
}

int pf_state_ensure(struct pf_policy *policy, uint32_t file_id, uint32_t index)
{
	struct pf_policy_file *file;
	size_t capacity, plan_capacity;
	int r;

	if (file_id >= PF_FILES_MAX || index >= PF_INDEX_MAX)
		return pf_error(-EINVAL, "slice %u of file %u: at most %u files of %u slices", index, file_id,
				PF_FILES_MAX,
				PF_INDEX_MAX);
	if (file_id >= policy->file_count) {
		capacity = policy->file_count;
		r = pf_state_reserve(&policy->files, &capacity, file_id + 1, sizeof(*policy->files));
		if (r)
			return r;
		memset(policy->files + policy->file_count, 0, (capacity - policy->file_count) * sizeof(*policy->files));
		policy->file_count = (uint32_t)capacity;
	}
	file = &policy->files[file_id];
	if (index < file->count)
		return 0;
	capacity = plan_capacity = file->count;
	r = pf_state_reserve(&file->slices, &capacity, index + 1, sizeof(*file->slices));
	if (!r)
		r = pf_state_reserve(&file->plan, &plan_capacity, capacity, sizeof(*file->plan));
	if (r)
		return r;
	memset(file->slices + file->count, 0, (capacity - file->count) * sizeof(*file->slices));
	memset(file->plan + file->count, 0, capacity - file->count);
	file->count = (uint32_t)capacity;
	return 0;
}

struct pf_slice_state *pf_state_find(const struct pf_policy *policy, uint32_t file_id, uint32_t index)
{
	if (file_id >= policy->file_count || index >= policy->files[file_id].count)
		return NULL;
	return &policy->files[file_id].slices[index];
}

/* ---- books ---- */

uint64_t pf_state_used(const struct pf_policy *policy)
{
	return policy->pinned_count * policy->slice_size;
}

static void book(struct pf_policy *policy, const struct pf_slice_state *state)
{
	struct pf_class_account *account = &policy->account[state->priority];

	account->used_bytes += policy->slice_size;
	account->explicit_bytes += state->explicit_ ? policy->slice_size : 0;
	account->pinned_count++;
	account->since_sum_ms += state->since_ms;
}

static void unbook(struct pf_policy *policy, const struct pf_slice_state *state)
{
	struct pf_class_account *account = &policy->account[state->priority];

	account->used_bytes -= policy->slice_size;
	account->explicit_bytes -= state->explicit_ ? policy->slice_size : 0;
	account->pinned_count--;
	account->since_sum_ms -= state->since_ms;
}

void pf_state_pin(struct pf_policy *policy, struct pf_slice_state *state, enum pinfold_priority priority,
		  bool explicit_, uint64_t time_ms)
{
	pf_assert(!state->pinned);
	state->pinned = true;
	state->explicit_ = explicit_;
	state->released = false;
	state->priority = priority;
	state->since_ms = time_ms;
	state->moved_ms = 0;
	state->fold_asked = state->folded = state->want_huge = false;
	state->stray = state->redo = false;
	book(policy, state);
	policy->pinned_count++;
}

void pf_state_unpin(struct pf_policy *policy, struct pf_slice_state *state, uint64_t time_ms)
{
	struct pf_class_account *account = &policy->account[state->priority];

	pf_assert(state->pinned);
	unbook(policy, state);
	account->ended_count++;
	account->ended_ms += time_ms > state->since_ms ? time_ms - state->since_ms : 0;
	if (state->folded)
		policy->folded_bytes -= policy->slice_size;
	state->pinned = state->explicit_ = state->released = false;
	state->fold_asked = state->folded = state->want_huge = state->redo = false;
	policy->pinned_count--;
}

void pf_state_rebook(struct pf_policy *policy, struct pf_slice_state *state, enum pinfold_priority priority,
		     bool explicit_)
{
	pf_assert(state->pinned);
	unbook(policy, state);
	state->priority = priority;
	state->explicit_ = explicit_;
	book(policy, state);
}

/* ---- what outsiders see ---- */

void pf_policy_view(const struct pf_policy *policy, uint32_t file_id, uint32_t index, struct pf_pin_view *ret_view)
{
	const struct pf_slice_state *state = pf_state_find(policy, file_id, index);

	*ret_view = (struct pf_pin_view){ 0 };
	if (!state)
		return;
	ret_view->pinned = state->pinned;
	ret_view->explicit_ = state->explicit_;
	ret_view->folded = state->pinned && state->folded;
	ret_view->priority = state->priority;
	ret_view->reason = state->reason;
	ret_view->since_ms = state->pinned ? state->since_ms : 0;
	ret_view->expires_ms = state->pinned ? state->expires_ms : 0;
	ret_view->refused_errno = state->refused_errno;
}

void pf_policy_stat(const struct pf_policy *policy, const struct pf_budget *budget, struct pinfold_pin_stats *ret_stats)
{
	struct pf_spend spend;

	pf_spend_init(policy, budget, false, &spend);
	*ret_stats = (struct pinfold_pin_stats){
		.total_pinned_bytes = pf_state_used(policy),
		.total_pinned_count = policy->pinned_count,
		.budget_used_bytes = pf_state_used(policy),
		.budget_total_bytes = spend.total_bytes,
		.effective_memory_bytes = budget->effective_memory_bytes,
		.huge_page_bytes = policy->folded_bytes,
		.refused_count = policy->refused_count,
	};
	for (int c = 0; c < PINFOLD_PRIORITY_COUNT; c++) {
		const struct pf_class_account *account = &policy->account[c];
		struct pinfold_priority_stats *stats = &ret_stats->by_priority[c];
		/* Modulo 2^64 throughout, so the sums may wrap and the difference stays right. */
		uint64_t ages_ms = account->pinned_count * policy->now_ms - account->since_sum_ms;

		if ((int64_t)ages_ms < 0)
			ages_ms = 0; /* explicit pins made after the last turn */
		stats->pinned_count = account->pinned_count;
		stats->pinned_bytes = account->used_bytes;
		stats->budget_bytes = spend.share_bytes[c];
		stats->eviction_count = account->eviction_count;
		if (account->ended_count + account->pinned_count)
			stats->average_pin_time_ms = (double)(account->ended_ms + ages_ms) /
						     (double)(account->ended_count + account->pinned_count);
	}
}
