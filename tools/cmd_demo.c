// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * cmd_demo.c - pinfold demo: adaptive pinning shown on this machine's own data.
 *
 * Made in order, undone in reverse: directory, store with data, memory
 * limit, phase without pinning, phase with it, report.
 */
#include "cli.h"
#include "demo.h"
#include "output_file.h"
#include "config/units.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { KEY_DIR = 0x5000, KEY_MEMORY, KEY_SECONDS, KEY_PACKAGES, KEY_TREE, KEY_SIZE, KEY_RATE, KEY_HEATMAP };

static struct demo_options settings = {
	.memory = 512ull << 20,
	.seconds = 15,
	.rate = 15000,
	.tree = "/usr",
};

static const struct argp_option options[] = {
	{ "dir", KEY_DIR, "DIR", 0,
	  "Make the store in DIR and keep it [a directory in TMPDIR or /var/tmp, removed at the end]", 0 },
	{ "memory", KEY_MEMORY, "SIZE", 0, "Memory limit for the workload [512M]", 0 },
	{ "seconds", KEY_SECONDS, "TIME", 0, "Of each of the two phases, 2s to 600s [15s]", 0 },
	{ "packages", KEY_PACKAGES, "FILE", 0, "A package index to import; may be given more than once [apt's lists]",
	  0 },
	{ "tree", KEY_TREE, "DIR", 0, "Whose files are loaded [/usr]", 0 },
	{ "size", KEY_SIZE, "SIZE", 0, "How much of them [5.2 x the memory limit]", 0 },
	{ "rate", KEY_RATE, "N", 0, "Hot operations per second [15000]", 0 },
	{ "heatmap", KEY_HEATMAP, "FILE", 0, "Write the fault heatmap to FILE: .png or .svg", 0 },
	{ 0 },
};

