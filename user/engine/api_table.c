/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * api_table.c - the public calls of table.h and catalog.h, handed on to the
 * store's upper floor, which checks their arguments.
 *
 * A public table or cursor *is* the store's; the two names keep its type opaque.
 */
#include "engine/engine.h"
#include "store/table/table.h"

static struct pf_table *inner(struct pinfold_table *table)
{
	return (struct pf_table *)table;
}

/* ---- record tables ---- */

int pinfold_table_open(struct pinfold *pf, const char *name, uint32_t flags, struct pinfold_table **ret_table)
{
	REQUIRE(pf && name && ret_table);
	return pf_table_open(pf->store, name, flags, (struct pf_table **)ret_table);
}

void pinfold_table_close(struct pinfold_table *table)
{
	pf_table_close(inner(table));
}

int pinfold_table_get(struct pinfold_table *table, const void *key, size_t key_size, void *ret_value, size_t capacity,
		      size_t *ret_size)
{
	REQUIRE(table);
	return pf_table_get(inner(table), key, key_size, ret_value, capacity, ret_size);
}

int pinfold_table_get_batch(struct pinfold_table *table, struct pinfold_get *gets, size_t count)
{
	REQUIRE(table && (gets || !count));
	return pf_table_get_batch(inner(table), gets, count);
}

int pinfold_table_put(struct pinfold_table *table, const void *key, size_t key_size, const void *value,
		      size_t value_size)
{
	REQUIRE(table);
	return pf_table_put(inner(table), key, key_size, value, value_size);
}

int pinfold_table_delete(struct pinfold_table *table, const void *key, size_t key_size)
{
	REQUIRE(table);
	return pf_table_delete(inner(table), key, key_size);
}

int pinfold_table_cas(struct pinfold_table *table, const void *key, size_t key_size, const void *expected,
		      size_t expected_size, const void *value, size_t value_size)
{
	REQUIRE(table);
	return pf_table_cas(inner(table), key, key_size, expected, expected_size, value, value_size);
}

int pinfold_table_write(struct pinfold_table *table, const struct pinfold_record *records, size_t count)
{
	REQUIRE(table && (records || !count));
	return pf_table_write(inner(table), records, count);
}

int pinfold_table_write_async(struct pinfold_table *table, const struct pinfold_record *records, size_t count,
			      pinfold_ticket *ret_ticket)
{
	REQUIRE(table && (records || !count) && ret_ticket);
	return pf_table_write_async(inner(table), records, count, ret_ticket);
}

int pinfold_table_submit(struct pinfold_table *table, struct pinfold_change *changes, size_t count,
			 pinfold_ticket *ret_ticket)
{
	REQUIRE(table && (changes || !count) && ret_ticket);
	return pf_table_submit(inner(table), changes, count, ret_ticket);
}

int pinfold_cursor_open(struct pinfold_table *table, struct pinfold_cursor **ret_cursor)
{
	REQUIRE(table && ret_cursor);
	return pf_cursor_open(inner(table), (struct pf_cursor **)ret_cursor);
}

int pinfold_cursor_next(struct pinfold_cursor *cursor, struct pinfold_record *ret_record)
{
	REQUIRE(cursor && ret_record);
	return pf_cursor_next((struct pf_cursor *)cursor, ret_record);
}

int pinfold_cursor_tell(const struct pinfold_cursor *cursor, uint64_t *ret_position)
{
	REQUIRE(cursor && ret_position);
	return pf_cursor_tell((const struct pf_cursor *)cursor, ret_position);
}

int pinfold_cursor_seek(struct pinfold_cursor *cursor, uint64_t position)
{
	REQUIRE(cursor);
	pf_cursor_seek((struct pf_cursor *)cursor, position);
	return 0;
}

void pinfold_cursor_close(struct pinfold_cursor *cursor)
{
	pf_cursor_close((struct pf_cursor *)cursor);
}

int pinfold_table_stat(struct pinfold_table *table, struct pinfold_table_stats *ret_stats)
{
	REQUIRE(table && ret_stats);
	return pf_table_stat(inner(table), ret_stats);
}

int pinfold_table_foreach(struct pinfold *pf, int (*fn)(void *ctx, const char *name), void *ctx)
{
	REQUIRE(pf && fn);
	return pf_table_foreach(pf->store, fn, ctx);
}

int pinfold_table_drop(struct pinfold *pf, const char *name)
{
	REQUIRE(pf && name);
	return pf_table_drop(pf->store, name);
}

/* ---- imports ---- */

int pinfold_import_begin(struct pinfold_table *table, const char *source, uint32_t flags,
			 struct pinfold_import **ret_import, struct pinfold_import_mark *ret_mark)
{
	REQUIRE(table && source && ret_import && ret_mark);
	return pf_import_begin(inner(table), source, flags, (struct pf_import **)ret_import, ret_mark);
}

