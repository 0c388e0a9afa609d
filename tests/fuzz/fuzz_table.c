/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A record table whose extents hold anything: get, put, delete, iterate, verify and reopen end,
 * without a crash and without a read or a write outside; damage is an error with words.
 *
 * Input: one byte: bit 0: patch the directory in the root extent, else the table's first heap
 * extent; bits 1-2: unit of places (1, 4, 16, 64); bit 3: verify first; bit 4: make the checksums
 * of all that was changed right again; then patches (fuzz.h).
 */
#include "fuzz.h"

#include "base/error.h"
#include "store/table/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORDS 60

static uint64_t heap_offset, root_offset;
static uint8_t template_bytes[2][2u << 20];
static uint64_t seed; /* the table's */

static int fill(struct pf_store *store)
{
	struct pinfold_config config;
	struct pf_table *table;
	char value[900];
	int r;

	memset(value, 'v', sizeof(value));
	fuzz_config(PINFOLD_OPEN_CREATE, &config);
	r = pf_tables_open(store, &config);
	if (r == 0)
		r = pf_table_open(store, "fuzz", PINFOLD_TABLE_CREATE, &table);
	for (uint32_t i = 0; i < RECORDS && r == 0; i++)
		r = pf_table_put(table, &i, sizeof(i), value, i * 15);
	if (r == 0)
		r = pf_store_checkpoint(store);
	pf_tables_close(store);
	/* and closed: an open need not replay anything */
	return r == 0 ? pf_store_close(store) : r;
}

static int find_heap(void *ctx, const struct pinfold_extent *extent, bool published)
{
	struct pinfold_extent root;

	pf_store_root(ctx, &root);
	if (extent->offset == root.offset)
		root_offset = extent->offset;
	else if (!heap_offset)
		heap_offset = extent->offset;
	return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct pinfold_config config;
	struct pf_store *store;

	fuzz_template_make(fill);
	fuzz_config(0, &config);
	if (pf_store_open(fuzz_store, &config, &store) < 0)
		abort();
	pf_extent_foreach(store, find_heap, store);
	if (pf_store_close(store) < 0 || !heap_offset || !root_offset)
		abort();
	fuzz_file_read("data.000000", heap_offset, template_bytes[0], sizeof(template_bytes[0]));
	fuzz_file_read("data.000000", root_offset, template_bytes[1], sizeof(template_bytes[1]));
	memcpy(&seed, template_bytes[1] + PF_SLOT_SIZE + offsetof(struct pf_table_header, seed), sizeof(seed));
	return 0;
}

static void seal_directory(uint8_t *bytes)
{
	struct pf_root_header *root = (struct pf_root_header *)bytes;
	struct pf_table_header *header = (struct pf_table_header *)(bytes + PF_SLOT_SIZE);

	root->crc = 0;
	root->crc = pf_crc32c(root, sizeof(*root));
	header->crc = pf_table_header_crc(header);
	header->counts.crc = pf_table_counts_crc(&header->counts);
}

static void seal_lines(uint8_t *bytes, uint64_t start)
{
	for (uint64_t i = 0; i < 1ull << PF_SEG0_SHIFT; i++) {
		uint64_t at = start + i * PF_LINE_SIZE;
		struct pf_line line;

		if (memcmp(bytes + at, template_bytes[0] + at, PF_LINE_SIZE) == 0)
			continue;
		memcpy(&line, bytes + at, sizeof(line));
		line.crc = pf_line_crc(&line, seed, i);
		memcpy(bytes + at, &line, sizeof(line));
	}
}

