/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * table_store.c - the records in a table of a pinfold store, through the public API.
 */
#include "table.h"

#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

void table_clear(const char *dir)
{
	if (nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT)
		bench_die("%s: cannot be removed: %s", dir, strerror(errno));
}

static uint64_t disk_bytes; /* nftw() has no context */

static int add_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	if (flag == FTW_F)
		disk_bytes += (uint64_t)st->st_blocks * 512;
	return 0;
}

uint64_t table_disk_bytes(const char *dir)
{
	disk_bytes = 0;
	nftw(dir, add_one, 8, FTW_PHYS);
	return disk_bytes;
}

static void check(struct table_store *store, int r, const char *what)
{
	if (r < 0)
		bench_die("pinfold: %s: %s: %s", store->dir, what, pinfold_errmsg(store->pf));
}

void table_store_open(struct table_store *store, const struct table_bench *bench, const char *name,
		      enum pinfold_sync sync, bool fresh)
{
	struct pinfold_config config = {.size = sizeof(config), .flags = PINFOLD_OPEN_CREATE, .sync = sync};
	char words[512] = "";
	int r;

	/* little address space, for valgrind; but an earlier run's store may have the default file size */
	config.file_size = config.max_mapped_size = (bench->keep ? 32ull : 16ull) << 30;
	if (!bench->engine)
		config.flags |= PINFOLD_OPEN_STORE_ONLY;
	snprintf(store->dir, sizeof(store->dir), "%s/%s", bench->dir, name);
	if (fresh)
		table_clear(store->dir);
	r = pinfold_open(store->dir, &config, words, sizeof(words), &store->pf);
	if (r < 0)
		bench_die("pinfold: %s: %s", store->dir, *words ? words : strerror(-r));
	check(store, pinfold_table_open(store->pf, "bench", PINFOLD_TABLE_CREATE, &store->table), "open table");
}

void table_store_close(struct table_store *store)
{
	pinfold_table_close(store->table);
	if (pinfold_close(store->pf) < 0)
		bench_die("pinfold: %s: close failed", store->dir);
}

uint64_t table_store_count(struct table_store *store)
{
	struct pinfold_table_stats stats;

	check(store, pinfold_table_stat(store->table, &stats), "stat");
	return stats.record_count;
}

struct extents {
	struct pinfold_extent *all;
	size_t count;
};

static int add_extent(void *ctx, const struct pinfold_extent *extent, bool published)
{
	struct extents *extents = ctx;

	if (!published)
		return 0;
	extents->all = reallocarray(extents->all, extents->count + 1, sizeof(*extents->all));
	if (!extents->all)
		bench_die("out of memory");
	extents->all[extents->count++] = *extent;
	return 0;
}

void table_store_pin_huge(struct table_store *store)
{
	const struct pinfold_pin_opts opts = { .priority = PINFOLD_PRIORITY_TAIL_LATENCY_CRITICAL,
					       .use_hugepages = true };
	struct pinfold_residency residency;
	struct extents extents = {0};
	pinfold_pin_key key;
	uint64_t bytes = 0;

	check(store, pinfold_extent_foreach(store->pf, add_extent, &extents), "list extents");
	for (size_t i = 0; i < extents.count; i++)
		check(store, pinfold_pin_slice(store->pf, &extents.all[i], 0, 0, &opts, &key), "pin");
	for (size_t i = 0; i < extents.count; i++) {
		check(store, pinfold_residency_query(store->pf, &extents.all[i], 0, 0, &residency), "residency");
		bytes += residency.huge == UINT64_MAX ? 0 : residency.huge;
	}
	free(extents.all);
	fprintf(stderr, "%llu MiB of the table lie on huge pages.\n", (unsigned long long)bytes >> 20);
}

