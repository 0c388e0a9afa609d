// SPDX-License-Identifier: GPL-2.0-only
/*
 * cache.bpf.c - pages that enter and leave the page cache of watched files,
 * whoever reads or reclaims them. Runs beside a probe of faults and writes
 * into the same slots.
 *
 * DESIGN
 *   The tracepoints fire for every file of the machine, so a file that is not
 *   watched must cost little: a file is known by the address of its struct
 *   address_space, which stands in the folio, and one lookup says no to all
 *   others. No folio lies in two slices: folios are
 *   naturally aligned and at most 2 MiB large.
 *
 * INVARIANTS
 *   1. Pages of files that are not watched change nothing.
 *   2. The key stays true as long as user space holds the file open.
 *   3. An event of a watched file that has no slot increments state.lost_events.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include <linux/pinfold.h>

#include "compat.bpf.h"
#include "probe.h"

/* Written by user space before loading. */
const volatile struct pf_probe_config config;
struct pf_probe_state state;
struct pf_probe_cache cache;

/* The map of the probe of faults: user space puts it in here. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} files SEC(".maps");

/* Address of the struct address_space to file. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, __u32);
} mappings SEC(".maps");

/* The slot of @folio; NULL if it is not of a watched file, or lost. */
static __always_inline struct pinfold_slot *find_slot(struct folio *folio)
{
	struct address_space *mapping = folio->mapping; /* not computed with, so no helper has to read it */
	struct pinfold_slot *slot = NULL;
	__u32 *file, slice;
	void *slots;

	file = bpf_map_lookup_elem(&mappings, &mapping);
	if (!file)
		return NULL;
	slots = bpf_map_lookup_elem(&files, file);
	slice = folio->index >> (config.watch.slice_shift - PF_PROBE_PAGE_SHIFT);
	if (slots)
		slot = bpf_map_lookup_elem(slots, &slice);
	if (!slot)
		__sync_fetch_and_add(&state.lost_events, 1);
	return slot;
}

SEC("tp_btf/mm_filemap_add_to_page_cache")
int BPF_PROG(on_add, struct folio *folio)
{
	struct pinfold_slot *slot = find_slot(folio);
	__u64 pages;
	__s64 away;

	if (!slot)
		return 0;
	pages = 1ull << pf_folio_order(folio);
	__sync_fetch_and_add(&slot->inserted, pages);
	away = slot->evicted - slot->refaulted;
	if (away > 0)
		__sync_fetch_and_add(&slot->refaulted, pages < away ? pages : away);
	return 0;
}

SEC("tp_btf/mm_filemap_delete_from_page_cache")
int BPF_PROG(on_delete, struct folio *folio)
{
	struct pinfold_slot *slot = find_slot(folio);

	if (slot)
		__sync_fetch_and_add(&slot->evicted, 1ull << pf_folio_order(folio));
	return 0;
}

/*
 * Run once per file by test_run in the process that has it open as cache.fd. Not by stat(): some
 * filesystems (btrfs) tell user space another device than the inode has.
 */
SEC("raw_tp")
int find_mapping(void *ctx)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **fds = BPF_CORE_READ(table, fd), *file = NULL;

	cache.mapping = 0;
	if (cache.fd >= BPF_CORE_READ(table, max_fds))
		return 0;
	bpf_probe_read_kernel(&file, sizeof(file), &fds[cache.fd]);
	cache.mapping = (__u64)BPF_CORE_READ(file, f_mapping);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
