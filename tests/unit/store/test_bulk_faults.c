// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bulk writes where the filesystem refuses, fails or is full, and a process that dies between write, flush and
 * publication. Linked so that calls of store/io.h come through here.
 */
#include "scratch.h"

#include "store/io.h"

#include <linux/falloc.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "kselftest_harness.h"

#define SIZE (4 * MIB)

static struct {
	_Atomic unsigned calls, direct, die_at; /* calls that change something; die before the die_at-th */
	bool refuse_direct, direct_invalid, fail_flush;
	_Atomic unsigned fail_writes; /* large ones, from the n-th on; 0: none */
	_Atomic unsigned large, wide_refused;
	unsigned slow_ms;
	uint64_t allocate_max; /* more bytes than that at once are refused, half done; 0: none */
	_Atomic unsigned allocations;
} io;

static void step(void)
{
	if (atomic_fetch_add(&io.calls, 1) + 1 == atomic_load(&io.die_at))
		_exit(77);
}

int __real_pf_io_open(int dirfd, const char *path, int flags, mode_t mode);
int __wrap_pf_io_open(int dirfd, const char *path, int flags, mode_t mode)
{
	if (io.refuse_direct && (flags & O_DIRECT))
		return -EINVAL;
	return __real_pf_io_open(dirfd, path, flags, mode);
}

ssize_t __real_pf_io_pwrite(int fd, const void *data, size_t size, uint64_t offset);
ssize_t __wrap_pf_io_pwrite(int fd, const void *data, size_t size, uint64_t offset)
{
	bool direct = fcntl(fd, F_GETFL) & O_DIRECT;

	step();
	if (direct && io.direct_invalid)
		return -EINVAL;
	if (size >= MIB / 2) {
		unsigned n = atomic_fetch_add(&io.large, 1) + 1;

		if (atomic_load(&io.fail_writes) && n >= atomic_load(&io.fail_writes))
			return -EIO;
		usleep(io.slow_ms * 1000);
		atomic_fetch_add(&io.direct, direct);
	}
	return __real_pf_io_pwrite(fd, data, size, offset);
}

int __real_pf_io_fdatasync(int fd);
int __wrap_pf_io_fdatasync(int fd)
{
	step();
	return io.fail_flush ? -EIO : __real_pf_io_fdatasync(fd);
}

ssize_t __real_pf_io_ring_write_flush(struct pf_io_ring *ring, int fd, const void *data, size_t size, uint64_t offset);
ssize_t __wrap_pf_io_ring_write_flush(struct pf_io_ring *ring, int fd, const void *data, size_t size, uint64_t offset)
{
	step();
	return __real_pf_io_ring_write_flush(ring, fd, data, size, offset);
}

int __real_pf_io_fallocate(int fd, int mode, uint64_t offset, uint64_t size);
int __wrap_pf_io_fallocate(int fd, int mode, uint64_t offset, uint64_t size)
{
	step();
	if (mode & FALLOC_FL_ZERO_RANGE)
		atomic_fetch_add(&io.allocations, 1);
	if (io.allocate_max && !(mode & FALLOC_FL_PUNCH_HOLE) && size > io.allocate_max) {
		atomic_fetch_add(&io.wide_refused, 1);
		__real_pf_io_fallocate(fd, mode, offset, size / 2);
		return -ENOSPC;
	}
	return __real_pf_io_fallocate(fd, mode, offset, size);
}

FIXTURE(bulk_faults)
{
	struct pf_store *store;
	struct pinfold_extent extent;
	uint8_t *data, *back;
};

FIXTURE_SETUP(bulk_faults)
{
	self->data = malloc(SIZE);
	self->back = malloc(SIZE);
	for (size_t i = 0; i < SIZE; i++)
		self->data[i] = (uint8_t)(i * 2654435761u >> 13);
	ASSERT_TRUE(scratch_make());
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE, &self->store));
	ASSERT_EQ(0, pf_extent_alloc(self->store, SIZE, 0, &self->extent));
	atomic_store(&io.large, 0); /* creating the journal counted */
	atomic_store(&io.direct, 0);
	atomic_store(&io.allocations, 0);
}

FIXTURE_TEARDOWN(bulk_faults)
{
	if (self->store) {
		EXPECT_EQ(0, pf_store_close(self->store));
	}
	scratch_remove();
	free(self->data);
	free(self->back);
}

