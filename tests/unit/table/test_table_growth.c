// SPDX-License-Identifier: GPL-2.0-only
/*
 * Readers, cursors and a read-only process beside writers, while a table grows by
 * a factor of hundreds of thousands. Seed printed; every get is checked against
 * what had been acknowledged before it and issued after it.
 */
#include "fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "kselftest_harness.h"

#define SEED 20240117u
#ifndef KEYS
#define KEYS 300000u
#endif
#define WRITERS 2u
#define READERS 2u

struct shared {
	_Atomic uint32_t acked[KEYS], issued[KEYS];
	atomic_bool stop;
	atomic_uint errors, gets, misses, rounds;
	atomic_bool ready;
	struct env env;
	struct pf_table *table;
};

struct value {
	uint32_t key, version;
	uint64_t words[14];
};

static size_t value_fill(struct value *value, uint32_t key, uint32_t version)
{
	value->key = key;
	value->version = version;
	for (int i = 0; i < 14; i++)
		value->words[i] = ((uint64_t)key << 32 | version) * (uint64_t)(2 * i + 1);
	return 8 + (key + version) % 15 * 8; /* sizes change from version to version */
}

static bool value_sound(const struct value *value, size_t size, uint32_t key)
{
	struct value expected;

	return value->key == key && size == value_fill(&expected, key, value->version) &&
	       memcmp(value, &expected, size) == 0;
}

struct worker {
	struct shared *shared;
	uint32_t index;
};

static void *writer_run(void *arg)
{
	struct worker *worker = arg;
	struct shared *shared = worker->shared;
	uint64_t state = SEED + worker->index;
	pinfold_ticket ticket;
	struct value value;

	for (uint32_t i = worker->index; i < KEYS && !shared->errors; i += WRITERS) {
		for (int again = 0; again < 2; again++) { /* a new key, and a change of an old one */
			uint32_t key = again ? (uint32_t)(env_random(&state) % (i + 1)) / WRITERS * WRITERS +
						       worker->index
					     : i;
			uint32_t version;
			struct pinfold_record record = { .key = &key, .key_size = sizeof(key), .value = &value };

			if (key > i)
				key = i;
			version = shared->issued[key] + 1;
			record.value_size = value_fill(&value, key, version);
			shared->issued[key] = version;
			if (pf_table_write_async(shared->table, &record, 1, &ticket) < 0) {
				printf("# put: %s\n", pf_error_text());
				shared->errors++;
			}
			shared->acked[key] = version;
		}
	}
	return NULL;
}

/* One get of @key with all that must hold. */
static void get_check(struct shared *shared, struct pf_table *table, uint32_t key)
{
	uint32_t before = shared->acked[key];
	struct value value;
	size_t size = 0;
	int r;

	r = pf_table_get(table, &key, sizeof(key), &value, sizeof(value), &size);
	shared->gets++;
	if (r == -ENOENT && before == 0) {
		shared->misses++;
		return;
	}
	if (r < 0 || !value_sound(&value, size, key) || value.version < before || value.version > shared->issued[key]) {
		printf("# key %u: %d %s, version %u, acknowledged %u, issued %u\n", key, r,
		       r < 0 ? pf_error_text() : "", value.version, before, shared->issued[key]);
		shared->errors++;
	}
}

static void *reader_run(void *arg)
{
	struct worker *worker = arg;
	struct shared *shared = worker->shared;
	uint64_t state = SEED * 3 + worker->index;

	while (!shared->stop && !shared->errors)
		get_check(shared, shared->table, (uint32_t)(env_random(&state) % KEYS));
	return NULL;
}

FIXTURE(growth)
{
	struct env env;
	struct shared *shared;
};

FIXTURE_VARIANT(growth)
{
	enum pinfold_sync sync;
};
FIXTURE_VARIANT_ADD(growth, async) { .sync = PINFOLD_SYNC_ASYNC };
FIXTURE_VARIANT_ADD(growth, none) { .sync = PINFOLD_SYNC_NONE };

