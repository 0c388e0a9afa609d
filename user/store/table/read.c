/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * read.c - get: no lock, no write, whatever writers do. Most are done by the short way (lookup.h); this is the rest.
 *
 * A line is copied whole under its page's sequence, or read with pf_read_at()
 * while the page has commits that are not applied yet. The record behind an
 * entry does not change (invariant 1), so it is compared, checked and copied in
 * place: only "has it been applied?" must be asked, after the entry was read.
 *
 * A read-only handle in another process has neither sequences nor epochs: there
 * lines and records are copied first and believed only if their checksum fits;
 * else read again, a bounded number of times.
 */
#include "store/table/lookup.h"

#include "base/sigbus.h"

#include <sched.h>
#include <stdlib.h>

/* Attempts at a line or record whose checksum does not fit: beside no writer it stays wrong, so soon given up. */
#define ATTEMPTS 4
#define ATTEMPTS_FOREIGN 2000
/* Times that a search may be overtaken by changes of its bucket. */
#define RESTARTS 100000

static bool attempt_next(const struct pf_table *table, unsigned *attempt)
{
	if (++*attempt >= (table->read_only ? ATTEMPTS_FOREIGN : ATTEMPTS))
		return false;
	if (table->read_only && *attempt % 8 == 0)
		sched_yield();
	return true;
}

static bool line_valid(const struct pf_table *table, const struct pf_line *line, uint64_t bucket)
{
	static const struct pf_line zero;

	if (line->crc == pf_line_crc(line, table->seed, bucket))
		return line->depth >= PF_DEPTH_MIN && line->depth <= PF_DEPTH_MAX;
	return line->depth == 0 && memcmp(line, &zero, sizeof(zero)) == 0;
}

/* Within the mapping of all files that exist. */
static bool loc_mapped(const struct pf_table *table, uint64_t loc, uint64_t size)
{
	uint64_t end = (uint64_t)pf_store_file_count(table->store) * pf_store_file_size(table->store);

	return loc < end && size <= end - loc;
}

int pf_line_read(struct pf_table *table, uint64_t loc, uint64_t bucket, struct pf_line *ret_line)
{
	const char *at = table->base + loc;
	const struct pf_piece *piece;
	unsigned attempt = 0;
	uint32_t seq;
	int r;

	if (table->read_only && (loc % PF_LINE_SIZE || !loc_mapped(table, loc, PF_LINE_SIZE)))
		return -EAGAIN;
	piece = pf_piece_at(table, loc);
	if (!table->read_only && (loc % PF_LINE_SIZE || !piece)) /* a line that has been read leads there */
		return pf_error(-EUCLEAN, "table %s: bucket %llu: no line of the table is at arena offset %llu",
				table->name, (unsigned long long)bucket, (unsigned long long)loc);
	do {
		bool pending;

		do { /* bounded by the writers' progress */
			seq = pf_seq_begin(table->store, at);
			pending = seq & 1 || pf_page_pending(table->store, at);
			if (!pending)
				pf_copy_words(ret_line, at, sizeof(*ret_line));
		} while (!pending && pf_seq_retry(table->store, at, seq));
		if (__builtin_expect(pending, 0)) {
			if (!piece)
				return pf_error(-EUCLEAN,
						"table %s: bucket %llu: arena offset %llu is not within its extents",
						table->name, (unsigned long long)bucket, (unsigned long long)loc);
			r = pf_read_at(table->store, &piece->extent, loc - piece->loc, ret_line, sizeof(*ret_line));
			if (r < 0)
				return r;
		}
		if (__builtin_expect(line_valid(table, ret_line, bucket), 1))
			return 0;
	} while (attempt_next(table, &attempt));
	/* Reused as another bucket's line meanwhile, or damaged: the caller looks at its first line again. */
	return pf_error(-EUCLEAN, "table %s: bucket %llu: line at arena offset %llu has a wrong checksum", table->name,
			(unsigned long long)bucket, (unsigned long long)loc);
}

