// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * doctor.c - tries for real what residency can use on this host.
 *
 * Each check is one function: it fills in state and found, and names what the
 * capability adds and how to get it. A check leaves nothing behind: scratch files are
 * unlinked before they are written.
 */
#include "residency/internal.h"

#include "base/error.h"

#include <fcntl.h>
#include <inttypes.h>
#include <liburing.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_mseal
#define SYS_mseal 462
#endif

#define SCRATCH_SIZE ((size_t)4 << 20)

enum state { NOT_APPLICABLE = -1, MISSING = 0, WORKS = 1 };

/** What the checks share: a file of SCRATCH_SIZE in the directory asked about. */
struct scratch {
	int fd; /* -1: no directory, or it cannot be written */
	int error;
	char *map; /* aligned to PF_PIECE; NULL if fd is -1 */
	void *reserved;
};

static void found(struct pinfold_capability *cap, enum state state, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void found(struct pinfold_capability *cap, enum state state, const char *format, ...)
{
	va_list args;

	cap->state = state;
	va_start(args, format);
	vsnprintf(cap->found, sizeof(cap->found), format, args);
	va_end(args);
}

static void no_file(struct pinfold_capability *cap, const struct scratch *scratch)
{
	if (scratch->error)
		found(cap, NOT_APPLICABLE, "not tried: no file can be written there: %s", strerror(scratch->error));
	else
		found(cap, NOT_APPLICABLE, "not tried: depends on the directory, and none was named");
}

static bool line_read(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "re");
	bool got;

	if (!file)
		return false;
	got = fgets(text, (int)size, file) != NULL;
	fclose(file);
	if (got)
		text[strcspn(text, "\n")] = '\0';
	return got;
}

static void check_mlock(struct pinfold_capability *cap, struct scratch *scratch)
{
	struct pf_memory_limits limits;
	size_t page = pf_page_size();
	char *memory;

	cap->adds = "hot extents that the kernel cannot evict";
	cap->how = "raise RLIMIT_MEMLOCK (LimitMEMLOCK= of systemd, limits.conf) or grant CAP_IPC_LOCK";
	memory = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED || pf_memory_limits_read(&limits)) {
		found(cap, MISSING, "cannot be tried: %s", strerror(errno));
		return;
	}
	if (mlock2(memory, page, MLOCK_ONFAULT))
		found(cap, MISSING, "mlock2: %s; RLIMIT_MEMLOCK %" PRIu64 " bytes", strerror(errno),
		      limits.memlock_bytes);
	else if (limits.memlock_bytes == UINT64_MAX)
		found(cap, WORKS, "no limit on locked memory; %" PRIu64 " MiB are locked", pf_locked_bytes() >> 20);
	else
		found(cap, limits.memlock_bytes >= PF_PIECE ? WORKS : MISSING,
		      "RLIMIT_MEMLOCK is %" PRIu64 " KiB: pins end there", limits.memlock_bytes >> 10);
	munmap(memory, page);
}

static void check_memory(struct pinfold_capability *cap, struct scratch *scratch)
{
	struct pf_memory_limits limits;

	cap->adds = "pin budgets that follow what this process may really use";
	cap->how = "mount /proc and the cgroup filesystem";
	if (pf_memory_limits_read(&limits))
		found(cap, MISSING, "%s", pf_error_text());
	else if (limits.cgroup_bytes == UINT64_MAX)
		found(cap, WORKS, "RAM %" PRIu64 " MiB, no cgroup limit; least: %s", limits.ram_bytes >> 20,
		      limits.limit_name);
	else
		found(cap, WORKS, "RAM %" PRIu64 " MiB, cgroup %" PRIu64 " MiB (%.60s); least: %s",
		      limits.ram_bytes >> 20, limits.cgroup_bytes >> 20, limits.cgroup_path, limits.limit_name);
}

