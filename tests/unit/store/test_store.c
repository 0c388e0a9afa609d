// SPDX-License-Identifier: GPL-2.0-only
/* Opening: flags, locks, permissions, configuration. */
#include "scratch.h"
#include "store/internal.h"
#include "kselftest_harness.h"

#include <signal.h>

FIXTURE(store) { struct pf_store *store; };
FIXTURE_SETUP(store) { ASSERT_TRUE(scratch_make()); }
FIXTURE_TEARDOWN(store) { scratch_remove(); }

TEST_F(store, create_flags)
{
	EXPECT_EQ(-ENOENT, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	EXPECT_EQ(-ENOENT, access("lock", F_OK) ? -errno : 0); /* and nothing was left behind */
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE, &self->store));
	ASSERT_EQ(0, pf_store_close(self->store));
	EXPECT_EQ(-EEXIST, scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE | PINFOLD_OPEN_EXCLUSIVE, &self->store));
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	ASSERT_EQ(0, pf_store_close(self->store));
	EXPECT_EQ(0, pf_store_close(NULL));
}

TEST_F(store, one_writer)
{
	struct pf_store *second;
	char note[80];
	pid_t pid = 0;

	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE, &self->store));
	EXPECT_EQ(-EBUSY, scratch_open(PINFOLD_SYNC_SYNC, 0, &second));
	EXPECT_NE(NULL, strstr(pf_error_text(), "held"));
	ASSERT_EQ(0, pf_store_lock_note(self->store, "board 12 3"));
	ASSERT_EQ(0, pf_store_lock_holder(scratch_dir, &pid, note, sizeof(note)));
	EXPECT_EQ(getpid(), pid);
	EXPECT_STREQ("board 12 3", note);
	EXPECT_EQ(-EINVAL, pf_store_lock_note(self->store, "two\nlines"));
	ASSERT_EQ(0, pf_store_close(self->store));
	EXPECT_EQ(-ENOENT, pf_store_lock_holder(scratch_dir, &pid, note, sizeof(note)));
}

TEST_F(store, forked_child_does_not_keep_the_lock)
{
	pid_t child;

	SCRATCH_FORKS();
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE, &self->store));
	child = fork();
	if (child == 0)
		for (;;)
			pause();
	ASSERT_LT(0, child);
	EXPECT_EQ(0, pf_store_close(self->store));
	EXPECT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	kill(child, SIGKILL);
	ASSERT_EQ(child, waitpid(child, NULL, 0));
	ASSERT_EQ(0, pf_store_close(self->store));
}

TEST_F(store, forked_child_does_not_take_the_lock_away)
{
	struct pf_store *second;
	int status = 0;
	pid_t child;

	SCRATCH_FORKS();
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE, &self->store));
	child = fork();
	if (child == 0) {
		pf_lock_release(self->store);
		_exit(self->store->lock_fd == -1 ? 0 : 1);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(-EBUSY, scratch_open(PINFOLD_SYNC_SYNC, 0, &second));
	ASSERT_EQ(0, pf_store_close(self->store));
}

static void expect_mode(struct __test_metadata *_metadata, const char *name, mode_t mode)
{
	char path[5000];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", scratch_dir, name);
	ASSERT_EQ(0, stat(path, &st));
	EXPECT_EQ(mode, st.st_mode & 07777);
}

TEST_F(store, modes_whatever_the_umask)
{
	static const mode_t masks[] = { 0, 0777 };

	for (int i = 0; i < 2; i++) {
		mode_t before = umask(masks[i]);

		rmdir(scratch_dir);
		ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE, &self->store));
		umask(before);
		ASSERT_EQ(0, pf_store_close(self->store));
		expect_mode(_metadata, "", 0700);
		expect_mode(_metadata, "super", 0600);
		expect_mode(_metadata, "lock", 0600);
		expect_mode(_metadata, "data.000000", 0600);
		expect_mode(_metadata, "journal", 0700);
		expect_mode(_metadata, "journal/00000001.000003", 0600);
		nftw(scratch_dir, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
	}
}

TEST_F(store, root_extent_is_there_and_zero)
{
	struct pinfold_extent root;
	static const uint8_t zero[4096];
	uint8_t bytes[4096];

	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE, &self->store));
	pf_store_root(self->store, &root);
	EXPECT_EQ(0, pf_extent_check(self->store, &root));
	EXPECT_EQ(2 * MIB, root.len);
	ASSERT_EQ(0, pf_read_at(self->store, &root, 8192, bytes, sizeof(bytes)));
	EXPECT_EQ(0, memcmp(zero, bytes, sizeof(bytes)));
	EXPECT_EQ(-EPERM, scratch_drop(self->store, &root));
	EXPECT_EQ(0, (uintptr_t)pf_store_base(self->store) % GIB);
	ASSERT_EQ(0, pf_store_close(self->store));
}

TEST_F(store, lost_superblock_is_not_overwritten)
{
	char path[5000];

	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE, &self->store));
	ASSERT_EQ(0, pf_store_close(self->store));
	snprintf(path, sizeof(path), "%s/super", scratch_dir);
	ASSERT_EQ(0, unlink(path));
	EXPECT_EQ(-EUCLEAN, scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE, &self->store));
}

TEST_F(store, remains_of_a_creation_are_overwritten)
{
	char path[5000];
	int fd;

	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE, &self->store));
	ASSERT_EQ(0, pf_store_close(self->store));
	snprintf(path, sizeof(path), "%s/super", scratch_dir);
	ASSERT_EQ(0, unlink(path));
	snprintf(path, sizeof(path), "%s/creating", scratch_dir);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	ASSERT_LE(0, fd);
	close(fd);
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE, &self->store));
	ASSERT_EQ(0, pf_store_close(self->store));
}

