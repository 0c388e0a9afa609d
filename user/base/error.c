/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static _Thread_local char error_text[PF_ERROR_MAX];

int (pf_error)(int code, const char *format, ...) /* error.h makes it a macro for the analyzer */
{
	va_list args;

	va_start(args, format);
	vsnprintf(error_text, sizeof(error_text), format, args);
	va_end(args);
	return code;
}

const char *pf_error_text(void)
{
	return error_text;
}

void pf_error_clear(void)
{
	error_text[0] = '\0';
}

_Noreturn void pf_assert_failed(const char *condition, const char *file, int line)
{
	fprintf(stderr, "pinfold: broken invariant: %s (%s:%d)\n", condition, file, line);
	abort();
}
