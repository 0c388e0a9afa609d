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
#include "store/table/lookup.h"

#include "base/sigbus.h"

#include <stdlib.h>

#define GO_LONG 1

static __attribute__((noinline, cold)) int too_small(const struct pf_table *table, size_t size, size_t capacity)
{
	return pf_error(-ENOBUFS, "table %s: the value has %zu bytes, the buffer %zu", table->name, size, capacity);
}

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
			      lookup->capacity, false, &lookup->size) == PF_LOOK_FOUND ?
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

	if (__builtin_expect(!pf_line_look(table, lookup->loc, lookup->bucket, lookup->hash, false, &view), 0))
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
static __attribute__((noinline)) int get_beside(struct pf_table *table, const void *key, size_t key_size,
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

/* The first entry with the tag of @hash in the overflow lines from @link on; 0: none. PF_NOWHERE: the long way. */
static __attribute__((noinline)) uint64_t chain_still(const struct pf_table *table, uint64_t link, uint64_t bucket,
						      uint64_t hash)
{
	struct pf_line_view view;

	for (unsigned length = 1; length < PF_CHAIN_MAX; length++) {
		uint64_t loc = pf_entry_loc(link);

		if (loc % PF_LINE_SIZE || loc >= atomic_load_explicit(&table->loc_end, memory_order_relaxed) ||
		    !pf_line_look(table, loc, bucket, hash, true, &view) || !(view.head >> 40 & PF_LINE_OVERFLOW))
			return PF_NOWHERE;
		if (view.mask)
			return view.entry ? view.entry : PF_NOWHERE;
		if (!pf_view_linked(&view))
			return 0;
		link = view.link;
	}
	return PF_NOWHERE;
}

/* 0, -ENOENT or GO_LONG: to be believed if the store stayed still. */
PF_HOT int look_still(const struct pf_table *table, const void *key, size_t key_size, void *ret_value, size_t capacity,
		      uint64_t loc, uint64_t bucket, uint64_t hash, size_t *ret_size)
{
	struct pf_line_view view;
	uint64_t entry;

	if (!pf_line_look(table, loc, bucket, hash, true, &view))
		return GO_LONG;
	entry = view.entry;
	if (__builtin_expect(view.mask == 0, 0)) {
		if (!pf_view_linked(&view))
			return -ENOENT;
		entry = chain_still(table, view.link, bucket, hash);
		if (entry == 0)
			return -ENOENT;
		if (entry == PF_NOWHERE)
			return GO_LONG;
	}
	if (__builtin_expect(entry == 0, 0))
		return GO_LONG;
	return pf_record_look(table, pf_entry_loc(entry), key, key_size, ret_value, capacity, true, ret_size) ==
			       PF_LOOK_FOUND ?
		       0 :
		       GO_LONG;
}

static __attribute__((noinline, cold)) int faulted(const struct pf_sigbus_guard *guard)
{
	const struct pf_sigbus_range *range = guard->node.range;
	const struct pf_table *table =
		(const struct pf_table *)((const char *)range - offsetof(struct pf_table, range));

	return pf_error(-EIO, "table %s: the mapped file could not be read at arena offset %llu", table->name,
			(unsigned long long)((const char *)pf_sigbus_address() - table->base));
}

/* Keys of a size that the compiler knows are compared and hashed in half the instructions. */
PF_HOT int get_still(struct pf_table *table, const void *key, size_t key_size, void *ret_value, size_t capacity,
		     size_t *ret_size)
{
	struct pf_sigbus_guard guard;
	uint64_t hash, bucket, loc;
	uint32_t newest;
	size_t size = 0;
	int r;

	if (__builtin_expect(!key || !pf_store_still(table->progress, &newest), 0))
		return get_beside(table, key, key_size, ret_value, capacity, ret_size);
	hash = key_size == 16 ? pf_hash_id(key, &table->hash_id) : pf_hash(key, key_size, table->seed);
	if (__builtin_expect(!pf_line_quick(table, hash, &bucket, &loc), 0)) {
		pf_chunk_learn(table, bucket);
		return get_beside(table, key, key_size, ret_value, capacity, ret_size);
	}
	PF_SIGBUS_PLACE(&guard, fault);
	pf_sigbus_enter(&guard, &table->range);
	r = look_still(table, key, key_size, ret_value, capacity, loc, bucket, hash, &size);
	pf_sigbus_leave(&guard);
	if (__builtin_expect(r > 0 || !pf_store_stayed(table->progress, newest), 0))
		return get_beside(table, key, key_size, ret_value, capacity, ret_size);
	if (r < 0) /* -ENOENT has no words: misses are as frequent as hits, and formatting costs ten of them */
		return r;
	if (ret_size)
		*ret_size = size;
	return __builtin_expect(size > capacity, 0) ? too_small(table, size, capacity) : 0;
fault:
	return faulted(&guard);
}

/* A key of another size than 16. */
static PF_SIGBUS_FUNCTION int get_any(struct pf_table *table, const void *key, size_t key_size, void *ret_value,
				      size_t capacity, size_t *ret_size)
{
	if (__builtin_expect(key_size - 1 >= PINFOLD_KEY_MAX, 0))
		return pf_key_check(key, key_size);
	return get_still(table, key, key_size, ret_value, capacity, ret_size);
}

PF_SIGBUS_FUNCTION int pf_table_get(struct pf_table *table, const void *key, size_t key_size, void *ret_value,
				    size_t capacity, size_t *ret_size)
{
	if (__builtin_expect(key_size != 16, 0))
		return get_any(table, key, key_size, ret_value, capacity, ret_size);
	return get_still(table, key, 16, ret_value, capacity, ret_size);
}
