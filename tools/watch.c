// SPDX-License-Identifier: LGPL-2.1-or-later
/* watch.c - one look at a store that a process has open. */
#include "watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_OF(a) (sizeof(a) / sizeof(*(a)))
/* As many as the engine keeps. */
#define DECISIONS_MAX 4096

const char *watch_state_name(unsigned int state)
{
	static const char *const names[] = {"free", "absent", "cached", "pinned", "folded"};

	return state < COUNT_OF(names) ? names[state] : "unknown";
}

const char *watch_priority_name(unsigned int priority)
{
	static const char *const names[] = {"background", "query-critical", "tail-latency-critical"};

	return priority < COUNT_OF(names) ? names[priority] : "unknown";
}

const char *watch_pattern_name(unsigned int pattern)
{
	static const char *const names[] = {"unknown", "random", "sequential", "scan", "write"};

	return pattern < COUNT_OF(names) ? names[pattern] : "unknown";
}

const char *watch_action_name(unsigned int action)
{
	static const char *const names[] = {"none", "pin", "unpin", "renew", "prefetch", "migrate", "fold", "unfold",
					    "readahead-off", "readahead-on"};

	return action < COUNT_OF(names) ? names[action] : "unknown";
}

const char *watch_reason_name(unsigned int reason)
{
	static const char *const names[PINFOLD_REASON_COUNT] = {
		[PINFOLD_REASON_NONE] = "none",
		[PINFOLD_REASON_HOT] = "hot",
		[PINFOLD_REASON_TAIL_HOT] = "tail-hot",
		[PINFOLD_REASON_SPIKE] = "spike",
		[PINFOLD_REASON_EXPLICIT] = "explicit",
		[PINFOLD_REASON_RENEWED] = "renewed",
		[PINFOLD_REASON_COLD] = "cold",
		[PINFOLD_REASON_UNSURE] = "unsure",
		[PINFOLD_REASON_SEQUENTIAL] = "sequential",
		[PINFOLD_REASON_NO_STALLS] = "no-stalls",
		[PINFOLD_REASON_BUDGET] = "budget",
		[PINFOLD_REASON_CLASS_BUDGET] = "class-budget",
		[PINFOLD_REASON_EXPIRED] = "expired",
		[PINFOLD_REASON_EVICTED_COLDER] = "evicted-colder",
		[PINFOLD_REASON_PRESSURE] = "pressure",
		[PINFOLD_REASON_REFUSED] = "refused",
		[PINFOLD_REASON_DROPPED] = "dropped",
		[PINFOLD_REASON_ADAPTIVE_OFF] = "adaptive-off",
		[PINFOLD_REASON_RANDOM_MISSES] = "random-misses",
	};

	return reason < PINFOLD_REASON_COUNT && names[reason] ? names[reason] : "unknown";
}

int watch_open(const char *dir, struct watch *ret_watch)
{
	struct watch watch = {0};
	int r = pinfold_live_open(dir, &watch.live);

	if (r)
		return r;
	r = pinfold_live_info(watch.live, &watch.info);
	if (r) {
		pinfold_live_close(watch.live);
		return r;
	}
	*ret_watch = watch;
	return 0;
}

