/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * store.c - opening and closing.
 *
 * Opening for writing: lock, superblock, data files, journal, replay if it was not closed cleanly,
 * granule tables, superblock with a new epoch and not clean, threads. Closing is the reverse:
 * threads end, a checkpoint, superblock clean, lock.
 *
 * A new epoch per opening is what tells the groups of this opening from whatever a torn group of
 * an earlier one has left behind the end of the journal.
 */
#include "base/clock.h"
#include "base/error.h"
#include "base/sigbus.h"
#include "store/internal.h"
#include "store/super.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int init_locks(struct pf_store *store)
{
	pthread_rwlockattr_t rwlock_attr;
	pthread_condattr_t attr;
	pthread_mutex_t *locks[] = { &store->super_lock, &store->ckpt_lock, &store->grow_lock, &store->lock,
				     &store->alloc_lock };

	for (size_t i = 0; i < sizeof(locks) / sizeof(locks[0]); i++)
		pthread_mutex_init(locks[i], NULL);
	pthread_rwlockattr_init(&rwlock_attr);
	pthread_rwlockattr_setkind_np(&rwlock_attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&store->flush_lock, &rwlock_attr);
	pthread_rwlockattr_destroy(&rwlock_attr);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&store->flusher_wake, &attr);
	pthread_cond_init(&store->checkpointer_wake, &attr);
	pthread_cond_init(&store->ahead_less, &attr);
	pthread_condattr_destroy(&attr);
	return 0;
}

static int store_new(const char *dir, const struct pinfold_config *config, struct pf_store **ret_store)
{
	struct pf_store *store = NULL;
	const size_t pages_size = sizeof(struct pf_pages);
	uint8_t *memory;

	if (posix_memalign((void **)&store, _Alignof(struct pf_store), sizeof(*store)) != 0)
		return pf_error(-ENOMEM, "no memory for a store");
	memset(store, 0, sizeof(*store));
	store->dirfd = store->journal_dirfd = store->super_fd = store->lock_fd = store->window_key = -1;
	atomic_store(&store->event_fd, -1);
	store->config = *config;
	store->read_only = config->flags & PINFOLD_OPEN_READONLY;
	init_locks(store);
	store->dir = strdup(dir);
	memory = mmap(NULL, pages_size + PF_PAGE_STATES * sizeof(struct pf_bucket), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED || !store->dir ||
	    posix_memalign((void **)&store->super_copy, PF_BLOCK_SIZE, sizeof(*store->super_copy)) != 0) {
		if (memory != MAP_FAILED)
			munmap(memory, pages_size + PF_PAGE_STATES * sizeof(struct pf_bucket));
		free(store->dir);
		free(store);
		return pf_error(-ENOMEM, "no memory for a store");
	}
	store->pages = (struct pf_pages *)memory;
	store->buckets = (struct pf_bucket *)(memory + pages_size);
	*ret_store = store;
	return 0;
}

/* Takes everything down without writing anything. */
static void store_free(struct pf_store *store)
{
	pf_threads_stop(store);
	pf_bulk_stop(store);
	rcu_barrier(); /* callbacks that point into the store have run */
	pf_log_done(store);
	while (store->quarantine) {
		struct pf_quarantine *item = store->quarantine;

		store->quarantine = item->next;
		free(item);
	}
	pf_io_ring_close(store->ring);
	pf_journal_close(store);
	pf_files_close(store);
	free(store->changed);
	munmap(store->pages, sizeof(struct pf_pages) + PF_PAGE_STATES * sizeof(struct pf_bucket));
	if (atomic_load(&store->event_fd) >= 0)
		close(atomic_load(&store->event_fd));
	if (store->super_fd >= 0)
		close(store->super_fd);
	if (store->dirfd >= 0)
		close(store->dirfd);
	pf_lock_release(store);
	pthread_cond_destroy(&store->flusher_wake);
	pthread_cond_destroy(&store->checkpointer_wake);
	pthread_cond_destroy(&store->ahead_less);
	pthread_rwlock_destroy(&store->flush_lock);
	free(store->super_copy);
	free(store->dir);
	free(store);
}

static int open_dir(struct pf_store *store)
{
	const bool create = store->config.flags & PINFOLD_OPEN_CREATE;
	int r = pf_io_open(AT_FDCWD, store->dir, O_RDONLY | O_DIRECTORY, 0);

	if (r == -ENOENT && create) {
		r = pf_io_mkdir(AT_FDCWD, store->dir, 0700);
		if (r == 0 || r == -EEXIST)
			r = pf_io_open(AT_FDCWD, store->dir, O_RDONLY | O_DIRECTORY, 0);
	}
	if (r < 0)
		return pf_error(r, "%s: %s", store->dir, strerror(-r));
	store->dirfd = r;
	return 0;
}

