/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lookup.h - the short way of a get, inline for its users (get.c, batch.c, read.c).
 *
 * DESIGN: what nearly every get meets is a line and a record in memory, whole, in place, and not being changed.
 * For that a get touches the line and the record; it makes no call, and has no branch whose outcome the predictor
 * cannot know. So the processor runs ahead into the next get while this one waits for memory: how far is a matter of
 * how few instructions, registers and stores a get takes. It comes in two kinds. If every commit of the store is
 * in the mapping (pf_pages_still()), that is all; if not, the states of the pages are looked at as well.
 * Whatever is not as usual is left to the long way, pf_lookup_long(), which is complete.
 *
 *  0. @still: the caller has asked pf_pages_still() before, and believes what it got only if pf_pages_stayed() after.
 *     Then 1 and 2 need no further look, and no epoch: a slot is used again by a transaction only.
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

#ifdef PF_WIDE
#include "base/crc_wide.h"
#elif defined(__SSE2__)
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

/*
 * As pf_bucket_place() and pf_line_place() in a third of the instructions. False: nobody asked for such a bucket yet.
 * Count and mask may be of different moments: a bucket in bounds comes out, and its depth tells that it is not the one.
 */
PF_HOT bool pf_line_quick(const struct pf_table *table, uint64_t hash, uint64_t *ret_bucket, uint64_t *ret_loc)
{
	const uint64_t mask = atomic_load_explicit(&table->bucket_mask, memory_order_acquire);
	uint64_t bucket = hash & mask, chunk;

	if (bucket >= atomic_load_explicit(&table->bucket_count, memory_order_acquire))
		bucket &= mask >> 1;
	chunk = atomic_load_explicit(&table->chunk[bucket >> PF_SEG0_SHIFT], memory_order_relaxed);
	*ret_bucket = bucket;
	*ret_loc = chunk + (bucket & ((1u << PF_SEG0_SHIFT) - 1)) * PF_LINE_SIZE;
	return chunk != 0;
}

/* Lets pf_line_quick() know where @bucket is, which readers have been told of: its segment is committed, and stays. */
static __attribute__((noinline, cold, unused)) void pf_chunk_learn(const struct pf_table *table, uint64_t bucket)
{
	uint64_t loc;

	if (pf_line_place(table, bucket & ~((1ull << PF_SEG0_SHIFT) - 1), &loc))
		atomic_store_explicit(&table->chunk[bucket >> PF_SEG0_SHIFT], loc, memory_order_relaxed);
}

/* What a line says about a hash. */
struct pf_line_view {
	unsigned mask;  /* which entries have its tag; 0: none */
	uint64_t entry; /* the first of them */
	uint64_t head;  /* checksum, depth, flags, version: equal heads mean equal lines */
	uint64_t link;  /* of the next line, if pf_view_linked() */
};

static inline bool pf_view_linked(const struct pf_line_view *view)
{
	return view->head >> 40 & PF_LINE_LINKED;
}

/* The low (@count & 63) bits of @word. */
PF_HOT uint64_t low_bits(uint64_t word, uint64_t count)
{
#ifdef PF_WIDE
	return _bzhi_u64(word, (unsigned)(count & 63));
#else
	return word & ((1ull << (count & 63)) - 1);
#endif
}

/* False: the line at @loc is not whole in place, or not the one line of its bucket that @hash belongs in. */
PF_HOT bool pf_line_look(const struct pf_table *table, uint64_t loc, uint64_t bucket, uint64_t hash, bool still,
			 struct pf_line_view *ret_view)
{
	const struct pf_page_state *state = pf_page_state(table->pages, loc);
	const struct pf_line *line = (const struct pf_line *)(table->base + loc);
	uint32_t seq = still ? 0 : atomic_load_explicit(&state->seq, memory_order_acquire);
	bool pending = !still && pf_state_pending(table->pages, state);
	uint64_t head, entry, link;
	unsigned mask = 0;
	uint32_t crc;

