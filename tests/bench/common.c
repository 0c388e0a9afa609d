/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * common.c - clockwork of the benchmarks: statistics, histogram, files,
 * children, JSON. The cgroups are in common_cgroup.c.
 */
#include "common.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#define CHUNK_BYTES (4u << 20)
#ifndef OVERLAYFS_SUPER_MAGIC
#define OVERLAYFS_SUPER_MAGIC 0x794c7630
#endif

void bench_die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

uint64_t bench_parse_size(const char *text)
{
	char *end;
	double value = strtod(text, &end);

	switch (*end) {
	case 'T': case 't':
		value *= 1024;
		/* fall through */
	case 'G': case 'g':
		value *= 1024;
		/* fall through */
	case 'M': case 'm':
		value *= 1024;
		/* fall through */
	case 'K': case 'k':
		value *= 1024;
		end++;
	}
	if (end == text || *end || !(value >= 0) || value >= 9e18)
		bench_die("'%s' is not a size (a number, then K, M, G or T)", text);
	return (uint64_t)value;
}

/* ---- statistics ---- */

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double sorted_quantile(const double *sorted, size_t count, double q)
{
	double at, part;
	size_t below;

	if (!count)
		return NAN;
	at = q * (double)(count - 1);
	below = (size_t)at;
	part = at - (double)below;
	return below + 1 < count ? sorted[below] * (1 - part) + sorted[below + 1] * part : sorted[count - 1];
}

static double *sorted_copy(const double *values, size_t count)
{
	double *sorted = malloc((count + !count) * sizeof(*sorted));

	if (!sorted)
		bench_die("out of memory");
	if (count)
		memcpy(sorted, values, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), compare_double);
	return sorted;
}

double bench_quantile(const double *values, size_t count, double q)
{
	double *sorted = sorted_copy(values, count);
	double result = sorted_quantile(sorted, count, q);

	free(sorted);
	return result;
}

void bench_summarize(const double *values, size_t count, struct bench_summary *ret_summary)
{
	double *sorted = sorted_copy(values, count);

	*ret_summary = (struct bench_summary){
		.count = count,
		.median = sorted_quantile(sorted, count, 0.5),
		.low = sorted_quantile(sorted, count, 0.25),
		.high = sorted_quantile(sorted, count, 0.75),
		.min = sorted_quantile(sorted, count, 0),
		.max = sorted_quantile(sorted, count, 1),
	};
	free(sorted);
}

void bench_summarize_ratio(const double *a, const double *b, size_t count, struct bench_summary *ret_summary)
{
	double *ratio = malloc((count + !count) * sizeof(*ratio));
	size_t n = 0;

	if (!ratio)
		bench_die("out of memory");
	for (size_t i = 0; i < count; i++)
		if (b[i] != 0)
			ratio[n++] = a[i] / b[i];
	bench_summarize(ratio, n, ret_summary);
	free(ratio);
}

/* ---- histogram ---- */

void bench_hist_merge(struct bench_hist *into, const struct bench_hist *from)
{
	into->total += from->total;
	into->sum_ns += from->sum_ns;
	if (from->max_ns > into->max_ns)
		into->max_ns = from->max_ns;
	for (size_t i = 0; i < BENCH_HIST_BUCKETS; i++)
		into->bucket[i] += from->bucket[i];
}

/* Largest value that bench_hist_index() puts into @index. */
static uint64_t bucket_high(uint32_t index)
{
	uint32_t shift;

	if (index < 2u << BENCH_HIST_SUB_BITS)
		return index;
	shift = (index >> BENCH_HIST_SUB_BITS) - 1;
	return (((uint64_t)index - ((uint64_t)shift << BENCH_HIST_SUB_BITS) + 1) << shift) - 1;
}

uint64_t bench_hist_quantile(const struct bench_hist *hist, double q)
{
	uint64_t rank, seen = 0;

	if (!hist->total)
		return 0;
	rank = (uint64_t)ceil(q * (double)hist->total);
	if (!rank)
		rank = 1;
	for (uint32_t i = 0; i < BENCH_HIST_BUCKETS; i++) {
		seen += hist->bucket[i];
		if (seen >= rank)
			return bucket_high(i) < hist->max_ns ? bucket_high(i) : hist->max_ns;
	}
	return hist->max_ns;
}

