// SPDX-License-Identifier: GPL-2.0-only
/*
 * test_heat.c - heat over invented stores: which slices are hot, and when.
 */
#include <math.h>
#include <pinfold/types.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "kselftest_harness.h"
#include "telemetry/heat.h"

#define SLICES 2867
#define HOT 179
#define DT 0.5
#define BLOCKS 32.0
#define SEED 20240607u
#define ASSERT_FLOAT_NEAR(seen, due) ASSERT_LT(fabs((double)(seen) - (due)), 1e-5)

static uint64_t seed_state;

static double uniform(void)
{
	seed_state = seed_state * 6364136223846793005ull + 1442695040888963407ull;
	return (double)(seed_state >> 11) / (double)(1ull << 53);
}

static float poisson(double mean)
{
	double limit = exp(-mean), p = 1;
	int n = -1;

	do {
		p *= uniform();
		n++;
	} while (p > limit);
	return (float)n;
}

FIXTURE(heat)
{
	struct pf_heat heat;
	struct pf_heat_slice slices[SLICES];
	struct pf_heat_delta deltas[SLICES];
	struct pf_slice_view views[SLICES];
};

FIXTURE_SETUP(heat)
{
	seed_state = SEED;
	memset(self, 0, sizeof(*self));
	pf_heat_init(&self->heat, 3.0, 1800.0, BLOCKS);
	for (int i = 0; i < SLICES; i++)
		self->deltas[i].in_use = true;
}

FIXTURE_TEARDOWN(heat)
{
}

static void turn(FIXTURE_DATA(heat) *self)
{
	pf_heat_begin(&self->heat, DT);
	for (int i = 0; i < SLICES; i++)
		pf_heat_add(&self->heat, &self->slices[i], &self->deltas[i]);
	pf_heat_end(&self->heat);
	for (int i = 0; i < SLICES; i++) {
		bool in_use = self->deltas[i].in_use, pinned = self->deltas[i].pinned;

		pf_heat_view(&self->heat, &self->slices[i], i ? &self->slices[i - 1] : NULL, &self->views[i]);
		self->deltas[i] = (struct pf_heat_delta){.in_use = in_use, .pinned = pinned};
	}
}

/* @n faults of which one in 30 reads the device for 5 ms. */
static void random_faults(struct pf_heat_delta *delta, float n)
{
	float majors = poisson(n / 30);

	delta->faults += n;
	delta->random += n;
	delta->majors += majors;
	delta->stall_s += 0.005f * majors;
	delta->random_stall_s += 0.005f * majors;
}

static void sequential_faults(struct pf_heat_delta *delta, float n)
{
	delta->faults += n;
	delta->majors += 1;
	delta->stall_s += 0.002f;
}

static int count_hot(const FIXTURE_DATA(heat) *self, int from, int to)
{
	int n = 0;

	for (int i = from; i < to; i++)
		n += self->views[i].heat > 0.7f && self->views[i].confidence > 0.5f;
	return n;
}

static void scan(FIXTURE_DATA(heat) *self)
{
	for (int i = 0; i < SLICES; i++)
		sequential_faults(&self->deltas[i], 16);
}

TEST_F(heat, hot_set_beside_a_scan_is_found_in_four_seconds)
{
	for (int t = 0; t < 8; t++) {
		scan(self);
		for (int i = 500; i < 500 + HOT; i++)
			random_faults(&self->deltas[i], poisson(10));
		turn(self);
	}
	ASSERT_EQ(count_hot(self, 500, 500 + HOT), HOT);
	ASSERT_EQ(count_hot(self, 0, 500), 0);
	ASSERT_EQ(count_hot(self, 500 + HOT, SLICES), 0);
	ASSERT_EQ(self->views[510].pattern, PINFOLD_ACCESS_RANDOM);
	ASSERT_EQ(self->views[100].pattern, PINFOLD_ACCESS_SCAN);
}

/* A reader that the scan holds to few reads: evidence is scarce, but only in the hot set. */
TEST_F(heat, starved_hot_set_is_found)
{
	for (int t = 0; t < 20; t++) {
		scan(self);
		for (int i = 500; i < 500 + HOT; i++)
			random_faults(&self->deltas[i], poisson(0.3));
		turn(self);
	}
	ASSERT_GE(count_hot(self, 500, 500 + HOT), HOT * 8 / 10);
	ASSERT_EQ(count_hot(self, 0, 500), 0);
}

