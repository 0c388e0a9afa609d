/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * grow.c - a table that grows is interrupted at every transaction, an import at every call, and the disk is full.
 *
 *  1. Transaction after transaction adds records; the process dies in each, before the journal is written or right
 *     after, and the next one looks: all records of a number of whole transactions are there, the acknowledged ones
 *     among them, no other, and the table's structure is sound. Once from nothing, once across the first new segment of
 *     the bucket array, where heap extents are new, too.
 *  2. A bulk import dies at its n-th call, for every n. The table is empty or whole; the import, resumed, makes it
 *     whole. So does one that begins again, where another was not finished; that one may have to begin once more.
 *  3. From the n-th allocation on, the disk has no space: a put or import says so, keeps what is there and works again
 *     when there is space, in the same process.
 *
 *	grow [--seed S] [--rounds N] [--stride N]
 */
#include "base/error.h"
#include "iohook.h"
#include "rnd.h"
#include "scratch.h"
#include "store/store.h"
#include "store/table/build.h"
#include "tap.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 60000
#define BATCH 5u
#define VALUE_MAX 900u
/* Records just before the bucket array gets its first extent of its own: 2^14 buckets of 13/4. */
#define SEGMENT_RECORDS (((1u << 14) * 13u / 4u) / BATCH * BATCH)
#define IMPORT_RECORDS 20000u

/* Survives the processes. */
struct shared {
	_Atomic uint32_t acked; /* records */
	_Atomic unsigned calls;
	char text[512];
};

static struct {
	char dir[SCRATCH_PATH], base[SCRATCH_PATH];
	struct shared *shared;
	uint64_t seed;
	unsigned die_at; /* which call; 0: none */
	bool die_after;
	bool puts; /* it grows by puts */
	bool unfinished; /* the base has half an import */
	bool full; /* fails from call die_at on, instead of dying */
	uint32_t first; /* records of the base */
	struct pf_store *store;
	struct pf_table *table;
} proof;

static int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int fail(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(proof.shared->text, sizeof(proof.shared->text), format, ap);
	va_end(ap);
	return -1;
}

/* ---- records ---- */

static size_t value_of(uint32_t key, uint8_t ret_value[VALUE_MAX])
{
	struct rnd rnd = rnd_of(proof.seed, key, 0, 9);
	size_t size = rnd_below(&rnd, 64) ? 8 * rnd_below(&rnd, 12) : VALUE_MAX - 150 * rnd_below(&rnd, 4);

	rnd_fill(&rnd, ret_value, size);
	return size;
}

static int batch_put(uint32_t from)
{
	static uint8_t values[BATCH][VALUE_MAX];
	struct pinfold_record records[BATCH];
	uint32_t keys[BATCH];

	for (uint32_t i = 0; i < BATCH; i++) {
		keys[i] = from + i;
		records[i] =
			(struct pinfold_record){ &keys[i], sizeof(keys[i]), values[i], value_of(keys[i], values[i]) };
	}
	return pf_table_write(proof.table, records, BATCH);
}

static int import_some(uint32_t flags, uint32_t count, struct pf_import **ret_import)
{
	uint8_t value[VALUE_MAX] = {0};
	struct pinfold_import_mark mark = {0};
	int r = pf_import_begin(proof.table, "input", PINFOLD_IMPORT_BULK | flags, ret_import, &mark);

	if (r < 0)
		*ret_import = NULL;
	for (uint32_t key = (uint32_t)mark.records; r == 0 && key < count; key++) {
		const struct pinfold_record record = {&key, sizeof(key), value, value_of(key, value)};

		r = pf_import_add(*ret_import, &record, 1);
		mark.records = key + 1;
		if (r == 0 && key % 100 == 99)
			r = pf_import_mark(*ret_import, &mark);
	}
	return r;
}

static int import_run(uint32_t flags, uint32_t count)
{
	struct pf_import *import;
	int r = import_some(flags, count, &import);

	if (r == 0)
		return pf_import_end(import);
	pf_import_stop(import);
	return r;
}

static void note_problem(void *ctx, const struct pinfold_problem *problem)
{
	fail("verify: %s offset %lld: %s", problem->path, (long long)problem->offset, problem->what);
}

