/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * clock.h - monotonic time.
 */
#ifndef PF_CLOCK_H
#define PF_CLOCK_H

#include <stdint.h>
#include <time.h>

#define PF_NS_PER_MS 1000000ull
#define PF_NS_PER_S 1000000000ull

/** Nanoseconds of CLOCK_MONOTONIC. */
static inline uint64_t pf_clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * PF_NS_PER_S + (uint64_t)ts.tv_nsec;
}

/** @ns as a timespec, for timed waits on CLOCK_MONOTONIC. */
static inline struct timespec pf_clock_timespec(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / PF_NS_PER_S), .tv_nsec = (long)(ns % PF_NS_PER_S) };
}

#endif
