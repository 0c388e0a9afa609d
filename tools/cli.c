// SPDX-License-Identifier: LGPL-2.1-or-later
/* cli.c - errors, option values, opening stores and JSON for every subcommand. */
#include "cli.h"
#include "settings.h"
#include "term.h"
#include "config/units.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SECOND_SIGNAL_MS 500

volatile sig_atomic_t cli_stopped;
bool cli_line_open;

static void put_prefix(const struct cli *cli)
{
	fflush(stdout);
	fprintf(stderr, "%spinfold %s: ", cli_line_open ? "\n" : "", cli->command->name);
	cli_line_open = false;
}

/* Long enough for two paths. */
#define WORDS_MAX (2 * PATH_MAX + 1024)
/* Of the last cli_fail(). */
static char failure_words[WORDS_MAX];

/* One line, whatever the names in it are. */
static void put_line(const char *words)
{
	term_print_words(stderr, words);
	fputc('\n', stderr);
}

int cli_fail(const struct cli *cli, const char *format, ...)
{
	va_list ap;

	put_prefix(cli);
	va_start(ap, format);
	vsnprintf(failure_words, sizeof(failure_words), format, ap);
	va_end(ap);
	if (cli->store) {
		term_print_words(stderr, cli->store);
		fputs(": ", stderr);
	}
	put_line(failure_words);
	return CLI_FAILURE;
}

const char *cli_failure_words(void)
{
	return failure_words;
}

int cli_fail_call(const struct cli *cli, struct pinfold *pf, int r, const char *what)
{
	const char *words = pf ? pinfold_errmsg(pf) : NULL;

	if (!words || !*words)
		words = strerror(-r);
	return cli_fail(cli, "%s: %s", what, words);
}

void cli_note(const struct cli *cli, const char *format, ...)
{
	char words[WORDS_MAX];
	va_list ap;

	if (cli->quiet)
		return;
	va_start(ap, format);
	vsnprintf(words, sizeof(words), format, ap);
	va_end(ap);
	put_prefix(cli);
	fputs("note: ", stderr);
	put_line(words);
}

_Noreturn void cli_usage(const struct cli *cli, const char *format, ...)
{
	char words[WORDS_MAX];
	va_list ap;

	va_start(ap, format);
	vsnprintf(words, sizeof(words), format, ap);
	va_end(ap);
	put_prefix(cli);
	put_line(words);
	fprintf(stderr, "Try 'pinfold help %s'.\n", cli->command->name);
	exit(CLI_USAGE);
}

uint64_t cli_size_arg(const struct cli *cli, const char *option, const char *arg, uint64_t min, uint64_t max)
{
	char low[UNITS_TEXT_MAX], high[UNITS_TEXT_MAX];
	uint64_t value;

	if (units_parse_size(arg, &value))
		cli_usage(cli,
			  "%s: '%s' is not a size: a number with K, M, G or T (powers of 1024), such as 64M or 2GiB",
			  option, arg);
	if (value < min || value > max)
		cli_usage(cli, "%s: '%s' is out of range: %s to %s", option, arg, units_size(min, low),
			  units_size(max, high));
	return value;
}

uint64_t cli_duration_arg(const struct cli *cli, const char *option, const char *arg)
{
	uint64_t value;

	if (units_parse_duration(arg, &value))
		cli_usage(cli, "%s: '%s' is not a time: a number with ms, s, m, h or d, such as 500ms or 30s", option,
			  arg);
	return value;
}

uint64_t cli_count_arg(const struct cli *cli, const char *option, const char *arg, uint64_t min, uint64_t max)
{
	uint64_t value;

	if (units_parse_count(arg, &value) || value < min || value > max)
		cli_usage(cli, "%s: '%s' is not a whole number from %" PRIu64 " to %" PRIu64, option, arg, min, max);
	return value;
}

int cli_choice_arg(const struct cli *cli, const char *option, const char *arg, const char *const *names)
{
	char all[256] = "";

	for (int i = 0; names[i]; i++) {
		if (!strcmp(names[i], arg))
			return i;
		if (i)
			strncat(all, ", ", sizeof(all) - strlen(all) - 1);
		strncat(all, names[i], sizeof(all) - strlen(all) - 1);
	}
	cli_usage(cli, "%s: '%s' is none of: %s", option, arg, all);
}

void cli_key_arg(const struct cli *cli, const char *key)
{
	if (!*key || strlen(key) > PINFOLD_KEY_MAX)
		cli_usage(cli, "the key has %zu bytes: 1 to %d are allowed", strlen(key), PINFOLD_KEY_MAX);
}

/* Who has the store open for writing; 0 if that cannot be told. */
static pid_t writer_pid(const char *dir)
{
	struct pinfold_live_info info;
	struct pinfold_live *live;
	pid_t pid = 0;

	if (pinfold_live_open(dir, &live))
		return 0;
	if (pinfold_live_info(live, &info) == 0)
		pid = info.pid;
	pinfold_live_close(live);
	return pid;
}

