/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * internal.h - the store's own structures, for user/store/ only.
 *
 * LOCKS, in the order in which they nest
 *   ckpt_lock    one checkpoint at a time; held across fdatasync
 *   grow_lock    one file creation at a time
 *   super_lock   the superblock image and its two copies
 *   flush_lock   read: a flush of a data file is under way, or its failure not known to all; write: none is
 *   lock         the commit order: pending list, LSNs, journal positions, poison
 *   alloc_lock   buddies, cells being changed, quarantine
 *   bulk->lock   what is being loaded
 * A bucket's spinlock nests inside any of them. None of lock, alloc_lock, bulk->lock and the
 * spinlocks is ever held across a system call that may wait for the device.
 *
 * THREADS: committers flush for each other (whoever comes first leads, see
 * flush.c); the flusher leads when nobody waits; the checkpointer checkpoints.
 */
#ifndef PF_STORE_INTERNAL_H
#define PF_STORE_INTERNAL_H

#include "store/buddy.h"
#include "store/bulk.h"
#include "store/format.h"
#include "store/io.h"
#include "store/space.h"
#include "store/store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <urcu.h>

/** What a checkpoint flushes at once; data files consist of whole ones. */
#define PF_FLUSH_SHIFT 24
#define PF_FLUSH_SIZE (1ull << PF_FLUSH_SHIFT)
#define PF_PENDING_MIN (1ull << 20)
#define PF_PENDING_MAX (16ull << 20)
/** A commit's flush in async mode waits for more to come, up to this many bytes. */
#define PF_ASYNC_BATCH (1ull << 20)
/** Most ranges of one transaction. */
#define PF_TXN_RANGES_MAX (1u << 20)

/* ---- cells: the allocation state of a granule, in memory ---- */

/** state | order << 8 | flags << 16 | gen << 32; of the granule an extent starts at. Inner granules keep FREE and their
 * own gen. */
static inline uint64_t pf_cell_make(enum pf_granule_state state, uint32_t order, uint32_t flags, uint32_t gen)
{
	return (uint64_t)state | (uint64_t)order << 8 | (uint64_t)(flags & 0xffff) << 16 | (uint64_t)gen << 32;
}
static inline enum pf_granule_state pf_cell_state(uint64_t cell)
{
	return (enum pf_granule_state)(cell & 0xff);
}
static inline uint32_t pf_cell_order(uint64_t cell)
{
	return (uint32_t)(cell >> 8) & 0xff;
}
static inline uint32_t pf_cell_flags(uint64_t cell)
{
	return (uint32_t)(cell >> 16) & 0xffff;
}
static inline uint32_t pf_cell_gen(uint64_t cell)
{
	return (uint32_t)(cell >> 32);
}

struct pf_file {
	uint32_t id;
	int fd;      /* read-write; -1 in a read-only store */
	int read_fd;
	_Atomic int direct_fd; /* for bulk writes past the page cache: -1 not opened yet, -2 the filesystem has none */
	char name[16];
	_Atomic uint64_t zeroed;      /* counts zeroings of ranges; 1: those of before the file was opened ... */
	_Atomic uint64_t zeroed_sync; /* ... and which of them are durable */
	_Atomic uint64_t
		*zeroed_at; /* by granule: the last zeroing that covered it; 0: one that need not be waited for */
	_Atomic uint64_t
		*txn_lsn; /* by granule: end of the last transaction that wrote to the unpublished extent there */
	uint8_t *ready; /* by granule: whether it is free, zero, and has blocks; alloc_lock */
	uint32_t meta_granules;
	_Atomic uint64_t *cells;      /* one per granule; changed under alloc_lock, read by anyone */
	struct pf_buddy buddy;        /* alloc_lock */
};

/* ---- the log: what is ordered, in memory (log.c) ---- */

/**
 * A part of one page that a transaction changes; bytes in the log. Written under lock, read by anyone; its place is
 * used again once it is applied, which a reader learns from the page's sequence.
 */
