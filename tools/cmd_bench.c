// SPDX-License-Identifier: LGPL-2.1-or-later
/* cmd_bench.c - pinfold bench: a small workload on an existing store, with latency quantiles. */
#include "cli.h"
#include "histogram.h"
#include "progress.h"
#include "settings.h"
#include "term.h"
#include "config/units.h"
#include "workload.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_MAX 100000u
#define PAGE_BYTES 4096u
#define SWEEP_BYTES (2ull << 20)

enum workload { WORKLOAD_GET, WORKLOAD_READ, WORKLOAD_SCAN, WORKLOAD_MIXED };
static const char *const workload_names[] = {"get", "read", "scan", "mixed", NULL};

enum { KEY_WORKLOAD = 0x5000, KEY_SECONDS, KEY_TABLE, KEY_SEED };

static enum workload workload = WORKLOAD_MIXED;
static uint64_t run_ms = 5000, seed = 1;
static const char *table_name;

static const struct argp_option options[] = {
	{ "workload", KEY_WORKLOAD, "NAME", 0,
	  "get (records), read (random pages), scan, or mixed: read beside a scan [mixed]", 0 },
	{ "seconds", KEY_SECONDS, "TIME", 0, "How long [5s]", 0 },
	{ "table", KEY_TABLE, "TABLE", 0, "Whose records 'get' reads [the first]", 0 },
	{ "seed", KEY_SEED, "N", 0, "Of the random places [1]", 0 },
	{ 0 },
};

