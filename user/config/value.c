/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * value.c - one value: read from a word or a file, checked against its key's row, compared, and written as TOML.
 *
 * DESIGN
 *   A value is the same whatever it is spelled like: "2GB", "2048MiB" and 2 (of a key that counts in GiB) are one
 *   number of bytes. Whatever a file has that is no list is turned into the word that a command line would have, so
 *   that there is one reader; only that a truth value needs no quotes, and a text needs them, is the file's own.
 *
 *  1. What is written reads back as the same value.
 *  2. A value that was read is in its key's range: nothing behind this file checks ranges of single keys.
 */
#include "config/internal.h"
#include "config/units.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_size(const struct pf_config_key *key)
{
	return key->type == PF_CONFIG_SIZE;
}

/* ---- reading ---- */

bool pf_config_choice(const struct pf_config_key *key, size_t index, char *buf, bool *ret_effective)
{
	const char *at = key->choices;

	for (; index > 0; index--) {
		at = strchr(at, '|');
		if (!at)
			return false;
		at++;
	}
	*ret_effective = *at != '~';
	at += *at == '~';
	snprintf(buf, PF_CONFIG_TEXT_MAX, "%.*s", (int)strcspn(at, "|"), at);
	return true;
}

static int parse_choice(const struct pf_config_key *key, const char *text, uint64_t *ret_index)
{
	char choice[PF_CONFIG_TEXT_MAX];
	uint64_t size, wanted;
	bool effective;

	for (size_t i = 0; pf_config_choice(key, i, choice, &effective); i++) {
		/* "2MB" is chosen by "2MiB" too */
		if (strcmp(choice, text) == 0 ||
		    (units_parse_size(choice, &wanted) == 0 && units_parse_size(text, &size) == 0 && size == wanted)) {
			*ret_index = i;
			return 0;
		}
	}
	return -EINVAL;
}

static int parse_bool(const struct pf_config_key *key, const char *text, uint64_t *ret_number)
{
	static const char *const words[] = { "false", "true", "no", "yes", "off", "on", "0", "1" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcasecmp(text, words[i]) == 0) {
			*ret_number = i % 2;
			return *ret_number < (uint64_t)key->min ? -EINVAL : 0;
		}
	return -EINVAL;
}

/* @value times @factor as a whole number below 2^63; fractions must come out whole. */
static int whole(double value, double factor, uint64_t *ret_number)
{
	value *= factor;
	if (!(value < 9223372036854775808.0) || value != floor(value))
		return -EINVAL;
	*ret_number = (uint64_t)value;
	return 0;
}

static int parse_count(const char *text, uint64_t *ret_number)
{
	static const char suffixes[] = "KMGT";
	const char *rest, *suffix;
	double value, factor = 1;

	if (units_parse_number(text, &value, &rest))
		return -EINVAL;
	if (*rest) {
		suffix = strchr(suffixes, *rest >= 'a' ? *rest - 'a' + 'A' : *rest);
		if (!suffix || rest[1])
			return -EINVAL;
		for (const char *at = suffixes; at <= suffix; at++)
			factor *= 1000;
	}
	return whole(value, factor, ret_number);
}

/* A size or a time: a bare number counts in the key's unit. */
static int parse_amount(const struct pf_config_key *key, const char *text, uint64_t *ret_number)
{
	const char *rest;
	double value;

	if (units_parse_number(text, &value, &rest))
		return -EINVAL;
	if (!*rest)
		return whole(value, (double)key->unit, ret_number);
	return is_size(key) ? units_parse_size(text, ret_number) : units_parse_duration(text, ret_number);
}

static int parse_number(const struct pf_config_key *key, const char *text, uint64_t *ret_number)
{
	uint64_t number = 0;
	const char *rest;
	double value;
	int r;

	if (key->zero && (strcmp(text, key->zero) == 0 || strcmp(text, "0") == 0)) {
		*ret_number = 0;
		return 0;
	}
	switch (key->type) {
	case PF_CONFIG_PERCENT:
		r = units_parse_number(text, &value, &rest);
		if (r == 0)
			r = !*rest || strcmp(rest, "%") == 0 ? whole(value, 1, &number) : -EINVAL;
		break;
	case PF_CONFIG_COUNT:
		r = parse_count(text, &number);
		break;
	default:
		r = parse_amount(key, text, &number);
		break;
	}
	if (r < 0 || (double)number < key->min || (double)number > key->max || (key->step && number % key->step) ||
	    (key->power_of_two && (number & (number - 1))))
		return -EINVAL;
	*ret_number = number;
	return 0;
}

static int parse_real(const struct pf_config_key *key, const char *text, double *ret_real)
{
	const char *rest;
	double value;

	if (units_parse_number(text, &value, &rest))
		return -EINVAL;
	if (key->type == PF_CONFIG_RATIO && strcmp(rest, "%") == 0)
		value /= 100;
	else if (*rest)
		return -EINVAL;
	if (value < key->min || value > key->max)
		return -EINVAL;
	*ret_real = value;
	return 0;
}