struct pf_node {
	_Atomic uint64_t lsn;  /* end of its transaction */
	_Atomic uint64_t at;   /* its first byte in the arena */
	_Atomic uint64_t data; /* and in the log, and how many: pf_node_data(), pf_node_size() */
	_Atomic uint32_t next; /* the one before it in its bucket; its lsn tells whether it still is */
	_Atomic uint32_t other; /* as next, the first that is of another page */
};

/* Parts of pages are small. */
#define PF_NODE_SIZE_BITS 16
static inline uint64_t pf_node_data(uint64_t data)
{
	return data >> PF_NODE_SIZE_BITS;
}
static inline uint32_t pf_node_size(uint64_t data)
{
	return data & ((1u << PF_NODE_SIZE_BITS) - 1);
}

/**
 * Pages with equal hash: the newest of their nodes. What readers look at first is in struct pf_page_state: the
 * sequence, which the one applier writes, and the group of that node.
 */
struct pf_bucket {
	_Atomic uint64_t lsn;  /* of the newest node; beyond applied_lsn: something is pending. lock */
	_Atomic uint32_t node; /* lock */
};

/** What one write and flush makes durable. lock; between take and written its bytes are the leader's. */
struct pf_group {
	uint64_t start;     /* of its header in the log's memory; whole blocks */
	uint64_t bytes;     /* of records behind the header */
	uint64_t end_lsn;
	uint64_t pos, number;
	uint64_t node_begin, node_end; /* of its nodes, as node_head counts */
	uint64_t room;      /* that it may take of that memory; none of a large one */
	uint32_t txn_count, large_nodes;
	bool large;         /* one transaction, in the large area */
};

#define PF_GROUPS 64u
#define PF_NODE_NONE UINT32_MAX
#define PF_RING_NODES (1u << 18)
/** Transactions beyond this many bytes or nodes take the large area. */
#define PF_SMALL_BYTES (1u << 20)
#define PF_SMALL_NODES (1u << 13)

struct pf_log {
	uint8_t *data;                 /* of the groups, then the large area */
	struct pf_node *nodes;         /* PF_RING_NODES, then the large area's */
	uint64_t groups_size, large_size, large_ready, large_nodes, large_nodes_ready;
	uint64_t node_head, node_tail; /* endless counts: taken, and applied */
	struct pf_group group[PF_GROUPS];
	uint64_t opened, sealed, written, applied; /* endless counts of groups */
	uint64_t pending_bytes;        /* ordered, not taken by a leader */
	_Atomic uint32_t pending_txns; /* changed under lock */
	_Atomic uint32_t pace_us;      /* what async committers wait, each after its own; changed under lock */
	bool large_busy;               /* somebody has the large area, until what is in it is applied */
	uint64_t large_lsn;            /* end of that; 0: not ordered yet */
};

/* ---- transactions ---- */

enum pf_ref_kind { PF_REF_WRITE, PF_REF_PUBLISH, PF_REF_DROP };

struct pf_ref {
	struct pinfold_extent extent;
	enum pf_ref_kind kind;
	bool fresh; /* it was not published when it was written to */
};

/** A part of a page that a transaction changes: place in the arena, and in its record. */
struct pf_part {
	uint64_t at, data;
	uint32_t size;
};

#define PF_TXN_INLINE_BYTES 512
#define PF_TXN_INLINE_REFS 4
#define PF_TXN_INLINE_PARTS 8

struct pf_txn {
	struct pf_store *store;
	uint8_t *record; /* header and ranges, as in the journal */
	uint64_t length, capacity;
	struct pf_ref *refs;
	uint32_t ref_count, ref_capacity;
	uint32_t range_count;
	bool large; /* has the large area */
	bool fresh; /* of some ref */
	struct pf_part *parts;
	uint64_t part_count, part_capacity;
	struct pf_ref refs_inline[PF_TXN_INLINE_REFS];
	struct pf_part parts_inline[PF_TXN_INLINE_PARTS];
	_Alignas(8) uint8_t record_inline[PF_TXN_INLINE_BYTES];
};

