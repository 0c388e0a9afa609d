/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * table_rocksdb.c - the same records in RocksDB, for single puts that do not wait for the device. Its log is written at
 * each put, and a killed process loses nothing; or it stays in memory until a thread writes and syncs it, and a killed
 * process loses what pinfold's async mode may lose.
 */
#include "table.h"

#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define FILL_BATCH 1000

struct table_rocksdb {
	rocksdb_t *db;
	rocksdb_options_t *options;
	rocksdb_writeoptions_t *write;
	rocksdb_flushoptions_t *flush;
	bool lazy, flushing;
	pthread_t flusher;
	atomic_bool stop;
};

static void check(char *words)
{
	if (words)
		bench_die("RocksDB: %s", words);
}

static void fill(struct table_rocksdb *rocksdb, uint64_t records)
{
	rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
	const uint64_t step = table_step(records);
	char *words = NULL;

	for (uint64_t i = 0; i < records; i++) {
		uint8_t key[TABLE_KEY], value[TABLE_VALUE];

		table_key(2 * i, step, key);
		table_value(2 * i, value);
		rocksdb_writebatch_put(batch, (char *)key, sizeof(key), (char *)value, sizeof(value));
		if (i % FILL_BATCH != FILL_BATCH - 1 && i + 1 < records)
			continue;
		rocksdb_write(rocksdb->db, rocksdb->write, batch, &words);
		check(words);
		rocksdb_writebatch_clear(batch);
	}
	rocksdb_writebatch_destroy(batch);
}

struct table_rocksdb *table_rocksdb_open(const char *dir, uint64_t records, bool lazy)
{
	struct table_rocksdb *rocksdb = calloc(1, sizeof(*rocksdb));
	char *words = NULL;

	if (!rocksdb)
		bench_die("out of memory");
	table_clear(dir);
	rocksdb->lazy = lazy;
	rocksdb->options = rocksdb_options_create();
	rocksdb_options_set_create_if_missing(rocksdb->options, 1);
	rocksdb_options_set_write_buffer_size(rocksdb->options, 256u << 20);
	rocksdb_options_set_recycle_log_file_num(rocksdb->options, 4);
	rocksdb_options_set_compression(rocksdb->options, rocksdb_no_compression);
	rocksdb_options_set_manual_wal_flush(rocksdb->options, lazy);
	rocksdb->write = rocksdb_writeoptions_create();
	rocksdb->flush = rocksdb_flushoptions_create();
	rocksdb->db = rocksdb_open(rocksdb->options, dir, &words);
	check(words);
	fill(rocksdb, records);
	return rocksdb;
}

static void flush_log(struct table_rocksdb *rocksdb)
{
	char *words = NULL;

	rocksdb_flush_wal(rocksdb->db, 1, &words);
	check(words);
}

static void *flusher_run(void *arg)
{
	struct table_rocksdb *rocksdb = arg;

	while (!rocksdb->stop) {
		usleep(TABLE_FLUSH_MS * 1000);
		flush_log(rocksdb);
	}
	return NULL;
}

void table_rocksdb_begin(struct table_rocksdb *rocksdb)
{
	if (!rocksdb->lazy)
		return;
	rocksdb->stop = false;
	if (pthread_create(&rocksdb->flusher, NULL, flusher_run, rocksdb))
		bench_die("no thread");
	rocksdb->flushing = true;
}

void table_rocksdb_end(struct table_rocksdb *rocksdb)
{
	if (!rocksdb->lazy)
		return;
	rocksdb->stop = true; /* nobody waits until it has slept */
	flush_log(rocksdb);
}

void table_rocksdb_put_one(struct table_rocksdb *rocksdb, const uint8_t *key, const void *value)
{
	char *words = NULL;

	rocksdb_put(rocksdb->db, rocksdb->write, (const char *)key, TABLE_KEY, value, TABLE_VALUE, &words);
	check(words);
}

void table_rocksdb_settle(struct table_rocksdb *rocksdb)
{
	char *words = NULL;

	if (rocksdb->flushing)
		pthread_join(rocksdb->flusher, NULL);
	rocksdb->flushing = false;
	rocksdb_flush(rocksdb->db, rocksdb->flush, &words); /* waits for it */
	check(words);
	flush_log(rocksdb);
}

void table_rocksdb_close(struct table_rocksdb *rocksdb)
{
	rocksdb_close(rocksdb->db);
	rocksdb_options_destroy(rocksdb->options);
	rocksdb_writeoptions_destroy(rocksdb->write);
	rocksdb_flushoptions_destroy(rocksdb->flush);
	free(rocksdb);
}
