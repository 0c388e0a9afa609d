/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * checkpoint.c - making the data files durable and moving the journal's start.
 *
 *  1. The point C is the end of an applied group, read before the first flush: all
 *     that is before C is in the page cache by then, so the flushes cover it.
 *  2. Only after the superblock that names C is durable is the journal before C given
 *     back and quarantine before C released: until then either superblock copy still
 *     describes a journal that is whole.
 *  3. No lock that a commit takes is held across a flush.
 *  4. The mark of a range is cleared before its flush: an apply that comes meanwhile
 *     sets it again and is the next checkpoint's.
 *  5. After a failed flush, whoever's it was, no start is moved: what it left unwritten is known to nobody any more.
 *  6. Ranges are written back in short steps, and made durable every few of them: a flush of a whole file would keep
 *     its processor to itself for ticks on end on a kernel that is not preemptible, and with it whoever waits for one
 *     to submit a change. And what changes behind the front is left to the next checkpoint.
 */
#include "base/clock.h"
#include "base/error.h"
#include "store/internal.h"
#include "store/super.h"

#include <string.h>

/* The longer, the more is changed again before it is flushed; the shorter, the more flushes there are. */
#define FLUSH_EVERY_NS (20 * PF_NS_PER_MS)

int pf_super_update(struct pf_store *store, const struct pf_log_point *start, bool clean)
{
	struct pf_super_disk *copy = store->super_copy;
	ssize_t n;
	int r = 0;

	pthread_mutex_lock(&store->super_lock);
	store->super.sequence++;
	store->super.file_count = atomic_load(&store->file_count);
	store->super.clean = clean;
	if (start) {
		store->super.start_lsn = start->lsn;
		store->super.start_pos = start->pos;
		store->super.start_group = start->number;
	}
	pthread_mutex_lock(&store->lock);
	store->super.next_txn_id = store->next_txn_id;
	store->super.group_blocks =
		(uint32_t)((store->group_max < store->capacity ? store->group_max : store->capacity) / PF_BLOCK_SIZE);
	pthread_mutex_unlock(&store->lock);
	pf_super_seal(&store->super);
	if (pf_super_check(&store->super) < 0) { /* the next opening would refuse it too, and take the older copy */
		pf_poison(store, "super: not written: %s", pf_error_text());
		pthread_mutex_unlock(&store->super_lock);
		return pf_error(-EIO, "%s: %s", store->dir, store->poison_reason);
	}
	memcpy(copy, &store->super, sizeof(*copy));
	n = pf_io_pwrite(store->super_fd, copy, sizeof(*copy), (store->super.sequence & 1) * PF_BLOCK_SIZE);
	if (n == (ssize_t)sizeof(*copy))
		r = pf_io_fdatasync(store->super_fd);
	else
		r = n < 0 ? (int)n : -EIO;
	if (r < 0)
		pf_poison(store, "super: cannot write copy %u: %s", (unsigned int)(store->super.sequence & 1),
			  strerror(-r));
	pthread_mutex_unlock(&store->super_lock);
	return r < 0 ? pf_error(-EIO, "%s: %s", store->dir, store->poison_reason) : 0;
}

/* Whether the range at @at of the arena was applied to; the next change is the next flush's. */
static bool changed(struct pf_store *store, uint64_t at)
{
	_Atomic uint8_t *mark = &store->changed[at >> PF_FLUSH_SHIFT];

	return atomic_load_explicit(mark, memory_order_relaxed) && atomic_exchange(mark, false);
}

/* What lies between two ranges that changed is flushed with them: there is nothing to write, or soon would be. */
static int flush_file(struct pf_store *store, struct pf_file *file)
{
	uint64_t begin = 0, end = 0, since = 0; /* of what is on its way to the device */
	int r = 0;

	for (uint64_t at = 0; r == 0 && at < store->file_size; at += PF_FLUSH_SIZE) {
		if (!changed(store, file->id * store->file_size + at))
			continue;
		if (begin == end) {
			begin = at;
			since = pf_clock_ns();
		}
		end = at + PF_FLUSH_SIZE;
		r = pf_file_write_back(store, file, at, PF_FLUSH_SIZE);
		if (r == 0 && pf_clock_ns() - since >= FLUSH_EVERY_NS) {
			r = pf_file_flush_range(store, file, begin, end - begin);
			begin = end;
		}
	}
	return r == 0 && begin < end ? pf_file_flush_range(store, file, begin, end - begin) : r;
}

int pf_flush_changed(struct pf_store *store)
{
	int r = 0;

	for (uint32_t id = 0; r == 0 && id < atomic_load(&store->file_count); id++)
		r = flush_file(store, store->files[id]);
	return r;
}

int pf_checkpoint_run(struct pf_store *store)
{
	struct pf_log_point point;
	int r;

	pthread_mutex_lock(&store->ckpt_lock);
	r = pf_writable(store);
	if (r < 0) {
		pthread_mutex_unlock(&store->ckpt_lock);
		return r;
	}
	pthread_mutex_lock(&store->lock);
	point = store->applied_point;
	pthread_mutex_unlock(&store->lock);
	r = pf_flush_changed(store);
	pf_flushes_wait(store);
	if (r == 0)
		r = pf_writable(store);
	if (r == 0 && point.lsn != store->super.start_lsn)
		r = pf_super_update(store, &point, false);
	if (r == 0) {
		pthread_mutex_lock(&store->lock);
		store->start_pos = point.pos;
		atomic_store(&store->checkpoint_lsn, point.lsn);
		pthread_mutex_unlock(&store->lock);
		pf_quarantine_release(store, point.lsn);
	}
	pthread_mutex_unlock(&store->ckpt_lock);
	return r;
}

int pf_store_checkpoint(struct pf_store *store)
{
	int r = pf_writable(store);

	if (r == 0)
		r = pf_settle(store, atomic_load(&store->ordered_lsn), true, 0);
	return r == 0 ? pf_checkpoint_run(store) : r;
}
