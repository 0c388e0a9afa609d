/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * state.h - what policy remembers between turns; private to this room.
 */
#ifndef PF_POLICY_STATE_H
#define PF_POLICY_STATE_H

#include "policy/policy.h"

/* Named limits. Numbers that an operator may set are in struct pinfold_pin_config. */
#define PF_CHURN_BYTES_PER_TURN (256ull << 20) /* pinned anew in one turn: what a disk reads in about one */
#define PF_REPLACE_MARGIN 1.5f       /* so much more must a candidate save than the pin that it replaces */
#define PF_HOLD_MS 1000u             /* no younger pin is replaced: its value is still that of its misses */
#define PF_DOUBT_MAX 0.5f            /* ... where a pin's value is taken up to so much higher as it is uncertain */
#define PF_SMOOTH_MIN 0.2f           /* weight of one turn's view of a pin that is hardly observed ... */
#define PF_SMOOTH_MAX 0.6f           /* ... and of one that is well observed */
#define PF_CONFIDENCE_MIN 0.5f       /* four observations (see telemetry/snapshot.h) */
#define PF_SIGMAS 2.0f               /* heat must be above the mean by so many standard errors */
#define PF_STALL_MIN 0.0002          /* seconds per second: below it the store does not stall */
#define PF_FOLDS_PER_TURN 16u        /* each copies a slice while its readers wait */
#define PF_FOLD_REFUSALS_MAX 3u      /* in a row, then this kernel or filesystem cannot ... */
#define PF_FOLD_REST_MS 600000u      /* ... and is not asked for so long */
#define PF_ADVISE_STALL 0.001f       /* seconds per second that random misses of a slice stall: no readahead above it */
#define PF_ADVISE_TURNS 20u          /* turns without random misses, or of more scanning, until it is back */
/*
 * Exploration: where random misses stall the store badly and dearly, each hot slice must be missed once before it can
 * be known, at the price of a readahead. So readahead stops everywhere for a moment, in which a miss is cheap.
 */
#define PF_EXPLORE_STALL 0.2f        /* seconds per second of a turn's random stall where there is readahead ... */
#define PF_EXPLORE_COST_S 0.002f     /* ... at so much a touch start it, ... */
#define PF_EXPLORE_MS 1000u          /* ... for so long, or while what it found waits to be pinned, ... */
#define PF_EXPLORE_MAX_MS 6000u      /* ... but no longer than this, ... */
#define PF_EXPLORE_EVERY_MS 5000u    /* ... and not again before; twice as long after each that found nothing, ... */
#define PF_EXPLORE_FUTILE_MAX 4u     /* ... so many times */
#define PF_EXPLORE_KEEP 0.0003f      /* random stall that keeps a slice without readahead afterwards */
#define PF_EXPLORE_GAIN 4.0f         /* it goes on while random touches are so many times as many as before ... */
#define PF_EXPLORE_SCAN 0.1f         /* ... and scans stall for no more than this part of what random touches do */
#define PF_ADVISED_MAX 16384u        /* slices; each may split the mapping in three (vm.max_map_count is 65530) */
#define PF_BACKOFF_MS 1000u          /* after the first refusal of a slice; doubles */
#define PF_BACKOFF_SHIFT_MAX 10u
#define PF_REFUSALS_MAX 3u           /* in a row, then what is pinned is all the budget there is ... */
#define PF_CAP_MS 30000u             /* ... for so long; doubles */
#define PF_CAP_SHIFT_MAX 6u
#define PF_FILES_MAX 65536u
#define PF_INDEX_MAX (1u << 24)

struct pf_slice_state {
	uint64_t since_ms, expires_ms; /* of the pin; expires_ms UINT64_MAX: never */
	uint64_t retry_ms;             /* refused: not asked for again before */
	uint64_t moved_ms;             /* last migration, 0: none */
	float value, heat;             /* last view; smoothed while pinned */
	uint32_t seen_turn;            /* turn whose snapshot last named it */
	int32_t refused_errno;
	uint8_t priority;              /* enum pinfold_priority of the pin */
	uint8_t reason;                /* enum pinfold_reason */
	uint8_t refusal_count;
	int8_t node;                   /* planned migration */
	bool pinned, explicit_;
	bool released;                 /* explicit and past its TTL: unpinned by the next turn */
	bool fold_asked, folded, want_huge;
	bool advised;                  /* random: no readahead around misses */
	bool explored;                 /* advised by an exploration that goes on, not for what it showed */
	uint8_t advice_turns;          /* in a row that spoke against it */
	bool stray;                    /* pinned by an action that was overtaken by an unpin: to be undone */
	bool redo;                     /* unpinned by an action that was overtaken by a pin: to be pinned again */
};

/* State and this turn's plan (enum pf_action; PF_PLAN_WAIT) of the slices of one file. */
struct pf_policy_file {
	uint32_t count;
	struct pf_slice_state *slices;
	uint8_t *plan;
};
#define PF_PLAN_WAIT 0xff /* hot, but its turn has not come */

/* Bytes, counts and times of one class. */
struct pf_class_account {
	uint64_t used_bytes, explicit_bytes, pinned_count;
	uint64_t since_sum_ms;         /* of the pins there are: their ages are count * now - this */
	uint64_t ended_count, ended_ms;
	uint64_t eviction_count;
};

