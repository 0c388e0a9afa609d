/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * catalog.c - objects: id -> extents, and back.
 *
 * Four tables of the store's own: ".catalog" (object key -> object record),
 * ".extents" (extent key -> object key), ".connections" and ".checksums"
 * (extent key -> ...). Creating, replacing and dropping an object change all of
 * them, and publish or drop its extents, in one transaction.
 */
#include "store/table/internal.h"

#include <stdlib.h>
#include <time.h>

int pf_own_table(struct pf_tables *tables, enum pf_own_table which, bool create, struct pf_table **ret_table)
{
	static const char *const names[PF_OWN_COUNT] = { ".catalog", ".extents", ".connections", ".checksums" };
	struct pf_table *table = atomic_load_explicit(&tables->own[which], memory_order_acquire);
	int r;

	if (!table) {
		if (!create && atomic_load_explicit(&tables->own_absent[which], memory_order_relaxed))
			return -ENOENT;
		r = pf_table_open_any(tables, names[which], create ? PINFOLD_TABLE_CREATE : 0, &table);
		/* A race with its creation is harmless: own[] is looked at first. */
		if (r == -ENOENT && !tables->read_only)
			atomic_store_explicit(&tables->own_absent[which], true, memory_order_relaxed);
		if (r < 0)
			return r;
		atomic_store_explicit(&tables->own[which], table, memory_order_release);
	}
	*ret_table = table;
	return 0;
}

/* The object record of @id. @ret_disk has room for PF_OBJECT_DISK_MAX. */
static int disk_get(struct pf_tables *tables, const struct pinfold_object_id *id, struct pf_object_disk *ret_disk)
{
	uint8_t key[PF_OBJECT_KEY_MAX];
	struct pf_table *table;
	size_t key_size, size;
	int r;

	r = pf_object_key(id, key, &key_size);
	if (r == 0)
		r = pf_own_table(tables, PF_OWN_CATALOG, false, &table);
	if (r == 0)
		r = pf_table_get(table, key, key_size, ret_disk, PF_OBJECT_DISK_MAX, &size);
	if (r == -ENOENT)
		return pf_error(-ENOENT, "catalog: there is no such object");
	if (r)
		return r;
	return pf_object_disk_check(ret_disk, size);
}

int pf_catalog_lookup(struct pf_store *store, const struct pinfold_object_id *id, struct pinfold_object *ret_object)
{
	_Alignas(8) uint8_t buf[PF_OBJECT_DISK_MAX];
	struct pf_object_disk *disk = (struct pf_object_disk *)buf;
	struct pf_tables *tables = pf_tables_of(store);
	int r;

	if (!tables)
		return -EINVAL;
	r = disk_get(tables, id, disk);
	return r < 0 ? r : pf_object_decode(disk, ret_object);
}

int pf_catalog_extents(struct pf_store *store, enum pinfold_object_kind kind, uint64_t a, uint64_t b,
		       struct pinfold_extent *ret_extents, size_t capacity, size_t *ret_count)
{
	_Alignas(8) uint8_t buf[PF_OBJECT_DISK_MAX];
	struct pf_object_disk *disk = (struct pf_object_disk *)buf;
	const struct pinfold_object_id id = { .kind = kind, .a = a, .b = b };
	struct pf_tables *tables = pf_tables_of(store);
	int r;

	if (!tables)
		return -EINVAL;
	r = disk_get(tables, &id, disk);
	if (r)
		return r;
	if (capacity > disk->extent_count)
		capacity = disk->extent_count;
	if (capacity > 0)
		memcpy(ret_extents, disk->extents, capacity * sizeof(*ret_extents));
	*ret_count = disk->extent_count;
	return 0;
}

int pf_catalog_lookup_rowgroup(struct pf_store *store, uint64_t table_id, uint64_t rowgroup_id,
			       struct pinfold_extent *ret_extents, size_t capacity, size_t *ret_count)
{
	return pf_catalog_extents(store, PINFOLD_OBJECT_ROWGROUP, table_id, rowgroup_id, ret_extents, capacity,
				  ret_count);
}

int pf_catalog_lookup_graph_partition(struct pf_store *store, uint64_t partition_id,
				      struct pinfold_extent *ret_extents, size_t capacity, size_t *ret_count)
{
	return pf_catalog_extents(store, PINFOLD_OBJECT_GRAPH_PARTITION, partition_id, 0, ret_extents, capacity,
				  ret_count);
}

