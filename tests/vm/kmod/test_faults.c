/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * test_faults.c - every way to fault on a region: its slots count exactly what getrusage() counts, no more and no less,
 * and what is read is what the file holds.
 */
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "region.h"

#define SIZE (4 * SLICE)
#define PAGES (SIZE / PAGE)
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

static volatile uint64_t sink;

/* Nothing of the program itself may fault while faults are counted. */
static void settle(void)
{
	volatile char stack[65536];

	for (size_t i = 0; i < sizeof(stack); i += 1024)
		stack[i] = 1;
	mlockall(MCL_CURRENT);
}

struct span {
	struct rusage usage;
	struct counts counts;
};

FIXTURE(faults)
{
	struct region r;
	char *map;
	struct span before;
	int nodes;
};

FIXTURE_VARIANT(faults)
{
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(faults, counting)
{
	.flags = 0,
};

FIXTURE_VARIANT_ADD(faults, latency)
{
	.flags = PINFOLD_REGISTER_LATENCY,
};

FIXTURE_SETUP(faults)
{
	ASSERT_EQ(region_open(&self->r, "faults.data", SIZE, O_RDWR, variant->flags), 0);
	self->nodes = node_count();
	settle();
	self->map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->r.fd, 0);
	ASSERT_NE(self->map, MAP_FAILED);
}

FIXTURE_TEARDOWN(faults)
{
	munlockall();
	region_close(&self->r);
	unlink("faults.data");
}

static void span_begin(const struct region *r, struct span *span)
{
	span->counts = region_counts(r);
	getrusage(RUSAGE_SELF, &span->usage);
}

/* What has been counted since, and what getrusage() says. */
static void span_end(const struct region *r, const struct span *span, struct counts *ret_counts,
		     struct counts *ret_usage)
{
	struct counts now;
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	now = region_counts(r);
	*ret_counts = (struct counts){
		.minor = now.minor - span->counts.minor, .major = now.major - span->counts.major,
		.write = now.write - span->counts.write, .random = now.random - span->counts.random,
		.io_wait = now.io_wait - span->counts.io_wait, .mkwrite = now.mkwrite - span->counts.mkwrite,
		.write_major = now.write_major - span->counts.write_major, .node = now.node - span->counts.node,
		.stall_ns = now.stall_ns - span->counts.stall_ns, .latency = now.latency - span->counts.latency};
	*ret_usage = (struct counts){.minor = (uint64_t)(usage.ru_minflt - span->usage.ru_minflt),
				     .major = (uint64_t)(usage.ru_majflt - span->usage.ru_majflt)};
}

