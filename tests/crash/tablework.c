/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tablework.c - record tables in the crash proofs: changes, and what must be left of them.
 */
#include "work.h"

#include "base/error.h"
#include "store/table/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_NAME "proof"

struct table_work {
	struct pf_store *store;
	struct pf_table *table;
};

static int tables_open(struct ledger *ledger, struct pf_store *store, uint32_t flags, struct pf_table **ret_table)
{
	struct pinfold_config config;
	int r = work_config(&ledger->world, &config);

	if (r == 0)
		r = pf_tables_open(store, &config);
	if (r == 0)
		r = pf_table_open(store, TABLE_NAME, flags, ret_table);
	return r;
}

int table_work_open(struct ledger *ledger, struct pf_store *store, struct table_work **ret_work)
{
	struct table_work *work = calloc(1, sizeof(*work));
	int r = work ? tables_open(ledger, store, PINFOLD_TABLE_CREATE, &work->table) : -ENOMEM;

	if (r < 0) {
		ledger_fail(ledger, "open of the table: %s: %s", strerror(-r), pf_error_text());
		free(work);
		return -1;
	}
	work->store = store;
	*ret_work = work;
	return 0;
}

void table_work_close(struct table_work *work)
{
	if (!work)
		return;
	pf_table_close(work->table);
	pf_tables_close(work->store);
	free(work);
}

static int do_cas(struct ledger *ledger, struct table_work *work, const struct table_model *model, unsigned writer,
		  uint64_t sequence, const struct table_plan *plan)
{
	unsigned char expected[TABLE_VALUE_BYTES], value[TABLE_VALUE_BYTES];
	const struct table_change *change = &plan->change[0];
	uint64_t made_by = model->made_by[change->key];
	size_t expected_size = 0, value_size = 0;
	char key[TABLE_KEY_BYTES];
	size_t key_size = table_key(writer, change->key, key);
	int r;

	if (made_by)
		expected_size = table_value(&ledger->world, writer, change->key, made_by, expected);
	if (plan->op == TABLE_CAS_REFUSED)
		expected[expected_size - 1] ^= 1;
	if (!change->delete)
		value_size = table_value(&ledger->world, writer, change->key, sequence, value);
	r = pf_table_cas(work->table, key, key_size, made_by ? expected : NULL, expected_size,
			 change->delete ? NULL : value, value_size);
	if (plan->op == TABLE_CAS_REFUSED)
		return r == -EAGAIN ? 0
		       : r < 0      ? r
				    : ledger_fail(ledger, "table: a compare-and-swap with another value succeeded");
	return r;
}

/* The same changes, each with its condition, by one call. */
static int do_submit(struct ledger *ledger, struct table_work *work, const struct table_model *model, unsigned writer,
		     const struct pinfold_record *records, const struct table_plan *plan)
{
	static _Thread_local unsigned char expected[WORLD_BATCH][TABLE_VALUE_BYTES];
	struct pinfold_change changes[WORLD_BATCH];
	pinfold_ticket ticket;
	int r;

	for (unsigned i = 0; i < plan->count; i++) {
		uint32_t key = plan->change[i].key;

		changes[i] = (struct pinfold_change){ .key = records[i].key, .key_size = records[i].key_size,
						      .value = records[i].value, .value_size = records[i].value_size };
		if (!model->made_by[key])
			continue;
		changes[i].flags = PINFOLD_CHANGE_COMPARE;
		changes[i].expected = expected[i];
		changes[i].expected_size =
			table_value(&ledger->world, writer, key, model->made_by[key], expected[i]);
	}
	r = pf_table_submit(work->table, changes, plan->count, &ticket);
	for (unsigned i = 0; r == 0 && i < plan->count; i++) {
		bool absent = plan->change[i].delete && !model->made_by[plan->change[i].key];

		if (changes[i].result != (absent ? -ENOENT : 0))
			return ledger_fail(ledger, "table: change %u of a submission: %s", i,
					   strerror(-changes[i].result));
	}
	return r < 0 ? r : pf_ticket_settle(work->store, ticket);
}

static int do_batch(struct ledger *ledger, struct table_work *work, const struct table_model *model, unsigned writer,
		    uint64_t sequence, const struct table_plan *plan)
{
	static _Thread_local unsigned char values[WORLD_BATCH][TABLE_VALUE_BYTES];
	struct pinfold_record records[WORLD_BATCH];
	char keys[WORLD_BATCH][TABLE_KEY_BYTES];

	for (unsigned i = 0; i < plan->count; i++) {
		records[i] = (struct pinfold_record){ .key = keys[i] };
		records[i].key_size = table_key(writer, plan->change[i].key, keys[i]);
		if (plan->change[i].delete)
			continue;
		records[i].value = values[i];
		records[i].value_size = table_value(&ledger->world, writer, plan->change[i].key, sequence, values[i]);
	}
	return sequence % 2 ? do_submit(ledger, work, model, writer, records, plan)
			    : pf_table_write(work->table, records, plan->count);
}

