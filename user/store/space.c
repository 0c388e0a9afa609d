/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * space.c - blocks of the filesystem for extents: taken, known to be zero, given back.
 *
 * DESIGN: an extent gets its blocks and is zeroed by one call when it is allocated. The filesystem makes that call wait
 * for all direct writes to the file, so a load that allocates an extent for each object would never keep the device
 * busy. A store of some size therefore takes blocks for what will be allocated next as well, an eighth of what it has
 * and at most 64 MiB: these granules are *ready*, and allocating them is a matter of memory.
 *
 *  1. A ready granule is free, has blocks, and is zero: nobody has had it since. Taking it takes the mark away.
 *  2. What was taken ahead is given back when the store is closed. After a crash it stays with the file, as the blocks
 *     of freed extents do.
 *  3. What an allocation holds for later ones is nobody's: who finds no room waits until it is free again.
 *  4. A full disk does not refuse an extent for the sake of those behind it; what it refuses leaves no blocks behind.
 */
#include "store/space.h"

#include "base/error.h"
#include "store/internal.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <unistd.h>

#define AHEAD_SHARE 8
#define AHEAD_MAX (64ull << 20)

/* alloc_lock held. */
static bool ready_take(struct pf_file *file, uint32_t granule, uint32_t order)
{
	bool all = true;

	for (uint32_t i = 0; i < 1u << order; i++)
		all &= file->ready[granule + i];
	memset(file->ready + granule, 0, 1u << order);
	return all;
}

bool pf_space_take(struct pf_store *store, struct pf_file *file, uint32_t order, struct pf_space *ret_space)
{
	uint64_t ahead = store->allocated_bytes / AHEAD_SHARE;
	uint32_t granule;

	if (!pf_buddy_alloc(&file->buddy, order, &granule))
		return false;
	if (ahead > AHEAD_MAX)
		ahead = AHEAD_MAX;
	if (store->config.preallocate_files)
		ahead = 0;
	*ret_space = (struct pf_space){ .file = file, .granule = granule, .order = order, .wide = order };
	ret_space->ready = ready_take(file, granule, order);
	while (!ret_space->ready && PF_GRANULE_SIZE << (ret_space->wide + 1) <= ahead &&
	       pf_buddy_widen(&file->buddy, granule, ret_space->wide)) {
		ready_take(file, granule + (1u << ret_space->wide), ret_space->wide);
		ret_space->wide++;
	}
	store->ahead_count += ret_space->wide > order;
	return true;
}

bool pf_space_wait(struct pf_store *store)
{
	if (store->ahead_count == 0)
		return false;
	pthread_cond_wait(&store->ahead_less, &store->alloc_lock);
	return true;
}

/* Whether every zeroing of the granules, which may have been several, is durable. */
static bool durably_zeroed(const struct pf_file *file, uint32_t granule, uint32_t count)
{
	const uint64_t sync = atomic_load(&file->zeroed_sync);

	for (uint32_t i = 0; i < count; i++)
		if (atomic_load(&file->zeroed_at[granule + i]) > sync)
			return false;
	return true;
}

/*
 * Whether the granules hold no data, and none that a crash could bring back: they are a hole or unwritten, and every
 * zeroing that may have made them so is durable. Until the first flush since the file was opened nobody knows
 * what an earlier process left unflushed.
 */
static bool durably_empty(const struct pf_file *file, uint32_t granule, uint32_t order)
{
	const uint64_t begin = (uint64_t)granule << PF_GRANULE_SHIFT;
	off_t data;

	if (atomic_load(&file->zeroed_sync) == 0 || !durably_zeroed(file, granule, 1u << order))
		return false;
	data = lseek(file->read_fd, (off_t)begin, SEEK_DATA);
	return data < 0 ? errno == ENXIO : (uint64_t)data >= begin + (PF_GRANULE_SIZE << order);
}

static int punch(const struct pf_file *file, uint32_t granule, uint32_t count)
{
	return pf_io_fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       (uint64_t)granule << PF_GRANULE_SHIFT, (uint64_t)count << PF_GRANULE_SHIFT);
}

/* The file has its size from the start. One that somebody cut must not get it back as zeros: readers would believe
 * them. */
static int zero(const struct pf_file *file, uint32_t granule, uint32_t order)
{
	const uint64_t offset = (uint64_t)granule << PF_GRANULE_SHIFT, size = PF_GRANULE_SIZE << order;
	int r = pf_io_fallocate(file->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, size);

	if (r == -EOPNOTSUPP) {
		r = punch(file, granule, 1u << order);
		if (r == 0)
			r = pf_io_fallocate(file->fd, FALLOC_FL_KEEP_SIZE, offset, size);
	}
	if (r < 0)
		(void)punch(file, granule, 1u << order); /* what it got of them */
	return r;
}

/* Gives back what was taken for later ones; @zeroed: it is ready. alloc_lock held. */
static void narrow(struct pf_store *store, struct pf_space *space, bool zeroed)
{
	if (space->wide > space->order) {
		store->ahead_count--;
		pthread_cond_broadcast(&store->ahead_less);
	}
	for (; space->wide > space->order; space->wide--) {
		uint32_t count = 1u << (space->wide - 1), upper = space->granule + count;

		memset(space->file->ready + upper, zeroed, count);
		pf_buddy_free(&space->file->buddy, upper, space->wide - 1);
	}
}

