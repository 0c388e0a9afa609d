/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pollution_report.h - figures of the scan pollution benchmark, run by run and case by case.
 */
#ifndef BENCH_POLLUTION_REPORT_H
#define BENCH_POLLUTION_REPORT_H

#include "pollution.h"

#define PAIRS_MAX 50

/** Seconds of a run that count: [from, to). Two where the hot set moves: before, and from 10 s after. */
struct pollution_window {
	uint32_t from, to;
};
#define WINDOWS_MAX 2

/** One run in a few numbers; latencies in ns. */
struct pollution_figures {
	double p50[WINDOWS_MAX], p99[WINDOWS_MAX], p999[WINDOWS_MAX];
	double reads_per_s, scan_bytes_per_s; /* over all windows */
	double silent_seconds;                /* of the whole run, without a read */
	double second_p99[POLLUTION_SECONDS_MAX];
	double pinned_bytes;                  /* at the end */
};

struct pollution_case {
	char name[80];
	struct pollution_params params; /* but for the mode */
	uint32_t pair_count;
	uint32_t window_count;
	struct pollution_window window[WINDOWS_MAX];
	bool ran[MODE_COUNT];
	struct pollution_figures figures[MODE_COUNT][PAIRS_MAX];
};

extern const char *const pollution_mode_name[MODE_COUNT];

void pollution_windows(struct pollution_case *c);
void pollution_figure(const struct pollution_case *c, const struct pollution_result *result,
		      struct pollution_figures *ret_figures);
/** One line per run, as it ends. */
void pollution_print_run(const struct pollution_case *c, enum pollution_mode mode, uint32_t pair);
/** Rows of a Markdown table: case, figure, median of each mode, ratio, target, verdict. Returns how many missed it. */
void pollution_print_head(FILE *file);
uint32_t pollution_print_case(FILE *file, const struct pollution_case *c);
void pollution_json_case(struct bench_json *json, const struct pollution_case *c);

#endif
