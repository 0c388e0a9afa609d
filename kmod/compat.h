/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * compat.h - all that differs between the kernels from 6.1 on. Nothing else in this directory looks at a version.
 */
#ifndef PF_COMPAT_H
#define PF_COMPAT_H

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/page_ref.h>
#include <linux/pgtable.h>
#include <linux/version.h>

#ifndef CONFIG_64BIT
#error "slots are counted with 64-bit atomics: 64-bit kernels only"
#endif

/* Since "mm: remove enum page_entry_size" (6.6) ->huge_fault takes the order. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
typedef unsigned int pf_huge_arg;
#else
typedef enum page_entry_size pf_huge_arg;
#endif

/*
 * Since "mm: introduce new .mmap_prepare() file callback" (6.16) filesystems move from ->mmap to ->mmap_prepare, which
 * describes the mapping before it exists. A file has one of the two.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
#define PF_HAVE_MMAP_PREPARE
#endif

/* Since "fs: port ->permission() to pass mnt_idmap" and its like (6.3) it is an idmap that is passed. */
static inline bool pf_file_owner(struct file *file)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	return inode_owner_or_capable(file_mnt_idmap(file), file_inode(file));
#else
	return inode_owner_or_capable(file_mnt_user_ns(file), file_inode(file));
#endif
}

/* vm_flags are const since "mm: introduce vma->vm_flags wrapper functions" (6.3). */
static inline void pf_vm_flags_clear(struct vm_area_struct *vma, unsigned long flags)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_clear(vma, flags);
#else
	vma->vm_flags &= ~flags;
#endif
}

/* folio_try_get_rcu() became folio_try_get() in 6.11; before, that name did without the care for RCU. */
static inline bool pf_folio_try_get(struct folio *folio)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
	return folio_try_get(folio);
#else
	return folio_try_get_rcu(folio);
#endif
}

/* Since "mm: introduce memdesc_flags_t" (6.18) they are a structure. */
static inline unsigned long pf_folio_flags(const struct folio *folio)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 18, 0)
	const unsigned long *flags = &folio->flags.f;
#else
	const unsigned long *flags = &folio->flags;
#endif

	/* No reference keeps the page from the allocator, which writes them as its own, without marks: see scan.c. */
	return data_race(READ_ONCE(*flags));
}

/* What of the flags says on which node the page is; where there is no room for the node it follows from the section. */
#ifdef NODE_NOT_IN_PAGE_FLAGS
#define PF_FLAGS_NODE (SECTIONS_MASK << SECTIONS_PGSHIFT)
#else
#define PF_FLAGS_NODE (NODES_MASK << NODES_PGSHIFT)
#endif

/* pmd_read_atomic() became pmdp_get_lockless() in 6.2; on 64-bit machines it is one load in both. */
static inline pmd_t pf_pmd_read(pmd_t *pmd)
{
	return READ_ONCE(*pmd);
}

#endif