/* ---- files ---- */

int bench_dir_prepare(const char *dir)
{
	struct statfs fs;

	if (mkdir(dir, 0755) && errno != EEXIST)
		return -errno;
	if (statfs(dir, &fs))
		return -errno;
	switch ((unsigned long)fs.f_type) {
	case TMPFS_MAGIC:
	case RAMFS_MAGIC:
	case OVERLAYFS_SUPER_MAGIC:
		return -ENOTSUP;
	}
	return 0;
}

void bench_fill(void *data, size_t size, uint64_t seed, uint64_t offset)
{
	uint64_t *words = data;

	for (size_t i = 0; i < size / 8; i++) {
		uint64_t x = (offset / 8 + i + 1) * 0x9e3779b97f4a7c15ull ^ seed;

		x = (x ^ (x >> 31)) * 0xbf58476d1ce4e5b9ull;
		words[i] = x ^ (x >> 29);
	}
}

static int write_filled(int fd, uint64_t size, uint64_t seed)
{
	char *chunk = malloc(CHUNK_BYTES);
	int r = 0;

	if (!chunk)
		return -ENOMEM;
	for (uint64_t done = 0; !r && done < size;) {
		size_t n = size - done < CHUNK_BYTES ? (size_t)(size - done) : CHUNK_BYTES;
		ssize_t written;

		bench_fill(chunk, n, seed, done);
		written = pwrite(fd, chunk, n, (off_t)done);
		if (written < 0 || written % 8)
			r = written < 0 ? -errno : -EIO;
		else
			done += (uint64_t)written;
	}
	free(chunk);
	return r;
}

/* The file is what we would write if its size and its first and last words are. */
static bool file_is_filled(int fd, uint64_t size, uint64_t seed)
{
	uint64_t have, want;
	struct stat st;

	if (fstat(fd, &st) || (uint64_t)st.st_size != size || (uint64_t)st.st_blocks * 512 < size)
		return false;
	bench_fill(&want, 8, seed, 0);
	if (pread(fd, &have, 8, 0) != 8 || have != want)
		return false;
	bench_fill(&want, 8, seed, size - 8);
	return pread(fd, &have, 8, (off_t)(size - 8)) == 8 && have == want;
}

int bench_file_prepare(const char *path, uint64_t size, uint64_t seed)
{
	int r = 0, fd;

	if (size < 8 || size % 8)
		return -EINVAL;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	if (file_is_filled(fd, size, seed))
		goto out;
	if (ftruncate(fd, 0)) {
		r = -errno;
		goto out;
	}
	r = posix_fallocate(fd, 0, (off_t)size);
	r = r ? -r : write_filled(fd, size, seed);
	if (!r && fsync(fd))
		r = -errno;
	if (r)
		unlink(path);
out:
	close(fd);
	return r;
}

/* Pages of the file that are in memory, by mincore on a mapping that is never touched. */
static int resident_pages(int fd, uint64_t size, uint64_t *ret_pages)
{
	const uint64_t step = 1ull << 30;
	unsigned char *vec = malloc(step >> 12);
	uint64_t pages = 0;
	int r = vec ? 0 : -ENOMEM;

	for (uint64_t at = 0; !r && at < size; at += step) {
		size_t n = size - at < step ? (size_t)(size - at) : step;
		void *map = mmap(NULL, n, PROT_READ, MAP_SHARED, fd, (off_t)at);

		if (map == MAP_FAILED || mincore(map, n, vec))
			r = -errno;
		else
			for (size_t i = 0; i < (n + 4095) >> 12; i++)
				pages += vec[i] & 1;
		if (map != MAP_FAILED)
			munmap(map, n);
	}
	free(vec);
	*ret_pages = pages;
	return r;
}

