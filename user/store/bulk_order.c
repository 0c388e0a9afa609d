/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bulk_order.c - bulk writes and transactions that write to one unpublished extent: the later one wins, after a crash
 * too.
 *
 * DESIGN: bulk bytes are in no journal. A transaction's record that is replayed, or applied, after them would bring its
 * bytes back over theirs. So each place where an extent may start knows the end of the last transaction that wrote to
 * the extent before it was published, and before bulk bytes are taken a checkpoint passes it. Whoever only loads an
 * extent pays for a comparison, whoever only commits to it for a lock per transaction.
 *
 *  1. A transaction notes its end, before it is ordered and under bulk->lock, in a moment when none of the extents is
 *     being bulk-written to; a bulk write looks at it under bulk->lock before it says that it is. So each of the two is
 *     wholly before the other.
 *  2. What was noted is ordered: nothing can fail between, and the order lock is held over both.
 *  3. What was noted of a former extent at the same place is passed: a checkpoint ends its quarantine.
 */
#include "store/bulk.h"

#include "store/internal.h"

static _Atomic uint64_t *lsn_of(const struct pf_file *file, const struct pinfold_extent *extent)
{
	return &file->txn_lsn[extent->offset >> PF_GRANULE_SHIFT];
}

int pf_bulk_order_wait(struct pf_txn *txn)
{
	int r = 0;

	for (uint32_t i = 0; txn->fresh && r == 0 && i < txn->ref_count; i++)
		if (txn->refs[i].fresh)
			r = pf_bulk_settle(txn->store, &txn->refs[i].extent);
	return r;
}

bool pf_bulk_order(struct pf_txn *txn, uint64_t lsn)
{
	struct pf_store *store = txn->store;
	bool quiet = true;

	if (!txn->fresh)
		return true;
	pthread_mutex_lock(&store->bulk->lock);
	for (uint32_t i = 0; quiet && i < txn->ref_count; i++) {
		struct pf_bulk_extent *at = txn->refs[i].fresh ? pf_bulk_find(store->bulk, &txn->refs[i].extent) : NULL;

		quiet = !at || pf_bulk_quiet(at);
	}
	for (uint32_t i = 0; quiet && i < txn->ref_count; i++)
		if (txn->refs[i].fresh)
			atomic_store(lsn_of(store->files[txn->refs[i].extent.file_id], &txn->refs[i].extent), lsn);
	pthread_mutex_unlock(&store->bulk->lock);
	return quiet;
}

uint64_t pf_bulk_order_lsn(const struct pf_store *store, const struct pf_file *file,
			   const struct pinfold_extent *extent)
{
	const uint64_t lsn = atomic_load(lsn_of(file, extent));

	return lsn > atomic_load(&store->checkpoint_lsn) ? lsn : 0;
}

int pf_bulk_order_pass(struct pf_store *store, uint64_t lsn)
{
	int r = pf_settle(store, lsn, true, 0);

	return r == 0 ? pf_checkpoint_run(store) : r;
}
