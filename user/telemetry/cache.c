/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cache.c - user side of cache.bpf.c.
 */
#include "telemetry/cache.h"

#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cache.skel.h"

/* As in linux/magic.h. */
#define OVERLAY_MAGIC 0x794c7630

void pf_cache_done(struct pf_cache *cache)
{
	pf_links_done(&cache->links);
	if (cache->skel)
		pf_cache_bpf__destroy(cache->skel);
	cache->skel = NULL;
}

static int load(struct pf_cache *cache, const struct pf_source_params *params, int files_fd)
{
	struct pf_probe_config config;
	int r;

	cache->skel = pf_cache_bpf__open();
	if (!cache->skel)
		return -errno;
	pf_probe_configure(params, &config);
	memcpy((void *)&cache->skel->rodata->config, &config, sizeof(config));
	bpf_map__set_max_entries(cache->skel->maps.mappings, params->file_count);
	r = bpf_map__reuse_fd(cache->skel->maps.files, files_fd);
	return r ? r : pf_cache_bpf__load(cache->skel);
}

void pf_cache_init(struct pf_cache *cache, const struct pf_source_params *params, int files_fd)
{
	const char *step = "load";
	int r;

	*cache = (struct pf_cache){0};
	r = load(cache, params, files_fd);
	if (!r) {
		step = "filemap tracepoints";
		/* Evictions first: pages must not be seen to come only. */
		r = pf_links_attach(&cache->links, cache->skel->progs.on_delete);
	}
	if (!r)
		r = pf_links_attach(&cache->links, cache->skel->progs.on_add);
	if (!r)
		return;
	pf_cache_done(cache);
	snprintf(cache->missing, sizeof(cache->missing), "bpf:cache: %s: %s", step, strerror(-r));
}

/* The kernel's own name for the file behind @fd; 0 if its pages cannot be told. */
static uint64_t find_mapping(struct pf_cache *cache, int fd)
{
	struct pf_probe_cache *shared = &cache->skel->bss->cache;
	struct statfs fs;

	if (!fstatfs(fd, &fs) && fs.f_type == OVERLAY_MAGIC) {
		snprintf(cache->missing, sizeof(cache->missing), "bpf:cache: overlayfs caches in another file");
		return 0;
	}
	shared->fd = (uint32_t)fd;
	if (pf_probe_learn(cache->skel->progs.find_mapping) || !shared->mapping) {
		snprintf(cache->missing, sizeof(cache->missing), "bpf:cache: a file's mapping was not found");
		return 0;
	}
	return shared->mapping;
}

void pf_cache_add(struct pf_cache *cache, uint32_t file_id, int fd)
{
	uint64_t mapping;

	if (!cache->skel)
		return;
	mapping = find_mapping(cache, fd);
	if (!mapping)
		return;
	if (bpf_map_update_elem(bpf_map__fd(cache->skel->maps.mappings), &mapping, &file_id, BPF_ANY))
		snprintf(cache->missing, sizeof(cache->missing), "bpf:cache: file %u: %s", file_id, strerror(errno));
}

/* Runs that the kernel left out because one was under way on the same CPU. */
static uint64_t missed(const struct bpf_program *program)
{
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);

	return bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size) ? 0 : info.recursion_misses;
}

uint64_t pf_cache_lost(const struct pf_cache *cache)
{
	if (!cache->skel)
		return 0;
	return __atomic_load_n(&cache->skel->bss->state.lost_events, __ATOMIC_RELAXED) +
	       missed(cache->skel->progs.on_add) + missed(cache->skel->progs.on_delete);
}
