// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * cmd_pin.c - pinfold pin and unpin.
 *
 * If a process has the store open, it is asked: the pin is its own and ends
 * with it. If nobody has, a pin can only live in a process that maps the
 * data: with --hold this one opens the store (as its writer, so that others can ask
 * it in turn), stays and keeps the pin, until a signal or its TTL.
 */
#include "cli.h"
#include "names.h"
#include "progress.h"
#include "config/units.h"
#include "settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { KEY_CLASS = 0x5000, KEY_TTL, KEY_ONFAULT, KEY_HUGE, KEY_NODE, KEY_HOLD };

static struct pinfold_pin_opts opts = {
	.priority = PINFOLD_PRIORITY_QUERY_CRITICAL,
	.lifetime = PINFOLD_LIFETIME_LONG_LIVED,
};
static bool hold;

static const struct argp_option options[] = {
	{"class", KEY_CLASS, "CLASS", 0, "background, query or tail [query]", 0},
	{"ttl", KEY_TTL, "TIME", 0, "Release it after TIME, such as 30s or 5m [never]", 0},
	{"onfault", KEY_ONFAULT, 0, 0, "Lock pages as they are touched; read nothing in now", 0},
	{"huge", KEY_HUGE, 0, 0, "Prefer huge pages", 0},
	{"node", KEY_NODE, "N", 0, "Prefer NUMA node N", 0},
	{"hold", KEY_HOLD, 0, 0, "Nobody has the store open: stay and keep it pinned", 0},
	{0},
};

static int option(struct cli *cli, int key, const char *arg)
{
	static const char *const classes[] = {"background", "query", "tail", NULL};

	switch (key) {
	case KEY_CLASS:
		opts.priority = (enum pinfold_priority)cli_choice_arg(cli, "--class", arg, classes);
		return 0;
	case KEY_TTL:
		opts.ttl_ms = cli_duration_arg(cli, "--ttl", arg);
		opts.lifetime = PINFOLD_LIFETIME_SESSION;
		if (!opts.ttl_ms)
			cli_usage(cli, "--ttl: '%s' must be more than 0 ms", arg);
		return 0;
	case KEY_ONFAULT:
		opts.onfault = true;
		return 0;
	case KEY_HUGE:
		opts.use_hugepages = true;
		return 0;
	case KEY_NODE:
		opts.numa_prefer_plus_1 = (int)cli_count_arg(cli, "--node", arg, 0, PINFOLD_NODES_MAX - 1) + 1;
		return 0;
	case KEY_HOLD:
		hold = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static uint64_t spans_bytes(const struct name_spans *spans)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < spans->count; i++)
		bytes += spans->spans[i].size;
	return bytes;
}

static int print_done(struct cli *cli, const struct name_spans *spans, const char *what, const char *by)
{
	char bytes[UNITS_TEXT_MAX];

	if (cli->json)
		return cli_print_json(cli,
				      json_pack("{s:s, s:o, s:s, s:I, s:o}", "action", what, "target",
						cli_json_text(cli->args[1]), "by", by, "extents",
						(json_int_t)spans->count, "bytes", cli_json_u64(spans_bytes(spans))));
	printf("%s %s: %zu extents, %s, by %s\n", what, cli->args[1], spans->count,
	       units_size(spans_bytes(spans), bytes), by);
	return cli_finish_stdout(cli, CLI_OK);
}

/* Asks the live process for each part; the parts before a failure stay as they are and are named. */
static int ask_writer(struct cli *cli, const struct name_spans *spans, bool unpin)
{
	char message[512], name[NAMES_TEXT_MAX];

	for (size_t i = 0; i < spans->count; i++) {
		const struct name_span *span = &spans->spans[i];
		int r;

		message[0] = 0;
		if (unpin)
			r = pinfold_live_unpin(cli->store, &span->extent, span->offset, span->size, message,
					       sizeof(message));
		else
			r = pinfold_live_pin(cli->store, &span->extent, span->offset, span->size, &opts, message,
					     sizeof(message));
		if (r && !i)
			return cli_fail(cli, "%s: %s", name_extent(&span->extent, name),
					message[0] ? message : strerror(-r));
		if (r)
			return cli_fail(cli, "%s: %s (%zu of %zu extents were done before it)",
					name_extent(&span->extent, name), message[0] ? message : strerror(-r), i,
					spans->count);
	}
	return print_done(cli, spans, unpin ? "unpinned" : "pinned", "the process that has it open");
}