int pf_catalog_lookup_vector_list(struct pf_store *store, uint64_t list_id, struct pinfold_extent *ret_extents,
				  size_t capacity, size_t *ret_count)
{
	return pf_catalog_extents(store, PINFOLD_OBJECT_VECTOR_LIST, list_id, 0, ret_extents, capacity, ret_count);
}

int pf_catalog_lookup_time_bucket(struct pf_store *store, uint64_t series_id, uint64_t bucket_id,
				  struct pinfold_extent *ret_extents, size_t capacity, size_t *ret_count)
{
	return pf_catalog_extents(store, PINFOLD_OBJECT_TIME_BUCKET, series_id, bucket_id, ret_extents, capacity,
				  ret_count);
}

/* ---- changes ---- */

/* A change of an object at work. */
struct change {
	struct pf_tables *tables;
	struct pf_table *own[PF_OWN_COUNT]; /* NULL where there is none */
	uint8_t key[PF_OBJECT_KEY_MAX];
	size_t key_size;
	uint32_t **crcs; /* of each new extent; NULL without checksums */
	struct pf_tw tw;
};

static int forget(struct pf_table *table, const uint8_t key[PF_EXTENT_KEY_SIZE])
{
	int r = table ? pf_bucket_delete(table, key, PF_EXTENT_KEY_SIZE) : 0;

	return r == -ENOENT ? 0 : r;
}

/* Whether @extent, whose key is @key, is the object's that changes: a damaged record may name any, or one twice. */
static int owner_check(struct change *change, const struct pinfold_extent *extent,
		       const uint8_t key[PF_EXTENT_KEY_SIZE])
{
	struct pf_table *table = change->own[PF_OWN_EXTENTS];
	const struct pf_record *record;
	int r = table ? pf_bucket_find(table, key, PF_EXTENT_KEY_SIZE, &record) : -ENOENT;

	if (r == 0 && (pf_record_value_size(record->sizes) != change->key_size ||
		       memcmp(record->data + PF_EXTENT_KEY_SIZE, change->key, change->key_size) != 0))
		r = -ENOENT;
	if (r == -ENOENT)
		r = pf_error(-EUCLEAN,
			     "catalog: file %u, offset %llu: an object names this extent, which is not its own",
			     extent->file_id, (unsigned long long)extent->offset);
	return r;
}

/* Takes the object away, extents and all. -ENOENT if there is none. */
static int old_remove(struct change *change)
{
	const struct pf_record *record;
	struct pf_object_disk *disk;
	uint8_t key[PF_EXTENT_KEY_SIZE];
	size_t size;
	int r;

	r = pf_bucket_find(change->own[PF_OWN_CATALOG], change->key, change->key_size, &record);
	if (r < 0)
		return r;
	size = pf_record_value_size(record->sizes);
	disk = malloc(size + 1);
	if (!disk)
		return pf_error(-ENOMEM, "catalog: no memory");
	memcpy(disk, record->data + change->key_size, size);
	r = pf_object_disk_check(disk, size);
	for (uint32_t i = 0; r == 0 && i < disk->extent_count; i++) {
		pf_extent_key(&disk->extents[i], key);
		/* An extent that was dropped behind the catalog's back does not keep the object. */
		if (pf_extent_check(change->tables->store, &disk->extents[i]) == 0) {
			r = owner_check(change, &disk->extents[i], key);
			if (r == 0)
				r = pf_txn_drop(change->tw.txn, &disk->extents[i]);
		}
		for (int own = PF_OWN_EXTENTS; r == 0 && own < PF_OWN_COUNT; own++)
			r = forget(change->own[own], key);
	}
	if (r == 0)
		r = pf_bucket_delete(change->own[PF_OWN_CATALOG], change->key, change->key_size);
	free(disk);
	return r;
}

