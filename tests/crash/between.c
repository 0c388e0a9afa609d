/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * between.c - what chance seldom meets, made to happen.
 *
 *  1. A checkpoint runs between two steps of applying a record: the next one must flush the file again, or
 *     it moves the journal's start behind bytes that are not on the disk. Once the record is durable, the log it is
 *     applied from is made inaccessible, and the checkpoint runs in the handler of the fault, in the midst of storing.
 *  2. An extent is written, and dropped, while a checkpoint flushes: the point of that checkpoint is before the
 *     drop, so its space must not be given out yet, or replay of the older record overwrites what
 *     the next owner loads. The changes are made from within the flush, every grace period is waited for,
 *     the next owner loads, and the process dies.
 *  3. Extents far apart change, one or all of them: a checkpoint flushes the range of each that did, and none beyond.
 *  4. A flush fails while a checkpoint waits for its turn, or flushes itself without being told: it must not move the
 *     start behind what that flush left unwritten.
 */
#include "base/error.h"
#include "iohook.h"
#include "scratch.h"
#include "store/internal.h"
#include "tap.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PATIENCE_MS 30000
#define EXTENT_SIZE (2u << 20)
#define FAR_SIZE (128u << 20) /* of an extent that puts what comes behind it into another range */
#define RANGES 64
#define FAILING_MS 300

static struct {
	char dir[SCRATCH_PATH];
	struct pf_store *store;
	struct pinfold_extent extent, next;
	struct shared {
		char text[512];
		struct pinfold_extent loaded; /* in the place of the dropped one, if @reused */
		int reused;
	} *shared;
	uint8_t *log; /* inaccessible from the journal's next flush on */
	unsigned faults, flushes, reached;
	unsigned flushed[RANGES]; /* by PF_FLUSH_SIZE of the file: how often */
	int data_fd, result;
	bool bulk; /* the flush that fails is a bulk load's */
	_Atomic unsigned failed;
} proof;

static int fail(const char *what)
{
	snprintf(proof.shared->text, sizeof(proof.shared->text), "%s: %.400s", what, pf_error_text());
	return -1;
}

static int open_store(void)
{
	struct pinfold_config wish = {
		.size = sizeof(wish), .flags = PINFOLD_OPEN_CREATE | PINFOLD_OPEN_STORE_ONLY, .file_size = 1ull << 30,
		.max_mapped_size = 1ull << 30, .extent_size = EXTENT_SIZE, .journal_size = 16ull << 20,
		.sync = PINFOLD_SYNC_SYNC,
	}, config;
	int r = pf_config_complete(&wish, &config);

	return r < 0 ? r : pf_store_open(proof.dir, &config, &proof.store);
}

static int change(const struct pinfold_extent *extent, bool publish, bool drop, const char *bytes)
{
	struct pf_txn *txn;
	int r = pf_txn_begin(proof.store, &txn);

	if (r < 0)
		return r;
	if (publish)
		r = pf_txn_publish(txn, extent);
	if (r == 0 && bytes)
		r = pf_txn_write(txn, extent, 0, bytes, strlen(bytes));
	if (r == 0 && drop)
		r = pf_txn_drop(txn, extent);
	if (r < 0) {
		pf_txn_abort(txn);
		return r;
	}
	return pf_txn_commit(txn);
}

static int start(void)
{
	int r = open_store();

	if (r == 0)
		r = pf_extent_alloc(proof.store, EXTENT_SIZE, 0, &proof.extent);
	if (r == 0)
		r = change(&proof.extent, true, false, "first");
	if (r == 0)
		r = pf_store_checkpoint(proof.store);
	if (r < 0)
		return fail("start");
	proof.data_fd = proof.store->files[0]->fd;
	return 0;
}

/* ---- 1 ---- */

static bool is_checkpoint(const struct io_call *call)
{
	return call->op == IO_FLUSH_RANGE && call->fd == proof.data_fd && call->size % PF_FLUSH_SIZE == 0;
}

