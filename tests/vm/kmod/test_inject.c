/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * test_inject.c - every allocation that a call makes fails in turn, then many at random. Needs a kernel with failslab
 * and fail_page_alloc (tests/vm/sanitized kasan); elsewhere each case is skipped.
 *
 * DESIGN
 *   /proc/thread-self/fail-nth makes the n-th allocation of this thread fail, whichever function makes it: the
 *   module's own and those of the kernel on its behalf. Each call is made with n = 1, 2, ... until n is more than it
 *   makes. A call that met a failure may succeed (there was a second way), or return an errno that says so. After it
 * all is closed; no region may be left, and in the end the module works and counts as ever. What leaks without a region
 *   is found by kmemleak after the module is gone, what is used after it was freed by KASAN. Loading the module is left
 *   out: the kernel itself warns where it has no memory for a module's tracepoints (event_define_fields()).
 */
#include <setjmp.h>
#include <signal.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#pragma GCC diagnostic ignored "-Woverride-init"
#include "kselftest_harness.h"
#include "region.h"

#define DATA "inject.data"
#define SIZE (4 * SLICE)
#define PAGES (SIZE / PAGE)
#define DEBUG "/sys/kernel/debug/"
#define REGIONS DEBUG "pinfold/regions"
/* No call makes as many. */
#define CALLS_MAX 2000
#define PASSES 2
#define ROUNDS 60
/* Of 100 allocations, this many fail at random. Faults are tried again until they are served. */
#define PERCENT "20"
/* So many bytes of small objects can still be had. */
#define SPACE_MAX 16384
#define SPACE_STEP 256
/* Seconds, of an emulated processor that shares its own with others. */
#define LIMIT 240

struct state {
	int device, file, fail, random;
	uint64_t length;      /* of the region that is made */
	uint32_t flags;       /* and its */
	int fd, slots;        /* -1: none */
	char *map, *slot_map; /* NULL: none */
	char *other;          /* another mapping; NULL: none */
	size_t other_size;
	char *buffer;         /* a page that is not there yet; NULL: none */
};

/* 0 or -errno. Stops at the first failure; what was made is in the state. */
typedef int call(struct state *s);

static sigjmp_buf after_signal;

static void on_signal(int number)
{
	siglongjmp(after_signal, number);
}

static int fail_after(struct state *s, unsigned int n)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%u", n);

	return pwrite(s->fail, text, (size_t)length, 0) == length ? 0 : -errno;
}

/* Allocations that were still to be made before the one that fails; 0: it did. None fails any more. */
static int fail_left(struct state *s)
{
	char text[16] = "";

	return pread(s->fail, text, sizeof(text) - 1, 0) <= 0 || fail_after(s, 0) ? -1 : atoi(text);
}

/* Settings of both kinds of allocation. */
static void set(const char *name, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), DEBUG "failslab/%s", name);
	write_setting(path, value);
	snprintf(path, sizeof(path), DEBUG "fail_page_alloc/%s", name);
	write_setting(path, value);
}

static void set_all(void)
{
	set("verbose", "0");
	set("probability", "0");
	set("interval", "1");
	set("times", "-1");
	set("space", "0");
	set("task-filter", "Y");
	/* Those that may wait are the most. */
	set("ignore-gfp-wait", "N");
	write_setting(DEBUG "fail_page_alloc/ignore-gfp-highmem", "N");
	write_setting(DEBUG "fail_page_alloc/min-order", "0");
}

/* From now on this percentage of the thread's allocations fails. */
static void arm(struct state *s, const char *percent)
{
	set("probability", percent);
	if (pwrite(s->random, "1", 1, 0) != 1)
		abort();
}

static void disarm(struct state *s)
{
	if (pwrite(s->random, "0", 1, 0) != 1)
		abort();
	set("probability", "0");
	set("space", "0");
}

static int region_lines(void)
{
	char line[512];
	int lines = -1;
	FILE *f = fopen(REGIONS, "re");

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		lines++;
	fclose(f);
	return lines;
}

/* The calls, each beginning with those that it needs. */

static int do_register(struct state *s)
{
	s->fd = region_register(s->device, s->file, PINFOLD_SLICE_SHIFT_MIN, s->flags, s->length);
	return s->fd < 0 ? -errno : 0;
}

static int do_slots(struct state *s)
{
	s->slots = ioctl(s->fd, PINFOLD_IOC_SLOTS);
	return s->slots < 0 ? -errno : 0;
}

static int do_map(struct state *s)
{
	void *at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);

	if (at == MAP_FAILED)
		return -errno;
	s->map = at;
	/* What the kernel reads ahead is of no interest, and its allocations are many. */
	return madvise(at, SIZE, MADV_RANDOM) ? -errno : 0;
}

