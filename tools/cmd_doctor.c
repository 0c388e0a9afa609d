// SPDX-License-Identifier: LGPL-2.1-or-later
/* cmd_doctor.c - pinfold doctor: what this host offers, what is missing and what it would add. */
#include "cli.h"
#include "term.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define CAPABILITIES_MAX 64

static const char *state_name(int state)
{
	return state > 0 ? "works" : state == 0 ? "missing" : "n/a";
}

/* Prints @text after @label, broken at spaces to @width columns. */
static void print_wrapped(const char *label, const char *text, int width)
{
	int indent = 12, column = indent;

	printf("    %-*s", indent - 4, label);
	while (*text) {
		int n = (int)strcspn(text, " ");

		if (column > indent && column + 1 + n > width) {
			printf("\n%*s", indent, "");
			column = indent;
		} else if (column > indent) {
			putchar(' ');
			column++;
		}
		printf("%.*s", n, text);
		column += n;
		text += n;
		text += *text == ' ';
	}
	putchar('\n');
}

static void print_capability(const struct cli *cli, const struct pinfold_capability *cap, int width)
{
	bool color = term_color(cli, stdout);
	const char *paint = !color ? "" : cap->state > 0 ? "\033[32m" : cap->state == 0 ? "\033[33m" : "\033[2m";

	printf("%s%-8s%s%s\n", paint, state_name(cap->state), color ? "\033[0m" : "", cap->name);
	if (cap->found[0])
		print_wrapped("found", cap->found, width);
	if (cap->adds)
		print_wrapped(cap->state > 0 ? "gives" : "adds", cap->adds, width);
	if (cap->how && cap->state <= 0)
		print_wrapped("get it", cap->how, width);
}

static int run(struct cli *cli)
{
	struct pinfold_capability caps[CAPABILITIES_MAX];
	int width = term_width(stdout), n, working = 0;
	struct stat st;
	json_t *list;

	cli->store = cli->args[0];
	if (cli->store && stat(cli->store, &st))
		return cli_fail(cli, "%s", strerror(errno));
	if (cli->store && !S_ISDIR(st.st_mode))
		return cli_fail(cli, "%s", strerror(ENOTDIR));
	memset(caps, 0, sizeof(caps));
	n = pinfold_doctor(cli->args[0], caps, CAPABILITIES_MAX);
	if (n < 0)
		return cli_fail(cli, "%s", strerror(-n));
	if (cli->json) {
		list = json_array();
		for (int i = 0; i < n; i++)
			json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s?, s:s?}", "name", caps[i].name,
							      "state", state_name(caps[i].state), "found",
							      caps[i].found, "adds", caps[i].adds, "how", caps[i].how));
		return cli_print_json(cli, json_pack("{s:o}", "capabilities", list));
	}
	if (width > 120)
		width = 120;
	for (int i = 0; i < n; i++) {
		working += caps[i].state > 0;
		print_capability(cli, &caps[i], width);
	}
	printf("\n%d of %d work here; none of them is needed for the store itself.\n", working, n);
	return cli_finish_stdout(cli, CLI_OK);
}

const struct command cmd_doctor = {
	.name = "doctor",
	.operands = "[DIR]",
	.summary = "What this host offers, what is missing, and what it would add",
	.details = "Every capability is tried for real; with DIR, on the file system that holds it.",
	.min_args = 0,
	.max_args = 1,
	.no_store = true,
	.run = run,
};
