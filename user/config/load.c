/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * load.c - what each layer says: a profile, a file, the environment, a command line.
 *
 * Everything that is wrong is said, not only the first: a reader goes on behind a value that is not allowed, and ends
 * only where the file is no TOML any more.
 */
#include "config/internal.h"
#include "config/suggest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENVIRONMENT_PREFIX "PINFOLD_"
#define SUGGESTIONS_MAX 512

/* Puts @value into @layer; the one that was there is gone. */
static void put(struct pf_config *config, enum pf_config_layer layer, const struct pf_config_key *key,
		const struct pf_config_value *value, const char *name, uint32_t line, uint32_t column)
{
	struct pf_config_slot *slot = pf_config_slot(config, layer, key);

	pf_config_value_done(&slot->value);
	*slot = (struct pf_config_slot){ .set = true, .value = *value, .name = name, .line = line, .column = column };
}

/* ---- unknown names ---- */

/* The sections, their own sections among them, and "" at the end. Static strings and parts of them, in @buf. */
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

static bool is_section(const char *path)
{
	size_t size = strlen(path);

	for (size_t i = 0; i < pf_config_key_count; i++) {
		const char *section = pf_config_keys[i].section;

		if (strncmp(section, path, size) == 0 && (section[size] == '\0' || section[size] == '.'))
			return true;
	}
	return false;
}

/* Copies the nearest key, section or variable to @typed; false if none is near. */
static bool nearest(const char *typed, bool section, bool variable, char *ret_near)
{
	char(*buf)[PF_CONFIG_TEXT_MAX] = calloc(SUGGESTIONS_MAX, sizeof(*buf));
	const char *names[SUGGESTIONS_MAX] = { NULL }, *found;
	size_t count = 0;

	if (!buf)
		return false;
	if (section)
		count = list_sections(buf, names, SUGGESTIONS_MAX);
	for (size_t i = 0; !section && i < pf_config_key_count && count < SUGGESTIONS_MAX; i++, count++)
		names[count] = variable ? pf_config_variable(&pf_config_keys[i], buf[count])
					: pf_config_path(&pf_config_keys[i], buf[count]);
	found = suggest_nearest(typed, names, count);
	/* a name that stands in the wrong section */
	for (size_t i = 0; !found && !section && !variable && i < pf_config_key_count; i++)
		if (strcmp(pf_config_keys[i].name, strrchr(typed, '.') ? strrchr(typed, '.') + 1 : typed) == 0)
			found = names[i];
	if (found)
		snprintf(ret_near, PF_CONFIG_TEXT_MAX, "%s", found);
	free(buf);
	return found != NULL;
}

static int unknown(struct pf_config *config, const char *where, uint32_t line, uint32_t column, const char *what,
		   const char *typed)
{
	char near[PF_CONFIG_TEXT_MAX], quoted[PF_CONFIG_TEXT_MAX];

	pf_config_quote(typed, strlen(typed), quoted);
	/* looking for what was meant takes time, and beyond the limit nobody reads it */
	if (config->problem_count < PF_CONFIG_PROBLEMS_MAX && nearest(typed, strcmp(what, "section") == 0, false, near))
		return pf_config_problem(config, where, line, column, "unknown %s %s: did you mean \"%s\"?", what,
					 quoted, near);
	return pf_config_problem(config, where, line, column, "unknown %s %s: 'pinfold config show' lists them", what,
				 quoted);
}

static int not_allowed(struct pf_config *config, const char *where, uint32_t line, uint32_t column,
		       const struct pf_config_key *key, const char *found)
{
	char path[PF_CONFIG_TEXT_MAX], allowed[PF_CONFIG_TEXT_MAX];

	return pf_config_problem(config, where, line, column, "%s is %s; allowed: %s", pf_config_path(key, path), found,
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
	char words[PF_CONFIG_TEXT_MAX], names[PF_CONFIG_TEXT_MAX] = "";

	for (size_t i = 0; i < pf_config_profile_count; i++) {
		if (item->type == PF_TOML_STRING && strcmp(item->text, pf_config_profiles[i].name) == 0) {
			free(reading->config->file_profile);
			reading->config->file_profile = strdup(item->text);
			note(reading, reading->config->file_profile ? 0 : -ENOMEM);
			return;
		}
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s\"%s\"", i ? ", " : "",
			 pf_config_profiles[i].name);
	}
	note(reading, pf_config_problem(reading->config, reading->name, item->line, item->column,
					"profile is %s; allowed: %s", pf_config_item_words(item, words), names));
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
		else if (r == -EINVAL)
			r = not_allowed(reading->config, reading->name, item->line, item->column, key,
					pf_config_item_words(item, words));
		note(reading, r);
	} else if (strcmp(item->path, "profile") == 0) {
		take_profile(reading, item);
	} else if (is_section(item->path)) {
		if (item->type == PF_TOML_TABLE)
			return true;
		note(reading, pf_config_problem(reading->config, reading->name, item->line, item->column,
						"%s is %s; allowed: a section, [%s]", item->path,
						pf_config_item_words(item, words), item->path));
	} else {
		note(reading, unknown(reading->config, reading->name, item->key_line, item->key_column,
				      item->type == PF_TOML_TABLE ? "section" : "key", item->path));
	}
	return false;
}

int pf_config_set_text(struct pf_config *config, const char *name, const char *text, size_t size)
{
	struct reading reading = { .config = config, .name = pf_config_keep(config, name) };
	struct pf_toml_error error;
	int r;

	if (!reading.name)
		return -ENOMEM;
	if (size > PF_CONFIG_FILE_MAX)
		return pf_config_problem(config, name, 0, 0, "has more than %u bytes", PF_CONFIG_FILE_MAX);
	r = pf_toml_read(text, size, take_item, &reading, &error);
	if (r == -EINVAL)
		return pf_config_problem(config, name, error.line, error.column, "%s", error.text);
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
		pf_config_problem(config, path, 0, 0, "cannot be read: %s", strerror(-r));
		return r;
	}
	for (size_t i = 0; i < pf_config_key_count; i++) {
		struct pf_config_slot *slot = pf_config_slot(config, PF_CONFIG_FILE, &pf_config_keys[i]);

		pf_config_value_done(&slot->value);
		slot->set = false;
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
		r = not_allowed(config, where, 0, 0, key, pf_config_quote(word, strlen(word), quoted));
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
		return pf_config_problem(config, "--set", 0, 0, "%s is no assignment; allowed: SECTION.KEY=VALUE",
					 path);
	}
	snprintf(path, sizeof(path), "%.*s", (int)(equals - assignment), assignment);
	key = pf_config_find(path);
	if (!key)
		return unknown(config, where ? where : "--set", 0, 0, "key", path);
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

/* A variable that is no key's but nearly so: within two slips, not the beginning of a longer one. */
static bool is_slip(const char *variable, char *ret_near)
{
	size_t typed = strlen(variable), meant;

	if (!nearest(variable, false, true, ret_near))
		return false;
	meant = strlen(ret_near);
	return typed + 2 >= meant && meant + 2 >= typed;
}

int pf_config_set_environment(struct pf_config *config, char *const *environment)
{
	char name[PF_CONFIG_TEXT_MAX], variable[PF_CONFIG_TEXT_MAX];
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
		if (key)
			r = take_word(config, PF_CONFIG_ENVIRONMENT, key, equals + 1, name);
		else if (is_slip(name, variable))
			r = pf_config_problem(config, name, 0, 0, "unknown variable: did you mean \"%s\"?", variable);
		if (r < 0 && result != -ENOMEM)
			result = r;
	}
	return result;
}
