/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * probes.c - opens, loads and attaches a BPF source by its table of hooks.
 */
#include "telemetry/probes.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

void pf_probes_close(struct pf_source *source)
{
	if (!source)
		return;
	pf_cache_done(&source->cache);
	pf_links_done(&source->links);
	pf_slotmap_done(&source->slotmap);
	if (source->parts.skeleton)
		source->kind->destroy(source->parts.skeleton);
	free(source);
}

static bool used(const struct pf_hook *hook, bool stamp_early)
{
	return hook->when == PF_HOOK_ALWAYS || (hook->when == PF_HOOK_STAMP_EARLY) == stamp_early;
}

static struct bpf_program *find_program(const struct pf_source *source, const char *name)
{
	return bpf_object__find_program_by_name(source->parts.object, name);
}

static struct bpf_map *find_map(const struct pf_source *source, const char *name)
{
	return bpf_object__find_map_by_name(source->parts.object, name);
}

static int load(struct pf_source *source, const struct pf_source_params *params, bool stamp_early)
{
	const struct pf_probe_kind *kind = source->kind;
	struct bpf_map *inodes;
	int inner_fd, r;

	if (!kind->open(&source->parts))
		return pf_error(-errno, "%s: open: %s", kind->name, strerror(errno));
	pf_probe_configure(params, source->parts.config);
	source->parts.config->watch.stamp_in_fault = stamp_early;
	for (uint32_t i = 0; i < kind->hook_count; i++) {
		const struct pf_hook *hook = &kind->hooks[i];

		bpf_program__set_autoload(find_program(source, hook->program), used(hook, stamp_early));
		if (hook->when == PF_HOOK_STAMP_EARLY)
			source->parts.config->watch.stamp_in_fault = false; /* that hook takes it */
	}
	inner_fd = pf_slotmap_template(params);
	if (inner_fd < 0)
		return pf_error(inner_fd, "%s: map: %s", kind->name, strerror(-inner_fd));
	bpf_map__set_inner_map_fd(find_map(source, "files"), inner_fd);
	bpf_map__set_max_entries(find_map(source, "files"), params->file_count);
	inodes = find_map(source, "inodes");
	if (inodes)
		bpf_map__set_max_entries(inodes, params->file_count);
	r = kind->load(source->parts.skeleton);
	close(inner_fd);
	return r ? pf_error(r, "%s: load: %s", kind->name, strerror(-r)) : 0;
}

/* What the probes need beside their code: who is watched, and in each thread's line where. */
static int prepare(struct pf_source *source)
{
	struct pf_probe_watch watch = source->parts.config->watch;
	int r = pf_probe_learn(find_program(source, "learn_process"));

	if (r)
		return pf_error(r, "%s: test run: %s", source->kind->name, strerror(-r));
	watch.tick_base_ms = source->parts.state->tick_base_ms;
	for (uint32_t i = 0; i < PF_PROBE_THREADS; i++)
		source->parts.threads[i].watch = watch;
	return 0;
}

static int attach(struct pf_source *source, bool stamp_early)
{
	for (uint32_t i = 0; i < source->kind->hook_count; i++) {
		const struct pf_hook *hook = &source->kind->hooks[i];
		struct bpf_program *program = find_program(source, hook->program);
		int r;

		if (!used(hook, stamp_early))
			continue;
		if (hook->majors)
			r = pf_links_attach_majors(&source->links, program);
		else
			r = pf_links_attach(&source->links, program);
		if (r)
			return pf_error(r, "%s: %s: %s", source->kind->name, hook->event, strerror(-r));
	}
	return 0;
}

static int try_open(const struct pf_probe_kind *kind, const struct pf_source_params *params, bool stamp_early,
		    struct pf_source **ret_source)
{
	struct pf_source *source = calloc(1, sizeof(*source));
	int r;

	if (!source)
		return pf_error(-ENOMEM, "%s: out of memory", kind->name);
	source->kind = kind;
	r = load(source, params, stamp_early);
	if (!r)
		r = pf_slotmap_init(&source->slotmap, params, bpf_map__fd(find_map(source, "files")));
	if (!r)
		r = prepare(source);
	if (!r)
		r = attach(source, stamp_early);
	if (r) {
		pf_probes_close(source);
		return r;
	}
	pf_cache_init(&source->cache, params, source->slotmap.outer_fd);
	*ret_source = source;
	return 0;
}

int pf_probes_open(const struct pf_probe_kind *kind, const struct pf_source_params *params,
		   struct pf_source **ret_source)
{
	int r;

	pf_libbpf_quiet();
	r = try_open(kind, params, false, ret_source);
	if (kind->stamp_early && (r == -ENOENT || r == -EINVAL)) /* no mm_filemap_fault before 6.12 */
		r = try_open(kind, params, true, ret_source);
	pf_libbpf_restore();
	return r;
}

int pf_probes_add_file(struct pf_source *source, uint32_t file_id, int fd, const struct pinfold_slot **ret_slots)
{
	int r = pf_slotmap_add(&source->slotmap, file_id, ret_slots);

	if (!r)
		pf_cache_add(&source->cache, file_id, fd);
	return r;
}

uint64_t pf_probes_lost(const struct pf_source *source)
{
	return __atomic_load_n(&source->parts.state->lost_events, __ATOMIC_RELAXED) + pf_cache_lost(&source->cache);
}

const char *pf_probes_missing(const struct pf_source *source)
{
	return source->cache.missing;
}
