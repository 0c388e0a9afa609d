// SPDX-License-Identifier: GPL-2.0-only
/*
 * test_policy_config.c - what can be configured has its effect: memory pressure, the share of huge pages.
 */
#include "kselftest_harness.h"

#include "world.h"

TEST(memory_pressure_is_what_the_configuration_says)
{
	for (int strict = 0; strict < 2; strict++) {
		struct pinfold_pin_config config = { .memory_pressure_percent = strict ? 70 : 80 };
		struct world *w = world_new(100, 40, &config);

		ASSERT_NE(NULL, w);
		for (uint32_t i = 0; i < 10; i++)
			world_slice(w, i, 4, 1);
		ASSERT_TURN(w, 500);
		for (uint32_t i = 0; i < 5; i++)
			world_slice(w, i, 0.1, 1);
		w->budget.memory_pressure = 0.75;
		for (int t = 0; t < 5; t++)
			ASSERT_TURN(w, 500);
		EXPECT_EQ(strict ? 5 : 10, w->pinned_count);
		world_free(w);
	}
}

TEST(as_many_pins_are_folded_as_the_configuration_says)
{
	static const uint32_t percents[] = { 10, 100 };

	for (int i = 0; i < 2; i++) {
		struct pinfold_pin_config config = { .huge_percent = percents[i] };
		struct world *w = world_new(100, 40, &config);
		struct pinfold_pin_stats stats;

		ASSERT_NE(NULL, w);
		w->budget.huge_allowed = true;
		for (uint32_t s = 0; s < 20; s++) {
			world_slice(w, s, 4, 1);
			w->slices[s].extent_flags = PINFOLD_EXTENT_HUGEPAGE;
		}
		for (int t = 0; t < 60; t++)
			ASSERT_TURN(w, 500);
		pf_policy_stat(w->policy, &w->budget, &stats);
		EXPECT_EQ(20 * SLICE * percents[i] / 100, stats.huge_page_bytes);
		world_free(w);
	}
}

TEST_HARNESS_MAIN
