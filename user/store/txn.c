/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * txn.c - building a transaction and giving it its place in the commit order.
 *
 * DESIGN: a transaction builds its journal record as it goes, and notes which pages each range changes. Ordering
 * copies the record into the log (log.c), from where it is written and applied, and the parts become nodes there.
 * What costs (the CRC) happens before the order lock. Its own memory stays its owner's and can be used again at once.
 *
 *  1. Under the order lock every extent that the transaction names is checked again:
 *     one that was dropped meanwhile makes it fail whole, as its space may be reused
 *     as soon as a checkpoint has passed the *drop*.
 *  2. visible_lsn moves after the last node is in the overlay: readers see all or nothing.
 */
#include "base/clock.h"
#include "base/error.h"
#include "store/internal.h"
#include "store/record.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A transaction that was larger is not kept for the next. */
#define KEPT_BYTES (1u << 20)

static void reset(struct pf_txn *txn)
{
	txn->length = sizeof(struct pf_record_header);
	txn->ref_count = txn->range_count = 0;
	txn->part_count = 0;
	txn->large = txn->fresh = false;
}

int pf_txn_begin(struct pf_store *store, struct pf_txn **ret_txn)
{
	struct pf_txn *txn;
	int r = pf_writable(store);

	if (r < 0)
		return r;
	txn = malloc(sizeof(*txn));
	if (!txn)
		return pf_error(-ENOMEM, "no memory for a transaction");
	txn->store = store;
	txn->record = txn->record_inline;
	txn->capacity = sizeof(txn->record_inline);
	txn->refs = txn->refs_inline;
	txn->ref_capacity = PF_TXN_INLINE_REFS;
	txn->parts = txn->parts_inline;
	txn->part_capacity = PF_TXN_INLINE_PARTS;
	reset(txn);
	*ret_txn = txn;
	return 0;
}

int pf_txn_renew(struct pf_store *store, struct pf_txn **txn)
{
	int r = pf_writable(store);

	if (r < 0 || !*txn)
		return r < 0 ? r : pf_txn_begin(store, txn);
	if ((*txn)->capacity > KEPT_BYTES) {
		pf_txn_free(*txn);
		*txn = NULL;
		return pf_txn_begin(store, txn);
	}
	reset(*txn);
	return 0;
}

void pf_txn_free(struct pf_txn *txn)
{
	if (txn->record != txn->record_inline)
		free(txn->record);
	if (txn->refs != txn->refs_inline)
		free(txn->refs);
	if (txn->parts != txn->parts_inline)
		free(txn->parts);
	free(txn);
}

struct pf_store *pf_txn_store(const struct pf_txn *txn)
{
	return txn->store;
}

void pf_txn_abort(struct pf_txn *txn)
{
	if (txn)
		pf_txn_free(txn);
}

static int reserve_record(struct pf_txn *txn, uint64_t more)
{
	uint64_t limit = pf_record_max(txn->store), capacity = txn->capacity;
	uint8_t *record;

	if (more > limit || txn->length > limit - more)
		return pf_error(-E2BIG,
				"transaction of more than %llu bytes; allowed: a quarter of journal_size, or a larger "
				"journal_size",
				(unsigned long long)limit);
	if (txn->length + more <= capacity)
		return 0;
	while (capacity < txn->length + more)
		capacity *= 2;
	record = realloc(txn->record == txn->record_inline ? NULL : txn->record, capacity);
	if (!record)
		return pf_error(-ENOMEM, "no memory for a transaction of %llu bytes", (unsigned long long)capacity);
	if (txn->record == txn->record_inline)
		memcpy(record, txn->record_inline, txn->length);
	txn->record = record;
	txn->capacity = capacity;
	return 0;
}

static bool same_extent(const struct pinfold_extent *a, const struct pinfold_extent *b)
{
	return a->file_id == b->file_id && a->offset == b->offset && a->gen == b->gen && a->len == b->len;
}

