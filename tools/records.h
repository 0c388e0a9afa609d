/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * records.h - records out of text: CSV, JSON lines, Debian control stanzas.
 *
 * csv:    a head line names the fields; the key is one field, the value is the
 *         whole row as a JSON object. RFC 4180 quoting.
 * jsonl:  one JSON object per line; the key is one of its fields, the value
 *         is the line.
 * deb822: stanzas of "Field: value" lines divided by empty lines; the key is
 *         one field, the value is the stanza.
 */
#ifndef PF_TOOLS_RECORDS_H
#define PF_TOOLS_RECORDS_H

#include <stdint.h>
#include <stdio.h>

enum records_format { RECORDS_CSV, RECORDS_JSONL, RECORDS_DEB822 };
extern const char *const records_format_names[]; /* NULL-terminated, by enum */

/** Longest line that is taken; a longer one is an error, not memory. */
#define RECORDS_LINE_MAX (1u << 20)

/** A growing text. */
struct records_text {
	char *data;
	size_t size, capacity;
};

struct records {
	FILE *stream;
	enum records_format format;
	const char *key_field;
	uint64_t line_number;  /* of the last line read */
	uint64_t record_line;  /* where the last record began */
	char *line;            /* getline's */
	size_t line_capacity;
	struct records_text key, value, row;
	char **fields;         /* csv: the head's names */
	size_t field_count, key_index;
	char error[256];
};

/** @key_field NULL: the format's usual one ("Package" for deb822, the first field for csv, "key" for jsonl). */
int records_open(struct records *records, FILE *stream, enum records_format format, const char *key_field);
/** 1: records->key and ->value hold a record; 0: end; -EINVAL: records->error says where and what; -EIO. */
int records_next(struct records *records);
void records_close(struct records *records);

/* between records*.c */
int records_text_add(struct records_text *text, const char *data, size_t size);
/** 1 and a line without its end in records->line, *ret_size; 0: end; -errno. */
int records_line(struct records *records, size_t *ret_size);
int records_fail(struct records *records, const char *format, ...) __attribute__((format(printf, 2, 3)));
int records_csv_open(struct records *records);
int records_csv_next(struct records *records);

#endif
