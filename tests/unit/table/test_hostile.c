// SPDX-License-Identifier: GPL-2.0-only
/* Lines and headers whose checksums are right and that lie: an error that names the place, and nothing worse. */
#include "fixture.h"

#include "store/table/lookup.h"

#include <fcntl.h>

#include "kselftest_harness.h"

#define KEYS 10u
#define VALUE_SIZE 24u

FIXTURE(hostile)
{
	struct env env;
	struct pf_table *t;
	char key[17]; /* whose line is forged */
	uint64_t hash, bucket, seed;
	uint64_t line_at, header_at; /* in the first data file */
	struct pf_line line;
	struct pf_table_header header;
	size_t size;
	char value[200];
};

typedef struct _test_data_hostile self_t;

static int file_open(self_t *self)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/data.000000", self->env.dir);
	return open(path, O_RDWR);
}

static int shut(self_t *self)
{
	int r = env_close(&self->env);

	self->env.store = NULL;
	self->env.config.flags = 0;
	return r;
}

/* Closes the store and reads what is to be forged. */
static int forge_begin(self_t *self)
{
	int r = shut(self), fd = file_open(self);

	if (r == 0 && (pread(fd, &self->line, sizeof(self->line), (off_t)self->line_at) != sizeof(self->line) ||
		       pread(fd, &self->header, sizeof(self->header), (off_t)self->header_at) != sizeof(self->header)))
		r = -EIO;
	close(fd);
	return r;
}

/* Writes it back, with checksums that are right, and opens the store again. */
static int forge_end(self_t *self)
{
	int fd = file_open(self), r = 0;

	self->line.crc = pf_line_crc(&self->line, self->seed, self->bucket);
	self->header.counts.crc = pf_table_counts_crc(&self->header.counts);
	self->header.crc = pf_table_header_crc(&self->header);
	if (pwrite(fd, &self->line, sizeof(self->line), (off_t)self->line_at) != sizeof(self->line) ||
	    pwrite(fd, &self->header, sizeof(self->header), (off_t)self->header_at) != sizeof(self->header))
		r = -EIO;
	close(fd);
	return r == 0 ? env_open(&self->env) : r;
}

static const char *key_of(uint32_t number, char *ret_key)
{
	snprintf(ret_key, 17, "%016u", number);
	return ret_key;
}

FIXTURE_SETUP(hostile)
{
	struct pinfold_extent root;

	ASSERT_EQ(0, env_begin(&self->env, PINFOLD_SYNC_NONE));
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", PINFOLD_TABLE_CREATE, &self->t));
	for (uint32_t i = 0; i < KEYS; i++)
		ASSERT_EQ(0, pf_table_put(self->t, key_of(i, self->key), 16, self->value, VALUE_SIZE));
	key_of(3, self->key);
	self->seed = self->t->seed;
	self->hash = pf_hash(self->key, 16, self->seed);
	self->bucket = pf_bucket_place(self->hash, self->t->header.counts.bucket_count);
	self->line_at = pf_bucket_loc(self->t, self->bucket);
	pf_store_root(self->env.store, &root);
	self->header_at = root.offset + (uint64_t)self->t->slot * PF_SLOT_SIZE;
}

FIXTURE_TEARDOWN(hostile)
{
	if (!self->env.store)
		ASSERT_EQ(0, env_open(&self->env));
	env_end(&self->env);
}

/* Nothing else suffers: other keys go in, and out. */
static int others_work(self_t *self)
{
	char key[17];
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < 3000; i++)
		r = pf_table_put(self->t, key_of(1000 + i, key), 16, self->value, VALUE_SIZE);
	for (uint32_t i = 0; r == 0 && i < 3000; i++)
		r = pf_table_delete(self->t, key_of(1000 + i, key), 16);
	return r;
}

TEST_F(hostile, a_slot_is_not_freed_twice)
{
	struct pinfold_change twice[2] = {{.key = self->key, .key_size = 16}, {.key = self->key, .key_size = 16}};
	pinfold_ticket ticket;

	ASSERT_EQ(0, forge_begin(self));
	ASSERT_EQ(0, self->line.entry[1]);
	self->line.entry[1] = self->line.entry[0];
	ASSERT_EQ(0, forge_end(self));
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", 0, &self->t));
	EXPECT_EQ(-EUCLEAN, pf_table_submit(self->t, twice, 2, &ticket));
	EXPECT_NE(NULL, strstr(pf_error_text(), "table t: two references lead to the slot at arena offset"));
	EXPECT_EQ(0, others_work(self)); /* nothing was freed: the set was rolled back */
	EXPECT_EQ(0, pf_table_get(self->t, self->key, 16, self->value, sizeof(self->value), &self->size));
	EXPECT_LT(0, env_verify(&self->env));
	EXPECT_EQ(0, pf_table_submit(self->t, twice, 1, &ticket));
	EXPECT_EQ(0, twice[0].result);
	EXPECT_EQ(-EUCLEAN, pf_table_submit(self->t, twice, 1, &ticket)); /* and not by a later set */
	EXPECT_NE(NULL, strstr(pf_error_text(), "is referred to but not allocated"));
	EXPECT_EQ(0, others_work(self));
}

