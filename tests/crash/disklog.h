/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * disklog.h - records what a process does to the files of a store, for disk.h to replay.
 */
#ifndef PF_TESTS_DISKLOG_H
#define PF_TESTS_DISKLOG_H

#include "disk.h"
#include "ledger.h"

/** What the oracle knew when an event was recorded: acknowledged before it happened. */
struct disk_mark {
	uint64_t acked[WORLD_WRITERS], table_acked[WORLD_TABLE_WRITERS];
	uint64_t durable_ticket;
	int opened, closed;
};

struct disk_record {
	struct disk_event event;
	struct disk_mark mark;
	uint64_t page_at; /* of DISK_PAGE_IS: index of its bytes */
};

#define DISKLOG_EVENTS (1u << 17)
#define DISKLOG_PAGES (1u << 18) /* 1 GiB of address space, touched as needed */

/** In memory shared with the recorded process. */
struct disklog {
	_Atomic uint64_t count, page_count;
	_Atomic int opened; /* set by the recorded process: pf_store_open() has returned 0 */
	_Atomic int overflow;
	uint64_t first;     /* events before it are the state that the run began with */
	struct disk_record record[DISKLOG_EVENTS];
	unsigned char page[DISKLOG_PAGES][DISK_PAGE];
};

struct disklog *disklog_new(void);
void disklog_reset(struct disklog *log);
/**
 * Starts recording what this process does in @dir, beginning with what is there
 * (as durable). Installs the I/O hooks. 0 or -errno.
 */
int disklog_start(struct disklog *log, struct ledger *ledger, const char *dir);
void disklog_stop(void);

#endif
