/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * explicit.c - what comes from outside a turn: pins asked for by the program,
 * and what the kernel answered.
 *
 * An explicit pin is bounded by its class's share of the budget, counted over explicit pins
 * alone: learned pins in its way are evicted by the next turn, or, for a caller that wants no
 * moment above the budget, by pf_policy_make_room() before.
 *
 * Actions are carried out while other threads may pin and unpin, so an answer can arrive
 * for a slice whose state has changed since. The answer says what the kernel did last;
 * if that is not what the state wants, the next turn sets it right (stray, redo).
 */
#include "policy/state.h"

#include "base/error.h"

static const char class_name[PINFOLD_PRIORITY_COUNT][24] = {
	[PINFOLD_PRIORITY_BACKGROUND] = "background",
	[PINFOLD_PRIORITY_QUERY_CRITICAL] = "query-critical",
	[PINFOLD_PRIORITY_TAIL_LATENCY_CRITICAL] = "tail-latency-critical",
};

static int check_run(uint32_t index, uint32_t slice_count)
{
	if (!slice_count || index >= PF_INDEX_MAX || slice_count > PF_INDEX_MAX - index)
		return pf_error(-EINVAL, "%u slices from %u on: 1 to %u allowed", slice_count, index, PF_INDEX_MAX);
	return 0;
}

static int none_pinned(uint32_t file_id, uint32_t index, uint32_t slice_count)
{
	if (slice_count == 1)
		return pf_error(-ENOENT, "slice %u of file %u is not pinned", index, file_id);
	return pf_error(-ENOENT, "slices %u to %u of file %u: none is pinned", index, index + slice_count - 1, file_id);
}

static bool is_explicit(const struct pf_slice_state *state)
{
	return state && state->pinned && state->explicit_;
}

/* Bytes that a run adds to what is explicitly pinned in @priority. */
static uint64_t bytes_to_add(const struct pf_policy *policy, uint32_t file_id, uint32_t index, uint32_t slice_count,
			     enum pinfold_priority priority, bool pinned_only)
{
	uint64_t slices = 0;

	for (uint32_t i = 0; i < slice_count; i++) {
		const struct pf_slice_state *state = pf_state_find(policy, file_id, index + i);

		if (is_explicit(state) ? state->priority != priority : !pinned_only)
			slices++;
	}
	return slices * policy->slice_size;
}

static int check_class_room(const struct pf_policy *policy, enum pinfold_priority priority, uint64_t add_bytes,
			    uint64_t share_bytes)
{
	const uint64_t used_bytes = policy->account[priority].explicit_bytes;

	if (!add_bytes || (used_bytes <= share_bytes && add_bytes <= share_bytes - used_bytes))
		return 0;
	return pf_error(-ENOSPC, "pin: class %s has %llu of %llu bytes pinned explicitly; %llu more do not fit",
			class_name[priority], (unsigned long long)used_bytes, (unsigned long long)share_bytes,
			(unsigned long long)add_bytes);
}

int pf_policy_pin(struct pf_policy *policy, uint32_t file_id, uint32_t index, uint32_t slice_count,
		  const struct pinfold_pin_opts *opts, uint64_t time_ms, const struct pf_budget *budget)
{
	struct pf_spend spend;
	int r = check_run(index, slice_count);

	if (r)
		return r;
	if ((unsigned int)opts->priority >= PINFOLD_PRIORITY_COUNT)
		return pf_error(-EINVAL, "priority %d is none of 0..%d", (int)opts->priority,
				PINFOLD_PRIORITY_COUNT - 1);
	pf_spend_init(policy, budget, false, &spend);
	r = check_class_room(policy, opts->priority,
			     bytes_to_add(policy, file_id, index, slice_count, opts->priority, false),
			     spend.share_bytes[opts->priority]);
	if (r)
		return r;
	r = pf_state_ensure(policy, file_id, index + slice_count - 1);
	if (r)
		return r;
	policy->spend = spend; /* for promotions before the first turn */
	for (uint32_t i = 0; i < slice_count; i++) {
		struct pf_slice_state *state = pf_state_find(policy, file_id, index + i);

		if (state->pinned)
			pf_state_rebook(policy, state, opts->priority, true);
		else
			pf_state_pin(policy, state, opts->priority, true, time_ms);
		state->released = false;
		state->reason = PINFOLD_REASON_EXPLICIT;
		state->want_huge = opts->use_hugepages;
		state->expires_ms = opts->ttl_ms ? pf_time_add(time_ms, opts->ttl_ms) : UINT64_MAX;
	}
	return 0;
}

