// SPDX-License-Identifier: LGPL-2.1-or-later
/* demo_report.c - what the demo found: latencies before and after, where faults were, what was decided and why. */
#include "demo.h"
#include "explain.h"
#include "term.h"
#include "config/units.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define EXAMPLES_MAX 3
#define HEATMAP_ROWS 16u

static const char *const op_names[DEMO_OP_COUNT] = {"page reads", "record gets"};

/* ---- decisions, summed by what and why ---- */

struct tally {
	unsigned int action, reason;
	uint64_t count, slices, failed;
};
#define TALLY_MAX 64

static size_t tally_decisions(const struct watch *watch, struct tally *tallies)
{
	size_t count = 0;

	for (size_t i = 0; i < watch->decision_count; i++) {
		const struct pinfold_live_decision *d = &watch->decisions[i];
		size_t j = 0;

		while (j < count && (tallies[j].action != d->action || tallies[j].reason != d->reason))
			j++;
		if (j == TALLY_MAX)
			continue;
		if (j == count)
			tallies[count++] = (struct tally){.action = d->action, .reason = d->reason};
		tallies[j].count++;
		tallies[j].slices += d->slice_count;
		tallies[j].failed += d->result != 0;
	}
	/* Most first; there are few. */
	for (size_t i = 0; i < count; i++) {
		for (size_t j = i + 1; j < count; j++) {
			if (tallies[j].count > tallies[i].count) {
				struct tally t = tallies[i];

				tallies[i] = tallies[j];
				tallies[j] = t;
			}
		}
	}
	return count;
}

/* ---- examples ---- */

/* Better than what was chosen before: the hottest pinned one; of the others, for each new reason the one that faulted
 * most. */
static bool is_better(const struct pinfold_live_slice *s, const struct pinfold_live_slice *than, bool pinned)
{
	if ((s->state >= PINFOLD_SLICE_PINNED) != pinned)
		return false;
	if (!than)
		return true;
	return pinned ? s->heat > than->heat : s->minor + s->major > than->minor + than->major;
}

static bool reason_shown(const struct pinfold_live_slice *const *shown, size_t count, unsigned int reason)
{
	for (size_t i = 0; i < count; i++) {
		if (shown[i]->reason == reason)
			return true;
	}
	return false;
}

static size_t choose_examples(const struct watch *watch, const struct pinfold_live_slice **chosen)
{
	size_t count = 0;

	for (int i = 0; i < EXAMPLES_MAX; i++) {
		const struct pinfold_live_slice *best = NULL;

		for (size_t j = 0; j < watch->slice_count; j++) {
			const struct pinfold_live_slice *s = &watch->slices[j];

			if (!reason_shown(chosen, count, s->reason) && is_better(s, best, i == 0))
				best = s;
		}
		if (best)
			chosen[count++] = best;
	}
	return count;
}

/* ---- text ---- */

static void print_latency_row(struct table *table, const char *name, const struct histogram *h, double seconds)
{
	char buf[UNITS_TEXT_MAX];

	table_cell(table, "%s", name);
	if (!h->count) {
		for (int i = 0; i < 5; i++)
			table_cell(table, "-");
		return;
	}
	table_cell(table, "%s", units_ns((double)histogram_quantile(h, 0.5), buf));
	table_cell(table, "%s", units_ns((double)histogram_quantile(h, 0.99), buf));
	table_cell(table, "%s", units_ns((double)histogram_quantile(h, 0.999), buf));
	table_cell(table, "%s", units_ns((double)h->max_ns, buf));
	table_cell(table, "%s", units_count((uint64_t)((double)h->count / seconds), buf));
}

static void factor_cell(struct table *table, uint64_t before, uint64_t after)
{
	double factor = after ? (double)before / (double)after : 0;

	if (!before || !after)
		table_cell(table, "-");
	else
		table_cell(table, "%.*f x", factor < 10 ? 1 : 0, factor);
}

