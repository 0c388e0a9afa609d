// SPDX-License-Identifier: GPL-2.0-only
/* Checkpoints, the journal's ring, verify, and read-only stores beside a writer. */
#include "scratch.h"
#include "store/format.h"
#include "kselftest_harness.h"

FIXTURE(checkpoint)
{
	struct pf_store *store;
	struct pinfold_extent extent;
};
FIXTURE_SETUP(checkpoint)
{
	ASSERT_TRUE(scratch_make());
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_NONE, PINFOLD_OPEN_CREATE, &self->store));
	ASSERT_EQ(0, scratch_extent(self->store, 16 * MIB, &self->extent));
}
FIXTURE_TEARDOWN(checkpoint)
{
	EXPECT_EQ(0, pf_store_close(self->store));
	scratch_remove();
}

TEST_F(checkpoint, ring_turns_many_times)
{
	const size_t size = 200000;
	uint8_t *data = malloc(size), *got = malloc(size);
	struct pinfold_store_stats stats;

	for (int i = 0; i < 400; i++) { /* 80 MB through 16 MiB */
		memset(data, i, size);
		ASSERT_EQ(0, scratch_write(self->store, &self->extent, (uint64_t)(i % 50) * 300001, data, size));
		stats = scratch_stat(self->store);
		ASSERT_LE(stats.journal_used, stats.journal_size);
	}
	for (int i = 350; i < 400; i++) {
		memset(data, i, size);
		ASSERT_EQ(0, pf_read_at(self->store, &self->extent, (uint64_t)(i % 50) * 300001, got, size));
		ASSERT_EQ(0, memcmp(data, got, size));
	}
	ASSERT_EQ(0, pf_store_checkpoint(self->store));
	stats = scratch_stat(self->store);
	EXPECT_EQ(0, stats.journal_used);
	EXPECT_EQ(stats.lsn_ordered, stats.lsn_checkpoint);
	EXPECT_EQ(0, pf_store_verify(self->store, NULL, NULL, NULL));
	free(data);
	free(got);
}

struct findings {
	int count;
	char path[64];
	int64_t offset;
};

static void find(void *ctx, const struct pinfold_problem *problem)
{
	struct findings *findings = ctx;

	if (findings->count++ == 0) {
		snprintf(findings->path, sizeof(findings->path), "%s", problem->path);
		findings->offset = problem->offset;
	}
}

static void progress(void *ctx, uint64_t done, uint64_t total)
{
	struct findings *findings = ctx;

	if (done > total)
		findings->count += 1000;
}

static void flip(const char *name, off_t at)
{
	char path[5000];
	uint8_t byte;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", scratch_dir, name);
	fd = open(path, O_RDWR);
	if (fd < 0 || pread(fd, &byte, 1, at) != 1)
		abort();
	byte ^= 4;
	if (pwrite(fd, &byte, 1, at) != 1)
		abort();
	close(fd);
}

TEST_F(checkpoint, verify_finds_each_damage)
{
	const struct { const char *name; off_t at; int64_t reported; } places[] = {
		{ "super", 60, 0 }, { "super", 4096 + 4000, 4096 }, { "data.000000", 20, 0 },
		{ "data.000000", 4096 + 16 + 3, 4096 + 16 },
		{ "data.000000", 4096 + 16 * 100, 4096 + 16 * 100 }, /* a bit in an entry that was never used */
		{ "journal/00000001.000002", 9, 0 }, { "journal/00000001.000000", 4096 + 80, 4096 },
	};
	struct findings none = { 0 };

	ASSERT_EQ(0, scratch_write(self->store, &self->extent, 0, "x", 1));
	ASSERT_EQ(0, pf_store_sync(self->store));
	ASSERT_EQ(0, pf_store_verify(self->store, find, progress, &none));
	ASSERT_EQ(0, none.count);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		struct findings findings = { 0 };

		flip(places[i].name, places[i].at);
		EXPECT_EQ(-EUCLEAN, pf_store_verify(self->store, find, progress, &findings));
		flip(places[i].name, places[i].at);
		EXPECT_EQ(1, findings.count);
		EXPECT_STREQ(places[i].name, findings.path);
		EXPECT_EQ(places[i].reported, findings.offset);
	}
	EXPECT_EQ(0, pf_store_verify(self->store, NULL, NULL, NULL));
}