int pf_policy_unpin(struct pf_policy *policy, uint32_t file_id, uint32_t index, uint32_t slice_count, uint64_t time_ms)
{
	int r = check_run(index, slice_count);
	bool any = false;

	if (r)
		return r;
	for (uint32_t i = 0; i < slice_count; i++) {
		struct pf_slice_state *state = pf_state_find(policy, file_id, index + i);

		if (!state || !state->pinned)
			continue;
		any = true;
		/* Who unpins what was learned does not want it learned again at once. */
		if (!state->explicit_)
			state->retry_ms = pf_time_add(time_ms, policy->config.class_[state->priority].max_pin_time_ms);
		pf_state_unpin(policy, state, time_ms);
		state->reason = PINFOLD_REASON_NONE;
	}
	return any ? 0 : none_pinned(file_id, index, slice_count);
}

int pf_policy_promote(struct pf_policy *policy, uint32_t file_id, uint32_t index, uint32_t slice_count,
		      enum pinfold_priority priority, uint64_t time_ms)
{
	int r = check_run(index, slice_count);
	bool any = false;

	if (r)
		return r;
	if ((unsigned int)priority >= PINFOLD_PRIORITY_COUNT)
		return pf_error(-EINVAL, "priority %d is none of 0..%d", (int)priority, PINFOLD_PRIORITY_COUNT - 1);
	r = check_class_room(policy, priority, bytes_to_add(policy, file_id, index, slice_count, priority, true),
			     policy->spend.share_bytes[priority]);
	if (r)
		return r;
	for (uint32_t i = 0; i < slice_count; i++) {
		struct pf_slice_state *state = pf_state_find(policy, file_id, index + i);

		if (!state || !state->pinned)
			continue;
		any = true;
		pf_state_rebook(policy, state, priority, state->explicit_);
		if (!state->explicit_)
			state->expires_ms = pf_time_add(time_ms, policy->config.class_[priority].max_pin_time_ms);
	}
	return any ? 0 : none_pinned(file_id, index, slice_count);
}

int pf_policy_gc(struct pf_policy *policy, uint64_t time_ms)
{
	int count = 0;

	for (uint32_t f = 0; f < policy->file_count; f++)
		for (uint32_t i = 0; i < policy->files[f].count; i++) {
			struct pf_slice_state *state = &policy->files[f].slices[i];

			if (is_explicit(state) && !state->released && state->expires_ms <= time_ms) {
				state->released = true;
				count++;
			}
		}
	return count;
}

int pf_policy_make_room(struct pf_policy *policy, const struct pf_budget *budget, uint64_t time_ms,
			const struct pf_decision **ret_decisions, size_t *ret_count)
{
	int r = pf_state_reserve(&policy->pins, &policy->pin_capacity, policy->pinned_count + 1, sizeof(*policy->pins));

	if (!r)
		r = pf_state_reserve(&policy->decisions, &policy->decision_capacity, policy->pinned_count + 1,
				     sizeof(*policy->decisions));
	if (r)
		return r;
	policy->now_ms = time_ms;
	policy->pin_count = 0;
	policy->pins_sorted = false;
	pf_spend_init(policy, budget, false, &policy->spend);
	for (uint32_t f = 0; f < policy->file_count; f++)
		for (uint32_t i = 0; i < policy->files[f].count; i++) {
			const struct pf_slice_state *state = &policy->files[f].slices[i];

			if (state->pinned && !state->explicit_)
				pf_spend_offer(policy, &(struct pf_rank){ .value = state->value, .file_id = f,
									  .index = i,
									  .priority = state->priority });
		}
	pf_spend_evict_over(policy);
	pf_emit(policy);
	*ret_decisions = policy->decisions;
	*ret_count = policy->decision_count;
	return 0;
}

