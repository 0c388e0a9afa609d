/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * DESIGN: each thread has a list of guards, {jump target, address range}, which
 * lie in static TLS or on its stack. Arming is a few stores: no system call, no
 * allocation. The handler looks from the innermost guard outwards for one that
 * covers the fault.
 *
 *  1. The list is written only by its own thread; the handler runs on that
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
#include <stdbool.h>
#include <stddef.h>
#include <ucontext.h>

_Thread_local struct pf_sigbus_node *volatile pf_sigbus_top;

/* Guards that pf_sigbus_arm() hands out, and pf_sigbus_arm_caller(): no program takes the library's. */
struct slot {
	struct pf_sigbus_node node;
	struct pf_sigbus_range range;
};
static _Thread_local struct slot own[PF_SIGBUS_OWN_MAX] __attribute__((tls_model("initial-exec")));
static _Thread_local struct slot callers[PF_SIGBUS_CALLER_MAX] __attribute__((tls_model("initial-exec")));
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

#ifdef PF_SIGBUS_LOADS
/* Where the linker puts the table; nowhere if nothing loads so. */
extern const struct pf_sigbus_load __start_pf_sigbus_loads[] __attribute__((weak, visibility("hidden")));
extern const struct pf_sigbus_load __stop_pf_sigbus_loads[] __attribute__((weak, visibility("hidden")));

/* Whether the instruction that faulted says where to go on; then the context does. */
static bool load_faulted(void *context)
{
	greg_t *rip = &((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];

	for (const struct pf_sigbus_load *load = __start_pf_sigbus_loads; load < __stop_pf_sigbus_loads; load++) {
		if (*rip != (greg_t)((uintptr_t)&load->at + (uintptr_t)(intptr_t)load->at))
			continue;
		*rip = (greg_t)((uintptr_t)&load->to + (uintptr_t)(intptr_t)load->to);
		return true;
	}
	return false;
}
#else
static bool load_faulted(void *context)
{
	return false;
}
#endif

static void handler(int signo, siginfo_t *info, void *context)
{
	uintptr_t addr = (uintptr_t)info->si_addr;

	if (info->si_code > 0 && load_faulted(context))
		return;

	for (struct pf_sigbus_node *node = pf_sigbus_top; info->si_code > 0 && node; node = node->prev) {
		if (addr < node->range->base || addr - node->range->base >= node->range->size)
			continue;
		pf_sigbus_top = node->prev;
		fault_address = info->si_addr;
		if (!node->env)
			__builtin_longjmp(((struct pf_sigbus_guard *)node)->place, 1);
		siglongjmp(*node->env, 1);
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

/* Of the @count @slots the one behind the innermost that is in use; NULL: all are. */
static struct slot *slot_next(struct slot *slots, size_t count)
{
	struct pf_sigbus_node *last = pf_sigbus_top;
	size_t used = 0;

	while (last && !(last >= &slots[0].node && last <= &slots[count - 1].node))
		last = last->prev;
	if (last)
		used = (size_t)((struct slot *)last - slots) + 1;
	return used < count ? &slots[used] : NULL;
}

static void *slot_arm(struct slot *slot, sigjmp_buf *env, const void *base, uint64_t size)
{
	struct pf_sigbus_node *prev = pf_sigbus_top;

	slot->range = (struct pf_sigbus_range){ .base = (uintptr_t)base, .size = size };
	slot->node = (struct pf_sigbus_node){ .prev = prev, .range = &slot->range, .env = env };
	atomic_signal_fence(memory_order_seq_cst);
	pf_sigbus_top = &slot->node;
	atomic_signal_fence(memory_order_seq_cst);
	return prev;
}

void *pf_sigbus_arm(sigjmp_buf *env, const void *base, uint64_t size)
{
	struct slot *slot = slot_next(own, PF_SIGBUS_OWN_MAX);

	pf_assert(slot);
	return slot_arm(slot, env, base, size);
}

int pf_sigbus_arm_caller(sigjmp_buf *env, const void *base, uint64_t size, void **ret_prev)
{
	struct slot *slot = slot_next(callers, PF_SIGBUS_CALLER_MAX);

	if (!slot)
		return pf_error(-E2BIG, "guarded sections nest at most %d deep", PF_SIGBUS_CALLER_MAX);
	*ret_prev = slot_arm(slot, env, base, size);
	return 0;
}

void pf_sigbus_disarm(void *prev)
{
	atomic_signal_fence(memory_order_seq_cst);
	pf_sigbus_top = prev;
}

const void *pf_sigbus_address(void)
{
	return fault_address;
}
