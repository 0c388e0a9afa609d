/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * batch.c - many gets at once.
 *
 * DESIGN: a get waits for memory twice, for its line and for its record. Here keys go in groups through three stages:
 * ask for the lines; look at the lines and ask for the records; take the records. Each stage works on another group, so
 * what was asked for has the time of two other stages to arrive. A stage asks for all that its group needs in one
 * burst: an instruction that asks waits at the end of the pipeline until its address is translated, and the
 * translations of a burst are looked up side by side, which those of single keys, with all the work in between, are
 * not.
 *
 *  1. All stages use the short way (still.h as long as nothing is committed, then lookup.h); a key that it does not
 *     suffice for is looked up by itself in the end, as pf_table_get() does.
 *  2. A key whose first line leads on to overflow lines waits until there is a group of those.
 *  3. A result is PF_UNKNOWN until it is there. A SIGBUS throws away what is in flight; then each key whose result is
 *     unknown is looked up by itself, with a guard of its own.
 *  4. An epoch ends after EPOCH_KEYS keys: reclamation does not wait for a whole call.
 */
#include "store/table/batch.h"

#include "base/sigbus.h"

#define EPOCH_KEYS 4096u

/* Not inlined: beside setjmp() no register would be used. */
static __attribute__((noinline)) size_t run_beside(const struct pf_table *table, struct pinfold_get *gets, size_t count)
{
	return batch_run(table, gets, count, false);
}

size_t pf_batch_still(const struct pf_table *table, struct pinfold_get *gets, size_t count)
{
	return batch_run(table, gets, count, true);
}

static __attribute__((noinline)) void run(const struct pf_table *table, struct pinfold_get *gets, size_t count)
{
	size_t done = table->batch ? table->batch(table, gets, count) : 0;

	if (done < count)
		run_beside(table, gets + done, count - done);
}

static PF_SIGBUS_FUNCTION void run_guarded(struct pf_table *table, struct pinfold_get *gets, size_t count)
{
	struct pf_sigbus_guard guard;

	if (__builtin_setjmp(guard.place))
		return;
	pf_sigbus_enter(&guard, &table->range);
	run(table, gets, count);
	pf_sigbus_leave(&guard);
}

static void get_alone(struct pf_table *table, struct pinfold_get *get)
{
	get->result = pf_table_get(table, get->key, get->key_size, get->ret_value, get->capacity, &get->value_size);
}

int pf_table_get_batch(struct pf_table *table, struct pinfold_get *gets, size_t count)
{
	while (count > 0) {
		size_t some = count < EPOCH_KEYS ? count : EPOCH_KEYS;

		for (size_t i = 0; i < some; i++)
			gets[i].result = PF_UNKNOWN;
		pf_epoch_enter();
		if (!table->read_only)
			run_guarded(table, gets, some);
		for (size_t i = 0; i < some; i++)
			if (__builtin_expect(gets[i].result == PF_UNKNOWN, 0))
				get_alone(table, &gets[i]);
		pf_epoch_leave();
		gets += some;
		count -= some;
	}
	return 0;
}
