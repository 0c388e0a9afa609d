/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * build_index.c - the end of a build: entries sorted by bucket, lines written in order, all of it published.
 *
 * The entries are strewn over partitions of consecutive buckets, each of which fits the caches; within one they are
 * counted into their buckets. Both passes keep the order in which they came. Lines leave one after another, into
 * chunks of their segment; an overflow line takes a slot like a record.
 */
#include "store/table/build.h"
#include "store/table/lookup.h"

#include <stdlib.h>

#define PARTITIONS 1024u
/* Slots of replaced records that one transaction gives back. */
#define FREES_PER_TXN 4096u
/* Bytes of a key in a message. */
#define KEY_SHOWN 80u

struct finish {
	struct pf_build *build;
	struct pf_table *table;
	uint64_t bucket_count, entry_count;
	unsigned shift;
	uint64_t start[PARTITIONS + 1];
	struct pf_build_entry *sorted;
	bool written; /* all records can be read */
	struct pf_record *pair[2]; /* of one hash, being compared */
	uint64_t *frees; /* slots of records that later ones replace */
	size_t free_count, free_capacity;
	struct pf_table_counts counts;

	/* where lines go */
	struct pf_line *first;  /* segment 0 */
	struct pinfold_extent segment[PF_SEGMENT_MAX];
	uint32_t segment_count; /* made so far, with 0 */
	uint8_t *buf;           /* of the segment at hand */
	uint64_t buf_line, buf_fill; /* its first line in the segment; lines in it */
	uint32_t buf_segment;
};

/* Which partition @bucket is in: 2^shift consecutive buckets each. */
static inline uint32_t partition_of(const struct finish *finish, uint64_t bucket)
{
	return (uint32_t)(bucket >> finish->shift);
}

/* ---- lines out ---- */

static int buf_write(struct finish *finish)
{
	uint8_t *buf = finish->buf;

	finish->buf = NULL;
	/* whole blocks; behind the last line is nothing */
	for (; finish->buf_fill % (4096 / PF_LINE_SIZE); finish->buf_fill++)
		memset(buf + finish->buf_fill * PF_LINE_SIZE, 0, PF_LINE_SIZE);
	return pf_build_write(finish->build, &finish->segment[finish->buf_segment], finish->buf_line * PF_LINE_SIZE,
			      buf, finish->buf_fill * PF_LINE_SIZE);
}

static int buf_new(struct finish *finish, uint32_t segment, uint64_t line)
{
	struct pf_table *table = finish->table;
	int r;

	if (segment == finish->segment_count) {
		r = pf_extent_alloc(table->store, pf_segment_size(segment), 0, &finish->segment[segment]);
		if (r < 0)
			return r;
		finish->segment_count++;
	}
	finish->buf_segment = segment;
	finish->buf_line = line;
	finish->buf_fill = 0;
	return pf_build_buffer(finish->build, &finish->buf);
}

/* Where the line of @bucket, which follows the last one's, is to be written. */
static int line_place(struct finish *finish, uint64_t bucket, struct pf_line **ret_line)
{
	uint64_t line;
	uint32_t segment = pf_segment_of(bucket, &line);
	int r = 0;

	if (segment == 0) {
		*ret_line = &finish->first[line];
		return 0;
	}
	if (finish->buf && (segment != finish->buf_segment || finish->buf_fill == PF_CHUNK_BYTES / PF_LINE_SIZE))
		r = buf_write(finish);
	if (r == 0 && !finish->buf)
		r = buf_new(finish, segment, line);
	if (r == 0)
		*ret_line = (struct pf_line *)finish->buf + finish->buf_fill++;
	return r;
}

static void line_fill(const struct finish *finish, struct pf_line *line, uint64_t bucket, uint8_t flags,
		      const struct pf_build_entry *entries, unsigned count, uint64_t link)
{
	memset(line, 0, sizeof(*line));
	line->depth = (uint8_t)pf_bucket_depth(bucket, finish->bucket_count);
	line->flags = flags;
	for (unsigned i = 0; i < count; i++)
		line->entry[i] = pf_entry_make(entries[i].hash, entries[i].loc);
	if (link) {
		line->entry[PF_LINE_ENTRIES - 1] = link >> 3;
		line->flags |= PF_LINE_LINKED;
	}
	line->crc = pf_line_crc(line, finish->table->seed, bucket);
}

