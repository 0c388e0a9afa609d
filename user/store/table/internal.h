/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * internal.h - what the files of user/store/table share. Nobody else includes it.
 *
 * DESIGN
 *   A table is a linear hash table. Buckets are cache lines of seven 8-byte
 *   entries; an entry points at a record in a size-class slot of a heap extent.
 *   A put writes a new record in a free slot and swings one entry, in one
 *   journal transaction; one that does not change a record's size writes over it.
 *
 * INVARIANTS
 *   1. A record keeps its key and its size while an entry points at it, and its slot is not used again before every
 * epoch that was open when it was freed has been left. Its value may change (update.c) if it has at most PF_INPLACE_MAX
 *      bytes: readers copy those under their pages' sequences, or with one pf_read_at().
 *   2. An entry moves between lines of a chain, or comes to a chain of several lines, only together
 *      with a change of depth or version in the chain's first line. So a reader that missed and finds
 *      the first line unchanged has truly missed, and an iteration has met no key twice: what is deleted
 *      in one line and put in another, by one transaction or two, has moved.
 *   3. A bucket's depth only grows. A reader that arrives with an outdated idea of
 *      the table's size is sent on by the depth it finds: no lock, no global version.
 *   4. table->lock serialises writers and is held from the first read of the change until
 *      pf_txn_submit(): journal order is lock order. Nobody waits for the disk under it,
 *      except for journal room and new extents.
 *   5. Memory (counts, bitmaps, header) is what the last submitted transaction says;
 *      a failed submit restores it from the write set.
 *   6. Locks are taken in the order registry, tables by directory slot, retire list or spare list.
 */
#ifndef PF_TABLE_INTERNAL_H
#define PF_TABLE_INTERNAL_H

#include "store/table/format.h"
#include "store/table/table.h"

#include "base/error.h"
#include "base/sigbus.h"

#include <pthread.h>
#include <stdatomic.h>

struct pf_heap;
struct pf_leases;
struct pf_table;
struct pf_tables;

/* An extent of a table. Kept until the table is closed: lock-free readers look it up by address. */
struct pf_piece {
	struct pinfold_extent extent;
	uint64_t loc;         /* arena offset of its first byte */
	struct pf_heap *heap; /* NULL: a bucket segment */
};

/* Which piece each 2 MiB of the arena belongs to; leaves are made when first needed. */
#define PF_GRANULE_SHIFT 21u
#define PF_GRANULE_BYTES (1ull << PF_GRANULE_SHIFT)
#define PF_GRANULE_LEAF 1024u
struct pf_granules {
	_Atomic(struct pf_piece *) piece[PF_GRANULE_LEAF];
};

/* memcpy() out of the mapping beside the applier, which stores aligned words: @from is a multiple of 8. */
static inline void pf_copy_words(void *to, const void *from, size_t size)
{
	size_t at = 0;

	for (; at + 8 <= size; at += 8) {
		uint64_t word = __atomic_load_n((const uint64_t *)((const char *)from + at), __ATOMIC_RELAXED);

		memcpy((char *)to + at, &word, 8);
	}
	for (; at < size; at++)
		((uint8_t *)to)[at] = __atomic_load_n((const uint8_t *)from + at, __ATOMIC_RELAXED);
}

/* ---- heap (heap.c, heap_load.c, slab.c) ---- */

struct pf_slab {
	struct pf_heap *heap;
	struct pf_slab *next, *prev; /* in table->partial[class] */
	uint64_t *used;              /* what the bitmap on disk says, after the transaction at work */
	uint64_t *busy;              /* used, and freed slots whose grace period has not passed */
	uint64_t dirty;              /* words to write; bit 63: the unit words. Only while queued */
	uint32_t unit;               /* its first unit */
	uint32_t free;               /* slots that are not busy */
	uint32_t slots;
	uint32_t cursor;             /* word to look at first */
	uint8_t class, run;
	bool listed, queued; /* in table->partial; in the write set's dirty list */
};
#define PF_SLAB_DIRTY_UNIT (1ull << 63)

static inline uint32_t pf_slab_words(const struct pf_slab *slab)
{
	return (slab->slots + PF_WORD_BITS - 1) / PF_WORD_BITS;
}

/* Bits of word @word that stand for slots. */
static inline uint64_t pf_slab_mask(const struct pf_slab *slab, uint32_t word)
{
	uint32_t left = slab->slots - word * PF_WORD_BITS;

	return left >= PF_WORD_BITS ? (1ull << PF_WORD_BITS) - 1 : (1ull << left) - 1;
}

