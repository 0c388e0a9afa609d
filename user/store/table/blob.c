/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * blob.c - memory to object in one call: allocate, load past the journal, flush, publish.
 */
#include "store/table/internal.h"

int pf_catalog_extent_plan(uint64_t size, uint64_t extent_size, uint64_t *ret_sizes, size_t capacity)
{
	uint64_t piece = extent_size, waste_max = size / 8, rest;
	size_t count = 0;

	while (piece < PINFOLD_EXTENT_MAX && size / piece > PINFOLD_OBJECT_EXTENTS_MAX / 2)
		piece *= 2;
	if (size / piece + 16 > capacity)
		return pf_error(-EFBIG, "object of %llu bytes: takes more than %zu extents", (unsigned long long)size,
				capacity);
	for (rest = size; rest >= piece; rest -= piece)
		ret_sizes[count++] = piece;
	while (rest > 0) {
		uint64_t whole = PINFOLD_EXTENT_MIN;

		while (whole < rest)
			whole *= 2;
		if (whole == PINFOLD_EXTENT_MIN || whole - rest <= waste_max) {
			ret_sizes[count++] = whole;
			break;
		}
		ret_sizes[count++] = whole / 2;
		rest -= whole / 2;
	}
	return (int)count;
}

/* Allocates and fills @extents; *count of them must be freed by the caller on failure. */
static int blob_load(struct pf_store *store, const uint64_t *sizes, int planned, const char *data, uint64_t size,
		     struct pinfold_extent *extents, size_t *count)
{
	uint64_t done = 0;
	int r;

	for (int i = 0; i < planned; i++) {
		uint64_t part = size - done < sizes[i] ? size - done : sizes[i];

		r = pf_extent_alloc(store, sizes[i], 0, &extents[i]);
		if (r < 0)
			return r;
		++*count;
		r = pf_bulk_write(store, &extents[i], 0, data + done, part);
		if (r < 0)
			return r;
		done += part;
	}
	return *count > 0 ? pf_bulk_flush(store, extents, *count) : 0;
}

int pf_catalog_blob_put(struct pf_store *store, const char *name, const void *data, uint64_t size, bool replace)
{
	struct pinfold_object_id id = { .kind = PINFOLD_OBJECT_BLOB, .name = name };
	struct pinfold_extent extents[PINFOLD_OBJECT_EXTENTS_MAX];
	struct pinfold_object object = { .size = size, .lifetime = PINFOLD_LIFETIME_LONG_LIVED, .extents = extents };
	uint64_t sizes[PINFOLD_OBJECT_EXTENTS_MAX];
	struct pf_tables *tables = pf_tables_of(store);
	uint8_t key[PF_OBJECT_KEY_MAX];
	size_t key_size;
	int r, planned;

	if (!tables)
		return -EINVAL;
	if (!data && size > 0)
		return pf_error(-EINVAL, "blob: no data, but its size is %llu", (unsigned long long)size);
	r = pf_object_key(&id, key, &key_size);
	if (r < 0)
		return r;
	planned = pf_catalog_extent_plan(size, tables->extent_size, sizes, PINFOLD_OBJECT_EXTENTS_MAX);
	if (planned < 0)
		return planned;
	r = blob_load(store, sizes, planned, data, size, extents, &object.extent_count);
	if (r == 0)
		r = pf_catalog_create(store, &id, &object, replace);
	/* after a failed create they are unpublished; of one that was ordered but not made durable they are not */
	for (size_t i = 0; r < 0 && i < object.extent_count; i++)
		pf_extent_back_out(store, &extents[i]);
	return r;
}
