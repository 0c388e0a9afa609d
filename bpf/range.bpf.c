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

static __always_inline int on_fault(__u64 address, __u64 error_code)
{
	__u64 offset = address - config.arena_base, id;

	if (offset >= config.arena_size)
		return 0;
	id = bpf_get_current_pid_tgid();
	if (id >> 32 != state.watch_tgid)
		return 0;
	count_fault(offset, (__u32)id, error_code & FAULT_WRITE);
	return 0;
}

SEC("raw_tp/page_fault_user")
int on_page_fault_user(struct bpf_raw_tracepoint_args *ctx)
{
	return on_fault(ctx->args[0], ctx->args[2]);
}

/* System calls that read or write mapped memory fault in kernel mode. */
SEC("raw_tp/page_fault_kernel")
int on_page_fault_kernel(struct bpf_raw_tracepoint_args *ctx)
{
	return on_fault(ctx->args[0], ctx->args[2]);
}

/* Since 6.12. */
SEC("raw_tp/mm_filemap_fault")
int on_filemap_fault(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();

	if (id >> 32 == state.watch_tgid)
		count_wait(ctx->args[1], (__u32)id);
	return 0;
}

SEC("perf_event")
int on_major(struct bpf_perf_event_data *ctx)
{
	__u64 offset = ctx->addr - config.arena_base, id;

	if (offset >= config.arena_size)
		return 0;
	id = bpf_get_current_pid_tgid();
	if (id >> 32 == state.watch_tgid)
		count_major(offset, (__u32)id);
	return 0;
}
