// SPDX-License-Identifier: GPL-2.0-only
/* Overwriting records in place, and independent changes in one submission. */
#include "fixture.h"
#include "kselftest_harness.h"

#include <fcntl.h>
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

/* Of the record whose key begins with @key: the checksum is before the sizes, these before the key. */
static int damage_checksum(struct env *env, const char *key)
{
	return env_damage(env, key, 8);
}

/* What a put answers with 0 can be read, also where it had nothing to change. */
TEST_F(update, a_put_of_the_same_value_heals_a_damaged_checksum)
{
	struct pinfold_change cas = change_of("the key of a record, by cas", "its value", "its value");
	pinfold_ticket ticket;

	ASSERT_EQ(0, pf_table_put(self->table, "the key of a record, by put", 27, "its value", 9));
	ASSERT_EQ(0, pf_table_put(self->table, "the key of a record, by cas", 27, "its value", 9));
	ASSERT_EQ(0, env_close(&self->env));
	ASSERT_EQ(0, damage_checksum(&self->env, "the key of a record, by put"));
	ASSERT_EQ(0, damage_checksum(&self->env, "the key of a record, by cas"));
	ASSERT_EQ(0, env_open(&self->env));
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", 0, &self->table));
	EXPECT_STREQ("(error)", value_of(self->table, "the key of a record, by put"));
	ASSERT_EQ(0, pf_table_put(self->table, "the key of a record, by put", 27, "its value", 9));
	EXPECT_STREQ("its value", value_of(self->table, "the key of a record, by put"));
	EXPECT_STREQ("(error)", value_of(self->table, "the key of a record, by cas"));
	ASSERT_EQ(0, pf_table_submit(self->table, &cas, 1, &ticket));
	EXPECT_EQ(0, cas.result);
	EXPECT_STREQ("its value", value_of(self->table, "the key of a record, by cas"));
	ASSERT_EQ(0, env_reopen(&self->env));
	EXPECT_EQ(0, env_verify(&self->env));
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
	uint64_t torn, old;
	_Atomic uint64_t gets;
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
	while (atomic_load(&race.gets) == 0) /* else all may be written before it begins */
		usleep(100);
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

/* Many threads submit to one table at once: each is carried out once, whoever does it, and fails by its own words. */
#define CROWD 12
#define TURNS 300
struct one {
	struct pf_table *table;
	uint64_t own, grants; /* own counter; of the shared one, how often ours was the change */
	unsigned index, failed;
};

/* A transaction that no journal of the fixture takes. */
static int submit_too_much(struct pf_table *table)
{
	static uint8_t value[PINFOLD_VALUE_MAX];
	static uint32_t keys[100];
	struct pinfold_change changes[100];
	pinfold_ticket ticket;

	for (uint32_t i = 0; i < 100; i++)
		changes[i] = (struct pinfold_change){
			.key = &keys[i], .key_size = 4, .value = value, .value_size = sizeof(value)};
	for (uint32_t i = 0; i < 100; i++)
		__atomic_store_n(&keys[i], 1000000 + i, __ATOMIC_RELAXED);
	return pf_table_submit(table, changes, 100, &ticket);
}

static void *crowd_run(void *arg)
{
	struct one *one = arg;
	uint64_t shared = 0;

	for (unsigned turn = 0; turn < TURNS; turn++) {
		uint64_t next = one->own + 1, shared_next = shared + 1;
		uint32_t key = one->index, all = 99;
		struct pinfold_change changes[] = {
			{ .key = &key, .key_size = 4, .value = &next, .value_size = 8, .expected = &one->own,
			  .expected_size = 8, .flags = PINFOLD_CHANGE_COMPARE },
			{ .key = &all, .key_size = 4, .value = &shared_next, .value_size = 8, .expected = &shared,
			  .expected_size = 8, .flags = PINFOLD_CHANGE_COMPARE },
		};
		pinfold_ticket ticket = 0;
		size_t size;

		if (one->index == 0 && turn % 50 == 0 &&
		    (submit_too_much(one->table) != -E2BIG || !strstr(pf_error_text(), "transaction of more than")))
			one->failed++;
		if (pf_table_submit(one->table, changes, 2, &ticket) < 0 || !ticket || changes[0].result < 0)
			one->failed++;
		one->own = next;
		one->grants += changes[1].result == 0;
		if (pf_table_get(one->table, &all, 4, &shared, 8, &size) < 0)
			one->failed++;
	}
	return NULL;
}

TEST_F(update, a_crowd_submits)
{
	struct one ones[CROWD];
	pthread_t threads[CROWD];
	uint64_t zero = 0, value, grants = 0;
	uint32_t all = 99;
	size_t size;

	ASSERT_EQ(0, pf_table_put(self->table, &all, 4, &zero, 8));
	for (uint32_t i = 0; i < CROWD; i++)
		ASSERT_EQ(0, pf_table_put(self->table, &i, 4, &zero, 8));
	for (unsigned i = 0; i < CROWD; i++) {
		ones[i] = (struct one){ .table = self->table, .index = i };
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, crowd_run, &ones[i]));
	}
	for (uint32_t i = 0; i < CROWD; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_EQ(0, ones[i].failed);
		ASSERT_EQ(0, pf_table_get(self->table, &i, 4, &value, 8, &size));
		EXPECT_EQ(TURNS, value);
		grants += ones[i].grants;
	}
	ASSERT_EQ(0, pf_table_get(self->table, &all, 4, &value, 8, &size));
	EXPECT_EQ(grants, value);
	EXPECT_LT(0, grants);
	ASSERT_EQ(0, env_reopen(&self->env));
	EXPECT_EQ(0, pf_table_verify(self->env.store, NULL, NULL, NULL));
}

TEST_HARNESS_MAIN
