/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * fixture.h - a store with tables in a temporary directory.
 */
#ifndef TABLE_FIXTURE_H
#define TABLE_FIXTURE_H

#include "base/error.h"
#include "store/store.h"
#include "store/table/table.h"

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct env {
	char dir[64];
	struct pinfold_config config;
	struct pf_store *store;
};

static int env_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static int env_open(struct env *env)
{
	struct pinfold_config full;
	int r;

	r = pf_config_complete(&env->config, &full);
	if (r == 0)
		r = pf_store_open(env->dir, &full, &env->store);
	if (r == 0)
		r = pf_tables_open(env->store, &full);
	if (r < 0)
		printf("# open %s: %d %s\n", env->dir, r, pf_error_text());
	return r;
}

static int env_close(struct env *env)
{
	pf_tables_close(env->store);
	return pf_store_close(env->store);
}

static inline int env_reopen(struct env *env)
{
	int r = env_close(env);

	return r < 0 ? r : env_open(env);
}

static int env_begin(struct env *env, enum pinfold_sync sync)
{
	const char *tmp = getenv("TMPDIR");

	*env = (struct env){
		.config = {.size = sizeof(struct pinfold_config), .flags = PINFOLD_OPEN_CREATE, .sync = sync}};
	env->config.file_size = 1ull << 30;
	env->config.max_mapped_size = 8ull << 30;
	env->config.journal_size = 16ull << 20;
	snprintf(env->dir, sizeof(env->dir), "%s/pf-table-XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/var/tmp");
	if (!mkdtemp(env->dir))
		return -errno;
	return env_open(env);
}

static void env_end(struct env *env)
{
	env_close(env);
	nftw(env->dir, env_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static inline uint64_t env_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Flips a bit of the byte @before the one place in the first data file where @bytes stand. */
static inline int env_damage(struct env *env, const char *bytes, size_t before)
{
	static char block[1 << 20];
	char path[96];
	int fd, r = -ENOENT;

	snprintf(path, sizeof(path), "%s/data.000000", env->dir);
	fd = open(path, O_RDWR);
	for (off_t at = 0; fd >= 0 && r == -ENOENT && (at = lseek(fd, at, SEEK_DATA)) >= 0; at += sizeof(block)) {
		ssize_t n = pread(fd, block, sizeof(block), at);
		char *found = n > 0 ? memmem(block, (size_t)n, bytes, strlen(bytes)) : NULL;
		char other;

		if (!found)
			continue;
		found -= before;
		other = *found ^ 1;
		r = pwrite(fd, &other, 1, at + (found - block)) == 1 ? 0 : -errno;
	}
	close(fd);
	return r;
}

/* Prints each problem, counts them in *ctx. */
static inline void env_problem(void *ctx, const struct pinfold_problem *problem)
{
	printf("# %s %" PRId64 ": %s\n", problem->path, problem->offset, problem->what);
	++*(int *)ctx;
}

static inline int env_verify(struct env *env)
{
	int problems = 0, r = pf_table_verify(env->store, env_problem, NULL, &problems);

	return r < 0 && r != -EUCLEAN ? r : problems;
}

#endif
