/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * load.c - what each layer says: a profile, a file, the environment, a command line.
 *
 * Everything that is wrong is said, not only the first: a reader goes on behind a value that is not allowed (and
 * syntax.c behind what is no TOML).
 */
#include "config/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENVIRONMENT_PREFIX "PINFOLD_"

/* Puts @value into @layer; the one that was there is gone. */
static void put(struct pf_config *config, enum pf_config_layer layer, const struct pf_config_key *key,
		const struct pf_config_value *value, const char *name, uint32_t line, uint32_t column)
{
	struct pf_config_slot *slot = pf_config_slot(config, layer, key);

	pf_config_value_done(&slot->value);
	slot->set = true; /* and doubtful, if it was */
	slot->value = *value;
	slot->name = name;
	slot->line = line;
	slot->column = column;
}

static int not_allowed(struct pf_config *config, enum pf_config_layer layer, const char *where, uint32_t line,
		       uint32_t column, const struct pf_config_key *key, const char *found)
{
	char path[PF_CONFIG_TEXT_MAX], allowed[PF_CONFIG_TEXT_MAX];

	pf_config_doubt(config, layer, pf_config_path(key, path));
	return pf_config_problem(config, where, line, column, "%s is %s; allowed: %s", path, found,
				 pf_config_allowed(key, allowed));
}

/* ---- files ---- */

struct reading {
	struct pf_config *config;
	const char *name;
	int error;
};

static void note(struct reading *reading, int r)
{
	if (r < 0 && reading->error != -ENOMEM)
		reading->error = r;
}

static void take_profile(struct reading *reading, const struct pf_toml_item *item)
{
	char words[PF_CONFIG_TEXT_MAX], allowed[PF_CONFIG_TEXT_MAX];

	for (size_t i = 0; i < pf_config_profile_count; i++) {
		if (item->type == PF_TOML_STRING && strcmp(item->text, pf_config_profiles[i].name) == 0) {
			free(reading->config->file_profile);
			reading->config->file_profile = strdup(item->text);
			note(reading, reading->config->file_profile ? 0 : -ENOMEM);
			return;
		}
	}
	pf_config_doubt(reading->config, PF_CONFIG_PROFILE, NULL);
	note(reading, pf_config_problem(reading->config, reading->name, item->line, item->column,
					"profile is %s; allowed: %s", pf_config_item_words(item, words),
					pf_config_allowed_profiles(allowed)));
}

/* Which one of a list is not allowed, where there is one that is not so by itself. */
static int not_allowed_list(struct reading *reading, const struct pf_config_key *key, const struct pf_toml_item *list)
{
	char path[PF_CONFIG_TEXT_MAX], allowed[PF_CONFIG_TEXT_MAX], words[PF_CONFIG_TEXT_MAX];

	for (size_t i = 0; i < list->item_count; i++) {
		const struct pf_toml_item *bad = &list->items[i];
		struct pf_toml_item one = *list;
		struct pf_config_value value;

		one.items = bad;
		one.item_count = 1;
		if (pf_config_value_take(key, &one, &value) == 0) {
			pf_config_value_done(&value);
			continue;
		}
		pf_config_doubt(reading->config, PF_CONFIG_FILE, pf_config_path(key, path));
		return pf_config_problem(reading->config, reading->name, bad->line, bad->column,
					 "item %zu of %s is %s; allowed: %s", i + 1, path,
					 pf_config_item_words(bad, words), pf_config_allowed(key, allowed));
	}
	return not_allowed(reading->config, PF_CONFIG_FILE, reading->name, list->line, list->column, key,
			   pf_config_item_words(list, words));
}

