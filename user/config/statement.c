/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * statement.c - where statements of TOML begin and end, in text that may be none.
 *
 * DESIGN
 *   A statement ends with its line unless a bracket or a long text is open. What was never closed would swallow all
 * that follows, so a list also ends where a line can only be a statement of its own: KEY =, or the header of a known
 * section.
 *
 *  1. Every byte of a text is in exactly one statement.
 *  2. A statement that is open is no TOML, so the first mistake of a text is in it or before it.
 */
#include "config/statement.h"
#include "config/internal.h"

#include <stdio.h>
#include <string.h>

#define BARE "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."

/* Behind the text in quotes at @at; a short one ends with its line at the latest. */
static const char *string_end(const char *at, const char *end, bool *ret_open)
{
	const char quote = *at;
	const bool is_long = end - at >= 3 && at[1] == quote && at[2] == quote;

	for (at += is_long ? 3 : 1; at < end; at++) {
		if (*at == '\n' && !is_long)
			return at;
		if (*at == '\\' && quote == '"' && at + 1 < end && at[1] != '\n')
			at++;
		else if (*at == quote && !is_long)
			return at + 1;
		else if (*at == quote && end - at >= 3 && at[1] == quote && at[2] == quote)
			return at + 3;
	}
	*ret_open = is_long;
	return end;
}

/* Whether the line at @at can only be the beginning of a statement, also where a list is open. */
static bool begins_statement(const char *at, const char *end)
{
	char name[PF_CONFIG_TEXT_MAX];
	size_t size;

	while (at < end && (*at == ' ' || *at == '\t'))
		at++;
	if (at < end && *at == '[') {
		at += strspn(at, "[");
		size = strspn(at, BARE);
		snprintf(name, sizeof(name), "%.*s", size < sizeof(name) ? (int)size : 0, at);
		return name[0] && pf_config_is_section(name);
	}
	size = strspn(at, BARE);
	return size > 0 && at[size + strspn(at + size, " \t")] == '=';
}

static const char *statement_end(const char *at, const char *end, bool header, bool *ret_open)
{
	size_t depth = 0;

	*ret_open = false;
	while (at < end) {
		if (*at == '\n') {
			at++;
			if (header || depth == 0)
				return at;
			if (begins_statement(at, end)) {
				*ret_open = true;
				return at;
			}
		} else if (*at == '#') {
			while (at < end && *at != '\n')
				at++;
		} else if (*at == '"' || *at == '\'') {
			at = string_end(at, end, ret_open);
			if (*ret_open)
				return at;
		} else {
			if (*at == '[' || *at == '{')
				depth++;
			else if ((*at == ']' || *at == '}') && depth > 0)
				depth--;
			at++;
		}
	}
	*ret_open = !header && depth > 0;
	return end;
}

bool pf_statement_next(const char *text, size_t size, struct pf_statement *statement)
{
	const char *end = text + size, *at = statement->begin ? statement->end : text;

	if (at >= end)
		return false;
	statement->line = statement->begin ? statement->last_line + 1 : 1;
	statement->begin = at;
	statement->header = at[strspn(at, " \t")] == '[';
	statement->end = statement_end(at, end, statement->header, &statement->open);
	statement->last_line = statement->line;
	for (; at < statement->end - 1; at++)
		statement->last_line += *at == '\n';
	return true;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct pf_part trimmed(const char *begin, const char *end)
{
	while (begin < end && is_blank(*begin))
		begin++;
	while (begin < end && is_blank(end[-1]))
		end--;
	return (struct pf_part){ begin, (size_t)(end - begin) };
}

void pf_statement_split(const struct pf_statement *statement, struct pf_part *ret_key, struct pf_part *ret_value)
{
	const size_t size = (size_t)(statement->end - statement->begin);
	const char *at = statement->begin, *equals = NULL, *newline = memchr(at, '\n', size);
	const char *end = newline ? newline : statement->end;
	bool open;

	while (at < end && *at != '#') {
		if (*at == '=' && !equals && !statement->header)
			equals = at;
		at = *at == '"' || *at == '\'' ? string_end(at, end, &open) : at + 1;
	}
	*ret_key = trimmed(statement->begin, equals ? equals : at);
	*ret_value = equals ? trimmed(equals + 1, at) : (struct pf_part){ 0 };
}

void pf_statement_section(struct pf_part key, char *buf)
{
	while (key.size > 0 && *key.begin == '[') {
		key.begin++;
		key.size--;
	}
	key = trimmed(key.begin, memchr(key.begin, ']', key.size) ? (char *)memchr(key.begin, ']', key.size)
								  : key.begin + key.size);
	snprintf(buf, PF_CONFIG_TEXT_MAX, "%.*s", (int)key.size, key.begin);
}

void pf_statement_path(const char *section, struct pf_part key, bool has_value, char *buf)
{
	size_t size = has_value ? key.size : strspn(key.begin, BARE);

	snprintf(buf, PF_CONFIG_TEXT_MAX, "%.200s%s%.*s", section, *section ? "." : "",
		 (int)(size < key.size ? size : key.size), key.begin);
}

bool pf_statement_find(const char *text, size_t size, uint32_t line, struct pf_statement *ret_statement,
		       char *ret_section)
{
	struct pf_statement at = { 0 }, found = { 0 };
	char section[PF_CONFIG_TEXT_MAX] = "";
	struct pf_part key, value;

	while (pf_statement_next(text, size, &at)) {
		if (trimmed(at.begin, at.end).size > 0) {
			found = at;
			snprintf(ret_section, PF_CONFIG_TEXT_MAX, "%s", section);
		}
		/* an open one is wrong, though the parser saw it only where the next began */
		if (at.open || at.last_line >= line)
			break;
		pf_statement_split(&at, &key, &value);
		if (at.header)
			pf_statement_section(key, section);
	}
	*ret_statement = found;
	return found.begin != NULL;
}

uint32_t pf_statement_line_before(const char *text, size_t size, const struct pf_statement *wrong, const char *section,
				  const char *path)
{
	char in[PF_CONFIG_TEXT_MAX] = "", other[PF_CONFIG_TEXT_MAX];
	struct pf_statement at = { 0 };
	struct pf_part key, value;

	while (pf_statement_next(text, size, &at) && at.begin < wrong->begin) {
		pf_statement_split(&at, &key, &value);
		if (at.header)
			pf_statement_section(key, in);
		if (at.header && wrong->header && strcmp(in, path) == 0)
			return at.line;
		if (at.header || wrong->header || !value.begin || strcmp(in, section) != 0)
			continue;
		pf_statement_path(in, key, true, other);
		if (strcmp(other, path) == 0)
			return at.line;
	}
	return 0;
}

uint32_t pf_statement_column(const struct pf_statement *statement, const char *place)
{
	uint32_t column = 1;

	for (const char *at = statement->begin; at < place; at++)
		column += ((unsigned char)*at & 0xc0) != 0x80; /* characters, not bytes */
	return column;
}
