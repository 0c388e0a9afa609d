/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pollution_modes.c - the two modes without pinfold: a bare mmap, and the same
 * with the hot set locked by somebody who knows it.
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

int pollution_plain_run(void *ctx, void *result)
{
	const struct pollution_params *params = ctx;
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	const uint64_t block_count = (params->data_bytes + POLLUTION_BLOCK - 1) / POLLUTION_BLOCK;
	struct plain plain = { 0 };
	struct pollution_hooks hooks = { .ctx = &plain, .hot = params->mode == MODE_HAND ? lock_hot : NULL };
	char path[400];
	const char *base;
	int fd, r;

	setrlimit(RLIMIT_MEMLOCK, &unlimited); /* mlock says so if that was refused and matters */
	plain_path(params, path, sizeof(path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	base = mmap(NULL, params->data_bytes, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (base == MAP_FAILED)
		return -errno;
	plain.blocks = malloc(block_count * sizeof(*plain.blocks));
	if (!plain.blocks)
		return -ENOMEM;
	for (uint64_t i = 0; i < block_count; i++)
		plain.blocks[i] = base + i * POLLUTION_BLOCK;
	r = pollution_drive(params, plain.blocks, &hooks, result);
	free(plain.locked);
	free(plain.blocks);
	munmap((void *)base, params->data_bytes);
	return r;
}
