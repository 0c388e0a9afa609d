/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * heat.h - what residency of a slice is worth, from what was seen of it.
 *
 * Pure: no system call, no clock; each turn is
 *   pf_heat_begin(), pf_heat_add() for every slice, pf_heat_end(), then
 *   pf_heat_view() for every slice.
 */
#ifndef PF_HEAT_H
#define PF_HEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "telemetry/snapshot.h"

/** What was seen of one slice during one turn. */
struct pf_heat_delta {
	float faults;         /* all */
	float random;         /* of these, random ones */
	float writes;
	float majors;
	float stall_s;        /* in major faults */
	float random_stall_s; /* the part in random ones */
	float waits;          /* faults that waited for another's read */
	float exposure;       /* block-seconds that revoked blocks of it stood untouched */
	float hits;           /* revoked blocks that were touched at random */
	float hints;          /* random accesses that the program told of */
	bool in_use, pinned;
};

/** What is remembered of one slice; zeroed at first. */
struct pf_heat_slice {
	float faults, random, writes, majors; /* decayed counts */
	float stall_s, random_stall_s;
	float turn_random, turn_random_stall_s; /* of this turn alone */
	float hits, exposure; /* of samples, decayed */
	float value;
	float alive;          /* 0..1: belief that a pinned slice is still used as when it was pinned */
	float pin_touches;    /* random touches per second, when it was pinned */
	float pin_block_rate; /* random touches per block and second that were seen of it at most, lately */
	float slow_heat;
	uint8_t pattern;
	bool pinned, in_use;
};

/** What is remembered of the store. */
struct pf_heat {
	double halflife_s, window_s;
	double blocks_per_slice;
	double dt_s;                    /* of this turn */
	double turn_stall_s;            /* in this turn, in random faults of slices that are not pinned */
	/* this turn's factors */
	double keep, keep_fast, keep_cost, keep_pin_rate, keep_slow;
	double span_s;                  /* seconds that a decayed count stands for */
	double span_square_s;           /* the same with squared weights, for variances */
	double touches, stall_s;        /* slowly decayed, of slices that are not pinned: give the cost of a touch */
	double unnamed_stall_s;         /* decayed: pf_heat_add_stall() */
	double majors, major_stall_s;   /* slowly decayed: give the cost of a wait */
	double pool_hits, pool_exposure;  /* of all pinned slices, decayed with a quarter of the half-life */
	double pool_rate;               /* touches per block and second of the mean pinned slice, at most, lately */
	double mean_pin_touches;        /* of the turn before */
	double cost_s;                  /* stall per random touch */
	double wait_s;
	/* sums of this turn */
	double sum_value, sum_square;
	double sum_random, sum_random_square;
	double sum_stall; /* measured stall of slices that are not pinned, and value that pins carry: s per s */
	double sum_pin_touches;
	uint64_t free_count, pinned_count; /* slices in use that are not pinned, that are */
	double mean_value;
	double typical;                 /* touches of the slice that a touch falls into, on average */
	double touches_per_value, mean_touches;
	double prior;                   /* observations at the mean that every slice is credited with */
	bool stalling; /* the store stalls enough for heat to matter */
};

void pf_heat_init(struct pf_heat *heat, double halflife_s, double window_s, double blocks_per_slice);
void pf_heat_begin(struct pf_heat *heat, double dt_s);
void pf_heat_add(struct pf_heat *heat, struct pf_heat_slice *slice, const struct pf_heat_delta *delta);
/** Stalls in random access that no slice can be named for (procfs). Between pf_heat_begin() and pf_heat_end(). */
void pf_heat_add_stall(struct pf_heat *heat, double stall_s);
void pf_heat_end(struct pf_heat *heat);
/** Fills the fields of @ret_view that heat knows. @before: the slice before it in the same file, or NULL. */
void pf_heat_view(const struct pf_heat *heat, struct pf_heat_slice *slice, const struct pf_heat_slice *before,
		  struct pf_slice_view *ret_view);

#endif
