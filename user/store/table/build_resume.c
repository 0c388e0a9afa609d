/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * build_resume.c - what an earlier build has published: indexed again, or given up.
 */
#include "store/table/build.h"

#include <stdlib.h>
#include <unistd.h>

/* How long the readers of deleted records are waited for. */
#define RETIRED_WAIT_MS 2000u
/* Units whose words one transaction clears: 8 KiB of them. */
#define CLEAR_UNITS 1024u

uint32_t pf_build_clear_units = CLEAR_UNITS;

/* Heap extents of @table from @index on, oldest first. The caller frees the list. */
static int heaps_list(struct pf_table *table, struct pf_heap ***ret_list, uint32_t *ret_count)
{
	uint32_t count = table->header.heap_count;
	struct pf_heap **list = calloc(count, sizeof(*list));

	if (!list)
		return pf_error(-ENOMEM, "table %s: no memory", table->name);
	for (struct pf_heap *heap = table->heaps; heap; heap = heap->prev)
		if (heap->index < count)
			list[heap->index] = heap;
	*ret_list = list;
	*ret_count = count;
	return 0;
}

/* The records in slots of @slab that are in use; @buf holds the slab's bytes. */
static int slab_index(struct pf_build *build, const struct pf_slab *slab, const uint8_t *buf)
{
	struct pf_table *table = build->table;
	uint64_t loc = slab->heap->piece->loc + ((uint64_t)slab->unit << PF_UNIT_SHIFT);
	uint32_t slot_size = pf_class_size(slab->class);
	int r = 0;

	for (uint32_t slot = 0; r == 0 && slot < slab->slots; slot++) {
		const struct pf_record *record = (const struct pf_record *)(buf + (size_t)slot * slot_size);
		size_t key_size, size;

		if (!(slab->used[slot / PF_WORD_BITS] >> slot % PF_WORD_BITS & 1))
			continue;
		key_size = pf_record_key_size(record->sizes);
		size = pf_record_size(key_size, pf_record_value_size(record->sizes));
		if (!pf_record_sizes_valid(record->sizes) || size > slot_size ||
		    record->crc != pf_record_crc(record, size, table->seed))
			return pf_error(-EUCLEAN,
					"table %s: record at arena offset %llu, of an unfinished import, is damaged",
					table->name, (unsigned long long)(loc + (uint64_t)slot * slot_size));
		build->counts.key_bytes += key_size;
		build->counts.value_bytes += size - key_size - sizeof(*record);
		r = pf_build_entry_add(build, pf_hash(record->data, key_size, table->seed),
				       loc + (uint64_t)slot * slot_size);
	}
	return r;
}

static int heap_index(struct pf_build *build, struct pf_heap *heap, uint8_t *buf)
{
	const struct pinfold_extent *extent = &heap->piece->extent;
	uint32_t damaged = 0;
	int r = pf_heap_load(build->table, heap);

	if (r == 0)
		r = pf_heap_check(build->table, heap, &damaged);
	if (r == 0 && damaged > 0) /* which slots have records is not known */
		r = pf_error(-EUCLEAN, "table %s: file %u, extent at %llu: %u damaged unit or bitmap words",
			     build->table->name, extent->file_id, (unsigned long long)extent->offset, damaged);
	for (uint32_t unit = heap->first_unit; r == 0 && unit < heap->unit_count;) {
		const struct pf_slab *slab = heap->slabs[unit];

		if (!slab) {
			unit++;
			continue;
		}
		r = pf_read_at(build->table->store, extent, (uint64_t)unit << PF_UNIT_SHIFT, buf,
			       (size_t)slab->run << PF_UNIT_SHIFT);
		if (r == 0)
			r = slab_index(build, slab, buf);
		unit += slab->run;
	}
	return r;
}

int pf_build_resume(struct pf_build *build)
{
	struct pf_table *table = build->table;
	uint8_t *buf = malloc(8u << PF_UNIT_SHIFT); /* the largest slab */
	struct pf_heap **list = NULL;
	uint32_t count = 0;
	int r = buf ? 0 : pf_error(-ENOMEM, "table %s: no memory", table->name);

	pthread_mutex_lock(&table->lock);
	if (r == 0)
		r = heaps_list(table, &list, &count);
	for (uint32_t i = 0; r == 0 && i < count; i++)
		if (list[i])
			r = heap_index(build, list[i], buf);
	build->resumed_heaps = count;
	build->mark = table->header.import.mark;
	pthread_mutex_unlock(&table->lock);
	free(list);
	free(buf);
	return r;
}

