// SPDX-License-Identifier: GPL-2.0-only
/* Damage on disk is found, named, and never taken for data. */
#include "fixture.h"

#include "store/table/internal.h"

#include <fcntl.h>

#include "kselftest_harness.h"

#define RECORDS 3000u

FIXTURE(verify)
{
	struct env env;
	struct pf_table *t;
};

static int fill(struct pf_table *table)
{
	int r = 0;

	for (uint32_t key = 0; r == 0 && key < RECORDS; key++) {
		char value[100];
		pinfold_ticket ticket;

		snprintf(value, sizeof(value), "needle-%08u", key);
		r = pf_table_write_async(table, &(struct pinfold_record){ &key, 4, value, 15 }, 1, &ticket);
	}
	return r;
}

FIXTURE_SETUP(verify)
{
	ASSERT_EQ(0, env_begin(&self->env, PINFOLD_SYNC_NONE));
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", PINFOLD_TABLE_CREATE, &self->t));
	ASSERT_EQ(0, fill(self->t));
	ASSERT_EQ(0, env_verify(&self->env));
}

FIXTURE_TEARDOWN(verify)
{
	env_end(&self->env);
}

/* Finds the only extent that holds @needle and the offset of it in the data file. */
static int needle_find(struct env *env, const char *needle, uint64_t *ret_offset)
{
	char path[96];
	static char block[1 << 20];
	size_t length = strlen(needle);
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/data.000000", env->dir);
	fd = open(path, O_RDONLY);
	for (uint64_t at = 0; at < 64u << 20 && (n = pread(fd, block, sizeof(block), (off_t)at)) > 0;
	     at += (uint64_t)n - 64) {
		char *found = memmem(block, (size_t)n, needle, length);

		if (found) {
			*ret_offset = at + (uint64_t)(found - block);
			close(fd);
			return 0;
		}
	}
	close(fd);
	return -ENOENT;
}

static int bit_flip(struct env *env, uint64_t offset, uint8_t mask)
{
	char path[96];
	uint8_t byte;
	int fd, r = -EIO;

	snprintf(path, sizeof(path), "%s/data.000000", env->dir);
	fd = open(path, O_RDWR);
	if (pread(fd, &byte, 1, (off_t)offset) == 1) {
		byte ^= mask;
		r = pwrite(fd, &byte, 1, (off_t)offset) == 1 ? 0 : -errno;
	}
	close(fd);
	return r;
}

TEST_F(verify, flipped_bits_of_records_are_found)
{
	uint32_t key = 1234, other = 1235, none = 0xffffffff;
	char got[32], more[32];
	uint64_t offset;
	size_t size;

	ASSERT_EQ(0, env_close(&self->env));
	ASSERT_EQ(0, needle_find(&self->env, "needle-00001234", &offset));
	for (int64_t at = -12; at < 15; at++) { /* checksum, sizes, key, value */
		ASSERT_EQ(0, bit_flip(&self->env, offset + at, 1u << (at & 7)));
		ASSERT_EQ(0, env_open(&self->env));
		EXPECT_LT(0, env_verify(&self->env));
		ASSERT_EQ(0, pf_table_open(self->env.store, "t", 0, &self->t));
		struct pinfold_get gets[3] = { { &key, 4, got, sizeof(got), 0, 1 },
					       { &other, 4, more, sizeof(more), 0, 1 },
					       { &none, 4, more, sizeof(more), 0, 1 } };

		EXPECT_EQ(-EUCLEAN, pf_table_get(self->t, &key, 4, got, sizeof(got), &size));
		EXPECT_EQ(0, pf_table_get_batch(self->t, gets, 3));
		EXPECT_EQ(-EUCLEAN, gets[0].result);
		EXPECT_EQ(0, gets[1].result);
		EXPECT_EQ(-ENOENT, gets[2].result);
		ASSERT_EQ(0, env_close(&self->env));
		ASSERT_EQ(0, bit_flip(&self->env, offset + at, 1u << (at & 7)));
	}
	ASSERT_EQ(0, env_open(&self->env));
	EXPECT_EQ(0, env_verify(&self->env));
}

