/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * log.c - what is ordered and not yet applied, in memory: groups of records as the journal will hold them, and the
 * nodes that lead readers to their bytes.
 *
 * DESIGN: a committer copies its record once, behind the others of the open group; the leader writes a group from
 * where it stands. Memory is an area of bytes and a ring of nodes, so a commit allocates nothing, and what is applied
 * is given back by moving a count. A group begins in the lowest gap between those that are not applied that has room
 * enough, and grows at most to that gap's end: nothing is lost behind it, and the caches hold the first few MiB. A
 * transaction that is too large has an area of its own behind the groups', for one at a time, and is a group of its
 * own.
 *
 *  1. Groups are opened, sealed, written and applied in order; at most one is open, and it is the last.
 *  2. Memory of a group is used again only after it was applied, that is, after applied_lsn has passed it: a reader
 * that has meanwhile copied other bytes finds out (read.c). The memory itself stays mapped until the store is closed,
 * as does a block behind each area: whatever page-sized part a confused reader copies is there.
 *  3. Bytes behind pos that a group may still take were found free in the journal before each append.
 */
#include "base/error.h"
#include "base/words.h"
#include "store/internal.h"

#include <errno.h>
#include <sys/mman.h>
#include <time.h>

/* A gap for which those behind it are left alone. */
#define EARLY_ROOM (4ull << 20)
#define GROUPS_SIZE_MIN (8ull << 20)
/* Made between two looks whether the store ends; a large page if the kernel has one. */
#define FAULT_STEP (2ull << 20)
/* In async mode: room comes back group by group, so that whoever waits for it waits for little. */
#define ASYNC_GROUP_MAX (2 * PF_ASYNC_BATCH)
/* Longest wait of a committer in async mode that finds room. */
#define PACE_US_MAX 2000u

static uint64_t round_up(uint64_t size)
{
	return (size + PF_BLOCK_SIZE - 1) & ~(uint64_t)(PF_BLOCK_SIZE - 1);
}

static void *reserve(uint64_t size)
{
	void *at = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		return NULL;
	madvise(at, size, MADV_DONTDUMP);
	return at;
}

/*
 * Has memory there from @at on, by zeros where zeros are: committers may have come there first. By faults, which lock
 * this mapping only: madvise() would lock the address space meanwhile, and whoever mapped something would wait, for 20
 * ms where a hypervisor has to find the memory of a large page.
 */
static void fault_in(const struct pf_log *log, uint64_t at)
{
	const uint64_t end = log->groups_size - at < FAULT_STEP ? log->groups_size : at + FAULT_STEP;

	for (; at < end; at += PF_BLOCK_SIZE) {
		uint64_t zero = 0;

		atomic_compare_exchange_strong_explicit((_Atomic uint64_t *)(log->data + at), &zero, 0,
							memory_order_relaxed, memory_order_relaxed);
	}
}

int pf_log_init(struct pf_store *store)
{
	struct pf_log *log = &store->log;
	uint64_t ring_nodes = PF_RING_NODES * sizeof(*log->nodes);

	log->groups_size = 2 * store->pending_max > GROUPS_SIZE_MIN ? 2 * store->pending_max : GROUPS_SIZE_MIN;
	log->large_size = round_up(pf_record_max(store)) + 2 * PF_BLOCK_SIZE;
	log->large_nodes = 2ull * PF_TXN_RANGES_MAX + (log->large_size >> PF_PAGE_SHIFT);
	log->data = reserve(log->groups_size + log->large_size);
	log->nodes = reserve(ring_nodes + log->large_nodes * sizeof(*log->nodes));
	if (!log->data || !log->nodes ||
	    mprotect(log->data, log->groups_size + PF_BLOCK_SIZE, PROT_READ | PROT_WRITE) != 0 ||
	    mprotect(log->nodes, ring_nodes, PROT_READ | PROT_WRITE) != 0)
		return pf_error(-ENOMEM, "no memory for the log");
	log->large_ready = PF_BLOCK_SIZE;
	madvise(log->data, log->groups_size, MADV_HUGEPAGE);
	if (store->config.sync != PINFOLD_SYNC_SYNC) /* the rest follows: pf_log_fault_in() */
		fault_in(log, 0);
	return 0;
}

