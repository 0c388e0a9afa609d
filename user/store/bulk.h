/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bulk.h - what bulk.c, bulk_queue.c and bulk_sum.c share, and what the rest of user/store/ asks of them.
 */
#ifndef PF_STORE_BULK_H
#define PF_STORE_BULK_H

#include "base/error.h"
#include "store/store.h"

#include <pthread.h>

struct pf_file;

/** A job of staged data ends at a multiple of this many bytes of its extent, at the latest. */
#define PF_BULK_PIECE (1u << 20)
/** Pieces that are being filled or written. */
#define PF_BULK_STAGES 6u
#define PF_BULK_WRITERS 2u
#define PF_BULK_BUCKETS 256u

/** Of a block of PF_BULK_BLOCK bytes: the CRC of its first @size bytes; the others are zero. */
struct pf_bulk_sum {
	uint32_t crc;
	uint32_t size; /* PF_BULK_READ_BACK: it was written out of order */
};
#define PF_BULK_READ_BACK UINT32_MAX

/** Bytes on their way to an extent. */
struct pf_bulk_job {
	struct pf_bulk_job *next;    /* in the queue, or among the idle ones */
	struct pf_bulk_job *sibling; /* of the same extent, not done */
	struct pf_bulk_extent *to;
	uint64_t at; /* in the extent */
	size_t size;
	const uint8_t *data;
	uint8_t *stage; /* data is in it, so that file and memory are aligned alike; NULL: the buffer is another's */
	pf_bulk_done_fn done;
	void *ctx;
};

/** An extent that is being loaded, from its first write until it is published or freed. bulk->lock. */
struct pf_bulk_extent {
	struct pf_bulk_extent *next; /* of its bucket */
	struct pinfold_extent extent;
	struct pf_file *file;
	struct pf_bulk_job *open, *jobs; /* being filled; handed over and not done */
	unsigned waiting;                /* calls and jobs that look at it; it stays as long */
	bool filling;                    /* by a call, whose @open and @sums are then */
	bool gone;                       /* out of its bucket: the last who looks at it frees it */
	bool foreign;                    /* somebody else wrote to it: all is to be read back */
	int error;                       /* of the first write that failed: nothing more is written */
	struct pf_bulk_sum *sums;        /* one per block; NULL where the store keeps none */
	char words[PF_ERROR_MAX];
};

struct pf_bulk {
	struct pf_store *store;
	pthread_mutex_t lock; /* all of it; nests inside every lock of the store and is held across no system call */
	pthread_cond_t wake;  /* of the writers: a job, or the end */
	pthread_cond_t done;  /* of all others: something was done, or left */
	struct pf_bulk_job *first, **last; /* the queue */
	struct pf_bulk_job *idle;
	unsigned stage_count, busy;
	pthread_t threads[PF_BULK_WRITERS];
	unsigned thread_count;
	bool started, stop;
	_Atomic uint32_t extent_count;
	struct pf_bulk_extent *buckets[PF_BULK_BUCKETS];
};

/* ---- bulk.c ---- */
int pf_bulk_start(struct pf_store *store);
/** Nothing more is written; what was handed over and is not written yet is lost, as is every unpublished extent. */
void pf_bulk_stop(struct pf_store *store);
/** Waits until what was written to @extent is in the file; of its writes the error. At once if there were none. */
int pf_bulk_settle(struct pf_store *store, const struct pinfold_extent *extent);
/** Same, before a transaction writes to the unpublished @extent: its checksums cannot be known then. */
int pf_bulk_settle_foreign(struct pf_store *store, const struct pinfold_extent *extent);
/** -EBUSY if something of @extent is not in the file, or the error of its writes. Does not wait; store->lock held. */
int pf_bulk_settled(struct pf_store *store, const struct pinfold_extent *extent);
/** @extent is going to be freed: nothing more is written to it. Waits for what is being written. */
void pf_bulk_close(struct pf_store *store, const struct pinfold_extent *extent);
/** @extent is not unpublished any more. */
void pf_bulk_forget(struct pf_store *store, const struct pinfold_extent *extent);

/** One call, or job, less that looks at @at. bulk->lock held. */
void pf_bulk_leave(struct pf_bulk *bulk, struct pf_bulk_extent *at);

/** What is known of @extent, or NULL. bulk->lock held. */
struct pf_bulk_extent *pf_bulk_find(struct pf_bulk *bulk, const struct pinfold_extent *extent);
/** Whether nothing of @at is filled, open or under way. bulk->lock held. */
static inline bool pf_bulk_quiet(const struct pf_bulk_extent *at)
{
	return !at->filling && !at->open && !at->jobs;
}

/* ---- bulk_order.c ---- */
/** Waits until what was bulk-written to unpublished extents that @txn writes to is in their files. No lock. */
int pf_bulk_order_wait(struct pf_txn *txn);
/**
 * Notes that @txn ends at @lsn, which it is going to be ordered at, for those extents. False, and nothing is noted:
 * some of them are being bulk-written to. store->lock held.
 */
bool pf_bulk_order(struct pf_txn *txn, uint64_t lsn);
/** The LSN that a checkpoint must have passed before @extent in @file may be bulk-written to; 0: none. bulk->lock held.
 */
uint64_t pf_bulk_order_lsn(const struct pf_store *store, const struct pf_file *file,
			   const struct pinfold_extent *extent);
/** Makes a checkpoint that passes @lsn. No lock that a commit takes. */
int pf_bulk_order_pass(struct pf_store *store, uint64_t lsn);

/* ---- bulk_queue.c. bulk->lock held; wait and run let it go inside ---- */
void pf_bulk_queue(struct pf_bulk *bulk, struct pf_bulk_job *job);
/** Waits until something was done, or does it, if there are no writers. */
void pf_bulk_progress(struct pf_bulk *bulk);
/** Ends the writers. Lets the lock go inside. */
void pf_bulk_queue_stop(struct pf_bulk *bulk);

/* ---- bulk_sum.c ---- */
struct pf_bulk_sum *pf_bulk_sum_new(const struct pinfold_extent *extent);
/** @size bytes of @data went to @offset. */
void pf_bulk_sum_add(struct pf_bulk_sum *sums, uint64_t offset, const uint8_t *data, size_t size);
/** CRC of a whole block. False: it has to be read back. */
bool pf_bulk_sum_get(const struct pf_bulk_sum *sum, uint32_t *ret_crc);

/* ---- extent.c ---- */
/** The file of an extent that may be bulk-written at [@offset, @offset + @size), or why it may not. Takes no lock. */
int pf_extent_bulk_check(const struct pf_store *store, const struct pinfold_extent *extent, uint64_t offset,
			 size_t size, struct pf_file **ret_file);

#endif
