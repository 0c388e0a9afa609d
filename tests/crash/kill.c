/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * kill.c - the kill -9 loop: a process works on a store and is killed at a
 * random moment (in creation, recovery, work, checkpoint, growth or close);
 * what it leaves is recovered and held to the laws of ledger.h.
 *
 *	kill [--kills N] [--seed S] [--dir DIR] [--no-tables]
 *
 * A run is repeated from its printed seed as far as the moments of the kills allow.
 */
#include "rnd.h"
#include "scratch.h"
#include "tap.h"
#include "work.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#define KILLS_PER_WORLD 8
#define PATIENCE_MS 60000

struct proof {
	struct ledger *ledger;
	struct rnd rnd;
	char dir[SCRATCH_PATH];
	const char *parent;
	bool tables;
	unsigned run_ms;
	bool leave_open;
	/* what was met: a proof that never interrupted a phase says so */
	uint64_t transactions, table_changes, recovered, checkpoints;
	unsigned kill_count, in_start, in_work, in_close, after_close, in_recovery, in_creation;
};

static int do_create(void *ctx)
{
	struct proof *proof = ctx;
	struct pinfold_config config;
	struct pf_store *store;

	if (work_config(&proof->ledger->world, &config) < 0 || pf_store_open(proof->dir, &config, &store) < 0)
		return -1;
	return pf_store_close(store);
}

static int do_setup(void *ctx)
{
	struct proof *proof = ctx;

	return work_setup(proof->ledger, proof->dir);
}

static int do_work(void *ctx)
{
	struct proof *proof = ctx;

	return work_run(proof->ledger, proof->dir, proof->run_ms);
}

static int do_check(void *ctx)
{
	struct proof *proof = ctx;

	return check_run(proof->ledger, proof->dir, proof->leave_open);
}

static void sleep_us(uint64_t us)
{
	struct timespec span = { (time_t)(us / 1000000), (long)(us % 1000000) * 1000 };

	nanosleep(&span, NULL);
}

/* Ends well or the proof fails. */
static bool must_end_well(struct proof *proof, const char *what, int (*fn)(void *))
{
	bool late;
	int status = child_wait(child_start(fn, proof), PATIENCE_MS, &late);

	if (status == 0 && !late && !atomic_load(&proof->ledger->failed))
		return true;
	tap_note("%s %s: %s", what, child_status_text(status, late),
		 atomic_load(&proof->ledger->failed) ? proof->ledger->text : "without a word");
	return false;
}

/* Killed after @us unless it ended before. False if it ended badly by itself. */
static bool kill_after(struct proof *proof, const char *what, int (*fn)(void *), uint64_t us, bool *ret_killed)
{
	pid_t pid = child_start(fn, proof);
	int status;

	sleep_us(us);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	*ret_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	if (!atomic_load(&proof->ledger->failed) && (*ret_killed || status == 0))
		return true;
	tap_note("%s %s: %s", what, child_status_text(status, false), proof->ledger->text);
	return false;
}

static bool new_world(struct proof *proof)
{
	struct world *world = &proof->ledger->world;
	bool killed;

	memset(proof->ledger, 0, sizeof(*proof->ledger));
	world->seed = rnd_next(&proof->rnd);
	/* sync most often: it promises most */
	world->sync = rnd_below(&proof->rnd, 2) ? PINFOLD_SYNC_SYNC : (enum pinfold_sync)rnd_below(&proof->rnd, 3);
	world->no_io_uring = rnd_below(&proof->rnd, 2);
	world->large_extents = rnd_below(&proof->rnd, 4) == 0;
	world->writer_count = 1 + rnd_below(&proof->rnd, WORLD_WRITERS);
	world->tables = proof->tables && rnd_below(&proof->rnd, 3);
	scratch_clear(proof->dir, true);
	/* gigabyte extents only where blocks can be reserved without writing them */
	if (scratch_make(world->large_extents ? "/var/tmp" : proof->parent, proof->dir) < 0)
		return false;
	tap_note("world %016llx: sync mode %d, io_uring %s, %u writers%s%s", (unsigned long long)world->seed,
		 world->sync, world->no_io_uring ? "off" : "on", world->writer_count,
		 world->large_extents ? ", large extents" : "", world->tables ? ", tables" : "");
	for (unsigned i = 0; i < 3; i++) {
		if (!kill_after(proof, "creation", do_create, rnd_below(&proof->rnd, 15000), &killed))
			return false;
		proof->in_creation += killed;
		proof->kill_count += killed;
	}
	if (!must_end_well(proof, "setup", do_setup))
		return false;
	ledger_next_run(proof->ledger);
	return true;
}

