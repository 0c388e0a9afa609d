// SPDX-License-Identifier: LGPL-2.1-or-later
/* cmd_stat.c - pinfold stat: what a store is, and what the process that has it open does. */
#include "cli.h"
#include "config/units.h"
#include "watch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static json_t *store_json(const struct pinfold_store_stats *s)
{
	char uuid[CLI_UUID_MAX];

	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
			 "s:b, s:s, s:s, s:b, s:b, s:s, s:b, s:s}",
			 "uuid", cli_uuid(s->uuid, uuid), "file_size", cli_json_u64(s->file_size), "files",
			 cli_json_u64(s->file_count), "extent_size", cli_json_u64(s->extent_size), "extents",
			 cli_json_u64(s->extent_count), "allocated_bytes", cli_json_u64(s->allocated_bytes),
			 "published_bytes", cli_json_u64(s->published_bytes), "commits", cli_json_u64(s->commit_count),
			 "commit_bytes", cli_json_u64(s->commit_bytes), "flushes", cli_json_u64(s->flush_count),
			 "lsn_ordered", cli_json_u64(s->lsn_ordered), "lsn_durable", cli_json_u64(s->lsn_durable),
			 "lsn_applied", cli_json_u64(s->lsn_applied), "lsn_checkpoint", cli_json_u64(s->lsn_checkpoint),
			 "journal_size", cli_json_u64(s->journal_size), "journal_used", cli_json_u64(s->journal_used),
			 "recovered_txns", cli_json_u64(s->recovered_txns), "recovered_bytes",
			 cli_json_u64(s->recovered_bytes), "io_uring", s->io_uring, "io_mode", s->io_mode, "io_refused",
			 s->io_refused, "sealed", s->sealed, "guarded", s->guarded, "protect_refused",
			 s->protect_refused, "poisoned", s->poisoned, "poison_reason",
			 s->poisoned ? s->poison_reason : "");
}

static void print_store(const struct pinfold_store_stats *s, bool live)
{
	char a[UNITS_TEXT_MAX], b[UNITS_TEXT_MAX], c[UNITS_TEXT_MAX], uuid[CLI_UUID_MAX];

	printf("store       %s\n", cli_uuid(s->uuid, uuid));
	printf("files       %" PRIu64 " of %s, extents of %s by default\n", s->file_count,
	       units_size(s->file_size, a), units_size(s->extent_size, b));
	printf("extents     %s, %s published of %s allocated\n", units_count(s->extent_count, a),
	       units_size(s->published_bytes, b), units_size(s->allocated_bytes, c));
	printf("journal     %s of %s in use, checkpoint at LSN %" PRIu64, units_size(s->journal_used, a),
	       units_size(s->journal_size, b), s->lsn_checkpoint);
	if (live) /* of a store that nobody writes the reader knows the checkpoint */
		printf(", durable to LSN %" PRIu64, s->lsn_durable);
	putchar('\n');
	if (live)
		printf("io          %s%s%s\n", s->io_mode, s->io_refused[0] ? "; done without: " : "", s->io_refused);
	if (live)
		printf("commits     %s (%s) with %s flushes since it was opened\n", units_count(s->commit_count, a),
		       units_size(s->commit_bytes, b), units_count(s->flush_count, c));
	if (s->poisoned)
		printf("POISONED    read-only after an I/O error: %s\n", s->poison_reason);
}

static void print_live(const struct pinfold_live_info *info)
{
	static const char *const classes[] = {"background", "query-critical", "tail-latency-critical"};
	char a[UNITS_TEXT_MAX], b[UNITS_TEXT_MAX], c[UNITS_TEXT_MAX];
	double turn_ms = info->turn_count ? (double)info->turn_ns_total / (double)info->turn_count / 1e6 : 0;

	printf("open        by process %d for %s\n", (int)info->pid, units_ms(info->open_ms, a));
	printf("telemetry   %s%s%s; %s events lost\n", info->source, info->missing[0] ? "; not running: " : "",
	       info->missing, units_count(info->lost_events, a));
	printf("samples     %s, %s hit\n", units_count(info->sample_count, a), units_count(info->sample_hit_count, b));
	printf("controller  %s turns, %.2f ms each\n", units_count(info->turn_count, a), turn_ms);
	printf("pinned      %s of a budget of %s (from %s: %s)\n", units_size(info->pin.budget_used_bytes, a),
	       units_size(info->pin.budget_total_bytes, b), info->pin.effective_memory_limit,
	       units_size(info->pin.effective_memory_bytes, c));
	for (int i = PINFOLD_PRIORITY_COUNT - 1; i >= 0; i--) {
		const struct pinfold_priority_stats *p = &info->pin.by_priority[i];

		printf("  %-22s %s in %s slices, budget %s, %" PRIu64 " evicted\n", classes[i],
		       units_size(p->pinned_bytes, a), units_count(p->pinned_count, b), units_size(p->budget_bytes, c),
		       p->eviction_count);
	}
	if (info->pin.refused_count)
		printf("refused     %s locks refused by the kernel\n", units_count(info->pin.refused_count, a));
}

static int run(struct cli *cli)
{
	struct pinfold_store_stats stats;
	struct watch watch = {0};
	struct pinfold *pf;
	int status, r, watched = watch_open(cli->store, &watch);

	status = cli_open_read(cli, &pf);
	if (status) {
		watch_close(&watch);
		return status;
	}
	r = pinfold_store_stat(pf, &stats);
	if (r)
		status = cli_fail_call(cli, pf, r, "stat");
	/* The writer's own numbers are newer than what a reader finds on disk. */
	if (!watched)
		stats = watch.info.store;
	if (status) {
		;
	} else if (cli->json) {
		status = cli_print_json(cli,
					json_pack("{s:o, s:o, s:o}", "store", cli_json_text(cli->store), "stats",
						  store_json(&stats),
						  "live", watched ? json_null() : watch_info_json(&watch.info)));
	} else {
		print_store(&stats, !watched);
		if (!watched)
			print_live(&watch.info);
		else if (watched == -ENOENT)
			puts("open        by nobody for writing, or without telemetry");
		else
			printf("open        by a process that cannot be watched: %s\n", strerror(-watched));
		status = cli_finish_stdout(cli, status);
	}
	watch_close(&watch);
	return cli_close(cli, pf, status);
}

const struct command cmd_stat = {
	.name = "stat",
	.operands = "DIR",
	.summary = "What the store is, and what the process that has it open does",
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
