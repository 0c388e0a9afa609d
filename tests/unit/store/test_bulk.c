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

/* ---- beside transactions ---- */

struct both {
	struct pinfold_extent *place; /* shared */
	enum pinfold_sync sync;
	bool commit_last;
};

static bool reads(struct pf_store *store, const struct pinfold_extent *extent, const char *expected)
{
	char back[8];

	return pf_read_at(store, extent, 0, back, sizeof(back)) == 0 && memcmp(back, expected, sizeof(back)) == 0;
}

/* Each of the two ways, one over the other, published, and died of. */
static int write_both_and_die(void *ctx)
{
	const struct both *both = ctx;
	const char *last = both->commit_last ? "commit.." : "second..";
	struct pinfold_extent *e = both->place;
	struct pf_store *store;
	struct pf_txn *txn;

	if (scratch_open(both->sync, 0, &store) != 0 || pf_extent_alloc(store, 2 * MIB, 0, e) != 0 ||
	    scratch_write(store, e, 0, "first...", 8) != 0 || pf_txn_begin(store, &txn) != 0 ||
	    pf_txn_write(txn, e, 0, "commit..", 8) != 0)
		return 1;
	if (pf_bulk_write(store, e, 0, "second..", 8) != 0 || !reads(store, e, "second.."))
		return 2;
	if (both->commit_last ? pf_txn_commit(txn) != 0 : (pf_txn_abort(txn), false))
		return 3;
	if (pf_bulk_flush(store, e, 1) != 0 || scratch_publish(store, e) != 0 || pf_store_sync(store) != 0)
		return 4;
	return reads(store, e, last) && memcmp(scratch_addr(store, e), last, 8) == 0 ? 0 : 5;
}

TEST_F(bulk, the_later_of_a_commit_and_a_bulk_write_wins_after_a_crash_too)
{
	static const enum pinfold_sync modes[] = {PINFOLD_SYNC_SYNC, PINFOLD_SYNC_ASYNC, PINFOLD_SYNC_NONE};
	struct both both = {.place = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)};

	ASSERT_NE(MAP_FAILED, both.place);
	for (int i = 0; i < 6; i++) {
		ASSERT_EQ(0, pf_store_close(self->store));
		self->store = NULL; /* what ends here is not closed again */
		both.sync = modes[i / 2];
		both.commit_last = i % 2;
		ASSERT_EQ(0, scratch_crash(write_both_and_die, &both));
		ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
		EXPECT_TRUE(reads(self->store, both.place, both.commit_last ? "commit.." : "second.."));
	}
	munmap(both.place, 4096);
}

TEST_F(bulk, only_the_first_bulk_write_after_a_commit_makes_a_checkpoint)
{
	struct pinfold_extent other;
	uint64_t before;

	ASSERT_EQ(0, pf_extent_alloc(self->store, 2 * MIB, 0, &other));
	before = scratch_stat(self->store).lsn_checkpoint;
	ASSERT_EQ(0, scratch_write(self->store, &other, 0, "commit", 6));
	PUT(0, self->data, MIB); /* of another extent */
	EXPECT_EQ(before, scratch_stat(self->store).lsn_checkpoint);
	ASSERT_EQ(0, pf_bulk_write(self->store, &other, 3, self->data, 10));
	EXPECT_LT(before, scratch_stat(self->store).lsn_checkpoint);
	before = scratch_stat(self->store).lsn_checkpoint;
	ASSERT_EQ(0, scratch_write(self->store, &self->extent, 0, "commit", 6));
	ASSERT_EQ(0, pf_bulk_write(self->store, &other, 3, self->data, 10));
	EXPECT_EQ(before, scratch_stat(self->store).lsn_checkpoint);
}

struct both_thread {
	struct pf_store *store;
	const struct pinfold_extent *extent;
	int result;
};

static void *commit_many(void *arg)
{
	struct both_thread *thread = arg;

	for (int i = 0; thread->result == 0 && i < 100; i++)
		thread->result = scratch_write(thread->store, thread->extent, 0, "commit..", 8);
	return NULL;
}

/* Neither waits for the other for ever, and what is read last is what is published. */
TEST_F(bulk, commits_and_bulk_writes_to_one_extent_at_once)
{
	struct both_thread thread = {.store = self->store, .extent = &self->extent};
	uint8_t now[8], then[8];
	pthread_t id;

	ASSERT_EQ(0, pthread_create(&id, NULL, commit_many, &thread));
	for (int i = 0; i < 100; i++)
		ASSERT_EQ(0, pf_bulk_write(self->store, &self->extent, 0, "second..", 8));
	pthread_join(id, NULL);
	ASSERT_EQ(0, thread.result);
	ASSERT_EQ(0, pf_bulk_flush(self->store, &self->extent, 1));
	ASSERT_EQ(0, pf_read_at(self->store, &self->extent, 0, now, 8));
	ASSERT_EQ(0, scratch_publish(self->store, &self->extent));
	ASSERT_EQ(0, pf_read_at(self->store, &self->extent, 0, then, 8));
	EXPECT_EQ(0, memcmp(now, then, 8));
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
