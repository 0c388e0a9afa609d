/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bulk.c - loading unpublished extents, past the journal.
 *
 * DESIGN: what is written is copied into pieces of up to 1 MiB, which writers (bulk_queue.c) write past the page
 * cache while the caller goes on. The copy is cheap: the pieces are few and stay in the processor's caches, whereas
 * the page cache needs fresh memory for every page. A piece stays open for what follows it, so that many small writes
 * one behind another become few large ones. Whoever has buffers of his own hands them over instead.
 *
 *	write --copy--> open piece --full, or nothing follows--> queue --writer--> file --flush--> durable --> published
 *
 *  1. What was written is in the file before the extent is read, changed by a transaction, flushed, published or
 *     freed: each of these waits for it first.
 *  2. Writes to one extent that overlap happen in the order of their calls; with transactions between them, in that of
 *     these calls and the commits (bulk_order.c).
 *  3. The first write of an extent that fails is the answer to all that follows for that extent. It is not tried again,
 *     nothing more is written, and the extent cannot be published, only freed.
 *  4. Whether an extent may be written to is looked at under the lock. It is published or freed first and forgotten
 *     here afterwards, so nobody writes to what is not the caller's any more.
 */
#include "store/bulk.h"

#include "store/internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- extents that are being loaded. lock held ---- */

static struct pf_bulk_extent **bucket_of(struct pf_bulk *bulk, const struct pinfold_extent *extent)
{
	return &bulk->buckets[(extent->offset / PF_GRANULE_SIZE + extent->file_id) % PF_BULK_BUCKETS];
}

struct pf_bulk_extent *pf_bulk_find(struct pf_bulk *bulk, const struct pinfold_extent *extent)
{
	struct pf_bulk_extent *at = *bucket_of(bulk, extent);

	while (at && (at->extent.offset != extent->offset || at->extent.file_id != extent->file_id ||
		      at->extent.gen != extent->gen))
		at = at->next;
	return at;
}

/* NULL: out of memory. */
static struct pf_bulk_extent *find_or_make(struct pf_bulk *bulk, const struct pinfold_extent *extent,
					   struct pf_file *file)
{
	struct pf_bulk_extent *at = pf_bulk_find(bulk, extent), **bucket = bucket_of(bulk, extent);

	if (!at) {
		at = calloc(1, sizeof(*at));
		if (at && bulk->store->config.checksums)
			at->sums = pf_bulk_sum_new(extent);
		if (!at || (bulk->store->config.checksums && !at->sums)) {
			free(at);
			return NULL;
		}
		at->extent = *extent;
		at->file = file;
		at->next = *bucket;
		*bucket = at;
		atomic_fetch_add(&bulk->extent_count, 1);
	}
	return at;
}

static void extent_free(struct pf_bulk_extent *at)
{
	free(at->sums);
	free(at);
}

void pf_bulk_leave(struct pf_bulk *bulk, struct pf_bulk_extent *at)
{
	if (--at->waiting > 0 || !at->gone)
		return;
	if (at->open) {
		at->open->next = bulk->idle;
		bulk->idle = at->open;
	}
	extent_free(at);
}

static int failed(const struct pf_bulk_extent *at)
{
	return at->error < 0 ? pf_error(at->error, "%s", at->words) : 0;
}

static void push(struct pf_bulk *bulk, struct pf_bulk_extent *at)
{
	struct pf_bulk_job *job = at->open;

	at->open = NULL;
	if (job)
		pf_bulk_queue(bulk, job);
}

/* Until nobody fills it and all is written. @at stays, by its .waiting. */
static int settle(struct pf_bulk *bulk, struct pf_bulk_extent *at)
{
	for (;;) {
		if (!at->filling)
			push(bulk, at);
		if (!at->filling && !at->jobs)
			return failed(at);
		pf_bulk_progress(bulk);
	}
}

static int settle_known(struct pf_bulk *bulk, struct pf_bulk_extent *at)
{
	int r;

	at->waiting++;
	r = settle(bulk, at);
	pf_bulk_leave(bulk, at);
	return r;
}

/* ---- pieces. lock held; waiting lets it go ---- */

/* Some piece that is open and that nobody fills goes its way, so that it comes back. */
static bool push_any(struct pf_bulk *bulk)
{
	for (unsigned i = 0; i < PF_BULK_BUCKETS; i++)
		for (struct pf_bulk_extent *at = bulk->buckets[i]; at; at = at->next)
			if (at->open && !at->filling) {
				push(bulk, at);
				return true;
			}
	return false;
}

