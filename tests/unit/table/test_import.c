// SPDX-License-Identifier: GPL-2.0-only
/*
 * Imports: in bulk and by puts, stopped, killed, resumed, of too much; in the end each record once, the last of its
 * key.
 */
#include "fixture.h"

#include "store/table/build.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "kselftest_harness.h"

#define RECORDS 60000u

/* Record @i of the input. Some keys come again, with values of other sizes. */
static uint32_t key_of(uint32_t i)
{
	return i % 97 == 96 ? i / 3 : i;
}

static size_t value_of(uint32_t i, uint8_t *ret_value)
{
	size_t size = i % 13 == 0 ? 2000 + i % 500 : i % 160;

	if (i == 4711)
		size = PINFOLD_VALUE_MAX;
	for (size_t k = 0; k < size; k++)
		ret_value[k] = (uint8_t)(i * 7 + k);
	return size;
}

/* Which record of the first @count is the last one of @key; -1: none. */
static int64_t last_of(uint32_t key, uint32_t count)
{
	int64_t last = -1;

	if (key < count && key_of(key) == key)
		last = key;
	for (uint32_t i = 3 * key; i < 3 * key + 3; i++)
		if (i < count && i % 97 == 96 && (int64_t)i > last)
			last = i;
	return last;
}

static int add(struct pf_import *import, uint32_t from, uint32_t to)
{
	static uint8_t value[PINFOLD_VALUE_MAX];
	int r = 0;

	for (uint32_t i = from; r == 0 && i < to; i++) {
		uint32_t key = key_of(i);
		struct pinfold_record record = {&key, sizeof(key), value, value_of(i, value)};
		struct pinfold_import_mark mark = {.offset = i + 1, .records = i + 1, .line = 2 * i};

		r = pf_import_add(import, &record, 1);
		if (r == 0 && i % 10 == 9)
			r = pf_import_mark(import, &mark);
	}
	return r;
}

/* How many keys of the first @count records are not as they should be. */
static unsigned wrong(struct pf_table *table, uint32_t count)
{
	static uint8_t value[PINFOLD_VALUE_MAX], expected[PINFOLD_VALUE_MAX];
	struct pinfold_table_stats stats;
	uint64_t there = 0, bytes = 0;
	unsigned bad = 0;

	for (uint32_t key = 0; key < count; key++) {
		int64_t last = last_of(key, count);
		size_t size = 0, expected_size;
		int r = pf_table_get(table, &key, sizeof(key), value, sizeof(value), &size);

		if (last < 0) {
			bad += r != -ENOENT;
			continue;
		}
		expected_size = value_of((uint32_t)last, expected);
		there++;
		bytes += expected_size;
		bad += r != 0 || size != expected_size || memcmp(value, expected, size) != 0;
	}
	if (pf_table_stat(table, &stats) < 0 || stats.record_count != there || stats.key_bytes != 4 * there ||
	    stats.value_bytes != bytes) {
		printf("# %llu records, must be %llu\n", (unsigned long long)stats.record_count,
		       (unsigned long long)there);
		bad++;
	}
	return bad;
}

/* Of pf_tw_commit(): the tw_stop-th ends the process, durably done, or fails and is not done; 0: none. */
static unsigned tw_commits, tw_stop;
static int tw_error; /* 0: end the process */

int __real_pf_tw_commit(struct pf_tw *tw, pinfold_ticket *ret_ticket);
int __wrap_pf_tw_commit(struct pf_tw *tw, pinfold_ticket *ret_ticket)
{
	struct pf_store *store = tw->tables[0]->store;
	bool last = ++tw_commits == tw_stop;
	int r;

	if (last && tw_error) {
		pf_tw_abort(tw);
		return pf_error(tw_error, "commit %u fails", tw_stop);
	}
	r = __real_pf_tw_commit(tw, ret_ticket);
	if (last && r == 0 && pf_store_sync(store) == 0)
		kill(getpid(), SIGKILL);
	return r;
}

