/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * rules.c - keys that contradict each other, each allowed on its own.
 *
 * What is wrong is said where the later of the two was set, in the higher layer or further down in the file, and names
 * where the other one comes from. A key that is in doubt contradicts nothing: what is wrong with it was said.
 */
#include "config/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The effective value of a key, with all that is said of it. */
struct side {
	const struct pf_config_key *key;
	const struct pf_config_slot *slot;
	struct pf_config_origin origin;
	bool known; /* no higher layer may have meant another one */
	char path[PF_CONFIG_TEXT_MAX], from[PF_CONFIG_TEXT_MAX];
	char *text;
};

static bool is_known(const struct pf_config *config, const struct pf_config_key *key)
{
	const struct pf_config_key *names[] = { key, key->same ? pf_config_find(key->same) : key };

	for (int layer = PF_CONFIG_LAYER_COUNT - 1; layer >= 0; layer--) {
		const struct pf_config_slot *a = pf_config_slot(config, (enum pf_config_layer)layer, names[0]);
		const struct pf_config_slot *b = pf_config_slot(config, (enum pf_config_layer)layer, names[1]);

		if (a->doubtful || b->doubtful)
			return false;
		if (a->set || b->set)
			break;
	}
	return true;
}

static int side_init(const struct pf_config *config, const char *path, struct side *ret_side)
{
	struct side *side = ret_side;
	const struct pf_config_key *by;
	enum pf_config_layer layer;

	side->key = pf_config_find(path);
	side->slot = pf_config_effective(config, side->key, &layer, &by);
	side->known = is_known(config, side->key);
	pf_config_origin(config, side->key, &side->origin);
	pf_config_path(by, side->path);
	pf_config_origin_text(&side->origin, side->from);
	side->text = pf_config_value_write(side->key, &side->slot->value);
	return side->text ? 0 : -ENOMEM;
}

static bool is_later(const struct side *a, const struct side *b)
{
	if (a->origin.layer != b->origin.layer)
		return a->origin.layer > b->origin.layer;
	return a->origin.line > b->origin.line ||
	       (a->origin.line == b->origin.line && a->origin.column > b->origin.column);
}

/* "A is 3 and B is 5 (FILE:7): WHY", where the later one stands; nothing if either is in doubt. */
static int contradict(struct pf_config *config, const struct side *a, const struct side *b, const char *why)
{
	const struct side *late = is_later(a, b) ? a : b, *early = late == a ? b : a;

	if (!a->known || !b->known)
		return 0;
	return pf_config_problem(config, late->origin.name ? late->origin.name : "built-in", late->origin.line,
				 late->origin.column, "%s is %s, and %s is %s (%s): %s", late->path, late->text,
				 early->path, early->text, early->from, why);
}

static double measure(const struct side *side)
{
	const bool real = side->key->type == PF_CONFIG_RATIO || side->key->type == PF_CONFIG_FACTOR;

	return real ? side->slot->value.real : (double)side->slot->value.number;
}

/* Where 0 is a word ("auto", "none"), it contradicts nothing. */
static int ascending(struct pf_config *config, const char *low_path, const char *high_path, const char *why)
{
	struct side low = { 0 }, high = { 0 };
	int r = side_init(config, low_path, &low);

	if (r == 0)
		r = side_init(config, high_path, &high);
	if (r == 0 && measure(&low) > measure(&high) && !(high.key->zero && measure(&high) == 0))
		r = contradict(config, &low, &high, why);
	free(low.text);
	free(high.text);
	return r;
}

/* Two names of one setting, set in one layer, must agree. */
static int one_setting(struct pf_config *config, const struct pf_config_key *key)
{
	const struct pf_config_key *other = key->same ? pf_config_find(key->same) : NULL;
	char path[PF_CONFIG_TEXT_MAX], other_path[PF_CONFIG_TEXT_MAX];
	int result = 0;

	if (!other || other < key)
		return 0; /* once for each pair */
	for (int layer = PF_CONFIG_PROFILE; layer < PF_CONFIG_LAYER_COUNT; layer++) {
		const struct pf_config_slot *a = pf_config_slot(config, (enum pf_config_layer)layer, key);
		const struct pf_config_slot *b = pf_config_slot(config, (enum pf_config_layer)layer, other);
		const struct pf_config_slot *late = a->line > b->line ? a : b, *early = late == a ? b : a;

		if (!a->set || !b->set || a->doubtful || b->doubtful ||
		    pf_config_value_equal(key, &a->value, &b->value))
			continue;
		pf_config_path(late == a ? key : other, path);
		pf_config_path(late == a ? other : key, other_path);
		if (early->line)
			result = pf_config_problem(
				config, late->name, late->line, late->column,
				"%s and %s (line %u) are one setting and differ; allowed: one of them, "
				"or the same value",
				path, other_path, early->line);
		else
			result =
				pf_config_problem(config, late->name, 0, 0,
						  "%s and %s (%s) are one setting and differ; allowed: one of them, or "
						  "the same value",
						  path, other_path, early->name);
	}
	return result;
}

