/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * table.c - a table handle: its header, its extents, and committed bytes of them.
 */
#include "store/table/internal.h"

#include "base/sigbus.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/sysinfo.h>

uint64_t pf_extent_loc(const struct pf_store *store, const struct pinfold_extent *extent)
{
	return (uint64_t)extent->file_id * pf_store_file_size(store) + extent->offset;
}

void pf_extent_back_out(struct pf_store *store, const struct pinfold_extent *extent)
{
	char words[PF_ERROR_MAX];

	strcpy(words, pf_error_text());
	(void)pf_extent_free(store, extent);
	(void)pf_error(-ECANCELED, "%s", words);
}

uint32_t pf_table_header_crc(const struct pf_table_header *header)
{
	uint32_t zero = 0, crc;

	crc = pf_crc32c_update(0, header, offsetof(struct pf_table_header, crc));
	crc = pf_crc32c_update(crc, &zero, sizeof(zero));
	return pf_crc32c_update(crc, (const char *)header + offsetof(struct pf_table_header, heap_count),
				PF_COUNTS_OFFSET - offsetof(struct pf_table_header, heap_count));
}

uint32_t pf_table_counts_crc(const struct pf_table_counts *counts)
{
	struct pf_table_counts copy = *counts;

	copy.crc = 0;
	return pf_crc32c(&copy, sizeof(copy));
}

/* Whether the last bucket is in a segment. Counts and the rest have a checksum each, and are written one by one. */
static bool buckets_placed(const struct pf_table_header *header)
{
	uint64_t line;

	return header->counts.bucket_count < PF_BUCKETS_MIN || header->counts.bucket_count > PF_BUCKETS_MAX ||
	       pf_segment_of(header->counts.bucket_count - 1, &line) < header->segment_count;
}

static bool header_valid(const struct pf_table_header *header)
{
	return header->magic == PF_TABLE_MAGIC && header->crc == pf_table_header_crc(header) &&
	       header->counts.crc == pf_table_counts_crc(&header->counts);
}

int pf_table_header_read(struct pf_tables *tables, uint32_t slot, struct pf_table_header *ret_header)
{
	uint64_t offset = (uint64_t)slot * PF_SLOT_SIZE;
	struct pf_table_header header;
	int r;

	for (int attempt = 0;; attempt++) {
		r = pf_read_at(tables->store, &tables->root, offset, &header, sizeof(header));
		if (r < 0)
			return r;
		if (header.magic == 0)
			return -ENOENT;
		if (header_valid(&header) && buckets_placed(&header))
			break;
		if (!tables->read_only || attempt > 1000) /* a live writer may be at it */
			break;
		sched_yield();
	}
	if (!header_valid(&header))
		return pf_error(-EUCLEAN, "table directory: slot %u: magic %#llx and a wrong checksum", slot,
				(unsigned long long)header.magic);
	if (header.version != PF_TABLE_VERSION)
		return pf_error(-EUCLEAN, "table directory: slot %u: version %u; known is %u", slot, header.version,
				PF_TABLE_VERSION);
	if (header.segment_count < 1 || header.segment_count > PF_SEGMENT_MAX || header.heap_count < 1 ||
	    header.counts.bucket_count < PF_BUCKETS_MIN || header.counts.bucket_count > PF_BUCKETS_MAX ||
	    !buckets_placed(&header) || memchr(header.name, 0, sizeof(header.name)) == NULL)
		return pf_error(-EUCLEAN, "table directory: slot %u: %u segments, %u heap extents, %llu buckets", slot,
				header.segment_count, header.heap_count,
				(unsigned long long)header.counts.bucket_count);
	*ret_header = header;
	return 0;
}

/* ---- pieces ---- */

struct pf_piece *pf_piece_at(const struct pf_table *table, uint64_t loc)
{
	uint64_t granule = loc >> PF_GRANULE_SHIFT;
	struct pf_granules *leaf;

