/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * statement.h - the statements of a text that may be no TOML in places, for user/config/ only.
 *
 * Every text is followed by a NUL that is not in its size. Buffers are of PF_CONFIG_TEXT_MAX bytes.
 */
#ifndef PF_CONFIG_STATEMENT_H
#define PF_CONFIG_STATEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A header, a key with its value, or a line without either. Parts of the text; not ended by NUL. */
struct pf_statement {
	const char *begin, *end; /* behind its newline */
	uint32_t line, last_line;
	bool header;
	bool open; /* it ends where another begins, or the text ends, before a bracket or a long text was closed */
};

/* A part of a statement's first line, without blanks around it. */
struct pf_part {
	const char *begin;
	size_t size;
};

/** The statement behind @statement; of a zeroed one the first. False: there is none. */
bool pf_statement_next(const char *text, size_t size, struct pf_statement *statement);
/** The statement that a parser stopped at in @line, and into @ret_section where it stands. False: there is none. */
bool pf_statement_find(const char *text, size_t size, uint32_t line, struct pf_statement *ret_statement,
		       char *ret_section);
/** Key and value of @statement's first line; a header, or a line without '=', is all key and its value has no begin. */
void pf_statement_split(const struct pf_statement *statement, struct pf_part *ret_key, struct pf_part *ret_value);
/** The section that header @key names, into @buf. */
void pf_statement_section(struct pf_part key, char *buf);
/** What @key, of a line without a value its first word, names in @section, into @buf. */
void pf_statement_path(const char *section, struct pf_part key, bool has_value, char *buf);
/** The line where the key @path of @section, or the header @path, stands before @statement; 0: nowhere. */
uint32_t pf_statement_line_before(const char *text, size_t size, const struct pf_statement *statement,
				  const char *section, const char *path);
/** The column of @place in @statement's first line, in characters. */
uint32_t pf_statement_column(const struct pf_statement *statement, const char *place);

#endif
