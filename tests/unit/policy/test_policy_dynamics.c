// SPDX-License-Identifier: GPL-2.0-only
/*
 * Policy over many turns: noise, a moving hot set, and a random walk through
 * everything at once. world_turn() checks order, budget and books at each turn.
 */
#include "kselftest_harness.h"
#include "world.h"

#include <time.h>

#define SEED 0x70696e666f6c64ull

/* Telemetry in miniature: reads spread over @hot slices from @first on, with noise; heat by the mean. */
static void observe(struct world *w, uint32_t first, uint32_t hot, double noise, uint64_t *seed)
{
	const uint32_t n = (uint32_t)w->snapshot.slice_count;
	double sum = 0;

	for (uint32_t i = 0; i < n; i++) {
		const bool is_hot = i >= first && i < first + hot;
		double value = (is_hot ? 1.0 / hot : 0.01 / n) * (1 + noise * (2 * world_random(seed) - 1));

		w->slices[i].value = (float)value;
		sum += value;
	}
	for (uint32_t i = 0; i < n; i++) {
		const double r = (double)w->slices[i].value * n / sum;

		w->slices[i].heat = (float)(r / (1 + r));
	}
}

TEST(noise_does_not_make_it_flap)
{
	struct world *w = world_new(400, 100, NULL);
	uint64_t seed = SEED;
	uint32_t changes[400] = { 0 };

	/* 60 slices at 6.6 x the mean with 50 % noise; 20 right at the pin threshold, a fifth of the time above. */
	for (int t = 0; t < 1000; t++) {
		observe(w, 50, 60, 0.5, &seed);
		for (uint32_t i = 200; i < 220; i++)
			world_slice(w, i, 1.2 + 1.5 * world_random(&seed), 0.9);
		ASSERT_TURN(w, 500);
		for (size_t d = 0; d < w->decision_count; d++)
			if (w->decisions[d].action == PF_ACTION_PIN || w->decisions[d].action == PF_ACTION_UNPIN)
				for (uint32_t i = 0; i < w->decisions[d].slice_count; i++)
					changes[w->decisions[d].index + i]++;
	}
	for (uint32_t i = 0; i < 400; i++) {
		const bool hot = i >= 50 && i < 110, edge = i >= 200 && i < 220;

		/* Pinned once and kept, through a hundred expiries. */
		EXPECT_LE(changes[i], hot || edge ? 1 : 0) TH_LOG("slice %u changed %u times", i, changes[i]);
		if (hot)
			EXPECT_TRUE(w->pinned[i]);
	}
	world_free(w);
}

TEST(equals_do_not_take_turns_in_a_full_budget)
{
	struct world *w = world_new(1000, 100, NULL);
	uint64_t seed = SEED;
	uint32_t pins = 0;

	/* Twice as many equally hot slices as fit. Of pins telemetry knows little: a turn without a hit halves them. */
	for (int t = 0; t < 1000; t++) {
		observe(w, 100, 200, 0.2, &seed);
		for (uint32_t i = 100; i < 300; i++)
			if (w->pinned[i]) {
				w->slices[i].value *= world_random(&seed) < 0.3 ? 1 : 0.5f;
				w->slices[i].confidence = 0.4f;
			} else {
				w->slices[i].confidence = 0.95f;
			}
		ASSERT_TURN(w, 500);
		if (t > 4)
			pins += world_count(w, PF_ACTION_PIN);
	}
	EXPECT_EQ(100, w->pinned_count);
	EXPECT_LE(pins, 2 * 1000) TH_LOG("%u slices of 100 were replaced in 1000 turns", pins);
	world_free(w);
}