static int load(struct pf_store *store, const struct pinfold_extent *extent, const uint8_t *data)
{
	int r = pf_bulk_write(store, extent, 0, data, SIZE);

	if (r == 0)
		r = pf_bulk_flush(store, extent, 1);
	return r < 0 ? r : scratch_publish(store, extent);
}

/* ---- refusals ---- */

TEST_F(bulk_faults, large_writes_go_past_the_page_cache)
{
	ASSERT_EQ(0, load(self->store, &self->extent, self->data));
	if (io.direct == 0)
		SKIP(return, "this filesystem has no O_DIRECT");
	EXPECT_EQ(SIZE / MIB, io.direct);
	EXPECT_EQ(0, memcmp(scratch_addr(self->store, &self->extent), self->data, SIZE));
}

TEST_F(bulk_faults, where_there_is_no_direct_io_the_page_cache_takes_it)
{
	io.refuse_direct = true;
	ASSERT_EQ(0, load(self->store, &self->extent, self->data));
	EXPECT_EQ(0, io.direct);
	EXPECT_EQ(0, memcmp(scratch_addr(self->store, &self->extent), self->data, SIZE));
}

TEST_F(bulk_faults, where_direct_writes_are_invalid_the_page_cache_takes_them)
{
	io.direct_invalid = true;
	ASSERT_EQ(0, load(self->store, &self->extent, self->data));
	EXPECT_EQ(0, io.direct);
	EXPECT_EQ(0, memcmp(scratch_addr(self->store, &self->extent), self->data, SIZE));
}

/* ---- failures ---- */

TEST_F(bulk_faults, a_write_that_failed_is_the_answer_to_all_that_follows)
{
	struct pinfold_extent other;

	atomic_store(&io.fail_writes, 2);
	(void)pf_bulk_write(self->store, &self->extent, 0, self->data, SIZE);
	EXPECT_EQ(-EIO, pf_bulk_flush(self->store, &self->extent, 1));
	EXPECT_NE(NULL, strstr(pf_error_text(), "wrote"));
	atomic_store(&io.fail_writes, 0);
	EXPECT_EQ(-EIO, pf_bulk_write(self->store, &self->extent, 0, self->data, SIZE)); /* the device is well again */
	EXPECT_EQ(-EIO, pf_bulk_flush(self->store, &self->extent, 1));
	EXPECT_EQ(-EIO, scratch_publish(self->store, &self->extent));
	EXPECT_EQ(-EIO, pf_read_at(self->store, &self->extent, 0, self->back, SIZE));
	EXPECT_FALSE(scratch_stat(self->store).poisoned);
	EXPECT_EQ(2 * MIB, scratch_stat(self->store).published_bytes); /* the root */
	ASSERT_EQ(0, pf_extent_alloc(self->store, SIZE, 0, &other));   /* others are not concerned */
	ASSERT_EQ(0, load(self->store, &other, self->data));
	EXPECT_EQ(0, memcmp(scratch_addr(self->store, &other), self->data, SIZE));
	EXPECT_EQ(0, pf_extent_free(self->store, &self->extent));
}

TEST_F(bulk_faults, nothing_is_written_behind_a_write_that_failed)
{
	unsigned before;

	atomic_store(&io.fail_writes, 1);
	for (int i = 0; i < 30 && pf_bulk_write(self->store, &self->extent, 0, self->data, SIZE) == 0; i++)
		;
	EXPECT_EQ(-EIO, pf_bulk_flush(self->store, &self->extent, 1));
	before = atomic_load(&io.large);
	EXPECT_LE(before, 2); /* as many as there are writers: they may have had one each */
	EXPECT_EQ(-EIO, pf_bulk_write(self->store, &self->extent, 0, self->data, SIZE));
	EXPECT_EQ(-EIO, pf_bulk_flush(self->store, &self->extent, 1));
	EXPECT_EQ(before, atomic_load(&io.large));
}

