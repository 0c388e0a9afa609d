// SPDX-License-Identifier: GPL-2.0-only
/*
 * query.c - SCAN and AGE: grain by grain, a bounded amount of work per call.
 */
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "region.h"
#include "trace.h"

/* After this many pages a call ends with the grain that it is in: some milliseconds. */
#define WORK_MAX (1ULL << 18)

static int check(const struct pinfold_query *query)
{
	u64 grain;

	if (query->flags || query->__reserved)
		return -EINVAL;
	if (query->grain_shift < PINFOLD_GRAIN_SHIFT_MIN || query->grain_shift > PINFOLD_GRAIN_SHIFT_MAX)
		return -EINVAL;
	if (!query->count || query->count > PINFOLD_GRAINS_MAX)
		return -EINVAL;
	grain = 1ULL << query->grain_shift;
	if (query->offset & (grain - 1) || query->offset > MAX_LFS_FILESIZE)
		return -EINVAL;
	if (MAX_LFS_FILESIZE - query->offset < query->count * grain)
		return -EINVAL;
	return 0;
}

/* Answers query->count grains or fewer, and sets it. */
static int answer(struct pf_region *region, bool age, struct pinfold_query *query)
{
	struct address_space *mapping = region->file->f_mapping;
	u64 pages = 1ULL << (query->grain_shift - PAGE_SHIFT), first = query->offset >> PAGE_SHIFT, work = 0;
	size_t size = age ? sizeof(struct pinfold_age) : sizeof(struct pinfold_scan_args);
	void __user *to = u64_to_user_ptr(query->results);
	union {
		struct pinfold_scan_args scan;
		struct pinfold_age age;
	} result;
	u32 done;
	int r;

	for (done = 0; done < query->count && work < WORK_MAX; done++) {
		u64 last = first + pages - 1;

		r = age ? pf_age_grain(mapping, first, last, &result.age, &work) :
			  pf_scan_grain(mapping, first, last, &result.scan, &work);
		if (!r && copy_to_user(to, &result, size))
			r = -EFAULT;
		if (r)
			return r;
		to += size;
		first += pages;
		work++;
		cond_resched();
	}
	query->count = done;
	return 0;
}

/**
 * pf_query() - SCAN and AGE
 * @region: the region
 * @age: which of the two
 * @arg: struct pinfold_query
 *
 * Return: 0 or -errno.
 */
int pf_query(struct pf_region *region, bool age, void __user *arg)
{
	struct pinfold_query query;
	int r = pf_arg_get(&query, sizeof(query), sizeof(query), arg);

	if (!r)
		r = check(&query);
	if (!r && !pf_region_may_look(region))
		r = -EPERM;
	if (!r)
		r = answer(region, age, &query);
	if (r)
		return r;
	trace_pinfold_query(region->id, age, query.offset, query.grain_shift, query.count);
	return pf_arg_put(arg, &query, sizeof(query));
}
