/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * heat.c - value and heat of a slice.
 *
 * DESIGN
 *   What residency saves is the stall of random accesses. Stalls themselves
 *   are rare events of very different length: readahead brings in megabytes
 *   around one miss, so a hot slice may show one major fault and thirty minor ones after
 *   each eviction. Every random fault is therefore evidence of random access,
 *   and is worth the store's mean stall per random touch; a slice's own stalls
 *   move that price, but only by PRICE_RANGE and only as far as there are
 *   enough of them. Sequential faults are evidence of nothing: readahead serves them.
 *
 *   A pinned slice does not fault. The touches that it was pinned for are carried on, at today's price,
 *   scaled by how many of its revoked blocks are touched at random against how many
 *   would be if it were still accessed as then. A pinned slice is sampled rarely (each touched sample
 *   costs its reader a fault), so what "as then" means is learnt from all pinned slices together:
 *   a slice of mean value is expected to be touched at half the rate of their pool. Untouched
 *   blocks stay revoked, so the longer a slice is quiet the more is known about it.
 *
 *   The mean that heat compares with is that of slices that are not pinned. Those are held up by
 *   their misses, pins are not: beside them whatever still misses would look cold.
 *
 *   A resident slice that is not pinned is seen through faults and through revoked
 *   blocks; where the latter show more touches than faults do, they count.
 *
 * INVARIANTS
 *   1. Without random touches the value of a slice that is not pinned falls by at least half per half-life;
 *      that of a pinned one falls by what samples fail to show.
 *   2. A slice is credited with as many observations at the mean (of slices not pinned) as the
 *      store's slices are alike (empirical Bayes: the shape of the gamma distribution that
 *      their spread shows beyond counting noise). Where all are alike, noise
 *      is not heat; where a few slices have all touches, two touches are.
 *   3. All heat is 0 while the whole store stalls less than FLOOR_ON of the time.
 */
#include "telemetry/heat.h"

#include <math.h>
#include <pinfold/types.h>

/* Bounds of the credit at the store's mean (invariant 2). */
#define PRIOR_MIN 0.25
#define PRIOR_MAX 8.0
/* How much noisier estimates are than plain counts: prices and boosts vary too. */
#define NOISE 1.5
/* Observations at which confidence is one half: where slices are alike, and where they differ most. */
#define UNSURE_MAX 4.0
#define UNSURE_MIN 1.25
/* Touches of the slice that a typical touch falls into below which the memory is stretched, and by how much at most. */
#define TYPICAL_MIN 6.0
#define STRETCH_MAX 3.0
/* Major faults after which a slice's own stalls are believed as much as the store's price. */
#define PRICE_PRIOR 16.0
#define PRICE_RANGE 3.0
/* Most by which sampled touches can raise what faults show. */
#define BOOST_MAX 8.0
/* What one touched sample and one due but missing touch do to the belief that a pin is still used. */
#define ALIVE_PER_HIT 0.5
#define SILENCE_WEIGHT 0.35
#define ALIVE_MIN 0.001
/* Below it a pin is taken for unused: nearly seven due touches in a row have failed to come. */
#define ALIVE_DEAD 0.1
/* Hits from which a measured touch rate replaces the one assumed at pinning. */
#define RATE_HITS 8.0
#define PIN_RATE_HALFLIFE_S 60.0
/* Decayed hits from which the pool's rate is believed, and the part of what was seen that is due from a slice. */
#define POOL_HITS 1.5
#define DUE_SHARE 0.5
/* The price of a touch is remembered this many half-lives. */
#define PRICE_HALFLIVES 10.0
/* Touches (decayed) without which the price stays what it was. */
#define PRICE_TOUCHES_MIN 0.01
/* A fault on a page that another is reading waits for half of a read, on average. */
#define WAIT_SHARE 0.5
#define FLOOR_ON 0.001
#define FLOOR_OFF 0.0005
#define RANDOM_SHARE 0.4
#define WRITE_SHARE 0.5

void pf_heat_init(struct pf_heat *heat, double halflife_s, double window_s, double blocks_per_slice)
{
	*heat = (struct pf_heat){.halflife_s = halflife_s, .window_s = window_s, .blocks_per_slice = blocks_per_slice};
}

