/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * table.h - parts of bench_table: the records, LMDB beside pinfold, the figures.
 *
 * Records: 16-byte keys, spread evenly over their whole range, and 120-byte values, both functions of a
 * number. Key number 2 i is that of record i; odd numbers are keys that no record has. Keys grow with their
 * number, so LMDB can be loaded by appending.
 */
#ifndef BENCH_TABLE_H
#define BENCH_TABLE_H

#include "common.h"

#include <pinfold.h>

#define TABLE_KEY 16u
#define TABLE_VALUE 120u
#define TABLE_PAIRS_MAX 64
#define TABLE_THREADS_MAX 16
#define TABLE_FIGURES_MAX 64

/** One comparison: a value of each side per pair. */
struct table_figure {
	char what[64], against[32];
	const char *unit; /* of what was measured; larger is better unless at_most */
	double bound;     /* of the ratio, or of ours where there is no other side; 0: none */
	bool at_most, alone;
	bool none;        /* the bound is: none at all */
	double ours[TABLE_PAIRS_MAX], other[TABLE_PAIRS_MAX];
	unsigned count;
	const char *modes[2]; /* two ways of the other side, if there are; other[] is the better of each[] */
	double each[2][TABLE_PAIRS_MAX];
	char note[300];
};

struct table_bench {
	const char *dir;
	uint64_t records; /* of get, put and import */
	uint64_t grow_to;
	double rate;      /* of growth and beside gets, puts per second; 0: not said */
	double seconds;   /* of each timed run */
	unsigned pairs, threads, batch;
	int choice;       /* the only one of enum table_choice that gets make; < 0: all */
	bool engine;      /* with telemetry and controller */
	bool huge;        /* get, put, beside: all extents are pinned on huge pages before */
	bool verbose;     /* says of each long put when it was (CLOCK_MONOTONIC), to find it in a trace */
	bool keep;        /* leave the data, use what an earlier run left */
	struct table_figure figures[TABLE_FIGURES_MAX];
	unsigned figure_count;
};

/** The figure of that name, made when it is first asked for. */
struct table_figure *table_figure(struct table_bench *bench, const char *unit, double bound, const char *against,
				  const char *format, ...) __attribute__((format(printf, 5, 6)));
void table_figure_add(struct table_figure *figure, double ours, double other);
/** The other side was run in two ways, named @modes: compares with the better one, and says in the note which it was.
 */
void table_figure_add_better(struct table_figure *figure, double ours, const double other[2],
			     const char *const modes[2]);

/* ---- table_data.c ---- */

static inline uint64_t table_mix(uint64_t x)
{
	x = (x + 1) * 0x9e3779b97f4a7c15ull;
	x = (x ^ x >> 31) * 0xbf58476d1ce4e5b9ull;
	return x ^ x >> 29;
}

/** How far apart the keys of @records records and as many absent ones are. */
static inline uint64_t table_step(uint64_t records)
{
	return UINT64_MAX / (2 * records + 2);
}

static inline void table_key(uint64_t number, uint64_t step, uint8_t ret_key[TABLE_KEY])
{
	uint64_t mixed = table_mix(number);
	uint64_t word = __builtin_bswap64(number * step + (uint64_t)(((unsigned __int128)mixed * step) >> 64));

	__builtin_memcpy(ret_key, &word, 8);
	__builtin_memcpy(ret_key + 8, &mixed, 8);
}

/** Word @word of the value of key @number. Cheap: making records is in the time of puts and imports. */
static inline uint64_t table_value_word(uint64_t number, unsigned word)
{
	return (table_mix(number) + word) * 0x9e3779b97f4a7c15ull;
}

void table_value(uint64_t number, uint8_t ret_value[TABLE_VALUE]);

/** What a get asks for, made beforehand: the key, and the last word of the value that it finds. */
struct table_want {
	uint8_t key[TABLE_KEY];
	uint64_t word;
};
static inline void table_want(uint64_t number, uint64_t step, struct table_want *ret_want)
{
	table_key(number, step, ret_want->key);
	ret_want->word = table_value_word(number, TABLE_VALUE / 8 - 1);
}

enum table_choice { TABLE_UNIFORM, TABLE_ZIPF, TABLE_MISSES, TABLE_CHOICES };
extern const char *const table_choice_names[TABLE_CHOICES];
/** @count keys for @records records. Zipf: exponent 0.99, the popular ones strewn over all. The caller frees. */
struct table_want *table_sequence(enum table_choice choice, uint64_t records, size_t count, uint64_t seed);

/* ---- table_lmdb.c ---- */

