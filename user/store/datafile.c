/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * datafile.c - data files: creation, mapping, their granule tables.
 *
 * DESIGN: a data file is sparse at its full size. Its first granules hold a header
 * block and the granule table and are allocated at once; extents are allocated one
 * by one (extent.c). It appears under its name only when complete (rename), so a
 * name that exists is a file that is sound or damaged, never half made.
 *
 *  1. Two address ranges of equal layout are reserved at open. Files are mapped
 *     read-only into one and read-write into the other; only apply.c stores
 *     through the second, and its base is in no header. More against stray pointers: protect.c.
 *  2. A file, once mapped, stays mapped and never shrinks until close.
 *  3. Opening reads the tables' allocated parts only; holes are free granules.
 */
#include "base/crc.h"
#include "base/error.h"
#include "store/internal.h"
#include "store/protect.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ARENA_ALIGN (1ull << 30)

uint32_t pf_meta_granules(uint64_t file_size)
{
	uint64_t bytes = PF_BLOCK_SIZE + (file_size >> PF_GRANULE_SHIFT) * sizeof(struct pf_granule_entry);

	return (uint32_t)((bytes + PF_GRANULE_SIZE - 1) >> PF_GRANULE_SHIFT);
}

uint64_t pf_table_end(const struct pf_store *store)
{
	uint64_t bytes = PF_BLOCK_SIZE + (uint64_t)store->granules_per_file * sizeof(struct pf_granule_entry);

	return (bytes + PF_BLOCK_SIZE - 1) & ~(uint64_t)(PF_BLOCK_SIZE - 1);
}

static uint32_t header_crc(struct pf_data_header *header)
{
	uint32_t stored = header->crc, crc;

	header->crc = 0;
	crc = pf_crc32c(header, sizeof(*header));
	header->crc = stored;
	return crc;
}

static int header_check(const struct pf_store *store, struct pf_data_header *header, uint32_t file_id)
{
	const char *what = NULL;

	if (memcmp(header->magic, PF_DATA_MAGIC, sizeof(header->magic)) != 0)
		what = "no magic";
	else if (header->crc != header_crc(header))
		what = "CRC does not match";
	else if (header->version != PF_FORMAT_VERSION)
		what = "another format version";
	else if (memcmp(header->uuid, store->super.uuid, sizeof(header->uuid)) != 0)
		what = "it belongs to another store";
	else if (header->file_id != file_id || header->file_size != store->file_size ||
		 header->granule_count != store->granules_per_file ||
		 header->meta_granules != pf_meta_granules(store->file_size))
		what = "id or sizes do not match the superblock";
	if (what)
		return pf_error(-EUCLEAN, "%s/data.%06u: offset 0: header: %s", store->dir, file_id, what);
	return 0;
}

