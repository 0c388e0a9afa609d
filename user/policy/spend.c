/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * spend.c - who gets the pin budget.
 *
 * DESIGN
 *   The budget is cut into a share per class. A share is a claim, not a cage:
 *   what its class does not use, any other class may borrow. So a hot set that falls
 *   into one class is held back only by the whole budget, and yet each class can
 *   have its share back when it needs it.
 *
 *   A candidate is booked, in this order,
 *     1. in the class that its heat asks for, while that class has not used its share;
 *     2. in the next lower class whose share has room;
 *     3. in its own class beyond the share (borrowed).
 *   If the budget is full, somebody must go. A candidate within its class's own share (1)
 *   takes back what was borrowed: the coldest pin of the lowest class over its share,
 *   provided that pin is colder. Any other candidate replaces the coldest pin of its
 *   own or a lower class, or of one over its share, or one that is cold and so has no claim to its class's share,
 *   if it saves PF_REPLACE_MARGIN times as much.
 *   The margin is what keeps two slices of equal value from taking turns.
 *
 *   Explicit pins are never victims; they count in their class, so learned pins
 *   beyond the share give way to them.
 *
 * Invariants
 *   1. After pf_spend_evict() and pf_spend_admit() the pinned bytes are at most the budget, unless
 *      explicit pins alone are more (the budget shrank under them).
 *   2. A turn pins at most candidate_max slices.
 *   3. A slice is not pinned and unpinned by the same turn.
 */
#include "policy/state.h"

#include <stdlib.h>

static uint64_t percent_of(uint64_t bytes, uint32_t percent)
{
	return bytes / 100 * percent + bytes % 100 * percent / 100;
}

void pf_spend_init(const struct pf_policy *policy, const struct pf_budget *budget, bool capped,
		   struct pf_spend *ret_spend)
{
	uint64_t total = budget->pin_bytes;

	if (capped && total > policy->cap_bytes)
		total = policy->cap_bytes;
	ret_spend->total_bytes = total;
	for (int c = 0; c < PINFOLD_PRIORITY_COUNT; c++)
		ret_spend->share_bytes[c] = percent_of(total, policy->config.class_[c].budget_share_percent);
	ret_spend->pressure = budget->memory_pressure * 100 > policy->config.memory_pressure_percent;
}

/* ---- pins, coldest first within each class ---- */