static bool take_item(void *ctx, const struct pf_toml_item *item)
{
	struct reading *reading = ctx;
	const struct pf_config_key *key = pf_config_find(item->path);
	struct pf_config_value value;
	char words[PF_CONFIG_TEXT_MAX];
	int r;

	if (key) {
		r = pf_config_value_take(key, item, &value);
		if (r == 0)
			put(reading->config, PF_CONFIG_FILE, key, &value, reading->name, item->line, item->column);
		else if (r == -EINVAL && item->type == PF_TOML_ARRAY &&
			 (key->type == PF_CONFIG_LIST || key->type == PF_CONFIG_NODES))
			r = not_allowed_list(reading, key, item);
		else if (r == -EINVAL)
			r = not_allowed(reading->config, PF_CONFIG_FILE, reading->name, item->line, item->column, key,
					pf_config_item_words(item, words));
		note(reading, r);
	} else if (strcmp(item->path, "profile") == 0) {
		take_profile(reading, item);
	} else if (pf_config_is_section(item->path)) {
		if (item->type == PF_TOML_TABLE)
			return true;
		pf_config_doubt(reading->config, PF_CONFIG_FILE, item->path);
		note(reading, pf_config_problem(reading->config, reading->name, item->line, item->column,
						"%s is %s; allowed: a section, [%s]", item->path,
						pf_config_item_words(item, words), item->path));
	} else {
		note(reading, pf_config_unknown(reading->config, PF_CONFIG_FILE, reading->name, item->key_line,
						item->key_column, item->type == PF_TOML_TABLE, item->path));
	}
	return false;
}

int pf_config_set_text(struct pf_config *config, const char *name, const char *text, size_t size)
{
	struct reading reading = { .config = config, .name = pf_config_keep(config, name) };
	int r;

	if (!reading.name)
		return -ENOMEM;
	if (size > PF_CONFIG_FILE_MAX) {
		pf_config_doubt(config, PF_CONFIG_FILE, NULL);
		return pf_config_problem(config, name, 0, 0, "has more than %u bytes", PF_CONFIG_FILE_MAX);
	}
	r = pf_config_read(config, reading.name, text, size, take_item, &reading);
	return r < 0 ? r : reading.error;
}

/* All of @fd, one byte more than a file may have at most. The caller frees *ret_text. */
static int read_all(int fd, char **ret_text, size_t *ret_size)
{
	char *text = malloc(PF_CONFIG_FILE_MAX + 1);
	size_t size = 0;

	if (!text)
		return -ENOMEM;
	while (size < PF_CONFIG_FILE_MAX + 1) {
		ssize_t n = read(fd, text + size, PF_CONFIG_FILE_MAX + 1 - size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int r = -errno;

			free(text);
			return r;
		}
		if (n == 0)
			break;
		size += (size_t)n;
	}
	*ret_text = text;
	*ret_size = size;
	return 0;
}

int pf_config_set_file(struct pf_config *config, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r;
	char *text = NULL;
	size_t size = 0;

	r = fd < 0 ? -errno : read_all(fd, &text, &size);
	if (fd >= 0)
		close(fd);
	if (r < 0) {
		pf_config_doubt(config, PF_CONFIG_FILE, NULL);
		pf_config_problem(config, path, 0, 0, "cannot be read: %s", strerror(-r));
		return r;
	}
	for (size_t i = 0; i < pf_config_key_count; i++) {
		struct pf_config_slot *slot = pf_config_slot(config, PF_CONFIG_FILE, &pf_config_keys[i]);

		pf_config_value_done(&slot->value);
		slot->set = slot->doubtful = false;
	}
	r = pf_config_set_text(config, path, text, size);
	free(text);
	return r;
}

/* ---- words: profiles, environment, command line ---- */

static int take_word(struct pf_config *config, enum pf_config_layer layer, const struct pf_config_key *key,
		     const char *word, const char *where)
{
	const char *name = pf_config_keep(config, where);
	char quoted[PF_CONFIG_TEXT_MAX];
	struct pf_config_value value;
	int r = name ? pf_config_value_parse(key, word, &value) : -ENOMEM;

	if (r == 0)
		put(config, layer, key, &value, name, 0, 0);
	else if (r == -EINVAL)
		r = not_allowed(config, layer, where, 0, 0, key, pf_config_quote(word, strlen(word), quoted));
	return r;
}

