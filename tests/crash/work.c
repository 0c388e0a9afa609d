/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * work.c - the process that is killed: writers, a checkpointer and a reporter.
 */
#include "work.h"

#include "base/error.h"
#include "rnd.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct run {
	struct ledger *ledger;
	struct pf_store *store;
	struct table_work *tables;
	_Atomic bool stop;
};

struct writer {
	struct run *run;
	unsigned index;
	pthread_t thread;
};

int work_config(const struct world *world, struct pinfold_config *ret_config)
{
	struct pinfold_config config = {
		.size = sizeof(config),
		.flags = PINFOLD_OPEN_CREATE | PINFOLD_OPEN_STORE_ONLY,
		.file_size = 1ull << 30,
		.max_mapped_size = 8ull << 30,
		.extent_size = 2ull << 20,
		.journal_size = 16ull << 20,
		.sync = world->sync,
		.no_io_uring = world->no_io_uring,
		.flush_interval_ms = 5,
	};

	return pf_config_complete(&config, ret_config);
}

static int open_world(struct ledger *ledger, const char *dir, struct pf_store **ret_store)
{
	struct pinfold_config config;
	int r = work_config(&ledger->world, &config);

	if (r == 0)
		r = pf_store_open(dir, &config, ret_store);
	if (r < 0)
		return ledger_fail(ledger, "open: %s: %s", strerror(-r), pf_error_text());
	return 0;
}

int work_setup(struct ledger *ledger, const char *dir)
{
	struct pf_store *store;
	struct pf_txn *txn;
	int r;

	if (open_world(ledger, dir, &store) < 0)
		return -1;
	r = pf_txn_begin(store, &txn);
	for (unsigned i = 0; i < WORLD_EXTENTS && r == 0; i++) {
		r = pf_extent_alloc(store, 2u << 20, 0, &ledger->fixed[i]);
		if (r == 0)
			r = pf_txn_publish(txn, &ledger->fixed[i]);
	}
	if (r == 0)
		r = pf_txn_commit(txn);
	if (r < 0)
		return ledger_fail(ledger, "setup: %s: %s", strerror(-r), pf_error_text());
	r = pf_store_close(store);
	return r < 0 ? ledger_fail(ledger, "setup close: %s: %s", strerror(-r), pf_error_text()) : 0;
}

static int make_extent(struct ledger *ledger, struct pf_store *store, struct pf_txn *txn, unsigned writer,
		       uint64_t sequence, const struct plan *plan, struct pinfold_extent *ret_extent)
{
	static _Thread_local unsigned char bytes[104 * 1024];
	const struct world *world = &ledger->world;
	struct bulk_run runs[BULK_RUNS];
	struct pinfold_extent extent;
	int r = pf_extent_alloc(store, plan->extent_size, PINFOLD_EXTENT_HOT, &extent);

	bulk_runs(world, writer, sequence, plan->extent_size, runs);
	for (unsigned i = 0; plan->bulk && i < BULK_RUNS && r == 0; i++) {
		bulk_bytes(world, writer, sequence, i, runs[i].size, bytes);
		r = pf_bulk_write(store, &extent, runs[i].offset, bytes, runs[i].size);
	}
	if (r == 0 && plan->bulk)
		r = pf_bulk_flush(store, &extent, 1);
	if (r == 0)
		r = pf_txn_publish(txn, &extent);
	if (r == 0) {
		bulk_bytes(world, writer, sequence, BULK_RUNS, PATCH_SIZE, bytes);
		r = pf_txn_write(txn, &extent, plan->patch_offset, bytes, PATCH_SIZE);
	}
	if (r == 0)
		*ret_extent = extent;
	return r;
}

static int write_ranges(struct ledger *ledger, struct pf_txn *txn, unsigned writer, uint64_t sequence,
			const struct plan *plan)
{
	static _Thread_local unsigned char bytes[WORLD_AREA];
	struct head head;
	int r = 0;

	for (unsigned i = 0; i < plan->range_count && r == 0; i++) {
		const struct range *range = &plan->range[i];

		plan_bytes(&ledger->world, writer, sequence, plan, i, bytes);
		r = pf_txn_write(txn, &ledger->fixed[range->extent], plan_area(writer) + range->offset, bytes,
				 range->size);
	}
	head_make(writer, sequence, &head);
	if (r == 0)
		r = pf_txn_write(txn, &ledger->fixed[writer % WORLD_EXTENTS], plan_area(writer), &head, sizeof(head));
	return r;
}