/* Overflow lines for @entries; *ret_link leads to the first. They are made from the last on. */
static int overflow(struct finish *finish, uint64_t bucket, const struct pf_build_entry *entries, unsigned count,
		    uint64_t *ret_link)
{
	/* the last line takes 7, those before it 6 each */
	unsigned lines = count <= PF_LINE_ENTRIES ? 1 : 1 + (count - PF_LINE_ENTRIES + PF_LINE_ENTRIES - 2) /
								     (PF_LINE_ENTRIES - 1);
	uint64_t link = 0, loc;
	uint8_t *slot;
	int r;

	if (lines >= PF_CHAIN_MAX)
		return pf_error(-ENOSPC, "table %s: bucket %llu: %u records have hashes that equal in their low bits",
				finish->table->name, (unsigned long long)bucket, count);
	while (lines-- > 0) {
		unsigned from = lines * (PF_LINE_ENTRIES - 1), some = count - from;

		r = pf_build_slot(finish->build, PF_CLASS_LINE, &slot, &loc);
		if (r < 0)
			return r;
		line_fill(finish, (struct pf_line *)slot, bucket, PF_LINE_OVERFLOW, entries + from, some, link);
		link = loc;
		count = from;
		finish->counts.overflow_count++;
	}
	*ret_link = link;
	return 0;
}

static int bucket_emit(struct finish *finish, uint64_t bucket, const struct pf_build_entry *entries, unsigned count)
{
	struct pf_line *line;
	uint64_t link = 0;
	unsigned first = count;
	int r = 0;

	if (count > PF_LINE_ENTRIES) {
		first = PF_LINE_ENTRIES - 1;
		r = overflow(finish, bucket, entries + first, count - first, &link);
	}
	if (r == 0)
		r = line_place(finish, bucket, &line);
	if (r == 0)
		line_fill(finish, line, bucket, 0, entries, first, link);
	return r;
}

/* ---- records of one key ---- */

static int record_at(struct pf_build *build, uint64_t loc, struct pf_record *ret_record)
{
	struct pinfold_extent extent;
	enum pf_granule_state state;
	uint64_t file_size = pf_store_file_size(build->table->store), at;
	size_t size;
	int r;

	/* the extent may be one that the table does not know yet */
	r = pf_store_extent_at(build->table->store, (uint32_t)(loc / file_size), loc % file_size, &extent, &state);
	if (r < 0)
		return r;
	at = loc % file_size - extent.offset;
	r = pf_read_at(build->table->store, &extent, at, ret_record, sizeof(*ret_record));
	if (r < 0)
		return r;
	if (!pf_record_sizes_valid(ret_record->sizes))
		return pf_error(-EUCLEAN, "table %s: record at arena offset %llu has sizes %#x", build->table->name,
				(unsigned long long)loc, ret_record->sizes);
	size = pf_record_key_size(ret_record->sizes) + pf_record_value_size(ret_record->sizes);
	return pf_read_at(build->table->store, &extent, at + sizeof(*ret_record), ret_record->data, size);
}

/* Whether the record at @loc was there when the import was resumed. */
static bool resumed(const struct pf_build *build, uint64_t loc)
{
	const struct pf_piece *piece = pf_piece_at(build->table, loc);

	return piece && piece->heap && piece->heap->index < build->resumed_heaps;
}

static size_t record_size(const struct pf_record *record)
{
	return pf_record_size(pf_record_key_size(record->sizes), pf_record_value_size(record->sizes));
}

/* All records are written, and there is room for two. */
static int compare_prepare(struct finish *finish)
{
	int r;

	if (finish->written)
		return 0;
	r = pf_build_writer_wait(finish->build); /* equal hashes are rare enough to be waited for once */
	for (unsigned i = 0; r == 0 && i < 2; i++) {
		finish->pair[i] = malloc(PF_RECORD_MAX);
		if (!finish->pair[i])
			r = pf_error(-ENOMEM, "table %s: no memory", finish->table->name);
	}
	finish->written = r == 0;
	return r;
}

