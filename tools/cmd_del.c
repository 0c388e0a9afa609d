// SPDX-License-Identifier: LGPL-2.1-or-later
/* cmd_del.c - pinfold del: deletes a record, an object, a table or a lease table. */
#include "cli.h"
#include "names.h"

#include <errno.h>
#include <string.h>

/* Only here: tables are no objects. */
#define TABLE_PREFIX "table:"
#define LEASES_PREFIX "leases:"

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

static int delete_object(struct cli *cli, struct pinfold *pf, const struct name *name)
{
	int r = pinfold_object_drop(pf, &name->object);

	if (r == -ENOENT)
		return cli_fail(cli, "%s: no such object ('pinfold ls %s' lists them)", cli->args[1], cli->store);
	return r ? cli_fail_call(cli, pf, r, cli->args[1]) : CLI_OK;
}

static int delete_table(struct cli *cli, struct pinfold *pf, const char *table)
{
	int r = pinfold_table_drop(pf, table);

	if (r == -ENOENT)
		return cli_fail(cli, "no table '%s' ('pinfold ls %s' lists them)", table, cli->store);
	return r ? cli_fail_call(cli, pf, r, cli->args[1]) : CLI_OK;
}

static int delete_leases(struct cli *cli, struct pinfold *pf, const char *leases)
{
	int r = pinfold_leases_drop(pf, leases);

	if (r == -ENOENT)
		return cli_fail(cli, "no lease table '%s' ('pinfold ls %s' lists them)", leases, cli->store);
	return r ? cli_fail_call(cli, pf, r, cli->args[1]) : CLI_OK;
}

static int run(struct cli *cli)
{
	bool record = cli->arg_count == 3,
	     table = !record && !strncmp(cli->args[1], TABLE_PREFIX, strlen(TABLE_PREFIX)),
	     leases = !record && !strncmp(cli->args[1], LEASES_PREFIX, strlen(LEASES_PREFIX));
	struct pinfold *pf;
	struct name name;
	int status;

	if (record)
		cli_key_arg(cli, cli->args[2]);
	else if (!table && !leases)
		name_object_arg(cli, cli->args[1], &name);
	status = cli_open_write(cli, NULL, &pf);
	if (status)
		return status;
	if (record)
		status = delete_record(cli, pf);
	else if (table)
		status = delete_table(cli, pf, cli->args[1] + strlen(TABLE_PREFIX));
	else if (leases)
		status = delete_leases(cli, pf, cli->args[1] + strlen(LEASES_PREFIX));
	else
		status = delete_object(cli, pf, &name);
	status = cli_close(cli, pf, status);
	if (status || !cli->json)
		return status;
	if (record)
		return cli_print_json(cli, json_pack("{s:s, s:o}", "table", cli->args[1], "deleted",
						     cli_json_text(cli->args[2])));
	return cli_print_json(cli, json_pack("{s:o}", "deleted", cli_json_text(cli->args[1])));
}

const struct command cmd_del = {
	.name = "del",
	.operands = "DIR TABLE KEY | DIR OBJECT | DIR table:TABLE | DIR leases:LEASES",
	.summary = "Delete a record, an object with its extents, a whole table or lease table",
	.min_args = 2,
	.max_args = 3,
	.run = run,
};
