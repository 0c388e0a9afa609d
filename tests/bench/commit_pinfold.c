/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * commit_pinfold.c - bench_commit's updates by pinfold_table_submit(): one call for what a thread has in flight.
 */
#include "commit.h"

#include <pinfold.h>
#include <stdlib.h>

/* Range header; checksum, sizes, key and value, in whole words. */
#define UPDATE_BYTES (16u + 8 + COMMIT_KEY + COMMIT_VALUE)

struct db {
	struct pinfold *pf;
	struct pinfold_table *table;
	bool sync;
};

static void load(const struct commit_params *params, struct db *db)
{
	for (uint64_t i = 0; i < params->records; i++) {
		uint8_t key[COMMIT_KEY];
		uint64_t value[COMMIT_VALUE / 8];
		struct pinfold_record record = { key, sizeof(key), value, sizeof(value) };
		pinfold_ticket ticket;

		commit_key(i, key);
		commit_value(i, 0, value);
		if (pinfold_table_write_async(db->table, &record, 1, &ticket) < 0)
			bench_die("bench_commit: load: %s", pinfold_errmsg(db->pf));
	}
	if (pinfold_checkpoint(db->pf) < 0)
		bench_die("bench_commit: checkpoint: %s", pinfold_errmsg(db->pf));
}

static void *open_db(const struct commit_params *params, const char *path, bool sync)
{
	struct pinfold_config config = { .size = sizeof(config),
					 .flags =
						 PINFOLD_OPEN_CREATE | PINFOLD_OPEN_EXCLUSIVE | PINFOLD_OPEN_STORE_ONLY,
					 .file_size = 4ull << 30,
					 .journal_size = COMMIT_JOURNAL,
					 .sync = sync ? PINFOLD_SYNC_SYNC : PINFOLD_SYNC_ASYNC };
	struct db *db = calloc(1, sizeof(*db));
	char words[512] = "";

	if (!db || pinfold_open(path, &config, words, sizeof(words), &db->pf) < 0)
		bench_die("bench_commit: %s: %s", path, words);
	db->sync = sync;
	if (pinfold_table_open(db->pf, "bench", PINFOLD_TABLE_CREATE, &db->table) < 0)
		bench_die("bench_commit: %s: %s", path, pinfold_errmsg(db->pf));
	load(params, db);
	return db;
}

static void update(void *ctx, struct commit_batch *batch)
{
	static _Thread_local struct pinfold_change changes[COMMIT_BATCH_MAX];
	struct db *db = ctx;
	pinfold_ticket ticket;

	for (unsigned i = 0; i < batch->count; i++)
		changes[i] = (struct pinfold_change){ .key = batch->key[i],
						      .key_size = COMMIT_KEY,
						      .value = batch->value[i],
						      .value_size = COMMIT_VALUE,
						      .expected = batch->expected[i],
						      .expected_size = COMMIT_VALUE,
						      .flags = PINFOLD_CHANGE_COMPARE };
	if (pinfold_table_submit(db->table, changes, batch->count, &ticket) < 0 ||
	    (db->sync && pinfold_ticket_wait(db->pf, ticket, -1) < 0))
		bench_die("bench_commit: pinfold: %s", pinfold_errmsg(db->pf));
	for (unsigned i = 0; i < batch->count; i++)
		if (changes[i].result)
			bench_die("bench_commit: pinfold: a record does not hold what was written last");
}

static void sync_db(void *ctx)
{
	struct db *db = ctx;

	if (pinfold_sync(db->pf) < 0)
		bench_die("bench_commit: pinfold: sync: %s", pinfold_errmsg(db->pf));
}

static void settle(void *ctx)
{
	struct db *db = ctx;

	if (pinfold_checkpoint(db->pf) < 0)
		bench_die("bench_commit: pinfold: checkpoint: %s", pinfold_errmsg(db->pf));
}

static void close_db(void *ctx)
{
	struct db *db = ctx;

	pinfold_table_close(db->table);
	if (pinfold_close(db->pf) < 0)
		bench_die("bench_commit: pinfold: close failed");
	free(db);
}

const struct commit_store commit_pinfold = {
	.name = "pinfold", .open = open_db, .update = update, .sync = sync_db,
	.settle = settle, .close = close_db, .update_bytes = UPDATE_BYTES
};
