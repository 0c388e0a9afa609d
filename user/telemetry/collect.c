/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * collect.c - what happened to each slice since the last turn: slot
 * differences, touched samples, and from them the input of heat.
 */
#include <math.h>
#include <string.h>

#include "telemetry/internal.h"

static uint64_t take(uint64_t *last, const __u64 *counter)
{
	uint64_t now = __atomic_load_n(counter, __ATOMIC_RELAXED), gone = now - *last;

	*last = now;
	/* minor is counted down when a fault turns out major, so it may be seen to step back */
	return (int64_t)gone < 0 ? 0 : gone;
}

/* Counters are compared first: most slices are quiet, and their other lines stay unread. */
static bool read_slot(const struct pinfold_slot *slot, struct pf_slice *slice, struct pf_heat_delta *delta)
{
	uint64_t minor = __atomic_load_n(&slot->minor, __ATOMIC_RELAXED);
	uint64_t major = __atomic_load_n(&slot->major, __ATOMIC_RELAXED);

	if (minor == slice->minor && major == slice->major)
		return false;
	/* both in one sum, so that a fault that moves from minor to major is counted once */
	delta->faults = (float)(int64_t)(minor + major - slice->minor - slice->major);
	if (delta->faults < 0)
		delta->faults = 0;
	slice->minor = minor;
	delta->majors = (float)take(&slice->major, &slot->major);
	delta->writes = (float)take(&slice->write, &slot->write);
	delta->random = fminf((float)take(&slice->random, &slot->random), delta->faults);
	delta->stall_s = (float)take(&slice->stall_ns, &slot->stall_ns) * 1e-9f;
	delta->random_stall_s = (float)take(&slice->stall_random_ns, &slot->stall_random_ns) * 1e-9f;
	delta->waits = (float)take(&slice->io_wait, &slot->io_wait);
	return true;
}

/* Without classed faults: a scan touches all slices alike, so what a slice shows beyond the median is random. */
static float random_share_by_baseline(struct pf_telemetry *telemetry, struct pf_slice *slice)
{
	float rate;

	if (slice->exposure <= 0)
		return 0;
	rate = slice->touched / slice->exposure;
	return rate > 0 ? fmaxf(0, 1 - (float)telemetry->baseline / rate) : 0;
}

static void collect_samples(struct pf_telemetry *telemetry, const struct pf_slice_view *view, struct pf_slice *slice,
			    bool changed, double dt_s, struct pf_heat_delta *delta)
{
	uint32_t touched = 0, before = slice->sample.count;
	float keep = (float)telemetry->heat.keep;

	if (before && (changed || !telemetry->ops->counts_faults))
		touched = pf_sampler_harvest(telemetry->sampler, pf_slice_addr(telemetry, view), &slice->sample);
	/* a touched block stood revoked for half of the turn, on average */
	delta->exposure = (float)(dt_s * (before - 0.5 * touched));
	slice->touched = slice->touched * keep + (float)touched;
	slice->exposure = slice->exposure * keep + delta->exposure;
	if (telemetry->ops->counts_faults) {
		/* one fault on a large folio maps several blocks back: that is one touch */
		if ((float)touched > delta->faults)
			touched = (uint32_t)delta->faults;
		delta->hits = delta->faults > 0 ? (float)touched * delta->random / delta->faults : 0;
		telemetry->sample_hit_count += touched;
		return;
	}
	telemetry->sample_hit_count += touched;
	delta->hits = (float)touched * random_share_by_baseline(telemetry, slice);
	if (!telemetry->ops->observe)
		return;
	delta->faults = (float)touched;
	delta->random = delta->hits;
	telemetry->ops->observe(telemetry->source, view->file_id, view->index,
				&(struct pf_observation){.touched = touched,
							 .touched_random = (uint32_t)lrintf(delta->hits),
							 .resident_change = slice->resident_change,
							 .now_ms = telemetry->last_turn_ms});
	slice->resident_change = 0;
}

/* Takes slice @index of file @file_id into the list of slices and into heat. */
static void collect_slice(struct pf_telemetry *telemetry, uint32_t file_id, uint32_t index,
			  const struct pf_slice_status *status, double dt_s)
{
	struct pf_telemetry_file *file = &telemetry->files[file_id];
	struct pf_slice *slice = &file->slices[index];
	struct pf_slice_view *view = &telemetry->views[telemetry->view_count];
	struct pf_heat_delta delta = {.in_use = status->in_use, .pinned = status->pinned};
	bool changed = false;

	view->file_id = file_id;
	view->index = index;
	telemetry->order[telemetry->view_count++] = slice;
	if (status->pinned != slice->pinned || !status->in_use)
		slice->sample.count = 0; /* pinning maps everything; a freed slice is nobody's */
	if (status->pinned && !slice->pinned)
		slice->pinned_ms = telemetry->last_turn_ms;
	slice->pinned = status->pinned;
	slice->in_use = status->in_use;
	slice->extent_flags = status->extent_flags;
	/* slots of a source without faults are its own notes, not input */
	if (file->slots && !telemetry->ops->observe)
		changed = read_slot(&file->slots[index], slice, &delta);
	pf_nodes_collect(file, index, changed, dt_s);
	if (status->in_use)
		collect_samples(telemetry, view, slice, changed, dt_s, &delta);
	if (status->pinned && slice->sample.count + delta.hits > 0)
		telemetry->pinned_majors += (uint64_t)delta.majors;
	if (status->pinned)
		telemetry->pinned_hits += delta.hits;
	delta.hints = slice->hints;
	slice->hints = 0;
	pf_heat_add(&telemetry->heat, &slice->heat, &delta);
}

/* Slices above the last that was ever in use are left out; those below stay in, used or not. */
static void collect_file(struct pf_telemetry *telemetry, uint32_t file_id, double dt_s, pf_slice_status_fn status,
			 void *ctx)
{
	struct pf_telemetry_file *file = &telemetry->files[file_id];

	for (uint32_t i = 0; i < telemetry->params.slice_count; i++) {
		struct pf_slice_status now = {0};

		status(ctx, file_id, i, &now);
		if (i >= file->used && !now.in_use)
			continue;
		for (; file->used < i; file->used++) {
			struct pf_slice_status below = {0};

			status(ctx, file_id, file->used, &below);
			collect_slice(telemetry, file_id, file->used, &below, dt_s);
		}
		if (file->used == i)
			file->used++;
		collect_slice(telemetry, file_id, i, &now, dt_s);
	}
}

void pf_collect(struct pf_telemetry *telemetry, double dt_s, pf_slice_status_fn status, void *ctx)
{
	telemetry->view_count = 0;
	telemetry->pinned_majors = 0;
	telemetry->pinned_hits = 0;
	pf_heat_begin(&telemetry->heat, dt_s);
	for (uint32_t f = 0; f < telemetry->file_end; f++) {
		if (telemetry->files[f].fd >= 0)
			collect_file(telemetry, f, dt_s, status, ctx);
	}
	if (telemetry->ops->stall_s)
		pf_heat_add_stall(&telemetry->heat, telemetry->ops->stall_s(telemetry->source));
	pf_heat_end(&telemetry->heat);
}
