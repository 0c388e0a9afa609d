/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * window.h - the journal as recovery reads it: forwards, read ahead by threads.
 */
#ifndef PF_WINDOW_H
#define PF_WINDOW_H

#include "store/internal.h"

struct pf_window;

/** Starts reading positions [@pos, @end) of the open journal: whole blocks, @end > @pos. -ENOMEM. */
int pf_window_open(struct pf_store *store, uint64_t pos, uint64_t end, struct pf_window **ret_window);
/** Ends all reading. NULL is allowed. */
void pf_window_close(struct pf_window *window);
/**
 * Waits for the @size bytes at @pos, a whole block; they end before the window's end when rounded up to blocks.
 * *ret_data stays valid until the next call. Going back is allowed and slow. -EIO or what the read failed with,
 * with words that name segment and offset; -ENOMEM. One thread.
 */
int pf_window_get(struct pf_window *window, uint64_t pos, uint64_t size, const uint8_t **ret_data);

#endif
