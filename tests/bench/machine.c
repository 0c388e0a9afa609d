/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "machine.h"

#include "common.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

/* Of each processor's ring: at 40 bytes a sample it holds 52 s. */
#define RING_BYTES (1u << 20)
#define PROCESSORS_MAX 256

struct processor {
	int cpu, fd;
	uint8_t *ring; /* a page of perf's, then RING_BYTES */
	struct bench_machine_sample *samples;
	size_t count, capacity;
	bool lost; /* samples, since the last one */
};

struct bench_machine {
	unsigned count;
	size_t page;
	int own; /* the process */
	struct processor processor[];
};

/* As the kernel writes it. */
struct record {
	struct perf_event_header header;
	uint32_t pid, tid;
	uint64_t time;
	uint64_t abi; /* of the registers that it had in user space; 0: it has never been there */
	uint64_t reg; /* only with abi */
};

static int event_open(int cpu)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.sample_period = BENCH_MACHINE_PERIOD_NS,
		.sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_REGS_USER,
		.sample_regs_user = 1, /* which does not matter: that there are any tells a process from the kernel */
		.use_clockid = 1,
		.clockid = CLOCK_MONOTONIC,
	};
	long fd = syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);

	return fd < 0 ? -errno : (int)fd;
}

static int processor_open(struct bench_machine *machine, struct processor *processor, int cpu)
{
	void *ring;

	processor->cpu = cpu;
	processor->fd = event_open(cpu);
	if (processor->fd < 0)
		return processor->fd;
	ring = mmap(NULL, machine->page + RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, processor->fd, 0);
	if (ring == MAP_FAILED)
		return -errno;
	processor->ring = ring;
	return 0;
}

int bench_machine_start(struct bench_machine **ret_machine)
{
	int cpus = get_nprocs_conf(), r = 0;
	struct bench_machine *machine;

	if (cpus > PROCESSORS_MAX)
		return -E2BIG;
	machine = calloc(1, sizeof(*machine) + (size_t)cpus * sizeof(machine->processor[0]));
	if (!machine)
		return -ENOMEM;
	machine->page = (size_t)sysconf(_SC_PAGESIZE);
	machine->own = getpid();
	for (int cpu = 0; r == 0 && cpu < cpus; cpu++) {
		struct processor *processor = &machine->processor[machine->count];

		r = processor_open(machine, processor, cpu);
		if (r == -ENODEV) /* it is offline */
			r = 0;
		else
			machine->count++; /* also of one that is half open, to be freed */
	}
	if (r < 0) {
		bench_machine_free(machine);
		return r;
	}
	*ret_machine = machine;
	return 0;
}

void bench_machine_free(struct bench_machine *machine)
{
	if (!machine)
		return;
	for (unsigned i = 0; i < machine->count; i++) {
		struct processor *processor = &machine->processor[i];

		if (processor->ring)
			munmap(processor->ring, machine->page + RING_BYTES);
		if (processor->fd >= 0)
			close(processor->fd);
		free(processor->samples);
	}
	free(machine);
}

/* ---- what was sampled ---- */

static void sample_add(struct processor *processor, const struct bench_machine_sample *sample)
{
	if (processor->count == processor->capacity) {
		processor->capacity = processor->capacity ? 2 * processor->capacity : 4096;
		processor->samples = realloc(processor->samples, processor->capacity * sizeof(*processor->samples));
		if (!processor->samples)
			bench_die("out of memory");
	}
	processor->samples[processor->count++] = *sample;
}

static void record_take(const struct bench_machine *machine, struct processor *processor, const struct record *record)
{
	struct bench_machine_sample sample;

	if (record->header.type !=
	    PERF_RECORD_SAMPLE) { /* lost, throttled: what follows says nothing of the time before */
		processor->lost = true;
		return;
	}
	sample = (struct bench_machine_sample){ .at = record->time, .tid = (int)record->tid };
	if (processor->lost)
		sample.who = BENCH_MACHINE_LOST;
	else if (record->pid == 0 || record->abi == PERF_SAMPLE_REGS_ABI_NONE)
		sample.who = BENCH_MACHINE_KERNEL;
	else
		sample.who = (int)record->pid == machine->own ? BENCH_MACHINE_OWN : BENCH_MACHINE_OTHER;
	processor->lost = false;
	sample_add(processor, &sample);
}

static void processor_drain(const struct bench_machine *machine, struct processor *processor)
{
	struct perf_event_mmap_page *page = (struct perf_event_mmap_page *)processor->ring;
	const uint8_t *data = processor->ring + machine->page;
	uint64_t tail = page->data_tail,
		 head = atomic_load_explicit((_Atomic uint64_t *)&page->data_head, memory_order_acquire);

	while (tail < head) {
		struct record record = { 0 };
		size_t size;

		for (size_t i = 0; i < sizeof(record.header); i++)
			((uint8_t *)&record.header)[i] = data[(tail + i) % RING_BYTES];
		size = record.header.size;
		if (size < sizeof(record.header))
			bench_die("a record of perf has %zu bytes", size);
		for (size_t i = 0; i < size && i < sizeof(record); i++)
			((uint8_t *)&record)[i] = data[(tail + i) % RING_BYTES];
		record_take(machine, processor, &record);
		tail += size;
	}
	atomic_store_explicit((_Atomic uint64_t *)&page->data_tail, tail, memory_order_release);
}