/* Names the key where it is text. */
static int order_lost(const struct finish *finish, const struct pf_record *record)
{
	size_t size = pf_record_key_size(record->sizes), shown = 0;

	while (shown < size && shown < KEY_SHOWN && record->data[shown] >= ' ' && record->data[shown] <= '~')
		shown++;
	return pf_error(-ESTALE,
			"table %s: key '%.*s'%s: two records of different sizes came before the import was "
			"interrupted, and which came later is not known any more",
			finish->table->name, (int)shown, (const char *)record->data, shown < size ? "..." : "");
}

/* Whether the records of two entries with equal hashes have one key, that is, @b replaces @a: 1, 0 or an error. */
static int replaces(struct finish *finish, const struct pf_build_entry *b, const struct pf_build_entry *a)
{
	struct pf_record *old, *fresh;
	int r = compare_prepare(finish);

	old = finish->pair[0];
	fresh = finish->pair[1];
	if (r == 0)
		r = record_at(finish->build, a->loc, old);
	if (r == 0)
		r = record_at(finish->build, b->loc, fresh);
	if (r)
		return r;
	if (pf_record_key_size(old->sizes) != pf_record_key_size(fresh->sizes) ||
	    memcmp(old->data, fresh->data, pf_record_key_size(old->sizes)) != 0)
		return 0;
	if (resumed(finish->build, b->loc) && pf_class_of(record_size(old)) != pf_class_of(record_size(fresh)))
		return order_lost(finish, fresh);
	finish->counts.key_bytes -= pf_record_key_size(old->sizes);
	finish->counts.value_bytes -= pf_record_value_size(old->sizes);
	return 1;
}

/* Drops those of @entries that later ones replace. Each is compared with those kept only: a key may come a million
 * times. */
static int duplicates_drop(struct finish *finish, struct pf_build_entry *entries, unsigned *count)
{
	unsigned first = *count; /* of the kept ones, which gather at the end */

	for (unsigned i = *count; i-- > 0;) {
		int r = 0;

		for (unsigned k = first; r == 0 && k < *count; k++)
			r = entries[k].hash == entries[i].hash ? replaces(finish, &entries[k], &entries[i]) : 0;
		if (r < 0)
			return r;
		if (r == 0) {
			entries[--first] = entries[i];
			continue;
		}
		if (PF_RESERVE(finish->frees, finish->free_count, finish->free_capacity) < 0)
			return -ENOMEM;
		finish->frees[finish->free_count++] = entries[i].loc;
		finish->counts.record_count--;
	}
	*count -= first;
	memmove(entries, entries + first, *count * sizeof(*entries));
	return 0;
}

/* ---- sorting ---- */

/* Strews the entries over the partitions; their blocks are freed on the way. */
static int partition(struct finish *finish)
{
	struct pf_build *build = finish->build;
	uint64_t *next;

	finish->sorted = malloc((finish->entry_count + 1) * sizeof(*finish->sorted));
	next = calloc(PARTITIONS + 1, sizeof(*next));
	if (!finish->sorted || !next) {
		free(next);
		return pf_error(-ENOMEM, "table %s: no memory to sort %llu entries", finish->table->name,
				(unsigned long long)finish->entry_count);
	}
	for (const struct pf_build_block *block = build->blocks; block; block = block->next)
		for (uint32_t i = 0; i < block->count; i++)
			next[1 + partition_of(finish, pf_bucket_place(block->entries[i].hash, finish->bucket_count))]++;
	for (uint32_t i = 0; i < PARTITIONS; i++)
		next[i + 1] += next[i];
	memcpy(finish->start, next, sizeof(finish->start));
	while (build->blocks) {
		struct pf_build_block *block = build->blocks;

		for (uint32_t i = 0; i < block->count; i++) {
			uint64_t bucket = pf_bucket_place(block->entries[i].hash, finish->bucket_count);

			finish->sorted[next[partition_of(finish, bucket)]++] = block->entries[i];
		}
		build->blocks = block->next;
		free(block);
	}
	build->block = NULL;
	free(next);
	return 0;
}

struct sorter {
	uint32_t *first; /* of each bucket, then of the one behind */
	struct pf_build_entry *entries;
	size_t bucket_capacity, entry_capacity;
};