TEST_F(verify, flipped_bits_of_structures_are_found)
{
	uint64_t record, base;
	uint8_t block[65536];
	char path[96];
	unsigned tried = 0;
	int fd;

	ASSERT_EQ(0, env_close(&self->env));
	ASSERT_EQ(0, needle_find(&self->env, "needle-00000007", &record));
	base = record & ~((2ull << 20) - 1); /* the table's first extent: header, bucket segment, records */
	snprintf(path, sizeof(path), "%s/data.000000", self->env.dir);
	fd = open(path, O_RDONLY);
	for (uint64_t part = 0; part < 2; part++) { /* unit 0: header and bitmaps; unit 1: the first 1024 buckets */
		ASSERT_EQ(65536, pread(fd, block, sizeof(block), (off_t)(base + part * 65536)));
		for (uint64_t at = 0; at < sizeof(block); at += part ? 677 : 13) {
			if (block[at] == 0)
				continue;
			tried++;
			ASSERT_EQ(0, bit_flip(&self->env, base + part * 65536 + at, 0x10));
			ASSERT_EQ(0, env_open(&self->env));
			EXPECT_NE(0, env_verify(&self->env)) {
				TH_LOG("flip at unit %d byte %d was not found", (int)part, (int)at);
			}
			ASSERT_EQ(0, env_close(&self->env));
			ASSERT_EQ(0, bit_flip(&self->env, base + part * 65536 + at, 0x10));
		}
	}
	close(fd);
	EXPECT_LT(30, tried);
	ASSERT_EQ(0, env_open(&self->env));
	EXPECT_EQ(0, env_verify(&self->env));
}

#define LARGE 40u

/* Records of slabs of one, two, four and eight units. */
static size_t large_fill(uint32_t key, uint8_t *ret_value)
{
	size_t size = 6000u << key % 4;

	for (size_t i = 0; i < size; i++)
		ret_value[i] = (uint8_t)(key * 3 + i);
	return size;
}

/* How many of the records that were there before the damage are not as they were. */
static unsigned lost(struct pf_table *table)
{
	static uint8_t got[64 << 10], expected[64 << 10];
	unsigned count = 0;
	size_t size;

	for (uint32_t key = 0; key < RECORDS; key++) {
		snprintf((char *)expected, sizeof(expected), "needle-%08u", key);
		count += pf_table_get(table, &key, 4, got, sizeof(got), &size) != 0 || size != 15 ||
			 memcmp(got, expected, 15) != 0;
	}
	for (uint32_t key = RECORDS; key < RECORDS + LARGE; key++) {
		size_t wanted = large_fill(key, expected);

		count += pf_table_get(table, &key, 4, got, sizeof(got), &size) != 0 || size != wanted ||
			 memcmp(got, expected, size) != 0;
	}
	return count;
}

/* Puts records of all sizes, from @key on. */
static int more(struct pf_table *table, uint32_t key)
{
	static uint8_t value[64 << 10];
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < LARGE; i++, key++)
		r = pf_table_put(table, &key, 4, value, large_fill(key, value));
	for (uint32_t i = 0; r == 0 && i < 300; i++, key++)
		r = pf_table_put(table, &key, 4, "small", i % 6);
	return r;
}

static const struct pf_heap *heap_at(const struct pf_table *table, uint32_t index)
{
	const struct pf_heap *heap = table->heaps;

	while (heap && heap->index != index)
		heap = heap->prev;
	return heap;
}

/* Where the word of @unit of a heap extent is in the file, and whether it says anything. */
static bool unit_word(const struct pf_table *table, uint32_t index, uint32_t unit, uint64_t *ret_offset)
{
	const struct pf_heap *heap = heap_at(table, index);
	uint64_t word = 0;

	if (!heap || unit < heap->first_unit || unit >= heap->unit_count)
		return false;
	*ret_offset = heap->piece->extent.offset + pf_unit_word_offset(unit);
	return pf_read_at(table->store, &heap->piece->extent, pf_unit_word_offset(unit), &word, sizeof(word)) == 0 &&
	       word != 0;
}

