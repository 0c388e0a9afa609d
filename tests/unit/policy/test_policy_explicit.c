// SPDX-License-Identifier: GPL-2.0-only
/*
 * Explicit pins, and answers of the kernel: refusals, and those that come late.
 */
#include "kselftest_harness.h"
#include "world.h"

#include "base/error.h"

FIXTURE(explicit) {
	struct world *w;
	struct pinfold_pin_opts opts;
};

/* 100 slices, a budget of 40: 20 tail, 12 query, 8 background. */
FIXTURE_SETUP(explicit)
{
	self->w = world_new(100, 40, NULL);
	ASSERT_NE(NULL, self->w);
	self->opts = (struct pinfold_pin_opts){ .priority = PINFOLD_PRIORITY_QUERY_CRITICAL };
}

FIXTURE_TEARDOWN(explicit)
{
	world_free(self->w);
}

static int pin(struct world *w, uint32_t index, uint32_t count, const struct pinfold_pin_opts *opts)
{
	int r = pf_policy_pin(w->policy, 0, index, count, opts, w->snapshot.time_ms, &w->budget);

	for (uint32_t i = index; !r && i < index + count; i++) {
		w->pinned_count += !w->pinned[i];
		w->pinned[i] = true;
	}
	return r;
}

TEST_F(explicit, stays_cold_or_not_until_unpinned)
{
	struct pf_pin_view view;

	ASSERT_EQ(0, pin(self->w, 5, 2, &self->opts));
	for (int t = 0; t < 100; t++)
		ASSERT_TURN(self->w, 10000);
	pf_policy_view(self->w->policy, 0, 5, &view);
	EXPECT_TRUE(view.pinned);
	EXPECT_TRUE(view.explicit_);
	EXPECT_EQ(UINT64_MAX, view.expires_ms);
	EXPECT_EQ(PINFOLD_REASON_EXPLICIT, view.reason);
	EXPECT_EQ(0, pf_policy_unpin(self->w->policy, 0, 5, 2, self->w->snapshot.time_ms));
	EXPECT_EQ(-ENOENT, pf_policy_unpin(self->w->policy, 0, 5, 2, self->w->snapshot.time_ms));
	pf_policy_view(self->w->policy, 0, 5, &view);
	EXPECT_FALSE(view.pinned);
}

TEST_F(explicit, with_a_ttl_ends_with_it)
{
	self->opts.ttl_ms = 2000;
	ASSERT_EQ(0, pin(self->w, 5, 2, &self->opts));
	ASSERT_TURN(self->w, 1900);
	EXPECT_EQ(0, pf_policy_gc(self->w->policy, self->w->snapshot.time_ms));
	EXPECT_EQ(2, pf_policy_gc(self->w->policy, self->w->snapshot.time_ms + 100));
	EXPECT_EQ(0, pf_policy_gc(self->w->policy, self->w->snapshot.time_ms + 100));
	ASSERT_TURN(self->w, 50); /* collected already: no waiting for its own time */
	EXPECT_EQ(2, world_count(self->w, PF_ACTION_UNPIN));
	EXPECT_EQ(PINFOLD_REASON_EXPIRED, world_reason(self->w, 5));
	/* And without gc. */
	ASSERT_EQ(0, pin(self->w, 5, 2, &self->opts));
	ASSERT_TURN(self->w, 2000);
	EXPECT_EQ(0, self->w->pinned_count);
}

TEST_F(explicit, is_bounded_by_its_class_and_says_so)
{
	ASSERT_EQ(0, pin(self->w, 0, 12, &self->opts));
	EXPECT_EQ(-ENOSPC, pin(self->w, 20, 1, &self->opts));
	EXPECT_NE(NULL, strstr(pf_error_text(), "query-critical"));
	EXPECT_NE(NULL, strstr(pf_error_text(), "25165824 of 25165824")); /* 12 slices of 2 MiB */
	EXPECT_EQ(12, self->w->pinned_count);
	EXPECT_EQ(0, pin(self->w, 0, 12, &self->opts)); /* pinned already */
	self->opts.priority = PINFOLD_PRIORITY_BACKGROUND;
	EXPECT_EQ(-ENOSPC, pin(self->w, 20, 9, &self->opts));
	EXPECT_EQ(0, pin(self->w, 20, 8, &self->opts));
	EXPECT_EQ(-ENOSPC, pf_policy_promote(self->w->policy, 0, 20, 1, PINFOLD_PRIORITY_QUERY_CRITICAL, 0));
	EXPECT_EQ(0, pf_policy_promote(self->w->policy, 0, 20, 8, PINFOLD_PRIORITY_TAIL_LATENCY_CRITICAL, 0));
	EXPECT_EQ(PINFOLD_PRIORITY_TAIL_LATENCY_CRITICAL, world_priority(self->w, 20));
	EXPECT_EQ(0, pin(self->w, 40, 8, &self->opts)); /* the background share is free again */
}

