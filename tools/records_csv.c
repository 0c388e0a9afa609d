// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * records_csv.c - CSV as in RFC 4180: quoted fields may hold commas, doubled
 * quotes and line ends.
 *
 * A row is taken apart into records->row, each field ended by a NUL, so that
 * one buffer serves all rows.
 */
#include "records.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* The next line end inside quotes belongs to the field: goes on with the next line. */
static int continue_quoted(struct records *records, size_t field, const char **ret_p)
{
	size_t size;
	int r = records->had_cr ? records_text_add(&records->row, "\r\n", 2) : records_text_add(&records->row, "\n", 1);

	if (r)
		return r;
	if (records->row.size > RECORDS_LINE_MAX)
		return records_fail(records, 1, "a quoted field does not end within %u bytes", RECORDS_LINE_MAX);
	r = records_line(records, &size);
	if (r == 0)
		return records_fail_at(records, &records->places[field],
				       "the quote that begins here is not closed");
	*ret_p = records->line;
	return r < 0 ? r : 0;
}

static int read_quoted(struct records *records, size_t field, const char **p)
{
	int r;

	for (;;) {
		size_t n = strcspn(*p, "\"");

		r = records_text_add(&records->row, *p, n);
		if (r)
			return r;
		*p += n;
		if (!**p) {
			r = continue_quoted(records, field, p);
			if (r)
				return r;
		} else if ((*p)[1] == '"') {
			r = records_text_add(&records->row, "\"", 1);
			if (r)
				return r;
			*p += 2;
		} else {
			(*p)++;
			break;
		}
	}
	if (**p && **p != ',')
		return records_fail(records, (uint64_t)(*p - records->line) + 1,
				    "'%.20s' follows a closing quote: a comma must", *p);
	return 0;
}

/* Field @index of the row begins at @p of the line. */
static int place_note(struct records *records, size_t index, const char *p)
{
	if (index == records->place_capacity) {
		size_t capacity = index ? 2 * index : 16;
		struct records_place *grown = reallocarray(records->places, capacity, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		records->places = grown;
		records->place_capacity = capacity;
	}
	records->places[index] = (struct records_place){records->line_number, (uint64_t)(p - records->line) + 1};
	return 0;
}

/* 1 and the fields in records->row; 0: end. */
static int read_row(struct records *records, size_t *ret_count)
{
	const char *p;
	size_t size, count = 0;
	int r;

	do {
		r = records_line(records, &size);
		if (r <= 0)
			return r;
	} while (!size);
	records->record_line = records->line_number;
	records->row.size = 0;
	for (p = records->line;; p++) {
		r = place_note(records, count, p);
		if (r < 0)
			return r;
		if (*p == '"') {
			p++;
			r = read_quoted(records, count, &p);
		} else {
			size_t n = strcspn(p, ",");

			r = records_text_add(&records->row, p, n);
			p += n;
		}
		if (!r)
			r = records_text_add(&records->row, "", 1);
		if (r < 0)
			return r;
		count++;
		if (!*p)
			break;
	}
	*ret_count = count;
	return 1;
}

static int find_key(struct records *records)
{
	for (size_t i = 0; records->key_field && i < records->field_count; i++) {
		if (!strcmp(records->fields[i], records->key_field)) {
			records->key_index = i;
			return 0;
		}
	}
	if (!records->key_field)
		return 0;
	return records_fail(records, 1, "there is no field '%s' in the head line", records->key_field);
}

/* Two fields of one name would be one in the value, and the first of them lost. */
static int names_check(struct records *records)
{
	json_t *numbers = json_object(); /* by name */
	int r = 0;

	for (size_t i = 0; r == 0 && i < records->field_count; i++) {
		const char *name = records->fields[i];
		const json_t *before = json_object_get(numbers, name);

		if (before)
			r = records_fail_at(records, &records->places[i],
					    "field %zu of the head line has the name of field %d: '%s'", i + 1,
					    (int)json_integer_value(before), name);
		else if (json_object_set_new_nocheck(numbers, name, json_integer((json_int_t)i + 1)))
			r = -ENOMEM;
	}
	json_decref(numbers);
	return r;
}

int records_csv_open(struct records *records)
{
	const char *p;
	size_t count = 0;
	int r = read_row(records, &count);

	if (r < 0)
		return r;
	if (r == 0)
		return records_fail(records, 1, "there is no head line that names the fields");
	records->fields = calloc(count, sizeof(*records->fields));
	if (!records->fields)
		return -ENOMEM;
	records->field_count = 0;
	p = records->row.data;
	/* A byte order mark is not part of the first name. */
	if (!strncmp(p, "\xef\xbb\xbf", 3))
		p += 3;
	for (size_t i = 0; i < count; i++) {
		records->fields[i] = strdup(p);
		if (!records->fields[i])
			return -ENOMEM;
		records->field_count++;
		p += strlen(p) + 1;
	}
	r = names_check(records);
	if (r)
		return r;
	records->raw = count == 2 && !strcmp(records->fields[0], RECORDS_KEY) &&
		       !strcmp(records->fields[1], RECORDS_VALUE);
	return records->raw ? 0 : find_key(records);
}

/* A row of the escaped form. */
static int raw_take(struct records *records)
{
	const char *key = records->row.data, *value = key + strlen(key) + 1;
	int r = records_unescape(&records->key, key, strlen(key)), bad = 0;

	if (!r) {
		bad = 1;
		r = records_unescape(&records->value, value, strlen(value));
	}
	if (r == -EINVAL)
		return records_fail_at(records, &records->places[bad],
				       "what follows '\\x' must be pairs of hexadecimal digits");
	return r ? r : 1;
}

int records_csv_next(struct records *records)
{
	size_t count = 0;
	json_t *object;
	const char *p;
	char *text;
	int r = read_row(records, &count);

	if (r <= 0)
		return r;
	if (count != records->field_count)
		return records_fail_at(records, &records->places[0], "%zu fields, but the head line names %zu", count,
				       records->field_count);
	records->key.size = records->value.size = 0;
	if (records->raw)
		return raw_take(records);
	object = json_object();
	p = records->row.data;
	for (size_t i = 0; i < count; p += strlen(p) + 1, i++) {
		if (json_object_set_new(object, records->fields[i], json_string(p))) {
			json_decref(object);
			return records_fail_at(records, &records->places[i], "field '%s' is not UTF-8",
					       records->fields[i]);
		}
	}
	p = records->row.data;
	for (size_t i = 0; i < records->key_index; i++)
		p += strlen(p) + 1;
	r = records_text_add(&records->key, p, strlen(p));
	text = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(object);
	if (!text)
		return -ENOMEM;
	if (r >= 0)
		r = records_text_add(&records->value, text, strlen(text));
	free(text);
	return r < 0 ? r : 1;
}
