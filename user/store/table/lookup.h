/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lookup.h - the short way of a get beside writers, inline for its users (get.c, batch.c).
 *
 * DESIGN: what nearly every get meets is a line and a record in memory, whole, in place, and not being changed.
 * For that a get touches the line, its page's state, and the record, and nothing else; it makes no call, and has
 * no branch whose outcome the predictor cannot know. Whatever is not as usual is left to the long way,
 * pf_lookup_long(), which is complete. While nobody writes there is a shorter way (still.h).
 *
 *  1. A line is read between two looks at its page's sequence, and only if no commit of that page waits to be applied.
 *  2. Whoever finds an entry in place finds a record of its key behind it in place, as a transaction applies records
 *     before lines (writeset.c), and the slot is not used again inside our epoch. Its value may be changed meanwhile,
 *     if it is small (update.c): so it too is copied between two looks at its pages' sequences, if no commit waits
 *     there.
 *  3. Every line and every record is checked by its checksum, each time.
 *  4. A miss is believed only from a line without overflow lines, or if the first line of the chain is the same after
 *     the last as it was before.
 *  5. Nothing outside the table's extents is read: an entry leads below loc_end, and a record that crosses a
 *     granule's end goes the long way.
 */
#ifndef PF_TABLE_LOOKUP_H
#define PF_TABLE_LOOKUP_H

#include "store/table/internal.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define PF_NOWHERE UINT64_MAX

/* One search. The key's owner keeps it alive. */
struct pf_lookup {
	uint64_t hash;
	uint64_t bucket, loc; /* where the short way begins, and its line; PF_NOWHERE: it is closed */
	const void *key;
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

/* Inline whatever the compiler thinks: a call here costs as much as the work. */
#define PF_HOT static inline __attribute__((always_inline))

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

/* The bucket of @hash, as readers know the table. */
static inline uint64_t pf_bucket_place(uint64_t hash, uint64_t bucket_count)
{
	uint64_t mask = ~0ull >> __builtin_clzll(bucket_count), bucket = hash & mask;

	return bucket < bucket_count ? bucket : bucket & mask >> 1;
}

/* What a line says about a hash. */
struct pf_line_view {
	unsigned mask;  /* which entries have its tag: bit 2 i for entry i - 1 */
	uint64_t entry; /* the first of them */
	uint64_t head;  /* checksum, depth, flags, version: equal heads mean equal lines */
	uint64_t link;  /* of the next line, if pf_view_linked() */
};

static inline bool pf_view_linked(const struct pf_line_view *view)
{
	return view->head >> 40 & PF_LINE_LINKED;
}

/* Which entries of @line have the tag of @hash: bit 2 i for entry i - 1. */
PF_HOT unsigned pf_line_mask(const struct pf_line *line, uint64_t hash)
{
#ifdef __SSE2__
	const __m128i *from = (const __m128i *)line;
	__m128i tag = _mm_set1_epi64x((long long)pf_hash_tag(hash)), a, b;

	/* a tag fits the low half of its shifted word, the high half is 0 on both sides */
	a = _mm_packs_epi32(_mm_cmpeq_epi32(_mm_srli_epi64(_mm_load_si128(from), PF_TAG_SHIFT), tag),
			    _mm_cmpeq_epi32(_mm_srli_epi64(_mm_load_si128(from + 1), PF_TAG_SHIFT), tag));
	b = _mm_packs_epi32(_mm_cmpeq_epi32(_mm_srli_epi64(_mm_load_si128(from + 2), PF_TAG_SHIFT), tag),
			    _mm_cmpeq_epi32(_mm_srli_epi64(_mm_load_si128(from + 3), PF_TAG_SHIFT), tag));
	return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(a, b)) & 0x5554;
#else
	unsigned mask = 0;

	for (unsigned i = 0; i < PF_LINE_ENTRIES; i++)
		mask |= (unsigned)(line->entry[i] >> PF_TAG_SHIFT == pf_hash_tag(hash)) << (2 * i + 2);
	return mask;
#endif
}

/* False: the line at @loc is not whole in place, or not the one line of its bucket that @hash belongs in. */
PF_HOT bool pf_line_look(const struct pf_table *table, uint64_t loc, uint64_t bucket, uint64_t hash,
			 struct pf_line_view *ret_view)
{
	const struct pf_page_state *state = pf_page_state(table->pages, loc);
	const struct pf_line *line = (const struct pf_line *)(table->base + loc);
	uint32_t seq = atomic_load_explicit(&state->seq, memory_order_acquire);
	bool pending = pf_state_pending(table->pages, state);
	uint64_t head, entry, link;
	unsigned mask;
	uint32_t crc;