/** A dropped or freed extent on its way to being free again. */
struct pf_quarantine {
	struct pf_quarantine *next;
	struct pf_store *store;
	struct rcu_head rcu;
	uint32_t file_id, granule, order;
	uint64_t lsn;           /* reusable after a checkpoint at or beyond it ... */
	_Atomic bool grace;     /* ... and when every reader of before has left */
};

struct pf_segment {
	int fd;
	bool direct; /* opened with O_DIRECT */
};

/* What of a position in the journal is known to recovery and checkpoint. */
struct pf_log_point {
	uint64_t lsn, pos, number;
};

struct pf_store {
	/* fixed while open */
	char *dir;
	int dirfd, journal_dirfd, super_fd, lock_fd;
	pid_t lock_pid; /* that took the lock: a forked child has the descriptor too */
	bool read_only;
	struct pinfold_config config;
	struct pf_store_mapper mapper; /* .map NULL: files are mapped by the store */
	uint64_t file_size, arena_size, extent_size;
	uint32_t file_max, granules_per_file;
	uint8_t *base, *rw_base;
	void *arena[2];
	uint64_t arena_span[2];
	bool seal;             /* data mappings are sealed as files are mapped: grow_lock, as the next two */
	uint64_t sealed_size;  /* from base on */
	char protect_refused[160];
	int window_key;        /* protection key of the window; -1: none */
	struct pinfold_extent root;
	struct pf_bucket *buckets;
	struct pf_pages *pages;
	uint64_t pending_max; /* bytes ordered and not yet written, beyond which committers wait */

	struct pf_file **files;
	_Atomic uint32_t file_count;
	_Atomic uint64_t layout_version;
	_Atomic uint8_t *changed; /* by PF_FLUSH_SIZE of the arena: applied to since the last checkpoint came by */

	/* superblock: super_lock */
	pthread_mutex_t super_lock, ckpt_lock, grow_lock;
	pthread_rwlock_t flush_lock;
	struct pf_super_disk super; /* last written, or being written */
	bool super_damaged;         /* when opened: one of the copies */
	struct pf_super_disk *super_copy; /* what is written */

	/* journal geometry, fixed while open */
	struct pf_segment *segments;
	uint64_t segment_data; /* bytes of a segment that positions run through */
	uint64_t capacity;     /* of the ring, bytes */
	struct pf_io_ring *ring;
	char io_refused[160];  /* of io_uring and its modes: what was done without, and why */
	struct pf_bulk *bulk;  /* what is being loaded; NULL in a read-only store */

	/* commit order: lock */
	pthread_mutex_t lock;
	pthread_cond_t flusher_wake, checkpointer_wake;
	struct pf_log log;          /* ordered, not applied */
	bool flushing, applying, stuck, stop, checkpoint_wanted, threads_running;
	bool flusher_sleeps;        /* until it is woken */
	uint64_t oldest_ns;         /* when the first of pending was ordered */
	uint64_t flush_ns;          /* how long a flush takes, on the whole */
	bool in_person;             /* the leader waits for write and flush itself */
	uint32_t processors;        /* fixed while open */
	uint32_t in_flight;         /* transactions of the last group, and behind it when it was durable */
	_Atomic uint32_t spinners;  /* waiters that spin */
	uint64_t head_pos, next_group, next_txn_id, start_pos;
	struct pf_log_point applied_point; /* end of the last applied group */
	uint64_t group_max;                /* what the superblock admits as a group's size; the leader raises it */
	_Atomic uint64_t ordered_lsn;
	_Atomic uint64_t visible_lsn; /* what readers see: ordered_lsn, until a failure takes the end away */
	char poison_reason[120];
	uint64_t commit_count, commit_bytes, flush_count;
	uint64_t recovered_txns, recovered_bytes;
	_Atomic uint32_t settle_word, settle_waiters; /* futex: moves when an LSN does; who sleeps on it */
	_Atomic int event_fd;
	pthread_t flusher, checkpointer;

