/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * store.h - what the store offers the rooms that wire it (engine, tools through
 * the engine) and its own upper floor (tables, catalog).
 *
 * The public pinfold_* calls of store.h, table.h and catalog.h are thin: the
 * engine validates, forwards to these with the same semantics, and records the
 * error text. pf_store functions return 0/-errno and set the calling thread's
 * text with pf_error_set() (base/error.h).
 */
#ifndef PF_STORE_H
#define PF_STORE_H

#include <pinfold/read.h>
#include <pinfold/store.h>
#include <stdatomic.h>

#include "base/ring.h"

struct pf_store;

/* ---- life ---- */

/** As pinfold_open(), store only. @config was completed by pf_config_complete(). */
int pf_store_open(const char *dir, const struct pinfold_config *config, struct pf_store **ret_store);
/**
 * Maps the first @size bytes of a data file, of which @fd is a read descriptor, read-only and shared at @addr, in place
 * of what is there. -errno: it did not, and the store does it itself. Called for one file at a time, by any thread.
 */
struct pf_store_mapper {
	int (*map)(void *ctx, uint32_t file_id, int fd, void *addr, uint64_t size);
	void *ctx;
};
/** As pf_store_open(), with data files mapped by @mapper (copied; its ctx outlives the store). */
int pf_store_open_mapped(const char *dir, const struct pinfold_config *config, const struct pf_store_mapper *mapper,
			 struct pf_store **ret_store);
int pf_store_close(struct pf_store *store);
int pf_store_stat(struct pf_store *store, struct pinfold_store_stats *ret_stats);
/** Fills defaults and checks ranges; -EINVAL names the field. */
int pf_config_complete(const struct pinfold_config *config, struct pinfold_config *ret_config);
/** The ring that a complete @config asks for. */
void pf_config_ring(const struct pinfold_config *config, struct pf_ring_options *ret_wish);

/**
 * Text stored in the lock file after "pid starttime " so that others find this process's
 * live board: set by the engine once (at most 64 bytes, no newline).
 */
int pf_store_lock_note(struct pf_store *store, const char *note);
/** Reads the lock file of @dir: who holds it. -ENOENT: nobody alive does. */
int pf_store_lock_holder(const char *dir, pid_t *ret_pid, char *ret_note, size_t note_size);

/* ---- geometry: where data is mapped ---- */

/**
 * All data files are mapped read-only in one arena: file f at base + f * file_size.
 * base is aligned to 1 GiB, chosen by the kernel, and stays for the life of the store;
 * arena bytes beyond the last file are PROT_NONE.
 */
const void *pf_store_base(const struct pf_store *store);
uint64_t pf_store_file_size(const struct pf_store *store);
uint64_t pf_store_arena_size(const struct pf_store *store);
uint32_t pf_store_file_count(const struct pf_store *store); /* any thread; grows */
int pf_store_file_fd(const struct pf_store *store, uint32_t file_id); /* read fd, owned by the store */
const char *pf_store_dir(const struct pf_store *store);
/**
 * Takes bytes [offset, offset+size) of @file_id out of the mapping that commits are applied through, so that the kernel
 * can drop their pages. What is applied there next maps its page again. Any thread.
 */
void pf_store_unmap_writer(const struct pf_store *store, uint32_t file_id, uint64_t offset, uint64_t size);

/** Bumped at every alloc, publish, drop and new file: cheap "did the layout change?". */
uint64_t pf_store_layout_version(const struct pf_store *store);

/**
 * The root extent: 2 MiB, allocated and published when the store is created, all
 * zero then. Its content belongs to the upper floor (table directory).
 */
void pf_store_root(const struct pf_store *store, struct pinfold_extent *ret_extent);

/** State of a granule (2 MiB unit) for whoever draws or watches slices. */
enum pf_granule_state {
	PF_GRANULE_FREE,
	PF_GRANULE_META,
	PF_GRANULE_UNPUBLISHED,
	PF_GRANULE_PUBLISHED,
	PF_GRANULE_QUARANTINE,
	PF_GRANULE_UNREADABLE /* of a read-only store: an I/O error in the table */
};
/** The extent that holds @offset of @file_id, if any. -ENOENT if free; -EIO. Any thread. */
int pf_store_extent_at(struct pf_store *store, uint32_t file_id, uint64_t offset, struct pinfold_extent *ret_extent,
		       enum pf_granule_state *ret_state);

