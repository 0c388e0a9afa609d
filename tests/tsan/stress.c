/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * stress.c - readers against writers: what a reader may never see.
 *
 *  1. pf_read_at() of up to 64 KiB over many pages: all of a transaction or none of it.
 *  2. pf_read_at() beyond that, and in-place reads by page sequence: each page whole.
 *  3. A commit that was submitted is seen by pf_read_at() at once, also before it is durable.
 *  4. A zero-copy reader inside an epoch never sees the next content of a recycled extent,
 *     and a reference that outlived its extent is answered with -ESTALE, never with other data.
 *
 * The laws hold for readers that lose their processor at any point, too. So at the end readers are held up, beside a
 *writer that takes turns with the applier: what they copy from is used again soon, and the window not stored into for
 *long.
 *
 *	stress [--seconds N] [--seed S]
 *
 * Built twice: as it is, and with ThreadSanitizer (tests/tsan/README.md).
 */
#include "base/clock.h"
#include "base/error.h"
#include "crash/rnd.h"
#include "crash/scratch.h"
#include "crash/tap.h"
#include "store/store.h"

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WINDOW 65536u
#define STAMPS 24
#define LARGE (256u << 10)
#define WRITERS 2
#define READERS 2
#define GENERATIONS 4096
/* Of the second part: readers, and what is committed behind the window, in the same group. */
#define HELD 3
#define REST (64u << 10)
#define RESTS 14

/* A published extent and what fills it. Readers learn of it only through this. */
struct generation {
	struct pinfold_extent extent;
	uint64_t fill;
};

struct stress {
	struct pf_store *store;
	struct pinfold_extent window, large, rest;
	uint64_t seed;
	_Atomic bool stop;
	_Atomic uint64_t committed[WRITERS]; /* newest stamp each writer has submitted */
	struct generation generation[GENERATIONS];
	_Atomic unsigned current; /* index of the newest generation */
	_Atomic unsigned failed, held;
	char text[512];
	_Atomic uint64_t window_reads, page_reads, inplace_reads, own_reads, epoch_reads, stale_reads, txns, recycled;
};

static void fail(struct stress *stress, const char *what, uint64_t a, uint64_t b)
{
	if (atomic_fetch_add(&stress->failed, 1) == 0)
		snprintf(stress->text, sizeof(stress->text), "%s: %llx against %llx (%s)", what, (unsigned long long)a,
			 (unsigned long long)b, pf_error_text());
	atomic_store(&stress->stop, true);
}

static bool running(struct stress *stress)
{
	return !atomic_load(&stress->stop);
}

/* Places of the stamps: spread over pages, some across a page's end. */
static uint32_t stamp_offset(unsigned index)
{
	return index * (WINDOW / STAMPS) + (index % 3 ? 0 : (uint32_t)(4092 - index * (WINDOW / STAMPS) % 4096));
}

struct thread_arg {
	struct stress *stress;
	unsigned index;
};

/* ---- law 1 and 3 ---- */

static int write_window(struct stress *stress, uint64_t stamp, pinfold_ticket *ret_ticket)
{
	struct pf_txn *txn;
	int r = pf_txn_begin(stress->store, &txn);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < STAMPS && r == 0; i++)
		r = pf_txn_write(txn, &stress->window, stamp_offset(i), &stamp, sizeof(stamp));
	for (unsigned page = 0; page < LARGE / 4096 && r == 0; page += 5) {
		r = pf_txn_write(txn, &stress->large, page * 4096, &stamp, sizeof(stamp));
		if (r == 0)
			r = pf_txn_write(txn, &stress->large, page * 4096 + 4088, &stamp, sizeof(stamp));
	}
	if (r < 0) {
		pf_txn_abort(txn);
		return r;
	}
	return pf_txn_submit(txn, ret_ticket);
}

