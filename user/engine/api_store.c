/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * api_store.c - the public calls of store.h, handed on to the store.
 *
 * A public transaction *is* the store's; the two names keep its type opaque.
 */
#include "engine/engine.h"
#include "store/table/table.h"

static struct pf_txn *inner(struct pinfold_txn *txn)
{
	return (struct pf_txn *)txn;
}

int pinfold_extent_alloc(struct pinfold *pf, uint64_t size, uint32_t flags, struct pinfold_extent *ret_extent)
{
	REQUIRE(pf && ret_extent);
	REQUIRE((flags & ~PINFOLD_EXTENT_FLAGS_ALL) == 0);
	return pf_extent_alloc(pf->store, size, flags, ret_extent);
}

int pinfold_extent_free(struct pinfold *pf, const struct pinfold_extent *extent)
{
	REQUIRE(pf && extent);
	return pf_extent_free(pf->store, extent);
}

int pinfold_bulk_write(struct pinfold *pf, const struct pinfold_extent *extent, uint64_t offset, const void *data,
		       size_t size)
{
	REQUIRE(pf && extent && (data || !size));
	return pf_bulk_write(pf->store, extent, offset, data, size);
}

int pinfold_bulk_flush(struct pinfold *pf, const struct pinfold_extent *extents, size_t count)
{
	REQUIRE(pf && (extents || !count));
	return pf_bulk_flush(pf->store, extents, count);
}

int pinfold_extent_foreach(struct pinfold *pf, pinfold_extent_fn fn, void *ctx)
{
	REQUIRE(pf && fn);
	return pf_extent_foreach(pf->store, fn, ctx);
}

int pinfold_txn_begin(struct pinfold *pf, struct pinfold_txn **ret_txn)
{
	REQUIRE(pf && ret_txn);
	return pf_txn_begin(pf->store, (struct pf_txn **)ret_txn);
}

int pinfold_txn_write(struct pinfold_txn *txn, const struct pinfold_extent *extent, uint64_t offset, const void *data,
		      size_t size)
{
	int r;

	REQUIRE(txn && extent && (data || !size));
	r = pf_catalog_extent_written(pf_txn_store(inner(txn)), extent);
	return r ? r : pf_txn_write(inner(txn), extent, offset, data, size);
}

int pinfold_txn_publish(struct pinfold_txn *txn, const struct pinfold_extent *extent)
{
	REQUIRE(txn && extent);
	return pf_txn_publish(inner(txn), extent);
}

int pinfold_txn_drop(struct pinfold_txn *txn, const struct pinfold_extent *extent)
{
	REQUIRE(txn && extent);
	return pf_txn_drop(inner(txn), extent);
}

int pinfold_txn_commit(struct pinfold_txn *txn)
{
	REQUIRE(txn);
	return pf_txn_commit(inner(txn));
}

void pinfold_txn_abort(struct pinfold_txn *txn)
{
	if (txn)
		pf_txn_abort(inner(txn));
}

int pinfold_txn_commit_async(struct pinfold_txn *txn, pinfold_ticket *ret_ticket)
{
	REQUIRE(txn && ret_ticket);
	return pf_txn_submit(inner(txn), ret_ticket);
}

int pinfold_ticket_poll(struct pinfold *pf, pinfold_ticket ticket)
{
	REQUIRE(pf);
	return pf_ticket_poll(pf->store, ticket);
}

int pinfold_ticket_wait(struct pinfold *pf, pinfold_ticket ticket, int timeout_ms)
{
	REQUIRE(pf);
	return pf_ticket_wait(pf->store, ticket, timeout_ms);
}

int pinfold_ticket_fd(struct pinfold *pf)
{
	REQUIRE(pf);
	return pf_ticket_fd(pf->store);
}

int pinfold_sync(struct pinfold *pf)
{
	REQUIRE(pf);
	return pf_store_sync(pf->store);
}

int pinfold_checkpoint(struct pinfold *pf)
{
	REQUIRE(pf);
	return pf_store_checkpoint(pf->store);
}

int pinfold_store_stat(struct pinfold *pf, struct pinfold_store_stats *ret_stats)
{
	REQUIRE(pf && ret_stats);
	return pf_store_stat(pf->store, ret_stats);
}
