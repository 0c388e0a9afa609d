/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * table_grow.c - how long puts take while their table grows from nothing.
 *
 * In async mode a put waits for the device only when it cannot help it. What the device itself does meanwhile is
 * measured beside it: a thread writes and flushes a block of a file of its own on the same filesystem, over and
 * over. A put of more than STALL_NS is explained if the writes that ran at the same time took as much, save STALL_NS.
 * Without --rate puts come as fast as they are taken, so the table is always behind; with it, as fast as said.
 * Of the others it is said how many only waited for a processor (/proc/thread-self/schedstat, read every few puts), and
 * how many came while a hypervisor had the processors (/proc/stat, read at each write of the probe).
 */
#include "table.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
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
	uint64_t stolen;   /* of a probe: by the hypervisor, from all processors, until its end */
};

struct probe {
	pthread_t thread;
	atomic_bool stop;
	char path[600];
	struct span *spans;
	size_t count;
};

/* Nanoseconds that a hypervisor has kept from all processors; 0 where the kernel does not say. */
static uint64_t stolen_ns(int fd)
{
	unsigned long long ticks = 0;
	char text[256];
	ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return 0;
	text[n] = 0;
	if (sscanf(text, "cpu %*u %*u %*u %*u %*u %*u %*u %llu", &ticks) != 1)
		return 0;
	return ticks * (1000000000ull / (uint64_t)sysconf(_SC_CLK_TCK));
}

static void *probe_run(void *arg)
{
	struct probe *probe = arg;
	char block[4096] = "";
	int stat = open("/proc/stat", O_RDONLY | O_CLOEXEC), fd = open(probe->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || pwrite(fd, block, sizeof(block), 0) != sizeof(block) || fsync(fd))
		bench_die("%s: %s", probe->path, strerror(errno));
	while (!probe->stop && probe->count < PROBES_MAX) {
		uint64_t from = bench_now_ns();

		if (pwrite(fd, block, sizeof(block), 0) != sizeof(block) || fdatasync(fd))
			bench_die("%s: %s", probe->path, strerror(errno));
		probe->spans[probe->count++] =
			(struct span){.from = from, .to = bench_now_ns(), .stolen = stolen_ns(stat)};
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
	if (!probe->spans || pthread_create(&probe->thread, NULL, probe_run, probe))
		bench_die("out of memory");
}

static void probe_end(struct probe *probe)
{
	probe->stop = true;
	pthread_join(probe->thread, NULL);
}

/* Nanoseconds of writing in those probes that overlap @stall. */
static uint64_t device_time(const struct probe *probe, const struct span *stall)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < probe->count; i++)
		if (probe->spans[i].from < stall->to && probe->spans[i].to > stall->from)
			sum += probe->spans[i].to - probe->spans[i].from;
	return sum;
}

/* Nanoseconds stolen between the last probe before @stall and the first after it. */
static uint64_t stolen_time(const struct probe *probe, const struct span *stall)
{
	uint64_t before = 0, after = 0;

	for (size_t i = 0; i < probe->count; i++) {
		if (probe->spans[i].to <= stall->from)
			before = probe->spans[i].stolen;
		after = probe->spans[i].stolen;
		if (probe->spans[i].from >= stall->to)
			break;
	}
	return after - before;
}

struct growth {
	struct bench_hist hist;
	struct span stalls[STALLS_MAX];
	size_t stall_count;
	double seconds;
};

#define SCHEDSTAT_EVERY 64

/* Nanoseconds that this thread has been runnable without a processor; 0 where the kernel does not say. */
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

static void grow(struct table_bench *bench, struct table_store *store, struct growth *growth)
{
	uint64_t step = table_step(bench->grow_to), begin = bench_now_ns(), waited = 0;
	int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);

	for (uint64_t i = 0; i < bench->grow_to; i++) {
		const uint64_t due = bench->rate ? begin + (uint64_t)((double)i * 1e9 / bench->rate) : 0;
		uint8_t key[TABLE_KEY], value[TABLE_VALUE];
		/* in an order that has nothing to do with the keys' */
		uint64_t number = 2 * (i * 2654435761ull % bench->grow_to), from, ns;

		if (i % SCHEDSTAT_EVERY == 0)
			waited = runnable_ns(fd);
		table_key(number, step, key);
		table_value(number, value);
		while ((from = bench_now_ns()) < due) /* sooner than that, others have the processor */
			if (due - from > 100000)
				usleep(50);
		if (pinfold_table_put(store->table, key, sizeof(key), value, sizeof(value)) < 0)
			bench_die("put: %s", pinfold_errmsg(store->pf));
		ns = bench_now_ns() - from;
		bench_hist_record(&growth->hist, ns);
		if (ns > STALL_NS && growth->stall_count < STALLS_MAX)
			growth->stalls[growth->stall_count++] =
				(struct span){.from = from, .to = from + ns, .runnable = runnable_ns(fd) - waited};
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

static void report(struct table_bench *bench, struct table_store *store, const struct growth *growth,
		   const struct probe *probe)
{
	struct table_figure *figure = alone(bench, "puts", 0, "growth: puts above 5 ms not explained by the device");
	struct pinfold_table_stats stats;
	uint64_t unexplained = 0, longest = 0, device = 0, runnable = 0, stolen = 0;
	double payload;

	for (size_t i = 0; i < growth->stall_count; i++) {
		uint64_t ns = growth->stalls[i].to - growth->stalls[i].from, taken;

		if (device_time(probe, &growth->stalls[i]) + STALL_NS >= ns)
			continue;
		unexplained++;
		taken = stolen_time(probe, &growth->stalls[i]);
		stolen += taken > 0 && taken + STALL_NS >= ns;
		if (bench->verbose)
			fprintf(stderr,
				"put of %.1f ms until %.6f s, of it %.1f ms without a processor; stolen %.0f ms, "
				"writes meanwhile %.1f ms\n",
				(double)ns / 1e6, (double)growth->stalls[i].to / 1e9,
				(double)growth->stalls[i].runnable / 1e6, (double)taken / 1e6,
				(double)device_time(probe, &growth->stalls[i]) / 1e6);
		runnable += growth->stalls[i].runnable + STALL_NS >= ns;
		if (ns > longest)
			longest = ns;
	}
	for (size_t i = 0; i < probe->count; i++)
		if (probe->spans[i].to - probe->spans[i].from > device)
			device = probe->spans[i].to - probe->spans[i].from;
	figure->none = true;
	table_figure_add(figure, (double)unexplained, 0);
	snprintf(
		figure->note, sizeof(figure->note),
		"%zu above 5 ms in all; %llu of the unexplained waited for a processor, %llu for a hypervisor; longest "
		"unexplained %.1f ms; longest put %.1f ms, p99.99 %.3f ms; longest block write %.1f ms",
		growth->stall_count, (unsigned long long)runnable, (unsigned long long)stolen, (double)longest / 1e6,
		(double)growth->hist.max_ns / 1e6, (double)bench_hist_quantile(&growth->hist, 0.9999) / 1e6,
		(double)device / 1e6);
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
	free(probe.spans);
	free(growth);
}
