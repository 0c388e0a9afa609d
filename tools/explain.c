// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * explain.c - why slices are as they are, in sentences.
 *
 * Every number in a sentence is one that the policy had: the slice's own
 * telemetry and the thresholds that the engine runs with. Nothing is guessed:
 * what is not known is said to be unknown.
 */
#include "explain.h"
#include "names.h"
#include "config/units.h"

#include <inttypes.h>
#include <string.h>

#define CAPABILITIES_MAX 64
#define PAGE_BYTES 4096u
/* pinfold_live_decision.action */
#define ACTION_FOLD 6
#define ACTION_UNFOLD 7

/* The engine's defaults, where it does not tell what it runs with. */
#define PIN_HEAT_PERCENT 70
#define TAIL_HEAT_PERCENT 90
#define UNPIN_HEAT_PERCENT 50
#define SPIKE_PER_S 1000
#define NUMA_MISS_PERCENT 30

static double percent_or(uint32_t percent, uint32_t otherwise)
{
	return (percent ? percent : otherwise) / 100.0;
}

void explain_host_ask(const char *dir, struct explain_host *ret_host)
{
	struct pinfold_capability caps[CAPABILITIES_MAX];
	int n;

	*ret_host = (struct explain_host){.huge_state = -1};
	memset(caps, 0, sizeof(caps));
	n = pinfold_doctor(dir, caps, CAPABILITIES_MAX);
	for (int i = 0; i < n; i++) {
		if (!strcmp(caps[i].name, "numa") && caps[i].state < 0)
			ret_host->node_count = 1; /* "not applicable" says so */
		if (!strstr(caps[i].name, "huge") && !strstr(caps[i].name, "thp") && !strstr(caps[i].name, "folio"))
			continue;
		/* Any one that works is enough; else the first says what is missing. */
		if (ret_host->huge_state == -1 || (caps[i].state > 0 && ret_host->huge_state <= 0)) {
			ret_host->huge_state = caps[i].state > 0;
			snprintf(ret_host->huge_found, sizeof(ret_host->huge_found), "%s", caps[i].found);
		}
	}
}

/* ---- groups ---- */

static bool alike(const struct pinfold_live_slice *a, const struct pinfold_live_slice *b)
{
	return a->state == b->state && a->reason == b->reason && a->pattern == b->pattern &&
	       (a->state < PINFOLD_SLICE_PINNED || a->priority == b->priority);
}

void explain_group_take(const struct pinfold_live_slice *slices, size_t count, struct explain_group *ret_group)
{
	struct explain_group group = {.first = slices, .heat_min = 1, .confidence_min = 1};

	for (size_t i = 0; i < count; i++) {
		const struct pinfold_live_slice *s = &slices[i];

		if (i &&
		    (s->file_id != slices[i - 1].file_id || s->index != slices[i - 1].index + 1 || !alike(s, slices)))
			break;
		group.count++;
		group.minor += s->minor;
		group.major += s->major;
		group.write += s->write;
		group.stall_ns += s->stall_ns;
		group.refaulted += s->refaulted;
		group.evicted += s->evicted;
		if (s->resident_pages != UINT32_MAX) {
			group.resident_pages += s->resident_pages;
			group.known_count++;
		}
		group.fault_rate += s->fault_rate;
		group.stall_rate += s->stall_rate;
		if (s->heat < group.heat_min)
			group.heat_min = s->heat;
		if (s->heat > group.heat_max)
			group.heat_max = s->heat;
		if (s->confidence < group.confidence_min)
			group.confidence_min = s->confidence;
		for (int b = 0; b < 32; b++)
			group.latency[b] += s->latency[b];
		for (int n = 0; n < 8; n++)
			group.node_faults[n] += s->node_faults[n];
	}
	*ret_group = group;
}

/* ---- sentences ---- */

static void heat_text(const struct explain_group *group, char *text, size_t size)
{
	if (group->heat_max - group->heat_min < 0.005)
		snprintf(text, size, "%.2f", (double)group->heat_max);
	else
		snprintf(text, size, "%.2f to %.2f", (double)group->heat_min, (double)group->heat_max);
}

