/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pinfold/config.h - how a store is created and opened.
 */
#ifndef PINFOLD_CONFIG_H
#define PINFOLD_CONFIG_H

#include <pinfold/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** When a commit is acknowledged, and what a crash may take (Documentation/durability.md). */
enum pinfold_sync {
	PINFOLD_SYNC_SYNC = 0, /* acknowledged when durable */
	PINFOLD_SYNC_ASYNC,    /* acknowledged when ordered; durable within flush_interval_ms */
	PINFOLD_SYNC_NONE,     /* durable at checkpoint and close only */
};

/** Where page-fault telemetry comes from. AUTO takes the best that works. */
enum pinfold_source {
	PINFOLD_SOURCE_AUTO = 0,
	PINFOLD_SOURCE_NONE,
	PINFOLD_SOURCE_PROCFS,
	PINFOLD_SOURCE_BPF,
	PINFOLD_SOURCE_KMOD,
};

/** Advice for the whole data mapping (RFC MemoryAdvice). */
enum pinfold_advice {
	PINFOLD_ADVICE_NORMAL = 0,
	PINFOLD_ADVICE_RANDOM,
	PINFOLD_ADVICE_SEQUENTIAL,
};

/** How completions of io_uring are waited for. What kernel, filesystem or device refuse is done without, by name. */
enum pinfold_polling {
	PINFOLD_POLLING_INTERRUPT = 0, /* asleep until the device interrupts */
	PINFOLD_POLLING_POLLING,       /* the device is asked until it answers; needs O_DIRECT and a queue to poll */
	PINFOLD_POLLING_HYBRID, /* first asleep, then asked; where that cannot be: looked for 50 us, then asleep */
};

/** The io_uring of commits; scans take its sizes and do not poll. Zero in any field: its default (in brackets). */
struct pinfold_ring_config {
	uint32_t sq_entries;          /* submission queue; 1 .. 32768 [256] */
	uint32_t cq_percent;          /* completion queue, of sq_entries; 100 .. 1600 [200] */
	enum pinfold_polling polling; /* [interrupt] */
	bool sq_polling;              /* commits: a kernel thread takes submissions, without a system call [false] */
	uint32_t sq_idle_ms;          /* how long that thread looks for more before it sleeps; 1 .. 10000 [50] */
};

/** Share of the pin budget and longest pin of one priority class. */
struct pinfold_class_config {
	uint32_t budget_share_percent;
	uint32_t max_pin_time_ms;
};

/** Adaptive pinning; zero in any field means its default (in brackets). */
struct pinfold_pin_config {
	uint32_t max_pinned_percent;          /* of effective memory [40] */
	uint64_t max_pinned_bytes;            /* further cap [none] */
	/* indexed by enum pinfold_priority [20 %, 300 s; 30 %, 30 s; 50 %, 5 s] */
	struct pinfold_class_config class_[PINFOLD_PRIORITY_COUNT];
	uint32_t pin_heat_percent;            /* pin above this heat [70] */
	uint32_t tail_heat_percent;           /* tail-latency-critical above [90] */
	uint32_t unpin_heat_percent;          /* a pin is cold below [50] */
	uint32_t pressure_percent;            /* evict cold pins above this budget use [85] */
	uint32_t memory_pressure_percent;     /* evict all cold pins when so much memory cannot be reclaimed [85] */
	uint32_t huge_percent;                /* of pinned bytes, at most, on huge pages [60] */
	uint32_t fault_spike_per_s;           /* a slice faulting more is pinned at once [1000] */
	uint32_t learning_window_min;         /* memory of slow heat [30] */
	uint32_t rebalance_interval_min;      /* NUMA placement review [10] */
	uint32_t numa_miss_percent;           /* rebalance above this share of remote faults [30] */
	uint32_t tick_ms;                     /* controller period [500] */
	uint32_t sample_rate_per_s;           /* revocation samples [1000] */
	bool adaptive_off;                    /* only explicit pins [false] */
};

/** A message of the library: only what the caller's callback does with it is seen. */
enum pinfold_log_level { PINFOLD_LOG_ERROR, PINFOLD_LOG_WARNING, PINFOLD_LOG_INFO, PINFOLD_LOG_DEBUG };
typedef void (*pinfold_log_fn)(void *ctx, enum pinfold_log_level level, const char *message);

/** Flags of pinfold_open(). */
enum pinfold_open_flags {
	PINFOLD_OPEN_CREATE = 1u << 0,    /* create the store if the directory holds none */
	PINFOLD_OPEN_EXCLUSIVE = 1u << 1, /* with CREATE: fail with -EEXIST if it holds one */
	PINFOLD_OPEN_READONLY = 1u << 2,  /* beside a live writer; nothing is written */
	PINFOLD_OPEN_STORE_ONLY = 1u << 3, /* no telemetry, no controller (tools, tests) */
};

/**
 * Everything that pinfold_open() can be told. Zero means the default in
 * brackets. Read once; the structure may be freed after the call.
 *
 * Fixed when the store is created: file_size, extent_size.
 */
struct pinfold_config {
	uint32_t size;                /* sizeof(struct pinfold_config), or 0; -EINVAL if the library has another */
	uint32_t flags;               /* PINFOLD_OPEN_* */
	uint64_t file_size;           /* of each data file; 1 GiB .. 16 TiB, a multiple of 1 GiB [32 GiB] */
	uint64_t max_mapped_size;     /* address space reserved for data files [1 TiB] */
	uint64_t extent_size;         /* default extent [64 MiB] */
	bool preallocate_files;       /* reserve whole files at once, not extent by extent [false] */
	bool prefault;                /* populate the mapping at open [false] */
	bool no_io_uring;             /* use pread/pwrite [false] */
	bool no_huge_pages;           /* never ask for huge pages [false] */
	bool no_migration;            /* never move pages between NUMA nodes, unless a pin asks for a node [false] */
	bool no_adaptive_readahead;   /* leave readahead to the kernel [false] */
	bool no_prefetch;             /* pins bring no neighbours in [false] */
	bool no_sampling;             /* do not revoke translations to see whether pins are in use [false] */
	bool checksums;               /* per-block checksums for bulk-loaded data [false] */
	/*
	 * Seals the data mapping (mseal): it cannot be unmapped, moved or replaced until the process ends. For programs
	 * that keep one store for life: pinfold_close() cannot unmap it either, so its address space, and the
	 * blocks of its files once deleted, are free only when the process has ended [false]
	 */
	bool seal;
	bool protection_keys; /* the window that commits go through faults for all who are not applying [false] */
	enum pinfold_advice advice;
	enum pinfold_sync sync;
	enum pinfold_source source;
	uint32_t flush_interval_ms;   /* sync = async: longest time to durability [10] */
	uint64_t journal_size;        /* total journal; 16 MiB .. 64 GiB [as it is; 256 MiB when created] */
	uint32_t io_queue_depth;      /* reads in flight: of all batches together, and of each scan [128] */
	struct pinfold_ring_config ring;
	struct pinfold_pin_config pin;
	pinfold_log_fn log;           /* called from any thread; must not call back into pinfold */
	void *log_ctx;
	uint64_t reserved[8];
};

#ifdef __cplusplus
}
#endif
#endif
