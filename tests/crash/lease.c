/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lease.c - threads take, renew, steal and release leases; their process is killed at a random moment, the store
 *recovered, every actor asked for; and again. The history of all lives is then judged (leasehist.h).
 *
 *	lease [--kills N] [--seed S]
 */
#include "leasehist.h"
#include "rnd.h"
#include "scratch.h"
#include "tap.h"

#include "base/error.h"
#include "store/store.h"
#include "store/table/lease.h"

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#define THREADS 3
#define BATCH 4
#define LIVES_PER_WORLD 10
#define PATIENCE_MS 60000

static struct proof {
	struct shared {
		struct history history;
		_Atomic int failed;
		char text[512];
	} * shared;
	char dir[SCRATCH_PATH];
	struct pinfold_config config;
	struct pf_store *store;
	struct pf_leases *leases;
	uint64_t seed;
	uint32_t run;
	_Atomic bool stop;
	uint64_t operations, grants, refusals, in_flight; /* of all worlds */
} proof;

static int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (!atomic_exchange(&proof.shared->failed, 1))
		vsnprintf(proof.shared->text, sizeof(proof.shared->text), format, args);
	va_end(args);
	return -1;
}

static int open_store(void)
{
	struct pinfold_config full;

	if (pf_config_complete(&proof.config, &full) < 0 || pf_store_open(proof.dir, &full, &proof.store) < 0 ||
	    pf_tables_open(proof.store, &full) < 0 ||
	    pf_leases_open(proof.store, "proof", PINFOLD_TABLE_CREATE, &proof.leases) < 0)
		return fail("open: %s", pf_error_text());
	return 0;
}

static int close_store(void)
{
	pf_tables_close(proof.store);
	return pf_store_close(proof.store) < 0 ? fail("close: %s", pf_error_text()) : 0;
}

/* ---- work ---- */

struct worker {
	struct rnd rnd;
	uint64_t node;
	uint64_t token[HIST_ACTORS]; /* granted to this worker last */
};

/* Chooses an operation and notes that it is called. False: the history is full. */
static bool choose(struct worker *worker, struct pinfold_lease_op *op, struct hist_event **ret_event,
		   char names[HIST_ACTORS][8])
{
	unsigned actor = (unsigned)rnd_below(&worker->rnd, HIST_ACTORS);
	uint64_t ttl_ms = 1 + rnd_below(&worker->rnd, 20), token = 0;
	enum pinfold_lease_what what;

	if (worker->token[actor] && rnd_below(&worker->rnd, 4)) {
		what = rnd_below(&worker->rnd, 2) ? PINFOLD_LEASE_RENEW : PINFOLD_LEASE_RELEASE;
		token = worker->token[actor];
	} else {
		what = rnd_below(&worker->rnd, 2) ? PINFOLD_LEASE_ACQUIRE : PINFOLD_LEASE_STEAL;
	}
	*op = (struct pinfold_lease_op){ .what = what,
					 .actor = names[actor],
					 .actor_size = strlen(names[actor]),
					 .node = worker->node,
					 .token = token,
					 .ttl_ms = ttl_ms };
	*ret_event = hist_call(&proof.shared->history, what, actor, token, ttl_ms, proof.run);
	return *ret_event != NULL;
}

static void note(struct worker *worker, const struct pinfold_lease_op *op, struct hist_event *event, bool durable)
{
	bool changed = op->result == 0;

	hist_return(&proof.shared->history, event, op->result, op->ret_token);
	event->durable = durable;
	if (changed && (op->what == PINFOLD_LEASE_ACQUIRE || op->what == PINFOLD_LEASE_STEAL))
		worker->token[event->actor] = op->ret_token;
	else if (op->result == -ESTALE || (changed && op->what == PINFOLD_LEASE_RELEASE))
		worker->token[event->actor] =
			rnd_below(&worker->rnd, 4) ? 0 : op->token; /* at times kept though stale */
}

static void sweep(void)
{
	struct hist_event *event = hist_call(&proof.shared->history, HIST_EXPIRE, 255, 0, 0, proof.run);
	int r;

	if (!event)
		return;
	r = pf_leases_expire(proof.leases, 0, NULL);
	if (r < 0)
		fail("expire: %s", pf_error_text());
	hist_return(&proof.shared->history, event, r, 0);
}