struct pf_heap {
	struct pf_piece *piece;
	struct pf_heap *prev;
	struct pf_slab **slabs; /* per unit: the slab it belongs to, without slots if damaged; NULL: free or header */
	uint32_t index, unit_count, first_unit; /* units below first_unit are header and buckets */
	uint32_t free_units;
	bool loaded; /* unit words and bitmaps have been read */
};

/* ---- extents made ahead (spare.c) ---- */

enum pf_spare_kind { PF_SPARE_HEAP, PF_SPARE_SEGMENT, PF_SPARE_KINDS };
#define PF_SPARE_MAX 16u
struct pf_spares {
	struct pinfold_extent extent[PF_SPARE_MAX]; /* zeroed, and that is durable; not published */
	uint32_t count;
};

#define PF_RETIRE_BATCH 512u
struct pf_retire {
	struct pf_retire *next;
	struct pf_table *table;
	uint32_t count;
	uint64_t loc[PF_RETIRE_BATCH];
};

/* ---- write set (writeset.c) ---- */

struct pf_map { /* location -> index + 1; open addressing, power of two */
	uint64_t *keys;
	uint32_t *values;
	uint32_t capacity, count;
};

struct pf_ws_line {
	uint64_t loc, bucket;
	struct pf_line line;
	bool dirty;
	bool moved; /* of a first line: its version has been bumped */
};

struct pf_ws_record {
	uint64_t loc;
	size_t offset; /* in buf */
	uint32_t size; /* to write: of a record in place, up to its last changed word */
	bool in_place; /* over a committed one */
};

/* Everything a transaction does to one table, not yet submitted. Under table->lock. */
struct pf_ws {
	struct pf_table_counts counts; /* before */
	uint32_t heap_count, segment_count;
	struct pinfold_extent heap_last;
	struct pf_import_disk import;
	const struct pf_line *built; /* lines of segment 0, written behind all else; NULL: none */
	size_t built_count;
	bool header_dirty;
	struct pf_ws_line *lines;
	struct pf_ws_record *records;
	uint64_t *allocs, *frees;
	struct pf_slab **dirty, **assigned; /* slabs with bitmap words to write; slabs made */
	struct pf_piece **pieces; /* extents allocated */
	uint8_t *buf;
	size_t line_count, line_capacity, record_count, record_capacity, alloc_count, alloc_capacity, free_count,
		free_capacity, dirty_count, dirty_capacity, assigned_count, assigned_capacity, piece_count,
		piece_capacity, buf_size, buf_capacity;
	struct pf_map line_map, record_map;
};

/* ---- table ---- */

typedef int pf_get_fn(struct pf_table *table, const void *key, size_t key_size, void *ret_value, size_t capacity,
		      size_t *ret_size);
typedef size_t pf_batch_fn(const struct pf_table *table, struct pinfold_get *gets, size_t count);

struct pf_table {
	/* What gets read, in lines that nobody writes ... */
	const char *base;
	const struct pf_pages *pages;
	pf_get_fn *get;          /* the one for this processor and handle ... */
	pf_batch_fn *batch;      /* ... in a still store; NULL: none */
	_Atomic uintptr_t *chunk; /* of PF_CHUNK_COUNT: where bucket 0 would be beside each's; 0: nobody asked yet */
	uint64_t seed;
	struct pf_hash_id hash_id;
	uint64_t loc_mask, tag_mask; /* of an entry: from here they are operands, as constants instructions more */
	uint32_t crc_state;  /* what the checksum of every record begins with */
	uint32_t line_state; /* the same for lines, each less its bucket */
	struct pf_sigbus_range range; /* of the arena */
	bool read_only;
	struct pf_tables *tables;
	struct pf_store *store;
	uint64_t incarnation, arena_size;
	/* ... and that growth writes, now and then */
	_Alignas(64) _Atomic uint64_t bucket_count; /* readers' idea; lags behind (invariant 3) */
	_Atomic uint64_t bucket_mask; /* the same, and its half; they may be read at different times: depths tell */
	_Atomic uint64_t bucket_half;
	_Atomic uint64_t loc_end; /* no location of the table is at or beyond */
	_Atomic uint64_t entry_end; /* below it is the entry of a record that ends before loc_end, if it is small */
	_Atomic uint32_t segment_count;
	_Atomic uint64_t segment_loc[PF_SEGMENT_MAX];
	struct pf_granules *_Atomic *granules; /* by arena offset, in leaves of PF_GRANULE_LEAF extents' units */
	uint64_t leaf_count;
	uint32_t slot;
	uint32_t refs; /* under tables->lock */
	char name[64];
	struct pf_table *next;

