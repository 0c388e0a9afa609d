/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * format.h - the bytes on disk. Documentation/on-disk-format.md draws them.
 *
 * Little-endian, naturally aligned. Every structure carries the store's uuid
 * or its own position under its CRC32C, so that a block of another store, of
 * another place or of an earlier turn of the journal is never taken for valid.
 */
#ifndef PF_FORMAT_H
#define PF_FORMAT_H

#include <assert.h>
#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the on-disk format is little-endian and written in place"
#endif

#define PF_FORMAT_VERSION 1u
#define PF_BLOCK_SIZE 4096u
#define PF_PAGE_SHIFT 12
#define PF_GRANULE_SHIFT 21
#define PF_GRANULE_SIZE (1ull << PF_GRANULE_SHIFT)
#define PF_ORDER_MAX 9 /* 1 GiB */
#define PF_FILE_SIZE_MIN (1ull << 30)
#define PF_FILE_SIZE_MAX (16ull << 40)
#define PF_FILE_COUNT_MAX 65536u
#define PF_JOURNAL_SIZE_MIN (16ull << 20)
#define PF_JOURNAL_SIZE_DEFAULT (256ull << 20)
#define PF_JOURNAL_SIZE_MAX (64ull << 30)
#define PF_SEGMENT_SIZE_MIN (1ull << 20)
#define PF_SEGMENT_SIZE_MAX (4ull << 30)
#define PF_SEGMENT_COUNT_MAX 4096u
#define PF_SEQUENCE_MAX (UINT64_MAX / 2)

#define PF_SUPER_MAGIC "PINFOLD1"
#define PF_DATA_MAGIC "PFDATA01"
#define PF_SEGMENT_MAGIC "PFJRNL01"
#define PF_GROUP_MAGIC "PFGROUP1"
#define PF_RECORD_MAGIC 0x43524650u /* "PFRC" */

/** One of two copies, at 0 and 4096 of `super`; the valid one with the higher sequence counts. */
struct pf_super_disk {
	char magic[8];
	uint32_t version;
	uint32_t crc;             /* of the 4096 bytes with this field 0 */
	uint64_t sequence;
	uint8_t uuid[16];
	uint64_t file_size;
	uint64_t extent_size;     /* default extent */
	uint32_t file_count;
	uint32_t clean;           /* 1: closed; nothing to replay */
	uint64_t root_offset;     /* root extent, 2 MiB */
	uint32_t root_file;
	uint32_t root_gen;
	uint64_t start_lsn;       /* replay begins with this LSN ... */
	uint64_t start_pos;       /* ... which stands at this journal position ... */
	uint64_t start_group;     /* ... in the group of this number */
	uint32_t epoch;           /* of the groups from start_pos on */
	uint32_t journal_generation; /* part of the segments' names */
	uint64_t segment_size;
	uint32_t segment_count;
	uint32_t group_blocks;    /* no group of this epoch has more blocks; 0: not stated */
	uint64_t next_txn_id;
	uint8_t reserved[PF_BLOCK_SIZE - 136];
};
static_assert(sizeof(struct pf_super_disk) == PF_BLOCK_SIZE, "superblock is one block");

/** First block of a data file. The granule table follows at PF_BLOCK_SIZE. */
struct pf_data_header {
	char magic[8];
	uint32_t version;
	uint32_t crc; /* of the 4096 bytes with this field 0 */
	uint8_t uuid[16];
	uint64_t file_size;
	uint32_t file_id;
	uint32_t granule_count;
	uint32_t meta_granules; /* granules that hold this header and the table */
	uint32_t reserved0;
	uint8_t reserved[PF_BLOCK_SIZE - 56];
};
static_assert(sizeof(struct pf_data_header) == PF_BLOCK_SIZE, "data file header is one block");

#define PF_ENTRY_FREE 0      /* with gen != 0: was allocated before */
#define PF_ENTRY_PUBLISHED 1

/** Of the granule an extent starts at. All zero: never used. */
struct pf_granule_entry {
	uint8_t state;
	uint8_t order; /* extent is 2 MiB << order */
	uint16_t flags;
	uint32_t gen;
	uint32_t reserved;
	uint32_t crc; /* of the 12 bytes before, the file id and the granule index (u32 each) */
};
static_assert(sizeof(struct pf_granule_entry) == 16, "granule entry");

/** First block of a journal segment. */
struct pf_segment_header {
	char magic[8];
	uint32_t version;
	uint32_t crc; /* of the 4096 bytes with this field 0 */
	uint8_t uuid[16];
	uint64_t segment_size;
	uint32_t generation;
	uint32_t index;
	uint32_t segment_count;
	uint32_t reserved0;
	uint8_t reserved[PF_BLOCK_SIZE - 56];
};
static_assert(sizeof(struct pf_segment_header) == PF_BLOCK_SIZE, "segment header is one block");

/** Starts a flush group, at a multiple of PF_BLOCK_SIZE; its records follow without a gap. */
struct pf_group_header {
	char magic[8];
	uint8_t uuid[16];
	uint64_t pos;       /* its own journal position */
	uint64_t number;    /* one more than the group before */
	uint64_t first_lsn;
	uint64_t length;    /* bytes of records; zeros fill the last block */
	uint32_t epoch;
	uint32_t crc;       /* of the 60 bytes before */
};
static_assert(sizeof(struct pf_group_header) == 64, "group header");

/** One transaction. @range_count times {pf_record_range, bytes, zeros to a multiple of 8} follow. */
struct pf_record_header {
	uint32_t magic;
	uint32_t crc;      /* of the 32 bytes after this field */
	uint64_t lsn;
	uint64_t txn_id;
	uint64_t length;   /* of the whole record, a multiple of 8 */
	uint32_t range_count;
	uint32_t body_crc; /* of everything after this header */
};
static_assert(sizeof(struct pf_record_header) == 40, "record header");

struct pf_record_range {
	uint64_t offset; /* in the data file */
	uint32_t file_id;
	uint32_t length; /* 1 .. 1 GiB */
};
static_assert(sizeof(struct pf_record_range) == 16, "record range");

#endif
