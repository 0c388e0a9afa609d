// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * records_json.c - JSON objects of which the text is kept, so that their numbers may be of any size.
 *
 * The JSON library refuses numbers that no C type of its own can hold. They are valid, and the only one that is looked
 * at is the key: where there is one, the text is read again with null in the place of such numbers.
 */
#include "records.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A minus and 19 digits. */
#define INTEGER_MAX 20

static size_t digits(const char *text, const char *end)
{
	size_t n = 0;

	while (text + n < end && text[n] >= '0' && text[n] <= '9')
		n++;
	return n;
}

/* Length of the JSON number at @text; 0: it is none. *ret_whole: it has neither fraction nor exponent. */
static size_t number_size(const char *text, const char *end, bool *ret_whole)
{
	const char *p = text + (*text == '-');
	size_t n = digits(p, end);

	*ret_whole = true;
	if (!n || (*p == '0' && n > 1))
		return 0;
	p += n;
	if (p < end && *p == '.') {
		n = digits(p + 1, end);
		if (!n)
			return 0;
		p += 1 + n;
		*ret_whole = false;
	}
	if (p < end && (*p == 'e' || *p == 'E')) {
		const char *exponent = p + 1;

		exponent += exponent < end && (*exponent == '+' || *exponent == '-');
		n = digits(exponent, end);
		if (!n)
			return 0;
		p = exponent + n;
		*ret_whole = false;
	}
	return (size_t)(p - text);
}

static bool integer_fits(const char *text, size_t size)
{
	char number[INTEGER_MAX + 1];

	if (size > INTEGER_MAX)
		return false;
	memcpy(number, text, size);
	number[size] = 0;
	errno = 0;
	(void)strtoll(number, NULL, 10);
	return errno == 0;
}

/* What is no key (fractions) or cannot be held becomes null; what is no number stays, to be refused. */
static void numbers_replace(char *text, size_t size)
{
	char *end = text + size;
	bool quoted = false, whole;

	for (char *p = text; p < end; p++) {
		size_t n;

		if (*p == '"')
			quoted = !quoted;
		else if (quoted && *p == '\\')
			p++;
		if (quoted || (*p != '-' && (*p < '0' || *p > '9')))
			continue;
		n = number_size(p, end, &whole);
		if (n >= 4 && !(whole && integer_fits(p, n))) {
			memset(p, ' ', n);
			memcpy(p, "null", 4);
		}
		p += n ? n - 1 : 0;
	}
}

json_t *records_json_load(const char *text, size_t size, json_error_t *ret_error)
{
	json_t *json = json_loadb(text, size, JSON_ALLOW_NUL, ret_error);
	char *copy;

	if (json || json_error_code(ret_error) != json_error_numeric_overflow)
		return json;
	copy = malloc(size);
	if (!copy) {
		snprintf(ret_error->text, JSON_ERROR_TEXT_LENGTH, "out of memory");
		return NULL;
	}
	memcpy(copy, text, size);
	numbers_replace(copy, size);
	json = json_loadb(copy, size, JSON_ALLOW_NUL, ret_error);
	free(copy);
	return json;
}
