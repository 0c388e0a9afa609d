/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * commit.h - parts of bench_commit: what is updated, and the stores that do it.
 */
#ifndef BENCH_COMMIT_H
#define BENCH_COMMIT_H

#include "common.h"

#define COMMIT_KEY 16u
#define COMMIT_VALUE 256u
#define COMMIT_BATCH_MAX 1024u
#define COMMIT_THREADS_MAX 256u
#define COMMIT_JOURNAL (1ull << 30) /* bytes of pinfold's */

struct commit_params {
	const char *dir;
	uint64_t records;
	double seconds;     /* of each run */
	unsigned pairs;
};

/* Updates that one thread has in flight at a time: records of its own, so that it knows what they hold. */
struct commit_batch {
	unsigned count;
	uint8_t key[COMMIT_BATCH_MAX][COMMIT_KEY];
	uint64_t value[COMMIT_BATCH_MAX][COMMIT_VALUE / 8], expected[COMMIT_BATCH_MAX][COMMIT_VALUE / 8];
};

void commit_key(uint64_t number, uint8_t ret_key[COMMIT_KEY]);
/** All words of it are others for another version. */
void commit_value(uint64_t number, uint32_t version, uint64_t ret_value[COMMIT_VALUE / 8]);

/** A store with @records records of version 0. Functions die of errors, and of a record that does not hold what it
 * must. */
struct commit_store {
	const char *name;
	/** Opens DIR/NAME, made anew. @sync: acknowledged means durable. */
	void *(*open)(const struct commit_params *params, const char *path, bool sync);
	/** Replaces each record's value if it is the expected one; returns when all are acknowledged. Any thread. */
	void (*update)(void *db, struct commit_batch *batch);
	/** Returns when all that was acknowledged is durable. No update at the same time. */
	void (*sync)(void *db);
	/** The same, and what updates leave to be done later is done, so that it is not in the time of what follows. */
	void (*settle)(void *db);
	void (*close)(void *db);
	bool blind;            /* needs no expected values */
	unsigned update_bytes; /* what an update takes in its journal; 0: not asked for */
};
extern const struct commit_store commit_pinfold, commit_lease, commit_lmdb;
/** NULL: built without it. */
extern const struct commit_store *const commit_rocksdb;

#endif