	if (granule / PF_GRANULE_LEAF >= table->leaf_count)
		return NULL;
	leaf = atomic_load_explicit(&table->granules[granule / PF_GRANULE_LEAF], memory_order_acquire);
	return leaf ? atomic_load_explicit(&leaf->piece[granule % PF_GRANULE_LEAF], memory_order_acquire) : NULL;
}

/* Whether a table may have @extent: in a file that is there, aligned, and beside what it has already. */
static bool extent_fits(const struct pf_table *table, const struct pinfold_extent *extent)
{
	const uint64_t file_size = pf_store_file_size(table->store), loc = pf_extent_loc(table->store, extent);

	if (extent->len < PINFOLD_EXTENT_MIN || (extent->len & (extent->len - 1)) || extent->len > file_size ||
	    extent->offset > file_size - extent->len || extent->file_id >= pf_store_file_count(table->store) ||
	    loc % extent->len || loc > table->arena_size - extent->len)
		return false;
	for (uint64_t at = loc; at < loc + extent->len; at += PF_GRANULE_BYTES)
		if (pf_piece_at(table, at))
			return false;
	return true;
}

static int extent_error(const struct pf_table *table, const struct pinfold_extent *extent)
{
	return pf_error(-EUCLEAN,
			"table %s: refers to an extent of %u bytes at offset %llu of file %u, which is none of its own",
			table->name, extent->len, (unsigned long long)extent->offset, extent->file_id);
}

static int granules_set(struct pf_table *table, const struct pf_piece *piece, struct pf_piece *value)
{
	uint64_t first = piece->loc >> PF_GRANULE_SHIFT, count = piece->extent.len >> PF_GRANULE_SHIFT;
	struct pf_granules *leaf;

	for (uint64_t i = first; i < first + count; i++) {
		leaf = atomic_load_explicit(&table->granules[i / PF_GRANULE_LEAF], memory_order_relaxed);
		if (!leaf) {
			leaf = calloc(1, sizeof(*leaf));
			if (!leaf)
				return pf_error(-ENOMEM, "table %s: no memory", table->name);
			atomic_store_explicit(&table->granules[i / PF_GRANULE_LEAF], leaf, memory_order_release);
		}
		atomic_store_explicit(&leaf->piece[i % PF_GRANULE_LEAF], value, memory_order_release);
	}
	return 0;
}

int pf_piece_add(struct pf_table *table, const struct pinfold_extent *extent, struct pf_piece **ret_piece)
{
	uint64_t loc = pf_extent_loc(table->store, extent);
	struct pf_piece *piece;
	int r;

	if (!extent_fits(table, extent))
		return extent_error(table, extent);
	r = PF_RESERVE(table->pieces, table->piece_count, table->piece_capacity);
	if (r < 0)
		return r;
	piece = calloc(1, sizeof(*piece));
	if (!piece)
		return pf_error(-ENOMEM, "table %s: no memory", table->name);
	piece->extent = *extent;
	piece->loc = loc;
	r = granules_set(table, piece, piece);
	if (r < 0) {
		granules_set(table, piece, NULL);
		free(piece);
		return r;
	}
	if (loc + extent->len > atomic_load_explicit(&table->loc_end, memory_order_relaxed)) {
		atomic_store_explicit(&table->loc_end, loc + extent->len, memory_order_release);
		atomic_store_explicit(&table->entry_end, (loc + extent->len - PF_INPLACE_MAX) / 8,
				      memory_order_release);
	}
	table->pieces[table->piece_count++] = piece;
	*ret_piece = piece;
	return 0;
}

void pf_piece_remove(struct pf_table *table, struct pf_piece *piece)
{
	pf_assert(table->piece_count > 0 && table->pieces[table->piece_count - 1] == piece);
	table->piece_count--;
	granules_set(table, piece, NULL); /* its leaves exist: cannot fail */
	free(piece); /* no entry ever led a reader to it */
}

/* ---- committed bytes ---- */

static bool pages_pending(const struct pf_store *store, const char *at, size_t size)
{
	uintptr_t first = (uintptr_t)at & ~(uintptr_t)4095, last = ((uintptr_t)at + size - 1) & ~(uintptr_t)4095;

	for (uintptr_t page = first; page <= last; page += 4096)
		if (pf_page_pending(store, (const void *)page))
			return true;
	return false;
}