TEST_F(heat, misclassed_scan_faults_are_not_heat)
{
	for (int t = 0; t < 20; t++) {
		scan(self);
		for (int i = 500; i < 500 + HOT; i++)
			random_faults(&self->deltas[i], poisson(10));
		random_faults(&self->deltas[t * 10 % 400], 1); /* the scan's first fault after a jump */
		turn(self);
		ASSERT_EQ(count_hot(self, 0, 500), 0);
	}
}

static void check_uniform(struct __test_metadata *_metadata, FIXTURE_DATA(heat) *self, double mean)
{
	for (int t = 0; t < 24; t++) {
		for (int i = 0; i < SLICES; i++)
			random_faults(&self->deltas[i], poisson(mean));
		turn(self);
		if (t > 3)
			ASSERT_LE(count_hot(self, 0, SLICES), SLICES / 1000) TH_LOG("mean %g, turn %d", mean, t);
	}
}

TEST_F(heat, uniform_reads_have_no_hot_slice)
{
	check_uniform(_metadata, self, 5);
}

TEST_F(heat, sparse_uniform_reads_have_no_hot_slice)
{
	check_uniform(_metadata, self, 0.05);
}

TEST_F(heat, scan_alone_has_no_heat)
{
	for (int t = 0; t < 20; t++) {
		scan(self);
		turn(self);
	}
	for (int i = 0; i < SLICES; i++)
		ASSERT_EQ(self->views[i].heat, 0);
}

TEST_F(heat, no_stall_is_no_heat)
{
	for (int t = 0; t < 20; t++) {
		for (int i = 500; i < 500 + HOT; i++) {
			self->deltas[i].faults = 10;
			self->deltas[i].random = 10;
		}
		turn(self);
	}
	ASSERT_EQ(count_hot(self, 0, SLICES), 0);
	ASSERT_EQ(self->views[510].heat, 0);
}

/* Pins the hot set after 4 s; from then on only samples speak. @touched: hits per slice and turn. */
static void pin_and_sample(FIXTURE_DATA(heat) *self, int turns, bool touched)
{
	for (int t = 0; t < turns; t++) {
		scan(self);
		for (int i = 500; i < 500 + HOT; i++) {
			struct pf_heat_delta *delta = &self->deltas[i];

			delta->pinned = true;
			delta->faults = touched ? poisson(1.7) : 0;
			delta->random = delta->faults;
			delta->hits = delta->faults;
			delta->exposure = touched ? 0.6f : fminf(8, 2 + (float)t) * (float)DT;
		}
		turn(self);
	}
}

static void find_hot_set(FIXTURE_DATA(heat) *self)
{
	for (int t = 0; t < 8; t++) {
		scan(self);
		for (int i = 500; i < 500 + HOT; i++)
			random_faults(&self->deltas[i], poisson(10));
		turn(self);
	}
}

TEST_F(heat, pinned_slices_stay_hot_while_samples_are_touched)
{
	find_hot_set(self);
	for (int t = 0; t < 60; t += 10) {
		pin_and_sample(self, 10, true);
		ASSERT_GE(count_hot(self, 500, 500 + HOT), HOT * 99 / 100);
		ASSERT_EQ(count_hot(self, 0, 500), 0);
	}
}

/* Half of the hot set is pinned and read without misses; the other half is held up by its own. */
TEST_F(heat, what_still_misses_stays_hot_beside_pins)
{
	find_hot_set(self);
	for (int t = 0; t < 20; t++) {
		scan(self);
		for (int i = 500; i < 500 + HOT; i++) {
			if (i < 500 + HOT / 2) {
				self->deltas[i].pinned = true;
				self->deltas[i].faults = self->deltas[i].random = self->deltas[i].hits = 4;
				self->deltas[i].exposure = 0.5f;
			} else {
				random_faults(&self->deltas[i], poisson(1));
			}
		}
		turn(self);
	}
	EXPECT_GE(count_hot(self, 500 + HOT / 2, 500 + HOT), (HOT - HOT / 2) * 95 / 100);
	EXPECT_EQ(HOT / 2, count_hot(self, 500, 500 + HOT / 2));
	EXPECT_EQ(0, count_hot(self, 0, 500));
}

