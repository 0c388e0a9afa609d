// SPDX-License-Identifier: GPL-2.0-only
/* How people write sizes, times and counts, and how they read them. */
#include "kselftest_harness.h"
#include "config/suggest.h"
#include "config/units.h"

#include <errno.h>

TEST(sizes_are_powers_of_1024_however_they_are_written)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} cases[] = {
		{ "0", 0 },
		{ "4096", 4096 },
		{ "1k", 1024 },
		{ "64M", 64ull << 20 },
		{ "64MB", 64ull << 20 },
		{ "64MiB", 64ull << 20 },
		{ "64 mib", 64ull << 20 },
		{ "2G", 2ull << 30 },
		{ "1.5G", 3ull << 29 },
		{ "16T", 16ull << 40 },
		{ "12b", 12 },
		{ "18446744073709551615", UINT64_MAX },
		{ "9007199254740993", 9007199254740993ull },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint64_t bytes = 1;

		ASSERT_EQ(0, units_parse_size(cases[i].text, &bytes)) TH_LOG("%s", cases[i].text);
		ASSERT_EQ(cases[i].bytes, bytes) TH_LOG("%s", cases[i].text);
	}
}

TEST(what_is_no_size_is_refused_and_leaves_the_output_alone)
{
	static const char *const bad[] = {
		"", " ", "-1", "+1", "M", "12Q", "1.5", "1.", ".5G", "1e3", "0x10", "1.5b", "64M ", "64MM", "64 M B",
		"18446744073709551616", "16777216T", "inf", "nan", "99999999999999999999999999999999G",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		uint64_t bytes = 42;

		EXPECT_EQ(-EINVAL, units_parse_size(bad[i], &bytes))
		TH_LOG("'%s' became %llu", bad[i], (unsigned long long)bytes);
		EXPECT_EQ(42, bytes);
	}
}

TEST(durations_are_seconds_unless_they_say_otherwise)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} good[] = {
		{ "30", 30000 },    { "30s", 30000 },  { "1.5s", 1500 },   { "500ms", 500 }, { "2m", 120000 },
		{ "2min", 120000 }, { "1h", 3600000 }, { "1d", 86400000 }, { "0.25", 250 },
		{ "1.001s", 1001 }, { "0.1s", 100 },   { "2.0ms", 2 },     { "0.001", 1 },
	};
	static const char *const bad[] = { "",      "s",     "-1s",    "5y",     "1e3", "5 s s", "99999999999999999999",
					   "1.5ms", "0.5ms", "0.0001", "1.0001s" };
	uint64_t ms;

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		ASSERT_EQ(0, units_parse_duration(good[i].text, &ms)) TH_LOG("%s", good[i].text);
		ASSERT_EQ(good[i].ms, ms) TH_LOG("%s", good[i].text);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		EXPECT_EQ(-EINVAL, units_parse_duration(bad[i], &ms)) TH_LOG("'%s'", bad[i]);
	}
}

TEST(counts_are_plain_decimal)
{
	uint64_t n;

	ASSERT_EQ(0, units_parse_count("18446744073709551615", &n));
	EXPECT_EQ(UINT64_MAX, n);
	EXPECT_EQ(-EINVAL, units_parse_count("18446744073709551616", &n));
	EXPECT_EQ(-EINVAL, units_parse_count("", &n));
	EXPECT_EQ(-EINVAL, units_parse_count("12a", &n));
	EXPECT_EQ(-EINVAL, units_parse_count("-1", &n));
}

TEST(printed_sizes_are_short_and_places_exact)
{
	char buf[UNITS_TEXT_MAX];

	EXPECT_STREQ("0 B", units_size(0, buf));
	EXPECT_STREQ("1023 B", units_size(1023, buf));
	EXPECT_STREQ("1 KiB", units_size(1024, buf));
	EXPECT_STREQ("1.5 GiB", units_size(3ull << 29, buf));
	EXPECT_STREQ("64 MiB", units_size(64ull << 20, buf));
	EXPECT_STREQ("16 EiB", units_size(UINT64_MAX, buf));
	EXPECT_STREQ("64M", units_place(64ull << 20, buf));
	EXPECT_STREQ("4097", units_place(4097, buf));
	EXPECT_STREQ("0", units_place(0, buf));
	EXPECT_STREQ("1,234,567", units_count(1234567, buf));
	EXPECT_STREQ("999", units_count(999, buf));
}

TEST(printed_times_keep_three_digits)
{
	char buf[UNITS_TEXT_MAX];

	EXPECT_STREQ("0 ns", units_ns(0, buf));
	EXPECT_STREQ("999 ns", units_ns(999, buf));
	EXPECT_STREQ("1.00 us", units_ns(1000, buf));
	EXPECT_STREQ("12.3 us", units_ns(12345, buf));
	EXPECT_STREQ("3.20 ms", units_ns(3.2e6, buf));
	EXPECT_STREQ("100 ms", units_ns(99.96e6, buf));
	EXPECT_STREQ("1.50 s", units_ns(1.5e9, buf));
	EXPECT_STREQ("500 ms", units_ms(500, buf));
	EXPECT_STREQ("3.2 s", units_ms(3200, buf));
	EXPECT_STREQ("5 min", units_ms(300000, buf));
}

TEST(a_mistyped_command_has_a_nearest_one)
{
	static const char *const names[] = { "create",  "import",  "get", "put",  "del",
					     "heatmap", "explain", "pin", "unpin" };
	const size_t n = sizeof(names) / sizeof(*names);

	EXPECT_STREQ("create", suggest_nearest("craete", names, n));
	EXPECT_STREQ("heatmap", suggest_nearest("heatmpa", names, n));
	EXPECT_STREQ("heatmap", suggest_nearest("heat", names, n));
	EXPECT_STREQ("unpin", suggest_nearest("unpni", names, n));
	EXPECT_STREQ("pin", suggest_nearest("pinn", names, n));
	EXPECT_EQ(NULL, suggest_nearest("frobnicate", names, n));
	EXPECT_EQ(NULL, suggest_nearest("a-name-that-is-longer-than-any-command-ever-was", names, n));
}

TEST_HARNESS_MAIN
