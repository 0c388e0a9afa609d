/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * regions.h - a store's data files as the kernel module knows them: who maps a file through its region has its
 * faults counted. The engine hands pf_regions_map() to the store and the set to telemetry.
 *
 * A set that cannot register a file keeps the reason and registers no further one: files are counted all or none.
 * Any thread.
 */
#ifndef PF_REGIONS_H
#define PF_REGIONS_H

#include <linux/pinfold.h>
#include <stdint.h>

struct pf_regions;

/** An empty set; asks nothing of the module yet. -ENOMEM. */
int pf_regions_new(struct pf_regions **ret_regions);
/** Closes the regions' descriptors; mappings stay. Takes NULL. */
void pf_regions_free(struct pf_regions *regions);

/**
 * Registers file @file_id, of which @fd is a read descriptor (borrowed), and maps its first @size bytes in place of
 * what is at @addr: shared, read-only. -errno with text: nothing was done, and the caller maps the file itself.
 */
int pf_regions_map(void *regions, uint32_t file_id, int fd, void *addr, uint64_t size);
/** *ret_region: the descriptor of a file that is mapped so, the set's. Else -errno of its refusal, with text. */
int pf_regions_find(struct pf_regions *regions, uint32_t file_id, int *ret_region);
/** 0 while no file was refused, else its -errno, with text. -ENOENT: no file was mapped. */
int pf_regions_state(struct pf_regions *regions);

/**
 * Residency of [@offset, @offset + @size) of file @file_id, in pages, by the module: of all that is in the page cache,
 * whoever brought it in. @fd: to register the file by, where it is not yet; whole pages of less than 16 TiB. -errno.
 */
int pf_regions_scan(struct pf_regions *regions, uint32_t file_id, int fd, uint64_t offset, uint64_t size,
		    struct pinfold_scan_args *ret_scan);

#endif
