// SPDX-License-Identifier: GPL-2.0-only
/*
 * age.c - accessed bits of all translations of one grain, read and cleared.
 *
 * DESIGN
 *   The mappings are found in the file's interval tree, held for reading: a page table is not freed before its mapping
 *   has left that tree, but for tables of file pages that are collapsed or emptied, which RCU frees. So each table is
 *   entered as the kernel's own pte_offset_map_lock() does: under RCU, and looked at again once its lock is held.
 *   That function is not for modules, and nor are those that flush the TLB: see linux/pinfold.h for what follows.
 */
#include <linux/fs.h>
#include <linux/interval_tree_generic.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

#include "region.h"

#ifdef CONFIG_X86_64

struct walk {
	struct address_space *mapping;
	struct pinfold_age *age;
	u64 *work;
};

static inline unsigned long vma_first(struct vm_area_struct *vma)
{
	return vma->vm_pgoff;
}

static inline unsigned long vma_last(struct vm_area_struct *vma)
{
	return vma->vm_pgoff + vma_pages(vma) - 1;
}

/* The kernel's tree of the mappings of a file, of which its own walkers are not for modules. */
INTERVAL_TREE_DEFINE(struct vm_area_struct, shared.rb, unsigned long, shared.rb_subtree_last, vma_first, vma_last,
		     static __maybe_unused, pf_vma_tree)

/* Private copies are in the tree's mappings too, but are not the file's. */
static bool is_mine(const struct walk *walk, unsigned long pfn)
{
	return pfn_valid(pfn) && READ_ONCE(page_folio(pfn_to_page(pfn))->mapping) == walk->mapping;
}

static void note(struct walk *walk, unsigned long pfn, unsigned long *entry, u32 pages)
{
	walk->age->mapped += pages;
	if (!test_and_clear_bit(_PAGE_BIT_ACCESSED, entry))
		return;
	walk->age->young += pages;
	/* What the kernel would have learnt from the bit. */
	folio_set_referenced(page_folio(pfn_to_page(pfn)));
}

static void walk_huge(struct walk *walk, struct mm_struct *mm, pmd_t *pmd, unsigned long from, unsigned long to)
{
	spinlock_t *ptl = pmd_lock(mm, pmd);

	if (pmd_present(*pmd) && pmd_trans_huge(*pmd) && is_mine(walk, pmd_pfn(*pmd)))
		note(walk, pmd_pfn(*pmd), (unsigned long *)pmd, (to - from) >> PAGE_SHIFT);
	spin_unlock(ptl);
}

static void walk_table(struct walk *walk, struct mm_struct *mm, pmd_t *pmd, pmd_t seen, unsigned long from,
		       unsigned long to)
{
	pte_t *pte = pte_offset_kernel(&seen, from);
	spinlock_t *ptl = pte_lockptr(mm, &seen);

	spin_lock(ptl);
	if (pmd_same(seen, pf_pmd_read(pmd))) {
		for (; from < to; from += PAGE_SIZE, pte++) {
			pte_t entry = READ_ONCE(*pte);

			if (pte_present(entry) && !pte_special(entry) && is_mine(walk, pte_pfn(entry)))
				note(walk, pte_pfn(entry), (unsigned long *)pte, 1);
		}
	}
	spin_unlock(ptl);
}

/* @from to @to lie in one 2 MiB. */
static void walk_pmd(struct walk *walk, struct mm_struct *mm, unsigned long from, unsigned long to)
{
	/* Whoever faults there fills in empty entries meanwhile: each is read once. */
	pgd_t *pgdp = pgd_offset(mm, from), pgd = READ_ONCE(*pgdp);
	p4d_t *p4dp, p4d;
	pud_t *pudp, pud;
	pmd_t *pmd, seen;

	if (pgd_none(pgd) || unlikely(pgd_bad(pgd)))
		return;
	p4dp = p4d_offset_lockless(pgdp, pgd, from);
	p4d = READ_ONCE(*p4dp);
	if (p4d_none(p4d) || unlikely(p4d_bad(p4d)))
		return;
	pudp = pud_offset_lockless(p4dp, p4d, from);
	pud = READ_ONCE(*pudp);
	if (pud_none(pud) || unlikely(pud_bad(pud)))
		return;
	pmd = pmd_offset_lockless(pudp, pud, from);
	rcu_read_lock();
	seen = pf_pmd_read(pmd);
	if (pmd_none(seen) || !pmd_present(seen))
		goto out;
	if (pmd_trans_huge(seen))
		walk_huge(walk, mm, pmd, from, to);
	else if (likely(!pmd_bad(seen)))
		walk_table(walk, mm, pmd, seen, from, to);
out:
	rcu_read_unlock();
	*walk->work += (to - from) >> PAGE_SHIFT;
}

static int walk_vma(struct walk *walk, struct vm_area_struct *vma, u64 first, u64 last)
{
	u64 from_page = max_t(u64, first, vma_first(vma)), to_page = min_t(u64, last, vma_last(vma));
	unsigned long from = vma->vm_start + ((from_page - vma_first(vma)) << PAGE_SHIFT);
	unsigned long end = from + ((to_page - from_page + 1) << PAGE_SHIFT), to;

	++*walk->work;
	for (; from < end; from = to) {
		to = pmd_addr_end(from, end);
		walk_pmd(walk, vma->vm_mm, from, to);
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

/**
 * pf_age_grain() - read and clear accessed bits
 * @mapping: of the file
 * @first: page
 * @last: page
 * @ret_age: the answer
 * @work: the number of entries looked at is added to it
 *
 * Return: 0 or -errno.
 */
int pf_age_grain(struct address_space *mapping, u64 first, u64 last, struct pinfold_age *ret_age, u64 *work)
{
	struct walk walk = { .mapping = mapping, .age = ret_age, .work = work };
	struct vm_area_struct *vma;
	int r = 0;

	*ret_age = (struct pinfold_age){};
	i_mmap_lock_read(mapping);
	for (vma = pf_vma_tree_iter_first(&mapping->i_mmap, first, last); vma && !r;
	     vma = pf_vma_tree_iter_next(vma, first, last))
		r = walk_vma(&walk, vma, first, last);
	i_mmap_unlock_read(mapping);
	return r;
}

#else

int pf_age_grain(struct address_space *mapping, u64 first, u64 last, struct pinfold_age *ret_age, u64 *work)
{
	return -EOPNOTSUPP;
}

#endif
