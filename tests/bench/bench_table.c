/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bench_table - record tables against LMDB: the same records, the same durability, in interleaved pairs.
 *
 *   get      gets per second and thread, records in memory      get >= 5 x mdb_get, batched >= 12 x,
 *            (uniform, zipf, absent keys; 1 and 2 threads),     misses no slower than hits
 *            beside a bare hash of the same records
 *   put      single puts over records that are there,            against mdb_put and RocksDB, nobody waiting for
 *            async mode                                         the device; each in two modes, the better counts
 *   beside   gets beside one thread that puts                     against gets alone, and LMDB's in the same way
 *   grow     single puts into an empty table, async mode        no put above 5 ms that the device does not
 *                                                              explain; space <= 1.3 x payload at rest
 *   import   filling an empty table                              >= 3 x LMDB's append in one transaction
 *   load     objects of 1 MiB, one per 5000 records, in          >= 0.8 x fio's sequential writes
 *            extents of 2 MiB
 */
#include "table.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- figures ---- */

struct table_figure *table_figure(struct table_bench *bench, const char *unit, double bound, const char *against,
				  const char *format, ...)
{
	struct table_figure *figure;
	char what[sizeof(figure->what)];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	for (unsigned i = 0; i < bench->figure_count; i++)
		if (strcmp(bench->figures[i].what, what) == 0)
			return &bench->figures[i];
	if (bench->figure_count == TABLE_FIGURES_MAX)
		bench_die("too many figures");
	figure = &bench->figures[bench->figure_count++];
	memset(figure, 0, sizeof(*figure));
	strcpy(figure->what, what);
	snprintf(figure->against, sizeof(figure->against), "%s", against);
	figure->unit = unit;
	figure->bound = bound;
	return figure;
}

void table_figure_add(struct table_figure *figure, double ours, double other)
{
	if (figure->count == TABLE_PAIRS_MAX)
		return;
	figure->ours[figure->count] = ours;
	figure->other[figure->count++] = other;
}

void table_figure_add_better(struct table_figure *figure, double ours, const double other[2],
			     const char *const modes[2])
{
	unsigned second = 0;

	for (unsigned m = 0; m < 2; m++) {
		figure->modes[m] = modes[m];
		if (figure->count < TABLE_PAIRS_MAX)
			figure->each[m][figure->count] = other[m];
	}
	table_figure_add(figure, ours, other[0] > other[1] ? other[0] : other[1]);
	for (unsigned i = 0; i < figure->count; i++)
		second += figure->each[1][i] > figure->each[0][i];
	snprintf(figure->note, sizeof(figure->note),
		 "the better of each pair: %s %u times, median %.4g; %s %u times, median %.4g", modes[0],
		 figure->count - second, bench_median(figure->each[0], figure->count), modes[1], second,
		 bench_median(figure->each[1], figure->count));
}

/* What the bound is of: a ratio, or our own value where nothing is compared. */
static void summarize(const struct table_figure *figure, struct bench_summary *ret_summary)
{
	if (figure->alone)
		bench_summarize(figure->ours, figure->count, ret_summary);
	else
		bench_summarize_ratio(figure->ours, figure->other, figure->count, ret_summary);
}

static const char *verdict(const struct table_figure *figure, double value)
{
	if (figure->none)
		return value == 0 ? "reached" : "missed";
	if (figure->bound == 0)
		return "";
	return (figure->at_most ? value <= figure->bound : value >= figure->bound) ? "reached" : "missed";
}

