/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * test_scan.c - SCAN says page by page what mincore() and the kernel's page flags say, on random layouts; AGE and
 * REVOKE do what the header promises.
 */
#include <sys/syscall.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "region.h"

#define SIZE (8 * SLICE)
#define PAGES (SIZE / PAGE)
#define SEED 20240817
/* Seconds of the tests that look at every page in turn: with KCSAN it takes more than the usual half minute. */
#define LIMIT 240

/* /proc/kpageflags */
#define KPF_REFERENCED 2
#define KPF_DIRTY 4
#define KPF_ACTIVE 6
#define KPF_WRITEBACK 8
#define KPF_COMPOUND_HEAD 15
#define KPF_COMPOUND_TAIL 16
#define KPF_MLOCKED 33

static uint64_t random_state = SEED;
static uint64_t rnd(uint64_t n)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (random_state >> 33) % n;
}

FIXTURE(scan)
{
	struct region r;
	char *map;
	struct pinfold_scan_args *results;
	int pagemap, flags;
};

FIXTURE_SETUP(scan)
{
	ASSERT_EQ(region_open(&self->r, "scan.data", SIZE, O_RDWR, 0), 0);
	self->map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->r.fd, 0);
	ASSERT_NE(self->map, MAP_FAILED);
	/* Nothing is to be read ahead between two looks. */
	ASSERT_EQ(madvise(self->map, SIZE, MADV_RANDOM), 0);
	self->results = calloc(PAGES, sizeof(*self->results));
	self->pagemap = open("/proc/self/pagemap", O_RDONLY);
	self->flags = open("/proc/kpageflags", O_RDONLY);
	ASSERT_GE(self->pagemap, 0);
	ASSERT_GE(self->flags, 0);
}

FIXTURE_TEARDOWN(scan)
{
	munmap(self->map, SIZE);
	region_close(&self->r);
	unlink("scan.data");
}

/* Asks for all grains, going on where a call stopped. Number of calls, or -errno. */
static int scan_all(const struct region *r, unsigned int request, uint32_t shift, void *results, size_t result_size)
{
	uint32_t count = SIZE >> shift, done = 0;
	int calls = 0;

	while (done < count) {
		struct pinfold_query query = {.size = sizeof(query), .offset = (uint64_t)done << shift,
					      .grain_shift = shift, .count = count - done,
					      .results = (uintptr_t)results + done * result_size};

		if (ioctl(r->fd, request, &query))
			return -errno;
		if (!query.count || query.count > count - done)
			return -ERANGE;
		done += query.count;
		calls++;
	}
	return calls;
}

/* What /proc says of a folio. */
struct folio {
	uint64_t frame, flags;
	uint32_t pages; /* 0: of none yet */
};

static bool flags_of(int flags_fd, uint64_t frame, uint64_t *ret_flags)
{
	return pread(flags_fd, ret_flags, 8, (off_t)(frame * 8)) == 8;
}

/* The folio that a page of this pagemap entry is in; @folio is that of the page before. False: it is not mapped. */
static bool folio_of(int flags_fd, uint64_t entry, struct folio *folio)
{
	uint64_t frame = entry & ((1ull << 55) - 1), flags;

	if (!(entry >> 63))
		return false;
	/* Looked up once: of a large one this takes as many calls as it has pages. */
	if (frame - folio->frame < folio->pages)
		return true;
	if (!flags_of(flags_fd, frame, &flags))
		return false;
	while (flags >> KPF_COMPOUND_TAIL & 1) {
		if (!flags_of(flags_fd, --frame, &flags))
			return false;
	}
	*folio = (struct folio){.frame = frame, .flags = flags, .pages = 1};
	while (flags_of(flags_fd, frame + folio->pages, &flags) && flags >> KPF_COMPOUND_TAIL & 1)
		folio->pages++;
	return true;
}

static void shuffle(struct region *r, char *map)
{
	static char block[64 * PAGE];

	posix_fadvise(r->file, 0, 0, POSIX_FADV_DONTNEED);
	posix_fadvise(r->file, 0, 0, rnd(2) ? POSIX_FADV_RANDOM : POSIX_FADV_NORMAL);
	for (int i = 0; i < 40; i++) {
		uint64_t page = rnd(PAGES), pages = 1 + rnd(64);

		if (page + pages > PAGES)
			pages = PAGES - page;
		switch (rnd(6)) {
		case 0:
		case 1:
			if (pread(r->file, block, pages * PAGE, (off_t)(page * PAGE)) < 0)
				abort();
			break;
		case 2:
			for (uint64_t p = page; p < page + pages; p++)
				map[p * PAGE + 8]++;
			break;
		case 3:
			if (pwrite(r->file, block, pages * PAGE, (off_t)(page * PAGE)) < 0)
				abort();
			break;
		case 4:
			if (fallocate(r->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(page * PAGE),
				      (off_t)(pages * PAGE)))
				abort();
			break;
		default:
			sync_file_range(r->file, (off_t)(page * PAGE), (off_t)(pages * PAGE), SYNC_FILE_RANGE_WRITE);
		}
	}
}

