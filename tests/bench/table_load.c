/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * table_load.c - objects of 1 MiB into a store, past the journal, against what fio writes in one sequence to a file of
 * the same filesystem (direct, 1 MiB, its best of two depths). Both end when all is durable. Each object has an extent
 * of its own, which is the smallest there is, 2 MiB: what is written leaves gaps, fio's has none. No two objects have a
 * block in common: as fio does by itself, each block is stamped before it is written, in the time.
 */
#include "table.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define OBJECT (1u << 20)
#define STAMP_EVERY 512u
#define TOGETHER 64u /* objects that are flushed together */
#define TERSE_WRITE_KIB 47 /* bandwidth of writes in KiB/s, counted from 0, in fio's terse output, version 3 */

static double fio_write(struct table_bench *bench, uint64_t bytes, unsigned depth)
{
	char command[1400], line[8192] = "", *at = line;
	int status;
	FILE *fio;

	snprintf(command, sizeof(command),
		 "fio --name=write --filename='%s/fio' --rw=write --bs=1M --size=%llu --direct=1 --ioengine=io_uring "
		 "--iodepth=%u --end_fsync=1 --overwrite=0 --fallocate=posix --minimal --terse-version=3",
		 bench->dir, (unsigned long long)bytes, depth);
	fio = popen(command, "r");
	if (!fio || !fgets(line, sizeof(line), fio))
		bench_die("fio: no output");
	while (fgetc(fio) != EOF)
		;
	status = pclose(fio);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		bench_die("fio failed: %s", line);
	for (unsigned i = 0; at && i < TERSE_WRITE_KIB; i++) {
		at = strchr(at, ';');
		at += at != NULL;
	}
	snprintf(command, sizeof(command), "%s/fio", bench->dir);
	remove(command);
	if (!at || strtod(at, NULL) <= 0)
		bench_die("fio: no rate in: %s", line);
	return strtod(at, NULL) * 1024;
}

/* Makes the bytes at @data those of object @number. */
static void stamp(uint8_t *data, uint64_t number)
{
	for (unsigned i = 0; i < OBJECT; i += STAMP_EVERY) {
		const uint64_t word = table_mix(number * (OBJECT / STAMP_EVERY) + i / STAMP_EVERY);

		memcpy(data + i, &word, sizeof(word));
	}
}

/* Some objects: their extents, filled, durable, then named. */
static void load_some(struct pinfold *pf, uint64_t first, unsigned count, uint8_t *data)
{
	struct pinfold_extent extents[TOGETHER];
	int r = 0;

	for (unsigned i = 0; r == 0 && i < count; i++) {
		r = pinfold_extent_alloc(pf, OBJECT, 0, &extents[i]);
		stamp(data, first + i);
		if (r == 0)
			r = pinfold_bulk_write(pf, &extents[i], 0, data, OBJECT);
	}
	if (r == 0)
		r = pinfold_bulk_flush(pf, extents, count);
	for (unsigned i = 0; r == 0 && i < count; i++) {
		const struct pinfold_object_id id = {.kind = PINFOLD_OBJECT_ROWGROUP, .a = 1, .b = first + i};
		const struct pinfold_object object = {.size = OBJECT, .extent_count = 1, .extents = &extents[i]};

		r = pinfold_object_create(pf, &id, &object, false);
	}
	if (r < 0)
		bench_die("load: %s", pinfold_errmsg(pf));
}

static double store_load(struct table_bench *bench, unsigned objects, uint8_t *data)
{
	struct table_store store;
	uint64_t begin;
	double rate;

	table_store_open(&store, bench, "load", PINFOLD_SYNC_ASYNC, true);
	begin = bench_now_ns();
	for (unsigned i = 0; i < objects; i += TOGETHER)
		load_some(store.pf, i, objects - i < TOGETHER ? objects - i : TOGETHER, data);
	if (pinfold_checkpoint(store.pf) < 0)
		bench_die("load: %s", pinfold_errmsg(store.pf));
	rate = (double)objects * OBJECT * 1e9 / (double)(bench_now_ns() - begin);
	table_store_close(&store);
	table_clear(store.dir);
	return rate;
}

void table_run_load(struct table_bench *bench)
{
	const unsigned objects = (unsigned)(bench->records / 5000 < 64 ? 64 : bench->records / 5000); /* 2000 of 10 M */
	struct table_figure *figure =
		table_figure(bench, "bytes/s", 0.8, "fio write", "load of 1 MiB objects in 2 MiB extents");
	uint8_t *data = aligned_alloc(4096, OBJECT);

	if (!data)
		bench_die("out of memory");
	for (unsigned i = 0; i < OBJECT; i++)
		data[i] = (uint8_t)table_mix(i);
	for (unsigned i = 0; i < bench->pairs; i++) {
		const uint64_t bytes = (uint64_t)objects * OBJECT;
		double ours = 0, one, many;

		if (i & 1)
			ours = store_load(bench, objects, data);
		one = fio_write(bench, bytes, 1);
		many = fio_write(bench, bytes, 8);
		if (!(i & 1))
			ours = store_load(bench, objects, data);
		table_figure_add(figure, ours, one > many ? one : many);
	}
	free(data);
}
