// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rules of policy as tables: a snapshot in, decisions and reasons out.
 */
#include "kselftest_harness.h"
#include "world.h"

#include <math.h>

#include "base/error.h"

FIXTURE(policy) {
	struct world *w;
};

/* 100 slices at half the mean heat, a budget of 40. */
FIXTURE_SETUP(policy)
{
	self->w = world_new(100, 40, NULL);
	ASSERT_NE(NULL, self->w);
}

FIXTURE_TEARDOWN(policy)
{
	world_free(self->w);
}

TEST_F(policy, one_slice_in_one_verdict_out)
{
	static const struct {
		const char *what;
		double r, confidence, fault_rate;
		uint32_t flags;
		uint8_t pattern;
		bool pin;
		enum pinfold_priority priority;
		enum pinfold_reason reason;
	} table[] = {
		{ "cold", 0.1, 1, 1, 0, PINFOLD_ACCESS_RANDOM, false, 0, PINFOLD_REASON_COLD },
		{ "mean", 1, 1, 1, 0, PINFOLD_ACCESS_RANDOM, false, 0, PINFOLD_REASON_COLD },
		{ "just below 0.7", 2.3, 1, 1, 0, PINFOLD_ACCESS_RANDOM, false, 0, PINFOLD_REASON_COLD },
		{ "just above 0.7", 2.4, 1, 1, 0, PINFOLD_ACCESS_RANDOM, true, PINFOLD_PRIORITY_QUERY_CRITICAL,
		  PINFOLD_REASON_HOT },
		{ "just below 0.9", 8.9, 1, 1, 0, PINFOLD_ACCESS_RANDOM, true, PINFOLD_PRIORITY_QUERY_CRITICAL,
		  PINFOLD_REASON_HOT },
		{ "just above 0.9", 9.1, 1, 1, 0, PINFOLD_ACCESS_RANDOM, true, PINFOLD_PRIORITY_TAIL_LATENCY_CRITICAL,
		  PINFOLD_REASON_TAIL_HOT },
		{ "hot, three observations", 9.1, 0.43, 1, 0, PINFOLD_ACCESS_RANDOM, false, 0, PINFOLD_REASON_UNSURE },
		{ "lukewarm, six observations", 2.6, 0.6, 1, 0, PINFOLD_ACCESS_RANDOM, false, 0,
		  PINFOLD_REASON_UNSURE },
		{ "very hot, six observations", 16, 0.6, 1, 0, PINFOLD_ACCESS_RANDOM, true,
		  PINFOLD_PRIORITY_TAIL_LATENCY_CRITICAL,
		  PINFOLD_REASON_TAIL_HOT },
		{ "hot, unsure, flagged HOT", 2.6, 0.3, 1, PINFOLD_EXTENT_HOT, PINFOLD_ACCESS_RANDOM, true,
		  PINFOLD_PRIORITY_QUERY_CRITICAL, PINFOLD_REASON_HOT },
		{ "cold, flagged HOT", 0.5, 1, 1, PINFOLD_EXTENT_HOT, PINFOLD_ACCESS_RANDOM, false, 0,
		  PINFOLD_REASON_COLD },
		{ "spike", 1, 0.2, 1001, 0, PINFOLD_ACCESS_RANDOM, true, PINFOLD_PRIORITY_QUERY_CRITICAL,
		  PINFOLD_REASON_SPIKE },
		{ "spike of a scan", 1, 0.2, 5000, 0, PINFOLD_ACCESS_SCAN, false, 0, PINFOLD_REASON_SEQUENTIAL },
		{ "999 faults", 1, 0.2, 999, 0, PINFOLD_ACCESS_RANDOM, false, 0, PINFOLD_REASON_COLD },
		{ "sequential", 0.1, 1, 1, 0, PINFOLD_ACCESS_SEQUENTIAL, false, 0, PINFOLD_REASON_SEQUENTIAL },
		{ "random and sequential by turns, but random is what stalls", 9.1, 1, 1, 0, PINFOLD_ACCESS_SCAN, true,
		  PINFOLD_PRIORITY_TAIL_LATENCY_CRITICAL, PINFOLD_REASON_TAIL_HOT },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct world *w = world_new(100, 40, NULL);
		struct pf_pin_view view;

		world_slice(w, 7, table[i].r, table[i].confidence);
		w->slices[7].fault_rate = (float)table[i].fault_rate;
		w->slices[7].extent_flags = table[i].flags;
		w->slices[7].pattern = table[i].pattern;
		ASSERT_TURN(w, 500);
		pf_policy_view(w->policy, 0, 7, &view);
		EXPECT_EQ(table[i].pin, view.pinned) TH_LOG("%s", table[i].what);
		EXPECT_EQ(table[i].reason, view.reason) TH_LOG("%s", table[i].what);
		EXPECT_EQ(table[i].pin ? 1 : 0, w->decision_count) TH_LOG("%s", table[i].what);
		if (table[i].pin && w->decision_count) {
			EXPECT_EQ(PF_ACTION_PIN, w->decisions[0].action);
			EXPECT_EQ(table[i].priority, w->decisions[0].priority) TH_LOG("%s", table[i].what);
			EXPECT_EQ(7, w->decisions[0].index);
			EXPECT_EQ(1, w->decisions[0].slice_count);
		}
		world_free(w);
	}
}

