/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * words.c - what is said of keys and values: what was found, what is allowed, what a key is called.
 */
#include "config/internal.h"
#include "config/units.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Appends to @buf of PF_CONFIG_TEXT_MAX bytes. */
static void add(char *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(char *buf, const char *format, ...)
{
	size_t used = strlen(buf);
	va_list args;

	va_start(args, format);
	vsnprintf(buf + used, PF_CONFIG_TEXT_MAX - used, format, args);
	va_end(args);
}

const char *pf_config_path(const struct pf_config_key *key, char *buf)
{
	snprintf(buf, PF_CONFIG_TEXT_MAX, "%s.%s", key->section, key->name);
	return buf;
}

const char *pf_config_variable(const struct pf_config_key *key, char *buf)
{
	snprintf(buf, PF_CONFIG_TEXT_MAX, "PINFOLD_%s_%s", key->section, key->name);
	for (char *at = buf; *at; at++)
		*at = *at == '.' ? '_' : (char)toupper((unsigned char)*at);
	return buf;
}

const char *pf_config_real(double value, char *buf)
{
	snprintf(buf, PF_CONFIG_TEXT_MAX, "%.15g", value);
	if (strtod(buf, NULL) != value)
		snprintf(buf, PF_CONFIG_TEXT_MAX, "%.17g", value);
	if (strspn(buf, "-0123456789") == strlen(buf))
		add(buf, ".0"); /* TOML tells whole numbers and others apart */
	return buf;
}

static const char *show(const char *text, size_t size, const char *quote, char *buf)
{
	const size_t shown = size < 60 ? size : 60;
	char *at = stpcpy(buf, quote), *begin = at;

	for (size_t i = 0; i < shown; i++)
		*at++ = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i];
	/* not in the middle of a character */
	while (shown < size && at > begin && ((unsigned char)at[-1] & 0x80))
		at--;
	snprintf(at, PF_CONFIG_TEXT_MAX - (size_t)(at - buf), "%s%s", quote, shown < size ? "..." : "");
	return buf;
}

const char *pf_config_quote(const char *text, size_t size, char *buf)
{
	return show(text, size, "\"", buf);
}

const char *pf_config_plain(const char *text, size_t size, char *buf)
{
	return show(text, size, "", buf);
}

const char *pf_config_item_words(const struct pf_toml_item *item, char *buf)
{
	switch (item->type) {
	case PF_TOML_TABLE:
		return strcpy(buf, "a table");
	case PF_TOML_ARRAY:
		snprintf(buf, PF_CONFIG_TEXT_MAX, "a list of %zu", item->item_count);
		return buf;
	case PF_TOML_STRING:
		return pf_config_quote(item->text, item->text_size, buf);
	case PF_TOML_INTEGER:
		snprintf(buf, PF_CONFIG_TEXT_MAX, "%lld", (long long)item->integer);
		return buf;
	case PF_TOML_REAL:
		return pf_config_real(item->real, buf);
	case PF_TOML_BOOL:
		return strcpy(buf, item->integer ? "true" : "false");
	default:
		return strcpy(buf, "a date or time");
	}
}

static void allow_choices(const struct pf_config_key *key, char *buf)
{
	char choice[PF_CONFIG_TEXT_MAX], next[PF_CONFIG_TEXT_MAX];
	bool effective;

	for (size_t i = 0; pf_config_choice(key, i, choice, &effective); i++)
		add(buf, "%s\"%s\"",
		    i == 0                                           ? ""
		    : pf_config_choice(key, i + 1, next, &effective) ? ", "
								     : " or ",
		    choice);
}

/* The first amount with a unit that @key takes. */
static const char *example_of(const struct pf_config_key *key)
{
	static const char *const sizes[] = { "64GB", "64MB", "64KB" };
	static const char *const times[] = { "30s", "30ms", "30min" };
	const char *const *examples = key->type == PF_CONFIG_SIZE ? sizes : times;
	struct pf_config_value value;

	for (size_t i = 0; i < 3; i++)
		if (pf_config_value_parse(key, examples[i], &value) == 0)
			return examples[i];
	return NULL; /* a key that takes none of them is found by tests/unit/config */
}