static uint64_t read_window(struct stress *stress)
{
	static _Thread_local unsigned char bytes[WINDOW];
	uint64_t first, other;
	int r = pf_read_at(stress->store, &stress->window, 0, bytes, WINDOW);

	if (r < 0) {
		fail(stress, "read of the window", (uint64_t)-r, 0);
		return 0;
	}
	memcpy(&first, bytes + stamp_offset(0), 8);
	for (unsigned i = 1; i < STAMPS; i++) {
		memcpy(&other, bytes + stamp_offset(i), 8);
		if (other != first)
			fail(stress, "law 1: half a transaction in one read", other, first);
	}
	return first;
}

static void *writer_main(void *arg)
{
	struct thread_arg *self = arg;
	struct stress *stress = self->stress;
	pinfold_ticket ticket = 0;

	for (uint64_t n = 1; running(stress); n++) {
		uint64_t stamp = (uint64_t)(self->index + 1) << 48 | n, seen;
		int r = write_window(stress, stamp, &ticket);

		if (r < 0) {
			fail(stress, "commit", (uint64_t)-r, 0);
			break;
		}
		atomic_store(&stress->committed[self->index], stamp);
		/* whoever wrote last, it is not an older one of mine */
		seen = read_window(stress);
		if (seen >> 48 == self->index + 1 && seen < stamp)
			fail(stress, "law 3: my own commit is not there", seen, stamp);
		atomic_fetch_add(&stress->own_reads, 1);
		atomic_fetch_add(&stress->txns, 1);
		if (n % 8 == 0 && pf_ticket_wait(stress->store, ticket, -1) < 0)
			fail(stress, "wait for a ticket", ticket, 0);
	}
	return NULL;
}

static void *window_reader_main(void *arg)
{
	struct thread_arg *self = arg;
	struct stress *stress = self->stress;

	while (running(stress)) {
		uint64_t before[WRITERS], seen, writer;

		for (unsigned i = 0; i < WRITERS; i++)
			before[i] = atomic_load(&stress->committed[i]);
		seen = read_window(stress);
		writer = (seen >> 48) - 1;
		if (seen && writer < WRITERS && seen < before[writer])
			fail(stress, "law 3: older than what was committed before", seen, before[writer]);
		atomic_fetch_add(&stress->window_reads, 1);
	}
	return NULL;
}

/* ---- law 2 ---- */

static void check_page(struct stress *stress, const char *what, const unsigned char *page)
{
	uint64_t first, last;

	memcpy(&first, page, 8);
	memcpy(&last, page + 4088, 8);
	if (first != last)
		fail(stress, what, first, last);
}

static bool read_in_place(struct stress *stress, const unsigned char *page)
{
	unsigned char copy[4096];
	uint32_t seq;

	do {
		seq = pf_seq_begin(stress->store, page);
		if (pf_page_pending(stress->store, page))
			return false;
		memcpy(copy, page, sizeof(copy));
	} while (pf_seq_retry(stress->store, page, seq));
	check_page(stress, "law 2: half a page in place", copy);
	return true;
}

static void *page_reader_main(void *arg)
{
	struct thread_arg *self = arg;
	struct stress *stress = self->stress;
	unsigned char *bytes = malloc(LARGE);
	const unsigned char *mapped = pf_extent_addr(pf_store_base(stress->store), pf_store_file_size(stress->store),
						     &stress->large);

	while (running(stress)) {
		int r = pf_read_at(stress->store, &stress->large, 0, bytes, LARGE);

		if (r < 0)
			fail(stress, "large read", (uint64_t)-r, 0);
		for (unsigned page = 0; page < LARGE / 4096; page += 5) {
			check_page(stress, "law 2: half a page in a large read", bytes + page * 4096);
			if (read_in_place(stress, mapped + page * 4096))
				atomic_fetch_add(&stress->inplace_reads, 1);
		}
		atomic_fetch_add(&stress->page_reads, 1);
	}
	free(bytes);
	return NULL;
}

/* ---- law 4 ---- */