/* A pin or a candidate, for sorting. */
struct pf_rank {
	float value;
	uint32_t file_id, index;
	uint8_t priority; /* class of a pin; wanted class of a candidate */
	bool cold;
};

/* What can be spent in this turn. */
struct pf_spend {
	uint64_t total_bytes;
	uint64_t share_bytes[PINFOLD_PRIORITY_COUNT];
	bool pressure;
};

struct pf_policy {
	struct pinfold_pin_config config; /* complete */
	uint64_t slice_size;
	uint64_t now_ms;
	uint32_t turn;
	struct pf_policy_file *files;
	uint32_t file_count;
	struct pf_class_account account[PINFOLD_PRIORITY_COUNT];
	uint64_t pinned_count, folded_bytes, refused_count;
	uint32_t advised_count;           /* not counting explored ones, which are few runs */
	uint64_t explore_since_ms, explore_until_ms, explore_next_ms;
	float explore_touches;            /* random ones per second when it began */
	uint32_t explore_futile;          /* explorations in a row after which there was nothing to pin */
	bool candidates_wait;             /* the last turn's limit, not the budget, kept hot slices from being pinned */
	struct pf_spend spend;

	/* refusals */
	uint32_t refusals_in_row, cap_strikes;
	uint64_t cap_bytes, cap_until_ms; /* cap_bytes UINT64_MAX: none */
	bool fold_works;                  /* the last answer to a fold */
	uint32_t fold_refusals_in_row;
	uint64_t fold_rest_until_ms;
	uint64_t review_ms;               /* next NUMA review, 0: not set */

	/* scratch of a turn; grown, never shrunk */
	struct pf_rank *pins, *candidates;
	size_t pin_capacity, pin_count;
	size_t candidate_max, candidate_count;
	bool pins_sorted;
	size_t head[PINFOLD_PRIORITY_COUNT], tail[PINFOLD_PRIORITY_COUNT]; /* of each class in @pins, once sorted */
	struct pf_decision *decisions;
	size_t decision_capacity, decision_count;
};

/* ---- state.c ---- */

/** Makes sure that slice @index of @file_id has a state. -EINVAL beyond the limits, -ENOMEM. */
int pf_state_ensure(struct pf_policy *policy, uint32_t file_id, uint32_t index);
/** NULL if nothing was ever known of it. */
struct pf_slice_state *pf_state_find(const struct pf_policy *policy, uint32_t file_id, uint32_t index);
static inline uint8_t *pf_state_plan(struct pf_policy *policy, uint32_t file_id, uint32_t index)
{
	return &policy->files[file_id].plan[index];
}
/** Grows @array (elements of @size bytes) to hold @count. */
int pf_state_reserve(void *array, size_t *capacity, size_t count, size_t size);
uint64_t pf_state_used(const struct pf_policy *policy);
/** Books a pin in class @priority; the slice must not be pinned. */
void pf_state_pin(struct pf_policy *policy, struct pf_slice_state *state, enum pinfold_priority priority,
		  bool explicit_, uint64_t time_ms);
/** Books its end. */
void pf_state_unpin(struct pf_policy *policy, struct pf_slice_state *state, uint64_t time_ms);
/** Moves a pin to another class, or between learned and explicit. */
void pf_state_rebook(struct pf_policy *policy, struct pf_slice_state *state, enum pinfold_priority priority,
		     bool explicit_);
/* Why a slice goes without room: what bounds it may be the kernel's limit, not ours. */
static inline enum pinfold_reason pf_state_no_room(const struct pf_policy *policy, const struct pf_slice_state *state)
{
	return policy->cap_bytes != UINT64_MAX && state->refused_errno ? PINFOLD_REASON_REFUSED : PINFOLD_REASON_BUDGET;
}
static inline uint64_t pf_time_add(uint64_t time_ms, uint64_t delta_ms)
{
	return time_ms > UINT64_MAX - delta_ms ? UINT64_MAX : time_ms + delta_ms;
}

/* ---- spend.c ---- */

/** Shares of @budget; @capped: kernel refusals count. */
void pf_spend_init(const struct pf_policy *policy, const struct pf_budget *budget, bool capped,
		   struct pf_spend *ret_spend);
/** Lists a learned pin as one that could be given up. Room was reserved. */
void pf_spend_offer(struct pf_policy *policy, const struct pf_rank *pin);
/** Keeps @candidate if it is among the hottest that one turn may pin. */
void pf_spend_candidate(struct pf_policy *policy, const struct pf_rank *candidate);
/** Evicts cold pins under pressure, then whatever is over the budget. */
void pf_spend_evict(struct pf_policy *policy);
/** Only what is over the budget. */
void pf_spend_evict_over(struct pf_policy *policy);
/** Pins candidates, hottest first, replacing colder pins. True if the budget, not the turn's limit, ended it. */
bool pf_spend_admit(struct pf_policy *policy);

/* ---- emit.c ---- */

/** Turns the plans into runs of decisions, unpins first, and clears them. Room for a decision per slice was reserved.
 * */
void pf_emit(struct pf_policy *policy);

#endif