static void make_place(const struct explain_group *group, uint64_t slice_size, char *text, size_t size)
{
	char name[NAMES_TEXT_MAX], len[UNITS_TEXT_MAX];

	name_place(group->first->file_id, group->first->index * slice_size, name);
	snprintf(text, size, "%.100s+%s (%zu slice%s)", name, units_place(group->count * slice_size, len), group->count,
		 group->count == 1 ? "" : "s");
}

static void make_state(const struct explain_group *group, const struct watch *watch, char *text, size_t size)
{
	const struct pinfold_live_slice *s = group->first;
	char since[UNITS_TEXT_MAX], left[UNITS_TEXT_MAX];
	uint64_t pages = group->known_count * (watch->info.slice_size / PAGE_BYTES);
	char resident[48] = "how much is in memory is not known yet";

	if (pages)
		snprintf(resident, sizeof(resident), "%.0f %% in memory",
			 100.0 * (double)group->resident_pages / (double)pages);

	if (s->state >= PINFOLD_SLICE_PINNED)
		snprintf(text, size, "%s as %s for %s%s%s, %s.", watch_state_name(s->state),
			 watch_priority_name(s->priority), units_ms(s->pin_age_ms, since),
			 s->pin_left_ms ? ", to be reviewed in " : "",
			 s->pin_left_ms ? units_ms(s->pin_left_ms, left) : "", resident);
	else if (s->pin_age_ms && s->pin_age_ms < watch->info.open_ms) /* longer: since before anybody looked */
		snprintf(text, size, "not pinned for %s, %s: %s.", units_ms(s->pin_age_ms, since),
			 watch_state_name(s->state), resident);
	else
		snprintf(text, size, "not pinned since the store was opened %s ago, %s: %s.",
			 units_ms(watch->info.open_ms, since), watch_state_name(s->state), resident);
}

static void make_why(const struct explain_group *group, const struct watch *watch, char *text, size_t size)
{
	const struct pinfold_pin_config *config = &watch->info.pin_config;
	const struct pinfold_live_slice *s = group->first;
	char heat[32], used[UNITS_TEXT_MAX], total[UNITS_TEXT_MAX];
	const char *reason = pinfold_reason_text((enum pinfold_reason)s->reason);
	int n;

	heat_text(group, heat, sizeof(heat));
	n = snprintf(text, size,
		     "%s: heat %s; pinned from %.2f, tail-critical from %.2f, let go below %.2f; confidence %.2f.",
		     reason, heat, percent_or(config->pin_heat_percent, PIN_HEAT_PERCENT),
		     percent_or(config->tail_heat_percent, TAIL_HEAT_PERCENT),
		     percent_or(config->unpin_heat_percent, UNPIN_HEAT_PERCENT), (double)group->confidence_min);
	if (n < 0 || (size_t)n >= size)
		return;
	if (s->reason == PINFOLD_REASON_BUDGET || s->reason == PINFOLD_REASON_CLASS_BUDGET ||
	    s->reason == PINFOLD_REASON_PRESSURE || s->reason == PINFOLD_REASON_EVICTED_COLDER)
		snprintf(text + n, size - (size_t)n, " The budget: %s of %s used.",
			 units_size(watch->info.pin.budget_used_bytes, used),
			 units_size(watch->info.pin.budget_total_bytes, total));
	else if (s->refused_errno)
		snprintf(text + n, size - (size_t)n, " The kernel answered: %s.",
			 strerror(s->refused_errno < 0 ? -s->refused_errno : s->refused_errno));
}

/* The end of the log2 bucket that holds 99 % of the timed faults, in ns. */
static double latency_p99(const struct explain_group *group)
{
	uint64_t count = 0, seen = 0;

	for (int b = 0; b < 32; b++)
		count += group->latency[b];
	for (int b = 0; count && b < 32; b++) {
		seen += group->latency[b];
		if ((double)seen >= 0.99 * (double)count)
			return (double)(2ull << b);
	}
	return 0;
}

