/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sampler.c - drops translations of random blocks and looks which came back.
 *
 * DESIGN
 *   A block is revoked with MADV_DONTNEED_LOCKED, which drops page-table
 *   entries of locked and of other memory alike; on a shared file mapping the
 *   pages and their dirty data stay in the page cache. The next access takes a
 *   fault, which maps the whole block again: the process's own page table then
 *   says that it was touched. A block that nobody touches stays revoked, costs
 *   nothing more and keeps being watched.
 *
 *   Only resident blocks are taken: revoking must never be what a later major fault is blamed on.
 */
#include "telemetry/sampler.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/error.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

#define BATCH 64
#define BLOCK_PAGES (PF_SAMPLE_BLOCK >> 12)
#define PAGEMAP_PRESENT (1ull << 63)

struct pf_sampler {
	int pagemap_fd; /* -1: not readable, nothing is sampled */
	int pidfd;      /* -1: revoke one by one */
	uint64_t random;
	uint64_t placed_count, refused_count;
	size_t queued;
	struct iovec queue[BATCH];
};

int pf_sampler_new(uint64_t seed, struct pf_sampler **ret_sampler)
{
	struct pf_sampler *sampler = calloc(1, sizeof(*sampler));

	if (!sampler)
		return pf_error(-ENOMEM, "sampler: out of memory");
	sampler->random = seed | 1;
	sampler->pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	sampler->pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	*ret_sampler = sampler;
	return 0;
}

void pf_sampler_free(struct pf_sampler *sampler)
{
	if (!sampler)
		return;
	if (sampler->pagemap_fd >= 0)
		close(sampler->pagemap_fd);
	if (sampler->pidfd >= 0)
		close(sampler->pidfd);
	free(sampler);
}

static uint64_t next_random(struct pf_sampler *sampler)
{
	uint64_t x = sampler->random;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	sampler->random = x;
	return x * 0x2545f4914f6cdd1dull;
}

/* One page present means touched: nothing but a fault in the block maps it. */
static bool block_present(const struct pf_sampler *sampler, const char *addr)
{
	uint64_t entries[BLOCK_PAGES], all = 0;
	ssize_t n = pread(sampler->pagemap_fd, entries, sizeof(entries), (off_t)((uintptr_t)addr >> 12) * 8);

	if (n != sizeof(entries))
		return false;
	for (size_t i = 0; i < BLOCK_PAGES; i++)
		all |= entries[i];
	return all & PAGEMAP_PRESENT;
}

uint32_t pf_sampler_harvest(struct pf_sampler *sampler, const void *addr, struct pf_sample_slice *slice)
{
	uint32_t kept = 0, count = slice->count;

	for (uint32_t i = 0; i < count; i++) {
		if (!block_present(sampler, (const char *)addr + (uint64_t)slice->block[i] * PF_SAMPLE_BLOCK))
			slice->block[kept++] = slice->block[i];
	}
	slice->count = kept;
	return count - kept;
}

bool pf_sampler_pick(struct pf_sampler *sampler, uint64_t size, const struct pf_sample_slice *slice,
		     uint32_t *ret_block)
{
	uint32_t block = (uint32_t)(next_random(sampler) >> 32) % (uint32_t)(size / PF_SAMPLE_BLOCK);

	if (slice->count == PF_SAMPLE_SLICE_MAX || sampler->pagemap_fd < 0)
		return false;
	for (uint32_t i = 0; i < slice->count; i++) {
		if (slice->block[i] == block)
			return false;
	}
	*ret_block = block;
	return true;
}

void pf_sampler_place(struct pf_sampler *sampler, const void *addr, struct pf_sample_slice *slice, uint32_t block)
{
	slice->block[slice->count++] = block;
	sampler->queue[sampler->queued++] =
		(struct iovec){(char *)addr + (uint64_t)block * PF_SAMPLE_BLOCK, PF_SAMPLE_BLOCK};
	sampler->placed_count++;
	if (sampler->queued == BATCH)
		pf_sampler_flush(sampler);
}

void pf_sampler_flush(struct pf_sampler *sampler)
{
	size_t done = 0;

	if (!sampler->queued)
		return;
	if (sampler->pidfd >= 0) {
		ssize_t n = syscall(SYS_process_madvise, sampler->pidfd, sampler->queue, sampler->queued,
				    MADV_DONTNEED_LOCKED, 0);

		if (n < 0 && (errno == EINVAL || errno == ENOSYS || errno == EPERM)) {
			close(sampler->pidfd); /* this kernel does not take the advice from outside */
			sampler->pidfd = -1;
		}
		if (n > 0)
			done = (size_t)n / PF_SAMPLE_BLOCK;
	}
	for (; done < sampler->queued; done++) {
		if (madvise(sampler->queue[done].iov_base, PF_SAMPLE_BLOCK, MADV_DONTNEED_LOCKED))
			sampler->refused_count++;
	}
	sampler->queued = 0;
}

uint64_t pf_sampler_count(const struct pf_sampler *sampler)
{
	return sampler->placed_count;
}

uint64_t pf_sampler_refused(const struct pf_sampler *sampler)
{
	return sampler->refused_count;
}
