/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/buddy.h"

#include "base/error.h"

#include <stdlib.h>

int pf_buddy_init(struct pf_buddy *buddy, uint32_t granule_count)
{
	size_t words = 0;
	uint64_t *bits;

	*buddy = (struct pf_buddy){ .granule_count = granule_count };
	for (uint32_t order = 0; order <= PF_ORDER_MAX; order++)
		words += ((granule_count >> order) + 63) / 64;
	bits = calloc(words, sizeof(*bits));
	if (!bits)
		return pf_error(-ENOMEM, "no memory for the free map of %u granules", granule_count);
	for (uint32_t order = 0; order <= PF_ORDER_MAX; order++) {
		buddy->bits[order] = bits;
		bits += ((granule_count >> order) + 63) / 64;
	}
	return 0;
}

void pf_buddy_done(struct pf_buddy *buddy)
{
	free(buddy->bits[0]);
	*buddy = (struct pf_buddy){ 0 };
}

static bool take_if_free(struct pf_buddy *buddy, uint32_t order, uint32_t block)
{
	uint64_t bit = 1ull << (block % 64);

	if (!(buddy->bits[order][block / 64] & bit))
		return false;
	buddy->bits[order][block / 64] &= ~bit;
	buddy->free_count[order]--;
	return true;
}

static void put(struct pf_buddy *buddy, uint32_t order, uint32_t block)
{
	uint64_t bit = 1ull << (block % 64);

	pf_assert(!(buddy->bits[order][block / 64] & bit));
	buddy->bits[order][block / 64] |= bit;
	buddy->free_count[order]++;
	if (block / 64 < buddy->hint[order])
		buddy->hint[order] = block / 64;
}

void pf_buddy_free(struct pf_buddy *buddy, uint32_t granule, uint32_t order)
{
	uint32_t block = granule >> order;

	while (order < PF_ORDER_MAX && take_if_free(buddy, order, block ^ 1)) {
		block >>= 1;
		order++;
	}
	put(buddy, order, block);
}

void pf_buddy_free_run(struct pf_buddy *buddy, uint32_t first, uint32_t end)
{
	while (first < end) {
		uint32_t order = 0;

		while (order < PF_ORDER_MAX && !(first & ((2u << order) - 1)) && end - first >= (2u << order))
			order++;
		pf_buddy_free(buddy, first, order);
		first += 1u << order;
	}
}

bool pf_buddy_widen(struct pf_buddy *buddy, uint32_t granule, uint32_t order)
{
	return order < PF_ORDER_MAX && !(granule & (1u << order)) && take_if_free(buddy, order, (granule >> order) + 1);
}

bool pf_buddy_alloc(struct pf_buddy *buddy, uint32_t order, uint32_t *ret_granule)
{
	for (uint32_t from = order; from <= PF_ORDER_MAX; from++) {
		uint32_t word = buddy->hint[from], block;

		if (!buddy->free_count[from])
			continue;
		while (!buddy->bits[from][word])
			word++;
		buddy->hint[from] = word;
		block = word * 64 + (uint32_t)__builtin_ctzll(buddy->bits[from][word]);
		take_if_free(buddy, from, block);
		*ret_granule = block << from;
		while (from > order) { /* give back the upper halves */
			from--;
			block <<= 1;
			put(buddy, from, block + 1);
		}
		return true;
	}
	return false;
}
