// SPDX-License-Identifier: GPL-2.0-only
/*
 * test_source_threads.c - the probes' table of threads: more threads than it has entries, and kernel stacks that
 * become another process's.
 */
#include <fcntl.h>
#include <linux/pinfold.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../bpf/probe.h"
#include "base/error.h"
#include "kselftest_harness.h"
#include "need_bpf.h"
#include "telemetry/telemetry.h"

#define FILE_BYTES (1ull << 30)
#define BLOCK (64ull << 10)
#define THREADS (PF_PROBE_THREADS + PF_PROBE_THREADS / 2)
#define DATA_BYTES (THREADS * BLOCK)
#define STACK_BYTES (64u << 10)
#define ROUNDS 200

FIXTURE(threads)
{
	int fd;
	char *map;
	struct pf_telemetry *telemetry;
	struct pf_telemetry_info info;
};

FIXTURE_SETUP(threads)
{
	char path[] = "/var/tmp/pf-threads-XXXXXX";
	struct pf_telemetry_config config = {.source = PINFOLD_SOURCE_BPF};
	struct pf_watch watch = {.file_size = FILE_BYTES, .arena_size = FILE_BYTES};
	char *data = calloc(1, BLOCK);

	memset(self, 0, sizeof(*self));
	self->fd = mkstemp(path);
	ASSERT_GE(self->fd, 0);
	unlink(path);
	ASSERT_EQ(ftruncate(self->fd, FILE_BYTES), 0);
	for (uint64_t at = 0; at < DATA_BYTES; at += BLOCK)
		ASSERT_EQ(pwrite(self->fd, data, BLOCK, (off_t)at), (ssize_t)BLOCK);
	free(data);
	self->map = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, self->fd, 0);
	ASSERT_NE(self->map, MAP_FAILED);
	watch.base = self->map;
	ASSERT_EQ(pf_telemetry_new(&watch, &config, &self->telemetry), 0) TH_LOG("%s", pf_error_text());
	ASSERT_EQ(pf_telemetry_add_file(self->telemetry, 0, self->fd), 0) TH_LOG("%s", pf_error_text());
	pf_telemetry_info(self->telemetry, &self->info);
}

FIXTURE_TEARDOWN(threads)
{
	pf_telemetry_free(self->telemetry);
	munmap(self->map, FILE_BYTES);
	close(self->fd);
}

struct toucher {
	pthread_t thread;
	pthread_barrier_t *start; /* NULL: at once */
	const char *at;
	long faults;
};

static long faults_of_thread(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

/* Not instrumented: a sanitizer's shadow of what is accessed would fault too. */
static __attribute__((noinline, no_sanitize("address", "undefined", "thread"))) void *touch(void *arg)
{
	struct toucher *toucher = arg;
	long before;

	if (toucher->start)
		pthread_barrier_wait(toucher->start);
	before = faults_of_thread();
	*(volatile const char *)toucher->at;
	toucher->faults = faults_of_thread() - before;
	return NULL;
}

static uint64_t counted(const struct pf_telemetry *telemetry)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < FILE_BYTES >> PINFOLD_SLICE_SHIFT_MIN; i++) {
		const struct pinfold_slot *slot = pf_telemetry_slot(telemetry, 0, i);

		sum += slot->minor + slot->major;
	}
	return sum;
}

TEST_F(threads, more_than_there_are_entries_are_counted_exactly)
{
	struct toucher *touchers = calloc(THREADS, sizeof(*touchers));
	pthread_barrier_t start;
	pthread_attr_t attr;
	uint64_t faults = 0;

	NEED_BPF();
	ASSERT_NE(touchers, NULL);
	ASSERT_EQ(pthread_attr_init(&attr), 0);
	ASSERT_EQ(pthread_attr_setstacksize(&attr, STACK_BYTES), 0);
	ASSERT_EQ(pthread_barrier_init(&start, NULL, THREADS), 0);
	for (uint32_t i = 0; i < THREADS; i++) {
		touchers[i].start = &start;
		touchers[i].at = self->map + i * BLOCK;
		ASSERT_EQ(pthread_create(&touchers[i].thread, &attr, touch, &touchers[i]), 0);
	}
	for (uint32_t i = 0; i < THREADS; i++) {
		ASSERT_EQ(pthread_join(touchers[i].thread, NULL), 0);
		faults += (uint64_t)touchers[i].faults;
	}
	ASSERT_GT(faults, 0);
	EXPECT_EQ(counted(self->telemetry), faults);
	pf_telemetry_info(self->telemetry, &self->info);
	EXPECT_EQ(self->info.lost_events, 0);
	pthread_barrier_destroy(&start);
	pthread_attr_destroy(&attr);
	free(touchers);
}

/* The child inherits the mapping, and with luck the kernel stack of the thread that ended on the same CPU. */
TEST_F(threads, a_stack_that_becomes_another_processs_is_forgotten)
{
	uint64_t faults = 0;
	cpu_set_t one;

	NEED_BPF();
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		struct toucher toucher = {.at = self->map + i * BLOCK};
		pid_t child;
		int status;

		ASSERT_EQ(pthread_create(&toucher.thread, NULL, touch, &toucher), 0);
		ASSERT_EQ(pthread_join(toucher.thread, NULL), 0);
		faults += (uint64_t)toucher.faults;
		child = fork();
		ASSERT_GE(child, 0);
		if (!child) {
			for (uint64_t at = 0; at < 16 * BLOCK; at += BLOCK)
				*(volatile const char *)(self->map + DATA_BYTES / 2 + at);
			_exit(0);
		}
		ASSERT_EQ(waitpid(child, &status, 0), child);
		ASSERT_EQ(status, 0);
	}
	ASSERT_GT(faults, 0);
	EXPECT_EQ(counted(self->telemetry), faults);
}

TEST_HARNESS_MAIN
