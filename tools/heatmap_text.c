// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * heatmap_text.c - a heatmap on a terminal: digits, or coloured half blocks
 * (two rows of time per line); and as CSV.
 */
#include "heatmap.h"
#include "names.h"
#include "output_file.h"
#include "watch.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Columns left of the cells: a time and a space. */
#define MARGIN 9
/* Columns from one place label to the next. */
#define LABEL_STEP 14
#define BAR_CELLS 36

static float value_at(const struct heatmap *map, uint32_t row, uint32_t column)
{
	return row < map->row_count ? map->values[(size_t)row * map->column_count + column] : NAN;
}

/* Time is written where it helps: not on each line of a tall map. */
static void print_margin(const struct heatmap *map, uint32_t row, bool show, FILE *out)
{
	char label[NAMES_TEXT_MAX] = "";

	if (show)
		heatmap_row_label(map, row, label);
	fprintf(out, "%*s ", MARGIN - 1, label);
}

/* Places below the cells, each beginning at its own column. */
static void print_places(const struct heatmap *map, FILE *out)
{
	char label[NAMES_TEXT_MAX];
	uint32_t column = 0;

	fprintf(out, "%*s", MARGIN, "");
	while (column < map->column_count) {
		uint32_t next = column + LABEL_STEP;

		heatmap_column_label(map, column, label);
		fprintf(out, "|%-*s", next < map->column_count ? LABEL_STEP - 1 : 0, label);
		column = next;
	}
	fputc('\n', out);
}

static void print_number(const struct heatmap *map, double value, FILE *out)
{
	if (map->metric == HEATMAP_FAULTS)
		fprintf(out, "%.0f", ceil(value - 1e-3));
	else if (map->metric == HEATMAP_RESIDENT)
		fprintf(out, "%.0f%%", value * 100);
	else
		fprintf(out, "%.2f", value);
}

/* Every digit with the least value that it stands for; digits that no whole number reaches are left out. */
static void print_digit_scale(const struct heatmap *map, FILE *out)
{
	double last = 0;

	fprintf(out, "%*sscale: 0 none", MARGIN, "");
	for (int digit = 1; digit <= 9; digit++) {
		double from = heatmap_value_at(map, (digit - 1) / 9.0);

		if (map->metric == HEATMAP_FAULTS) {
			double next = digit < 9 ? heatmap_value_at(map, digit / 9.0) : map->max + 1;

			from = fmax(1, ceil(from - 1e-3));
			if (from >= next - 1e-3 || from <= last)
				continue;
			last = from;
		}
		fprintf(out, "  %d ", digit);
		if (digit == 1 && map->metric != HEATMAP_FAULTS)
			fputs(">0", out);
		else
			print_number(map, from, out);
		if (digit < 9 || map->max > from)
			fputc('+', out);
	}
	fprintf(out, "\n%*s(%s, greatest ", MARGIN, "", heatmap_unit(map->metric));
	print_number(map, map->max, out);
	fputs("; blank: no extent)\n", out);
}

static void print_digit_states(FILE *out)
{
	fprintf(out, "%*sscale:", MARGIN, "");
	for (unsigned int state = PINFOLD_SLICE_ABSENT; state <= PINFOLD_SLICE_FOLDED; state++)
		fprintf(out, "  %u %s", state, watch_state_name(state));
	fputs("  (blank: no extent)\n", out);
}

void heatmap_print_digits(const struct heatmap *map, FILE *out)
{
	if (map->title[0])
		fprintf(out, "%s\n", map->title);
	for (uint32_t row = 0; row < map->row_count; row++) {
		print_margin(map, row, true, out);
		for (uint32_t column = 0; column < map->column_count; column++) {
			int digit = heatmap_digit(map, value_at(map, row, column));

			fputc(digit < 0 ? ' ' : '0' + digit, out);
		}
		fputc('\n', out);
	}
	print_places(map, out);
	if (map->metric == HEATMAP_STATE)
		print_digit_states(out);
	else
		print_digit_scale(map, out);
}

