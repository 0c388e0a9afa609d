// SPDX-License-Identifier: GPL-2.0-only
/*
 * Single gets by each of their ways: beside writers, in a still store, in a still store on this processor.
 */
#include "fixture.h"

#include "store/table/internal.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "kselftest_harness.h"

#define VALUE_MAX 700u
#define KEY_SIZE_MAX 40u

static pf_get_fn *const ways[] = {pf_get_beside, pf_get_still, pf_table_get};
#define WAYS (sizeof(ways) / sizeof(ways[0]))

FIXTURE(get)
{
	struct env env;
	struct pf_table *t;
};

FIXTURE_SETUP(get)
{
	ASSERT_EQ(0, env_begin(&self->env, PINFOLD_SYNC_NONE));
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", PINFOLD_TABLE_CREATE, &self->t));
}

FIXTURE_TEARDOWN(get)
{
	env_end(&self->env);
}

/* The key of a value of @size bytes. */
static void key_of(uint32_t size, size_t key_size, uint8_t ret_key[KEY_SIZE_MAX])
{
	for (size_t i = 0; i < KEY_SIZE_MAX; i++)
		ret_key[i] = (uint8_t)(key_size + i);
	memcpy(ret_key, &size, key_size < 4 ? key_size : 4);
}

static void value_of(uint32_t size, uint8_t *ret_value)
{
	for (size_t i = 0; i < size; i++)
		ret_value[i] = (uint8_t)(size * 7 + i * 13 + 1);
}

static int fill(struct env *env, struct pf_table *table, size_t key_size, uint32_t sizes)
{
	uint8_t key[KEY_SIZE_MAX], value[VALUE_MAX];
	pinfold_ticket ticket;
	int r = 0;

	for (uint32_t size = 0; size < sizes && r == 0; size++) {
		struct pinfold_record record = {key, key_size, value, size};

		key_of(size, key_size, key);
		value_of(size, value);
		r = pf_table_write_async(table, &record, 1, &ticket);
	}
	return r < 0 ? r : pf_store_sync(env->store);
}

/* A get of the value of @size bytes with room for @capacity. Whether it is all right, and writes no byte too much. */
static bool right(pf_get_fn *get, struct pf_table *table, size_t key_size, uint32_t size, size_t capacity)
{
	uint8_t key[KEY_SIZE_MAX], expected[VALUE_MAX], value[VALUE_MAX + 80];
	size_t found = 12345, wanted = size < capacity ? size : capacity;
	int r;

	key_of(size, key_size, key);
	value_of(size, expected);
	memset(value, 0xee, sizeof(value));
	r = get(table, key, key_size, value, capacity, &found);
	for (size_t i = wanted; i < sizeof(value); i++)
		if (value[i] != 0xee)
			return false;
	return r == (size > capacity ? -ENOBUFS : 0) && found == size && memcmp(value, expected, wanted) == 0;
}

TEST_F(get, every_size_of_value_and_room)
{
	uint32_t newest;

	ASSERT_EQ(0, fill(&self->env, self->t, 16, VALUE_MAX));
	ASSERT_TRUE(pf_pages_still(self->t->pages, &newest)); /* else the ways do not differ */
	for (unsigned way = 0; way < WAYS; way++)
		for (uint32_t size = 0; size < VALUE_MAX; size++) {
			ASSERT_TRUE(right(ways[way], self->t, 16, size, size));
			ASSERT_TRUE(right(ways[way], self->t, 16, size, size + 1 + size % 70));
			if (size > 0)
				ASSERT_TRUE(right(ways[way], self->t, 16, size, size - 1));
			ASSERT_TRUE(right(ways[way], self->t, 16, size, 0));
		}
}

TEST_F(get, every_size_of_key)
{
	for (size_t key_size = 1; key_size <= KEY_SIZE_MAX; key_size++)
		ASSERT_EQ(0, fill(&self->env, self->t, key_size, 200));
	for (unsigned way = 0; way < WAYS; way++)
		for (size_t key_size = 1; key_size <= KEY_SIZE_MAX; key_size++)
			for (uint32_t size = 0; size < 200; size++)
				ASSERT_TRUE(right(ways[way], self->t, key_size, size, size));
}

TEST_F(get, absent_keys_and_wrong_arguments)
{
	uint8_t key[KEY_SIZE_MAX] = {0}, value[128];
	size_t size;

	ASSERT_EQ(0, fill(&self->env, self->t, 16, VALUE_MAX));
	for (unsigned way = 0; way < WAYS; way++) {
		for (uint32_t i = 1; i <= 20000; i++) {
			memcpy(key + 8, &i, 4);
			ASSERT_EQ(-ENOENT, ways[way](self->t, key, 16, value, sizeof(value), &size));
		}
		EXPECT_EQ(-EINVAL, ways[way](self->t, NULL, 16, value, sizeof(value), &size));
		EXPECT_EQ(-EINVAL, ways[way](self->t, key, 0, value, sizeof(value), &size));
		EXPECT_EQ(-EINVAL, ways[way](self->t, key, PINFOLD_KEY_MAX + 1, value, sizeof(value), &size));
	}
}

TEST_F(get, no_size_wanted)
{
	uint8_t key[KEY_SIZE_MAX], value[120];

	ASSERT_EQ(0, fill(&self->env, self->t, 16, 130));
	key_of(120, 16, key);
	for (unsigned way = 0; way < WAYS; way++)
		EXPECT_EQ(0, ways[way](self->t, key, 16, value, sizeof(value), NULL));
}