static void print_latencies(struct demo *demo)
{
	static const char *const names[] = {"", ">P50", ">P99", ">P99.9", ">MAX", ">PER SECOND"};
	struct demo_phase *before = &demo->phases[0], *after = &demo->phases[1];
	double settled = before->seconds - before->settled_from;
	char name[64], scan_before[UNITS_TEXT_MAX], scan_after[UNITS_TEXT_MAX];
	struct table table;

	printf("\nLatency of hot reads beside the scan, from second %u on\n\n", before->settled_from);
	table_init(&table, 6, names);
	for (int op = 0; op < DEMO_OP_COUNT; op++) {
		const struct histogram *b = &before->settled[op], *a = &after->settled[op];

		snprintf(name, sizeof(name), "%s, not pinned", op_names[op]);
		print_latency_row(&table, name, b, settled);
		snprintf(name, sizeof(name), "%s, adaptive pinning", op_names[op]);
		print_latency_row(&table, name, a, settled);
		table_cell(&table, "  better by");
		factor_cell(&table, histogram_quantile(b, 0.5), histogram_quantile(a, 0.5));
		factor_cell(&table, histogram_quantile(b, 0.99), histogram_quantile(a, 0.99));
		factor_cell(&table, histogram_quantile(b, 0.999), histogram_quantile(a, 0.999));
		factor_cell(&table, b->max_ns, a->max_ns);
		factor_cell(&table, a->count, b->count);
	}
	table_print(&table, stdout, term_color(demo->cli, stdout));
	printf("\nThe scan ran at %s/s without and %s/s with adaptive pinning.\n",
	       units_size(before->scan_bytes / before->seconds, scan_before),
	       units_size(after->scan_bytes / after->seconds, scan_after));
}

static void print_heatmap(struct demo *demo, struct heatmap *map)
{
	bool color = term_truecolor(demo->cli, stdout);

	if (!map->column_count)
		return;
	heatmap_bin(map, color ? HEATMAP_ROWS * 2 : HEATMAP_ROWS, (uint32_t)(term_width(stdout) - 10));
	putchar('\n');
	if (color)
		heatmap_print_blocks(map, stdout);
	else
		heatmap_print_digits(map, stdout);
}

static void print_decisions(struct demo *demo)
{
	static const char *const names[] = {">COUNT", ">SLICES", ">REFUSED", "DECISION", "WHY"};
	struct demo_phase *phase = &demo->phases[1];
	struct tally tallies[TALLY_MAX];
	size_t count = tally_decisions(&phase->watch, tallies);
	struct table table;

	printf("\nWhat was decided, and why\n\n");
	if (!count) {
		printf("Nothing was pinned or let go.\n");
		return;
	}
	table_init(&table, 5, names);
	for (size_t i = 0; i < count; i++) {
		table_cell(&table, "%" PRIu64, tallies[i].count);
		table_cell(&table, "%" PRIu64, tallies[i].slices);
		table_cell(&table, "%" PRIu64, tallies[i].failed);
		table_cell(&table, "%s", watch_action_name(tallies[i].action));
		table_cell(&table, "%s", pinfold_reason_text((enum pinfold_reason)tallies[i].reason));
	}
	table_print(&table, stdout, term_color(demo->cli, stdout));
}

/* How well the pins met the hot set, which was never told. */
struct hits {
	size_t hot, tables, others; /* pinned slices: of the hot runs, of the record tables, of neither */
};

static bool is_scanned(const struct demo *demo, const struct pinfold_live_slice *s, uint64_t slice_size)
{
	for (size_t i = 0; i < demo->scanned_count; i++) {
		const struct pinfold_extent *extent = &demo->scanned[i];

		if (extent->file_id == s->file_id && s->index * slice_size >= extent->offset &&
		    s->index * slice_size < extent->offset + extent->len)
			return true;
	}
	return false;
}

static struct hits count_hits(const struct demo *demo)
{
	const struct watch *watch = &demo->phases[1].watch;
	struct hits hits = {0};

	for (size_t i = 0; i < demo->hot_count; i++) {
		const struct workload_run *run = &demo->hot[i];
		const struct pinfold_live_slice *s =
			watch_slice_at(watch, run->extent.file_id, run->extent.offset + run->offset);

		hits.hot += s && s->state >= PINFOLD_SLICE_PINNED;
	}
	/* What is in no volume belongs to a table. */
	for (size_t i = 0; i < watch->slice_count; i++) {
		if (watch->slices[i].state < PINFOLD_SLICE_PINNED)
			continue;
		if (is_scanned(demo, &watch->slices[i], watch->info.slice_size))
			hits.others++;
		else
			hits.tables++;
	}
	hits.others -= hits.others < hits.hot ? hits.others : hits.hot;
	return hits;
}

static void print_examples(struct demo *demo, const struct explain_host *host)
{
	const struct watch *watch = &demo->phases[1].watch;
	const struct pinfold_live_slice *chosen[EXAMPLES_MAX];
	size_t count = choose_examples(watch, chosen);

	for (size_t i = 0; i < count; i++) {
		struct explanation explanation;
		struct explain_group group;

		explain_group_take(chosen[i], 1, &group);
		explain_make(&group, watch, host, &explanation);
		putchar('\n');
		explain_print(&explanation, stdout);
	}
}

