/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * kmod_device.c - arguments and errors of the module's calls.
 */
#include "telemetry/kmod_device.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/error.h"

/* Grains asked for at a time. */
#define GRAINS 32

int pf_kmod_check_version(int answer)
{
	if (answer == PINFOLD_ABI_VERSION)
		return 0;
	if (answer < 0)
		return pf_error(answer, "kmod: %s is not pinfold's: %s", PF_KMOD_DEVICE, strerror(-answer));
	return pf_error(-EPROTO, "kmod: the module speaks version %d, this build %d", answer, PINFOLD_ABI_VERSION);
}

int pf_kmod_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC), r;

	if (fd < 0 && (errno == ENOENT || errno == ENXIO || errno == ENODEV))
		return pf_error(-errno, "kmod: %s: the module is not loaded", path);
	if (fd < 0)
		return pf_error(-errno, "kmod: %s: %s", path, strerror(errno));
	r = ioctl(fd, PINFOLD_IOC_VERSION);
	r = pf_kmod_check_version(r < 0 ? -errno : r);
	if (r) {
		close(fd);
		return r;
	}
	return fd;
}

int pf_kmod_register(int device, int fd, uint32_t slice_shift, uint64_t length)
{
	struct pinfold_register arg = { .size = sizeof(arg), .fd = fd, .slice_shift = slice_shift, .length = length };
	int region = ioctl(device, PINFOLD_IOC_REGISTER, &arg);

	if (region >= 0)
		return region;
	if (errno == EOPNOTSUPP)
		return pf_error(-errno, "kmod: registering: the file is not on ext4 or xfs, or is DAX or a swap file");
	return pf_error(-errno, "kmod: registering: %s", strerror(errno));
}

int pf_kmod_slots(int region)
{
	int fd = ioctl(region, PINFOLD_IOC_SLOTS);

	return fd < 0 ? pf_error(-errno, "kmod: slots: %s", strerror(errno)) : fd;
}

int pf_kmod_info(int region, struct pinfold_info *ret_info)
{
	struct pinfold_info info = { .size = sizeof(info) };

	if (ioctl(region, PINFOLD_IOC_INFO, &info))
		return -errno;
	*ret_info = info;
	return 0;
}

static void add(struct pinfold_scan_args *sum, const struct pinfold_scan_args *one)
{
	sum->resident += one->resident;
	sum->dirty += one->dirty;
	sum->writeback += one->writeback;
	sum->active += one->active;
	sum->referenced += one->referenced;
	sum->locked += one->locked;
	sum->huge += one->huge;
	sum->large += one->large;
	for (int node = 0; node < PINFOLD_SLOT_NODES; node++)
		sum->node[node] += one->node[node];
}

/* The largest grain that divides both. */
static uint32_t grain_shift(uint64_t offset, uint64_t size)
{
	uint32_t shift = (uint32_t)__builtin_ctzll(offset | size);

	return shift < PINFOLD_GRAIN_SHIFT_MAX ? shift : PINFOLD_GRAIN_SHIFT_MAX;
}

int pf_kmod_scan(int region, uint64_t offset, uint64_t size, struct pinfold_scan_args *ret_sum)
{
	struct pinfold_scan_args sum = { 0 }, results[GRAINS];
	uint64_t end = offset + size;
	uint32_t shift;

	if (!size || (offset | size) & ((1ull << PINFOLD_GRAIN_SHIFT_MIN) - 1) || size > UINT64_MAX - offset)
		return -EINVAL;
	shift = grain_shift(offset, size);
	while (offset < end) {
		uint64_t left = (end - offset) >> shift;
		struct pinfold_query query = {
			.size = sizeof(query),
			.offset = offset,
			.grain_shift = shift,
			.count = (uint32_t)(left < GRAINS ? left : GRAINS),
			.results = (uintptr_t)results,
		};

		if (ioctl(region, PINFOLD_IOC_SCAN, &query))
			return -errno;
		for (uint32_t i = 0; i < query.count; i++)
			add(&sum, &results[i]);
		offset += (uint64_t)query.count << shift;
	}
	*ret_sum = sum;
	return 0;
}
