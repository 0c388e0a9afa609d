// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * heatmap_image.c - a heatmap as SVG or PNG.
 *
 * One drawing for both: cairo paints it on an SVG surface or into memory,
 * and libpng writes that memory. Both write to a file that is opened and closed here, so that what fails is known.
 */
#include "heatmap.h"
#include "names.h"
#include "output_file.h"
#include "watch.h"

#include <cairo-svg.h>
#include <cairo.h>
#include <errno.h>
#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

#define MARGIN_LEFT 86
#define MARGIN_RIGHT 30
#define MARGIN_TOP 64
#define MARGIN_BOTTOM 110
/* The cells' part of the image, as near as whole pixels per cell allow. */
#define CELLS_WIDTH 1100
#define CELLS_HEIGHT 480

struct frame {
	int cell_width, cell_height, cells_width, cells_height, width, height;
};

static int clamp(int value, int low, int high)
{
	return value < low ? low : value > high ? high : value;
}

static struct frame frame_of(const struct heatmap *map)
{
	struct frame f;

	f.cell_width = clamp(CELLS_WIDTH / (int)(map->column_count ? map->column_count : 1), 1, 32);
	f.cell_height = clamp(CELLS_HEIGHT / (int)(map->row_count ? map->row_count : 1), 1, 32);
	f.cells_width = f.cell_width * (int)map->column_count;
	f.cells_height = f.cell_height * (int)map->row_count;
	f.width = clamp(f.cells_width, 560, 1 << 14) + MARGIN_LEFT + MARGIN_RIGHT;
	f.height = f.cells_height + MARGIN_TOP + MARGIN_BOTTOM;
	return f;
}

static void set_rgb(cairo_t *cr, struct rgb c)
{
	cairo_set_source_rgb(cr, c.r / 255.0, c.g / 255.0, c.b / 255.0);
}

static void set_text_color(cairo_t *cr)
{
	cairo_set_source_rgb(cr, 0.88, 0.90, 0.93);
}

enum align { ALIGN_LEFT, ALIGN_CENTER, ALIGN_RIGHT };

static double draw_text(cairo_t *cr, double x, double y, enum align align, const char *text)
{
	cairo_text_extents_t extents;

	cairo_text_extents(cr, text, &extents);
	if (align == ALIGN_RIGHT)
		x -= extents.x_advance;
	else if (align == ALIGN_CENTER)
		x -= extents.x_advance / 2;
	cairo_move_to(cr, x, y);
	cairo_show_text(cr, text);
	return extents.x_advance;
}

static void draw_cells(cairo_t *cr, const struct heatmap *map, const struct frame *f)
{
	cairo_set_antialias(cr, CAIRO_ANTIALIAS_NONE);
	for (uint32_t row = 0; row < map->row_count; row++) {
		for (uint32_t column = 0; column < map->column_count;) {
			const float *values = map->values + (size_t)row * map->column_count;
			uint32_t run = 1;

			/* Equal neighbours are one rectangle: an SVG of a quiet store stays small. */
			while (column + run < map->column_count &&
			       (values[column + run] == values[column] ||
				(isnan(values[column + run]) && isnan(values[column]))))
				run++;
			set_rgb(cr, heatmap_color(map, values[column]));
			cairo_rectangle(cr, MARGIN_LEFT + (int)column * f->cell_width,
					MARGIN_TOP + (int)row * f->cell_height, (int)run * f->cell_width,
					f->cell_height);
			cairo_fill(cr);
			column += run;
		}
	}
	cairo_set_antialias(cr, CAIRO_ANTIALIAS_DEFAULT);
}

static void draw_axes(cairo_t *cr, const struct heatmap *map, const struct frame *f)
{
	int row_step = clamp((int)ceil(28.0 / f->cell_height), 1, 1 << 16);
	int column_step = clamp((int)ceil(92.0 / f->cell_width), 1, 1 << 16);
	double bottom = MARGIN_TOP + f->cells_height;
	char label[NAMES_TEXT_MAX];

	set_text_color(cr);
	for (uint32_t row = 0; row < map->row_count; row += (uint32_t)row_step) {
		double y = MARGIN_TOP + (int)row * f->cell_height + f->cell_height / 2.0;

		draw_text(cr, MARGIN_LEFT - 10, y + 4, ALIGN_RIGHT, heatmap_row_label(map, row, label));
	}
	cairo_set_line_width(cr, 1);
	for (uint32_t column = 0; column < map->column_count; column += (uint32_t)column_step) {
		double x = MARGIN_LEFT + (int)column * f->cell_width + 0.5;

		cairo_move_to(cr, x, bottom + 2);
		cairo_line_to(cr, x, bottom + 8);
		cairo_stroke(cr);
		draw_text(cr, x, bottom + 22, ALIGN_LEFT, heatmap_column_label(map, column, label));
	}
	draw_text(cr, MARGIN_LEFT + f->cells_width / 2.0, bottom + 42, ALIGN_CENTER, "data file : offset");
}

static void number_text(const struct heatmap *map, double value, char *text, size_t size)
{
	if (map->metric == HEATMAP_FAULTS)
		snprintf(text, size, "%.0f", value);
	else if (map->metric == HEATMAP_RESIDENT)
		snprintf(text, size, "%.0f %%", value * 100);
	else
		snprintf(text, size, "%.2f", value);
}

static double draw_swatch(cairo_t *cr, double x, double y, struct rgb color, const char *text)
{
	set_rgb(cr, color);
	cairo_rectangle(cr, x, y, 16, 14);
	cairo_fill(cr);
	set_text_color(cr);
	return x + 22 + draw_text(cr, x + 22, y + 12, ALIGN_LEFT, text) + 18;
}

