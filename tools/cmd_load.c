// SPDX-License-Identifier: LGPL-2.1-or-later
/* cmd_load.c - pinfold load: a file, a tree, or made-up bytes as objects. */
#include "cli.h"
#include "loader.h"
#include "names.h"
#include "config/units.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VOLUME_SIZE_DEFAULT (512ull << 20)

enum { KEY_REPLACE = 0x5000, KEY_FILL, KEY_PACK, KEY_EXTENT_SIZE };

static bool replace;
static uint64_t fill_size, extent_size = PINFOLD_EXTENT_DEFAULT;
static const char *files_table;

static const struct argp_option options[] = {
	{"replace", KEY_REPLACE, 0, 0, "Replace an object that is there", 0},
	{"fill", KEY_FILL, "SIZE", 0, "No file: SIZE bytes of reproducible noise", 0},
	{"pack", KEY_PACK, "TABLE", 0, "A tree: many files per object, with TABLE saying where each is", 0},
	{"extent-size", KEY_EXTENT_SIZE, "SIZE", 0, "Of the object's extents [64M]", 0},
	{0},
};

static int option(struct cli *cli, int key, const char *arg)
{
	switch (key) {
	case KEY_REPLACE:
		replace = true;
		return 0;
	case KEY_FILL:
		fill_size = cli_size_arg(cli, "--fill", arg, 1, PINFOLD_OBJECT_EXTENTS_MAX * PINFOLD_EXTENT_MAX);
		return 0;
	case KEY_PACK:
		files_table = arg;
		return 0;
	case KEY_EXTENT_SIZE:
		extent_size = cli_size_arg(cli, "--extent-size", arg, PINFOLD_EXTENT_MIN, PINFOLD_EXTENT_MAX);
		if (extent_size & (extent_size - 1))
			cli_usage(cli, "--extent-size: '%s' is not a power of two", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static struct name name; /* of the object, or of the tree */

struct loaded {
	uint64_t objects, bytes, unreadable;
	double seconds;
};

static int finish_object(struct cli *cli, struct pinfold *pf, struct object_writer *writer, const char *what)
{
	int r = object_writer_finish(writer, &name.object, replace);

	if (r == -EEXIST)
		return cli_fail(cli, "%s: it is there already: --replace replaces it", cli->args[1]);
	return r ? cli_fail_call(cli, pf, r, what) : CLI_OK;
}

/* Says so before the work, not after it. */
static int check_absent(struct cli *cli, struct pinfold *pf)
{
	struct pinfold_object object = {0};

	if (replace || pinfold_object_lookup(pf, &name.object, &object))
		return CLI_OK;
	pinfold_object_done(&object);
	return cli_fail(cli, "%s: it is there already: --replace replaces it", cli->args[1]);
}

static int load_fd(struct cli *cli, struct pinfold *pf, int fd, uint64_t expected, struct progress *progress,
		   struct loaded *loaded)
{
	struct object_writer writer;
	int status, r, read_errno = 0;

	if (object_writer_init(&writer, pf, extent_size, 0))
		return cli_fail(cli, "out of memory");
	writer.expected = progress->total = expected;
	writer.progress = progress;
	r = object_writer_add_fd(&writer, fd, &loaded->bytes, &read_errno);
	if (read_errno && cli_stopped)
		status = cli_fail(cli, "stopped: nothing was added");
	else if (read_errno)
		status = cli_fail(cli, "%s: %s", cli->args[2], strerror(read_errno));
	else if (r)
		status = cli_fail_call(cli, pf, r, cli->args[2]);
	else
		status = finish_object(cli, pf, &writer, cli->args[2]);
	loaded->objects = 1;
	object_writer_done(&writer);
	return status;
}

/* xorshift64*: the same bytes every time. */
static int load_fill(struct cli *cli, struct pinfold *pf, struct progress *progress, struct loaded *loaded)
{
	uint64_t block[8192], state = 0x9e3779b97f4a7c15ull;
	struct object_writer writer;
	int r = 0, status;

	if (object_writer_init(&writer, pf, extent_size, 0))
		return cli_fail(cli, "out of memory");
	writer.expected = fill_size;
	while (!r && loaded->bytes < fill_size && !cli_stopped) {
		size_t n = sizeof(block);

		for (size_t i = 0; i < sizeof(block) / sizeof(*block); i++) {
			state ^= state >> 12;
			state ^= state << 25;
			state ^= state >> 27;
			block[i] = state * 0x2545f4914f6cdd1dull;
		}
		if (n > fill_size - loaded->bytes)
			n = fill_size - loaded->bytes;
		r = object_writer_add(&writer, block, n);
		loaded->bytes += n;
		progress_update(progress, loaded->bytes);
	}
	if (cli_stopped)
		status = cli_fail(cli, "stopped: nothing was added");
	else
		status = r ? cli_fail_call(cli, pf, r, cli->args[1]) : finish_object(cli, pf, &writer, cli->args[1]);
	loaded->objects = 1;
	object_writer_done(&writer);
	return status;
}

static int load_tree(struct cli *cli, struct pinfold *pf, struct progress *progress, struct loaded *loaded)
{
	struct tree_load load = {
		.cli = cli,
		.pf = pf,
		.root = cli->args[2],
		.name = name.blob,
		.extent_size = extent_size,
		.volume_size = VOLUME_SIZE_DEFAULT,
		.files_table = files_table,
		.file_prefix = "",
		.replace = replace,
		.progress = progress,
	};
	int status = files_table ? tree_load_packed(&load) : tree_load_each(&load);

	loaded->objects = files_table ? load.volume_count : load.file_count;
	loaded->bytes = load.byte_count;
	loaded->unreadable = load.unreadable_count;
	if (load.unreadable_count)
		cli_note(cli, "%llu files could not be read and were left out, the first: %s",
			 (unsigned long long)load.unreadable_count, load.first_unreadable);
	if (status == CLI_OK && files_table)
		cli_note(cli, "%llu files in %llu objects; table %s says where each is",
			 (unsigned long long)load.file_count, (unsigned long long)load.volume_count, files_table);
	return status;
}

static int load(struct cli *cli, struct pinfold *pf, struct progress *progress, struct loaded *loaded)
{
	int fd = STDIN_FILENO, status;
	struct stat st = {0};

	if (fill_size) {
		status = check_absent(cli, pf);
		return status ? status : load_fill(cli, pf, progress, loaded);
	}
	if (strcmp(cli->args[2], "-")) {
		fd = open(cli->args[2], O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return cli_fail(cli, "%s: %s", cli->args[2], strerror(errno));
		if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
			close(fd);
			if (name.object.kind != PINFOLD_OBJECT_BLOB)
				return cli_fail(
					cli,
					"%s: is a directory, whose files become blobs: NAME or blob:NAME, not '%s'",
					cli->args[2], cli->args[1]);
			return load_tree(cli, pf, progress, loaded);
		}
	}
	status = check_absent(cli, pf);
	if (status == CLI_OK)
		status = load_fd(cli, pf, fd, S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0, progress, loaded);
	if (fd != STDIN_FILENO)
		close(fd);
	return status;
}

static int run(struct cli *cli)
{
	struct progress progress;
	struct loaded loaded = {0};
	struct pinfold *pf;
	int status;

	if (!fill_size == (cli->arg_count == 2))
		cli_usage(cli, "%s",
			  fill_size ? "--fill: there is no file to give then"
				    : "an operand is missing: FILE, DIRECTORY or -");
	name_object_arg(cli, cli->args[1], &name);
	cli_catch_signals();
	status = cli_open_write(cli, NULL, &pf);
	if (status)
		return status;
	progress_start(&progress, cli, "loaded", PROGRESS_BYTES, fill_size);
	status = load(cli, pf, &progress, &loaded);
	progress.done = loaded.bytes;
	loaded.seconds = (double)(progress_now_ns() - progress.start_ns) / 1e9;
	status = cli_close(cli, pf, status);
	if (status)
		return status;
	progress_done(&progress);
	if (cli->json)
		return cli_print_json(cli, json_pack("{s:o, s:o, s:o, s:o, s:o}", "name",
						     cli_json_text(cli->args[1]), "objects",
						     cli_json_u64(loaded.objects), "bytes", cli_json_u64(loaded.bytes),
						     "unreadable", cli_json_u64(loaded.unreadable), "seconds",
						     cli_json_real(loaded.seconds)));
	return CLI_OK;
}

const struct command cmd_load = {
	.name = "load",
	.operands = "DIR NAME FILE|DIRECTORY|- | DIR NAME --fill=SIZE",
	.summary = "Bulk-load a file, or each file of a tree, as objects",
	.details = "A file becomes object NAME. Of a directory each regular file becomes blob NAME/path; as an object "
		   "has at least "
		   "one extent of 2 MiB, --pack puts many small files into objects NAME/0000, NAME/0001... and records "
		   "path -> {\"object\", \"offset\", \"size\"} in TABLE. Nothing is seen of an object until it is "
		   "whole and durable.",
	.min_args = 2,
	.max_args = 3,
	.options = options,
	.option = option,
	.run = run,
};
