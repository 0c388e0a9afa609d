// SPDX-License-Identifier: GPL-2.0-only
/*
 * test_page_cache.c - pages inserted, evicted and refaulted, against what the
 * kernel says is resident (mincore) before and after.
 */
#include <fcntl.h>
#include <linux/pinfold.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "kselftest_harness.h"
#include "telemetry/telemetry.h"

#define FILE_BYTES (1ull << 30)
#define DATA_BYTES (32ull << 20)
#define SLICE (1ull << PINFOLD_SLICE_SHIFT_MIN)
#define DATA_SLICES (DATA_BYTES / SLICE)
#define SLICE_PAGES (SLICE / 4096)

FIXTURE(page_cache)
{
	int fd, other;
	char *map;
	struct pf_telemetry *telemetry;
	struct pf_telemetry_info info;
	struct pinfold_slot before[DATA_SLICES];
};

static int make_file(void)
{
	char path[] = "/var/tmp/pf-page-cache-XXXXXX";
	int fd = mkstemp(path);
	char *data = calloc(1, 1 << 20);

	unlink(path);
	if (ftruncate(fd, FILE_BYTES))
		fd = -1;
	memset(data, 42, 1 << 20);
	for (uint64_t at = 0; at < DATA_BYTES && fd >= 0; at += 1 << 20) {
		if (pwrite(fd, data, 1 << 20, (off_t)at) != 1 << 20)
			fd = -1;
	}
	free(data);
	return fd;
}

/* Nobody else touches these files, so what the kernel drops on request stays away. */
static int drop(int fd, uint64_t at, uint64_t size)
{
	return fsync(fd) ? -1 : posix_fadvise(fd, (off_t)at, (off_t)size, POSIX_FADV_DONTNEED);
}

