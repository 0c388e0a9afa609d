/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A store whose superblock, journal or granule table holds anything: opened, verified,
 * read and closed, or refused with words; never a crash, a hang or a read outside.
 *
 * Input: one byte: bits 0-1 what is patched (journal, superblock, granule table, data header), bit 2: make
 * the checksums right again; then patches (fuzz.h).
 */
#include "fuzz.h"

#include "base/error.h"
#include "store/record.h"
#include "store/super.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOURNAL_BYTES (64u << 10)
#define TABLE_BYTES (PF_BLOCK_SIZE + 512 * sizeof(struct pf_granule_entry))

static char segment[64];
static struct pf_super_disk template_super;

static int fill(struct pf_store *store)
{
	struct pinfold_extent extents[2];
	struct pf_txn *txn;
	char bytes[3000];
	int r = 0;

	memset(bytes, 'x', sizeof(bytes));
	for (int i = 0; i < 8 && r == 0; i++) {
		r = pf_txn_begin(store, &txn);
		if (r == 0 && i < 2)
			r = pf_extent_alloc(store, 2u << 20 << i, 0, &extents[i]);
		if (r == 0 && i < 2)
			r = pf_txn_publish(txn, &extents[i]);
		for (int k = 0; k < 3 && r == 0; k++)
			r = pf_txn_write(txn, &extents[i & i / 2 & 1], (uint64_t)i * 5000 + k * 100, bytes,
					 1 + i * 300 + k);
		if (r == 0)
			r = pf_txn_commit(txn);
	}
	return r;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	uint8_t super[2 * PF_BLOCK_SIZE];

	fuzz_template_make(fill);
	fuzz_file_read(PF_SUPER_FILE, 0, super, sizeof(super));
	if (pf_super_parse(super, sizeof(super), &template_super, NULL) < 0)
		abort();
	snprintf(segment, sizeof(segment), "journal/%08u.000000", template_super.journal_generation);
	return 0;
}

static void seal_journal(uint8_t *bytes, size_t size)
{
	for (size_t at = 0; at + PF_BLOCK_SIZE <= size;) {
		struct pf_group_header header;
		size_t record_at = sizeof(header), group_size;

		memcpy(&header, bytes + at, sizeof(header));
		if (memcmp(header.magic, PF_GROUP_MAGIC, sizeof(header.magic)) != 0)
			return;
		pf_group_seal(&header);
		memcpy(bytes + at, &header, sizeof(header));
		group_size = header.length < size - at ? header.length + sizeof(header) : size - at;
		while (record_at + sizeof(struct pf_record_header) <= group_size) {
			struct pf_record_header record;

			memcpy(&record, bytes + at + record_at, sizeof(record));
			if (record.length < sizeof(record) || record.length % 8 ||
			    record.length > group_size - record_at)
				break;
			pf_record_seal_body(bytes + at + record_at, record.length);
			pf_record_seal(bytes + at + record_at, header.first_lsn + record_at - sizeof(header),
				       record.txn_id);
			record_at += record.length;
		}
		at += (group_size + PF_BLOCK_SIZE - 1) & ~(size_t)(PF_BLOCK_SIZE - 1);
	}
}

static void lay_over(const uint8_t *data, size_t size)
{
	static uint8_t bytes[JOURNAL_BYTES];
	bool sound = data[0] & 4;

	switch (data[0] & 3) {
	case 0:
		fuzz_file_read(segment, PF_BLOCK_SIZE, bytes, JOURNAL_BYTES);
		fuzz_patch(data + 1, size - 1, bytes, JOURNAL_BYTES, 1);
		if (sound)
			seal_journal(bytes, JOURNAL_BYTES);
		fuzz_file_write(segment, PF_BLOCK_SIZE, bytes, JOURNAL_BYTES);
		break;
	case 1:
		fuzz_file_read(PF_SUPER_FILE, 0, bytes, 2 * PF_BLOCK_SIZE);
		fuzz_patch(data + 1, size - 1, bytes, 2 * PF_BLOCK_SIZE, 1);
		for (int i = 0; i < 2 && sound; i++)
			pf_super_seal((struct pf_super_disk *)(bytes + i * PF_BLOCK_SIZE));
		fuzz_file_write(PF_SUPER_FILE, 0, bytes, 2 * PF_BLOCK_SIZE);
		break;
	default:
		fuzz_file_read("data.000000", 0, bytes, TABLE_BYTES);
		if ((data[0] & 3) == 2)
			fuzz_patch(data + 1, size - 1, bytes + PF_BLOCK_SIZE, TABLE_BYTES - PF_BLOCK_SIZE, 1);
		else
			fuzz_patch(data + 1, size - 1, bytes, PF_BLOCK_SIZE, 1);
		fuzz_file_write("data.000000", 0, bytes, TABLE_BYTES);
	}
}

static int look_at(void *ctx, const struct pinfold_extent *extent, bool published)
{
	static char bytes[8192];

	return pf_read_at(ctx, extent, extent->len - sizeof(bytes), bytes, sizeof(bytes)) == -EINVAL ? -1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pinfold_config config;
	struct pf_store *store;
	int r;

	if (size < 2)
		return 0;
	fuzz_store_reset();
	lay_over(data, size);
	fuzz_config(0, &config);
	pf_error_clear();
	r = pf_store_open(fuzz_store, &config, &store);
	if (r < 0) {
		if (!pf_error_text()[0])
			abort();
		return 0;
	}
	pf_extent_foreach(store, look_at, store);
	pf_store_verify(store, NULL, NULL, NULL);
	pf_store_close(store);
	return 0;
}
