// SPDX-License-Identifier: GPL-2.0-only
/*
 * Configuration: the table of keys, which layer counts, what the engine is told.
 */
#include "fixture.h"

/* ---- the table ---- */

TEST_F(config, built_in_values_are_what_the_engine_does_untold)
{
	struct pinfold_config told = filled(self->config), untold = { 0 }, a, b;

	EXPECT_EQ(0, pf_config_check(self->config));
	EXPECT_EQ(0, problem_count(self->config));
	EXPECT_TRUE(told.seal); /* of programs that end with their store, unlike the library's callers */
	told.seal = false;
	ASSERT_EQ(0, pf_config_complete(&told, &a));
	ASSERT_EQ(0, pf_config_complete(&untold, &b));
	b.size = a.size;
	EXPECT_EQ(0, memcmp(&a, &b, sizeof(a)));
}

TEST(names_are_unique_and_rows_are_whole)
{
	char path[PF_CONFIG_TEXT_MAX], variable[PF_CONFIG_TEXT_MAX], other[PF_CONFIG_TEXT_MAX];

	for (size_t i = 0; i < pf_config_key_count; i++) {
		const struct pf_config_key *key = &pf_config_keys[i];

		pf_config_path(key, path);
		EXPECT_EQ(key, pf_config_find(path)) TH_LOG("%s", path);
		EXPECT_LT(10, strlen(key->doc)) TH_LOG("%s", path);
		EXPECT_EQ('.', key->doc[strlen(key->doc) - 1]) TH_LOG("%s", path);
		EXPECT_TRUE(key->effective || !key->size) TH_LOG("%s", path);
		EXPECT_EQ(key->type == PF_CONFIG_CHOICE, key->choices != NULL) TH_LOG("%s", path);
		pf_config_variable(key, variable);
		EXPECT_NE(0, strcmp(variable, "PINFOLD_CONFIG"));
		EXPECT_NE(0, strcmp(variable, "PINFOLD_PROFILE"));
		for (size_t k = i + 1; k < pf_config_key_count; k++) {
			EXPECT_NE(0, strcmp(variable, pf_config_variable(&pf_config_keys[k], other)))
			TH_LOG("%s", path);
		}
		if (key->same) {
			const struct pf_config_key *same = pf_config_find(key->same);

			ASSERT_NE(NULL, same) TH_LOG("%s", path);
			EXPECT_EQ(0, strcmp(same->same, path));
			EXPECT_EQ(key->type, same->type);
			EXPECT_EQ(0, strcmp(key->initial, same->initial));
			EXPECT_EQ(key->effective, same->effective);
		}
	}
	EXPECT_EQ(NULL, pf_config_find("mmap"));
	EXPECT_EQ(NULL, pf_config_find("data_dir"));
	EXPECT_EQ(NULL, pf_config_find(""));
}

