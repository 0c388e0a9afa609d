// SPDX-License-Identifier: GPL-2.0-only
#include "store/buddy.h"
#include "kselftest_harness.h"

#include <stdlib.h>

#define GRANULES 2048u

TEST(alignment_splitting_and_merging)
{
	struct pf_buddy buddy;
	uint32_t a, b, c;

	ASSERT_EQ(0, pf_buddy_init(&buddy, 512));
	EXPECT_FALSE(pf_buddy_alloc(&buddy, 0, &a));
	pf_buddy_free_run(&buddy, 1, 512); /* the first is taken by a table */
	EXPECT_FALSE(pf_buddy_alloc(&buddy, 9, &a));
	ASSERT_TRUE(pf_buddy_alloc(&buddy, 8, &a));
	EXPECT_EQ(256, a);
	ASSERT_TRUE(pf_buddy_alloc(&buddy, 0, &b));
	EXPECT_EQ(1, b);
	ASSERT_TRUE(pf_buddy_alloc(&buddy, 0, &c)); /* splits the smallest sufficient block */
	EXPECT_EQ(2, c);
	pf_buddy_free(&buddy, c, 0);
	pf_buddy_free(&buddy, b, 0);
	pf_buddy_free(&buddy, a, 8);
	pf_buddy_free(&buddy, 0, 0); /* now all of it merges into one */
	for (uint32_t order = 0; order < PF_ORDER_MAX; order++)
		EXPECT_EQ(0, buddy.free_count[order]);
	EXPECT_EQ(1, buddy.free_count[PF_ORDER_MAX]);
	pf_buddy_done(&buddy);
}

/* Random allocations and frees against a plain map of who owns which granule. */
TEST(random_against_a_model)
{
	static uint8_t owned[GRANULES];
	struct { uint32_t at, order; } held[GRANULES];
	struct pf_buddy buddy;
	unsigned int seed = 12345;
	size_t count = 0;

	TH_LOG("seed %u", seed);
	ASSERT_EQ(0, pf_buddy_init(&buddy, GRANULES));
	pf_buddy_free_run(&buddy, 3, GRANULES);
	for (int i = 0; i < 200000; i++) {
		if (rand_r(&seed) % 2 && count < GRANULES) {
			uint32_t order = (uint32_t)rand_r(&seed) % 7, at;

			if (!pf_buddy_alloc(&buddy, order, &at))
				continue;
			ASSERT_EQ(0, at % (1u << order));
			ASSERT_LE(at + (1u << order), GRANULES);
			for (uint32_t g = at; g < at + (1u << order); g++) {
				ASSERT_GE(g, 3);
				ASSERT_EQ(0, owned[g]);
				owned[g] = 1;
			}
			held[count].at = at;
			held[count++].order = order;
		} else if (count) {
			size_t k = (size_t)rand_r(&seed) % count;

			for (uint32_t g = held[k].at; g < held[k].at + (1u << held[k].order); g++)
				owned[g] = 0;
			pf_buddy_free(&buddy, held[k].at, held[k].order);
			held[k] = held[--count];
		}
	}
	while (count) {
		count--;
		pf_buddy_free(&buddy, held[count].at, held[count].order);
	}
	EXPECT_EQ(3, buddy.free_count[PF_ORDER_MAX]); /* 2048 - 3 granules: three whole GiB and the rest of the first */
	EXPECT_EQ(1, buddy.free_count[0]);
	pf_buddy_done(&buddy);
}

TEST_HARNESS_MAIN
