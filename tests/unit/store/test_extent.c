// SPDX-License-Identifier: GPL-2.0-only
/* The life of an extent: alloc, publish, drop, quarantine, reuse. */
#include "scratch.h"

#include <pthread.h>
#include <stdatomic.h>

#include "kselftest_harness.h"

#define FILLERS 4

FIXTURE(extent) { struct pf_store *store; };
FIXTURE_SETUP(extent)
{
	ASSERT_TRUE(scratch_make());
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE, &self->store));
}
FIXTURE_TEARDOWN(extent)
{
	EXPECT_EQ(0, pf_store_close(self->store));
	scratch_remove();
}

static int count_extent(void *ctx, const struct pinfold_extent *extent, bool published)
{
	int *counts = ctx;

	counts[published]++;
	return 0;
}

TEST_F(extent, sizes_and_alignment)
{
	struct pinfold_extent extent;

	ASSERT_EQ(0, pf_extent_alloc(self->store, 1, 0, &extent));
	EXPECT_EQ(2 * MIB, extent.len);
	ASSERT_EQ(0, pf_extent_alloc(self->store, 0, PINFOLD_EXTENT_HOT, &extent));
	EXPECT_EQ(64 * MIB, extent.len);
	EXPECT_EQ(PINFOLD_EXTENT_HOT, extent.flags);
	EXPECT_EQ(0, extent.offset % extent.len);
	ASSERT_EQ(0, pf_extent_alloc(self->store, 5 * MIB, 0, &extent));
	EXPECT_EQ(8 * MIB, extent.len);
	EXPECT_EQ(-EINVAL, pf_extent_alloc(self->store, GIB + 1, 0, &extent));
	EXPECT_EQ(-EINVAL, pf_extent_alloc(self->store, MIB, 1u << 20, &extent));
}

TEST_F(extent, unpublished_is_free_after_reopen_and_published_is_not)
{
	struct pinfold_extent kept, lost;
	int counts[2] = { 0 };

	ASSERT_EQ(0, scratch_extent(self->store, 4 * MIB, &kept));
	ASSERT_EQ(0, pf_extent_alloc(self->store, 4 * MIB, 0, &lost));
	pf_extent_foreach(self->store, count_extent, counts);
	EXPECT_EQ(1, counts[0]);
	EXPECT_EQ(2, counts[1]); /* with the root */
	ASSERT_EQ(0, pf_store_close(self->store));
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	EXPECT_EQ(0, pf_extent_check(self->store, &kept));
	EXPECT_EQ(-ESTALE, pf_extent_check(self->store, &lost));
	EXPECT_EQ(2, scratch_stat(self->store).extent_count);
	EXPECT_EQ(6 * MIB, scratch_stat(self->store).published_bytes);
}

TEST_F(extent, references_that_are_not)
{
	struct pinfold_extent extent, bad;

	ASSERT_EQ(0, scratch_extent(self->store, 4 * MIB, &extent));
	bad = extent, bad.gen++;
	EXPECT_EQ(-ESTALE, pf_extent_check(self->store, &bad));
	bad = extent, bad.len = 2 * MIB;
	EXPECT_EQ(-ESTALE, pf_extent_check(self->store, &bad));
	bad = extent, bad.offset += 2 * MIB;
	EXPECT_EQ(-ESTALE, pf_extent_check(self->store, &bad));
	bad = extent, bad.offset += 4096;
	EXPECT_EQ(-EINVAL, pf_extent_check(self->store, &bad));
	bad = extent, bad.file_id = 1;
	EXPECT_EQ(-EINVAL, pf_extent_check(self->store, &bad));
	bad = extent, bad.offset = UINT64_MAX - 2 * MIB + 1;
	EXPECT_EQ(-EINVAL, pf_extent_check(self->store, &bad));
	bad = (struct pinfold_extent){ 0 };
	EXPECT_EQ(-ESTALE, pf_extent_check(self->store, &bad)); /* the granule table */
}

TEST_F(extent, extent_at_finds_inner_places)
{
	struct pinfold_extent extent, found;
	enum pf_granule_state state;

	ASSERT_EQ(0, scratch_extent(self->store, 16 * MIB, &extent));
	for (uint64_t at = 0; at < extent.len; at += MIB) {
		ASSERT_EQ(0, pf_store_extent_at(self->store, 0, extent.offset + at, &found, &state));
		ASSERT_EQ(0, memcmp(&extent, &found, sizeof(found)));
		ASSERT_EQ(PF_GRANULE_PUBLISHED, state);
	}
	EXPECT_EQ(-ENOENT, pf_store_extent_at(self->store, 0, extent.offset + extent.len, &found, &state));
	ASSERT_EQ(0, pf_store_extent_at(self->store, 0, 0, &found, &state));
	EXPECT_EQ(PF_GRANULE_META, state);
	EXPECT_EQ(-EINVAL, pf_store_extent_at(self->store, 0, GIB, &found, &state));
}