static int piece_new(struct pf_bulk *bulk, struct pf_bulk_job **ret_job)
{
	struct pf_bulk_job *job;

	while (!bulk->idle && bulk->stage_count == PF_BULK_STAGES) {
		if (!bulk->first && bulk->busy == 0)
			push_any(bulk);
		pf_bulk_progress(bulk);
	}
	job = bulk->idle;
	if (job) {
		bulk->idle = job->next;
	} else {
		job = calloc(1, sizeof(*job));
		if (job)
			job->stage = aligned_alloc(PF_BLOCK_SIZE, PF_BULK_PIECE + PF_BLOCK_SIZE);
		if (!job || !job->stage) {
			free(job);
			return pf_error(-ENOMEM, "no memory to load an extent");
		}
		bulk->stage_count++;
	}
	*ret_job = job;
	return 0;
}

/* Waits until nothing that is under way overlaps [@offset, @offset + @size). */
static void overlap_wait(struct pf_bulk *bulk, const struct pf_bulk_extent *at, uint64_t offset, uint64_t size)
{
	const struct pf_bulk_job *job = at->jobs;

	while (job) {
		if (job->at < offset + size && offset < job->at + job->size) {
			pf_bulk_progress(bulk);
			job = at->jobs;
		} else {
			job = job->sibling;
		}
	}
}

/* The piece of @at that takes the byte at @offset, and how many bytes it takes from there. @at is filled by us. */
static int piece_for(struct pf_bulk *bulk, struct pf_bulk_extent *at, uint64_t offset, size_t *ret_room)
{
	struct pf_bulk_job *job = at->open;
	int r;

	if (job && job->at + job->size != offset)
		push(bulk, at);
	if (!at->open) {
		r = piece_new(bulk, &job);
		if (r < 0)
			return r;
		job->to = at;
		job->at = offset;
		job->size = 0;
		job->data = job->stage + offset % PF_BLOCK_SIZE;
		at->open = job;
	}
	*ret_room = PF_BULK_PIECE - offset % PF_BULK_PIECE;
	return 0;
}

/* Copies what fits one piece: *ret_step bytes. @at is filled by us. */
static int fill(struct pf_bulk *bulk, struct pf_bulk_extent *at, uint64_t offset, const uint8_t *data, size_t size,
		size_t *ret_step)
{
	struct pf_bulk_job *job;
	uint8_t *to;
	size_t room;
	int r = piece_for(bulk, at, offset, &room);

	if (r < 0)
		return r;
	*ret_step = room < size ? room : size;
	overlap_wait(bulk, at, offset, *ret_step);
	job = at->open;
	to = job->stage + job->at % PF_BLOCK_SIZE + job->size;
	pthread_mutex_unlock(&bulk->lock);
	memcpy(to, data, *ret_step);
	if (at->sums)
		pf_bulk_sum_add(at->sums, offset, to, *ret_step); /* of the copy: the caller's bytes may change */
	pthread_mutex_lock(&bulk->lock);
	job->size += *ret_step;
	if (*ret_step == room)
		push(bulk, at);
	return failed(at);
}

/* ---- calls ---- */

/* One attempt. *@ret_lsn not 0: nothing was done, a checkpoint has to pass it first. */
static int fill_try(struct pf_store *store, const struct pinfold_extent *extent, uint64_t offset, size_t size,
		    struct pf_bulk_extent **ret_at, uint64_t *ret_lsn)
{
	struct pf_bulk *bulk = store->bulk;
	struct pf_bulk_extent *at = NULL;
	struct pf_file *file;
	int r;

	*ret_lsn = 0;
	pthread_mutex_lock(&bulk->lock);
	r = pf_extent_bulk_check(store, extent, offset, size, &file);
	if (r == 0)
		at = find_or_make(bulk, extent, file);
	if (!at) {
		pthread_mutex_unlock(&bulk->lock);
		return r < 0 ? r : pf_error(-ENOMEM, "no memory to load an extent");
	}
	at->waiting++;
	while (at->filling)
		pf_bulk_progress(bulk);
	r = at->gone ? pf_error(-ESTALE, "extent %u:%llu: is not being loaded any more", extent->file_id,
				(unsigned long long)extent->offset)
		     : failed(at);
	if (r == 0)
		*ret_lsn = pf_bulk_order_lsn(store, file, extent);
	if (r < 0 || *ret_lsn) {
		pf_bulk_leave(bulk, at);
		pthread_mutex_unlock(&bulk->lock);
		return r;
	}
	at->filling = true;
	*ret_at = at;
	return 0;
}

/* Makes us the one who fills the extent; its *ret_at stays until fill_end(). Lock taken, and kept if 0. */
static int fill_begin(struct pf_store *store, const struct pinfold_extent *extent, uint64_t offset, size_t size,
		      struct pf_bulk_extent **ret_at)
{
	int r = pf_writable(store);

