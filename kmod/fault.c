// SPDX-License-Identifier: GPL-2.0-only
/*
 * fault.c - the calls of a mapping, passed on to the filesystem and counted.
 *
 * DESIGN
 *   A fault that a resident page can serve is ->map_pages alone (reads) or ->fault (writes, private copies). What
 *   ->map_pages does not serve goes to ->fault, which may let go of the mapping's lock, wait for the device and return
 *   VM_FAULT_RETRY; the kernel then tries anew with FAULT_FLAG_TRIED. ->page_mkwrite follows on ->fault for a write to
 * a shared mapping, or stands alone for a write to a page that is mapped for reading.
 *
 * INVARIANTS
 *   1. A fault is counted where and as getrusage() counts it: once it is served, as major if it read the device
 *      or had to be retried.
 *   2. ->map_pages runs under RCU and does not sleep.
 */
#include <linux/file.h>
#include <linux/ktime.h>
#include <linux/pagemap.h>

#include "count.h"

static inline u64 clock_ns(void)
{
	return ktime_get_mono_fast_ns();
}

static inline u64 since(u64 begun)
{
	return clock_ns() - begun;
}

static inline bool timing(const struct pf_region *region)
{
	return region->flags & PINFOLD_REGISTER_LATENCY;
}

static inline bool is_major(unsigned int flags, vm_fault_t ret)
{
	return ret & VM_FAULT_MAJOR || flags & FAULT_FLAG_TRIED;
}

/* Faults of one mapping read it while another mapping is made, which looks whether it is set by way of setting it. */
static __always_inline const struct vm_operations_struct *fs_ops(const struct pf_region *region)
{
	return READ_ONCE(region->fs_ops);
}

/* What the filesystem does: nearly always the page cache's own function, without an indirect call. */
static __always_inline vm_fault_t fs_map_pages(struct pf_region *region, struct vm_fault *vmf, pgoff_t start,
					       pgoff_t end)
{
	vm_fault_t (*map)(struct vm_fault *vmf, pgoff_t start, pgoff_t end) = fs_ops(region)->map_pages;

	return likely(map == filemap_map_pages) ? filemap_map_pages(vmf, start, end) : map(vmf, start, end);
}

/* Not of populating, not tried before, and nothing else of @other either. */
static __always_inline bool is_plain(unsigned int flags, unsigned int other)
{
	return (flags & (FAULT_FLAG_INTERRUPTIBLE | FAULT_FLAG_TRIED | other)) == FAULT_FLAG_INTERRUPTIBLE;
}

static __always_inline bool is_plain_read(const struct vm_fault *vmf)
{
	return is_plain(vmf->flags, FAULT_FLAG_WRITE);
}

/* What is not the common case: the first fault of a chunk, timing, several nodes, writes, what waited. */
static noinline vm_fault_t map_pages_any(struct vm_fault *vmf, pgoff_t start, pgoff_t end)
{
	struct pf_region *region = vmf->vma->vm_private_data;
	struct pinfold_slot *slot = pf_slot(region, vmf->pgoff);
	u64 begun = timing(region) ? clock_ns() : 0;
	vm_fault_t ret;

	/* Nothing is mapped, so the kernel goes on to ->fault, which may sleep and makes the slot. */
	if (!slot && pf_slot_due(region, vmf->pgoff))
		return 0;
	ret = fs_map_pages(region, vmf, start, end);
	if (likely(ret & VM_FAULT_NOPAGE))
		pf_count_fault(region, slot, vmf->pgoff, vmf->flags, is_major(vmf->flags, ret),
			       begun ? since(begun) : 0, begun);
	return ret;
}

/* As map_pages() below, and how long it took. */
static noinline vm_fault_t map_pages_timed(struct vm_fault *vmf, pgoff_t start, pgoff_t end)
{
	struct pf_region *region = vmf->vma->vm_private_data;
	struct pinfold_slot *slot = pf_slot(region, vmf->pgoff);
	vm_fault_t ret;
	u64 begun, ns;

	if (unlikely(!slot || !is_plain_read(vmf)))
		return map_pages_any(vmf, start, end);
	begun = clock_ns();
	ret = fs_map_pages(region, vmf, start, end);
	if (unlikely(!(ret & VM_FAULT_NOPAGE)))
		return ret;
	ns = since(begun);
	if (unlikely(ret & VM_FAULT_MAJOR || !pf_count_next(region, slot, vmf->pgoff)))
		pf_count_fault(region, slot, vmf->pgoff, vmf->flags, is_major(vmf->flags, ret), ns, true);
	else
		pf_count_time(slot, ns);
	return ret;
}

static noinline vm_fault_t count_mapped(struct pf_region *region, struct vm_fault *vmf, vm_fault_t ret)
{
	struct pinfold_slot *slot = pf_slot(region, vmf->pgoff);

	pf_count_fault(region, slot, vmf->pgoff, vmf->flags, is_major(vmf->flags, ret), 0, false);
	return ret;
}