static void count_flush(struct io_call *call)
{
	if (!is_checkpoint(call) || call->result != 0)
		return;
	proof.flushes++;
	for (uint64_t at = call->offset; at < call->offset + call->size; at += PF_FLUSH_SIZE)
		if (at % PF_FLUSH_SIZE == 0 && at / PF_FLUSH_SIZE < RANGES)
			proof.flushed[at / PF_FLUSH_SIZE]++;
}

static void hide_log(struct io_call *call)
{
	count_flush(call);
	if (proof.log || call->op != IO_FDATASYNC || call->fd != proof.store->segments[0].fd || call->result != 0)
		return;
	proof.log = proof.store->log.data;
	mprotect(proof.log, proof.store->log.groups_size, PROT_NONE);
}

static void on_fault(int signo, siginfo_t *info, void *context)
{
	uint8_t *at = info->si_addr;

	if (at < proof.log || at >= proof.log + proof.store->log.groups_size || proof.faults++ > 0)
		_exit(9);
	proof.result = pf_checkpoint_run(proof.store); /* the applier holds no lock */
	mprotect(proof.log, proof.store->log.groups_size, PROT_READ | PROT_WRITE);
}

static int do_checkpoint_while_applying(void *ctx)
{
	static const struct io_hooks hooks = { .after = hide_log };
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER };

	if (start() < 0)
		return -1;
	sigaction(SIGSEGV, &action, NULL);
	io_hook_set(&hooks);
	if (change(&proof.extent, false, false, "second") < 0 || proof.result < 0)
		return fail("commit, with a checkpoint while it is applied");
	if (proof.faults != 1)
		return fail("the record was not applied from the log");
	proof.flushes = 0;
	if (pf_store_checkpoint(proof.store) < 0)
		return fail("checkpoint");
	if (proof.store->super.start_lsn != atomic_load(&proof.store->applied_lsn))
		return fail("the checkpoint did not move the start");
	if (proof.flushes == 0)
		return fail("the start moved behind a record whose bytes were not flushed");
	io_hook_set(NULL);
	return pf_store_close(proof.store);
}

/* ---- 2 ---- */

static void note_done(void *ctx)
{
	atomic_store((_Atomic bool *)ctx, true);
}

/* All grace periods that began before have ended, and their callbacks have run. */
static int wait_for_grace(void)
{
	static _Atomic bool done;

	atomic_store(&done, false);
	if (pf_epoch_defer(note_done, &done) < 0)
		return -1;
	while (!atomic_load(&done))
		usleep(1000);
	return 0;
}

static int change_within_flush(struct io_call *call)
{
	if (!is_checkpoint(call) || proof.reached++ > 0)
		return IO_PASS;
	proof.result = change(&proof.extent, false, false, "older record");
	if (proof.result == 0)
		proof.result = change(&proof.extent, false, true, NULL);
	if (proof.result == 0)
		proof.result = wait_for_grace();
	return IO_PASS;
}

/* Loads the place of the dropped extent, if it is given out. 1: it was. Lowest places are given out first. */
static int reuse(const char *bytes, struct pinfold_extent *ret_extent)
{
	int r = pf_extent_alloc(proof.store, EXTENT_SIZE, 0, ret_extent);

	if (r == 0 && ret_extent->offset != proof.extent.offset)
		return pf_extent_free(proof.store, ret_extent);
	if (r == 0)
		r = pf_bulk_write(proof.store, ret_extent, 0, bytes, strlen(bytes));
	if (r == 0)
		r = pf_bulk_flush(proof.store, ret_extent, 1);
	if (r == 0)
		r = change(ret_extent, true, false, NULL);
	return r < 0 ? r : 1;
}

