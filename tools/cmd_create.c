// SPDX-License-Identifier: LGPL-2.1-or-later
/* cmd_create.c - pinfold create: makes an empty store. */
#include "cli.h"
#include "config/units.h"
#include "settings.h"

#include <stdio.h>
#include <string.h>

enum { KEY_FILE_SIZE = 0x5000, KEY_EXTENT_SIZE, KEY_JOURNAL_SIZE, KEY_PREALLOCATE };

/* What the options say; 0 or false: nothing. */
static struct {
	uint64_t file_size, extent_size, journal_size;
	bool preallocate;
} asked;

static const struct argp_option options[] = {
	{"file-size", KEY_FILE_SIZE, "SIZE", 0, "Of each data file: 1G to 16T, a multiple of 1G [32G]", 0},
	{"extent-size", KEY_EXTENT_SIZE, "SIZE", 0, "Default extent: a power of two from 2M to 1G [64M]", 0},
	{"journal-size", KEY_JOURNAL_SIZE, "SIZE", 0, "Whole journal: 16M to 64G [256M]", 0},
	{"preallocate", KEY_PREALLOCATE, 0, 0, "Reserve whole data files on disk at once", 0},
	{0},
};

static int option(struct cli *cli, int key, const char *arg)
{
	switch (key) {
	case KEY_FILE_SIZE:
		asked.file_size = cli_size_arg(cli, "--file-size", arg, 1ull << 30, 1ull << 44);
		if (asked.file_size % (1ull << 30))
			cli_usage(cli, "--file-size: '%s' is not a multiple of 1 GiB", arg);
		return 0;
	case KEY_EXTENT_SIZE:
		asked.extent_size = cli_size_arg(cli, "--extent-size", arg, PINFOLD_EXTENT_MIN, PINFOLD_EXTENT_MAX);
		if (asked.extent_size & (asked.extent_size - 1))
			cli_usage(cli, "--extent-size: '%s' is not a power of two", arg);
		return 0;
	case KEY_JOURNAL_SIZE:
		asked.journal_size = cli_size_arg(cli, "--journal-size", arg, 16ull << 20, 64ull << 30);
		return 0;
	case KEY_PREALLOCATE:
		asked.preallocate = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int run(struct cli *cli)
{
	char uuid[CLI_UUID_MAX], file[UNITS_TEXT_MAX], extent[UNITS_TEXT_MAX], journal[UNITS_TEXT_MAX];
	struct pinfold_store_stats stats;
	struct pinfold_config config;
	struct pinfold *pf;
	int status, r;

	status = settings_open_config(cli, &config);
	if (status)
		return status;
	config.flags = PINFOLD_OPEN_CREATE | PINFOLD_OPEN_EXCLUSIVE | PINFOLD_OPEN_STORE_ONLY;
	config.prefault = false;
	if (asked.file_size)
		config.file_size = asked.file_size;
	if (asked.extent_size)
		config.extent_size = asked.extent_size;
	if (asked.journal_size)
		config.journal_size = asked.journal_size;
	if (asked.preallocate)
		config.preallocate_files = true;
	status = cli_open_write(cli, &config, &pf);
	if (status)
		return status;
	r = pinfold_store_stat(pf, &stats);
	if (r)
		status = cli_fail_call(cli, pf, r, "reading it back");
	status = cli_close(cli, pf, status);
	if (status)
		return status;
	cli_uuid(stats.uuid, uuid);
	if (cli->json)
		return cli_print_json(cli, json_pack("{s:o, s:s, s:o, s:o, s:o}", "store",
						     cli_json_text(cli->store), "uuid", uuid,
						     "file_size", cli_json_u64(stats.file_size), "extent_size",
						     cli_json_u64(stats.extent_size), "journal_size",
						     cli_json_u64(stats.journal_size)));
	printf("%s: new store %s: data files of %s, extents of %s, journal %s\n", cli->store, uuid,
	       units_size(stats.file_size, file), units_size(stats.extent_size, extent),
	       units_size(stats.journal_size, journal));
	return cli_finish_stdout(cli, CLI_OK);
}

const struct command cmd_create = {
	.name = "create",
	.operands = "DIR",
	.summary = "Make an empty store in directory DIR",
	.details =
		"The directory is made if it is not there. Sizes are powers of 1024: 64M, 64MB and 64MiB are the same.",
	.min_args = 1,
	.max_args = 1,
	.options = options,
	.option = option,
	.run = run,
};
