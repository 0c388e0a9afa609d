/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * table_none.c - bench_table built without RocksDB: puts are compared with LMDB's alone.
 */
#include "table.h"

#include <stddef.h>

struct table_rocksdb *table_rocksdb_open(const char *dir, uint64_t records, bool lazy)
{
	if (!lazy) /* said once */
		fprintf(stderr, "bench_table: built without RocksDB: puts are compared with LMDB's alone\n");
	return NULL;
}

void table_rocksdb_begin(struct table_rocksdb *rocksdb)
{
}

void table_rocksdb_end(struct table_rocksdb *rocksdb)
{
}

void table_rocksdb_put_one(struct table_rocksdb *rocksdb, const uint8_t *key, const void *value)
{
}

void table_rocksdb_settle(struct table_rocksdb *rocksdb)
{
}

void table_rocksdb_close(struct table_rocksdb *rocksdb)
{
}
