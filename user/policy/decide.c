/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * decide.c - one turn: look at every slice, then spend the budget.
 *
 * DESIGN
 *   The turn is a few linear passes over the slices; only pins that compete and candidates are
 *   sorted. Each slice gets a reason, also the ones that nothing is done about.
 *
 *	not pinned --hot, sure, random, room--> PINNED --time over, still hot--> PINNED (RENEW)
 *	     ^                                    |
 *	     +-- cold when its time is over, or cold and the budget nearly full,
 *	         or replaced by a hotter one, or its extent dropped ---+
 *
 *   Hysteresis: a slice is pinned above pin_heat and cold below unpin_heat. What is compared
 *   for a pin is smoothed, because a pinned slice does not fault: what is known of it comes
 *   from a few samples, and one turn without a hit says little. The less sure telemetry is,
 *   the slower it changes our mind.
 *
 *   Being sure of a candidate is more than having seen a few events: with thousands of slices
 *   the luckiest of equals look hot. So a candidate's heat must also be above that of the mean slice by
 *   PF_SIGMAS standard errors (of a Poisson count of its observations).
 */
#include "policy/state.h"

#include <limits.h>
#include <math.h>

#include "base/error.h"

static float sane(float x)
{
	return x >= 0 && x < INFINITY ? x : 0;
}

/* r of heat = r / (1 + r): how many times the mean. */
static float times_mean(float heat)
{
	return heat < 0.9999f ? heat / (1 - heat) : 9999;
}

/* Relative standard error of what @confidence is put in: that of a count of n, where confidence = n / (n + 4). */
static float standard_error(float confidence)
{
	return confidence < 0.9999f ? sqrtf((1 - confidence) / (4 * confidence + 1e-6f)) : 0.005f;
}

static bool is_clearly_hot(const struct pf_policy *policy, float heat, float confidence)
{
	const float low = times_mean(heat) * (1 - PF_SIGMAS * standard_error(confidence));

	return low > times_mean((float)policy->config.unpin_heat_percent / 100);
}

static bool is_sequential(const struct pf_slice_view *view)
{
	return view->pattern == PINFOLD_ACCESS_SEQUENTIAL || view->pattern == PINFOLD_ACCESS_SCAN;
}

/* ---- slices that are pinned ---- */

/* A hit proves an access, its absence little: up at once, down slowly. */
static float smoothed(float known, float seen, float weight)
{
	return known + (seen > known ? PF_SMOOTH_MAX : weight) * (seen - known);
}

static void smooth(struct pf_slice_state *state, const struct pf_slice_view *view)
{
	float weight = fminf(fmaxf(PF_SMOOTH_MAX * sane(view->confidence), PF_SMOOTH_MIN), PF_SMOOTH_MAX);

	if (sane(view->value) == 0)
		weight = 1; /* telemetry takes it for unused, after many turns without a hit: no noise */
	state->value = smoothed(state->value, sane(view->value), weight);
	state->heat = smoothed(state->heat, sane(view->heat), weight);
}

static void plan_unpin(struct pf_policy *policy, struct pf_slice_state *state, uint32_t file_id, uint32_t index,
		       enum pinfold_reason reason)
{
	pf_state_unpin(policy, state, policy->now_ms);
	state->reason = (uint8_t)reason;
	*pf_state_plan(policy, file_id, index) = PF_ACTION_UNPIN;
}

static void review_pin(struct pf_policy *policy, struct pf_slice_state *state, const struct pf_slice_view *view)
{
	const float unpin_heat = (float)policy->config.unpin_heat_percent / 100;
	uint8_t *plan = pf_state_plan(policy, view->file_id, view->index);
	bool expired = state->expires_ms <= policy->now_ms;

	/* A pin made after the snapshot was taken may be on an extent that it does not know. */
	if (!view->in_use && state->since_ms < policy->now_ms) {
		plan_unpin(policy, state, view->file_id, view->index, PINFOLD_REASON_DROPPED);
		return;
	}
	smooth(state, view);
	if (state->explicit_ ? expired || state->released : expired && state->heat <= unpin_heat) {
		plan_unpin(policy, state, view->file_id, view->index, PINFOLD_REASON_EXPIRED);
		return;
	}
	if (state->redo) {
		state->redo = false;
		*plan = PF_ACTION_PIN;
	}
	if (state->explicit_)
		return;
	if (expired) {
		state->expires_ms = pf_time_add(policy->now_ms, policy->config.class_[state->priority].max_pin_time_ms);
		state->reason = PINFOLD_REASON_RENEWED;
		if (*plan == PF_ACTION_NONE)
			*plan = PF_ACTION_RENEW;
	}
	pf_spend_offer(policy, &(struct pf_rank){
		/* In dubio pro reo: as much as it may well be worth. */
		.value = state->value * (1 + fminf(standard_error(sane(view->confidence)), PF_DOUBT_MAX)),
		.file_id = view->file_id,
		.index = view->index,
		.priority = state->priority,
		.cold = state->heat < unpin_heat,
	});
}