static void draw_legend(cairo_t *cr, const struct heatmap *map, const struct frame *f)
{
	double x = MARGIN_LEFT, y = MARGIN_TOP + f->cells_height + 62;
	const int bar = 300, ticks = 4;
	char text[64], last[64] = "";

	if (map->metric == HEATMAP_STATE) {
		for (unsigned int state = PINFOLD_SLICE_ABSENT; state <= PINFOLD_SLICE_FOLDED; state++)
			x = draw_swatch(cr, x, y, heatmap_state_color(state), watch_state_name(state));
		return;
	}
	x = draw_swatch(cr, x, y, heatmap_color_none, "none");
	for (int i = 0; i < bar; i++) {
		set_rgb(cr, heatmap_scale_color((double)i / (bar - 1)));
		cairo_rectangle(cr, x + i, y, 1.5, 14);
		cairo_fill(cr);
	}
	set_text_color(cr);
	for (int i = 0; i <= ticks; i++) {
		double value = heatmap_value_at(map, (double)i / ticks);

		if (map->metric == HEATMAP_FAULTS && i == 0)
			value = 1;
		number_text(map, value, text, sizeof(text));
		/* A small scale has the same whole number at two ticks. */
		if (strcmp(text, last))
			draw_text(cr, x + bar * (double)i / ticks, y + 30, ALIGN_CENTER, text);
		strcpy(last, text);
	}
	draw_text(cr, x + bar + 16, y + 12, ALIGN_LEFT, heatmap_unit(map->metric));
}

static void draw(cairo_t *cr, const struct heatmap *map, const struct frame *f)
{
	set_rgb(cr, heatmap_color_free);
	cairo_paint(cr);
	draw_cells(cr, map, f);
	cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
	set_text_color(cr);
	cairo_set_font_size(cr, 15);
	draw_text(cr, MARGIN_LEFT, 36, ALIGN_LEFT, map->title[0] ? map->title : heatmap_unit(map->metric));
	cairo_set_font_size(cr, 12);
	draw_axes(cr, map, f);
	draw_legend(cr, map, f);
}

/* ---- files ---- */

/* 0, or an error number. */
static int draw_on(cairo_surface_t *surface, const struct heatmap *map, const struct frame *f)
{
	cairo_t *cr = cairo_create(surface);
	cairo_status_t status;

	draw(cr, map, f);
	status = cairo_status(cr);
	cairo_destroy(cr);
	return !status ? 0 : status == CAIRO_STATUS_NO_MEMORY ? ENOMEM : EIO;
}

struct svg {
	FILE *file;
	int error;
};

static cairo_status_t svg_put(void *ctx, const unsigned char *data, unsigned int size)
{
	struct svg *svg = ctx;

	if (!svg->error && fwrite(data, 1, size, svg->file) != size)
		svg->error = errno;
	return svg->error ? CAIRO_STATUS_WRITE_ERROR : CAIRO_STATUS_SUCCESS;
}

int heatmap_write_svg(const struct heatmap *map, const char *path, char *ret_error, size_t error_size)
{
	struct frame f = frame_of(map);
	struct svg svg = {0};
	cairo_surface_t *surface;
	int r = output_file_open(path, &svg.file, ret_error, error_size), error;

	if (r)
		return r;
	surface = cairo_svg_surface_create_for_stream(svg_put, &svg, f.width, f.height);
	error = draw_on(surface, map, &f);
	cairo_surface_finish(surface);
	if (!error && cairo_surface_status(surface))
		error = EIO;
	cairo_surface_destroy(surface);
	return output_file_close(svg.file, path, svg.error ? svg.error : error, ret_error, error_size);
}

/* Rows of red, green and blue, which the caller frees; NULL: no memory. */
static png_bytep pixels_of(cairo_surface_t *surface, const struct frame *f)
{
	png_bytep pixels = malloc((size_t)f->width * (size_t)f->height * 3), to = pixels;
	size_t stride = (size_t)cairo_image_surface_get_stride(surface);

	cairo_surface_flush(surface);
	for (size_t y = 0; pixels && y < (size_t)f->height; y++) {
		const uint32_t *row =
			(const uint32_t *)(const void *)(cairo_image_surface_get_data(surface) + y * stride);

		for (int x = 0; x < f->width; x++, to += 3) {
			to[0] = (png_byte)(row[x] >> 16);
			to[1] = (png_byte)(row[x] >> 8);
			to[2] = (png_byte)row[x];
		}
	}
	return pixels;
}

int heatmap_write_png(const struct heatmap *map, const char *path, char *ret_error, size_t error_size)
{
	struct frame f = frame_of(map);
	cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, f.width, f.height);
	png_image image = { .version = PNG_IMAGE_VERSION,
			    .width = (png_uint_32)f.width,
			    .height = (png_uint_32)f.height,
			    .format = PNG_FORMAT_RGB };
	int error = draw_on(surface, map, &f), r;
	png_bytep pixels = error ? NULL : pixels_of(surface, &f);
	FILE *file;

	cairo_surface_destroy(surface);
	if (!pixels)
		error = error ? error : ENOMEM;
	r = output_file_open(path, &file, ret_error, error_size);
	if (!r) {
		errno = 0;
		if (!error && !png_image_write_to_stdio(&image, file, 0, pixels, 0, NULL))
			error = errno ? errno : EIO;
		r = output_file_close(file, path, error, ret_error, error_size);
	}
	free(pixels);
	return r;
}
