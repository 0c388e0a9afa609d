/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* progress.h - how far a long command is, on stderr. */
#ifndef PF_TOOLS_PROGRESS_H
#define PF_TOOLS_PROGRESS_H

#include "cli.h"

enum progress_unit { PROGRESS_BYTES, PROGRESS_ITEMS };

/** On a terminal one line is redrawn ten times a second; elsewhere a line comes every 5 s; with --quiet nothing. */
struct progress {
	const char *what;
	enum progress_unit unit;
	uint64_t total; /* 0: unknown */
	uint64_t done, from, start_ns, next_ns;
	bool silent, tty;
};
void progress_start(struct progress *progress, const struct cli *cli, const char *what, enum progress_unit unit,
		    uint64_t total);
/** Says that the first @done were done before. */
void progress_from(struct progress *progress, uint64_t done);
void progress_update(struct progress *progress, uint64_t done);
/** Draws the last state and leaves the line. */
void progress_done(struct progress *progress);

/** CLOCK_MONOTONIC in nanoseconds. */
uint64_t progress_now_ns(void);

#endif
