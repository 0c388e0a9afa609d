/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * test_engine.c - the public API end to end: reading, guards, scans, pins.
 */
#include "fixture.h"

TEST_F(store, pointer_shows_bulk_data_and_is_read_only)
{
	struct pinfold_extent extent;
	const uint64_t *words;
	const void *ptr;

	ASSERT_EQ(0, fill_extent(self->pf, 2 * MIB, 7, &extent));
	pinfold_read_begin(self->pf);
	ASSERT_EQ(0, pinfold_extent_ptr(self->pf, &extent, &ptr));
	words = ptr;
	for (uint64_t i = 0; i < 2 * MIB / 8; i++)
		ASSERT_EQ(7 + i, words[i]);
	pinfold_read_end(self->pf);
	/* A system call that writes there is refused: no store instruction could either. */
	int fd = open("/dev/zero", O_RDONLY);

	EXPECT_EQ(-1, read(fd, (void *)ptr, 8));
	EXPECT_EQ(EFAULT, errno);
	close(fd);
}

TEST_F(store, transaction_is_seen_whole_after_commit)
{
	uint64_t one = 111, two = 222, got;
	struct pinfold_extent a, b;
	struct pinfold_txn *txn;

	ASSERT_EQ(0, fill_extent(self->pf, 2 * MIB, 0, &a));
	ASSERT_EQ(0, fill_extent(self->pf, 4 * MIB, 0, &b));
	ASSERT_EQ(0, pinfold_txn_begin(self->pf, &txn));
	ASSERT_EQ(0, pinfold_txn_write(txn, &a, 4096, &one, sizeof(one)));
	ASSERT_EQ(0, pinfold_txn_write(txn, &b, 3 * MIB, &two, sizeof(two)));
	ASSERT_EQ(0, pinfold_read_value(self->pf, &a, 4096, &got));
	EXPECT_EQ(512, got);
	ASSERT_EQ(0, pinfold_txn_commit(txn));
	ASSERT_EQ(0, pinfold_read_value(self->pf, &a, 4096, &got));
	EXPECT_EQ(one, got);
	ASSERT_EQ(0, pinfold_read_value(self->pf, &b, 3 * MIB, &got));
	EXPECT_EQ(two, got);
}

TEST_F(store, range_and_stale_references_are_refused)
{
	struct pinfold_extent extent, wild = { .file_id = 99, .offset = 0, .len = 2 * MIB };
	struct pinfold_txn *txn;
	const void *ptr;
	uint64_t got;

	ASSERT_EQ(0, fill_extent(self->pf, 2 * MIB, 0, &extent));
	EXPECT_EQ(-ERANGE, pinfold_read_at(self->pf, &extent, 2 * MIB - 4, &got, 8));
	EXPECT_EQ(-ERANGE, pinfold_read_at(self->pf, &extent, UINT64_MAX - 3, &got, 8));
	EXPECT_GT(0, pinfold_extent_ptr(self->pf, &wild, &ptr));
	ASSERT_EQ(0, pinfold_txn_begin(self->pf, &txn));
	ASSERT_EQ(0, pinfold_txn_drop(txn, &extent));
	ASSERT_EQ(0, pinfold_txn_commit(txn));
	EXPECT_EQ(-ESTALE, pinfold_extent_ptr(self->pf, &extent, &ptr));
	EXPECT_EQ(-ESTALE, pinfold_read_at(self->pf, &extent, 0, &got, 8));
}

TEST_F(store, an_unpublished_extent_is_given_back)
{
	struct pinfold_store_stats before, after;
	struct pinfold_extent extent, published;
	struct pinfold_txn *txn;
	const void *ptr;

	ASSERT_EQ(0, pinfold_store_stat(self->pf, &before));
	ASSERT_EQ(0, pinfold_extent_alloc(self->pf, 4 * MIB, 0, &extent));
	ASSERT_EQ(0, pinfold_txn_begin(self->pf, &txn));
	ASSERT_EQ(0, pinfold_txn_publish(txn, &extent));
	ASSERT_EQ(0, pinfold_extent_free(self->pf, &extent));
	EXPECT_EQ(-ESTALE, pinfold_extent_ptr(self->pf, &extent, &ptr));
	EXPECT_EQ(-ESTALE, pinfold_extent_free(self->pf, &extent));
	/* A transaction that named it before cannot happen any more. */
	EXPECT_EQ(-ESTALE, pinfold_txn_commit(txn));
	ASSERT_EQ(0, pinfold_checkpoint(self->pf));
	ASSERT_EQ(0, pinfold_store_stat(self->pf, &after));
	EXPECT_EQ(before.published_bytes, after.published_bytes);
	ASSERT_EQ(0, fill_extent(self->pf, 2 * MIB, 0, &published));
	EXPECT_EQ(-EPERM, pinfold_extent_free(self->pf, &published));
	EXPECT_NE(NULL, strstr(pinfold_errmsg(self->pf), "is published"));
	EXPECT_EQ(-EINVAL, pinfold_extent_free(self->pf, NULL));
}

