/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * slab.c - runs of 64 KiB units that hold slots of one class, and new heap extents.
 *
 * A slab that has become empty keeps its class until units run out; then all
 * empty slabs are taken apart. Their unit words on disk stay as they are until
 * the units are used again: an empty slab and a free unit mean the same.
 */
#include "store/table/internal.h"

#include <stdlib.h>

/* Heap extents whose bitmaps one allocation reads before it takes a new extent instead. */
#define LOADS_PER_ALLOC 2

void pf_slab_list(struct pf_table *table, struct pf_slab *slab)
{
	struct pf_slab **head = &table->partial[slab->class];

	slab->prev = NULL;
	slab->next = *head;
	if (*head)
		(*head)->prev = slab;
	*head = slab;
	slab->listed = true;
}

void pf_slab_unlist(struct pf_table *table, struct pf_slab *slab)
{
	if (slab->prev)
		slab->prev->next = slab->next;
	else
		table->partial[slab->class] = slab->next;
	if (slab->next)
		slab->next->prev = slab->prev;
	slab->listed = false;
}

void pf_slab_free(struct pf_table *table, struct pf_slab *slab)
{
	pf_assert(slab->free == slab->slots);
	if (slab->slots > 0) { /* else its unit was withheld */
		table->empty_slabs--;
		pf_slab_unlist(table, slab);
	}
	for (unsigned i = 0; i < slab->run; i++)
		slab->heap->slabs[slab->unit + i] = NULL;
	slab->heap->free_units += slab->run;
	free(slab->used);
	free(slab);
}

static bool run_find(const struct pf_heap *heap, unsigned run, uint32_t *ret_unit)
{
	uint32_t length = 0;

	if (heap->free_units < run)
		return false;
	for (uint32_t unit = heap->first_unit; unit < heap->unit_count; unit++) {
		length = heap->slabs[unit] ? 0 : length + 1;
		if (length == run) {
			*ret_unit = unit + 1 - run;
			return true;
		}
	}
	return false;
}

static bool run_find_any(const struct pf_table *table, unsigned run, struct pf_heap **ret_heap, uint32_t *ret_unit)
{
	for (struct pf_heap *heap = table->heaps; heap; heap = heap->prev) {
		if (heap->loaded && run_find(heap, run, ret_unit)) {
			*ret_heap = heap;
			return true;
		}
	}
	return false;
}

/* Takes apart the empty slabs that the transaction at work has not touched. */
static void empty_reclaim(struct pf_table *table)
{
	for (unsigned class = 1; class < PF_CLASS_COUNT; class++) {
		struct pf_slab *slab = table->partial[class], *next;

		for (; slab; slab = next) {
			next = slab->next;
			if (slab->free == slab->slots && !slab->queued)
				pf_slab_free(table, slab);
		}
	}
}

/* A 32nd of the heap, so that slack stays small and extents few. */
uint64_t pf_heap_extent_size(const struct pf_table *table)
{
	uint64_t size = PINFOLD_EXTENT_MIN;

	while (size * 32 < table->heap_bytes && size < PINFOLD_EXTENT_MAX)
		size *= 2;
	return size;
}

static int heap_extend(struct pf_table *table, struct pf_heap **ret_heap)
{
	struct pf_heap_header header = { 0 };
	uint64_t size = pf_heap_extent_size(table);
	struct pinfold_extent extent;
	struct pf_ws *ws = &table->ws;
	struct pf_piece *piece;
	int r;

	r = PF_RESERVE(ws->pieces, ws->piece_count, ws->piece_capacity);
	if (r < 0)
		return r;
	r = pf_spare_take(table, PF_SPARE_HEAP, size, &extent);
	if (r == -ENOSPC && size > PINFOLD_EXTENT_MIN)
		r = pf_extent_alloc(table->store, PINFOLD_EXTENT_MIN, 0, &extent);
	if (r < 0)
		return r;
	r = pf_piece_add(table, &extent, &piece);
	if (r < 0) {
		pf_extent_back_out(table->store, &extent);
		return r;
	}
	header.index = table->header.heap_count;
	header.unit_count = extent.len >> PF_UNIT_SHIFT;
	header.header_units = pf_heap_header_units(header.unit_count);
	r = pf_heap_attach(table, piece, &header);
	if (r < 0) {
		pf_piece_remove(table, piece);
		pf_extent_back_out(table->store, &extent);
		return r;
	}
	*ret_heap = piece->heap;
	(*ret_heap)->loaded = true;
	(*ret_heap)->free_units = (*ret_heap)->unit_count - (*ret_heap)->first_unit;
	table->unloaded_heaps--;
	table->header.heap_count++;
	table->header.heap_last = extent;
	ws->header_dirty = true;
	ws->pieces[ws->piece_count++] = piece;
	return 0;
}

static int load_some(struct pf_table *table, int *budget)
{
	struct pf_heap *heap;

	for (heap = table->heaps; heap && heap->loaded; heap = heap->prev)
		;
	if (!heap || *budget == 0)
		return -ENOENT;
	(*budget)--;
	return pf_heap_load(table, heap);
}

int pf_slab_new(struct pf_table *table, unsigned class, struct pf_slab **ret_slab)
{
	unsigned run = pf_class_run(class);
	struct pf_ws *ws = &table->ws;
	int r, budget = LOADS_PER_ALLOC;
	struct pf_slab *slab;
	struct pf_heap *heap;
	uint32_t unit;

	pf_retire_push(table); /* whatever waits for a full batch may start its grace period */
	while (!run_find_any(table, run, &heap, &unit)) {
		r = load_some(table, &budget);
		if (r < 0 && r != -ENOENT)
			return r;
		if (r == 0 && table->partial[class]) {
			*ret_slab = table->partial[class];
			return 0;
		}
		if (r == 0)
			continue;
		if (table->empty_slabs >= 8 || (run == 1 && table->empty_slabs > 0)) {
			empty_reclaim(table);
			if (run_find_any(table, run, &heap, &unit))
				break;
		}
		r = heap_extend(table, &heap);
		if (r < 0)
			return r;
	}
	r = PF_RESERVE(ws->assigned, ws->assigned_count, ws->assigned_capacity);
	if (r < 0)
		return r;
	slab = pf_slab_make(heap, unit, class);
	if (!slab)
		return pf_error(-ENOMEM, "table %s: no memory", table->name);
	heap->free_units -= run;
	table->empty_slabs++;
	pf_slab_list(table, slab);
	r = pf_ws_slab_dirty(table, slab, PF_SLAB_DIRTY_UNIT);
	if (r < 0) {
		pf_slab_free(table, slab);
		return r;
	}
	ws->assigned[ws->assigned_count++] = slab;
	*ret_slab = slab;
	return 0;
}
