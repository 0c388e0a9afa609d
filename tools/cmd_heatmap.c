// SPDX-License-Identifier: LGPL-2.1-or-later
/* cmd_heatmap.c - pinfold heatmap: time x extent, on the terminal or into a file. */
#include "cli.h"
#include "heatmap.h"
#include "progress.h"
#include "term.h"
#include "config/units.h"
#include "watch.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Slices of a store that nobody has open. */
#define SLICE_SIZE_DEFAULT (2ull << 20)
/* Lines of cells when the output is no terminal. */
#define ROWS_DEFAULT 40u

enum { KEY_LIVE = 0x5000, KEY_METRIC, KEY_OUTPUT };

static uint64_t live_ms;
static enum heatmap_metric metric = HEATMAP_FAULTS;
static const char *output;

static const struct argp_option options[] = {
	{"metric", KEY_METRIC, "METRIC", 0, "faults, heat, state or resident [faults]", 0},
	{"live", KEY_LIVE, "INTERVAL", 0, "Draw it again every INTERVAL, COUNT times [until interrupted]", 0},
	{"output", KEY_OUTPUT, "FILE", 0, "Write FILE: .png, .svg or .csv", 0},
	{0},
};

static int option(struct cli *cli, int key, const char *arg)
{
	switch (key) {
	case KEY_LIVE:
		live_ms = cli_duration_arg(cli, "--live", arg);
		if (live_ms < 100)
			cli_usage(cli, "--live: '%s' is too short: 100ms or more", arg);
		return 0;
	case KEY_METRIC:
		metric = (enum heatmap_metric)cli_choice_arg(cli, "--metric", arg, heatmap_metric_names);
		return 0;
	case KEY_OUTPUT:
		output = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* 1: drawn from a live process; 0: nobody has it open; else -errno. */
static int from_live(struct cli *cli, struct heatmap *ret_map)
{
	struct pinfold_live_history history;
	char age[UNITS_TEXT_MAX];
	struct watch watch = {0};
	int r = watch_open(cli->store, &watch);

	if (r)
		return r == -ENOENT ? 0 : r;
	r = pinfold_live_history(watch.live, &history);
	if (!r) {
		r = heatmap_from_history(&history, watch.info.slice_size, metric, ret_map);
		pinfold_live_history_done(&history);
	}
	if (!r) {
		strcpy(ret_map->source, watch.info.source);
		snprintf(ret_map->title, sizeof(ret_map->title), "%s: %s since process %d opened it %s ago (source %s)",
			 cli->store, heatmap_metric_names[metric], (int)watch.info.pid,
			 units_ms(watch.info.open_ms, age), watch.info.source);
	}
	watch_close(&watch);
	return r ? r : 1;
}

static int from_page_cache(struct cli *cli, struct heatmap *ret_map)
{
	struct pinfold *pf;
	int status = cli_open_read(cli, &pf), r;

	if (status)
		return status;
	r = heatmap_from_residency(pf, SLICE_SIZE_DEFAULT, ret_map);
	if (r)
		status = cli_fail_call(cli, pf, r, "looking at the page cache");
	else
		snprintf(ret_map->title, sizeof(ret_map->title), "%s: share of each slice in memory now", cli->store);
	return cli_close(cli, pf, status);
}

static int make_map(struct cli *cli, struct heatmap *ret_map)
{
	int r = metric == HEATMAP_RESIDENT ? 0 : from_live(cli, ret_map), status;

	if (r < 0)
		return cli_fail(cli, "cannot watch a process that may have it open: %s", strerror(-r));
	if (r)
		return CLI_OK;
	status = from_page_cache(cli, ret_map);
	if (status == CLI_OK && metric != HEATMAP_RESIDENT)
		cli_note(cli, "no process has %s open, so there is no history of %s: this shows what is in memory now",
			 cli->store, heatmap_metric_names[metric]);
	return status;
}

static int write_output(struct cli *cli, struct heatmap *map)
{
	enum heatmap_format format = heatmap_format_of(output);
	char error[PATH_MAX + 64];
	int r;

	if (format != HEATMAP_CSV)
		heatmap_bin(map, HEATMAP_IMAGE_ROWS_MAX, HEATMAP_IMAGE_COLUMNS_MAX);
	if (format == HEATMAP_CSV)
		r = heatmap_write_csv(map, output, error, sizeof(error));
	else if (format == HEATMAP_PNG)
		r = heatmap_write_png(map, output, error, sizeof(error));
	else
		r = heatmap_write_svg(map, output, error, sizeof(error));
	return r ? cli_fail(cli, "%s", error) : CLI_OK;
}

static int print_map(struct cli *cli, struct heatmap *map)
{
	bool color = term_truecolor(cli, stdout), tty = isatty(STDOUT_FILENO);
	uint32_t lines = tty ? (uint32_t)term_height(stdout) : ROWS_DEFAULT;

	lines = lines > 12 ? lines - 6 : 6;
	heatmap_bin(map, color ? lines * 2 : lines, (uint32_t)(term_width(stdout) - 10));
	if (!map->column_count)
		cli_note(cli, "the store holds no extent yet");
	else if (color)
		heatmap_print_blocks(map, stdout);
	else
		heatmap_print_digits(map, stdout);
	return cli_finish_stdout(cli, CLI_OK);
}

static int show_once(struct cli *cli)
{
	struct heatmap map = {0};
	int status = make_map(cli, &map);

	if (status)
		return status;
	if (output)
		status = write_output(cli, &map);
	else if (cli->json)
		status = cli_print_json(cli, heatmap_json(&map));
	else
		status = print_map(cli, &map);
	heatmap_done(&map);
	return status;
}

static int run(struct cli *cli)
{
	uint64_t count = 1;
	int status;

	if (output && heatmap_format_of(output) == HEATMAP_NO_FORMAT)
		cli_usage(cli, "--output: '%s' does not end in .png, .svg or .csv", output);
	if (cli->arg_count == 2) {
		if (!live_ms)
			cli_usage(cli, "COUNT '%s' needs --live=INTERVAL", cli->args[1]);
		count = cli_count_arg(cli, "COUNT", cli->args[1], 1, UINT64_MAX);
	} else if (live_ms) {
		count = UINT64_MAX;
	}
	if (output && cli->json)
		cli_usage(cli, "--json prints to stdout: it does not go with --output");
	cli->reopens = live_ms != 0;
	cli_catch_signals();
	for (uint64_t i = 0;; i++) {
		const struct timespec nap = {(time_t)(live_ms / 1000), (long)(live_ms % 1000) * 1000000};

		if (live_ms && isatty(STDOUT_FILENO) && !cli->json && !output)
			fputs("\033[H\033[J", stdout);
		status = show_once(cli);
		if (status || i + 1 >= count || cli_stopped)
			return status;
		nanosleep(&nap, NULL);
		if (cli_stopped)
			return CLI_OK;
	}
}

const struct command cmd_heatmap = {
	.name = "heatmap",
	.operands = "DIR [COUNT]",
	.summary = "Where faults, heat or pins were over time: time x extent",
	.details = "Rows are time, columns are slices of the data files, merged to the width at hand (the busiest "
		   "stands for its "
		   "neighbours). Colour where the terminal has 24-bit colour (COLORTERM=truecolor or --color=always), "
		   "else digits. Of a "
		   "store that no process has open it shows what is in memory now.",
	.min_args = 1,
	.max_args = 2,
	.options = options,
	.option = option,
	.run = run,
};
