// SPDX-License-Identifier: LGPL-2.1-or-later
/* cmd_explain.c - pinfold explain: why an extent or object is pinned, not pinned, not huge, not moved. */
#include "cli.h"
#include "explain.h"
#include "names.h"
#include "term.h"
#include "config/units.h"
#include "watch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define GROUPS_DEFAULT 12

enum { KEY_ALL = 0x5000 };

static bool all;

static const struct argp_option options[] = {
	{"all", KEY_ALL, 0, 0, "Every run of slices, not the first 12", 0},
	{0},
};

static int option(struct cli *cli, int key, const char *arg)
{
	if (key != KEY_ALL)
		return ARGP_ERR_UNKNOWN;
	all = true;
	return 0;
}

struct run_state {
	struct cli *cli;
	struct watch watch;
	struct explain_host host;
	json_t *groups;
	size_t group_count, left_out;
};

/* Explains the slices of one span, group by group. */
static void explain_span(struct run_state *run, const struct name_span *span)
{
	const struct watch *watch = &run->watch;
	uint64_t slice = watch->info.slice_size, begin = span->extent.offset + span->offset, end = begin + span->size;
	const struct pinfold_live_slice *s = watch_slice_at(watch, span->extent.file_id, begin), *last;

	last = watch->slices + watch->slice_count;
	while (s && s < last && s->file_id == span->extent.file_id && s->index * slice < end) {
		struct explanation explanation;
		struct explain_group group;
		uint64_t left = (end - s->index * slice + slice - 1) / slice;
		size_t count = (size_t)(last - s);

		explain_group_take(s, left < count ? left : count, &group);
		s += group.count;
		if (!all && run->group_count >= GROUPS_DEFAULT) {
			run->left_out++;
			continue;
		}
		run->group_count++;
		explain_make(&group, watch, &run->host, &explanation);
		if (run->groups)
			json_array_append_new(run->groups, explain_json(&group, watch, &explanation));
		else
			explain_print(&explanation, stdout);
	}
}

/* Nobody has it open: all that can be told is what the page cache holds. */
static int explain_closed(struct cli *cli, struct pinfold *pf, const struct name_spans *spans)
{
	uint64_t size = 0, resident = 0;
	bool known = true;
	char a[UNITS_TEXT_MAX], b[UNITS_TEXT_MAX];

	for (size_t i = 0; i < spans->count; i++) {
		struct pinfold_residency res;
		int r = pinfold_residency_query(pf, &spans->spans[i].extent, spans->spans[i].offset,
						spans->spans[i].size, &res);

		if (r)
			return cli_fail_call(cli, pf, r, cli->args[1]);
		size += res.size;
		known = known && res.resident != UINT64_MAX;
		resident += res.resident;
	}
	if (cli->json)
		return cli_print_json(cli,
				      json_pack("{s:o, s:b, s:o, s:o, s:[]}", "target", cli_json_text(cli->args[1]),
						"open", 0, "size", cli_json_u64(size), "resident",
						known ? cli_json_u64(resident) : json_null(), "groups"));
	term_print_words(stdout, cli->args[1]);
	fputs(": no process has the store open, so nothing of it is pinned and nobody observes it. ", stdout);
	if (known)
		printf("Of its %s, %s are in the page cache, which the kernel may drop at any time.\n",
		       units_size(size, a), units_size(resident, b));
	else
		printf("How much of its %s is in the page cache is told only to who may write its files.\n",
		       units_size(size, a));
	return cli_finish_stdout(cli, CLI_OK);
}

static int explain_open(struct run_state *run, struct pinfold *pf, const struct name_spans *spans)
{
	struct cli *cli = run->cli;
	char owner[NAMES_TEXT_MAX], name[NAMES_TEXT_MAX];
	int r = watch_read(&run->watch);

	if (r)
		return cli_fail(cli, "the process that has it open cannot be watched: %s", strerror(-r));
	explain_host_ask(cli->store, &run->host);
	for (size_t i = 0; i < spans->count; i++) {
		if (!cli->json && (all || run->group_count < GROUPS_DEFAULT)) {
			printf("%s%s of ", i ? "\n" : "", name_extent(&spans->spans[i].extent, name));
			term_print_words(stdout, name_owner(pf, &spans->spans[i].extent, owner));
			putchar('\n');
		}
		explain_span(run, &spans->spans[i]);
	}
	if (cli->json)
		return cli_print_json(cli,
				      json_pack("{s:o, s:b, s:o, s:o}", "target", cli_json_text(cli->args[1]), "open",
						1, "left_out", cli_json_u64(run->left_out), "groups", run->groups));
	if (run->left_out)
		printf("... and %zu more runs of slices (--all shows them)\n", run->left_out);
	if (!run->group_count) {
		term_print_words(stdout, cli->args[1]);
		fputs(": the process that has the store open has not looked at it yet\n", stdout);
	}
	return cli_finish_stdout(cli, CLI_OK);
}

static int run(struct cli *cli)
{
	struct run_state run_state = {.cli = cli};
	struct name_spans spans;
	struct pinfold *pf;
	struct name name;
	int status, r;

	name_arg(cli, cli->args[1], &name);
	r = watch_open(cli->store, &run_state.watch);
	if (r && r != -ENOENT)
		return cli_fail(cli, "cannot watch a process that may have it open: %s", strerror(-r));
	status = cli_open_read(cli, &pf);
	if (status)
		goto out;
	status = name_resolve(cli, pf, &name, cli->args[1], &spans);
	if (status == CLI_OK) {
		if (!r && cli->json)
			run_state.groups = json_array();
		status = r ? explain_closed(cli, pf, &spans) : explain_open(&run_state, pf, &spans);
		name_spans_done(&spans);
	}
	status = cli_close(cli, pf, status);
out:
	watch_close(&run_state.watch);
	return status;
}

const struct command cmd_explain = {
	.name = "explain",
	.operands = "DIR EXTENT|OBJECT",
	.summary = "Why it is pinned, not pinned, not huge or not moved",
	.details = "One paragraph per run of slices for which the same is true: its state, the reason with the numbers "
		   "behind it, what "
		   "the kernel saw, and what would change it.",
	.min_args = 2,
	.max_args = 2,
	.options = options,
	.option = option,
	.run = run,
};