TEST_F(policy, a_few_faults_of_a_scan_do_not_make_it_hot)
{
	world_slice(self->w, 7, 20, 1);
	self->w->slices[7].pattern = PINFOLD_ACCESS_SCAN;
	self->w->slices[7].stall_rate = self->w->slices[7].value * 10;
	ASSERT_TURN(self->w, 500);
	EXPECT_EQ(0, self->w->decision_count);
	EXPECT_EQ(PINFOLD_REASON_SEQUENTIAL, world_reason(self->w, 7));
}

TEST_F(policy, nothing_is_pinned_where_nothing_stalls)
{
	self->w->snapshot.total_stall_rate = 0.00001;
	world_slice(self->w, 7, 20, 1);
	ASSERT_TURN(self->w, 500);
	EXPECT_EQ(0, self->w->decision_count);
	EXPECT_EQ(PINFOLD_REASON_NO_STALLS, world_reason(self->w, 7));
	EXPECT_EQ(PINFOLD_REASON_NO_STALLS, world_reason(self->w, 8));
}

TEST_F(policy, adaptive_off_pins_nothing)
{
	struct pinfold_pin_config config = { .adaptive_off = true };
	struct world *w = world_new(100, 40, &config);

	world_slice(w, 7, 20, 1);
	ASSERT_TURN(w, 500);
	EXPECT_EQ(0, w->decision_count);
	EXPECT_EQ(PINFOLD_REASON_ADAPTIVE_OFF, world_reason(w, 7));
	world_free(w);
}

TEST_F(policy, neighbours_with_the_same_verdict_are_one_run)
{
	for (uint32_t i = 10; i < 18; i++)
		world_slice(self->w, i, i < 14 ? 12 : 4, 1);
	world_slice(self->w, 30, 4, 1);
	ASSERT_TURN(self->w, 500);
	ASSERT_EQ(3, self->w->decision_count);
	EXPECT_EQ(10, self->w->decisions[0].index);
	EXPECT_EQ(4, self->w->decisions[0].slice_count);
	EXPECT_EQ(PINFOLD_PRIORITY_TAIL_LATENCY_CRITICAL, self->w->decisions[0].priority);
	EXPECT_EQ(14, self->w->decisions[1].index);
	EXPECT_EQ(4, self->w->decisions[1].slice_count);
	EXPECT_EQ(30, self->w->decisions[2].index);
}

