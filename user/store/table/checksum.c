/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * checksum.c - optional CRC32C of each 64 KiB of an object's extents.
 *
 * Taken while the data is bulk-loaded, and recorded when the object is created; only blocks that were written in
 * parts and out of order, and extents that a transaction wrote to, are read back for it. An extent that a
 * transaction changes later loses them (pf_catalog_extent_written()). Verify compares.
 */
#include "store/table/internal.h"

#include <stdlib.h>

_Static_assert(PINFOLD_EXTENT_MAX / PF_CHECKSUM_BLOCK * sizeof(uint32_t) <= PINFOLD_VALUE_MAX,
	       "the checksums of the largest extent fit a record");

/* Of what is there; with @writing, of what was written, as far as the store knows that. */
static int compute(struct pf_store *store, const struct pinfold_extent *extent, bool writing, uint32_t **ret_crcs)
{
	uint32_t count = extent->len / PF_CHECKSUM_BLOCK, *crcs;
	uint8_t *block;
	bool *known;
	int r = 0;

	crcs = calloc(count, sizeof(*crcs));
	known = calloc(count, sizeof(*known));
	block = malloc(PF_CHECKSUM_BLOCK);
	if (!crcs || !known || !block)
		r = pf_error(-ENOMEM, "checksums: no memory");
	else if (writing)
		r = pf_bulk_sums(store, extent, crcs, known);
	for (uint32_t i = 0; r == 0 && i < count; i++) {
		if (known[i])
			continue;
		r = pf_read_at(store, extent, (uint64_t)i * PF_CHECKSUM_BLOCK, block, PF_CHECKSUM_BLOCK);
		if (r == 0)
			crcs[i] = pf_crc32c(block, PF_CHECKSUM_BLOCK);
	}
	free(block);
	free(known);
	if (r) {
		free(crcs);
		return r;
	}
	*ret_crcs = crcs;
	return 0;
}

int pf_checksum_take(struct pf_store *store, const struct pinfold_extent *extent, uint32_t **ret_crcs)
{
	return compute(store, extent, true, ret_crcs);
}

int pf_catalog_extent_written(struct pf_store *store, const struct pinfold_extent *extent)
{
	struct pf_tables *tables = pf_tables_of(store);
	uint8_t key[PF_EXTENT_KEY_SIZE], byte;
	struct pf_table *table;
	size_t size;
	int r;

	if (!tables)
		return -EINVAL;
	r = pf_own_table(tables, PF_OWN_CHECKSUMS, false, &table);
	if (r == 0) {
		pf_extent_key(extent, key);
		r = pf_table_get(table, key, sizeof(key), &byte, sizeof(byte), &size);
		if (r == 0 || r == -ENOBUFS)
			r = pf_table_delete(table, key, sizeof(key));
	}
	return r == -ENOENT ? 0 : r;
}

/* Compares the record at hand with what its extent holds. */
static int record_verify(struct pf_verify *verify, const struct pinfold_record *record)
{
	struct pinfold_extent extent, now;
	enum pf_granule_state state;
	uint32_t *crcs, stored;
	int r;

	if (record->key_size != PF_EXTENT_KEY_SIZE)
		return pf_error(-EUCLEAN, "checksums: key of %zu bytes", record->key_size);
	memcpy(&extent.file_id, record->key, 4);
	memcpy(&extent.gen, (const char *)record->key + 4, 4);
	memcpy(&extent.offset, (const char *)record->key + 8, 8);
	r = pf_store_extent_at(verify->tables->store, extent.file_id, extent.offset, &now, &state);
	if (r == -EIO) {
		pf_verify_problem(verify, NULL, 0, "%s", pf_error_text());
		return 0;
	}
	if (r < 0 || now.gen != extent.gen || now.offset != extent.offset ||
	    record->value_size != now.len / PF_CHECKSUM_BLOCK * sizeof(uint32_t)) {
		pf_verify_problem(verify, NULL, 0,
				  "block checksums for an extent that does not exist (file %u, offset %llu)",
				  extent.file_id, (unsigned long long)extent.offset);
		return 0;
	}
	r = compute(verify->tables->store, &now, false, &crcs);
	if (r) {
		pf_verify_problem(verify, &now, 0, "cannot be read: %s", pf_error_text());
		return 0;
	}
	for (uint32_t i = 0; i < now.len / PF_CHECKSUM_BLOCK; i++) {
		memcpy(&stored, (const char *)record->value + i * sizeof(stored), sizeof(stored));
		if (stored != crcs[i])
			pf_verify_problem(verify, &now, (uint64_t)i * PF_CHECKSUM_BLOCK,
					  "object data: block checksum is %#x, recorded was %#x", crcs[i], stored);
	}
	free(crcs);
	pf_verify_progress(verify, now.len);
	return 0;
}

int pf_verify_checksums(struct pf_verify *verify)
{
	struct pinfold_record record;
	struct pf_cursor *cursor;
	struct pf_table *table;
	int r;

	r = pf_own_table(verify->tables, PF_OWN_CHECKSUMS, false, &table);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = pf_cursor_open(table, &cursor);
	if (r)
		return r;
	while ((r = pf_cursor_next(cursor, &record)) == 1) {
		r = record_verify(verify, &record);
		if (r < 0)
			break;
	}
	pf_cursor_close(cursor);
	return r;
}
