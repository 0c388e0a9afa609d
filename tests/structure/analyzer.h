/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the static analyzer cannot know, included before each source that it reads: errno is positive after a failure,
 * and so pf_error() returns a negative number. Without it every "r = f(&out); if (r < 0) return r;" looks as if out
 * could be left unset.
 */
#ifndef PF_ANALYZER_H
#define PF_ANALYZER_H

#include <errno.h>

static inline int *pf_analyzer_errno(void)
{
	int *place = __errno_location();

	if (*place <= 0)
		__builtin_unreachable();
	return place;
}
#undef errno
#define errno (*pf_analyzer_errno())

#ifndef PF_ANALYZER_ERRNO_ONLY
#include <base/error.h>

static inline int pf_analyzer_error(int code)
{
	if (code >= 0)
		__builtin_unreachable();
	return code;
}
#define pf_error(code, ...) pf_analyzer_error(code)
#endif

#endif