static void print_telemetry(struct demo *demo)
{
	const struct pinfold_live_info *info = &demo->phases[1].watch.info;
	char lost[UNITS_TEXT_MAX], samples[UNITS_TEXT_MAX];
	double turn_ms = info->turn_count ? (double)info->turn_ns_total / (double)info->turn_count / 1e6 : 0;

	printf("\nTelemetry came from %s (%s events lost, %s page-table samples, %.1f ms per turn of the "
	       "controller).\n",
	       info->source, units_count(info->lost_events, lost), units_count(info->sample_count, samples), turn_ms);
	if (info->missing[0])
		printf("Not running: %s\n", info->missing);
	if (!strcmp(info->source, "procfs"))
		printf("Without BPF, faults are estimated from the page tables and the page cache; 'pinfold doctor' "
		       "says how to get it.\n");
}

static void print_what(struct demo *demo)
{
	const struct demo_data *data = &demo->data;
	char records[UNITS_TEXT_MAX], bytes[UNITS_TEXT_MAX], files[UNITS_TEXT_MAX], size[UNITS_TEXT_MAX],
		limit[UNITS_TEXT_MAX];
	char hot[UNITS_TEXT_MAX], table[UNITS_TEXT_MAX];

	printf("Data: %s records (%s) from %s; %s files (%s) from %s%s.\n",
	       units_count(data->import.record_count, records), units_size(data->import.byte_count, bytes),
	       data->import_from, units_count(data->file_count, files), units_size(data->byte_count, size),
	       demo->options.tree, data->copies > 1 ? ", loaded more than once" : "");
	printf("Hot set: %s of random 2 MiB runs and the record table (%s), in a ", units_size(demo->hot_bytes, hot),
	       units_size(data->table_bytes, table));
	if (demo->limited)
		printf("memory limit of %s (cgroup v%d).\n", units_size(demo->options.memory, limit),
		       demo->cgroup.version);
	else
		printf("process without a memory limit: %s. Everything may fit, and pinning then changes little.\n",
		       demo->no_limit_reason);
}

static int report_text(struct demo *demo)
{
	struct demo_phase *before = &demo->phases[0], *after = &demo->phases[1];
	struct explain_host host;
	struct hits hits;

	putchar('\n');
	print_what(demo);
	print_latencies(demo);
	if (!after->watched) {
		printf("\nThe engine's own findings could not be read.\n");
		return cli_finish_stdout(demo->cli, CLI_OK);
	}
	/* One scale for both, so that they can be compared. */
	if (before->faults.max > after->faults.max)
		after->faults.max = before->faults.max;
	else
		before->faults.max = after->faults.max;
	print_heatmap(demo, &before->faults);
	print_heatmap(demo, &after->faults);
	print_heatmap(demo, &after->state);
	print_decisions(demo);
	hits = count_hits(demo);
	printf("\nPinned at the end, though nobody had named them: %zu of the %zu slices of the hot runs, %zu of the "
	       "record "
	       "tables; besides, %zu others.\n",
	       hits.hot, demo->hot_count, hits.tables, hits.others);
	explain_host_ask(demo->dir, &host);
	print_examples(demo, &host);
	print_telemetry(demo);
	return cli_finish_stdout(demo->cli, CLI_OK);
}

/* ---- JSON ---- */

static json_t *phase_json(const struct demo_phase *phase)
{
	json_t *seconds = json_array();
	uint64_t scan_rate = phase->seconds ? phase->scan_bytes / phase->seconds : 0;

	for (uint32_t i = 0; i < phase->seconds; i++)
		json_array_append_new(seconds, json_pack("{s:o, s:o, s:o}", "page_reads",
							 histogram_json(&phase->per_second[DEMO_READ][i]),
							 "record_gets", histogram_json(&phase->per_second[DEMO_GET][i]),
							 "pinned_bytes", cli_json_u64(phase->pinned_bytes[i])));
	return json_pack("{s:b, s:I, s:I, s:{s:o, s:o}, s:{s:o, s:o}, s:o, s:o}", "adaptive", phase->adaptive,
			 "seconds", (json_int_t)phase->seconds, "settled_from", (json_int_t)phase->settled_from,
			 "settled", "page_reads", histogram_json(&phase->settled[DEMO_READ]), "record_gets",
			 histogram_json(&phase->settled[DEMO_GET]), "all", "page_reads",
			 histogram_json(&phase->all[DEMO_READ]), "record_gets", histogram_json(&phase->all[DEMO_GET]),
			 "scan_bytes_per_s", cli_json_u64(scan_rate), "per_second", seconds);
}

