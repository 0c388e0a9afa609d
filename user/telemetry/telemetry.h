/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * telemetry.h - senses and never acts (but for revoking translations, which is
 * how it senses): sources of fault counts, the revocation sampler, heat.
 *
 * One writer: all calls but pf_telemetry_slot() come from the engine's
 * controller thread (or under its lock).
 */
#ifndef PF_TELEMETRY_H
#define PF_TELEMETRY_H

#include <linux/pinfold.h>
#include <pinfold/config.h>
#include <stddef.h>

#include "telemetry/snapshot.h"

struct pf_telemetry;
struct pf_regions;

/** The mapping to watch: data files of file_size bytes at base + file_id * file_size in this process. */
struct pf_watch {
	const void *base;
	uint64_t file_size;
	uint64_t arena_size;
};

struct pf_telemetry_config {
	enum pinfold_source source;      /* AUTO: best that attaches */
	struct pf_regions *regions;      /* through which the files are mapped, for kmod; borrowed; NULL: not */
	const char *only;                /* the one source to try, by name; NULL: as .source says */
	uint32_t sample_rate_per_s;      /* revoked blocks per second at most */
	bool no_sampling;                /* revoke nothing */
	uint32_t heat_halflife_ms;       /* 0: 3000 */
	uint32_t learning_window_min;
};

/** Opens and attaches by trial. Never fails for lack of privilege: falls back and says so (pf_telemetry_info). */
int pf_telemetry_new(const struct pf_watch *watch, const struct pf_telemetry_config *config,
		     struct pf_telemetry **ret_telemetry);
void pf_telemetry_free(struct pf_telemetry *telemetry);

/**
 * A data file was added and mapped. @fd is borrowed. Where the source cannot count it, the next one takes over for all
 * files (pf_telemetry_info() says so), and counters begin anew.
 */
int pf_telemetry_add_file(struct pf_telemetry *telemetry, uint32_t file_id, int fd);

/** Slice size of all files: 2 MiB unless a file would have more than 16384 slices. */
uint64_t pf_telemetry_slice_size(const struct pf_telemetry *telemetry);

/**
 * What the engine knows of a slice and telemetry needs: called back for each
 * slice at each turn.
 */
struct pf_slice_status {
	bool in_use;
	bool pinned; /* locked, best through another mapping of the file: see Documentation/telemetry.md */
	uint32_t extent_flags;
};
typedef void (*pf_slice_status_fn)(void *ctx, uint32_t file_id, uint32_t index, struct pf_slice_status *ret_status);

/**
 * One turn at time @now_ms (CLOCK_MONOTONIC): reads the slots, harvests and
 * places revocation samples, updates heat. *ret_snapshot is owned by
 * @telemetry, valid until the next call.
 */
int pf_telemetry_turn(struct pf_telemetry *telemetry, uint64_t now_ms, pf_slice_status_fn status, void *ctx,
		      const struct pf_snapshot **ret_snapshot);

/** An access the program told us of (record_access): counts as a random touch. */
void pf_telemetry_hint(struct pf_telemetry *telemetry, uint32_t file_id, uint32_t index, uint32_t access);

/** Raw counters of one slice, read-only shared memory; NULL if no source counts it. Any thread. */
const struct pinfold_slot *pf_telemetry_slot(const struct pf_telemetry *telemetry, uint32_t file_id, uint32_t index);

struct pf_telemetry_info {
	char source[32];    /* "kmod", "bpf:fexit", "bpf:range", "bpf:tp", "procfs", "none" */
	char missing[256];  /* what did not attach and the kernel's answer */
	uint64_t lost_events;
	uint64_t sample_count, sample_hit_count, sample_ns_total;
};
void pf_telemetry_info(const struct pf_telemetry *telemetry, struct pf_telemetry_info *ret_info);

/** Tries one source for real, for files in @dir (may be NULL), and detaches again (doctor). 0 or -errno with text. */
int pf_telemetry_probe(const char *source_name, const char *dir, char *ret_found, size_t found_size);

#endif
