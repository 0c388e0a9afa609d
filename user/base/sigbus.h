/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sigbus.h - turning SIGBUS on a mapped file into a return.
 *
 *	sigjmp_buf env;
 *	void *prev;
 *	if (sigsetjmp(env, 0)) { ... the fault; the guard is disarmed already ... }
 *	else { prev = pf_sigbus_arm(&env, base, size); load; pf_sigbus_disarm(prev); }
 *
 * Only faults inside [base, base + size) on the arming thread jump; every other
 * SIGBUS goes to the handler that was installed before ours. Guards of one
 * thread nest, PF_SIGBUS_DEPTH_MAX deep; the innermost that covers the address wins.
 */
#ifndef PF_SIGBUS_H
#define PF_SIGBUS_H

#include <setjmp.h>
#include <stdint.h>

#define PF_SIGBUS_DEPTH_MAX 8

/** Installs the handler, once per process. Any thread. 0 or -errno of sigaction(). */
int pf_sigbus_install(void);

/**
 * Arms a guard for the calling thread. @env must stay alive until the disarm.
 * Returns a token for pf_sigbus_disarm(): it fits a void *, so a caller's guard
 * structure needs only the sigjmp_buf and that pointer. Async-signal-safe.
 */
void *pf_sigbus_arm(sigjmp_buf *env, const void *base, uint64_t size);
/** Ends the guard that returned @prev, and any inside it. Not after a jump: that disarmed it. */
void pf_sigbus_disarm(void *prev);
/** The address of the calling thread's last caught fault; NULL if there was none. */
const void *pf_sigbus_address(void);

#endif
