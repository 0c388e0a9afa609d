/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tap.h"

#include <stdarg.h>
#include <stdio.h>

static unsigned result_count, failure_count;

void tap_begin(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("TAP version 13");
}

bool tap_result(bool ok, const char *format, ...)
{
	va_list args;

	result_count++;
	failure_count += !ok;
	printf("%s %u - ", ok ? "ok" : "not ok", result_count);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	return ok;
}

void tap_skip(const char *name, const char *why)
{
	result_count++;
	printf("ok %u - %s # SKIP %s\n", result_count, name, why);
}

void tap_note(const char *format, ...)
{
	va_list args;

	fputs("# ", stdout);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

int tap_end(void)
{
	printf("1..%u\n", result_count);
	fflush(stdout);
	return failure_count ? 1 : 0;
}
