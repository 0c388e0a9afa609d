/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bench_pollution.c - what a scan does to hot reads beside it, and what pinfold does about it.
 *
 * Random reads of a hot set run beside a full-speed scan of data larger than the memory limit, in a
 * memory cgroup with a cold cache, three ways in turn: bare mmap, the hot set locked by hand, and pinfold
 * with adaptive pinning from kernel telemetry alone. --suite runs all cases that matter
 * and prints a Markdown table; it exits 1 if a target is missed.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "pollution_report.h"

#define MODES_ALL ((1u << MODE_COUNT) - 1)
#define CASES_MAX 8

static const char *const workload_name[WORKLOAD_COUNT] = { "pollution", "uniform", "scan", "fits" };

struct options {
	struct pollution_params params;
	double data_factor;
	uint32_t pairs;
	unsigned int modes;
	bool suite;
	const char *json_path;
};

static void usage(FILE *file)
{
	fputs("usage: bench_pollution [option]...\n"
	      "  --workload NAME    pollution (default), uniform, scan, fits\n"
	      "  --mode LIST        of bare,hand,pinfold (default: all that the workload compares)\n"
	      "  --memory SIZE      cgroup limit (1G)\n"
	      "  --data-factor X    data = X times memory (5.6)\n"
	      "  --hot-percent N    hot set, of memory (35)\n"
	      "  --budget-percent N pinfold's pin budget, of memory (its default, 40)\n"
	      "  --layout NAME      contiguous (default) or scattered (runs of 2 MiB)\n"
	      "  --seconds N        length of a run (20; 40 with --move-at)\n"
	      "  --warmup N         seconds before figures count (10)\n"
	      "  --move-at N        the hot set moves after N seconds; the 10 s after do not count\n"
	      "  --rate N           hot reads per second (20000)\n"
	      "  --pairs N          repetitions of all modes in turn (1; 5 with --suite)\n"
	      "  --source NAME      pinfold's telemetry: auto (default), procfs, bpf\n"
	      "  --dir DIR          for the data (/var/tmp/pinfold-bench); no tmpfs\n"
	      "  --json FILE        all figures as JSON (- for standard output)\n"
	      "  --suite            every case, as a Markdown table\n"
	      "  --verbose          pinfold's messages and what it holds, each second\n", file);
}

/* ---- running ---- */

static int run_mode(struct pollution_case *c, enum pollution_mode mode, uint32_t pair, struct pollution_result *result)
{
	const bool pinfold = mode == MODE_PINFOLD;
	struct bench_cgroup cgroup = { 0 };
	int r, removed;

	c->params.mode = mode;
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
	pollution_figure(c, result, &c->figures[mode][pair]);
	c->ran[mode] = true;
	return removed;
}

static unsigned int useful_modes(enum pollution_workload workload)
{
	return workload == WORKLOAD_POLLUTION ? MODES_ALL : 1u << MODE_BARE | 1u << MODE_PINFOLD;
}

static void prepare(const struct pollution_params *params, unsigned int modes)
{
	int r = bench_dir_prepare(params->dir);

	if (r == -ENOTSUP)
		bench_die("%s is not on a disk (tmpfs, ramfs or overlay): choose another with --dir", params->dir);
	if (!r && modes & (1u << MODE_BARE | 1u << MODE_HAND))
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

static void run_case(struct pollution_case *c, unsigned int modes)
{
	struct pollution_result *result = malloc(sizeof(*result));

	if (!result)
		bench_die("out of memory");
	modes &= useful_modes(c->params.workload);
	prepare(&c->params, modes);
	pollution_windows(c);
	for (uint32_t pair = 0; pair < c->pair_count; pair++) {
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
	}
	free(result);
}

/* ---- cases ---- */

static void complete(struct pollution_case *c, double data_factor)
{
	struct pollution_params *p = &c->params;
	uint64_t data = (uint64_t)((double)p->memory_bytes * (p->workload == WORKLOAD_FITS ? 0.5 : data_factor));

	p->data_bytes = (data + POLLUTION_BLOCK - 1) / POLLUTION_BLOCK * POLLUTION_BLOCK;
	if (!p->seconds)
		p->seconds = p->move_at_s ? 40 : 20;
	if (p->workload != WORKLOAD_POLLUTION) {
		p->rate = 0;
		p->move_at_s = 0;
	}
	if (p->seconds > POLLUTION_SECONDS_MAX || p->warmup_s >= p->seconds ||
	    (p->move_at_s && (p->move_at_s <= p->warmup_s || p->move_at_s + 10 >= p->seconds)))
		bench_die("a run of %u s (at most %d) leaves nothing to measure after "
			  "%u s of warm-up, a move at %u s and 10 s more",
			  p->seconds, POLLUTION_SECONDS_MAX, p->warmup_s, p->move_at_s);
	if (p->workload == WORKLOAD_POLLUTION)
		snprintf(c->name, sizeof(c->name), "hot %u %%, %s%s", p->hot_percent,
			 p->scattered ? "scattered" : "contiguous",
			 p->move_at_s ? ", moves" : "");
	else
		snprintf(c->name, sizeof(c->name), "%s", workload_name[p->workload]);
}

static uint32_t suite_cases(const struct options *o, struct pollution_case *cases)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < 4; i++, n++) {
		cases[n].params = o->params;
		cases[n].params.workload = WORKLOAD_POLLUTION;
		cases[n].params.hot_percent = i < 2 ? 35 : 65;
		cases[n].params.budget_percent = i < 2 ? 0 : 75;
		cases[n].params.scattered = i % 2;
		if (!o->params.move_at_s)
			cases[n].params.move_at_s = o->params.warmup_s + 10;
	}
	for (int w = WORKLOAD_UNIFORM; w < WORKLOAD_COUNT; w++, n++) {
		cases[n].params = o->params;
		cases[n].params.workload = (enum pollution_workload)w;
		cases[n].params.seconds = 0;
	}
	return n;
}