/* Waits for what is still being read ahead. 0 or -errno. */
static int wait_for_reads(const struct region *r)
{
	static struct pinfold_scan_args before[SIZE / SLICE], now[SIZE / SLICE];
	int same = 0, calls = 0;

	while (same < 3 && calls >= 0) {
		memcpy(before, now, sizeof(before));
		usleep(20000);
		calls = scan_all(r, PINFOLD_IOC_SCAN, 21, now, sizeof(*now));
		same = memcmp(before, now, sizeof(before)) ? 0 : same + 1;
	}
	return calls < 0 ? calls : 0;
}

TEST_F_TIMEOUT(scan, equals_mincore_and_page_flags, LIMIT)
{
	static unsigned char core[PAGES];
	static uint64_t entries[PAGES];
	static struct pinfold_scan_args again[PAGES];
	uint64_t seen = 0, compared = 0;

	for (int round = 0; round < 12; round++) {
		struct folio folio = {0};

		shuffle(&self->r, self->map);
		fdatasync(self->r.file);
		ASSERT_EQ(wait_for_reads(&self->r), 0);
		ASSERT_EQ(mincore(self->map, SIZE, core), 0);
		/* Page flags are found through this process's page table: map all that is resident, touching nothing.
		 */
		for (size_t page = 0; page < PAGES; page++) {
			if (core[page] & 1)
				madvise(self->map + page * PAGE, PAGE, 22 /* MADV_POPULATE_READ */);
		}
		ASSERT_EQ(mincore(self->map, SIZE, core), 0);
		ASSERT_GT(scan_all(&self->r, PINFOLD_IOC_SCAN, 12, self->results, sizeof(*self->results)), 0);
		ASSERT_EQ(pread(self->pagemap, entries, sizeof(entries), (off_t)((uintptr_t)self->map / PAGE * 8)),
			  (ssize_t)sizeof(entries));
		for (size_t page = 0; page < PAGES; page++) {
			const struct pinfold_scan_args *s = &self->results[page];
			uint32_t nodes = 0;

			ASSERT_EQ(s->resident, core[page] & 1) TH_LOG("round %d page %zu", round, page);
			for (int n = 0; n < PINFOLD_SLOT_NODES; n++)
				nodes += s->node[n];
			ASSERT_EQ(nodes, s->resident);
			seen += s->resident;
			if (!folio_of(self->flags, entries[page], &folio))
				continue;
			compared++;
			ASSERT_EQ(s->resident, 1);
			ASSERT_EQ(s->dirty, folio.flags >> KPF_DIRTY & 1) TH_LOG("round %d page %zu", round, page);
			ASSERT_EQ(s->writeback, folio.flags >> KPF_WRITEBACK & 1);
			ASSERT_EQ(s->active, folio.flags >> KPF_ACTIVE & 1) TH_LOG("round %d page %zu", round, page);
			ASSERT_EQ(s->referenced, folio.flags >> KPF_REFERENCED & 1)
			TH_LOG("round %d page %zu", round, page);
			ASSERT_EQ(s->locked, folio.flags >> KPF_MLOCKED & 1);
			ASSERT_EQ(s->huge, folio.pages >= 512);
			ASSERT_EQ(s->large, folio.pages > 1 && folio.pages < 512);
		}
		/* Larger grains are the sums of smaller ones. */
		ASSERT_GT(scan_all(&self->r, PINFOLD_IOC_SCAN, 21, again, sizeof(*again)), 0);
		for (size_t slice = 0; slice < SIZE / SLICE; slice++) {
			uint32_t resident = 0, dirty = 0;

			for (size_t page = slice * 512; page < slice * 512 + 512; page++) {
				resident += self->results[page].resident;
				dirty += self->results[page].dirty;
			}
			ASSERT_EQ(again[slice].resident, resident);
			ASSERT_EQ(again[slice].dirty, dirty);
		}
	}
	EXPECT_GT(seen, PAGES);
	EXPECT_GT(compared, PAGES);
}

