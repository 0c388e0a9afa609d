/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * extent.c - extents: allocation and life.
 *
 *	FREE --alloc--> UNPUBLISHED --publish, ordered--> PUBLISHED
 *	  ^                 | free                           | drop, ordered
 *	  |                 v                                v
 *	  +---release--- QUARANTINE <------------------------+
 *
 *  1. UNPUBLISHED and QUARANTINE exist in memory only: after a crash both are free.
 *  2. QUARANTINE ends when every epoch that was open has been left and a
 *     checkpoint's start LSN has passed the drop: older records may be replayed
 *     until then, and must not overwrite bulk data of the next owner.
 *  3. An extent is zeroed before it is handed out, and that is durable before its
 *     publication can be: the blocks may hold a former owner's bytes. Where nothing was ever written, and that is
 *     durable, there is nothing to wait for.
 *  4. A generation grows with each allocation at a granule and survives in its entry.
 */
#include "base/crc.h"
#include "base/error.h"
#include "base/sigbus.h"
#include "store/internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Longest wait for readers where space is short. They do not sleep in their epochs. */
#define GRACE_MS 1000u

void pf_entry_make(struct pf_granule_entry *ret_entry, uint32_t file_id, uint32_t granule, uint8_t state,
		   uint32_t order, uint32_t flags, uint32_t gen)
{
	const uint32_t place[2] = { file_id, granule };
	struct pf_granule_entry entry = {
		.state = state, .order = (uint8_t)order, .flags = (uint16_t)flags, .gen = gen
	};

	entry.crc = pf_crc32c_update(pf_crc32c(&entry, 12), place, sizeof(place));
	*ret_entry = entry;
}

const char *pf_entry_check(const struct pf_granule_entry *entry, uint32_t file_id, uint32_t granule,
			   uint32_t granule_count)
{
	static const struct pf_granule_entry never;
	const uint32_t place[2] = { file_id, granule };

	if (memcmp(entry, &never, sizeof(never)) == 0)
		return NULL;
	if (entry->crc != pf_crc32c_update(pf_crc32c(entry, 12), place, sizeof(place)))
		return "CRC does not match";
	if (entry->state > PF_ENTRY_PUBLISHED)
		return "unknown state";
	if (entry->order > PF_ORDER_MAX || granule & ((1u << entry->order) - 1) ||
	    (1u << entry->order) > granule_count - granule)
		return "size does not fit its place";
	if (entry->gen == 0)
		return "generation 0";
	if (entry->flags & ~PINFOLD_EXTENT_FLAGS_ALL)
		return "unknown flags";
	return NULL;
}

/* Its own function, not inlined: locals of the guarding one must not change inside the guard. */
static __attribute__((noinline)) uint64_t cell_in_mapping(const struct pf_store *store, const struct pf_file *file,
							  uint32_t granule)
{
	const uint8_t *at = store->base + file->id * store->file_size + PF_BLOCK_SIZE +
			    (uint64_t)granule * sizeof(struct pf_granule_entry);

	for (int attempt = 0; attempt < 100; attempt++) { /* the writer may be between its two stores */
		struct pf_granule_entry entry;
		uint64_t words[2];

		words[0] = atomic_load_explicit((const _Atomic uint64_t *)at, memory_order_acquire);
		words[1] = atomic_load_explicit((const _Atomic uint64_t *)(at + 8), memory_order_acquire);
		memcpy(&entry, words, sizeof(entry));
		if (!pf_entry_check(&entry, file->id, granule, store->granules_per_file))
			return pf_cell_make(entry.state == PF_ENTRY_PUBLISHED ? PF_GRANULE_PUBLISHED : PF_GRANULE_FREE,
					    entry.order, entry.flags, entry.gen);
	}
	return pf_cell_make(PF_GRANULE_FREE, 0, 0, 0);
}

/* A read-only store has no cells of its own: the writer's table is the truth, seen through the mapping. */
static PF_SIGBUS_FUNCTION uint64_t cell_from_table(const struct pf_store *store, const struct pf_file *file,
						   uint32_t granule)
{
	const struct pf_sigbus_range range = { .base = (uintptr_t)store->base, .size = store->arena_size };
	struct pf_sigbus_guard guard;
	uint64_t cell;

	if (granule < file->meta_granules)
		return pf_cell_make(PF_GRANULE_META, 0, 0, 0);
	if (__builtin_setjmp(guard.place))
		return pf_cell_make(PF_GRANULE_UNREADABLE, 0, 0, 0);
	pf_sigbus_enter(&guard, &range);
	cell = cell_in_mapping(store, file, granule);
	pf_sigbus_leave(&guard);
	return cell;
}

