// SPDX-License-Identifier: GPL-2.0-only
/* Single-threaded behaviour of record tables, each step also after a reopen. */
#include "fixture.h"
#include "kselftest_harness.h"

FIXTURE(table)
{
	struct env env;
	struct pf_table *t;
};

FIXTURE_VARIANT(table)
{
	enum pinfold_sync sync;
};
FIXTURE_VARIANT_ADD(table, sync) { .sync = PINFOLD_SYNC_SYNC };
FIXTURE_VARIANT_ADD(table, async) { .sync = PINFOLD_SYNC_ASYNC };
FIXTURE_VARIANT_ADD(table, none) { .sync = PINFOLD_SYNC_NONE };

FIXTURE_SETUP(table)
{
	ASSERT_EQ(0, env_begin(&self->env, variant->sync));
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", PINFOLD_TABLE_CREATE, &self->t));
}

FIXTURE_TEARDOWN(table)
{
	env_end(&self->env);
}

#define REOPEN() do { \
	ASSERT_EQ(0, env_reopen(&self->env)); \
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", 0, &self->t)); \
	ASSERT_EQ(0, env_verify(&self->env)); \
} while (0)

TEST_F(table, put_get_replace_delete)
{
	char buf[64];
	size_t size = 99;

	EXPECT_EQ(-ENOENT, pf_table_get(self->t, "a", 1, buf, sizeof(buf), &size));
	EXPECT_EQ(99, size);
	EXPECT_EQ(-ENOENT, pf_table_delete(self->t, "a", 1));
	ASSERT_EQ(0, pf_table_put(self->t, "a", 1, "one", 3));
	ASSERT_EQ(0, pf_table_get(self->t, "a", 1, buf, sizeof(buf), &size));
	ASSERT_EQ(3, size);
	EXPECT_EQ(0, memcmp(buf, "one", 3));
	REOPEN();
	ASSERT_EQ(0, pf_table_put(self->t, "a", 1, "another value", 13));
	ASSERT_EQ(0, pf_table_get(self->t, "a", 1, buf, sizeof(buf), &size));
	ASSERT_EQ(13, size);
	EXPECT_EQ(0, memcmp(buf, "another value", 13));
	EXPECT_EQ(-ENOBUFS, pf_table_get(self->t, "a", 1, buf, 4, &size));
	EXPECT_EQ(13, size);
	REOPEN();
	ASSERT_EQ(0, pf_table_get(self->t, "a", 1, buf, sizeof(buf), &size));
	EXPECT_EQ(13, size);
	ASSERT_EQ(0, pf_table_delete(self->t, "a", 1));
	EXPECT_EQ(-ENOENT, pf_table_get(self->t, "a", 1, buf, sizeof(buf), &size));
	REOPEN();
	EXPECT_EQ(-ENOENT, pf_table_get(self->t, "a", 1, buf, sizeof(buf), &size));
}

TEST_F(table, sizes_at_the_limits)
{
	static char key[PINFOLD_KEY_MAX + 1], value[PINFOLD_VALUE_MAX + 1], got[PINFOLD_VALUE_MAX];
	static const size_t key_sizes[] = { 1, 7, 8, 9, 16, 17, 1023, PINFOLD_KEY_MAX };
	static const size_t value_sizes[] = { 0, 1, 23, 248, 249, 4096, 8192, 40000, PINFOLD_VALUE_MAX };
	size_t size;

	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < 8; i++) {
			for (size_t j = 0; j < 9; j++) {
				memset(key, 'a' + (int)j, key_sizes[i]);
				memset(value, (int)(i * 16 + j + 1), value_sizes[j]);
				if (round == 0) {
					ASSERT_EQ(0, pf_table_put(self->t, key, key_sizes[i], value, value_sizes[j]));
				}
				ASSERT_EQ(0, pf_table_get(self->t, key, key_sizes[i], got, sizeof(got), &size));
				ASSERT_EQ(value_sizes[j], size);
				ASSERT_EQ(0, memcmp(got, value, size));
			}
		}
		REOPEN();
	}
	EXPECT_EQ(-EINVAL, pf_table_put(self->t, key, 0, value, 1));
	EXPECT_EQ(-EINVAL, pf_table_put(self->t, key, PINFOLD_KEY_MAX + 1, value, 1));
	EXPECT_EQ(-EINVAL, pf_table_put(self->t, key, 1, value, PINFOLD_VALUE_MAX + 1));
	EXPECT_EQ(-EINVAL, pf_table_get(self->t, key, PINFOLD_KEY_MAX + 1, got, 1, &size));
	EXPECT_EQ(-EINVAL, pf_table_put(self->t, NULL, 3, value, 1));
}

