/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* suggest.h - the nearest of a few names to a mistyped one. */
#ifndef PF_CONFIG_SUGGEST_H
#define PF_CONFIG_SUGGEST_H

#include <stddef.h>

/** The nearest of @names, or NULL if none is near enough to be meant. */
const char *suggest_nearest(const char *typed, const char *const *names, size_t count);

#endif