#define BEGIN() span_begin(&self->r, &self->before)
/* Ends the span; @c are the counts. Something must have faulted. */
#define END_EXACT(c)                                                                                                   \
	struct counts c, c##_usage;                                                                                    \
	span_end(&self->r, &self->before, &c, &c##_usage);                                                             \
	EXPECT_EQ(c.minor, c##_usage.minor);                                                                           \
	EXPECT_EQ(c.major, c##_usage.major);                                                                           \
	EXPECT_EQ(region_lost(&self->r), 0);                                                                           \
	EXPECT_EQ(c.node, self->nodes > 1 ? c.minor + c.major : 0);                                                    \
	EXPECT_GT(c.minor + c.major, 0);                                                                               \
	EXPECT_LE(c.random, c.minor + c.major);                                                                        \
	EXPECT_LE(c.io_wait, c.minor);                                                                                 \
	EXPECT_EQ(c.latency, c.major + (variant->flags ? c.minor : c.io_wait))

static int read_pages(const char *map, size_t pages, size_t step)
{
	int wrong = 0;

	for (size_t page = 0; page < pages; page += step)
		wrong += *(const volatile uint64_t *)(map + page * PAGE) != page + 1;
	return wrong;
}

static void write_pages(char *map, size_t pages)
{
	for (size_t page = 0; page < pages; page++)
		*(volatile uint64_t *)(map + page * PAGE + 8) = page;
}

static int warm(const struct region *r)
{
	static char block[SLICE];

	for (size_t at = 0; at < SIZE; at += sizeof(block)) {
		if (pread(r->file, block, sizeof(block), (off_t)at) != (ssize_t)sizeof(block))
			return -1;
	}
	return 0;
}

TEST_F(faults, read)
{
	ASSERT_EQ(warm(&self->r), 0);
	BEGIN();
	EXPECT_EQ(read_pages(self->map, PAGES, 1), 0);
	END_EXACT(c);
	EXPECT_EQ(c.major, 0);
	EXPECT_EQ(c.write, 0);
	EXPECT_EQ(c.mkwrite, 0);
	/* Again, after dropping translations: one by one, backwards. */
	BEGIN();
	ASSERT_EQ(madvise(self->map, SIZE, MADV_DONTNEED), 0);
	for (size_t page = PAGES; page-- > 0;)
		sink += (uint8_t)self->map[page * PAGE];
	END_EXACT(d);
	/* By the rule the last block of each slice continues what was read of it just before. */
	EXPECT_GE(d.random + SIZE / SLICE, d.minor);
}

TEST_F(faults, read_cold)
{
	BEGIN();
	EXPECT_EQ(read_pages(self->map, PAGES, 1), 0);
	END_EXACT(c);
	EXPECT_GT(c.major, 0);
	EXPECT_GT(c.stall_ns, 0);
	EXPECT_EQ(c.random, 1);
}

TEST_F(faults, read_cold_random)
{
	ASSERT_EQ(madvise(self->map, SIZE, MADV_RANDOM), 0);
	BEGIN();
	for (size_t page = PAGES; page > 64; page -= 64)
		EXPECT_EQ(*(volatile uint64_t *)(self->map + (page - 1) * PAGE), page);
	END_EXACT(c);
	EXPECT_EQ(c.major, PAGES / 64 - 1);
	EXPECT_EQ(c.random, c.major);
	EXPECT_EQ(c.write_major, 0);
	EXPECT_EQ(c.latency, c.major);
}

TEST_F(faults, write)
{
	ASSERT_EQ(warm(&self->r), 0);
	BEGIN();
	write_pages(self->map, PAGES);
	END_EXACT(c);
	EXPECT_EQ(c.major, 0);
	EXPECT_EQ(c.write, c.minor);
	EXPECT_GT(c.mkwrite, 0);
	EXPECT_EQ(read_pages(self->map, PAGES, 1), 0);
}

TEST_F(faults, write_cold)
{
	BEGIN();
	write_pages(self->map, PAGES);
	END_EXACT(c);
	EXPECT_GT(c.major, 0);
	EXPECT_EQ(c.write, c.minor + c.major);
	EXPECT_EQ(c.write_major, c.major);
	EXPECT_EQ(read_pages(self->map, PAGES, 1), 0);
}

TEST_F(faults, write_protect)
{
	EXPECT_EQ(read_pages(self->map, PAGES, 1), 0);
	BEGIN();
	write_pages(self->map, PAGES);
	END_EXACT(c);
	EXPECT_EQ(c.write, c.minor);
	EXPECT_EQ(c.mkwrite, c.minor);
	EXPECT_EQ(c.major, 0);
}

TEST_F(faults, write_protect_by_writeback)
{
	write_pages(self->map, PAGES);
	ASSERT_EQ(msync(self->map, SIZE, MS_SYNC), 0);
	BEGIN();
	write_pages(self->map, PAGES);
	END_EXACT(c);
	EXPECT_EQ(c.write, c.minor);
	EXPECT_EQ(c.mkwrite, c.minor);
}

TEST_F(faults, populate)
{
	BEGIN();
	ASSERT_EQ(madvise(self->map, SIZE, MADV_POPULATE_READ), 0);
	END_EXACT(c);
	EXPECT_EQ(c.random, 0);
	BEGIN();
	ASSERT_EQ(madvise(self->map, SIZE, MADV_POPULATE_WRITE), 0);
	END_EXACT(d);
	EXPECT_EQ(d.write, d.minor);
}

TEST_F(faults, map_populate)
{
	char *map;

	BEGIN();
	map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED | MAP_POPULATE, self->r.fd, 0);
	ASSERT_NE(map, MAP_FAILED);
	END_EXACT(c);
	EXPECT_EQ(read_pages(map, PAGES, 1), 0);
}

TEST_F(faults, kernel_mode)
{
	int fd = open("faults.copy", O_RDWR | O_CREAT | O_TRUNC, 0600);

	ASSERT_GE(fd, 0);
	ASSERT_EQ(pwrite(fd, "x", 1, SIZE - 1), 1);
	BEGIN();
	/* The kernel reads the mapping, then writes to it. */
	ASSERT_EQ(pwrite(fd, self->map, SIZE, 0), (ssize_t)SIZE);
	END_EXACT(c);
	BEGIN();
	ASSERT_EQ(madvise(self->map, SIZE, MADV_DONTNEED), 0);
	ASSERT_EQ(pread(fd, self->map, SIZE, 0), (ssize_t)SIZE);
	END_EXACT(d);
	EXPECT_EQ(d.write, d.minor + d.major);
	EXPECT_EQ(read_pages(self->map, PAGES, 1), 0);
	close(fd);
	unlink("faults.copy");
}

TEST_F(faults, copy_on_write)
{
	char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->r.fd, 0);

	ASSERT_NE(map, MAP_FAILED);
	BEGIN();
	write_pages(map, PAGES);
	END_EXACT(c);
	EXPECT_EQ(c.write, c.minor + c.major);
	EXPECT_EQ(c.mkwrite, 0);
	map[0] = 77;
	EXPECT_EQ(self->map[0], 1);
}

TEST_F(faults, mremap_moves_and_grows)
{
	char *map = mmap(NULL, SIZE / 2, PROT_READ, MAP_SHARED, self->r.fd, 0), *moved;

	ASSERT_NE(map, MAP_FAILED);
	read_pages(map, PAGES / 4, 1);
	moved = mremap(map, SIZE / 2, SIZE, MREMAP_MAYMOVE);
	ASSERT_NE(moved, MAP_FAILED);
	BEGIN();
	EXPECT_EQ(read_pages(moved, PAGES, 1), 0);
	END_EXACT(c);
	moved = mremap(moved, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, self->map);
	ASSERT_EQ(moved, self->map);
	ASSERT_EQ(madvise(moved, SIZE, MADV_DONTNEED), 0);
	BEGIN();
	EXPECT_EQ(read_pages(moved, PAGES, 1), 0);
	END_EXACT(d);
}

TEST_F(faults, munmap_of_the_middle)
{
	ASSERT_EQ(munmap(self->map + SIZE / 4, SIZE / 2), 0);
	BEGIN();
	EXPECT_EQ(read_pages(self->map, PAGES / 4, 1), 0);
	for (size_t page = PAGES * 3 / 4; page < PAGES; page++)
		EXPECT_EQ(*(volatile uint64_t *)(self->map + page * PAGE), page + 1);
	END_EXACT(c);
}

TEST_F(faults, mlock_on_fault)
{
	ASSERT_EQ(syscall(SYS_mlock2, self->map, SIZE, 1 /* MLOCK_ONFAULT */), 0);
	BEGIN();
	EXPECT_EQ(read_pages(self->map, PAGES, 1), 0);
	END_EXACT(c);
}

TEST_F(faults, mlock_populates)
{
	BEGIN();
	ASSERT_EQ(mlock(self->map, SIZE), 0);
	END_EXACT(c);
}

TEST_F(faults, remap_file_pages_stays_counted)
{
	BEGIN();
	/* It populates. */
	ASSERT_EQ(syscall(SYS_remap_file_pages, self->map, SIZE / 2, 0, PAGES / 2, 0), 0);
	for (size_t page = 0; page < PAGES / 2; page++)
		EXPECT_EQ(*(volatile uint64_t *)(self->map + page * PAGE), page + PAGES / 2 + 1);
	END_EXACT(c);
}

TEST_F(faults, revoked)
{
	EXPECT_EQ(read_pages(self->map, PAGES, 1), 0);
	ASSERT_EQ(revoke_all(self->r.fd, SIZE), 0);
	BEGIN();
	EXPECT_EQ(read_pages(self->map, PAGES, 1), 0);
	END_EXACT(c);
	EXPECT_EQ(c.major, 0);
}

static sigjmp_buf after_bus;
static void on_bus(int signal)
{
	siglongjmp(after_bus, signal);
}

TEST_F(faults, sigbus_is_not_counted)
{
	volatile int buses = 0;

	signal(SIGBUS, on_bus);
	ASSERT_EQ(ftruncate(self->r.fd, SIZE / 2), 0);
	BEGIN();
	for (size_t page = PAGES / 2 - 1; page < PAGES; page += 64) {
		if (sigsetjmp(after_bus, 1))
			buses++;
		else
			sink += (uint8_t)self->map[page * PAGE];
	}
	END_EXACT(c);
	EXPECT_EQ(buses, PAGES / 2 / 64);
	EXPECT_EQ(c.minor + c.major, 1);
}

/* Runs @work in a child that settles first, and returns what getrusage() says there. */
static int in_child(void (*work)(char *map), char *map, struct counts *ret_usage)
{
	struct counts *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;
	pid_t pid = fork();

	if (!pid) {
		struct rusage before, after;

		/* The map itself must not be populated by that. */
		madvise(map, SIZE, MADV_DONTNEED);
		mprotect(map, SIZE, PROT_NONE);
		settle();
		mprotect(map, SIZE, PROT_READ | PROT_WRITE);
		munlock(map, SIZE);
		getrusage(RUSAGE_SELF, &before);
		work(map);
		getrusage(RUSAGE_SELF, &after);
		shared->minor = (uint64_t)(after.ru_minflt - before.ru_minflt);
		shared->major = (uint64_t)(after.ru_majflt - before.ru_majflt);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		return -1;
	*ret_usage = *shared;
	munmap(shared, PAGE);
	return 0;
}

static void work_read(char *map)
{
	read_pages(map, PAGES, 1);
}

static void work_write(char *map)
{
	write_pages(map, PAGES);
}

TEST_F(faults, fork_and_two_processes)
{
	struct counts first, second, usage, before, after;

	ASSERT_EQ(warm(&self->r), 0);
	before = region_counts(&self->r);
	ASSERT_EQ(in_child(work_read, self->map, &first), 0);
	ASSERT_EQ(in_child(work_write, self->map, &second), 0);
	after = region_counts(&self->r);
	usage.minor = first.minor + second.minor;
	usage.major = first.major + second.major;
	EXPECT_GT(usage.minor, PAGES / 16);
	EXPECT_EQ(after.minor - before.minor, usage.minor);
	EXPECT_EQ(after.major - before.major, usage.major);
}

TEST_F(faults, descriptors_closed)
{
	close(self->r.fd);
	close(self->r.file);
	close(self->r.device);
	BEGIN();
	EXPECT_EQ(read_pages(self->map, PAGES, 1), 0);
	{
		struct counts c, usage;

		span_end(&self->r, &self->before, &c, &usage);
		EXPECT_EQ(c.minor, usage.minor);
		EXPECT_EQ(c.major, usage.major);
		EXPECT_GT(c.minor + c.major, 0);
	}
	ASSERT_EQ(munmap(self->map, SIZE), 0);
	/* The slots outlive the region's descriptor and its mappings. */
	EXPECT_GT(region_counts(&self->r).minor, 0);
}

TEST_F(faults, only_the_regions_mappings_count)
{
	char *map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, self->r.file, 0);
	struct counts before = region_counts(&self->r), after;

	ASSERT_NE(map, MAP_FAILED);
	EXPECT_EQ(read_pages(map, PAGES, 1), 0);
	after = region_counts(&self->r);
	EXPECT_EQ(memcmp(&before, &after, sizeof(before)), 0);
}

static int mapping_count(const char *map)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long from, to;
	char line[512];
	int count = 0;

	while (maps && fgets(line, sizeof(line), maps))
		count += sscanf(line, "%lx-%lx", &from, &to) == 2 && from < (unsigned long)map + SIZE &&
			 to > (unsigned long)map;
	if (maps)
		fclose(maps);
	return count;
}