int bench_file_drop_cache(const char *path)
{
	uint64_t pages = 0;
	struct stat st;
	int r = 0, fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || fsync(fd)) {
		r = -errno;
		goto out;
	}
	/* Pages on another CPU's not yet drained batch are skipped: ask again for those. */
	for (int i = 0; !r && i < 20; i++) {
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		r = resident_pages(fd, (uint64_t)st.st_size, &pages);
		if (!pages)
			break;
		usleep(10000);
	}
	if (!r && pages > (uint64_t)st.st_size >> 12 >> 10) /* 0.1 % may stay: no measurable head start */
		r = -EBUSY;
out:
	close(fd);
	return r;
}

int bench_dir_drop_cache(const char *dir)
{
	DIR *stream = opendir(dir);
	struct dirent *entry;
	int r = 0;

	if (!stream)
		return -errno;
	while (!r && (entry = readdir(stream))) {
		char path[4096];
		struct stat st;

		if (snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name) >= (int)sizeof(path))
			r = -ENAMETOOLONG;
		else if (!lstat(path, &st) && S_ISREG(st.st_mode))
			r = bench_file_drop_cache(path);
	}
	closedir(stream);
	return r;
}

/* ---- children ---- */

int bench_run_child(const struct bench_cgroup *cgroup, int (*fn)(void *ctx, void *result), void *ctx, void *result,
		    size_t size)
{
	struct {
		int r;
		_Alignas(64) char result[];
	} *shared;
	const size_t shared_size = sizeof(*shared) + size;
	int status, r;
	pid_t pid;

	shared = mmap(NULL, shared_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return -errno;
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		r = -errno;
		goto out;
	}
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		shared->r = cgroup ? bench_cgroup_enter(cgroup) : 0;
		if (!shared->r)
			shared->r = fn(ctx, shared->result);
		fflush(NULL);
		_exit(0);
	}
	while ((r = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
		;
	if (r < 0)
		r = -errno;
	else if (!WIFEXITED(status) || WEXITSTATUS(status))
		r = -ECHILD;
	else
		r = shared->r;
	if (!r)
		memcpy(result, shared->result, size);
out:
	munmap(shared, shared_size);
	return r;
}

/* ---- JSON ---- */

static void json_lead(struct bench_json *json, const char *key)
{
	if (json->not_first & 1ull << json->depth)
		fputc(',', json->file);
	json->not_first |= 1ull << json->depth;
	if (json->depth)
		fprintf(json->file, "\n%*s", json->depth * 2, "");
	if (key)
		fprintf(json->file, "\"%s\": ", key);
}

void bench_json_init(struct bench_json *json, FILE *file)
{
	*json = (struct bench_json){ .file = file };
}

void bench_json_open(struct bench_json *json, const char *key, char bracket)
{
	json_lead(json, key);
	fputc(bracket, json->file);
	json->depth++;
	json->not_first &= ~(1ull << json->depth);
}

void bench_json_close(struct bench_json *json, char bracket)
{
	json->depth--;
	fprintf(json->file, "\n%*s%c", json->depth * 2, "", bracket);
	if (!json->depth)
		fputc('\n', json->file);
}

void bench_json_number(struct bench_json *json, const char *key, double value)
{
	json_lead(json, key);
	if (isfinite(value))
		fprintf(json->file, "%.10g", value);
	else
		fputs("null", json->file);
}

void bench_json_string(struct bench_json *json, const char *key, const char *value)
{
	json_lead(json, key);
	fputc('"', json->file);
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			fputc('\\', json->file);
		if ((unsigned char)*value < 0x20)
			fprintf(json->file, "\\u%04x", *value);
		else
			fputc(*value, json->file);
	}
	fputc('"', json->file);
}

void bench_json_bool(struct bench_json *json, const char *key, bool value)
{
	json_lead(json, key);
	fputs(value ? "true" : "false", json->file);
}

void bench_json_summary(struct bench_json *json, const char *key, const struct bench_summary *summary)
{
	bench_json_open(json, key, '{');
	bench_json_number(json, "count", (double)summary->count);
	bench_json_number(json, "median", summary->median);
	bench_json_number(json, "quartile_low", summary->low);
	bench_json_number(json, "quartile_high", summary->high);
	bench_json_number(json, "min", summary->min);
	bench_json_number(json, "max", summary->max);
	bench_json_close(json, '}');
}