static int add_ref(struct pf_txn *txn, const struct pinfold_extent *extent, enum pf_ref_kind kind, bool fresh)
{
	struct pf_ref *refs;

	if (kind == PF_REF_WRITE) /* runs of writes to few extents are the rule: look back a little */
		for (uint32_t i = 0; i < 4 && i < txn->ref_count; i++)
			if (same_extent(&txn->refs[txn->ref_count - 1 - i].extent, extent))
				return 0;
	if (txn->ref_count == txn->ref_capacity) {
		pf_assert(txn->ref_capacity > 0);
		refs = realloc(txn->refs == txn->refs_inline ? NULL : txn->refs,
			       2ull * txn->ref_capacity * sizeof(*refs));
		if (!refs)
			return pf_error(-ENOMEM, "no memory for a transaction over %u extents", txn->ref_count);
		if (txn->refs == txn->refs_inline)
			memcpy(refs, txn->refs_inline, sizeof(txn->refs_inline));
		txn->refs = refs;
		txn->ref_capacity *= 2;
	}
	txn->refs[txn->ref_count++] = (struct pf_ref){ .extent = *extent, .kind = kind, .fresh = fresh };
	txn->fresh |= fresh;
	return 0;
}

/* Notes the pages of @size bytes at arena offset @at, which stand at @data in the record. */
static int add_parts(struct pf_txn *txn, uint64_t at, uint64_t data, uint64_t size)
{
	uint64_t count = ((at + size - 1) >> PF_PAGE_SHIFT) - (at >> PF_PAGE_SHIFT) + 1, capacity = txn->part_capacity;
	struct pf_part *parts;

	if (txn->part_count + count > capacity) {
		while (capacity < txn->part_count + count)
			capacity *= 2;
		parts = realloc(txn->parts == txn->parts_inline ? NULL : txn->parts, capacity * sizeof(*parts));
		if (!parts)
			return pf_error(-ENOMEM, "no memory for a transaction over %llu pages",
					(unsigned long long)(txn->part_count + count));
		if (txn->parts == txn->parts_inline)
			memcpy(parts, txn->parts_inline, sizeof(txn->parts_inline));
		txn->parts = parts;
		txn->part_capacity = capacity;
	}
	while (size > 0) {
		uint64_t room = PF_BLOCK_SIZE - (at & (PF_BLOCK_SIZE - 1)), step = room < size ? room : size;

		txn->parts[txn->part_count++] = (struct pf_part){ .at = at, .data = data, .size = (uint32_t)step };
		at += step;
		data += step;
		size -= step;
	}
	return 0;
}

static int add_range(struct pf_txn *txn, uint32_t file_id, uint64_t offset, const void *data, uint32_t size)
{
	const struct pf_record_range range = { .offset = offset, .file_id = file_id, .length = size };
	const uint64_t padded = pf_record_pad(size), bytes_at = txn->length + sizeof(range);
	int r;

	if (txn->range_count == PF_TXN_RANGES_MAX)
		return pf_error(-E2BIG, "transaction of more than %u ranges", PF_TXN_RANGES_MAX);
	r = reserve_record(txn, sizeof(range) + padded);
	if (r == 0)
		r = add_parts(txn, file_id * txn->store->file_size + offset, bytes_at, size);
	if (r < 0)
		return r;
	memcpy(txn->record + txn->length, &range, sizeof(range));
	memset(txn->record + bytes_at + padded - 8, 0, 8); /* what is not a whole word ends with zeros */
	memcpy(txn->record + bytes_at, data, size);
	txn->length += sizeof(range) + padded;
	txn->range_count++;
	return 0;
}

/* Whether the last thing said of an extent was a write to this one. It was checked then, and will be when ordered. */
static bool writes_last(const struct pf_txn *txn, const struct pinfold_extent *extent)
{
	const struct pf_ref *ref = &txn->refs[txn->ref_count - 1];

	return txn->ref_count > 0 && ref->kind == PF_REF_WRITE && same_extent(&ref->extent, extent);
}

static bool unpublished(const struct pf_store *store, const struct pinfold_extent *extent)
{
	const struct pf_file *file = pf_file_get(store, extent->file_id);

	return pf_cell_state(pf_cell_load(store, file, (uint32_t)(extent->offset >> PF_GRANULE_SHIFT))) ==
	       PF_GRANULE_UNPUBLISHED;
}

