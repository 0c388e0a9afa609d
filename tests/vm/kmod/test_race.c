/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * test_race.c - one region, used by several processes at once: each fault is counted once, and calls get the answers
 * that they get alone. On a kernel with KCSAN the kernel watches what they do to each other besides.
 */
#include <sys/wait.h>
#include <time.h>

#include "kselftest_harness.h"
#include "region.h"

#define SIZE (4 * SLICE)
#define PAGES (SIZE / PAGE)
#define WORKERS 4
/* Of each test; more than they run, where all is slow. */
#define LIMIT 240

/* What the workers tell, in memory that they share. */
struct told {
	uint64_t faults, calls, wrong;
};

FIXTURE(race)
{
	struct region r;
	struct told *told;
};

FIXTURE_VARIANT(race)
{
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(race, counting)
{
	.flags = 0,
};

FIXTURE_VARIANT_ADD(race, latency)
{
	.flags = PINFOLD_REGISTER_LATENCY,
};

FIXTURE_SETUP(race)
{
	/* A page that is written back is write-protected, and the fault that ends that is not one of the kind below. */
	write_setting("/proc/sys/vm/dirty_writeback_centisecs", "0");
	ASSERT_EQ(region_open(&self->r, "race.data", SIZE, O_RDWR, variant->flags), 0);
	self->told = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(self->told, MAP_FAILED);
}

FIXTURE_TEARDOWN(race)
{
	munmap(self->told, PAGE);
	region_close(&self->r);
	unlink("race.data");
	/* As it is by default. */
	write_setting("/proc/sys/vm/dirty_writeback_centisecs", "500");
}

static uint64_t rnd(uint64_t *state, uint64_t n)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state % n;
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* When a test that begins now is to end. Where races are looked for it is in samples, so for longer. */
static double end_s(void)
{
	return now_s() + (access("/sys/kernel/debug/kcsan", F_OK) ? 3 : 30);
}

static uint64_t faults_of_self(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (uint64_t)(usage.ru_minflt + usage.ru_majflt);
}

/* Pages about where two slices meet, and everywhere. */
static uint64_t place(uint64_t *state)
{
	return rnd(state, 2) ? SLICE / PAGE - 32 + rnd(state, 64) : rnd(state, PAGES - 64);
}

static int revoke_some(int fd, uint64_t page, uint64_t pages)
{
	struct pinfold_range range = {.offset = page * PAGE, .length = pages * PAGE};
	struct pinfold_revoke arg = {.size = sizeof(arg), .ranges = (uintptr_t)&range, .count = 1};

	return ioctl(fd, PINFOLD_IOC_REVOKE, &arg) ? -errno : (int)arg.done - 1;
}

/*
 * Reads or writes, never both: a write to a page that is mapped for reading may find it gone when it has faulted, and
 * then getrusage() has counted and no filesystem was asked.
 */
static void touch(char *map, uint64_t *state, bool write)
{
	volatile uint64_t *at = (volatile uint64_t *)(map + place(state) * PAGE);

	if (write)
		at[2] = *state;
	else
		(void)*at;
}

static void fault_alone(struct region *r, struct told *told, int number)
{
	uint64_t state = 88172645463325252ull * (uint64_t)(number + 1), before;
	double end = end_s();
	char *map;

	/* Nothing of the program itself faults from here on. */
	mlockall(MCL_CURRENT);
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	if (map == MAP_FAILED)
		_exit(1);
	before = faults_of_self();
	while (now_s() < end) {
		for (int i = 0; i < 16; i++)
			touch(map, &state, number & 1);
		if (revoke_some(r->fd, place(&state), 64))
			told->wrong++;
		told->calls++;
	}
	told->faults = faults_of_self() - before;
	_exit(0);
}

/* Some use of everything that a region has; true if it answered as it should. */
static bool call(struct region *r, char *map, uint64_t *state)
{
	static struct pinfold_scan_args scans[16];
	struct pinfold_query query = {
		.size = sizeof(query), .grain_shift = 16, .count = 16, .results = (uintptr_t)scans
	};
	struct pinfold_info info = {.size = sizeof(info)};
	char *other, text[512];
	int fd;

	switch (rnd(state, 9)) {
	case 0:
		return !revoke_some(r->fd, place(state), 64);
	case 1:
	case 2:
		query.offset = place(state) / 16 * 16 * PAGE;
		return !ioctl(r->fd, rnd(state, 2) ? PINFOLD_IOC_SCAN : PINFOLD_IOC_AGE, &query);
	case 3:
		return !ioctl(r->fd, PINFOLD_IOC_INFO, &info) && info.lost == 0 && info.slice_count == r->slice_count;
	case 4:
		fd = ioctl(r->fd, PINFOLD_IOC_SLOTS);
		other = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
		close(fd);
		if (fd < 0 || other == MAP_FAILED)
			return false;
		(void)*(volatile char *)other;
		return !munmap(other, PAGE);
	case 5:
		other = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
		if (other == MAP_FAILED)
			return false;
		for (int i = 0; i < 16; i++)
			touch(other, state, rnd(state, 2));
		return !munmap(other, SIZE);
	case 6:
		fd = region_register(r->device, r->file, PINFOLD_SLICE_SHIFT_MIN, (uint32_t)rnd(state, 2), 0);
		return fd >= 0 && !close(fd);
	case 7:
		write_setting("/sys/module/pinfold/parameters/memory_per_user", "256");
		write_setting("/sys/module/pinfold/parameters/regions_per_user", "1024");
		fd = open("/sys/kernel/debug/pinfold/regions", O_RDONLY | O_CLOEXEC);
		return fd < 0 || (read(fd, text, sizeof(text)) > 0 && !close(fd));
	default:
		for (int i = 0; i < 64; i++)
			touch(map, state, rnd(state, 2));
		return pwrite(r->file, state, 8, (off_t)(place(state) * PAGE)) == 8;
	}
}

static void everything(struct region *r, struct told *told, int number)
{
	uint64_t state = 88172645463325252ull * (uint64_t)(number + 1);
	double end = end_s();
	char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);

	if (map == MAP_FAILED)
		_exit(1);
	while (now_s() < end) {
		if (!call(r, map, &state))
			told->wrong++;
		told->calls++;
	}
	_exit(0);
}

