/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pollution_modes.c - the modes without pinfold: a bare mmap, the same with hot reads advised to be random, and the
 * same with the hot set locked by somebody who knows it.
 */
#include "pollution.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

struct plain {
	const char **blocks;
	uint32_t *locked;
	uint32_t locked_count;
};

static void plain_path(const struct pollution_params *params, char *ret_path, size_t size)
{
	snprintf(ret_path, size, "%s/plain-%llu", params->dir, (unsigned long long)params->data_bytes);
}

int pollution_plain_prepare(const struct pollution_params *params)
{
	char path[400];

	plain_path(params, path, sizeof(path));
	return bench_file_prepare(path, params->data_bytes, POLLUTION_SEED);
}

int pollution_plain_cool(const struct pollution_params *params)
{
	char path[400];

	plain_path(params, path, sizeof(path));
	return bench_file_drop_cache(path);
}

static const char *run_addr(const struct plain *plain, uint32_t run)
{
	const uint64_t at = run * POLLUTION_RUN;

	return plain->blocks[at / POLLUTION_BLOCK] + at % POLLUTION_BLOCK;
}

static int lock_hot(void *ctx, const uint32_t *runs, uint32_t run_count)
{
	struct plain *plain = ctx;

	for (uint32_t i = 0; i < plain->locked_count; i++)
		munlock(run_addr(plain, plain->locked[i]), POLLUTION_RUN);
	free(plain->locked);
	plain->locked_count = 0;
	plain->locked = malloc(run_count * sizeof(*runs));
	if (!plain->locked)
		return -ENOMEM;
	memcpy(plain->locked, runs, run_count * sizeof(*runs));
	plain->locked_count = run_count;
	for (uint32_t i = 0; i < run_count; i++)
		if (mlock(run_addr(plain, runs[i]), POLLUTION_RUN))
			return -errno;
	return 0;
}

/* Maps the data of @fd. The caller unmaps *ret_base and frees *ret_blocks. */
static int map_blocks(const struct pollution_params *params, int fd, int advice, char **ret_base,
		      const char ***ret_blocks)
{
	const uint64_t block_count = (params->data_bytes + POLLUTION_BLOCK - 1) / POLLUTION_BLOCK;
	const char **blocks = malloc(block_count * sizeof(*blocks));
	char *base;

	if (!blocks)
		return -ENOMEM;
	base = mmap(NULL, params->data_bytes, PROT_READ, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED || madvise(base, params->data_bytes, advice)) {
		free(blocks);
		return -errno;
	}
	for (uint64_t i = 0; i < block_count; i++)
		blocks[i] = base + i * POLLUTION_BLOCK;
	*ret_base = base;
	*ret_blocks = blocks;
	return 0;
}

static int drive_mapped(const struct pollution_params *params, int fd, void *result)
{
	const bool random = params->mode == MODE_RANDOM;
	struct plain plain = { 0 };
	struct pollution_hooks hooks = { .ctx = &plain, .hot = params->mode == MODE_HAND ? lock_hot : NULL };
	const char **hot_blocks = NULL;
	char *base = NULL, *hot = NULL;
	int r;

	r = map_blocks(params, fd, MADV_NORMAL, &base, &plain.blocks);
	if (r)
		return r;
	if (random)
		r = map_blocks(params, fd, MADV_RANDOM, &hot, &hot_blocks);
	hooks.hot_blocks = hot_blocks;
	if (!r)
		r = pollution_drive(params, plain.blocks, &hooks, result);
	free(plain.locked);
	free(plain.blocks);
	free(hot_blocks);
	munmap(base, params->data_bytes);
	if (hot)
		munmap(hot, params->data_bytes);
	return r;
}

int pollution_plain_run(void *ctx, void *result)
{
	const struct pollution_params *params = ctx;
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	char path[400];
	int fd, r;

	setrlimit(RLIMIT_MEMLOCK, &unlimited); /* mlock says so if that was refused and matters */
	plain_path(params, path, sizeof(path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = drive_mapped(params, fd, result);
	close(fd);
	return r;
}
