// SPDX-License-Identifier: GPL-2.0-only
/*
 * tp.bpf.c - faults of one process on watched files, seen at the page cache's
 * own tracepoints (6.12 and later). Needs neither fexit nor the exception
 * tracepoints, and misses write-protect faults and faults served by a huge mapping.
 *
 * A fault that maps what is cached fires mm_filemap_map_pages. One that must
 * look further fires mm_filemap_fault first and map_pages afterwards, so the
 * latter is not counted again; the perf event then says if it was major.
 */
#include "core.bpf.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include <linux/bpf_perf_event.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct pf_probe_inode);
	__type(value, __u32);
} inodes SEC(".maps");

static __always_inline bool find_offset(struct address_space *mapping, __u64 page_index, __u64 *ret_offset)
{
	struct pf_probe_inode key = {};
	struct inode *inode = mapping->host;
	__u32 *file;

	key.ino = inode->i_ino;
	key.dev = inode->i_sb->s_dev;
	file = bpf_map_lookup_elem(&inodes, &key);
	if (!file)
		return false;
	*ret_offset = *file * config.file_size + (page_index << PF_PROBE_PAGE_SHIFT);
	return true;
}

SEC("tp_btf/mm_filemap_map_pages")
int BPF_PROG(on_map_pages, struct address_space *mapping, unsigned long start, unsigned long end)
{
	__u64 regs = own_regs(), offset;
	struct pf_probe_thread *thread;

	if (!regs || !find_offset(mapping, start, &offset))
		return 0;
	thread = thread_entry(regs);
	if (thread->regs == regs && thread->waited == PF_PROBE_WAIT_BEGUN) {
		thread->waited = PF_PROBE_WAIT_MAPPED; /* the end of a fault that on_filemap_fault() counted */
		return 0;
	}
	count_fault(take_entry(regs, offset), offset, false);
	return 0;
}

SEC("tp_btf/mm_filemap_fault")
int BPF_PROG(on_filemap_fault, struct address_space *mapping, unsigned long index)
{
	__u64 regs = own_regs(), offset;
	struct pf_probe_thread *thread;

	if (!regs || !find_offset(mapping, index, &offset))
		return 0;
	thread = thread_entry(regs);
	if (thread->regs == regs && thread->waited == PF_PROBE_WAIT_BEGUN && thread->offset == offset)
		return 0; /* the same fault, tried again */
	if (count_fault(take_entry(regs, offset), offset, false))
		count_wait(index, regs);
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
