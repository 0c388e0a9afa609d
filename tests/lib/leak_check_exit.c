/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Leak check for the kselftest harness, whose test children leave through _exit() and so never reach
 * LeakSanitizer's own check at exit. Linked with -Wl,--wrap=_exit into sanitizer builds of unit tests.
 *
 * Exit status 1 is the harness's word for a failed test; a child that already fails keeps its own status.
 */
#include <sanitizer/lsan_interface.h>

void __real__exit(int status) __attribute__((noreturn));
void __wrap__exit(int status) __attribute__((noreturn));

/* The harness's codes: 0 is "passed", 4 is "skipped". */
void __wrap__exit(int status)
{
	if (status == 0 && __lsan_do_recoverable_leak_check())
		status = 1;
	__real__exit(status);
}
