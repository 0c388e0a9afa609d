/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * import.c - imports: marks, and the two ways of taking records in.
 *
 * How far an import is stands in its table's header. By puts, a batch and its mark are one transaction. In bulk, groups
 * of extents and their mark are (build.h), until the table is whole; a build that has come to the end of the memory for
 * its index ends, and the import goes on by puts.
 */
#include "store/table/build.h"

#include <stdlib.h>

/* Of a batch by puts: this many records, or bytes. */
#define BATCH_RECORDS 4096u
#define BATCH_BYTES (1u << 20)
#define SOURCE_MAX 255

struct pf_import {
	struct pf_table *table;
	struct pf_build *build; /* NULL: by puts */
	struct pinfold_import_mark mark;
	bool marked; /* since the last batch */
	int error;   /* the first one; the answer to all that follows */
	char words[PF_ERROR_MAX];
	struct pinfold_change *changes;
	uint8_t *data;
	size_t count, size, capacity;
};

/* ---- the state in the header ---- */

static void source_hash(const char *source, uint64_t ret_hash[2])
{
	ret_hash[0] = pf_hash(source, strlen(source), 1);
	ret_hash[1] = pf_hash(source, strlen(source), 2);
}

static struct pf_import_disk state_read(struct pf_table *table)
{
	struct pf_import_disk state;

	pthread_mutex_lock(&table->lock);
	state = table->header.import;
	pthread_mutex_unlock(&table->lock);
	return state;
}

/* Whether a build may begin: nothing was ever in the table that it would have to keep. Under table->lock. */
static bool pristine(const struct pf_table *table)
{
	const struct pf_table_counts *counts = &table->header.counts;

	return counts->record_count == 0 && counts->bucket_count == PF_BUCKETS_MIN && counts->overflow_count == 0 &&
	       table->header.segment_count == 1;
}

/* Writes the state, durably. A build that may not begin becomes an import by puts: *state says so. */
static int state_write(struct pf_table *table, struct pf_import_disk *state)
{
	pinfold_ticket ticket;
	struct pf_tw tw;
	int r = pf_tw_begin(table->tables, &table, 1, &tw);

	if (r < 0)
		return r;
	if (state->mode == PF_IMPORT_BULK && !pristine(table))
		state->mode = PF_IMPORT_PUTS;
	table->header.import = *state;
	table->ws.header_dirty = true;
	r = pf_tw_commit(&tw, &ticket);
	return r < 0 ? r : pf_ticket_wait(table->store, ticket, -1);
}

/* ---- by puts ---- */

static int batch_write(struct pf_import *import)
{
	struct pf_table *table = import->table;
	pinfold_ticket ticket;
	struct pf_tw tw;
	uint8_t *at = import->data;
	int r;

	if (import->count == 0 && !import->marked)
		return 0;
	for (size_t i = 0; i < import->count; i++) { /* the data may have moved as it grew */
		import->changes[i].key = at;
		at += import->changes[i].key_size;
		import->changes[i].value = at;
		at += import->changes[i].value_size;
	}
	r = pf_tw_begin(table->tables, &table, 1, &tw);
	if (r < 0)
		return r;
	r = pf_table_change(table, import->changes, import->count);
	if (r < 0) {
		pf_tw_abort(&tw);
		return r;
	}
	table->header.import.mark = import->mark;
	table->ws.header_dirty = true;
	r = pf_tw_commit(&tw, &ticket);
	import->count = import->size = 0;
	import->marked = false;
	return r;
}

static int put_add(struct pf_import *import, const struct pinfold_record *record)
{
	size_t size = record->key_size + record->value_size;

	if (size > import->capacity - import->size) {
		size_t capacity = import->capacity ? import->capacity : 64 << 10;
		uint8_t *data;

		while (capacity - import->size < size)
			capacity *= 2;
		data = realloc(import->data, capacity);
		if (!data)
			return pf_error(-ENOMEM, "table %s: no memory for an import", import->table->name);
		import->data = data;
		import->capacity = capacity;
	}
	memcpy(import->data + import->size, record->key, record->key_size);
	if (record->value_size > 0)
		memcpy(import->data + import->size + record->key_size, record->value, record->value_size);
	import->size += size;
	import->changes[import->count++] =
		(struct pinfold_change){ .key_size = record->key_size, .value_size = record->value_size };
	return 0;
}