	pthread_mutex_t alloc_lock;
	struct pf_quarantine *quarantine; /* alloc_lock */
	unsigned ahead_count; /* alloc_lock: allocations that hold more than they need, for as long as ... */
	pthread_cond_t ahead_less;        /* ... its blocks are being got */
	uint64_t allocated_bytes, published_bytes, extent_count; /* alloc_lock */

	/* read by every reader, changed once per group: a cache line of their own. lock */
	_Alignas(64) _Atomic uint64_t applied_lsn;
	_Atomic uint64_t durable_lsn, checkpoint_lsn;
	_Atomic bool poisoned;
};

/* ---- lock.c ---- */
int pf_lock_acquire(struct pf_store *store);
/** Closes the lock's descriptor, and unlocks if this process is the one that locked. Nothing if there is none. */
void pf_lock_release(struct pf_store *store);
/** Whether a live writer holds the lock of the directory @dirfd. 1, 0 or -errno. */
int pf_lock_held(int dirfd);

/* ---- create.c ---- */
/** Makes a new store in the locked, open directory; afterwards it is as one that was closed cleanly. */
int pf_store_create(struct pf_store *store);
/** Replaces the (empty) journal by one of @journal_size bytes. */
int pf_store_resize_journal(struct pf_store *store, uint64_t journal_size);
/** Whether the directory holds remains of a data store without a superblock. */
int pf_store_check_empty(struct pf_store *store);

/* ---- datafile.c ---- */
/** Opens all data files that exist; at least @expected must. */
int pf_files_open(struct pf_store *store, uint32_t expected);
/** What is applied from now on comes in no order. */
void pf_files_replayed(struct pf_store *store);
/** Creates, maps and adds the next data file. grow_lock taken inside. -ENOSPC at max_mapped_size. */
int pf_file_add(struct pf_store *store, uint32_t seen_count);
/** Writes a new file @file_id into the directory under its final name. @root: with the root extent published in it. */
int pf_file_create(struct pf_store *store, uint32_t file_id, bool root);
int pf_arena_reserve(struct pf_store *store);
void pf_files_close(struct pf_store *store);
/** Looks for files that a live writer added since. Read-only stores. */
void pf_files_refresh(struct pf_store *store);
/** Reads the granule table of @file into cells and buddy. */
int pf_file_load(struct pf_store *store, struct pf_file *file);
uint32_t pf_meta_granules(uint64_t file_size);
/** Size and header of an open data file. */
int pf_file_check(struct pf_store *store, struct pf_file *file);
uint64_t pf_table_end(const struct pf_store *store);

static inline struct pf_file *pf_file_get(const struct pf_store *store, uint32_t file_id)
{
	return file_id < atomic_load_explicit(&store->file_count, memory_order_acquire) ? store->files[file_id] : NULL;
}

/* ---- extent.c ---- */
/** The cell of @granule, from memory or, in a read-only store, from the mapped table. */
uint64_t pf_cell_load(const struct pf_store *store, const struct pf_file *file, uint32_t granule);
void pf_entry_make(struct pf_granule_entry *ret_entry, uint32_t file_id, uint32_t granule, uint8_t state,
		   uint32_t order, uint32_t flags, uint32_t gen);
/** NULL if sound, else what is wrong with it. Pure. */
const char *pf_entry_check(const struct pf_granule_entry *entry, uint32_t file_id, uint32_t granule,
			   uint32_t granule_count);
/** In-memory effect of an ordered publish or drop. lock held. */
void pf_extent_published(struct pf_store *store, const struct pinfold_extent *extent);
void pf_extent_dropped(struct pf_store *store, const struct pinfold_extent *extent, struct pf_quarantine *item,
		       uint64_t lsn);
/** Frees quarantined extents that a checkpoint at @lsn and their grace period have passed. */
void pf_quarantine_release(struct pf_store *store, uint64_t lsn);

/* ---- log.c. lock held unless said otherwise ---- */
enum pf_room { PF_ROOM_THERE, PF_ROOM_FLUSH, PF_ROOM_APPLY, PF_ROOM_CHECKPOINT };

