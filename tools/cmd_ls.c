// SPDX-License-Identifier: LGPL-2.1-or-later
/* cmd_ls.c - pinfold ls: tables and objects of a store, or the records of a table. */
#include "cli.h"
#include "names.h"
#include "term.h"
#include "config/units.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { KEY_LIMIT = 0x5000, KEY_VALUES };

static uint64_t limit;
static bool with_values;

static const struct argp_option options[] = {
	{"limit", KEY_LIMIT, "N", 0, "At most N objects or records [all]", 0},
	{"values", KEY_VALUES, 0, 0, "Records with their values", 0},
	{0},
};

static int option(struct cli *cli, int key, const char *arg)
{
	switch (key) {
	case KEY_LIMIT:
		limit = cli_count_arg(cli, "--limit", arg, 1, UINT64_MAX);
		return 0;
	case KEY_VALUES:
		with_values = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

struct listing {
	struct pinfold *pf;
	json_t *tables, *leases, *objects; /* with --json */
	struct table table, object_table;
	uint64_t table_count, object_count;
	bool cut;
};

static void table_row(struct listing *listing, const char *name, const char *kind,
		      const struct pinfold_table_stats *stats)
{
	char records[UNITS_TEXT_MAX], bytes[UNITS_TEXT_MAX], held[UNITS_TEXT_MAX];

	listing->table_count++;
	table_cell(&listing->table, "%s", name);
	table_cell(&listing->table, "%s", kind);
	table_cell(&listing->table, "%s", units_count(stats->record_count, records));
	table_cell(&listing->table, "%s", units_size(stats->key_bytes + stats->value_bytes, bytes));
	table_cell(&listing->table, "%s", units_size(stats->extent_bytes, held));
}

static int add_table(void *ctx, const char *name)
{
	struct listing *listing = ctx;
	struct pinfold_table_stats stats;
	struct pinfold_table *table;
	int r = pinfold_table_open(listing->pf, name, 0, &table);

	if (!r)
		r = pinfold_table_stat(table, &stats);
	if (r)
		return r;
	if (listing->tables) {
		json_array_append_new(listing->tables, json_pack("{s:s, s:b, s:o, s:o, s:o, s:o}", "name", name,
								 "import_unfinished", stats.import_unfinished != 0,
								 "records",
								 cli_json_u64(stats.record_count), "key_bytes",
								 cli_json_u64(stats.key_bytes), "value_bytes",
								 cli_json_u64(stats.value_bytes), "extent_bytes",
								 cli_json_u64(stats.extent_bytes)));
		return 0;
	}
	table_row(listing, name, stats.import_unfinished ? "unfinished import" : "records", &stats);
	return 0;
}

static int add_leases(void *ctx, const char *name)
{
	struct listing *listing = ctx;
	struct pinfold_table_stats stats;
	struct pinfold_leases *leases;
	int r = pinfold_leases_open(listing->pf, name, 0, &leases);

	if (!r)
		r = pinfold_leases_stat(leases, &stats);
	if (r)
		return r;
	if (listing->leases)
		json_array_append_new(listing->leases,
				      json_pack("{s:s, s:o, s:o}", "name", name, "leases",
						cli_json_u64(stats.record_count), "extent_bytes",
						cli_json_u64(stats.extent_bytes)));
	else
		table_row(listing, name, "leases", &stats);
	return 0;
}

static int add_object(void *ctx, const struct pinfold_object_id *id, const struct pinfold_object *object)
{
	static const char *const lifetimes[] = {"ephemeral", "session", "task", "long-lived"};
	char name[NAMES_TEXT_MAX], size[UNITS_TEXT_MAX], place[NAMES_TEXT_MAX] = "-";
	const char *lifetime = object->lifetime < 4 ? lifetimes[object->lifetime] : "?";
	struct listing *listing = ctx;

	if (limit && listing->object_count >= limit) {
		listing->cut = true;
		return 1;
	}
	listing->object_count++;
	name_object(id, name);
	if (listing->objects) {
		json_t *extents = json_array();

		for (size_t i = 0; i < object->extent_count; i++)
			json_array_append_new(extents, name_extent_json(&object->extents[i]));
		json_array_append_new(listing->objects,
				      json_pack("{s:o, s:o, s:s, s:o, s:o}", "name", cli_json_text(name), "size",
						cli_json_u64(object->size), "lifetime", lifetime, "created_unix_ms",
						cli_json_u64(object->created_unix_ms), "extents", extents));
		return 0;
	}
	if (object->extent_count)
		name_place(object->extents[0].file_id, object->extents[0].offset, place);
	table_cell(&listing->object_table, "%s", name);
	table_cell(&listing->object_table, "%s", units_size(object->size, size));
	table_cell(&listing->object_table, "%zu", object->extent_count);
	table_cell(&listing->object_table, "%s", place);
	table_cell(&listing->object_table, "%s", lifetime);
	return 0;
}

static int list_store(struct cli *cli, struct pinfold *pf)
{
	static const char *const table_names[] = {"TABLE", "KIND", ">RECORDS", ">DATA", ">EXTENTS"};
	static const char *const object_names[] = {"OBJECT", ">SIZE", ">EXTENTS", "FIRST", "LIFETIME"};
	struct listing listing = {.pf = pf};
	bool bold = term_color(cli, stdout);
	int r;

	if (cli->json) {
		listing.tables = json_array();
		listing.leases = json_array();
		listing.objects = json_array();
	} else {
		table_init(&listing.table, 5, table_names);
		table_init(&listing.object_table, 5, object_names);
	}
	r = pinfold_table_foreach(pf, add_table, &listing);
	if (!r)
		r = pinfold_leases_table_foreach(pf, add_leases, &listing);
	if (!r)
		r = pinfold_object_foreach(pf, add_object, &listing);
	if (r < 0) {
		json_decref(listing.tables);
		json_decref(listing.leases);
		json_decref(listing.objects);
		table_done(&listing.table);
		table_done(&listing.object_table);
		return cli_fail_call(cli, pf, r, "listing");
	}
	if (cli->json)
		return cli_print_json(cli,
				      json_pack("{s:o, s:o, s:o}", "tables", listing.tables, "leases", listing.leases,
						"objects", listing.objects));
	if (listing.table_count)
		table_print(&listing.table, stdout, bold);
	if (listing.table_count && listing.object_count)
		putchar('\n');
	if (listing.object_count)
		table_print(&listing.object_table, stdout, bold);
	if (listing.cut)
		cli_note(cli, "only the first %llu objects are shown (--limit)", (unsigned long long)limit);
	if (!listing.table_count && !listing.object_count)
		cli_note(cli, "the store is empty: 'pinfold import' and 'pinfold load' fill it");
	table_done(&listing.table);
	table_done(&listing.object_table);
	return cli_finish_stdout(cli, CLI_OK);
}

static int list_records(struct cli *cli, struct pinfold *pf, struct pinfold_table *table)
{
	json_t *records = cli->json ? json_array() : NULL;
	struct pinfold_table_stats stats;
	struct pinfold_cursor *cursor;
	struct pinfold_record record;
	uint64_t count = 0;
	int r = pinfold_table_stat(table, &stats);

	if (!r)
		r = pinfold_cursor_open(table, &cursor);
	if (r)
		return cli_fail_call(cli, pf, r, cli->args[1]);
	while ((!limit || count < limit) && (r = pinfold_cursor_next(cursor, &record)) == 1) {
		count++;
		if (records) {
			json_t *one = json_pack("{s:o, s:I}", "key", cli_json_bytes(record.key, record.key_size),
						"size", (json_int_t)record.value_size);

			if (with_values)
				json_object_set_new(one, "value", cli_json_bytes(record.value, record.value_size));
			json_array_append_new(records, one);
			continue;
		}
		term_print_line(record.key, record.key_size);
		putchar('\t');
		if (with_values)
			term_print_line(record.value, record.value_size);
		else
			printf("%zu", record.value_size);
		putchar('\n');
		if (ferror(stdout))
			break;
	}
	pinfold_cursor_close(cursor);
	if (r < 0) {
		json_decref(records);
		return cli_fail_call(cli, pf, r, cli->args[1]);
	}
	if (stats.import_unfinished)
		cli_note(cli, "table %s: an import into it is unfinished: it has no records before that ends",
			 cli->args[1]);
	if (records)
		return cli_print_json(cli, json_pack("{s:s, s:b, s:o}", "table", cli->args[1], "import_unfinished",
						     stats.import_unfinished != 0, "records", records));
	return cli_finish_stdout(cli, CLI_OK);
}

static int run(struct cli *cli)
{
	struct pinfold_table *table;
	struct pinfold *pf;
	int status = cli_open_read(cli, &pf), r;

	if (status)
		return status;
	if (cli->arg_count == 1) {
		status = list_store(cli, pf);
	} else {
		r = pinfold_table_open(pf, cli->args[1], 0, &table);
		if (r == -ENOENT)
			status = cli_fail(cli, "no table '%s' ('pinfold ls %s' lists them)", cli->args[1], cli->store);
		else if (r)
			status = cli_fail_call(cli, pf, r, cli->args[1]);
		else
			status = list_records(cli, pf, table);
	}
	return cli_close(cli, pf, status);
}

const struct command cmd_ls = {
	.name = "ls",
	.operands = "DIR [TABLE]",
	.summary = "List tables, lease tables and objects, or the records of a table",
	.details = "Records are listed one per line, key, tab, size of the value (or the value, with \\n, \\t and "
		   "\\xNN for what does "
		   "not fit a line), in no particular order.",
	.min_args = 1,
	.max_args = 2,
	.options = options,
	.option = option,
	.run = run,
};
