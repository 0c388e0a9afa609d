// SPDX-License-Identifier: GPL-2.0-only
/* Objects: create, replace, drop, lookup and reverse lookup, connections, blobs, block checksums. */
#include "fixture.h"

#include <fcntl.h>

#include "kselftest_harness.h"

FIXTURE(catalog)
{
	struct env env;
};

FIXTURE_SETUP(catalog)
{
	ASSERT_EQ(0, env_begin(&self->env, PINFOLD_SYNC_SYNC));
}

FIXTURE_TEARDOWN(catalog)
{
	env_end(&self->env);
}

/* What a commit that was ordered answers in the end; 0: the truth. */
static int settled;

int __real_pf_ticket_settle(struct pf_store *store, pinfold_ticket ticket);
int __wrap_pf_ticket_settle(struct pf_store *store, pinfold_ticket ticket)
{
	int r = __real_pf_ticket_settle(store, ticket);

	return r < 0 || settled == 0 ? r : pf_error(settled, "journal.000000: offset 8192: cannot be written");
}

static int extents_alloc(struct env *env, struct pinfold_extent *extents, size_t count)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++)
		r = pf_extent_alloc(env->store, PINFOLD_EXTENT_MIN, PINFOLD_EXTENT_HOT, &extents[i]);
	return r;
}

static uint64_t published(struct env *env)
{
	struct pinfold_store_stats stats;

	return pf_store_stat(env->store, &stats) < 0 ? 0 : stats.published_bytes;
}

#define STORE (self->env.store)

TEST_F(catalog, create_lookup_reverse_drop)
{
	struct pinfold_object_id id = { .kind = PINFOLD_OBJECT_ROWGROUP, .a = 7, .b = UINT64_MAX }, found;
	struct pinfold_extent extents[3], got[3];
	struct pinfold_object object = {.size = 5u << 20,
					.flags = 3,
					.lifetime = PINFOLD_LIFETIME_TASK,
					.ttl_ms = 1000,
					.extent_count = 3,
					.extents = extents},
			      read;
	char name[256];
	uint64_t before;
	size_t count;

	EXPECT_EQ(-ENOENT, pf_catalog_lookup(STORE, &id, &read));
	EXPECT_EQ(-ENOENT, pf_catalog_drop(STORE, &id));
	ASSERT_EQ(0, extents_alloc(&self->env, extents, 3));
	EXPECT_EQ(-ENOENT, pf_catalog_of_extent(STORE, &extents[0], &found, name));
	ASSERT_EQ(0, pf_catalog_create(STORE, &id, &object, false));
	before = published(&self->env);
	for (int round = 0; round < 2; round++) {
		ASSERT_EQ(0, pf_catalog_lookup(STORE, &id, &read));
		EXPECT_EQ(5u << 20, read.size);
		EXPECT_EQ(3, read.flags);
		EXPECT_EQ(PINFOLD_LIFETIME_TASK, read.lifetime);
		EXPECT_EQ(1000, read.ttl_ms);
		EXPECT_LT(1600000000000ull, read.created_unix_ms);
		ASSERT_EQ(3, read.extent_count);
		EXPECT_EQ(0, memcmp(read.extents, extents, sizeof(extents)));
		pf_catalog_object_done(&read);
		ASSERT_EQ(0, pf_catalog_of_extent(STORE, &extents[2], &found, name));
		EXPECT_EQ(PINFOLD_OBJECT_ROWGROUP, found.kind);
		EXPECT_EQ(7, found.a);
		EXPECT_EQ(UINT64_MAX, found.b);
		EXPECT_EQ(NULL, found.name);
		ASSERT_EQ(0, pf_catalog_lookup_rowgroup(STORE, 7, UINT64_MAX, got, 2, &count));
		EXPECT_EQ(3, count);
		EXPECT_EQ(0, memcmp(got, extents, 2 * sizeof(got[0])));
		EXPECT_EQ(-ENOENT, pf_catalog_lookup_time_bucket(STORE, 7, UINT64_MAX, got, 2, &count));
		ASSERT_EQ(0, env_reopen(&self->env));
		ASSERT_EQ(0, env_verify(&self->env));
	}
	EXPECT_EQ(-EEXIST, pf_catalog_create(STORE, &id, &(struct pinfold_object){ 0 }, false));
	ASSERT_EQ(0, pf_catalog_drop(STORE, &id));
	EXPECT_EQ(before - 3 * PINFOLD_EXTENT_MIN, published(&self->env));
	EXPECT_EQ(-ENOENT, pf_catalog_of_extent(STORE, &extents[2], &found, name));
	EXPECT_EQ(-ESTALE, pf_extent_check(STORE, &extents[0]));
	ASSERT_EQ(0, env_reopen(&self->env));
	EXPECT_EQ(-ENOENT, pf_catalog_lookup(STORE, &id, &read));
}

