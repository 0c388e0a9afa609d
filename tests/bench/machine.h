/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * machine.h - when the machine stood still, and who had its processors.
 *
 * What stops a whole processor (a hypervisor that runs others on it) looks from inside like a long call of whoever was
 * on it. Here each processor is sampled every two milliseconds from its timer interrupt (perf_event_open(), the
 * software cpu-clock): whoever runs, in the kernel or not, is interrupted and named. A sample that comes late says that
 * no interrupt was taken: nothing that a process or the kernel does on a processor takes as long as that. A thread of
 * the highest priority would not do instead: where the kernel is not preemptible it waits for the end of others' calls.
 *
 * What the sampling costs is told by bench_machine_cost().
 */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Between two samples of a processor, and what one must be late by to count. */
#define BENCH_MACHINE_PERIOD_NS 2000000ull
#define BENCH_MACHINE_LATE_NS 1000000ull

/** Whom a sample found. */
enum bench_machine_who {
	BENCH_MACHINE_KERNEL, /* nobody, or a thread of the kernel */
	BENCH_MACHINE_OWN,    /* this process */
	BENCH_MACHINE_OTHER,
	BENCH_MACHINE_LOST, /* samples are missing before this one: it says nothing */
};

/** Of one processor, by bench_now_ns(). */
struct bench_machine_sample {
	uint64_t at;
	int tid;
	enum bench_machine_who who;
};

struct bench_machine;

/**
 * Begins to sample all processors that are online. -errno of perf_event_open() where it is refused (-EACCES: see
 * kernel.perf_event_paranoid). The caller frees by bench_machine_free(), which takes NULL.
 */
int bench_machine_start(struct bench_machine **ret_machine);
/** Takes over what was sampled: by one thread, at least every 30 s, else samples are lost (and counted as such). */
void bench_machine_drain(struct bench_machine *machine);
/** The last drain; no more is sampled. The functions below may be called from then on. */
void bench_machine_stop(struct bench_machine *machine);
void bench_machine_free(struct bench_machine *machine);

unsigned bench_machine_processors(const struct bench_machine *machine);
/** What sched_getcpu() calls processor @index. */
int bench_machine_cpu(const struct bench_machine *machine, unsigned index);
/** Samples of processor @index, in order. Stays the machine's. */
const struct bench_machine_sample *bench_machine_samples(const struct bench_machine *machine, unsigned index,
							 size_t *ret_count);

/**
 * Nanoseconds of [@from, @to) in which processor @first or @last, as sched_getcpu() names them, stood still, or all at
 * once; both < 0: only all at once. A late sample counts from when it was due, so up to a period is left out of each.
 */
uint64_t bench_machine_still(const struct bench_machine *machine, int first, int last, uint64_t from, uint64_t to);
/** Nanoseconds of [@from, @to) in which at least one processor was had by another process, to a period. */
uint64_t bench_machine_others(const struct bench_machine *machine, uint64_t from, uint64_t to);

/** For tests: withholds the samples of processor @index, as a hypervisor would, or lets them come again. 0 or -errno.
 */
int bench_machine_withhold(struct bench_machine *machine, unsigned index, bool withhold);

/** Share of a processor that sampling takes: what a loop of the calling thread loses by it. Takes 0.4 s. */
double bench_machine_cost(struct bench_machine *machine);

#endif
