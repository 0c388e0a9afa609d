/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * stress_table.c - readers of a record table beside its writers.
 *
 *  1. A get returns a record that somebody wrote for this key, whole, or none.
 *  2. A key that is never deleted is always found, however the table grows.
 *  3. What a reader has seen of a key, or was acknowledged before it looked, is never
 *     older the next time (values carry a count that only grows).
 *  4. A pair of keys that is only ever written together in one batch is found equal by its one writer.
 *  5. An iteration sees every key that is never deleted exactly once.
 *
 *	stress_table [--seconds N] [--seed S]
 */
#include "base/error.h"
#include "crash/rnd.h"
#include "crash/scratch.h"
#include "crash/tap.h"
#include "store/table/table.h"

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEYS 4096
#define STAYING 512 /* keys below it are never deleted */
#define VALUE_WORDS 64
#define BATCH 40 /* keys of a batched get: more than are in flight at once */

static struct {
	struct pf_store *store;
	struct pf_table *table;
	uint64_t seed;
	_Atomic bool stop;
	_Atomic uint64_t written[KEYS]; /* count acknowledged for the key; its one writer's */
	_Atomic unsigned failed;
	char text[512];
	_Atomic uint64_t gets, misses, batched, scans, puts, deletes, swaps, batches;
} stress;

static void fail(const char *what, uint64_t key, uint64_t a, uint64_t b)
{
	if (atomic_fetch_add(&stress.failed, 1) == 0)
		snprintf(stress.text, sizeof(stress.text), "%s: key %llu: %llu against %llu (%s)", what,
			 (unsigned long long)key, (unsigned long long)a, (unsigned long long)b, pf_error_text());
	atomic_store(&stress.stop, true);
}

static bool running(void)
{
	return !atomic_load(&stress.stop);
}

/* Words: key, count, then a stream of both. */
static size_t make_value(uint32_t key, uint64_t count, uint64_t *ret_words)
{
	struct rnd rnd = rnd_of(key, count, 1, 0);
	size_t words = 3 + rnd_below(&rnd, VALUE_WORDS - 3);

	if (key & 2) /* such a record keeps its size, so it is written over in place */
		words = 36;
	ret_words[0] = key;
	ret_words[1] = count;
	for (size_t i = 2; i < words; i++)
		ret_words[i] = rnd_next(&rnd);
	return words * 8;
}

/* The count that @words carry; fails law 1 if they are not whole. */
static uint64_t value_count(uint32_t key, const uint64_t *words, size_t size)
{
	uint64_t expected[VALUE_WORDS];

	if (size < 24 || size > sizeof(expected) || words[0] != key || make_value(key, words[1], expected) != size ||
	    memcmp(words, expected, size)) {
		fail("law 1: a record that nobody wrote", key, size, size >= 16 ? words[1] : 0);
		return 0;
	}
	return words[1];
}

/* 0: absent. */
static uint64_t get_count(uint32_t key)
{
	uint64_t words[VALUE_WORDS];
	size_t size = 0;
	int r = pf_table_get(stress.table, &key, sizeof(key), words, sizeof(words), &size);

	if (r == -ENOENT) {
		atomic_fetch_add(&stress.misses, 1);
		return 0;
	}
	if (r < 0) {
		fail("get", key, (uint64_t)-r, 0);
		return 0;
	}
	atomic_fetch_add(&stress.gets, 1);
	return value_count(key, words, size);
}

struct thread_arg {
	unsigned index;
	pthread_t thread;
};

static int put(uint32_t key, uint64_t count)
{
	uint64_t words[VALUE_WORDS];
	size_t size = make_value(key, count, words);

	atomic_fetch_add(&stress.puts, 1);
	return pf_table_put(stress.table, &key, sizeof(key), words, size);
}

static int swap(uint32_t key, uint64_t before, uint64_t count)
{
	uint64_t words[VALUE_WORDS], old[VALUE_WORDS];
	size_t size = make_value(key, count, words), old_size = before ? make_value(key, before, old) : 0;

	atomic_fetch_add(&stress.swaps, 1);
	return pf_table_cas(stress.table, &key, sizeof(key), before ? old : NULL, old_size, words, size);
}

static int put_pair(uint32_t key, uint64_t count)
{
	uint32_t keys[2] = { key, key + 2 };
	uint64_t words[2][VALUE_WORDS];
	struct pinfold_record records[2];

	for (int i = 0; i < 2; i++) {
		size_t size = make_value(keys[i], count, words[i]);

		records[i] = (struct pinfold_record){ &keys[i], sizeof(keys[i]), words[i], size };
	}
	atomic_fetch_add(&stress.batches, 1);
	return pf_table_write(stress.table, records, 2);
}