/* The records of a prefix of the keys, of whole batches; sound. *ret_count: how many. */
static int look(uint32_t *ret_count)
{
	uint8_t value[VALUE_MAX], expected[VALUE_MAX];
	struct pinfold_table_stats stats;
	uint32_t count;

	if (pf_table_verify(proof.store, note_problem, NULL, NULL) < 0)
		return fail("%.300s: %.150s", proof.shared->text, pf_error_text());
	if (pf_table_stat(proof.table, &stats) < 0)
		return fail("stat: %s", pf_error_text());
	count = (uint32_t)stats.record_count;
	for (uint32_t key = 0; key <= count + BATCH; key++) {
		size_t size = 0, expected_size = value_of(key, expected);
		int r = pf_table_get(proof.table, &key, sizeof(key), value, sizeof(value), &size);

		if (key >= count ? r != -ENOENT :
				   r < 0 || size != expected_size || memcmp(value, expected, size) != 0)
			return fail("of %u records, key %u: %s", count, key, r < 0 ? pf_error_text() : "is wrong");
	}
	*ret_count = count;
	return 0;
}

/* ---- the store ---- */

static int open_all(const char *dir)
{
	struct pinfold_config wish = {
		.size = sizeof(wish), .flags = PINFOLD_OPEN_CREATE | PINFOLD_OPEN_STORE_ONLY, .file_size = 1ull << 30,
		.max_mapped_size = 2ull << 30, .journal_size = 16ull << 20, .sync = PINFOLD_SYNC_SYNC,
	}, config;
	int r = pf_config_complete(&wish, &config);

	if (r == 0)
		r = pf_store_open(dir, &config, &proof.store);
	if (r == 0)
		r = pf_tables_open(proof.store, &config);
	if (r == 0)
		r = pf_table_open(proof.store, "t", PINFOLD_TABLE_CREATE, &proof.table);
	return r < 0 ? fail("open: %s", pf_error_text()) : 0;
}

static int close_all(void)
{
	pf_tables_close(proof.store);
	return pf_store_close(proof.store) < 0 ? fail("close: %s", pf_error_text()) : 0;
}

/* Extents made ahead are no part of a transaction. */
static bool counts(const struct io_call *call)
{
	return call->op == IO_WRITE || (call->op == IO_ALLOCATE && !proof.puts) || io_call_flushes(call);
}

static int before(struct io_call *call)
{
	unsigned call_number;

	if (proof.full) { /* what is written was allocated before */
		call_number = call->op == IO_ALLOCATE ? atomic_fetch_add(&proof.shared->calls, 1) + 1 : 0;
		return proof.die_at && call_number >= proof.die_at ? -ENOSPC : IO_PASS;
	}
	if (!counts(call))
		return IO_PASS;
	call_number = atomic_fetch_add(&proof.shared->calls, 1) + 1;
	call->token = call_number;
	if (call_number == proof.die_at && !proof.die_after)
		kill(getpid(), SIGKILL);
	return IO_PASS;
}

static void after(struct io_call *call)
{
	if (!proof.full && counts(call) && call->token == proof.die_at && proof.die_after)
		kill(getpid(), SIGKILL);
}

static const struct io_hooks hooks = {.before = before, .after = after};

/* ---- 1 ---- */

/* Looks at what the last one left, then adds batches until it dies in the second. */
static int do_grow(void *ctx)
{
	uint32_t acked = atomic_load(&proof.shared->acked), count = 0;

	if (open_all(proof.dir) < 0 || look(&count) < 0)
		return -1;
	if (count % BATCH || count < acked || count > acked + BATCH)
		return fail("%u records, but %u were acknowledged", count, acked);
	atomic_store(&proof.shared->acked, count);
	atomic_store(&proof.shared->calls, 0);
	io_hook_set(&hooks);
	for (unsigned i = 0; i < 50; i++, count += BATCH) {
		if (batch_put(count) < 0)
			return fail("put: %s", pf_error_text());
		atomic_store(&proof.shared->acked, count + BATCH);
	}
	return fail("nothing was written");
}

static int do_base(void *ctx)
{
	struct pf_import *import;

	if (open_all(proof.base) < 0)
		return -1;
	if (proof.first && import_run(0, proof.first) < 0)
		return fail("import: %s", pf_error_text());
	if (proof.unfinished) {
		if (import_some(0, IMPORT_RECORDS / 2, &import) < 0)
			return fail("half an import: %s", pf_error_text());
		pf_import_stop(import);
	}
	return close_all();
}