static int make_generation(struct stress *stress, unsigned index)
{
	struct generation *generation = &stress->generation[index];
	uint64_t *words = malloc(PINFOLD_EXTENT_MIN);
	struct pf_txn *txn = NULL;
	int r;

	generation->fill = rnd_of(stress->seed, index, 7, 0).state | 1;
	for (size_t i = 0; i < PINFOLD_EXTENT_MIN / 8; i++)
		words[i] = generation->fill;
	r = pf_extent_alloc(stress->store, PINFOLD_EXTENT_MIN, 0, &generation->extent);
	if (r == 0)
		r = pf_bulk_write(stress->store, &generation->extent, 0, words, PINFOLD_EXTENT_MIN);
	if (r == 0)
		r = pf_bulk_flush(stress->store, &generation->extent, 1);
	if (r == 0)
		r = pf_txn_begin(stress->store, &txn);
	if (r == 0)
		r = pf_txn_publish(txn, &generation->extent);
	if (r == 0)
		r = pf_txn_commit(txn);
	else
		pf_txn_abort(txn);
	free(words);
	return r;
}

static int drop_generation(struct stress *stress, unsigned index)
{
	struct pf_txn *txn;
	int r = pf_txn_begin(stress->store, &txn);

	if (r < 0)
		return r;
	r = pf_txn_drop(txn, &stress->generation[index].extent);
	if (r < 0) {
		pf_txn_abort(txn);
		return r;
	}
	return pf_txn_commit(txn);
}

static void note_recycling(struct stress *stress, unsigned index)
{
	const struct pinfold_extent *now = &stress->generation[index].extent;

	for (unsigned i = 0; i < index; i++) {
		const struct pinfold_extent *then = &stress->generation[i].extent;

		if (then->file_id == now->file_id && then->offset == now->offset) {
			if (then->gen == now->gen)
				fail(stress, "law 4: a recycled extent has its old generation", now->offset, now->gen);
			atomic_fetch_add(&stress->recycled, 1);
			return;
		}
	}
}

static void *recycler_main(void *arg)
{
	struct thread_arg *self = arg;
	struct stress *stress = self->stress;
	int r = 0;

	for (unsigned i = 1; i < GENERATIONS && running(stress) && r == 0; i++) {
		r = make_generation(stress, i);
		if (r < 0)
			break;
		note_recycling(stress, i);
		atomic_store(&stress->current, i);
		r = drop_generation(stress, i - 1);
		if (r == 0 && i % 4 == 0)
			r = pf_store_checkpoint(stress->store);
	}
	if (r < 0)
		fail(stress, "recycle", (uint64_t)-r, 0);
	return NULL;
}

/* The content must be this generation's for as long as the epoch lasts, dropped or not. */
static void read_generation(struct stress *stress, const struct generation *generation, struct rnd *rnd)
{
	const _Atomic uint64_t *words = pf_extent_addr(pf_store_base(stress->store), pf_store_file_size(stress->store),
						       &generation->extent);

	for (unsigned i = 0, turns = 1 + rnd_below(rnd, 4000); i < turns && running(stress); i++) {
		uint64_t word =
			atomic_load_explicit(&words[rnd_below(rnd, PINFOLD_EXTENT_MIN / 8)], memory_order_relaxed);

		if (word != generation->fill)
			fail(stress, "law 4: other content inside an epoch", word, generation->fill);
	}
	atomic_fetch_add(&stress->epoch_reads, 1);
}

static void *epoch_reader_main(void *arg)
{
	struct thread_arg *self = arg;
	struct stress *stress = self->stress;
	struct rnd rnd = rnd_of(stress->seed, self->index, 8, 0);

	while (running(stress)) {
		unsigned current = atomic_load(&stress->current), old = rnd_below(&rnd, current + 1);
		const struct generation *generation = &stress->generation[current];
		uint64_t words[512];
		int r;

		pf_epoch_enter();
		if (pf_extent_check(stress->store, &generation->extent) == 0)
			read_generation(stress, generation, &rnd);
		pf_epoch_leave();
		generation = &stress->generation[old];
		r = pf_read_at(stress->store, &generation->extent, 8192, words, sizeof(words));
		if (r == -ESTALE) {
			atomic_fetch_add(&stress->stale_reads, 1);
			continue;
		}
		if (r < 0)
			fail(stress, "read of an old reference", (uint64_t)-r, 0);
		for (unsigned i = 0; i < 512 && r == 0; i++)
			if (words[i] != generation->fill)
				fail(stress, "law 4: an old reference shows other data", words[i], generation->fill);
	}
	return NULL;
}