/* Makes the header say what @state says, by @tw. */
static int import_commit(struct pf_tw *tw, const struct pf_import_disk *state)
{
	struct pf_table *table = tw->tables[0];
	pinfold_ticket ticket;

	table->header.import = *state;
	table->ws.header_dirty = true;
	return pf_tw_commit(tw, &ticket);
}

/* From here on nobody can resume the import: no source has hashes of 0. */
static int import_disown(struct pf_table *table)
{
	const struct pf_import_disk nobodys = { .mode = PF_IMPORT_BULK };
	struct pf_tw tw;
	int r = pf_tw_begin(table->tables, &table, 1, &tw);

	return r < 0 ? r : import_commit(&tw, &nobodys);
}

/* Zeros the words of units [@unit, @unit + @count) of @heap. */
static int units_clear(struct pf_table *table, const struct pf_heap *heap, uint32_t unit, uint32_t count)
{
	static const uint64_t zero[CLEAR_UNITS];
	pinfold_ticket ticket;
	struct pf_tw tw;
	int r = pf_tw_begin(table->tables, &table, 1, &tw);

	if (r < 0)
		return r;
	r = pf_txn_write(tw.txn, &heap->piece->extent, pf_unit_word_offset(unit), zero, count * sizeof(*zero));
	if (r == 0)
		return pf_tw_commit(&tw, &ticket);
	pf_tw_abort(&tw);
	return r;
}

/* Of all heaps. Their list stays as it is: nobody else changes a table that is being built. */
static int heaps_clear(struct pf_table *table)
{
	int r = 0;

	for (const struct pf_heap *heap = table->heaps; r == 0 && heap; heap = heap->prev) {
		for (uint32_t unit = heap->first_unit, some; r == 0 && unit < heap->unit_count; unit += some) {
			some = heap->unit_count - unit;
			if (some > pf_build_clear_units)
				some = pf_build_clear_units;
			r = units_clear(table, heap, unit, some);
		}
	}
	return r;
}

/* The slabs in memory of what heaps_clear() did. */
static void heap_forget(struct pf_table *table, struct pf_heap *heap)
{
	if (!heap->loaded)
		return;
	for (uint32_t unit = heap->first_unit; unit < heap->unit_count;) {
		struct pf_slab *slab = heap->slabs[unit];

		if (!slab) {
			unit++;
			continue;
		}
		unit += slab->run;
		if (slab->free < slab->slots) {
			if (!slab->listed)
				pf_slab_list(table, slab);
			slab->free = slab->slots;
			table->empty_slabs++;
		}
		pf_slab_free(table, slab);
	}
}

/* No slot of @table is on its way back from readers, whose slab would be gone when it comes. */
static int retired_wait(struct pf_table *table)
{
	for (unsigned i = 0; i < RETIRED_WAIT_MS; i++) {
		bool idle;

		pthread_mutex_lock(&table->lock);
		pf_retire_push(table);
		pf_retire_drain(table);
		pthread_mutex_lock(&table->retire_lock);
		idle = table->retire_out == 0 && !atomic_load(&table->ready) &&
		       (!table->retire || table->retire->count == 0);
		pthread_mutex_unlock(&table->retire_lock);
		pthread_mutex_unlock(&table->lock);
		if (idle)
			return 0;
		usleep(1000);
	}
	return pf_error(-EBUSY, "table %s: readers of records that were deleted before the import have not left yet",
			table->name);
}

/* What the disk says counts. */
static void heaps_unload(struct pf_table *table)
{
	pthread_mutex_lock(&table->lock);
	for (struct pf_heap *heap = table->heaps; heap; heap = heap->prev) {
		heap_forget(table, heap);
		table->unloaded_heaps += heap->loaded;
		heap->loaded = false;
		heap->free_units = 0;
	}
	pthread_mutex_unlock(&table->lock);
}

/*
 * Step by step, as a large table has more units than a transaction has room for: (1) the import is nobody's, (2) units
 * are cleared, some by each transaction, (3) nothing is being built. They are ordered one after another, so whatever
 * a crash leaves reads as empty and is refused to everybody but to an import that restarts; that begins here again.
 */
int pf_build_discard(struct pf_table *table)
{
	const struct pf_import_disk none = { .mode = PF_IMPORT_NONE };
	struct pf_tw tw;
	int r = retired_wait(table);

	if (r < 0)
		return r;
	r = import_disown(table);
	if (r == 0)
		r = heaps_clear(table);
	if (r == 0)
		r = pf_tw_begin(table->tables, &table, 1, &tw);
	if (r == 0) {
		for (struct pf_heap *heap = table->heaps; heap; heap = heap->prev)
			heap_forget(table, heap);
		r = import_commit(&tw, &none);
	}
	if (r < 0) /* still being built, so nobody has changed anything meanwhile */
		heaps_unload(table);
	return r;
}