/* Unmapping needs memory as well: what stays is unmapped in the end. */
static int unmap(char **at, size_t size)
{
	if (*at && munmap(*at, size))
		return -errno;
	*at = NULL;
	return 0;
}

static int do_populate(struct state *s)
{
	void *at = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED | MAP_POPULATE, s->fd, SLICE);

	if (at == MAP_FAILED)
		return -errno;
	s->other = at;
	s->other_size = 2 * PAGE;
	return unmap(&s->other, s->other_size);
}

/* Splits the mapping in three, moves the middle one, and takes all apart. */
static int do_change_map(struct state *s)
{
	void *at;

	if (mprotect(s->map + SLICE, SLICE, PROT_READ) || mlock(s->map + 2 * SLICE, PAGE))
		return -errno;
	at = mremap(s->map + SLICE, SLICE, 2 * SLICE, MREMAP_MAYMOVE);
	if (at == MAP_FAILED)
		return -errno;
	s->other = at;
	s->other_size = 2 * SLICE;
	return unmap(&s->other, s->other_size);
}

static int do_map_slots(struct state *s)
{
	void *at = mmap(NULL, 8 * PAGE, PROT_READ, MAP_SHARED, s->slots, 0);

	if (at == MAP_FAILED)
		return -errno;
	s->slot_map = at;
	return 0;
}

/* A slot that there is no memory for ends in SIGBUS. */
static int do_read_slot(struct state *s)
{
	if (sigsetjmp(after_signal, 1))
		return -ENOMEM;
	(void)*(volatile char *)s->slot_map;
	return 0;
}

static int do_read(struct state *s)
{
	volatile uint64_t *at = (void *)(s->map + SLICE + 5 * PAGE);

	if (sigsetjmp(after_signal, 1))
		return -ENOMEM;
	return *at == SLICE / PAGE + 6 ? 0 : -EIO;
}

static int do_write(struct state *s)
{
	if (sigsetjmp(after_signal, 1))
		return -ENOMEM;
	*(volatile char *)(s->map + 2 * SLICE + 9 * PAGE + 100) = 1;
	return 0;
}

/* A descriptor reads into the mapping: it is the kernel that faults. */
static int do_read_into(struct state *s)
{
	ssize_t n = pread(s->file, s->map + 7 * PAGE, PAGE, 7 * PAGE);

	return n < 0 ? -errno : n == (ssize_t)PAGE ? 0 : -EFAULT;
}

static int do_fork(struct state *s)
{
	pid_t pid = fork();

	(void)s;
	if (pid < 0)
		return -errno;
	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
	return 0;
}

static int do_info(struct state *s)
{
	struct pinfold_info info = { .size = sizeof(info) };

	return ioctl(s->fd, PINFOLD_IOC_INFO, &info) ? -errno : 0;
}

static int do_query(struct state *s, unsigned int request)
{
	struct pinfold_query query = {
		.size = sizeof(query), .grain_shift = 21, .count = 4, .results = (uintptr_t)s->buffer
	};

	return ioctl(s->fd, request, &query) ? -errno : 0;
}

/* The answer is written to a page that has yet to be made. */
static int do_scan(struct state *s)
{
	return do_query(s, PINFOLD_IOC_SCAN);
}

static int do_age(struct state *s)
{
	return do_query(s, PINFOLD_IOC_AGE);
}

static int do_revoke(struct state *s)
{
	int r = revoke_all(s->fd, SIZE);

	return r < 0 ? r : 0;
}

static int do_regions(struct state *s)
{
	(void)s;
	return region_lines() < 0 ? -ENOMEM : 0;
}

static int do_close(struct state *s)
{
	int r = unmap(&s->map, SIZE);

	r = r ? r : unmap(&s->slot_map, 8 * PAGE);
	r = r ? r : unmap(&s->other, s->other_size);
	if (s->slots >= 0)
		close(s->slots);
	if (s->fd >= 0)
		close(s->fd);
	s->slots = s->fd = -1;
	return r;
}

/* All of them, in the order in which a program makes them. */
static int do_all(struct state *s)
{
	static call *const calls[] = { do_register, do_slots,  do_map,       do_map_slots,  do_populate,
				       do_read,     do_write,  do_read_into, do_read_slot,  do_scan,
				       do_age,      do_revoke, do_info,      do_change_map, do_fork };
	int r = 0;

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]) && !r; i++)
		r = calls[i](s);
	return r;
}