int pf_bucket_read(struct pf_table *table, uint64_t bucket, struct pf_line *ret_line)
{
	uint64_t loc;
	int r;

	if (!pf_line_place(table, bucket, &loc)) {
		if (!table->read_only) /* a segment is known before a line that leads there is committed */
			return pf_error(-EUCLEAN, "table %s: bucket %llu: has no segment", table->name,
					(unsigned long long)bucket);
		r = pf_table_refresh(table); /* the writer has outgrown this handle */
		if (r < 0)
			return r;
		if (!pf_line_place(table, bucket, &loc))
			return 0;
	}
	r = pf_line_read(table, loc, bucket, ret_line);
	if (r < 0)
		return r;
	if (ret_line->depth == 0) {
		if (bucket >= PF_BUCKETS_MIN)
			return 0;
		ret_line->depth = PF_DEPTH_MIN;
	}
	return 1;
}

int pf_line_find(struct pf_table *table, uint64_t hash, uint64_t *ret_bucket, struct pf_line *ret_line)
{
	uint64_t bucket = pf_bucket_place(hash, atomic_load_explicit(&table->bucket_count, memory_order_acquire)), own;
	int r;

	for (unsigned i = 0; i < 2 * PF_DEPTH_MAX; i++) {
		r = pf_bucket_read(table, bucket, ret_line);
		if (r < 0)
			return r;
		if (r == 0) { /* ahead of the writer: the bucket it will be split from has its records */
			bucket &= ~(1ull << (63 - __builtin_clzll(bucket)));
			continue;
		}
		own = hash & ((1ull << ret_line->depth) - 1);
		if (own == bucket) {
			*ret_bucket = bucket;
			return 0;
		}
		bucket = own; /* invariant 3 */
	}
	return pf_error(-EUCLEAN, "table %s: bucket %llu: depths lead in circles", table->name,
			(unsigned long long)bucket);
}

static int deliver(struct pf_lookup *lookup, const struct pf_record *record)
{
	size_t size = pf_record_value_size(record->sizes);

	lookup->size = size;
	if (size > lookup->capacity)
		size = lookup->capacity;
	if (size > 0)
		memcpy(lookup->ret_value, record->data + lookup->key_size, size);
	return 1;
}

static bool key_equal(const struct pf_lookup *lookup, const struct pf_record *record)
{
	return memcmp(record->data, lookup->key, lookup->key_size) == 0;
}

static int copy_bytes(struct pf_table *table, uint64_t loc, void *ret_data, size_t size)
{
	if (table->read_only) {
		if (!loc_mapped(table, loc, size))
			return -EAGAIN;
		memcpy(ret_data, table->base + loc, size);
		return 0;
	}
	return pf_table_read(table, loc, ret_data, size);
}

int pf_record_copy(struct pf_table *table, uint64_t loc, struct pf_record *ret_record)
{
	const uint64_t room = PF_GRANULE_BYTES - (loc & (PF_GRANULE_BYTES - 1));
	const size_t first = room < PF_INPLACE_MAX ? room : PF_INPLACE_MAX;
	unsigned attempt = 0;
	size_t size;
	int r;

	do {
		/* what may change in place is copied with one read; larger ones have a second part */
		r = copy_bytes(table, loc, ret_record, first);
		if (r < 0)
			return r;
		if (!pf_record_sizes_valid(ret_record->sizes))
			continue;
		size = pf_record_size(pf_record_key_size(ret_record->sizes), pf_record_value_size(ret_record->sizes));
		r = size > first ? copy_bytes(table, loc + first, (uint8_t *)ret_record + first, size - first) : 0;
		if (r < 0)
			return r;
		if (ret_record->crc == pf_record_crc(ret_record, size, table->seed))
			return 0;
	} while (!table->read_only && attempt_next(table, &attempt));
	return -EBADMSG;
}