FIXTURE_SETUP(growth)
{
	printf("# seed %u\n", SEED);
	self->shared = mmap(NULL, sizeof(*self->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->shared);
	ASSERT_EQ(0, env_begin(&self->env, variant->sync));
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", PINFOLD_TABLE_CREATE, &self->shared->table));
}

FIXTURE_TEARDOWN(growth)
{
	env_end(&self->env);
}

TEST_F_TIMEOUT(growth, gets_beside_puts, 100)
{
	pthread_t writers[WRITERS], readers[READERS];
	struct worker w[WRITERS], r[READERS];
	struct pinfold_table_stats stats;

	for (uint32_t i = 0; i < WRITERS; i++) {
		w[i] = (struct worker){ self->shared, i };
		ASSERT_EQ(0, pthread_create(&writers[i], NULL, writer_run, &w[i]));
	}
	for (uint32_t i = 0; i < READERS; i++) {
		r[i] = (struct worker){ self->shared, i };
		ASSERT_EQ(0, pthread_create(&readers[i], NULL, reader_run, &r[i]));
	}
	for (uint32_t i = 0; i < WRITERS; i++)
		pthread_join(writers[i], NULL);
	self->shared->stop = true;
	for (uint32_t i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	ASSERT_EQ(0, self->shared->errors);
	ASSERT_LT(0, self->shared->gets);
	ASSERT_EQ(0, pf_table_stat(self->shared->table, &stats));
	EXPECT_EQ(KEYS, stats.record_count);
	EXPECT_LE(KEYS / 4, stats.bucket_count);
	printf("# %u gets, %u before their key; %" PRIu64 " buckets, %" PRIu64 " overflow lines, %" PRIu64
	       " bytes for %" PRIu64 "\n",
	       self->shared->gets, self->shared->misses, stats.bucket_count, stats.overflow_count, stats.extent_bytes,
	       stats.key_bytes + stats.value_bytes);
	ASSERT_EQ(0, env_verify(&self->env));
	ASSERT_EQ(0, env_reopen(&self->env));
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", 0, &self->shared->table));
	for (uint32_t key = 0; key < KEYS; key++)
		get_check(self->shared, self->shared->table, key);
	ASSERT_EQ(0, self->shared->errors);
	ASSERT_EQ(0, env_verify(&self->env));
}

#define LASTING (KEYS / 15)

static void *churn_run(void *arg)
{
	struct worker *worker = arg;
	struct shared *shared = worker->shared;
	uint64_t state = SEED;
	pinfold_ticket ticket;

	for (uint32_t i = 0; i < KEYS && !shared->errors; i++) {
		uint32_t key = LASTING + (i % 3 ? i : (uint32_t)(env_random(&state) % (i + 1)));
		uint32_t lasting = (uint32_t)(env_random(&state) % LASTING);
		struct pinfold_record records[2] = {
			{ .key = &key, .key_size = sizeof(key), .value = i % 3 ? "comes" : NULL, .value_size = 5 },
			{ .key = &lasting, .key_size = sizeof(lasting), .value = "changed", .value_size = i % 8 },
		};

		if (pf_table_write_async(shared->table, records, 2, &ticket) < 0)
			shared->errors++;
	}
	shared->stop = true;
	return NULL;
}

TEST_F_TIMEOUT(growth, cursor_sees_what_lasts_once, 100)
{
	static uint8_t seen[LASTING];
	struct worker worker = { self->shared, 0 };
	struct pinfold_record record;
	struct pf_cursor *cursor;
	pinfold_ticket ticket;
	pthread_t thread;
	unsigned rounds = 0;

	for (uint32_t key = 0; key < LASTING; key++)
		ASSERT_EQ(0, pf_table_write_async(self->shared->table,
						  &(struct pinfold_record){ &key, 4, "there", 5 }, 1, &ticket));
	ASSERT_EQ(0, pthread_create(&thread, NULL, churn_run, &worker));
	do {
		int r;

		memset(seen, 0, sizeof(seen));
		ASSERT_EQ(0, pf_cursor_open(self->shared->table, &cursor));
		while ((r = pf_cursor_next(cursor, &record)) == 1) {
			uint32_t key;

			ASSERT_EQ(4, record.key_size);
			memcpy(&key, record.key, 4);
			if (key < LASTING)
				seen[key]++;
		}
		ASSERT_EQ(0, r);
		EXPECT_EQ(0, pf_cursor_next(cursor, &record));
		pf_cursor_close(cursor);
		for (uint32_t key = 0; key < LASTING; key++)
			ASSERT_EQ(1, seen[key]);
		rounds++;
	} while (!self->shared->stop);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, self->shared->errors);
	printf("# %u rounds\n", rounds);
	ASSERT_EQ(0, env_verify(&self->env));
}

/* In its own process: gets through a read-only handle until told to stop. */
static int foreign_reader(struct shared *shared)
{
	struct pf_table *table;
	uint64_t state = SEED * 7;
	struct env own;

	while (!shared->ready)
		usleep(1000);
	own = shared->env;
	own.config.flags = PINFOLD_OPEN_READONLY;
	if (env_open(&own) < 0 || pf_table_open(own.store, "t", 0, &table) < 0)
		return 1;
	if (pf_table_put(table, "k", 1, "v", 1) != -EROFS)
		return 2;
	while (!shared->stop && !shared->errors) {
		get_check(shared, table, (uint32_t)(env_random(&state) % KEYS));
		shared->rounds++;
	}
	for (uint32_t key = 0; key < KEYS; key += 7)
		get_check(shared, table, key);
	return env_close(&own) < 0 || shared->errors ? 3 : 0;
}

TEST(read_only_process_beside_writer)
{
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	static struct pinfold_record records[500];
	static struct value values[500];
	static uint32_t keys[500];
	struct env env;
	pid_t pid;
	int status;

	ASSERT_NE(MAP_FAILED, shared);
	pid = fork(); /* before this process has a store, whose threads the child would miss */
	if (pid == 0)
		_exit(foreign_reader(shared));
	ASSERT_LT(0, pid);
	ASSERT_EQ(0, env_begin(&env, PINFOLD_SYNC_SYNC)); /* acknowledged means applied: the reader must see it */
	ASSERT_EQ(0, pf_table_open(env.store, "t", PINFOLD_TABLE_CREATE, &shared->table));
	shared->env = env;
	shared->ready = true;
	while (!shared->rounds && waitpid(pid, &status, WNOHANG) == 0)
		usleep(1000);
	for (uint32_t base = 0; base < KEYS / 4 && !shared->errors; base += 500) {
		for (uint32_t i = 0; i < 500; i++) {
			keys[i] = i % 2 ? base + i : (base + i) / 2; /* half of them are changes */
			records[i] = (struct pinfold_record){ &keys[i], 4, &values[i],
				value_fill(&values[i], keys[i], ++shared->issued[keys[i]]) };
		}
		ASSERT_EQ(0, pf_table_write(shared->table, records, 500));
		for (uint32_t i = 0; i < 500; i++)
			shared->acked[keys[i]] = shared->issued[keys[i]];
	}
	shared->stop = true;
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status));
	EXPECT_EQ(0, shared->errors);
	printf("# %u gets by the other process, %u before their key\n", shared->gets, shared->misses);
	env_end(&env);
}

