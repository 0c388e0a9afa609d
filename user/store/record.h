/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * record.h - the journal's structures, checked. Pure functions over bytes in
 * memory: recovery, verify, tests and fuzzers share them.
 */
#ifndef PF_RECORD_H
#define PF_RECORD_H

#include "store/format.h"

#include <stdbool.h>
#include <stddef.h>

/** Sets the CRC of @header. */
void pf_group_seal(struct pf_group_header *header);
/** Whether @data (at least 64 bytes) is a sound group header of the store @uuid at position @pos. */
bool pf_group_check(const void *data, const uint8_t uuid[16], uint64_t pos, struct pf_group_header *ret_header);

/** Fills in LSN and CRCs of the record at @record; its body CRC is computed by pf_record_seal_body() beforehand. */
void pf_record_seal_body(void *record, uint64_t length);
void pf_record_seal(void *record, uint64_t lsn, uint64_t txn_id);

/**
 * Parses the record at @data, of which @size bytes are there, and which must have @lsn.
 * Every range of it lies inside the record; offsets are not judged.
 * Returns its length, or -EUCLEAN with words (torn, stale or damaged).
 */
int64_t pf_record_parse(const void *data, size_t size, uint64_t lsn, struct pf_record_header *ret_header);

/** Called for each range; non-zero ends the walk and is returned. */
typedef int (*pf_range_fn)(void *ctx, const struct pf_record_range *range, const uint8_t *data);
/** Walks the ranges of a record that pf_record_parse() accepted. */
int pf_record_foreach(const void *record, pf_range_fn fn, void *ctx);

/** Called for each sound record in LSN order; non-zero ends the parse and is returned. */
typedef int (*pf_record_fn)(void *ctx, const struct pf_record_header *header, const void *record);
/**
 * Parses a whole group of @size bytes at @data that stands at @pos: header, then records, of which
 * @fn sees each sound one. Returns the number of record bytes that were sound (all of them:
 * *ret_header's length), -EUCLEAN if the header is not, or what @fn returned.
 */
int64_t pf_journal_parse(const void *data, size_t size, const uint8_t uuid[16], uint64_t pos,
			 struct pf_group_header *ret_header, pf_record_fn fn, void *ctx);

static inline uint64_t pf_record_pad(uint64_t size)
{
	return (size + 7) & ~7ull;
}

#endif
