/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * test_kmod_device.c - what is said where the module is not there, is not allowed, or is another one; and that files
 * which it refuses stay as they are.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "kselftest_harness.h"
#include "telemetry/kmod_device.h"
#include "telemetry/regions.h"
#include "telemetry/telemetry.h"

#define SIZE (1ull << 30)

static bool said(const char *text)
{
	if (strstr(pf_error_text(), text))
		return true;
	fprintf(stderr, "# \"%s\" is not in \"%s\"\n", text, pf_error_text());
	return false;
}

TEST(absent)
{
	ASSERT_EQ(pf_kmod_open("/dev/no-such-pinfold"), -ENOENT);
	EXPECT_TRUE(said("kmod: /dev/no-such-pinfold: the module is not loaded"));
}

TEST(another_device)
{
	ASSERT_EQ(pf_kmod_open("/dev/null"), -ENOTTY);
	EXPECT_TRUE(said("is not pinfold's"));
}

TEST(other_versions)
{
	EXPECT_EQ(pf_kmod_check_version(PINFOLD_ABI_VERSION), 0);
	EXPECT_EQ(pf_kmod_check_version(PINFOLD_ABI_VERSION + 1), -EPROTO);
	EXPECT_TRUE(said("speaks version 2, this build 1"));
	EXPECT_EQ(pf_kmod_check_version(0), -EPROTO);
	EXPECT_EQ(pf_kmod_check_version(-EINVAL), -EINVAL);
}

TEST(not_allowed)
{
	char path[] = "/var/tmp/pf-device-XXXXXX";
	int fd = mkstemp(path), status;
	pid_t child;

	ASSERT_GE(fd, 0);
	close(fd);
	ASSERT_EQ(chmod(path, 0), 0);
	child = fork();
	if (!child) {
		if (!geteuid() && (setgid(65534) || setuid(65534)))
			_exit(1);
		_exit(pf_kmod_open(path) == -EACCES && strstr(pf_error_text(), "Permission denied") ? 0 : 2);
	}
	ASSERT_EQ(waitpid(child, &status, 0), child);
	unlink(path);
	EXPECT_EQ(status, 0);
}

/* A memory file: neither a host with the module nor one without takes it. */
TEST(a_refused_file_stays_unmapped_and_the_next_source_counts)
{
	struct pf_watch watch = { .file_size = SIZE, .arena_size = SIZE };
	struct pf_telemetry_config config = { .source = PINFOLD_SOURCE_AUTO };
	struct pinfold_scan_args scan;
	struct pf_telemetry *telemetry;
	struct pf_telemetry_info info;
	int fd = memfd_create("regions", MFD_CLOEXEC), region;
	char *map;

	ASSERT_EQ(ftruncate(fd, SIZE), 0);
	ASSERT_EQ(pwrite(fd, "data", 4, 0), 4);
	ASSERT_EQ(pf_regions_new(&config.regions), 0);
	EXPECT_EQ(pf_regions_state(config.regions), -ENOENT);
	map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(map, MAP_FAILED);
	EXPECT_LT(pf_regions_map(config.regions, 0, fd, map, SIZE), 0);
	EXPECT_TRUE(said("kmod: "));
	EXPECT_EQ(memcmp(map, "data", 4), 0);
	EXPECT_LT(pf_regions_find(config.regions, 0, &region), 0);
	EXPECT_LT(pf_regions_state(config.regions), 0);
	EXPECT_LT(pf_regions_scan(config.regions, 0, fd, 0, SIZE, &scan), 0);
	watch.base = map;
	ASSERT_EQ(pf_telemetry_new(&watch, &config, &telemetry), 0);
	ASSERT_EQ(pf_telemetry_add_file(telemetry, 0, fd), 0);
	pf_telemetry_info(telemetry, &info);
	EXPECT_STRNE(info.source, "kmod");
	EXPECT_EQ(strncmp(info.missing, "kmod: ", 6), 0) TH_LOG("%s", info.missing);
	pf_telemetry_free(telemetry);
	pf_regions_free(config.regions);
	munmap(map, SIZE);
	close(fd);
}

TEST_HARNESS_MAIN
