// SPDX-License-Identifier: LGPL-2.1-or-later
/* cmd_lease.c - pinfold lease: acquire, steal, renew, release, get, list and expire actor leases. */
#include "cli.h"
#include "term.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_NODE = 0x5000, KEY_TOKEN, KEY_TTL };

enum action { ACQUIRE, STEAL, RENEW, RELEASE, GET, LIST, EXPIRE };
static const char *const action_names[] = { "acquire", "steal", "renew", "release", "get", "list", "expire", NULL };

static uint64_t node = PINFOLD_LEASE_NODE_ANY, token, ttl_ms = 30000;
static bool node_given, token_given;

static const struct argp_option options[] = {
	{ "node", KEY_NODE, "N", 0, "Who holds it, for acquire and steal; only this node's, for list", 0 },
	{ "token", KEY_TOKEN, "N", 0,
	  "The holder's fencing token, for renew and release; for steal: from this lease only", 0 },
	{ "ttl", KEY_TTL, "TIME", 0, "How long it lasts [30s]", 0 },
	{ 0 },
};

static int option(struct cli *cli, int key, const char *arg)
{
	switch (key) {
	case KEY_NODE:
		node = cli_count_arg(cli, "--node", arg, 0, UINT64_MAX - 1);
		node_given = true;
		return 0;
	case KEY_TOKEN:
		token = cli_count_arg(cli, "--token", arg, 1, UINT64_MAX);
		token_given = true;
		return 0;
	case KEY_TTL:
		ttl_ms = cli_duration_arg(cli, "--ttl", arg);
		if (ttl_ms < 1 || ttl_ms > PINFOLD_LEASE_TTL_MAX_MS)
			cli_usage(cli, "--ttl: '%s' is out of range: 1ms to 3650 days", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static json_t *lease_json(const void *actor, size_t actor_size, const struct pinfold_lease *lease)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "actor", cli_json_bytes(actor, actor_size), "token",
			 cli_json_u64(lease->token), "node", cli_json_u64(lease->node), "ttl_ms",
			 cli_json_u64(lease->ttl_ms), "remaining_ms", cli_json_u64(lease->remaining_ms),
			 "granted_unix_ms", cli_json_u64(lease->granted_unix_ms), "data",
			 cli_json_bytes(lease->data, lease->data_size));
}

static void lease_print(const void *actor, size_t actor_size, const struct pinfold_lease *lease)
{
	term_print_line(actor, actor_size);
	printf("\t%" PRIu64 "\tnode %" PRIu64 "\t", lease->token, lease->node);
	if (lease->remaining_ms)
		printf("%" PRIu64 ".%03u s left\n", lease->remaining_ms / 1000, (unsigned)(lease->remaining_ms % 1000));
	else
		puts("expired");
}

struct listing {
	json_t *rows; /* NULL: print */
};

static int list_one(void *ctx, const void *actor, size_t actor_size, const struct pinfold_lease *lease)
{
	struct listing *listing = ctx;

	if (listing->rows)
		return json_array_append_new(listing->rows, lease_json(actor, actor_size, lease)) ? -ENOMEM : 0;
	lease_print(actor, actor_size, lease);
	return cli_stopped ? 1 : 0;
}

/* The library's words may begin with the table: say it once. */
static int fail(struct cli *cli, struct pinfold *pf, int r, const char *actor)
{
	const char *words = pinfold_errmsg(pf);

	if (!actor && !strncmp(words, "leases ", strlen("leases ")))
		return cli_fail(cli, "%s", words);
	return cli_fail_call(cli, pf, r, actor ? actor : cli->args[1]);
}

static int look(struct cli *cli, enum action action, const char *actor)
{
	struct listing listing = { 0 };
	struct pinfold_leases *leases;
	struct pinfold_lease lease = { 0 };
	struct pinfold *pf;
	int r, status = cli_open_read(cli, &pf);

	if (status)
		return status;
	r = pinfold_leases_open(pf, cli->args[1], 0, &leases);
	if (r == 0 && action == LIST && cli->json)
		listing.rows = json_array();
	if (r == 0 && action == LIST)
		r = pinfold_leases_foreach(leases, node, list_one, &listing);
	else if (r == 0)
		r = pinfold_lease_get(leases, actor, strlen(actor), &lease);
	if (r < 0)
		status = fail(cli, pf, r, actor);
	else if (action == GET && !cli->json)
		lease_print(actor, strlen(actor), &lease);
	else if (cli->json)
		status = cli_print_json(cli, action == LIST ? json_incref(listing.rows)
							    : lease_json(actor, strlen(actor), &lease));
	json_decref(listing.rows);
	return cli_close(cli, pf, cli_finish_stdout(cli, status));
}

static int change(struct cli *cli, enum action action, const char *actor)
{
	struct pinfold_leases *leases;
	uint64_t granted = token, count = 0;
	struct pinfold *pf;
	size_t size = actor ? strlen(actor) : 0;
	int r, status = cli_open_write(cli, NULL, &pf);

	if (status)
		return status;
	r = pinfold_leases_open(pf, cli->args[1], action == ACQUIRE ? PINFOLD_TABLE_CREATE : 0, &leases);
	if (r == 0 && action == ACQUIRE)
		r = pinfold_lease_acquire(leases, actor, size, node, ttl_ms, &granted);
	else if (r == 0 && action == STEAL)
		r = pinfold_lease_steal(leases, actor, size, node, token, ttl_ms, &granted);
	else if (r == 0 && action == RENEW)
		r = pinfold_lease_renew(leases, actor, size, token, ttl_ms);
	else if (r == 0 && action == RELEASE)
		r = pinfold_lease_release(leases, actor, size, token);
	else if (r == 0)
		r = pinfold_leases_expire(leases, 0, &count);
	if (r < 0)
		status = fail(cli, pf, r, actor);
	status = cli_close(cli, pf, status);
	if (status)
		return status;
	if (cli->json)
		return cli_print_json(cli, action == EXPIRE ? json_pack("{s:I}", "expired", (json_int_t)count)
							    : json_pack("{s:o, s:o}", "actor", cli_json_text(actor),
									"token", cli_json_u64(granted)));
	if (action == EXPIRE)
		cli_note(cli, "%" PRIu64 " expired leases removed", count);
	else if (action == ACQUIRE || action == STEAL)
		printf("%" PRIu64 "\n", granted);
	return cli_finish_stdout(cli, CLI_OK);
}

static int run(struct cli *cli)
{
	enum action action = (enum action)cli_choice_arg(cli, "ACTION", cli->args[2], action_names);
	const char *actor = cli->args[3];
	bool whole = action == LIST || action == EXPIRE;

	if (whole && actor)
		cli_usage(cli, "%s takes no actor, and got '%s'", action_names[action], actor);
	if (!whole && (!actor || !*actor || strlen(actor) > PINFOLD_ACTOR_MAX))
		cli_usage(cli, "%s needs an actor: 1 to %d bytes", action_names[action], PINFOLD_ACTOR_MAX);
	if ((action == ACQUIRE || action == STEAL) && !node_given)
		cli_usage(cli, "%s needs --node: who is to hold it", action_names[action]);
	if ((action == RENEW || action == RELEASE) && !token_given)
		cli_usage(cli, "%s needs --token: what acquire printed", action_names[action]);
	return action == GET || action == LIST ? look(cli, action, actor) : change(cli, action, actor);
}

const struct command cmd_lease = {
	.name = "lease",
	.operands = "DIR LEASES ACTION [ACTOR]",
	.summary = "Acquire, renew, release and list actor leases",
	.details = "ACTION is acquire, steal, renew, release or get (of one ACTOR), list, or expire (remove all that "
		   "have expired). "
		   "acquire and steal print the fencing token. Lease time runs only while a program has the store open "
		   "for writing; beside it, get and list show leases as of the last change in their table.",
	.min_args = 3,
	.max_args = 4,
	.options = options,
	.option = option,
	.run = run,
};
