// SPDX-License-Identifier: GPL-2.0-only
/* Records out of CSV, JSON lines and Debian control stanzas. */
#include "kselftest_harness.h"
#include "records.h"

#include <errno.h>

struct expected {
	const char *key, *value;
};

static FILE *stream_of(const char *text)
{
	return fmemopen((void *)text, strlen(text), "r");
}

/* All of @text as @count records, and then the end. */
static void expect_records(struct __test_metadata *_metadata, const char *text, enum records_format format,
			   const char *key, const struct expected *expected, size_t count)
{
	struct records records;
	FILE *stream = stream_of(text);

	ASSERT_EQ(0, records_open(&records, stream, format, key)) TH_LOG("%s", records.error);
	for (size_t i = 0; i < count; i++) {
		ASSERT_EQ(1, records_next(&records)) TH_LOG("record %zu: %s", i, records.error);
		EXPECT_EQ(strlen(expected[i].key), records.key.size);
		EXPECT_EQ(0, memcmp(expected[i].key, records.key.data, records.key.size));
		ASSERT_EQ(strlen(expected[i].value), records.value.size)
			TH_LOG("%.*s", (int)records.value.size, records.value.data);
		EXPECT_EQ(0, memcmp(expected[i].value, records.value.data, records.value.size));
	}
	EXPECT_EQ(0, records_next(&records));
	records_close(&records);
	fclose(stream);
}

/* The failure, as words; "" if there was none. */
static const char *failure_of(const char *text, enum records_format format, const char *key)
{
	static char error[256];
	struct records records;
	FILE *stream = stream_of(text);
	int r = records_open(&records, stream, format, key);

	while (!r && (r = records_next(&records)) == 1)
		r = 0;
	snprintf(error, sizeof(error), "%s", r < 0 ? records.error : "");
	records_close(&records);
	fclose(stream);
	return error;
}

TEST(a_csv_row_becomes_an_object_keyed_by_a_field)
{
	static const struct expected rows[] = {
		{"1", "{\"id\":\"1\",\"name\":\"plain\"}"},
		{"2", "{\"id\":\"2\",\"name\":\"a, \\\"b\\\"\\nc\"}"},
		{"3", "{\"id\":\"3\",\"name\":\"\"}"},
	};
	static const struct expected by_name[] = {{"plain", "{\"id\":\"1\",\"name\":\"plain\"}"}};

	expect_records(_metadata, "id,name\r\n1,plain\r\n\r\n2,\"a, \"\"b\"\"\nc\"\n3,", RECORDS_CSV, NULL, rows, 3);
	expect_records(_metadata, "\xef\xbb\xbfid,name\n1,plain\n", RECORDS_CSV, "name", by_name, 1);
}

TEST(broken_csv_names_its_line)
{
	EXPECT_STREQ("3:1: 1 fields, but the head line names 2", failure_of("a,b\n1,2\n3\n", RECORDS_CSV, NULL));
	EXPECT_STREQ("1:1: there is no field 'z' in the head line", failure_of("a,b\n1,2\n", RECORDS_CSV, "z"));
	EXPECT_STREQ("0:1: there is no head line that names the fields", failure_of("\0", RECORDS_CSV, NULL));
	EXPECT_STREQ("2:3: the quote that begins here is not closed",
		     failure_of("a,b\n1,\"x\n", RECORDS_CSV, NULL));
	EXPECT_STREQ("3:2: 'z' follows a closing quote: a comma must",
		     failure_of("a,b\n1,\"x\n\"z\n", RECORDS_CSV, NULL));
	EXPECT_NE(NULL, strstr(failure_of("a,b\n1,\"x\"y\n", RECORDS_CSV, NULL), "follows a closing quote"));
	EXPECT_STREQ("1:6: field 3 of the head line has the name of field 2: 'a'",
		     failure_of("id,a,a\n1,x,y\n", RECORDS_CSV, NULL));
	EXPECT_STREQ("1:5: field 3 of the head line has the name of field 2: ''",
		     failure_of("id,,\n1,x,y\n", RECORDS_CSV, NULL));
	EXPECT_STREQ("", failure_of("id,\n1,x\n", RECORDS_CSV, NULL));
	EXPECT_STREQ("2:3: field 'b' is not UTF-8", failure_of("a,b\n1,\xff\n", RECORDS_CSV, NULL));
}