static int compare_slices(const void *a, const void *b)
{
	const struct pinfold_live_slice *x = a, *y = b;

	if (x->file_id != y->file_id)
		return x->file_id < y->file_id ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

static int read_slices(struct watch *watch)
{
	size_t capacity = watch->info.slice_count + 64, count = 0;

	/* The store may grow between two looks. */
	for (int i = 0; i < 8; i++) {
		int r;

		free(watch->slices);
		watch->slices = calloc(capacity, sizeof(*watch->slices));
		if (!watch->slices)
			return -ENOMEM;
		r = pinfold_live_slices(watch->live, watch->slices, capacity, &count);
		if (r)
			return r;
		if (count <= capacity) {
			watch->slice_count = count;
			qsort(watch->slices, count, sizeof(*watch->slices), compare_slices);
			return 0;
		}
		capacity = count + 64;
	}
	return -EAGAIN;
}

int watch_read(struct watch *watch)
{
	int r = pinfold_live_info(watch->live, &watch->info);

	if (!r)
		r = read_slices(watch);
	if (r)
		return r;
	free(watch->decisions);
	watch->decision_count = 0;
	watch->decisions = calloc(DECISIONS_MAX, sizeof(*watch->decisions));
	if (!watch->decisions)
		return -ENOMEM;
	return pinfold_live_decisions(watch->live, 0, watch->decisions, DECISIONS_MAX, &watch->decision_count);
}

void watch_close(struct watch *watch)
{
	if (watch->live)
		pinfold_live_close(watch->live);
	free(watch->slices);
	free(watch->decisions);
	memset(watch, 0, sizeof(*watch));
}

const struct pinfold_live_slice *watch_slice_at(const struct watch *watch, uint32_t file_id, uint64_t offset)
{
	struct pinfold_live_slice key = {.file_id = file_id};

	if (!watch->info.slice_size || !watch->slice_count)
		return NULL;
	key.index = (uint32_t)(offset / watch->info.slice_size);
	return bsearch(&key, watch->slices, watch->slice_count, sizeof(key), compare_slices);
}

const struct pinfold_live_decision *watch_last_decision(const struct watch *watch, uint32_t file_id, uint32_t index)
{
	for (size_t i = watch->decision_count; i-- > 0;) {
		const struct pinfold_live_decision *d = &watch->decisions[i];

		if (d->file_id == file_id && index >= d->index &&
		    index - d->index < (d->slice_count ? d->slice_count : 1))
			return d;
	}
	return NULL;
}

static json_t *pin_json(const struct pinfold_pin_stats *pin)
{
	json_t *classes = json_object();

	for (int i = 0; i < PINFOLD_PRIORITY_COUNT; i++) {
		const struct pinfold_priority_stats *p = &pin->by_priority[i];

		json_object_set_new(
			classes, watch_priority_name((unsigned int)i),
			json_pack("{s:o, s:o, s:o, s:o, s:o}", "pinned_bytes", cli_json_u64(p->pinned_bytes),
				  "pinned_slices", cli_json_u64(p->pinned_count), "budget_bytes",
				  cli_json_u64(p->budget_bytes), "evictions", cli_json_u64(p->eviction_count),
				  "average_pin_ms", cli_json_real(p->average_pin_time_ms)));
	}
	return json_pack("{s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:o}", "pinned_bytes",
			 cli_json_u64(pin->total_pinned_bytes), "budget_bytes", cli_json_u64(pin->budget_total_bytes),
			 "effective_memory_bytes", cli_json_u64(pin->effective_memory_bytes), "effective_memory_limit",
			 pin->effective_memory_limit, "huge_page_bytes", cli_json_u64(pin->huge_page_bytes),
			 "numa_local_bytes", cli_json_u64(pin->numa_local_bytes), "refused",
			 cli_json_u64(pin->refused_count), "classes", classes);
}

json_t *watch_info_json(const struct pinfold_live_info *info)
{
	return json_pack("{s:i, s:o, s:o, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "pid", (int)info->pid,
			 "open_ms", cli_json_u64(info->open_ms), "slice_size", cli_json_u64(info->slice_size), "slices",
			 cli_json_u64(info->slice_count), "source", info->source, "missing", info->missing,
			 "lost_events", cli_json_u64(info->lost_events), "turns", cli_json_u64(info->turn_count),
			 "turn_ns_total", cli_json_u64(info->turn_ns_total), "samples",
			 cli_json_u64(info->sample_count), "sample_hits", cli_json_u64(info->sample_hit_count),
			 "sample_ns_total", cli_json_u64(info->sample_ns_total), "pin", pin_json(&info->pin));
}

json_t *watch_slice_json(const struct pinfold_live_slice *s, uint64_t slice_size)
{
	json_t *nodes = json_array(), *latency = json_array();

	for (size_t i = 0; i < COUNT_OF(s->node_faults); i++)
		json_array_append_new(nodes, json_integer(s->node_faults[i]));
	for (size_t i = 0; i < COUNT_OF(s->latency); i++)
		json_array_append_new(latency, json_integer(s->latency[i]));
	return json_pack("{s:I, s:o, s:o, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
			 "s:I, s:i, s:I, s:I, s:o, s:o}",
			 "file", (json_int_t)s->file_id, "offset", cli_json_u64(s->index * slice_size), "size",
			 cli_json_u64(slice_size), "state", watch_state_name(s->state), "reason",
			 watch_reason_name(s->reason), "pattern", watch_pattern_name(s->pattern), "priority",
			 s->state >= PINFOLD_SLICE_PINNED ? watch_priority_name(s->priority) : "none", "heat",
			 cli_json_real(s->heat), "confidence", cli_json_real(s->confidence), "fault_rate",
			 cli_json_real(s->fault_rate), "stall_rate", cli_json_real(s->stall_rate), "minor_faults",
			 cli_json_u64(s->minor), "major_faults", cli_json_u64(s->major), "write_faults",
			 cli_json_u64(s->write), "stall_ns", cli_json_u64(s->stall_ns), "refaulted",
			 cli_json_u64(s->refaulted), "evicted", cli_json_u64(s->evicted), "resident_pages",
			 s->resident_pages == UINT32_MAX ? json_null() : json_integer(s->resident_pages), "huge_pages",
			 (json_int_t)s->huge_pages, "refused_errno",
			 (int)s->refused_errno, "state_age_ms", (json_int_t)s->pin_age_ms, "pin_left_ms",
			 (json_int_t)s->pin_left_ms, "node_faults", nodes, "latency_log2_ns", latency);
}