/* Runs @work in WORKERS processes at once. The number of those that ended badly. */
static int at_once(void (*work)(struct region *r, struct told *told, int number), struct region *r, struct told *told)
{
	int status, bad = 0, started = 0;

	for (int i = 0; i < WORKERS; i++) {
		pid_t pid = fork();

		if (!pid)
			work(r, &told[i], i);
		started += pid > 0;
	}
	for (int i = 0; i < started; i++)
		bad += wait(&status) < 0 || status;
	return bad + WORKERS - started;
}

TEST_F_TIMEOUT(race, each_fault_is_counted_once, LIMIT)
{
	struct counts before = region_counts(&self->r), after;
	uint64_t faults = 0, counted;

	ASSERT_EQ(at_once(fault_alone, &self->r, self->told), 0);
	after = region_counts(&self->r);
	counted = after.minor + after.major - before.minor - before.major;
	for (int i = 0; i < WORKERS; i++) {
		EXPECT_EQ(self->told[i].wrong, 0);
		EXPECT_GT(self->told[i].faults, 0);
		faults += self->told[i].faults;
	}
	TH_LOG("%llu faults", (unsigned long long)faults);
	EXPECT_EQ(counted, faults);
	EXPECT_EQ(region_lost(&self->r), 0);
	EXPECT_EQ(after.node - before.node, node_count() > 1 ? counted : 0);
	EXPECT_EQ(after.latency - before.latency,
		  after.major - before.major +
			  (variant->flags ? after.minor - before.minor : after.io_wait - before.io_wait));
}

TEST_F_TIMEOUT(race, calls_beside_faults, LIMIT)
{
	uint64_t calls = 0;

	ASSERT_EQ(at_once(everything, &self->r, self->told), 0);
	for (int i = 0; i < WORKERS; i++) {
		EXPECT_EQ(self->told[i].wrong, 0);
		calls += self->told[i].calls;
	}
	TH_LOG("%llu calls", (unsigned long long)calls);
	EXPECT_GT(calls, WORKERS);
	EXPECT_EQ(region_lost(&self->r), 0);
}

TEST_HARNESS_MAIN
