/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * writeset.c - what a transaction does to a table before it is submitted.
 *
 * Lines and records are kept here, so that a batch sees its own changes, a line
 * is journaled once however often it changes, and a failure has nothing to undo
 * on disk. Flush turns the set into writes; commit and rollback settle memory.
 *
 * Order of the writes (a reader in another process sees them applied in this
 * order, without sequences): new extents, records, bitmaps, header, then lines,
 * the later-loaded first: the new half of a split before the old one shrinks,
 * overflow lines before the line that links them.
 */
#include "store/table/internal.h"

#include <stdlib.h>

/* Up to here a write set is searched line by line. */
#define MAP_FROM 16

void *pf_grow(void *array, size_t *capacity, size_t item_size)
{
	size_t wanted = *capacity ? *capacity * 2 : 16;
	void *p = reallocarray(array, wanted, item_size);

	if (p)
		*capacity = wanted;
	else
		pf_error(-ENOMEM, "table: no memory for %zu items of a write set", wanted);
	return p;
}

/* ---- location -> index ---- */

static uint32_t map_home(const struct pf_map *map, uint64_t loc)
{
	return (uint32_t)(pf_hash_fold(loc, 0x9e3779b97f4a7c15ull)) & (map->capacity - 1);
}

static uint32_t map_place(const struct pf_map *map, uint64_t loc)
{
	uint32_t i = map_home(map, loc);

	while (map->keys[i] && map->keys[i] != (loc | 1))
		i = (i + 1) & (map->capacity - 1);
	return i;
}

static int map_resize(struct pf_map *map, uint32_t capacity)
{
	struct pf_map bigger = { .capacity = capacity };

	bigger.keys = calloc(capacity, sizeof(*bigger.keys));
	bigger.values = malloc(capacity * sizeof(*bigger.values));
	if (!bigger.keys || !bigger.values) {
		free(bigger.keys);
		free(bigger.values);
		return pf_error(-ENOMEM, "table: no memory for the index of a write set");
	}
	for (uint32_t i = 0; i < map->capacity; i++) {
		if (map->keys[i]) {
			uint32_t place = map_place(&bigger, map->keys[i] & ~1ull);

			bigger.keys[place] = map->keys[i];
			bigger.values[place] = map->values[i];
			bigger.count++;
		}
	}
	free(map->keys);
	free(map->values);
	*map = bigger;
	return 0;
}

static int map_set(struct pf_map *map, uint64_t loc, uint32_t value)
{
	uint32_t place;
	int r;

	if (map->count * 2 >= map->capacity) {
		r = map_resize(map, map->capacity ? map->capacity * 2 : 256);
		if (r < 0)
			return r;
	}
	place = map_place(map, loc);
	if (!map->keys[place])
		map->count++;
	map->keys[place] = loc | 1;
	map->values[place] = value;
	return 0;
}

/* Empties the cluster of places that @loc belongs in, from its first one on. How many keys that were. */
static uint32_t map_wipe(struct pf_map *map, uint64_t loc)
{
	uint32_t count = 0;

	for (uint32_t i = map_home(map, loc); map->keys[i]; i = (i + 1) & (map->capacity - 1), count++)
		map->keys[i] = 0;
	return count;
}

_Static_assert(offsetof(struct pf_ws_line, loc) == 0 && offsetof(struct pf_ws_record, loc) == 0, "map_clear()");

/* @items, of @stride bytes each, begin with the locations that the map was made of. */
static void map_clear(struct pf_map *map, const void *items, size_t count, size_t stride)
{
	uint32_t wiped = 0;

	if (map->count == 0)
		return;
	if (map->capacity > 65536) { /* a large batch has passed: do not clear megabytes for small ones */
		free(map->keys);
		free(map->values);
		*map = (struct pf_map){ 0 };
		return;
	}
	for (size_t i = 0; map->count < map->capacity / 32 && i < count; i++) /* nor kilobytes for a few keys */
		wiped += map_wipe(map, *(const uint64_t *)((const char *)items + i * stride));
	if (wiped < map->count)
		memset(map->keys, 0, map->capacity * sizeof(*map->keys));
	map->count = 0;
}

/* ---- life ---- */

int pf_ws_init(struct pf_table *table)
{
	table->scratch = malloc(PF_RECORD_MAX);
	return table->scratch ? 0 : pf_error(-ENOMEM, "table %s: no memory", table->name);
}

