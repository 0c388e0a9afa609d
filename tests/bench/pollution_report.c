/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pollution_report.c - from histograms per second to ratios with targets.
 *
 * A ratio is taken within each pair (runs of the same round), then the median of
 * the pairs is compared with the target.
 */
#include "pollution_report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const pollution_mode_name[MODE_COUNT] = { "bare", "random", "hand", "pinfold" };

/* Seconds of a run that count: [from, to). */
struct window {
	uint32_t from, to;
};

static struct window window_at(const struct pollution_plan *plan, uint32_t w)
{
	if (w && plan->move_at_s)
		return (struct window){ plan->move_at_s + plan->settle_s, plan->seconds };
	return (struct window){ plan->warmup_s, plan->move_at_s ? plan->move_at_s : plan->seconds };
}

/* Whether adaptive pinning had to find the hot set twice. */
static uint32_t window_count(const struct pollution_case *c)
{
	return c->plan[MODE_PINFOLD].move_at_s ? 2 : 1;
}

void pollution_figure(const struct pollution_plan *plan, const struct pollution_result *result,
		      struct pollution_figures *ret_figures)
{
	struct bench_hist *hist = malloc(sizeof(*hist));
	uint32_t seconds = 0;

	if (!hist)
		bench_die("out of memory");
	*ret_figures = (struct pollution_figures){ 0 };
	ret_figures->pinned_bytes = (double)result->second[result->seconds - 1].pinned_bytes;
	for (uint32_t w = 0; w < WINDOWS_MAX; w++) {
		const struct window window = window_at(plan, w);

		memset(hist, 0, sizeof(*hist));
		for (uint32_t s = window.from; s < window.to; s++, seconds++) {
			bench_hist_merge(hist, &result->second[s].hist);
			ret_figures->scan_bytes_per_s += (double)result->second[s].scan_bytes;
		}
		ret_figures->p50[w] = (double)bench_hist_quantile(hist, 0.5);
		ret_figures->p99[w] = (double)bench_hist_quantile(hist, 0.99);
		ret_figures->p999[w] = (double)bench_hist_quantile(hist, 0.999);
		ret_figures->reads_per_s += (double)hist->total;
	}
	ret_figures->reads_per_s /= seconds;
	ret_figures->scan_bytes_per_s /= seconds;
	for (uint32_t s = 0; s < result->seconds; s++) {
		ret_figures->second_p99[s] = (double)bench_hist_quantile(&result->second[s].hist, 0.99);
		ret_figures->second_reads[s] = (double)result->second[s].hist.total;
	}
	free(hist);
}

/* Of the seconds that count. */
static double worst_second_p99(const struct pollution_case *c, enum pollution_mode mode, uint32_t pair, uint32_t w)
{
	const struct window window = window_at(&c->plan[mode], w);
	double worst = 0;

	for (uint32_t s = window.from; s < window.to; s++)
		worst = fmax(worst, c->figures[mode][pair].second_p99[s]);
	return worst;
}

/*
 * Seconds from the start or the move on after which each second's p99 is at most twice that of the worst second by
 * hand, until the window ends.
 */
static double time_to_settle(const struct pollution_case *c, uint32_t pair, uint32_t w)
{
	const struct pollution_plan *plan = &c->plan[MODE_PINFOLD];
	const double by_hand = worst_second_p99(c, MODE_HAND, pair, w);
	const uint32_t from = w ? plan->move_at_s : 0;
	uint32_t s = window_at(plan, w).to;

	while (s > from && c->figures[MODE_PINFOLD][pair].second_p99[s - 1] <= 2 * by_hand)
		s--;
	return s - from;
}

/* Reads in the second of a run that had the fewest. */
static double fewest_reads(const struct pollution_case *c, enum pollution_mode mode, uint32_t pair)
{
	double fewest = INFINITY;

	for (uint32_t s = 0; s < c->plan[mode].seconds; s++)
		fewest = fmin(fewest, c->figures[mode][pair].second_reads[s]);
	return fewest;
}

