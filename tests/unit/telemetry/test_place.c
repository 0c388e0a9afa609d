// SPDX-License-Identifier: GPL-2.0-only
/*
 * test_place.c - how many samples of pins, and of which.
 */
#include "kselftest_harness.h"
#include "telemetry/internal.h"

TEST(while_pins_are_in_use_a_few_samples_suffice)
{
	double rate = 1000;

	for (int t = 0; t < 10; t++)
		rate = pf_pinned_sample_rate(rate, rate * 0.6, 0, 0);
	ASSERT_LE(rate, 4);
	ASSERT_GE(rate, 2);
}

TEST(silence_raises_the_rate_turn_by_turn)
{
	ASSERT_EQ(8, pf_pinned_sample_rate(2, 0, 0, 0));
	ASSERT_EQ(32, pf_pinned_sample_rate(8, 0, 0, 0));
}

TEST(misses_elsewhere_raise_the_rate_at_once)
{
	/* a reader that stalls half of the time may lose a hundredth of that, at 2 us a touch */
	ASSERT_GE(pf_pinned_sample_rate(2, 2, 0.52, 0), 2500);
	ASSERT_GE(pf_pinned_sample_rate(2500, 1500, 0.52, 0), 2500); /* all touched: still harmless */
	ASSERT_LE(pf_pinned_sample_rate(2500, 1500, 0, 0), 625);
	ASSERT_EQ(2, pf_pinned_sample_rate(2, 2, 0.015, 0)); /* a scan's faults out of order */
}

TEST(major_faults_in_pins_lower_the_rate_whatever_else_stalls)
{
	ASSERT_EQ(500, pf_pinned_sample_rate(1000, 0, 1, 10));
	ASSERT_EQ(2, pf_pinned_sample_rate(2, 0, 1, 10));
}

TEST(a_pin_in_doubt_stays_a_suspect_without_samples)
{
	struct pf_slice slice = {.in_use = true, .pinned = true, .pinned_ms = 1000, .heat.alive = 1};

	ASSERT_FALSE(pf_is_suspect(&slice, 20000));
	slice.sample.count = 1; /* untouched so far */
	ASSERT_FALSE(pf_is_suspect(&slice, 1500)); /* young */
	ASSERT_TRUE(pf_is_suspect(&slice, 20000));
	slice.sample.count = 0; /* a scan touched it */
	slice.heat.alive = 0.5f;
	ASSERT_TRUE(pf_is_suspect(&slice, 20000));
	slice.sample.count = PF_SAMPLE_SLICE_MAX;
	ASSERT_FALSE(pf_is_suspect(&slice, 20000));
	slice = (struct pf_slice){.in_use = true, .heat.alive = 0};
	ASSERT_FALSE(pf_is_suspect(&slice, 20000)); /* not pinned */
}

TEST_HARNESS_MAIN
