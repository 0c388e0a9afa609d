/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * doctor.c - what this host offers, every part tried for real.
 */
#include <stdio.h>
#include <string.h>

#include "engine/engine.h"

struct source_row {
	const char *source; /* as pf_telemetry_probe() knows it */
	const char *adds;
	const char *how;
};

static const struct source_row sources[] = {
	{ "kmod", "exact faults per slice by node, at the least cost; residency of all a file's pages, by node",
	  "build and load the module (kmod/dkms-install), be in the group pinfold, keep the store on ext4 or xfs" },
	{ "bpf:range", "exact minor, major and write faults per slice of this process's store, with stall time",
	  "run as root (CAP_BPF and CAP_PERFMON) on a kernel with BTF" },
	{ "bpf:fexit", "faults of every process that maps the files, by the fault handler's own result",
	  "run as root on a kernel that allows fexit programs (CONFIG_BPF_LSM and lockdown permitting)" },
	{ "bpf:tp", "faults of every process that maps the files, from tracepoints (no write-protect or PMD faults)",
	  "run as root on Linux 6.12 or later" },
	{ "procfs", "touches and evictions estimated from sampled page-table entries and page-cache residency",
	  "mount /proc" },
};

static size_t probe_sources(const char *dir, struct pinfold_capability *ret_caps, size_t limit)
{
	size_t n = 0;

	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]) && n < limit; i++, n++) {
		struct pinfold_capability *cap = &ret_caps[n];
		int r;

		memset(cap, 0, sizeof(*cap));
		cap->name = sources[i].source;
		cap->adds = sources[i].adds;
		r = pf_telemetry_probe(sources[i].source, dir, cap->found, sizeof(cap->found));
		cap->state = r == 0;
		if (r) {
			cap->how = sources[i].how;
			snprintf(cap->found, sizeof(cap->found), "%s", pf_error_text());
		}
	}
	return n;
}

int pinfold_doctor(const char *dir, struct pinfold_capability *ret_caps, size_t limit)
{
	size_t n;
	int r;

	if (!ret_caps)
		return pf_error(-EINVAL, "pinfold_doctor: ret_caps must not be NULL");
	n = probe_sources(dir, ret_caps, limit);
	r = pf_residency_doctor(dir, ret_caps + n, limit - n);
	return r < 0 ? r : (int)n + r;
}

/* The module sees all that is resident; without it, what this process maps is known. */
static void take_scan(struct pinfold *pf, const struct pinfold_extent *extent, const struct pf_range *range,
		      struct pinfold_residency *residency)
{
	const uint64_t page = 4096;
	struct pinfold_scan_args scan;

	if (pf->config.source != PINFOLD_SOURCE_AUTO && pf->config.source != PINFOLD_SOURCE_KMOD)
		return;
	if (residency->node_count > PINFOLD_SLOT_NODES ||
	    pf_regions_scan(pf->regions, extent->file_id, range->fd, range->offset, range->size, &scan))
		return;
	residency->by_module = true;
	residency->resident = scan.resident * page;
	residency->dirty = scan.dirty * page;
	residency->writeback = scan.writeback * page;
	residency->huge = scan.huge * page;
	residency->large_folio = (scan.huge + (uint64_t)scan.large) * page;
	for (uint32_t i = 0; i < residency->node_count; i++)
		residency->node_bytes[i] = scan.node[i] * page;
}

int pinfold_residency_query(struct pinfold *pf, const struct pinfold_extent *extent, uint64_t offset, uint64_t size,
			    struct pinfold_residency *ret_residency)
{
	struct pf_range range;
	int r;

	REQUIRE(pf && extent && ret_residency);
	r = pf_extent_check(pf->store, extent);
	if (r)
		return r;
	if (offset > extent->len || size > extent->len - offset)
		return pf_error(-ERANGE, "offset %llu + %llu bytes is beyond the extent's %u bytes",
				(unsigned long long)offset, (unsigned long long)size, extent->len);
	range = pf_range_of(pf, extent->file_id, extent->offset + offset, size ? size : extent->len - offset);
	r = pf_residency_query(&range, ret_residency);
	if (r == 0)
		take_scan(pf, extent, &range, ret_residency);
	if (r == 0 && pf->controlled)
		ret_residency->locked =
			pf_pin_map_locked(pf->pins, extent->file_id * pf->file_size + range.offset, &range);
	return r;
}
