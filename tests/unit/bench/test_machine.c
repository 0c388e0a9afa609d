// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whether the sampling of processors notices what it is there for, and takes nothing else for it. A hypervisor that
 * keeps a processor from its timer interrupt is played by an event that is switched off for as long.
 */
#include "../../bench/machine.h"
#include "../../bench/common.h"
#include "kselftest_harness.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define STOP_US 30000
#define STOP_NS (STOP_US * 1000ull)
/* This machine may really stand still, or others have its processors: not each time. */
#define ATTEMPTS 20

/* Until each processor was sampled at @since or later, which says of the time before whether it stood still. */
static void wait_for_samples(struct bench_machine *machine, uint64_t since)
{
	unsigned sampled = 0;

	for (int i = 0; i < 1000 && sampled < bench_machine_processors(machine); i++) {
		usleep(2000);
		bench_machine_drain(machine);
		sampled = 0;
		for (unsigned k = 0; k < bench_machine_processors(machine); k++) {
			size_t count;
			const struct bench_machine_sample *samples = bench_machine_samples(machine, k, &count);

			sampled += count > 0 && samples[count - 1].at >= since;
		}
	}
}

FIXTURE(machine)
{
	struct bench_machine *machine;
	int cpu;
};

FIXTURE_SETUP(machine)
{
	int r = bench_machine_start(&self->machine);

	if (r == -EACCES || r == -EPERM || r == -ENOENT || r == -EOPNOTSUPP)
		SKIP(return, "perf_event_open() of a processor: %s", strerror(-r));
	ASSERT_EQ(0, r);
	self->cpu = bench_machine_cpu(self->machine, 0);
	wait_for_samples(self->machine, 0);
}

FIXTURE_TEARDOWN(machine)
{
	bench_machine_free(self->machine);
}

static void withhold(struct bench_machine *machine, unsigned count, uint64_t *ret_from, uint64_t *ret_to)
{
	for (unsigned i = 0; i < count; i++)
		bench_machine_withhold(machine, i, true);
	*ret_from = bench_now_ns() + BENCH_MACHINE_PERIOD_NS; /* the first that is missing */
	usleep(STOP_US);
	*ret_to = bench_now_ns();
	for (unsigned i = 0; i < count; i++)
		bench_machine_withhold(machine, i, false);
	wait_for_samples(machine, *ret_to);
}

TEST_F(machine, one_processor_stands_still)
{
	uint64_t from, to;
	bool apart = false;

	for (int i = 0; i < ATTEMPTS && !apart; i++) {
		withhold(self->machine, 1, &from, &to);
		ASSERT_EQ(to - from, bench_machine_still(self->machine, self->cpu, self->cpu, from, to));
		/* the others do not, nor all at once */
		apart = bench_machine_still(self->machine, -1, -1, from, to) < (to - from) / 2;
		if (bench_machine_processors(self->machine) == 1)
			SKIP(return, "there is one processor: it is all of them");
	}
	EXPECT_TRUE(apart);
	bench_machine_stop(self->machine);
}

TEST_F(machine, all_stand_still)
{
	uint64_t from, to;

	withhold(self->machine, bench_machine_processors(self->machine), &from, &to);
	bench_machine_stop(self->machine);
	EXPECT_EQ(to - from, bench_machine_still(self->machine, -1, -1, from, to));
	EXPECT_EQ((to - from) / 2, bench_machine_still(self->machine, -1, -1, from, from + (to - from) / 2));
	EXPECT_LE(bench_machine_others(self->machine, from, to), BENCH_MACHINE_PERIOD_NS);
}

static bool bind_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) == 0;
}

static void spin(uint64_t ns)
{
	const uint64_t until = bench_now_ns() + ns;

	while (bench_now_ns() < until)
		;
}

/* What keeps every other thread from a processor is not the machine, and is seen for what it is. */
TEST_F(machine, hog_is_not_the_machine)
{
	const struct sched_param highest = {.sched_priority = 99};
	bool told = false;

	if (!bind_to(self->cpu) || sched_setscheduler(0, SCHED_FIFO, &highest) != 0)
		SKIP(return, "SCHED_FIFO on processor %d: %s", self->cpu, strerror(errno));
	for (int i = 0; i < ATTEMPTS && !told; i++) {
		uint64_t from = bench_now_ns(), to;
		const struct bench_machine_sample *samples;
		size_t count, own = 0, within = 0;

		spin(STOP_NS);
		to = bench_now_ns();
		usleep(5000);
		bench_machine_drain(self->machine);
		samples = bench_machine_samples(self->machine, 0, &count);
		for (size_t k = 0; k < count; k++) {
			if (samples[k].at < from || samples[k].at >= to)
				continue;
			within++;
			own += samples[k].who == BENCH_MACHINE_OWN && samples[k].tid == gettid();
		}
		EXPECT_EQ(within, own);
		told = bench_machine_still(self->machine, self->cpu, self->cpu, from, to) == 0 &&
		       own + 2 >= STOP_NS / BENCH_MACHINE_PERIOD_NS;
	}
	EXPECT_TRUE(told);
	bench_machine_stop(self->machine);
}

TEST_F(machine, other_process_is_told)
{
	bool told = false;

	for (int i = 0; i < ATTEMPTS && !told; i++) {
		const uint64_t from = bench_now_ns();
		uint64_t to, others;
		pid_t child = fork();

		ASSERT_GE(child, 0);
		if (child == 0) {
			spin(STOP_NS);
			_exit(0);
		}
		ASSERT_EQ(child, waitpid(child, NULL, 0));
		to = bench_now_ns();
		usleep(5000);
		bench_machine_drain(self->machine);
		others = bench_machine_others(self->machine, from, to);
		EXPECT_LE(others, to - from);
		told = others >= STOP_NS * 3 / 4;
	}
	EXPECT_TRUE(told);
	bench_machine_stop(self->machine);
}

TEST_HARNESS_MAIN