	while (r == 0) {
		uint64_t lsn;

		r = fill_try(store, extent, offset, size, ret_at, &lsn);
		if (r < 0 || lsn == 0)
			break;
		r = pf_bulk_order_pass(store, lsn);
	}
	return r;
}

static void fill_end(struct pf_bulk *bulk, struct pf_bulk_extent *at)
{
	at->filling = false;
	pf_bulk_leave(bulk, at);
	pthread_cond_broadcast(&bulk->done);
	pthread_mutex_unlock(&bulk->lock);
}

int pf_bulk_write(struct pf_store *store, const struct pinfold_extent *extent, uint64_t offset, const void *data,
		  size_t size)
{
	struct pf_bulk_extent *at;
	const uint8_t *from = data;
	int r = fill_begin(store, extent, offset, size, &at);

	if (r < 0)
		return r;
	for (size_t step; r == 0 && size > 0; size -= step) {
		r = fill(store->bulk, at, offset, from, size, &step);
		if (r < 0)
			break;
		offset += step;
		from += step;
	}
	fill_end(store->bulk, at);
	return r;
}

int pf_bulk_hand_over(struct pf_store *store, const struct pinfold_extent *extent, uint64_t offset, void *buf,
		      size_t size, pf_bulk_done_fn done, void *ctx)
{
	struct pf_bulk *bulk = store->bulk;
	struct pf_bulk_job *job = calloc(1, sizeof(*job));
	struct pf_bulk_extent *at;
	int r = job ? fill_begin(store, extent, offset, size, &at) : pf_error(-ENOMEM, "no memory to load an extent");

	if (r != 0) {
		free(job);
		return r;
	}
	*job = (struct pf_bulk_job){ .to = at, .at = offset, .size = size, .data = buf, .done = done, .ctx = ctx };
	push(bulk, at);
	overlap_wait(bulk, at, offset, size);
	at->foreign = true;
	pf_bulk_queue(bulk, job);
	while (bulk->thread_count == 0 && bulk->first)
		pf_bulk_progress(bulk);
	fill_end(bulk, at);
	return 0;
}

int pf_bulk_settle(struct pf_store *store, const struct pinfold_extent *extent)
{
	struct pf_bulk *bulk = store->bulk;
	struct pf_bulk_extent *at;
	int r = 0;

	if (!bulk || atomic_load(&bulk->extent_count) == 0)
		return 0;
	pthread_mutex_lock(&bulk->lock);
	at = pf_bulk_find(bulk, extent);
	if (at)
		r = settle_known(bulk, at);
	pthread_mutex_unlock(&bulk->lock);
	return r;
}

int pf_bulk_settle_foreign(struct pf_store *store, const struct pinfold_extent *extent)
{
	struct pf_bulk *bulk = store->bulk;
	struct pf_bulk_extent *at = NULL;
	struct pf_file *file;
	int r = 0;

	if (!store->config.checksums)
		return pf_bulk_settle(store, extent);
	pthread_mutex_lock(&bulk->lock);
	if (pf_extent_bulk_check(store, extent, 0, 0, &file) == 0) {
		at = find_or_make(bulk, extent, file);
		if (!at)
			r = pf_error(-ENOMEM, "no memory to write to an extent that is being loaded");
	}
	if (at) {
		r = settle_known(bulk, at);
		at = pf_bulk_find(bulk, extent);
	}
	if (at)
		at->foreign = true;
	pthread_mutex_unlock(&bulk->lock);
	return r;
}

int pf_bulk_settled(struct pf_store *store, const struct pinfold_extent *extent)
{
	struct pf_bulk *bulk = store->bulk;
	struct pf_bulk_extent *at;
	int r = 0;

	if (atomic_load(&bulk->extent_count) == 0)
		return 0;
	pthread_mutex_lock(&bulk->lock);
	at = pf_bulk_find(bulk, extent);
	if (at)
		r = failed(at);
	if (at && r == 0 && !pf_bulk_quiet(at))
		r = pf_error(-EBUSY, "extent %u:%llu: is being loaded", extent->file_id,
			     (unsigned long long)extent->offset);
	pthread_mutex_unlock(&bulk->lock);
	return r;
}

