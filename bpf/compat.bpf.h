/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * compat.bpf.h - the few kernel types that probes read, as far as they read
 * them. Relocated at load, so the build needs no kernel's headers.
 */
#ifndef PF_COMPAT_BPF_H
#define PF_COMPAT_BPF_H

#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define PF_CORE __attribute__((preserve_access_index))

struct vm_area_struct;
struct pt_regs;

struct super_block {
	__u32 s_dev;
} PF_CORE;

struct inode {
	struct super_block *i_sb;
	unsigned long i_ino;
} PF_CORE;

struct address_space {
	struct inode *host;
} PF_CORE;

struct file {
	struct address_space *f_mapping;
} PF_CORE;

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
} PF_CORE;

struct files_struct {
	struct fdtable *fdt;
} PF_CORE;

struct task_struct {
	void *stack;
	int tgid;
	struct files_struct *files;
} PF_CORE;

struct folio {
	unsigned long flags;
	struct address_space *mapping;
	unsigned long index;
	unsigned long _flags_1;
} PF_CORE;

/* Until "mm: free up a word in the first tail page" (6.6); since then the order is the low byte of _flags_1. */
struct folio___order_field {
	unsigned char _folio_order;
} PF_CORE;

/* Since "mm: introduce memdesc_flags_t" (6.18). */
struct memdesc_flags {
	unsigned long f;
} PF_CORE;

struct folio___memdesc {
	struct memdesc_flags flags;
} PF_CORE;

/* Its value differs: 16 in 6.1, 6 later. */
enum pageflags {
	PG_head = 6,
};

/* log2 of the pages of @folio. */
static __always_inline __u32 pf_folio_order(struct folio *folio)
{
	struct folio___order_field *with_order = (void *)folio;
	struct folio___memdesc *with_memdesc = (void *)folio;
	unsigned long flags;

	if (bpf_core_field_exists(with_memdesc->flags.f))
		flags = with_memdesc->flags.f;
	else
		flags = folio->flags;
	if (!(flags >> bpf_core_enum_value(enum pageflags, PG_head) & 1))
		return 0;
	if (bpf_core_field_exists(with_order->_folio_order))
		return with_order->_folio_order & 31;
	return folio->_flags_1 & 31; /* a byte, of which no more is ever set */
}

/* enum vm_fault_reason and enum fault_flag: values are the same from 6.1 on. */
#define PF_VM_FAULT_MAJOR 0x4
#define PF_VM_FAULT_RETRY 0x400
#define PF_VM_FAULT_ERROR 0x873 /* OOM | SIGBUS | SIGSEGV | HWPOISON | HWPOISON_LARGE | FALLBACK */
#define PF_FAULT_FLAG_WRITE 0x1
#define PF_FAULT_FLAG_TRIED 0x20

#endif