TEST_F(catalog, replace_drops_the_old_extents_in_one_transaction)
{
	struct pinfold_object_id id = { .kind = PINFOLD_OBJECT_GRAPH_PARTITION, .a = 1 }, found;
	struct pinfold_extent old[2], new[2];
	struct pinfold_object object = { .extent_count = 2, .extents = old };
	struct pinfold_connections connections = { .hot_count = 1, .prefetch_weight = 0.5f };
	struct pinfold_store_stats before, after;
	char name[256];
	size_t count;

	ASSERT_EQ(0, extents_alloc(&self->env, old, 2));
	ASSERT_EQ(0, extents_alloc(&self->env, new, 2));
	ASSERT_EQ(0, pf_catalog_create(STORE, &id, &object, true)); /* replace of nothing creates */
	connections.hot[0] = old[1];
	ASSERT_EQ(0, pf_connections_set(STORE, &old[0], &connections));
	object.extents = new;
	ASSERT_EQ(0, pf_store_stat(STORE, &before));
	ASSERT_EQ(0, pf_catalog_create(STORE, &id, &object, true));
	ASSERT_EQ(0, pf_store_stat(STORE, &after));
	EXPECT_EQ(1, after.commit_count - before.commit_count);
	EXPECT_EQ(-ESTALE, pf_extent_check(STORE, &old[0]));
	EXPECT_EQ(-ENOENT, pf_connections_get(STORE, &old[0], &connections));
	EXPECT_EQ(-ENOENT, pf_catalog_of_extent(STORE, &old[0], &found, name));
	ASSERT_EQ(0, pf_catalog_of_extent(STORE, &new[1], &found, name));
	ASSERT_EQ(0, pf_catalog_lookup_graph_partition(STORE, 1, NULL, 0, &count));
	EXPECT_EQ(2, count);
	EXPECT_EQ(0, env_verify(&self->env));
}

TEST_F(catalog, failed_create_changes_nothing)
{
	struct pinfold_object_id id = { .kind = PINFOLD_OBJECT_VECTOR_LIST, .a = 1 }, other = id;
	struct pinfold_extent extents[2], twice[2];
	struct pinfold_object object = { .extent_count = 2, .extents = extents };
	size_t count;

	ASSERT_EQ(0, extents_alloc(&self->env, extents, 2));
	object.size = (4u << 20) + 1;
	EXPECT_EQ(-EINVAL, pf_catalog_create(STORE, &id, &object, false));
	object.size = 1;
	object.lifetime = 9;
	EXPECT_EQ(-EINVAL, pf_catalog_create(STORE, &id, &object, false));
	object.lifetime = 0;
	twice[0] = twice[1] = extents[0];
	object.extents = twice;
	EXPECT_EQ(-EINVAL, pf_catalog_create(STORE, &id, &object, false));
	object.extents = extents;
	ASSERT_EQ(0, pf_catalog_create(STORE, &id, &object, false));
	other.a = 2; /* its extents are published already */
	EXPECT_GT(0, pf_catalog_create(STORE, &other, &object, false));
	EXPECT_EQ(-ENOENT, pf_catalog_lookup_vector_list(STORE, 2, NULL, 0, &count));
	ASSERT_EQ(0, pf_catalog_lookup_vector_list(STORE, 1, NULL, 0, &count));
	EXPECT_EQ(-EINVAL, pf_catalog_lookup(STORE, &(struct pinfold_object_id){ .kind = 99 }, &object));
	EXPECT_EQ(-EINVAL, pf_catalog_lookup(STORE, &(struct pinfold_object_id){.kind = PINFOLD_OBJECT_BLOB}, &object));
	EXPECT_EQ(0, env_verify(&self->env));
}

TEST_F(catalog, object_dropped_behind_its_back_can_go)
{
	struct pinfold_object_id id = { .kind = PINFOLD_OBJECT_ACTOR_STATE, .a = 1, .b = 2 };
	struct pinfold_extent extent;
	struct pinfold_object object = { .extent_count = 1, .extents = &extent };
	struct pf_txn *txn;

	ASSERT_EQ(0, extents_alloc(&self->env, &extent, 1));
	ASSERT_EQ(0, pf_catalog_create(STORE, &id, &object, false));
	ASSERT_EQ(0, pf_txn_begin(STORE, &txn));
	ASSERT_EQ(0, pf_txn_drop(txn, &extent));
	ASSERT_EQ(0, pf_txn_commit(txn));
	EXPECT_EQ(0, pf_catalog_drop(STORE, &id));
}