static int unreadable(const struct pf_store *store, const struct pf_file *file, uint32_t granule)
{
	return pf_error(-EIO, "%s/%s: offset %llu: I/O error while reading the granule table", store->dir, file->name,
			(unsigned long long)(PF_BLOCK_SIZE + granule * sizeof(struct pf_granule_entry)));
}

uint64_t pf_cell_load(const struct pf_store *store, const struct pf_file *file, uint32_t granule)
{
	if (store->read_only)
		return cell_from_table(store, file, granule);
	return atomic_load_explicit(&file->cells[granule], memory_order_acquire);
}

static struct pinfold_extent extent_of(const struct pf_file *file, uint32_t granule, uint64_t cell)
{
	return (struct pinfold_extent){
		.file_id = file->id,
		.flags = pf_cell_flags(cell),
		.offset = (uint64_t)granule << PF_GRANULE_SHIFT,
		.len = (uint32_t)(PF_GRANULE_SIZE << pf_cell_order(cell)),
		.gen = pf_cell_gen(cell),
	};
}

/* The cell of a live extent, or an error. Every extent that comes from outside passes here. */
static int cell_of_extent(const struct pf_store *store, const struct pinfold_extent *extent, struct pf_file **ret_file,
			  uint64_t *ret_cell)
{
	struct pf_file *file = pf_file_get(store, extent->file_id);
	uint64_t cell;

	if (__builtin_expect(!file || extent->offset >= store->file_size || extent->offset % PF_GRANULE_SIZE, 0))
		return pf_error(-EINVAL, "extent %u:%llu: there is no such place", extent->file_id,
				(unsigned long long)extent->offset);
	cell = pf_cell_load(store, file, (uint32_t)(extent->offset >> PF_GRANULE_SHIFT));
	if (__builtin_expect(
		    (pf_cell_state(cell) != PF_GRANULE_PUBLISHED && pf_cell_state(cell) != PF_GRANULE_UNPUBLISHED) ||
			    pf_cell_gen(cell) != extent->gen || PF_GRANULE_SIZE << pf_cell_order(cell) != extent->len,
		    0)) {
		if (pf_cell_state(cell) == PF_GRANULE_UNREADABLE)
			return unreadable(store, file, (uint32_t)(extent->offset >> PF_GRANULE_SHIFT));
		return pf_error(-ESTALE, "extent %u:%llu generation %u: is not allocated any more", extent->file_id,
				(unsigned long long)extent->offset, extent->gen);
	}
	*ret_file = file;
	*ret_cell = cell;
	return 0;
}

int pf_extent_check(const struct pf_store *store, const struct pinfold_extent *extent)
{
	struct pf_file *file;
	uint64_t cell;

	return cell_of_extent(store, extent, &file, &cell);
}

int pf_extent_readable(struct pf_store *store, const struct pinfold_extent *extent)
{
	struct pf_file *file;
	uint64_t cell;
	int r = cell_of_extent(store, extent, &file, &cell);

	if (__builtin_expect(r == 0 && pf_cell_state(cell) == PF_GRANULE_UNPUBLISHED, 0))
		r = pf_bulk_settle(store, extent);
	return r;
}

static int take(struct pf_store *store, uint32_t order, struct pf_space *ret_space)
{
	uint32_t count = atomic_load(&store->file_count);
	bool taken = false;

	pthread_mutex_lock(&store->alloc_lock);
	do
		for (uint32_t id = 0; !taken && id < count; id++) /* not UNPUBLISHED yet: it has to be zero first */
			taken = pf_space_take(store, store->files[id], order, ret_space);
	while (!taken && pf_space_wait(store));
	pthread_mutex_unlock(&store->alloc_lock);
	return taken ? 0 : -ENOSPC;
}

/* Whether releasing what waits in quarantine could help. */
static bool quarantine_waits(struct pf_store *store)
{
	bool waits;

	pthread_mutex_lock(&store->alloc_lock);
	waits = store->quarantine != NULL;
	pthread_mutex_unlock(&store->alloc_lock);
	return waits;
}