static vm_fault_t map_pages(struct vm_fault *vmf, pgoff_t start, pgoff_t end)
{
	struct pf_region *region = vmf->vma->vm_private_data;
	struct pinfold_slot *slot = pf_slot(region, vmf->pgoff);
	vm_fault_t ret;

	if (unlikely(!region->plain))
		return region->nodes ? map_pages_any(vmf, start, end) : map_pages_timed(vmf, start, end);
	if (unlikely(!slot || !is_plain_read(vmf)))
		return map_pages_any(vmf, start, end);
	ret = fs_map_pages(region, vmf, start, end);
	if (unlikely(!(ret & VM_FAULT_NOPAGE)))
		return ret;
	if (unlikely(ret & VM_FAULT_MAJOR || !pf_count_next(region, slot, vmf->pgoff)))
		return count_mapped(region, vmf, ret);
	return ret;
}

/* Counts what ->fault returned, whatever it is. Nothing of the mapping is used: it may be gone. */
static noinline void count_any(struct pf_region *region, struct pinfold_slot *slot, u64 page, unsigned int flags,
			       vm_fault_t ret, u64 ns)
{
	if (ret & VM_FAULT_RETRY)
		pf_count_wait(region, page, ns);
	else if (!(ret & VM_FAULT_ERROR))
		pf_count_fault(region, slot, page, flags, is_major(flags, ret), ns, ns);
}

static vm_fault_t fault(struct vm_fault *vmf)
{
	const vm_fault_t waited = VM_FAULT_RETRY | VM_FAULT_MAJOR;
	struct pf_region *region = vmf->vma->vm_private_data;
	struct file *file = vmf->vma->vm_file;
	u64 page = vmf->pgoff, begun, ns = 0;
	struct pinfold_slot *slot = pf_slot(region, page);
	unsigned int flags = vmf->flags;
	vm_fault_t ret;

	if (unlikely(!slot))
		slot = pf_slots_make(region, page);
	/* The mapping may be gone before the filesystem returns; this keeps the region. */
	get_file(file);
	/* Only afterwards is known whether it waited, and then how long is wanted. */
	begun = clock_ns();
	ret = fs_ops(region)->fault(vmf);
	if (unlikely(ret & waited || flags & FAULT_FLAG_TRIED || timing(region)))
		ns = since(begun) | 1;
	if (unlikely(ret & (waited | VM_FAULT_ERROR) || !is_plain(flags, 0) || region->nodes || !slot ||
		     !pf_count_next(region, slot, page))) {
		count_any(region, slot, page, flags, ret, ns);
	} else {
		if (flags & FAULT_FLAG_WRITE)
			pf_add(&slot->write, 1);
		if (ns)
			pf_count_time(slot, ns);
	}
	fput(file);
	return ret;
}

/* For a page that is mapped already: ->fault is not called. */
static noinline vm_fault_t page_mkwrite_alone(struct vm_fault *vmf)
{
	struct pf_region *region = vmf->vma->vm_private_data;
	u64 begun = timing(region) ? clock_ns() : 0;
	struct pinfold_slot *slot = pf_slots_make(region, vmf->pgoff);
	vm_fault_t ret = fs_ops(region)->page_mkwrite(vmf);

	if (ret & (VM_FAULT_ERROR | VM_FAULT_RETRY))
		return ret;
	pf_count_fault(region, slot, vmf->pgoff, FAULT_FLAG_DEFAULT | FAULT_FLAG_WRITE, is_major(0, ret),
		       begun ? since(begun) : 0, begun);
	if (slot && ret & VM_FAULT_LOCKED)
		pf_add(&slot->mkwrite, 1);
	return ret;
}

/* The lock is kept throughout, and the kernel itself goes on to use the mapping: it stays. */
static vm_fault_t page_mkwrite(struct vm_fault *vmf)
{
	struct pf_region *region = vmf->vma->vm_private_data;
	struct pinfold_slot *slot = pf_slot(region, vmf->pgoff);
	vm_fault_t ret;

	/* What is mapped already was found through its entry. */
	if (vmf->pte)
		return page_mkwrite_alone(vmf);
	/* ->fault made the slot, if there can be one, and counted. */
	ret = fs_ops(region)->page_mkwrite(vmf);
	if (likely(ret & VM_FAULT_LOCKED && slot))
		pf_add(&slot->mkwrite, 1);
	return ret;
}

/* Both are for memory without page cache. Such files are refused, so they say so. */
static vm_fault_t huge_fault(struct vm_fault *vmf, pf_huge_arg order)
{
	struct pf_region *region = vmf->vma->vm_private_data;

	return fs_ops(region)->huge_fault(vmf, order);
}

static vm_fault_t pfn_mkwrite(struct vm_fault *vmf)
{
	struct pf_region *region = vmf->vma->vm_private_data;

	return fs_ops(region)->pfn_mkwrite(vmf);
}

const struct vm_operations_struct pf_vm_ops = {
	.fault = fault,
	.map_pages = map_pages,
	.page_mkwrite = page_mkwrite,
};

const struct vm_operations_struct pf_vm_ops_huge = {
	.fault = fault,
	.huge_fault = huge_fault,
	.map_pages = map_pages,
	.page_mkwrite = page_mkwrite,
	.pfn_mkwrite = pfn_mkwrite,
};