TEST(uniform_reads_and_a_pure_scan_pin_nothing)
{
	struct world *w = world_new(2800, 200, NULL);
	uint64_t seed = SEED;

	for (int t = 0; t < 200; t++) {
		/* 13 observations per slice, as uniform reads faster than the device would give. */
		observe(w, 0, 2800, 0.55, &seed);
		for (uint32_t i = 0; i < 2800; i++)
			w->slices[i].confidence = 0.76f;
		ASSERT_TURN(w, 500);
		ASSERT_EQ(0, w->decision_count);
	}
	/* Few observations, remembered for some turns: some slices look several times as hot as the mean. */
	for (int t = 0; t < 80; t++) {
		for (uint32_t i = 0; t % 8 == 0 && i < 2800; i++) {
			uint32_t seen = 0;

			for (int k = 0; k < 30; k++)
				seen += world_random(&seed) < 0.05;
			world_slice(w, i, seen / 1.5, seen / (seen + 4.0));
		}
		ASSERT_TURN(w, 500);
	}
	EXPECT_LE(w->pinned_count, 28); /* 1 % */
	world_free(w);

	w = world_new(2800, 200, NULL);
	for (int t = 0; t < 200; t++) {
		observe(w, 0, 2800, 0.9, &seed);
		for (uint32_t i = 0; i < 2800; i++) {
			w->slices[i].pattern = PINFOLD_ACCESS_SCAN;
			w->slices[i].stall_rate = w->slices[i].value * 20;
		}
		ASSERT_TURN(w, 500);
		ASSERT_EQ(0, w->decision_count);
	}
	EXPECT_EQ(PINFOLD_REASON_SEQUENTIAL, world_reason(w, 5));
	world_free(w);
}

TEST(a_moved_hot_set_is_followed_in_six_turns)
{
	static const struct {
		uint32_t hot, budget;
		float confidence; /* of what is known about pins that are not touched any more */
	} table[] = { { 179, 204, 1 }, { 179, 204, 0.1f }, { 179, 179, 0.3f } };

	for (size_t k = 0; k < 3; k++) {
		struct world *w = world_new(2867, table[k].budget, NULL);
		uint64_t seed = SEED;
		uint32_t turns = 0, found = 0;

		for (int t = 0; t < 30; t++) {
			observe(w, 100, table[k].hot, 0.2, &seed);
			ASSERT_TURN(w, 500);
		}
		ASSERT_EQ(table[k].hot, w->pinned_count);
		for (; turns < 20 && found < table[k].hot; turns++) {
			observe(w, 2000, table[k].hot, 0.2, &seed);
			for (uint32_t i = 0; i < 2867; i++)
				w->slices[i].confidence = w->pinned[i] && i < 2000 ? table[k].confidence : 1;
			ASSERT_TURN(w, 500);
			found = 0;
			for (uint32_t i = 2000; i < 2000 + table[k].hot; i++)
				found += w->pinned[i];
		}
		EXPECT_LE(turns, 6) TH_LOG("case %zu: %u of %u found after %u turns", k, found, table[k].hot, turns);
		world_free(w);
	}
}

/* ---- a random walk ---- */

static uint64_t walk_seed = SEED;

static int moody_kernel(struct world *w, const struct pf_decision *decision)
{
	if (decision->action == PF_ACTION_PIN && w->kernel_limit_slices && w->pinned_count >= w->kernel_limit_slices)
		return -ENOMEM;
	if (decision->action == PF_ACTION_PIN && world_random(&walk_seed) < 0.01)
		return -EAGAIN;
	if (decision->action == PF_ACTION_FOLD && world_random(&walk_seed) < 0.5)
		return -EINVAL;
	return 0;
}

static void shake_slice(struct world *w, uint32_t i)
{
	struct pf_slice_view *view = &w->slices[i];

	world_slice(w, i, world_random(&walk_seed) < 0.8 ? world_random(&walk_seed) : 20 * world_random(&walk_seed),
		    world_random(&walk_seed));
	view->in_use = world_random(&walk_seed) < 0.98;
	view->pattern = (uint8_t)(world_random(&walk_seed) * 5);
	view->fault_rate = world_random(&walk_seed) < 0.01 ? 2000 : 10;
	view->extent_flags = (uint32_t)(world_random(&walk_seed) * 32);
	view->remote_permille = (uint32_t)(world_random(&walk_seed) * 600);
	view->busiest_node = (int32_t)(world_random(&walk_seed) * 3) - 1;
	if (!view->in_use)
		view->value = view->heat = 0;
}

