/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * resident.c - pages in memory by cachestat (6.5 and later), else by the module's SCAN, else by mincore.
 *
 * The first two walk folios, so large ones cost next to nothing, and cost the same. mincore looks up every page that is
 * not mapped, for three times as much, and one that is mapped for a fifth (tests/vm/kmod/cost.c).
 */
#include "telemetry/resident.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "telemetry/kmod_device.h"

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

/* As in linux/mman.h since 6.5. */
struct cachestat_range_abi {
	uint64_t offset, size;
};
struct cachestat_abi {
	uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

int pf_resident_init(struct pf_resident *resident, uint64_t size_max)
{
	*resident = (struct pf_resident){.vector = malloc(size_max >> 12)};
	return resident->vector ? 0 : -ENOMEM;
}

void pf_resident_done(struct pf_resident *resident)
{
	free(resident->vector);
	resident->vector = NULL;
}

int pf_resident_count(struct pf_resident *resident, int fd, int region, uint64_t offset, const void *addr,
		      uint64_t size, uint32_t *ret_pages)
{
	uint32_t pages = 0;

	if (!resident->no_cachestat) {
		struct cachestat_range_abi range = {offset, size};
		struct cachestat_abi result;

		if (!syscall(SYS_cachestat, fd, &range, &result, 0)) {
			*ret_pages = (uint32_t)result.cached;
			return 0;
		}
		resident->no_cachestat = true; /* old kernel, seccomp, or a file that is not ours */
	}
	if (region >= 0) {
		struct pinfold_scan_args scan;

		if (!pf_kmod_scan(region, offset, size, &scan)) {
			*ret_pages = scan.resident;
			return 0;
		}
	}
	if (mincore((void *)addr, size, resident->vector))
		return -errno;
	for (uint64_t i = 0; i < size >> 12; i++)
		pages += resident->vector[i] & 1;
	*ret_pages = pages;
	return 0;
}
