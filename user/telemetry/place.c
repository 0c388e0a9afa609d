/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * place.c - where the next samples go, and which pages are resident.
 *
 * Pinned slices first: they show nothing of themselves otherwise. Then
 * resident ones, round-robin. Both are bounded per turn, whatever the store's size.
 */
#include <string.h>
#include <sys/mman.h>

#include "telemetry/internal.h"

/* New samples per slice and turn. */
#define SAMPLES_PINNED 2
#define SAMPLES_RESIDENT 1
/* Bytes whose residency is asked for per turn: 1250 slices of 2 MiB at 0.5 us. */
#define SCAN_BYTES (1250ull * (2ull << 20))
/* Credit never exceeds this much time of sampling. */
#define CREDIT_S 1.0
/* Slices looked at per sample placed: bounds the search among slices that hold nothing. */
#define TRIES_PER_SAMPLE 4

static uint32_t place_in(struct pf_telemetry *telemetry, uint64_t position, uint32_t want)
{
	struct pf_slice *slice = telemetry->order[position];
	const char *addr = pf_slice_addr(telemetry, &telemetry->views[position]);
	uint32_t placed = 0;

	for (uint32_t i = 0; i < want; i++)
		placed += pf_sampler_place(telemetry->sampler, addr, telemetry->slice_size, &slice->sample);
	return placed;
}

/* Goes round all slices once from *cursor, or until @budget samples stand. */
static uint64_t place_round(struct pf_telemetry *telemetry, bool pinned, uint32_t per_slice, uint64_t budget, uint64_t *cursor)
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
		if (!pinned && slice->resident_pages == 0)
			continue;
		tries--;
		placed += place_in(telemetry, position, per_slice);
	}
	return placed;
}

void pf_place_samples(struct pf_telemetry *telemetry, double dt_s)
{
	double most = CREDIT_S * telemetry->sample_rate_per_s;
	uint64_t budget, placed;

	telemetry->sample_credit += dt_s * telemetry->sample_rate_per_s;
	if (telemetry->sample_credit > most)
		telemetry->sample_credit = most;
	budget = (uint64_t)telemetry->sample_credit;
	placed = place_round(telemetry, true, SAMPLES_PINNED, budget, &telemetry->pinned_cursor);
	if (placed < budget)
		placed += place_round(telemetry, false, SAMPLES_RESIDENT, budget - placed, &telemetry->resident_cursor);
	pf_sampler_flush(telemetry->sampler);
	telemetry->sample_credit -= (double)placed;
}

static void scan_slice(struct pf_telemetry *telemetry, uint64_t position)
{
	struct pf_slice *slice = telemetry->order[position];
	uint64_t page_count = telemetry->slice_size >> 12;
	uint32_t resident = 0;

	if (mincore((void *)pf_slice_addr(telemetry, &telemetry->views[position]), telemetry->slice_size,
		    telemetry->mincore_buffer))
		return;
	for (uint64_t i = 0; i < page_count; i++)
		resident += telemetry->mincore_buffer[i] & 1;
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