TEST_F(catalog, an_object_of_many_extents)
{
	static struct pinfold_extent extents[PINFOLD_OBJECT_EXTENTS_MAX];
	struct pinfold_object_id id = { .kind = PINFOLD_OBJECT_TIME_BUCKET, .a = 3, .b = 4 }, found;
	struct pinfold_object object = { .extent_count = PINFOLD_OBJECT_EXTENTS_MAX, .extents = extents };
	char name[256];
	size_t count;

	ASSERT_EQ(0, extents_alloc(&self->env, extents, PINFOLD_OBJECT_EXTENTS_MAX));
	ASSERT_EQ(0, pf_catalog_create(STORE, &id, &object, false));
	ASSERT_EQ(0, env_reopen(&self->env));
	ASSERT_EQ(0, pf_catalog_lookup_time_bucket(STORE, 3, 4, NULL, 0, &count));
	EXPECT_EQ(PINFOLD_OBJECT_EXTENTS_MAX, count);
	ASSERT_EQ(0, pf_catalog_of_extent(STORE, &extents[1023], &found, name));
	EXPECT_EQ(4, found.b);
	EXPECT_EQ(0, env_verify(&self->env));
	EXPECT_EQ(0, pf_catalog_drop(STORE, &id));
	object.extent_count++;
	EXPECT_EQ(-EINVAL, pf_catalog_create(STORE, &id, &object, false));
}

static int visit(void *ctx, const struct pinfold_object_id *id, const struct pinfold_object *object)
{
	uint64_t *seen = ctx;

	if (id->kind == PINFOLD_OBJECT_BLOB)
		seen[0] |= 1ull << (id->name[0] - 'a');
	else
		seen[1] |= 1ull << id->a;
	return object->size == 12345 ? 77 : 0;
}

TEST_F(catalog, foreach_sees_each_object)
{
	uint64_t seen[2] = { 0 };

	ASSERT_EQ(0, pf_catalog_foreach(STORE, visit, seen));
	for (uint64_t i = 0; i < 26; i++) {
		char name[2] = { (char)('a' + i), 0 };
		struct pinfold_object_id id = { .kind = PINFOLD_OBJECT_ROWGROUP, .a = i };

		ASSERT_EQ(0, pf_catalog_blob_put(STORE, name, NULL, 0, false));
		ASSERT_EQ(0, pf_catalog_create(STORE, &id, &(struct pinfold_object){ 0 }, false));
	}
	ASSERT_EQ(0, pf_catalog_foreach(STORE, visit, seen));
	EXPECT_EQ((1ull << 26) - 1, seen[0]);
	EXPECT_EQ((1ull << 26) - 1, seen[1]);
	EXPECT_EQ(-EEXIST, pf_catalog_blob_put(STORE, "c", NULL, 0, false));
	struct pinfold_extent extent;
	struct pinfold_object object = { .size = 12345, .extent_count = 1, .extents = &extent };

	ASSERT_EQ(0, extents_alloc(&self->env, &extent, 1));
	ASSERT_EQ(0, pf_catalog_create(STORE, &(struct pinfold_object_id){.kind = PINFOLD_OBJECT_VECTOR_LIST, .a = 40},
				       &object, false));
	EXPECT_EQ(77, pf_catalog_foreach(STORE, visit, seen));
}

TEST_F(catalog, connections_roundtrip)
{
	struct pinfold_connections c = {.forward_count = 2, .back_count = 16, .hot_count = 1, .prefetch_weight = 0.75f},
				   got;
	struct pinfold_extent extents[19];

	ASSERT_EQ(0, extents_alloc(&self->env, extents, 19));
	memcpy(c.forward, extents, 2 * sizeof(*extents));
	memcpy(c.back, extents + 2, 16 * sizeof(*extents));
	memcpy(c.hot, extents + 18, sizeof(*extents));
	EXPECT_EQ(-ENOENT, pf_connections_get(STORE, &extents[0], &got));
	ASSERT_EQ(0, pf_connections_set(STORE, &extents[0], &c));
	for (int round = 0; round < 2; round++) {
		ASSERT_EQ(0, pf_connections_get(STORE, &extents[0], &got));
		EXPECT_EQ(2, got.forward_count);
		EXPECT_EQ(16, got.back_count);
		EXPECT_EQ(0.75f, got.prefetch_weight);
		EXPECT_EQ(0, memcmp(got.forward, c.forward, 2 * sizeof(*extents)));
		EXPECT_EQ(0, memcmp(got.back, c.back, sizeof(c.back)));
		EXPECT_EQ(0, memcmp(got.hot, c.hot, sizeof(*extents)));
		if (round == 0)
			ASSERT_EQ(0, env_reopen(&self->env));
	}
	c.prefetch_weight = 1.5f;
	EXPECT_GT(0, pf_connections_set(STORE, &extents[0], &c));
	c.prefetch_weight = 1;
	c.hot_count = 17;
	EXPECT_GT(0, pf_connections_set(STORE, &extents[0], &c));
}

