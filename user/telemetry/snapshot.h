/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * snapshot.h - what telemetry knows, as plain data: the only thing policy reads.
 */
#ifndef PF_SNAPSHOT_H
#define PF_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

/**
 * One slice. Rates are per second, exponentially decayed.
 *
 * @value: seconds of random-read stall per second that residency of this slice
 *         saves or would save (measured while it misses; carried on and scaled by sampled
 *         touches while it is resident or pinned and does not fault)
 * @heat:  value against the mean of slices that are not pinned: r / (1 + r), so 0.5 is the
 *         mean, 0.7 is 2.3 times it, 0.9 nine times. 0 when the store does not stall.
 * @confidence: n / (n + k) with n the decayed number of observations behind it; k is 4 where slices are
 *         alike, and falls to 1.25 where few slices have most of the random accesses
 */
struct pf_slice_view {
	uint32_t file_id, index;
	float value;
	float heat;
	float confidence;
	float fault_rate;      /* all faults */
	float random_rate;     /* random faults and sampled touches scaled up */
	float stall_rate;      /* seconds per second, all faults */
	float random_stall_rate; /* the part of it in random faults, as measured */
	float turn_random_rate;       /* random faults in this turn alone, not decayed */
	float turn_random_stall_rate; /* what they stalled, seconds per second */
	float slow_heat;       /* heat averaged over the learning window */
	uint8_t pattern;       /* enum pinfold_access */
	bool in_use;           /* an allocated extent covers it */
	uint32_t resident_pages; /* UINT32_MAX: not known */
	uint32_t remote_permille; /* faults from a node other than the slice's memory; 0 on one node */
	int32_t busiest_node;  /* -1: not known */
	uint32_t extent_flags; /* PINFOLD_EXTENT_* */
};

struct pf_snapshot {
	uint64_t time_ms;            /* caller's clock */
	uint64_t slice_size;
	double total_stall_rate;     /* of the whole store, random faults, seconds per second */
	uint64_t slice_count;
	const struct pf_slice_view *slices; /* ordered by (file_id, index) */
	uint64_t lost_events;
};

#endif
