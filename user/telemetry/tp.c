/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tp.c - user side of tp.bpf.c: source "bpf:tp".
 */
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/error.h"
#include "probe.h"

#include "tp.skel.h"
#include "telemetry/probes.h"

PF_PROBES_SKELETON(tp)

static const struct pf_hook hooks[] = {
	/* Majors first: a fault must not be seen by the counter alone. */
	{.program = "on_major", .event = "perf event page-faults-major", .majors = true},
	{.program = "on_map_pages", .event = "filemap:mm_filemap_map_pages"},
	{.program = "on_filemap_fault", .event = "filemap:mm_filemap_fault"},
};

static const struct pf_probe_kind kind = {
	.name = "bpf:tp",
	.open = open_skeleton,
	.load = load_skeleton,
	.destroy = destroy_skeleton,
	.hooks = hooks,
	.hook_count = sizeof(hooks) / sizeof(hooks[0]),
	.stamp_early = false,
};

static int tp_open(const struct pf_source_params *params, struct pf_source **ret_source)
{
	return pf_probes_open(&kind, params, ret_source);
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
	r = pf_probes_add_file(source, file_id, fd, ret_slots);
	if (r)
		return r;
	if (bpf_map_update_elem(bpf_object__find_map_fd_by_name(source->parts.object, "inodes"), &key, &file_id,
				BPF_ANY))
		return pf_error(-errno, "file %u: watching its inode: %s", file_id, strerror(errno));
	return 0;
}

const struct pf_source_ops pf_source_tp = {
	.name = "bpf:tp",
	.open = tp_open,
	.close = pf_probes_close,
	.add_file = tp_add_file,
	.lost = pf_probes_lost,
	.missing = pf_probes_missing,
	.counts_faults = false /* not those served by huge mappings */,
};