TEST_F(faults, split_mappings_merge_again)
{
	ASSERT_EQ(mapping_count(self->map), 1);
	ASSERT_EQ(mprotect(self->map + SIZE / 4, SIZE / 4, PROT_READ), 0);
	EXPECT_EQ(mapping_count(self->map), 3);
	ASSERT_EQ(mprotect(self->map + SIZE / 4, SIZE / 4, PROT_READ | PROT_WRITE), 0);
	EXPECT_EQ(mapping_count(self->map), 1);
	BEGIN();
	EXPECT_EQ(read_pages(self->map, PAGES, 1), 0);
	END_EXACT(c);
}

TEST_F(faults, huge_mapping)
{
	struct pinfold_scan_args scan[4] = {0};
	struct pinfold_query query = {.size = sizeof(query), .grain_shift = 21, .count = 4, .results = (uintptr_t)scan};
	char *map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, self->r.fd, 0);

	ASSERT_NE(map, MAP_FAILED);
	EXPECT_EQ((uintptr_t)map % SLICE, 0);
	madvise(map, SIZE, MADV_HUGEPAGE);
	BEGIN();
	EXPECT_EQ(read_pages(map, PAGES, 1), 0);
	END_EXACT(c);
	ASSERT_EQ(ioctl(self->r.fd, PINFOLD_IOC_SCAN, &query), 0);
	if (scan[0].huge != 512)
		SKIP(return, "this kernel gives no 2 MiB folios on this filesystem");
	ASSERT_EQ(madvise(map, SIZE, MADV_DONTNEED), 0);
	BEGIN();
	EXPECT_EQ(read_pages(map, PAGES, 1), 0);
	END_EXACT(d);
	EXPECT_EQ(d.minor, SIZE / SLICE);
}

TEST_HARNESS_MAIN
