/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pollution_pinfold.c - the mode with pinfold: the same data in a store, read
 * through extent pointers, with adaptive pinning and no hint at all.
 */
#include "pollution.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pinfold.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_BYTES (4u << 20)

struct kept {
	struct pinfold *pf;
	const struct pollution_params *params;
	char dir[300];
	struct pinfold_extent *extents; /* in the data's order; kept in a file beside the store */
	uint64_t count;
	const char **blocks;
	uint32_t *hot;
	uint32_t hot_count;
};

static int report(const char *what, int r, const char *why)
{
	fprintf(stderr, "bench_pollution: %s: %s%s%s\n", what, strerror(-r), why && *why ? ": " : "", why ? why : "");
	return r;
}

static void log_line(void *ctx, enum pinfold_log_level level, const char *message)
{
	(void)ctx;
	if (level != PINFOLD_LOG_DEBUG)
		fprintf(stderr, "pinfold: %s\n", message);
}

static int open_store(struct kept *kept, uint32_t flags)
{
	struct pinfold_config config = {
		.size = sizeof(config),
		.flags = flags,
		.file_size = ((kept->params->data_bytes >> 30) + 2) << 30,
		.extent_size = POLLUTION_BLOCK,
		.source = (enum pinfold_source)kept->params->source,
		.pin.max_pinned_percent = kept->params->budget_percent,
		.log = kept->params->verbose ? log_line : NULL,
	};
	char error[512] = "";
	int r = pinfold_open(kept->dir, &config, error, sizeof(error), &kept->pf);

	return r ? report(kept->dir, r, error) : 0;
}

static void init(struct kept *kept, const struct pollution_params *params)
{
	*kept = (struct kept){ .params = params,
			       .count = (params->data_bytes + POLLUTION_BLOCK - 1) / POLLUTION_BLOCK };
	snprintf(kept->dir, sizeof(kept->dir), "%s/store-%llu", params->dir, (unsigned long long)params->data_bytes);
}

static void done(struct kept *kept)
{
	free(kept->extents);
	free(kept->blocks);
	free(kept->hot);
}

/* ---- the list of extents, in a file: its existence says that the store is complete ---- */

