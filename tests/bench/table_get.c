/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * table_get.c - gets per second and thread: LMDB, one by one, batched; and a bare hash, as the machine's limit.
 *
 * All sides hold the same records, all in memory: everything is read once before. Each thread walks through
 * a sequence of keys of its own, made beforehand; on all sides the last word of each value is compared.
 */
#include "table.h"

#include <pthread.h>
#include <stdlib.h>

#define SEQUENCE ((size_t)1 << 21)
#define CHUNK 2048u

enum side { SIDE_LMDB, SIDE_GET, SIDE_BARE, SIDE_BATCH, SIDE_BARE_BATCH, SIDES };

struct run {
	struct table_bench *bench;
	struct table_lmdb *lmdb;
	struct table_store *store;
	struct table_bare *bare;
	uint64_t step;
	struct table_want *sequence[TABLE_CHOICES][TABLE_THREADS_MAX];
};

struct lane {
	pthread_t thread;
	pthread_barrier_t *start;
	struct run *run;
	const struct table_want *wants;
	enum side side;
	bool misses;
	double seconds, rate;
};

static size_t get_chunk(struct run *run, enum side side, struct table_lmdb_reader *reader,
			const struct table_want *wants)
{
	switch (side) {
	case SIDE_LMDB: return table_lmdb_get(reader, wants, CHUNK);
	case SIDE_GET: return table_store_get(run->store, wants, CHUNK);
	case SIDE_BARE: return table_bare_get(run->bare, wants, CHUNK);
	case SIDE_BATCH: return table_store_get_batch(run->store, wants, CHUNK, run->bench->batch);
	default: return table_bare_get_batch(run->bare, wants, CHUNK);
	}
}

static void *lane_run(void *arg)
{
	struct lane *lane = arg;
	struct run *run = lane->run;
	struct table_lmdb_reader *reader = lane->side == SIDE_LMDB ? table_lmdb_reader(run->lmdb) : NULL;
	uint64_t begin, now, end;
	size_t done = 0, found = 0;

	pthread_barrier_wait(lane->start);
	begin = now = bench_now_ns();
	end = begin + (uint64_t)(lane->seconds * 1e9);
	while (now < end) {
		found += get_chunk(run, lane->side, reader, lane->wants + done % SEQUENCE);
		done += CHUNK;
		now = bench_now_ns();
	}
	if (found != (lane->misses ? 0 : done))
		bench_die("%zu of %zu gets found what they should", found, lane->misses ? 0 : done);
	lane->rate = (double)done * 1e9 / (double)(now - begin);
	if (reader)
		table_lmdb_reader_end(reader);
	return NULL;
}

/* Gets per second of one thread: the mean of @threads that run together. */
static double measure(struct run *run, enum side side, enum table_choice choice, unsigned threads, double seconds)
{
	struct lane lanes[TABLE_THREADS_MAX];
	pthread_barrier_t start;
	double sum = 0;

	pthread_barrier_init(&start, NULL, threads);
	for (unsigned i = 0; i < threads; i++) {
		lanes[i] = (struct lane){.start = &start,
					 .run = run,
					 .side = side,
					 .wants = run->sequence[choice][i],
					 .misses = choice == TABLE_MISSES,
					 .seconds = seconds};
		if (pthread_create(&lanes[i].thread, NULL, lane_run, &lanes[i]))
			bench_die("no thread");
	}
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(lanes[i].thread, NULL);
		sum += lanes[i].rate;
	}
	pthread_barrier_destroy(&start);
	return sum / threads;
}

static void pair(struct run *run, unsigned number, enum table_choice choice, unsigned threads)
{
	const char *name = table_choice_names[choice];
	struct table_bench *bench = run->bench;
	double rate[SIDES];

	for (unsigned i = 0; i < SIDES; i++) { /* who goes first changes from pair to pair */
		enum side side = (enum side)((i + number) % SIDES);

		rate[side] = measure(run, side, choice, threads, bench->seconds);
	}
	table_figure_add(table_figure(bench, "1/s", 5, "mdb_get", "get, %s, %u threads", name, threads),
			 rate[SIDE_GET], rate[SIDE_LMDB]);
	table_figure_add(table_figure(bench, "1/s", 12, "mdb_get", "batched get, %s, %u threads", name, threads),
			 rate[SIDE_BATCH], rate[SIDE_LMDB]);
	table_figure_add(table_figure(bench, "1/s", 0, "bare hash", "get, %s, %u threads, as bare", name, threads),
			 rate[SIDE_GET], rate[SIDE_BARE]);
	table_figure_add(table_figure(bench, "1/s", 0, "bare hash", "batched get, %s, %u threads, as bare", name,
				      threads),
			 rate[SIDE_BATCH], rate[SIDE_BARE_BATCH]);
}

