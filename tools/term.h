/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* term.h - what the output device can show, and plain tables. */
#ifndef PF_TOOLS_TERM_H
#define PF_TOOLS_TERM_H

#include "cli.h"

#include <stdio.h>

/** Colour on @out? --color first, then NO_COLOR, TERM=dumb and whether it is a terminal. */
bool term_color(const struct cli *cli, FILE *out);
/** 24-bit colour? As term_color(), and COLORTERM or TERM says so (--color=always is enough). */
bool term_truecolor(const struct cli *cli, FILE *out);
/** Columns of the terminal, COLUMNS, or 80. */
int term_width(FILE *out);
int term_height(FILE *out);
/** Columns that UTF-8 @text takes (every code point one). */
int term_columns(const char *text);

/** Prints words that may hold names of any kind: their control characters are escaped. */
void term_print_words(FILE *out, const char *words);
/** Prints bytes on one line of stdout, whatever is in them: control characters and '\\' are escaped. */
void term_print_line(const void *data, size_t size);

/** Most columns of a table. */
#define TABLE_COLUMNS_MAX 12

/**
 * A table that is as wide as its cells. Columns named with a leading '>' are
 * right-aligned. Copies every cell; control characters are escaped.
 */
struct table {
	int columns;
	size_t count, capacity; /* cells, with the head */
	char **cells;
	bool right[TABLE_COLUMNS_MAX];
	bool failed; /* out of memory: nothing is printed */
};
void table_init(struct table *table, int columns, const char *const *names);
void table_cell(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** Prints and frees it; the head is bold where @bold. */
void table_print(struct table *table, FILE *out, bool bold);
/** Frees it unprinted. Also after table_print(), and if it is all zero. */
void table_done(struct table *table);

#endif