static int list_io(struct kept *kept, bool write_it)
{
	const size_t size = kept->count * sizeof(*kept->extents);
	char path[320];
	ssize_t n;
	int fd, r = 0;

	snprintf(path, sizeof(path), "%s.extents", kept->dir);
	fd = open(path, write_it ? O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC : O_RDONLY | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	n = write_it ? write(fd, kept->extents, size) : read(fd, kept->extents, size);
	if (n != (ssize_t)size)
		r = n < 0 ? -errno : -EIO;
	close(fd);
	return r;
}

/* ---- preparing: load once, outside of the cgroup ---- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int load_extent(struct kept *kept, struct pinfold_txn *txn, uint64_t number, void *chunk)
{
	struct pinfold_extent *extent = &kept->extents[number];
	int r = pinfold_extent_alloc(kept->pf, POLLUTION_BLOCK, 0, extent);

	for (uint64_t at = 0; !r && at < POLLUTION_BLOCK; at += CHUNK_BYTES) {
		bench_fill(chunk, CHUNK_BYTES, POLLUTION_SEED, number * POLLUTION_BLOCK + at);
		r = pinfold_bulk_write(kept->pf, extent, at, chunk, CHUNK_BYTES);
	}
	return r ? r : pinfold_txn_publish(txn, extent);
}

static int load(struct kept *kept)
{
	struct pinfold_txn *txn = NULL;
	void *chunk = malloc(CHUNK_BYTES);
	int r = chunk ? pinfold_txn_begin(kept->pf, &txn) : -ENOMEM;

	for (uint64_t i = 0; !r && i < kept->count; i++)
		r = load_extent(kept, txn, i, chunk);
	if (!r)
		r = pinfold_bulk_flush(kept->pf, kept->extents, kept->count);
	if (!r) {
		r = pinfold_txn_commit(txn);
		txn = NULL;
	}
	if (r)
		report("loading the store", r, pinfold_errmsg(kept->pf));
	pinfold_txn_abort(txn);
	free(chunk);
	return r;
}

static int prepare_child(void *ctx, void *result)
{
	struct kept kept;
	int r;

	(void)result;
	init(&kept, ctx);
	kept.extents = calloc(kept.count, sizeof(*kept.extents));
	if (!kept.extents)
		return -ENOMEM;
	if (!list_io(&kept, false) && !open_store(&kept, PINFOLD_OPEN_STORE_ONLY))
		return pinfold_close(kept.pf);
	nftw(kept.dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	r = open_store(&kept, PINFOLD_OPEN_CREATE | PINFOLD_OPEN_STORE_ONLY);
	if (r)
		return r;
	r = load(&kept);
	if (!r)
		r = pinfold_close(kept.pf);
	if (!r)
		r = list_io(&kept, true);
	done(&kept);
	return r;
}

int pollution_pinfold_prepare(const struct pollution_params *params)
{
	char nothing = 0;

	return bench_run_child(NULL, prepare_child, (void *)params, &nothing, sizeof(nothing));
}

int pollution_pinfold_cool(const struct pollution_params *params)
{
	struct kept kept;

	init(&kept, params);
	return bench_dir_drop_cache(kept.dir);
}

/* ---- running ---- */

static int note_hot(void *ctx, const uint32_t *runs, uint32_t run_count)
{
	struct kept *kept = ctx;

	/* For --verbose alone; pinfold is not told. */
	free(kept->hot);
	kept->hot = malloc(run_count * sizeof(*runs));
	kept->hot_count = kept->hot ? run_count : 0;
	if (kept->hot)
		memcpy(kept->hot, runs, run_count * sizeof(*runs));
	return 0;
}

static bool is_hot(const struct kept *kept, const struct pinfold_live_slice *slice, uint64_t slice_size)
{
	for (uint32_t i = 0; i < kept->hot_count; i++) {
		const uint64_t at = kept->hot[i] * POLLUTION_RUN;
		const struct pinfold_extent *extent = &kept->extents[at / POLLUTION_BLOCK];

		if (extent->file_id == slice->file_id &&
		    (extent->offset + at % POLLUTION_BLOCK) / slice_size == slice->index)
			return true;
	}
	return false;
}

/* What the policy holds, against what is hot. */
static void print_state(struct kept *kept, uint32_t second)
{
	struct pinfold_live_info info;
	struct pinfold_live *live = NULL;
	struct pinfold_live_slice *slices = NULL;
	size_t count = 0, reasons[2][PINFOLD_REASON_COUNT] = { { 0 } }, pinned[2] = { 0 };
	double heat[2] = { 0 };

	if (pinfold_live_open(kept->dir, &live) || pinfold_live_info(live, &info))
		goto out;
	slices = calloc(info.slice_count + 1, sizeof(*slices));
	if (!slices || pinfold_live_slices(live, slices, info.slice_count, &count))
		goto out;
	if (count > info.slice_count)
		count = info.slice_count;
	for (size_t i = 0; i < count; i++) {
		const int hot = is_hot(kept, &slices[i], info.slice_size);

		pinned[hot] += slices[i].state >= PINFOLD_SLICE_PINNED;
		reasons[hot][slices[i].reason % PINFOLD_REASON_COUNT]++;
		if (hot || slices[i].state >= PINFOLD_SLICE_PINNED)
			heat[hot] += (double)slices[i].heat;
	}
	fprintf(stderr, "  %2u s: pinned %zu of %u hot (mean heat %.2f), %zu of %zu cold (theirs %.2f); "
		"turns %llu, %.1f ms each; source %s;",
		second, pinned[1], kept->hot_count, kept->hot_count ? heat[1] / kept->hot_count : 0, pinned[0],
		count - kept->hot_count, pinned[0] ? heat[0] / (double)pinned[0] : 0,
		(unsigned long long)info.turn_count,
		info.turn_count ? (double)info.turn_ns_total / (double)info.turn_count / 1e6 : 0, info.source);
	for (int h = 1; h >= 0; h--) {
		fprintf(stderr, " %s:", h ? "hot" : "cold");
		for (int r = 0; r < PINFOLD_REASON_COUNT; r++)
			if (reasons[h][r])
				fprintf(stderr, " r%d=%zu", r, reasons[h][r]);
	}
	fputc('\n', stderr);
out:
	free(slices);
	pinfold_live_close(live);
}

static void print_faults(const struct pollution_result *result)
{
	for (uint32_t s = 0; s < result->seconds; s++)
		fprintf(stderr,
			"  second %2u: the reader took %llu minor, %llu major faults; p99 %.2f us, p99.9 %.2f us\n", s,
			(unsigned long long)result->second[s].minor, (unsigned long long)result->second[s].major,
			(double)bench_hist_quantile(&result->second[s].hist, 0.99) / 1e3,
			(double)bench_hist_quantile(&result->second[s].hist, 0.999) / 1e3);
}

static void tick(void *ctx, uint32_t second, struct pollution_result *result)
{
	struct kept *kept = ctx;
	struct pinfold_pin_stats stats;

	if (!pinfold_pin_stat(kept->pf, &stats))
		result->second[second].pinned_bytes = stats.total_pinned_bytes;
	if (kept->params->verbose)
		print_state(kept, second + 1);
}

int pollution_pinfold_run(void *ctx, void *result)
{
	struct kept kept;
	struct pollution_hooks hooks = { .ctx = &kept, .hot = note_hot, .tick = tick };
	int r, closed;

	init(&kept, ctx);
	kept.extents = calloc(kept.count, sizeof(*kept.extents));
	kept.blocks = calloc(kept.count, sizeof(*kept.blocks));
	if (!kept.extents || !kept.blocks)
		return -ENOMEM;
	r = list_io(&kept, false);
	if (!r)
		r = open_store(&kept, 0);
	if (r)
		return r;
	pinfold_read_begin(kept.pf);
	for (uint64_t i = 0; !r && i < kept.count; i++) {
		const void *block;

		r = pinfold_extent_ptr(kept.pf, &kept.extents[i], &block);
		kept.blocks[i] = block;
	}
	if (r)
		report("extent pointer", r, pinfold_errmsg(kept.pf));
	else
		r = pollution_drive(kept.params, kept.blocks, &hooks, result);
	pinfold_read_end(kept.pf);
	if (kept.params->verbose)
		print_faults(result);
	closed = pinfold_close(kept.pf);
	done(&kept);
	return r ? r : closed;
}
