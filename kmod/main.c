// SPDX-License-Identifier: GPL-2.0-only
/*
 * main.c - the module and its device.
 */
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/rcupdate.h>

#include "region.h"

static long device_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	if (_IOC_TYPE(cmd) != PINFOLD_IOC_MAGIC)
		return -ENOTTY;
	/* The size in the number is that of the caller's header; what counts is the size in the argument. */
	switch (_IOC_NR(cmd)) {
	case _IOC_NR(PINFOLD_IOC_VERSION):
		return PINFOLD_ABI_VERSION;
	case _IOC_NR(PINFOLD_IOC_REGISTER):
		return pf_region_register((void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations device_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = device_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "pinfold",
	.fops = &device_fops,
	/* For root, until the udev rule gives it to the group as well. */
	.mode = 0600,
};

static int __init pinfold_init(void)
{
	int r;

	BUILD_BUG_ON(sizeof(struct pinfold_slot) != PINFOLD_SLOT_SIZE);
	BUILD_BUG_ON(PF_CHUNK_SIZE % PAGE_SIZE);
	pf_debug_init();
	r = misc_register(&device);
	if (r)
		pf_debug_done();
	return r;
}

static void __exit pinfold_exit(void)
{
	misc_deregister(&device);
	pf_debug_done();
	/*
	 * No region is left (each holds the module), but the last one's release, or a fault that dropped the last
	 * reference, may not have left this code yet. It does not sleep any more.
	 */
	synchronize_rcu_tasks();
}

module_init(pinfold_init);
module_exit(pinfold_exit);

MODULE_DESCRIPTION("Exact page-fault counters per slice of a mapped file; residency scan and revocation");
MODULE_AUTHOR("The pinfold developers");
MODULE_LICENSE("GPL");
MODULE_VERSION(PF_VERSION);
