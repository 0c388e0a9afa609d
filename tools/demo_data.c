// SPDX-License-Identifier: LGPL-2.1-or-later
/* demo_data.c - fills the demo's store: the package index as records, a file tree packed into volumes. */
#include "demo.h"
#include "loader.h"
#include "progress.h"
#include "config/units.h"
#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define APT_LISTS "/var/lib/apt/lists/*_Packages"
#define DPKG_STATUS "/var/lib/dpkg/status"
#define VOLUME_SIZE (512ull << 20)
/* A tree this small would have to be loaded too often. */
#define COPIES_MAX 200
/* A slow disk gets less to load, unless --size asks for it. */
#define LOAD_SECONDS_MAX 50

void demo_say(const struct demo *demo, const char *format, ...)
{
	va_list ap;

	if (demo->cli->quiet)
		return;
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static int import_one(struct demo *demo, struct pinfold *pf, struct pinfold_table *table, const char *path)
{
	const char *base = strrchr(path, '/');

	demo_say(demo, "  %s", base ? base + 1 : path);
	demo->data.import_files++;
	return import_file(demo->cli, pf, table, &(struct import_options){.path = path, .format = RECORDS_DEB822},
			   &demo->data.import);
}

/* apt's lists; plain or compressed, as apt keeps them here. */
static int find_lists(glob_t *lists)
{
	static const char *const suffixes[] = {"", ".lz4", ".xz", ".gz", ".zst"};
	int flags = 0;

	memset(lists, 0, sizeof(*lists));
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++) {
		char pattern[64];

		snprintf(pattern, sizeof(pattern), APT_LISTS "%s", suffixes[i]);
		if (glob(pattern, flags, NULL, lists) == 0)
			flags = GLOB_APPEND;
	}
	return flags ? (int)lists->gl_pathc : 0;
}

static int import_packages(struct demo *demo, struct pinfold *pf)
{
	struct demo_options *options = &demo->options;
	struct pinfold_table_stats stats;
	struct pinfold_table *table;
	int r = pinfold_table_open(pf, DEMO_TABLE, PINFOLD_TABLE_CREATE, &table), status = CLI_OK, n;
	glob_t lists;

	if (r)
		return cli_fail_call(demo->cli, pf, r, DEMO_TABLE);
	demo_say(demo, "Importing the package index into table \"" DEMO_TABLE "\"");
	snprintf(demo->data.import_from, sizeof(demo->data.import_from), "the given package files");
	for (int i = 0; i < options->package_count && status == CLI_OK; i++)
		status = import_one(demo, pf, table, options->packages[i]);
	if (!options->package_count) {
		n = find_lists(&lists);
		snprintf(demo->data.import_from, sizeof(demo->data.import_from), "%s", n ? "apt's lists" : DPKG_STATUS);
		for (int i = 0; i < n && status == CLI_OK; i++)
			status = import_one(demo, pf, table, lists.gl_pathv[i]);
		globfree(&lists);
		if (!n) {
			demo_say(demo, "  apt has no lists here ('apt-get update' fetches them): the installed "
				       "packages instead");
			status = import_one(demo, pf, table, DPKG_STATUS);
		}
	}
	if (status == CLI_OK) {
		r = pinfold_table_stat(table, &stats);
		if (r)
			return cli_fail_call(demo->cli, pf, r, DEMO_TABLE);
		demo->data.table_bytes = stats.extent_bytes;
	}
	return status;
}

static int load_tree(struct demo *demo, struct pinfold *pf)
{
	char prefix[32] = "", size[UNITS_TEXT_MAX];
	struct progress progress;
	struct tree_load load = {
		.cli = demo->cli,
		.pf = pf,
		.root = demo->options.tree,
		.name = DEMO_VOLUMES,
		.extent_size = PINFOLD_EXTENT_DEFAULT,
		.volume_size = VOLUME_SIZE,
		.max_bytes = demo->options.size,
		.min_bytes = demo->options.memory / 10 * 32,
		.deadline_ns = demo->options.exact_size ? 0 : progress_now_ns() + LOAD_SECONDS_MAX * 1000000000ull,
		.files_table = DEMO_FILES_TABLE,
		.file_prefix = prefix,
		.progress = &progress,
	};
	struct demo_data *data = &demo->data;
	int status = CLI_OK;

	demo_say(demo, "Loading files below %s into objects, until there are %s", demo->options.tree,
		 units_size(demo->options.size, size));
	progress_start(&progress, demo->cli, "  loaded", PROGRESS_BYTES, demo->options.size);
	while (status == CLI_OK && !tree_load_enough(&load)) {
		uint64_t before = load.byte_count;

		if (data->copies)
			snprintf(prefix, sizeof(prefix), "copy-%d", data->copies + 1);
		status = tree_load_packed(&load);
		data->copies++;
		if (status == CLI_OK && load.byte_count == before)
			status = cli_fail(demo->cli, "%s: holds no readable file with content: --tree names another",
					  load.root);
		else if (status == CLI_OK && data->copies == COPIES_MAX && load.byte_count < load.max_bytes)
			status = cli_fail(demo->cli, "%s: too small: --tree names a larger one", load.root);
	}
	if (status == CLI_OK)
		progress_done(&progress);
	data->file_count = load.file_count;
	data->byte_count = load.byte_count;
	data->volume_count = load.volume_count;
	data->unreadable_count = load.unreadable_count;
	if (status == CLI_OK && load.byte_count < load.max_bytes)
		demo_say(demo, "  the disk is slow: after %d s that is enough, %.1f times the memory limit",
			 LOAD_SECONDS_MAX, (double)load.byte_count / (double)demo->options.memory);
	if (status == CLI_OK && data->copies > 1)
		demo_say(demo, "  %s alone is too small: it was loaded %d times, under a prefix each", load.root,
			 data->copies);
	if (status == CLI_OK && data->unreadable_count)
		demo_say(demo, "  %llu files could not be read and were left out, the first: %s",
			 (unsigned long long)data->unreadable_count, load.first_unreadable);
	return status;
}

int demo_data_load(struct demo *demo)
{
	uint64_t start_ns = progress_now_ns();
	struct pinfold_config config;
	struct pinfold *pf;
	int status = settings_open_config(demo->cli, &config);

	if (status)
		return status;
	config.flags = PINFOLD_OPEN_CREATE | PINFOLD_OPEN_EXCLUSIVE | PINFOLD_OPEN_STORE_ONLY;
	config.seal = false;
	status = cli_open_write(demo->cli, &config, &pf);
	if (status)
		return status;
	status = import_packages(demo, pf);
	if (status == CLI_OK)
		status = load_tree(demo, pf);
	if (status == CLI_OK)
		status = demo_work_prepare(demo, pf);
	status = cli_close(demo->cli, pf, status);
	demo->data.load_seconds = (double)(progress_now_ns() - start_ns) / 1e9;
	return status;
}

static int drop_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	int fd = type == FTW_F && S_ISREG(st->st_mode) ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;

	if (fd >= 0) {
		/* Only clean pages can be dropped. */
		fdatasync(fd);
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		close(fd);
	}
	return 0;
}

void demo_drop_cache(const struct demo *demo)
{
	nftw(demo->dir, drop_one, 16, FTW_PHYS | FTW_MOUNT);
}
