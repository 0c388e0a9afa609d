/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * resident.h - how many pages of a mapped file range are in memory.
 */
#ifndef PF_RESIDENT_H
#define PF_RESIDENT_H

#include <stdbool.h>
#include <stdint.h>

struct pf_resident {
	bool no_cachestat;
	unsigned char *vector; /* for mincore */
};

/** For ranges of up to @size_max bytes. */
int pf_resident_init(struct pf_resident *resident, uint64_t size_max);
void pf_resident_done(struct pf_resident *resident);
/**
 * Counts the pages of [@offset, @offset + @size) of @fd, mapped at @addr. @region: the file's with the kernel
 * module; -1: none. 0 or -errno, without text.
 */
int pf_resident_count(struct pf_resident *resident, int fd, int region, uint64_t offset, const void *addr,
		      uint64_t size, uint32_t *ret_pages);

#endif
