/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * build.c - records into chunks, chunks into extents.
 */
#include "store/table/build.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMORY_SHARE 8

uint64_t pf_build_group_bytes = 256ull << 20;
uint64_t pf_build_entries_max;

/* ---- extents ---- */

static uint64_t extent_size(const struct pf_build *build)
{
	uint64_t size = PINFOLD_EXTENT_MIN, parts = build->lines_only ? 256 : 32;

	while (size * parts < build->heap_bytes && size < PINFOLD_EXTENT_MAX)
		size *= 2;
	return size;
}

static int extent_new(struct pf_build *build)
{
	struct pf_build_extent *extent = calloc(1, sizeof(*extent));
	struct pf_table *table = build->table;
	uint32_t units;
	int r;

	if (!extent)
		return pf_error(-ENOMEM, "table %s: no memory for an extent", table->name);
	r = pf_extent_alloc(table->store, extent_size(build), 0, &extent->extent);
	if (r < 0) {
		free(extent);
		return r;
	}
	units = extent->extent.len >> PF_UNIT_SHIFT;
	extent->words = calloc((size_t)units * (1 + PF_UNIT_WORDS), sizeof(*extent->words));
	if (!extent->words) {
		pf_extent_back_out(table->store, &extent->extent);
		free(extent);
		return pf_error(-ENOMEM, "table %s: no memory for the bitmaps of an extent", table->name);
	}
	extent->loc = pf_extent_loc(table->store, &extent->extent);
	extent->header = (struct pf_heap_header){ .magic = PF_HEAP_MAGIC,
						  .version = PF_TABLE_VERSION,
						  .incarnation = table->incarnation,
						  .index = build->heap_count++,
						  .unit_count = units,
						  .header_units = pf_heap_header_units(units),
						  .prev = build->last };
	extent->header.crc = pf_crc32c(&extent->header, sizeof(extent->header));
	extent->next_unit = extent->header.header_units;
	build->last = extent->extent;
	build->heap_bytes += extent->extent.len;
	*build->group_last = extent;
	build->group_last = &extent->next;
	build->current = extent;
	return 0;
}

/* ---- chunks ---- */

/* Unit words and bitmaps of the slabs that have slots in use. */
static void chunk_words(struct pf_build *build, const struct pf_build_chunk *chunk, unsigned class)
{
	struct pf_build_extent *extent = chunk->extent;
	const uint64_t seed = build->table->seed;
	uint32_t slabs = chunk->slab + (chunk->slot > 0);

	for (uint32_t i = 0; i < slabs; i++) {
		uint32_t unit = chunk->unit + i * chunk->run, used = i < chunk->slab ? chunk->slots : chunk->slot;
		uint64_t *words = extent->words + extent->header.unit_count + (size_t)unit * PF_UNIT_WORDS;
		uint64_t loc = extent->loc + pf_bitmap_offset(extent->header.unit_count, unit);

		for (uint32_t k = 0; k < chunk->run; k++)
			extent->words[unit + k] = pf_word_make(pf_unit_bits(class, k, chunk->run), seed,
							       extent->loc + pf_unit_word_offset(unit + k));
		for (uint32_t word = 0; word * PF_WORD_BITS < used; word++) {
			uint32_t left = used - word * PF_WORD_BITS;
			uint64_t bits = left >= PF_WORD_BITS ? (1ull << PF_WORD_BITS) - 1 : (1ull << left) - 1;

			words[word] = pf_word_make(bits, seed, loc + word * 8);
		}
	}
}

static int chunk_close(struct pf_build *build, unsigned class)
{
	struct pf_build_chunk *chunk = &build->chunk[class];
	uint32_t slabs = chunk->slab + (chunk->slot > 0);
	uint8_t *buf = chunk->buf;

	if (!buf)
		return 0;
	if (chunk->slot > 0) { /* behind the last slot is what the buffer held before */
		size_t used = ((size_t)chunk->slab * chunk->run << PF_UNIT_SHIFT) + (size_t)chunk->slot * chunk->size;

		memset(buf + used, 0, ((size_t)slabs * chunk->run << PF_UNIT_SHIFT) - used);
	}
	chunk_words(build, chunk, class);
	chunk->buf = NULL;
	return pf_build_write(build, &chunk->extent->extent, (uint64_t)chunk->unit << PF_UNIT_SHIFT, buf,
			      (size_t)slabs * chunk->run << PF_UNIT_SHIFT);
}

int pf_build_chunks_close(struct pf_build *build)
{
	int r = 0;

	for (unsigned class = 1; r == 0 && class < PF_CLASS_COUNT; class++)
		r = chunk_close(build, class);
	return r;
}

/* Units for a chunk of @class from the current extent, up to where the next 2 MiB begin. 0: it has none left. */
static uint32_t units_take(struct pf_build *build, unsigned class, uint32_t wanted, uint32_t *ret_unit)
{
	struct pf_build_extent *extent = build->current;
	uint32_t run = pf_class_run(class), room, border;

	if (!extent)
		return 0;
	room = extent->header.unit_count - extent->next_unit;
	border = PF_CHUNK_UNITS - extent->next_unit % PF_CHUNK_UNITS;
	if (wanted > border)
		wanted = border;
	if (wanted < run)
		wanted = run;
	if (wanted > room)
		wanted = room;
	wanted -= wanted % run;
	*ret_unit = extent->next_unit;
	extent->next_unit += wanted;
	return wanted;
}

/* Few for rare sizes: what is not filled when the group ends stays empty. */
static uint32_t units_wanted(const struct pf_build_chunk *chunk)
{
	uint32_t most = chunk->used > chunk->used_before ? chunk->used : chunk->used_before;

	return most / PF_CHUNK_PARTS < PF_CHUNK_UNITS ? most / PF_CHUNK_PARTS : PF_CHUNK_UNITS;
}

