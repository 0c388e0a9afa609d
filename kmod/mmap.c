// SPDX-License-Identifier: GPL-2.0-only
/*
 * mmap.c - the filesystem maps its file, then its vm_ops are wrapped in ours.
 */
#include <linux/string.h>

#include "region.h"

/*
 * Ours for the filesystem's; NULL if it does something that we would not pass on. The filesystem's are
 * constant and stay while one of its files is open.
 */
static const struct vm_operations_struct *wrap(struct pf_region *region, const struct vm_operations_struct *fs_ops)
{
	const struct vm_operations_struct *had;
	struct vm_operations_struct rest;

	if (!fs_ops || !fs_ops->fault || !fs_ops->map_pages || !fs_ops->page_mkwrite)
		return NULL;
	rest = *fs_ops;
	rest.fault = NULL;
	rest.map_pages = NULL;
	rest.page_mkwrite = NULL;
	rest.huge_fault = NULL;
	rest.pfn_mkwrite = NULL;
	if (memchr_inv(&rest, 0, sizeof(rest)) || !fs_ops->huge_fault != !fs_ops->pfn_mkwrite)
		return NULL;
	/* Mappings of one file have the same ones, unless it turned to DAX in between. */
	had = cmpxchg(&region->fs_ops, NULL, fs_ops);
	if (had && had != fs_ops)
		return NULL;
	return fs_ops->huge_fault ? &pf_vm_ops_huge : &pf_vm_ops;
}

/**
 * pf_mmap() - the region's ->mmap
 * @file: the region's file
 * @vma: what is to be mapped
 *
 * Return: 0, what the filesystem says, or -EOPNOTSUPP.
 */
int pf_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct pf_region *region = pf_region_of(file);
	const struct vm_operations_struct *ops;
	int r = region->fs_fops->mmap(file, vma);

	if (r)
		return r;
	ops = wrap(region, vma->vm_ops);
	if (!ops)
		return -EOPNOTSUPP;
	vma->vm_ops = ops;
	vma->vm_private_data = region;
	return 0;
}

#ifdef PF_HAVE_MMAP_PREPARE
/**
 * pf_mmap_prepare() - the region's ->mmap_prepare
 * @desc: what is to be mapped
 *
 * Return: 0, what the filesystem says, or -EOPNOTSUPP.
 */
int pf_mmap_prepare(struct vm_area_desc *desc)
{
	struct pf_region *region = pf_region_of(desc->file);
	int r = region->fs_fops->mmap_prepare(desc);

	if (r)
		return r;
	desc->vm_ops = wrap(region, desc->vm_ops);
	if (!desc->vm_ops)
		return -EOPNOTSUPP;
	desc->private_data = region;
	return 0;
}
#endif