/* ---- */

static int prepare(struct stress *stress, const char *dir)
{
	struct pinfold_config wish = {
		.size = sizeof(wish), .flags = PINFOLD_OPEN_CREATE | PINFOLD_OPEN_STORE_ONLY, .file_size = 1ull << 30,
		.max_mapped_size = 1ull << 30, .journal_size = 16ull << 20, .sync = PINFOLD_SYNC_ASYNC,
	}, config;
	struct pf_txn *txn;
	pinfold_ticket ticket;
	int r = pf_config_complete(&wish, &config);

	if (r == 0)
		r = pf_store_open(dir, &config, &stress->store);
	if (r == 0)
		r = pf_txn_begin(stress->store, &txn);
	if (r < 0)
		return r;
	r = pf_extent_alloc(stress->store, PINFOLD_EXTENT_MIN, 0, &stress->window);
	if (r == 0)
		r = pf_extent_alloc(stress->store, PINFOLD_EXTENT_MIN, 0, &stress->large);
	if (r == 0)
		r = pf_extent_alloc(stress->store, PINFOLD_EXTENT_MIN, 0, &stress->rest);
	if (r == 0)
		r = pf_txn_publish(txn, &stress->rest);
	if (r == 0)
		r = pf_txn_publish(txn, &stress->window);
	if (r == 0)
		r = pf_txn_publish(txn, &stress->large);
	if (r == 0)
		r = pf_txn_commit(txn);
	if (r == 0)
		r = write_window(stress, 0, &ticket);
	return r < 0 ? r : make_generation(stress, 0);
}

