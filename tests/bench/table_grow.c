/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * table_grow.c - how long puts take while their table grows from nothing.
 *
 * In async mode a put waits for the device only when it cannot help it. What the device itself does meanwhile is
 * measured beside it: a thread writes and flushes a block of a file of its own on the same filesystem, over and
 * over. A put of more than STALL_NS is explained by the device if writes were under way for as much of its time, save
 * STALL_NS; what a write waited for a processor is not the device's.
 * Without --rate puts come as fast as they are taken, so the table is always behind; with it, as fast as said.
 *
 * Of those that the device does not explain it is said, by the same measure, how many came while a processor on which
 * the put began or ended, or all of them, stood still (machine.h), and how many waited for a processor
 * (/proc/thread-self/schedstat, read every few puts) while another process had one. What is left is the store's.
 */
#include "machine.h"
#include "table.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STALL_NS 5000000ull
#define STALLS_MAX 65536
#define PROBE_PAUSE_US 2000
#define PROBES_MAX (1u << 22)

struct span {
	uint64_t from, to;
	uint64_t runnable; /* of it, without a processor */
	int first, last;   /* of a put: the processors where it began and ended */
};

struct probe {
	pthread_t thread;
	atomic_bool stop;
	char path[600];
	struct span *spans;
	size_t count;
	struct bench_machine *machine; /* NULL: it cannot be sampled */
	double cost;                   /* of a processor, by sampling */
	int refused;
};

static int schedstat_open(void)
{
	return open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
}

/* Nanoseconds that the thread of @fd has been runnable without a processor; 0 where the kernel does not say. */
static uint64_t runnable_ns(int fd)
{
	char text[96];
	ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);
	char *space;

	if (n <= 0)
		return 0;
	text[n] = 0;
	space = strchr(text, ' ');
	return space ? strtoull(space, NULL, 10) : 0;
}

static void *probe_run(void *arg)
{
	struct probe *probe = arg;
	char block[4096] = "";
	int stat = schedstat_open(), fd = open(probe->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || pwrite(fd, block, sizeof(block), 0) != sizeof(block) || fsync(fd))
		bench_die("%s: %s", probe->path, strerror(errno));
	while (!probe->stop && probe->count < PROBES_MAX) {
		const uint64_t waited = runnable_ns(stat), from = bench_now_ns();
		struct span *span = &probe->spans[probe->count++];

		if (pwrite(fd, block, sizeof(block), 0) != sizeof(block) || fdatasync(fd))
			bench_die("%s: %s", probe->path, strerror(errno));
		*span = (struct span){.from = from, .to = bench_now_ns(), .runnable = runnable_ns(stat) - waited};
		if (probe->machine)
			bench_machine_drain(probe->machine);
		usleep(PROBE_PAUSE_US);
	}
	if (stat >= 0)
		close(stat);
	close(fd);
	unlink(probe->path);
	return NULL;
}

static void probe_start(struct probe *probe, const struct table_bench *bench)
{
	snprintf(probe->path, sizeof(probe->path), "%s/probe", bench->dir);
	probe->spans = malloc(PROBES_MAX * sizeof(*probe->spans));
	probe->refused = bench_machine_start(&probe->machine);
	if (probe->machine)
		probe->cost = bench_machine_cost(probe->machine);
	if (!probe->spans || pthread_create(&probe->thread, NULL, probe_run, probe))
		bench_die("out of memory");
}

static void probe_end(struct probe *probe)
{
	probe->stop = true;
	pthread_join(probe->thread, NULL);
	if (probe->machine)
		bench_machine_stop(probe->machine);
}

static uint64_t write_time(const struct span *span)
{
	const uint64_t ns = span->to - span->from;

	return ns > span->runnable ? ns - span->runnable : 0;
}

/* Nanoseconds of writing in the time of @stall: of each probe what overlaps, and not more than it wrote at all. */
static uint64_t device_time(const struct probe *probe, const struct span *stall)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < probe->count; i++) {
		const struct span *span = &probe->spans[i];
		const uint64_t from = span->from > stall->from ? span->from : stall->from,
			       to = span->to < stall->to ? span->to : stall->to, wrote = write_time(span);

		if (from < to)
			sum += to - from < wrote ? to - from : wrote;
	}
	return sum;
}

struct growth {
	struct bench_hist hist;
	struct span stalls[STALLS_MAX];
	size_t stall_count;
	double seconds;
};