static int take_or_grow(struct pf_store *store, uint32_t order, struct pf_space *ret_space)
{
	for (;;) {
		uint32_t count = atomic_load(&store->file_count);
		int r = take(store, order, ret_space);

		if (r == 0)
			return 0;
		if (count >= store->file_max)
			return pf_error(-ENOSPC,
					"%s: no free extent of %llu bytes, and max_mapped_size (%llu) is used up",
					store->dir, (unsigned long long)(PF_GRANULE_SIZE << order),
					(unsigned long long)store->arena_size);
		r = pf_file_add(store, count);
		if (r < 0)
			return r;
	}
}

static int get_space(struct pf_store *store, uint32_t order, struct pf_space *ret_space)
{
	int r = take_or_grow(store, order, ret_space);

	return r == 0 ? pf_space_zero(store, ret_space) : r;
}

/* Whether something of before @lsn waits for readers. */
static bool grace_waits(struct pf_store *store, uint64_t lsn)
{
	bool waits = false;

	pthread_mutex_lock(&store->alloc_lock);
	for (const struct pf_quarantine *item = store->quarantine; item && !waits; item = item->next)
		waits = item->lsn <= lsn && !atomic_load(&item->grace);
	pthread_mutex_unlock(&store->alloc_lock);
	return waits;
}

/*
 * Frees what waits in quarantine. Readers are waited for, but not for ever: one of them may be waiting for a lock that
 * our caller has.
 */
static int reclaim(struct pf_store *store)
{
	int r = pf_store_checkpoint(store);
	const uint64_t lsn = atomic_load(&store->checkpoint_lsn);

	for (unsigned i = 0; r == 0 && i < GRACE_MS && !pf_epoch_inside() && grace_waits(store, lsn); i++)
		usleep(1000);
	if (r == 0)
		pf_quarantine_release(store, lsn);
	return r;
}

/* What others dropped is looked for again in any case: a checkpoint may have freed it meanwhile. */
static int get_space_again(struct pf_store *store, uint32_t order, struct pf_space *ret_space)
{
	int r = quarantine_waits(store) ? reclaim(store) : 0;

	if (r == 0)
		r = get_space(store, order, ret_space);
	if (r == -ENOSPC && pf_epoch_inside() && quarantine_waits(store))
		return pf_error(-EDEADLK,
				"%s: no free extent of %llu bytes but those that were dropped, and they wait for "
				"epochs to be left, of which this thread is in one: leave it first",
				store->dir, (unsigned long long)(PF_GRANULE_SIZE << order));
	return r;
}

/* Whether an empty data file could hold an extent of @order. */
static bool fits_a_file(const struct pf_store *store, uint32_t order)
{
	const uint64_t count = 1ull << order, meta = pf_meta_granules(store->file_size);

	return (meta + count - 1) / count * count + count <= store->granules_per_file;
}

int pf_extent_alloc(struct pf_store *store, uint64_t size, uint32_t flags, struct pinfold_extent *ret_extent)
{
	struct pf_space space;
	uint32_t order = 0, gen;
	struct pf_file *file;
	int r = pf_writable(store);

	if (r < 0)
		return r;
	if (size == 0)
		size = store->extent_size;
	if (size > PINFOLD_EXTENT_MAX)
		return pf_error(-EINVAL, "extent of %llu bytes; allowed: at most %llu", (unsigned long long)size,
				PINFOLD_EXTENT_MAX);
	if (flags & ~PINFOLD_EXTENT_FLAGS_ALL)
		return pf_error(-EINVAL, "extent flags 0x%x; known: 0x%x", flags, PINFOLD_EXTENT_FLAGS_ALL);
	while (PF_GRANULE_SIZE << order < size)
		order++;
	if (!fits_a_file(store, order))
		return pf_error(-EINVAL, "%s: extent of %llu bytes: data files of %llu bytes have no room for one",
				store->dir, (unsigned long long)size, (unsigned long long)store->file_size);
	r = get_space(store, order, &space);
	if (r == -ENOSPC || r == -EDQUOT)
		r = get_space_again(store, order, &space);
	if (r != 0)
		return r;
	file = space.file;
	pthread_mutex_lock(&store->alloc_lock);
	gen = pf_cell_gen(atomic_load(&file->cells[space.granule])) + 1;
	gen += gen == 0; /* 0 means never */
	atomic_store_explicit(&file->cells[space.granule], pf_cell_make(PF_GRANULE_UNPUBLISHED, order, flags, gen),
			      memory_order_release);
	*ret_extent = extent_of(file, space.granule, atomic_load(&file->cells[space.granule]));
	store->extent_count++;
	store->allocated_bytes += PF_GRANULE_SIZE << order;
	pthread_mutex_unlock(&store->alloc_lock);
	atomic_fetch_add(&store->layout_version, 1);
	return 0;
}

