// SPDX-License-Identifier: LGPL-2.1-or-later
/* cmd_residency.c - pinfold residency: what of each extent is in memory now. */
#include "cli.h"
#include "names.h"
#include "term.h"
#include "config/units.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A value the host cannot tell adds up to "cannot tell". */
static uint64_t add(uint64_t a, uint64_t b)
{
	return a == UINT64_MAX || b == UINT64_MAX ? UINT64_MAX : a + b;
}

struct report {
	struct cli *cli;
	struct pinfold *pf;
	struct table table;
	json_t *rows;
	struct pinfold_residency total;
	int r;
};

static void sum(struct pinfold_residency *total, const struct pinfold_residency *one)
{
	total->size = add(total->size, one->size);
	total->resident = add(total->resident, one->resident);
	total->dirty = add(total->dirty, one->dirty);
	total->writeback = add(total->writeback, one->writeback);
	total->evicted_recently = add(total->evicted_recently, one->evicted_recently);
	total->locked = add(total->locked, one->locked);
	total->huge = add(total->huge, one->huge);
	total->large_folio = add(total->large_folio, one->large_folio);
	total->by_module |= one->by_module;
	if (one->node_count > total->node_count)
		total->node_count = one->node_count;
	for (uint32_t i = 0; i < one->node_count && i < PINFOLD_NODES_MAX; i++)
		total->node_bytes[i] = add(total->node_bytes[i], one->node_bytes[i]);
}

static const char *known(uint64_t bytes, char *buf)
{
	return bytes == UINT64_MAX ? "?" : units_size(bytes, buf);
}

static json_t *known_json(uint64_t bytes)
{
	return bytes == UINT64_MAX ? json_null() : cli_json_u64(bytes);
}

static void nodes_text(const struct pinfold_residency *res, char *text, size_t size)
{
	char bytes[UNITS_TEXT_MAX];
	size_t n = 0;

	*text = 0;
	for (uint32_t i = 0; i < res->node_count && i < PINFOLD_NODES_MAX && n < size; i++) {
		if (res->node_bytes[i])
			n += (size_t)snprintf(text + n, size - n, "%s%u: %s", n ? ", " : "", i,
					      known(res->node_bytes[i], bytes));
	}
	if (!*text)
		snprintf(text, size, "-");
}

static void add_cells(struct table *table, const char *name, const char *owner, const struct pinfold_residency *res)
{
	char buf[UNITS_TEXT_MAX], nodes[200];

	nodes_text(res, nodes, sizeof(nodes));
	table_cell(table, "%s", name);
	table_cell(table, "%s", owner);
	table_cell(table, "%s", known(res->resident, buf));
	if (res->resident == UINT64_MAX || !res->size)
		table_cell(table, "?");
	else
		table_cell(table, "%.1f", 100.0 * (double)res->resident / (double)res->size);
	table_cell(table, "%s", known(res->locked, buf));
	table_cell(table, "%s", known(res->huge, buf));
	table_cell(table, "%s", known(res->large_folio, buf));
	table_cell(table, "%s", known(res->dirty, buf));
	table_cell(table, "%s", nodes);
}

static json_t *residency_json(const struct pinfold_residency *res)
{
	json_t *nodes = json_array();

	for (uint32_t i = 0; i < res->node_count && i < PINFOLD_NODES_MAX; i++)
		json_array_append_new(nodes, known_json(res->node_bytes[i]));
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "source",
			 res->by_module ? "kmod" : "procfs", "size", known_json(res->size), "resident",
			 known_json(res->resident), "dirty", known_json(res->dirty), "writeback",
			 known_json(res->writeback), "evicted_recently", known_json(res->evicted_recently), "locked",
			 known_json(res->locked), "huge", known_json(res->huge), "large_folio",
			 known_json(res->large_folio), "nodes", nodes);
}

static int report_range(struct report *report, const struct pinfold_extent *extent, uint64_t offset, uint64_t size)
{
	char name[NAMES_TEXT_MAX], owner[NAMES_TEXT_MAX], len[UNITS_TEXT_MAX];
	struct pinfold_residency res = {0};
	json_t *row;
	int r = pinfold_residency_query(report->pf, extent, offset, size, &res);

	if (r)
		return r;
	sum(&report->total, &res);
	name_owner(report->pf, extent, owner);
	if (report->rows) {
		row = residency_json(&res);
		json_object_set_new(row, "file", json_integer(extent->file_id));
		json_object_set_new(row, "offset", cli_json_u64(extent->offset + offset));
		json_object_set_new(row, "object", strcmp(owner, "-") ? cli_json_text(owner) : json_null());
		json_array_append_new(report->rows, row);
		return 0;
	}
	name_place(extent->file_id, extent->offset + offset, name);
	snprintf(name + strlen(name), sizeof(name) - strlen(name), "+%s", units_place(size, len));
	add_cells(&report->table, name, owner, &res);
	return 0;
}

static int visit(void *ctx, const struct pinfold_extent *extent, bool published)
{
	struct report *report = ctx;

	return published ? report_range(report, extent, 0, extent->len) : 0;
}

static int collect(struct report *report, const struct name *name)
{
	struct name_spans spans;
	int status, r = 0;

	if (report->cli->arg_count == 1) {
		r = pinfold_extent_foreach(report->pf, visit, report);
		return r ? cli_fail_call(report->cli, report->pf, r, "looking at the page cache") : CLI_OK;
	}
	status = name_resolve(report->cli, report->pf, name, report->cli->args[1], &spans);
	if (status)
		return status;
	for (size_t i = 0; i < spans.count && !r; i++)
		r = report_range(report, &spans.spans[i].extent, spans.spans[i].offset, spans.spans[i].size);
	name_spans_done(&spans);
	return r ? cli_fail_call(report->cli, report->pf, r, "looking at the page cache") : CLI_OK;
}

static int run(struct cli *cli)
{
	static const char *const names[] = { "EXTENT", "OBJECT", ">RESIDENT", ">%",   ">LOCKED",
					     ">HUGE",  ">LARGE", ">DIRTY",    "NODES" };
	struct report report = {.cli = cli};
	struct name name;
	int status;

	if (cli->arg_count == 2)
		name_arg(cli, cli->args[1], &name);
	status = cli_open_read(cli, &report.pf);
	if (status)
		return status;
	if (cli->json)
		report.rows = json_array();
	else
		table_init(&report.table, 9, names);
	status = collect(&report, &name);
	if (status == CLI_OK && cli->json) {
		status = cli_print_json(cli, json_pack("{s:o, s:o, s:o}", "store", cli_json_text(cli->store), "total",
						       residency_json(&report.total), "extents", report.rows));
	} else if (status == CLI_OK) {
		add_cells(&report.table, "total", "", &report.total);
		table_print(&report.table, stdout, term_color(cli, stdout));
		status = cli_finish_stdout(cli, status);
	} else {
		json_decref(report.rows);
	}
	table_done(&report.table);
	return cli_close(cli, report.pf, status);
}

const struct command cmd_residency = {
	.name = "residency",
	.operands = "DIR [EXTENT|OBJECT]",
	.summary = "What of each extent is in memory, locked, on huge pages, on which node",
	.details = "Looks at the page cache and brings nothing in. '?' is what this host cannot tell. An extent is "
		   "FILE:OFFSET[+LEN], "
		   "such as 0:64M.",
	.min_args = 1,
	.max_args = 2,
	.run = run,
};
