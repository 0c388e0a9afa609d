/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pinfold/types.h - the nouns every chapter of the API shares.
 *
 * Conventions of the whole API
 *   - Functions return 0 or a negative errno. Outputs are named ret_x, come
 *     last, and are untouched on failure. pinfold_errmsg() has the words.
 *     The exception is a caller's buffer that data is copied to: a read that
 *     fails part of the way, or finds the data damaged, may have filled it.
 *   - Structures passed in are zeroed by the caller first; fields named
 *     reserved must stay zero (-EINVAL otherwise).
 *   - Sizes are bytes unless the name ends in another unit.
 */
#ifndef PINFOLD_TYPES_H
#define PINFOLD_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PINFOLD_API __attribute__((visibility("default")))

/** An open store with its telemetry, policy and residency. Opaque. */
struct pinfold;

/** Smallest and largest extent. Extents are powers of two, aligned to their size. */
#define PINFOLD_EXTENT_MIN (2ull << 20)
#define PINFOLD_EXTENT_MAX (1ull << 30)
#define PINFOLD_EXTENT_DEFAULT (64ull << 20)

/** Flags of an extent: hints that persist with it (RFC-2024-001 7.3.2). */
enum pinfold_extent_flags {
	PINFOLD_EXTENT_HOT = 1u << 0,        /* expected to be accessed often */
	PINFOLD_EXTENT_COMPRESSED = 1u << 1, /* content is compressed by its owner */
	PINFOLD_EXTENT_HUGEPAGE = 1u << 2,   /* prefers huge pages */
	PINFOLD_EXTENT_NUMA_LOCAL = 1u << 3, /* prefers the node that uses it, as all that is pinned does */
	PINFOLD_EXTENT_PREFETCH = 1u << 4,   /* a pin brings its neighbours in, too */
};
#define PINFOLD_EXTENT_FLAGS_ALL 0x1fu

/**
 * A reference to an extent: a plain value, safe to copy and to store.
 *
 * @file_id: data file that contains it
 * @flags:   PINFOLD_EXTENT_*
 * @offset:  byte offset in the file, a multiple of len
 * @len:     length in bytes, a power of two
 * @gen:     generation of the allocation. A reference that outlives its extent
 *           is recognised by it and answered with -ESTALE.
 */
struct pinfold_extent {
	uint32_t file_id;
	uint32_t flags;
	uint64_t offset;
	uint32_t len;
	uint32_t gen;
};

/** How a caller touches data (RFC AccessType), and what telemetry infers. */
enum pinfold_access {
	PINFOLD_ACCESS_UNKNOWN = 0,
	PINFOLD_ACCESS_RANDOM,
	PINFOLD_ACCESS_SEQUENTIAL,
	PINFOLD_ACCESS_SCAN, /* sequential through more than an extent */
	PINFOLD_ACCESS_WRITE,
};

/** Importance of a pin (RFC PinPriority), lowest first. */
enum pinfold_priority {
	PINFOLD_PRIORITY_BACKGROUND = 0,
	PINFOLD_PRIORITY_QUERY_CRITICAL,
	PINFOLD_PRIORITY_TAIL_LATENCY_CRITICAL,
};
#define PINFOLD_PRIORITY_COUNT 3

/** How long data or a pin is meant to live (RFC LifetimeClass). */
enum pinfold_lifetime {
	PINFOLD_LIFETIME_EPHEMERAL = 0, /* scratch of one operator */
	PINFOLD_LIFETIME_SESSION,       /* ends with its TTL */
	PINFOLD_LIFETIME_TASK,          /* ends with a phase or job */
	PINFOLD_LIFETIME_LONG_LIVED,    /* ends by explicit drop */
};

#ifdef __cplusplus
}
#endif
#endif