static int new_add(struct change *change, const struct pinfold_object *object)
{
	_Alignas(8) uint8_t buf[PF_OBJECT_DISK_MAX];
	struct pf_object_disk *disk = (struct pf_object_disk *)buf;
	uint8_t key[PF_EXTENT_KEY_SIZE];
	struct timespec now;
	int r = 0;

	clock_gettime(CLOCK_REALTIME, &now);
	*disk = (struct pf_object_disk){
		.version = 1,
		.extent_count = (uint32_t)object->extent_count,
		.size = object->size,
		.flags = object->flags,
		.lifetime = object->lifetime,
		.ttl_ms = object->ttl_ms,
		.created_unix_ms = object->created_unix_ms ? object->created_unix_ms :
				   (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000,
	};
	for (size_t i = 0; r == 0 && i < object->extent_count; i++) {
		const struct pinfold_extent *extent = &object->extents[i];

		disk->extents[i] = *extent;
		pf_extent_key(extent, key);
		r = pf_txn_publish(change->tw.txn, extent);
		if (r == 0)
			r = pf_bucket_put(change->own[PF_OWN_EXTENTS], key, sizeof(key), change->key, change->key_size);
		if (r == 0 && change->crcs)
			r = pf_bucket_put(change->own[PF_OWN_CHECKSUMS], key, sizeof(key), change->crcs[i],
					  extent->len / PF_CHECKSUM_BLOCK * sizeof(uint32_t));
	}
	if (r == 0)
		r = pf_bucket_put(change->own[PF_OWN_CATALOG], change->key, change->key_size, disk,
				  sizeof(*disk) + object->extent_count * sizeof(struct pinfold_extent));
	return r;
}

static int change_begin(struct change *change, bool create)
{
	int r;

	for (int i = 0; i < PF_OWN_COUNT; i++) {
		bool needed = i == PF_OWN_CATALOG || i == PF_OWN_EXTENTS || (i == PF_OWN_CHECKSUMS && change->crcs);

		r = pf_own_table(change->tables, i, create && needed, &change->own[i]);
		if (r == -ENOENT && !(create && needed)) {
			change->own[i] = NULL;
			r = 0;
		}
		if (r < 0)
			return r;
	}
	if (!change->own[PF_OWN_CATALOG])
		return -ENOENT;
	return pf_tw_begin(change->tables, change->own, PF_OWN_COUNT, &change->tw);
}

static int change_end(struct change *change, int r)
{
	pinfold_ticket ticket;

	if (r < 0) {
		pf_tw_abort(&change->tw);
		return r;
	}
	r = pf_tw_commit(&change->tw, &ticket);
	return r < 0 ? r : pf_ticket_settle(change->tables->store, ticket);
}

static int object_check(struct pf_store *store, const struct pinfold_object *object)
{
	uint64_t room = 0;
	int r;

	if (!object || object->extent_count > PINFOLD_OBJECT_EXTENTS_MAX ||
	    (object->extent_count > 0 && !object->extents))
		return pf_error(-EINVAL, "object: %zu extents; at most %d are allowed",
				object ? object->extent_count : 0, PINFOLD_OBJECT_EXTENTS_MAX);
	if (object->lifetime > PINFOLD_LIFETIME_LONG_LIVED)
		return pf_error(-EINVAL, "object: lifetime %u; 0 to %d are known", object->lifetime,
				PINFOLD_LIFETIME_LONG_LIVED);
	for (size_t i = 0; i < object->extent_count; i++) {
		r = pf_extent_check(store, &object->extents[i]);
		if (r < 0)
			return pf_error(r, "object: extent %zu (file %u, offset %llu) is not allocated", i,
					object->extents[i].file_id, (unsigned long long)object->extents[i].offset);
		for (size_t j = 0; j < i; j++)
			if (object->extents[j].file_id == object->extents[i].file_id &&
			    object->extents[j].offset == object->extents[i].offset)
				return pf_error(-EINVAL, "object: extents %zu and %zu are the same", j, i);
		room += object->extents[i].len;
	}
	if (object->size > room)
		return pf_error(-EINVAL, "object: size %llu, but its extents hold %llu bytes",
				(unsigned long long)object->size, (unsigned long long)room);
	return 0;
}

static void crcs_free(uint32_t **crcs, size_t count)
{
	for (size_t i = 0; crcs && i < count; i++)
		free(crcs[i]);
	free(crcs);
}

static int crcs_make(struct pf_store *store, const struct pinfold_object *object, uint32_t ***ret_crcs)
{
	uint32_t **crcs = calloc(object->extent_count + 1, sizeof(*crcs));
	int r = 0;

	if (!crcs)
		return pf_error(-ENOMEM, "catalog: no memory");
	for (size_t i = 0; r == 0 && i < object->extent_count; i++)
		r = pf_checksum_take(store, &object->extents[i], &crcs[i]);
	if (r < 0) {
		crcs_free(crcs, object->extent_count);
		return r;
	}
	*ret_crcs = crcs;
	return 0;
}

int pf_catalog_create(struct pf_store *store, const struct pinfold_object_id *id, const struct pinfold_object *object,
		      bool replace)
{
	struct change change = { .tables = pf_tables_of(store) };
	int r;

	if (!change.tables)
		return -EINVAL;
	r = pf_object_key(id, change.key, &change.key_size);
	if (r == 0)
		r = object_check(store, object);
	if (r == 0 && change.tables->checksums && !change.tables->read_only)
		r = crcs_make(store, object, &change.crcs);
	if (r < 0)
		return r;
	r = change_begin(&change, true);
	if (r < 0)
		goto out;
	r = old_remove(&change);
	if (r == 0 && !replace)
		r = pf_error(-EEXIST, "catalog: the object exists");
	if (r == 0 || r == -ENOENT)
		r = new_add(&change, object);
	r = change_end(&change, r);
out:
	crcs_free(change.crcs, object->extent_count);
	return r;
}

int pf_catalog_drop(struct pf_store *store, const struct pinfold_object_id *id)
{
	struct change change = { .tables = pf_tables_of(store) };
	int r;

	if (!change.tables)
		return -EINVAL;
	r = pf_object_key(id, change.key, &change.key_size);
	if (r == 0)
		r = change_begin(&change, false);
	if (r == 0)
		r = change_end(&change, old_remove(&change));
	return r == -ENOENT ? pf_error(-ENOENT, "catalog: there is no such object") : r;
}

/* ---- enumeration ---- */

static int object_visit(const struct pinfold_record *record, pinfold_object_fn fn, void *ctx)
{
	char name[256];
	const struct pf_object_disk *disk = record->value;
	_Alignas(8) uint8_t buf[PF_OBJECT_DISK_MAX];
	struct pinfold_object_id id;
	struct pinfold_object object;
	int r;

	r = pf_object_id_decode(record->key, record->key_size, &id, name);
	if (r < 0)
		return r;
	if (record->value_size > sizeof(buf))
		return pf_error(-EUCLEAN, "catalog: object record of %zu bytes", record->value_size);
	memcpy(buf, record->value, record->value_size); /* the cursor's value follows its key: not aligned */
	disk = (const struct pf_object_disk *)buf;
	r = pf_object_disk_check(disk, record->value_size);
	if (r == 0)
		r = pf_object_decode(disk, &object);
	if (r < 0)
		return r;
	r = fn(ctx, &id, &object);
	pf_catalog_object_done(&object);
	return r;
}

int pf_catalog_foreach(struct pf_store *store, pinfold_object_fn fn, void *ctx)
{
	struct pf_tables *tables = pf_tables_of(store);
	struct pinfold_record record;
	struct pf_cursor *cursor;
	struct pf_table *table;
	int r;

	if (!tables)
		return -EINVAL;
	r = pf_own_table(tables, PF_OWN_CATALOG, false, &table);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = pf_cursor_open(table, &cursor);
	if (r < 0)
		return r;
	while ((r = pf_cursor_next(cursor, &record)) == 1) {
		r = object_visit(&record, fn, ctx);
		if (r != 0)
			break;
	}
	pf_cursor_close(cursor);
	return r;
}

int pf_catalog_of_extent(struct pf_store *store, const struct pinfold_extent *extent, struct pinfold_object_id *ret_id,
			 char *name_buf)
{
	struct pf_tables *tables = pf_tables_of(store);
	uint8_t key[PF_EXTENT_KEY_SIZE], value[PF_OBJECT_KEY_MAX];
	struct pf_table *table;
	size_t size;
	int r;

	if (!tables)
		return -EINVAL;
	pf_extent_key(extent, key);
	r = pf_own_table(tables, PF_OWN_EXTENTS, false, &table);
	if (r == 0)
		r = pf_table_get(table, key, sizeof(key), value, sizeof(value), &size);
	if (r == -ENOENT)
		return pf_error(-ENOENT, "catalog: file %u, offset %llu: the extent belongs to no object",
				extent->file_id, (unsigned long long)extent->offset);
	return r < 0 ? r : pf_object_id_decode(value, size, ret_id, name_buf);
}
