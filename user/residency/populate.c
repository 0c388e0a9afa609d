// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * populate.c - the two steps that bring a piece of a file mapping in: start the
 * reads, then wait for them and map the pages.
 *
 * DESIGN
 *
 *   start    posix_fadvise(WILLNEED) reads exactly the missing pages of the
 *            range, but of one call no more than the device's readahead window or its
 *            largest request, and says nothing of the rest: so PF_READ_MAX at a time. It
 *            goes through the file, so it takes no mmap_lock and cannot stall a fault.
 *   populate MADV_POPULATE_READ waits for what is in flight and maps it. A page
 *            that cannot be read comes back as EFAULT, not as SIGBUS. It
 *            also saves the reader one minor fault per page or fault-around window.
 *
 *   A plain fault in between would use read-around (up to the whole readahead
 *   window, megabytes for one page): so start always comes first.
 */
#include "residency/internal.h"

#include "base/error.h"

#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

size_t pf_page_size(void)
{
	static atomic_size_t size;
	size_t now = atomic_load_explicit(&size, memory_order_relaxed);

	if (!now) {
		now = (size_t)sysconf(_SC_PAGESIZE);
		atomic_store_explicit(&size, now, memory_order_relaxed);
	}
	return now;
}

int pf_range_check(const struct pf_range *range)
{
	uint64_t mask = pf_page_size() - 1;

	if (!range->addr || !range->size)
		return pf_error(-EINVAL, "residency: empty range at file offset %llu",
				(unsigned long long)range->offset);
	if (((uintptr_t)range->addr & mask) || (range->size & mask) || (range->offset & mask))
		return pf_error(-EINVAL,
				"residency: range of %zu bytes at file offset %llu is not made of whole pages of %llu",
				range->size, (unsigned long long)range->offset, (unsigned long long)mask + 1);
	if (range->offset > INT64_MAX || range->size > INT64_MAX - range->offset)
		return pf_error(-EINVAL, "residency: range of %zu bytes at file offset %llu ends past the largest file",
				range->size, (unsigned long long)range->offset);
	return 0;
}

struct pf_range pf_range_part(const struct pf_range *range, size_t at, size_t size)
{
	struct pf_range part = *range;

	part.addr = (char *)range->addr + at;
	part.offset = range->offset + at;
	part.size = size < range->size - at ? size : range->size - at;
	return part;
}

void pf_start_reading(const struct pf_range *range)
{
	for (size_t at = 0; at < range->size; at += PF_READ_MAX) {
		struct pf_range part = pf_range_part(range, at, PF_READ_MAX);

		(void)posix_fadvise(part.fd, (off_t)part.offset, (off_t)part.size, POSIX_FADV_WILLNEED);
	}
}

static int unreadable(const struct pf_range *range)
{
	struct stat st;

	if (!fstat(range->fd, &st) && (uint64_t)st.st_size < range->offset + range->size)
		return pf_error(-EIO, "file offset %llu: the file ends at %lld, before the %zu mapped bytes there do",
				(unsigned long long)range->offset, (long long)st.st_size, range->size);
	return pf_error(-EIO, "file offset %llu: a page of the %zu bytes there cannot be read",
			(unsigned long long)range->offset, range->size);
}

/*
 * The kernel touches the pages for us: writing them to a memory file, one byte of
 * each, faults them into this process's tables, and a page that cannot be
 * read ends the write early (EFAULT) instead of raising SIGBUS.
 */
int pf_populate_by_copy(const struct pf_range *range)
{
	size_t page = pf_page_size(), pages = range->size / page, done = 0;
	int r = 0, fd = memfd_create("pinfold-touch", MFD_CLOEXEC);

	if (fd < 0)
		return pf_error(-errno, "memfd_create: %m");
	while (done < pages && !r) {
		struct iovec iov[256];
		size_t n = pages - done < 256 ? pages - done : 256;
		ssize_t wrote;

		for (size_t i = 0; i < n; i++)
			iov[i] = (struct iovec){(char *)range->addr + (done + i) * page, 1};
		wrote = pwritev(fd, iov, (int)n, 0);
		if (wrote > 0)
			done += (size_t)wrote;
		else if (wrote == 0 || errno == EFAULT)
			r = unreadable(range);
		else if (errno != EINTR)
			r = pf_error(-errno, "touching pages at file offset %llu: %m",
				     (unsigned long long)range->offset);
	}
	close(fd);
	return r;
}

int pf_populate(const struct pf_range *range)
{
	for (;;) {
		if (!madvise(range->addr, range->size, MADV_POPULATE_READ))
			return 0;
		switch (errno) {
		case EINTR:
			continue;
		case EFAULT:
		case EHWPOISON:
			return unreadable(range);
		case EINVAL:
		case EPERM:
		case ENOSYS:
			return pf_populate_by_copy(range);
		default:
			return pf_error(-errno, "MADV_POPULATE_READ, file offset %llu, %zu bytes: %m",
					(unsigned long long)range->offset, range->size);
		}
	}
}

int pf_reopen(int fd, int flags)
{
	char path[40];
	int copy;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	copy = open(path, O_RDONLY | O_CLOEXEC | flags);
	return copy < 0 ? -errno : copy;
}

bool pf_residency_visible(int fd)
{
	char path[40];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (!fstat(fd, &st) && st.st_uid == geteuid())
		return true;
	return !faccessat(AT_FDCWD, path, W_OK, AT_EACCESS);
}

int pf_cachestat(int fd, uint64_t offset, uint64_t size, struct pf_cachestat *ret_stat)
{
	struct {
		uint64_t offset, size;
	} span = {offset, size};
	struct pf_cachestat stat;

	if (syscall(SYS_cachestat, fd, &span, &stat, 0))
		return -errno;
	*ret_stat = stat;
	return 0;
}
