/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * get_wide.c - gets in a still store for processors with AVX-512 and VPCLMULQDQ. Compiled for them: nothing of it runs
 * on others but pf_get_wide(), which asks.
 */
#define PF_WIDE
#include "store/table/batch.h"
#include "store/table/get_still.h"

/* Sizes of values that the usual way is for: two pieces of 64 bytes, the first not whole, hold them. */
#define VALUE_MIN 65u
#define VALUE_MAX 128u

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

/* The others are zeros. */
static inline __attribute__((always_inline)) bool load_4(const void *at, __m512i *ret)
{
	__asm__ volatile goto("1: vmovd %1, %x0\n\t" PF_SIGBUS_ENTRY("fault")
			      : "=v"(*ret)
			      : "m"(*(const uint32_t *)at)
			      :
			      : fault);
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

/* As load_64(), of the bytes that @mask has; the others are zeros, and need not be there. */
static inline __attribute__((always_inline)) bool load_some(const void *at, __mmask64 mask, __m512i *ret)
{
	__asm__ volatile goto("1: vmovdqu8 %1, %0%{%2%}%{z%}\n\t" PF_SIGBUS_ENTRY("fault")
			      : "=v"(*ret)
			      : "m"(*(const __m512i_u *)at), "Yk"(mask)
			      :
			      : fault);
	return true;
fault:
	return false;
}

/* A word in the lowest of all places. */
static inline __attribute__((always_inline)) __m512i lowest(uint64_t word)
{
	__m512i wide;

	/* the compiler's own way clears once more what the instruction has cleared */
	__asm__("vmovq %1, %x0" : "=v"(wide) : "r"(word));
	return wide;
}

/*
 * What is known of a record before it is there, if it is the one: its sizes, and its checksum so far, as its key is
 * the caller's. Its value is taken as the 64 bytes that end with it, and what is left before them.
 */
struct expected {
	uint32_t sizes;
	__mmask64 mask; /* of the 64 bytes before the last, those of the value */
	__m512i state;  /* of the checksum, where the value begins */
};

static inline __attribute__((always_inline)) struct expected expect(const struct pf_table *table, const uint8_t *key,
								    size_t value_size)
{
	struct expected expected = { .sizes = pf_record_sizes(16, value_size) };
	uint64_t state = table->crc_state;

	__asm__("crc32l %1, %k0" : "+r"(state) : "r"(expected.sizes));
	state = pf_crc32c_word(pf_crc32c_word(state, key), key + 8);
	expected.mask = (__mmask64)(INT64_MIN >> ((value_size - VALUE_MIN) & 63));
	expected.state = _mm512_maskz_expand_epi8(expected.mask, lowest(state));
	return expected;
}

/*
 * The checksum of a line is one remainder, that of its record another. Here they are asked as one: behind the line's 60
 * bytes its checksum is added, which leaves nothing of them if it is right; what is left, if it is not, goes on into
 * the record's remainder, which then cannot be right.
 */
#define INVERTED 0xffffffffu
#define INVERTED_TWO 0x82764dbu /* the line's checksum is inverted: what 128 bytes more make of that; inverted */

/* record_take() or record_sized(). */
typedef bool take_fn(__m512i line, const uint64_t *word, const char *record, const struct expected *expected,
		     const uint8_t *key, uint8_t *ret_value, size_t value_size);

/* The record that @line, which stands at @word, leads to, if both are as expected, into the caller's buffer. */
static inline __attribute__((always_inline)) bool record_take(__m512i line, const uint64_t *word, const char *record,
							      const struct expected *expected, const uint8_t *key,
							      uint8_t *ret_value, size_t value_size)
{
	const char *value = record + 24, *last = value + value_size - 64;
	__m512i sum, part, crc;

	PF_SIGBUS_EXPECT("cmpl", expected->sizes, *(const uint32_t *)(record + 4), other);
	PF_SIGBUS_EXPECT("cmpq", pf_hash_load8(key), *(const uint64_t *)(record + 8), other);
	PF_SIGBUS_EXPECT("cmpq", pf_hash_load8(key + 8), *(const uint64_t *)(record + 16), other);
	if (!load_4(word, &crc) || !load_some(last - 64, expected->mask, &sum) || !load_64(value, &part))
		return false;
	_mm512_storeu_si512(ret_value, part);
	sum = _mm512_ternarylogic_epi64(pf_crc32c_wide_add(line, sum), expected->state, crc, 0x96);
	if (!load_64(last, &part))
		return false;
	_mm512_storeu_si512(ret_value + value_size - 64, part);
	sum = pf_crc32c_wide_add(sum, part);
	PF_SIGBUS_EXPECT("cmpl", pf_crc32c_lanes(sum) ^ INVERTED_TWO, *(const uint32_t *)record, other);
	return true;
other:
	return false;
}

/* The same for any size from 64 to 512. */
static inline __attribute__((always_inline)) bool record_sized(__m512i line, const uint64_t *word, const char *record,
							       const struct expected *expected, const uint8_t *key,
							       uint8_t *ret_value, size_t value_size)
{
	const char *value = record + 24, *end = value + value_size, *at = value - (-value_size & 63);
	__m512i sum, part, crc;

	PF_SIGBUS_EXPECT("cmpl", expected->sizes, *(const uint32_t *)(record + 4), other);
	PF_SIGBUS_EXPECT("cmpq", pf_hash_load8(key), *(const uint64_t *)(record + 8), other);
	PF_SIGBUS_EXPECT("cmpq", pf_hash_load8(key + 8), *(const uint64_t *)(record + 16), other);
	if (!load_4(word, &crc) || !load_some(at, expected->mask, &sum) || !load_64(value, &part))
		return false;
	_mm512_storeu_si512(ret_value, part);
	crc = _mm512_xor_si512(crc, lowest(INVERTED));
	sum = _mm512_ternarylogic_epi64(pf_crc32c_wide_add(line, sum), expected->state, crc, 0x96);
	for (at += 64; at < end; at += 64) {
		if (!load_64(at, &part))
			return false;
		_mm512_storeu_si512(ret_value + (at - value), part);
		sum = pf_crc32c_wide_add(sum, part);
	}
	PF_SIGBUS_EXPECT("cmpl", pf_crc32c_lanes(sum) ^ INVERTED, *(const uint32_t *)record, other);
	return true;
other:
	return false;
}

/* @line as its checksum is of it: without that, begun with seed and bucket. */
static inline __attribute__((always_inline)) __m512i line_begin(const struct pf_table *table, __m512i line,
								uint64_t bucket)
{
	const __m512i rest = _mm512_set_epi64(-1, -1, -1, -1, -1, -1, -1, (long long)0xffffffff00000000);
	const uint64_t begin = (uint64_t)(table->line_state - (uint32_t)bucket) << 32;

	return _mm512_ternarylogic_epi64(line, rest, lowest(begin), 0x6a);
}

/* Whether the line at @word is the one of its bucket that @hash belongs in. */
static inline __attribute__((always_inline)) bool line_own(const uint64_t *word, uint64_t bucket, uint64_t hash)
{
	uint64_t depth;

	PF_SIGBUS_LOAD("movzbq", "=r", depth, *((const uint8_t *)word + 4), fault);
	return _bzhi_u64(hash, (unsigned)depth) == bucket;
fault:
	return false;
}

/* Nothing in the line at @word has the tag: whether that is all. */
static inline __attribute__((always_inline)) bool absent(const struct pf_table *table, __m512i line,
							 const uint64_t *word, uint64_t bucket, uint64_t hash)
{
	uint64_t head;

	return pf_sigbus_load_8(word, &head) && !(head >> 40 & PF_LINE_LINKED) &&
	       (uint32_t)head == ~pf_crc32c_lanes(line_begin(table, line, bucket)) &&
	       _bzhi_u64(hash, (unsigned)(head >> 32)) == bucket;
}

/* Which words of @line have the tag of @hash; not the first, which is no entry. */
static inline __attribute__((always_inline)) unsigned tagged(const struct pf_table *table, __m512i line, uint64_t hash)
{
	/* turned so that the tag stands where entries have it */
	const uint64_t turned = hash << (PF_TAG_SHIFT - PF_TAG_LOW) | hash >> (64 - PF_TAG_SHIFT + PF_TAG_LOW);
	const __m512i differ = _mm512_xor_si512(line, _mm512_set1_epi64((long long)turned));
	unsigned mask = _mm512_testn_epi64_mask(differ, _mm512_set1_epi64((long long)table->tag_mask));

	__asm__("" : "+r"(mask)); /* it is moved once, not for each of its users */
	return mask & 0xfe;
}

/*
 * A key of 16 bytes, room for as much as the value has, of which @record takes records. No guard, no call,
 * hardly a store; nothing but branches waits for what the record says of its size. Each instruction counts: with a
 * dozen more the processor has one get less on its way while it waits for memory.
 */
static inline __attribute__((always_inline)) int get_by(take_fn *record, struct pf_table *table, const void *key,
							void *ret_value, size_t capacity, size_t *ret_size,
							uint32_t newest)
{
	uint64_t hash, bucket, entry;
	struct expected expected;
	const uint64_t *word;
	unsigned mask;
	__m512i line;
	uintptr_t at;

	hash = pf_hash_id(key, &table->hash_id);
	if (__builtin_expect(!pf_line_quick(table, hash, &bucket, &at), 0))
		goto any;
	expected = expect(table, key, capacity);
	word = (const uint64_t *)at;
	if (!load_64(word, &line))
		goto any;
	mask = tagged(table, line, hash);
	if (__builtin_expect(mask == 0, 0)) {
		if (!absent(table, line, word, bucket, hash) || !pf_pages_stayed(table->pages, newest))
			goto any;
		return -ENOENT; /* without words: misses are as frequent as hits, and formatting costs ten of them */
	}
	if (!pf_sigbus_load_8(word + _tzcnt_u32(mask), &entry) || !line_own(word, bucket, hash))
		goto any;
	entry &= table->loc_mask;
	if (entry >= atomic_load_explicit(&table->entry_end, memory_order_relaxed) ||
	    !record(line_begin(table, line, bucket), word, table->base + entry * 8, &expected, key, ret_value,
		    capacity) ||
	    !pf_pages_stayed(table->pages, newest))
		goto any;
	if (ret_size)
		*ret_size = capacity;
	return 0;
any:
	return wide_any(table, key, 16, ret_value, capacity, ret_size);
}

/* Values of other sizes than wide()'s, from 64 to 512 bytes. */
static __attribute__((noinline)) int wide_sized(struct pf_table *table, const void *key, size_t key_size,
						void *ret_value, size_t capacity, size_t *ret_size)
{
	uint32_t newest;

	if (__builtin_expect(key_size != 16 || capacity - 64 > 448 || !key || !pf_pages_still(table->pages, &newest),
			     0))
		return wide_any(table, key, key_size, ret_value, capacity, ret_size);
	return get_by(record_sized, table, key, ret_value, capacity, ret_size, newest);
}

/* The usual get. */
static __attribute__((noinline)) int wide(struct pf_table *table, const void *key, size_t key_size, void *ret_value,
					  size_t capacity, size_t *ret_size)
{
	uint32_t newest;

	if (__builtin_expect(key_size != 16 || capacity - VALUE_MIN > VALUE_MAX - VALUE_MIN || !key ||
				     !pf_pages_still(table->pages, &newest),
			     0))
		return wide_sized(table, key, key_size, ret_value, capacity, ret_size);
	return get_by(record_take, table, key, ret_value, capacity, ret_size, newest);
}

static size_t wide_batch(const struct pf_table *table, struct pinfold_get *gets, size_t count)
{
	return batch_run(table, gets, count, true);
}

bool pf_get_wide(pf_get_fn **ret_get, pf_batch_fn **ret_batch)
{
	if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
	    !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl") ||
	    !__builtin_cpu_supports("avx512vbmi2") || !__builtin_cpu_supports("vpclmulqdq") ||
	    !__builtin_cpu_supports("bmi2"))
		return false;
	*ret_get = wide;
	*ret_batch = wide_batch;
	return true;
}
