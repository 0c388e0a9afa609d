/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * words.h - copies that may meet other threads' copies of the same bytes.
 *
 * Both sides move aligned 8-byte words at once, in order, and what is not a whole word byte by byte. What a copy that
 * met another one has read is for its caller to find out (sequences, checksums) and to throw away.
 */
#ifndef PF_WORDS_H
#define PF_WORDS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/** Copies @size bytes to @to, which others may be reading. */
static inline void pf_words_store(void *to, const void *from, size_t size)
{
	uint8_t *out = to;
	const uint8_t *in = from;

	for (; size > 0 && ((uintptr_t)out & 7); size--)
		__atomic_store_n(out++, *in++, __ATOMIC_RELAXED);
	for (; size >= 8; size -= 8, out += 8, in += 8) {
		uint64_t word;

		memcpy(&word, in, 8);
		__atomic_store_n((uint64_t *)out, word, __ATOMIC_RELAXED);
	}
	for (; size > 0; size--)
		__atomic_store_n(out++, *in++, __ATOMIC_RELAXED);
}

/** Sets @size bytes at @to, which others may be reading, to zero. */
static inline void pf_words_zero(void *to, size_t size)
{
	uint8_t *out = to;

	for (; size > 0 && ((uintptr_t)out & 7); size--)
		__atomic_store_n(out++, 0, __ATOMIC_RELAXED);
	for (; size >= 8; size -= 8, out += 8)
		__atomic_store_n((uint64_t *)out, 0, __ATOMIC_RELAXED);
	for (; size > 0; size--)
		__atomic_store_n(out++, 0, __ATOMIC_RELAXED);
}

/** Copies @size bytes from @from, which others may be changing. */
static inline void pf_words_load(void *to, const void *from, size_t size)
{
	uint8_t *out = to;
	const uint8_t *in = from;

	for (; size > 0 && ((uintptr_t)in & 7); size--)
		*out++ = __atomic_load_n(in++, __ATOMIC_RELAXED);
	for (; size >= 8; size -= 8, out += 8, in += 8) {
		uint64_t word = __atomic_load_n((const uint64_t *)in, __ATOMIC_RELAXED);

		memcpy(out, &word, 8);
	}
	for (; size > 0; size--)
		*out++ = __atomic_load_n(in++, __ATOMIC_RELAXED);
}

#endif
