/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * verify.c - is everything that the tables' structures say true?
 *
 * Per table, with its writers waiting: every bucket line (checksum, depth, links),
 * every entry (right bucket, tag), every record (checksum), then which slots were
 * reached against the bitmaps, and what was counted against the header.
 */
#include "store/table/lookup.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void pf_verify_problem(struct pf_verify *verify, const struct pinfold_extent *extent, uint64_t offset,
		       const char *format, ...)
{
	struct pinfold_problem problem = { .path = "", .offset = -1 };
	char what[PF_ERROR_MAX], path[32];
	va_list args;

	verify->problem_count++;
	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	problem.what = what;
	if (extent) {
		snprintf(path, sizeof(path), "data.%06u", extent->file_id);
		problem.path = path;
		problem.offset = (int64_t)(extent->offset + offset);
	}
	if (verify->problem)
		verify->problem(verify->ctx, &problem);
}

void pf_verify_progress(struct pf_verify *verify, uint64_t bytes)
{
	uint64_t before = verify->done >> 24;

	verify->done += bytes;
	if (verify->total < verify->done)
		verify->total = verify->done;
	if (verify->progress && verify->done >> 24 != before)
		verify->progress(verify->ctx, verify->done, verify->total);
}

/* One table at work. */
struct walk {
	struct pf_verify *verify;
	struct pf_table *table;
	uint64_t **reached; /* per heap index: a bitmap of PF_UNIT_WORDS words per unit */
	struct pf_table_counts counts;
	struct pf_record *record; /* PF_RECORD_MAX bytes */
};

static void problem_at(struct walk *walk, uint64_t loc, const char *what)
{
	const struct pf_piece *piece = pf_piece_at(walk->table, loc);

	if (piece)
		pf_verify_problem(walk->verify, &piece->extent, loc - piece->loc, "table %s: %s", walk->table->name,
				  what);
	else
		pf_verify_problem(walk->verify, NULL, 0, "table %s: %s (arena offset %llu, outside its extents)",
				  walk->table->name, what, (unsigned long long)loc);
}

/* Marks the slot at @loc as referred to. */
static bool slot_reach(struct walk *walk, uint64_t loc, size_t size)
{
	uint32_t slot;
	struct pf_slab *slab = pf_slab_of(walk->table, loc, &slot);
	uint64_t *words;

	if (!slab || size > pf_class_size(slab->class)) {
		problem_at(walk, loc, slab ? "a record is larger than its slot" : "a reference leads to no slot");
		return false;
	}
	words = walk->reached[slab->heap->index] + (size_t)slab->unit * PF_UNIT_WORDS;
	if (words[slot / PF_WORD_BITS] >> slot % PF_WORD_BITS & 1) {
		problem_at(walk, loc, "two references lead to the same slot");
		return false;
	}
	words[slot / PF_WORD_BITS] |= 1ull << slot % PF_WORD_BITS;
	return true;
}

static void record_check(struct walk *walk, uint64_t bucket, uint64_t entry)
{
	uint64_t loc = pf_entry_loc(entry), hash;
	struct pf_record *record = walk->record;
	size_t key_size, value_size;
	int r;

	r = pf_table_read(walk->table, loc, record, sizeof(*record));
	if (r == 0 && !pf_record_sizes_valid(record->sizes)) {
		problem_at(walk, loc, "a record's sizes are damaged");
		slot_reach(walk, loc, 0);
		return;
	}
	key_size = pf_record_key_size(record->sizes);
	value_size = pf_record_value_size(record->sizes);
	if (r == 0)
		r = pf_table_read(walk->table, loc + sizeof(*record), record->data, key_size + value_size);
	if (r < 0) {
		problem_at(walk, loc, pf_error_text());
		return;
	}
	if (!slot_reach(walk, loc, pf_record_size(key_size, value_size)))
		return;
	pf_verify_progress(walk->verify, pf_record_size(key_size, value_size));
	if (record->crc != pf_record_crc(record, pf_record_size(key_size, value_size), walk->table->seed)) {
		problem_at(walk, loc, "a record's checksum is wrong");
		return;
	}
	hash = pf_hash(record->data, key_size, walk->table->seed);
	if (pf_hash_tag(hash) != entry >> PF_TAG_SHIFT ||
	    pf_bucket_place(hash, walk->table->header.counts.bucket_count) != bucket)
		problem_at(walk, loc, "a record is in the wrong bucket or under the wrong tag");
	walk->counts.record_count++;
	walk->counts.key_bytes += key_size;
	walk->counts.value_bytes += value_size;
}