static const char *human_ns(double ns, char *text, size_t size)
{
	if (ns < 1000)
		snprintf(text, size, "%.0f ns", ns);
	else if (ns < 1e6)
		snprintf(text, size, "%.3g µs", ns / 1e3);
	else
		snprintf(text, size, "%.3g ms", ns / 1e6);
	return text;
}

static const char *human_rate(double rate, char *text, size_t size)
{
	if (rate >= 1e8)
		snprintf(text, size, "%.2f GB/s", rate / 1e9);
	else
		snprintf(text, size, "%.0f /s", rate);
	return text;
}

void pollution_print_run(const struct pollution_case *c, enum pollution_mode mode, uint32_t pair)
{
	const struct pollution_figures *f = &c->figures[mode][pair];
	char a[24], b[24], d[24];

	printf("%-16s pair %u %-7s", c->name, pair + 1, pollution_mode_name[mode]);
	for (uint32_t w = 0; w < (c->plan[mode].move_at_s ? 2 : 1) && c->params.workload != WORKLOAD_SCAN; w++)
		printf("  p50 %s p99 %s p99.9 %s", human_ns(f->p50[w], a, sizeof(a)), human_ns(f->p99[w], b, sizeof(b)),
		       human_ns(f->p999[w], d, sizeof(d)));
	printf("  reads %.0f/s  scan %.2f GB/s", f->reads_per_s, f->scan_bytes_per_s / 1e9);
	if (mode == MODE_PINFOLD) {
		printf("  pinned %.0f MiB", f->pinned_bytes / 1048576);
		for (uint32_t w = 0; w < window_count(c) && c->ran[MODE_HAND]; w++)
			printf("%s %.0f s", w ? ", moved:" : "  settled after", time_to_settle(c, pair, w));
	}
	if (c->params.workload != WORKLOAD_SCAN)
		printf("  worst second %.0f reads", fewest_reads(c, mode, pair));
	putchar('\n');
	fflush(stdout);
}

/* ---- rows ---- */

struct row {
	const char *figure;
	enum pollution_mode over, under; /* ratio = over / under */
	size_t offset;                   /* of the double in struct pollution_figures */
	double target;
	bool at_least;
	bool is_rate;
	enum pollution_workload workload;
	uint32_t window;
};

#define AT(member) offsetof(struct pollution_figures, member)
static const struct row rows[] = {
	{ "p99.9", MODE_PINFOLD, MODE_HAND, AT(p999[0]), 2, false, false, WORKLOAD_POLLUTION, 0 },
	{ "p99", MODE_BARE, MODE_PINFOLD, AT(p99[0]), 100, true, false, WORKLOAD_POLLUTION, 0 },
	{ "p99.9 after the move", MODE_PINFOLD, MODE_HAND, AT(p999[1]), 2, false, false, WORKLOAD_POLLUTION, 1 },
	{ "p99 after the move", MODE_BARE, MODE_PINFOLD, AT(p99[1]), 100, true, false, WORKLOAD_POLLUTION, 1 },
	{ "reads", MODE_PINFOLD, MODE_BARE, AT(reads_per_s), 0.95, true, true, WORKLOAD_UNIFORM, 0 },
	{ "scan", MODE_PINFOLD, MODE_BARE, AT(scan_bytes_per_s), 0.95, true, true, WORKLOAD_SCAN, 0 },
	{ "reads", MODE_PINFOLD, MODE_BARE, AT(reads_per_s), 0.95, true, true, WORKLOAD_FITS, 0 },
};

static void column(const struct pollution_case *c, enum pollution_mode mode, size_t offset, double *ret_values)
{
	for (uint32_t i = 0; i < c->pair_count; i++)
		memcpy(&ret_values[i], (const char *)&c->figures[mode][i] + offset, sizeof(double));
}

/* The same of one side of @row: of bare mmap the better of its two ways, if both were run. */
static void row_column(const struct pollution_case *c, const struct row *row, enum pollution_mode mode,
		       double *ret_values)
{
	double random[PAIRS_MAX];

	column(c, mode, row->offset, ret_values);
	if (mode != MODE_BARE || !c->ran[MODE_RANDOM])
		return;
	column(c, MODE_RANDOM, row->offset, random);
	for (uint32_t i = 0; i < c->pair_count; i++)
		ret_values[i] = row->is_rate ? fmax(ret_values[i], random[i]) : fmin(ret_values[i], random[i]);
}

