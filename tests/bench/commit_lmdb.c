/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * commit_lmdb.c - bench_commit's updates by LMDB: all that a thread has in flight in one transaction, each record found
 * by a cursor, compared and overwritten where the cursor stands.
 */
#include "commit.h"

#include <lmdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct db {
	MDB_env *env;
	MDB_dbi dbi;
};

static void check(int r, const char *what)
{
	if (r != 0)
		bench_die("bench_commit: LMDB: %s: %s", what, mdb_strerror(r));
}

static void *open_db(const struct commit_params *params, const char *path, bool sync)
{
	struct db *db = calloc(1, sizeof(*db));
	MDB_txn *txn;

	if (!db || mkdir(path, 0700) != 0)
		bench_die("bench_commit: %s: cannot create", path);
	check(mdb_env_create(&db->env), "create");
	check(mdb_env_set_mapsize(db->env, (16ull << 20) + params->records * 2048), "map size");
	check(mdb_env_open(db->env, path, sync ? 0 : MDB_NOSYNC, 0600), path);
	check(mdb_txn_begin(db->env, NULL, 0, &txn), "begin");
	check(mdb_dbi_open(txn, NULL, 0, &db->dbi), "open");
	for (uint64_t i = 0; i < params->records; i++) {
		uint8_t bytes[COMMIT_KEY];
		uint64_t value[COMMIT_VALUE / 8];
		MDB_val key = { sizeof(bytes), bytes }, data = { sizeof(value), value };

		commit_key(i, bytes);
		commit_value(i, 0, value);
		check(mdb_put(txn, db->dbi, &key, &data, 0), "put");
	}
	check(mdb_txn_commit(txn), "commit");
	check(mdb_env_sync(db->env, 1), "sync");
	return db;
}

static void update(void *ctx, struct commit_batch *batch)
{
	struct db *db = ctx;
	MDB_cursor *cursor;
	MDB_txn *txn;

	check(mdb_txn_begin(db->env, NULL, 0, &txn), "begin");
	check(mdb_cursor_open(txn, db->dbi, &cursor), "cursor");
	for (unsigned i = 0; i < batch->count; i++) {
		MDB_val key = { COMMIT_KEY, batch->key[i] }, data;

		check(mdb_cursor_get(cursor, &key, &data, MDB_SET_KEY), "get");
		if (data.mv_size != COMMIT_VALUE || memcmp(data.mv_data, batch->expected[i], COMMIT_VALUE) != 0)
			bench_die("bench_commit: LMDB: a record does not hold what was written last");
		data = (MDB_val){ COMMIT_VALUE, batch->value[i] };
		check(mdb_cursor_put(cursor, &key, &data, MDB_CURRENT), "put");
	}
	mdb_cursor_close(cursor);
	check(mdb_txn_commit(txn), "commit");
}

static void sync_db(void *ctx)
{
	struct db *db = ctx;

	check(mdb_env_sync(db->env, 1), "sync");
}

static void close_db(void *ctx)
{
	struct db *db = ctx;

	mdb_env_close(db->env);
	free(db);
}

const struct commit_store commit_lmdb = {
	.name = "LMDB", .open = open_db, .update = update, .sync = sync_db, .settle = sync_db, .close = close_db
};
