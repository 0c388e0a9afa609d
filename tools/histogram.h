/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * histogram.h - latencies in log-linear buckets: 32 per doubling, so a
 * quantile is at most 3 % off, from 1 ns to over an hour in 9 KiB.
 */
#ifndef PF_TOOLS_HISTOGRAM_H
#define PF_TOOLS_HISTOGRAM_H

#include <jansson.h>
#include <stdint.h>

#define HISTOGRAM_SUB_BITS 5
#define HISTOGRAM_BUCKETS (((42 - HISTOGRAM_SUB_BITS) << HISTOGRAM_SUB_BITS) + (1 << HISTOGRAM_SUB_BITS))

/** Zero is empty. One writer. */
struct histogram {
	uint64_t count, sum_ns, max_ns;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};
void histogram_add(struct histogram *histogram, uint64_t ns);
void histogram_merge(struct histogram *into, const struct histogram *from);
/** The value that @q (0..1) of all do not exceed, in ns; 0 if empty. Never above the greatest one added. */
uint64_t histogram_quantile(const struct histogram *histogram, double q);
/** {"count", "mean_ns", "p50_ns", "p99_ns", "p999_ns", "max_ns"} */
json_t *histogram_json(const struct histogram *histogram);

#endif
