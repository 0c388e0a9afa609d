// SPDX-License-Identifier: LGPL-2.1-or-later
/* records_write.c - records as JSON lines and Debian stanzas, escaped forms, and what all formats share. */
#include "records_write.h"
#include "cli.h"
#include "records_write_csv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *usual_key(enum records_format format)
{
	return format == RECORDS_DEB822 ? "Package" : "key";
}

static int key_field_set(struct records_writer *writer, const char *name, size_t size)
{
	if (!writer->key_field)
		writer->key_field = strndup(name, size);
	return writer->key_field ? 0 : -ENOMEM;
}

int records_text_escape(struct records_text *out, const void *data, size_t size, bool one_line)
{
	const char *bytes = data;
	json_t *text = json_stringn(bytes, size); /* NULL: no UTF-8 */
	bool plain = text && !memchr(bytes, 0, size) && !(size >= 2 && bytes[0] == '\\' && bytes[1] == 'x');
	int r = 0;

	json_decref(text);
	if (plain && one_line && size)
		plain = !memchr(bytes, '\n', size) && !memchr(bytes, '\r', size) && !strchr(" \t", bytes[0]) &&
			!strchr(" \t", bytes[size - 1]);
	if (plain)
		return records_text_add(out, bytes, size);
	r = records_text_add(out, "\\x", 2);
	for (size_t i = 0; r == 0 && i < size; i++) {
		char digits[3];

		snprintf(digits, sizeof(digits), "%02x", (unsigned char)bytes[i]);
		r = records_text_add(out, digits, 2);
	}
	return r;
}

/* ---- JSON lines ---- */

/* The field of the object @value that is the key; the usual one first. */
static int jsonl_find_key(struct records_writer *writer, const struct pinfold_record *record)
{
	json_error_t ignored;
	json_t *object = records_json_load(record->value, record->value_size, &ignored), *member;
	const char *name, *found = NULL;
	char number[32];

	json_object_foreach(object, name, member) {
		const char *text = json_string_value(member);
		size_t size = json_string_length(member);

		if (json_is_integer(member)) {
			size = (size_t)snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT,
						json_integer_value(member));
			text = number;
		}
		if (text && size == record->key_size && !memcmp(text, record->key, size) &&
		    (!found || !strcmp(name, usual_key(RECORDS_JSONL))))
			found = name;
	}
	if (!found)
		found = usual_key(RECORDS_JSONL);
	if (key_field_set(writer, found, strlen(found)) < 0) {
		json_decref(object);
		return -ENOMEM;
	}
	json_decref(object);
	return 0;
}

/* Whether the value, as a line, would be read as this record. */
static int jsonl_is_plain(struct records_writer *writer, const struct pinfold_record *record)
{
	const char *value = record->value;
	struct records *reader = &writer->reader;
	int r;

	if (!record->value_size || record->value_size >= RECORDS_LINE_MAX ||
	    memchr(value, '\n', record->value_size) || value[record->value_size - 1] == '\r')
		return 0;
	reader->key_field = writer->key_field;
	r = records_jsonl_take(reader, value, record->value_size);
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	return reader->key.size == record->key_size && !memcmp(reader->key.data, record->key, record->key_size) &&
	       reader->value.size == record->value_size && !memcmp(reader->value.data, value, record->value_size);
}

static int jsonl_add(struct records_writer *writer, const struct pinfold_record *record, struct records_text *out)
{
	json_t *object;
	char *text;
	int r = 0;

	if (!writer->key_field)
		r = jsonl_find_key(writer, record);
	if (!r)
		r = jsonl_is_plain(writer, record);
	if (r < 0)
		return r;
	if (r) {
		writer->plain_count++;
		r = records_text_add(out, record->value, record->value_size);
		return r ? r : records_text_add(out, "\n", 1);
	}
	writer->escaped_count++;
	object = json_pack("{s:o, s:o}", RECORDS_KEY, cli_json_bytes(record->key, record->key_size), RECORDS_VALUE,
			   cli_json_bytes(record->value, record->value_size));
	text = object ? json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
	json_decref(object);
	if (!text)
		return -ENOMEM;
	r = records_text_add(out, text, strlen(text));
	free(text);
	return r ? r : records_text_add(out, "\n", 1);
}

/* ---- deb822 ---- */

/* The value of a field's line: behind the colon and what is blank. */
static const char *deb822_value(const char *line, size_t size, size_t *ret_name, size_t *ret_size)
{
	const char *end = line + size, *value = memchr(line, ':', size);

	if (!value)
		return NULL;
	*ret_name = (size_t)(value - line);
	for (value++; value < end && (*value == ' ' || *value == '\t'); value++)
		;
	*ret_size = (size_t)(end - value);
	return value;
}

/* The field of the stanza that is the key; the usual one first. */
static int deb822_find_key(struct records_writer *writer, const struct pinfold_record *record)
{
	const char *usual = usual_key(RECORDS_DEB822), *at = record->value, *end = at + record->value_size,
		   *found = usual;
	size_t found_size = strlen(usual), name_size, value_size;
	bool any = false;

	while (at < end) {
		const char *stop = memchr(at, '\n', (size_t)(end - at)), *value;

		if (!stop)
			break;
		value = deb822_value(at, (size_t)(stop - at), &name_size, &value_size);
		if (value && value_size == record->key_size && !memcmp(value, record->key, value_size) &&
		    (!any || (name_size == strlen(usual) && !strncasecmp(at, usual, name_size)))) {
			found = at;
			found_size = name_size;
			any = true;
		}
		at = stop + 1;
	}
	return key_field_set(writer, found, found_size);
}

