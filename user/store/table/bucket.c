/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bucket.c - put, delete and find on the lines of a write set.
 */
#include "store/table/lookup.h"

/*
 * Buckets are split while there are more records than this, over 4, per bucket: between space (64 bytes of line for
 * 3.25 records) and how many keys lie in overflow lines (3 %; half as many again at 3.75)...
 */
#define FILL_NUMERATOR 13
/* ...but no change pays for more than this many splits. */
#define SPLITS_PER_PUT 2

/* Where a key is in its chain; chain[] are indices of lines in the write set. */
struct place {
	uint64_t bucket, hash;
	uint32_t chain[PF_CHAIN_MAX];
	unsigned length, line, entry;
	const struct pf_record *record;
};

uint64_t pf_buckets_for(uint64_t record_count)
{
	uint64_t count = (record_count * 4 + FILL_NUMERATOR - 1) / FILL_NUMERATOR;

	if (count < PF_BUCKETS_MIN)
		return PF_BUCKETS_MIN;
	return count < PF_BUCKETS_MAX ? count : PF_BUCKETS_MAX;
}

/*
 * Readers all read the count: were it written with every split, they would fetch its line again with every get.
 * One that is behind by a thousandth sends a thousandth of the gets the long way.
 */
void pf_bucket_count_publish(struct pf_table *table, bool now)
{
	uint64_t count = table->header.counts.bucket_count,
		 known = atomic_load_explicit(&table->bucket_count, memory_order_relaxed);

	if (count - known > count >> 10 || (now && count != known)) {
		atomic_store_explicit(&table->bucket_mask, ~0ull >> __builtin_clzll(count), memory_order_release);
		atomic_store_explicit(&table->bucket_half, ~0ull >> __builtin_clzll(count) >> 1, memory_order_release);
		atomic_store_explicit(&table->bucket_count, count, memory_order_release);
	}
}

unsigned pf_bucket_depth(uint64_t bucket, uint64_t bucket_count)
{
	unsigned level = 63 - (unsigned)__builtin_clzll(bucket_count);
	uint64_t top = 1ull << level;

	return bucket < bucket_count - top || bucket >= top ? level + 1 : level;
}

uint64_t pf_bucket_loc(const struct pf_table *table, uint64_t bucket)
{
	uint64_t loc = 0;
	bool known = pf_line_place(table, bucket, &loc);

	pf_assert(known);
	return loc;
}

static struct pf_line *line_at(struct pf_table *table, uint32_t index)
{
	return &table->ws.lines[index].line;
}

static struct pf_line *line_dirty(struct pf_table *table, uint32_t index)
{
	table->ws.lines[index].dirty = true;
	return &table->ws.lines[index].line;
}

int pf_chain_load(struct pf_table *table, uint64_t bucket, uint32_t *chain, unsigned *ret_length)
{
	uint64_t loc = pf_bucket_loc(table, bucket);
	unsigned length = 0, depth = pf_bucket_depth(bucket, table->header.counts.bucket_count);
	struct pf_line *line;
	int r;

	do {
		if (length == PF_CHAIN_MAX)
			return pf_error(-EUCLEAN, "table %s: bucket %llu: chain of more than %u lines", table->name,
					(unsigned long long)bucket, PF_CHAIN_MAX);
		r = pf_ws_line(table, loc, bucket, false, &chain[length]);
		if (r < 0)
			return r;
		line = line_at(table, chain[length]);
		if (line->depth == 0 && length == 0 && bucket < PF_BUCKETS_MIN)
			line->depth = PF_DEPTH_MIN; /* never written so far */
		if (line->depth != depth && length == 0)
			return pf_error(-EUCLEAN, "table %s: bucket %llu: depth %u, must be %u", table->name,
					(unsigned long long)bucket, line->depth, depth);
		if ((bool)(line->flags & PF_LINE_OVERFLOW) == (length == 0) || loc % PF_LINE_SIZE)
			return pf_error(-EUCLEAN, "table %s: bucket %llu: the line at arena offset %llu is not its %s",
					table->name, (unsigned long long)bucket, (unsigned long long)loc,
					length == 0 ? "first" : "next");
		length++;
		loc = pf_entry_loc(line->entry[PF_LINE_ENTRIES - 1]);
	} while (line->flags & PF_LINE_LINKED);
	*ret_length = length;
	return 0;
}

