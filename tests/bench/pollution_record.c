/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pollution_record.c - runs as lines of text, so that a long suite can be run in pieces and reported as one.
 *
 * A line is one run, its fields divided by blanks:
 *
 *	case mode pair  memory data rate budget  seconds warmup move settle
 *	p50 p99 p99.9 (of each window)  reads/s scan-bytes/s pinned-bytes
 *	then reads and p99 of each second
 *
 * The pair's number is the time it began: it tells pairs of different invocations apart. Latencies are in ns,
 * sizes in bytes.
 */
#include "pollution_report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct recorded {
	uint64_t id;
	unsigned int modes;
	struct pollution_figures figures[MODE_COUNT];
};

/* Fields of a line that make two runs comparable. */
static void describe(const struct pollution_case *c, enum pollution_mode mode, char *ret_text, size_t size)
{
	const struct pollution_plan *plan = &c->plan[mode];

	snprintf(ret_text, size, "%" PRIu64 " %" PRIu64 " %u %u %u %u %u %u", c->params.memory_bytes,
		 c->params.data_bytes, c->params.rate, c->params.budget_percent, plan->seconds, plan->warmup_s,
		 plan->move_at_s, plan->settle_s);
}

/* ---- writing ---- */

static void print_line(FILE *file, const struct pollution_case *c, enum pollution_mode mode, uint32_t pair, uint64_t id)
{
	const struct pollution_figures *f = &c->figures[mode][pair];
	char description[160];

	describe(c, mode, description, sizeof(description));
	fprintf(file, "%s %s %" PRIu64 " %s", c->name, pollution_mode_name[mode], id, description);
	for (uint32_t w = 0; w < WINDOWS_MAX; w++)
		fprintf(file, " %.0f %.0f %.0f", f->p50[w], f->p99[w], f->p999[w]);
	fprintf(file, " %.3f %.0f %.0f", f->reads_per_s, f->scan_bytes_per_s, f->pinned_bytes);
	for (uint32_t s = 0; s < c->plan[mode].seconds; s++)
		fprintf(file, " %.0f %.0f", f->second_reads[s], f->second_p99[s]);
	fputc('\n', file);
}

int pollution_record_append(const char *path, const struct pollution_case *c, uint32_t pair, uint64_t id)
{
	FILE *file = fopen(path, "ae");
	int r = 0;

	if (!file)
		return -errno;
	for (int m = 0; m < MODE_COUNT; m++)
		if (c->ran[m])
			print_line(file, c, m, pair, id);
	if (ferror(file))
		r = -EIO;
	if (fclose(file) && !r)
		r = -errno;
	return r;
}

/* ---- reading ---- */

static bool take(char **at, double *ret_value)
{
	char *end;

	*ret_value = strtod(*at, &end);
	if (end == *at)
		return false;
	*at = end;
	return true;
}

static bool parse_figures(char *at, uint32_t seconds, struct pollution_figures *ret_figures)
{
	struct pollution_figures *f = ret_figures;
	bool ok = true;

	for (uint32_t w = 0; w < WINDOWS_MAX; w++)
		ok = ok && take(&at, &f->p50[w]) && take(&at, &f->p99[w]) && take(&at, &f->p999[w]);
	ok = ok && take(&at, &f->reads_per_s) && take(&at, &f->scan_bytes_per_s) && take(&at, &f->pinned_bytes);
	for (uint32_t s = 0; s < seconds; s++)
		ok = ok && take(&at, &f->second_reads[s]) && take(&at, &f->second_p99[s]);
	return ok;
}

/* The pair called @id in @pairs, a new one if there is none; NULL if there is no room. */
static struct recorded *find_pair(struct recorded *pairs, uint32_t *count, uint64_t id)
{
	for (uint32_t i = 0; i < *count; i++)
		if (pairs[i].id == id)
			return &pairs[i];
	if (*count == PAIRS_MAX)
		return NULL;
	pairs[*count] = (struct recorded){ .id = id };
	return &pairs[(*count)++];
}

/* 0 also for the line of another case or plan. -EINVAL: no line of ours. -E2BIG: more than PAIRS_MAX pairs. */
static int load_line(char *line, const struct pollution_case *c, struct recorded *pairs, uint32_t *count)
{
	char name[80], mode_name[16], due[160];
	struct recorded *pair;
	uint64_t id;
	int used = 0, mode = 0;

	if (sscanf(line, "%79s %15s %" SCNu64 " %n", name, mode_name, &id, &used) != 3 || !used)
		return -EINVAL;
	if (strcmp(name, c->name))
		return 0;
	while (mode < MODE_COUNT && strcmp(mode_name, pollution_mode_name[mode]))
		mode++;
	if (mode == MODE_COUNT)
		return -EINVAL;
	describe(c, mode, due, sizeof(due));
	if (strncmp(line + used, due, strlen(due)) || line[used + strlen(due)] != ' ')
		return 0;
	pair = find_pair(pairs, count, id);
	if (!pair)
		return -E2BIG;
	if (!parse_figures(line + used + strlen(due), c->plan[mode].seconds, &pair->figures[mode]))
		return -EINVAL;
	pair->modes |= 1u << mode;
	return 0;
}

int pollution_record_load(const char *path, struct pollution_case *c)
{
	const unsigned int needed = pollution_modes(&c->params);
	struct recorded *pairs = calloc(PAIRS_MAX, sizeof(*pairs));
	FILE *file = fopen(path, "re");
	uint32_t count = 0;
	char *line = NULL;
	size_t size = 0;
	int r = pairs ? file ? 0 : -errno : -ENOMEM;

	while (!r && getline(&line, &size, file) > 0)
		r = load_line(line, c, pairs, &count);
	for (uint32_t i = 0; !r && i < count && c->pair_count < PAIRS_MAX; i++) {
		if ((pairs[i].modes & needed) != needed)
			continue;
		for (int m = 0; m < MODE_COUNT; m++) {
			c->ran[m] = needed & 1u << m;
			c->figures[m][c->pair_count] = pairs[i].figures[m];
		}
		c->pair_count++;
	}
	free(line);
	if (file)
		fclose(file);
	free(pairs);
	return r;
}
