// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * demo_work.c - hot reads beside a scan, timed.
 *
 * One thread reads the hot set at a steady pace and times each operation; one
 * scans everything as fast as it can; the main thread shows a line per
 * second. The hot set is a fixed random choice of 2 MiB runs, which nobody tells
 * pinfold about.
 */
#include "demo.h"
#include "progress.h"
#include "config/units.h"
#include "settings.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define RUN_BYTES (2ull << 20)
#define PAGE_BYTES 4096u
#define LINE_BYTES 64u
#define KEYS_MAX 200000u
/* Every n-th operation gets a record; the others read a page. */
#define GET_EVERY 10u
#define PACE_NS 1000000ull
/* A reader this far behind its pace does not try to catch up. */
#define BEHIND_NS 20000000ull

/* ---- the hot set ---- */

struct volumes {
	struct pinfold_extent *extents;
	uint64_t *sizes; /* bytes of content in each */
	size_t count;
};

static int add_volume(void *ctx, const struct pinfold_object_id *id, const struct pinfold_object *object)
{
	struct volumes *volumes = ctx;
	struct pinfold_extent *extents;
	uint64_t left = object->size, *sizes;

	if (id->kind != PINFOLD_OBJECT_BLOB || strncmp(id->name, DEMO_VOLUMES "/", strlen(DEMO_VOLUMES) + 1))
		return 0;
	extents = reallocarray(volumes->extents, volumes->count + object->extent_count, sizeof(*extents));
	if (extents)
		volumes->extents = extents;
	sizes = reallocarray(volumes->sizes, volumes->count + object->extent_count, sizeof(*sizes));
	if (sizes)
		volumes->sizes = sizes;
	if (!extents || !sizes)
		return -ENOMEM;
	for (size_t i = 0; i < object->extent_count && left; i++) {
		uint64_t size = left < object->extents[i].len ? left : object->extents[i].len;

		extents[volumes->count] = object->extents[i];
		sizes[volumes->count++] = size;
		left -= size;
	}
	return 0;
}

/* Every whole run of the volumes, shuffled; the first of them are the hot set. */
static int choose_hot(struct demo *demo, const struct volumes *volumes, uint64_t hot_bytes)
{
	uint64_t state = DEMO_SEED;
	size_t count = 0;

	for (size_t i = 0; i < volumes->count; i++)
		count += volumes->sizes[i] / RUN_BYTES;
	demo->hot = calloc(count ? count : 1, sizeof(*demo->hot));
	if (!demo->hot)
		return -ENOMEM;
	count = 0;
	for (size_t i = 0; i < volumes->count; i++) {
		for (uint64_t at = 0; at + RUN_BYTES <= volumes->sizes[i]; at += RUN_BYTES)
			demo->hot[count++] = (struct workload_run){volumes->extents[i], at, RUN_BYTES};
	}
	demo->hot_count = hot_bytes / RUN_BYTES < count ? hot_bytes / RUN_BYTES : count;
	for (size_t i = 0; i < demo->hot_count; i++) {
		size_t j = i + workload_random(&state) % (count - i);
		struct workload_run run = demo->hot[i];

		demo->hot[i] = demo->hot[j];
		demo->hot[j] = run;
	}
	demo->hot_bytes = demo->hot_count * RUN_BYTES;
	return demo->hot_count ? 0 : -ENODATA;
}

int demo_work_prepare(struct demo *demo, struct pinfold *pf)
{
	uint64_t limit = demo->options.memory, table = demo->data.table_bytes;
	uint64_t hot_bytes = limit / 100 * DEMO_HOT_PERCENT, table_max = limit / 100 * DEMO_TABLE_PERCENT;
	struct volumes volumes = {0};
	struct pinfold_table *packages;
	int r = pinfold_object_foreach(pf, add_volume, &volumes);

	/* The records are hot too: what they hold counts. */
	hot_bytes -= table < table_max ? table : table_max;
	if (!r)
		r = choose_hot(demo, &volumes, hot_bytes);
	if (!r)
		r = pinfold_table_open(pf, DEMO_TABLE, 0, &packages);
	if (!r)
		r = workload_keys_read(packages, KEYS_MAX, DEMO_SEED, &demo->keys);
	free(volumes.sizes);
	demo->scanned = volumes.extents;
	demo->scanned_count = volumes.count;
	return r ? cli_fail_call(demo->cli, pf, r, "choosing the hot set") : CLI_OK;
}

void demo_work_done(struct demo *demo)
{
	for (int i = 0; i < 2; i++) {
		struct demo_phase *phase = &demo->phases[i];

		for (int op = 0; op < DEMO_OP_COUNT; op++)
			free(phase->per_second[op]);
		free(phase->pinned_bytes);
		watch_close(&phase->watch);
		heatmap_done(&phase->faults);
		heatmap_done(&phase->state);
	}
	free(demo->hot);
	free(demo->scanned);
	workload_keys_done(&demo->keys);
}

/* ---- the threads ---- */