TEST_F(config, every_key_of_the_rfc_is_known)
{
	static const char *const paths[] = {
		"mmap.data_dir",
		"mmap.file_size_gb",
		"mmap.max_mapped_size_gb",
		"mmap.enable_huge_pages",
		"mmap.huge_page_size",
		"mmap.prefault_pages",
		"mmap.memory_advice",
		"mmap.numa_policy",
		"mmap.enable_io_uring",
		"mmap.io_queue_depth",
		"mmap.sync_mode",
		"mmap.replication_factor",
		"mmap.consistency_level",
		"huge_pages.enabled",
		"huge_pages.size",
		"huge_pages.defrag",
		"huge_pages.reserve_pages",
		"huge_pages.transparent_huge_pages",
		"huge_pages.explicit_1gb_pages",
		"huge_pages.explicit_2mb_pages",
		"huge_pages.allocation_strategy.large_sequential_scans",
		"huge_pages.allocation_strategy.btree_indices",
		"huge_pages.allocation_strategy.random_access_metadata",
		"numa.enabled",
		"numa.policy",
		"numa.cpu_affinity",
		"numa.memory_migration",
		"io_ring.enabled",
		"io_ring.sq_entries",
		"io_ring.cq_multiplier",
		"io_ring.polling_mode",
		"io_ring.sq_polling",
		"performance.worker_threads",
		"performance.enable_cpu_affinity",
		"performance.memory_prefetch",
		"performance.page_access_tracking",
		"performance.adaptive_readahead",
		"monitoring.enabled",
		"monitoring.page_fault_tracking",
		"monitoring.memory_usage_reporting",
		"monitoring.io_latency_histogram",
		"monitoring.numa_statistics",
		"monitoring.metrics_export_interval",
		"pin_management.global_budget.max_pinned_percentage",
		"pin_management.global_budget.numa_local_preference",
		"pin_management.global_budget.huge_page_allocation",
		"pin_management.priority_classes.tail_latency_critical.budget_share",
		"pin_management.priority_classes.tail_latency_critical.max_pin_time_ms",
		"pin_management.priority_classes.query_critical.budget_share",
		"pin_management.priority_classes.query_critical.max_pin_time_ms",
		"pin_management.priority_classes.background_optimization.budget_share",
		"pin_management.priority_classes.background_optimization.max_pin_time_ms",
		"numa_policies.hot_tables",
		"numa_policies.cold_indices",
		"numa_policies.shared_metadata",
		"numa_policies.migration_triggers.cpu_imbalance_threshold",
		"numa_policies.migration_triggers.memory_pressure_threshold",
		"numa_policies.migration_triggers.cross_numa_latency_penalty",
		"table_slicing.extent_size",
		"table_slicing.hot_column_extent_size",
		"table_slicing.rowgroup_size",
		"table_slicing.slicing_policies.by_access_pattern.hot_columns",
		"table_slicing.slicing_policies.by_access_pattern.cold_columns",
		"table_slicing.slicing_policies.by_query_selectivity.high_selectivity",
		"table_slicing.slicing_policies.by_query_selectivity.scan_heavy",
		"performance_monitoring.metrics.page_fault_rate",
		"performance_monitoring.metrics.cache_hit_ratio",
		"performance_monitoring.metrics.numa_locality_score",
		"performance_monitoring.metrics.huge_page_utilization",
		"performance_monitoring.metrics.pin_budget_pressure",
		"performance_monitoring.adaptive_thresholds.pin_pressure_threshold",
		"performance_monitoring.adaptive_thresholds.page_fault_spike_threshold",
		"performance_monitoring.adaptive_thresholds.numa_miss_threshold",
		"performance_monitoring.auto_tuning.enable_adaptive_pinning",
		"performance_monitoring.auto_tuning.learning_window_minutes",
		"performance_monitoring.auto_tuning.rebalancing_interval_minutes",
	};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		EXPECT_NE(NULL, pf_config_find(paths[i])) TH_LOG("%s", paths[i]);
	}
}

/* The smallest and the largest that a key allows is allowed by the engine too. */
TEST_F(config, what_is_allowed_the_engine_takes)
{
	struct pinfold_config fields, complete;

	for (size_t i = 0; i < pf_config_key_count; i++) {
		const struct pf_config_key *key = &pf_config_keys[i];

		for (int high = 0; high < 2; high++) {
			char assignment[2 * PF_CONFIG_TEXT_MAX], path[PF_CONFIG_TEXT_MAX];
			double value = high ? key->max : key->min;
			struct pf_config *config;
			const char *unit = "";

			if (!key->size || key->choices || key->type == PF_CONFIG_BOOL)
				continue;
			if (key->type == PF_CONFIG_SIZE)
				unit = "b";
			if (key->type == PF_CONFIG_TIME)
				unit = "ms";
			ASSERT_EQ(0, pf_config_new(&config));
			snprintf(assignment, sizeof(assignment), "%s=%.*f%s", pf_config_path(key, path),
				 key->type == PF_CONFIG_RATIO ? 2 : 0, value, unit);
			ASSERT_EQ(0, pf_config_set_assignment(config, assignment))
			TH_LOG("%s: %s", assignment, problem(config, 0));
			/* thresholds that must ascend, and shares, are moved out of each other's way */
			if (pf_config_check(config) == 0) {
				pf_config_fill(config, &fields);
				EXPECT_EQ(0, pf_config_complete(&fields, &complete))
				TH_LOG("%s: %s", assignment, pf_error_text());
			}
			pf_config_free(config);
		}
	}
}

/* ---- layers ---- */

static bool comes_from(struct pf_config *config, const char *path, const char *wanted)
{
	struct pf_config_origin origin;
	char words[PF_CONFIG_TEXT_MAX];

	pf_config_origin(config, pf_config_find(path), &origin);
	pf_config_origin_text(&origin, words);
	if (strcmp(words, wanted) != 0)
		fprintf(stderr, "# %s comes from %s, not %s\n", path, words, wanted);
	return strcmp(words, wanted) == 0;
}

