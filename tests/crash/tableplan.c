/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tableplan.c - what each change of a record table in the crash proofs does.
 */
#include "ledger.h"
#include "rnd.h"

#include <stdio.h>
#include <string.h>

static bool is_absent_in(const struct table_plan *plan, uint32_t key)
{
	for (unsigned i = 0; i < plan->count; i++)
		if (plan->change[i].key == key)
			return false;
	return true;
}

static uint32_t some_key(struct rnd *rnd, const struct table_model *model, bool present)
{
	uint32_t key = rnd_below(rnd, WORLD_KEYS);

	for (unsigned i = 0; i < WORLD_KEYS; i++, key = (key + 1) % WORLD_KEYS)
		if (!!model->made_by[key] == present)
			return key;
	return WORLD_KEYS;
}

void table_plan_make(const struct world *world, unsigned writer, uint64_t sequence, const struct table_model *model,
		     struct table_plan *ret_plan)
{
	static const enum table_op ops[] = { TABLE_PUT, TABLE_PUT, TABLE_PUT, TABLE_DELETE,
					     TABLE_CAS, TABLE_CAS, TABLE_BATCH, TABLE_CAS_REFUSED };
	struct rnd rnd = rnd_of(world->seed, writer, sequence, 4);
	struct table_plan plan = { .op = ops[rnd_below(&rnd, 8)], .count = 1 };

	plan.change[0].key = rnd_below(&rnd, WORLD_KEYS);
	if (plan.op == TABLE_DELETE || plan.op == TABLE_CAS_REFUSED) {
		plan.change[0].key = some_key(&rnd, model, true);
		plan.change[0].delete = plan.op == TABLE_DELETE;
		if (plan.change[0].key == WORLD_KEYS) {
			plan.op = TABLE_PUT;
			plan.change[0].key = 0;
			plan.change[0].delete = false;
		}
	} else if (plan.op == TABLE_CAS) {
		/* from absent, from a value, and to absent */
		plan.change[0].delete = model->made_by[plan.change[0].key] && rnd_below(&rnd, 4) == 0;
	} else if (plan.op == TABLE_BATCH) {
		unsigned want = 2 + rnd_below(&rnd, WORLD_BATCH - 1);

		plan.count = 0;
		while (plan.count < want) {
			uint32_t key = rnd_below(&rnd, WORLD_KEYS);

			if (!is_absent_in(&plan, key))
				continue;
			plan.change[plan.count].key = key;
			plan.change[plan.count++].delete = rnd_below(&rnd, 3) == 0;
		}
	}
	*ret_plan = plan;
}

void table_model_apply(struct table_model *model, uint64_t sequence, const struct table_plan *plan)
{
	for (unsigned i = 0; i < plan->count && plan->op != TABLE_CAS_REFUSED; i++)
		model->made_by[plan->change[i].key] = plan->change[i].delete ? 0 : sequence;
	model->sequence = sequence;
}

size_t table_key(unsigned writer, uint32_t key, char ret_key[TABLE_KEY_BYTES])
{
	/* keys of several lengths, so that records are not of one size */
	return (size_t)snprintf(ret_key, TABLE_KEY_BYTES, "w%u/%.*s%u", writer, (int)(key % 29),
				"............................", key) + 1;
}

size_t table_value(const struct world *world, unsigned writer, uint32_t key, uint64_t sequence,
		   unsigned char ret_value[TABLE_VALUE_BYTES])
{
	struct rnd rnd = rnd_of(world->seed, writer, sequence, (uint64_t)key << 8 | 5);
	size_t size = 8 + (rnd_below(&rnd, 8) ? rnd_below(&rnd, 200) : rnd_below(&rnd, TABLE_VALUE_BYTES - 8));

	if (key % 2) /* values of these keys keep their size, so they are written over in place */
		size = 8 + key % 400;
	memcpy(ret_value, &sequence, sizeof(sequence));
	rnd_fill(&rnd, ret_value + 8, size - 8);
	return size;
}

uint64_t table_value_made_by(const struct world *world, unsigned writer, uint32_t key, const unsigned char *value,
			     size_t size)
{
	unsigned char expected[TABLE_VALUE_BYTES];
	uint64_t sequence;

	if (size < sizeof(sequence))
		return 0;
	memcpy(&sequence, value, sizeof(sequence));
	if (table_value(world, writer, key, sequence, expected) != size || memcmp(expected, value, size))
		return 0;
	return sequence;
}
