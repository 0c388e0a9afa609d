// SPDX-License-Identifier: GPL-2.0-only
/*
 * Batched gets, and single ones beside them: every result that there is, whatever state the records are in.
 */
#include "fixture.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "kselftest_harness.h"

#define KEYS 5000u

static size_t value_of(uint32_t key, uint32_t version, uint8_t *ret_value)
{
	size_t size = (key * 37 + version * 11) % 301;

	for (size_t i = 0; i < size; i++)
		ret_value[i] = (uint8_t)(key * 3 + version * 5 + i * 7);
	return size;
}

/* 4 to 40 bytes, unique by its first four. */
static size_t key_of(uint32_t key, uint8_t ret_key[40])
{
	for (size_t i = 0; i < 40; i++)
		ret_key[i] = (uint8_t)(key + i);
	memcpy(ret_key, &key, 4);
	return 4 + key % 37;
}

FIXTURE(batch)
{
	struct env env;
	struct pf_table *t;
};

FIXTURE_SETUP(batch)
{
	ASSERT_EQ(0, env_begin(&self->env, PINFOLD_SYNC_NONE));
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", PINFOLD_TABLE_CREATE, &self->t));
}

FIXTURE_TEARDOWN(batch)
{
	env_end(&self->env);
}

static int put(struct pf_table *table, uint32_t key, uint32_t version)
{
	uint8_t key_data[40], value[301];
	size_t key_size = key_of(key, key_data), size = value_of(key, version, value);
	pinfold_ticket ticket;

	return pf_table_write_async(table, &(struct pinfold_record){key_data, key_size, value, size}, 1, &ticket);
}

/* Gets keys 0 .. @count - 1 in one call; every third one is there, at @version. How many results are wrong. */
static unsigned wrong(struct pf_table *table, uint32_t count, uint32_t version)
{
	struct pinfold_get *gets = calloc(count, sizeof(*gets));
	uint8_t (*keys)[40] = calloc(count, 40), (*values)[301] = calloc(count, 301), expected[301];
	unsigned bad = 0;

	for (uint32_t i = 0; i < count; i++)
		gets[i] = (struct pinfold_get){keys[i], key_of(i, keys[i]), values[i], 301, 0, 1};
	if (pf_table_get_batch(table, gets, count) != 0)
		bad++;
	for (uint32_t i = 0; i < count; i++) {
		size_t size = value_of(i, version, expected);

		if (i % 3)
			bad += gets[i].result != -ENOENT;
		else
			bad += gets[i].result != 0 || gets[i].value_size != size ||
			       memcmp(values[i], expected, size) != 0;
	}
	free(gets);
	free(keys);
	free(values);
	return bad;
}

TEST_F(batch, finds_all_and_nothing_else)
{
	for (uint32_t i = 0; i < KEYS; i += 3)
		ASSERT_EQ(0, put(self->t, i, 1));
	EXPECT_EQ(0, wrong(self->t, KEYS, 1)); /* nothing is applied yet: sync is none */
	ASSERT_EQ(0, pf_store_sync(self->env.store));
	for (uint32_t count = 0; count < 100; count++)
		EXPECT_EQ(0, wrong(self->t, count, 1));
	EXPECT_EQ(0, wrong(self->t, KEYS, 1));
	for (uint32_t i = 0; i < KEYS; i += 3)
		ASSERT_EQ(0, put(self->t, i, 2));
	EXPECT_EQ(0, wrong(self->t, KEYS, 2));
	ASSERT_EQ(0, env_reopen(&self->env));
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", 0, &self->t));
	EXPECT_EQ(0, wrong(self->t, KEYS, 2));
}

TEST_F(batch, read_only_handle)
{
	for (uint32_t i = 0; i < KEYS; i += 3)
		ASSERT_EQ(0, put(self->t, i, 1));
	ASSERT_EQ(0, env_close(&self->env));
	self->env.config.flags = PINFOLD_OPEN_READONLY;
	ASSERT_EQ(0, env_open(&self->env));
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", 0, &self->t));
	EXPECT_EQ(0, wrong(self->t, KEYS, 1));
}