TEST_F(policy, a_hot_pin_is_renewed_not_unpinned)
{
	struct pf_pin_view view;
	uint64_t since;

	world_slice(self->w, 7, 12, 1);
	ASSERT_TURN(self->w, 500);
	pf_policy_view(self->w->policy, 0, 7, &view);
	since = view.since_ms;
	EXPECT_EQ(since + 5000, view.expires_ms);
	for (int t = 0; t < 9; t++) {
		ASSERT_TURN(self->w, 500);
		EXPECT_EQ(0, self->w->decision_count);
	}
	ASSERT_TURN(self->w, 500);
	ASSERT_EQ(1, self->w->decision_count);
	EXPECT_EQ(PF_ACTION_RENEW, self->w->decisions[0].action);
	EXPECT_EQ(PINFOLD_REASON_RENEWED, self->w->decisions[0].reason);
	pf_policy_view(self->w->policy, 0, 7, &view);
	EXPECT_EQ(since, view.since_ms);
	EXPECT_EQ(since + 10000, view.expires_ms);
	/* Warm is enough to be renewed: between the two thresholds nothing changes. */
	world_slice(self->w, 7, 1.2, 1);
	for (int t = 0; t < 40; t++) {
		ASSERT_TURN(self->w, 500);
		EXPECT_EQ(0, world_count(self->w, PF_ACTION_UNPIN));
	}
	EXPECT_TRUE(self->w->pinned[7]);
}

TEST_F(policy, a_cold_pin_ends_with_its_time)
{
	world_slice(self->w, 7, 12, 1);
	ASSERT_TURN(self->w, 500);
	world_slice(self->w, 7, 0.1, 1);
	for (int t = 0; t < 9; t++) {
		ASSERT_TURN(self->w, 500);
		EXPECT_TRUE(self->w->pinned[7]);
	}
	ASSERT_TURN(self->w, 500);
	EXPECT_EQ(1, world_count(self->w, PF_ACTION_UNPIN));
	EXPECT_EQ(PINFOLD_REASON_EXPIRED, world_reason(self->w, 7));
	ASSERT_TURN(self->w, 500);
	EXPECT_EQ(PINFOLD_REASON_COLD, world_reason(self->w, 7));
}

TEST_F(policy, above_85_percent_cold_pins_go_at_once_coldest_first)
{
	for (uint32_t i = 0; i < 38; i++)
		world_slice(self->w, i, 4, 1);
	ASSERT_TURN(self->w, 500);
	EXPECT_EQ(38, self->w->pinned_count);
	for (uint32_t i = 0; i < 10; i++)
		world_slice(self->w, i, 0.05 + 0.01 * i, 1);
	for (int t = 0; t < 6; t++)
		ASSERT_TURN(self->w, 500);
	/* 34 of 40 is 85 %: four had to go. */
	EXPECT_EQ(34, self->w->pinned_count);
	for (uint32_t i = 0; i < 10; i++)
		if (!self->w->pinned[i])
			EXPECT_EQ(PINFOLD_REASON_COLD, world_reason(self->w, i));
}

TEST_F(policy, memory_pressure_evicts_cold_pins_and_adds_no_background)
{
	for (uint32_t i = 0; i < 10; i++)
		world_slice(self->w, i, 4, 1);
	ASSERT_TURN(self->w, 500);
	for (uint32_t i = 0; i < 5; i++)
		world_slice(self->w, i, 0.1, 1);
	self->w->budget.memory_pressure = 0.86;
	for (int t = 0; t < 5; t++)
		ASSERT_TURN(self->w, 500);
	EXPECT_EQ(5, self->w->pinned_count);
	for (uint32_t i = 20; i < 50; i++)
		world_slice(self->w, i, 12, 1);
	ASSERT_TURN(self->w, 500);
	EXPECT_EQ(35, self->w->pinned_count);
	for (uint32_t i = 0; i < 100; i++)
		if (self->w->pinned[i])
			EXPECT_NE(PINFOLD_PRIORITY_BACKGROUND, world_priority(self->w, i));
}