/* ---- colour ---- */

static void set_color(FILE *out, int ground, struct rgb c)
{
	fprintf(out, "\033[%d;2;%d;%d;%dm", ground, c.r, c.g, c.b);
}

static bool same(struct rgb a, struct rgb b)
{
	return a.r == b.r && a.g == b.g && a.b == b.b;
}

static void print_color_states(FILE *out)
{
	fprintf(out, "%*s", MARGIN, "");
	for (unsigned int state = PINFOLD_SLICE_ABSENT; state <= PINFOLD_SLICE_FOLDED; state++) {
		set_color(out, 48, heatmap_state_color(state));
		fprintf(out, "  \033[0m %s  ", watch_state_name(state));
	}
	fputc('\n', out);
}

static void print_color_scale(const struct heatmap *map, FILE *out)
{
	fprintf(out, "%*s", MARGIN, "");
	set_color(out, 48, heatmap_color_none);
	fputs("  \033[0m none  ", out);
	print_number(map, map->metric == HEATMAP_FAULTS ? 1 : 0, out);
	fputc(' ', out);
	for (int i = 0; i < BAR_CELLS; i++) {
		set_color(out, 48, heatmap_scale_color((double)i / (BAR_CELLS - 1)));
		fputc(' ', out);
		if (i == BAR_CELLS / 2) {
			fputs("\033[0m ", out);
			print_number(map, heatmap_value_at(map, (double)i / (BAR_CELLS - 1)), out);
			fputc(' ', out);
		}
	}
	fputs("\033[0m ", out);
	print_number(map, map->max, out);
	fprintf(out, "  %s\n", heatmap_unit(map->metric));
}

void heatmap_print_blocks(const struct heatmap *map, FILE *out)
{
	if (map->title[0])
		fprintf(out, "%s\n", map->title);
	for (uint32_t row = 0; row < map->row_count; row += 2) {
		struct rgb upper = {0}, lower = {0};

		print_margin(map, row, row % 8 == 0, out);
		for (uint32_t column = 0; column < map->column_count; column++) {
			struct rgb u = heatmap_color(map, value_at(map, row, column));
			struct rgb l = heatmap_color(map, value_at(map, row + 1, column));

			if (column == 0 || !same(u, upper))
				set_color(out, 38, u);
			if (column == 0 || !same(l, lower))
				set_color(out, 48, l);
			upper = u;
			lower = l;
			fputs("\xe2\x96\x80", out); /* upper half block */
		}
		fputs("\033[0m\n", out);
	}
	print_places(map, out);
	if (map->metric == HEATMAP_STATE)
		print_color_states(out);
	else
		print_color_scale(map, out);
}

/* ---- CSV ---- */

/* 0, or an error number. */
static int print_csv(const struct heatmap *map, FILE *out)
{
	char value[32];

	if (fprintf(out, "time_ms,file,offset,bytes,%s\n", heatmap_metric_names[map->metric]) < 0)
		return errno;
	for (uint32_t row = 0; row < map->row_count; row++) {
		for (uint32_t column = 0; column < map->column_count; column++) {
			float cell = value_at(map, row, column);

			if (isnan(cell))
				continue;
			if (map->metric == HEATMAP_STATE)
				snprintf(value, sizeof(value), "%s", watch_state_name((unsigned int)cell));
			else
				snprintf(value, sizeof(value), "%.6g", cell);
			if (fprintf(out, "%" PRIu64 ",%u,%" PRIu64 ",%" PRIu64 ",%s\n",
				    map->first_row_ms + (uint64_t)row * map->row_ms, map->file_id[column],
				    map->offset[column], map->column_bytes, value) < 0)
				return errno;
		}
	}
	return 0;
}

int heatmap_write_csv(const struct heatmap *map, const char *path, char *ret_error, size_t error_size)
{
	FILE *file;
	int r = output_file_open(path, &file, ret_error, error_size);

	return r ? r : output_file_close(file, path, print_csv(map, file), ret_error, error_size);
}