TEST_F(store, truncated_file_is_an_error_not_a_signal)
{
	struct pinfold_guard guard;
	struct pinfold_extent extent;
	volatile uint64_t sum = 0;
	volatile int reached = 0;
	const void *ptr;
	char path[128];
	uint64_t got;
	int r;

	ASSERT_EQ(0, fill_extent(self->pf, 64 * MIB, 0, &extent));
	ASSERT_EQ(0, pinfold_extent_ptr(self->pf, &extent, &ptr));
	r = pinfold_guard_enter(self->pf, &guard);
	if (r == 0) {
		sum += *(const uint64_t *)ptr;
		pinfold_guard_leave(&guard);
	}
	ASSERT_EQ(0, r);
	snprintf(path, sizeof(path), "%s/data.%06u", self->dir, extent.file_id);
	ASSERT_EQ(0, truncate(path, (off_t)extent.offset));
	r = pinfold_guard_enter(self->pf, &guard);
	if (r == 0) {
		reached = 1;
		sum += *(const volatile uint64_t *)((const char *)ptr + 32 * MIB);
		reached = 2;
		pinfold_guard_leave(&guard);
	}
	EXPECT_EQ(-EIO, r);
	EXPECT_EQ(1, reached);
	EXPECT_NE(NULL, strstr(pinfold_errmsg(self->pf), "data.00000"));
	EXPECT_EQ(-EIO, pinfold_read_at(self->pf, &extent, 32 * MIB, &got, sizeof(got)));
	ASSERT_EQ(0, truncate(path, 1024 * MIB));
}

/* Calls of the library inside the innermost section that a program may have. */
static void calls_inside(struct __test_metadata *_metadata, struct pinfold *pf, const struct pinfold_extent *extent)
{
	struct pinfold_record record;
	struct pinfold_cursor *cursor;
	struct pinfold_table *table;
	uint64_t got;
	size_t size;

	EXPECT_EQ(0, pinfold_read_at(pf, extent, 0, &got, sizeof(got)));
	EXPECT_EQ(7, got);
	ASSERT_EQ(0, pinfold_table_open(pf, "t", PINFOLD_TABLE_CREATE, &table));
	EXPECT_EQ(0, pinfold_table_put(table, "k", 1, &got, sizeof(got)));
	EXPECT_EQ(0, pinfold_table_get(table, "k", 1, &got, sizeof(got), &size));
	ASSERT_EQ(0, pinfold_cursor_open(table, &cursor));
	EXPECT_EQ(1, pinfold_cursor_next(cursor, &record));
	EXPECT_EQ(0, pinfold_cursor_next(cursor, &record));
	pinfold_cursor_close(cursor);
	pinfold_table_close(table);
}

TEST_F(store, guards_nest_eight_deep_beside_those_of_the_library)
{
	struct pinfold_guard guards[9];
	struct pinfold_extent extent;
	volatile int innermost = 0, seen = 0;
	const void *ptr;
	char path[128];
	int depth;

	ASSERT_EQ(0, fill_extent(self->pf, 64 * MIB, 7, &extent));
	ASSERT_EQ(0, pinfold_extent_ptr(self->pf, &extent, &ptr));
	for (depth = 0; depth < 8; depth++)
		ASSERT_EQ(0, pinfold_guard_enter(self->pf, &guards[depth]));
	calls_inside(_metadata, self->pf, &extent);
	EXPECT_EQ(-E2BIG, pinfold_guard_enter(self->pf, &guards[8]));
	EXPECT_NE(NULL, strstr(pinfold_errmsg(self->pf), "8 deep"));
	pinfold_guard_leave(&guards[7]);
	snprintf(path, sizeof(path), "%s/data.%06u", self->dir, extent.file_id);
	ASSERT_EQ(0, truncate(path, (off_t)extent.offset));
	innermost = pinfold_guard_enter(self->pf, &guards[7]); /* there is room again, and it is the one that answers */
	if (innermost == 0) {
		seen = 1;
		(void)*(const volatile uint64_t *)((const char *)ptr + 32 * MIB);
		seen = 2;
	}
	EXPECT_EQ(-EIO, innermost);
	EXPECT_EQ(1, seen);
	ASSERT_EQ(0, truncate(path, 1024 * MIB));
	EXPECT_EQ(0, pinfold_guard_enter(self->pf, &guards[7])); /* the jump gave its place back */
	EXPECT_EQ(-E2BIG, pinfold_guard_enter(self->pf, &guards[8]));
	for (depth = 8; depth-- > 0;)
		pinfold_guard_leave(&guards[depth]);
}

