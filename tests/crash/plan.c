/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * plan.c - what each transaction of the crash proofs does, as a pure function.
 */
#include "ledger.h"
#include "rnd.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define HEAD_MAGIC 0x64616548666e6950ull

int ledger_fail(struct ledger *ledger, const char *format, ...)
{
	va_list args;
	int expected = 0;

	if (!atomic_compare_exchange_strong(&ledger->failed, &expected, 1))
		return -1;
	va_start(args, format);
	vsnprintf(ledger->text, sizeof(ledger->text), format, args);
	va_end(args);
	return -1;
}

static void log_clear(struct writer_log *log, uint64_t sequence)
{
	memset(log, 0, sizeof(*log));
	atomic_store(&log->started, sequence);
	atomic_store(&log->acked, sequence);
}

void ledger_next_run(struct ledger *ledger)
{
	for (unsigned i = 0; i < WORLD_WRITERS; i++)
		log_clear(&ledger->log[i], ledger->model[i].sequence);
	for (unsigned i = 0; i < WORLD_TABLE_WRITERS; i++)
		log_clear(&ledger->table_log[i], ledger->table_model[i].sequence);
	atomic_store(&ledger->clock, 0);
	atomic_store(&ledger->durable_ticket, 0);
	atomic_store(&ledger->closing, 0);
	atomic_store(&ledger->closed, 0);
}

uint64_t plan_area(unsigned writer)
{
	return 513 + (uint64_t)writer * WORLD_AREA;
}

void head_make(unsigned writer, uint64_t sequence, struct head *ret_head)
{
	struct rnd rnd = rnd_of(HEAD_MAGIC, writer, sequence, 1);

	*ret_head = (struct head){ HEAD_MAGIC, writer, sequence, rnd_next(&rnd) };
}

static uint32_t range_size(struct rnd *rnd)
{
	switch (rnd_below(rnd, 10)) {
	case 0 ... 4:
		return 1 + rnd_below(rnd, 64);
	case 5 ... 8:
		return 1 + rnd_below(rnd, 5000);
	default:
		return 1 + rnd_below(rnd, WORLD_AREA - sizeof(struct head));
	}
}

void plan_make(const struct world *world, unsigned writer, uint64_t sequence, const struct model *model,
	       struct plan *ret_plan)
{
	struct rnd rnd = rnd_of(world->seed, writer, sequence, 2);
	struct plan plan = { .range_count = 1 + rnd_below(&rnd, WORLD_RANGES) };

	for (unsigned i = 0; i < plan.range_count; i++) {
		struct range *range = &plan.range[i];

		range->extent = rnd_below(&rnd, WORLD_EXTENTS);
		range->size = range_size(&rnd);
		range->offset = sizeof(struct head) +
				rnd_below(&rnd, WORLD_AREA - sizeof(struct head) - range->size + 1);
	}
	plan.abort_first = rnd_below(&rnd, 32) == 0;
	if (rnd_below(&rnd, 12) == 0) {
		plan.slot = rnd_below(&rnd, WORLD_SLOTS);
		plan.life = model->slot[plan.slot].made_by ? LIFE_DROP : LIFE_CREATE;
		plan.extent_size = (2ull << 20) << rnd_below(&rnd, 2);
		if (world->large_extents && rnd_below(&rnd, 2))
			plan.extent_size = 256ull << 20;
		plan.bulk = rnd_below(&rnd, 4) > 0;
		plan.patch_offset = rnd_below(&rnd, BULK_IMAGE - PATCH_SIZE);
	}
	*ret_plan = plan;
}

void plan_bytes(const struct world *world, unsigned writer, uint64_t sequence, const struct plan *plan, unsigned index,
		void *ret_data)
{
	struct rnd rnd = rnd_of(world->seed, writer, sequence, 16 + index);

	rnd_fill(&rnd, ret_data, plan->range[index].size);
}

void model_apply(const struct world *world, unsigned writer, uint64_t sequence, struct model *model,
		 const struct pinfold_extent *made)
{
	struct plan plan;
	struct head head;

	plan_make(world, writer, sequence, model, &plan);
	for (unsigned i = 0; i < plan.range_count; i++) {
		const struct range *range = &plan.range[i];

		plan_bytes(world, writer, sequence, &plan, i, model->image[range->extent] + range->offset);
	}
	head_make(writer, sequence, &head);
	memcpy(model->image[writer % WORLD_EXTENTS], &head, sizeof(head));
	if (plan.life == LIFE_CREATE)
		model->slot[plan.slot] = (struct slot){ sequence, *made };
	else if (plan.life == LIFE_DROP)
		model->slot[plan.slot] = (struct slot){ 0 };
	model->sequence = sequence;
}

void bulk_runs(const struct world *world, unsigned writer, uint64_t sequence, uint64_t extent_size,
	       struct bulk_run ret_runs[BULK_RUNS])
{
	struct rnd rnd = rnd_of(world->seed, writer, sequence, 3);

	(void)extent_size;
	for (unsigned i = 0; i < BULK_RUNS; i++) {
		/* bulk loads are block-wise in practice, but any offset is allowed */
		uint32_t unit = i ? 1 : 4096;

		ret_runs[i].size = (1 + rnd_below(&rnd, 100000) + unit - 1) / unit * unit;
		ret_runs[i].offset = rnd_below(&rnd, BULK_IMAGE - ret_runs[i].size) / unit * unit;
	}
}

void bulk_bytes(const struct world *world, unsigned writer, uint64_t sequence, unsigned run, uint32_t size,
		void *ret_data)
{
	struct rnd rnd = rnd_of(world->seed, writer, sequence, 32 + run);

	rnd_fill(&rnd, ret_data, size);
}

void bulk_image(const struct world *world, unsigned writer, uint64_t sequence, const struct plan *plan,
		unsigned char *ret_image)
{
	struct bulk_run runs[BULK_RUNS];

	memset(ret_image, 0, BULK_IMAGE);
	bulk_runs(world, writer, sequence, plan->extent_size, runs);
	for (unsigned i = 0; plan->bulk && i < BULK_RUNS; i++)
		bulk_bytes(world, writer, sequence, i, runs[i].size, ret_image + runs[i].offset);
	bulk_bytes(world, writer, sequence, BULK_RUNS, PATCH_SIZE, ret_image + plan->patch_offset);
}
