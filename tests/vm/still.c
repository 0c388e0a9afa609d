// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * still.c - preloaded into QEMU: a guest's clock stands still while its host does.
 *
 * DESIGN
 *   A guest's clock is the host's. When QEMU is stopped for a minute (SIGSTOP, a suspend), the guest finds that its
 *   processors were silent for a minute, and its watchdogs say so. Where it gets a tenth of a processor, its minute
 *   is six seconds' work, much of them spent on timer interrupts, and time limits pass. Here CLOCK_MONOTONIC leaves
 *   such time out, and so does the time stamp counter, which this process is made to trap on. A thread looks at the
 *   clock every LOOK_NS, for an idle guest need not: when nobody has for GAP_NS, all stood still. It also asks the
 *   kernel how long the thread that runs most, which emulates, waited for a processor.
 *
 * Invariants:
 *   1. No two readings, of whichever thread, go backwards.
 *   2. The counter is computed from the clock, by the frequency that the guest is told ($PINFOLD_TSC_KHZ).
 *   3. The clock is read by system call: the C library's way reads the counter.
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define SECOND 1000000000ull
#define GAP_NS SECOND
#define LOOK_NS (SECOND / 50)
/* Threads come and go with the disk's work: looked for this often. Those that emulate are among the first. */
#define LOOKS 25
#define THREADS 16

static atomic_flag lock = ATOMIC_FLAG_INIT;
static uint64_t newest, skipped, shown, khz;

/* Nanoseconds of CLOCK_MONOTONIC, without those of standing still. More of them, @waited, have become known. */
static uint64_t moving_ns(uint64_t waited)
{
	struct timespec t;
	uint64_t now;

	while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire))
		sched_yield();
	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
	now = (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
	if (newest && now - newest > GAP_NS)
		skipped += now - newest;
	skipped += waited;
	newest = now;
	/* What was shown before the waiting was known is caught up with first. */
	if ((int64_t)(now - skipped - shown) > 0)
		shown = now - skipped;
	now = shown;
	atomic_flag_clear_explicit(&lock, memory_order_release);
	return now;
}

/* In place of the C library's. */
__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, struct timespec *t)
{
	uint64_t ns;

	if (clock != CLOCK_MONOTONIC)
		return (int)syscall(SYS_clock_gettime, clock, t);
	ns = moving_ns(0);
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
	ticks = (uint64_t)((unsigned __int128)moving_ns(0) * khz / 1000000);
	registers[REG_RAX] = (greg_t)(ticks & UINT32_MAX);
	registers[REG_RDX] = (greg_t)(ticks >> 32);
}

struct thread {
	int id, file; /* id 0: none */
	uint64_t ran, waited;
};

/* How long the thread has run and waited for a processor so far, in ns. False: it is gone, or the kernel does not say.
 */
static bool ask(const struct thread *thread, uint64_t *ret_ran, uint64_t *ret_waited)
{
	unsigned long long ran, waited;
	char text[64] = "";

	if (pread(thread->file, text, sizeof(text) - 1, 0) <= 0 || sscanf(text, "%llu %llu", &ran, &waited) != 2)
		return false;
	*ret_ran = ran;
	*ret_waited = waited;
	return true;
}

/* Fills in threads that are not known yet, as far as there is room. */
static void find_threads(struct thread *threads)
{
	DIR *directory = opendir("/proc/self/task");
	const struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		struct thread *free = NULL, *known = NULL;
		int id = atoi(entry->d_name);
		char path[64];

		for (int i = 0; i < THREADS; i++) {
			known = threads[i].id == id ? &threads[i] : known;
			free = !threads[i].id ? &threads[i] : free;
		}
		if (!id || known || !free || id == (int)syscall(SYS_gettid))
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%d/schedstat", id);
		free->file = open(path, O_RDONLY | O_CLOEXEC);
		if (free->file < 0)
			continue;
		free->id = id;
		if (!ask(free, &free->ran, &free->waited)) {
			close(free->file);
			free->id = 0;
		}
	}
	if (directory)
		closedir(directory);
}

/* How long the thread waited that ran most, both since they were asked last, in ns. */
static uint64_t wait_of_busiest(struct thread *threads)
{
	uint64_t most = 0, wait = 0, ran, waited;

	for (int i = 0; i < THREADS; i++) {
		struct thread *thread = &threads[i];

		if (!thread->id)
			continue;
		if (!ask(thread, &ran, &waited)) {
			close(thread->file);
			thread->id = 0;
			continue;
		}
		if (ran - thread->ran > most) {
			most = ran - thread->ran;
			wait = waited - thread->waited;
		}
		thread->ran = ran;
		thread->waited = waited;
	}
	return wait;
}

static void *look(void *unused)
{
	static const struct timespec pause = { .tv_nsec = LOOK_NS };
	static struct thread threads[THREADS];

	for (unsigned int n = 0;; n++) {
		nanosleep(&pause, NULL);
		if (n % LOOKS == 0)
			find_threads(threads);
		moving_ns(wait_of_busiest(threads));
	}
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
