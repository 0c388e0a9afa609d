/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * demo.h - pinfold's main job on data that every machine has.
 *
 *	data    (demo_data.c)   package index as records, a file tree as volumes
 *	phase   (demo_work.c)   hot reads beside a scan, timed; once without, once with adaptive pinning
 *	report  (demo_report.c) latencies, heatmaps, decisions and their reasons
 *
 * cmd_demo.c runs them in that order and undoes in reverse what they made.
 */
#ifndef PF_TOOLS_DEMO_H
#define PF_TOOLS_DEMO_H

#include "cgroup.h"
#include "cli.h"
#include "heatmap.h"
#include "histogram.h"
#include "import_file.h"
#include "watch.h"
#include "workload.h"

#define DEMO_PACKAGES_MAX 32
#define DEMO_SECONDS_MAX 600
/** The hot set's share of the memory limit, with the record table's part in it. */
#define DEMO_HOT_PERCENT 35
#define DEMO_TABLE_PERCENT 15
#define DEMO_SEED 20240001ull
#define DEMO_TABLE "packages"
#define DEMO_FILES_TABLE "files"
#define DEMO_VOLUMES "volume"

struct demo_options {
	const char *dir;      /* NULL: a directory of its own, removed at the end */
	uint64_t memory;      /* limit, bytes */
	uint64_t size;        /* of the objects; 0: a bit more than 5 x memory */
	bool exact_size;      /* size was asked for */
	uint32_t seconds;     /* of each phase */
	uint32_t rate;        /* hot operations per second */
	const char *packages[DEMO_PACKAGES_MAX];
	int package_count;
	const char *tree;
	const char *heatmap;  /* .png or .svg to write; NULL: none */
};

/** What was loaded. */
struct demo_data {
	struct import_result import;
	int import_files;
	char import_from[200];
	uint64_t table_bytes;  /* extents held by the record table */
	uint64_t file_count, byte_count, volume_count, unreadable_count;
	int copies;            /* how often the tree was loaded */
	double load_seconds;
};

/** The two kinds of hot operations. */
enum demo_op { DEMO_READ, DEMO_GET, DEMO_OP_COUNT };

/** One phase and what was measured in it. */
struct demo_phase {
	bool adaptive;
	uint32_t seconds, settled_from;            /* the settled part begins at that second */
	struct histogram *per_second[DEMO_OP_COUNT]; /* by second; owned */
	struct histogram all[DEMO_OP_COUNT], settled[DEMO_OP_COUNT];
	uint64_t scan_bytes;
	uint64_t *pinned_bytes;                    /* by second; owned */
	struct watch watch;                        /* its end: numbers, slices, decisions */
	bool watched;
	struct heatmap faults, state;
};

struct demo {
	struct cli *cli;
	struct demo_options options;
	char dir[512];
	struct demo_data data;
	struct cgroup cgroup;
	bool limited;
	char no_limit_reason[256];
	/* the hot set, the same in both phases */
	struct workload_run *hot;
	size_t hot_count;
	uint64_t hot_bytes;
	struct workload_keys keys;
	struct pinfold_extent *scanned;
	size_t scanned_count;
	struct demo_phase phases[2];
};

/* Each returns an exit status and has said what failed. */
int demo_data_load(struct demo *demo);
/** Writes the store's dirty pages back and drops what the page cache holds of it. */
void demo_drop_cache(const struct demo *demo);
int demo_work_prepare(struct demo *demo, struct pinfold *pf);
int demo_phase_run(struct demo *demo, struct demo_phase *phase, bool adaptive);
void demo_work_done(struct demo *demo);
int demo_report(struct demo *demo);

/** A heading of the progress on stderr; silent with --quiet. */
void demo_say(const struct demo *demo, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
