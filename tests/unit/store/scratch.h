/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * scratch.h - a store in a directory of its own, for tests. Small: 1 GiB sparse files, 16 MiB of journal.
 */
#ifndef PF_TEST_SCRATCH_H
#define PF_TEST_SCRATCH_H

#include "base/error.h"
#include "store/store.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * For tests that fork beside running threads. ASan does not hold the locks of its allocator still during a fork: a
 * child that allocates, as the handlers of liburcu do, may wait for one for ever.
 */
#ifdef __SANITIZE_ADDRESS__
#define SCRATCH_FORKS() SKIP(return, "a child forked beside threads may wait for a lock of ASan's allocator")
#else
#define SCRATCH_FORKS()
#endif

#define MIB (1ull << 20)
#define GIB (1ull << 30)

static char scratch_dir[4096];

static inline int scratch_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static inline void scratch_remove(void)
{
	if (scratch_dir[0])
		nftw(scratch_dir, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
	scratch_dir[0] = '\0';
}

static inline bool scratch_make(void)
{
	const char *base = getenv("TMPDIR");

	snprintf(scratch_dir, sizeof(scratch_dir), "%s/pinfold-test-XXXXXX", base ? base : "/var/tmp");
	return mkdtemp(scratch_dir) != NULL;
}

static inline struct pinfold_config scratch_config(enum pinfold_sync sync, uint32_t flags)
{
	struct pinfold_config config = {
		.flags = flags, .sync = sync, .file_size = GIB, .max_mapped_size = 4 * GIB, .journal_size = 16 * MIB
	};

	return config;
}

static inline int scratch_open_config(const struct pinfold_config *config, struct pf_store **ret_store)
{
	struct pinfold_config complete;
	int r = pf_config_complete(config, &complete);

	r = r < 0 ? r : pf_store_open(scratch_dir, &complete, ret_store);
	if (r < 0 && getenv("PF_TEST_VERBOSE"))
		fprintf(stderr, "# open: %d %s\n", r, pf_error_text());
	return r;
}

static inline int scratch_open(enum pinfold_sync sync, uint32_t flags, struct pf_store **ret_store)
{
	struct pinfold_config config = scratch_config(sync, flags);

	return scratch_open_config(&config, ret_store);
}

static inline int scratch_publish(struct pf_store *store, const struct pinfold_extent *extent)
{
	struct pf_txn *txn;
	int r = pf_txn_begin(store, &txn);

	if (r < 0)
		return r;
	r = pf_txn_publish(txn, extent);
	if (r < 0) {
		pf_txn_abort(txn);
		return r;
	}
	return pf_txn_commit(txn);
}

/* An allocated and published extent. */
static inline int scratch_extent(struct pf_store *store, uint64_t size, struct pinfold_extent *ret_extent)
{
	int r = pf_extent_alloc(store, size, 0, ret_extent);

	return r < 0 ? r : scratch_publish(store, ret_extent);
}

static inline int scratch_drop(struct pf_store *store, const struct pinfold_extent *extent)
{
	struct pf_txn *txn;
	int r = pf_txn_begin(store, &txn);

	if (r < 0)
		return r;
	r = pf_txn_drop(txn, extent);
	if (r < 0) {
		pf_txn_abort(txn);
		return r;
	}
	return pf_txn_commit(txn);
}

static inline int scratch_write(struct pf_store *store, const struct pinfold_extent *extent, uint64_t offset,
				const void *data, size_t size)
{
	struct pf_txn *txn;
	int r = pf_txn_begin(store, &txn);

	if (r < 0)
		return r;
	r = pf_txn_write(txn, extent, offset, data, size);
	if (r < 0) {
		pf_txn_abort(txn);
		return r;
	}
	return pf_txn_commit(txn);
}

static inline const void *scratch_addr(struct pf_store *store, const struct pinfold_extent *extent)
{
	return pf_extent_addr(pf_store_base(store), pf_store_file_size(store), extent);
}

/* Runs @fn in a child that ends without closing anything, as after kill -9. Its exit status. */
static inline int scratch_crash(int (*fn)(void *ctx), void *ctx)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(fn(ctx));
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static inline struct pinfold_store_stats scratch_stat(struct pf_store *store)
{
	struct pinfold_store_stats stats;

	pf_store_stat(store, &stats);
	return stats;
}

#endif