/* "1 GiB to 16 TiB, as a number of GiB or with a unit, such as "64GB"" */
static void allow_amount(const struct pf_config_key *key, char *buf)
{
	const bool size = key->type == PF_CONFIG_SIZE;
	char low[UNITS_TEXT_MAX], high[UNITS_TEXT_MAX];
	const char *example = example_of(key);

	add(buf, "%s%s to %s", key->power_of_two ? "a power of two, " : "",
	    size ? units_size((uint64_t)key->min, low) : units_ms((uint64_t)key->min, low),
	    size ? units_size((uint64_t)key->max, high) : units_ms((uint64_t)key->max, high));
	if (key->step > 1)
		add(buf, ", in whole %s", key->unit_name);
	add(buf, ", as a number%s%s or with a unit",
	    key->unit_name ? " of "
	    : size         ? " of bytes"
			   : "",
	    key->unit_name ? key->unit_name : "");
	if (example)
		add(buf, ", such as \"%s\"", example);
}

const char *pf_config_allowed(const struct pf_config_key *key, char *buf)
{
	char low[PF_CONFIG_TEXT_MAX], high[PF_CONFIG_TEXT_MAX];

	buf[0] = '\0';
	switch (key->type) {
	case PF_CONFIG_BOOL:
		add(buf, "%s", key->min > 0 ? "true" : "true or false");
		break;
	case PF_CONFIG_CHOICE:
		allow_choices(key, buf);
		break;
	case PF_CONFIG_SIZE:
	case PF_CONFIG_TIME:
		allow_amount(key, buf);
		break;
	case PF_CONFIG_COUNT:
		add(buf, "%.0f to %.0f, a whole number", key->min, key->max);
		break;
	case PF_CONFIG_PERCENT:
		add(buf, "%.0f to %.0f, in whole percent", key->min, key->max);
		break;
	case PF_CONFIG_RATIO:
		add(buf, "%s to %s, or percent, such as \"85%%\"", pf_config_real(key->min, low),
		    pf_config_real(key->max, high));
		break;
	case PF_CONFIG_FACTOR:
		add(buf, "%s to %s", pf_config_real(key->min, low), pf_config_real(key->max, high));
		break;
	case PF_CONFIG_TEXT:
		add(buf, "a text of at most %d bytes of UTF-8", PF_CONFIG_STRING_MAX);
		break;
	case PF_CONFIG_LIST:
		add(buf, "a list of at most %d texts, none of them empty, such as [\"a\", \"b\"]",
		    PF_CONFIG_ITEMS_MAX);
		break;
	case PF_CONFIG_NODES:
		add(buf, "a list of at most %d whole numbers, %.0f to %.0f, such as [0, 1]", PF_CONFIG_ITEMS_MAX,
		    key->min, key->max);
		break;
	}
	if (key->zero)
		add(buf, ", or \"%s\"", key->zero);
	return buf;
}

const char *pf_config_origin_text(const struct pf_config_origin *origin, char *buf)
{
	switch (origin->layer) {
	case PF_CONFIG_PROFILE:
		snprintf(buf, PF_CONFIG_TEXT_MAX, "profile %s", origin->name);
		break;
	case PF_CONFIG_FILE:
		snprintf(buf, PF_CONFIG_TEXT_MAX, "%.200s:%u", origin->name, origin->line);
		break;
	case PF_CONFIG_ENVIRONMENT:
	case PF_CONFIG_COMMAND_LINE:
		snprintf(buf, PF_CONFIG_TEXT_MAX, "%s", origin->name);
		break;
	default:
		strcpy(buf, "built-in");
	}
	return buf;
}
