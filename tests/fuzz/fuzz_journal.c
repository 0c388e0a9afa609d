/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Any bytes as a journal group: parsed without harm; each record that is handed on lies within
 * the group, has the LSN of its place, and its ranges lie within it.
 *
 * Input: one byte of flags (1: seal the group, 2: seal the records), then the group.
 */
#include "fuzz.h"

#include "store/record.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t uuid[16] = "a store's uuid!";

struct walk {
	const uint8_t *start, *end;
	uint64_t lsn;
	const uint8_t *record_end;
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return 0;
}

static int see_range(void *ctx, const struct pf_record_range *range, const uint8_t *data)
{
	struct walk *walk = ctx;
	volatile uint8_t sum = 0;

	if (data < walk->start || range->length > (size_t)(walk->record_end - data))
		abort();
	for (uint32_t i = 0; i < range->length; i++)
		sum = (uint8_t)(sum + data[i]);
	return 0;
}

static int see_record(void *ctx, const struct pf_record_header *header, const void *record)
{
	struct walk *walk = ctx;
	const uint8_t *at = record;

	if (at < walk->start || header->length > (size_t)(walk->end - at) || header->lsn != walk->lsn)
		abort();
	walk->lsn += header->length;
	walk->record_end = at + header->length;
	return pf_record_foreach(record, see_range, walk);
}

/* Makes the checksums right along the chain that the lengths describe. */
static void seal(uint8_t *data, size_t size, bool group, bool records)
{
	struct pf_group_header header;
	size_t at = sizeof(header);

	memcpy(&header, data, sizeof(header));
	if (group) {
		memcpy(header.magic, PF_GROUP_MAGIC, sizeof(header.magic));
		memcpy(header.uuid, uuid, sizeof(header.uuid));
		pf_group_seal(&header);
		memcpy(data, &header, sizeof(header));
	}
	while (records && at + sizeof(struct pf_record_header) <= size) {
		struct pf_record_header record;

		memcpy(&record, data + at, sizeof(record));
		record.length &= ~7ull;
		if (record.length < sizeof(record) || record.length > size - at)
			record.length = (size - at) & ~7ull;
		memcpy(data + at, &record, sizeof(record));
		pf_record_seal_body(data + at, record.length);
		pf_record_seal(data + at, header.first_lsn + (at - sizeof(header)), record.txn_id);
		at += record.length;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pf_group_header header, given;
	struct walk walk;
	uint8_t *copy;
	int64_t sound;

	if (size < 1 + sizeof(header) || size > 1u << 20)
		return 0;
	copy = malloc(size - 1); /* exactly: a read beyond it is seen */
	if (!copy)
		return 0;
	memcpy(copy, data + 1, size - 1);
	seal(copy, size - 1, data[0] & 1, data[0] & 2);
	memcpy(&given, copy, sizeof(given));
	walk = (struct walk){ copy, copy + size - 1, given.first_lsn, NULL };
	sound = pf_journal_parse(copy, size - 1, uuid, given.pos, &header, see_record, &walk);
	if (sound >= 0 && ((uint64_t)sound > header.length || (uint64_t)sound > size - 1 - sizeof(header)))
		abort();
	if (sound >= 0 && walk.lsn != header.first_lsn + (uint64_t)sound)
		abort();
	free(copy);
	return 0;
}
