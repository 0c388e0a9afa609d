/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pollution.h - one run of the scan pollution benchmark: what is read, how, and what came out.
 *
 * bench_pollution.c forks a child per run; the child's mode (pollution_modes.c,
 * pollution_pinfold.c) hands an array of 64 MiB blocks to pollution_drive(), whose
 * loops are the same machine code in every mode.
 */
#ifndef BENCH_POLLUTION_H
#define BENCH_POLLUTION_H

#include "common.h"

#define POLLUTION_BLOCK (64ull << 20) /* an extent, or as much of a plain file */
#define POLLUTION_RUN (2ull << 20)    /* scattered hot sets consist of runs of this size */
#define POLLUTION_SECONDS_MAX 120
#define POLLUTION_SEED 20240001ull

/* MODE_RANDOM: bare, hot reads in a map of their own that is advised with MADV_RANDOM. */
enum pollution_mode { MODE_BARE, MODE_RANDOM, MODE_HAND, MODE_PINFOLD, MODE_COUNT };
enum pollution_workload {
	WORKLOAD_POLLUTION, /* paced random reads of a hot set beside a full-speed scan */
	WORKLOAD_UNIFORM,   /* random reads of all data, full speed, one thread */
	WORKLOAD_SCAN,      /* the scan alone */
	WORKLOAD_FITS,      /* as uniform, with data of half the memory limit */
	WORKLOAD_COUNT
};

struct pollution_params {
	enum pollution_mode mode;
	enum pollution_workload workload;
	uint64_t memory_bytes, data_bytes;
	uint32_t hot_percent;    /* of memory_bytes */
	uint32_t budget_percent; /* pinfold: of memory_bytes; 0: its default */
	bool scattered;
	bool random;             /* MODE_RANDOM is compared too, whatever the workload but a scan alone */
	bool verbose;
	uint32_t seconds, move_at_s; /* of this mode's plan; move_at_s 0: the hot set stays */
	uint32_t rate;           /* hot reads per second; 0: full speed */
	int source;              /* enum pinfold_source */
	char dir[256];
};

struct pollution_second {
	uint64_t scan_bytes;
	uint64_t pinned_bytes;   /* pinfold: what its books say */
	uint64_t minor, major;   /* faults of the reader's */
	struct bench_hist hist;  /* service time of the reads that ended in it */
};

/** Of one run; in shared memory. */
struct pollution_result {
	uint32_t seconds;
	struct pollution_second second[POLLUTION_SECONDS_MAX + 1];
};

/** Calls of a mode while it is driven; all may be NULL. */
struct pollution_hooks {
	void *ctx;
	const char *const *hot_blocks; /* where hot reads find the blocks; NULL: where the scan does */
	/* The hot set is now @runs (numbers of POLLUTION_RUN in the data): before the start, and at the move. */
	int (*hot)(void *ctx, const uint32_t *runs, uint32_t run_count);
	/* Once a second. */
	void (*tick)(void *ctx, uint32_t second, struct pollution_result *result);
};

/** Reads as @params say for params->seconds; @blocks: addresses of the data's blocks, in order. */
int pollution_drive(const struct pollution_params *params, const char *const *blocks,
		    const struct pollution_hooks *hooks, struct pollution_result *result);
/** Numbers of the runs of hot set @which (0: at the start, 1: after the move, disjoint). Owned by the caller. */
int pollution_hot_runs(const struct pollution_params *params, int which, uint32_t **ret_runs, uint32_t *ret_count);

/* The modes: prepare() makes the data, outside of the cgroup; run() is the body of the measured child. */
int pollution_plain_prepare(const struct pollution_params *params);
int pollution_plain_run(void *params, void *result);
/** -ENOTSUP if the library was not there to link. */
int pollution_pinfold_prepare(const struct pollution_params *params);
int pollution_pinfold_run(void *params, void *result);
/** Writes back and drops from memory what the mode reads. */
int pollution_plain_cool(const struct pollution_params *params);
int pollution_pinfold_cool(const struct pollution_params *params);

#endif
