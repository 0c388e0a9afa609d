// SPDX-License-Identifier: GPL-2.0-only
/* The latency histogram against exact quantiles. */
#include "histogram.h"
#include "kselftest_harness.h"
#include "workload.h"

#define SEED 0x1234567ull
#define SAMPLES 20000

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

TEST(quantiles_are_within_one_bucket_of_exact)
{
	static const double quantiles[] = {0, 0.01, 0.5, 0.9, 0.99, 0.999, 1};
	struct histogram *h = calloc(1, sizeof(*h));
	uint64_t *values = calloc(SAMPLES, sizeof(*values)), state = SEED;

	TH_LOG("seed %#llx", SEED);
	ASSERT_TRUE(h && values);
	for (size_t i = 0; i < SAMPLES; i++) {
		/* From 1 ns to seconds, evenly over the orders of magnitude. */
		values[i] = workload_random(&state) >> (31 + workload_random(&state) % 32);
		histogram_add(h, values[i]);
	}
	qsort(values, SAMPLES, sizeof(*values), compare);
	for (size_t i = 0; i < sizeof(quantiles) / sizeof(*quantiles); i++) {
		size_t rank = (size_t)(quantiles[i] * SAMPLES);
		uint64_t exact = values[rank < SAMPLES ? rank : SAMPLES - 1],
			 found = histogram_quantile(h, quantiles[i]);

		EXPECT_GE(found, exact);
		EXPECT_LE((double)found, (double)exact * 1.032 + 1) TH_LOG("q %g", quantiles[i]);
	}
	EXPECT_EQ(values[SAMPLES - 1], h->max_ns);
	free(values);
	free(h);
}

TEST(extremes_are_counted)
{
	struct histogram *h = calloc(2, sizeof(*h));

	ASSERT_NE(NULL, h);
	EXPECT_EQ(0, histogram_quantile(h, 0.5));
	histogram_add(h, 0);
	EXPECT_EQ(0, histogram_quantile(h, 0.5));
	histogram_add(h, UINT64_MAX);
	EXPECT_EQ(UINT64_MAX, h->max_ns);
	histogram_merge(&h[1], h);
	histogram_merge(&h[1], h);
	EXPECT_EQ(4, h[1].count);
	EXPECT_EQ(0, histogram_quantile(&h[1], 0.25));
	free(h);
}

TEST_HARNESS_MAIN
