// SPDX-License-Identifier: GPL-2.0-only
/* Leases: who gets one, what tokens and lease time do over reopening and crashes, many operations in one submission. */
#include "fixture.h"
#include "kselftest_harness.h"
#include "store/table/lease.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>

FIXTURE(lease)
{
	struct env env;
	struct pf_leases *l;
	uint64_t now_ms;
};

FIXTURE_VARIANT(lease)
{
	enum pinfold_sync sync;
};
FIXTURE_VARIANT_ADD(lease, sync){ .sync = PINFOLD_SYNC_SYNC };
FIXTURE_VARIANT_ADD(lease, async){ .sync = PINFOLD_SYNC_ASYNC };
FIXTURE_VARIANT_ADD(lease, none){ .sync = PINFOLD_SYNC_NONE };

static uint64_t test_clock(void *ctx)
{
	return *(uint64_t *)ctx;
}

FIXTURE_SETUP(lease)
{
	self->now_ms = 5000;
	ASSERT_EQ(0, env_begin(&self->env, variant->sync));
	ASSERT_EQ(0, pf_leases_open(self->env.store, "actors", PINFOLD_TABLE_CREATE, &self->l));
	pf_leases_set_clock(self->l, test_clock, &self->now_ms);
}

FIXTURE_TEARDOWN(lease)
{
	env_end(&self->env);
}

#define REOPEN()                                                                      \
	do {                                                                          \
		ASSERT_EQ(0, env_reopen(&self->env));                                 \
		ASSERT_EQ(0, pf_leases_open(self->env.store, "actors", 0, &self->l)); \
		pf_leases_set_clock(self->l, test_clock, &self->now_ms);              \
		ASSERT_EQ(0, env_verify(&self->env));                                 \
	} while (0)

static int acquire(struct pf_leases *l, const char *actor, uint64_t node, uint64_t ttl_ms, uint64_t *ret_token)
{
	struct pinfold_lease_op op = { .what = PINFOLD_LEASE_ACQUIRE,
				       .actor = actor,
				       .actor_size = strlen(actor),
				       .node = node,
				       .ttl_ms = ttl_ms };

	return pf_lease_do(l, &op, ret_token);
}

static int steal(struct pf_leases *l, const char *actor, uint64_t node, uint64_t from, uint64_t *ret_token)
{
	struct pinfold_lease_op op = { .what = PINFOLD_LEASE_STEAL,
				       .actor = actor,
				       .actor_size = strlen(actor),
				       .node = node,
				       .ttl_ms = 1000,
				       .token = from };

	return pf_lease_do(l, &op, ret_token);
}

static int renew(struct pf_leases *l, const char *actor, uint64_t token, uint64_t ttl_ms)
{
	struct pinfold_lease_op op = { .what = PINFOLD_LEASE_RENEW,
				       .actor = actor,
				       .actor_size = strlen(actor),
				       .token = token,
				       .ttl_ms = ttl_ms };

	return pf_lease_do(l, &op, NULL);
}

static int release(struct pf_leases *l, const char *actor, uint64_t token)
{
	struct pinfold_lease_op op = {
		.what = PINFOLD_LEASE_RELEASE, .actor = actor, .actor_size = strlen(actor), .token = token
	};

	return pf_lease_do(l, &op, NULL);
}

TEST_F(lease, life)
{
	struct pinfold_lease lease;
	uint64_t a = 0, b = 0, c = 0, other = 77;

	EXPECT_EQ(-ENOENT, pf_lease_get(self->l, "a", 1, &lease));
	EXPECT_EQ(-ESTALE, renew(self->l, "a", 1, 1000));
	ASSERT_EQ(0, acquire(self->l, "a", 4, 1000, &a));
	EXPECT_EQ(-EBUSY, acquire(self->l, "a", 4, 1000, &other));
	EXPECT_EQ(-EBUSY, acquire(self->l, "a", 5, 1000, &other));
	EXPECT_NE(NULL, strstr(pf_error_text(), "node 4 holds it"));
	EXPECT_EQ(-EBUSY, steal(self->l, "a", 5, 0, &other));
	EXPECT_EQ(77, other);
	self->now_ms += 400;
	ASSERT_EQ(0, pf_lease_get(self->l, "a", 1, &lease));
	EXPECT_EQ(a, lease.token);
	EXPECT_EQ(4, lease.node);
	EXPECT_EQ(600, lease.remaining_ms);
	ASSERT_EQ(0, renew(self->l, "a", a, 2000));
	EXPECT_EQ(-ESTALE, renew(self->l, "a", a + 1, 2000));
	self->now_ms += 1999;
	EXPECT_EQ(-EBUSY, steal(self->l, "a", 5, 0, &other));
	self->now_ms += 1;
	EXPECT_EQ(-ETIME, renew(self->l, "a", a, 2000));
	EXPECT_EQ(-EBUSY, acquire(self->l, "a", 5, 1000, &other));
	EXPECT_NE(NULL, strstr(pf_error_text(), "steal"));
	EXPECT_EQ(-ESTALE, steal(self->l, "a", 5, a + 1, &other));
	ASSERT_EQ(0, steal(self->l, "a", 5, a, &b));
	EXPECT_GT(b, a);
	EXPECT_EQ(-ESTALE, release(self->l, "a", a));
	REOPEN();
	EXPECT_EQ(-ESTALE, release(self->l, "a", a));
	ASSERT_EQ(0, release(self->l, "a", b));
	EXPECT_EQ(-ESTALE, release(self->l, "a", b));
	ASSERT_EQ(0, acquire(self->l, "a", 4, 1000, &c));
	EXPECT_GT(c, b);
}