int pf_txn_write(struct pf_txn *txn, const struct pinfold_extent *extent, uint64_t offset, const void *data,
		 size_t size)
{
	const bool known = writes_last(txn, extent);
	bool fresh;
	int r = known ? 0 : pf_extent_check(txn->store, extent);

	if (r < 0)
		return r;
	if (offset > extent->len || size > extent->len - offset)
		return pf_error(-ERANGE, "write of %zu bytes at %llu into an extent of %u", size,
				(unsigned long long)offset, extent->len);
	if (size == 0)
		return 0;
	fresh = !known && unpublished(txn->store, extent);
	if (fresh)
		r = pf_bulk_settle_foreign(txn->store, extent);
	if (r == 0 && !known)
		r = add_ref(txn, extent, PF_REF_WRITE, fresh);
	if (r < 0)
		return r;
	return add_range(txn, extent->file_id, extent->offset + offset, data, (uint32_t)size);
}

static int add_entry(struct pf_txn *txn, const struct pinfold_extent *extent, uint8_t state, uint32_t flags)
{
	uint32_t granule = (uint32_t)(extent->offset >> PF_GRANULE_SHIFT);
	uint32_t order = (uint32_t)__builtin_ctz(extent->len >> PF_GRANULE_SHIFT);
	struct pf_granule_entry entry;

	pf_entry_make(&entry, extent->file_id, granule, state, state == PF_ENTRY_FREE ? 0 : order, flags, extent->gen);
	return add_range(txn, extent->file_id, PF_BLOCK_SIZE + (uint64_t)granule * sizeof(entry), &entry,
			 sizeof(entry));
}

static int expect_state(struct pf_store *store, const struct pinfold_extent *extent, enum pf_granule_state state,
			uint32_t *ret_flags)
{
	struct pf_file *file;
	uint64_t cell;
	int r = pf_extent_check(store, extent);

	if (r < 0)
		return r;
	file = store->files[extent->file_id];
	cell = pf_cell_load(store, file, (uint32_t)(extent->offset >> PF_GRANULE_SHIFT));
	if (pf_cell_state(cell) != state)
		return pf_error(-EINVAL, "extent %u:%llu: is %s", extent->file_id, (unsigned long long)extent->offset,
				state == PF_GRANULE_PUBLISHED ? "not published" : "published already");
	if (ret_flags)
		*ret_flags = pf_cell_flags(cell);
	return 0;
}

int pf_txn_publish(struct pf_txn *txn, const struct pinfold_extent *extent)
{
	uint32_t flags;
	int r = expect_state(txn->store, extent, PF_GRANULE_UNPUBLISHED, &flags);

	if (r == 0)
		r = pf_bulk_settle(txn->store, extent);
	if (r == 0)
		r = pf_extent_sync_zeroed(txn->store, extent);
	if (r == 0)
		r = add_ref(txn, extent, PF_REF_PUBLISH, false);
	return r == 0 ? add_entry(txn, extent, PF_ENTRY_PUBLISHED, flags) : r;
}

int pf_txn_drop(struct pf_txn *txn, const struct pinfold_extent *extent)
{
	int r = expect_state(txn->store, extent, PF_GRANULE_PUBLISHED, NULL);

	if (r == 0 && same_extent(extent, &txn->store->root))
		r = pf_error(-EPERM, "the root extent cannot be dropped");
	if (r == 0)
		r = add_ref(txn, extent, PF_REF_DROP, false);
	return r == 0 ? add_entry(txn, extent, PF_ENTRY_FREE, 0) : r;
}

/* ---- ordering ---- */

static int prepare(struct pf_txn *txn, struct pf_quarantine **ret_items)
{
	struct pf_record_header *header = (struct pf_record_header *)txn->record;

	*ret_items = NULL;
	for (uint32_t i = 0; i < txn->ref_count; i++) {
		struct pf_quarantine *item;

		if (txn->refs[i].kind != PF_REF_DROP)
			continue;
		item = malloc(sizeof(*item));
		if (!item) {
			while ((item = *ret_items)) {
				*ret_items = item->next;
				free(item);
			}
			return pf_error(-ENOMEM, "no memory to drop an extent");
		}
		item->next = *ret_items;
		*ret_items = item;
	}
	header->length = txn->length;
	header->range_count = txn->range_count;
	pf_record_seal_body(txn->record, txn->length);
	return 0;
}

