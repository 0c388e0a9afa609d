/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * keys.c - the table of keys.
 *
 * DESIGN
 *   Each row says all there is to know of a key; nothing else in the tree lists keys. What RFC-2024-001 names
 *   keeps its name and section. Built-in values are what the engine does when it is told nothing.
 *
 *  1. No two keys share an environment variable, and every built-in value is allowed (tests/unit/config).
 *  2. EFFECTIVE says that setting the key changes what the engine does now. The others are checked as strictly, so that
 *     a file that is sound today does not break when their feature comes.
 *  3. Two keys with the same .same are one setting under two names.
 */
#include "config/config.h"

#include <stddef.h>

#define KIB (1ull << 10)
#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define TIB (1ull << 40)
#define UINT32_LIMIT 4294967295.0

#define EFFECTIVE .effective = true
#define FIELD(member)                                                 \
	EFFECTIVE, .offset = offsetof(struct pinfold_config, member), \
		.size = sizeof(((struct pinfold_config *)0)->member)
#define NOT_FIELD(member) FIELD(member), .inverted = true
#define BY_NAME EFFECTIVE /* fill.c combines it with others */
#define IN_GIB .unit = GIB, .unit_name = "GiB", .step = GIB
#define IN_MS .unit = 1, .unit_name = "ms"
#define IN_MINUTES .unit = 60000, .unit_name = "minutes", .step = 60000
#define RANGE(low, high) .min = (double)(low), .max = (double)(high)
#define CLASS(priority, member) FIELD(pin.class_[PINFOLD_PRIORITY_##priority].member)

#define TAIL "pin_management.priority_classes.tail_latency_critical"
#define QUERY "pin_management.priority_classes.query_critical"
#define BACKGROUND "pin_management.priority_classes.background_optimization"
#define BUDGET "pin_management.global_budget"
#define THRESHOLDS "performance_monitoring.adaptive_thresholds"
#define TUNING "performance_monitoring.auto_tuning"
#define METRICS "performance_monitoring.metrics"
#define TRIGGERS "numa_policies.migration_triggers"
#define BY_PATTERN "table_slicing.slicing_policies.by_access_pattern"
#define BY_SELECTIVITY "table_slicing.slicing_policies.by_query_selectivity"

