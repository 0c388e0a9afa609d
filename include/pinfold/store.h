/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pinfold/store.h - open and close, extents, transactions, durability.
 */
#ifndef PINFOLD_STORE_H
#define PINFOLD_STORE_H

#include <pinfold/config.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- life of a store ---- */

/**
 * Opens the store in directory @dir.
 *
 * @config may be NULL for all defaults. Recovery, if the store was not closed
 * cleanly, happens here; its cost is that of reading the journal.
 *
 * Returns 0; -EBUSY if another process holds it for writing; -ENOENT if there
 * is none (and no CREATE); -EEXIST; -EUCLEAN if it is damaged, or unclean and
 * opened read-only with no writer alive; -EINVAL for a bad configuration;
 * -ENOTSUP in a process forked inside an epoch, without fork handlers, or beside
 * threads registered with liburcu-memb by the program itself, until it runs another
 * program; -EPERM, -ENOSPC, -ENOMEM, -EIO. If @ret_error is not NULL it receives the
 * words, at most @error_size bytes.
 */
PINFOLD_API int pinfold_open(const char *dir, const struct pinfold_config *config,
			     char *ret_error, size_t error_size, struct pinfold **ret_pf);

/**
 * Checkpoints, closes and frees @pf; NULL is allowed. No other call on @pf may
 * run or follow. Returns the error of the last flush, if any: then what was
 * not yet durable is not on disk (the handle is freed all the same).
 */
PINFOLD_API int pinfold_close(struct pinfold *pf);

/** Words for the calling thread's last failure, whichever handle it was on. Valid until its next call. Any thread. */
PINFOLD_API const char *pinfold_errmsg(struct pinfold *pf);

/** Version of the library, such as "0.1.0". Static. Any thread. */
PINFOLD_API const char *pinfold_version(void);

/* ---- extents ---- */

/**
 * Allocates an extent of at least @size bytes (rounded up to a power of two,
 * 2 MiB .. 1 GiB; 0 = the store's default). Its content is zero. It is *not
 * published*: a crash or a close without pinfold_txn_publish() frees it.
 * Any thread. -ENOSPC or -EDQUOT if max_mapped_size or the disk is exhausted, also once what was dropped and a
 * checkpoint, which is made then, could free is used again; -EDEADLK if that waits for an epoch of this thread;
 * -EINVAL for a size that no data file of this store has room for.
 */
PINFOLD_API int pinfold_extent_alloc(struct pinfold *pf, uint64_t size, uint32_t flags,
				     struct pinfold_extent *ret_extent);

/**
 * Gives back an extent that was not published, such as after a load that failed. Readers inside an epoch keep their
 * pointers; the space is used again later. Any thread. -EPERM: it is published (pinfold_txn_drop()); -ESTALE: it is
 * gone already; -ENOMEM.
 */
PINFOLD_API int pinfold_extent_free(struct pinfold *pf, const struct pinfold_extent *extent);

/**
 * Writes @size bytes to @offset (of any alignment) of an extent that is not yet
 * published, past the journal (bulk load). @data is copied and stays the
 * caller's. The call does not wait for the device, except for room: what it
 * took is written behind it, past the page cache where the filesystem can, and
 * is durable after pinfold_bulk_flush(). Calls one behind another, in whichever
 * sizes, are gathered; where two overlap the later one wins. So does the later
 * of a bulk write and a transaction that writes to the extent, by the order of
 * this call and the commit: the first bulk write after such a transaction waits
 * until that is durable and makes a checkpoint, which takes as long as one, and
 * a commit waits for bulk writes to what it writes to. Reading,
 * pinfold_extent_ptr() included, waits for what was written before; a pointer
 * from before shows it only after a flush. Any thread.
 *
 * -EPERM if it is published; -ERANGE beyond its end; -ENOMEM; -EROFS; -EIO of
 * that checkpoint; or the error of an earlier write to @extent: that is not tried again, and is the
 * answer to all writes to the extent, to its flush and its publication; pinfold_extent_free() gives it back.
 */
PINFOLD_API int pinfold_bulk_write(struct pinfold *pf, const struct pinfold_extent *extent,
				   uint64_t offset, const void *data, size_t size);

/**
 * Makes all bulk writes to the @count @extents durable; publish them
 * afterwards. The error of the first write that failed, if one did: then
 * nothing was flushed. A flush that fails makes the store read-only (-EIO, then -EROFS). Any thread.
 */
PINFOLD_API int pinfold_bulk_flush(struct pinfold *pf, const struct pinfold_extent *extents, size_t count);

/** Calls @fn for each allocated extent in (file, offset) order until it returns non-zero, which is returned. Any
 * thread. */
typedef int (*pinfold_extent_fn)(void *ctx, const struct pinfold_extent *extent, bool published);
PINFOLD_API int pinfold_extent_foreach(struct pinfold *pf, pinfold_extent_fn fn, void *ctx);

/* ---- transactions ---- */

/** A transaction: a set of changes that happens as a whole or not at all. One thread at a time. */
struct pinfold_txn;

/** Starts a transaction. Freed by commit or abort. Any thread. -EROFS, -ENOMEM. */
PINFOLD_API int pinfold_txn_begin(struct pinfold *pf, struct pinfold_txn **ret_txn);