/* Folios come and go, are split, written and read under the scan: what it says of a grain is never contradictory. */
TEST_F_TIMEOUT(scan, beside_changes_is_consistent, LIMIT)
{
	const uint32_t shifts[] = {12, 16, 21};
	int status, child = fork();

	ASSERT_GE(child, 0);
	if (!child) {
		for (;;)
			shuffle(&self->r, self->map);
	}
	for (int round = 0; round < 60; round++) {
		uint32_t shift = shifts[round % 3], pages = 1u << (shift - 12);

		ASSERT_GT(scan_all(&self->r, PINFOLD_IOC_SCAN, shift, self->results, sizeof(*self->results)), 0);
		for (size_t grain = 0; grain < SIZE >> shift; grain++) {
			const struct pinfold_scan_args *s = &self->results[grain];
			uint32_t nodes = 0;

			for (int n = 0; n < PINFOLD_SLOT_NODES; n++)
				nodes += s->node[n];
			EXPECT_EQ(nodes, s->resident);
			EXPECT_LE(s->resident, pages);
			EXPECT_LE(s->large + s->huge, s->resident);
			EXPECT_LE(s->dirty, s->resident);
			EXPECT_LE(s->writeback, s->resident);
			EXPECT_LE(s->active, s->resident);
			EXPECT_LE(s->referenced, s->resident);
			EXPECT_LE(s->locked, s->resident);
		}
		usleep(2000);
	}
	kill(child, SIGKILL);
	ASSERT_EQ(waitpid(child, &status, 0), child);
	EXPECT_TRUE(WIFSIGNALED(status));
}

TEST_F(scan, dirty_pages_are_seen)
{
	for (size_t page = 0; page < 100; page++)
		self->map[page * PAGE] = 1;
	ASSERT_GT(scan_all(&self->r, PINFOLD_IOC_SCAN, 21, self->results, sizeof(*self->results)), 0);
	EXPECT_GE(self->results[0].dirty, 100);
	EXPECT_EQ(self->results[1].dirty, 0);
	ASSERT_EQ(fsync(self->r.file), 0);
	ASSERT_GT(scan_all(&self->r, PINFOLD_IOC_SCAN, 21, self->results, sizeof(*self->results)), 0);
	EXPECT_EQ(self->results[0].dirty, 0);
}

TEST_F(scan, beyond_the_end_is_nothing)
{
	struct pinfold_query query = {.size = sizeof(query), .offset = 1ull << 40, .grain_shift = 30, .count = 4,
				      .results = (uintptr_t)self->results};

	memset(self->results, 255, 4 * sizeof(*self->results));
	ASSERT_EQ(ioctl(self->r.fd, PINFOLD_IOC_SCAN, &query), 0);
	EXPECT_EQ(query.count, 4);
	for (int i = 0; i < 4; i++)
		EXPECT_EQ(self->results[i].resident + self->results[i].node[0] + self->results[i].dirty, 0);
}

TEST_F(scan, locked_pages_are_seen)
{
	ASSERT_EQ(mlock(self->map, SLICE), 0);
	ASSERT_GT(scan_all(&self->r, PINFOLD_IOC_SCAN, 21, self->results, sizeof(*self->results)), 0);
	EXPECT_EQ(self->results[0].resident, 512);
	/* A hint: only where folios are single pages must it be whole. */
	if (!self->results[0].huge && !self->results[0].large)
		EXPECT_EQ(self->results[0].locked, 512);
	EXPECT_EQ(self->results[2].locked, 0);
}

static size_t count_mapped(int pagemap, const char *map)
{
	static uint64_t entries[PAGES];
	size_t count = 0;

	if (pread(pagemap, entries, sizeof(entries), (off_t)((uintptr_t)map / PAGE * 8)) != sizeof(entries))
		return SIZE_MAX;
	for (size_t page = 0; page < PAGES; page++)
		count += entries[page] >> 63;
	return count;
}