static int read_super(struct pf_store *store)
{
	struct pf_super_disk copies[2];
	char words[PF_ERROR_MAX];
	ssize_t n;
	int slot, r = pf_io_open(store->dirfd, PF_SUPER_FILE, store->read_only ? O_RDONLY : O_RDWR, 0);

	if (r < 0)
		return pf_error(r, "%s/%s: %s", store->dir, PF_SUPER_FILE, strerror(-r));
	store->super_fd = r;
	n = pf_io_pread(store->super_fd, copies, sizeof(copies), 0);
	if (n < 0)
		return pf_error((int)n, "%s/%s: cannot read: %s", store->dir, PF_SUPER_FILE, strerror((int)-n));
	r = pf_super_parse(copies, (size_t)n, &store->super, &slot);
	if (r < 0) {
		strcpy(words, pf_error_text());
		return pf_error(r, "%s/%.400s", store->dir, words);
	}
	store->super_damaged = n < (ssize_t)sizeof(copies) || pf_super_check(&copies[!slot]) < 0;
	return 0;
}

static int find_super(struct pf_store *store)
{
	const uint32_t flags = store->config.flags;
	bool there;
	int r = 0;

	if (!store->read_only && (flags & PINFOLD_OPEN_CREATE))
		r = pf_lock_acquire(store);
	there = faccessat(store->dirfd, PF_SUPER_FILE, F_OK, 0) == 0; /* once: another process may be creating it */
	if (there && !store->read_only && store->lock_fd < 0) /* no lock file where there is no store */
		r = pf_lock_acquire(store);
	if (r < 0)
		return r;
	if (there && (flags & PINFOLD_OPEN_EXCLUSIVE))
		return pf_error(-EEXIST, "%s: holds a store already", store->dir);
	if (!there) {
		r = pf_store_check_empty(store);
		if (r < 0)
			return r;
		if (!(flags & PINFOLD_OPEN_CREATE))
			return pf_error(-ENOENT, "%s: holds no store", store->dir);
		r = pf_store_create(store);
		if (r < 0)
			return r;
	}
	r = read_super(store);
	if (r < 0)
		return r;
	store->file_size = store->super.file_size;
	store->extent_size = store->super.extent_size;
	store->granules_per_file = (uint32_t)(store->file_size >> PF_GRANULE_SHIFT);
	store->root = (struct pinfold_extent){
		.file_id = store->super.root_file,
		.offset = store->super.root_offset,
		.len = PF_GRANULE_SIZE,
		.gen = store->super.root_gen,
	};
	return 0;
}

static int open_files(struct pf_store *store)
{
	uint64_t count = store->config.max_mapped_size / store->file_size;
	int r;

	if (count < store->super.file_count)
		count = store->super.file_count;
	if (count > PF_FILE_COUNT_MAX)
		count = PF_FILE_COUNT_MAX;
	store->file_max = (uint32_t)count;
	store->arena_size = count * store->file_size;
	store->files = calloc(count, sizeof(*store->files));
	store->changed = calloc(store->arena_size >> PF_FLUSH_SHIFT, sizeof(*store->changed));
	if (!store->files || !store->changed)
		return pf_error(-ENOMEM, "no memory for %llu data files", (unsigned long long)count);
	r = pf_arena_reserve(store);
	return r == 0 ? pf_files_open(store, store->super.file_count) : r;
}

static void set_points(struct pf_store *store, const struct pf_log_point *end)
{
	atomic_store(&store->ordered_lsn, end->lsn);
	atomic_store(&store->visible_lsn, end->lsn);
	atomic_store(&store->durable_lsn, end->lsn);
	atomic_store(&store->applied_lsn, end->lsn);
	atomic_store(&store->checkpoint_lsn, end->lsn);
	store->applied_point = *end;
	store->head_pos = store->start_pos = end->pos;
	store->next_group = end->number;
	store->pending_max = store->capacity / 8;
	if (store->pending_max < PF_PENDING_MIN)
		store->pending_max = PF_PENDING_MIN;
	if (store->pending_max > PF_PENDING_MAX)
		store->pending_max = PF_PENDING_MAX;
	store->group_max = pf_group_size(store->pending_max);
}

/*
 * The journal's ring, as far as it can be had; without one, pwrite and fdatasync serve. Its segments may be polled:
 * they are written past the page cache, and were made durable when they were created.
 */
