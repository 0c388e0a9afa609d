// SPDX-License-Identifier: GPL-2.0-only
/*
 * Prefetch: exactly the ranges asked for become resident, from any thread; a bad range is an error of its own.
 */
#include "file.h"

#include "base/error.h"

#include <pthread.h>
#include <sys/resource.h>

#include "kselftest_harness.h"

#define SEED 20240001u
#define SIZE (32 * MIB)
#define RANGES 600

FIXTURE(prefetch) {
	struct test_file file;
	struct pf_prefetcher *prefetcher;
	struct pf_range ranges[RANGES];
};

FIXTURE_SETUP(prefetch)
{
	size_t page = pf_page_size(), pages = SIZE / page;
	unsigned seed = SEED;

	ASSERT_TRUE(test_file_open(&self->file, SIZE));
	ASSERT_EQ(0, pf_prefetcher_new(64, &self->prefetcher));
	/* one page in each stretch of pages / RANGES: random, and no two alike */
	TH_LOG("seed %u", seed);
	for (size_t i = 0; i < RANGES; i++) {
		size_t stretch = pages / RANGES;
		size_t at = i * stretch + (size_t)rand_r(&seed) % stretch;

		self->ranges[i] = test_range(&self->file, at * page, page);
	}
}

FIXTURE_TEARDOWN(prefetch)
{
	pf_prefetcher_free(self->prefetcher);
	test_file_close(&self->file);
}

TEST_F(prefetch, makes_exactly_these_pages_resident)
{
	struct rusage before, after;
	size_t good = 0;

	ASSERT_EQ(0, pf_prefetch_ranges(self->prefetcher, self->ranges, RANGES, true)) TH_LOG("%s", pf_error_text());
	EXPECT_EQ(RANGES, test_resident(&self->file, 0, SIZE))
	TH_LOG("pages around the ranges were read, or some were not");
	getrusage(RUSAGE_SELF, &before);
	for (size_t i = 0; i < RANGES; i++)
		good += *(volatile uint64_t *)self->ranges[i].addr == test_word(self->ranges[i].offset);
	getrusage(RUSAGE_SELF, &after);
	EXPECT_EQ(RANGES, good);
	EXPECT_EQ(before.ru_majflt, after.ru_majflt);
}

/* Of one call the kernel reads no more than the device's window: nobody maps the rest here, as who waits does. */
TEST_F(prefetch, without_waiting_reads_all_of_a_large_range)
{
	struct pf_range all = test_range(&self->file, 0, SIZE);
	size_t resident = 0;

	ASSERT_EQ(0, pf_prefetch_ranges(self->prefetcher, &all, 1, false));
	for (int i = 0; i < 10000 && resident != SIZE / pf_page_size(); i++) {
		resident = test_resident(&self->file, 0, SIZE);
		usleep(1000);
	}
	EXPECT_EQ(SIZE / pf_page_size(), resident);
}

TEST_F(prefetch, without_waiting_reads_the_same_pages)
{
	size_t resident = 0;

	ASSERT_EQ(0, pf_prefetch_ranges(self->prefetcher, self->ranges, RANGES, false));
	for (int i = 0; i < 2000 && resident != RANGES; i++) {
		resident = test_resident(&self->file, 0, SIZE);
		usleep(1000);
	}
	EXPECT_EQ(RANGES, resident);
}

TEST_F(prefetch, takes_ranges_of_any_size)
{
	struct pf_range ranges[3] = { test_range(&self->file, 0, 5 * MIB),
				      test_range(&self->file, 8 * MIB, pf_page_size()),
				      test_range(&self->file, 16 * MIB, 9 * MIB) };

	ASSERT_EQ(0, pf_prefetch_ranges(self->prefetcher, ranges, 3, true));
	EXPECT_EQ(14 * MIB / pf_page_size() + 1, test_resident(&self->file, 0, SIZE));
	EXPECT_EQ(0, pf_prefetch_ranges(self->prefetcher, ranges, 0, true));
}

TEST_F(prefetch, tells_which_range_failed)
{
	struct pf_range ranges[3] = {test_range(&self->file, 0, MIB), test_range(&self->file, 20 * MIB, MIB),
				     test_range(&self->file, 2 * MIB, MIB)};
	int results[3] = {1, 1, 1};

	ASSERT_EQ(0, ftruncate(self->file.fd, 16 * MIB));
	EXPECT_EQ(-EIO, pf_prefetch_each(self->prefetcher, ranges, 3, results));
	EXPECT_EQ(0, results[0]);
	EXPECT_EQ(-EIO, results[1]);
	EXPECT_EQ(0, results[2]);
	EXPECT_EQ(MIB / pf_page_size(), test_resident(&self->file, 2 * MIB, MIB));
	EXPECT_EQ(-EIO, pf_prefetch_ranges(self->prefetcher, ranges, 3, true));
	EXPECT_NE(NULL, strstr(pf_error_text(), "file offset 20971520")) TH_LOG("%s", pf_error_text());
}

struct share {
	struct pf_prefetcher *prefetcher;
	struct pf_range *ranges;
	size_t count;
	int result;
};

static void *prefetch_share(void *arg)
{
	struct share *share = arg;

	share->result = pf_prefetch_ranges(share->prefetcher, share->ranges, share->count, true);
	return NULL;
}

/* Reads all ranges from @count threads at once. Returns how many of them failed. */
static int prefetch_from_threads(struct pf_prefetcher *prefetcher, struct pf_range *ranges, int count)
{
	struct share shares[8];
	pthread_t threads[8];
	int started = 0, failed = 0;

	for (; started < count; started++) {
		shares[started] = (struct share){prefetcher, ranges + started * (RANGES / count), RANGES / count, 1};
		if (pthread_create(&threads[started], NULL, prefetch_share, &shares[started]))
			break;
	}
	for (int i = 0; i < started; i++) {
		pthread_join(threads[i], NULL);
		failed += shares[i].result != 0;
	}
	return failed + count - started;
}

TEST_F(prefetch, serves_many_threads)
{
	EXPECT_EQ(0, prefetch_from_threads(self->prefetcher, self->ranges, 4));
	EXPECT_EQ(RANGES, test_resident(&self->file, 0, SIZE));
}

TEST_F(prefetch, serves_more_threads_than_its_queue_is_deep)
{
	struct pf_prefetcher *shallow;

	ASSERT_EQ(0, pf_prefetcher_new(1, &shallow));
	EXPECT_EQ(0, prefetch_from_threads(shallow, self->ranges, 8));
	EXPECT_EQ(RANGES, test_resident(&self->file, 0, SIZE));
	pf_prefetcher_free(shallow);
}

TEST_HARNESS_MAIN
