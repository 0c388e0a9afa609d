// SPDX-License-Identifier: GPL-2.0-only
/*
 * test_turn.c - whole turns: snapshot's order and content, samples placed and
 * harvested, the procfs source's notes.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "kselftest_harness.h"
#include "telemetry/telemetry.h"

#define FILE_BYTES (1ull << 30)
#define SLICE (2ull << 20)
#define USED 8
#define RATE 1000

FIXTURE(turn)
{
	int fd;
	char *map;
	struct pf_telemetry *telemetry;
	uint64_t now_ms;
	bool pinned;
};

FIXTURE_VARIANT(turn)
{
	enum pinfold_source source;
};

FIXTURE_VARIANT_ADD(turn, automatic)
{
	.source = PINFOLD_SOURCE_AUTO,
};

FIXTURE_VARIANT_ADD(turn, procfs)
{
	.source = PINFOLD_SOURCE_PROCFS,
};

FIXTURE_SETUP(turn)
{
	char path[] = "/var/tmp/pf-turn-XXXXXX";
	struct pf_telemetry_config config = {.source = variant->source, .sample_rate_per_s = RATE};
	struct pf_watch watch = {.file_size = FILE_BYTES, .arena_size = 2 * FILE_BYTES};
	char *data = calloc(1, SLICE);

	memset(self, 0, sizeof(*self));
	self->fd = mkstemp(path);
	ASSERT_GE(self->fd, 0);
	unlink(path);
	ASSERT_EQ(ftruncate(self->fd, FILE_BYTES), 0);
	for (uint64_t i = 0; i < USED; i++)
		ASSERT_EQ(pwrite(self->fd, data, SLICE, (off_t)(i * SLICE)), (ssize_t)SLICE);
	free(data);
	self->map = mmap(NULL, 2 * FILE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(self->map, MAP_FAILED);
	ASSERT_NE(mmap(self->map, FILE_BYTES, PROT_READ, MAP_SHARED | MAP_FIXED, self->fd, 0), MAP_FAILED);
	watch.base = self->map;
	ASSERT_EQ(pf_telemetry_new(&watch, &config, &self->telemetry), 0) TH_LOG("%s", pf_error_text());
	ASSERT_EQ(pf_telemetry_add_file(self->telemetry, 0, self->fd), 0) TH_LOG("%s", pf_error_text());
	self->now_ms = 1000000;
}

FIXTURE_TEARDOWN(turn)
{
	pf_telemetry_free(self->telemetry);
	munmap(self->map, 2 * FILE_BYTES);
	close(self->fd);
}

static void status_of(void *ctx, uint32_t file_id, uint32_t index, struct pf_slice_status *ret_status)
{
	FIXTURE_DATA(turn) *self = ctx;

	ret_status->in_use = index < USED && index != 3;
	ret_status->pinned = self->pinned && index == 1;
	ret_status->extent_flags = index;
}

static const struct pf_snapshot *turn(struct __test_metadata *_metadata, FIXTURE_DATA(turn) *self)
{
	const struct pf_snapshot *snapshot = NULL;

	self->now_ms += 500;
	EXPECT_EQ(pf_telemetry_turn(self->telemetry, self->now_ms, status_of, self, &snapshot), 0);
	return snapshot;
}

static void touch(const char *at)
{
	*(volatile const char *)at;
}

TEST_F(turn, without_sampling_nothing_is_revoked)
{
	struct pf_telemetry_config config = {.source = variant->source, .sample_rate_per_s = RATE, .no_sampling = true};
	struct pf_watch watch = {.base = self->map, .file_size = FILE_BYTES, .arena_size = 2 * FILE_BYTES};
	struct pf_telemetry_info info;

	for (int off = 0; off < 2; off++) {
		if (off) {
			pf_telemetry_free(self->telemetry);
			ASSERT_EQ(pf_telemetry_new(&watch, &config, &self->telemetry), 0) TH_LOG("%s", pf_error_text());
			ASSERT_EQ(pf_telemetry_add_file(self->telemetry, 0, self->fd), 0);
		}
		for (uint64_t at = 0; at < SLICE; at += 4096)
			touch(self->map + at);
		for (int i = 0; i < 10; i++)
			ASSERT_NE(turn(_metadata, self), NULL);
		pf_telemetry_info(self->telemetry, &info);
		EXPECT_EQ(info.sample_count == 0, off);
	}
}

TEST_F(turn, snapshot_is_in_order)
{
	const struct pf_snapshot *snapshot = turn(_metadata, self);

	ASSERT_EQ(snapshot->slice_size, SLICE);
	ASSERT_EQ(snapshot->time_ms, self->now_ms);
	ASSERT_EQ(snapshot->slice_count, USED);
	for (uint32_t i = 0; i < USED; i++) {
		ASSERT_EQ(snapshot->slices[i].file_id, 0);
		ASSERT_EQ(snapshot->slices[i].index, i);
		ASSERT_EQ(snapshot->slices[i].in_use, i != 3);
		ASSERT_EQ(snapshot->slices[i].extent_flags, i);
		ASSERT_EQ(snapshot->slices[i].heat, 0);
	}
}

TEST_F(turn, residency_becomes_known)
{
	const struct pf_snapshot *snapshot = NULL;

	for (int t = 0; t < 10; t++)
		snapshot = turn(_metadata, self);
	ASSERT_EQ(snapshot->slices[0].resident_pages, SLICE >> 12);
	ASSERT_EQ(snapshot->slices[3].resident_pages, UINT32_MAX);
}

TEST_F(turn, touched_samples_are_counted_and_untouched_are_not)
{
	struct pf_telemetry_info info;
	uint64_t hits;

	for (uint64_t at = 0; at < USED * SLICE; at += 4096)
		touch(self->map + at);
	for (int t = 0; t < 10; t++)
		turn(_metadata, self);
	pf_telemetry_info(self->telemetry, &info);
	ASSERT_GT(info.sample_count, 0);
	ASSERT_LE(info.sample_count, RATE * 10 / 2);
	ASSERT_EQ(info.sample_hit_count, 0);
	for (uint64_t at = 0; at < SLICE; at += 4096)
		touch(self->map + at);
	turn(_metadata, self);
	pf_telemetry_info(self->telemetry, &info);
	hits = info.sample_hit_count;
	ASSERT_GT(hits, 0);
	turn(_metadata, self);
	pf_telemetry_info(self->telemetry, &info);
	ASSERT_EQ(info.sample_hit_count, hits);
}

TEST_F(turn, samples_of_a_newly_pinned_slice_start_anew)
{
	struct pf_telemetry_info info;

	for (int t = 0; t < 4; t++)
		turn(_metadata, self);
	for (uint64_t at = SLICE; at < 2 * SLICE; at += 4096)
		touch(self->map + at); /* what pinning does */
	self->pinned = true;
	turn(_metadata, self);
	pf_telemetry_info(self->telemetry, &info);
	ASSERT_EQ(info.sample_hit_count, 0);
}

