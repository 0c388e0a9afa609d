/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * batch.h - the stages of many gets at once (batch.c), for its users: batch.c beside writers and in a still store,
 * get_wide.c in a still store with AVX-512.
 */
#ifndef PF_TABLE_BATCH_H
#define PF_TABLE_BATCH_H

#include "store/table/still.h"

#define PF_BATCH_GROUP 16u
/* Of a record that much is asked for ahead, if the caller has room for as much. */
#define PF_BATCH_AHEAD 512u
#define PF_UNKNOWN 1

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
	const struct pf_table *table;
	struct late late[2 * PF_BATCH_GROUP];
	unsigned late_count;
};

/* Always inline: gcc takes a function that does nothing but prefetch for one without effect, and drops its calls. */
PF_HOT void ask(const char *at, size_t size)
{
	const char *end = at + size;

	for (at = (const char *)((uintptr_t)at & ~(uintptr_t)63); at < end; at += 64)
		__builtin_prefetch(at);
}

PF_HOT void ask_record(const struct pf_table *table, const struct pinfold_get *get, uint64_t loc, bool still)
{
	size_t size = pf_record_size(get->key_size, get->capacity);

	ask(table->base + loc, size < PF_BATCH_AHEAD ? size : PF_BATCH_AHEAD);
	if (!still)
		__builtin_prefetch(pf_page_state(table->pages, loc));
}

PF_HOT void ask_line(const struct pf_table *table, uint64_t loc, bool still)
{
	__builtin_prefetch(table->base + loc);
	if (!still)
		__builtin_prefetch(pf_page_state(table->pages, loc));
}

/* The record at @loc into @get, if it is that of its key. */
PF_HOT void take(const struct pf_table *table, struct pinfold_get *get, uint64_t loc, bool still)
{
	size_t size = 0;

	if (still && get->key_size == 16) {
		if (!pf_record_still(table, loc, get->key, 16, get->ret_value, get->capacity, &size))
			return;
	} else if (still) {
		if (!pf_record_still(table, loc, get->key, get->key_size, get->ret_value, get->capacity, &size))
			return;
	} else if (pf_record_look(table, loc, get->key, get->key_size, get->ret_value, get->capacity, &size) !=
		   PF_LOOK_FOUND) {
		return;
	}
	get->value_size = size;
	get->result = __builtin_expect(size > get->capacity, 0) ? -ENOBUFS : 0;
}

/* ---- first stage: which line ---- */

PF_HOT void begin(const struct pf_table *table, struct pinfold_get *get, struct flight *flight)
{
	uintptr_t line;

	flight->loc = PF_NOWHERE;
	if (__builtin_expect(!get->key || get->key_size - 1 >= PINFOLD_KEY_MAX, 0))
		return;
	flight->hash = get->key_size == 16 ? pf_hash_id(get->key, &table->hash_id) :
					     pf_hash(get->key, get->key_size, table->seed);
	if (__builtin_expect(pf_line_quick(table, flight->hash, &flight->bucket, &line), 1)) {
		flight->loc = line - (uintptr_t)table->base;
		return;
	}
	pf_chunk_learn(table, flight->bucket);
}

PF_HOT void begin_group(struct batch *batch, struct pinfold_get *gets, size_t count, struct flight *flights, bool still)
{
	for (size_t i = 0; i < count; i++)
		begin(batch->table, &gets[i], &flights[i]);
	for (size_t i = 0; i < count; i++)
		if (__builtin_expect(flights[i].loc != PF_NOWHERE, 1))
			ask_line(batch->table, flights[i].loc, still);
}

/* ---- second stage: which record ---- */

PF_HOT bool line_look(const struct pf_table *table, uint64_t loc, uint64_t bucket, uint64_t hash, bool still,
		      struct pf_line_view *ret_view)
{
	struct pf_still_view view;

	if (!still)
		return pf_line_look(table, loc, bucket, hash, ret_view);
	if (!pf_line_still(table, loc, bucket, hash, &view))
		return false;
	*ret_view = (struct pf_line_view){
		.mask = view.mask, .entry = view.entry, .head = view.head, .link = view.link };
	return true;
}

