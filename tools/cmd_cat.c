// SPDX-License-Identifier: LGPL-2.1-or-later
/* cmd_cat.c - pinfold cat: writes an object's content to stdout. */
#include "cli.h"
#include "names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CAT_BUFFER_SIZE (1u << 20)

static int write_all(const char *data, size_t size)
{
	while (size) {
		ssize_t n = write(STDOUT_FILENO, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

static int write_object(struct cli *cli, struct pinfold *pf, const struct pinfold_object *object)
{
	char *buffer = malloc(CAT_BUFFER_SIZE);
	uint64_t left = object->size;
	int r;

	if (!buffer)
		return cli_fail(cli, "out of memory");
	for (size_t i = 0; i < object->extent_count && left; i++) {
		const struct pinfold_extent *extent = &object->extents[i];

		for (uint64_t offset = 0; offset < extent->len && left;) {
			size_t n = CAT_BUFFER_SIZE;

			if (n > extent->len - offset)
				n = extent->len - offset;
			if (n > left)
				n = left;
			r = pinfold_read_at(pf, extent, offset, buffer, n);
			if (r) {
				free(buffer);
				return cli_fail_call(cli, pf, r, cli->args[1]);
			}
			r = write_all(buffer, n);
			if (r) {
				free(buffer);
				return r == -EPIPE ? CLI_FAILURE
						   : cli_fail(cli, "writing the output: %s", strerror(-r));
			}
			offset += n;
			left -= n;
		}
	}
	free(buffer);
	if (left)
		return cli_fail(cli, "%s: %llu bytes are missing: its size is larger than its extents", cli->args[1],
				(unsigned long long)left);
	return CLI_OK;
}

static int run(struct cli *cli)
{
	struct pinfold_object object = {0};
	struct pinfold *pf;
	struct name name;
	int status, r;

	name_object_arg(cli, cli->args[1], &name);
	if (cli->json)
		cli_usage(cli, "--json: cat writes the object's own bytes; 'pinfold ls --json' describes it");
	status = cli_open_read(cli, &pf);
	if (status)
		return status;
	r = pinfold_object_lookup(pf, &name.object, &object);
	if (r == -ENOENT)
		status = cli_fail(cli, "%s: no such object ('pinfold ls %s' lists them)", cli->args[1], cli->store);
	else if (r)
		status = cli_fail_call(cli, pf, r, cli->args[1]);
	else
		status = write_object(cli, pf, &object);
	pinfold_object_done(&object);
	return cli_close(cli, pf, status);
}

const struct command cmd_cat = {
	.name = "cat",
	.operands = "DIR OBJECT",
	.summary = "Write an object's content to stdout",
	.min_args = 2,
	.max_args = 2,
	.run = run,
};
