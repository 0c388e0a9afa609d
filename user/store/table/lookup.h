/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lookup.h - the short way of a get, inline for its two users (read.c, batch.c).
 *
 * DESIGN: what nearly every get meets is a line and a record in memory, whole, in place, and not being changed.
 * For that a get touches the line, its page's state, and the record, and nothing else; it makes no call, and has
 * no branch whose outcome the predictor cannot know. So the processor runs ahead into the next get while
 * this one waits for memory. Whatever is not as usual is left to the long way, pf_lookup_long(), which is complete.
 *
 *  1. A line is copied between two looks at its page's sequence, and only if no commit of that page waits to be
 * applied.
 *  2. Whoever finds an entry in place finds a record of its key behind it in place, as a transaction applies records
 *     before lines (writeset.c), and the slot is not used again inside our epoch. Its value may be changed meanwhile,
 * if it is small (update.c): so it too is copied between two looks at its pages' sequences, if no commit waits there.
 *  3. Every line and every record is checked by its checksum, each time.
 *  4. A miss is believed only from a line without overflow lines.
 *  5. Nothing outside the table's extents is read: an entry leads below loc_end, and a record that crosses a
 *     granule's end goes the long way.
 */
#ifndef PF_TABLE_LOOKUP_H
#define PF_TABLE_LOOKUP_H

#include "store/table/internal.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* One search. The key's owner keeps it alive. */
struct pf_lookup {
	uint64_t hash;
	const uint8_t *key;
	size_t key_size;
	void *ret_value;
	size_t capacity;
	size_t size;           /* out: of the value */
	void *volatile buffer; /* of a copy under way: freed by whoever a SIGBUS throws it back to */
};

/**
 * The whole search, whatever state the table is in: 0, -ENOENT (without words), or an error. Inside an epoch
 * and a guard.
 */
int pf_lookup_long(struct pf_table *table, struct pf_lookup *lookup);
/** pf_table_get() inside an epoch. */
int pf_lookup_guarded(struct pf_table *table, struct pf_lookup *lookup);

/* Where the line of @bucket is; false: in a segment that this handle does not know. */
static inline bool pf_line_place(const struct pf_table *table, uint64_t bucket, uint64_t *ret_loc)
{
	uint64_t line;
	unsigned segment = pf_segment_of(bucket, &line);

	if (__builtin_expect(segment >= atomic_load_explicit(&table->segment_count, memory_order_acquire), 0))
		return false;
	*ret_loc = atomic_load_explicit(&table->segment_loc[segment], memory_order_relaxed) + line * PF_LINE_SIZE;
	return true;
}

static inline uint64_t pf_bucket_place(uint64_t hash, uint64_t bucket_count)
{
	uint64_t mask = ~0ull >> __builtin_clzll(bucket_count), bucket = hash & mask;

	return bucket < bucket_count ? bucket : bucket & mask >> 1;
}

/*
 * Copies the line at @loc and returns which of its entries have @tag, as a mask with bit 2 i for entry i - 1. False: it
 * is not whole in place, or not the one line of its bucket that @hash belongs in.
 */
static inline bool pf_line_look(const struct pf_table *table, uint64_t loc, uint64_t bucket, uint64_t hash,
				struct pf_line *ret_line, unsigned *ret_mask)
{
	const struct pf_page_state *state = pf_page_state(table->pages, loc);
	uint32_t seq = atomic_load_explicit(&state->seq, memory_order_acquire);
	bool pending = pf_state_pending(table->pages, state);
	unsigned mask = 0;

#ifdef __SSE2__
	const __m128i *from = (const __m128i *)(table->base + loc);
	__m128i tag = _mm_set1_epi64x((long long)pf_hash_tag(hash));
	__m128i a = _mm_load_si128(from), b = _mm_load_si128(from + 1), c = _mm_load_si128(from + 2),
		d = _mm_load_si128(from + 3);