/* ---- slices that are not ---- */

/* Why a slice is not a candidate; HOT, TAIL_HOT or SPIKE if it is one. */
static enum pinfold_reason judge(const struct pf_policy *policy, const struct pf_slice_state *state,
				 const struct pf_slice_view *view, const struct pf_snapshot *snapshot)
{
	const float heat = sane(view->heat), confidence = sane(view->confidence);
	const bool hot = heat > (float)policy->config.pin_heat_percent / 100;
	const bool spike = view->fault_rate > (float)policy->config.fault_spike_per_s &&
			   view->pattern == PINFOLD_ACCESS_RANDOM;

	if (policy->config.adaptive_off)
		return PINFOLD_REASON_ADAPTIVE_OFF;
	if (state->retry_ms > policy->now_ms)
		return PINFOLD_REASON_REFUSED;
	if (!hot && !spike)
		return snapshot->total_stall_rate < PF_STALL_MIN ? PINFOLD_REASON_NO_STALLS :
		       is_sequential(view) ? PINFOLD_REASON_SEQUENTIAL : PINFOLD_REASON_COLD;
	if (!spike && snapshot->total_stall_rate < PF_STALL_MIN)
		return PINFOLD_REASON_NO_STALLS;
	/* A few faults of a scan that came out of order: the rest of it would go on stalling. */
	if (is_sequential(view) && sane(view->value) < sane(view->stall_rate) / 2)
		return PINFOLD_REASON_SEQUENTIAL;
	if (!spike && !(view->extent_flags & PINFOLD_EXTENT_HOT) &&
	    (confidence < PF_CONFIDENCE_MIN || !is_clearly_hot(policy, heat, confidence)))
		return PINFOLD_REASON_UNSURE;
	if (!hot)
		return PINFOLD_REASON_SPIKE;
	return heat > (float)policy->config.tail_heat_percent / 100 ? PINFOLD_REASON_TAIL_HOT : PINFOLD_REASON_HOT;
}

static void review_other(struct pf_policy *policy, struct pf_slice_state *state, const struct pf_slice_view *view,
			 const struct pf_snapshot *snapshot)
{
	enum pinfold_reason reason;

	if (state->stray) {
		state->stray = false;
		*pf_state_plan(policy, view->file_id, view->index) = PF_ACTION_UNPIN;
		return;
	}
	if (!view->in_use) {
		if (state->reason != PINFOLD_REASON_DROPPED)
			state->reason = PINFOLD_REASON_NONE;
		return;
	}
	state->value = sane(view->value);
	state->heat = sane(view->heat);
	reason = judge(policy, state, view, snapshot);
	state->reason = (uint8_t)reason;
	if (reason != PINFOLD_REASON_HOT && reason != PINFOLD_REASON_TAIL_HOT && reason != PINFOLD_REASON_SPIKE)
		return;
	*pf_state_plan(policy, view->file_id, view->index) = PF_PLAN_WAIT;
	pf_spend_candidate(policy, &(struct pf_rank){
		.value = state->value,
		.file_id = view->file_id,
		.index = view->index,
		.priority = reason == PINFOLD_REASON_TAIL_HOT ? PINFOLD_PRIORITY_TAIL_LATENCY_CRITICAL :
								PINFOLD_PRIORITY_QUERY_CRITICAL,
	});
}

/* ---- the turn ---- */

