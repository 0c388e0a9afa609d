// SPDX-License-Identifier: GPL-2.0-only
/* What is there after an end without a close, and how recovery meets torn, stale and damaged journals. */
#include "scratch.h"
#include "store/format.h"
#include "kselftest_harness.h"

FIXTURE(durability) { struct pf_store *store; };
FIXTURE_SETUP(durability) { ASSERT_TRUE(scratch_make()); }
FIXTURE_TEARDOWN(durability) { scratch_remove(); }

#define COUNT 200

struct run {
	enum pinfold_sync sync;
	bool sync_at_end, checkpoint_midway, no_uring;
	int commits;
};

/* Commit n writes n at slot n and n into slot 0. */
static int run_and_die(void *ctx)
{
	const struct run *run = ctx;
	struct pinfold_config config = scratch_config(run->sync, PINFOLD_OPEN_CREATE);
	struct pinfold_extent extent;
	struct pf_store *store;

	config.no_io_uring = run->no_uring;
	if (scratch_open_config(&config, &store) != 0 || scratch_extent(store, 4 * MIB, &extent) != 0)
		return 1;
	for (uint64_t n = 1; n <= (uint64_t)run->commits; n++) {
		struct pf_txn *txn;

		if (pf_txn_begin(store, &txn) != 0 || pf_txn_write(txn, &extent, n * 512, &n, 8) != 0 ||
		    pf_txn_write(txn, &extent, 0, &n, 8) != 0 || pf_txn_commit(txn) != 0)
			return 2;
		if (run->checkpoint_midway && n == COUNT / 2 && pf_store_checkpoint(store) != 0)
			return 3;
	}
	if (run->sync_at_end && pf_store_sync(store) != 0)
		return 4;
	return 0;
}

static int take_first(void *ctx, const struct pinfold_extent *extent, bool published)
{
	struct pinfold_extent *first = ctx;

	if (extent->len == 2 * MIB) /* the root */
		return 0;
	*first = *extent;
	return published ? 1 : -1;
}

/*
 * The number of commits that are there; -1 if they are not a prefix. @nothing_else: and no byte of a later one. (Not
 * to be asked for where a test damages a record that was durable: its bytes had been applied by right.)
 */
static int64_t find_commits(struct pf_store *store, bool nothing_else)
{
	struct pinfold_extent extent = { 0 };
	uint64_t last, value;

	if (pf_extent_foreach(store, take_first, &extent) != 1)
		return 0; /* not even the publication */
	if (pf_read_at(store, &extent, 0, &last, 8) != 0)
		return -1;
	for (uint64_t n = 1; n <= COUNT; n++)
		if (pf_read_at(store, &extent, n * 512, &value, 8) != 0 ||
		    (n <= last ? value != n : nothing_else && value != 0))
			return -1;
	return (int64_t)last;
}

static int64_t find_prefix(struct pf_store *store)
{
	return find_commits(store, true);
}

TEST_F(durability, sync_keeps_everything)
{
	struct run run = { .sync = PINFOLD_SYNC_SYNC, .commits = COUNT };

	ASSERT_EQ(0, scratch_crash(run_and_die, &run));
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	EXPECT_EQ(COUNT, find_prefix(self->store));
	EXPECT_EQ(COUNT + 1, scratch_stat(self->store).recovered_txns);
	EXPECT_EQ(0, pf_store_verify(self->store, NULL, NULL, NULL));
	ASSERT_EQ(0, pf_store_close(self->store));
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	EXPECT_EQ(COUNT, find_prefix(self->store));
	EXPECT_EQ(0, scratch_stat(self->store).recovered_txns);
	ASSERT_EQ(0, pf_store_close(self->store));
}

TEST_F(durability, without_io_uring_too)
{
	struct run run = { .sync = PINFOLD_SYNC_SYNC, .commits = COUNT, .no_uring = true };

	ASSERT_EQ(0, scratch_crash(run_and_die, &run));
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	EXPECT_EQ(COUNT, find_prefix(self->store));
	ASSERT_EQ(0, pf_store_close(self->store));
}

TEST_F(durability, checkpoint_shortens_recovery)
{
	struct run run = { .sync = PINFOLD_SYNC_SYNC, .commits = COUNT, .checkpoint_midway = true };

	ASSERT_EQ(0, scratch_crash(run_and_die, &run));
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	EXPECT_EQ(COUNT, find_prefix(self->store));
	EXPECT_EQ(COUNT / 2, scratch_stat(self->store).recovered_txns);
	ASSERT_EQ(0, pf_store_close(self->store));
}

