/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * format.h - record tables on disk. Documentation/on-disk-format-tables.md draws it.
 *
 * All integers are little-endian. Every structure says whether it is whole: the
 * larger ones by a CRC32C, single words by 16 check bits of their own.
 */
#ifndef PF_TABLE_FORMAT_H
#define PF_TABLE_FORMAT_H

#include "base/crc.h"

#include <pinfold/import.h>
#include <string.h>

#define PF_TABLE_VERSION 2u
#define PF_ROOT_MAGIC 0x3130305249444650ull  /* "PFDIR001" */
#define PF_TABLE_MAGIC 0x3130304c42544650ull /* "PFTBL001" */
#define PF_HEAP_MAGIC 0x3130305045484650ull  /* "PFHEP001" */

/* ---- table directory (root extent) ---- */

#define PF_SLOT_SIZE 2048u
#define PF_SLOT_COUNT 1023u /* slot 0 of the root extent is the directory's own header */
#define PF_SEGMENT_MAX 64u

struct pf_root_header {
	uint64_t magic;
	uint32_t version;
	uint32_t crc; /* of the 64 bytes, this field 0 */
	uint32_t slot_size;
	uint32_t slot_high; /* slots 1..slot_high have been used */
	uint64_t incarnation; /* of the table created last */
	uint8_t reserved[32];
};
_Static_assert(sizeof(struct pf_root_header) == 64, "root header");

/* What changes with nearly every insert, in a cache line of its own. */
struct pf_table_counts {
	uint32_t crc; /* of the 64 bytes, this field 0 */
	uint32_t reserved0;
	uint64_t bucket_count;
	uint64_t record_count;
	uint64_t key_bytes;
	uint64_t value_bytes;
	uint64_t overflow_count;
	uint64_t reserved[2];
};
_Static_assert(sizeof(struct pf_table_counts) == 64, "table counts");

enum pf_import_mode {
	PF_IMPORT_NONE,
	PF_IMPORT_PUTS, /* an import by puts is unfinished */
	PF_IMPORT_BULK, /* the table is being built: its heap holds records that no line leads to, or will */
};

struct pf_import_disk {
	uint32_t mode;
	uint32_t reserved;
	uint64_t source[2]; /* two hashes of its name */
	struct pinfold_import_mark mark;
};
_Static_assert(sizeof(struct pf_import_disk) == 88, "import state");

struct pf_table_header {
	uint64_t magic;
	uint32_t version;
	uint32_t crc; /* of everything before counts, this field 0 */
	uint32_t heap_count;
	uint32_t segment_count;
	uint64_t seed;        /* of the hash and of the checksums */
	uint64_t incarnation; /* never the same for two tables of a store */
	uint64_t created_unix_ms;
	struct pinfold_extent heap_last; /* head of the chain of heap extents */
	uint64_t reserved0;
	char name[64]; /* NUL-padded */
	uint8_t reserved1[48];
	struct pinfold_extent segment[PF_SEGMENT_MAX]; /* [0] lies in the first heap extent */
	struct pf_import_disk import;
	uint8_t reserved2[168];
	struct pf_table_counts counts;
};
_Static_assert(sizeof(struct pinfold_extent) == 24, "extent reference");
_Static_assert(sizeof(struct pf_table_header) == PF_SLOT_SIZE, "table header");
#define PF_COUNTS_OFFSET (PF_SLOT_SIZE - sizeof(struct pf_table_counts))

/* ---- buckets ---- */

#define PF_LINE_SIZE 64u
#define PF_LINE_ENTRIES 7u
#define PF_DEPTH_MIN 10u /* a table starts with 2^10 buckets; all-zero lines below that are empty buckets */
#define PF_BUCKETS_MIN (1ull << PF_DEPTH_MIN)
#define PF_CHAIN_MAX 255u

enum pf_line_flags {
	PF_LINE_LINKED = 1u << 0,   /* entry[6] is the location of the next line */
	PF_LINE_OVERFLOW = 1u << 1, /* not the first of its chain */
};

struct pf_line {
	uint32_t crc;    /* of the other 60 bytes, begun with seed + bucket */
	uint8_t depth;   /* the bucket holds the hashes that equal its number modulo 2^depth */
	uint8_t flags;
	uint16_t version; /* first line: changes whenever an entry moves between lines of the chain, or comes to several
			   */
	uint64_t entry[PF_LINE_ENTRIES];
};
_Static_assert(sizeof(struct pf_line) == PF_LINE_SIZE, "bucket line");