void pf_heat_begin(struct pf_heat *heat, double dt_s)
{
	double stretch = heat->typical > 0 ? TYPICAL_MIN / heat->typical : 1;

	stretch = fmin(fmax(stretch, 1), STRETCH_MAX);
	heat->dt_s = dt_s;
	heat->turn_stall_s = 0;
	heat->keep = exp2(-dt_s / (heat->halflife_s * stretch));
	heat->keep_fast = exp2(-4.0 * dt_s / heat->halflife_s);
	heat->keep_cost = exp2(-dt_s / (PRICE_HALFLIVES * heat->halflife_s));
	heat->keep_pin_rate = exp2(-dt_s / PIN_RATE_HALFLIFE_S);
	heat->keep_slow = exp2(-dt_s / heat->window_s);
	heat->span_s = heat->span_s * heat->keep + dt_s;
	heat->span_square_s = heat->span_square_s * heat->keep * heat->keep + dt_s;
	heat->touches *= heat->keep_cost;
	heat->stall_s *= heat->keep_cost;
	heat->unnamed_stall_s *= heat->keep;
	heat->majors *= heat->keep_cost;
	heat->major_stall_s *= heat->keep_cost;
	heat->sum_value = 0;
	heat->sum_square = 0;
	heat->sum_random = heat->sum_random_square = 0;
	heat->sum_stall = 0;
	heat->sum_pin_touches = 0;
	heat->free_count = heat->pinned_count = 0;
	heat->pool_hits *= heat->keep_fast;
	heat->pool_exposure *= heat->keep_fast;
	heat->pool_rate *= heat->keep_pin_rate;
}

/* What the pool shows of a pinned slice that is touched as much as it was when it was pinned. */
static double pool_part(const struct pf_heat *heat, const struct pf_heat_slice *slice)
{
	double part = heat->mean_pin_touches > 0 ? fmin(1.0, slice->pin_touches / heat->mean_pin_touches) : 0;

	return part * heat->pool_rate;
}

/* Random touches per block and second to be expected of a pinned slice that is still what it was. */
static double expected_rate(const struct pf_heat *heat, const struct pf_heat_slice *slice)
{
	return fmax(slice->pin_block_rate, DUE_SHARE * pool_part(heat, slice));
}

/* How many must come, lest it is taken for unused. A rate from a few hits may be twice the true one: half of it. */
static double due_rate(const struct pf_heat *heat, const struct pf_heat_slice *slice)
{
	return DUE_SHARE * fmax(slice->pin_block_rate, pool_part(heat, slice));
}

/*
 * Updates how likely it is that the slice is still what it was pinned for. A touch proves it;
 * silence where n touches were due kills by e^-wn (the chance of missing them all is e^-n; w is for doubt
 * about n). Nothing revives
 * but a touch: to be unseen is not to be used again.
 */
static void update_alive(struct pf_heat *heat, struct pf_heat_slice *slice, const struct pf_heat_delta *delta)
{
	if (slice->hits >= RATE_HITS) {
		double rate = slice->hits / slice->exposure;

		if (rate > slice->pin_block_rate)
			slice->pin_block_rate = rate;
		else
			slice->pin_block_rate = rate + (slice->pin_block_rate - rate) * heat->keep_pin_rate;
	}
	slice->alive += ALIVE_PER_HIT * delta->hits;
	if (delta->hits < 1)
		slice->alive *= exp(-SILENCE_WEIGHT * due_rate(heat, slice) * delta->exposure);
	slice->alive = fmin(fmax(slice->alive, ALIVE_MIN), 1.0);
}

/*
 * Random touches per second of a pinned slice: at least those it was pinned for, which misses may have
 * throttled, or what its pool shows now that nothing holds its readers up.
 */
static double pinned_touches(const struct pf_heat *heat, const struct pf_heat_slice *slice)
{
	if (slice->alive < ALIVE_DEAD)
		return 0;
	return slice->alive * fmax(slice->pin_touches, expected_rate(heat, slice) * heat->blocks_per_slice);
}

/* Random touches that the slice's faults and samples show, as a decayed count. */
static double touches_of(const struct pf_heat *heat, const struct pf_heat_slice *slice)
{
	double per_block, boost;

	if (slice->hits < 1 || slice->exposure <= 0)
		return slice->random;
	per_block = slice->random / heat->span_s / heat->blocks_per_slice;
	boost = (slice->hits + 1) / (slice->exposure * per_block + 1);
	return slice->random * fmin(fmax(boost, 1.0), BOOST_MAX);
}

/*
 * Stall per random touch of this slice: the store's, moved by the slice's own
 * as far as it has major faults to show. Few long stalls are chance.
 */
