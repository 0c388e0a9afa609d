// SPDX-License-Identifier: LGPL-2.1-or-later
/* cmd_config.c - pinfold config: checks, shows and compares configurations. */
#include "settings.h"
#include "config/suggest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEY_CHANGED = 0x5000 };

static bool changed_only;

static const struct argp_option options[] = {
	{"changed", KEY_CHANGED, 0, 0, "show: only what is not built in", 0},
	{0},
};

static int option(struct cli *cli, int key, const char *arg)
{
	if (key != KEY_CHANGED)
		return ARGP_ERR_UNKNOWN;
	changed_only = true;
	return 0;
}

static const char *layer_name(enum pf_config_layer layer)
{
	static const char *const names[] = {
		[PF_CONFIG_BUILTIN] = "built-in",         [PF_CONFIG_PROFILE] = "profile",
		[PF_CONFIG_FILE] = "file",                [PF_CONFIG_ENVIRONMENT] = "environment",
		[PF_CONFIG_COMMAND_LINE] = "command line",
	};

	return names[layer];
}

/* ---- check ---- */

static json_t *problems_json(struct pf_config *config)
{
	json_t *list = json_array();
	const struct pf_config_problem *problems;
	size_t count;

	problems = pf_config_problems(config, &count);
	for (size_t i = 0; i < count && i < PF_CONFIG_PROBLEMS_MAX; i++)
		json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:o}", "where",
						      cli_json_text(problems[i].where),
						      "line", problems[i].line ? json_integer(problems[i].line)
									       : json_null(),
						      "column", problems[i].line ? json_integer(problems[i].column)
										 : json_null(),
						      "text",
						      cli_json_text(problems[i].text)));
	return list;
}

/* Names the keys that were set and have no effect yet, and counts both. */
static void look_at_set(struct cli *cli, const struct pf_config *config, json_t *list, size_t *ret_set,
			size_t *ret_later)
{
	char path[PF_CONFIG_TEXT_MAX], from[PF_CONFIG_TEXT_MAX];

	*ret_set = *ret_later = 0;
	for (size_t i = 0; i < pf_config_key_count; i++) {
		const struct pf_config_key *key = &pf_config_keys[i];
		struct pf_config_origin origin;

		pf_config_origin(config, key, &origin);
		if (origin.layer == PF_CONFIG_BUILTIN || origin.by != key)
			continue;
		++*ret_set;
		if (pf_config_is_effective(config, key))
			continue;
		++*ret_later;
		pf_config_path(key, path);
		json_array_append_new(list, json_string(path));
		if (!cli->json)
			cli_note(cli, "%s: %s: accepted, not yet effective%s", pf_config_origin_text(&origin, from),
				 path, key->effective ? " with this value" : "");
	}
}

static int check(struct cli *cli)
{
	const char *file = cli->arg_count > 1 ? cli->args[1] : NULL;
	json_t *later = json_array();
	struct pf_config *config;
	size_t set, without;
	int status;

	if (cli->arg_count > 2)
		cli_usage(cli, "check takes one FILE");
	status = settings_read(cli, file, &config);
	if (!config) {
		json_decref(later);
		return status;
	}
	look_at_set(cli, config, later, &set, &without);
	if (cli->json) {
		int printed = cli_print_json(cli, json_pack("{s:b, s:o, s:I, s:o}", "sound", status == CLI_OK,
							    "problems", problems_json(config), "set", (json_int_t)set,
							    "not_yet_effective", later));

		status = status ? status : printed;
	} else {
		json_decref(later);
		settings_complain(cli, config);
		if (status == CLI_OK) {
			printf("sound: %zu keys are set, %zu of them are not yet effective\n", set, without);
			status = cli_finish_stdout(cli, status);
		}
	}
	pf_config_free(config);
	return status;
}

/* ---- show ---- */

/* Does operand @asked, "mmap" or "mmap.data_dir", mean the key of @path? */
static bool means(const char *asked, const char *path)
{
	size_t size = strlen(asked);

	return size && !strncmp(path, asked, size) && (path[size] == '.' || path[size] == '\0');
}

static bool asked_for(const struct cli *cli, const struct pf_config_key *key)
{
	char path[PF_CONFIG_TEXT_MAX];
	bool found = cli->arg_count == 1;

	pf_config_path(key, path);
	for (int i = 1; i < cli->arg_count; i++)
		found |= means(cli->args[i], path);
	return found;
}