FIXTURE(import)
{
	struct env env;
	struct pf_table *t;
	struct pf_import *import;
	struct pinfold_import_mark mark;
};

FIXTURE_VARIANT(import)
{
	uint32_t flags;
};
FIXTURE_VARIANT_ADD(import, bulk) { .flags = PINFOLD_IMPORT_BULK };
FIXTURE_VARIANT_ADD(import, puts) { .flags = 0 };

FIXTURE_SETUP(import)
{
	pf_build_group_bytes = 4 << 20;
	ASSERT_EQ(0, env_begin(&self->env, PINFOLD_SYNC_ASYNC));
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", PINFOLD_TABLE_CREATE, &self->t));
}

FIXTURE_TEARDOWN(import)
{
	env_end(&self->env);
}

TEST_F(import, all_there_and_more_may_come)
{
	uint32_t key = 12, fresh = RECORDS + 5;

	ASSERT_EQ(0, pf_import_begin(self->t, "s", variant->flags, &self->import, &self->mark));
	EXPECT_EQ(0, self->mark.records);
	ASSERT_EQ(0, add(self->import, 0, RECORDS));
	ASSERT_EQ(0, pf_import_end(self->import));
	EXPECT_EQ(0, wrong(self->t, RECORDS));
	EXPECT_EQ(0, env_verify(&self->env));
	ASSERT_EQ(0, env_reopen(&self->env));
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", 0, &self->t));
	EXPECT_EQ(0, wrong(self->t, RECORDS));
	for (uint32_t i = 0; i < 5000; i++) {
		uint32_t other = fresh + i;

		ASSERT_EQ(0, pf_table_put(self->t, &other, 4, "new", 3));
	}
	ASSERT_EQ(0, pf_table_delete(self->t, &key, 4));
	ASSERT_EQ(0, pf_table_put(self->t, &key, 4, "old", 3));
	EXPECT_EQ(0, env_verify(&self->env));
	/* another source, another import: by puts in any case */
	ASSERT_EQ(0, pf_import_begin(self->t, "u", variant->flags, &self->import, &self->mark));
	EXPECT_EQ(0, self->mark.records);
	ASSERT_EQ(0, add(self->import, 0, 100));
	ASSERT_EQ(0, pf_import_end(self->import));
	EXPECT_EQ(0, env_verify(&self->env));
}

TEST_F(import, nothing_and_little)
{
	for (uint32_t count = 0; count < 30; count += 29) {
		ASSERT_EQ(0, pf_import_begin(self->t, "s", variant->flags, &self->import, &self->mark));
		ASSERT_EQ(0, add(self->import, 0, count));
		ASSERT_EQ(0, pf_import_end(self->import));
		EXPECT_EQ(0, wrong(self->t, count));
		EXPECT_EQ(0, env_verify(&self->env));
	}
}

