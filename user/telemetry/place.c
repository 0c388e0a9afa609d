/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * place.c - where the next samples go, and which pages are resident.
 *
 * Pinned slices first: they show nothing of themselves otherwise. Then
 * resident ones, round-robin. Both are bounded per turn, whatever the store's size.
 *
 * What a sample of a pinned slice costs is the fault of the reader that touches it, a microsecond
 * that such a slice would never have taken; a sample that nobody touches costs no reader anything. So
 * what is bounded is touches: while all that is pinned is in use a few samples per second
 * suffice, and as soon as they stay untouched there are more, four times as many each turn. While misses
 * elsewhere hold the readers up for milliseconds, as after a hot set has moved, touches may cost a hundredth of
 * that: then all pins can be asked at once whether they are still in use. A slice with an untouched sample, or one
 * that is in doubt since a scan took its samples, is a suspect: it is asked again before others are.
 * A pin that is young needs none: the misses that earned it are its evidence. So after a move the pins of old are
 * asked, and the readers of the new ones are left alone.
 *
 * A page stays locked only while a locked mapping maps it. If the mapping that
 * is revoked is itself the one that locks, memory pressure can take a revoked page before it
 * is touched again, and the touch becomes a major fault. Lock through a second
 * mapping and this cannot happen. Where it does happen it is noticed as majors in
 * pinned slices, and pinned slices are sampled less until it stops.
 */
#include <math.h>

#include "telemetry/internal.h"

/* New samples per slice and turn. */
#define SAMPLES_PINNED 1
#define SAMPLES_RESIDENT 1
/* Major faults in pinned slices per turn that are put down to chance, and how the rate of samples answers more. */
#define PINNED_MAJORS_MAX 2
#define PINNED_RATE_FALL 0.5
#define PINNED_RATE_RISE 4.0
/* Touched samples of pinned slices per second that are thought harmless: one read in a thousand at 2000 reads/s ... */
#define PINNED_HITS_MAX 2.0
/* ... or, while misses elsewhere hold the readers up, a hundredth of what those cost, at 2 us a sample. */
#define PINNED_HITS_PER_STALL (0.01 / 2e-6)
/* Stall per second that is no more than a scan's few faults out of order. */
#define STALL_BLIP 0.02
/* Untouched samples of a suspect that are enough. */
#define SUSPECT_SAMPLES 4
/* A pin is a suspect until it is believed so much to be in use. */
#define SUSPECT_ALIVE 0.9f
/* For so long a pin is young. */
#define PIN_TRUST_MS 5000
/* Bytes whose residency is asked for per turn: 128 slices of 2 MiB at up to 3 us. */
#define SCAN_BYTES (128ull * (2ull << 20))
/* Part of the rate that slices which are not pinned may use. */
#define RESIDENT_SHARE 0.25
/* Credit never exceeds this much time of sampling. */
#define CREDIT_S 1.0
/* Slices looked at per sample placed: bounds the search among slices that hold nothing. */
#define TRIES_PER_SAMPLE 4

static uint32_t place_in(struct pf_telemetry *telemetry, uint64_t position, uint32_t want)
{
	struct pf_slice *slice = telemetry->order[position];
	const struct pf_slice_view *view = &telemetry->views[position];
	const struct pf_telemetry_file *file = &telemetry->files[view->file_id];
	const char *addr = pf_slice_addr(telemetry, view);
	uint64_t offset = (uint64_t)view->index * telemetry->slice_size;
	uint32_t placed = 0;

	for (uint32_t i = 0; i < want; i++) {
		uint32_t pages = 0, block;

		if (!pf_sampler_pick(telemetry->sampler, telemetry->slice_size, &slice->sample, &block))
			continue;
		/* A locked page is resident; any other must be, or a later major fault would be our doing. */
		if (!slice->pinned &&
		    (pf_resident_count(&telemetry->resident, file->fd, file->region,
				       offset + (uint64_t)block * PF_SAMPLE_BLOCK,
				       addr + (uint64_t)block * PF_SAMPLE_BLOCK,
				       PF_SAMPLE_BLOCK, &pages) || pages != PF_SAMPLE_BLOCK >> 12))
			continue;
		pf_sampler_place(telemetry->sampler, addr, &slice->sample, block);
		placed++;
	}
	return placed;
}

static bool is_young(const struct pf_slice *slice, uint64_t now_ms)
{
	return slice->pinned && now_ms - slice->pinned_ms < PIN_TRUST_MS;
}

bool pf_is_suspect(const struct pf_slice *slice, uint64_t now_ms)
{
	return slice->in_use && slice->pinned && !is_young(slice, now_ms) && slice->sample.count < SUSPECT_SAMPLES &&
	       (slice->sample.count || slice->heat.alive < SUSPECT_ALIVE);
}

/* One more sample for each pinned slice that may be out of use. */
static uint64_t place_suspects(struct pf_telemetry *telemetry, uint64_t budget)
{
	uint64_t placed = 0;

	for (uint64_t i = 0; i < telemetry->view_count && placed < budget; i++) {
		if (pf_is_suspect(telemetry->order[i], telemetry->last_turn_ms))
			placed += place_in(telemetry, i, 1);
	}
	return placed;
}

