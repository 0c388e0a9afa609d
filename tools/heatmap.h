/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * heatmap.h - time x place: what happened where, and how it is drawn.
 *
 * DESIGN
 *   A heatmap is a plain matrix of numbers in real units (faults, heat,
 *   state, share resident). Renderers know nothing of stores: they ask for the
 *   fraction of full scale of a cell, its colour, and the numbers of the
 *   legend. So one test feeds all of them the same matrix.
 *
 *   Faults span five orders of magnitude: their scale is logarithmic and ends
 *   at the greatest value shown. Nothing at all has a colour of its own, apart from
 *   the scale, and the scale begins bright: one fault is seen beside a thousand.
 */
#ifndef PF_TOOLS_HEATMAP_H
#define PF_TOOLS_HEATMAP_H

#include "cli.h"

#include <stdio.h>

enum heatmap_metric { HEATMAP_FAULTS, HEATMAP_HEAT, HEATMAP_STATE, HEATMAP_RESIDENT };
extern const char *const heatmap_metric_names[]; /* NULL-terminated, by enum */

/** Rows are time, oldest first; columns are places in (file, offset) order. */
struct heatmap {
	enum heatmap_metric metric;
	uint32_t row_count, column_count;
	uint32_t row_ms;       /* 0: one look, no time */
	uint64_t first_row_ms;
	float *values;         /* row-major; NAN: no extent there; owned */
	uint32_t *file_id;     /* of each column; owned */
	uint64_t *offset;      /* of each column's first byte; owned */
	uint64_t column_bytes; /* of most columns */
	float max;             /* greatest value, at least 1 for faults */
	char title[160];
	char source[32]; /* of telemetry; of the page cache: kmod or procfs; "": does not apply */
};
/** Columns that never held an extent are left out. 0 or -ENOMEM. */
int heatmap_from_history(const struct pinfold_live_history *history, uint64_t slice_size, enum heatmap_metric metric,
			 struct heatmap *ret_map);
/** One row: what share of each slice is in memory now. */
int heatmap_from_residency(struct pinfold *pf, uint64_t slice_size, struct heatmap *ret_map);
/** Merges neighbours (the greatest value stands for them) until it is at most that large. */
void heatmap_bin(struct heatmap *map, uint32_t max_rows, uint32_t max_columns);
void heatmap_done(struct heatmap *map);

/** 0..1 of full scale; 0 is nothing at all; -1: no extent there. */
double heatmap_fraction(const struct heatmap *map, float value);
/** The value at @fraction of full scale. */
double heatmap_value_at(const struct heatmap *map, double fraction);
/** 0 nothing, 1..9; -1: no extent. */
int heatmap_digit(const struct heatmap *map, float value);
/** Most rows and columns of an image: heatmap_bin() to these before. */
#define HEATMAP_IMAGE_ROWS_MAX 480u
#define HEATMAP_IMAGE_COLUMNS_MAX 1600u

/** "seconds since open" of a row, and "FILE:OFFSET" of a column (NAMES_TEXT_MAX bytes). */
const char *heatmap_row_label(const struct heatmap *map, uint32_t row, char *buf);
const char *heatmap_column_label(const struct heatmap *map, uint32_t column, char *buf);
/** "faults per slice and turn" */
const char *heatmap_unit(enum heatmap_metric metric);

struct rgb {
	uint8_t r, g, b;
};
/** Colour of the scale, even steps for the eye; @fraction 0..1. */
struct rgb heatmap_scale_color(double fraction);
/** Colour of a cell with @value. */
struct rgb heatmap_color(const struct heatmap *map, float value);
extern const struct rgb heatmap_color_free, heatmap_color_none;
/** Of enum pinfold_slice_state. */
struct rgb heatmap_state_color(unsigned int state);

/** What the name of a file tells of its format. */
enum heatmap_format { HEATMAP_NO_FORMAT, HEATMAP_PNG, HEATMAP_SVG, HEATMAP_CSV };
enum heatmap_format heatmap_format_of(const char *path);

/* Renderers. Files: 0 or -errno with words in @ret_error; then none is left. */
void heatmap_print_digits(const struct heatmap *map, FILE *out);
void heatmap_print_blocks(const struct heatmap *map, FILE *out);
int heatmap_write_csv(const struct heatmap *map, const char *path, char *ret_error, size_t error_size);
int heatmap_write_png(const struct heatmap *map, const char *path, char *ret_error, size_t error_size);
int heatmap_write_svg(const struct heatmap *map, const char *path, char *ret_error, size_t error_size);
json_t *heatmap_json(const struct heatmap *map);

#endif