static unsigned line_entries(const struct pf_line *line)
{
	return line->flags & PF_LINE_LINKED ? PF_LINE_ENTRIES - 1 : PF_LINE_ENTRIES;
}

/* 0 with the place of @key, -ENOENT with its chain loaded all the same. */
static int place_find(struct pf_table *table, const void *key, size_t key_size, struct place *place, bool whole)
{
	uint64_t tag;
	int r;

	place->hash = pf_hash(key, key_size, table->seed);
	place->bucket = pf_bucket_place(place->hash, table->header.counts.bucket_count);
	tag = pf_hash_tag(place->hash);
	r = pf_chain_load(table, place->bucket, place->chain, &place->length);
	if (r < 0)
		return r;
	for (place->line = 0; place->line < place->length; place->line++) {
		const struct pf_line *line = line_at(table, place->chain[place->line]);
		unsigned count = line_entries(line);

		for (place->entry = 0; place->entry < count; place->entry++) {
			uint64_t entry = line->entry[place->entry];

			if (entry == 0 || entry >> PF_TAG_SHIFT != tag)
				continue;
			r = pf_ws_record(table, pf_entry_loc(entry), &place->record, whole);
			if (r < 0)
				return r;
			if (pf_record_key_size(place->record->sizes) == key_size &&
			    memcmp(place->record->data, key, key_size) == 0)
				return 0;
		}
	}
	return -ENOENT;
}

/* Entries move between the lines of the chain that begins with line @first, or one comes to it: invariant 2. */
static void chain_changed(struct pf_table *table, uint32_t first)
{
	struct pf_ws_line *item = &table->ws.lines[first];

	item->dirty = true;
	if (!item->moved) /* once a set: a large one could come round to the version that readers know */
		item->line.version++;
	item->moved = true;
}

/* A new line behind the last one; the last entry of that makes room for the link. */
static int chain_extend(struct pf_table *table, struct place *place)
{
	struct pf_line *last, *fresh;
	uint64_t loc;
	uint32_t index;
	int r;

	if (place->length == PF_CHAIN_MAX)
		return pf_error(-ENOSPC, "table %s: bucket %llu is full and the table cannot grow", table->name,
				(unsigned long long)place->bucket);
	r = pf_slot_alloc(table, PF_CLASS_LINE, &loc);
	if (r == 0)
		r = pf_ws_line(table, loc, place->bucket, true, &index);
	if (r)
		return r;
	fresh = line_dirty(table, index);
	last = line_dirty(table, place->chain[place->length - 1]);
	fresh->depth = line_at(table, place->chain[0])->depth;
	fresh->flags = PF_LINE_OVERFLOW;
	fresh->entry[0] = last->entry[PF_LINE_ENTRIES - 1];
	last->entry[PF_LINE_ENTRIES - 1] = loc >> 3;
	last->flags |= PF_LINE_LINKED;
	chain_changed(table, place->chain[0]);
	place->chain[place->length++] = index;
	table->header.counts.overflow_count++;
	return 0;
}

static int chain_insert(struct pf_table *table, struct place *place, uint64_t entry)
{
	for (;;) {
		for (unsigned i = 0; i < place->length; i++) {
			struct pf_line *line = line_at(table, place->chain[i]);
			unsigned count = line_entries(line);

			for (unsigned j = 0; j < count; j++) {
				if (line->entry[j] == 0) {
					line_dirty(table, place->chain[i])->entry[j] = entry;
					if (place->length > 1) /* it may have left another line just now */
						chain_changed(table, place->chain[0]);
					return 0;
				}
			}
		}
		int r = chain_extend(table, place);

		if (r < 0)
			return r;
	}
}

