// SPDX-License-Identifier: GPL-2.0-only
/*
 * Scans: every byte once and in order whatever is resident, dirty or cold; the
 * cache as it was; the same through every fallback; errors instead of signals.
 */
#include "file.h"

#include "base/error.h"

#include "kselftest_harness.h"

#define SIZE (24 * MIB)

FIXTURE(scan) {
	struct test_file file;
};

#define NO_RING (1u << 8)

FIXTURE_VARIANT(scan) {
	uint32_t flags; /* PF_SCAN_*, NO_RING */
	uint32_t depth;
	enum pf_ring_wait wait;
};

FIXTURE_VARIANT_ADD(scan, ring) { .flags = 0, .depth = 8 };
FIXTURE_VARIANT_ADD(scan, polling) { .depth = 8, .wait = PF_RING_POLLING };
FIXTURE_VARIANT_ADD(scan, hybrid) { .depth = 8, .wait = PF_RING_HYBRID };
FIXTURE_VARIANT_ADD(scan, pread) { .flags = NO_RING, .depth = 8 };
FIXTURE_VARIANT_ADD(scan, buffered) { .flags = PF_SCAN_NO_DIRECT, .depth = 8 };

static enum pf_ring_wait wait_mode; /* of the variant under test */

static int open_scan(const struct pf_range *ranges, size_t count, uint32_t depth, uint32_t flags,
		     struct pf_scan **ret_scan)
{
	struct pf_ring_options wish = {.sq_entries = 256, .wait = wait_mode};

	return pf_scan_open_flags(ranges, count, depth, flags & NO_RING ? NULL : &wish, flags & ~NO_RING, ret_scan);
}

FIXTURE_SETUP(scan)
{
	wait_mode = variant->wait;
	ASSERT_TRUE(test_file_open(&self->file, SIZE));
}

FIXTURE_TEARDOWN(scan)
{
	test_file_close(&self->file);
}

struct outcome {
	int result;
	uint64_t bytes, wrong_words, in_place;
	uint64_t out_of_order;
};

/** Scans @ranges and compares with test_word(), or with @changed_word in [@changed_at, + 4 KiB). */
static struct outcome scan_all(struct test_file *file, const struct pf_range *ranges, size_t count, uint32_t flags,
			       uint32_t depth, uint64_t changed_at, uint64_t changed_word)
{
	struct outcome out = {0};
	struct pf_scan *scan;
	const void *data;
	size_t size, index, expected_index = 0;
	uint64_t offset, expected = 0;

	out.result = open_scan(ranges, count, depth, flags, &scan);
	if (out.result)
		return out;
	while ((out.result = pf_scan_next(scan, &data, &size, &index, &offset)) == 1) {
		const uint64_t *words = data;

		while (expected_index < count && expected == ranges[expected_index].size) {
			expected_index++;
			expected = 0;
		}
		out.out_of_order += index != expected_index || offset != expected || !size;
		expected = offset + size;
		for (size_t i = 0; i < size / 8; i++) {
			uint64_t at = ranges[index].offset + offset + i * 8;
			bool changed = at >= changed_at && at < changed_at + 4096;

			out.wrong_words += words[i] != (changed ? changed_word : test_word(at));
		}
		out.bytes += size;
		if ((const char *)data >= file->map && (const char *)data < file->map + file->size)
			out.in_place += size;
	}
	pf_scan_close(scan);
	return out;
}

TEST_F(scan, of_a_cold_file_leaves_it_cold)
{
	struct pf_range range = test_range(&self->file, 0, SIZE);
	struct outcome out = scan_all(&self->file, &range, 1, variant->flags, variant->depth, SIZE, 0);

	EXPECT_EQ(0, out.result) TH_LOG("%s", pf_error_text());
	EXPECT_EQ(SIZE, out.bytes);
	EXPECT_EQ(0, out.wrong_words);
	EXPECT_EQ(0, out.out_of_order);
	EXPECT_EQ(0, out.in_place);
	EXPECT_EQ(0, test_resident(&self->file, 0, SIZE));
}

TEST_F(scan, of_a_hot_file_is_in_place)
{
	struct pf_range range = test_range(&self->file, 0, SIZE);
	struct pf_scan *scan;
	struct outcome out;
	const void *data;
	size_t size, index;
	uint64_t offset;

	ASSERT_EQ(0, test_hold(&range));
	out = scan_all(&self->file, &range, 1, variant->flags, variant->depth, SIZE, 0);
	EXPECT_EQ(0, out.result);
	EXPECT_EQ(SIZE, out.bytes);
	EXPECT_EQ(SIZE, out.in_place);
	EXPECT_EQ(0, out.wrong_words + out.out_of_order);

	ASSERT_EQ(0, open_scan(&range, 1, variant->depth, variant->flags, &scan));
	ASSERT_EQ(1, pf_scan_next(scan, &data, &size, &index, &offset));
	EXPECT_EQ(16 * MIB, size) TH_LOG("hot blocks must be large");
	pf_scan_close(scan);
}