/* Makes what the calls in @first make. Nothing is in memory that could be read from disk. */
static int begin(struct state *s, call *const *first)
{
	int r = posix_fadvise(s->file, 0, 0, POSIX_FADV_DONTNEED);
	void *at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	s->buffer = at == MAP_FAILED ? NULL : at;
	for (; *first && !r && s->buffer; first++)
		r = (*first)(s);
	return s->buffer ? r : -errno;
}

static void end(struct state *s)
{
	if (do_close(s) || unmap(&s->buffer, PAGE))
		abort();
}

/* What a call may say when memory was short. */
static bool is_excuse(int r)
{
	return r == -ENOMEM || r == -EFAULT || r == -EAGAIN;
}

/* Number of allocations the call makes after @first, each of which failed once; -1 after an EXPECT that did. */
static int sweep_once(struct __test_metadata *_metadata, struct state *s, call *run, call *const *first)
{
	char seen[CALLS_MAX];

	for (int n = 1; n < CALLS_MAX; n++) {
		int left, r, before = begin(s, first);

		ASSERT_EQ(before, 0);
		ASSERT_EQ(fail_after(s, (unsigned int)n), 0);
		r = run(s);
		left = fail_left(s);
		end(s);
		ASSERT_GE(left, 0);
		if (left) {
			EXPECT_EQ(r, 0) TH_LOG("no allocation failed");
			TH_LOG("%d allocations: %.*s", n - 1, n - 1, seen);
			return n - 1;
		}
		seen[n - 1] = r ? '!' : '.';
		EXPECT_TRUE(!r || is_excuse(r)) TH_LOG("allocation %d: %s", n, strerror(-r));
	}
	EXPECT_TRUE(false) TH_LOG("no end after %d allocations", CALLS_MAX);
	return -1;
}

/* Allocators themselves need memory only now and then, which shifts what the n-th is: so several times. */
static int sweep(struct __test_metadata *_metadata, struct state *s, call *run, call *const *first)
{
	int most = -1;

	for (int pass = 0; pass < PASSES; pass++) {
		int n = sweep_once(_metadata, s, run, first);

		most = n > most ? n : most;
	}
	return most;
}

/*
 * The C library has the kernel write to memory of the thread whenever it was preempted. After fork() this memory has
 * yet to be copied; where that allocation fails, the kernel ends the process, as it must: no call of ours made it.
 */
static bool leave_rseq(void)
{
	void *area = (char *)__builtin_thread_pointer() + __rseq_offset;

	return !__rseq_size || !syscall(SYS_rseq, area, sizeof(struct rseq), RSEQ_FLAG_UNREGISTER, RSEQ_SIG);
}

FIXTURE(inject)
{
	struct state s;
};

FIXTURE_SETUP(inject)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_NODEFER };
	struct state *s = &self->s;

	*s = (struct state){ .fd = -1, .slots = -1 };
	s->fail = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (s->fail < 0 || access(DEBUG "failslab", F_OK) || access(DEBUG "fail_page_alloc", F_OK))
		SKIP(_exit(255), "this kernel cannot make allocations fail");
	kernel_quiet();
	set_all();
	s->random = open("/proc/self/make-it-fail", O_RDWR | O_CLOEXEC);
	ASSERT_GE(s->random, 0);
	s->device = open(DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_GE(s->device, 0);
	s->file = file_make(DATA, SIZE, O_RDWR);
	ASSERT_GE(s->file, 0);
	ASSERT_EQ(sigaction(SIGBUS, &action, NULL), 0);
	ASSERT_TRUE(leave_rseq());
	ASSERT_EQ(region_lines(), 0);
}

/* No region is left, and the module counts as ever. */
FIXTURE_TEARDOWN(inject)
{
	static call *const none[] = { NULL };
	struct region r;
	struct counts c;

	set("probability", "0");
	EXPECT_EQ(region_lines(), 0);
	self->s.length = self->s.flags = 0;
	ASSERT_EQ(begin(&self->s, none), 0);
	EXPECT_EQ(do_all(&self->s), 0);
	end(&self->s);
	ASSERT_EQ(region_open(&r, DATA, SIZE, O_RDWR, PINFOLD_REGISTER_LATENCY), 0);
	self->s.fd = r.fd;
	ASSERT_EQ(do_map(&self->s), 0);
	for (unsigned int page = 0; page < PAGES; page += 64)
		EXPECT_EQ(*(volatile uint64_t *)(self->s.map + page * PAGE), page + 1);
	c = region_counts(&r);
	/* Each 256 KiB: faults map 64 KiB around. */
	EXPECT_EQ(c.minor + c.major, PAGES / 64);
	EXPECT_EQ(c.latency, PAGES / 64);
	munmap(self->s.map, SIZE);
	region_close(&r);
	EXPECT_EQ(region_lines(), 0);
	close(self->s.file);
	close(self->s.device);
	close(self->s.random);
	close(self->s.fail);
}

