/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bench_read - reading through pinfold against the best the machine can do without it.
 *
 *   figure 1  resident loads through an extent pointer : the same loads on a bare mmap   <= 1.05 (time)
 *   figure 2  random 4 KiB reads, data 12 x memory, batched : fio's best O_DIRECT IOPS   >= 0.95
 *             the same, one blocking reader : bare mmap                                  >= 0.95
 *   figure 3  sequential scan, cold : fio at its best block size and depth               >= 0.95
 *             sequential scan, hot : a bare loop over the mapping                        >= 0.95
 *
 * fio's best setting is looked for once, then runs in pairs with ours on the same
 * bytes of the same file; which side goes first alternates. fio may use as many jobs as we
 * use threads. The runs of figure 2 start with the memory limit reached, filled with other pages of the data.
 */
#include "read.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CALIBRATION_SHARE 0.5 /* of a run's time, for each of fio's settings */

struct figure {
	const char *key, *ours_name, *other_name, *unit;
	double bound;
	bool at_most;      /* bound is an upper one */
	double scale;      /* from what was measured to @unit */
	char other_detail[64];
	double ours[READ_PAIRS_MAX], other[READ_PAIRS_MAX];
	unsigned count;
	char skipped[96];  /* why not measured */
};

struct bench {
	struct read_params params;
	struct read_run run;
	struct bench_cgroup cgroup;
	char limited[96]; /* how memory was limited, for the report */
};

/* ---- the figures ---- */

static void skip(struct figure *figure, int error, const char *what)
{
	snprintf(figure->skipped, sizeof(figure->skipped), "%s: %s", what, strerror(-error));
}

static int cold_run(struct bench *bench, int (*fn)(void *, void *), double *ret_rate)
{
	int r = bench_dir_drop_cache(bench->params.dir);

	*ret_rate = 0;
	if (r)
		return r;
	return bench_run_child(&bench->cgroup, fn, &bench->run, ret_rate, sizeof(*ret_rate));
}

static void measure_in_process(struct bench *bench, struct figure *figure, int (*fn)(void *, void *))
{
	struct read_pairs pairs = {0};
	/* no cgroup: everything fits */
	int r = bench_run_child(NULL, fn, &bench->run, &pairs, sizeof(pairs));

	if (r)
		skip(figure, r, "failed");
	memcpy(figure->ours, pairs.ours, sizeof(pairs.ours));
	memcpy(figure->other, pairs.bare, sizeof(pairs.bare));
	figure->count = r ? 0 : pairs.count;
}

/** Runs both sides in the order x y y x, each half as long: what the disk drifts meanwhile hits both alike. */
static int blocking_pair(struct bench *bench, bool bare_first, double *ret_ours, double *ret_bare)
{
	double sums[2] = {0, 0}; /* ours, bare */
	int r = 0;

	for (int turn = 0; turn < 4 && !r; turn++) {
		bool bare = (turn == 1 || turn == 2) != bare_first;
		double rate;

		r = cold_run(bench, bare ? read_blocking_bare : read_blocking, &rate);
		sums[bare] += rate;
	}
	*ret_ours = sums[0] / 2;
	*ret_bare = sums[1] / 2;
	return r;
}

static void measure_against_bare(struct bench *bench, struct figure *figure)
{
	double seconds = bench->params.seconds;

	bench->params.seconds = seconds / 2;
	for (unsigned i = 0; i < bench->params.pairs; i++) {
		int r = blocking_pair(bench, i & 1, &figure->ours[i], &figure->other[i]);

		if (r) {
			skip(figure, r, "failed");
			break;
		}
		figure->count = i + 1;
	}
	bench->params.seconds = seconds;
}

static int fio_once(struct bench *bench, struct read_fio *fio, bool bytes, double *ret_rate)
{
	int r = bench_dir_drop_cache(bench->params.dir);

	if (!r)
		r = read_fio_run(&bench->run.layout, bench->params.seconds, fio);
	if (!r)
		*ret_rate = bytes ? fio->bytes_per_s : fio->iops;
	return r;
}