static int do_plan(struct ledger *ledger, struct table_work *work, const struct table_model *model, unsigned writer,
		   uint64_t sequence, const struct table_plan *plan)
{
	unsigned char value[TABLE_VALUE_BYTES];
	char key[TABLE_KEY_BYTES];
	size_t key_size, value_size;

	if (plan->op == TABLE_BATCH)
		return do_batch(ledger, work, model, writer, sequence, plan);
	if (plan->op == TABLE_CAS || plan->op == TABLE_CAS_REFUSED)
		return do_cas(ledger, work, model, writer, sequence, plan);
	key_size = table_key(writer, plan->change[0].key, key);
	if (plan->op == TABLE_DELETE)
		return pf_table_delete(work->table, key, key_size);
	value_size = table_value(&ledger->world, writer, plan->change[0].key, sequence, value);
	return pf_table_put(work->table, key, key_size, value, value_size);
}

/* A get sees every acknowledged change at once, in every sync mode. */
static int look_back(struct ledger *ledger, struct table_work *work, const struct table_model *model, unsigned writer,
		     uint32_t key_number)
{
	unsigned char value[TABLE_VALUE_BYTES];
	char key[TABLE_KEY_BYTES];
	size_t key_size = table_key(writer, key_number, key), size = 0;
	int r = pf_table_get(work->table, key, key_size, value, sizeof(value), &size);
	uint64_t made_by = r == 0 ? table_value_made_by(&ledger->world, writer, key_number, value, size) : 0;

	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0 && !made_by)
		return ledger_fail(ledger, "table: the record of key %u of writer %u is not whole", key_number, writer);
	if (made_by != model->made_by[key_number])
		return ledger_fail(ledger,
				   "table: key %u of writer %u is of change %llu, not %llu, right after its change",
				   key_number, writer, (unsigned long long)made_by,
				   (unsigned long long)model->made_by[key_number]);
	return 0;
}

int table_work_step(struct ledger *ledger, struct table_work *work, struct table_model *model, unsigned writer)
{
	struct writer_log *log = &ledger->table_log[writer];
	uint64_t sequence = model->sequence + 1;
	struct entry *entry = &log->entry[sequence - ledger->table_model[writer].sequence - 1];
	struct table_plan plan;
	int r;

	table_plan_make(&ledger->world, writer, sequence, model, &plan);
	atomic_store(&entry->began, atomic_fetch_add(&ledger->clock, 1) + 1);
	atomic_store(&log->started, sequence);
	r = do_plan(ledger, work, model, writer, sequence, &plan);
	if (r < 0)
		return r;
	atomic_store(&entry->ended, atomic_fetch_add(&ledger->clock, 1) + 1);
	atomic_store(&log->acked, sequence);
	table_model_apply(model, sequence, &plan);
	return look_back(ledger, work, model, writer, plan.change[0].key);
}

/* ---- what is left ---- */

/* Which change each key holds; 0: absent. */
static int read_keys(struct ledger *ledger, struct pf_table *table, unsigned writer, uint64_t *ret_made_by,
		     uint64_t *ret_count)
{
	for (uint32_t i = 0; i < WORLD_KEYS; i++) {
		unsigned char value[TABLE_VALUE_BYTES];
		char key[TABLE_KEY_BYTES];
		size_t key_size = table_key(writer, i, key), size = 0;
		int r = pf_table_get(table, key, key_size, value, sizeof(value), &size);

		ret_made_by[i] = 0;
		if (r == -ENOENT)
			continue;
		if (r < 0)
			return ledger_fail(ledger, "table: get of key %u: %s: %s", i, strerror(-r), pf_error_text());
		ret_made_by[i] = table_value_made_by(&ledger->world, writer, i, value, size);
		if (!ret_made_by[i])
			return ledger_fail(ledger, "law 1: table writer %u: the record of key %u is not whole", writer,
					   i);
		++*ret_count;
	}
	return 0;
}

/* The changes after which the model looks like what was found: law 1 asks for at least one. */
static int find_state(struct ledger *ledger, unsigned writer, const uint64_t *found, uint64_t *ret_low,
		      uint64_t *ret_high)
{
	static struct table_model model, at_high;
	struct writer_log *log = &ledger->table_log[writer];
	uint64_t started = atomic_load(&log->started), wrong = 0;
	bool met = false;

	model = ledger->table_model[writer];
	for (;;) {
		struct table_plan plan;

		wrong = 0;
		for (uint32_t i = 0; i < WORLD_KEYS; i++)
			wrong += model.made_by[i] != found[i];
		if (!wrong) {
			if (!met)
				*ret_low = model.sequence;
			*ret_high = model.sequence;
			at_high = model;
			met = true;
		}
		if (model.sequence == started)
			break;
		table_plan_make(&ledger->world, writer, model.sequence + 1, &model, &plan);
		table_model_apply(&model, model.sequence + 1, &plan);
	}
	if (!met)
		return ledger_fail(
			ledger,
			"law 1: table writer %u: what is there is the result of no number of changes (%llu to %llu)",
			writer, (unsigned long long)ledger->table_model[writer].sequence, (unsigned long long)started);
	ledger->table_model[writer] = at_high;
	return 0;
}

