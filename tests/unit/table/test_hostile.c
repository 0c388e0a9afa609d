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

/* Closes the store and reads what is to be forged. */
static int forge_begin(self_t *self)
{
	int r = env_close(&self->env), fd = file_open(self);

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

TEST_HARNESS_MAIN
