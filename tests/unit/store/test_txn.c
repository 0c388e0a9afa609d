// SPDX-License-Identifier: GPL-2.0-only
/* What a transaction shows to whom, and when. */
#include "scratch.h"
#include "kselftest_harness.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

FIXTURE(txn)
{
	struct pf_store *store;
	struct pinfold_extent extent;
};
FIXTURE_VARIANT(txn) { enum pinfold_sync sync; };
FIXTURE_VARIANT_ADD(txn, sync) { .sync = PINFOLD_SYNC_SYNC };
FIXTURE_VARIANT_ADD(txn, async) { .sync = PINFOLD_SYNC_ASYNC };
FIXTURE_VARIANT_ADD(txn, none) { .sync = PINFOLD_SYNC_NONE };
FIXTURE_SETUP(txn)
{
	ASSERT_TRUE(scratch_make());
	ASSERT_EQ(0, scratch_open(variant->sync, PINFOLD_OPEN_CREATE, &self->store));
	ASSERT_EQ(0, scratch_extent(self->store, 64 * MIB, &self->extent));
}
FIXTURE_TEARDOWN(txn)
{
	EXPECT_EQ(0, pf_store_close(self->store));
	scratch_remove();
}

TEST_F(txn, read_at_sees_a_commit_at_once)
{
	char text[] = "spans a page boundary", got[sizeof(text)];

	for (int i = 0; i < 20; i++) {
		text[0] = (char)('a' + i);
		ASSERT_EQ(0, scratch_write(self->store, &self->extent, 4096 * 5 - 7, text, sizeof(text)));
		ASSERT_EQ(0, pf_read_at(self->store, &self->extent, 4096 * 5 - 7, got, sizeof(got)));
		ASSERT_STREQ(text, got);
	}
}

TEST_F(txn, mapping_shows_durable_bytes_only)
{
	const char *at = (const char *)scratch_addr(self->store, &self->extent);
	char got[6];

	ASSERT_EQ(0, scratch_write(self->store, &self->extent, 0, "hello", 6));
	if (variant->sync == PINFOLD_SYNC_SYNC) {
		EXPECT_STREQ("hello", at);
		EXPECT_FALSE(pf_page_pending(self->store, at));
	} else if (variant->sync == PINFOLD_SYNC_NONE) {
		EXPECT_STREQ("", at);
		EXPECT_TRUE(pf_page_pending(self->store, at));
		EXPECT_FALSE(pf_page_pending(self->store, at + 4096));
	}
	ASSERT_EQ(0, pf_read_at(self->store, &self->extent, 0, got, sizeof(got)));
	EXPECT_STREQ("hello", got);
	ASSERT_EQ(0, pf_store_checkpoint(self->store));
	EXPECT_STREQ("hello", at);
	EXPECT_FALSE(pf_page_pending(self->store, at));
}

TEST_F(txn, later_ranges_win)
{
	struct pf_txn *txn;
	char got[5] = "";

	ASSERT_EQ(0, pf_txn_begin(self->store, &txn));
	ASSERT_EQ(0, pf_txn_write(txn, &self->extent, 0, "aaaa", 4));
	ASSERT_EQ(0, pf_txn_write(txn, &self->extent, 1, "bb", 2));
	ASSERT_EQ(0, pf_txn_commit(txn));
	ASSERT_EQ(0, scratch_write(self->store, &self->extent, 2, "c", 1));
	ASSERT_EQ(0, pf_read_at(self->store, &self->extent, 0, got, 4));
	EXPECT_STREQ("abca", got);
	ASSERT_EQ(0, pf_store_checkpoint(self->store));
	EXPECT_EQ(0, memcmp(scratch_addr(self->store, &self->extent), "abca", 4));
}

TEST_F(txn, abort_and_empty)
{
	struct pf_txn *txn;
	char got[4] = "xxx";

	ASSERT_EQ(0, pf_txn_begin(self->store, &txn));
	ASSERT_EQ(0, pf_txn_write(txn, &self->extent, 0, "no", 3));
	pf_txn_abort(txn);
	pf_txn_abort(NULL);
	ASSERT_EQ(0, pf_txn_begin(self->store, &txn));
	ASSERT_EQ(0, pf_txn_commit(txn));
	ASSERT_EQ(0, pf_read_at(self->store, &self->extent, 0, got, 3));
	EXPECT_EQ(0, got[0]);
}

TEST_F(txn, ranges_are_checked)
{
	struct pf_txn *txn;
	char byte = 1;

	ASSERT_EQ(0, pf_txn_begin(self->store, &txn));
	EXPECT_EQ(-ERANGE, pf_txn_write(txn, &self->extent, self->extent.len, &byte, 1));
	EXPECT_EQ(-ERANGE, pf_txn_write(txn, &self->extent, UINT64_MAX, &byte, 1));
	EXPECT_EQ(-ERANGE, pf_txn_write(txn, &self->extent, 0, &byte, SIZE_MAX));
	EXPECT_EQ(-EINVAL, pf_txn_publish(txn, &self->extent));
	EXPECT_EQ(0, pf_txn_write(txn, &self->extent, self->extent.len - 1, &byte, 1));
	EXPECT_EQ(0, pf_txn_commit(txn));
	EXPECT_EQ(-ERANGE, pf_read_at(self->store, &self->extent, self->extent.len, &byte, 1));
	EXPECT_EQ(0, pf_read_at(self->store, &self->extent, self->extent.len, &byte, 0));
}