/*
 * In place: a line lies within a page, and a record whose value may change within two, so two sequences cover them;
 * larger reads are of records and headers, which the callers' locks or epochs keep unchanged.
 */
static int read_in_place(const struct pf_table *table, const char *at, void *ret_data, size_t size)
{
	sigjmp_buf env;
	void *prev;

	if (sigsetjmp(env, 0))
		return pf_error(-EIO, "table %s: arena offset %llu: the mapped file could not be read", table->name,
				(unsigned long long)(at - table->base));
	prev = pf_sigbus_arm(&env, table->base, table->arena_size);
	pf_copy_words(ret_data, at, size);
	pf_sigbus_disarm(prev);
	return 0;
}

int pf_table_read(const struct pf_table *table, uint64_t loc, void *ret_data, size_t size)
{
	const struct pf_piece *piece = pf_piece_at(table, loc);
	const char *at = table->base + loc, *last = at + (size ? size - 1 : 0);
	uint32_t seq, last_seq;
	int r;

	if (!piece || loc + size > piece->loc + piece->extent.len)
		return pf_error(-EUCLEAN, "table %s: %zu bytes at arena offset %llu are not within its extents",
				table->name, size, (unsigned long long)loc);
	seq = pf_seq_begin(table->store, at);
	last_seq = pf_seq_begin(table->store, last);
	if (!pages_pending(table->store, at, size)) {
		r = read_in_place(table, at, ret_data, size);
		if (r < 0 || (!pf_seq_retry(table->store, at, seq) && !pf_seq_retry(table->store, last, last_seq)))
			return r;
	}
	return pf_read_at(table->store, &piece->extent, loc - piece->loc, ret_data, size);
}

/* ---- the handle ---- */

static int heap_header_read(struct pf_table *table, const struct pinfold_extent *extent,
			    struct pf_heap_header *ret_header)
{
	struct pf_heap_header header;
	uint32_t crc;
	int r;

	r = pf_read_at(table->store, extent, 0, &header, sizeof(header));
	if (r)
		return r;
	crc = header.crc;
	header.crc = 0;
	if (header.magic != PF_HEAP_MAGIC || crc != pf_crc32c(&header, sizeof(header)))
		return pf_error(-EUCLEAN,
				"table %s: file %u, offset %llu: heap header has magic %#llx and checksum %#x",
				table->name, extent->file_id, (unsigned long long)extent->offset,
				(unsigned long long)header.magic, crc);
	header.crc = crc;
	if (header.version != PF_TABLE_VERSION || header.incarnation != table->incarnation ||
	    header.unit_count != extent->len >> PF_UNIT_SHIFT ||
	    header.header_units != pf_heap_header_units(header.unit_count) ||
	    header.bucket_units != (header.index == 0 ? PF_SEG0_UNITS : 0))
		return pf_error(
			-EUCLEAN,
			"table %s: file %u, offset %llu: heap header of version %u for table %llu with %u units",
			table->name, extent->file_id, (unsigned long long)extent->offset, header.version,
			(unsigned long long)header.incarnation, header.unit_count);
	*ret_header = header;
	return 0;
}

/* -ESTALE: beside a writer, who has dropped the table since its header was read. */
static int dropped_check(const struct pf_table *table)
{
	struct pf_table_header header;
	int r = table->read_only ? pf_table_header_read(table->tables, table->slot, &header) : 0;

	if (r == -ENOENT || (r == 0 && table->read_only && header.incarnation != table->incarnation))
		r = pf_error(-ESTALE, "table %s: was dropped", table->name);
	return r;
}

/* As pf_piece_add(), of an extent that a header refers to: it may not be there. */
static int piece_read(struct pf_table *table, const struct pinfold_extent *extent, struct pf_piece **ret_piece)
{
	int r;

	if (extent_fits(table, extent) && pf_extent_check(table->store, extent) == 0)
		return pf_piece_add(table, extent, ret_piece);
	r = dropped_check(table);
	return r < 0 ? r : extent_error(table, extent);
}