void pf_ws_done(struct pf_table *table)
{
	struct pf_ws *ws = &table->ws;

	free(ws->lines);
	free(ws->records);
	free(ws->allocs);
	free(ws->frees);
	free(ws->dirty);
	free(ws->assigned);
	free(ws->pieces);
	free(ws->buf);
	free(ws->line_map.keys);
	free(ws->line_map.values);
	free(ws->record_map.keys);
	free(ws->record_map.values);
	free(table->scratch);
	pf_txn_abort(table->txn);
}

static void ws_clear(struct pf_ws *ws)
{
	for (size_t i = 0; i < ws->dirty_count; i++) {
		ws->dirty[i]->dirty = 0;
		ws->dirty[i]->queued = false;
	}
	map_clear(&ws->line_map, ws->lines, ws->line_count, sizeof(*ws->lines));
	map_clear(&ws->record_map, ws->records, ws->record_count, sizeof(*ws->records));
	ws->line_count = ws->record_count = ws->alloc_count = ws->free_count = 0;
	ws->dirty_count = ws->assigned_count = ws->piece_count = ws->buf_size = 0;
	ws->header_dirty = false;
	ws->built = NULL;
}

void pf_ws_begin(struct pf_table *table)
{
	struct pf_ws *ws = &table->ws;

	ws->counts = table->header.counts;
	ws->heap_count = table->header.heap_count;
	ws->segment_count = table->header.segment_count;
	ws->heap_last = table->header.heap_last;
	ws->import = table->header.import;
}

/* ---- lines and records ---- */

static bool line_find(const struct pf_ws *ws, uint64_t loc, uint32_t *ret_index)
{
	if (ws->line_count > MAP_FROM) {
		uint32_t place = map_place(&ws->line_map, loc);

		*ret_index = ws->line_map.values[place];
		return ws->line_map.keys[place] != 0;
	}
	for (uint32_t i = 0; i < ws->line_count; i++) {
		if (ws->lines[i].loc == loc) {
			*ret_index = i;
			return true;
		}
	}
	return false;
}

/* After lines[line_count] was filled in. */
static int line_index(struct pf_ws *ws)
{
	uint32_t first = ws->line_count == MAP_FROM ? 0 : (uint32_t)ws->line_count;
	int r = 0;

	if (ws->line_count >= MAP_FROM)
		for (uint32_t i = first; r == 0 && i <= ws->line_count; i++)
			r = map_set(&ws->line_map, ws->lines[i].loc, i);
	return r;
}

int pf_ws_line(struct pf_table *table, uint64_t loc, uint64_t bucket, bool fresh, uint32_t *ret_index)
{
	static const struct pf_line zero;
	struct pf_ws *ws = &table->ws;
	struct pf_ws_line *item;
	int r;

	if (line_find(ws, loc, ret_index)) {
		if (!fresh && ws->lines[*ret_index].bucket != bucket)
			return pf_error(-EUCLEAN,
					"table %s: buckets %llu and %llu share the line at arena offset %llu",
					table->name, (unsigned long long)ws->lines[*ret_index].bucket,
					(unsigned long long)bucket, (unsigned long long)loc);
		if (fresh) { /* a slot freed by an earlier change of this set cannot come back in it */
			ws->lines[*ret_index].bucket = bucket;
			ws->lines[*ret_index].line = zero;
		}
		return 0;
	}
	r = PF_RESERVE(ws->lines, ws->line_count, ws->line_capacity);
	if (r < 0)
		return r;
	item = &ws->lines[ws->line_count];
	*item = (struct pf_ws_line){ .loc = loc, .bucket = bucket };
	if (!fresh) {
		r = pf_table_read(table, loc, &item->line, sizeof(item->line));
		if (r < 0)
			return r;
		if (memcmp(&item->line, &zero, sizeof(zero)) != 0 &&
		    item->line.crc != pf_line_crc(&item->line, table->seed, bucket))
			return pf_error(-EUCLEAN,
					"table %s: bucket %llu: line at arena offset %llu has a wrong checksum",
					table->name, (unsigned long long)bucket, (unsigned long long)loc);
	}
	r = line_index(ws);
	if (r < 0)
		return r;
	*ret_index = (uint32_t)ws->line_count++;
	return 0;
}

bool pf_ws_has_line(const struct pf_table *table, uint64_t loc)
{
	uint32_t index;

	return line_find(&table->ws, loc, &index);
}

static bool record_find(const struct pf_ws *ws, uint64_t loc, uint32_t *ret_index)
{
	if (ws->record_count > MAP_FROM) {
		uint32_t place = map_place(&ws->record_map, loc);

		*ret_index = ws->record_map.values[place];
		return ws->record_map.keys[place] != 0;
	}
	for (uint32_t i = 0; i < ws->record_count; i++) {
		if (ws->records[i].loc == loc) {
			*ret_index = i;
			return true;
		}
	}
	return false;
}

