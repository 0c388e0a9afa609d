// SPDX-License-Identifier: LGPL-2.1-or-later
/* heatmap.c - the matrix: from a live history or a look at the page cache, merged, scaled. */
#include "heatmap.h"
#include "names.h"
#include "config/units.h"
#include "watch.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const heatmap_metric_names[] = {"faults", "heat", "state", "resident", NULL};

enum heatmap_format heatmap_format_of(const char *path)
{
	const char *dot = strrchr(path, '.');

	return !dot                 ? HEATMAP_NO_FORMAT :
	       !strcmp(dot, ".png") ? HEATMAP_PNG :
	       !strcmp(dot, ".svg") ? HEATMAP_SVG :
	       !strcmp(dot, ".csv") ? HEATMAP_CSV :
				      HEATMAP_NO_FORMAT;
}

static int allocate(struct heatmap *map, uint32_t rows, uint32_t columns)
{
	size_t cells = (size_t)rows * columns;

	map->row_count = rows;
	map->column_count = columns;
	map->values = calloc(cells ? cells : 1, sizeof(*map->values));
	map->file_id = calloc(columns ? columns : 1, sizeof(*map->file_id));
	map->offset = calloc(columns ? columns : 1, sizeof(*map->offset));
	if (map->values && map->file_id && map->offset)
		return 0;
	heatmap_done(map);
	return -ENOMEM;
}

static void find_max(struct heatmap *map)
{
	map->max = map->metric == HEATMAP_STATE ? PINFOLD_SLICE_FOLDED : 1;
	if (map->metric != HEATMAP_FAULTS)
		return;
	for (size_t i = 0; i < (size_t)map->row_count * map->column_count; i++) {
		if (map->values[i] > map->max)
			map->max = map->values[i];
	}
}

/* Undoes the byte's scale: 16 x log2(1 + faults). */
static float fault_count(uint8_t byte)
{
	return byte ? roundf(exp2f((float)byte / 16.0f) - 1.0f) : 0;
}

static float cell_value(const struct pinfold_live_history *history, enum heatmap_metric metric, size_t i)
{
	if (history->state[i] == PINFOLD_SLICE_FREE)
		return NAN;
	switch (metric) {
	case HEATMAP_HEAT:
		return (float)history->heat[i] / 255.0f;
	case HEATMAP_STATE:
		return (float)history->state[i];
	default:
		return fault_count(history->faults[i]);
	}
}

static bool ever_used(const struct pinfold_live_history *history, uint32_t column)
{
	for (uint32_t row = 0; row < history->row_count; row++) {
		if (history->state[(size_t)row * history->column_count + column] != PINFOLD_SLICE_FREE)
			return true;
	}
	return false;
}

static bool row_is_empty(const struct heatmap *map, uint32_t row)
{
	for (uint32_t column = 0; column < map->column_count; column++) {
		if (!isnan(map->values[(size_t)row * map->column_count + column]))
			return false;
	}
	return true;
}

/* A turn that took long leaves rows without an end of a turn: the next one tells of their time too. The last row is
 * empty until its first turn ends. */
static void fill_gaps(struct heatmap *map)
{
	while (map->row_count && row_is_empty(map, map->row_count - 1))
		map->row_count--;
	for (uint32_t row = map->row_count; row-- > 1;) {
		float *to = map->values + (size_t)(row - 1) * map->column_count;

		if (row_is_empty(map, row - 1))
			memcpy(to, to + map->column_count, map->column_count * sizeof(*to));
	}
}

int heatmap_from_history(const struct pinfold_live_history *history, uint64_t slice_size, enum heatmap_metric metric,
			 struct heatmap *ret_map)
{
	struct heatmap map = {.metric = metric, .row_ms = history->row_ms, .first_row_ms = history->first_row_ms};
	uint32_t columns = 0, to = 0;

