/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lease.h - actor leases over a record table, for the engine. The calls mirror pinfold/lease.h one to one and check
 * their arguments themselves. 0/-errno; words in pf_error_text(). Any thread.
 */
#ifndef PF_LEASE_H
#define PF_LEASE_H

#include "store/table/table.h"

#include <pinfold/lease.h>

struct pf_leases;

int pf_leases_open(struct pf_store *store, const char *name, uint32_t flags, struct pf_leases **ret_leases);
void pf_leases_close(struct pf_leases *leases);
int pf_leases_table_foreach(struct pf_store *store, int (*fn)(void *ctx, const char *name), void *ctx);
int pf_leases_stat(struct pf_leases *leases, struct pinfold_table_stats *ret_stats);
int pf_leases_drop(struct pf_store *store, const char *name);
int pf_lease_submit(struct pf_leases *leases, struct pinfold_lease_op *ops, size_t count, pinfold_ticket *ret_ticket);
/** One operation, waiting as the sync mode says; its result, with words. *ret_token may be NULL. */
int pf_lease_do(struct pf_leases *leases, struct pinfold_lease_op *op, uint64_t *ret_token);
int pf_lease_get(struct pf_leases *leases, const void *actor, size_t actor_size, struct pinfold_lease *ret_lease);
int pf_leases_foreach(struct pf_leases *leases, uint64_t node, pinfold_lease_fn fn, void *ctx);
int pf_leases_expire(struct pf_leases *leases, uint64_t max_count, uint64_t *ret_count);

/** For tests: lease time follows @now_ms (milliseconds, never backwards) instead of CLOCK_BOOTTIME from here on. */
void pf_leases_set_clock(struct pf_leases *leases, uint64_t (*now_ms)(void *ctx), void *ctx);

#endif