/* Waits until journal and log have room and not too much is pending. lock held. */
static int wait_for_room(struct pf_txn *txn)
{
	struct pf_store *store = txn->store;
	const struct pf_log *log = &store->log;

	for (;;) {
		enum pf_room room = pf_log_room(store, txn);
		uint64_t lsn = atomic_load_explicit(&store->ordered_lsn, memory_order_relaxed);
		int r;

		if (atomic_load_explicit(&store->poisoned, memory_order_relaxed) || store->stop)
			return pf_error(-EROFS, "%s: %s", store->dir,
					store->stop ? "is being closed" : store->poison_reason);
		if (room == PF_ROOM_THERE)
			return 0;
		if (room == PF_ROOM_APPLY)
			lsn = log->group[log->applied % PF_GROUPS].end_lsn;
		pthread_mutex_unlock(&store->lock);
		if (room == PF_ROOM_CHECKPOINT)
			r = pf_store_checkpoint(store);
		else
			r = pf_settle(store, lsn, room == PF_ROOM_APPLY, 0);
		pthread_mutex_lock(&store->lock);
		if (r < 0)
			return r;
	}
}

static int check_refs(const struct pf_txn *txn)
{
	for (uint32_t i = 0; i < txn->ref_count; i++) {
		const struct pf_ref *ref = &txn->refs[i];
		int r;

		if (ref->kind == PF_REF_WRITE)
			r = pf_extent_check(txn->store, &ref->extent);
		else
			r = expect_state(txn->store, &ref->extent,
					 ref->kind == PF_REF_DROP ? PF_GRANULE_PUBLISHED : PF_GRANULE_UNPUBLISHED,
					 NULL);
		if (r == 0 && ref->kind == PF_REF_PUBLISH)
			r = pf_bulk_settled(txn->store, &ref->extent);
		for (uint32_t k = 0; r == 0 && ref->kind != PF_REF_WRITE && k < i; k++)
			if (txn->refs[k].kind == ref->kind && same_extent(&txn->refs[k].extent, &ref->extent))
				r = pf_error(-EINVAL, "extent %u:%llu: named twice", ref->extent.file_id,
					     (unsigned long long)ref->extent.offset);
		if (r < 0)
			return r;
	}
	return 0;
}

static void change_extents(struct pf_txn *txn, struct pf_quarantine **items, uint64_t lsn)
{
	for (uint32_t i = 0; i < txn->ref_count; i++) {
		struct pf_ref *ref = &txn->refs[i];
		struct pf_quarantine *item = *items;

		if (ref->kind == PF_REF_PUBLISH)
			pf_extent_published(txn->store, &ref->extent);
		if (ref->kind != PF_REF_DROP)
			continue;
		pf_assert(item); /* prepare() made one for each */
		*items = item->next;
		pf_extent_dropped(txn->store, &ref->extent, item, lsn);
	}
}

/* Appends @txn to the commit order. lock held, room is there. */
static uint64_t order(struct pf_txn *txn, struct pf_quarantine **items)
{
	struct pf_store *store = txn->store;
	uint64_t lsn = atomic_load_explicit(&store->ordered_lsn, memory_order_relaxed), end = lsn + txn->length;

	pf_record_seal(txn->record, lsn, store->next_txn_id++);
	pf_log_append(store, txn, end);
	if (store->config.sync == PINFOLD_SYNC_ASYNC)
		pf_log_pace_set(store);
	store->commit_count++;
	store->commit_bytes += txn->length;
	change_extents(txn, items, end);
	atomic_store_explicit(&store->ordered_lsn, end, memory_order_release);
	atomic_store_explicit(&store->visible_lsn, end, memory_order_release);
	return end;
}