/* Whatever has made a slab's count of free slots wrong. */
TEST_F(hostile, a_full_slab_that_seems_not_to_be_is_no_loop)
{
	const unsigned class = pf_class_of(pf_record_size(16, VALUE_SIZE));
	struct pf_slab *slab;
	char key[17];

	slab = self->t->partial[class];
	ASSERT_NE(NULL, slab);
	for (uint32_t i = 0; i < pf_slab_words(slab); i++)
		slab->busy[i] = pf_slab_mask(slab, i);
	EXPECT_EQ(-EUCLEAN, pf_table_put(self->t, key_of(1000, key), 16, self->value, VALUE_SIZE));
	EXPECT_NE(NULL, strstr(pf_error_text(), "has no free slot where"));
	EXPECT_EQ(0, others_work(self));
	EXPECT_EQ(0, env_verify(&self->env));
}

/* ---- locations that lead nowhere ---- */

static int iterate(struct pf_table *table)
{
	struct pinfold_record record;
	struct pf_cursor *cursor;
	int r = pf_cursor_open(table, &cursor);

	while (r == 0 && (r = pf_cursor_next(cursor, &record)) == 1)
		r = 0;
	pf_cursor_close(cursor);
	return r;
}

/* Everything that follows the forged line, in a store that is open to write, and in one that is not. */
static void line_tried(struct __test_metadata *_metadata, self_t *self, const char *words)
{
	struct pinfold_change change = {
		.key = self->key, .key_size = 16, .value = self->value, .value_size = VALUE_SIZE
	};
	struct pinfold_get get = {self->key, 16, self->value, sizeof(self->value), 0, 1};
	pinfold_ticket ticket;

	ASSERT_EQ(0, forge_end(self));
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", 0, &self->t));
	EXPECT_EQ(-EUCLEAN, pf_table_get(self->t, self->key, 16, self->value, 64, &self->size));
	EXPECT_EQ(-EUCLEAN, pf_table_get(self->t, self->key, 16, self->value, 100, &self->size));
	EXPECT_NE(NULL, strstr(pf_error_text(), words))
	{
		TH_LOG("%s", pf_error_text());
	}
	EXPECT_NE(NULL, strstr(pf_error_text(), "table t: "));
	EXPECT_EQ(0, pf_table_get_batch(self->t, &get, 1));
	EXPECT_EQ(-EUCLEAN, get.result);
	EXPECT_EQ(-EUCLEAN, iterate(self->t));
	EXPECT_EQ(-EUCLEAN, pf_table_submit(self->t, &change, 1, &ticket));
	change.value_size = VALUE_SIZE + 100;
	EXPECT_EQ(-EUCLEAN, pf_table_submit(self->t, &change, 1, &ticket));
	EXPECT_EQ(-EUCLEAN, pf_table_delete(self->t, self->key, 16));
	EXPECT_EQ(-EUCLEAN, pf_table_cas(self->t, self->key, 16, "old", 3, "new", 3));
	EXPECT_LT(0, env_verify(&self->env));
	ASSERT_EQ(0, shut(self));
	self->env.config.flags = PINFOLD_OPEN_READONLY;
	ASSERT_EQ(0, env_open(&self->env));
	ASSERT_EQ(0, pf_table_open(self->env.store, "t", 0, &self->t));
	EXPECT_EQ(-EUCLEAN, pf_table_get(self->t, self->key, 16, self->value, 100, &self->size));
	EXPECT_LT(0, env_verify(&self->env));
	ASSERT_EQ(0, shut(self));
}

static uint64_t tagged(const self_t *self, uint64_t loc)
{
	return pf_hash_tag(self->hash) << PF_TAG_SHIFT | loc >> 3;
}

/* An entry that leads to @loc, whatever is there. */
static void entry_tried(struct __test_metadata *_metadata, self_t *self, uint64_t loc, const char *words)
{
	uint64_t entry;

	ASSERT_EQ(0, forge_begin(self));
	entry = self->line.entry[0];
	self->line.entry[0] = tagged(self, loc);
	line_tried(_metadata, self, words);
	self->line.entry[0] = entry;
	ASSERT_EQ(0, forge_end(self));
	EXPECT_EQ(0, env_verify(&self->env));
}

