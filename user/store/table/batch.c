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
 *  1. All stages use the short way (lookup.h); a key that it does not suffice for is looked up by itself in the end,
 *     as pf_table_get() does.
 *  2. A key whose first line leads on to overflow lines waits until there is a group of those.
 *  3. A result is UNKNOWN until it is there. A SIGBUS throws away what is in flight; then each key whose result is
 *     unknown is looked up by itself, with a guard of its own.
 *  4. An epoch ends after EPOCH_KEYS keys: reclamation does not wait for a whole call.
 */
#include "store/table/lookup.h"

#include "base/sigbus.h"

#define GROUP 16u
#define EPOCH_KEYS 4096u
/* Of a record that much is asked for ahead, if the caller has room for as much. */
#define AHEAD_MAX 512u
#define UNKNOWN 1

/* A key in flight. */
struct flight {
	uint64_t hash, bucket;
	uint64_t loc; /* of the line, then of the record; PF_NOWHERE: nothing to ask for */
};

/* A key whose first line did not have it, but leads on. */
struct late {
	struct pinfold_get *get;
	uint64_t hash, bucket;
	uint64_t first, head; /* first line: where, and what it was */
	uint64_t loc;         /* of the next line, or of the record */
	bool record;
};

struct batch {
	struct pf_table *table;
	struct late late[2 * GROUP];
	unsigned late_count;
};

/* Always inline: gcc takes a function that does nothing but prefetch for one without effect, and drops its calls. */
PF_HOT void ask(const char *at, size_t size)
{
	const char *end = at + size;

	for (at = (const char *)((uintptr_t)at & ~(uintptr_t)63); at < end; at += 64)
		__builtin_prefetch(at);
}

PF_HOT void ask_record(const struct pf_table *table, const struct pinfold_get *get, uint64_t loc)
{
	size_t size = pf_record_size(get->key_size, get->capacity);

	ask(table->base + loc, size < AHEAD_MAX ? size : AHEAD_MAX);
	__builtin_prefetch(pf_page_state(table->pages, loc));
}

PF_HOT void ask_line(const struct pf_table *table, uint64_t loc)
{
	__builtin_prefetch(table->base + loc);
	__builtin_prefetch(pf_page_state(table->pages, loc));
}

/* The record at @loc into @get, if it is that of its key. */
PF_HOT void take(const struct pf_table *table, struct pinfold_get *get, uint64_t loc)
{
	size_t size = 0;

	if (pf_record_look(table, loc, get->key, get->key_size, get->ret_value, get->capacity, &size) != PF_LOOK_FOUND)
		return;
	get->value_size = size;
	get->result = __builtin_expect(size > get->capacity, 0) ? -ENOBUFS : 0;
}

/* ---- first stage: which line ---- */

PF_HOT void begin(const struct pf_table *table, struct pinfold_get *get, struct flight *flight)
{
	flight->loc = PF_NOWHERE;
	if (__builtin_expect(!get->key || get->key_size - 1 >= PINFOLD_KEY_MAX, 0))
		return;
	flight->hash = pf_hash(get->key, get->key_size, table->seed);
	flight->bucket =
		pf_bucket_place(flight->hash, atomic_load_explicit(&table->bucket_count, memory_order_acquire));
	if (__builtin_expect(!pf_line_place(table, flight->bucket, &flight->loc), 0))
		flight->loc = PF_NOWHERE;
}

static __attribute__((noinline)) void begin_group(struct batch *batch, struct pinfold_get *gets, size_t count,
						  struct flight *flights)
{
	for (size_t i = 0; i < count; i++)
		begin(batch->table, &gets[i], &flights[i]);
	for (size_t i = 0; i < count; i++)
		if (flights[i].loc != PF_NOWHERE)
			ask_line(batch->table, flights[i].loc);
}

/* ---- second stage: which record ---- */