/* Tells the flusher what it must know of a transaction that was ordered when @before bytes were pending. lock held. */
static void wake_flusher(struct pf_store *store, uint64_t before, bool wake)
{
	const enum pinfold_sync sync = store->config.sync;
	const uint64_t batch = sync == PINFOLD_SYNC_ASYNC ? PF_ASYNC_BATCH : store->pending_max / 2;

	if (before == 0) {
		if (sync == PINFOLD_SYNC_ASYNC || wake)
			store->oldest_ns = pf_clock_ns();
		if (wake && sync != PINFOLD_SYNC_NONE && (store->flusher_sleeps || atomic_load(&store->event_fd) >= 0))
			pthread_cond_signal(&store->flusher_wake);
	}
	if (before < batch && store->log.pending_bytes >= batch && sync != PINFOLD_SYNC_SYNC)
		pthread_cond_signal(&store->flusher_wake);
}

/* Orders @txn unless something that it writes to is being bulk-written: 1, to be tried again. */
static int order_try(struct pf_txn *txn, bool wake, struct pf_quarantine **items, uint64_t *ret_lsn)
{
	struct pf_store *store = txn->store;
	int r = pf_bulk_order_wait(txn);

	if (r < 0)
		return r;
	pthread_mutex_lock(&store->lock);
	r = wait_for_room(txn);
	if (r == 0)
		r = check_refs(txn);
	if (r == 0 && !pf_bulk_order(txn, atomic_load(&store->ordered_lsn) + txn->length))
		r = 1;
	if (r == 0) {
		uint64_t before = store->log.pending_bytes;

		*ret_lsn = order(txn, items);
		wake_flusher(store, before, wake);
	}
	pthread_mutex_unlock(&store->lock);
	return r;
}

int pf_txn_order(struct pf_txn *txn, bool wake, uint64_t *ret_lsn)
{
	struct pf_quarantine *items, *item;
	int r = prepare(txn, &items);

	if (r < 0)
		return r;
	if (txn->length > PF_SMALL_BYTES || txn->part_count > PF_SMALL_NODES)
		r = pf_log_large_claim(txn->store, txn);
	if (r == 0) {
		do
			r = order_try(txn, wake, &items, ret_lsn);
		while (r > 0);
		if (r < 0 && txn->large)
			pf_log_large_release(txn->store, txn);
	}
	while ((item = items)) {
		items = item->next;
		free(item);
	}
	return r;
}

static int submit(struct pf_txn *txn, bool wake, pinfold_ticket *ret_ticket)
{
	uint64_t lsn = atomic_load(&txn->store->ordered_lsn);
	int r = 0;

	if (txn->range_count > 0) /* an empty one happened with whatever was ordered last */
		r = pf_txn_order(txn, wake, &lsn);
	if (r == 0)
		*ret_ticket = lsn;
	return r;
}

void pf_txn_pace(struct pf_store *store)
{
	const uint32_t us = atomic_load_explicit(&store->log.pace_us, memory_order_relaxed);
	const struct timespec time = { .tv_nsec = (long)us * 1000 };

	if (us && store->config.sync == PINFOLD_SYNC_ASYNC)
		nanosleep(&time, NULL);
}

int pf_txn_submit(struct pf_txn *txn, pinfold_ticket *ret_ticket)
{
	struct pf_store *store = txn->store;
	int r = submit(txn, true, ret_ticket);

	pf_txn_free(txn);
	if (r == 0)
		pf_txn_pace(store);
	return r;
}

int pf_txn_submit_kept(struct pf_txn *txn, pinfold_ticket *ret_ticket)
{
	return submit(txn, true, ret_ticket);
}

int pf_txn_commit(struct pf_txn *txn)
{
	struct pf_store *store = txn->store;
	pinfold_ticket ticket = 0;
	int r = submit(txn, store->config.sync != PINFOLD_SYNC_SYNC, &ticket); /* in sync mode we lead ourselves */

	pf_txn_free(txn);
	if (r == 0)
		pf_txn_pace(store);
	return r < 0 ? r : pf_ticket_settle(store, ticket);
}
