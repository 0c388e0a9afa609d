/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * names.c - names that are no key's: which one was meant, and which keys are therefore in doubt.
 *
 * DESIGN
 *   What is wrong with one key must not be said again of another. A key is in doubt in a layer if that layer may have
 *   meant something for it that was not understood; rules.c asks nothing of a key whose effective value may be such.
 *
 *  1. Of every problem with a value or a name, all keys that it can be of are in doubt in its layer.
 */
#include "config/internal.h"
#include "config/suggest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTIONS_MAX 256

void pf_config_doubt(struct pf_config *config, enum pf_config_layer layer, const char *path)
{
	const size_t size = path ? strlen(path) : 0;
	char other[PF_CONFIG_TEXT_MAX];

	for (size_t i = 0; i < pf_config_key_count; i++) {
		const struct pf_config_key *key = &pf_config_keys[i];

		pf_config_path(key, other);
		if (!path || (strncmp(path, other, size) == 0 && (other[size] == '.' || other[size] == '\0')))
			pf_config_slot(config, layer, key)->doubtful = true;
	}
}

bool pf_config_is_section(const char *path)
{
	size_t size = strlen(path);

	for (size_t i = 0; i < pf_config_key_count; i++) {
		const char *section = pf_config_keys[i].section;

		if (strncmp(section, path, size) == 0 && (section[size] == '\0' || section[size] == '.'))
			return true;
	}
	return false;
}

/* The sections, and the ones they are in, in @buf. */
static size_t list_sections(char (*buf)[PF_CONFIG_TEXT_MAX], const char **ret_names, size_t limit)
{
	size_t count = 0;

	for (size_t i = 0; i < pf_config_key_count; i++) {
		const char *section = pf_config_keys[i].section, *end = section;

		while (count < limit && *end) {
			bool known = false;

			end += strcspn(end + 1, ".") + 1;
			snprintf(buf[count], PF_CONFIG_TEXT_MAX, "%.*s", (int)(end - section), section);
			for (size_t k = 0; k < count && !known; k++)
				known = strcmp(buf[k], buf[count]) == 0;
			if (!known) {
				ret_names[count] = buf[count];
				count++;
			}
		}
	}
	return count;
}

/* Copies the section that is nearest to @typed; false if none is near. */
static bool nearest_section(const char *typed, char *ret_near)
{
	char(*buf)[PF_CONFIG_TEXT_MAX] = calloc(SECTIONS_MAX, sizeof(*buf));
	const char *names[SECTIONS_MAX], *found;

	if (!buf)
		return false;
	found = suggest_nearest(typed, names, list_sections(buf, names, SECTIONS_MAX));
	if (found)
		snprintf(ret_near, PF_CONFIG_TEXT_MAX, "%s", found);
	free(buf);
	return found != NULL;
}

/* The key whose path or variable is nearest to @typed, or NULL. */
static const struct pf_config_key *nearest_key(const char *typed,
					       const char *(*name_of)(const struct pf_config_key *key, char *buf))
{
	char(*buf)[PF_CONFIG_TEXT_MAX] = calloc(pf_config_key_count, sizeof(*buf));
	const char **names = calloc(pf_config_key_count, sizeof(*names)), *found = NULL;
	const struct pf_config_key *key = NULL;

	for (size_t i = 0; buf && names && i < pf_config_key_count; i++)
		names[i] = name_of(&pf_config_keys[i], buf[i]);
	if (buf && names)
		found = suggest_nearest(typed, names, pf_config_key_count);
	for (size_t i = 0; found && i < pf_config_key_count && !key; i++)
		if (names[i] == found)
			key = &pf_config_keys[i];
	free(names);
	free(buf);
	return key;
}

const struct pf_config_key *pf_config_nearest_variable(const char *typed)
{
	return nearest_key(typed, pf_config_variable);
}

/* By its path, or where that is in the wrong section by its name. */
static const struct pf_config_key *meant_key(const char *typed)
{
	const struct pf_config_key *key = nearest_key(typed, pf_config_path);
	const char *name = strrchr(typed, '.') ? strrchr(typed, '.') + 1 : typed;

	for (size_t i = 0; !key && i < pf_config_key_count; i++)
		if (strcmp(pf_config_keys[i].name, name) == 0)
			return &pf_config_keys[i];
	return key;
}

int pf_config_unknown(struct pf_config *config, enum pf_config_layer layer, const char *where, uint32_t line,
		      uint32_t column, bool section, const char *typed)
{
	const char *what = section ? "section" : "key", *end = strrchr(typed, '.');
	char near[PF_CONFIG_TEXT_MAX] = "", quoted[PF_CONFIG_TEXT_MAX];

	pf_config_quote(typed, strlen(typed), quoted);
	/* looking for what was meant takes time, and beyond the limit nobody reads it */
	if (config->problem_count < PF_CONFIG_PROBLEMS_MAX && section) {
		nearest_section(typed, near);
	} else if (config->problem_count < PF_CONFIG_PROBLEMS_MAX) {
		const struct pf_config_key *key = meant_key(typed);

		if (key)
			pf_config_path(key, near);
	}
	if (near[0]) {
		pf_config_doubt(config, layer, near);
		return pf_config_problem(config, where, line, column, "unknown %s %s: did you mean \"%s\"?", what,
					 quoted, near);
	}
	/* some key of its section may have been meant, or any */
	snprintf(near, sizeof(near), "%.*s", end && !section ? (int)(end - typed) : 0, typed);
	pf_config_doubt(config, layer, pf_config_is_section(near) ? near : NULL);
	return pf_config_problem(config, where, line, column, "unknown %s %s: 'pinfold config show' lists them", what,
				 quoted);
}
