/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * table.h - record tables, catalog and connections over a pf_store: the upper
 * floor of the store, for the engine.
 *
 * The calls mirror pinfold/table.h and pinfold/catalog.h one to one and check
 * names, sizes and counts themselves. The engine calls pf_tables_open() after
 * pf_store_open() and pf_tables_close() before pf_store_close(). 0/-errno;
 * words in pf_error_text(). Any thread unless said otherwise.
 */
#ifndef PF_TABLE_H
#define PF_TABLE_H

#include "store/store.h"

#include <pinfold/catalog.h>
#include <pinfold/import.h>
#include <pinfold/table.h>

/* ---- life ---- */

/**
 * Opens the upper floor of @store, once. @config (completed) tells read-only and checksums.
 * Reads nothing but the directory; a table is looked at when it is opened.
 */
int pf_tables_open(struct pf_store *store, const struct pinfold_config *config);
/** Closes every table of @store. No call on its tables may run or follow. Does nothing if there is none. */
void pf_tables_close(struct pf_store *store);

/* ---- tables: as pinfold_table_* ---- */

struct pf_table;
struct pf_cursor;

int pf_table_open(struct pf_store *store, const char *name, uint32_t flags, struct pf_table **ret_table);
/** Gives back one pf_table_open(); the handle stays usable while another open of it lasts. NULL is allowed. */
void pf_table_close(struct pf_table *table);
int pf_table_get(struct pf_table *table, const void *key, size_t key_size, void *ret_value, size_t capacity,
		 size_t *ret_size);
int pf_table_get_batch(struct pf_table *table, struct pinfold_get *gets, size_t count);
int pf_table_put(struct pf_table *table, const void *key, size_t key_size, const void *value, size_t value_size);
int pf_table_delete(struct pf_table *table, const void *key, size_t key_size);
int pf_table_cas(struct pf_table *table, const void *key, size_t key_size, const void *expected,
		 size_t expected_size, const void *value, size_t value_size);
int pf_table_write(struct pf_table *table, const struct pinfold_record *records, size_t count);
/** Like pf_table_write(), but returns when ordered: *ret_ticket says when it is durable. */
int pf_table_write_async(struct pf_table *table, const struct pinfold_record *records, size_t count,
			 pinfold_ticket *ret_ticket);
int pf_table_submit(struct pf_table *table, struct pinfold_change *changes, size_t count, pinfold_ticket *ret_ticket);
int pf_table_stat(struct pf_table *table, struct pinfold_table_stats *ret_stats);
int pf_table_foreach(struct pf_store *store, int (*fn)(void *ctx, const char *name), void *ctx);
int pf_table_drop(struct pf_store *store, const char *name);

int pf_cursor_open(struct pf_table *table, struct pf_cursor **ret_cursor);
int pf_cursor_next(struct pf_cursor *cursor, struct pinfold_record *ret_record);
int pf_cursor_tell(const struct pf_cursor *cursor, uint64_t *ret_position);
void pf_cursor_seek(struct pf_cursor *cursor, uint64_t position);
void pf_cursor_close(struct pf_cursor *cursor);

/* ---- imports: as pinfold_import_* ---- */

struct pf_import;
int pf_import_begin(struct pf_table *table, const char *source, uint32_t flags, struct pf_import **ret_import,
		    struct pinfold_import_mark *ret_mark);
int pf_import_add(struct pf_import *import, const struct pinfold_record *records, size_t count);
int pf_import_mark(struct pf_import *import, const struct pinfold_import_mark *mark);
int pf_import_end(struct pf_import *import);
void pf_import_stop(struct pf_import *import);

/**
 * Checks directory, buckets, records, bitmaps against what is reachable, counts, and the block checksums of
 * objects. Each table's writers wait while it is checked. 0, or -EUCLEAN after reporting each problem.
 * @problem and @progress may be NULL.
 */
int pf_table_verify(struct pf_store *store, pinfold_problem_fn problem, pinfold_progress_fn progress, void *ctx);

/* ---- catalog: as pinfold_object_*, pinfold_blob_put, pinfold_lookup_*, pinfold_connections_* ---- */

int pf_catalog_create(struct pf_store *store, const struct pinfold_object_id *id, const struct pinfold_object *object,
		      bool replace);
int pf_catalog_lookup(struct pf_store *store, const struct pinfold_object_id *id, struct pinfold_object *ret_object);
int pf_catalog_drop(struct pf_store *store, const struct pinfold_object_id *id);
int pf_catalog_foreach(struct pf_store *store, pinfold_object_fn fn, void *ctx);
int pf_catalog_of_extent(struct pf_store *store, const struct pinfold_extent *extent, struct pinfold_object_id *ret_id,
			 char *name_buf);
/** Frees what a lookup allocated in @object; the engine's pinfold_object_done(). */
void pf_catalog_object_done(struct pinfold_object *object);
int pf_catalog_blob_put(struct pf_store *store, const char *name, const void *data, uint64_t size, bool replace);
/** The four pinfold_lookup_* calls: @kind with its two numbers. */
int pf_catalog_extents(struct pf_store *store, enum pinfold_object_kind kind, uint64_t a, uint64_t b,
		       struct pinfold_extent *ret_extents, size_t capacity, size_t *ret_count);
int pf_catalog_lookup_rowgroup(struct pf_store *store, uint64_t table_id, uint64_t rowgroup_id,
			       struct pinfold_extent *ret_extents, size_t capacity, size_t *ret_count);
int pf_catalog_lookup_graph_partition(struct pf_store *store, uint64_t partition_id,
				      struct pinfold_extent *ret_extents, size_t capacity, size_t *ret_count);
int pf_catalog_lookup_vector_list(struct pf_store *store, uint64_t list_id, struct pinfold_extent *ret_extents,
				  size_t capacity, size_t *ret_count);
int pf_catalog_lookup_time_bucket(struct pf_store *store, uint64_t series_id, uint64_t bucket_id,
				  struct pinfold_extent *ret_extents, size_t capacity, size_t *ret_count);

int pf_connections_set(struct pf_store *store, const struct pinfold_extent *extent,
		       const struct pinfold_connections *connections);
int pf_connections_get(struct pf_store *store, const struct pinfold_extent *extent,
		       struct pinfold_connections *ret_connections);

/**
 * Forgets the block checksums of @extent, if it has any: whoever changes a published extent by a transaction
 * calls this first (they are made when the object is created). Cheap where there are none.
 */
int pf_catalog_extent_written(struct pf_store *store, const struct pinfold_extent *extent);

/**
 * Cuts @size bytes into extent sizes: at most @capacity powers of two between 2 MiB and 1 GiB, whole default
 * extents first, then the fewest that waste less than an eighth of the content (2 MiB where content is smaller).
 * Returns how many, or -EFBIG.
 */
int pf_catalog_extent_plan(uint64_t size, uint64_t extent_size, uint64_t *ret_sizes, size_t capacity);

#endif