/* All that can fail, before anything is changed. */
static int prepare(struct pf_policy *policy, const struct pf_snapshot *snapshot)
{
	int r;

	if (snapshot->slice_size != policy->slice_size)
		return pf_error(-EINVAL, "the snapshot's slices are %llu bytes, the policy's %llu",
				(unsigned long long)snapshot->slice_size, (unsigned long long)policy->slice_size);
	for (uint64_t i = 0; i < snapshot->slice_count; i++) {
		const struct pf_slice_view *view = &snapshot->slices[i];
		const bool more = i + 1 < snapshot->slice_count;

		if (more && (view[1].file_id < view->file_id ||
			     (view[1].file_id == view->file_id && view[1].index <= view->index)))
			return pf_error(-EINVAL, "snapshot: slice %u of file %u follows slice %u of file %u",
					view[1].index,
					view[1].file_id, view->index, view->file_id);
		/* The last slice of a file makes room for all of it. */
		if (more && view[1].file_id == view->file_id)
			continue;
		r = pf_state_ensure(policy, view->file_id, view->index);
		if (r)
			return r;
	}
	r = pf_state_reserve(&policy->pins, &policy->pin_capacity, policy->pinned_count + 1, sizeof(*policy->pins));
	if (r)
		return r;
	return pf_state_reserve(&policy->decisions, &policy->decision_capacity,
				snapshot->slice_count + policy->pinned_count + 1,
				sizeof(*policy->decisions));
}

/* Pins whose slices the snapshot does not name any more. */
static void drop_unseen(struct pf_policy *policy)
{
	for (uint32_t f = 0; f < policy->file_count; f++)
		for (uint32_t i = 0; i < policy->files[f].count; i++) {
			struct pf_slice_state *state = &policy->files[f].slices[i];

			if (state->pinned && state->seen_turn != policy->turn && state->since_ms < policy->now_ms)
				plan_unpin(policy, state, f, i, PINFOLD_REASON_DROPPED);
		}
}

/* How many migrations and folds this turn may still plan. */
struct tuning {
	uint32_t moves, folds;
};

static void tune_node(struct pf_policy *policy, struct pf_slice_state *state, const struct pf_slice_view *view,
		      struct tuning *left)
{
	const uint64_t interval_ms = policy->config.rebalance_interval_min * 60000ull;
	uint8_t *plan = pf_state_plan(policy, view->file_id, view->index);

	/* A renewal asks nothing of residency: moving takes its place. */
	if (!left->moves || (*plan != PF_ACTION_NONE && *plan != PF_ACTION_RENEW))
		return;
	if (view->busiest_node < 0 || view->busiest_node > INT8_MAX ||
	    view->remote_permille <= policy->config.numa_miss_percent * 10 ||
	    (state->moved_ms && policy->now_ms - state->moved_ms < interval_ms))
		return;
	state->moved_ms = policy->now_ms;
	state->node = (int8_t)view->busiest_node;
	*plan = PF_ACTION_MIGRATE;
	left->moves--;
}

static void tune_fold(struct pf_policy *policy, struct pf_slice_state *state, const struct pf_slice_view *view,
		      struct tuning *left)
{
	uint8_t *plan = pf_state_plan(policy, view->file_id, view->index);

	if (!left->folds || *plan != PF_ACTION_NONE || state->fold_asked ||
	    (policy->folded_bytes + policy->slice_size) * 100 > pf_state_used(policy) * policy->config.huge_percent)
		return;
	/* Only where asked for: while a slice is folded its readers wait for up to 2 MiB from the device. */
	if (!state->want_huge && !(view->extent_flags & PINFOLD_EXTENT_HUGEPAGE))
		return;
	state->fold_asked = state->folded = true;
	policy->folded_bytes += policy->slice_size;
	*plan = PF_ACTION_FOLD;
	left->folds--;
}

static bool scanned_more_than_read(const struct pf_slice_view *view)
{
	return sane(view->random_stall_rate) < sane(view->stall_rate) / 2;
}

static void plan_readahead(struct pf_policy *policy, struct pf_slice_state *state, const struct pf_slice_view *view)
{
	policy->advised_count -= state->advised && !state->explored;
	state->advised = state->explored = false;
	*pf_state_plan(policy, view->file_id, view->index) = PF_ACTION_ADVISE_NORMAL;
}

static void plan_no_readahead(struct pf_policy *policy, struct pf_slice_state *state,
			      const struct pf_slice_view *view, bool explored)
{
	policy->advised_count += !explored;
	state->advised = true;
	state->explored = explored;
	state->advice_turns = 0;
	*pf_state_plan(policy, view->file_id, view->index) = PF_ACTION_ADVISE_RANDOM;
}