	_Alignas(64) _Atomic(struct pf_call *) calls; /* left for whoever holds the lock, newest first (call.c) */
	_Atomic uint32_t call_spinners;
	uint32_t call_spinners_max; /* one processor is the holder's; fixed */
	_Atomic bool call_heir;
	_Alignas(64) pthread_mutex_t lock; /* everything below */
	struct pf_table_header header;
	struct pf_piece **pieces;
	size_t piece_count, piece_capacity;
	struct pf_heap *heaps; /* newest first */
	uint64_t heap_bytes;
	uint32_t unloaded_heaps, empty_slabs;
	struct pf_slab *partial[PF_CLASS_COUNT];
	struct pf_ws ws;
	uint8_t *scratch; /* PF_RECORD_MAX bytes */
	struct pf_txn *txn; /* the last one, used again */
	struct pf_retire *retire; /* filling */
	struct pf_spares spares[PF_SPARE_KINDS];
	bool importing;           /* an import into it is under way in this process */
	struct pf_table *spare_next; /* tables->spare_lock: in the list of those to be seen to ... */
	bool spare_wanted;           /* ... */

	pthread_mutex_t retire_lock;
	_Atomic(struct pf_retire *) ready; /* their grace period has passed */
	uint32_t retire_out;     /* batches on their way */
	bool orphan;             /* closed: the last batch on its way destroys the table */
};

struct pf_tables {
	struct pf_tables *next; /* in the process-wide list */
	struct pf_store *store;
	bool read_only, checksums;
	uint64_t extent_size;
	pthread_mutex_t lock; /* the list of tables, directory changes */
	struct pf_table *list;
	struct pinfold_extent root;
	struct pf_root_header header;
	pthread_mutex_t spare_lock; /* a leaf: nothing is taken under it */
	pthread_cond_t spare_wake, spare_idle;
	struct pf_table *spare_list, *spare_busy; /* waiting; being seen to */
	pthread_t spare_thread;
	bool spare_running, spare_stop;
	_Atomic(struct pf_table *) own[4]; /* enum pf_own_table */
	atomic_bool own_absent[4]; /* looked for, not there: only this process can create it */
	pthread_mutex_t lease_lock; /* the list of lease tables; taken before lock */
	struct pf_leases *leases;
};

/* registry.c */
struct pf_tables *pf_tables_of(struct pf_store *store); /* NULL and words if not open */
int pf_table_name_check(const char *name);
/* As pf_table_open(), _foreach() and _drop() but also for names of the store's own. */
int pf_table_open_any(struct pf_tables *tables, const char *name, uint32_t flags, struct pf_table **ret_table);
int pf_table_foreach_any(struct pf_store *store, int (*fn)(void *ctx, const char *name), void *ctx);
int pf_table_drop_any(struct pf_tables *tables, const char *name);

/* table.c */
int pf_table_load(struct pf_tables *tables, uint32_t slot, struct pf_table **ret_table);
/** The handle is nobody's any more: destroyed now, or when its last retired slots come back. */
void pf_table_free(struct pf_table *table);
void pf_table_destroy(struct pf_table *table);
/** Reads header and new extents again: for read-only handles beside a writer. */
int pf_table_refresh(struct pf_table *table);
int pf_table_header_read(struct pf_tables *tables, uint32_t slot, struct pf_table_header *ret_header);
uint32_t pf_table_header_crc(const struct pf_table_header *header);
uint32_t pf_table_counts_crc(const struct pf_table_counts *counts);
struct pf_piece *pf_piece_at(const struct pf_table *table, uint64_t loc); /* lock-free; NULL if not this table's */
int pf_piece_add(struct pf_table *table, const struct pinfold_extent *extent, struct pf_piece **ret_piece);
void pf_piece_remove(struct pf_table *table, struct pf_piece *piece); /* the newest */
/** Committed bytes at @loc: in place if the pages are current, else by pf_read_at(). SIGBUS-safe. */
int pf_table_read(const struct pf_table *table, uint64_t loc, void *ret_data, size_t size);
uint64_t pf_extent_loc(const struct pf_store *store, const struct pinfold_extent *extent);
/** Frees @extent, which was to be published, if it is not: after a failure, whose words stay. */
void pf_extent_back_out(struct pf_store *store, const struct pinfold_extent *extent);

