/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bench_open.c - figure 6: how long opening a store takes.
 *
 *  clean    a sparse data file of 1 TiB with published extents, closed cleanly: the median cold open must
 *           take less than 100 ms. An extent reserves its blocks, so 1 TiB of them needs a disk of that
 *           size; what an open reads is the granule table, 16 bytes per 2 MiB, and it is as long
 *           whether an entry is used or not. --extents N of 2 MiB are published (8000 reserve 16 GiB).
 *  recover  a journal of --journal bytes, most of it to be replayed, as a killed process leaves it, with a cold
 *           cache: bytes of journal recovered per second against what the device
 *           reads sequentially (fio over the same journal files, same run, same cold cache). The ratio must be >= 0.5.
 *           Transactions of each size in --txn, 512 KiB and 256 bytes unless said otherwise, at scattered places of
 *           64 extents, each with other bytes than the one before.
 *
 *	bench_open [--dir DIR] [--runs N] [--extents N] [--journal SIZE] [--txn SIZE[,SIZE...]] [--json]
 */
#include "base/error.h"
#include "common.h"
#include "store/store.h"

#include <dirent.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUNS_MAX 64
#define SIZES_MAX 8
#define TARGET_EXTENTS 64
#define EXTENT_BYTES (2u << 20)
#define LOOK_BYTES (4u << 20)   /* committed between two looks at how full the journal is */
#define SOURCE_BYTES (8u << 20) /* what transactions write begins somewhere in these */

struct bench {
	char dir[256];
	unsigned runs;
	uint64_t extents, journal;
	uint32_t txn[SIZES_MAX]; /* bytes */
	unsigned txn_count;
	bool json;
};

/* What recovery took with transactions of one size. */
struct recovery {
	struct bench_summary rate, fio, ratio;
	uint64_t bytes;
};

static void config_make(const struct bench *bench, bool large, struct pinfold_config *ret_config)
{
	struct pinfold_config wish = {
		.size = sizeof(wish), .flags = PINFOLD_OPEN_CREATE | PINFOLD_OPEN_STORE_ONLY,
		.file_size = large ? 1ull << 40 : 1ull << 30, .max_mapped_size = large ? 1ull << 40 : 8ull << 30,
		.extent_size = 2ull << 20, .journal_size = large ? 0 : bench->journal, .sync = PINFOLD_SYNC_ASYNC,
	};

	if (pf_config_complete(&wish, ret_config) < 0)
		bench_die("configuration: %s", pf_error_text());
}

static struct pf_store *open_store(const struct bench *bench, bool large, const char *dir)
{
	struct pinfold_config config;
	struct pf_store *store;

	config_make(bench, large, &config);
	if (pf_store_open(dir, &config, &store) < 0)
		bench_die("open: %s", pf_error_text());
	return store;
}

static void commit_or_die(struct pf_txn *txn)
{
	if (pf_txn_commit(txn) < 0)
		bench_die("commit: %s", pf_error_text());
}

static void clear_dir(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char name[600];
		struct stat st;

		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (lstat(name, &st) == 0 && S_ISDIR(st.st_mode))
			clear_dir(name);
		else
			unlink(name);
	}
	if (dir)
		closedir(dir);
	rmdir(path);
}

/* ---- clean ---- */

/* Publishes @count extents in each turn of 64. */
static void publish(struct pf_store *store, uint64_t count)
{
	for (uint64_t done = 0; done < count;) {
		struct pf_txn *txn;

		if (pf_txn_begin(store, &txn) < 0)
			bench_die("begin: %s", pf_error_text());
		for (int i = 0; i < 64 && done < count; i++, done++) {
			struct pinfold_extent extent;

			if (pf_extent_alloc(store, 2u << 20, 0, &extent) < 0 || pf_txn_publish(txn, &extent) < 0)
				bench_die("extent %llu: %s", (unsigned long long)done, pf_error_text());
		}
		commit_or_die(txn);
	}
}

static double open_ms(const struct bench *bench, bool large, const char *dir)
{
	uint64_t start = bench_now_ns(), end;
	struct pf_store *store = open_store(bench, large, dir);

	end = bench_now_ns();
	if (pf_store_close(store) < 0)
		bench_die("close: %s", pf_error_text());
	return (double)(end - start) / 1e6;
}

