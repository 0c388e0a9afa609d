/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * telemetry.c - the room's interface: choosing a source by trial, files, turns.
 *
 * DESIGN
 *   A turn reads the slots and harvests samples (collect.c), turns both into
 *   heat (heat.c) and places the next samples (place.c). All state is in plain
 *   arrays ordered by (file, slice), walked front to back once per step.
 *
 * INVARIANTS
 *   1. Opening never fails for lack of privilege: the source that needs none
 *      always opens, and every refusal on the way is in missing.
 *   2. The cost of a turn is linear in the slices ever in use, with a bounded number of system calls.
 */
#include "telemetry/telemetry.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "telemetry/internal.h"
#include "telemetry/regions.h"

#define FILE_SIZE_UNIT (1ull << 30)
#define SLICES_MAX 16384
#define FILES_MAX 65536
#define HALFLIFE_MS 3000
#define SAMPLE_RATE 1000
#define LEARNING_WINDOW_MIN 30
/* A turn after a pause of the controller counts at most this long. */
#define TURN_S_MAX 5.0
/* What the first turn is taken to cover. */
#define FIRST_TURN_S 0.5

/* Best first. The engine watches its own process, of which bpf:range misses nothing at the lowest cost. */
static const struct pf_source_ops *const sources[] = {
	&pf_source_kmod, &pf_source_range, &pf_source_fexit, &pf_source_tp, &pf_source_procfs, &pf_source_none,
};

static uint32_t count_nodes(void)
{
	DIR *dir = opendir("/sys/devices/system/node");
	struct dirent *entry;
	uint32_t count = 0;

	if (!dir)
		return 1;
	while ((entry = readdir(dir))) {
		unsigned int node;

		if (sscanf(entry->d_name, "node%u", &node) == 1)
			count++;
	}
	closedir(dir);
	return count ? count : 1;
}

static int check_watch(const struct pf_watch *watch)
{
	if (!watch->file_size || watch->file_size % FILE_SIZE_UNIT)
		return pf_error(-EINVAL, "telemetry: file size %llu is not a multiple of 1 GiB",
				(unsigned long long)watch->file_size);
	if (watch->arena_size < watch->file_size || watch->arena_size / watch->file_size > FILES_MAX)
		return pf_error(-EINVAL, "telemetry: an arena of %llu bytes holds %llu files; allowed are 1 to %u",
				(unsigned long long)watch->arena_size,
				(unsigned long long)(watch->arena_size / watch->file_size), FILES_MAX);
	if ((uintptr_t)watch->base % 4096 || watch->arena_size > UINT64_MAX - (uintptr_t)watch->base)
		return pf_error(-EINVAL, "telemetry: arena at %p of %llu bytes is not a range of pages", watch->base,
				(unsigned long long)watch->arena_size);
	return 0;
}

uint32_t pf_slice_shift(uint64_t file_size)
{
	uint32_t shift = PINFOLD_SLICE_SHIFT_MIN;

	while ((file_size + (1ull << shift) - 1) >> shift > SLICES_MAX)
		shift++;
	return shift;
}

static void set_params(const struct pf_watch *watch, struct pf_source_params *ret_params)
{
	uint32_t shift = pf_slice_shift(watch->file_size);

	*ret_params = (struct pf_source_params){
		.base = (uintptr_t)watch->base,
		.arena_size = watch->arena_size - watch->arena_size % watch->file_size,
		.file_size = watch->file_size,
		.slice_shift = shift,
		.file_count = (uint32_t)(watch->arena_size / watch->file_size),
		.slice_count = (uint32_t)((watch->file_size + (1ull << shift) - 1) >> shift),
		.node_count = count_nodes(),
	};
}

static bool wanted(const struct pf_source_ops *ops, const struct pf_telemetry_config *config)
{
	bool is_bpf = !strncmp(ops->name, "bpf:", 4);

	if (config->only)
		return !strcmp(ops->name, config->only);
	switch (config->source) {
	case PINFOLD_SOURCE_KMOD:
		return ops == &pf_source_kmod || ops == &pf_source_none;
	case PINFOLD_SOURCE_NONE:
		return ops == &pf_source_none;
	case PINFOLD_SOURCE_PROCFS:
		return ops == &pf_source_procfs || ops == &pf_source_none;
	case PINFOLD_SOURCE_BPF:
		return is_bpf || ops == &pf_source_none;
	default:
		return true;
	}
}

static void add_missing(char *missing, size_t size, const char *text)
{
	size_t used = strlen(missing);

	snprintf(missing + used, size - used, "%s%s", used ? "; " : "", text);
}

