/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * trace.h - tracepoints: /sys/kernel/tracing/events/pinfold.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM pinfold

#if !defined(PF_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define PF_TRACE_H

#include <linux/tracepoint.h>

#include "region.h"

TRACE_EVENT(pinfold_register,
	TP_PROTO(const struct pf_region *region, const struct inode *inode),
	TP_ARGS(region, inode),
	TP_STRUCT__entry(
		__field(u32, id)
		__field(dev_t, dev)
		__field(u64, ino)
		__field(u64, slices)
		__field(u32, shift)
	),
	TP_fast_assign(
		__entry->id = region->id;
		__entry->dev = inode->i_sb->s_dev;
		__entry->ino = inode->i_ino;
		__entry->slices = region->slice_count;
		__entry->shift = region->slice_shift + PAGE_SHIFT;
	),
	TP_printk("region=%u dev=%d:%d ino=%llu slices=%llu shift=%u", __entry->id, MAJOR(__entry->dev),
		  MINOR(__entry->dev), __entry->ino, __entry->slices, __entry->shift)
);

TRACE_EVENT(pinfold_release,
	TP_PROTO(u32 id),
	TP_ARGS(id),
	TP_STRUCT__entry(
		__field(u32, id)
	),
	TP_fast_assign(
		__entry->id = id;
	),
	TP_printk("region=%u", __entry->id)
);

TRACE_EVENT(pinfold_fault,
	TP_PROTO(u32 id, u64 page, unsigned int flags, bool major, bool random, u64 ns),
	TP_ARGS(id, page, flags, major, random, ns),
	TP_STRUCT__entry(
		__field(u32, id)
		__field(unsigned int, flags)
		__field(u64, page)
		__field(u64, ns)
		__field(bool, major)
		__field(bool, random)
	),
	TP_fast_assign(
		__entry->id = id;
		__entry->flags = flags;
		__entry->page = page;
		__entry->ns = ns;
		__entry->major = major;
		__entry->random = random;
	),
	TP_printk("region=%u page=%llu %s %s%s ns=%llu", __entry->id, __entry->page,
		  __entry->flags & FAULT_FLAG_WRITE ? "write" : "read", __entry->major ? "major" : "minor",
		  __entry->random ? " random" : "", __entry->ns)
);

TRACE_EVENT(pinfold_query,
	TP_PROTO(u32 id, bool age, u64 offset, u32 shift, u32 count),
	TP_ARGS(id, age, offset, shift, count),
	TP_STRUCT__entry(
		__field(u32, id)
		__field(u32, shift)
		__field(u64, offset)
		__field(u32, count)
		__field(bool, age)
	),
	TP_fast_assign(
		__entry->id = id;
		__entry->shift = shift;
		__entry->offset = offset;
		__entry->count = count;
		__entry->age = age;
	),
	TP_printk("region=%u %s offset=%llu shift=%u grains=%u", __entry->id, __entry->age ? "age" : "scan",
		  __entry->offset, __entry->shift, __entry->count)
);

TRACE_EVENT(pinfold_revoke,
	TP_PROTO(u32 id, u32 count, u32 done),
	TP_ARGS(id, count, done),
	TP_STRUCT__entry(
		__field(u32, id)
		__field(u32, count)
		__field(u32, done)
	),
	TP_fast_assign(
		__entry->id = id;
		__entry->count = count;
		__entry->done = done;
	),
	TP_printk("region=%u ranges=%u done=%u", __entry->id, __entry->count, __entry->done)
);

#endif

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