PF_HOT void look(struct batch *batch, struct pinfold_get *get, struct flight *flight)
{
	uint64_t loc = flight->loc;
	struct pf_line_view view;

	flight->loc = PF_NOWHERE;
	if (loc == PF_NOWHERE || !pf_line_look(batch->table, loc, flight->bucket, flight->hash, &view))
		return;
	if (view.mask) { /* of several candidates the first; should it be another's, the key is looked up by itself */
		flight->loc = view.entry ? pf_entry_loc(view.entry) : PF_NOWHERE;
	} else if (!pf_view_linked(&view)) {
		get->result = -ENOENT;
	} else {
		batch->late[batch->late_count++] = (struct late){ .get = get,
								  .hash = flight->hash,
								  .bucket = flight->bucket,
								  .first = loc,
								  .head = view.head,
								  .loc = pf_entry_loc(view.link) };
		ask_line(batch->table, pf_entry_loc(view.link));
	}
}

static __attribute__((noinline)) void look_group(struct batch *batch, struct pinfold_get *gets, size_t count,
						 struct flight *flights)
{
	for (size_t i = 0; i < count; i++)
		look(batch, &gets[i], &flights[i]);
	for (size_t i = 0; i < count; i++)
		if (flights[i].loc != PF_NOWHERE)
			ask_record(batch->table, &gets[i], flights[i].loc);
}

/* ---- third stage, and the way through overflow lines ---- */

static __attribute__((noinline)) void finish_group(struct batch *batch, struct pinfold_get *gets, size_t count,
						   struct flight *flights)
{
	for (size_t i = 0; i < count; i++)
		if (__builtin_expect(flights[i].loc != PF_NOWHERE, 1))
			take(batch->table, &gets[i], flights[i].loc);
}

/* One line on. False: nothing more is to be asked for. */
static bool late_look(const struct pf_table *table, struct late *late)
{
	struct pf_line_view view;

	if (!pf_line_follow(table, late->loc, late->bucket, late->hash, &view))
		return false;
	if (view.mask) {
		late->record = true;
		late->loc = pf_entry_loc(view.entry);
		ask_record(table, late->get, late->loc);
		return view.entry != 0;
	}
	if (pf_view_linked(&view)) {
		late->loc = pf_entry_loc(view.link);
		ask_line(table, late->loc);
		return true;
	}
	if (pf_line_same(table, late->first, late->bucket, late->hash, late->head))
		late->get->result = -ENOENT;
	return false;
}

static __attribute__((noinline)) void finish_late(struct batch *batch)
{
	for (unsigned length = 1; batch->late_count > 0 && length < PF_CHAIN_MAX; length++) {
		unsigned left = 0;

		for (unsigned i = 0; i < batch->late_count; i++)
			if (late_look(batch->table, &batch->late[i]))
				batch->late[left++] = batch->late[i];
		batch->late_count = left;
		left = 0;
		for (unsigned i = 0; i < batch->late_count; i++) {
			if (batch->late[i].record)
				take(batch->table, batch->late[i].get, batch->late[i].loc);
			else
				batch->late[left++] = batch->late[i];
		}
		batch->late_count = left;
	}
	batch->late_count = 0;
}

/* ---- all together ---- */

static inline size_t group_size(size_t count, size_t group)
{
	return count - group * GROUP < GROUP ? count - group * GROUP : GROUP;
}

/* Not inlined: beside setjmp() no register would be used. */
static __attribute__((noinline)) void run(struct pf_table *table, struct pinfold_get *gets, size_t count)
{
	struct flight ring[4][GROUP];
	struct batch batch;
	size_t groups = (count + GROUP - 1) / GROUP;

	batch.table = table;
	batch.late_count = 0;
	for (size_t g = 0; g < groups + 2; g++) {
		if (g < groups)
			begin_group(&batch, gets + g * GROUP, group_size(count, g), ring[g % 4]);
		if (g >= 1 && g - 1 < groups)
			look_group(&batch, gets + (g - 1) * GROUP, group_size(count, g - 1), ring[(g - 1) % 4]);
		if (g >= 2)
			finish_group(&batch, gets + (g - 2) * GROUP, group_size(count, g - 2), ring[(g - 2) % 4]);
		if (batch.late_count >= GROUP)
			finish_late(&batch);
	}
	finish_late(&batch);
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
			gets[i].result = UNKNOWN;
		pf_epoch_enter();
		if (!table->read_only)
			run_guarded(table, gets, some);
		for (size_t i = 0; i < some; i++)
			if (__builtin_expect(gets[i].result == UNKNOWN, 0))
				get_alone(table, &gets[i]);
		pf_epoch_leave();
		gets += some;
		count -= some;
	}
	return 0;
}
