// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files that are no TOML in places: the key, its value as it is written, what is to be done; and what stands around it
 * is read.
 */
#include "fixture.h"

#define PROBLEMS_MAX 6

struct wrong {
	const char *text;
	const char *problems[PROBLEMS_MAX]; /* their beginnings, all of them */
};

static void check_cases(struct __test_metadata *_metadata, const struct wrong *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct pf_config *config;
		size_t wanted = 0;
		int r;

		ASSERT_EQ(0, pf_config_new(&config));
		r = read_text(config, cases[i].text);
		EXPECT_EQ(-EINVAL, r) TH_LOG("%s", cases[i].text);
		pf_config_check(config);
		for (; wanted < PROBLEMS_MAX && cases[i].problems[wanted]; wanted++) {
			const char *beginning = cases[i].problems[wanted];

			EXPECT_EQ(0, strncmp(problem(config, wanted), beginning, strlen(beginning)))
			TH_LOG("%s\n# said:   %s\n# wanted: %s", cases[i].text, problem(config, wanted), beginning);
		}
		EXPECT_EQ(wanted, problem_count(config))
		TH_LOG("%s\n# also said: %s", cases[i].text, problem(config, wanted));
		pf_config_free(config);
	}
}

/* What each word of a value would be in TOML. */
TEST(a_value_is_named_with_its_key_and_mended)
{
	static const struct wrong cases[] = {
		{ "[mmap]\nfile_size_gb = 64GB\n",
		  { "f.toml:2:16: mmap.file_size_gb is 64GB: a text needs quotes: file_size_gb = \"64GB\"; allowed: 1 "
		    "GiB to 16 TiB, in whole GiB, as a number of GiB or with a unit, such as \"64GB\"" } },
		{ "[mmap]\nsync_mode = sync\n",
		  { "f.toml:2:13: mmap.sync_mode is sync: a text needs quotes: sync_mode = \"sync\"; allowed: "
		    "\"sync\", "
		    "\"async\" or \"none\"" } },
		{ "[mmap]\n  sync_mode = fast # as it was\n",
		  { "f.toml:2:15: mmap.sync_mode is fast: a text needs quotes; allowed: \"sync\"" } },
		{ "[mmap]\nprefault_pages = yes\n",
		  { "f.toml:2:18: mmap.prefault_pages is yes: write prefault_pages = true; allowed: true or false" } },
		{ "mmap.prefault_pages = False\n",
		  { "f.toml:1:23: mmap.prefault_pages is False: write mmap.prefault_pages = false; allowed: true" } },
		{ "[mmap]\r\ndata_dir = /srv/d\u00e4ta\r\n",
		  { "f.toml:2:12: mmap.data_dir is /srv/d\u00e4ta: a text needs quotes: data_dir = \"/srv/d\u00e4ta\"; "
		    "allowed: a text" } },
		{ "[mmap]\ndata_dir = \"/srv\n",
		  { "f.toml:2:12: mmap.data_dir is \"/srv: the closing quote is missing; allowed: a text" } },
		{ "[mmap]\ndata_dir = '/srv\"\n", { "f.toml:2:12: mmap.data_dir is '/srv\": the closing quote is" } },
		{ "[mmap]\ndata_dir = \"a\\q\"\n",
		  { "f.toml:2:15: mmap.data_dir is \"a\\q\": unknown escape sequence '\\q'; allowed: a text" } },
		{ "[mmap]\nfile_size_gb = 12Q\n",
		  { "f.toml:2:18: mmap.file_size_gb is 12Q: expected digit, saw 'Q'; allowed: 1 GiB to" } },
		{ "[mmap]\nfile_size_gb =\n", { "f.toml:2:1: mmap.file_size_gb has no value; allowed: 1 GiB to" } },
		{ "[mmap]\nfile_size_gb: 64\n",
		  { "f.toml:2:1: file_size_gb: 64 has no \"=\"; allowed: [SECTION], KEY = VALUE and # COMMENT" } },
		{ "[pin_management.global_budget]\nmax_pinned_percentage = 40%\n",
		  { "f.toml:2:25: pin_management.global_budget.max_pinned_percentage is 40%: a text needs quotes: "
		    "max_pinned_percentage = \"40%\"; allowed: 1 to 100" } },
		{ "[numa]\nnodes = 0, 1\n",
		  { "f.toml:2:9: numa.nodes is 0, 1: a list needs brackets: nodes = [0, 1]; allowed: a list of" } },
		{ "[cluster]\ndiscovery_endpoints = [a:1, b:2]\n",
		  { "f.toml:2:23: cluster.discovery_endpoints is [a:1, b:2]: texts need quotes: discovery_endpoints = "
		    "[\"a:1\", \"b:2\"]; allowed: a list of" } },
		{ "profile = production\n",
		  { "f.toml:1:11: profile is production: a text needs quotes: profile = \"production\"; allowed: "
		    "\"development\", \"single-node\", " } },
		{ "[mmap]\nsync_mode = \"sync\"\nsync_mode = \"async\"\n",
		  { "f.toml:3:13: mmap.sync_mode is \"async\": it is set in line 2 already; allowed: \"sync\"" } },
		{ "mmap = { sync_mode = sync }\n",
		  { "f.toml:1:22: mmap is { sync_mode = sync }: this is no value; allowed: a section, [mmap]" } },
		{ "a = \xff\n",
		  { "f.toml:1:1: unknown key \"a\": ", "f.toml:1:4: a is \xff: Encountered invalid utf-8 sequence" } },
		{ "[mmap]\nsync_mod = sync\n",
		  { "f.toml:2:1: unknown key \"mmap.sync_mod\": did you mean \"mmap.sync_mode\"?",
		    "f.toml:2:12: mmap.sync_mod is sync: a text needs quotes: sync_mod = \"sync\"" } },
		{ "# \xff\n[mmap]\nio_queue_depth = 0\n",
		  { "f.toml:1:2: Encountered invalid utf-8 sequence", "f.toml:3:18: mmap.io_queue_depth is 0;" } },
		{ "sync_mode\n",
		  { "f.toml:1:1: sync_mode has no \"=\"", "f.toml:1:1: unknown key \"sync_mode\": did" } },
	};

	check_cases(_metadata, cases, sizeof(cases) / sizeof(cases[0]));
}

