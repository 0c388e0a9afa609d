// SPDX-License-Identifier: GPL-2.0-only
/*
 * Policy is pure: its objects call nothing but memory, sorting, math and our error text, and hold no
 * variable of their own. Read from the symbol tables of the archive that was built.
 */
#include "kselftest_harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const allowed[] = {
	"calloc", "malloc", "free", "reallocarray", "memcpy", "memset", "memmove", "memcmp", "qsort",
	"sqrtf", "fminf", "fmaxf", "pf_error", "pf_assert_failed",
	"_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail", "__memcpy_chk", "__memset_chk", "_mcount", "mcount", "__fentry__",
};

static bool has_prefix(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

static bool is_instrumentation(const char *name)
{
	return has_prefix(name, "__asan_") || has_prefix(name, "__ubsan_") || has_prefix(name, "__tsan_") ||
	       has_prefix(name, "__gcov_") || has_prefix(name, "__sanitizer_") || has_prefix(name, "__llvm_") ||
	       has_prefix(name, "__profc_") || has_prefix(name, ".") || has_prefix(name, "LASAN") ||
	       has_prefix(name, "__odr_asan");
}

static bool is_allowed(const char *name)
{
	if (has_prefix(name, "pf_policy_") || has_prefix(name, "pf_state_") || has_prefix(name, "pf_spend_") ||
	    has_prefix(name, "pf_emit") || is_instrumentation(name))
		return true;
	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		if (!strcmp(name, allowed[i]))
			return true;
	return false;
}

FIXTURE(archive) {
	FILE *nm;
};

FIXTURE_SETUP(archive)
{
	const char *root = getenv("PINFOLD_BUILD_ROOT");
	char command[4300];

	self->nm = NULL;
	if (!root)
		SKIP(return, "PINFOLD_BUILD_ROOT is not set: the archive's place is unknown");
	if (system("command -v nm >/dev/null 2>&1"))
		SKIP(return, "no nm (package binutils)");
	snprintf(command, sizeof(command), "nm '%s/user/policy/libpf_policy.a'", root);
	self->nm = popen(command, "r");
	ASSERT_NE(NULL, self->nm);
}

FIXTURE_TEARDOWN(archive)
{
	if (self->nm)
		pclose(self->nm);
}

TEST_F(archive, calls_no_system_and_keeps_no_variable)
{
	unsigned int undefined = 0, text = 0;
	char line[1024], name[512], type;

	while (fgets(line, sizeof(line), self->nm)) {
		if (sscanf(line, " %c %511s", &type, name) == 2 && type == 'U') {
			undefined++;
			EXPECT_TRUE(is_allowed(name)) TH_LOG("policy calls %s", name);
		} else if (sscanf(line, "%*x %c %511s", &type, name) == 2) {
			text += type == 'T';
			EXPECT_TRUE(!strchr("DdBbC", type) || is_instrumentation(name))
				TH_LOG("policy has a variable, %s", name);
		}
	}
	/* The check itself saw something. */
	EXPECT_LE(10, undefined);
	EXPECT_LE(10, text);
	EXPECT_FALSE(is_allowed("mlock2"));
	EXPECT_FALSE(is_allowed("clock_gettime"));
}

TEST_HARNESS_MAIN
