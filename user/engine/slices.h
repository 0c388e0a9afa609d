/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * slices.h - which slices hold published extents: the store's layout, in telemetry's units.
 *
 * Rebuilt when the store's layout version moves. Under the engine's lock.
 */
#ifndef PF_SLICES_H
#define PF_SLICES_H

#include <stdbool.h>
#include <stdint.h>

struct pinfold;

struct pf_slice_use {
	bool in_use;
	uint32_t extent_flags;
};

struct pf_slices {
	uint64_t layout_version;
	uint64_t slice_size;
	uint32_t per_file;    /* slices of a data file */
	uint32_t file_count;
	uint64_t in_use_count;
	struct pf_slice_use *use; /* file_count x per_file */
};

int pf_slices_new(uint64_t file_size, uint64_t slice_size, struct pf_slices **ret_slices);
void pf_slices_free(struct pf_slices *slices);
/** Follows the store if its layout changed; -ENOMEM leaves the old map in place. */
int pf_slices_refresh(struct pf_slices *slices, struct pinfold *pf);
const struct pf_slice_use *pf_slices_at(const struct pf_slices *slices, uint32_t file_id, uint32_t index);

#endif
