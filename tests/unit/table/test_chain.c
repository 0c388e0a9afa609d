// SPDX-License-Identifier: GPL-2.0-only
/*
 * Chains of several lines: whoever finds the first line unchanged has met each key where it was, once. So an entry
 * that is elsewhere than it was, after one transaction or several, is so under another version.
 */
#include "fixture.h"

#include "store/table/internal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "kselftest_harness.h"

#define KEYS 24u
#define BUCKET 5u
#define SETS 3000u
#define SECONDS 2.0

FIXTURE(chain)
{
	struct env env;
	struct pf_table *t;
	uint64_t keys[KEYS]; /* all in one bucket, no two with one tag */
};

static bool tag_is_new(const struct pf_table *table, const uint64_t *keys, unsigned count, uint64_t hash)
{
	for (unsigned i = 0; i < count; i++)
		if (pf_hash_tag(pf_hash(&keys[i], sizeof(keys[i]), table->seed)) == pf_hash_tag(hash))
			return false;
	return true;
}

FIXTURE_SETUP(chain)
{
	unsigned count = 0;

	ASSERT_EQ(0, env_begin(&self->env, PINFOLD_SYNC_ASYNC));
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", PINFOLD_TABLE_CREATE, &self->t));
	for (uint64_t key = 1; count < KEYS; key++) {
		uint64_t hash = pf_hash(&key, sizeof(key), self->t->seed);

		if (hash % PF_BUCKETS_MIN == BUCKET && tag_is_new(self->t, self->keys, count, hash))
			self->keys[count++] = key;
	}
}

FIXTURE_TEARDOWN(chain)
{
	env_end(&self->env);
}

struct chain {
	struct pf_line first;
	int line[KEYS]; /* of each key's entry; -1: it has none */
};

static int chain_read(struct pf_table *table, const uint64_t *keys, struct chain *ret_chain)
{
	struct pf_line line;
	int r = pf_bucket_read(table, BUCKET, &line);

	if (r < 0)
		return r;
	ret_chain->first = line;
	for (unsigned k = 0; k < KEYS; k++)
		ret_chain->line[k] = -1;
	for (int number = 0;; number++) {
		bool linked = line.flags & PF_LINE_LINKED;

		for (unsigned i = 0; i < PF_LINE_ENTRIES - linked; i++)
			for (unsigned k = 0; k < KEYS; k++)
				if (line.entry[i] &&
				    line.entry[i] >> PF_TAG_SHIFT ==
					    pf_hash_tag(pf_hash(&keys[k], sizeof(keys[k]), table->seed)))
					ret_chain->line[k] = number;
		if (!linked)
			return 0;
		r = pf_line_read(table, pf_entry_loc(line.entry[PF_LINE_ENTRIES - 1]), BUCKET, &line);
		if (r < 0)
			return r;
	}
}

static struct pinfold_change change_of(const uint64_t *key, const char *value)
{
	return (struct pinfold_change){
		.key = key, .key_size = sizeof(*key), .value = value, .value_size = value != NULL
	};
}

static int submit(struct pf_table *table, struct pinfold_change *changes, size_t count)
{
	pinfold_ticket ticket;

	return pf_table_submit(table, changes, count, &ticket);
}

/* The smallest case: an entry of the first line comes back in the second, and the other way round. */
TEST_F(chain, deleted_and_put_by_one_transaction)
{
	struct chain before, after;
	const uint64_t *keys = self->keys;

	for (unsigned k = 0; k < 9; k++)
		ASSERT_EQ(0, pf_table_put(self->t, &keys[k], sizeof(keys[k]), "v", 1));
	for (unsigned turn = 0; turn < 8; turn++) {
		unsigned a = turn % 2 ? 7 : 0, b = 7 - a;
		struct pinfold_change changes[4] = { change_of(&keys[a], NULL), change_of(&keys[b], NULL),
						     change_of(&keys[b], "v"), change_of(&keys[a], "v") };

		ASSERT_EQ(0, chain_read(self->t, keys, &before));
		ASSERT_EQ(0, submit(self->t, changes, 4));
		ASSERT_EQ(0, chain_read(self->t, keys, &after));
		EXPECT_NE(before.line[0], before.line[7]);
		EXPECT_EQ(before.line[0], after.line[7]);
		EXPECT_EQ(before.line[7], after.line[0]);
		EXPECT_NE(before.first.version, after.first.version);
	}
	EXPECT_EQ(0, env_verify(&self->env));
}

