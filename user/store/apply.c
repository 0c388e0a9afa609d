/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * apply.c - storing a durable transaction into the mapping, past its readers.
 *
 *  1. One applier at a time (flush.c's applying flag, or recovery): so the sequences
 *     need no lock, and an odd one is always the applier's own.
 *  2. All stripes of a transaction are odd from before its first store until after
 *     its last: a reader never takes a half-applied one for whole.
 *  3. Aligned 8-byte parts are stored at once, in order: a table may swing an entry.
 *  4. A page whose blocks cannot be read answers with SIGBUS: that poisons the store,
 *     and what is durable but not applied stays visible through the overlay.
 */
#include "base/error.h"
#include "base/sigbus.h"
#include "store/internal.h"
#include "store/record.h"

#include <sched.h>
#include <string.h>

static void store_bytes(uint8_t *to, const uint8_t *from, uint64_t size)
{
	uint64_t head = -(uintptr_t)to & 7;

	if (head > size)
		head = size;
	for (uint64_t i = 0; i < head; i++)
		((volatile uint8_t *)to)[i] = from[i];
	to += head;
	from += head;
	size -= head;
	for (; size >= 8; size -= 8, to += 8, from += 8) {
		uint64_t word;

		memcpy(&word, from, 8);
		atomic_store_explicit((_Atomic uint64_t *)to, word, memory_order_relaxed);
	}
	for (uint64_t i = 0; i < size; i++)
		((volatile uint8_t *)to)[i] = from[i];
}

const char *pf_record_range_check(const struct pf_store *store, const struct pf_record_range *range)
{
	if (range->file_id >= atomic_load(&store->file_count))
		return "names a data file that does not exist";
	if (range->offset < PF_BLOCK_SIZE || range->offset > store->file_size ||
	    range->length > store->file_size - range->offset)
		return "lies outside its data file";
	return NULL;
}

static int store_range(void *ctx, const struct pf_record_range *range, const uint8_t *data)
{
	struct pf_store *store = ctx;
	struct pf_file *file = store->files[range->file_id];

	store_bytes(store->rw_base + range->file_id * store->file_size + range->offset, data, range->length);
	/*
	 * Behind the bytes and always: a checkpoint that cleared the flag and flushed in between did not
	 * take them, and the next one, whose start lies behind this record, must.
	 */
	atomic_store(&file->dirty, true);
	return 0;
}

/* The stores of a record under the guard. 0, or -EIO with the store poisoned. */
static int store_record(struct pf_store *store, const uint8_t *record, pf_range_fn fn)
{
	sigjmp_buf env;
	void *prev;
	int r;

	if (sigsetjmp(env, 0) != 0) {
		uint64_t at = (uint64_t)((const uint8_t *)pf_sigbus_address() - store->rw_base);

		pf_poison(store, "data.%06u: offset %llu: I/O error while applying",
			  (unsigned int)(at / store->file_size), (unsigned long long)(at % store->file_size));
		return pf_error(-EIO, "%s: %s", store->dir, store->poison_reason);
	}
	prev = pf_sigbus_arm(&env, store->rw_base, store->arena_size);
	r = pf_record_foreach(record, fn, store);
	pf_sigbus_disarm(prev);
	return r;
}

/* Several nodes may share a stripe: the first makes it odd, the first of the way back even. */
static void stripes_begin(struct pf_store *store, const struct pf_txn *txn)
{
	for (uint64_t i = 0; i < txn->node_count; i++) {
		struct pf_page_state *state = pf_page_of(store, txn->nodes[i].page);
		uint32_t seq = atomic_load_explicit(&state->seq, memory_order_relaxed);

		if (!(seq & 1))
			atomic_store_explicit(&state->seq, seq + 1, memory_order_relaxed);
	}
	atomic_thread_fence(memory_order_seq_cst);
}

static void stripes_end(struct pf_store *store, const struct pf_txn *txn)
{
	for (uint64_t i = 0; i < txn->node_count; i++) {
		struct pf_page_state *state = pf_page_of(store, txn->nodes[i].page);
		uint32_t seq = atomic_load_explicit(&state->seq, memory_order_relaxed);

		if (seq & 1)
			atomic_store_explicit(&state->seq, seq + 1, memory_order_release);
	}
}

int pf_apply(struct pf_store *store, struct pf_txn *txn)
{
	int r;

	stripes_begin(store, txn);
	r = store_record(store, txn->record, store_range);
	stripes_end(store, txn);
	return r;
}

/* As store_range(), when nobody reads yet: whole pages go past the mapping, so that they are not read first. */
static int replay_range(void *ctx, const struct pf_record_range *range, const uint8_t *data)
{
	struct pf_store *store = ctx;
	struct pf_file *file = store->files[range->file_id];
	const uint64_t skip = -range->offset & (PF_BLOCK_SIZE - 1);
	uint8_t *to = store->rw_base + range->file_id * store->file_size + range->offset;
	ssize_t n;
	uint64_t whole;

	if (range->length < skip + PF_BLOCK_SIZE)
		return store_range(ctx, range, data);
	whole = (range->length - skip) & ~(uint64_t)(PF_BLOCK_SIZE - 1);
	store_bytes(to, data, skip);
	n = pf_io_pwrite(file->fd, data + skip, whole, range->offset + skip);
	store_bytes(to + skip + whole, data + skip + whole, range->length - skip - whole);
	atomic_store(&file->dirty, true);
	if (n == (ssize_t)whole)
		return 0;
	return pf_error(n < 0 ? (int)n : -EIO, "%s/%s: offset %llu: cannot replay %llu bytes: %s", store->dir,
			file->name,
			(unsigned long long)(range->offset + skip), (unsigned long long)whole,
			n < 0 ? strerror((int)-n) : "short write");
}

int pf_apply_record(struct pf_store *store, const uint8_t *record)
{
	return store_record(store, record, replay_range);
}

/* ---- the reading side ---- */

const struct pf_page_state *pf_store_pages(const struct pf_store *store)
{
	return store->pages;
}

static uint64_t page_of(const struct pf_store *store, const void *addr)
{
	return (uint64_t)((const uint8_t *)addr - store->base) >> PF_PAGE_SHIFT;
}

uint32_t pf_seq_begin(const struct pf_store *store, const void *addr)
{
	const struct pf_page_state *state = pf_page_of(store, page_of(store, addr));
	uint32_t seq;

	for (unsigned int turns = 0; (seq = atomic_load_explicit(&state->seq, memory_order_acquire)) & 1; turns++) {
		__builtin_ia32_pause();
		if (turns % 64 == 63) /* the applier may wait for a page to be read */
			sched_yield();
	}
	return seq;
}

bool pf_seq_retry(const struct pf_store *store, const void *addr, uint32_t seq)
{
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&pf_page_of(store, page_of(store, addr))->seq, memory_order_relaxed) != seq;
}

bool pf_page_pending(const struct pf_store *store, const void *addr)
{
	return atomic_load_explicit(&pf_page_of(store, page_of(store, addr))->pending, memory_order_acquire) != 0;
}
