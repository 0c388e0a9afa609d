// SPDX-License-Identifier: GPL-2.0-only
/* A heatmap of known numbers through every renderer. */
#include "heatmap.h"
#include "kselftest_harness.h"

#include <errno.h>
#include <math.h>
#include <png.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#define SLICE (2ull << 20)
#define ROWS 4u
#define COLUMNS 8u

/* 16 x log2(1 + n) */
static uint8_t scaled(unsigned int faults)
{
	return (uint8_t)lround(16 * log2(1 + faults));
}

/* Column 5 never held an extent; row 2 has no end of a turn in it. */
static void make_history(struct pinfold_live_history *h)
{
	static const unsigned int faults[ROWS][COLUMNS] = {
		{0, 1, 3, 7, 15, 0, 100, 1000}, {0, 0, 0, 0, 0, 0, 0, 0}, {0}, {1, 2, 4, 8, 16, 0, 32, 64},
	};

	memset(h, 0, sizeof(*h));
	h->row_ms = 500;
	h->row_count = ROWS;
	h->column_count = COLUMNS;
	h->faults = calloc(ROWS * COLUMNS, 1);
	h->heat = calloc(ROWS * COLUMNS, 1);
	h->state = calloc(ROWS * COLUMNS, 1);
	h->file_id = calloc(COLUMNS, sizeof(*h->file_id));
	h->index = calloc(COLUMNS, sizeof(*h->index));
	for (uint32_t column = 0; column < COLUMNS; column++) {
		h->index[column] = column;
		for (uint32_t row = 0; row < ROWS; row++) {
			size_t i = row * COLUMNS + column;

			h->faults[i] = scaled(faults[row][column]);
			h->heat[i] = (uint8_t)(column * 255 / 7);
			h->state[i] = column == 5 || row == 2 ? PINFOLD_SLICE_FREE : (uint8_t)(1 + column % 4);
		}
	}
}

static void history_free(struct pinfold_live_history *h)
{
	free(h->faults);
	free(h->heat);
	free(h->state);
	free(h->file_id);
	free(h->index);
}

FIXTURE(map) {
	struct heatmap map;
	char path[64];
};

FIXTURE_SETUP(map)
{
	struct pinfold_live_history history;

	make_history(&history);
	ASSERT_EQ(0, heatmap_from_history(&history, SLICE, HEATMAP_FAULTS, &self->map));
	history_free(&history);
	snprintf(self->path, sizeof(self->path), "/tmp/pinfold-heatmap.%d", (int)getpid());
}

FIXTURE_TEARDOWN(map)
{
	heatmap_done(&self->map);
	unlink(self->path);
}

static char *digits_of(const struct heatmap *map)
{
	static char text[8192];
	FILE *out = fmemopen(text, sizeof(text), "w");

	heatmap_print_digits(map, out);
	fclose(out);
	return text;
}

TEST_F(map, counts_come_back_out_of_the_log_scale)
{
	EXPECT_EQ(ROWS, self->map.row_count);
	EXPECT_EQ(COLUMNS - 1, self->map.column_count);
	EXPECT_EQ(3, self->map.values[2]);
	EXPECT_EQ(980, self->map.max); /* steps of 4 % */
	EXPECT_EQ(6 * SLICE, self->map.offset[5]);
	/* The long turn's row tells what the row after it tells. */
	EXPECT_EQ(16, self->map.values[2 * 7 + 4]);
}

TEST_F(map, digits_are_golden)
{
	EXPECT_STREQ("   0.0 s 0123479\n"
		     "   0.5 s 0000000\n"
		     "   1.0 s 1233456\n"
		     "   1.5 s 1233456\n"
		     "         |0:0\n"
		     "         scale: 0 none  1 1+  2 2+  3 4+  4 9+  5 21+  6 45+  7 98+  8 212+  9 456+\n"
		     "         (faults of a slice in one turn of the controller, greatest 980; blank: no extent)\n",
		     digits_of(&self->map)) TH_LOG("\n%s", digits_of(&self->map));
}

