// SPDX-License-Identifier: GPL-2.0-only
/* Explanations: what is true of a slice is what its sentences say. */
#include "explain.h"
#include "kselftest_harness.h"

#include <errno.h>

#define SLICE (2ull << 20)

static struct watch make_watch(void)
{
	struct watch watch = {0};

	watch.info.slice_size = SLICE;
	watch.info.open_ms = 60000;
	watch.info.pin.budget_total_bytes = 200ull << 20;
	watch.info.pin.budget_used_bytes = 190ull << 20;
	strcpy(watch.info.source, "bpf:range");
	return watch;
}

static struct explanation explain_one(const struct pinfold_live_slice *slices, size_t count, const struct watch *watch,
				      const struct explain_host *host)
{
	struct explanation explanation;
	struct explain_group group;

	explain_group_take(slices, count, &group);
	explain_make(&group, watch, host, &explanation);
	return explanation;
}

TEST(a_pinned_slice_says_how_long_and_why)
{
	struct pinfold_live_slice s = { .index = 32,
					.state = PINFOLD_SLICE_PINNED,
					.reason = PINFOLD_REASON_TAIL_HOT,
					.priority = PINFOLD_PRIORITY_TAIL_LATENCY_CRITICAL,
					.pattern = PINFOLD_ACCESS_RANDOM,
					.heat = 0.95f,
					.confidence = 0.8f,
					.resident_pages = 512,
					.pin_age_ms = 3200,
					.pin_left_ms = 1800,
					.minor = 12300,
					.major = 410,
					.evicted = 1536,
					.refaulted = 512 };
	const struct explain_host host = {.huge_state = -1, .node_count = 1};
	struct watch watch = make_watch();
	struct explanation e = explain_one(&s, 1, &watch, &host);

	EXPECT_STREQ("0:64M+2M (1 slice)", e.place);
	EXPECT_STREQ("pinned as tail-latency-critical for 3.2 s, to be reviewed in 1.8 s, 100 % in memory.", e.state);
	EXPECT_NE(NULL, strstr(e.why, "heat 0.95; pinned from 0.70, tail-critical from 0.90, let go below 0.50"));
	EXPECT_NE(NULL, strstr(e.seen, "12,300 minor and 410 major faults"));
	EXPECT_NE(NULL, strstr(e.seen, "access looks random (source bpf:range)"));
	EXPECT_NE(NULL, strstr(e.seen, "; 1,536 pages evicted, 512 came back;"));
	EXPECT_EQ(NULL, strstr(e.seen, "stalled in all")); /* nobody timed them */
	EXPECT_STREQ("not moved: the host has one NUMA node.", e.moved);
}

TEST(what_is_not_known_to_be_in_memory_is_said_so)
{
	struct pinfold_live_slice s[] = {
		{.index = 0, .state = PINFOLD_SLICE_PINNED, .resident_pages = UINT32_MAX},
		{.index = 1, .state = PINFOLD_SLICE_PINNED, .resident_pages = 256},
	};
	const struct explain_host host = {0};
	struct watch watch = make_watch();

	EXPECT_NE(NULL, strstr(explain_one(s, 1, &watch, &host).state, ", how much is in memory is not known yet."));
	EXPECT_NE(NULL, strstr(explain_one(s, 2, &watch, &host).state, ", 50 % in memory."));
}

TEST(the_thresholds_are_those_that_run)
{
	struct pinfold_live_slice s = {.state = PINFOLD_SLICE_CACHED, .reason = PINFOLD_REASON_COLD, .heat = 0.31f};
	const struct explain_host host = {0};
	struct watch watch = make_watch();
	struct explanation e;

	watch.info.pin_config.pin_heat_percent = 33;
	watch.info.pin_config.fault_spike_per_s = 77;
	e = explain_one(&s, 1, &watch, &host);
	EXPECT_NE(NULL, strstr(e.why, "pinned from 0.33"));
	EXPECT_NE(NULL, strstr(e.change, "above 0.33"));
	EXPECT_NE(NULL, strstr(e.change, "77 faults per second"));
}