TEST_F(table, compare_and_swap)
{
	char buf[8];
	size_t size;

	EXPECT_EQ(-EAGAIN, pf_table_cas(self->t, "k", 1, "x", 1, "y", 1));
	ASSERT_EQ(0, pf_table_cas(self->t, "k", 1, NULL, 0, "x", 1));
	EXPECT_EQ(-EAGAIN, pf_table_cas(self->t, "k", 1, NULL, 0, "z", 1));
	EXPECT_EQ(-EAGAIN, pf_table_cas(self->t, "k", 1, "xx", 2, "z", 1));
	REOPEN();
	EXPECT_EQ(-EAGAIN, pf_table_cas(self->t, "k", 1, "y", 1, "z", 1));
	ASSERT_EQ(0, pf_table_cas(self->t, "k", 1, "x", 1, "yy", 2));
	ASSERT_EQ(0, pf_table_get(self->t, "k", 1, buf, sizeof(buf), &size));
	EXPECT_EQ(2, size);
	REOPEN();
	EXPECT_EQ(-EAGAIN, pf_table_cas(self->t, "k", 1, "x", 1, NULL, 0));
	ASSERT_EQ(0, pf_table_cas(self->t, "k", 1, "yy", 2, NULL, 0));
	EXPECT_EQ(-ENOENT, pf_table_get(self->t, "k", 1, buf, sizeof(buf), &size));
	EXPECT_EQ(-EINVAL, pf_table_cas(self->t, "k", 1, NULL, 0, NULL, 0));
}

TEST_F(table, batch_sees_itself_and_is_one_transaction)
{
	struct pinfold_record records[5000];
	struct pinfold_store_stats before, after;
	struct pinfold_table_stats stats;
	static uint32_t keys[5000];
	char buf[8];
	size_t size;

	for (uint32_t i = 0; i < 5000; i++) { /* each key of the first 2500 twice, then half of them deleted */
		keys[i] = i % 2500;
		records[i] = (struct pinfold_record){ &keys[i], 4, i < 2500 ? "old!" : "new", i < 2500 ? 4 : 3 };
		if (i >= 2500 && i % 2)
			records[i].value = NULL;
	}
	ASSERT_EQ(0, pf_store_stat(self->env.store, &before));
	ASSERT_EQ(0, pf_table_write(self->t, records, 5000));
	ASSERT_EQ(0, pf_store_stat(self->env.store, &after));
	EXPECT_EQ(1, after.commit_count - before.commit_count);
	for (int round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < 2500; i++) {
			int r = pf_table_get(self->t, &i, 4, buf, sizeof(buf), &size);

			if (i % 2) {
				ASSERT_EQ(-ENOENT, r);
			} else {
				ASSERT_EQ(0, r);
				ASSERT_EQ(3, size);
			}
		}
		ASSERT_EQ(0, pf_table_stat(self->t, &stats));
		EXPECT_EQ(1250, stats.record_count);
		EXPECT_EQ(1250 * 4, stats.key_bytes);
		EXPECT_EQ(1250 * 3, stats.value_bytes);
		REOPEN();
	}
	EXPECT_EQ(-EINVAL, pf_table_write(self->t, records, 65537));
	EXPECT_EQ(0, pf_table_write(self->t, records, 0));
}

