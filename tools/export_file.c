// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * export_file.c - a table as a text file; goes on where it was interrupted.
 *
 * OUTPUT.part takes the records and becomes OUTPUT by a rename when all are in it and durable, so that OUTPUT is
 * never a part of a table. OUTPUT.part.state says, after a flush, how many bytes of it are good and where in
 * the table they end; what stands behind is cut off by the run that goes on.
 */
#include "export_file.h"
#include "progress.h"
#include "records_write.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Text that is written at once, and from where on it is. */
#define WRITE_BYTES (1u << 20)
/* Between two states, at least. */
#define STATE_BYTES (16u << 20)
#define STATE_NS 1000000000ull

struct exporting {
	struct cli *cli;
	struct pinfold *pf;
	struct pinfold_table *table;
	const struct export_options *options;
	struct export_result *result;
	char store[33]; /* its uuid */
	char part[PATH_MAX], state[PATH_MAX], fresh[PATH_MAX];
	int fd;
	struct pinfold_cursor *cursor;
	struct records_writer writer;
	struct records_text text; /* not written yet */
	struct progress progress;
	uint64_t record_count; /* of the table, as it began */
	uint64_t state_bytes, state_ns;
};

static int fail_errno(const struct exporting *run, const char *path)
{
	return cli_fail(run->cli, "%s: %s", path, strerror(errno));
}

static int text_write(struct exporting *run)
{
	size_t done = 0;

	while (done < run->text.size) {
		ssize_t n = write(run->fd, run->text.data + done, run->text.size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EPIPE && !run->options->output)
			return CLI_FAILURE;
		if (n < 0)
			return fail_errno(run, run->options->output ? run->part : "stdout");
		done += (size_t)n;
	}
	run->result->byte_count += run->text.size;
	run->text.size = 0;
	return CLI_OK;
}

/* ---- the state ---- */

static json_t *state_make(struct exporting *run, uint64_t position)
{
	return json_pack("{s:i, s:s, s:s, s:o, s:o, s:o, s:o}", "version", 1, "store", run->store, "table",
			 run->options->table, "position", json_sprintf("%" PRIu64, position), "bytes",
			 cli_json_u64(run->result->byte_count), "records", cli_json_u64(run->result->record_count),
			 "rows", records_writer_save(&run->writer));
}

/* What the part file holds is durable before the state says so. */
static int state_write(struct exporting *run, uint64_t position)
{
	json_t *json;
	int r;

	if (fdatasync(run->fd))
		return fail_errno(run, run->part);
	json = state_make(run, position);
	if (!json)
		return cli_fail(run->cli, "out of memory");
	r = json_dump_file(json, run->fresh, JSON_INDENT(2));
	json_decref(json);
	if (r || rename(run->fresh, run->state))
		return fail_errno(run, run->state);
	run->state_bytes = run->result->byte_count;
	run->state_ns = progress_now_ns();
	return CLI_OK;
}

/* Writes what there is and says where that ends. */
static int state_save(struct exporting *run)
{
	uint64_t position;
	int status;

	if (!run->options->output || pinfold_cursor_tell(run->cursor, &position))
		return CLI_OK;
	status = text_write(run);
	return status ? status : state_write(run, position);
}

static bool state_due(const struct exporting *run)
{
	return run->options->output && run->result->byte_count - run->state_bytes >= STATE_BYTES &&
	       progress_now_ns() - run->state_ns >= STATE_NS / 8;
}

static bool state_u64(const json_t *json, const char *name, uint64_t *ret_value)
{
	const json_t *member = json_object_get(json, name);
	char *end = NULL;

	if (json_is_integer(member) && json_integer_value(member) >= 0) {
		*ret_value = (uint64_t)json_integer_value(member);
		return true;
	}
	if (!json_is_string(member))
		return false;
	errno = 0;
	*ret_value = strtoull(json_string_value(member), &end, 10);
	return !errno && end != json_string_value(member) && !*end;
}

/* Takes up what an earlier run of the same export left. False: there is nothing of use. */
static bool state_take(struct exporting *run)
{
	json_t *json = json_load_file(run->state, JSON_REJECT_DUPLICATES, NULL);
	const char *store = json_string_value(json_object_get(json, "store"));
	const char *table = json_string_value(json_object_get(json, "table"));
	uint64_t version = 0, position, bytes, records;
	struct stat st;
	bool ok;

	ok = json && store && table && !strcmp(store, run->store) && !strcmp(table, run->options->table) &&
	     state_u64(json, "version", &version) && version == 1 && state_u64(json, "position", &position) &&
	     state_u64(json, "bytes", &bytes) && state_u64(json, "records", &records) && bytes <= INT64_MAX &&
	     fstat(run->fd, &st) == 0 && (uint64_t)st.st_size >= bytes &&
	     records_writer_restore(&run->writer, json_object_get(json, "rows")) == 0;
	json_decref(json);
	if (!ok || ftruncate(run->fd, (off_t)bytes) || lseek(run->fd, (off_t)bytes, SEEK_SET) < 0)
		return false;
	pinfold_cursor_seek(run->cursor, position);
	run->result->byte_count = run->state_bytes = bytes;
	run->result->record_count = run->result->resumed_records = records;
	return true;
}

