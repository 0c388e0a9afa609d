// SPDX-License-Identifier: GPL-2.0-only
/*
 * range.bpf.c - faults of one process in one address range, seen at the
 * exception itself: every kind of fault (read, write, write-protect, huge
 * mapping) costs one tracepoint.
 *
 * Majors are told by the perf software event, whose sample has the address.
 * Faults that the process does not take itself (populate, mlock, ptrace) raise
 * no exception and are not counted: they are not accesses.
 */
#include "core.bpf.h"

#include <linux/bpf_perf_event.h>

#define FAULT_WRITE 0x2 /* of the x86 error code */

SEC("raw_tp/page_fault_user")
int on_page_fault_user(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 address = ctx->args[0], regs = ctx->args[1], offset;
	struct pf_probe_thread *thread = thread_entry(regs);

	if (thread->regs != regs) {
		offset = address - config.watch.base;
		if (offset >= config.watch.size)
			return 0;
		regs = own_regs();
		if (!regs)
			return 0;
		thread = take_entry(regs, offset);
	}
	offset = address - thread->watch.base;
	if (offset < thread->watch.size)
		count_fault(thread, offset, ctx->args[2] & FAULT_WRITE);
	return 0;
}

/* System calls that read or write mapped memory fault in kernel mode: the registers handed over are the kernel's. */
SEC("raw_tp/page_fault_kernel")
int on_page_fault_kernel(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 offset = ctx->args[0] - config.watch.base, regs;

	if (offset >= config.watch.size)
		return 0;
	regs = own_regs();
	if (regs)
		count_fault(take_entry(regs, offset), offset, ctx->args[2] & FAULT_WRITE);
	return 0;
}

/*
 * The stack of a thread that has ended may become that of another process: it is forgotten here, from
 * where no thread comes back to user mode.
 */
SEC("raw_tp/sched_process_exit")
int on_thread_exit(void *ctx)
{
	__u64 regs = own_regs();
	struct pf_probe_thread *thread = thread_entry(regs);

	if (regs && thread->regs == regs)
		thread->regs = 0;
	return 0;
}

/* Since 6.12. */
SEC("raw_tp/mm_filemap_fault")
int on_filemap_fault(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 regs = own_regs();

	if (regs)
		count_wait(ctx->args[1], regs);
	return 0;
}

SEC("perf_event")
int on_major(struct bpf_perf_event_data *ctx)
{
	__u64 offset = ctx->addr - config.watch.base, regs;

	if (offset >= config.watch.size)
		return 0;
	regs = own_regs();
	if (regs)
		count_major(offset, regs);
	return 0;
}