/* Whether the store is being closed. */
static bool store_ends(struct pf_store *store)
{
	bool stop;

	pthread_mutex_lock(&store->lock);
	stop = store->stop;
	pthread_mutex_unlock(&store->lock);
	return stop;
}

void pf_log_fault_in(struct pf_store *store)
{
	const struct pf_log *log = &store->log;

	for (uint64_t at = 0; at < log->groups_size && !store_ends(store); at += FAULT_STEP)
		fault_in(log, at);
}

void pf_log_done(struct pf_store *store)
{
	struct pf_log *log = &store->log;

	if (log->data)
		munmap(log->data, log->groups_size + log->large_size);
	if (log->nodes)
		munmap(log->nodes, (PF_RING_NODES + log->large_nodes) * sizeof(*log->nodes));
	log->data = NULL;
	log->nodes = NULL;
}

/* ---- room ---- */

static struct pf_group *open_group(const struct pf_log *log)
{
	return log->opened > log->sealed ? (struct pf_group *)&log->group[log->sealed % PF_GROUPS] : NULL;
}

uint64_t pf_log_head_pos(const struct pf_store *store)
{
	const struct pf_group *group = open_group(&store->log);

	return store->head_pos + (group ? pf_group_size(group->bytes) : 0);
}

/* Whether @txn can be appended to the open group. */
static bool joins(const struct pf_store *store, const struct pf_group *group, const struct pf_txn *txn)
{
	const uint64_t limit = store->config.sync == PINFOLD_SYNC_ASYNC ? ASYNC_GROUP_MAX : store->pending_max;

	return group && !txn->large && group->bytes + txn->length <= limit &&
	       pf_group_size(group->bytes + txn->length) <= group->room;
}

/* The gap from @start on: up to the next group that is not applied, or the end. 0: @start is within one. */
static uint64_t gap_at(const struct pf_log *log, uint64_t start)
{
	uint64_t end = log->groups_size;

	for (uint64_t i = log->applied; i < log->opened; i++) {
		const struct pf_group *group = &log->group[i % PF_GROUPS];

		if (group->large || group->start + pf_group_size(group->bytes) <= start)
			continue;
		if (group->start <= start)
			return 0;
		if (group->start < end)
			end = group->start;
	}
	return end - start;
}

/* Where the next group begins that @need bytes fit into, if the open one is sealed; false: nowhere. */
static bool place(const struct pf_log *log, uint64_t need, uint64_t *ret_start, uint64_t *ret_room)
{
	const uint64_t wanted = need > EARLY_ROOM ? need : EARLY_ROOM;
	uint64_t start = 0, room = gap_at(log, 0);

	for (uint64_t i = log->applied; i < log->opened; i++) {
		const struct pf_group *group = &log->group[i % PF_GROUPS];
		const uint64_t end = group->start + pf_group_size(group->bytes);
		uint64_t gap;

		if (group->large || end >= log->groups_size)
			continue;
		gap = gap_at(log, end);
		/* the lowest of those that suffice, or else the largest */
		if (gap >= wanted ? room < wanted || end < start : gap > room) {
			start = end;
			room = gap;
		}
	}
	*ret_start = start;
	*ret_room = room;
	return room >= need;
}

enum pf_room pf_log_room(const struct pf_store *store, const struct pf_txn *txn)
{
	const struct pf_log *log = &store->log;
	const struct pf_group *group = open_group(log);
	const uint64_t size = pf_group_size(txn->length);
	uint64_t end = store->head_pos, start, room;
	const bool join = joins(store, group, txn);

	if (join)
		end += pf_group_size(group->bytes + txn->length);
	else
		end += (group ? pf_group_size(group->bytes) : 0) + size;
	if (end - store->start_pos > store->capacity)
		return PF_ROOM_CHECKPOINT;
	if (log->pending_bytes && log->pending_bytes + txn->length > store->pending_max)
		return PF_ROOM_FLUSH;
	if (txn->large)
		return log->opened - log->applied < PF_GROUPS ? PF_ROOM_THERE : PF_ROOM_APPLY;
	if (log->node_head + txn->part_count - log->node_tail > PF_RING_NODES)
		return PF_ROOM_APPLY;
	if (join)
		return PF_ROOM_THERE;
	return log->opened - log->applied < PF_GROUPS && place(log, size, &start, &room) ? PF_ROOM_THERE :
										    PF_ROOM_APPLY;
}

