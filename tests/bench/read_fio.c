/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * read_fio.c - runs fio on the file that the store reads, and takes its figures out of its JSON.
 */
#include "read.h"

#include <errno.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX (1u << 18)

extern char **environ;

/** The number after "@key" : in @text, within the section that starts with "@section". */
static int json_number(const char *text, const char *section, const char *key, double *ret_value)
{
	char name[64];
	const char *at;

	snprintf(name, sizeof(name), "\"%s\"", section);
	at = strstr(text, name);
	if (!at)
		return -EIO;
	snprintf(name, sizeof(name), "\"%s\"", key);
	at = strstr(at, name);
	if (!at)
		return -EIO;
	at = strchr(at + strlen(name), ':');
	if (!at)
		return -EIO;
	*ret_value = strtod(at + 1, NULL);
	return 0;
}

static int capture(char *const argv[], char *output, size_t size)
{
	posix_spawn_file_actions_t actions;
	int ends[2], status, r;
	size_t length = 0;
	ssize_t got;
	pid_t pid;

	if (pipe(ends))
		return -errno;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	posix_spawn_file_actions_addclose(&actions, ends[0]);
	r = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	while (!r && length < size - 1 && (got = read(ends[0], output + length, size - 1 - length)) > 0)
		length += (size_t)got;
	close(ends[0]);
	output[length] = '\0';
	if (r)
		return -r;
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status))
		return -EIO;
	return 0;
}

static int run_engine(const struct read_layout *layout, double seconds, struct read_fio *fio, const char *engine)
{
	char file[560], offset[64], size[64], block[32], depth[32], jobs[32], runtime[32], rw[32], ioengine[32];
	char *argv[] = { "fio",
			 "--name=read",
			 "--readonly",
			 "--direct=1",
			 "--norandommap",
			 "--randrepeat=0",
			 "--time_based",
			 "--output-format=json",
			 "--invalidate=0",
			 "--group_reporting",
			 file,
			 offset,
			 size,
			 block,
			 depth,
			 jobs,
			 runtime,
			 rw,
			 ioengine,
			 NULL };
	char *output = malloc(OUTPUT_MAX);
	int r;

	if (!output)
		return -ENOMEM;
	/* Buffers on huge pages, as a scan's are: a request is one segment then, not one for each 4 KiB. */
	setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1", 1);
	snprintf(file, sizeof(file), "--filename=%s", layout->path);
	snprintf(offset, sizeof(offset), "--offset=%" PRIu64, layout->offset);
	snprintf(size, sizeof(size), "--size=%" PRIu64, layout->size);
	snprintf(block, sizeof(block), "--bs=%u", fio->block_bytes);
	snprintf(depth, sizeof(depth), "--iodepth=%u", fio->depth);
	snprintf(jobs, sizeof(jobs), "--numjobs=%u", fio->jobs);
	snprintf(runtime, sizeof(runtime), "--runtime=%.0fms", seconds * 1000);
	snprintf(rw, sizeof(rw), "--rw=%s", fio->rw);
	snprintf(ioengine, sizeof(ioengine), "--ioengine=%s", engine);
	r = capture(argv, output, OUTPUT_MAX);
	if (!r)
		r = json_number(output, "read", "iops", &fio->iops);
	if (!r)
		r = json_number(output, "read", "bw_bytes", &fio->bytes_per_s);
	if (!r && fio->iops <= 0)
		r = -EIO;
	free(output);
	return r;
}

int read_fio_run(const struct read_layout *layout, double seconds, struct read_fio *fio)
{
	int r = run_engine(layout, seconds, fio, "io_uring");

	/* where io_uring is switched off, fio's next best */
	return r == -EIO ? run_engine(layout, seconds, fio, "libaio") : r;
}

int read_fio_best(const struct read_layout *layout, double seconds, struct read_fio *tries, size_t count)
{
	int best = -EIO;

	for (size_t i = 0; i < count; i++) {
		int r = read_fio_run(layout, seconds, &tries[i]);

		if (r == -ENOENT)
			return r;
		if (!r && (best < 0 || tries[i].bytes_per_s > tries[best].bytes_per_s))
			best = (int)i;
	}
	return best;
}