void table_store_put(struct table_store *store, const uint64_t *numbers, size_t count, size_t batch, uint64_t step)
{
	struct pinfold_record *records = calloc(batch, sizeof(*records));
	uint8_t *data = malloc(batch * (TABLE_KEY + TABLE_VALUE));

	if (!records || !data)
		bench_die("out of memory");
	for (size_t i = 0; i < count; i += batch) {
		size_t n = count - i < batch ? count - i : batch;

		for (size_t k = 0; k < n; k++) {
			uint8_t *at = data + k * (TABLE_KEY + TABLE_VALUE);

			table_key(numbers[i + k], step, at);
			table_value(numbers[i + k], at + TABLE_KEY);
			records[k] = (struct pinfold_record){at, TABLE_KEY, at + TABLE_KEY, TABLE_VALUE};
		}
		check(store, pinfold_table_write(store->table, records, n), "write");
	}
	free(records);
	free(data);
}

void table_store_put_one(struct table_store *store, const uint8_t *key, const void *value)
{
	check(store, pinfold_table_put(store->table, key, TABLE_KEY, value, TABLE_VALUE), "put");
}

void table_store_sync(struct table_store *store)
{
	check(store, pinfold_sync(store->pf), "sync");
}

void table_store_settle(struct table_store *store)
{
	table_store_sync(store);
	check(store, pinfold_checkpoint(store->pf), "checkpoint");
}

void table_fill(struct table_store *store, struct table_lmdb *lmdb, uint64_t records)
{
	const uint64_t step = table_step(records);
	const size_t chunk = 1 << 16;
	uint64_t *numbers;

	if (table_lmdb_count(lmdb) != records)
		table_lmdb_append(lmdb, records, step);
	if (table_store_count(store) == records)
		return;
	numbers = malloc(chunk * sizeof(*numbers));
	if (!numbers)
		bench_die("out of memory");
	for (uint64_t at = 0; at < records; at += chunk) {
		size_t n = records - at < chunk ? (size_t)(records - at) : chunk;

		for (size_t i = 0; i < n; i++)
			numbers[i] = 2 * (at + i);
		table_store_put(store, numbers, n, 1000, step);
	}
	free(numbers);
	table_store_settle(store);
}

static inline size_t value_right(const uint8_t *value, size_t size, const struct table_want *want)
{
	uint64_t word;

	memcpy(&word, value + TABLE_VALUE - 8, 8);
	return size == TABLE_VALUE && word == want->word;
}

size_t table_store_get(struct table_store *store, const struct table_want *wants, size_t count)
{
	uint8_t value[TABLE_VALUE];
	size_t found = 0;

	for (size_t i = 0; i < count; i++) {
		size_t size;
		int r;

		r = pinfold_table_get(store->table, wants[i].key, TABLE_KEY, value, sizeof(value), &size);
		if (r == -ENOENT)
			continue;
		check(store, r, "get");
		found += value_right(value, size, &wants[i]);
	}
	return found;
}

#define BATCH_MAX 1024

size_t table_store_get_batch(struct table_store *store, const struct table_want *wants, size_t count, size_t batch)
{
	static _Thread_local uint8_t values[BATCH_MAX][TABLE_VALUE];
	static _Thread_local struct pinfold_get gets[BATCH_MAX];
	size_t found = 0;

	if (batch > BATCH_MAX)
		batch = BATCH_MAX;
	for (size_t i = 0; i < batch; i++)
		gets[i] = (struct pinfold_get){.key_size = TABLE_KEY,
					       .ret_value = values[i],
					       .capacity = TABLE_VALUE};
	for (size_t i = 0; i < count; i += batch) {
		size_t n = count - i < batch ? count - i : batch;

		for (size_t k = 0; k < n; k++)
			gets[k].key = wants[i + k].key;
		check(store, pinfold_table_get_batch(store->table, gets, n), "get batch");
		for (size_t k = 0; k < n; k++) {
			if (gets[k].result == -ENOENT)
				continue;
			check(store, gets[k].result, "get of a batch");
			found += value_right(values[k], gets[k].value_size, &wants[i + k]);
		}
	}
	return found;
}