TEST_F(checkpoint, reader_beside_a_live_writer)
{
	struct pf_store *reader;
	struct pinfold_extent extent;
	struct pf_txn *txn;
	uint64_t value = 1, got = 0;

	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_READONLY, &reader));
	EXPECT_TRUE(scratch_stat(reader).read_only);
	ASSERT_EQ(0, scratch_write(self->store, &self->extent, 8, &value, 8));
	ASSERT_EQ(0, pf_store_sync(self->store));
	ASSERT_EQ(0, pf_store_checkpoint(self->store));
	EXPECT_EQ(0, pf_extent_check(reader, &self->extent)); /* published after it was opened */
	ASSERT_EQ(0, pf_read_at(reader, &self->extent, 8, &got, 8));
	EXPECT_EQ(1, got);
	EXPECT_EQ(-EROFS, pf_txn_begin(reader, &txn));
	EXPECT_EQ(-EROFS, pf_extent_alloc(reader, MIB, 0, &extent));
	EXPECT_EQ(-EROFS, pf_store_checkpoint(reader));
	EXPECT_EQ(1, pf_store_file_count(reader));
	while (pf_store_file_count(self->store) == 1)
		ASSERT_EQ(0, scratch_extent(self->store, 256 * MIB, &extent));
	ASSERT_EQ(0, pf_store_checkpoint(self->store));
	EXPECT_EQ(2, pf_store_file_count(reader));
	EXPECT_EQ(0, pf_extent_check(reader, &extent));
	ASSERT_EQ(0, scratch_drop(self->store, &extent));
	ASSERT_EQ(0, pf_store_checkpoint(self->store));
	EXPECT_EQ(-ESTALE, pf_extent_check(reader, &extent));
	EXPECT_EQ(0, pf_store_verify(reader, NULL, NULL, NULL));
	EXPECT_EQ(0, pf_store_close(reader));
}

TEST_F(checkpoint, read_only_after_a_clean_close)
{
	struct pf_store *reader;

	ASSERT_EQ(0, pf_store_close(self->store));
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_READONLY, &reader));
	EXPECT_EQ(0, pf_extent_check(reader, &self->extent));
	EXPECT_EQ(0, pf_store_verify(reader, NULL, NULL, NULL));
	ASSERT_EQ(0, pf_store_close(reader));
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
}

static int write_and_die(void *ctx)
{
	struct pf_store *store;
	struct pinfold_extent extent;

	return scratch_open(PINFOLD_SYNC_SYNC, 0, &store) != 0 || scratch_extent(store, 2 * MIB, &extent) != 0;
}

TEST_F(checkpoint, read_only_after_a_crash_asks_for_a_writer)
{
	struct pf_store *reader;

	ASSERT_EQ(0, pf_store_close(self->store));
	ASSERT_EQ(0, scratch_crash(write_and_die, NULL));
	EXPECT_EQ(-EUCLEAN, scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_READONLY, &reader));
	EXPECT_NE(NULL, strstr(pf_error_text(), "open it for writing once"));
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_NONE, 0, &self->store));
	ASSERT_EQ(0, pf_store_close(self->store));
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_READONLY, &reader));
	ASSERT_EQ(0, pf_store_close(reader));
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_NONE, 0, &self->store));
}

/* A truncated data file answers with -EIO, not with death. */
TEST_F(checkpoint, truncated_file_under_a_read)
{
	char path[5000], byte;

	snprintf(path, sizeof(path), "%s/data.000000", scratch_dir);
	ASSERT_EQ(0, truncate(path, (off_t)self->extent.offset));
	EXPECT_EQ(-EIO, pf_read_at(self->store, &self->extent, 4096, &byte, 1));
	EXPECT_NE(NULL, strstr(pf_error_text(), "data.000000"));
	ASSERT_EQ(0, truncate(path, GIB));
	EXPECT_EQ(0, pf_read_at(self->store, &self->extent, 4096, &byte, 1));
}

static void count_up(void *ctx)
{
	__atomic_add_fetch((int *)ctx, 1, __ATOMIC_SEQ_CST);
}

TEST_F(checkpoint, deferred_work_waits_for_epochs)
{
	static int done;

	pf_epoch_enter();
	pf_epoch_enter();
	ASSERT_EQ(0, pf_epoch_defer(count_up, &done));
	pf_epoch_leave();
	usleep(50000);
	EXPECT_EQ(0, __atomic_load_n(&done, __ATOMIC_SEQ_CST));
	pf_epoch_leave();
	for (int i = 0; i < 500 && !__atomic_load_n(&done, __ATOMIC_SEQ_CST); i++)
		usleep(10000);
	EXPECT_EQ(1, __atomic_load_n(&done, __ATOMIC_SEQ_CST));
}

TEST_HARNESS_MAIN
