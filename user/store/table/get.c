/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * get.c - one get: no lock, no write, whatever writers do.
 *
 * DESIGN: a get waits for memory twice, for its line and for its record. It cannot wait less, but the processor can
 * begin the next get meanwhile, if it has room for all the instructions, registers and stores in between: some 300,
 * 200 and 60. So the way of nearly every get is one function, as short as it can be.
 *
 *  1. In a still store (lookup.h): no states of pages, no epoch.
 *  2. Beside writers: an epoch, and the states of both pages.
 *  3. Each leaves to the next what is not as usual, and at last to pf_lookup_long().
 */
#include "store/table/get_still.h"

#include "base/sigbus.h"

#include <stdlib.h>

/* ---- beside writers ---- */

static __attribute__((noinline, cold)) int get_failed(struct pf_table *table, struct pf_lookup *lookup)
{
	free(lookup->buffer);
	return pf_error(-EIO, "table %s: the mapped file could not be read at arena offset %llu", table->name,
			(unsigned long long)((const char *)pf_sigbus_address() - table->base));
}

static inline int get_record(const struct pf_table *table, struct pf_lookup *lookup, uint64_t entry)
{
	if (__builtin_expect(entry == 0, 0))
		return GO_LONG;
	return pf_record_look(table, pf_entry_loc(entry), lookup->key, lookup->key_size, lookup->ret_value,
			      lookup->capacity, &lookup->size) == PF_LOOK_FOUND ?
		       0 :
		       GO_LONG;
}

/* The short way on from a first line without a candidate, but with overflow lines. */
static __attribute__((noinline)) int get_chain(const struct pf_table *table, struct pf_lookup *lookup,
					       struct pf_line_view *view)
{
	const uint64_t head = view->head;

	for (unsigned length = 1; length < PF_CHAIN_MAX && pf_view_linked(view); length++) {
		if (!pf_line_follow(table, pf_entry_loc(view->link), lookup->bucket, lookup->hash, view))
			return GO_LONG;
		if (view->mask)
			return get_record(table, lookup, view->entry);
	}
	if (pf_view_linked(view) || !pf_line_same(table, lookup->loc, lookup->bucket, lookup->hash, head))
		return GO_LONG;
	return -ENOENT;
}

static inline int get_short(const struct pf_table *table, struct pf_lookup *lookup)
{
	struct pf_line_view view;

	if (__builtin_expect(!pf_line_look(table, lookup->loc, lookup->bucket, lookup->hash, &view), 0))
		return GO_LONG;
	if (view.mask)
		return get_record(table, lookup, view.entry);
	return pf_view_linked(&view) ? get_chain(table, lookup, &view) : -ENOENT;
}

/* Inside an epoch and a guard. Not inlined: beside setjmp() no register would be used. */
static __attribute__((noinline)) int get_run(struct pf_table *table, struct pf_lookup *lookup)
{
	int r = lookup->loc == PF_NOWHERE ? GO_LONG : get_short(table, lookup);

	return __builtin_expect(r == GO_LONG, 0) ? pf_lookup_long(table, lookup) : r;
}

static PF_SIGBUS_FUNCTION int get_guarded(struct pf_table *table, struct pf_lookup *lookup)
{
	struct pf_sigbus_guard guard;
	int r;

	if (__builtin_setjmp(guard.place))
		return get_failed(table, lookup);
	pf_sigbus_enter(&guard, &table->range);
	r = get_run(table, lookup);
	pf_sigbus_leave(&guard);
	return r;
}

/* Beside writers, and whatever the short ways do not suffice for. */
int pf_get_beside(struct pf_table *table, const void *key, size_t key_size,
		  void *ret_value, size_t capacity, size_t *ret_size)
{
	struct pf_lookup lookup;
	int r;

	if (__builtin_expect(!key || key_size - 1 >= PINFOLD_KEY_MAX, 0))
		return pf_key_check(key, key_size);
	lookup.hash = pf_hash(key, key_size, table->seed);
	lookup.bucket = pf_bucket_place(lookup.hash,
					atomic_load_explicit(&table->bucket_count, memory_order_acquire));
	if (__builtin_expect(table->read_only || !pf_line_place(table, lookup.bucket, &lookup.loc), 0))
		lookup.loc = PF_NOWHERE;
	else /* as early as can be: the processor may still be waiting for the record of the last get */
		__builtin_prefetch(table->base + lookup.loc);
	lookup.key = key;
	lookup.key_size = key_size;
	lookup.ret_value = ret_value;
	lookup.capacity = capacity;
	lookup.size = 0;
	lookup.buffer = NULL;
	pf_epoch_enter();
	r = get_guarded(table, &lookup);
	pf_epoch_leave();
	if (r < 0) /* -ENOENT has no words: misses are as frequent as hits, and formatting costs ten of them */
		return r;
	if (ret_size)
		*ret_size = lookup.size;
	return __builtin_expect(lookup.size > capacity, 0) ? too_small(table, lookup.size, capacity) : 0;
}

/* ---- in a still store ---- */

/* A key of another size than 16. */
static PF_SIGBUS_FUNCTION int still_any(struct pf_table *table, const void *key, size_t key_size, void *ret_value,
				      size_t capacity, size_t *ret_size)
{
	if (__builtin_expect(key_size - 1 >= PINFOLD_KEY_MAX, 0))
		return pf_key_check(key, key_size);
	return get_still(table, key, key_size, ret_value, capacity, ret_size);
}

PF_SIGBUS_FUNCTION int pf_get_still(struct pf_table *table, const void *key, size_t key_size, void *ret_value,
				    size_t capacity, size_t *ret_size)
{
	if (__builtin_expect(key_size != 16, 0))
		return still_any(table, key, key_size, ret_value, capacity, ret_size);
	return get_still(table, key, 16, ret_value, capacity, ret_size);
}

/* ---- whichever suits ---- */

int pf_table_get(struct pf_table *table, const void *key, size_t key_size, void *ret_value, size_t capacity,
		 size_t *ret_size)
{
	return table->get(table, key, key_size, ret_value, capacity, ret_size);
}
