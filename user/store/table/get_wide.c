/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * get_wide.c - gets in a still store for processors with AVX-512 and VPCLMULQDQ. Compiled for them: nothing of it runs
 * on others but pf_get_wide(), which asks.
 */
#define PF_WIDE
#include "store/table/batch.h"
#include "store/table/get_still.h"

/* A key of another size than 16. */
static PF_SIGBUS_FUNCTION int wide_varied(struct pf_table *table, const void *key, size_t key_size, void *ret_value,
				      size_t capacity, size_t *ret_size)
{
	if (__builtin_expect(key_size - 1 >= PINFOLD_KEY_MAX, 0))
		return pf_key_check(key, key_size);
	return get_still(table, key, key_size, ret_value, capacity, ret_size);
}

/* As wide(), for whatever that does not suffice for. */
static PF_SIGBUS_FUNCTION int wide_any(struct pf_table *table, const void *key, size_t key_size, void *ret_value,
				       size_t capacity, size_t *ret_size)
{
	if (__builtin_expect(key_size != 16, 0))
		return wide_varied(table, key, key_size, ret_value, capacity, ret_size);
	return get_still(table, key, 16, ret_value, capacity, ret_size);
}

static inline __attribute__((always_inline)) bool load_16(const void *at, __m128i *ret)
{
	PF_SIGBUS_LOAD("vmovdqu", "=x", *ret, *(const __m128i_u *)at, fault);
	return true;
fault:
	return false;
}

static inline __attribute__((always_inline)) bool load_64(const void *at, __m512i *ret)
{
	PF_SIGBUS_LOAD("vmovdqu64", "=v", *ret, *(const __m512i_u *)at, fault);
	return true;
fault:
	return false;
}

/* A record of the one size that it can be, into the caller's buffer, and its checksum asked there. */
static inline __attribute__((always_inline)) bool record_exact(const struct pf_table *table, const char *record,
							       const void *key, void *ret_value, size_t value_size)
{
	size_t left = sizeof(uint32_t) + 16 + value_size; /* that the checksum is of */
	uint8_t *out = ret_value;
	uint64_t head;
	__m512i sum, part;
	__m128i id;

	if (!pf_sigbus_load_8(record, &head) || (uint32_t)(head >> 32) != pf_record_sizes(16, value_size))
		return false;
	if (!load_16(record + 8, &id) ||
	    _mm_movemask_epi8(_mm_cmpeq_epi8(id, _mm_loadu_si128((const __m128i_u *)key))) != 0xffff)
		return false;
	for (size_t at = 0; at + 64 < value_size; at += 64) {
		if (!load_64(record + 24 + at, &part))
			return false;
		_mm512_storeu_si512(out + at, part);
	}
	if (!load_64(record + 24 + value_size - 64, &part))
		return false;
	_mm512_storeu_si512(out + value_size - 64, part);
	if (!load_64(record + 4, &sum))
		return false;
	sum = pf_crc32c_wide_begin(~(uint32_t)table->seed, sum);
	for (record += 68, left -= 64; left >= 64; record += 64, left -= 64) {
		if (!load_64(record, &part))
			return false;
		sum = pf_crc32c_wide_add(sum, part);
	}
	return (uint32_t)head == ~pf_crc32c_words(pf_crc32c_lanes(sum), out + value_size - left, left);
}

/* Whether @line, with its first word @head, is whole and the one of its bucket that @hash belongs in. */
static inline __attribute__((always_inline)) bool line_right(const struct pf_table *table, __m512i line, uint64_t head,
							     uint64_t bucket, uint64_t hash)
{
	return (uint32_t)head == ~pf_crc32c_wide_line(~(uint32_t)(table->seed + bucket), line) &&
	       _bzhi_u64(hash, (unsigned)(head >> 32)) == bucket;
}

/*
 * The usual get: a key of 16 bytes, room for as much as the value has. No guard, no call, hardly a store; nothing but
 * branches waits for what the record says of its size.
 */
static __attribute__((noinline)) int wide(struct pf_table *table, const void *key, size_t key_size, void *ret_value,
					  size_t capacity, size_t *ret_size)
{
	uint64_t hash, bucket, loc, head, entry;
	const uint64_t *word;
	uint32_t newest;
	unsigned mask;
	__m512i line;

	if (__builtin_expect(key_size != 16 || capacity - 64 > 448 || !key || !pf_pages_still(table->pages, &newest),
			     0))
		return wide_any(table, key, key_size, ret_value, capacity, ret_size);
	hash = pf_hash_id(key, &table->hash_id);
	if (__builtin_expect(!pf_line_quick(table, hash, &bucket, &loc), 0))
		goto any;
	word = (const uint64_t *)(table->base + loc);
	if (!pf_sigbus_load_8(word, &head) || !load_64(word, &line))
		goto any;
	mask = _mm512_mask_cmpeq_epi64_mask(0xfe, _mm512_srli_epi64(line, PF_TAG_SHIFT),
					    _mm512_set1_epi64((long long)pf_hash_tag(hash)));
	if (__builtin_expect(mask == 0, 0)) {
		if (!line_right(table, line, head, bucket, hash) || (head >> 40 & PF_LINE_LINKED) ||
		    !pf_pages_stayed(table->pages, newest))
			goto any;
		return -ENOENT; /* without words: misses are as frequent as hits, and formatting costs ten of them */
	}
	if (!pf_sigbus_load_8(word + _tzcnt_u32(mask), &entry))
		goto any;
	loc = pf_entry_loc(entry);
	if (!line_right(table, line, head, bucket, hash) ||
	    loc >= atomic_load_explicit(&table->loc_end, memory_order_relaxed) ||
	    (loc & (PF_GRANULE_BYTES - 1)) + pf_record_size(16, capacity) > PF_GRANULE_BYTES ||
	    !record_exact(table, table->base + loc, key, ret_value, capacity) ||
	    !pf_pages_stayed(table->pages, newest))
		goto any;
	if (ret_size)
		*ret_size = capacity;
	return 0;
any:
	return wide_any(table, key, 16, ret_value, capacity, ret_size);
}

static size_t wide_batch(const struct pf_table *table, struct pinfold_get *gets, size_t count)
{
	return batch_run(table, gets, count, true);
}

bool pf_get_wide(pf_get_fn **ret_get, pf_batch_fn **ret_batch)
{
	if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
	    !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl") ||
	    !__builtin_cpu_supports("vpclmulqdq") || !__builtin_cpu_supports("bmi2"))
		return false;
	*ret_get = wide;
	*ret_batch = wide_batch;
	return true;
}