int pf_bulk_flush(struct pf_store *store, const struct pinfold_extent *extents, size_t count)
{
	struct pf_bulk_extent *at;
	int r = pf_writable(store);

	if (r < 0)
		return r;
	pthread_mutex_lock(&store->bulk->lock); /* all of them on their way before the first is waited for */
	for (size_t i = 0; i < count; i++) {
		at = pf_bulk_find(store->bulk, &extents[i]);
		if (at && !at->filling)
			push(store->bulk, at);
	}
	pthread_mutex_unlock(&store->bulk->lock);
	for (size_t i = 0; r == 0 && i < count; i++) {
		r = pf_extent_check(store, &extents[i]);
		if (r == 0)
			r = pf_bulk_settle(store, &extents[i]);
	}
	for (size_t i = 0; r == 0 && i < count; i++) {
		bool done = false;

		for (size_t k = 0; !done && k < i; k++)
			done = extents[k].file_id == extents[i].file_id;
		if (!done)
			r = pf_file_flush(store, store->files[extents[i].file_id]);
	}
	return r;
}

int pf_bulk_sums(struct pf_store *store, const struct pinfold_extent *extent, uint32_t *ret_crcs, bool *ret_known)
{
	const size_t count = extent->len / PF_BULK_BLOCK;
	struct pf_bulk *bulk = store->bulk;
	struct pf_bulk_extent *at;
	int r = 0;

	memset(ret_known, 0, count * sizeof(*ret_known));
	if (!bulk)
		return 0;
	pthread_mutex_lock(&bulk->lock);
	at = pf_bulk_find(bulk, extent);
	if (at) {
		r = settle_known(bulk, at);
		at = pf_bulk_find(bulk, extent);
	}
	if (at && at->sums && !at->foreign)
		for (size_t i = 0; r == 0 && i < count; i++)
			ret_known[i] = pf_bulk_sum_get(&at->sums[i], &ret_crcs[i]);
	pthread_mutex_unlock(&bulk->lock);
	return r;
}

/* ---- the end ---- */

void pf_bulk_close(struct pf_store *store, const struct pinfold_extent *extent)
{
	struct pf_bulk *bulk = store->bulk;
	struct pf_bulk_extent *at;

	if (atomic_load(&bulk->extent_count) == 0)
		return;
	pthread_mutex_lock(&bulk->lock);
	at = pf_bulk_find(bulk, extent);
	if (at) {
		if (at->error == 0) {
			at->error = -ESTALE;
			strcpy(at->words, "the extent is being freed");
		}
		(void)settle_known(bulk, at);
	}
	pthread_mutex_unlock(&bulk->lock);
}

void pf_bulk_forget(struct pf_store *store, const struct pinfold_extent *extent)
{
	struct pf_bulk *bulk = store->bulk;
	struct pf_bulk_extent **bucket, *at;

	if (atomic_load(&bulk->extent_count) == 0)
		return;
	pthread_mutex_lock(&bulk->lock);
	at = pf_bulk_find(bulk, extent);
	if (at) {
		for (bucket = bucket_of(bulk, extent); *bucket != at;)
			bucket = &(*bucket)->next;
		*bucket = at->next;
		atomic_fetch_sub(&bulk->extent_count, 1);
		at->gone = true;
		at->waiting++;
		pf_bulk_leave(bulk, at);
	}
	pthread_mutex_unlock(&bulk->lock);
}

int pf_bulk_start(struct pf_store *store)
{
	struct pf_bulk *bulk = calloc(1, sizeof(*bulk));

	if (!bulk)
		return pf_error(-ENOMEM, "no memory for a store");
	bulk->store = store;
	bulk->last = &bulk->first;
	pthread_mutex_init(&bulk->lock, NULL);
	pthread_cond_init(&bulk->wake, NULL);
	pthread_cond_init(&bulk->done, NULL);
	store->bulk = bulk;
	return 0;
}

static void job_free(struct pf_bulk_job *job)
{
	if (job)
		free(job->stage);
	free(job);
}

void pf_bulk_stop(struct pf_store *store)
{
	struct pf_bulk *bulk = store->bulk;
	struct pf_bulk_job *job;

	if (!bulk)
		return;
	pthread_mutex_lock(&bulk->lock);
	pf_bulk_queue_stop(bulk);
	pthread_mutex_unlock(&bulk->lock);
	while ((job = bulk->first)) {
		bulk->first = job->next;
		job_free(job);
	}
	while ((job = bulk->idle)) {
		bulk->idle = job->next;
		job_free(job);
	}
	for (unsigned i = 0; i < PF_BULK_BUCKETS; i++)
		for (struct pf_bulk_extent *at; (at = bulk->buckets[i]);) {
			bulk->buckets[i] = at->next;
			job_free(at->open);
			extent_free(at);
		}
	pthread_cond_destroy(&bulk->done);
	pthread_cond_destroy(&bulk->wake);
	pthread_mutex_destroy(&bulk->lock);
	free(bulk);
	store->bulk = NULL;
}
