/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * commit_rocksdb.c - bench_commit's updates by RocksDB: gets, compares, and one write batch for what a thread has in
 * flight. Its log is flushed at each write in sync mode, shared by the threads that wait, and its files are used again.
 */
#include "commit.h"

#include <rocksdb/c.h>
#include <stdlib.h>
#include <string.h>

struct db {
	rocksdb_t *rocks;
	rocksdb_options_t *options;
	rocksdb_writeoptions_t *write;
	rocksdb_readoptions_t *read;
};

static void check(char *words)
{
	if (words)
		bench_die("bench_commit: RocksDB: %s", words);
}

static void load(const struct commit_params *params, struct db *db)
{
	rocksdb_writeoptions_t *lazy = rocksdb_writeoptions_create();
	char *words = NULL;

	for (uint64_t i = 0; i < params->records; i++) {
		uint64_t value[COMMIT_VALUE / 8];
		uint8_t key[COMMIT_KEY];

		commit_key(i, key);
		commit_value(i, 0, value);
		rocksdb_put(db->rocks, lazy, (char *)key, sizeof(key), (char *)value, sizeof(value), &words);
		check(words);
	}
	rocksdb_writeoptions_destroy(lazy);
}

static void *open_db(const struct commit_params *params, const char *path, bool sync)
{
	struct db *db = calloc(1, sizeof(*db));
	char *words = NULL;

	if (!db)
		bench_die("bench_commit: out of memory");
	db->options = rocksdb_options_create();
	rocksdb_options_set_create_if_missing(db->options, 1);
	rocksdb_options_set_write_buffer_size(db->options, 256u << 20);
	rocksdb_options_set_recycle_log_file_num(db->options, 4);
	rocksdb_options_set_enable_pipelined_write(db->options, 1);
	rocksdb_options_set_compression(db->options, rocksdb_no_compression);
	db->write = rocksdb_writeoptions_create();
	rocksdb_writeoptions_set_sync(db->write, sync);
	db->read = rocksdb_readoptions_create();
	db->rocks = rocksdb_open(db->options, path, &words);
	check(words);
	load(params, db);
	return db;
}

static void update(void *ctx, struct commit_batch *batch)
{
	rocksdb_writebatch_t *changes = rocksdb_writebatch_create();
	struct db *db = ctx;
	char *words = NULL;

	for (unsigned i = 0; i < batch->count; i++) {
		const char *key = (const char *)batch->key[i];
		rocksdb_pinnableslice_t *slice = rocksdb_get_pinned(db->rocks, db->read, key, COMMIT_KEY, &words);
		const char *found;
		size_t size;

		check(words);
		found = rocksdb_pinnableslice_value(slice, &size);
		if (!found || size != COMMIT_VALUE || memcmp(found, batch->expected[i], size) != 0)
			bench_die("bench_commit: RocksDB: a record does not hold what was written last");
		rocksdb_pinnableslice_destroy(slice);
		rocksdb_writebatch_put(changes, key, COMMIT_KEY, (const char *)batch->value[i], COMMIT_VALUE);
	}
	rocksdb_write(db->rocks, db->write, changes, &words);
	check(words);
	rocksdb_writebatch_destroy(changes);
}

static void sync_db(void *ctx)
{
	struct db *db = ctx;
	char *words = NULL;

	rocksdb_flush_wal(db->rocks, 1, &words);
	check(words);
}

static void settle(void *ctx)
{
	rocksdb_flushoptions_t *wait = rocksdb_flushoptions_create(); /* it waits unless it is told otherwise */
	struct db *db = ctx;
	char *words = NULL;

	rocksdb_flush(db->rocks, wait, &words);
	check(words);
	rocksdb_flushoptions_destroy(wait);
	sync_db(db);
}

static void close_db(void *ctx)
{
	struct db *db = ctx;

	rocksdb_close(db->rocks);
	rocksdb_options_destroy(db->options);
	rocksdb_writeoptions_destroy(db->write);
	rocksdb_readoptions_destroy(db->read);
	free(db);
}

static const struct commit_store rocksdb = {
	.name = "RocksDB", .open = open_db, .update = update, .sync = sync_db, .settle = settle, .close = close_db
};
const struct commit_store *const commit_rocksdb = &rocksdb;