/* ---- extents (semantics of pinfold/store.h) ---- */

int pf_extent_alloc(struct pf_store *store, uint64_t size, uint32_t flags, struct pinfold_extent *ret_extent);
/** Gives back an unpublished extent. */
int pf_extent_free(struct pf_store *store, const struct pinfold_extent *extent);
/** 0 if @extent refers to what is allocated there now, else -ESTALE, -EINVAL or, in a read-only store, -EIO. A few
 * nanoseconds; any thread. */
int pf_extent_check(const struct pf_store *store, const struct pinfold_extent *extent);
/** As pf_extent_check(), and what was bulk-written to it can be read. May wait for the device. */
int pf_extent_readable(struct pf_store *store, const struct pinfold_extent *extent);
/** Makes durable that the unpublished @extent was zero when it was allocated: its publication will not wait for it. */
int pf_extent_sync_zeroed(struct pf_store *store, const struct pinfold_extent *extent);
int pf_extent_foreach(struct pf_store *store, pinfold_extent_fn fn, void *ctx);
int pf_bulk_write(struct pf_store *store, const struct pinfold_extent *extent, uint64_t offset, const void *data,
		  size_t size);
/** @buf is not looked at any more; @r is 0, or the error, whose text is the calling thread's. Any thread; no lock. */
typedef void (*pf_bulk_done_fn)(void *ctx, void *buf, int r);
/**
 * As pf_bulk_write(), of bytes that are not copied: @buf is the store's until @done says otherwise. On failure it is
 * the caller's and @done is not called. Buffer, offset and size in whole blocks go past the page cache.
 */
int pf_bulk_hand_over(struct pf_store *store, const struct pinfold_extent *extent, uint64_t offset, void *buf,
		      size_t size, pf_bulk_done_fn done, void *ctx);
#define PF_BULK_BLOCK 65536u
/**
 * CRC32C of each block of PF_BULK_BLOCK bytes of the unpublished @extent, as far as they follow from what was written:
 * @ret_known says which do. Waits for what is being written.
 */
int pf_bulk_sums(struct pf_store *store, const struct pinfold_extent *extent, uint32_t *ret_crcs, bool *ret_known);
int pf_bulk_flush(struct pf_store *store, const struct pinfold_extent *extents, size_t count);

static inline const void *pf_extent_addr(const void *base, uint64_t file_size, const struct pinfold_extent *extent)
{
	return (const char *)base + (uint64_t)extent->file_id * file_size + extent->offset;
}

/* ---- transactions ---- */

struct pf_txn;
int pf_txn_begin(struct pf_store *store, struct pf_txn **ret_txn);
struct pf_store *pf_txn_store(const struct pf_txn *txn);
int pf_txn_write(struct pf_txn *txn, const struct pinfold_extent *extent, uint64_t offset, const void *data,
		 size_t size);
int pf_txn_publish(struct pf_txn *txn, const struct pinfold_extent *extent);
int pf_txn_drop(struct pf_txn *txn, const struct pinfold_extent *extent);
/**
 * Orders @txn in the journal and frees it. From here on pf_read_at() shows it.
 * *ret_ticket is its LSN. The call itself never waits for the device, except
 * when the journal is full (it waits for the checkpoint that makes room).
 */
int pf_txn_submit(struct pf_txn *txn, pinfold_ticket *ret_ticket);
/** As pf_txn_submit(), but @txn stays the caller's, for pf_txn_renew() or pf_txn_abort(); on failure too. */
int pf_txn_submit_kept(struct pf_txn *txn, pinfold_ticket *ret_ticket);
/** Async mode: waits a little, the more the fuller log and journal are. After a commit, without any lock. */
void pf_txn_pace(struct pf_store *store);
/** As pf_txn_begin(), but uses *txn again, if there is one. On failure *txn stays what it is, or is NULL. */
int pf_txn_renew(struct pf_store *store, struct pf_txn **txn);
/** pf_txn_submit() plus the wait that the store's sync mode asks for. */
int pf_txn_commit(struct pf_txn *txn);
void pf_txn_abort(struct pf_txn *txn);
/** Waits for a ticket as the store's sync mode says (sync: until durable and applied; else not at all). */
int pf_ticket_settle(struct pf_store *store, pinfold_ticket ticket);
int pf_ticket_poll(struct pf_store *store, pinfold_ticket ticket);
int pf_ticket_wait(struct pf_store *store, pinfold_ticket ticket, int timeout_ms);
int pf_ticket_fd(struct pf_store *store);
int pf_store_sync(struct pf_store *store);
int pf_store_checkpoint(struct pf_store *store);
int pf_store_verify(struct pf_store *store, pinfold_problem_fn problem, pinfold_progress_fn progress, void *ctx);

