/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * apply.c - storing a durable transaction into the mapping, past its readers.
 *
 *  1. One applier at a time (flush.c's applying flag, or recovery): so the sequences
 *     need no lock, and an odd one is always the applier's own.
 *  2. The sequences of all pages of a transaction are odd from before its first store until after its last: a reader
 * never takes a half-applied one for whole, not even one in place that asks for nothing else. Its nodes stay in the
 *     overlay until the whole group is stored.
 *  3. Aligned 8-byte parts are stored at once, in order, and parts in the order of the record: a table may swing an
 * entry.
 *  4. A page whose blocks cannot be read answers with SIGBUS: that poisons the store,
 *     and what is durable but not applied stays visible through the overlay.
 */
#include "base/clock.h"
#include "base/error.h"
#include "base/sigbus.h"
#include "base/words.h"
#include "store/internal.h"
#include "store/protect.h"
#include "store/record.h"

#include <sched.h>
#include <string.h>
#include <time.h>

/* Transactions between two looks at the clock, and the time after which whoever nobody waits for lets others run: the
 * scheduler would take the processor from it only at a tick, and a committer that waits for one would wait for ticks.
 */
#define CLOCK_EVERY 64u
#define YIELD_NS 500000u
/* To yield does not help a committer that has had more than its share lately: the scheduler prefers whoever yields. */
#define NAP_NS 20000

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
 * Behind the bytes and always: a checkpoint that cleared the mark and flushed in between did not take them, and the
 * next one, whose start lies behind this record, must. @at: in the arena.
 */
static void note_change(struct pf_store *store, uint64_t at)
{
	atomic_store_explicit(&store->changed[at >> PF_FLUSH_SHIFT], true, memory_order_release);
}

/* What went wrong at the address that the guard caught. */
static int fault(struct pf_store *store)
{
	uint64_t at = (uint64_t)((const uint8_t *)pf_sigbus_address() - store->rw_base);

	pf_window_lock(store);
	pf_poison(store, "data.%06u: offset %llu: I/O error while applying", (unsigned int)(at / store->file_size),
		  (unsigned long long)(at % store->file_size));
	return pf_error(-EIO, "%s: %s", store->dir, store->poison_reason);
}

/* What of a group is being stored. */
struct run {
	struct pf_store *store;
	const struct pf_node *nodes;
	uint32_t mask;                     /* node i stands at nodes[i & mask] */
	volatile uint64_t first, last;     /* nodes of the transaction at work: a fault must not leave sequences odd */
	uint64_t yielded;                  /* when others were let run */
	uint64_t ordered;                  /* and what was ordered by then */
	uint32_t turns;
};

static const struct pf_node *node_at(const struct run *run, uint64_t i)
{
	return &run->nodes[i & run->mask];
}

static struct pf_page_state *state_at(const struct run *run, uint64_t i)
{
	return pf_page_of(run->store,
			  atomic_load_explicit(&node_at(run, i)->at, memory_order_relaxed) >> PF_PAGE_SHIFT);
}

/* Asks for the places of a node that will soon be stored. It may be one of a later group: a hint. */
static void ask_ahead(const struct run *run, uint64_t i)
{
	const struct pf_node *node = node_at(run, i);
	const uint64_t at = atomic_load_explicit(&node->at, memory_order_relaxed);
	const uint32_t size = pf_node_size(atomic_load_explicit(&node->data, memory_order_relaxed));

	__builtin_prefetch(pf_page_of(run->store, at >> PF_PAGE_SHIFT), 1);
	for (uint32_t k = 0; k < size && k < AHEAD_MAX; k += 64)
		__builtin_prefetch(run->store->rw_base + at + k, 1);
}

static void store_node(struct run *run, const struct pf_node *node)
{
	const uint64_t at = atomic_load_explicit(&node->at, memory_order_relaxed);
	const uint64_t data = atomic_load_explicit(&node->data, memory_order_relaxed);

	pf_words_store(run->store->rw_base + at, run->store->log.data + pf_node_data(data), pf_node_size(data));
	note_change(run->store, at); /* a node is of one page */
}

/*
 * Has the page of a node there and writable: what it costs to get it, a fault, a block, a write-back that must end
 * first, is mostly not spent with sequences odd, which sends readers the long way. Nobody but us writes, so the byte is
 * what it was. And has it translated for readers: later it may be locked, for as long as it takes to allocate the
 * blocks of thousands of pages, and a reader's first fault, or that of a put that looks at a line, would wait for that.
 */
static void fault_in(const struct run *run, const struct pf_node *node)
{
	const uint64_t place = atomic_load_explicit(&node->at, memory_order_relaxed);

	/* one access that writes: a load and then a store would be two faults */
	__atomic_fetch_or(run->store->rw_base + place, 0, __ATOMIC_RELAXED);
	pf_sigbus_touch(run->store->base + place);
}

/*
 * In between, others get a turn. If nothing was ordered since the last one, and nobody waits for us, a committer may be
 * waiting for our processor: it gets it for certain only if we sleep.
 */
static void let_run(struct run *run)
{
	static const struct timespec nap = { .tv_nsec = NAP_NS };
	struct pf_store *store = run->store;
	uint64_t now, ordered;

	if (store->config.sync == PINFOLD_SYNC_SYNC || ++run->turns % CLOCK_EVERY)
		return;
	now = pf_clock_ns();
	if (now - run->yielded < YIELD_NS)
		return;
	ordered = atomic_load_explicit(&store->ordered_lsn, memory_order_relaxed);
	if (ordered != run->ordered || atomic_load_explicit(&store->settle_waiters, memory_order_relaxed) > 0 ||
	    atomic_load_explicit(&store->spinners, memory_order_relaxed) > 0)
		sched_yield();
	else
		nanosleep(&nap, NULL);
	run->ordered = ordered;
	run->yielded = pf_clock_ns();
}

/* Several nodes may share a state: the first makes it odd, the first of the way back even. */
static void sequences_turn(const struct run *run, uint64_t first, uint64_t last, bool begin)
{
	for (uint64_t i = first; i < last; i++) {
		struct pf_page_state *state = state_at(run, i);
		uint32_t seq = atomic_load_explicit(&state->seq, memory_order_relaxed);

		if ((seq & 1) != begin)
			atomic_store_explicit(&state->seq, seq + 1, memory_order_release);
	}
	if (begin)
		atomic_thread_fence(memory_order_release);
}

/* Its own function, not inlined: locals of the guarding one must not change inside the guard. */
static __attribute__((noinline)) void store_nodes(struct run *run, const struct pf_group *group)
{
	const uint64_t from = group->large ? 0 : group->node_begin,
		       to = group->large ? group->large_nodes : group->node_end;

	for (uint64_t first = from, last; first < to; first = last) {
		const uint64_t lsn = atomic_load_explicit(&node_at(run, first)->lsn, memory_order_relaxed);

		for (last = first + 1;
		     last < to && atomic_load_explicit(&node_at(run, last)->lsn, memory_order_relaxed) == lsn; last++)
			;
		for (uint64_t i = first; i < last; i++)
			fault_in(run, node_at(run, i));
		sequences_turn(run, first, last, true);
		run->first = first;
		run->last = last;
		for (uint64_t i = first; i < last; i++) {
			if (i + AHEAD < to)
				ask_ahead(run, i + AHEAD);
			store_node(run, node_at(run, i));
		}
		run->last = first;
		sequences_turn(run, first, last, false);
		let_run(run);
	}
}

int pf_apply_group(struct pf_store *store, const struct pf_group *group)
{
	struct run run = { .store = store, .nodes = store->log.nodes, .mask = PF_RING_NODES - 1,
			   .yielded = pf_clock_ns(), .ordered = atomic_load(&store->ordered_lsn) };
	sigjmp_buf env;
	void *prev;

	if (group->large) {
		run.nodes = store->log.nodes + PF_RING_NODES;
		run.mask = UINT32_MAX;
	}
	if (sigsetjmp(env, 0) != 0) {
		sequences_turn(&run, run.first, run.last, false);
		return fault(store);
	}
	prev = pf_sigbus_arm(&env, store->rw_base, store->arena_size);
	pf_window_unlock(store);
	store_nodes(&run, group);
	pf_window_lock(store);
	pf_sigbus_disarm(prev);
	return 0;
}

/* ---- replay ---- */

static uint64_t in_arena(const struct pf_store *store, const struct pf_record_range *range)
{
	return range->file_id * store->file_size + range->offset;
}

static void note_range(struct pf_store *store, const struct pf_record_range *range)
{
	const uint64_t from = in_arena(store, range), to = from + range->length;

	for (uint64_t at = from & ~(PF_FLUSH_SIZE - 1); at < to; at += PF_FLUSH_SIZE)
		note_change(store, at);
}

static int store_range(struct pf_store *store, const struct pf_record_range *range, const uint8_t *data)
{
	pf_words_store(store->rw_base + in_arena(store, range), data, range->length);
	note_range(store, range);
	return 0;
}

/* As store_range(), when nobody reads yet: whole pages go past the mapping, so that they are not read first. */
static int replay_range(void *ctx, const struct pf_record_range *range, const uint8_t *data)
{
	struct pf_store *store = ctx;
	struct pf_file *file = store->files[range->file_id];
	const uint64_t skip = -range->offset & (PF_BLOCK_SIZE - 1);
	uint8_t *to = store->rw_base + in_arena(store, range);
	ssize_t n;
	uint64_t whole;

	if (range->length < skip + PF_BLOCK_SIZE)
		return store_range(store, range, data);
	whole = (range->length - skip) & ~(uint64_t)(PF_BLOCK_SIZE - 1);
	pf_words_store(to, data, skip);
	n = pf_io_pwrite(file->fd, data + skip, whole, range->offset + skip);
	pf_words_store(to + skip + whole, data + skip + whole, range->length - skip - whole);
	note_range(store, range);
	if (n == (ssize_t)whole)
		return 0;
	return pf_error(n < 0 ? (int)n : -EIO, "%s/%s: offset %llu: cannot replay %llu bytes: %s", store->dir,
			file->name,
			(unsigned long long)(range->offset + skip), (unsigned long long)whole,
			n < 0 ? strerror((int)-n) : "short write");
}

/* Asks for the places of a range that will soon be stored. */
static int ask_for_range(void *ctx, const struct pf_record_range *range, const uint8_t *data)
{
	struct pf_store *store = ctx;
	const uint8_t *to = store->rw_base + in_arena(store, range);

	for (uint32_t k = 0; k < range->length && k < AHEAD_MAX; k += 64)
		__builtin_prefetch(to + k, 1);
	return 0;
}

static uint64_t record_length(const uint8_t *record)
{
	struct pf_record_header header;

	memcpy(&header, record, sizeof(header));
	return header.length;
}

/* Its own function, not inlined: locals of the guarding one must not change inside the guard. */
static __attribute__((noinline)) int replay_records(struct pf_store *store, const uint8_t *data, uint64_t size)
{
	uint64_t asked = 0;
	unsigned ahead = 0;
	int r = 0;

	for (uint64_t at = 0; r == 0 && at < size; at += record_length(data + at)) {
		for (; ahead < AHEAD && asked < size; ahead++) {
			pf_record_foreach(data + asked, ask_for_range, store);
			asked += record_length(data + asked);
		}
		r = pf_record_foreach(data + at, replay_range, store);
		ahead--;
	}
	return r;
}

int pf_apply_records(struct pf_store *store, const uint8_t *data, uint64_t size)
{
	sigjmp_buf env;
	void *prev;
	int r;

	if (sigsetjmp(env, 0) != 0)
		return fault(store);
	prev = pf_sigbus_arm(&env, store->rw_base, store->arena_size);
	pf_window_unlock(store);
	r = replay_records(store, data, size);
	pf_window_lock(store);
	pf_sigbus_disarm(prev);
	return r;
}
