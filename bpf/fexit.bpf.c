// SPDX-License-Identifier: GPL-2.0-only
/*
 * fexit.bpf.c - faults of one process in one address range, seen where the
 * kernel has served them: whether it was major is known at once, and failed
 * or retried attempts are told apart.
 *
 * Faults taken on behalf of others (populate, mlock, ptrace: no registers) are not accesses.
 */
#include "core.bpf.h"

#include <bpf/bpf_tracing.h>

/* Since 6.12; before that the start is taken in fentry. */
SEC("raw_tp/mm_filemap_fault")
int on_filemap_fault(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 regs = own_regs();
	struct pf_probe_thread *thread = thread_entry(regs);

	if (regs && (!thread->start_ns || thread->wait_index != (__u32)ctx->args[1])) {
		thread->start_ns = bpf_ktime_get_ns();
		thread->wait_index = ctx->args[1];
	}
	return 0;
}

SEC("fentry/handle_mm_fault")
int BPF_PROG(on_fault_entry, struct vm_area_struct *vma, unsigned long address, unsigned int flags,
	     struct pt_regs *regs)
{
	struct pf_probe_thread *thread;
	__u64 own;

	if (address - config.watch.base >= config.watch.size || !regs || flags & PF_FAULT_FLAG_TRIED)
		return 0;
	own = own_regs();
	if (!own)
		return 0;
	thread = thread_entry(own);
	thread->start_ns = bpf_ktime_get_ns();
	thread->wait_index = index_in_file(address - config.watch.base);
	return 0;
}

SEC("fexit/handle_mm_fault")
int BPF_PROG(on_fault_exit, struct vm_area_struct *vma, unsigned long address, unsigned int flags, struct pt_regs *regs,
	     unsigned int result)
{
	__u64 offset = address - config.watch.base, own, start_ns = 0;
	struct pf_probe_thread *thread;

	if (offset >= config.watch.size || !regs || result & (PF_VM_FAULT_RETRY | PF_VM_FAULT_ERROR))
		return 0;
	own = own_regs();
	if (!own)
		return 0;
	thread = take_entry(own, offset);
	if (thread->wait_index == index_in_file(offset))
		start_ns = thread->start_ns;
	if (!count_fault(thread, offset, flags & PF_FAULT_FLAG_WRITE) ||
	    !(result & PF_VM_FAULT_MAJOR || flags & PF_FAULT_FLAG_TRIED))
		return 0;
	thread->start_ns = start_ns;
	count_major(offset, own);
	return 0;
}
