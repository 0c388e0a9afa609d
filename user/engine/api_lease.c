/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * api_lease.c - the public calls of lease.h, handed on to the store's upper floor.
 *
 * A public lease table *is* the store's; the two names keep its type opaque.
 */
#include "engine/engine.h"
#include "store/table/lease.h"

static struct pf_leases *inner(struct pinfold_leases *leases)
{
	return (struct pf_leases *)leases;
}

int pinfold_leases_open(struct pinfold *pf, const char *name, uint32_t flags, struct pinfold_leases **ret_leases)
{
	REQUIRE(pf && name && ret_leases);
	return pf_leases_open(pf->store, name, flags, (struct pf_leases **)ret_leases);
}

void pinfold_leases_close(struct pinfold_leases *leases)
{
	pf_leases_close(inner(leases));
}

int pinfold_leases_table_foreach(struct pinfold *pf, int (*fn)(void *ctx, const char *name), void *ctx)
{
	REQUIRE(pf && fn);
	return pf_leases_table_foreach(pf->store, fn, ctx);
}

int pinfold_leases_stat(struct pinfold_leases *leases, struct pinfold_table_stats *ret_stats)
{
	REQUIRE(leases && ret_stats);
	return pf_leases_stat(inner(leases), ret_stats);
}

int pinfold_leases_drop(struct pinfold *pf, const char *name)
{
	REQUIRE(pf && name);
	return pf_leases_drop(pf->store, name);
}

int pinfold_lease_submit(struct pinfold_leases *leases, struct pinfold_lease_op *ops, size_t count,
			 pinfold_ticket *ret_ticket)
{
	REQUIRE(leases && (ops || !count) && ret_ticket);
	return pf_lease_submit(inner(leases), ops, count, ret_ticket);
}

int pinfold_lease_acquire(struct pinfold_leases *leases, const void *actor, size_t actor_size, uint64_t node,
			  uint64_t ttl_ms, uint64_t *ret_token)
{
	struct pinfold_lease_op op = {
		.what = PINFOLD_LEASE_ACQUIRE, .actor = actor, .actor_size = actor_size, .node = node, .ttl_ms = ttl_ms
	};

	REQUIRE(leases && ret_token);
	return pf_lease_do(inner(leases), &op, ret_token);
}

int pinfold_lease_steal(struct pinfold_leases *leases, const void *actor, size_t actor_size, uint64_t node,
			uint64_t from_token, uint64_t ttl_ms, uint64_t *ret_token)
{
	struct pinfold_lease_op op = { .what = PINFOLD_LEASE_STEAL,
				       .actor = actor,
				       .actor_size = actor_size,
				       .node = node,
				       .token = from_token,
				       .ttl_ms = ttl_ms };

	REQUIRE(leases && ret_token);
	return pf_lease_do(inner(leases), &op, ret_token);
}

int pinfold_lease_renew(struct pinfold_leases *leases, const void *actor, size_t actor_size, uint64_t token,
			uint64_t ttl_ms)
{
	struct pinfold_lease_op op = {
		.what = PINFOLD_LEASE_RENEW, .actor = actor, .actor_size = actor_size, .token = token, .ttl_ms = ttl_ms
	};

	REQUIRE(leases);
	return pf_lease_do(inner(leases), &op, NULL);
}

int pinfold_lease_release(struct pinfold_leases *leases, const void *actor, size_t actor_size, uint64_t token)
{
	struct pinfold_lease_op op = {
		.what = PINFOLD_LEASE_RELEASE, .actor = actor, .actor_size = actor_size, .token = token
	};

	REQUIRE(leases);
	return pf_lease_do(inner(leases), &op, NULL);
}

int pinfold_lease_get(struct pinfold_leases *leases, const void *actor, size_t actor_size,
		      struct pinfold_lease *ret_lease)
{
	REQUIRE(leases && ret_lease);
	return pf_lease_get(inner(leases), actor, actor_size, ret_lease);
}

int pinfold_leases_foreach(struct pinfold_leases *leases, uint64_t node, pinfold_lease_fn fn, void *ctx)
{
	REQUIRE(leases && fn);
	return pf_leases_foreach(inner(leases), node, fn, ctx);
}

int pinfold_leases_expire(struct pinfold_leases *leases, uint64_t max_count, uint64_t *ret_count)
{
	REQUIRE(leases);
	return pf_leases_expire(inner(leases), max_count, ret_count);
}
