// SPDX-License-Identifier: GPL-2.0-only
/*
 * Queries against oracles: mincore for what is resident, the test itself for what is
 * dirty, locked and mapped. And folding, migration and the doctor, which the same oracles judge.
 */
#include "file.h"

#include "base/error.h"

#include "kselftest_harness.h"

#define SIZE (16 * MIB)

FIXTURE(query) {
	struct test_file file;
	struct pf_range range;
};

FIXTURE_SETUP(query)
{
	ASSERT_TRUE(test_file_open(&self->file, SIZE));
	self->range = test_range(&self->file, 0, SIZE);
}

FIXTURE_TEARDOWN(query)
{
	test_file_close(&self->file);
}

TEST_F(query, agrees_with_mincore_and_brings_nothing_in)
{
	struct pinfold_residency residency;
	uint64_t pages, page = pf_page_size();
	unsigned seed = 5;

	TH_LOG("seed %u", seed);
	for (int turn = 0; turn < 20; turn++) {
		size_t at = (size_t)rand_r(&seed) % (SIZE / page), n = (size_t)rand_r(&seed) % 200 + 1;
		struct pf_range part = pf_range_part(&self->range, at * page, n * page);

		ASSERT_EQ(0, test_hold(&part));
		pages = test_resident(&self->file, 0, SIZE);
		ASSERT_EQ(0, pf_residency_query(&self->range, &residency));
		EXPECT_EQ(pages * page, residency.resident);
		EXPECT_EQ(pages, test_resident(&self->file, 0, SIZE));
		ASSERT_EQ(0, pf_resident_pages(&self->range, &pages));
		EXPECT_EQ(residency.resident, pages * page);
	}
	EXPECT_EQ(SIZE, residency.size);
}

TEST_F(query, counts_locked_pages_of_locked_parts_only)
{
	struct pf_range locked = pf_range_part(&self->range, 4 * MIB, 3 * MIB),
			other = pf_range_part(&self->range, 10 * MIB, MIB);
	struct pinfold_residency residency;

	ASSERT_EQ(0, test_load(&other));
	ASSERT_EQ(0, pf_residency_query(&self->range, &residency));
	EXPECT_EQ(0, residency.locked);
	ASSERT_EQ(0, pf_pin(&locked, false));
	ASSERT_EQ(0, pf_residency_query(&self->range, &residency));
	EXPECT_EQ(3 * MIB, residency.locked);
	EXPECT_EQ(4 * MIB, residency.resident);
	ASSERT_EQ(0, pf_unpin(&locked));
	ASSERT_EQ(0, pf_residency_query(&self->range, &residency));
	EXPECT_EQ(0, residency.locked);
}

TEST_F(query, counts_dirty_pages_where_cachestat_is)
{
	struct pinfold_residency residency;
	struct pf_cachestat stat;
	char page[4096] = "dirty";
	int r = pf_cachestat(self->file.fd, 0, SIZE, &stat);

	if (r)
		SKIP(return, "cachestat: %s", strerror(-r));
	ASSERT_EQ(4096, pwrite(self->file.fd, page, 4096, 2 * MIB));
	ASSERT_EQ(0, pf_residency_query(&self->range, &residency));
	EXPECT_EQ(4096, residency.dirty + residency.writeback);
}

TEST_F(query, counts_nodes_of_mapped_pages)
{
	struct pf_range part = pf_range_part(&self->range, 0, 2 * MIB);
	struct pinfold_residency residency;
	uint64_t sum = 0;

	ASSERT_EQ(0, test_hold(&part));
	ASSERT_EQ(0, pf_residency_query(&self->range, &residency));
	EXPECT_EQ(pf_node_count(), residency.node_count);
	if (residency.node_bytes[0] == UINT64_MAX)
		SKIP(return, "move_pages is not permitted here");
	for (uint32_t i = 0; i < residency.node_count; i++)
		sum += residency.node_bytes[i];
	EXPECT_EQ(2 * MIB, sum);
}