static void report_text(const struct table_bench *bench)
{
	printf("%llu records of %u + %u bytes, runs of %.1f s, %u pairs, batches of %u%s.\n\n",
	       (unsigned long long)bench->records, TABLE_KEY, TABLE_VALUE, bench->seconds, bench->pairs, bench->batch,
	       bench->huge	? ", with telemetry, controller and pins on huge pages"
	       : bench->engine	? ", with telemetry and controller"
				: "");
	printf("| figure | pinfold | against | | unit | ratio (quartiles) | bound | |\n|-|-:|-|-:|-|-:|-|-|\n");
	for (unsigned i = 0; i < bench->figure_count; i++) {
		const struct table_figure *figure = &bench->figures[i];
		struct bench_summary summary;

		summarize(figure, &summary);
		printf("| %s | %.4g | ", figure->what, bench_median(figure->ours, figure->count));
		if (figure->alone)
			printf("| | %s | ", figure->unit);
		else
			printf("%s | %.4g | %s | ", figure->against, bench_median(figure->other, figure->count),
			       figure->unit);
		printf("%.3g (%.3g to %.3g) | ", summary.median, summary.low, summary.high);
		if (figure->none)
			printf("none ");
		else if (figure->bound != 0)
			printf("%s %g ", figure->at_most ? "<=" : ">=", figure->bound);
		printf("| %s |\n", verdict(figure, summary.median));
		if (figure->note[0])
			printf("| | %s | | | | | | |\n", figure->note);
	}
}

static void report_json(const struct table_bench *bench)
{
	struct bench_json json;

	bench_json_init(&json, stdout);
	bench_json_open(&json, NULL, '{');
	bench_json_string(&json, "bench", "table");
	bench_json_number(&json, "records", (double)bench->records);
	bench_json_number(&json, "seconds", bench->seconds);
	bench_json_number(&json, "batch", bench->batch);
	bench_json_bool(&json, "engine", bench->engine);
	bench_json_bool(&json, "huge", bench->huge);
	bench_json_open(&json, "figures", '[');
	for (unsigned i = 0; i < bench->figure_count; i++) {
		const struct table_figure *figure = &bench->figures[i];
		struct bench_summary summary;

		bench_json_open(&json, NULL, '{');
		bench_json_string(&json, "figure", figure->what);
		bench_json_string(&json, "unit", figure->unit);
		bench_summarize(figure->ours, figure->count, &summary);
		bench_json_summary(&json, "pinfold", &summary);
		if (!figure->alone) {
			bench_json_string(&json, "against", figure->against);
			bench_summarize(figure->other, figure->count, &summary);
			bench_json_summary(&json, "other", &summary);
			for (unsigned m = 0; m < 2 && figure->modes[m]; m++) {
				bench_summarize(figure->each[m], figure->count, &summary);
				bench_json_summary(&json, figure->modes[m], &summary);
			}
			summarize(figure, &summary);
			bench_json_summary(&json, "ratio", &summary);
		}
		if (figure->bound != 0 || figure->none) {
			bench_json_number(&json, figure->at_most ? "at_most" : "at_least", figure->bound);
			bench_json_bool(&json, "reached", verdict(figure, summary.median)[0] == 'r');
		}
		if (figure->note[0])
			bench_json_string(&json, "note", figure->note);
		bench_json_close(&json, '}');
	}
	bench_json_close(&json, ']');
	bench_json_close(&json, '}');
	putchar('\n');
}

/* ---- main ---- */

static const struct {
	const char *name;
	void (*run)(struct table_bench *bench);
} parts[] = {
	{"get", table_run_get},
	{"put", table_run_put},
	{"beside", table_run_beside},
	{"grow", table_run_grow},
	{"import", table_run_import},
	{"load", table_run_load},
};

static const struct option options[] = {
	{"dir", required_argument, NULL, 'd'},     {"records", required_argument, NULL, 'r'},
	{"seconds", required_argument, NULL, 't'}, {"pairs", required_argument, NULL, 'p'},
	{"threads", required_argument, NULL, 'n'}, {"batch", required_argument, NULL, 'b'},
	{"grow-to", required_argument, NULL, 'g'}, {"figure", required_argument, NULL, 'f'},
	{"engine", no_argument, NULL, 'e'},        {"keep", no_argument, NULL, 'k'},
	{"json", no_argument, NULL, 'j'},          {"rate", required_argument, NULL, 'R'},
	{"keys", required_argument, NULL, 'K'},    {"verbose", no_argument, NULL, 'v'},
	{"huge", no_argument, NULL, 'H'},         {"help", no_argument, NULL, 'h'},
	{0},
};