TEST(a_json_line_is_kept_as_it_is)
{
	static const struct expected lines[] = {
		{"x", "{\"key\": \"x\",  \"n\": 1}"}, {"7", "{\"n\": [1, 2], \"key\": 7}"},
	};

	expect_records(_metadata, "{\"key\": \"x\",  \"n\": 1}\n\n{\"n\": [1, 2], \"key\": 7}", RECORDS_JSONL, NULL,
		       lines, 2);
	EXPECT_STREQ("2:1: there is no field 'id': the key must be a string or a whole number, from -2^63 to 2^63-1",
		     failure_of("{\"id\": 1}\n{\"x\": 1}\n", RECORDS_JSONL, "id"));
	EXPECT_STREQ("1:1: wrong type of field 'id': the key must be a string or a whole number, from -2^63 to 2^63-1",
		     failure_of("{\"id\": 1.5}\n", RECORDS_JSONL, "id"));
	EXPECT_NE(NULL, strstr(failure_of("{\"id\": 1\n", RECORDS_JSONL, "id"), "1:8: not JSON"));
}

TEST(numbers_of_any_size_are_kept)
{
	static const struct expected lines[] = {
		{ "1", "{\"key\": 1, \"n\": 18446744073709551615}" },
		{ "9223372036854775807",
		  "{\"n\": [-1e400, 1.5E+999, -99999999999999999999], \"key\": 9223372036854775807}" },
		{ "a \\\" 1e400", "{\"key\": \"a \\\\\\\" 1e400\", \"n\":1e400}" },
		{ "-9223372036854775808", "{\"key\":-9223372036854775808,\"n\":1e400,\"m\":0,\"o\":-0.0e-0}" },
	};

	for (size_t i = 0; i < 4; i++)
		expect_records(_metadata, lines[i].value, RECORDS_JSONL, NULL, &lines[i], 1);
	EXPECT_NE(NULL, strstr(failure_of("{\"key\": 9223372036854775808}\n", RECORDS_JSONL, NULL),
			       "wrong type of field 'key': the key must be a string or a whole number"));
	EXPECT_NE(NULL,
		  strstr(failure_of("{\"key\": 1, \"a\": 1e400, \"n\": 1e400x}\n", RECORDS_JSONL, NULL), "not JSON"));
	EXPECT_NE(NULL,
		  strstr(failure_of("{\"key\": 1, \"a\": 1e400, \"n\": 01e400}\n", RECORDS_JSONL, NULL), "not JSON"));
	EXPECT_NE(NULL,
		  strstr(failure_of("{\"key\": 1, \"a\": 1e400, \"n\": 1.e400}\n", RECORDS_JSONL, NULL), "not JSON"));
	EXPECT_NE(NULL, strstr(failure_of("{\"key\": 1, \"a\": 1e400, \"n\": -}\n", RECORDS_JSONL, NULL), "not JSON"));
	EXPECT_NE(NULL, strstr(failure_of("{\"key\": 1, \"a\": 1e400", RECORDS_JSONL, NULL), "not JSON"));
}

TEST(a_stanza_is_kept_whole)
{
	static const struct expected stanzas[] = {
		{"bash", "Package: bash\nVersion: 5\nDescription: a shell\n  of the kind\n .\n end\n"},
		{"zsh", "package:zsh\nVersion: 6\n"},
	};

	expect_records(_metadata,
		       "\n# a comment\nPackage: bash\nVersion: 5\nDescription: a shell\n  of the kind\n .\n end\n\n\n"
		       "package:zsh\nVersion: 6", RECORDS_DEB822, NULL, stanzas, 2);
}

TEST(broken_stanzas_name_their_line)
{
	EXPECT_STREQ("1:1: the stanza has no field 'Package'",
		     failure_of("A: 1\nB: 2\n\nPackage: x\n", RECORDS_DEB822, NULL));
	EXPECT_STREQ("2:1: 'no colon here' is no 'Field: value'",
		     failure_of("Package: x\nno colon here\n", RECORDS_DEB822, NULL));
	EXPECT_STREQ("1:1: a continuation line without a field before it", failure_of(" x\n", RECORDS_DEB822, NULL));
	EXPECT_STREQ("2:1: field 'Package' comes twice in one stanza",
		     failure_of("Package: x\nPackage: y\n", RECORDS_DEB822, NULL));
}

TEST(line_ends_within_quotes_are_kept)
{
	static const struct expected rows[] = {{"1", "{\"id\":\"1\",\"t\":\"a\\r\\nb\\nc\\r\"}"}};

	expect_records(_metadata, "id,t\r\n1,\"a\r\nb\nc\r\"\r\n", RECORDS_CSV, NULL, rows, 1);
}

