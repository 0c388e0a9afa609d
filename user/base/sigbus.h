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
 * thread nest; the innermost that covers the address wins.
 */
#ifndef PF_SIGBUS_H
#define PF_SIGBUS_H

#include "base/error.h"

#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * How deep a thread's guards nest: those of programs, and beside them the library's own, which a program's calls need
 * inside its guards: two (a read inside a cursor's), and as many to spare. Guards on the stack do not count.
 */
#define PF_SIGBUS_CALLER_MAX 8
#define PF_SIGBUS_OWN_MAX 4

/*
 * The same, for a path where sigsetjmp()'s saving of registers and two calls would count: the compiler saves what
 * it needs, and arming is four stores. Guard and range must stay alive until the disarm.
 *
 *	struct pf_sigbus_guard guard;
 *	if (__builtin_setjmp(guard.place)) { ... the fault ... }
 *	else { pf_sigbus_enter(&guard, &range); load; pf_sigbus_leave(&guard); }
 *
 * As with setjmp(), a local that changes between arming and fault must be volatile. The function that calls
 * __builtin_setjmp() is a PF_SIGBUS_FUNCTION: a fault brings it back with registers that it never touched changed, and
 * the compiler must not tell its callers that they are kept (gcc's -fipa-ra does, unless told not to).
 */
#ifdef __clang__
#define PF_SIGBUS_FUNCTION __attribute__((noinline))
#else
#define PF_SIGBUS_FUNCTION __attribute__((noinline, noipa))
#endif

/*
 * Saves in @guard where the function that says this is, and goes to @label if a fault ends the guard; pf_sigbus_enter()
 * arms it. As __builtin_setjmp(), but the code between guard and label keeps its registers; so at @label nothing is
 * known but what @guard itself holds, and no other local may be used. Registers that the caller wants back must lie
 * in the frame before: hence the list.
 */
#if defined(__x86_64__) && !defined(__CET__)
#define PF_SIGBUS_PLACE(guard, label) \
	__asm__ goto("leaq %l[" #label "](%%rip), %%rax\n\t" \
		     "movq %%rbp, (%0)\n\t" \
		     "movq %%rax, 8(%0)\n\t" \
		     "movq %%rsp, 16(%0)" \
		     : \
		     : "r"((guard)->place) \
		     : "rax", "rbx", "r12", "r13", "r14", "r15", "memory" \
		     : label)
#else
#define PF_SIGBUS_PLACE(guard, label) \
	do { \
		if (__builtin_setjmp((guard)->place)) \
			goto label; \
	} while (0)
#endif

/*
 * And for a path where even that would count: single loads, each with the place where its function goes on if it
 * faults. Nothing is armed and nothing is stored; the handler finds the instruction in a table that the linker
 * makes. False: it faulted. (volatile: older compilers forget that a goto with results implies it.)
 */
#if defined(__x86_64__)
#define PF_SIGBUS_LOADS
struct pf_sigbus_load {
	int32_t at, to; /* each relative to itself */
};

/* The entry of the instruction at 1: in the table. */
#define PF_SIGBUS_ENTRY(label) \
	".pushsection pf_sigbus_loads, \"a\"\n\t" \
	".balign 4\n\t" \
	".long 1b - ., %l[" label "] - .\n\t" \
	".popsection"

#define PF_SIGBUS_LOAD(instruction, constraint, ret, from, label) \
	__asm__ volatile goto("1: " instruction " %1, %0\n\t" PF_SIGBUS_ENTRY(#label) \
		     : constraint(ret) \
		     : "m"(from) \
		     : \
		     : label)

/* The same for a comparison: goes on only if what is at @from is @value. */
#define PF_SIGBUS_EXPECT(instruction, value, from, label) \
	__asm__ volatile goto("1: " instruction " %0, %1\n\t" \
		     "jne %l[" #label "]\n\t" PF_SIGBUS_ENTRY(#label) \
		     : \
		     : "r"(value), "m"(from) \
		     : "cc" \
		     : label)

static inline __attribute__((always_inline)) bool pf_sigbus_load_8(const void *at, uint64_t *ret_word)
{
	PF_SIGBUS_LOAD("movq", "=r", *ret_word, *(const uint64_t *)at, fault);
	return true;
fault:
	return false;
}
#endif

/** Has the page at @at translated for reading; a hint. An I/O error is no signal. */
static inline void pf_sigbus_touch(const void *at)
{
#ifdef PF_SIGBUS_LOADS
	uint64_t word;

	(void)pf_sigbus_load_8((const void *)((uintptr_t)at & ~(uintptr_t)7), &word);
#else
	(void)at; /* whoever reads there has it translated */
#endif
}

/** Installs the handler, once per process. Any thread. 0 or -errno of sigaction(). */
int pf_sigbus_install(void);

/**
 * Arms a guard of the library's own for the calling thread. @env must stay alive until the disarm.
 * Returns a token for pf_sigbus_disarm(). Async-signal-safe.
 */
void *pf_sigbus_arm(sigjmp_buf *env, const void *base, uint64_t size);
/**
 * The same for a guard of the program's; *ret_prev is the token, which fits a void *, so that its structure needs only
 * the sigjmp_buf and that pointer. -E2BIG: PF_SIGBUS_CALLER_MAX are armed.
 */
int pf_sigbus_arm_caller(sigjmp_buf *env, const void *base, uint64_t size, void **ret_prev);
/** Ends the guard whose token @prev is, and any inside it. Not after a jump: that disarmed it. */
void pf_sigbus_disarm(void *prev);
/** The address of the calling thread's last caught fault; NULL if there was none. */
const void *pf_sigbus_address(void);

/* ---- what the inline calls need ---- */

struct pf_sigbus_range {
	uintptr_t base;
	uint64_t size;
};

/* A thread's guards form a list, the innermost first. */
struct pf_sigbus_node {
	struct pf_sigbus_node *prev;
	const struct pf_sigbus_range *range;
	sigjmp_buf *env; /* NULL: the node is the first part of a struct pf_sigbus_guard */
};

struct pf_sigbus_guard {
	struct pf_sigbus_node node;
	void *place[5];
};

/* initial-exec: the lazy kind may allocate inside a handler */
extern _Thread_local struct pf_sigbus_node *volatile pf_sigbus_top
	__attribute__((tls_model("initial-exec"), visibility("hidden")));

static inline void pf_sigbus_enter(struct pf_sigbus_guard *guard, const struct pf_sigbus_range *range)
{
	guard->node.prev = pf_sigbus_top;
	guard->node.range = range;
	guard->node.env = NULL;
	atomic_signal_fence(memory_order_seq_cst);
	pf_sigbus_top = &guard->node;
	atomic_signal_fence(memory_order_seq_cst);
}

static inline void pf_sigbus_leave(const struct pf_sigbus_guard *guard)
{
	atomic_signal_fence(memory_order_seq_cst);
	pf_sigbus_top = guard->node.prev;
}

#endif
