/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * super.h - the superblock: which copy counts, and is it sound. Pure functions.
 */
#ifndef PF_SUPER_H
#define PF_SUPER_H

#include "store/format.h"

#include <stddef.h>

#define PF_SUPER_FILE "super"

/** Sets magic, version and CRC of @super. */
void pf_super_seal(struct pf_super_disk *super);
/** 0 if @block is a sound superblock; -EUCLEAN with words; -EPROTONOSUPPORT for another version. */
int pf_super_check(const struct pf_super_disk *block);
/**
 * Picks the newest sound copy out of the file's @size bytes at @data.
 * -EUCLEAN if neither is sound. *ret_slot (may be NULL): 0 or 1.
 */
int pf_super_parse(const void *data, size_t size, struct pf_super_disk *ret_super, int *ret_slot);

#endif