/* Two writers: even and odd keys. */
static void *writer_main(void *arg)
{
	struct thread_arg *self = arg;
	struct rnd rnd = rnd_of(stress.seed, self->index, 2, 0);
	static uint64_t present[2][KEYS];
	uint64_t *now = present[self->index];

	for (uint64_t count = 2; running(); count++) {
		/* the range widens, so that the table grows all the while */
		uint32_t width = count * 4 < KEYS ? (uint32_t)(STAYING + count * 4) : KEYS;
		uint32_t key = (uint32_t)rnd_below(&rnd, (width < KEYS ? width : KEYS) / 2) * 2 + self->index;
		unsigned what = (unsigned)rnd_below(&rnd, 8);
		int r;

		if (what == 0 && key >= STAYING) {
			r = pf_table_delete(stress.table, &key, sizeof(key));
			if (r == -ENOENT && !now[key])
				r = 0;
			atomic_fetch_add(&stress.deletes, 1);
			atomic_store(&stress.written[key], 0);
			now[key] = 0;
		} else if (what == 1 && key + 2 < KEYS) {
			r = put_pair(key, count);
			if (r == 0)
				now[key] = now[key + 2] = count;
			if (r == 0 && get_count(key) != get_count(key + 2))
				fail("law 4: half a batch", key, key, count);
			if (key + 2 < STAYING)
				atomic_store(&stress.written[key + 2], count);
		} else {
			r = what == 2 ? swap(key, key < STAYING && !now[key] ? 1 : now[key], count) : put(key, count);
			now[key] = count;
		}
		if (r < 0)
			fail("write", key, (uint64_t)-r, what);
		if (key < STAYING)
			atomic_store(&stress.written[key], count);
	}
	return NULL;
}

/* Laws 2 and 3 for @key, of which a get that began when @least was acknowledged says @count. */
static void reader_check(uint32_t key, uint64_t least, uint64_t count, uint64_t *seen)
{
	if (key >= STAYING || !running())
		return;
	if (!count)
		fail("law 2: a key that stays was not found", key, least, seen[key]);
	if (count < least || count < seen[key])
		fail("law 3: older than before", key, count, least > seen[key] ? least : seen[key]);
	seen[key] = count;
}

static void reader_batch(struct rnd *rnd, uint64_t *seen)
{
	static _Thread_local uint64_t words[BATCH][VALUE_WORDS];
	struct pinfold_get gets[BATCH];
	uint64_t least[BATCH], count;
	uint32_t keys[BATCH], width = rnd_below(rnd, 4) ? STAYING : KEYS, first = (uint32_t)rnd_below(rnd, width);
	int r;

	for (unsigned i = 0; i < BATCH; i++) {
		keys[i] = (first + i * 97) % width; /* each once: of two gets of a key, either may be the older */
		least[i] = keys[i] < STAYING ? atomic_load(&stress.written[keys[i]]) : 0;
		gets[i] = (struct pinfold_get){ &keys[i], sizeof(keys[i]), words[i], sizeof(words[i]), 0, 1 };
	}
	r = pf_table_get_batch(stress.table, gets, BATCH);
	if (r < 0)
		fail("batched get", 0, (uint64_t)-r, 0);
	atomic_fetch_add(&stress.batched, 1);
	for (unsigned i = 0; i < BATCH; i++) {
		if (gets[i].result < 0 && gets[i].result != -ENOENT)
			fail("get of a batch", keys[i], (uint64_t)-gets[i].result, i);
		count = gets[i].result == 0 ? value_count(keys[i], words[i], gets[i].value_size) : 0;
		reader_check(keys[i], least[i], count, seen);
	}
}

static void *reader_main(void *arg)
{
	struct thread_arg *self = arg;
	struct rnd rnd = rnd_of(stress.seed, self->index, 3, 0);
	uint64_t *seen = calloc(STAYING, sizeof(*seen));

	while (running()) {
		uint32_t key = (uint32_t)rnd_below(&rnd, rnd_below(&rnd, 4) ? STAYING : KEYS);
		uint64_t least = key < STAYING ? atomic_load(&stress.written[key]) : 0;

		if (rnd_below(&rnd, 16) == 0)
			reader_batch(&rnd, seen);
		else
			reader_check(key, least, get_count(key), seen);
	}
	free(seen);
	return NULL;
}