static bool extent_same(const struct pinfold_extent *a, const struct pinfold_extent *b)
{
	return a->file_id == b->file_id && a->gen == b->gen && a->offset == b->offset && a->len == b->len;
}

/* Walks the chain of heap extents down to those already known. */
static int heaps_read(struct pf_table *table)
{
	struct pinfold_extent extent = table->header.heap_last;
	uint32_t expected = table->header.heap_count;
	struct pf_heap_header header = {0};
	struct pf_piece *piece = NULL;
	int r;

	while (expected > 0) {
		piece = pf_piece_at(table, pf_extent_loc(table->store, &extent));
		if (piece && piece->heap && piece->heap->index == expected - 1 && extent_same(&piece->extent, &extent))
			break;
		r = piece_read(table, &extent, &piece);
		if (r < 0)
			return r;
		r = heap_header_read(table, &extent, &header);
		if (r)
			return r;
		if (header.index != --expected)
			return pf_error(-EUCLEAN, "table %s: file %u, offset %llu: heap extent %u where %u belongs",
					table->name, extent.file_id, (unsigned long long)extent.offset, header.index,
					expected);
		r = pf_heap_attach(table, piece, &header);
		if (r < 0)
			return r;
		extent = header.prev;
	}
	return 0;
}

static bool in_first_heap(const struct pf_table *table, const struct pinfold_extent *extent)
{
	const struct pf_heap *heap = table->heaps;

	while (heap && heap->index > 0)
		heap = heap->prev;
	return heap && extent_same(&heap->piece->extent, extent);
}

/* Maps the segments that @table does not know yet. */
static int segments_read(struct pf_table *table)
{
	uint32_t count = atomic_load_explicit(&table->segment_count, memory_order_relaxed);
	struct pf_piece *piece;
	uint64_t loc;
	int r;

	for (; count < table->header.segment_count; count++) {
		const struct pinfold_extent *extent = &table->header.segment[count];

		loc = pf_extent_loc(table->store, extent);
		if (count == 0) {
			if (!in_first_heap(table, extent))
				return pf_error(
					-EUCLEAN,
					"table %s: segment 0 is said to be in the extent at offset %llu of file "
					"%u, which is not its first heap extent",
					table->name, (unsigned long long)extent->offset, extent->file_id);
			loc += (uint64_t)pf_heap_header_units(extent->len >> PF_UNIT_SHIFT) << PF_UNIT_SHIFT;
		} else {
			if (extent->len != pf_segment_size(count))
				return pf_error(-EUCLEAN, "table %s: segment %u has %u bytes, must have %llu",
						table->name, count, extent->len,
						(unsigned long long)pf_segment_size(count));
			r = piece_read(table, extent, &piece);
			if (r < 0)
				return r;
		}
		atomic_store_explicit(&table->segment_loc[count], loc, memory_order_relaxed);
		atomic_store_explicit(&table->segment_count, count + 1, memory_order_release);
	}
	return 0;
}

static int table_read(struct pf_table *table)
{
	int r = heaps_read(table);

	if (r == 0)
		r = segments_read(table);
	if (r == 0)
		pf_bucket_count_publish(table, true);
	return r;
}

static void get_choose(struct pf_table *table)
{
	table->get = pf_get_beside;
	if (table->read_only || !pf_crc32c_instruction())
		return; /* another process may write; or nothing would be gained */
	table->get = pf_get_still;
	table->batch = pf_batch_still;
	pf_get_wide(&table->get, &table->batch);
}

