/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * table_import.c - filling an empty table: LMDB as its documentation says is fastest (MDB_APPEND, in key order, one
 * transaction, then a sync; with MDB_WRITEMAP and without, the better of each pair counts), pinfold by a bulk import.
 * All make the same records, and end when all is durable.
 */
#include "table.h"

#include <stdlib.h>
#include <string.h>

#define MANY 256u

static void store_import(struct table_store *store, uint64_t count, uint64_t step)
{
	static uint8_t data[MANY][TABLE_KEY + TABLE_VALUE];
	struct pinfold_record records[MANY];
	struct pinfold_import_mark mark = {0};
	struct pinfold_import *import;
	int r = pinfold_import_begin(store->table, "bench", PINFOLD_IMPORT_BULK, &import, &mark);

	for (uint64_t at = 0; r == 0 && at < count; at += MANY) {
		size_t some = count - at < MANY ? (size_t)(count - at) : MANY;

		for (size_t i = 0; i < some; i++) {
			table_key(2 * (at + i), step, data[i]);
			table_value(2 * (at + i), data[i] + TABLE_KEY);
			records[i] =
				(struct pinfold_record){data[i], TABLE_KEY, data[i] + TABLE_KEY, TABLE_VALUE};
		}
		r = pinfold_import_add(import, records, some);
		mark.records = at + some;
		if (r == 0)
			r = pinfold_import_mark(import, &mark);
	}
	if (r == 0)
		r = pinfold_import_end(import);
	if (r < 0)
		bench_die("import: %s", pinfold_errmsg(store->pf));
}

static double import_lmdb(struct table_bench *bench, uint64_t step, unsigned mode)
{
	char dir[512];
	struct table_lmdb *lmdb;
	uint64_t begin;
	double rate;

	snprintf(dir, sizeof(dir), "%s/import-lmdb", bench->dir);
	lmdb = table_lmdb_open(dir, bench->records, mode, true);
	begin = bench_now_ns();
	table_lmdb_append(lmdb, bench->records, step);
	rate = (double)bench->records * 1e9 / (double)(bench_now_ns() - begin);
	table_lmdb_close(lmdb);
	table_clear(dir);
	return rate;
}

/* Some of the records, and their number. */
static void check(struct table_bench *bench, struct table_store *store, uint64_t step)
{
	struct table_want wants[1000];
	uint64_t state = 99;

	for (size_t i = 0; i < 1000; i++)
		table_want(2 * bench_random_below(&state, bench->records), step, &wants[i]);
	if (table_store_count(store) != bench->records || table_store_get(store, wants, 1000) != 1000)
		bench_die("not all was imported");
}

static double import_store(struct table_bench *bench, uint64_t step, double *ret_space)
{
	struct pinfold_table_stats stats;
	struct table_store store;
	uint64_t begin;
	double rate;

	table_store_open(&store, bench, "import-store", PINFOLD_SYNC_SYNC, true);
	begin = bench_now_ns();
	store_import(&store, bench->records, step);
	rate = (double)bench->records * 1e9 / (double)(bench_now_ns() - begin);
	check(bench, &store, step);
	if (pinfold_table_stat(store.table, &stats) < 0)
		bench_die("stat: %s", pinfold_errmsg(store.pf));
	*ret_space = (double)stats.extent_bytes / (double)(stats.key_bytes + stats.value_bytes);
	table_store_close(&store);
	table_clear(store.dir);
	return rate;
}

void table_run_import(struct table_bench *bench)
{
	struct table_figure *figure = table_figure(bench, "1/s", 3, "mdb append", "import"),
			    *space = table_figure(bench, "x payload", 1.3, "", "import: space of the table");
	uint64_t step = table_step(bench->records);

	space->alone = space->at_most = true;
	for (unsigned i = 0; i < bench->pairs; i++) {
		static const char *const modes[] = {"write()", "WRITEMAP"};
		double ours = 0, other[2], used = 0;

		if (i & 1)
			ours = import_store(bench, step, &used);
		for (unsigned k = 0; k < 2; k++) { /* who goes first changes every second pair */
			const unsigned m = (k + i / 2) % 2;

			other[m] = import_lmdb(bench, step, m ? TABLE_LMDB_WRITEMAP : TABLE_LMDB_SYNC);
		}
		if (!(i & 1))
			ours = import_store(bench, step, &used);
		table_figure_add_better(figure, ours, other, modes);
		table_figure_add(space, used, 0);
	}
}
