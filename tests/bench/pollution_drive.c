/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pollution_drive.c - the threads of a run: one reader, one scanner.
 *
 * The reader loads one 8-byte word from a random cache line of a random page of the hot set,
 * at a given rate, spinning in between, and notes the service time of each load. A read that
 * comes late is not made up for: the rate that was reached is in the counts. The scanner
 * touches one word of every 4 KiB page of all data, over and over, as fast as it gets them: the most
 * page cache that a scan can turn over.
 *
 * The reader is bound to the processor that completes the least block I/O, the scanner to another: a completion of the
 * scan's megabytes takes the processor for up to 100 us, and which of the two it hits would be the scheduler's choice.
 */
#include "pollution.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define RUNS_PER_BLOCK (POLLUTION_BLOCK / POLLUTION_RUN)
#define LINES_PER_RUN (POLLUTION_RUN / 64)

struct drive {
	const struct pollution_params *params;
	const char *const *blocks, *const *hot_blocks;
	struct pollution_result *result;
	uint32_t *runs[2], run_count[2];
	uint64_t start_ns, end_ns;
	_Atomic int which;
	_Atomic bool stop;
	uint64_t sink[2]; /* keeps the loads */
};

static inline const char *run_addr(const char *const *blocks, uint32_t run)
{
	return blocks[run / RUNS_PER_BLOCK] + run % RUNS_PER_BLOCK * POLLUTION_RUN;
}

static inline struct pollution_second *second_at(const struct drive *d, uint64_t now_ns)
{
	uint64_t s = (now_ns - d->start_ns) / 1000000000ull;

	return &d->result->second[s < d->params->seconds ? s : d->params->seconds];
}

/* Faults since @last, into the second that just ended. */
static void note_faults(struct pollution_second *second, struct rusage *last)
{
	struct rusage now;

	getrusage(RUSAGE_THREAD, &now);
	second->minor = (uint64_t)(now.ru_minflt - last->ru_minflt);
	second->major = (uint64_t)(now.ru_majflt - last->ru_majflt);
	*last = now;
}

/* The processor with the fewest, or else the one with the most, completions of block I/O so far; -1: not known. */
static int block_cpu(bool fewest)
{
	FILE *file = fopen("/proc/softirqs", "re");
	char line[4096], *at = NULL, *end;
	unsigned long long best = 0;
	int chosen = -1;

	while (file && fgets(line, sizeof(line), file)) {
		at = strstr(line, "BLOCK:");
		if (at)
			break;
	}
	if (file)
		fclose(file);
	if (at)
		at += strlen("BLOCK:");
	for (int cpu = 0; at; cpu++) {
		unsigned long long count = strtoull(at, &end, 10);

		if (end == at)
			break;
		at = end;
		if (chosen < 0 || (fewest ? count < best : count > best)) {
			chosen = cpu;
			best = count;
		}
	}
	return chosen;
}