/* Any changes, in sets of any size: what has moved since it was last seen has done so under another version. */
TEST_F(chain, whatever_moves_does_so_with_a_new_version)
{
	struct {
		int line;
		uint16_t version;
	} last[KEYS];
	uint64_t random = 20260417;
	unsigned moved = 0;

	for (unsigned k = 0; k < KEYS; k++)
		last[k].line = -1;
	for (unsigned set = 0; set < SETS; set++) {
		/* few keys for some sets, so that one comes twice; now and then nearly all go, or come */
		unsigned count = 1 + env_random(&random) % 12, keys = set % 3 ? KEYS : 9, puts = set / 40 % 3 + 2;
		struct pinfold_change changes[12];
		struct chain chain;

		for (unsigned i = 0; i < count; i++)
			changes[i] = change_of(&self->keys[env_random(&random) % keys],
					       env_random(&random) % 6 < puts ? "v" : NULL);
		ASSERT_EQ(0, submit(self->t, changes, count));
		ASSERT_EQ(0, chain_read(self->t, self->keys, &chain));
		for (unsigned k = 0; k < KEYS; k++) {
			if (chain.line[k] < 0)
				continue;
			if (last[k].line >= 0 && chain.line[k] != last[k].line) {
				moved++;
				ASSERT_NE(last[k].version, chain.first.version)
				{
					TH_LOG("set %u: key %u moved from line %d to %d", set, k, last[k].line,
					       chain.line[k]);
				}
			}
			last[k].line = chain.line[k];
			last[k].version = chain.first.version;
		}
	}
	EXPECT_LT(SETS / 10, moved);
	EXPECT_EQ(0, env_verify(&self->env));
}

struct writer {
	struct pf_table *table;
	const uint64_t *keys;
	atomic_bool stop;
	atomic_uint errors;
};

static void *writer_run(void *arg)
{
	struct writer *writer = arg;

	for (unsigned turn = 0; !atomic_load(&writer->stop); turn++) {
		const uint64_t *a = &writer->keys[turn % 2 ? 7 : 0], *b = &writer->keys[turn % 2 ? 0 : 7];
		struct pinfold_change changes[4] = { change_of(a, NULL), change_of(b, NULL), change_of(b, "v"),
						     change_of(a, "v") };

		if (submit(writer->table, changes, 4) < 0)
			atomic_fetch_add(&writer->errors, 1);
	}
	return NULL;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

TEST_F(chain, readers_beside_moves_miss_nothing_and_meet_nothing_twice)
{
	struct writer writer = { .table = self->t, .keys = self->keys };
	unsigned scans = 0;
	pthread_t thread;
	double end;

	for (unsigned k = 0; k < 9; k++)
		ASSERT_EQ(0, pf_table_put(self->t, &self->keys[k], sizeof(uint64_t), "v", 1));
	ASSERT_EQ(0, pthread_create(&thread, NULL, writer_run, &writer));
	for (end = now() + SECONDS; now() < end; scans++) {
		unsigned seen[KEYS] = { 0 };
		struct pinfold_record record;
		struct pf_cursor *cursor;
		char value[8];

		for (unsigned i = 0; i < 400; i++)
			EXPECT_EQ(0, pf_table_get(self->t, &self->keys[i % 2 ? 7 : 0], sizeof(uint64_t), value,
						  sizeof(value), NULL));
		ASSERT_EQ(0, pf_cursor_open(self->t, &cursor));
		while (pf_cursor_next(cursor, &record) == 1)
			for (unsigned k = 0; k < KEYS; k++)
				seen[k] += memcmp(record.key, &self->keys[k], sizeof(uint64_t)) == 0;
		pf_cursor_close(cursor);
		for (unsigned k = 0; k < 9; k++)
			EXPECT_EQ(1, seen[k]);
	}
	atomic_store(&writer.stop, true);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_LT(0, scans);
	EXPECT_EQ(0, atomic_load(&writer.errors));
}

TEST_HARNESS_MAIN