/* Bytes that follow @lead in its character; -1 if none begins so. */
static int bytes_behind(unsigned char lead)
{
	if (lead < 0x80)
		return 0;
	if (lead >= 0xc2 && lead < 0xe0)
		return 1;
	if ((lead & 0xf0) == 0xe0)
		return 2;
	return lead >= 0xf0 && lead < 0xf5 ? 3 : -1;
}

/* Whole UTF-8 characters and no NUL: what can be written into a file again. */
static bool is_text(const char *text, size_t size)
{
	const unsigned char *at = (const unsigned char *)text, *end = at + size;

	if (size > PF_CONFIG_STRING_MAX || memchr(text, '\0', size))
		return false;
	while (at < end) {
		const int more = bytes_behind(*at);
		uint32_t code;

		if (more < 0 || end - at <= more)
			return false;
		code = more == 0 ? *at : *at & (0x3fu >> more);
		for (int i = 1; i <= more; i++) {
			if ((at[i] & 0xc0) != 0x80)
				return false;
			code = code << 6 | (at[i] & 0x3f);
		}
		/* longer than need be, half of a pair, or beyond the last character */
		if ((more == 2 && (code < 0x800 || (code >= 0xd800 && code < 0xe000))) ||
		    (more == 3 && (code < 0x10000 || code > 0x10ffff)))
			return false;
		at += more + 1;
	}
	return true;
}

static int add_item(const struct pf_config_key *key, const char *text, size_t size, struct pf_config_value *value)
{
	uint64_t number;
	char *item;

	if (!is_text(text, size) || size == 0 || value->item_count == PF_CONFIG_ITEMS_MAX)
		return -EINVAL;
	if (!value->items) {
		value->items = calloc(PF_CONFIG_ITEMS_MAX, sizeof(*value->items));
		if (!value->items)
			return -ENOMEM;
	}
	item = strndup(text, size);
	if (!item)
		return -ENOMEM;
	value->items[value->item_count++] = item;
	if (key->type != PF_CONFIG_NODES)
		return 0;
	if (units_parse_count(item, &number) || (double)number > key->max)
		return -EINVAL;
	snprintf(item, size + 1, "%llu", (unsigned long long)number); /* "01" is no number in a file */
	return 0;
}

static int parse_list(const struct pf_config_key *key, const char *text, struct pf_config_value *value)
{
	int r = 0;

	while (r == 0 && text[strspn(text, " ")]) {
		size_t size;

		text += strspn(text, " ");
		size = strcspn(text, ",");
		while (size > 0 && text[size - 1] == ' ')
			size--;
		r = add_item(key, text, size, value);
		text += strcspn(text, ",");
		if (*text == ',' && !text[1 + strspn(text + 1, " ")])
			return -EINVAL; /* nothing behind the last comma */
		text += *text == ',';
	}
	return r;
}

int pf_config_value_parse(const struct pf_config_key *key, const char *text, struct pf_config_value *ret_value)
{
	struct pf_config_value value = { 0 };
	int r = 0;

	switch (key->type) {
	case PF_CONFIG_BOOL:
		r = parse_bool(key, text, &value.number);
		break;
	case PF_CONFIG_CHOICE:
		r = parse_choice(key, text, &value.number);
		break;
	case PF_CONFIG_RATIO:
	case PF_CONFIG_FACTOR:
		r = parse_real(key, text, &value.real);
		break;
	case PF_CONFIG_TEXT:
		r = is_text(text, strlen(text)) ? 0 : -EINVAL;
		value.text = r == 0 ? strdup(text) : NULL;
		if (r == 0 && !value.text)
			r = -ENOMEM;
		break;
	case PF_CONFIG_LIST:
	case PF_CONFIG_NODES:
		r = parse_list(key, text, &value);
		break;
	default:
		r = parse_number(key, text, &value.number);
		break;
	}
	if (r < 0)
		pf_config_value_done(&value);
	else
		*ret_value = value;
	return r;
}

static int take_list(const struct pf_config_key *key, const struct pf_toml_item *item,
		     struct pf_config_value *ret_value)
{
	const enum pf_toml_type wanted = key->type == PF_CONFIG_NODES ? PF_TOML_INTEGER : PF_TOML_STRING;
	struct pf_config_value value = { 0 };
	char digits[24];
	int r = 0;

	for (size_t i = 0; r == 0 && i < item->item_count; i++) {
		const struct pf_toml_item *one = &item->items[i];

		if (one->type != wanted) {
			r = -EINVAL;
		} else if (wanted == PF_TOML_INTEGER) {
			snprintf(digits, sizeof(digits), "%lld", (long long)one->integer);
			r = add_item(key, digits, strlen(digits), &value);
		} else {
			r = add_item(key, one->text, one->text_size, &value);
		}
	}
	if (r < 0)
		pf_config_value_done(&value);
	else
		*ret_value = value;
	return r;
}