static void run_clean(const struct bench *bench, struct bench_summary *ret_warm, struct bench_summary *ret_cold,
		      struct pinfold_store_stats *ret_stats)
{
	double warm[RUNS_MAX], cold[RUNS_MAX];
	struct pf_store *store;
	char dir[300];

	snprintf(dir, sizeof(dir), "%s/clean", bench->dir);
	clear_dir(dir);
	store = open_store(bench, true, dir);
	publish(store, bench->extents);
	if (pf_store_stat(store, ret_stats) < 0 || pf_store_close(store) < 0)
		bench_die("close: %s", pf_error_text());
	for (unsigned i = 0; i < bench->runs; i++) {
		if (bench_dir_drop_cache(dir) < 0)
			bench_die("%s: its page cache cannot be dropped", dir);
		cold[i] = open_ms(bench, true, dir);
		warm[i] = open_ms(bench, true, dir);
	}
	bench_summarize(warm, bench->runs, ret_warm);
	bench_summarize(cold, bench->runs, ret_cold);
	clear_dir(dir);
}

/* ---- recover ---- */

/* In a process that is killed: fills the journal nearly to the point where a checkpoint would begin. */
static void fill_journal(const struct bench *bench, const char *dir, uint32_t size)
{
	struct pf_store *store = open_store(bench, false, dir);
	struct pinfold_extent extents[TARGET_EXTENTS];
	const uint32_t places = EXTENT_BYTES / size, look_every = size < LOOK_BYTES ? LOOK_BYTES / size : 1;
	unsigned char *bytes = malloc(SOURCE_BYTES);
	uint64_t seed = 5;
	struct pinfold_store_stats stats;
	struct pf_txn *txn;

	if (!bytes || pf_txn_begin(store, &txn) < 0)
		bench_die("begin: %s", pf_error_text());
	bench_fill(bytes, SOURCE_BYTES, 3, 0);
	for (unsigned i = 0; i < TARGET_EXTENTS; i++)
		if (pf_extent_alloc(store, EXTENT_BYTES, 0, &extents[i]) < 0 || pf_txn_publish(txn, &extents[i]) < 0)
			bench_die("extent: %s", pf_error_text());
	commit_or_die(txn);
	if (pf_store_checkpoint(store) < 0)
		bench_die("checkpoint: %s", pf_error_text());
	/* a checkpoint begins by itself at half of the journal; what is committed takes some more than its bytes there
	 */
	for (uint64_t i = 0;; i++) {
		const uint64_t from = bench_random_below(&seed, SOURCE_BYTES - size) & ~7ull;
		const uint64_t place = bench_random_below(&seed, places);

		if (i % look_every == 0 && pf_store_stat(store, &stats) < 0)
			bench_die("stat: %s", pf_error_text());
		if (stats.journal_used >= bench->journal / 2 - (16u << 20))
			break;
		if (pf_txn_begin(store, &txn) < 0 ||
		    pf_txn_write(txn, &extents[bench_random_below(&seed, TARGET_EXTENTS)], place * size, bytes + from,
				 size) < 0)
			bench_die("write: %s", pf_error_text());
		commit_or_die(txn);
	}
	if (pf_store_sync(store) < 0)
		bench_die("sync: %s", pf_error_text());
	kill(getpid(), SIGKILL);
}

