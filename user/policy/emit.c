/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * emit.c - plans of single slices to decisions on runs of them.
 *
 * Advice against readahead comes first: until it holds, each random miss may read megabytes. Then unpins:
 * whoever carries the decisions out in order never has more pinned than the budget.
 */
#include "policy/state.h"

#include "base/error.h"

static const uint8_t action_order[] = {
	PF_ACTION_ADVISE_RANDOM, PF_ACTION_UNPIN, PF_ACTION_RENEW, PF_ACTION_PIN, PF_ACTION_MIGRATE, PF_ACTION_FOLD,
	PF_ACTION_ADVISE_NORMAL,
};

/* A slice's own reason says why it is pinned or not; advice has reasons of its own. */
static enum pinfold_reason reason_of(uint8_t action, const struct pf_slice_state *state)
{
	return action == PF_ACTION_ADVISE_RANDOM ? PINFOLD_REASON_RANDOM_MISSES :
	       action == PF_ACTION_ADVISE_NORMAL ? PINFOLD_REASON_SEQUENTIAL :
						   (enum pinfold_reason)state->reason;
}

static bool is_advice(uint8_t action)
{
	return action == PF_ACTION_ADVISE_RANDOM || action == PF_ACTION_ADVISE_NORMAL;
}

static bool same_run(const struct pf_decision *run, const struct pf_slice_state *state, uint32_t file_id,
		     uint32_t index)
{
	if (is_advice((uint8_t)run->action))
		return run->file_id == file_id && run->index + run->slice_count == index;
	return run->file_id == file_id && run->index + run->slice_count == index && run->priority == state->priority &&
	       run->reason == reason_of(run->action, state) &&
	       (run->action != PF_ACTION_MIGRATE || run->node == state->node);
}

static void emit_slice(struct pf_policy *policy, uint8_t action, size_t first, uint32_t file_id, uint32_t index)
{
	const struct pf_slice_state *state = &policy->files[file_id].slices[index];
	struct pf_decision *run = NULL;

	if (policy->decision_count > first)
		run = &policy->decisions[policy->decision_count - 1];
	if (run && same_run(run, state, file_id, index)) {
		run->slice_count++;
		if (state->heat > run->heat)
			run->heat = state->heat;
		return;
	}
	pf_assert(policy->decision_count < policy->decision_capacity);
	policy->decisions[policy->decision_count++] = (struct pf_decision){
		.action = action,
		.file_id = file_id,
		.index = index,
		.slice_count = 1,
		.priority = state->priority,
		.reason = reason_of(action, state),
		.node = action == PF_ACTION_MIGRATE ? state->node : -1,
		.heat = state->heat,
	};
}

void pf_emit(struct pf_policy *policy)
{
	policy->decision_count = 0;
	for (size_t a = 0; a < sizeof(action_order); a++) {
		const size_t first = policy->decision_count;

		for (uint32_t f = 0; f < policy->file_count; f++)
			for (uint32_t i = 0; i < policy->files[f].count; i++) {
				if (policy->files[f].plan[i] != action_order[a])
					continue;
				emit_slice(policy, action_order[a], first, f, i);
				policy->files[f].plan[i] = PF_ACTION_NONE;
			}
	}
}