TEST_F(policy, a_hot_set_of_one_class_fills_the_whole_budget)
{
	/* 35 % of memory in a budget of 40 %, all of it of one class, whichever. */
	for (int hot = 0; hot < 2; hot++) {
		struct world *w = world_new(1000, 200, NULL);

		for (uint32_t i = 0; i < 175; i++)
			world_slice(w, i, hot ? 16 : 4, 1);
		for (int t = 0; t < 2; t++)
			ASSERT_TURN(w, 500);
		EXPECT_EQ(175, w->pinned_count);
		world_free(w);
	}
}

TEST_F(policy, a_share_is_given_back_when_its_class_needs_it)
{
	uint32_t tail = 0;

	/* 40 warm slices borrow every share; then 20 become tail-critical, which owns half: 20. */
	for (uint32_t i = 0; i < 40; i++)
		world_slice(self->w, i, 5 + 0.01 * i, 1);
	ASSERT_TURN(self->w, 500);
	ASSERT_EQ(40, self->w->pinned_count);
	ASSERT_TURN(self->w, 2000);
	for (uint32_t i = 50; i < 80; i++)
		world_slice(self->w, i, 9.5 + 0.01 * i, 1); /* above 0.9; less than 1.5 x would do no more */
	for (uint32_t i = 0; i < 40; i++)
		world_slice(self->w, i, 8.5 + 0.001 * i, 1);
	for (int t = 0; t < 8; t++)
		ASSERT_TURN(self->w, 500);
	for (uint32_t i = 50; i < 80; i++)
		tail += self->w->pinned[i];
	EXPECT_EQ(40, self->w->pinned_count);
	EXPECT_EQ(20, tail);
	/* The ten that had no claim wait for the budget. */
	EXPECT_EQ(PINFOLD_REASON_BUDGET, world_reason(self->w, 50));
}

TEST_F(policy, clearly_hotter_replaces_slightly_hotter_does_not)
{
	for (uint32_t i = 0; i < 40; i++)
		world_slice(self->w, i, 4, 1);
	ASSERT_TURN(self->w, 500);
	ASSERT_TURN(self->w, 1500);
	world_slice(self->w, 60, 5.9, 1);
	ASSERT_TURN(self->w, 500);
	EXPECT_EQ(0, world_count(self->w, PF_ACTION_PIN));
	EXPECT_EQ(PINFOLD_REASON_BUDGET, world_reason(self->w, 60));
	world_slice(self->w, 60, 6.1, 1);
	ASSERT_TURN(self->w, 500);
	EXPECT_EQ(1, world_count(self->w, PF_ACTION_PIN));
	EXPECT_EQ(1, world_count(self->w, PF_ACTION_UNPIN));
	EXPECT_EQ(PINFOLD_REASON_EVICTED_COLDER, self->w->decisions[0].reason);
	EXPECT_TRUE(self->w->pinned[60]);
}

TEST_F(policy, dropped_extents_are_unpinned)
{
	world_slice(self->w, 7, 4, 1);
	world_slice(self->w, 99, 4, 1);
	ASSERT_TURN(self->w, 500);
	self->w->slices[7].in_use = false;
	ASSERT_TURN(self->w, 500);
	EXPECT_EQ(1, world_count(self->w, PF_ACTION_UNPIN));
	EXPECT_EQ(PINFOLD_REASON_DROPPED, world_reason(self->w, 7));
	/* Or the snapshot names them no more. */
	self->w->snapshot.slice_count = 99;
	self->w->turn++;
	self->w->snapshot.time_ms += 500;
	ASSERT_EQ(0, pf_policy_decide(self->w->policy, &self->w->snapshot, &self->w->budget, &self->w->decisions,
				      &self->w->decision_count));
	ASSERT_EQ(1, self->w->decision_count);
	EXPECT_EQ(PF_ACTION_UNPIN, self->w->decisions[0].action);
	EXPECT_EQ(99, self->w->decisions[0].index);
	EXPECT_EQ(PINFOLD_REASON_DROPPED, self->w->decisions[0].reason);
}