TEST_F(store, batch_returns_addresses_and_each_error)
{
	struct pinfold_read_req reqs[600];
	struct pinfold_extent extent;

	ASSERT_EQ(0, fill_extent(self->pf, 8 * MIB, 1000, &extent));
	for (int i = 0; i < 600; i++)
		reqs[i] = (struct pinfold_read_req){ .extent = extent, .offset = i * 8192, .size = 64 };
	reqs[300].offset = 8 * MIB;
	pinfold_read_begin(self->pf);
	EXPECT_EQ(-ERANGE, pinfold_read_batch(self->pf, reqs, 600));
	for (int i = 0; i < 600; i++) {
		if (i == 300) {
			EXPECT_EQ(-ERANGE, reqs[i].ret_result);
			EXPECT_EQ(NULL, reqs[i].ret_ptr);
			continue;
		}
		ASSERT_EQ(0, reqs[i].ret_result);
		ASSERT_EQ(1000 + (uint64_t)i * 1024, *(const uint64_t *)reqs[i].ret_ptr);
	}
	pinfold_read_end(self->pf);
}

TEST_F(store, scan_hands_out_every_byte_in_order)
{
	struct pinfold_extent extents[3];
	struct pinfold_scan_block block;
	struct pinfold_scan *scan;
	uint64_t expect_at = 0, total = 0;
	size_t expect_extent = 0;
	int r;

	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, fill_extent(self->pf, 4 * MIB, (uint64_t)i << 32, &extents[i]));
	ASSERT_EQ(0, pinfold_scan_open(self->pf, extents, 3, &scan));
	while ((r = pinfold_scan_next(scan, &block)) == 1) {
		if (block.extent_index != expect_extent) {
			ASSERT_EQ(4 * MIB, expect_at);
			expect_extent++;
			expect_at = 0;
		}
		ASSERT_EQ(expect_extent, block.extent_index);
		ASSERT_EQ(expect_at, block.offset);
		for (size_t i = 0; i < block.size / 8; i += 512)
			ASSERT_EQ(((uint64_t)expect_extent << 32) + block.offset / 8 + i,
				  ((const uint64_t *)block.data)[i]);
		expect_at += block.size;
		total += block.size;
	}
	EXPECT_EQ(0, r);
	EXPECT_EQ(12 * MIB, total);
	pinfold_scan_close(scan);
}

TEST_F(store, pin_unpin_promote_and_budget)
{
	struct pinfold_pin_opts opts = { .priority = PINFOLD_PRIORITY_QUERY_CRITICAL };
	struct pinfold_pin_stats stats;
	struct pinfold_extent extent;
	pinfold_pin_key key;

	ASSERT_EQ(0, fill_extent(self->pf, 4 * MIB, 0, &extent));
	ASSERT_EQ(0, pinfold_pin_slice(self->pf, &extent, 0, 0, &opts, &key))
	{
		TH_LOG("%s", pinfold_errmsg(self->pf));
	}
	EXPECT_TRUE(pinfold_is_pinned(self->pf, key));
	ASSERT_EQ(0, pinfold_pin_stat(self->pf, &stats));
	EXPECT_EQ(4 * MIB, stats.total_pinned_bytes);
	EXPECT_EQ(4 * MIB, stats.by_priority[PINFOLD_PRIORITY_QUERY_CRITICAL].pinned_bytes);
	ASSERT_EQ(0, pinfold_pin_promote(self->pf, key, PINFOLD_PRIORITY_TAIL_LATENCY_CRITICAL));
	ASSERT_EQ(0, pinfold_pin_stat(self->pf, &stats));
	EXPECT_EQ(4 * MIB, stats.by_priority[PINFOLD_PRIORITY_TAIL_LATENCY_CRITICAL].pinned_bytes);
	ASSERT_EQ(0, pinfold_unpin_slice(self->pf, key));
	EXPECT_FALSE(pinfold_is_pinned(self->pf, key));
	EXPECT_EQ(-ENOENT, pinfold_unpin_slice(self->pf, key));
	EXPECT_EQ(-ERANGE, pinfold_pin_slice(self->pf, &extent, 4 * MIB, 1, &opts, &key));
	opts.priority = 17;
	EXPECT_EQ(-EINVAL, pinfold_pin_slice(self->pf, &extent, 0, 0, &opts, &key));
}