TEST_F(import, stopped_and_resumed)
{
	uint32_t from = 0, key = 1;

	for (uint32_t to = 20000; to < RECORDS; to += 20000) {
		ASSERT_EQ(0, pf_import_begin(self->t, "s", variant->flags, &self->import, &self->mark));
		EXPECT_LE(self->mark.records, from);
		EXPECT_EQ(self->mark.records, self->mark.offset);
		if (from > 0)
			EXPECT_LT(0, self->mark.records);
		ASSERT_EQ(0, add(self->import, (uint32_t)self->mark.records, to));
		EXPECT_EQ(-EBUSY, pf_import_begin(self->t, "s", 0, &self->import, &self->mark));
		EXPECT_EQ(variant->flags ? -EBUSY : 0, pf_table_put(self->t, &key, 4, "x", 1));
		EXPECT_EQ(variant->flags ? -ENOENT : 0, pf_table_get(self->t, &key, 4, NULL, 0, NULL) == -ENOBUFS ?
								0 :
								pf_table_get(self->t, &key, 4, NULL, 0, NULL));
		pf_import_stop(self->import);
		EXPECT_EQ(0, env_verify(&self->env));
		EXPECT_EQ(-EBUSY, pf_import_begin(self->t, "other", variant->flags, &self->import, &self->mark));
		if (to == 20000)
			ASSERT_EQ(0, env_reopen(&self->env));
		ASSERT_EQ(0, pf_table_open(self->env.store, "t", 0, &self->t));
		from = to;
	}
	ASSERT_EQ(0, pf_import_begin(self->t, "s", variant->flags, &self->import, &self->mark));
	EXPECT_LT(10000, self->mark.records);
	printf("# resumed at %llu\n", (unsigned long long)self->mark.records);
	ASSERT_EQ(0, add(self->import, 1, 2)); /* what was put meanwhile is replaced */
	ASSERT_EQ(0, add(self->import, (uint32_t)self->mark.records, RECORDS));
	if (variant->flags) { /* sizes of one key differ, and what came later is not known: that must be said */
		int r = pf_import_end(self->import);

		EXPECT_TRUE(r == -ESTALE || r == 0);
		if (r == -ESTALE) {
			ASSERT_EQ(0, pf_import_begin(self->t, "s", variant->flags | PINFOLD_IMPORT_RESTART,
						     &self->import, &self->mark));
			EXPECT_EQ(0, self->mark.records);
			ASSERT_EQ(0, add(self->import, 0, RECORDS));
			ASSERT_EQ(0, pf_import_end(self->import));
		}
	} else {
		ASSERT_EQ(0, pf_import_end(self->import));
	}
	EXPECT_EQ(0, wrong(self->t, RECORDS));
	EXPECT_EQ(0, env_verify(&self->env));
}

/* Which of two records of one key came last is seen from their places where they are of one size; else it is told, and
 * with it the key. */
TEST_F(import, two_sizes_of_a_key_before_an_interruption)
{
	static const char large[3000];
	const struct pinfold_record sizes[] = {{"same", 4, "1", 1}, {"same", 4, large, sizeof(large)}};
	const struct pinfold_record equal[] = {{"key", 3, "1", 1}, {"key", 3, "2", 1}};
	const struct pinfold_import_mark two = {.offset = 2, .records = 2};
	char value[8];
	size_t size;

	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, pf_import_begin(self->t, "s", variant->flags | (i ? PINFOLD_IMPORT_RESTART : 0),
					     &self->import, &self->mark));
		ASSERT_EQ(0, pf_import_add(self->import, i ? equal : sizes, 2));
		ASSERT_EQ(0, pf_import_mark(self->import, &two));
		pf_import_stop(self->import);
		ASSERT_EQ(0, pf_import_begin(self->t, "s", variant->flags, &self->import, &self->mark));
		EXPECT_EQ(2, self->mark.records);
		if (!i && variant->flags) {
			EXPECT_EQ(-ESTALE, pf_import_end(self->import));
			EXPECT_NE(NULL, strstr(pf_error_text(), "table t: key 'same': two records of different sizes"));
		} else {
			EXPECT_EQ(0, pf_import_end(self->import));
		}
	}
	ASSERT_EQ(0, pf_table_get(self->t, "key", 3, value, sizeof(value), &size));
	EXPECT_EQ(1, size);
	EXPECT_EQ('2', value[0]);
	EXPECT_EQ(0, env_verify(&self->env));
}

