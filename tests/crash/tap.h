/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tap.h - TAP lines for the proofs, which are long programs with options and
 * not sets of small test functions.
 */
#ifndef PF_TESTS_TAP_H
#define PF_TESTS_TAP_H

#include <stdbool.h>

/** Prints the version line. Call once. */
void tap_begin(void);
/** One result line; @ok false makes tap_end() return 1. Returns @ok. */
bool tap_result(bool ok, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** A result line that says why nothing was checked. */
void tap_skip(const char *name, const char *why);
/** A "# ..." line. */
void tap_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/** Prints the plan and returns the exit status: 0, or 1 if a result was not ok. */
int tap_end(void);

#endif
