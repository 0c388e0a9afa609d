/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * batch.c - many gets at once.
 *
 * DESIGN: a get waits for memory twice, for its line and for its record. Here each key goes through three stages, a
 * fixed number of keys apart: ask for the line; look at the line and ask for the record; take the record. So the
 * waits of a dozen keys overlap, and none of them is waited for.
 *
 *  1. All stages use the short way (lookup.h); a key that it does not suffice for is looked up by itself at its
 *     last stage, as pf_table_get() does.
 *  2. Results are written in order. A SIGBUS throws away what is in flight; from the first key without a result on,
 *     each is looked up by itself, with a guard of its own.
 *  3. An epoch ends after EPOCH_KEYS keys: reclamation does not wait for a whole call.
 */
#include "store/table/lookup.h"

#include "base/sigbus.h"

/* Keys between two stages; and those that are in flight at most, a power of two. */
#define DISTANCE 10u
#define RING 32u
_Static_assert(2 * DISTANCE < RING, "ring");
#define EPOCH_KEYS 4096u
/* Of a record that much is asked for ahead, if the caller has room for as much. */
#define AHEAD_MAX 512u

/* A key in flight. */
struct flight {
	uint64_t hash, bucket;
	uint64_t loc; /* of the line, then of the record; NOWHERE: to be looked up by itself */
	int result;   /* 1: not yet known */
};
#define NOWHERE UINT64_MAX

static inline void ask(const char *at, size_t size)
{
	const char *end = at + size;

	for (at = (const char *)((uintptr_t)at & ~(uintptr_t)63); at < end; at += 64)
		__builtin_prefetch(at);
}

/* First stage: which line. */
static inline void begin(const struct pf_table *table, const struct pinfold_get *get, struct flight *flight)
{
	flight->result = 1;
	flight->loc = NOWHERE;
	if (__builtin_expect(!get->key || get->key_size - 1 >= PINFOLD_KEY_MAX, 0))
		return;
	flight->hash = pf_hash(get->key, get->key_size, table->seed);
	flight->bucket = pf_bucket_place(flight->hash,
					 atomic_load_explicit(&table->bucket_count, memory_order_acquire));
	if (__builtin_expect(!pf_line_place(table, flight->bucket, &flight->loc), 0)) {
		flight->loc = NOWHERE;
		return;
	}
	__builtin_prefetch(table->base + flight->loc);
	__builtin_prefetch(pf_page_state(table->pages, flight->loc));
}

/* Second stage: which record. Of several candidates the first; should it be another's, the key is looked up again. */
static inline void look(const struct pf_table *table, const struct pinfold_get *get, struct flight *flight)
{
	uint64_t loc = flight->loc, entry;
	struct pf_line line;
	size_t size;
	unsigned mask;

	flight->loc = NOWHERE;
	if (loc == NOWHERE || !pf_line_look(table, loc, flight->bucket, flight->hash, &line, &mask))
		return;
	if (!mask) {
		if (!(line.flags & PF_LINE_LINKED))
			flight->result = -ENOENT;
		return;
	}
	entry = ((const uint64_t *)&line)[__builtin_ctz(mask) / 2];
	if (__builtin_expect(entry == 0, 0))
		return;
	flight->loc = pf_entry_loc(entry);
	size = pf_record_size(get->key_size, get->capacity);
	ask(table->base + flight->loc, size < AHEAD_MAX ? size : AHEAD_MAX);
}

static __attribute__((noinline)) void get_alone(struct pf_table *table, struct pinfold_get *get)
{
	size_t size = get->value_size;

	get->result = pf_table_get(table, get->key, get->key_size, get->ret_value, get->capacity, &size);
	get->value_size = size;
}

/* Third stage. */
static inline void finish(struct pf_table *table, struct pinfold_get *get, struct flight *flight)
{
	struct pf_lookup lookup = { .key = get->key,
				    .key_size = get->key_size,
				    .ret_value = get->ret_value,
				    .capacity = get->capacity };

	if (flight->result < 0) {
		get->result = flight->result;
	} else if (__builtin_expect(flight->loc != NOWHERE &&
					    pf_record_look(table, flight->loc, &lookup) == PF_LOOK_FOUND,
				    1)) {
		get->value_size = lookup.size;
		get->result = __builtin_expect(lookup.size > get->capacity, 0) ? -ENOBUFS : 0;
	} else {
		get_alone(table, get);
	}
}

/* *ret_done: how many have their result, at any moment. */
static void run(struct pf_table *table, struct pinfold_get *gets, size_t count, volatile size_t *ret_done)
{
	struct flight ring[RING];

	for (size_t i = 0; i < count + 2 * DISTANCE; i++) {
		if (i < count)
			begin(table, &gets[i], &ring[i % RING]);
		if (i >= DISTANCE && i - DISTANCE < count)
			look(table, &gets[i - DISTANCE], &ring[(i - DISTANCE) % RING]);
		if (i >= 2 * DISTANCE) {
			finish(table, &gets[i - 2 * DISTANCE], &ring[(i - 2 * DISTANCE) % RING]);
			*ret_done = i - 2 * DISTANCE + 1;
		}
	}
}

/* How many have their result: all, unless a SIGBUS came in between. */
static size_t run_guarded(struct pf_table *table, struct pinfold_get *gets, size_t count)
{
	void *place[PF_SIGBUS_PLACE];
	volatile size_t done = 0;
	uintptr_t guard;

	if (__builtin_setjmp(place) == 0) {
		guard = pf_sigbus_arm_place(place, table->base, table->arena_size);
		run(table, gets, count, &done);
		pf_sigbus_disarm_place(guard);
	}
	return done;
}

int pf_table_get_batch(struct pf_table *table, struct pinfold_get *gets, size_t count)
{
	while (count > 0) {
		size_t some = count < EPOCH_KEYS ? count : EPOCH_KEYS, done = 0;

		pf_epoch_enter();
		if (!table->read_only)
			done = run_guarded(table, gets, some);
		for (; done < some; done++)
			get_alone(table, &gets[done]);
		pf_epoch_leave();
		gets += some;
		count -= some;
	}
	return 0;
}