TEST_F(table, failed_batch_changes_nothing)
{
	static char value[PINFOLD_VALUE_MAX];
	static struct pinfold_record records[2000];
	static uint32_t keys[2000];
	struct pinfold_table_stats before, after;
	struct pinfold_store_stats store_before, store_after;
	char buf[8];
	size_t size;

	for (uint32_t i = 0; i < 2000; i++) { /* 125 MiB: beyond what a small journal takes as one */
		keys[i] = i;
		records[i] = (struct pinfold_record){ &keys[i], 4, value, sizeof(value) };
	}
	ASSERT_EQ(0, pf_table_put(self->t, &keys[1], 4, "one", 3));
	ASSERT_EQ(0, pf_table_stat(self->t, &before));
	ASSERT_EQ(0, pf_store_stat(self->env.store, &store_before));
	EXPECT_EQ(-E2BIG, pf_table_write(self->t, records, 2000));
	ASSERT_EQ(0, pf_table_stat(self->t, &after));
	ASSERT_EQ(0, pf_store_stat(self->env.store, &store_after));
	EXPECT_EQ(before.record_count, after.record_count);
	EXPECT_EQ(before.key_bytes, after.key_bytes);
	EXPECT_EQ(before.value_bytes, after.value_bytes);
	EXPECT_EQ(before.bucket_count, after.bucket_count);
	EXPECT_EQ(before.overflow_count, after.overflow_count);
	EXPECT_EQ(before.extent_bytes, after.extent_bytes);
	EXPECT_EQ(store_before.extent_count, store_after.extent_count);
	ASSERT_EQ(0, pf_table_get(self->t, &keys[1], 4, buf, sizeof(buf), &size));
	EXPECT_EQ(3, size);
	EXPECT_EQ(-ENOENT, pf_table_get(self->t, &keys[0], 4, buf, sizeof(buf), &size));
	ASSERT_EQ(0, env_verify(&self->env));
	for (uint32_t i = 0; i < 100; i++)
		ASSERT_EQ(0, pf_table_write(self->t, &records[i], 1));
	ASSERT_EQ(0, env_verify(&self->env));
	REOPEN();
	ASSERT_EQ(0, pf_table_stat(self->t, &after));
	EXPECT_EQ(100, after.record_count);
}

TEST_F(table, names_open_foreach_drop)
{
	char long_name[65];
	struct pf_table *again, *other;
	struct pinfold_store_stats before, after;

	memset(long_name, 'n', 64);
	long_name[64] = 0;
	EXPECT_EQ(-EPERM, pf_table_open(self->env.store, ".own", PINFOLD_TABLE_CREATE, &other));
	EXPECT_EQ(-EINVAL, pf_table_open(self->env.store, "", PINFOLD_TABLE_CREATE, &other));
	EXPECT_EQ(-EINVAL, pf_table_open(self->env.store, "a/b", PINFOLD_TABLE_CREATE, &other));
	EXPECT_EQ(-EINVAL, pf_table_open(self->env.store, long_name, PINFOLD_TABLE_CREATE, &other));
	EXPECT_EQ(-EINVAL, pf_table_open(self->env.store, "x", 1u << 7, &other));
	EXPECT_EQ(-ENOENT, pf_table_open(self->env.store, "x", 0, &other));
	EXPECT_EQ(-EEXIST, pf_table_open(self->env.store, "t", PINFOLD_TABLE_CREATE | PINFOLD_TABLE_EXCLUSIVE, &other));
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", 0, &again));
	EXPECT_EQ(self->t, again);
	ASSERT_EQ(0, pf_table_put(self->t, "k", 1, "v", 1));
	EXPECT_EQ(-EBUSY, pf_table_drop(self->env.store, "t"));
	pf_table_close(again);
	pf_table_close(self->t);
	long_name[63] = 0;
	ASSERT_EQ(0, pf_store_stat(self->env.store, &before));
	ASSERT_EQ(0, pf_table_open(self->env.store, long_name, PINFOLD_TABLE_CREATE, &other));
	pf_table_close(other);
	ASSERT_EQ(0, pf_table_drop(self->env.store, long_name));
	ASSERT_EQ(0, pf_store_stat(self->env.store, &after));
	EXPECT_EQ(before.published_bytes, after.published_bytes);
	EXPECT_EQ(-ENOENT, pf_table_drop(self->env.store, long_name));
	ASSERT_EQ(0, pf_table_drop(self->env.store, "t"));
	ASSERT_EQ(0, env_reopen(&self->env));
	EXPECT_EQ(-ENOENT, pf_table_open(self->env.store, "t", 0, &self->t));
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", PINFOLD_TABLE_CREATE, &self->t));
	EXPECT_EQ(-ENOENT, pf_table_delete(self->t, "k", 1));
	ASSERT_EQ(0, env_verify(&self->env));
}