/*
 * Committers that are faster than the device fill all there is, and would then wait for as long as it takes to write
 * and apply a group, or to end a checkpoint. From half full on each waits a little by itself instead, so that
 * what stops the device for a moment stops nobody for longer than PACE_US_MAX.
 */
void pf_log_pace_set(struct pf_store *store)
{
	struct pf_log *log = &store->log;
	const uint64_t nodes = log->node_head - log->node_tail, groups = log->opened - log->applied;
	const uint64_t used = store->head_pos - store->start_pos, quarter = store->capacity / 4;
	uint64_t over = 0; /* of 1024: how far beyond the half; of the journal beyond three quarters */
	uint64_t bytes = 0;

	for (uint64_t i = log->applied; i < log->opened; i++)
		bytes += log->group[i % PF_GROUPS].large ? 0 : log->group[i % PF_GROUPS].bytes;
	if (nodes > PF_RING_NODES / 2)
		over = (nodes - PF_RING_NODES / 2) * 2048 / PF_RING_NODES;
	if (groups > PF_GROUPS / 2 && over < (groups - PF_GROUPS / 2) * 2048 / PF_GROUPS)
		over = (groups - PF_GROUPS / 2) * 2048 / PF_GROUPS;
	if (bytes > log->groups_size / 2 && over < (bytes - log->groups_size / 2) * 2048 / log->groups_size)
		over = (bytes - log->groups_size / 2) * 2048 / log->groups_size;
	if (log->pending_bytes > store->pending_max / 2 &&
	    over < (log->pending_bytes - store->pending_max / 2) * 2048 / store->pending_max)
		over = (log->pending_bytes - store->pending_max / 2) * 2048 / store->pending_max;
	if (used > 3 * quarter && over < (used - 3 * quarter) * 1024 / quarter)
		over = (used - 3 * quarter) * 1024 / quarter;
	if (over > 1024)
		over = 1024;
	/* squared: little until it is needed, so that the device is never without work */
	atomic_store_explicit(&log->pace_us, (uint32_t)(over * over * PACE_US_MAX >> 20), memory_order_relaxed);
}

/* ---- groups ---- */

static void seal(struct pf_store *store)
{
	struct pf_log *log = &store->log;
	struct pf_group *group = open_group(log);

	group->node_end = log->node_head;
	store->head_pos += pf_group_size(group->bytes);
	log->sealed++;
}

static struct pf_group *open_new(struct pf_store *store, const struct pf_txn *txn)
{
	struct pf_log *log = &store->log;
	uint64_t start = log->groups_size, room = 0;
	struct pf_group *group;
	bool there = true;

	if (open_group(log))
		seal(store);
	if (!txn->large)
		there = place(log, pf_group_size(txn->length), &start, &room);
	pf_assert(there);
	group = &log->group[log->opened++ % PF_GROUPS];
	*group = (struct pf_group){ .start = start,
				    .room = room,
				    .pos = store->head_pos,
				    .number = store->next_group++,
				    .node_begin = log->node_head,
				    .large = txn->large };
	return group;
}

void pf_log_append(struct pf_store *store, const struct pf_txn *txn, uint64_t end_lsn)
{
	struct pf_log *log = &store->log;
	struct pf_group *group = open_group(log);
	uint64_t at;

	if (!joins(store, group, txn))
		group = open_new(store, txn);
	atomic_thread_fence(memory_order_release); /* of invariant 2, before the bytes that a late reader may meet */
	at = group->start + sizeof(struct pf_group_header) + group->bytes;
	/* a large one is there already, but for what its place in the order decides */
	pf_words_store(log->data + at, txn->record, txn->large ? sizeof(struct pf_record_header) : txn->length);
	for (uint64_t i = 0; i < txn->part_count; i++) {
		uint32_t index = txn->large ? PF_RING_NODES + (uint32_t)i
					    : (uint32_t)(log->node_head++ & (PF_RING_NODES - 1));

		pf_overlay_insert(store, index, end_lsn, &txn->parts[i], at + txn->parts[i].data);
	}
	group->bytes += txn->length;
	group->end_lsn = end_lsn;
	group->txn_count++;
	log->pending_bytes += txn->length;
	atomic_fetch_add_explicit(&log->pending_txns, 1, memory_order_relaxed);
	if (txn->large) {
		group->large_nodes = (uint32_t)txn->part_count;
		log->large_lsn = end_lsn;
		seal(store);
	}
}