static json_t *decisions_json(const struct watch *watch)
{
	struct tally tallies[TALLY_MAX];
	size_t count = tally_decisions(watch, tallies);
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:o, s:o, s:o}", "action",
						      watch_action_name(tallies[i].action), "reason",
						      watch_reason_name(tallies[i].reason), "why",
						      pinfold_reason_text((enum pinfold_reason)tallies[i].reason),
						      "count", cli_json_u64(tallies[i].count), "slices",
						      cli_json_u64(tallies[i].slices), "refused",
						      cli_json_u64(tallies[i].failed)));
	return list;
}

static json_t *examples_json(const struct watch *watch, const struct explain_host *host)
{
	const struct pinfold_live_slice *chosen[EXAMPLES_MAX];
	size_t count = choose_examples(watch, chosen);
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++) {
		struct explanation explanation;
		struct explain_group group;

		explain_group_take(chosen[i], 1, &group);
		explain_make(&group, watch, host, &explanation);
		json_array_append_new(list, explain_json(&group, watch, &explanation));
	}
	return list;
}

static int report_json(struct demo *demo)
{
	const struct demo_data *data = &demo->data;
	const struct demo_phase *after = &demo->phases[1];
	struct hits hits = {0};
	struct explain_host host;
	json_t *root;

	explain_host_ask(demo->dir, &host);
	if (after->watched)
		hits = count_hits(demo);
	root = json_pack("{s:o, s:{s:o, s:o, s:s, s:o, s:o, s:o, s:i, s:o}, s:{s:b, s:o, s:i, s:s}, s:{s:o, s:o, s:o}, "
			 "s:[o, o]}",
			 "store", cli_json_text(demo->dir), "data", "records", cli_json_u64(data->import.record_count),
			 "record_bytes", cli_json_u64(data->import.byte_count), "records_from", data->import_from,
			 "files", cli_json_u64(data->file_count), "file_bytes", cli_json_u64(data->byte_count),
			 "unreadable", cli_json_u64(data->unreadable_count), "copies", data->copies, "load_seconds",
			 cli_json_real(data->load_seconds), "limit", "limited", demo->limited, "bytes",
			 cli_json_u64(demo->options.memory), "cgroup_version", demo->cgroup.version, "why_not",
			 demo->no_limit_reason, "hot_set", "bytes", cli_json_u64(demo->hot_bytes), "slices",
			 cli_json_u64(demo->hot_count), "table_bytes", cli_json_u64(data->table_bytes), "phases",
			 phase_json(&demo->phases[0]), phase_json(&demo->phases[1]));
	if (!root)
		return cli_fail(demo->cli, "out of memory");
	if (after->watched) {
		json_object_set_new(root, "decisions", decisions_json(&after->watch));
		json_object_set_new(root, "pinned",
				    json_pack("{s:o, s:o, s:o}", "hot_set_slices", cli_json_u64(hits.hot),
					      "table_slices", cli_json_u64(hits.tables), "other_slices",
					      cli_json_u64(hits.others)));
		json_object_set_new(root, "examples", examples_json(&after->watch, &host));
		json_object_set_new(root, "telemetry", watch_info_json(&after->watch.info));
		json_object_set_new(root, "heatmaps",
				    json_pack("[o, o, o]", heatmap_json(&demo->phases[0].faults),
					      heatmap_json(&after->faults), heatmap_json(&after->state)));
	}
	return cli_print_json(demo->cli, root);
}

static int write_heatmap(struct demo *demo)
{
	struct heatmap *map = &demo->phases[1].faults;
	const char *path = demo->options.heatmap;
	char error[PATH_MAX + 64];
	int r;

	if (!map->column_count)
		return cli_fail(demo->cli, "%s: there is no history to draw", path);
	if (heatmap_format_of(path) == HEATMAP_SVG)
		r = heatmap_write_svg(map, path, error, sizeof(error));
	else
		r = heatmap_write_png(map, path, error, sizeof(error));
	return r ? cli_fail(demo->cli, "%s", error) : CLI_OK;
}

int demo_report(struct demo *demo)
{
	int status = CLI_OK, reported;

	/* First: printing merges the heatmap's cells. The report is worth having without the image. */
	if (demo->options.heatmap)
		status = write_heatmap(demo);
	reported = demo->cli->json ? report_json(demo) : report_text(demo);
	return status ? status : reported;
}
