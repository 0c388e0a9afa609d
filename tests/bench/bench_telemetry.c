/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bench_telemetry.c - what telemetry costs the program it watches.
 *
 *   minor     the tightest loop of minor faults: drop one translation, touch it
 *   cold      what a major fault costs more, as a share of how long a random 4 KiB read of the device takes.
 *             The device's own spread is a hundred times that, so the faults are taken in holes of a file: every
 *             probe runs, no device
 *   elapsed   the same reads with and without, by the clock: as exact as the device is steady
 *   resident  random loads of mapped memory
 *   insert    4 KiB folios that enter and leave the page cache of the watched file
 *   foreign   the same of a file that is not watched
 *   turn      processor time of telemetry's turn at 10,000 slices in use
 *
 * All but the last compare runs with and without the source attached, one right
 * after the other on one processor; the sampler and heat do not run in them, so that only the
 * probes are measured. The last runs turns every 500 ms beside a thread that reads at random: pf_telemetry_turn(),
 * which is sources, heat and sampler; what a controller decides from it afterwards is not in it.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/error.h"
#include "common.h"
#include "telemetry/telemetry.h"

#define FILE_BYTES (1ull << 30)
#define PAIRS_MIN 5
#define PAIRS_MAX 1001
#define SEED 4711
#define MINOR_FAULTS 20000
#define WARM_FAULTS 4000
#define COLD_READS 2000
#define COLD_RUNS 7
/* The kernel may leave out perf events beyond 100,000 per second and processor, and those would cost nothing. */
#define MAJOR_FAULTS 4096
#define MAJOR_BURST 128
#define MAJOR_PAUSE_NS 4500000
#define RESIDENT_LOADS 20000000
#define INSERT_PAGES 16384
#define INSERT_ROUNDS 4
#define RESIDENT_BYTES (64ull << 20)
#define TURN_SLICES 10000u
#define TURN_PINNED 512u
#define TURN_RESIDENT_SLICES 1024u
#define TURN_MS 500
#define TURN_WARMUP 4

struct bench {
	const char *dir;
	size_t pairs;
	int turns;
	int fd, scratch_fd, watched_fd;
	char *watched_map, *scratch_map;
	double cold_ns; /* a read of the device, without telemetry */
	char *map;
	uint64_t random_state;
	char source[32], missing[256];
};

struct row {
	const char *name;
	double (*run)(struct bench *);
	double limit; /* 0: none */
	bool per_read; /* what it costs more counts against a read of the device */
	struct bench_summary ratio;
	double base_ns;
};

static volatile uint64_t sink;

/* Loops that never sleep are timed by their own processor time: what others run does not count. */
static uint64_t thread_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

/*
 * Where a loop runs and has run decides whether dropping a translation must reach other processors, which costs ten
 * times a probe. One processor is the tightest loop, and the same for both halves of a pair.
 */
static void bind_to_processor(void)
{
	int cpu = sched_getcpu();
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)(cpu < 0 ? 0 : cpu), &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		bench_die("binding to processor %d: %s", cpu, strerror(errno));
}

static void map_file(struct bench *bench)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/telemetry.data", bench->dir);
	if (bench_file_prepare(path, FILE_BYTES, SEED))
		bench_die("%s: cannot be made", path);
	bench->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (bench->fd < 0)
		bench_die("%s: %s", path, strerror(errno));
	bench->map = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, bench->fd, 0);
	if (bench->map == MAP_FAILED)
		bench_die("%s: mmap: %s", path, strerror(errno));
}

static void touch(const char *at)
{
	sink += *(volatile const char *)at;
}

static void fault_minor(struct bench *bench, int count)
{
	for (int i = 0; i < count; i++) {
		madvise(bench->map, 4096, MADV_DONTNEED);
		touch(bench->map);
	}
}

/* Attaching patches the kernel's text, so that the first faults after it run on cold caches. */
static double run_minor(struct bench *bench)
{
	uint64_t start;

	fault_minor(bench, WARM_FAULTS);
	start = thread_ns();
	fault_minor(bench, MINOR_FAULTS);
	return (double)(thread_ns() - start) / MINOR_FAULTS;
}