static int check_table_writer(struct ledger *ledger, struct pf_table *table, unsigned writer, uint64_t *ret_count,
			      struct survival *ret_survival)
{
	struct writer_log *log = &ledger->table_log[writer];
	uint64_t base = ledger->table_model[writer].sequence, low = 0, high = 0, acked = atomic_load(&log->acked);
	static uint64_t found[WORLD_KEYS];
	bool promised = ledger->world.sync == PINFOLD_SYNC_SYNC || atomic_load(&ledger->closed);

	if (read_keys(ledger, table, writer, found, ret_count) < 0 ||
	    find_state(ledger, writer, found, &low, &high) < 0)
		return -1;
	if (promised && high < acked)
		return ledger_fail(ledger, "law 2: table writer %u holds changes up to %llu, but %llu was acknowledged",
				   writer, (unsigned long long)high, (unsigned long long)acked);
	/* Several numbers of changes may look alike: what is surely there, and what is surely missing. */
	if (low > base)
		ret_survival->last_began = atomic_load(&log->entry[low - base - 1].began);
	if (high < atomic_load(&log->started))
		ret_survival->next_ended = atomic_load(&log->entry[high - base].ended);
	return 0;
}

static int count_records(struct ledger *ledger, struct pf_table *table, uint64_t *ret_count)
{
	struct pf_cursor *cursor;
	struct pinfold_record record;
	uint64_t count = 0;
	int r = pf_cursor_open(table, &cursor);

	if (r < 0)
		return ledger_fail(ledger, "table: cursor: %s", pf_error_text());
	while ((r = pf_cursor_next(cursor, &record)) == 1)
		count++;
	pf_cursor_close(cursor);
	if (r < 0)
		return ledger_fail(ledger, "table: iteration: %s: %s", strerror(-r), pf_error_text());
	*ret_count = count;
	return 0;
}

static void note_problem(void *ctx, const struct pinfold_problem *problem)
{
	ledger_fail(ctx, "law 5: verify of tables: %s offset %lld: %s", problem->path, (long long)problem->offset,
		    problem->what);
}

int table_check(struct ledger *ledger, struct pf_store *store, uint64_t table_bytes,
		struct survival ret_survivals[WORLD_TABLE_WRITERS])
{
	uint64_t held = 0, iterated = 0;
	struct pinfold_table_stats stats = { 0 };
	struct pf_table *table = NULL;
	int r = tables_open(ledger, store, 0, &table);

	if (r == -ENOENT) { /* killed before it was made; or it was lost, which law 2 tells */
		for (unsigned i = 0; i < WORLD_TABLE_WRITERS; i++)
			if (ledger->table_model[i].sequence ||
			    (ledger->world.sync == PINFOLD_SYNC_SYNC && atomic_load(&ledger->table_log[i].acked)))
				return ledger_fail(ledger, "law 2: the table is gone");
	} else if (r < 0) {
		return ledger_fail(ledger, "open of the table: %s: %s", strerror(-r), pf_error_text());
	} else {
		for (unsigned i = 0; i < WORLD_TABLE_WRITERS; i++)
			if (check_table_writer(ledger, table, i, &held, &ret_survivals[i]) < 0)
				return -1;
		r = pf_table_stat(table, &stats);
		if (r < 0 || count_records(ledger, table, &iterated) < 0)
			return ledger_fail(ledger, "table: stat: %s", pf_error_text());
		if (iterated != held || stats.record_count != held)
			return ledger_fail(ledger,
					   "law 1: table: get finds %llu records, iteration %llu, its count says %llu",
					   (unsigned long long)held, (unsigned long long)iterated,
					   (unsigned long long)stats.record_count);
	}
	if (stats.extent_bytes != table_bytes)
		return ledger_fail(ledger, "law 4: the table holds %llu bytes of extents; %llu belong to nobody else",
				   (unsigned long long)stats.extent_bytes, (unsigned long long)table_bytes);
	r = pf_table_verify(store, note_problem, NULL, ledger);
	if (r < 0)
		return ledger_fail(ledger, "law 5: verify of tables: %s: %s", strerror(-r), pf_error_text());
	pf_table_close(table);
	pf_tables_close(store);
	return 0;
}
