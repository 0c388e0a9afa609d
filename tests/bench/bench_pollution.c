/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bench_pollution.c - what a scan does to hot reads beside it, and what pinfold does about it.
 *
 * Random reads of a hot set run beside a full-speed scan of data larger than the memory limit, in a
 * memory cgroup with a cold cache, three ways in turn: bare mmap, the hot set locked by hand, and pinfold
 * with adaptive pinning from kernel telemetry alone; uniform reads also by a bare mmap advised with MADV_RANDOM,
 * and the better of both bare ones is what pinfold is compared with then. --suite runs all cases that matter, --case
 * some of them; each prints rows of a Markdown table when it is done. Exits 1 if a target is missed.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "pollution_report.h"

#define MODES_ALL ((1u << MODE_COUNT) - 1)
#define SUITE_PAIRS 5

struct options {
	struct pollution_params params;
	struct pollution_plan plan;
	bool plan_given;
	double data_factor;
	uint32_t pairs;
	unsigned int modes;
	unsigned int cases; /* of the suite, as a mask; 0: the one that the other options make */
	bool report_only;
	const char *json_path, *record_path;
};

static void usage(FILE *file)
{
	fputs("usage: bench_pollution [option]...\n"
	      "  --workload NAME    pollution (default), uniform, scan, fits\n"
	      "  --mode LIST        of bare,random,hand,pinfold (default: all that the workload compares; random is\n"
	      "                     bare with MADV_RANDOM, and implies --random)\n"
	      "  --random           compare with random too, not of uniform reads only (never of a scan alone)\n"
	      "  --memory SIZE      cgroup limit (1G)\n"
	      "  --data-factor X    data = X times memory (5.6)\n"
	      "  --hot-percent N    hot set, of memory (35)\n"
	      "  --budget-percent N pinfold's pin budget, of memory (its default, 40)\n"
	      "  --layout NAME      contiguous (default) or scattered (runs of 2 MiB)\n"
	      "  --seconds N        length of a run (20; 40 with --move-at)\n"
	      "  --warmup N         seconds before figures count (10)\n"
	      "  --move-at N        the hot set moves after N seconds; the 10 s after do not count\n"
	      "                     (without these three each mode runs only as long as it needs)\n"
	      "  --rate N           hot reads per second (20000)\n"
	      "  --pairs N          repetitions of all modes in turn (1; 5 with --suite and --case)\n"
	      "  --source NAME      pinfold's telemetry: auto (default), procfs, bpf\n"
	      "  --dir DIR          for the data (/var/tmp/pinfold-bench); no tmpfs\n"
	      "  --json FILE        all figures as JSON (- for standard output)\n"
	      "  --suite            every case\n"
	      "  --case LIST        of the suite: hot35-contiguous,hot35-scattered,hot65-contiguous,hot65-scattered,\n"
	      "                     uniform,scan,fits\n"
	      "  --record FILE      add each pair to FILE as it is done, and report all that stands there\n"
	      "  --report           run nothing: report what stands in --record\n"
	      "  --verbose          pinfold's messages and what it holds, each second\n", file);
}

/* ---- running ---- */

static int run_mode(struct pollution_case *c, enum pollution_mode mode, uint32_t pair, struct pollution_result *result)
{
	const bool pinfold = mode == MODE_PINFOLD;
	struct bench_cgroup cgroup = { 0 };
	int r, removed;

	c->params.mode = mode;
	c->params.seconds = c->plan[mode].seconds;
	c->params.move_at_s = c->plan[mode].move_at_s;
	r = pinfold ? pollution_pinfold_cool(&c->params) : pollution_plain_cool(&c->params);
	if (r)
		return r;
	r = bench_cgroup_create("pinfold-bench", c->params.memory_bytes, &cgroup);
	if (r)
		return r;
	memset(result, 0, sizeof(*result));
	r = bench_run_child(&cgroup, pinfold ? pollution_pinfold_run : pollution_plain_run, &c->params, result,
			    sizeof(*result));
	removed = bench_cgroup_remove(&cgroup);
	if (r)
		return r;
	pollution_figure(&c->plan[mode], result, &c->figures[mode][pair]);
	c->ran[mode] = true;
	return removed;
}

static void prepare(const struct pollution_params *params, unsigned int modes)
{
	int r = bench_dir_prepare(params->dir);

	if (r == -ENOTSUP)
		bench_die("%s is not on a disk (tmpfs, ramfs or overlay): choose another with --dir", params->dir);
	if (!r && modes & ~(1u << MODE_PINFOLD))
		r = pollution_plain_prepare(params);
	if (!r && modes & 1u << MODE_PINFOLD) {
		r = pollution_pinfold_prepare(params);
		if (r == -ENOTSUP)
			bench_die("built without the library: --mode bare,hand only");
	}
	if (r)
		bench_die("cannot prepare %llu bytes of data in %s: %s", (unsigned long long)params->data_bytes,
			  params->dir, strerror(-r));
}

