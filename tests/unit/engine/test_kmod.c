/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * test_kmod.c - the engine with the kernel module: counted by it, and carried on without it when it is gone, refuses,
 * or runs out of its limits. Where the module is not loaded (or not ours to unload) the cases skip; they run in the
 * virtual machines.
 */
#include "fixture.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define DEVICE "/dev/pinfold"
#define MODULE "/lib/modules/pinfold.ko"
#define PARAMETER "/sys/module/pinfold/parameters/regions_per_user"
#define PAGE 4096ull
#define EXTENT (4 * MIB)
#define TESTER 1000
/* The last reference to a region falls a moment after the last close. */
#define PATIENCE_MS 3000

static int load(void)
{
	int fd = open(MODULE, O_RDONLY | O_CLOEXEC), r = (int)syscall(SYS_finit_module, fd, "", 0);

	close(fd);
	return r ? -errno : 0;
}

static int unload(void)
{
	return syscall(SYS_delete_module, "pinfold", O_NONBLOCK) ? -errno : 0;
}

static int unload_soon(void)
{
	int r = unload();

	for (int ms = 0; r == -EWOULDBLOCK && ms < PATIENCE_MS; ms++) {
		usleep(1000);
		r = unload();
	}
	return r;
}

static int live_info(const char *dir, struct pinfold_live_info *ret_info)
{
	struct pinfold_live *live;
	int r = pinfold_live_open(dir, &live);

	if (r)
		return r;
	r = pinfold_live_info(live, ret_info);
	pinfold_live_close(live);
	return r;
}

#define NEED_MODULE()                                                                         \
	do {                                                                                  \
		if (access(DEVICE, F_OK))                                                     \
			SKIP(return, DEVICE ": the module is not loaded");                    \
		if (access(MODULE, F_OK) || geteuid())                                        \
			SKIP(return, "needs root in a machine whose module may be unloaded"); \
	} while (0)

/* Faults of all slices. */
static uint64_t sum_faults(const char *dir)
{
	static struct pinfold_live_slice slices[4096];
	struct pinfold_live *live;
	uint64_t faults = 0;
	size_t count = 0;

	if (pinfold_live_open(dir, &live))
		return UINT64_MAX;
	if (pinfold_live_slices(live, slices, 4096, &count))
		count = 0;
	pinfold_live_close(live);
	for (size_t i = 0; i < count && i < 4096; i++)
		faults += slices[i].minor + slices[i].major;
	return faults;
}

/* The word that fill_extent() put on each page, read through the mapping. True: all are right. */
static bool pages_right(struct pinfold *pf, const struct pinfold_extent *extent, uint64_t seed)
{
	const volatile uint64_t *words;
	bool right = !pinfold_extent_ptr(pf, extent, (const void **)&words);

	for (uint64_t page = 0; right && page < extent->len / PAGE; page++)
		right = words[page * PAGE / 8] == seed + page * PAGE / 8;
	return right;
}