/* Errors of syntax, values, names and contradictions are all said, and nothing that follows from them. */
TEST(what_stands_around_it_is_read)
{
	static const struct wrong cases[] = {
		{ "[mmap]\nsync_mode = sync\nprefault_pages = yes\nio_queue_depth = 0\nfile_sze_gb = 3\n"
		  "[performance_monitoring.adaptive_thresholds]\npin_heat_threshold = 0.95\n",
		  { "f.toml:2:13: mmap.sync_mode is sync:", "f.toml:3:18: mmap.prefault_pages is yes:",
		    "f.toml:4:18: mmap.io_queue_depth is 0;", "f.toml:5:1: unknown key \"mmap.file_sze_gb\"",
		    "f.toml:7:22: performance_monitoring.adaptive_thresholds.pin_heat_threshold is 0.95, and" } },
		/* what is in doubt contradicts nothing */
		{ "[mmap]\nfile_size_gb = 64GB\nmax_mapped_size_gb = 10\n",
		  { "f.toml:2:16: mmap.file_size_gb is 64GB: a text" } },
		{ "profile = prod\n[mmap]\nmax_mapped_size_gb = 10\n",
		  { "f.toml:1:11: profile is prod: a text needs quotes: profile = \"prod\"; allowed: \"dev" } },
		/* several lines */
		{ "[numa]\nnodes = [0,\n  1Q,\n  2]\nenabled = 3\n",
		  { "f.toml:3:4: numa.nodes is [0, ...: expected digit, saw 'Q'; allowed: a list of",
		    "f.toml:5:11: numa.enabled is 3;" } },
		{ "[numa]\nnodes = [0, # ] not yet\nenabled = 3\n[mmap]\nsync_mode = 3\n",
		  { "f.toml:2:9: numa.nodes is [0,: it is not closed; allowed: a list of",
		    "f.toml:3:11: numa.enabled is 3;", "f.toml:5:13: mmap.sync_mode is 3;" } },
		{ "[cluster]\ndiscovery_endpoints = [\n  \"a\",\n[mmap]\nsync_mode = 3\n",
		  { "f.toml:2:23: cluster.discovery_endpoints is [ ...: it is not closed; allowed: a list of",
		    "f.toml:5:13: mmap.sync_mode is 3;" } },
		{ "[cluster]\ndiscovery_endpoints = [\"a = [\", '''\nb = 1\n''', 'c']\nexpected_nodes = 0\n",
		  { "f.toml:5:18: cluster.expected_nodes is 0;" } },
		/* nothing is known of what follows */
		{ "[mmap]\nio_queue_depth = 0\ndata_dir = \"\"\"/srv\nsync_mode = 3\n",
		  { "f.toml:2:18: mmap.io_queue_depth is 0;",
		    "f.toml:3:12: mmap.data_dir is \"\"\"/srv ...: it is not closed; allowed: a text",
		    "f.toml:4:1: what follows was not read" } },
		/* headers */
		{ "[mmap\nsync_mode = \"fast\"\n[numa]\nenabled = 3\n",
		  { "f.toml:1:6: [mmap: expected ']', saw '\\n'; this section was not read",
		    "f.toml:4:11: numa.enabled is 3;" } },
		{ "[\n", { "f.toml:1:2: [: expected bare key starting character" } },
		{ "[[ =\n", { "f.toml:1:4: [[ =: expected bare key starting character" } },
		{ "[mmap]\nio_queue_depth = 0\n[numa]\n[mmap]\nsync_mode = fast\nprefault_pages = 3\n[numa]\nenabled = "
		  "3\n",
		  { "f.toml:2:18: mmap.io_queue_depth is 0;",
		    "f.toml:4:1: [mmap]: this section begins in line 1 already",
		    "f.toml:5:13: mmap.sync_mode is fast:", "f.toml:6:18: mmap.prefault_pages is 3;",
		    "f.toml:7:1: [numa]: this section begins in line 3 already", "f.toml:8:11: numa.enabled is 3;" } },
	};

	check_cases(_metadata, cases, sizeof(cases) / sizeof(cases[0]));
}

TEST_F(config, what_is_sound_beside_it_is_taken)
{
	EXPECT_EQ(-EINVAL,
		  read_text(self->config, "[mmap]\nio_queue_depth = 7\nsync_mode = fast\nprefault_pages = true\n"));
	EXPECT_TRUE(is_value(self->config, "mmap.io_queue_depth", "7"));
	EXPECT_TRUE(is_value(self->config, "mmap.sync_mode", "\"sync\""));
	EXPECT_TRUE(is_value(self->config, "mmap.prefault_pages", "true"));
}

TEST_F(config, many_mistakes_end)
{
	char text[16384] = "";

	for (int i = 0; i < 300; i++)
		sprintf(text + strlen(text), "mmap.sync_mode = fast\n");
	EXPECT_EQ(-EINVAL, read_text(self->config, text));
	EXPECT_EQ(33, problem_count(self->config));
	EXPECT_EQ(0, strcmp("f.toml:33:1: what follows was not read", problem(self->config, 32)))
	TH_LOG("%s", problem(self->config, 32));
}

TEST_HARNESS_MAIN