static void record(const struct options *o, const struct pollution_case *c, uint32_t pair, uint64_t id)
{
	int r = o->record_path ? pollution_record_append(o->record_path, c, pair, id) : 0;

	if (r)
		bench_die("%s: %s", o->record_path, strerror(-r));
}

static void run_case(const struct options *o, struct pollution_case *c)
{
	struct pollution_result *result = malloc(sizeof(*result));
	const unsigned int modes = o->modes & pollution_modes(&c->params);

	if (!result)
		bench_die("out of memory");
	prepare(&c->params, modes);
	for (uint32_t pair = 0; pair < c->pair_count; pair++) {
		const uint64_t id = (uint64_t)time(NULL);
		bool fresh[MODE_COUNT] = { false };

		/* Each pair starts with another mode, so that none always follows the same one. */
		for (uint32_t i = 0; i < MODE_COUNT; i++) {
			enum pollution_mode mode = (pair + i) % MODE_COUNT;
			int r;

			if (!(modes & 1u << mode))
				continue;
			r = run_mode(c, mode, pair, result);
			if (r)
				bench_die("%s, %s: %s", c->name, pollution_mode_name[mode], strerror(-r));
			fresh[mode] = true;
		}
		for (int m = 0; m < MODE_COUNT; m++)
			if (fresh[m])
				pollution_print_run(c, m, pair);
		record(o, c, pair, id);
	}
	free(result);
}

/* ---- reports ---- */

static void write_json(const char *path, const struct pollution_case *cases, uint32_t count)
{
	FILE *file = strcmp(path, "-") ? fopen(path, "we") : stdout;
	struct bench_json json;

	if (!file)
		bench_die("%s: %s", path, strerror(errno));
	bench_json_init(&json, file);
	bench_json_open(&json, NULL, '[');
	for (uint32_t i = 0; i < count; i++)
		pollution_json_case(&json, &cases[i]);
	bench_json_close(&json, ']');
	if (file != stdout && fclose(file))
		bench_die("%s: %s", path, strerror(errno));
}

/* With a record, what counts is all that stands in it. */
static void load_record(const struct options *o, struct pollution_case *c)
{
	int r;

	if (!o->record_path)
		return;
	c->pair_count = 0;
	r = pollution_record_load(o->record_path, c);
	if (r)
		bench_die("%s: %s", o->record_path, strerror(-r));
}

/* Each case as soon as it is done; whoever stops a long suite keeps what there is. */
static uint32_t report(const struct options *o, struct pollution_case *cases, uint32_t done)
{
	uint32_t missed;

	load_record(o, &cases[done]);
	if (!done || !o->report_only) {
		putchar('\n');
		pollution_print_head(stdout);
	}
	missed = pollution_print_case(stdout, &cases[done]);
	if (!o->report_only)
		putchar('\n');
	fflush(stdout);
	if (o->json_path && strcmp(o->json_path, "-"))
		write_json(o->json_path, cases, done + 1);
	return missed;
}

/* ---- options ---- */

static int choice(const char *what, const char *text, const char *const *names, int count)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(text, names[i]))
			return i;
	bench_die("%s '%s' is unknown", what, text);
}

static uint32_t number(const char *what, const char *text, uint32_t min, uint32_t max)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (end == text || *end || value < min || value > max)
		bench_die("--%s %s: %u to %u allowed", what, text, min, max);
	return (uint32_t)value;
}

static unsigned int mode_list(char *text)
{
	unsigned int modes = 0;

	for (char *word = strtok(text, ","); word; word = strtok(NULL, ","))
		modes |= 1u << choice("mode", word, pollution_mode_name, MODE_COUNT);
	return modes;
}

static unsigned int case_list(char *text)
{
	struct pollution_case *cases = calloc(CASES_MAX, sizeof(*cases));
	const char *names[CASES_MAX];
	unsigned int mask = 0;
	uint32_t count;

	if (!cases)
		bench_die("out of memory");
	count = pollution_suite(&cases[0].params, cases);
	for (uint32_t i = 0; i < count; i++)
		names[i] = cases[i].name;
	for (char *word = strtok(text, ","); word; word = strtok(NULL, ","))
		mask |= 1u << choice("case", word, names, (int)count);
	free(cases);
	return mask;
}

