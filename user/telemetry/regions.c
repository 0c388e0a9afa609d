/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * regions.c - registering data files and mapping them through their regions.
 *
 * DESIGN
 *   The device is opened for each file anew and closed again, so that between two files nothing but regions keeps the
 *   module. A region that is only scanned, by a process that counts nothing, has one slot.
 *
 * INVARIANTS
 *   1. Nothing at @addr changes unless a page of the region could be mapped elsewhere before: a filesystem whose
 *      mappings the module refuses must not leave a hole.
 *   2. A descriptor in the set stays open until the set is freed.
 */
#include "telemetry/regions.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "telemetry/internal.h"
#include "telemetry/kmod_device.h"

struct region {
	int fd; /* -1: none */
	bool mapped;
};

struct pf_regions {
	pthread_mutex_t lock;
	struct region *files; /* [count] */
	uint32_t count;
	int refusal; /* -errno of the first file that could not be mapped; 0: none */
	char refusal_text[160];
};

int pf_regions_new(struct pf_regions **ret_regions)
{
	struct pf_regions *regions = calloc(1, sizeof(*regions));

	if (!regions)
		return pf_error(-ENOMEM, "kmod: out of memory");
	pthread_mutex_init(&regions->lock, NULL);
	*ret_regions = regions;
	return 0;
}

void pf_regions_free(struct pf_regions *regions)
{
	if (!regions)
		return;
	for (uint32_t i = 0; i < regions->count; i++) {
		if (regions->files[i].fd >= 0)
			close(regions->files[i].fd);
	}
	pthread_mutex_destroy(&regions->lock);
	free(regions->files);
	free(regions);
}

/* The place of file @file_id, made if need be. Under the lock. */
static struct region *place_of(struct pf_regions *regions, uint32_t file_id)
{
	if (file_id >= regions->count) {
		uint32_t count = file_id + 1;
		struct region *files = realloc(regions->files, count * sizeof(*files));

		if (!files)
			return NULL;
		for (uint32_t i = regions->count; i < count; i++)
			files[i] = (struct region){ .fd = -1 };
		regions->files = files;
		regions->count = count;
	}
	return &regions->files[file_id];
}

static int register_file(int fd, uint32_t slice_shift, uint64_t length)
{
	int device = pf_kmod_open(PF_KMOD_DEVICE), region;

	if (device < 0)
		return device;
	region = pf_kmod_register(device, fd, slice_shift, length);
	close(device);
	return region;
}

static int map_region(int region, void *addr, uint64_t size)
{
	void *trial = mmap(NULL, 1, PROT_READ, MAP_SHARED, region, 0);

	if (trial == MAP_FAILED)
		return pf_error(-errno, "kmod: mapping: %s", strerror(errno));
	munmap(trial, 1);
	if (mmap(addr, size, PROT_READ, MAP_SHARED | MAP_FIXED, region, 0) == MAP_FAILED)
		return pf_error(-errno, "kmod: mapping %llu bytes: %s", (unsigned long long)size, strerror(errno));
	return 0;
}

/* Under the lock. */
static int refused(struct pf_regions *regions, int r)
{
	regions->refusal = r;
	snprintf(regions->refusal_text, sizeof(regions->refusal_text), "%s", pf_error_text());
	return r;
}

static int refused_before(const struct pf_regions *regions)
{
	return pf_error(regions->refusal, "%s", regions->refusal_text);
}

int pf_regions_map(void *set, uint32_t file_id, int fd, void *addr, uint64_t size)
{
	struct pf_regions *regions = set;
	struct region *file;
	int region, r = 0;

	pthread_mutex_lock(&regions->lock);
	if (regions->refusal) {
		r = refused_before(regions);
		goto out;
	}
	file = place_of(regions, file_id);
	if (!file) {
		r = refused(regions, pf_error(-ENOMEM, "kmod: out of memory"));
		goto out;
	}
	region = register_file(fd, pf_slice_shift(size), size);
	if (region < 0) {
		r = refused(regions, region);
		goto out;
	}
	r = map_region(region, addr, size);
	if (r) {
		close(region);
		refused(regions, r);
		goto out;
	}
	*file = (struct region){ .fd = region, .mapped = true };
out:
	pthread_mutex_unlock(&regions->lock);
	return r;
}

int pf_regions_find(struct pf_regions *regions, uint32_t file_id, int *ret_region)
{
	int r = 0;

	pthread_mutex_lock(&regions->lock);
	if (file_id < regions->count && regions->files[file_id].mapped)
		*ret_region = regions->files[file_id].fd;
	else if (regions->refusal)
		r = refused_before(regions);
	else
		r = pf_error(-ENOENT, "kmod: file %u is not mapped through the module", file_id);
	pthread_mutex_unlock(&regions->lock);
	return r;
}

int pf_regions_state(struct pf_regions *regions)
{
	int r = 0;

	pthread_mutex_lock(&regions->lock);
	if (regions->refusal)
		r = refused_before(regions);
	else if (!regions->count)
		r = pf_error(-ENOENT, "kmod: no file is mapped through the module");
	pthread_mutex_unlock(&regions->lock);
	return r;
}

int pf_regions_scan(struct pf_regions *regions, uint32_t file_id, int fd, uint64_t offset, uint64_t size,
		    struct pinfold_scan_args *ret_scan)
{
	struct region *file;
	int region = -1;

	pthread_mutex_lock(&regions->lock);
	file = place_of(regions, file_id);
	if (file && file->fd < 0)
		file->fd = register_file(fd, PINFOLD_SLICE_SHIFT_MIN, 1);
	if (file)
		region = file->fd;
	pthread_mutex_unlock(&regions->lock);
	if (!file)
		return pf_error(-ENOMEM, "kmod: out of memory");
	return region < 0 ? region : pf_kmod_scan(region, offset, size, ret_scan);
}
