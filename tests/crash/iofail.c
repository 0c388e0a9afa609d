/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * iofail.c - the n-th I/O call fails, for every n, in every way; likewise the
 * n-th allocation of memory.
 *
 * A script (open or create, commits, publish, drop, checkpoint, growth, close) runs in a process of its own with one
 * fault. Wanted: no crash, no hang, words for each error, an
 * fsync that failed is never tried again as if nothing was, a poisoned store commits
 * nothing more; and the store opened again without the fault obeys the laws of ledger.h.
 *
 *	iofail [--seed S] [--stride N]
 */
#include "base/error.h"
#include "iohook.h"
#include "memhook.h"
#include "rnd.h"
#include "scratch.h"
#include "tap.h"
#include "work.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define STEPS 24

enum fault { FAULT_EIO, FAULT_ENOSPC, FAULT_SHORT, FAULT_SYNC, FAULT_MEMORY, FAULT_COUNT };
static const char *const fault_names[FAULT_COUNT] = { "EIO", "ENOSPC", "short write", "failed fsync", "no memory" };

enum script { SCRIPT_CREATE, SCRIPT_WORK, SCRIPT_RECOVER, SCRIPT_COUNT };
static const char *const script_names[SCRIPT_COUNT] = { "create", "work and close", "recovery and work" };

/* Shared with the process that runs the script. */
struct shared {
	_Atomic unsigned call_count;  /* of the kind that the fault picks */
	_Atomic unsigned fired;       /* op + 1 of the call that failed */
	_Atomic int sync_retried;
	_Atomic int first_error, errors_without_text, commits_after_poison;
	char text[512];
};

struct proof {
	struct ledger *ledger, *start;
	struct shared *shared;
	char dir[SCRATCH_PATH], made[SCRATCH_PATH];
	enum fault fault;
	enum script script;
	unsigned n; /* 0: none fails; count them */
};

static struct proof proof;
static _Atomic ino_t failed_sync_inode;

static bool fault_hits(const struct io_call *call)
{
	switch (proof.fault) {
	case FAULT_EIO:
		return call->op != IO_RING_OPEN;
	case FAULT_ENOSPC:
		return call->op == IO_WRITE || call->op == IO_ALLOCATE || call->op == IO_TRUNCATE ||
		       call->op == IO_MKDIR || (call->op == IO_OPEN && (call->flags & O_CREAT));
	case FAULT_SHORT:
		return call->op == IO_WRITE;
	case FAULT_SYNC:
		return io_call_flushes(call);
	default:
		return false;
	}
}

static ino_t inode_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

static int before_call(struct io_call *call)
{
	const bool sync = io_call_flushes(call);

	if (sync && atomic_load(&failed_sync_inode) && inode_of(call->fd) == atomic_load(&failed_sync_inode))
		atomic_store(&proof.shared->sync_retried, 1);
	if (!fault_hits(call) || atomic_fetch_add(&proof.shared->call_count, 1) + 1 != proof.n)
		return IO_PASS;
	atomic_store(&proof.shared->fired, (unsigned)call->op + 1);
	if (sync)
		atomic_store(&failed_sync_inode, inode_of(call->fd));
	if (proof.fault == FAULT_SHORT)
		return IO_SHORT;
	return proof.fault == FAULT_ENOSPC ? -ENOSPC : -EIO;
}

static bool before_memory(void)
{
	if (atomic_fetch_add(&proof.shared->call_count, 1) + 1 != proof.n)
		return true;
	atomic_store(&proof.shared->fired, IO_OP_COUNT + 1);
	return false;
}

/* Notes an error of the store and whether it came with words. Returns @r. */
static int noted(int r)
{
	struct shared *shared = proof.shared;
	int none = 0;

	if (r >= 0)
		return r;
	if (!pf_error_text()[0])
		atomic_fetch_add(&shared->errors_without_text, 1);
	if (atomic_compare_exchange_strong(&shared->first_error, &none, r))
		snprintf(shared->text, sizeof(shared->text), "%s", pf_error_text());
	pf_error_clear();
	return r;
}

static bool is_poisoned(struct pf_store *store)
{
	struct pinfold_store_stats stats;

	return pf_store_stat(store, &stats) == 0 && stats.poisoned;
}