static void leave_unclean(const struct bench *bench, const char *dir, uint32_t size)
{
	pid_t pid;
	int status;

	clear_dir(dir);
	pid = fork();
	if (pid == 0) {
		fill_journal(bench, dir, size);
		_exit(1);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		bench_die("the process that fills the journal failed");
}

/* What fio reads sequentially from the same files, bytes per second. */
static double fio_rate(const char *journal)
{
	char command[1024], line[256];
	double rate = 0;
	FILE *pipe;

	/* 1 MiB blocks, four in flight: what a sequential reader can ask of the device */
	snprintf(command, sizeof(command),
		 "for f in '%s'/*; do list=\"${list:+$list:}$f\"; done; fio --name=journal --readonly --rw=read "
		 "--bs=1M --direct=1 "
		 "--ioengine=io_uring --iodepth=4 --filename=\"$list\" --file_service_type=sequential "
		 "--output-format=terse 2>/dev/null",
		 journal);
	pipe = popen(command, "r");
	if (!pipe)
		bench_die("cannot start fio");
	if (fscanf(pipe, "%*[^;];%*[^;];%*[^;];%*[^;];%*[^;];%*[^;];%255[^;]", line) == 1)
		rate = strtod(line, NULL) * 1024; /* field 7: read bandwidth, KiB/s */
	while (fgets(line, sizeof(line), pipe))
		;
	if (pclose(pipe) != 0 || rate <= 0)
		bench_die("fio failed (is it installed?)");
	return rate;
}

static void run_recover(const struct bench *bench, uint32_t size, struct recovery *ret_recovery)
{
	double rate[RUNS_MAX], fio[RUNS_MAX];
	char dir[300], journal[320];

	snprintf(dir, sizeof(dir), "%s/recover", bench->dir);
	snprintf(journal, sizeof(journal), "%s/journal", dir);
	for (unsigned i = 0; i < bench->runs; i++) {
		struct pinfold_store_stats stats;
		struct pf_store *store;
		uint64_t start, ns;

		leave_unclean(bench, dir, size);
		if (bench_dir_drop_cache(journal) < 0 || bench_dir_drop_cache(dir) < 0)
			bench_die("%s: its page cache cannot be dropped", dir);
		fio[i] = fio_rate(journal);
		if (bench_dir_drop_cache(journal) < 0)
			bench_die("%s: its page cache cannot be dropped", journal);
		start = bench_now_ns();
		store = open_store(bench, false, dir);
		ns = bench_now_ns() - start;
		if (pf_store_stat(store, &stats) < 0 || !stats.recovered_bytes)
			bench_die("nothing was recovered");
		rate[i] = (double)stats.recovered_bytes * 1e9 / (double)ns;
		ret_recovery->bytes = stats.recovered_bytes;
		if (pf_store_close(store) < 0)
			bench_die("close: %s", pf_error_text());
	}
	bench_summarize(rate, bench->runs, &ret_recovery->rate);
	bench_summarize(fio, bench->runs, &ret_recovery->fio);
	bench_summarize_ratio(rate, fio, bench->runs, &ret_recovery->ratio);
	clear_dir(dir);
}

static void report_json(const struct bench *bench, const struct pinfold_store_stats *stats,
			const struct bench_summary *warm, const struct bench_summary *cold,
			const struct recovery *recoveries)
{
	struct bench_json json;

	bench_json_init(&json, stdout);
	bench_json_open(&json, NULL, '{');
	bench_json_number(&json, "data_bytes", (double)(stats->file_size * stats->file_count));
	bench_json_number(&json, "extents", (double)stats->extent_count);
	bench_json_summary(&json, "open_cold_ms", cold);
	bench_json_summary(&json, "open_warm_ms", warm);
	bench_json_open(&json, "recovery", '[');
	for (unsigned i = 0; i < bench->txn_count; i++) {
		bench_json_open(&json, NULL, '{');
		bench_json_number(&json, "txn_bytes", bench->txn[i]);
		bench_json_number(&json, "recovered_bytes", (double)recoveries[i].bytes);
		bench_json_summary(&json, "recovery_bytes_per_s", &recoveries[i].rate);
		bench_json_summary(&json, "device_bytes_per_s", &recoveries[i].fio);
		bench_json_summary(&json, "ratio", &recoveries[i].ratio);
		bench_json_close(&json, '}');
	}
	bench_json_close(&json, ']');
	bench_json_close(&json, '}');
	putchar('\n');
}

static void report_text(const struct bench *bench, const struct pinfold_store_stats *stats,
			const struct bench_summary *warm, const struct bench_summary *cold,
			const struct recovery *recoveries)
{
	printf("open after a clean close, %.2f TiB in %llu files, %llu extents: cold %.1f ms (%.1f to %.1f), "
	       "warm %.1f ms; < 100 ms: %s\n",
	       (double)(stats->file_size * stats->file_count) / (double)(1ull << 40),
	       (unsigned long long)stats->file_count, (unsigned long long)stats->extent_count, cold->median, cold->low,
	       cold->high, warm->median, cold->median < 100 ? "yes" : "NO");
	for (unsigned i = 0; i < bench->txn_count; i++) {
		const struct recovery *r = &recoveries[i];

		printf("recovery of %llu MiB of journal, transactions of %u bytes: %.0f MB/s; the device reads %.0f "
		       "MB/s; ratio %.2f (%.2f to %.2f); >= 0.5: %s\n",
		       (unsigned long long)(r->bytes >> 20), bench->txn[i], r->rate.median / 1e6, r->fio.median / 1e6,
		       r->ratio.median, r->ratio.low, r->ratio.high, r->ratio.median >= 0.5 ? "yes" : "NO");
	}
}

static int run(const struct bench *bench)
{
	struct recovery recoveries[SIZES_MAX];
	struct bench_summary warm, cold;
	struct pinfold_store_stats stats;
	bool reached;

	run_clean(bench, &warm, &cold, &stats);
	reached = cold.median < 100;
	for (unsigned i = 0; i < bench->txn_count; i++) {
		run_recover(bench, bench->txn[i], &recoveries[i]);
		reached = reached && recoveries[i].ratio.median >= 0.5;
	}
	if (bench->json)
		report_json(bench, &stats, &warm, &cold, recoveries);
	else
		report_text(bench, &stats, &warm, &cold, recoveries);
	return reached ? 0 : 1;
}

static void parse_sizes(char *text, struct bench *bench)
{
	bench->txn_count = 0;
	for (char *word = strtok(text, ","); word; word = strtok(NULL, ",")) {
		const uint64_t size = bench_parse_size(word);

		if (size < 8 || size > 1u << 20 || size % 8 || bench->txn_count == SIZES_MAX)
			bench_die("--txn %s: up to %d sizes of 8 bytes to 1M, multiples of 8", word, SIZES_MAX);
		bench->txn[bench->txn_count++] = (uint32_t)size;
	}
}

static void usage(FILE *file)
{
	fputs("usage: bench_open [option]...\n"
	      "  --dir DIR       for the stores (/var/tmp/pinfold-bench-open)\n"
	      "  --runs N        of each figure (5)\n"
	      "  --extents N     that the store of 1 TiB has, 2 MiB each (8000)\n"
	      "  --journal SIZE  of the store that is recovered (1200M)\n"
	      "  --txn LIST      bytes of its transactions, a figure of each (512K,256)\n"
	      "  --json          all figures as JSON\n", file);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "dir", required_argument, NULL, 'd' },     { "runs", required_argument, NULL, 'r' },
		{ "extents", required_argument, NULL, 'e' }, { "journal", required_argument, NULL, 'j' },
		{ "json", no_argument, NULL, 'J' },          { "txn", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },          { 0 },
	};
	struct bench bench = {
		.dir = "/var/tmp/pinfold-bench-open", .runs = 5, .extents = 8000, .journal = 1200ull << 20,
		.txn = { 512u << 10, 256 }, .txn_count = 2
	};
	int option, r;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'd')
			snprintf(bench.dir, sizeof(bench.dir), "%s", optarg);
		else if (option == 'r')
			bench.runs = (unsigned)bench_parse_size(optarg);
		else if (option == 'e')
			bench.extents = bench_parse_size(optarg);
		else if (option == 'j')
			bench.journal = bench_parse_size(optarg);
		else if (option == 'J')
			bench.json = true;
		else if (option == 't')
			parse_sizes(optarg, &bench);
		else {
			usage(option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	if (bench.runs < 1 || bench.runs > RUNS_MAX || bench.journal < (64ull << 20))
		bench_die("--runs is 1 to %d, --journal at least 64M", RUNS_MAX);
	r = bench_dir_prepare(bench.dir);
	if (r < 0)
		bench_die("%s: %s", bench.dir, strerror(-r));
	r = run(&bench);
	clear_dir(bench.dir);
	return r;
}