static void check_cachestat(struct pinfold_capability *cap, struct scratch *scratch)
{
	struct pf_cachestat stat;
	int r;

	cap->adds = "dirty, writeback and recently evicted pages, without privilege and in one call";
	cap->how = "Linux 6.5 or later; mincore tells residency alone";
	if (scratch->fd < 0) {
		no_file(cap, scratch);
		return;
	}
	r = pf_cachestat(scratch->fd, 0, SCRATCH_SIZE, &stat);
	if (r)
		found(cap, MISSING, "cachestat: %s", strerror(-r));
	else
		found(cap, WORKS, "counts %" PRIu64 " pages of a file of %zu", stat.cached,
		      SCRATCH_SIZE / pf_page_size());
}

static void check_pagemap_scan(struct pinfold_capability *cap, struct scratch *scratch)
{
	struct pf_pagemap pagemap;
	uint64_t bytes;
	int r;

	cap->adds = "which ranges are mapped by huge pages, without privilege";
	cap->how = "Linux 6.7 or later";
	r = pf_pagemap_open(&pagemap);
	if (!r) {
		r = pf_pagemap_huge_bytes(&pagemap, (void *)((uintptr_t)&pagemap & ~(pf_page_size() - 1)),
					  pf_page_size(), &bytes);
		if (pagemap.vma_sums)
			r = -ENOTTY;
		pf_pagemap_close(&pagemap);
	}
	if (r)
		found(cap, MISSING, "PAGEMAP_SCAN: %s", strerror(-r));
	else
		found(cap, WORKS, "the ioctl answers");
}

static void check_frames(struct pinfold_capability *cap, struct scratch *scratch)
{
	uint8_t state;
	bool known = false;
	struct pf_pagemap pagemap;

	cap->adds = "how much of a range is in large folios that no PMD maps";
	cap->how = "CAP_SYS_ADMIN (frame numbers and /proc/kpageflags are for it alone)";
	if (pf_pagemap_open(&pagemap)) {
		found(cap, MISSING, "/proc/self/pagemap: %s", strerror(errno));
		return;
	}
	if (!pf_pagemap_read(&pagemap, (void *)((uintptr_t)&state & ~(pf_page_size() - 1)), 1, &state, &known) && known)
		found(cap, WORKS, "frame flags can be read");
	else
		found(cap, MISSING, "frame numbers are hidden, or /proc/kpageflags cannot be read");
	pf_pagemap_close(&pagemap);
}

static void check_process_madvise(struct pinfold_capability *cap, struct scratch *scratch)
{
	struct iovec iov;
	long done = -1;
	int pidfd;

	cap->adds = "advice for many ranges in one call, and for other processes (daemon)";
	cap->how = "Linux 5.10 or later; CAP_SYS_NICE where the kernel asks for it";
	if (!scratch->map) {
		no_file(cap, scratch);
		return;
	}
	iov = (struct iovec){scratch->map, pf_page_size()};
	pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (pidfd >= 0)
		done = syscall(SYS_process_madvise, pidfd, &iov, 1, MADV_WILLNEED, 0);
	if (done == (long)iov.iov_len)
		found(cap, WORKS, "MADV_WILLNEED on this process");
	else
		found(cap, MISSING, "%s", done < 0 ? strerror(errno) : "advice was taken in part");
	if (pidfd >= 0)
		close(pidfd);
}

static void check_populate(struct pinfold_capability *cap, struct scratch *scratch)
{
	cap->adds = "pages mapped in advance, with errors instead of SIGBUS";
	cap->how = "Linux 5.14 or later; without it pages are touched one by one";
	if (!scratch->map)
		no_file(cap, scratch);
	else if (madvise(scratch->map, pf_page_size(), MADV_POPULATE_READ))
		found(cap, MISSING, "MADV_POPULATE_READ: %s", strerror(errno));
	else
		found(cap, WORKS, "MADV_POPULATE_READ on a file mapping");
}

