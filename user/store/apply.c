/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * apply.c - storing a durable transaction into the mapping, past its readers.
 *
 *  1. One applier at a time (flush.c's applying flag, or recovery): so the sequences
 *     need no lock, and an odd one is always the applier's own.
 *  2. The sequence of a page is odd while a part of it is stored. Until the whole group is stored, its nodes stay in the
 *     overlay: a reader of several pages lays on each what another already shows, so it never takes a half-applied
 *     transaction for whole; nor does one in place, which looks for pending nodes first.
 *  3. Aligned 8-byte parts are stored at once, in order, and parts in the order of the record: a table may swing an entry.
 *  4. A page whose blocks cannot be read answers with SIGBUS: that poisons the store,
 *     and what is durable but not applied stays visible through the overlay.
 */
#include "base/error.h"
#include "base/sigbus.h"
#include "base/words.h"
#include "store/internal.h"
#include "store/record.h"

#include <string.h>

/* Nodes, and bytes of each, that are asked for before they are stored. */
#define AHEAD 6u
#define AHEAD_MAX 512u

const char *pf_record_range_check(const struct pf_store *store, const struct pf_record_range *range)
{
	if (range->file_id >= atomic_load(&store->file_count))
		return "names a data file that does not exist";
	if (range->offset < PF_BLOCK_SIZE || range->offset > store->file_size ||
	    range->length > store->file_size - range->offset)
		return "lies outside its data file";
	return NULL;
}

/*
 * Behind the bytes and always: a checkpoint that cleared the flag and flushed in between did not take them, and the
 * next one, whose start lies behind this record, must.
 */
static void note_change(struct pf_file *file)
{
	atomic_store(&file->dirty, true);
}

/* What went wrong at the address that the guard caught. */
static int fault(struct pf_store *store)
{
	uint64_t at = (uint64_t)((const uint8_t *)pf_sigbus_address() - store->rw_base);

	pf_poison(store, "data.%06u: offset %llu: I/O error while applying", (unsigned int)(at / store->file_size),
		  (unsigned long long)(at % store->file_size));
	return pf_error(-EIO, "%s: %s", store->dir, store->poison_reason);
}

/* The files that a group changes are few and come in runs. */
struct run {
	struct pf_store *store;
	uint64_t begin, end;                /* of the file of the part stored last, in the arena */
	struct pf_page_state *volatile state; /* being stored to: a fault must not leave its sequence odd */
};

static void run_file(struct run *run, uint64_t at)
{
	struct pf_store *store = run->store;
	uint32_t id = (uint32_t)(at / store->file_size);

	if (run->end)
		note_change(store->files[run->begin / store->file_size]);
	run->begin = id * store->file_size;
	run->end = run->begin + store->file_size;
}

static void store_node(struct run *run, const struct pf_node *node)
{
	struct pf_store *store = run->store;
	const uint64_t at = atomic_load_explicit(&node->at, memory_order_relaxed);
	struct pf_page_state *state = pf_page_of(store, at >> PF_PAGE_SHIFT);
	const uint32_t seq = atomic_load_explicit(&state->seq, memory_order_relaxed);

	if (at < run->begin || at >= run->end)
		run_file(run, at);
	run->state = state;
	atomic_store_explicit(&state->seq, seq + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	pf_words_store(store->rw_base + at,
		       store->log.data + atomic_load_explicit(&node->data, memory_order_relaxed),
		       atomic_load_explicit(&node->size, memory_order_relaxed));
	atomic_store_explicit(&state->seq, seq + 2, memory_order_release);
}

/* Asks for the places of a node that will soon be stored. It may be one of a later group: a hint. */
static void ask_ahead(const struct pf_store *store, const struct pf_node *node)
{
	const uint64_t at = atomic_load_explicit(&node->at, memory_order_relaxed);
	const uint32_t size = atomic_load_explicit(&node->size, memory_order_relaxed);

	__builtin_prefetch(pf_page_of(store, at >> PF_PAGE_SHIFT), 1);
	for (uint32_t i = 0; i < size && i < AHEAD_MAX; i += 64)
		__builtin_prefetch(store->rw_base + at + i, 1);
}

/* Its own function, not inlined: locals of the guarding one must not change inside the guard. */
static __attribute__((noinline)) void store_nodes(struct run *run, const struct pf_group *group)
{
	const struct pf_node *nodes = run->store->log.nodes;

	if (group->large)
		for (uint32_t i = 0; i < group->large_nodes; i++)
			store_node(run, &nodes[PF_RING_NODES + i]);
	for (uint64_t i = group->node_begin; i < group->node_end; i++) {
		ask_ahead(run->store, &nodes[(i + AHEAD) & (PF_RING_NODES - 1)]);
		store_node(run, &nodes[i & (PF_RING_NODES - 1)]);
	}
	if (run->end)
		note_change(run->store->files[run->begin / run->store->file_size]);
}

int pf_apply_group(struct pf_store *store, const struct pf_group *group)
{
	struct run run = { .store = store };
	sigjmp_buf env;
	void *prev;

	if (sigsetjmp(env, 0) != 0) {
		atomic_fetch_add_explicit(&run.state->seq, 1, memory_order_release);
		return fault(store);
	}
	prev = pf_sigbus_arm(&env, store->rw_base, store->arena_size);
	store_nodes(&run, group);
	pf_sigbus_disarm(prev);
	return 0;
}

/* ---- replay ---- */

static int store_range(struct pf_store *store, const struct pf_record_range *range, const uint8_t *data)
{
	pf_words_store(store->rw_base + range->file_id * store->file_size + range->offset, data, range->length);
	note_change(store->files[range->file_id]);
	return 0;
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
		return store_range(store, range, data);
	whole = (range->length - skip) & ~(uint64_t)(PF_BLOCK_SIZE - 1);
	pf_words_store(to, data, skip);
	n = pf_io_pwrite(file->fd, data + skip, whole, range->offset + skip);
	pf_words_store(to + skip + whole, data + skip + whole, range->length - skip - whole);
	note_change(file);
	if (n == (ssize_t)whole)
		return 0;
	return pf_error(n < 0 ? (int)n : -EIO, "%s/%s: offset %llu: cannot replay %llu bytes: %s", store->dir,
			file->name,
			(unsigned long long)(range->offset + skip), (unsigned long long)whole,
			n < 0 ? strerror((int)-n) : "short write");
}

int pf_apply_record(struct pf_store *store, const uint8_t *record)
{
	sigjmp_buf env;
	void *prev;
	int r;

	if (sigsetjmp(env, 0) != 0)
		return fault(store);
	prev = pf_sigbus_arm(&env, store->rw_base, store->arena_size);
	r = pf_record_foreach(record, replay_range, store);
	pf_sigbus_disarm(prev);
	return r;
}