static const char *row_side(const struct pollution_case *c, enum pollution_mode mode)
{
	return mode == MODE_BARE && c->ran[MODE_RANDOM] ? "better of bare and random" : pollution_mode_name[mode];
}

static bool row_applies(const struct pollution_case *c, const struct row *row)
{
	return row->workload == c->params.workload && row->window < window_count(c) && c->ran[row->over] &&
	       c->ran[row->under];
}

static bool row_figures(const struct pollution_case *c, const struct row *row, struct bench_summary *ret_ratio)
{
	double over[PAIRS_MAX], under[PAIRS_MAX];

	row_column(c, row, row->over, over);
	row_column(c, row, row->under, under);
	bench_summarize_ratio(over, under, c->pair_count, ret_ratio);
	return row->at_least ? ret_ratio->median >= row->target : ret_ratio->median <= row->target;
}

void pollution_print_head(FILE *file)
{
	fputs("| Case | Figure | bare | bare, MADV_RANDOM | by hand | pinfold | Ratio, median (quartiles) of pairs "
	      "| Target | |\n|---|---|---:|---:|---:|---:|---|---|---|\n", file);
}

static uint32_t print_row(FILE *file, const struct pollution_case *c, const struct row *row)
{
	struct bench_summary ratio;
	const bool ok = row_figures(c, row, &ratio);
	const char *(*human)(double, char *, size_t) = row->is_rate ? human_rate : human_ns;
	double values[PAIRS_MAX];
	char text[24];

	fprintf(file, "| %s | %s |", c->name, row->figure);
	for (int m = 0; m < MODE_COUNT; m++) {
		column(c, m, row->offset, values);
		if (!c->ran[m])
			fputs(" |", file);
		else
			fprintf(file, " %s |", human(bench_median(values, c->pair_count), text, sizeof(text)));
	}
	fprintf(file, " %s / %s = %.3g (%.3g to %.3g) of %zu | %s %.3g | %s |\n", row_side(c, row->over),
		row_side(c, row->under), ratio.median, ratio.low, ratio.high, ratio.count,
		row->at_least ? "≥" : "≤", row->target, ok ? "reached" : "**missed**");
	return !ok;
}

static void settle_times(const struct pollution_case *c, uint32_t w, struct bench_summary *ret_summary)
{
	double values[PAIRS_MAX];

	for (uint32_t i = 0; i < c->pair_count; i++)
		values[i] = time_to_settle(c, i, w);
	bench_summarize(values, c->pair_count, ret_summary);
}

static void worst_seconds(const struct pollution_case *c, enum pollution_mode mode, struct bench_summary *ret_summary)
{
	double values[PAIRS_MAX];

	for (uint32_t i = 0; i < c->pair_count; i++)
		values[i] = fewest_reads(c, mode, i);
	bench_summarize(values, c->pair_count, ret_summary);
}

/* What is no ratio: the worst of all pairs counts. */
static uint32_t print_seconds(FILE *file, const struct pollution_case *c)
{
	struct bench_summary seconds;
	uint32_t missed;

	if (c->params.workload != WORKLOAD_POLLUTION || !c->ran[MODE_PINFOLD])
		return 0;
	worst_seconds(c, MODE_PINFOLD, &seconds);
	missed = !(seconds.min >= 1);
	fprintf(file, "| %s | reads in the worst second | | | | median %.0f, worst %.0f | | ≥ 1 | %s |\n", c->name,
		seconds.median, seconds.min, missed ? "**missed**" : "reached");
	for (uint32_t w = 0; w < window_count(c) && c->ran[MODE_HAND]; w++) {
		const uint32_t target = w ? c->plan[MODE_PINFOLD].settle_s : c->plan[MODE_PINFOLD].warmup_s;
		bool ok;

		settle_times(c, w, &seconds);
		ok = seconds.max <= target;
		missed += !ok;
		fprintf(file, "| %s | %s p99 stays ≤ 2 × hand | | | | median %.0f s, worst %.0f s | | ≤ %u s | %s |\n",
			c->name, w ? "after the move," : "from the start,", seconds.median, seconds.max, target,
			ok ? "reached" : "**missed**");
	}
	return missed;
}

