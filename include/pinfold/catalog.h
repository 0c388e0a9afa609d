/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pinfold/catalog.h - which object is in which extents, and what is read next to it.
 */
#ifndef PINFOLD_CATALOG_H
#define PINFOLD_CATALOG_H

#include <pinfold/store.h>

#ifdef __cplusplus
extern "C" {
#endif

enum pinfold_object_kind {
	PINFOLD_OBJECT_ROWGROUP = 1,    /* (table id, row group id) */
	PINFOLD_OBJECT_GRAPH_PARTITION, /* (partition id, 0) */
	PINFOLD_OBJECT_VECTOR_LIST,     /* (list id, 0) */
	PINFOLD_OBJECT_TIME_BUCKET,     /* (series id, bucket id) */
	PINFOLD_OBJECT_ACTOR_STATE,     /* (actor id high, low) */
	PINFOLD_OBJECT_BLOB,            /* by name */
};

/** Names an object. For blobs @name is set (1..255 bytes) and a, b are 0; else name is NULL. */
struct pinfold_object_id {
	enum pinfold_object_kind kind;
	uint64_t a, b;
	const char *name;
};

/** Most extents of one object. An object's bytes run through its extents in order. */
#define PINFOLD_OBJECT_EXTENTS_MAX 1024

struct pinfold_object {
	uint64_t size; /* bytes of content */
	uint32_t flags;      /* PINFOLD_EXTENT_*, kept with it */
	/* what the owner means it for, kept with it: nothing is dropped by itself */
	uint32_t lifetime;   /* enum pinfold_lifetime */
	uint64_t ttl_ms;     /* 0: none */
	uint64_t created_unix_ms; /* set by pinfold_object_create(), by the wall clock */
	size_t extent_count;
	struct pinfold_extent *extents; /* owned; pinfold_object_done() */
};
/** Frees what a lookup put into @object; not @object itself. */
PINFOLD_API void pinfold_object_done(struct pinfold_object *object);

/*
 * Any thread may call any of these, beside any other. Errors that all share: -EINVAL (an id or an object that makes no
 * sense; pinfold_errmsg() says what), -EUCLEAN (a damaged catalog), -EIO; those that write: -EROFS, -ENOSPC, -ENOMEM.
 * They wait as the store's sync mode says.
 */

/**
 * Adds @id with content in @extents (allocated by the caller, filled by bulk
 * writes and flushed, not yet published) and publishes them, in one transaction.
 * -EEXIST unless @replace; then the old extents are dropped by the same transaction.
 */
PINFOLD_API int pinfold_object_create(struct pinfold *pf, const struct pinfold_object_id *id,
				      const struct pinfold_object *object, bool replace);
/** -ENOENT. Free the result with pinfold_object_done(). */
PINFOLD_API int pinfold_object_lookup(struct pinfold *pf, const struct pinfold_object_id *id,
				      struct pinfold_object *ret_object);
/** Removes @id and drops its extents in one transaction. -ENOENT. Readers inside an epoch keep what they read. */
PINFOLD_API int pinfold_object_drop(struct pinfold *pf, const struct pinfold_object_id *id);
/** Calls @fn for each object, in no order, until it returns non-zero, which is returned. @id and @object are valid
 * during the call; objects that come or go meanwhile may be seen or not. */
typedef int (*pinfold_object_fn)(void *ctx, const struct pinfold_object_id *id, const struct pinfold_object *object);
PINFOLD_API int pinfold_object_foreach(struct pinfold *pf, pinfold_object_fn fn, void *ctx);
/** Which object @extent belongs to; the name is copied to @name_buf (256 bytes). -ENOENT. */
PINFOLD_API int pinfold_object_of_extent(struct pinfold *pf, const struct pinfold_extent *extent,
					 struct pinfold_object_id *ret_id, char *name_buf);

/**
 * Writes @size bytes of memory as blob @name: allocates, loads, flushes, publishes. -EEXIST unless @replace; -EFBIG:
 * larger than an object's extents can be. After a failure nothing of it is left.
 */
PINFOLD_API int pinfold_blob_put(struct pinfold *pf, const char *name, const void *data, uint64_t size, bool replace);

/** RFC-2024-001 7.5.2: each returns the object's extents, up to @capacity; *ret_count is the full number. -ENOENT. */
PINFOLD_API int pinfold_lookup_rowgroup(struct pinfold *pf, uint64_t table_id, uint64_t rowgroup_id,
					struct pinfold_extent *ret_extents, size_t capacity, size_t *ret_count);
PINFOLD_API int pinfold_lookup_graph_partition(struct pinfold *pf, uint64_t partition_id,
					       struct pinfold_extent *ret_extents, size_t capacity, size_t *ret_count);
PINFOLD_API int pinfold_lookup_vector_list(struct pinfold *pf, uint64_t list_id,
					   struct pinfold_extent *ret_extents, size_t capacity, size_t *ret_count);
PINFOLD_API int pinfold_lookup_time_bucket(struct pinfold *pf, uint64_t series_id, uint64_t bucket_id,
					   struct pinfold_extent *ret_extents, size_t capacity, size_t *ret_count);

/** Most extents of each list of a connection record. */
#define PINFOLD_CONNECTIONS_MAX 16
/** What is read before, after and together with an extent. */
struct pinfold_connections {
	uint32_t forward_count, back_count, hot_count;
	float prefetch_weight; /* 0..1: which part of a pin's prefetch_adjacent follows each list, rounded up; 0: none
				*/
	struct pinfold_extent forward[PINFOLD_CONNECTIONS_MAX];
	struct pinfold_extent back[PINFOLD_CONNECTIONS_MAX];
	struct pinfold_extent hot[PINFOLD_CONNECTIONS_MAX];
};
/** Keeps @connections for @extent in place of those it had. -ESTALE: no such extent; -EINVAL: too many, or a weight
 * beyond 0..1. */
PINFOLD_API int pinfold_connections_set(struct pinfold *pf, const struct pinfold_extent *extent,
					const struct pinfold_connections *connections);
/** -ENOENT: none are set. Extents among them may have been dropped since: using one is answered with -ESTALE. */
PINFOLD_API int pinfold_connections_get(struct pinfold *pf, const struct pinfold_extent *extent,
					struct pinfold_connections *ret_connections);

#ifdef __cplusplus
}
#endif
#endif