static double run_cold(struct bench *bench)
{
	uint64_t start;

	madvise(bench->map, FILE_BYTES, MADV_DONTNEED);
	madvise(bench->map, FILE_BYTES, MADV_RANDOM);
	if (posix_fadvise(bench->fd, 0, 0, POSIX_FADV_DONTNEED))
		bench_die("the page cache of the file cannot be dropped");
	start = bench_now_ns();
	for (int i = 0; i < COLD_READS; i++)
		touch(bench->map + bench_random_below(&bench->random_state, FILE_BYTES >> 12) * 4096);
	start = bench_now_ns() - start;
	madvise(bench->map, FILE_BYTES, MADV_NORMAL);
	return (double)start / COLD_READS;
}

/* Faults in holes are major, put a folio into the page cache, and wait for nothing. */
static double run_major(struct bench *bench)
{
	struct rusage before, after;
	uint64_t start = 0, sum = 0;

	if (ftruncate(bench->scratch_fd, 0) || ftruncate(bench->scratch_fd, MAJOR_FAULTS * 4096) ||
	    madvise(bench->scratch_map, FILE_BYTES, MADV_RANDOM))
		bench_die("the scratch file: %s", strerror(errno));
	getrusage(RUSAGE_THREAD, &before);
	for (uint64_t page = 0; page < MAJOR_FAULTS; page++) {
		if (page % MAJOR_BURST == 0) {
			nanosleep(&(struct timespec){.tv_nsec = MAJOR_PAUSE_NS}, NULL);
			start = thread_ns();
		}
		touch(bench->scratch_map + page * 4096);
		if (page % MAJOR_BURST == MAJOR_BURST - 1)
			sum += thread_ns() - start;
	}
	getrusage(RUSAGE_THREAD, &after);
	if (after.ru_majflt - before.ru_majflt != MAJOR_FAULTS)
		bench_die("%ld of %d faults in holes were major: they cannot stand for reads",
			  after.ru_majflt - before.ru_majflt, MAJOR_FAULTS);
	return (double)sum / MAJOR_FAULTS;
}

static double run_resident(struct bench *bench)
{
	uint64_t start;

	for (uint64_t at = 0; at < RESIDENT_BYTES; at += 4096)
		touch(bench->map + at);
	start = thread_ns();
	for (int i = 0; i < RESIDENT_LOADS; i++)
		touch(bench->map + bench_random_below(&bench->random_state, RESIDENT_BYTES));
	return (double)(thread_ns() - start) / RESIDENT_LOADS;
}

static void open_scratch(struct bench *bench)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/telemetry.scratch", bench->dir);
	bench->scratch_fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (bench->scratch_fd < 0)
		bench_die("%s: %s", path, strerror(errno));
	unlink(path);
	bench->scratch_map = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, bench->scratch_fd, 0);
	if (bench->scratch_map == MAP_FAILED)
		bench_die("%s: mmap: %s", path, strerror(errno));
}

/* Holes are read without a device: one folio made per read, all dropped at the end. Per folio. */
static double run_insert(struct bench *bench)
{
	uint64_t start = thread_ns();
	char byte;

	for (int round = 0; round < INSERT_ROUNDS; round++) {
		if (ftruncate(bench->scratch_fd, INSERT_PAGES * 4096) ||
		    posix_fadvise(bench->scratch_fd, 0, 0, POSIX_FADV_RANDOM))
			bench_die("the scratch file: %s", strerror(errno));
		for (off_t page = 0; page < INSERT_PAGES; page++) {
			if (pread(bench->scratch_fd, &byte, 1, page * 4096) != 1)
				bench_die("the scratch file cannot be read");
		}
		if (ftruncate(bench->scratch_fd, 0))
			bench_die("the scratch file: %s", strerror(errno));
	}
	return (double)(thread_ns() - start) / (INSERT_PAGES * INSERT_ROUNDS);
}

static struct pf_telemetry *attach(struct bench *bench, const char *base, uint64_t file_size, int fd)
{
	struct pf_watch watch = {.base = base, .file_size = file_size, .arena_size = file_size};
	struct pf_telemetry_config config = {.source = PINFOLD_SOURCE_AUTO};
	struct pf_telemetry *telemetry;
	struct pf_telemetry_info info;

	if (pf_telemetry_new(&watch, &config, &telemetry) || pf_telemetry_add_file(telemetry, 0, fd))
		bench_die("telemetry: %s", pf_error_text());
	pf_telemetry_info(telemetry, &info);
	snprintf(bench->source, sizeof(bench->source), "%s", info.source);
	snprintf(bench->missing, sizeof(bench->missing), "%s", info.missing);
	return telemetry;
}