static uint64_t resident_bytes(struct pinfold *pf, const struct pinfold_extent *extent)
{
	struct pinfold_residency residency;

	return pinfold_residency_query(pf, extent, 0, 0, &residency) ? UINT64_MAX : residency.resident;
}

/* Nothing of the data file is in memory then, where its filesystem is on a device. */
static void drop_cache(const char *dir)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "%s/data.000000", dir);
	fd = open(path, O_RDWR);
	fdatasync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
}

static bool comes_in(struct pinfold *pf, const struct pinfold_extent *extent)
{
	for (int i = 0; i < 200 && resident_bytes(pf, extent) < extent->len; i++)
		usleep(10000);
	return resident_bytes(pf, extent) == extent->len;
}

TEST_F(store, neighbours_come_in_with_a_pin_as_its_flag_and_the_weight_of_its_connections_say)
{
	const struct pinfold_pin_opts plain = {0}, two = {.prefetch_adjacent = 2};
	struct pinfold_connections links = {.forward_count = 2, .prefetch_weight = 0.5f};
	struct pinfold_extent e[4];
	pinfold_pin_key key;

	/* a fault on the catalog must read nothing around itself */
	ASSERT_EQ(0, pinfold_close(self->pf));
	self->config.advice = PINFOLD_ADVICE_RANDOM;
	ASSERT_EQ(0, pinfold_open(self->dir, &self->config, NULL, 0, &self->pf));
	for (int i = 0; i < 4; i++)
		ASSERT_EQ(0, fill_extent(self->pf, 2 * MIB, 0, &e[i]));
	ASSERT_EQ(e[0].offset + 2 * MIB, e[1].offset);
	drop_cache(self->dir);
	if (resident_bytes(self->pf, &e[1]))
		SKIP(return, "this filesystem keeps its files in memory");

	/* without a wish nothing but what the kernel's own readahead may add behind the pin (6.1), and by the flag one
	 * on each side, which is one side here */
	ASSERT_EQ(0, pinfold_pin_slice(self->pf, &e[0], 0, 0, &plain, &key));
	usleep(100000);
	EXPECT_LE(resident_bytes(self->pf, &e[1]), MIB);
	e[0].flags |= PINFOLD_EXTENT_PREFETCH;
	ASSERT_EQ(0, pinfold_pin_slice(self->pf, &e[0], 0, 0, &plain, &key));
	EXPECT_TRUE(comes_in(self->pf, &e[1]));
	EXPECT_EQ(0, resident_bytes(self->pf, &e[2]));

	/* half of two connections; none if they weigh nothing, and then no neighbours by address either */
	links.forward[0] = e[3];
	links.forward[1] = e[2];
	ASSERT_EQ(0, pinfold_connections_set(self->pf, &e[0], &links));
	ASSERT_EQ(0, pinfold_pin_slice(self->pf, &e[0], 0, 0, &two, &key));
	EXPECT_TRUE(comes_in(self->pf, &e[3]));
	EXPECT_EQ(0, resident_bytes(self->pf, &e[2]));
	links.prefetch_weight = 0;
	ASSERT_EQ(0, pinfold_connections_set(self->pf, &e[0], &links));
	drop_cache(self->dir);
	ASSERT_EQ(0, pinfold_pin_slice(self->pf, &e[0], 0, 0, &two, &key));
	EXPECT_EQ(0, resident_bytes(self->pf, &e[3]));
	EXPECT_EQ(0, pinfold_unpin_slice(self->pf, key));
}

/* In pages of 2 MiB or more. 6.1 does not map them as such where small ones were mapped before. */
static uint64_t large_bytes(struct pinfold *pf, const struct pinfold_extent *extent)
{
	struct pinfold_residency residency;

	return pinfold_residency_query(pf, extent, 0, 0, &residency) ? UINT64_MAX : residency.large_folio;
}