static void usage(FILE *file)
{
	fputs("usage: bench_table [option]...\n"
	      "  --figure NAME   get, put, beside, grow, import or load; may be given again (all)\n"
	      "  --records N     of 16 + 120 bytes; load: one object of 1 MiB per 5000 (10000000)\n"
	      "  --pairs N       runs of each side, in turn (5)\n"
	      "  --seconds S     of each run of get, put and beside (0.5)\n"
	      "  --threads N     that get at most (2)\n"
	      "  --batch N       keys of a batched get (64)\n"
	      "  --keys NAME     get: uniform, zipf or misses only\n"
	      "  --rate N        puts per second; beside: 100000 unless said, grow: as fast as they are taken\n"
	      "  --grow-to N     records that the growing table ends with (50000000)\n"
	      "  --engine        with telemetry and controller\n"
	      "  --huge          the same, and get, put, beside: all pinned on huge pages before\n"
	      "  --dir DIR       for the data (/var/tmp/pinfold-bench-table)\n"
	      "  --keep          get: leave the data, use what an earlier run left\n"
	      "  --verbose       grow: what each long put waited for, on standard error\n"
	      "  --json          all figures, for a machine\n"
	      "  --help          this text\n", file);
}

static unsigned number(const char *text, unsigned low, unsigned high)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*end || value < low || value > high)
		bench_die("bench_table: %s: a number from %u to %u is wanted", text, low, high);
	return (unsigned)value;
}

static unsigned part_of(const char *name)
{
	for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (strcmp(parts[i].name, name) == 0)
			return 1u << i;
	bench_die("bench_table: there is no figure '%s'", name);
}

static int choice_of(const char *name)
{
	for (int i = 0; i < TABLE_CHOICES; i++)
		if (strcmp(table_choice_names[i], name) == 0)
			return i;
	bench_die("bench_table: there are no keys '%s'", name);
}

static void parse(int argc, char **argv, struct table_bench *bench, unsigned *ret_parts, bool *ret_json)
{
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'd': bench->dir = optarg; break;
		case 'r': bench->records = strtoull(optarg, NULL, 10); break;
		case 't': bench->seconds = strtod(optarg, NULL); break;
		case 'p': bench->pairs = number(optarg, 1, TABLE_PAIRS_MAX); break;
		case 'n': bench->threads = number(optarg, 1, TABLE_THREADS_MAX); break;
		case 'b': bench->batch = number(optarg, 1, 1024); break;
		case 'g': bench->grow_to = strtoull(optarg, NULL, 10); break;
		case 'R': bench->rate = strtod(optarg, NULL); break;
		case 'f': *ret_parts |= part_of(optarg); break;
		case 'K': bench->choice = choice_of(optarg); break;
		case 'e': bench->engine = true; break;
		case 'H': bench->engine = bench->huge = true; break;
		case 'k': bench->keep = true; break;
		case 'v': bench->verbose = true; break;
		case 'j': *ret_json = true; break;
		default:
			usage(c == 'h' ? stdout : stderr);
			exit(c == 'h' ? 0 : 2);
		}
	}
	if (bench->records < 1000 || bench->records > 1000000000)
		bench_die("bench_table: --records must be from 1000 to 1000000000");
	if (!(bench->seconds >= 0.01 && bench->seconds <= 3600))
		bench_die("bench_table: --seconds must be from 0.01 to 3600");
}

int main(int argc, char **argv)
{
	static struct table_bench bench = {
		.dir = "/var/tmp/pinfold-bench-table",
		.records = 10000000,
		.grow_to = 50000000,
		.seconds = 0.5,
		.pairs = 5,
		.threads = 2,
		.batch = 64,
		.choice = -1,
	};
	unsigned wanted = 0;
	bool json = false;
	int r;

	parse(argc, argv, &bench, &wanted, &json);
	r = bench_dir_prepare(bench.dir);
	if (r < 0)
		bench_die("%s: %s", bench.dir, strerror(-r));
	for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (!wanted || (wanted & 1u << i))
			parts[i].run(&bench);
	if (json)
		report_json(&bench);
	else
		report_text(&bench);
	return 0;
}