static void bind_to(int cpu)
{
	cpu_set_t set;

	if (cpu < 0 || sysconf(_SC_NPROCESSORS_ONLN) < 2)
		return;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void *reader_main(void *arg)
{
	struct drive *d = arg;
	const uint64_t interval_ns = d->params->rate ? 1000000000ull / d->params->rate : 0;
	uint64_t seed = POLLUTION_SEED, sum = 0, next_ns = d->start_ns, before, after;
	struct pollution_second *second = &d->result->second[0];
	struct rusage faults;

	bind_to(block_cpu(true));
	getrusage(RUSAGE_THREAD, &faults);
	for (before = bench_now_ns(); before < d->end_ns;) {
		const int which = atomic_load_explicit(&d->which, memory_order_relaxed);
		const uint32_t run = d->runs[which][bench_random_below(&seed, d->run_count[which])];
		const char *at = run_addr(d->hot_blocks, run) + bench_random_below(&seed, LINES_PER_RUN) * 64;

		before = bench_now_ns();
		sum += *(const volatile uint64_t *)at;
		after = bench_now_ns();
		if (second_at(d, after) != second) {
			note_faults(second, &faults);
			second = second_at(d, after);
		}
		bench_hist_record(&second->hist, after - before);
		next_ns += interval_ns;
		if (next_ns < after)
			next_ns = after;
		for (before = after; before < next_ns; before = bench_now_ns())
			;
	}
	note_faults(second, &faults);
	d->sink[0] = sum;
	return NULL;
}

static void *scanner_main(void *arg)
{
	struct drive *d = arg;
	const uint32_t run_count = (uint32_t)(d->params->data_bytes / POLLUTION_RUN);
	uint64_t sum = 0;

	bind_to(block_cpu(false));
	for (uint32_t run = 0; !atomic_load_explicit(&d->stop, memory_order_relaxed);
	     run = run + 1 < run_count ? run + 1 : 0) {
		const char *at = run_addr(d->blocks, run);

		for (uint64_t i = 0; i < POLLUTION_RUN; i += 4096)
			sum += *(const volatile uint64_t *)(at + i);
		second_at(d, bench_now_ns())->scan_bytes += POLLUTION_RUN;
	}
	d->sink[1] = sum;
	return NULL;
}

/* Scattered: a random permutation's first runs, and the next ones for the set after the move. */
static int scattered_runs(uint32_t total, uint32_t count, int which, uint32_t *runs)
{
	uint32_t *all = calloc(total, sizeof(*all));
	uint64_t seed = POLLUTION_SEED + 1;

	if (!all)
		return -ENOMEM;
	for (uint32_t i = 0; i < total; i++)
		all[i] = i;
	for (uint32_t i = 0; i + 1 < total; i++) {
		uint32_t j = i + (uint32_t)bench_random_below(&seed, total - i), swap = all[i];

		all[i] = all[j];
		all[j] = swap;
	}
	for (uint32_t i = 0; i < count; i++)
		runs[i] = all[(uint32_t)which * count + i];
	free(all);
	return 0;
}

int pollution_hot_runs(const struct pollution_params *params, int which, uint32_t **ret_runs, uint32_t *ret_count)
{
	const uint32_t total = (uint32_t)(params->data_bytes / POLLUTION_RUN);
	const bool all = params->workload != WORKLOAD_POLLUTION;
	const uint32_t count = all ? total :
		(uint32_t)(params->memory_bytes / 100 * params->hot_percent / POLLUTION_RUN);
	uint32_t *runs;
	int r = 0;

	if (!count || (!all && count * 2 > total))
		return -EINVAL;
	runs = malloc(count * sizeof(*runs));
	if (!runs)
		return -ENOMEM;
	if (params->scattered && !all)
		r = scattered_runs(total, count, which, runs);
	else
		for (uint32_t i = 0; i < count; i++)
			runs[i] = all ? i : (total / 2 - count) / 2 + (uint32_t)which * (total / 2) + i;
	if (r) {
		free(runs);
		return r;
	}
	*ret_runs = runs;
	*ret_count = count;
	return 0;
}

/* Sleeps second by second; moves the hot set when its time has come. */
static int supervise(struct drive *d, const struct pollution_hooks *hooks)
{
	int r = 0;

	for (uint32_t s = 0; s < d->params->seconds; s++) {
		const uint64_t until = d->start_ns + (s + 1) * 1000000000ull;
		struct timespec ts = { .tv_sec = (time_t)(until / 1000000000ull),
				       .tv_nsec = (long)(until % 1000000000ull) };

		if (d->params->move_at_s && s == d->params->move_at_s) {
			atomic_store(&d->which, 1);
			if (hooks->hot)
				r = hooks->hot(hooks->ctx, d->runs[1], d->run_count[1]);
			if (r)
				return r;
		}
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
			;
		if (hooks->tick)
			hooks->tick(hooks->ctx, s, d->result);
	}
	return 0;
}

int pollution_drive(const struct pollution_params *params, const char *const *blocks,
		    const struct pollution_hooks *hooks, struct pollution_result *result)
{
	struct drive d = { .params = params, .blocks = blocks, .result = result,
			   .hot_blocks = hooks->hot_blocks ? hooks->hot_blocks : blocks };
	const bool reads = params->workload != WORKLOAD_SCAN;
	const bool scans = params->workload == WORKLOAD_POLLUTION || params->workload == WORKLOAD_SCAN;
	pthread_t reader, scanner;
	int r = 0;

	for (int w = 0; !r && w < 2; w++)
		r = pollution_hot_runs(params, w, &d.runs[w], &d.run_count[w]);
	if (!r && hooks->hot)
		r = hooks->hot(hooks->ctx, d.runs[0], d.run_count[0]);
	if (r)
		goto out;
	result->seconds = params->seconds;
	d.start_ns = bench_now_ns();
	d.end_ns = d.start_ns + params->seconds * 1000000000ull;
	if ((reads && pthread_create(&reader, NULL, reader_main, &d)) ||
	    (scans && pthread_create(&scanner, NULL, scanner_main, &d)))
		bench_die("cannot start a thread");
	r = supervise(&d, hooks);
	atomic_store(&d.stop, true);
	if (reads)
		pthread_join(reader, NULL);
	if (scans)
		pthread_join(scanner, NULL);
out:
	free(d.runs[0]);
	free(d.runs[1]);
	return r;
}
