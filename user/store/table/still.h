/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * still.h - lines and records of a still store: one in which every commit is in the mapping (pf_pages_still()).
 *
 * DESIGN: then a line and a record are simply what stands there. What is found is believed only if the store stayed
 * still (pf_pages_stayed()); that also says that no slot was freed and used again meanwhile, as a transaction does
 * that: so there is no need of an epoch. Compiled with PF_WIDE, for processors with AVX-512.
 *
 *  1. The processor runs ahead into the next get while this one waits for memory, until it has no place left for what
 *     waits. So of what depends on a line or a record there is little, and what can be is done by the vector unit,
 *     whose queues are longer. Branches are free, as long as they go where they always go.
 *  2. Every line and every record is checked by its checksum, each time. (get_wide.c asks both remainders as one:
 *     if one of them is wrong that is seen as ever, two wrong ones escape if they are the same, one time in 2^32.)
 *  3. Nothing outside the table's extents is read: an entry leads below loc_end, and a record that crosses a
 *     granule's end goes the long way; in get_wide.c one that might end beyond loc_end does. (An entry of 0 leads to
 *     the first file's header: no record.)
 */
#ifndef PF_TABLE_STILL_H
#define PF_TABLE_STILL_H

#include "store/table/lookup.h"

#ifdef PF_WIDE
#include "base/crc_wide.h"
#endif

/*
 * As pf_bucket_place() and pf_line_place() in a third of the instructions. False: nobody asked for such a bucket yet.
 * Count and mask may be of different moments: a bucket in bounds comes out, and its depth tells that it is not the one.
 */
PF_HOT bool pf_line_quick(const struct pf_table *table, uint64_t hash, uint64_t *ret_bucket, uintptr_t *ret_line)
{
	uint64_t bucket = hash & atomic_load_explicit(&table->bucket_mask, memory_order_acquire),
		 half = bucket & atomic_load_explicit(&table->bucket_half, memory_order_relaxed);
	uintptr_t chunk;

	if (bucket >= atomic_load_explicit(&table->bucket_count, memory_order_acquire))
		bucket = half;
	chunk = atomic_load_explicit(&table->chunk[bucket >> PF_SEG0_SHIFT], memory_order_relaxed);
	*ret_bucket = bucket;
	*ret_line = chunk + bucket * PF_LINE_SIZE;
	return chunk != 0;
}

/* Lets pf_line_quick() know where @bucket is, which readers have been told of: its segment is committed, and stays. */
static __attribute__((noinline, cold, unused)) void pf_chunk_learn(const struct pf_table *table, uint64_t bucket)
{
	uint64_t loc;

	if (pf_line_place(table, bucket, &loc))
		atomic_store_explicit(&table->chunk[bucket >> PF_SEG0_SHIFT],
				      (uintptr_t)table->base + loc - bucket * PF_LINE_SIZE, memory_order_relaxed);
}

/* What a line says about a hash. */
struct pf_still_view {
	unsigned mask;  /* which entries have its tag; 0: none */
	uint64_t entry; /* the first of them */
	uint64_t head;  /* checksum, depth, flags, version */
	uint64_t link;  /* of the next line, if the flags say so */
};

#ifdef PF_WIDE

/* False: the line at @loc is not whole, or not the one line of its bucket that @hash belongs in. */
PF_HOT bool pf_line_still(const struct pf_table *table, uint64_t loc, uint64_t bucket, uint64_t hash,
			  struct pf_still_view *ret_view)
{
	const uint64_t *word = (const uint64_t *)(table->base + loc);
	const __m512i line = _mm512_load_si512(word);
	const __m512i tag = _mm512_set1_epi64((long long)pf_hash_tag(hash));
	uint32_t crc;

	ret_view->mask = _mm512_cmpeq_epi64_mask(_mm512_srli_epi64(line, PF_TAG_SHIFT), tag) & 0xfe;
	ret_view->entry = word[_tzcnt_u32(ret_view->mask) & 7];
	ret_view->head = word[0];
	ret_view->link = word[PF_LINE_ENTRIES];
	crc = ~pf_crc32c_wide_line(~(uint32_t)(table->seed + bucket), line);
	return __builtin_expect((uint32_t)ret_view->head == crc, 1) &&
	       __builtin_expect(_bzhi_u64(hash, (unsigned)(ret_view->head >> 32)) == bucket, 1);
}

/* memcpy() of what values mostly have, without its call. */
PF_HOT void pf_copy_value(void *to, const void *from, size_t size)
{
	if (__builtin_expect(size - 64 <= 448, 1)) {
		const __m512i last = _mm512_loadu_si512((const char *)from + size - 64);

		for (size_t at = 0; at < size - 64; at += 64)
			_mm512_storeu_si512((char *)to + at, _mm512_loadu_si512((const char *)from + at));
		_mm512_storeu_si512((char *)to + size - 64, last);
	} else if (size > 0) { /* without room there may be no place either */
		memcpy(to, from, size);
	}
}

