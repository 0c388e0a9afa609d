// SPDX-License-Identifier: GPL-2.0-only
/* Overwriting records in place, and independent changes in one submission. */
#include "fixture.h"
#include "kselftest_harness.h"

#include <pthread.h>
#include <stdatomic.h>

FIXTURE(update)
{
	struct env env;
	struct pf_table *table;
};
FIXTURE_VARIANT(update) { enum pinfold_sync sync; };
FIXTURE_VARIANT_ADD(update, sync) { .sync = PINFOLD_SYNC_SYNC };
FIXTURE_VARIANT_ADD(update, async) { .sync = PINFOLD_SYNC_ASYNC };
FIXTURE_VARIANT_ADD(update, none) { .sync = PINFOLD_SYNC_NONE };
FIXTURE_SETUP(update)
{
	ASSERT_EQ(0, env_begin(&self->env, variant->sync));
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", PINFOLD_TABLE_CREATE, &self->table));
}
FIXTURE_TEARDOWN(update)
{
	env_end(&self->env);
}

static struct pinfold_change change_of(const char *key, const char *value, const char *expected)
{
	return (struct pinfold_change){ .key = key, .key_size = strlen(key),
					.value = value, .value_size = value ? strlen(value) : 0,
					.expected = expected, .expected_size = expected ? strlen(expected) : 0,
					.flags = expected ? PINFOLD_CHANGE_COMPARE : 0 };
}

static const char *value_of(struct pf_table *table, const char *key)
{
	static char value[2000];
	size_t size = 0;
	int r = pf_table_get(table, key, strlen(key), value, sizeof(value) - 1, &size);

	if (r < 0)
		return r == -ENOENT ? "(absent)" : "(error)";
	value[size] = 0;
	return value;
}

TEST_F(update, each_change_has_its_own_result)
{
	struct pinfold_change changes[] = {
		change_of("a", "1111", NULL), change_of("a", "2222", "1111"), /* sees the one before it */
		change_of("a", "3333", "9999"), /* refused */
		change_of("gone", NULL, NULL),  /* nothing to delete */
		change_of("a", "44444444", "2222"), /* another size */
		change_of("a", "55555555", "44444444"),
		change_of("b", "x", "y"), /* absent, but a value is expected */
	};
	const int results[] = { 0, 0, -EAGAIN, -ENOENT, 0, 0, -EAGAIN };
	pinfold_ticket ticket;

	ASSERT_EQ(0, pf_table_submit(self->table, changes, 7, &ticket));
	for (int i = 0; i < 7; i++)
		EXPECT_EQ(results[i], changes[i].result);
	EXPECT_STREQ("55555555", value_of(self->table, "a"));
	EXPECT_STREQ("(absent)", value_of(self->table, "b"));
	EXPECT_EQ(0, pf_ticket_wait(self->env.store, ticket, variant->sync == PINFOLD_SYNC_NONE ? -1 : 10000));
	ASSERT_EQ(0, env_reopen(&self->env));
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", 0, &self->table));
	EXPECT_STREQ("55555555", value_of(self->table, "a"));
	EXPECT_EQ(0, pf_table_verify(self->env.store, NULL, NULL, NULL));
}

TEST_F(update, bad_changes_are_refused_whole)
{
	struct pinfold_change changes[] = { change_of("a", "1", NULL), change_of("", "1", NULL) };
	pinfold_ticket ticket;

	EXPECT_EQ(-EINVAL, pf_table_submit(self->table, changes, 2, &ticket));
	changes[1] = change_of("b", "1", NULL);
	changes[1].flags = 8;
	EXPECT_EQ(-EINVAL, pf_table_submit(self->table, changes, 2, &ticket));
	EXPECT_EQ(-EINVAL, pf_table_submit(self->table, changes, 65537, &ticket));
	EXPECT_STREQ("(absent)", value_of(self->table, "a"));
	EXPECT_EQ(0, pf_table_submit(self->table, changes, 0, &ticket));
}

static uint64_t commit_bytes(struct pf_store *store)
{
	struct pinfold_store_stats stats;

	pf_store_stat(store, &stats);
	return stats.commit_bytes;
}