/* One run, with telemetry or without; the time per operation. */
static double run_once(struct bench *bench, double (*run)(struct bench *), bool on)
{
	struct pf_telemetry *telemetry = on ? attach(bench, bench->watched_map, FILE_BYTES, bench->watched_fd) : NULL;
	double ns = run(bench);

	pf_telemetry_free(telemetry);
	return ns;
}

/* Compares in pairs; the order within a pair alternates. */
static void compare(struct bench *bench, struct row *row)
{
	double *with = calloc(bench->pairs * 2, sizeof(*with)), *without;

	if (!with)
		bench_die("out of memory");
	without = with + bench->pairs;
	row->run(bench); /* warm */
	for (size_t i = 0; i < bench->pairs; i++) {
		for (size_t half = 0; half < 2; half++) {
			uint64_t state = bench->random_state;

			if ((half + i) % 2)
				with[i] = run_once(bench, row->run, true);
			else
				without[i] = run_once(bench, row->run, false);
			if (!half)
				bench->random_state = state; /* both halves read the same places */
		}
	}
	row->base_ns = row->per_read ? bench->cold_ns : bench_median(without, bench->pairs);
	for (size_t i = 0; row->per_read && i < bench->pairs; i++) {
		with[i] += bench->cold_ns - without[i];
		without[i] = bench->cold_ns;
	}
	bench_summarize_ratio(with, without, bench->pairs, &row->ratio);
	free(with);
}

static void measure_device(struct bench *bench)
{
	double ns[COLD_RUNS];

	for (int i = 0; i < COLD_RUNS; i++)
		ns[i] = run_cold(bench);
	bench->cold_ns = bench_median(ns, COLD_RUNS);
}

struct turn_reader {
	const char *map;
	atomic_bool stop;
};

