/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cost.c - what a warm minor fault costs through a region, and what a SCAN costs against mincore() and page flags.
 * For a machine that counts instructions (-icount shift=0: one is one nanosecond of its clock): the figures are exact
 * counts.
 *
 * Each figure is the median of ROUNDS rounds; the variants take turns. A round goes through the file PASSES times, so
 * that one timer tick more or less, some ten thousand instructions, is lost in it. Exits with 1 if a limit is exceeded.
 */
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#include "region.h"

#define SIZE (16 * SLICE)
#define PAGES (SIZE / PAGE)
#define AROUND 16 /* pages that one read fault maps */
#define ROUNDS 9
#define PASSES 4
#define FAULTS (PASSES * PAGES / AROUND)
#define VARIANTS 3
#define BLOCKS 64

/* As in linux/mman.h since 6.5. */
struct cachestat_range_abi {
	uint64_t offset, size;
};
struct cachestat_abi {
	uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

static const char *const variants[VARIANTS] = {"file", "region", "region, latency"};
static int fds[VARIANTS];
static char *place; /* where each is mapped in turn, alone: a second mapping elsewhere would cost by itself */
static volatile char sink;

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static char *map_variant(int variant)
{
	char *map = mmap(place, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fds[variant], 0);

	if (map == MAP_FAILED || madvise(map, SIZE, 22 /* MADV_POPULATE_READ */)) {
		perror("mapping");
		exit(1);
	}
	return map;
}

/* One translation dropped, one fault, again and again: what a sampler causes. */
static uint64_t drop_and_read(char *map)
{
	uint64_t start = now();

	for (int pass = 0; pass < PASSES; pass++) {
		for (size_t page = 0; page < PAGES; page += AROUND) {
			madvise(map + page * PAGE, AROUND * PAGE, MADV_DONTNEED);
			sink += map[page * PAGE];
		}
	}
	return (now() - start) / FAULTS;
}

/* The fault alone. */
static uint64_t read_fault(char *map)
{
	uint64_t start, sum = 0;

	for (int pass = 0; pass < PASSES; pass++) {
		madvise(map, SIZE, MADV_DONTNEED);
		start = now();
		for (size_t page = 0; page < PAGES; page += AROUND)
			sink += map[page * PAGE];
		sum += now() - start;
	}
	return sum / FAULTS;
}

static uint64_t write_fault(char *map)
{
	uint64_t start, sum = 0;

	for (int pass = 0; pass < PASSES; pass++) {
		madvise(map, SIZE, MADV_DONTNEED);
		start = now();
		for (size_t page = 0; page < PAGES; page += AROUND)
			map[page * PAGE] = 1;
		sum += now() - start;
	}
	return sum / FAULTS;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t median(uint64_t *values)
{
	qsort(values, ROUNDS, sizeof(*values), compare);
	return values[ROUNDS / 2];
}

/* Prints a line of the table. Limits in percent over the file, 0: none. */
static int measure(const char *what, uint64_t (*run)(char *map), double limit, double limit_latency)
{
	uint64_t values[VARIANTS][ROUNDS], file;
	int bad = 0;

	for (int round = 0; round < ROUNDS; round++) {
		for (int v = 0; v < VARIANTS; v++)
			values[v][round] = run(map_variant(v));
	}
	file = median(values[0]);
	printf("# %-16s", what);
	for (int v = 0; v < VARIANTS; v++) {
		uint64_t m = median(values[v]);
		double percent = 100.0 * ((double)m - (double)file) / (double)file,
		       most = v == 1 ? limit : limit_latency;

		printf(" | %s %llu", variants[v], (unsigned long long)m);
		if (v)
			printf(" (%+.2f %%)", percent);
		bad |= v && most > 0 && percent > most;
	}
	printf("\n");
	return bad;
}

/* The same answer, residency and flags of every page, in both ways. */
static int measure_scan(int region)
{
	static unsigned char core[PAGES];
	static uint64_t entries[PAGES], flags;
	static struct pinfold_scan_args scan[SIZE / SLICE];
	struct pinfold_query query = {.size = sizeof(query), .grain_shift = 21, .count = SIZE / SLICE,
				      .results = (uintptr_t)scan};
	int pagemap = open("/proc/self/pagemap", O_RDONLY), kpageflags = open("/proc/kpageflags", O_RDONLY);
	uint64_t start, old, new;
	char *map;

	map = map_variant(0);
	start = now();
	mincore(map, SIZE, core);
	if (pread(pagemap, entries, sizeof(entries), (off_t)((uintptr_t)map / PAGE * 8)) != sizeof(entries))
		return 1;
	for (size_t page = 0; page < PAGES; page++) {
		if (core[page] & 1 &&
		    pread(kpageflags, &flags, 8, (off_t)((entries[page] & ((1ull << 55) - 1)) * 8)) != 8)
			return 1;
	}
	old = now() - start;
	start = now();
	if (ioctl(region, PINFOLD_IOC_SCAN, &query))
		return 1;
	new = now() - start;
	printf("# scan of %lu pages | mincore and kpageflags %llu | SCAN %llu (%.1f times cheaper)\n", PAGES,
	       (unsigned long long)old, (unsigned long long)new, (double)old / (double)new);
	return scan[0].resident != 512 || old < 10 * new;
}

/* The number of resident pages, in each way that tells no more than that. */
static int measure_count(int file, int region, char *map, const char *what)
{
	static unsigned char core[PAGES];
	static struct pinfold_scan_args scan[SIZE / SLICE];
	struct pinfold_query query = {.size = sizeof(query), .grain_shift = 21, .count = SIZE / SLICE,
				      .results = (uintptr_t)scan};
	struct cachestat_range_abi range = {0, SIZE};
	struct cachestat_abi stat;
	uint64_t start = now(), by_mincore, by_cachestat, by_scan;
	long r;

	if (mincore(map, SIZE, core))
		return 1;
	by_mincore = now() - start;
	start = now();
	r = syscall(451 /* SYS_cachestat, 6.5 */, file, &range, &stat, 0);
	by_cachestat = r ? 0 : now() - start;
	start = now();
	if (ioctl(region, PINFOLD_IOC_SCAN, &query))
		return 1;
	by_scan = now() - start;
	printf("# counting %lu pages, %s | mincore %llu | cachestat %llu | SCAN %llu\n", PAGES, what,
	       (unsigned long long)by_mincore, (unsigned long long)by_cachestat, (unsigned long long)by_scan);
	return 0;
}

/* BLOCKS translations of AROUND pages dropped, by one call each, by one call for all, and by REVOKE. */
static int measure_revoke(int region, char *map)
{
	struct pinfold_range ranges[BLOCKS];
	struct iovec vectors[BLOCKS];
	struct pinfold_revoke arg = {.size = sizeof(arg), .ranges = (uintptr_t)ranges, .count = BLOCKS};
	int self = (int)syscall(434 /* SYS_pidfd_open */, getpid(), 0);
	uint64_t start, each, all;
	long taken;

	for (size_t i = 0; i < BLOCKS; i++) {
		size_t at = i * (SIZE / BLOCKS);

		ranges[i] = (struct pinfold_range){at, AROUND * PAGE};
		vectors[i] = (struct iovec){map + at, AROUND * PAGE};
	}
	madvise(map, SIZE, 22 /* MADV_POPULATE_READ */);
	start = now();
	for (size_t i = 0; i < BLOCKS; i++)
		madvise(vectors[i].iov_base, AROUND * PAGE, 24 /* MADV_DONTNEED_LOCKED */);
	each = now() - start;
	madvise(map, SIZE, 22);
	start = now();
	taken = syscall(440 /* SYS_process_madvise */, self, vectors, (size_t)BLOCKS, 24, 0);
	all = taken < 0 ? 0 : now() - start;
	madvise(map, SIZE, 22);
	start = now();
	if (ioctl(region, PINFOLD_IOC_REVOKE, &arg))
		return 1;
	printf("# revoking %d blocks | madvise %llu | process_madvise %llu | REVOKE %llu, of all mappings\n", BLOCKS,
	       (unsigned long long)each, (unsigned long long)all, (unsigned long long)(now() - start));
	close(self);
	return 0;
}

int main(void)
{
	struct region counting, timing;
	int bad;

	if (region_open(&counting, "cost.data", SIZE, O_RDWR, 0))
		return 1;
	timing = counting;
	timing.fd =
		region_register(counting.device, counting.file, PINFOLD_SLICE_SHIFT_MIN, PINFOLD_REGISTER_LATENCY, 0);
	fds[0] = counting.file;
	fds[1] = counting.fd;
	fds[2] = timing.fd;
	place = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int v = 0; v < VARIANTS; v++) {
		char *map = map_variant(v);

		for (size_t page = 0; page < PAGES; page++)
			map[page * PAGE] = 1;
	}
	fsync(counting.file);
	printf("TAP version 13\n1..2\n# instructions, median of %d rounds\n", ROUNDS);
	bad = measure("drop and read", drop_and_read, 0.6, 1.5);
	bad |= measure("read fault", read_fault, 0, 0);
	bad |= measure("write fault", write_fault, 0, 0);
	printf("%s 1 - a warm minor fault costs at most 0.6 %% more, with latency 1.5 %%\n", bad ? "not ok" : "ok");
	bad = measure_scan(counting.fd);
	bad |= measure_count(counting.file, counting.fd, place, "mapped");
	madvise(place, SIZE, MADV_DONTNEED);
	bad |= measure_count(counting.file, counting.fd, place, "not mapped");
	bad |= measure_revoke(counting.fd, map_variant(1));
	printf("%s 2 - SCAN is at least ten times cheaper than mincore and page flags\n", bad ? "not ok" : "ok");
	return bad;
}