TEST_F(catalog, blob_and_its_checksums)
{
	struct pinfold_object_id id = { .kind = PINFOLD_OBJECT_BLOB, .name = "some/file" };
	size_t size = (9u << 20) + 4711;
	uint8_t *data = malloc(size), *back = malloc(size);
	struct pinfold_object object;
	uint64_t done = 0, state = 99;
	char path[96];
	uint8_t byte;
	int fd;

	self->env.config.checksums = true;
	ASSERT_EQ(0, env_reopen(&self->env));
	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)env_random(&state);
	ASSERT_EQ(0, pf_catalog_blob_put(STORE, id.name, data, size, false));
	ASSERT_EQ(0, env_reopen(&self->env));
	ASSERT_EQ(0, pf_catalog_lookup(STORE, &id, &object));
	ASSERT_EQ(size, object.size);
	ASSERT_EQ(2, object.extent_count); /* 8 + 2 MiB */
	for (size_t i = 0; i < object.extent_count; i++) {
		uint64_t part = size - done < object.extents[i].len ? size - done : object.extents[i].len;

		ASSERT_EQ(0, pf_read_at(STORE, &object.extents[i], 0, back + done, part));
		done += part;
	}
	EXPECT_EQ(0, memcmp(data, back, size));
	ASSERT_EQ(0, env_verify(&self->env));
	ASSERT_EQ(0, env_close(&self->env));
	snprintf(path, sizeof(path), "%s/data.%06u", self->env.dir, object.extents[0].file_id);
	fd = open(path, O_RDWR);
	ASSERT_EQ(1, pread(fd, &byte, 1, (off_t)object.extents[0].offset + 300000));
	byte ^= 4;
	ASSERT_EQ(1, pwrite(fd, &byte, 1, (off_t)object.extents[0].offset + 300000));
	close(fd);
	ASSERT_EQ(0, env_open(&self->env));
	EXPECT_EQ(1, env_verify(&self->env));
	/* Whoever changes the extent on purpose says so. */
	ASSERT_EQ(0, pf_catalog_extent_written(STORE, &object.extents[0]));
	EXPECT_EQ(0, env_verify(&self->env));
	ASSERT_EQ(0, pf_catalog_drop(STORE, &id));
	EXPECT_EQ(0, env_verify(&self->env));
	pf_catalog_object_done(&object);
	free(data);
	free(back);
}

/* What is cleaned up after a failure has nothing to say about it. */
TEST_F(catalog, the_words_of_a_failed_blob_are_those_of_the_failure)
{
	const size_t size = (3u << 20) + 4711; /* takes two extents */
	struct pinfold_extent extent;
	struct pinfold_object object;
	uint8_t *data = calloc(1, size);

	ASSERT_NE(NULL, data);
	for (int checksums = 0; checksums < 2; checksums++) {
		self->env.config.checksums = checksums;
		ASSERT_EQ(0, env_reopen(&self->env));
		ASSERT_EQ(0, pf_catalog_blob_put(STORE, "there", data, size, true));
		EXPECT_EQ(-EEXIST, pf_catalog_blob_put(STORE, "there", data, size, false));
		EXPECT_NE(NULL, strstr(pf_error_text(), "catalog: the object exists"));
		settled = -EIO; /* its extents are published, and so it is */
		EXPECT_EQ(-EIO, pf_catalog_blob_put(STORE, "ordered", data, size, true));
		EXPECT_STREQ("journal.000000: offset 8192: cannot be written", pf_error_text());
		settled = 0;
		ASSERT_EQ(0, pf_catalog_lookup(STORE,
					       &(struct pinfold_object_id){ PINFOLD_OBJECT_BLOB, .name = "ordered" },
					       &object));
		pf_catalog_object_done(&object);
	}
	self->env.config.max_mapped_size = self->env.config.file_size;
	ASSERT_EQ(0, env_reopen(&self->env));
	for (uint64_t piece = 256ull << 20; piece > PINFOLD_EXTENT_MIN; piece /= 2)
		while (pf_extent_alloc(STORE, piece, 0, &extent) == 0)
			;
	while (pf_extent_alloc(STORE, PINFOLD_EXTENT_MIN, 0, &extent) == 0)
		;
	ASSERT_EQ(0, pf_extent_free(STORE, &extent)); /* the last one is room for half of it */
	EXPECT_EQ(-ENOSPC, pf_catalog_blob_put(STORE, "half", data, size, false));
	EXPECT_NE(NULL, strstr(pf_error_text(), "no free extent of 2097152 bytes"));
	EXPECT_EQ(0, env_verify(&self->env));
	free(data);
}

TEST_HARNESS_MAIN
