/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * update.c - overwriting a record by one of the same size: the change that leases and counters are made of.
 *
 * DESIGN: such a record stays where it is. No slot is taken or freed, no line and no count changes: the transaction is
 * one range, from the record's start to the last word that differs. Whatever is not as usual (absent, other size,
 * large, its line changed earlier in the same write set) is left to bucket.c, which is complete.
 *
 *  1. Only records up to PF_INPLACE_MAX bytes: readers copy those with one read, which is consistent.
 *  2. table->lock is held, so what is committed cannot change; it is read in place if its pages are current, else
 *     with pf_table_read().
 *  3. What is asked for ahead is a hint: nothing is concluded from it.
 *  4. The old record's checksum is not asked where bytes are written: a condition that holds has compared every one of
 *     them, and a new checksum goes with them. Whoever asks for less (leases do) has to. Where nothing would be written
 *     it is asked: what is answered with 0 must be readable.
 */
#include "store/table/lookup.h"

/* Of a value that much is asked for ahead. */
#define AHEAD_MAX 512u

/* The newest state of the record at @loc, at least @size bytes of it if it is as long; NULL: left to bucket.c. */
static const struct pf_record *record_now(struct pf_table *table, uint64_t loc, size_t size)
{
	const char *at = table->base + loc;

	if (!pf_piece_at(table, loc) || /* it may be written over: not what is between the table's extents */
	    (loc & (PF_GRANULE_BYTES - 1)) + size > PF_GRANULE_BYTES)
		return NULL;
	if (!pf_state_pending(table->pages, pf_page_state(table->pages, loc)) &&
	    !pf_state_pending(table->pages, pf_page_state(table->pages, loc + size - 1)))
		return (const struct pf_record *)
			at; /* nobody applies to it: nothing of it is ordered, as we hold the lock */
	if (pf_table_read(table, loc, table->scratch, size) < 0)
		return NULL;
	return (const struct pf_record *)table->scratch;
}

/* Bytes of @fresh up to the last word in which it differs from @old, both of @size. */
static size_t changed_size(const uint8_t *old, const uint8_t *fresh, size_t size)
{
	size_t at = size & ~(size_t)7;

	if (memcmp(old + at, fresh + at, size - at) != 0)
		return size;
	while (at > 0 && memcmp(old + at - 8, fresh + at - 8, 8) == 0)
		at -= 8;
	return at;
}

int pf_update_over(struct pf_table *table, const struct pf_found *found, const struct pinfold_change *op)
{
	const struct pf_record *old = found->record;
	const size_t value_at = sizeof(*old) + op->key_size, size = value_at + op->value_size;
	size_t changed = changed_size(old->data + op->key_size, op->value, op->value_size), write;

	if (changed == 0 && old->crc == pf_record_crc(old, size, table->seed))
		return 0; /* the same value: it is committed already, or earlier in this set */
	/* with no byte changed but a checksum that is damaged, the record's head is written anew */
	write = (value_at + changed + 7) & ~(size_t)7;
	return pf_ws_record_put(table, found->loc, op, write < size ? write : size);
}

/* Whether the condition of @op holds for a value of its size. */
static bool condition_holds(const struct pinfold_change *op, const struct pf_record *record)
{
	return !(op->flags & PINFOLD_CHANGE_COMPARE) ||
	       (op->expected && op->expected_size == op->value_size &&
		memcmp(record->data + op->key_size, op->expected, op->expected_size) == 0);
}

/* The record behind @entry: 1 not @op's, 0 found; -ENOTSUP: left to bucket.c. */
static int try_entry(struct pf_table *table, uint64_t entry, const struct pinfold_change *op, size_t size,
		     struct pf_found *ret_found)
{
	const uint64_t loc = pf_entry_loc(entry);
	const struct pf_record *record = pf_ws_record_at(table, loc);

	if (!record)
		record = record_now(table, loc, size);
	if (!record || pf_record_key_size(record->sizes) != op->key_size)
		return -ENOTSUP; /* another key under this tag is rare: the long way tells them apart */
	if (!pf_key_equal(record->data, op->key, op->key_size))
		return 1;
	if (record->sizes != pf_record_sizes(op->key_size, op->value_size))
		return -ENOTSUP;
	*ret_found = (struct pf_found){ .record = record, .loc = loc };
	return 0;
}