TEST_F(extent, bulk_load)
{
	static char data[3 * 4096 + 5], got[sizeof(data)];
	struct pinfold_extent extent;
	struct pf_txn *txn;

	memset(data, 'b', sizeof(data));
	ASSERT_EQ(0, pf_extent_alloc(self->store, 2 * MIB, 0, &extent));
	ASSERT_EQ(0, pf_bulk_write(self->store, &extent, 100, data, sizeof(data)));
	EXPECT_EQ(-ERANGE, pf_bulk_write(self->store, &extent, extent.len - 1, data, 2));
	EXPECT_EQ(-ERANGE, pf_bulk_write(self->store, &extent, UINT64_MAX, data, 2));
	ASSERT_EQ(0, pf_bulk_flush(self->store, &extent, 1));
	ASSERT_EQ(0, pf_txn_begin(self->store, &txn));
	ASSERT_EQ(0, pf_txn_publish(txn, &extent));
	ASSERT_EQ(0, pf_txn_commit(txn));
	EXPECT_EQ(-EPERM, pf_bulk_write(self->store, &extent, 100, data, 1));
	EXPECT_EQ(-EPERM, pf_extent_free(self->store, &extent));
	ASSERT_EQ(0, pf_read_at(self->store, &extent, 100, got, sizeof(got)));
	EXPECT_EQ(0, memcmp(data, got, sizeof(got)));
}

TEST_F(extent, drop_is_final_and_keeps_bytes_for_readers)
{
	struct pinfold_extent extent;
	const volatile uint64_t *at;
	uint64_t value = 5;

	ASSERT_EQ(0, scratch_extent(self->store, 2 * MIB, &extent));
	ASSERT_EQ(0, scratch_write(self->store, &extent, 0, &value, sizeof(value)));
	at = scratch_addr(self->store, &extent);
	pf_epoch_enter();
	ASSERT_EQ(0, scratch_drop(self->store, &extent));
	EXPECT_EQ(-ESTALE, pf_extent_check(self->store, &extent));
	EXPECT_EQ(-ESTALE, pf_read_at(self->store, &extent, 0, &value, sizeof(value)));
	EXPECT_EQ(-ESTALE, scratch_write(self->store, &extent, 0, &value, sizeof(value)));
	EXPECT_EQ(-ESTALE, scratch_drop(self->store, &extent));
	for (int i = 0; i < 8; i++) { /* neither checkpoints nor allocations touch it while we are inside */
		struct pinfold_extent other;

		ASSERT_EQ(0, pf_store_checkpoint(self->store));
		ASSERT_EQ(0, pf_extent_alloc(self->store, 2 * MIB, 0, &other));
		ASSERT_NE(extent.offset, other.offset);
	}
	EXPECT_EQ(5, *at);
	pf_epoch_leave();
}

TEST_F(extent, reused_space_is_zero_and_has_a_new_generation)
{
	struct pinfold_extent first, again = { 0 };
	uint64_t value = ~0ull;

	ASSERT_EQ(0, scratch_extent(self->store, 512 * MIB, &first)); /* the only place of that size */
	for (uint64_t at = 0; at < first.len; at += 64 * MIB)
		ASSERT_EQ(0, scratch_write(self->store, &first, at, &value, sizeof(value)));
	for (int i = 0; i < 6; i++) { /* the other three files */
		struct pinfold_extent filler;

		ASSERT_EQ(0, pf_extent_alloc(self->store, 512 * MIB, 0, &filler) < 0 ? -ENOSPC : 0);
		if (pf_store_file_count(self->store) == 4)
			break;
	}
	while (pf_extent_alloc(self->store, 512 * MIB, 0, &again) == 0)
		;
	ASSERT_EQ(0, scratch_drop(self->store, &first));
	/* nothing but quarantine is left: a checkpoint is forced */
	ASSERT_EQ(0, pf_extent_alloc(self->store, 512 * MIB, 0, &again));
	EXPECT_EQ(first.offset, again.offset);
	EXPECT_EQ(first.file_id, again.file_id);
	EXPECT_EQ(first.gen + 1, again.gen);
	for (uint64_t at = 0; at < again.len; at += 64 * MIB) {
		ASSERT_EQ(0, pf_read_at(self->store, &again, at, &value, sizeof(value)));
		ASSERT_EQ(0, value);
	}
	EXPECT_EQ(-ESTALE, pf_extent_check(self->store, &first));
}