/* Ends without closing. @ctx: whether a second checkpoint, behind the drop, comes before the reuse. */
static int do_drop_within_checkpoint(void *ctx)
{
	static const struct io_hooks hooks = { .before = change_within_flush };
	const bool *second = ctx;
	int r;

	if (start() < 0 || pf_extent_alloc(proof.store, EXTENT_SIZE, 0, &proof.next) < 0 ||
	    change(&proof.next, true, false, "something to flush") < 0)
		return fail("start");
	io_hook_set(&hooks);
	if (pf_store_checkpoint(proof.store) < 0 || proof.result < 0 || !proof.reached)
		return fail("checkpoint with changes within");
	io_hook_set(NULL);
	if (*second && pf_store_checkpoint(proof.store) < 0)
		return fail("second checkpoint");
	r = reuse("the next owner", &proof.shared->loaded);
	if (r < 0)
		return fail("reuse");
	proof.shared->reused = r;
	return 0;
}

static int do_check(void *ctx)
{
	char bytes[15] = { 0 };

	if (open_store() < 0)
		return fail("open after the crash");
	if (proof.shared->reused && pf_read_at(proof.store, &proof.shared->loaded, 0, bytes, 14) < 0)
		return fail("read");
	if (proof.shared->reused && strcmp(bytes, "the next owner") != 0)
		return fail("replay overwrote what the next owner of the space had loaded");
	if (pf_store_verify(proof.store, NULL, NULL, NULL) < 0)
		return fail("verify");
	return pf_store_close(proof.store);
}

/* ---- 3 ---- */

/* Checkpoints, and expects one flush of the ranges of @a and of @b behind it, and of none outside of the two. */
static int expect_flushes(const struct pinfold_extent *a, const struct pinfold_extent *b)
{
	const uint64_t first = a->offset / PF_FLUSH_SIZE, last = b->offset / PF_FLUSH_SIZE;

	memset(proof.flushed, 0, sizeof(proof.flushed));
	if (pf_store_checkpoint(proof.store) < 0)
		return fail("checkpoint");
	for (unsigned i = 0; i < RANGES; i++) {
		const bool wanted = i == first || i == last, allowed = i >= first && i <= last;

		if (proof.flushed[i] >= wanted && proof.flushed[i] <= allowed)
			continue;
		snprintf(proof.shared->text, sizeof(proof.shared->text), "range %u was flushed %u times", i,
			 proof.flushed[i]);
		return -1;
	}
	return 0;
}

static int do_ranges(void *ctx)
{
	static const struct io_hooks hooks = { .after = count_flush };
	struct pinfold_extent gap;

	if (start() < 0 || pf_extent_alloc(proof.store, FAR_SIZE, 0, &gap) < 0 ||
	    pf_extent_alloc(proof.store, FAR_SIZE, 0, &proof.next) < 0 ||
	    change(&proof.next, true, false, NULL) < 0 || pf_store_checkpoint(proof.store) < 0)
		return fail("start");
	if (proof.extent.offset >= PF_FLUSH_SIZE || proof.next.offset < 2 * PF_FLUSH_SIZE ||
	    proof.next.offset >= RANGES * PF_FLUSH_SIZE) {
		snprintf(proof.shared->text, sizeof(proof.shared->text), "the extents are not far apart");
		return -1;
	}
	io_hook_set(&hooks);
	if (change(&proof.extent, false, false, "near") < 0 || change(&proof.next, false, false, "far") < 0)
		return fail("change");
	if (expect_flushes(&proof.extent, &proof.next) < 0)
		return -1;
	if (change(&proof.next, false, false, "far alone") < 0)
		return fail("change");
	if (expect_flushes(&proof.next, &proof.next) < 0)
		return -1;
	if (change(&proof.extent, false, false, "near alone") < 0)
		return fail("change");
	if (expect_flushes(&proof.extent, &proof.extent) < 0)
		return -1;
	io_hook_set(NULL);
	return pf_store_close(proof.store);
}

/* ---- 4 ---- */

