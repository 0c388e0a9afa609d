/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* workload.h - reads of a store at random and in sequence, and the time each takes. */
#ifndef PF_TOOLS_WORKLOAD_H
#define PF_TOOLS_WORKLOAD_H

#include "cli.h"
#include "histogram.h"

#include <stdatomic.h>

/** A 64-bit generator (xorshift64*); state must not be 0. */
uint64_t workload_random(uint64_t *state);

/** A part of an extent. */
struct workload_run {
	struct pinfold_extent extent;
	uint64_t offset, size;
};

/** One 64-byte read at a place in the mapping, guarded. 0 or -errno. */
int workload_touch(struct pinfold *pf, const struct pinfold_extent *extent, uint64_t offset, uint64_t *sum);
/** Reads every cache line of [offset, offset+size). 0 or -errno. */
int workload_sweep(struct pinfold *pf, const struct pinfold_extent *extent, uint64_t offset, uint64_t size,
		   uint64_t *sum);

/** All published extents, or those of objects only. Owned by the caller. 0 or -errno. */
int workload_extents(struct pinfold *pf, struct pinfold_extent **ret_extents, size_t *ret_count);

/** Up to @limit keys of @table, evenly taken from all. keys[i] has sizes[i] bytes. */
struct workload_keys {
	char *text;
	size_t *offsets; /* count + 1 */
	size_t count;
};
int workload_keys_read(struct pinfold_table *table, size_t limit, uint64_t seed, struct workload_keys *ret_keys);
void workload_keys_done(struct workload_keys *keys);

#endif