/**
 * Adds "these bytes at this place": @size bytes of @data (copied) at byte @offset of @extent. Ranges may overlap: the
 * later one wins. Nothing is seen of it before the commit, not even by this thread. -ERANGE past the extent's end;
 * -ESTALE; -E2BIG: more than a transaction can hold; -ENOMEM. The transaction can go on after any of them.
 */
PINFOLD_API int pinfold_txn_write(struct pinfold_txn *txn, const struct pinfold_extent *extent,
				  uint64_t offset, const void *data, size_t size);
/** Makes an allocated extent part of the store. -ESTALE. */
PINFOLD_API int pinfold_txn_publish(struct pinfold_txn *txn, const struct pinfold_extent *extent);
/**
 * Drops a published extent: once committed it cannot be found or referred to. Readers inside
 * an epoch keep their pointers; the space is used again after they have left
 * and a checkpoint has passed.
 */
PINFOLD_API int pinfold_txn_drop(struct pinfold_txn *txn, const struct pinfold_extent *extent);

/**
 * Commits and frees @txn, and waits as the store's sync mode says. Concurrent
 * commits share one journal write and one flush. On failure nothing of it
 * happened: -ENOSPC (the store stays usable), -EROFS (the store is poisoned by
 * an earlier I/O error; pinfold_errmsg() says which). After -EIO (the journal's own
 * write or flush failed) no reader sees it, but its bytes may have reached the disk:
 * it is either whole or not at all there when the store is opened again.
 */
PINFOLD_API int pinfold_txn_commit(struct pinfold_txn *txn);

/** Frees @txn without effect. NULL is allowed. */
PINFOLD_API void pinfold_txn_abort(struct pinfold_txn *txn);

/** Names a commit; tickets of one store grow in commit order. */
typedef uint64_t pinfold_ticket;

/**
 * Commits and frees @txn without waiting, whatever the sync mode. Readers see
 * it through pinfold_read_at() and the tables at once; zero-copy pointers show
 * it when it is durable.
 */
PINFOLD_API int pinfold_txn_commit_async(struct pinfold_txn *txn, pinfold_ticket *ret_ticket);

/** 1 if durable, 0 if not yet, or the negative errno that it failed with. Any thread. */
PINFOLD_API int pinfold_ticket_poll(struct pinfold *pf, pinfold_ticket ticket);
/** Waits until @ticket is durable; @timeout_ms < 0 waits for ever. -ETIMEDOUT. */
PINFOLD_API int pinfold_ticket_wait(struct pinfold *pf, pinfold_ticket ticket, int timeout_ms);
/** An eventfd that becomes readable when durability advances: read it, then poll tickets. Owned by @pf; -errno. */
PINFOLD_API int pinfold_ticket_fd(struct pinfold *pf);

/* ---- durability ---- */

/** Makes every commit so far durable (whatever the sync mode). Any thread. -EIO, -EROFS. */
PINFOLD_API int pinfold_sync(struct pinfold *pf);
/** Makes the data files durable and recycles the journal. Any thread; others go on. -EIO, -EROFS. */
PINFOLD_API int pinfold_checkpoint(struct pinfold *pf);

/** One finding of pinfold_verify(). @path is relative to the store; -1 where there is no offset. */
struct pinfold_problem {
	const char *path;
	int64_t offset;
	const char *what;
};
typedef void (*pinfold_problem_fn)(void *ctx, const struct pinfold_problem *problem);
typedef void (*pinfold_progress_fn)(void *ctx, uint64_t done_bytes, uint64_t total_bytes);
/**
 * Checks every checksum and structure, reading all of it. 0 if sound, else -EUCLEAN after reporting each problem
 * (@problem and @progress may be NULL; they are called from this thread). Beside readers and writers; writers of a
 * table wait while it is looked at. Any thread.
 */
PINFOLD_API int pinfold_verify(struct pinfold *pf, pinfold_problem_fn problem, pinfold_progress_fn progress, void *ctx);

/** What the store is and does. */
struct pinfold_store_stats {
	uint8_t uuid[16];
	uint64_t file_size, file_count, extent_size;
	uint64_t allocated_bytes, published_bytes, extent_count;
	uint64_t commit_count, commit_bytes, flush_count; /* since open */
	uint64_t lsn_ordered, lsn_durable, lsn_applied, lsn_checkpoint;
	uint64_t journal_size, journal_used;
	uint64_t recovered_txns, recovered_bytes; /* by this open */
	bool io_uring, poisoned, read_only;
	char io_mode[64];     /* how the journal is written: "io_uring, interrupt", "pwrite", ...; "" if it is not */
	char io_refused[160]; /* what was asked for and is done without, and why; "" if nothing */
	bool sealed, guarded;      /* as config.seal and config.protection_keys ask, if the host can */
	char protect_refused[160]; /* as io_refused */
	char poison_reason[120];
};
/** Any thread. -EIO: the granule tables, which a read-only store counts its extents in, cannot be read. */
PINFOLD_API int pinfold_store_stat(struct pinfold *pf, struct pinfold_store_stats *ret_stats);

#ifdef __cplusplus
}
#endif
#endif