static bool ran(const char *what, int (*fn)(void *), int wanted)
{
	bool late;
	int status = child_wait(child_start(fn, NULL), PATIENCE_MS, &late);
	bool ok = !late && (wanted ? WIFSIGNALED(status) && WTERMSIG(status) == wanted : status == 0);

	if (!ok)
		tap_note("%s: %s: %s", what, child_status_text(status, late), proof.shared->text);
	return ok;
}

static bool start(uint32_t first)
{
	memset(proof.shared, 0, sizeof(*proof.shared));
	proof.first = first;
	proof.die_at = 0;
	scratch_clear(proof.base, false);
	scratch_clear(proof.dir, false);
	atomic_store(&proof.shared->acked, first);
	return ran("the base", do_base, 0) && scratch_copy(proof.base, proof.dir) == 0;
}

static void prove_growth(uint32_t first, unsigned rounds)
{
	bool ok = start(first);
	uint32_t grown;

	proof.puts = true;
	for (unsigned i = 0; ok && i < rounds; i++) {
		/* calls 1 and 2: write and flush of the first batch; it is gone, or there though nobody was told */
		proof.die_at = 1 + i / 2 % 4;
		proof.die_after = i % 2;
		ok = ran("growth", do_grow, SIGKILL);
	}
	proof.puts = false;
	grown = atomic_load(&proof.shared->acked) - first;
	if (ok && grown < rounds * BATCH / 2) {
		tap_note("it grew by %u records only", grown);
		ok = false;
	}
	tap_result(ok, "growth from %u records, interrupted at %u transactions, by %u", first, rounds, grown);
}

/* ---- 2 ---- */

static int do_import(void *ctx)
{
	if (open_all(proof.dir) < 0)
		return -1;
	atomic_store(&proof.shared->calls, 0);
	io_hook_set(&hooks);
	if (import_run(proof.unfinished ? PINFOLD_IMPORT_RESTART : 0, IMPORT_RECORDS) < 0)
		return fail("import: %s", pf_error_text());
	io_hook_set(NULL);
	return close_all();
}

static int do_import_check(void *ctx)
{
	uint32_t count = 0;
	int r;

	proof.die_at = 0;
	if (open_all(proof.dir) < 0 || look(&count) < 0)
		return -1;
	if (count != 0 && count != IMPORT_RECORDS)
		return fail("%u records of an import of %u", count, IMPORT_RECORDS);
	r = import_run(0, IMPORT_RECORDS);
	if (r == -EBUSY && proof.unfinished) /* the one before was being given up */
		r = import_run(PINFOLD_IMPORT_RESTART, IMPORT_RECORDS);
	if (r < 0)
		return fail("resumed: %s", pf_error_text());
	if (look(&count) < 0 || count != IMPORT_RECORDS)
		return fail("after the resumed import: %u records: %.300s", count, proof.shared->text);
	return close_all();
}

static void prove_import(unsigned stride, bool unfinished)
{
	unsigned calls, n = 1, tried = 0;
	bool ok;

	proof.unfinished = unfinished;
	ok = start(0) && ran("import", do_import, 0);
	calls = atomic_load(&proof.shared->calls);
	for (n = 1; ok && n <= 2 * calls; n += stride, tried++) {
		proof.die_at = (n + 1) / 2;
		proof.die_after = n % 2 == 0;
		scratch_clear(proof.dir, false);
		ok = scratch_copy(proof.base, proof.dir) == 0;
		/* two threads write: one run may have a call less than another */
		if (ok && (ran("import", do_import, SIGKILL) || atomic_load(&proof.shared->calls) < proof.die_at))
			ok = ran("its resumption", do_import_check, 0);
		else
			ok = false;
	}
	proof.unfinished = false;
	tap_result(ok && tried > 0, "a bulk import%s killed before and after each of %u calls (%u tried) is resumed",
		   unfinished ? " that begins again" : "", calls, tried);
}

/* ---- 3 ---- */

static int puts_until_full(uint32_t *count)
{
	int r = 0;

	while (*count < 200000 && (r = batch_put(*count)) == 0)
		*count += BATCH;
	if (r != -ENOSPC)
		return fail("put on a full disk: %d %s", r, pf_error_text());
	if (!strstr(pf_error_text(), "pace"))
		return fail("put on a full disk: words without the reason: %s", pf_error_text());
	return 0;
}