/* A case: the call under test after others; it makes at least so many allocations. */
#define SWEEP(name, run, least, ...)                                      \
	TEST_F_TIMEOUT(inject, name, LIMIT)                               \
	{                                                                 \
		static call *const first[] = { __VA_ARGS__ NULL };        \
                                                                          \
		EXPECT_GE(sweep(_metadata, &self->s, run, first), least); \
	}

#define MAPPED do_register, do_slots, do_map, do_map_slots,

/* The region, its user, its threads, its table, and the file. */
SWEEP(register, do_register, 5)
SWEEP(slots, do_slots, 1, do_register, )
SWEEP(map, do_map, 1, do_register, )
SWEEP(map_slots, do_map_slots, 1, do_register, do_slots, )
SWEEP(populate, do_populate, 1, do_register, )
SWEEP(change_map, do_change_map, 1, MAPPED)
/* A chunk of slots, its pages, and what the filesystem needs. */
SWEEP(read_fault, do_read, 5, MAPPED)
SWEEP(write_fault, do_write, 5, MAPPED)
SWEEP(kernel_fault, do_read_into, 5, MAPPED)
SWEEP(slot_fault, do_read_slot, 5, MAPPED)
SWEEP(fork, do_fork, 1, MAPPED)
SWEEP(scan, do_scan, 1, MAPPED)
SWEEP(age, do_age, 1, MAPPED)
SWEEP(revoke, do_revoke, 0, MAPPED do_read, )
SWEEP(info, do_info, 0, MAPPED)
SWEEP(close, do_close, 0, MAPPED do_read, do_write, )
SWEEP(debugfs, do_regions, 1, do_register, )

/* Tables of such a size are not had from the slab allocator. */
TEST_F_TIMEOUT(inject, register_large, LIMIT)
{
	static call *const first[] = { NULL };

	self->s.length = (uint64_t)PINFOLD_SLICES_MAX << PINFOLD_SLICE_SHIFT_MIN;
	self->s.flags = PINFOLD_REGISTER_LATENCY;
	EXPECT_GE(sweep(_metadata, &self->s, do_register, first), 5);
}

/* Where memory can be had in two ways, one failure shows nothing: here no page can be had, and of small objects a few.
 */
TEST_F_TIMEOUT(inject, no_memory, LIMIT)
{
	static call *const none[] = { NULL }, *const registered[] = { do_register, NULL };
	static call *const calls[] = { do_register, do_register, do_slots, do_map };
	struct state *s = &self->s;

	for (unsigned int bytes = 0; bytes < SPACE_MAX; bytes += SPACE_STEP) {
		for (int i = 0; i < 4; i++) {
			char text[16];
			int r;

			snprintf(text, sizeof(text), "%u", bytes);
			s->length = i ? 0 : (uint64_t)PINFOLD_SLICES_MAX << PINFOLD_SLICE_SHIFT_MIN;
			ASSERT_EQ(begin(s, i < 2 ? none : registered), 0);
			write_setting(DEBUG "failslab/space", text);
			arm(s, "100");
			r = calls[i](s);
			disarm(s);
			end(s);
			EXPECT_TRUE(r == -ENOMEM || (!r && i))
			TH_LOG("call %d with %u bytes: %s", i, bytes, strerror(-r));
			if (!bytes)
				EXPECT_EQ(r, -ENOMEM) TH_LOG("call %d without memory", i);
		}
	}
}

/* Combinations: several allocations of one call fail, and later calls meet what is left of it. */
TEST_F_TIMEOUT(inject, at_random, LIMIT)
{
	static call *const none[] = { NULL };
	struct state *s = &self->s;
	int errors = 0;

	for (int round = 0; round < ROUNDS; round++) {
		int r;

		s->flags = round % 2 ? PINFOLD_REGISTER_LATENCY : 0;
		ASSERT_EQ(begin(s, none), 0);
		arm(s, round % 4 ? "2" : PERCENT);
		r = do_all(s);
		disarm(s);
		end(s);
		errors += r != 0;
		EXPECT_TRUE(!r || is_excuse(r)) TH_LOG("round %d: %s", round, strerror(-r));
	}
	TH_LOG("%d of %d rounds ended early", errors, ROUNDS);
	EXPECT_GT(errors, 0);
	EXPECT_LT(errors, ROUNDS);
}

TEST_HARNESS_MAIN
