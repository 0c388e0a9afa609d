// SPDX-License-Identifier: GPL-2.0-only
/*
 * slots.c - the sparse array of slots, and the file that it is read through.
 *
 * DESIGN
 *   A table of pointers, one per chunk of 64 slots (five pages, 128 MiB of file at 2 MiB slices), filled as slices
 * fault or their slots are read. A chunk is set once, by cmpxchg, and stays until the region ends, so that readers and
 * probes need no lock.
 *
 *   For 16 TiB in slices of 2 MiB the table takes 1 MiB, and the slots 0.015 % of what was touched: 2.5 GiB if all is.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "region.h"

#define CHUNK_PAGES (PF_CHUNK_SIZE / PAGE_SIZE)

static size_t table_bytes(const struct pf_region *region)
{
	return region->chunk_count * sizeof(*region->chunks);
}

static size_t fixed_bytes(const struct pf_region *region)
{
	return sizeof(*region) + PF_THREADS * sizeof(*region->threads) + table_bytes(region);
}

int pf_slots_init(struct pf_region *region)
{
	int r;

	region->chunk_count = DIV_ROUND_UP_ULL(region->slice_count, PF_CHUNK_SLOTS);
	r = pf_charge(region, fixed_bytes(region));
	if (r) {
		region->chunk_count = 0;
		return r;
	}
	region->threads = kvcalloc(PF_THREADS, sizeof(*region->threads), GFP_KERNEL_ACCOUNT);
	/* An empty file's table is empty; its address is not used. */
	region->chunks = kvcalloc(region->chunk_count, sizeof(*region->chunks), GFP_KERNEL_ACCOUNT);
	/* What was charged is given back by pf_slots_done(). */
	return region->threads && region->chunks ? 0 : -ENOMEM;
}

void pf_slots_done(struct pf_region *region)
{
	u64 i;

	for (i = 0; region->chunks && i < region->chunk_count; i++) {
		if ((unsigned long)region->chunks[i] > (unsigned long)PF_CHUNK_NONE)
			vfree(region->chunks[i]);
		cond_resched();
	}
	kvfree(region->chunks);
	kvfree(region->threads);
	pf_uncharge(region, atomic64_read(&region->bytes));
}

static struct pinfold_slot *make_chunk(struct pf_region *region, struct pinfold_slot **place)
{
	struct pinfold_slot *chunk = NULL, *other;

	if (!pf_charge(region, PF_CHUNK_SIZE)) {
		chunk = __vmalloc(PF_CHUNK_SIZE, GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN);
		if (!chunk)
			pf_uncharge(region, PF_CHUNK_SIZE);
	}
	/* Without memory the place is closed: faults there are lost, and as fast as ever. */
	other = cmpxchg(place, NULL, chunk ? chunk : PF_CHUNK_NONE);
	if (!other)
		return chunk;
	if (chunk) {
		vfree(chunk);
		pf_uncharge(region, PF_CHUNK_SIZE);
	}
	return other == PF_CHUNK_NONE ? NULL : other;
}

struct pinfold_slot *pf_slots_make(struct pf_region *region, u64 page)
{
	if (pf_slot_due(region, page))
		make_chunk(region, &region->chunks[pf_slice(region, page) / PF_CHUNK_SLOTS]);
	return pf_slot(region, page);
}

static vm_fault_t slots_fault(struct vm_fault *vmf)
{
	struct file *owner = vmf->vma->vm_file->private_data;
	struct pf_region *region = pf_region_of(owner);
	u64 index = vmf->pgoff / CHUNK_PAGES;
	struct pinfold_slot *chunk;

	if (index >= region->chunk_count)
		return VM_FAULT_SIGBUS;
	chunk = READ_ONCE(region->chunks[index]);
	if (!chunk)
		chunk = make_chunk(region, &region->chunks[index]);
	if (!chunk || chunk == PF_CHUNK_NONE)
		return VM_FAULT_SIGBUS;
	vmf->page = vmalloc_to_page((char *)chunk + vmf->pgoff % CHUNK_PAGES * PAGE_SIZE);
	get_page(vmf->page);
	return 0;
}

static const struct vm_operations_struct slots_vm_ops = {
	.fault = slots_fault,
};

/* The file is open for reading only, so the kernel refuses shared mappings that could be written. */
static int slots_mmap(struct file *file, struct vm_area_struct *vma)
{
	if (vma->vm_flags & VM_EXEC)
		return -EPERM;
	pf_vm_flags_clear(vma, VM_MAYEXEC);
	vma->vm_ops = &slots_vm_ops;
	return 0;
}

static loff_t slots_llseek(struct file *file, loff_t offset, int whence)
{
	struct pf_region *region = pf_region_of((struct file *)file->private_data);
	loff_t size = region->chunk_count * PF_CHUNK_SIZE;
	bool there, data = whence == SEEK_DATA;
	u64 i;

	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return fixed_size_llseek(file, offset, whence, size);
	if (offset < 0 || offset >= size)
		return -ENXIO;
	for (i = div_u64(offset, PF_CHUNK_SIZE); i < region->chunk_count; i++) {
		there = (unsigned long)READ_ONCE(region->chunks[i]) > (unsigned long)PF_CHUNK_NONE;
		if (there == data)
			return vfs_setpos(file, max_t(loff_t, offset, i * PF_CHUNK_SIZE), size);
		cond_resched();
	}
	return data ? -ENXIO : vfs_setpos(file, size, size);
}

static int slots_release(struct inode *inode, struct file *file)
{
	fput(file->private_data);
	return 0;
}

static const struct file_operations slots_fops = {
	.owner = THIS_MODULE,
	.mmap = slots_mmap,
	.llseek = slots_llseek,
	.release = slots_release,
};

/**
 * pf_slots_open() - a descriptor to map the slots from
 * @region: the region
 *
 * Return: the descriptor or -errno.
 */
int pf_slots_open(struct pf_region *region)
{
	struct file *file;
	int fd;

	if (!uid_eq(current_euid(), region->user->uid))
		return -EPERM;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	file = anon_inode_getfile("[pinfold-slots]", &slots_fops, get_file(region->file), O_RDONLY);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		fput(region->file);
		return PTR_ERR(file);
	}
	fd_install(fd, file);
	return fd;
}