static void scan_once(unsigned char *met)
{
	struct pinfold_record record;
	struct pf_cursor *cursor;
	int r = pf_cursor_open(stress.table, &cursor);

	if (r < 0) {
		fail("cursor", 0, (uint64_t)-r, 0);
		return;
	}
	memset(met, 0, STAYING);
	while ((r = pf_cursor_next(cursor, &record)) == 1) {
		uint64_t words[VALUE_WORDS];
		uint32_t key = KEYS;

		if (record.key_size == sizeof(key))
			memcpy(&key, record.key, sizeof(key));
		if (key >= KEYS || record.value_size > sizeof(words)) {
			fail("law 1: a record with another key", key, record.key_size, record.value_size);
			break;
		}
		memcpy(words, record.value, record.value_size);
		value_count(key, words, record.value_size);
		if (key < STAYING)
			met[key]++;
	}
	pf_cursor_close(cursor);
	if (r < 0)
		fail("iteration", 0, (uint64_t)-r, 0);
	for (uint32_t key = 0; key < STAYING && r == 0; key++)
		if (met[key] != 1)
			fail("law 5: an iteration saw a key that stays a wrong number of times", key, met[key], 1);
	atomic_fetch_add(&stress.scans, 1);
}

static void *scanner_main(void *arg)
{
	unsigned char met[STAYING];

	while (running())
		scan_once(met);
	return arg;
}

static int prepare(const char *dir)
{
	struct pinfold_config wish = {
		.size = sizeof(wish), .flags = PINFOLD_OPEN_CREATE | PINFOLD_OPEN_STORE_ONLY, .file_size = 1ull << 30,
		.max_mapped_size = 1ull << 30, .extent_size = 2ull << 20, .journal_size = 16ull << 20,
		.sync = PINFOLD_SYNC_ASYNC,
	}, config;
	int r = pf_config_complete(&wish, &config);

	if (r == 0)
		r = pf_store_open(dir, &config, &stress.store);
	if (r == 0)
		r = pf_tables_open(stress.store, &config);
	if (r == 0)
		r = pf_table_open(stress.store, "stress", PINFOLD_TABLE_CREATE, &stress.table);
	for (uint32_t key = 0; key < STAYING && r == 0; key++)
		r = put(key, 1);
	return r;
}

static void run(unsigned seconds)
{
	static void *(*const mains[])(void *) = { writer_main, writer_main, reader_main, reader_main, scanner_main };
	struct thread_arg args[5];

	for (unsigned i = 0; i < 5; i++) {
		args[i].index = i;
		pthread_create(&args[i].thread, NULL, mains[i], &args[i]);
	}
	for (unsigned i = 0; i < seconds * 10 && running(); i++)
		nanosleep(&(struct timespec){ 0, 100000000 }, NULL);
	atomic_store(&stress.stop, true);
	for (unsigned i = 0; i < 5; i++)
		pthread_join(args[i].thread, NULL);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seconds", required_argument, NULL, 't' }, { "seed", required_argument, NULL, 's' }, { 0 },
	};
	char dir[SCRATCH_PATH];
	unsigned seconds = 4;
	int option, r;

	stress.seed = 20240006;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 't')
			seconds = strtoul(optarg, NULL, 0);
		else if (option == 's')
			stress.seed = strtoull(optarg, NULL, 0);
		else
			return 2;
	}
	tap_begin();
	tap_note("seed %llu, %u s", (unsigned long long)stress.seed, seconds);
	if (scratch_make(NULL, dir) < 0)
		return 1;
	r = prepare(dir);
	if (tap_result(r == 0, "prepare: %s", r < 0 ? pf_error_text() : "done")) {
		run(seconds);
		tap_result(!stress.failed, "readers beside writers: %s", stress.failed ? stress.text : "no law broken");
		tap_note("%llu puts, %llu deletes, %llu swaps, %llu batches; %llu gets, %llu misses, "
			 "%llu batched gets, %llu scans",
			 (unsigned long long)stress.puts, (unsigned long long)stress.deletes,
			 (unsigned long long)stress.swaps, (unsigned long long)stress.batches,
			 (unsigned long long)stress.gets, (unsigned long long)stress.misses,
			 (unsigned long long)stress.batched, (unsigned long long)stress.scans);
		tap_result(stress.gets && stress.batched && stress.scans && stress.deletes && stress.swaps &&
				   stress.batches,
			   "every kind of call was made");
		r = pf_table_verify(stress.store, NULL, NULL, NULL);
		tap_result(r == 0, "verify: %s", r < 0 ? pf_error_text() : "sound");
		pf_table_close(stress.table);
		pf_tables_close(stress.store);
		r = pf_store_close(stress.store);
		tap_result(r == 0, "close: %s", r < 0 ? pf_error_text() : "done");
	}
	scratch_clear(dir, true);
	return tap_end();
}