/* Whether one line of a stanza is as it must be; counts fields that are the key. */
static bool deb822_line_fits(const struct records_writer *writer, const struct pinfold_record *record,
			     const char *line, size_t size, unsigned *keys)
{
	size_t name_size, value_size;
	const char *value;

	if (!size || line[0] == '#' || line[size - 1] == '\r' || size >= RECORDS_LINE_MAX)
		return false;
	if (line[0] == ' ' || line[0] == '\t')
		return line != record->value;
	value = deb822_value(line, size, &name_size, &value_size);
	if (!value || !name_size)
		return false;
	if (strlen(writer->key_field) != name_size || strncasecmp(line, writer->key_field, name_size) != 0)
		return true;
	*keys += 1;
	return value_size == record->key_size && !memcmp(value, record->key, value_size);
}

static bool deb822_is_plain(const struct records_writer *writer, const struct pinfold_record *record)
{
	const char *at = record->value, *end = at + record->value_size;
	unsigned keys = 0;

	if (!record->value_size || end[-1] != '\n' || memchr(at, 0, record->value_size) ||
	    !strncmp(at, RECORDS_DEB_KEY ":", sizeof(RECORDS_DEB_KEY)))
		return false;
	while (at < end) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));

		if (!deb822_line_fits(writer, record, at, (size_t)(stop - at), &keys))
			return false;
		at = stop + 1;
	}
	return keys == 1;
}

static int deb822_add(struct records_writer *writer, const struct pinfold_record *record, struct records_text *out)
{
	int r = writer->key_field ? 0 : deb822_find_key(writer, record);

	if (r)
		return r;
	if (deb822_is_plain(writer, record)) {
		writer->plain_count++;
		r = records_text_add(out, record->value, record->value_size);
		return r ? r : records_text_add(out, "\n", 1);
	}
	writer->escaped_count++;
	r = records_text_add(out, RECORDS_DEB_KEY ": ", sizeof(RECORDS_DEB_KEY) + 1);
	if (!r)
		r = records_text_escape(out, record->key, record->key_size, true);
	if (!r)
		r = records_text_add(out, "\n" RECORDS_DEB_VALUE ": ", sizeof(RECORDS_DEB_VALUE) + 2);
	if (!r)
		r = records_text_escape(out, record->value, record->value_size, true);
	return r ? r : records_text_add(out, "\n\n", 2);
}

/* ---- common ---- */

int records_writer_open(struct records_writer *writer, enum records_format format, const char *key_field)
{
	*writer = (struct records_writer){.format = format, .reader.format = format};
	return key_field ? key_field_set(writer, key_field, strlen(key_field)) : 0;
}

int records_writer_look(struct records_writer *writer, const struct pinfold_record *record)
{
	return writer->format == RECORDS_CSV ? records_csv_look(writer, record) : 1;
}

int records_writer_settle(struct records_writer *writer)
{
	return writer->format == RECORDS_CSV ? records_csv_settle(writer) : 0;
}

int records_writer_head(const struct records_writer *writer, struct records_text *out)
{
	return writer->format == RECORDS_CSV ? records_csv_head(writer, out) : 0;
}

int records_writer_add(struct records_writer *writer, const struct pinfold_record *record, struct records_text *out)
{
	switch (writer->format) {
	case RECORDS_CSV:
		return records_csv_add(writer, record, out);
	case RECORDS_JSONL:
		return jsonl_add(writer, record, out);
	default:
		return deb822_add(writer, record, out);
	}
}

void records_writer_columns_free(struct records_writer *writer)
{
	for (size_t i = 0; i < writer->column_count; i++)
		free(writer->columns[i]);
	free(writer->columns);
	free(writer->may_be_key);
	writer->columns = NULL;
	writer->may_be_key = NULL;
	writer->column_count = 0;
}

void records_writer_close(struct records_writer *writer)
{
	records_writer_columns_free(writer);
	free(writer->key_field);
	records_close(&writer->reader);
	writer->key_field = NULL;
}

json_t *records_writer_save(const struct records_writer *writer)
{
	json_t *columns = json_array();

	for (size_t i = 0; i < writer->column_count; i++)
		json_array_append_new(columns, json_string(writer->columns[i]));
	return json_pack("{s:s, s:s?, s:b, s:o}", "format", records_format_names[writer->format], "key",
			 writer->key_field, "raw", writer->raw, "columns", columns);
}

int records_writer_restore(struct records_writer *writer, const json_t *json)
{
	const char *format = json_string_value(json_object_get(json, "format"));
	const char *key = json_string_value(json_object_get(json, "key"));
	const json_t *columns = json_object_get(json, "columns");
	int r = 0;

	if (!format || strcmp(format, records_format_names[writer->format]) || !json_is_array(columns) ||
	    (writer->key_field && (!key || strcmp(key, writer->key_field))))
		return -EINVAL;
	if (key)
		r = key_field_set(writer, key, strlen(key));
	writer->raw = json_is_true(json_object_get(json, "raw"));
	for (size_t i = 0; r == 0 && i < json_array_size(columns); i++) {
		const char *name = json_string_value(json_array_get(columns, i));

		r = name ? records_csv_column_add(writer, name) : -EINVAL;
	}
	if (r == 0 && writer->format == RECORDS_CSV && !writer->raw && (!key || !writer->column_count))
		r = -EINVAL;
	return r;
}