static int record_index(struct pf_ws *ws)
{
	uint32_t first = ws->record_count == MAP_FROM ? 0 : (uint32_t)ws->record_count;
	int r = 0;

	if (ws->record_count >= MAP_FROM)
		for (uint32_t i = first; r == 0 && i <= ws->record_count; i++)
			r = map_set(&ws->record_map, ws->records[i].loc, i);
	return r;
}

int pf_ws_record_add(struct pf_table *table, uint64_t loc, const void *key, size_t key_size, const void *value,
		     size_t value_size)
{
	size_t size = pf_record_size(key_size, value_size);
	struct pf_ws *ws = &table->ws;
	struct pf_record *record;
	int r;

	r = PF_RESERVE(ws->records, ws->record_count, ws->record_capacity);
	if (r < 0)
		return r;
	while (ws->buf_capacity - ws->buf_size < size + 8) {
		r = PF_RESERVE(ws->buf, ws->buf_capacity, ws->buf_capacity);
		if (r < 0)
			return r;
	}
	record = (struct pf_record *)(ws->buf + ws->buf_size);
	record->sizes = pf_record_sizes(key_size, value_size);
	memcpy(record->data, key, key_size);
	if (value_size > 0)
		memcpy(record->data + key_size, value, value_size);
	record->crc = pf_record_crc(record, size, table->seed);
	ws->records[ws->record_count] = (struct pf_ws_record){
		.loc = loc, .offset = ws->buf_size, .size = (uint32_t)size};
	r = record_index(ws);
	if (r < 0)
		return r;
	ws->record_count++;
	ws->buf_size += (size + 7) & ~(size_t)7; /* records stay aligned */
	return 0;
}

const struct pf_record *pf_ws_record_at(const struct pf_table *table, uint64_t loc)
{
	uint32_t index;

	return record_find(&table->ws, loc, &index)
		       ? (const struct pf_record *)(table->ws.buf + table->ws.records[index].offset)
		       : NULL;
}

int pf_ws_record_put(struct pf_table *table, uint64_t loc, const struct pinfold_change *change, size_t write)
{
	struct pf_ws *ws = &table->ws;
	struct pf_ws_record *item;
	struct pf_record *record;
	uint32_t index;
	int r;

	if (!record_find(ws, loc, &index)) {
		r = pf_ws_record_add(table, loc, change->key, change->key_size, change->value, change->value_size);
		if (r < 0)
			return r;
		item = &ws->records[ws->record_count - 1];
		item->in_place = true;
		item->size = (uint32_t)write;
		return 0;
	}
	item = &ws->records[index];
	record = (struct pf_record *)(ws->buf + item->offset);
	memcpy(record->data + change->key_size, change->value, change->value_size);
	record->crc = pf_record_crc(record, pf_record_size(change->key_size, change->value_size), table->seed);
	if (item->size < write)
		item->size = (uint32_t)write;
	return 0;
}

int pf_ws_record(struct pf_table *table, uint64_t loc, const struct pf_record **ret_record, bool whole)
{
	struct pf_record *record = (struct pf_record *)table->scratch;
	const struct pf_ws *ws = &table->ws;
	uint32_t index;
	size_t size;
	int r;

	if (record_find(ws, loc, &index)) {
		*ret_record = (const struct pf_record *)(ws->buf + ws->records[index].offset);
		return 0;
	}
	r = pf_table_read(table, loc, record, sizeof(*record));
	if (r < 0)
		return r;
	if (!pf_record_sizes_valid(record->sizes))
		return pf_error(-EUCLEAN, "table %s: record at arena offset %llu has sizes %#x", table->name,
				(unsigned long long)loc, record->sizes);
	size = pf_record_key_size(record->sizes) + (whole ? pf_record_value_size(record->sizes) : 0);
	r = pf_table_read(table, loc + sizeof(*record), record->data, size);
	if (r < 0)
		return r;
	if (whole && record->crc != pf_record_crc(record, sizeof(*record) + size, table->seed))
		return pf_error(-EUCLEAN, "table %s: record at arena offset %llu has a wrong checksum", table->name,
				(unsigned long long)loc);
	*ret_record = record;
	return 0;
}

int pf_ws_slab_dirty(struct pf_table *table, struct pf_slab *slab, uint64_t mask)
{
	struct pf_ws *ws = &table->ws;
	int r;

	if (!slab->queued) {
		r = PF_RESERVE(ws->dirty, ws->dirty_count, ws->dirty_capacity);
		if (r < 0)
			return r;
		ws->dirty[ws->dirty_count++] = slab;
		slab->queued = true;
	}
	slab->dirty |= mask;
	return 0;
}

