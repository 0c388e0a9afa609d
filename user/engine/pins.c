/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pins.c - pinning by hand, hints, and carrying out decisions.
 *
 * A pin key names a run of slices: file (16 bits), first slice (24), count (24).
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "engine/slices.h"

#define KEY_FIELD_BITS 24
#define KEY_FIELD_MASK ((1u << KEY_FIELD_BITS) - 1)

static pinfold_pin_key make_key(uint32_t file_id, uint32_t index, uint32_t count)
{
	return (uint64_t)file_id << (2 * KEY_FIELD_BITS) | (uint64_t)index << KEY_FIELD_BITS | count;
}

static void split_key(pinfold_pin_key key, uint32_t *ret_file_id, uint32_t *ret_index, uint32_t *ret_count)
{
	*ret_file_id = (uint32_t)(key >> (2 * KEY_FIELD_BITS));
	*ret_index = (uint32_t)(key >> KEY_FIELD_BITS) & KEY_FIELD_MASK;
	*ret_count = (uint32_t)key & KEY_FIELD_MASK;
}

static int require_controller(struct pinfold *pf)
{
	if (!pf)
		return pf_error(-EINVAL, "the store handle is NULL");
	if (!pf->controlled)
		return pf_error(-EOPNOTSUPP, "this handle was opened without a controller (read-only or store-only): "
					     "it has no pins");
	return 0;
}

int pf_slice_span(struct pinfold *pf, const struct pinfold_extent *extent, uint64_t offset, uint64_t size,
		  uint32_t *ret_index, uint32_t *ret_count)
{
	uint64_t slice_size = pf->slices->slice_size;
	uint64_t first, last;
	int r = pf_extent_check(pf->store, extent);

	if (r)
		return r;
	if (offset >= extent->len || size > extent->len - offset)
		return pf_error(-ERANGE, "offset %llu + %llu bytes is beyond the extent's %u bytes",
				(unsigned long long)offset, (unsigned long long)size, extent->len);
	if (!size)
		size = extent->len - offset;
	first = (extent->offset + offset) / slice_size;
	last = (extent->offset + offset + size - 1) / slice_size;
	*ret_index = (uint32_t)first;
	*ret_count = (uint32_t)(last - first + 1);
	return 0;
}

/* Locks a run of slices for good (@onfault false), or, page by page as they are touched, where readers touch them. */
static int lock_run(struct pinfold *pf, uint32_t file_id, const struct pf_range *range, bool onfault)
{
	return onfault ? pf_pin(range, true) : pf_pin_map_pin(pf->pins, file_id * pf->file_size + range->offset, range);
}

static int unlock_run(struct pinfold *pf, uint32_t file_id, const struct pf_range *range)
{
	int direct = pf_unpin(range); /* of a pin on fault; nothing to do for the others */
	int alias = pf_pin_map_unpin(pf->pins, file_id * pf->file_size + range->offset, range);

	return direct ? direct : alias;
}

/*
 * Huge pages take the place of small ones, which are dropped only where nothing else maps or locks them: neither an
 * earlier pin nor what commits were applied through. Leaves the run unlocked.
 */
static int fold_run(struct pinfold *pf, uint32_t file_id, const struct pf_range *range)
{
	unlock_run(pf, file_id, range);
	pf_store_unmap_writer(pf->store, file_id, range->offset, range->size);
	return pf_fold(range);
}

static int fold_pinned(struct pinfold *pf, uint32_t file_id, const struct pf_range *range)
{
	int folded = fold_run(pf, file_id, range), locked = lock_run(pf, file_id, range, false);

	return locked ? locked : folded;
}

int pf_act(struct pinfold *pf, const struct pf_decision *decision)
{
	uint64_t slice_size = pf->slices->slice_size;
	struct pf_range range = pf_range_of(pf, decision->file_id, decision->index * slice_size,
					    decision->slice_count * slice_size);
	uint64_t moved;

	switch (decision->action) {
	case PF_ACTION_PIN:
		return lock_run(pf, decision->file_id, &range, false);
	case PF_ACTION_UNPIN:
		return unlock_run(pf, decision->file_id, &range);
	case PF_ACTION_PREFETCH:
		return pf_prefetch_ranges(pf->prefetcher, &range, 1, false);
	case PF_ACTION_MIGRATE:
		return pf_migrate(&range, decision->node, &moved);
	case PF_ACTION_FOLD:
		return fold_pinned(pf, decision->file_id, &range);
	case PF_ACTION_UNFOLD:
		return pf_unfold(&range);
	case PF_ACTION_ADVISE_RANDOM:
		return pf_advise(&range, true);
	case PF_ACTION_ADVISE_NORMAL:
		return pf_advise(&range, false);
	case PF_ACTION_RENEW:
	case PF_ACTION_NONE:
		break;
	}
	return 0;
}

