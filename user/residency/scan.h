/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * scan.h - the planner of a scan: cuts ranges into what is handed out in place and what is read.
 */
#ifndef PF_RESIDENCY_SCAN_H
#define PF_RESIDENCY_SCAN_H

#include "residency/internal.h"

/** Size of a read, and of a buffer. */
#define SCAN_BLOCK ((size_t)1 << 20)
/** Largest block handed out in place, and span that residency is asked for at once. */
#define SCAN_SPAN ((size_t)16 << 20)
/** Shorter resident runs among missing pages are read with them: a block must be worth its request. */
#define SCAN_RUN_MIN ((size_t)256 << 10)

/** A file that ranges are in. */
struct scan_file {
	int fd;       /* the caller's */
	int direct;   /* O_DIRECT, or -1: refused */
	int buffered; /* own descriptor for pread, no readahead beyond what is asked; -1 until needed */
	uint64_t run_start, run_end; /* what was read through the page cache without a gap; dropped again */
	bool visible; /* residency can be told */
};

struct scan_segment {
	size_t range;
	uint64_t at; /* byte in the range */
	size_t size;
	bool in_place;
};

struct scan_plan {
	const struct pf_range *ranges;
	const struct scan_file *files;
	const uint32_t *file_of; /* of each range */
	size_t count;
	size_t range, at;        /* next byte to plan */
	/* residency of [span_at, span_at + span_size) of the range @range; all of it if uniform */
	size_t span_at, span_size;
	bool span_uniform, span_resident, was_cold;
	size_t page;
	unsigned char *span; /* one byte per page, as mincore; SCAN_SPAN's worth */
};

int scan_plan_init(struct scan_plan *plan);
void scan_plan_done(struct scan_plan *plan);
/** The next segment in order. False at the end. */
bool scan_plan_next(struct scan_plan *plan, struct scan_segment *ret_segment);

#endif