/* An entry: 20 tag bits (hash bits 10..29) above 44 bits of arena offset / 8; 0 is empty. */
#define PF_TAG_SHIFT 44
#define PF_TAG_LOW PF_DEPTH_MIN
#define PF_TAG_BITS 20u
#define PF_DEPTH_MAX (PF_TAG_LOW + PF_TAG_BITS) /* the tag tells every split: no record is read for it */
#define PF_LOC_MASK ((1ull << PF_TAG_SHIFT) - 1)

static inline uint64_t pf_entry_loc(uint64_t entry)
{
	return entry << (64 - PF_TAG_SHIFT) >>
	       (64 - PF_TAG_SHIFT - 3); /* (entry & PF_LOC_MASK) << 3, without a constant */
}

static inline uint64_t pf_hash_tag(uint64_t hash)
{
	return (hash >> PF_TAG_LOW) & ((1ull << PF_TAG_BITS) - 1);
}

static inline uint64_t pf_entry_make(uint64_t hash, uint64_t loc)
{
	return pf_hash_tag(hash) << PF_TAG_SHIFT | loc >> 3;
}

/* Bit @bit (PF_TAG_LOW <= bit < PF_DEPTH_MAX) of the hash behind @entry. */
static inline bool pf_entry_hash_bit(uint64_t entry, unsigned bit)
{
	return entry >> (PF_TAG_SHIFT + bit - PF_TAG_LOW) & 1;
}

static inline uint32_t pf_line_crc(const struct pf_line *line, uint64_t seed, uint64_t bucket)
{
	return pf_crc32c_update((uint32_t)(seed + bucket), &line->depth, PF_LINE_SIZE - sizeof(line->crc));
}

/*
 * Segments of the bucket array: 1 MiB (inside the first heap extent), 2 MiB, 2 x 2,
 * then each doubling in four parts: 4 x 2 MiB, 4 x 4 ... 4 x 256 MiB; then 1 GiB each.
 */
#define PF_SEG0_SHIFT 14u /* log2 of the lines in segment 0 */
#define PF_SEG_DOUBLINGS 11u
#define PF_SEG_TOP_SHIFT (PF_SEG0_SHIFT + PF_SEG_DOUBLINGS - 1)
#define PF_SEG_LINEAR 36u /* first segment of the 1 GiB ones */
#define PF_CHUNK_COUNT (1u << (29 - PF_SEG0_SHIFT)) /* runs of 2^14 buckets, each in one segment, below bucket 2^29 */
#define PF_BUCKETS_MAX                                                                                                 \
	((((1ull << PF_SEG_DOUBLINGS) - 1) << PF_SEG0_SHIFT) +                                                         \
	 ((uint64_t)(PF_SEGMENT_MAX - PF_SEG_LINEAR) << PF_SEG_TOP_SHIFT))

/* Of the segments that a bucket can be in, by the highest bit of (bucket + lines of segment 0) above PF_SEG0_SHIFT. */
struct pf_segment_run {
	uint32_t base;  /* bucket + lines of segment 0, of the first bucket of ... */
	uint16_t first; /* ... this segment */
	uint16_t shift; /* log2 of the lines in each */
};
#define PF_SEG_RUN_(doubling, number, lines) {1u << (PF_SEG0_SHIFT + (doubling)), (number), PF_SEG0_SHIFT + (lines)}
static const struct pf_segment_run pf_segment_runs[16] = {
	PF_SEG_RUN_(0, 0, 0),   PF_SEG_RUN_(1, 1, 1),   PF_SEG_RUN_(2, 2, 1),   PF_SEG_RUN_(3, 4, 1),
	PF_SEG_RUN_(4, 8, 2),   PF_SEG_RUN_(5, 12, 3),  PF_SEG_RUN_(6, 16, 4),  PF_SEG_RUN_(7, 20, 5),
	PF_SEG_RUN_(8, 24, 6),  PF_SEG_RUN_(9, 28, 7),  PF_SEG_RUN_(10, 32, 8), PF_SEG_RUN_(11, 36, 10),
	PF_SEG_RUN_(11, 36, 10), PF_SEG_RUN_(11, 36, 10), PF_SEG_RUN_(11, 36, 10), PF_SEG_RUN_(11, 36, 10),
};

/* @bucket < PF_BUCKETS_MAX or at least < 2^29: what a reader with a wrong idea can come to is in bounds. */
static inline unsigned pf_segment_of(uint64_t bucket, uint64_t *ret_line)
{
	uint64_t x = bucket + (1ull << PF_SEG0_SHIFT);
	const struct pf_segment_run *run = &pf_segment_runs[(63 - __builtin_clzll(x) - (int)PF_SEG0_SHIFT) & 15];

	x -= run->base;
	*ret_line = x & ((1ull << run->shift) - 1);
	return run->first + (unsigned)(x >> run->shift);
}

