/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * memhook.h - lets a proof refuse an allocation of memory or a mapping.
 */
#ifndef PF_TESTS_MEMHOOK_H
#define PF_TESTS_MEMHOOK_H

#include <stdbool.h>

/** @allow is asked before each allocation by the store's objects; false fails it with ENOMEM. NULL: all are allowed. */
void mem_hook_set(bool (*allow)(void));

#endif
