/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pinfold/pin.h - keeping slices resident: by hand, by hint, and why.
 *
 * A *slice* is a part of an extent in units of the store's slice size (2 MiB
 * for data files up to 32 GiB). Explicit pins outrank learned ones within
 * their class budget. All of this needs a handle that writes: one that was opened
 * read-only or store-only has no controller, and answers -EOPNOTSUPP.
 */
#ifndef PINFOLD_PIN_H
#define PINFOLD_PIN_H

#include <pinfold/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Names a pinned slice run (RFC PinKey). */
typedef uint64_t pinfold_pin_key;

/** Options of a pin (RFC PinOpts). Zero is: background, on the kernel's node, normal pages, until it is unpinned. */
struct pinfold_pin_opts {
	enum pinfold_priority priority;
	enum pinfold_lifetime lifetime; /* what the caller means it for; ttl_ms alone ends a pin */
	int numa_prefer_plus_1;     /* node + 1; 0 = no preference */
	bool use_hugepages;
	bool onfault;               /* lock pages when touched, do not read them in now */
	/* further extents to bring in on each side: along its connections if it has any, else by address; 0: one for an
	 * extent with PINFOLD_EXTENT_PREFETCH */
	uint32_t prefetch_adjacent;
	uint64_t ttl_ms;            /* the pin ends so long after this call; 0: it does not end by itself */
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
/**
 * Lets go of the slices of @key, however they came to be pinned; what was learned is not learned again for the longest
 * pin time of its class. -ENOENT: none of them is pinned. Any thread.
 */
PINFOLD_API int pinfold_unpin_slice(struct pinfold *pf, pinfold_pin_key key);
/** Moves what is pinned of @key to class @priority. -ENOENT; -ENOSPC: that class's budget is used up. Any thread. */
PINFOLD_API int pinfold_pin_promote(struct pinfold *pf, pinfold_pin_key key, enum pinfold_priority priority);
/** Is every slice of @key pinned, by hand or learned? Any thread. */
PINFOLD_API bool pinfold_is_pinned(struct pinfold *pf, pinfold_pin_key key);
/** Releases pins past their TTL now, which else the controller's next turn does. How many slices, or -errno. Any
 * thread. */
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

/**
 * Tells that @extent was or will be accessed so: a hint that heat counts beside what the kernel saw. Nothing happens
 * for an extent that is gone or a handle without a controller. Any thread.
 */
PINFOLD_API void pinfold_record_access(struct pinfold *pf, const struct pinfold_extent *extent,
				       enum pinfold_access access);

struct pinfold_hot_extent {
	struct pinfold_extent extent;
	float heat;       /* 0..1 */
	float confidence; /* 0..1 */
};
/**
 * The hottest extents first, as of the last turn; an extent is as hot as its hottest slice. How many were stored, at
 * most @limit, or -errno. Any thread.
 */
PINFOLD_API int pinfold_get_hot_extents(struct pinfold *pf, struct pinfold_hot_extent *ret_extents, size_t limit);

/** Runs one turn of telemetry, policy and residency now (tests, callers with their own clock). Any thread: one at a
 * time. */
PINFOLD_API int pinfold_controller_turn(struct pinfold *pf);

#ifdef __cplusplus
}
#endif
#endif
