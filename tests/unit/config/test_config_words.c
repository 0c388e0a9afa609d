// SPDX-License-Identifier: GPL-2.0-only
/*
 * What errors, `config show --json` and the manual page say is allowed: each word of it is allowed.
 */
#include "fixture.h"

/* Whether the key of @path takes @size bytes at @value, as a file has them. */
static bool takes(const char *path, const char *value, size_t size)
{
	char text[2 * PF_CONFIG_TEXT_MAX];
	struct pf_config *config;
	bool taken;

	if (pf_config_new(&config))
		return false;
	snprintf(text, sizeof(text), "%s = %.*s\n", path, (int)size, value);
	taken = read_text(config, text) == 0;
	if (!taken)
		fprintf(stderr, "# %s\n", problem(config, 0));
	pf_config_free(config);
	return taken;
}

/* The next text or list in @at, quotes or brackets included. */
static const char *next_example(const char *at, size_t *ret_size)
{
	at = strpbrk(at, "\"[");
	if (at)
		*ret_size = (size_t)(strchr(at + 1, *at == '[' ? ']' : '"') - at) + 1;
	return at;
}

TEST(every_example_is_taken_by_its_key)
{
	char path[PF_CONFIG_TEXT_MAX], allowed[PF_CONFIG_TEXT_MAX];

	for (size_t i = 0; i < pf_config_key_count; i++) {
		const struct pf_config_key *key = &pf_config_keys[i];
		size_t count = 0, size = 0;

		pf_config_path(key, path);
		pf_config_allowed(key, allowed);
		for (const char *at = allowed; (at = next_example(at, &size)); at += size, count++) {
			EXPECT_TRUE(takes(path, at, size)) TH_LOG("%s; allowed: %s", path, allowed);
		}
		if (key->type == PF_CONFIG_SIZE || key->type == PF_CONFIG_TIME || key->type == PF_CONFIG_RATIO) {
			EXPECT_LT(0, count) TH_LOG("%s has no example: %s", path, allowed);
		}
		EXPECT_GT(PF_CONFIG_TEXT_MAX - 1, strlen(allowed)) TH_LOG("%s is cut", path);
	}
}

/* "2 MiB to 1 GiB": both ends are allowed as they are written. */
TEST(both_ends_of_every_range_are_taken_by_their_key)
{
	char path[PF_CONFIG_TEXT_MAX], allowed[PF_CONFIG_TEXT_MAX], value[PF_CONFIG_TEXT_MAX];
	size_t count = 0;

	for (size_t i = 0; i < pf_config_key_count; i++) {
		const struct pf_config_key *key = &pf_config_keys[i];
		const char *low, *to;

		pf_config_allowed(key, allowed);
		to = strstr(allowed, " to ");
		if (!to || key->type == PF_CONFIG_NODES)
			continue;
		count++;
		pf_config_path(key, path);
		low = strstr(allowed, "two, ") ? strstr(allowed, "two, ") + 5 : allowed;
		snprintf(value, sizeof(value), "\"%.*s\"", (int)(to - low), low);
		EXPECT_TRUE(takes(path, value, strlen(value))) TH_LOG("%s; allowed: %s", path, allowed);
		snprintf(value, sizeof(value), "\"%.*s\"", (int)strcspn(to + 4, ","), to + 4);
		EXPECT_TRUE(takes(path, value, strlen(value))) TH_LOG("%s; allowed: %s", path, allowed);
	}
	EXPECT_LT(30, count);
}

TEST_HARNESS_MAIN