int pf_config_value_take(const struct pf_config_key *key, const struct pf_toml_item *item,
			 struct pf_config_value *ret_value)
{
	const bool is_list = key->type == PF_CONFIG_LIST || key->type == PF_CONFIG_NODES;
	const bool is_word = key->type == PF_CONFIG_CHOICE || key->type == PF_CONFIG_TEXT;
	char word[PF_CONFIG_TEXT_MAX];

	if ((item->type == PF_TOML_ARRAY) != is_list || (item->type == PF_TOML_BOOL) != (key->type == PF_CONFIG_BOOL) ||
	    (is_word && item->type != PF_TOML_STRING))
		return -EINVAL;
	switch (item->type) {
	case PF_TOML_ARRAY:
		return take_list(key, item, ret_value);
	case PF_TOML_STRING:
		if (strlen(item->text) != item->text_size)
			return -EINVAL;
		return pf_config_value_parse(key, item->text, ret_value);
	case PF_TOML_BOOL:
		return pf_config_value_parse(key, item->integer ? "true" : "false", ret_value);
	case PF_TOML_INTEGER:
		snprintf(word, sizeof(word), "%lld", (long long)item->integer);
		return pf_config_value_parse(key, word, ret_value);
	case PF_TOML_REAL:
		return pf_config_value_parse(key, pf_config_real(item->real, word), ret_value);
	default:
		return -EINVAL;
	}
}

void pf_config_value_done(struct pf_config_value *value)
{
	for (size_t i = 0; i < value->item_count; i++)
		free(value->items[i]);
	free(value->items);
	free(value->text);
	*value = (struct pf_config_value){ 0 };
}

/* ---- comparing and writing ---- */

bool pf_config_value_equal(const struct pf_config_key *key, const struct pf_config_value *a,
			   const struct pf_config_value *b)
{
	switch (key->type) {
	case PF_CONFIG_RATIO:
	case PF_CONFIG_FACTOR:
		return a->real == b->real;
	case PF_CONFIG_TEXT:
		return strcmp(a->text, b->text) == 0;
	case PF_CONFIG_LIST:
	case PF_CONFIG_NODES:
		if (a->item_count != b->item_count)
			return false;
		for (size_t i = 0; i < a->item_count; i++)
			if (strcmp(a->items[i], b->items[i]) != 0)
				return false;
		return true;
	default:
		return a->number == b->number;
	}
}

static void write_string(FILE *out, const char *text)
{
	fputc('"', out);
	for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
		if (*at == '"' || *at == '\\')
			fprintf(out, "\\%c", *at);
		else if (*at < 0x20 || *at == 0x7f)
			fprintf(out, "\\u%04x", *at);
		else
			fputc(*at, out);
	}
	fputc('"', out);
}

static void write_amount(FILE *out, const struct pf_config_key *key, uint64_t number)
{
	char text[UNITS_TEXT_MAX];

	if (key->zero && number == 0)
		write_string(out, key->zero);
	else if (is_size(key) && !key->unit_name && number % 1024 == 0 && number)
		fprintf(out, "\"%siB\"", units_place(number, text));
	else if (key->unit > 1 && number % key->unit) /* of a size never: its step is its unit */
		fprintf(out, "\"%llums\"", (unsigned long long)number);
	else
		fprintf(out, "%llu", (unsigned long long)(key->unit ? number / key->unit : number));
}

static void write_value(FILE *out, const struct pf_config_key *key, const struct pf_config_value *value)
{
	char word[PF_CONFIG_TEXT_MAX] = "";
	bool effective;

	switch (key->type) {
	case PF_CONFIG_BOOL:
		fputs(value->number ? "true" : "false", out);
		break;
	case PF_CONFIG_CHOICE:
		pf_config_choice(key, value->number, word, &effective);
		write_string(out, word);
		break;
	case PF_CONFIG_RATIO:
	case PF_CONFIG_FACTOR:
		fputs(pf_config_real(value->real, word), out);
		break;
	case PF_CONFIG_TEXT:
		write_string(out, value->text);
		break;
	case PF_CONFIG_LIST:
	case PF_CONFIG_NODES:
		fputc('[', out);
		for (size_t i = 0; i < value->item_count; i++) {
			fputs(i ? ", " : "", out);
			if (key->type == PF_CONFIG_NODES)
				fputs(value->items[i], out);
			else
				write_string(out, value->items[i]);
		}
		fputc(']', out);
		break;
	default:
		write_amount(out, key, value->number);
		break;
	}
}

char *pf_config_value_write(const struct pf_config_key *key, const struct pf_config_value *value)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	write_value(out, key, value);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}