/* ---- flush ---- */

static int write_loc(struct pf_table *table, struct pf_txn *txn, uint64_t loc, const void *data, size_t size)
{
	const struct pf_piece *piece = pf_piece_at(table, loc);

	if (!piece || loc + size > piece->loc + piece->extent.len) /* a record says that it is longer than its place */
		return pf_error(-EUCLEAN, "table %s: %zu bytes at arena offset %llu are not within its extents",
				table->name, size, (unsigned long long)loc);
	return pf_txn_write(txn, &piece->extent, loc - piece->loc, data, size);
}

static int flush_pieces(struct pf_table *table, struct pf_txn *txn)
{
	const struct pf_ws *ws = &table->ws;
	int r = 0;

	for (size_t i = 0; r == 0 && i < ws->piece_count; i++) {
		const struct pf_piece *piece = ws->pieces[i];
		struct pf_heap_header header = { .magic = PF_HEAP_MAGIC, .version = PF_TABLE_VERSION };

		r = pf_txn_publish(txn, &piece->extent);
		if (r < 0 || !piece->heap)
			continue;
		header.incarnation = table->incarnation;
		header.index = piece->heap->index;
		header.unit_count = piece->heap->unit_count;
		header.header_units = pf_heap_header_units(header.unit_count);
		header.prev = piece->heap->prev->piece->extent;
		header.crc = pf_crc32c(&header, sizeof(header));
		r = write_loc(table, txn, piece->loc, &header, sizeof(header));
	}
	return r;
}

/* Words of units, and all of the bitmap: whatever had the units before may have left its own. */
static int flush_slab_new(struct pf_table *table, struct pf_txn *txn, const struct pf_slab *slab)
{
	uint64_t base = slab->heap->piece->loc, loc, words[PF_UNIT_WORDS];
	int r;

	for (unsigned i = 0; i < slab->run; i++) {
		loc = base + pf_unit_word_offset(slab->unit + i);
		words[i] = pf_word_make(pf_unit_bits(slab->class, i, slab->run), table->seed, loc);
	}
	r = write_loc(table, txn, base + pf_unit_word_offset(slab->unit), words, slab->run * sizeof(*words));
	if (r < 0)
		return r;
	loc = base + pf_bitmap_offset(slab->heap->unit_count, slab->unit);
	for (uint32_t i = 0; i < pf_slab_words(slab); i++)
		words[i] = pf_word_make(slab->used[i], table->seed, loc + i * 8);
	return write_loc(table, txn, loc, words, pf_slab_words(slab) * sizeof(*words));
}

static int flush_slab(struct pf_table *table, struct pf_txn *txn, const struct pf_slab *slab)
{
	uint64_t loc, word;
	int r = 0;

	if (slab->dirty & PF_SLAB_DIRTY_UNIT)
		return flush_slab_new(table, txn, slab);
	for (uint64_t mask = slab->dirty; r == 0 && mask; mask &= mask - 1) {
		unsigned i = (unsigned)__builtin_ctzll(mask);

		loc = slab->heap->piece->loc + pf_bitmap_offset(slab->heap->unit_count, slab->unit) + i * 8;
		word = pf_word_make(slab->used[i], table->seed, loc);
		r = write_loc(table, txn, loc, &word, sizeof(word));
	}
	return r;
}

/* Whether this set, after writing over the record at @loc, has given its slot away: whoever still reads it sees the
 * old. */
static bool is_freed(struct pf_table *table, uint64_t loc)
{
	struct pf_slab *slab;
	uint32_t slot;

	if (table->ws.free_count == 0)
		return false;
	slab = pf_slab_of(table, loc, &slot);
	return slab && !(slab->used[slot / PF_WORD_BITS] >> slot % PF_WORD_BITS & 1);
}

static int flush_header(struct pf_table *table, struct pf_txn *txn)
{
	struct pf_table_header *header = &table->header;
	const struct pinfold_extent *root = &table->tables->root;
	uint64_t offset = (uint64_t)table->slot * PF_SLOT_SIZE;
	int r = 0;

	if (table->ws.header_dirty) {
		header->crc = pf_table_header_crc(header);
		r = pf_txn_write(txn, root, offset, header, PF_COUNTS_OFFSET);
	}
	if (r == 0 && memcmp(&header->counts, &table->ws.counts, sizeof(header->counts)) != 0) {
		header->counts.crc = pf_table_counts_crc(&header->counts);
		r = pf_txn_write(txn, root, offset + PF_COUNTS_OFFSET, &header->counts, sizeof(header->counts));
	}
	return r;
}

