// SPDX-License-Identifier: LGPL-2.1-or-later
/* histogram.c - latencies in log-linear buckets. */
#include "histogram.h"

#include "cli.h"

#define SUB (1u << HISTOGRAM_SUB_BITS)

static unsigned int bucket_of(uint64_t ns)
{
	unsigned int top, shift, bucket;

	if (ns < SUB)
		return (unsigned int)ns;
	top = 63 - (unsigned int)__builtin_clzll(ns);
	shift = top - HISTOGRAM_SUB_BITS;
	bucket = ((shift + 1) << HISTOGRAM_SUB_BITS) + (unsigned int)((ns >> shift) & (SUB - 1));
	return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

/* The greatest value that falls into @bucket. */
static uint64_t bucket_end(unsigned int bucket)
{
	unsigned int shift;

	if (bucket < SUB)
		return bucket;
	shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
	return (((uint64_t)(SUB + (bucket & (SUB - 1))) + 1) << shift) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t ns)
{
	histogram->count++;
	histogram->sum_ns += ns;
	if (ns > histogram->max_ns)
		histogram->max_ns = ns;
	histogram->buckets[bucket_of(ns)]++;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	into->count += from->count;
	into->sum_ns += from->sum_ns;
	if (from->max_ns > into->max_ns)
		into->max_ns = from->max_ns;
	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++)
		into->buckets[i] += from->buckets[i];
}

uint64_t histogram_quantile(const struct histogram *histogram, double q)
{
	uint64_t seen = 0, rank = (uint64_t)(q * (double)histogram->count);

	if (!histogram->count)
		return 0;
	if (rank >= histogram->count)
		rank = histogram->count - 1;
	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += histogram->buckets[i];
		if (seen > rank)
			return bucket_end(i) < histogram->max_ns ? bucket_end(i) : histogram->max_ns;
	}
	return histogram->max_ns;
}

json_t *histogram_json(const struct histogram *h)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "count", cli_json_u64(h->count), "mean_ns",
			 h->count ? cli_json_real((double)h->sum_ns / (double)h->count) : json_null(), "p50_ns",
			 cli_json_u64(histogram_quantile(h, 0.5)), "p99_ns", cli_json_u64(histogram_quantile(h, 0.99)),
			 "p999_ns", cli_json_u64(histogram_quantile(h, 0.999)), "max_ns", cli_json_u64(h->max_ns));
}
