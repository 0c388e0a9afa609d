// SPDX-License-Identifier: GPL-2.0-only
/* The arithmetic of the format: classes, segments, words, hash. */
#include "store/table/format.h"
#include "store/table/table.h"

#include "kselftest_harness.h"

TEST(classes_are_tight_and_complete)
{
	unsigned last = 0;

	for (size_t size = 1; size <= PF_RECORD_MAX; size++) {
		unsigned class = pf_class_of(size);

		ASSERT_LT(0, class);
		ASSERT_LT(class, PF_CLASS_COUNT);
		ASSERT_LE(size, pf_class_size(class));
		ASSERT_TRUE(class == 1 || pf_class_size(class - 1) < size);
		ASSERT_TRUE(class == last || class == last + 1);
		ASSERT_TRUE(size < 64 || pf_class_size(class) <= size + size / 8 + 8);
		last = class;
	}
	ASSERT_EQ(PF_LINE_SIZE, pf_class_size(PF_CLASS_LINE));
	for (unsigned class = 1; class < PF_CLASS_COUNT; class++) {
		uint64_t slab = (uint64_t)pf_class_run(class) * PF_UNIT_SIZE;

		ASSERT_LE(pf_class_slots(class), PF_UNIT_WORDS * PF_WORD_BITS);
		ASSERT_LE(slab - (uint64_t)pf_class_slots(class) * pf_class_size(class), slab / 8);
	}
}

TEST(segments_cover_the_buckets_without_gaps)
{
	uint64_t bucket = 0, line;

	for (unsigned segment = 0; segment < PF_SEGMENT_MAX; segment++) {
		uint64_t lines = pf_segment_size(segment) / PF_LINE_SIZE;

		ASSERT_EQ(segment, pf_segment_of(bucket, &line));
		ASSERT_EQ(0, line);
		ASSERT_EQ(segment, pf_segment_of(bucket + lines - 1, &line));
		ASSERT_EQ(lines - 1, line);
		ASSERT_LE(pf_segment_size(segment), PINFOLD_EXTENT_MAX);
		bucket += lines;
	}
	ASSERT_EQ(PF_BUCKETS_MAX, bucket);
	ASSERT_LT(PF_BUCKETS_MAX, 1ull << PF_DEPTH_MAX);
}

TEST(words_notice_every_flipped_bit_and_their_place)
{
	uint64_t word = pf_word_make(0x123456789abcull, 42, 4096);

	EXPECT_EQ(0, pf_word_make(0, 42, 4096));
	EXPECT_EQ(0x123456789abcull, pf_word_bits(word));
	EXPECT_NE(word, pf_word_make(0x123456789abcull, 42, 4104));
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t flipped = word ^ 1ull << bit;

		EXPECT_NE(flipped, pf_word_make(pf_word_bits(flipped), 42, 4096));
	}
}

TEST(hash_is_stable_and_spreads)
{
	unsigned char key[64];
	uint32_t counts[1024] = { 0 };
	double worst = 0;

	for (int i = 0; i < 64; i++)
		key[i] = (unsigned char)i;
	/* Part of the on-disk format: these values may never change. */
	EXPECT_EQ(16458499853602252762ull, pf_hash(key, 16, 7));
	EXPECT_EQ(9219264256326871897ull, pf_hash(key, 3, 7));
	EXPECT_EQ(14411192935169953153ull, pf_hash(key, 61, 7));
	/* Each input bit flips about half of the output bits, for keys of every tail length. */
	for (size_t size = 1; size <= 40; size++) {
		for (size_t bit = 0; bit < size * 8; bit++) {
			unsigned flips = 0;

			for (uint64_t seed = 1; seed <= 16; seed++) {
				uint64_t a = pf_hash(key, size, seed * 0x1234567), b;

				key[bit / 8] ^= 1u << bit % 8;
				b = pf_hash(key, size, seed * 0x1234567);
				key[bit / 8] ^= 1u << bit % 8;
				flips += __builtin_popcountll(a ^ b);
			}
			ASSERT_LT(16 * 20, flips);
			ASSERT_LT(flips, 16 * 44);
		}
	}
	/* Counting keys, the commonest of all, fill buckets evenly: chi squared over 1023 degrees of freedom. */
	for (uint32_t i = 0; i < 1024 * 256; i++)
		counts[pf_hash(&i, sizeof(i), 99) % 1024]++;
	for (int i = 0; i < 1024; i++)
		worst += (counts[i] - 256.0) * (counts[i] - 256.0) / 256.0;
	EXPECT_LT(worst, 1023 + 5 * 45.2);
	EXPECT_GT(worst, 1023 - 5 * 45.2);
	/* Length counts: trailing zeros make another key. */
	memset(key, 0, sizeof(key));
	for (size_t a = 1; a < 40; a++)
		for (size_t b = a + 1; b < 40; b++)
			ASSERT_NE(pf_hash(key, a, 5), pf_hash(key, b, 5));
}

TEST(extent_plans_waste_little)
{
	static const uint64_t sizes[] = {0,	      1,	  2u << 20,	(2u << 20) + 1, 5u << 20,
					 17u << 20,   63u << 20,  64u << 20,	65u << 20,	100u << 20,
					 1000u << 20, 5ull << 30, 100ull << 30, 900ull << 30};
	uint64_t plan[PINFOLD_OBJECT_EXTENTS_MAX];

	for (size_t i = 0; i < 14; i++) {
		int count = pf_catalog_extent_plan(sizes[i], 64u << 20, plan, PINFOLD_OBJECT_EXTENTS_MAX);
		uint64_t total = 0;

		ASSERT_LE(0, count);
		for (int j = 0; j < count; j++) {
			ASSERT_LE(PINFOLD_EXTENT_MIN, plan[j]);
			ASSERT_LE(plan[j], PINFOLD_EXTENT_MAX);
			ASSERT_EQ(0, plan[j] & (plan[j] - 1));
			total += plan[j];
		}
		ASSERT_LE(sizes[i], total);
		ASSERT_TRUE(total - sizes[i] < PINFOLD_EXTENT_MIN || total - sizes[i] <= sizes[i] / 8);
	}
	EXPECT_EQ(-EFBIG, pf_catalog_extent_plan(2ull << 40, 64u << 20, plan, PINFOLD_OBJECT_EXTENTS_MAX));
}

TEST_HARNESS_MAIN