static void shake_world(struct world *w)
{
	for (int k = 0; k < 3; k++)
		shake_slice(w, (uint32_t)(world_random(&walk_seed) * (double)w->snapshot.slice_count));
	if (world_random(&walk_seed) < 0.01)
		w->budget.pin_bytes = (uint64_t)(world_random(&walk_seed) * 30) * SLICE + SLICE / 2;
	if (world_random(&walk_seed) < 0.01)
		w->budget.memory_pressure = world_random(&walk_seed);
	if (world_random(&walk_seed) < 0.01)
		w->kernel_limit_slices = (uint64_t)(world_random(&walk_seed) * 30);
	if (world_random(&walk_seed) < 0.01)
		w->snapshot.total_stall_rate = world_random(&walk_seed) < 0.2 ? 0 : 1;
	w->budget.huge_allowed = world_random(&walk_seed) < 0.5;
}

TEST(never_above_budget_in_a_long_random_walk)
{
	const struct pinfold_pin_config config = { .rebalance_interval_min = 1 };
	struct world *w = world_new(60, 24, &config);
	uint64_t actions[PF_ACTION_UNFOLD + 1] = { 0 };

	TH_LOG("seed %#llx", (unsigned long long)walk_seed);
	w->kernel = moody_kernel;
	w->budget.node_count = 2;
	for (int t = 0; t < 100000; t++) {
		shake_world(w);
		ASSERT_TURN(w, (uint64_t)(world_random(&walk_seed) * 3000));
		for (size_t d = 0; d < w->decision_count; d++)
			actions[w->decisions[d].action]++;
	}
	/* The walk has been everywhere. */
	EXPECT_LE(1000, actions[PF_ACTION_PIN]);
	EXPECT_LE(1000, actions[PF_ACTION_UNPIN]);
	EXPECT_LE(1000, actions[PF_ACTION_RENEW]);
	EXPECT_LE(100, actions[PF_ACTION_MIGRATE]);
	EXPECT_LE(100, actions[PF_ACTION_FOLD]);
	world_free(w);
}

static const char *walk_explicit(struct world *w)
{
	struct pinfold_pin_opts opts = {
		.priority = (enum pinfold_priority)(world_random(&walk_seed) * 3),
		.ttl_ms = world_random(&walk_seed) < 0.5 ? 5000 : 0,
	};
	const uint32_t first = (uint32_t)(world_random(&walk_seed) * 55);
	const uint32_t count = 1 + (uint32_t)(world_random(&walk_seed) * 5);
	const double dice = world_random(&walk_seed);
	const struct pf_decision *d;
	const char *words = NULL;
	size_t n;

	if (dice < 0.5) {
		if (pf_policy_pin(w->policy, 0, first, count, &opts, w->snapshot.time_ms, &w->budget))
			return NULL;
		w->turn++;
		if (pf_policy_make_room(w->policy, &w->budget, w->snapshot.time_ms, &d, &n))
			return "make_room failed";
		for (size_t i = 0; i < n && !words; i++)
			words = world_apply(w, &d[i], 0);
		for (uint32_t i = first; i < first + count; i++) {
			w->pinned_count += !w->pinned[i];
			w->pinned[i] = true;
		}
	} else if (dice < 0.8) {
		if (!pf_policy_unpin(w->policy, 0, first, count, w->snapshot.time_ms))
			for (uint32_t i = first; i < first + count; i++) {
				w->pinned_count -= w->pinned[i];
				w->pinned[i] = false;
			}
	} else if (dice < 0.9) {
		pf_policy_promote(w->policy, 0, first, count, opts.priority, w->snapshot.time_ms);
	} else {
		pf_policy_gc(w->policy, w->snapshot.time_ms);
	}
	return words ? words : world_check(w);
}

TEST(explicit_pins_keep_the_budget_in_a_random_walk)
{
	struct world *w = world_new(60, 24, NULL);

	TH_LOG("seed %#llx", (unsigned long long)walk_seed);
	w->kernel = moody_kernel;
	for (int t = 0; t < 20000; t++) {
		const char *words;

		for (int k = 0; k < 3; k++)
			shake_slice(w, (uint32_t)(world_random(&walk_seed) * 60));
		if (t % 3 == 0) {
			words = walk_explicit(w);
			ASSERT_EQ(NULL, words) TH_LOG("%s", words);
		}
		ASSERT_TURN(w, (uint64_t)(world_random(&walk_seed) * 2000));
	}
	world_free(w);
}

TEST_HARNESS_MAIN
