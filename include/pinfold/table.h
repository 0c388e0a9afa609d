/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pinfold/table.h - record tables: a durable hash table in extents.
 *
 * Readers never block on writers and never see half a record. A get sees every
 * acknowledged change, in every sync mode.
 *
 * A handle, key, list, name or place for a result that is NULL where nothing says that it may be is -EINVAL; a buffer
 * with room in it is not looked at. -ENOENT and -EAGAIN of a single record come often, and have no words.
 */
#ifndef PINFOLD_TABLE_H
#define PINFOLD_TABLE_H

#include <pinfold/store.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Longest key and value, bytes. */
#define PINFOLD_KEY_MAX 1024
#define PINFOLD_VALUE_MAX 65536
#define PINFOLD_TABLE_NAME_MAX 63

/** An open record table. Closed by pinfold_close() of the store at the latest. Any thread. */
struct pinfold_table;

enum pinfold_table_flags {
	PINFOLD_TABLE_CREATE = 1u << 0,
	PINFOLD_TABLE_EXCLUSIVE = 1u << 1,
};

/**
 * Opens table @name (1..63 bytes of [A-Za-z0-9._-]; names starting with "." are
 * the store's own: -EPERM). The same table may be opened again: it is the same handle. Any thread.
 *
 * @flags: PINFOLD_TABLE_CREATE makes it if there is none, and waits as the store's sync mode says; with
 * PINFOLD_TABLE_EXCLUSIVE, which needs it, one that is there is -EEXIST.
 *
 * -ENOENT; -EINVAL: the name, or the flags; -EUCLEAN: damage in the directory or in what is read of the table; -EROFS:
 * read-only, and to be made; -ENOSPC, -EDQUOT, -ENOMEM, -EIO.
 */
PINFOLD_API int pinfold_table_open(struct pinfold *pf, const char *name, uint32_t flags,
				   struct pinfold_table **ret_table);

/** Gives back one pinfold_table_open(). The handle stays usable while another open of it lasts. NULL is allowed. */
PINFOLD_API void pinfold_table_close(struct pinfold_table *table);

/**
 * Copies the value of @key into @ret_value (at most @capacity bytes; may be NULL if that is 0). *ret_size is its full
 * size, also where it did not fit (-ENOBUFS: its first @capacity bytes are there); @ret_size may be NULL. Any thread.
 *
 * The value is copied while it is checked: after any other failure @ret_value may hold damaged bytes, or some of
 * another moment, which are nobody's value.
 *
 * -ENOENT; -EINVAL: the key's size (1 to PINFOLD_KEY_MAX); -EIO: the file cannot be read there; -EUCLEAN: damage, of
 * what leads to the record or of one that may be the key's; -ENOMEM; -ESTALE: the store is open read-only, and its
 * writer dropped the table.
 */
PINFOLD_API int pinfold_table_get(struct pinfold_table *table, const void *key, size_t key_size,
				  void *ret_value, size_t capacity, size_t *ret_size);

/**
 * One get of a batch.
 *
 * @key, @key_size:      what is asked for
 * @ret_value, @capacity: where the value goes, and how many bytes there are room for
 * @value_size:          set: the value's full size, where @result is 0 or -ENOBUFS; else anything
 * @result:              set: 0; -ENOENT; -ENOBUFS: the value did not fit, its first @capacity bytes are there;
 *                       -EINVAL (key size), -EIO, -EUCLEAN, -ESTALE, -ENOMEM as of pinfold_table_get(), and as there
 *                       what is in @ret_value then is nobody's value
 */
struct pinfold_get {
	const void *key;
	size_t key_size;
	void *ret_value;
	size_t capacity;
	size_t value_size;
	int result;
};
/**
 * Gets all of @gets. The memory accesses of many keys overlap: of records in memory, batches of 64 get 2.1 to 3.0 times
 * as many in the same time as pinfold_table_get() (Documentation/benchmarks.md). How many there are is not limited.
 * Each get is as of a moment during the call, not all as of the same. 0 whatever the single results are; their words
 * are not kept, but those of the last that failed with -EIO or -EUCLEAN. Any thread.
 */
PINFOLD_API int pinfold_table_get_batch(struct pinfold_table *table, struct pinfold_get *gets, size_t count);

/*
 * Changes. Any thread may make any of them, beside any other. Errors that all share: -EINVAL (a key or a value of a
 * size that is not allowed), -EBUSY (a bulk import into the table is unfinished), -EUCLEAN (damage in the way, of the
 * bucket or the record), -ENOSPC, -EDQUOT, -ENOMEM, -EROFS (read-only, or since an earlier I/O error), -EIO. On failure
 * nothing happened; after -EIO it may be there when the store is opened again, as of pinfold_txn_commit().
 */

/**
 * Makes @value (0..65536 bytes, copied; may be NULL if it has none) the value of @key (1..1024 bytes), whether or not
 * it had one, and waits as the store's sync mode says.
 */
PINFOLD_API int pinfold_table_put(struct pinfold_table *table, const void *key, size_t key_size,
				  const void *value, size_t value_size);
/** Removes @key and its value, and waits as the store's sync mode says. -ENOENT if there was none. */
PINFOLD_API int pinfold_table_delete(struct pinfold_table *table, const void *key, size_t key_size);
/**
 * Replaces the value if it equals @expected, and waits as the store's sync mode says. @expected NULL: only if the key
 * is absent; @value NULL: delete. -EAGAIN if the condition did not hold; -EINVAL also if both are NULL; as of all
 * changes.
 */