/* How many extents are to be brought in with @extent, on each side. */
static uint32_t adjacent_count(const struct pinfold *pf, const struct pinfold_extent *extent,
			       const struct pinfold_pin_opts *opts)
{
	if (pf->config.no_prefetch)
		return 0;
	return opts->prefetch_adjacent ? opts->prefetch_adjacent : (extent->flags & PINFOLD_EXTENT_PREFETCH) != 0;
}

/* Brings in @count extents next to the pinned one on each side: along its connections, fewer of those the less they
 * weigh, else by address. */
static void prefetch_adjacent(struct pinfold *pf, const struct pinfold_extent *extent, uint32_t count)
{
	struct pinfold_connections *links = malloc(sizeof(*links));

	if (links && pinfold_connections_get(pf, extent, links) == 0) {
		count = (uint32_t)ceil((double)count * (double)links->prefetch_weight);
		for (uint32_t i = 0; i < count && i < links->forward_count; i++)
			pinfold_prefetch(pf, &links->forward[i], 0, links->forward[i].len);
		for (uint32_t i = 0; i < count && i < links->back_count; i++)
			pinfold_prefetch(pf, &links->back[i], 0, links->back[i].len);
		for (uint32_t i = 0; i < count && i < links->hot_count; i++)
			pinfold_prefetch(pf, &links->hot[i], 0, links->hot[i].len);
	} else {
		uint64_t after = extent->offset + extent->len;
		uint64_t before = extent->offset;
		struct pinfold_extent other;
		enum pf_granule_state state;

		for (uint32_t i = 0; i < count && after < pf->file_size; i++) {
			if (pf_store_extent_at(pf->store, extent->file_id, after, &other, &state))
				break;
			pinfold_prefetch(pf, &other, 0, other.len);
			after = other.offset + other.len;
		}
		for (uint32_t i = 0; i < count && before > 0; i++) {
			if (pf_store_extent_at(pf->store, extent->file_id, before - 1, &other, &state))
				break;
			pinfold_prefetch(pf, &other, 0, other.len);
			before = other.offset;
		}
	}
	free(links);
}

/* Takes the run's room out of the budget; learned pins that stand in its way go at once. */
static int spend_on(struct pinfold *pf, uint32_t file_id, uint32_t index, uint32_t count,
		    const struct pinfold_pin_opts *opts)
{
	const struct pf_decision *evictions;
	size_t eviction_count = 0;
	int r = 0;

	if (file_id >= pf->watched_files) /* added since the last turn */
		r = pinfold_controller_turn(pf);
	if (r)
		return r;
	pthread_mutex_lock(&pf->turn_lock);
	pthread_mutex_lock(&pf->lock);
	pf_budget_refresh(pf, pf_now_ms());
	r = pf_policy_pin(pf->policy, file_id, index, count, opts, pf_now_ms(), &pf->budget);
	if (r == 0)
		r = pf_policy_make_room(pf->policy, &pf->budget, pf_now_ms(), &evictions, &eviction_count);
	pthread_mutex_unlock(&pf->lock);
	for (size_t i = 0; r == 0 && i < eviction_count; i++)
		pf_act(pf, &evictions[i]); /* what cannot be let go shows as a refused lock below */
	pthread_mutex_unlock(&pf->turn_lock);
	return r;
}