/* Puts over each record that was there, and puts it back: how many cannot be, as their slots cannot be freed. */
static int replace_all(struct pf_table *table)
{
	static uint8_t value[64 << 10];
	int refused = 0;

	for (uint32_t key = 0; key < RECORDS + LARGE; key++) {
		int r = pf_table_put(table, &key, 4, "another size", 12);

		if (r < 0 && (r != -EUCLEAN || !strstr(pf_error_text(), "are damaged")))
			return r;
		refused += r < 0;
		if (r == 0 && key >= RECORDS)
			r = pf_table_put(table, &key, 4, value, large_fill(key, value));
	}
	return fill(table) < 0 ? -1 : refused;
}

/* What a damaged unit word stands for is not overwritten, and the damage is told as long as it is there. */
TEST_F_TIMEOUT(verify, what_is_behind_a_damaged_unit_word_is_not_lost, 60)
{
	static uint8_t value[64 << 10];
	unsigned tried = 0, runs = 0;
	uint64_t offset;

	for (uint32_t key = RECORDS; key < RECORDS + LARGE; key++)
		ASSERT_EQ(0, pf_table_put(self->t, &key, 4, value, large_fill(key, value)));
	for (uint32_t i = 0; i < 2 * 32; i++) {
		const uint32_t unit = i % 32, fresh = RECORDS + LARGE + 1000 * i;
		int refused;

		if (!unit_word(self->t, i / 32, unit, &offset))
			continue;
		runs |= heap_at(self->t, i / 32)->slabs[unit] ? heap_at(self->t, i / 32)->slabs[unit]->run : 0;
		ASSERT_EQ(0, env_close(&self->env));
		ASSERT_EQ(0, bit_flip(&self->env, offset + unit % 7, 1u << unit % 8));
		ASSERT_EQ(0, env_open(&self->env));
		ASSERT_EQ(0, pf_table_open(self->env.store, "t", 0, &self->t));
		if (unit % 2)
			EXPECT_EQ(-EUCLEAN, pf_table_verify(self->env.store, NULL, NULL, NULL));
		EXPECT_EQ(0, more(self->t, fresh));
		EXPECT_EQ(0, lost(self->t));
		EXPECT_EQ(-EUCLEAN, pf_table_verify(self->env.store, NULL, NULL, NULL));
		refused = replace_all(self->t);
		EXPECT_LE(0, refused);
		tried += refused > 0;
		EXPECT_EQ(0, lost(self->t));
		for (uint32_t key = fresh; key < fresh + LARGE + 300; key++)
			EXPECT_EQ(0, pf_table_delete(self->t, &key, 4));
		ASSERT_EQ(0, env_close(&self->env));
		ASSERT_EQ(0, bit_flip(&self->env, offset + unit % 7, 1u << unit % 8));
		ASSERT_EQ(0, env_open(&self->env));
		ASSERT_EQ(0, pf_table_open(self->env.store, "t", 0, &self->t));
		EXPECT_EQ(0, lost(self->t));
		EXPECT_EQ(0, env_verify(&self->env));
	}
	EXPECT_LT(5, tried);
	EXPECT_EQ(1 | 2 | 4 | 8, runs);
}

