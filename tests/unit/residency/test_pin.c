// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pins: what they keep, what they read in, what refuses them and with which words.
 */
#include "cgroup.h"
#include "file.h"

#include "base/error.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "kselftest_harness.h"

/** Right words, one looked at on each page. Not instrumented: shadow memory has faults of its own. */
__attribute__((no_sanitize("address"))) static size_t right_pages(const struct test_file *file)
{
	size_t good = 0;

	for (size_t at = 0; at < file->size; at += pf_page_size())
		good += *(volatile uint64_t *)(file->map + at) == test_word(at);
	return good;
}

FIXTURE(pin) {
	struct test_file file;
};

FIXTURE_SETUP(pin)
{
	ASSERT_TRUE(test_file_open(&self->file, 9 * MIB + 4 * pf_page_size()));
}

FIXTURE_TEARDOWN(pin)
{
	test_file_close(&self->file);
}

TEST_F(pin, reads_in_and_maps_everything)
{
	struct pf_range range = test_range(&self->file, 0, self->file.size);
	struct rusage before, after;
	size_t good;

	ASSERT_EQ(0, test_resident(&self->file, 0, self->file.size));
	ASSERT_EQ(0, pf_pin(&range, false)) TH_LOG("%s", pf_error_text());
	EXPECT_EQ(self->file.size / pf_page_size(), test_resident(&self->file, 0, self->file.size));
	EXPECT_LE(self->file.size, pf_locked_bytes());

	getrusage(RUSAGE_SELF, &before);
	good = right_pages(&self->file);
	getrusage(RUSAGE_SELF, &after);
	EXPECT_EQ(self->file.size / pf_page_size(), good);
	EXPECT_EQ(before.ru_majflt, after.ru_majflt);
	EXPECT_GE(before.ru_minflt + 8, after.ru_minflt) TH_LOG("the pinned pages were not mapped");
	EXPECT_EQ(0, pf_unpin(&range));
	EXPECT_EQ(0, pf_locked_bytes());
}

TEST_F(pin, onfault_reads_nothing)
{
	struct pf_range range = test_range(&self->file, 2 * MIB, 4 * MIB);

	ASSERT_EQ(0, pf_pin(&range, true));
	EXPECT_EQ(0, test_resident(&self->file, 0, self->file.size));
	EXPECT_EQ(test_word(3 * MIB), *(volatile uint64_t *)(self->file.map + 3 * MIB));
	test_evict(&self->file, 0, self->file.size);
	EXPECT_EQ(1, test_resident(&self->file, 0, self->file.size))
	TH_LOG("the touched page must stay, others must not come");
	EXPECT_EQ(0, pf_unpin(&range));
	test_evict(&self->file, 0, self->file.size);
	EXPECT_EQ(0, test_resident(&self->file, 0, self->file.size));
}

TEST_F(pin, keeps_pages_from_being_dropped)
{
	struct pf_range range = test_range(&self->file, MIB, 3 * MIB);

	ASSERT_EQ(0, pf_pin(&range, false)) TH_LOG("%s", pf_error_text());
	test_evict(&self->file, 0, self->file.size);
	EXPECT_EQ(3 * MIB / pf_page_size(), test_resident(&self->file, MIB, 3 * MIB));
}

TEST_F(pin, of_a_truncated_file_is_eio_and_locks_nothing)
{
	struct pf_range range = test_range(&self->file, 0, 8 * MIB);

	ASSERT_EQ(0, ftruncate(self->file.fd, 5 * MIB));
	EXPECT_EQ(-EIO, pf_pin(&range, false));
	EXPECT_NE(NULL, strstr(pf_error_text(), "the file ends at 5242880")) TH_LOG("%s", pf_error_text());
	EXPECT_EQ(0, pf_locked_bytes());
}

TEST_F(pin, populate_by_copy_maps_and_answers_eio)
{
	struct pf_range range = test_range(&self->file, 0, 4 * MIB);

	EXPECT_EQ(0, pf_populate_by_copy(&range));
	EXPECT_EQ(4 * MIB / pf_page_size(), test_resident(&self->file, 0, 4 * MIB));
	ASSERT_EQ(0, ftruncate(self->file.fd, 3 * MIB));
	EXPECT_EQ(-EIO, pf_populate_by_copy(&range));
}