/* An aborted transaction must leave nothing behind. */
static int abort_one(struct ledger *ledger, struct pf_store *store, unsigned writer)
{
	static const char junk[700] = "this was aborted and must never be seen";
	struct pinfold_extent extent;
	struct pf_txn *txn;
	int r = pf_txn_begin(store, &txn);

	if (r < 0)
		return r;
	r = pf_txn_write(txn, &ledger->fixed[0], plan_area(writer) + 40, junk, sizeof(junk));
	if (r == 0)
		r = pf_extent_alloc(store, 2u << 20, 0, &extent);
	if (r == 0)
		r = pf_txn_publish(txn, &extent);
	pf_txn_abort(txn);
	return r < 0 ? r : pf_extent_free(store, &extent);
}

static int commit(struct ledger *ledger, struct pf_store *store, struct pf_txn *txn, struct entry *entry,
		  uint64_t sequence)
{
	pinfold_ticket ticket;
	int r;

	if (sequence % 4 == 0)
		return pf_txn_commit(txn);
	r = pf_txn_submit(txn, &ticket);
	if (r < 0)
		return r;
	if (entry)
		atomic_store(&entry->ticket, ticket);
	r = pf_ticket_settle(store, ticket);
	if (r == 0 && sequence % 16 == 3 && pf_ticket_poll(store, ticket) == 1) {
		uint64_t known = atomic_load(&ledger->durable_ticket);

		while (known < ticket && !atomic_compare_exchange_weak(&ledger->durable_ticket, &known, ticket))
			;
	}
	return r;
}

int work_step(struct ledger *ledger, struct pf_store *store, struct model *model, unsigned writer)
{
	struct writer_log *log = &ledger->log[writer];
	uint64_t sequence = model->sequence + 1;
	struct entry *entry = &log->entry[sequence - ledger->model[writer].sequence - 1];
	struct pinfold_extent made = { 0 };
	struct plan plan;
	struct pf_txn *txn;
	int r;

	plan_make(&ledger->world, writer, sequence, model, &plan);
	if (plan.abort_first) {
		r = abort_one(ledger, store, writer);
		if (r < 0)
			return r;
	}
	r = pf_txn_begin(store, &txn);
	if (r < 0)
		return r;
	r = write_ranges(ledger, txn, writer, sequence, &plan);
	if (r == 0 && plan.life == LIFE_CREATE)
		r = make_extent(ledger, store, txn, writer, sequence, &plan, &made);
	else if (r == 0 && plan.life == LIFE_DROP)
		r = pf_txn_drop(txn, &model->slot[plan.slot].extent);
	if (r < 0) {
		pf_txn_abort(txn);
		return r;
	}
	entry->made = made;
	atomic_store(&entry->began, atomic_fetch_add(&ledger->clock, 1) + 1);
	atomic_store(&log->started, sequence);
	r = commit(ledger, store, txn, entry, sequence);
	if (r < 0)
		return r;
	atomic_store(&entry->ended, atomic_fetch_add(&ledger->clock, 1) + 1);
	atomic_store(&log->acked, sequence);
	model_apply(&ledger->world, writer, sequence, model, &made);
	return 0;
}

static void *writer_main(void *arg)
{
	struct writer *writer = arg;
	struct run *run = writer->run;
	struct model *model = malloc(sizeof(*model));
	uint64_t base = run->ledger->model[writer->index].sequence;

	*model = run->ledger->model[writer->index];
	while (!atomic_load(&run->stop) && model->sequence - base < LEDGER_TXNS) {
		int r = work_step(run->ledger, run->store, model, writer->index);

		if (r < 0) {
			ledger_fail(run->ledger, "writer %u, transaction %llu: %s: %s", writer->index,
				    (unsigned long long)model->sequence + 1, strerror(-r), pf_error_text());
			break;
		}
	}
	free(model);
	return NULL;
}

