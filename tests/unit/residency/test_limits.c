// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory limits, read from trees of files that look like the hosts they are named after.
 */
#include "residency/internal.h"

#include "cgroup.h"

#include "base/error.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"

#define GIB (1ull << 30)
#define V2_MOUNT "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_MOUNT                                                                        \
	"29 23 0:25 / /sys/fs/cgroup/cpu rw shared:3 - cgroup cgroup rw,cpu,cpuacct\n" \
	"31 23 0:27 / /sys/fs/cgroup/memory rw,nosuid shared:5 - cgroup cgroup rw,memory\n"
#define NO_LIMIT_V1 "9223372036854771712\n"

FIXTURE(limits) {
	char root[64];
	struct pf_memory_limits limits;
};

static void put(const char *root, const char *path, const char *text)
{
	char full[512], *slash;
	FILE *file;

	snprintf(full, sizeof(full), "%s%s", root, path);
	for (slash = strchr(full + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(full, 0755);
		*slash = '/';
	}
	file = fopen(full, "w");
	if (!file)
		abort();
	fputs(text, file);
	fclose(file);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

FIXTURE_SETUP(limits)
{
	strcpy(self->root, "/tmp/pinfold-limits-XXXXXX");
	ASSERT_NE(NULL, mkdtemp(self->root));
	put(self->root, "/proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB\n");
	put(self->root, "/proc/self/status", "Name:\tx\nCapEff:\t0000000000000000\n");
	put(self->root, "/proc/self/limits",
	    "Limit                     Soft Limit           Hard Limit           Units\n"
	    "Max locked memory         unlimited            unlimited            bytes\n");
	put(self->root, "/proc/self/cgroup", "0::/a/b\n");
	put(self->root, "/proc/self/mountinfo", V2_MOUNT);
}

FIXTURE_TEARDOWN(limits)
{
	nftw(self->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

TEST_F(limits, none_but_ram)
{
	put(self->root, "/sys/fs/cgroup/a/b/memory.max", "max\n");
	ASSERT_EQ(0, pf_memory_limits_read_at(self->root, &self->limits));
	EXPECT_EQ(16 * GIB, self->limits.ram_bytes);
	EXPECT_EQ(UINT64_MAX, self->limits.cgroup_bytes);
	EXPECT_EQ(UINT64_MAX, self->limits.memlock_bytes);
	EXPECT_EQ(16 * GIB, self->limits.effective_bytes);
	EXPECT_STREQ("ram", self->limits.limit_name);
}

TEST_F(limits, v2_least_along_the_path)
{
	put(self->root, "/sys/fs/cgroup/a/b/memory.max", "8589934592\n");
	put(self->root, "/sys/fs/cgroup/a/b/memory.current", "1000\n");
	put(self->root, "/sys/fs/cgroup/a/memory.max", "2147483648\n");
	put(self->root, "/sys/fs/cgroup/a/memory.current", "5000\n");
	ASSERT_EQ(0, pf_memory_limits_read_at(self->root, &self->limits));
	EXPECT_EQ(2 * GIB, self->limits.cgroup_bytes);
	EXPECT_EQ(5000, self->limits.cgroup_used_bytes);
	EXPECT_STREQ("/sys/fs/cgroup/a", self->limits.cgroup_path);
	EXPECT_STREQ("cgroup", self->limits.limit_name);
	EXPECT_EQ(2 * GIB, self->limits.effective_bytes);
}

TEST_F(limits, v2_high_counts)
{
	put(self->root, "/sys/fs/cgroup/a/b/memory.max", "max\n");
	put(self->root, "/sys/fs/cgroup/a/b/memory.high", "1073741824\n");
	ASSERT_EQ(0, pf_memory_limits_read_at(self->root, &self->limits));
	EXPECT_EQ(GIB, self->limits.cgroup_bytes);
}

TEST_F(limits, v1_beside_an_empty_v2)
{
	put(self->root, "/proc/self/cgroup", "5:cpu,cpuacct:/other\n4:memory:/job/x\n0::/\n");
	put(self->root, "/proc/self/mountinfo", V1_MOUNT V2_MOUNT);
	put(self->root, "/sys/fs/cgroup/memory/job/x/memory.limit_in_bytes", "536870912\n");
	put(self->root, "/sys/fs/cgroup/memory/job/x/memory.usage_in_bytes", "77\n");
	put(self->root, "/sys/fs/cgroup/memory/job/memory.limit_in_bytes", NO_LIMIT_V1);
	put(self->root, "/sys/fs/cgroup/memory/memory.limit_in_bytes", NO_LIMIT_V1);
	ASSERT_EQ(0, pf_memory_limits_read_at(self->root, &self->limits));
	EXPECT_EQ(GIB / 2, self->limits.cgroup_bytes);
	EXPECT_EQ(77, self->limits.cgroup_used_bytes);
	EXPECT_STREQ("/sys/fs/cgroup/memory/job/x", self->limits.cgroup_path);
}

TEST_F(limits, v1_unlimited_is_no_limit)
{
	put(self->root, "/proc/self/cgroup", "4:memory:/\n");
	put(self->root, "/proc/self/mountinfo", V1_MOUNT);
	put(self->root, "/sys/fs/cgroup/memory/memory.limit_in_bytes", NO_LIMIT_V1);
	ASSERT_EQ(0, pf_memory_limits_read_at(self->root, &self->limits));
	EXPECT_EQ(UINT64_MAX, self->limits.cgroup_bytes);
}

/* A container whose mount shows its own cgroup as the root, with a space in the path. */
TEST_F(limits, container_mount)
{
	put(self->root, "/proc/self/cgroup", "0::/pod one/inner\n");
	put(self->root, "/proc/self/mountinfo", "30 23 0:26 /pod\\040one /sys/fs/c\\040g rw - cgroup2 cgroup2 rw\n");
	put(self->root, "/sys/fs/c g/memory.max", "3221225472\n");
	put(self->root, "/sys/fs/c g/inner/memory.max", "max\n");
	ASSERT_EQ(0, pf_memory_limits_read_at(self->root, &self->limits));
	EXPECT_EQ(3 * GIB, self->limits.cgroup_bytes);
	EXPECT_STREQ("/sys/fs/c g", self->limits.cgroup_path);
}

TEST_F(limits, cgroup_outside_of_the_namespace)
{
	put(self->root, "/proc/self/cgroup", "0::/../../elsewhere\n");
	put(self->root, "/sys/fs/cgroup/memory.max", "1073741824\n");
	ASSERT_EQ(0, pf_memory_limits_read_at(self->root, &self->limits));
	EXPECT_EQ(GIB, self->limits.cgroup_bytes);
}

TEST_F(limits, memlock_unless_the_capability_lifts_it)
{
	put(self->root, "/proc/self/limits",
	    "Max cpu time              unlimited            unlimited            seconds\n"
	    "Max locked memory         8388608              8388608              bytes\n");
	ASSERT_EQ(0, pf_memory_limits_read_at(self->root, &self->limits));
	EXPECT_EQ(8388608, self->limits.memlock_bytes);
	EXPECT_EQ(8388608, self->limits.effective_bytes);
	EXPECT_STREQ("rlimit_memlock", self->limits.limit_name);
	put(self->root, "/proc/self/status", "CapEff:\t0000000000004000\n");
	ASSERT_EQ(0, pf_memory_limits_read_at(self->root, &self->limits));
	EXPECT_EQ(UINT64_MAX, self->limits.memlock_bytes);
	EXPECT_STREQ("ram", self->limits.limit_name);
}

TEST_F(limits, damaged_files_are_no_limit)
{
	put(self->root, "/proc/self/cgroup", "garbage\n:::\n0:\n0::/a/b\n");
	put(self->root, "/proc/self/mountinfo", "short - cgroup2\n - \nx\n" V2_MOUNT);
	put(self->root, "/sys/fs/cgroup/a/b/memory.max", "\n");
	put(self->root, "/sys/fs/cgroup/a/memory.max", "many\n");
	ASSERT_EQ(0, pf_memory_limits_read_at(self->root, &self->limits));
	EXPECT_EQ(UINT64_MAX, self->limits.cgroup_bytes);
	put(self->root, "/proc/meminfo", "nothing\n");
	EXPECT_EQ(-ENODATA, pf_memory_limits_read_at(self->root, &self->limits));
}

TEST(of_this_host)
{
	struct pf_memory_limits limits;

	ASSERT_EQ(0, pf_memory_limits_read(&limits)) TH_LOG("%s", pf_error_text());
	TH_LOG("ram %llu cgroup %llu (%s) memlock %llu: %s", (unsigned long long)limits.ram_bytes,
	       (unsigned long long)limits.cgroup_bytes, limits.cgroup_path, (unsigned long long)limits.memlock_bytes,
	       limits.limit_name);
	EXPECT_LT(0, limits.effective_bytes);
	EXPECT_LE(limits.effective_bytes, limits.ram_bytes);
}

/* A real cgroup, v1 or v2: what it limits and how much of that is used. */
static int limits_inside(struct test_cgroup *cgroup)
{
	struct pf_memory_limits limits;
	void *data;

	if (!test_cgroup_enter(cgroup))
		return 2;
	data = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (data == MAP_FAILED)
		return 2;
	if (pf_memory_limits_read(&limits) || limits.cgroup_bytes != 100 << 20)
		return 3;
	if (limits.cgroup_used_bytes < 8 << 20 || limits.cgroup_used_bytes > 100 << 20)
		return 4;
	if (limits.effective_bytes > 100 << 20 || strcmp(limits.cgroup_path, cgroup->dir))
		return 5;
	return 0;
}

TEST(of_a_cgroup_of_this_host)
{
	struct test_cgroup cgroup;
	const char *why = test_cgroup_open(&cgroup, "104857600");
	int status;
	pid_t child;

	if (why)
		SKIP(return, "%s", why);
	child = fork();
	if (!child)
		_exit(limits_inside(&cgroup));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	test_cgroup_close(&cgroup);
}

TEST_HARNESS_MAIN
