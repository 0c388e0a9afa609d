// SPDX-License-Identifier: LGPL-2.1-or-later
/* records.c - records out of JSON lines and Debian control stanzas; the common part. */
#include "records.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LINE_CAPACITY 512u
#define LINE_HASH_FACTOR 0x9e3779b97f4a7c15ull

const char *const records_format_names[] = {"csv", "jsonl", "deb822", NULL};

int records_format_guess(const char *path)
{
	const char *base = strrchr(path, '/');

	base = base ? base + 1 : path;
	if (strstr(base, ".csv"))
		return RECORDS_CSV;
	if (strstr(base, ".jsonl") || strstr(base, ".ndjson"))
		return RECORDS_JSONL;
	if (strstr(base, "Packages") || strstr(base, "Sources") || !strcmp(base, "status") || strstr(base, ".deb822"))
		return RECORDS_DEB822;
	return -1;
}

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
	if (size) /* of nothing the address may be NULL */
		memcpy(text->data + text->size, data, size);
	text->size += size;
	return 0;
}

static int fail(struct records *records, uint64_t line, uint64_t column, const char *format, va_list ap)
{
	int n = snprintf(records->error, sizeof(records->error), "%" PRIu64 ":%" PRIu64 ": ", line, column);

	vsnprintf(records->error + n, sizeof(records->error) - (size_t)n, format, ap);
	return -EINVAL;
}

int records_fail(struct records *records, uint64_t column, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fail(records, records->line_number, column, format, ap);
	va_end(ap);
	return -EINVAL;
}

int records_fail_at(struct records *records, const struct records_place *place, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fail(records, place->line, place->column, format, ap);
	va_end(ap);
	return -EINVAL;
}

static int line_grow(struct records *records)
{
	size_t capacity = records->line_capacity ? 2 * records->line_capacity : LINE_CAPACITY;
	char *grown;

	if (capacity > RECORDS_LINE_MAX + 2)
		capacity = RECORDS_LINE_MAX + 2;
	grown = realloc(records->line, capacity);
	if (!grown)
		return -ENOMEM;
	records->line = grown;
	records->line_capacity = capacity;
	return 0;
}

/* getline(), but no more than RECORDS_LINE_MAX + 1 bytes of it. Behind them is room for a NUL. */
static int line_read(struct records *records, size_t *ret_size)
{
	size_t size = 0;
	int c = 0;

	while (c != '\n' && size <= RECORDS_LINE_MAX && (c = getc_unlocked(records->stream)) != EOF) {
		if (size + 1 >= records->line_capacity && line_grow(records))
			return -ENOMEM;
		records->line[size++] = (char)c;
	}
	*ret_size = size;
	return c == EOF && ferror(records->stream) ? -EIO : 0;
}

/* Of @hash and a line; any change of one word of one line changes it, whatever comes behind. */
static uint64_t line_hash(uint64_t hash, const char *line, size_t size)
{
	uint64_t word = size;

	hash = (hash ^ word) * LINE_HASH_FACTOR;
	for (size_t at = 0; at < size; at += sizeof(word)) {
		size_t part = size - at < sizeof(word) ? size - at : sizeof(word);

		word = 0;
		memcpy(&word, line + at, part);
		hash = (hash ^ hash >> 32 ^ word) * LINE_HASH_FACTOR;
	}
	return hash;
}

int records_line(struct records *records, size_t *ret_size)
{
	const char *nul;
	size_t n;
	int r;

	errno = 0;
	r = line_read(records, &n);
	if (r < 0) {
		snprintf(records->error, sizeof(records->error), " after line %" PRIu64 ": %s", records->line_number,
			 strerror(r == -ENOMEM ? ENOMEM : errno));
		return -EIO;
	}
	if (!n)
		return 0;
	records->line_number++;
	records->offset += (uint64_t)n;
	if (n > RECORDS_LINE_MAX)
		return records_fail(records, 1, "the line is too long: at most %u bytes are taken", RECORDS_LINE_MAX);
	records->hash = line_hash(records->hash, records->line, n);
	if (records->line[n - 1] == '\n')
		n--;
	records->had_cr = n && records->line[n - 1] == '\r';
	if (records->had_cr)
		n--;
	records->line[n] = 0;
	nul = records->format == RECORDS_JSONL ? NULL : memchr(records->line, 0, n);
	if (nul)
		return records_fail(records, (uint64_t)(nul - records->line) + 1, "a NUL byte: this is no text");
	*ret_size = n;
	return 1;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 :
	       c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int hex_add(struct records_text *bytes, const char *digits, size_t size)
{
	int r = size % 2 ? -EINVAL : 0;

	for (size_t i = 0; r == 0 && i < size; i += 2) {
		int high = hex_digit(digits[i]), low = hex_digit(digits[i + 1]);
		char byte = (char)(high << 4 | low);

		r = high < 0 || low < 0 ? -EINVAL : records_text_add(bytes, &byte, 1);
	}
	return r;
}

int records_unescape(struct records_text *bytes, const char *text, size_t size)
{
	if (size >= 2 && text[0] == '\\' && text[1] == 'x')
		return hex_add(bytes, text + 2, size - 2);
	return records_text_add(bytes, text, size);
}

/* ---- JSON lines ---- */

/* Bytes in the escaped form: a string, or {"hex": digits}. */
static int jsonl_bytes(struct records *records, struct records_text *bytes, const json_t *json, const char *name)
{
	const json_t *hex = json_object_size(json) == 1 ? json_object_get(json, "hex") : NULL;
	int r = -EINVAL;

	if (json_is_string(json))
		r = records_text_add(bytes, json_string_value(json), json_string_length(json));
	else if (json_is_string(hex))
		r = hex_add(bytes, json_string_value(hex), json_string_length(hex));
	return r == -EINVAL ? records_fail(records, 1, "'%s' must be a string or {\"hex\": \"...\"}", name) : r;
}

static int jsonl_key(struct records *records, const json_t *key)
{
	char number[32];
	int n;

	if (json_is_string(key))
		return records_text_add(&records->key, json_string_value(key), json_string_length(key));
	if (!json_is_integer(key))
		return records_fail(records, 1,
				    "%s '%s': the key must be a string or a whole number, from -2^63 to 2^63-1",
				    key ? "wrong type of field" : "there is no field", records->key_field);
	n = snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(key));
	return records_text_add(&records->key, number, (size_t)n);
}