/* What commits are applied through and earlier pins map pages, too, which stand in the way unless they let go. */
TEST_F(store, a_pin_on_huge_pages_takes_along_what_commits_changed_and_earlier_pins_hold)
{
	struct pinfold_pin_opts opts = { .use_hugepages = true }, small = { 0 };
	struct pinfold_extent plain, changed;
	pinfold_pin_key key;
	uint64_t got;

	ASSERT_EQ(0, fill_extent(self->pf, 4 * MIB, 0, &plain));
	ASSERT_EQ(0, fill_extent(self->pf, 4 * MIB, 0, &changed));
	for (uint64_t at = 0; at < 4 * MIB; at += 64 << 10) {
		struct pinfold_txn *txn;

		ASSERT_EQ(0, pinfold_txn_begin(self->pf, &txn));
		ASSERT_EQ(0, pinfold_txn_write(txn, &changed, at, &at, sizeof(at)));
		ASSERT_EQ(0, pinfold_txn_commit(txn));
	}
	ASSERT_EQ(0, pinfold_checkpoint(self->pf));
	ASSERT_EQ(0, pinfold_pin_slice(self->pf, &plain, 0, 0, &opts, &key));
	if (large_bytes(self->pf, &plain) != 4 * MIB)
		SKIP(return, "this kernel makes no huge pages of /var/tmp's filesystem");
	ASSERT_EQ(0, pinfold_pin_slice(self->pf, &changed, 0, 2 * MIB, &small, &key));
	ASSERT_EQ(0, pinfold_pin_slice(self->pf, &changed, 0, 0, &opts, &key));
	EXPECT_EQ(4 * MIB, large_bytes(self->pf, &changed));
	for (uint64_t at = 0; at < 4 * MIB; at += 64 << 10) {
		ASSERT_EQ(0, pinfold_read_value(self->pf, &changed, at, &got));
		ASSERT_EQ(at, got);
		ASSERT_EQ(0, pinfold_read_value(self->pf, &changed, at + 8, &got));
		ASSERT_EQ(at / 8 + 1, got);
	}
}

TEST_F(store, a_pin_with_ttl_ends)
{
	struct pinfold_pin_opts opts = { .lifetime = PINFOLD_LIFETIME_SESSION, .ttl_ms = 50 };
	struct pinfold_extent extent;
	pinfold_pin_key key;

	ASSERT_EQ(0, fill_extent(self->pf, 2 * MIB, 0, &extent));
	ASSERT_EQ(0, pinfold_pin_slice(self->pf, &extent, 0, 0, &opts, &key));
	EXPECT_TRUE(pinfold_is_pinned(self->pf, key));
	usleep(80000);
	pinfold_pin_gc_expired(self->pf);
	EXPECT_FALSE(pinfold_is_pinned(self->pf, key));
}

TEST_F(store, second_writer_is_refused_reader_is_welcome)
{
	struct pinfold_config config = self->config;
	struct pinfold_extent extent;
	struct pinfold *other;
	char error[512] = "";
	const void *ptr;

	ASSERT_EQ(0, fill_extent(self->pf, 2 * MIB, 5, &extent));
	EXPECT_EQ(-EBUSY, pinfold_open(self->dir, &config, error, sizeof(error), &other));
	EXPECT_NE(NULL, strstr(error, self->dir));
	config.flags = PINFOLD_OPEN_READONLY;
	ASSERT_EQ(0, pinfold_open(self->dir, &config, error, sizeof(error), &other))
	{
		TH_LOG("%s", error);
	}
	ASSERT_EQ(0, pinfold_extent_ptr(other, &extent, &ptr));
	EXPECT_EQ(5, *(const uint64_t *)ptr);
	EXPECT_EQ(-EOPNOTSUPP, pinfold_pin_slice(other, &extent, 0, 0, NULL, NULL));
	EXPECT_EQ(0, pinfold_close(other));
}

TEST_F(store, bad_configurations_name_the_field)
{
	struct pinfold_config config = self->config;
	struct pinfold *other;
	char error[512] = "";

	config.extent_size = 3 * MIB;
	EXPECT_EQ(-EINVAL, pinfold_open("/var/tmp", &config, error, sizeof(error), &other));
	EXPECT_NE(NULL, strstr(error, "extent_size"));
	config = self->config;
	config.reserved[3] = 1;
	EXPECT_EQ(-EINVAL, pinfold_open("/var/tmp", &config, error, sizeof(error), &other));
	EXPECT_NE(NULL, strstr(error, "reserved"));
	config = self->config;
	config.flags = 0;
	EXPECT_EQ(-ENOENT, pinfold_open("/var/tmp/no-such-directory", &config, error, sizeof(error), &other));
	EXPECT_NE(NULL, strstr(error, "/var/tmp/no-such-directory"));
}

TEST_HARNESS_MAIN
