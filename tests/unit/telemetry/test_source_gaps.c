// SPDX-License-Identifier: GPL-2.0-only
/*
 * test_source_gaps.c - what each source of fault counts sees and what it does not, by class of fault and per slice.
 *
 * The variants are the list of gaps that Documentation/telemetry.md gives: SEEN is counted in the slice where it
 * happened, as often as the kernel accounts it to the thread; UNSEEN changes no counter.
 */
#include <fcntl.h>
#include <linux/pinfold.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "kselftest_harness.h"
#include "telemetry/regions.h"
#include "telemetry/telemetry.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

#define FILE_BYTES (1ull << 30)
#define DATA_BYTES (32ull << 20)
#define SLICE (1ull << PINFOLD_SLICE_SHIFT_MIN)
#define SLICES (DATA_BYTES / SLICE)
#define STEP (64ull << 10)
/* A fault of the test's own stack or text while a slice is touched. */
#define OWN_FAULTS 1
#define UNWATCHED __attribute__((noinline, no_sanitize("address", "undefined")))

enum sight { UNSEEN, SEEN };

/* Slices that are touched: with neighbours and alone, the first and the last. */
static const uint32_t touched_slices[] = {0, 3, 4, 9, SLICES - 1};
#define TOUCHED (sizeof(touched_slices) / sizeof(touched_slices[0]))

FIXTURE(gaps)
{
	long before[SLICES]; /* counted when the measured part began */
	int fd;
	void *reserved;
	char *map;
	struct pf_regions *regions;
	struct pf_telemetry *telemetry;
	struct pf_telemetry_info info;
	long faults[SLICES], majors[SLICES];
};

FIXTURE_VARIANT(gaps)
{
	const char *source;
	enum sight read, write, write_flag, write_protect, major, by_kernel, huge, signal, populate;
};

FIXTURE_VARIANT_ADD(gaps, kmod)
{
	.source = "kmod", .read = SEEN, .write = SEEN, .write_flag = SEEN, .write_protect = SEEN, .major = SEEN,
	.by_kernel = SEEN, .huge = SEEN, .signal = UNSEEN, .populate = SEEN,
};

FIXTURE_VARIANT_ADD(gaps, range)
{
	.source = "bpf:range", .read = SEEN, .write = SEEN, .write_flag = SEEN, .write_protect = SEEN, .major = SEEN,
	.by_kernel = SEEN, .huge = SEEN, .signal = SEEN, .populate = UNSEEN,
};

FIXTURE_VARIANT_ADD(gaps, fexit)
{
	.source = "bpf:fexit", .read = SEEN, .write = SEEN, .write_flag = SEEN, .write_protect = SEEN, .major = SEEN,
	.by_kernel = SEEN, .huge = SEEN, .signal = UNSEEN, .populate = UNSEEN,
};

FIXTURE_VARIANT_ADD(gaps, tp)
{
	.source = "bpf:tp", .read = SEEN, .write = SEEN, .write_flag = UNSEEN, .write_protect = UNSEEN, .major = SEEN,
	.by_kernel = SEEN, .huge = UNSEEN, .signal = UNSEEN, .populate = SEEN,
};

FIXTURE_VARIANT_ADD(gaps, procfs)
{
	.source = "procfs",
};

/* Page by page: longer writes would make large folios, which are huge_mappings' matter. */
static bool make_file(int fd)
{
	char data[4096];
	bool done = !ftruncate(fd, FILE_BYTES);

	memset(data, 42, sizeof(data));
	for (uint64_t at = 0; done && at < DATA_BYTES; at += sizeof(data))
		done = pwrite(fd, data, sizeof(data), (off_t)at) == sizeof(data);
	return done && !fsync(fd);
}