/* ---- bulk ---- */

/* The build ends, what it has is in the table; the import goes on by puts. */
static int build_end(struct pf_import *import)
{
	struct pf_import_disk state = state_read(import->table);
	int r;

	import->build->mark = import->mark;
	r = pf_build_finish(import->build);
	pf_build_free(import->build);
	import->build = NULL;
	if (r < 0)
		return r;
	state.mode = PF_IMPORT_PUTS;
	state.mark = import->mark;
	return state_write(import->table, &state);
}

/* ---- the calls ---- */

static int record_check(const struct pinfold_record *record)
{
	int r = pf_key_check(record->key, record->key_size);

	if (r == 0)
		r = pf_value_check(record->value_size);
	if (r == 0 && !record->value && record->value_size > 0)
		r = pf_error(-EINVAL, "import: a record without a value: imports delete nothing");
	return r;
}

static int failed(const struct pf_import *import)
{
	return import->error < 0 ? pf_error(import->error, "%s", import->words) : 0;
}

/* What is half done is not ended as if it were whole. */
static int note(struct pf_import *import, int r)
{
	if (r < 0 && import->error == 0) {
		import->error = r;
		strcpy(import->words, pf_error_text());
	}
	return r;
}

int pf_import_add(struct pf_import *import, const struct pinfold_record *records, size_t count)
{
	int r = failed(import);

	for (size_t i = 0; r == 0 && i < count; i++)
		r = record_check(&records[i]);
	if (r < 0)
		return r;
	if (import->build && pf_build_full(import->build))
		r = build_end(import);
	for (size_t i = 0; r == 0 && i < count; i++) {
		if (import->build) {
			r = pf_build_add(import->build, records[i].key, records[i].key_size, records[i].value,
					 records[i].value_size);
		} else {
			if (import->count == BATCH_RECORDS || import->size >= BATCH_BYTES)
				r = batch_write(import);
			if (r == 0)
				r = put_add(import, &records[i]);
		}
	}
	return note(import, r);
}

int pf_import_mark(struct pf_import *import, const struct pinfold_import_mark *mark)
{
	int r = failed(import);

	if (r == 0 && (mark->reserved[0] || mark->reserved[1]))
		r = pf_error(-EINVAL, "table %s: reserved fields of an import's mark are not 0", import->table->name);
	if (r < 0)
		return r;
	import->mark = *mark;
	import->marked = true;
	if (import->build)
		import->build->mark = *mark; /* of the group that is published next */
	else if (import->count == BATCH_RECORDS || import->size >= BATCH_BYTES)
		r = batch_write(import);
	return note(import, r);
}

static void import_free(struct pf_import *import)
{
	pf_build_free(import->build);
	pthread_mutex_lock(&import->table->lock);
	import->table->importing = false;
	pthread_mutex_unlock(&import->table->lock);
	free(import->changes);
	free(import->data);
	free(import);
}

int pf_import_end(struct pf_import *import)
{
	struct pf_import_disk none = { .mode = PF_IMPORT_NONE };
	int r = failed(import);

	if (r < 0) {
		/* may be resumed */
	} else if (import->build) {
		r = pf_build_finish(import->build); /* ends the import with the same transaction */
	} else {
		r = batch_write(import);
		if (r == 0)
			r = state_write(import->table, &none);
	}
	import_free(import);
	return r;
}

void pf_import_stop(struct pf_import *import)
{
	if (!import)
		return;
	/* what does not get there is given again */
	if (import->marked && import->error == 0) {
		if (!import->build)
			(void)batch_write(import);
		else if (pf_build_records_publish(import->build) == 0)
			(void)pf_build_writer_wait(import->build);
	}
	import_free(import);
}

