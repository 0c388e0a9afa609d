// SPDX-License-Identifier: GPL-2.0-only
/*
 * test_nodes.c - from which node slices are used and where their memory is, on a machine with two nodes or more: pages
 * are put on a chosen node, and touched from processors of a chosen node.
 */
#include <fcntl.h>
#include <numa.h>
#include <numaif.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "kselftest_harness.h"
#include "telemetry/telemetry.h"

#define FILE_BYTES (1ull << 30)
#define SLICE (1ull << PINFOLD_SLICE_SHIFT_MIN)
#define SLICES 6
#define PAGE 4096

FIXTURE(nodes)
{
	int fd;
	char *map;
	struct pf_telemetry *telemetry;
	struct pf_telemetry_info info;
	const struct pf_snapshot *snapshot;
	uint64_t now_ms;
};

FIXTURE_SETUP(nodes)
{
	struct pf_telemetry_config config = {.source = PINFOLD_SOURCE_BPF};
	struct pf_watch watch = {.file_size = FILE_BYTES, .arena_size = FILE_BYTES};
	char path[] = "/var/tmp/pf-nodes-XXXXXX", data[PAGE] = {1};

	memset(self, 0, sizeof(*self));
	self->fd = -1;
	if (access("/sys/devices/system/node/node1", F_OK) || numa_available() < 0)
		return; /* NEED_NODES() skips */
	self->fd = mkstemp(path);
	ASSERT_GE(self->fd, 0);
	unlink(path);
	ASSERT_EQ(ftruncate(self->fd, FILE_BYTES), 0);
	/* all of its memory on node 0, in small pages */
	numa_set_preferred(0);
	for (uint64_t at = 0; at < SLICES * SLICE; at += PAGE)
		ASSERT_EQ(pwrite(self->fd, data, PAGE, (off_t)at), PAGE);
	ASSERT_EQ(fsync(self->fd), 0);
	numa_set_localalloc();
	self->map = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, self->fd, 0);
	ASSERT_NE(self->map, MAP_FAILED);
	(void)madvise(self->map, FILE_BYTES, MADV_NOHUGEPAGE);
	watch.base = self->map;
	ASSERT_EQ(pf_telemetry_new(&watch, &config, &self->telemetry), 0) TH_LOG("%s", pf_error_text());
	ASSERT_EQ(pf_telemetry_add_file(self->telemetry, 0, self->fd), 0) TH_LOG("%s", pf_error_text());
	pf_telemetry_info(self->telemetry, &self->info);
	self->now_ms = 1000;
}

#define NEED_NODES() \
	do { \
		if (!self->telemetry) \
			SKIP(return, "one node"); \
		if (strncmp(self->info.source, "bpf:", 4)) \
			SKIP(return, "no source that counts nodes: %s", self->info.missing); \
	} while (0)

FIXTURE_TEARDOWN(nodes)
{
	pf_telemetry_free(self->telemetry);
	if (self->map)
		munmap(self->map, FILE_BYTES);
	if (self->fd >= 0)
		close(self->fd);
}

static void status(void *ctx, uint32_t file_id, uint32_t index, struct pf_slice_status *ret_status)
{
	ret_status->in_use = index < SLICES;
}

/* A turn, and the view of slice @index. */
static struct pf_slice_view turn(struct __test_metadata *_metadata, FIXTURE_DATA(nodes) *self, uint32_t index)
{
	struct pf_slice_view view = {0};

	self->now_ms += 500;
	EXPECT_EQ(pf_telemetry_turn(self->telemetry, self->now_ms, status, NULL, &self->snapshot), 0);
	for (uint64_t i = 0; i < self->snapshot->slice_count; i++)
		if (self->snapshot->slices[i].index == index)
			view = self->snapshot->slices[i];
	return view;
}

/* Faults slice @index in from node @node, @times times 32 faults. */
static void touch(FIXTURE_DATA(nodes) *self, int node, uint32_t index, int times)
{
	char *start = self->map + index * SLICE;

	if (numa_run_on_node(node))
		abort();
	for (int i = 0; i < times; i++) {
		madvise(start, SLICE, MADV_DONTNEED);
		for (uint64_t at = 0; at < SLICE; at += 64 << 10)
			*(volatile char *)(start + at);
	}
}

TEST_F(nodes, slots_count_by_node)
{
	const struct pinfold_slot *slot;
	uint64_t before;

	NEED_NODES();
	touch(self, 1, 2, 1);
	slot = pf_telemetry_slot(self->telemetry, 0, 2);
	EXPECT_GT(slot->node[1], 0);
	EXPECT_EQ(slot->node[1], slot->minor + slot->major);
	EXPECT_EQ(slot->node[0], 0);
	before = slot->node[1];
	touch(self, 0, 2, 1);
	EXPECT_EQ(slot->node[1], before);
	EXPECT_EQ(slot->node[0] + before, slot->minor + slot->major);
}

TEST_F(nodes, busiest_node_and_remote_share)
{
	struct pf_slice_view view;

	NEED_NODES();
	touch(self, 1, 1, 4);
	touch(self, 0, 2, 4);
	touch(self, 1, 3, 3);
	touch(self, 0, 3, 1);
	turn(_metadata, self, 1);
	/* where the memory is is asked after the first turn */
	view = turn(_metadata, self, 1);
	EXPECT_EQ(view.busiest_node, 1);
	EXPECT_GE(view.remote_permille, 990);
	view = turn(_metadata, self, 2);
	EXPECT_EQ(view.busiest_node, 0);
	EXPECT_LE(view.remote_permille, 10);
	view = turn(_metadata, self, 3);
	EXPECT_EQ(view.busiest_node, 1);
	EXPECT_GE(view.remote_permille, 740);
	EXPECT_LE(view.remote_permille, 760);
	view = turn(_metadata, self, 4);
	EXPECT_EQ(view.busiest_node, -1);
	EXPECT_EQ(view.remote_permille, 0);
}

TEST_F(nodes, moved_memory_is_remote_no_more)
{
	void *pages[SLICE / PAGE];
	int nodes[SLICE / PAGE], answers[SLICE / PAGE];
	struct pf_slice_view view;

	NEED_NODES();
	touch(self, 1, 1, 4);
	turn(_metadata, self, 1);
	view = turn(_metadata, self, 1);
	ASSERT_GE(view.remote_permille, 990);
	for (size_t i = 0; i < SLICE / PAGE; i++) {
		pages[i] = self->map + SLICE + i * PAGE;
		nodes[i] = 1;
	}
	ASSERT_EQ(move_pages(0, SLICE / PAGE, pages, nodes, answers, MPOL_MF_MOVE), 0);
	touch(self, 1, 1, 1);
	turn(_metadata, self, 1);
	view = turn(_metadata, self, 1);
	EXPECT_EQ(view.busiest_node, 1);
	EXPECT_LE(view.remote_permille, 10);
}

TEST_F(nodes, a_turn_of_the_tide_is_seen)
{
	struct pf_slice_view view;

	NEED_NODES();
	touch(self, 0, 1, 2);
	view = turn(_metadata, self, 1);
	ASSERT_EQ(view.busiest_node, 0);
	/* a minute of silence weighs less than one busy turn */
	for (int i = 0; i < 120; i++)
		view = turn(_metadata, self, 1);
	touch(self, 1, 1, 2);
	view = turn(_metadata, self, 1);
	EXPECT_EQ(view.busiest_node, 1);
}

TEST_HARNESS_MAIN
