/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * read_store.c - the store that bench_read reads: one blob of incompressible words.
 */
#include "read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOB "bench_read"
#define CHUNK ((size_t)4 << 20)

static const struct pinfold_object_id blob_id = {.kind = PINFOLD_OBJECT_BLOB, .name = BLOB};

static struct pinfold_config config_of(const struct read_params *params)
{
	struct pinfold_config config = {.size = sizeof(config)};
	uint64_t gib = (uint64_t)1 << 30;

	config.extent_size = READ_EXTENT;
	/* room for the store's own extents; one file, so that fio can be given one */
	config.file_size = (params->data_bytes + 2 * gib - 1) / gib * gib;
	config.advice = PINFOLD_ADVICE_RANDOM;
	config.no_io_uring = params->no_io_uring;
	config.flags = params->store_only ? PINFOLD_OPEN_STORE_ONLY : 0;
	return config;
}

static int layout_of(const struct read_params *params, const struct pinfold_object *object,
		     struct read_layout *ret_layout)
{
	const struct pinfold_extent *first = object->extents;

	/* a hole would make fio faster than the device */
	for (size_t i = 0; i < object->extent_count; i++) {
		const struct pinfold_extent *extent = &object->extents[i];

		if (extent->file_id != first->file_id || extent->len != READ_EXTENT ||
		    extent->offset != first->offset + i * READ_EXTENT)
			return -EXDEV;
	}
	if (!object->extent_count)
		return -ENODATA;
	snprintf(ret_layout->path, sizeof(ret_layout->path), "%s/data.%06u", params->dir, first->file_id);
	ret_layout->offset = first->offset;
	ret_layout->size = object->extent_count * READ_EXTENT;
	return 0;
}

int read_store_open(const struct read_params *params, struct read_store *ret_store)
{
	struct pinfold_config config = config_of(params);
	struct read_store store = {0};
	char words[512] = "";
	int r = pinfold_open(params->dir, &config, words, sizeof(words), &store.pf);

	if (r) {
		fprintf(stderr, "bench_read: %s: %s\n", params->dir, *words ? words : strerror(-r));
		return r;
	}
	r = pinfold_object_lookup(store.pf, &blob_id, &store.object);
	if (r) {
		fprintf(stderr, "bench_read: %s: no data: %s\n", params->dir, pinfold_errmsg(store.pf));
	} else {
		r = layout_of(params, &store.object, &store.layout);
		if (r)
			fprintf(stderr, "bench_read: %s: the data is not in one piece\n", params->dir);
	}
	if (r) {
		read_store_close(&store);
		return r;
	}
	*ret_store = store;
	return 0;
}

void read_store_close(struct read_store *store)
{
	pinfold_object_done(&store->object);
	pinfold_close(store->pf);
}

static int by_offset(const void *a, const void *b)
{
	const struct pinfold_extent *x = a, *y = b;

	if (x->file_id != y->file_id)
		return x->file_id < y->file_id ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static int load(struct pinfold *pf, uint64_t bytes)
{
	size_t count = (size_t)(bytes / READ_EXTENT);
	struct pinfold_object object = {.size = bytes, .lifetime = PINFOLD_LIFETIME_LONG_LIVED, .extent_count = count};
	void *chunk = malloc(CHUNK);
	int r = 0;

	object.extents = calloc(count, sizeof(*object.extents));
	if (!chunk || !object.extents)
		r = -ENOMEM;
	for (size_t i = 0; i < count && !r; i++)
		r = pinfold_extent_alloc(pf, READ_EXTENT, 0, &object.extents[i]);
	if (!r)
		qsort(object.extents, count, sizeof(*object.extents), by_offset);
	for (size_t i = 0; i < count && !r; i++) {
		for (uint64_t at = 0; at < READ_EXTENT && !r; at += CHUNK) {
			bench_fill(chunk, CHUNK, READ_SEED, i * READ_EXTENT + at);
			r = pinfold_bulk_write(pf, &object.extents[i], at, chunk, CHUNK);
		}
	}
	if (!r)
		r = pinfold_bulk_flush(pf, object.extents, count);
	if (!r)
		r = pinfold_object_create(pf, &blob_id, &object, false);
	free(chunk);
	free(object.extents);
	return r;
}

void read_store_prepare(const struct read_params *params, struct read_layout *ret_layout)
{
	struct pinfold_config config = config_of(params);
	struct pinfold_object object = {0};
	char words[512] = "";
	struct pinfold *pf;
	int r;

	r = bench_dir_prepare(params->dir);
	if (r)
		bench_die("bench_read: %s: %s", params->dir,
			  r == -ENOTSUP ? "no disk below it; name another" : strerror(-r));
	config.flags = PINFOLD_OPEN_CREATE | PINFOLD_OPEN_STORE_ONLY;
	r = pinfold_open(params->dir, &config, words, sizeof(words), &pf);
	if (r)
		bench_die("bench_read: %s: %s", params->dir, words);
	r = pinfold_object_lookup(pf, &blob_id, &object);
	if (r == -ENOENT) {
		fprintf(stderr, "bench_read: writing %.1f GiB\n", (double)params->data_bytes / (1 << 30));
		r = load(pf, params->data_bytes);
		if (!r)
			r = pinfold_object_lookup(pf, &blob_id, &object);
	}
	if (r)
		bench_die("bench_read: loading: %s", pinfold_errmsg(pf));
	if (object.size != params->data_bytes)
		bench_die("bench_read: %s holds other data (%llu bytes): remove it, or name another directory",
			  params->dir, (unsigned long long)object.size);
	r = layout_of(params, &object, ret_layout);
	if (r)
		bench_die("bench_read: the data is not in one piece of one file");
	pinfold_object_done(&object);
	r = pinfold_close(pf);
	if (r)
		bench_die("bench_read: closing: %s", strerror(-r));
}
