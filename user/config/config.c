/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * config.c - layers of values: which one counts, where it comes from, and what was wrong with the rest.
 *
 *  1. The built-in layer has every key; so a key has an effective value, always.
 *  2. Of two keys that are the same, whichever is set in the higher layer counts for both; in one layer they must
 *     agree (rules.c).
 *  3. Problems of one place are in the order of its lines.
 */
#include "config/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct pf_config_key *pf_config_find(const char *path)
{
	const char *name = strrchr(path, '.');

	for (size_t i = 0; name && i < pf_config_key_count; i++) {
		const struct pf_config_key *key = &pf_config_keys[i];

		if (strcmp(name + 1, key->name) == 0 && strlen(key->section) == (size_t)(name - path) &&
		    strncmp(path, key->section, (size_t)(name - path)) == 0)
			return key;
	}
	return NULL;
}

int pf_config_new(struct pf_config **ret_config)
{
	struct pf_config *config = calloc(1, sizeof(*config));
	int r = config ? 0 : -ENOMEM;

	if (config)
		config->slots = calloc(PF_CONFIG_LAYER_COUNT * pf_config_key_count, sizeof(*config->slots));
	if (config && !config->slots)
		r = -ENOMEM;
	for (size_t i = 0; r == 0 && i < pf_config_key_count; i++) {
		struct pf_config_slot *slot = pf_config_slot(config, PF_CONFIG_BUILTIN, &pf_config_keys[i]);

		r = pf_config_value_parse(&pf_config_keys[i], pf_config_keys[i].initial, &slot->value);
		slot->set = r == 0;
	}
	if (r < 0)
		pf_config_free(config);
	else
		*ret_config = config;
	return r;
}

void pf_config_free(struct pf_config *config)
{
	if (!config)
		return;
	for (size_t i = 0; config->slots && i < PF_CONFIG_LAYER_COUNT * pf_config_key_count; i++)
		pf_config_value_done(&config->slots[i].value);
	free(config->slots);
	for (size_t i = 0; i < config->name_count; i++)
		free(config->names[i]);
	free(config->names);
	for (size_t i = 0; i < config->problem_count && i < PF_CONFIG_PROBLEMS_MAX; i++)
		free((char *)config->problems[i].text);
	free(config->file_profile);
	free(config);
}

const char *pf_config_keep(struct pf_config *config, const char *name)
{
	char **names;

	for (size_t i = 0; i < config->name_count; i++)
		if (strcmp(config->names[i], name) == 0)
			return config->names[i];
	names = realloc(config->names, (config->name_count + 1) * sizeof(*names));
	if (!names)
		return NULL;
	config->names = names;
	names[config->name_count] = strdup(name);
	return names[config->name_count] ? names[config->name_count++] : NULL;
}

/* ---- problems ---- */

/* Where @problem belongs among the first @count: by line and column among those of its place, else at the end. */
static size_t place_of(const struct pf_config *config, const struct pf_config_problem *problem, size_t count)
{
	size_t place = count;

	for (size_t i = 0; i < count; i++) {
		const struct pf_config_problem *other = &config->problems[i];

		if (other->where != problem->where)
			continue;
		if (problem->line < other->line || (problem->line == other->line && problem->column < other->column))
			return i;
		place = i + 1;
	}
	return place;
}

int pf_config_problem(struct pf_config *config, const char *where, uint32_t line, uint32_t column, const char *format,
		      ...)
{
	struct pf_config_problem problem = { .line = line, .column = column };
	size_t at = config->problem_count++, place;
	va_list args;
	char *text;
	int n;

	if (at >= PF_CONFIG_PROBLEMS_MAX)
		return -EINVAL;
	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	problem.where = pf_config_keep(config, where);
	problem.text = n < 0 ? NULL : text;
	if (n < 0 || !problem.where) {
		if (n >= 0)
			free(text);
		config->problem_count--;
		return -ENOMEM;
	}
	place = place_of(config, &problem, at);
	memmove(&config->problems[place + 1], &config->problems[place], (at - place) * sizeof(problem));
	config->problems[place] = problem;
	return -EINVAL;
}

const struct pf_config_problem *pf_config_problems(struct pf_config *config, size_t *ret_count)
{
	*ret_count = config->problem_count;
	return config->problems;
}

/* ---- what counts ---- */

const struct pf_config_slot *pf_config_effective(const struct pf_config *config, const struct pf_config_key *key,
						 enum pf_config_layer *ret_layer, const struct pf_config_key **ret_by)
{
	const struct pf_config_key *names[] = { key, key->same ? pf_config_find(key->same) : NULL };

	for (int layer = PF_CONFIG_LAYER_COUNT - 1; layer >= 0; layer--)
		for (int i = 0; i < 2; i++) {
			const struct pf_config_slot *slot;

			if (!names[i])
				continue;
			slot = pf_config_slot(config, (enum pf_config_layer)layer, names[i]);
			if (slot->set) {
				*ret_layer = (enum pf_config_layer)layer;
				*ret_by = names[i];
				return slot;
			}
		}
	return NULL; /* not reached: the built-in layer is complete */
}

static const struct pf_config_value *value_of(const struct pf_config *config, const struct pf_config_key *key)
{
	const struct pf_config_key *by;
	enum pf_config_layer layer;

	return &pf_config_effective(config, key, &layer, &by)->value;
}

void pf_config_origin(const struct pf_config *config, const struct pf_config_key *key,
		      struct pf_config_origin *ret_origin)
{
	struct pf_config_origin origin = { 0 };
	const struct pf_config_slot *slot = pf_config_effective(config, key, &origin.layer, &origin.by);

	origin.name = slot->name;
	origin.line = slot->line;
	origin.column = slot->column;
	*ret_origin = origin;
}

char *pf_config_value_text(const struct pf_config *config, const struct pf_config_key *key)
{
	return pf_config_value_write(key, value_of(config, key));
}

bool pf_config_is_effective(const struct pf_config *config, const struct pf_config_key *key)
{
	char choice[PF_CONFIG_TEXT_MAX];
	bool effective = true;

	if (key->type == PF_CONFIG_CHOICE)
		pf_config_choice(key, value_of(config, key)->number, choice, &effective);
	return key->effective && effective;
}

bool pf_config_same(const struct pf_config *a, const struct pf_config *b, const struct pf_config_key *key)
{
	return pf_config_value_equal(key, value_of(a, key), value_of(b, key));
}

const char *pf_config_string(const struct pf_config *config, const char *path)
{
	return value_of(config, pf_config_find(path))->text;
}

const char *pf_config_file_profile(const struct pf_config *config)
{
	return config->file_profile;
}