	_mm_store_si128((__m128i *)ret_line, a);
	_mm_store_si128((__m128i *)ret_line + 1, b);
	_mm_store_si128((__m128i *)ret_line + 2, c);
	_mm_store_si128((__m128i *)ret_line + 3, d);
	/* a tag fits the low half of its shifted word, the high half is 0 on both sides */
	a = _mm_packs_epi32(_mm_cmpeq_epi32(_mm_srli_epi64(a, PF_TAG_SHIFT), tag),
			    _mm_cmpeq_epi32(_mm_srli_epi64(b, PF_TAG_SHIFT), tag));
	c = _mm_packs_epi32(_mm_cmpeq_epi32(_mm_srli_epi64(c, PF_TAG_SHIFT), tag),
			    _mm_cmpeq_epi32(_mm_srli_epi64(d, PF_TAG_SHIFT), tag));
	mask = (unsigned)_mm_movemask_epi8(_mm_packs_epi16(a, c)) & 0x5554;
#else
	pf_copy_words(ret_line, table->base + loc, sizeof(*ret_line));
	for (unsigned i = 0; i < PF_LINE_ENTRIES; i++)
		mask |= (unsigned)(ret_line->entry[i] >> PF_TAG_SHIFT == pf_hash_tag(hash)) << (2 * i + 2);
#endif
	atomic_thread_fence(memory_order_acquire);
	if (__builtin_expect((seq & 1) | pending | (atomic_load_explicit(&state->seq, memory_order_relaxed) ^ seq), 0))
		return false;
	if (__builtin_expect(ret_line->crc != pf_line_crc(ret_line, table->seed, bucket) ||
				     (hash & ((1ull << (ret_line->depth & 63)) - 1)) != bucket,
			     0))
		return false;
	*ret_mask = mask;
	return true;
}

static inline bool pf_key_equal(const uint8_t *a, const uint8_t *b, size_t size)
{
	uint64_t x, y;

	if (size > 32)
		return memcmp(a, b, size) == 0;
	for (; size >= 8; size -= 8, a += 8, b += 8) {
		memcpy(&x, a, 8);
		memcpy(&y, b, 8);
		if (x != y)
			return false;
	}
	for (; size > 0; size--)
		if (*a++ != *b++)
			return false;
	return true;
}

enum pf_look { PF_LOOK_FOUND, PF_LOOK_OTHER, PF_LOOK_LONG };

/* Another key under our tag: or is it ours, damaged? */
static __attribute__((noinline, cold)) enum pf_look pf_record_other(const struct pf_table *table, uint64_t loc)
{
	const struct pf_record *record = (const struct pf_record *)(table->base + loc);
	uint32_t sizes = record->sizes;
	size_t size = pf_record_size(pf_record_key_size(sizes), pf_record_value_size(sizes));

	if (!pf_record_sizes_valid(sizes) || (loc & (PF_GRANULE_BYTES - 1)) + size > PF_GRANULE_BYTES ||
	    record->crc != pf_record_crc(record, size, table->seed))
		return PF_LOOK_LONG;
	return PF_LOOK_OTHER;
}

/* The record at @loc, in place: found and delivered, of another key, or a case for the long way. */
static inline enum pf_look pf_record_look(const struct pf_table *table, uint64_t loc, struct pf_lookup *lookup)
{
	const struct pf_record *record = (const struct pf_record *)(table->base + loc);
	size_t size, value_size;
	uint32_t sizes;

	const struct pf_page_state *state = pf_page_state(table->pages, loc), *last;
	uint32_t seq, last_seq;

	if (__builtin_expect(loc >= atomic_load_explicit(&table->loc_end, memory_order_relaxed), 0))
		return PF_LOOK_LONG;
	seq = atomic_load_explicit(&state->seq, memory_order_acquire);
	sizes = record->sizes;
	value_size = pf_record_value_size(sizes);
	size = pf_record_size(lookup->key_size, value_size);
	if (__builtin_expect((loc & (PF_GRANULE_BYTES - 1)) + size > PF_GRANULE_BYTES, 0))
		return PF_LOOK_LONG;
	if (__builtin_expect(pf_record_key_size(sizes) != lookup->key_size ||
				     !pf_key_equal(record->data, lookup->key, lookup->key_size),
			     0))
		return pf_record_other(table, loc);
	/* of a larger one only the first page's state is asked: it does not change */
	last = pf_page_state(table->pages, loc + (size <= PF_INPLACE_MAX ? size - 1 : 0));
	last_seq = atomic_load_explicit(&last->seq, memory_order_acquire);
	if (__builtin_expect(((seq | last_seq) & 1) || pf_state_pending(table->pages, state) ||
				     pf_state_pending(table->pages, last) ||
				     record->crc != pf_record_crc(record, size, table->seed),
			     0))
		return PF_LOOK_LONG;
	lookup->size = value_size;
	memcpy(lookup->ret_value, record->data + lookup->key_size,
	       value_size < lookup->capacity ? value_size : lookup->capacity);
	atomic_thread_fence(memory_order_acquire);
	if (__builtin_expect((atomic_load_explicit(&state->seq, memory_order_relaxed) ^ seq) |
				     (atomic_load_explicit(&last->seq, memory_order_relaxed) ^ last_seq),
			     0))
		return PF_LOOK_LONG;
	return PF_LOOK_FOUND;
}

#endif
