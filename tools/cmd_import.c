// SPDX-License-Identifier: LGPL-2.1-or-later
/* cmd_import.c - pinfold import: records out of CSV, JSON lines or Debian control files. */
#include "cli.h"
#include "importer.h"
#include "config/units.h"

#include <stdio.h>
#include <string.h>

enum { KEY_FORMAT = 0x5000, KEY_KEY, KEY_BATCH };

static int format = -1;
static const char *key_field;
static size_t batch = IMPORTER_BATCH_DEFAULT;

static const struct argp_option options[] = {
	{"format", KEY_FORMAT, "FORMAT", 0, "csv, jsonl or deb822 [by the name of FILE]", 0},
	{"key", KEY_KEY, "FIELD", 0, "Field that is the key [deb822: Package; jsonl: key; csv: the first]", 0},
	{"batch", KEY_BATCH, "N", 0, "Records per transaction, 1 to 65536 [1000]", 0},
	{0},
};

static int option(struct cli *cli, int key, const char *arg)
{
	switch (key) {
	case KEY_FORMAT:
		format = cli_choice_arg(cli, "--format", arg, records_format_names);
		return 0;
	case KEY_KEY:
		key_field = arg;
		return 0;
	case KEY_BATCH:
		batch = cli_count_arg(cli, "--batch", arg, 1, 65536);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* By the name: x.csv, x.jsonl.gz, Packages, Sources.xz, status. */
static int guess_format(const char *path)
{
	const char *base = strrchr(path, '/');

	base = base ? base + 1 : path;
	if (strstr(base, ".csv"))
		return RECORDS_CSV;
	if (strstr(base, ".jsonl") || strstr(base, ".ndjson"))
		return RECORDS_JSONL;
	if (strstr(base, "Packages") || strstr(base, "Sources") || !strcmp(base, "status") || strstr(base, ".deb822"))
		return RECORDS_DEB822;
	return -1;
}

static int run(struct cli *cli)
{
	char count[UNITS_TEXT_MAX], bytes[UNITS_TEXT_MAX], rate[UNITS_TEXT_MAX];
	struct import_result result = {0};
	struct pinfold_table *table;
	struct pinfold *pf;
	int status, r;

	if (format < 0)
		format = guess_format(cli->args[2]);
	if (format < 0)
		cli_usage(cli, "the name '%s' does not tell the format: say --format csv, jsonl or deb822",
			  cli->args[2]);
	cli_catch_signals();
	status = cli_open_write(cli, NULL, &pf);
	if (status)
		return status;
	r = pinfold_table_open(pf, cli->args[1], PINFOLD_TABLE_CREATE, &table);
	if (r)
		status = cli_fail_call(cli, pf, r, cli->args[1]);
	else
		status = import_file(cli, pf, table, cli->args[2], (enum records_format)format, key_field, batch,
				     &result);
	status = cli_close(cli, pf, status);
	if (status)
		return status;
	if (result.too_large)
		cli_note(cli, "%llu records left out: a key has at most %d bytes, a value %d",
			 (unsigned long long)result.too_large, PINFOLD_KEY_MAX, PINFOLD_VALUE_MAX);
	if (cli->json)
		return cli_print_json(cli, json_pack("{s:s, s:o, s:o, s:o, s:o}", "table", cli->args[1], "records",
						     cli_json_u64(result.record_count), "bytes",
						     cli_json_u64(result.byte_count), "left_out",
						     cli_json_u64(result.too_large), "seconds",
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
		   "deb822 stanza as they are. Each batch is one transaction.",
	.min_args = 3,
	.max_args = 3,
	.options = options,
	.option = option,
	.run = run,
};
