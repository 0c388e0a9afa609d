// SPDX-License-Identifier: GPL-2.0-only
/* Space that runs out, fails, or waits for readers. Linked so that calls of store/io.h come through here. */
#include "scratch.h"

#include "store/io.h"

#include <linux/falloc.h>
#include <pthread.h>

#include "kselftest_harness.h"

#define SIZE (2 * MIB)

static struct {
	_Atomic uint64_t end; /* zeroing beyond it finds no space; 0: anywhere else */
	_Atomic bool full;    /* zeroing finds no space */
	_Atomic unsigned flushes;
} io;

int __real_pf_io_fallocate(int fd, int mode, uint64_t offset, uint64_t size);
int __wrap_pf_io_fallocate(int fd, int mode, uint64_t offset, uint64_t size)
{
	const uint64_t end = atomic_load(&io.end);

	if ((mode & FALLOC_FL_ZERO_RANGE) && (atomic_load(&io.full) || (end && offset + size > end)))
		return -ENOSPC;
	return __real_pf_io_fallocate(fd, mode, offset, size);
}

int __real_pf_io_flush_range(int fd, uint64_t offset, void *mapped, size_t size);
int __wrap_pf_io_flush_range(int fd, uint64_t offset, void *mapped, size_t size)
{
	atomic_fetch_add(&io.flushes, 1);
	return __real_pf_io_flush_range(fd, offset, mapped, size);
}

FIXTURE(space)
{
	struct pf_store *store;
};
FIXTURE_SETUP(space)
{
	struct pinfold_config config = scratch_config(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE);

	config.max_mapped_size = GIB;
	ASSERT_TRUE(scratch_make());
	ASSERT_EQ(0, scratch_open_config(&config, &self->store));
}
FIXTURE_TEARDOWN(space)
{
	atomic_store(&io.full, false);
	atomic_store(&io.end, 0);
	EXPECT_EQ(0, pf_store_close(self->store));
	scratch_remove();
}

/* Dropped and past its grace period: free, with what was in it. */
static bool recycle(struct pf_store *store, const struct pinfold_extent *extent)
{
	struct pinfold_extent found;
	enum pf_granule_state state;

	if (scratch_drop(store, extent) < 0)
		return false;
	for (unsigned i = 0; i < 3000; i++) {
		if (pf_store_checkpoint(store) < 0)
			return false;
		if (pf_store_extent_at(store, extent->file_id, extent->offset, &found, &state) == -ENOENT)
			return true;
		usleep(1000);
	}
	return false;
}

TEST_F(space, what_a_failed_zeroing_left_is_not_taken_for_durable)
{
	struct pinfold_extent extent, again;

	ASSERT_EQ(0, scratch_extent(self->store, SIZE, &extent));
	ASSERT_EQ(0, scratch_write(self->store, &extent, 0, "secret", 6));
	ASSERT_TRUE(recycle(self->store, &extent));
	atomic_store(&io.full, true);
	ASSERT_EQ(-ENOSPC, pf_extent_alloc(self->store, SIZE, 0, &again));
	atomic_store(&io.full, false);
	ASSERT_EQ(0, pf_extent_alloc(self->store, SIZE, 0, &again));
	ASSERT_EQ(extent.offset, again.offset);
	atomic_store(&io.flushes, 0);
	ASSERT_EQ(0, scratch_publish(self->store, &again));
	EXPECT_GE(atomic_load(&io.flushes), 1) TH_LOG("nothing makes durable that the former owner's bytes are gone");
}

TEST_F(space, dropped_extents_are_used_again_on_a_full_disk)
{
	struct pinfold_extent extents[20], again;

	for (unsigned i = 0; i < 20; i++)
		ASSERT_EQ(0, scratch_extent(self->store, SIZE, &extents[i]));
	atomic_store(&io.end, extents[19].offset + SIZE); /* no blocks but those of these */
	ASSERT_EQ(-ENOSPC, pf_extent_alloc(self->store, SIZE, 0, &again));
	for (unsigned i = 0; i < 20; i++)
		ASSERT_EQ(0, scratch_drop(self->store, &extents[i]));
	for (unsigned i = 0; i < 20; i++)
		EXPECT_EQ(0, pf_extent_alloc(self->store, SIZE, 0, &again)) TH_LOG("%s", pf_error_text());
}

static struct {
	_Atomic bool inside, leave;
} reader;

static void *read_long(void *arg)
{
	pf_epoch_enter();
	atomic_store(&reader.inside, true);
	while (!atomic_load(&reader.leave))
		usleep(1000);
	pf_epoch_leave();
	return NULL;
}

TEST_F_TIMEOUT(space, readers_are_not_waited_for_for_ever, 60)
{
	struct pinfold_extent extents[2], again;
	pthread_t thread;
	int r;

	ASSERT_EQ(0, scratch_extent(self->store, 512 * MIB, &extents[0]));
	ASSERT_EQ(0, pthread_create(&thread, NULL, read_long, NULL));
	while (!atomic_load(&reader.inside))
		usleep(1000);
	EXPECT_EQ(0, scratch_drop(self->store, &extents[0]));
	r = pf_extent_alloc(self->store, 512 * MIB, 0, &again);
	EXPECT_EQ(-ENOSPC, r);
	atomic_store(&reader.leave, true);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, pf_extent_alloc(self->store, 512 * MIB, 0, &again)) TH_LOG("%s", pf_error_text());
}

TEST_F(space, an_extent_that_no_file_can_hold_makes_no_files)
{
	struct pinfold_extent extent;
	struct pf_store *store;
	struct pinfold_config config = scratch_config(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE);

	ASSERT_EQ(0, pf_store_close(self->store));
	scratch_remove();
	ASSERT_TRUE(scratch_make());
	ASSERT_EQ(0, scratch_open_config(&config, &store));
	self->store = store;
	EXPECT_EQ(-EINVAL, pf_extent_alloc(store, GIB, 0, &extent));
	EXPECT_NE(NULL, strstr(pf_error_text(), "1073741824"));
	EXPECT_EQ(1, scratch_stat(store).file_count);
	EXPECT_EQ(0, pf_extent_alloc(store, 512 * MIB, 0, &extent)) TH_LOG("%s", pf_error_text());
}

TEST_HARNESS_MAIN
