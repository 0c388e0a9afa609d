// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * pin.c - keeps a range resident with mlock2.
 *
 * DESIGN
 *
 *   lock    mlock2(MLOCK_ONFAULT) over the range, a piece at a time: each call
 *           holds mmap_lock for writing only while it walks one piece, so faults of
 *           readers wait microseconds. Nothing is read here.
 *   fill    reads are started READ_AHEAD pieces in front of the piece that is being
 *           mapped, so the device stays busy and at most that much is in flight.
 *
 * Invariants
 *   1. A failed pin leaves no part of the range locked, not even one that an earlier
 *      pin had locked: no half pins.
 *   2. A pin never asks for more than the cgroup can hold: locked pages cannot be
 *      reclaimed, so the kernel would answer with the OOM killer, not with an error.
 *   3. A page that cannot be read fails the pin with -EIO; no signal is raised.
 */
#include "residency/internal.h"

#include "base/error.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

/** Pieces whose reads are started before they are waited for. */
#define READ_AHEAD 8
/** How long a reading of the limits serves, seconds. */
#define LIMITS_AGE_S 1
/** Part of a cgroup that pins leave to everything else in it. */
#define CGROUP_RESERVE_DIVISOR 16

/** The call itself: sanitizers replace munlock() (and not mlock2()) by nothing. */
static int unlock(void *addr, size_t size)
{
	return (int)syscall(SYS_munlock, addr, size);
}

static int limits_recent(struct pf_memory_limits *ret_limits)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct pf_memory_limits cached;
	static time_t read_at;
	static bool valid;
	struct timespec now;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	pthread_mutex_lock(&lock);
	if (!valid || now.tv_sec - read_at > LIMITS_AGE_S) {
		r = pf_memory_limits_read(&cached);
		valid = !r;
		read_at = now.tv_sec;
	}
	if (!r)
		*ret_limits = cached;
	pthread_mutex_unlock(&lock);
	return r;
}

uint64_t pf_locked_pieces(const struct pf_range *range)
{
	uint64_t bytes = 0;

	for (size_t at = 0; at < range->size; at += PF_PIECE) {
		struct pf_range piece = pf_range_part(range, at, PF_PIECE);

		if (msync(piece.addr, piece.size, MS_INVALIDATE) && errno == EBUSY)
			bytes += piece.size;
	}
	return bytes;
}

static int refuse_above_cgroup(const struct pf_range *range)
{
	struct pf_memory_limits limits;
	uint64_t locked, room;

	if (limits_recent(&limits) || limits.cgroup_bytes == UINT64_MAX)
		return 0;
	locked = pf_locked_bytes();
	room = limits.cgroup_bytes - limits.cgroup_bytes / CGROUP_RESERVE_DIVISOR;
	if (locked <= room && range->size <= room - locked)
		return 0;
	if (range->size - pf_locked_pieces(range) <= (locked <= room ? room - locked : 0))
		return 0; /* a pin again, which asks for nothing new */
	return pf_error(-ENOMEM,
			"pin of %zu bytes: the cgroup limit is %llu bytes (%s), of which pins may use %llu; %llu are "
			"locked already",
			range->size, (unsigned long long)limits.cgroup_bytes, limits.cgroup_path,
			(unsigned long long)room, (unsigned long long)locked);
}

static int lock_refused(const struct pf_range *range, int error)
{
	unsigned long long locked = pf_locked_bytes();
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit))
		limit.rlim_cur = RLIM_INFINITY;
	if ((error == ENOMEM || error == EPERM || error == EAGAIN) && limit.rlim_cur != RLIM_INFINITY)
		return pf_error(-error,
				"mlock2 of %zu bytes: %s; RLIMIT_MEMLOCK is %llu bytes (CAP_IPC_LOCK lifts it), %llu "
				"are locked already",
				range->size, error == EPERM ? "not permitted" : "refused",
				(unsigned long long)limit.rlim_cur, locked);
	return pf_error(-error, "mlock2 of %zu bytes at file offset %llu: error %d; %llu bytes are locked already",
			range->size, (unsigned long long)range->offset, error, locked);
}

static int lock_pieces(const struct pf_range *range)
{
	for (size_t at = 0; at < range->size; at += PF_PIECE) {
		struct pf_range piece = pf_range_part(range, at, PF_PIECE);

		if (mlock2(piece.addr, piece.size, MLOCK_ONFAULT)) {
			int r = lock_refused(range, errno);

			/* after the words are written: they name what was locked when it was refused */
			unlock(range->addr, range->size);
			return r;
		}
	}
	return 0;
}

static int fill_pieces(const struct pf_range *range)
{
	size_t started = 0;

	for (size_t at = 0; at < range->size; at += PF_PIECE) {
		struct pf_range piece = pf_range_part(range, at, PF_PIECE);
		int r;

		while (started < range->size && started < at + READ_AHEAD * PF_PIECE) {
			struct pf_range ahead = pf_range_part(range, started, PF_PIECE);

			pf_start_reading(&ahead);
			started += ahead.size;
		}
		r = pf_populate(&piece);
		if (r)
			return r;
	}
	return 0;
}

int pf_pin(const struct pf_range *range, bool onfault)
{
	int r = pf_range_check(range);

	if (r)
		return r;
	r = refuse_above_cgroup(range);
	if (r)
		return r;
	r = lock_pieces(range);
	if (r || onfault)
		return r;
	r = fill_pieces(range);
	if (r)
		pf_unpin(range);
	return r;
}

int pf_unpin(const struct pf_range *range)
{
	int r = pf_range_check(range);

	if (r)
		return r;
	for (size_t at = 0; at < range->size; at += PF_PIECE) {
		struct pf_range piece = pf_range_part(range, at, PF_PIECE);

		if (unlock(piece.addr, piece.size))
			return pf_error(-errno, "munlock of %zu bytes at file offset %llu: %m", piece.size,
					(unsigned long long)piece.offset);
	}
	return 0;
}
