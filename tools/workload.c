// SPDX-License-Identifier: LGPL-2.1-or-later
/* workload.c - reads of a store at random and in sequence. */
#include "workload.h"
#include "records.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_LINE 64u

uint64_t workload_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

static uint64_t load_line(const void *p)
{
	const volatile uint64_t *words = p;
	uint64_t sum = 0;

	for (unsigned int i = 0; i < CACHE_LINE / sizeof(*words); i++)
		sum += words[i];
	return sum;
}

int workload_touch(struct pinfold *pf, const struct pinfold_extent *extent, uint64_t offset, uint64_t *sum)
{
	struct pinfold_guard guard;
	const void *base;
	int r;

	pinfold_read_begin(pf);
	r = pinfold_extent_ptr(pf, extent, &base);
	if (!r) {
		r = pinfold_guard_enter(pf, &guard);
		if (!r) {
			*sum += load_line((const char *)base + offset);
			pinfold_guard_leave(&guard);
		}
	}
	pinfold_read_end(pf);
	return r;
}

int workload_sweep(struct pinfold *pf, const struct pinfold_extent *extent, uint64_t offset, uint64_t size,
		   uint64_t *sum)
{
	struct pinfold_guard guard;
	const void *base;
	int r;

	pinfold_read_begin(pf);
	r = pinfold_extent_ptr(pf, extent, &base);
	if (!r) {
		r = pinfold_guard_enter(pf, &guard);
		if (!r) {
			const volatile uint64_t *p = (const volatile uint64_t *)((const char *)base + offset);
			const volatile uint64_t *end = p + size / sizeof(*p);
			uint64_t part = 0;

			for (; p < end; p += CACHE_LINE / sizeof(*p))
				part += *p;
			*sum += part;
			pinfold_guard_leave(&guard);
		}
	}
	pinfold_read_end(pf);
	return r;
}

struct extents {
	struct pinfold_extent *list;
	size_t count, capacity;
};

static int add_extent(void *ctx, const struct pinfold_extent *extent, bool published)
{
	struct extents *extents = ctx;

	if (!published)
		return 0;
	if (extents->count == extents->capacity) {
		size_t capacity = extents->capacity ? extents->capacity * 2 : 64;
		struct pinfold_extent *list = reallocarray(extents->list, capacity, sizeof(*list));

		if (!list)
			return -ENOMEM;
		extents->list = list;
		extents->capacity = capacity;
	}
	extents->list[extents->count++] = *extent;
	return 0;
}

int workload_extents(struct pinfold *pf, struct pinfold_extent **ret_extents, size_t *ret_count)
{
	struct extents extents = {0};
	int r = pinfold_extent_foreach(pf, add_extent, &extents);

	if (r) {
		free(extents.list);
		return r;
	}
	*ret_extents = extents.list;
	*ret_count = extents.count;
	return 0;
}

/* ---- keys ---- */

static int add_key(struct workload_keys *keys, struct records_text *text, const struct pinfold_record *record)
{
	int r = records_text_add(text, record->key, record->key_size);

	if (r)
		return r;
	keys->count++;
	keys->offsets[keys->count] = text->size;
	return 0;
}

int workload_keys_read(struct pinfold_table *table, size_t limit, uint64_t seed, struct workload_keys *ret_keys)
{
	struct workload_keys keys = {0};
	struct pinfold_table_stats stats;
	struct pinfold_cursor *cursor;
	struct pinfold_record record;
	struct records_text text = {0};
	uint64_t left;
	int r = pinfold_table_stat(table, &stats);

	if (!r)
		r = pinfold_cursor_open(table, &cursor);
	if (r)
		return r;
	keys.offsets = calloc(limit + 1, sizeof(*keys.offsets));
	if (!keys.offsets) {
		pinfold_cursor_close(cursor);
		return -ENOMEM;
	}
	/* Each remaining record has the same chance to be among those still wanted. */
	left = stats.record_count;
	while (keys.count < limit && (r = pinfold_cursor_next(cursor, &record)) == 1) {
		if (left <= limit - keys.count || workload_random(&seed) % left < limit - keys.count)
			r = add_key(&keys, &text, &record);
		if (r < 0)
			break;
		left -= left > 0;
	}
	pinfold_cursor_close(cursor);
	keys.text = text.data;
	if (r < 0) {
		workload_keys_done(&keys);
		return r;
	}
	*ret_keys = keys;
	return 0;
}

void workload_keys_done(struct workload_keys *keys)
{
	free(keys->text);
	free(keys->offsets);
	memset(keys, 0, sizeof(*keys));
}
