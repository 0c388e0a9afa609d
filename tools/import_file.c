// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * import_file.c - a text file into a table; goes on where it was interrupted.
 *
 * The library keeps a mark with the records: how far the input was read, and a hash of all its bytes up to there. An
 * import that goes on reads them again, and does so only if the hash is the same. Bytes are those behind the
 * decompressor.
 */
#include "import_file.h"
#include "progress.h"
#include "subprocess.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Records between two marks. */
#define MARK_EVERY 256
/* Lines between two looks at the clock and at signals, while they are only read. */
#define SKIP_LINES 4096u
#define SOURCE_MAX 255
/* Not an exit status: again, from the start. */
#define AGAIN (-1)

struct importing {
	struct cli *cli;
	struct pinfold *pf;
	struct pinfold_table *table;
	const struct import_options *options;
	struct input input;
	struct records records;
	struct pinfold_import *import;
	struct pinfold_import_mark mark; /* of the last record taken */
	struct pinfold_import_mark before; /* of the one before it */
	bool added;                        /* a record is in */
	uint64_t marked;                 /* records, when the library was told last */
	struct progress progress;
	uint64_t resumed_line;
};

static uint64_t fnv(uint64_t hash, const char *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		hash = (hash ^ (unsigned char)data[i]) * 0x100000001b3ull;
	return hash;
}

/* The name by which the table knows the input again. */
static void source_name(const struct import_options *options, char ret_source[SOURCE_MAX + 1])
{
	const char *key = options->key_field ? options->key_field : "";
	char *real = strcmp(options->path, "-") ? realpath(options->path, NULL) : NULL;
	const char *path = real ? real : options->path;
	const char *format = records_format_names[options->format];

	if (snprintf(ret_source, SOURCE_MAX + 1, "%s %s %s", format, key, path) > SOURCE_MAX) {
		uint64_t hash = fnv(fnv(1, key, strlen(key)), path, strlen(path));

		snprintf(ret_source, SOURCE_MAX + 1, "%s %016llx", format, (unsigned long long)hash);
	}
	free(real);
}

/* ---- begin ---- */

/* Whether what there is of the input ends here because its decompressor failed: says so. */
static bool tool_failed(struct importing *run)
{
	char error[256];

	if (!run->input.pid || getc(run->input.stream) != EOF ||
	    !input_close(&run->input, true, error, sizeof(error)))
		return false;
	cli_fail(run->cli, "%s: %s", run->options->path, error);
	return true;
}

/* Reads again what was read before the mark. 1; 0: it is not the same; -EIO; -EINTR. */
static int input_skip(struct importing *run)
{
	const struct pinfold_import_mark *mark = &run->mark;
	struct records *records = &run->records;
	struct progress progress;
	int r = 1;

	progress_start(&progress, run->cli, "compare with what was read", PROGRESS_BYTES, mark->offset);
	while (r == 1 && records->line_number < mark->line) {
		uint64_t left = mark->line - records->line_number;

		r = records_skip(records, left < SKIP_LINES ? left : SKIP_LINES);
		progress_update(&progress, records->offset);
		if (cli_stopped)
			return -EINTR;
	}
	if (r == -EIO)
		return r;
	return r == 1 && records->line_number == mark->line && records->offset == mark->offset &&
	       records->hash == mark->check;
}

static int go_on(struct importing *run)
{
	const struct pinfold_import_mark *mark = &run->mark;
	const char *path = run->options->path;
	int r = input_skip(run);

	if (r == -EINTR)
		return cli_fail(run->cli, "%s: stopped: the same command goes on at line %llu", path,
				(unsigned long long)mark->line + 1);
	if (r == -EIO)
		return cli_fail(run->cli, "%s:%s", path, run->records.error);
	if (r == 0)
		return cli_fail(
			run->cli,
			"%s: is not what the unfinished import had read up to line %llu: --restart begins again", path,
			(unsigned long long)mark->line);
	run->resumed_line = mark->line + 1;
	cli_note(run->cli, "%s: goes on at line %llu: %llu records are there", path,
		 (unsigned long long)run->resumed_line, (unsigned long long)mark->records);
	return CLI_OK;
}

static int begin(struct importing *run, bool restart)
{
	struct pinfold_table_stats stats = {0};
	char source[SOURCE_MAX + 1];
	int r;

	if (records_open(&run->records, run->input.stream, run->options->format, run->options->key_field))
		return tool_failed(run) ? CLI_FAILURE : cli_fail(run->cli, "%s:%s", run->options->path,
				run->records.error[0] ? run->records.error : " out of memory");
	source_name(run->options, source);
	(void)pinfold_table_stat(run->table, &stats);
	r = pinfold_import_begin(run->table, source, PINFOLD_IMPORT_BULK | (restart ? PINFOLD_IMPORT_RESTART : 0),
				 &run->import, &run->mark);
	if (r == -EBUSY)
		return cli_fail(run->cli, "%s: %s (--restart forgets it)", run->options->path,
				pinfold_errmsg(run->pf));
	if (r)
		return cli_fail_call(run->cli, run->pf, r, run->options->path);
	run->marked = run->mark.records;
	if (run->mark.offset)
		return go_on(run);
	if (stats.import_unfinished && !restart)
		cli_note(run->cli, "%s: begins again: of the unfinished import nothing had got to the disk",
			 run->options->path);
	return CLI_OK;
}

/* ---- records ---- */

/* The library failed with @r. How far the last group got that is on the disk only the next run learns. */
static int fail_write(struct importing *run, int r)
{
	cli_fail_call(run->cli, run->pf, r, "writing records");
	if (r == -ENOSPC)
		cli_note(run->cli, "the records that had got to the disk are kept: with more room there, the same "
				   "command goes on behind them");
	return CLI_FAILURE;
}