/* The best that opens, from sources[@first] on. */
static void open_source(struct pf_telemetry *telemetry, size_t first)
{
	telemetry->source = NULL;
	for (size_t i = first; i < sizeof(sources) / sizeof(sources[0]); i++) {
		if (!wanted(sources[i], &telemetry->config))
			continue;
		if (!sources[i]->open(&telemetry->params, &telemetry->source)) {
			telemetry->ops = sources[i];
			telemetry->source_index = i;
			return;
		}
		add_missing(telemetry->missing, sizeof(telemetry->missing), pf_error_text());
	}
	telemetry->ops = &pf_source_none;
	telemetry->source_index = sizeof(sources) / sizeof(sources[0]) - 1;
}

int pf_telemetry_new(const struct pf_watch *watch, const struct pf_telemetry_config *config,
		     struct pf_telemetry **ret_telemetry)
{
	struct pf_telemetry *telemetry;
	uint32_t window_min = config->learning_window_min ? config->learning_window_min : LEARNING_WINDOW_MIN;
	struct timespec now;
	int r = check_watch(watch);

	if (r)
		return r;
	telemetry = calloc(1, sizeof(*telemetry));
	if (!telemetry)
		return pf_error(-ENOMEM, "telemetry: out of memory");
	telemetry->watch = *watch;
	telemetry->config = *config;
	set_params(watch, &telemetry->params);
	telemetry->params.regions = config->regions;
	telemetry->slice_size = 1ull << telemetry->params.slice_shift;
	telemetry->sample_rate_per_s = config->sample_rate_per_s ? config->sample_rate_per_s : SAMPLE_RATE;
	telemetry->no_sampling = config->no_sampling;
	telemetry->halflife_ms = config->heat_halflife_ms ? config->heat_halflife_ms : HALFLIFE_MS;
	pf_heat_init(&telemetry->heat, telemetry->halflife_ms / 1e3, window_min * 60.0,
		     (double)telemetry->slice_size / PF_SAMPLE_BLOCK);
	telemetry->files = calloc(telemetry->params.file_count, sizeof(*telemetry->files));
	if (!telemetry->files || pf_resident_init(&telemetry->resident, telemetry->slice_size)) {
		r = pf_error(-ENOMEM, "telemetry: out of memory");
		goto err_free;
	}
	for (uint32_t i = 0; i < telemetry->params.file_count; i++)
		telemetry->files[i].fd = -1;
	clock_gettime(CLOCK_MONOTONIC, &now);
	r = pf_sampler_new((uint64_t)now.tv_nsec << 20 ^ (uint64_t)now.tv_sec, &telemetry->sampler);
	if (r)
		goto err_free;
	open_source(telemetry, 0);
	*ret_telemetry = telemetry;
	return 0;

err_free:
	pf_telemetry_free(telemetry);
	return r;
}

void pf_telemetry_free(struct pf_telemetry *telemetry)
{
	if (!telemetry)
		return;
	if (telemetry->ops)
		telemetry->ops->close(telemetry->source);
	pf_sampler_free(telemetry->sampler);
	for (uint32_t i = 0; telemetry->files && i < telemetry->file_end; i++) {
		free(telemetry->files[i].slices);
		free(telemetry->files[i].nodes);
	}
	free(telemetry->files);
	pf_resident_done(&telemetry->resident);
	free(telemetry->views);
	free(telemetry->order);
	free(telemetry->scratch);
	free(telemetry);
}

static int grow_views(struct pf_telemetry *telemetry)
{
	uint64_t capacity = telemetry->view_capacity + telemetry->params.slice_count;
	struct pf_slice_view *views = realloc(telemetry->views, capacity * sizeof(*views));
	struct pf_slice **order;
	float *scratch;

	if (views)
		telemetry->views = views;
	order = realloc(telemetry->order, capacity * sizeof(*order));
	if (order)
		telemetry->order = order;
	scratch = realloc(telemetry->scratch, capacity * sizeof(*scratch));
	if (scratch)
		telemetry->scratch = scratch;
	if (!views || !order || !scratch)
		return pf_error(-ENOMEM, "telemetry: views of %llu slices", (unsigned long long)capacity);
	telemetry->view_capacity = capacity;
	return 0;
}

/* The counters of @file begin anew, in @slots. */
static void restart_file(struct pf_telemetry *telemetry, struct pf_telemetry_file *file,
			 const struct pinfold_slot *slots)
{
	file->slots = slots;
	for (uint32_t i = 0; i < telemetry->params.slice_count; i++) {
		struct pf_slice *slice = &file->slices[i];

		slice->minor = slice->major = slice->write = slice->random = 0;
		slice->stall_ns = slice->stall_random_ns = slice->io_wait = 0;
		pf_nodes_restart(file, i);
	}
}

