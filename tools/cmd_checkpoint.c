// SPDX-License-Identifier: LGPL-2.1-or-later
/* cmd_checkpoint.c - pinfold checkpoint: makes the data files durable and empties the journal. */
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* 1: there is a process to ask, and *ret_status is the outcome; 0: there is none. */
static int ask_writer(struct cli *cli, int *ret_status)
{
	char message[512] = "";
	struct pinfold_live *live;
	int r = pinfold_live_open(cli->store, &live);

	if (r)
		return 0;
	pinfold_live_close(live);
	r = pinfold_live_checkpoint(cli->store, message, sizeof(message));
	if (r)
		*ret_status = cli_fail(cli, "the process that has it open: %s", message[0] ? message : strerror(-r));
	else
		*ret_status = CLI_OK;
	return 1;
}

static int run(struct cli *cli)
{
	struct pinfold_store_stats stats = {0};
	struct pinfold *pf;
	bool live = true;
	int status, r;

	if (!ask_writer(cli, &status)) {
		live = false;
		status = cli_open_write(cli, NULL, &pf);
		if (status)
			return status;
		r = pinfold_checkpoint(pf);
		if (!r)
			r = pinfold_store_stat(pf, &stats);
		if (r)
			status = cli_fail_call(cli, pf, r, "checkpoint");
		status = cli_close(cli, pf, status);
	}
	if (status)
		return status;
	if (cli->json)
		return cli_print_json(cli, json_pack("{s:o, s:b, s:o, s:o}", "store",
						     cli_json_text(cli->store), "by_live_process",
						     live, "recovered_txns", cli_json_u64(stats.recovered_txns),
						     "recovered_bytes", cli_json_u64(stats.recovered_bytes)));
	if (stats.recovered_txns)
		cli_note(cli, "it was not closed cleanly: %llu transactions recovered from the journal",
			 (unsigned long long)stats.recovered_txns);
	return CLI_OK;
}

const struct command cmd_checkpoint = {
	.name = "checkpoint",
	.operands = "DIR",
	.summary = "Make the data files durable and recycle the journal",
	.details = "If a process has the store open, it is asked to; otherwise the store is opened (and recovered, if "
		   "it was not "
		   "closed cleanly).",
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
