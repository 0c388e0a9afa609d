/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * read_runs.c - the ways of reading that are compared. Each function is a child process's whole life.
 */
#include "read.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/** Loads between two looks at the clock. */
#define BLOCKING_STEP 64
/** Bytes of a read that fills memory. */
#define FILL_CHUNK (1 << 20)
/** Loads in one epoch of figure 1. */
#define HOT_STEP 1024

static atomic_uint_fast64_t sink; /* keeps the loads */

/** The layout's piece of the file, mapped the plain way. */
static int map_bare(const struct read_layout *layout, int advice, const char **ret_map)
{
	int fd = open(layout->path, O_RDONLY | O_CLOEXEC);
	void *map;

	if (fd < 0)
		return -errno;
	map = mmap(NULL, layout->size, PROT_READ, MAP_SHARED, fd, (off_t)layout->offset);
	close(fd);
	if (map == MAP_FAILED)
		return -errno;
	if (advice >= 0 && madvise(map, layout->size, advice))
		return -errno;
	*ret_map = map;
	return 0;
}

/* ---- figure 2: random reads of data larger than memory ---- */

/**
 * Fills the memory limit with pages of the data. Reads of data larger than memory pay for reclaim and hit what
 * happens to be cached; a run that starts empty does neither for its first seconds, and takes memory from the
 * machine that a hypervisor may have yet to provide. Single pages, as random reads leave them.
 */
static int fill_memory(const struct read_run *run)
{
	const struct read_layout *layout = &run->layout;
	uint64_t chunks = layout->size / FILL_CHUNK, wanted = run->params->memory_bytes / FILL_CHUNK;
	int fd = open(layout->path, O_RDONLY | O_CLOEXEC);
	void *chunk = malloc(FILL_CHUNK);
	int r = fd < 0 ? -errno : chunk ? 0 : -ENOMEM;

	if (!r)
		r = -posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	for (uint64_t i = 0; i < wanted && i < chunks && !r; i++) {
		ssize_t got = pread(fd, chunk, FILL_CHUNK, (off_t)(layout->offset + i * FILL_CHUNK));

		if (got != FILL_CHUNK)
			r = got < 0 ? -errno : -EIO;
	}
	free(chunk);
	if (fd >= 0)
		close(fd);
	return r;
}

struct lane {
	const struct read_store *store;
	const struct read_params *params;
	uint64_t seed, end_ns, reads;
	int result;
};

static void *batched_lane(void *arg)
{
	struct lane *lane = arg;
	const struct read_store *store = lane->store;
	size_t batch = lane->params->batch;
	struct pinfold_read_req *reqs = calloc(batch, sizeof(*reqs));
	uint64_t sum = 0;

	if (!reqs) {
		lane->result = -ENOMEM;
		return NULL;
	}
	while (bench_now_ns() < lane->end_ns && !lane->result) {
		for (size_t i = 0; i < batch; i++) {
			reqs[i].extent =
				store->object.extents[bench_random_below(&lane->seed, store->object.extent_count)];
			reqs[i].offset = bench_random_below(&lane->seed, READ_EXTENT / READ_PAGE) * READ_PAGE;
			reqs[i].size = READ_PAGE;
		}
		pinfold_read_begin(store->pf);
		lane->result = pinfold_read_batch(store->pf, reqs, batch);
		for (size_t i = 0; i < batch && !lane->result; i++)
			sum += *(const volatile uint64_t *)reqs[i].ret_ptr;
		pinfold_read_end(store->pf);
		lane->reads += batch;
	}
	if (lane->result)
		fprintf(stderr, "bench_read: pinfold_read_batch: %s\n", pinfold_errmsg(store->pf));
	atomic_fetch_add(&sink, sum);
	free(reqs);
	return NULL;
}

int read_batched(void *ctx, void *result)
{
	const struct read_run *run = ctx;
	struct lane lanes[READ_LANES_MAX];
	pthread_t threads[READ_LANES_MAX];
	struct read_store store;
	uint64_t start_ns, reads = 0;
	unsigned started = 0;
	int r = read_store_open(run->params, &store);

	if (r)
		return r;
	r = fill_memory(run);
	start_ns = bench_now_ns();
	for (; started < run->threads && !r; started++) {
		lanes[started] = (struct lane){ .store = &store,
						.params = run->params,
						.seed = READ_SEED + started + start_ns,
						.end_ns = start_ns + (uint64_t)(run->params->seconds * 1e9) };
		r = -pthread_create(&threads[started], NULL, batched_lane, &lanes[started]);
		if (r)
			break;
	}
	for (unsigned i = 0; i < started; i++) {
		pthread_join(threads[i], NULL);
		reads += lanes[i].reads;
		r = r ? r : lanes[i].result;
	}
	*(double *)result = (double)reads * 1e9 / (double)(bench_now_ns() - start_ns);
	read_store_close(&store);
	return r;
}