/* Time that passes while nobody has the table open, and steps of the wall clock, are not lease time. */
TEST_F(lease, reopening_does_not_shorten)
{
	struct pinfold_lease lease;
	uint64_t a;

	ASSERT_EQ(0, acquire(self->l, "a", 1, 1000, &a));
	self->now_ms += 300;
	ASSERT_EQ(0, env_close(&self->env));
	self->now_ms += 100000; /* while it is closed */
	ASSERT_EQ(0, env_open(&self->env));
	ASSERT_EQ(0, pf_leases_open(self->env.store, "actors", 0, &self->l));
	pf_leases_set_clock(self->l, test_clock, &self->now_ms);
	ASSERT_EQ(0, pf_lease_get(self->l, "a", 1, &lease));
	EXPECT_GE(700, lease.remaining_ms);
	EXPECT_LT(500, lease.remaining_ms); /* the real clock ran between opening and set_clock() */
	ASSERT_EQ(0, renew(self->l, "a", a, 1000));
}

TEST_F(lease, submission_is_one_transaction_of_single_operations)
{
	struct pinfold_lease_op ops[] = {
		{ .what = PINFOLD_LEASE_ACQUIRE,
		  .actor = "x",
		  .actor_size = 1,
		  .node = 1,
		  .ttl_ms = 10,
		  .data = "where",
		  .data_size = 5 },
		{ .what = PINFOLD_LEASE_ACQUIRE, .actor = "x", .actor_size = 1, .node = 2, .ttl_ms = 10 },
		{ .what = PINFOLD_LEASE_ACQUIRE, .actor = "y", .actor_size = 1, .node = 2, .ttl_ms = 10 },
		{ .what = PINFOLD_LEASE_RELEASE, .actor = "y", .actor_size = 1, .token = 1 },
	};
	struct pinfold_lease lease;
	pinfold_ticket ticket = 99;

	ASSERT_EQ(0, pf_lease_submit(self->l, ops, 4, &ticket));
	EXPECT_EQ(0, ops[0].result);
	EXPECT_EQ(-EBUSY, ops[1].result);
	EXPECT_EQ(ops[0].ret_token, ops[1].ret_token);
	EXPECT_EQ(1, ops[1].ret_node);
	EXPECT_EQ(10, ops[1].ret_remaining_ms);
	EXPECT_EQ(0, ops[2].result);
	EXPECT_LT(ops[0].ret_token, ops[2].ret_token);
	EXPECT_EQ(-ESTALE, ops[3].result);
	EXPECT_EQ(ops[2].ret_token, ops[3].ret_token);
	ASSERT_EQ(0, pf_ticket_wait(self->env.store, ticket, -1));
	ASSERT_EQ(0, pf_lease_get(self->l, "x", 1, &lease));
	EXPECT_EQ(5, lease.data_size);
	EXPECT_EQ(0, memcmp(lease.data, "where", 5));
	/* nothing changes: nothing to wait for */
	ASSERT_EQ(0, pf_lease_submit(self->l, ops + 1, 1, &ticket));
	EXPECT_EQ(0, ticket);
	EXPECT_EQ(1, pf_ticket_poll(self->env.store, ticket));
	ASSERT_EQ(0, renew(self->l, "x", ops[0].ret_token, 50)); /* keeps what was there */
	ASSERT_EQ(0, pf_lease_get(self->l, "x", 1, &lease));
	EXPECT_EQ(5, lease.data_size);
}

