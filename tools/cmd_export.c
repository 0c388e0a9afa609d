// SPDX-License-Identifier: LGPL-2.1-or-later
/* cmd_export.c - pinfold export: the records of a table as CSV, JSON lines or Debian control stanzas. */
#include "cli.h"
#include "config/units.h"
#include "export_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { KEY_FORMAT = 0x5000, KEY_KEY, KEY_OUTPUT };

static int format = -1;
static struct export_options wanted;

static const struct argp_option options[] = {
	{"format", KEY_FORMAT, "FORMAT", 0, "csv, jsonl or deb822 [by the name of the output; jsonl]", 0},
	{"key", KEY_KEY, "FIELD", 0, "Field of the values that is the key [the one that is in the first record]", 0},
	{"output", KEY_OUTPUT, "FILE", 0, "Write to FILE, which is there when it is whole [stdout]", 0},
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
	case KEY_OUTPUT:
		wanted.output = strcmp(arg, "-") ? arg : NULL;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int report(struct cli *cli, const struct export_result *result)
{
	char count[UNITS_TEXT_MAX], bytes[UNITS_TEXT_MAX], rate[UNITS_TEXT_MAX];

	if (cli->json)
		return cli_print_json(cli, json_pack("{s:s, s:o, s:s, s:o, s:o, s:o, s:o}", "table", wanted.table,
						     "file", cli_json_text(wanted.output), "format",
						     records_format_names[wanted.format], "records",
						     cli_json_u64(result->record_count), "bytes",
						     cli_json_u64(result->byte_count), "resumed_records",
						     cli_json_u64(result->resumed_records), "seconds",
						     cli_json_real(result->seconds)));
	printf("%s: %s records, %s, out of table %s in %.1f s (%s/s)\n", wanted.output,
	       units_count(result->record_count, count), units_size(result->byte_count, bytes), wanted.table,
	       result->seconds,
	       units_count((uint64_t)(result->seconds > 0 ? (double)(result->record_count - result->resumed_records) /
								    result->seconds :
							    0), rate));
	return cli_finish_stdout(cli, CLI_OK);
}

static int run(struct cli *cli)
{
	struct export_result result = {0};
	struct pinfold_table *table;
	struct pinfold *pf;
	int status, r;

	if (format < 0 && wanted.output)
		format = records_format_guess(wanted.output);
	wanted.format = format < 0 ? RECORDS_JSONL : (enum records_format)format;
	wanted.table = cli->args[1];
	if (cli->json && !wanted.output)
		cli_usage(cli, "--json: the records go to stdout: say --output FILE");
	signal(SIGPIPE, SIG_IGN);
	cli_catch_signals();
	status = cli_open_read(cli, &pf);
	if (status)
		return status;
	r = pinfold_table_open(pf, wanted.table, 0, &table);
	if (r == -ENOENT)
		status = cli_fail(cli, "no table '%s' ('pinfold ls %s' lists them)", wanted.table, cli->store);
	else if (r)
		status = cli_fail_call(cli, pf, r, wanted.table);
	else
		status = export_file(cli, pf, table, &wanted, &result);
	status = cli_close(cli, pf, status);
	return status || !wanted.output ? status : report(cli, &result);
}

const struct command cmd_export = {
	.name = "export",
	.operands = "DIR TABLE",
	.summary = "Write the records of a table: CSV, JSON lines, Debian control stanzas",
	.details =
		"What 'pinfold import' made of a file comes out as it was, in another order; any other record in an "
		"escaped form, so that an import gives the same bytes again. An export to a file that was stopped or "
		"killed goes on when the same command is given again; until it is whole, FILE.part has what there is.",
	.min_args = 2,
	.max_args = 2,
	.options = options,
	.option = option,
	.run = run,
};
