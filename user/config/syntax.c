/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * syntax.c - reads a file that may be no TOML in places: says what is wrong there, and reads the rest.
 *
 * DESIGN
 *   The parser stops at the first thing that it does not understand, and says it in its own words ("expected digit, saw
 *   'G'"). Here the statement that it stopped at is found - a line, or several where a list or a text goes on - named
 * by its key and value, and replaced by blanks, so that lines keep their numbers; then all is parsed again.
 *
 *  1. Nothing is said of what follows from a mistake: a statement is taken out whole, a header with all up to the next
 * one (one that stands twice is read by itself), and what cannot be told apart from the mistake is not read, which is
 * said.
 *  2. Every turn takes something out, and there are at most MISTAKES_MAX.
 *  3. Of whatever is taken out, the keys that it can be of are in doubt (names.c).
 */
#include "config/internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MISTAKES_MAX 32

#define BARE "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."

/* One file. Its text ends with a NUL that is not in @size. */
struct source {
	struct pf_config *config;
	const char *name;
	pf_toml_fn fn;
	void *ctx;
	char *text;
	size_t size;
	int mistakes; /* so far */
};

/* A header, a key with its value, or a line without either. Parts of the text; not ended by NUL. */
struct statement {
	const char *begin, *end; /* behind its newline */
	uint32_t line, last_line;
	bool header;
	bool open; /* it ends where another begins, or the text ends, before a bracket or a long text was closed */
};

/* A part of a statement's first line, without blanks around it. */
struct part {
	const char *begin;
	size_t size;
};

/* ---- statements ---- */

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

/* The statement behind @statement; of a zeroed one the first. False: there is none. */
static bool next_statement(const struct source *source, struct statement *statement)
{
	const char *end = source->text + source->size, *at = statement->begin ? statement->end : source->text;

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

static struct part trimmed(const char *begin, const char *end)
{
	while (begin < end && is_blank(*begin))
		begin++;
	while (begin < end && is_blank(end[-1]))
		end--;
	return (struct part){ begin, (size_t)(end - begin) };
}

/* Key and value of @statement's first line; a header, or a line without '=', is all key and its value has no begin. */
static void split(const struct statement *statement, struct part *ret_key, struct part *ret_value)
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
	*ret_value = equals ? trimmed(equals + 1, at) : (struct part){ 0 };
}

/* The section that header @key names, into @buf of PF_CONFIG_TEXT_MAX bytes. */
static void section_of(struct part key, char *buf)
{
	while (key.size > 0 && *key.begin == '[') {
		key.begin++;
		key.size--;
	}
	key = trimmed(key.begin, memchr(key.begin, ']', key.size) ? (char *)memchr(key.begin, ']', key.size)
								  : key.begin + key.size);
	snprintf(buf, PF_CONFIG_TEXT_MAX, "%.*s", (int)key.size, key.begin);
}

/* What the first word of @key names in @section, into @buf of PF_CONFIG_TEXT_MAX bytes. */
static void path_of(const char *section, struct part key, bool has_value, char *buf)
{
	size_t size = has_value ? key.size : strspn(key.begin, BARE);

	snprintf(buf, PF_CONFIG_TEXT_MAX, "%.200s%s%.*s", section, *section ? "." : "",
		 (int)(size < key.size ? size : key.size), key.begin);
}

/* The statement that the parser stopped at in @line, and the section that it stands in. False: there is none. */
static bool find_wrong(const struct source *source, uint32_t line, struct statement *ret_statement, char *ret_section)
{
	struct statement at = { 0 }, found = { 0 };
	char section[PF_CONFIG_TEXT_MAX] = "";
	struct part key, value;

	while (next_statement(source, &at)) {
		if (trimmed(at.begin, at.end).size > 0) {
			found = at;
			snprintf(ret_section, PF_CONFIG_TEXT_MAX, "%s", section);
		}
		/* an open one is wrong, though the parser saw it only where the next began */
		if (at.open || at.last_line >= line)
			break;
		split(&at, &key, &value);
		if (at.header)
			section_of(key, section);
	}
	*ret_statement = found;
	return found.begin != NULL;
}

/* The line where the same key, or header, stands before @wrong; 0: nowhere. */
static uint32_t line_before(const struct source *source, const struct statement *wrong, const char *section,
			    const char *path)
{
	char in[PF_CONFIG_TEXT_MAX] = "", other[PF_CONFIG_TEXT_MAX];
	struct statement at = { 0 };
	struct part key, value;

	while (next_statement(source, &at) && at.begin < wrong->begin) {
		split(&at, &key, &value);
		if (at.header)
			section_of(key, in);
		if (at.header && wrong->header && strcmp(in, path) == 0)
			return at.line;
		if (at.header || wrong->header || !value.begin || strcmp(in, section) != 0)
			continue;
		path_of(in, key, true, other);
		if (strcmp(other, path) == 0)
			return at.line;
	}
	return 0;
}

/* ---- words ---- */

static uint32_t column_of(const struct statement *statement, const char *place)
{
	uint32_t column = 1;

	for (const char *at = statement->begin; at < place; at++)
		column += ((unsigned char)*at & 0xc0) != 0x80; /* characters, not bytes */
	return column;
}

/* What the parser said, without what it was doing. */
static const char *parsers_words(const struct pf_toml_error *error)
{
	const char *words = strstr(error->text, ": ");

	words = strncmp(error->text, "Error while parsing", 19) == 0 && words ? words + 2 : error->text;
	return strcmp(words, "could not determine value type") == 0 ? "this is no value" : words;
}

/* How a list is written that was written without its brackets or quotes. False if it is none. */
static bool mend_list(const struct pf_config_key *key, const char *word, char *ret_hint)
{
	const size_t size = strlen(word);
	const bool bare = word[0] != '[';
	char inner[PF_CONFIG_TEXT_MAX], *written;
	struct pf_config_value value;

	if (strpbrk(word, "\"'") || (!bare && word[size - 1] != ']'))
		return false;
	snprintf(inner, sizeof(inner), "%.*s", (int)(bare ? size : size - 2), word + !bare);
	if (pf_config_value_parse(key, inner, &value) != 0)
		return false;
	written = pf_config_value_write(key, &value);
	pf_config_value_done(&value);
	if (!written)
		return false;
	snprintf(ret_hint, PF_CONFIG_TEXT_MAX, "%s: %s = %.120s", bare ? "a list needs brackets" : "texts need quotes",
		 key->name, written);
	free(written);
	return true;
}

/* What is to be done to @word, the value of @key (NULL: unknown) that the file calls @name, into @ret_hint. False: that
 * cannot be told. */
static bool mend(const struct pf_config_key *key, const char *name, const char *word, char *ret_hint)
{
	const size_t size = strlen(word);
	struct pf_config_value value;

	if (word[0] == '"' || word[0] == '\'') {
		snprintf(ret_hint, PF_CONFIG_TEXT_MAX, "the closing quote is missing");
		return !strchr(word + 1, word[0]);
	}
	if (size == 0 || size > 100)
		return false;
	if (key && (key->type == PF_CONFIG_LIST || key->type == PF_CONFIG_NODES))
		return mend_list(key, word, ret_hint);
	if (strpbrk(word, "[]{}\"'\\="))
		return false;
	if (key ? pf_config_value_parse(key, word, &value) != 0 : !isalpha((unsigned char)word[0])) {
		snprintf(ret_hint, PF_CONFIG_TEXT_MAX, "a text needs quotes");
		return key && key->type == PF_CONFIG_CHOICE;
	}
	if (key && key->type == PF_CONFIG_BOOL)
		snprintf(ret_hint, PF_CONFIG_TEXT_MAX, "write %.120s = %s", name, value.number ? "true" : "false");
	else
		snprintf(ret_hint, PF_CONFIG_TEXT_MAX, "a text needs quotes: %.120s = \"%s\"", name, word);
	if (key)
		pf_config_value_done(&value);
	return true;
}

/* What @path allows; "" if it is nothing that is known. @buf of PF_CONFIG_TEXT_MAX bytes. */
static const char *allowed_at(const char *path, char *buf)
{
	const struct pf_config_key *key = pf_config_find(path);

	buf[0] = '\0';
	if (key)
		return pf_config_allowed(key, buf);
	if (strcmp(path, "profile") == 0)
		return pf_config_allowed_profiles(buf);
	if (pf_config_is_section(path))
		snprintf(buf, PF_CONFIG_TEXT_MAX, "a section, [%.200s]", path);
	return buf;
}

/* Doubts what @path is, or may mean; says so if it is nothing. */
static void doubt(const struct source *source, const struct statement *statement, struct part key, const char *path)
{
	if (strcmp(path, "profile") == 0)
		pf_config_doubt(source->config, PF_CONFIG_PROFILE, NULL);
	else if (pf_config_find(path) || pf_config_is_section(path))
		pf_config_doubt(source->config, PF_CONFIG_FILE, path);
	else
		pf_config_unknown(source->config, PF_CONFIG_FILE, source->name, statement->line,
				  column_of(statement, key.begin), false, path);
}

/* What is wrong with the value of @path, and where. The place is what the parser says unless it is a better one. */
static const char *value_words(const struct source *source, struct pf_toml_error *place, const struct statement *wrong,
			       const char *section, const char *path, char *buf)
{
	char name[PF_CONFIG_TEXT_MAX], word[PF_CONFIG_TEXT_MAX];
	const uint32_t before = line_before(source, wrong, section, path);
	struct part key, value;

	split(wrong, &key, &value);
	snprintf(name, sizeof(name), "%.*s", (int)key.size, key.begin);
	snprintf(word, sizeof(word), "%.*s", (int)value.size, value.begin);
	if (before)
		snprintf(buf, PF_CONFIG_TEXT_MAX, "it is set in line %u already", before);
	else if (wrong->open)
		snprintf(buf, PF_CONFIG_TEXT_MAX, "it is not closed");
	else if (wrong->last_line > wrong->line || value.size >= sizeof(word) ||
		 !mend(pf_config_find(path), name, word, buf))
		return parsers_words(place);
	place->line = wrong->line;
	place->column = column_of(wrong, value.begin);
	return buf;
}

static void say_key(const struct source *source, const struct pf_toml_error *error, const struct statement *wrong,
		    const char *section)
{
	char path[PF_CONFIG_TEXT_MAX], allowed[PF_CONFIG_TEXT_MAX], plain[PF_CONFIG_TEXT_MAX], buf[PF_CONFIG_TEXT_MAX];
	struct pf_toml_error place = *error;
	struct part key, value;
	const char *words;

	split(wrong, &key, &value);
	path_of(section, key, value.begin, path);
	allowed_at(path, allowed);
	if (!value.begin) {
		pf_config_problem(source->config, source->name, wrong->line, column_of(wrong, key.begin),
				  "%s has no \"=\"; allowed: [SECTION], KEY = VALUE and # COMMENT",
				  pf_config_plain(key.begin, key.size, plain));
	} else if (value.size == 0) {
		pf_config_problem(source->config, source->name, wrong->line, column_of(wrong, key.begin),
				  "%s has no value%s%s", path, *allowed ? "; allowed: " : "", allowed);
	} else {
		words = value_words(source, &place, wrong, section, path, buf);
		pf_config_problem(source->config, source->name, place.line, place.column, "%s is %s%s: %s%s%s", path,
				  pf_config_plain(value.begin, value.size, plain),
				  wrong->last_line > wrong->line ? " ..." : "", words, *allowed ? "; allowed: " : "",
				  allowed);
	}
	doubt(source, wrong, key, path);
}

/* Behind the last statement before the next header. */
static const char *section_end(const struct source *source, const struct statement *header)
{
	struct statement next = *header;
	const char *end = header->end;

	while (next_statement(source, &next) && !next.header)
		end = next.end;
	return end;
}

static void blank(struct source *source, const char *begin, const char *end)
{
	for (char *at = source->text + (begin - source->text); at < end; at++)
		if (*at != '\n')
			*at = ' ';
}

static int read_source(struct source *source);

/* The section of @header alone. False: no memory. */
static bool read_again(struct source *source, const struct statement *header, const char *end)
{
	struct source part = *source;
	int r;

	part.text = malloc(source->size + 1);
	if (!part.text)
		return false;
	memcpy(part.text, source->text, source->size + 1);
	blank(&part, part.text, part.text + (header->begin - source->text));
	part.size = (size_t)(end - source->text);
	part.text[part.size] = '\0';
	r = read_source(&part);
	free(part.text);
	source->mistakes = part.mistakes;
	return r != -ENOMEM;
}

/* A second time the same section is read by itself, so that what else is wrong in it is said. */
static void say_header(struct source *source, const struct pf_toml_error *error, const struct statement *wrong)
{
	char path[PF_CONFIG_TEXT_MAX], plain[PF_CONFIG_TEXT_MAX];
	const char *end = section_end(source, wrong);
	struct part key, value;
	uint32_t before;

	split(wrong, &key, &value);
	section_of(key, path);
	before = pf_config_is_section(path) ? line_before(source, wrong, "", path) : 0;
	pf_config_plain(key.begin, key.size, plain);
	if (before)
		pf_config_problem(source->config, source->name, wrong->line, column_of(wrong, key.begin),
				  "%s: this section begins in line %u already; allowed: once", plain, before);
	else
		pf_config_problem(source->config, source->name, error->line, error->column,
				  "%s: %s; this section was not read", plain, parsers_words(error));
	if (!before || !read_again(source, wrong, end))
		pf_config_doubt(source->config, PF_CONFIG_FILE, !before && pf_config_is_section(path) ? path : NULL);
	blank(source, wrong->begin, end);
}

/* ---- reading ---- */

/* Says what the parser stopped at and takes it out. False: all from there on was taken out. */
static bool take_out(struct source *source, const struct pf_toml_error *error)
{
	char section[PF_CONFIG_TEXT_MAX] = "";
	struct statement wrong;
	struct part key = { 0 }, value;
	const bool found = error->line > 0 && find_wrong(source, error->line, &wrong, section);

	if (found)
		split(&wrong, &key, &value);
	if (key.size > 0 && wrong.header)
		say_header(source, error, &wrong);
	else if (key.size > 0)
		say_key(source, error, &wrong, section);
	else
		pf_config_problem(source->config, source->name, error->line, error->column, "%s", parsers_words(error));
	if (found && source->mistakes < MISTAKES_MAX && !(wrong.open && wrong.end == source->text + source->size)) {
		blank(source, wrong.begin, wrong.end);
		return true;
	}
	pf_config_doubt(source->config, PF_CONFIG_FILE, NULL);
	pf_config_doubt(source->config, PF_CONFIG_PROFILE, NULL);
	if (found && (wrong.last_line > wrong.line || wrong.end < source->text + source->size))
		pf_config_problem(source->config, source->name, wrong.line + 1, 1, "what follows was not read");
	source->size = found ? (size_t)(wrong.begin - source->text) : 0;
	source->text[source->size] = '\0';
	return false;
}

static int read_source(struct source *source)
{
	struct pf_toml_error error;
	bool more = true;
	int r;

	while ((r = pf_toml_read(source->text, source->size, source->fn, source->ctx, &error)) == -EINVAL && more) {
		source->mistakes++;
		more = take_out(source, &error);
	}
	return r;
}

int pf_config_read(struct pf_config *config, const char *name, const char *text, size_t size, pf_toml_fn fn, void *ctx)
{
	struct source source = { config, name, fn, ctx, malloc(size + 1), size, 0 };
	int r;

	if (!source.text)
		return -ENOMEM;
	memcpy(source.text, text, size);
	source.text[size] = '\0';
	r = read_source(&source);
	free(source.text);
	return r == 0 && source.mistakes > 0 ? -EINVAL : r;
}