/* In a process that will be killed: every kind of change, as fast as it can. */
static void victim_run(struct shared *shared, uint64_t state)
{
	static char value[9000];
	struct env env = shared->env;
	struct pf_table *table;
	pinfold_ticket ticket;

	if (env_open(&env) < 0 || pf_table_open(env.store, "t", PINFOLD_TABLE_CREATE, &table) < 0)
		_exit(1);
	shared->ready = true;
	for (;;) {
		struct pinfold_record records[20];
		uint32_t keys[20];

		for (int i = 0; i < 20; i++) {
			uint64_t random = env_random(&state);

			keys[i] = (uint32_t)(random % KEYS);
			records[i] = (struct pinfold_record){
				.key = &keys[i],
				.key_size = 4,
				.value = random >> 32 & 3 ? value : NULL,
				.value_size = (random >> 40) % (random >> 36 & 15 ? 200 : sizeof(value)),
			};
		}
		if (pf_table_write_async(table, records, 1 + env_random(&state) % 20, &ticket) < 0)
			_exit(2);
	}
}

TEST(killed_writer_leaves_a_sound_table)
{
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct pinfold_table_stats stats = { 0 };
	struct env env;
	int status;

	printf("# seed %u\n", SEED);
	ASSERT_NE(MAP_FAILED, shared);
	for (unsigned round = 0; round < 6; round++) {
		pid_t pid;

		shared->ready = false;
		pid = fork(); /* each round in two fresh processes: none inherits a store's threads */
		if (pid == 0) {
			if (round == 0) {
				if (env_begin(&shared->env, PINFOLD_SYNC_ASYNC) < 0 || env_close(&shared->env) < 0)
					_exit(3);
			}
			victim_run(shared, SEED + round);
		}
		ASSERT_LT(0, pid);
		while (!shared->ready && waitpid(pid, &status, WNOHANG) == 0)
			usleep(1000);
		ASSERT_TRUE(shared->ready);
		usleep(30000 + round * 20000);
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(WIFSIGNALED(status));
		pid = fork();
		if (pid == 0) {
			env = shared->env;
			if (env_open(&env) < 0 || env_verify(&env) != 0 ||
			    pf_table_open(env.store, "t", 0, &shared->table) < 0 ||
			    pf_table_stat(shared->table, &stats) < 0)
				_exit(4);
			shared->gets += (unsigned)stats.record_count;
			_exit(env_close(&env) < 0 ? 5 : 0);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(WIFEXITED(status));
		ASSERT_EQ(0, WEXITSTATUS(status));
	}
	printf("# %u records found in %u rounds\n", shared->gets, 6u);
	EXPECT_LT(0, shared->gets);
	nftw(shared->env.dir, env_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TEST_HARNESS_MAIN
