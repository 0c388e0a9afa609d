// SPDX-License-Identifier: GPL-2.0-only
/* Bulk writes: any place and size, overlaps, readers, checksums taken on the way, many loaders at once. */
#include "scratch.h"

#include "base/crc.h"

#include <pthread.h>

#include "kselftest_harness.h"

#define SIZE (8 * MIB)
#define BLOCKS (SIZE / PF_BULK_BLOCK)
#define SEED 20240611ull

FIXTURE(bulk)
{
	struct pf_store *store;
	struct pinfold_extent extent;
	uint8_t *data, *expect, *back;
};

FIXTURE_SETUP(bulk)
{
	struct pinfold_config config = scratch_config(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE);

	config.checksums = true;
	self->data = malloc(SIZE + 4096);
	self->expect = calloc(1, SIZE);
	self->back = malloc(SIZE);
	for (size_t i = 0; i < SIZE + 4096; i++)
		self->data[i] = (uint8_t)(i * 2654435761u >> 13);
	ASSERT_TRUE(scratch_make());
	ASSERT_EQ(0, scratch_open_config(&config, &self->store));
	ASSERT_EQ(0, pf_extent_alloc(self->store, SIZE, 0, &self->extent));
}

FIXTURE_TEARDOWN(bulk)
{
	EXPECT_EQ(0, pf_store_close(self->store));
	scratch_remove();
	free(self->data);
	free(self->expect);
	free(self->back);
}

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return *state >> 33;
}

static int put(struct pf_store *store, const struct pinfold_extent *extent, uint8_t *expect, uint64_t offset,
	       const uint8_t *data, size_t size)
{
	memcpy(expect + offset, data, size);
	return pf_bulk_write(store, extent, offset, data, size);
}

#define PUT(offset, data, size) ASSERT_EQ(0, put(self->store, &self->extent, self->expect, offset, data, size))

/* Blocks whose checksum is known; SIZE_MAX if one is known and wrong. */
static size_t known_sums(struct pf_store *store, const struct pinfold_extent *extent, const uint8_t *expect)
{
	uint32_t crcs[BLOCKS];
	bool known[BLOCKS];
	size_t count = 0;

	if (pf_bulk_sums(store, extent, crcs, known) < 0)
		return SIZE_MAX;
	for (size_t i = 0; i < extent->len / PF_BULK_BLOCK; i++) {
		if (known[i] && crcs[i] != pf_crc32c(expect + i * PF_BULK_BLOCK, PF_BULK_BLOCK))
			return SIZE_MAX;
		count += known[i];
	}
	return count;
}

TEST_F(bulk, any_place_and_size_with_readers_and_flushes_between)
{
	uint64_t state = SEED;

	TH_LOG("seed %llu", (unsigned long long)SEED);
	for (unsigned i = 0; i < 600; i++) {
		uint64_t from = next_random(&state) % SIZE, size = next_random(&state) % (i % 8 ? 20000 : 3 * MIB);

		if (i % 5 == 0) /* whole blocks */
			from &= ~4095ull, size &= ~4095ull;
		if (size > SIZE - from)
			size = SIZE - from;
		PUT(from, self->data + next_random(&state) % 4096, size);
		if (i % 50 == 7) {
			ASSERT_EQ(0, pf_bulk_flush(self->store, &self->extent, 1));
		}
		if (i % 9 == 3) {
			from = next_random(&state) % SIZE;
			size = next_random(&state) % 100000;
			if (size > SIZE - from)
				size = SIZE - from;
			ASSERT_EQ(0, pf_read_at(self->store, &self->extent, from, self->back, size));
			ASSERT_EQ(0, memcmp(self->back, self->expect + from, size));
		}
	}
	ASSERT_EQ(0, pf_bulk_flush(self->store, &self->extent, 1));
	EXPECT_EQ(0, memcmp(scratch_addr(self->store, &self->extent), self->expect, SIZE));
	EXPECT_NE(SIZE_MAX, known_sums(self->store, &self->extent, self->expect));
	ASSERT_EQ(0, scratch_publish(self->store, &self->extent));
	ASSERT_EQ(0, pf_store_close(self->store));
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	ASSERT_EQ(0, pf_read_at(self->store, &self->extent, 0, self->back, SIZE));
	EXPECT_EQ(0, memcmp(self->back, self->expect, SIZE));
}