static uint32_t report(const struct options *o, const struct pollution_case *cases, uint32_t count)
{
	FILE *json_file = !o->json_path ? NULL : strcmp(o->json_path, "-") ? fopen(o->json_path, "we") : stdout;
	struct bench_json json;
	uint32_t missed = 0;

	putchar('\n');
	pollution_print_head(stdout);
	for (uint32_t i = 0; i < count; i++)
		missed += pollution_print_case(stdout, &cases[i]);
	if (!o->json_path)
		return missed;
	if (!json_file)
		bench_die("%s: %s", o->json_path, strerror(errno));
	bench_json_init(&json, json_file);
	bench_json_open(&json, NULL, '[');
	for (uint32_t i = 0; i < count; i++)
		pollution_json_case(&json, &cases[i]);
	bench_json_close(&json, ']');
	if (json_file != stdout && fclose(json_file))
		bench_die("%s: %s", o->json_path, strerror(errno));
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

static void parse(struct options *o, int argc, char **argv)
{
	enum { WORKLOAD = 1, MODE, MEMORY, FACTOR, HOT, BUDGET, LAYOUT, SECONDS, WARMUP, MOVE, RATE, PAIRS, SOURCE,
	       DIR, JSON, SUITE, VERBOSE, HELP };
	static const struct option longs[] = {
		{ "workload", 1, NULL, WORKLOAD }, { "mode", 1, NULL, MODE },
		{ "memory", 1, NULL, MEMORY }, { "data-factor", 1, NULL, FACTOR },
		{ "hot-percent", 1, NULL, HOT }, { "budget-percent", 1, NULL, BUDGET },
		{ "layout", 1, NULL, LAYOUT }, { "seconds", 1, NULL, SECONDS },
		{ "warmup", 1, NULL, WARMUP }, { "move-at", 1, NULL, MOVE },
		{ "rate", 1, NULL, RATE }, { "pairs", 1, NULL, PAIRS },
		{ "source", 1, NULL, SOURCE }, { "dir", 1, NULL, DIR },
		{ "json", 1, NULL, JSON }, { "suite", 0, NULL, SUITE },
		{ "verbose", 0, NULL, VERBOSE }, { "help", 0, NULL, HELP },
		{ 0 },
	};
	static const char *const layouts[] = { "contiguous", "scattered" };
	static const char *const sources[] = { "auto", "none", "procfs", "bpf" }; /* as enum pinfold_source */
	struct pollution_params *p = &o->params;
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case WORKLOAD: p->workload = choice("workload", optarg, workload_name, WORKLOAD_COUNT); break;
		case MODE: o->modes = mode_list(optarg); break;
		case MEMORY: p->memory_bytes = bench_parse_size(optarg); break;
		case FACTOR: o->data_factor = strtod(optarg, NULL); break;
		case HOT: p->hot_percent = number("hot-percent", optarg, 1, 95); break;
		case BUDGET: p->budget_percent = number("budget-percent", optarg, 1, 95); break;
		case LAYOUT: p->scattered = choice("layout", optarg, layouts, 2); break;
		case SECONDS: p->seconds = number("seconds", optarg, 1, POLLUTION_SECONDS_MAX); break;
		case WARMUP: p->warmup_s = number("warmup", optarg, 0, POLLUTION_SECONDS_MAX); break;
		case MOVE: p->move_at_s = number("move-at", optarg, 1, POLLUTION_SECONDS_MAX); break;
		case RATE: p->rate = number("rate", optarg, 1, 10000000); break;
		case PAIRS: o->pairs = number("pairs", optarg, 1, PAIRS_MAX); break;
		case SOURCE: p->source = choice("source", optarg, sources, 4); break;
		case DIR: snprintf(p->dir, sizeof(p->dir), "%s", optarg); break;
		case JSON: o->json_path = optarg; break;
		case SUITE: o->suite = true; break;
		case VERBOSE: p->verbose = true; break;
		case HELP: usage(stdout); exit(0);
		default: usage(stderr); exit(2);
		}
	}
	if (optind < argc) {
		usage(stderr);
		exit(2);
	}
	if (!(o->data_factor >= 1 && o->data_factor <= 1000) || p->memory_bytes < 64u << 20)
		bench_die("--data-factor must be 1 to 1000, --memory at least 64M");
}

int main(int argc, char **argv)
{
	struct options o = {
		.params = { .memory_bytes = 1ull << 30, .hot_percent = 35, .warmup_s = 10, .rate = 20000,
			    .dir = "/var/tmp/pinfold-bench" },
		.data_factor = 5.6,
		.modes = MODES_ALL,
	};
	struct pollution_case *cases = calloc(CASES_MAX, sizeof(*cases));
	uint32_t count = 1, missed;

	parse(&o, argc, argv);
	if (!cases)
		bench_die("out of memory");
	if (o.suite)
		count = suite_cases(&o, cases);
	else
		cases[0].params = o.params;
	for (uint32_t i = 0; i < count; i++) {
		cases[i].pair_count = o.pairs ? o.pairs : o.suite ? 5 : 1;
		complete(&cases[i], o.data_factor);
	}
	for (uint32_t i = 0; i < count; i++)
		run_case(&cases[i], o.modes);
	missed = report(&o, cases, count);
	free(cases);
	return missed ? 1 : 0;
}