struct work {
	struct demo *demo;
	struct demo_phase *phase;
	struct pinfold *pf;
	struct pinfold_table *table;
	uint64_t start_ns, end_ns;
	_Atomic bool stop;
	_Atomic int error;
	_Atomic uint64_t scan_bytes;
};

static void fail_work(struct work *work, int r)
{
	int none = 0;

	atomic_compare_exchange_strong(&work->error, &none, r);
	work->stop = true;
}

static void *scan_main(void *arg)
{
	struct work *work = arg;
	struct demo *demo = work->demo;
	uint64_t sum = 0;

	pthread_setname_np(pthread_self(), "demo-scan");
	for (size_t i = 0; !work->stop; i = (i + 1) % demo->scanned_count) {
		const struct pinfold_extent *extent = &demo->scanned[i];

		for (uint64_t at = 0; at < extent->len && !work->stop; at += RUN_BYTES) {
			int r = workload_sweep(work->pf, extent, at, RUN_BYTES, &sum);

			if (r) {
				fail_work(work, r);
				return NULL;
			}
			atomic_fetch_add_explicit(&work->scan_bytes, RUN_BYTES, memory_order_relaxed);
		}
	}
	return NULL;
}

static int hot_read(struct work *work, uint64_t *random, uint64_t *sum)
{
	struct demo *demo = work->demo;
	const struct workload_run *run = &demo->hot[workload_random(random) % demo->hot_count];
	uint64_t n = workload_random(random);
	uint64_t page = n % (run->size / PAGE_BYTES), line = (n >> 32) % (PAGE_BYTES / LINE_BYTES);

	return workload_touch(work->pf, &run->extent, run->offset + page * PAGE_BYTES + line * LINE_BYTES, sum);
}

static int hot_get(struct work *work, uint64_t *random, char *value)
{
	const struct workload_keys *keys = &work->demo->keys;
	size_t k = workload_random(random) % keys->count, size;

	return pinfold_table_get(work->table, keys->text + keys->offsets[k], keys->offsets[k + 1] - keys->offsets[k],
				 value, PINFOLD_VALUE_MAX, &size);
}

/* Counts an operation in the second in which it ended. */
static void count_op(struct work *work, enum demo_op op, uint64_t before_ns, uint64_t after_ns)
{
	uint64_t second = (after_ns - work->start_ns) / 1000000000ull;

	if (second < work->phase->seconds)
		histogram_add(&work->phase->per_second[op][second], after_ns - before_ns);
}

static void *hot_main(void *arg)
{
	struct work *work = arg;
	uint64_t random = DEMO_SEED, sum = 0, next_ns = work->start_ns, now_ns = work->start_ns, done = 0;
	uint64_t burst = work->demo->options.rate / (1000000000ull / PACE_NS);
	char *value = malloc(PINFOLD_VALUE_MAX);
	int r = value ? 0 : -ENOMEM;

	pthread_setname_np(pthread_self(), "demo-hot");
	prctl(PR_SET_TIMERSLACK, 1ul, 0, 0, 0);
	while (!r && !work->stop && now_ns < work->end_ns) {
		for (uint64_t i = 0; i < (burst ? burst : 1) && !r; i++) {
			enum demo_op op = ++done % GET_EVERY == 0 && work->demo->keys.count ? DEMO_GET : DEMO_READ;
			uint64_t before_ns = progress_now_ns();

			r = op == DEMO_GET ? hot_get(work, &random, value) : hot_read(work, &random, &sum);
			now_ns = progress_now_ns();
			count_op(work, op, before_ns, now_ns);
		}
		next_ns += PACE_NS;
		if (now_ns > next_ns + BEHIND_NS)
			next_ns = now_ns;
		while (!r && now_ns < next_ns) {
			struct timespec until = {(time_t)(next_ns / 1000000000ull), (long)(next_ns % 1000000000ull)};

			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
			now_ns = progress_now_ns();
		}
	}
	free(value);
	if (r)
		fail_work(work, r);
	return NULL;
}

/* ---- a phase ---- */

static uint64_t pinned_now(struct watch *watch)
{
	return pinfold_live_info(watch->live, &watch->info) ? 0 : watch->info.pin.total_pinned_bytes;
}

static void show_second(struct work *work, uint32_t second)
{
	struct demo_phase *phase = work->phase;
	const struct histogram *reads = &phase->per_second[DEMO_READ][second],
			       *gets = &phase->per_second[DEMO_GET][second];
	char count[UNITS_TEXT_MAX], p50[UNITS_TEXT_MAX], p99[UNITS_TEXT_MAX], pinned[UNITS_TEXT_MAX],
		scan[UNITS_TEXT_MAX];
	static uint64_t scanned_before;
	uint64_t scanned = work->scan_bytes;

	if (second == 0)
		scanned_before = 0;
	demo_say(work->demo, "  %2u s  %7s operations/s  page reads p50 %8s  p99 %8s  pinned %9s  scan %s/s",
		 second + 1, units_count(reads->count + gets->count, count),
		 units_ns((double)histogram_quantile(reads, 0.5), p50),
		 units_ns((double)histogram_quantile(reads, 0.99), p99),
		 units_size(phase->pinned_bytes[second], pinned), units_size(scanned - scanned_before, scan));
	scanned_before = scanned;
}

