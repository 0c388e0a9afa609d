/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * check.c - holds a recovered store to the laws of ledger.h.
 */
#include "work.h"

#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void survival_of(const struct writer_log *log, uint64_t base, uint64_t low, uint64_t high,
			struct survival *ret_survival)
{
	struct survival survival = { 0 };

	/* Tickets are known with gaps: the newest known of those present, the oldest known of those missing. */
	for (uint64_t i = low - base; i > 0 && !survival.last_ticket; i--)
		survival.last_ticket = atomic_load(&log->entry[i - 1].ticket);
	if (low > base)
		survival.last_began = atomic_load(&log->entry[low - base - 1].began);
	for (uint64_t i = high - base; i < LEDGER_TXNS && i < atomic_load(&log->started) - base; i++) {
		if (!survival.next_ticket)
			survival.next_ticket = atomic_load(&log->entry[i].ticket);
		if (i == high - base)
			survival.next_ended = atomic_load(&log->entry[i].ended);
	}
	*ret_survival = survival;
}

static int check_order(struct ledger *ledger, const struct survival *survivals, unsigned count)
{
	uint64_t ticket = 0, began = 0;

	for (unsigned i = 0; i < count; i++) {
		ticket = survivals[i].last_ticket > ticket ? survivals[i].last_ticket : ticket;
		began = survivals[i].last_began > began ? survivals[i].last_began : began;
	}
	for (unsigned i = 0; i < count; i++) {
		const struct survival *s = &survivals[i];

		if (s->next_ticket && s->next_ticket < ticket)
			return ledger_fail(ledger, "law 3: writer %u lost ticket %llu while %llu survived", i,
					   (unsigned long long)s->next_ticket, (unsigned long long)ticket);
		if (s->next_ended && s->next_ended < began)
			return ledger_fail(
				ledger,
				"law 3: writer %u lost what was acknowledged at %llu while a later one (%llu) survived",
				i, (unsigned long long)s->next_ended, (unsigned long long)began);
		if (s->next_ticket && s->next_ticket <= atomic_load(&ledger->durable_ticket))
			return ledger_fail(ledger,
					   "law 2: writer %u lost ticket %llu although %llu was reported durable", i,
					   (unsigned long long)s->next_ticket,
					   (unsigned long long)atomic_load(&ledger->durable_ticket));
	}
	return 0;
}

static bool acked_is_promised(const struct ledger *ledger)
{
	return ledger->world.sync == PINFOLD_SYNC_SYNC || atomic_load(&ledger->closed);
}

static int check_span(struct ledger *ledger, const char *who, unsigned writer, const struct writer_log *log,
		      uint64_t base, uint64_t low, uint64_t high)
{
	uint64_t started = atomic_load(&log->started), acked = atomic_load(&log->acked);

	if (low > started || high < base)
		return ledger_fail(
			ledger, "law 2: %s %u holds transaction %llu, but only %llu to %llu were ever started", who,
			writer, (unsigned long long)low, (unsigned long long)base, (unsigned long long)started);
	if (acked_is_promised(ledger) && high < acked)
		return ledger_fail(ledger, "law 2: %s %u holds transactions up to %llu, but %llu was acknowledged", who,
				   writer, (unsigned long long)high, (unsigned long long)acked);
	return 0;
}

static int read_area(struct ledger *ledger, struct pf_store *store, unsigned writer, unsigned extent,
		     unsigned char *ret_bytes)
{
	const struct pinfold_extent *fixed = &ledger->fixed[extent];
	const unsigned char *mapped = pf_extent_addr(pf_store_base(store), pf_store_file_size(store), fixed);
	int r = pf_read_at(store, fixed, plan_area(writer), ret_bytes, WORLD_AREA);

	if (r < 0)
		return ledger_fail(ledger, "read of fixed extent %u: %s: %s", extent, strerror(-r), pf_error_text());
	if (memcmp(mapped + plan_area(writer), ret_bytes, WORLD_AREA))
		return ledger_fail(ledger,
				   "extent %u, writer %u: the mapping differs from pf_read_at() with nothing in flight",
				   extent, writer);
	return 0;
}