	head = __atomic_load_n((const uint64_t *)line, __ATOMIC_RELAXED);
#ifdef PF_WIDE
	mask = _mm512_cmpeq_epi64_mask(_mm512_srli_epi64(_mm512_load_si512(line), PF_TAG_SHIFT),
				       _mm512_set1_epi64((long long)pf_hash_tag(hash))) & 0xfe;
	entry = __atomic_load_n((const uint64_t *)line + (_tzcnt_u32(mask) & 7), __ATOMIC_RELAXED);
#else
#ifdef __SSE2__
	const __m128i *from = (const __m128i *)line;
	__m128i tag = _mm_set1_epi64x((long long)pf_hash_tag(hash)), a, b;

	/* a tag fits the low half of its shifted word, the high half is 0 on both sides */
	a = _mm_packs_epi32(_mm_cmpeq_epi32(_mm_srli_epi64(_mm_load_si128(from), PF_TAG_SHIFT), tag),
			    _mm_cmpeq_epi32(_mm_srli_epi64(_mm_load_si128(from + 1), PF_TAG_SHIFT), tag));
	b = _mm_packs_epi32(_mm_cmpeq_epi32(_mm_srli_epi64(_mm_load_si128(from + 2), PF_TAG_SHIFT), tag),
			    _mm_cmpeq_epi32(_mm_srli_epi64(_mm_load_si128(from + 3), PF_TAG_SHIFT), tag));
	mask = (unsigned)_mm_movemask_epi8(_mm_packs_epi16(a, b)) & 0x5554;
#else
	for (unsigned i = 0; i < PF_LINE_ENTRIES; i++)
		mask |= (unsigned)(line->entry[i] >> PF_TAG_SHIFT == pf_hash_tag(hash)) << (2 * i + 2);
#endif
	/* no branch on @mask: without a candidate this is some entry, or the head */
	entry = __atomic_load_n((const uint64_t *)line + (unsigned)__builtin_ctz(mask | 1u << 16) / 2 % 8,
				__ATOMIC_RELAXED);
#endif
	link = __atomic_load_n(&line->entry[PF_LINE_ENTRIES - 1], __ATOMIC_RELAXED);
	if (still)
		crc = ~pf_crc32c_words(~(uint32_t)(table->seed + bucket), &line->depth, PF_LINE_SIZE - sizeof(line->crc));
	else
		crc = pf_line_crc(line, table->seed, bucket);
	if (!still) {
		atomic_thread_fence(memory_order_acquire);
		seq = (seq & 1) | (atomic_load_explicit(&state->seq, memory_order_relaxed) ^ seq);
		if (__builtin_expect(pending | seq, 0))
			return false;
	}
	if (__builtin_expect((uint32_t)head != crc || low_bits(hash, head >> 32) != bucket, 0))
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
	return pf_line_look(table, loc, bucket, hash, false, ret_view) && (ret_view->head >> 40 & PF_LINE_OVERFLOW);
}

