/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * disk.h - a disk as a power cut may leave it.
 *
 * Replays a log of what a process did to files and keeps, beside what is
 * durable for certain, what is not: page versions since the last flush of their
 * file, sizes, names since the last flush of the directory. A power cut keeps any
 * subset of the page versions, torn at 512 bytes, and any prefix of the changes of names.
 */
#ifndef PF_TESTS_DISK_H
#define PF_TESTS_DISK_H

#include "rnd.h"

#include <stdint.h>

#define DISK_PAGE 4096u
#define DISK_SECTOR 512u
#define DISK_NAME 48
#define DISK_FILES 128
#define DISK_FILE_PAGES (2u << 18) /* 2 GiB */

enum disk_event_type { DISK_PAGE_IS, DISK_SIZE_IS, DISK_NAMED, DISK_UNNAMED, DISK_FLUSH_FILE, DISK_FLUSH_PAGES,
	DISK_FLUSH_NAMES };

/** One entry of the log; a page's bytes follow DISK_PAGE_IS. */
struct disk_event {
	uint32_t type;
	uint32_t file;     /* index; the same file keeps its index under any name */
	uint64_t value;    /* page index, size, or: flushes what was logged before this event number */
	uint32_t first, end; /* pages, of DISK_FLUSH_PAGES */
	char name[DISK_NAME]; /* path in the store; of DISK_FLUSH_NAMES: the directory, "" for the store itself */
};

enum disk_cut {
	DISK_CUT_STRICT,   /* only what is durable for certain */
	DISK_CUT_ALL,      /* all that was written, as after a kill */
	DISK_CUT_EARLY,    /* mapped pages were written back early, the journal was not */
	DISK_CUT_LATE,     /* the journal was written, mapped pages were not */
	DISK_CUT_RANDOM,   /* any subset, torn */
	DISK_CUT_COUNT
};

struct disk;
struct disk *disk_new(void);
void disk_free(struct disk *disk);
/** Applies event @number; @page is the content for DISK_PAGE_IS. 0 or -ENOMEM. */
int disk_apply(struct disk *disk, uint64_t number, const struct disk_event *event, const void *page);
/** Writes the files that a power cut now leaves into the empty directory @dir. 0 or -errno. */
int disk_cut(struct disk *disk, enum disk_cut cut, struct rnd *rnd, const char *dir);

#endif