TEST_F(batch, results_one_by_one)
{
	static uint8_t large[PINFOLD_VALUE_MAX], room[PINFOLD_VALUE_MAX], long_key[PINFOLD_KEY_MAX + 1];
	char small[3], exact[5];
	struct pinfold_get gets[] = {
		{ "short", 5, exact, 5, 0, 1 },        { "short", 5, small, 3, 0, 1 },
		{ "short", 5, NULL, 0, 0, 1 },         { "empty", 5, exact, 5, 77, 1 },
		{ "none", 4, exact, 5, 0, 1 },         { "", 0, exact, 5, 0, 1 },
		{ NULL, 4, exact, 5, 0, 1 },           { long_key, sizeof(long_key), exact, 5, 0, 1 },
		{ long_key, PINFOLD_KEY_MAX, room, sizeof(room), 0, 1 },
	};

	memset(large, 0x5a, sizeof(large));
	ASSERT_EQ(0, pf_table_put(self->t, "short", 5, "12345", 5));
	ASSERT_EQ(0, pf_table_put(self->t, "empty", 5, "", 0));
	ASSERT_EQ(0, pf_table_put(self->t, long_key, PINFOLD_KEY_MAX, large, sizeof(large)));
	for (int pass = 0; pass < 2; pass++) {
		EXPECT_EQ(0, pf_table_get_batch(self->t, gets, sizeof(gets) / sizeof(gets[0])));
		EXPECT_EQ(0, gets[0].result);
		EXPECT_EQ(-ENOBUFS, gets[1].result);
		EXPECT_EQ(5, gets[1].value_size);
		EXPECT_EQ(0, memcmp(small, "123", 3));
		EXPECT_EQ(-ENOBUFS, gets[2].result);
		EXPECT_EQ(0, gets[3].result);
		EXPECT_EQ(0, gets[3].value_size);
		EXPECT_EQ(-ENOENT, gets[4].result);
		EXPECT_EQ(-EINVAL, gets[5].result);
		EXPECT_EQ(-EINVAL, gets[6].result);
		EXPECT_EQ(-EINVAL, gets[7].result);
		EXPECT_EQ(0, gets[8].result);
		EXPECT_EQ(sizeof(large), gets[8].value_size);
		EXPECT_EQ(0, memcmp(room, large, sizeof(large)));
		ASSERT_EQ(0, pf_store_sync(self->env.store));
	}
	EXPECT_EQ(0, pf_table_get_batch(self->t, NULL, 0));
}

/* Behind the end of a truncated file: those keys, and only those, are -EIO. */
TEST_F(batch, unreadable_pages_are_errors_of_their_keys)
{
	unsigned errors = 0, found = 0, alone = 0;
	struct pinfold_get gets[KEYS / 3 + 1];
	static uint8_t keys[KEYS / 3 + 1][40], values[KEYS / 3 + 1][301];
	char path[96];

	for (uint32_t i = 0; i < KEYS; i += 3)
		ASSERT_EQ(0, put(self->t, i, 1));
	ASSERT_EQ(0, env_reopen(&self->env));
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", 0, &self->t));
	/* root extent, then the table's first extent: cut in the middle of its records */
	snprintf(path, sizeof(path), "%s/data.000000", self->env.dir);
	ASSERT_EQ(0, truncate(path, (4 << 20) + (1 << 20) + (64 << 10) + (150 << 10)));
	for (uint32_t i = 0; i < KEYS; i += 3)
		gets[i / 3] = (struct pinfold_get){keys[i / 3], key_of(i, keys[i / 3]), values[i / 3], 301, 0, 1};
	EXPECT_EQ(0, pf_table_get_batch(self->t, gets, KEYS / 3 + 1));
	for (uint32_t i = 0; i < KEYS / 3 + 1; i++) {
		int r = gets[i].result;

		EXPECT_TRUE(r == 0 || r == -EIO);
		errors += r == -EIO;
		found += r == 0;
		r = pf_table_get(self->t, keys[i], gets[i].key_size, values[i], 301, NULL);
		alone += r == gets[i].result;
	}
	printf("# %u found, %u unreadable\n", found, errors);
	EXPECT_LT(100, errors);
	EXPECT_LT(100, found);
	EXPECT_EQ(KEYS / 3 + 1, alone);
	ASSERT_EQ(0, truncate(path, 1ll << 30));
}

TEST_HARNESS_MAIN