TEST_F(store, the_module_counts_what_the_kernel_accounts)
{
	struct pinfold_residency residency;
	struct pinfold_extent extent;
	struct pinfold_live_info info;
	struct rusage before, after;
	uint64_t counted, accounted;

	NEED_MODULE();
	ASSERT_EQ(0, fill_extent(self->pf, EXTENT, 7, &extent));
	ASSERT_EQ(0, pinfold_controller_turn(self->pf));
	ASSERT_EQ(0, live_info(self->dir, &info));
	ASSERT_STREQ("kmod", info.source) TH_LOG("%s", info.missing);
	EXPECT_EQ(NULL, strstr(info.missing, "kmod")) TH_LOG("%s", info.missing);
	counted = sum_faults(self->dir);
	getrusage(RUSAGE_THREAD, &before);
	ASSERT_TRUE(pages_right(self->pf, &extent, 7));
	getrusage(RUSAGE_THREAD, &after);
	accounted = (uint64_t)(after.ru_minflt - before.ru_minflt + after.ru_majflt - before.ru_majflt);
	ASSERT_EQ(0, pinfold_controller_turn(self->pf));
	counted = sum_faults(self->dir) - counted;
	EXPECT_GT(accounted, 0);
	EXPECT_GE(counted, accounted - 2);
	/* samples that the controller revoked meanwhile are touched again within the loop, which the kernel accounts
	 * too */
	EXPECT_LE(counted, accounted);
	ASSERT_EQ(0, live_info(self->dir, &info));
	EXPECT_EQ(0, info.lost_events);
	ASSERT_EQ(0, pinfold_residency_query(self->pf, &extent, 0, EXTENT, &residency));
	EXPECT_TRUE(residency.by_module);
	EXPECT_EQ(EXTENT, residency.resident);
	EXPECT_EQ(EXTENT, residency.node_bytes[0] + (residency.node_count > 1 ? residency.node_bytes[1] : 0) +
				  (residency.node_count > 2 ? residency.node_bytes[2] + residency.node_bytes[3] : 0));
}

TEST_F(store, unloading_is_refused_while_open_and_the_next_opening_goes_without)
{
	struct pinfold_extent extent;
	struct pinfold_live_info info;
	char error[512] = "";

	NEED_MODULE();
	ASSERT_EQ(0, fill_extent(self->pf, EXTENT, 100, &extent));
	EXPECT_EQ(-EWOULDBLOCK, unload());
	EXPECT_TRUE(pages_right(self->pf, &extent, 100));
	ASSERT_EQ(0, pinfold_close(self->pf));
	ASSERT_EQ(0, unload_soon());
	ASSERT_EQ(0, pinfold_open(self->dir, &self->config, error, sizeof(error), &self->pf)) TH_LOG("%s", error);
	ASSERT_EQ(0, live_info(self->dir, &info));
	EXPECT_STRNE("kmod", info.source);
	EXPECT_EQ(0, strncmp(info.missing, "kmod: " DEVICE ": the module is not loaded", 41))
	TH_LOG("%s", info.missing);
	EXPECT_TRUE(pages_right(self->pf, &extent, 100));
	ASSERT_EQ(0, pinfold_close(self->pf));
	ASSERT_EQ(0, load());
	ASSERT_EQ(0, pinfold_open(self->dir, &self->config, error, sizeof(error), &self->pf)) TH_LOG("%s", error);
	ASSERT_EQ(0, live_info(self->dir, &info));
	EXPECT_STREQ("kmod", info.source);
	EXPECT_TRUE(pages_right(self->pf, &extent, 100));
}

static char told[2048];

static void take_log(void *ctx, enum pinfold_log_level level, const char *text)
{
	strncat(told, text, sizeof(told) - strlen(told) - 2);
	strcat(told, "\n");
}

/* Fills the first file, so that a second one is made. */
static int fill_files(struct pinfold *pf, struct pinfold_extent *first)
{
	struct pinfold_extent large;
	int r = fill_extent(pf, EXTENT, 1, first);

	for (int i = 0; r == 0 && i < 3; i++)
		r = pinfold_extent_alloc(pf, 512 * MIB, 0, &large);
	return r;
}

/* As a user whose limit is one region: the second file is refused, so both are counted in another way. */
static int over_the_limit(const char *top)
{
	struct pinfold_config config = { .size = sizeof(config),
					 .flags = PINFOLD_OPEN_CREATE,
					 .file_size = 1024 * MIB,
					 .max_mapped_size = 4096 * MIB,
					 .journal_size = 16 * MIB,
					 .extent_size = 2 * MIB,
					 .log = take_log };
	struct pinfold_extent extent;
	struct pinfold_live_info info;
	char dir[128], error[512];
	struct pinfold *pf;

	snprintf(dir, sizeof(dir), "%s/limited", top);
	if (setgid(TESTER) || setuid(TESTER))
		return 1;
	if (pinfold_open(dir, &config, error, sizeof(error), &pf))
		return 2;
	if (live_info(dir, &info) || strcmp(info.source, "kmod"))
		return 3;
	if (fill_files(pf, &extent))
		return 4;
	if (pinfold_controller_turn(pf) || live_info(dir, &info))
		return 5;
	if (!strcmp(info.source, "kmod") || !strstr(info.missing, "kmod: registering: Disk quota exceeded"))
		return 6;
	if (!strstr(told, "in place of kmod"))
		return 7;
	if (!pages_right(pf, &extent, 1))
		return 8;
	return pinfold_close(pf) ? 9 : 0;
}

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));

	close(fd);
	return n == (ssize_t)strlen(text) ? 0 : -1;
}

