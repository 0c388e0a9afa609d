/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * rnd.h - a small seeded generator, so that a run can be repeated from its printed seed.
 */
#ifndef PF_TESTS_RND_H
#define PF_TESTS_RND_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct rnd {
	uint64_t state;
};

static inline uint64_t rnd_next(struct rnd *rnd)
{
	uint64_t z = rnd->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/** Uniform enough in [0, limit); limit > 0. */
static inline uint64_t rnd_below(struct rnd *rnd, uint64_t limit)
{
	return rnd_next(rnd) % limit;
}

/** A generator that is a function of four numbers. */
static inline struct rnd rnd_of(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	struct rnd rnd = { a };

	rnd.state = rnd_next(&rnd) ^ b;
	rnd.state = rnd_next(&rnd) ^ c;
	rnd.state = rnd_next(&rnd) ^ d;
	rnd_next(&rnd);
	return rnd;
}

/** Fills @size bytes with the generator's stream. */
static inline void rnd_fill(struct rnd *rnd, void *ret_data, size_t size)
{
	char *at = ret_data;

	while (size) {
		uint64_t word = rnd_next(rnd);
		size_t part = size < 8 ? size : 8;

		memcpy(at, &word, part);
		at += part;
		size -= part;
	}
}

#endif
