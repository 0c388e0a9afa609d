/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * fuzz_kmod.c - random calls, mappings, faults and unloads from several processes that share their files, with a fixed
 * seed. Usage: fuzz_kmod [OPERATIONS [SEED]]. Each result must be one that the call can have; the kernel is the judge
 * of the rest: the run's log must show no complaint, and the module must still go when all is over.
 *
 * The processes do a round of operations and end, while their parent tries all the time to unload the module: it goes
 * in the moment in which the last of them lets go of it, or before they have it, and is loaded again.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "region.h"

#define MODULE "/lib/modules/pinfold.ko"
#define WORKERS 4
/* Operations of a round: so many at least, and 40 rounds at most, for unloading takes a second or two. */
#define ROUND_MIN 2500ull
#define ROUNDS 40
/* The module is away for some seconds at most, the last use of it for some milliseconds after the processes. */
#define PATIENCE_MS 30000
#define REGIONS 6
#define MAPS 8
#define FILES 3
#define FILE_PAGES 1536ull
#define LENGTH (FILE_PAGES * PAGE)

struct map {
	char *at;
	size_t pages;
};

static uint64_t state;
static int files[FILES], regions[REGIONS], slots[REGIONS];
static struct map maps[MAPS], slot_maps[REGIONS];
static int device;
static sigjmp_buf after_signal;
static char buffer[1 << 20];
/* Shared by all processes. */
static struct {
	uint64_t hits, faults, errors[200];
} *total;
static uint64_t hits;

static uint64_t rnd(uint64_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % n;
}

static void on_signal(int signal)
{
	siglongjmp(after_signal, signal);
}

static void note(long r)
{
	if (r < 0 && errno > 0 && errno < 200)
		__atomic_fetch_add(&total->errors[errno], 1, __ATOMIC_RELAXED);
	else
		hits++;
}

/* Mostly sensible, sometimes at an edge, sometimes anything. */
static uint64_t odd(uint64_t sensible)
{
	static const uint64_t edges[] = {0, 1, 7, 4095, 4096, 1ull << 21, (1ull << 31) - 1, 1ull << 32, 1ull << 44,
					 INT64_MAX, 1ull << 63, UINT64_MAX - 4095, UINT64_MAX, 0xffff888000000000ull};

	switch (rnd(12)) {
	case 0:
		return edges[rnd(sizeof(edges) / sizeof(edges[0]))];
	case 1:
		return state;
	default:
		return sensible;
	}
}

/* A number from 1 to @most, mostly small: a call on a thousand pages takes as long as hundreds of calls on a few. */
static uint64_t some(uint64_t most)
{
	return 1 + rnd(rnd(32) ? 6 : most);
}

/* A page of the file, mostly about where two slices meet: there small mappings and calls of all processes overlap. */
static uint64_t place(void)
{
	return rnd(4) ? (1 + rnd(2)) * (SLICE / PAGE) - 16 + rnd(32) : rnd(FILE_PAGES);
}

static void do_register(void)
{
	struct pinfold_register arg = {.size = (uint32_t)odd(sizeof(arg)), .fd = (int)odd((uint64_t)files[rnd(FILES)]),
				       .slice_shift = (uint32_t)odd(21 + rnd(3)), .flags = (uint32_t)odd(rnd(2)),
				       .length = odd(rnd(2) ? 0 : LENGTH)};
	int i = (int)rnd(REGIONS), fd = ioctl(device, PINFOLD_IOC_REGISTER, &arg);

	note(fd);
	if (fd < 0)
		return;
	if (regions[i] >= 0)
		close(regions[i]);
	regions[i] = fd;
}