/* ---- quarantine ---- */

static void grace_passed(struct rcu_head *head)
{
	struct pf_quarantine *item = caa_container_of(head, struct pf_quarantine, rcu);

	atomic_store(&item->grace, true);
}

/* lock and alloc_lock held. */
static void quarantine(struct pf_store *store, struct pf_file *file, uint32_t granule, struct pf_quarantine *item,
		       uint64_t lsn)
{
	uint64_t cell = atomic_load(&file->cells[granule]);

	atomic_store_explicit(
		&file->cells[granule],
		pf_cell_make(PF_GRANULE_QUARANTINE, pf_cell_order(cell), pf_cell_flags(cell), pf_cell_gen(cell)),
		memory_order_release);
	*item = (struct pf_quarantine){
		.store = store, .file_id = file->id, .granule = granule, .order = pf_cell_order(cell), .lsn = lsn,
		.next = store->quarantine,
	};
	store->quarantine = item;
	store->extent_count--;
	store->allocated_bytes -= PF_GRANULE_SIZE << item->order;
	if (pf_cell_state(cell) == PF_GRANULE_PUBLISHED)
		store->published_bytes -= PF_GRANULE_SIZE << item->order;
	atomic_fetch_add(&store->layout_version, 1);
	pf_epoch_call(&item->rcu, grace_passed);
}

void pf_quarantine_release(struct pf_store *store, uint64_t lsn)
{
	struct pf_quarantine **at, *item;

	pthread_mutex_lock(&store->alloc_lock);
	for (at = &store->quarantine; (item = *at);) {
		struct pf_file *file = store->files[item->file_id];
		uint64_t cell = atomic_load(&file->cells[item->granule]);

		if (item->lsn > lsn || !atomic_load(&item->grace)) {
			at = &item->next;
			continue;
		}
		*at = item->next;
		atomic_store(&file->cells[item->granule], pf_cell_make(PF_GRANULE_FREE, 0, 0, pf_cell_gen(cell)));
		pf_buddy_free(&file->buddy, item->granule, item->order);
		free(item);
	}
	pthread_mutex_unlock(&store->alloc_lock);
}

void pf_extent_published(struct pf_store *store, const struct pinfold_extent *extent)
{
	struct pf_file *file = store->files[extent->file_id];
	uint32_t granule = (uint32_t)(extent->offset >> PF_GRANULE_SHIFT);
	uint64_t cell;

	pthread_mutex_lock(&store->alloc_lock);
	cell = atomic_load(&file->cells[granule]);
	atomic_store_explicit(
		&file->cells[granule],
		pf_cell_make(PF_GRANULE_PUBLISHED, pf_cell_order(cell), pf_cell_flags(cell), pf_cell_gen(cell)),
		memory_order_release);
	store->published_bytes += extent->len;
	pthread_mutex_unlock(&store->alloc_lock);
	pf_bulk_forget(store, extent);
	atomic_fetch_add(&store->layout_version, 1);
}

void pf_extent_dropped(struct pf_store *store, const struct pinfold_extent *extent, struct pf_quarantine *item,
		       uint64_t lsn)
{
	pthread_mutex_lock(&store->alloc_lock);
	quarantine(store, store->files[extent->file_id], (uint32_t)(extent->offset >> PF_GRANULE_SHIFT), item, lsn);
	pthread_mutex_unlock(&store->alloc_lock);
}