uint32_t pollution_print_case(FILE *file, const struct pollution_case *c)
{
	uint32_t missed = 0;

	if (!c->pair_count)
		return 0;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (row_applies(c, &rows[i]))
			missed += print_row(file, c, &rows[i]);
	return missed + print_seconds(file, c);
}

/* ---- JSON ---- */

/* The array of seconds at @offset, of each pair. */
static void json_seconds(struct bench_json *json, const struct pollution_case *c, enum pollution_mode mode,
			 const char *key, size_t offset)
{
	bench_json_open(json, key, '[');
	for (uint32_t i = 0; i < c->pair_count; i++) {
		const double *values = (const void *)((const char *)&c->figures[mode][i] + offset);

		bench_json_open(json, NULL, '[');
		for (uint32_t s = 0; s < c->plan[mode].seconds; s++)
			bench_json_number(json, NULL, values[s]);
		bench_json_close(json, ']');
	}
	bench_json_close(json, ']');
}

static void json_mode(struct bench_json *json, const struct pollution_case *c, enum pollution_mode mode)
{
	static const struct {
		const char *key;
		size_t offset;
		uint32_t window;
	} keys[] = {
		{ "p50_ns", AT(p50[0]), 0 }, { "p99_ns", AT(p99[0]), 0 }, { "p999_ns", AT(p999[0]), 0 },
		{ "moved_p50_ns", AT(p50[1]), 1 }, { "moved_p99_ns", AT(p99[1]), 1 },
		{ "moved_p999_ns", AT(p999[1]), 1 },
		{ "reads_per_s", AT(reads_per_s), 0 }, { "scan_bytes_per_s", AT(scan_bytes_per_s), 0 },
		{ "pinned_bytes", AT(pinned_bytes), 0 },
	};
	double values[PAIRS_MAX];
	struct bench_summary summary;

	bench_json_open(json, pollution_mode_name[mode], '{');
	for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
		if (keys[k].window >= window_count(c))
			continue;
		column(c, mode, keys[k].offset, values);
		bench_summarize(values, c->pair_count, &summary);
		bench_json_summary(json, keys[k].key, &summary);
	}
	worst_seconds(c, mode, &summary);
	bench_json_summary(json, "reads_in_worst_second", &summary);
	json_seconds(json, c, mode, "reads_by_second", AT(second_reads));
	json_seconds(json, c, mode, "p99_ns_by_second", AT(second_p99));
	bench_json_close(json, '}');
}

void pollution_json_case(struct bench_json *json, const struct pollution_case *c)
{
	struct bench_summary ratio;

	if (!c->pair_count)
		return;
	bench_json_open(json, NULL, '{');
	bench_json_string(json, "case", c->name);
	bench_json_number(json, "memory_bytes", (double)c->params.memory_bytes);
	bench_json_number(json, "data_bytes", (double)c->params.data_bytes);
	bench_json_number(json, "pairs", c->pair_count);
	for (uint32_t w = 0; w < window_count(c) && c->ran[MODE_HAND] && c->ran[MODE_PINFOLD]; w++) {
		settle_times(c, w, &ratio);
		bench_json_summary(json, w ? "settled_after_move_s" : "settled_after_start_s", &ratio);
	}
	for (int m = 0; m < MODE_COUNT; m++)
		if (c->ran[m])
			json_mode(json, c, m);
	bench_json_open(json, "ratios", '[');
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool ok;

		if (!row_applies(c, &rows[i]))
			continue;
		ok = row_figures(c, &rows[i], &ratio);
		bench_json_open(json, NULL, '{');
		bench_json_string(json, "figure", rows[i].figure);
		bench_json_string(json, "over", row_side(c, rows[i].over));
		bench_json_string(json, "under", row_side(c, rows[i].under));
		bench_json_summary(json, "ratio", &ratio);
		bench_json_number(json, "target", rows[i].target);
		bench_json_bool(json, "reached", ok);
		bench_json_close(json, '}');
	}
	bench_json_close(json, ']');
	bench_json_close(json, '}');
}
