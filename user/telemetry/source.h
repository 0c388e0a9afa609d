/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * source.h - one way of counting faults into slots. Each source is one file
 * with one pf_source_ops; telemetry.c tries them in order.
 */
#ifndef PF_SOURCE_H
#define PF_SOURCE_H

#include <linux/pinfold.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pf_regions;

/** What every source is told: where the arena is and how it is cut. */
struct pf_source_params {
	uint64_t base, arena_size, file_size;
	uint32_t slice_shift;
	uint32_t file_count;  /* most files */
	uint32_t slice_count; /* slots per file */
	uint32_t node_count;
	struct pf_regions *regions; /* the files as the module maps them; NULL: it does not */
};

struct pf_source;

/** What can be seen of a slice without counting faults, since the last observation. */
struct pf_observation {
	uint32_t touched, touched_random; /* revoked blocks */
	int64_t resident_change;          /* pages; 0 if not scanned this turn */
	uint64_t now_ms;
};

struct pf_source_ops {
	const char *name;
	/** Loads and attaches for real. -errno with pf_error text "NAME: what was refused". */
	int (*open)(const struct pf_source_params *params, struct pf_source **ret_source);
	void (*close)(struct pf_source *source);
	/** Makes slots for a file; they live until close. @fd is borrowed. */
	int (*add_file)(struct pf_source *source, uint32_t file_id, int fd, const struct pinfold_slot **ret_slots);
	/** Looks for slots that were made since the last call: once at the beginning of a turn. NULL: all exist. */
	void (*refresh)(struct pf_source *source);
	uint64_t (*lost)(const struct pf_source *source);
	/** What of an open source does not run, "": all does. Valid until the next add_file. NULL: all does. */
	const char *(*missing)(const struct pf_source *source);
	/** For a source that cannot see faults: takes what the sampler and the residency scan saw. NULL: not needed. */
	void (*observe)(struct pf_source *source, uint32_t file_id, uint32_t index, const struct pf_observation *seen);
	/** Seconds the process stalled in major faults since the last call, where slots do not say. NULL: they do. */
	double (*stall_s)(struct pf_source *source);
	/** Tries it with files of @dir (NULL: as far as it goes without). NULL: opening tells. */
	int (*probe)(const char *dir, char *ret_found, size_t found_size);
	/** True if slots count every fault, so that an unchanged slot proves that nothing was touched. */
	bool counts_faults;
};

extern const struct pf_source_ops pf_source_kmod, pf_source_range, pf_source_fexit, pf_source_tp, pf_source_procfs,
	pf_source_none;

#endif