TEST_F(map, merging_keeps_the_busiest)
{
	heatmap_bin(&self->map, 2, 3);
	EXPECT_EQ(2, self->map.row_count);
	EXPECT_EQ(3, self->map.column_count);
	EXPECT_EQ(1000, self->map.row_ms);
	EXPECT_EQ(3 * SLICE, self->map.column_bytes);
	EXPECT_EQ(3, self->map.values[0]);
	EXPECT_EQ(self->map.max, self->map.values[2]);
	EXPECT_EQ(4, self->map.values[3]);
}

TEST_F(map, every_cell_has_two_colours_in_truecolor)
{
	static char text[16384];
	FILE *out = fmemopen(text, sizeof(text), "w");
	size_t blocks = 0;

	heatmap_print_blocks(&self->map, out);
	fclose(out);
	for (const char *p = text; (p = strstr(p, "\xe2\x96\x80")); p++)
		blocks++;
	EXPECT_EQ(2 * 7, blocks); /* 4 rows are 2 lines */
	EXPECT_NE(NULL, strstr(text, "\033[38;2;"));
	EXPECT_NE(NULL, strstr(text, "980"));
}

static double luminance(struct rgb c)
{
	return 0.2126 * c.r + 0.7152 * c.g + 0.0722 * c.b;
}

TEST(the_scale_is_bright_and_grows_brighter)
{
	double last = luminance(heatmap_color_none);

	/* "Too dark" is the known complaint: the least fault must stand out from none. */
	EXPECT_GT(luminance(heatmap_scale_color(0)), last + 20);
	for (int i = 0; i <= 20; i++) {
		double l = luminance(heatmap_scale_color(i / 20.0));

		EXPECT_GT(l, last) TH_LOG("step %d", i);
		last = l;
	}
	EXPECT_GT(last, 200);
}

TEST_F(map, png_decodes_to_the_colours_of_the_scale)
{
	png_image image = {.version = PNG_IMAGE_VERSION};
	struct rgb most = heatmap_color(&self->map, self->map.max);
	bool found = false;
	char error[128];
	png_bytep pixels;

	ASSERT_EQ(0, heatmap_write_png(&self->map, self->path, error, sizeof(error))) TH_LOG("%s", error);
	ASSERT_TRUE(png_image_begin_read_from_file(&image, self->path)) TH_LOG("%s", image.message);
	EXPECT_GE(image.width, 560);
	EXPECT_GE(image.height, 4 * 32);
	EXPECT_LT(image.height, 500);
	image.format = PNG_FORMAT_RGB;
	pixels = malloc(PNG_IMAGE_SIZE(image));
	ASSERT_NE(NULL, pixels);
	ASSERT_TRUE(png_image_finish_read(&image, NULL, pixels, 0, NULL));
	for (size_t i = 0; i + 2 < PNG_IMAGE_SIZE(image) && !found; i += 3)
		found = pixels[i] == most.r && pixels[i + 1] == most.g && pixels[i + 2] == most.b;
	EXPECT_TRUE(found);
	free(pixels);
}

TEST_F(map, an_image_that_cannot_be_written_says_so)
{
	char error[128] = "";

	EXPECT_GT(0, heatmap_write_png(&self->map, "/nonexistent/x.png", error, sizeof(error)));
	EXPECT_NE(NULL, strstr(error, "/nonexistent/x.png"));
	error[0] = 0;
	EXPECT_GT(0, heatmap_write_svg(&self->map, "/nonexistent/x.svg", error, sizeof(error)));
	EXPECT_NE(NULL, strstr(error, "/nonexistent/x.svg"));
}