/* Misses are compared with hits of the same pair. */
static void misses_against_hits(struct table_bench *bench, unsigned threads)
{
	static const char *const kinds[] = {"get", "batched get"};

	for (unsigned kind = 0; kind < 2; kind++) {
		struct table_figure *hits, *misses, *figure;

		hits = table_figure(bench, "1/s", 0, "mdb_get", "%s, uniform, %u threads", kinds[kind], threads);
		misses = table_figure(bench, "1/s", 0, "mdb_get", "%s, misses, %u threads", kinds[kind], threads);
		figure = table_figure(bench, "1/s", 1, "hits", "%s, misses, %u threads, as hits", kinds[kind],
				      threads);
		for (unsigned i = 0; i < hits->count; i++)
			table_figure_add(figure, misses->ours[i], hits->ours[i]);
	}
}

/* All records once, in order: pages in memory, translations made. */
static void warm(struct run *run)
{
	static struct table_want wants[CHUNK];
	uint64_t records = run->bench->records;
	struct table_lmdb_reader *reader = table_lmdb_reader(run->lmdb);

	for (uint64_t at = 0; at < records; at += CHUNK) {
		size_t n = records - at < CHUNK ? (size_t)(records - at) : CHUNK;

		for (size_t i = 0; i < n; i++)
			table_want(2 * (at + i), run->step, &wants[i]);
		if (table_lmdb_get(reader, wants, n) != n || table_bare_get(run->bare, wants, n) != n ||
		    table_store_get_batch(run->store, wants, n, 64) != n)
			bench_die("a record is missing or wrong");
	}
	table_lmdb_reader_end(reader);
}

void table_run_get(struct table_bench *bench)
{
	struct run run = {.bench = bench, .step = table_step(bench->records)};
	struct table_store store;
	char dir[512];

	snprintf(dir, sizeof(dir), "%s/get-lmdb", bench->dir);
	run.lmdb = table_lmdb_open(dir, bench->records, TABLE_LMDB_NOSYNC, !bench->keep);
	if (bench->keep && table_lmdb_count(run.lmdb) != bench->records) {
		table_lmdb_close(run.lmdb);
		run.lmdb = table_lmdb_open(dir, bench->records, TABLE_LMDB_NOSYNC, true);
	}
	table_store_open(&store, bench, "get-store", PINFOLD_SYNC_ASYNC, !bench->keep);
	run.store = &store;
	table_fill(run.store, run.lmdb, bench->records);
	run.bare = table_bare_open(bench->dir, bench->records, run.step);
	if (bench->huge)
		table_store_pin_huge(run.store);
	warm(&run);
	for (unsigned choice = 0; choice < TABLE_CHOICES; choice++)
		for (unsigned i = 0; i < bench->threads; i++)
			run.sequence[choice][i] = table_sequence((enum table_choice)choice, bench->records, SEQUENCE,
								 0x1234567 + 977 * choice + i);
	for (unsigned threads = 1; threads <= bench->threads; threads *= 2)
		for (unsigned i = 0; i < bench->pairs; i++)
			for (unsigned choice = 0; choice < TABLE_CHOICES; choice++)
				if (bench->choice < 0 || bench->choice == (int)choice)
					pair(&run, i, (enum table_choice)choice, threads);
	for (unsigned threads = 1; bench->choice < 0 && threads <= bench->threads; threads *= 2)
		misses_against_hits(bench, threads);
	for (unsigned choice = 0; choice < TABLE_CHOICES; choice++)
		for (unsigned i = 0; i < bench->threads; i++)
			free(run.sequence[choice][i]);
	table_bare_close(run.bare);
	table_store_close(&store);
	table_lmdb_close(run.lmdb);
	if (!bench->keep) {
		table_clear(store.dir);
		table_clear(dir);
	}
}