static void make_seen(const struct explain_group *group, const struct watch *watch, char *text, size_t size)
{
	char minor[UNITS_TEXT_MAX], major[UNITS_TEXT_MAX], stall[UNITS_TEXT_MAX], p99[UNITS_TEXT_MAX],
		evicted[UNITS_TEXT_MAX], back[UNITS_TEXT_MAX];
	double worst = latency_p99(group);
	int n;

	n = snprintf(text, size, "%s minor and %s major faults in all, now %.0f/s", units_count(group->minor, minor),
		     units_count(group->major, major), (double)group->fault_rate);
	/* Not every source times each fault: what it did not time is not a stall of 0. */
	if (group->stall_ns && n > 0 && (size_t)n < size)
		n += snprintf(text + n, size - (size_t)n, "; %s stalled in all",
			      units_ns((double)group->stall_ns, stall));
	if (n > 0 && (size_t)n < size)
		n += snprintf(text + n, size - (size_t)n, "; stalls now %.2f ms per second",
			      (double)group->stall_rate * 1e3);
	if (worst > 0 && n > 0 && (size_t)n < size)
		n += snprintf(text + n, size - (size_t)n, ", 99 %% of faults within %s", units_ns(worst, p99));
	if (n > 0 && (size_t)n < size)
		snprintf(text + n, size - (size_t)n,
			 "; %s pages evicted, %s came back; access looks %s (source %s).",
			 units_count(group->evicted, evicted), units_count(group->refaulted, back),
			 watch_pattern_name(group->first->pattern), watch->info.source);
}

/* The last decision to fold or unfold the group's first slice, or NULL. */
static const struct pinfold_live_decision *last_fold(const struct explain_group *group, const struct watch *watch)
{
	for (size_t i = watch->decision_count; i-- > 0;) {
		const struct pinfold_live_decision *d = &watch->decisions[i];

		if ((d->action == ACTION_FOLD || d->action == ACTION_UNFOLD) && d->file_id == group->first->file_id &&
		    group->first->index >= d->index && group->first->index - d->index < d->slice_count)
			return d;
	}
	return NULL;
}

static void make_huge(const struct explain_group *group, const struct watch *watch, const struct explain_host *host,
		      char *text, size_t size)
{
	const struct pinfold_live_decision *fold = last_fold(group, watch);

	if (group->first->state == PINFOLD_SLICE_FOLDED)
		snprintf(text, size, "on huge pages.");
	else if (group->first->state < PINFOLD_SLICE_PINNED)
		snprintf(text, size,
			 "not on huge pages: only what is pinned is folded, since a fault on a huge page reads 2 MiB.");
	else if (fold && fold->action == ACTION_FOLD && !fold->result)
		snprintf(text, size,
			 "folded %.1f s after the store was opened; 'pinfold residency' shows the large folios.",
			 (double)fold->time_ms / 1e3);
	else if (fold && fold->result)
		snprintf(text, size, "not on huge pages: folding it was refused: %s.", strerror(-fold->result));
	else if (host->huge_state == 0)
		snprintf(text, size, "not on huge pages: this host gives none to these files: %s.", host->huge_found);
	else
		snprintf(text, size,
			 "not on huge pages: a pin is folded when it has lasted a while, up to a share of all pins.");
}

static void make_moved(const struct explain_group *group, const struct watch *watch, const struct explain_host *host,
		       char *text, size_t size)
{
	uint64_t all = 0, most = 0;
	int nodes = 0, home = 0;

	for (int n = 0; n < 8; n++) {
		all += group->node_faults[n];
		nodes += group->node_faults[n] > 0;
		if (group->node_faults[n] > most) {
			most = group->node_faults[n];
			home = n;
		}
	}
	if (host->node_count == 1)
		snprintf(text, size, "not moved: the host has one NUMA node.");
	else if (!all)
		snprintf(text, size, "not moved: no fault says which node uses it.");
	else if (nodes == 1)
		snprintf(text, size, "not moved: all its faults come from node %d.", home);
	else
		snprintf(text, size,
			 "node %d has %.0f %% of its faults; it is moved when more than %.0f %% are remote.", home,
			 100.0 * (double)most / (double)all,
			 100 * percent_or(watch->info.pin_config.numa_miss_percent, NUMA_MISS_PERCENT));
}

