// SPDX-License-Identifier: GPL-2.0-only
/*
 * Values and errors of configuration files: what is allowed, and the words and the place of what is not.
 */
#include "fixture.h"

/* ---- values ---- */

TEST_F(config, values_have_units)
{
	static const struct {
		const char *line, *path, *value;
	} cases[] = {
		{ "[mmap]\nfile_size_gb = 64\n", "mmap.file_size_gb", "64" },
		{ "[mmap]\nfile_size_gb = 1.0\n", "mmap.file_size_gb", "1" },
		{ "[mmap]\nfile_size_gb = \"64\"\n", "mmap.file_size_gb", "64" },
		{ "[mmap]\nfile_size_gb = \"2TB\"\n", "mmap.file_size_gb", "2048" },
		{ "[mmap]\nfile_size_gb = \"2 TiB\"\n", "mmap.file_size_gb", "2048" },
		{ "[mmap]\nfile_size_gb = \"2048MB\"\n", "mmap.file_size_gb", "2" },
		{ "[mmap]\nfile_size_gb = 16384\n", "mmap.file_size_gb", "16384" },
		{ "mmap.max_mapped_size_gb = \"auto\"\n", "mmap.max_mapped_size_gb", "\"auto\"" },
		{ "mmap = { sync_mode = \"async\" }\n", "mmap.sync_mode", "\"async\"" },
		{ "[table_slicing]\nextent_size = \"64MB\"\n", "table_slicing.extent_size", "\"64MiB\"" },
		{ "[table_slicing]\nextent_size = \"1G\"\n", "table_slicing.extent_size", "\"1GiB\"" },
		{ "[table_slicing]\nextent_size = 2097152\n", "table_slicing.extent_size", "\"2MiB\"" },
		{ "[table_slicing]\nextent_size = 0x400000\n", "table_slicing.extent_size", "\"4MiB\"" },
		{ "[store]\njournal_size = 16777217\n", "store.journal_size", "16777217" },
		{ "[store]\njournal_size = 0\n", "store.journal_size", "\"auto\"" },
		{ "[store]\nflush_interval_ms = 30\n", "store.flush_interval_ms", "30" },
		{ "[store]\nflush_interval_ms = \"500ms\"\n", "store.flush_interval_ms", "500" },
		{ "[store]\nflush_interval_ms = \"30s\"\n", "store.flush_interval_ms", "30000" },
		{ "[monitoring]\nmetrics_export_interval = 15\n", "monitoring.metrics_export_interval", "15" },
		{ "[monitoring]\nmetrics_export_interval = \"15s\"\n", "monitoring.metrics_export_interval", "15" },
		{ "[monitoring]\nmetrics_export_interval = \"1500ms\"\n", "monitoring.metrics_export_interval",
		  "\"1500ms\"" },
		{ "[monitoring]\nmetrics_export_interval = \"1h\"\n", "monitoring.metrics_export_interval", "3600" },
		{ "[table_slicing]\nrowgroup_size = \"1M\"\n", "table_slicing.rowgroup_size", "1000000" },
		{ "[table_slicing]\nrowgroup_size = \"1.5k\"\n", "table_slicing.rowgroup_size", "1500" },
		{ "[pin_management.global_budget]\nmax_pinned_percentage = \"80%\"\n",
		  "pin_management.global_budget.max_pinned_percentage", "80" },
		{ "[pin_management.global_budget]\nmax_pinned_percentage = 80\n",
		  "pin_management.global_budget.max_pinned_percentage", "80" },
		{ "[pin_management.global_budget]\nmax_pinned = \"none\"\n", "pin_management.global_budget.max_pinned",
		  "\"none\"" },
		{ "[pin_management.global_budget]\nmax_pinned = \"2GB\"\n", "pin_management.global_budget.max_pinned",
		  "\"2GiB\"" },
		{ "[numa_policies.migration_triggers]\nmemory_pressure_threshold = \"90%\"\n",
		  "numa_policies.migration_triggers.memory_pressure_threshold", "0.9" },
		{ "[numa_policies.migration_triggers]\nmemory_pressure_threshold = 1\n",
		  "numa_policies.migration_triggers.memory_pressure_threshold", "1.0" },
		{ "[io_ring]\ncq_multiplier = 4\n", "io_ring.cq_multiplier", "4.0" },
		{ "[io_ring]\ncq_multiplier = 1.5\n", "io_ring.cq_multiplier", "1.5" },
		{ "[huge_pages]\nsize = \"1GiB\"\n", "huge_pages.size", "\"1GB\"" },
		{ "[huge_pages.allocation_strategy]\nbtree_indices = \"4K\"\n",
		  "huge_pages.allocation_strategy.btree_indices", "\"4KB\"" },
		{ "[numa]\nnodes = [0, 3]\n", "numa.nodes", "[0, 3]" },
		{ "[cluster]\ndiscovery_endpoints = [\"a:1\", \"b \\\"q\\\"\"]\n", "cluster.discovery_endpoints",
		  "[\"a:1\", \"b \\\"q\\\"\"]" },
		{ "[cluster]\ndiscovery_endpoints = []\n", "cluster.discovery_endpoints", "[]" },
		{ "[mmap]\ndata_dir = \"/srv/d\\u00e4ta\\t\"\n", "mmap.data_dir", "\"/srv/d\u00e4ta\\u0009\"" },
		{ "[security]\nenable_aslr = true\n", "security.enable_aslr", "true" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pf_config *config;

		ASSERT_EQ(0, pf_config_new(&config));
		EXPECT_EQ(0, read_text(config, cases[i].line)) TH_LOG("%s -> %s", cases[i].line, problem(config, 0));
		EXPECT_TRUE(is_value(config, cases[i].path, cases[i].value)) TH_LOG("%s", cases[i].line);
		pf_config_free(config);
	}
}

/* Every message with its place. */
TEST_F(config, what_is_wrong_is_said_with_its_place)
{
	static const struct {
		const char *text, *problem;
	} cases[] = {
		{ "[mmap]\nsync_mode = \"fast\"\n",
		  "f.toml:2:13: mmap.sync_mode is \"fast\"; allowed: \"sync\", \"async\" or \"none\"" },
		{ "[mmap]\n\n  sync_mode = 3\n",
		  "f.toml:3:15: mmap.sync_mode is 3; allowed: \"sync\", \"async\" or \"none\"" },
		{ "[mmap]\nfile_size_gb = \"12Q\"\n", "f.toml:2:16: mmap.file_size_gb is \"12Q\"; allowed: 1 GiB to 16 "
						      "TiB, in whole GiB, as a number of GiB "
						      "or with a unit, such as \"64GB\"" },
		{ "[mmap]\nfile_size_gb = 0\n", "f.toml:2:16: mmap.file_size_gb is 0; allowed: 1 GiB to" },
		{ "[mmap]\nfile_size_gb = -5\n", "f.toml:2:16: mmap.file_size_gb is -5; allowed: 1 GiB to" },
		{ "[mmap]\nfile_size_gb = 1.5\n", "f.toml:2:16: mmap.file_size_gb is 1.5; allowed: 1 GiB to" },
		{ "[mmap]\nfile_size_gb = 50000\n",
		  "f.toml:2:16: mmap.file_size_gb is 50000; allowed: 1 GiB to 16 TiB" },
		{ "[mmap]\nfile_size_gb = 9223372036854775807\n",
		  "f.toml:2:16: mmap.file_size_gb is 9223372036854775807;" },
		{ "[mmap]\nfile_size_gb = 1e300\n", "f.toml:2:16: mmap.file_size_gb is 1e+300; allowed:" },
		{ "[mmap]\nfile_size_gb = nan\n", "f.toml:2:16: mmap.file_size_gb is nan; allowed:" },
		{ "[mmap]\nfile_size_gb = true\n", "f.toml:2:16: mmap.file_size_gb is true; allowed:" },
		{ "[mmap]\nfile_size_gb = [1]\n", "f.toml:2:16: mmap.file_size_gb is a list of 1; allowed:" },
		{ "[mmap]\nfile_size_gb = 2024-01-01\n", "f.toml:2:16: mmap.file_size_gb is a date or time; allowed:" },
		{ "[mmap.file_size_gb]\nx = 1\n", "f.toml:1:1: mmap.file_size_gb is a table; allowed:" },
		{ "[mmap]\nprefault_pages = \"yes\"\n",
		  "f.toml:2:18: mmap.prefault_pages is \"yes\"; allowed: true or false" },
		{ "[mmap]\nprefault_pages = 1\n", "f.toml:2:18: mmap.prefault_pages is 1; allowed: true or false" },
		{ "[security]\nenable_aslr = false\n", "f.toml:2:15: security.enable_aslr is false; allowed: true" },
		{ "[mmap]\ndata_dir = 3\n",
		  "f.toml:2:12: mmap.data_dir is 3; allowed: a text of at most 4095 bytes of UTF-8" },
		{ "[mmap]\ndata_dir = \"a\\u0000b\"\n", "f.toml:2:12: mmap.data_dir is \"a?b\"; allowed: a text" },
		{ "[table_slicing]\nextent_size = \"3MB\"\n", "f.toml:2:15: table_slicing.extent_size is \"3MB\"; "
							      "allowed: a power of two, 2 MiB to 1 GiB, as a number "
							      "of bytes or with a unit, such as \"64MB\"" },
		{ "[store]\njournal_size = \"1MB\"\n", "f.toml:2:16: store.journal_size is \"1MB\"; allowed: 16 MiB to "
						       "64 GiB, as a number of bytes or with a "
						       "unit, such as \"64GB\", or \"auto\"" },
		{ "[store]\nflush_interval_ms = \"2min\"\n", "f.toml:2:21: store.flush_interval_ms is \"2min\"; "
							     "allowed: 1 ms to 60.0 s, as a number of ms or with a "
							     "unit, such as \"30s\"" },
		{ "[store]\nflush_interval_ms = \"1.5ms\"\n",
		  "f.toml:2:21: store.flush_interval_ms is \"1.5ms\"; allowed:" },
		{ "[store]\nflush_interval_ms = 1.5\n", "f.toml:2:21: store.flush_interval_ms is 1.5; allowed:" },
		{ "[io_ring]\nsq_entries = 40000\n",
		  "f.toml:2:14: io_ring.sq_entries is 40000; allowed: 1 to 32768, a whole number" },
		{ "[io_ring]\nsq_entries = \"1MB\"\n",
		  "f.toml:2:14: io_ring.sq_entries is \"1MB\"; allowed: 1 to 32768" },
		{ "[io_ring]\ncq_multiplier = 0.5\n",
		  "f.toml:2:17: io_ring.cq_multiplier is 0.5; allowed: 1.0 to 16.0" },
		{ "[pin_management.global_budget]\nmax_pinned_percentage = \"140%\"\n",
		  "f.toml:2:25: pin_management.global_budget.max_pinned_percentage is \"140%\"; allowed: 1 to 100, in "
		  "whole percent" },
		{ "[pin_management.global_budget]\nmax_pinned_percentage = 40.5\n",
		  "f.toml:2:25: pin_management.global_budget.max_pinned_percentage is 40.5; allowed: 1 to 100" },
		{ "[numa_policies.migration_triggers]\ncpu_imbalance_threshold = 30\n",
		  "f.toml:2:27: numa_policies.migration_triggers.cpu_imbalance_threshold is 30; allowed: 0.0 to 1.0, "
		  "or "
		  "percent, such as \"85%\"" },
		{ "[numa]\nnodes = [0, \"1\"]\n", "f.toml:2:13: item 2 of numa.nodes is \"1\"; allowed: a list of at "
						  "most 256 whole numbers, 0 to 1023, such as [0, 1]" },
		{ "[numa]\nnodes = [-1]\n", "f.toml:2:10: item 1 of numa.nodes is -1; allowed:" },
		{ "[cluster]\ndiscovery_endpoints = [1]\n", "f.toml:2:24: item 1 of cluster.discovery_endpoints is 1; "
							    "allowed: a list of at most 256 texts, none of them empty, "
							    "such as [\"a\", \"b\"]" },
		{ "[cluster]\ndiscovery_endpoints = [\"a\", \"\"]\n",
		  "f.toml:2:29: item 2 of cluster.discovery_endpoints is \"\"; allowed: a list of" },
		{ "[cluster]\ndiscovery_endpoints = \"a\"\n",
		  "f.toml:2:23: cluster.discovery_endpoints is \"a\"; allowed:" },
		/* names */
		{ "[mmap]\nfile_sze_gb = 3\n",
		  "f.toml:2:1: unknown key \"mmap.file_sze_gb\": did you mean \"mmap.file_size_gb\"?" },
		{ "[mmap]\n  polling_mode = \"hybrid\"\n",
		  "f.toml:2:3: unknown key \"mmap.polling_mode\": did you mean \"io_ring.polling_mode\"?" },
		{ "[mmap]\nwhatever_this_is = 3\n",
		  "f.toml:2:1: unknown key \"mmap.whatever_this_is\": 'pinfold config show' lists them" },
		{ "[io_rng]\nenabled = true\n", "f.toml:1:2: unknown section \"io_rng\": did you mean \"io_ring\"?" },
		{ "[pin_managment.global_budget]\nmax_pinned = 3\n",
		  "f.toml:1:2: unknown section \"pin_managment\": did you mean \"pin_management\"?" },
		{ "[pin_management.global_buget]\n",
		  "f.toml:1:17: unknown section \"pin_management.global_buget\": did you mean "
		  "\"pin_management.global_budget\"?" },
		{ "file_size_gb = 3\n",
		  "f.toml:1:1: unknown key \"file_size_gb\": did you mean \"mmap.file_size_gb\"?" },
		{ "mmap = 3\n", "f.toml:1:8: mmap is 3; allowed: a section, [mmap]" },
		{ "[[mmap]]\n", "f.toml:1:1: mmap is a list of 1; allowed: a section, [mmap]" },
		{ "\"mmap.data_dir\" = \"x\"\n", "f.toml:1:1: unknown key \"\"mmap.data_dir\"\"" },
		{ "profile = \"prod\"\n",
		  "f.toml:1:11: profile is \"prod\"; allowed: \"development\", \"single-node\", \"production\", "
		  "\"ultra-dense\"" },
		/* contradictions */
		{ "[mmap]\nfile_size_gb = 100\nmax_mapped_size_gb = 50\n",
		  "f.toml:3:22: mmap.max_mapped_size_gb is 50, and mmap.file_size_gb is 100 (f.toml:2): a data file "
		  "must fit "
		  "into what may be mapped" },
		{ "[mmap]\nmax_mapped_size_gb = 10\n",
		  "f.toml:2:22: mmap.max_mapped_size_gb is 10, and mmap.file_size_gb is 32 (built-in): a data file" },
		{ "[mmap]\nenable_io_uring = true\n[io_ring]\nenabled = false\n",
		  "f.toml:4:11: io_ring.enabled and mmap.enable_io_uring (line 2) are one setting and differ; allowed: "
		  "one of "
		  "them, or the same value" },
		{ "[huge_pages]\nsize = \"1GB\"\n[mmap]\nhuge_page_size = \"2MB\"\n",
		  "f.toml:4:18: mmap.huge_page_size and huge_pages.size (line 2) are one setting and differ" },
		{ "[graph_slicing]\nmin_partition_size = \"256MB\"\n",
		  "f.toml:2:22: graph_slicing.min_partition_size is \"256MiB\", and graph_slicing.max_partition_size "
		  "is "
		  "\"128MiB\" (built-in): the smallest may not be above the largest" },
		{ "[table_slicing]\nextent_size = \"8MB\"\n", "f.toml:2:15: table_slicing.extent_size is \"8MiB\", and "
							      "table_slicing.hot_column_extent_size is \"16MiB\"" },
		{ "[table_slicing.slicing_policies.by_query_selectivity]\nscan_heavy = \"8MB\"\n",
		  "f.toml:2:14: table_slicing.slicing_policies.by_query_selectivity.scan_heavy is \"8MiB\", and" },
		{ "[performance_monitoring.adaptive_thresholds]\npin_heat_threshold = 0.95\n",
		  "f.toml:2:22: performance_monitoring.adaptive_thresholds.pin_heat_threshold is 0.95, and "
		  "performance_monitoring.adaptive_thresholds.tail_heat_threshold is 0.9 (built-in): the tail class" },
		{ "[performance_monitoring.adaptive_thresholds]\nunpin_heat_threshold = 0.8\n",
		  "f.toml:2:24: performance_monitoring.adaptive_thresholds.unpin_heat_threshold is 0.8, and" },
		{ "[pin_management.priority_classes.query_critical]\nbudget_share = 60\n",
		  "f.toml:2:16: the budget shares add up to 130 % (tail-latency-critical 50, query-critical 60, "
		  "background "
		  "20); allowed: at most 100" },
		{ "[table_slicing.slicing_policies.by_access_pattern]\nhot_columns = [\"a\", \"b\"]\ncold_columns = "
		  "[\"b\"]\n",
		  "f.toml:3:16: table_slicing.slicing_policies.by_access_pattern.cold_columns is [\"b\"], and "
		  "table_slicing.slicing_policies.by_access_pattern.hot_columns is [\"a\", \"b\"] (f.toml:2): \"b\" is "
		  "in "
		  "both" },
		{ "[monitoring]\nsource = \"bpf\"\npage_fault_tracking = false\n",
		  "f.toml:3:23: monitoring.page_fault_tracking is false, and monitoring.source is \"bpf\" (f.toml:2): "
		  "BPF" },
		{ "[monitoring]\nenabled = false\nsource = \"bpf\"\n",
		  "f.toml:3:10: monitoring.source is \"bpf\", and monitoring.enabled is false (f.toml:2): BPF counts "
		  "faults" },
		{ "[numa]\npolicy = \"bind\"\n", "f.toml:2:10: numa.policy is \"bind\", and numa.nodes is [] "
						 "(built-in): bind must know to which nodes" },
		{ "[mmap]\nnuma_policy = \"preferred\"\n", "f.toml:2:15: mmap.numa_policy is \"preferred\", and "
							   "numa.nodes is [] (built-in): preferred must know" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pf_config *config;
		int r;

		ASSERT_EQ(0, pf_config_new(&config));
		r = read_text(config, cases[i].text);
		if (r == 0)
			r = pf_config_check(config);
		EXPECT_EQ(-EINVAL, r) TH_LOG("%s", cases[i].text);
		EXPECT_EQ(1, problem_count(config)) TH_LOG("%s", cases[i].text);
		EXPECT_EQ(0, strncmp(problem(config, 0), cases[i].problem, strlen(cases[i].problem)))
		TH_LOG("said:   %s\n# wanted: %s", problem(config, 0), cases[i].problem);
		pf_config_free(config);
	}
}

TEST_F(config, all_problems_are_said_in_the_order_of_lines)
{
	EXPECT_EQ(-EINVAL, read_text(self->config, "[numa]\nenabled = 1\nzzzz = 1\n[mmap]\nsync_mode = \"x\"\n"
						   "prefault_pages = true\ndata_dir = 2\n"));
	ASSERT_EQ(4, problem_count(self->config));
	EXPECT_EQ(0, strncmp(problem(self->config, 0), "f.toml:2:11: ", 13));
	EXPECT_EQ(0, strncmp(problem(self->config, 1), "f.toml:3:1: ", 12));
	EXPECT_EQ(0, strncmp(problem(self->config, 2), "f.toml:5:13: ", 13));
	EXPECT_EQ(0, strncmp(problem(self->config, 3), "f.toml:7:12: ", 13));
	EXPECT_TRUE(is_value(self->config, "mmap.prefault_pages", "true")); /* what is sound is taken */
}

/* What contradicts is said beside what is not understood, but not of that. */
TEST_F(config, what_is_in_doubt_contradicts_nothing)
{
#define CLASS "pin_management.priority_classes."
#define HEAT "performance_monitoring.adaptive_thresholds."
	static const struct {
		const char *text;
		char *const environment[2];
		const char *assignment;
		size_t problems, contradictions;
	} cases[] = {
		{ HEAT "pin_heat_threshold = 0.95\nmmap.sync_mode = \"fast\"\n", { NULL }, NULL, 2, 1 },
		{ HEAT "pin_heat_threshold = 0.95\n" HEAT "tail_heat_threshold = 2\n", { NULL }, NULL, 1, 0 },
		{ HEAT "pin_heat_threshold = 0.95\n" HEAT "tail_heat_treshold = 1\n", { NULL }, NULL, 1, 0 },
		{ HEAT "pin_heat_threshold = 0.95\n" HEAT "of_the_tail = 1\n", { NULL }, NULL, 1, 0 },
		{ HEAT "pin_heat_threshold = 0.95\nmmap.tail = 1\n", { NULL }, NULL, 2, 1 },
		{ HEAT "pin_heat_threshold = 0.95\ntail = 1\n", { NULL }, NULL, 1, 0 },
		{ "mmap.max_mapped_size_gb = 10\nprofile = \"prod\"\n", { NULL }, NULL, 1, 0 },
		{ "mmap.max_mapped_size_gb = 10\nmmap.file_size_gb = 11\nprofile = \"prod\"\n", { NULL }, NULL, 2, 1 },
		{ HEAT "pin_heat_threshold = 0.95\nnuma = 3\n", { NULL }, NULL, 2, 1 },
		{ "performance_monitoring.adaptive_thresholds = 3\n", { NULL }, HEAT "pin_heat_threshold=0.95", 1, 0 },
		{ CLASS "query_critical.budget_share = 60\n" CLASS "background_optimization.budget_share = \"x\"\n",
		  { NULL }, NULL, 1, 0 },
		{ "numa.policy = \"bind\"\nnuma.nodes = [\"a\"]\n", { NULL }, NULL, 1, 0 },
		{ "mmap.enable_io_uring = true\nio_ring.enabled = 0\n", { NULL }, NULL, 1, 0 },
		{ "mmap.max_mapped_size_gb = 10\n", { "PINFOLD_MMAP_FILE_SIZE_GB=x" }, NULL, 1, 0 },
		{ "mmap.max_mapped_size_gb = 10\n", { "PINFOLD_MMAP_FILE_SIZEGB=1" }, NULL, 1, 0 },
		{ "mmap.max_mapped_size_gb = 10\n", { "PINFOLD_MMAP_SYNC_MODE=x" }, NULL, 2, 1 },
		{ "mmap.max_mapped_size_gb = 10\n", { NULL }, "mmap.file_size=1", 1, 0 },
		{ "mmap.max_mapped_size_gb = 10\n", { NULL }, "file_size_gb", 1, 0 },
		/* the lower layer is wrong, and does not count */
		{ "mmap.max_mapped_size_gb = \"x\"\n", { NULL }, "mmap.max_mapped_size_gb=10", 2, 1 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pf_config *config;
		size_t before;

		ASSERT_EQ(0, pf_config_new(&config));
		read_text(config, cases[i].text);
		pf_config_set_environment(config, cases[i].environment);
		if (cases[i].assignment)
			pf_config_set_assignment(config, cases[i].assignment);
		before = problem_count(config);
		EXPECT_EQ(cases[i].contradictions ? -EINVAL : 0, pf_config_check(config));
		EXPECT_EQ(cases[i].problems, problem_count(config)) TH_LOG("%s", cases[i].text);
		EXPECT_EQ(cases[i].contradictions, problem_count(config) - before)
		TH_LOG("%s: %s; %s", cases[i].text, problem(config, 0), problem(config, 1));
		pf_config_free(config);
	}
}

TEST_F(config, problems_of_a_file_stand_together)
{
	char *const environment[] = { "PINFOLD_MMAP_SYNC_MODE=x", NULL };

	EXPECT_EQ(-EINVAL, read_text(self->config, "mmap.max_mapped_size_gb = 10\nnuma.enabled = 3\n"));
	EXPECT_EQ(-EINVAL, pf_config_set_environment(self->config, environment));
	EXPECT_EQ(-EINVAL, pf_config_check(self->config));
	ASSERT_EQ(3, problem_count(self->config));
	EXPECT_EQ(0, strncmp(problem(self->config, 0), "f.toml:1:27: ", 13));
	EXPECT_EQ(0, strncmp(problem(self->config, 1), "f.toml:2:16: ", 13));
	EXPECT_EQ(0, strncmp(problem(self->config, 2), "PINFOLD_", 8));
}

TEST_F(config, many_problems_are_counted)
{
	char text[16384] = "[mmap]\n";

	for (int i = 0; i < 300; i++)
		sprintf(text + strlen(text), "zzz%03d = 1\n", i);
	EXPECT_EQ(-EINVAL, read_text(self->config, text));
	EXPECT_EQ(300, problem_count(self->config));
}

TEST_HARNESS_MAIN