static int shares(struct pf_config *config)
{
	static const char *const paths[] = {
		"pin_management.priority_classes.tail_latency_critical.budget_share",
		"pin_management.priority_classes.query_critical.budget_share",
		"pin_management.priority_classes.background_optimization.budget_share",
	};
	struct side side[3] = { { 0 } };
	const struct side *last = &side[0];
	uint64_t sum = 0;
	bool known = true;
	int r = 0;

	for (int i = 0; r == 0 && i < 3; i++) {
		r = side_init(config, paths[i], &side[i]);
		if (r == 0) {
			sum += side[i].slot->value.number;
			known &= side[i].known;
			last = is_later(&side[i], last) ? &side[i] : last;
		}
	}
	if (r == 0 && known && sum > 100)
		r = pf_config_problem(
			config, last->origin.name ? last->origin.name : "built-in", last->origin.line,
			last->origin.column,
			"the budget shares add up to %llu %% (tail-latency-critical %s, query-critical %s, "
			"background %s); allowed: at most 100",
			(unsigned long long)sum, side[0].text, side[1].text, side[2].text);
	for (int i = 0; i < 3; i++)
		free(side[i].text);
	return r;
}

static int columns(struct pf_config *config)
{
	struct side hot = { 0 }, cold = { 0 };
	int r = side_init(config, "table_slicing.slicing_policies.by_access_pattern.hot_columns", &hot);
	char why[PF_CONFIG_TEXT_MAX] = "", quoted[PF_CONFIG_TEXT_MAX];

	if (r == 0)
		r = side_init(config, "table_slicing.slicing_policies.by_access_pattern.cold_columns", &cold);
	for (size_t i = 0; r == 0 && i < hot.slot->value.item_count && !why[0]; i++)
		for (size_t k = 0; k < cold.slot->value.item_count && !why[0]; k++)
			if (strcmp(hot.slot->value.items[i], cold.slot->value.items[k]) == 0)
				snprintf(why, sizeof(why), "%.120s is in both",
					 pf_config_quote(hot.slot->value.items[i], strlen(hot.slot->value.items[i]),
							 quoted));
	if (r == 0 && why[0])
		r = contradict(config, &hot, &cold, why);
	free(hot.text);
	free(cold.text);
	return r;
}

/* Choice @index of @path excludes that the other key is false or empty. */
static int needs(struct pf_config *config, const char *path, uint64_t index, const char *other_path, const char *why)
{
	struct side side = { 0 }, other = { 0 };
	int r = side_init(config, path, &side);

	if (r == 0)
		r = side_init(config, other_path, &other);
	if (r == 0 && side.slot->value.number == index && !other.slot->value.number && !other.slot->value.item_count)
		r = contradict(config, &side, &other, why);
	free(side.text);
	free(other.text);
	return r;
}

int pf_config_check(struct pf_config *config)
{
	int results[32], count = 0, r = 0;

	for (size_t i = 0; i < pf_config_key_count; i++) {
		int one = one_setting(config, &pf_config_keys[i]);

		r = one < 0 ? one : r;
	}
	results[count++] = ascending(config, "mmap.file_size_gb", "mmap.max_mapped_size_gb",
				     "a data file must fit into what may be mapped");
#define THRESHOLD(name) "performance_monitoring.adaptive_thresholds." name
	results[count++] = ascending(config, THRESHOLD("unpin_heat_threshold"), THRESHOLD("pin_heat_threshold"),
				     "a slice would be pinned and cold at once");
	results[count++] = ascending(config, THRESHOLD("pin_heat_threshold"), THRESHOLD("tail_heat_threshold"),
				     "the tail class must need no less heat than a pin");
	results[count++] = ascending(config, "graph_slicing.min_partition_size", "graph_slicing.max_partition_size",
				     "the smallest may not be above the largest");
	results[count++] = ascending(config, "table_slicing.hot_column_extent_size", "table_slicing.extent_size",
				     "extents of hot columns may not be larger than the others");
#define SELECTIVITY(name) "table_slicing.slicing_policies.by_query_selectivity." name
	results[count++] = ascending(config, SELECTIVITY("high_selectivity"), SELECTIVITY("scan_heavy"),
				     "extents of filters may not be larger than those of scans");
	results[count++] = shares(config);
	results[count++] = columns(config);
	results[count++] = needs(config, "monitoring.source", PINFOLD_SOURCE_BPF, "monitoring.page_fault_tracking",
				 "BPF counts faults");
	results[count++] =
		needs(config, "monitoring.source", PINFOLD_SOURCE_BPF, "monitoring.enabled", "BPF counts faults");
	results[count++] = needs(config, "monitoring.source", PINFOLD_SOURCE_KMOD, "monitoring.page_fault_tracking",
				 "the kernel module counts faults");
	results[count++] = needs(config, "monitoring.source", PINFOLD_SOURCE_KMOD, "monitoring.enabled",
				 "the kernel module counts faults");
	results[count++] = needs(config, "numa.policy", 2, "numa.nodes", "bind must know to which nodes");
	results[count++] = needs(config, "numa.policy", 3, "numa.nodes", "preferred must know which nodes");
	for (int i = 0; i < count; i++)
		r = results[i] < 0 && r != -ENOMEM ? results[i] : r;
	return r;
}
