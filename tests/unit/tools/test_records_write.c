// SPDX-License-Identifier: GPL-2.0-only
/* Records as text, and what is read of that: the same bytes, whatever they are. */
#include "kselftest_harness.h"
#include "records_write.h"

#include <errno.h>

struct bytes {
	const char *data;
	size_t size;
};
#define BYTES(text) {text, sizeof(text) - 1}
#define RECORD(key, value) {key, sizeof(key) - 1, value, sizeof(value) - 1}

/* What some format takes for something of its own. */
static const struct bytes odd[] = {
	BYTES("\\x"),
	BYTES("\\xzz"),
	BYTES("a,b"),
	BYTES("\""),
	BYTES("\r\n"),
	BYTES("\n"),
	BYTES("\r"),
	BYTES(" first"),
	BYTES("last "),
	BYTES("a\0b"),
	BYTES("\xff\xfe"),
	BYTES("{}"),
	BYTES("{\"key\":\"a\"}"),
	BYTES("$key"),
	BYTES("\xc3\xa4\xe2\x80\xa8"),
	BYTES("#c"),
	BYTES("\xef\xbb\xbfmark"),
	BYTES("Package: x\n"),
	BYTES("Package: #c\n"),
	BYTES("Package: #c\r\n"),
	BYTES("Package: #c\n\n"),
	BYTES("Package: #c\n# c\n"),
	BYTES(" x\nPackage: #c\n"),
	BYTES("Package: #c\nPackage: #c\n"),
	BYTES("{\"$key\":\"a\",\"$value\":\"b\"}"),
	BYTES("Pinfold-Key: a\nPinfold-Value: b\n"),
	BYTES("\x01\x02\x1b"),
	BYTES("{\"id\":\"#c\"}"),
	BYTES("{\"id\":\"#c\",\"n\":1}"),
	BYTES("{\"id\": \"#c\"}"),
	BYTES("{\"id\":\"#c\",\"id\":\"#c\"}"),
	BYTES("12"),
	BYTES("{\"key\":12}"),
	BYTES("{\"key\":12}\r"),
	BYTES("{\"key\":\"a\\u0000b\"}"),
	BYTES("\t"),
	BYTES(""),
};
#define ODD (sizeof(odd) / sizeof(*odd))

/* @records as text in @format; empty if the writer failed. */
static void text_of(struct __test_metadata *_metadata, const struct pinfold_record *records, size_t count,
		    enum records_format format, const char *key, struct records_text *out)
{
	struct records_writer writer;
	int r = 0;

	ASSERT_EQ(0, records_writer_open(&writer, format, key));
	for (size_t i = 0; i < count && r == 0; i++)
		r = records_writer_look(&writer, &records[i]);
	ASSERT_LE(0, r);
	ASSERT_EQ(0, records_writer_settle(&writer));
	ASSERT_EQ(0, records_writer_head(&writer, out));
	for (size_t i = 0; i < count; i++)
		ASSERT_EQ(0, records_writer_add(&writer, &records[i], out));
	records_writer_close(&writer);
}

static void expect_same(struct __test_metadata *_metadata, const struct pinfold_record *expected, size_t count,
			enum records_format format, const char *key)
{
	struct records_text text = {0};
	struct records records;
	FILE *stream;

	text_of(_metadata, expected, count, format, NULL, &text);
	stream = fmemopen(text.data, text.size, "r");
	ASSERT_NE(NULL, stream);
	ASSERT_EQ(0, records_open(&records, stream, format, key)) TH_LOG("%s", records.error);
	for (size_t i = 0; i < count; i++) {
		ASSERT_EQ(1, records_next(&records)) TH_LOG("record %zu: %s", i, records.error);
		ASSERT_EQ(expected[i].key_size, records.key.size) TH_LOG("key %zu", i);
		if (records.key.size)
			EXPECT_EQ(0, memcmp(expected[i].key, records.key.data, records.key.size)) TH_LOG("key %zu", i);
		ASSERT_EQ(expected[i].value_size, records.value.size) TH_LOG("value %zu", i);
		if (records.value.size)
			EXPECT_EQ(0, memcmp(expected[i].value, records.value.data, records.value.size))
			TH_LOG("value %zu", i);
	}
	EXPECT_EQ(0, records_next(&records)) TH_LOG("%s", records.error);
	records_close(&records);
	fclose(stream);
	free(text.data);
}