static void do_slots(void)
{
	int i = (int)rnd(REGIONS), fd = ioctl(regions[i], PINFOLD_IOC_SLOTS);
	void *at;

	note(fd);
	if (fd < 0)
		return;
	if (slots[i] >= 0)
		close(slots[i]);
	slots[i] = fd;
	note(lseek(fd, (off_t)odd(rnd(40000)), rnd(2) ? SEEK_DATA : SEEK_HOLE));
	at = mmap(NULL, 8 * PAGE, PROT_READ | (rnd(8) ? 0 : PROT_WRITE), rnd(8) ? MAP_SHARED : MAP_PRIVATE, fd,
		  (off_t)(odd(rnd(4)) * PAGE));
	note((long)at);
	if (at == MAP_FAILED)
		return;
	if (slot_maps[i].at)
		munmap(slot_maps[i].at, slot_maps[i].pages * PAGE);
	slot_maps[i] = (struct map){at, 8};
}

static void do_query(void)
{
	struct pinfold_query arg = {.size = (uint32_t)odd(sizeof(arg)), .flags = (uint32_t)odd(0),
				    .grain_shift = (uint32_t)odd(12 + rnd(19)), .count = (uint32_t)odd(some(64)),
				    .results = odd((uintptr_t)buffer)};

	arg.offset = odd(place() << 12 & ~0ull << (arg.grain_shift & 63));
	if (rnd(16) == 0)
		arg.results = (uintptr_t)maps[rnd(MAPS)].at;
	note(ioctl(regions[rnd(REGIONS)], rnd(2) ? PINFOLD_IOC_SCAN : PINFOLD_IOC_AGE, &arg));
}

static void do_revoke(void)
{
	struct pinfold_range ranges[16];
	struct pinfold_revoke arg = {.size = (uint32_t)odd(sizeof(arg)), .ranges = odd((uintptr_t)ranges),
				     .count = (uint32_t)odd(1 + rnd(16)), .flags = (uint32_t)odd(0)};

	for (int i = 0; i < 16; i++)
		ranges[i] = (struct pinfold_range){odd(place() * PAGE), odd(some(64) * PAGE)};
	note(ioctl(regions[rnd(REGIONS)], PINFOLD_IOC_REVOKE, &arg));
}

static void do_raw_ioctl(void)
{
	unsigned int request = rnd(2) ? _IOC(rnd(4), PINFOLD_IOC_MAGIC, rnd(9), rnd(128)) : (unsigned int)state;

	/* Random calls of the filesystem (shutdown, resize, ...) are not ours to try. */
	if (_IOC_TYPE(request) != PINFOLD_IOC_MAGIC)
		note(ioctl(device, request, odd((uintptr_t)buffer)));
	else
		note(ioctl(rnd(2) ? device : regions[rnd(REGIONS)], request, odd((uintptr_t)buffer)));
}

static void do_map(void)
{
	struct map *map = &maps[rnd(MAPS)];
	size_t pages = some(FILE_PAGES);
	int prot = rnd(3) ? PROT_READ | PROT_WRITE : PROT_READ;
	int flags = (rnd(4) ? MAP_SHARED : MAP_PRIVATE) | (rnd(8) ? 0 : MAP_POPULATE);
	void *at = mmap(NULL, pages * PAGE, prot, flags, rnd(8) ? regions[rnd(REGIONS)] : files[rnd(FILES)],
			(off_t)(place() * PAGE));

	note((long)at);
	if (at == MAP_FAILED)
		return;
	if (map->at)
		munmap(map->at, map->pages * PAGE);
	*map = (struct map){at, pages};
}