static double price_of(const struct pf_heat *heat, const struct pf_heat_slice *slice)
{
	double weight = slice->majors / (slice->majors + PRICE_PRIOR), price;

	if (slice->random <= 0)
		return heat->cost_s;
	price = heat->cost_s + weight * (slice->random_stall_s / slice->random - heat->cost_s);
	return fmin(fmax(price, heat->cost_s / PRICE_RANGE), heat->cost_s * PRICE_RANGE);
}

static void pin_changed(const struct pf_heat *heat, struct pf_heat_slice *slice, bool pinned)
{
	slice->pinned = pinned;
	slice->hits = slice->exposure = 0;
	if (pinned) {
		slice->alive = 1;
		slice->pin_touches = heat->cost_s > 0 ? slice->value / heat->cost_s : 0;
		slice->pin_block_rate = slice->random / heat->span_s / heat->blocks_per_slice;
		return;
	}
	/* Released: the value decays from where it stood unless new faults bear it out. */
	slice->random = heat->cost_s > 0 ? fmin(slice->value * heat->span_s / heat->cost_s, 1e6) : 0;
	slice->random_stall_s = slice->value * heat->span_s;
}

static void add_counts(struct pf_heat *heat, struct pf_heat_slice *slice, const struct pf_heat_delta *delta)
{
	float keep = heat->keep;
	float waited_s = delta->waits * heat->wait_s;
	float random_share = delta->faults > 0 ? delta->random / delta->faults : 0;

	slice->faults = slice->faults * keep + delta->faults;
	slice->random = slice->random * keep + delta->random + delta->hints;
	slice->writes = slice->writes * keep + delta->writes;
	slice->majors = slice->majors * keep + delta->majors;
	slice->stall_s = slice->stall_s * keep + delta->stall_s + waited_s;
	slice->turn_random = delta->random;
	slice->turn_random_stall_s = delta->random_stall_s + waited_s * random_share;
	slice->random_stall_s = slice->random_stall_s * keep + slice->turn_random_stall_s;
	slice->hits = slice->hits * keep + delta->hits;
	slice->exposure = slice->exposure * keep + delta->exposure;
	heat->majors += delta->majors;
	heat->major_stall_s += delta->stall_s;
	if (!delta->pinned) {
		heat->touches += delta->random;
		heat->stall_s += slice->turn_random_stall_s;
		heat->turn_stall_s += slice->turn_random_stall_s;
	}
}

void pf_heat_add(struct pf_heat *heat, struct pf_heat_slice *slice, const struct pf_heat_delta *delta)
{
	slice->in_use = delta->in_use;
	if (!delta->in_use) {
		*slice = (struct pf_heat_slice){0};
		return;
	}
	if (delta->pinned != slice->pinned)
		pin_changed(heat, slice, delta->pinned);
	add_counts(heat, slice, delta);
	if (slice->pinned) {
		update_alive(heat, slice, delta);
		slice->value = pinned_touches(heat, slice) * heat->cost_s;
		heat->sum_stall += slice->value;
		heat->sum_pin_touches += slice->pin_touches;
		heat->pinned_count++;
		heat->pool_hits += delta->hits;
		heat->pool_exposure += delta->exposure;
	} else {
		slice->value = touches_of(heat, slice) * price_of(heat, slice) / heat->span_s;
		heat->sum_stall += slice->random_stall_s / heat->span_s;
		heat->sum_value += slice->value;
		heat->sum_square += (double)slice->value * slice->value;
		heat->free_count++;
	}
	heat->sum_random += slice->random;
	heat->sum_random_square += slice->random * slice->random;
}

void pf_heat_add_stall(struct pf_heat *heat, double stall_s)
{
	heat->stall_s += stall_s;
	heat->turn_stall_s += stall_s;
	heat->unnamed_stall_s += stall_s;
}

/* Method of moments: how many observations at the mean the store's spread is worth. */
static void set_prior(struct pf_heat *heat)
{
	double scale = heat->cost_s > 0 ? heat->span_s / heat->cost_s : 0;
	double mean = heat->mean_value * scale, square, noise, excess;

	heat->mean_touches = mean;
	heat->touches_per_value = scale;
	heat->prior = PRIOR_MAX;
	if (!heat->free_count)
		return;
	square = heat->sum_square / (double)heat->free_count * scale * scale;
	noise = NOISE * mean * heat->span_square_s / heat->span_s; /* variance of a decayed Poisson count */
	excess = square - mean * mean - noise;
	if (excess > 0)
		heat->prior = fmin(fmax(mean * mean / excess, PRIOR_MIN), PRIOR_MAX);
}