/* ---- reading ---- */

/**
 * An epoch (liburcu memb read side; the thread is registered on first use). Nests.
 */
void pf_epoch_enter(void);
void pf_epoch_leave(void);
/** Runs @fn(ctx) when every epoch that is open now has been left; not in a forked child. Any thread; does not wait. */
int pf_epoch_defer(void (*fn)(void *ctx), void *ctx);

/**
 * Copies the committed bytes (mapping, plus commits that are not yet applied),
 * consistently within @size <= 64 KiB or page by page beyond. Survives SIGBUS: -EIO.
 */
int pf_read_at(struct pf_store *store, const struct pinfold_extent *extent, uint64_t offset, void *ret_data,
	       size_t size);

/**
 * For readers that load from the mapping in place: a change of any byte of page
 * (addr >> 12) happens between two values of its sequence. begin() returns it: if it is
 * odd somebody applies to the page, maybe for long. retry() says whether to start over:
 * it has moved, or was odd.
 * pending() says whether committed bytes of the page are not in the mapping yet:
 * then, and if the sequence is odd, use pf_read_at(), which waits for nobody.
 */
struct pf_page_state {
	_Atomic uint32_t seq;   /* odd while being applied to */
	_Atomic uint32_t group; /* of commits that changed such a page last; counts modulo 2^32 */
};
#define PF_PAGE_STATES 65536u /* pages share them, by a hash */
struct pf_pages {
	_Alignas(64) _Atomic uint32_t applied; /* groups up to this one are in the mapping */
	_Atomic uint32_t newest;               /* the group of the newest commit that changes any page */
	_Alignas(64) struct pf_page_state state[PF_PAGE_STATES];
};

/** The states, for the life of the store: what the three calls below look at. */
const struct pf_pages *pf_store_pages(const struct pf_store *store);
/** The state of the page of arena byte @at. */
static inline const struct pf_page_state *pf_page_state(const struct pf_pages *pages, uint64_t at)
{
	return &pages->state[(at >> 12 ^ at >> 28) & (PF_PAGE_STATES - 1)];
}
/** Whether something of @state's pages is committed and not in the mapping. (2^31 groups later it says so once more.)
 */
static inline bool pf_state_pending(const struct pf_pages *pages, const struct pf_page_state *state)
{
	return (int32_t)(atomic_load_explicit(&state->group, memory_order_acquire) -
			 atomic_load_explicit(&pages->applied, memory_order_acquire)) > 0;
}

/**
 * For readers of a few lines: all pages at once. still() says whether every commit is in the mapping; what is then
 * loaded from it is the state of one moment, and nothing that it led to has been freed and used again, if stayed()
 * says so afterwards. Both look at one cache line, which is written twice per group of commits. Not for what another
 * process writes.
 */
static inline bool pf_pages_still(const struct pf_pages *pages, uint32_t *ret_newest)
{
	uint32_t newest = atomic_load_explicit(&pages->newest, memory_order_acquire);

	*ret_newest = newest;
	return (int32_t)(atomic_load_explicit(&pages->applied, memory_order_acquire) - newest) >= 0;
}
static inline __attribute__((always_inline)) bool pf_pages_stayed(const struct pf_pages *pages, uint32_t newest)
{
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&pages->newest, memory_order_relaxed) == newest;
}

uint32_t pf_seq_begin(const struct pf_store *store, const void *addr);
bool pf_seq_retry(const struct pf_store *store, const void *addr, uint32_t seq);
bool pf_page_pending(const struct pf_store *store, const void *addr);

#endif
