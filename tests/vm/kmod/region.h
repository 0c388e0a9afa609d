/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * region.h - what the guest's tests of the module share. The file under test is in the working directory, which is
 * the filesystem under test.
 */
#ifndef PF_TEST_REGION_H
#define PF_TEST_REGION_H

#include <errno.h>
#include <fcntl.h>
#include <linux/pinfold.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEVICE "/dev/pinfold"
#define PAGE 4096ul
#define SLICE (1ul << PINFOLD_SLICE_SHIFT_MIN)

/* A registered file. */
struct region {
	int device, file, fd, slots_fd;
	uint64_t slice_count;
	struct pinfold_slot *slots;
	size_t slots_size;
};

/* Sum of all slots. */
struct counts {
	uint64_t minor, major, write, random, io_wait, write_major, mkwrite, node, stall_ns, latency;
};

static inline int region_register(int device, int fd, uint32_t shift, uint32_t flags, uint64_t length)
{
	struct pinfold_register arg = {
		.size = sizeof(arg), .fd = fd, .slice_shift = shift, .flags = flags, .length = length};

	return ioctl(device, PINFOLD_IOC_REGISTER, &arg);
}

/* A file of @size bytes whose page n begins with n + 1, on disk and in no cache. */
static inline int file_make(const char *name, size_t size, int flags)
{
	static char block[SLICE];
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);

	if (fd < 0)
		return -1;
	for (size_t at = 0; at < size; at += sizeof(block)) {
		size_t n = size - at < sizeof(block) ? size - at : sizeof(block);

		for (size_t page = 0; page < n; page += PAGE)
			*(uint64_t *)(block + page) = (at + page) / PAGE + 1;
		if (pwrite(fd, block, n, (off_t)at) != (ssize_t)n)
			return -1;
	}
	if (fsync(fd) || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED))
		return -1;
	close(fd);
	return open(name, flags);
}

static inline int region_slots(struct region *r)
{
	r->slots_fd = ioctl(r->fd, PINFOLD_IOC_SLOTS);
	if (r->slots_fd < 0)
		return -errno;
	r->slots_size = (r->slice_count * PINFOLD_SLOT_SIZE + PAGE - 1) & ~(PAGE - 1);
	r->slots = mmap(NULL, r->slots_size, PROT_READ, MAP_SHARED | MAP_POPULATE, r->slots_fd, 0);
	return r->slots == MAP_FAILED ? -errno : 0;
}

static inline void write_setting(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0)
		return; /* this kernel does not have it */
	if (write(fd, value, strlen(value)) < 0)
		fprintf(stderr, "# %s: %s\n", path, strerror(errno));
	close(fd);
}

/* Pages are moved and joined behind a program's back, at faults that getrusage() counts and no filesystem sees. */
static inline void kernel_quiet(void)
{
	write_setting("/proc/sys/kernel/numa_balancing", "0");
	write_setting("/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs", "1000000");
}

/* Makes a file, opens it with @flags and registers it. 0 or -errno. */
static inline int region_open(struct region *r, const char *name, size_t size, int flags, uint32_t register_flags)
{
	kernel_quiet();
	*r = (struct region){.device = open(DEVICE, O_RDWR | O_CLOEXEC), .file = file_make(name, size, flags)};
	if (r->device < 0 || r->file < 0)
		return -errno;
	r->fd = region_register(r->device, r->file, PINFOLD_SLICE_SHIFT_MIN, register_flags, 0);
	if (r->fd < 0)
		return -errno;
	r->slice_count = (size + SLICE - 1) / SLICE;
	return region_slots(r);
}

static inline void region_close(struct region *r)
{
	munmap(r->slots, r->slots_size);
	close(r->slots_fd);
	close(r->fd);
	close(r->file);
	close(r->device);
}

static inline struct counts region_counts(const struct region *r)
{
	struct counts sum = {0};

	for (uint64_t i = 0; i < r->slice_count; i++) {
		const volatile struct pinfold_slot *slot = &r->slots[i];

		sum.minor += slot->minor;
		sum.major += slot->major;
		sum.write += slot->write;
		sum.random += slot->random;
		sum.io_wait += slot->io_wait;
		sum.write_major += slot->write_major;
		sum.mkwrite += slot->mkwrite;
		sum.stall_ns += slot->stall_ns;
		for (int n = 0; n < PINFOLD_SLOT_NODES; n++)
			sum.node += slot->node[n];
		for (int n = 0; n < PINFOLD_SLOT_HIST; n++)
			sum.latency += slot->latency[n];
	}
	return sum;
}

static inline uint64_t region_lost(const struct region *r)
{
	struct pinfold_info info = {.size = sizeof(info)};

	return ioctl(r->fd, PINFOLD_IOC_INFO, &info) ? UINT64_MAX : info.lost;
}

static inline int revoke_all(int fd, uint64_t length)
{
	struct pinfold_range range = {.length = length};
	struct pinfold_revoke arg = {.size = sizeof(arg), .ranges = (uintptr_t)&range, .count = 1};

	return ioctl(fd, PINFOLD_IOC_REVOKE, &arg) ? -errno : (int)arg.done - 1;
}

/* Nodes of this machine, up to 8. */
static inline int node_count(void)
{
	int count = 0;

	for (int n = 0; n < PINFOLD_SLOT_NODES; n++) {
		char path[64];

		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d", n);
		count += !access(path, F_OK);
	}
	return count ? count : 1;
}

#endif
