/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * range.c - user side of range.bpf.c: source "bpf:range".
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "probe.h"

#include "range.skel.h"
#include "telemetry/cache.h"
#include "telemetry/slotmap.h"

struct pf_source {
	struct pf_range_bpf *skel;
	struct pf_links links;
	struct pf_slotmap slotmap;
	struct pf_cache cache;
};

static void range_close(struct pf_source *source)
{
	if (!source)
		return;
	pf_cache_done(&source->cache);
	pf_links_done(&source->links);
	pf_slotmap_done(&source->slotmap);
	if (source->skel)
		pf_range_bpf__destroy(source->skel);
	free(source);
}

static int load(struct pf_source *source, const struct pf_source_params *params, bool stamp_in_fault)
{
	struct pf_probe_config config;
	int inner_fd, r;

	source->skel = pf_range_bpf__open();
	if (!source->skel)
		return pf_error(-errno, "bpf:range: open: %s", strerror(errno));
	pf_probe_configure(params, &config);
	config.stamp_in_fault = stamp_in_fault;
	memcpy((void *)&source->skel->rodata->config, &config, sizeof(config));
	bpf_program__set_autoload(source->skel->progs.on_filemap_fault, !stamp_in_fault);
	inner_fd = pf_slotmap_template(params);
	if (inner_fd < 0)
		return pf_error(inner_fd, "bpf:range: map: %s", strerror(-inner_fd));
	bpf_map__set_inner_map_fd(source->skel->maps.files, inner_fd);
	bpf_map__set_max_entries(source->skel->maps.files, params->file_count);
	r = pf_range_bpf__load(source->skel);
	close(inner_fd);
	if (r)
		return pf_error(r, "bpf:range: load: %s", strerror(-r));
	return 0;
}

static int attach(struct pf_source *source, const struct pf_source_params *params, bool stamp_in_fault)
{
	struct pf_range_bpf *skel = source->skel;
	int r = pf_probe_learn(skel->progs.learn_process);

	if (r)
		return pf_error(r, "bpf:range: test run: %s", strerror(-r));
	/* Majors first: a fault must not be seen by the counter alone. */
	r = pf_links_attach_majors(&source->links, skel->progs.on_major);
	if (r)
		return pf_error(r, "bpf:range: perf event page-faults-major: %s", strerror(-r));
	if (!stamp_in_fault) {
		r = pf_links_attach(&source->links, skel->progs.on_filemap_fault);
		if (r)
			return pf_error(r, "bpf:range: filemap:mm_filemap_fault: %s", strerror(-r));
	}
	/* Before threads become known: each that is must be forgotten when it ends. */
	r = pf_links_attach(&source->links, skel->progs.on_thread_exit);
	if (r)
		return pf_error(r, "bpf:range: sched:sched_process_exit: %s", strerror(-r));
	r = pf_links_attach(&source->links, skel->progs.on_page_fault_kernel);
	if (!r)
		r = pf_links_attach(&source->links, skel->progs.on_page_fault_user);
	if (r)
		return pf_error(r, "bpf:range: exceptions:page_fault_user: %s", strerror(-r));
	return 0;
}

static int try_open(const struct pf_source_params *params, bool stamp_in_fault, struct pf_source **ret_source)
{
	struct pf_source *source = calloc(1, sizeof(*source));
	int r;

	if (!source)
		return pf_error(-ENOMEM, "bpf:range: out of memory");
	r = load(source, params, stamp_in_fault);
	if (!r)
		r = pf_slotmap_init(&source->slotmap, params, bpf_map__fd(source->skel->maps.files));
	if (!r)
		r = attach(source, params, stamp_in_fault);
	if (r) {
		range_close(source);
		return r;
	}
	pf_cache_init(&source->cache, params, bpf_map__fd(source->skel->maps.files));
	*ret_source = source;
	return 0;
}

static int range_open(const struct pf_source_params *params, struct pf_source **ret_source)
{
	int r;

	pf_libbpf_quiet();
	r = try_open(params, false, ret_source);
	if (r == -ENOENT || r == -EINVAL) /* no mm_filemap_fault before 6.12: take the start time in every fault */
		r = try_open(params, true, ret_source);
	pf_libbpf_restore();
	return r;
}

static int range_add_file(struct pf_source *source, uint32_t file_id, int fd, const struct pinfold_slot **ret_slots)
{
	int r = pf_slotmap_add(&source->slotmap, file_id, ret_slots);

	if (!r)
		pf_cache_add(&source->cache, file_id, fd);
	return r;
}

static uint64_t range_lost(const struct pf_source *source)
{
	return __atomic_load_n(&source->skel->bss->state.lost_events, __ATOMIC_RELAXED) + pf_cache_lost(&source->cache);
}

static const char *range_missing(const struct pf_source *source)
{
	return source->cache.missing;
}

const struct pf_source_ops pf_source_range = {
	.name = "bpf:range",
	.open = range_open,
	.close = range_close,
	.add_file = range_add_file,
	.lost = range_lost,
	.missing = range_missing,
	.counts_faults = true,
};