/* Records up to this size need one read and no memory on the long way. */
#define SMALL_RECORD PF_INPLACE_MAX

/* As record_match_copy() for small records; -EAGAIN: not small, or something is wrong with it. */
static int record_match_small(struct pf_table *table, uint64_t loc, struct pf_lookup *lookup)
{
	_Alignas(8) uint8_t buf[SMALL_RECORD];
	const struct pf_record *record = (const struct pf_record *)buf;
	uint64_t room = (1ull << PF_GRANULE_SHIFT) - (loc & ((1ull << PF_GRANULE_SHIFT) - 1));
	size_t wanted = SMALL_RECORD, size;

	if (lookup->capacity < SMALL_RECORD && pf_record_size(lookup->key_size, lookup->capacity) < wanted)
		wanted = pf_record_size(lookup->key_size, lookup->capacity);
	if (wanted > room)
		wanted = room;
	if (pf_table_read(table, loc, buf, wanted) < 0 || !pf_record_sizes_valid(record->sizes))
		return -EAGAIN;
	size = pf_record_size(pf_record_key_size(record->sizes), pf_record_value_size(record->sizes));
	if (size > wanted || record->crc != pf_record_crc(record, size, table->seed))
		return -EAGAIN;
	if (pf_record_key_size(record->sizes) != lookup->key_size || !key_equal(lookup, record))
		return 0;
	return deliver(lookup, record);
}

/* The long way: a copy first. 1 found, 0 another key, -EAGAIN: look at the bucket again. */
static int record_match_copy(struct pf_table *table, uint64_t loc, struct pf_lookup *lookup)
{
	struct pf_record *record;
	int r;

	if (!table->read_only) {
		r = record_match_small(table, loc, lookup);
		if (r >= 0)
			return r;
	}
	record = malloc(PF_RECORD_MAX); /* too much for the stacks of small threads */
	if (!record)
		return pf_error(-ENOMEM, "table %s: no memory", table->name);
	lookup->buffer = record;
	r = pf_record_copy(table, loc, record);
	if (r == 0 && pf_record_key_size(record->sizes) == lookup->key_size && key_equal(lookup, record))
		r = deliver(lookup, record);
	else if (r == -EBADMSG && table->read_only)
		r = -EAGAIN;
	else if (r == -EBADMSG)
		r = pf_error(-EUCLEAN, "table %s: record at arena offset %llu has a wrong checksum", table->name,
			     (unsigned long long)loc);
	lookup->buffer = NULL;
	free(record);
	return r;
}

static bool record_pending(const struct pf_table *table, const char *at, size_t size)
{
	const char *page = (const char *)((uintptr_t)at & ~(uintptr_t)4095);

	for (page += 4096; page < at + size; page += 4096)
		if (pf_page_pending(table->store, page))
			return true;
	return false;
}

/* 1 found, 0 another key. In place. */
static int record_match(struct pf_table *table, uint64_t loc, struct pf_lookup *lookup)
{
	const struct pf_record *record = (const struct pf_record *)(table->base + loc);
	const char *last;
	uint32_t seq, last_seq;
	size_t size;

	if (table->read_only || !pf_piece_at(table, loc))
		return record_match_copy(table, loc, lookup);
	__builtin_prefetch((const char *)record + 64);
	__builtin_prefetch((const char *)record + 128);
	seq = pf_seq_begin(table->store, record);
	if (seq & 1 || pf_page_pending(table->store, record))
		return record_match_copy(table, loc, lookup);
	size = pf_record_size(pf_record_key_size(record->sizes), pf_record_value_size(record->sizes));
	last = (const char *)record + (size <= PF_INPLACE_MAX ? size - 1 : 0);
	last_seq = pf_seq_begin(table->store, last);
	if (last_seq & 1 || !pf_record_sizes_valid(record->sizes) ||
	    (loc & ((1ull << PF_GRANULE_SHIFT) - 1)) + size > 1ull << PF_GRANULE_SHIFT || /* might leave the extent */
	    record_pending(table, (const char *)record, size))
		return record_match_copy(table, loc, lookup);
	if (record->crc != pf_record_crc(record, size, table->seed))
		return record_match_copy(table, loc, lookup);
	if (pf_record_key_size(record->sizes) != lookup->key_size || !key_equal(lookup, record))
		return 0;
	deliver(lookup, record);
	if (pf_seq_retry(table->store, record, seq) || pf_seq_retry(table->store, last, last_seq))
		return record_match_copy(table, loc, lookup); /* its value changed meanwhile */
	return 1;
}