int records_jsonl_take(struct records *records, const char *line, size_t size)
{
	const json_t *key, *value;
	json_error_t json_error;
	json_t *object;
	int r;

	object = records_json_load(line, size, &json_error);
	if (!object)
		return records_fail(records, json_error.column > 0 ? (uint64_t)json_error.column : 1, "not JSON: %s",
				    json_error.text);
	records->key.size = records->value.size = 0;
	key = json_object_get(object, RECORDS_KEY);
	value = json_object_get(object, RECORDS_VALUE);
	if (key && value && json_object_size(object) == 2) {
		r = jsonl_bytes(records, &records->key, key, RECORDS_KEY);
		if (!r)
			r = jsonl_bytes(records, &records->value, value, RECORDS_VALUE);
	} else {
		r = jsonl_key(records, json_object_get(object, records->key_field));
		if (!r)
			r = records_text_add(&records->value, line, size);
	}
	json_decref(object);
	return r ? r : 1;
}

static int jsonl_next(struct records *records)
{
	size_t size = 0;
	int r;

	do {
		r = records_line(records, &size);
		if (r <= 0)
			return r;
	} while (!records->line[strspn(records->line, " \t")] && !memchr(records->line, 0, size));
	records->record_line = records->line_number;
	return records_jsonl_take(records, records->line, size);
}

/* ---- deb822 ---- */

static int deb822_take_key(struct records *records, size_t size)
{
	size_t name = strlen(records->key_field);
	const char *value;

	if (size <= name || records->line[name] != ':' || strncasecmp(records->line, records->key_field, name))
		return 0;
	if (records->key.size)
		return records_fail(records, 1, "field '%s' comes twice in one stanza", records->key_field);
	value = records->line + name + 1;
	value += strspn(value, " \t");
	return records_text_add(&records->key, value, strlen(value));
}

/* Takes line "NAME: VALUE" of @text. The rest of @text, or NULL. */
static const char *deb822_escaped(const char *text, const char *name, const char **ret_value, size_t *ret_size)
{
	size_t length = strlen(name);
	const char *end = strchr(text, '\n');

	if (strncmp(text, name, length) || text[length] != ':' || !end)
		return NULL;
	text += length + 1;
	text += *text == ' ';
	*ret_value = text;
	*ret_size = (size_t)(end - text);
	return end + 1;
}

/* A stanza that is the escaped form of a record: 1. Else 0. */
static int deb822_unescape(struct records *records)
{
	const struct records_place place = {records->record_line, 1};
	const char *key, *value, *rest;
	struct records_text bytes = {0};
	size_t key_size, value_size;
	int r = records_text_add(&records->value, "", 1);

	if (r)
		return r;
	records->value.size--;
	rest = deb822_escaped(records->value.data, RECORDS_DEB_KEY, &key, &key_size);
	rest = rest ? deb822_escaped(rest, RECORDS_DEB_VALUE, &value, &value_size) : NULL;
	if (!rest || *rest)
		return 0;
	records->key.size = 0;
	r = records_unescape(&records->key, key, key_size);
	if (!r)
		r = records_unescape(&bytes, value, value_size);
	records->value.size = 0;
	if (!r)
		r = records_text_add(&records->value, bytes.data, bytes.size);
	free(bytes.data);
	if (r == -EINVAL)
		return records_fail_at(records, &place, "what follows '\\x' must be pairs of hexadecimal digits");
	return r ? r : 1;
}

/* One line of a stanza. */
static int deb822_take(struct records *records, size_t size)
{
	int r;

	if (records->line[0] != ' ' && records->line[0] != '\t') {
		if (!strchr(records->line, ':'))
			return records_fail(records, 1, "'%.40s' is no 'Field: value'", records->line);
		r = deb822_take_key(records, size);
		if (r)
			return r;
	} else if (!records->value.size) {
		return records_fail(records, 1, "a continuation line without a field before it");
	}
	if (records->value.size > RECORDS_LINE_MAX)
		return 0; /* no table takes it: that it is too large is known already */
	r = records_text_add(&records->value, records->line, size);
	return r ? r : records_text_add(&records->value, "\n", 1);
}

static int deb822_next(struct records *records)
{
	struct records_place place = {0, 1};
	size_t size = 0;
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
		r = deb822_take(records, size);
		if (r)
			return r;
	}
	if (!records->value.size)
		return 0;
	r = deb822_unescape(records);
	if (r)
		return r;
	place.line = records->record_line;
	if (!records->key.size)
		return records_fail_at(records, &place, "the stanza has no field '%s'", records->key_field);
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

int records_skip(struct records *records, uint64_t line_count)
{
	size_t size;

	for (; line_count; line_count--) {
		int r = records_line(records, &size);

		if (r <= 0)
			return r;
	}
	return 1;
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
		snprintf(records->error, sizeof(records->error), " out of memory");
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
	free(records->places);
	memset(records, 0, sizeof(*records));
}