/* By a limit of this process in the place of a full disk. */
TEST_F(map, half_a_file_is_none)
{
	static int (*const writers[])(const struct heatmap *, const char *, char *, size_t) = {
		heatmap_write_png, heatmap_write_svg, heatmap_write_csv};
	struct rlimit before, limit;

	ASSERT_EQ(0, getrlimit(RLIMIT_FSIZE, &before));
	signal(SIGXFSZ, SIG_IGN);
	limit = before;
	limit.rlim_cur = 300;
	for (size_t i = 0; i < 3; i++) {
		char error[128] = "", expected[128];
		int r;

		setrlimit(RLIMIT_FSIZE, &limit);
		r = writers[i](&self->map, self->path, error, sizeof(error));
		setrlimit(RLIMIT_FSIZE, &before);
		snprintf(expected, sizeof(expected), "%s: File too large", self->path);
		EXPECT_EQ(-EFBIG, r) TH_LOG("writer %zu", i);
		EXPECT_STREQ(expected, error);
		EXPECT_NE(0, access(self->path, F_OK)) TH_LOG("writer %zu", i);
	}
	signal(SIGXFSZ, SIG_DFL);
}

static size_t read_back(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "r");
	size_t n = file ? fread(text, 1, size - 1, file) : 0;

	text[n] = 0;
	if (file)
		fclose(file);
	return n;
}

TEST_F(map, svg_has_a_head_and_an_end)
{
	static char text[1 << 20];
	char error[128];

	ASSERT_EQ(0, heatmap_write_svg(&self->map, self->path, error, sizeof(error))) TH_LOG("%s", error);
	EXPECT_GT(read_back(self->path, text, sizeof(text)), 1000);
	EXPECT_EQ(0, strncmp(text, "<?xml", 5));
	EXPECT_NE(NULL, strstr(text, "<svg"));
	EXPECT_NE(NULL, strstr(text, "</svg>"));
}

TEST_F(map, csv_has_a_line_for_each_cell)
{
	static char text[8192];
	char error[128];
	size_t lines = 0;

	ASSERT_EQ(0, heatmap_write_csv(&self->map, self->path, error, sizeof(error))) TH_LOG("%s", error);
	read_back(self->path, text, sizeof(text));
	for (const char *p = text; (p = strchr(p, '\n')); p++)
		lines++;
	EXPECT_EQ(1 + ROWS * (COLUMNS - 1), lines);
	EXPECT_EQ(0, strncmp(text, "time_ms,file,offset,bytes,faults\n0,0,0,2097152,0\n0,0,2097152,2097152,1\n", 70));
	EXPECT_NE(NULL, strstr(text, "\n1500,0,8388608,2097152,16\n"));
}

TEST_F(map, json_has_null_where_there_is_no_extent)
{
	json_t *root, *row;

	self->map.values[1] = NAN;
	root = heatmap_json(&self->map);
	ASSERT_NE(NULL, root);
	EXPECT_STREQ("faults", json_string_value(json_object_get(root, "metric")));
	EXPECT_EQ(7, json_array_size(json_object_get(root, "columns")));
	EXPECT_EQ(4, json_array_size(json_object_get(root, "rows")));
	row = json_array_get(json_object_get(root, "rows"), 0);
	EXPECT_TRUE(json_is_null(json_array_get(row, 1)));
	EXPECT_EQ(3, json_integer_value(json_array_get(row, 2)));
	json_decref(root);
}

TEST(states_have_their_own_digits)
{
	struct pinfold_live_history history;
	struct heatmap map;

	make_history(&history);
	ASSERT_EQ(0, heatmap_from_history(&history, SLICE, HEATMAP_STATE, &map));
	history_free(&history);
	EXPECT_EQ(0, strncmp("   0.0 s 1234134\n", digits_of(&map), 17)) TH_LOG("%s", digits_of(&map));
	EXPECT_NE(NULL, strstr(digits_of(&map), "1 absent  2 cached  3 pinned  4 folded"));
	heatmap_done(&map);
}

TEST(a_store_without_extents_draws_nothing)
{
	struct pinfold_live_history history = {0};
	struct heatmap map;

	ASSERT_EQ(0, heatmap_from_history(&history, SLICE, HEATMAP_FAULTS, &map));
	EXPECT_EQ(0, map.column_count);
	heatmap_bin(&map, 10, 10);
	digits_of(&map);
	heatmap_done(&map);
}

TEST_HARNESS_MAIN
