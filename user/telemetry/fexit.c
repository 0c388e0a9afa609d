/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fexit.c - user side of fexit.bpf.c: source "bpf:fexit".
 */
#include "probe.h"

#include "fexit.skel.h"
#include "telemetry/probes.h"

PF_PROBES_SKELETON(fexit)

static const struct pf_hook hooks[] = {
	{.program = "on_filemap_fault", .event = "filemap:mm_filemap_fault", .when = PF_HOOK_STAMP_LATE},
	{.program = "on_fault_entry", .event = "fentry/handle_mm_fault", .when = PF_HOOK_STAMP_EARLY},
	{.program = "on_fault_exit", .event = "fexit/handle_mm_fault"},
};

static const struct pf_probe_kind kind = {
	.name = "bpf:fexit",
	.open = open_skeleton,
	.load = load_skeleton,
	.destroy = destroy_skeleton,
	.hooks = hooks,
	.hook_count = sizeof(hooks) / sizeof(hooks[0]),
	.stamp_early = true,
};

static int fexit_open(const struct pf_source_params *params, struct pf_source **ret_source)
{
	return pf_probes_open(&kind, params, ret_source);
}

const struct pf_source_ops pf_source_fexit = {
	.name = "bpf:fexit",
	.open = fexit_open,
	.close = pf_probes_close,
	.add_file = pf_probes_add_file,
	.lost = pf_probes_lost,
	.missing = pf_probes_missing,
	.counts_faults = true,
};
