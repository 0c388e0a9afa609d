// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * still.c - preloaded into QEMU: a guest's clock stands still while its host does.
 *
 * DESIGN
 *   A guest's clock is the host's. When QEMU is stopped for a minute (SIGSTOP, a suspend, no processor to be had), the
 * guest finds that its processors were silent for a minute, and its watchdogs say so. Here CLOCK_MONOTONIC leaves that
 * minute out, and so does the time stamp counter, which this process is made to trap on. A thread looks at the clock
 *   every LOOK_NS, for an idle guest need not: when nobody has for GAP_NS, all stood still.
 *
 * Invariants:
 *   1. No two readings, of whichever thread, go backwards.
 *   2. The counter is computed from the clock, by the frequency that the guest is told ($PINFOLD_TSC_KHZ).
 *   3. The clock is read by system call: the C library's way reads the counter.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define SECOND 1000000000ull
#define GAP_NS SECOND
#define LOOK_NS (SECOND / 10)

static atomic_flag lock = ATOMIC_FLAG_INIT;
static uint64_t newest, skipped, khz;

/* Nanoseconds of CLOCK_MONOTONIC, without those of standing still. */
static uint64_t moving_ns(void)
{
	struct timespec t;
	uint64_t now;

	while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire))
		;
	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
	now = (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
	if (newest && now - newest > GAP_NS)
		skipped += now - newest;
	newest = now;
	now -= skipped;
	atomic_flag_clear_explicit(&lock, memory_order_release);
	return now;
}

/* In place of the C library's. */
__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, struct timespec *t)
{
	uint64_t ns;

	if (clock != CLOCK_MONOTONIC)
		return (int)syscall(SYS_clock_gettime, clock, t);
	ns = moving_ns();
	*t = (struct timespec){ .tv_sec = (time_t)(ns / SECOND), .tv_nsec = (long)(ns % SECOND) };
	return 0;
}

/* Carries out rdtsc and rdtscp; what else trapped traps again, and ends the process. */
static void on_trap(int number, siginfo_t *info, void *context)
{
	static const uint8_t rdtsc[] = { 0x0f, 0x31 }, rdtscp[] = { 0x0f, 0x01, 0xf9 };
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
	const void *at = (const void *)(uintptr_t)registers[REG_RIP];
	uint64_t ticks;

	/* Only where there was no bad address can the code be looked at. */
	if (info->si_code != SI_KERNEL || (memcmp(at, rdtsc, sizeof(rdtsc)) && memcmp(at, rdtscp, sizeof(rdtscp)))) {
		signal(number, SIG_DFL);
		return;
	}
	if (!memcmp(at, rdtscp, sizeof(rdtscp)))
		registers[REG_RCX] = 0;
	registers[REG_RIP] += memcmp(at, rdtsc, sizeof(rdtsc)) ? sizeof(rdtscp) : sizeof(rdtsc);
	ticks = (uint64_t)((unsigned __int128)moving_ns() * khz / 1000000);
	registers[REG_RAX] = (greg_t)(ticks & UINT32_MAX);
	registers[REG_RDX] = (greg_t)(ticks >> 32);
}

static void *look(void *unused)
{
	static const struct timespec pause = { .tv_nsec = LOOK_NS };

	for (;; moving_ns())
		nanosleep(&pause, NULL);
	return unused;
}

/* The thread takes no signal that is meant for QEMU's. */
static int start_looking(void)
{
	sigset_t all, before;
	pthread_t thread;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&thread, NULL, look, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r ? r : pthread_detach(thread);
}

__attribute__((constructor)) static void begin(void)
{
	struct sigaction action = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK };
	const char *frequency = getenv("PINFOLD_TSC_KHZ");

	khz = frequency ? strtoull(frequency, NULL, 10) : 0;
	if (start_looking())
		abort();
	if (khz && !sigaction(SIGSEGV, &action, NULL))
		prctl(PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0);
}