TEST_F(scan, of_mixed_dirty_and_scattered_pages_is_exact)
{
	struct pf_range ranges[3] = {test_range(&self->file, 3 * MIB, 12 * MIB), test_range(&self->file, 0, MIB),
				     test_range(&self->file, 17 * MIB + 4 * pf_page_size(), 6 * MIB + pf_page_size())};
	struct pf_range part;
	size_t page = pf_page_size(), resident;
	uint64_t changed[512];
	unsigned seed = 77;
	struct outcome out;

	TH_LOG("seed %u", seed);
	part = test_range(&self->file, 5 * MIB + 3 * page, 2 * MIB);
	ASSERT_EQ(0, test_hold(&part));
	for (int i = 0; i < 300; i++) { /* crumbs */
		part = test_range(&self->file, (size_t)rand_r(&seed) % (SIZE / page) * page, page);
		ASSERT_EQ(0, test_hold(&part));
	}
	for (size_t i = 0; i < 512; i++)
		changed[i] = 0x5555aaaa5555aaaaull;
	ASSERT_EQ(4096, pwrite(self->file.fd, changed, 4096, 12 * MIB)); /* dirty, among missing pages */
	resident = test_resident(&self->file, 0, SIZE);

	out = scan_all(&self->file, ranges, 3, variant->flags, variant->depth, 12 * MIB, changed[0]);
	EXPECT_EQ(0, out.result) TH_LOG("%s", pf_error_text());
	EXPECT_EQ(ranges[0].size + ranges[1].size + ranges[2].size, out.bytes);
	EXPECT_EQ(0, out.wrong_words);
	EXPECT_EQ(0, out.out_of_order);
	EXPECT_LE(2 * MIB, out.in_place);
	EXPECT_EQ(resident, test_resident(&self->file, 0, SIZE)) TH_LOG("the scan changed what is resident");
}

TEST_F(scan, of_a_file_truncated_meanwhile_is_eio)
{
	struct pf_range range = test_range(&self->file, 0, SIZE);
	struct pf_scan *scan;
	const void *data;
	size_t size, index;
	uint64_t offset, bytes = 0;
	int r;

	ASSERT_EQ(0, open_scan(&range, 1, variant->depth, variant->flags, &scan));
	ASSERT_EQ(1, pf_scan_next(scan, &data, &size, &index, &offset));
	bytes = size;
	ASSERT_EQ(0, ftruncate(self->file.fd, 17 * MIB + 100));
	while ((r = pf_scan_next(scan, &data, &size, &index, &offset)) == 1)
		bytes += size;
	EXPECT_EQ(-EIO, r);
	EXPECT_EQ(17 * MIB, bytes);
	EXPECT_NE(NULL, strstr(pf_error_text(), "file offset 17825792")) TH_LOG("%s", pf_error_text());
	EXPECT_EQ(-EIO, pf_scan_next(scan, &data, &size, &index, &offset)) TH_LOG("an error is final");
	pf_scan_close(scan);
}

TEST_F(scan, can_be_closed_with_reads_in_flight)
{
	struct pf_range range = test_range(&self->file, 0, SIZE);
	struct pf_scan *scan;
	const void *data;
	size_t size, index;
	uint64_t offset;

	for (int i = 0; i < 20; i++) {
		ASSERT_EQ(0, open_scan(&range, 1, i & 1 ? 1 : variant->depth, variant->flags, &scan));
		ASSERT_EQ(1, pf_scan_next(scan, &data, &size, &index, &offset));
		EXPECT_EQ(test_word(0), *(const uint64_t *)data);
		pf_scan_close(scan);
	}
}

TEST(scan_of_nothing_ends_at_once)
{
	struct pf_scan *scan;
	const void *data;
	size_t size, index;
	uint64_t offset;

	ASSERT_EQ(0, pf_scan_open(NULL, 0, 0, NULL, &scan));
	EXPECT_EQ(0, pf_scan_next(scan, &data, &size, &index, &offset));
	pf_scan_close(scan);
	pf_scan_close(NULL);
}

TEST_HARNESS_MAIN