/* Waits a second at a time; returns early if a thread failed or a signal came. */
static void watch_seconds(struct work *work, struct watch *watch)
{
	for (uint32_t second = 0; second < work->phase->seconds; second++) {
		/* A moment later, so that the last operation of the second is in. */
		uint64_t at_ns = work->start_ns + (second + 1) * 1000000000ull + 10000000ull;

		while (progress_now_ns() < at_ns) {
			if (work->stop || cli_stopped)
				return;
			nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
		}
		work->phase->pinned_bytes[second] = watch->live ? pinned_now(watch) : 0;
		show_second(work, second);
	}
}

static int run_threads(struct demo *demo, struct demo_phase *phase, struct pinfold *pf, struct watch *watch)
{
	struct work work = {.demo = demo, .phase = phase, .pf = pf};
	pthread_t scan, hot;
	int r = pinfold_table_open(pf, DEMO_TABLE, 0, &work.table);

	if (r)
		return cli_fail_call(demo->cli, pf, r, DEMO_TABLE);
	work.start_ns = progress_now_ns();
	work.end_ns = work.start_ns + phase->seconds * 1000000000ull;
	if (pthread_create(&scan, NULL, scan_main, &work))
		return cli_fail(demo->cli, "cannot start a thread");
	if (pthread_create(&hot, NULL, hot_main, &work)) {
		work.stop = true;
		pthread_join(scan, NULL);
		return cli_fail(demo->cli, "cannot start a thread");
	}
	watch_seconds(&work, watch);
	work.stop = true;
	pthread_join(hot, NULL);
	pthread_join(scan, NULL);
	phase->scan_bytes = work.scan_bytes;
	if (work.error)
		return cli_fail(demo->cli, "reading: %s", strerror(-work.error));
	return cli_stopped ? cli_fail(demo->cli, "interrupted") : CLI_OK;
}

/* What the engine knows at the end of the phase, before it closes. */
static void keep_findings(struct demo *demo, struct demo_phase *phase, struct watch *watch)
{
	struct pinfold_live_history history;

	if (!watch->live || watch_read(watch))
		return;
	if (pinfold_live_history(watch->live, &history) == 0) {
		if (heatmap_from_history(&history, watch->info.slice_size, HEATMAP_FAULTS, &phase->faults) == 0)
			snprintf(phase->faults.title, sizeof(phase->faults.title), "faults %s adaptive pinning",
				 phase->adaptive ? "with" : "without");
		if (heatmap_from_history(&history, watch->info.slice_size, HEATMAP_STATE, &phase->state) == 0)
			snprintf(phase->state.title, sizeof(phase->state.title), "state %s adaptive pinning",
				 phase->adaptive ? "with" : "without");
		pinfold_live_history_done(&history);
	}
	pinfold_live_close(watch->live);
	watch->live = NULL;
	phase->watch = *watch;
	phase->watched = true;
	memset(watch, 0, sizeof(*watch));
}

static int allocate_phase(struct demo *demo, struct demo_phase *phase, bool adaptive)
{
	phase->adaptive = adaptive;
	phase->seconds = demo->options.seconds;
	phase->settled_from = (phase->seconds + 1) / 2 < 8 ? (phase->seconds + 1) / 2 : 8;
	phase->pinned_bytes = calloc(phase->seconds, sizeof(*phase->pinned_bytes));
	for (int op = 0; op < DEMO_OP_COUNT; op++)
		phase->per_second[op] = calloc(phase->seconds, sizeof(*phase->per_second[op]));
	if (!phase->pinned_bytes || !phase->per_second[DEMO_READ] || !phase->per_second[DEMO_GET])
		return cli_fail(demo->cli, "out of memory");
	return CLI_OK;
}

int demo_phase_run(struct demo *demo, struct demo_phase *phase, bool adaptive)
{
	struct pinfold_config config;
	struct watch watch = {0};
	struct pinfold *pf;
	int status = settings_open_config(demo->cli, &config), r;

	if (status == CLI_OK)
		status = allocate_phase(demo, phase, adaptive);
	if (status)
		return status;
	config.pin.adaptive_off = !adaptive;
	config.seal = false; /* what a phase has mapped is gone before the next */
	demo_drop_cache(demo);
	status = cli_open_write(demo->cli, &config, &pf);
	if (status)
		return status;
	r = watch_open(demo->dir, &watch);
	if (r)
		demo_say(demo, "  (the store's live state cannot be read: %s)", strerror(-r));
	status = run_threads(demo, phase, pf, &watch);
	for (int op = 0; op < DEMO_OP_COUNT; op++) {
		for (uint32_t second = 0; second < phase->seconds; second++) {
			histogram_merge(&phase->all[op], &phase->per_second[op][second]);
			if (second >= phase->settled_from)
				histogram_merge(&phase->settled[op], &phase->per_second[op][second]);
		}
	}
	if (status == CLI_OK)
		keep_findings(demo, phase, &watch);
	watch_close(&watch);
	return cli_close(demo->cli, pf, status);
}
