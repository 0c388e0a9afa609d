// SPDX-License-Identifier: GPL-2.0-only
/* How places and objects are written on the command line. */
#include "kselftest_harness.h"
#include "names.h"

#include <errno.h>

TEST(places_have_a_file_an_offset_and_perhaps_a_length)
{
	static const struct {
		const char *text;
		uint32_t file;
		uint64_t offset, len;
	} cases[] = {
		{ "0:64M", 0, 64ull << 20, 0 },
		{ "3:0", 3, 0, 0 },
		{ "0:128M+2M", 0, 128ull << 20, 2ull << 20 },
		{ "1:0x200000", 1, 0x200000, 0 },
		{ "0:4096+0x1000", 0, 4096, 4096 },
		{ "4294967295:1G", UINT32_MAX, 1ull << 30, 0 },
	};
	const char *why;
	struct name name;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		ASSERT_EQ(0, name_parse(cases[i].text, &name, &why)) TH_LOG("%s: %s", cases[i].text, why);
		EXPECT_TRUE(name.is_extent);
		EXPECT_EQ(cases[i].file, name.file_id);
		EXPECT_EQ(cases[i].offset, name.offset);
		EXPECT_EQ(cases[i].len, name.len);
	}
}

TEST(broken_places_are_refused_with_a_reason)
{
	static const char *const bad[] = { "0:",
					   "0:x",
					   "0:64M+",
					   "0:64M+0",
					   "0:64M+1+1",
					   "4294967296:0",
					   "99999999999999999999:0",
					   "0:0x",
					   "0:1+18446744073709551615" };
	struct name name;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		const char *why = NULL;

		EXPECT_EQ(-EINVAL, name_parse(bad[i], &name, &why)) TH_LOG("%s", bad[i]);
		EXPECT_NE(NULL, why);
	}
}

TEST(objects_have_kinds_and_a_bare_name_is_a_blob)
{
	static const struct {
		const char *text, *printed;
		enum pinfold_object_kind kind;
		uint64_t a, b;
	} cases[] = {
		{ "rowgroup:3/17", "rowgroup:3/17", PINFOLD_OBJECT_ROWGROUP, 3, 17 },
		{ "graph:42", "graph:42", PINFOLD_OBJECT_GRAPH_PARTITION, 42, 0 },
		{ "vector:0", "vector:0", PINFOLD_OBJECT_VECTOR_LIST, 0, 0 },
		{ "time:7/1700000000", "time:7/1700000000", PINFOLD_OBJECT_TIME_BUCKET, 7, 1700000000 },
		{ "actor:1/18446744073709551615", "actor:1/18446744073709551615", PINFOLD_OBJECT_ACTOR_STATE, 1,
		  UINT64_MAX },
		{ "blob:a/b", "blob:a/b", PINFOLD_OBJECT_BLOB, 0, 0 },
		{ "a/b", "blob:a/b", PINFOLD_OBJECT_BLOB, 0, 0 },
		{ "a/b:c", "blob:a/b:c", PINFOLD_OBJECT_BLOB, 0, 0 },
		{ "blob:x:y", "blob:x:y", PINFOLD_OBJECT_BLOB, 0, 0 },
		{ "blob:0:64M", "blob:0:64M", PINFOLD_OBJECT_BLOB, 0, 0 },
	};
	char text[NAMES_TEXT_MAX];
	const char *why;
	struct name name;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		ASSERT_EQ(0, name_parse(cases[i].text, &name, &why)) TH_LOG("%s: %s", cases[i].text, why);
		EXPECT_FALSE(name.is_extent);
		EXPECT_EQ(cases[i].kind, name.object.kind);
		EXPECT_EQ(cases[i].a, name.object.a);
		EXPECT_EQ(cases[i].b, name.object.b);
		EXPECT_STREQ(cases[i].printed, name_object(&name.object, text));
	}
}

TEST(broken_objects_are_refused)
{
	static const char *const bad[] = { "",           "blob:",      "graph:",  "graph:x",     "graph:1/2",
					   "rowgroup:1", "rowgroup:/", "time:1/", "actor:1/2/3", "vector:-1",
					   "row-group:3/17", "x:y", ":y" };
	char longest[300];
	struct name name;
	const char *why;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		EXPECT_EQ(-EINVAL, name_parse(bad[i], &name, &why)) TH_LOG("%s", bad[i]);
	}
	memset(longest, 'a', sizeof(longest));
	longest[256] = 0;
	EXPECT_EQ(-EINVAL, name_parse(longest, &name, &why));
	longest[255] = 0;
	EXPECT_EQ(0, name_parse(longest, &name, &why));
}

TEST_HARNESS_MAIN
