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

#define SETTLE_S 10 /* what adaptive pinning is given to find the hot set */

const char *const pollution_mode_name[MODE_COUNT] = { "bare", "hand", "pinfold" };

void pollution_windows(struct pollution_case *c)
{
	const struct pollution_params *p = &c->params;

	c->window[0] = (struct pollution_window){ p->warmup_s, p->move_at_s ? p->move_at_s : p->seconds };
	c->window_count = 1;
	if (p->move_at_s)
		c->window[c->window_count++] = (struct pollution_window){ p->move_at_s + SETTLE_S, p->seconds };
}

void pollution_figure(const struct pollution_case *c, const struct pollution_result *result,
		      struct pollution_figures *ret_figures)
{
	struct bench_hist *hist = malloc(sizeof(*hist));
	uint32_t seconds = 0;

	if (!hist)
		bench_die("out of memory");
	*ret_figures = (struct pollution_figures){ 0 };
	ret_figures->pinned_bytes = (double)result->second[result->seconds - 1].pinned_bytes;
	for (uint32_t w = 0; w < c->window_count; w++) {
		memset(hist, 0, sizeof(*hist));
		for (uint32_t s = c->window[w].from; s < c->window[w].to; s++, seconds++) {
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
		ret_figures->silent_seconds += c->params.workload != WORKLOAD_SCAN && !result->second[s].hist.total;
	}
	free(hist);
}

/* Seconds from @from on until a second's p99 is at most twice that by hand; NAN: never. */
static double time_to_settle(const struct pollution_case *c, uint32_t pair, uint32_t window, uint32_t from)
{
	const double by_hand = c->figures[MODE_HAND][pair].p99[window];

	for (uint32_t s = from; s < c->window[window].to; s++)
		if (c->figures[MODE_PINFOLD][pair].second_p99[s] <= 2 * by_hand)
			return s + 1 - from;
	return NAN;
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

	printf("%-34s pair %u %-7s", c->name, pair + 1, pollution_mode_name[mode]);
	for (uint32_t w = 0; w < c->window_count && c->params.workload != WORKLOAD_SCAN; w++)
		printf("  p50 %s p99 %s p99.9 %s", human_ns(f->p50[w], a, sizeof(a)), human_ns(f->p99[w], b, sizeof(b)),
		       human_ns(f->p999[w], d, sizeof(d)));
	printf("  reads %.0f/s  scan %.2f GB/s", f->reads_per_s, f->scan_bytes_per_s / 1e9);
	if (mode == MODE_PINFOLD) {
		printf("  pinned %.0f MiB", f->pinned_bytes / 1048576);
		if (c->ran[MODE_HAND] && c->params.workload == WORKLOAD_POLLUTION)
			printf("  settled after %.0f s", time_to_settle(c, pair, 0, 0));
		if (c->ran[MODE_HAND] && c->window_count > 1)
			printf(", moved: %.0f s", time_to_settle(c, pair, 1, c->params.move_at_s));
	}
	if (f->silent_seconds > 0)
		printf("  %.0f silent s", f->silent_seconds);
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

static bool row_applies(const struct pollution_case *c, const struct row *row)
{
	return row->workload == c->params.workload && row->window < c->window_count && c->ran[row->over] &&
	       c->ran[row->under];
}

static bool row_figures(const struct pollution_case *c, const struct row *row, struct bench_summary *ret_ratio)
{
	double over[PAIRS_MAX], under[PAIRS_MAX];

	column(c, row->over, row->offset, over);
	column(c, row->under, row->offset, under);
	bench_summarize_ratio(over, under, c->pair_count, ret_ratio);
	return row->at_least ? ret_ratio->median >= row->target : ret_ratio->median <= row->target;
}

void pollution_print_head(FILE *file)
{
	fputs("| Case | Figure | bare | by hand | pinfold | Ratio (median; min..max) | Target | |\n"
	      "|---|---|---:|---:|---:|---|---|---|\n", file);
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
	fprintf(file, " %s / %s = %.3g (%.3g..%.3g) | %s %.3g | %s |\n", pollution_mode_name[row->over],
		pollution_mode_name[row->under], ratio.median, ratio.min, ratio.max,
		row->at_least ? "≥" : "≤", row->target, ok ? "reached" : "**missed**");
	return !ok;
}

/* What is a count of seconds and no ratio: the worst of all pairs. */
static uint32_t print_seconds(FILE *file, const struct pollution_case *c)
{
	double silent = 0, settle = 0;
	uint32_t missed;

	if (c->params.workload != WORKLOAD_POLLUTION || !c->ran[MODE_PINFOLD])
		return 0;
	for (uint32_t i = 0; i < c->pair_count; i++)
		silent = fmax(silent, c->figures[MODE_PINFOLD][i].silent_seconds);
	missed = silent > 0;
	fprintf(file, "| %s | seconds without a read | | | %.0f | | 0 | %s |\n", c->name, silent,
		silent > 0 ? "**missed**" : "reached");
	for (uint32_t w = 0; w < c->window_count && c->ran[MODE_HAND]; w++) {
		settle = 0;
		for (uint32_t i = 0; i < c->pair_count; i++) {
			double t = time_to_settle(c, i, w, w ? c->params.move_at_s : 0);

			settle = isnan(t) || isnan(settle) ? NAN : fmax(settle, t);
		}
		missed += !(settle <= SETTLE_S);
		fprintf(file, "| %s | %s until p99 ≤ 2 × hand (worst) | | | %.0f s | | ≤ %d s | %s |\n", c->name,
			w ? "after the move," : "from the start,", settle, SETTLE_S,
			settle <= SETTLE_S ? "reached" : "**missed**");
	}
	return missed;
}

uint32_t pollution_print_case(FILE *file, const struct pollution_case *c)
{
	uint32_t missed = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (row_applies(c, &rows[i]))
			missed += print_row(file, c, &rows[i]);
	return missed + print_seconds(file, c);
}

/* ---- JSON ---- */

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
		{ "silent_seconds", AT(silent_seconds), 0 }, { "pinned_bytes", AT(pinned_bytes), 0 },
	};
	double values[PAIRS_MAX];
	struct bench_summary summary;