/* All that is left waits for the epoch that the caller is in: said at once, not waited for. */
TEST_F(extent, full_store_inside_an_epoch_says_so)
{
	struct pinfold_extent extent, last = { 0 }, again;

	while (pf_extent_alloc(self->store, 512 * MIB, 0, &extent) == 0)
		last = extent;
	ASSERT_NE(0, last.len);
	pf_epoch_enter();
	pf_epoch_enter();
	ASSERT_EQ(0, pf_extent_free(self->store, &last));
	EXPECT_EQ(-EDEADLK, pf_extent_alloc(self->store, 512 * MIB, 0, &again));
	EXPECT_NE(NULL, strstr(pf_error_text(), "leave it first"));
	pf_epoch_leave();
	EXPECT_EQ(-EDEADLK, pf_extent_alloc(self->store, 512 * MIB, 0, &again));
	pf_epoch_leave();
	ASSERT_EQ(0, pf_extent_alloc(self->store, 512 * MIB, 0, &again));
	EXPECT_EQ(last.offset, again.offset);
	EXPECT_EQ(-ENOSPC, pf_extent_alloc(self->store, 512 * MIB, 0, &again));
}

TEST_F(extent, grows_into_further_files_until_the_limit)
{
	const uint8_t *base = pf_store_base(self->store);
	uint64_t version = pf_store_layout_version(self->store), value = 9, got;
	struct pinfold_extent extent, last = { 0 };
	int count = 0, r;

	while ((r = scratch_extent(self->store, 256 * MIB, &extent)) == 0) {
		last = extent;
		count++;
	}
	EXPECT_EQ(-ENOSPC, r);
	EXPECT_NE(NULL, strstr(pf_error_text(), "max_mapped_size"));
	EXPECT_EQ(4 * 3, count);
	EXPECT_EQ(4, pf_store_file_count(self->store));
	EXPECT_EQ(3, last.file_id);
	EXPECT_EQ(base, pf_store_base(self->store));
	EXPECT_LT(version, pf_store_layout_version(self->store));
	ASSERT_EQ(0, scratch_write(self->store, &last, 8, &value, sizeof(value)));
	ASSERT_EQ(0, pf_store_close(self->store));
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	EXPECT_EQ(4, pf_store_file_count(self->store));
	ASSERT_EQ(0, pf_read_at(self->store, &last, 8, &got, sizeof(got)));
	EXPECT_EQ(value, got);
}

struct filler {
	pthread_t thread;
	struct pf_store *store;
	_Atomic unsigned *total;
	unsigned seen; /* extents of all when this one was told that there is no more room */
	int error;
};

static void *fill_main(void *arg)
{
	struct filler *filler = arg;
	struct pinfold_extent extent;

	while ((filler->error = pf_extent_alloc(filler->store, 2 * MIB, 0, &extent)) == 0)
		atomic_fetch_add(filler->total, 1);
	filler->seen = atomic_load(filler->total);
	return NULL;
}

TEST_F(extent, what_is_taken_ahead_is_nobodys_when_others_look_for_room)
{
	struct filler fillers[FILLERS];
	struct pinfold_extent extent;
	_Atomic unsigned total = 0;

	for (unsigned i = 0; i < FILLERS; i++) {
		fillers[i] = (struct filler){ .store = self->store, .total = &total };
		ASSERT_EQ(0, pthread_create(&fillers[i].thread, NULL, fill_main, &fillers[i]));
	}
	for (unsigned i = 0; i < FILLERS; i++)
		pthread_join(fillers[i].thread, NULL);
	EXPECT_EQ(-ENOSPC, pf_extent_alloc(self->store, 2 * MIB, 0, &extent));
	for (unsigned i = 0; i < FILLERS; i++) {
		EXPECT_EQ(-ENOSPC, fillers[i].error) TH_LOG("%s", pf_error_text());
		/* each of the others may have been about to count one */
		EXPECT_LE(total, fillers[i].seen + FILLERS - 1);
	}
}

TEST_F(extent, freed_unpublished_is_stale)
{
	struct pinfold_extent extent;

	ASSERT_EQ(0, pf_extent_alloc(self->store, 2 * MIB, 0, &extent));
	ASSERT_EQ(0, pf_extent_free(self->store, &extent));
	EXPECT_EQ(-ESTALE, pf_extent_free(self->store, &extent));
	EXPECT_EQ(-ESTALE, pf_extent_check(self->store, &extent));
}

TEST_HARNESS_MAIN
