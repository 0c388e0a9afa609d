// SPDX-License-Identifier: LGPL-2.1-or-later
/* cmd_put.c - pinfold put: writes one record. */
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All of stdin, if it is not more than a value may be. */
static int read_value(struct cli *cli, char **ret_value, size_t *ret_size)
{
	char *value = malloc(PINFOLD_VALUE_MAX + 1);
	size_t size;

	if (!value)
		return cli_fail(cli, "out of memory");
	size = fread(value, 1, PINFOLD_VALUE_MAX + 1, stdin);
	if (ferror(stdin) || size > PINFOLD_VALUE_MAX) {
		free(value);
		return ferror(stdin)
			       ? cli_fail(cli, "reading the value from stdin: %s", strerror(errno))
			       : cli_fail(cli,
					  "the value on stdin is larger than the %d bytes that a record may have; "
					  "'pinfold load' takes objects of any size",
					  PINFOLD_VALUE_MAX);
	}
	*ret_value = value;
	*ret_size = size;
	return CLI_OK;
}

static int run(struct cli *cli)
{
	const char *key = cli->args[2], *text = cli->args[3];
	struct pinfold_table *table;
	struct pinfold *pf;
	char *value = NULL;
	size_t size = 0;
	int status, r;

	cli_key_arg(cli, key);
	if (text && strcmp(text, "-")) {
		size = strlen(text);
		if (size > PINFOLD_VALUE_MAX)
			cli_usage(cli, "the value has %zu bytes: at most %d are allowed", size, PINFOLD_VALUE_MAX);
	} else {
		status = read_value(cli, &value, &size);
		if (status)
			return status;
		text = value;
	}
	status = cli_open_write(cli, NULL, &pf);
	if (status)
		goto out_free;
	r = pinfold_table_open(pf, cli->args[1], PINFOLD_TABLE_CREATE, &table);
	if (!r)
		r = pinfold_table_put(table, key, strlen(key), text, size);
	if (r)
		status = cli_fail_call(cli, pf, r, cli->args[1]);
	status = cli_close(cli, pf, status);
	if (status == CLI_OK && cli->json)
		status = cli_print_json(cli, json_pack("{s:s, s:o, s:I}", "table", cli->args[1], "key",
						       cli_json_text(key), "size", (json_int_t)size));
out_free:
	free(value);
	return status;
}

const struct command cmd_put = {
	.name = "put",
	.operands = "DIR TABLE KEY [VALUE|-]",
	.summary = "Write a record",
	.details = "Without VALUE, or with '-', the value is read from stdin. The table is made if it is not there.",
	.min_args = 3,
	.max_args = 4,
	.run = run,
};
