/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * retire.c - freed slots between the transaction that freed them and their next use.
 *
 * Batches go filling (table->lock) -> epochs -> ready (retire_lock) -> drained by
 * the next writer that runs out of slots. A batch starts its grace period after
 * its last slot's transaction was submitted: from then on every new reader sees
 * the new entry (in place, or by pf_read_at() while it is pending), so only
 * readers inside an epoch that began earlier can hold the old location.
 */
#include "store/table/internal.h"

#include <stdlib.h>

static void retire_ready(void *ctx)
{
	struct pf_retire *batch = ctx;
	struct pf_table *table = batch->table;

	bool last;

	pthread_mutex_lock(&table->retire_lock);
	batch->next = table->ready;
	table->ready = batch;
	table->retire_out--;
	last = table->orphan && table->retire_out == 0;
	pthread_mutex_unlock(&table->retire_lock);
	if (last)
		pf_table_destroy(table);
}

void pf_retire_push(struct pf_table *table)
{
	struct pf_retire *batch = table->retire;
	int r;

	if (!batch || batch->count == 0)
		return;
	pthread_mutex_lock(&table->retire_lock);
	table->retire_out++;
	pthread_mutex_unlock(&table->retire_lock);
	r = pf_epoch_defer(retire_ready, batch);
	if (r < 0) { /* kept: tried again when the next slot is freed, if there is room */
		pthread_mutex_lock(&table->retire_lock);
		table->retire_out--;
		pthread_mutex_unlock(&table->retire_lock);
		return;
	}
	table->retire = NULL;
}

int pf_retire_add(struct pf_table *table, uint64_t loc)
{
	if (table->retire && table->retire->count == PF_RETIRE_BATCH)
		pf_retire_push(table);
	if (table->retire && table->retire->count == PF_RETIRE_BATCH)
		return -ENOMEM;
	if (!table->retire) {
		table->retire = malloc(sizeof(*table->retire));
		if (!table->retire)
			return -ENOMEM;
		table->retire->table = table;
		table->retire->count = 0;
	}
	table->retire->loc[table->retire->count++] = loc;
	return 0;
}

void pf_retire_drain(struct pf_table *table)
{
	struct pf_retire *batch, *next;

	pthread_mutex_lock(&table->retire_lock);
	batch = table->ready;
	table->ready = NULL;
	pthread_mutex_unlock(&table->retire_lock);
	for (; batch; batch = next) {
		next = batch->next;
		for (uint32_t i = 0; i < batch->count; i++)
			pf_slot_unbusy(table, batch->loc[i]);
		free(batch);
	}
}

/*
 * At the end of the table. True: nothing is on its way. False: the last batch that comes back destroys the
 * table; nobody waits, as the caller may be inside an epoch.
 */
bool pf_retire_end(struct pf_table *table)
{
	bool idle;

	pthread_mutex_lock(&table->retire_lock);
	idle = table->retire_out == 0;
	table->orphan = !idle;
	pthread_mutex_unlock(&table->retire_lock);
	return idle;
}

void pf_retire_free(struct pf_table *table)
{
	struct pf_retire *batch;

	free(table->retire);
	while ((batch = table->ready)) {
		table->ready = batch->next;
		free(batch);
	}
}