int pf_log_init(struct pf_store *store);
void pf_log_done(struct pf_store *store);
/**
 * Has the groups' memory there before it is needed: a large page takes milliseconds to make on some machines, and who
 * came to it first would wait for it. Until the store is being closed. lock not held.
 */
void pf_log_fault_in(struct pf_store *store);
/** Whether @txn may be appended, or what has to happen first. */
enum pf_room pf_log_room(const struct pf_store *store, const struct pf_txn *txn);
/** Appends @txn, whose record is sealed and ends at @end_lsn. There is room. */
void pf_log_append(struct pf_store *store, const struct pf_txn *txn, uint64_t end_lsn);
/** Sets the pace by how much room is taken. lock held. */
void pf_log_pace_set(struct pf_store *store);
static inline bool pf_log_pending(const struct pf_log *log)
{
	return log->opened > log->written;
}
/** The oldest group that is not written; from now on it is complete. */
struct pf_group *pf_log_take(struct pf_store *store);
/** Gives back the memory of the oldest group, which is applied. */
void pf_log_applied(struct pf_store *store);
/** Where the journal's next group will begin. */
uint64_t pf_log_head_pos(const struct pf_store *store);
/** Takes the large area for @txn and copies it there; waits for whoever has it. No lock. -ENOMEM, -EROFS, -EIO. */
int pf_log_large_claim(struct pf_store *store, struct pf_txn *txn);
/** Gives it back: @txn will not be appended. No lock. */
void pf_log_large_release(struct pf_store *store, struct pf_txn *txn);

/* ---- overlay.c ---- */
static inline struct pf_bucket *pf_bucket_of(const struct pf_store *store, uint64_t page)
{
	return &store->buckets[(page ^ page >> 16) & (PF_PAGE_STATES - 1)];
}
static inline struct pf_page_state *pf_page_of(const struct pf_store *store, uint64_t page)
{
	return &store->pages->state[(page ^ page >> 16) & (PF_PAGE_STATES - 1)];
}
/** Makes node @index the newest of its bucket. lock held. */
void pf_overlay_insert(struct pf_store *store, uint32_t index, uint64_t lsn, const struct pf_part *part, uint64_t data);
/**
 * Copies the @size bytes of @page that begin at @first of the arena to @out, if its newest node up to @lsn has them
 * all: then the mapping need not be read. Within a sequence of the page. Lowers *@oldest to the LSN of the node: what
 * was copied is worth nothing if applied_lsn has reached that by then.
 */
bool pf_overlay_newest(const struct pf_store *store, uint64_t page, uint64_t lsn, uint64_t first, uint8_t *out,
		       size_t size, uint64_t *oldest);
/** Lays what @page has pending up to @lsn over those bytes, which were read from the mapping. *@oldest as above. */
void pf_overlay_lay(const struct pf_store *store, uint64_t page, uint64_t lsn, uint64_t first, uint8_t *out,
		    size_t size, uint64_t *oldest);

/* ---- apply.c ---- */
/** Stores what @group changes into the mapping. 0, or -EIO after poisoning the store. The one applier only. */
int pf_apply_group(struct pf_store *store, const struct pf_group *group);
/** Same for @size bytes of whole records read back by recovery, checked by the parser and pf_record_range_check(). */
int pf_apply_records(struct pf_store *store, const uint8_t *data, uint64_t size);
/** Whether a range read from disk lies in an existing file. NULL or what is wrong. */
const char *pf_record_range_check(const struct pf_store *store, const struct pf_record_range *range);

