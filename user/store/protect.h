/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * protect.h - the mappings against stray pointers and attackers.
 */
#ifndef PF_PROTECT_H
#define PF_PROTECT_H

#include "store/internal.h"

#include <sys/mman.h>

/** Before the first file is mapped: gets a protection key, if the configuration asks for one. */
void pf_protect_open(struct pf_store *store);
/**
 * After a file was mapped at @at of the arenas: its window is put behind the key, its data mapping is sealed. 0, also
 * where the host has neither; -errno if the files before it have a key and it gets none.
 */
int pf_protect_file(struct pf_store *store, uint64_t at);
/** Unmaps the arenas, but for what is sealed, and gives the key back. */
void pf_protect_close(struct pf_store *store);

/** Lets the calling thread, and no other, use the window. Does not nest. Tens of cycles where there is a key. */
static inline void pf_window_unlock(const struct pf_store *store)
{
	if (__builtin_expect(store->window_key >= 0, 0))
		pkey_set(store->window_key, 0);
}
static inline void pf_window_lock(const struct pf_store *store)
{
	if (__builtin_expect(store->window_key >= 0, 0))
		pkey_set(store->window_key, PKEY_DISABLE_ACCESS);
}

#endif
