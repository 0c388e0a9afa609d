/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * overlay.c - what is committed and not yet in the mapping, by page.
 *
 * DESIGN: a bucket is a queue. Nodes enter in LSN order (the order lock is held)
 * and leave in LSN order (there is one applier), so the node to remove is always
 * the bucket's first, and the count of a bucket tells a reader in one load that
 * nothing is pending for its page.
 *
 *  1. A removed node keeps its next pointer and lives until a grace period has
 *     passed: a reader that stands on it still reaches everything behind it.
 *  2. A node is removed only after its bytes are in the mapping (or never will be).
 */
#include "base/error.h"
#include "store/internal.h"

#include <sched.h>

static void spin_lock(struct pf_bucket *bucket)
{
	for (unsigned int turns = 0; atomic_exchange_explicit(&bucket->spin, 1, memory_order_acquire); turns++) {
		__builtin_ia32_pause();
		if (turns % 64 == 63) /* its holder may have been preempted */
			sched_yield();
	}
}

static void spin_unlock(struct pf_bucket *bucket)
{
	atomic_store_explicit(&bucket->spin, 0, memory_order_release);
}

void pf_overlay_insert(struct pf_store *store, struct pf_node *node)
{
	struct pf_bucket *bucket = pf_bucket_of(store, node->page);

	atomic_store_explicit(&node->next, NULL, memory_order_relaxed);
	spin_lock(bucket);
	if (bucket->tail)
		atomic_store_explicit(&bucket->tail->next, node, memory_order_release);
	else
		atomic_store_explicit(&bucket->head, node, memory_order_release);
	bucket->tail = node;
	atomic_fetch_add_explicit(&pf_page_of(store, node->page)->pending, 1, memory_order_release);
	spin_unlock(bucket);
}

void pf_overlay_remove(struct pf_store *store, struct pf_node *node)
{
	struct pf_bucket *bucket = pf_bucket_of(store, node->page);
	struct pf_node *next;

	spin_lock(bucket);
	pf_assert(atomic_load_explicit(&bucket->head, memory_order_relaxed) == node);
	next = atomic_load_explicit(&node->next, memory_order_relaxed);
	atomic_store_explicit(&bucket->head, next, memory_order_release);
	if (!next)
		bucket->tail = NULL;
	atomic_fetch_sub_explicit(&pf_page_of(store, node->page)->pending, 1, memory_order_release);
	spin_unlock(bucket);
}
