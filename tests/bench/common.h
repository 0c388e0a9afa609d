/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * common.h - what every benchmark shares: clock, statistics over paired runs,
 * a latency histogram, memory cgroups, cold files, child processes, JSON.
 *
 * A benchmark compares two ways of doing the same thing, run one after the
 * other in pairs, so that a change of the machine's mood hits both; it reports
 * the median of the ratios and their spread, never a ratio of best cases.
 * Functions return 0 or -errno; bench_die() is for what leaves nothing to measure.
 */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

/* ---- clock, random numbers, failure ---- */

static inline uint64_t bench_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

/** xorshift64*: @state must not be 0. Same seed, same numbers. */
static inline uint64_t bench_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1dull;
}

/** A random number below @n (n < 2^32). */
static inline uint64_t bench_random_below(uint64_t *state, uint64_t n)
{
	return ((bench_random(state) >> 32) * n) >> 32;
}

/** Prints to stderr and exits 1. */
void bench_die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/** "64", "512K", "1G", "5.6G" in bytes; dies on anything else. */
uint64_t bench_parse_size(const char *text);

/* ---- statistics ---- */

/** The @q quantile (0..1), interpolated; NAN for @count 0. @values stay as they are. */
double bench_quantile(const double *values, size_t count, double q);
static inline double bench_median(const double *values, size_t count)
{
	return bench_quantile(values, count, 0.5);
}

/** Figures of repeated runs. @low and @high: quartiles; @min, @max: extremes. */
struct bench_summary {
	size_t count;
	double median, low, high, min, max;
};
void bench_summarize(const double *values, size_t count, struct bench_summary *ret_summary);
/** Summary of a[i] / b[i]: run i of both belongs together. Pairs with b[i] == 0 are left out. */
void bench_summarize_ratio(const double *a, const double *b, size_t count, struct bench_summary *ret_summary);

/* ---- latency histogram: log-linear, 64 steps per octave (1.6 % resolution), 0 .. 2^40 ns ---- */

#define BENCH_HIST_SUB_BITS 6
#define BENCH_HIST_OCTAVES 35
#define BENCH_HIST_BUCKETS ((BENCH_HIST_OCTAVES + 1) << BENCH_HIST_SUB_BITS)

/** One writer; plain data, may live in shared memory. */
struct bench_hist {
	uint64_t total, sum_ns, max_ns;
	uint32_t bucket[BENCH_HIST_BUCKETS];
};

static inline uint32_t bench_hist_index(uint64_t ns)
{
	uint32_t index, shift;

	if (ns < 2u << BENCH_HIST_SUB_BITS)
		return (uint32_t)ns;
	shift = 63 - (uint32_t)__builtin_clzll(ns) - BENCH_HIST_SUB_BITS;
	index = (shift << BENCH_HIST_SUB_BITS) + (uint32_t)(ns >> shift);
	return index < BENCH_HIST_BUCKETS ? index : BENCH_HIST_BUCKETS - 1;
}

static inline void bench_hist_record(struct bench_hist *hist, uint64_t ns)
{
	hist->bucket[bench_hist_index(ns)]++;
	hist->total++;
	hist->sum_ns += ns;
	if (ns > hist->max_ns)
		hist->max_ns = ns;
}

void bench_hist_merge(struct bench_hist *into, const struct bench_hist *from);
/** Upper edge of the bucket that holds the @q quantile, ns (at most the maximum seen); 0 if empty. */
uint64_t bench_hist_quantile(const struct bench_hist *hist, double q);

/* ---- memory cgroup (v1 or v2, whichever this host has) ---- */

struct bench_cgroup {
	int version;     /* 1 or 2; 0: none, and the functions below do nothing */
	char path[512];
};
/** A new cgroup with a memory limit of @limit_bytes; needs the right to make one. -ENOTSUP: no memory controller. */
int bench_cgroup_create(const char *name, uint64_t limit_bytes, struct bench_cgroup *ret_cgroup);
/** Moves the calling process into it. */
int bench_cgroup_enter(const struct bench_cgroup *cgroup);
/** Bytes charged to it now; 0 if not known. */
uint64_t bench_cgroup_used(const struct bench_cgroup *cgroup);
/** Removes it; all its processes must have ended. Waits up to 5 s for the kernel to let go. */
int bench_cgroup_remove(const struct bench_cgroup *cgroup);

/* ---- files ---- */

/** Makes @dir if it is missing. -ENOTSUP on tmpfs, ramfs and overlays: no device below to measure. */
int bench_dir_prepare(const char *dir);
/** Fills @data with incompressible words that depend on @seed and the place in the file. @size: multiple of 8. */
void bench_fill(void *data, size_t size, uint64_t seed, uint64_t offset);
/** Makes @path a file of @size bytes of bench_fill(seed), unless it is one already; durable. */
int bench_file_prepare(const char *path, uint64_t size, uint64_t seed);
/** Writes @path back and drops its page cache. -EBUSY if pages stay (mapped or locked by somebody). */
int bench_file_drop_cache(const char *path);
/** bench_file_drop_cache() for each regular file in @dir (not below). */
int bench_dir_drop_cache(const char *dir);

/* ---- children: each measured run is a process of its own, in its own cgroup ---- */

/**
 * Forks, enters @cgroup (may be NULL), runs @fn, and waits. @result, of @size bytes, is
 * what @fn left in its argument of the same name (shared memory). Returns what @fn returned
 * (0 or -errno), -ECHILD if the child died of a signal.
 */
int bench_run_child(const struct bench_cgroup *cgroup, int (*fn)(void *ctx, void *result), void *ctx, void *result,
		    size_t size);

/* ---- JSON to a stream: objects and arrays nest; commas are its business ---- */

struct bench_json {
	FILE *file;
	int depth;
	uint64_t not_first; /* bit per depth */
};
void bench_json_init(struct bench_json *json, FILE *file);
/** @key NULL inside arrays and at the top. */
void bench_json_open(struct bench_json *json, const char *key, char bracket);
void bench_json_close(struct bench_json *json, char bracket);
void bench_json_number(struct bench_json *json, const char *key, double value);
void bench_json_string(struct bench_json *json, const char *key, const char *value);
void bench_json_bool(struct bench_json *json, const char *key, bool value);
void bench_json_summary(struct bench_json *json, const char *key, const struct bench_summary *summary);

#endif