TEST_F(config, higher_layers_win_whatever_the_order)
{
	char *const environment[] = { "HOME=/", "PINFOLD_MMAP_IO_QUEUE_DEPTH=3", "PINFOLD_MMAP_DATA_DIR=/env", NULL };

	EXPECT_TRUE(comes_from(self->config, "mmap.io_queue_depth", "built-in"));
	EXPECT_EQ(0, pf_config_set_assignment(self->config, "mmap.io_queue_depth=4"));
	EXPECT_EQ(0, pf_config_set_environment(self->config, environment));
	EXPECT_EQ(0,
		  read_text(self->config, "[mmap]\ndata_dir = \"/file\"\nio_queue_depth = 2\nsync_mode = \"async\"\n"));
	EXPECT_EQ(0, pf_config_set_profile(self->config, "ultra-dense"));
	EXPECT_TRUE(is_value(self->config, "mmap.io_queue_depth", "4"));
	EXPECT_TRUE(comes_from(self->config, "mmap.io_queue_depth", "--set mmap.io_queue_depth"));
	EXPECT_TRUE(is_value(self->config, "mmap.data_dir", "\"/env\""));
	EXPECT_TRUE(comes_from(self->config, "mmap.data_dir", "PINFOLD_MMAP_DATA_DIR"));
	EXPECT_TRUE(is_value(self->config, "mmap.sync_mode", "\"async\""));
	EXPECT_TRUE(comes_from(self->config, "mmap.sync_mode", "f.toml:4"));
	EXPECT_TRUE(is_value(self->config, "mmap.file_size_gb", "1024"));
	EXPECT_TRUE(comes_from(self->config, "mmap.file_size_gb", "profile ultra-dense"));
	EXPECT_TRUE(comes_from(self->config, "mmap.prefault_pages", "built-in"));
	EXPECT_EQ(0, problem_count(self->config));
	EXPECT_EQ(0, strcmp("/env", pf_config_string(self->config, "mmap.data_dir")));
}

TEST_F(config, two_names_are_one_setting_in_whatever_layer)
{
	EXPECT_EQ(0, read_text(self->config, "[mmap]\nenable_io_uring = true\nenable_huge_pages = false\n"));
	EXPECT_FALSE(filled(self->config).no_io_uring);
	EXPECT_TRUE(filled(self->config).no_huge_pages);
	EXPECT_EQ(0, pf_config_set_assignment(self->config, "io_ring.enabled=off"));
	EXPECT_EQ(0, pf_config_check(self->config));
	EXPECT_TRUE(filled(self->config).no_io_uring);
	EXPECT_TRUE(is_value(self->config, "mmap.enable_io_uring", "false"));
	EXPECT_TRUE(is_value(self->config, "huge_pages.enabled", "false"));
	/* the same value twice is no contradiction */
	EXPECT_EQ(0, pf_config_set_assignment(self->config, "mmap.enable_io_uring=false"));
	EXPECT_EQ(0, pf_config_check(self->config));
	EXPECT_EQ(0, pf_config_set_assignment(self->config, "mmap.enable_io_uring=true"));
	EXPECT_EQ(-EINVAL, pf_config_check(self->config));
}

