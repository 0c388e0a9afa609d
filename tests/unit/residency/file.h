/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * file.h - files that residency tests map: known content, unlinked at once, on a real filesystem.
 */
#ifndef PF_TEST_RESIDENCY_FILE_H
#define PF_TEST_RESIDENCY_FILE_H

#include "residency/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

struct test_file {
	int fd;
	char *map;  /* MAP_SHARED, PROT_READ, aligned to 2 MiB */
	size_t size;
	void *reserved;
};

/** The 8 bytes at @offset of every test file, so that a misplaced block shows. */
static inline uint64_t test_word(uint64_t offset)
{
	return (offset + 1) * 0x9e3779b97f4a7c15ull;
}

static inline int test_fd(void)
{
	const char *dir = getenv("TMPDIR");
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/pinfold-residency-XXXXXX", dir && *dir ? dir : "/var/tmp");
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	return fd;
}

/** Drops every page of [offset, offset + size) that is clean and not locked. */
static inline void test_evict(struct test_file *file, size_t offset, size_t size)
{
	madvise(file->map + offset, size, MADV_DONTNEED);
	fdatasync(file->fd);
	posix_fadvise(file->fd, (off_t)offset, (off_t)size, POSIX_FADV_DONTNEED);
}

static inline bool test_file_open(struct test_file *file, size_t size)
{
	uint64_t *block = malloc(MIB);
	uintptr_t start;

	*file = (struct test_file){.fd = test_fd(), .size = size};
	for (size_t at = 0; block && file->fd >= 0 && at < size; at += MIB) {
		size_t n = size - at < MIB ? size - at : MIB;

		for (size_t i = 0; i < MIB / 8; i++)
			block[i] = test_word(at + i * 8);
		if (pwrite(file->fd, block, n, (off_t)at) != (ssize_t)n)
			break;
	}
	free(block);
	file->reserved = mmap(NULL, size + 2 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (file->fd < 0 || file->reserved == MAP_FAILED)
		return false;
	start = ((uintptr_t)file->reserved + 2 * MIB - 1) & ~(uintptr_t)(2 * MIB - 1);
	file->map = mmap((void *)start, size, PROT_READ, MAP_SHARED | MAP_FIXED, file->fd, 0);
	if (file->map == MAP_FAILED || lseek(file->fd, 0, SEEK_END) != (off_t)size)
		return false;
	/* no readahead by faults: tests say exactly what becomes resident */
	madvise(file->map, size, MADV_RANDOM);
	test_evict(file, 0, size);
	return true;
}

static inline void test_file_close(struct test_file *file)
{
	munmap(file->reserved, file->size + 2 * MIB);
	close(file->fd);
}

static inline struct pf_range test_range(struct test_file *file, size_t offset, size_t size)
{
	return (struct pf_range){file->map + offset, size, file->fd, offset};
}

/** Reads in and maps, as a pin does: a page fault alone would read 4 KiB at a time here. */
static inline int test_load(const struct pf_range *range)
{
	pf_start_reading(range);
	return pf_populate(range);
}

/**
 * Loads, and locks where that is allowed: other tests' need of memory, or a host that pages out what it thinks cold,
 * would else take a page now and then.
 */
static inline int test_hold(const struct pf_range *range)
{
	/* by system call: sanitizers make mlock() do nothing */
	return syscall(SYS_mlock, range->addr, range->size) ? test_load(range) : 0;
}

/** Resident pages by mincore alone. */
static inline size_t test_resident(struct test_file *file, size_t offset, size_t size)
{
	size_t page = pf_page_size(), count = 0;
	unsigned char *vec = malloc(size / page);

	if (!vec || mincore(file->map + offset, size, vec)) {
		free(vec);
		return SIZE_MAX;
	}
	for (size_t i = 0; i < size / page; i++)
		count += vec[i] & 1;
	free(vec);
	return count;
}

#endif
