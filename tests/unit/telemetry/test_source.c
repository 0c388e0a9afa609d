// SPDX-License-Identifier: GPL-2.0-only
/*
 * test_source.c - counters against what the kernel itself accounts to this
 * thread (getrusage), classes of faults, and falling back without privilege.
 */
#include <fcntl.h>
#include <linux/pinfold.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "kselftest_harness.h"
#include "need_bpf.h"
#include "telemetry/telemetry.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

#define FILE_BYTES (1ull << 30)
#define DATA_BYTES (32ull << 20)
#define BLOCK (64ull << 10)
#define SEED 99
/* Faults on the test's own stack or text inside of a measured loop. */
#define GAP 2

_Static_assert(sizeof(struct pinfold_slot) == PINFOLD_SLOT_SIZE, "slot size");
_Static_assert(offsetof(struct pinfold_slot, node) == 64, "line 1");
_Static_assert(offsetof(struct pinfold_slot, inserted) == 128, "line 2");
_Static_assert(offsetof(struct pinfold_slot, latency) == 192, "line 3");

FIXTURE(source)
{
	int fd;
	char *map;
	struct pf_telemetry *telemetry;
	struct pf_telemetry_info info;
	uint64_t random_state;
};

FIXTURE_SETUP(source)
{
	char path[] = "/var/tmp/pf-source-XXXXXX";
	struct pf_telemetry_config config = {.source = PINFOLD_SOURCE_BPF};
	struct pf_watch watch = {.file_size = FILE_BYTES, .arena_size = FILE_BYTES};
	char *data = malloc(1 << 20);

	memset(self, 0, sizeof(*self));
	self->random_state = SEED;
	self->fd = mkstemp(path);
	ASSERT_GE(self->fd, 0);
	unlink(path);
	ASSERT_EQ(ftruncate(self->fd, FILE_BYTES), 0);
	memset(data, 42, 1 << 20);
	for (uint64_t at = 0; at < DATA_BYTES; at += 1 << 20)
		ASSERT_EQ(pwrite(self->fd, data, 1 << 20, (off_t)at), 1 << 20);
	free(data);
	self->map = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	ASSERT_NE(self->map, MAP_FAILED);
	watch.base = self->map;
	ASSERT_EQ(pf_telemetry_new(&watch, &config, &self->telemetry), 0) TH_LOG("%s", pf_error_text());
	ASSERT_EQ(pf_telemetry_add_file(self->telemetry, 0, self->fd), 0) TH_LOG("%s", pf_error_text());
	pf_telemetry_info(self->telemetry, &self->info);
}

FIXTURE_TEARDOWN(source)
{
	pf_telemetry_free(self->telemetry);
	munmap(self->map, FILE_BYTES);
	close(self->fd);
}

static struct pinfold_slot total(const struct pf_telemetry *telemetry)
{
	struct pinfold_slot sum = {0};

	for (uint32_t i = 0; i < FILE_BYTES >> PINFOLD_SLICE_SHIFT_MIN; i++) {
		const struct pinfold_slot *slot = pf_telemetry_slot(telemetry, 0, i);

		sum.minor += slot->minor;
		sum.major += slot->major;
		sum.write += slot->write;
		sum.random += slot->random;
		sum.stall_ns += slot->stall_ns;
		sum.stall_random_ns += slot->stall_random_ns;
		for (int b = 0; b < PINFOLD_SLOT_HIST; b++)
			sum.latency[b] += slot->latency[b];
	}
	return sum;
}

static long faults_of_thread(long *ret_major)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	if (ret_major)
		*ret_major = usage.ru_majflt;
	return usage.ru_minflt;
}

/* Sanitizers keep a shadow of what is accessed, which would fault too and be accounted to this thread. */
#define UNWATCHED __attribute__((noinline, no_sanitize("address", "undefined")))

static UNWATCHED void touch(const char *at)
{
	*(volatile const char *)at;
}

static UNWATCHED void store(char *at)
{
	*(volatile char *)at = 1;
}

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return *state >> 33;
}

TEST_F(source, reads_are_counted_exactly)
{
	struct pinfold_slot sum;
	long before, after;

	NEED_BPF();
	before = faults_of_thread(NULL);
	for (uint64_t at = 0; at < DATA_BYTES; at += BLOCK)
		touch(self->map + at);
	after = faults_of_thread(NULL);
	sum = total(self->telemetry);
	ASSERT_GT(sum.minor, 0);
	ASSERT_LE(labs((long)sum.minor - (after - before)), GAP);
	ASSERT_EQ(sum.major, 0);
	ASSERT_EQ(sum.write, 0);
}