static int mark_set(struct importing *run)
{
	int r;

	if (!run->mark.offset)
		return 0;
	r = pinfold_import_mark(run->import, &run->mark);
	run->marked = run->mark.records;
	progress_update(&run->progress, run->progress.unit == PROGRESS_BYTES ? run->mark.offset : run->mark.records);
	return r;
}

static int take(struct importing *run)
{
	struct records *records = &run->records;
	struct pinfold_import_mark *mark = &run->mark;
	const struct pinfold_record record = {records->key.data, records->key.size,
					      records->value.size ? records->value.data : "", records->value.size};
	const struct records_place place = {records->record_line, 1};
	int r = 0;

	if (!record.key_size)
		return records_fail_at(records, &place, "the key is empty: it must have 1 to %d bytes",
				       PINFOLD_KEY_MAX);
	run->before = *mark;
	if (record.key_size > PINFOLD_KEY_MAX || record.value_size > PINFOLD_VALUE_MAX) {
		mark->left_out++;
	} else {
		r = pinfold_import_add(run->import, &record, 1);
		run->added = true;
		mark->records++;
		mark->bytes += record.key_size + record.value_size;
	}
	mark->offset = records->offset;
	mark->line = records->line_number;
	mark->check = records->hash;
	if (!r && mark->records - run->marked >= MARK_EVERY)
		r = mark_set(run);
	/* errors of the input are the other kind */
	return r ? fail_write(run, r), -ECANCELED : 0;
}

/* What is wrong with the input has been said. */
static int keep(struct importing *run)
{
	(void)mark_set(run);
	if (!run->mark.records)
		return CLI_FAILURE;
	cli_note(
		run->cli,
		"the %llu records before it are kept: when the input is mended there, the same command goes on at line "
		"%llu; --restart begins again",
		(unsigned long long)run->mark.records, (unsigned long long)run->mark.line + 1);
	return CLI_FAILURE;
}

static int fail_input(struct importing *run)
{
	if (!tool_failed(run))
		cli_fail(run->cli, "%s:%s", run->options->path, run->records.error);
	return keep(run);
}

static int stopped(struct importing *run)
{
	(void)mark_set(run);
	return cli_fail(run->cli, "%s: stopped at line %llu: the same command goes on there", run->options->path,
			(unsigned long long)run->mark.line + 1);
}

static int records_take(struct importing *run)
{
	int r;

	while ((r = records_next(&run->records)) == 1) {
		r = take(run);
		if (r)
			break;
		if (cli_stopped)
			return stopped(run);
	}
	if (r == -ECANCELED)
		return CLI_FAILURE;
	if (r < 0 && cli_stopped) /* the signal ended the read of the next record */
		return stopped(run);
	return r < 0 ? fail_input(run) : CLI_OK;
}

/* All has been read: but was that all there is? */
static int end(struct importing *run)
{
	char error[256] = "";
	int r;

	if (input_close(&run->input, true, error, sizeof(error))) {
		run->mark = run->before; /* the last record may have been cut short */
		cli_fail(run->cli, "%s: %s", run->options->path, error);
		return keep(run);
	}
	r = mark_set(run);
	if (r)
		return fail_write(run, r);
	r = pinfold_import_end(run->import);
	run->import = NULL;
	if (r == -ESTALE && strcmp(run->options->path, "-") != 0) {
		cli_note(run->cli, "%s: again from the start: %s", run->options->path, pinfold_errmsg(run->pf));
		return AGAIN;
	}
	if (r == -ESTALE)
		return cli_fail(run->cli, "%s: %s: give all of the input once more, with --restart",
				run->options->path, pinfold_errmsg(run->pf));
	return r ? fail_write(run, r) : CLI_OK;
}

static int import_once(struct importing *run, bool restart)
{
	char error[256] = "";
	int status;

	if (input_open(run->options->path, &run->input, error, sizeof(error)))
		return cli_fail(run->cli, "%s", error);
	status = begin(run, restart);
	progress_start(&run->progress, run->cli, "import", run->input.file_size ? PROGRESS_BYTES : PROGRESS_ITEMS,
		       run->input.file_size);
	progress_from(&run->progress, run->input.file_size ? run->mark.offset : run->mark.records);
	if (status == CLI_OK)
		status = records_take(run);
	if (status == CLI_OK)
		status = end(run);
	if (status == CLI_OK)
		progress_done(&run->progress);
	if (run->import && run->mark.records == 0 && !run->added)
		pinfold_import_end(run->import); /* nothing was taken: nothing is left unfinished */
	else
		pinfold_import_stop(run->import);
	run->import = NULL;
	if (run->input.stream)
		input_close(&run->input, false, error, sizeof(error));
	records_close(&run->records);
	return status;
}

int import_file(struct cli *cli, struct pinfold *pf, struct pinfold_table *table, const struct import_options *options,
		struct import_result *result)
{
	struct importing run = {.cli = cli, .pf = pf, .table = table, .options = options};
	uint64_t start_ns = progress_now_ns();
	int status = import_once(&run, options->restart);

	if (status == AGAIN) {
		run.resumed_line = 0;
		status = import_once(&run, true);
	}
	result->record_count += run.mark.records;
	result->byte_count += run.mark.bytes;
	result->left_out += run.mark.left_out;
	result->resumed_line = run.resumed_line;
	result->seconds += (double)(progress_now_ns() - start_ns) / 1e9;
	return status == AGAIN ? CLI_FAILURE : status;
}