static int arena_map(struct pf_store *store, int which)
{
	uint64_t span = store->arena_size + ARENA_ALIGN;
	uint8_t *p = mmap(NULL, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return pf_error(-errno, "cannot reserve %llu bytes of address space for max_mapped_size: %s",
				(unsigned long long)span, strerror(errno));
	store->arena[which] = p;
	store->arena_span[which] = span;
	return 0;
}

static uint8_t *align_up(uint8_t *p)
{
	return (uint8_t *)(((uintptr_t)p + ARENA_ALIGN - 1) & ~(uintptr_t)(ARENA_ALIGN - 1));
}

int pf_arena_reserve(struct pf_store *store)
{
	int r = arena_map(store, 0);

	if (r == 0 && !store->read_only)
		r = arena_map(store, 1);
	if (r < 0)
		return r;
	pf_protect_open(store);
	store->base = align_up(store->arena[0]);
	if (!store->read_only)
		store->rw_base = align_up(store->arena[1]);
	return 0;
}

/*
 * Commits come in no order. Reading ahead for one that finds its page absent would bring, or make, 8 MiB for 4 KiB,
 * which takes a processor for 20 ms and lets nobody else have it. Replay, before, mostly does go through in order.
 */
static void expect_no_order(struct pf_store *store, uint32_t file_id)
{
	madvise(store->rw_base + file_id * store->file_size, store->file_size, MADV_RANDOM);
}

void pf_files_replayed(struct pf_store *store)
{
	for (uint32_t id = 0; id < atomic_load(&store->file_count); id++)
		expect_no_order(store, id);
}

void pf_store_unmap_writer(const struct pf_store *store, uint32_t file_id, uint64_t offset, uint64_t size)
{
	if (!store->read_only) /* of a shared file mapping nothing is lost: what was stored is in the page cache */
		madvise(store->rw_base + file_id * store->file_size + offset, size, MADV_DONTNEED);
}

static int map_file(struct pf_store *store, struct pf_file *file)
{
	static const int advice[] = {
		[PINFOLD_ADVICE_NORMAL] = MADV_NORMAL,
		[PINFOLD_ADVICE_RANDOM] = MADV_RANDOM,
		[PINFOLD_ADVICE_SEQUENTIAL] = MADV_SEQUENTIAL,
	};
	uint64_t at = file->id * store->file_size;

	if (!store->read_only) {
		if (mmap(store->rw_base + at, store->file_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			 file->fd, 0) == MAP_FAILED)
			return pf_error(-errno, "%s/%s: cannot map for applying: %s", store->dir, file->name,
					strerror(errno));
		madvise(store->rw_base + at, store->file_size, MADV_DONTDUMP);
		if (store->log.data)
			expect_no_order(store, file->id);
	}
	if (!(store->mapper.map && store->mapper.map(store->mapper.ctx, file->id, file->read_fd, store->base + at,
						     store->file_size) == 0) &&
	    mmap(store->base + at, store->file_size, PROT_READ, MAP_SHARED | MAP_FIXED, file->read_fd, 0) == MAP_FAILED)
		return pf_error(-errno, "%s/%s: cannot map: %s", store->dir, file->name, strerror(errno));
	if (store->config.advice != PINFOLD_ADVICE_NORMAL)
		madvise(store->base + at, store->file_size, advice[store->config.advice]);
	return pf_protect_file(store, at);
}

static void file_free(struct pf_file *file)
{
	if (!file)
		return;
	if (file->fd >= 0)
		close(file->fd);
	if (file->read_fd >= 0)
		close(file->read_fd);
	if (atomic_load(&file->direct_fd) >= 0)
		close(atomic_load(&file->direct_fd));
	pf_buddy_done(&file->buddy);
	free(file->cells);
	free(file->zeroed_at);
	free(file->txn_lsn);
	free(file->ready);
	free(file);
}

int pf_file_check(struct pf_store *store, struct pf_file *file)
{
	struct pf_data_header header;
	off_t size = lseek(file->read_fd, 0, SEEK_END);
	ssize_t n;

	if (size < 0 || (uint64_t)size != store->file_size)
		return pf_error(-EUCLEAN, "%s/%s: is %lld bytes long; the superblock says %llu", store->dir, file->name,
				(long long)size, (unsigned long long)store->file_size);
	n = pf_io_pread(file->read_fd, &header, sizeof(header), 0);
	if (n != (ssize_t)sizeof(header))
		return pf_error(n < 0 ? (int)n : -EUCLEAN, "%s/%s: offset 0: cannot read the header", store->dir,
				file->name);
	return header_check(store, &header, file->id);
}

/* -ENOENT if there is no such file. */
static int file_open(struct pf_store *store, uint32_t file_id, struct pf_file **ret_file)
{
	struct pf_file *file = calloc(1, sizeof(*file));
	int r;

	if (!file)
		return pf_error(-ENOMEM, "no memory for a data file");
	file->id = file_id;
	file->fd = file->read_fd = -1;
	atomic_store(&file->direct_fd, -1);
	file->meta_granules = pf_meta_granules(store->file_size);
	snprintf(file->name, sizeof(file->name), "data.%06u", file_id);
	r = pf_io_open(store->dirfd, file->name, O_RDONLY, 0);
	if (r < 0) {
		pf_error(r, "%s/%s: cannot open: %s", store->dir, file->name, strerror(-r));
		goto err_free;
	}
	file->read_fd = r;
	if (!store->read_only) {
		r = pf_io_open(store->dirfd, file->name, O_RDWR, 0);
		if (r < 0) {
			pf_error(r, "%s/%s: cannot open for writing: %s", store->dir, file->name, strerror(-r));
			goto err_free;
		}
		file->fd = r;
	}
	r = pf_file_check(store, file);
	if (r < 0)
		goto err_free;
	file->cells = calloc(store->granules_per_file, sizeof(*file->cells));
	atomic_store(&file->zeroed, 1);
	file->zeroed_at = calloc(store->granules_per_file, sizeof(*file->zeroed_at));
	file->txn_lsn = calloc(store->granules_per_file, sizeof(*file->txn_lsn));
	file->ready = calloc(store->granules_per_file, sizeof(*file->ready));
	r = file->cells && file->zeroed_at && file->txn_lsn && file->ready
		    ? pf_buddy_init(&file->buddy, store->granules_per_file)
		    : pf_error(-ENOMEM, "no memory for %s", file->name);
	if (r == 0)
		r = map_file(store, file);
	if (r < 0)
		goto err_free;
	*ret_file = file;
	return 0;

err_free:
	file_free(file);
	return r;
}

/* Makes @file visible to all; what it points to was written before. */
static void file_publish(struct pf_store *store, struct pf_file *file)
{
	store->files[file->id] = file;
	atomic_store_explicit(&store->file_count, file->id + 1, memory_order_release);
	atomic_fetch_add(&store->layout_version, 1);
}

/* A process that was killed may have added files and not have flushed their names. */
static int names_flush(struct pf_store *store)
{
	int r = pf_io_fsync(store->dirfd);

	return r < 0 ? pf_error(r, "%s: flush failed: %s", store->dir, strerror(-r)) : 0;
}

int pf_files_open(struct pf_store *store, uint32_t expected)
{
	uint32_t id;

	for (id = 0; id < store->file_max; id++) {
		struct pf_file *file;
		int r = file_open(store, id, &file);

		if (r == -ENOENT && id >= expected)
			break;
		if (r == -ENOENT)
			return pf_error(-EUCLEAN, "%s/data.%06u: missing; the superblock counts %u data files",
					store->dir, id, expected);
		if (r < 0)
			return r;
		file_publish(store, file);
	}
	return id > expected && !store->read_only ? names_flush(store) : 0;
}

void pf_files_refresh(struct pf_store *store)
{
	pthread_mutex_lock(&store->grow_lock);
	for (uint32_t id = atomic_load(&store->file_count); id < store->file_max; id++) {
		struct pf_file *file;

		if (file_open(store, id, &file) != 0)
			break;
		file_publish(store, file);
	}
	pthread_mutex_unlock(&store->grow_lock);
}

/* Applies table bytes [at, at + size) to the cells. */
static int load_entries(struct pf_store *store, struct pf_file *file, const uint8_t *bytes, uint64_t at, uint64_t size)
{
	uint64_t first = (at - PF_BLOCK_SIZE) / sizeof(struct pf_granule_entry);
	uint64_t end = first + size / sizeof(struct pf_granule_entry);

	for (uint64_t i = first; i < end && i < store->granules_per_file; i++) {
		struct pf_granule_entry entry;
		const char *what;

		memcpy(&entry, bytes + (i - first) * sizeof(entry), sizeof(entry));
		what = pf_entry_check(&entry, file->id, (uint32_t)i, store->granules_per_file);
		if (!what && i < file->meta_granules && entry.gen)
			what = "an extent where the table itself is";
		if (what)
			return pf_error(-EUCLEAN, "%s/%s: offset %llu: granule entry %llu: %s", store->dir, file->name,
					(unsigned long long)(PF_BLOCK_SIZE + i * sizeof(entry)), (unsigned long long)i,
					what);
		file->cells[i] =
			pf_cell_make(entry.state == PF_ENTRY_PUBLISHED ? PF_GRANULE_PUBLISHED : PF_GRANULE_FREE,
				     entry.order, entry.flags, entry.gen);
	}
	return 0;
}

/* Fills buddy and counters from the cells; the extents must not overlap. */
static int build_buddy(struct pf_store *store, struct pf_file *file)
{
	uint32_t i = file->meta_granules, free_from = i;

	for (uint32_t m = 0; m < file->meta_granules; m++)
		file->cells[m] = pf_cell_make(PF_GRANULE_META, 0, 0, 0);
	while (i < store->granules_per_file) {
		uint64_t cell = file->cells[i];
		uint32_t count = 1u << pf_cell_order(cell);

		if (pf_cell_state(cell) != PF_GRANULE_PUBLISHED) {
			i++;
			continue;
		}
		for (uint32_t k = 1; k < count; k++)
			if (pf_cell_state(file->cells[i + k]) != PF_GRANULE_FREE)
				return pf_error(
					-EUCLEAN,
					"%s/%s: offset %llu: granule entry %u: overlaps the extent at granule %u",
					store->dir, file->name,
					(unsigned long long)(PF_BLOCK_SIZE + (i + k) * sizeof(struct pf_granule_entry)),
					i + k, i);
		pf_buddy_free_run(&file->buddy, free_from, i);
		store->extent_count++;
		store->allocated_bytes += count * PF_GRANULE_SIZE;
		store->published_bytes += count * PF_GRANULE_SIZE;
		i += count;
		free_from = i;
	}
	pf_buddy_free_run(&file->buddy, free_from, store->granules_per_file);
	return 0;
}

int pf_file_load(struct pf_store *store, struct pf_file *file)
{
	const uint64_t end = pf_table_end(store);
	uint64_t at = PF_BLOCK_SIZE;
	uint8_t *buffer = malloc(1u << 20);
	int r = buffer ? 0 : pf_error(-ENOMEM, "no memory to read %s", file->name);

	while (r == 0 && at < end) {
		off_t data = lseek(file->read_fd, (off_t)at, SEEK_DATA);
		uint64_t size;

		if (data < 0 && errno == ENXIO)
			break;
		if (data >= 0 && (uint64_t)data > at) /* not below where we are, and on an entry's boundary */
			at = (uint64_t)data & ~(uint64_t)(PF_BLOCK_SIZE - 1);
		if (at >= end)
			break;
		size = end - at < 1u << 20 ? end - at : 1u << 20;
		if (pf_io_pread(file->read_fd, buffer, size, at) != (ssize_t)size)
			r = pf_error(-EIO, "%s/%s: offset %llu: cannot read the granule table", store->dir, file->name,
				     (unsigned long long)at);
		else
			r = load_entries(store, file, buffer, at, size);
		at += size;
	}
	free(buffer);
	return r == 0 ? build_buddy(store, file) : r;
}

static int write_header(struct pf_store *store, int fd, uint32_t file_id, const char *name)
{
	struct pf_data_header header = {
		.version = PF_FORMAT_VERSION,
		.file_size = store->file_size,
		.file_id = file_id,
		.granule_count = store->granules_per_file,
		.meta_granules = pf_meta_granules(store->file_size),
	};
	ssize_t n;

	memcpy(header.magic, PF_DATA_MAGIC, sizeof(header.magic));
	memcpy(header.uuid, store->super.uuid, sizeof(header.uuid));
	header.crc = header_crc(&header);
	n = pf_io_pwrite(fd, &header, sizeof(header), 0);
	if (n != (ssize_t)sizeof(header))
		return pf_error(n < 0 ? (int)n : -ENOSPC, "%s/%s: offset 0: cannot write the header", store->dir, name);
	return 0;
}

/* The root extent: the first granule behind the table, zero, published from the start. */
static int write_root(struct pf_store *store, int fd, const char *name)
{
	const struct pinfold_extent *root = &store->root;
	uint32_t granule = (uint32_t)(root->offset >> PF_GRANULE_SHIFT);
	struct pf_granule_entry entry;
	int r = pf_io_fallocate(fd, 0, root->offset, root->len);

	if (r < 0)
		return pf_error(r, "%s/%s: cannot allocate the root extent: %s", store->dir, name, strerror(-r));
	pf_entry_make(&entry, 0, granule, PF_ENTRY_PUBLISHED, 0, root->flags, root->gen);
	if (pf_io_pwrite(fd, &entry, sizeof(entry), PF_BLOCK_SIZE + granule * sizeof(entry)) != (ssize_t)sizeof(entry))
		return pf_error(-EIO, "%s/%s: cannot write the root extent's entry", store->dir, name);
	return 0;
}

/*
 * Flushes the file and gives it its name. A flush of the file that fails is an error of the call alone: the file is
 * discarded, and the next attempt makes another. One of the directory poisons: of the store's own names the kernel may
 * have forgotten which are not on disk, and a second flush would succeed for the wrong reason. The file goes as well,
 * so that no later open takes it for one whose name is durable.
 */
static int make_durable(struct pf_store *store, int fd, const char *temporary, const char *name)
{
	int r = pf_io_fsync(fd);

	if (r == 0)
		r = pf_io_rename(store->dirfd, temporary, name);
	if (r < 0)
		return pf_error(r, "%s/%s: cannot make it durable: %s", store->dir, name, strerror(-r));
	r = pf_io_fsync(store->dirfd);
	if (r == 0)
		return 0;
	pf_poison(store, "%s: flush of the directory failed: %s", name, strerror(-r));
	pf_io_unlink(store->dirfd, name);
	return pf_error(r, "%s/%s: flush of the directory failed: %s", store->dir, name, strerror(-r));
}

int pf_file_create(struct pf_store *store, uint32_t file_id, bool root)
{
	char name[24], temporary[32];
	int fd, r;

	snprintf(name, sizeof(name), "data.%06u", file_id);
	snprintf(temporary, sizeof(temporary), "%s.new", name);
	pf_io_unlink(store->dirfd, temporary); /* what a crash may have left */
	fd = pf_io_open(store->dirfd, temporary, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return pf_error(fd, "%s/%s: cannot create: %s", store->dir, temporary, strerror(-fd));
	r = pf_io_ftruncate(fd, store->file_size);
	if (r < 0)
		pf_error(r, "%s/%s: cannot set its size to %llu: %s", store->dir, name,
			 (unsigned long long)store->file_size, strerror(-r));
	if (r == 0) {
		uint64_t reserve = store->config.preallocate_files ? store->file_size : pf_table_end(store);

		r = pf_io_fallocate(fd, 0, 0, reserve);
		if (r < 0)
			pf_error(r, "%s/%s: cannot allocate %llu bytes: %s", store->dir, name,
				 (unsigned long long)reserve, strerror(-r));
	}
	if (r == 0)
		r = write_header(store, fd, file_id, name);
	if (r == 0 && root)
		r = write_root(store, fd, name);
	if (r == 0)
		r = make_durable(store, fd, temporary, name);
	close(fd);
	if (r < 0)
		pf_io_unlink(store->dirfd, temporary);
	return r;
}

int pf_file_add(struct pf_store *store, uint32_t seen_count)
{
	struct pf_file *file;
	uint32_t count;
	int r = 0;

	pthread_mutex_lock(&store->grow_lock);
	count = atomic_load(&store->file_count);
	if (count != seen_count) /* somebody else was faster */
		goto out;
	if (count >= store->file_max) {
		r = pf_error(-ENOSPC,
			     "%s: no free extent, and max_mapped_size (%llu) allows no more than %u data files",
			     store->dir, (unsigned long long)store->arena_size, store->file_max);
		goto out;
	}
	r = pf_writable(store); /* again: whoever was before us may have met a flush that failed */
	if (r == 0)
		r = pf_file_create(store, count, false);
	if (r == 0)
		r = file_open(store, count, &file);
	if (r != 0)
		goto out;
	atomic_store(&file->zeroed_sync, 1); /* it was flushed when it was made */
	r = build_buddy(store, file);
	file_publish(store, file);
	if (r == 0)
		r = pf_super_update(store, NULL, false);
out:
	pthread_mutex_unlock(&store->grow_lock);
	return r;
}

void pf_files_close(struct pf_store *store)
{
	pf_protect_close(store);
	for (uint32_t id = 0; store->files && id < atomic_load(&store->file_count); id++)
		file_free(store->files[id]);
	free(store->files);
}