static void open_ring(struct pf_store *store)
{
	int direct_fd = store->segments[0].fd, r;
	struct pf_ring_options wish;

	if (store->config.no_io_uring)
		return;
	for (uint32_t i = 0; i < store->super.segment_count; i++)
		if (!store->segments[i].direct)
			direct_fd = -1;
	pf_config_ring(&store->config, &wish);
	r = pf_io_ring_open(&wish, direct_fd, store->io_refused, sizeof(store->io_refused), &store->ring);
	if (r < 0) {
		store->ring = NULL;
		snprintf(store->io_refused, sizeof(store->io_refused), "io_uring: %s", strerror(-r));
	}
}

/* Makes the journal as large as the caller wishes; one that names no size keeps it, whatever its segments are. */
static int fit_journal(struct pf_store *store, struct pf_log_point *end)
{
	uint64_t segment_size;
	uint32_t segment_count;
	int r;

	if (!store->config.journal_size) {
		store->config.journal_size = store->super.segment_size * store->super.segment_count;
		return 0;
	}
	pf_journal_geometry(store->config.journal_size, &segment_count, &segment_size);
	if (segment_count == store->super.segment_count && segment_size == store->super.segment_size)
		return 0;
	r = pf_super_update(store, end, true); /* the old journal holds nothing any more */
	if (r == 0)
		r = pf_store_resize_journal(store, store->config.journal_size);
	end->pos = store->super.start_pos;
	return r;
}

static int open_for_writing(struct pf_store *store)
{
	struct pf_log_point end = { store->super.start_lsn, store->super.start_pos, store->super.start_group };
	int r = pf_journal_open(store);

	store->next_txn_id = store->super.next_txn_id;
	if (r == 0 && store->super_damaged)
		r = pf_recover_super(store);
	if (r == 0 && !store->super.clean)
		r = pf_recover(store, &end);
	if (r == 0)
		r = pf_flush_changed(store);
	for (uint32_t id = 0; r == 0 && id < atomic_load(&store->file_count); id++)
		r = pf_file_load(store, store->files[id]);
	if (r < 0)
		return r;
	r = fit_journal(store, &end);
	if (r < 0)
		return r;
	open_ring(store);
	set_points(store, &end);
	r = pf_log_init(store);
	if (r == 0)
		r = pf_bulk_start(store);
	if (r < 0)
		return r;
	pf_files_replayed(store);
	store->super.epoch++;
	r = pf_super_update(store, &end, false);
	if (r < 0)
		return r;
	/* of a resize: the journal before it, or what it had made of the next one when it was interrupted */
	pf_journal_unlink(store, store->super.journal_generation - 1);
	pf_journal_unlink(store, store->super.journal_generation + 1);
	return pf_threads_start(store);
}

static int open_read_only(struct pf_store *store)
{
	int held;

	if (store->super.clean && !store->super_damaged)
		return 0;
	held = pf_lock_held(store->dirfd);
	if (held < 0)
		return pf_error(held, "%s/lock: %s", store->dir, strerror(-held));
	if (!held)
		return pf_error(-EUCLEAN, "%s: %s and no writer is alive: open it for writing once", store->dir,
				store->super.clean ? "a copy of its superblock is damaged" : "was not closed cleanly");
	return 0;
}

static void prefault(struct pf_store *store)
{
	for (uint32_t id = 0; id < atomic_load(&store->file_count); id++)
		for (uint32_t granule = 0; granule < store->granules_per_file; granule++) {
			uint64_t cell = pf_cell_load(store, store->files[id], granule);

			if (pf_cell_state(cell) ==
			    PF_GRANULE_PUBLISHED) /* a hint: what cannot be read now answers when it is read */
				madvise(store->base + id * store->file_size + ((uint64_t)granule << PF_GRANULE_SHIFT),
					PF_GRANULE_SIZE << pf_cell_order(cell), MADV_POPULATE_READ);
		}
}

int pf_store_open(const char *dir, const struct pinfold_config *config, struct pf_store **ret_store)
{
	return pf_store_open_mapped(dir, config, &(struct pf_store_mapper){ 0 }, ret_store);
}

int pf_store_open_mapped(const char *dir, const struct pinfold_config *config, const struct pf_store_mapper *mapper,
			 struct pf_store **ret_store)
{
	struct pf_store *store = NULL;
	int r = pf_epoch_init(); /* first: where there are no epochs, store_free() would wait for ever */

	if (r == 0)
		r = store_new(dir, config, &store);
	if (r != 0)
		return r;
	store->mapper = *mapper;
	r = pf_sigbus_install();
	if (r == 0)
		r = open_dir(store);
	if (r == 0)
		r = find_super(store);
	if (r == 0)
		r = open_files(store);
	if (r == 0)
		r = store->read_only ? open_read_only(store) : open_for_writing(store);
	if (r < 0) {
		char words[PF_ERROR_MAX];

		strcpy(words, pf_error_text());
		store_free(store);
		return pf_error(r, "%s", words);
	}
	if (store->config.prefault)
		prefault(store);
	*ret_store = store;
	return 0;
}