static void do_change_map(void)
{
	static const int advice[] = {MADV_DONTNEED, MADV_RANDOM, MADV_NORMAL, MADV_WILLNEED, MADV_HUGEPAGE, 22, 23,
				     MADV_COLD, MADV_PAGEOUT, MADV_DONTFORK, MADV_DOFORK};
	struct map *map = &maps[rnd(MAPS)];
	size_t from, pages;
	void *at;

	if (!map->at)
		return;
	from = rnd(map->pages);
	pages = 1 + rnd(map->pages - from);
	switch (rnd(7)) {
	case 0:
		munmap(map->at, map->pages * PAGE);
		*map = (struct map){0};
		return;
	case 1:
		note(munmap(map->at + from * PAGE, pages * PAGE));
		return;
	case 2:
		note(mprotect(map->at + from * PAGE, pages * PAGE, rnd(2) ? PROT_READ : PROT_READ | PROT_WRITE));
		return;
	case 3:
		at = mremap(map->at, map->pages * PAGE, (pages + 1) * PAGE, MREMAP_MAYMOVE);
		note((long)at);
		if (at != MAP_FAILED)
			*map = (struct map){at, pages + 1};
		return;
	case 4:
		note(syscall(SYS_remap_file_pages, map->at, map->pages * PAGE, 0, place(), 0));
		return;
	case 5:
		note(rnd(2) ? munlock(map->at + from * PAGE, pages * PAGE) :
			      syscall(SYS_mlock2, map->at + from * PAGE, pages * PAGE, rnd(2)));
		return;
	default:
		note(madvise(map->at + from * PAGE, pages * PAGE, advice[rnd(sizeof(advice) / sizeof(advice[0]))]));
	}
}

static void do_touch(void)
{
	const struct map map = rnd(8) ? maps[rnd(MAPS)] : slot_maps[rnd(REGIONS)];

	if (!map.at)
		return;
	if (sigsetjmp(after_signal, 1)) {
		__atomic_fetch_add(&total->faults, 1, __ATOMIC_RELAXED);
		return;
	}
	for (int i = (int)some(20); i > 0; i--) {
		volatile char *at = map.at + rnd(map.pages) * PAGE + rnd(PAGE);

		if (rnd(3))
			(void)*at;
		else
			*at = (char)i;
	}
}

static void do_file(void)
{
	int fd = rnd(2) ? files[rnd(FILES)] : regions[rnd(REGIONS)];
	off_t at = (off_t)(place() * PAGE), length = (off_t)(some(100) * PAGE);

	switch (rnd(8)) {
	case 0:
		note(ftruncate(fd, (off_t)(place() * PAGE)));
		note(ftruncate(fd, (off_t)LENGTH));
		return;
	case 1:
		note(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, length));
		return;
	case 2:
		note(posix_fadvise(fd, at, length, POSIX_FADV_DONTNEED));
		return;
	case 3:
		note(sync_file_range(fd, at, length, SYNC_FILE_RANGE_WRITE));
		return;
	case 4:
		note(pwrite(fd, buffer, (size_t)length, at));
		return;
	case 5:
		/* The kernel faults while it reads or writes a mapping. */
		if (maps[0].at)
			note(rnd(2) ? pwrite(fd, maps[0].at, PAGE * 4, at) : pread(fd, maps[0].at, PAGE * 4, at));
		return;
	default:
		note(pread(fd, buffer, (size_t)length, at));
	}
}

static void do_close(void)
{
	int i = (int)rnd(REGIONS), *fd = rnd(2) ? &regions[i] : &slots[i];

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void do_fork(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		for (int i = 0; i < 10; i++)
			do_touch();
		_exit(0);
	}
	if (pid > 0)
		waitpid(pid, &status, 0);
}

static void step(void)
{
	switch (rnd(40)) {
	case 0 ... 2: do_register(); break;
	case 3 ... 4: do_slots(); break;
	case 5 ... 7: do_query(); break;
	case 8 ... 10: do_revoke(); break;
	case 11 ... 12: do_raw_ioctl(); break;
	case 13 ... 16: do_map(); break;
	case 17 ... 21: do_change_map(); break;
	case 22 ... 24: do_file(); break;
	case 25: do_close(); break;
	case 26: rnd(8) ? do_touch() : do_fork(); break;
	case 27: note(syscall(SYS_delete_module, "pinfold", O_NONBLOCK)); break;
	default: do_touch();
	}
}