TEST_F(explicit, outranks_what_was_learned)
{
	const struct pf_decision *d;
	size_t n;

	for (uint32_t i = 50; i < 90; i++)
		world_slice(self->w, i, 5 + 0.01 * i, 1);
	ASSERT_TURN(self->w, 500);
	ASSERT_EQ(40, self->w->pinned_count);
	/* Room is made before the lock is asked for: at no moment more than the budget. */
	ASSERT_EQ(0, pf_policy_pin(self->w->policy, 0, 0, 12, &self->opts, self->w->snapshot.time_ms,
				   &self->w->budget));
	ASSERT_EQ(0, pf_policy_make_room(self->w->policy, &self->w->budget, self->w->snapshot.time_ms, &d, &n));
	self->w->turn++;
	for (size_t i = 0; i < n; i++) {
		EXPECT_EQ(PF_ACTION_UNPIN, d[i].action);
		ASSERT_EQ(NULL, world_apply(self->w, &d[i], 0));
	}
	EXPECT_EQ(28, self->w->pinned_count);
	for (uint32_t i = 0; i < 12; i++)
		self->w->pinned[i] = true;
	self->w->pinned_count += 12;
	/* Learned ones cannot come back, however hot. */
	for (uint32_t i = 50; i < 90; i++)
		world_slice(self->w, i, 50, 1);
	for (int t = 0; t < 20; t++)
		ASSERT_TURN(self->w, 500);
	for (uint32_t i = 0; i < 12; i++)
		EXPECT_TRUE(self->w->pinned[i]);
	EXPECT_EQ(40, self->w->pinned_count);
}

TEST_F(explicit, next_turn_makes_room_if_nobody_did)
{
	for (uint32_t i = 50; i < 90; i++)
		world_slice(self->w, i, 5, 1);
	ASSERT_TURN(self->w, 500);
	ASSERT_EQ(0, pin(self->w, 0, 12, &self->opts));
	EXPECT_EQ(52, self->w->pinned_count);
	ASSERT_TURN(self->w, 500);
	EXPECT_EQ(40, self->w->pinned_count);
	EXPECT_EQ(12, world_count(self->w, PF_ACTION_UNPIN));
}

TEST_F(explicit, unpinning_what_was_learned_is_respected_for_a_while)
{
	world_slice(self->w, 7, 12, 1);
	ASSERT_TURN(self->w, 500);
	ASSERT_EQ(0, pf_policy_unpin(self->w->policy, 0, 7, 1, self->w->snapshot.time_ms));
	self->w->pinned[7] = false;
	self->w->pinned_count--;
	ASSERT_TURN(self->w, 4000);
	EXPECT_FALSE(self->w->pinned[7]);
	ASSERT_TURN(self->w, 1500);
	EXPECT_TRUE(self->w->pinned[7]);
}

TEST_F(explicit, bad_runs_are_refused)
{
	EXPECT_EQ(-EINVAL, pin(self->w, 5, 0, &self->opts));
	EXPECT_EQ(-EINVAL, pin(self->w, UINT32_MAX, 2, &self->opts));
	self->opts.priority = (enum pinfold_priority)3;
	EXPECT_EQ(-EINVAL, pin(self->w, 5, 1, &self->opts));
	EXPECT_EQ(-ENOENT, pf_policy_promote(self->w->policy, 3, 5, 1, PINFOLD_PRIORITY_BACKGROUND, 0));
}

/* ---- the kernel's answers ---- */

static uint32_t asked;

