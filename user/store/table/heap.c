/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * heap.c - slots of heap extents: their bitmaps in memory, alloc and free.
 *
 * A slab's `used` bits are what the disk says once the transaction at work is
 * submitted; `busy` bits are a superset that also holds slots whose readers may
 * not have left yet (invariant 1). Slots are taken from what is not busy. A slot
 * is freed once: what is not used is not there to be freed, however often damaged
 * lines refer to it.
 */
#include "store/table/internal.h"

#include <stdlib.h>

int pf_heap_attach(struct pf_table *table, struct pf_piece *piece, const struct pf_heap_header *header)
{
	struct pf_heap *heap, **place;

	heap = calloc(1, sizeof(*heap));
	if (!heap)
		return pf_error(-ENOMEM, "table %s: no memory", table->name);
	heap->piece = piece;
	heap->index = header->index;
	heap->unit_count = header->unit_count;
	heap->first_unit = header->header_units + header->bucket_units;
	heap->slabs = calloc(heap->unit_count, sizeof(*heap->slabs));
	if (!heap->slabs) {
		free(heap);
		return pf_error(-ENOMEM, "table %s: no memory", table->name);
	}
	for (place = &table->heaps; *place && (*place)->index > heap->index; place = &(*place)->prev)
		;
	heap->prev = *place;
	*place = heap;
	piece->heap = heap;
	table->heap_bytes += piece->extent.len;
	table->unloaded_heaps++;
	return 0;
}

void pf_slab_destroy(struct pf_slab *slab)
{
	free(slab->used);
	free(slab);
}

void pf_heap_free(struct pf_heap *heap)
{
	for (uint32_t unit = heap->first_unit; unit < heap->unit_count;) {
		struct pf_slab *slab = heap->slabs[unit];

		unit += slab ? slab->run : 1;
		if (slab)
			pf_slab_destroy(slab);
	}
	free(heap->slabs);
	free(heap);
}

struct pf_slab *pf_slab_make(struct pf_heap *heap, uint32_t unit, unsigned class)
{
	uint32_t slots = pf_class_slots(class), words = (slots + PF_WORD_BITS - 1) / PF_WORD_BITS;
	struct pf_slab *slab = calloc(1, sizeof(*slab));

	if (!slab)
		return NULL;
	slab->used = calloc(2 * (size_t)words, sizeof(*slab->used));
	if (!slab->used) {
		free(slab);
		return NULL;
	}
	slab->busy = slab->used + words;
	slab->heap = heap;
	slab->unit = unit;
	slab->class = (uint8_t)class;
	slab->run = (uint8_t)pf_class_run(class);
	slab->slots = slab->free = slots;
	for (unsigned i = 0; i < slab->run; i++)
		heap->slabs[unit + i] = slab;
	return slab;
}

/* The slab of the slot at @loc, which must be the start of one. */
struct pf_slab *pf_slab_of(struct pf_table *table, uint64_t loc, uint32_t *ret_slot)
{
	struct pf_piece *piece = pf_piece_at(table, loc);
	struct pf_slab *slab;
	uint64_t offset;

	if (!piece || !piece->heap || !piece->heap->loaded)
		return NULL;
	offset = loc - piece->loc;
	slab = piece->heap->slabs[offset >> PF_UNIT_SHIFT];
	if (!slab || slab->slots == 0)
		return NULL;
	offset -= (uint64_t)slab->unit << PF_UNIT_SHIFT;
	if (offset % pf_class_size(slab->class) || offset / pf_class_size(slab->class) >= slab->slots)
		return NULL;
	*ret_slot = (uint32_t)(offset / pf_class_size(slab->class));
	return slab;
}

static struct pf_slab *partial_get(struct pf_table *table, unsigned class)
{
	if (!table->partial[class] && atomic_load_explicit(&table->ready, memory_order_relaxed))
		pf_retire_drain(table);
	return table->partial[class];
}

/* Every slot is busy, whatever is said of how many are free: nobody looks here again until some come back. */
static int slab_full(struct pf_table *table, struct pf_slab *slab)
{
	const struct pinfold_extent *extent = &slab->heap->piece->extent;
	uint32_t said = slab->free;

	slab->free = 0;
	pf_slab_unlist(table, slab);
	return pf_error(-EUCLEAN, "table %s: file %u, extent at %llu: unit %u has no free slot where %u should be",
			table->name, extent->file_id, (unsigned long long)extent->offset, slab->unit, said);
}

