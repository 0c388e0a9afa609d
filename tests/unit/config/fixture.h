/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * fixture.h - a configuration, texts for it, and what was wrong with them.
 */
#ifndef PF_TEST_CONFIG_FIXTURE_H
#define PF_TEST_CONFIG_FIXTURE_H

#include "kselftest_harness.h"

#include "base/error.h"
#include "config/config.h"
#include "store/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GIB (1ull << 30)

FIXTURE(config)
{
	struct pf_config *config;
};

FIXTURE_SETUP(config)
{
	ASSERT_EQ(0, pf_config_new(&self->config));
}

FIXTURE_TEARDOWN(config)
{
	pf_config_free(self->config);
}

static inline int read_text(struct pf_config *config, const char *text)
{
	return pf_config_set_text(config, "f.toml", text, strlen(text));
}

static inline struct pinfold_config filled(const struct pf_config *config)
{
	struct pinfold_config fields;

	pf_config_fill(config, &fields);
	return fields;
}

/* "f.toml:3:7: words" of problem @index, or "". */
static inline const char *problem(struct pf_config *config, size_t index)
{
	static char text[2048];
	size_t count;
	const struct pf_config_problem *problems = pf_config_problems(config, &count);

	text[0] = '\0';
	if (index < count && problems[index].line)
		snprintf(text, sizeof(text), "%s:%u:%u: %s", problems[index].where, problems[index].line,
			 problems[index].column, problems[index].text);
	else if (index < count)
		snprintf(text, sizeof(text), "%s: %s", problems[index].where, problems[index].text);
	return text;
}

static inline size_t problem_count(struct pf_config *config)
{
	size_t count;

	pf_config_problems(config, &count);
	return count;
}

static inline bool is_value(const struct pf_config *config, const char *path, const char *wanted)
{
	char *text = pf_config_value_text(config, pf_config_find(path));
	bool equal = strcmp(text, wanted) == 0;

	if (!equal)
		fprintf(stderr, "# %s is %s, not %s\n", path, text, wanted);
	free(text);
	return equal;
}

#endif
