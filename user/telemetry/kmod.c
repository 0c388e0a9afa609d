/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * kmod.c - source "kmod": the kernel module counts faults of mappings that go through its regions.
 *
 * DESIGN
 *   The module makes slots as slices fault; reading one that is not there would make it, or raise SIGBUS where the
 *   user's limit refuses it. So a file's slots begin as a mapping of zeros, and the parts that the module has, which
 *   lseek tells, are mapped over it at the beginning of a turn: all reading in between is plain loads. A file whose
 *   memory did not grow is asked one question a turn.
 *
 * INVARIANT: what is mapped over the zeros exists until the region ends, so no load of a slot can fail.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "telemetry/internal.h"
#include "telemetry/kmod_device.h"
#include "telemetry/regions.h"

#define PAGE 4096ull

struct slots {
	int region; /* borrowed; -1: none */
	int fd;     /* of the slots */
	char *map;
	bool *there; /* by page of map: the module's, not zeros */
	uint64_t bytes;
	uint64_t lost;
};

struct pf_source {
	struct pf_regions *regions;
	uint32_t file_count;
	uint64_t size;       /* of a file's slots, whole pages */
	struct slots *files; /* [file_count] */
};

static void kmod_close(struct pf_source *source)
{
	if (!source)
		return;
	for (uint32_t i = 0; source->files && i < source->file_count; i++) {
		if (source->files[i].region < 0)
			continue;
		munmap(source->files[i].map, source->size);
		close(source->files[i].fd);
		free(source->files[i].there);
	}
	free(source->files);
	free(source);
}

static int kmod_open(const struct pf_source_params *params, struct pf_source **ret_source)
{
	struct pf_source *source;
	int r = params->regions ? pf_regions_state(params->regions)
				: pf_error(-EOPNOTSUPP, "kmod: the files are not mapped through the module");

	if (r)
		return r;
	source = calloc(1, sizeof(*source));
	if (source)
		source->files = calloc(params->file_count, sizeof(*source->files));
	if (!source || !source->files) {
		free(source);
		return pf_error(-ENOMEM, "kmod: out of memory");
	}
	source->regions = params->regions;
	source->file_count = params->file_count;
	source->size = ((uint64_t)params->slice_count * PINFOLD_SLOT_SIZE + PAGE - 1) & ~(PAGE - 1);
	for (uint32_t i = 0; i < params->file_count; i++)
		source->files[i].region = -1;
	*ret_source = source;
	return 0;
}

/* Maps what the module has of [from, to) and the zeros still cover. */
static void map_run(struct pf_source *source, struct slots *file, uint64_t from, uint64_t to)
{
	for (uint64_t at = from; at < to; at += PAGE) {
		uint64_t end = at;

		while (end < to && !file->there[end / PAGE])
			end += PAGE;
		if (end == at)
			continue;
		if (mmap(file->map + at, end - at, PROT_READ, MAP_SHARED | MAP_FIXED, file->fd, (off_t)at) ==
		    MAP_FAILED) {
			file->bytes = 0; /* asked anew next turn */
			return;
		}
		memset(file->there + at / PAGE, true, (end - at) / PAGE);
		at = end;
	}
}

static void refresh(struct pf_source *source, struct slots *file)
{
	struct pinfold_info info;
	uint64_t at = 0;

	if (pf_kmod_info(file->region, &info))
		return;
	file->lost = info.lost;
	if (info.slot_bytes == file->bytes)
		return;
	file->bytes = info.slot_bytes;
	while (at < source->size) {
		off_t data = lseek(file->fd, (off_t)at, SEEK_DATA), hole;

		if (data < 0 || (uint64_t)data >= source->size)
			return;
		hole = lseek(file->fd, data, SEEK_HOLE);
		at = hole < 0 || (uint64_t)hole > source->size ? source->size : (uint64_t)hole;
		map_run(source, file, (uint64_t)data, at);
	}
}

static void kmod_refresh(struct pf_source *source)
{
	for (uint32_t i = 0; i < source->file_count; i++) {
		if (source->files[i].region >= 0)
			refresh(source, &source->files[i]);
	}
}

static int kmod_add_file(struct pf_source *source, uint32_t file_id, int fd, const struct pinfold_slot **ret_slots)
{
	struct slots file;
	int r;

	if (file_id >= source->file_count)
		return pf_error(-ERANGE, "file %u: the arena has room for %u files", file_id, source->file_count);
	if (source->files[file_id].region >= 0)
		return pf_error(-EEXIST, "file %u is watched already", file_id);
	memset(&file, 0, sizeof(file));
	r = pf_regions_find(source->regions, file_id, &file.region);
	if (r)
		return r;
	file.fd = pf_kmod_slots(file.region);
	if (file.fd < 0)
		return file.fd;
	file.there = calloc(source->size / PAGE, sizeof(*file.there));
	if (!file.there) {
		r = pf_error(-ENOMEM, "kmod: out of memory");
		goto err_close;
	}
	file.map = mmap(NULL, source->size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (file.map == MAP_FAILED) {
		r = pf_error(-errno, "kmod: file %u: %llu bytes of slots: %s", file_id,
			     (unsigned long long)source->size, strerror(errno));
		goto err_free;
	}
	refresh(source, &file);
	source->files[file_id] = file;
	*ret_slots = (const struct pinfold_slot *)file.map;
	return 0;

err_free:
	free(file.there);
err_close:
	close(file.fd);
	return r;
}

static uint64_t kmod_lost(const struct pf_source *source)
{
	uint64_t lost = 0;

	for (uint32_t i = 0; i < source->file_count; i++)
		lost += source->files[i].lost;
	return lost;
}

/* One fault on a file of @dir is counted, or why not. */
static int try_dir(const char *dir)
{
	struct pf_regions *regions = NULL;
	struct pinfold_scan_args scan;
	int fd, r;
	char *map = MAP_FAILED;

	fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return pf_error(-errno, "kmod: no file can be made in %s: %s", dir, strerror(errno));
	r = pwrite(fd, "", 1, 0) == 1 && !ftruncate(fd, PAGE) ? 0
							      : pf_error(-errno, "kmod: %s: %s", dir, strerror(errno));
	if (!r)
		r = pf_regions_new(&regions);
	if (!r) {
		map = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		r = map == MAP_FAILED ? pf_error(-errno, "kmod: %s", strerror(errno))
				      : pf_regions_map(regions, 0, fd, map, PAGE);
	}
	if (!r)
		r = pf_regions_scan(regions, 0, fd, 0, PAGE, &scan);
	if (map != MAP_FAILED)
		munmap(map, PAGE);
	pf_regions_free(regions);
	close(fd);
	return r;
}

static int kmod_probe(const char *dir, char *ret_found, size_t found_size)
{
	int fd = pf_kmod_open(PF_KMOD_DEVICE), r;

	if (fd < 0)
		return fd;
	close(fd);
	if (!dir) {
		snprintf(ret_found, found_size, "kmod answers; whether it takes a directory's files was not tried");
		return 0;
	}
	r = try_dir(dir);
	if (!r)
		snprintf(ret_found, found_size, "kmod counts files in %s", dir);
	return r;
}

const struct pf_source_ops pf_source_kmod = {
	.name = "kmod",
	.open = kmod_open,
	.close = kmod_close,
	.add_file = kmod_add_file,
	.refresh = kmod_refresh,
	.lost = kmod_lost,
	.probe = kmod_probe,
	.counts_faults = true,
};
