/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * profiles.c - sets of values for a kind of machine. What a profile does not name keeps its built-in value.
 *
 * RFC-2024-001 has data files of 100 to 50000 GB. A file above 32 GiB has slices larger than the 2 MiB in which heat is
 * counted and data is pinned; so here the store is bounded by max_mapped_size_gb instead, and only ultra-dense,
 * whose stores would be thousands of files, has larger ones.
 */
#include "config/internal.h"

#include <stdio.h>
#include <string.h>

static const char *const development[] = {
	"mmap.file_size_gb=10",
	"mmap.enable_huge_pages=false",
	"io_ring.enabled=false", /* containers often forbid it */
	"store.journal_size=32MB",
	"numa.enabled=false",
	"pin_management.global_budget.max_pinned_percentage=10",
	NULL,
};

static const char *const single_node[] = {
	"mmap.max_mapped_size_gb=200", "mmap.enable_huge_pages=true",  "mmap.huge_page_size=2MB",
	"numa.enabled=false",          "performance.worker_threads=8", NULL,
};

static const char *const production[] = {
	"mmap.max_mapped_size_gb=4000",
	"mmap.sync_mode=sync",
	"store.journal_size=1GB",
	"huge_pages.reserve_pages=1024",
	"numa.cpu_affinity=numa_local",
	"performance.enable_cpu_affinity=true",
	"monitoring.enabled=true",
	"monitoring.metrics_export_interval=15s",
	NULL,
};

static const char *const ultra_dense[] = {
	"mmap.file_size_gb=1024",
	"mmap.max_mapped_size_gb=32768", /* three such arenas fit into 47 bits of address space */
	"mmap.sync_mode=sync",
	"mmap.huge_page_size=1GB",
	"mmap.replication_factor=2",
	"mmap.consistency_level=quorum",
	"mmap.io_queue_depth=512",
	"store.journal_size=8GB",
	"huge_pages.explicit_1gb_pages=true",
	"huge_pages.explicit_2mb_pages=true",
	"numa.cpu_affinity=numa_local",
	"performance.enable_cpu_affinity=true",
	"monitoring.metrics_export_interval=15s",
	"cluster.expected_nodes=3",
	"cluster.vm.max_map_count=10485760",
	"cluster.vm.nr_hugepages=128",
	"memory.page_cache_limit_gb=128",
	"memory.memory_pressure_threshold=0.90",
	NULL,
};

const struct pf_config_profile pf_config_profiles[] = {
	{ "development", "Small files, no privileges, little memory: beside other work.", development },
	{ "single-node", "One machine with one socket, a store of up to 200 GiB.", single_node },
	{ "production", "A node that serves: every commit durable, a large journal.", production },
	{ "ultra-dense", "Few nodes with tens of terabytes each.", ultra_dense },
};

const size_t pf_config_profile_count = sizeof(pf_config_profiles) / sizeof(pf_config_profiles[0]);

const char *pf_config_profile_name(size_t index)
{
	return index < pf_config_profile_count ? pf_config_profiles[index].name : NULL;
}

const char *pf_config_allowed_profiles(char *buf)
{
	buf[0] = '\0';
	for (size_t i = 0; i < pf_config_profile_count; i++)
		snprintf(buf + strlen(buf), PF_CONFIG_TEXT_MAX - strlen(buf), "%s\"%s\"", i ? ", " : "",
			 pf_config_profiles[i].name);
	return buf;
}

const char *pf_config_profile_doc(size_t index)
{
	return index < pf_config_profile_count ? pf_config_profiles[index].doc : NULL;
}
