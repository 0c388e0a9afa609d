/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pollution_report.h - figures of the scan pollution benchmark, run by run and case by case.
 */
#ifndef BENCH_POLLUTION_REPORT_H
#define BENCH_POLLUTION_REPORT_H

#include "pollution.h"

#define PAIRS_MAX 50
#define CASES_MAX 8

/**
 * When what of a run counts: the windows are [warmup_s, move_at_s) and [move_at_s + settle_s, seconds); without a
 * move [warmup_s, seconds).
 */
struct pollution_plan {
	uint32_t seconds, warmup_s, move_at_s, settle_s;
};
#define WINDOWS_MAX 2

/** One run in a few numbers; latencies in ns. */
struct pollution_figures {
	/* of each window; a mode whose hot set does not move shows the same in both */
	double p50[WINDOWS_MAX], p99[WINDOWS_MAX], p999[WINDOWS_MAX];
	double reads_per_s, scan_bytes_per_s; /* over all windows */
	double pinned_bytes;                  /* at the end */
	double second_reads[POLLUTION_SECONDS_MAX], second_p99[POLLUTION_SECONDS_MAX]; /* of all seconds */
};

/** All modes, run in turn: pair i of each belongs together. */
struct pollution_case {
	char name[80];
	struct pollution_params params; /* but for the mode and its plan */
	struct pollution_plan plan[MODE_COUNT];
	uint32_t pair_count;
	bool ran[MODE_COUNT];
	struct pollution_figures figures[MODE_COUNT][PAIRS_MAX];
};

extern const char *const pollution_mode_name[MODE_COUNT];
extern const char *const pollution_workload_name[WORKLOAD_COUNT];

/* ---- cases ---- */

/** Modes that are compared, as a mask. */
unsigned int pollution_modes(const struct pollution_params *params);
/** Every case of the suite, named, with @params for what they have in common; CASES_MAX at most. Returns how many. */
uint32_t pollution_suite(const struct pollution_params *params, struct pollution_case *ret_cases);
/** Sizes, name and plans from the parameters. @given: plan of all modes, NULL for the suite's. Dies if it cannot be. */
void pollution_case_complete(struct pollution_case *c, double data_factor, const struct pollution_plan *given);

/* ---- figures ---- */

void pollution_figure(const struct pollution_plan *plan, const struct pollution_result *result,
		      struct pollution_figures *ret_figures);
/** One line per run, as it ends. */
void pollution_print_run(const struct pollution_case *c, enum pollution_mode mode, uint32_t pair);
/** Rows of a Markdown table: case, figure, median of each mode, ratio, target, verdict. Returns how many missed it. */
void pollution_print_head(FILE *file);
uint32_t pollution_print_case(FILE *file, const struct pollution_case *c);
void pollution_json_case(struct bench_json *json, const struct pollution_case *c);

/* ---- records: a line of text per run, so that a suite can be run in pieces and reported as one ---- */

/** Appends pair @pair of @c, which is known as @id wherever it is recorded. 0 or -errno. */
int pollution_record_append(const char *path, const struct pollution_case *c, uint32_t pair, uint64_t id);
/**
 * Adds all pairs recorded of @c to it; pairs without all modes of its workload are left out. What was run with
 * another plan or size than @c's is no pair of it. 0 or -errno.
 */
int pollution_record_load(const char *path, struct pollution_case *c);

#endif