/* Records where the template has them. */
static void seal_records(uint8_t *bytes, uint64_t start)
{
	for (uint64_t i = 0; i < PF_BUCKETS_MIN; i++) {
		struct pf_line line;

		memcpy(&line, template_bytes[0] + start + i * PF_LINE_SIZE, sizeof(line));
		for (unsigned k = 0; k < PF_LINE_ENTRIES; k++) {
			uint64_t at = pf_entry_loc(line.entry[k]);
			struct pf_record *record;
			size_t size;

			if (at < heap_offset || at - heap_offset > sizeof(template_bytes[0]) - PF_SLOT_MIN)
				continue;
			at -= heap_offset;
			record = (struct pf_record *)(bytes + at);
			if (!pf_record_sizes_valid(record->sizes))
				continue;
			size = pf_record_size(pf_record_key_size(record->sizes), pf_record_value_size(record->sizes));
			if (at + size <= sizeof(template_bytes[0]))
				record->crc = pf_record_crc(record, size, seed);
		}
	}
}

static void seal_heap(uint8_t *bytes)
{
	struct pf_heap_header *header = (struct pf_heap_header *)bytes;
	const struct pf_heap_header *given = (const struct pf_heap_header *)template_bytes[0];
	uint64_t start = (uint64_t)given->header_units << PF_UNIT_SHIFT;

	header->crc = 0;
	header->crc = pf_crc32c(header, sizeof(*header));
	for (uint64_t at = sizeof(*header); at < start; at += 8) {
		uint64_t word;

		memcpy(&word, bytes + at, 8);
		word = pf_word_make(pf_word_bits(word), seed, heap_offset + at);
		memcpy(bytes + at, &word, 8);
	}
	seal_lines(bytes, start);
	seal_records(bytes, start);
}

static void use_table(struct pf_table *table)
{
	static char value[PINFOLD_VALUE_MAX];
	struct pinfold_record record;
	struct pf_cursor *cursor;
	uint64_t seen = 0;
	size_t size;

	for (uint32_t i = 0; i < RECORDS; i += 7)
		if (pf_table_get(table, &i, sizeof(i), value, sizeof(value), &size) == 0 && size > PINFOLD_VALUE_MAX)
			abort();
	if (pf_cursor_open(table, &cursor) == 0) {
		while (pf_cursor_next(cursor, &record) == 1) {
			volatile uint8_t last = 0;

			if (record.key_size > PINFOLD_KEY_MAX || record.value_size > PINFOLD_VALUE_MAX)
				abort();
			if (record.key_size)
				last = ((const uint8_t *)record.key)[record.key_size - 1];
			if (record.value_size)
				last = ((const uint8_t *)record.value)[record.value_size - 1];
			(void)last;
			if (++seen > 1u << 20) /* the bucket array has no room for that many: it runs in a circle */
				abort();
		}
		pf_cursor_close(cursor);
	}
	for (uint32_t i = 0; i < 24; i++) {
		uint32_t key = i * 5;

		if (i % 3)
			pf_table_put(table, &key, sizeof(key), value, i * 40);
		else
			pf_table_delete(table, &key, sizeof(key));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t bytes[sizeof(template_bytes[0])];
	struct pinfold_config config;
	struct pf_store *store;
	struct pf_table *table;
	unsigned which;

	if (size < 2)
		return 0;
	which = data[0] & 1;
	fuzz_store_reset();
	memcpy(bytes, template_bytes[which], sizeof(bytes));
	fuzz_patch(data + 1, size - 1, bytes, sizeof(bytes), (size_t)1 << (data[0] >> 1 & 3) * 2);
	if (data[0] & 16 && which)
		seal_directory(bytes);
	else if (data[0] & 16)
		seal_heap(bytes);
	fuzz_file_write("data.000000", which ? root_offset : heap_offset, bytes, sizeof(bytes));
	fuzz_config(0, &config);
	if (pf_store_open(fuzz_store, &config, &store) < 0)
		abort(); /* the store below is sound */
	if (pf_tables_open(store, &config) == 0) {
		if (data[0] & 8)
			pf_table_verify(store, NULL, NULL, NULL);
		if (pf_table_open(store, "fuzz", PINFOLD_TABLE_CREATE, &table) == 0) {
			use_table(table);
			pf_table_close(table);
		}
		pf_table_verify(store, NULL, NULL, NULL);
		pf_tables_close(store);
	}
	pf_store_close(store);
	return 0;
}