static uint64_t commit_bytes(struct pf_store *store)
{
	struct pinfold_store_stats stats;

	pf_store_stat(store, &stats);
	return stats.commit_bytes;
}

/* A lease that exists is written over where it is, and only up to what differs: no line, no count. */
TEST_F(lease, renewal_and_steal_stay_in_place)
{
	struct pinfold_lease lease;
	uint64_t a, b, before;

	ASSERT_EQ(0, acquire(self->l, "a", 1, 1000, &a));
	ASSERT_EQ(0, renew(self->l, "a", a, 90));
	self->now_ms += 5;
	before = commit_bytes(self->env.store);
	ASSERT_EQ(0, renew(self->l, "a", a, 90));
	/* record header, range header, then checksum, sizes, key, and the lease up to its expiry, padded */
	EXPECT_EQ(40u + 16 + 56, commit_bytes(self->env.store) - before);
	before = commit_bytes(self->env.store);
	ASSERT_EQ(0, renew(self->l, "a", a, 90)); /* in the same millisecond: nothing differs */
	EXPECT_EQ(0u, commit_bytes(self->env.store) - before);
	/* expired, and less than a second: then lease time would be saved with it */
	self->now_ms += 90;
	before = commit_bytes(self->env.store);
	ASSERT_EQ(0, steal(self->l, "a", 2, 0, &b));
	EXPECT_GE(40u + 16 + 64, commit_bytes(self->env.store) - before);
	REOPEN();
	ASSERT_EQ(0, pf_lease_get(self->l, "a", 1, &lease));
	EXPECT_EQ(b, lease.token);
	EXPECT_EQ(2, lease.node);
}

/* More actors than are asked for ahead, each named several times in one submission, come, go and come back in it. */
TEST_F(lease, operations_of_a_submission_see_each_other)
{
	enum { ACTORS = 50, OPS = 6 };
	static struct pinfold_lease_op ops[ACTORS * OPS];
	static char names[ACTORS][8];
	uint64_t first, granted = 0;
	pinfold_ticket ticket;
	size_t n = 0;

	ASSERT_EQ(0, acquire(self->l, "first", 1, 1000, &first));
	for (unsigned i = 0; i < ACTORS; i++) {
		size_t size = (size_t)snprintf(names[i], sizeof(names[i]), "m%u", i);
		struct pinfold_lease_op op = { .actor = names[i], .actor_size = size, .ttl_ms = 10, .node = 3 };

		/* tokens are handed out in order: so those of this submission are known */
		op.what = PINFOLD_LEASE_ACQUIRE;
		ops[n++] = op;
		op.what = PINFOLD_LEASE_RENEW;
		op.token = first + ++granted;
		op.data = names[i];
		op.data_size = (uint32_t)size;
		ops[n++] = op;
		op.what = PINFOLD_LEASE_RELEASE;
		ops[n++] = op;
		ops[n++] = op; /* a second time: refused */
		op.what = PINFOLD_LEASE_ACQUIRE;
		ops[n++] = op;
		op.what = PINFOLD_LEASE_RENEW;
		op.token = first + ++granted;
		op.data = NULL;
		op.data_size = 0;
		op.ttl_ms = 500;
		ops[n++] = op;
	}
	ASSERT_EQ(0, pf_lease_submit(self->l, ops, n, &ticket));
	for (size_t i = 0; i < n; i++)
		EXPECT_EQ(i % OPS == 3 ? -ESTALE : 0, ops[i].result);
	REOPEN();
	for (unsigned i = 0; i < ACTORS; i++) {
		struct pinfold_lease lease;

		ASSERT_EQ(0, pf_lease_get(self->l, names[i], strlen(names[i]), &lease));
		EXPECT_EQ(first + 2 * i + 2, lease.token);
		EXPECT_EQ(500, lease.ttl_ms);
		EXPECT_EQ(strlen(names[i]), lease.data_size);
	}
	/* and again, now all in place */
	for (size_t i = 0; i < ACTORS; i++)
		ops[i] = (struct pinfold_lease_op){ .what = PINFOLD_LEASE_RENEW, .actor = names[i],
						    .actor_size = strlen(names[i]), .ttl_ms = 700,
						    .token = first + 2 * i + 2, .data = "new", .data_size = 3 };
	ASSERT_EQ(0, pf_lease_submit(self->l, ops, ACTORS, &ticket));
	for (unsigned i = 0; i < ACTORS; i++) {
		struct pinfold_lease lease;

		EXPECT_EQ(0, ops[i].result);
		ASSERT_EQ(0, pf_lease_get(self->l, names[i], strlen(names[i]), &lease));
		EXPECT_EQ(3, lease.data_size);
		EXPECT_EQ(0, memcmp("new", lease.data, 4)); /* and nothing left of the old */
	}
	ASSERT_EQ(0, env_verify(&self->env));
}