static int check_image(struct ledger *ledger, const unsigned char *found, unsigned writer, unsigned extent)
{
	const unsigned char *expected = ledger->model[writer].image[extent];

	for (unsigned i = 0; i < WORLD_AREA; i++)
		if (found[i] != expected[i])
			return ledger_fail(ledger,
					   "law 1: writer %u, extent %u, byte %u (extent offset %llu): found %02x, "
					   "transaction %llu leaves %02x",
					   writer, extent, i, (unsigned long long)plan_area(writer) + i, found[i],
					   (unsigned long long)ledger->model[writer].sequence, expected[i]);
	return 0;
}

static int check_writer(struct ledger *ledger, struct pf_store *store, unsigned writer, struct survival *ret_survival)
{
	static unsigned char found[WORLD_EXTENTS][WORLD_AREA];
	struct writer_log *log = &ledger->log[writer];
	struct model *model = &ledger->model[writer];
	uint64_t base = model->sequence;
	struct head head, expected;

	for (unsigned i = 0; i < WORLD_EXTENTS; i++)
		if (read_area(ledger, store, writer, i, found[i]) < 0)
			return -1;
	memcpy(&head, found[writer % WORLD_EXTENTS], sizeof(head));
	if (head.sequence) {
		head_make(writer, head.sequence, &expected);
		if (memcmp(&head, &expected, sizeof(head)))
			return ledger_fail(ledger, "law 1: writer %u: its head is not whole", writer);
	}
	if (head.sequence < base)
		return ledger_fail(ledger, "law 2: writer %u holds transaction %llu; %llu was there before this run",
				   writer, (unsigned long long)head.sequence, (unsigned long long)base);
	if (check_span(ledger, "writer", writer, log, base, head.sequence, head.sequence) < 0)
		return -1;
	survival_of(log, base, head.sequence, head.sequence, ret_survival);
	while (model->sequence < head.sequence) {
		uint64_t next = model->sequence + 1;

		model_apply(&ledger->world, writer, next, model, &log->entry[next - base - 1].made);
	}
	for (unsigned i = 0; i < WORLD_EXTENTS; i++)
		if (check_image(ledger, found[i], writer, i) < 0)
			return -1;
	return 0;
}

static int check_content(struct ledger *ledger, struct pf_store *store, unsigned writer, const struct slot *slot)
{
	static unsigned char expected[BULK_IMAGE];
	static const struct model before; /* as far as the plan asks: the slot was empty */
	struct plan plan;
	const unsigned char *mapped;
	int r = pf_extent_check(store, &slot->extent);

	if (r < 0)
		return ledger_fail(ledger, "law 4: writer %u: its extent %u:%llu is not there: %s", writer,
				   slot->extent.file_id, (unsigned long long)slot->extent.offset, strerror(-r));
	plan_make(&ledger->world, writer, slot->made_by, &before, &plan);
	bulk_image(&ledger->world, writer, slot->made_by, &plan, expected);
	mapped = pf_extent_addr(pf_store_base(store), pf_store_file_size(store), &slot->extent);
	for (unsigned i = 0; i < BULK_IMAGE; i++)
		if (mapped[i] != expected[i])
			return ledger_fail(ledger,
					   "law 4: writer %u, extent %u:%llu made by %llu: byte %u is %02x, not %02x",
					   writer, slot->extent.file_id, (unsigned long long)slot->extent.offset,
					   (unsigned long long)slot->made_by, i, mapped[i], expected[i]);
	return 0;
}

struct extent_walk {
	struct ledger *ledger;
	struct pf_store *store;
	unsigned known;
	uint64_t table_bytes; /* of extents that must be a table's */
};

static bool same_extent(const struct pinfold_extent *a, const struct pinfold_extent *b)
{
	return a->file_id == b->file_id && a->offset == b->offset && a->len == b->len && a->gen == b->gen;
}