static int in_child(int (*fn)(const char *top), const char *top)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(fn(top));
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(store, a_file_over_the_users_limit_is_counted_in_another_way)
{
	NEED_MODULE();
	ASSERT_EQ(0, chmod(self->dir, 0777));
	ASSERT_EQ(0, chmod(DEVICE, 0666));
	ASSERT_EQ(0, write_text(PARAMETER, "1"));
	EXPECT_EQ(0, in_child(over_the_limit, self->dir));
	EXPECT_EQ(0, write_text(PARAMETER, "1024"));
	EXPECT_EQ(0, chmod(DEVICE, 0600));
}

static int without_the_group(const char *top)
{
	struct pinfold_config config = { .size = sizeof(config),
					 .flags = PINFOLD_OPEN_CREATE,
					 .file_size = 1024 * MIB,
					 .max_mapped_size = 1024 * MIB,
					 .journal_size = 16 * MIB,
					 .extent_size = 2 * MIB };
	struct pinfold_residency residency;
	struct pinfold_extent extent;
	struct pinfold_live_info info;
	char dir[128], error[512];
	struct pinfold *pf;

	snprintf(dir, sizeof(dir), "%s/outside", top);
	if (setgid(TESTER) || setuid(TESTER))
		return 1;
	if (pinfold_open(dir, &config, error, sizeof(error), &pf))
		return 2;
	if (live_info(dir, &info) || strcmp(info.source, "procfs"))
		return 3;
	if (strncmp(info.missing, "kmod: " DEVICE ": Permission denied", 37))
		return 4;
	if (fill_extent(pf, EXTENT, 3, &extent) || !pages_right(pf, &extent, 3))
		return 5;
	if (pinfold_residency_query(pf, &extent, 0, 0, &residency) || residency.by_module)
		return 6;
	return pinfold_close(pf) ? 7 : 0;
}

TEST_F(store, who_may_not_open_the_device_is_told_and_goes_without)
{
	NEED_MODULE();
	ASSERT_EQ(0, chmod(self->dir, 0777));
	EXPECT_EQ(0, in_child(without_the_group, self->dir));
}

TEST_F(store, the_doctor_tries_it_in_the_directory)
{
	static struct pinfold_capability caps[64];
	int n = pinfold_doctor(self->dir, caps, 64);

	ASSERT_GT(n, 0);
	ASSERT_STREQ("kmod", caps[0].name);
	if (access(DEVICE, R_OK | W_OK)) {
		EXPECT_EQ(0, caps[0].state);
		EXPECT_NE(NULL, strstr(caps[0].found, DEVICE));
		EXPECT_NE(NULL, caps[0].how);
	} else {
		EXPECT_EQ(1, caps[0].state) TH_LOG("%s", caps[0].found);
		EXPECT_NE(NULL, strstr(caps[0].found, self->dir));
		/* tmpfs is refused, and the reason said */
		ASSERT_GT(pinfold_doctor("/dev/shm", caps, 64), 0);
		EXPECT_EQ(0, caps[0].state);
		EXPECT_NE(NULL, strstr(caps[0].found, "ext4 or xfs")) TH_LOG("%s", caps[0].found);
	}
}

TEST_HARNESS_MAIN