static int fail_open(struct cli *cli, bool creating, int r, const char *words)
{
	size_t name_size = strlen(cli->store);
	char who[64];
	pid_t pid;

	/* The library may start with the directory too: say it once. */
	if (!strncmp(words, cli->store, name_size) && words[name_size] == ':')
		words += name_size + 1 + strspn(words + name_size + 1, " ");
	if (!*words)
		words = strerror(-r);
	switch (r) {
	case -EBUSY:
		if (creating)
			return cli_fail(cli, "holds a store already, and a process has it open for writing");
		pid = writer_pid(cli->store);
		if (pid)
			snprintf(who, sizeof(who), "process %d has it open for writing", (int)pid);
		return cli_fail(cli,
				"%s: stop it first, or use a command that works beside it "
				"(get, ls, cat, export, lease get, lease list, stat, heatmap, residency, explain, "
				"verify, bench, pin, unpin, checkpoint)",
				pid ? who : words);
	case -ENOENT:
		if (creating)
			return cli_fail(cli, "the directory to make it in is not there: 'mkdir -p' makes it: %s",
					words);
		return cli_fail(cli, "no store here: 'pinfold create %s' makes one: %s", cli->store, words);
	case -EUCLEAN:
		/* Only what a crash leaves is mended by opening it; damage is not. */
		if (strstr(words, "closed cleanly"))
			return cli_fail(cli, "%s ('pinfold checkpoint %s' does)", words, cli->store);
		return cli_fail(cli, "%s", words);
	default:
		return cli_fail(cli, "%s", words);
	}
}

static int open_store(struct cli *cli, const struct pinfold_config *config, struct pinfold **ret_pf)
{
	char words[512] = "";
	int r = pinfold_open(cli->store, config, words, sizeof(words), ret_pf);

	return r ? fail_open(cli, config->flags & PINFOLD_OPEN_CREATE, r, words) : CLI_OK;
}

/* The configuration of a command that opens a store, does one thing and closes it: reading all of it in would be silly.
 */
static int open_briefly(struct cli *cli, uint32_t flags, struct pinfold **ret_pf)
{
	struct pinfold_config config;
	int status = settings_open_config(cli, &config);

	if (status)
		return status;
	config.flags = flags | PINFOLD_OPEN_STORE_ONLY;
	config.prefault = false;
	if (cli->reopens)
		config.seal = false;
	return open_store(cli, &config, ret_pf);
}

int cli_open_read(struct cli *cli, struct pinfold **ret_pf)
{
	return open_briefly(cli, PINFOLD_OPEN_READONLY, ret_pf);
}

int cli_open_write(struct cli *cli, const struct pinfold_config *config, struct pinfold **ret_pf)
{
	return config ? open_store(cli, config, ret_pf) : open_briefly(cli, 0, ret_pf);
}

int cli_close(struct cli *cli, struct pinfold *pf, int status)
{
	int r = pinfold_close(pf);

	if (r)
		return cli_fail(cli, "close: the last changes may not be on disk: %s", strerror(-r));
	return status;
}

/* That stdout failed is said once. */
static bool stdout_failure_told;

int cli_finish_stdout(struct cli *cli, int status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	if (errno != EPIPE && !stdout_failure_told)
		fprintf(stderr, "pinfold %s: writing the output: %s\n", cli->command->name, strerror(errno));
	stdout_failure_told = true;
	return CLI_FAILURE;
}

void cli_check_stdout(void)
{
	if ((!fflush(stdout) && !ferror(stdout)) || stdout_failure_told)
		return;
	fprintf(stderr, "pinfold: writing the output: %s\n", strerror(errno));
	_exit(CLI_FAILURE);
}

int cli_print_json(struct cli *cli, json_t *root)
{
	int r;

	if (!root)
		return cli_fail(cli, "out of memory");
	r = json_dumpf(root, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(root);
	return cli_finish_stdout(cli, r ? CLI_FAILURE : CLI_OK);
}

json_t *cli_json_u64(uint64_t value)
{
	char text[24];

	if (value <= INT64_MAX)
		return json_integer((json_int_t)value);
	snprintf(text, sizeof(text), "%" PRIu64, value);
	return json_string(text);
}

const char *cli_uuid(const uint8_t *uuid, char *buf)
{
	char *end = buf;

	for (int i = 0; i < 16; i++)
		end += sprintf(end, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
	return buf;
}

json_t *cli_json_real(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

json_t *cli_json_text(const char *text)
{
	return cli_json_bytes(text, strlen(text));
}

json_t *cli_json_bytes(const void *data, size_t size)
{
	const unsigned char *bytes = data;
	json_t *text = json_stringn(data, size);
	char *hex;

	if (text)
		return text;
	hex = malloc(size * 2 + 1);
	if (!hex)
		return NULL;
	for (size_t i = 0; i < size; i++)
		sprintf(hex + i * 2, "%02x", bytes[i]);
	text = json_pack("{s:s#}", "hex", hex, (int)(size * 2));
	free(hex);
	return text;
}

/* A second signal ends the process, if it comes later: timeout(1) sends its own twice, to the process and to its group.
 */
static void on_stop(int sig)
{
	static struct timespec first;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!cli_stopped)
		first = now;
	else if ((now.tv_sec - first.tv_sec) * 1000 + (now.tv_nsec - first.tv_nsec) / 1000000 >= SECOND_SIGNAL_MS)
		_exit(128 + sig);
	cli_stopped = 1;
}

void cli_catch_signals(void)
{
	struct sigaction action = {.sa_handler = on_stop};

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}