TEST_F(bulk, a_pointer_from_before_shows_what_was_flushed)
{
	const uint8_t *at = scratch_addr(self->store, &self->extent);

	EXPECT_EQ(0, at[MIB] | at[3 * MIB + 17]); /* the pages are cached now, and mapped */
	PUT(0, self->data, 4 * MIB);
	ASSERT_EQ(0, pf_bulk_flush(self->store, &self->extent, 1));
	EXPECT_EQ(0, memcmp(at, self->expect, SIZE));
	PUT(MIB - 5, self->data + 99, MIB);
	ASSERT_EQ(0, pf_bulk_flush(self->store, &self->extent, 1));
	EXPECT_EQ(0, memcmp(at, self->expect, SIZE));
}

TEST_F(bulk, the_later_of_two_that_overlap_wins)
{
	for (unsigned i = 0; i < 200; i++) /* behind each other's back, were they not ordered */
		PUT((i % 3) * 70000, self->data + i, 2 * MIB);
	ASSERT_EQ(0, pf_bulk_flush(self->store, &self->extent, 1));
	EXPECT_EQ(0, memcmp(scratch_addr(self->store, &self->extent), self->expect, SIZE));
}

TEST_F(bulk, what_was_not_flushed_is_there_when_it_is_published)
{
	PUT(11, self->data, 3 * MIB);
	ASSERT_EQ(0, scratch_publish(self->store, &self->extent));
	EXPECT_EQ(0, memcmp(scratch_addr(self->store, &self->extent), self->expect, SIZE));
	EXPECT_EQ(-EPERM, pf_bulk_write(self->store, &self->extent, 0, self->data, 1));
}

TEST_F(bulk, a_transaction_comes_after_what_was_written)
{
	PUT(0, self->data, 2 * MIB);
	ASSERT_EQ(0, scratch_write(self->store, &self->extent, MIB, "later", 5));
	memcpy(self->expect + MIB, "later", 5);
	EXPECT_EQ(0, known_sums(self->store, &self->extent, self->expect)); /* of the whole extent none is */
	ASSERT_EQ(0, pf_read_at(self->store, &self->extent, 0, self->back, SIZE));
	EXPECT_EQ(0, memcmp(self->back, self->expect, SIZE));
}

TEST_F(bulk, checksums_follow_from_what_was_written)
{
	const size_t odd = 12345;

	EXPECT_EQ(0, known_sums(self->store, &self->extent, self->expect)); /* nobody wrote: nobody counted */
	for (size_t from = 0; from < 5 * MIB + 777; from += odd)
		PUT(from, self->data + from, odd);
	EXPECT_EQ(BLOCKS, known_sums(self->store, &self->extent, self->expect)); /* behind the end there are zeros */
	PUT(6 * MIB + 100, self->data, 10);                                      /* a gap before it is zeros */
	PUT(6 * MIB + 200, self->data, 10);
	EXPECT_EQ(BLOCKS, known_sums(self->store, &self->extent, self->expect));
	PUT(6 * MIB + 105, self->data, 10); /* over what is there */
	PUT(3, self->data + 1, 1);
	EXPECT_EQ(BLOCKS - 2, known_sums(self->store, &self->extent, self->expect));
	PUT(6 * MIB, self->data, PF_BULK_BLOCK); /* all of it, again */
	EXPECT_EQ(BLOCKS - 1, known_sums(self->store, &self->extent, self->expect));
	PUT(7 * MIB, self->data, 50);
	PUT(7 * MIB, self->data + 1, 60); /* all that there was */
	EXPECT_EQ(BLOCKS - 1, known_sums(self->store, &self->extent, self->expect));
	PUT(2 * MIB + 70000, self->data, 2 * MIB); /* two blocks in part, the others whole */
	EXPECT_EQ(BLOCKS - 3, known_sums(self->store, &self->extent, self->expect));
}

static void count_done(void *ctx, void *buf, int r)
{
	int *results = ctx;

	__atomic_add_fetch(&results[r != 0], 1, __ATOMIC_RELEASE);
	free(buf);
}

TEST_F(bulk, buffers_that_are_handed_over_are_not_copied_and_come_back)
{
	int results[2] = { 0 };

	PUT(100, self->data, 10); /* an open piece goes before */
	for (uint64_t i = 0; i < 64; i++) {
		uint8_t *buf = aligned_alloc(4096, 128 << 10);
		uint64_t from = i % 16 * (128 << 10);

		memcpy(buf, self->data + i, 128 << 10);
		memcpy(self->expect + from, buf, 128 << 10);
		ASSERT_EQ(0, pf_bulk_hand_over(self->store, &self->extent, from, buf, 128 << 10, count_done, results));
	}
	ASSERT_EQ(0, pf_bulk_flush(self->store, &self->extent, 1));
	EXPECT_EQ(64, results[0]);
	EXPECT_EQ(0, results[1]);
	EXPECT_EQ(0, memcmp(scratch_addr(self->store, &self->extent), self->expect, SIZE));
	EXPECT_EQ(0, known_sums(self->store, &self->extent, self->expect));
	EXPECT_EQ(-ERANGE, pf_bulk_hand_over(self->store, &self->extent, SIZE, self->back, 1, count_done, results));
}