TEST_F(import, reserved_fields_of_a_mark_are_zero)
{
	struct pinfold_import_mark mark = {.offset = 7};
	const struct pinfold_record record = {"k", 1, "v", 1};

	ASSERT_EQ(0, pf_import_begin(self->t, "s", variant->flags, &self->import, &self->mark));
	ASSERT_EQ(0, pf_import_add(self->import, &record, 1));
	ASSERT_EQ(0, pf_import_mark(self->import, &mark));
	for (int i = 0; i < 2; i++) {
		mark = (struct pinfold_import_mark){.offset = 9};
		mark.reserved[i] = 1;
		EXPECT_EQ(-EINVAL, pf_import_mark(self->import, &mark));
		EXPECT_NE(NULL, strstr(pf_error_text(), "reserved"));
	}
	ASSERT_EQ(0, pf_import_add(self->import, &record, 1)); /* it can go on */
	pf_import_stop(self->import);
	ASSERT_EQ(0, pf_import_begin(self->t, "s", variant->flags, &self->import, &self->mark));
	EXPECT_EQ(7, self->mark.offset); /* and the mark before it stands */
	ASSERT_EQ(0, pf_import_end(self->import));
}

TEST_F(import, restart_forgets)
{
	ASSERT_EQ(0, pf_import_begin(self->t, "s", variant->flags, &self->import, &self->mark));
	ASSERT_EQ(0, add(self->import, 0, 30000));
	pf_import_stop(self->import);
	ASSERT_EQ(0, env_reopen(&self->env));
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", 0, &self->t));
	ASSERT_EQ(0, pf_import_begin(self->t, "other", variant->flags | PINFOLD_IMPORT_RESTART, &self->import,
				     &self->mark));
	EXPECT_EQ(0, self->mark.records);
	EXPECT_EQ(0, env_verify(&self->env));
	ASSERT_EQ(0, add(self->import, 0, variant->flags ? 1000 : 30000));
	ASSERT_EQ(0, pf_import_end(self->import));
	EXPECT_EQ(0, wrong(self->t, variant->flags ? 1000 : 30000));
	EXPECT_EQ(0, env_verify(&self->env));
}

/* What an earlier build left in the bitmaps of units that are free again is not taken for records. */
TEST_F(import, restart_by_puts_uses_the_room)
{
	struct pinfold_table_stats before, after;

	ASSERT_EQ(0, pf_import_begin(self->t, "s", variant->flags, &self->import, &self->mark));
	ASSERT_EQ(0, add(self->import, 0, RECORDS));
	pf_import_stop(self->import);
	ASSERT_EQ(0, pf_table_stat(self->t, &before));
	ASSERT_EQ(0, pf_import_begin(self->t, "s", PINFOLD_IMPORT_RESTART, &self->import, &self->mark));
	EXPECT_EQ(0, self->mark.records);
	ASSERT_EQ(0, add(self->import, 0, RECORDS));
	ASSERT_EQ(0, pf_import_end(self->import));
	EXPECT_EQ(0, env_verify(&self->env));
	ASSERT_EQ(0, pf_table_stat(self->t, &after));
	EXPECT_LE(after.extent_bytes, before.extent_bytes + before.extent_bytes / 4);
	ASSERT_EQ(0, env_reopen(&self->env));
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", 0, &self->t));
	EXPECT_EQ(0, env_verify(&self->env));
	EXPECT_EQ(0, wrong(self->t, RECORDS));
}

