/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pin_map.c - pins by a mapping of their own.
 *
 * DESIGN
 * Locked pages never fault, so whether they are still used is learnt by revoking a few of
 * their translations (telemetry's sampler). In the mapping that is locked itself that would undo
 * the lock: a page is mlocked only while a locked mapping has an entry for it, and reclaim may take
 * it before the next touch. So locks stand in a second arena that nobody reads through, and the
 * readers' mapping stays free of locks: its entries can be dropped at will, its VMA
 * is never split, and no fault in it meets a writer of mmap_lock.
 *
 * The price is a second page-table entry for each pinned page (8 bytes in 4096).
 */
#include "residency/pin_map.h"

#include "base/error.h"
#include "residency/internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct pf_pin_map {
	char *base;
	uint64_t size;
};

int pf_pin_map_new(uint64_t arena_size, struct pf_pin_map **ret_map)
{
	struct pf_pin_map *map = calloc(1, sizeof(*map));
	void *base;

	if (!map)
		return pf_error(-ENOMEM, "out of memory");
	base = mmap(NULL, arena_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED) {
		free(map);
		return pf_error(-errno, "cannot reserve %llu bytes of address space for pins: %m",
				(unsigned long long)arena_size);
	}
	map->base = base;
	map->size = arena_size;
	*ret_map = map;
	return 0;
}

void pf_pin_map_free(struct pf_pin_map *map)
{
	if (!map)
		return;
	munmap(map->base, map->size); /* and with it all locks */
	free(map);
}

int pf_pin_map_add(struct pf_pin_map *map, uint64_t position, uint64_t size, int fd)
{
	if (position > map->size || size > map->size - position)
		return pf_error(-EINVAL, "position %llu + %llu bytes is beyond the arena of pins",
				(unsigned long long)position, (unsigned long long)size);
	if (mmap(map->base + position, size, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
		return pf_error(-errno, "cannot map a data file for pins: %m");
	return 0;
}

/* The alias of @range. Both start at an address aligned alike, so huge pages fit both. */
static struct pf_range alias(const struct pf_pin_map *map, uint64_t position, const struct pf_range *range)
{
	struct pf_range other = *range;

	other.addr = map->base + position;
	return other;
}

int pf_pin_map_pin(struct pf_pin_map *map, uint64_t position, const struct pf_range *range)
{
	struct pf_range locked = alias(map, position, range);
	int r = pf_pin(&locked, false);

	for (size_t at = 0; r == 0 && at < range->size; at += PF_PIECE) {
		struct pf_range piece = pf_range_part(range, at, PF_PIECE);

		r = pf_populate(&piece); /* finds every page in memory */
	}
	if (r)
		pf_pin_map_unpin(map, position, range);
	return r;
}

int pf_pin_map_unpin(struct pf_pin_map *map, uint64_t position, const struct pf_range *range)
{
	struct pf_range locked = alias(map, position, range);
	int r = pf_unpin(&locked);

	if (r == 0 && madvise(locked.addr, locked.size, MADV_DONTNEED))
		r = pf_error(-errno, "cannot drop the pin's page-table entries: %m");
	return r;
}

uint64_t pf_pin_map_locked(struct pf_pin_map *map, uint64_t position, const struct pf_range *range)
{
	struct pf_range locked = alias(map, position, range);

	return pf_locked_pieces(&locked);
}
