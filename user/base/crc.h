/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * crc.h - CRC32C (Castagnoli), as every on-disk structure of the engine uses it.
 */
#ifndef PF_CRC_H
#define PF_CRC_H

#include <isa-l/crc.h>
#include <stddef.h>
#include <stdint.h>

/** Continues @crc (0 to begin) over @size bytes of @data: update(update(0, a), b) == update(0, ab). */
static inline uint32_t pf_crc32c_update(uint32_t crc, const void *data, size_t size)
{
	const unsigned char *p = data;
	uint32_t state = ~crc;

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