const struct pf_config_key pf_config_keys[] = {
	/* ---- [mmap] ---- */
	{ "mmap", "data_dir", PF_CONFIG_TEXT, BY_NAME, .initial = "",
	  .doc = "Directory of the store; the tools take it where DIR is '@'." },
	{ "mmap", "file_size_gb", PF_CONFIG_SIZE, FIELD(file_size), IN_GIB, RANGE(GIB, 16 * TIB), .initial = "32",
	  .doc = "Size of each data file; fixed when the store is created. Above 32 GiB slices are larger "
		 "than 2 MiB." },
	{ "mmap", "max_mapped_size_gb", PF_CONFIG_SIZE, FIELD(max_mapped_size), IN_GIB, RANGE(GIB, 64 * TIB),
	  .zero = "auto", .initial = "auto",
	  .doc = "Address space for data files, which bounds the store; auto: 1 TiB, or one file if that is larger." },
	{ "mmap", "enable_huge_pages", PF_CONFIG_BOOL, BY_NAME, .initial = "true", .same = "huge_pages.enabled",
	  .doc = "Ask for huge pages for what is pinned; another name of huge_pages.enabled." },
	{ "mmap", "huge_page_size", PF_CONFIG_CHOICE, EFFECTIVE, .choices = "2MB|~1GB|~system_default",
	  .initial = "2MB", .same = "huge_pages.size",
	  .doc = "Huge page that is asked for; another name of huge_pages.size." },
	{ "mmap", "prefault_pages", PF_CONFIG_BOOL, FIELD(prefault), .initial = "false",
	  .doc = "Read all data in and map it when the store is opened by a program that keeps it open." },
	{ "mmap", "memory_advice", PF_CONFIG_CHOICE, FIELD(advice), .choices = "normal|random|sequential",
	  .initial = "normal",
	  .doc = "Advice for the whole data mapping; normal leaves readahead to what each slice's misses look like." },
	{ "mmap", "numa_policy", PF_CONFIG_CHOICE, .choices = "local|interleave|bind|preferred", .initial = "local",
	  .same = "numa.policy", .doc = "Where new pages are placed; another name of numa.policy." },
	{ "mmap", "enable_io_uring", PF_CONFIG_BOOL, BY_NAME, .initial = "true", .same = "io_ring.enabled",
	  .doc = "Commit and scan through io_uring; another name of io_ring.enabled." },
	{ "mmap", "io_queue_depth", PF_CONFIG_COUNT, FIELD(io_queue_depth), RANGE(1, 4096), .initial = "128",
	  .doc = "Reads in flight: of all batches together, and of each scan (at most 32)." },
	{ "mmap", "sync_mode", PF_CONFIG_CHOICE, FIELD(sync), .choices = "sync|async|none", .initial = "sync",
	  .doc = "When a commit returns: when durable, when ordered, or when ordered with durability at "
		 "checkpoints only." },
	{ "mmap", "replication_factor", PF_CONFIG_COUNT, RANGE(1, 16), .initial = "1",
	  .doc = "Copies of the data in a cluster." },
	{ "mmap", "consistency_level", PF_CONFIG_CHOICE, .choices = "one|quorum|all", .initial = "one",
	  .doc = "Copies that must have a change before it is acknowledged." },

	/* ---- [store]: what the engine has and the RFC does not name ---- */
	{ "store", "journal_size", PF_CONFIG_SIZE, FIELD(journal_size), .unit = 1, RANGE(16 * MIB, 64 * GIB),
	  .zero = "auto", .initial = "auto",
	  .doc = "Whole journal; a store is changed to it when it is opened for writing. auto: as it is, "
		 "256 MiB when created." },
	{ "store", "flush_interval_ms", PF_CONFIG_TIME, FIELD(flush_interval_ms), IN_MS, RANGE(1, 60000),
	  .initial = "10", .doc = "With sync_mode async: longest time from a commit to its durability." },
	{ "store", "preallocate_files", PF_CONFIG_BOOL, FIELD(preallocate_files), .initial = "false",
	  .doc = "Reserve whole data files on disk at once, not extent by extent." },
	{ "store", "checksums", PF_CONFIG_BOOL, FIELD(checksums), .initial = "false",
	  .doc = "Keep a checksum per block of bulk-loaded data." },

	/* ---- [security] ---- */
	{ "security", "enable_aslr", PF_CONFIG_BOOL, EFFECTIVE, RANGE(1, 1), .initial = "true",
	  .doc = "The kernel chooses where data is mapped; this cannot be turned off." },
	{ "security", "seal", PF_CONFIG_BOOL, FIELD(seal), .initial = "true",
	  .doc = "Seal the data mapping (mseal): it cannot be unmapped, moved or replaced until the process ends." },
	{ "security", "protection_keys", PF_CONFIG_BOOL, FIELD(protection_keys), .initial = "false",
	  .doc = "Guard the window that commits go through by a protection key (pkeys)." },
	{ "security", "encryption", PF_CONFIG_CHOICE, EFFECTIVE, .choices = "none|~system_default|~per_region",
	  .initial = "none", .doc = "Memory encryption." },

	/* ---- [huge_pages] ---- */
	{ "huge_pages", "enabled", PF_CONFIG_BOOL, NOT_FIELD(no_huge_pages), .initial = "true",
	  .same = "mmap.enable_huge_pages", .doc = "Ask for huge pages for what is pinned." },
	{ "huge_pages", "size", PF_CONFIG_CHOICE, EFFECTIVE, .choices = "2MB|~1GB|~system_default", .initial = "2MB",
	  .same = "mmap.huge_page_size", .doc = "Huge page that is asked for." },
	{ "huge_pages", "defrag", PF_CONFIG_CHOICE, .choices = "always|defer|never", .initial = "defer",
	  .doc = "How hard the kernel should try to make huge pages." },
	{ "huge_pages", "reserve_pages", PF_CONFIG_COUNT, RANGE(0, 1u << 24), .initial = "0",
	  .doc = "Huge pages of this size to reserve at start." },
	{ "huge_pages", "transparent_huge_pages", PF_CONFIG_CHOICE, .choices = "always|madvise|never",
	  .initial = "madvise", .doc = "The system's mode of transparent huge pages." },
	{ "huge_pages", "explicit_1gb_pages", PF_CONFIG_BOOL, .initial = "false",
	  .doc = "Use 1 GiB pages for large scans." },
	{ "huge_pages", "explicit_2mb_pages", PF_CONFIG_BOOL, .initial = "false",
	  .doc = "Use 2 MiB pages for indices." },
	{ "huge_pages.allocation_strategy", "large_sequential_scans", PF_CONFIG_CHOICE, .choices = "4KB|2MB|1GB",
	  .initial = "1GB", .doc = "Page for scans of more than 100 MiB." },
	{ "huge_pages.allocation_strategy", "btree_indices", PF_CONFIG_CHOICE, .choices = "4KB|2MB|1GB",
	  .initial = "2MB", .doc = "Page for indices." },
	{ "huge_pages.allocation_strategy", "random_access_metadata", PF_CONFIG_CHOICE, .choices = "4KB|2MB|1GB",
	  .initial = "4KB", .doc = "Page for metadata." },

	/* ---- [numa] ---- */
	{ "numa", "enabled", PF_CONFIG_BOOL, BY_NAME, .initial = "true",
	  .doc = "Move pinned pages to the node that uses them." },
	{ "numa", "policy", PF_CONFIG_CHOICE, .choices = "local|interleave|bind|preferred", .initial = "local",
	  .same = "mmap.numa_policy", .doc = "Where new pages are placed." },
	{ "numa", "nodes", PF_CONFIG_NODES, RANGE(0, 1023), .initial = "",
	  .doc = "Nodes that policy bind or preferred means." },
	{ "numa", "cpu_affinity", PF_CONFIG_CHOICE, .choices = "none|numa_local", .initial = "none",
	  .doc = "Processors that worker threads are bound to." },
	{ "numa", "memory_migration", PF_CONFIG_CHOICE, BY_NAME, .choices = "disabled|on_fault|~proactive",
	  .initial = "on_fault", .doc = "What moves pages between nodes: nothing, or faults from other nodes." },

	/* ---- [io_ring] ---- */
	{ "io_ring", "enabled", PF_CONFIG_BOOL, NOT_FIELD(no_io_uring), .initial = "true",
	  .same = "mmap.enable_io_uring", .doc = "Commit and scan through io_uring; otherwise by pread and pwrite." },
	{ "io_ring", "sq_entries", PF_CONFIG_COUNT, FIELD(ring.sq_entries), RANGE(1, 32768), .initial = "256",
	  .doc = "Entries of the submission queue." },
	{ "io_ring", "cq_multiplier", PF_CONFIG_FACTOR, FIELD(ring.cq_percent), RANGE(1, 16), .initial = "2.0",
	  .doc = "Entries of the completion queue per entry of the submission queue." },
	{ "io_ring", "polling_mode", PF_CONFIG_CHOICE, FIELD(ring.polling), .choices = "interrupt|polling|hybrid",
	  .initial = "interrupt",
	  .doc = "How commits wait for the device; what kernel, filesystem or device refuse is done without, and "
		 "named." },
	{ "io_ring", "sq_polling", PF_CONFIG_BOOL, FIELD(ring.sq_polling), .initial = "false",
	  .doc = "A kernel thread takes commits' submissions, which then cost no system call." },
	{ "io_ring", "sq_idle_ms", PF_CONFIG_TIME, FIELD(ring.sq_idle_ms), IN_MS, RANGE(1, 10000), .initial = "50",
	  .doc = "How long that thread looks for more before it sleeps." },

	/* ---- [performance] ---- */
	{ "performance", "worker_threads", PF_CONFIG_COUNT, RANGE(0, 4096), .initial = "0",
	  .doc = "Threads of the daemon; 0: as many as there are processors." },
	{ "performance", "enable_cpu_affinity", PF_CONFIG_BOOL, .initial = "false",
	  .doc = "Bind threads to processors." },
	{ "performance", "memory_prefetch", PF_CONFIG_BOOL, NOT_FIELD(no_prefetch), .initial = "true",
	  .doc = "Read the neighbours in that a pin asks for." },
	{ "performance", "page_access_tracking", PF_CONFIG_BOOL, NOT_FIELD(no_sampling), .initial = "true",
	  .doc = "Sample whether pinned data is still used; without it learned pins end with their time." },
	{ "performance", "adaptive_readahead", PF_CONFIG_BOOL, NOT_FIELD(no_adaptive_readahead), .initial = "true",
	  .doc = "Turn readahead off for slices whose misses are random, while memory_advice is normal." },

	/* ---- [monitoring] ---- */
	{ "monitoring", "enabled", PF_CONFIG_BOOL, BY_NAME, .initial = "true",
	  .doc = "All of this section; false is the same as page_fault_tracking = false." },
	{ "monitoring", "page_fault_tracking", PF_CONFIG_BOOL, BY_NAME, .initial = "true",
	  .doc = "Count faults in the kernel where it allows that; false leaves estimates from /proc." },
	{ "monitoring", "memory_usage_reporting", PF_CONFIG_BOOL, .initial = "true", .doc = "Export memory usage." },
	{ "monitoring", "io_latency_histogram", PF_CONFIG_BOOL, .initial = "true", .doc = "Export latencies of I/O." },
	{ "monitoring", "numa_statistics", PF_CONFIG_BOOL, .initial = "true", .doc = "Export placement by node." },
	{ "monitoring", "metrics_export_interval", PF_CONFIG_TIME, .unit = 1000, .unit_name = "s", RANGE(1000, 3600000),
	  .initial = "15", .doc = "How often metrics are exported; a bare number is seconds." },
	{ "monitoring", "source", PF_CONFIG_CHOICE, FIELD(source), .choices = "auto|none|procfs|bpf|kmod",
	  .initial = "auto", .doc = "Where fault counts come from; auto: the best that works." },
	{ "monitoring", "sample_rate", PF_CONFIG_COUNT, FIELD(pin.sample_rate_per_s), RANGE(1, 1000000),
	  .initial = "1000", .doc = "Samples of resident pages per second, at most." },

	/* ---- pin_management ---- */
	{ BUDGET, "max_pinned_percentage", PF_CONFIG_PERCENT, FIELD(pin.max_pinned_percent), RANGE(1, 100),
	  .initial = "40",
	  .doc = "Pin budget, of effective memory: the least of RAM, cgroup limit and RLIMIT_MEMLOCK." },
	{ BUDGET, "max_pinned", PF_CONFIG_SIZE, FIELD(pin.max_pinned_bytes), .unit = 1, RANGE(2 * MIB, 64 * TIB),
	  .zero = "none", .initial = "none", .doc = "Further bound of the pin budget." },
	{ BUDGET, "numa_local_preference", PF_CONFIG_PERCENT, RANGE(0, 100), .initial = "80",
	  .doc = "Share of pins to be placed on the local node." },
	{ BUDGET, "huge_page_allocation", PF_CONFIG_PERCENT, FIELD(pin.huge_percent), RANGE(1, 100), .initial = "60",
	  .doc = "Share of pinned bytes on huge pages, at most." },
	{ TAIL, "budget_share", PF_CONFIG_PERCENT, CLASS(TAIL_LATENCY_CRITICAL, budget_share_percent), RANGE(1, 100),
	  .initial = "50", .doc = "Share of the pin budget." },
	{ TAIL, "max_pin_time_ms", PF_CONFIG_TIME, CLASS(TAIL_LATENCY_CRITICAL, max_pin_time_ms), IN_MS,
	  RANGE(1, UINT32_LIMIT), .initial = "5000", .doc = "A learned pin is earned again after this time." },
	{ QUERY, "budget_share", PF_CONFIG_PERCENT, CLASS(QUERY_CRITICAL, budget_share_percent), RANGE(1, 100),
	  .initial = "30", .doc = "Share of the pin budget." },
	{ QUERY, "max_pin_time_ms", PF_CONFIG_TIME, CLASS(QUERY_CRITICAL, max_pin_time_ms), IN_MS,
	  RANGE(1, UINT32_LIMIT), .initial = "30000", .doc = "A learned pin is earned again after this time." },
	{ BACKGROUND, "budget_share", PF_CONFIG_PERCENT, CLASS(BACKGROUND, budget_share_percent), RANGE(1, 100),
	  .initial = "20", .doc = "Share of the pin budget." },
	{ BACKGROUND, "max_pin_time_ms", PF_CONFIG_TIME, CLASS(BACKGROUND, max_pin_time_ms), IN_MS,
	  RANGE(1, UINT32_LIMIT), .initial = "300000", .doc = "A learned pin is earned again after this time." },

	/* ---- numa_policies ---- */
	{ "numa_policies", "hot_tables", PF_CONFIG_CHOICE, .choices = "bind_local|preferred_local|interleave",
	  .initial = "bind_local", .doc = "Placement of hot tables." },
	{ "numa_policies", "cold_indices", PF_CONFIG_CHOICE, .choices = "bind_local|preferred_local|interleave",
	  .initial = "interleave", .doc = "Placement of cold indices." },
	{ "numa_policies", "shared_metadata", PF_CONFIG_CHOICE, .choices = "bind_local|preferred_local|interleave",
	  .initial = "preferred_local", .doc = "Placement of shared metadata." },
	{ TRIGGERS, "cpu_imbalance_threshold", PF_CONFIG_RATIO, RANGE(0, 1), .initial = "0.3",
	  .doc = "Imbalance of the processors above which data is moved." },
	{ TRIGGERS, "memory_pressure_threshold", PF_CONFIG_RATIO, FIELD(pin.memory_pressure_percent), RANGE(0.01, 1),
	  .initial = "0.85",
	  .doc = "Share of memory that cannot be reclaimed above which every cold pin is given up." },
	{ TRIGGERS, "cross_numa_latency_penalty", PF_CONFIG_FACTOR, RANGE(1, 100), .initial = "2.5",
	  .doc = "How much slower another node's memory is taken to be." },

	/* ---- table_slicing ---- */
	{ "table_slicing", "extent_size", PF_CONFIG_SIZE, FIELD(extent_size), .unit = 1, .power_of_two = true,
	  RANGE(PINFOLD_EXTENT_MIN, PINFOLD_EXTENT_MAX), .initial = "64MiB",
	  .doc = "Default extent; fixed when the store is created." },
	{ "table_slicing", "hot_column_extent_size", PF_CONFIG_SIZE, .unit = 1, .power_of_two = true,
	  RANGE(PINFOLD_EXTENT_MIN, PINFOLD_EXTENT_MAX), .initial = "16MiB", .doc = "Extent of hot columns." },
	{ "table_slicing", "rowgroup_size", PF_CONFIG_COUNT, RANGE(1, 1e12), .initial = "1M",
	  .doc = "Rows per row group." },
	{ BY_PATTERN, "hot_columns", PF_CONFIG_LIST, .initial = "", .doc = "Columns in extents of their own." },
	{ BY_PATTERN, "cold_columns", PF_CONFIG_LIST, .initial = "",
	  .doc = "Columns that are kept apart from hot ones." },
	{ BY_SELECTIVITY, "high_selectivity", PF_CONFIG_SIZE, .unit = 1, .power_of_two = true,
	  RANGE(PINFOLD_EXTENT_MIN, PINFOLD_EXTENT_MAX), .initial = "16MiB", .doc = "Extent of what filters read." },
	{ BY_SELECTIVITY, "scan_heavy", PF_CONFIG_SIZE, .unit = 1, .power_of_two = true,
	  RANGE(PINFOLD_EXTENT_MIN, PINFOLD_EXTENT_MAX), .initial = "256MiB", .doc = "Extent of what scans read." },

	/* ---- graph_slicing ---- */
	{ "graph_slicing", "partition_strategy", PF_CONFIG_CHOICE, .choices = "community_detection|hash|range",
	  .initial = "community_detection", .doc = "How a graph is cut." },
	{ "graph_slicing", "max_partition_size", PF_CONFIG_SIZE, .unit = 1, RANGE(64 * KIB, TIB), .initial = "128MiB",
	  .doc = "Largest partition." },
	{ "graph_slicing", "min_partition_size", PF_CONFIG_SIZE, .unit = 1, RANGE(64 * KIB, TIB), .initial = "4MiB",
	  .doc = "Smallest partition." },
	{ "graph_slicing.edge_handling", "intra_partition_edges", PF_CONFIG_CHOICE, .choices = "csr_blocks",
	  .initial = "csr_blocks", .doc = "How edges inside a partition are kept." },
	{ "graph_slicing.edge_handling", "cross_partition_edges", PF_CONFIG_CHOICE, .choices = "portal_nodes",
	  .initial = "portal_nodes", .doc = "How edges between partitions are kept." },
	{ "graph_slicing.property_storage", "node_properties", PF_CONFIG_CHOICE, .choices = "separate_extents|inline",
	  .initial = "separate_extents", .doc = "Where properties of nodes are kept." },
	{ "graph_slicing.property_storage", "edge_properties", PF_CONFIG_CHOICE,
	  .choices = "inline_with_csr|separate_extents", .initial = "inline_with_csr",
	  .doc = "Where properties of edges are kept." },

	/* ---- performance_monitoring ---- */
	{ METRICS, "page_fault_rate", PF_CONFIG_CHOICE, .choices = "per_second|off", .initial = "per_second",
	  .doc = "Page faults of an extent." },
	{ METRICS, "cache_hit_ratio", PF_CONFIG_CHOICE, .choices = "percentage|0_to_1|off", .initial = "percentage",
	  .doc = "Share of accesses that hit pinned memory." },
	{ METRICS, "numa_locality_score", PF_CONFIG_CHOICE, .choices = "percentage|0_to_1|off", .initial = "0_to_1",
	  .doc = "Share of accesses from the node that holds the page." },
	{ METRICS, "huge_page_utilization", PF_CONFIG_CHOICE, .choices = "percentage|0_to_1|off",
	  .initial = "percentage", .doc = "Share of huge pages in use." },
	{ METRICS, "pin_budget_pressure", PF_CONFIG_CHOICE, .choices = "percentage|0_to_1|off", .initial = "0_to_1",
	  .doc = "Share of the pin budget in use." },
	{ THRESHOLDS, "pin_pressure_threshold", PF_CONFIG_RATIO, FIELD(pin.pressure_percent), RANGE(0.01, 1),
	  .initial = "0.85", .doc = "Use of the pin budget above which cold pins are given up." },
	{ THRESHOLDS, "page_fault_spike_threshold", PF_CONFIG_COUNT, FIELD(pin.fault_spike_per_s),
	  RANGE(1, UINT32_LIMIT), .initial = "1000",
	  .doc = "Faults per second above which a slice is pinned at once." },
	{ THRESHOLDS, "numa_miss_threshold", PF_CONFIG_RATIO, FIELD(pin.numa_miss_percent), RANGE(0.01, 1),
	  .initial = "0.3", .doc = "Share of faults from other nodes above which a slice is moved." },
	{ THRESHOLDS, "pin_heat_threshold", PF_CONFIG_RATIO, FIELD(pin.pin_heat_percent), RANGE(0.01, 1),
	  .initial = "0.7", .doc = "Heat above which a slice is pinned." },
	{ THRESHOLDS, "tail_heat_threshold", PF_CONFIG_RATIO, FIELD(pin.tail_heat_percent), RANGE(0.01, 1),
	  .initial = "0.9", .doc = "Heat above which its pin is tail-latency-critical." },
	{ THRESHOLDS, "unpin_heat_threshold", PF_CONFIG_RATIO, FIELD(pin.unpin_heat_percent), RANGE(0.01, 1),
	  .initial = "0.5", .doc = "Heat below which a pin is cold." },
	{ TUNING, "enable_adaptive_pinning", PF_CONFIG_BOOL, NOT_FIELD(pin.adaptive_off), .initial = "true",
	  .doc = "Pin what is hot; false: only what programs ask for." },
	{ TUNING, "learning_window_minutes", PF_CONFIG_TIME, FIELD(pin.learning_window_min), IN_MINUTES,
	  RANGE(60000, 10080 * 60000.0), .initial = "30", .doc = "How far back slow heat remembers." },
	{ TUNING, "rebalancing_interval_minutes", PF_CONFIG_TIME, FIELD(pin.rebalance_interval_min), IN_MINUTES,
	  RANGE(60000, 10080 * 60000.0), .initial = "10", .doc = "How often placement on nodes is looked at." },
	{ TUNING, "tick_ms", PF_CONFIG_TIME, FIELD(pin.tick_ms), IN_MS, RANGE(10, 60000), .initial = "500",
	  .doc = "Period of the controller." },

	/* ---- what the RFC's examples have besides ---- */
	{ "server", "persistence_backend", PF_CONFIG_CHOICE, .choices = "memory_mapped", .initial = "memory_mapped",
	  .doc = "How data is kept." },
	{ "server", "bind_address", PF_CONFIG_TEXT, .initial = "", .doc = "Address that the daemon listens on." },
	{ "server", "node_id", PF_CONFIG_TEXT, .initial = "", .doc = "This node's name in a cluster." },
	{ "server", "cluster_discovery", PF_CONFIG_CHOICE, .choices = "none|consul|etcd|kubernetes", .initial = "none",
	  .doc = "How nodes find each other." },
	{ "cluster", "discovery_endpoints", PF_CONFIG_LIST, .initial = "", .doc = "Where nodes find each other." },
	{ "cluster", "expected_nodes", PF_CONFIG_COUNT, RANGE(1, 10000), .initial = "1",
	  .doc = "Nodes of the cluster." },
	{ "cluster.vm", "max_map_count", PF_CONFIG_COUNT, RANGE(65530, 2147483647), .initial = "65530",
	  .doc = "The system's limit of mappings per process." },
	{ "cluster.vm", "nr_hugepages", PF_CONFIG_COUNT, RANGE(0, 1u << 24), .initial = "0",
	  .doc = "Huge pages that the system reserves." },
	{ "memory", "page_cache_limit_gb", PF_CONFIG_SIZE, IN_GIB, RANGE(GIB, 64 * TIB), .zero = "none",
	  .initial = "none", .doc = "Page cache that the store may use." },
	{ "memory", "memory_pressure_threshold", PF_CONFIG_RATIO, RANGE(0.01, 1), .initial = "0.85",
	  .doc = "Use of memory above which the node sheds load." },
};

const size_t pf_config_key_count = sizeof(pf_config_keys) / sizeof(pf_config_keys[0]);