TEST_F(durability, async_keeps_a_prefix)
{
	struct run run = { .sync = PINFOLD_SYNC_ASYNC, .commits = COUNT };
	int64_t prefix;

	ASSERT_EQ(0, scratch_crash(run_and_die, &run));
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	prefix = find_prefix(self->store);
	EXPECT_LE(0, prefix);
	ASSERT_EQ(0, pf_store_close(self->store));
}

TEST_F(durability, async_is_durable_within_its_interval)
{
	struct pinfold_config config = scratch_config(PINFOLD_SYNC_ASYNC, PINFOLD_OPEN_CREATE);
	struct pinfold_extent extent;
	struct pf_txn *txn;
	pinfold_ticket ticket;

	config.flush_interval_ms = 50;
	ASSERT_EQ(0, scratch_open_config(&config, &self->store));
	ASSERT_EQ(0, scratch_extent(self->store, 2 * MIB, &extent));
	ASSERT_EQ(0, pf_txn_begin(self->store, &txn));
	ASSERT_EQ(0, pf_txn_write(txn, &extent, 0, "x", 1));
	ASSERT_EQ(0, pf_txn_submit(txn, &ticket));
	for (int i = 0; i < 100 && pf_ticket_poll(self->store, ticket) == 0; i++)
		usleep(20000); /* generous: the machine may be busy. Nobody leads but the flusher */
	EXPECT_EQ(1, pf_ticket_poll(self->store, ticket));
	ASSERT_EQ(0, pf_store_close(self->store));
}

