/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * space.h - blocks of the filesystem for extents.
 */
#ifndef PF_STORE_SPACE_H
#define PF_STORE_SPACE_H

#include <stdbool.h>
#include <stdint.h>

struct pf_store;
struct pf_file;

/** Granules taken for an extent of @order; up to @wide they are taken for those that come next. */
struct pf_space {
	struct pf_file *file;
	uint32_t granule, order, wide;
	bool ready; /* they have blocks and are zero */
};

/** Takes free granules of @file for an extent of @order. alloc_lock held. False: it has none. */
bool pf_space_take(struct pf_store *store, struct pf_file *file, uint32_t order, struct pf_space *ret_space);
/** Waits until less is held for later extents than now; false: nothing is. alloc_lock held, and let go meanwhile. */
bool pf_space_wait(struct pf_store *store);
/** Gives @space blocks, zeroed, and frees what is beyond its order. On failure all of it is free again. No lock. */
int pf_space_zero(struct pf_store *store, struct pf_space *space);
/** Gives the blocks that were taken ahead back to the filesystem. Nobody allocates any more. */
void pf_space_give_back(struct pf_store *store);
/** Flushes @file and remembers which zeroings that covers. A failed flush is final: it poisons. */
int pf_file_flush(struct pf_store *store, struct pf_file *file);
/** Begins to write back @size bytes of @file at @offset. A failure is final: it poisons. */
int pf_file_write_back(struct pf_store *store, struct pf_file *file, uint64_t offset, uint64_t size);
/** Flushes these bytes. A failed flush is final: it poisons. */
int pf_file_flush_range(struct pf_store *store, struct pf_file *file, uint64_t offset, uint64_t size);
/** Waits for flushes of data files that others have begun; one that failed has poisoned the store then. */
void pf_flushes_wait(struct pf_store *store);
/**
 * Makes the zeroing of the @count granules from @granule on durable, if it is not; poisons if the flush fails. Nobody
 * allocates or frees them meanwhile.
 */
int pf_file_sync_zeroed(struct pf_store *store, struct pf_file *file, uint32_t granule, uint32_t count);

#endif
