// SPDX-License-Identifier: GPL-2.0-only
/*
 * test_sampler.c - a touched block is seen, an untouched one is not, data survives.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "telemetry/sampler.h"

#define SLICE (2u << 20)
#define SEED 7

FIXTURE(sampler)
{
	int fd;
	char *map;
	struct pf_sampler *sampler;
	struct pf_sample_slice slice;
};

FIXTURE_SETUP(sampler)
{
	char path[] = "/var/tmp/pf-sampler-XXXXXX";

	memset(self, 0, sizeof(*self));
	self->fd = mkstemp(path);
	ASSERT_GE(self->fd, 0);
	unlink(path);
	ASSERT_EQ(ftruncate(self->fd, SLICE), 0);
	self->map = mmap(NULL, SLICE, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	ASSERT_NE(self->map, MAP_FAILED);
	for (size_t i = 0; i < SLICE; i += 4096)
		memset(self->map + i, (int)(i >> 12), 4096);
	ASSERT_EQ(pf_sampler_new(SEED, &self->sampler), 0);
}

FIXTURE_TEARDOWN(sampler)
{
	pf_sampler_free(self->sampler);
	munmap(self->map, SLICE);
	close(self->fd);
}

static void fill(FIXTURE_DATA(sampler) *self)
{
	for (int tries = 0; tries < 1000 && self->slice.count < PF_SAMPLE_SLICE_MAX; tries++) {
		uint32_t block;

		if (pf_sampler_pick(self->sampler, SLICE, &self->slice, &block))
			pf_sampler_place(self->sampler, self->map, &self->slice, block);
	}
	pf_sampler_flush(self->sampler);
}

static void touch(const char *at)
{
	*(volatile const char *)at;
}

TEST_F(sampler, sees_touched_blocks_alone)
{
	uint32_t last;

	fill(self);
	ASSERT_EQ(self->slice.count, PF_SAMPLE_SLICE_MAX);
	ASSERT_EQ(pf_sampler_refused(self->sampler), 0);
	ASSERT_EQ(pf_sampler_harvest(self->sampler, self->map, &self->slice), 0);
	last = self->slice.block[PF_SAMPLE_SLICE_MAX - 1];
	touch(self->map + (size_t)self->slice.block[0] * PF_SAMPLE_BLOCK);
	touch(self->map + (size_t)self->slice.block[3] * PF_SAMPLE_BLOCK + PF_SAMPLE_BLOCK - 1);
	ASSERT_EQ(pf_sampler_harvest(self->sampler, self->map, &self->slice), 2);
	ASSERT_EQ(self->slice.count, PF_SAMPLE_SLICE_MAX - 2);
	ASSERT_EQ(self->slice.block[self->slice.count - 1], last);
	ASSERT_EQ(pf_sampler_harvest(self->sampler, self->map, &self->slice), 0);
}

TEST_F(sampler, touches_beside_a_block_do_not_count)
{
	bool revoked[SLICE / PF_SAMPLE_BLOCK] = {false};

	fill(self);
	for (uint32_t i = 0; i < self->slice.count; i++)
		revoked[self->slice.block[i]] = true;
	for (size_t block = 0; block < SLICE / PF_SAMPLE_BLOCK; block++) {
		if (!revoked[block])
			touch(self->map + block * PF_SAMPLE_BLOCK);
	}
	ASSERT_EQ(pf_sampler_harvest(self->sampler, self->map, &self->slice), 0);
}

TEST_F(sampler, dirty_data_survives)
{
	fill(self);
	for (size_t i = 0; i < SLICE; i += 4096)
		ASSERT_EQ((unsigned char)self->map[i + 17], (unsigned char)(i >> 12));
}

TEST_F(sampler, locked_memory_is_sampled_too)
{
	if (mlock(self->map, SLICE))
		SKIP(return, "mlock of 2 MiB is refused here");
	fill(self);
	ASSERT_EQ(pf_sampler_refused(self->sampler), 0);
	ASSERT_EQ(pf_sampler_harvest(self->sampler, self->map, &self->slice), 0);
	touch(self->map + (size_t)self->slice.block[2] * PF_SAMPLE_BLOCK + 8192);
	ASSERT_EQ(pf_sampler_harvest(self->sampler, self->map, &self->slice), 1);
}

TEST_F(sampler, never_takes_a_block_twice)
{
	uint64_t seen = 0;

	fill(self);
	for (uint32_t i = 0; i < self->slice.count; i++) {
		ASSERT_EQ(seen & 1ull << self->slice.block[i], 0);
		seen |= 1ull << self->slice.block[i];
	}
}

TEST_HARNESS_MAIN
