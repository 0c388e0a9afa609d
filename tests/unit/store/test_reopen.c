// SPDX-License-Identifier: GPL-2.0-only
/*
 * Opening what an unusual end, an unusual superblock or another process has left. Linked so that some calls come
 * through here.
 */
#include "scratch.h"

#include "base/crc.h"
#include "store/format.h"
#include "store/super.h"

#include <dirent.h>
#include <errno.h>

#include "kselftest_harness.h"

static struct {
	int hidden_looks; /* so many looks for "super" do not find it */
	int fsyncs_left;  /* the process is killed after so many; 0: never */
} io;

int __real_faccessat(int dirfd, const char *name, int mode, int flags);
int __wrap_faccessat(int dirfd, const char *name, int mode, int flags)
{
	if (io.hidden_looks > 0 && strcmp(name, "super") == 0) {
		io.hidden_looks--;
		errno = ENOENT;
		return -1;
	}
	return __real_faccessat(dirfd, name, mode, flags);
}

int __real_pf_io_fsync(int fd);
int __wrap_pf_io_fsync(int fd)
{
	int r = __real_pf_io_fsync(fd);

	if (io.fsyncs_left > 0 && --io.fsyncs_left == 0)
		_exit(9);
	return r;
}

FIXTURE(reopen)
{
	struct pf_store *store;
};
FIXTURE_SETUP(reopen)
{
	ASSERT_TRUE(scratch_make());
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE, &self->store));
}
FIXTURE_TEARDOWN(reopen)
{
	scratch_remove();
}

static int open_file(const char *name)
{
	char path[5000];

	snprintf(path, sizeof(path), "%s/%s", scratch_dir, name);
	return open(path, O_RDWR);
}

/* Both copies of the superblock; the slot of the newer. Negative: none. */
static int read_super(struct pf_super_disk copies[2])
{
	struct pf_super_disk newest;
	int fd = open_file("super"), slot = -1;

	if (pread(fd, copies, 2 * sizeof(copies[0]), 0) != 2 * sizeof(copies[0]) ||
	    pf_super_parse(copies, 2 * sizeof(copies[0]), &newest, &slot) != 0)
		slot = -1;
	close(fd);
	return slot;
}

static bool write_super(const struct pf_super_disk *copy, int slot)
{
	int fd = open_file("super");
	ssize_t n = pwrite(fd, copy, sizeof(*copy), slot * (off_t)sizeof(*copy));

	close(fd);
	return n == (ssize_t)sizeof(*copy);
}

/* Makes the first segment of a closed store its whole journal, of @size bytes. */
static bool make_one_segment(uint64_t size)
{
	static struct pf_segment_header header;
	struct pf_super_disk copies[2];
	int slot = read_super(copies), fd = open_file("journal/00000001.000000");
	bool ok = slot >= 0 && pread(fd, &header, sizeof(header), 0) == (ssize_t)sizeof(header);

	header.segment_size = size;
	header.segment_count = 1;
	header.crc = 0;
	header.crc = pf_crc32c(&header, sizeof(header));
	ok = ok && pwrite(fd, &header, sizeof(header), 0) == (ssize_t)sizeof(header) && ftruncate(fd, (off_t)size) == 0;
	close(fd);
	for (int i = 0; i < 2; i++) {
		copies[i].segment_size = size;
		copies[i].segment_count = 1;
		copies[i].group_blocks = 0;
		pf_super_seal(&copies[i]);
		ok = ok && write_super(&copies[i], i);
	}
	return ok;
}

TEST_F(reopen, journal_of_unusual_segments_stays)
{
	struct pinfold_config config = scratch_config(PINFOLD_SYNC_SYNC, 0);
	struct pinfold_extent root;
	char bytes[3] = "";

	config.journal_size = 0;
	ASSERT_EQ(0, pf_store_close(self->store));
	ASSERT_TRUE(make_one_segment(17 * MIB));
	for (int turn = 0; turn < 2; turn++) {
		ASSERT_EQ(0, scratch_open_config(&config, &self->store));
		EXPECT_EQ(17 * MIB, scratch_stat(self->store).journal_size);
		pf_store_root(self->store, &root);
		for (int i = 0; i < 20; i++) /* 20 times 1 MiB: the ring comes round */
			ASSERT_EQ(0, scratch_write(self->store, &root, MIB, (char[MIB]){ 0 }, MIB));
		ASSERT_EQ(0, scratch_write(self->store, &root, MIB, "ab", 2));
		ASSERT_EQ(0, pf_store_close(self->store));
	}
	config.journal_size = 16 * MIB;
	ASSERT_EQ(0, scratch_open_config(&config, &self->store));
	EXPECT_EQ(16 * MIB, scratch_stat(self->store).journal_size);
	ASSERT_EQ(0, pf_read_at(self->store, &root, MIB, bytes, 2));
	EXPECT_STREQ("ab", bytes);
	ASSERT_EQ(0, pf_store_close(self->store));
}