static void *table_writer_main(void *arg)
{
	struct writer *writer = arg;
	struct run *run = writer->run;
	struct table_model *model = malloc(sizeof(*model));
	uint64_t base = run->ledger->table_model[writer->index].sequence;

	*model = run->ledger->table_model[writer->index];
	while (!atomic_load(&run->stop) && model->sequence - base < LEDGER_TXNS) {
		int r = table_work_step(run->ledger, run->tables, model, writer->index);

		if (r < 0) {
			ledger_fail(run->ledger, "table writer %u, change %llu: %s: %s", writer->index,
				    (unsigned long long)model->sequence + 1, strerror(-r), pf_error_text());
			break;
		}
	}
	free(model);
	return NULL;
}

/* Now and then a checkpoint, a sync whose promise is noted, a look at the counters. */
static void *keeper_main(void *arg)
{
	struct run *run = arg;
	struct ledger *ledger = run->ledger;
	struct rnd rnd = rnd_of(ledger->world.seed, ledger->model[0].sequence, 6, 0);

	while (!atomic_load(&run->stop)) {
		struct timespec pause = { 0, (long)rnd_below(&rnd, 6000000) };
		uint64_t acked[WORLD_WRITERS], known;
		int r;

		nanosleep(&pause, NULL);
		for (unsigned i = 0; i < ledger->world.writer_count; i++)
			acked[i] = atomic_load(&ledger->log[i].acked);
		r = rnd_below(&rnd, 2) ? pf_store_checkpoint(run->store) : pf_store_sync(run->store);
		if (r < 0) {
			ledger_fail(ledger, "checkpoint or sync: %s: %s", strerror(-r), pf_error_text());
			break;
		}
		atomic_fetch_add(&ledger->checkpoint_count, 1);
		for (unsigned i = 0; i < ledger->world.writer_count; i++) {
			uint64_t index = acked[i] - ledger->model[i].sequence, ticket;

			if (!index)
				continue;
			ticket = atomic_load(&ledger->log[i].entry[index - 1].ticket);
			known = atomic_load(&ledger->durable_ticket);
			while (known < ticket &&
			       !atomic_compare_exchange_weak(&ledger->durable_ticket, &known, ticket))
				;
		}
	}
	return NULL;
}

static void run_threads(struct run *run, unsigned run_ms)
{
	struct timespec span = { run_ms / 1000, (run_ms % 1000) * 1000000l };
	struct writer writers[WORLD_WRITERS + WORLD_TABLE_WRITERS];
	unsigned count = 0;
	pthread_t keeper;

	for (unsigned i = 0; i < run->ledger->world.writer_count; i++, count++) {
		writers[count] = (struct writer){ .run = run, .index = i };
		pthread_create(&writers[count].thread, NULL, writer_main, &writers[count]);
	}
	for (unsigned i = 0; i < WORLD_TABLE_WRITERS && run->tables; i++, count++) {
		writers[count] = (struct writer){ .run = run, .index = i };
		pthread_create(&writers[count].thread, NULL, table_writer_main, &writers[count]);
	}
	pthread_create(&keeper, NULL, keeper_main, run);
	nanosleep(&span, NULL);
	atomic_store(&run->stop, true);
	for (unsigned i = 0; i < count; i++)
		pthread_join(writers[i].thread, NULL);
	pthread_join(keeper, NULL);
}

int work_run(struct ledger *ledger, const char *dir, unsigned run_ms)
{
	struct run run = { .ledger = ledger };
	int r;

	if (open_world(ledger, dir, &run.store) < 0)
		return -1;
	if (ledger->world.tables && table_work_open(ledger, run.store, &run.tables) < 0)
		return -1;
	run_threads(&run, run_ms);
	table_work_close(run.tables);
	if (atomic_load(&ledger->failed))
		return -1;
	atomic_store(&ledger->closing, 1);
	r = pf_store_close(run.store);
	if (r < 0)
		return ledger_fail(ledger, "close: %s: %s", strerror(-r), pf_error_text());
	atomic_store(&ledger->closed, 1);
	return 0;
}