PF_HOT uint32_t pf_still_crc(uint32_t state, const unsigned char *p, size_t size)
{
	return __builtin_expect(size - 64 <= 448, 1) ? pf_crc32c_wide(state, p, size)
						     : ~pf_crc32c_update(~state, p, size);
}

#else

PF_HOT bool pf_line_still(const struct pf_table *table, uint64_t loc, uint64_t bucket, uint64_t hash,
			  struct pf_still_view *ret_view)
{
	const struct pf_line *line = (const struct pf_line *)(table->base + loc);
	const uint64_t head = __atomic_load_n((const uint64_t *)line, __ATOMIC_RELAXED);
	uint32_t crc = pf_crc32c_words(~(uint32_t)(table->seed + bucket), &line->depth,
				       PF_LINE_SIZE - sizeof(line->crc));

	ret_view->mask = pf_line_mask(line, hash);
	/* no branch: without a candidate this is some entry, or the head */
	ret_view->entry = ((const uint64_t *)line)[(unsigned)__builtin_ctz(ret_view->mask | 1u << 16) / 2 % 8];
	ret_view->head = head;
	ret_view->link = line->entry[PF_LINE_ENTRIES - 1];
	return __builtin_expect((uint32_t)head == ~crc && (hash & ((1ull << (head >> 32 & 63)) - 1)) == bucket, 1);
}

PF_HOT void pf_copy_value(void *to, const void *from, size_t size)
{
	if (__builtin_expect(size > 0, 1))
		memcpy(to, from, size);
}

PF_HOT uint32_t pf_still_crc(uint32_t state, const unsigned char *p, size_t size)
{
	return ~pf_crc32c_update(~state, p, size);
}

#endif

PF_HOT bool pf_key_still(const void *key, const uint8_t *data, size_t size)
{
#ifdef __SSE2__
	if (size == 16)
		return _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(key), _mm_loadu_si128((const void *)data))) ==
		       0xffff;
#endif
	return pf_key_equal(key, data, size);
}

/* The record of @key at @loc with a value of @value_size, of which @room bytes are wanted. False: the long way. */
PF_HOT bool pf_record_take(const struct pf_table *table, uint64_t loc, const void *key, size_t key_size,
			   size_t value_size, void *ret_value, size_t room)
{
	const struct pf_record *record = (const struct pf_record *)(table->base + loc);
	const size_t size = pf_record_size(key_size, value_size);

	if (__builtin_expect((loc & (PF_GRANULE_BYTES - 1)) + size > PF_GRANULE_BYTES, 0) ||
	    __builtin_expect(!pf_key_still(key, record->data, key_size), 0) ||
	    __builtin_expect(record->crc != ~pf_still_crc(~(uint32_t)table->seed, (const uint8_t *)&record->sizes,
							  size - sizeof(record->crc)),
			     0))
		return false;
	pf_copy_value(ret_value, record->data + key_size, room);
	return true;
}

static __attribute__((noinline, unused)) bool pf_record_varied(const struct pf_table *table, uint64_t loc,
							       const void *key, size_t key_size, size_t value_size,
							       void *ret_value, size_t room)
{
	return pf_record_take(table, loc, key, key_size, value_size, ret_value, room);
}

/*
 * The record at @loc, found and delivered; false: something is not as usual. A value as large as the caller has
 * room for is what most ask for: then nothing but a branch waits for the record's word of its size.
 */
PF_HOT bool pf_record_still(const struct pf_table *table, uint64_t loc, const void *key, size_t key_size,
			    void *ret_value, size_t capacity, size_t *ret_size)
{
	const struct pf_record *record = (const struct pf_record *)(table->base + loc);
	size_t value_size;
	uint32_t sizes;

	if (__builtin_expect(loc >= atomic_load_explicit(&table->loc_end, memory_order_relaxed), 0))
		return false;
	sizes = record->sizes;
	if (__builtin_expect(sizes == pf_record_sizes(key_size, capacity) && capacity <= PINFOLD_VALUE_MAX, 1)) {
		*ret_size = capacity;
		return pf_record_take(table, loc, key, key_size, capacity, ret_value, capacity);
	}
	value_size = pf_record_value_size(sizes);
	*ret_size = value_size;
	return pf_record_key_size(sizes) == key_size &&
	       pf_record_varied(table, loc, key, key_size, value_size, ret_value,
				value_size < capacity ? value_size : capacity);
}

#endif