void pf_heat_end(struct pf_heat *heat)
{
	if (heat->pool_hits >= POOL_HITS && heat->pool_exposure > 0)
		heat->pool_rate = fmax(heat->pool_rate, heat->pool_hits / heat->pool_exposure);
	heat->mean_pin_touches = heat->pinned_count ? heat->sum_pin_touches / (double)heat->pinned_count : 0;
	heat->sum_stall += heat->unnamed_stall_s / heat->span_s;
	heat->wait_s = heat->majors > 0 ? WAIT_SHARE * heat->major_stall_s / heat->majors : 0;
	if (heat->touches > PRICE_TOUCHES_MIN) /* else the last price holds: pins may leave nothing that stalls */
		heat->cost_s = heat->stall_s / heat->touches;
	heat->mean_value = heat->free_count ? heat->sum_value / (double)heat->free_count : 0;
	heat->typical = heat->sum_random > 0 ? heat->sum_random_square / heat->sum_random : 0;
	set_prior(heat);
	if (heat->sum_stall > FLOOR_ON)
		heat->stalling = true;
	else if (heat->sum_stall < FLOOR_OFF)
		heat->stalling = false;
}

static double observations(const struct pf_heat *heat, const struct pf_heat_slice *slice)
{
	double n = slice->random;

	if (slice->pinned)
		n += slice->exposure * expected_rate(heat, slice); /* blocks not touched are observations too */
	return n;
}

static double heat_of(const struct pf_heat *heat, const struct pf_heat_slice *slice)
{
	double ratio, alive;

	/* No evidence of its own is no heat, whatever the mean is. */
	if (!heat->stalling || slice->value <= 0)
		return 0;
	/* A pin's belief weighs all of it: what is not used any more has no claim to the credit either. */
	alive = slice->pinned ? slice->alive : 1;
	ratio = alive * (slice->value / alive * heat->touches_per_value + heat->prior) /
		(heat->mean_touches + heat->prior);
	return ratio / (1 + ratio);
}

/* What the slice's stalls come from: a slice that is read at random more than most is random, scanned or not. */
static uint8_t pattern_of(const struct pf_heat_slice *slice, const struct pf_heat_slice *before, double heat)
{
	if (slice->faults < 1)
		return slice->pattern; /* remembered */
	if (slice->writes > WRITE_SHARE * slice->faults)
		return PINFOLD_ACCESS_WRITE;
	if (slice->random > RANDOM_SHARE * slice->faults || heat > 0.5)
		return PINFOLD_ACCESS_RANDOM;
	if (before && (before->pattern == PINFOLD_ACCESS_SEQUENTIAL || before->pattern == PINFOLD_ACCESS_SCAN))
		return PINFOLD_ACCESS_SCAN;
	return PINFOLD_ACCESS_SEQUENTIAL;
}

void pf_heat_view(const struct pf_heat *heat, struct pf_heat_slice *slice, const struct pf_heat_slice *before,
		  struct pf_slice_view *ret_view)
{
	double n = observations(heat, slice), span = heat->span_s > 0 ? heat->span_s : 1;

	ret_view->value = slice->value;
	ret_view->heat = heat_of(heat, slice);
	slice->pattern = slice->in_use ? pattern_of(slice, before, ret_view->heat) : PINFOLD_ACCESS_UNKNOWN;
	ret_view->confidence = n / (n + fmin(fmax(UNSURE_MAX * heat->prior, UNSURE_MIN), UNSURE_MAX));
	ret_view->fault_rate = slice->faults / span;
	ret_view->random_rate = slice->pinned && slice->exposure > 0 ?
					slice->hits / slice->exposure * heat->blocks_per_slice :
					touches_of(heat, slice) / span;
	ret_view->stall_rate = slice->stall_s / span;
	ret_view->random_stall_rate = slice->random_stall_s / span;
	ret_view->turn_random_rate = slice->turn_random / heat->dt_s;
	ret_view->turn_random_stall_rate = slice->turn_random_stall_s / heat->dt_s;
	ret_view->pattern = slice->pattern;
	slice->slow_heat += (ret_view->heat - slice->slow_heat) * (1 - heat->keep_slow);
	ret_view->slow_heat = slice->slow_heat;
}