void bench_machine_drain(struct bench_machine *machine)
{
	for (unsigned i = 0; i < machine->count; i++)
		processor_drain(machine, &machine->processor[i]);
}

void bench_machine_stop(struct bench_machine *machine)
{
	for (unsigned i = 0; i < machine->count; i++)
		bench_machine_withhold(machine, i, true);
	bench_machine_drain(machine);
}

int bench_machine_withhold(struct bench_machine *machine, unsigned index, bool withhold)
{
	int r = ioctl(machine->processor[index].fd, withhold ? PERF_EVENT_IOC_DISABLE : PERF_EVENT_IOC_ENABLE, 0);

	return r < 0 ? -errno : 0;
}

unsigned bench_machine_processors(const struct bench_machine *machine)
{
	return machine->count;
}

int bench_machine_cpu(const struct bench_machine *machine, unsigned index)
{
	return machine->processor[index].cpu;
}

const struct bench_machine_sample *bench_machine_samples(const struct bench_machine *machine, unsigned index,
							 size_t *ret_count)
{
	*ret_count = machine->processor[index].count;
	return machine->processor[index].samples;
}

/* ---- what it says ---- */

/* The first sample of @processor at @time or later; its count: none. */
static size_t sample_from(const struct processor *processor, uint64_t time)
{
	size_t low = 0, high = processor->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (processor->samples[middle].at < time)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Whether @processor stood still at @time, and until when that does not change. */
static bool still_at(const struct processor *processor, uint64_t time, uint64_t *ret_until)
{
	const size_t next = sample_from(processor, time + 1);
	uint64_t due, came;

	if (next == processor->count || next == 0) { /* before the first, or after the last: nothing is known */
		*ret_until = next == 0 && processor->count > 0 ? processor->samples[0].at : UINT64_MAX;
		return false;
	}
	due = processor->samples[next - 1].at + BENCH_MACHINE_PERIOD_NS;
	came = processor->samples[next].at;
	*ret_until = came;
	if (processor->samples[next].who == BENCH_MACHINE_LOST || came < due + BENCH_MACHINE_LATE_NS)
		return false;
	if (time < due)
		*ret_until = due;
	return time >= due;
}

uint64_t bench_machine_still(const struct bench_machine *machine, int first, int last, uint64_t from, uint64_t to)
{
	uint64_t sum = 0;

	for (uint64_t time = from, until; time < to; time = until) {
		bool own = false, all = machine->count > 0;

		until = to;
		for (unsigned i = 0; i < machine->count; i++) {
			uint64_t end;
			bool still = still_at(&machine->processor[i], time, &end);

			own |= still && (machine->processor[i].cpu == first || machine->processor[i].cpu == last);
			all &= still;
			if (end < until)
				until = end;
		}
		if (own || all)
			sum += until - time;
	}
	return sum;
}

/* Whom @processor had at @time: a sample stands for the period before it. */
static bool other_at(const struct processor *processor, uint64_t time, uint64_t *ret_until)
{
	const size_t next = sample_from(processor, time + 1);
	uint64_t begin;

	*ret_until = UINT64_MAX;
	if (next == processor->count)
		return false;
	*ret_until = processor->samples[next].at;
	if (processor->samples[next].who != BENCH_MACHINE_OTHER)
		return false;
	begin = processor->samples[next].at - BENCH_MACHINE_PERIOD_NS;
	if (time < begin)
		*ret_until = begin;
	return time >= begin;
}

uint64_t bench_machine_others(const struct bench_machine *machine, uint64_t from, uint64_t to)
{
	uint64_t sum = 0;

	for (uint64_t time = from, until; time < to; time = until) {
		bool other = false;

		until = to;
		for (unsigned i = 0; i < machine->count; i++) {
			uint64_t end;

			other |= other_at(&machine->processor[i], time, &end);
			if (end < until)
				until = end;
		}
		if (other)
			sum += until - time;
	}
	return sum;
}

/* ---- what it costs ---- */

#define COST_TURNS 10
#define COST_TURN_NS 20000000ull
/* What a loop that reads the clock loses at once: more than a turn of it, less than a turn of another process. */
#define JUMP_LOW_NS 300u
#define JUMP_HIGH_NS 100000u

/* Of each second, what the loop lost in jumps. */
static double lost(void)
{
	const uint64_t begin = bench_now_ns();
	uint64_t now = begin, before, sum = 0;

	do {
		before = now;
		now = bench_now_ns();
		if (now - before > JUMP_LOW_NS && now - before < JUMP_HIGH_NS)
			sum += now - before;
	} while (now - begin < COST_TURN_NS);
	return (double)sum / (double)(now - begin);
}

double bench_machine_cost(struct bench_machine *machine)
{
	double with[COST_TURNS], without[COST_TURNS];

	for (int i = 0; i < COST_TURNS; i++) {
		with[i] = lost();
		for (unsigned k = 0; k < machine->count; k++)
			bench_machine_withhold(machine, k, true);
		without[i] = lost();
		for (unsigned k = 0; k < machine->count; k++)
			bench_machine_withhold(machine, k, false);
	}
	bench_machine_drain(machine);
	return bench_median(with, COST_TURNS) - bench_median(without, COST_TURNS);
}