int pf_ws_flush(struct pf_table *table, struct pf_txn *txn)
{
	struct pf_ws *ws = &table->ws;
	int r;

	r = flush_pieces(table, txn);
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < ws->record_count; i++) {
		const struct pf_ws_record *item = &ws->records[i];

		if (!item->in_place || !is_freed(table, item->loc))
			r = write_loc(table, txn, item->loc, ws->buf + item->offset, item->size);
	}
	for (size_t i = 0; r == 0 && i < ws->dirty_count; i++)
		r = flush_slab(table, txn, ws->dirty[i]);
	if (r == 0)
		r = flush_header(table, txn);
	for (size_t i = ws->line_count; r == 0 && i-- > 0;) {
		struct pf_ws_line *item = &ws->lines[i];

		if (!item->dirty)
			continue;
		item->line.crc = pf_line_crc(&item->line, table->seed, item->bucket);
		r = write_loc(table, txn, item->loc, &item->line, sizeof(item->line));
	}
	if (r == 0 && ws->built)
		r = write_loc(table, txn, pf_bucket_loc(table, 0), ws->built, ws->built_count * PF_LINE_SIZE);
	return r;
}

/* ---- afterwards ---- */

void pf_ws_commit(struct pf_table *table)
{
	struct pf_ws *ws = &table->ws;

	pf_bucket_count_publish(table, false);
	if (ws->piece_count > 0 && table->header.import.mode != PF_IMPORT_BULK && !ws->built)
		pf_spare_want(table);
	for (size_t i = 0; i < ws->free_count; i++)
		if (table->header.import.mode == PF_IMPORT_BULK)
			pf_slot_unbusy(table, ws->frees[i]); /* no line leads to any record: it has no readers */
		else
			(void)pf_retire_add(table, ws->frees[i]); /* no memory: unused until the next open */
	ws_clear(ws);
	if (ws->buf_capacity > 1u << 20) {
		free(ws->buf);
		ws->buf = NULL;
		ws->buf_capacity = 0;
	}
}

static void free_undo(struct pf_table *table, uint64_t loc)
{
	uint32_t slot;
	struct pf_slab *slab = pf_slab_of(table, loc, &slot);

	slab->used[slot / PF_WORD_BITS] |= 1ull << slot % PF_WORD_BITS;
}

static void alloc_undo(struct pf_table *table, uint64_t loc)
{
	uint32_t slot;
	struct pf_slab *slab = pf_slab_of(table, loc, &slot);

	slab->used[slot / PF_WORD_BITS] &= ~(1ull << slot % PF_WORD_BITS);
	pf_slot_unbusy(table, loc);
}

static void piece_undo(struct pf_table *table, struct pf_piece *piece)
{
	struct pinfold_extent extent = piece->extent;
	struct pf_heap *heap = piece->heap;

	if (heap) {
		pf_assert(table->heaps == heap);
		table->heaps = heap->prev;
		table->heap_bytes -= extent.len;
		table->unloaded_heaps -= !heap->loaded;
		pf_heap_free(heap);
	} else {
		atomic_fetch_sub_explicit(&table->segment_count, 1, memory_order_relaxed);
	}
	pf_piece_remove(table, piece);
	pf_extent_back_out(table->store, &extent); /* never published: nobody else knows it */
}

void pf_ws_rollback(struct pf_table *table)
{
	struct pf_ws *ws = &table->ws;

	for (size_t i = 0; i < ws->free_count; i++)
		free_undo(table, ws->frees[i]);
	for (size_t i = 0; i < ws->alloc_count; i++)
		alloc_undo(table, ws->allocs[i]);
	for (size_t i = 0; i < ws->dirty_count; i++) {
		ws->dirty[i]->dirty = 0;
		ws->dirty[i]->queued = false;
	}
	ws->dirty_count = 0;
	for (size_t i = ws->assigned_count; i-- > 0;)
		pf_slab_free(table, ws->assigned[i]);
	for (size_t i = ws->piece_count; i-- > 0;)
		piece_undo(table, ws->pieces[i]);
	table->header.counts = ws->counts;
	table->header.heap_count = ws->heap_count;
	table->header.heap_last = ws->heap_last;
	table->header.import = ws->import;
	for (uint32_t i = ws->segment_count; i < table->header.segment_count; i++)
		table->header.segment[i] = (struct pinfold_extent){ 0 };
	table->header.segment_count = ws->segment_count;
	ws_clear(ws);
}