/* An import that is resumed does not leave out what it cannot find. */
TEST_F(verify, an_import_is_not_resumed_from_damaged_units)
{
	const struct pinfold_import_mark mark = {.offset = 1, .records = 1};
	struct pinfold_import_mark got;
	struct pf_import *import;
	uint32_t unit = 0;
	uint64_t offset;
	struct pf_table *t;

	ASSERT_EQ(0, pf_table_open(self->env.store, "import", PINFOLD_TABLE_CREATE, &t));
	ASSERT_EQ(0, pf_import_begin(t, "s", PINFOLD_IMPORT_BULK, &import, &got));
	ASSERT_EQ(0, pf_import_add(import, &(struct pinfold_record){"key", 3, "value", 5}, 1));
	ASSERT_EQ(0, pf_import_mark(import, &mark));
	pf_import_stop(import);
	while (unit < t->heaps->unit_count && !unit_word(t, t->heaps->index, unit, &offset))
		unit++;
	ASSERT_LT(unit, t->heaps->unit_count);
	ASSERT_EQ(0, env_close(&self->env));
	ASSERT_EQ(0, bit_flip(&self->env, offset, 2));
	ASSERT_EQ(0, env_open(&self->env));
	ASSERT_EQ(0, pf_table_open(self->env.store, "import", 0, &t));
	for (int i = 0; i < 2; i++) { /* not the second time either */
		EXPECT_EQ(-EUCLEAN, pf_import_begin(t, "s", PINFOLD_IMPORT_BULK, &import, &got));
		EXPECT_NE(NULL, strstr(pf_error_text(), "damaged unit or bitmap words"));
	}
	ASSERT_EQ(0, pf_import_begin(t, "s", PINFOLD_IMPORT_BULK | PINFOLD_IMPORT_RESTART, &import, &got));
	ASSERT_EQ(0, pf_import_add(import, &(struct pinfold_record){"key", 3, "value", 5}, 1));
	ASSERT_EQ(0, pf_import_end(import));
	EXPECT_EQ(0, env_verify(&self->env));
}

TEST_F(verify, damaged_directory_is_found)
{
	struct pinfold_extent root;
	static const int places[] = {0, 9, 24, 2048, 2048 + 12, 2048 + 30, 2048 + 80, 2048 + 200, 4096 - 60, 4096 - 50};

	pf_store_root(self->env.store, &root);
	ASSERT_EQ(0, env_close(&self->env));
	for (size_t i = 0; i < 10; i++) {
		ASSERT_EQ(0, bit_flip(&self->env, root.offset + places[i], 1));
		if (places[i] < 64) { /* the directory's own header: nothing can be trusted */
			EXPECT_EQ(-EUCLEAN, env_open(&self->env));
			if (self->env.store)
				pf_store_close(self->env.store);
		} else {
			ASSERT_EQ(0, env_open(&self->env));
			EXPECT_LT(0, env_verify(&self->env));
			EXPECT_EQ(-EUCLEAN, pf_table_open(self->env.store, "t", 0, &self->t));
			ASSERT_EQ(0, env_close(&self->env));
		}
		ASSERT_EQ(0, bit_flip(&self->env, root.offset + places[i], 1));
	}
	ASSERT_EQ(0, env_open(&self->env));
	EXPECT_EQ(0, env_verify(&self->env));
}

static int zero(struct env *env, uint64_t offset, size_t size)
{
	char path[96], *zeros = calloc(1, size);
	int fd, r;

	snprintf(path, sizeof(path), "%s/data.000000", env->dir);
	fd = open(path, O_RDWR);
	r = zeros && pwrite(fd, zeros, size, (off_t)offset) == (ssize_t)size ? 0 : -EIO;
	close(fd);
	free(zeros);
	return r;
}

/* Zeros are a directory without tables: what a lost write leaves must not pass for it. */
TEST_F(verify, zeroed_directory_is_found)
{
	struct pinfold_extent root;
	struct pf_table *other;

	pf_store_root(self->env.store, &root);
	ASSERT_EQ(0, pf_table_open(self->env.store, "other", PINFOLD_TABLE_CREATE, &other));
	pf_table_close(other);
	ASSERT_EQ(0, pf_table_drop(self->env.store, "other"));
	EXPECT_EQ(0, env_verify(&self->env)); /* a dropped table leaves no orphans */
	ASSERT_EQ(0, env_close(&self->env));
	ASSERT_EQ(0, zero(&self->env, root.offset + 2048, 2048)); /* the slot of "t" */
	ASSERT_EQ(0, env_open(&self->env));
	EXPECT_LT(0, env_verify(&self->env));
	ASSERT_EQ(0, env_close(&self->env));
	ASSERT_EQ(0, zero(&self->env, root.offset, root.len));
	ASSERT_EQ(0, env_open(&self->env));
	EXPECT_LT(0, env_verify(&self->env));
}

TEST_HARNESS_MAIN
