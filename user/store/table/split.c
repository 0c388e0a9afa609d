/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * split.c - linear hashing: one bucket becomes two.
 *
 * Bucket n (the next) takes from bucket n - 2^level what has hash bit `level` set.
 * Entries carry that bit, so no record is read. Both halves, and the bucket
 * count, are written by the transaction that needed the room.
 */
#include "store/table/internal.h"

/* Makes sure that bucket @bucket has a place; -ENOSPC leaves the table as it is. */
static int segment_ensure(struct pf_table *table, uint64_t bucket)
{
	struct pf_ws *ws = &table->ws;
	struct pinfold_extent extent;
	struct pf_piece *piece;
	uint64_t line;
	unsigned segment = pf_segment_of(bucket, &line);
	int r;

	if (segment < table->header.segment_count)
		return 0;
	r = PF_RESERVE(ws->pieces, ws->piece_count, ws->piece_capacity);
	if (r < 0)
		return r;
	r = pf_spare_take(table, PF_SPARE_SEGMENT, pf_segment_size(segment), &extent);
	if (r < 0)
		return r;
	r = pf_piece_add(table, &extent, &piece);
	if (r < 0) {
		pf_extent_back_out(table->store, &extent);
		return r;
	}
	ws->pieces[ws->piece_count++] = piece;
	ws->header_dirty = true;
	table->header.segment[segment] = extent;
	table->header.segment_count++;
	atomic_store_explicit(&table->segment_loc[segment], piece->loc, memory_order_relaxed);
	atomic_store_explicit(&table->segment_count, segment + 1, memory_order_release);
	return 0;
}

static unsigned lines_for(unsigned entries)
{
	return entries <= PF_LINE_ENTRIES ? 1 : 1 + (entries - 2) / (PF_LINE_ENTRIES - 1);
}

/* Brings @chain (of *length lines) to @wanted lines. */
static int chain_resize(struct pf_table *table, uint64_t bucket, uint32_t *chain, unsigned *length, unsigned wanted)
{
	struct pf_ws *ws = &table->ws;
	uint64_t loc;
	int r;

	for (; *length < wanted; ++*length) {
		r = pf_slot_alloc(table, PF_CLASS_LINE, &loc);
		if (r == 0)
			r = pf_ws_line(table, loc, bucket, true, &chain[*length]);
		if (r < 0)
			return r;
		table->header.counts.overflow_count++;
	}
	for (; *length > wanted; --*length) {
		struct pf_ws_line *item = &ws->lines[chain[*length - 1]];

		r = pf_slot_free(table, item->loc);
		if (r < 0)
			return r;
		item->dirty = false;
		table->header.counts.overflow_count--;
	}
	return 0;
}

static int chain_store(struct pf_table *table, uint64_t bucket, unsigned depth, uint32_t *chain, unsigned length,
		       const uint64_t *entries, unsigned count)
{
	struct pf_ws *ws = &table->ws;
	int r;

	r = chain_resize(table, bucket, chain, &length, lines_for(count));
	if (r < 0)
		return r;
	for (unsigned i = 0; i < length; i++) {
		struct pf_line *line = &ws->lines[chain[i]].line;
		bool linked = i + 1 < length;
		unsigned room = linked ? PF_LINE_ENTRIES - 1 : PF_LINE_ENTRIES;

		line->depth = (uint8_t)depth;
		line->flags = (uint8_t)((linked ? PF_LINE_LINKED : 0) | (i > 0 ? PF_LINE_OVERFLOW : 0));
		line->version++;
		for (unsigned j = 0; j < room; j++) {
			line->entry[j] = count > 0 ? *entries++ : 0;
			count -= count > 0;
		}
		if (linked)
			line->entry[PF_LINE_ENTRIES - 1] = ws->lines[chain[i + 1]].loc >> 3;
		ws->lines[chain[i]].dirty = true;
	}
	pf_assert(count == 0);
	return 0;
}

/* Sorts the entries of @chain by hash bit @bit: those without to @ret_keep, those with to @ret_move. */
static void chain_part(struct pf_table *table, const uint32_t *chain, unsigned length, unsigned bit, uint64_t *ret_keep,
		       unsigned *ret_kept, uint64_t *ret_move, unsigned *ret_moved)
{
	*ret_kept = *ret_moved = 0;
	for (unsigned i = 0; i < length; i++) {
		const struct pf_line *line = &table->ws.lines[chain[i]].line;
		unsigned count = line->flags & PF_LINE_LINKED ? PF_LINE_ENTRIES - 1 : PF_LINE_ENTRIES;

		for (unsigned j = 0; j < count; j++) {
			if (line->entry[j] == 0)
				continue;
			if (pf_entry_hash_bit(line->entry[j], bit))
				ret_move[(*ret_moved)++] = line->entry[j];
			else
				ret_keep[(*ret_kept)++] = line->entry[j];
		}
	}
}

int pf_bucket_split(struct pf_table *table)
{
	uint64_t keep[PF_CHAIN_MAX * PF_LINE_ENTRIES], move[PF_CHAIN_MAX * PF_LINE_ENTRIES];
	uint64_t fresh = table->header.counts.bucket_count, parent;
	unsigned level = 63 - (unsigned)__builtin_clzll(fresh), kept, moved, length;
	uint32_t chain[PF_CHAIN_MAX], fresh_chain[PF_CHAIN_MAX];
	int r;

	if (fresh >= PF_BUCKETS_MAX || level >= PF_DEPTH_MAX)
		return 0;
	r = segment_ensure(table, fresh);
	if (r == -ENOSPC) /* the table goes on with longer chains */
		return 0;
	if (r < 0)
		return r;
	parent = fresh - (1ull << level);
	r = pf_chain_load(table, parent, chain, &length);
	if (r < 0)
		return r;
	chain_part(table, chain, length, level, keep, &kept, move, &moved);
	/* fresh comes after parent in the write set: it is written before it (writeset.c) */
	r = pf_ws_line(table, pf_bucket_loc(table, fresh), fresh, true, &fresh_chain[0]);
	if (r == 0)
		r = chain_store(table, fresh, level + 1, fresh_chain, 1, move, moved);
	if (r == 0)
		r = chain_store(table, parent, level + 1, chain, length, keep, kept);
	if (r == 0)
		table->header.counts.bucket_count++;
	return r;
}