static int chunk_new(struct pf_build *build, unsigned class)
{
	struct pf_build_chunk *chunk = &build->chunk[class];
	uint32_t units, unit = 0;
	int r;

	r = chunk_close(build, class);
	if (r < 0)
		return r;
	if (!chunk->run) {
		chunk->run = pf_class_run(class);
		chunk->slots = pf_class_slots(class);
		chunk->size = pf_class_size(class);
	}
	while (!(units = units_take(build, class, units_wanted(chunk), &unit))) {
		if (build->current && build->group_bytes >= pf_build_group_bytes && !build->lines_only) {
			r = pf_build_chunks_close(build); /* this one is closed: nothing of ours is lost */
			if (r == 0)
				r = pf_build_group_publish(build);
		}
		if (r == 0)
			r = extent_new(build);
		if (r < 0)
			return r;
	}
	r = pf_build_buffer(build, &chunk->buf);
	if (r < 0)
		return r;
	chunk->extent = build->current;
	chunk->unit = unit;
	chunk->units = units;
	chunk->slab = chunk->slot = 0;
	chunk->used += units;
	build->group_bytes += (uint64_t)units << PF_UNIT_SHIFT;
	return 0;
}

int pf_build_slot(struct pf_build *build, unsigned class, uint8_t **ret_slot, uint64_t *ret_loc)
{
	struct pf_build_chunk *chunk = &build->chunk[class];
	uint64_t at;
	int r;

	if (__builtin_expect(!chunk->buf || (chunk->slab + 1) * chunk->run > chunk->units, 0)) {
		r = chunk_new(build, class);
		if (r < 0)
			return r;
	}
	at = ((uint64_t)chunk->slab * chunk->run << PF_UNIT_SHIFT) + (uint64_t)chunk->slot * chunk->size;
	*ret_slot = chunk->buf + at;
	*ret_loc = chunk->extent->loc + ((uint64_t)chunk->unit << PF_UNIT_SHIFT) + at;
	if (++chunk->slot == chunk->slots) { /* what is behind the last slot was somebody else's */
		uint64_t end = at + chunk->size, slab_end = (uint64_t)(chunk->slab + 1) * chunk->run << PF_UNIT_SHIFT;

		memset(chunk->buf + end, 0, slab_end - end);
		chunk->slab++;
		chunk->slot = 0;
	}
	return 0;
}

/* ---- records ---- */

int pf_build_entry_add(struct pf_build *build, uint64_t hash, uint64_t loc)
{
	struct pf_build_block *block = build->block;

	if (__builtin_expect(!block || block->count == PF_BUILD_BLOCK, 0)) {
		block = aligned_alloc(PF_BUILD_BLOCK_SIZE, sizeof(*block));
		if (!block)
			return pf_error(-ENOMEM, "table %s: no memory for the index", build->table->name);
		/* else a tenth of an import and more goes into faults for 4 KiB each */
		madvise(block, sizeof(*block), MADV_HUGEPAGE);
		block->next = NULL;
		block->count = 0;
		*(build->block ? &build->block->next : &build->blocks) = block;
		build->block = block;
	}
	block->entries[block->count++] = (struct pf_build_entry){ .hash = hash, .loc = loc };
	build->entry_count++;
	return 0;
}

int pf_build_add(struct pf_build *build, const void *key, size_t key_size, const void *value, size_t value_size)
{
	size_t size = pf_record_size(key_size, value_size);
	struct pf_record *record;
	uint64_t loc;
	uint8_t *slot;
	unsigned class = pf_class_of(size);
	int r;

	r = pf_build_slot(build, class, &slot, &loc);
	if (r < 0)
		return r;
	record = (struct pf_record *)slot;
	record->sizes = pf_record_sizes(key_size, value_size);
	memcpy(record->data, key, key_size);
	if (value_size > 0)
		memcpy(record->data + key_size, value, value_size);
	record->crc = pf_record_crc(record, size, build->table->seed);
	if (size < build->chunk[class].size)
		memset(slot + size, 0, build->chunk[class].size - size);
	build->counts.key_bytes += key_size;
	build->counts.value_bytes += value_size;
	return pf_build_entry_add(build, pf_hash(key, key_size, build->table->seed), loc);
}

/* ---- life ---- */

int pf_build_begin(struct pf_table *table, struct pf_build **ret_build)
{
	uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	struct pf_build *build = calloc(1, sizeof(*build));
	int r;

	if (!build)
		return pf_error(-ENOMEM, "table %s: no memory for an import", table->name);
	build->table = table;
	build->group_last = &build->group;
	build->groups_last = &build->groups;
	build->entry_max = pf_build_entries_max ? pf_build_entries_max :
						  memory / MEMORY_SHARE / (2 * sizeof(struct pf_build_entry));
	pthread_mutex_lock(&table->lock);
	build->last = table->header.heap_last;
	build->heap_count = table->header.heap_count;
	build->heap_bytes = table->heap_bytes;
	pthread_mutex_unlock(&table->lock);
	r = pf_build_writer_start(build);
	if (r < 0) {
		free(build);
		return r;
	}
	*ret_build = build;
	return 0;
}

void pf_build_free(struct pf_build *build)
{
	struct pf_build_block *block;

	if (!build)
		return;
	pf_build_writer_stop(build);
	for (unsigned class = 1; class < PF_CLASS_COUNT; class++)
		free(build->chunk[class].buf);
	pf_build_extents_free(build->table, build->group, false);
	while ((block = build->blocks)) {
		build->blocks = block->next;
		free(block);
	}
	free(build);
}