TEST_F(store, journal_size_may_change)
{
	struct pinfold_config config = scratch_config(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE);
	struct pinfold_extent extent;
	uint64_t value = 77, got = 0;

	ASSERT_EQ(0, scratch_open_config(&config, &self->store));
	ASSERT_EQ(0, scratch_extent(self->store, 2 * MIB, &extent));
	ASSERT_EQ(0, scratch_write(self->store, &extent, 0, &value, sizeof(value)));
	ASSERT_EQ(0, pf_store_close(self->store));
	for (int turn = 0; turn < 2; turn++) {
		config.journal_size = turn ? 16 * MIB : 24 * MIB;
		ASSERT_EQ(0, scratch_open_config(&config, &self->store));
		EXPECT_EQ(config.journal_size, scratch_stat(self->store).journal_size);
		ASSERT_EQ(0, pf_read_at(self->store, &extent, 0, &got, sizeof(got)));
		EXPECT_EQ(value, got);
		value++;
		ASSERT_EQ(0, scratch_write(self->store, &extent, 0, &value, sizeof(value)));
		EXPECT_EQ(0, pf_store_verify(self->store, NULL, NULL, NULL));
		ASSERT_EQ(0, pf_store_close(self->store));
	}
}

TEST_F(store, journal_size_stays_as_it_is)
{
	struct pinfold_config config = scratch_config(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE);

	ASSERT_EQ(0, scratch_open_config(&config, &self->store));
	ASSERT_EQ(0, pf_store_close(self->store));
	config.journal_size = 0;
	ASSERT_EQ(0, scratch_open_config(&config, &self->store));
	EXPECT_EQ(16 * MIB, scratch_stat(self->store).journal_size);
	ASSERT_EQ(0, pf_store_close(self->store));
}

TEST_F(store, journal_has_256_mib_when_created)
{
	struct pinfold_config config = scratch_config(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE);

	config.journal_size = 0;
	ASSERT_EQ(0, scratch_open_config(&config, &self->store));
	EXPECT_EQ(256 * MIB, scratch_stat(self->store).journal_size);
	ASSERT_EQ(0, pf_store_close(self->store));
}

static int count_one(void *ctx, const struct pinfold_extent *extent, bool published)
{
	++*(int *)ctx;
	return 0;
}

TEST_F(store, a_granule_table_that_cannot_be_read_is_an_error_of_a_read_only_store)
{
	struct pinfold_extent root, found;
	enum pf_granule_state state;
	struct pinfold_store_stats stats;
	char path[5000], bytes[8];
	int count = 0;

	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE, &self->store));
	pf_store_root(self->store, &root);
	ASSERT_EQ(0, pf_store_close(self->store));
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_READONLY, &self->store));
	ASSERT_EQ(0, pf_read_at(self->store, &root, 8192, bytes, sizeof(bytes)));
	snprintf(path, sizeof(path), "%s/data.000000", scratch_dir);
	ASSERT_EQ(0, truncate(path, 0)); /* what an I/O error does to the page */
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(-EIO, pf_read_at(self->store, &root, 8192, bytes, sizeof(bytes)));
		EXPECT_NE(NULL, strstr(pf_error_text(), "granule table"));
		EXPECT_EQ(-EIO, pf_extent_check(self->store, &root));
		EXPECT_EQ(-EIO, pf_store_extent_at(self->store, root.file_id, root.offset, &found, &state));
		EXPECT_EQ(-EIO, pf_extent_foreach(self->store, count_one, &count));
		EXPECT_EQ(-EIO, pf_store_stat(self->store, &stats));
	}
	EXPECT_EQ(0, count);
	ASSERT_EQ(0, pf_store_close(self->store));
}

TEST(config_defaults_and_ranges)
{
	struct pinfold_config config = { 0 }, complete;

	ASSERT_EQ(0, pf_config_complete(NULL, &complete));
	EXPECT_EQ(32 * GIB, complete.file_size);
	EXPECT_EQ(1024 * GIB, complete.max_mapped_size);
	EXPECT_EQ(64 * MIB, complete.extent_size);
	EXPECT_EQ(0, complete.journal_size); /* as it is */
	EXPECT_EQ(10, complete.flush_interval_ms);
	EXPECT_EQ(40, complete.pin.max_pinned_percent);
	EXPECT_EQ(50, complete.pin.class_[PINFOLD_PRIORITY_TAIL_LATENCY_CRITICAL].budget_share_percent);
	EXPECT_EQ(300000, complete.pin.class_[PINFOLD_PRIORITY_BACKGROUND].max_pin_time_ms);
#define REFUSED(field, value, name)                                         \
	do {                                                                \
		memset(&config, 0, sizeof(config));                         \
		config.field = (value);                                     \
		EXPECT_EQ(-EINVAL, pf_config_complete(&config, &complete)); \
		EXPECT_NE(NULL, strstr(pf_error_text(), name));             \
	} while (0)
	REFUSED(file_size, GIB + 1, "file_size");
	REFUSED(file_size, 512 * MIB, "file_size");
	REFUSED(max_mapped_size, GIB, "max_mapped_size");
	REFUSED(extent_size, 3 * MIB, "extent_size");
	REFUSED(extent_size, 2 * GIB, "extent_size");
	REFUSED(journal_size, MIB, "journal_size");
	REFUSED(flags, 1u << 31, "flags");
	REFUSED(flags, PINFOLD_OPEN_READONLY | PINFOLD_OPEN_CREATE, "flags");
	REFUSED(sync, 17, "sync");
	REFUSED(reserved[3], 1, "reserved");
	REFUSED(pin.pin_heat_percent, 101, "pin_heat_percent");
	REFUSED(size, 8, "size");
}

TEST_HARNESS_MAIN