TEST_F(policy, a_shrunk_budget_is_obeyed_at_once)
{
	for (uint32_t i = 0; i < 40; i++)
		world_slice(self->w, i, 4 + 0.1 * i, 1);
	ASSERT_TURN(self->w, 500);
	self->w->budget.pin_bytes = 10 * SLICE;
	ASSERT_TURN(self->w, 500);
	EXPECT_EQ(10, self->w->pinned_count);
	self->w->budget.pin_bytes = 0;
	ASSERT_TURN(self->w, 500);
	EXPECT_EQ(0, self->w->pinned_count);
}

TEST_F(policy, one_turn_pins_no_more_than_it_can_read)
{
	struct world *w = world_new(2000, 1000, NULL);

	for (uint32_t i = 0; i < 600; i++)
		world_slice(w, i, 4 + 0.001 * i, 1);
	ASSERT_TURN(w, 500);
	EXPECT_EQ(128, w->pinned_count);
	EXPECT_TRUE(w->pinned[599]); /* hottest first */
	EXPECT_FALSE(w->pinned[0]);
	EXPECT_EQ(PINFOLD_REASON_HOT, world_reason(w, 0)); /* its turn will come */
	for (int t = 0; t < 4; t++)
		ASSERT_TURN(w, 500);
	EXPECT_EQ(600, w->pinned_count);
	world_free(w);
}

TEST_F(policy, numa_placement_is_reviewed_every_ten_minutes)
{
	self->w->budget.node_count = 2;
	world_slice(self->w, 7, 4, 1);
	world_slice(self->w, 8, 4, 1);
	self->w->slices[7].remote_permille = 301;
	self->w->slices[7].busiest_node = 1;
	self->w->slices[8].remote_permille = 299;
	self->w->slices[8].busiest_node = 1;
	ASSERT_TURN(self->w, 500);
	for (int t = 0; t < 19; t++) {
		ASSERT_TURN(self->w, 30000);
		EXPECT_EQ(0, world_count(self->w, PF_ACTION_MIGRATE));
	}
	ASSERT_TURN(self->w, 30001); /* also its time of renewal */
	ASSERT_EQ(1, world_count(self->w, PF_ACTION_MIGRATE));
	EXPECT_EQ(7, self->w->decisions[self->w->decision_count - 1].index);
	EXPECT_EQ(1, self->w->decisions[self->w->decision_count - 1].node);
	for (int t = 0; t < 10; t++) {
		ASSERT_TURN(self->w, 500);
		EXPECT_EQ(0, world_count(self->w, PF_ACTION_MIGRATE));
	}
}

static int no_huge_pages(struct world *w, const struct pf_decision *decision)
{
	return decision->action == PF_ACTION_FOLD ? -EINVAL : 0;
}

TEST_F(policy, folds_once_where_asked_for_at_most_60_percent)
{
	struct pinfold_pin_stats stats;
	uint32_t folds = 0;

	self->w->budget.huge_allowed = true;
	for (uint32_t i = 0; i < 20; i++)
		world_slice(self->w, i, 4, 1);
	for (int t = 0; t < 30; t++) {
		ASSERT_TURN(self->w, 500);
		EXPECT_EQ(0, world_count(self->w, PF_ACTION_FOLD));
	}
	for (uint32_t i = 0; i < 16; i++)
		self->w->slices[i].extent_flags = PINFOLD_EXTENT_HUGEPAGE;
	ASSERT_TURN(self->w, 500);
	ASSERT_EQ(1, world_count(self->w, PF_ACTION_FOLD)); /* one until it is known to work */
	for (int t = 0; t < 60; t++) {
		ASSERT_TURN(self->w, 500);
		folds += world_count(self->w, PF_ACTION_FOLD);
	}
	EXPECT_EQ(11, folds);
	pf_policy_stat(self->w->policy, &self->w->budget, &stats);
	EXPECT_EQ(12 * SLICE, stats.huge_page_bytes);
}

