// SPDX-License-Identifier: GPL-2.0-only
#include "store/super.h"
#include "base/error.h"
#include "kselftest_harness.h"

#include <errno.h>

static void make(struct pf_super_disk *super, uint64_t sequence)
{
	*super = (struct pf_super_disk){
		.sequence = sequence,
		.file_size = 1ull << 30,
		.extent_size = 64ull << 20,
		.file_count = 1,
		.root_offset = 2ull << 20,
		.root_gen = 1,
		.segment_size = 4ull << 20,
		.segment_count = 4,
		.epoch = 1,
		.journal_generation = 1,
	};
	pf_super_seal(super);
}

TEST(newest_sound_copy_wins)
{
	struct pf_super_disk copies[2], got;
	int slot = -1;

	make(&copies[0], 8);
	make(&copies[1], 7);
	ASSERT_EQ(0, pf_super_parse(copies, sizeof(copies), &got, &slot));
	EXPECT_EQ(8, got.sequence);
	EXPECT_EQ(0, slot);
	copies[0].file_count = 2; /* a torn write */
	ASSERT_EQ(0, pf_super_parse(copies, sizeof(copies), &got, &slot));
	EXPECT_EQ(7, got.sequence);
	EXPECT_EQ(1, slot);
	copies[1].start_pos = 4096;
	EXPECT_EQ(-EUCLEAN, pf_super_parse(copies, sizeof(copies), &got, &slot));
	EXPECT_EQ(7, got.sequence); /* untouched on failure */
}

TEST(words_name_the_offset_of_each_copy)
{
	struct pf_super_disk copies[2], got;

	make(&copies[0], 8);
	make(&copies[1], 7);
	copies[0].magic[0] = 'x';
	copies[1].file_count = 2;
	ASSERT_EQ(-EUCLEAN, pf_super_parse(copies, sizeof(copies), &got, NULL));
	EXPECT_NE(NULL, strstr(pf_error_text(), "super: offset 0: no magic"));
	EXPECT_NE(NULL, strstr(pf_error_text(), "offset 4096: CRC is"));
	ASSERT_EQ(-EUCLEAN, pf_super_parse(copies, PF_BLOCK_SIZE, &got, NULL));
	EXPECT_NE(NULL, strstr(pf_error_text(), "offset 4096: the file ends at 4096"));
}

TEST(every_bit_is_covered)
{
	struct pf_super_disk super;
	uint8_t *bytes = (uint8_t *)&super;

	make(&super, 3);
	ASSERT_EQ(0, pf_super_check(&super));
	for (size_t bit = 0; bit < 8 * sizeof(super); bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		ASSERT_GT(0, pf_super_check(&super));
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

TEST(short_files_and_other_versions)
{
	struct pf_super_disk copies[2], got;

	make(&copies[0], 2);
	make(&copies[1], 1);
	EXPECT_EQ(-EUCLEAN, pf_super_parse(copies, 0, &got, NULL));
	EXPECT_EQ(-EUCLEAN, pf_super_parse(copies, PF_BLOCK_SIZE - 1, &got, NULL));
	EXPECT_EQ(0, pf_super_parse(copies, PF_BLOCK_SIZE, &got, NULL));
}

TEST(sealed_but_absurd_fields_are_refused)
{
	struct pf_super_disk super;

#define REFUSED(field, value)                                \
	do {                                                 \
		make(&super, 1);                             \
		super.field = (value);                       \
		pf_super_seal(&super);                       \
		EXPECT_EQ(-EUCLEAN, pf_super_check(&super)); \
	} while (0)
	REFUSED(file_size, (1ull << 30) + 4096);
	REFUSED(file_size, 0);
	REFUSED(extent_size, 3ull << 20);
	REFUSED(file_count, 0);
	REFUSED(file_count, PF_FILE_COUNT_MAX + 1);
	REFUSED(root_offset, 1ull << 30);
	REFUSED(root_file, 1);
	REFUSED(segment_size, 0);
	REFUSED(segment_count, 0);
	REFUSED(start_pos, 1);
	REFUSED(start_pos, UINT64_MAX - 4095);
	REFUSED(start_lsn, 4);
	REFUSED(group_blocks, UINT32_MAX);
	REFUSED(sequence, UINT64_MAX);
	REFUSED(sequence, PF_SEQUENCE_MAX + 1);
	REFUSED(segment_count, 3);                   /* 12 MiB in all */
	REFUSED(segment_count, PF_SEGMENT_COUNT_MAX + 1);
	REFUSED(segment_size, PF_SEGMENT_SIZE_MIN);  /* 4 MiB in all */
	make(&super, 1);
	super.segment_size = PF_SEGMENT_SIZE_MAX;
	super.segment_count = 16;
	pf_super_seal(&super);
	EXPECT_EQ(0, pf_super_check(&super));
	super.segment_count = 17;
	pf_super_seal(&super);
	EXPECT_EQ(-EUCLEAN, pf_super_check(&super));
}

TEST_HARNESS_MAIN