/* In a process that is killed, then in others that go on, until one comes to the end. */
TEST_F_TIMEOUT(import, killed_and_resumed, 60)
{
	uint32_t *done = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned kills = 0;
	int status = 1;

	ASSERT_NE(MAP_FAILED, done);
	ASSERT_EQ(0, env_close(&self->env));
	for (unsigned round = 0; round < 40 && status != 0; round++) {
		pid_t pid = fork();

		if (pid == 0) {
			uint32_t stop = 12000 * (round + 1);
			int r = env_open(&self->env);

			if (r == 0)
				r = env_verify(&self->env);
			if (r == 0)
				r = pf_table_open(self->env.store, "t", 0, &self->t);
			if (r == 0)
				r = pf_import_begin(self->t, "s", variant->flags, &self->import, &self->mark);
			if (r == 0 && self->mark.records < *done)
				r = -1; /* a mark went back */
			*done = (uint32_t)self->mark.records;
			if (r == 0)
				r = add(self->import, *done, stop < RECORDS ? stop : RECORDS);
			if (r == 0 && stop < RECORDS)
				kill(getpid(), SIGKILL);
			if (r == 0)
				r = pf_import_end(self->import);
			if (r == -ESTALE) { /* two of one key on both sides of a kill */
				r = pf_import_begin(self->t, "s", variant->flags | PINFOLD_IMPORT_RESTART,
						    &self->import, &self->mark);
				if (r == 0)
					r = add(self->import, 0, RECORDS);
				if (r == 0)
					r = pf_import_end(self->import);
			}
			if (r == 0 && wrong(self->t, RECORDS))
				r = -2;
			if (r == 0)
				r = env_verify(&self->env);
			if (r != 0)
				printf("# round %u: %d %s\n", round, r, pf_error_text());
			env_close(&self->env);
			_exit(r != 0);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
		kills += WIFSIGNALED(status);
	}
	EXPECT_EQ(0, status);
	printf("# %u kills\n", kills);
	EXPECT_LT(2, kills);
	ASSERT_EQ(0, env_open(&self->env));
}

/* Whoever gives the wrong field as key has many records of few keys: the last of each counts, and that takes no age. */
TEST_F_TIMEOUT(import, many_records_of_few_keys, 60)
{
	uint8_t value[200] = {0};
	size_t size;

	ASSERT_EQ(0, pf_import_begin(self->t, "s", variant->flags, &self->import, &self->mark));
	for (uint32_t i = 0; i < 200000; i++) {
		uint32_t key = i % 3;

		memcpy(value, &i, sizeof(i));
		ASSERT_EQ(0, pf_import_add(self->import,
					   &(struct pinfold_record){&key, sizeof(key), value, 4 + i % 190}, 1));
	}
	ASSERT_EQ(0, pf_import_end(self->import));
	for (uint32_t i = 199997; i < 200000; i++) {
		uint32_t key = i % 3, found = 0;

		ASSERT_EQ(0, pf_table_get(self->t, &key, sizeof(key), value, sizeof(value), &size));
		memcpy(&found, value, sizeof(found));
		EXPECT_EQ(i, found);
		EXPECT_EQ(4 + i % 190, size);
	}
	EXPECT_EQ(0, env_verify(&self->env));
	ASSERT_EQ(0, env_reopen(&self->env));
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", 0, &self->t));
	EXPECT_EQ(0, env_verify(&self->env));
}

TEST_F(import, what_is_no_record_is_refused_alone)
{
	uint32_t key = 7;
	struct pinfold_record records[2] = {{&key, sizeof(key), "seven", 5}, {&key, 0, "none", 4}};

	ASSERT_EQ(0, pf_import_begin(self->t, "s", variant->flags, &self->import, &self->mark));
	EXPECT_EQ(-EINVAL, pf_import_add(self->import, records, 2));
	records[1] = (struct pinfold_record){&key, sizeof(key), "more", PINFOLD_VALUE_MAX + 1};
	EXPECT_EQ(-EINVAL, pf_import_add(self->import, records, 2));
	records[1] = (struct pinfold_record){&key, sizeof(key), NULL, 4};
	EXPECT_EQ(-EINVAL, pf_import_add(self->import, records, 2));
	ASSERT_EQ(0, add(self->import, 0, 3));
	ASSERT_EQ(0, pf_import_end(self->import));
	EXPECT_EQ(0, wrong(self->t, 3));
}

TEST_F(import, stop_keeps_what_was_marked)
{
	ASSERT_EQ(0, pf_import_begin(self->t, "s", variant->flags, &self->import, &self->mark));
	ASSERT_EQ(0, add(self->import, 0, 90));
	pf_import_stop(self->import);
	ASSERT_EQ(0, pf_import_begin(self->t, "s", variant->flags, &self->import, &self->mark));
	EXPECT_EQ(90, self->mark.records);
	EXPECT_EQ(2 * 89, self->mark.line);
	ASSERT_EQ(0, add(self->import, 90, 2000));
	ASSERT_EQ(0, pf_import_end(self->import));
	EXPECT_EQ(0, wrong(self->t, 2000));
	EXPECT_EQ(0, env_verify(&self->env));
}

/* Units that a build has published, and the transactions that clear them. */
static unsigned clears(struct pf_table *table, unsigned units)
{
	unsigned count = 0;

	for (const struct pf_heap *heap = table->heaps; heap; heap = heap->prev)
		count += (heap->unit_count - heap->first_unit + units - 1) / units;
	return count;
}

/* Opens the store of @env and gives up the import that is unfinished; the @stop-th transaction is the last. */
static void give_up_and_die(struct env *env, unsigned stop)
{
	struct pinfold_import_mark mark;
	struct pf_import *import;
	struct pf_table *t;

	if (env_open(env) == 0 && pf_table_open(env->store, "t", 0, &t) == 0) {
		tw_commits = 0;
		tw_stop = stop;
		(void)pf_import_begin(t, "s", PINFOLD_IMPORT_BULK | PINFOLD_IMPORT_RESTART, &import, &mark);
	}
	_exit(1);
}

/* A large table's units do not fit a transaction: giving them up takes many, and may end between any two. */
TEST(giving_up_is_interrupted_at_each_transaction)
{
	struct pinfold_import_mark mark;
	struct pf_import *import;
	struct pf_table *t;
	unsigned total = 0;
	uint32_t key = 1;
	struct env env;
	int status;

	pf_build_group_bytes = 1 << 20;
	pf_build_clear_units = 20;
	ASSERT_EQ(0, env_begin(&env, PINFOLD_SYNC_ASYNC));
	for (unsigned stop = 1; stop <= 2 || stop <= total; stop++) {
		ASSERT_EQ(0, pf_table_open(env.store, "t", PINFOLD_TABLE_CREATE, &t));
		ASSERT_EQ(0, pf_import_begin(t, "s", PINFOLD_IMPORT_BULK, &import, &mark));
		ASSERT_EQ(0, add(import, 0, 8000));
		pf_import_stop(import);
		total = 2 + clears(t, pf_build_clear_units);
		EXPECT_LT(5, total);
		ASSERT_EQ(0, env_close(&env));
		pid_t pid = fork();

		if (pid == 0)
			give_up_and_die(&env, stop);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(WIFSIGNALED(status));
		ASSERT_EQ(0, env_open(&env));
		ASSERT_EQ(0, pf_table_open(env.store, "t", 0, &t));
		EXPECT_EQ(0, env_verify(&env));
		EXPECT_EQ(-ENOENT, pf_table_get(t, &key, 4, NULL, 0, NULL));
		if (stop < total) { /* nothing but a restart may go on */
			EXPECT_EQ(-EBUSY, pf_table_put(t, &key, 4, "x", 1));
			EXPECT_EQ(-EBUSY, pf_import_begin(t, "s", PINFOLD_IMPORT_BULK, &import, &mark));
			EXPECT_NE(NULL, strstr(pf_error_text(), "was being given up"));
		}
		/* interrupted once more, in the same process */
		tw_commits = 0;
		tw_stop = stop;
		tw_error = -ENOMEM;
		if (stop < total) {
			EXPECT_EQ(-ENOMEM, pf_import_begin(t, "s", PINFOLD_IMPORT_RESTART, &import, &mark));
			EXPECT_EQ(0, env_verify(&env));
			EXPECT_EQ(stop, tw_commits);
		}
		tw_commits = tw_stop = tw_error = 0;
		ASSERT_EQ(0, pf_import_begin(t, "s", stop % 2 * PINFOLD_IMPORT_BULK | PINFOLD_IMPORT_RESTART, &import,
					     &mark));
		EXPECT_EQ(stop < total ? total + 1 : 1, tw_commits); /* and the one that begins the new import */
		EXPECT_EQ(0, mark.records);
		ASSERT_EQ(0, add(import, 0, 3000));
		ASSERT_EQ(0, pf_import_end(import));
		EXPECT_EQ(0, wrong(t, 3000));
		EXPECT_EQ(0, env_verify(&env));
		pf_table_close(t);
		ASSERT_EQ(0, pf_table_drop(env.store, "t"));
	}
	pf_build_clear_units = 1024;
	env_end(&env);
}

/* ---- durable before it is published ---- */

#define WRITES_MAX 4096u

/* Writes to data files that are done, and how many flushes of data files had begun by then. */
static struct {
	pthread_mutex_t lock;
	bool on;
	struct {
		uint64_t offset;
		unsigned flushes;
	} write[WRITES_MAX];
	unsigned count, flushes;
	unsigned published, most; /* extents: of this transaction, of any */
	unsigned unflushed;       /* published with writes that no flush had */
} watch = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool watched(int fd)
{
	struct stat st;

	return watch.on && fstat(fd, &st) == 0 && st.st_size == 1ll << 30;
}

ssize_t __real_pf_io_pwrite(int fd, const void *data, size_t size, uint64_t offset);
ssize_t __wrap_pf_io_pwrite(int fd, const void *data, size_t size, uint64_t offset)
{
	ssize_t n = __real_pf_io_pwrite(fd, data, size, offset);

	if (!watched(fd))
		return n;
	pthread_mutex_lock(&watch.lock);
	if (watch.count < WRITES_MAX) {
		watch.write[watch.count].offset = offset;
		watch.write[watch.count].flushes = watch.flushes;
	}
	watch.count++;
	pthread_mutex_unlock(&watch.lock);
	return n;
}

int __real_pf_io_fdatasync(int fd);
int __wrap_pf_io_fdatasync(int fd)
{
	if (watched(fd)) {
		pthread_mutex_lock(&watch.lock);
		watch.flushes++;
		watch.published = 0;
		pthread_mutex_unlock(&watch.lock);
	}
	return __real_pf_io_fdatasync(fd);
}

int __real_pf_txn_publish(struct pf_txn *txn, const struct pinfold_extent *extent);
int __wrap_pf_txn_publish(struct pf_txn *txn, const struct pinfold_extent *extent)
{
	int r = __real_pf_txn_publish(txn, extent);
	bool late = false;

	if (r < 0 || !watch.on)
		return r;
	pthread_mutex_lock(&watch.lock);
	for (unsigned i = 0; i < watch.count && i < WRITES_MAX; i++)
		late |= watch.write[i].offset >= extent->offset &&
			watch.write[i].offset < extent->offset + extent->len &&
			watch.write[i].flushes == watch.flushes;
	watch.unflushed += late;
	if (++watch.published > watch.most)
		watch.most = watch.published;
	pthread_mutex_unlock(&watch.lock);
	return r;
}

TEST(a_group_is_durable_before_it_is_published)
{
	struct pinfold_import_mark mark;
	struct pf_import *import;
	struct pf_table *t;
	struct env env;

	pf_build_group_bytes = 8 << 20;
	ASSERT_EQ(0, env_begin(&env, PINFOLD_SYNC_SYNC));
	env.config.extent_size = 2 << 20;
	ASSERT_EQ(0, env_reopen(&env));
	ASSERT_EQ(0, pf_table_open(env.store, "t", PINFOLD_TABLE_CREATE, &t));
	ASSERT_EQ(0, pf_import_begin(t, "s", PINFOLD_IMPORT_BULK, &import, &mark));
	watch.on = true;
	ASSERT_EQ(0, add(import, 0, RECORDS));
	ASSERT_EQ(0, pf_import_end(import));
	watch.on = false;
	EXPECT_GT(WRITES_MAX, watch.count);
	EXPECT_LT(2, watch.flushes);
	EXPECT_LT(1, watch.most); /* a group of one extent could not have missed any */
	EXPECT_EQ(0, watch.unflushed);
	EXPECT_EQ(0, wrong(t, RECORDS));
	env_end(&env);
}

TEST(index_that_outgrows_memory_goes_on_by_puts)
{
	struct pinfold_import_mark mark;
	struct pf_import *import;
	struct pf_table *t;
	struct env env;

	pf_build_entries_max = 15000;
	pf_build_group_bytes = 4 << 20;
	ASSERT_EQ(0, env_begin(&env, PINFOLD_SYNC_ASYNC));
	ASSERT_EQ(0, pf_table_open(env.store, "t", PINFOLD_TABLE_CREATE, &t));
	ASSERT_EQ(0, pf_import_begin(t, "s", PINFOLD_IMPORT_BULK, &import, &mark));
	ASSERT_EQ(0, add(import, 0, 30000));
	pf_import_stop(import);
	ASSERT_EQ(0, pf_import_begin(t, "s", PINFOLD_IMPORT_BULK, &import, &mark));
	EXPECT_LE(15000, mark.records);
	ASSERT_EQ(0, add(import, (uint32_t)mark.records, 40000));
	ASSERT_EQ(0, pf_import_end(import));
	EXPECT_EQ(0, wrong(t, 40000));
	EXPECT_EQ(0, env_verify(&env));
	env_end(&env);
}

TEST(full_store_keeps_what_it_had)
{
	struct pinfold_import_mark mark;
	struct pf_import *import;
	struct pf_table *t, *other;
	struct env env;
	uint32_t key = 1;
	int r = 0;

	pf_build_group_bytes = 4 << 20;
	ASSERT_EQ(0, env_begin(&env, PINFOLD_SYNC_ASYNC));
	env.config.max_mapped_size = 1ull << 30;
	ASSERT_EQ(0, env_reopen(&env));
	ASSERT_EQ(0, pf_table_open(env.store, "other", PINFOLD_TABLE_CREATE, &other));
	ASSERT_EQ(0, pf_table_put(other, &key, 4, "kept", 4));
	ASSERT_EQ(0, pf_table_open(env.store, "t", PINFOLD_TABLE_CREATE, &t));
	ASSERT_EQ(0, pf_import_begin(t, "s", PINFOLD_IMPORT_BULK, &import, &mark));
	for (uint32_t i = 0; r == 0 && i < 20000; i++) {
		static uint8_t value[PINFOLD_VALUE_MAX];

		r = pf_import_add(import, &(struct pinfold_record){&i, 4, value, sizeof(value)}, 1);
	}
	EXPECT_EQ(-ENOSPC, r);
	EXPECT_EQ(-ENOSPC, pf_import_end(import)); /* as it was told, whatever else is given back */
	EXPECT_NE(NULL, strstr(pf_error_text(), "no free extent"));
	EXPECT_EQ(0, pf_table_get(other, &key, 4, NULL, 0, NULL) == -ENOBUFS ? 0 : 1);
	ASSERT_EQ(0, pf_table_put(other, &key, 4, "also", 4));
	EXPECT_EQ(0, env_verify(&env));
	ASSERT_EQ(0, pf_import_begin(t, "s", PINFOLD_IMPORT_BULK | PINFOLD_IMPORT_RESTART, &import, &mark));
	ASSERT_EQ(0, add(import, 0, 5000));
	ASSERT_EQ(0, pf_import_end(import));
	EXPECT_EQ(0, wrong(t, 5000));
	EXPECT_EQ(0, env_verify(&env));
	env_end(&env);
}

TEST_HARNESS_MAIN
