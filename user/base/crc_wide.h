/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * crc_wide.h - CRC32C by carry-less multiplication, for files that are compiled for AVX-512 and VPCLMULQDQ.
 *
 * DESIGN: a chain of crc32 instructions takes no long time, but each of them waits in the one queue of the one unit
 * that has them; those of a line and a record that are not there yet fill it, and nothing behind them is begun. So 64
 * bytes at once are multiplied by what 64 bytes more do to a remainder, and added to the next 64; at the end four
 * lanes become one, and two instructions are left.
 *
 * A constant is x^n modulo the polynomial, bits reversed, shifted left by one: n is the distance in bits, plus 32
 * for the first half of a lane, minus 32 for the second.
 */
#ifndef PF_CRC_WIDE_H
#define PF_CRC_WIDE_H

#include "base/crc.h"

#include <immintrin.h>

/* Four lanes of 16 bytes, each that much before the end, made one number and that a remainder. */
static inline __attribute__((always_inline)) uint32_t pf_crc32c_lanes(__m512i sum)
{
	/* the last lane goes nowhere: 32 and -32 bits only bring its halves together */
	const __m512i by_48_32_16_0 = _mm512_set_epi64(0x1ac21acfc, 0x105ec76f0, 0x14cd00bd6, 0xf20c0dfe, 0xba4fc28e,
						       0x1384aa63a, 0x1d82c63da, 0x1c291d04);
	__m256i half;
	__m128i lane;
	uint64_t wide;

	sum = _mm512_xor_si512(_mm512_clmulepi64_epi128(sum, by_48_32_16_0, 0x00),
			       _mm512_clmulepi64_epi128(sum, by_48_32_16_0, 0x11));
	half = _mm256_xor_si256(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1));
	lane = _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
	wide = _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(lane));
	return (uint32_t)_mm_crc32_u64(wide, (uint64_t)_mm_extract_epi64(lane, 1));
}

/* The first 64 bytes, and 64 more. */
static inline __attribute__((always_inline)) __m512i pf_crc32c_wide_begin(uint32_t state, __m512i data)
{
	return _mm512_xor_si512(data, _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)state)));
}

static inline __attribute__((always_inline)) __m512i pf_crc32c_wide_add(__m512i sum, __m512i data)
{
	const __m512i by_64 = _mm512_broadcast_i32x4(_mm_set_epi64x(0x9e4addf8, 0x740eef02));

	return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(sum, by_64, 0x00),
					 _mm512_clmulepi64_epi128(sum, by_64, 0x11), data, 0x96);
}

/** As pf_crc32c_words(), for @size of at least 64. */
static inline __attribute__((always_inline)) uint32_t pf_crc32c_wide(uint32_t state, const unsigned char *p,
								      size_t size)
{
	__m512i sum = pf_crc32c_wide_begin(state, _mm512_loadu_si512(p));

	for (p += 64, size -= 64; size >= 64; p += 64, size -= 64)
		sum = pf_crc32c_wide_add(sum, _mm512_loadu_si512(p));
	return pf_crc32c_words(pf_crc32c_lanes(sum), p, size);
}

/** The same of the 60 bytes behind the first four of @line. */
static inline __attribute__((always_inline)) uint32_t pf_crc32c_wide_line(uint32_t state, __m512i line)
{
	/* zeros before the first bytes change nothing */
	const __m512i rest =
		_mm512_and_si512(line, _mm512_set_epi64(-1, -1, -1, -1, -1, -1, -1, (long long)0xffffffff00000000));
	const __m128i begin = _mm_cvtsi64_si128((long long)((uint64_t)state << 32));

	return pf_crc32c_lanes(_mm512_xor_si512(rest, _mm512_zextsi128_si512(begin)));
}

#endif