static int do_full_puts(void *ctx)
{
	uint32_t count = 0, seen = 0;

	if (open_all(proof.dir) < 0)
		return -1;
	proof.full = true;
	io_hook_set(&hooks);
	if (puts_until_full(&count) < 0)
		return -1;
	for (unsigned i = 0; i < 3; i++) /* it stays so */
		if (batch_put(count) != -ENOSPC)
			return fail("a put on a full disk, again: %s", pf_error_text());
	if (look(&seen) < 0 || seen != count)
		return fail("full, %u of %u records: %.300s", seen, count, proof.shared->text);
	if (batch_put(0) < 0) /* what is there already takes no more space, or hardly */
		return fail("records replaced on a full disk: %s", pf_error_text());
	proof.die_at = 0; /* there is space again */
	for (uint32_t end = count + 40000; count < end; count += BATCH)
		if (batch_put(count) < 0)
			return fail("put, with space again: %s", pf_error_text());
	io_hook_set(NULL);
	if (look(&seen) < 0 || seen != count)
		return fail("with space again, %u of %u records: %.300s", seen, count, proof.shared->text);
	if (close_all() < 0 || open_all(proof.dir) < 0 || look(&seen) < 0 || seen != count)
		return fail("opened again, %u of %u records: %.300s", seen, count, proof.shared->text);
	return close_all();
}

static int do_full_import(void *ctx)
{
	uint32_t seen = 0;
	int r;

	if (open_all(proof.dir) < 0)
		return -1;
	proof.full = true;
	atomic_store(&proof.shared->calls, 0);
	io_hook_set(&hooks);
	r = import_run(0, IMPORT_RECORDS);
	if (r == 0 && !proof.die_at) {
		io_hook_set(NULL);
		return close_all();
	}
	if (r != -ENOSPC || !strstr(pf_error_text(), "pace"))
		return fail("import on a full disk: %d %s", r, pf_error_text());
	if (look(&seen) < 0 || seen != 0)
		return fail("full, %u records: %.300s", seen, proof.shared->text);
	proof.die_at = 0;
	if (import_run(0, IMPORT_RECORDS) < 0)
		return fail("resumed with space again: %s", pf_error_text());
	io_hook_set(NULL);
	if (look(&seen) < 0 || seen != IMPORT_RECORDS)
		return fail("with space again, %u records: %.300s", seen, proof.shared->text);
	return close_all();
}

static void prove_full(void)
{
	unsigned calls, n;
	bool ok = start(0);

	proof.die_at = 1;
	ok = ok && ran("puts on a full disk", do_full_puts, 0);
	tap_result(ok, "a table that grows on a full disk keeps what it has, and grows on when there is space");
	ok = start(0) && ran("import", do_full_import, 0);
	calls = atomic_load(&proof.shared->calls);
	for (n = 1; ok && n <= calls; n++) {
		proof.die_at = n;
		scratch_clear(proof.dir, false);
		ok = scratch_copy(proof.base, proof.dir) == 0 && ran("import on a full disk", do_full_import, 0);
	}
	tap_result(ok && calls > 0, "a bulk import with no space from each of %u allocations on goes on when there is",
		   calls);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"seed", required_argument, NULL, 's'}, {"rounds", required_argument, NULL, 'r'},
		{"stride", required_argument, NULL, 'n'}, {0},
	};
	unsigned rounds = 2000, stride = 1;
	int c;

	proof.seed = 20240007;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's': proof.seed = strtoull(optarg, NULL, 0); break;
		case 'r': rounds = (unsigned)strtoul(optarg, NULL, 0); break;
		case 'n': stride = (unsigned)strtoul(optarg, NULL, 0); break;
		default: return 2;
		}
	}
	tap_begin();
	tap_note("seed %llu", (unsigned long long)proof.seed);
	pf_build_group_bytes = 1 << 20; /* several groups */
	pf_build_clear_units = 8;
	proof.shared = mmap(NULL, sizeof(*proof.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (proof.shared == MAP_FAILED || scratch_make(NULL, proof.dir) < 0 || scratch_make(NULL, proof.base) < 0 ||
	    stride == 0)
		return 1;
	prove_growth(0, rounds);
	prove_growth(SEGMENT_RECORDS - rounds / 5 * BATCH, rounds);
	prove_import(stride, false);
	prove_import(stride, true);
	prove_full();
	scratch_clear(proof.dir, true);
	scratch_clear(proof.base, true);
	return tap_end();
}