/* What a renewal keeps must not be kept, with a new checksum, if it is not what was written. */
TEST_F(lease, damage_is_not_renewed)
{
	struct pinfold_lease_op op = { .what = PINFOLD_LEASE_ACQUIRE, .actor = "a", .actor_size = 1, .ttl_ms = 1000,
				       .node = 1, .data = "the holder's own words", .data_size = 22 };
	struct pinfold_lease lease;
	uint64_t token;

	ASSERT_EQ(0, pf_lease_do(self->l, &op, &token));
	ASSERT_EQ(0, env_close(&self->env));
	ASSERT_EQ(0, env_damage(&self->env, op.data, 0));
	ASSERT_EQ(0, env_open(&self->env));
	ASSERT_EQ(0, pf_leases_open(self->env.store, "actors", 0, &self->l));
	EXPECT_EQ(-EUCLEAN, pf_lease_get(self->l, "a", 1, &lease));
	EXPECT_EQ(-EUCLEAN, renew(self->l, "a", token, 1000));
	EXPECT_EQ(-EUCLEAN, steal(self->l, "a", 2, token, &token));
	ASSERT_EQ(0, acquire(self->l, "b", 1, 1000, &token)); /* others are not harmed */
}

TEST_F(lease, bad_arguments)
{
	static const char long_name[PINFOLD_LEASES_NAME_MAX + 2] = "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn";
	static const char actor[PINFOLD_ACTOR_MAX + 1];
	const struct pinfold_lease_op good = {
		.what = PINFOLD_LEASE_ACQUIRE, .actor = actor, .actor_size = 1, .ttl_ms = 1
	};
	struct pinfold_lease_op op;
	struct pf_leases *l = NULL;
	struct pinfold_lease lease;
	pinfold_ticket ticket = 99;

#define BAD(field, value)                                                     \
	do {                                                                  \
		op = good;                                                    \
		op.field = value;                                             \
		EXPECT_EQ(-EINVAL, pf_lease_submit(self->l, &op, 1, &ticket)) \
		{                                                             \
			TH_LOG(#field " " #value);                            \
		}                                                             \
	} while (0)
	BAD(what, 0);
	BAD(what, 5);
	BAD(actor, NULL);
	BAD(actor_size, 0);
	BAD(actor_size, PINFOLD_ACTOR_MAX + 1);
	BAD(ttl_ms, 0);
	BAD(ttl_ms, PINFOLD_LEASE_TTL_MAX_MS + 1);
	BAD(data_size, 1);
	BAD(node, PINFOLD_LEASE_NODE_ANY);
	op = good;
	op.data = actor;
	op.data_size = PINFOLD_LEASE_DATA_MAX + 1;
	EXPECT_EQ(-EINVAL, pf_lease_submit(self->l, &op, 1, &ticket));
	EXPECT_EQ(-EINVAL, pf_lease_submit(self->l, &op, PINFOLD_LEASE_OPS_MAX + 1, &ticket));
	EXPECT_EQ(99, ticket);
	EXPECT_EQ(-EINVAL, pf_lease_get(self->l, "", 0, &lease));
	EXPECT_EQ(-EINVAL, pf_leases_open(self->env.store, "", PINFOLD_TABLE_CREATE, &l));
	EXPECT_EQ(-EINVAL, pf_leases_open(self->env.store, long_name, PINFOLD_TABLE_CREATE, &l));
	EXPECT_EQ(-EINVAL, pf_leases_open(self->env.store, "a/b", PINFOLD_TABLE_CREATE, &l));
	EXPECT_EQ(-ENOENT, pf_leases_open(self->env.store, "none", 0, &l));
	EXPECT_EQ(-EEXIST,
		  pf_leases_open(self->env.store, "actors", PINFOLD_TABLE_CREATE | PINFOLD_TABLE_EXCLUSIVE, &l));
	EXPECT_EQ(NULL, l);
	ASSERT_EQ(0, pf_leases_open(self->env.store, "actors", 0, &l));
	EXPECT_EQ(self->l, l);
	/* the longest of everything is taken */
	op = good;
	op.actor_size = PINFOLD_ACTOR_MAX;
	op.data = actor;
	op.data_size = PINFOLD_LEASE_DATA_MAX;
	op.ttl_ms = PINFOLD_LEASE_TTL_MAX_MS;
	ASSERT_EQ(0, pf_lease_submit(self->l, &op, 1, &ticket));
	EXPECT_EQ(0, op.result);
}

static int count_lease(void *ctx, const void *actor, size_t actor_size, const struct pinfold_lease *lease)
{
	++*(int *)ctx;
	return 0;
}

static int stop_at_three(void *ctx, const void *actor, size_t actor_size, const struct pinfold_lease *lease)
{
	return ++*(int *)ctx == 3 ? 42 : 0;
}

TEST_F(lease, list_and_expire)
{
	enum { COUNT = 3000 };
	uint64_t token, largest = 0, swept = 0;
	char actor[16];
	int n = 0;

	for (int i = 0; i < COUNT; i++) {
		struct pinfold_lease_op op = {
			.what = PINFOLD_LEASE_ACQUIRE, .actor = actor, .node = i % 3, .ttl_ms = i % 2 ? 100 : 100000
		};
		pinfold_ticket ticket;

		op.actor_size = (size_t)snprintf(actor, sizeof(actor), "actor%d", i);
		ASSERT_EQ(0, pf_lease_submit(self->l, &op, 1, &ticket));
		ASSERT_EQ(0, op.result);
		ASSERT_GT(op.ret_token, largest);
		largest = op.ret_token;
	}
	ASSERT_EQ(0, pf_leases_foreach(self->l, PINFOLD_LEASE_NODE_ANY, count_lease, &n));
	EXPECT_EQ(COUNT, n);
	n = 0;
	ASSERT_EQ(0, pf_leases_foreach(self->l, 1, count_lease, &n));
	EXPECT_EQ(COUNT / 3, n);
	n = 0;
	EXPECT_EQ(42, pf_leases_foreach(self->l, PINFOLD_LEASE_NODE_ANY, stop_at_three, &n));
	ASSERT_EQ(0, pf_leases_expire(self->l, 0, &swept));
	EXPECT_EQ(0, swept);
	self->now_ms += 100;
	ASSERT_EQ(0, pf_leases_expire(self->l, 1100, &swept));
	EXPECT_EQ(1100, swept);
	ASSERT_EQ(0, pf_leases_expire(self->l, 0, &swept));
	EXPECT_EQ(COUNT / 2 - 1100, swept);
	REOPEN();
	n = 0;
	ASSERT_EQ(0, pf_leases_foreach(self->l, PINFOLD_LEASE_NODE_ANY, count_lease, &n));
	EXPECT_EQ(COUNT / 2, n);
	ASSERT_EQ(0, acquire(self->l, "actor1", 9, 100, &token));
	EXPECT_GT(token, largest);
}

/* A crash forgets grants that were not durable; their tokens are not granted a second time. */
TEST_F(lease, tokens_survive_a_crash)
{
	struct {
		uint64_t token;
		int result;
	} granted = { 0 };
	int channel[2], status;
	uint64_t token = 0, before = 0;
	pid_t pid;

	ASSERT_EQ(0, acquire(self->l, "first", 1, 1000, &before));
	ASSERT_EQ(0, env_close(&self->env));
	ASSERT_EQ(0, pipe(channel));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (pid == 0) { /* ends without closing */
		granted.result = env_open(&self->env);
		if (granted.result == 0)
			granted.result = pf_leases_open(self->env.store, "actors", 0, &self->l);
		for (int i = 0; i < 100 && granted.result == 0; i++) {
			char actor[16];

			snprintf(actor, sizeof(actor), "lost%d", i);
			granted.result = acquire(self->l, actor, 2, 1000, &granted.token);
		}
		if (write(channel[1], &granted, sizeof(granted)) != sizeof(granted))
			granted.result = -EIO;
		kill(getpid(), SIGKILL);
	}
	ASSERT_EQ(sizeof(granted), read(channel[0], &granted, sizeof(granted)));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, granted.result);
	ASSERT_EQ(0, env_open(&self->env));
	ASSERT_EQ(0, pf_leases_open(self->env.store, "actors", 0, &self->l));
	ASSERT_EQ(0, acquire(self->l, "after", 3, 1000, &token));
	EXPECT_GT(granted.token, before);
	EXPECT_GT(token, granted.token);
	ASSERT_EQ(0, env_verify(&self->env));
}