int pinfold_import_add(struct pinfold_import *import, const struct pinfold_record *records, size_t count)
{
	REQUIRE(import && (records || !count));
	return pf_import_add((struct pf_import *)import, records, count);
}

int pinfold_import_mark(struct pinfold_import *import, const struct pinfold_import_mark *mark)
{
	REQUIRE(import && mark);
	return pf_import_mark((struct pf_import *)import, mark);
}

int pinfold_import_end(struct pinfold_import *import)
{
	REQUIRE(import);
	return pf_import_end((struct pf_import *)import);
}

void pinfold_import_stop(struct pinfold_import *import)
{
	pf_import_stop((struct pf_import *)import);
}

/* ---- catalog ---- */

void pinfold_object_done(struct pinfold_object *object)
{
	if (object)
		pf_catalog_object_done(object);
}

int pinfold_object_create(struct pinfold *pf, const struct pinfold_object_id *id, const struct pinfold_object *object,
			  bool replace)
{
	REQUIRE(pf && id && object);
	return pf_catalog_create(pf->store, id, object, replace);
}

int pinfold_object_lookup(struct pinfold *pf, const struct pinfold_object_id *id, struct pinfold_object *ret_object)
{
	REQUIRE(pf && id && ret_object);
	return pf_catalog_lookup(pf->store, id, ret_object);
}

int pinfold_object_drop(struct pinfold *pf, const struct pinfold_object_id *id)
{
	REQUIRE(pf && id);
	return pf_catalog_drop(pf->store, id);
}

int pinfold_object_foreach(struct pinfold *pf, pinfold_object_fn fn, void *ctx)
{
	REQUIRE(pf && fn);
	return pf_catalog_foreach(pf->store, fn, ctx);
}

int pinfold_object_of_extent(struct pinfold *pf, const struct pinfold_extent *extent, struct pinfold_object_id *ret_id,
			     char *name_buf)
{
	REQUIRE(pf && extent && ret_id && name_buf);
	return pf_catalog_of_extent(pf->store, extent, ret_id, name_buf);
}

int pinfold_blob_put(struct pinfold *pf, const char *name, const void *data, uint64_t size, bool replace)
{
	REQUIRE(pf && name && (data || !size));
	return pf_catalog_blob_put(pf->store, name, data, size, replace);
}

static int lookup(struct pinfold *pf, enum pinfold_object_kind kind, uint64_t a, uint64_t b,
		  struct pinfold_extent *ret_extents, size_t capacity, size_t *ret_count)
{
	REQUIRE(pf && (ret_extents || !capacity) && ret_count);
	return pf_catalog_extents(pf->store, kind, a, b, ret_extents, capacity, ret_count);
}

int pinfold_lookup_rowgroup(struct pinfold *pf, uint64_t table_id, uint64_t rowgroup_id,
			    struct pinfold_extent *ret_extents, size_t capacity, size_t *ret_count)
{
	return lookup(pf, PINFOLD_OBJECT_ROWGROUP, table_id, rowgroup_id, ret_extents, capacity, ret_count);
}

int pinfold_lookup_graph_partition(struct pinfold *pf, uint64_t partition_id, struct pinfold_extent *ret_extents,
				   size_t capacity, size_t *ret_count)
{
	return lookup(pf, PINFOLD_OBJECT_GRAPH_PARTITION, partition_id, 0, ret_extents, capacity, ret_count);
}

int pinfold_lookup_vector_list(struct pinfold *pf, uint64_t list_id, struct pinfold_extent *ret_extents,
			       size_t capacity, size_t *ret_count)
{
	return lookup(pf, PINFOLD_OBJECT_VECTOR_LIST, list_id, 0, ret_extents, capacity, ret_count);
}

int pinfold_lookup_time_bucket(struct pinfold *pf, uint64_t series_id, uint64_t bucket_id,
			       struct pinfold_extent *ret_extents, size_t capacity, size_t *ret_count)
{
	return lookup(pf, PINFOLD_OBJECT_TIME_BUCKET, series_id, bucket_id, ret_extents, capacity, ret_count);
}

int pinfold_connections_set(struct pinfold *pf, const struct pinfold_extent *extent,
			    const struct pinfold_connections *connections)
{
	REQUIRE(pf && extent && connections);
	return pf_connections_set(pf->store, extent, connections);
}

int pinfold_connections_get(struct pinfold *pf, const struct pinfold_extent *extent,
			    struct pinfold_connections *ret_connections)
{
	REQUIRE(pf && extent && ret_connections);
	return pf_connections_get(pf->store, extent, ret_connections);
}

/* ---- both floors ---- */

int pinfold_verify(struct pinfold *pf, pinfold_problem_fn problem, pinfold_progress_fn progress, void *ctx)
{
	int lower, upper;

	REQUIRE(pf);
	lower = pf_store_verify(pf->store, problem, progress, ctx);
	if (lower && lower != -EUCLEAN)
		return lower;
	upper = pf_table_verify(pf->store, problem, progress, ctx);
	return upper ? upper : lower;
}