TEST_F(bulk_faults, a_flush_that_failed_is_not_repeated)
{
	ASSERT_EQ(0, pf_bulk_write(self->store, &self->extent, 0, self->data, SIZE));
	io.fail_flush = true;
	EXPECT_EQ(-EIO, pf_bulk_flush(self->store, &self->extent, 1));
	io.fail_flush = false;
	EXPECT_EQ(-EROFS, pf_bulk_flush(self->store, &self->extent, 1));
	EXPECT_EQ(-EROFS, scratch_publish(self->store, &self->extent));
	EXPECT_TRUE(scratch_stat(self->store).poisoned);
	EXPECT_GT(0, pf_store_close(self->store));
	self->store = NULL;
}

TEST_F(bulk_faults, freeing_waits_for_what_is_being_written)
{
	unsigned done;

	io.slow_ms = 100;
	ASSERT_EQ(0, pf_bulk_write(self->store, &self->extent, 0, self->data, SIZE));
	usleep(20000); /* the writers have begun */
	ASSERT_EQ(0, pf_extent_free(self->store, &self->extent));
	done = atomic_load(&io.large);
	usleep(250000);
	EXPECT_EQ(done, atomic_load(&io.large)); /* and what had not begun never does */
	EXPECT_GT(SIZE / MIB, done);
}

TEST_F(bulk_faults, closing_does_not_wait_for_what_nobody_will_have)
{
	io.slow_ms = 50;
	ASSERT_EQ(0, pf_bulk_write(self->store, &self->extent, 0, self->data, SIZE));
	ASSERT_EQ(0, pf_bulk_write(self->store, &self->extent, 100, self->data, 5)); /* an open piece */
	ASSERT_EQ(0, pf_store_close(self->store));
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	EXPECT_EQ(0, pf_store_verify(self->store, NULL, NULL, NULL));
	EXPECT_EQ(1, scratch_stat(self->store).extent_count);
}

/* ---- space ---- */

#define MAPPED 64

/*
 * Bytes that the filesystem holds for the data file's content. Not st_blocks: that has what the filesystem needs to
 * find them too, which changes when a range is cut. UINT64_MAX: it does not say.
 */