int pinfold_pin_slice(struct pinfold *pf, const struct pinfold_extent *extent, uint64_t offset, uint64_t size,
		      const struct pinfold_pin_opts *opts, pinfold_pin_key *ret_key)
{
	static const struct pinfold_pin_opts defaults;
	struct pf_decision decision = { .action = PF_ACTION_PIN, .reason = PINFOLD_REASON_EXPLICIT };
	struct pf_range range;
	uint32_t index, count, adjacent;
	int r = require_controller(pf);

	if (r)
		return r;
	if (!extent)
		return pf_error(-EINVAL, "pinfold_pin_slice: extent must not be NULL");
	if (!opts)
		opts = &defaults;
	if ((unsigned)opts->priority >= PINFOLD_PRIORITY_COUNT)
		return pf_error(-EINVAL, "priority %d is none of 0..%d", (int)opts->priority,
				PINFOLD_PRIORITY_COUNT - 1);
	if ((unsigned)opts->lifetime > PINFOLD_LIFETIME_LONG_LIVED)
		return pf_error(-EINVAL, "lifetime %d is none of 0..%d", (int)opts->lifetime,
				PINFOLD_LIFETIME_LONG_LIVED);
	for (size_t i = 0; i < 4; i++)
		if (opts->reserved[i])
			return pf_error(-EINVAL, "reserved fields of pinfold_pin_opts must be 0");
	if (opts->numa_prefer_plus_1 < 0 || opts->numa_prefer_plus_1 > (int)pf_node_count())
		return pf_error(-EINVAL, "node %d does not exist; this host has %u", opts->numa_prefer_plus_1 - 1,
				pf_node_count());
	r = pf_slice_span(pf, extent, offset, size, &index, &count);
	if (r)
		return r;

	r = spend_on(pf, extent->file_id, index, count, opts);
	if (r)
		return r;

	decision.file_id = extent->file_id;
	decision.index = index;
	decision.slice_count = count;
	decision.priority = opts->priority;
	range = pf_range_of(pf, extent->file_id, index * pf->slices->slice_size, count * pf->slices->slice_size);
	if (opts->use_hugepages && !pf->config.no_huge_pages)
		fold_run(pf, extent->file_id, &range); /* a preference: residency shows whether it took */
	if (opts->numa_prefer_plus_1 > 0) {
		uint64_t moved;

		/* Pages that two mappings share move only with CAP_SYS_NICE: so before the lock adds its own. */
		r = pf_prefetch_ranges(pf->prefetcher, &range, 1, true);
		if (r == 0)
			r = pf_migrate(&range, opts->numa_prefer_plus_1 - 1, &moved);
	}
	if (r == 0)
		r = lock_run(pf, extent->file_id, &range, opts->onfault);
	pthread_mutex_lock(&pf->lock);
	pf_policy_result(pf->policy, &decision, r, pf_now_ms());
	if (r)
		pf_policy_unpin(pf->policy, extent->file_id, index, count, pf_now_ms());
	pthread_mutex_unlock(&pf->lock);
	if (r) {
		unlock_run(pf, extent->file_id, &range);
		return r;
	}
	adjacent = adjacent_count(pf, extent, opts);
	if (adjacent)
		prefetch_adjacent(pf, extent, adjacent);
	if (ret_key)
		*ret_key = make_key(extent->file_id, index, count);
	return 0;
}

int pf_unpin_span(struct pinfold *pf, uint32_t file_id, uint32_t index, uint32_t count)
{
	struct pf_range range;
	int r;

	if (file_id >= pf_store_file_count(pf->store) || !count || index >= pf->slices->per_file ||
	    count > pf->slices->per_file - index)
		return pf_error(-ENOENT, "no such pin");
	range = pf_range_of(pf, file_id, index * pf->slices->slice_size, count * pf->slices->slice_size);
	pthread_mutex_lock(&pf->lock);
	r = pf_policy_unpin(pf->policy, file_id, index, count, pf_now_ms());
	pthread_mutex_unlock(&pf->lock);
	return r ? r : unlock_run(pf, file_id, &range);
}

int pinfold_unpin_slice(struct pinfold *pf, pinfold_pin_key key)
{
	uint32_t file_id, index, count;
	int r = require_controller(pf);

	if (r)
		return r;
	split_key(key, &file_id, &index, &count);
	return pf_unpin_span(pf, file_id, index, count);
}

int pinfold_pin_promote(struct pinfold *pf, pinfold_pin_key key, enum pinfold_priority priority)
{
	uint32_t file_id, index, count;
	int r = require_controller(pf);

	if (r)
		return r;
	if ((unsigned)priority >= PINFOLD_PRIORITY_COUNT)
		return pf_error(-EINVAL, "priority %d is none of 0..%d", (int)priority, PINFOLD_PRIORITY_COUNT - 1);
	split_key(key, &file_id, &index, &count);
	pthread_mutex_lock(&pf->lock);
	r = pf_policy_promote(pf->policy, file_id, index, count, priority, pf_now_ms());
	pthread_mutex_unlock(&pf->lock);
	return r;
}