TEST_F(durability, none_keeps_what_was_synced_and_loses_what_was_not)
{
	struct run run = { .sync = PINFOLD_SYNC_NONE, .commits = COUNT, .sync_at_end = true };

	ASSERT_EQ(0, scratch_crash(run_and_die, &run));
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	EXPECT_EQ(COUNT, find_prefix(self->store));
	ASSERT_EQ(0, pf_store_close(self->store));
	nftw(scratch_dir, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
	run.sync_at_end = false;
	ASSERT_EQ(0, scratch_crash(run_and_die, &run));
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	EXPECT_EQ(0, find_prefix(self->store)); /* few bytes: nothing forced a flush */
	ASSERT_EQ(0, pf_store_close(self->store));
}

static int open_segment(int index)
{
	char path[5000];

	snprintf(path, sizeof(path), "%s/journal/00000001.%06d", scratch_dir, index);
	return open(path, O_RDWR);
}

/* Offset in segment 0 of the last group's header. Groups are one block each here. */
static off_t last_group(int fd, int *ret_count)
{
	off_t at = PF_BLOCK_SIZE, last = 0;
	char magic[8];

	*ret_count = 0;
	while (pread(fd, magic, 8, at) == 8 && memcmp(magic, PF_GROUP_MAGIC, 8) == 0) {
		last = at;
		at += PF_BLOCK_SIZE;
		++*ret_count;
	}
	return last;
}

static void flip(int fd, off_t at)
{
	uint8_t byte;

	if (pread(fd, &byte, 1, at) == 1) {
		byte ^= 0x10;
		if (pwrite(fd, &byte, 1, at) != 1)
			abort();
	}
}

TEST_F(durability, torn_tail_is_cut_off)
{
	struct run run = { .sync = PINFOLD_SYNC_SYNC, .commits = COUNT };
	int fd, count;
	off_t at;

	ASSERT_EQ(0, scratch_crash(run_and_die, &run));
	fd = open_segment(0);
	ASSERT_LE(0, fd);
	at = last_group(fd, &count);
	ASSERT_EQ(COUNT + 1, count);
	flip(fd, at + 100);
	close(fd);
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	EXPECT_EQ(COUNT - 1, find_commits(self->store, false));
	ASSERT_EQ(0, pf_store_close(self->store));
}

TEST_F(durability, damage_in_the_middle_is_told_from_a_torn_tail)
{
	struct run run = { .sync = PINFOLD_SYNC_SYNC, .commits = COUNT };
	int fd, count;

	ASSERT_EQ(0, scratch_crash(run_and_die, &run));
	fd = open_segment(0);
	ASSERT_LE(0, fd);
	flip(fd, last_group(fd, &count) - 10 * PF_BLOCK_SIZE + 70);
	close(fd);
	EXPECT_EQ(-EUCLEAN, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	EXPECT_NE(NULL, strstr(pf_error_text(), "journal/00000001.000000"));
	EXPECT_NE(NULL, strstr(pf_error_text(), "damaged"));
}

/* 16 MiB of journal: groups of more than 2 MiB come of single transactions only. */
static int large_then_small_and_die(void *ctx)
{
	static uint8_t bytes[3 * MIB + MIB / 2];
	struct pinfold_extent extent;
	struct pf_store *store;

	memset(bytes, 'l', sizeof(bytes));
	if (scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE, &store) != 0 ||
	    scratch_extent(store, 4 * MIB, &extent) != 0 ||
	    scratch_write(store, &extent, 0, bytes, sizeof(bytes)) != 0 ||
	    scratch_write(store, &extent, 0, "s", 1) != 0)
		return 1;
	return 0;
}

TEST_F(durability, damage_of_the_largest_group_is_told_from_a_torn_tail)
{
	const off_t places[] = { 2 * PF_BLOCK_SIZE + 20, 2 * PF_BLOCK_SIZE + 70, 2 * PF_BLOCK_SIZE + 3 * MIB };

	ASSERT_EQ(0, scratch_crash(large_then_small_and_die, NULL));
	for (int i = 0; i < 3; i++) {
		int fd = open_segment(0);

		ASSERT_LE(0, fd);
		flip(fd, places[i]);
		EXPECT_EQ(-EUCLEAN, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
		EXPECT_NE(NULL, strstr(pf_error_text(), "journal/00000001.000000: offset 8192: group 2 is damaged"));
		flip(fd, places[i]);
		close(fd);
	}
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	EXPECT_EQ(3, scratch_stat(self->store).recovered_txns);
	ASSERT_EQ(0, pf_store_close(self->store));
}

/* What stands behind a torn group is not replayed after the log has gone on in its place. */
TEST_F(durability, stale_groups_behind_a_torn_one_stay_dead)
{
	struct run run = { .sync = PINFOLD_SYNC_SYNC, .commits = 20 },
		   one = { .sync = PINFOLD_SYNC_SYNC, .commits = 0 };
	uint8_t block[PF_BLOCK_SIZE];
	off_t at;
	int fd, count;

	ASSERT_EQ(0, scratch_crash(run_and_die, &run));
	fd = open_segment(0);
	at = last_group(fd, &count);
	ASSERT_EQ(PF_BLOCK_SIZE, pread(fd, block, PF_BLOCK_SIZE, at));
	flip(fd, at + 66);
	flip(fd, at - PF_BLOCK_SIZE + 66);
	memset(block, 0, sizeof(block)); /* the last group is gone: a tail of one torn group */
	ASSERT_EQ(PF_BLOCK_SIZE, pwrite(fd, block, PF_BLOCK_SIZE, at));
	close(fd);
	ASSERT_EQ(0, scratch_crash(run_and_die, &one)); /* recovers, allocates and publishes one extent, dies */
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	EXPECT_EQ(18, find_commits(self->store, false));
	EXPECT_EQ(1, scratch_stat(self->store).recovered_txns);
	ASSERT_EQ(0, pf_store_close(self->store));
}

static int crash_in_quick_turns(void *ctx)
{
	struct pf_store *store;
	struct pinfold_extent extent = { 0 };
	uint64_t n;

	if (scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE, &store) != 0)
		return 1;
	if (pf_extent_foreach(store, take_first, &extent) != 1 && scratch_extent(store, 4 * MIB, &extent) != 0)
		return 2;
	for (int i = 0; i < 7; i++) {
		if (pf_read_at(store, &extent, 0, &n, 8) != 0)
			return 3;
		n++;
		if (scratch_write(store, &extent, 0, &n, 8) != 0)
			return 4;
	}
	return 0;
}

TEST_F(durability, many_crashes_lose_nothing)
{
	struct pinfold_extent extent = { 0 };
	uint64_t n = 0;

	for (int i = 0; i < 25; i++)
		ASSERT_EQ(0, scratch_crash(crash_in_quick_turns, NULL));
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	ASSERT_EQ(1, pf_extent_foreach(self->store, take_first, &extent));
	ASSERT_EQ(0, pf_read_at(self->store, &extent, 0, &n, 8));
	EXPECT_EQ(7 * 25, n);
	ASSERT_EQ(0, pf_store_close(self->store));
}

static int drop_and_die(void *ctx)
{
	struct pinfold_extent kept, dropped;
	struct pf_store *store;

	if (scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE, &store) != 0 ||
	    scratch_extent(store, 4 * MIB, &kept) != 0 || scratch_extent(store, 4 * MIB, &dropped) != 0 ||
	    scratch_drop(store, &dropped) != 0)
		return 1;
	return 0;
}

TEST_F(durability, drop_survives_with_its_generation)
{
	struct pinfold_extent extent;

	ASSERT_EQ(0, scratch_crash(drop_and_die, NULL));
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	EXPECT_EQ(2, scratch_stat(self->store).extent_count);
	ASSERT_EQ(0, pf_extent_alloc(self->store, 4 * MIB, 0, &extent));
	EXPECT_EQ(2, extent.gen); /* the place of the one that was dropped */
	ASSERT_EQ(0, pf_store_close(self->store));
}

TEST_HARNESS_MAIN