TEST_F(query, migration_moves_what_is_elsewhere_and_nothing_else)
{
	struct pf_range part = pf_range_part(&self->range, 0, 2 * MIB);
	uint64_t moved = 99;

	EXPECT_EQ(-EINVAL, pf_migrate(&self->range, (int)pf_node_count(), &moved));
	EXPECT_EQ(-EINVAL, pf_migrate(&self->range, -1, &moved));
	EXPECT_EQ(99, moved);
	ASSERT_EQ(0, test_load(&part));
	if (pf_node_count() == 1) {
		ASSERT_EQ(0, pf_migrate(&self->range, 0, &moved)) TH_LOG("%s", pf_error_text());
		EXPECT_EQ(0, moved);
	} else {
		struct pinfold_residency residency;
		int to = (int)pf_node_count() - 1;

		ASSERT_EQ(0, pf_migrate(&self->range, 0, &moved)) TH_LOG("%s", pf_error_text());
		ASSERT_EQ(0, pf_migrate(&self->range, to, &moved)) TH_LOG("%s", pf_error_text());
		EXPECT_EQ(2 * MIB / pf_page_size(), moved);
		ASSERT_EQ(0, pf_residency_query(&self->range, &residency));
		EXPECT_EQ(2 * MIB, residency.node_bytes[to]);
	}
	EXPECT_EQ(2 * MIB / pf_page_size(), test_resident(&self->file, 0, SIZE))
	TH_LOG("migration must read nothing in");
}

TEST_F(query, folding_keeps_the_bytes_and_tells_the_truth)
{
	struct pinfold_residency residency;
	uint64_t word = 42, good = 0;
	int r;

	/* one small resident page, and a dirty one: both in the way of a huge page */
	ASSERT_EQ(test_word(MIB), *(volatile uint64_t *)(self->file.map + MIB));
	ASSERT_EQ(8, pwrite(self->file.fd, &word, 8, 3 * MIB));
	r = pf_fold(&self->range);
	ASSERT_EQ(0, pf_residency_query(&self->range, &residency));
	for (size_t at = 0; at < SIZE; at += 4096)
		good += *(volatile uint64_t *)(self->file.map + at) == (at == 3 * MIB ? 42 : test_word(at));
	EXPECT_EQ(SIZE / 4096, good);
	if (r) {
		EXPECT_EQ(-EOPNOTSUPP, r) TH_LOG("%s", pf_error_text());
		EXPECT_TRUE(residency.huge == 0 || residency.huge == UINT64_MAX);
		SKIP(return, "%s", pf_error_text());
	}
	EXPECT_LT(0, residency.huge);
	if (residency.large_folio != UINT64_MAX)
		EXPECT_LE(residency.huge, residency.large_folio);
	EXPECT_EQ(0, pf_unfold(&self->range));
}

TEST_F(query, folding_needs_an_aligned_block)
{
	struct pf_range part = pf_range_part(&self->range, MIB, 2 * MIB);

	EXPECT_EQ(-EINVAL, pf_fold(&part));
}

TEST(doctor_answers_every_question)
{
	struct pinfold_capability caps[64];
	const char *dir = getenv("TMPDIR");
	int count = pf_residency_doctor(dir && *dir ? dir : "/var/tmp", caps, 64);
	bool populate = false;

	ASSERT_LE(10, count);
	for (int i = 0; i < count; i++) {
		TH_LOG("%-16s %2d  %s", caps[i].name, caps[i].state, caps[i].found);
		EXPECT_NE(NULL, caps[i].name);
		EXPECT_NE('\0', caps[i].found[0]);
		EXPECT_NE(NULL, caps[i].adds);
		EXPECT_EQ(caps[i].state == 1, caps[i].how == NULL);
		populate |= !strcmp(caps[i].name, "populate_read") && caps[i].state == 1;
	}
	EXPECT_TRUE(populate) TH_LOG("every kernel this supports has it");
	EXPECT_EQ(3, pf_residency_doctor(NULL, caps, 3));
	count = pf_residency_doctor("/nonexistent", caps, 64);
	for (int i = 0; i < count; i++)
		if (!strcmp(caps[i].name, "o_direct"))
			EXPECT_EQ(-1, caps[i].state);
}

TEST_HARNESS_MAIN