static uint64_t blocks_of_data(void)
{
	union {
		struct fiemap map;
		uint8_t room[sizeof(struct fiemap) + MAPPED * sizeof(struct fiemap_extent)];
	} all;
	uint64_t sum = 0, from = 0;
	bool last = false;
	char path[4200];
	int fd;

	snprintf(path, sizeof(path), "%s/data.000000", scratch_dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (!last) {
		memset(&all, 0, sizeof(all));
		all.map.fm_start = from;
		all.map.fm_length = UINT64_MAX - from;
		all.map.fm_flags = FIEMAP_FLAG_SYNC;
		all.map.fm_extent_count = MAPPED;
		if (fd < 0 || ioctl(fd, FS_IOC_FIEMAP, &all.map) != 0) {
			sum = UINT64_MAX;
			break;
		}
		last = all.map.fm_mapped_extents == 0;
		for (uint32_t i = 0; i < all.map.fm_mapped_extents; i++) {
			const struct fiemap_extent *extent = &all.map.fm_extents[i];

			sum += extent->fe_length;
			from = extent->fe_logical + extent->fe_length;
			last |= extent->fe_flags & FIEMAP_EXTENT_LAST;
		}
	}
	if (fd >= 0)
		close(fd);
	return sum;
}

TEST_F(bulk_faults, space_is_taken_ahead_zero_and_given_back)
{
	struct pinfold_extent extents[64];
	uint64_t held;

	for (int i = 0; i < 64; i++) {
		ASSERT_EQ(0, pf_extent_alloc(self->store, 2 * MIB, 0, &extents[i]));
		ASSERT_EQ(0, pf_bulk_write(self->store, &extents[i], 0, self->data, MIB));
	}
	EXPECT_LT(atomic_load(&io.allocations), 50);
	ASSERT_EQ(0, pf_bulk_flush(self->store, extents, 64));
	for (int i = 0; i < 64; i++) {
		const uint8_t *at = scratch_addr(self->store, &extents[i]);

		ASSERT_EQ(0, memcmp(at, self->data, MIB));
		for (uint64_t k = MIB; k < 2 * MIB; k += 512)
			ASSERT_EQ(0, at[k]);
		ASSERT_EQ(0,
			  i % 2 ? scratch_publish(self->store, &extents[i]) : pf_extent_free(self->store, &extents[i]));
	}
	held = blocks_of_data();
	ASSERT_NE(UINT64_MAX, held);
	ASSERT_EQ(0, pf_store_close(self->store));
	EXPECT_LE(blocks_of_data(), held);
	EXPECT_LE(blocks_of_data(), (64 + 2 + 2) * 2 * MIB + 2 * MIB); /* extents, table, root */
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
	for (int i = 0; i < 40; i++) { /* places that were free, freed and taken ahead: all are zero */
		struct pinfold_extent next;

		ASSERT_EQ(0, pf_extent_alloc(self->store, 2 * MIB, 0, &next));
		for (uint64_t k = 0; k < 2 * MIB; k += 512)
			ASSERT_EQ(0, ((const uint8_t *)scratch_addr(self->store, &next))[k]);
		ASSERT_EQ(0, pf_bulk_write(self->store, &next, 0, self->data, MIB));
	}
	EXPECT_EQ(0, pf_store_verify(self->store, NULL, NULL, NULL));
}

TEST_F(bulk_faults, a_full_disk_takes_what_fits_and_keeps_nothing_of_what_does_not)
{
	struct pinfold_extent extents[32], none;
	uint64_t before;

	io.allocate_max = 2 * MIB;
	for (int i = 0; i < 32; i++) /* not refused for the sake of those behind */
		ASSERT_EQ(0, pf_extent_alloc(self->store, 2 * MIB, 0, &extents[i]));
	EXPECT_LT(0, atomic_load(&io.wide_refused));
	before = blocks_of_data();
	ASSERT_NE(UINT64_MAX, before);
	EXPECT_EQ(-ENOSPC, pf_extent_alloc(self->store, 16 * MIB, 0, &none));
	EXPECT_NE(NULL, strstr(pf_error_text(), "cannot allocate"));
	EXPECT_EQ(before, blocks_of_data());
	io.allocate_max = 0;
	ASSERT_EQ(0, pf_extent_alloc(self->store, 16 * MIB, 0, &none));
	EXPECT_FALSE(scratch_stat(self->store).poisoned);
}

/* ---- death ---- */

struct death {
	const uint8_t *data;
	struct pinfold_extent *place; /* shared */
	unsigned die_at;
};

static int load_and_die(void *ctx)
{
	const struct death *death = ctx;
	struct pf_store *store;

	if (scratch_open(PINFOLD_SYNC_SYNC, 0, &store) != 0 || pf_extent_alloc(store, SIZE, 0, death->place) != 0)
		return 1;
	atomic_store(&io.calls, 0);
	atomic_store(&io.die_at, death->die_at);
	for (uint64_t at = 0; at < SIZE; at += 300000)
		if (pf_bulk_write(store, death->place, at, death->data + at, at + 300000 > SIZE ? SIZE - at : 300000) !=
		    0)
			return 2;
	if (pf_bulk_flush(store, death->place, 1) != 0 || scratch_publish(store, death->place) != 0)
		return 3;
	return 0;
}

TEST_F(bulk_faults, a_death_at_any_call_leaves_all_of_it_or_nothing)
{
	struct pinfold_extent *place = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct death death = { .data = self->data, .place = place };
	unsigned whole = 0, nothing = 0;
	int end = 77;

	ASSERT_NE(MAP_FAILED, place);
	ASSERT_EQ(0, pf_store_close(self->store));
	self->store = NULL;
	while (end == 77) {
		int r;

		death.die_at++;
		ASSERT_GT(200, death.die_at);
		end = scratch_crash(load_and_die, &death);
		ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, 0, &self->store));
		r = pf_read_at(self->store, place, 0, self->back, SIZE);
		ASSERT_TRUE(r == 0 || r == -ESTALE);
		if (r == 0) {
			ASSERT_EQ(0, memcmp(self->back, self->data, SIZE));
		}
		whole += r == 0;
		nothing += r != 0;
		ASSERT_EQ(0, pf_store_verify(self->store, NULL, NULL, NULL));
		if (r == 0) {
			ASSERT_EQ(0, scratch_drop(self->store, place));
		}
		ASSERT_EQ(0, pf_store_close(self->store));
		self->store = NULL;
	}
	EXPECT_EQ(0, end);
	EXPECT_LE(1, whole);
	EXPECT_LE(5, nothing); /* writes, flush, journal */
	munmap(place, 4096);
}

TEST_HARNESS_MAIN