	for (uint32_t column = 0; column < history->column_count; column++)
		columns += ever_used(history, column);
	if (allocate(&map, history->row_count, columns))
		return -ENOMEM;
	map.column_bytes = slice_size;
	/* A large store's history has several slices per column. */
	if (history->column_count > 1 && history->file_id[1] == history->file_id[0])
		map.column_bytes = slice_size * (history->index[1] - history->index[0]);
	for (uint32_t column = 0; column < history->column_count; column++) {
		if (!ever_used(history, column))
			continue;
		map.file_id[to] = history->file_id[column];
		map.offset[to] = history->index[column] * slice_size;
		for (uint32_t row = 0; row < history->row_count; row++)
			map.values[(size_t)row * columns + to] =
				cell_value(history, metric, (size_t)row * history->column_count + column);
		to++;
	}
	fill_gaps(&map);
	find_max(&map);
	*ret_map = map;
	return 0;
}

/* ---- one look at the page cache ---- */

struct look {
	struct pinfold *pf;
	struct heatmap *map;
	uint64_t slice_size;
	uint32_t count, capacity;
};

static int grow(struct look *look)
{
	uint32_t capacity = look->capacity ? look->capacity * 2 : 256;
	float *values = reallocarray(look->map->values, capacity, sizeof(*values));
	uint32_t *file_id;
	uint64_t *offset;

	if (values)
		look->map->values = values;
	file_id = reallocarray(look->map->file_id, capacity, sizeof(*file_id));
	if (file_id)
		look->map->file_id = file_id;
	offset = reallocarray(look->map->offset, capacity, sizeof(*offset));
	if (offset)
		look->map->offset = offset;
	if (!values || !file_id || !offset)
		return -ENOMEM;
	look->capacity = capacity;
	return 0;
}

static int look_at_extent(void *ctx, const struct pinfold_extent *extent, bool published)
{
	struct pinfold_residency res;
	struct look *look = ctx;
	int r;

	for (uint64_t at = 0; published && at < extent->len; at += look->slice_size) {
		uint64_t size = extent->len - at < look->slice_size ? extent->len - at : look->slice_size;

		if (look->count == look->capacity && grow(look))
			return -ENOMEM;
		r = pinfold_residency_query(look->pf, extent, at, size, &res);
		if (r)
			return r;
		strcpy(look->map->source, res.by_module ? "kmod" : "procfs");
		look->map->values[look->count] =
			res.resident == UINT64_MAX ? NAN : (float)((double)res.resident / (double)size);
		look->map->file_id[look->count] = extent->file_id;
		look->map->offset[look->count] = extent->offset + at;
		look->count++;
	}
	return 0;
}

int heatmap_from_residency(struct pinfold *pf, uint64_t slice_size, struct heatmap *ret_map)
{
	struct heatmap map = {.metric = HEATMAP_RESIDENT, .row_count = 1, .column_bytes = slice_size};
	struct look look = {.pf = pf, .map = &map, .slice_size = slice_size};
	int r = pinfold_extent_foreach(pf, look_at_extent, &look);

	if (r) {
		heatmap_done(&map);
		return r;
	}
	map.column_count = look.count;
	find_max(&map);
	*ret_map = map;
	return 0;
}

void heatmap_done(struct heatmap *map)
{
	free(map->values);
	free(map->file_id);
	free(map->offset);
	memset(map, 0, sizeof(*map));
}

/* ---- size ---- */

static float greater(float a, float b)
{
	return isnan(a) || b > a ? b : a;
}

void heatmap_bin(struct heatmap *map, uint32_t max_rows, uint32_t max_columns)
{
	uint32_t by_row = max_rows ? (map->row_count + max_rows - 1) / max_rows : 1;
	uint32_t by_column = max_columns ? (map->column_count + max_columns - 1) / max_columns : 1;
	uint32_t rows, columns;

	if (by_row <= 1 && by_column <= 1)
		return;
	by_row = by_row ? by_row : 1;
	by_column = by_column ? by_column : 1;
	rows = (map->row_count + by_row - 1) / by_row;
	columns = (map->column_count + by_column - 1) / by_column;
	/* In place: a merged cell never lies after the first cell it is merged from. */
	for (uint32_t row = 0; row < rows; row++) {
		for (uint32_t column = 0; column < columns; column++) {
			float value = NAN;

			for (uint32_t y = row * by_row; y < (row + 1) * by_row && y < map->row_count; y++)
				for (uint32_t x = column * by_column;
				     x < (column + 1) * by_column && x < map->column_count; x++)
					value = greater(value, map->values[(size_t)y * map->column_count + x]);
			map->values[(size_t)row * columns + column] = value;
		}
	}
	for (uint32_t column = 0; column < columns; column++) {
		map->file_id[column] = map->file_id[column * by_column];
		map->offset[column] = map->offset[column * by_column];
	}
	map->row_count = rows;
	map->column_count = columns;
	map->row_ms *= by_row;
	map->column_bytes *= by_column;
}