/* ---- the scan ---- */

/* What columns the rows of a csv file can have: nothing is written before all records were looked at. */
static int look(struct exporting *run)
{
	struct pinfold_cursor *cursor = NULL;
	struct pinfold_record record;
	struct progress progress;
	uint64_t count = 0;
	int r = pinfold_cursor_open(run->table, &cursor), more = 0;

	progress_start(&progress, run->cli, "look for columns", PROGRESS_ITEMS, run->record_count);
	while (r == 0 && !more && !cli_stopped && (r = pinfold_cursor_next(cursor, &record)) == 1) {
		more = records_writer_look(&run->writer, &record);
		r = more < 0 ? more : 0;
		if (++count % 256 == 0)
			progress_update(&progress, count);
	}
	pinfold_cursor_close(cursor);
	if (r == 0 && cli_stopped)
		return cli_fail(run->cli, "stopped while it looked for the columns: the same command begins again");
	if (r == 0)
		r = records_writer_settle(&run->writer);
	return r < 0 ? cli_fail_call(run->cli, run->pf, r, run->options->table) : CLI_OK;
}

static int scan_one(struct exporting *run, const struct pinfold_record *record)
{
	int r = records_writer_add(&run->writer, record, &run->text);

	if (r == -EINVAL) {
		/* what is written has the wrong columns: the next run does not go on with it */
		if (run->options->output && unlink(run->state) && errno != ENOENT)
			return fail_errno(run, run->state);
		return cli_fail(run->cli, "table %s: record '%.*s' has come since the export began, and is no row like "
				"the others: export again", run->options->table, (int)record->key_size,
				(const char *)record->key);
	}
	if (r)
		return cli_fail(run->cli, "out of memory");
	run->result->record_count++;
	return CLI_OK;
}

static int scan(struct exporting *run)
{
	struct pinfold_record record;
	int status = CLI_OK, r = 0;

	while (status == CLI_OK && (r = pinfold_cursor_next(run->cursor, &record)) == 1) {
		uint64_t position;

		status = scan_one(run, &record);
		if (status == CLI_OK && run->text.size >= WRITE_BYTES)
			status = text_write(run);
		if (status == CLI_OK && state_due(run))
			status = state_save(run);
		if (run->result->record_count % 256 == 0)
			progress_update(&run->progress, run->result->record_count);
		/* the state is of a moment between two groups of records */
		if (status == CLI_OK && cli_stopped &&
		    (!run->options->output || pinfold_cursor_tell(run->cursor, &position) == 0)) {
			status = state_save(run);
			return status ? status : cli_fail(run->cli, "stopped after %llu records%s",
							  (unsigned long long)run->result->record_count,
							  run->options->output ? ": the same command goes on there" :
										 "");
		}
	}
	if (r < 0)
		return cli_fail_call(run->cli, run->pf, r, run->options->table);
	return status ? status : text_write(run);
}

/* ---- files ---- */

static int directory_sync(const struct exporting *run)
{
	char dir[PATH_MAX];
	char *slash;
	int fd, r;

	snprintf(dir, sizeof(dir), "%s", run->options->output);
	slash = strrchr(dir, '/');
	snprintf(slash ? slash + (slash == dir) : dir, 2, "%s", slash ? "" : ".");
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = fd < 0 ? -1 : fsync(fd);
	if (fd >= 0)
		close(fd);
	return r ? fail_errno(run, dir) : CLI_OK;
}