TEST_F_TIMEOUT(hostile, entries_that_lead_outside_the_table_are_errors, 60)
{
	const uint64_t arena = self->t->arena_size,
		       end = self->t->heaps->piece->loc + self->t->heaps->piece->extent.len;

	entry_tried(_metadata, self, PF_LOC_MASK << 3, "are not within its extents");
	entry_tried(_metadata, self, arena - 8, "are not within its extents");
	entry_tried(_metadata, self, arena, "are not within its extents");
	entry_tried(_metadata, self, end, "are not within its extents");
	entry_tried(_metadata, self, 4096, "are not within its extents"); /* the file's own, before the table's */
	entry_tried(_metadata, self, end - 8, "at arena offset");
}

/* A line whose only entry is a link to @loc. */
static void link_tried(struct __test_metadata *_metadata, self_t *self, uint64_t loc, const char *words)
{
	struct pf_line kept;

	ASSERT_EQ(0, forge_begin(self));
	kept = self->line;
	memset(self->line.entry, 0, sizeof(self->line.entry));
	self->line.flags |= PF_LINE_LINKED;
	self->line.entry[PF_LINE_ENTRIES - 1] = loc >> 3;
	line_tried(_metadata, self, words);
	self->line = kept;
	ASSERT_EQ(0, forge_end(self));
	EXPECT_EQ(0, env_verify(&self->env));
}

TEST_F_TIMEOUT(hostile, links_that_lead_to_no_line_are_errors, 60)
{
	const uint64_t arena = self->t->arena_size,
		       end = self->t->heaps->piece->loc + self->t->heaps->piece->extent.len;

	link_tried(_metadata, self, (PF_LOC_MASK - 7) << 3, "no line of the table is at arena offset");
	link_tried(_metadata, self, arena - 64, "no line of the table is at arena offset");
	link_tried(_metadata, self, end, "no line of the table is at arena offset");
	link_tried(_metadata, self, end - 8, "no line of the table is at arena offset");
	link_tried(_metadata, self, 4096, "no line of the table is at arena offset");
	link_tried(_metadata, self, self->line_at + 64 * 5, "line");
	link_tried(_metadata, self, self->line_at, "lead in circles, or to those of another");
}

/* The key is at the end of the table's extent, its value would be behind it. */
TEST_F(hostile, a_record_that_ends_behind_its_extent_is_not_written_over)
{
	const uint64_t at = self->t->heaps->piece->loc + self->t->heaps->piece->extent.len - 24;
	const uint32_t sizes = pf_record_sizes(16, VALUE_SIZE);
	int fd;

	ASSERT_EQ(0, forge_begin(self));
	self->line.entry[0] = tagged(self, at);
	fd = file_open(self);
	ASSERT_EQ(4, pwrite(fd, &sizes, 4, (off_t)at + 4));
	ASSERT_EQ(16, pwrite(fd, self->key, 16, (off_t)at + 8));
	close(fd);
	line_tried(_metadata, self, "are not within its extents");
}

/* ---- headers ---- */

/* @words are those of an error that opening the table is. */
static void header_tried(struct __test_metadata *_metadata, self_t *self, const char *words)
{
	ASSERT_EQ(0, forge_end(self));
	EXPECT_EQ(-EUCLEAN, pf_table_open(self->env.store, "t", 0, &self->t));
	EXPECT_NE(NULL, strstr(pf_error_text(), words))
	{
		TH_LOG("%s", pf_error_text());
	}
	EXPECT_LT(0, env_verify(&self->env));
	ASSERT_EQ(0, shut(self));
	self->env.config.flags = PINFOLD_OPEN_READONLY;
	ASSERT_EQ(0, env_open(&self->env));
	EXPECT_GT(0, pf_table_open(self->env.store, "t", 0, &self->t));
	EXPECT_LT(0, env_verify(&self->env));
	ASSERT_EQ(0, shut(self));
}

TEST_F(hostile, buckets_without_a_segment_are_errors)
{
	static const uint64_t counts[] = {(1u << PF_SEG0_SHIFT) + 1, 1u << 20, PF_BUCKETS_MAX, PF_BUCKETS_MAX + 1, 0};

	ASSERT_EQ(0, forge_begin(self));
	for (size_t i = 0; i < 5; i++) {
		self->header.counts.bucket_count = counts[i];
		header_tried(_metadata, self, "table directory: slot 1: 1 segments, 1 heap extents, ");
	}
}