	head = __atomic_load_n((const uint64_t *)line, __ATOMIC_RELAXED);
	mask = pf_line_mask(line, hash);
	/* no branch on @mask: without a candidate this is some entry, or the head */
	entry = __atomic_load_n((const uint64_t *)line + (unsigned)__builtin_ctz(mask | 1u << 16) / 2 % 8,
				__ATOMIC_RELAXED);
	link = __atomic_load_n(&line->entry[PF_LINE_ENTRIES - 1], __ATOMIC_RELAXED);
	crc = pf_line_crc(line, table->seed, bucket);
	atomic_thread_fence(memory_order_acquire);
	if (__builtin_expect((seq & 1) | pending | (atomic_load_explicit(&state->seq, memory_order_relaxed) ^ seq), 0))
		return false;
	if (__builtin_expect((uint32_t)head != crc || (hash & ((1ull << (head >> 32 & 63)) - 1)) != bucket, 0))
		return false;
	ret_view->mask = mask;
	ret_view->entry = entry;
	ret_view->head = head;
	ret_view->link = link;
	return true;
}

/* As pf_line_look() for an overflow line. */
static __attribute__((noinline, unused)) bool pf_line_follow(const struct pf_table *table, uint64_t loc,
							     uint64_t bucket, uint64_t hash,
							     struct pf_line_view *ret_view)
{
	if (loc % PF_LINE_SIZE || loc >= atomic_load_explicit(&table->loc_end, memory_order_relaxed))
		return false;
	return pf_line_look(table, loc, bucket, hash, ret_view) && (ret_view->head >> 40 & PF_LINE_OVERFLOW);
}

/* Whether the first line of a chain, at @loc, still has @head. */
static __attribute__((noinline, unused)) bool pf_line_same(const struct pf_table *table, uint64_t loc, uint64_t bucket,
							   uint64_t hash, uint64_t head)
{
	struct pf_line_view view;

	return pf_line_look(table, loc, bucket, hash, &view) && view.head == head;
}

PF_HOT bool pf_key_equal(const void *key, const uint8_t *b, size_t size)
{
	const uint8_t *a = key;
	uint64_t x[2], y[2];

	if (size == 16) {
		memcpy(x, a, 16);
		memcpy(y, b, 16);
		return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
	}
	if (size > 32)
		return memcmp(a, b, size) == 0;
	for (; size >= 8; size -= 8, a += 8, b += 8) {
		memcpy(x, a, 8);
		memcpy(y, b, 8);
		if (x[0] != y[0])
			return false;
	}
	for (; size > 0; size--)
		if (*a++ != *b++)
			return false;
	return true;
}

enum pf_look { PF_LOOK_FOUND, PF_LOOK_OTHER, PF_LOOK_LONG };

/* Another key under our tag: or is it ours, damaged? */
static __attribute__((noinline, cold, unused)) enum pf_look pf_record_other(const struct pf_table *table, uint64_t loc)
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
PF_HOT enum pf_look pf_record_look(const struct pf_table *table, uint64_t loc, const void *key, size_t key_size,
				   void *ret_value, size_t capacity, size_t *ret_size)
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
	size = pf_record_size(key_size, value_size);
	if (__builtin_expect((loc & (PF_GRANULE_BYTES - 1)) + size > PF_GRANULE_BYTES, 0))
		return PF_LOOK_LONG;
	if (__builtin_expect(pf_record_key_size(sizes) != key_size || !pf_key_equal(key, record->data, key_size), 0))
		return pf_record_other(table, loc);
	/* of a larger one only the first page's state is asked: it does not change */
	last = pf_page_state(table->pages, loc + (size <= PF_INPLACE_MAX ? size - 1 : 0));
	last_seq = atomic_load_explicit(&last->seq, memory_order_acquire);
	if (__builtin_expect(((seq | last_seq) & 1) || pf_state_pending(table->pages, state) ||
				     pf_state_pending(table->pages, last) ||
				     record->crc != pf_record_crc(record, size, table->seed),
			     0))
		return PF_LOOK_LONG;
	*ret_size = value_size;
	if (value_size < capacity)
		capacity = value_size;
	if (__builtin_expect(capacity > 0, 1)) /* without room there may be no place either */
		memcpy(ret_value, record->data + key_size, capacity);
	atomic_thread_fence(memory_order_acquire);
	if (__builtin_expect((atomic_load_explicit(&state->seq, memory_order_relaxed) ^ seq) |
				     (atomic_load_explicit(&last->seq, memory_order_relaxed) ^ last_seq),
			     0))
		return PF_LOOK_LONG;
	return PF_LOOK_FOUND;
}

#endif
