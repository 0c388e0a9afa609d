// SPDX-License-Identifier: LGPL-2.1-or-later
/* cmd_import.c - pinfold import: records out of CSV, JSON lines or Debian control files. */
#include "cli.h"
#include "import_file.h"
#include "config/units.h"

#include <errno.h>
#include <stdio.h>

enum { KEY_FORMAT = 0x5000, KEY_KEY, KEY_RESTART };

static int format = -1;
static struct import_options wanted;

static const struct argp_option options[] = {
	{"format", KEY_FORMAT, "FORMAT", 0, "csv, jsonl or deb822 [by the name of FILE]", 0},
	{"key", KEY_KEY, "FIELD", 0, "Field that is the key [deb822: Package; jsonl: key; csv: the first]", 0},
	{"restart", KEY_RESTART, 0, 0, "Forget what an unfinished import into TABLE left, and begin again", 0},
	{0},
};

static int option(struct cli *cli, int key, const char *arg)
{
	switch (key) {
	case KEY_FORMAT:
		format = cli_choice_arg(cli, "--format", arg, records_format_names);
		return 0;
	case KEY_KEY:
		wanted.key_field = arg;
		return 0;
	case KEY_RESTART:
		wanted.restart = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* A table that this made and brought nothing into is gone again. */
static int import(struct cli *cli, struct pinfold *pf, struct import_result *result)
{
	const char *name = cli->args[1];
	struct pinfold_table *table;
	int status, r = pinfold_table_open(pf, name, 0, &table);
	bool made = r == -ENOENT;

	if (made)
		r = pinfold_table_open(pf, name, PINFOLD_TABLE_CREATE, &table);
	if (r)
		return cli_fail_call(cli, pf, r, name);
	status = import_file(cli, pf, table, &wanted, result);
	if (!status || !made || result->record_count)
		return status;
	pinfold_table_close(table);
	r = pinfold_table_drop(pf, name);
	return r ? cli_fail_call(cli, pf, r, name) : status;
}

static int run(struct cli *cli)
{
	char count[UNITS_TEXT_MAX], bytes[UNITS_TEXT_MAX], rate[UNITS_TEXT_MAX];
	struct import_result result = {0};
	struct pinfold *pf;
	int status;

	if (format < 0)
		format = records_format_guess(cli->args[2]);
	if (format < 0)
		cli_usage(cli, "the name '%s' does not tell the format: say --format csv, jsonl or deb822",
			  cli->args[2]);
	wanted.path = cli->args[2];
	wanted.format = (enum records_format)format;
	cli_catch_signals();
	status = cli_open_write(cli, NULL, &pf);
	if (status)
		return status;
	status = cli_close(cli, pf, import(cli, pf, &result));
	if (status)
		return status;
	if (result.left_out)
		cli_note(cli, "%llu records left out: a key has at most %d bytes, a value %d",
			 (unsigned long long)result.left_out, PINFOLD_KEY_MAX, PINFOLD_VALUE_MAX);
	if (cli->json)
		return cli_print_json(cli, json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "table", cli->args[1], "records",
						     cli_json_u64(result.record_count), "bytes",
						     cli_json_u64(result.byte_count), "left_out",
						     cli_json_u64(result.left_out), "resumed_line",
						     cli_json_u64(result.resumed_line), "seconds",
						     cli_json_real(result.seconds)));
	printf("%s: %s records, %s, into table %s in %.1f s (%s/s)\n", cli->args[2],
	       units_count(result.record_count, count), units_size(result.byte_count, bytes), cli->args[1],
	       result.seconds,
	       units_count((uint64_t)(result.seconds > 0 ? (double)result.record_count / result.seconds : 0), rate));
	return cli_finish_stdout(cli, CLI_OK);
}

const struct command cmd_import = {
	.name = "import",
	.operands = "DIR TABLE FILE|-",
	.summary = "Read records into a table: CSV, JSON lines, Debian control files",
	.details = "FILE may be compressed (.xz, .gz, .lz4, .zst, .bz2): the tool of that name reads it. The table is "
		   "made if it is "
		   "not there; a record with a key that is there replaces it. A csv row is kept as a JSON object, a "
		   "jsonl line and a "
		   "deb822 stanza as they are; what 'pinfold export' escaped comes back as it was. An import that "
		   "was stopped or "
		   "killed goes on when the same command is given again. One into an empty table is seen when it is "
		   "whole.",
	.min_args = 3,
	.max_args = 3,
	.options = options,
	.option = option,
	.run = run,
};