TEST(any_bytes_come_back)
{
	struct pinfold_record records[ODD * ODD];
	size_t count = 0;

	for (size_t i = 0; i < ODD; i++)
		for (size_t k = 0; k < ODD && odd[i].size; k++)
			records[count++] = (struct pinfold_record){odd[i].data, odd[i].size, odd[k].data, odd[k].size};
	for (int format = RECORDS_CSV; format <= RECORDS_DEB822; format++) {
		expect_same(_metadata, records, count, (enum records_format)format, NULL);
		for (size_t i = 0; i < count;
		     i++) { /* alone, each in the form that suits it; its key then has its name */
			struct records_text text = {0};
			struct records_writer writer;

			ASSERT_EQ(0, records_writer_open(&writer, (enum records_format)format, NULL));
			ASSERT_LE(0, records_writer_look(&writer, &records[i]));
			ASSERT_EQ(0, records_writer_settle(&writer));
			ASSERT_EQ(0, records_writer_add(&writer, &records[i], &text));
			expect_same(_metadata, &records[i], 1, (enum records_format)format, writer.key_field);
			records_writer_close(&writer);
			free(text.data);
		}
	}
}

TEST(what_was_imported_comes_out_as_it_was)
{
	static const char csv[] = "id,\"a,b\"\n1,\"x \"\"y\"\"\nz\"\n2,\n";
	static const char jsonl[] = "{\"n\": 1,  \"key\": \"x\"}\n{\"key\": \"y\"}\n";
	static const char deb[] = "Package: p\nDescription: d\n .\n  e\n\nPackage: q\nSource: q\n\n";
	static const struct pinfold_record rows[] = {RECORD("1", "{\"id\":\"1\",\"a,b\":\"x \\\"y\\\"\\nz\"}"),
						     RECORD("2", "{\"id\":\"2\",\"a,b\":\"\"}")};
	static const struct pinfold_record lines[] = {RECORD("x", "{\"n\": 1,  \"key\": \"x\"}"),
						      RECORD("y", "{\"key\": \"y\"}")};
	static const struct pinfold_record stanzas[] = {RECORD("p", "Package: p\nDescription: d\n .\n  e\n"),
							RECORD("q", "Package: q\nSource: q\n")};
	struct records_text text = {0};

	text_of(_metadata, rows, 2, RECORDS_CSV, NULL, &text);
	ASSERT_EQ(sizeof(csv) - 1, text.size) TH_LOG("%.*s", (int)text.size, text.data);
	EXPECT_EQ(0, memcmp(csv, text.data, text.size));
	text.size = 0;
	text_of(_metadata, lines, 2, RECORDS_JSONL, NULL, &text);
	ASSERT_EQ(sizeof(jsonl) - 1, text.size) TH_LOG("%.*s", (int)text.size, text.data);
	EXPECT_EQ(0, memcmp(jsonl, text.data, text.size));
	text.size = 0;
	text_of(_metadata, stanzas, 2, RECORDS_DEB822, NULL, &text);
	ASSERT_EQ(sizeof(deb) - 1, text.size) TH_LOG("%.*s", (int)text.size, text.data);
	EXPECT_EQ(0, memcmp(deb, text.data, text.size));
	free(text.data);
}

TEST(rows_that_differ_are_all_escaped)
{
	static const struct pinfold_record rows[] = {{"1", 1, "{\"id\":\"1\"}", 10}, {"2", 1, "{\"id\":\"3\"}", 10}};
	struct records_text text = {0};

	text_of(_metadata, rows, 2, RECORDS_CSV, NULL, &text);
	EXPECT_EQ(0, strncmp(text.data, "$key,$value\n1,\"{\"\"id\"\":\"\"1\"\"}\"\n", 31));
	free(text.data);
}

TEST(a_row_that_comes_late_and_does_not_fit_is_refused)
{
	static const struct pinfold_record row = {"1", 1, "{\"id\":\"1\"}", 10}, late = {"2", 1, "text", 4};
	struct records_writer writer, again;
	struct records_text text = {0};
	json_t *saved;

	ASSERT_EQ(0, records_writer_open(&writer, RECORDS_CSV, NULL));
	ASSERT_EQ(0, records_writer_look(&writer, &row));
	ASSERT_EQ(0, records_writer_settle(&writer));
	EXPECT_EQ(-EINVAL, records_writer_add(&writer, &late, &text));
	saved = records_writer_save(&writer);
	ASSERT_EQ(0, records_writer_open(&again, RECORDS_CSV, NULL));
	ASSERT_EQ(0, records_writer_restore(&again, saved));
	EXPECT_EQ(-EINVAL, records_writer_add(&again, &late, &text));
	EXPECT_EQ(0, text.size);
	EXPECT_EQ(0, records_writer_add(&again, &row, &text));
	EXPECT_EQ(2, text.size);
	records_writer_close(&again);
	ASSERT_EQ(0, records_writer_open(&again, RECORDS_JSONL, NULL));
	EXPECT_EQ(-EINVAL, records_writer_restore(&again, saved));
	records_writer_close(&again);
	records_writer_close(&writer);
	json_decref(saved);
	free(text.data);
}

TEST_HARNESS_MAIN