static bool line_check(struct walk *walk, uint64_t loc, uint64_t bucket, bool first, struct pf_line *line)
{
	static const struct pf_line zero;
	unsigned depth = pf_bucket_depth(bucket, walk->table->header.counts.bucket_count);

	if (pf_table_read(walk->table, loc, line, sizeof(*line)) < 0) {
		problem_at(walk, loc, pf_error_text());
		return false;
	}
	pf_verify_progress(walk->verify, sizeof(*line));
	if (first && bucket < PF_BUCKETS_MIN && depth == PF_DEPTH_MIN && memcmp(line, &zero, sizeof(zero)) == 0)
		return true;
	if (line->crc != pf_line_crc(line, walk->table->seed, bucket)) {
		problem_at(walk, loc, "a bucket line's checksum is wrong");
		return false;
	}
	if ((first && line->depth != depth) || (bool)(line->flags & PF_LINE_OVERFLOW) == first ||
	    (line->flags & ~(PF_LINE_LINKED | PF_LINE_OVERFLOW))) {
		problem_at(walk, loc, "a bucket line has the wrong depth or flags");
		return false;
	}
	return true;
}

static void bucket_check(struct walk *walk, uint64_t bucket)
{
	uint64_t loc = pf_bucket_loc(walk->table, bucket);
	struct pf_line line;

	for (unsigned length = 1;; length++) {
		bool linked;

		if (!line_check(walk, loc, bucket, length == 1, &line))
			return;
		linked = line.flags & PF_LINE_LINKED;
		for (unsigned i = 0; i < (linked ? PF_LINE_ENTRIES - 1 : PF_LINE_ENTRIES); i++)
			if (line.entry[i])
				record_check(walk, bucket, line.entry[i]);
		if (!linked)
			return;
		loc = pf_entry_loc(line.entry[PF_LINE_ENTRIES - 1]);
		if (length == PF_CHAIN_MAX) {
			problem_at(walk, loc, "a bucket's chain is too long");
			return;
		}
		if (!slot_reach(walk, loc, PF_LINE_SIZE))
			return;
		walk->counts.overflow_count++;
	}
}

static void slab_check(struct walk *walk, const struct pf_slab *slab)
{
	const uint64_t *reached = walk->reached[slab->heap->index] + (size_t)slab->unit * PF_UNIT_WORDS;
	uint64_t loc = slab->heap->piece->loc + pf_bitmap_offset(slab->heap->unit_count, slab->unit);
	unsigned lost = 0, stray = 0;
	char what[120];

	for (uint32_t i = 0; i * PF_WORD_BITS < slab->slots; i++) {
		if (walk->table->header.import.mode != PF_IMPORT_BULK) /* whose records no line leads to yet */
			lost += (unsigned)__builtin_popcountll(slab->used[i] & ~reached[i]);
		stray += (unsigned)__builtin_popcountll(reached[i] & ~slab->used[i]);
	}
	if (lost + stray == 0)
		return;
	snprintf(what, sizeof(what),
		 "bitmap of unit %u: %u slots are taken but not referred to, %u the other way round", slab->unit, lost,
		 stray);
	problem_at(walk, loc, what);
}

static void heaps_check(struct walk *walk)
{
	for (struct pf_heap *heap = walk->table->heaps; heap; heap = heap->prev) {
		for (uint32_t unit = heap->first_unit; unit < heap->unit_count;) {
			const struct pf_slab *slab = heap->slabs[unit];

			if (slab)
				slab_check(walk, slab);
			unit += slab ? slab->run : 1;
		}
	}
}

static int walk_begin(struct walk *walk)
{
	struct pf_table *table = walk->table;
	int r;

	walk->record = malloc(PF_RECORD_MAX);
	walk->reached = calloc(table->header.heap_count, sizeof(*walk->reached));
	if (!walk->record || !walk->reached)
		return pf_error(-ENOMEM, "verify: no memory");
	for (struct pf_heap *heap = table->heaps; heap; heap = heap->prev) {
		uint32_t bad = 0;

		walk->reached[heap->index] = calloc((size_t)heap->unit_count * PF_UNIT_WORDS, sizeof(uint64_t));
		if (!walk->reached[heap->index])
			return pf_error(-ENOMEM, "verify: no memory");
		r = pf_heap_load(table, heap);
		if (r == 0)
			r = pf_heap_check(table, heap, &bad);
		if (r < 0)
			return r;
		if (bad > 0)
			problem_at(walk, heap->piece->loc, "damaged unit or bitmap words");
	}
	return 0;
}