/* Whether the first line of a chain, at @loc, still has @head. */
static __attribute__((noinline, unused)) bool pf_line_same(const struct pf_table *table, uint64_t loc, uint64_t bucket,
							   uint64_t hash, uint64_t head)
{
	struct pf_line_view view;

	return pf_line_look(table, loc, bucket, hash, false, &view) && view.head == head;
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

/* memcpy() of what values mostly have, without its call. */
PF_HOT void pf_copy_value(void *to, const void *from, size_t size)
{
#ifdef PF_WIDE
	if (__builtin_expect(size - 64 <= 448, 1)) {
		const __m512i last = _mm512_loadu_si512((const char *)from + size - 64);

		for (size_t at = 0; at < size - 64; at += 64)
			_mm512_storeu_si512((char *)to + at, _mm512_loadu_si512((const char *)from + at));
		_mm512_storeu_si512((char *)to + size - 64, last);
		return;
	}
#elif defined(__SSE2__)
	if (__builtin_expect(size - 16 <= 240, 1)) {
		const char *in = (const char *)from + size;
		char *out = (char *)to + size;
		__m128i first = _mm_loadu_si128(from);

#define PF_COPY_CASE(n) \
	case (n): _mm_storeu_si128((__m128i *)(out - 16 * (n)), _mm_loadu_si128((const __m128i *)(in - 16 * (n)))); \
		__attribute__((fallthrough))
		switch ((size - 1) >> 4) {
		PF_COPY_CASE(15);
		PF_COPY_CASE(14);
		PF_COPY_CASE(13);
		PF_COPY_CASE(12);
		PF_COPY_CASE(11);
		PF_COPY_CASE(10);
		PF_COPY_CASE(9);
		PF_COPY_CASE(8);
		PF_COPY_CASE(7);
		PF_COPY_CASE(6);
		PF_COPY_CASE(5);
		PF_COPY_CASE(4);
		PF_COPY_CASE(3);
		PF_COPY_CASE(2);
		PF_COPY_CASE(1);
		default: break;
		}
#undef PF_COPY_CASE
		_mm_storeu_si128(to, first);
		return;
	}
#endif
	if (size > 0) /* without room there may be no place either */
		memcpy(to, from, size);
}

/* Where the instruction is there: whether @record, of @size bytes, has the checksum that it says. */
PF_HOT bool pf_record_whole(const struct pf_record *record, size_t size, uint64_t seed)
{
	const unsigned char *from = (const unsigned char *)&record->sizes;

	size -= sizeof(record->crc);
#ifdef PF_WIDE
	if (__builtin_expect(size - 64 <= 448, 1))
		return record->crc == ~pf_crc32c_wide(~(uint32_t)seed, from, size);
#endif
	if (__builtin_expect(size <= PF_CRC_INLINE_MAX, 1))
		return record->crc == ~pf_crc32c_few(~(uint32_t)seed, from, size);
	return record->crc == pf_crc32c_update((uint32_t)seed, from, size);
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
PF_HOT enum pf_look pf_record_look(const struct pf_table *table, uint64_t loc, const void *key, size_t key_size,
				   void *ret_value, size_t capacity, bool still, size_t *ret_size)
{
	const struct pf_page_state *state = pf_page_state(table->pages, loc), *last = state;
	const struct pf_record *record = (const struct pf_record *)(table->base + loc);
	uint32_t sizes, seq = 0, last_seq = 0;
	size_t size, value_size;

	if (__builtin_expect(loc >= atomic_load_explicit(&table->loc_end, memory_order_relaxed), 0))
		return PF_LOOK_LONG;
	if (!still)
		seq = atomic_load_explicit(&state->seq, memory_order_acquire);
	sizes = record->sizes;
	value_size = pf_record_value_size(sizes);
	size = pf_record_size(key_size, value_size);
	if (__builtin_expect((loc & (PF_GRANULE_BYTES - 1)) + size > PF_GRANULE_BYTES, 0))
		return PF_LOOK_LONG;
	if (__builtin_expect(pf_record_key_size(sizes) != key_size || !pf_key_equal(key, record->data, key_size), 0))
		return pf_record_other(table, loc);
	if (!still) {
		/* of a larger one only the first page's state is asked: it does not change */
		last = pf_page_state(table->pages, loc + (size <= PF_INPLACE_MAX ? size - 1 : 0));
		last_seq = atomic_load_explicit(&last->seq, memory_order_acquire);
		if (__builtin_expect(((seq | last_seq) & 1) || pf_state_pending(table->pages, state) ||
					     pf_state_pending(table->pages, last),
				     0))
			return PF_LOOK_LONG;
	}
	if (still ? !pf_record_whole(record, size, table->seed) :
		    record->crc != pf_record_crc(record, size, table->seed))
		return PF_LOOK_LONG;
	*ret_size = value_size;
	pf_copy_value(ret_value, record->data + key_size, value_size < capacity ? value_size : capacity);
	if (still)
		return PF_LOOK_FOUND;
	atomic_thread_fence(memory_order_acquire);
	seq ^= atomic_load_explicit(&state->seq, memory_order_relaxed);
	last_seq ^= atomic_load_explicit(&last->seq, memory_order_relaxed);
	return __builtin_expect(seq | last_seq, 0) ? PF_LOOK_LONG : PF_LOOK_FOUND;
}

#endif
