/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * compat.bpf.h - the few kernel types that probes read, as far as they read
 * them. Relocated at load, so the build needs no kernel's headers.
 */
#ifndef PF_COMPAT_BPF_H
#define PF_COMPAT_BPF_H

#include <linux/types.h>

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

/* enum vm_fault_reason and enum fault_flag: values are the same from 6.1 on. */
#define PF_VM_FAULT_MAJOR 0x4
#define PF_VM_FAULT_RETRY 0x400
#define PF_VM_FAULT_ERROR 0x873 /* OOM | SIGBUS | SIGSEGV | HWPOISON | HWPOISON_LARGE | FALLBACK */
#define PF_FAULT_FLAG_WRITE 0x1
#define PF_FAULT_FLAG_TRIED 0x20

#endif