TEST_F(config, words_of_the_environment_and_the_command_line)
{
	static const struct {
		const char *word, *problem;
	} cases[] = {
		{ "PINFOLD_MMAP_SYNC_MODE=fast",
		  "PINFOLD_MMAP_SYNC_MODE: mmap.sync_mode is \"fast\"; allowed: \"sync\", \"async\" or \"none\"" },
		{ "PINFOLD_MMAP_SYNC_MODE=", "PINFOLD_MMAP_SYNC_MODE: mmap.sync_mode is \"\"; allowed:" },
		{ "PINFOLD_MMAP_SYNCMODE=sync",
		  "PINFOLD_MMAP_SYNCMODE: unknown variable: did you mean \"PINFOLD_MMAP_SYNC_MODE\"?" },
		{ "PINFOLD_IO_RING_SQ_ENTRIS=3",
		  "PINFOLD_IO_RING_SQ_ENTRIS: unknown variable: did you mean \"PINFOLD_IO_RING_SQ_ENTRIES\"?" },
		{ "PINFOLD_NUMA_NODES=0,x", "PINFOLD_NUMA_NODES: numa.nodes is \"0,x\"; allowed: a list of" },
		{ "PINFOLD_NUMA_NODES=0,", "PINFOLD_NUMA_NODES: numa.nodes is \"0,\"; allowed: a list of" },
		{ "PINFOLD_MMAP_DATA_DIR=\xff", "PINFOLD_MMAP_DATA_DIR: mmap.data_dir is \"\xff\"; allowed: a text" },
		{ "PINFOLD_MMAP_DATA_DIR=\xc3", "PINFOLD_MMAP_DATA_DIR: mmap.data_dir is" },
		{ "PINFOLD_MMAP_DATA_DIR=\xed\xa0\x80", "PINFOLD_MMAP_DATA_DIR: mmap.data_dir is" },
		{ "mmap.sync_mode=fast", "--set mmap.sync_mode: mmap.sync_mode is \"fast\"; allowed:" },
		{ "mmap.sync_mod=fast", "--set: unknown key \"mmap.sync_mod\": did you mean \"mmap.sync_mode\"?" },
		{ "sync_mode", "--set: \"sync_mode\" is no assignment; allowed: SECTION.KEY=VALUE" },
	};
	char *const foreign[] = { "PINFOLD_SOURCE_ROOT=/x",
				  "PINFOLD_STORE=/x",
				  "PINFOLD_PORT=80",
				  "PINFOLD_CONFIG=x",
				  "PINFOLD_PROFILE=x",
				  "PINFOLD_SERVER_SERVICE_HOST=10.0.0.1",
				  "PINFOLD_",
				  "PINFOLD_NUMA_NODES= 1, 02 ",
				  NULL };

	EXPECT_EQ(0, pf_config_set_environment(self->config, foreign)) TH_LOG("%s", problem(self->config, 0));
	EXPECT_TRUE(is_value(self->config, "numa.nodes", "[1, 2]"));
	EXPECT_EQ(0, pf_config_set_environment(self->config, NULL));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *const environment[] = { (char *)cases[i].word, NULL };
		struct pf_config *config;

		ASSERT_EQ(0, pf_config_new(&config));
		EXPECT_EQ(-EINVAL, cases[i].word[0] == 'P' ? pf_config_set_environment(config, environment)
							   : pf_config_set_assignment(config, cases[i].word));
		EXPECT_EQ(1, problem_count(config));
		EXPECT_EQ(0, strncmp(problem(config, 0), cases[i].problem, strlen(cases[i].problem)))
		TH_LOG("said:   %s\n# wanted: %s", problem(config, 0), cases[i].problem);
		pf_config_free(config);
	}
}

TEST_F(config, profiles_are_sound_and_differ)
{
	struct pinfold_config complete, fields;
	const char *name;
	size_t count = 0;

	for (; (name = pf_config_profile_name(count)); count++) {
		struct pf_config *config;
		size_t different = 0;

		ASSERT_EQ(0, pf_config_new(&config));
		EXPECT_EQ(0, pf_config_set_profile(config, name)) TH_LOG("%s: %s", name, problem(config, 0));
		EXPECT_EQ(0, pf_config_check(config)) TH_LOG("%s: %s", name, problem(config, 0));
		pf_config_fill(config, &fields);
		EXPECT_EQ(0, pf_config_complete(&fields, &complete)) TH_LOG("%s: %s", name, pf_error_text());
		for (size_t i = 0; i < pf_config_key_count; i++)
			different += !pf_config_same(config, self->config, &pf_config_keys[i]);
		EXPECT_LT(2, different) TH_LOG("%s", name);
		EXPECT_NE(NULL, pf_config_profile_doc(count));
		pf_config_free(config);
	}
	EXPECT_EQ(4, count);
	EXPECT_EQ(-EINVAL, pf_config_set_profile(self->config, "staging"));
	EXPECT_EQ(0, read_text(self->config, "profile = \"single-node\"\n"));
	EXPECT_EQ(0, strcmp("single-node", pf_config_file_profile(self->config)));
}