static inline uint64_t pf_segment_size(unsigned segment)
{
	unsigned shift;

	if (segment >= PF_SEG_LINEAR)
		shift = PF_SEG_TOP_SHIFT;
	else
		shift = segment < 4 ? PF_SEG0_SHIFT + (segment > 0) : PF_SEG0_SHIFT + segment / 4;
	return (uint64_t)PF_LINE_SIZE << shift;
}

/* ---- records ---- */

struct pf_record {
	uint32_t crc;   /* of sizes, key and value, begun with the seed's low half */
	uint32_t sizes; /* key_size | value_size << 11 */
	uint8_t data[]; /* key, then value */
};

static inline uint32_t pf_record_sizes(size_t key_size, size_t value_size)
{
	return (uint32_t)key_size | (uint32_t)value_size << 11;
}

static inline size_t pf_record_key_size(uint32_t sizes)
{
	return sizes & 0x7ff;
}

static inline size_t pf_record_value_size(uint32_t sizes)
{
	return sizes >> 11;
}

static inline size_t pf_record_size(size_t key_size, size_t value_size)
{
	return sizeof(struct pf_record) + key_size + value_size;
}

#define PF_RECORD_MAX (sizeof(struct pf_record) + PINFOLD_KEY_MAX + PINFOLD_VALUE_MAX)

static inline bool pf_record_sizes_valid(uint32_t sizes)
{
	size_t key_size = pf_record_key_size(sizes);

	return key_size >= 1 && key_size <= PINFOLD_KEY_MAX && pf_record_value_size(sizes) <= PINFOLD_VALUE_MAX;
}

/* @record holds its whole key and value, contiguous. */
static inline uint32_t pf_record_crc(const struct pf_record *record, size_t size, uint64_t seed)
{
	return pf_crc32c_update((uint32_t)seed, &record->sizes, size - sizeof(record->crc));
}

/* ---- heap extents ---- */

#define PF_UNIT_SHIFT 16u
#define PF_UNIT_SIZE (1u << PF_UNIT_SHIFT)
#define PF_UNIT_WORDS 43u /* 48 slots each: 2064 >= 65536 / 32 */
#define PF_WORD_BITS 48u
#define PF_SEG0_UNITS (pf_segment_size(0) >> PF_UNIT_SHIFT)
#define PF_SLOT_MIN 32u
#define PF_CLASS_COUNT 95u /* 1..94; 0 is a free unit */
#define PF_CLASS_LINE 5u   /* 64 bytes: overflow lines live there too */

struct pf_heap_header {
	uint64_t magic;
	uint32_t version;
	uint32_t crc; /* of the 64 bytes, this field 0 */
	uint64_t incarnation;
	uint32_t index;        /* in its table, from 0 */
	uint32_t unit_count;   /* units in the extent */
	uint32_t header_units; /* taken by header, unit words and bitmaps */
	uint32_t bucket_units; /* then taken by segment 0 (first heap extent only) */
	struct pinfold_extent prev; /* the heap extent before; len 0: none */
};
_Static_assert(sizeof(struct pf_heap_header) == 64, "heap header");

static inline uint64_t pf_unit_word_offset(uint32_t unit)
{
	return sizeof(struct pf_heap_header) + (uint64_t)unit * 8;
}

static inline uint64_t pf_bitmap_offset(uint32_t unit_count, uint32_t unit)
{
	return sizeof(struct pf_heap_header) + (uint64_t)unit_count * 8 + (uint64_t)unit * PF_UNIT_WORDS * 8;
}

static inline uint32_t pf_heap_header_units(uint32_t unit_count)
{
	return (uint32_t)((pf_bitmap_offset(unit_count, unit_count) + PF_UNIT_SIZE - 1) >> PF_UNIT_SHIFT);
}

/* A word of 48 bits with 16 check bits that know where it belongs; all zero is valid. */
static inline uint64_t pf_word_make(uint64_t bits, uint64_t seed, uint64_t loc)
{
	uint64_t input[2] = { bits, loc };
	uint32_t crc;

	if (bits == 0)
		return 0;
	crc = pf_crc32c_update((uint32_t)seed, input, sizeof(input));
	return bits | (uint64_t)((crc ^ crc >> 16) & 0xffff) << PF_WORD_BITS;
}

static inline uint64_t pf_word_bits(uint64_t word)
{
	return word & ((1ull << PF_WORD_BITS) - 1);
}

/* The word of a unit: class of its slab, which unit of the slab it is, units in the slab. */
static inline uint64_t pf_unit_bits(unsigned class, unsigned ordinal, unsigned run)
{
	return class | ordinal << 16 | run << 24;
}

