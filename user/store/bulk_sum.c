/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bulk_sum.c - checksums of blocks taken while they are written.
 *
 * An extent is zero when it is allocated. So the sum of a block follows from what was written to it, as long as that
 * came from its beginning to its end, with gaps or without, or covered all that there was. Any other order makes
 * the block one that is read back.
 */
#include "store/bulk.h"

#include "base/crc.h"

#include <stdlib.h>

static uint32_t add_zeros(uint32_t crc, uint32_t size)
{
	static const uint8_t zeros[4096];

	for (uint32_t step; size > 0; size -= step) {
		step = size < sizeof(zeros) ? size : (uint32_t)sizeof(zeros);
		crc = pf_crc32c_update(crc, zeros, step);
	}
	return crc;
}

struct pf_bulk_sum *pf_bulk_sum_new(const struct pinfold_extent *extent)
{
	return calloc(extent->len / PF_BULK_BLOCK, sizeof(struct pf_bulk_sum));
}

static void block_add(struct pf_bulk_sum *sum, uint32_t from, const uint8_t *data, uint32_t size)
{
	if (from == 0 && (size == PF_BULK_BLOCK || (sum->size != PF_BULK_READ_BACK && size >= sum->size)))
		*sum = (struct pf_bulk_sum){ 0 };
	if (sum->size == PF_BULK_READ_BACK || from < sum->size) {
		sum->size = PF_BULK_READ_BACK;
		return;
	}
	sum->crc = pf_crc32c_update(add_zeros(sum->crc, from - sum->size), data, size);
	sum->size = from + size;
}

void pf_bulk_sum_add(struct pf_bulk_sum *sums, uint64_t offset, const uint8_t *data, size_t size)
{
	while (size > 0) {
		uint32_t from = (uint32_t)(offset % PF_BULK_BLOCK), step = PF_BULK_BLOCK - from;

		if (step > size)
			step = (uint32_t)size;
		block_add(&sums[offset / PF_BULK_BLOCK], from, data, step);
		offset += step;
		data += step;
		size -= step;
	}
}

bool pf_bulk_sum_get(const struct pf_bulk_sum *sum, uint32_t *ret_crc)
{
	if (sum->size == PF_BULK_READ_BACK)
		return false;
	*ret_crc = add_zeros(sum->crc, PF_BULK_BLOCK - sum->size);
	return true;
}
