/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * test_load.c - the module refuses to go while it is used in any way, and goes and comes again otherwise.
 */
#include <sys/syscall.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "region.h"

#define SIZE (2 * SLICE)
#define MODULE "/lib/modules/pinfold.ko"
/* Unloading waits for all tasks to leave the module: a second or two in an emulated machine. */
#define ROUNDS 6
/* The last reference to a file is dropped a moment after close(). */
#define PATIENCE_MS 3000

static int load(const char *parameters)
{
	int fd = open(MODULE, O_RDONLY | O_CLOEXEC), r = (int)syscall(SYS_finit_module, fd, parameters, 0);

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

TEST(refused_while_in_use)
{
	struct region r;
	char *map;

	ASSERT_EQ(region_open(&r, "load.data", SIZE, O_RDWR, 0), 0);
	map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, r.fd, 0);
	ASSERT_NE(map, MAP_FAILED);
	EXPECT_EQ(*(uint64_t *)map, 1);
	/* One use after the other ends, the last one alone still keeps it. */
	EXPECT_EQ(unload(), -EWOULDBLOCK);
	close(r.device);
	close(r.file);
	EXPECT_EQ(unload(), -EWOULDBLOCK);
	close(r.fd);
	close(r.slots_fd);
	EXPECT_EQ(unload(), -EWOULDBLOCK);
	munmap(map, SIZE);
	usleep(100000);
	EXPECT_EQ(unload(), -EWOULDBLOCK);
	munmap(r.slots, r.slots_size);
	EXPECT_EQ(unload_soon(), 0);
	EXPECT_EQ(open(DEVICE, O_RDWR), -1);
	ASSERT_EQ(load(""), 0);
	EXPECT_GE(open(DEVICE, O_RDWR), 0);
}

TEST(a_mapping_alone_keeps_it)
{
	struct region r;
	char *map;

	ASSERT_EQ(region_open(&r, "load.data", SIZE, O_RDWR, 0), 0);
	map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, r.fd, 0);
	region_close(&r);
	usleep(100000);
	EXPECT_EQ(unload(), -EWOULDBLOCK);
	EXPECT_EQ(*(uint64_t *)map, 1);
	munmap(map, SIZE);
	EXPECT_EQ(unload_soon(), 0);
	ASSERT_EQ(load(""), 0);
}

TEST(again_and_again)
{
	for (int round = 0; round < ROUNDS; round++) {
		struct region r;
		char *map;

		ASSERT_EQ(region_open(&r, "load.data", SIZE, O_RDWR, round % 2), 0);
		map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, r.fd, 0);
		ASSERT_NE(map, MAP_FAILED);
		map[round * PAGE + 100]++;
		if (!fork()) {
			map[round * PAGE + 200]++;
			_exit(0);
		}
		wait(NULL);
		munmap(map, SIZE);
		region_close(&r);
		ASSERT_EQ(unload_soon(), 0) TH_LOG("round %d", round);
		ASSERT_EQ(load(round % 3 ? "" : "regions_per_user=7"), 0);
	}
}

TEST(parameters)
{
	ASSERT_EQ(unload_soon(), 0);
	EXPECT_EQ(load("regions_per_user=x"), -EINVAL);
	ASSERT_EQ(load("regions_per_user=2 memory_per_user=3"), 0);
	ASSERT_EQ(unload_soon(), 0);
	ASSERT_EQ(load(""), 0);
	EXPECT_EQ(load(""), -EEXIST);
}

TEST_HARNESS_MAIN
