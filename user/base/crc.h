/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * crc.h - CRC32C (Castagnoli), as every on-disk structure of the engine uses it.
 */
#ifndef PF_CRC_H
#define PF_CRC_H

#include <isa-l/crc.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * Most of what is checked is a few words long, where a call would cost as much as the work: the instruction
 * itself then, if there is one. Larger pieces are the library's, which runs several chains side by side.
 */
#define PF_CRC_INLINE_MAX 256u

#ifdef __x86_64__
/* One load and a test. */
static inline int pf_crc32c_instruction(void)
{
	return __builtin_expect(__builtin_cpu_supports("sse4.2") != 0, 1);
}

static inline uint64_t pf_crc32c_word(uint64_t state, const unsigned char *p)
{
	__asm__("crc32q %1, %0" : "+r"(state) : "m"(*(const uint64_t(*)[1])p));
	return state;
}

/* The running state, neither begun nor ended with its inversion. */
static inline __attribute__((always_inline)) uint32_t pf_crc32c_words(uint32_t state, const unsigned char *p,
									  size_t size)
{
	uint64_t wide = state;
	uint32_t half;

	for (; size >= 64; size -= 64, p += 64) {
		wide = pf_crc32c_word(wide, p);
		wide = pf_crc32c_word(wide, p + 8);
		wide = pf_crc32c_word(wide, p + 16);
		wide = pf_crc32c_word(wide, p + 24);
		wide = pf_crc32c_word(wide, p + 32);
		wide = pf_crc32c_word(wide, p + 40);
		wide = pf_crc32c_word(wide, p + 48);
		wide = pf_crc32c_word(wide, p + 56);
	}
	if (size & 32) {
		wide = pf_crc32c_word(wide, p);
		wide = pf_crc32c_word(wide, p + 8);
		wide = pf_crc32c_word(wide, p + 16);
		wide = pf_crc32c_word(wide, p + 24);
		p += 32;
	}
	if (size & 16) {
		wide = pf_crc32c_word(wide, p);
		wide = pf_crc32c_word(wide, p + 8);
		p += 16;
	}
	if (size & 8) {
		wide = pf_crc32c_word(wide, p);
		p += 8;
	}
	state = (uint32_t)wide;
	if (size & 4) {
		memcpy(&half, p, 4);
		__asm__("crc32l %1, %0" : "+r"(state) : "rm"(half));
		p += 4;
	}
	for (size &= 3; size > 0; size--, p++)
		__asm__("crc32b %1, %0" : "+r"(state) : "rm"(*p));
	return state;
}
#else
static inline int pf_crc32c_instruction(void)
{
	return 0;
}
#endif

/** Continues @crc (0 to begin) over @size bytes of @data: update(update(0, a), b) == update(0, ab). */
static inline uint32_t pf_crc32c_update(uint32_t crc, const void *data, size_t size)
{
	const unsigned char *p = data;
	uint32_t state = ~crc;

	if (size <= PF_CRC_INLINE_MAX && pf_crc32c_instruction())
		return ~pf_crc32c_words(state, p, size);
	while (size > 0) { /* the library's length is an int */
		int step = size > (1u << 30) ? (int)(1u << 30) : (int)size;

		state = crc32_iscsi((unsigned char *)p, step, state);
		p += step;
		size -= (size_t)step;
	}
	return ~state;
}

static inline uint32_t pf_crc32c(const void *data, size_t size)
{
	return pf_crc32c_update(0, data, size);
}

#endif