static void counts_check(struct walk *walk)
{
	const struct pf_table_counts *said = &walk->table->header.counts, *found = &walk->counts;

	if (said->record_count != found->record_count || said->key_bytes != found->key_bytes ||
	    said->value_bytes != found->value_bytes || said->overflow_count != found->overflow_count)
		pf_verify_problem(walk->verify, &walk->table->tables->root, (uint64_t)walk->table->slot * PF_SLOT_SIZE,
				  "table %s: header counts %llu records (%llu + %llu bytes), %llu overflow lines; "
				  "found %llu (%llu + %llu), %llu",
				  walk->table->name, (unsigned long long)said->record_count,
				  (unsigned long long)said->key_bytes, (unsigned long long)said->value_bytes,
				  (unsigned long long)said->overflow_count, (unsigned long long)found->record_count,
				  (unsigned long long)found->key_bytes, (unsigned long long)found->value_bytes,
				  (unsigned long long)found->overflow_count);
}

int pf_verify_table(struct pf_verify *verify, struct pf_table *table)
{
	struct walk walk = { .verify = verify, .table = table };
	int r;

	if (table->tables->read_only) {
		r = pf_table_refresh(table);
		if (r < 0)
			return r;
	}
	pthread_mutex_lock(&table->lock);
	r = walk_begin(&walk);
	for (uint64_t bucket = 0; r == 0 && bucket < table->header.counts.bucket_count; bucket++)
		bucket_check(&walk, bucket);
	if (r == 0) {
		heaps_check(&walk);
		counts_check(&walk);
	}
	for (uint32_t i = 0; walk.reached && i < table->header.heap_count; i++)
		free(walk.reached[i]);
	free(walk.reached);
	free(walk.record);
	pthread_mutex_unlock(&table->lock);
	return r;
}

/* Checks the table in @slot, if there is one. */
static int slot_check(struct pf_verify *verify, uint32_t slot)
{
	struct pf_tables *tables = verify->tables;
	struct pf_table_header header;
	struct pf_table *table;
	int r;

	r = pf_table_header_read(tables, slot, &header);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = pf_table_open_any(tables, header.name, 0, &table);
	if (r == 0) {
		r = pf_verify_table(verify, table);
		pf_table_close(table);
	}
	if (r == -EUCLEAN || r == -EIO) {
		pf_verify_problem(verify, &tables->root, (uint64_t)slot * PF_SLOT_SIZE, "%s", pf_error_text());
		r = 0;
	}
	return r;
}

int pf_table_verify(struct pf_store *store, pinfold_problem_fn problem, pinfold_progress_fn progress, void *ctx)
{
	struct pf_verify verify = {.tables = pf_tables_of(store), .problem = problem, .progress = progress, .ctx = ctx};
	struct pinfold_store_stats stats = {0};
	int r;

	if (!verify.tables)
		return -EINVAL;
	r = pf_store_stat(store, &stats);
	if (r == -EIO) /* whoever looks at all extents will meet it again, and report it */
		r = 0;
	if (r < 0)
		return r;
	verify.total = stats.published_bytes; /* an upper bound without checksums of object data */
	for (uint32_t slot = 1; r == 0 && slot <= PF_SLOT_COUNT; slot++)
		r = slot_check(&verify, slot);
	if (r == 0)
		r = pf_verify_orphans(&verify);
	if (r == 0)
		r = pf_verify_checksums(&verify);
	if (r == -EUCLEAN || r == -EIO) {
		pf_verify_problem(&verify, NULL, 0, "%s", pf_error_text());
		r = 0;
	}
	if (r < 0)
		return r;
	if (progress)
		progress(ctx, verify.total, verify.total);
	return verify.problem_count == 0 ? 0 :
	       pf_error(-EUCLEAN, "tables: %llu problems found", (unsigned long long)verify.problem_count);
}
