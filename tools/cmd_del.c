// SPDX-License-Identifier: LGPL-2.1-or-later
/* cmd_del.c - pinfold del: deletes a record, an object or a table. */
#include "cli.h"
#include "names.h"

#include <errno.h>
#include <string.h>

static int delete_record(struct cli *cli, struct pinfold *pf)
{
	struct pinfold_table *table;
	int r = pinfold_table_open(pf, cli->args[1], 0, &table);

	if (r == -ENOENT)
		return cli_fail(cli, "no table '%s' ('pinfold ls %s' lists them)", cli->args[1], cli->store);
	if (!r)
		r = pinfold_table_delete(table, cli->args[2], strlen(cli->args[2]));
	if (r == -ENOENT)
		return cli_fail(cli, "table %s: no record '%s'", cli->args[1], cli->args[2]);
	return r ? cli_fail_call(cli, pf, r, cli->args[2]) : CLI_OK;
}

static int delete_object(struct cli *cli, struct pinfold *pf)
{
	const char *why = "", *text = cli->args[1];
	struct name name;
	int r;

	if (name_parse(text, &name, &why))
		cli_usage(cli, "'%s': %s", text, why);
	if (name.is_extent)
		cli_usage(cli, "'%s' is an extent: only records and objects are deleted", text);
	r = pinfold_object_drop(pf, &name.object);
	if (r == -ENOENT)
		return cli_fail(cli, "%s: no such object ('pinfold ls %s' lists them)", text, cli->store);
	return r ? cli_fail_call(cli, pf, r, text) : CLI_OK;
}

static int run(struct cli *cli)
{
	struct pinfold *pf;
	int status = cli_open_write(cli, NULL, &pf);

	if (status)
		return status;
	status = cli->arg_count == 3 ? delete_record(cli, pf) : delete_object(cli, pf);
	status = cli_close(cli, pf, status);
	if (status || !cli->json)
		return status;
	if (cli->arg_count == 3)
		return cli_print_json(cli, json_pack("{s:s, s:s}", "table", cli->args[1], "deleted", cli->args[2]));
	return cli_print_json(cli, json_pack("{s:s}", "deleted", cli->args[1]));
}

const struct command cmd_del = {
	.name = "del",
	.operands = "DIR TABLE KEY | DIR OBJECT",
	.summary = "Delete a record, or an object with its extents",
	.min_args = 2,
	.max_args = 3,
	.run = run,
};