static void count_phase(struct proof *proof)
{
	struct ledger *ledger = proof->ledger;
	uint64_t started = 0;

	for (unsigned i = 0; i < ledger->world.writer_count; i++)
		started += atomic_load(&ledger->log[i].started) - ledger->model[i].sequence;
	if (atomic_load(&ledger->closed))
		proof->after_close++;
	else if (atomic_load(&ledger->closing))
		proof->in_close++;
	else if (started)
		proof->in_work++;
	else
		proof->in_start++;
}

static uint64_t survived(const struct ledger *ledger, bool tables)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < (tables ? WORLD_TABLE_WRITERS : WORLD_WRITERS); i++)
		count += tables ? ledger->table_model[i].sequence : ledger->model[i].sequence;
	return count;
}

static bool one_kill(struct proof *proof)
{
	uint64_t before = survived(proof->ledger, false), table_before = survived(proof->ledger, true);
	struct rnd *rnd = &proof->rnd;
	bool killed;
	uint64_t us;

	proof->run_ms = 10 + rnd_below(rnd, 120);
	switch (rnd_below(rnd, 8)) {
	case 0: /* while opening */
		us = rnd_below(rnd, 8000);
		break;
	case 1 ... 2: /* around the close */
		us = proof->run_ms * 1000 + rnd_below(rnd, 30000);
		break;
	default:
		us = 2000 + rnd_below(rnd, proof->run_ms * 1000);
	}
	if (!kill_after(proof, "work", do_work, us, &killed))
		return false;
	proof->kill_count += killed;
	count_phase(proof);
	for (unsigned i = rnd_below(rnd, 3); i > 0; i--) {
		if (!kill_after(proof, "recovery", do_create, rnd_below(rnd, 8000), &killed))
			return false;
		proof->in_recovery += killed;
		proof->kill_count += killed;
	}
	proof->leave_open = rnd_below(rnd, 2);
	if (!must_end_well(proof, "check", do_check))
		return false;
	proof->transactions += survived(proof->ledger, false) - before;
	proof->table_changes += survived(proof->ledger, true) - table_before;
	proof->recovered += atomic_exchange(&proof->ledger->recovered_txns, 0);
	proof->checkpoints += atomic_exchange(&proof->ledger->checkpoint_count, 0);
	ledger_next_run(proof->ledger);
	return true;
}

static bool prove(struct proof *proof, unsigned kills)
{
	for (unsigned i = 0; proof->kill_count < kills; i++) {
		if (i % KILLS_PER_WORLD == 0 && !new_world(proof))
			return false;
		if (!one_kill(proof)) {
			tap_note("kill %u of world %016llx; the store is left in %s", proof->kill_count,
				 (unsigned long long)proof->ledger->world.seed, proof->dir);
			return false;
		}
	}
	return true;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "kills", required_argument, NULL, 'k' }, { "seed", required_argument, NULL, 's' },
		{ "dir", required_argument, NULL, 'd' },   { "no-tables", no_argument, NULL, 't' }, { 0 },
	};
	struct proof proof = { .tables = true };
	unsigned long long seed = 20240001;
	unsigned kills = 40;
	int option;
	bool ok;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'k')
			kills = strtoul(optarg, NULL, 0);
		else if (option == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (option == 'd')
			proof.parent = optarg;
		else if (option == 't')
			proof.tables = false;
		else
			return 2;
	}
	tap_begin();
	tap_note("seed %llu", seed);
	proof.rnd = rnd_of(seed, 0, 0, 0);
	proof.ledger = mmap(NULL, sizeof(*proof.ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (proof.ledger == MAP_FAILED) {
		tap_result(false, "memory for the ledger: %s", strerror(errno));
		return tap_end();
	}
	ok = prove(&proof, kills);
	tap_result(ok, "%u kills: nothing acknowledged is lost, nothing is half there", proof.kill_count);
	if (ok)
		scratch_clear(proof.dir, true);
	tap_note("%llu transactions and %llu table changes survived; %llu were recovered from journals; %llu "
		 "checkpoints and syncs",
		 (unsigned long long)proof.transactions, (unsigned long long)proof.table_changes,
		 (unsigned long long)proof.recovered, (unsigned long long)proof.checkpoints);
	tap_note("killed in creation %u, opening %u, work %u, close %u, after close %u, recovery %u", proof.in_creation,
		 proof.in_start, proof.in_work, proof.in_close, proof.after_close, proof.in_recovery);
	tap_result(kills < 40 || (proof.in_work && proof.in_close + proof.after_close && proof.in_recovery),
		   "the kills met work, close and recovery");
	return tap_end();
}