/* heap.c: bitmaps and units. Under table->lock. */
int pf_heap_attach(struct pf_table *table, struct pf_piece *piece, const struct pf_heap_header *header);
void pf_heap_free(struct pf_heap *heap);
int pf_slot_alloc(struct pf_table *table, unsigned class, uint64_t *ret_loc);
int pf_slot_free(struct pf_table *table, uint64_t loc); /* noted in the write set */
struct pf_slab *pf_slab_of(struct pf_table *table, uint64_t loc, uint32_t *ret_slot);
void pf_slot_unbusy(struct pf_table *table, uint64_t loc);
void pf_slab_destroy(struct pf_slab *slab); /* its memory */
/* heap_load.c */
/** Reads unit words and bitmaps of @heap. What damaged ones stand for is taken. */
int pf_heap_load(struct pf_table *table, struct pf_heap *heap);
/** Reads them again: how many of @heap, which is loaded, are damaged. */
int pf_heap_check(struct pf_table *table, const struct pf_heap *heap, uint32_t *ret_damaged);
/* slab.c */
int pf_slab_new(struct pf_table *table, unsigned class, struct pf_slab **ret_slab);
void pf_slab_free(struct pf_table *table, struct pf_slab *slab); /* its units become free again */
void pf_slab_list(struct pf_table *table, struct pf_slab *slab);
void pf_slab_unlist(struct pf_table *table, struct pf_slab *slab);
struct pf_slab *pf_slab_make(struct pf_heap *heap, uint32_t unit, unsigned class);
/* retire.c */
int pf_retire_add(struct pf_table *table, uint64_t loc);
void pf_retire_push(struct pf_table *table); /* hands the filling batch to the epochs */
void pf_retire_drain(struct pf_table *table);
bool pf_retire_end(struct pf_table *table);
void pf_retire_free(struct pf_table *table);

/* spare.c */
/** An extent of @size bytes: one made ahead, or made now, which waits for the device. Under table->lock. */
int pf_spare_take(struct pf_table *table, enum pf_spare_kind kind, uint64_t size, struct pinfold_extent *ret_extent);
/** Lets the thread make ahead what @table will need next. Under table->lock. */
void pf_spare_want(struct pf_table *table);
/** The thread is done with @table, for good; its spares are free again. */
void pf_spare_end(struct pf_table *table);
void pf_spare_init(struct pf_tables *tables);
/** Ends the thread. After the tables have ended. */
void pf_spare_done(struct pf_tables *tables);
/** Size of the next heap extent. Under table->lock. */
uint64_t pf_heap_extent_size(const struct pf_table *table);

/* writeset.c. Under table->lock. */
int pf_ws_init(struct pf_table *table);
void pf_ws_done(struct pf_table *table);
void pf_ws_begin(struct pf_table *table);
int pf_ws_line(struct pf_table *table, uint64_t loc, uint64_t bucket, bool fresh, uint32_t *ret_index);
int pf_ws_record_add(struct pf_table *table, uint64_t loc, const void *key, size_t key_size, const void *value,
		     size_t value_size);
/** The record of this set at @loc, or NULL. Valid until the next change of the set. */
const struct pf_record *pf_ws_record_at(const struct pf_table *table, uint64_t loc);
/** @change's record at @loc, where one of the same size is; its first @write bytes differ. */
int pf_ws_record_put(struct pf_table *table, uint64_t loc, const struct pinfold_change *change, size_t write);
bool pf_ws_has_line(const struct pf_table *table, uint64_t loc);
/** The committed or pending record at @loc; *ret_record is valid until the next call. */
int pf_ws_record(struct pf_table *table, uint64_t loc, const struct pf_record **ret_record, bool whole);
int pf_ws_slab_dirty(struct pf_table *table, struct pf_slab *slab, uint64_t mask);
int pf_ws_flush(struct pf_table *table, struct pf_txn *txn);
void pf_ws_commit(struct pf_table *table);
void pf_ws_rollback(struct pf_table *table);
/** Room for one more of @array. */
void *pf_grow(void *array, size_t *capacity, size_t item_size);