static double harmless_hits(double stall_per_s)
{
	return PINNED_HITS_MAX + PINNED_HITS_PER_STALL * fmax(0, stall_per_s - STALL_BLIP);
}

double pf_pinned_sample_rate(double rate, double hits_per_s, double stall_per_s, uint64_t majors)
{
	const double harmless = harmless_hits(stall_per_s);

	if (majors > PINNED_MAJORS_MAX)
		return fmax(rate * PINNED_RATE_FALL, PINNED_HITS_MAX);
	if (hits_per_s > harmless)
		rate *= fmax(harmless / hits_per_s, PINNED_RATE_FALL * PINNED_RATE_FALL);
	else if (hits_per_s < harmless / 2)
		rate *= PINNED_RATE_RISE;
	return fmax(rate, harmless); /* so many samples have no more touches */
}

/* Goes round all slices once from *cursor, or until @budget samples stand. */
static uint64_t place_round(struct pf_telemetry *telemetry, bool pinned, uint32_t per_slice, uint64_t budget,
			    uint64_t *cursor)
{
	uint64_t placed = 0, tries = budget * TRIES_PER_SAMPLE, n = telemetry->view_count;

	if (*cursor >= n)
		*cursor = 0;
	for (uint64_t step = 0; step < n && placed < budget && tries; step++) {
		uint64_t position = *cursor;
		struct pf_slice *slice = telemetry->order[position];

		*cursor = position + 1 < n ? position + 1 : 0;
		if (!slice->in_use || slice->pinned != pinned || slice->sample.count == PF_SAMPLE_SLICE_MAX)
			continue;
		if (pinned ? is_young(slice, telemetry->last_turn_ms) : slice->resident_pages == 0)
			continue;
		tries--;
		placed += place_in(telemetry, position, per_slice);
	}
	return placed;
}

void pf_place_samples(struct pf_telemetry *telemetry, double dt_s)
{
	double most = CREDIT_S * telemetry->sample_rate_per_s;
	uint64_t budget, pinned_budget, resident_budget, placed;
	const double stall = telemetry->heat.turn_stall_s / dt_s;

	/* silence tells nothing where nobody was asked */
	telemetry->pinned_rate = telemetry->pinned_asked ?
		pf_pinned_sample_rate(telemetry->pinned_rate, telemetry->pinned_hits / dt_s, stall,
				      telemetry->pinned_majors) : harmless_hits(stall);
	telemetry->pinned_rate = fmin(fmax(telemetry->pinned_rate, PINNED_HITS_MAX), telemetry->sample_rate_per_s);
	telemetry->sample_credit += dt_s * telemetry->sample_rate_per_s;
	if (telemetry->sample_credit > most)
		telemetry->sample_credit = most;
	budget = (uint64_t)telemetry->sample_credit;
	pinned_budget = (uint64_t)fmin((double)budget, ceil(telemetry->pinned_rate * dt_s));
	placed = place_suspects(telemetry, pinned_budget);
	placed += place_round(telemetry, true, SAMPLES_PINNED, pinned_budget - placed, &telemetry->pinned_cursor);
	telemetry->pinned_asked = placed;
	/* The rest is kept for the moment when pins fall silent. */
	resident_budget = (uint64_t)ceil(RESIDENT_SHARE * telemetry->sample_rate_per_s * dt_s);
	placed += place_round(telemetry, false, SAMPLES_RESIDENT,
			      resident_budget < budget - placed ? resident_budget : budget - placed,
			      &telemetry->resident_cursor);
	pf_sampler_flush(telemetry->sampler);
	telemetry->sample_credit -= (double)placed;
}

static void scan_slice(struct pf_telemetry *telemetry, uint64_t position)
{
	struct pf_slice *slice = telemetry->order[position];
	const struct pf_slice_view *view = &telemetry->views[position];
	const struct pf_telemetry_file *file = &telemetry->files[view->file_id];
	uint32_t resident;

	if (pf_resident_count(&telemetry->resident, file->fd, file->region,
			      (uint64_t)view->index * telemetry->slice_size, pf_slice_addr(telemetry, view),
			      telemetry->slice_size, &resident))
		return;
	if (slice->resident_pages != UINT32_MAX)
		slice->resident_change = (int32_t)(resident - slice->resident_pages);
	slice->resident_pages = resident;
}

void pf_scan_residency(struct pf_telemetry *telemetry)
{
	uint64_t budget = SCAN_BYTES / telemetry->slice_size, n = telemetry->view_count;

	if (!budget)
		budget = 1;
	if (budget > n / 8 + 1)
		budget = n / 8 + 1;
	if (telemetry->scan_cursor >= n)
		telemetry->scan_cursor = 0;
	for (uint64_t step = 0; step < n && budget; step++) {
		uint64_t position = telemetry->scan_cursor;

		telemetry->scan_cursor = position + 1 < n ? position + 1 : 0;
		if (!telemetry->order[position]->in_use)
			continue;
		scan_slice(telemetry, position);
		budget--;
	}
}