TEST_F(update, same_size_takes_one_range_up_to_the_last_changed_word)
{
	char value[256];
	uint64_t before;

	memset(value, 'a', sizeof(value));
	ASSERT_EQ(0, pf_table_put(self->table, "lease", 5, value, sizeof(value)));
	before = commit_bytes(self->env.store);
	memset(value, 'b', sizeof(value));
	ASSERT_EQ(0, pf_table_put(self->table, "lease", 5, value, sizeof(value)));
	/* record header, range header, then checksum, sizes, key and value, padded */
	EXPECT_EQ(40u + 16 + 272, commit_bytes(self->env.store) - before);
	before = commit_bytes(self->env.store);
	value[3] = 'c';
	ASSERT_EQ(0, pf_table_put(self->table, "lease", 5, value, sizeof(value)));
	EXPECT_EQ(40u + 16 + 24, commit_bytes(self->env.store) - before);
	before = commit_bytes(self->env.store);
	ASSERT_EQ(0, pf_table_put(self->table, "lease", 5, value, sizeof(value)));
	EXPECT_EQ(0u, commit_bytes(self->env.store) - before); /* the same value */
	ASSERT_EQ(0, env_reopen(&self->env));
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", 0, &self->table));
	{
		char got[256];
		size_t size;

		ASSERT_EQ(0, pf_table_get(self->table, "lease", 5, got, sizeof(got), &size));
		EXPECT_EQ(0, memcmp(got, value, sizeof(got)));
	}
	EXPECT_EQ(0, pf_table_verify(self->env.store, NULL, NULL, NULL));
}

TEST_F(update, large_records_move)
{
	static char value[1500];
	uint64_t before;

	ASSERT_EQ(0, pf_table_put(self->table, "k", 1, value, sizeof(value)));
	before = commit_bytes(self->env.store);
	value[0] = 1;
	ASSERT_EQ(0, pf_table_put(self->table, "k", 1, value, sizeof(value)));
	EXPECT_LT(1500u, commit_bytes(self->env.store) - before);
	EXPECT_EQ(0, pf_table_verify(self->env.store, NULL, NULL, NULL));
}

/* Readers beside a writer that overwrites in place: values whole, and never older than what was acknowledged. */
#define RECORDS 300
struct race {
	struct pf_table *table;
	_Atomic uint64_t acknowledged[RECORDS];
	_Atomic bool stop;
	uint64_t torn, old, gets;
};

static void *reader(void *arg)
{
	struct race *race = arg;

	for (uint32_t key = 0; !atomic_load(&race->stop); key = (key + 7) % RECORDS) {
		uint64_t least = atomic_load(&race->acknowledged[key]), words[40];
		size_t size = 0;

		if (pf_table_get(race->table, &key, 4, words, sizeof(words), &size) < 0 || size != sizeof(words)) {
			race->torn++;
			continue;
		}
		for (unsigned i = 1; i < 40; i++)
			race->torn += words[i] != words[0] * 31 + i;
		race->old += words[0] < least;
		race->gets++;
	}
	return NULL;
}

static void words_make(uint64_t count, uint64_t *ret_words)
{
	for (unsigned i = 0; i < 40; i++)
		ret_words[i] = i ? count * 31 + i : count;
}

TEST_F(update, readers_see_whole_and_current_values)
{
	const uint64_t turns = variant->sync == PINFOLD_SYNC_SYNC ? 60 : 600;
	static struct race race;
	static uint64_t words[32][40];
	uint32_t keys[32];
	pthread_t thread;

	race = (struct race){ .table = self->table };
	for (uint32_t key = 0; key < RECORDS; key++) {
		words_make(1, words[0]);
		ASSERT_EQ(0, pf_table_put(self->table, &key, 4, words[0], sizeof(words[0])));
		race.acknowledged[key] = 1;
	}
	ASSERT_EQ(0, pthread_create(&thread, NULL, reader, &race));
	for (uint64_t turn = 2; turn < turns; turn++) {
		for (uint32_t from = 0; from + 32 <= RECORDS; from += 32) {
			struct pinfold_change changes[32];
			pinfold_ticket ticket;

			for (uint32_t i = 0; i < 32; i++) {
				keys[i] = from + i;
				words_make(turn, words[i]);
				changes[i] = (struct pinfold_change){ .key = &keys[i],
								      .key_size = 4,
								      .value = words[i],
								      .value_size = sizeof(words[i]) };
			}
			ASSERT_EQ(0, pf_table_submit(self->table, changes, 32, &ticket));
			for (uint32_t i = 0; i < 32; i++)
				atomic_store(&race.acknowledged[keys[i]], turn);
		}
		if (turn % 50 == 0)
			ASSERT_EQ(0, pf_store_checkpoint(self->env.store));
	}
	atomic_store(&race.stop, true);
	pthread_join(thread, NULL);
	EXPECT_EQ(0u, race.torn);
	EXPECT_EQ(0u, race.old);
	EXPECT_LT(0u, race.gets);
	EXPECT_EQ(0, pf_table_verify(self->env.store, NULL, NULL, NULL));
}

TEST_HARNESS_MAIN