TEST_F(reopen, journal_that_is_too_small_is_refused)
{
	struct pinfold_config config = scratch_config(PINFOLD_SYNC_SYNC, 0);

	config.journal_size = 0;
	ASSERT_EQ(0, pf_store_close(self->store));
	ASSERT_TRUE(make_one_segment(MIB));
	EXPECT_EQ(-EUCLEAN, scratch_open_config(&config, &self->store));
	EXPECT_NE(NULL, strstr(pf_error_text(), "segment_count is 1048576"));
}

/* The last sequence that is accepted has none after it: better no writer than a superblock that nobody accepts. */
TEST_F(reopen, sequence_does_not_wrap)
{
	struct pf_super_disk copies[2];
	int slot;

	ASSERT_EQ(0, pf_store_close(self->store));
	slot = read_super(copies);
	ASSERT_LE(0, slot);
	copies[slot].sequence = PF_SEQUENCE_MAX;
	pf_super_seal(&copies[slot]);
	ASSERT_TRUE(write_super(&copies[slot], slot));
	EXPECT_EQ(-EIO, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	EXPECT_NE(NULL, strstr(pf_error_text(), "super: not written: sequence is"));
	EXPECT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_READONLY, &self->store));
	EXPECT_EQ(0, pf_store_close(self->store));
}

/* Another process finishes creating the store between any two looks of ours: there is one writer all the same. */
TEST_F(reopen, store_that_appears_meanwhile_is_locked)
{
	const uint32_t flags[] = { 0, PINFOLD_OPEN_CREATE };
	struct pf_store *second;

	for (int i = 0; i < 2; i++)
		for (int looks = 0; looks < 4; looks++) {
			int r;

			io.hidden_looks = looks;
			r = scratch_open(PINFOLD_SYNC_SYNC, flags[i], &second);
			if (flags[i] || looks == 0) {
				EXPECT_EQ(-EBUSY, r);
			} else {
				EXPECT_EQ(looks == 1 ? -ENOENT : -EUCLEAN, r); /* no store so far; one that lost it */
			}
		}
	io.hidden_looks = 0;
	ASSERT_EQ(0, pf_store_close(self->store));
}

static int open_and_die_after(void *ctx)
{
	struct pinfold_config config = scratch_config(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE);
	struct pf_store *store;

	config.journal_size = 64 * MIB;
	io.fsyncs_left = *(const int *)ctx;
	return scratch_open_config(&config, &store) == 0 ? 0 : 1;
}

static int count_segments(void)
{
	char path[5000];
	DIR *dir;
	int count = 0;

	snprintf(path, sizeof(path), "%s/journal", scratch_dir);
	dir = opendir(path);
	if (!dir)
		return -1;
	for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

/* Killed when 6 of 8 segments of a larger journal are made: the next opening knows nothing of them. */
TEST_F(reopen, segments_of_an_interrupted_resize_are_removed)
{
	const uint64_t sizes[] = { 0, 16 * MIB, 20 * MIB }; /* as it is; named; made smaller than what was begun */
	const int counts[] = { 4, 4, 5 };

	ASSERT_EQ(0, pf_store_close(self->store));
	for (int i = 0; i < 3; i++) {
		struct pinfold_config config = scratch_config(PINFOLD_SYNC_SYNC, 0);

		ASSERT_EQ(9, scratch_crash(open_and_die_after, &(int){ 6 }));
		ASSERT_EQ(10, count_segments());
		config.journal_size = sizes[i];
		ASSERT_EQ(0, scratch_open_config(&config, &self->store));
		EXPECT_EQ(counts[i], count_segments());
		ASSERT_EQ(0, pf_store_close(self->store));
	}
}

TEST_F(reopen, segments_of_an_interrupted_creation_are_removed)
{
	ASSERT_EQ(0, pf_store_close(self->store));
	for (int fsyncs = 4; fsyncs < 11; fsyncs++) { /* of these, three are not of segments */
		nftw(scratch_dir, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
		ASSERT_EQ(9, scratch_crash(open_and_die_after, &fsyncs));
		ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE, &self->store));
		EXPECT_EQ(4, count_segments());
		ASSERT_EQ(0, pf_store_close(self->store));
	}
}

/* Commits the numbers from *@ctx on, of which the last stays; without a close. */
#define COMMITS 20
static int commit_and_die(void *ctx)
{
	struct pinfold_extent root;
	struct pf_store *store;
	int first = *(const int *)ctx;

	if (scratch_open(PINFOLD_SYNC_SYNC, 0, &store) != 0)
		return 1;
	pf_store_root(store, &root);
	for (int n = first; first && n < first + COMMITS; n++)
		if (scratch_write(store, &root, 8192, &n, sizeof(n)) != 0)
			return 2;
	return 0;
}

