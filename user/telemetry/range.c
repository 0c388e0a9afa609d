/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * range.c - user side of range.bpf.c: source "bpf:range".
 */
#include "probe.h"

#include "range.skel.h"
#include "telemetry/probes.h"

PF_PROBES_SKELETON(range)

static const struct pf_hook hooks[] = {
	/* Majors first: a fault must not be seen by the counter alone. */
	{.program = "on_major", .event = "perf event page-faults-major", .majors = true},
	{.program = "on_filemap_fault", .event = "filemap:mm_filemap_fault", .when = PF_HOOK_STAMP_LATE},
	/* Before threads become known: each that is must be forgotten when it ends. */
	{.program = "on_thread_exit", .event = "sched:sched_process_exit"},
	{.program = "on_page_fault_kernel", .event = "exceptions:page_fault_kernel"},
	{.program = "on_page_fault_user", .event = "exceptions:page_fault_user"},
};

static const struct pf_probe_kind kind = {
	.name = "bpf:range",
	.open = open_skeleton,
	.load = load_skeleton,
	.destroy = destroy_skeleton,
	.hooks = hooks,
	.hook_count = sizeof(hooks) / sizeof(hooks[0]),
	.stamp_early = true,
};

static int range_open(const struct pf_source_params *params, struct pf_source **ret_source)
{
	return pf_probes_open(&kind, params, ret_source);
}

const struct pf_source_ops pf_source_range = {
	.name = "bpf:range",
	.open = range_open,
	.close = pf_probes_close,
	.add_file = pf_probes_add_file,
	.lost = pf_probes_lost,
	.missing = pf_probes_missing,
	.counts_faults = true,
};