/* Nothing may commit any more. */
static void try_poisoned(struct pf_store *store)
{
	struct pf_txn *txn;

	if (pf_txn_begin(store, &txn) < 0)
		return;
	if (pf_txn_write(txn, &proof.ledger->fixed[0], plan_area(0) + 100, "poison", 6) < 0)
		pf_txn_abort(txn);
	else if (noted(pf_txn_commit(txn)) == 0)
		atomic_fetch_add(&proof.shared->commits_after_poison, 1);
}

static void run_steps(struct pf_store *store)
{
	static struct model models[2];

	for (unsigned i = 0; i < 2; i++)
		models[i] = proof.ledger->model[i];
	for (unsigned i = 0; i < STEPS; i++) {
		struct model *model = &models[i % 2];

		if (is_poisoned(store)) {
			try_poisoned(store);
			continue;
		}
		/* A failure that does not poison: nothing of the transaction happened, and it may be tried again. */
		if (noted(work_step(proof.ledger, store, model, i % 2)) < 0 && !is_poisoned(store))
			atomic_store(&proof.ledger->log[i % 2].started, model->sequence);
		if (i == STEPS / 3 || i == STEPS - 4)
			noted(pf_store_checkpoint(store));
	}
}

/* The script, with the fault armed from before the open until after the close. */
static int run_script(void *ctx)
{
	static const struct io_hooks hooks = { .before = before_call };
	struct pinfold_extent large;
	struct pinfold_config config;
	struct pf_store *store;
	int r;

	if (work_config(&proof.ledger->world, &config) < 0)
		return -1;
	io_hook_set(&hooks);
	mem_hook_set(proof.fault == FAULT_MEMORY ? before_memory : NULL);
	pf_error_clear();
	r = noted(pf_store_open(proof.dir, &config, &store));
	if (r == 0) {
		if (proof.script != SCRIPT_CREATE)
			run_steps(store);
		/* more than one file holds: adds a second */
		if (noted(pf_extent_alloc(store, 512u << 20, 0, &large)) == 0)
			if (noted(pf_extent_alloc(store, 512u << 20, 0, &large)) == 0)
				noted(pf_extent_free(store, &large));
		r = noted(pf_store_close(store));
		if (r == 0)
			atomic_store(&proof.ledger->closed, 1);
	}
	mem_hook_set(NULL);
	io_hook_set(NULL);
	return 0;
}

static int run_check(void *ctx)
{
	struct pinfold_config config;
	struct pf_store *store;

	if (proof.script != SCRIPT_CREATE)
		return check_run(proof.ledger, proof.dir, false);
	/* whatever a failed creation left: a store can be created there, and it is empty */
	if (work_config(&proof.ledger->world, &config) < 0)
		return -1;
	if (pf_store_open(proof.dir, &config, &store) < 0)
		return ledger_fail(proof.ledger, "creation cannot be repeated: %s", pf_error_text());
	if (pf_store_verify(store, NULL, NULL, NULL) < 0)
		return ledger_fail(proof.ledger, "verify after a repeated creation: %s", pf_error_text());
	return pf_store_close(store);
}

/* The store that scripts start from: closed cleanly, or as a killed process leaves it. */
static int make_start(void *ctx)
{
	static struct model models[2];
	struct pinfold_config config;
	struct pf_store *store;

	if (work_setup(proof.ledger, proof.made) < 0)
		return -1;
	ledger_next_run(proof.ledger);
	if (proof.script != SCRIPT_RECOVER)
		return 0;
	if (work_config(&proof.ledger->world, &config) < 0 || pf_store_open(proof.made, &config, &store) < 0)
		return ledger_fail(proof.ledger, "open: %s", pf_error_text());
	for (unsigned i = 0; i < 10; i++)
		if (work_step(proof.ledger, store, &models[i % 2], i % 2) < 0)
			return ledger_fail(proof.ledger, "step: %s", pf_error_text());
	for (unsigned i = 0; i < 2; i++)
		proof.ledger->model[i] = models[i];
	ledger_next_run(proof.ledger);
	return 0;
}