FIXTURE_SETUP(page_cache)
{
	struct pf_telemetry_config config = {.source = PINFOLD_SOURCE_BPF};
	struct pf_watch watch = {.file_size = FILE_BYTES, .arena_size = 2 * FILE_BYTES};

	memset(self, 0, sizeof(*self));
	self->fd = make_file();
	self->other = make_file();
	ASSERT_GE(self->fd, 0);
	ASSERT_GE(self->other, 0);
	ASSERT_EQ(drop(self->fd, 0, 0), 0);
	ASSERT_EQ(drop(self->other, 0, 0), 0);
	/* one page at a time: no readahead into the next slice */
	ASSERT_EQ(posix_fadvise(self->fd, 0, 0, POSIX_FADV_RANDOM), 0);
	self->map = mmap(NULL, 2 * FILE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(self->map, MAP_FAILED);
	ASSERT_EQ(mmap(self->map, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, self->fd, 0), self->map);
	watch.base = self->map;
	ASSERT_EQ(pf_telemetry_new(&watch, &config, &self->telemetry), 0) TH_LOG("%s", pf_error_text());
	ASSERT_EQ(pf_telemetry_add_file(self->telemetry, 0, self->fd), 0) TH_LOG("%s", pf_error_text());
	pf_telemetry_info(self->telemetry, &self->info);
}

FIXTURE_TEARDOWN(page_cache)
{
	pf_telemetry_free(self->telemetry);
	munmap(self->map, 2 * FILE_BYTES);
	close(self->fd);
	close(self->other);
}

#define NEED_PROBE() \
	do { \
		if (strncmp(self->info.source, "bpf:", 4) || strstr(self->info.missing, "bpf:cache")) \
			SKIP(return, "no probe of the page cache here: %s", self->info.missing); \
	} while (0)

static void mark(FIXTURE_DATA(page_cache) *self)
{
	for (uint32_t i = 0; i < DATA_SLICES; i++)
		self->before[i] = *pf_telemetry_slot(self->telemetry, 0, i);
}

/* Since mark(). */
static struct pinfold_slot gone_by(const FIXTURE_DATA(page_cache) *self, uint32_t index)
{
	struct pinfold_slot slot = *pf_telemetry_slot(self->telemetry, 0, index);

	slot.inserted -= self->before[index].inserted;
	slot.evicted -= self->before[index].evicted;
	slot.refaulted -= self->before[index].refaulted;
	return slot;
}

static uint64_t resident_pages(const FIXTURE_DATA(page_cache) *self, uint32_t index)
{
	unsigned char vector[SLICE_PAGES];
	uint64_t pages = 0;

	if (mincore(self->map + index * SLICE, SLICE, vector))
		return UINT64_MAX;
	for (uint32_t i = 0; i < SLICE_PAGES; i++)
		pages += vector[i] & 1;
	return pages;
}

static int read_pages(int fd, uint64_t at, uint64_t size)
{
	char page[4096];

	for (uint64_t end = at + size; at < end; at += sizeof(page)) {
		if (pread(fd, page, sizeof(page), (off_t)at) != sizeof(page))
			return -1;
	}
	return 0;
}

TEST_F(page_cache, reads_insert_into_their_slices)
{
	NEED_PROBE();
	mark(self);
	ASSERT_EQ(read_pages(self->fd, 2 * SLICE, 4 * SLICE), 0);
	for (uint32_t i = 0; i < DATA_SLICES; i++) {
		struct pinfold_slot slot = gone_by(self, i);

		ASSERT_EQ(resident_pages(self, i), i >= 2 && i < 6 ? SLICE_PAGES : 0);
		ASSERT_EQ(slot.inserted, resident_pages(self, i)) TH_LOG("slice %u", i);
		ASSERT_EQ(slot.evicted, 0);
	}
	ASSERT_EQ(self->info.lost_events, 0);
}

TEST_F(page_cache, faults_insert_too)
{
	NEED_PROBE();
	mark(self);
	ASSERT_EQ(madvise(self->map, FILE_BYTES, MADV_RANDOM), 0);
	for (uint64_t at = 0; at < SLICE; at += 8192)
		*(volatile char *)(self->map + 7 * SLICE + at);
	ASSERT_GE(resident_pages(self, 7), SLICE_PAGES / 2);
	for (uint32_t i = 6; i < 9; i++) {
		ASSERT_EQ(gone_by(self, i).inserted, resident_pages(self, i)) TH_LOG("slice %u", i);
	}
}

TEST_F(page_cache, evicted_pages_that_return_are_refaulted)
{
	NEED_PROBE();
	ASSERT_EQ(read_pages(self->fd, 2 * SLICE, 4 * SLICE), 0);
	mark(self);
	ASSERT_EQ(drop(self->fd, 3 * SLICE, 2 * SLICE), 0);
	for (uint32_t i = 2; i < 6; i++) {
		struct pinfold_slot slot = gone_by(self, i);

		ASSERT_EQ(slot.evicted, SLICE_PAGES - resident_pages(self, i)) TH_LOG("slice %u", i);
		ASSERT_EQ(slot.evicted, i == 3 || i == 4 ? SLICE_PAGES : 0);
		ASSERT_EQ(slot.inserted + slot.refaulted, 0);
	}
	ASSERT_EQ(read_pages(self->fd, 3 * SLICE, SLICE / 2), 0);
	ASSERT_EQ(gone_by(self, 3).inserted, SLICE_PAGES / 2);
	ASSERT_EQ(gone_by(self, 3).refaulted, SLICE_PAGES / 2);
	ASSERT_EQ(gone_by(self, 4).refaulted, 0);
	ASSERT_EQ(read_pages(self->fd, 2 * SLICE, 4 * SLICE), 0);
	ASSERT_EQ(gone_by(self, 2).refaulted, 0)
	{
		TH_LOG("evicted %llu", gone_by(self, 2).evicted);
	}
	ASSERT_EQ(gone_by(self, 3).refaulted, SLICE_PAGES);
	ASSERT_EQ(gone_by(self, 4).refaulted, SLICE_PAGES);
	ASSERT_EQ(gone_by(self, 5).refaulted, 0);
}

/* Large folios: writes of a slice each, where the filesystem makes them. */
TEST_F(page_cache, large_folios_count_all_their_pages)
{
	char *data = calloc(1, SLICE);

	NEED_PROBE();
	mark(self);
	for (uint64_t at = 8 * SLICE; at < 12 * SLICE; at += SLICE)
		ASSERT_EQ(pwrite(self->fd, data, SLICE, (off_t)at), SLICE);
	free(data);
	for (uint32_t i = 8; i < 12; i++) {
		ASSERT_EQ(gone_by(self, i).inserted, SLICE_PAGES) TH_LOG("slice %u", i);
	}
	ASSERT_EQ(drop(self->fd, 8 * SLICE, 4 * SLICE), 0);
	for (uint32_t i = 8; i < 12; i++) {
		ASSERT_EQ(gone_by(self, i).evicted, SLICE_PAGES - resident_pages(self, i)) TH_LOG("slice %u", i);
	}
}

TEST_F(page_cache, other_processes_are_counted)
{
	pid_t child;
	int status;

	NEED_PROBE();
	mark(self);
	child = fork();
	ASSERT_GE(child, 0);
	if (!child)
		_exit(read_pages(self->fd, 5 * SLICE, SLICE) != 0);
	ASSERT_EQ(waitpid(child, &status, 0), child);
	ASSERT_EQ(status, 0);
	ASSERT_EQ(gone_by(self, 5).inserted, SLICE_PAGES);
}

TEST_F(page_cache, other_files_are_not_counted)
{
	NEED_PROBE();
	mark(self);
	ASSERT_EQ(read_pages(self->other, 0, 8 * SLICE), 0);
	ASSERT_EQ(drop(self->other, 0, 0), 0);
	for (uint32_t i = 0; i < DATA_SLICES; i++) {
		struct pinfold_slot slot = gone_by(self, i);

		ASSERT_EQ(slot.inserted + slot.evicted + slot.refaulted, 0) TH_LOG("slice %u", i);
	}
}

TEST_F(page_cache, files_are_told_apart)
{
	NEED_PROBE();
	ASSERT_EQ(pf_telemetry_add_file(self->telemetry, 1, self->other), 0) TH_LOG("%s", pf_error_text());
	ASSERT_EQ(posix_fadvise(self->other, 0, 0, POSIX_FADV_RANDOM), 0);
	mark(self);
	ASSERT_EQ(read_pages(self->other, SLICE, SLICE), 0);
	ASSERT_EQ(gone_by(self, 1).inserted, 0);
	ASSERT_EQ(pf_telemetry_slot(self->telemetry, 1, 1)->inserted, SLICE_PAGES);
	ASSERT_EQ(pf_telemetry_slot(self->telemetry, 1, 0)->inserted, 0);
}

/* A file whose pages cannot be told is said to be missing, and its faults are counted all the same. */
static void on_overlay(struct __test_metadata *_metadata, FIXTURE_DATA(page_cache) *self, const char *dir)
{
	struct pf_telemetry_info info;
	int fd;

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", dir, "tmpfs", 0, NULL) || chdir(dir) || mkdir("up", 0700) || mkdir("work", 0700) ||
	    mkdir("low", 0700) || mkdir("all", 0700) ||
	    mount("overlay", "all", "overlay", 0, "lowerdir=low,upperdir=up,workdir=work"))
		_exit(KSFT_SKIP);
	fd = open("all/file", O_RDWR | O_CREAT, 0600);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(ftruncate(fd, FILE_BYTES), 0);
	ASSERT_EQ(pf_telemetry_add_file(self->telemetry, 1, fd), 0);
	pf_telemetry_info(self->telemetry, &info);
	ASSERT_STREQ(info.source, self->info.source);
	ASSERT_NE(strstr(info.missing, "bpf:cache: overlayfs"), NULL);
	ASSERT_NE(pf_telemetry_slot(self->telemetry, 1, 0), NULL);
}

TEST_F(page_cache, overlay_is_said_to_be_missing)
{
	char dir[] = "/var/tmp/pf-page-cache-XXXXXX";
	pid_t child;
	int status;

	NEED_PROBE();
	ASSERT_NE(mkdtemp(dir), NULL);
	child = fork();
	ASSERT_GE(child, 0);
	if (!child) {
		on_overlay(_metadata, self, dir);
		_exit(!_metadata->passed);
	}
	ASSERT_EQ(waitpid(child, &status, 0), child);
	rmdir(dir);
	if (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_SKIP)
		SKIP(return, "no overlay can be mounted here");
	ASSERT_EQ(status, 0);
}

TEST_HARNESS_MAIN