/* A copy of the first line of @bucket if it is whole in place. */
static bool line_in_place(const struct pf_table *table, uint64_t loc, uint64_t bucket, struct pf_line *ret_line)
{
	const struct pf_page_state *state = pf_page_state(table->pages, loc);
	uint32_t seq = atomic_load_explicit(&state->seq, memory_order_acquire);

	if (seq & 1 || pf_state_pending(table->pages, state))
		return false;
	pf_copy_words(ret_line, table->base + loc, sizeof(*ret_line));
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&state->seq, memory_order_relaxed) == seq &&
	       ret_line->crc == pf_line_crc(ret_line, table->seed, bucket);
}

/* The first line of @bucket, from wherever it is whole. */
static bool line_now(struct pf_table *table, uint64_t loc, uint64_t bucket, struct pf_line *ret_line)
{
	return line_in_place(table, loc, bucket, ret_line) || pf_line_read(table, loc, bucket, ret_line) == 0;
}

uint64_t pf_update_ask(const struct pf_table *table, const struct pinfold_change *op)
{
	const uint64_t hash = pf_hash(op->key, op->key_size, table->seed);
	uint64_t loc;

	if (pf_line_place(table, pf_bucket_place(hash, table->header.counts.bucket_count), &loc)) {
		__builtin_prefetch(table->base + loc);
		__builtin_prefetch(pf_page_state(table->pages, loc));
	}
	return hash;
}

void pf_update_ask_record(const struct pf_table *table, const struct pinfold_change *op, uint64_t hash)
{
	const uint64_t *entry;
	uint64_t loc;

	if (!pf_line_place(table, pf_bucket_place(hash, table->header.counts.bucket_count), &loc))
		return;
	/* what is not in the mapping is not there to be looked at: its page may never have been, and a fault is no hint
	 */
	if (pf_state_pending(table->pages, pf_page_state(table->pages, loc)))
		return;
	entry = ((const struct pf_line *)(table->base + loc))->entry;
	for (unsigned i = 0; i < PF_LINE_ENTRIES; i++) {
		const uint64_t found = __atomic_load_n(&entry[i], __ATOMIC_RELAXED);
		const char *at = table->base + pf_entry_loc(found), *end;

		if (found >> PF_TAG_SHIFT != pf_hash_tag(hash))
			continue;
		end = at + pf_record_size(op->key_size, op->value_size < AHEAD_MAX ? op->value_size : AHEAD_MAX);
		__builtin_prefetch(pf_page_state(table->pages, pf_entry_loc(found)));
		for (; at < end; at += 64)
			__builtin_prefetch(at);
		return;
	}
}

int pf_update_find(struct pf_table *table, const struct pinfold_change *op, uint64_t hash, struct pf_found *ret_found)
{
	const size_t size = pf_record_size(op->key_size, op->value_size);
	uint64_t bucket, loc;
	struct pf_line line;
	int r;

	if (size > PF_INPLACE_MAX)
		return -ENOTSUP;
	bucket = pf_bucket_place(hash, table->header.counts.bucket_count);
	if (!pf_line_place(table, bucket, &loc) || pf_ws_has_line(table, loc) ||
	    !line_now(table, loc, bucket, &line))
		return -ENOTSUP;
	for (unsigned i = 0; i < PF_LINE_ENTRIES; i++) {
		if (line.entry[i] >> PF_TAG_SHIFT != pf_hash_tag(hash) || line.entry[i] == 0)
			continue;
		if (i == PF_LINE_ENTRIES - 1 && (line.flags & PF_LINE_LINKED))
			break;
		r = try_entry(table, line.entry[i], op, size, ret_found);
		if (r <= 0)
			return r;
	}
	return -ENOTSUP;
}

int pf_update_in_place(struct pf_table *table, const struct pinfold_change *op, uint64_t hash)
{
	struct pf_found found;
	int r = op->value ? pf_update_find(table, op, hash, &found) : -ENOTSUP;

	if (r < 0)
		return r;
	return condition_holds(op, found.record) ? pf_update_over(table, &found, op) : -EAGAIN;
}