/* Sampled for an hour, with a rate of its own: chance alone must not end a pin that is in use. */
TEST_F(heat, a_pin_in_use_outlives_untouched_samples)
{
	const double rate = 3.5; /* touches per block and second */
	int dead = 0;

	find_hot_set(self);
	for (int t = 0; t < 7200; t++) {
		struct pf_heat_delta *delta = &self->deltas[510];
		int samples = self->slices[510].alive < 0.9f ? 3 : 1;

		delta->pinned = true;
		for (int i = 0; i < samples; i++)
			delta->hits += uniform() < 1 - exp(-rate * DT);
		delta->faults = delta->random = delta->hits;
		delta->exposure = (float)DT * ((float)samples - 0.5f * delta->hits);
		turn(self);
		dead += self->slices[510].value == 0;
	}
	ASSERT_EQ(dead, 0);
}

TEST_F(heat, pinned_slices_cool_when_samples_stay_untouched)
{
	find_hot_set(self);
	pin_and_sample(self, 20, true);
	ASSERT_GE(count_hot(self, 500, 500 + HOT), HOT * 99 / 100);
	for (int t = 0; t < 20; t++) {
		/* reads have moved to the slices from 1500 on */
		for (int i = 1500; i < 1500 + HOT; i++)
			random_faults(&self->deltas[i], poisson(10));
		pin_and_sample(self, 1, false);
		if (t == 9)
			ASSERT_EQ(count_hot(self, 1500, 1500 + HOT), HOT);
	}
	ASSERT_LE(count_hot(self, 500, 500 + HOT), HOT / 20);
}

TEST_F(heat, value_halves_in_a_halflife_without_touches)
{
	float before, after;

	find_hot_set(self);
	for (int t = 0; t < 20; t++) { /* past the start, where the span still grows */
		for (int i = 500; i < 500 + HOT; i++)
			random_faults(&self->deltas[i], 10);
		turn(self);
	}
	before = self->views[510].value;
	for (int t = 0; t < 6; t++)
		turn(self);
	after = self->views[510].value;
	ASSERT_GT(before, 0);
	ASSERT_LE(after, 0.55f * before);
	ASSERT_GT(after, 0.25f * before);
}

TEST_F(heat, a_turn_shows_its_own_misses_apart_from_older_ones)
{
	find_hot_set(self);
	self->deltas[510] = (struct pf_heat_delta){.in_use = true, .faults = 4, .random = 3, .random_stall_s = 0.06f};
	self->deltas[511].pinned = true;
	self->deltas[511].random_stall_s = 0.01f;
	turn(self);
	ASSERT_FLOAT_NEAR(self->views[510].turn_random_rate, 3 / DT);
	ASSERT_FLOAT_NEAR(self->views[510].turn_random_stall_rate, 0.06 / DT);
	ASSERT_FLOAT_NEAR(self->heat.turn_stall_s, 0.06); /* of slices that are not pinned */
	turn(self);
	ASSERT_EQ(self->views[510].turn_random_rate, 0);
	ASSERT_EQ(self->views[510].turn_random_stall_rate, 0);
	ASSERT_EQ(self->heat.turn_stall_s, 0);
	ASSERT_GT(self->views[510].random_stall_rate, 0);
}

TEST_F(heat, released_slice_keeps_its_value_at_first)
{
	float pinned;

	find_hot_set(self);
	pin_and_sample(self, 6, true);
	pinned = self->views[510].value;
	for (int i = 500; i < 500 + HOT; i++)
		self->deltas[i].pinned = false;
	turn(self);
	ASSERT_GT(self->views[510].value, 0.6f * pinned);
	ASSERT_LT(self->views[510].value, 1.1f * pinned);
}

TEST_F(heat, freed_slice_is_forgotten)
{
	find_hot_set(self);
	self->deltas[510].in_use = false;
	turn(self);
	ASSERT_EQ(self->views[510].value, 0);
	ASSERT_EQ(self->views[510].heat, 0);
	ASSERT_EQ(self->views[510].confidence, 0);
	ASSERT_EQ(self->views[510].pattern, PINFOLD_ACCESS_UNKNOWN);
}

TEST_HARNESS_MAIN