TEST_F(policy, refused_folds_are_not_asked_again)
{
	struct pinfold_pin_stats stats;
	uint32_t folds = 0;

	self->w->budget.huge_allowed = true;
	self->w->kernel = no_huge_pages;
	for (uint32_t i = 0; i < 20; i++) {
		world_slice(self->w, i, 4, 1);
		self->w->slices[i].extent_flags = PINFOLD_EXTENT_HUGEPAGE;
	}
	for (int t = 0; t < 100; t++) {
		ASSERT_TURN(self->w, 500);
		folds += world_count(self->w, PF_ACTION_FOLD);
	}
	EXPECT_EQ(3, folds); /* then the kernel is left alone */
	pf_policy_stat(self->w->policy, &self->w->budget, &stats);
	EXPECT_EQ(0, stats.huge_page_bytes);
}

TEST_F(policy, stats_average_the_time_of_pins)
{
	struct pinfold_pin_stats stats;

	world_slice(self->w, 7, 12, 1);
	ASSERT_TURN(self->w, 500);
	world_slice(self->w, 7, 0.01, 1);
	ASSERT_TURN(self->w, 5000); /* ended after 5 s */
	EXPECT_EQ(0, self->w->pinned_count);
	world_slice(self->w, 8, 12, 1);
	ASSERT_TURN(self->w, 500);
	ASSERT_TURN(self->w, 1000); /* lives for 1 s */
	pf_policy_stat(self->w->policy, &self->w->budget, &stats);
	EXPECT_EQ(1, stats.by_priority[2].pinned_count);
	EXPECT_EQ(3000.0, stats.by_priority[2].average_pin_time_ms);
	EXPECT_EQ(20 * SLICE, stats.by_priority[2].budget_bytes);
	EXPECT_EQ(12 * SLICE, stats.by_priority[1].budget_bytes);
	EXPECT_EQ(8 * SLICE, stats.by_priority[0].budget_bytes);
	EXPECT_EQ(40 * SLICE, stats.budget_total_bytes);
	EXPECT_EQ(SLICE, stats.budget_used_bytes);
}

/* A slice with @random seconds of random stall a second beside @sequential ones. */
static void stalls(struct world *w, uint32_t i, double random, double sequential)
{
	world_slice(w, i, 0.5, 1);
	w->slices[i].random_stall_rate = (float)random;
	w->slices[i].stall_rate = (float)(random + sequential);
}

TEST_F(policy, readahead_stops_where_misses_are_random_and_comes_back_for_scans)
{
	self->w->budget.advice_allowed = true;
	stalls(self->w, 3, 0.01, 0);
	stalls(self->w, 4, 0.0005, 0); /* too little to matter */
	stalls(self->w, 5, 0.01, 0.05); /* scanned more than read at random */
	ASSERT_TURN(self->w, 500);
	ASSERT_EQ(1, world_count(self->w, PF_ACTION_ADVISE_RANDOM));
	EXPECT_EQ(3, self->w->decisions[0].index);
	EXPECT_EQ(PINFOLD_REASON_RANDOM_MISSES, self->w->decisions[0].reason);
	EXPECT_EQ(PINFOLD_REASON_COLD, world_reason(self->w, 3)); /* why it is not pinned is another matter */
	for (int t = 0; t < 50; t++) {
		ASSERT_TURN(self->w, 500);
		EXPECT_EQ(0, self->w->decision_count);
	}
	stalls(self->w, 3, 0.01, 0.05);
	for (int t = 0; t < 19; t++) {
		ASSERT_TURN(self->w, 500);
		ASSERT_EQ(0, world_count(self->w, PF_ACTION_ADVISE_NORMAL));
	}
	ASSERT_TURN(self->w, 500);
	ASSERT_EQ(1, world_count(self->w, PF_ACTION_ADVISE_NORMAL));
	EXPECT_EQ(3, self->w->decisions[0].index);
}

