/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * policy.h - (snapshot, budgets, clock) -> decisions, each with a reason.
 *
 * Pure: no system call, no global, no clock of its own; the same inputs give
 * the same decisions. Its memory is struct pf_policy, which holds the state of
 * each slice's pin. pf_policy_result() feeds back what the kernel answered.
 */
#ifndef PF_POLICY_H
#define PF_POLICY_H

#include <pinfold/config.h>
#include <pinfold/pin.h>

#include "policy/decision.h"
#include "telemetry/snapshot.h"

struct pf_policy;

/** What there is to spend, read afresh by the engine before each turn. */
struct pf_budget {
	uint64_t effective_memory_bytes;
	uint64_t pin_bytes;        /* budget after every limit */
	double memory_pressure;    /* used / limit, 0..1; 0 if not known */
	uint32_t node_count;
	bool huge_allowed;
	bool advice_allowed;       /* the program left readahead to us */
};

int pf_policy_new(const struct pinfold_pin_config *config, uint64_t slice_size, struct pf_policy **ret_policy);
void pf_policy_free(struct pf_policy *policy);

/**
 * One turn. *ret_decisions is owned by @policy, valid until its next call;
 * unpins come before the pins that need their room.
 */
int pf_policy_decide(struct pf_policy *policy, const struct pf_snapshot *snapshot, const struct pf_budget *budget,
		     const struct pf_decision **ret_decisions, size_t *ret_count);
/** What became of a decision (0 or -errno): refused slices are not asked for again at once. */
void pf_policy_result(struct pf_policy *policy, const struct pf_decision *decision, int result, uint64_t time_ms);

/** Explicit pins. @time_ms is the caller's clock. -ENOSPC with the class budget named in pf_error. */
int pf_policy_pin(struct pf_policy *policy, uint32_t file_id, uint32_t index, uint32_t slice_count,
		  const struct pinfold_pin_opts *opts, uint64_t time_ms, const struct pf_budget *budget);
int pf_policy_unpin(struct pf_policy *policy, uint32_t file_id, uint32_t index, uint32_t slice_count, uint64_t time_ms);
int pf_policy_promote(struct pf_policy *policy, uint32_t file_id, uint32_t index, uint32_t slice_count,
		      enum pinfold_priority priority, uint64_t time_ms);
/** Expired explicit pins become unpin decisions, appended to the next turn; returns how many slices. */
int pf_policy_gc(struct pf_policy *policy, uint64_t time_ms);

/**
 * Evicts learned pins until the budget holds again, to be called after a successful
 * pf_policy_pin() and carried out before its slices are locked. Optional: without it the next
 * turn does so. *ret_decisions (UNPIN only) is owned by @policy, valid until its next call; not between
 * pf_policy_decide() and the end of the use of its decisions.
 */
int pf_policy_make_room(struct pf_policy *policy, const struct pf_budget *budget, uint64_t time_ms,
			const struct pf_decision **ret_decisions, size_t *ret_count);

/** State of one slice's pin, for explain and the board. */
struct pf_pin_view {
	bool pinned, explicit_, folded;
	enum pinfold_priority priority;
	enum pinfold_reason reason; /* last word, also for slices that are not pinned */
	uint64_t since_ms, expires_ms;  /* UINT64_MAX: never */
	int32_t refused_errno;
};
void pf_policy_view(const struct pf_policy *policy, uint32_t file_id, uint32_t index, struct pf_pin_view *ret_view);
void pf_policy_stat(const struct pf_policy *policy, const struct pf_budget *budget,
		    struct pinfold_pin_stats *ret_stats);

#endif