TEST_F(pin, refuses_parts_of_pages)
{
	struct pf_range range = test_range(&self->file, 0, 1000);

	EXPECT_EQ(-EINVAL, pf_pin(&range, false));
	range = test_range(&self->file, 0, 0);
	EXPECT_EQ(-EINVAL, pf_pin(&range, false));
}

/* RLIMIT_MEMLOCK counts only without CAP_IPC_LOCK: so as somebody else. */
TEST_F(pin, names_rlimit_memlock_when_it_refuses)
{
	struct rlimit limit = {2 * MIB, 2 * MIB};
	struct pf_range range = test_range(&self->file, 0, 8 * MIB);
	int status;
	pid_t child;

	if (geteuid())
		limit.rlim_max = limit.rlim_cur;
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		if (setrlimit(RLIMIT_MEMLOCK, &limit) || (!geteuid() && setresuid(65534, 65534, 65534)))
			_exit(2);
		if (pf_pin(&range, false) != -ENOMEM)
			_exit(3);
		if (!strstr(pf_error_text(), "RLIMIT_MEMLOCK is 2097152"))
			_exit(4);
		if (pf_locked_bytes())
			_exit(5);
		limit.rlim_cur = 0;
		if (setrlimit(RLIMIT_MEMLOCK, &limit) || pf_pin(&range, true) != -EPERM)
			_exit(6);
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status));
}

/* In the child: pins 24 MiB of 48, then reads 160 MiB of another file through the cache. */
static int under_pressure(struct test_cgroup *cgroup, struct test_file *file, struct test_file *hot)
{
	struct pf_range range = test_range(hot, 0, hot->size), much;
	static char block[1 << 20];
	struct test_file large;

	if (!test_cgroup_enter(cgroup))
		return 2;
	much = test_range(file, 0, file->size);
	if (pf_pin(&range, false))
		return 3;
	if (pf_pin(&range, false))
		return 11; /* what is locked already asks for nothing new */
	large = (struct test_file){.fd = test_fd()};
	if (large.fd < 0 || ftruncate(large.fd, 160 * MIB))
		return 4;
	for (size_t at = 0; at < 160 * MIB; at += sizeof(block))
		if (pread(large.fd, block, sizeof(block), (off_t)at) != sizeof(block))
			return 5;
	if (test_resident(hot, 0, hot->size) != hot->size / pf_page_size())
		return 6;
	/* 40 more would need the OOM killer: refused, by the name of the limit */
	if (pf_pin(&much, false) != -ENOMEM || !strstr(pf_error_text(), "cgroup limit is 50331648"))
		return 7;
	/* the test can fail: an unlocked file does not survive that */
	if (pf_unpin(&range))
		return 8;
	madvise(hot->map, hot->size, MADV_DONTNEED);
	for (int turn = 0; turn < 3; turn++)
		for (size_t at = 0; at < 160 * MIB; at += sizeof(block))
			if (pread(large.fd, block, sizeof(block), (off_t)at) != sizeof(block))
				return 9;
	return test_resident(hot, 0, hot->size) < hot->size / pf_page_size() ? 0 : 10;
}

TEST(pinned_pages_survive_cgroup_pressure)
{
	struct test_cgroup cgroup;
	struct test_file file, hot;
	const char *why = test_cgroup_open(&cgroup, "50331648");
	int status;
	pid_t child;

	if (why)
		SKIP(return, "%s", why);
	ASSERT_TRUE(test_file_open(&file, 40 * MIB));
	ASSERT_TRUE(test_file_open(&hot, 24 * MIB));
	child = fork();
	if (!child)
		_exit(under_pressure(&cgroup, &file, &hot));
	EXPECT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFEXITED(status) && !WEXITSTATUS(status)) TH_LOG("the child ended with %#x", status);
	test_file_close(&file);
	test_file_close(&hot);
	test_cgroup_close(&cgroup);
}

TEST_HARNESS_MAIN