PF_HOT void look(struct batch *batch, struct pinfold_get *get, struct flight *flight, bool still)
{
	uint64_t loc = flight->loc;
	struct pf_line_view view;

	flight->loc = PF_NOWHERE;
	if (__builtin_expect(loc == PF_NOWHERE, 0) ||
	    !line_look(batch->table, loc, flight->bucket, flight->hash, still, &view))
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
		ask_line(batch->table, pf_entry_loc(view.link), still);
	}
}

PF_HOT void look_group(struct batch *batch, struct pinfold_get *gets, size_t count, struct flight *flights, bool still)
{
	for (size_t i = 0; i < count; i++)
		look(batch, &gets[i], &flights[i], still);
	for (size_t i = 0; i < count; i++)
		if (flights[i].loc != PF_NOWHERE)
			ask_record(batch->table, &gets[i], flights[i].loc, still);
}

/* ---- third stage, and the way through overflow lines ---- */

PF_HOT void finish_group(struct batch *batch, struct pinfold_get *gets, size_t count, struct flight *flights,
			 bool still)
{
	for (size_t i = 0; i < count; i++)
		if (__builtin_expect(flights[i].loc != PF_NOWHERE, 1))
			take(batch->table, &gets[i], flights[i].loc, still);
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
		ask_record(table, late->get, late->loc, false);
		return view.entry != 0;
	}
	if (pf_view_linked(&view)) {
		late->loc = pf_entry_loc(view.link);
		ask_line(table, late->loc, false);
		return true;
	}
	if (pf_line_same(table, late->first, late->bucket, late->hash, late->head))
		late->get->result = -ENOENT;
	return false;
}

/* A store need not be still for these: they are few. */
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
				take(batch->table, batch->late[i].get, batch->late[i].loc, false);
			else
				batch->late[left++] = batch->late[i];
		}
		batch->late_count = left;
	}
	batch->late_count = 0;
}

/* ---- all together ---- */

PF_HOT size_t group_size(size_t count, size_t group)
{
	return count - group * PF_BATCH_GROUP < PF_BATCH_GROUP ? count - group * PF_BATCH_GROUP : PF_BATCH_GROUP;
}

/* What groups @first and @first + 1 came to is not to be believed. */
static __attribute__((noinline, cold, unused)) void forget(struct pinfold_get *gets, size_t count, size_t first)
{
	for (size_t i = first * PF_BATCH_GROUP; i < count && i < (first + 2) * PF_BATCH_GROUP; i++)
		gets[i].result = PF_UNKNOWN;
}

/*
 * How many of @gets, from the first on, are done: found, absent, or to be looked up by themselves. Not all, if it
 * was to be @still and a commit came.
 */
PF_HOT size_t batch_run(const struct pf_table *table, struct pinfold_get *gets, size_t count, bool still)
{
	const size_t groups = (count + PF_BATCH_GROUP - 1) / PF_BATCH_GROUP;
	struct flight ring[4][PF_BATCH_GROUP];
	struct batch batch;
	uint32_t newest = 0;

	if (still && !pf_pages_still(table->pages, &newest))
		return 0;
	batch.table = table;
	batch.late_count = 0;
	for (size_t g = 0; g < groups + 2; g++) {
		if (g < groups)
			begin_group(&batch, gets + g * PF_BATCH_GROUP, group_size(count, g), ring[g % 4], still);
		if (g >= 1 && g - 1 < groups)
			look_group(&batch, gets + (g - 1) * PF_BATCH_GROUP, group_size(count, g - 1),
				   ring[(g - 1) % 4], still);
		if (g >= 2)
			finish_group(&batch, gets + (g - 2) * PF_BATCH_GROUP, group_size(count, g - 2),
				     ring[(g - 2) % 4], still);
		if (still && __builtin_expect(!pf_pages_stayed(table->pages, newest), 0)) {
			forget(gets, count, g < 2 ? 0 : g - 2);
			finish_late(&batch);
			return g < 2 ? 0 : (g - 2) * PF_BATCH_GROUP;
		}
		if (batch.late_count >= PF_BATCH_GROUP)
			finish_late(&batch);
	}
	finish_late(&batch);
	return count;
}

#endif