static void *read_at_random(void *arg)
{
	struct turn_reader *reader = arg;
	uint64_t state = SEED;

	while (!atomic_load_explicit(&reader->stop, memory_order_relaxed)) {
		struct timespec pause = {.tv_nsec = 1000000};

		for (int i = 0; i < 20; i++)
			touch(reader->map + bench_random_below(&state, TURN_RESIDENT_SLICES * 512ull) * 4096);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

static void status_of(void *ctx, uint32_t file_id, uint32_t index, struct pf_slice_status *ret_status)
{
	ret_status->in_use = index < TURN_SLICES;
	ret_status->pinned = index < TURN_PINNED;
}

/* Share of one processor, per turn. The file is sparse: its holes are resident pages like any other once read. */
static void run_turns(struct bench *bench, struct bench_summary *ret_share)
{
	uint64_t file_size = (TURN_SLICES * (2ull << 20) + FILE_BYTES - 1) / FILE_BYTES * FILE_BYTES;
	struct turn_reader reader = {0};
	struct pf_telemetry *telemetry;
	double shares[1000];
	char path[512];
	pthread_t thread;
	char *map;
	int fd;

	snprintf(path, sizeof(path), "%s/telemetry.sparse", bench->dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)file_size))
		bench_die("%s: %s", path, strerror(errno));
	unlink(path);
	map = mmap(NULL, file_size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		bench_die("%s: mmap: %s", path, strerror(errno));
	for (uint64_t at = 0; at < TURN_RESIDENT_SLICES * (2ull << 20); at += 4096)
		touch(map + at);
	telemetry = attach(bench, map, file_size, fd);
	reader.map = map;
	if (pthread_create(&thread, NULL, read_at_random, &reader))
		bench_die("no thread");
	for (int i = 0; i < bench->turns + TURN_WARMUP; i++) {
		struct timespec pause = {.tv_nsec = TURN_MS * 1000000};
		const struct pf_snapshot *snapshot;
		uint64_t start;

		nanosleep(&pause, NULL);
		start = thread_ns();
		if (pf_telemetry_turn(telemetry, bench_now_ns() / 1000000, status_of, NULL, &snapshot))
			bench_die("turn: %s", pf_error_text());
		if (i >= TURN_WARMUP)
			shares[i - TURN_WARMUP] = (double)(thread_ns() - start) / (TURN_MS * 1e6);
	}
	atomic_store(&reader.stop, true);
	pthread_join(thread, NULL);
	pf_telemetry_free(telemetry);
	munmap(map, file_size);
	close(fd);
	bench_summarize(shares, (size_t)bench->turns, ret_share);
}

static void usage(FILE *file)
{
	fputs("usage: bench_telemetry [option]...\n"
	      "  --only NAME  minor, cold, elapsed, resident, insert, foreign or turn (all)\n"
	      "  --pairs N    runs with and without (41)\n"
	      "  --turns N    that are measured (20)\n"
	      "  --dir DIR    for the data (/var/tmp/pinfold-bench)\n"
	      "  --json       all figures, for a machine\n"
	      "  --help       this text\n", file);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{"dir", required_argument, NULL, 'd'},
		{"only", required_argument, NULL, 'o'},
		{"pairs", required_argument, NULL, 'p'},
		{"turns", required_argument, NULL, 't'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct bench bench = {
		.dir = "/var/tmp/pinfold-bench", .pairs = 41, .turns = 20, .random_state = SEED,
	};
	struct row rows[] = {
		{.name = "minor", .run = run_minor, .limit = 1.04},
		{.name = "cold", .run = run_major, .limit = 1.01, .per_read = true},
		{.name = "elapsed", .run = run_cold},
		{.name = "resident", .run = run_resident, .limit = 1.01},
		{.name = "insert", .run = run_insert},
		{.name = "foreign", .run = run_insert},
	};
	struct bench_summary share = {0};
	const char *only = NULL;
	bool as_json = false;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'j':
			as_json = true;
			break;
		case 'd':
			bench.dir = optarg;
			break;
		case 'o':
			only = optarg;
			break;
		case 'p':
			bench.pairs = strtoul(optarg, NULL, 10);
			break;
		case 't':
			bench.turns = atoi(optarg);
			break;
		default:
			usage(option == 'h' ? stdout : stderr);
			exit(option == 'h' ? 0 : 2);
		}
	}
	if (bench.pairs < PAIRS_MIN || bench.pairs > PAIRS_MAX || bench.turns < 1 || bench.turns > 1000)
		bench_die("pairs must be %d to %d, turns 1 to 1000", PAIRS_MIN, PAIRS_MAX);
	if (bench_dir_prepare(bench.dir))
		bench_die("%s: no directory on a device", bench.dir);
	bind_to_processor();
	map_file(&bench);
	open_scratch(&bench);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool scratch = rows[i].run == run_major || !strcmp(rows[i].name, "insert");

		if (only && strcmp(only, rows[i].name))
			continue;
		bench.watched_fd = scratch ? bench.scratch_fd : bench.fd;
		bench.watched_map = scratch ? bench.scratch_map : bench.map;
		if (rows[i].per_read)
			measure_device(&bench);
		compare(&bench, &rows[i]);
	}
	if (!only || !strcmp(only, "turn"))
		run_turns(&bench, &share);
	if (as_json) {
		struct bench_json json;

		bench_json_init(&json, stdout);
		bench_json_open(&json, NULL, '{');
		bench_json_string(&json, "source", bench.source);
		bench_json_string(&json, "missing", bench.missing);
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
			if (!rows[i].ratio.count)
				continue;
			bench_json_open(&json, rows[i].name, '{');
			bench_json_number(&json, "without_ns", rows[i].base_ns);
			bench_json_number(&json, "limit", rows[i].limit);
			bench_json_summary(&json, "ratio", &rows[i].ratio);
			bench_json_close(&json, '}');
		}
		if (share.count) {
			bench_json_number(&json, "turn_limit", 0.01);
			bench_json_summary(&json, "turn_share_of_processor", &share);
		}
		bench_json_close(&json, '}');
		putchar('\n');
		return 0;
	}
	printf("source %s%s%s\n", bench.source, *bench.missing ? ", missing: " : "", bench.missing);
	printf("%-10s %12s %10s %10s %10s %8s\n", "", "without ns", "ratio", "quartile", "quartile", "limit");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!rows[i].ratio.count)
			continue;
		printf("%-10s %12.1f %10.4f %10.4f %10.4f %8.2f\n", rows[i].name, rows[i].base_ns, rows[i].ratio.median,
		       rows[i].ratio.low, rows[i].ratio.high, rows[i].limit);
	}
	if (share.count)
		printf("turn at %u slices: %.3f %% of a processor (quartiles %.3f, %.3f; limit 1 %%)\n", TURN_SLICES,
		       share.median * 100, share.low * 100, share.high * 100);
	return 0;
}
