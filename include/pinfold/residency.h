/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pinfold/residency.h - what of a store is in memory, and what this host offers.
 */
#ifndef PINFOLD_RESIDENCY_H
#define PINFOLD_RESIDENCY_H

#include <pinfold/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PINFOLD_NODES_MAX 64

/** Residency of a range, in bytes. A value the host cannot tell is UINT64_MAX. */
struct pinfold_residency {
	uint64_t size, resident, dirty, writeback, evicted_recently, locked, huge, large_folio;
	uint64_t node_bytes[PINFOLD_NODES_MAX];
	uint32_t node_count;
	/*
	 * True: the kernel module looked, at all that is resident; huge is what lies in folios of 2 MiB and more.
	 * False: huge, large_folio and node_bytes are of pages that this process maps, huge of those mapped as such.
	 */
	bool by_module;
};
/**
 * Looks at the page cache for [offset, offset+size) of @extent, in whole pages; @size 0: up to its end. Any thread;
 * brings nothing in. -ERANGE past the extent's end; -ESTALE; -EINVAL: no such place, or an empty one.
 */
PINFOLD_API int pinfold_residency_query(struct pinfold *pf, const struct pinfold_extent *extent, uint64_t offset,
					uint64_t size, struct pinfold_residency *ret_residency);

/** One capability of this host. */
struct pinfold_capability {
	const char *name;    /* "kmod", "bpf:range", "io_uring", "mlock", ... static */
	int state;           /* 1 works, 0 missing, -1 not applicable */
	char found[160];     /* what was found, or why it is missing */
	const char *adds;    /* what it adds, or would add. Static */
	const char *how;     /* how to get it. Static; NULL if it works */
};
/**
 * Tries every capability for real in @dir: with a scratch file there, which is gone afterwards. NULL: none is
 * made, and what needs one is not tried (state -1). Returns how many were stored, at most @limit: what is
 * missing is no failure. -EINVAL: @ret_caps is NULL.
 */
PINFOLD_API int pinfold_doctor(const char *dir, struct pinfold_capability *ret_caps, size_t limit);

#ifdef __cplusplus
}
#endif
#endif