TEST_F(txn, large_ones_and_too_large_ones)
{
	const size_t size = 3 * MIB + 777; /* more than the buffer of a 16 MiB journal holds */
	uint8_t *data = malloc(5 * MIB), *got = malloc(size);
	struct pf_txn *txn;

	memset(data, 0xab, 5 * MIB);
	for (int i = 0; i < 12; i++) {
		data[0] = data[size - 1] = (uint8_t)i;
		ASSERT_EQ(0, scratch_write(self->store, &self->extent, (uint64_t)i * 4097, data, size));
		ASSERT_EQ(0, pf_read_at(self->store, &self->extent, (uint64_t)i * 4097, got, size));
		ASSERT_EQ(0, memcmp(data, got, size));
	}
	ASSERT_EQ(0, pf_txn_begin(self->store, &txn));
	EXPECT_EQ(-E2BIG, pf_txn_write(txn, &self->extent, 0, data, 5 * MIB));
	EXPECT_NE(NULL, strstr(pf_error_text(), "journal_size"));
	ASSERT_EQ(0, pf_txn_write(txn, &self->extent, 0, data, 4 * MIB));
	EXPECT_EQ(0, pf_txn_commit(txn));
	EXPECT_EQ(0, pf_store_verify(self->store, NULL, NULL, NULL));
	free(data);
	free(got);
}

TEST_F(txn, drop_beats_a_write_that_was_begun_before)
{
	struct pinfold_extent extent;
	struct pf_txn *txn;

	ASSERT_EQ(0, scratch_extent(self->store, 2 * MIB, &extent));
	ASSERT_EQ(0, pf_txn_begin(self->store, &txn));
	ASSERT_EQ(0, pf_txn_write(txn, &self->extent, 0, "no", 2));
	ASSERT_EQ(0, pf_txn_write(txn, &extent, 0, "no", 2));
	ASSERT_EQ(0, scratch_drop(self->store, &extent));
	EXPECT_EQ(-ESTALE, pf_txn_commit(txn));
	{
		char got[2];

		ASSERT_EQ(0, pf_read_at(self->store, &self->extent, 0, got, 2)); /* nothing of it happened */
		EXPECT_EQ(0, got[0]);
	}
}

TEST_F(txn, write_and_publish_in_one)
{
	struct pinfold_extent extent;
	struct pf_txn *txn;
	char got[4] = "";

	ASSERT_EQ(0, pf_extent_alloc(self->store, 2 * MIB, 0, &extent));
	ASSERT_EQ(0, pf_txn_begin(self->store, &txn));
	ASSERT_EQ(0, pf_txn_write(txn, &extent, 0, "new", 3));
	ASSERT_EQ(0, pf_txn_publish(txn, &extent));
	ASSERT_EQ(0, pf_txn_commit(txn));
	ASSERT_EQ(0, pf_store_close(self->store));
	ASSERT_EQ(0, scratch_open(variant->sync, 0, &self->store));
	ASSERT_EQ(0, pf_read_at(self->store, &extent, 0, got, 3));
	EXPECT_STREQ("new", got);
}

TEST_F(txn, tickets)
{
	pinfold_ticket ticket, before = 0;
	struct pf_txn *txn;
	struct pollfd pfd = { .events = POLLIN };

	pfd.fd = pf_ticket_fd(self->store);
	ASSERT_LE(0, pfd.fd);
	EXPECT_EQ(pfd.fd, pf_ticket_fd(self->store));
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, pf_txn_begin(self->store, &txn));
		ASSERT_EQ(0, pf_txn_write(txn, &self->extent, 0, &i, sizeof(i)));
		ASSERT_EQ(0, pf_txn_submit(txn, &ticket));
		EXPECT_LT(before, ticket);
		before = ticket;
	}
	if (variant->sync == PINFOLD_SYNC_NONE) {
		EXPECT_EQ(0, pf_ticket_poll(self->store, ticket));
		EXPECT_EQ(-ETIMEDOUT, pf_ticket_wait(self->store, ticket, 0));
		EXPECT_EQ(0, pf_store_sync(self->store));
	} else { /* the flusher comes by itself */
		EXPECT_EQ(1, poll(&pfd, 1, 5000));
		for (int i = 0; i < 5000 && pf_ticket_poll(self->store, ticket) == 0; i++)
			usleep(1000);
	}
	EXPECT_EQ(1, pf_ticket_poll(self->store, ticket));
	EXPECT_EQ(0, pf_ticket_wait(self->store, ticket, -1));
	EXPECT_EQ(1, poll(&pfd, 1, 1000));
	EXPECT_EQ(-EINVAL, pf_ticket_poll(self->store, ticket + 1000));
	EXPECT_EQ(-EINVAL, pf_ticket_wait(self->store, ticket + 1000, 10));
}