#define PF_RESERVE(array, count, capacity) \
	((count) < (capacity) ? 0 : ({ \
		void *grown_ = pf_grow((array), &(capacity), sizeof(*(array))); \
		grown_ ? ((array) = grown_, 0) : -ENOMEM; \
	}))

/* update.c. Under table->lock. */
#define PF_INPLACE_MAX 1024u
/** Asks for the line of @change's key, whose hash it returns; later for its record. Hints. Guarded. */
uint64_t pf_update_ask(const struct pf_table *table, const struct pinfold_change *change);
void pf_update_ask_record(const struct pf_table *table, const struct pinfold_change *change, uint64_t hash);
/** The newest state of a record, which is valid until the next change of the write set, and where it is. */
struct pf_found {
	const struct pf_record *record;
	uint64_t loc;
};
/** The record of @change's key if it is as large as @change's. -ENOTSUP: bucket.c has to look. Its checksum is not
 * asked. Guarded. */
int pf_update_find(struct pf_table *table, const struct pinfold_change *change, uint64_t hash,
		   struct pf_found *ret_found);
/** Writes @change's value over the record @found. Guarded. */
int pf_update_over(struct pf_table *table, const struct pf_found *found, const struct pinfold_change *change);
/** Overwrites a record by one of its size. 0, -EAGAIN (the condition does not hold), -ENOTSUP: not such a case.
 * Guarded. */
int pf_update_in_place(struct pf_table *table, const struct pinfold_change *change, uint64_t hash);

/* bucket.c: the hash table itself, on the write set. Under table->lock. */
int pf_bucket_put(struct pf_table *table, const void *key, size_t key_size, const void *value, size_t value_size);
int pf_bucket_delete(struct pf_table *table, const void *key, size_t key_size); /* -ENOENT */
/** The record of @key as this write set sees it, or -ENOENT. Valid until the next call on the table. */
int pf_bucket_find(struct pf_table *table, const void *key, size_t key_size, const struct pf_record **ret_record);
/* split.c */
int pf_bucket_split(struct pf_table *table);
/** Buckets of a table that holds @record_count records. */
uint64_t pf_buckets_for(uint64_t record_count);
/** Tells readers the bucket count, when theirs is far enough behind, or @now. */
void pf_bucket_count_publish(struct pf_table *table, bool now);
unsigned pf_bucket_depth(uint64_t bucket, uint64_t bucket_count);
uint64_t pf_bucket_loc(const struct pf_table *table, uint64_t bucket);
/** Loads the lines of @bucket into the write set. @chain has room for PF_CHAIN_MAX. */
int pf_chain_load(struct pf_table *table, uint64_t bucket, uint32_t *chain, unsigned *ret_length);

/* read.c */
/** Reads the first line of the bucket of @hash. Inside an epoch. */
int pf_line_find(struct pf_table *table, uint64_t hash, uint64_t *ret_bucket, struct pf_line *ret_line);
int pf_line_read(struct pf_table *table, uint64_t loc, uint64_t bucket, struct pf_line *ret_line);
/** The chain of @bucket has no end, or one that is not its: -EUCLEAN if its first line stays, -EAGAIN. */
int pf_chain_broken(const struct pf_table *table, uint64_t bucket);
/** First line of @bucket: 1, 0 if never written and beyond the initial buckets, -errno. */
int pf_bucket_read(struct pf_table *table, uint64_t bucket, struct pf_line *ret_line);

/** Copies and checks the record at @loc (room for PF_RECORD_MAX). -EBADMSG: none that is whole. Inside an epoch. */
int pf_record_copy(struct pf_table *table, uint64_t loc, struct pf_record *ret_record);

/* get.c, get_wide.c: a get, beside anything; in a still store, on any processor that has the crc32 instruction */
pf_get_fn pf_get_beside, pf_get_still;
/* batch.c: how many of @gets were dealt with before the store was no longer still */
pf_batch_fn pf_batch_still;
/** Those for processors with AVX-512 and VPCLMULQDQ, if this is one. */
bool pf_get_wide(pf_get_fn **ret_get, pf_batch_fn **ret_batch);