static int option(struct cli *cli, int key, const char *arg)
{
	switch (key) {
	case KEY_WORKLOAD:
		workload = (enum workload)cli_choice_arg(cli, "--workload", arg, workload_names);
		return 0;
	case KEY_SECONDS:
		run_ms = cli_duration_arg(cli, "--seconds", arg);
		if (run_ms < 100)
			cli_usage(cli, "--seconds: '%s' is too short: 100ms or more", arg);
		return 0;
	case KEY_TABLE:
		table_name = arg;
		return 0;
	case KEY_SEED:
		seed = cli_count_arg(cli, "--seed", arg, 1, UINT64_MAX);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

struct bench {
	struct cli *cli;
	struct pinfold *pf;
	struct pinfold_extent *extents;
	size_t extent_count;
	struct histogram reads;
	_Atomic uint64_t scanned_bytes;
	_Atomic bool stop;
	_Atomic int scan_error;
	uint64_t sum; /* keeps the loads alive */
};

static void *scan_thread(void *arg)
{
	struct bench *bench = arg;
	uint64_t sum = 0;

	for (size_t i = 0; !bench->stop; i = (i + 1) % bench->extent_count) {
		const struct pinfold_extent *extent = &bench->extents[i];

		for (uint64_t at = 0; at < extent->len && !bench->stop; at += SWEEP_BYTES) {
			int r = workload_sweep(bench->pf, extent, at, SWEEP_BYTES, &sum);

			/* Dropped meanwhile: go on with the next. */
			if (r == -ESTALE)
				break;
			if (r) {
				bench->scan_error = r;
				return NULL;
			}
			atomic_fetch_add_explicit(&bench->scanned_bytes, SWEEP_BYTES, memory_order_relaxed);
		}
	}
	return NULL;
}

static int read_pages(struct bench *bench, uint64_t end_ns)
{
	uint64_t now = progress_now_ns(), state = seed;

	while (now < end_ns && !cli_stopped) {
		const struct pinfold_extent *extent = &bench->extents[workload_random(&state) % bench->extent_count];
		uint64_t offset = workload_random(&state) % (extent->len / PAGE_BYTES) * PAGE_BYTES, before = now;
		int r = workload_touch(bench->pf, extent, offset, &bench->sum);

		if (r && r != -ESTALE)
			return r;
		now = progress_now_ns();
		histogram_add(&bench->reads, now - before);
	}
	return 0;
}

static int first_table(void *ctx, const char *name)
{
	*(const char **)ctx = strdup(name);
	return 1;
}

static int get_records(struct bench *bench, uint64_t *ret_start_ns)
{
	uint64_t end_ns, now, state = seed;
	struct workload_keys keys;
	struct pinfold_table *table;
	const char *name = table_name;
	char *value;
	int r;

	if (!name)
		pinfold_table_foreach(bench->pf, first_table, &name);
	if (!name)
		return cli_fail(bench->cli, "the store has no table: --workload=read reads pages of its extents");
	r = pinfold_table_open(bench->pf, name, 0, &table);
	if (r)
		return cli_fail_call(bench->cli, bench->pf, r, name);
	r = workload_keys_read(table, KEYS_MAX, seed, &keys);
	if (r)
		return cli_fail_call(bench->cli, bench->pf, r, name);
	value = malloc(PINFOLD_VALUE_MAX);
	if (!value || !keys.count) {
		free(value);
		workload_keys_done(&keys);
		return cli_fail(bench->cli, "%s", value ? "the table is empty" : "out of memory");
	}
	now = *ret_start_ns = progress_now_ns();
	end_ns = now + run_ms * 1000000;
	while (!r && now < end_ns && !cli_stopped) {
		size_t k = workload_random(&state) % keys.count, size;
		uint64_t before = now;

		r = pinfold_table_get(table, keys.text + keys.offsets[k], keys.offsets[k + 1] - keys.offsets[k], value,
				      PINFOLD_VALUE_MAX, &size);
		if (r == -ENOENT)
			r = 0; /* deleted meanwhile: a miss is an answer too */
		now = progress_now_ns();
		histogram_add(&bench->reads, now - before);
	}
	free(value);
	workload_keys_done(&keys);
	return r ? cli_fail_call(bench->cli, bench->pf, r, name) : CLI_OK;
}

static int run_workload(struct bench *bench, double *ret_seconds)
{
	bool scans = workload == WORKLOAD_SCAN || workload == WORKLOAD_MIXED;
	uint64_t start_ns = progress_now_ns(), end_ns = start_ns + run_ms * 1000000;
	int status = CLI_OK, r = 0;
	pthread_t thread;

	if (workload != WORKLOAD_GET && !bench->extent_count)
		return cli_fail(bench->cli, "the store is empty: there is nothing to read");
	if (workload == WORKLOAD_GET) {
		status = get_records(bench, &start_ns);
		*ret_seconds = (double)(progress_now_ns() - start_ns) / 1e9;
		return status;
	}
	if (scans && pthread_create(&thread, NULL, scan_thread, bench))
		return cli_fail(bench->cli, "cannot start a thread");
	if (workload != WORKLOAD_SCAN) {
		r = read_pages(bench, end_ns);
	} else {
		while (progress_now_ns() < end_ns && !cli_stopped && !bench->scan_error)
			nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	*ret_seconds = (double)(progress_now_ns() - start_ns) / 1e9;
	if (scans) {
		bench->stop = true;
		pthread_join(thread, NULL);
		r = r ? r : bench->scan_error;
	}
	return r ? cli_fail(bench->cli, "reading: %s", strerror(-r)) : CLI_OK;
}

static int print_result(struct bench *bench, double seconds, bool live)
{
	char p50[UNITS_TEXT_MAX], p99[UNITS_TEXT_MAX], p999[UNITS_TEXT_MAX], max[UNITS_TEXT_MAX], rate[UNITS_TEXT_MAX];
	const struct histogram *h = &bench->reads;
	struct cli *cli = bench->cli;
	double reads = seconds > 0 ? (double)h->count / seconds : 0,
	       scan = seconds > 0 ? (double)bench->scanned_bytes / seconds : 0;

	if (cli->json)
		return cli_print_json(cli,
				      json_pack("{s:s, s:b, s:I, s:o, s:o, s:o, s:o}", "workload",
						workload_names[workload], "read_only", live, "seed", (json_int_t)seed,
						"seconds", cli_json_real(seconds), "reads_per_s", cli_json_real(reads),
						"scan_bytes_per_s", cli_json_real(scan), "latency", histogram_json(h)));
	if (h->count)
		printf("%-6s %s/s  p50 %s  p99 %s  p99.9 %s  max %s\n", workload == WORKLOAD_GET ? "get" : "read",
		       units_count((uint64_t)reads, rate), units_ns((double)histogram_quantile(h, 0.5), p50),
		       units_ns((double)histogram_quantile(h, 0.99), p99),
		       units_ns((double)histogram_quantile(h, 0.999), p999), units_ns((double)h->max_ns, max));
	if (bench->scanned_bytes)
		printf("%-6s %s/s\n", "scan", units_size((uint64_t)scan, rate));
	return cli_finish_stdout(cli, CLI_OK);
}

static int run(struct cli *cli)
{
	struct pinfold_config config;
	struct bench *bench = calloc(1, sizeof(*bench));
	char words[256];
	double seconds = 0;
	bool beside;
	int status, r;

	if (!bench)
		return cli_fail(cli, "out of memory");
	bench->cli = cli;
	cli_catch_signals();
	status = settings_open_config(cli, &config);
	if (status)
		goto out_free;
	/* With its controller if nobody has it open; else as one more reader. */
	r = pinfold_open(cli->store, &config, words, sizeof(words), &bench->pf);
	beside = r == -EBUSY || r == -EROFS || r == -EACCES;
	if (beside)
		cli_note(cli, "%s: this process only reads, without telemetry and pins of its own",
			 r == -EBUSY ? "another process has it open" : words);
	status = r == 0 ? CLI_OK : beside ? cli_open_read(cli, &bench->pf) : cli_open_write(cli, &config, &bench->pf);
	if (status)
		goto out_free;
	r = workload_extents(bench->pf, &bench->extents, &bench->extent_count);
	status = r ? cli_fail_call(cli, bench->pf, r, "listing extents") : run_workload(bench, &seconds);
	if (status == CLI_OK)
		status = print_result(bench, seconds, beside);
	status = cli_close(cli, bench->pf, status);
out_free:
	free(bench->extents);
	free(bench);
	return status;
}

const struct command cmd_bench = {
	.name = "bench",
	.operands = "DIR",
	.summary = "Time a small workload on an existing store",
	.details = "Reads only. If no process has the store open it is opened with telemetry and adaptive pinning, as "
		   "a program would.",
	.min_args = 1,
	.max_args = 1,
	.options = options,
	.option = option,
	.run = run,
};
