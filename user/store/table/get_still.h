/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * get_still.h - a get in a still store (still.h), for its two users: get.c for any processor, get_wide.c for AVX-512.
 *
 * DESIGN: a get waits for memory twice, for its line and for its record. It cannot wait less, but the processor can
 * begin the next get meanwhile, if it has room for all that is in between: hundreds of instructions, dozens of stores,
 * two dozen of a kind in the queue of a unit, half of it all if two threads share the core. So this is one function,
 * as short as can be, which leaves everything else to pf_get_beside().
 */
#ifndef PF_TABLE_GET_STILL_H
#define PF_TABLE_GET_STILL_H

#include "store/table/still.h"

#include "base/sigbus.h"

#include <stddef.h>

#define GO_LONG 1

static __attribute__((noinline, cold)) int too_small(const struct pf_table *table, size_t size, size_t capacity)
{
	return pf_error(-ENOBUFS, "table %s: the value has %zu bytes, the buffer %zu", table->name, size, capacity);
}

/* The first entry with the tag of @hash in the overflow lines from @link on; 0: none. PF_NOWHERE: the long way. */
static __attribute__((noinline)) uint64_t chain_still(const struct pf_table *table, uint64_t link, uint64_t bucket,
						      uint64_t hash)
{
	struct pf_still_view view;

	for (unsigned length = 1; length < PF_CHAIN_MAX; length++) {
		uint64_t loc = pf_entry_loc(link);

		if (loc % PF_LINE_SIZE || loc >= atomic_load_explicit(&table->loc_end, memory_order_relaxed) ||
		    !pf_line_still(table, loc, bucket, hash, &view) || !(view.head >> 40 & PF_LINE_OVERFLOW))
			return PF_NOWHERE;
		if (view.mask)
			return view.entry;
		if (!(view.head >> 40 & PF_LINE_LINKED))
			return 0;
		link = view.link;
	}
	return PF_NOWHERE;
}

/* 0, -ENOENT or GO_LONG: to be believed if the store stayed still. */
PF_HOT int look_still(const struct pf_table *table, const void *key, size_t key_size, void *ret_value, size_t capacity,
		      uint64_t loc, uint64_t bucket, uint64_t hash, size_t *ret_size)
{
	struct pf_still_view view;
	uint64_t entry;

	if (!pf_line_still(table, loc, bucket, hash, &view))
		return GO_LONG;
	entry = view.entry;
	if (__builtin_expect(view.mask == 0, 0)) {
		if (!(view.head >> 40 & PF_LINE_LINKED))
			return -ENOENT;
		entry = chain_still(table, view.link, bucket, hash);
		if (entry == 0)
			return -ENOENT;
		if (entry == PF_NOWHERE)
			return GO_LONG;
	}
	return pf_record_still(table, pf_entry_loc(entry), key, key_size, ret_value, capacity, ret_size) ? 0 : GO_LONG;
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
	uint64_t hash, bucket;
	uintptr_t line;
	uint32_t newest;
	size_t size = 0;
	int r;

	if (__builtin_expect(!key || !pf_pages_still(table->pages, &newest), 0))
		return pf_get_beside(table, key, key_size, ret_value, capacity, ret_size);
	hash = key_size == 16 ? pf_hash_id(key, &table->hash_id) : pf_hash(key, key_size, table->seed);
	if (__builtin_expect(!pf_line_quick(table, hash, &bucket, &line), 0)) {
		pf_chunk_learn(table, bucket);
		return pf_get_beside(table, key, key_size, ret_value, capacity, ret_size);
	}
	PF_SIGBUS_PLACE(&guard, fault);
	pf_sigbus_enter(&guard, &table->range);
	r = look_still(table, key, key_size, ret_value, capacity, line - (uintptr_t)table->base, bucket, hash,
		       &size);
	pf_sigbus_leave(&guard);
	if (__builtin_expect(r > 0 || !pf_pages_stayed(table->pages, newest), 0))
		return pf_get_beside(table, key, key_size, ret_value, capacity, ret_size);
	if (r < 0) /* -ENOENT has no words: misses are as frequent as hits, and formatting costs ten of them */
		return r;
	if (ret_size)
		*ret_size = size;
	return __builtin_expect(size > capacity, 0) ? too_small(table, size, capacity) : 0;
fault:
	return faulted(&guard);
}

#endif