int pf_table_load(struct pf_tables *tables, uint32_t slot, struct pf_table **ret_table)
{
	uint64_t arena_size = pf_store_arena_size(tables->store);
	struct pf_table *table;
	int r;

	table = aligned_alloc(_Alignof(struct pf_table), sizeof(*table));
	if (!table)
		return pf_error(-ENOMEM, "tables: no memory");
	memset(table, 0, sizeof(*table));
	table->tables = tables;
	table->store = tables->store;
	table->read_only = tables->read_only;
	table->pages = pf_store_pages(tables->store);
	get_choose(table);
	table->call_spinners_max = (uint32_t)get_nprocs() - 1; /* which reads a file: not at each call */
	table->base = pf_store_base(tables->store);
	table->arena_size = arena_size;
	table->range = (struct pf_sigbus_range){ .base = (uintptr_t)table->base, .size = arena_size };
	table->slot = slot;
	pthread_mutex_init(&table->lock, NULL);
	pthread_mutex_init(&table->retire_lock, NULL);
	table->leaf_count = (arena_size >> PF_GRANULE_SHIFT) / PF_GRANULE_LEAF + 1;
	table->granules = calloc(table->leaf_count, sizeof(*table->granules));
	table->chunk = calloc(PF_CHUNK_COUNT, sizeof(*table->chunk)); /* of which a page or two is touched */
	if (!table->granules || !table->chunk) {
		r = pf_error(-ENOMEM, "tables: no memory");
		goto err_free;
	}
	r = pf_table_header_read(tables, slot, &table->header);
	if (r < 0)
		goto err_free;
	memcpy(table->name, table->header.name, sizeof(table->name));
	table->seed = table->header.seed;
	table->hash_id = pf_hash_id_make(table->seed);
	table->crc_state = ~(uint32_t)table->seed;
	table->line_state = table->crc_state;
	table->loc_mask = PF_LOC_MASK;
	table->tag_mask = ~PF_LOC_MASK;
	table->incarnation = table->header.incarnation;
	r = pf_ws_init(table);
	if (r == 0)
		r = table_read(table);
	if (r < 0)
		goto err_free;
	*ret_table = table;
	return 0;

err_free:
	pf_table_free(table);
	return r;
}

int pf_table_refresh(struct pf_table *table)
{
	struct pf_table_header header;
	int r;

	pthread_mutex_lock(&table->lock);
	r = pf_table_header_read(table->tables, table->slot, &header);
	if (r == -ENOENT || (r == 0 && header.incarnation != table->incarnation))
		r = pf_error(-ESTALE, "table %s: was dropped", table->name);
	if (r == 0) {
		table->header = header;
		r = table_read(table);
	}
	pthread_mutex_unlock(&table->lock);
	return r;
}

void pf_table_free(struct pf_table *table)
{
	pf_spare_end(table);
	if (pf_retire_end(table))
		pf_table_destroy(table);
}

void pf_table_destroy(struct pf_table *table)
{
	struct pf_heap *heap;

	while ((heap = table->heaps)) {
		table->heaps = heap->prev;
		pf_heap_free(heap);
	}
	for (size_t i = 0; i < table->piece_count; i++)
		free(table->pieces[i]);
	free(table->pieces);
	for (uint64_t i = 0; table->granules && i < table->leaf_count; i++)
		free(table->granules[i]);
	free(table->granules);
	free(table->chunk);
	pf_ws_done(table);
	pf_retire_free(table);
	pthread_mutex_destroy(&table->retire_lock);
	pthread_mutex_destroy(&table->lock);
	free(table);
}

int pf_table_stat(struct pf_table *table, struct pinfold_table_stats *ret_stats)
{
	struct pinfold_table_stats stats = { 0 };
	int r;

	if (table->tables->read_only) {
		r = pf_table_refresh(table);
		if (r < 0)
			return r;
	}
	pthread_mutex_lock(&table->lock);
	stats.record_count = table->header.counts.record_count;
	stats.key_bytes = table->header.counts.key_bytes;
	stats.value_bytes = table->header.counts.value_bytes;
	stats.bucket_count = table->header.counts.bucket_count;
	stats.overflow_count = table->header.counts.overflow_count;
	stats.import_unfinished = table->header.import.mode == PF_IMPORT_BULK;
	for (size_t i = 0; i < table->piece_count; i++)
		stats.extent_bytes += table->pieces[i]->extent.len;
	pthread_mutex_unlock(&table->lock);
	*ret_stats = stats;
	return 0;
}