	bench_json_open(json, pollution_mode_name[mode], '{');
	for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
		if (keys[k].window >= c->window_count)
			continue;
		column(c, mode, keys[k].offset, values);
		bench_summarize(values, c->pair_count, &summary);
		bench_json_summary(json, keys[k].key, &summary);
	}
	bench_json_open(json, "p99_ns_by_second", '[');
	for (uint32_t i = 0; i < c->pair_count; i++) {
		bench_json_open(json, NULL, '[');
		for (uint32_t s = 0; s < c->params.seconds; s++)
			bench_json_number(json, NULL, c->figures[mode][i].second_p99[s]);
		bench_json_close(json, ']');
	}
	bench_json_close(json, ']');
	bench_json_close(json, '}');
}

void pollution_json_case(struct bench_json *json, const struct pollution_case *c)
{
	struct bench_summary ratio;

	bench_json_open(json, NULL, '{');
	bench_json_string(json, "case", c->name);
	bench_json_number(json, "memory_bytes", (double)c->params.memory_bytes);
	bench_json_number(json, "data_bytes", (double)c->params.data_bytes);
	bench_json_number(json, "pairs", c->pair_count);
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
		bench_json_string(json, "over", pollution_mode_name[rows[i].over]);
		bench_json_string(json, "under", pollution_mode_name[rows[i].under]);
		bench_json_summary(json, "ratio", &ratio);
		bench_json_number(json, "target", rows[i].target);
		bench_json_bool(json, "reached", ok);
		bench_json_close(json, '}');
	}
	bench_json_close(json, ']');
	bench_json_close(json, '}');
}