static void check_folios(struct pinfold_capability *cap, struct scratch *scratch)
{
	struct pf_pagemap pagemap;
	struct pf_range range;
	uint64_t bytes = 0;
	int r;

	cap->adds = "file pages folded into 2 MiB folios: fewer TLB misses, faster page table walks";
	cap->how = "xfs from Linux 6.1, ext4 from about 6.16, /sys/kernel/mm/transparent_hugepage/enabled not never";
	if (!scratch->map) {
		no_file(cap, scratch);
		return;
	}
	range = (struct pf_range){scratch->map, SCRATCH_SIZE, scratch->fd, 0};
	r = pf_fold(&range);
	if (r) {
		found(cap, MISSING, "%s", pf_error_text());
		return;
	}
	r = pf_pagemap_open(&pagemap);
	if (!r) {
		r = pf_pagemap_huge_bytes(&pagemap, scratch->map, SCRATCH_SIZE, &bytes);
		pf_pagemap_close(&pagemap);
	}
	if (r)
		found(cap, MISSING, "accepted, but what came of it cannot be told: %s", strerror(-r));
	else
		found(cap, bytes ? WORKS : MISSING, "%" PRIu64 " of %zu KiB became huge", bytes >> 10,
		      SCRATCH_SIZE >> 10);
}