/* In this turn, @touches random ones a second that stall for @cost_s each. */
static void misses(struct world *w, uint32_t i, double touches, double cost_s)
{
	w->slices[i].turn_random_rate = (float)touches;
	w->slices[i].turn_random_stall_rate = (float)(touches * cost_s);
}

TEST_F(policy, dear_misses_start_an_exploration_that_keeps_what_it_shows)
{
	uint32_t off;

	self->w->budget.advice_allowed = true;
	for (uint32_t i = 0; i < 25; i++) {
		stalls(self->w, i, 0.0009, 0.0001); /* each too little by itself */
		misses(self->w, i, 10, 0.001);
	}
	ASSERT_TURN(self->w, 500);
	EXPECT_EQ(0, self->w->decision_count); /* a touch costs nothing much */
	for (uint32_t i = 0; i < 25; i++)
		misses(self->w, i, 0.1, 0.02);
	ASSERT_TURN(self->w, 500);
	EXPECT_EQ(0, self->w->decision_count); /* 50 ms a second are no misery */
	for (uint32_t i = 0; i < 25; i++)
		misses(self->w, i, 0.5, 0.02);
	ASSERT_TURN(self->w, 500);
	off = world_count(self->w, PF_ACTION_ADVISE_RANDOM);
	EXPECT_EQ(self->w->snapshot.slice_count, off);
	EXPECT_EQ(1, self->w->decision_count); /* in one run */
	for (uint32_t i = 0; i < 25; i++)
		stalls(self->w, i, i < 10 ? 0.0005 : 0.0001, 0);
	stalls(self->w, 7, 0.0005, 0.01); /* it is being scanned */
	ASSERT_TURN(self->w, 500);
	EXPECT_EQ(0, self->w->decision_count);
	ASSERT_TURN(self->w, 500);
	EXPECT_EQ(off - 9, world_count(self->w, PF_ACTION_ADVISE_NORMAL));
	stalls(self->w, 20, 0.3, 0);
	ASSERT_TURN(self->w, 500);
	EXPECT_EQ(1, world_count(self->w, PF_ACTION_ADVISE_RANDOM)); /* itself; no new exploration so soon */
}

/* What was stopped by its first miss does not count again, however long its stall is remembered. */
TEST_F(policy, misses_without_readahead_start_no_exploration)
{
	self->w->budget.advice_allowed = true;
	stalls(self->w, 3, 0.01, 0);
	ASSERT_TURN(self->w, 500);
	ASSERT_EQ(1, world_count(self->w, PF_ACTION_ADVISE_RANDOM));
	stalls(self->w, 3, 0.9, 0);
	misses(self->w, 3, 45, 0.02);
	for (int t = 0; t < 20; t++) {
		ASSERT_TURN(self->w, 500);
		ASSERT_EQ(0, self->w->decision_count);
	}
}

/* Turns until the next exploration starts. */
static uint32_t turns_to_explore(struct world *w)
{
	for (uint32_t turns = 1; turns < 1000; turns++) {
		if (world_turn(w, 500))
			return 0;
		if (world_count(w, PF_ACTION_ADVISE_RANDOM) > 1)
			return turns;
	}
	return 0;
}

TEST_F(policy, explorations_that_find_nothing_become_rare)
{
	static const uint32_t rest[] = { 1, 20, 40, 80, 160, 160 };

	self->w->budget.advice_allowed = true;
	for (uint32_t i = 0; i < 50; i++) /* all alike: nothing to pin, and too little each to lose its readahead */
		misses(self->w, i, 0.5, 0.02);
	for (size_t i = 0; i < sizeof(rest) / sizeof(rest[0]); i++) {
		const uint32_t turns = turns_to_explore(self->w);

		EXPECT_EQ(rest[i] + (i ? 2 : 0), turns) TH_LOG("exploration %zu", i);
	}
	world_slice(self->w, 7, 20, 1); /* found by the last */
	ASSERT_TURN(self->w, 500);
	ASSERT_TRUE(self->w->pinned[7]);
	EXPECT_EQ(10 + 1, turns_to_explore(self->w));
}

