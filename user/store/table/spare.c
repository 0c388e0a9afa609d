/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * spare.c - extents that a growing table will need, made ahead by a thread.
 *
 * DESIGN: a new extent must be zero, and durably so, before it is published (user/store/extent.c). Where there was data
 * before, its zeros are flushed, which takes as long as the device wants. A put that did it would stall, and all others
 * behind it. So as soon as a table has taken an extent, a thread makes the next ones. Should puts use them up faster
 * than the device allows, the one that finds none makes one itself: then the device is the limit.
 *
 *  1. Spares are allocated and not published: a crash or a close frees them. Nothing on disk knows of them.
 *  2. The thread holds table->lock only to look what is missing and to hand over. It never holds tables->lock, so a
 *     table's end may wait for it under that.
 *  3. Only a table that has grown since it was opened has spares, and only while the store is far from full: nobody
 *     else fails for want of an extent that nobody uses.
 */
#include "store/table/internal.h"

#include <signal.h>
#include <sys/statvfs.h>

/* Heap that is kept ready, at most, unless a single extent is larger... */
#define HEAP_AHEAD (32ull << 20)
/* ...and of what is free: a sixteenth. */
#define FREE_SHARE 16

void pf_spare_init(struct pf_tables *tables)
{
	pthread_mutex_init(&tables->spare_lock, NULL);
	pthread_cond_init(&tables->spare_wake, NULL);
	pthread_cond_init(&tables->spare_idle, NULL);
}

/* What is missing first: its kind, size and number. Under table->lock. */
static uint32_t missing(const struct pf_table *table, enum pf_spare_kind *ret_kind, uint64_t *ret_size)
{
	const struct pf_spares *heap = &table->spares[PF_SPARE_HEAP], *segment = &table->spares[PF_SPARE_SEGMENT];
	uint64_t size = pf_heap_extent_size(table), ahead = table->heap_bytes, wanted;
	uint32_t next = table->header.segment_count;

	if (next < PF_SEGMENT_MAX && (!segment->count || segment->extent[0].len != pf_segment_size(next))) {
		*ret_kind = PF_SPARE_SEGMENT;
		*ret_size = pf_segment_size(next);
		return 1;
	}
	if (ahead > HEAP_AHEAD)
		ahead = HEAP_AHEAD;
	wanted = ahead > size ? ahead / size : 1;
	if (wanted > PF_SPARE_MAX)
		wanted = PF_SPARE_MAX;
	*ret_kind = PF_SPARE_HEAP;
	*ret_size = size;
	return wanted > heap->count ? (uint32_t)(wanted - heap->count) : 0;
}

static bool room_for(struct pf_table *table, uint64_t size)
{
	struct pinfold_store_stats stats;
	struct statvfs vfs;

	if (pf_store_stat(table->store, &stats) < 0 ||
	    table->arena_size - stats.allocated_bytes < FREE_SHARE * size)
		return false;
	return fstatvfs(pf_store_file_fd(table->store, 0), &vfs) == 0 &&
	       (uint64_t)vfs.f_bavail * vfs.f_frsize >= FREE_SHARE * size;
}

/* Frees spares of @kind that are of the wrong size. Under table->lock. */
static void discard_unfit(struct pf_table *table, enum pf_spare_kind kind, uint64_t size)
{
	struct pf_spares *spares = &table->spares[kind];

	for (uint32_t i = 0; i < spares->count;) {
		if (spares->extent[i].len == size || (kind == PF_SPARE_HEAP && spares->extent[i].len > size)) {
			i++;
			continue;
		}
		pf_extent_back_out(table->store, &spares->extent[i]);
		spares->extent[i] = spares->extent[--spares->count];
	}
}

/* Makes up to @count extents, each flushed by itself. How many there are now, zero and durably so. */
static uint32_t make(struct pf_store *store, uint64_t size, uint32_t count, struct pinfold_extent *ret_extents)
{
	uint32_t made = 0;

	while (made < count && pf_extent_alloc(store, size, 0, &ret_extents[made]) == 0) {
		if (pf_extent_sync_zeroed(store, &ret_extents[made]) < 0) {
			pf_extent_back_out(store, &ret_extents[made]);
			break;
		}
		made++;
	}
	return made;
}