int pf_extent_free(struct pf_store *store, const struct pinfold_extent *extent)
{
	struct pf_quarantine *item = malloc(sizeof(*item));
	struct pf_file *file;
	uint64_t cell;
	int r;

	if (!item)
		return pf_error(-ENOMEM, "no memory to free an extent");
	pf_bulk_close(store, extent);
	pthread_mutex_lock(&store->lock); /* so that no transaction that names it is ordered afterwards */
	r = cell_of_extent(store, extent, &file, &cell);
	if (r == 0 && pf_cell_state(cell) != PF_GRANULE_UNPUBLISHED)
		r = pf_error(-EPERM, "extent %u:%llu: is published; drop it in a transaction", extent->file_id,
			     (unsigned long long)extent->offset);
	if (r == 0)
		pf_extent_dropped(store, extent, item, atomic_load(&store->ordered_lsn));
	pthread_mutex_unlock(&store->lock);
	pf_bulk_forget(store, extent);
	if (r != 0) /* else the quarantine has it */
		free(item);
	return r;
}

/* ---- looking ---- */

int pf_store_extent_at(struct pf_store *store, uint32_t file_id, uint64_t offset, struct pinfold_extent *ret_extent,
		       enum pf_granule_state *ret_state)
{
	struct pf_file *file = pf_file_get(store, file_id);
	uint32_t granule = (uint32_t)(offset >> PF_GRANULE_SHIFT);

	if (!file || offset >= store->file_size)
		return pf_error(-EINVAL, "place %u:%llu: there is none", file_id, (unsigned long long)offset);
	for (uint32_t order = 0; order <= PF_ORDER_MAX; order++) { /* an extent of this order would start here */
		uint32_t start = granule & ~((1u << order) - 1);
		uint64_t cell = pf_cell_load(store, file, start);
		enum pf_granule_state state = pf_cell_state(cell);

		if (state == PF_GRANULE_UNREADABLE)
			return unreadable(store, file, start);
		if (state == PF_GRANULE_FREE || pf_cell_order(cell) != order)
			continue;
		if (state == PF_GRANULE_META && start != granule)
			continue;
		*ret_extent = extent_of(file, start, cell);
		*ret_state = state;
		return 0;
	}
	return pf_error(-ENOENT, "place %u:%llu: is free", file_id, (unsigned long long)offset);
}

int pf_extent_foreach(struct pf_store *store, pinfold_extent_fn fn, void *ctx)
{
	for (uint32_t id = 0; id < pf_store_file_count(store); id++) {
		struct pf_file *file = store->files[id];

		for (uint32_t granule = file->meta_granules; granule < store->granules_per_file;) {
			uint64_t cell = pf_cell_load(store, file, granule);
			enum pf_granule_state state = pf_cell_state(cell);
			struct pinfold_extent extent;
			int r;

			if (state == PF_GRANULE_UNREADABLE)
				return unreadable(store, file, granule);
			granule++;
			if (state != PF_GRANULE_PUBLISHED && state != PF_GRANULE_UNPUBLISHED)
				continue;
			extent = extent_of(file, granule - 1, cell);
			r = fn(ctx, &extent, state == PF_GRANULE_PUBLISHED);
			if (r != 0)
				return r;
			granule += (1u << pf_cell_order(cell)) - 1;
		}
	}
	return 0;
}

/* ---- bulk load ---- */

int pf_extent_bulk_check(const struct pf_store *store, const struct pinfold_extent *extent, uint64_t offset,
			 size_t size, struct pf_file **ret_file)
{
	uint64_t cell;
	int r = cell_of_extent(store, extent, ret_file, &cell);

	if (r != 0)
		return r;
	if (pf_cell_state(cell) != PF_GRANULE_UNPUBLISHED)
		return pf_error(-EPERM, "extent %u:%llu: is published; change it by a transaction", extent->file_id,
				(unsigned long long)extent->offset);
	if (offset > extent->len || size > extent->len - offset)
		return pf_error(-ERANGE, "bulk write of %zu bytes at %llu into an extent of %u", size,
				(unsigned long long)offset, extent->len);
	return 0;
}

int pf_extent_sync_zeroed(struct pf_store *store, const struct pinfold_extent *extent)
{
	struct pf_file *file;
	uint64_t cell;
	int r = cell_of_extent(store, extent, &file, &cell);

	return r < 0 ? r
		     : pf_file_sync_zeroed(store, file, (uint32_t)(extent->offset >> PF_GRANULE_SHIFT),
					   1u << pf_cell_order(cell));
}
