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
#include "config/statement.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MISTAKES_MAX 32

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

/* ---- words ---- */

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
static void doubt(const struct source *source, const struct pf_statement *statement, struct pf_part key,
		  const char *path)
{
	if (strcmp(path, "profile") == 0)
		pf_config_doubt(source->config, PF_CONFIG_PROFILE, NULL);
	else if (pf_config_find(path) || pf_config_is_section(path))
		pf_config_doubt(source->config, PF_CONFIG_FILE, path);
	else
		pf_config_unknown(source->config, PF_CONFIG_FILE, source->name, statement->line,
				  pf_statement_column(statement, key.begin), false, path);
}

/* What is wrong with the value of @path, and where. The place is what the parser says unless it is a better one. */
static const char *value_words(const struct source *source, struct pf_toml_error *place,
			       const struct pf_statement *wrong, const char *section, const char *path, char *buf)
{
	char name[PF_CONFIG_TEXT_MAX], word[PF_CONFIG_TEXT_MAX];
	const uint32_t before = pf_statement_line_before(source->text, source->size, wrong, section, path);
	struct pf_part key, value;

	pf_statement_split(wrong, &key, &value);
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
	place->column = pf_statement_column(wrong, value.begin);
	return buf;
}

static void say_key(const struct source *source, const struct pf_toml_error *error, const struct pf_statement *wrong,
		    const char *section)
{
	char path[PF_CONFIG_TEXT_MAX], allowed[PF_CONFIG_TEXT_MAX], plain[PF_CONFIG_TEXT_MAX], buf[PF_CONFIG_TEXT_MAX];
	struct pf_toml_error place = *error;
	struct pf_part key, value;
	const char *words;

	pf_statement_split(wrong, &key, &value);
	pf_statement_path(section, key, value.begin, path);
	allowed_at(path, allowed);
	if (!value.begin) {
		pf_config_problem(source->config, source->name, wrong->line, pf_statement_column(wrong, key.begin),
				  "%s has no \"=\"; allowed: [SECTION], KEY = VALUE and # COMMENT",
				  pf_config_plain(key.begin, key.size, plain));
	} else if (value.size == 0) {
		pf_config_problem(source->config, source->name, wrong->line, pf_statement_column(wrong, key.begin),
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
static const char *section_end(const struct source *source, const struct pf_statement *header)
{
	struct pf_statement next = *header;
	const char *end = header->end;

	while (pf_statement_next(source->text, source->size, &next) && !next.header)
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
static bool read_again(struct source *source, const struct pf_statement *header, const char *end)
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
static void say_header(struct source *source, const struct pf_toml_error *error, const struct pf_statement *wrong)
{
	char path[PF_CONFIG_TEXT_MAX], plain[PF_CONFIG_TEXT_MAX];
	const char *end = section_end(source, wrong);
	struct pf_part key, value;
	uint32_t before;

	pf_statement_split(wrong, &key, &value);
	pf_statement_section(key, path);
	before = pf_config_is_section(path) ? pf_statement_line_before(source->text, source->size, wrong, "", path) : 0;
	pf_config_plain(key.begin, key.size, plain);
	if (before)
		pf_config_problem(source->config, source->name, wrong->line, pf_statement_column(wrong, key.begin),
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
	struct pf_statement wrong;
	struct pf_part key = { 0 }, value;
	const bool found =
		error->line > 0 && pf_statement_find(source->text, source->size, error->line, &wrong, section);

	if (found)
		pf_statement_split(&wrong, &key, &value);
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