static void measure_against_fio(struct bench *bench, struct figure *figure, int (*fn)(void *, void *),
				struct read_fio *tries, size_t count, bool bytes)
{
	struct read_fio *fio;
	int best = read_fio_best(&bench->run.layout, bench->params.seconds * CALIBRATION_SHARE, tries, count);

	if (best < 0) {
		skip(figure, best, "fio");
		return;
	}
	fio = &tries[best];
	snprintf(figure->other_detail, sizeof(figure->other_detail), "bs %u KiB, depth %u, jobs %u",
		 fio->block_bytes >> 10, fio->depth, fio->jobs);
	for (unsigned i = 0; i < bench->params.pairs; i++) {
		int r = 0;

		if (i & 1)
			r = fio_once(bench, fio, bytes, &figure->other[i]);
		if (!r)
			r = cold_run(bench, fn, &figure->ours[i]);
		if (!r && !(i & 1))
			r = fio_once(bench, fio, bytes, &figure->other[i]);
		if (r) {
			skip(figure, r, "failed");
			return;
		}
		figure->count = i + 1;
	}
}

static void measure_random(struct bench *bench, struct figure *figure)
{
	struct read_fio tries[8];
	size_t count = 0;

	for (unsigned depth = 16; depth <= 256; depth *= 2)
		tries[count++] = (struct read_fio){"randread", READ_PAGE, depth, 1, 0, 0};
	for (unsigned depth = 32; depth <= 128 && bench->params.threads > 1; depth *= 2)
		tries[count++] = (struct read_fio){"randread", READ_PAGE, depth, bench->params.threads, 0, 0};
	measure_against_fio(bench, figure, read_batched, tries, count, false);
}

static void measure_scan(struct bench *bench, struct figure *figure)
{
	static const unsigned blocks[] = {128 << 10, 256 << 10, 1 << 20, 4 << 20}, depths[] = {4, 16, 32};
	struct read_fio tries[12];
	size_t count = 0;

	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++)
		for (size_t k = 0; k < sizeof(depths) / sizeof(depths[0]); k++)
			tries[count++] = (struct read_fio){"read", blocks[i], depths[k], 1, 0, 0};
	measure_against_fio(bench, figure, read_scan_cold, tries, count, true);
}

/* ---- the report ---- */

static bool reached(const struct figure *figure, double ratio)
{
	return figure->at_most ? ratio <= figure->bound : ratio >= figure->bound;
}

static void report_markdown(const struct bench *bench, const struct figure *figures, size_t count)
{
	printf("Data %.1f GiB, memory limit %s, %.1f s a run, %u pairs, %u threads, batches of %u.\n\n",
	       (double)bench->params.data_bytes / (1 << 30), bench->limited, bench->params.seconds, bench->params.pairs,
	       bench->params.threads, bench->params.batch);
	printf("| figure | pinfold | against | | unit | ratio (quartiles) | bound | |\n|-|-|-|-|-|-|-|-|\n");
	for (size_t i = 0; i < count; i++) {
		const struct figure *figure = &figures[i];
		struct bench_summary ratio;

		if (!figure->count) {
			printf("| %s | | %s | | | not measured: %s | | |\n", figure->key, figure->other_name,
			       figure->skipped);
			continue;
		}
		bench_summarize_ratio(figure->ours, figure->other, figure->count, &ratio);
		printf("| %s: %s | %.2f | %s %s | %.2f | %s | %.3f (%.3f-%.3f) | %s %.2f | %s |\n", figure->key,
		       figure->ours_name, bench_median(figure->ours, figure->count) * figure->scale, figure->other_name,
		       figure->other_detail, bench_median(figure->other, figure->count) * figure->scale, figure->unit,
		       ratio.median, ratio.low, ratio.high, figure->at_most ? "<=" : ">=", figure->bound,
		       reached(figure, ratio.median) ? "yes" : "no");
	}
}

