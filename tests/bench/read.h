/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * read.h - parts of bench_read: the store that is read, the ways of reading it, fio beside it.
 */
#ifndef BENCH_READ_H
#define BENCH_READ_H

#include "common.h"

#include <pinfold.h>

#define READ_EXTENT ((uint64_t)64 << 20)
#define READ_PAGE 4096u
#define READ_SEED 0x70696e666f6c64ull
#define READ_LANES_MAX 16

struct read_params {
	const char *dir;
	uint64_t data_bytes;   /* of figures 2 and 3, in whole extents */
	uint64_t hot_bytes;    /* of figure 1 and the hot scan */
	uint64_t memory_bytes; /* limit of figures 2 and 3 */
	double seconds;        /* of each measured run */
	unsigned pairs;
	unsigned threads, batch;
	bool store_only;       /* no telemetry, no controller */
	bool no_io_uring;
};

/** The store's data file seen as one piece, for fio and for bare mmap. */
struct read_layout {
	char path[512];
	uint64_t offset, size;
};

/** A store with its object open, and a bare mapping of the same file. */
struct read_store {
	struct pinfold *pf;
	struct pinfold_object object;
	struct read_layout layout;
};

/** Makes the store with its data unless it is there already. Dies if it cannot. */
void read_store_prepare(const struct read_params *params, struct read_layout *ret_layout);
/** 0 or -errno, words on stderr. */
int read_store_open(const struct read_params *params, struct read_store *ret_store);
void read_store_close(struct read_store *store);

/** What a child is to run; @result of bench_run_child() is a double: the rate. */
struct read_run {
	const struct read_params *params;
	struct read_layout layout;
	unsigned threads;
};
/*
 * Rates per second; each opens what it needs. Bytes for scans, reads for the others. Random reads start with
 * the memory limit reached.
 */
int read_batched(void *ctx, void *result);
int read_blocking(void *ctx, void *result);
int read_blocking_bare(void *ctx, void *result);
int read_scan_cold(void *ctx, void *result);

/** Pairs of figure 1 and of the hot scan, run in one process: both sides see the same pages. */
struct read_pairs {
	unsigned count;
	double ours[64], bare[64];
};
#define READ_PAIRS_MAX 64
/** Nanoseconds per load. */
int read_hot_loads(void *ctx, void *result);
/** Bytes per second. */
int read_hot_scan(void *ctx, void *result);

/* fio as a child on the same file */
struct read_fio {
	const char *rw;  /* "randread", "read" */
	unsigned block_bytes, depth, jobs; /* @depth: of each job */
	double iops, bytes_per_s; /* results */
};
/** Runs fio for @seconds. -ENOENT: not installed; -EIO: it failed or its output was not understood. */
int read_fio_run(const struct read_layout *layout, double seconds, struct read_fio *fio);
/** Tries each of @tries and returns the index of the fastest; -errno if none ran. */
int read_fio_best(const struct read_layout *layout, double seconds, struct read_fio *tries, size_t count);

#endif