TEST_F(scan, age_counts_what_is_mapped)
{
	struct pinfold_age age[8];
	uint32_t mapped = 0, young = 0;

	ASSERT_EQ(madvise(self->map, SIZE, MADV_NORMAL), 0);
	ASSERT_GT(scan_all(&self->r, PINFOLD_IOC_AGE, 21, age, sizeof(*age)), 0);
	for (int i = 0; i < 8; i++)
		EXPECT_EQ(age[i].mapped, 0);
	/* The kernel may take translations away at any time, to move or to join pages: then again. */
	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(madvise(self->map, SIZE, 22 /* MADV_POPULATE_READ */), 0);
		ASSERT_GT(scan_all(&self->r, PINFOLD_IOC_AGE, 21, age, sizeof(*age)), 0);
		if (count_mapped(self->pagemap, self->map) == PAGES)
			break;
	}
	for (int i = 0; i < 8; i++) {
		EXPECT_EQ(age[i].mapped, 512);
		EXPECT_LE(age[i].young, 512);
		young += age[i].young;
	}
	EXPECT_GT(young, 0);
	/* Again: what was cleared is not young, unless it was used. */
	ASSERT_GT(scan_all(&self->r, PINFOLD_IOC_AGE, 21, age, sizeof(*age)), 0);
	for (int i = 0; i < 8; i++)
		EXPECT_EQ(age[i].young, 0);
	/* A new translation is young, and both processes' are counted. */
	ASSERT_EQ(revoke_all(self->r.fd, SIZE), 0);
	if (!fork()) {
		for (size_t page = 0; page < PAGES; page++)
			*(volatile char *)(self->map + page * PAGE);
		_exit(0);
	}
	wait(NULL);
	for (size_t page = 0; page < PAGES; page++)
		*(volatile char *)(self->map + page * PAGE);
	ASSERT_GT(scan_all(&self->r, PINFOLD_IOC_AGE, 21, age, sizeof(*age)), 0);
	for (int i = 0; i < 8; i++)
		mapped += age[i].mapped;
	EXPECT_EQ(mapped, PAGES);
}

TEST_F(scan, private_copies_are_not_aged)
{
	char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->r.fd, 0);
	struct pinfold_age age[8];

	ASSERT_NE(map, MAP_FAILED);
	for (size_t page = 0; page < 512; page++)
		map[page * PAGE] = 1;
	ASSERT_GT(scan_all(&self->r, PINFOLD_IOC_AGE, 21, age, sizeof(*age)), 0);
	EXPECT_EQ(age[0].mapped, 0);
	/* Nor revoked. */
	ASSERT_EQ(revoke_all(self->r.fd, SIZE), 0);
	EXPECT_EQ(map[0], 1);
	munmap(map, SIZE);
}

TEST_F(scan, revoke_reaches_every_process_and_descriptor)
{
	char *other = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, self->r.file, 0);
	int to_child[2], to_parent[2];
	struct pinfold_range ranges[2] = {{.offset = 0, .length = SLICE}, {.offset = 3 * SLICE, .length = 2 * SLICE}};
	struct pinfold_revoke arg = {.size = sizeof(arg), .ranges = (uintptr_t)ranges, .count = 2};
	char byte;

	ASSERT_NE(other, MAP_FAILED);
	ASSERT_EQ(madvise(other, SIZE, 22), 0);
	ASSERT_EQ(madvise(self->map, SIZE, 22), 0);
	ASSERT_EQ(pipe(to_child) | pipe(to_parent), 0);
	if (!fork()) {
		int pagemap = open("/proc/self/pagemap", O_RDONLY);

		madvise(self->map, SIZE, 22);
		byte = (char)(count_mapped(pagemap, self->map) == PAGES);
		write(to_parent[1], &byte, 1);
		read(to_child[0], &byte, 1);
		byte = (char)(count_mapped(pagemap, self->map) == PAGES - 3 * 512);
		write(to_parent[1], &byte, 1);
		_exit(0);
	}
	ASSERT_EQ(read(to_parent[0], &byte, 1), 1);
	EXPECT_EQ(byte, 1);
	ASSERT_EQ(ioctl(self->r.fd, PINFOLD_IOC_REVOKE, &arg), 0);
	EXPECT_EQ(arg.done, 2);
	EXPECT_EQ(count_mapped(self->pagemap, self->map), PAGES - 3 * 512);
	EXPECT_EQ(count_mapped(self->pagemap, other), PAGES - 3 * 512);
	ASSERT_EQ(write(to_child[1], &byte, 1), 1);
	ASSERT_EQ(read(to_parent[0], &byte, 1), 1);
	EXPECT_EQ(byte, 1);
	wait(NULL);
	/* The pages and what is in them stay. */
	ASSERT_GT(scan_all(&self->r, PINFOLD_IOC_SCAN, 21, self->results, sizeof(*self->results)), 0);
	EXPECT_EQ(self->results[0].resident, 512);
	for (size_t page = 0; page < PAGES; page++)
		EXPECT_EQ(*(volatile uint64_t *)(self->map + page * PAGE), page + 1);
}

TEST_HARNESS_MAIN
