// SPDX-License-Identifier: LGPL-2.1-or-later
/* units.c - sizes, times and counts as people write and read them. */
#include "config/units.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct unit {
	const char *name;
	double factor;
};

int units_parse_number(const char *text, double *ret_value, const char **ret_rest)
{
	const char *p = text;
	char *end;

	if (!isdigit((unsigned char)*p))
		return -EINVAL;
	while (isdigit((unsigned char)*p))
		p++;
	if (*p == '.') {
		if (!isdigit((unsigned char)p[1]))
			return -EINVAL;
		for (p++; isdigit((unsigned char)*p); p++)
			;
	}
	if (p - text > 30)
		return -EINVAL;
	*ret_value = strtod(text, &end);
	/* "1e3" and "0x10" go further than the digits do. */
	if (end != p)
		return -EINVAL;
	while (*p == ' ')
		p++;
	*ret_rest = p;
	return 0;
}

/* @value as a whole number below 10^18, where it is one but for what was lost in multiplying ("1.001s"). */
static int whole_ms(double value, uint64_t *ret_ms)
{
	if (!(value < 1e18) || fabs(value - round(value)) > 1e-6)
		return -EINVAL;
	*ret_ms = (uint64_t)round(value);
	return 0;
}

static int parse_with_units(const char *text, const struct unit *units, double *ret_value, double *ret_factor)
{
	const char *rest;
	double value;

	if (units_parse_number(text, &value, &rest))
		return -EINVAL;
	for (; units->name; units++) {
		if (strcasecmp(rest, units->name))
			continue;
		*ret_value = value * units->factor;
		*ret_factor = units->factor;
		return 0;
	}
	return -EINVAL;
}

int units_parse_size(const char *text, uint64_t *ret_bytes)
{
	static const struct unit units[] = {
		{"", 1}, {"b", 1},
		{"k", 0x1p10}, {"kb", 0x1p10}, {"kib", 0x1p10},
		{"m", 0x1p20}, {"mb", 0x1p20}, {"mib", 0x1p20},
		{"g", 0x1p30}, {"gb", 0x1p30}, {"gib", 0x1p30},
		{"t", 0x1p40}, {"tb", 0x1p40}, {"tib", 0x1p40},
		{0},
	};
	double value, factor;
	uint64_t exact;

	/* Whole numbers above 2^53 must not be rounded. */
	if (units_parse_count(text, &exact) == 0) {
		*ret_bytes = exact;
		return 0;
	}
	/* a fraction of a byte is lost, but of what is larger: "1.3G" is what people say of sizes */
	if (parse_with_units(text, units, &value, &factor) || !(value < 18446744073709549568.0) ||
	    (factor == 1 && value != floor(value)))
		return -EINVAL;
	*ret_bytes = (uint64_t)value;
	return 0;
}

int units_parse_duration(const char *text, uint64_t *ret_ms)
{
	static const struct unit units[] = {
		{"", 1e3}, {"s", 1e3}, {"ms", 1}, {"m", 60e3}, {"min", 60e3}, {"h", 3600e3}, {"d", 86400e3}, {0},
	};
	double value, factor;

	if (parse_with_units(text, units, &value, &factor))
		return -EINVAL;
	return whole_ms(value, ret_ms);
}

int units_parse_count(const char *text, uint64_t *ret_count)
{
	uint64_t value = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (!isdigit((unsigned char)*text) || value > (UINT64_MAX - (uint64_t)(*text - '0')) / 10)
			return -EINVAL;
		value = value * 10 + (uint64_t)(*text - '0');
	}
	*ret_count = value;
	return 0;
}

const char *units_size(uint64_t bytes, char *buf)
{
	static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)bytes;
	int i = 0;

	while (value >= 1023.95 && i < 6) {
		value /= 1024;
		i++;
	}
	if (i == 0 || value == floor(value))
		snprintf(buf, UNITS_TEXT_MAX, "%.0f %s", value, names[i]);
	else
		snprintf(buf, UNITS_TEXT_MAX, "%.*f %s", value < 100 ? 1 : 0, value, names[i]);
	return buf;
}

const char *units_place(uint64_t bytes, char *buf)
{
	static const char names[] = {0, 'K', 'M', 'G', 'T', 'P'};
	int i = 0;

	while (bytes && i < 5 && bytes % 1024 == 0) {
		bytes /= 1024;
		i++;
	}
	if (i)
		snprintf(buf, UNITS_TEXT_MAX, "%" PRIu64 "%c", bytes, names[i]);
	else
		snprintf(buf, UNITS_TEXT_MAX, "%" PRIu64, bytes);
	return buf;
}

const char *units_ns(double ns, char *buf)
{
	if (!isfinite(ns))
		snprintf(buf, UNITS_TEXT_MAX, "-");
	else if (ns < 999.5)
		snprintf(buf, UNITS_TEXT_MAX, "%.0f ns", ns);
	else if (ns < 999.5e3)
		snprintf(buf, UNITS_TEXT_MAX, "%.*f us", ns < 9.995e3 ? 2 : ns < 99.95e3 ? 1 : 0, ns / 1e3);
	else if (ns < 999.5e6)
		snprintf(buf, UNITS_TEXT_MAX, "%.*f ms", ns < 9.995e6 ? 2 : ns < 99.95e6 ? 1 : 0, ns / 1e6);
	else
		snprintf(buf, UNITS_TEXT_MAX, "%.2f s", ns / 1e9);
	return buf;
}

const char *units_ms(uint64_t ms, char *buf)
{
	if (ms < 1000)
		snprintf(buf, UNITS_TEXT_MAX, "%" PRIu64 " ms", ms);
	else if (ms < 120000)
		snprintf(buf, UNITS_TEXT_MAX, "%.1f s", (double)ms / 1e3);
	else if (ms < 7200000)
		snprintf(buf, UNITS_TEXT_MAX, "%.0f min", (double)ms / 60e3);
	else
		snprintf(buf, UNITS_TEXT_MAX, "%.1f h", (double)ms / 3600e3);
	return buf;
}

const char *units_count(uint64_t count, char *buf)
{
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%" PRIu64, count), out = 0;

	for (int i = 0; i < n; i++) {
		if (i && (n - i) % 3 == 0)
			buf[out++] = ',';
		buf[out++] = digits[i];
	}
	buf[out] = 0;
	return buf;
}
