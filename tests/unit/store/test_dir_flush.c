// SPDX-License-Identifier: GPL-2.0-only
/* Flushes of directories, and of files that have no name yet, that fail. Linked so that pf_io_fsync() comes here. */
#include "scratch.h"

#include "store/io.h"

#include "kselftest_harness.h"

static struct {
	unsigned fail_dir, fail_file; /* the n-th flush of one from now on; 0: none */
	unsigned dirs, files;
	bool die; /* instead of the next flush of a directory */
} io;

int __real_pf_io_fsync(int fd);
int __wrap_pf_io_fsync(int fd)
{
	struct stat st;
	bool dir = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);

	if (dir && io.die)
		_exit(77);
	if (dir ? ++io.dirs == io.fail_dir : ++io.files == io.fail_file)
		return -EIO;
	return __real_pf_io_fsync(fd);
}

FIXTURE(dir_flush)
{
	struct pf_store *store;
	struct pinfold_extent extent;
};
FIXTURE_SETUP(dir_flush)
{
	ASSERT_TRUE(scratch_make());
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE, &self->store));
	memset(&io, 0, sizeof(io));
}
FIXTURE_TEARDOWN(dir_flush)
{
	if (self->store) {
		EXPECT_EQ(0, pf_store_close(self->store));
	}
	scratch_remove();
}

/* Takes all that there is without another data file, and then what needs one. */
static int alloc_more(struct pf_store *store, struct pinfold_extent *ret_extent)
{
	const uint32_t files = scratch_stat(store).file_count;
	int r = 0;

	while (r == 0 && scratch_stat(store).file_count == files)
		r = pf_extent_alloc(store, 256 * MIB, 0, ret_extent);
	return r;
}

static bool there(const char *name)
{
	char path[5000];

	snprintf(path, sizeof(path), "%s/%s", scratch_dir, name);
	return access(path, F_OK) == 0;
}

TEST_F(dir_flush, of_a_new_data_file_poisons_and_is_not_tried_again)
{
	io.fail_dir = 1;
	EXPECT_EQ(-EIO, alloc_more(self->store, &self->extent));
	EXPECT_NE(NULL, strstr(pf_error_text(), "data.000001: flush of the directory failed"));
	EXPECT_TRUE(scratch_stat(self->store).poisoned);
	EXPECT_EQ(1, scratch_stat(self->store).file_count);
	EXPECT_FALSE(there("data.000001"));
	EXPECT_EQ(-EROFS, pf_extent_alloc(self->store, 256 * MIB, 0, &self->extent));
	EXPECT_EQ(1, io.dirs);
	EXPECT_GT(0, pf_store_close(self->store));
	self->store = NULL;
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	EXPECT_EQ(1, scratch_stat(self->store).file_count);
	EXPECT_EQ(0, alloc_more(self->store, &self->extent)); /* another one, with a flush of its own */
	EXPECT_EQ(2, io.dirs);
	EXPECT_EQ(0, pf_store_verify(self->store, NULL, NULL, NULL));
}

TEST_F(dir_flush, of_a_file_without_a_name_is_an_error_of_the_call_and_the_next_makes_another)
{
	io.fail_file = 1;
	EXPECT_EQ(-EIO, alloc_more(self->store, &self->extent));
	EXPECT_NE(NULL, strstr(pf_error_text(), "cannot make it durable"));
	EXPECT_FALSE(scratch_stat(self->store).poisoned);
	EXPECT_FALSE(there("data.000001"));
	EXPECT_FALSE(there("data.000001.new"));
	EXPECT_EQ(0, alloc_more(self->store, &self->extent));
	EXPECT_EQ(2, io.files);
	EXPECT_EQ(2, scratch_stat(self->store).file_count);
}

static int add_file_and_die(void *ctx)
{
	struct pinfold_extent extent;
	struct pf_store *store;

	if (scratch_open(PINFOLD_SYNC_SYNC, 0, &store) != 0)
		return 1;
	io.die = true;
	return alloc_more(store, &extent);
}

TEST_F(dir_flush, that_a_killed_process_did_not_come_to_is_done_by_the_next_open)
{
	ASSERT_EQ(0, pf_store_close(self->store));
	self->store = NULL;
	ASSERT_EQ(77, scratch_crash(add_file_and_die, NULL));
	ASSERT_TRUE(there("data.000001"));
	io.fail_dir = 1;
	EXPECT_EQ(-EIO, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	EXPECT_NE(NULL, strstr(pf_error_text(), "flush failed"));
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	EXPECT_EQ(2, io.dirs);
	EXPECT_EQ(2, scratch_stat(self->store).file_count);
	ASSERT_EQ(0, pf_store_close(self->store));
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	EXPECT_EQ(2, io.dirs); /* the superblock counts it now */
}

TEST_F(dir_flush, of_a_resized_journal_fails_the_open)
{
	struct pinfold_config config = scratch_config(PINFOLD_SYNC_SYNC, 0);

	config.journal_size = 32 * MIB;
	ASSERT_EQ(0, scratch_extent(self->store, 2 * MIB, &self->extent));
	ASSERT_EQ(0, scratch_write(self->store, &self->extent, 0, "kept", 4));
	ASSERT_EQ(0, pf_store_close(self->store));
	self->store = NULL;
	for (unsigned n = 1; n <= 2; n++) { /* of the journal's directory, and of the store's */
		memset(&io, 0, sizeof(io));
		io.fail_dir = n;
		EXPECT_EQ(-EIO, scratch_open_config(&config, &self->store));
		EXPECT_NE(NULL, strstr(pf_error_text(), "journal: flush failed"));
		EXPECT_EQ(n, io.dirs);
		EXPECT_FALSE(there("journal/00000002.000000")); /* the next open makes new ones */
		EXPECT_TRUE(there("journal/00000001.000000"));
	}
	memset(&io, 0, sizeof(io));
	ASSERT_EQ(0, scratch_open_config(&config, &self->store));
	EXPECT_EQ(2, io.dirs);
	EXPECT_EQ(0, memcmp(scratch_addr(self->store, &self->extent), "kept", 4));
}

TEST_HARNESS_MAIN