/* An exploration ended: keep what it showed. */
static void conclude(struct pf_policy *policy, struct pf_slice_state *state, const struct pf_slice_view *view)
{
	if (view->in_use && sane(view->random_stall_rate) >= PF_EXPLORE_KEEP && !scanned_more_than_read(view) &&
	    policy->advised_count < PF_ADVISED_MAX) {
		state->explored = false;
		policy->advised_count++;
		return;
	}
	plan_readahead(policy, state, view);
}

/*
 * Readahead around a random miss costs what it reads, wastes memory, and hides the other random accesses
 * that telemetry needs to see. One random miss too many is enough to stop it; to be wrong about a slice costs a
 * scan of it single-page reads, for PF_ADVISE_TURNS.
 */
static void tune_advice(struct pf_policy *policy, struct pf_slice_state *state, const struct pf_slice_view *view,
			bool exploring)
{
	const float random = sane(view->random_stall_rate);

	if (*pf_state_plan(policy, view->file_id, view->index) != PF_ACTION_NONE || policy->config.adaptive_off)
		return;
	if (!state->advised) {
		if (!view->in_use)
			return;
		if (random >= PF_ADVISE_STALL && !scanned_more_than_read(view) &&
		    policy->advised_count < PF_ADVISED_MAX)
			plan_no_readahead(policy, state, view, false);
		else if (exploring)
			plan_no_readahead(policy, state, view, true);
		return;
	}
	if (state->explored) {
		if (!exploring)
			conclude(policy, state, view);
		return;
	}
	if (view->in_use && random > 0 && !scanned_more_than_read(view))
		state->advice_turns = 0;
	else if (++state->advice_turns >= PF_ADVISE_TURNS)
		plan_readahead(policy, state, view);
}

/*
 * Whether random misses in slices that have readahead are dear and many. Only this turn's count: most slices
 * lose their readahead by their first miss.
 */
static bool misses_are_dear(const struct pf_policy *policy, const struct pf_snapshot *snapshot, float *ret_touches)
{
	float stall = 0, touches = 0;

	for (uint64_t i = 0; i < snapshot->slice_count; i++) {
		const struct pf_slice_view *view = &snapshot->slices[i];
		const struct pf_slice_state *state = pf_state_find(policy, view->file_id, view->index);

		if (state->advised || state->pinned)
			continue;
		stall += sane(view->turn_random_stall_rate);
		touches += sane(view->turn_random_rate);
	}
	*ret_touches = touches;
	return stall >= PF_EXPLORE_STALL && stall >= PF_EXPLORE_COST_S * touches;
}

/*
 * Whether readahead would only hold readers up: where all data is read alike there is nothing to pin, and too little in
 * each slice to tell it apart, but the store as a whole is read many times as fast without.
 */
static bool exploring_pays(const struct pf_policy *policy, const struct pf_snapshot *snapshot)
{
	float touches = 0, random = 0, all = 0;

	for (uint64_t i = 0; i < snapshot->slice_count; i++) {
		const struct pf_slice_view *view = &snapshot->slices[i];

		if (pf_state_find(policy, view->file_id, view->index)->pinned)
			continue;
		touches += sane(view->random_rate);
		random += sane(view->random_stall_rate);
		all += sane(view->stall_rate);
	}
	return touches >= PF_EXPLORE_GAIN * policy->explore_touches && all - random <= PF_EXPLORE_SCAN * random;
}

/* Whether readahead is off everywhere in this turn. */
static bool explore(struct pf_policy *policy, const struct pf_snapshot *snapshot)
{
	if (policy->explore_since_ms) {
		if (policy->candidate_count)
			policy->explore_futile = 0;
		if (policy->now_ms < policy->explore_until_ms ||
		    (policy->candidates_wait &&
		     policy->now_ms < pf_time_add(policy->explore_since_ms, PF_EXPLORE_MAX_MS)))
			return true;
		if (exploring_pays(policy, snapshot)) {
			policy->explore_futile = 0;
			return true;
		}
		policy->explore_since_ms = 0;
		policy->explore_next_ms = pf_time_add(policy->now_ms, PF_EXPLORE_EVERY_MS << policy->explore_futile);
	}
	if (policy->now_ms < policy->explore_next_ms ||
	    !misses_are_dear(policy, snapshot, &policy->explore_touches))
		return false;
	policy->explore_since_ms = policy->now_ms;
	policy->explore_until_ms = pf_time_add(policy->now_ms, PF_EXPLORE_MS);
	if (policy->explore_futile < PF_EXPLORE_FUTILE_MAX)
		policy->explore_futile++; /* until something is found */
	return true;
}