int read_blocking(void *ctx, void *result)
{
	const struct read_run *run = ctx;
	uint64_t start_ns, end_ns, now_ns, reads = 0, sum = 0, seed;
	struct read_store store;
	int r = read_store_open(run->params, &store);

	if (r)
		return r;
	r = fill_memory(run);
	seed = READ_SEED + bench_now_ns();
	start_ns = bench_now_ns();
	end_ns = start_ns + (uint64_t)(run->params->seconds * 1e9);
	for (now_ns = start_ns; now_ns < end_ns && !r; now_ns = bench_now_ns()) {
		pinfold_read_begin(store.pf);
		for (int i = 0; i < BLOCKING_STEP && !r; i++) {
			uint64_t extent = bench_random_below(&seed, store.object.extent_count);
			uint64_t offset = bench_random_below(&seed, READ_EXTENT / READ_PAGE) * READ_PAGE;
			const void *base = NULL;

			r = pinfold_extent_ptr(store.pf, &store.object.extents[extent], &base);
			if (!r)
				sum += *(const volatile uint64_t *)((const char *)base + offset);
		}
		pinfold_read_end(store.pf);
		reads += BLOCKING_STEP;
	}
	*(double *)result = (double)reads * 1e9 / (double)(now_ns - start_ns);
	atomic_fetch_add(&sink, sum);
	read_store_close(&store);
	return r;
}

int read_blocking_bare(void *ctx, void *result)
{
	const struct read_run *run = ctx;
	uint64_t start_ns, end_ns, now_ns, reads = 0, sum = 0, seed;
	const char *map;
	int r = map_bare(&run->layout, MADV_RANDOM, &map);

	if (!r)
		r = fill_memory(run);
	if (r)
		return r;
	seed = READ_SEED + bench_now_ns();
	start_ns = bench_now_ns();
	end_ns = start_ns + (uint64_t)(run->params->seconds * 1e9);
	for (now_ns = start_ns; now_ns < end_ns; now_ns = bench_now_ns()) {
		for (int i = 0; i < BLOCKING_STEP; i++) {
			uint64_t extent = bench_random_below(&seed, run->layout.size / READ_EXTENT);
			uint64_t offset = bench_random_below(&seed, READ_EXTENT / READ_PAGE) * READ_PAGE;

			sum += *(const volatile uint64_t *)(map + extent * READ_EXTENT + offset);
		}
		reads += BLOCKING_STEP;
	}
	*(double *)result = (double)reads * 1e9 / (double)(now_ns - start_ns);
	atomic_fetch_add(&sink, sum);
	return 0;
}

/* ---- figure 3: scans ---- */

/** Bytes handed out until the end of the data or of the time; one word of each page is read, as proof of arrival. */
int read_scan_cold(void *ctx, void *result)
{
	const struct read_run *run = ctx;
	struct pinfold_scan_block block;
	struct pinfold_scan *scan;
	struct read_store store;
	uint64_t start_ns, end_ns, bytes = 0, sum = 0;
	int r = read_store_open(run->params, &store);

	if (r)
		return r;
	start_ns = bench_now_ns();
	end_ns = start_ns + (uint64_t)(run->params->seconds * 1e9);
	r = pinfold_scan_open(store.pf, store.object.extents, store.object.extent_count, &scan);
	if (!r) {
		pinfold_read_begin(store.pf);
		while (bench_now_ns() < end_ns && (r = pinfold_scan_next(scan, &block)) == 1) {
			for (size_t at = 0; at < block.size; at += READ_PAGE)
				sum += *(const volatile uint64_t *)((const char *)block.data + at);
			bytes += block.size;
		}
		pinfold_read_end(store.pf);
		pinfold_scan_close(scan);
	}
	*(double *)result = (double)bytes * 1e9 / (double)(bench_now_ns() - start_ns);
	if (r < 0)
		fprintf(stderr, "bench_read: scan: %s\n", pinfold_errmsg(store.pf));
	atomic_fetch_add(&sink, sum);
	read_store_close(&store);
	return r < 0 ? r : 0;
}

/** Adds up every word; kept out of line so that both sides run the same instructions. */
__attribute__((noinline)) static uint64_t add_words(const void *data, size_t size)
{
	const uint64_t *words = data;
	uint64_t sum = 0;

	for (size_t i = 0; i < size / 8; i++)
		sum += words[i];
	return sum;
}

static double bare_scan_once(const char *map, uint64_t size)
{
	uint64_t start_ns = bench_now_ns();

	atomic_fetch_add(&sink, add_words(map, size));
	return (double)size * 1e9 / (double)(bench_now_ns() - start_ns);
}

static int hot_scan_once(struct read_store *store, size_t extents, double *ret_rate)
{
	uint64_t start_ns = bench_now_ns(), bytes = 0, sum = 0;
	struct pinfold_scan_block block;
	struct pinfold_scan *scan;
	int r = pinfold_scan_open(store->pf, store->object.extents, extents, &scan);

	if (r)
		return r;
	pinfold_read_begin(store->pf);
	while ((r = pinfold_scan_next(scan, &block)) == 1) {
		sum += add_words(block.data, block.size);
		bytes += block.size;
	}
	pinfold_read_end(store->pf);
	pinfold_scan_close(scan);
	atomic_fetch_add(&sink, sum);
	*ret_rate = (double)bytes * 1e9 / (double)(bench_now_ns() - start_ns);
	return r;
}

