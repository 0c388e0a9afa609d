/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * table_put.c - single puts over records that are there, and gets beside them.
 *
 * put: one thread writes records at random, each with another value than before, one per transaction, and nobody waits
 * for the device: pinfold in async mode, LMDB with MDB_NOSYNC, RocksDB's log without sync. What a killed process leaves
 * is not the same: of the other two everything, of pinfold all but the last flush interval. Therefore its time ends
 * only when all is in the journal and in the data files' pages, durably; the others' with their last put. LMDB is run
 * with MDB_WRITEMAP too, which changes nothing of that, and RocksDB with a log that is written and synced every 10 ms
 * only, which may lose as much as pinfold; that time too ends when all is durable. Each pair is compared with the
 * better of both.
 *
 * beside: one thread gets, another puts, at the same rate on both sides, or as fast as each store takes them. An LMDB
 * reader takes a new snapshot every CHUNK gets: with an old one the file would grow without end. Of LMDB's two modes
 * the one with more gets, or with more puts, counts in each pair.
 */
#include "table.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SEQUENCE ((size_t)1 << 20)
#define CHUNK 256u
/* Puts between two looks at the clock. */
#define PUTS_PER_LOOK 64u
/* Puts per second beside gets, unless said otherwise. */
#define RATE 100000.0

enum side { SIDE_PINFOLD, SIDE_LMDB, SIDE_LMDB_MAP, SIDE_ROCKSDB, SIDE_ROCKSDB_LAZY, SIDES };

static const char *const lmdb_modes[2] = {"NOSYNC", "NOSYNC with WRITEMAP"};
static const char *const rocksdb_modes[2] = {"log written at each put", "log synced every 10 ms"};

struct run {
	struct table_bench *bench;
	struct table_store store;
	struct table_lmdb *lmdb[2]; /* by write(), in the map */
	struct table_rocksdb *rocksdb[2]; /* log written at each put, later; NULL: is not compared */
	struct table_want *gets, *puts;
	uint64_t stamp;
};

/* The record of @want, its value new at the start and as always at the end, where gets look. */
static void put_one(struct run *run, enum side side, const struct table_want *want)
{
	uint64_t value[TABLE_VALUE / 8];

	for (unsigned i = 0; i + 1 < TABLE_VALUE / 8; i++)
		value[i] = ++run->stamp * 0x9e3779b97f4a7c15ull;
	value[TABLE_VALUE / 8 - 1] = want->word;
	switch (side) {
	case SIDE_PINFOLD: table_store_put_one(&run->store, want->key, value); break;
	case SIDE_LMDB:
	case SIDE_LMDB_MAP: table_lmdb_put_one(run->lmdb[side - SIDE_LMDB], want->key, value); break;
	default: table_rocksdb_put_one(run->rocksdb[side - SIDE_ROCKSDB], want->key, value); break;
	}
}

/* What puts left to do is done, so that it is not done in the time of the next. */
static void settle(struct run *run, enum side side)
{
	switch (side) {
	case SIDE_PINFOLD: table_store_settle(&run->store); break;
	case SIDE_LMDB:
	case SIDE_LMDB_MAP: table_lmdb_sync(run->lmdb[side - SIDE_LMDB]); break;
	default: table_rocksdb_settle(run->rocksdb[side - SIDE_ROCKSDB]); break;
	}
}

struct writer {
	pthread_t thread;
	struct run *run;
	enum side side;
	double rate, seconds, done; /* puts per second: wanted (0: all it takes), made */
	pthread_barrier_t *start;
	atomic_bool stop;
};

static double write_for(struct writer *writer)
{
	const uint64_t begin = bench_now_ns(), end = begin + (uint64_t)(writer->seconds * 1e9);
	uint64_t count = 0, now = begin;

	if (writer->side >= SIDE_ROCKSDB)
		table_rocksdb_begin(writer->run->rocksdb[writer->side - SIDE_ROCKSDB]);
	while (now < end && !writer->stop) {
		uint64_t due = writer->rate > 0 ? begin + (uint64_t)((double)count * 1e9 / writer->rate) : 0;

		if (due > now) {
			usleep((useconds_t)((due - now) / 1000) + 1);
			now = bench_now_ns();
			continue;
		}
		for (unsigned i = 0; i < PUTS_PER_LOOK; i++, count++)
			put_one(writer->run, writer->side, &writer->run->puts[count % SEQUENCE]);
		now = bench_now_ns();
	}
	if (writer->side >= SIDE_ROCKSDB) {
		table_rocksdb_end(writer->run->rocksdb[writer->side - SIDE_ROCKSDB]);
		now = bench_now_ns();
	}
	if (writer->rate == 0 && writer->side == SIDE_PINFOLD && !writer->start) {
		table_store_sync(&writer->run->store);
		now = bench_now_ns();
	}
	return (double)count * 1e9 / (double)(now - begin);
}

