/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tp.c - user side of tp.bpf.c: source "bpf:tp".
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/error.h"
#include "probe.h"

#include "tp.skel.h"
#include "telemetry/cache.h"
#include "telemetry/slotmap.h"

struct pf_source {
	struct pf_tp_bpf *skel;
	struct pf_links links;
	struct pf_slotmap slotmap;
	struct pf_cache cache;
};

static void tp_close(struct pf_source *source)
{
	if (!source)
		return;
	pf_cache_done(&source->cache);
	pf_links_done(&source->links);
	pf_slotmap_done(&source->slotmap);
	if (source->skel)
		pf_tp_bpf__destroy(source->skel);
	free(source);
}

static int load(struct pf_source *source, const struct pf_source_params *params)
{
	struct pf_probe_config config;
	int inner_fd, r;

	source->skel = pf_tp_bpf__open();
	if (!source->skel)
		return pf_error(-errno, "bpf:tp: open: %s", strerror(errno));
	pf_probe_configure(params, &config);
	memcpy((void *)&source->skel->rodata->config, &config, sizeof(config));
	inner_fd = pf_slotmap_template(params);
	if (inner_fd < 0)
		return pf_error(inner_fd, "bpf:tp: map: %s", strerror(-inner_fd));
	bpf_map__set_inner_map_fd(source->skel->maps.files, inner_fd);
	bpf_map__set_max_entries(source->skel->maps.files, params->file_count);
	bpf_map__set_max_entries(source->skel->maps.inodes, params->file_count);
	r = pf_tp_bpf__load(source->skel);
	close(inner_fd);
	if (r)
		return pf_error(r, "bpf:tp: load: %s", strerror(-r));
	return 0;
}

static int attach(struct pf_source *source, const struct pf_source_params *params)
{
	struct pf_tp_bpf *skel = source->skel;
	int r = pf_probe_learn(skel->progs.learn_process);

	if (r)
		return pf_error(r, "bpf:tp: test run: %s", strerror(-r));
	/* Majors first: a fault must not be seen by the counter alone. */
	r = pf_links_attach_majors(&source->links, skel->progs.on_major);
	if (r)
		return pf_error(r, "bpf:tp: perf event page-faults-major: %s", strerror(-r));
	r = pf_links_attach(&source->links, skel->progs.on_map_pages);
	if (!r)
		r = pf_links_attach(&source->links, skel->progs.on_filemap_fault);
	if (r)
		return pf_error(r, "bpf:tp: filemap tracepoints: %s", strerror(-r));
	return 0;
}

static int try_open(const struct pf_source_params *params, struct pf_source **ret_source)
{
	struct pf_source *source = calloc(1, sizeof(*source));
	int r;

	if (!source)
		return pf_error(-ENOMEM, "bpf:tp: out of memory");
	r = load(source, params);
	if (!r)
		r = pf_slotmap_init(&source->slotmap, params, bpf_map__fd(source->skel->maps.files));
	if (!r)
		r = attach(source, params);
	if (r) {
		tp_close(source);
		return r;
	}
	pf_cache_init(&source->cache, params, bpf_map__fd(source->skel->maps.files));
	*ret_source = source;
	return 0;
}

static int tp_open(const struct pf_source_params *params, struct pf_source **ret_source)
{
	int r;

	pf_libbpf_quiet();
	r = try_open(params, ret_source);
	pf_libbpf_restore();
	return r;
}

/* The kernel keeps 12 bits of major and 20 of minor number. */
static uint32_t makedev_kernel(dev_t dev)
{
	return major(dev) << 20 | minor(dev);
}

static int tp_add_file(struct pf_source *source, uint32_t file_id, int fd, const struct pinfold_slot **ret_slots)
{
	struct pf_probe_inode key = {0};
	struct stat st;
	int r;

	if (fstat(fd, &st))
		return pf_error(-errno, "file %u: fstat: %s", file_id, strerror(errno));
	key.ino = st.st_ino;
	key.dev = makedev_kernel(st.st_dev);
	r = pf_slotmap_add(&source->slotmap, file_id, ret_slots);
	if (r)
		return r;
	if (bpf_map_update_elem(bpf_map__fd(source->skel->maps.inodes), &key, &file_id, BPF_ANY))
		return pf_error(-errno, "file %u: watching its inode: %s", file_id, strerror(errno));
	pf_cache_add(&source->cache, file_id, fd);
	return 0;
}

static uint64_t tp_lost(const struct pf_source *source)
{
	return __atomic_load_n(&source->skel->bss->state.lost_events, __ATOMIC_RELAXED) + pf_cache_lost(&source->cache);
}

static const char *tp_missing(const struct pf_source *source)
{
	return source->cache.missing;
}

const struct pf_source_ops pf_source_tp = {
	.name = "bpf:tp",
	.open = tp_open,
	.close = tp_close,
	.add_file = tp_add_file,
	.lost = tp_lost,
	.missing = tp_missing,
	.counts_faults = false /* not those served by huge mappings */,
};