/* ---- scale ---- */

double heatmap_fraction(const struct heatmap *map, float value)
{
	if (isnan(value))
		return -1;
	if (value <= 0)
		return 0;
	if (map->metric == HEATMAP_FAULTS)
		return fmin(1, log1p(value) / log1p(map->max));
	return fmin(1, value / map->max);
}

double heatmap_value_at(const struct heatmap *map, double fraction)
{
	if (map->metric == HEATMAP_FAULTS)
		return expm1(fraction * log1p(map->max));
	return fraction * map->max;
}

int heatmap_digit(const struct heatmap *map, float value)
{
	double fraction = heatmap_fraction(map, value);

	if (fraction <= 0)
		return fraction < 0 ? -1 : 0;
	if (map->metric == HEATMAP_STATE)
		return (int)value;
	/* The small part keeps a value that stands exactly on a bound on its side of it. */
	return 1 + (int)fmin(8, floor(fraction * 9 + 1e-6));
}

const char *heatmap_row_label(const struct heatmap *map, uint32_t row, char *buf)
{
	uint64_t ms = map->first_row_ms + (uint64_t)row * map->row_ms;

	if (!map->row_ms)
		strcpy(buf, "now");
	else if (ms < 3600000)
		snprintf(buf, NAMES_TEXT_MAX, "%.1f s", (double)ms / 1e3);
	else
		snprintf(buf, NAMES_TEXT_MAX, "%.2f h", (double)ms / 3600e3);
	return buf;
}

const char *heatmap_column_label(const struct heatmap *map, uint32_t column, char *buf)
{
	return name_place(map->file_id[column], map->offset[column], buf);
}

const char *heatmap_unit(enum heatmap_metric metric)
{
	switch (metric) {
	case HEATMAP_HEAT:
		return "heat, 0 to 1";
	case HEATMAP_STATE:
		return "state";
	case HEATMAP_RESIDENT:
		return "share in memory";
	default:
		return "faults of a slice in one turn of the controller";
	}
}

json_t *heatmap_json(const struct heatmap *map)
{
	json_t *columns = json_array(), *rows = json_array();

	for (uint32_t column = 0; column < map->column_count; column++)
		json_array_append_new(columns, json_pack("{s:I, s:o}", "file", (json_int_t)map->file_id[column],
							 "offset", cli_json_u64(map->offset[column])));
	for (uint32_t row = 0; row < map->row_count; row++) {
		json_t *values = json_array();

		for (uint32_t column = 0; column < map->column_count; column++) {
			float value = map->values[(size_t)row * map->column_count + column];

			if (map->metric == HEATMAP_FAULTS && !isnan(value))
				json_array_append_new(values, json_integer((json_int_t)value));
			else if (map->metric == HEATMAP_STATE)
				json_array_append_new(
					values, json_string(watch_state_name(isnan(value) ? 0 : (unsigned int)value)));
			else
				json_array_append_new(values, cli_json_real(value));
		}
		json_array_append_new(rows, values);
	}
	return json_pack("{s:s, s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:o}", "metric", heatmap_metric_names[map->metric],
			 "unit", heatmap_unit(map->metric), "title", cli_json_text(map->title), "source", map->source,
			 "first_row_ms", cli_json_u64(map->first_row_ms), "row_ms", json_integer(map->row_ms),
			 "column_bytes", cli_json_u64(map->column_bytes), "columns", columns, "rows", rows);
}
