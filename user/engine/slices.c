/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/slices.h"

#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"

int pf_slices_new(uint64_t file_size, uint64_t slice_size, struct pf_slices **ret_slices)
{
	struct pf_slices *slices = calloc(1, sizeof(*slices));

	if (!slices)
		return pf_error(-ENOMEM, "out of memory");
	slices->layout_version = UINT64_MAX;
	slices->slice_size = slice_size;
	slices->per_file = (uint32_t)((file_size + slice_size - 1) / slice_size);
	*ret_slices = slices;
	return 0;
}

void pf_slices_free(struct pf_slices *slices)
{
	if (!slices)
		return;
	free(slices->use);
	free(slices);
}

static int mark_extent(void *ctx, const struct pinfold_extent *extent, bool published)
{
	struct pf_slices *slices = ctx;
	uint64_t first = extent->offset / slices->slice_size;
	uint64_t last = (extent->offset + extent->len - 1) / slices->slice_size;

	if (!published || extent->file_id >= slices->file_count)
		return 0;
	for (uint64_t i = first; i <= last; i++) {
		struct pf_slice_use *use = &slices->use[(uint64_t)extent->file_id * slices->per_file + i];

		slices->in_use_count += !use->in_use;
		use->in_use = true;
		use->extent_flags |= extent->flags;
	}
	return 0;
}

int pf_slices_refresh(struct pf_slices *slices, struct pinfold *pf)
{
	uint64_t version = pf_store_layout_version(pf->store);
	uint32_t files = pf_store_file_count(pf->store);

	if (version == slices->layout_version)
		return 0;
	if (files != slices->file_count) {
		struct pf_slice_use *use = realloc(slices->use, sizeof(*use) * slices->per_file * (files ? files : 1));

		if (!use)
			return pf_error(-ENOMEM, "out of memory for the slices of %u files", files);
		slices->use = use;
		slices->file_count = files;
	}
	memset(slices->use, 0, sizeof(*slices->use) * slices->per_file * slices->file_count);
	slices->in_use_count = 0;
	pf_extent_foreach(pf->store, mark_extent, slices);
	slices->layout_version = version;
	return 0;
}

const struct pf_slice_use *pf_slices_at(const struct pf_slices *slices, uint32_t file_id, uint32_t index)
{
	static const struct pf_slice_use none;

	if (file_id >= slices->file_count || index >= slices->per_file)
		return &none;
	return &slices->use[(uint64_t)file_id * slices->per_file + index];
}
