/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * toml.h - a TOML document, item by item. The only door to the C++ library behind it (toml.cc).
 */
#ifndef PF_CONFIG_TOML_H
#define PF_CONFIG_TOML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum pf_toml_type {
	PF_TOML_TABLE,
	PF_TOML_ARRAY,
	PF_TOML_STRING,
	PF_TOML_INTEGER,
	PF_TOML_REAL,
	PF_TOML_BOOL,
	PF_TOML_TIME, /* date, time or both */
};

/** A key and its value. Valid during the call. */
struct pf_toml_item {
	const char *path; /* "mmap.data_dir"; parts that are no bare keys are quoted */
	enum pf_toml_type type;
	uint32_t key_line, key_column, line, column; /* of the key, and of the value; columns count characters */
	int64_t integer;                             /* INTEGER, BOOL */
	double real;
	const char *text; /* STRING, UTF-8 and ended by a NUL that is not in text_size */
	size_t text_size;
	const struct pf_toml_item *items; /* ARRAY; their paths are NULL */
	size_t item_count;
};

/** Called for each item in the order of the document's keys. Of a TABLE: whether to go into it. */
typedef bool (*pf_toml_fn)(void *ctx, const struct pf_toml_item *item);

struct pf_toml_error {
	uint32_t line, column;
	char text[256];
};

/** Parses @size bytes at @text. 0, -EINVAL and *ret_error, or -ENOMEM. */
int pf_toml_read(const char *text, size_t size, pf_toml_fn fn, void *ctx, struct pf_toml_error *ret_error);

#ifdef __cplusplus
}
#endif
#endif