int pf_chain_broken(const struct pf_table *table, uint64_t bucket)
{
	if (table->read_only) /* a slot may have been used again, as there are no epochs */
		return -EAGAIN;
	return pf_error(-EUCLEAN, "table %s: bucket %llu: its lines lead in circles, or to those of another",
			table->name, (unsigned long long)bucket);
}

/*
 * 1 found, 0 not in this chain as read, -EAGAIN. @line is the first line, and is changed. A damaged record may be the
 * one that is looked for: it is an error unless another one turns out to be.
 */
static int chain_search(struct pf_table *table, uint64_t bucket, struct pf_line *line, struct pf_lookup *lookup)
{
	uint64_t tag = pf_hash_tag(lookup->hash);
	int r, damaged = 0;

	for (unsigned length = 1;; length++) {
		bool linked = line->flags & PF_LINE_LINKED;
		unsigned count = linked ? PF_LINE_ENTRIES - 1 : PF_LINE_ENTRIES;

		for (unsigned i = 0; i < count; i++) {
			uint64_t entry = line->entry[i];

			if (entry >> PF_TAG_SHIFT != tag || entry == 0)
				continue;
			r = record_match(table, pf_entry_loc(entry), lookup);
			if (r == -EUCLEAN)
				damaged = r;
			else if (r != 0)
				return r;
		}
		if (!linked)
			return damaged;
		if (length == PF_CHAIN_MAX)
			return pf_chain_broken(table, bucket);
		r = pf_line_read(table, pf_entry_loc(line->entry[PF_LINE_ENTRIES - 1]), bucket, line);
		if (r < 0)
			return r;
		if (!(line->flags & PF_LINE_OVERFLOW))
			return pf_chain_broken(table, bucket);
	}
}

int pf_lookup_long(struct pf_table *table, struct pf_lookup *lookup)
{
	struct pf_line line, again = { 0 };
	uint64_t bucket, link;
	uint16_t version;
	unsigned depth;
	int r = -EAGAIN;

	for (unsigned restart = 0; restart < (table->read_only ? ATTEMPTS_FOREIGN : RESTARTS); restart++) {
		if (restart > 16)
			sched_yield();
		r = pf_line_find(table, lookup->hash, &bucket, &line);
		if (r < 0)
			break;
		version = line.version;
		depth = line.depth;
		link = line.flags & PF_LINE_LINKED;
		r = chain_search(table, bucket, &line, lookup);
		if (r > 0 || (r < 0 && r != -EAGAIN && r != -EUCLEAN))
			break;
		if (r == 0 && !link && !table->read_only)
			break;
		/* A chain is believed only if its first line is still the same (invariant 2). */
		int r2 = pf_bucket_read(table, bucket, &again);

		if (r2 < 0)
			return r2;
		if (r2 > 0 && again.version == version && again.depth == depth && (r == 0 || r == -EUCLEAN))
			break;
		r = -EAGAIN;
	}
	if (r > 0)
		return 0;
	if (r == 0)
		return -ENOENT;
	return r != -EAGAIN ? r :
	       pf_error(-EUCLEAN, "table %s: bucket %llu: no consistent state found in %d attempts", table->name,
			(unsigned long long)bucket, ATTEMPTS_FOREIGN);
}