/* Every operand means a key; if not, says which one may be meant. */
static int check_asked(struct cli *cli)
{
	char (*paths)[PF_CONFIG_TEXT_MAX] = calloc(pf_config_key_count, sizeof(*paths));
	const char **names = calloc(pf_config_key_count * 2, sizeof(*names)), *near;
	size_t count = pf_config_key_count;
	int status = CLI_OK;

	for (size_t i = 0; paths && names && i < count; i++) {
		names[i] = pf_config_path(&pf_config_keys[i], paths[i]);
		names[count + i] = pf_config_keys[i].section;
	}
	for (int i = 1; paths && names && status == CLI_OK && i < cli->arg_count; i++) {
		bool found = false;

		for (size_t k = 0; k < count; k++)
			found |= means(cli->args[i], names[k]);
		if (found)
			continue;
		near = suggest_nearest(cli->args[i], names, count * 2);
		status = near ? cli_fail(cli, "there is no key or section '%s': did you mean '%s'?", cli->args[i], near)
			      : cli_fail(cli, "there is no key or section '%s': 'pinfold config show' lists them",
					 cli->args[i]);
	}
	if (!paths || !names)
		status = cli_fail(cli, "out of memory");
	free(paths);
	free(names);
	return status;
}

static json_t *key_json(const struct pf_config *config, const struct pf_config_key *key)
{
	char path[PF_CONFIG_TEXT_MAX], variable[PF_CONFIG_TEXT_MAX], allowed[PF_CONFIG_TEXT_MAX];
	char *value = pf_config_value_text(config, key);
	struct pf_config_origin origin;
	json_t *name, *json;

	pf_config_origin(config, key, &origin);
	name = origin.name ? cli_json_text(origin.name) : json_null();
	json = json_pack("{s:s, s:o, s:s, s:o, s:o, s:b, s:s, s:s, s:s}", "key", pf_config_path(key, path), "value",
			 value ? cli_json_text(value) : json_null(), "from", layer_name(origin.layer), "name", name,
			 "line", origin.line ? json_integer(origin.line) : json_null(), "effective",
			 pf_config_is_effective(config, key), "allowed", pf_config_allowed(key, allowed), "environment",
			 pf_config_variable(key, variable), "about", key->doc);
	free(value);
	return json;
}

/* One line of a TOML file, with where the value comes from behind it. */
static int print_key(const struct pf_config *config, const struct pf_config_key *key, const char **section)
{
	char *value = pf_config_value_text(config, key), from[PF_CONFIG_TEXT_MAX], by[PF_CONFIG_TEXT_MAX];
	struct pf_config_origin origin;
	int width;

	if (!value)
		return -1;
	if (!*section || strcmp(*section, key->section)) {
		printf("%s[%s]\n", *section ? "\n" : "", key->section);
		*section = key->section;
	}
	pf_config_origin(config, key, &origin);
	width = printf("%s = %s", key->name, value);
	printf("%*s# %s%s%s%s\n", width < 44 ? 44 - width : 1, "", pf_config_origin_text(&origin, from),
	       origin.by != key ? ", as " : "", origin.by != key ? pf_config_path(origin.by, by) : "",
	       pf_config_is_effective(config, key) ? "" : "; not yet effective");
	free(value);
	return 0;
}

static int show(struct cli *cli)
{
	const char *section = NULL;
	struct pf_config *config;
	int status = check_asked(cli);
	json_t *list;

	if (status)
		return status;
	list = json_array();
	status = settings_read(cli, NULL, &config);
	if (status && config)
		settings_complain(cli, config);
	for (size_t i = 0; status == CLI_OK && i < pf_config_key_count; i++) {
		const struct pf_config_key *key = &pf_config_keys[i];
		struct pf_config_origin origin;

		pf_config_origin(config, key, &origin);
		if (!asked_for(cli, key) || (changed_only && origin.layer == PF_CONFIG_BUILTIN))
			continue;
		if (cli->json)
			json_array_append_new(list, key_json(config, key));
		else if (print_key(config, key, &section))
			status = cli_fail(cli, "out of memory");
	}
	pf_config_free(config);
	if (status == CLI_OK && cli->json)
		return cli_print_json(cli, json_pack("{s:o}", "keys", list));
	json_decref(list);
	return status ? status : cli_finish_stdout(cli, status);
}

/* ---- diff ---- */

/* What is no file, and not written like one, was meant to be a name. Ends the process. */
static void no_such_side(struct cli *cli, const char *what)
{
	const char *names[16] = {"built-in", "effective"}, *near;
	size_t count = 2;

	for (size_t i = 0; pf_config_profile_name(i) && count < 16; i++)
		names[count++] = pf_config_profile_name(i);
	near = suggest_nearest(what, names, count);
	if (near)
		cli_usage(cli, "'%s' is no profile and no file: did you mean '%s'?", what, near);
	cli_usage(
		cli,
		"'%s' is no profile and no file: diff takes built-in, effective, a profile (development, single-node, "
		"production or ultra-dense) or a file",
		what);
}

