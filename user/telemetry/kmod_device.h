/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * kmod_device.h - the calls of /dev/pinfold, as linux/pinfold.h defines them: nothing but arguments and errors.
 *
 * Descriptors that are returned are the caller's, close-on-exec. Any thread.
 */
#ifndef PF_KMOD_DEVICE_H
#define PF_KMOD_DEVICE_H

#include <linux/pinfold.h>
#include <stdint.h>

#define PF_KMOD_DEVICE "/dev/pinfold"

/** Opens @path, which should be PF_KMOD_DEVICE, and checks that it speaks this version. -errno with text. */
int pf_kmod_open(const char *path);
/** @answer of PINFOLD_IOC_VERSION (or -errno): 0, -ENOTTY: another device, -EPROTO: another version; with text. */
int pf_kmod_check_version(int answer);
/** A region of @fd, slices of 2^@slice_shift bytes, slots for @length bytes. -errno with text. */
int pf_kmod_register(int device, int fd, uint32_t slice_shift, uint64_t length);
/** The descriptor to map the slots from. -errno with text. */
int pf_kmod_slots(int region);
/** 0 or -errno, without text. */
int pf_kmod_info(int region, struct pinfold_info *ret_info);
/**
 * What the page cache has of @size bytes from @offset, whole pages: summed. @ret_sum counts pages; the range has fewer
 * than 2^32. 0 or -errno, without text; -EPERM: neither the file's owner nor allowed to write it.
 */
int pf_kmod_scan(int region, uint64_t offset, uint64_t size, struct pinfold_scan_args *ret_sum);

#endif