struct pf_group *pf_log_take(struct pf_store *store)
{
	struct pf_log *log = &store->log;
	struct pf_group *group = &log->group[log->written % PF_GROUPS];

	if (log->written == log->sealed)
		seal(store);
	log->pending_bytes -= group->bytes;
	atomic_fetch_sub_explicit(&log->pending_txns, group->txn_count, memory_order_relaxed);
	return group;
}

void pf_log_applied(struct pf_store *store)
{
	struct pf_log *log = &store->log;
	const struct pf_group *group = &log->group[log->applied++ % PF_GROUPS];

	log->node_tail = group->node_end;
	if (!group->large)
		return;
	/* gives the memory back; whoever still reads there sees zeros, and that applied_lsn has passed it */
	madvise(log->data + log->groups_size, log->large_ready, MADV_DONTNEED);
	madvise(log->nodes + PF_RING_NODES, log->large_nodes_ready * sizeof(*log->nodes), MADV_DONTNEED);
	log->large_busy = false;
	log->large_lsn = 0;
}

/* ---- the large area ---- */

static int make_ready(void *base, uint64_t *ready, uint64_t wanted)
{
	if (wanted <= *ready)
		return 0;
	if (mprotect(base, wanted, PROT_READ | PROT_WRITE) != 0)
		return pf_error(-ENOMEM, "no memory for a transaction of %llu bytes", (unsigned long long)wanted);
	*ready = wanted;
	return 0;
}

/* Waits until nobody has the area. */
static int wait_idle(struct pf_store *store)
{
	const struct timespec moment = { .tv_nsec = 100000 };
	int r = 0;

	pthread_mutex_lock(&store->lock);
	while (r == 0 && store->log.large_busy) {
		uint64_t lsn = store->log.large_lsn;

		pthread_mutex_unlock(&store->lock);
		if (lsn)
			r = pf_settle(store, lsn, true, 0);
		else /* its owner is about to order it */
			nanosleep(&moment, NULL);
		if (r == 0)
			r = pf_writable(store);
		pthread_mutex_lock(&store->lock);
	}
	if (r == 0)
		store->log.large_busy = true;
	pthread_mutex_unlock(&store->lock);
	return r;
}

int pf_log_large_claim(struct pf_store *store, struct pf_txn *txn)
{
	struct pf_log *log = &store->log;
	uint8_t *base = log->data + log->groups_size;
	uint64_t nodes_ready;
	int r = wait_idle(store);

	if (r < 0)
		return r;
	txn->large = true;
	pf_assert(txn->part_count <= log->large_nodes);
	r = make_ready(base, &log->large_ready, pf_group_size(txn->length) + PF_BLOCK_SIZE);
	nodes_ready = round_up(log->large_nodes_ready * sizeof(*log->nodes));
	if (r == 0)
		r = make_ready(log->nodes + PF_RING_NODES, &nodes_ready,
			       round_up(txn->part_count * sizeof(*log->nodes)));
	if (r < 0) {
		pf_log_large_release(store, txn);
		return r;
	}
	log->large_nodes_ready = nodes_ready / sizeof(*log->nodes);
	pf_words_store(base + sizeof(struct pf_group_header), txn->record, txn->length);
	return 0;
}

void pf_log_large_release(struct pf_store *store, struct pf_txn *txn)
{
	pthread_mutex_lock(&store->lock);
	store->log.large_busy = false;
	pthread_mutex_unlock(&store->lock);
	txn->large = false;
}