static void check_thp(struct pinfold_capability *cap, struct scratch *scratch)
{
	char text[80];

	cap->adds = "huge pages on request (MADV_HUGEPAGE)";
	cap->how = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled";
	if (!line_read("/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof(text)))
		found(cap, MISSING, "this kernel has no transparent huge pages");
	else
		found(cap, strstr(text, "[never]") ? MISSING : WORKS, "%s", text);
}

static void hugetlb(struct pinfold_capability *cap, unsigned kib)
{
	char path[96], total[32], unused[32];

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%ukB/nr_hugepages", kib);
	if (!line_read(path, total, sizeof(total))) {
		found(cap, NOT_APPLICABLE, "this machine has no pages of this size");
		return;
	}
	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%ukB/free_hugepages", kib);
	if (!line_read(path, unused, sizeof(unused)))
		snprintf(unused, sizeof(unused), "?");
	found(cap, strtoull(total, NULL, 10) ? WORKS : MISSING, "%s reserved, %s free", total, unused);
}

static void check_hugetlb_2m(struct pinfold_capability *cap, struct scratch *scratch)
{
	cap->adds = "folded copies on 2 MiB pages where the filesystem has no large folios";
	cap->how = "sysctl vm.nr_hugepages=N";
	hugetlb(cap, 2048);
}

static void check_hugetlb_1g(struct pinfold_capability *cap, struct scratch *scratch)
{
	cap->adds = "folded copies of large scans on 1 GiB pages";
	cap->how = "boot with hugepagesz=1G hugepages=N";
	hugetlb(cap, 1048576);
}

static void check_numa(struct pinfold_capability *cap, struct scratch *scratch)
{
	uint32_t nodes = pf_node_count();

	cap->adds = "extents moved to the node that uses them";
	cap->how = "a machine with more than one memory node";
	found(cap, nodes > 1 ? WORKS : NOT_APPLICABLE, nodes > 1 ? "%u nodes" : "%u node: nothing to place", nodes);
}

static void check_io_uring(struct pinfold_capability *cap, struct scratch *scratch)
{
	struct io_uring ring;
	int r = io_uring_queue_init(4, &ring, 0);

	cap->adds = "scans and commits at the device's queue depth; without it pread and pwrite serve";
	cap->how = "sysctl kernel.io_uring_disabled=0, and a seccomp profile that allows it";
	if (r) {
		found(cap, MISSING, "io_uring_setup: %s", strerror(-r));
		return;
	}
	found(cap, WORKS, "features %#x", ring.features);
	io_uring_queue_exit(&ring);
}

/* Opens the ring that @wish asks for, with a file of the directory, and says what came of it. */
static void try_ring(struct pinfold_capability *cap, struct scratch *scratch, const struct pf_ring_options *wish)
{
	int fd = pf_reopen(scratch->fd, O_DIRECT), r;
	char refused[sizeof(cap->found)], words[64];
	struct pf_ring ring;

	r = pf_ring_open(wish, fd < 0 ? -1 : fd, &ring, refused, sizeof(refused));
	if (fd >= 0)
		close(fd);
	if (r) {
		found(cap, MISSING, "io_uring_setup: %s", strerror(-r));
		return;
	}
	pf_ring_describe(&ring, words, sizeof(words));
	if (refused[0])
		found(cap, MISSING, "%s", refused);
	else
		found(cap, WORKS, "%s", words);
	pf_ring_close(&ring);
}

static void check_polling(struct pinfold_capability *cap, struct scratch *scratch)
{
	struct pf_ring_options wish = {.sq_entries = 4, .wait = PF_RING_POLLING};

	cap->adds = "completions without an interrupt (io_ring.polling_mode = \"polling\")";
	cap->how = "a device with polling queues (nvme.poll_queues=N) below a filesystem with O_DIRECT";
	if (scratch->fd < 0)
		no_file(cap, scratch);
	else
		try_ring(cap, scratch, &wish);
}

static void check_hybrid(struct pinfold_capability *cap, struct scratch *scratch)
{
	struct pf_ring_options wish = {.sq_entries = 4, .wait = PF_RING_HYBRID};

	cap->adds = "polling that sleeps first, in the kernel (io_ring.polling_mode = \"hybrid\")";
	cap->how = "Linux 6.13 or later, and what polling needs; without them the waiter polls and then sleeps";
	if (scratch->fd < 0)
		no_file(cap, scratch);
	else
		try_ring(cap, scratch, &wish);
}

static void check_sq_polling(struct pinfold_capability *cap, struct scratch *scratch)
{
	struct pf_ring_options wish = {.sq_entries = 4, .sq_polling = true, .sq_idle_ms = 1};

	cap->adds = "submissions without a system call, for a kernel thread's time (io_ring.sq_polling = true)";
	cap->how = "what io_uring needs";
	try_ring(cap, scratch, &wish);
}

static void check_direct(struct pinfold_capability *cap, struct scratch *scratch)
{
	size_t page = pf_page_size();
	void *buffer = NULL;
	int fd;

	cap->adds = "scans that do not evict hot data";
	cap->how = "a filesystem with O_DIRECT; without it pages are read and dropped again";
	if (scratch->fd < 0) {
		no_file(cap, scratch);
		return;
	}
	fd = pf_reopen(scratch->fd, O_DIRECT);
	if (fd < 0)
		found(cap, MISSING, "open(O_DIRECT): %s", strerror(-fd));
	else if (posix_memalign(&buffer, page, page))
		found(cap, MISSING, "out of memory");
	else if (pread(fd, buffer, page, 0) != (ssize_t)page)
		found(cap, MISSING, "direct read of %zu bytes: %s", page, strerror(errno));
	else
		found(cap, WORKS, "direct read of %zu bytes", page);
	free(buffer);
	if (fd >= 0)
		close(fd);
}

static void check_pkeys(struct pinfold_capability *cap, struct scratch *scratch)
{
	int key = pkey_alloc(0, 0);

	cap->adds = "memory that only chosen code paths may touch, switched without a system call";
	cap->how = "a processor with protection keys (pku, ospke)";
	if (key < 0) {
		found(cap, MISSING, "pkey_alloc: %s",
		      errno == ENOSPC ? "no key; the processor may have none" : strerror(errno));
		return;
	}
	found(cap, WORKS, "a key can be allocated");
	pkey_free(key);
}

static void check_mseal(struct pinfold_capability *cap, struct scratch *scratch)
{
	cap->adds = "a data mapping that cannot be unmapped or made writable by mistake or attack";
	cap->how = "Linux 6.10 or later, 64 bit";
	/* an empty range: answers whether the call exists and seals nothing */
	if (syscall(SYS_mseal, NULL, (size_t)0, 0ul))
		found(cap, MISSING, "mseal: %s", strerror(errno));
	else
		found(cap, WORKS, "the call exists");
}

static const struct {
	const char *name;
	void (*check)(struct pinfold_capability *cap, struct scratch *scratch);
} checks[] = {
	{"memory_limits", check_memory},
	{"mlock", check_mlock},
	{"cachestat", check_cachestat},
	{"pagemap_scan", check_pagemap_scan},
	{"frame_flags", check_frames},
	{"process_madvise", check_process_madvise},
	{"populate_read", check_populate},
	{"io_uring", check_io_uring},
	{"io_polling", check_polling},
	{"io_hybrid", check_hybrid},
	{"io_sq_polling", check_sq_polling},
	{"o_direct", check_direct},
	{"large_folios", check_folios},
	{"thp", check_thp},
	{"hugetlb_2m", check_hugetlb_2m},
	{"hugetlb_1g", check_hugetlb_1g},
	{"numa", check_numa},
	{"pkeys", check_pkeys},
	{"mseal", check_mseal},
};

static int scratch_file(const char *dir)
{
	char path[4096], *zeros;
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0) {
		if (snprintf(path, sizeof(path), "%s/.pinfold-doctor-XXXXXX", dir) >= (int)sizeof(path))
			return -ENAMETOOLONG;
		fd = mkostemp(path, O_CLOEXEC);
		if (fd < 0)
			return -errno;
		unlink(path);
	}
	zeros = calloc(1, SCRATCH_SIZE);
	if (!zeros || pwrite(fd, zeros, SCRATCH_SIZE, 0) != (ssize_t)SCRATCH_SIZE || fdatasync(fd)) {
		int r = zeros && errno ? -errno : -ENOMEM;

		free(zeros);
		close(fd);
		return r;
	}
	free(zeros);
	return fd;
}

static void scratch_open(struct scratch *scratch, const char *dir)
{
	char *start;

	*scratch = (struct scratch){.fd = -1, .reserved = MAP_FAILED};
	if (!dir)
		return;
	scratch->fd = scratch_file(dir);
	if (scratch->fd < 0) {
		scratch->error = -scratch->fd;
		scratch->fd = -1;
		return;
	}
	scratch->reserved =
		mmap(NULL, SCRATCH_SIZE + PF_PIECE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (scratch->reserved == MAP_FAILED)
		return;
	start = (char *)(((uintptr_t)scratch->reserved + PF_PIECE - 1) & ~(uintptr_t)(PF_PIECE - 1));
	start = mmap(start, SCRATCH_SIZE, PROT_READ, MAP_SHARED | MAP_FIXED, scratch->fd, 0);
	scratch->map = start == MAP_FAILED ? NULL : start;
}

static void scratch_close(struct scratch *scratch)
{
	if (scratch->reserved != MAP_FAILED)
		munmap(scratch->reserved, SCRATCH_SIZE + PF_PIECE);
	if (scratch->fd >= 0)
		close(scratch->fd);
}

int pf_residency_doctor(const char *dir, struct pinfold_capability *ret_caps, size_t limit)
{
	size_t count = sizeof(checks) / sizeof(checks[0]);
	struct scratch scratch;

	scratch_open(&scratch, dir);
	if (count > limit)
		count = limit;
	for (size_t i = 0; i < count; i++) {
		struct pinfold_capability cap = {.name = checks[i].name};

		checks[i].check(&cap, &scratch);
		if (cap.state == WORKS)
			cap.how = NULL;
		ret_caps[i] = cap;
	}
	scratch_close(&scratch);
	pf_error_clear();
	return (int)count;
}