/* The source cannot take a file, for the reason in pf_error: the next one that takes all files counts from now on. */
static void fall_back(struct pf_telemetry *telemetry)
{
	bool taken;

	do {
		add_missing(telemetry->missing, sizeof(telemetry->missing), pf_error_text());
		telemetry->ops->close(telemetry->source);
		open_source(telemetry, telemetry->source_index + 1);
		taken = true;
		for (uint32_t i = 0; i < telemetry->file_end && taken; i++) {
			struct pf_telemetry_file *file = &telemetry->files[i];
			const struct pinfold_slot *slots;

			if (file->fd < 0)
				continue;
			taken = !telemetry->ops->add_file(telemetry->source, i, file->fd, &slots);
			if (taken)
				restart_file(telemetry, file, slots);
		}
	} while (!taken);
}

static int add_slots(struct pf_telemetry *telemetry, uint32_t file_id, int fd, const struct pinfold_slot **ret_slots)
{
	int r;

	while ((r = telemetry->ops->add_file(telemetry->source, file_id, fd, ret_slots)) &&
	       telemetry->ops == &pf_source_kmod)
		fall_back(telemetry);
	return r;
}

int pf_telemetry_add_file(struct pf_telemetry *telemetry, uint32_t file_id, int fd)
{
	struct pf_telemetry_file *file;
	const struct pinfold_slot *slots;
	struct pf_slice_nodes *nodes;
	struct pf_slice *slices;
	int region = -1, r;

	if (file_id >= telemetry->params.file_count)
		return pf_error(-ERANGE, "file %u: the arena has room for %u files", file_id,
				telemetry->params.file_count);
	if (fd < 0)
		return pf_error(-EBADF, "file %u: descriptor %d", file_id, fd);
	file = &telemetry->files[file_id];
	if (file->fd >= 0)
		return pf_error(-EEXIST, "file %u is watched already", file_id);
	slices = calloc(telemetry->params.slice_count, sizeof(*slices));
	if (!slices)
		return pf_error(-ENOMEM, "file %u: state of %u slices", file_id, telemetry->params.slice_count);
	if (pf_nodes_new(&telemetry->params, &nodes)) {
		free(slices);
		return pf_error(-ENOMEM, "file %u: nodes of %u slices", file_id, telemetry->params.slice_count);
	}
	r = grow_views(telemetry);
	if (!r)
		r = add_slots(telemetry, file_id, fd, &slots);
	if (r) {
		free(nodes);
		free(slices);
		return r;
	}
	if (!telemetry->params.regions || pf_regions_find(telemetry->params.regions, file_id, &region))
		region = -1;
	for (uint32_t i = 0; i < telemetry->params.slice_count; i++)
		slices[i].resident_pages = UINT32_MAX;
	*file = (struct pf_telemetry_file){
		.fd = fd,
		.region = region,
		.base = (const char *)telemetry->watch.base + (uint64_t)file_id * telemetry->watch.file_size,
		.slots = slots,
		.slices = slices,
		.nodes = nodes,
	};
	if (file_id >= telemetry->file_end)
		telemetry->file_end = file_id + 1;
	return 0;
}

uint64_t pf_telemetry_slice_size(const struct pf_telemetry *telemetry)
{
	return telemetry->slice_size;
}

static void fill_views(struct pf_telemetry *telemetry)
{
	const struct pf_slice *before = NULL;

	for (uint64_t i = 0; i < telemetry->view_count; i++) {
		struct pf_slice_view *view = &telemetry->views[i];
		struct pf_slice *slice = telemetry->order[i];

		pf_heat_view(&telemetry->heat, &slice->heat, view->index && before ? &before->heat : NULL, view);
		view->in_use = slice->in_use;
		view->resident_pages = slice->resident_pages;
		view->extent_flags = slice->extent_flags;
		pf_nodes_view(telemetry, view);
		before = slice;
	}
}