static void *writer_run(void *arg)
{
	struct writer *writer = arg;

	pthread_barrier_wait(writer->start);
	writer->done = write_for(writer);
	return NULL;
}

static size_t get_chunk(struct run *run, enum side side, struct table_lmdb_reader *reader,
			const struct table_want *wants)
{
	if (side == SIDE_PINFOLD)
		return table_store_get(&run->store, wants, CHUNK);
	table_lmdb_reader_renew(reader);
	return table_lmdb_get(reader, wants, CHUNK);
}

/* Gets per second of one thread, beside one that makes @rate puts per second; negative: beside none. */
static double gets_beside(struct run *run, enum side side, double rate, double *ret_puts)
{
	struct table_lmdb_reader *reader =
		side == SIDE_PINFOLD ? NULL : table_lmdb_reader(run->lmdb[side - SIDE_LMDB]);
	struct writer writer = {.run = run, .side = side, .rate = rate, .seconds = 3600};
	uint64_t begin, now, end;
	pthread_barrier_t start;
	size_t done = 0, found = 0;

	pthread_barrier_init(&start, NULL, 2);
	writer.start = &start;
	if (rate >= 0) {
		if (pthread_create(&writer.thread, NULL, writer_run, &writer))
			bench_die("no thread");
		pthread_barrier_wait(&start);
	}
	begin = now = bench_now_ns();
	end = begin + (uint64_t)(run->bench->seconds * 1e9);
	while (now < end) {
		found += get_chunk(run, side, reader, run->gets + done % SEQUENCE);
		done += CHUNK;
		now = bench_now_ns();
	}
	if (rate >= 0) {
		writer.stop = true;
		pthread_join(writer.thread, NULL);
		settle(run, side);
	}
	if (found != done)
		bench_die("%zu of %zu gets found what they should", found, done);
	if (reader)
		table_lmdb_reader_end(reader);
	pthread_barrier_destroy(&start);
	*ret_puts = writer.done;
	return (double)done * 1e9 / (double)(now - begin);
}

static void run_open(struct run *run, struct table_bench *bench, bool rocksdb)
{
	char dir[512];

	*run = (struct run){.bench = bench};
	for (unsigned m = 0; m < 2; m++) {
		snprintf(dir, sizeof(dir), "%s/put-lmdb-%u", bench->dir, m);
		run->lmdb[m] = table_lmdb_open(dir, bench->records,
					       TABLE_LMDB_NOSYNC | (m ? TABLE_LMDB_WRITEMAP : 0), true);
	}
	table_store_open(&run->store, bench, "put-store", PINFOLD_SYNC_ASYNC, true);
	table_fill(&run->store, run->lmdb[0], bench->records);
	table_lmdb_append(run->lmdb[1], bench->records, table_step(bench->records));
	if (bench->huge)
		table_store_pin_huge(&run->store);
	for (unsigned m = 0; m < 2 && rocksdb; m++) {
		snprintf(dir, sizeof(dir), "%s/put-rocksdb-%u", bench->dir, m);
		run->rocksdb[m] = table_rocksdb_open(dir, bench->records, m == 1);
	}
	run->gets = table_sequence(TABLE_UNIFORM, bench->records, SEQUENCE, 0x1234567);
	run->puts = table_sequence(TABLE_UNIFORM, bench->records, SEQUENCE, 0x7654321);
	for (enum side side = SIDE_PINFOLD; side < (run->rocksdb[0] ? SIDES : SIDE_ROCKSDB); side++)
		settle(run, side);
}