#define SCHEDSTAT_EVERY 64

static void grow(struct table_bench *bench, struct table_store *store, struct growth *growth)
{
	uint64_t step = table_step(bench->grow_to), begin = bench_now_ns(), waited = 0;
	int fd = schedstat_open();

	for (uint64_t i = 0; i < bench->grow_to; i++) {
		const uint64_t due = bench->rate ? begin + (uint64_t)((double)i * 1e9 / bench->rate) : 0;
		uint8_t key[TABLE_KEY], value[TABLE_VALUE];
		/* in an order that has nothing to do with the keys' */
		uint64_t number = 2 * (i * 2654435761ull % bench->grow_to), from, ns;
		int cpu;

		if (i % SCHEDSTAT_EVERY == 0)
			waited = runnable_ns(fd);
		table_key(number, step, key);
		table_value(number, value);
		while ((from = bench_now_ns()) < due) /* sooner than that, others have the processor */
			if (due - from > 100000)
				usleep(50);
		cpu = sched_getcpu();
		if (pinfold_table_put(store->table, key, sizeof(key), value, sizeof(value)) < 0)
			bench_die("put: %s", pinfold_errmsg(store->pf));
		ns = bench_now_ns() - from;
		bench_hist_record(&growth->hist, ns);
		if (ns <= STALL_NS || growth->stall_count == STALLS_MAX)
			continue;
		growth->stalls[growth->stall_count++] = (struct span){
			.from = from,
			.to = from + ns,
			.runnable = runnable_ns(fd) - waited,
			.first = cpu,
			.last = sched_getcpu(),
		};
	}
	if (fd >= 0)
		close(fd);
	growth->seconds = (double)(bench_now_ns() - begin) / 1e9;
}

static struct table_figure *alone(struct table_bench *bench, const char *unit, double bound, const char *what)
{
	struct table_figure *figure = table_figure(bench, unit, bound, "", "%s", what);

	figure->alone = figure->at_most = true;
	return figure;
}

/* What explains a put of more than STALL_NS, the first that does. */
enum cause { DEVICE, MACHINE, OTHERS, STORE, CAUSES };

struct stall {
	uint64_t ns, device, still, others; /* nanoseconds each */
	enum cause cause;
};

static bool explains(uint64_t time, const struct stall *stall)
{
	return time + STALL_NS >= stall->ns;
}

static struct stall judge(const struct probe *probe, const struct span *span)
{
	struct stall stall = {.ns = span->to - span->from, .device = device_time(probe, span), .cause = STORE};

	if (probe->machine) {
		stall.still = bench_machine_still(probe->machine, span->first, span->last, span->from, span->to);
		stall.others = bench_machine_others(probe->machine, span->from, span->to);
	}
	if (explains(stall.device, &stall))
		stall.cause = DEVICE;
	else if (explains(stall.still, &stall))
		stall.cause = MACHINE;
	else if (explains(stall.others, &stall) && explains(span->runnable, &stall))
		stall.cause = OTHERS;
	return stall;
}

/* The name of thread @tid, if it is still there. */
static const char *thread_name(int tid, char ret_name[32])
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/comm", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, ret_name, 31);
	if (fd >= 0)
		close(fd);
	ret_name[n > 0 ? n - 1 : 0] = 0;
	return tid == 0 ? "idle" : ret_name;
}

/* Who had each processor in the time of @span: thread and samples, in order. */
static void print_samples(const struct bench_machine *machine, const struct span *span)
{
	for (unsigned i = 0; i < bench_machine_processors(machine); i++) {
		char name[32];
		size_t count, run = 0;
		const struct bench_machine_sample *samples = bench_machine_samples(machine, i, &count);
		const int cpu = bench_machine_cpu(machine, i);

		fprintf(stderr, "  processor %d, stood still %.1f ms, samples of each:", cpu,
			(double)bench_machine_still(machine, cpu, cpu, span->from, span->to) / 1e6);
		for (size_t k = 0; k < count; k++) {
			if (samples[k].at < span->from || samples[k].at >= span->to)
				continue;
			run++;
			if (k + 1 < count && samples[k + 1].at < span->to && samples[k + 1].tid == samples[k].tid)
				continue;
			fprintf(stderr, " %s%s:%d %zu,", samples[k].who == BENCH_MACHINE_OTHER ? "other " : "",
				thread_name(samples[k].tid, name), samples[k].tid, run);
			run = 0;
		}
		fprintf(stderr, "\n");
	}
}

