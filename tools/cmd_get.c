// SPDX-License-Identifier: LGPL-2.1-or-later
/* cmd_get.c - pinfold get: prints one record. */
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int print_value(struct cli *cli, const char *value, size_t size)
{
	if (cli->json)
		return cli_print_json(cli, json_pack("{s:s, s:o, s:o, s:I}", "table", cli->args[1], "key",
						     cli_json_text(cli->args[2]), "value", cli_json_bytes(value, size),
						     "size", (json_int_t)size));
	fwrite(value, 1, size, stdout);
	/* A terminal's prompt should not follow the value; a pipe gets the bytes and nothing else. */
	if (isatty(STDOUT_FILENO) && (!size || value[size - 1] != '\n'))
		putchar('\n');
	return cli_finish_stdout(cli, CLI_OK);
}

static int fail_missing(struct cli *cli, struct pinfold_table *table)
{
	struct pinfold_table_stats stats;
	bool unfinished = !pinfold_table_stat(table, &stats) && stats.import_unfinished;

	return cli_fail(cli, "table %s: no record '%s'%s", cli->args[1], cli->args[2],
			unfinished ? ": an import into it is unfinished: it has no records before that ends" : "");
}

static int run(struct cli *cli)
{
	struct pinfold_table *table;
	struct pinfold *pf;
	size_t size = 0;
	int status, r;
	char *value;

	cli_key_arg(cli, cli->args[2]);
	value = malloc(PINFOLD_VALUE_MAX);
	if (!value)
		return cli_fail(cli, "out of memory");
	status = cli_open_read(cli, &pf);
	if (status)
		goto out_free;
	r = pinfold_table_open(pf, cli->args[1], 0, &table);
	if (r == -ENOENT) {
		status = cli_fail(cli, "no table '%s' ('pinfold ls %s' lists them)", cli->args[1], cli->store);
		goto out_close;
	}
	if (r) {
		status = cli_fail_call(cli, pf, r, cli->args[1]);
		goto out_close;
	}
	r = pinfold_table_get(table, cli->args[2], strlen(cli->args[2]), value, PINFOLD_VALUE_MAX, &size);
	if (r == -ENOENT)
		status = fail_missing(cli, table);
	else if (r)
		status = cli_fail_call(cli, pf, r, cli->args[2]);
	else
		status = print_value(cli, value, size);

out_close:
	status = cli_close(cli, pf, status);
out_free:
	free(value);
	return status;
}

const struct command cmd_get = {
	.name = "get",
	.operands = "DIR TABLE KEY",
	.summary = "Print the value of a record",
	.min_args = 3,
	.max_args = 3,
	.run = run,
};
