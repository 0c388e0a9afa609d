// SPDX-License-Identifier: GPL-2.0-only
/*
 * user.c - how much one user may have. Memory is charged to the memory cgroup of who touches it besides.
 */
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>

#include "region.h"

static uint regions_per_user = 1024;
module_param(regions_per_user, uint, 0644);
MODULE_PARM_DESC(regions_per_user, "Regions that a user may have registered at a time (CAP_SYS_RESOURCE: any number)");

static ulong memory_per_user = 256;
module_param(memory_per_user, ulong, 0644);
MODULE_PARM_DESC(memory_per_user, "MiB of kernel memory for the slots of a user's regions (CAP_SYS_RESOURCE: any)");

static bool may_have_region(u32 count)
{
	/* The kernel sets parameters by plain writes, at any moment. */
	return count < data_race(READ_ONCE(regions_per_user));
}

static bool may_have_memory(u64 bytes)
{
	/* The same. */
	return (bytes - 1) >> 20 < data_race(READ_ONCE(memory_per_user));
}

static DEFINE_MUTEX(users_lock);
static LIST_HEAD(users);

static struct pf_user *find(kuid_t uid)
{
	struct pf_user *user;

	lockdep_assert_held(&users_lock);
	list_for_each_entry(user, &users, node) {
		if (uid_eq(user->uid, uid))
			return user;
	}
	user = kzalloc(sizeof(*user), GFP_KERNEL_ACCOUNT);
	if (!user)
		return ERR_PTR(-ENOMEM);
	user->uid = uid;
	list_add(&user->node, &users);
	return user;
}

/**
 * pf_user_get() - take one region of a user's share
 * @uid: the user
 * @unlimited: he may have any number
 *
 * Return: the user, to be given back by pf_user_put(), or -EDQUOT or -ENOMEM.
 */
struct pf_user *pf_user_get(kuid_t uid, bool unlimited)
{
	struct pf_user *user;

	mutex_lock(&users_lock);
	user = find(uid);
	if (!IS_ERR(user)) {
		if (unlimited || may_have_region(user->regions)) {
			user->regions++;
		} else {
			if (!user->regions) {
				list_del(&user->node);
				kfree(user);
			}
			user = ERR_PTR(-EDQUOT);
		}
	}
	mutex_unlock(&users_lock);
	return user;
}

void pf_user_put(struct pf_user *user)
{
	mutex_lock(&users_lock);
	if (!--user->regions) {
		list_del(&user->node);
		WARN_ON_ONCE(atomic64_read(&user->bytes));
		kfree(user);
	}
	mutex_unlock(&users_lock);
}

/**
 * pf_charge() - take memory of a user's share
 * @region: what it is for
 * @bytes: how much
 *
 * Return: 0 or -EDQUOT.
 */
int pf_charge(struct pf_region *region, size_t bytes)
{
	struct pf_user *user = region->user;
	u64 total = atomic64_add_return(bytes, &user->bytes);

	if (!region->unlimited && !may_have_memory(total)) {
		atomic64_sub(bytes, &user->bytes);
		return -EDQUOT;
	}
	atomic64_add(bytes, &region->bytes);
	return 0;
}

void pf_uncharge(struct pf_region *region, size_t bytes)
{
	atomic64_sub(bytes, &region->bytes);
	atomic64_sub(bytes, &region->user->bytes);
}