static int compare_floats(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

/* The median slice's touch rate; only sources that cannot class need it, and they can afford a sort. */
static void set_baseline(struct pf_telemetry *telemetry)
{
	uint64_t n = 0;

	if (telemetry->ops->counts_faults)
		return;
	for (uint64_t i = 0; i < telemetry->view_count; i++) {
		const struct pf_slice *slice = telemetry->order[i];

		if (slice->exposure > 0)
			telemetry->scratch[n++] = slice->touched / slice->exposure;
	}
	qsort(telemetry->scratch, n, sizeof(*telemetry->scratch), compare_floats);
	telemetry->baseline = n ? telemetry->scratch[n / 2] : 0;
}

static uint64_t thread_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

int pf_telemetry_turn(struct pf_telemetry *telemetry, uint64_t now_ms, pf_slice_status_fn status, void *ctx,
		      const struct pf_snapshot **ret_snapshot)
{
	double dt_s = (double)(now_ms - telemetry->last_turn_ms) / 1e3;
	uint64_t start_ns;

	if (now_ms < telemetry->last_turn_ms)
		return pf_error(-EINVAL, "telemetry: the clock went from %llu back to %llu ms",
				(unsigned long long)telemetry->last_turn_ms, (unsigned long long)now_ms);
	if (!telemetry->last_turn_ms)
		dt_s = FIRST_TURN_S;
	if (dt_s > TURN_S_MAX)
		dt_s = TURN_S_MAX;
	if (dt_s < 1e-3)
		dt_s = 1e-3;
	telemetry->last_turn_ms = now_ms;
	if (telemetry->ops->refresh)
		telemetry->ops->refresh(telemetry->source);
	pf_collect(telemetry, dt_s, status, ctx);
	fill_views(telemetry);
	set_baseline(telemetry);
	start_ns = thread_ns();
	pf_nodes_find_homes(telemetry);
	pf_scan_residency(telemetry);
	if (!telemetry->no_sampling)
		pf_place_samples(telemetry, dt_s);
	telemetry->sample_ns_total += thread_ns() - start_ns;
	telemetry->snapshot = (struct pf_snapshot){
		.time_ms = now_ms,
		.slice_size = telemetry->slice_size,
		.total_stall_rate = telemetry->heat.sum_stall,
		.slice_count = telemetry->view_count,
		.slices = telemetry->views,
		.lost_events = telemetry->ops->lost(telemetry->source),
	};
	*ret_snapshot = &telemetry->snapshot;
	return 0;
}

void pf_telemetry_hint(struct pf_telemetry *telemetry, uint32_t file_id, uint32_t index, uint32_t access)
{
	bool random = access == PINFOLD_ACCESS_RANDOM || access == PINFOLD_ACCESS_UNKNOWN;

	if (!random || file_id >= telemetry->file_end || index >= telemetry->params.slice_count)
		return;
	if (telemetry->files[file_id].fd >= 0)
		telemetry->files[file_id].slices[index].hints += 1;
}

const struct pinfold_slot *pf_telemetry_slot(const struct pf_telemetry *telemetry, uint32_t file_id, uint32_t index)
{
	if (file_id >= telemetry->file_end || index >= telemetry->params.slice_count ||
	    !telemetry->files[file_id].slots)
		return NULL;
	return &telemetry->files[file_id].slots[index];
}

void pf_telemetry_info(const struct pf_telemetry *telemetry, struct pf_telemetry_info *ret_info)
{
	const char *missing = telemetry->ops->missing ? telemetry->ops->missing(telemetry->source) : "";

	*ret_info = (struct pf_telemetry_info){
		.lost_events = telemetry->ops->lost(telemetry->source),
		.sample_count = pf_sampler_count(telemetry->sampler),
		.sample_hit_count = telemetry->sample_hit_count,
		.sample_ns_total = telemetry->sample_ns_total,
	};
	snprintf(ret_info->source, sizeof(ret_info->source), "%s", telemetry->ops->name);
	snprintf(ret_info->missing, sizeof(ret_info->missing), "%s", telemetry->missing);
	if (missing[0])
		add_missing(ret_info->missing, sizeof(ret_info->missing), missing);
}

int pf_telemetry_probe(const char *source_name, const char *dir, char *ret_found, size_t found_size)
{
	static char page[4096] __attribute__((aligned(4096)));
	struct pf_watch watch = {.base = page, .file_size = FILE_SIZE_UNIT, .arena_size = FILE_SIZE_UNIT};
	struct pf_source_params params;
	struct pf_source *source;

	set_params(&watch, &params);
	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
		int r;

		if (strcmp(sources[i]->name, source_name))
			continue;
		if (sources[i]->probe)
			return sources[i]->probe(dir, ret_found, found_size);
		r = sources[i]->open(&params, &source);
		if (r)
			return r;
		sources[i]->close(source);
		snprintf(ret_found, found_size, "%s attaches", source_name);
		return 0;
	}
	return pf_error(-EINVAL, "no source is called \"%s\"", source_name);
}
