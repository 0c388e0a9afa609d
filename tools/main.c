// SPDX-License-Identifier: LGPL-2.1-or-later
/* main.c - the table of subcommands: finds one, parses its line, runs it. */
#include "cli.h"
#include "settings.h"
#include "term.h"
#include "config/suggest.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct command *const commands[] = {
	&cmd_create, &cmd_import, &cmd_export, &cmd_load, &cmd_get, &cmd_put, &cmd_del, &cmd_ls, &cmd_cat,
	&cmd_stat, &cmd_heatmap, &cmd_residency, &cmd_explain,
	&cmd_lease, &cmd_pin, &cmd_unpin, &cmd_checkpoint, &cmd_verify,
	&cmd_config, &cmd_doctor, &cmd_bench, &cmd_demo,
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(*commands))

enum { KEY_JSON = 0x4000, KEY_COLOR, KEY_CONFIG, KEY_PROFILE, KEY_SET };

static const struct argp_option common_options[] = {
	{ 0, 0, 0, 0, "Common options:", 90 },
	{ "json", KEY_JSON, 0, 0, "Print JSON (its schema is in pinfold(1))", 90 },
	{ "quiet", 'q', 0, 0, "No progress and no notes on stderr", 90 },
	{ "color", KEY_COLOR, "WHEN", 0, "always, never or auto (a terminal, and NO_COLOR is not set)", 90 },
	{ "config", KEY_CONFIG, "FILE", 0, "Configuration file [$PINFOLD_CONFIG, " SETTINGS_FILE "]", 90 },
	{ "profile", KEY_PROFILE, "NAME", 0, "Start from development, single-node, production or ultra-dense", 90 },
	{ "set", KEY_SET, "KEY=VALUE", 0,
	  "Set a key of the configuration, such as mmap.sync_mode=async; may be repeated", 90 },
	{ 0 },
};

static error_t parse_common(int key, char *arg, struct argp_state *state)
{
	static const char *const when[] = {"auto", "always", "never", NULL};
	struct cli *cli = state->input;
	const struct command *command = cli->command;

	switch (key) {
	case KEY_JSON:
		cli->json = true;
		return 0;
	case 'q':
		cli->quiet = true;
		return 0;
	case KEY_COLOR:
		cli->color = (enum cli_color)cli_choice_arg(cli, "--color", arg, when);
		return 0;
	case KEY_CONFIG:
		cli->config_file = arg;
		return 0;
	case KEY_PROFILE:
		cli->profile = arg;
		return 0;
	case KEY_SET:
		if (cli->set_count == CLI_SETS_MAX)
			cli_usage(cli, "--set: at most %d are allowed", CLI_SETS_MAX);
		cli->sets[cli->set_count++] = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (cli->arg_count >= command->max_args)
			cli_usage(cli, "too many operands from '%s' on: it takes %s", arg,
				  command->max_args ? command->operands : "none");
		cli->args[cli->arg_count++] = arg;
		return 0;
	case ARGP_KEY_END:
		if (cli->arg_count < command->min_args)
			cli_usage(cli, "an operand is missing: it takes %s", command->operands);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static error_t parse_own(int key, char *arg, struct argp_state *state)
{
	struct cli *cli = state->input;

	if (key == ARGP_KEY_INIT) {
		state->child_inputs[0] = cli;
		return 0;
	}
	if (!cli->command->option || key == ARGP_KEY_ARG || (key & 0x1000000))
		return ARGP_ERR_UNKNOWN;
	return cli->command->option(cli, key, arg);
}

static int run_command(const struct command *command, int argc, char **argv)
{
	static const struct argp common = {.options = common_options, .parser = parse_common};
	static const struct argp_child children[] = {{&common, 0, NULL, 90}, {0}};
	struct cli cli = {.command = command};
	char name[64], doc[2048];
	int status = CLI_OK;
	struct argp argp = {
		.options = command->options,
		.parser = parse_own,
		.args_doc = command->operands,
		.doc = doc,
		.children = children,
	};

	snprintf(name, sizeof(name), "pinfold %s", command->name);
	snprintf(doc, sizeof(doc), "%s%s%s", command->summary, command->details ? "\v" : "",
		 command->details ? command->details : "");
	argv[0] = name;
	argp_err_exit_status = CLI_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, &cli);
	if (!command->no_store && !*cli.args[0])
		cli_usage(&cli, "DIR is empty: it takes the directory of a store");
	if (!command->no_store && !strcmp(cli.args[0], "@"))
		status = settings_data_dir(&cli, &cli.args[0]);
	if (status)
		return status;
	if (!command->no_store && !cli.args[0])
		cli_usage(&cli, "'@' is the store of mmap.data_dir, and that is not set");
	if (!command->no_store)
		cli.store = cli.args[0];
	return command->run(&cli);
}

static void print_commands(FILE *out)
{
	fputs("Usage: pinfold COMMAND [OPTION...] [OPERAND...]\n"
	      "Keeps the hot extents of memory-mapped data resident, and shows why.\n\n", out);
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		fprintf(out, "  %-11s %s\n", commands[i]->name, commands[i]->summary);
	fputs("\n'pinfold help COMMAND' shows its options, 'pinfold --version' the version.\n"
	      "Exit status: 0 done, 1 failed, 2 called wrongly.\n", out);
}

static const struct command *find_command(const char *name)
{
	const char *names[COMMAND_COUNT], *near;

	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		names[i] = commands[i]->name;
		if (!strcmp(name, names[i]))
			return commands[i];
	}
	fputs("pinfold: there is no command '", stderr);
	term_print_words(stderr, name);
	fputc('\'', stderr);
	near = suggest_nearest(name, names, COMMAND_COUNT);
	if (near)
		fprintf(stderr, ": did you mean '%s'?\n", near);
	else
		fputs(": 'pinfold help' lists them\n", stderr);
	return NULL;
}

static int help(const char *name)
{
	const struct command *command;
	char *argv[] = {NULL, (char *)"--help", NULL};

	if (!name) {
		print_commands(stdout);
		return CLI_OK;
	}
	command = find_command(name);
	return command ? run_command(command, 2, argv) : CLI_USAGE;
}

/*
 * Standard streams that the caller closed are taken by /dev/null, opened such that using them fails: else the next
 * files to be opened would get their numbers, and messages would go into a store.
 */
static void hold_standard_streams(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			_exit(CLI_FAILURE);
}

int main(int argc, char **argv)
{
	const struct command *command;

	hold_standard_streams();
	atexit(cli_check_stdout);
	if (argc < 2) {
		print_commands(stderr);
		return CLI_USAGE;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		printf("pinfold %s\n", pinfold_version());
		return CLI_OK;
	}
	if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return help(argv[2]);
	command = find_command(argv[1]);
	return command ? run_command(command, argc - 1, argv + 1) : CLI_USAGE;
}
