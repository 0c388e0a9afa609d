// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * heatmap_color.c - the colour scale.
 *
 * Computed in OKLCH, where equal steps look equal: lightness runs evenly from
 * violet through red and orange to a light yellow. It begins at 0.54, well above the
 * grey of "nothing", so that even the least value is seen on a dark screen.
 */
#include "heatmap.h"

#include <math.h>

const struct rgb heatmap_color_free = {18, 20, 26};
const struct rgb heatmap_color_none = {48, 54, 64};

static uint8_t to_srgb(double linear)
{
	double v = linear <= 0.0031308 ? 12.92 * linear : 1.055 * pow(linear, 1 / 2.4) - 0.055;

	return (uint8_t)lround(255 * fmin(1, fmax(0, v)));
}

/* OKLab to linear sRGB: the matrices that define the space. */
static struct rgb from_oklch(double lightness, double chroma, double hue_degrees)
{
	double h = hue_degrees * M_PI / 180, a = chroma * cos(h), b = chroma * sin(h);
	double l = pow(lightness + 0.3963377774 * a + 0.2158037573 * b, 3);
	double m = pow(lightness - 0.1055613458 * a - 0.0638541728 * b, 3);
	double s = pow(lightness - 0.0894841775 * a - 1.2914855480 * b, 3);

	return (struct rgb){
		to_srgb(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
		to_srgb(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
		to_srgb(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s),
	};
}

struct rgb heatmap_scale_color(double fraction)
{
	double f = fmin(1, fmax(0, fraction));

	return from_oklch(0.54 + 0.42 * f, 0.20 - 0.09 * f * f, 295 + 175 * f);
}

struct rgb heatmap_state_color(unsigned int state)
{
	static const struct rgb colors[] = {
		[PINFOLD_SLICE_FREE] = {18, 20, 26},
		[PINFOLD_SLICE_ABSENT] = {48, 54, 64},
		[PINFOLD_SLICE_CACHED] = {74, 144, 217},
		[PINFOLD_SLICE_PINNED] = {250, 176, 60},
		[PINFOLD_SLICE_FOLDED] = {255, 105, 180},
	};

	return state < sizeof(colors) / sizeof(*colors) ? colors[state] : heatmap_color_none;
}

struct rgb heatmap_color(const struct heatmap *map, float value)
{
	double fraction = heatmap_fraction(map, value);

	if (fraction < 0)
		return heatmap_color_free;
	if (map->metric == HEATMAP_STATE)
		return heatmap_state_color((unsigned int)value);
	return fraction == 0 ? heatmap_color_none : heatmap_scale_color(fraction);
}