static bool sorter_reserve(struct sorter *sorter, size_t buckets, size_t entries)
{
	if (buckets + 2 > sorter->bucket_capacity) {
		free(sorter->first);
		sorter->bucket_capacity = buckets + 2;
		sorter->first = malloc(sorter->bucket_capacity * sizeof(*sorter->first));
	}
	if (entries + 1 > sorter->entry_capacity) {
		free(sorter->entries);
		sorter->entry_capacity = entries + entries / 8 + 1;
		sorter->entries = malloc(sorter->entry_capacity * sizeof(*sorter->entries));
	}
	return sorter->first && sorter->entries;
}

/* Emits partition @index: buckets [begin, end). */
static int partition_emit(struct finish *finish, struct sorter *sorter, uint32_t index, uint64_t begin, uint64_t end)
{
	const struct pf_build_entry *from = finish->sorted + finish->start[index];
	uint64_t count = finish->start[index + 1] - finish->start[index];
	int r = 0;

	if (!sorter_reserve(sorter, end - begin, count))
		return pf_error(-ENOMEM, "table %s: no memory to sort", finish->table->name);
	memset(sorter->first, 0, (end - begin + 2) * sizeof(*sorter->first));
	for (uint64_t i = 0; i < count; i++)
		sorter->first[pf_bucket_place(from[i].hash, finish->bucket_count) - begin + 2]++;
	for (uint64_t i = 2; i < end - begin + 2; i++)
		sorter->first[i] += sorter->first[i - 1];
	for (uint64_t i = 0; i < count; i++)
		sorter->entries[sorter->first[pf_bucket_place(from[i].hash, finish->bucket_count) - begin + 1]++] =
			from[i];
	for (uint64_t bucket = begin; r == 0 && bucket < end; bucket++) {
		struct pf_build_entry *entries = sorter->entries + sorter->first[bucket - begin];
		unsigned some = sorter->first[bucket - begin + 1] - sorter->first[bucket - begin];

		if (some > 1)
			r = duplicates_drop(finish, entries, &some);
		if (r == 0)
			r = bucket_emit(finish, bucket, entries, some);
	}
	return r;
}

static int index_emit(struct finish *finish)
{
	struct sorter sorter = { 0 };
	uint64_t begin = 0;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < PARTITIONS; i++) {
		uint64_t end = (uint64_t)(i + 1) << finish->shift;

		if (end > finish->bucket_count)
			end = finish->bucket_count;
		if (begin < end)
			r = partition_emit(finish, &sorter, i, begin, end);
		begin = end;
	}
	if (r == 0 && finish->buf)
		r = buf_write(finish);
	free(sorter.first);
	free(sorter.entries);
	return r;
}

/* ---- publishing ---- */

/* Replaced records in published extents: their slots are free again, before anything leads to their successors. */
static int frees_publish(struct finish *finish)
{
	struct pf_table *table = finish->table;
	pinfold_ticket ticket;
	struct pf_tw tw;
	int r = 0;

	for (size_t i = 0; r == 0 && i < finish->free_count;) {
		r = pf_tw_begin(table->tables, &table, 1, &tw);
		if (r < 0)
			return r;
		for (unsigned k = 0; r == 0 && k < FREES_PER_TXN && i < finish->free_count; k++, i++)
			r = pf_slot_free(table, finish->frees[i]);
		if (r < 0)
			pf_tw_abort(&tw);
		else
			r = pf_tw_commit(&tw, &ticket);
	}
	return r;
}

int pf_build_records_publish(struct pf_build *build)
{
	int r = pf_build_chunks_close(build);

	if (r == 0 && build->group)
		r = pf_build_group_publish(build);
	build->lines_only = true;
	return r;
}

