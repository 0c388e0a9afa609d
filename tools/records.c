// SPDX-License-Identifier: LGPL-2.1-or-later
/* records.c - records out of JSON lines and Debian control stanzas; the common part. */
#include "records.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *const records_format_names[] = {"csv", "jsonl", "deb822", NULL};

int records_text_add(struct records_text *text, const char *data, size_t size)
{
	if (size > text->capacity - text->size) {
		size_t capacity = text->capacity ? text->capacity : 1024;
		char *grown;

		while (capacity - text->size < size) {
			if (capacity > SIZE_MAX / 2)
				return -ENOMEM;
			capacity *= 2;
		}
		grown = realloc(text->data, capacity);
		if (!grown)
			return -ENOMEM;
		text->data = grown;
		text->capacity = capacity;
	}
	memcpy(text->data + text->size, data, size);
	text->size += size;
	return 0;
}

int records_fail(struct records *records, const char *format, ...)
{
	va_list ap;
	int n = snprintf(records->error, sizeof(records->error), "line %" PRIu64 ": ", records->line_number);

	va_start(ap, format);
	vsnprintf(records->error + n, sizeof(records->error) - (size_t)n, format, ap);
	va_end(ap);
	return -EINVAL;
}

int records_line(struct records *records, size_t *ret_size)
{
	ssize_t n;

	errno = 0;
	n = getline(&records->line, &records->line_capacity, records->stream);
	if (n < 0) {
		if (!ferror(records->stream) && errno != ENOMEM)
			return 0;
		snprintf(records->error, sizeof(records->error), "after line %" PRIu64 ": %s", records->line_number,
			 strerror(errno));
		return -EIO;
	}
	records->line_number++;
	if (n > RECORDS_LINE_MAX) {
		records_fail(records, "the line has %zd bytes: at most %u are taken", n, RECORDS_LINE_MAX);
		return -EINVAL;
	}
	if (n && records->line[n - 1] == '\n')
		n--;
	if (n && records->line[n - 1] == '\r')
		n--;
	records->line[n] = 0;
	*ret_size = (size_t)n;
	return 1;
}

/* ---- JSON lines ---- */

static int jsonl_next(struct records *records)
{
	json_error_t json_error;
	json_t *object, *key;
	char number[32];
	size_t size;
	int r;

	do {
		r = records_line(records, &size);
		if (r <= 0)
			return r;
	} while (!records->line[strspn(records->line, " \t")]);
	records->record_line = records->line_number;
	object = json_loadb(records->line, size, 0, &json_error);
	if (!object)
		return records_fail(records, "not JSON: %s", json_error.text);
	key = json_object_get(object, records->key_field);
	records->key.size = records->value.size = 0;
	if (json_is_string(key)) {
		r = records_text_add(&records->key, json_string_value(key), json_string_length(key));
	} else if (json_is_integer(key)) {
		int n = snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(key));

		r = records_text_add(&records->key, number, (size_t)n);
	} else {
		r = records_fail(records, "%s '%s': the key must be a string or a whole number",
				 key ? "wrong type of field" : "there is no field", records->key_field);
	}
	json_decref(object);
	if (!r)
		r = records_text_add(&records->value, records->line, size);
	return r ? r : 1;
}

/* ---- deb822 ---- */

static int deb822_take_key(struct records *records, size_t size)
{
	size_t name = strlen(records->key_field);
	const char *value;

	if (size <= name || records->line[name] != ':' || strncasecmp(records->line, records->key_field, name))
		return 0;
	if (records->key.size)
		return records_fail(records, "field '%s' comes twice in one stanza", records->key_field);
	value = records->line + name + 1;
	value += strspn(value, " \t");
	return records_text_add(&records->key, value, strlen(value));
}

static int deb822_next(struct records *records)
{
	size_t size;
	int r;

	records->key.size = records->value.size = 0;
	for (;;) {
		r = records_line(records, &size);
		if (r < 0)
			return r;
		if (r == 0 || !size) {
			if (records->value.size || r == 0)
				break;
			continue; /* several empty lines */
		}
		if (!records->value.size)
			records->record_line = records->line_number;
		if (records->line[0] == '#')
			continue;
		if (records->line[0] != ' ' && records->line[0] != '\t') {
			if (!strchr(records->line, ':'))
				return records_fail(records, "'%.40s' is no 'Field: value'", records->line);
			r = deb822_take_key(records, size);
			if (r)
				return r;
		} else if (!records->value.size) {
			return records_fail(records, "a continuation line without a field before it");
		}
		r = records_text_add(&records->value, records->line, size);
		if (!r)
			r = records_text_add(&records->value, "\n", 1);
		if (r)
			return r;
	}
	if (!records->value.size)
		return 0;
	if (!records->key.size)
		return records_fail(records, "the stanza from line %" PRIu64 " has no field '%s'", records->record_line,
				    records->key_field);
	return 1;
}

/* ---- common ---- */

int records_open(struct records *records, FILE *stream, enum records_format format, const char *key_field)
{
	memset(records, 0, sizeof(*records));
	records->stream = stream;
	records->format = format;
	records->key_field = key_field;
	if (!key_field && format != RECORDS_CSV)
		records->key_field = format == RECORDS_DEB822 ? "Package" : "key";
	return format == RECORDS_CSV ? records_csv_open(records) : 0;
}

int records_next(struct records *records)
{
	int r;

	switch (records->format) {
	case RECORDS_CSV:
		r = records_csv_next(records);
		break;
	case RECORDS_JSONL:
		r = jsonl_next(records);
		break;
	default:
		r = deb822_next(records);
		break;
	}
	if (r == -ENOMEM)
		snprintf(records->error, sizeof(records->error), "out of memory");
	return r;
}

void records_close(struct records *records)
{
	for (size_t i = 0; i < records->field_count; i++)
		free(records->fields[i]);
	free(records->fields);
	free(records->line);
	free(records->key.data);
	free(records->value.data);
	free(records->row.data);
	memset(records, 0, sizeof(*records));
}
