/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pinfold/pin.h - keeping slices resident: by hand, by hint, and why.
 *
 * A *slice* is a part of an extent in units of the store's slice size (2 MiB
 * for data files up to 32 GiB). Explicit pins outrank learned ones within
 * their class budget.
 */
#ifndef PINFOLD_PIN_H
#define PINFOLD_PIN_H

#include <pinfold/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Names a pinned slice run (RFC PinKey). */
typedef uint64_t pinfold_pin_key;

/** Options of a pin (RFC PinOpts). Zero is: background, on the kernel's node, normal pages, long-lived. */
struct pinfold_pin_opts {
	enum pinfold_priority priority;
	enum pinfold_lifetime lifetime;
	int numa_prefer_plus_1;     /* node + 1; 0 = no preference */
	bool use_hugepages;
	bool onfault;               /* lock pages when touched, do not read them in now */
	uint32_t prefetch_adjacent; /* further extents to bring in on each side */
	uint64_t ttl_ms;            /* 0: the class's maximum for learned pins, none for explicit long-lived ones */
	uint64_t reserved[4];
};

/**
 * Pins bytes [offset, offset+size) of @extent, rounded out to slices (size 0:
 * all of it). Any thread. -ENOSPC: the class budget is used up; -EPERM or
 * -ENOMEM: the kernel's limit (RLIMIT_MEMLOCK, cgroup), pinfold_errmsg() names it. Pinning a pinned
 * range again changes its options and returns the same key.
 */
PINFOLD_API int pinfold_pin_slice(struct pinfold *pf, const struct pinfold_extent *extent, uint64_t offset,
				  uint64_t size,
				  const struct pinfold_pin_opts *opts, pinfold_pin_key *ret_key);
PINFOLD_API int pinfold_unpin_slice(struct pinfold *pf, pinfold_pin_key key);
PINFOLD_API int pinfold_pin_promote(struct pinfold *pf, pinfold_pin_key key, enum pinfold_priority priority);
PINFOLD_API bool pinfold_is_pinned(struct pinfold *pf, pinfold_pin_key key);
/** Releases pins past their TTL now. Returns how many. */
PINFOLD_API int pinfold_pin_gc_expired(struct pinfold *pf);

struct pinfold_priority_stats {
	uint64_t pinned_count, pinned_bytes, budget_bytes;
	uint64_t eviction_count;
	double average_pin_time_ms;
};
struct pinfold_pin_stats {
	uint64_t total_pinned_bytes, total_pinned_count;
	uint64_t budget_used_bytes, budget_total_bytes;
	uint64_t effective_memory_bytes;
	char effective_memory_limit[32]; /* which limit that is: "ram", "cgroup", "rlimit_memlock" */
	uint64_t huge_page_bytes, numa_local_bytes;
	uint64_t refused_count; /* mlock2 calls the kernel refused */
	struct pinfold_priority_stats by_priority[PINFOLD_PRIORITY_COUNT];
};
/** What is pinned, by priority, and within which budget. Any thread. */
PINFOLD_API int pinfold_pin_stat(struct pinfold *pf, struct pinfold_pin_stats *ret_stats);

/** Tells that @extent was or will be accessed so: a hint that heat counts beside what the kernel saw. */
PINFOLD_API void pinfold_record_access(struct pinfold *pf, const struct pinfold_extent *extent,
				       enum pinfold_access access);

struct pinfold_hot_extent {
	struct pinfold_extent extent;
	float heat;       /* 0..1 */
	float confidence; /* 0..1 */
};
/** The hottest extents first. Returns how many were stored, at most @limit. */
PINFOLD_API int pinfold_get_hot_extents(struct pinfold *pf, struct pinfold_hot_extent *ret_extents, size_t limit);

/** Runs one turn of telemetry, policy and residency now (tests, callers with their own clock). */
PINFOLD_API int pinfold_controller_turn(struct pinfold *pf);

#ifdef __cplusplus
}
#endif
#endif