/* ---- what the kernel answered ---- */

static bool is_refusal(int result)
{
	return result == -EPERM || result == -ENOMEM || result == -EAGAIN;
}

static void refuse(struct pf_policy *policy, struct pf_slice_state *state, int result, uint64_t time_ms)
{
	const uint32_t shift =
		state->refusal_count < PF_BACKOFF_SHIFT_MAX ? state->refusal_count : PF_BACKOFF_SHIFT_MAX;

	policy->refused_count++;
	state->refused_errno = -result;
	state->retry_ms = pf_time_add(time_ms, (uint64_t)PF_BACKOFF_MS << shift);
	if (state->refusal_count < UINT8_MAX)
		state->refusal_count++;
	if (state->pinned)
		pf_state_unpin(policy, state, time_ms);
	state->reason = PINFOLD_REASON_REFUSED;
}

/* After refusals in a row the kernel's limit is below our budget: what fits now is what there is. */
static void count_refusal(struct pf_policy *policy, uint64_t time_ms)
{
	const uint32_t shift = policy->cap_strikes < PF_CAP_SHIFT_MAX ? policy->cap_strikes : PF_CAP_SHIFT_MAX;

	if (policy->cap_bytes != UINT64_MAX) {
		/* More of the turn that set it: what it had counted on is not pinned either. */
		if (policy->cap_bytes > pf_state_used(policy))
			policy->cap_bytes = pf_state_used(policy);
		return;
	}
	if (++policy->refusals_in_row < PF_REFUSALS_MAX)
		return;
	policy->cap_bytes = pf_state_used(policy);
	policy->cap_until_ms = pf_time_add(time_ms, (uint64_t)PF_CAP_MS << shift);
	policy->cap_strikes++;
	policy->refusals_in_row = 0;
}

static void answer_pin(struct pf_policy *policy, struct pf_slice_state *state, int result, uint64_t time_ms)
{
	if (result) {
		refuse(policy, state, result, time_ms);
		return;
	}
	state->refusal_count = 0;
	state->refused_errno = 0;
	state->stray = !state->pinned;
}

static void answer_fold(struct pf_policy *policy, struct pf_slice_state *state, int result)
{
	if (!result || !state->folded)
		return;
	state->folded = false;
	policy->folded_bytes -= policy->slice_size;
}

/* What is refused everywhere is refused by the kernel or the filesystem, and asking disturbs readers. */
static void count_fold(struct pf_policy *policy, int result, uint64_t time_ms)
{
	policy->fold_works = !result;
	policy->fold_refusals_in_row = result ? policy->fold_refusals_in_row + 1 : 0;
	if (policy->fold_refusals_in_row < PF_FOLD_REFUSALS_MAX)
		return;
	policy->fold_refusals_in_row = 0;
	policy->fold_rest_until_ms = pf_time_add(time_ms, PF_FOLD_REST_MS);
}

void pf_policy_result(struct pf_policy *policy, const struct pf_decision *decision, int result, uint64_t time_ms)
{
	/* The decision may be in an array of ours, and of a run that no longer is as it was. */
	for (uint32_t i = 0; i < decision->slice_count; i++) {
		struct pf_slice_state *state = pf_state_find(policy, decision->file_id, decision->index + i);

		if (!state)
			continue;
		switch (decision->action) {
		case PF_ACTION_PIN:
			answer_pin(policy, state, result, time_ms);
			break;
		case PF_ACTION_UNPIN:
			if (!result)
				state->redo = state->pinned;
			break;
		case PF_ACTION_FOLD:
			answer_fold(policy, state, result);
			break;
		case PF_ACTION_UNFOLD:
			if (!result)
				answer_fold(policy, state, -ECANCELED);
			break;
		default:
			break;
		}
	}
	if (decision->action == PF_ACTION_FOLD)
		count_fold(policy, result, time_ms);
	if (decision->action != PF_ACTION_PIN)
		return;
	if (is_refusal(result)) {
		count_refusal(policy, time_ms);
	} else if (!result) {
		policy->refusals_in_row = 0;
		if (policy->cap_bytes == UINT64_MAX)
			policy->cap_strikes = 0;
	}
}