/* "section.name=value". @where NULL: "--set section.name". */
static int take_assignment(struct pf_config *config, enum pf_config_layer layer, const char *assignment,
			   const char *where)
{
	const char *equals = strchr(assignment, '=');
	const struct pf_config_key *key;
	char path[PF_CONFIG_TEXT_MAX], name[PF_CONFIG_TEXT_MAX + 8];

	if (!equals || equals - assignment >= (ptrdiff_t)sizeof(path)) {
		pf_config_quote(assignment, strlen(assignment), path);
		pf_config_doubt(config, layer, NULL);
		return pf_config_problem(config, "--set", 0, 0, "%s is no assignment; allowed: SECTION.KEY=VALUE",
					 path);
	}
	snprintf(path, sizeof(path), "%.*s", (int)(equals - assignment), assignment);
	key = pf_config_find(path);
	if (!key)
		return pf_config_unknown(config, layer, where ? where : "--set", 0, 0, false, path);
	snprintf(name, sizeof(name), "--set %s", path);
	return take_word(config, layer, key, equals + 1, where ? where : name);
}

int pf_config_set_assignment(struct pf_config *config, const char *assignment)
{
	return take_assignment(config, PF_CONFIG_COMMAND_LINE, assignment, NULL);
}

int pf_config_set_profile(struct pf_config *config, const char *name)
{
	for (size_t i = 0; i < pf_config_profile_count; i++) {
		const struct pf_config_profile *profile = &pf_config_profiles[i];
		int r = 0;

		if (strcmp(profile->name, name) != 0)
			continue;
		for (const char *const *at = profile->assignments; r == 0 && *at; at++)
			r = take_assignment(config, PF_CONFIG_PROFILE, *at, profile->name);
		return r;
	}
	return -EINVAL;
}

/* A variable that is no key's but nearly so, within two slips: not the beginning of a longer one. */
static const struct pf_config_key *nearly(const char *variable)
{
	const struct pf_config_key *key = pf_config_nearest_variable(variable);
	char near[PF_CONFIG_TEXT_MAX];
	size_t typed = strlen(variable), meant = key ? strlen(pf_config_variable(key, near)) : 0;

	return typed + 2 >= meant && meant + 2 >= typed ? key : NULL;
}

int pf_config_set_environment(struct pf_config *config, char *const *environment)
{
	char name[PF_CONFIG_TEXT_MAX], variable[PF_CONFIG_TEXT_MAX], path[PF_CONFIG_TEXT_MAX];
	int result = 0;

	for (; environment && *environment; environment++) {
		const char *equals = strchr(*environment, '=');
		const struct pf_config_key *key = NULL;
		int r = 0;

		if (strncmp(*environment, ENVIRONMENT_PREFIX, strlen(ENVIRONMENT_PREFIX)) != 0 || !equals ||
		    equals - *environment >= (ptrdiff_t)sizeof(name))
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)(equals - *environment), *environment);
		for (size_t i = 0; i < pf_config_key_count && !key; i++)
			if (strcmp(pf_config_variable(&pf_config_keys[i], variable), name) == 0)
				key = &pf_config_keys[i];
		if (key) {
			r = take_word(config, PF_CONFIG_ENVIRONMENT, key, equals + 1, name);
		} else if ((key = nearly(name)) != NULL) {
			pf_config_doubt(config, PF_CONFIG_ENVIRONMENT, pf_config_path(key, path));
			r = pf_config_problem(config, name, 0, 0, "unknown variable: did you mean \"%s\"?",
					      pf_config_variable(key, variable));
		}
		if (r < 0 && result != -ENOMEM)
			result = r;
	}
	return result;
}