TEST_F(source, writes_are_counted_exactly)
{
	struct pinfold_slot sum;
	long before, after;

	NEED_BPF();
	before = faults_of_thread(NULL);
	for (uint64_t at = 0; at < 8 << 20; at += 4096)
		store(self->map + at);
	after = faults_of_thread(NULL);
	sum = total(self->telemetry);
	ASSERT_GT(sum.write, 0);
	ASSERT_EQ(sum.write, sum.minor);
	ASSERT_LE(labs((long)sum.minor - (after - before)), GAP);
}

/* A read fault maps the page, the write that follows only makes it writable. */
TEST_F(source, write_protect_faults_are_counted)
{
	struct pinfold_slot read, write;

	NEED_BPF();
	for (uint64_t at = 0; at < 2 << 20; at += 4096)
		touch(self->map + at);
	read = total(self->telemetry);
	for (uint64_t at = 0; at < 2 << 20; at += 4096)
		store(self->map + at);
	write = total(self->telemetry);
	ASSERT_GT(write.write, read.write);
	ASSERT_EQ(write.minor - read.minor, write.write - read.write);
}

TEST_F(source, majors_are_counted_exactly_and_timed)
{
	struct pinfold_slot sum;
	long before, after, minor_before, minor_after, in_latency = 0;

	NEED_BPF();
	ASSERT_EQ(madvise(self->map, FILE_BYTES, MADV_RANDOM), 0);
	ASSERT_EQ(fsync(self->fd), 0);
	ASSERT_EQ(posix_fadvise(self->fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	minor_before = faults_of_thread(&before);
	for (int i = 0; i < 200; i++)
		touch(self->map + (next_random(&self->random_state) % (DATA_BYTES >> 12) << 12));
	minor_after = faults_of_thread(&after);
	sum = total(self->telemetry);
	if (after == before)
		SKIP(return, "this filesystem serves the data without a major fault");
	ASSERT_LE(labs((long)sum.major - (after - before)), GAP);
	ASSERT_LE(labs((long)sum.minor - (minor_after - minor_before)), GAP);
	for (int b = 0; b < PINFOLD_SLOT_HIST; b++)
		in_latency += sum.latency[b];
	ASSERT_GE(in_latency, (long)sum.major * 95 / 100);
	ASSERT_LE(in_latency, (long)sum.major);
	ASSERT_GT(sum.stall_ns, sum.major * 1000);
	ASSERT_LT(sum.stall_ns, 60ull * 1000000000);
	ASSERT_LE(sum.stall_random_ns, sum.stall_ns);
	ASSERT_GT(sum.stall_random_ns, 0);
}

TEST_F(source, populating_is_not_an_access)
{
	struct pinfold_slot sum;

	NEED_BPF();
	if (madvise(self->map, 4 << 20, MADV_POPULATE_READ))
		SKIP(return, "no MADV_POPULATE_READ");
	sum = total(self->telemetry);
	ASSERT_EQ(sum.minor + sum.major, 0);
}

TEST_F(source, system_calls_that_fault_are_counted)
{
	struct pinfold_slot sum;
	int ends[2];

	NEED_BPF();
	ASSERT_EQ(pipe(ends), 0);
	ASSERT_EQ(write(ends[1], self->map + (4 << 20), 16), 16);
	close(ends[0]);
	close(ends[1]);
	sum = total(self->telemetry);
	ASSERT_EQ(sum.minor, 1);
	ASSERT_EQ(pf_telemetry_slot(self->telemetry, 0, 2)->minor, 1);
}

TEST_F(source, other_processes_are_not_counted)
{
	struct pinfold_slot sum;
	pid_t child;
	int status;

	NEED_BPF();
	child = fork();
	ASSERT_GE(child, 0);
	if (!child) {
		for (uint64_t at = 0; at < 4 << 20; at += BLOCK)
			touch(self->map + at);
		_exit(0);
	}
	ASSERT_EQ(waitpid(child, &status, 0), child);
	ASSERT_EQ(status, 0);
	sum = total(self->telemetry);
	ASSERT_EQ(sum.minor + sum.major, 0);
}

TEST_F(source, scan_is_sequential)
{
	struct pinfold_slot sum;

	NEED_BPF();
	for (int pass = 0; pass < 3; pass++) {
		for (uint64_t at = 0; at < DATA_BYTES; at += 4096)
			touch(self->map + at);
		ASSERT_EQ(madvise(self->map, DATA_BYTES, MADV_DONTNEED), 0);
	}
	sum = total(self->telemetry);
	ASSERT_GT(sum.minor, 30);
	/* each pass begins with a step back */
	ASSERT_LE((double)sum.random, 3 + 0.03 * (double)sum.minor);
}

TEST_F(source, cold_scan_is_sequential)
{
	struct pinfold_slot sum;

	NEED_BPF();
	ASSERT_EQ(fsync(self->fd), 0);
	ASSERT_EQ(posix_fadvise(self->fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	for (uint64_t at = 0; at < DATA_BYTES; at += 4096)
		touch(self->map + at);
	sum = total(self->telemetry);
	ASSERT_GT(sum.minor + sum.major, 10);
	ASSERT_LE((double)sum.random, 1 + 0.03 * (double)(sum.minor + sum.major));
}

TEST_F(source, random_reads_are_random)
{
	struct pinfold_slot sum;

	NEED_BPF();
	for (int i = 0; i < 2000; i++) {
		uint64_t at = next_random(&self->random_state) % (DATA_BYTES / BLOCK) * BLOCK;

		touch(self->map + at);
		/* all of it: one fault may map a whole large folio */
		ASSERT_EQ(madvise(self->map, DATA_BYTES, MADV_DONTNEED), 0);
	}
	sum = total(self->telemetry);
	ASSERT_GE(sum.minor, 1900);
	ASSERT_GE((double)sum.random, 0.45 * (double)sum.minor);
	ASSERT_EQ(self->info.lost_events, 0);
}

static void fall_back(struct __test_metadata *_metadata, FIXTURE_DATA(source) *self)
{
	struct pf_watch watch = {.base = self->map, .file_size = FILE_BYTES, .arena_size = FILE_BYTES};
	struct pf_telemetry_config config = {.source = PINFOLD_SOURCE_AUTO};
	struct pf_telemetry *telemetry;
	struct pf_telemetry_info info;

	ASSERT_EQ(setgid(65534), 0);
	ASSERT_EQ(setuid(65534), 0);
	ASSERT_EQ(pf_telemetry_new(&watch, &config, &telemetry), 0);
	ASSERT_EQ(pf_telemetry_add_file(telemetry, 0, self->fd), 0);
	pf_telemetry_info(telemetry, &info);
	ASSERT_STREQ(info.source, "procfs");
	ASSERT_NE(strstr(info.missing, "bpf:range: "), NULL);
	ASSERT_NE(strstr(info.missing, "bpf:fexit: "), NULL);
	ASSERT_NE(pf_telemetry_slot(telemetry, 0, 0), NULL);
	pf_telemetry_free(telemetry);
}

TEST_F(source, without_privilege_procfs_runs_and_says_what_is_missing)
{
	pid_t child;
	int status;

	if (geteuid())
		SKIP(return, "needs root to give privileges up");
	child = fork();
	ASSERT_GE(child, 0);
	if (!child) {
		fall_back(_metadata, self);
		_exit(!_metadata->passed);
	}
	ASSERT_EQ(waitpid(child, &status, 0), child);
	ASSERT_EQ(status, 0);
}

TEST_F(source, probing_attaches_or_says_why_not)
{
	static const char *const names[] = {"kmod", "bpf:range", "bpf:fexit", "bpf:tp", "procfs", "none"};
	char found[160];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int r;

		pf_error_clear();
		r = pf_telemetry_probe(names[i], "/var/tmp", found, sizeof(found));
		ASSERT_NE(strstr(r ? pf_error_text() : found, names[i]), NULL);
	}
	ASSERT_EQ(pf_telemetry_probe("nobody", NULL, found, sizeof(found)), -EINVAL);
}

TEST_F(source, bad_watches_are_refused)
{
	struct pf_telemetry_config config = {.source = PINFOLD_SOURCE_NONE};
	struct pf_watch odd = {.base = self->map, .file_size = FILE_BYTES + 4096, .arena_size = FILE_BYTES * 2};
	struct pf_watch small = {.base = self->map, .file_size = FILE_BYTES, .arena_size = FILE_BYTES / 2};
	struct pf_telemetry *telemetry;

	ASSERT_EQ(pf_telemetry_new(&odd, &config, &telemetry), -EINVAL);
	ASSERT_EQ(pf_telemetry_new(&small, &config, &telemetry), -EINVAL);
	ASSERT_EQ(pf_telemetry_add_file(self->telemetry, 0, self->fd), -EEXIST);
	ASSERT_EQ(pf_telemetry_add_file(self->telemetry, 1, self->fd), -ERANGE);
}

TEST_HARNESS_MAIN