static int compare_pins(const void *a, const void *b)
{
	const struct pf_rank *x = a, *y = b;

	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	if (x->value != y->value)
		return x->value < y->value ? -1 : 1;
	if (x->file_id != y->file_id)
		return x->file_id < y->file_id ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

void pf_spend_offer(struct pf_policy *policy, const struct pf_rank *pin)
{
	policy->pins[policy->pin_count++] = *pin;
}

static void sort_pins(struct pf_policy *policy)
{
	size_t at = 0;

	if (policy->pins_sorted)
		return;
	qsort(policy->pins, policy->pin_count, sizeof(*policy->pins), compare_pins);
	for (uint32_t c = 0; c < PINFOLD_PRIORITY_COUNT; c++) {
		policy->head[c] = at;
		while (at < policy->pin_count && policy->pins[at].priority == c)
			at++;
		policy->tail[c] = at;
	}
	policy->pins_sorted = true;
}

static bool over_share(const struct pf_policy *policy, uint32_t c)
{
	return policy->account[c].used_bytes > policy->spend.share_bytes[c];
}

static void evict(struct pf_policy *policy, const struct pf_rank *pin, enum pinfold_reason reason)
{
	struct pf_slice_state *state = pf_state_find(policy, pin->file_id, pin->index);

	policy->account[state->priority].eviction_count++;
	pf_state_unpin(policy, state, policy->now_ms);
	state->reason = (uint8_t)reason;
	*pf_state_plan(policy, pin->file_id, pin->index) = PF_ACTION_UNPIN;
}

static bool still_pinned(struct pf_policy *policy, const struct pf_rank *pin)
{
	return *pf_state_plan(policy, pin->file_id, pin->index) != PF_ACTION_UNPIN;
}

/* Coldest pin of class @c that may be replaced; NULL if there is none. */
static const struct pf_rank *coldest(struct pf_policy *policy, uint32_t c)
{
	while (policy->head[c] < policy->tail[c]) {
		const struct pf_rank *pin = &policy->pins[policy->head[c]];
		const struct pf_slice_state *state = pf_state_find(policy, pin->file_id, pin->index);

		if (still_pinned(policy, pin) && pf_time_add(state->since_ms, PF_HOLD_MS) <= policy->now_ms)
			return pin;
		policy->head[c]++;
	}
	return NULL;
}

/* ---- eviction ---- */

/* Cold pins, coldest of the lowest class first, until at most @keep_bytes are pinned. */
static void evict_cold(struct pf_policy *policy, uint64_t keep_bytes)
{
	for (size_t i = 0; i < policy->pin_count && pf_state_used(policy) > keep_bytes; i++)
		if (policy->pins[i].cold && still_pinned(policy, &policy->pins[i]))
			evict(policy, &policy->pins[i], PINFOLD_REASON_PRESSURE);
}

void pf_spend_evict_over(struct pf_policy *policy)
{
	if (pf_state_used(policy) <= policy->spend.total_bytes)
		return;
	sort_pins(policy);
	/* First what is borrowed, then whatever there is. */
	for (int borrowed = 1; borrowed >= 0; borrowed--)
		for (size_t i = 0; i < policy->pin_count && pf_state_used(policy) > policy->spend.total_bytes; i++) {
			const struct pf_rank *pin = &policy->pins[i];

			if (still_pinned(policy, pin) && (!borrowed || over_share(policy, pin->priority)))
				evict(policy, pin, borrowed ? PINFOLD_REASON_CLASS_BUDGET : PINFOLD_REASON_BUDGET);
		}
}

void pf_spend_evict(struct pf_policy *policy)
{
	const uint64_t limit = percent_of(policy->spend.total_bytes, policy->config.pressure_percent);

	if (policy->spend.pressure || pf_state_used(policy) > limit) {
		sort_pins(policy);
		evict_cold(policy, policy->spend.pressure ? 0 : limit);
	}
	pf_spend_evict_over(policy);
}

/* ---- candidates ---- */

/* Hotter first; place breaks ties, so that equal inputs give equal decisions. */
static bool hotter(const struct pf_rank *a, const struct pf_rank *b)
{
	if (a->value != b->value)
		return a->value > b->value;
	return a->file_id != b->file_id ? a->file_id < b->file_id : a->index < b->index;
}

static int compare_candidates(const void *a, const void *b)
{
	return hotter(a, b) ? -1 : hotter(b, a);
}

/* candidates[] is a heap of bounded size with its least hot member on top. */
void pf_spend_candidate(struct pf_policy *policy, const struct pf_rank *candidate)
{
	struct pf_rank *heap = policy->candidates;
	size_t at, n = policy->candidate_count;

	if (n < policy->candidate_max) {
		for (at = policy->candidate_count++; at && hotter(&heap[(at - 1) / 2], candidate); at = (at - 1) / 2)
			heap[at] = heap[(at - 1) / 2];
		heap[at] = *candidate;
		return;
	}
	if (!hotter(candidate, &heap[0]))
		return;
	for (at = 0;;) {
		size_t child = 2 * at + 1;

		if (child >= n)
			break;
		if (child + 1 < n && hotter(&heap[child], &heap[child + 1]))
			child++;
		if (!hotter(candidate, &heap[child]))
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = *candidate;
}

/* Class to book @candidate in, and whether within that class's own share. */
static uint32_t choose_class(const struct pf_policy *policy, const struct pf_rank *candidate, bool *ret_owned)
{
	/* Under memory pressure nothing new is pinned for a rainy day. */
	const int lowest = policy->spend.pressure ? PINFOLD_PRIORITY_QUERY_CRITICAL : PINFOLD_PRIORITY_BACKGROUND;

	for (int c = candidate->priority; c >= lowest; c--)
		if (policy->account[c].used_bytes + policy->slice_size <= policy->spend.share_bytes[c]) {
			*ret_owned = c == candidate->priority;
			return (uint32_t)c;
		}
	*ret_owned = false;
	return candidate->priority;
}

/* The pin that must go for @candidate. NULL and the reason if it has to do without. */
static const struct pf_rank *choose_victim(struct pf_policy *policy, const struct pf_rank *candidate, bool owned,
					   enum pinfold_reason *ret_reason)
{
	const struct pf_rank *best = NULL, *head;
	bool colder_protected = false;

	sort_pins(policy);
	for (uint32_t c = 0; owned && c < PINFOLD_PRIORITY_COUNT; c++) {
		head = over_share(policy, c) ? coldest(policy, c) : NULL;
		if (head && head->value < candidate->value) {
			*ret_reason = PINFOLD_REASON_CLASS_BUDGET;
			return head;
		}
	}
	for (uint32_t c = 0; c < PINFOLD_PRIORITY_COUNT; c++) {
		head = coldest(policy, c);
		if (!head || head->value * PF_REPLACE_MARGIN >= candidate->value)
			continue;
		if (c > candidate->priority && !over_share(policy, c) && !head->cold)
			colder_protected = true;
		else if (!best || head->value < best->value)
			best = head;
	}
	*ret_reason = best ? PINFOLD_REASON_EVICTED_COLDER :
		      colder_protected ? PINFOLD_REASON_CLASS_BUDGET : PINFOLD_REASON_BUDGET;
	return best;
}

bool pf_spend_admit(struct pf_policy *policy)
{
	struct pf_rank *candidates = policy->candidates;

	qsort(candidates, policy->candidate_count, sizeof(*candidates), compare_candidates);
	for (size_t i = 0; i < policy->candidate_count; i++) {
		const struct pf_rank *candidate = &candidates[i];
		struct pf_slice_state *state = pf_state_find(policy, candidate->file_id, candidate->index);
		enum pinfold_reason reason;
		bool owned;
		uint32_t c = choose_class(policy, candidate, &owned);

		if (pf_state_used(policy) + policy->slice_size > policy->spend.total_bytes) {
			const struct pf_rank *victim = choose_victim(policy, candidate, owned, &reason);

			if (victim)
				evict(policy, victim, reason);
			if (!victim || pf_state_used(policy) + policy->slice_size > policy->spend.total_bytes) {
				state->reason = (uint8_t)(reason == PINFOLD_REASON_BUDGET ?
							  pf_state_no_room(policy, state) : reason);
				*pf_state_plan(policy, candidate->file_id, candidate->index) = PF_ACTION_NONE;
				if (reason == PINFOLD_REASON_BUDGET)
					return true; /* all others are colder still */
				continue;
			}
		}
		pf_state_pin(policy, state, c, false, policy->now_ms);
		state->expires_ms = pf_time_add(policy->now_ms, policy->config.class_[c].max_pin_time_ms);
		*pf_state_plan(policy, candidate->file_id, candidate->index) = PF_ACTION_PIN;
	}
	return pf_state_used(policy) + policy->slice_size > policy->spend.total_bytes;
}
