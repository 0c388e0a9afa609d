/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * txn.c - table changes as transactions, and transactions over several tables.
 */
#include "store/table/internal.h"

#include "base/sigbus.h"

#include <stdlib.h>

/* Most records of one pf_table_write(). */
#define BATCH_MAX 65536
/* Changes of one call that need no memory. */
#define CHANGES_FEW 16
/* Changes between two stages, and a power of two beyond twice that. */
#define DISTANCE 4u
#define ASKED 16u

int pf_key_check(const void *key, size_t key_size)
{
	if (!key || key_size < 1 || key_size > PINFOLD_KEY_MAX)
		return pf_error(-EINVAL, "table: key of %zu bytes; 1 to %d are allowed", key ? key_size : 0,
				PINFOLD_KEY_MAX);
	return 0;
}

int pf_value_check(size_t value_size)
{
	if (value_size > PINFOLD_VALUE_MAX)
		return pf_error(-EINVAL, "table: value of %zu bytes; 0 to %d are allowed", value_size,
				PINFOLD_VALUE_MAX);
	return 0;
}

static void tw_unlock(struct pf_tw *tw)
{
	for (unsigned i = tw->count; !tw->held && i-- > 0;)
		pthread_mutex_unlock(&tw->tables[i]->lock);
}

/* The tables of @tw are locked. */
static int tw_open(struct pf_tables *tables, struct pf_tw *tw)
{
	int r = pf_txn_renew(tables->store, &tw->tables[0]->txn); /* used again, transaction after transaction */

	if (r < 0) {
		tw_unlock(tw);
		return r;
	}
	tw->txn = tw->tables[0]->txn;
	for (unsigned i = 0; i < tw->count; i++)
		pf_ws_begin(tw->tables[i]);
	return 0;
}

int pf_tw_begin(struct pf_tables *tables, struct pf_table *const *list, unsigned count, struct pf_tw *ret_tw)
{
	struct pf_tw tw = { 0 };
	int r;

	pf_assert(count <= PF_TW_MAX);
	if (tables->read_only)
		return pf_error(-EROFS, "table: the store is open read-only");
	for (unsigned i = 0; i < count; i++) { /* by slot: invariant 6 */
		unsigned j = tw.count;

		if (!list[i])
			continue;
		for (; j > 0 && tw.tables[j - 1]->slot > list[i]->slot; j--)
			tw.tables[j] = tw.tables[j - 1];
		tw.tables[j] = list[i];
		tw.count++;
	}
	pf_assert(tw.count > 0);
	for (unsigned i = 0; i < tw.count; i++)
		pthread_mutex_lock(&tw.tables[i]->lock);
	r = tw_open(tables, &tw);
	if (r == 0)
		*ret_tw = tw;
	return r;
}

int pf_tw_begin_held(struct pf_table *table, struct pf_tw *ret_tw)
{
	if (table->tables->read_only)
		return pf_error(-EROFS, "table: the store is open read-only");
	*ret_tw = (struct pf_tw){ .tables = { table }, .count = 1, .held = true };
	return tw_open(table->tables, ret_tw);
}

static void tw_rollback(struct pf_tw *tw)
{
	for (unsigned i = tw->count; i-- > 0;)
		pf_ws_rollback(tw->tables[i]);
	tw_unlock(tw);
}

void pf_tw_abort(struct pf_tw *tw)
{
	tw_rollback(tw);
}

int pf_tw_commit(struct pf_tw *tw, pinfold_ticket *ret_ticket)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < tw->count; i++)
		r = pf_ws_flush(tw->tables[i], tw->txn);
	if (r < 0) {
		pf_tw_abort(tw);
		return r;
	}
	r = pf_txn_submit_kept(tw->txn, ret_ticket);
	if (r < 0) {
		tw_rollback(tw);
		return r;
	}
	for (unsigned i = 0; i < tw->count; i++)
		pf_ws_commit(tw->tables[i]);
	tw_unlock(tw);
	if (!tw->held)
		pf_txn_pace(tw->tables[0]->store);
	return 0;
}

/* Whether the condition of a change holds: 0, -EAGAIN, or an error. */
static int condition_check(struct pf_table *table, const struct pinfold_change *change)
{
	const struct pf_record *record;
	int r = pf_bucket_find(table, change->key, change->key_size, &record);

	if (r == -ENOENT)
		return change->expected ? -EAGAIN : 0;
	if (r < 0)
		return r;
	if (!change->expected || pf_record_value_size(record->sizes) != change->expected_size ||
	    memcmp(record->data + change->key_size, change->expected, change->expected_size) != 0)
		return -EAGAIN;
	return 0;
}

/* 0, -EAGAIN or -ENOENT: such a change did nothing. Other errors leave the write set to be rolled back. */
static int change_one(struct pf_table *table, const struct pinfold_change *change, uint64_t hash)
{
	int r = pf_update_in_place(table, change, hash);

	if (r != -ENOTSUP)
		return r;
	r = change->flags & PINFOLD_CHANGE_COMPARE ? condition_check(table, change) : 0;
	if (r < 0)
		return r;
	if (!change->value)
		return pf_bucket_delete(table, change->key, change->key_size);
	return pf_bucket_put(table, change->key, change->key_size, change->value, change->value_size);
}