static bool ended_well(const char *what, int (*fn)(void *))
{
	bool late;
	int status = child_wait(child_start(fn, NULL), PATIENCE_MS, &late);

	if (status == 0 && !late && !atomic_load(&proof.ledger->failed))
		return true;
	tap_note("%s, %s at call %u (%s): %s %s: %s", script_names[proof.script], fault_names[proof.fault], proof.n,
		 proof.shared->fired ? proof.shared->fired > IO_OP_COUNT ? "allocation" :
						io_op_names[proof.shared->fired - 1] : "none",
		 what, child_status_text(status, late), proof.ledger->text);
	tap_note("the script's first error was: %s", proof.shared->text);
	return false;
}

static bool behaved(void)
{
	struct shared *shared = proof.shared;
	const char *what = NULL;

	if (shared->errors_without_text)
		what = "an error came without words";
	else if (shared->sync_retried)
		what = "an fsync that failed was tried again";
	else if (shared->commits_after_poison)
		what = "a poisoned store committed";
	else if (proof.n == 0 && shared->first_error)
		what = "without a fault, something failed";
	else if (proof.fault == FAULT_SYNC && shared->fired && !shared->first_error && proof.ledger->closed)
		what = "a failed fsync went unnoticed";
	if (what)
		tap_note("%s, %s at call %u (%s): %s: %s", script_names[proof.script], fault_names[proof.fault],
			 proof.n,
			 shared->fired ? shared->fired > IO_OP_COUNT ? "allocation" : io_op_names[shared->fired - 1]
				       : "none",
			 what, shared->text);
	return !what;
}

static bool one_fault(unsigned n)
{
	proof.n = n;
	memset(proof.shared, 0, sizeof(*proof.shared));
	memcpy(proof.ledger, proof.start, sizeof(*proof.ledger));
	scratch_clear(proof.dir, false);
	if (proof.script != SCRIPT_CREATE && scratch_copy(proof.made, proof.dir) < 0) {
		tap_note("copy of the store failed");
		return false;
	}
	return ended_well("the script", run_script) && behaved() && ended_well("the check", run_check);
}

static void prove(enum script script, enum fault fault, unsigned stride, uint64_t seed)
{
	unsigned calls, bad = 0, checked = 0;

	proof.script = script;
	proof.fault = fault;
	memset(proof.ledger, 0, sizeof(*proof.ledger));
	proof.ledger->world = (struct world){ .seed = seed, .sync = PINFOLD_SYNC_SYNC, .writer_count = 2,
					      .no_io_uring = fault == FAULT_EIO };
	scratch_clear(proof.made, false);
	if (script != SCRIPT_CREATE && !ended_well("the start", make_start)) {
		tap_result(false, "%s: the store to start from", script_names[script]);
		return;
	}
	memcpy(proof.start, proof.ledger, sizeof(*proof.ledger));
	if (!one_fault(0)) {
		tap_result(false, "%s without a fault", script_names[script]);
		return;
	}
	calls = proof.shared->call_count;
	for (unsigned n = 1 + (stride > 1 ? seed % stride : 0); n <= calls && bad < 3; n += stride, checked++)
		bad += !one_fault(n);
	tap_result(!bad && calls, "%s: %s at each of %u calls (%u tried)", script_names[script], fault_names[fault],
		   calls, checked);
}

static void *shared_memory(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' }, { "stride", required_argument, NULL, 'n' }, { 0 },
	};
	unsigned long long seed = 20240003;
	unsigned stride = 1;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (option == 'n')
			stride = strtoul(optarg, NULL, 0);
		else
			return 2;
	}
	tap_begin();
	tap_note("seed %llu, every %u. call", seed, stride);
	proof.ledger = shared_memory(sizeof(*proof.ledger));
	proof.start = shared_memory(sizeof(*proof.start));
	proof.shared = shared_memory(sizeof(*proof.shared));
	/* not in memory: growth reserves gigabytes */
	if (!proof.ledger || !proof.start || !proof.shared || scratch_make("/var/tmp", proof.dir) < 0 ||
	    scratch_make("/var/tmp", proof.made) < 0)
		return 1;
	for (int script = 0; script < SCRIPT_COUNT; script++)
		for (int fault = 0; fault < FAULT_COUNT; fault++)
			prove((enum script)script, (enum fault)fault, stride ? stride : 1, seed);
	scratch_clear(proof.dir, true);
	scratch_clear(proof.made, true);
	return tap_end();
}
