/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * nobpf.c - stands in for the BPF sources in a build without them.
 */
#include <stddef.h>

#include "base/error.h"
#include "telemetry/source.h"

static int nobpf_open(const struct pf_source_params *params, struct pf_source **ret_source)
{
	return pf_error(-EOPNOTSUPP, "bpf: not in this build");
}

const struct pf_source_ops pf_source_range = {.name = "bpf:range", .open = nobpf_open};
const struct pf_source_ops pf_source_fexit = {.name = "bpf:fexit", .open = nobpf_open};
const struct pf_source_ops pf_source_tp = {.name = "bpf:tp", .open = nobpf_open};