static int part_open(struct exporting *run)
{
	const char *output = run->options->output;
	struct stat st;

	if (strlen(output) + sizeof(".part.state.new") > PATH_MAX)
		return cli_fail(run->cli, "%s: the name is too long", output);
	snprintf(run->part, sizeof(run->part), "%s.part", output);
	snprintf(run->state, sizeof(run->state), "%s.part.state", output);
	snprintf(run->fresh, sizeof(run->fresh), "%s.part.state.new", output);
	if (stat(output, &st) == 0 && !S_ISREG(st.st_mode))
		return cli_fail(run->cli, "%s: is no regular file: without --output records go to stdout", output);
	run->fd = open(run->part, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (run->fd < 0)
		return fail_errno(run, run->part);
	if (flock(run->fd, LOCK_EX | LOCK_NB))
		return cli_fail(run->cli, "%s: another export writes to it", run->part);
	return CLI_OK;
}

/* All is in the part file. */
static int part_finish(struct exporting *run)
{
	int status;

	if (fdatasync(run->fd))
		return fail_errno(run, run->part);
	if (rename(run->part, run->options->output))
		return fail_errno(run, run->options->output);
	status = directory_sync(run);
	if (status)
		return status;
	if (unlink(run->state) && errno != ENOENT)
		return fail_errno(run, run->state);
	return CLI_OK;
}

static int begin(struct exporting *run)
{
	int status = CLI_OK, r;

	if (run->options->output) {
		status = part_open(run);
		if (status)
			return status;
		if (state_take(run)) {
			cli_note(run->cli, "%s: goes on after %llu records", run->options->output,
				 (unsigned long long)run->result->record_count);
			return CLI_OK;
		}
		/* not of this export: nothing of it is left */
		records_writer_close(&run->writer);
		r = records_writer_open(&run->writer, run->options->format, run->options->key_field);
		if (r)
			return cli_fail(run->cli, "out of memory");
		if ((unlink(run->state) && errno != ENOENT) || ftruncate(run->fd, 0) ||
		    lseek(run->fd, 0, SEEK_SET) < 0)
			return fail_errno(run, run->part);
	}
	if (run->options->format == RECORDS_CSV)
		status = look(run);
	if (status == CLI_OK && records_writer_head(&run->writer, &run->text))
		status = cli_fail(run->cli, "out of memory");
	return status;
}

static int export_run(struct exporting *run)
{
	struct pinfold_table_stats stats;
	const char *usual;
	int status, r;

	r = pinfold_table_stat(run->table, &stats);
	if (r == 0 && stats.import_unfinished)
		return cli_fail(run->cli,
				"table %s: an import into it is unfinished: it has no records before that ends",
				run->options->table);
	if (r == 0)
		r = pinfold_cursor_open(run->table, &run->cursor);
	if (r)
		return cli_fail_call(run->cli, run->pf, r, run->options->table);
	run->record_count = stats.record_count;
	status = begin(run);
	if (status)
		return status;
	progress_start(&run->progress, run->cli, "export", PROGRESS_ITEMS, stats.record_count);
	progress_from(&run->progress, run->result->record_count);
	status = scan(run);
	if (status == CLI_OK && run->options->output)
		status = part_finish(run);
	if (status)
		return status;
	progress_update(&run->progress, run->result->record_count);
	progress_done(&run->progress);
	usual = run->options->format == RECORDS_CSV ? (run->writer.column_count ? run->writer.columns[0] : NULL) :
		run->options->format == RECORDS_JSONL ? "key" : "Package";
	if (run->options->key_field && !run->writer.plain_count && run->writer.escaped_count)
		cli_note(run->cli, "no record has its key in field '%s': all of them are escaped",
			 run->options->key_field);
	else if (run->writer.key_field && usual && strcmp(usual, run->writer.key_field) != 0)
		cli_note(run->cli, "the key is field '%s': import with --key %s", run->writer.key_field,
			 run->writer.key_field);
	return CLI_OK;
}

int export_file(struct cli *cli, struct pinfold *pf, struct pinfold_table *table, const struct export_options *options,
		struct export_result *ret_result)
{
	struct exporting run = {.cli = cli, .pf = pf, .table = table, .options = options, .result = ret_result,
				.fd = options->output ? -1 : STDOUT_FILENO};
	struct pinfold_store_stats stats;
	uint64_t start_ns = progress_now_ns();
	int status, r = pinfold_store_stat(pf, &stats);

	*ret_result = (struct export_result){0};
	for (size_t i = 0; i < sizeof(stats.uuid); i++)
		snprintf(run.store + 2 * i, 3, "%02x", r ? 0 : stats.uuid[i]);
	if (r)
		status = cli_fail_call(cli, pf, r, "the store");
	else if (records_writer_open(&run.writer, options->format, options->key_field))
		status = cli_fail(cli, "out of memory");
	else
		status = export_run(&run);
	if (options->output && run.fd >= 0)
		close(run.fd);
	pinfold_cursor_close(run.cursor);
	records_writer_close(&run.writer);
	free(run.text.data);
	ret_result->seconds = (double)(progress_now_ns() - start_ns) / 1e9;
	return status;
}
