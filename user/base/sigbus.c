/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * DESIGN: each thread has a small stack of {jump target, address range} in
 * static TLS. Arming is two stores: no system call, no allocation. The handler
 * looks from the innermost guard outwards for one that covers the fault.
 *
 *  1. The stack is written only by its own thread; the handler runs on that
 *     thread too, so ordering needs compiler barriers only.
 *  2. The handler runs with SA_NODEFER: the jump does not restore a signal mask
 *     (sigsetjmp(env, 0)), so SIGBUS must not be masked while it runs.
 *  3. TLS is initial-exec: the lazy kind may allocate inside a handler.
 */
#include "base/sigbus.h"

#include "base/error.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

_Thread_local struct pf_sigbus_stack pf_sigbus_stack;
static _Thread_local void *volatile fault_address __attribute__((tls_model("initial-exec")));

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct sigaction previous;
static int install_result;

/* Hands a fault that is not ours to whoever handled SIGBUS before. */
static void chain(int signo, siginfo_t *info, void *context)
{
	struct sigaction fallback = { .sa_handler = SIG_DFL };

	if (previous.sa_flags & SA_SIGINFO) {
		previous.sa_sigaction(signo, info, context);
	} else if (previous.sa_handler == SIG_IGN && info->si_code <= 0) {
		return; /* sent by a process, and ignored before us */
	} else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
		previous.sa_handler(signo);
	} else {
		/* the default is to die: the faulting instruction runs again, a sent signal is raised again */
		sigaction(SIGBUS, &fallback, NULL);
		if (info->si_code <= 0)
			raise(SIGBUS);
	}
}

static void handler(int signo, siginfo_t *info, void *context)
{
	uintptr_t addr = (uintptr_t)info->si_addr;

	if (info->si_code > 0) {
		for (uintptr_t i = *(volatile uintptr_t *)&pf_sigbus_stack.depth; i-- > 0;) {
			const struct pf_sigbus_frame *frame = &pf_sigbus_stack.frames[i];

			if (addr < frame->base || addr - frame->base >= frame->size)
				continue;
			pf_sigbus_stack.depth = i;
			fault_address = info->si_addr;
			if (frame->place)
				__builtin_longjmp(frame->place, 1);
			siglongjmp(*frame->env, 1);
		}
	}
	chain(signo, info, context);
}

static void install(void)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK };

	sigemptyset(&action.sa_mask);
	if (sigaction(SIGBUS, &action, &previous) != 0)
		install_result = -errno;
}

int pf_sigbus_install(void)
{
	pthread_once(&once, install);
	if (install_result)
		return pf_error(install_result, "cannot install the SIGBUS handler");
	return 0;
}

void *pf_sigbus_arm(sigjmp_buf *env, const void *base, uint64_t size)
{
	struct pf_sigbus_stack *stack = &pf_sigbus_stack;
	uintptr_t prev = stack->depth;

	pf_assert(prev < PF_SIGBUS_DEPTH_MAX);
	stack->frames[prev] = (struct pf_sigbus_frame){ .env = env, .base = (uintptr_t)base, .size = size };
	atomic_signal_fence(memory_order_seq_cst);
	*(volatile uintptr_t *)&stack->depth = prev + 1;
	atomic_signal_fence(memory_order_seq_cst);
	return (void *)prev;
}

void pf_sigbus_disarm(void *prev)
{
	pf_sigbus_disarm_place((uintptr_t)prev);
}

const void *pf_sigbus_address(void)
{
	return fault_address;
}