int pf_store_close(struct pf_store *store)
{
	char words[PF_ERROR_MAX];
	int r = 0;

	if (!store)
		return 0;
	if (!store->read_only) {
		pf_bulk_stop(store);
		r = pf_store_checkpoint(store);
		pf_threads_stop(store);
		pf_space_give_back(store);
		if (r == 0)
			r = pf_super_update(store, &store->applied_point, true);
	}
	strcpy(words, pf_error_text());
	store_free(store);
	return r < 0 ? pf_error(r, "%s", words) : 0;
}

/* A read-only store counts what the writer's tables say now. */
static int count_extent(void *ctx, const struct pinfold_extent *extent, bool published)
{
	struct pinfold_store_stats *stats = ctx;

	stats->extent_count++;
	stats->allocated_bytes += extent->len;
	stats->published_bytes += published ? extent->len : 0;
	return 0;
}

int pf_store_stat(struct pf_store *store, struct pinfold_store_stats *ret_stats)
{
	struct pinfold_store_stats s = { .file_size = store->file_size, .extent_size = store->extent_size };
	int r;

	memcpy(s.uuid, store->super.uuid, sizeof(s.uuid));
	s.file_count = pf_store_file_count(store);
	s.journal_size = store->super.segment_size * store->super.segment_count;
	s.io_uring = store->ring != NULL;
	if (store->ring)
		pf_io_ring_describe(store->ring, s.io_mode, sizeof(s.io_mode));
	else
		strcpy(s.io_mode, store->read_only ? "" : "pwrite");
	memcpy(s.io_refused, store->io_refused, sizeof(s.io_refused));
	s.sealed = store->sealed_size > 0;
	s.guarded = store->window_key >= 0;
	memcpy(s.protect_refused, store->protect_refused, sizeof(s.protect_refused));
	s.read_only = store->read_only;
	s.recovered_txns = store->recovered_txns;
	s.recovered_bytes = store->recovered_bytes;
	pthread_mutex_lock(&store->lock);
	s.commit_count = store->commit_count;
	s.commit_bytes = store->commit_bytes;
	s.flush_count = store->flush_count;
	s.lsn_ordered = atomic_load(&store->ordered_lsn);
	s.lsn_durable = atomic_load(&store->durable_lsn);
	s.lsn_applied = atomic_load(&store->applied_lsn);
	s.lsn_checkpoint = atomic_load(&store->checkpoint_lsn);
	s.journal_used = pf_log_head_pos(store) - store->start_pos;
	s.poisoned = atomic_load(&store->poisoned);
	memcpy(s.poison_reason, store->poison_reason, sizeof(s.poison_reason));
	pthread_mutex_unlock(&store->lock);
	pthread_mutex_lock(&store->alloc_lock);
	s.allocated_bytes = store->allocated_bytes;
	s.published_bytes = store->published_bytes;
	s.extent_count = store->extent_count;
	pthread_mutex_unlock(&store->alloc_lock);
	if (store->read_only) {
		s.lsn_checkpoint = store->super.start_lsn;
		s.extent_count = s.allocated_bytes = s.published_bytes = 0;
		r = pf_extent_foreach(store, count_extent, &s);
		if (r < 0)
			return r;
	}
	*ret_stats = s;
	return 0;
}

/* ---- geometry ---- */

const void *pf_store_base(const struct pf_store *store)
{
	return store->base;
}

uint64_t pf_store_file_size(const struct pf_store *store)
{
	return store->file_size;
}

uint64_t pf_store_arena_size(const struct pf_store *store)
{
	return store->arena_size;
}

uint32_t pf_store_file_count(const struct pf_store *store)
{
	if (store->read_only) /* a live writer may have added one; the lists it changes have their own lock */
		pf_files_refresh((struct pf_store *)store);
	return atomic_load_explicit(&store->file_count, memory_order_acquire);
}

int pf_store_file_fd(const struct pf_store *store, uint32_t file_id)
{
	struct pf_file *file = pf_file_get(store, file_id);

	return file ? file->read_fd : pf_error(-EINVAL, "data file %u: there is none", file_id);
}

const char *pf_store_dir(const struct pf_store *store)
{
	return store->dir;
}

uint64_t pf_store_layout_version(const struct pf_store *store)
{
	return atomic_load(&store->layout_version);
}

void pf_store_root(const struct pf_store *store, struct pinfold_extent *ret_extent)
{
	*ret_extent = store->root;
}
