/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * table_lmdb.c - the same records in LMDB, used as its documentation says is fastest: one read transaction for
 * many gets, appending in key order in one transaction for the import. Whether pages are written in the map
 * (MDB_WRITEMAP) or by write(), a killed process loses nothing; which is faster differs, so whoever writes tries both.
 */
#include "table.h"

#include <lmdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct table_lmdb {
	MDB_env *env;
	MDB_dbi dbi;
};

struct table_lmdb_reader {
	struct table_lmdb *lmdb;
	MDB_txn *txn;
};

static void check(int r, const char *what)
{
	if (r)
		bench_die("lmdb: %s: %s", what, mdb_strerror(r));
}

struct table_lmdb *table_lmdb_open(const char *dir, uint64_t records, unsigned mode, bool fresh)
{
	struct table_lmdb *lmdb = calloc(1, sizeof(*lmdb));
	unsigned flags = MDB_NOTLS;
	MDB_txn *txn;

	if (!lmdb)
		bench_die("out of memory");
	if (mode & TABLE_LMDB_NOSYNC)
		flags |= MDB_NOSYNC;
	if (mode & TABLE_LMDB_WRITEMAP)
		flags |= MDB_WRITEMAP;
	if (fresh)
		table_clear(dir);
	mkdir(dir, 0700);
	check(mdb_env_create(&lmdb->env), "create");
	check(mdb_env_set_mapsize(lmdb->env, (size_t)(records * 400 + (256ull << 20)) & ~(size_t)4095), "map size");
	check(mdb_env_open(lmdb->env, dir, flags, 0600), dir);
	check(mdb_txn_begin(lmdb->env, NULL, 0, &txn), "begin");
	check(mdb_dbi_open(txn, NULL, 0, &lmdb->dbi), "open");
	check(mdb_txn_commit(txn), "commit");
	return lmdb;
}

void table_lmdb_close(struct table_lmdb *lmdb)
{
	mdb_env_close(lmdb->env);
	free(lmdb);
}

uint64_t table_lmdb_count(struct table_lmdb *lmdb)
{
	MDB_stat stat;

	check(mdb_env_stat(lmdb->env, &stat), "stat");
	return stat.ms_entries;
}

static void put(struct table_lmdb *lmdb, MDB_txn *txn, uint64_t number, uint64_t step, unsigned flags)
{
	uint8_t key[TABLE_KEY], value[TABLE_VALUE];
	MDB_val k = {sizeof(key), key}, v = {sizeof(value), value};

	table_key(number, step, key);
	table_value(number, value);
	check(mdb_put(txn, lmdb->dbi, &k, &v, flags), "put");
}

void table_lmdb_append(struct table_lmdb *lmdb, uint64_t count, uint64_t step)
{
	MDB_txn *txn;

	check(mdb_txn_begin(lmdb->env, NULL, 0, &txn), "begin");
	for (uint64_t i = 0; i < count; i++)
		put(lmdb, txn, 2 * i, step, MDB_APPEND);
	check(mdb_txn_commit(txn), "commit");
	check(mdb_env_sync(lmdb->env, 1), "sync");
}

void table_lmdb_put(struct table_lmdb *lmdb, const uint64_t *numbers, size_t count, size_t batch, uint64_t step)
{
	for (size_t i = 0; i < count; i += batch) {
		MDB_txn *txn;

		check(mdb_txn_begin(lmdb->env, NULL, 0, &txn), "begin");
		for (size_t k = i; k < count && k < i + batch; k++)
			put(lmdb, txn, numbers[k], step, 0);
		check(mdb_txn_commit(txn), "commit");
	}
}

void table_lmdb_put_one(struct table_lmdb *lmdb, const uint8_t *key, const void *value)
{
	MDB_val k = {TABLE_KEY, (void *)(uintptr_t)key}, v = {TABLE_VALUE, (void *)(uintptr_t)value};
	MDB_txn *txn;

	check(mdb_txn_begin(lmdb->env, NULL, 0, &txn), "begin");
	check(mdb_put(txn, lmdb->dbi, &k, &v, 0), "put");
	check(mdb_txn_commit(txn), "commit");
}

void table_lmdb_sync(struct table_lmdb *lmdb)
{
	check(mdb_env_sync(lmdb->env, 1), "sync");
}

struct table_lmdb_reader *table_lmdb_reader(struct table_lmdb *lmdb)
{
	struct table_lmdb_reader *reader = calloc(1, sizeof(*reader));

	if (!reader)
		bench_die("out of memory");
	reader->lmdb = lmdb;
	check(mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, &reader->txn), "begin");
	return reader;
}

void table_lmdb_reader_renew(struct table_lmdb_reader *reader)
{
	mdb_txn_reset(reader->txn);
	check(mdb_txn_renew(reader->txn), "renew");
}

void table_lmdb_reader_end(struct table_lmdb_reader *reader)
{
	mdb_txn_abort(reader->txn);
	free(reader);
}

size_t table_lmdb_get(struct table_lmdb_reader *reader, const struct table_want *wants, size_t count)
{
	size_t found = 0;

	for (size_t i = 0; i < count; i++) {
		MDB_val k = {TABLE_KEY, (void *)wants[i].key}, v;
		uint64_t word;
		int r;

		r = mdb_get(reader->txn, reader->lmdb->dbi, &k, &v);
		if (r == MDB_NOTFOUND)
			continue;
		check(r, "get");
		memcpy(&word, (const char *)v.mv_data + TABLE_VALUE - 8, 8);
		found += v.mv_size == TABLE_VALUE && word == wants[i].word;
	}
	return found;
}

uint64_t table_lmdb_size(struct table_lmdb *lmdb)
{
	MDB_envinfo info;
	MDB_stat stat;

	check(mdb_env_info(lmdb->env, &info), "info");
	check(mdb_env_stat(lmdb->env, &stat), "stat");
	return (info.me_last_pgno + 1) * stat.ms_psize;
}
