/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * buddy.h - which power-of-two blocks of granules are free. Memory only; the caller locks.
 */
#ifndef PF_BUDDY_H
#define PF_BUDDY_H

#include "store/format.h"

#include <stdbool.h>

struct pf_buddy {
	uint32_t granule_count;                /* a multiple of 1 << PF_ORDER_MAX */
	uint32_t free_count[PF_ORDER_MAX + 1]; /* blocks of each order */
	uint32_t hint[PF_ORDER_MAX + 1];       /* no free block in a lower word */
	uint64_t *bits[PF_ORDER_MAX + 1]; /* bit b: block b of this order is free and not part of a larger free one */
};

/** Nothing is free at first. -ENOMEM. */
int pf_buddy_init(struct pf_buddy *buddy, uint32_t granule_count);
void pf_buddy_done(struct pf_buddy *buddy);
/** Frees the block of @order at @granule, merging it with its free buddies. */
void pf_buddy_free(struct pf_buddy *buddy, uint32_t granule, uint32_t order);
/** Frees [@first, @end), as aligned blocks. */
void pf_buddy_free_run(struct pf_buddy *buddy, uint32_t first, uint32_t end);
/** Takes the upper buddy of the taken block of @order at @granule, which make one of @order + 1. False: it cannot. */
bool pf_buddy_widen(struct pf_buddy *buddy, uint32_t granule, uint32_t order);
/** Takes the lowest free block of the smallest sufficient order. False: none. */
bool pf_buddy_alloc(struct pf_buddy *buddy, uint32_t order, uint32_t *ret_granule);

#endif