static void report_json(const struct bench *bench, const struct figure *figures, size_t count)
{
	struct bench_json json;

	bench_json_init(&json, stdout);
	bench_json_open(&json, NULL, '{');
	bench_json_string(&json, "bench", "read");
	bench_json_number(&json, "data_bytes", (double)bench->params.data_bytes);
	bench_json_string(&json, "memory_limit", bench->limited);
	bench_json_number(&json, "seconds", bench->params.seconds);
	bench_json_number(&json, "threads", bench->params.threads);
	bench_json_number(&json, "batch", bench->params.batch);
	bench_json_open(&json, "figures", '[');
	for (size_t i = 0; i < count; i++) {
		const struct figure *figure = &figures[i];
		struct bench_summary ours, other, ratio;

		bench_json_open(&json, NULL, '{');
		bench_json_string(&json, "figure", figure->key);
		bench_json_string(&json, "what", figure->ours_name);
		bench_json_string(&json, "against", figure->other_name);
		if (figure->count) {
			bench_summarize(figure->ours, figure->count, &ours);
			bench_summarize(figure->other, figure->count, &other);
			bench_summarize_ratio(figure->ours, figure->other, figure->count, &ratio);
			bench_json_string(&json, "setting", figure->other_detail);
			bench_json_string(&json, "measured",
					  figure->at_most          ? "nanoseconds"
					  : figure->unit[0] == 'G' ? "bytes_per_second"
								   : "reads_per_second");
			bench_json_summary(&json, "pinfold", &ours);
			bench_json_summary(&json, "other", &other);
			bench_json_summary(&json, "ratio", &ratio);
			bench_json_number(&json, "bound", figure->bound);
			bench_json_bool(&json, "reached", reached(figure, ratio.median));
		} else {
			bench_json_string(&json, "not_measured", figure->skipped);
		}
		bench_json_close(&json, '}');
	}
	bench_json_close(&json, ']');
	bench_json_close(&json, '}');
	putchar('\n');
}

/* ---- main ---- */

static const struct option options[] = {
	{"dir", required_argument, NULL, 'd'},     {"data", required_argument, NULL, 's'},
	{"memory", required_argument, NULL, 'm'},  {"hot", required_argument, NULL, 'h'},
	{"seconds", required_argument, NULL, 't'}, {"pairs", required_argument, NULL, 'p'},
	{"threads", required_argument, NULL, 'n'}, {"batch", required_argument, NULL, 'b'},
	{"figure", required_argument, NULL, 'f'},  {"store-only", no_argument, NULL, 'o'},
	{"no-io-uring", no_argument, NULL, 'u'},   {"json", no_argument, NULL, 'j'},
	{"help", no_argument, NULL, 'H'},          {0},
};

static void usage(FILE *file)
{
	fputs("usage: bench_read [option]...\n"
	      "  --figure N     1 resident loads, 2 random reads, 3 scans (all)\n"
	      "  --pairs N      runs of each side (5)\n"
	      "  --seconds S    of each run (5)\n"
	      "  --dir DIR      where the store is made and kept (/var/tmp/pinfold-bench-read)\n"
	      "  --data SIZE    of figures 2 and 3 (6G)\n"
	      "  --memory SIZE  cgroup limit of figures 2 and 3 (512M)\n"
	      "  --hot SIZE     of figure 1 and the hot scan (256M)\n"
	      "  --threads N    of batched reads, and most jobs of fio (2)\n"
	      "  --batch N      reads in a batch (1024)\n"
	      "  --store-only   no telemetry, no controller\n"
	      "  --no-io-uring  scans with plain reads\n"
	      "  --json         all figures, for a machine\n"
	      "  --help         this text\n"
	      "Drops caches and saturates the disk: run it on a machine that does nothing else.\n",
	      file);
}

static unsigned number(const char *text, unsigned low, unsigned high)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*end || value < low || value > high)
		bench_die("bench_read: %s: a number from %u to %u is wanted", text, low, high);
	return (unsigned)value;
}