static void *work(void *arg)
{
	struct worker *worker = arg;
	char names[HIST_ACTORS][8];

	for (int i = 0; i < HIST_ACTORS; i++)
		snprintf(names[i], sizeof(names[i]), "actor%d", i);
	while (!atomic_load(&proof.stop) && !atomic_load(&proof.shared->failed)) {
		struct pinfold_lease_op ops[BATCH];
		struct hist_event *events[BATCH];
		unsigned count = 1 + (unsigned)rnd_below(&worker->rnd, BATCH);
		pinfold_ticket ticket;
		bool durable;

		if (rnd_below(&worker->rnd, 200) == 0)
			sweep();
		for (unsigned i = 0; i < count; i++)
			if (!choose(worker, &ops[i], &events[i], names))
				return NULL;
		if (pf_lease_submit(proof.leases, ops, count, &ticket) < 0 ||
		    pf_ticket_settle(proof.store, ticket) < 0) {
			fail("submit: %s", pf_error_text());
			return NULL;
		}
		durable = proof.config.sync == PINFOLD_SYNC_SYNC;
		if (!durable && rnd_below(&worker->rnd, 8) == 0)
			durable = pf_ticket_wait(proof.store, ticket, -1) == 0;
		for (unsigned i = 0; i < count; i++)
			note(worker, &ops[i], events[i], durable && ticket);
		if (!ticket) /* all refused: the history is for more than that */
			nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
	}
	return NULL;
}

static int do_work(void *ctx)
{
	static struct worker workers[THREADS];
	pthread_t threads[THREADS];

	if (open_store() < 0)
		return -1;
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ .rnd = rnd_of(proof.seed, proof.run, i, 1), .node = 1 + i };
		if (pthread_create(&threads[i], NULL, work, &workers[i]))
			return fail("no thread");
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return close_store();
}

/* ---- after the kill ---- */

static void problem(void *ctx, const struct pinfold_problem *problem)
{
	fail("verify: %s %lld: %s", problem->path, (long long)problem->offset, problem->what);
}

/* Every actor is asked for: what comes back is part of the history. */
static int do_check(void *ctx)
{
	char name[8];

	if (open_store() < 0)
		return -1;
	if (pf_table_verify(proof.store, problem, NULL, NULL) < 0)
		return -1;
	for (unsigned i = 0; i < HIST_ACTORS; i++) {
		struct pinfold_lease_op op = { .what = PINFOLD_LEASE_ACQUIRE, .actor = name, .node = 99, .ttl_ms = 1 };
		struct hist_event *event;
		pinfold_ticket ticket;

		op.actor_size = (size_t)snprintf(name, sizeof(name), "actor%u", i);
		event = hist_call(&proof.shared->history, op.what, i, 0, op.ttl_ms, proof.run);
		if (!event)
			break;
		if (pf_lease_submit(proof.leases, &op, 1, &ticket) < 0 || pf_ticket_wait(proof.store, ticket, -1) < 0)
			return fail("submit: %s", pf_error_text());
		hist_return(&proof.shared->history, event, op.result, op.ret_token);
		event->durable = ticket != 0;
	}
	return close_store();
}

static bool one_life(struct rnd *rnd)
{
	struct timespec span = { .tv_nsec = (long)(1 + rnd_below(rnd, 80)) * 1000000 };
	pid_t pid = child_start(do_work, NULL);
	bool late;
	int status;

	nanosleep(&span, NULL);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	proof.run++;
	status = child_wait(child_start(do_check, NULL), PATIENCE_MS, &late);
	proof.run++;
	if (status == 0 && !late && !atomic_load(&proof.shared->failed))
		return true;
	tap_note("recovery %s: %s", child_status_text(status, late), proof.shared->text);
	return false;
}