TEST_F(hostile, segments_outside_the_table_are_errors)
{
	const struct pinfold_extent heap = self->t->header.segment[0];
	struct pinfold_extent *const first = &self->header.segment[0], *const second = &self->header.segment[1];

	ASSERT_EQ(0, forge_begin(self));
	first->offset = 1ull << 46;
	header_tried(_metadata, self, "table t: segment 0 is said to be");
	*first = heap;
	first->file_id = UINT32_MAX;
	header_tried(_metadata, self, "table t: segment 0 is said to be");
	*first = heap;
	first->len *= 2;
	header_tried(_metadata, self, "table t: segment 0 is said to be");
	*first = heap;
	self->header.segment_count = 2;
	header_tried(_metadata, self, "table t: segment 1 has 0 bytes");
	*second = heap; /* where the heap is */
	second->len = (uint32_t)pf_segment_size(1);
	header_tried(_metadata, self, "table t: refers to an extent of 2097152 bytes");
	second->file_id = 3; /* in the arena, in no file */
	header_tried(_metadata, self, "of file 3, which is none of its own");
	second->file_id = 0;
	second->offset = 1ull << 29; /* free */
	header_tried(_metadata, self, "which is none of its own");
	second->offset = UINT64_MAX - (2 << 20) + 1;
	header_tried(_metadata, self, "which is none of its own");
	second->offset = heap.offset + 4096;
	header_tried(_metadata, self, "which is none of its own");
}

TEST_F(hostile, heaps_outside_the_table_are_errors)
{
	const struct pinfold_extent heap = self->t->header.heap_last;
	struct pinfold_extent *const last = &self->header.heap_last;

	ASSERT_EQ(0, forge_begin(self));
	last->file_id = 3;
	header_tried(_metadata, self, "of file 3, which is none of its own");
	*last = heap;
	last->offset = 1ull << 46;
	header_tried(_metadata, self, "which is none of its own");
	*last = heap;
	last->gen++;
	header_tried(_metadata, self, "which is none of its own");
	*last = heap;
	self->header.heap_count = UINT32_MAX;
	header_tried(_metadata, self, "heap extent 0 where 4294967294 belongs");
}

/* ---- objects ---- */

static int object_make(self_t *self, uint64_t number, struct pinfold_extent *ret_extent)
{
	const struct pinfold_object_id id = {.kind = PINFOLD_OBJECT_VECTOR_LIST, .a = number};
	struct pinfold_object object = {.size = 1, .extents = ret_extent, .extent_count = 1};
	int r = pf_extent_alloc(self->env.store, PINFOLD_EXTENT_MIN, 0, ret_extent);

	return r < 0 ? r : pf_catalog_create(self->env.store, &id, &object, 0);
}

/* An object that says it has extents twice, or those of others, takes nothing from them when it is dropped. */
TEST_F(hostile, objects_drop_their_own_extents_once)
{
	const struct pinfold_object_id id = {.kind = PINFOLD_OBJECT_VECTOR_LIST, .a = 1};
	struct pinfold_extent own, other, forged[3];
	_Alignas(8) uint8_t buf[PF_OBJECT_DISK_MAX], key[PF_OBJECT_KEY_MAX];
	struct pf_object_disk *disk = (struct pf_object_disk *)buf;
	size_t key_size, size;
	struct pf_table *t;

	ASSERT_EQ(0, object_make(self, 1, &own));
	ASSERT_EQ(0, object_make(self, 2, &other));
	ASSERT_EQ(0, pf_object_key(&id, key, &key_size));
	ASSERT_EQ(0, pf_own_table(pf_tables_of(self->env.store), PF_OWN_CATALOG, false, &t));
	ASSERT_EQ(0, pf_table_get(t, key, key_size, buf, sizeof(buf), &size));
	forged[0] = own;
	forged[1] = other;
	forged[2] = self->t->heaps->piece->extent;
	for (int i = 0; i < 3; i++) {
		disk->extent_count = 2;
		disk->extents[1] = forged[i];
		ASSERT_EQ(0, pf_table_put(t, key, key_size, buf, size + sizeof(*forged)));
		EXPECT_EQ(-EUCLEAN, pf_catalog_drop(self->env.store, &id));
		EXPECT_NE(NULL, strstr(pf_error_text(), "catalog: file 0, offset "));
		EXPECT_EQ(0, pf_extent_check(self->env.store, &own)); /* nothing of it was done */
		EXPECT_EQ(0, pf_extent_check(self->env.store, &forged[i]));
	}
	disk->extent_count = 1;
	ASSERT_EQ(0, pf_table_put(t, key, key_size, buf, size));
	EXPECT_EQ(0, pf_catalog_drop(self->env.store, &id));
	EXPECT_EQ(-ESTALE, pf_extent_check(self->env.store, &own));
	EXPECT_EQ(0, env_reopen(&self->env));
	EXPECT_EQ(0, env_verify(&self->env));
}

TEST_HARNESS_MAIN