/* txn.c: one transaction over several tables */
#define PF_TW_MAX 4
struct pf_tw {
	struct pf_txn *txn; /* the caller may publish, drop and write */
	struct pf_table *tables[PF_TW_MAX];
	unsigned count;
	bool held; /* the lock is the caller's, before and after */
};
/** Begins a transaction and locks @tables (any order; NULLs are skipped). */
int pf_tw_begin(struct pf_tables *tables, struct pf_table *const *list, unsigned count, struct pf_tw *ret_tw);
/** The same for one table whose lock is held. */
int pf_tw_begin_held(struct pf_table *table, struct pf_tw *ret_tw);
/** Submits and unlocks; on failure nothing changed. Settle the ticket afterwards. */
int pf_tw_commit(struct pf_tw *tw, pinfold_ticket *ret_ticket);
void pf_tw_abort(struct pf_tw *tw);
int pf_key_check(const void *key, size_t key_size);
int pf_value_check(size_t value_size);

/* call.c */
struct pf_call {
	struct pf_call *next;
	int (*run)(struct pf_table *table, void *arg);
	void *arg;
	int result;
	_Atomic uint32_t state;
	char words[PF_ERROR_MAX];
};
/** Has @run carried out under table->lock, by this thread or another, in the order of arrival; what it returns, with
 * its words. It must not wait for what the calling thread holds. No lock held. */
int pf_table_call(struct pf_table *table, int (*run)(struct pf_table *table, void *arg), void *arg);

/** pf_bucket_put() or what else @changes say, guarded; results in them. An error leaves the write set to be rolled
 * back. */
int pf_table_change(struct pf_table *table, struct pinfold_change *changes, size_t count);

/* object.c: keys and values of the catalog */
#define PF_OBJECT_KEY_MAX 256u
#define PF_EXTENT_KEY_SIZE 16u
struct pf_object_disk {
	uint16_t version;
	uint16_t reserved;
	uint32_t extent_count;
	uint64_t size;
	uint32_t flags, lifetime;
	uint64_t ttl_ms, created_unix_ms;
	struct pinfold_extent extents[];
};
_Static_assert(sizeof(struct pf_object_disk) == 40, "object record");
#define PF_OBJECT_DISK_MAX (sizeof(struct pf_object_disk) + PINFOLD_OBJECT_EXTENTS_MAX * sizeof(struct pinfold_extent))

/** Checks @id and writes its key (room for PF_OBJECT_KEY_MAX). */
int pf_object_key(const struct pinfold_object_id *id, uint8_t *ret_key, size_t *ret_size);
/** The other way; a name goes to @name_buf (256 bytes). -EUCLEAN. */
int pf_object_id_decode(const uint8_t *key, size_t size, struct pinfold_object_id *ret_id, char *name_buf);
/** Whether @size bytes at @disk are an object record. -EUCLEAN. */
int pf_object_disk_check(const struct pf_object_disk *disk, size_t size);
/** @disk as an object; its extents are allocated. */
int pf_object_decode(const struct pf_object_disk *disk, struct pinfold_object *ret_object);
void pf_extent_key(const struct pinfold_extent *extent, uint8_t ret_key[PF_EXTENT_KEY_SIZE]);

/* catalog.c */
enum pf_own_table { PF_OWN_CATALOG, PF_OWN_EXTENTS, PF_OWN_CONNECTIONS, PF_OWN_CHECKSUMS, PF_OWN_COUNT };
/** One of the store's own tables; made if @create. -ENOENT. */
int pf_own_table(struct pf_tables *tables, enum pf_own_table which, bool create, struct pf_table **ret_table);

/* checksum.c */
#define PF_CHECKSUM_BLOCK PF_BULK_BLOCK
/** CRC32C of each 64 KiB of @extent; *ret_crcs has extent->len / PF_CHECKSUM_BLOCK of them. Owned by the caller. */
int pf_checksum_take(struct pf_store *store, const struct pinfold_extent *extent, uint32_t **ret_crcs);

/* lease.c */
/** Remembers lease time and frees the handles; before the tables are freed. */
void pf_leases_close_all(struct pf_tables *tables);

/* verify.c */
struct pf_verify {
	struct pf_tables *tables;
	pinfold_problem_fn problem;
	pinfold_progress_fn progress;
	void *ctx;
	uint64_t done, total, problem_count;
};
void pf_verify_problem(struct pf_verify *verify, const struct pinfold_extent *extent, uint64_t offset,
		       const char *format, ...) __attribute__((format(printf, 4, 5)));
void pf_verify_progress(struct pf_verify *verify, uint64_t bytes);
int pf_verify_table(struct pf_verify *verify, struct pf_table *table);
int pf_verify_checksums(struct pf_verify *verify);
/** Reports heap extents of tables that the directory does not have. */
int pf_verify_orphans(struct pf_verify *verify);

#endif