static int refusing_kernel(struct world *w, const struct pf_decision *decision)
{
	if (decision->action != PF_ACTION_PIN || w->pinned_count < w->kernel_limit_slices)
		return 0;
	asked++;
	return -ENOMEM;
}

TEST_F(explicit, refused_slices_are_asked_for_ever_more_rarely)
{
	struct pf_pin_view view;
	struct pinfold_pin_stats stats;

	self->w->kernel = refusing_kernel;
	self->w->kernel_limit_slices = 0;
	world_slice(self->w, 7, 12, 1);
	asked = 0;
	for (int t = 0; t < 1200; t++) {
		ASSERT_TURN(self->w, 500);
		EXPECT_EQ(0, self->w->pinned_count);
	}
	/* Ten minutes: not 1200 times. */
	EXPECT_LE(asked, 12) TH_LOG("asked %u times", asked);
	EXPECT_LE(4, asked) TH_LOG("asked %u times", asked);
	pf_policy_view(self->w->policy, 0, 7, &view);
	EXPECT_EQ(ENOMEM, view.refused_errno);
	EXPECT_EQ(PINFOLD_REASON_REFUSED, view.reason);
	pf_policy_stat(self->w->policy, &self->w->budget, &stats);
	EXPECT_EQ(asked, stats.refused_count);
	/* When the limit is lifted, it is found out. */
	self->w->kernel = NULL;
	for (int t = 0; t < 4800 && !self->w->pinned[7]; t++)
		ASSERT_TURN(self->w, 500);
	EXPECT_TRUE(self->w->pinned[7]);
	pf_policy_view(self->w->policy, 0, 7, &view);
	EXPECT_EQ(0, view.refused_errno);
}

TEST_F(explicit, what_the_kernel_lets_through_becomes_the_budget)
{
	self->w->kernel = refusing_kernel;
	self->w->kernel_limit_slices = 10;
	for (uint32_t i = 0; i < 90; i += 3)
		world_slice(self->w, i, 12 + i, 1);
	asked = 0;
	for (int t = 0; t < 40; t++)
		ASSERT_TURN(self->w, 500);
	EXPECT_EQ(10, self->w->pinned_count);
	EXPECT_LE(asked, 45) TH_LOG("asked %u times in 20 s", asked);
	/* Within it, hotter slices still replace colder ones. */
	asked = 0;
	world_slice(self->w, 1, 1000, 1);
	for (int t = 0; t < 10; t++)
		ASSERT_TURN(self->w, 500);
	EXPECT_TRUE(self->w->pinned[1]);
	EXPECT_EQ(0, asked);
}

TEST_F(explicit, answers_overtaken_by_others_are_set_right)
{
	const struct pf_decision late_pin = { .action = PF_ACTION_PIN, .index = 7, .slice_count = 1 };
	const struct pf_decision late_unpin = { .action = PF_ACTION_UNPIN, .index = 9, .slice_count = 1 };
	const uint64_t now = self->w->snapshot.time_ms;

	/* Locked by an action after the program had unpinned it: not ours, so unlock it. */
	pf_policy_result(self->w->policy, &late_pin, 0, now); /* not known yet: nothing to do */
	ASSERT_TURN(self->w, 500);
	EXPECT_EQ(0, self->w->decision_count);
	pf_policy_result(self->w->policy, &late_pin, 0, now);
	self->w->pinned[7] = true;
	self->w->pinned_count++;
	ASSERT_TURN(self->w, 500);
	ASSERT_EQ(1, world_count(self->w, PF_ACTION_UNPIN));
	EXPECT_EQ(7, self->w->decisions[0].index);
	/* Unlocked by an action after the program had pinned it: lock it again. */
	ASSERT_EQ(0, pin(self->w, 9, 1, &self->opts));
	pf_policy_result(self->w->policy, &late_unpin, 0, now);
	self->w->pinned[9] = false;
	self->w->pinned_count--;
	ASSERT_TURN(self->w, 500);
	ASSERT_EQ(1, world_count(self->w, PF_ACTION_PIN));
	EXPECT_EQ(9, self->w->decisions[0].index);
	EXPECT_EQ(PINFOLD_REASON_EXPLICIT, self->w->decisions[0].reason);
	ASSERT_TURN(self->w, 500);
	EXPECT_EQ(0, self->w->decision_count);
}

TEST_HARNESS_MAIN