TEST_F(turn, hints_raise_confidence)
{
	const struct pf_snapshot *snapshot;

	for (int i = 0; i < 20; i++)
		pf_telemetry_hint(self->telemetry, 0, 2, PINFOLD_ACCESS_RANDOM);
	pf_telemetry_hint(self->telemetry, 0, 4, PINFOLD_ACCESS_SEQUENTIAL);
	pf_telemetry_hint(self->telemetry, 9, 4, PINFOLD_ACCESS_RANDOM); /* no such file: ignored */
	snapshot = turn(_metadata, self);
	ASSERT_GT(snapshot->slices[2].confidence, 0.5f);
	ASSERT_EQ(snapshot->slices[4].confidence, 0);
}

TEST_F(turn, clock_must_not_step_back)
{
	const struct pf_snapshot *snapshot;

	turn(_metadata, self);
	ASSERT_EQ(pf_telemetry_turn(self->telemetry, self->now_ms - 1, status_of, self, &snapshot), -EINVAL);
}

TEST_F(turn, slots_are_in_reach)
{
	ASSERT_NE(pf_telemetry_slot(self->telemetry, 0, 0), NULL);
	ASSERT_EQ(pf_telemetry_slot(self->telemetry, 1, 0), NULL);
	ASSERT_EQ(pf_telemetry_slot(self->telemetry, 0, 512), NULL);
}

TEST_HARNESS_MAIN
