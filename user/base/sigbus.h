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

#include "base/error.h"

#include <setjmp.h>
#include <stdatomic.h>
#include <stdint.h>

#define PF_SIGBUS_DEPTH_MAX 8

/*
 * The same, for a path where sigsetjmp()'s saving of registers and two calls would count: the compiler saves what
 * it needs, and arming is five stores.
 *
 *	void *place[PF_SIGBUS_PLACE];
 *	if (__builtin_setjmp(place)) { ... the fault ... }
 *	else { prev = pf_sigbus_arm_place(place, base, size); load; pf_sigbus_disarm_place(prev); }
 *
 * As with setjmp(), a local that changes between arming and fault must be volatile.
 */
#define PF_SIGBUS_PLACE 5

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

/* ---- what the inline calls need ---- */

struct pf_sigbus_frame {
	sigjmp_buf *env; /* or */
	void **place;
	uintptr_t base;
	uint64_t size;
};

/* initial-exec: the lazy kind may allocate inside a handler */
extern _Thread_local struct pf_sigbus_stack {
	struct pf_sigbus_frame frames[PF_SIGBUS_DEPTH_MAX];
	uintptr_t depth;
} pf_sigbus_stack __attribute__((tls_model("initial-exec"), visibility("hidden")));

static inline uintptr_t pf_sigbus_arm_place(void **place, const void *base, uint64_t size)
{
	struct pf_sigbus_stack *stack = &pf_sigbus_stack;
	uintptr_t prev = stack->depth;

	pf_assert(prev < PF_SIGBUS_DEPTH_MAX);
	stack->frames[prev] = (struct pf_sigbus_frame){ .place = place, .base = (uintptr_t)base, .size = size };
	atomic_signal_fence(memory_order_seq_cst);
	*(volatile uintptr_t *)&stack->depth = prev + 1;
	atomic_signal_fence(memory_order_seq_cst);
	return prev;
}

static inline void pf_sigbus_disarm_place(uintptr_t prev)
{
	atomic_signal_fence(memory_order_seq_cst);
	*(volatile uintptr_t *)&pf_sigbus_stack.depth = prev;
}

#endif