TEST_F(config, files_are_read_or_said_to_be_unreadable)
{
	char path[4096], *big = calloc(1, PF_CONFIG_FILE_MAX + 10);
	const char *dir = getenv("TMPDIR");
	FILE *file;

	EXPECT_EQ(-ENOENT, pf_config_set_file(self->config, "/nowhere/f.toml"));
	EXPECT_EQ(0, strcmp("/nowhere/f.toml: cannot be read: No such file or directory", problem(self->config, 0)));
	EXPECT_EQ(-EISDIR, pf_config_set_file(self->config, "/"));
	snprintf(path, sizeof(path), "%s/pf-config-%d.toml", dir ? dir : "/var/tmp", (int)getpid());
	file = fopen(path, "w");
	ASSERT_NE(NULL, file);
	fputs("[mmap]\nio_queue_depth = 7\n", file);
	fclose(file);
	EXPECT_EQ(0, pf_config_set_file(self->config, path));
	EXPECT_TRUE(is_value(self->config, "mmap.io_queue_depth", "7"));
	file = fopen(path, "w");
	ASSERT_NE(NULL, file);
	memset(big, '#', PF_CONFIG_FILE_MAX + 1);
	fwrite(big, 1, PF_CONFIG_FILE_MAX + 1, file);
	fclose(file);
	EXPECT_EQ(-EINVAL, pf_config_set_file(self->config, path));
	EXPECT_NE(NULL, strstr(problem(self->config, 2), "has more than 1048576 bytes"));
	EXPECT_TRUE(is_value(self->config, "mmap.io_queue_depth", "128")); /* of several files the last one counts */
	unlink(path);
	free(big);
}

/* ---- what the engine is told ---- */

TEST_F(config, the_engine_is_told)
{
	struct pinfold_config fields;

	ASSERT_EQ(
		0,
		read_text(
			self->config,
			"[mmap]\nfile_size_gb = 2\nmax_mapped_size_gb = 8\nenable_huge_pages = false\n"
			"prefault_pages = true\nmemory_advice = \"random\"\nio_queue_depth = 9\nsync_mode = \"none\"\n"
			"[store]\njournal_size = \"32MB\"\nflush_interval_ms = 20\npreallocate_files = true\n"
			"checksums = true\n[security]\nseal = false\nprotection_keys = true\n"
			"[numa]\nenabled = false\n[io_ring]\nsq_entries = 64\ncq_multiplier = 1.5\n"
			"polling_mode = \"hybrid\"\nsq_polling = true\nsq_idle_ms = 7\nenabled = false\n"
			"[performance]\nmemory_prefetch = false\npage_access_tracking = false\n"
			"adaptive_readahead = false\n[monitoring]\npage_fault_tracking = false\nsample_rate = 77\n"
			"[pin_management.global_budget]\nmax_pinned_percentage = 33\nmax_pinned = \"1GB\"\n"
			"huge_page_allocation = 22\n[pin_management.priority_classes.query_critical]\n"
			"budget_share = 11\nmax_pin_time_ms = \"12s\"\n[table_slicing]\nextent_size = \"32MB\"\n"
			"[numa_policies.migration_triggers]\nmemory_pressure_threshold = 0.77\n"
			"[performance_monitoring.adaptive_thresholds]\npin_pressure_threshold = 0.66\n"
			"page_fault_spike_threshold = 55\nnuma_miss_threshold = 0.44\npin_heat_threshold = 0.6\n"
			"tail_heat_threshold = 0.8\nunpin_heat_threshold = 0.4\n"
			"[performance_monitoring.auto_tuning]\nenable_adaptive_pinning = false\n"
			"learning_window_minutes = 5\nrebalancing_interval_minutes = \"2h\"\ntick_ms = 250\n"))
	TH_LOG("%s", problem(self->config, 0));
	ASSERT_EQ(0, pf_config_check(self->config));
	fields = filled(self->config);
	EXPECT_EQ(sizeof(fields), fields.size);
	EXPECT_EQ(0, fields.flags);
	EXPECT_EQ(2 * GIB, fields.file_size);
	EXPECT_EQ(8 * GIB, fields.max_mapped_size);
	EXPECT_TRUE(fields.no_huge_pages && fields.prefault && fields.preallocate_files && fields.checksums);
	EXPECT_TRUE(!fields.seal && fields.protection_keys && fields.no_migration && fields.no_io_uring);
	EXPECT_TRUE(fields.no_prefetch && fields.no_sampling && fields.no_adaptive_readahead);
	EXPECT_EQ(PINFOLD_ADVICE_RANDOM, fields.advice);
	EXPECT_EQ(PINFOLD_SYNC_NONE, fields.sync);
	EXPECT_EQ(PINFOLD_SOURCE_PROCFS, fields.source);
	EXPECT_EQ(9, fields.io_queue_depth);
	EXPECT_EQ(20, fields.flush_interval_ms);
	EXPECT_EQ(32ull << 20, fields.journal_size);
	EXPECT_EQ(32ull << 20, fields.extent_size);
	EXPECT_EQ(64, fields.ring.sq_entries);
	EXPECT_EQ(150, fields.ring.cq_percent);
	EXPECT_EQ(PINFOLD_POLLING_HYBRID, fields.ring.polling);
	EXPECT_TRUE(fields.ring.sq_polling);
	EXPECT_EQ(7, fields.ring.sq_idle_ms);
	EXPECT_EQ(33, fields.pin.max_pinned_percent);
	EXPECT_EQ(GIB, fields.pin.max_pinned_bytes);
	EXPECT_EQ(22, fields.pin.huge_percent);
	EXPECT_EQ(11, fields.pin.class_[PINFOLD_PRIORITY_QUERY_CRITICAL].budget_share_percent);
	EXPECT_EQ(12000, fields.pin.class_[PINFOLD_PRIORITY_QUERY_CRITICAL].max_pin_time_ms);
	EXPECT_EQ(50, fields.pin.class_[PINFOLD_PRIORITY_TAIL_LATENCY_CRITICAL].budget_share_percent);
	EXPECT_EQ(300000, fields.pin.class_[PINFOLD_PRIORITY_BACKGROUND].max_pin_time_ms);
	EXPECT_EQ(77, fields.pin.memory_pressure_percent);
	EXPECT_EQ(66, fields.pin.pressure_percent);
	EXPECT_EQ(55, fields.pin.fault_spike_per_s);
	EXPECT_EQ(44, fields.pin.numa_miss_percent);
	EXPECT_EQ(60, fields.pin.pin_heat_percent);
	EXPECT_EQ(80, fields.pin.tail_heat_percent);
	EXPECT_EQ(40, fields.pin.unpin_heat_percent);
	EXPECT_TRUE(fields.pin.adaptive_off);
	EXPECT_EQ(5, fields.pin.learning_window_min);
	EXPECT_EQ(120, fields.pin.rebalance_interval_min);
	EXPECT_EQ(250, fields.pin.tick_ms);
	EXPECT_EQ(77, fields.pin.sample_rate_per_s);
}