static __attribute__((noinline)) int change_all(struct pf_table *table, struct pinfold_change *changes, size_t count)
{
	uint64_t hashes[ASKED];

	/* each key waits for memory twice, for line and record: so each is asked for some changes ahead */
	for (size_t i = 0; i < count + 2 * DISTANCE; i++) {
		if (i < count)
			hashes[i % ASKED] = pf_update_ask(table, &changes[i]);
		if (i >= DISTANCE && i - DISTANCE < count)
			pf_update_ask_record(table, &changes[i - DISTANCE], hashes[(i - DISTANCE) % ASKED]);
		if (i >= 2 * DISTANCE) {
			struct pinfold_change *change = &changes[i - 2 * DISTANCE];
			int r = change_one(table, change, hashes[(i - 2 * DISTANCE) % ASKED]);

			change->result = r;
			if (r < 0 && r != -EAGAIN && r != -ENOENT)
				return r;
		}
	}
	return 0;
}

/* update.c reads in place: a SIGBUS ends the whole set. */
PF_SIGBUS_FUNCTION int pf_table_change(struct pf_table *table, struct pinfold_change *changes, size_t count)
{
	struct pf_sigbus_guard guard;
	int r;

	if (__builtin_setjmp(guard.place))
		return pf_error(-EIO, "table %s: the mapped file could not be read at arena offset %llu", table->name,
				(unsigned long long)((const char *)pf_sigbus_address() - table->base));
	pf_sigbus_enter(&guard, &table->range);
	r = change_all(table, changes, count);
	pf_sigbus_leave(&guard);
	return r;
}

static int change_check(const struct pf_table *table, const struct pinfold_change *change)
{
	int r = pf_key_check(change->key, change->key_size);

	if (r == 0 && change->value)
		r = pf_value_check(change->value_size);
	if (r == 0 && change->flags & ~PINFOLD_CHANGE_COMPARE)
		r = pf_error(-EINVAL, "table %s: flags %#x of a change", table->name, change->flags);
	if (r == 0 && change->flags && !change->expected && !change->value)
		r = pf_error(-EINVAL, "table %s: cas from absent to absent", table->name);
	return r;
}

struct submission {
	struct pinfold_change *changes;
	size_t count;
	pinfold_ticket *ret_ticket;
};

/* Under table->lock. */
static int submission_run(struct pf_table *table, void *arg)
{
	const struct submission *submission = arg;
	struct pf_tw tw;
	int r = pf_tw_begin_held(table, &tw);

	if (r < 0)
		return r;
	r = table->header.import.mode == PF_IMPORT_BULK ?
		    pf_error(-EBUSY, "table %s: is being built by an import; resume that, or restart it", table->name) :
		    pf_table_change(table, submission->changes, submission->count);
	if (r < 0) {
		pf_tw_abort(&tw);
		return r;
	}
	return pf_tw_commit(&tw, submission->ret_ticket);
}

int pf_table_submit(struct pf_table *table, struct pinfold_change *changes, size_t count, pinfold_ticket *ret_ticket)
{
	struct submission submission = { .changes = changes, .count = count, .ret_ticket = ret_ticket };
	int r;

	if (count > BATCH_MAX)
		return pf_error(-EINVAL, "table %s: batch of %zu records; at most %d are allowed", table->name, count,
				BATCH_MAX);
	for (size_t i = 0; i < count; i++) {
		r = change_check(table, &changes[i]);
		if (r < 0)
			return r;
	}
	return pf_table_call(table, submission_run, &submission);
}

/* One change, and the wait that the sync mode asks for. */
static int change_and_settle(struct pf_table *table, struct pinfold_change *change)
{
	pinfold_ticket ticket;
	int r = pf_table_submit(table, change, 1, &ticket);

	if (r == 0)
		r = change->result;
	return r < 0 ? r : pf_ticket_settle(table->store, ticket);
}

int pf_table_write_async(struct pf_table *table, const struct pinfold_record *records, size_t count,
			 pinfold_ticket *ret_ticket)
{
	struct pinfold_change few[CHANGES_FEW], *changes = few;
	int r;

	if (count > CHANGES_FEW && count <= BATCH_MAX) {
		changes = malloc(count * sizeof(*changes));
		if (!changes)
			return pf_error(-ENOMEM, "table %s: no memory for %zu records", table->name, count);
	}
	for (size_t i = 0; i < count && count <= BATCH_MAX; i++)
		changes[i] = (struct pinfold_change){ .key = records[i].key, .key_size = records[i].key_size,
						      .value = records[i].value,
						      .value_size = records[i].value_size };
	r = pf_table_submit(table, changes, count, ret_ticket);
	if (changes != few)
		free(changes);
	return r;
}

int pf_table_write(struct pf_table *table, const struct pinfold_record *records, size_t count)
{
	pinfold_ticket ticket;
	int r;

	if (count == 0)
		return 0;
	r = pf_table_write_async(table, records, count, &ticket);
	return r < 0 ? r : pf_ticket_settle(table->store, ticket);
}

int pf_table_put(struct pf_table *table, const void *key, size_t key_size, const void *value, size_t value_size)
{
	struct pinfold_change change = {
		.key = key, .key_size = key_size, .value = value ? value : "", .value_size = value_size};

	if (!value && value_size > 0)
		return pf_error(-EINVAL, "table %s: no value, but its size is %zu", table->name, value_size);
	return change_and_settle(table, &change);
}

int pf_table_delete(struct pf_table *table, const void *key, size_t key_size)
{
	struct pinfold_change change = { .key = key, .key_size = key_size };

	return change_and_settle(table, &change);
}

int pf_table_cas(struct pf_table *table, const void *key, size_t key_size, const void *expected, size_t expected_size,
		 const void *value, size_t value_size)
{
	struct pinfold_change change = { .key = key,
					 .key_size = key_size,
					 .value = value,
					 .value_size = value_size,
					 .expected = expected,
					 .expected_size = expected_size,
					 .flags = PINFOLD_CHANGE_COMPARE };

	return change_and_settle(table, &change);
}