static void make_change(const struct explain_group *group, const struct watch *watch, char *text, size_t size)
{
	const struct pinfold_pin_config *config = &watch->info.pin_config;
	double pin = percent_or(config->pin_heat_percent, PIN_HEAT_PERCENT);
	double unpin = percent_or(config->unpin_heat_percent, UNPIN_HEAT_PERCENT);
	uint32_t spike = config->fault_spike_per_s ? config->fault_spike_per_s : SPIKE_PER_S;

	if (group->first->state >= PINFOLD_SLICE_PINNED) {
		if (group->first->reason == PINFOLD_REASON_EXPLICIT)
			snprintf(text, size,
				 "it is let go by 'pinfold unpin', by the program, or at the end of its TTL.");
		else
			snprintf(text, size,
				 "it is let go when its heat stays below %.2f, or when hotter slices need the budget.",
				 unpin);
		return;
	}
	switch (group->first->reason) {
	case PINFOLD_REASON_ADAPTIVE_OFF:
		snprintf(text, size, "open the store with adaptive pinning, or pin it by hand: 'pinfold pin'.");
		break;
	case PINFOLD_REASON_BUDGET:
	case PINFOLD_REASON_CLASS_BUDGET:
	case PINFOLD_REASON_PRESSURE:
	case PINFOLD_REASON_EVICTED_COLDER:
		snprintf(text, size,
			 "a larger budget (max_pinned_percent, more memory), or hotter slices growing cold.");
		break;
	case PINFOLD_REASON_REFUSED:
		snprintf(text, size, "a higher RLIMIT_MEMLOCK or CAP_IPC_LOCK; 'pinfold doctor' says what is allowed.");
		break;
	case PINFOLD_REASON_NO_STALLS:
	case PINFOLD_REASON_SEQUENTIAL:
		snprintf(text, size, "random reads that wait for the device; 'pinfold pin' pins it all the same.");
		break;
	case PINFOLD_REASON_UNSURE:
	case PINFOLD_REASON_NONE:
		snprintf(text, size, "more observations: some seconds of use.");
		break;
	default:
		snprintf(text, size,
			 "more time stalled on it, until its heat is above %.2f, or more than %u faults per second; or "
			 "'pinfold pin'.",
			 pin, spike);
		break;
	}
}

void explain_make(const struct explain_group *group, const struct watch *watch, const struct explain_host *host,
		  struct explanation *ret_explanation)
{
	struct explanation *e = ret_explanation;

	memset(e, 0, sizeof(*e));
	make_place(group, watch->info.slice_size, e->place, sizeof(e->place));
	make_state(group, watch, e->state, sizeof(e->state));
	make_why(group, watch, e->why, sizeof(e->why));
	make_seen(group, watch, e->seen, sizeof(e->seen));
	make_huge(group, watch, host, e->huge, sizeof(e->huge));
	make_moved(group, watch, host, e->moved, sizeof(e->moved));
	make_change(group, watch, e->change, sizeof(e->change));
}

void explain_print(const struct explanation *e, FILE *out)
{
	fprintf(out, "%s: %s\n", e->place, e->state);
	fprintf(out, "  why     %s\n", e->why);
	fprintf(out, "  seen    %s\n", e->seen);
	fprintf(out, "  huge    %s\n", e->huge);
	fprintf(out, "  moved   %s\n", e->moved);
	fprintf(out, "  change  %s\n", e->change);
}

json_t *explain_json(const struct explain_group *group, const struct watch *watch, const struct explanation *e)
{
	json_t *slices = json_array();

	for (size_t i = 0; i < group->count; i++)
		json_array_append_new(slices, watch_slice_json(&group->first[i], watch->info.slice_size));
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "place", e->place, "state", e->state, "why",
			 e->why, "seen", e->seen, "huge", e->huge, "moved", e->moved, "change", e->change, "slices",
			 slices);
}