TEST_F(config, what_is_not_effective_is_known)
{
	EXPECT_TRUE(pf_config_is_effective(self->config, pf_config_find("huge_pages.size")));
	EXPECT_FALSE(pf_config_is_effective(self->config, pf_config_find("numa.policy")));
	EXPECT_EQ(0, pf_config_set_assignment(self->config, "huge_pages.size=1GB"));
	EXPECT_FALSE(pf_config_is_effective(self->config, pf_config_find("huge_pages.size")));
	EXPECT_FALSE(pf_config_is_effective(self->config, pf_config_find("mmap.huge_page_size")));
	EXPECT_EQ(0, pf_config_set_assignment(self->config, "numa.memory_migration=disabled"));
	EXPECT_TRUE(pf_config_is_effective(self->config, pf_config_find("numa.memory_migration")));
	EXPECT_TRUE(filled(self->config).no_migration);
}

/* All keys as they are written come back as they were. */
TEST_F(config, what_is_written_reads_back)
{
	struct pf_config *again;

	for (size_t p = 0; pf_config_profile_name(p); p++) {
		char text[32768] = "", path[PF_CONFIG_TEXT_MAX];

		EXPECT_EQ(0, pf_config_set_profile(self->config, pf_config_profile_name(p)));
		for (size_t i = 0; i < pf_config_key_count; i++) {
			char *value = pf_config_value_text(self->config, &pf_config_keys[i]);

			sprintf(text + strlen(text), "%s = %s\n", pf_config_path(&pf_config_keys[i], path), value);
			free(value);
		}
		ASSERT_EQ(0, pf_config_new(&again));
		EXPECT_EQ(0, read_text(again, text)) TH_LOG("%s", problem(again, 0));
		EXPECT_EQ(0, pf_config_check(again)) TH_LOG("%s", problem(again, 0));
		for (size_t i = 0; i < pf_config_key_count; i++) {
			EXPECT_TRUE(pf_config_same(self->config, again, &pf_config_keys[i]))
			TH_LOG("%s", pf_config_path(&pf_config_keys[i], path));
		}
		pf_config_free(again);
	}
}

TEST_HARNESS_MAIN