static void print_stall(const struct probe *probe, const struct span *span, const struct stall *stall)
{
	static const char *const names[] = {"device", "machine", "others", "store"};

	fprintf(stderr,
		"%s: put of %.1f ms until %.6f s, of it %.1f ms without a processor; block writes %.1f ms, processors "
		"stood still %.1f ms, other processes %.1f ms\n",
		names[stall->cause], (double)stall->ns / 1e6, (double)span->to / 1e9, (double)span->runnable / 1e6,
		(double)stall->device / 1e6, (double)stall->still / 1e6, (double)stall->others / 1e6);
	if (probe->machine && stall->cause != DEVICE)
		print_samples(probe->machine, span);
}

static void report_stalls(struct table_bench *bench, const struct growth *growth, const struct probe *probe)
{
	struct table_figure *unexplained, *left;
	uint64_t count[CAUSES] = {0}, longest[CAUSES] = {0}, device = 0;

	for (size_t i = 0; i < growth->stall_count; i++) {
		const struct stall stall = judge(probe, &growth->stalls[i]);

		count[stall.cause]++;
		if (stall.ns > longest[stall.cause])
			longest[stall.cause] = stall.ns;
		if (bench->verbose)
			print_stall(probe, &growth->stalls[i], &stall);
	}
	for (size_t i = 0; i < probe->count; i++)
		if (write_time(&probe->spans[i]) > device)
			device = write_time(&probe->spans[i]);
	unexplained = alone(bench, "puts", 0, "growth: puts above 5 ms not explained by the device");
	unexplained->none = true;
	table_figure_add(unexplained, (double)(growth->stall_count - count[DEVICE]), 0);
	snprintf(unexplained->note, sizeof(unexplained->note),
		 "%zu above 5 ms in all; longest put %.1f ms, p99.99 %.3f ms; longest block write %.1f ms",
		 growth->stall_count, (double)growth->hist.max_ns / 1e6,
		 (double)bench_hist_quantile(&growth->hist, 0.9999) / 1e6, (double)device / 1e6);
	left = alone(bench, "puts", 0, "growth: of those, by the store");
	left->none = true;
	table_figure_add(left, (double)count[STORE], 0);
	if (!probe->machine) {
		snprintf(left->note, sizeof(left->note),
			 "the machine's part is not known: perf_event_open(): %s; the longest %.1f ms",
			 strerror(-probe->refused), (double)longest[STORE] / 1e6);
		return;
	}
	snprintf(left->note, sizeof(left->note),
		 "longest %.1f ms; %llu while the machine stood still, longest %.1f ms; %llu while other processes had "
		 "the processor, longest %.1f ms; sampling takes %.2f %% of each processor",
		 (double)longest[STORE] / 1e6, (unsigned long long)count[MACHINE], (double)longest[MACHINE] / 1e6,
		 (unsigned long long)count[OTHERS], (double)longest[OTHERS] / 1e6, 100 * probe->cost);
}

static void report(struct table_bench *bench, struct table_store *store, const struct growth *growth,
		   const struct probe *probe)
{
	struct pinfold_table_stats stats;
	double payload;

	report_stalls(bench, growth, probe);
	table_figure_add(alone(bench, "1/s", 0, "growth: puts per second"),
			 (double)bench->grow_to / growth->seconds, 0);
	if (pinfold_table_stat(store->table, &stats) < 0)
		bench_die("stat: %s", pinfold_errmsg(store->pf));
	payload = (double)(stats.key_bytes + stats.value_bytes);
	table_figure_add(alone(bench, "x payload", 1.3, "growth: space of the table at rest"),
			 (double)stats.extent_bytes / payload, 0);
}

void table_run_grow(struct table_bench *bench)
{
	struct growth *growth = calloc(1, sizeof(*growth));
	struct table_store store;
	struct probe probe = {0};

	if (!growth || bench->grow_to % 2654435761ull == 0)
		bench_die("out of memory");
	table_store_open(&store, bench, "grow", PINFOLD_SYNC_ASYNC, true);
	probe_start(&probe, bench);
	grow(bench, &store, growth);
	probe_end(&probe);
	if (table_store_count(&store) != bench->grow_to)
		bench_die("records are missing");
	report(bench, &store, growth, &probe);
	table_store_close(&store);
	table_clear(store.dir);
	bench_machine_free(probe.machine);
	free(probe.spans);
	free(growth);
}