static bool is_known(const struct extent_walk *walk, const struct pinfold_extent *extent)
{
	struct pinfold_extent root;

	pf_store_root(walk->store, &root);
	if (same_extent(extent, &root))
		return true;
	for (unsigned i = 0; i < WORLD_EXTENTS; i++)
		if (same_extent(extent, &walk->ledger->fixed[i]))
			return true;
	for (unsigned i = 0; i < WORLD_WRITERS; i++)
		for (unsigned j = 0; j < WORLD_SLOTS; j++)
			if (walk->ledger->model[i].slot[j].made_by &&
			    same_extent(extent, &walk->ledger->model[i].slot[j].extent))
				return true;
	return false;
}

static int visit_extent(void *ctx, const struct pinfold_extent *extent, bool published)
{
	struct extent_walk *walk = ctx;

	if (!published)
		return ledger_fail(walk->ledger, "law 4: extent %u:%llu is unpublished after a restart",
				   extent->file_id, (unsigned long long)extent->offset);
	if (is_known(walk, extent)) {
		walk->known++;
		return 0;
	}
	if (walk->ledger->world.tables) {
		walk->table_bytes += extent->len;
		return 0;
	}
	return ledger_fail(walk->ledger, "law 4: extent %u:%llu+%u gen %u belongs to nobody", extent->file_id,
			   (unsigned long long)extent->offset, extent->len, extent->gen);
}

static int check_extents(struct ledger *ledger, struct pf_store *store, uint64_t *ret_table_bytes)
{
	struct extent_walk walk = { ledger, store, 0, 0 };
	unsigned expected = 1 + WORLD_EXTENTS;

	for (unsigned i = 0; i < ledger->world.writer_count; i++) {
		for (unsigned j = 0; j < WORLD_SLOTS; j++) {
			const struct slot *slot = &ledger->model[i].slot[j];

			if (slot->made_by && check_content(ledger, store, i, slot) < 0)
				return -1;
			expected += slot->made_by != 0;
		}
	}
	if (pf_extent_foreach(store, visit_extent, &walk) < 0)
		return -1;
	*ret_table_bytes = walk.table_bytes;
	if (walk.known != expected)
		return ledger_fail(ledger, "law 4: %u extents found, %u expected", walk.known, expected);
	return 0;
}

static void note_problem(void *ctx, const struct pinfold_problem *problem)
{
	ledger_fail(ctx, "law 5: verify: %s offset %lld: %s", problem->path, (long long)problem->offset, problem->what);
}

int check_store(struct ledger *ledger, struct pf_store *store)
{
	struct survival survivals[WORLD_WRITERS + WORLD_TABLE_WRITERS] = { 0 };
	uint64_t table_bytes = 0;
	int r;

	for (unsigned i = 0; i < ledger->world.writer_count; i++)
		if (check_writer(ledger, store, i, &survivals[i]) < 0)
			return -1;
	if (check_extents(ledger, store, &table_bytes) < 0)
		return -1;
	if (ledger->world.tables && table_check(ledger, store, table_bytes, survivals + WORLD_WRITERS) < 0)
		return -1;
	if (check_order(ledger, survivals, WORLD_WRITERS + WORLD_TABLE_WRITERS) < 0)
		return -1;
	r = pf_store_verify(store, note_problem, NULL, ledger);
	return r < 0 ? ledger_fail(ledger, "law 5: verify: %s: %s", strerror(-r), pf_error_text()) : 0;
}

int check_run(struct ledger *ledger, const char *dir, bool leave_open)
{
	struct pinfold_store_stats stats;
	struct pinfold_config config;
	struct pf_store *store;
	int r = work_config(&ledger->world, &config);

	config.flags &= ~(uint32_t)PINFOLD_OPEN_CREATE;
	if (r == 0)
		r = pf_store_open(dir, &config, &store);
	if (r < 0)
		return ledger_fail(ledger, "reopen: %s: %s", strerror(-r), pf_error_text());
	r = pf_store_stat(store, &stats);
	if (r == 0)
		atomic_fetch_add(&ledger->recovered_txns, stats.recovered_txns);
	if (check_store(ledger, store) < 0)
		return -1;
	if (leave_open)
		return 0;
	r = pf_store_close(store);
	return r < 0 ? ledger_fail(ledger, "close after the check: %s: %s", strerror(-r), pf_error_text()) : 0;
}
