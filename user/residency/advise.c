// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * advise.c - where the kernel reads ahead.
 *
 * A miss on a mapping reads the pages around it, read_ahead_kb of the device in all (8 MiB
 * on some). With MADV_RANDOM it reads the one page that was touched.
 */
#include "residency/internal.h"

#include "base/error.h"

#include <sys/mman.h>

int pf_advise(const struct pf_range *range, bool random)
{
	int r = pf_range_check(range);

	if (r)
		return r;
	if (madvise(range->addr, range->size, random ? MADV_RANDOM : MADV_NORMAL))
		return pf_error(-errno, "madvise(%s) of %zu bytes at file offset %llu: %m",
				random ? "MADV_RANDOM" : "MADV_NORMAL", range->size, (unsigned long long)range->offset);
	return 0;
}