struct racer {
	struct pf_leases *leases;
	uint64_t node, grants, last_token;
	int failed;
};

/* Takes one actor again and again and checks that nobody else does while it holds it. */
static void *race(void *arg)
{
	static _Atomic uint64_t holder;
	struct racer *racer = arg;

	for (int i = 0; i < 2000; i++) {
		uint64_t token, nobody = 0;
		int r = acquire(racer->leases, "one", racer->node, 1000000, &token);

		if (r == -EBUSY)
			continue;
		if (r < 0 || token <= racer->last_token ||
		    !__atomic_compare_exchange_n(&holder, &nobody, racer->node, false, __ATOMIC_SEQ_CST,
						 __ATOMIC_SEQ_CST))
			racer->failed++;
		racer->last_token = token;
		racer->grants++;
		__atomic_store_n(&holder, 0, __ATOMIC_SEQ_CST);
		if (release(racer->leases, "one", token) < 0)
			racer->failed++;
	}
	return NULL;
}

TEST_F(lease, one_holder_at_a_time)
{
	struct racer racers[4];
	pthread_t threads[4];
	uint64_t grants = 0;

	for (int i = 0; i < 4; i++) {
		racers[i] = (struct racer){ .leases = self->l, .node = 1 + i };
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, race, &racers[i]));
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_EQ(0, racers[i].failed);
		grants += racers[i].grants;
	}
	EXPECT_LT(0, grants);
}