static void parse(struct options *o, int argc, char **argv)
{
	enum { WORKLOAD = 1, MODE, MEMORY, FACTOR, HOT, BUDGET, LAYOUT, SECONDS, WARMUP, MOVE, RATE, PAIRS, SOURCE,
	       DIR, JSON, SUITE, CASE, RECORD, REPORT, RANDOM, VERBOSE, HELP };
	static const struct option longs[] = {
		{ "workload", 1, NULL, WORKLOAD }, { "mode", 1, NULL, MODE },
		{ "memory", 1, NULL, MEMORY }, { "data-factor", 1, NULL, FACTOR },
		{ "hot-percent", 1, NULL, HOT }, { "budget-percent", 1, NULL, BUDGET },
		{ "layout", 1, NULL, LAYOUT }, { "seconds", 1, NULL, SECONDS },
		{ "warmup", 1, NULL, WARMUP }, { "move-at", 1, NULL, MOVE },
		{ "rate", 1, NULL, RATE }, { "pairs", 1, NULL, PAIRS },
		{ "source", 1, NULL, SOURCE }, { "dir", 1, NULL, DIR },
		{ "json", 1, NULL, JSON }, { "suite", 0, NULL, SUITE },
		{ "case", 1, NULL, CASE }, { "record", 1, NULL, RECORD },
		{ "report", 0, NULL, REPORT }, { "random", 0, NULL, RANDOM },
		{ "verbose", 0, NULL, VERBOSE }, { "help", 0, NULL, HELP },
		{ 0 },
	};
	static const char *const layouts[] = { "contiguous", "scattered" };
	static const char *const sources[] = { "auto", "none", "procfs", "bpf", "kmod" }; /* as enum pinfold_source */
	struct pollution_params *p = &o->params;
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		o->plan_given |= c == SECONDS || c == WARMUP || c == MOVE;
		switch (c) {
		case WORKLOAD: p->workload = choice("workload", optarg, pollution_workload_name, WORKLOAD_COUNT); break;
		case MODE:
			o->modes = mode_list(optarg);
			p->random |= (o->modes & 1u << MODE_RANDOM) != 0;
			break;
		case RANDOM: p->random = true; break;
		case MEMORY: p->memory_bytes = bench_parse_size(optarg); break;
		case FACTOR: o->data_factor = strtod(optarg, NULL); break;
		case HOT: p->hot_percent = number("hot-percent", optarg, 1, 95); break;
		case BUDGET: p->budget_percent = number("budget-percent", optarg, 1, 95); break;
		case LAYOUT: p->scattered = choice("layout", optarg, layouts, 2); break;
		case SECONDS: o->plan.seconds = number("seconds", optarg, 1, POLLUTION_SECONDS_MAX); break;
		case WARMUP: o->plan.warmup_s = number("warmup", optarg, 0, POLLUTION_SECONDS_MAX); break;
		case MOVE: o->plan.move_at_s = number("move-at", optarg, 1, POLLUTION_SECONDS_MAX); break;
		case RATE: p->rate = number("rate", optarg, 1, 10000000); break;
		case PAIRS: o->pairs = number("pairs", optarg, 1, PAIRS_MAX); break;
		case SOURCE: p->source = choice("source", optarg, sources, 5); break;
		case DIR: snprintf(p->dir, sizeof(p->dir), "%s", optarg); break;
		case JSON: o->json_path = optarg; break;
		case SUITE: o->cases = ~0u; break;
		case CASE: o->cases |= case_list(optarg); break;
		case RECORD: o->record_path = optarg; break;
		case REPORT: o->report_only = true; break;
		case VERBOSE: p->verbose = true; break;
		case HELP: usage(stdout); exit(0);
		default: usage(stderr); exit(2);
		}
	}
	if (optind < argc) {
		usage(stderr);
		exit(2);
	}
	if (!o->plan.seconds)
		o->plan.seconds = o->plan.move_at_s ? 40 : 20;
	if (o->report_only && !o->record_path)
		bench_die("--report needs --record FILE");
	if (!(o->data_factor >= 1 && o->data_factor <= 1000) || p->memory_bytes < 64u << 20)
		bench_die("--data-factor must be 1 to 1000, --memory at least 64M");
}

/* The cases that were asked for, complete. */
static uint32_t choose_cases(const struct options *o, struct pollution_case *cases)
{
	uint32_t count = 1;

	cases[0].params = o->params;
	if (o->cases) {
		const uint32_t all = pollution_suite(&o->params, cases);

		count = 0;
		for (uint32_t i = 0; i < all; i++)
			if (o->cases & 1u << i)
				cases[count++].params = cases[i].params;
	}
	for (uint32_t i = 0; i < count; i++) {
		cases[i].pair_count = o->pairs ? o->pairs : o->cases ? SUITE_PAIRS : 1;
		pollution_case_complete(&cases[i], o->data_factor, o->plan_given ? &o->plan : NULL);
	}
	return count;
}

int main(int argc, char **argv)
{
	struct options o = {
		.params = { .memory_bytes = 1ull << 30, .hot_percent = 35, .rate = 20000,
			    .dir = "/var/tmp/pinfold-bench" },
		.plan.warmup_s = 10,
		.data_factor = 5.6,
		.modes = MODES_ALL,
	};
	struct pollution_case *cases = calloc(CASES_MAX, sizeof(*cases));
	uint32_t count, missed = 0;

	if (!cases)
		bench_die("out of memory");
	parse(&o, argc, argv);
	count = choose_cases(&o, cases);
	for (uint32_t i = 0; i < count; i++) {
		if (!o.report_only)
			run_case(&o, &cases[i]);
		missed += report(&o, cases, i);
	}
	if (o.json_path && !strcmp(o.json_path, "-"))
		write_json(o.json_path, cases, count);
	free(cases);
	return missed ? 1 : 0;
}
