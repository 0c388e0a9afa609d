/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * powercut.c - the power goes away between any two things that a store does to
 * its files; unflushed writes are lost, kept, reordered or torn; mapped pages
 * were or were not written back on the way. Each disk that this may leave is
 * recovered and held to the laws of ledger.h.
 *
 *	powercut [--cuts N] [--seed S]
 *
 * N bounds the recoveries of one scenario (0: every boundary, every cut).
 */
#include "base/error.h"
#include "disklog.h"
#include "rnd.h"
#include "scratch.h"
#include "tap.h"
#include "work.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PATIENCE_MS 30000
#define RANDOM_CUTS 3

enum scenario {
	SCENE_CREATE,
	SCENE_SYNC,
	SCENE_ASYNC,
	SCENE_NONE,
	SCENE_RECOVER,
	SCENE_GROW,
	SCENE_TABLES,
	SCENE_COUNT
};
static const char *const scene_names[SCENE_COUNT] = {
	"creation", "sync commits, checkpoint, close", "async commits", "commits of sync mode none",
	"recovery, then commits", "growth by a file", "record tables",
};

static struct {
	struct ledger *ledger, *probe;
	struct disklog *log;
	char made[SCRATCH_PATH], cut[SCRATCH_PATH];
	enum scenario scene;
	const struct disk_mark *mark;
	unsigned steps;
	bool tables;
} proof;

static void step_all(struct ledger *ledger, struct pf_store *store, unsigned steps, bool checkpoints)
{
	static struct model models[WORLD_WRITERS];
	static struct table_model table_model;
	struct table_work *tables = NULL;
	unsigned writers = ledger->world.writer_count;

	for (unsigned i = 0; i < writers; i++)
		models[i] = ledger->model[i];
	table_model = ledger->table_model[0];
	if (ledger->world.tables && table_work_open(ledger, store, &tables) < 0)
		return;
	for (unsigned i = 0; i < steps && !atomic_load(&ledger->failed); i++) {
		int r = tables && i % 2 ? table_work_step(ledger, tables, &table_model, 0) :
					  work_step(ledger, store, &models[i % writers], i % writers);

		if (r == 0 && checkpoints && i % 11 == 7)
			r = pf_store_checkpoint(store);
		if (r < 0)
			ledger_fail(ledger, "step %u: %s: %s", i, strerror(-r), pf_error_text());
	}
	table_work_close(tables);
}

static int do_run(void *ctx)
{
	struct ledger *ledger = proof.ledger;
	struct pinfold_extent large;
	struct pinfold_config config;
	struct pf_store *store;
	int r = disklog_start(proof.log, ledger, proof.made);

	if (r == 0)
		r = work_config(&ledger->world, &config);
	if (r == 0)
		r = pf_store_open(proof.made, &config, &store);
	if (r < 0)
		return ledger_fail(ledger, "recorded run: open: %s: %s", strerror(-r), pf_error_text());
	atomic_store(&proof.log->opened, 1);
	if (proof.scene == SCENE_GROW)
		for (int i = 0; i < 2 && r == 0; i++)
			r = pf_extent_alloc(store, 512u << 20, 0, &large);
	if (r < 0)
		ledger_fail(ledger, "recorded run: growth: %s", pf_error_text());
	if (proof.scene != SCENE_CREATE)
		step_all(ledger, store, proof.steps, true);
	atomic_store(&ledger->closing, 1);
	r = pf_store_close(store);
	if (r < 0)
		ledger_fail(ledger, "recorded run: close: %s", pf_error_text());
	atomic_store(&ledger->closed, 1);
	disklog_stop();
	return atomic_load(&ledger->failed) ? -1 : 0;
}

