/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * error.h - the words of a failure, per thread.
 *
 * Functions return -errno and leave the text here; the engine hands it to the
 * caller. Nothing is printed.
 */
#ifndef PF_ERROR_H
#define PF_ERROR_H

#include <errno.h>
#include <stddef.h>

#define PF_ERROR_MAX 512

/** Sets the calling thread's text and returns @code, so: return pf_error(-EINVAL, "..."). */
int pf_error(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
#ifdef __clang_analyzer__ /* which does not see into another file that the code comes back, and is negative */
#define pf_error(code, ...)                       \
	({                                        \
		int pf_code_ = (code);            \
		(pf_error)(pf_code_, __VA_ARGS__); \
		if (pf_code_ >= 0)                \
			__builtin_unreachable();  \
		pf_code_;                         \
	})
#endif
/** The calling thread's text; "" if none. Valid until its next pf_error(). */
const char *pf_error_text(void);
void pf_error_clear(void);

/** Ends the process after a broken invariant of our own (never for input): assert that stays in release builds. */
#define pf_assert(condition) ((condition) ? (void)0 : pf_assert_failed(#condition, __FILE__, __LINE__))
_Noreturn void pf_assert_failed(const char *condition, const char *file, int line);

#endif