/* The first flush of data takes a while and fails; the kernel tells nobody else. */
static int fail_slowly(struct io_call *call)
{
	const bool fails = proof.bulk ? call->op == IO_FDATASYNC : is_checkpoint(call);

	if (!fails || call->fd != proof.data_fd || atomic_fetch_add(&proof.failed, 1) > 0)
		return IO_PASS;
	usleep(FAILING_MS * 1000);
	return -EIO;
}

static void *flush_in_vain(void *arg)
{
	proof.result = proof.bulk ? pf_bulk_flush(proof.store, &proof.next, 1) : pf_checkpoint_run(proof.store);
	return NULL;
}

static int do_failed_flush(void *ctx)
{
	static const struct io_hooks hooks = { .before = fail_slowly };
	pthread_t thread;
	uint64_t before;
	int r;

	proof.bulk = *(const bool *)ctx;
	if (start() < 0 || pf_extent_alloc(proof.store, EXTENT_SIZE, 0, &proof.next) < 0 ||
	    change(&proof.extent, false, false, "acknowledged") < 0)
		return fail("start");
	before = proof.store->super.start_lsn;
	io_hook_set(&hooks);
	if (pthread_create(&thread, NULL, flush_in_vain, NULL) != 0)
		return fail("thread");
	while (atomic_load(&proof.failed) == 0)
		usleep(1000);
	r = pf_checkpoint_run(proof.store);
	pthread_join(thread, NULL);
	if (proof.result == 0 || r == 0 || proof.store->super.start_lsn != before) {
		snprintf(proof.shared->text, sizeof(proof.shared->text),
			 "flush: %d, checkpoint beside it: %d, start %llu, before it %llu", proof.result, r,
			 (unsigned long long)proof.store->super.start_lsn, (unsigned long long)before);
		return -1;
	}
	return 0;
}

/* ---- */

static bool runs_well(const char *what, int (*fn)(void *), void *ctx)
{
	bool late;
	int status = child_wait(child_start(fn, ctx), PATIENCE_MS, &late);

	if (status == 0 && !late)
		return true;
	tap_note("%s: %s: %s", what, child_status_text(status, late), proof.shared->text);
	return false;
}

static void prove_reuse(bool second)
{
	const char *what = second ? "space dropped within a checkpoint is reused after the next one"
				  : "space dropped within a checkpoint is not given out by it";
	bool ok;

	scratch_clear(proof.dir, false);
	memset(proof.shared, 0, sizeof(*proof.shared));
	ok = runs_well(what, do_drop_within_checkpoint, &second) && runs_well(what, do_check, NULL);
	if (ok && proof.shared->reused != second)
		tap_note("the space was %sgiven out", second ? "not " : "");
	tap_result(ok && proof.shared->reused == second, "%s", what);
}

static void prove_failed_flush(bool bulk)
{
	scratch_clear(proof.dir, false);
	memset(proof.shared, 0, sizeof(*proof.shared));
	tap_result(runs_well("failed flush", do_failed_flush, &bulk),
		   "a checkpoint beside %s whose flush fails does not move the start",
		   bulk ? "a bulk load" : "another");
}

int main(void)
{
	tap_begin();
	proof.shared = mmap(NULL, sizeof(*proof.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (proof.shared == MAP_FAILED || scratch_make(NULL, proof.dir) < 0)
		return 1;
	tap_result(runs_well("checkpoint while applying", do_checkpoint_while_applying, NULL),
		   "a checkpoint while a record is applied leaves it to the next");
	prove_reuse(false);
	prove_reuse(true);
	scratch_clear(proof.dir, false);
	memset(proof.shared, 0, sizeof(*proof.shared));
	tap_result(runs_well("ranges", do_ranges, NULL),
		   "a checkpoint flushes the ranges that changed, each once, and none beyond");
	prove_failed_flush(false);
	prove_failed_flush(true);
	scratch_clear(proof.dir, true);
	return tap_end();
}