struct table_lmdb;
/** With a bit set or not: commits do not sync; pages are written in the map instead of by write(). */
enum table_lmdb_mode { TABLE_LMDB_SYNC, TABLE_LMDB_NOSYNC = 1, TABLE_LMDB_WRITEMAP = 2 };
/** Dies if it cannot. @fresh: without what was there. */
struct table_lmdb *table_lmdb_open(const char *dir, uint64_t records, unsigned mode, bool fresh);
void table_lmdb_close(struct table_lmdb *lmdb);
uint64_t table_lmdb_count(struct table_lmdb *lmdb);
/** Appends records 0 .. @count - 1 in one transaction and makes them durable. */
void table_lmdb_append(struct table_lmdb *lmdb, uint64_t count, uint64_t step);
/** Puts records of the numbers at @numbers, @batch per transaction. */
void table_lmdb_put(struct table_lmdb *lmdb, const uint64_t *numbers, size_t count, size_t batch, uint64_t step);
/** One record of TABLE_VALUE bytes, in a transaction of its own. */
void table_lmdb_put_one(struct table_lmdb *lmdb, const uint8_t *key, const void *value);
void table_lmdb_sync(struct table_lmdb *lmdb);
/** Gets, in one read transaction of its own; returns how many were found with the right value, less those wrong. */
struct table_lmdb_reader;
struct table_lmdb_reader *table_lmdb_reader(struct table_lmdb *lmdb);
/** From now on it sees what is committed now. */
void table_lmdb_reader_renew(struct table_lmdb_reader *reader);
void table_lmdb_reader_end(struct table_lmdb_reader *reader);
size_t table_lmdb_get(struct table_lmdb_reader *reader, const struct table_want *wants, size_t count);
/** Bytes that the environment takes on disk. */
uint64_t table_lmdb_size(struct table_lmdb *lmdb);

/* ---- table_store.c: pinfold's side ---- */

struct table_store {
	struct pinfold *pf;
	struct pinfold_table *table;
	char dir[512];
};
void table_store_open(struct table_store *store, const struct table_bench *bench, const char *name,
		      enum pinfold_sync sync, bool fresh);
void table_store_close(struct table_store *store);
uint64_t table_store_count(struct table_store *store);
/** Pins all extents and asks for huge pages; says on stderr how much lies on such then. */
void table_store_pin_huge(struct table_store *store);
/** Puts records of the numbers at @numbers, @batch per transaction. */
void table_store_put(struct table_store *store, const uint64_t *numbers, size_t count, size_t batch, uint64_t step);
/** One record of TABLE_VALUE bytes. */
void table_store_put_one(struct table_store *store, const uint8_t *key, const void *value);
/** Until all is durable and in the data files' pages; settle: and those are written. */
void table_store_sync(struct table_store *store);
void table_store_settle(struct table_store *store);
/** Both with records 0 .. @records - 1, unless they have as many already. */
void table_fill(struct table_store *store, struct table_lmdb *lmdb, uint64_t records);
size_t table_store_get(struct table_store *store, const struct table_want *wants, size_t count);
/** The same through pinfold_table_get_batch(), @batch keys a call. */
size_t table_store_get_batch(struct table_store *store, const struct table_want *wants, size_t count, size_t batch);
/** Removes a directory of files. */
void table_clear(const char *dir);
/** Bytes allocated on disk to the files in @dir and below. */
uint64_t table_disk_bytes(const char *dir);

/* ---- table_rocksdb.c, or table_none.c ---- */

struct table_rocksdb;
#define TABLE_FLUSH_MS 10 /* as pinfold's flush_interval_ms, unless it is set */
/**
 * With records 0 .. @records - 1. Dies if it cannot; NULL: built without. @lazy: its log is written when it is flushed,
 * which table_rocksdb_begin() has a thread do every TABLE_FLUSH_MS, with a sync, until table_rocksdb_end(), which does
 * so once more.
 */
struct table_rocksdb *table_rocksdb_open(const char *dir, uint64_t records, bool lazy);
void table_rocksdb_begin(struct table_rocksdb *rocksdb);
void table_rocksdb_end(struct table_rocksdb *rocksdb);
void table_rocksdb_close(struct table_rocksdb *rocksdb);
/** One record of TABLE_VALUE bytes, into the log and not flushed. */
void table_rocksdb_put_one(struct table_rocksdb *rocksdb, const uint8_t *key, const void *value);
/** Until what was put is in files; after table_rocksdb_end(). */
void table_rocksdb_settle(struct table_rocksdb *rocksdb);

/* ---- table_bare.c: the least that a get can be ---- */

struct table_bare;
/** Records 0 .. @records - 1, in a file of their own in @dir. Dies if it cannot. */
struct table_bare *table_bare_open(const char *dir, uint64_t records, uint64_t step);
void table_bare_close(struct table_bare *bare);
size_t table_bare_get(const struct table_bare *bare, const struct table_want *wants, size_t count);
/** The same with prefetch, in groups of 32. */
size_t table_bare_get_batch(const struct table_bare *bare, const struct table_want *wants, size_t count);

/* ---- the figures ---- */

void table_run_get(struct table_bench *bench);
void table_run_grow(struct table_bench *bench);
void table_run_put(struct table_bench *bench);
void table_run_beside(struct table_bench *bench);
void table_run_import(struct table_bench *bench);
void table_run_load(struct table_bench *bench);

#endif