/* Claims @table for an import. */
static int claim(struct pf_table *table)
{
	int r = 0;

	pthread_mutex_lock(&table->lock);
	if (table->importing)
		r = pf_error(-EBUSY, "table %s: an import into it is under way", table->name);
	else
		table->importing = true;
	pthread_mutex_unlock(&table->lock);
	return r;
}

/* What is said to whoever would begin an import beside the one of @state. */
static int unfinished(const struct pf_table *table, const struct pf_import_disk *state)
{
	if (!state->source[0] && !state->source[1]) /* build_resume.c */
		return pf_error(-EBUSY, "table %s: an import that was being given up cannot be resumed: restart",
				table->name);
	return pf_error(-EBUSY, "table %s: an import of another source is unfinished: resume it, or restart",
			table->name);
}

/* Decides how, from what is there: *ret_state is the state to begin with. */
static int prepare(struct pf_table *table, const char *source, uint32_t flags, struct pf_import_disk *ret_state,
		   bool *ret_resume)
{
	struct pf_import_disk state = state_read(table), fresh = { .mode = PF_IMPORT_PUTS };
	int r = 0;

	source_hash(source, fresh.source);
	*ret_resume = state.mode != PF_IMPORT_NONE && memcmp(state.source, fresh.source, sizeof(fresh.source)) == 0 &&
		      !(flags & PINFOLD_IMPORT_RESTART);
	if (*ret_resume) {
		*ret_state = state;
		return 0;
	}
	if (state.mode != PF_IMPORT_NONE && !(flags & PINFOLD_IMPORT_RESTART))
		return unfinished(table, &state);
	if (state.mode == PF_IMPORT_BULK)
		r = pf_build_discard(table);
	if (flags & PINFOLD_IMPORT_BULK)
		fresh.mode = PF_IMPORT_BULK;
	*ret_state = fresh;
	return r;
}

static int begin(struct pf_import *import, const char *source, uint32_t flags)
{
	struct pf_table *table = import->table;
	struct pf_import_disk state;
	bool resume;
	int r;

	r = prepare(table, source, flags, &state, &resume);
	if (r == 0 && !resume)
		r = state_write(table, &state);
	if (r == 0 && state.mode == PF_IMPORT_BULK) {
		r = pf_build_begin(table, &import->build);
		if (r == 0 && resume)
			r = pf_build_resume(import->build);
	}
	import->mark = state.mark;
	return r;
}

int pf_import_begin(struct pf_table *table, const char *source, uint32_t flags, struct pf_import **ret_import,
		    struct pinfold_import_mark *ret_mark)
{
	struct pf_import *import;
	int r;

	if (!source || !*source || strlen(source) > SOURCE_MAX)
		return pf_error(-EINVAL, "table %s: an import's source has 1 to %d bytes", table->name, SOURCE_MAX);
	if (flags & ~(uint32_t)(PINFOLD_IMPORT_BULK | PINFOLD_IMPORT_RESTART))
		return pf_error(-EINVAL, "table %s: import flags %#x", table->name, flags);
	if (table->read_only)
		return pf_error(-EROFS, "table %s: the store is open read-only", table->name);
	import = calloc(1, sizeof(*import));
	if (!import)
		return pf_error(-ENOMEM, "table %s: no memory for an import", table->name);
	import->table = table;
	import->changes = calloc(BATCH_RECORDS, sizeof(*import->changes));
	r = import->changes ? claim(table) : pf_error(-ENOMEM, "table %s: no memory for an import", table->name);
	if (r < 0) {
		free(import->changes);
		free(import);
		return r;
	}
	r = begin(import, source, flags);
	if (r < 0) {
		import_free(import);
		return r;
	}
	*ret_mark = import->mark;
	*ret_import = import;
	return 0;
}