static int work(uint64_t operations, uint64_t seed)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_NODEFER};

	state = seed * 0x9e3779b97f4a7c15ull | 1;
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	for (int i = 0; i < REGIONS; i++)
		regions[i] = slots[i] = -1;
	for (int i = 0; i < FILES; i++) {
		char name[32];

		snprintf(name, sizeof(name), "fuzz.%d", i);
		files[i] = open(name, i ? O_RDWR : O_RDONLY);
	}
	device = -1;
	for (int ms = 0; device < 0 && ms < PATIENCE_MS; ms++, usleep(1000))
		device = open(DEVICE, O_RDWR);
	if (device < 0 || files[0] < 0)
		return 1;
	for (int i = 0; i < REGIONS; i++)
		do_register();
	for (uint64_t i = 0; i < operations; i++)
		step();
	__atomic_fetch_add(&total->hits, hits, __ATOMIC_RELAXED);
	/* A fuzzer that only meets refusals tests nothing. */
	return hits < operations / 8;
}

static int unload(void)
{
	return syscall(SYS_delete_module, "pinfold", O_NONBLOCK) ? -errno : 0;
}

static int load(void)
{
	int fd = open(MODULE, O_RDONLY | O_CLOEXEC), r = (int)syscall(SYS_finit_module, fd, "", 0);

	close(fd);
	return r;
}

/* Unloads and loads the module while the workers are at it. 0 or the first worker's bad status; -1: it did not load. */
static int run_round(uint64_t operations, uint64_t seed, unsigned int *unloads)
{
	int status, bad = 0, left = WORKERS;

	for (int i = 0; i < WORKERS; i++) {
		if (!fork())
			exit(work(operations / WORKERS, seed * WORKERS + (uint64_t)i));
	}
	while (left) {
		if (!unload()) {
			++*unloads;
			if (load())
				return -1;
		}
		while (left && waitpid(-1, &status, WNOHANG) > 0) {
			left--;
			bad = bad ? bad : status;
		}
		usleep(5000);
	}
	return bad;
}

/* What became of all calls. */
static void report(void)
{
	printf("# %llu calls went well, %llu touches ended in a signal, refused:", (unsigned long long)total->hits,
	       (unsigned long long)total->faults);
	for (int i = 0; i < 200; i++) {
		if (total->errors[i])
			printf(" %s %llu", strerrorname_np(i), (unsigned long long)total->errors[i]);
	}
	printf("\n");
}

int main(int argc, char **argv)
{
	uint64_t operations = argc > 1 ? strtoull(argv[1], NULL, 0) : 50000,
		 seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1, done = 0, n;
	const uint64_t each = operations / ROUNDS > ROUND_MIN ? operations / ROUNDS : ROUND_MIN;
	const time_t start = time(NULL);
	unsigned int unloads = 0;
	int bad = 0, gone = -1;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("TAP version 13\n1..2\n");
	total = mmap(NULL, sizeof(*total), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (total == MAP_FAILED)
		return 1;
	for (int i = 0; i < FILES; i++) {
		char name[32];

		snprintf(name, sizeof(name), "fuzz.%d", i);
		if (file_make(name, LENGTH, O_RDONLY) < 0)
			bad = 1;
	}
	for (uint64_t round = 0; done < operations && !bad; round++, done += n) {
		n = operations - done < each ? operations - done : each;
		/* Rounds of all seeds differ. */
		bad = run_round(n, seed << 20 | round, &unloads);
		printf("# %llu operations after %ld s, %u unloads\n", (unsigned long long)(done + n),
		       (long)(time(NULL) - start), unloads);
	}
	report();
	printf("%s 1 - %llu operations, seed %llu\n", bad ? "not ok" : "ok", (unsigned long long)done,
	       (unsigned long long)seed);
	for (int ms = 0; gone && ms < PATIENCE_MS; ms++, usleep(1000))
		gone = unload();
	printf("%s 2 - the module goes afterwards\n", gone ? "not ok" : "ok");
	return bad || gone;
}