static int name_add(void *ctx, const char *name)
{
	strcat(strcat(ctx, name), " ");
	return 0;
}

TEST_F(table, foreach_names_user_tables_only)
{
	struct pf_table *table;
	struct pinfold_object_id id = { .kind = PINFOLD_OBJECT_ROWGROUP, .a = 1 };
	struct pinfold_object object = { .size = 0 };
	char names[64] = "";

	ASSERT_EQ(0, pf_catalog_create(self->env.store, &id, &object, false));
	ASSERT_EQ(0, pf_table_open(self->env.store, "u", PINFOLD_TABLE_CREATE, &table));
	ASSERT_EQ(0, pf_table_foreach(self->env.store, name_add, names));
	EXPECT_STREQ("t u ", names);
}

TEST_F(table, slots_are_used_again)
{
	struct pinfold_table_stats before, after;
	static char value[1000];

	for (uint32_t i = 0; i < 20000; i++) {
		uint32_t key = i % 100;

		memcpy(value, &i, 4);
		ASSERT_EQ(0, pf_table_write_async(self->t, &(struct pinfold_record){ &key, 4, value, sizeof(value) }, 1,
						  &(pinfold_ticket){ 0 }));
		if (i == 10000)
			ASSERT_EQ(0, pf_table_stat(self->t, &before));
	}
	ASSERT_EQ(0, pf_table_stat(self->t, &after));
	EXPECT_EQ(100, after.record_count);
	EXPECT_LE(after.extent_bytes, before.extent_bytes + (8u << 20)); /* 10 MB of values went through since */
	ASSERT_EQ(0, env_verify(&self->env));
	REOPEN();
}

TEST_F(table, empty_slabs_change_class)
{
	struct pinfold_table_stats first, last;
	static char value[30000];
	uint32_t n;

	for (int round = 0; round < 6; round++) {
		size_t size = 2000 + 5000 * (size_t)round;

		n = (uint32_t)(5000000 / size);
		for (uint32_t i = 0; i < n; i++)
			ASSERT_EQ(0, pf_table_write_async(self->t, &(struct pinfold_record){ &i, 4, value, size }, 1,
							  &(pinfold_ticket){ 0 }));
		for (uint32_t i = 0; i < n; i++)
			ASSERT_EQ(0, pf_table_write_async(self->t, &(struct pinfold_record){ &i, 4, NULL, 0 }, 1,
							  &(pinfold_ticket){ 0 }));
		ASSERT_EQ(0, pf_table_stat(self->t, round == 0 ? &first : &last));
		if (round == 2)
			REOPEN();
		usleep(50000); /* a grace period; only reuse depends on it, not correctness */
	}
	EXPECT_EQ(0, last.record_count);
	EXPECT_LE(last.extent_bytes, 3 * first.extent_bytes);
	ASSERT_EQ(0, env_verify(&self->env));
}