TEST_F(policy, an_exploration_goes_on_while_it_pays)
{
	self->w->budget.advice_allowed = true;
	for (uint32_t i = 0; i < 50; i++)
		misses(self->w, i, 0.5, 0.02);
	ASSERT_EQ(1, turns_to_explore(self->w));
	for (uint32_t i = 0; i < self->w->snapshot.slice_count; i++)
		stalls(self->w, i, 0.0002, 0); /* 25 touches a second were held up; so many more are not */
	for (int t = 0; t < 50; t++) {
		ASSERT_TURN(self->w, 500);
		ASSERT_EQ(0, self->w->decision_count) TH_LOG("turn %d", t);
	}
	for (uint32_t i = 0; i < 5; i++)
		stalls(self->w, i, 0.0002, 0.0005); /* a scan begins */
	ASSERT_TURN(self->w, 500);
	EXPECT_EQ(self->w->snapshot.slice_count, world_count(self->w, PF_ACTION_ADVISE_NORMAL));
}

TEST_F(policy, a_pin_out_of_use_is_replaced_at_once)
{
	for (uint32_t i = 0; i < 40; i++)
		world_slice(self->w, i, 20, 1);
	for (int t = 0; t < 4; t++)
		ASSERT_TURN(self->w, 500);
	ASSERT_EQ(40, self->w->pinned_count);
	for (uint32_t i = 0; i < 20; i++)
		world_slice(self->w, i, 0, 0.5); /* telemetry took a while to say so; smoothing would take another */
	for (uint32_t i = 50; i < 70; i++)
		world_slice(self->w, i, 5, 1); /* lower than what the old pins were worth */
	ASSERT_TURN(self->w, 500);
	for (uint32_t i = 0; i < 20; i++) {
		EXPECT_FALSE(self->w->pinned[i]);
		EXPECT_TRUE(self->w->pinned[50 + i]);
	}
}

TEST_F(policy, readahead_is_the_programs_if_it_says_so)
{
	stalls(self->w, 3, 0.01, 0);
	ASSERT_TURN(self->w, 500);
	EXPECT_EQ(0, self->w->decision_count);
}

TEST_F(policy, bad_input_is_refused_and_changes_nothing)
{
	struct pinfold_pin_config config = { .class_ = { { 50, 0 }, { 50, 0 }, { 50, 0 } } };
	struct pf_policy *policy = NULL;

	EXPECT_EQ(-EINVAL, pf_policy_new(&config, SLICE, &policy));
	EXPECT_EQ(-EINVAL, pf_policy_new(NULL, SLICE + 1, &policy));
	config = (struct pinfold_pin_config){ .pin_heat_percent = 40 };
	EXPECT_EQ(-EINVAL, pf_policy_new(&config, SLICE, &policy)); /* below unpin_heat */
	EXPECT_NE(NULL, strstr(pf_error_text(), "ascend"));
	EXPECT_EQ(NULL, policy);

	world_slice(self->w, 7, 4, 1);
	self->w->slices[8].index = 7;
	EXPECT_EQ(-EINVAL, pf_policy_decide(self->w->policy, &self->w->snapshot, &self->w->budget, &self->w->decisions,
					    &self->w->decision_count));
	self->w->slices[8].index = 8;
	EXPECT_EQ(NULL, world_check(self->w));
	self->w->slices[9].heat = NAN;
	self->w->slices[9].value = -INFINITY;
	self->w->slices[9].confidence = NAN;
	ASSERT_TURN(self->w, 500);
	EXPECT_EQ(1, self->w->pinned_count);
}

TEST_HARNESS_MAIN
