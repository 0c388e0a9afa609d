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
 *
 * Any bytes as key and value have an escaped form in each format, which
 * records_write.h writes where the one above would not come back as it was:
 *
 * csv:    the head line is RECORDS_KEY,RECORDS_VALUE; bytes that are no text are "\\x" and hexadecimal digits.
 * jsonl:  {RECORDS_KEY: x, RECORDS_VALUE: x}, x being a string, or {"hex": digits} for bytes that are no text.
 * deb822: a stanza of the two fields RECORDS_DEB_KEY and RECORDS_DEB_VALUE, escaped as in csv.
 */
#ifndef PF_TOOLS_RECORDS_H
#define PF_TOOLS_RECORDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum records_format { RECORDS_CSV, RECORDS_JSONL, RECORDS_DEB822 };
extern const char *const records_format_names[]; /* NULL-terminated, by enum */

#define RECORDS_KEY "$key"
#define RECORDS_VALUE "$value"
#define RECORDS_DEB_KEY "Pinfold-Key"
#define RECORDS_DEB_VALUE "Pinfold-Value"

/** By the name: x.csv, x.jsonl.gz, Packages, Sources.xz, status. -1: it does not tell. */
int records_format_guess(const char *path);

/** Longest line that is taken; a longer one is an error, not memory. */
#define RECORDS_LINE_MAX (1u << 20)

/** A growing text. */
struct records_text {
	char *data;
	size_t size, capacity;
};

/** Where something began. */
struct records_place {
	uint64_t line, column;
};

struct records {
	FILE *stream;
	enum records_format format;
	const char *key_field;
	uint64_t line_number;  /* of the last line read */
	uint64_t offset;       /* bytes read, up to the end of that line */
	uint64_t hash;         /* of all lines up to there: equal if, and in practice only if, they are the same */
	uint64_t record_line;  /* where the last record began */
	char *line;            /* the last one, at most RECORDS_LINE_MAX bytes and one more */
	size_t line_capacity;
	bool had_cr;           /* a carriage return stood before its end */
	bool raw;              /* csv: the head says that all rows are escaped records */
	struct records_place *places; /* csv: of the fields of the row at hand */
	size_t place_capacity;
	struct records_text key, value, row;
	char **fields;         /* csv: the head's names */
	size_t field_count, key_index;
	char error[256]; /* "LINE:COLUMN: words", or " words" */
};

/** @key_field NULL: the format's usual one ("Package" for deb822, the first field for csv, "key" for jsonl). */
int records_open(struct records *records, FILE *stream, enum records_format format, const char *key_field);
/** Reads @line_count lines and takes nothing of them but their hash. 1; 0: there are fewer; -EINVAL, -EIO. */
int records_skip(struct records *records, uint64_t line_count);
/** 1: records->key and ->value hold a record; 0: end; -EINVAL: records->error says where and what; -EIO. */
int records_next(struct records *records);
void records_close(struct records *records);

/* between records*.c */
int records_text_add(struct records_text *text, const char *data, size_t size);
/** 1 and a line without its end in records->line, *ret_size; 0: end; -errno. */
int records_line(struct records *records, size_t *ret_size);
/** -EINVAL and words about @column (from 1) of the last line. */
int records_fail(struct records *records, uint64_t column, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int records_fail_at(struct records *records, const struct records_place *place, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/** Appends the bytes that @text stands for: itself, or hexadecimal digits behind "\\x". -EINVAL: it is neither. */
int records_unescape(struct records_text *bytes, const char *text, size_t size);
/**
 * An object, or array, whose text is what counts: numbers that the JSON library cannot hold are null in it. NULL:
 * *ret_error says why. json_decref() frees it.
 */
json_t *records_json_load(const char *text, size_t size, json_error_t *ret_error);
/** Takes a line of JSON lines. 1, or an error. */
int records_jsonl_take(struct records *records, const char *line, size_t size);
int records_csv_open(struct records *records);
int records_csv_next(struct records *records);

#endif
