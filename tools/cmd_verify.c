// SPDX-License-Identifier: LGPL-2.1-or-later
/* cmd_verify.c - pinfold verify: checks every checksum and structure. */
#include "cli.h"
#include "progress.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

struct verify {
	struct cli *cli;
	struct progress progress;
	json_t *problems;
	uint64_t problem_count, done;
	bool unchecked; /* not all of it could be looked at */
};

static void on_problem(void *ctx, const struct pinfold_problem *problem)
{
	struct verify *verify = ctx;

	verify->problem_count++;
	if (verify->problems) {
		json_array_append_new(verify->problems,
				      json_pack("{s:o, s:o, s:o}", "path", cli_json_text(problem->path),
						"offset",
						problem->offset < 0 ? json_null() : json_integer(problem->offset),
						"what", cli_json_text(problem->what)));
		return;
	}
	if (problem->offset < 0)
		printf("%s: %s\n", problem->path, problem->what);
	else
		printf("%s: offset %" PRId64 ": %s\n", problem->path, problem->offset, problem->what);
	fflush(stdout);
}

static void on_progress(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
	struct verify *verify = ctx;

	verify->done = done_bytes;
	verify->progress.total = total_bytes;
	progress_update(&verify->progress, done_bytes);
}

/* What kept the store from being checked is told too: who reads JSON gets an answer in every case. */
static void not_checked(struct verify *verify)
{
	verify->unchecked = true;
	if (verify->problems)
		json_array_append_new(verify->problems, json_pack("{s:s, s:n, s:o}", "path", ".", "offset", "what",
								  cli_json_text(cli_failure_words())));
}

static int check(struct verify *verify)
{
	struct cli *cli = verify->cli;
	struct pinfold *pf;
	int status = cli_open_read(cli, &pf), r;

	if (status) {
		not_checked(verify);
		return status;
	}
	progress_start(&verify->progress, cli, "verified", PROGRESS_BYTES, 0);
	r = pinfold_verify(pf, on_problem, on_progress, verify);
	progress_done(&verify->progress);
	if (r && !(r == -EUCLEAN && verify->problem_count)) {
		status = cli_fail_call(cli, pf, r, "verify");
		not_checked(verify);
	} else if (verify->problem_count) {
		status = CLI_FAILURE;
		if (!verify->problems)
			cli_fail(cli, "%" PRIu64 " problem%s", verify->problem_count,
				 verify->problem_count == 1 ? "" : "s");
	}
	return cli_close(cli, pf, status);
}

static int run(struct cli *cli)
{
	struct verify verify = {.cli = cli, .problems = cli->json ? json_array() : NULL};
	int status = check(&verify), printed;
	bool unknown = verify.unchecked && !verify.problem_count;

	if (!cli->json)
		return cli_finish_stdout(cli, status);
	printed = cli_print_json(cli, json_pack("{s:o, s:o, s:o, s:o}", "store", cli_json_text(cli->store), "sound",
						unknown ? json_null() : json_boolean(status == CLI_OK), "bytes",
						cli_json_u64(verify.done), "problems", verify.problems));
	return status ? status : printed;
}

const struct command cmd_verify = {
	.name = "verify",
	.operands = "DIR",
	.summary = "Check every checksum and structure; list what is wrong",
	.details = "Prints one line per problem: file, offset, what was found. The exit status is 1 if there is any. "
		   "Object data is "
		   "covered where it was loaded with checksums.",
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