/* ---- many at once ---- */

#define LOADERS 8u
#define EACH 4u

struct loader {
	struct pf_store *store;
	struct pinfold_extent shared, own[EACH];
	const uint8_t *data;
	unsigned index;
	int result;
};

/* Small writes to several extents in turn: more pieces would be open than there are. */
static void *load(void *arg)
{
	struct loader *loader = arg;
	uint64_t part = SIZE / LOADERS, from = loader->index * part;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < EACH; i++)
		r = pf_extent_alloc(loader->store, 2 * MIB, 0, &loader->own[i]);
	for (uint64_t at = 0; r == 0 && at < 2 * MIB; at += 50000)
		for (unsigned i = 0; r == 0 && i < EACH; i++)
			r = pf_bulk_write(loader->store, &loader->own[i], at, loader->data + loader->index + i + at,
					  at + 50000 > 2 * MIB ? 2 * MIB - at : 50000);
	for (uint64_t at = 0; r == 0 && at < part; at += 4096)
		r = pf_bulk_write(loader->store, &loader->shared, from + at, loader->data + from + at, 4096);
	if (r == 0)
		r = pf_bulk_flush(loader->store, loader->own, EACH);
	if (r == 0)
		r = pf_bulk_flush(loader->store, &loader->shared, 1);
	loader->result = r;
	return NULL;
}

TEST_F(bulk, many_loaders_and_extents_at_once)
{
	struct loader loaders[LOADERS];
	pthread_t threads[LOADERS];

	for (unsigned i = 0; i < LOADERS; i++) {
		loaders[i] =
			(struct loader){ .store = self->store, .shared = self->extent, .data = self->data, .index = i };
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, load, &loaders[i]));
	}
	for (unsigned i = 0; i < LOADERS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < LOADERS; i++) {
		ASSERT_EQ(0, loaders[i].result);
		for (unsigned k = 0; k < EACH; k++) {
			ASSERT_EQ(0, pf_read_at(self->store, &loaders[i].own[k], 0, self->back, 2 * MIB));
			EXPECT_EQ(0, memcmp(self->back, self->data + i + k, 2 * MIB));
			EXPECT_EQ(2 * MIB / PF_BULK_BLOCK,
				  known_sums(self->store, &loaders[i].own[k], self->data + i + k));
		}
	}
	memcpy(self->expect, self->data, SIZE);
	EXPECT_EQ(0, memcmp(scratch_addr(self->store, &self->extent), self->expect, SIZE));
	EXPECT_NE(SIZE_MAX, known_sums(self->store, &self->extent, self->expect));
}

TEST_F(bulk, what_is_freed_is_not_written_and_its_place_is_zero_again)
{
	struct pinfold_extent freed = self->extent, again;
	bool reused = false;

	for (int i = 0; i < 20; i++)
		ASSERT_EQ(0, pf_bulk_write(self->store, &freed, 0, self->data, SIZE));
	ASSERT_EQ(0, pf_extent_free(self->store, &freed));
	EXPECT_EQ(-ESTALE, pf_bulk_write(self->store, &freed, 0, self->data, 1));
	EXPECT_EQ(-ESTALE, pf_bulk_flush(self->store, &freed, 1));
	for (int i = 0; !reused && i < 200; i++) {
		ASSERT_EQ(0, pf_store_checkpoint(self->store));
		ASSERT_EQ(0, pf_extent_alloc(self->store, SIZE, 0, &again));
		reused = again.offset == freed.offset;
		if (!reused) {
			ASSERT_EQ(0, pf_extent_free(self->store, &again));
		}
		usleep(1000);
	}
	ASSERT_TRUE(reused);
	self->extent = again;
	EXPECT_EQ(0, memcmp(scratch_addr(self->store, &again), self->expect, SIZE));
	PUT(5, self->data, MIB); /* and it is an extent like any other */
	ASSERT_EQ(0, pf_bulk_flush(self->store, &again, 1));
	EXPECT_EQ(0, memcmp(scratch_addr(self->store, &again), self->expect, SIZE));
}

TEST_HARNESS_MAIN
