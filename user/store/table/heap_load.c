/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * heap_load.c - unit words and bitmaps of heap extents: read, and believed or not.
 *
 * They are read when they are first needed, one heap extent at a time: 0.5 %
 * of the extent's size, never the records. Opening a table reads none.
 *
 * What a damaged word stands for may be in use, so it is taken: the slots of a
 * bitmap's word, or the unit and those that may have been one slab with it. Puts
 * go on in what is left; to free a slot of such a unit is an error, each time.
 */
#include "store/table/internal.h"

#include <stdlib.h>

/* Whether the word of @unit says what a word can say, about this place. */
static bool unit_sound(const struct pf_table *table, const struct pf_heap *heap, const uint64_t *words, uint32_t unit)
{
	const uint64_t bits = pf_word_bits(words[unit]);
	const uint32_t class = bits & 0xffff, ordinal = bits >> 16 & 0xff, run = bits >> 24;

	if (words[unit] != pf_word_make(bits, table->seed, heap->piece->loc + pf_unit_word_offset(unit)))
		return false;
	if (bits == 0)
		return true;
	return class > 0 && class < PF_CLASS_COUNT && run == pf_class_run(class) && ordinal < run &&
	       unit >= heap->first_unit + ordinal && unit - ordinal + run <= heap->unit_count;
}

/* What the words of units say about one. */
enum unit_use { UNIT_FREE, UNIT_SLAB, UNIT_UNKNOWN };

/* UNIT_SLAB: a slab begins at @unit. */
static enum unit_use unit_use(const struct pf_table *table, const struct pf_heap *heap, const uint64_t *words,
			      uint32_t unit)
{
	const uint64_t bits = pf_word_bits(words[unit]);
	const uint32_t class = bits & 0xffff, ordinal = bits >> 16 & 0xff, run = bits >> 24;
	bool whole = ordinal == 0;

	if (!unit_sound(table, heap, words, unit))
		return UNIT_UNKNOWN;
	if (bits == 0)
		return UNIT_FREE;
	for (uint32_t i = 0; i < run; i++) {
		if (!unit_sound(table, heap, words, unit - ordinal + i))
			return UNIT_UNKNOWN; /* it may have been whole */
		whole = whole && pf_word_bits(words[unit - ordinal + i]) == pf_unit_bits(class, i, run);
	}
	/* Units of an emptied slab whose neighbours were taken over are free. */
	return whole ? UNIT_SLAB : UNIT_FREE;
}

static bool bitmap_sound(const struct pf_table *table, const struct pf_slab *slab, const uint64_t *words, uint32_t i)
{
	const uint64_t loc = slab->heap->piece->loc + pf_bitmap_offset(slab->heap->unit_count, slab->unit);
	const uint64_t bits = pf_word_bits(words[i]);

	return words[i] == pf_word_make(bits, table->seed, loc + i * 8) && !(bits & ~pf_slab_mask(slab, i));
}

static void bitmap_load(const struct pf_table *table, struct pf_slab *slab, const uint64_t *words)
{
	for (uint32_t i = 0; i < pf_slab_words(slab); i++) {
		uint64_t bits = bitmap_sound(table, slab, words, i)
					? pf_word_bits(words[i])
					: pf_slab_mask(slab, i); /* never hand out what may be in use */

		slab->used[i] = slab->busy[i] = bits;
		slab->free -= (uint32_t)__builtin_popcountll(bits);
	}
}

/* Nobody knows what is in @unit: it is not free, and no slot of it can be freed. */
static struct pf_slab *unit_withhold(struct pf_heap *heap, uint32_t unit)
{
	struct pf_slab *slab = calloc(1, sizeof(*slab));

	if (slab) {
		slab->heap = heap;
		slab->unit = unit;
		slab->run = 1;
		heap->slabs[unit] = slab;
	}
	return slab;
}

static void heap_unbuild(struct pf_table *table, struct pf_heap *heap)
{
	for (uint32_t unit = heap->first_unit; unit < heap->unit_count;) {
		struct pf_slab *slab = heap->slabs[unit];

		heap->slabs[unit++] = NULL;
		if (!slab)
			continue;
		for (; unit < slab->unit + slab->run; unit++)
			heap->slabs[unit] = NULL;
		table->empty_slabs -= slab->slots > 0 && slab->free == slab->slots;
		if (slab->listed)
			pf_slab_unlist(table, slab);
		pf_slab_destroy(slab);
	}
	heap->free_units = 0;
}

/* Builds the slabs of @heap from its unit words and bitmaps. */
static int heap_build(struct pf_table *table, struct pf_heap *heap, const uint64_t *words)
{
	const uint64_t *bitmaps = words + heap->unit_count;

	for (uint32_t unit = heap->first_unit; unit < heap->unit_count;) {
		enum unit_use use = unit_use(table, heap, words, unit);
		struct pf_slab *slab;

		if (use == UNIT_FREE) {
			heap->free_units++;
			unit++;
			continue;
		}
		slab = use == UNIT_SLAB ? pf_slab_make(heap, unit, pf_word_bits(words[unit]) & 0xffff)
					: unit_withhold(heap, unit);
		if (!slab) {
			heap_unbuild(table, heap);
			return pf_error(-ENOMEM, "table %s: no memory", table->name);
		}
		bitmap_load(table, slab, bitmaps + (size_t)unit * PF_UNIT_WORDS);
		if (slab->free > 0)
			pf_slab_list(table, slab);
		if (slab->slots > 0 && slab->free == slab->slots)
			table->empty_slabs++;
		unit += slab->run;
	}
	return 0;
}

/* Unit words, then bitmaps. The caller frees them. */
static int words_read(struct pf_table *table, const struct pf_heap *heap, uint64_t **ret_words)
{
	size_t size = pf_bitmap_offset(heap->unit_count, heap->unit_count) - sizeof(struct pf_heap_header);
	uint64_t *words = malloc(size);
	int r;

	if (!words)
		return pf_error(-ENOMEM, "table %s: no memory for the bitmaps of a heap extent", table->name);
	r = pf_read_at(table->store, &heap->piece->extent, sizeof(struct pf_heap_header), words, size);
	if (r < 0) {
		free(words);
		return r;
	}
	*ret_words = words;
	return 0;
}

int pf_heap_load(struct pf_table *table, struct pf_heap *heap)
{
	uint64_t *words;
	int r;

	if (heap->loaded)
		return 0;
	r = words_read(table, heap, &words);
	if (r < 0)
		return r;
	r = heap_build(table, heap, words);
	free(words);
	if (r < 0)
		return r;
	heap->loaded = true;
	table->unloaded_heaps--;
	return 0;
}

int pf_heap_check(struct pf_table *table, const struct pf_heap *heap, uint32_t *ret_damaged)
{
	uint32_t damaged = 0;
	uint64_t *words;
	int r = words_read(table, heap, &words);

	if (r < 0)
		return r;
	for (uint32_t unit = heap->first_unit; unit < heap->unit_count; unit++) {
		const struct pf_slab *slab = heap->slabs[unit];

		damaged += !unit_sound(table, heap, words, unit);
		if (slab && slab->unit == unit)
			for (uint32_t i = 0; i < pf_slab_words(slab); i++)
				damaged += !bitmap_sound(table, slab,
							 words + heap->unit_count + (size_t)unit * PF_UNIT_WORDS, i);
	}
	free(words);
	*ret_damaged = damaged;
	return 0;
}