FIXTURE_SETUP(gaps)
{
	struct pf_telemetry_config config = {.only = variant->source};
	struct pf_watch watch = {.file_size = FILE_BYTES, .arena_size = FILE_BYTES};
	char path[] = "/var/tmp/pf-gaps-XXXXXX";

	memset(self, 0, sizeof(*self));
	self->fd = mkstemp(path);
	ASSERT_GE(self->fd, 0);
	unlink(path);
	ASSERT_TRUE(make_file(self->fd));
	ASSERT_EQ(pf_regions_new(&self->regions), 0);
	self->reserved = mmap(NULL, 2 * FILE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(self->reserved, MAP_FAILED);
	self->map = (char *)(((uintptr_t)self->reserved + FILE_BYTES - 1) & ~(FILE_BYTES - 1));
	ASSERT_EQ(mmap(self->map, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, self->fd, 0), self->map);
	/* where the module cannot, the source says why, and that is skipped with */
	if (!strcmp(variant->source, "kmod") && !pf_regions_map(self->regions, 0, self->fd, self->map, FILE_BYTES))
		ASSERT_EQ(mprotect(self->map, FILE_BYTES, PROT_READ | PROT_WRITE), 0);
	/* some filesystems make large folios of short writes too */
	(void)madvise(self->map, FILE_BYTES, MADV_NOHUGEPAGE);
	watch.base = self->map;
	config.regions = self->regions;
	ASSERT_EQ(pf_telemetry_new(&watch, &config, &self->telemetry), 0) TH_LOG("%s", pf_error_text());
	ASSERT_EQ(pf_telemetry_add_file(self->telemetry, 0, self->fd), 0) TH_LOG("%s", pf_error_text());
	pf_telemetry_info(self->telemetry, &self->info);
}

FIXTURE_TEARDOWN(gaps)
{
	pf_telemetry_free(self->telemetry);
	munmap(self->reserved, 2 * FILE_BYTES);
	pf_regions_free(self->regions);
	close(self->fd);
}

#define NEED_SOURCE() \
	do { \
		if (strcmp(self->info.source, variant->source)) \
			SKIP(return, "not here: %s", self->info.missing); \
	} while (0)

static UNWATCHED void read_pages(FIXTURE_DATA(gaps) *self, uint32_t slice, uint64_t step)
{
	for (uint64_t at = 0; at < SLICE; at += step)
		*(volatile char *)(self->map + slice * SLICE + at);
}

static UNWATCHED void write_pages(FIXTURE_DATA(gaps) *self, uint32_t slice, uint64_t step)
{
	for (uint64_t at = 0; at < SLICE; at += step)
		*(volatile char *)(self->map + slice * SLICE + at) = 1;
}

static void no_status(void *ctx, uint32_t file_id, uint32_t index, struct pf_slice_status *ret_status)
{
}

/* A turn, in which a source whose slots are made as slices fault looks for them. */
static void take_turn(FIXTURE_DATA(gaps) *self)
{
	const struct pf_snapshot *snapshot;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	pf_telemetry_turn(self->telemetry, (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000, no_status,
			  NULL, &snapshot);
}

static long counted_in(FIXTURE_DATA(gaps) *self, uint32_t slice)
{
	const struct pinfold_slot *slot = pf_telemetry_slot(self->telemetry, 0, slice);

	return (long)(slot->minor + slot->major) - self->before[slice];
}

/* What was done until now only prepared: counting begins here. */
static void begin(FIXTURE_DATA(gaps) *self)
{
	memset(self->before, 0, sizeof(self->before));
	take_turn(self);
	for (uint32_t i = 0; i < SLICES; i++)
		self->before[i] = counted_in(self, i);
}

/* Touches each of the slices and keeps how many faults the kernel accounted meanwhile. */
static void touch(FIXTURE_DATA(gaps) *self, void (*one)(FIXTURE_DATA(gaps) *, uint32_t, uint64_t), uint64_t step)
{
	struct rusage before, after;

	getrusage(RUSAGE_THREAD, &before);
	for (size_t i = 0; i < TOUCHED; i++) {
		uint32_t slice = touched_slices[i];

		getrusage(RUSAGE_THREAD, &before);
		one(self, slice, step);
		getrusage(RUSAGE_THREAD, &after);
		self->majors[slice] += after.ru_majflt - before.ru_majflt;
		self->faults[slice] += after.ru_minflt - before.ru_minflt + after.ru_majflt - before.ru_majflt;
	}
}

static bool is_touched(uint32_t slice)
{
	for (size_t i = 0; i < TOUCHED; i++)
		if (touched_slices[i] == slice)
			return true;
	return false;
}

/* Each slice's counters against what was accounted. @least: faults that there must have been in each touched one. */
static void compare(struct __test_metadata *_metadata, FIXTURE_DATA(gaps) *self, enum sight sight, long least)
{
	take_turn(self);
	for (uint32_t i = 0; i < SLICES; i++) {
		long counted = counted_in(self, i);

		ASSERT_TRUE(is_touched(i) ? self->faults[i] >= least : !self->faults[i])
			TH_LOG("slice %u: the kernel accounted %ld faults", i, self->faults[i]);
		if (sight == UNSEEN)
			self->faults[i] = 0;
		EXPECT_GE(self->faults[i], counted) TH_LOG("slice %u", i);
		EXPECT_LE(self->faults[i], counted + (self->faults[i] ? OWN_FAULTS : 0)) TH_LOG("slice %u", i);
	}
	pf_telemetry_info(self->telemetry, &self->info);
	EXPECT_EQ(self->info.lost_events, 0);
}

static uint64_t sum_of_writes(FIXTURE_DATA(gaps) *self)
{
	uint64_t writes = 0;

	for (uint32_t i = 0; i < SLICES; i++)
		writes += pf_telemetry_slot(self->telemetry, 0, i)->write;
	return writes;
}

TEST_F(gaps, reads)
{
	NEED_SOURCE();
	touch(self, read_pages, STEP);
	compare(_metadata, self, variant->read, 1);
	EXPECT_EQ(sum_of_writes(self), 0);
}

TEST_F(gaps, writes)
{
	long all = 0;

	NEED_SOURCE();
	touch(self, write_pages, STEP);
	for (uint32_t i = 0; i < SLICES; i++)
		all += self->faults[i];
	compare(_metadata, self, variant->write, SLICE / STEP);
	if (variant->write_flag == UNSEEN)
		all = 0;
	EXPECT_LE(sum_of_writes(self), all);
	EXPECT_GE(sum_of_writes(self), all ? all - (long)TOUCHED * OWN_FAULTS : 0);
}

/* A read maps the page, the write that follows only makes it writable. */
TEST_F(gaps, write_protected)
{
	NEED_SOURCE();
	for (size_t i = 0; i < TOUCHED; i++)
		read_pages(self, touched_slices[i], STEP);
	begin(self);
	touch(self, write_pages, STEP);
	compare(_metadata, self, variant->write_protect, SLICE / STEP);
}

static void evict(FIXTURE_DATA(gaps) *self)
{
	madvise(self->map, FILE_BYTES, MADV_DONTNEED);
	fsync(self->fd);
	posix_fadvise(self->fd, 0, 0, POSIX_FADV_DONTNEED);
}

TEST_F(gaps, majors)
{
	long accounted = 0, counted = 0, timed = 0;

	NEED_SOURCE();
	ASSERT_EQ(madvise(self->map, FILE_BYTES, MADV_RANDOM), 0);
	evict(self);
	touch(self, read_pages, STEP);
	take_turn(self);
	for (uint32_t i = 0; i < SLICES; i++) {
		const struct pinfold_slot *slot = pf_telemetry_slot(self->telemetry, 0, i);

		accounted += self->majors[i];
		counted += (long)slot->major;
		for (int b = 0; b < PINFOLD_SLOT_HIST; b++)
			timed += (long)slot->latency[b];
	}
	if (!accounted)
		SKIP(return, "this filesystem serves the data without a major fault");
	compare(_metadata, self, variant->major, 1);
	EXPECT_EQ(counted, variant->major == SEEN ? accounted : 0);
	EXPECT_GE(timed, counted * 95 / 100);
}

/* The kernel itself reads the mapping for a system call, and writes to it for another. */
static UNWATCHED void use_in_calls(FIXTURE_DATA(gaps) *self, uint32_t slice, uint64_t step)
{
	int ends[2];

	if (pipe(ends))
		return;
	/* Not the library's calls: a sanitizer looks at their arguments, which takes faults of its own. */
	if (syscall(SYS_write, ends[1], self->map + slice * SLICE, 16) == 16 &&
	    syscall(SYS_read, ends[0], self->map + slice * SLICE + SLICE / 2, 16) != 16)
		abort();
	close(ends[0]);
	close(ends[1]);
}

TEST_F(gaps, faults_of_system_calls)
{
	NEED_SOURCE();
	touch(self, use_in_calls, STEP);
	compare(_metadata, self, variant->by_kernel, 2);
}

TEST_F(gaps, huge_mappings)
{
	NEED_SOURCE();
	evict(self);
	ASSERT_EQ(madvise(self->map, FILE_BYTES, MADV_HUGEPAGE), 0);
	for (size_t i = 0; i < TOUCHED; i++)
		read_pages(self, touched_slices[i], 4096);
	/* fresh page tables: an empty one is in the way of a huge mapping on older kernels */
	ASSERT_EQ(mmap(self->map, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, self->fd, 0), self->map);
	ASSERT_EQ(madvise(self->map, FILE_BYTES, MADV_HUGEPAGE), 0);
	begin(self);
	touch(self, read_pages, 4096);
	for (size_t i = 0; i < TOUCHED; i++)
		if (self->faults[touched_slices[i]] > 1 + OWN_FAULTS)
			SKIP(return, "this kernel makes no huge mapping of this filesystem's pages");
	compare(_metadata, self, variant->huge, 1);
}

static sigjmp_buf after_signal;

static void on_bus_error(int signal)
{
	siglongjmp(after_signal, 1);
}

TEST_F(gaps, attempts_that_end_in_a_signal)
{
	struct sigaction action = {.sa_handler = on_bus_error};
	volatile int signals = 0;
	const struct pinfold_slot *slot;

	NEED_SOURCE();
	ASSERT_EQ(sigaction(SIGBUS, &action, NULL), 0);
	ASSERT_EQ(ftruncate(self->fd, 3 * SLICE), 0);
	for (volatile int i = 0; i < 20; i++) {
		if (sigsetjmp(after_signal, 1))
			signals++;
		else
			*(volatile char *)(self->map + 3 * SLICE + i * 4096);
	}
	signal(SIGBUS, SIG_DFL);
	ASSERT_EQ(signals, 20);
	take_turn(self);
	slot = pf_telemetry_slot(self->telemetry, 0, 3);
	EXPECT_EQ(slot->minor + slot->major, variant->signal == SEEN ? 20 : 0);
}

TEST_F(gaps, populating)
{
	const struct pinfold_slot *slot;

	NEED_SOURCE();
	if (madvise(self->map + 3 * SLICE, SLICE, MADV_POPULATE_READ))
		SKIP(return, "no MADV_POPULATE_READ");
	take_turn(self);
	slot = pf_telemetry_slot(self->telemetry, 0, 3);
	EXPECT_EQ(slot->minor + slot->major > 0, variant->populate == SEEN);
}

TEST_HARNESS_MAIN
