// SPDX-License-Identifier: GPL-2.0-only
/*
 * revoke.c - REVOKE: drop translations, with flush, so that the next access faults.
 */
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "region.h"
#include "trace.h"

/* After this many pages a call ends with the range that it is in. */
#define WORK_MAX (1ULL << 20)
/* Pages dropped before others may run. */
#define PIECE 8192ULL

static int check_range(const struct pinfold_range *range)
{
	if ((range->offset | range->length) & ~PAGE_MASK || range->length > PINFOLD_REVOKE_LENGTH_MAX)
		return -EINVAL;
	if (range->offset > MAX_LFS_FILESIZE || MAX_LFS_FILESIZE - range->offset < range->length)
		return -EINVAL;
	return 0;
}

static int revoke_range(struct address_space *mapping, const struct pinfold_range *range)
{
	u64 page = range->offset >> PAGE_SHIFT, end = page + (range->length >> PAGE_SHIFT), count;

	for (; page < end; page += count) {
		count = min(end - page, PIECE);
		/* Private copies are not the file's: they stay. */
		unmap_mapping_pages(mapping, page, count, false);
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

static int revoke(struct address_space *mapping, struct pinfold_revoke *arg)
{
	const struct pinfold_range __user *from = u64_to_user_ptr(arg->ranges);
	struct pinfold_range range;
	u64 work = 0;
	int r;

	for (arg->done = 0; arg->done < arg->count && work < WORK_MAX; arg->done++) {
		if (copy_from_user(&range, from + arg->done, sizeof(range)))
			return -EFAULT;
		r = check_range(&range);
		if (!r)
			r = revoke_range(mapping, &range);
		if (r)
			return r;
		work += (range.length >> PAGE_SHIFT) + 1;
	}
	return 0;
}

/**
 * pf_revoke() - REVOKE
 * @region: the region
 * @to: struct pinfold_revoke
 *
 * Return: 0 or -errno. Ranges before the one that caused an error are revoked.
 */
int pf_revoke(struct pf_region *region, void __user *to)
{
	struct pinfold_revoke arg;
	int r = pf_arg_get(&arg, sizeof(arg), sizeof(arg), to);

	if (r)
		return r;
	if (arg.flags || arg.__reserved || !arg.count || arg.count > PINFOLD_REVOKE_COUNT_MAX)
		return -EINVAL;
	if (!pf_region_may_look(region))
		return -EPERM;
	r = revoke(region->file->f_mapping, &arg);
	if (r)
		return r;
	trace_pinfold_revoke(region->id, arg.count, arg.done);
	return pf_arg_put(to, &arg, sizeof(arg));
}
