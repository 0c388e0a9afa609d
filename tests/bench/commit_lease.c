/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * commit_lease.c - bench_commit's updates by pinfold_lease_submit(): each is a renewal by the token that the actor was
 * granted, for another time and with other data, so every word of the lease but its version, token, node and time of
 * grant changes. One call for what a thread has in flight. At the end all leases are compared with what was written
 * last.
 */
#include "commit.h"

#include <pinfold.h>
#include <stdlib.h>
#include <string.h>

/* Longer than any run; what is added to it changes with each renewal. */
#define TTL_MS 86400000u
/* Range header; checksum, sizes, key with its kind, and the lease, in whole words. */
#define UPDATE_BYTES (16u + ((8u + 1 + COMMIT_KEY + 256 + 7) & ~7u))

_Static_assert(PINFOLD_LEASE_DATA_MAX <= COMMIT_VALUE, "a lease's data is the beginning of a record's value");

struct db {
	struct pinfold *pf;
	struct pinfold_leases *leases;
	bool sync;
	uint64_t records;
	uint64_t *token;   /* by actor */
	uint64_t *written; /* by actor: the first word of its newest data */
};

static void lease_check(const struct db *db, int r, const char *what)
{
	if (r < 0)
		bench_die("bench_commit: leases: %s: %s", what, pinfold_errmsg(db->pf));
}

static void load(struct db *db)
{
	for (uint64_t i = 0; i < db->records; i++) {
		uint8_t actor[COMMIT_KEY];
		uint64_t data[COMMIT_VALUE / 8];
		struct pinfold_lease_op op = { .what = PINFOLD_LEASE_ACQUIRE,
					       .actor = actor,
					       .actor_size = sizeof(actor),
					       .ttl_ms = TTL_MS,
					       .data = data,
					       .data_size = PINFOLD_LEASE_DATA_MAX };
		pinfold_ticket ticket;

		commit_key(i, actor);
		commit_value(i, 0, data);
		lease_check(db, pinfold_lease_submit(db->leases, &op, 1, &ticket), "load");
		if (op.result)
			bench_die("bench_commit: leases: an actor is held already");
		db->token[i] = op.ret_token;
		db->written[i] = data[0];
	}
	lease_check(db, pinfold_checkpoint(db->pf), "checkpoint");
}

static void *open_db(const struct commit_params *params, const char *path, bool sync)
{
	struct pinfold_config config = { .size = sizeof(config),
					 .flags = PINFOLD_OPEN_CREATE | PINFOLD_OPEN_EXCLUSIVE |
						  PINFOLD_OPEN_STORE_ONLY,
					 .file_size = 4ull << 30,
					 .journal_size = COMMIT_JOURNAL,
					 .sync = sync ? PINFOLD_SYNC_SYNC : PINFOLD_SYNC_ASYNC };
	struct db *db = calloc(1, sizeof(*db));
	char words[512] = "";

	if (!db || pinfold_open(path, &config, words, sizeof(words), &db->pf) < 0)
		bench_die("bench_commit: %s: %s", path, words);
	db->sync = sync;
	db->records = params->records;
	db->token = calloc(db->records, sizeof(*db->token));
	db->written = calloc(db->records, sizeof(*db->written));
	if (!db->token || !db->written)
		bench_die("bench_commit: out of memory");
	lease_check(db, pinfold_leases_open(db->pf, "bench", PINFOLD_TABLE_CREATE, &db->leases), "open");
	load(db);
	return db;
}

static uint64_t actor_number(const uint8_t key[COMMIT_KEY])
{
	uint64_t number;

	memcpy(&number, key, sizeof(number));
	return number;
}

static void update(void *ctx, struct commit_batch *batch)
{
	static _Thread_local struct pinfold_lease_op ops[COMMIT_BATCH_MAX];
	struct db *db = ctx;
	pinfold_ticket ticket;

	for (unsigned i = 0; i < batch->count; i++)
		ops[i] = (struct pinfold_lease_op){ .what = PINFOLD_LEASE_RENEW,
						    .actor = batch->key[i],
						    .actor_size = COMMIT_KEY,
						    .token = db->token[actor_number(batch->key[i])],
						    .ttl_ms = TTL_MS + (batch->value[i][0] & 0xffff),
						    .data = batch->value[i],
						    .data_size = PINFOLD_LEASE_DATA_MAX };
	lease_check(db, pinfold_lease_submit(db->leases, ops, batch->count, &ticket), "renew");
	if (db->sync)
		lease_check(db, pinfold_ticket_wait(db->pf, ticket, -1), "wait");
	for (unsigned i = 0; i < batch->count; i++) {
		if (ops[i].result)
			bench_die("bench_commit: leases: a renewal is refused");
		db->written[actor_number(batch->key[i])] = batch->value[i][0];
	}
}

static void sync_db(void *ctx)
{
	struct db *db = ctx;

	lease_check(db, pinfold_sync(db->pf), "sync");
}

static void settle(void *ctx)
{
	struct db *db = ctx;

	lease_check(db, pinfold_checkpoint(db->pf), "checkpoint");
}

static void close_db(void *ctx)
{
	struct db *db = ctx;

	for (uint64_t i = 0; i < db->records; i++) {
		struct pinfold_lease lease;
		uint8_t actor[COMMIT_KEY];
		uint64_t word;

		commit_key(i, actor);
		lease_check(db, pinfold_lease_get(db->leases, actor, sizeof(actor), &lease), "get");
		memcpy(&word, lease.data, sizeof(word));
		if (lease.token != db->token[i] || word != db->written[i])
			bench_die("bench_commit: leases: a lease does not hold what was written last");
	}
	pinfold_leases_close(db->leases);
	if (pinfold_close(db->pf) < 0)
		bench_die("bench_commit: leases: close failed");
	free(db->token);
	free(db->written);
	free(db);
}

const struct commit_store commit_lease = { .name = "leases",
					   .open = open_db,
					   .update = update,
					   .sync = sync_db,
					   .settle = settle,
					   .close = close_db,
					   .blind = true,
					   .update_bytes = UPDATE_BYTES };
