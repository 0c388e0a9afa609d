// SPDX-License-Identifier: GPL-2.0-only
/* Records and groups as bytes: what is written is read back, what is not whole is refused. */
#include "store/record.h"
#include "kselftest_harness.h"

#include <errno.h>
#include <pinfold/types.h>
#include <string.h>

static const uint8_t uuid[16] = { 1, 2, 3 }, other_uuid[16] = { 1, 2, 4 };

static size_t make_record(uint8_t *at, uint64_t lsn, uint64_t txn_id, const char *text)
{
	struct pf_record_header *header = (struct pf_record_header *)at;
	struct pf_record_range range = { .offset = 4096 * txn_id, .file_id = 7, .length = (uint32_t)strlen(text) };
	size_t size = sizeof(*header) + 2 * (sizeof(range) + pf_record_pad(range.length));

	memset(at, 0, size);
	for (int i = 0; i < 2; i++) {
		uint8_t *p = at + sizeof(*header) + (size_t)i * (sizeof(range) + pf_record_pad(range.length));

		memcpy(p, &range, sizeof(range));
		memcpy(p + sizeof(range), text, range.length);
	}
	header->length = size;
	header->range_count = 2;
	pf_record_seal_body(at, size);
	pf_record_seal(at, lsn, txn_id);
	return size;
}

static size_t make_group(uint8_t *at, uint64_t pos, uint64_t first_lsn)
{
	struct pf_group_header header = { .pos = pos, .number = 9, .first_lsn = first_lsn, .epoch = 3 };
	size_t size = sizeof(header);

	memset(at, 0, 4096);
	for (uint64_t i = 0; i < 3; i++)
		size += make_record(at + size, first_lsn + size - sizeof(header), i,
				    i == 1 ? "a longer text of some bytes" : "short");
	header.length = size - sizeof(header);
	memcpy(header.magic, PF_GROUP_MAGIC, 8);
	memcpy(header.uuid, uuid, 16);
	pf_group_seal(&header);
	memcpy(at, &header, sizeof(header));
	return size;
}

struct seen {
	int records, ranges;
	uint64_t last_lsn;
};

static int see_range(void *ctx, const struct pf_record_range *range, const uint8_t *data)
{
	struct seen *seen = ctx;

	seen->ranges += range->file_id == 7 && (memcmp(data, "short", 5) == 0 || memcmp(data, "a longer", 8) == 0);
	return 0;
}

static int see_record(void *ctx, const struct pf_record_header *header, const void *record)
{
	struct seen *seen = ctx;

	seen->records++;
	seen->last_lsn = header->lsn;
	return pf_record_foreach(record, see_range, ctx);
}

TEST(round_trip)
{
	static _Alignas(8) uint8_t block[4096];
	struct pf_group_header header;
	struct seen seen = { 0 };
	size_t size = make_group(block, 8192, 640);

	EXPECT_EQ((int64_t)(size - sizeof(header)),
		  pf_journal_parse(block, sizeof(block), uuid, 8192, &header, see_record, &seen));
	EXPECT_EQ(3, seen.records);
	EXPECT_EQ(6, seen.ranges);
	EXPECT_EQ(9, header.number);
	EXPECT_EQ(3, header.epoch);
}

TEST(elsewhere_or_of_another_store_is_stale)
{
	static _Alignas(8) uint8_t block[4096];
	struct pf_group_header header;
	struct seen seen = { 0 };

	make_group(block, 8192, 640);
	EXPECT_EQ(-EUCLEAN, pf_journal_parse(block, sizeof(block), uuid, 4096, &header, see_record, &seen));
	EXPECT_EQ(-EUCLEAN, pf_journal_parse(block, sizeof(block), other_uuid, 8192, &header, see_record, &seen));
	EXPECT_EQ(0, seen.records);
}

/* Cut anywhere: whole records before the cut come out, in order, and nothing else. */
TEST(torn_at_every_byte)
{
	static _Alignas(8) uint8_t block[4096];
	struct pf_group_header header;
	size_t size = make_group(block, 0, 0);
	int before = 0;

	for (size_t cut = 0; cut <= size; cut++) {
		struct seen seen = { 0 };
		int64_t sound = pf_journal_parse(block, cut, uuid, 0, &header, see_record, &seen);

		ASSERT_EQ(cut < sizeof(header), sound < 0);
		ASSERT_GE(seen.records, before);
		ASSERT_LE(seen.records, before + 1);
		ASSERT_EQ(2 * seen.records, seen.ranges);
		before = seen.records;
	}
	EXPECT_EQ(3, before);
}

/* Any flipped bit stops the parse in or before the record that it hit. */
TEST(flipped_at_every_bit)
{
	static _Alignas(8) uint8_t block[4096];
	struct pf_group_header header;
	size_t size = make_group(block, 0, 0);

	for (size_t bit = 0; bit < 8 * size; bit++) {
		struct seen seen = { 0 };
		int64_t sound;

		block[bit / 8] ^= (uint8_t)(1 << bit % 8);
		sound = pf_journal_parse(block, sizeof(block), uuid, 0, &header, see_record, &seen);
		block[bit / 8] ^= (uint8_t)(1 << bit % 8);
		ASSERT_LT(seen.records, 3);
		if (sound >= 0)
			ASSERT_LE((size_t)sound, bit / 8 - sizeof(header));
	}
}

TEST(wrong_lsn_is_refused)
{
	static _Alignas(8) uint8_t block[4096];
	struct pf_record_header header;
	size_t size = make_record(block, 64, 1, "text");

	EXPECT_EQ((int64_t)size, pf_record_parse(block, sizeof(block), 64, &header));
	EXPECT_EQ(-EUCLEAN, pf_record_parse(block, sizeof(block), 72, &header));
	EXPECT_EQ(-EUCLEAN, pf_record_parse(block, size - 1, 64, &header));
}

/* Ranges that lie about their length, under a right CRC. */
TEST(lying_ranges_are_refused)
{
	static _Alignas(8) uint8_t block[4096];
	struct pf_record_header *header = (struct pf_record_header *)block, out;
	struct pf_record_range *range = (struct pf_record_range *)(header + 1);
	const uint32_t lies[] = { 0, 1, 4096, 1u << 30, (1u << 30) + 1, UINT32_MAX };
	size_t size = make_record(block, 0, 1, "sixteen bytes...");

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		range->length = lies[i];
		pf_record_seal_body(block, size);
		pf_record_seal(block, 0, 1);
		EXPECT_EQ(-EUCLEAN, pf_record_parse(block, sizeof(block), 0, &out));
	}
	range->length = 16;
	header->range_count = UINT32_MAX;
	pf_record_seal(block, 0, 1);
	EXPECT_EQ(-EUCLEAN, pf_record_parse(block, sizeof(block), 0, &out));
}

TEST_HARNESS_MAIN
