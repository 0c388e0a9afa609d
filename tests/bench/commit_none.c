/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * commit_none.c - bench_commit where RocksDB is not installed.
 */
#include "commit.h"

const struct commit_store *const commit_rocksdb = NULL;