/* One kind at a time, until nothing is missing or something does not go well: then the puts will say what. */
static void serve(struct pf_table *table)
{
	struct pinfold_extent made[PF_SPARE_MAX];
	enum pf_spare_kind kind;
	uint32_t count, got;
	uint64_t size;

	do {
		pthread_mutex_lock(&table->lock);
		count = missing(table, &kind, &size);
		if (count > 0)
			discard_unfit(table, kind, size);
		pthread_mutex_unlock(&table->lock);
		if (count == 0 || !room_for(table, size * count))
			return;
		got = make(table->store, size, count, made);
		pthread_mutex_lock(&table->lock);
		for (uint32_t i = 0; i < got; i++) {
			struct pf_spares *spares = &table->spares[kind];

			if (spares->count < PF_SPARE_MAX)
				spares->extent[spares->count++] = made[i];
			else
				pf_extent_back_out(table->store, &made[i]);
		}
		pthread_mutex_unlock(&table->lock);
	} while (got == count);
}

static void *spare_run(void *arg)
{
	struct pf_tables *tables = arg;

	pthread_mutex_lock(&tables->spare_lock);
	while (!tables->spare_stop) {
		struct pf_table *table = tables->spare_list;

		if (!table) {
			pthread_cond_wait(&tables->spare_wake, &tables->spare_lock);
			continue;
		}
		tables->spare_list = table->spare_next;
		table->spare_wanted = false;
		tables->spare_busy = table;
		pthread_mutex_unlock(&tables->spare_lock);
		serve(table);
		pthread_mutex_lock(&tables->spare_lock);
		tables->spare_busy = NULL;
		pthread_cond_broadcast(&tables->spare_idle);
	}
	pthread_mutex_unlock(&tables->spare_lock);
	return NULL;
}

/* Without a thread, puts make their extents themselves. spare_lock held. */
static void thread_start(struct pf_tables *tables)
{
	sigset_t all, before;

	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	tables->spare_running = pthread_create(&tables->spare_thread, NULL, spare_run, tables) == 0;
	if (tables->spare_running)
		pthread_setname_np(tables->spare_thread, "pinfold-grow");
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void pf_spare_want(struct pf_table *table)
{
	struct pf_tables *tables = table->tables;

	pthread_mutex_lock(&tables->spare_lock);
	if (!tables->spare_running)
		thread_start(tables);
	if (tables->spare_running && !table->spare_wanted) {
		table->spare_wanted = true;
		table->spare_next = tables->spare_list;
		tables->spare_list = table;
		pthread_cond_signal(&tables->spare_wake);
	}
	pthread_mutex_unlock(&tables->spare_lock);
}

int pf_spare_take(struct pf_table *table, enum pf_spare_kind kind, uint64_t size, struct pinfold_extent *ret_extent)
{
	struct pf_spares *spares = &table->spares[kind];
	int r;

	for (uint32_t i = 0; i < spares->count; i++) {
		if (spares->extent[i].len != size && (kind == PF_SPARE_SEGMENT || spares->extent[i].len > 2 * size ||
						      spares->extent[i].len < size / 2))
			continue;
		*ret_extent = spares->extent[i];
		spares->extent[i] = spares->extent[--spares->count];
		return 0;
	}
	r = pf_extent_alloc(table->store, size, 0, ret_extent);
	if (r == -ENOSPC && kind == PF_SPARE_HEAP && spares->count > 0) {
		*ret_extent = spares->extent[--spares->count];
		r = 0;
	}
	return r;
}

void pf_spare_end(struct pf_table *table)
{
	struct pf_tables *tables = table->tables;
	struct pf_table **place;

	pthread_mutex_lock(&tables->spare_lock);
	for (place = &tables->spare_list; table->spare_wanted && *place != table; place = &(*place)->spare_next)
		;
	if (table->spare_wanted)
		*place = table->spare_next;
	table->spare_wanted = false;
	while (tables->spare_busy == table)
		pthread_cond_wait(&tables->spare_idle, &tables->spare_lock);
	pthread_mutex_unlock(&tables->spare_lock);
	for (unsigned kind = 0; kind < PF_SPARE_KINDS; kind++)
		while (table->spares[kind].count > 0)
			pf_extent_back_out(table->store, &table->spares[kind].extent[--table->spares[kind].count]);
}

void pf_spare_done(struct pf_tables *tables)
{
	pthread_mutex_lock(&tables->spare_lock);
	tables->spare_stop = true;
	pthread_cond_signal(&tables->spare_wake);
	pthread_mutex_unlock(&tables->spare_lock);
	if (tables->spare_running)
		pthread_join(tables->spare_thread, NULL);
	pthread_cond_destroy(&tables->spare_wake);
	pthread_cond_destroy(&tables->spare_idle);
	pthread_mutex_destroy(&tables->spare_lock);
}