TEST(escaped_records_are_read)
{
	static const struct expected records[] = {{"k\xff", "a\nb"}, {"\\", ""}};

	expect_records(_metadata, "$key,$value\n\\x6bff,\"a\nb\"\n\\,\n", RECORDS_CSV, NULL, records, 2);
	expect_records(_metadata, "{\"$key\": {\"hex\": \"6bff\"}, \"$value\": \"a\\nb\"}\n"
		       "{\"$value\": \"\", \"$key\": \"\\\\\"}\n", RECORDS_JSONL, NULL, records, 2);
	expect_records(_metadata, "Pinfold-Key: \\x6bff\nPinfold-Value: \\x610a62\n\n"
		       "Pinfold-Key: \\\nPinfold-Value:\n", RECORDS_DEB822, NULL, records, 2);
	EXPECT_NE(NULL, strstr(failure_of("$key,$value\na,\\x5\n", RECORDS_CSV, NULL), "2:3: what follows"));
	EXPECT_NE(NULL, strstr(failure_of("$key,$value\n\\x5g,b\n", RECORDS_CSV, NULL), "2:1: what follows"));
	EXPECT_NE(NULL, strstr(failure_of("{\"$key\": 1, \"$value\": \"\"}\n", RECORDS_JSONL, NULL),
			       "1:1: '$key' must be"));
	EXPECT_NE(NULL, strstr(failure_of("Pinfold-Key: \\x5\nPinfold-Value: x\n", RECORDS_DEB822, NULL),
			       "1:1: what follows"));
}

/* Lines of all sizes around the steps in which they are read, with NUL bytes and without, ended and not. */
TEST(a_line_of_any_size_is_read_whole)
{
	const size_t most = 2200;
	char *text = malloc(most + 1);

	ASSERT_NE(NULL, text);
	for (size_t i = 0; i < 4 * (most - 1); i++) {
		bool ended = i % 2, nul = i / 2 % 2;
		size_t size = i / 4 + 1, got = SIZE_MAX;
		struct records records = {.format = RECORDS_JSONL};

		memset(text, 'x', size);
		if (nul)
			text[size - 1] = text[size / 2] = 0;
		text[size] = '\n';
		records.stream = fmemopen(text, size + ended, "r");
		ASSERT_EQ(1, records_line(&records, &got));
		ASSERT_EQ(size, got) TH_LOG("ended %d, nul %d", ended, nul);
		EXPECT_EQ(0, memcmp(text, records.line, size));
		EXPECT_EQ(size + ended, records.offset);
		EXPECT_EQ(0, records_line(&records, &got));
		fclose(records.stream);
		records_close(&records);
	}
	free(text);
}

/* The hash of all lines of @text. */
static uint64_t hash_of(const char *text)
{
	FILE *stream = stream_of(text);
	struct records records;
	uint64_t hash;

	records_open(&records, stream, RECORDS_JSONL, NULL);
	records_skip(&records, UINT64_MAX);
	hash = records.hash;
	records_close(&records);
	fclose(stream);
	return hash;
}

TEST(any_byte_before_counts_in_the_hash)
{
	char text[] = "{\"key\": \"one\"}\n{\"key\": 2}\n\nlast, without its end";
	uint64_t hash = hash_of(text);

	EXPECT_EQ(hash, hash_of(text));
	EXPECT_NE(hash, hash_of("{\"key\": \"one\"}\n{\"key\": 2}\nlast, without its end"));
	EXPECT_NE(hash, hash_of("{\"key\": \"one\"}\n{\"key\": 2}\n\nlast, without its end\n"));
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		text[i] ^= 1;
		EXPECT_NE(hash, hash_of(text)) TH_LOG("byte %zu", i);
		text[i] ^= 1;
	}
}

/* Memory that was taken stays with the one whose line it was. */
TEST(a_line_longer_than_allowed_is_an_error_not_memory)
{
	size_t size = 8 * (size_t)RECORDS_LINE_MAX;
	char *text = malloc(size);
	struct records records;
	FILE *stream;

	ASSERT_NE(NULL, text);
	memset(text, 'x', size);
	memcpy(text, "Package: ", 9);
	stream = fmemopen(text, size, "r");
	ASSERT_EQ(0, records_open(&records, stream, RECORDS_DEB822, NULL));
	EXPECT_EQ(-EINVAL, records_next(&records));
	EXPECT_STREQ("1:1: the line is too long: at most 1048576 bytes are taken", records.error);
	EXPECT_LE(records.line_capacity, RECORDS_LINE_MAX + 2);
	records_close(&records);
	rewind(stream);
	for (size_t i = 63; i < size; i += 64)
		text[i] = '\n'; /* of one stanza, with lines that are not long */
	for (size_t i = 64; i < size; i += 64)
		text[i] = ' ';
	ASSERT_EQ(0, records_open(&records, stream, RECORDS_DEB822, NULL));
	EXPECT_EQ(1, records_next(&records));
	EXPECT_GT(records.value.size, RECORDS_LINE_MAX);
	EXPECT_LE(records.value.capacity, 2 * RECORDS_LINE_MAX);
	records_close(&records);
	fclose(stream);
	free(text);
}

TEST_HARNESS_MAIN