/* Slot size of @class: 32..256 by 8, then eight steps per doubling. */
static inline uint32_t pf_class_size(unsigned class)
{
	unsigned k, i;

	if (class <= 29)
		return PF_SLOT_MIN + (class - 1) * 8;
	k = (class - 30) / 8;
	i = (class - 30) % 8 + 1;
	return (256u << k) + (256u << k) / 8 * i;
}

/* Smallest class whose slots hold @size bytes (size <= PF_RECORD_MAX). */
static inline unsigned pf_class_of(size_t size)
{
	unsigned k;
	size_t base, step;

	if (size <= PF_SLOT_MIN)
		return 1;
	if (size <= 256)
		return 1 + (unsigned)(size - PF_SLOT_MIN + 7) / 8;
	k = 63 - (unsigned)__builtin_clzll(size - 1) - 8;
	base = (size_t)256 << k;
	step = base / 8;
	return 29 + 8 * k + (unsigned)((size - base + step - 1) / step);
}

/* Units of a slab of @class: at most an eighth of a slab is lost at its end. */
static inline unsigned pf_class_run(unsigned class)
{
	uint32_t size = pf_class_size(class);

	return size <= 8192 ? 1 : size <= 16384 ? 2 : size <= 32768 ? 4 : 8;
}

static inline uint32_t pf_class_slots(unsigned class)
{
	return pf_class_run(class) * PF_UNIT_SIZE / pf_class_size(class);
}

/* ---- hash ---- */

static inline uint64_t pf_hash_fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t pf_hash_load8(const unsigned char *p)
{
	uint64_t value;

	memcpy(&value, p, 8);
	return value;
}

/* The last 0..16 bytes as two words: bytes may be in both, the length closes the gap. */
static inline void pf_hash_tail(const unsigned char *p, size_t size, uint64_t *ret_a, uint64_t *ret_b)
{
	uint32_t low, high;

	*ret_a = 0;
	*ret_b = 0;
	if (size >= 8) {
		*ret_a = pf_hash_load8(p);
		*ret_b = pf_hash_load8(p + size - 8);
	} else if (size >= 4) {
		memcpy(&low, p, 4);
		memcpy(&high, p + size - 4, 4);
		*ret_a = low;
		*ret_b = high;
	} else if (size > 0) {
		*ret_a = (uint64_t)p[0] << 16 | (uint64_t)p[size / 2] << 8 | p[size - 1];
	}
}

#define PF_HASH_K0 0x9e3779b97f4a7c15ull
#define PF_HASH_K1 0xbb67ae8584caa73bull
#define PF_HASH_K2 0x3c6ef372fe94f82bull

/* What pf_hash() of 16 bytes needs of a seed. */
struct pf_hash_id {
	uint64_t a, b, mix, size;
};

static inline struct pf_hash_id pf_hash_id_make(uint64_t seed)
{
	return (struct pf_hash_id){ PF_HASH_K1 ^ seed ^ PF_HASH_K0, PF_HASH_K2 ^ seed, PF_HASH_K2,
				    16 ^ PF_HASH_K0 ^ seed };
}

/* pf_hash() of 16 bytes. */
static inline uint64_t pf_hash_id(const unsigned char *p, const struct pf_hash_id *id)
{
	return pf_hash_fold(pf_hash_fold(pf_hash_load8(p) ^ id->a, pf_hash_load8(p + 8) ^ id->b) ^ id->mix,
			    id->size);
}

/*
 * Seeded 64-bit hash: two 64-bit words per round are whitened and folded through
 * a 64 x 64 -> 128 bit multiplication into the state; the length and a last
 * multiplication close it. Part of the format.
 */
static inline uint64_t pf_hash(const void *key, size_t size, uint64_t seed)
{
	const uint64_t k0 = PF_HASH_K0, k1 = PF_HASH_K1, k2 = PF_HASH_K2;
	const unsigned char *p = key;
	uint64_t state = seed ^ k0, a, b;
	size_t left = size;

	if (size == 16) { /* the rest, for what ids mostly are */
		state = pf_hash_fold(pf_hash_load8(p) ^ k1 ^ state, pf_hash_load8(p + 8) ^ k2 ^ seed);
		return pf_hash_fold(state ^ k2, 16 ^ k0 ^ seed);
	}
	for (; left > 16; left -= 16, p += 16)
		state = pf_hash_fold(pf_hash_load8(p) ^ k1 ^ state, pf_hash_load8(p + 8) ^ k2) + state;
	pf_hash_tail(p, left, &a, &b);
	state = pf_hash_fold(a ^ k1 ^ state, b ^ k2 ^ seed);
	return pf_hash_fold(state ^ k2, (uint64_t)size ^ k0 ^ seed);
}

#endif
