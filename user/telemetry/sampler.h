/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sampler.h - the revocation sampler: sees touches of resident memory.
 */
#ifndef PF_SAMPLER_H
#define PF_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The unit: what one fault maps around itself. */
#define PF_SAMPLE_BLOCK (64u << 10)
/** Most blocks of one slice that stand revoked at a time. */
#define PF_SAMPLE_SLICE_MAX 8

/** The revoked blocks of one slice; zeroed at first. */
struct pf_sample_slice {
	uint32_t block[PF_SAMPLE_SLICE_MAX];
	uint32_t count;
};

struct pf_sampler;

int pf_sampler_new(uint64_t seed, struct pf_sampler **ret_sampler);
void pf_sampler_free(struct pf_sampler *sampler);

/**
 * Forgets the blocks of @slice (at @addr) that were touched since they were revoked and returns how many.
 * Exact: asks the process's own page table.
 */
uint32_t pf_sampler_harvest(struct pf_sampler *sampler, const void *addr, struct pf_sample_slice *slice);

/** Picks a random block of a slice of @size bytes. False if @slice is full or has that block already. */
bool pf_sampler_pick(struct pf_sampler *sampler, uint64_t size, const struct pf_sample_slice *slice,
		     uint32_t *ret_block);
/** Notes @block of the slice at @addr, to be revoked by pf_sampler_flush(). */
void pf_sampler_place(struct pf_sampler *sampler, const void *addr, struct pf_sample_slice *slice, uint32_t block);
/** Revokes what was placed. */
void pf_sampler_flush(struct pf_sampler *sampler);

/** Blocks revoked so far, and how many of them were refused by the kernel. */
uint64_t pf_sampler_count(const struct pf_sampler *sampler);
uint64_t pf_sampler_refused(const struct pf_sampler *sampler);

#endif
