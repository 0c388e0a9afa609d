/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * txn.c - table changes as transactions, and transactions over several tables.
 */
#include "store/table/internal.h"

/* Most records of one pf_table_write(). */
#define BATCH_MAX 65536

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
	r = pf_txn_begin(tables->store, &tw.txn);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < tw.count; i++) {
		pthread_mutex_lock(&tw.tables[i]->lock);
		pf_ws_begin(tw.tables[i]);
	}
	*ret_tw = tw;
	return 0;
}

static void tw_unlock(struct pf_tw *tw)
{
	for (unsigned i = tw->count; i-- > 0;)
		pthread_mutex_unlock(&tw->tables[i]->lock);
}

static void tw_rollback(struct pf_tw *tw)
{
	for (unsigned i = tw->count; i-- > 0;)
		pf_ws_rollback(tw->tables[i]);
	tw_unlock(tw);
}

void pf_tw_abort(struct pf_tw *tw)
{
	pf_txn_abort(tw->txn);
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
	r = pf_txn_submit(tw->txn, ret_ticket);
	if (r < 0) {
		tw_rollback(tw);
		return r;
	}
	for (unsigned i = 0; i < tw->count; i++)
		pf_ws_commit(tw->tables[i]);
	tw_unlock(tw);
	return 0;
}

static int write_records(struct pf_table *table, const struct pinfold_record *records, size_t count)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		const struct pinfold_record *record = &records[i];

		if (record->value) {
			r = pf_bucket_put(table, record->key, record->key_size, record->value, record->value_size);
		} else {
			r = pf_bucket_delete(table, record->key, record->key_size);
			if (r == -ENOENT)
				r = 0;
		}
	}
	return r;
}

int pf_table_write_async(struct pf_table *table, const struct pinfold_record *records, size_t count,
			 pinfold_ticket *ret_ticket)
{
	struct pf_tw tw;
	int r;

	if (count > BATCH_MAX)
		return pf_error(-EINVAL, "table %s: batch of %zu records; at most %d are allowed", table->name, count,
				BATCH_MAX);
	for (size_t i = 0; i < count; i++) {
		r = pf_key_check(records[i].key, records[i].key_size);
		if (r == 0 && records[i].value)
			r = pf_value_check(records[i].value_size);
		if (r < 0)
			return r;
	}
	r = pf_tw_begin(table->tables, &table, 1, &tw);
	if (r < 0)
		return r;
	r = write_records(table, records, count);
	if (r < 0) {
		pf_tw_abort(&tw);
		return r;
	}
	return pf_tw_commit(&tw, ret_ticket);
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
	struct pinfold_record record = {
		.key = key, .key_size = key_size, .value = value ? value : "", .value_size = value_size};

	if (!value && value_size > 0)
		return pf_error(-EINVAL, "table %s: no value, but its size is %zu", table->name, value_size);
	return pf_table_write(table, &record, 1);
}

int pf_table_delete(struct pf_table *table, const void *key, size_t key_size)
{
	pinfold_ticket ticket;
	struct pf_tw tw;
	int r;

	r = pf_key_check(key, key_size);
	if (r == 0)
		r = pf_tw_begin(table->tables, &table, 1, &tw);
	if (r < 0)
		return r;
	r = pf_bucket_delete(table, key, key_size);
	if (r < 0) {
		pf_tw_abort(&tw);
		return r;
	}
	r = pf_tw_commit(&tw, &ticket);
	return r < 0 ? r : pf_ticket_settle(table->store, ticket);
}

/* Whether the condition of a cas holds: 0, -EAGAIN, or an error. */
static int cas_check(struct pf_table *table, const void *key, size_t key_size, const void *expected,
		     size_t expected_size)
{
	const struct pf_record *record;
	int r = pf_bucket_find(table, key, key_size, &record);

	if (r == -ENOENT)
		return expected ? -EAGAIN : 0;
	if (r < 0)
		return r;
	if (!expected || pf_record_value_size(record->sizes) != expected_size ||
	    memcmp(record->data + key_size, expected, expected_size) != 0)
		return -EAGAIN;
	return 0;
}

int pf_table_cas(struct pf_table *table, const void *key, size_t key_size, const void *expected, size_t expected_size,
		 const void *value, size_t value_size)
{
	pinfold_ticket ticket;
	struct pf_tw tw;
	int r;

	r = pf_key_check(key, key_size);
	if (r == 0 && value)
		r = pf_value_check(value_size);
	if (r == 0 && !expected && !value)
		r = pf_error(-EINVAL, "table %s: cas from absent to absent", table->name);
	if (r == 0)
		r = pf_tw_begin(table->tables, &table, 1, &tw);
	if (r < 0)
		return r;
	r = cas_check(table, key, key_size, expected, expected_size);
	if (r == 0)
		r = value ? pf_bucket_put(table, key, key_size, value, value_size)
			  : pf_bucket_delete(table, key, key_size);
	if (r < 0) {
		pf_tw_abort(&tw);
		return r;
	}
	r = pf_tw_commit(&tw, &ticket);
	return r < 0 ? r : pf_ticket_settle(table->store, ticket);
}
