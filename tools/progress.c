// SPDX-License-Identifier: LGPL-2.1-or-later
/* progress.c - how far a long command is, on stderr. */
#include "progress.h"
#include "config/units.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define TTY_PERIOD_NS 100000000ull
#define LOG_PERIOD_NS 5000000000ull

uint64_t progress_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

void progress_start(struct progress *progress, const struct cli *cli, const char *what, enum progress_unit unit,
		    uint64_t total)
{
	*progress = (struct progress){
		.what = what,
		.unit = unit,
		.total = total,
		.start_ns = progress_now_ns(),
		.silent = cli->quiet,
		.tty = isatty(STDERR_FILENO),
	};
	progress->next_ns = progress->start_ns + (progress->tty ? 0 : LOG_PERIOD_NS);
}

static const char *amount(const struct progress *progress, uint64_t n, char *buf)
{
	return progress->unit == PROGRESS_BYTES ? units_size(n, buf) : units_count(n, buf);
}

static void draw(struct progress *progress, uint64_t now_ns, bool last)
{
	char done[UNITS_TEXT_MAX], total[UNITS_TEXT_MAX], rate[UNITS_TEXT_MAX], left[UNITS_TEXT_MAX];
	double seconds = (double)(now_ns - progress->start_ns) / 1e9;
	double per_second = seconds > 0.001 ? (double)(progress->done - progress->from) / seconds : 0;

	fprintf(stderr, "%s%s: %s", progress->tty ? "\r" : "", progress->what, amount(progress, progress->done, done));
	if (progress->total && !last)
		fprintf(stderr, " of %s (%.0f %%)", amount(progress, progress->total, total),
			100.0 * (double)progress->done / (double)progress->total);
	fprintf(stderr, ", %s/s", amount(progress, (uint64_t)per_second, rate));
	if (last)
		fprintf(stderr, ", took %.1f s", seconds);
	else if (progress->total > progress->done && per_second > 0 && seconds > 0.5)
		fprintf(stderr, ", %s left",
			units_ms((uint64_t)((double)(progress->total - progress->done) / per_second * 1e3), left));
	fputs(progress->tty ? "\033[K" : "\n", stderr);
	if (last && progress->tty)
		fputc('\n', stderr);
	cli_line_open = !last && progress->tty;
}

void progress_from(struct progress *progress, uint64_t done)
{
	progress->done = progress->from = done;
}

void progress_update(struct progress *progress, uint64_t done)
{
	uint64_t now_ns;

	progress->done = done;
	if (progress->silent)
		return;
	now_ns = progress_now_ns();
	if (now_ns < progress->next_ns)
		return;
	progress->next_ns = now_ns + (progress->tty ? TTY_PERIOD_NS : LOG_PERIOD_NS);
	draw(progress, now_ns, false);
}

void progress_done(struct progress *progress)
{
	if (!progress->silent)
		draw(progress, progress_now_ns(), true);
}
