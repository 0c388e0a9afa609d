/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * internal.h - the telemetry object, for this room's files only.
 */
#ifndef PF_TELEMETRY_INTERNAL_H
#define PF_TELEMETRY_INTERNAL_H

#include "telemetry/heat.h"
#include "telemetry/resident.h"
#include "telemetry/sampler.h"
#include "telemetry/source.h"
#include "telemetry/telemetry.h"

/** One slice: what was read of its slot last, and what is known of it. */
struct pf_slice {
	uint64_t minor, major, write, random, stall_ns, stall_random_ns, io_wait; /* at the last turn */
	struct pf_heat_slice heat;
	struct pf_sample_slice sample;
	float touched, exposure; /* decayed, of all classes: sources that cannot class */
	float hints;
	uint32_t resident_pages; /* UINT32_MAX: not known */
	int32_t resident_change; /* since the scan before, until observed */
	uint32_t extent_flags;
	uint64_t pinned_ms; /* since when; if pinned */
	bool in_use, pinned;
};

struct pf_slice_nodes;

struct pf_telemetry_file {
	int fd; /* borrowed; -1: not added */
	int region; /* borrowed; -1: not mapped through the kernel module */
	const char *base;
	const struct pinfold_slot *slots; /* NULL: not counted */
	struct pf_slice *slices;
	struct pf_slice_nodes *nodes; /* NULL: nothing can be known of nodes, see nodes.c */
	uint32_t used; /* slices below this one were in use at some time */
};

struct pf_telemetry {
	struct pf_watch watch;
	struct pf_source_params params;
	uint64_t slice_size;
	struct pf_telemetry_config config;
	uint32_t sample_rate_per_s;
	bool no_sampling;
	uint32_t halflife_ms;
	const struct pf_source_ops *ops;
	struct pf_source *source;
	size_t source_index; /* in the list of sources; the next one is tried after it */
	char missing[256];
	struct pf_telemetry_file *files; /* [params.file_count] */
	uint32_t file_end;               /* one past the highest file added */
	struct pf_heat heat;
	struct pf_sampler *sampler;
	double sample_credit;
	double pinned_rate;              /* samples of pinned slices per second, see place.c */
	bool pinned_asked;               /* there were pins to be sampled in the last turn */
	uint64_t pinned_majors;          /* of this turn */
	double pinned_hits;              /* samples of pinned slices found touched at random in this turn */
	uint64_t sample_hit_count, sample_ns_total;
	double baseline; /* touches per block-second of the median slice, for sources that cannot class */
	/* round-robin places, as positions in the list of all slices */
	uint64_t pinned_cursor, resident_cursor, scan_cursor, home_cursor;
	struct pf_resident resident;
	uint64_t last_turn_ms;
	struct pf_slice_view *views;
	struct pf_slice **order; /* slice of each view */
	uint64_t view_capacity, view_count;
	float *scratch;          /* [view_capacity] */
	struct pf_snapshot snapshot;
};

/** Slices of a file of @file_size bytes are 2^this bytes. */
uint32_t pf_slice_shift(uint64_t file_size);

/* collect.c: one pass over all slices */
void pf_collect(struct pf_telemetry *telemetry, double dt_s, pf_slice_status_fn status, void *ctx);
/* nodes.c: where slices are used from, and where their memory is */
int pf_nodes_new(const struct pf_source_params *params, struct pf_slice_nodes **ret_nodes);
/** @changed: the slot's counters moved since the last turn. */
void pf_nodes_collect(struct pf_telemetry_file *file, uint32_t index, bool changed, double dt_s);
/** The slot's counters begin anew. */
void pf_nodes_restart(struct pf_telemetry_file *file, uint32_t index);
void pf_nodes_view(const struct pf_telemetry *telemetry, struct pf_slice_view *view);
void pf_nodes_find_homes(struct pf_telemetry *telemetry);
/* place.c: samples and residency for the next turn */

/**
 * Samples of pinned slices per second from now on, unbounded above. @rate: those so far; @hits_per_s: of them found
 * touched; @stall_per_s: seconds that random misses of slices which are not pinned stalled readers; @majors: major
 * faults in pinned slices in this turn.
 */
double pf_pinned_sample_rate(double rate, double hits_per_s, double stall_per_s, uint64_t majors);
/** Whether @slice is a pin that may be out of use and has too few samples to know. */
bool pf_is_suspect(const struct pf_slice *slice, uint64_t now_ms);
void pf_place_samples(struct pf_telemetry *telemetry, double dt_s);
void pf_scan_residency(struct pf_telemetry *telemetry);

/** Address of the slice behind view @position. */
static inline const char *pf_slice_addr(const struct pf_telemetry *telemetry, const struct pf_slice_view *view)
{
	return telemetry->files[view->file_id].base + (uint64_t)view->index * telemetry->slice_size;
}

#endif