bool pinfold_is_pinned(struct pinfold *pf, pinfold_pin_key key)
{
	uint32_t file_id, index, count;
	bool pinned = true;

	if (require_controller(pf))
		return false;
	split_key(key, &file_id, &index, &count);
	pthread_mutex_lock(&pf->lock);
	for (uint32_t i = 0; i < count && pinned; i++) {
		struct pf_pin_view view;

		pf_policy_view(pf->policy, file_id, index + i, &view);
		pinned = view.pinned;
	}
	pthread_mutex_unlock(&pf->lock);
	return pinned && count > 0;
}

int pinfold_pin_gc_expired(struct pinfold *pf)
{
	int count = require_controller(pf);

	if (count)
		return count;
	pthread_mutex_lock(&pf->lock);
	count = pf_policy_gc(pf->policy, pf_now_ms());
	pthread_mutex_unlock(&pf->lock);
	if (count > 0)
		pinfold_controller_turn(pf);
	return count;
}

int pinfold_pin_stat(struct pinfold *pf, struct pinfold_pin_stats *ret_stats)
{
	int r = require_controller(pf);

	if (r)
		return r;
	REQUIRE(ret_stats);
	pthread_mutex_lock(&pf->lock);
	pf_budget_refresh(pf, pf_now_ms());
	pf_policy_stat(pf->policy, &pf->budget, ret_stats);
	strncpy(ret_stats->effective_memory_limit, pf->limits.limit_name,
		sizeof(ret_stats->effective_memory_limit) - 1);
	pthread_mutex_unlock(&pf->lock);
	return 0;
}

void pinfold_record_access(struct pinfold *pf, const struct pinfold_extent *extent, enum pinfold_access access)
{
	uint32_t index, count;

	if (!pf || !pf->controlled || !extent || pf_slice_span(pf, extent, 0, 0, &index, &count))
		return;
	pthread_mutex_lock(&pf->lock);
	for (uint32_t i = 0; i < count; i++)
		pf_telemetry_hint(pf->telemetry, extent->file_id, index + i, access);
	pthread_mutex_unlock(&pf->lock);
}

static int hotter_first(const void *a, const void *b)
{
	const struct pinfold_hot_extent *x = a, *y = b;

	return (x->heat < y->heat) - (x->heat > y->heat);
}

int pinfold_get_hot_extents(struct pinfold *pf, struct pinfold_hot_extent *ret_extents, size_t limit)
{
	struct pinfold_hot_extent *all = NULL;
	size_t count = 0, capacity = 0;
	int r = require_controller(pf);

	if (r)
		return r;
	REQUIRE(ret_extents || !limit);
	pthread_mutex_lock(&pf->lock);
	for (uint64_t i = 0; i < pf->last.slice_count && r == 0; i++) {
		const struct pf_slice_view *view = &pf->last.slices[i];
		struct pinfold_extent extent;
		enum pf_granule_state state;

		if (!view->in_use || view->heat <= 0 ||
		    pf_store_extent_at(pf->store, view->file_id, view->index * pf->slices->slice_size, &extent, &state))
			continue;
		/* Slices come in order, so those of one extent are neighbours: it is as hot as its hottest. */
		if (count && all[count - 1].extent.file_id == extent.file_id &&
		    all[count - 1].extent.offset == extent.offset) {
			if (view->heat > all[count - 1].heat) {
				all[count - 1].heat = view->heat;
				all[count - 1].confidence = view->confidence;
			}
			continue;
		}
		if (count == capacity) {
			size_t grown = capacity ? capacity * 2 : 256;
			struct pinfold_hot_extent *more = realloc(all, grown * sizeof(*all));

			if (!more) {
				r = pf_error(-ENOMEM, "out of memory");
				break;
			}
			all = more;
			capacity = grown;
		}
		all[count++] = (struct pinfold_hot_extent){ extent, view->heat, view->confidence };
	}
	pthread_mutex_unlock(&pf->lock);
	if (r == 0) {
		if (count)
			qsort(all, count, sizeof(*all), hotter_first);
		if (count > limit)
			count = limit;
		if (count)
			memcpy(ret_extents, all, count * sizeof(*all));
		r = (int)count;
	}
	free(all);
	return r;
}