/* The store that the recorded run begins with. */
static int do_prepare(void *ctx)
{
	struct ledger *ledger = proof.ledger;
	struct pinfold_config config;
	struct pf_store *store;

	if (proof.scene == SCENE_CREATE)
		return 0;
	if (work_setup(ledger, proof.made) < 0)
		return -1;
	ledger_next_run(ledger);
	if (proof.scene != SCENE_RECOVER)
		return 0;
	if (work_config(&ledger->world, &config) < 0 || pf_store_open(proof.made, &config, &store) < 0)
		return ledger_fail(ledger, "prepare: open: %s", pf_error_text());
	step_all(ledger, store, 16, false);
	for (unsigned i = 0; i < ledger->world.writer_count; i++)
		while (ledger->model[i].sequence < atomic_load(&ledger->log[i].acked)) {
			uint64_t base = 0, next = ledger->model[i].sequence + 1;

			model_apply(&ledger->world, i, next, &ledger->model[i],
				    &ledger->log[i].entry[next - base - 1].made);
		}
	ledger_next_run(ledger);
	return 0; /* and ends without closing */
}

static int check_created(struct ledger *ledger, bool was_created)
{
	struct pinfold_config config;
	struct pf_store *store;
	int r = work_config(&ledger->world, &config);

	if (was_created) /* creation was acknowledged: the store is there */
		config.flags &= ~(uint32_t)PINFOLD_OPEN_CREATE;
	if (r == 0)
		r = pf_store_open(proof.cut, &config, &store);
	if (r < 0)
		return ledger_fail(ledger, "%s: %s: %s",
				   was_created ? "the created store is gone" : "creation cannot be repeated",
				   strerror(-r), pf_error_text());
	r = pf_store_verify(store, NULL, NULL, NULL);
	if (r < 0)
		return ledger_fail(ledger, "verify: %s", pf_error_text());
	return pf_store_close(store);
}

static int do_check(void *ctx)
{
	struct ledger *probe = proof.probe;

	if (proof.scene == SCENE_CREATE)
		return check_created(probe, proof.mark->opened);
	return check_run(probe, proof.cut, false);
}

/* The ledger as it was at the mark. */
static void set_probe(const struct disk_mark *mark)
{
	struct ledger *probe = proof.probe;

	memcpy(probe, proof.ledger, sizeof(*probe));
	for (unsigned i = 0; i < WORLD_WRITERS; i++)
		atomic_store(&probe->log[i].acked, mark->acked[i]);
	for (unsigned i = 0; i < WORLD_TABLE_WRITERS; i++)
		atomic_store(&probe->table_log[i].acked, mark->table_acked[i]);
	atomic_store(&probe->durable_ticket, mark->durable_ticket);
	atomic_store(&probe->closed, mark->closed);
	proof.mark = mark;
}

static bool one_cut(struct disk *disk, uint64_t number, enum disk_cut cut, unsigned variant, uint64_t seed)
{
	static const char *const names[DISK_CUT_COUNT] = { "strict", "all", "early", "late", "random" };
	struct rnd rnd = rnd_of(seed, number, cut, variant);
	bool late;
	int status, r;

	scratch_clear(proof.cut, false);
	r = disk_cut(disk, cut, &rnd, proof.cut);
	if (r < 0) {
		tap_note("disk image: %s", strerror(-r));
		return false;
	}
	set_probe(&proof.log->record[number].mark);
	status = child_wait(child_start(do_check, NULL), PATIENCE_MS, &late);
	if (status == 0 && !late && !atomic_load(&proof.probe->failed))
		return true;
	tap_note("%s: power cut before event %llu of %llu, cut %s/%u: the check %s: %s", scene_names[proof.scene],
		 (unsigned long long)(number - proof.log->first),
		 (unsigned long long)(atomic_load(&proof.log->count) - proof.log->first), names[cut], variant,
		 child_status_text(status, late), proof.probe->text);
	return false;
}

/* Between two pages of one write nothing is decided; the cuts cover that. */
static bool is_boundary(uint64_t number)
{
	const struct disk_record *record = &proof.log->record[number];

	if (number < proof.log->first)
		return false;
	return record->event.type != DISK_PAGE_IS || (number > 0 && record[-1].event.type != DISK_PAGE_IS);
}

