/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cache.h - the probe of the page cache, which runs beside a source of faults
 * and fills inserted, evicted and refaulted of the same slots.
 *
 * It is an extra: nothing fails without it, and what it lacks is in missing.
 */
#ifndef PF_CACHE_H
#define PF_CACHE_H

#include "telemetry/slotmap.h"

struct pf_cache {
	struct pf_cache_bpf *skel; /* NULL: does not run */
	struct pf_links links;
	char missing[96]; /* why it, or a part of it, does not run; "": all does */
};

/**
 * Loads and attaches. @files_fd is the source's map of slot arrays, borrowed for the call.
 * Between pf_libbpf_quiet() and pf_libbpf_restore(); the controller thread alone.
 */
void pf_cache_init(struct pf_cache *cache, const struct pf_source_params *params, int files_fd);
/** Takes a zeroed @cache too. */
void pf_cache_done(struct pf_cache *cache);
/** Watches @fd, which pf_slotmap_add() has given slots and which must stay open until pf_cache_done(). */
void pf_cache_add(struct pf_cache *cache, uint32_t file_id, int fd);
/** Events of watched files that were not counted. Any thread. */
uint64_t pf_cache_lost(const struct pf_cache *cache);

#endif
