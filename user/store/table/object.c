/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * object.c - object ids as keys, object records as values.
 *
 * Keys: kind, then for blobs the name, else a and b big-endian (17 bytes).
 * Extent keys: file_id, gen, offset, little-endian: a stale reference has no record.
 */
#include "store/table/internal.h"

#include <stdlib.h>

#define OBJECT_VERSION 1
#define NAME_MAX_BYTES 255

static void put_be64(uint8_t *p, uint64_t value)
{
	value = __builtin_bswap64(value);
	memcpy(p, &value, sizeof(value));
}

static uint64_t get_be64(const uint8_t *p)
{
	uint64_t value;

	memcpy(&value, p, sizeof(value));
	return __builtin_bswap64(value);
}

int pf_object_key(const struct pinfold_object_id *id, uint8_t *ret_key, size_t *ret_size)
{
	size_t length;

	if (!id || id->kind < PINFOLD_OBJECT_ROWGROUP || id->kind > PINFOLD_OBJECT_BLOB)
		return pf_error(-EINVAL, "object: kind %d; %d to %d are known", id ? (int)id->kind : 0,
				PINFOLD_OBJECT_ROWGROUP, PINFOLD_OBJECT_BLOB);
	ret_key[0] = (uint8_t)id->kind;
	if (id->kind != PINFOLD_OBJECT_BLOB) {
		if (id->name)
			return pf_error(-EINVAL, "object: only blobs have a name");
		put_be64(ret_key + 1, id->a);
		put_be64(ret_key + 9, id->b);
		*ret_size = 17;
		return 0;
	}
	length = id->name ? strlen(id->name) : 0;
	if (length < 1 || length > NAME_MAX_BYTES || id->a || id->b)
		return pf_error(-EINVAL,
				"blob: name of %zu bytes (1 to %d are allowed), numbers %llu and %llu (must be 0)",
				length, NAME_MAX_BYTES, (unsigned long long)id->a, (unsigned long long)id->b);
	memcpy(ret_key + 1, id->name, length);
	*ret_size = 1 + length;
	return 0;
}

int pf_object_id_decode(const uint8_t *key, size_t size, struct pinfold_object_id *ret_id, char *name_buf)
{
	struct pinfold_object_id id = { 0 };

	if (size >= 2 && size <= 1 + NAME_MAX_BYTES && key[0] == PINFOLD_OBJECT_BLOB) {
		memcpy(name_buf, key + 1, size - 1);
		name_buf[size - 1] = '\0';
		id.name = name_buf;
	} else if (size == 17 && key[0] >= PINFOLD_OBJECT_ROWGROUP && key[0] < PINFOLD_OBJECT_BLOB) {
		id.a = get_be64(key + 1);
		id.b = get_be64(key + 9);
	} else {
		return pf_error(-EUCLEAN, "catalog: key of %zu bytes with kind %u", size, size ? key[0] : 0);
	}
	id.kind = key[0];
	*ret_id = id;
	return 0;
}

int pf_object_disk_check(const struct pf_object_disk *disk, size_t size)
{
	if (size < sizeof(*disk) || disk->version != OBJECT_VERSION ||
	    disk->extent_count > PINFOLD_OBJECT_EXTENTS_MAX ||
	    size != sizeof(*disk) + disk->extent_count * sizeof(struct pinfold_extent))
		return pf_error(-EUCLEAN, "catalog: object record of %zu bytes, version %u, %u extents", size,
				size >= sizeof(*disk) ? disk->version : 0,
				size >= sizeof(*disk) ? disk->extent_count : 0);
	return 0;
}

int pf_object_decode(const struct pf_object_disk *disk, struct pinfold_object *ret_object)
{
	struct pinfold_object object = {
		.size = disk->size,
		.flags = disk->flags,
		.lifetime = disk->lifetime,
		.ttl_ms = disk->ttl_ms,
		.created_unix_ms = disk->created_unix_ms,
		.extent_count = disk->extent_count,
	};

	if (object.extent_count > 0) {
		object.extents = malloc(object.extent_count * sizeof(*object.extents));
		if (!object.extents)
			return pf_error(-ENOMEM, "catalog: no memory for %zu extents", object.extent_count);
		memcpy(object.extents, disk->extents, object.extent_count * sizeof(*object.extents));
	}
	*ret_object = object;
	return 0;
}

void pf_catalog_object_done(struct pinfold_object *object)
{
	if (!object)
		return;
	free(object->extents);
	object->extents = NULL;
	object->extent_count = 0;
}

void pf_extent_key(const struct pinfold_extent *extent, uint8_t ret_key[PF_EXTENT_KEY_SIZE])
{
	memcpy(ret_key, &extent->file_id, 4);
	memcpy(ret_key + 4, &extent->gen, 4);
	memcpy(ret_key + 8, &extent->offset, 8);
}