static int option(struct cli *cli, int key, const char *arg)
{
	uint64_t ms;

	switch (key) {
	case KEY_DIR:
		settings.dir = arg;
		return 0;
	case KEY_MEMORY:
		settings.memory = cli_size_arg(cli, "--memory", arg, 64ull << 20, 1ull << 40);
		return 0;
	case KEY_SECONDS:
		ms = cli_duration_arg(cli, "--seconds", arg);
		if (ms < 2000 || ms > DEMO_SECONDS_MAX * 1000ull)
			cli_usage(cli, "--seconds: '%s' is out of range: 2s to %ds", arg, DEMO_SECONDS_MAX);
		settings.seconds = (uint32_t)(ms / 1000);
		return 0;
	case KEY_PACKAGES:
		if (settings.package_count == DEMO_PACKAGES_MAX)
			cli_usage(cli, "--packages: at most %d files", DEMO_PACKAGES_MAX);
		settings.packages[settings.package_count++] = arg;
		return 0;
	case KEY_TREE:
		settings.tree = arg;
		return 0;
	case KEY_SIZE:
		settings.size = cli_size_arg(cli, "--size", arg, 16ull << 20, 1ull << 43);
		settings.exact_size = true;
		return 0;
	case KEY_RATE:
		settings.rate = (uint32_t)cli_count_arg(cli, "--rate", arg, 1000, 1000000);
		return 0;
	case KEY_HEATMAP:
		settings.heatmap = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* What is named wrongly is said now, and not after a minute; nothing has been made yet. */
static int check_names(const struct cli *cli)
{
	enum heatmap_format format;
	int r;

	if (settings.heatmap) {
		format = heatmap_format_of(settings.heatmap);
		if (format != HEATMAP_PNG && format != HEATMAP_SVG)
			cli_usage(cli, "--heatmap: '%s' does not end in .png or .svg", settings.heatmap);
		r = output_file_check(settings.heatmap);
		if (r)
			return cli_fail(cli, "--heatmap: %s: %s", settings.heatmap, strerror(r));
	}
	for (int i = 0; i < settings.package_count; i++)
		if (access(settings.packages[i], R_OK))
			return cli_fail(cli, "--packages: %s: %s", settings.packages[i], strerror(errno));
	if (access(settings.tree, R_OK))
		return cli_fail(cli, "--tree: %s: %s", settings.tree, strerror(errno));
	return CLI_OK;
}

static int make_dir(struct demo *demo)
{
	const char *tmp = getenv("TMPDIR");
	size_t n;

	if (demo->options.dir)
		n = (size_t)snprintf(demo->dir, sizeof(demo->dir), "%s", demo->options.dir);
	else
		n = (size_t)snprintf(demo->dir, sizeof(demo->dir), "%s/pinfold-demo.XXXXXX",
				     tmp && *tmp ? tmp : "/var/tmp");
	if (n >= sizeof(demo->dir))
		return cli_fail(demo->cli, "the directory's name is longer than %zu bytes", sizeof(demo->dir) - 1);
	if (!demo->options.dir && !mkdtemp(demo->dir))
		return cli_fail(demo->cli, "%s: %s", demo->dir, strerror(errno));
	demo->cli->store = demo->dir;
	return CLI_OK;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	remove(path);
	return 0;
}

/* Only ever a directory that mkdtemp() made for this run; symbolic links are not followed. */
static void remove_dir(struct demo *demo)
{
	nftw(demo->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	if (!access(demo->dir, F_OK))
		cli_note(demo->cli, "%s could not be removed", demo->dir);
}

/* Journal and tables need room beside the data. */
static int check_room(struct demo *demo)
{
	uint64_t needed = demo->options.size + (1ull << 30);
	char need[UNITS_TEXT_MAX], have[UNITS_TEXT_MAX];
	struct statvfs fs;

	/* A directory that is not there yet is made by the store; its parent will do. */
	if (statvfs(demo->dir, &fs))
		return CLI_OK;
	if ((uint64_t)fs.f_bavail * fs.f_frsize >= needed)
		return CLI_OK;
	return cli_fail(
		demo->cli,
		"the demo needs %s of disk space and %s are free: --dir names another place, --memory or --size "
		"makes it smaller",
		units_size(needed, need), units_size((uint64_t)fs.f_bavail * fs.f_frsize, have));
}

static void enter_limit(struct demo *demo)
{
	char limit[UNITS_TEXT_MAX];
	int r = cgroup_enter(demo->options.memory, &demo->cgroup, demo->no_limit_reason, sizeof(demo->no_limit_reason));

	demo->limited = r == 0;
	if (r)
		demo_say(
			demo,
			"No memory limit could be set (%s): going on without one, so that everything may fit in memory",
			demo->no_limit_reason);
	else
		demo_say(demo, "Memory limit for the workload: %s (cgroup v%d, %s)",
			 units_size(demo->options.memory, limit), demo->cgroup.version, demo->cgroup.path);
}

static int run_phases(struct demo *demo)
{
	char hot[UNITS_TEXT_MAX];
	int status;

	demo_say(demo, "Hot reads of %s in %zu random runs of 2 MiB, beside a scan of everything",
		 units_size(demo->hot_bytes, hot), demo->hot_count);
	demo_say(demo, "Without adaptive pinning, %u s:", demo->options.seconds);
	status = demo_phase_run(demo, &demo->phases[0], false);
	if (status)
		return status;
	demo_say(demo, "With adaptive pinning, %u s:", demo->options.seconds);
	return demo_phase_run(demo, &demo->phases[1], true);
}

static int run(struct cli *cli)
{
	int status = check_names(cli);
	struct demo *demo;

	if (status)
		return status;
	demo = calloc(1, sizeof(*demo));
	if (!demo)
		return cli_fail(cli, "out of memory");
	demo->cli = cli;
	demo->options = settings;
	if (!demo->options.size)
		demo->options.size = settings.memory / 10 * 52;
	cli_catch_signals();
	status = make_dir(demo);
	if (status)
		goto out_free;
	status = check_room(demo);
	if (status == CLI_OK)
		status = demo_data_load(demo);
	if (status == CLI_OK) {
		/* Outside of the limit until here: what loading left in memory is not what is measured. */
		demo_drop_cache(demo);
		enter_limit(demo);
		status = run_phases(demo);
		if (status == CLI_OK)
			status = demo_report(demo);
		cgroup_leave(&demo->cgroup);
	}
	demo_work_done(demo);
	if (!demo->options.dir)
		remove_dir(demo);
	else if (status == CLI_OK)
		demo_say(demo, "The store stays in %s: 'pinfold stat %s' looks at it", demo->dir, demo->dir);
out_free:
	free(demo);
	return status;
}

const struct command cmd_demo = {
	.name = "demo",
	.operands = "",
	.summary = "Show adaptive pinning on this machine's own data, in about a minute",
	.details = "Imports the package index as records, loads files as objects, then times hot point reads beside a "
		   "scan of data larger "
		   "than the memory limit that it puts itself under (a cgroup, removed at the end): first without, "
		   "then with adaptive "
		   "pinning. The result goes to stdout, progress to stderr.",
	.min_args = 0,
	.max_args = 0,
	.no_store = true,
	.options = options,
	.option = option,
	.run = run,
};