TEST(every_reason_has_a_sentence_and_a_way_out)
{
	const struct explain_host host = {0};
	struct watch watch = make_watch();

	for (unsigned int reason = 0; reason < PINFOLD_REASON_COUNT; reason++) {
		struct pinfold_live_slice s = {.state = PINFOLD_SLICE_CACHED, .reason = (uint8_t)reason};
		struct explanation e = explain_one(&s, 1, &watch, &host);

		EXPECT_EQ(&e.why[0], strstr(e.why, pinfold_reason_text((enum pinfold_reason)reason)));
		EXPECT_LT(20, strlen(e.change)) TH_LOG("reason %u", reason);
		EXPECT_STRNE("unknown", watch_reason_name(reason));
	}
	EXPECT_STREQ("unknown", watch_reason_name(PINFOLD_REASON_COUNT));
}

TEST(a_full_budget_gives_its_numbers)
{
	struct pinfold_live_slice s = {.state = PINFOLD_SLICE_ABSENT, .reason = PINFOLD_REASON_BUDGET, .heat = 0.8f};
	const struct explain_host host = {0};
	struct watch watch = make_watch();
	struct explanation e = explain_one(&s, 1, &watch, &host);

	EXPECT_NE(NULL, strstr(e.why, "190 MiB of 200 MiB used"));
	EXPECT_NE(NULL, strstr(e.change, "max_pinned_percent"));
}

TEST(a_refused_lock_gives_the_kernels_answer)
{
	struct pinfold_live_slice s = { .state = PINFOLD_SLICE_CACHED,
					.reason = PINFOLD_REASON_REFUSED,
					.refused_errno = -EPERM };
	const struct explain_host host = {0};
	struct watch watch = make_watch();
	struct explanation e = explain_one(&s, 1, &watch, &host);

	EXPECT_NE(NULL, strstr(e.why, "The kernel answered: Operation not permitted"));
	EXPECT_NE(NULL, strstr(e.change, "RLIMIT_MEMLOCK"));
}

TEST(folding_is_told_by_its_decision)
{
	struct pinfold_live_slice s = {.index = 3, .state = PINFOLD_SLICE_PINNED, .reason = PINFOLD_REASON_HOT};
	struct pinfold_live_decision decisions[] = {
		{ .index = 3, .slice_count = 1, .action = 1 },
		{ .index = 2, .slice_count = 2, .action = 6, .result = -EAGAIN },
		{ .index = 4, .slice_count = 1, .action = 6 },
	};
	const struct explain_host host = {.huge_state = 1};
	struct watch watch = make_watch();
	struct explanation e;

	watch.decisions = decisions;
	watch.decision_count = 3;
	e = explain_one(&s, 1, &watch, &host);
	EXPECT_NE(NULL, strstr(e.huge, "folding it was refused: Resource temporarily unavailable"))
	TH_LOG("%s", e.huge);
	decisions[1].result = 0;
	e = explain_one(&s, 1, &watch, &host);
	EXPECT_EQ(&e.huge[0], strstr(e.huge, "folded 0.0 s after")) TH_LOG("%s", e.huge);
}

TEST(slices_that_are_alike_and_adjacent_are_one_group)
{
	struct pinfold_live_slice s[] = {
		{.index = 0, .state = 2, .heat = 0.1f, .minor = 1}, {.index = 1, .state = 2, .heat = 0.3f, .minor = 2},
		{.index = 2, .state = 3}, {.index = 4, .state = 3}, {.file_id = 1, .index = 5, .state = 3},
	};
	struct explain_group group;

	explain_group_take(s, 5, &group);
	EXPECT_EQ(2, group.count);
	EXPECT_EQ(3, group.minor);
	EXPECT_EQ(0.3f, group.heat_max);
	explain_group_take(s + 2, 3, &group);
	EXPECT_EQ(1, group.count); /* a gap */
	explain_group_take(s + 3, 2, &group);
	EXPECT_EQ(1, group.count); /* another file */
}

TEST_HARNESS_MAIN