TEST(full_store_stays_usable)
{
	static char value[PINFOLD_VALUE_MAX], got[PINFOLD_VALUE_MAX];
	struct pinfold_extent extent;
	struct env env = { 0 };
	struct pf_table *t;
	uint32_t count, key;
	size_t size;
	int r;

	ASSERT_EQ(0, env_begin(&env, PINFOLD_SYNC_NONE));
	ASSERT_EQ(0, env_close(&env));
	env.config.max_mapped_size = env.config.file_size;
	ASSERT_EQ(0, env_open(&env));
	ASSERT_EQ(0, pf_table_open(env.store, "t", PINFOLD_TABLE_CREATE, &t));
	for (uint64_t part = 512u << 20; part >= 64u << 20; part /= 2) /* unpublished: takes no time */
		while (pf_extent_alloc(env.store, part, 0, &extent) == 0)
			;
	for (count = 0;; count++) {
		memcpy(value, &count, sizeof(count));
		r = pf_table_put(t, &count, sizeof(count), value, sizeof(value));
		if (r < 0)
			break;
		ASSERT_LT(count, 2000);
	}
	EXPECT_EQ(-ENOSPC, r);
	EXPECT_LT(100, count);
	EXPECT_EQ(-ENOENT, pf_table_get(t, &count, sizeof(count), got, sizeof(got), &size));
	for (int round = 0; round < 2; round++) {
		for (key = 0; key < count; key++) {
			ASSERT_EQ(0, pf_table_get(t, &key, sizeof(key), got, sizeof(got), &size));
			ASSERT_EQ(sizeof(got), size);
			ASSERT_EQ(0, memcmp(got, &key, sizeof(key)));
		}
		ASSERT_EQ(0, env_verify(&env));
		if (round == 0) {
			ASSERT_EQ(0, env_reopen(&env));
			ASSERT_EQ(0, pf_table_open(env.store, "t", 0, &t));
		}
	}
	for (key = 0; key < count; key++)
		ASSERT_EQ(0, pf_table_delete(t, &key, sizeof(key)));
	ASSERT_EQ(0, env_verify(&env));
	env_end(&env);
}

/* A second cursor takes over from the first, and the table grows in between: each record that was there is seen once.
 */
/* Keys [@from, @from + @count), in one transaction. */
static int put_keys(struct pf_table *t, uint32_t from, uint32_t count, const char *value)
{
	static struct pinfold_record records[5000];
	static uint32_t keys[5000];

	for (uint32_t i = 0; i < count; i++) {
		keys[i] = from + i;
		records[i] = (struct pinfold_record){ &keys[i], sizeof(keys[i]), value, (uint32_t)strlen(value) };
	}
	return pf_table_write(t, records, count);
}

TEST_F(table, a_cursor_goes_on_where_another_was)
{
	static uint8_t seen[5000];
	struct pinfold_record record;
	struct pf_cursor *cursor;
	uint64_t position = 0;
	unsigned inside = 0, turns = 0;
	uint32_t key;
	int r = 1;

	memset(seen, 0, sizeof(seen));
	ASSERT_EQ(0, put_keys(self->t, 0, 5000, "old"));
	for (uint32_t more = 5000; r == 1; more += 3000, turns++) {
		ASSERT_EQ(0, pf_cursor_open(self->t, &cursor));
		if (turns)
			pf_cursor_seek(cursor, position);
		for (unsigned i = 0; (r = pf_cursor_next(cursor, &record)) == 1;) {
			memcpy(&key, record.key, sizeof(key));
			if (key < 5000)
				seen[key]++;
			if (++i < 1500)
				continue;
			if (pf_cursor_tell(cursor, &position) == 0)
				break;
			inside++;
		}
		pf_cursor_close(cursor);
		ASSERT_LE(0, r);
		if (r == 1)
			ASSERT_EQ(0, put_keys(self->t, more, 3000, "new"));
	}
	for (key = 0; key < 5000; key++)
		EXPECT_EQ(1, seen[key]);
	EXPECT_LT(2, turns);
	EXPECT_LT(0, inside);
	ASSERT_EQ(0, pf_cursor_open(self->t, &cursor));
	while (pf_cursor_next(cursor, &record) == 1)
		;
	ASSERT_EQ(0, pf_cursor_tell(cursor, &position));
	pf_cursor_seek(cursor, 0);
	EXPECT_EQ(1, pf_cursor_next(cursor, &record));
	pf_cursor_seek(cursor, position);
	EXPECT_EQ(0, pf_cursor_next(cursor, &record));
	pf_cursor_close(cursor);
}

TEST_HARNESS_MAIN
