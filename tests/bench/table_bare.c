/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * table_bare.c - what the machine can do at most: the same records in a bare hash.
 *
 * A file beside the stores', mapped as they map theirs. A get loads one line, finds a 16-bit tag, compares the key and
 * copies the value: the two waits for memory that a get needs, and nothing else. No checksum, no writers, no
 * growth, no errors. Filled through the mapping, so that its pages are cached in the same sizes.
 */
#include "table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define ENTRIES 8u
#define RECORD 144u /* what a slot for such a record has */

struct line {
	uint16_t tag[ENTRIES];   /* 0: free */
	uint32_t index[ENTRIES]; /* of the record */
	uint32_t reserved[4];
};
_Static_assert(sizeof(struct line) == 64, "a cache line");

struct table_bare {
	uint64_t lines, records;
	size_t size;
	const struct line *line;
	const uint8_t *record;
};

static inline uint64_t hash_of(const uint8_t key[TABLE_KEY])
{
	uint64_t a, b;

	memcpy(&a, key, 8);
	memcpy(&b, key + 8, 8);
	a = (a ^ b) * 0x9e3779b97f4a7c15ull;
	return a ^ a >> 32;
}

static inline uint64_t line_of(const struct table_bare *bare, uint64_t hash)
{
	return (uint64_t)(((unsigned __int128)(hash * 0xbf58476d1ce4e5b9ull) * bare->lines) >> 64);
}

static inline uint16_t tag_of(uint64_t hash)
{
	return (uint16_t)hash | 1;
}

/* Bit 2 i: entry i has the tag. */
static inline unsigned match(const struct line *line, uint16_t tag)
{
#ifdef __SSE2__
	return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi16(_mm_load_si128((const __m128i *)line->tag),
							   _mm_set1_epi16((short)tag))) &
	       0x5555;
#else
	unsigned mask = 0;

	for (unsigned i = 0; i < ENTRIES; i++)
		mask |= (unsigned)(line->tag[i] == tag) << 2 * i;
	return mask;
#endif
}

static void insert(const struct table_bare *bare, struct line *lines, const uint8_t *key, uint32_t index)
{
	const uint64_t hash = hash_of(key);

	for (uint64_t at = line_of(bare, hash);; at = at + 1 == bare->lines ? 0 : at + 1)
		for (unsigned i = 0; i < ENTRIES; i++)
			if (lines[at].tag[i] == 0) {
				lines[at].tag[i] = tag_of(hash);
				lines[at].index[i] = index;
				return;
			}
}

struct table_bare *table_bare_open(const char *dir, uint64_t records, uint64_t step)
{
	struct table_bare *bare = calloc(1, sizeof(*bare));
	char path[600];
	uint8_t *map;
	int fd;

	if (!bare)
		bench_die("out of memory");
	bare->records = records;
	bare->lines = records * 4 / 13 + 1; /* as full as a table's */
	bare->size = (size_t)(bare->lines * sizeof(struct line) + records * RECORD);
	snprintf(path, sizeof(path), "%s/get-bare", dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || posix_fallocate(fd, 0, (off_t)bare->size) != 0)
		bench_die("%s: %s", path, strerror(errno));
	map = mmap(NULL, bare->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		bench_die("%s: %s", path, strerror(errno));
	madvise(map, bare->size, MADV_RANDOM);
	for (uint64_t i = 0; i < records; i++) {
		uint8_t *record = map + bare->lines * sizeof(struct line) + i * RECORD;

		table_key(2 * i, step, record);
		table_value(2 * i, record + TABLE_KEY);
		insert(bare, (struct line *)map, record, (uint32_t)i);
	}
	munmap(map, bare->size);
	if (fsync(fd) != 0)
		bench_die("%s: %s", path, strerror(errno));
	map = mmap(NULL, bare->size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		bench_die("%s: %s", path, strerror(errno));
	close(fd);
	unlink(path);
	bare->line = (const struct line *)map;
	bare->record = map + bare->lines * sizeof(struct line);
	return bare;
}

void table_bare_close(struct table_bare *bare)
{
	munmap((void *)bare->line, bare->size);
	free(bare);
}

/* Looks on in the lines behind @at; most often there is nothing to look for. */
static __attribute__((noinline)) const uint8_t *find_slow(const struct table_bare *bare, const uint8_t *key,
							   uint64_t hash, uint64_t at)
{
	for (;; at = at + 1 == bare->lines ? 0 : at + 1) {
		for (unsigned i = 0; i < ENTRIES; i++) {
			const uint8_t *record = bare->record + (uint64_t)bare->line[at].index[i] * RECORD;

			if (bare->line[at].tag[i] == 0)
				return NULL;
			if (bare->line[at].tag[i] == tag_of(hash) && memcmp(record, key, TABLE_KEY) == 0)
				return record;
		}
	}
}

static inline const uint8_t *find(const struct table_bare *bare, const uint8_t *key, uint64_t hash, uint64_t at)
{
	const struct line *line = &bare->line[at];
	unsigned mask = match(line, tag_of(hash));
	const uint8_t *record = bare->record + (uint64_t)line->index[(unsigned)__builtin_ctz(mask | 1u << 14) / 2] *
						       RECORD;

	if (__builtin_expect(mask == 0 && line->tag[ENTRIES - 1] == 0, 0))
		return NULL;
	if (__builtin_expect(memcmp(record, key, TABLE_KEY) != 0, 0))
		return find_slow(bare, key, hash, at);
	return record;
}

static inline bool take(const uint8_t *record, const struct table_want *want)
{
	uint8_t value[TABLE_VALUE];
	uint64_t word;

	if (!record)
		return false;
	memcpy(value, record + TABLE_KEY, TABLE_VALUE);
	__asm__ volatile("" : : "r"(value) : "memory"); /* the copy is made, as a get makes it */
	memcpy(&word, value + TABLE_VALUE - 8, 8);
	return word == want->word;
}

size_t table_bare_get(const struct table_bare *bare, const struct table_want *wants, size_t count)
{
	size_t found = 0;

	for (size_t i = 0; i < count; i++) {
		const uint64_t hash = hash_of(wants[i].key);

		found += take(find(bare, wants[i].key, hash, line_of(bare, hash)), &wants[i]);
	}
	return found;
}

#define GROUP 32u

size_t table_bare_get_batch(const struct table_bare *bare, const struct table_want *wants, size_t count)
{
	size_t found = 0;

	for (size_t i = 0; i < count; i += GROUP) {
		size_t n = count - i < GROUP ? count - i : GROUP;
		const uint8_t *record[GROUP];
		uint64_t hash[GROUP], at[GROUP];

		for (size_t k = 0; k < n; k++) {
			hash[k] = hash_of(wants[i + k].key);
			at[k] = line_of(bare, hash[k]);
			__builtin_prefetch(&bare->line[at[k]]);
		}
		for (size_t k = 0; k < n; k++) {
			const struct line *line = &bare->line[at[k]];
			unsigned mask = match(line, tag_of(hash[k]));

			record[k] = bare->record +
				    (uint64_t)line->index[(unsigned)__builtin_ctz(mask | 1u << 14) / 2] * RECORD;
			__builtin_prefetch(record[k]);
			__builtin_prefetch(record[k] + 64);
			__builtin_prefetch(record[k] + TABLE_KEY + TABLE_VALUE - 1);
		}
		for (size_t k = 0; k < n; k++)
			found += take(find(bare, wants[i + k].key, hash[k], at[k]), &wants[i + k]);
	}
	return found;
}