/** Opens the store and a bare mapping, and makes the first @extents resident and mapped in both. */
static int open_hot(const struct read_run *run, size_t extents, struct read_store *store, const char **ret_map)
{
	int r = read_store_open(run->params, store);

	if (r)
		return r;
	if (extents > store->object.extent_count)
		r = -EINVAL;
	if (!r)
		r = map_bare(&run->layout, -1, ret_map);
	pinfold_read_begin(store->pf);
	for (size_t i = 0; i < extents && !r; i++) {
		const struct pinfold_extent *extent = &store->object.extents[i];
		const void *base = NULL;

		r = pinfold_extent_ptr(store->pf, extent, &base);
		if (!r) {
			atomic_fetch_add(&sink,
					 add_words(*ret_map + (extent->offset - run->layout.offset), extent->len));
			atomic_fetch_add(&sink, add_words(base, extent->len));
		}
	}
	pinfold_read_end(store->pf);
	if (r)
		read_store_close(store);
	return r;
}

int read_hot_scan(void *ctx, void *result)
{
	const struct read_run *run = ctx;
	size_t extents = (size_t)(run->params->hot_bytes / READ_EXTENT);
	struct read_pairs *pairs = result;
	struct read_store store;
	const char *map;
	int r = open_hot(run, extents, &store, &map);

	if (r)
		return r;
	for (unsigned i = 0; i < run->params->pairs && !r; i++) {
		const char *start = map + (store.object.extents[0].offset - run->layout.offset);

		if (i & 1)
			pairs->bare[i] = bare_scan_once(start, extents * READ_EXTENT);
		r = hot_scan_once(&store, extents, &pairs->ours[i]);
		if (!(i & 1))
			pairs->bare[i] = bare_scan_once(start, extents * READ_EXTENT);
		pairs->count = i + 1;
	}
	read_store_close(&store);
	return r;
}

/* ---- figure 1: resident loads ---- */

/** The loads themselves, the same code for both sides: a word of a random line in @size bytes at @base. */
__attribute__((noinline)) static uint64_t hot_loads(const char *base, uint64_t size, uint64_t *seed)
{
	uint64_t sum = 0;

	for (int i = 0; i < HOT_STEP; i++)
		sum += *(const volatile uint64_t *)(base + bench_random_below(seed, size / 64) * 64);
	return sum;
}

static double bare_loads_once(const struct read_run *run, const struct read_store *store, size_t extents,
			      const char *map)
{
	uint64_t start_ns = bench_now_ns(), now_ns, end_ns = start_ns + (uint64_t)(run->params->seconds * 1e9);
	uint64_t seed = READ_SEED, loads = 0, sum = 0;

	for (now_ns = start_ns; now_ns < end_ns; now_ns = bench_now_ns()) {
		const struct pinfold_extent *extent = &store->object.extents[bench_random_below(&seed, extents)];

		sum += hot_loads(map + (extent->offset - run->layout.offset), extent->len, &seed);
		loads += HOT_STEP;
	}
	atomic_fetch_add(&sink, sum);
	return (double)(now_ns - start_ns) / (double)loads;
}

static int our_loads_once(const struct read_run *run, struct read_store *store, size_t extents, double *ret_ns)
{
	uint64_t start_ns = bench_now_ns(), now_ns, end_ns = start_ns + (uint64_t)(run->params->seconds * 1e9);
	uint64_t seed = READ_SEED, loads = 0, sum = 0;
	int r = 0;

	for (now_ns = start_ns; now_ns < end_ns && !r; now_ns = bench_now_ns()) {
		const struct pinfold_extent *extent = &store->object.extents[bench_random_below(&seed, extents)];
		const void *base;

		pinfold_read_begin(store->pf);
		r = pinfold_extent_ptr(store->pf, extent, &base);
		if (!r)
			sum += hot_loads(base, extent->len, &seed);
		pinfold_read_end(store->pf);
		loads += HOT_STEP;
	}
	atomic_fetch_add(&sink, sum);
	*ret_ns = (double)(now_ns - start_ns) / (double)loads;
	return r;
}

int read_hot_loads(void *ctx, void *result)
{
	const struct read_run *run = ctx;
	size_t extents = (size_t)(run->params->hot_bytes / READ_EXTENT);
	struct read_pairs *pairs = result;
	struct read_store store;
	const char *map;
	int r = open_hot(run, extents, &store, &map);

	if (r)
		return r;
	for (unsigned i = 0; i < run->params->pairs && !r; i++) {
		if (i & 1)
			pairs->bare[i] = bare_loads_once(run, &store, extents, map);
		r = our_loads_once(run, &store, extents, &pairs->ours[i]);
		if (!(i & 1))
			pairs->bare[i] = bare_loads_once(run, &store, extents, map);
		pairs->count = i + 1;
	}
	read_store_close(&store);
	return r;
}
