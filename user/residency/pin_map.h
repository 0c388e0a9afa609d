/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pin_map.h - pins by a mapping of their own.
 */
#ifndef PF_PIN_MAP_H
#define PF_PIN_MAP_H

#include "residency/residency.h"

/** A second, private arena in which only pinned ranges have page-table entries. */
struct pf_pin_map;

/** Reserves @arena_size bytes of address space. */
int pf_pin_map_new(uint64_t arena_size, struct pf_pin_map **ret_map);
void pf_pin_map_free(struct pf_pin_map *map);
/** Maps @size bytes of file @fd at @position of the arena. Before its first pin; one thread at a time. */
int pf_pin_map_add(struct pf_pin_map *map, uint64_t position, uint64_t size, int fd);
/**
 * Locks what stands at @position (the file range is @range's) and maps it into @range, the mapping
 * that readers use. Errors as pf_pin(). Any thread.
 */
int pf_pin_map_pin(struct pf_pin_map *map, uint64_t position, const struct pf_range *range);
/** Lets go of a range; it stays cached until the kernel wants it. Any thread. */
int pf_pin_map_unpin(struct pf_pin_map *map, uint64_t position, const struct pf_range *range);
/** Bytes of the range that are locked. Any thread. */
uint64_t pf_pin_map_locked(struct pf_pin_map *map, uint64_t position, const struct pf_range *range);

#endif