PINFOLD_API int pinfold_table_cas(struct pinfold_table *table, const void *key, size_t key_size,
				  const void *expected, size_t expected_size, const void *value, size_t value_size);

/** One change of a batch; value NULL deletes (an absent key is no error then). */
struct pinfold_record {
	const void *key;
	size_t key_size;
	const void *value;
	size_t value_size;
};
/**
 * Applies all of @records, at most 65536 (-EINVAL), in order and as one transaction, and waits as the store's sync mode
 * says. -E2BIG: more than a transaction can hold; as of all changes: then none of them happened.
 */
PINFOLD_API int pinfold_table_write(struct pinfold_table *table, const struct pinfold_record *records, size_t count);

/** A condition of a change: value and presence must be as "expected" says, as in pinfold_table_cas(). */
#define PINFOLD_CHANGE_COMPARE (1u << 0)

/** One change of pinfold_table_submit(). Keys and values stay the caller's. */
struct pinfold_change {
	const void *key;
	size_t key_size;
	const void *value; /* NULL deletes */
	size_t value_size;
	const void *expected; /* with PINFOLD_CHANGE_COMPARE; NULL: the key must be absent */
	size_t expected_size;
	uint32_t flags;  /* PINFOLD_CHANGE_* */
	int32_t result;  /* out: 0; -EAGAIN: the condition did not hold; -ENOENT: nothing to delete */
};
/**
 * Makes @count changes (at most 65536) that do not depend on each other, in order, each seeing the ones before it: the
 * way to keep many updates in flight from few threads. One whose result is not 0 changed nothing; the others happen
 * all the same. They share one transaction, so they are ordered together and survive a crash all or none. Returns when
 * ordered, whatever the sync mode: every later read sees them, and *ret_ticket says when they are durable
 * (pinfold_ticket_poll(), _wait(), _fd()). On failure (-E2BIG: more than a transaction can hold; as of all changes)
 * none of them happened.
 */
PINFOLD_API int pinfold_table_submit(struct pinfold_table *table, struct pinfold_change *changes, size_t count,
				     pinfold_ticket *ret_ticket);

/**
 * As pinfold_table_write(), also in its errors, but returns when ordered, whatever the sync mode: *ret_ticket says when
 * it is durable.
 */
PINFOLD_API int pinfold_table_write_async(struct pinfold_table *table, const struct pinfold_record *records,
					  size_t count,
					  pinfold_ticket *ret_ticket);

/**
 * Iterates in no particular order. Every record that is there throughout is seen exactly once; one
 * that comes, goes or changes meanwhile may be seen old, new or not at all. One thread at a time per cursor, any number
 * of cursors; they hold up nobody.
 */
struct pinfold_cursor;
/** At the table's beginning. To be closed before the table is closed or dropped, and before the store. -ENOMEM. */
PINFOLD_API int pinfold_cursor_open(struct pinfold_table *table, struct pinfold_cursor **ret_cursor);
/**
 * 1 and a record (pointers valid until the next call); 0 at the end; -EIO, -EUCLEAN (damage), -ENOMEM, -ESTALE (dropped
 * by the writer of a store that is open read-only): the next call tries the same place again.
 */
PINFOLD_API int pinfold_cursor_next(struct pinfold_cursor *cursor, struct pinfold_record *ret_record);
/**
 * Where the cursor is, for pinfold_cursor_seek(): every record that is there throughout is returned either before, or
 * after going on at *ret_position. -EAGAIN: records are handed out in groups of a few, and this one is not at its end:
 * ask again after the next record.
 */
PINFOLD_API int pinfold_cursor_tell(const struct pinfold_cursor *cursor, uint64_t *ret_position);
/** Goes on at @position, told by any cursor of this table, in this process or an earlier one. 0. */
PINFOLD_API int pinfold_cursor_seek(struct pinfold_cursor *cursor, uint64_t position);
/** NULL is allowed. */
PINFOLD_API void pinfold_cursor_close(struct pinfold_cursor *cursor);

struct pinfold_table_stats {
	uint64_t record_count, key_bytes, value_bytes;
	uint64_t bucket_count, overflow_count;
	uint64_t extent_bytes; /* held by the table */
	uint64_t import_unfinished; /* 1: it is being filled by a bulk import, and reads as empty until that ends */
};
/**
 * Counts and sizes of the table. Any thread. Fails only where the store is open read-only, and the table is looked up
 * anew: -ESTALE (its writer dropped it), -EIO, -EUCLEAN, -ENOMEM.
 */
PINFOLD_API int pinfold_table_stat(struct pinfold_table *table, struct pinfold_table_stats *ret_stats);
/**
 * Calls @fn with the name of each table (user tables only; valid during the call) until it returns non-zero, which is
 * returned. Tables that come or go meanwhile may be seen or not; @fn may open and drop tables. Any thread. -EUCLEAN:
 * the directory is damaged, and what is behind is not told; -EIO.
 */
PINFOLD_API int pinfold_table_foreach(struct pinfold *pf, int (*fn)(void *ctx, const char *name), void *ctx);
/**
 * Drops table @name and frees its extents, and waits as the store's sync mode says. Any thread. -ENOENT; -EBUSY while
 * it is open in this process; -EINVAL: the name; -EPERM: the store's own; -EUCLEAN: damage in the directory or in what
 * is read of the table; -EROFS, -ENOSPC, -ENOMEM, -EIO.
 */
PINFOLD_API int pinfold_table_drop(struct pinfold *pf, const char *name);

#ifdef __cplusplus
}
#endif
#endif