static bool one_world(struct rnd *rnd, unsigned lives)
{
	struct history *history = &proof.shared->history;
	const char *found;

	memset(proof.shared, 0, sizeof(*proof.shared));
	proof.seed = rnd_next(rnd);
	proof.config.sync = rnd_below(rnd, 2) ? PINFOLD_SYNC_SYNC : (enum pinfold_sync)rnd_below(rnd, 3);
	tap_note("world %016llx: sync mode %d", (unsigned long long)proof.seed, proof.config.sync);
	scratch_clear(proof.dir, true);
	/* on a device, where a commit takes time: in memory few kills would meet one */
	if (scratch_make("/var/tmp", proof.dir) < 0)
		return false;
	for (unsigned i = 0; i < lives; i++)
		if (!one_life(rnd))
			return false;
	for (uint32_t i = 0; i < atomic_load(&history->count); i++) {
		const struct hist_event *event = &history->event[i];

		proof.operations++;
		proof.in_flight += !event->returned;
		proof.grants += event->returned && !event->result && event->ret_token;
		proof.refusals += event->returned && event->result;
	}
	found = hist_check(history);
	if (found)
		tap_note("%s; the store is left in %s", found, proof.dir);
	return !found;
}

/* ---- the judge is judged ---- */

static struct hist_event *planted(struct history *history, int what, uint64_t token, int result, uint64_t ret_token)
{
	struct hist_event *event = hist_call(history, what, 0, token, 1000, 0);

	hist_return(history, event, result, ret_token);
	event->durable = true;
	return event;
}

/* Histories with one fault each; all must be found, and the one without must not. */
static unsigned faults_missed(struct history *history)
{
	unsigned missed = 0;

	for (int fault = 0; fault < 8; fault++) {
		memset(history, 0, sizeof(*history));
		planted(history, PINFOLD_LEASE_ACQUIRE, 0, 0, 5);
		planted(history, PINFOLD_LEASE_ACQUIRE, 0, -EBUSY, fault == 1 ? 4 : 5);
		if (fault == 2)
			planted(history, PINFOLD_LEASE_STEAL, 0, 0, 6); /* it lasts a second */
		if (fault != 3)
			planted(history, PINFOLD_LEASE_RELEASE, fault == 2 ? 6 : 5, 0, 5);
		planted(history, PINFOLD_LEASE_ACQUIRE, 0, 0, fault == 4 ? 5 : fault == 5 ? 3 : 7);
		if (fault == 6)
			planted(history, PINFOLD_LEASE_RENEW, 5, 0, 5);
		if (fault == 7)
			planted(history, PINFOLD_LEASE_ACQUIRE, 0, -EBUSY, 5);
		if (!hist_check(history) != (fault == 0)) {
			tap_note("planted fault %d: %s", fault, fault ? "missed" : hist_check(history));
			missed++;
		}
	}
	return missed;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "kills", required_argument, NULL, 'k' },
		{ "seed", required_argument, NULL, 's' },
		{ 0 },
	};
	unsigned long long seed = 20240006;
	unsigned kills = 40, done = 0;
	struct rnd rnd;
	int option;
	bool ok = true;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'k')
			kills = strtoul(optarg, NULL, 0);
		else if (option == 's')
			seed = strtoull(optarg, NULL, 0);
		else
			return 2;
	}
	tap_begin();
	tap_note("seed %llu", seed);
	rnd = rnd_of(seed, 0, 0, 0);
	proof.shared = mmap(NULL, sizeof(*proof.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (proof.shared == MAP_FAILED) {
		tap_result(false, "memory for the history: %s", strerror(errno));
		return tap_end();
	}
	proof.config = (struct pinfold_config){ .size = sizeof(proof.config),
						.flags = PINFOLD_OPEN_CREATE,
						.file_size = 1ull << 30,
						.max_mapped_size = 4ull << 30,
						.journal_size = 16ull << 20 };
	tap_result(!faults_missed(&proof.shared->history), "the judge finds planted faults");
	for (; ok && done < kills; done += LIVES_PER_WORLD)
		ok = one_world(&rnd, LIVES_PER_WORLD);
	tap_result(ok, "%u kills: tokens only grow, nobody holds what another holds, nothing durable is lost", done);
	if (ok)
		scratch_clear(proof.dir, true);
	tap_note("%llu operations: %llu granted, renewed or released, %llu refused, %llu in flight when killed",
		 (unsigned long long)proof.operations, (unsigned long long)proof.grants,
		 (unsigned long long)proof.refusals, (unsigned long long)proof.in_flight);
	tap_result(kills < 40 || (proof.grants > 1000 && proof.refusals > 1000 && proof.in_flight),
		   "the kills met work");
	return tap_end();
}