/* Changes of a value are seen at once, whichever way it is read: before they are applied, and after. */
TEST_F(get, newest_value)
{
	uint8_t key[KEY_SIZE_MAX], value[120] = {0}, found[120];
	size_t size;

	key_of(1, 16, key);
	for (unsigned i = 0; i < 3000; i++) {
		struct pinfold_record record = {key, 16, value, sizeof(value)};
		pinfold_ticket ticket;

		value[i % 120]++;
		ASSERT_EQ(0, pf_table_write_async(self->t, &record, 1, &ticket));
		if (i % 16 == 15)
			ASSERT_EQ(0, pf_store_sync(self->env.store));
		for (unsigned way = 0; way < WAYS; way++) {
			ASSERT_EQ(0, ways[way](self->t, key, 16, found, sizeof(found), &size));
			ASSERT_EQ(0, memcmp(value, found, sizeof(found)));
		}
	}
}

/* The bytes of @size in the mapped data file that are those at @what. NULL. */
static uint8_t *find_bytes(struct env *env, const void *what, size_t size, uint8_t **ret_map)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "%s/data.000000", env->dir);
	fd = open(path, O_RDWR);
	if (fd < 0)
		return NULL;
	*ret_map = mmap(NULL, 1ull << 30, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	for (uint64_t at = 0; *ret_map != MAP_FAILED && at < 256ull << 20; at += 8)
		if (memcmp(*ret_map + at, what, size) == 0)
			return *ret_map + at;
	return NULL;
}

TEST_F(get, a_flipped_bit_is_no_record)
{
	uint8_t key[KEY_SIZE_MAX], value[VALUE_MAX], found[VALUE_MAX], *map = NULL, *at;
	const uint32_t sizes[] = {30, 64, 120, 121, 127, 200, 300, 512, 600};
	size_t size;

	ASSERT_EQ(0, fill(&self->env, self->t, 16, VALUE_MAX));
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		key_of(sizes[i], 16, key);
		value_of(sizes[i], value);
		at = find_bytes(&self->env, key, 16, &map);
		ASSERT_NE(NULL, at);
		for (size_t byte = 0; byte < 16 + sizes[i]; byte++) {
			at[byte] ^= 1 << byte % 8;
			for (unsigned way = 0; way < WAYS; way++)
				ASSERT_EQ(-EUCLEAN, ways[way](self->t, key, 16, found, sizes[i], &size));
			at[byte] ^= 1 << byte % 8;
		}
		for (unsigned way = 0; way < WAYS; way++)
			ASSERT_TRUE(right(ways[way], self->t, 16, sizes[i], sizes[i]));
		munmap(map, 1ull << 30);
	}
}

/* The first 64 bytes in @map where an entry leads to the record at @loc. */
static uint8_t *line_of(uint8_t *map, uint64_t loc)
{
	uint64_t word;

	for (size_t at = 0; at < 128u << 20; at += 8) {
		memcpy(&word, map + at, 8);
		if (at % 64 && word >> 44 && (word & ((1ull << 44) - 1)) == loc >> 3)
			return map + at / 64 * 64;
	}
	return NULL;
}

TEST_F(get, a_flipped_bit_is_no_line)
{
	uint8_t key[KEY_SIZE_MAX], found[VALUE_MAX], *map = NULL, *at, *line;
	const uint32_t sizes[] = {30, 64, 120, 128, 300};
	size_t size;

	ASSERT_EQ(0, fill(&self->env, self->t, 16, VALUE_MAX));
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		key_of(sizes[i], 16, key);
		at = find_bytes(&self->env, key, 16, &map);
		ASSERT_NE(NULL, at);
		line = line_of(map, (uint64_t)(at - 8 - map));
		ASSERT_NE(NULL, line);
		for (size_t bit = 0; bit < 512; bit++) {
			line[bit / 8] ^= 1 << bit % 8;
			for (unsigned way = 0; way < WAYS; way++)
				ASSERT_EQ(-EUCLEAN, ways[way](self->t, key, 16, found, sizes[i], &size));
			line[bit / 8] ^= 1 << bit % 8;
		}
		for (unsigned way = 0; way < WAYS; way++)
			ASSERT_TRUE(right(ways[way], self->t, 16, sizes[i], sizes[i]));
		munmap(map, 1ull << 30);
	}
}

/* A file that ends too early makes every way an error, and the thread goes on. */
TEST_F(get, unreadable_pages_are_errors)
{
	uint8_t key[KEY_SIZE_MAX], found[120];
	struct pinfold_extent extent;
	char path[96];
	size_t size;

	ASSERT_EQ(0, fill(&self->env, self->t, 16, 130));
	key_of(120, 16, key);
	for (unsigned way = 0; way < WAYS; way++)
		ASSERT_EQ(0, ways[way](self->t, key, 16, found, sizeof(found), &size));
	ASSERT_EQ(0, pf_store_checkpoint(self->env.store));
	snprintf(path, sizeof(path), "%s/data.000000", self->env.dir);
	ASSERT_EQ(0, truncate(path, 1 << 20));
	for (unsigned round = 0; round < 100; round++)
		for (unsigned way = 0; way < WAYS; way++)
			ASSERT_EQ(-EIO, ways[way](self->t, key, 16, found, sizeof(found), &size));
	/* an allocation must not make zeros of what is missing, where gets would find nothing */
	ASSERT_EQ(0, pf_extent_alloc(self->env.store, 64 << 20, 0, &extent));
	for (unsigned way = 0; way < WAYS; way++)
		EXPECT_EQ(-EIO, ways[way](self->t, key, 16, found, sizeof(found), &size));
	ASSERT_EQ(0, truncate(path, 1 << 30));
}

TEST_HARNESS_MAIN
