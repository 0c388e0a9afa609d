// SPDX-License-Identifier: GPL-2.0-only
/* Damage on disk is found, named, and never taken for data. */
#include "fixture.h"

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