static bool damage_newer_super(void)
{
	struct pf_super_disk copies[2];
	int slot = read_super(copies);

	if (slot < 0)
		return false;
	copies[slot].reserved[1000] ^= 1;
	return write_super(&copies[slot], slot);
}

/* Flips a bit of block @block behind the header of the first segment. */
static bool damage_journal(int block)
{
	int fd = open_file("journal/00000001.000000");
	off_t at = (1 + block) * (off_t)PF_BLOCK_SIZE + 40;
	uint8_t byte = 0;
	bool ok = pread(fd, &byte, 1, at) == 1;

	byte ^= 1;
	ok = ok && pwrite(fd, &byte, 1, at) == 1;
	close(fd);
	return ok;
}

static int last_number(struct pf_store *store)
{
	struct pinfold_extent root;
	int n = -1;

	pf_store_root(store, &root);
	return pf_read_at(store, &root, 8192, &n, sizeof(n)) == 0 ? n : -1;
}

TEST_F(reopen, commits_outlive_the_superblock_of_their_opening)
{
	ASSERT_EQ(0, pf_store_close(self->store));
	for (int turn = 0; turn < 4; turn++) {
		int first = 1 + turn * COMMITS;

		ASSERT_EQ(0, scratch_crash(commit_and_die, &first));
		ASSERT_TRUE(damage_newer_super());
		EXPECT_EQ(-EUCLEAN, scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_READONLY, &self->store));
		if (turn & 1) { /* and the copy of the opening that recovers, too */
			first = 0;
			ASSERT_EQ(0, scratch_crash(commit_and_die, &first));
		}
		ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
		EXPECT_EQ(turn & 1 ? 0 : COMMITS, scratch_stat(self->store).recovered_txns);
		EXPECT_EQ((turn + 1) * COMMITS, last_number(self->store));
		ASSERT_EQ(0, pf_store_close(self->store));
	}
}

/* The older copy is of an opening that crashed: what it would replay was replayed, and is not to be again. */
TEST_F(reopen, commits_outlive_the_superblock_after_a_crash)
{
	int first = 1;

	ASSERT_EQ(0, pf_store_close(self->store));
	ASSERT_EQ(0, scratch_crash(commit_and_die, &first));
	ASSERT_TRUE(damage_journal(COMMITS - 1)); /* the last group is torn: the next opening writes over it */
	for (int turn = 0; turn < 2; turn++) {
		first += COMMITS;
		ASSERT_EQ(0, scratch_crash(commit_and_die, &first));
		ASSERT_TRUE(damage_newer_super());
		ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
		EXPECT_EQ(COMMITS, scratch_stat(self->store).recovered_txns);
		EXPECT_EQ(first + COMMITS - 1, last_number(self->store));
		ASSERT_EQ(0, pf_store_close(self->store));
	}
}

/* As a power cut leaves it while an opening writes its superblock, before and after another crash. */
TEST_F(reopen, torn_superblock_without_groups_does_not_count)
{
	int none = 0, first = 1;

	ASSERT_EQ(0, pf_store_close(self->store));
	ASSERT_EQ(0, scratch_crash(commit_and_die, &none));
	ASSERT_TRUE(damage_newer_super());
	ASSERT_EQ(0, scratch_crash(commit_and_die, &first));
	ASSERT_EQ(0, scratch_crash(commit_and_die, &none));
	ASSERT_TRUE(damage_newer_super());
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	EXPECT_EQ(COMMITS, scratch_stat(self->store).recovered_txns);
	EXPECT_EQ(COMMITS, last_number(self->store));
	ASSERT_EQ(0, pf_store_close(self->store));
}

TEST_F(reopen, later_groups_that_cannot_be_replayed_are_told)
{
	struct pf_super_disk before[2];
	int first = 1;

	ASSERT_EQ(0, pf_store_close(self->store));
	ASSERT_EQ(0, scratch_crash(commit_and_die, &first));
	ASSERT_LE(0, read_super(before));
	first += COMMITS;
	ASSERT_EQ(0, scratch_crash(commit_and_die, &first));
	ASSERT_TRUE(damage_newer_super());
	ASSERT_TRUE(damage_journal(COMMITS)); /* the first group of the second opening */
	EXPECT_EQ(-EUCLEAN, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	EXPECT_NE(NULL, strstr(pf_error_text(), "newer copy of the superblock is lost"));
	ASSERT_TRUE(damage_journal(COMMITS));
	/* both copies sound, as if the write of the newer one had never reached the device */
	ASSERT_TRUE(write_super(&before[0], 0) && write_super(&before[1], 1));
	EXPECT_EQ(-EUCLEAN, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	EXPECT_NE(NULL, strstr(pf_error_text(), "newer copy of the superblock is lost"));
}

TEST_HARNESS_MAIN