static bool cut_everywhere(unsigned limit, uint64_t seed, unsigned *ret_cuts)
{
	uint64_t count = atomic_load(&proof.log->count), boundaries = 0;
	struct rnd rnd = rnd_of(seed, proof.scene, 9, 0);
	struct disk *disk = disk_new();
	unsigned bad = 0, cuts = 0;

	for (uint64_t i = 0; i < count; i++)
		boundaries += is_boundary(i);
	for (uint64_t i = 0; i < count && bad < 3 && disk; i++) {
		const struct disk_record *record = &proof.log->record[i];

		for (unsigned cut = 0; is_boundary(i) && cut < DISK_CUT_RANDOM + RANDOM_CUTS && bad < 3; cut++) {
			enum disk_cut kind = cut < DISK_CUT_RANDOM ? (enum disk_cut)cut : DISK_CUT_RANDOM;

			if (limit && rnd_below(&rnd, boundaries * (DISK_CUT_RANDOM + RANDOM_CUTS)) >= limit)
				continue;
			bad += !one_cut(disk, i, kind, cut, seed);
			cuts++;
		}
		if (disk_apply(disk, i, &record->event, proof.log->page[record->page_at]) < 0) {
			tap_note("event %llu cannot be replayed", (unsigned long long)i);
			bad++;
		}
	}
	disk_free(disk);
	*ret_cuts = cuts;
	return disk && !bad;
}

static bool runs_well(const char *what, int (*fn)(void *))
{
	bool late;
	int status = child_wait(child_start(fn, NULL), PATIENCE_MS, &late);

	if (status == 0 && !late && !atomic_load(&proof.ledger->failed))
		return true;
	tap_result(false, "%s: %s %s: %s", scene_names[proof.scene], what, child_status_text(status, late),
		   proof.ledger->text);
	return false;
}

static void prove(enum scenario scene, unsigned limit, uint64_t seed)
{
	static const enum pinfold_sync modes[SCENE_COUNT] = {
		[SCENE_ASYNC] = PINFOLD_SYNC_ASYNC, [SCENE_NONE] = PINFOLD_SYNC_NONE
	};
	unsigned cuts;
	bool ok;

	if (scene == SCENE_TABLES && !proof.tables)
		return;
	proof.scene = scene;
	proof.steps = scene == SCENE_GROW ? 6 : 40;
	memset(proof.ledger, 0, sizeof(*proof.ledger));
	proof.ledger->world = (struct world){ .seed = seed + scene, .sync = modes[scene], .writer_count = 2,
					      .no_io_uring = scene % 2, .tables = scene == SCENE_TABLES };
	scratch_clear(proof.made, true);
	/* a second file needs gigabytes reserved: not in memory */
	if (scratch_make(scene == SCENE_GROW ? "/var/tmp" : NULL, proof.made) < 0) {
		tap_result(false, "scratch directory: %s", strerror(errno));
		return;
	}
	disklog_reset(proof.log);
	if (!runs_well("prepare", do_prepare) || !runs_well("the recorded run", do_run))
		return;
	if (atomic_load(&proof.log->overflow)) {
		tap_result(false, "%s: the log is too small", scene_names[scene]);
		return;
	}
	ok = cut_everywhere(limit, seed, &cuts);
	tap_result(ok && cuts, "%s: %u power cuts within %llu events", scene_names[scene], cuts,
		   (unsigned long long)(atomic_load(&proof.log->count) - proof.log->first));
}

static void *shared_memory(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "cuts", required_argument, NULL, 'c' }, { "seed", required_argument, NULL, 's' },
		{ "no-tables", no_argument, NULL, 't' },  { 0 },
	};
	unsigned long long seed = 20240004;
	unsigned limit = 100;
	int option;

	proof.tables = true;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'c')
			limit = strtoul(optarg, NULL, 0);
		else if (option == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (option == 't')
			proof.tables = false;
		else
			return 2;
	}
	tap_begin();
	tap_note("seed %llu, %u cuts of a scenario (0: all)", seed, limit);
	proof.ledger = shared_memory(sizeof(*proof.ledger));
	proof.probe = shared_memory(sizeof(*proof.probe));
	proof.log = disklog_new();
	if (!proof.ledger || !proof.probe || !proof.log || scratch_make(NULL, proof.cut) < 0 ||
	    scratch_make(NULL, proof.made) < 0)
		return 1;
	for (int scene = 0; scene < SCENE_COUNT; scene++)
		prove((enum scenario)scene, limit, seed);
	scratch_clear(proof.made, true);
	scratch_clear(proof.cut, true);
	return tap_end();
}