/* A side of the comparison: "built-in", "effective", a profile, or a file. */
static int read_side(struct cli *cli, const char *what, struct pf_config **ret_config)
{
	size_t problems;
	int status = CLI_OK;

	if (!strcmp(what, "effective")) {
		status = settings_read(cli, NULL, ret_config);
		if (status && *ret_config)
			settings_complain(cli, *ret_config);
		return status;
	}
	if (pf_config_new(ret_config))
		return cli_fail(cli, "out of memory");
	if (!strcmp(what, "built-in"))
		return CLI_OK;
	for (size_t i = 0; pf_config_profile_name(i); i++)
		if (!strcmp(what, pf_config_profile_name(i)))
			return pf_config_set_profile(*ret_config, what) ? cli_fail(cli, "out of memory") : CLI_OK;
	if (!strpbrk(what, "/.") && access(what, F_OK))
		no_such_side(cli, what);
	pf_config_set_file(*ret_config, what);
	if (pf_config_file_profile(*ret_config))
		pf_config_set_profile(*ret_config, pf_config_file_profile(*ret_config));
	pf_config_check(*ret_config);
	pf_config_problems(*ret_config, &problems);
	if (problems) {
		settings_complain(cli, *ret_config);
		status = CLI_FAILURE;
	}
	return status;
}

static int print_difference(struct cli *cli, struct pf_config *const *sides, const struct pf_config_key *key,
			    json_t *list)
{
	char *left = pf_config_value_text(sides[0], key), *right = pf_config_value_text(sides[1], key);
	char path[PF_CONFIG_TEXT_MAX];
	int status = left && right ? CLI_OK : cli_fail(cli, "out of memory");

	pf_config_path(key, path);
	if (status == CLI_OK && cli->json)
		json_array_append_new(list, json_pack("{s:s, s:o, s:o}", "key", path, "left", cli_json_text(left),
						      "right", cli_json_text(right)));
	else if (status == CLI_OK)
		printf("%-44s %s -> %s\n", path, left, right);
	free(left);
	free(right);
	return status;
}

static int diff(struct cli *cli)
{
	const char *names[2] = {cli->args[1], cli->arg_count > 2 ? cli->args[2] : "effective"};
	struct pf_config *sides[2] = {NULL, NULL};
	json_t *list = json_array();
	int status, count = 0;

	if (cli->arg_count < 2 || cli->arg_count > 3)
		cli_usage(cli, "diff takes one or two of: built-in, effective, a profile, a file");
	status = read_side(cli, names[0], &sides[0]);
	if (status == CLI_OK)
		status = read_side(cli, names[1], &sides[1]);
	for (size_t i = 0; status == CLI_OK && i < pf_config_key_count; i++) {
		if (pf_config_same(sides[0], sides[1], &pf_config_keys[i]))
			continue;
		status = print_difference(cli, sides, &pf_config_keys[i], list);
		count++;
	}
	pf_config_free(sides[0]);
	pf_config_free(sides[1]);
	if (status == CLI_OK && cli->json)
		return cli_print_json(cli, json_pack("{s:o, s:o, s:o}", "left", cli_json_text(names[0]), "right",
						     cli_json_text(names[1]), "differences", list));
	json_decref(list);
	if (status == CLI_OK && !count)
		cli_note(cli, "%s and %s have the same values", names[0], names[1]);
	return status ? status : cli_finish_stdout(cli, status);
}

static int run(struct cli *cli)
{
	static const char *const verbs[] = {"check", "show", "diff", NULL};
	static int (*const runs[])(struct cli *) = {check, show, diff};

	return runs[cli_choice_arg(cli, "config", cli->args[0], verbs)](cli);
}

const struct command cmd_config = {
	.name = "config",
	.operands = "check [FILE] | show [KEY|SECTION...] | diff WHAT [WHAT]",
	.summary = "Check, show or compare configurations",
	.details = "check: every problem with its place, and which keys are not yet effective. show: every key as a "
		   "TOML file, with where its value comes from. diff: WHAT is built-in, effective, a profile "
		   "(development, single-node, production, ultra-dense) or a file; without a second one, effective.",
	.min_args = 1,
	.max_args = CLI_ARGS_MAX,
	.no_store = true,
	.options = options,
	.option = option,
	.run = run,
};