/* Unlinks empty lines at the end of the chain. */
static int chain_trim(struct pf_table *table, struct place *place)
{
	while (place->length > 1) {
		struct pf_ws_line *item = &table->ws.lines[place->chain[place->length - 1]];
		struct pf_line *before;
		int r;

		for (unsigned i = 0; i < PF_LINE_ENTRIES; i++)
			if (item->line.entry[i])
				return 0;
		r = pf_slot_free(table, item->loc);
		if (r < 0)
			return r;
		item->dirty = false;
		before = line_dirty(table, place->chain[place->length - 2]);
		before->entry[PF_LINE_ENTRIES - 1] = 0;
		before->flags &= (uint8_t)~PF_LINE_LINKED;
		chain_changed(table, place->chain[0]);
		place->length--;
		table->header.counts.overflow_count--;
	}
	return 0;
}

static int grow(struct pf_table *table)
{
	struct pf_table_counts *counts = &table->header.counts;
	int r = 0;

	for (int i = 0; i < SPLITS_PER_PUT && r == 0; i++) {
		if (counts->record_count * 4 <= counts->bucket_count * FILL_NUMERATOR)
			break;
		r = pf_bucket_split(table);
	}
	return r;
}

int pf_bucket_put(struct pf_table *table, const void *key, size_t key_size, const void *value, size_t value_size)
{
	struct pf_table_counts *counts = &table->header.counts;
	struct place place;
	uint64_t loc, old;
	int r, found;

	found = place_find(table, key, key_size, &place, false);
	if (found < 0 && found != -ENOENT)
		return found;
	if (found == 0 && place.record->sizes == pf_record_sizes(key_size, value_size) &&
	    pf_record_size(key_size, value_size) <= PF_INPLACE_MAX) {
		const struct pinfold_change change = {
			.key = key, .key_size = key_size, .value = value, .value_size = value_size};

		return pf_ws_record_put(table,
					pf_entry_loc(line_at(table, place.chain[place.line])->entry[place.entry]),
					&change, pf_record_size(key_size, value_size));
	}
	r = pf_slot_alloc(table, pf_class_of(pf_record_size(key_size, value_size)), &loc);
	if (r < 0)
		return r;
	if (found == 0) {
		old = line_at(table, place.chain[place.line])->entry[place.entry];
		counts->value_bytes -= pf_record_value_size(place.record->sizes);
		r = pf_slot_free(table, pf_entry_loc(old));
		if (r == 0)
			line_dirty(table, place.chain[place.line])->entry[place.entry] = pf_entry_make(place.hash, loc);
	} else {
		r = chain_insert(table, &place, pf_entry_make(place.hash, loc));
		counts->record_count++;
		counts->key_bytes += key_size;
	}
	counts->value_bytes += value_size;
	if (r == 0)
		r = pf_ws_record_add(table, loc, key, key_size, value, value_size);
	return r < 0 || found == 0 ? r : grow(table);
}

int pf_bucket_delete(struct pf_table *table, const void *key, size_t key_size)
{
	struct pf_table_counts *counts = &table->header.counts;
	struct place place;
	struct pf_line *line;
	int r;

	r = place_find(table, key, key_size, &place, false);
	if (r < 0)
		return r;
	line = line_dirty(table, place.chain[place.line]);
	counts->record_count--;
	counts->key_bytes -= key_size;
	counts->value_bytes -= pf_record_value_size(place.record->sizes);
	r = pf_slot_free(table, pf_entry_loc(line->entry[place.entry]));
	if (r < 0)
		return r;
	line->entry[place.entry] = 0;
	return chain_trim(table, &place);
}

int pf_bucket_find(struct pf_table *table, const void *key, size_t key_size, const struct pf_record **ret_record)
{
	struct place place;
	int r;

	r = place_find(table, key, key_size, &place, true);
	if (r == 0)
		*ret_record = place.record;
	return r;
}