static int name_add(void *ctx, const char *name)
{
	strcat(strcat(ctx, name), " ");
	return 0;
}

TEST_F(lease, tables_are_listed_and_dropped)
{
	struct pinfold_table_stats stats;
	struct pf_leases *other;
	struct pf_table *table;
	char names[128] = "";
	uint64_t token;

	ASSERT_EQ(0, pf_leases_open(self->env.store, "other", PINFOLD_TABLE_CREATE, &other));
	ASSERT_EQ(0, pf_table_open(self->env.store, "records", PINFOLD_TABLE_CREATE, &table));
	ASSERT_EQ(0, pf_leases_stat(self->l, &stats));
	EXPECT_EQ(0, stats.record_count);
	ASSERT_EQ(0, acquire(self->l, "a", 1, 1000, &token));
	ASSERT_EQ(0, acquire(self->l, "b", 1, 1000, &token));
	ASSERT_EQ(0, pf_leases_stat(self->l, &stats));
	EXPECT_EQ(2, stats.record_count);
	ASSERT_EQ(0, pf_leases_table_foreach(self->env.store, name_add, names));
	EXPECT_STREQ("actors other ", names);
	names[0] = 0;
	ASSERT_EQ(0, pf_table_foreach(self->env.store, name_add, names));
	EXPECT_STREQ("records ", names);

	EXPECT_EQ(-EBUSY, pf_leases_drop(self->env.store, "other"));
	EXPECT_EQ(-ENOENT, pf_leases_drop(self->env.store, "records"));
	EXPECT_EQ(-EINVAL, pf_leases_drop(self->env.store, "a/b"));
	REOPEN();
	ASSERT_EQ(0, pf_leases_drop(self->env.store, "other"));
	EXPECT_EQ(-ENOENT, pf_leases_open(self->env.store, "other", 0, &other));
	EXPECT_EQ(-ENOENT, pf_leases_drop(self->env.store, "other"));
	REOPEN();
	names[0] = 0;
	ASSERT_EQ(0, pf_leases_table_foreach(self->env.store, name_add, names));
	EXPECT_STREQ("actors ", names);
	ASSERT_EQ(0, pf_leases_stat(self->l, &stats));
	EXPECT_EQ(2, stats.record_count);
}

TEST_F(lease, read_only_looks)
{
	struct pinfold_lease lease;
	uint64_t token;

	ASSERT_EQ(0, acquire(self->l, "a", 1, 1000, &token));
	ASSERT_EQ(0, env_close(&self->env));
	self->env.config.flags = PINFOLD_OPEN_READONLY;
	ASSERT_EQ(0, env_open(&self->env));
	ASSERT_EQ(0, pf_leases_open(self->env.store, "actors", 0, &self->l));
	ASSERT_EQ(0, pf_lease_get(self->l, "a", 1, &lease));
	EXPECT_EQ(token, lease.token);
	EXPECT_EQ(-EROFS, renew(self->l, "a", token, 1000));
}

TEST_HARNESS_MAIN
