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

	pthread_mutex_lock(&table->retire_lock);
	batch->next = table->ready;
	table->ready = batch;
	table->retire_out--;
	pthread_cond_signal(&table->retire_cond);
	pthread_mutex_unlock(&table->retire_lock);
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

/* At the end of the table: callbacks must not find it gone. Not inside an epoch. */
void pf_retire_wait(struct pf_table *table)
{
	struct pf_retire *batch;

	pthread_mutex_lock(&table->retire_lock);
	while (table->retire_out > 0)
		pthread_cond_wait(&table->retire_cond, &table->retire_lock);
	while ((batch = table->ready)) {
		table->ready = batch->next;
		free(batch);
	}
	pthread_mutex_unlock(&table->retire_lock);
}
