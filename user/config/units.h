/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * units.h - sizes, times and counts as people write and read them.
 *
 * Sizes are powers of 1024 whatever their spelling (64M = 64MB = 64MiB): they
 * size memory and extents, which are powers of two.
 */
#ifndef PF_CONFIG_UNITS_H
#define PF_CONFIG_UNITS_H

#include <stdint.h>

#define UNITS_TEXT_MAX 32

/** "12" or "1.5", and where it ends (behind spaces): no sign, no exponent, no hex. 0, or -EINVAL. */
int units_parse_number(const char *text, double *ret_value, const char **ret_rest);
/** 0, or -EINVAL; fractions are allowed with a unit larger than a byte (1.5G). */
int units_parse_size(const char *text, uint64_t *ret_bytes);
/** To milliseconds, of which no fraction is taken ("1.5ms"); without a unit: seconds. 0, or -EINVAL. */
int units_parse_duration(const char *text, uint64_t *ret_ms);
/** A plain decimal number. 0, or -EINVAL. */
int units_parse_count(const char *text, uint64_t *ret_count);

/* Each returns @buf, of UNITS_TEXT_MAX bytes. */
const char *units_size(uint64_t bytes, char *buf);      /* "1.5 GiB" */
const char *units_place(uint64_t bytes, char *buf);     /* exact and short: "64M", "4097" */
const char *units_ns(double ns, char *buf);             /* "12.3 us" */
const char *units_ms(uint64_t ms, char *buf);           /* "3.2 s", "5 min" */
const char *units_count(uint64_t count, char *buf);     /* "12,345" */

#endif
