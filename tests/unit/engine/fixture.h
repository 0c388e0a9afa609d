/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * fixture.h - a small store in a fresh directory, gone after the test.
 */
#ifndef TEST_FIXTURE_H
#define TEST_FIXTURE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pinfold.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kselftest_harness.h"

#define MIB (1ull << 20)

FIXTURE(store)
{
	char dir[64];
	struct pinfold_config config;
	struct pinfold *pf;
};

static inline void remove_tree(const char *path)
{
	char command[160];

	snprintf(command, sizeof(command), "rm -rf '%s'", path);
	if (system(command) != 0)
		fprintf(stderr, "# cannot remove %s\n", path);
}

FIXTURE_SETUP(store)
{
	char error[512] = "";

	strcpy(self->dir, "/var/tmp/pinfold-test-XXXXXX");
	ASSERT_NE(NULL, mkdtemp(self->dir));
	memset(&self->config, 0, sizeof(self->config));
	self->config.size = sizeof(self->config);
	self->config.flags = PINFOLD_OPEN_CREATE;
	self->config.file_size = 1024 * MIB;
	self->config.max_mapped_size = 4096 * MIB;
	self->config.journal_size = 16 * MIB;
	self->config.extent_size = 2 * MIB;
	ASSERT_EQ(0, pinfold_open(self->dir, &self->config, error, sizeof(error), &self->pf))
	{
		TH_LOG("%s", error);
	}
}

FIXTURE_TEARDOWN(store)
{
	EXPECT_EQ(0, pinfold_close(self->pf));
	remove_tree(self->dir);
}

/* A published extent of @size bytes in which 8-byte word i holds @seed + i. */
static inline int fill_extent(struct pinfold *pf, uint64_t size, uint64_t seed, struct pinfold_extent *ret_extent)
{
	uint64_t *words = malloc(MIB);
	struct pinfold_txn *txn;
	int r = pinfold_extent_alloc(pf, size, 0, ret_extent);

	for (uint64_t at = 0; r == 0 && at < size; at += MIB) {
		for (uint64_t i = 0; i < MIB / 8; i++)
			words[i] = seed + at / 8 + i;
		r = pinfold_bulk_write(pf, ret_extent, at, words, MIB);
	}
	free(words);
	if (r == 0)
		r = pinfold_bulk_flush(pf, ret_extent, 1);
	if (r == 0)
		r = pinfold_txn_begin(pf, &txn);
	if (r == 0)
		r = pinfold_txn_publish(txn, ret_extent);
	return r ? r : pinfold_txn_commit(txn);
}

#endif