/* ---- readers beside writers ---- */

struct race {
	struct pf_store *store;
	struct pinfold_extent extent;
	_Atomic bool stop;
	_Atomic int torn;
	_Atomic long reads;
};

#define RACE_PLACES 4
static const uint64_t race_at[RACE_PLACES] = { 4090, 3 * 4096 + 8, 7 * 4096 + 4092, 11 * 4096 };

/* All four places always hold the same number, of a transaction. */
static void *race_reader(void *arg)
{
	struct race *race = arg;
	static _Thread_local uint8_t bytes[12 * 4096];
	uint64_t last = 0;

	while (!race->stop) {
		uint64_t values[RACE_PLACES];

		if (pf_read_at(race->store, &race->extent, 0, bytes, sizeof(bytes)) != 0) {
			race->torn++;
			break;
		}
		for (int i = 0; i < RACE_PLACES; i++)
			memcpy(&values[i], bytes + race_at[i], 8);
		for (int i = 1; i < RACE_PLACES; i++)
			race->torn += values[i] != values[0];
		race->torn += values[0] < last; /* never back in time */
		last = values[0];
		race->reads++;
	}
	return NULL;
}

TEST_F(txn, readers_see_whole_transactions_in_order)
{
	struct race race = { .store = self->store, .extent = self->extent };
	pthread_t readers[2];
	const uint64_t turns = variant->sync == PINFOLD_SYNC_SYNC ? 500 : 20000;

	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&readers[i], NULL, race_reader, &race));
	for (uint64_t n = 1; n <= turns; n++) {
		struct pf_txn *txn;

		ASSERT_EQ(0, pf_txn_begin(self->store, &txn));
		for (int i = 0; i < RACE_PLACES; i++)
			ASSERT_EQ(0, pf_txn_write(txn, &self->extent, race_at[i], &n, 8));
		ASSERT_EQ(0, pf_txn_commit(txn));
	}
	while (race.reads < 10)
		usleep(100);
	race.stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(readers[i], NULL);
	EXPECT_EQ(0, race.torn);
}

/* A reader in place, by the sequence protocol. */
static void *place_reader(void *arg)
{
	struct race *race = arg;
	const uint8_t *at = scratch_addr(race->store, &race->extent);

	while (!race->stop) {
		uint64_t a, b;
		uint32_t seq;

		do {
			seq = pf_seq_begin(race->store, at);
			a = *(const volatile uint64_t *)(at + 64);
			b = *(const volatile uint64_t *)(at + 3000);
		} while (pf_seq_retry(race->store, at, seq));
		race->torn += a != b;
		race->reads++;
	}
	return NULL;
}

TEST_F(txn, readers_in_place_see_whole_pages)
{
	struct race race = { .store = self->store, .extent = self->extent };
	const uint64_t turns = variant->sync == PINFOLD_SYNC_SYNC ? 500 : 20000;
	pthread_t reader;

	ASSERT_EQ(0, pthread_create(&reader, NULL, place_reader, &race));
	while (race.reads == 0) /* else all is written before it begins */
		usleep(100);
	for (uint64_t n = 1; n <= turns; n++) {
		struct pf_txn *txn;

		ASSERT_EQ(0, pf_txn_begin(self->store, &txn));
		ASSERT_EQ(0, pf_txn_write(txn, &self->extent, 64, &n, 8));
		ASSERT_EQ(0, pf_txn_write(txn, &self->extent, 3000, &n, 8));
		ASSERT_EQ(0, pf_txn_commit(txn));
	}
	ASSERT_EQ(0, pf_store_sync(self->store));
	race.stop = true;
	pthread_join(reader, NULL);
	EXPECT_EQ(0, race.torn);
	EXPECT_LT(0, race.reads);
}

/* Many committers, each its own counter: all of them arrive, in few flushes. */
struct committer {
	struct pf_store *store;
	struct pinfold_extent extent;
	uint64_t slot, turns;
	int result;
};

static void *commit_many(void *arg)
{
	struct committer *c = arg;

	for (uint64_t n = 1; n <= c->turns && c->result == 0; n++)
		c->result = scratch_write(c->store, &c->extent, c->slot * 8, &n, 8);
	return NULL;
}

TEST_F(txn, group_commit)
{
	struct committer committers[16];
	pthread_t threads[16];
	uint64_t value;

	for (uint64_t i = 0; i < 16; i++) {
		committers[i] = (struct committer){ self->store, self->extent, i, 100, 0 };
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, commit_many, &committers[i]));
	}
	for (int i = 0; i < 16; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_EQ(0, committers[i].result);
	}
	for (uint64_t i = 0; i < 16; i++) {
		ASSERT_EQ(0, pf_read_at(self->store, &self->extent, i * 8, &value, 8));
		EXPECT_EQ(100, value);
	}
	EXPECT_LE(1600, scratch_stat(self->store).commit_count);
	EXPECT_GT(1600, scratch_stat(self->store).flush_count);
}

TEST_HARNESS_MAIN