/* Zeroes all of @space that it has. What fails may have zeroed some, which is as little durable. */
static int zero_wide(const struct pf_space *space)
{
	struct pf_file *file = space->file;
	const bool empty = durably_empty(file, space->granule, space->wide);
	const int r = zero(file, space->granule, space->wide);
	/* a flush of the file that begins from now on covers all zeroings up to this one */
	const uint64_t number = atomic_fetch_add(&file->zeroed, 1) + 1;

	for (uint32_t i = 0; i < 1u << space->wide; i++)
		atomic_store(&file->zeroed_at[space->granule + i], empty ? 0 : number);
	return r;
}

int pf_space_zero(struct pf_store *store, struct pf_space *space)
{
	struct pf_file *file = space->file;
	int r;

	if (space->ready)
		return 0;
	r = zero_wide(space);
	if ((r == -ENOSPC || r == -EDQUOT) && space->wide > space->order) {
		pthread_mutex_lock(&store->alloc_lock);
		narrow(store, space, false);
		pthread_mutex_unlock(&store->alloc_lock);
		r = zero_wide(space);
	}
	pthread_mutex_lock(&store->alloc_lock);
	narrow(store, space, r == 0);
	if (r < 0)
		pf_buddy_free(&file->buddy, space->granule, space->order);
	pthread_mutex_unlock(&store->alloc_lock);
	if (r < 0)
		return pf_error(r, "%s/%s: offset %llu: cannot allocate %llu bytes: %s", store->dir, file->name,
				(unsigned long long)space->granule << PF_GRANULE_SHIFT,
				(unsigned long long)(PF_GRANULE_SIZE << space->order), strerror(-r));
	return 0;
}

void pf_space_give_back(struct pf_store *store)
{
	for (uint32_t id = 0; id < atomic_load(&store->file_count); id++) {
		struct pf_file *file = store->files[id];

		for (uint32_t begin = 0, end; begin < store->granules_per_file; begin = end + 1) {
			for (end = begin; end < store->granules_per_file && file->ready[end]; end++)
				file->ready[end] = 0;
			if (end > begin)
				(void)punch(file, begin, end - begin); /* else it stays with the file */
		}
	}
}

/*
 * The kernel tells an error of writing back once, to one of those who flush. Until that one has poisoned the store,
 * which ends the flush, no checkpoint may take its own success for everybody's.
 */
static int flush_end(struct pf_store *store, const struct pf_file *file, int r)
{
	if (r < 0)
		pf_poison(store, "%s: flush failed: %s", file->name, strerror(-r));
	pthread_rwlock_unlock(&store->flush_lock);
	return r < 0 ? pf_error(r, "%s/%s: flush failed: %s", store->dir, file->name, strerror(-r)) : 0;
}

int pf_file_flush(struct pf_store *store, struct pf_file *file)
{
	uint64_t zeroed = atomic_load(&file->zeroed), seen;
	int r;

	pthread_rwlock_rdlock(&store->flush_lock);
	r = flush_end(store, file, pf_io_fdatasync(file->fd));
	if (r < 0)
		return r;
	seen = atomic_load(&file->zeroed_sync);
	while (seen < zeroed && !atomic_compare_exchange_weak(&file->zeroed_sync, &seen, zeroed))
		;
	return 0;
}

int pf_file_write_back(struct pf_store *store, struct pf_file *file, uint64_t offset, uint64_t size)
{
	uint8_t *mapped = store->rw_base + file->id * store->file_size + offset;

	pthread_rwlock_rdlock(&store->flush_lock);
	return flush_end(store, file, pf_io_write_back(file->fd, offset, mapped, size));
}

int pf_file_flush_range(struct pf_store *store, struct pf_file *file, uint64_t offset, uint64_t size)
{
	uint8_t *mapped = store->rw_base + file->id * store->file_size + offset;

	pthread_rwlock_rdlock(&store->flush_lock);
	return flush_end(store, file, pf_io_flush_range(file->fd, offset, mapped, size));
}

void pf_flushes_wait(struct pf_store *store)
{
	pthread_rwlock_wrlock(&store->flush_lock);
	pthread_rwlock_unlock(&store->flush_lock);
}

/* The whole file the first time, since that tells durably_empty() more: nothing much has changed by then. */
int pf_file_sync_zeroed(struct pf_store *store, struct pf_file *file, uint32_t granule, uint32_t count)
{
	int r;

	if (durably_zeroed(file, granule, count))
		return 0;
	if (atomic_load(&file->zeroed_sync) == 0)
		return pf_file_flush(store, file);
	r = pf_file_flush_range(store, file, (uint64_t)granule << PF_GRANULE_SHIFT,
				(uint64_t)count << PF_GRANULE_SHIFT);
	for (uint32_t i = 0; r == 0 && i < count; i++)
		atomic_store(&file->zeroed_at[granule + i], 0);
	return r;
}