static void run_close(struct run *run)
{
	char dir[512];

	table_store_close(&run->store);
	table_clear(run->store.dir);
	for (unsigned m = 0; m < 2; m++) {
		table_lmdb_close(run->lmdb[m]);
		snprintf(dir, sizeof(dir), "%s/put-lmdb-%u", run->bench->dir, m);
		table_clear(dir);
	}
	for (unsigned m = 0; m < 2 && run->rocksdb[m]; m++) {
		table_rocksdb_close(run->rocksdb[m]);
		snprintf(dir, sizeof(dir), "%s/put-rocksdb-%u", run->bench->dir, m);
		table_clear(dir);
	}
	free(run->gets);
	free(run->puts);
}

void table_run_put(struct table_bench *bench)
{
	struct run run;

	run_open(&run, bench, true);
	for (unsigned i = 0; i < bench->pairs; i++) {
		const unsigned sides = run.rocksdb[0] ? SIDES : SIDE_ROCKSDB;
		double rate[SIDES] = {0};

		for (unsigned k = 0; k < sides; k++) { /* who goes first changes from pair to pair */
			struct writer writer = {
				.run = &run, .side = (enum side)((i + k) % sides), .seconds = bench->seconds};

			rate[writer.side] = write_for(&writer);
			settle(&run, writer.side);
		}
		table_figure_add_better(table_figure(bench, "1/s", 0, "mdb_put", "put, 1 thread"), rate[SIDE_PINFOLD],
					&rate[SIDE_LMDB], lmdb_modes);
		if (run.rocksdb[0])
			table_figure_add_better(table_figure(bench, "1/s", 0, "RocksDB", "put, 1 thread, as RocksDB"),
						rate[SIDE_PINFOLD], &rate[SIDE_ROCKSDB], rocksdb_modes);
	}
	run_close(&run);
}

/* Beside @rate puts per second; 0: as many as it takes. */
static void pair_beside(struct run *run, unsigned number, double rate, const char *what)
{
	struct table_bench *bench = run->bench;
	double alone[SIDE_ROCKSDB], beside[SIDE_ROCKSDB], puts[SIDE_ROCKSDB], none;
	struct table_figure *figure;
	enum side better;

	for (unsigned k = 0; k < SIDE_ROCKSDB; k++) {
		enum side side = (enum side)((number + k) % SIDE_ROCKSDB);

		alone[side] = gets_beside(run, side, -1, &none);
		beside[side] = gets_beside(run, side, rate, &puts[side]);
	}
	better = beside[SIDE_LMDB_MAP] > beside[SIDE_LMDB] ? SIDE_LMDB_MAP : SIDE_LMDB;
	figure = table_figure(bench, "1/s", 0, "mdb_get", "get beside %s", what);
	table_figure_add_better(figure, beside[SIDE_PINFOLD], &beside[SIDE_LMDB], lmdb_modes);
	snprintf(figure->note + strlen(figure->note), sizeof(figure->note) - strlen(figure->note),
		 "; puts in the last pair: pinfold %.0f/s, LMDB %.0f/s, with WRITEMAP %.0f/s", puts[SIDE_PINFOLD],
		 puts[SIDE_LMDB], puts[SIDE_LMDB_MAP]);
	table_figure_add(table_figure(bench, "1/s", 0, "get alone", "get beside %s, as alone", what),
			 beside[SIDE_PINFOLD], alone[SIDE_PINFOLD]);
	table_figure_add(table_figure(bench, "1/s", 0, "mdb_get alone", "mdb_get beside %s, as alone", what),
			 beside[better], alone[better]);
	table_figure_add_better(table_figure(bench, "1/s", 0, "mdb_put", "puts beside gets, %s", what),
				puts[SIDE_PINFOLD], &puts[SIDE_LMDB], lmdb_modes);
}

void table_run_beside(struct table_bench *bench)
{
	const double rate = bench->rate > 0 ? bench->rate : RATE;
	char what[40];
	struct run run;

	snprintf(what, sizeof(what), "%.0f puts/s", rate);
	run_open(&run, bench, false);
	for (unsigned i = 0; i < bench->pairs; i++) {
		pair_beside(&run, i, rate, what);
		pair_beside(&run, i, 0, "all puts it takes");
	}
	run_close(&run);
}