static int segments_attach(struct finish *finish)
{
	struct pf_table *table = finish->table;
	struct pf_ws *ws = &table->ws;
	struct pf_piece *piece;
	int r = 0;

	for (uint32_t i = 1; r == 0 && i < finish->segment_count; i++) {
		r = PF_RESERVE(ws->pieces, ws->piece_count, ws->piece_capacity);
		if (r == 0)
			r = pf_piece_add(table, &finish->segment[i], &piece);
		if (r < 0)
			return r;
		ws->pieces[ws->piece_count++] = piece;
		table->header.segment[i] = finish->segment[i];
		table->header.segment_count++;
		atomic_store_explicit(&table->segment_loc[i], piece->loc, memory_order_relaxed);
		atomic_store_explicit(&table->segment_count, i + 1, memory_order_release);
	}
	return r;
}

/* Overflow lines and segments: durable. */
static int index_flush(struct finish *finish)
{
	struct pf_store *store = finish->table->store;
	const struct pf_build_extent *line;
	struct pinfold_extent *all;
	size_t count = 0;
	int r = pf_build_chunks_close(finish->build);

	if (r == 0)
		r = pf_build_writer_wait(finish->build);
	if (r == 0)
		r = pf_build_headers_write(store, finish->build->group);
	if (r < 0)
		return r;
	for (line = finish->build->group; line; line = line->next)
		count++;
	all = calloc(count + PF_SEGMENT_MAX, sizeof(*all));
	if (!all)
		return pf_error(-ENOMEM, "table %s: no memory", finish->table->name);
	count = 0;
	for (line = finish->build->group; line; line = line->next)
		all[count++] = line->extent;
	for (uint32_t i = 1; i < finish->segment_count; i++)
		all[count++] = finish->segment[i];
	r = pf_bulk_flush(store, all, count);
	free(all);
	return r;
}

static int table_publish(struct finish *finish)
{
	struct pf_table *table = finish->table;
	struct pf_build_extent *lines = finish->build->group;
	pinfold_ticket ticket = 0;
	struct pf_tw tw;
	int r;

	r = pf_tw_begin(table->tables, &table, 1, &tw);
	if (r < 0)
		return r;
	/* from here on commit or rollback have the extents */
	finish->build->group = NULL;
	r = pf_build_attach(table, lines);
	if (r == 0)
		r = segments_attach(finish);
	finish->segment_count = 0;
	if (r == 0) {
		table->header.import = (struct pf_import_disk){ 0 };
		table->header.counts = finish->counts;
		table->ws.header_dirty = true;
		table->ws.built = finish->first;
		table->ws.built_count = finish->bucket_count < 1ull << PF_SEG0_SHIFT ? finish->bucket_count :
										       1ull << PF_SEG0_SHIFT;
		r = pf_tw_commit(&tw, &ticket);
	} else {
		pf_tw_abort(&tw);
	}
	pf_build_extents_free(table, lines, true);
	return r < 0 ? r : pf_ticket_wait(table->store, ticket, -1);
}

static int finish_all(struct finish *finish)
{
	int r = pf_build_records_publish(finish->build); /* while the index is made */

	if (r == 0)
		r = partition(finish);
	if (r == 0)
		r = index_emit(finish);
	if (r == 0)
		r = index_flush(finish);
	if (r == 0)
		r = frees_publish(finish);
	return r < 0 ? r : table_publish(finish);
}

int pf_build_finish(struct pf_build *build)
{
	struct finish finish = { .build = build, .table = build->table, .segment_count = 1 };
	int r;

	finish.entry_count = build->entry_count;
	finish.bucket_count = pf_buckets_for(build->entry_count);
	while ((finish.bucket_count - 1) >> finish.shift >= PARTITIONS)
		finish.shift++;
	finish.counts = build->counts;
	finish.counts.record_count = build->entry_count;
	finish.counts.bucket_count = finish.bucket_count;
	finish.first = calloc(1u << PF_SEG0_SHIFT, sizeof(*finish.first));
	r = finish.first ? finish_all(&finish) : pf_error(-ENOMEM, "table %s: no memory", build->table->name);
	if (r < 0) /* nobody writes any more to what is freed now */
		pf_build_writer_fail(build, r);
	for (uint32_t i = 1; i < finish.segment_count; i++)
		pf_extent_back_out(build->table->store, &finish.segment[i]);
	for (unsigned i = 0; i < 2; i++)
		free(finish.pair[i]);
	free(finish.buf);
	free(finish.first);
	free(finish.sorted);
	free(finish.frees);
	return r;
}