/*
 * What is left to do: place pins that stay on the node that uses them, ask for huge pages, and tell the
 * kernel where readahead helps.
 */
static void tune(struct pf_policy *policy, const struct pf_snapshot *snapshot, const struct pf_budget *budget,
		 bool budget_ended)
{
	const uint64_t interval_ms = policy->config.rebalance_interval_min * 60000ull;
	const bool exploring = budget->advice_allowed && !policy->config.adaptive_off && explore(policy, snapshot);
	struct tuning left = { 0 };

	policy->candidates_wait = false;
	if (!policy->review_ms)
		policy->review_ms = pf_time_add(policy->now_ms, interval_ms);
	if (budget->node_count > 1 && policy->now_ms >= policy->review_ms)
		left.moves = (uint32_t)policy->candidate_max;
	/* Until the kernel has shown that it can, one at a time. */
	if (budget->huge_allowed && policy->slice_size >= PINFOLD_EXTENT_MIN &&
	    policy->now_ms >= policy->fold_rest_until_ms)
		left.folds = policy->fold_works ? PF_FOLDS_PER_TURN : 1;
	for (uint64_t i = 0; i < snapshot->slice_count; i++) {
		const struct pf_slice_view *view = &snapshot->slices[i];
		struct pf_slice_state *state = pf_state_find(policy, view->file_id, view->index);
		uint8_t *plan = pf_state_plan(policy, view->file_id, view->index);

		if (*plan == PF_PLAN_WAIT) {
			*plan = PF_ACTION_NONE;
			if (budget_ended)
				state->reason = (uint8_t)pf_state_no_room(policy, state);
			else
				policy->candidates_wait = true;
		}
		if (!state->pinned) {
			if (budget->advice_allowed)
				tune_advice(policy, state, view, exploring);
			continue;
		}
		tune_node(policy, state, view, &left);
		tune_fold(policy, state, view, &left);
	}
	/* What one turn could not move is next turn's: the review goes on. */
	if (left.moves)
		policy->review_ms = pf_time_add(policy->now_ms, interval_ms);
}

static void start_turn(struct pf_policy *policy, const struct pf_snapshot *snapshot, const struct pf_budget *budget)
{
	policy->turn++;
	policy->now_ms = snapshot->time_ms;
	policy->pin_count = policy->candidate_count = 0;
	policy->pins_sorted = false;
	if (policy->cap_bytes != UINT64_MAX && policy->now_ms >= policy->cap_until_ms) {
		/* Try again; one more refusal and the cap is back, for longer. */
		policy->cap_bytes = UINT64_MAX;
		policy->refusals_in_row = PF_REFUSALS_MAX - 1;
	}
	pf_spend_init(policy, budget, true, &policy->spend);
}

int pf_policy_decide(struct pf_policy *policy, const struct pf_snapshot *snapshot, const struct pf_budget *budget,
		     const struct pf_decision **ret_decisions, size_t *ret_count)
{
	uint64_t pinned_before, pinned_seen = 0;
	bool budget_ended;
	int r;

	r = prepare(policy, snapshot);
	if (r)
		return r;
	start_turn(policy, snapshot, budget);
	pinned_before = policy->pinned_count;
	for (uint64_t i = 0; i < snapshot->slice_count; i++) {
		const struct pf_slice_view *view = &snapshot->slices[i];
		struct pf_slice_state *state = pf_state_find(policy, view->file_id, view->index);

		state->seen_turn = policy->turn;
		pinned_seen += state->pinned;
		if (state->pinned)
			review_pin(policy, state, view);
		else
			review_other(policy, state, view, snapshot);
	}
	if (pinned_seen < pinned_before)
		drop_unseen(policy);
	pf_spend_evict(policy);
	budget_ended = pf_spend_admit(policy);
	tune(policy, snapshot, budget, budget_ended);
	pf_emit(policy);
	*ret_decisions = policy->decisions;
	*ret_count = policy->decision_count;
	return 0;
}
