/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * region.h - what the files of the module share: the region and who does what with it.
 *
 * DESIGN
 *   A region is a struct file of the backing filesystem with its operations replaced by a copy, in which a few are
 *   ours: mmap (to put counting vm_ops around the filesystem's), ioctl and release. All else is the filesystem's own,
 *   so the kernel treats the mapping as what it is, a mapping of that inode through that file: access checks at
 *   mmap and mprotect, alignment, merging and splitting, fork, mremap, remap_file_pages and /proc need no help.
 *
 * INVARIANTS
 *   1. The region lives exactly as long as its struct file. Each mapping, each slot mapping and each fault in
 *      flight holds a reference to the file. So nothing frees a region that is in use, and no code waits for any.
 *   2. The region holds a reference to the module, from REGISTER to the end of release.
 *   3. After ->fault has returned VM_FAULT_RETRY the mapping may be gone: nothing of it is touched.
 *   4. A fault never fails for our sake: what cannot be counted is counted as lost.
 */
#ifndef PF_REGION_H
#define PF_REGION_H

#include <linux/atomic.h>
#include <linux/cache.h>
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/pinfold.h>
#include <linux/types.h>

#include "compat.h"

/*
 * What is known of a thread's last fault, a cache line each. Two threads that share an entry only lose precision of
 * classing.
 */
struct pf_thread {
	u64 key; /* its id; PF_THREAD_WAITS as well if wait_* are set */
	u64 page; /* of its last fault */
	u64 wait_page; /* of a fault that waited and is to be tried again */
	u64 wait_ns;
} ____cacheline_aligned;

#define PF_THREAD_WAITS BIT_ULL(32)

/* A power of two. */
#define PF_THREADS 256

/* Slots are made this many at a time: the least number that fills whole pages. */
#define PF_CHUNK_SLOTS 64
#define PF_CHUNK_SIZE (PF_CHUNK_SLOTS * PINFOLD_SLOT_SIZE)

/* Instead of a chunk: there was no memory for it. */
#define PF_CHUNK_NONE ((struct pinfold_slot *)1UL)

/* One user's share. Lives as long as he has regions. */
struct pf_user {
	struct list_head node; /* users_lock, user.c */
	kuid_t uid;
	u32 regions; /* users_lock */
	atomic64_t bytes;
};

struct pf_region {
	/* Read at each fault, written never or once. */
	const struct vm_operations_struct *fs_ops; /* set once, by the first mmap */
	struct pinfold_slot **chunks; /* [chunk_count]; each NULL, PF_CHUNK_NONE or a chunk; set once */
	struct pf_thread *threads; /* [PF_THREADS], without a lock */
	u64 slice_count;
	u64 slice_mask; /* of a page's place in its slice */
	u32 slice_shift; /* pages */
	u32 flags; /* PINFOLD_REGISTER_* */
	u32 id; /* for tracing */
	bool nodes; /* there is more than one */
	bool plain; /* neither nodes nor minor faults' time are counted */
	bool unlimited; /* registered with CAP_SYS_RESOURCE */

	struct file *file; /* not a reference: it is the file that owns the region */
	const struct file_operations *fs_fops;
	struct file_operations fops;
	u64 chunk_count;
	struct pf_user *user;
	struct list_head node; /* debug.c */

	atomic64_t lost ____cacheline_aligned_in_smp;
	atomic64_t bytes; /* all that the region took of the user's limit */
};

/* region.c */
int pf_region_register(void __user *arg);
struct pf_region *pf_region_of(struct file *file);
/* May the caller know and change what is resident of the region's file? As mincore() decides. */
bool pf_region_may_look(struct pf_region *region);
/* Copies the argument that begins with its size. @size is ours, @size_min that of the first version. */
int pf_arg_get(void *arg, size_t size, size_t size_min, const void __user *from);
int pf_arg_put(void __user *to, const void *arg, size_t size);

/* mmap.c */
int pf_mmap(struct file *file, struct vm_area_struct *vma);
#ifdef PF_HAVE_MMAP_PREPARE
int pf_mmap_prepare(struct vm_area_desc *desc);
#endif

/* fault.c: with and without the two calls that only some filesystems have */
extern const struct vm_operations_struct pf_vm_ops, pf_vm_ops_huge;

/* count.c */
void pf_count_wait(struct pf_region *region, u64 page, u64 ns);

/* slots.c */
int pf_slots_init(struct pf_region *region);
void pf_slots_done(struct pf_region *region);
/* The slot of a page, made unless it is there; NULL if there can be none. May sleep. */
struct pinfold_slot *pf_slots_make(struct pf_region *region, u64 page);
int pf_slots_open(struct pf_region *region);

/* The shift is less than 64, which the compiler does not know. */
static inline u64 pf_slice(const struct pf_region *region, u64 page)
{
	return page >> (region->slice_shift & 63);
}

/* The slot of a page of the file; NULL if there is none (yet). Any context. */
static inline struct pinfold_slot *pf_slot(const struct pf_region *region, u64 page)
{
	u64 slice = pf_slice(region, page);
	struct pinfold_slot *chunk;

	if (unlikely(slice >= region->slice_count))
		return NULL;
	chunk = READ_ONCE(region->chunks[slice / PF_CHUNK_SLOTS]);
	if (unlikely((unsigned long)chunk <= (unsigned long)PF_CHUNK_NONE))
		return NULL;
	return chunk + slice % PF_CHUNK_SLOTS;
}

/* Is there still a slot to be made for the page? */
static inline bool pf_slot_due(const struct pf_region *region, u64 page)
{
	u64 slice = pf_slice(region, page);

	return unlikely(slice < region->slice_count && !READ_ONCE(region->chunks[slice / PF_CHUNK_SLOTS]));
}

/* user.c */
struct pf_user *pf_user_get(kuid_t uid, bool unlimited);
void pf_user_put(struct pf_user *user);
int pf_charge(struct pf_region *region, size_t bytes);
void pf_uncharge(struct pf_region *region, size_t bytes);

/* query.c: SCAN and AGE */
int pf_query(struct pf_region *region, bool age, void __user *arg);
/* scan.c, age.c: one grain of the file, pages @first to @last. 0 or -EINTR. Add to @work what it cost, in pages. */
int pf_scan_grain(struct address_space *mapping, u64 first, u64 last, struct pinfold_scan_args *ret_scan, u64 *work);
int pf_age_grain(struct address_space *mapping, u64 first, u64 last, struct pinfold_age *ret_age, u64 *work);

/* revoke.c */
int pf_revoke(struct pf_region *region, void __user *arg);

/* debug.c */
void pf_debug_init(void);
void pf_debug_done(void);
void pf_debug_add(struct pf_region *region);
void pf_debug_remove(struct pf_region *region);

#endif