/* ---- journal.c ---- */
int pf_journal_create(struct pf_store *store, uint64_t journal_size);
int pf_journal_open(struct pf_store *store);
void pf_journal_close(struct pf_store *store);
/** Removes the segments of an abandoned generation, if there are any. */
void pf_journal_unlink(struct pf_store *store, uint32_t generation);
/** Chooses segment count and size for @journal_size bytes. */
void pf_journal_geometry(uint64_t journal_size, uint32_t *ret_count, uint64_t *ret_segment_size);
/** File offset and segment of @pos; *ret_room: bytes to the segment's end. */
uint32_t pf_journal_locate(const struct pf_store *store, uint64_t pos, uint64_t *ret_offset, uint64_t *ret_room);
static inline uint64_t pf_group_size(uint64_t record_bytes)
{
	uint64_t size = sizeof(struct pf_group_header) + record_bytes;

	return (size + PF_BLOCK_SIZE - 1) & ~(uint64_t)(PF_BLOCK_SIZE - 1);
}
/** What the header of segment @index must be. */
void pf_segment_header_make(const struct pf_store *store, uint32_t index, struct pf_segment_header *ret_header);
/** Largest record. */
uint64_t pf_record_max(const struct pf_store *store);

/* ---- flush.c ---- */
/** Writes and flushes the oldest group, and applies it if @apply; else a waiter or the flusher will. lock held on entry
 * and exit, let go inside; pf_flush_possible() before. */
void pf_flush_lead(struct pf_store *store, bool apply);
/** Applies what is written, unless somebody is at it. lock held on entry and exit, let go inside. */
void pf_apply_all(struct pf_store *store);
bool pf_flush_possible(const struct pf_store *store);
/** Turns the store read-only. Only the first reason stays. No lock. */
void pf_poison(struct pf_store *store, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** -EROFS with words if the store takes no changes. */
int pf_writable(struct pf_store *store);
int pf_threads_start(struct pf_store *store);
void pf_threads_stop(struct pf_store *store);

/* ---- settle.c ---- */
/** Waits until @lsn is durable (and applied). @deadline_ns 0: for ever. Leads flushes meanwhile. */
int pf_settle(struct pf_store *store, uint64_t lsn, bool applied, uint64_t deadline_ns);
/** Wakes whoever waits for an LSN, and whoever polls: the store takes no more changes. */
void pf_settle_wake(struct pf_store *store);
/** Wakes whoever waits for applied_lsn, which moved, or never will. */
void pf_settle_wake_applied(struct pf_store *store);
/** Wakes whoever waits for the log's group number @group to be durable, which it is, and whoever polls; and one of
 * those who wait for a later one. lock held. */
void pf_settle_wake_durable(struct pf_store *store, uint64_t group);

/* ---- txn.c ---- */
/** Orders @txn, which stays its owner's. @wake: the caller will not wait, so the flusher must know. */
int pf_txn_order(struct pf_txn *txn, bool wake, uint64_t *ret_lsn);
void pf_txn_free(struct pf_txn *txn);

/* ---- checkpoint.c ---- */
int pf_checkpoint_run(struct pf_store *store);
/** Flushes what was applied to since it was flushed last. A failed flush poisons. */
int pf_flush_changed(struct pf_store *store);
/** Writes the superblock with what the store knows now. @clean: as the last act. */
int pf_super_update(struct pf_store *store, const struct pf_log_point *start, bool clean);

/* ---- recover.c ---- */
/** Replays what the superblock says is not in the data files. *ret_end: where the journal goes on. */
int pf_recover(struct pf_store *store, struct pf_log_point *ret_end);
/**
 * Where one copy of the superblock is damaged: sets store->super to what the damaged one said, if groups prove that it
 * was the newer one and a later opening's. -EUCLEAN if there are such groups, and not from the first on.
 */
int pf_recover_super(struct pf_store *store);
/** Reads @size bytes of the ring from @pos on; @data and @size in whole blocks. */
int pf_journal_read(struct pf_store *store, uint64_t pos, uint8_t *data, uint64_t size);

/* ---- epoch.c ---- */
/** Before a store is opened. -ENOTSUP: this is a forked process that cannot have epochs. */
int pf_epoch_init(void);
/** Whether the calling thread has entered and not left: then it must not wait for a grace period. */
bool pf_epoch_inside(void);
/** call_rcu() from any thread. A child forked meanwhile runs @fn too: it touches only memory, and takes no lock. */
void pf_epoch_call(struct rcu_head *head, void (*fn)(struct rcu_head *head));

#endif
