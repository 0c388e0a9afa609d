/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pinfold/live.h - watching a store that another process has open.
 *
 * The engine publishes its state in a sealed memory file named in the store's
 * lock file. Watching costs the engine nothing and takes no lock; the kernel
 * lets only the same user (or root) open it.
 */
#ifndef PINFOLD_LIVE_H
#define PINFOLD_LIVE_H

#include <pinfold/pin.h>
#include <pinfold/store.h>

#ifdef __cplusplus
extern "C" {
#endif

struct pinfold_live;

/**
 * Begins to watch the store in @dir. What is watched ends with the process that has it open; the last state stays
 * readable. One thread at a time per handle. -ENOENT: nobody has the store open for writing, or only without telemetry;
 * -EACCES: another user does; -EPROTO: another version of the library. Words: pinfold_errmsg(NULL).
 */
PINFOLD_API int pinfold_live_open(const char *dir, struct pinfold_live **ret_live);
/** NULL is allowed. */
PINFOLD_API void pinfold_live_close(struct pinfold_live *live);

/** What a slice is in now. */
enum pinfold_slice_state {
	PINFOLD_SLICE_FREE = 0, /* no extent there */
	PINFOLD_SLICE_ABSENT,
	PINFOLD_SLICE_CACHED,   /* partly or wholly in memory */
	PINFOLD_SLICE_PINNED,
	PINFOLD_SLICE_FOLDED,   /* pinned on huge pages */
};

/** Why a slice is in its state: the policy's last word on it. */
enum pinfold_reason {
	PINFOLD_REASON_NONE = 0,
	PINFOLD_REASON_HOT,            /* heat above the pin threshold */
	PINFOLD_REASON_TAIL_HOT,       /* heat above the tail threshold */
	PINFOLD_REASON_SPIKE,          /* fault rate above the spike threshold */
	PINFOLD_REASON_EXPLICIT,       /* asked for through the API */
	PINFOLD_REASON_RENEWED,        /* pin time ran out, heat re-earned it */
	PINFOLD_REASON_COLD,           /* heat below the threshold */
	PINFOLD_REASON_UNSURE,         /* too few observations */
	PINFOLD_REASON_SEQUENTIAL,     /* readahead serves it; pinning would save nothing */
	PINFOLD_REASON_NO_STALLS,      /* the store does not stall: nothing to save */
	PINFOLD_REASON_BUDGET,         /* hotter slices used the budget */
	PINFOLD_REASON_CLASS_BUDGET,   /* its class's share is used */
	PINFOLD_REASON_EXPIRED,        /* pin time ran out and heat did not re-earn it */
	PINFOLD_REASON_EVICTED_COLDER, /* made room for a hotter slice */
	PINFOLD_REASON_PRESSURE,       /* memory pressure or budget above its threshold */
	PINFOLD_REASON_REFUSED,        /* the kernel refused mlock2 */
	PINFOLD_REASON_DROPPED,        /* its extent was dropped */
	PINFOLD_REASON_ADAPTIVE_OFF,
	PINFOLD_REASON_RANDOM_MISSES,  /* read at random: what readahead brings in around a miss is wasted */
	PINFOLD_REASON_COUNT
};
/** A sentence for @reason. Static. */
PINFOLD_API const char *pinfold_reason_text(enum pinfold_reason reason);

struct pinfold_live_slice {
	uint32_t file_id, index;   /* slice @index of the file */
	uint8_t state;             /* enum pinfold_slice_state */
	uint8_t priority;          /* of its pin */
	uint8_t pattern;           /* enum pinfold_access */
	uint8_t reason;            /* enum pinfold_reason */
	float heat, confidence;    /* 0..1 */
	float fault_rate;          /* per second */
	float stall_rate;          /* seconds stalled per second */
	uint64_t minor, major, write, stall_ns; /* since the engine opened */
	uint64_t refaulted, evicted;
	uint32_t resident_pages;   /* of 4 KiB; UINT32_MAX: not known */
	uint32_t huge_pages;       /* of 2 MiB that folding made */
	int32_t refused_errno;     /* what mlock2 or madvise answered */
	uint32_t pin_age_ms, pin_left_ms;
	uint32_t node_faults[8];
	uint32_t latency[32];      /* log2 ns histogram */
};

struct pinfold_live_info {
	pid_t pid;
	uint64_t open_ms;          /* how long it has been open */
	uint64_t slice_size;
	uint64_t slice_count;
	uint64_t turn_count, turn_ns_total; /* controller: CPU time, without acting on decisions */
	uint64_t sample_count, sample_hit_count, sample_ns_total;
	uint64_t lost_events;
	char source[32];           /* "kmod", "bpf:range", "bpf:fexit", "bpf:tp", "procfs", "none" */
	char missing[256];         /* what was tried and why it does not run */
	struct pinfold_pin_stats pin;
	struct pinfold_store_stats store;
	struct pinfold_pin_config pin_config; /* as it runs; a zero field: its default */
};
/** What the store and its controller do right now. */
PINFOLD_API int pinfold_live_info(struct pinfold_live *live, struct pinfold_live_info *ret_info);
/** Copies up to @capacity slices that hold an extent; *ret_count is the full number. */
PINFOLD_API int pinfold_live_slices(struct pinfold_live *live, struct pinfold_live_slice *ret_slices, size_t capacity,
				    size_t *ret_count);

/** One decision of the policy and what became of it. */
struct pinfold_live_decision {
	uint64_t sequence;
	uint64_t time_ms;       /* since open */
	uint32_t file_id, index, slice_count;
	/* 1 pin, 2 unpin, 3 renew, 4 prefetch, 5 migrate, 6 fold, 7 unfold, 8 readahead off, 9 readahead on */
	uint8_t action;
	uint8_t priority;
	uint8_t reason;
	int32_t result;         /* 0 or -errno */
	float heat;
};
/** Decisions after sequence number @since, oldest first (the last 4096 are kept). */
PINFOLD_API int pinfold_live_decisions(struct pinfold_live *live, uint64_t since,
				       struct pinfold_live_decision *ret_decisions,
				       size_t capacity, size_t *ret_count);

/** Heat over time: row r is @row_ms after the row before; one byte per column of adjacent slices (the highest). */
struct pinfold_live_history {
	uint32_t row_ms, row_count;
	uint32_t column_count;
	uint64_t first_row_ms; /* since open */
	/* row_count x column_count, 16 x log2(1 + n), n = faults of the column's busiest slice in its busiest
	 * controller turn; owned, pinfold_live_history_done() */
	uint8_t *faults;
	uint8_t *heat;         /* heat x 255 */
	uint8_t *state;        /* enum pinfold_slice_state */
	uint32_t *file_id, *index; /* of each column */
};
/** -ENOMEM, -EAGAIN (the process is stopped in the middle of writing; so for the other calls above). */
PINFOLD_API int pinfold_live_history(struct pinfold_live *live, struct pinfold_live_history *ret_history);
PINFOLD_API void pinfold_live_history_done(struct pinfold_live_history *history);

/**
 * Asks the engine to act (Unix socket in the store directory; same user or root), and waits for its answer, at most a
 * minute. @ret_message (may be NULL, at most @message_size bytes): its words, also of a failure. -ENOENT: there is none
 * to ask; -EPERM; -EPROTO: no answer, or another version; else what the call itself answers there. Any thread.
 */
PINFOLD_API int pinfold_live_pin(const char *dir, const struct pinfold_extent *extent, uint64_t offset, uint64_t size,
				 const struct pinfold_pin_opts *opts, char *ret_message, size_t message_size);
PINFOLD_API int pinfold_live_unpin(const char *dir, const struct pinfold_extent *extent, uint64_t offset, uint64_t size,
				   char *ret_message, size_t message_size);
PINFOLD_API int pinfold_live_checkpoint(const char *dir, char *ret_message, size_t message_size);

#ifdef __cplusplus
}
#endif
#endif
