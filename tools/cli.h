/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cli.h - what every subcommand of pinfold shares: its description, its
 * options and operands, how it fails and how it prints JSON.
 *
 * DESIGN
 *   One struct command per subcommand, in its own cmd_*.c; main.c holds the
 *   only list of them. main.c parses options and operands for all commands in
 *   one way, so that --json, --quiet, --color, --help and the usage errors are
 *   the same everywhere.
 *
 * Exit status: 0 done, 1 it failed, 2 it was called wrongly.
 */
#ifndef PF_TOOLS_CLI_H
#define PF_TOOLS_CLI_H

#include <argp.h>
#include <jansson.h>
#include <pinfold.h>
#include <signal.h>

enum {
	CLI_OK = 0,
	CLI_FAILURE = 1,
	CLI_USAGE = 2,
};

/** Most operands of a command, and most of its --set options. */
#define CLI_ARGS_MAX 16
#define CLI_SETS_MAX 64

enum cli_color { CLI_COLOR_AUTO, CLI_COLOR_ALWAYS, CLI_COLOR_NEVER };

/** One run of one command. */
struct cli {
	const struct command *command;
	const char *store; /* for messages; the DIR operand, once known */
	const char *args[CLI_ARGS_MAX + 1];
	int arg_count;
	bool json, quiet;
	bool reopens; /* the store is opened again and again: what is sealed then would never be unmapped */
	enum cli_color color;
	/* what of the configuration the command line says, see settings.h */
	const char *config_file, *profile;
	const char *sets[CLI_SETS_MAX];
	int set_count;
};

/** What main.c knows about a subcommand. */
struct command {
	const char *name;
	const char *operands; /* as shown in the usage line */
	const char *summary;  /* one line for the list of commands */
	const char *details;  /* a paragraph for --help; may be NULL */
	int min_args, max_args;
	bool no_store; /* the first operand is not a store directory */
	const struct argp_option *options; /* its own; may be NULL */
	/* One own option: 0, or ARGP_ERR_UNKNOWN. Wrong values end in cli_usage(). */
	int (*option)(struct cli *cli, int key, const char *arg);
	int (*run)(struct cli *cli); /* an exit status */
};

/** Prints "pinfold CMD: STORE: ..." on stderr; returns CLI_FAILURE. */
int cli_fail(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** What the last cli_fail() said, without its beginning. */
const char *cli_failure_words(void);
/** As cli_fail(), for a failed call on @pf (NULL: words from @r alone): "WHAT: its own words". */
int cli_fail_call(const struct cli *cli, struct pinfold *pf, int r, const char *what);
/** Prints "pinfold CMD: note: ..." on stderr unless --quiet. */
void cli_note(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** Prints "pinfold CMD: ..." and how to get help; ends the process with CLI_USAGE. Not while a store is open. */
_Noreturn void cli_usage(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Values of an option; each ends in cli_usage() if @arg is not one or is out of range. */
uint64_t cli_size_arg(const struct cli *cli, const char *option, const char *arg, uint64_t min, uint64_t max);
uint64_t cli_duration_arg(const struct cli *cli, const char *option, const char *arg); /* milliseconds */
uint64_t cli_count_arg(const struct cli *cli, const char *option, const char *arg, uint64_t min, uint64_t max);
/** The index of @arg in the NULL-terminated list @names. */
int cli_choice_arg(const struct cli *cli, const char *option, const char *arg, const char *const *names);
/** Operand @key of a command on records: 1 to PINFOLD_KEY_MAX bytes. */
void cli_key_arg(const struct cli *cli, const char *key);

/**
 * Opens the command's store for reading, as the configuration says, beside a writer if there is one. On failure says so
 * and returns a status.
 */
int cli_open_read(struct cli *cli, struct pinfold **ret_pf);
/** Opens it for writing with @config, made from settings_open_config() (NULL: that, without telemetry and controller).
 */
int cli_open_write(struct cli *cli, const struct pinfold_config *config, struct pinfold **ret_pf);
/** Closes @pf; a failed last flush turns @status into CLI_FAILURE. */
int cli_close(struct cli *cli, struct pinfold *pf, int status);

/** Prints and frees @root; CLI_OK, or CLI_FAILURE if stdout failed. */
int cli_print_json(struct cli *cli, json_t *root);
/** Flushes stdout: a full disk or closed pipe is a failure, not a success. */
int cli_finish_stdout(struct cli *cli, int status);
/** At exit: the same for what no command printed, such as help. */
void cli_check_stdout(void);

/** An integer; as a string if it does not fit 63 bits. */
json_t *cli_json_u64(uint64_t value);
/** As text, in its usual five groups: CLI_UUID_MAX bytes at @buf, which is returned. */
#define CLI_UUID_MAX 37
const char *cli_uuid(const uint8_t *uuid, char *buf);
/** A number; null if it is not finite. */
json_t *cli_json_real(double value);
/** A string, or {"hex": "..."} if the bytes are not UTF-8. What the user named (paths, keys, objects) may be none. */
json_t *cli_json_bytes(const void *data, size_t size);
json_t *cli_json_text(const char *text);

/** Set by SIGINT and SIGTERM once cli_catch_signals() was called; a second one, half a second later or more, ends the
 * process. */
extern volatile sig_atomic_t cli_stopped;
void cli_catch_signals(void);
/** A line on stderr, progress on a terminal, is not ended yet: who prints a message there ends it first. */
extern bool cli_line_open;

extern const struct command cmd_create, cmd_import, cmd_export, cmd_get, cmd_put, cmd_del, cmd_lease, cmd_ls, cmd_load,
	cmd_cat;
extern const struct command cmd_stat, cmd_heatmap, cmd_residency, cmd_explain, cmd_pin, cmd_unpin, cmd_checkpoint;
extern const struct command cmd_verify, cmd_doctor, cmd_bench, cmd_demo, cmd_config;

#endif
