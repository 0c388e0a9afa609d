/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * records_write.h - records as text, such that reading it (records.h) gives the same bytes.
 *
 * A record whose value is what an import of the format makes (a csv row as a JSON object, a JSON line, a stanza, with
 * the key in one of its fields) is written as that was; any other in the escaped form. The rows of a csv file are all
 * of one kind: plain ones only if all records are such rows with the same fields.
 */
#ifndef PF_TOOLS_RECORDS_WRITE_H
#define PF_TOOLS_RECORDS_WRITE_H

#include "records.h"

#include <jansson.h>
#include <pinfold.h>

struct records_writer {
	enum records_format format;
	char *key_field;      /* NULL: not known yet */
	bool seen, raw;       /* csv: a record was looked at; the rows are escaped */
	char **columns;       /* csv, plain */
	bool *may_be_key;     /* of each column: it was the key of all records looked at */
	size_t column_count;
	uint64_t plain_count, escaped_count; /* records written so far, in this process */
	struct records reader; /* to see what a line would be read as */
};

/** @key_field NULL: found in the first record that is written or looked at. 0 or -ENOMEM. */
int records_writer_open(struct records_writer *writer, enum records_format format, const char *key_field);
/** csv: looks at a record before anything is written. 0, -ENOMEM, or 1: no need to go on looking, it will be escaped.
 */
int records_writer_look(struct records_writer *writer, const struct pinfold_record *record);
/** csv: all was looked at. */
int records_writer_settle(struct records_writer *writer);
/** Appends the head line, if the format has one. */
int records_writer_head(const struct records_writer *writer, struct records_text *out);
/** Appends a record. -EINVAL: csv, a record that does not fit the rows: it came after the look. */
int records_writer_add(struct records_writer *writer, const struct pinfold_record *record, struct records_text *out);
void records_writer_close(struct records_writer *writer);

/** As JSON, for records_writer_restore(). NULL: no memory. */
json_t *records_writer_save(const struct records_writer *writer);
/** -EINVAL: @json is not of a writer of this format. */
int records_writer_restore(struct records_writer *writer, const json_t *json);

#endif