/* A process that holds the store open, with telemetry, can be asked. */
static bool writer_lives(const char *dir, int *ret_errno)
{
	struct pinfold_live *live;
	int r = pinfold_live_open(dir, &live);

	*ret_errno = r;
	if (r)
		return false;
	pinfold_live_close(live);
	return true;
}

/* Where a budget that is too small comes from. */
static void note_budget(const struct cli *cli, struct pinfold *pf)
{
	char budget[UNITS_TEXT_MAX], memory[UNITS_TEXT_MAX];
	struct pinfold_pin_stats stats;

	if (pinfold_pin_stat(pf, &stats))
		return;
	cli_note(cli, "pins may use %s in all, of %s that %s leaves: 'pinfold doctor' says what would raise it",
		 units_size(stats.budget_total_bytes, budget), units_size(stats.effective_memory_bytes, memory),
		 stats.effective_memory_limit);
}

static int hold_pins(struct cli *cli, struct pinfold *pf, const struct name_spans *spans)
{
	pinfold_pin_key *keys = calloc(spans->count, sizeof(*keys));
	uint64_t begin_ns = progress_now_ns();
	const struct timespec nap = {.tv_nsec = 100000000};
	char name[NAMES_TEXT_MAX];
	int status = CLI_OK;
	size_t count = 0;

	if (!keys)
		return cli_fail(cli, "out of memory");
	for (; count < spans->count; count++) {
		const struct name_span *span = &spans->spans[count];
		int r = pinfold_pin_slice(pf, &span->extent, span->offset, span->size, &opts, &keys[count]);

		if (r) {
			status = cli_fail_call(cli, pf, r, name_extent(&span->extent, name));
			if (r == -ENOSPC)
				note_budget(cli, pf);
			break;
		}
	}
	if (status == CLI_OK) {
		status = print_done(cli, spans, "pinned", "this process, which holds it");
		fflush(stdout);
		while (!cli_stopped && (!opts.ttl_ms || (progress_now_ns() - begin_ns) / 1000000 < opts.ttl_ms))
			nanosleep(&nap, NULL);
	}
	while (count-- > 0)
		pinfold_unpin_slice(pf, keys[count]);
	free(keys);
	return status;
}

static int open_holder(struct cli *cli, struct pinfold **ret_pf)
{
	struct pinfold_config config;
	int status = settings_open_config(cli, &config);

	if (status)
		return status;
	config.source = PINFOLD_SOURCE_NONE;
	config.pin.adaptive_off = true;
	return cli_open_write(cli, &config, ret_pf);
}

static int pin_or_unpin(struct cli *cli, bool unpin)
{
	struct name_spans spans;
	struct pinfold *pf;
	struct name name;
	int status, r;
	bool live;

	name_arg(cli, cli->args[1], &name);
	live = writer_lives(cli->store, &r);
	if (!live && r != -ENOENT && r != -EPROTO && !(hold && !unpin))
		return cli_fail(cli, "cannot ask a process that may have it open: %s", strerror(-r));
	cli_catch_signals();
	status = live ? cli_open_read(cli, &pf) : open_holder(cli, &pf);
	if (status)
		return status;
	status = name_resolve(cli, pf, &name, cli->args[1], &spans);
	if (status)
		return cli_close(cli, pf, status);
	if (live)
		status = ask_writer(cli, &spans, unpin);
	else if (unpin)
		status = cli_fail(cli, "no process has it open, so nothing is pinned");
	else if (!hold)
		status = cli_fail(
			cli,
			"no process has it open to keep the pin: --hold keeps it in this one until it is interrupted");
	else
		status = hold_pins(cli, pf, &spans);
	name_spans_done(&spans);
	return cli_close(cli, pf, status);
}

static int run_pin(struct cli *cli)
{
	return pin_or_unpin(cli, false);
}

static int run_unpin(struct cli *cli)
{
	return pin_or_unpin(cli, true);
}

const struct command cmd_pin = {
	.name = "pin",
	.operands = "DIR EXTENT|OBJECT",
	.summary = "Keep an extent or object in memory",
	.details = "The process that has the store open is asked, and keeps the pin as long as it lives. If nobody has "
		   "it open, --hold "
		   "keeps the pin in this process until SIGINT or the end of --ttl.",
	.min_args = 2,
	.max_args = 2,
	.options = options,
	.option = option,
	.run = run_pin,
};

const struct command cmd_unpin = {
	.name = "unpin",
	.operands = "DIR EXTENT|OBJECT",
	.summary = "Let go of what 'pin' or the policy keeps in memory",
	.min_args = 2,
	.max_args = 2,
	.run = run_unpin,
};