static void parse(int argc, char **argv, struct read_params *params, unsigned *figures, bool *json)
{
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'd': params->dir = optarg; break;
		case 's': params->data_bytes = bench_parse_size(optarg); break;
		case 'm': params->memory_bytes = bench_parse_size(optarg); break;
		case 'h': params->hot_bytes = bench_parse_size(optarg); break;
		case 't': params->seconds = strtod(optarg, NULL); break;
		case 'p': params->pairs = number(optarg, 1, READ_PAIRS_MAX); break;
		case 'n': params->threads = number(optarg, 1, READ_LANES_MAX); break;
		case 'b': params->batch = number(optarg, 1, 1 << 20); break;
		case 'f': *figures = 1u << number(optarg, 1, 3); break;
		case 'o': params->store_only = true; break;
		case 'u': params->no_io_uring = true; break;
		case 'j': *json = true; break;
		case 'H': usage(stdout); exit(0);
		default: usage(stderr); exit(2);
		}
	}
	params->data_bytes = params->data_bytes / READ_EXTENT * READ_EXTENT;
	params->hot_bytes = params->hot_bytes / READ_EXTENT * READ_EXTENT;
	if (!params->hot_bytes || params->hot_bytes > params->data_bytes)
		bench_die("bench_read: --hot must be 64M or more and at most --data");
	if (!(params->seconds >= 0.1 && params->seconds <= 3600))
		bench_die("bench_read: --seconds must be from 0.1 to 3600");
}

int main(int argc, char **argv)
{
	struct bench bench = { .params = { .dir = "/var/tmp/pinfold-bench-read",
					   .data_bytes = 6ull << 30,
					   .hot_bytes = 256ull << 20,
					   .memory_bytes = 512ull << 20,
					   .seconds = 5,
					   .pairs = 5,
					   .threads = 2,
					   .batch = 1024 } };
	struct figure figures[] = {
		{ .key = "1",
		  .ours_name = "resident loads in an epoch",
		  .other_name = "bare mmap",
		  .unit = "ns",
		  .bound = 1.05,
		  .at_most = true,
		  .scale = 1 },
		{ .key = "2",
		  .ours_name = "random 4 KiB, batched",
		  .other_name = "fio",
		  .unit = "k/s",
		  .bound = 0.95,
		  .scale = 1e-3 },
		{ .key = "2",
		  .ours_name = "random 4 KiB, one blocking reader",
		  .other_name = "bare mmap",
		  .unit = "k/s",
		  .bound = 0.95,
		  .scale = 1e-3 },
		{ .key = "3",
		  .ours_name = "cold scan",
		  .other_name = "fio",
		  .unit = "GB/s",
		  .bound = 0.95,
		  .scale = 1e-9 },
		{ .key = "3",
		  .ours_name = "hot scan",
		  .other_name = "bare loop",
		  .unit = "GB/s",
		  .bound = 0.95,
		  .scale = 1e-9 },
	};
	unsigned wanted = ~0u;
	bool json = false;
	int r;

	parse(argc, argv, &bench.params, &wanted, &json);
	bench.run.params = &bench.params;
	bench.run.threads = bench.params.threads;
	read_store_prepare(&bench.params, &bench.run.layout);
	r = bench_cgroup_create("pinfold-bench-read", bench.params.memory_bytes, &bench.cgroup);
	if (r)
		snprintf(bench.limited, sizeof(bench.limited), "none (%s)", strerror(-r));
	else
		snprintf(bench.limited, sizeof(bench.limited), "%.0f MiB (cgroup v%d)",
			 (double)bench.params.memory_bytes / (1 << 20), bench.cgroup.version);

	for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
		snprintf(figures[i].skipped, sizeof(figures[i].skipped), "not asked for");
	if (wanted & 1u << 1)
		measure_in_process(&bench, &figures[0], read_hot_loads);
	if (wanted & 1u << 2) {
		measure_random(&bench, &figures[1]);
		measure_against_bare(&bench, &figures[2]);
	}
	if (wanted & 1u << 3) {
		measure_scan(&bench, &figures[3]);
		measure_in_process(&bench, &figures[4], read_hot_scan);
	}
	bench_cgroup_remove(&bench.cgroup);
	(json ? report_json : report_markdown)(&bench, figures, sizeof(figures) / sizeof(figures[0]));
	return 0;
}
