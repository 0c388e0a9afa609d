// SPDX-License-Identifier: LGPL-2.1-or-later
/* settings.c - which file, which profile, and what of it a store is opened with. */
#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

static struct pf_config *loaded;

/* The file to read; NULL if there is none and none was asked for. */
static const char *find_file(const struct cli *cli)
{
	const char *named = cli->config_file ? cli->config_file : getenv("PINFOLD_CONFIG");

	if (named && *named)
		return named;
	return access(SETTINGS_FILE, F_OK) == 0 ? SETTINGS_FILE : NULL;
}

static int set_profile(const struct cli *cli, struct pf_config *config)
{
	const char *name = cli->profile, *asked = "--profile", *variable = getenv("PINFOLD_PROFILE");

	if (!name && variable && *variable) {
		name = variable;
		asked = "PINFOLD_PROFILE";
	}
	for (size_t i = 0; name; i++) {
		const char *known = pf_config_profile_name(i);

		if (!known)
			break;
		if (!strcmp(name, known))
			return pf_config_set_profile(config, name);
	}
	if (name)
		cli_usage(cli, "%s: there is no profile '%s': development, single-node, production or ultra-dense",
			  asked, name);
	name = pf_config_file_profile(config);
	return name ? pf_config_set_profile(config, name) : 0;
}

/* A mistake on the command line is a wrong call, as it is in every other option. */
static int status_of(struct pf_config *config)
{
	const struct pf_config_problem *problems;
	size_t count;

	problems = pf_config_problems(config, &count);
	for (size_t i = 0; i < count && i < PF_CONFIG_PROBLEMS_MAX; i++)
		if (!strncmp(problems[i].where, "--set", strlen("--set")))
			return CLI_USAGE;
	return count ? CLI_FAILURE : CLI_OK;
}

int settings_read(struct cli *cli, const char *file, struct pf_config **ret_config)
{
	struct pf_config *config = NULL;
	int r = pf_config_new(&config);

	*ret_config = NULL;
	if (r)
		return cli_fail(cli, "out of memory");
	if (!file)
		file = find_file(cli);
	if (file)
		pf_config_set_file(config, file);
	set_profile(cli, config);
	pf_config_set_environment(config, environ);
	for (int i = 0; i < cli->set_count; i++)
		pf_config_set_assignment(config, cli->sets[i]);
	pf_config_check(config);
	*ret_config = config;
	return status_of(config);
}

void settings_complain(struct cli *cli, struct pf_config *config)
{
	const struct pf_config_problem *problems;
	size_t count;

	fflush(stdout);
	problems = pf_config_problems(config, &count);
	for (size_t i = 0; i < count && i < PF_CONFIG_PROBLEMS_MAX; i++) {
		const struct pf_config_problem *p = &problems[i];

		if (p->line)
			fprintf(stderr, "pinfold %s: %s:%u:%u: %s\n", cli->command->name, p->where, p->line, p->column,
				p->text);
		else
			fprintf(stderr, "pinfold %s: %s: %s\n", cli->command->name, p->where, p->text);
	}
	if (count > PF_CONFIG_PROBLEMS_MAX)
		fprintf(stderr, "pinfold %s: and %zu more\n", cli->command->name, count - PF_CONFIG_PROBLEMS_MAX);
}

static void free_loaded(void)
{
	pf_config_free(loaded);
}

static int load(struct cli *cli)
{
	struct pf_config *config;
	int status;

	if (loaded)
		return CLI_OK;
	status = settings_read(cli, NULL, &config);
	if (status && config)
		settings_complain(cli, config);
	if (status) {
		pf_config_free(config);
		return status;
	}
	loaded = config;
	atexit(free_loaded);
	return CLI_OK;
}

static void log_message(void *ctx, enum pinfold_log_level level, const char *message)
{
	if (level <= PINFOLD_LOG_WARNING)
		cli_note(ctx, "%s", message);
}

int settings_open_config(struct cli *cli, struct pinfold_config *ret_config)
{
	int status = load(cli);

	if (status)
		return status;
	pf_config_fill(loaded, ret_config);
	ret_config->log = log_message;
	ret_config->log_ctx = cli;
	return CLI_OK;
}

int settings_data_dir(struct cli *cli, const char **ret_dir)
{
	int status = load(cli);

	if (status)
		return status;
	*ret_dir = pf_config_string(loaded, "mmap.data_dir");
	if (!**ret_dir)
		*ret_dir = NULL;
	return CLI_OK;
}
