// SPDX-License-Identifier: LGPL-2.1-or-later
/* records_write_csv.c - records as rows: those of their JSON objects, if all are alike, or escaped. */
#include "records_write_csv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int records_csv_column_add(struct records_writer *writer, const char *name)
{
	char **columns = reallocarray(writer->columns, writer->column_count + 1, sizeof(*columns));
	bool *may_be_key;

	if (!columns)
		return -ENOMEM;
	writer->columns = columns;
	may_be_key = reallocarray(writer->may_be_key, writer->column_count + 1, sizeof(*may_be_key));
	if (!may_be_key)
		return -ENOMEM;
	writer->may_be_key = may_be_key;
	columns[writer->column_count] = strdup(name);
	if (!columns[writer->column_count])
		return -ENOMEM;
	may_be_key[writer->column_count++] = true;
	return 0;
}

static int columns_find(struct records_writer *writer, json_t *object)
{
	const char *name;
	json_t *member;
	int r = 0;

	json_object_foreach(object, name, member) {
		if (r == 0)
			r = records_csv_column_add(writer, name);
	}
	if (r == 0 && writer->column_count && !strncmp(writer->columns[0], "\xef\xbb\xbf", 3))
		return 1; /* a byte order mark would not be read as part of the name */
	if (r == 0 && writer->column_count == 2 && !strcmp(writer->columns[0], RECORDS_KEY) &&
	    !strcmp(writer->columns[1], RECORDS_VALUE))
		return 1;
	return r;
}

/* The object of a record that is such a row, with the columns; NULL: it is none. */
static json_t *row_object(const struct records_writer *writer, const struct pinfold_record *record)
{
	json_t *object = json_loadb(record->value, record->value_size, JSON_REJECT_DUPLICATES, NULL), *member;
	bool plain = json_is_object(object) && json_object_size(object) > 0;
	const char *name;
	size_t i = 0;
	char *again;

	if (plain && writer->column_count)
		plain = json_object_size(object) == writer->column_count;
	json_object_foreach(object, name, member) {
		if (plain)
			plain = json_is_string(member) &&
				(!writer->column_count || !strcmp(name, writer->columns[i]));
		i++;
	}
	again = plain ? json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
	plain = again && strlen(again) == record->value_size && !memcmp(again, record->value, record->value_size);
	free(again);
	if (plain)
		return object;
	json_decref(object);
	return NULL;
}

static bool is_key(const json_t *member, const struct pinfold_record *record)
{
	return json_string_length(member) == record->key_size &&
	       !memcmp(json_string_value(member), record->key, record->key_size);
}

int records_csv_look(struct records_writer *writer, const struct pinfold_record *record)
{
	json_t *object = row_object(writer, record), *member;
	const char *name;
	bool any = false;
	size_t i = 0;
	int r = 0;

	writer->seen = true;
	if (!object) {
		writer->raw = true;
		return 1;
	}
	if (!writer->column_count)
		r = columns_find(writer, object);
	json_object_foreach(object, name, member) {
		if (r)
			break;
		writer->may_be_key[i] = writer->may_be_key[i] && is_key(member, record);
		any |= writer->may_be_key[i] && (!writer->key_field || !strcmp(name, writer->key_field));
		i++;
	}
	json_decref(object);
	if (r < 0)
		return r;
	writer->raw = r > 0 || !any;
	return writer->raw;
}

int records_csv_settle(struct records_writer *writer)
{
	if (!writer->seen)
		writer->raw = true;
	if (writer->raw) {
		records_writer_columns_free(writer);
		return 0;
	}
	for (size_t i = 0; !writer->key_field && i < writer->column_count; i++) {
		if (!writer->may_be_key[i])
			continue;
		writer->key_field = strdup(writer->columns[i]);
		if (!writer->key_field)
			return -ENOMEM;
	}
	return 0;
}

/* ---- rows ---- */

static int field_add(struct records_text *out, const char *text, size_t size, bool last)
{
	bool quoted = memchr(text, '"', size) || memchr(text, ',', size) || memchr(text, '\n', size) ||
		      memchr(text, '\r', size);
	int r = quoted ? records_text_add(out, "\"", 1) : 0;

	for (size_t from = 0; r == 0 && from < size;) {
		const char *quote = memchr(text + from, '"', size - from);
		size_t end = quote ? (size_t)(quote - text) + 1 : size;

		r = records_text_add(out, text + from, end - from);
		if (r == 0 && quote)
			r = records_text_add(out, "\"", 1);
		from = end;
	}
	if (r == 0 && quoted)
		r = records_text_add(out, "\"", 1);
	return r ? r : records_text_add(out, last ? "\n" : ",", 1);
}

int records_csv_head(const struct records_writer *writer, struct records_text *out)
{
	int r = 0;

	if (writer->raw)
		return records_text_add(out, RECORDS_KEY "," RECORDS_VALUE "\n",
					sizeof(RECORDS_KEY "," RECORDS_VALUE "\n") - 1);
	for (size_t i = 0; r == 0 && i < writer->column_count; i++)
		r = field_add(out, writer->columns[i], strlen(writer->columns[i]), i + 1 == writer->column_count);
	return r;
}

static int raw_add(const struct pinfold_record *record, struct records_text *out)
{
	struct records_text text = {0};
	int r = records_text_escape(&text, record->key, record->key_size, false);

	if (!r)
		r = field_add(out, text.data, text.size, false);
	text.size = 0;
	if (!r)
		r = records_text_escape(&text, record->value, record->value_size, false);
	if (!r)
		r = field_add(out, text.data, text.size, true);
	free(text.data);
	return r;
}

int records_csv_add(struct records_writer *writer, const struct pinfold_record *record, struct records_text *out)
{
	json_t *object, *member;
	const char *name;
	size_t i = 0;
	int r = 0;

	if (writer->raw) {
		writer->escaped_count++;
		return raw_add(record, out);
	}
	object = row_object(writer, record);
	if (!object || !is_key(json_object_get(object, writer->key_field), record)) {
		json_decref(object);
		return -EINVAL;
	}
	writer->plain_count++;
	json_object_foreach(object, name, member) {
		if (r == 0)
			r = field_add(out, json_string_value(member), json_string_length(member),
				      ++i == writer->column_count);
	}
	json_decref(object);
	return r;
}