static void run(struct stress *stress, unsigned seconds)
{
	static void *(*const mains[])(void *) = { writer_main,        writer_main,      window_reader_main,
						  window_reader_main, page_reader_main, recycler_main,
						  epoch_reader_main,  epoch_reader_main };
	struct thread_arg args[8];
	pthread_t threads[8];

	for (unsigned i = 0; i < 8; i++) {
		args[i] = (struct thread_arg){ stress, i };
		pthread_create(&threads[i], NULL, mains[i], &args[i]);
	}
	for (unsigned i = 0; i < seconds * 10 && running(stress); i++)
		nanosleep(&(struct timespec){ 0, 100000000 }, NULL);
	atomic_store(&stress->stop, true);
	for (unsigned i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
}

/* ---- readers that are held up ---- */

static struct stress *interrupted;

/* For up to 1.5 ms: as long as a group waits to be written, and not so long that all is stored over again. */
static void hold_up(int signal)
{
	const int before = errno;
	unsigned turn = atomic_fetch_add(&interrupted->held, 1);

	(void)signal;
	nanosleep(&(struct timespec){ 0, 1000 + turn % 16 * 100000 }, NULL);
	errno = before;
}

static int write_rest(struct stress *stress, pinfold_ticket *ret_ticket)
{
	static unsigned char bytes[REST];
	struct pf_txn *txn;
	int r = pf_txn_begin(stress->store, &txn);

	if (r < 0)
		return r;
	r = pf_txn_write(txn, &stress->rest, 0, bytes, sizeof(bytes));
	if (r < 0) {
		pf_txn_abort(txn);
		return r;
	}
	return pf_txn_submit(txn, ret_ticket);
}

/* While the rest is stored the window is complete in its place and still counts as pending. */
static void *turns_main(void *arg)
{
	struct thread_arg *self = arg;
	struct stress *stress = self->stress;
	uint64_t n = atomic_load(&stress->committed[0]);

	while (running(stress)) {
		pinfold_ticket ticket = 0;
		int r = write_window(stress, ++n, &ticket);

		for (unsigned i = 0; i < RESTS && r == 0; i++)
			r = write_rest(stress, &ticket);
		if (r == 0)
			atomic_store(&stress->committed[0], n);
		if (r == 0)
			r = pf_store_sync(stress->store); /* nothing is left: the next begins where this one did */
		if (r < 0)
			fail(stress, "commit", (uint64_t)-r, 0);
		atomic_fetch_add(&stress->txns, 1);
	}
	return NULL;
}

static void run_held(struct stress *stress, unsigned seconds)
{
	const struct sigaction action = { .sa_handler = hold_up, .sa_flags = SA_RESTART };
	const uint64_t until = pf_clock_ns() + seconds * PF_NS_PER_S;
	struct rnd rnd = rnd_of(stress->seed, 0, 9, 0);
	struct thread_arg arg = { stress, 0 };
	pthread_t writer, readers[HELD];

	interrupted = stress;
	sigaction(SIGUSR1, &action, NULL);
	atomic_store(&stress->stop, false);
	pthread_create(&writer, NULL, turns_main, &arg);
	for (unsigned i = 0; i < HELD; i++)
		pthread_create(&readers[i], NULL, window_reader_main, &arg);
	while (running(stress) && pf_clock_ns() < until) {
		for (unsigned i = 0; i < HELD; i++)
			pthread_kill(readers[i], SIGUSR1);
		nanosleep(&(struct timespec){ 0, 1000 + (long)rnd_below(&rnd, 500000) }, NULL);
	}
	atomic_store(&stress->stop, true);
	pthread_join(writer, NULL);
	for (unsigned i = 0; i < HELD; i++)
		pthread_join(readers[i], NULL);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seconds", required_argument, NULL, 't' }, { "seed", required_argument, NULL, 's' }, { 0 },
	};
	struct stress *stress = calloc(1, sizeof(*stress));
	char dir[SCRATCH_PATH];
	unsigned seconds = 4;
	int option, r;

	stress->seed = 20240002;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 't')
			seconds = strtoul(optarg, NULL, 0);
		else if (option == 's')
			stress->seed = strtoull(optarg, NULL, 0);
		else
			return 2;
	}
	tap_begin();
	tap_note("seed %llu, %u s", (unsigned long long)stress->seed, seconds);
	if (scratch_make(NULL, dir) < 0)
		return 1;
	r = prepare(stress, dir);
	if (tap_result(r == 0, "prepare: %s", r < 0 ? pf_error_text() : "done")) {
		run(stress, seconds);
		tap_result(!stress->failed, "readers beside writers: %s",
			   stress->failed ? stress->text : "no law broken");
		tap_note("%llu transactions; reads: window %llu, own %llu, large %llu, in place %llu, epochs %llu, "
			 "stale %llu",
			 (unsigned long long)stress->txns, (unsigned long long)stress->window_reads,
			 (unsigned long long)stress->own_reads, (unsigned long long)stress->page_reads,
			 (unsigned long long)stress->inplace_reads, (unsigned long long)stress->epoch_reads,
			 (unsigned long long)stress->stale_reads);
		tap_result(stress->window_reads && stress->inplace_reads && stress->epoch_reads && stress->stale_reads,
			   "every kind of reader read");
		if (!stress->failed)
			run_held(stress, (seconds + 1) / 2);
		tap_result(!stress->failed && stress->held, "readers that are held up, %u times: %s", stress->held,
			   stress->failed ? stress->text : "no law broken");
		tap_result(stress->recycled, "%llu extents were recycled", (unsigned long long)stress->recycled);
		r = pf_store_close(stress->store);
		tap_result(r == 0, "close: %s", r < 0 ? pf_error_text() : "done");
	}
	scratch_clear(dir, true);
	free(stress);
	return tap_end();
}