static int slot_take(struct pf_table *table, struct pf_slab *slab, uint32_t *ret_slot)
{
	uint32_t words = pf_slab_words(slab), word = slab->cursor, tried = 0;
	uint64_t spare;
	unsigned bit;

	while (!(spare = ~slab->busy[word] & pf_slab_mask(slab, word))) {
		if (++tried == words)
			return slab_full(table, slab);
		word = word + 1 == words ? 0 : word + 1;
	}
	bit = (unsigned)__builtin_ctzll(spare);
	slab->busy[word] |= 1ull << bit;
	slab->used[word] |= 1ull << bit;
	slab->cursor = word;
	if (slab->free == slab->slots)
		table->empty_slabs--;
	if (--slab->free == 0)
		pf_slab_unlist(table, slab);
	*ret_slot = word * PF_WORD_BITS + bit;
	return 0;
}

int pf_slot_alloc(struct pf_table *table, unsigned class, uint64_t *ret_loc)
{
	struct pf_ws *ws = &table->ws;
	struct pf_slab *slab;
	uint32_t slot = 0;
	int r;

	r = PF_RESERVE(ws->allocs, ws->alloc_count, ws->alloc_capacity);
	if (r < 0)
		return r;
	slab = partial_get(table, class);
	if (!slab) {
		r = pf_slab_new(table, class, &slab);
		if (r < 0)
			return r;
	}
	r = pf_ws_slab_dirty(table, slab, 0); /* room first, so that what follows cannot fail */
	if (r < 0)
		return r;
	r = slot_take(table, slab, &slot);
	if (r < 0)
		return r;
	slab->dirty |= 1ull << (slot / PF_WORD_BITS);
	*ret_loc = slab->heap->piece->loc + ((uint64_t)slab->unit << PF_UNIT_SHIFT) +
		   (uint64_t)slot * pf_class_size(class);
	ws->allocs[ws->alloc_count++] = *ret_loc;
	return 0;
}

/* Why the slot at @loc cannot be freed. */
static int slot_error(const struct pf_table *table, const struct pf_piece *piece, uint64_t loc)
{
	const struct pf_slab *slab = NULL;

	for (size_t i = 0; i < table->ws.free_count; i++)
		if (table->ws.frees[i] == loc)
			return pf_error(-EUCLEAN, "table %s: two references lead to the slot at arena offset %llu",
					table->name, (unsigned long long)loc);

	if (piece && piece->heap)
		slab = piece->heap->slabs[(loc - piece->loc) >> PF_UNIT_SHIFT];
	if (slab && slab->slots == 0)
		return pf_error(-EUCLEAN,
				"table %s: file %u, extent at %llu: the words of unit %u, in which a slot is to be "
				"freed, are damaged",
				table->name, piece->extent.file_id, (unsigned long long)piece->extent.offset,
				slab->unit);
	return pf_error(-EUCLEAN, "table %s: the slot at arena offset %llu is referred to but not allocated",
			table->name, (unsigned long long)loc);
}

int pf_slot_free(struct pf_table *table, uint64_t loc)
{
	struct pf_piece *piece = pf_piece_at(table, loc);
	struct pf_ws *ws = &table->ws;
	struct pf_slab *slab;
	uint32_t slot;
	int r;

	if (piece && piece->heap) {
		r = pf_heap_load(table, piece->heap);
		if (r < 0)
			return r;
	}
	slab = pf_slab_of(table, loc, &slot);
	if (!slab || !(slab->used[slot / PF_WORD_BITS] >> slot % PF_WORD_BITS & 1))
		return slot_error(table, piece, loc);
	r = PF_RESERVE(ws->frees, ws->free_count, ws->free_capacity);
	if (r == 0)
		r = pf_ws_slab_dirty(table, slab, 1ull << (slot / PF_WORD_BITS));
	if (r < 0)
		return r;
	slab->used[slot / PF_WORD_BITS] &= ~(1ull << slot % PF_WORD_BITS);
	ws->frees[ws->free_count++] = loc;
	return 0;
}

void pf_slot_unbusy(struct pf_table *table, uint64_t loc)
{
	uint32_t slot;
	struct pf_slab *slab = pf_slab_of(table, loc, &slot);

	pf_assert(slab);
	slab->busy[slot / PF_WORD_BITS] &= ~(1ull << slot % PF_WORD_BITS);
	if (slab->free++ == 0)
		pf_slab_list(table, slab);
	if (slab->free == slab->slots)
		table->empty_slabs++;
}
