// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * pagemap.c - what this process's page tables say: present, part of a large folio, PMD-mapped.
 *
 * Presence and PMD mapping may be asked for by anybody about itself. Frame numbers, and
 * so the flags of the frames in /proc/kpageflags, are for CAP_SYS_ADMIN; without
 * it the kernel shows frame 0.
 */
#include "residency/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/types.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PM_PRESENT   (1ull << 63)
#define PM_FRAME     ((1ull << 55) - 1)
#define KPF_HEAD     (1ull << 15)
#define KPF_TAIL     (1ull << 16)
/** Page table entries per read. */
#define BATCH 512

/* PAGEMAP_SCAN of linux/fs.h, 6.7+; spelled out for older headers */
struct scan_region {
	__u64 start, end, categories;
};
struct scan_arg {
	__u64 size, flags, start, end, walk_end;
	__u64 vec, vec_len, max_pages;
	__u64 category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN_IOCTL   _IOWR('f', 16, struct scan_arg)
#define CATEGORY_HUGE (1 << 6)

int pf_pagemap_open(struct pf_pagemap *ret_pagemap)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	ret_pagemap->pagemap_fd = fd;
	ret_pagemap->vma_sums = false;
	ret_pagemap->flags_fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	return 0;
}

void pf_pagemap_close(struct pf_pagemap *pagemap)
{
	close(pagemap->pagemap_fd);
	if (pagemap->flags_fd >= 0)
		close(pagemap->flags_fd);
}

/** Frames of file folios are mostly in runs: one read of flags per run. */
static bool flags_read(int fd, const uint64_t *entries, size_t count, uint8_t *state)
{
	uint64_t flags[BATCH];

	for (size_t i = 0; i < count;) {
		uint64_t frame = entries[i] & PM_FRAME;
		size_t run = 1;

		if (!(entries[i] & PM_PRESENT)) {
			i++;
			continue;
		}
		if (!frame)
			return false;
		while (i + run < count && (entries[i + run] & PM_PRESENT) &&
		       (entries[i + run] & PM_FRAME) == frame + run)
			run++;
		if (pread(fd, flags, run * 8, (off_t)(frame * 8)) != (ssize_t)(run * 8))
			return false;
		for (size_t k = 0; k < run; k++)
			if (flags[k] & (KPF_HEAD | KPF_TAIL))
				state[i + k] |= PF_PAGE_LARGE;
		i += run;
	}
	return true;
}

int pf_pagemap_read(struct pf_pagemap *pagemap, void *addr, size_t pages, uint8_t *ret_state, bool *ret_large_known)
{
	bool known = pagemap->flags_fd >= 0;
	uint64_t entries[BATCH];
	uint64_t first = (uintptr_t)addr / pf_page_size();

	for (size_t at = 0; at < pages;) {
		size_t n = pages - at < BATCH ? pages - at : BATCH;
		ssize_t got = pread(pagemap->pagemap_fd, entries, n * 8, (off_t)((first + at) * 8));

		if (got < 0)
			return -errno;
		if (got != (ssize_t)(n * 8))
			return -EIO;
		for (size_t i = 0; i < n; i++)
			ret_state[at + i] = entries[i] & PM_PRESENT ? PF_PAGE_PRESENT : 0;
		if (known)
			known = flags_read(pagemap->flags_fd, entries, n, ret_state + at);
		at += n;
	}
	*ret_large_known = known;
	return 0;
}

struct smaps_vma {
	uintptr_t start, end, from, to; /* the VMA, and the part of it that was asked for */
};

/** False: the kernel says how much of the VMA is mapped by PMD entries, but not whether that is the part asked for. */
static bool add_part(const struct smaps_vma *vma, uint64_t huge_bytes, uint64_t *sum)
{
	if (!huge_bytes)
		return true;
	if (vma->from == vma->start && vma->to == vma->end)
		*sum += huge_bytes;
	else if (huge_bytes == vma->end - vma->start)
		*sum += vma->to - vma->from;
	else
		return false;
	return true;
}

/** From /proc/self/smaps, which walks all its page tables. @whole: of the VMAs, not of the part in them. */
static int sum_of_vmas(uintptr_t from, uintptr_t to, bool whole, uint64_t *ret_bytes)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	struct smaps_vma vma = {0};
	uint64_t bytes = 0;
	bool known = true;
	char line[512];

	if (!smaps)
		return -errno;
	while (known && fgets(line, sizeof(line), smaps)) {
		uintptr_t start, end;
		uint64_t kib;

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &start, &end) == 2)
			vma = (struct smaps_vma){start, end, from > start ? from : start, to < end ? to : end};
		else if (vma.from >= vma.to || sscanf(line, "FilePmdMapped: %" SCNu64, &kib) != 1)
			continue;
		else if (whole)
			bytes += kib << 10;
		else
			known = add_part(&vma, kib << 10, &bytes);
		if (vma.start >= to)
			break;
	}
	fclose(smaps);
	if (!known)
		return -ENODATA;
	*ret_bytes = bytes;
	return 0;
}

int pf_pagemap_vma_huge_bytes(void *addr, size_t size, uint64_t *ret_bytes)
{
	return sum_of_vmas((uintptr_t)addr, (uintptr_t)addr + size, true, ret_bytes);
}

int pf_pagemap_huge_bytes(struct pf_pagemap *pagemap, void *addr, size_t size, uint64_t *ret_bytes)
{
	struct scan_region regions[64];
	uint64_t bytes = 0;
	struct scan_arg arg = {
		.size = sizeof(arg),
		.start = (uintptr_t)addr,
		.end = (uintptr_t)addr + size,
		.vec = (uintptr_t)regions,
		.vec_len = 64,
		.category_mask = CATEGORY_HUGE,
		.return_mask = CATEGORY_HUGE,
	};

	while (arg.start < arg.end) {
		int count = ioctl(pagemap->pagemap_fd, SCAN_IOCTL, &arg);

		if (count < 0) {
			pagemap->vma_sums = errno == ENOTTY;
			return pagemap->vma_sums ? sum_of_vmas(arg.start, arg.end, false, ret_bytes) : -errno;
		}
		for (int i = 0; i < count; i++)
			bytes += regions[i].end - regions[i].start;
		if (arg.walk_end <= arg.start)
			break;
		arg.start = arg.walk_end;
	}
	*ret_bytes = bytes;
	return 0;
}
