// SPDX-License-Identifier: GPL-2.0-only
/*
 * The applier may stand still in the middle of a transaction, with the sequences of its pages odd: while one of them
 * is written out its next store waits. Nobody waits for it: readers and committers go on with what is committed.
 */
#include "fixture.h"

#include "store/internal.h"
#include "store/protect.h"

#include "kselftest_harness.h"

#define BYTES 12288u /* three pages */
#define KEYS 500u

FIXTURE(stuck)
{
	struct env env;
	struct pf_store *store;
};

FIXTURE_SETUP(stuck)
{
	ASSERT_EQ(0, env_begin(&self->env, PINFOLD_SYNC_ASYNC));
	self->store = self->env.store;
}

FIXTURE_TEARDOWN(stuck)
{
	env_end(&self->env);
}

/* Nobody applies any more, or again. */
static void applier_stop(struct pf_store *store)
{
	int r = pf_store_sync(store);

	pthread_mutex_lock(&store->lock);
	pf_assert(r == 0 && !store->applying);
	store->applying = true;
	pthread_mutex_unlock(&store->lock);
}

static void applier_go(struct pf_store *store)
{
	pthread_mutex_lock(&store->lock);
	store->applying = false;
	pf_apply_all(store);
	pthread_mutex_unlock(&store->lock);
}

/* All sequences odd, or even again: as if the transaction at work changed every page. */
static void sequences_turn(struct pf_store *store)
{
	for (uint32_t i = 0; i < PF_PAGE_STATES; i++)
		atomic_fetch_add(&store->pages->state[i].seq, 1);
}

static int commit(struct pf_store *store, const struct pinfold_extent *extent, uint8_t byte, uint64_t offset,
		  size_t size, bool publish)
{
	static uint8_t data[BYTES];
	pinfold_ticket ticket;
	struct pf_txn *txn;
	int r = pf_txn_begin(store, &txn);

	memset(data, byte, sizeof(data));
	if (r == 0 && publish)
		r = pf_txn_publish(txn, extent);
	if (r == 0)
		r = pf_txn_write(txn, extent, offset, data, size);
	if (r == 0)
		r = pf_txn_submit(txn, &ticket);
	return r == 0 ? pf_ticket_wait(store, ticket, -1) : r;
}

/* Whether the extent has 'a' everywhere but in [@from, @to), where it has @byte. */
static bool holds(struct pf_store *store, const struct pinfold_extent *extent, uint8_t byte, uint64_t from, uint64_t to)
{
	static uint8_t data[BYTES];

	if (pf_read_at(store, extent, 0, data, sizeof(data)) != 0)
		return false;
	for (uint64_t i = 0; i < sizeof(data); i++)
		if (data[i] != (i >= from && i < to ? byte : 'a'))
			return false;
	return true;
}

TEST_F(stuck, half_applied_bytes_are_not_seen)
{
	const uint64_t from = 1001, to = 9003;
	struct pinfold_extent extent;
	uint8_t *mapped;

	ASSERT_EQ(0, pf_extent_alloc(self->store, PINFOLD_EXTENT_MIN, 0, &extent));
	ASSERT_EQ(0, commit(self->store, &extent, 'a', 0, BYTES, true));
	applier_stop(self->store);
	ASSERT_EQ(0, commit(self->store, &extent, 'b', from, to - from, false));
	EXPECT_TRUE(holds(self->store, &extent, 'b', from, to));
	sequences_turn(self->store);
	EXPECT_TRUE(holds(self->store, &extent, 'b', from, to)); /* before its first store */
	mapped = self->store->rw_base + extent.file_id * self->store->file_size + extent.offset;
	pf_window_unlock(self->store);
	memset(mapped + from, 'b', 4000); /* to the middle of the second page */
	pf_window_lock(self->store);
	EXPECT_TRUE(holds(self->store, &extent, 'b', from, to));
	ASSERT_EQ(0, commit(self->store, &extent, 'c', from, to - from, false)); /* the next one does not wait either */
	EXPECT_TRUE(holds(self->store, &extent, 'c', from, to));
	sequences_turn(self->store);
	applier_go(self->store);
	EXPECT_TRUE(holds(self->store, &extent, 'c', from, to));
}

static int put(struct pf_table *table, uint32_t number, uint32_t value)
{
	const struct pinfold_record record = {&number, sizeof(number), &value, sizeof(value)};
	pinfold_ticket ticket;

	return pf_table_write_async(table, &record, 1, &ticket);
}

static bool got(struct pf_table *table, uint32_t number, uint32_t value)
{
	uint32_t found = 0;
	size_t size = 0;

	return pf_table_get(table, &number, sizeof(number), &found, sizeof(found), &size) == 0 &&
	       size == sizeof(found) && found == value;
}

TEST_F(stuck, gets_and_puts_go_on)
{
	struct pf_table *table;

	ASSERT_EQ(0, pf_table_open(self->store, "t", PINFOLD_TABLE_CREATE, &table));
	for (uint32_t i = 0; i < KEYS; i++)
		ASSERT_EQ(0, put(table, i, i));
	applier_stop(self->store);
	ASSERT_EQ(0, put(table, 0, 1000));
	sequences_turn(self->store);
	for (uint32_t i = 1; i < 2 * KEYS; i++) /* over what is there, and new ones that make buckets split */
		ASSERT_EQ(0, put(table, i, 1000 + i));
	for (uint32_t i = 0; i < 2 * KEYS; i++)
		EXPECT_TRUE(got(table, i, 1000 + i));
	sequences_turn(self->store);
	applier_go(self->store);
	ASSERT_EQ(0, pf_store_sync(self->store));
	for (uint32_t i = 0; i < 2 * KEYS; i++)
		EXPECT_TRUE(got(table, i, 1000 + i));
	EXPECT_EQ(0, env_verify(&self->env));
}

TEST_HARNESS_MAIN
