/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lease_internal.h - what the files of the lease table share.
 *
 * DESIGN
 *   A lease is a record of 256 bytes; an operation looks at it and replaces it under the table's lock, so all
 *   operations of one lease table stand in one order, which is also the journal's. A submission is one transaction of
 *   many operations.
 *
 *   Tokens come out of one counter for the whole table. It is not logged with every grant: the meta record
 *   holds a *ceiling*, which is durable before the first token behind the ceiling before it is granted. Whoever
 *   opens the table begins above the ceiling, so tokens that a crash made forgotten are never granted again.
 *
 *   Lease time is base_ms + (CLOCK_BOOTTIME - base_boot_ms). The meta record remembers it with the first change
 *   in each second, in that change's own transaction.
 *
 * INVARIANTS
 *   1. next_token <= ceiling + 1, and the ceiling is durable.
 *   2. ceiling <= ceiling_written: a meta record never lowers the ceiling that another wrote.
 *   3. Lease time never runs backwards, within a process or from one to the next, as far as any lease shows.
 */
#ifndef PF_LEASE_INTERNAL_H
#define PF_LEASE_INTERNAL_H

#include "store/table/internal.h"
#include "store/table/lease.h"
#include "store/table/lease_format.h"

struct pf_leases {
	struct pf_leases *next; /* tables->leases */
	struct pf_table *table;
	char name[PINFOLD_LEASES_NAME_MAX + 1];

	pthread_mutex_t extend_lock; /* one extension of the ceiling at a time; taken before table->lock */

	/* Under table->lock. */
	uint64_t next_token, ceiling, ceiling_written;
	uint64_t base_ms, base_boot_ms, saved_ms;
	uint64_t (*clock)(void *ctx);
	void *clock_ctx;
};

/** Name of the table behind a lease table, with its end. */
#define PF_LEASE_FULL_MAX (sizeof(PF_LEASE_PREFIX) + PINFOLD_LEASES_NAME_MAX)
/** Tokens reserved by one flush. */
#define PF_LEASE_TOKENS (1ull << 24)

/** Lease time. Under table->lock, or alone. */
uint64_t pf_lease_now(const struct pf_leases *leases);
/** -EINVAL with words: @name names no lease table. */
int pf_lease_table_name(const char *name, char ret_full[PF_LEASE_FULL_MAX]);
/** The open lease table @name, or NULL. Under tables->lease_lock. */
struct pf_leases *pf_leases_opened(const struct pf_tables *tables, const char *name);
/** Whether these bytes may name an actor. -EINVAL with words. */
int pf_lease_actor_check(const void *actor, size_t actor_size);
int pf_lease_key(const void *actor, size_t actor_size, uint8_t ret_key[PF_LEASE_KEY_MAX]);
/** Whether @size bytes at @disk are a lease. -EUCLEAN with words. */
int pf_lease_check(const struct pf_leases *leases, const struct pf_lease_disk *disk, size_t size);
void pf_lease_decode(const struct pf_lease_disk *disk, uint64_t now_ms, struct pinfold_lease *ret_lease);
/** The lease of @key as the transaction at work sees it. -ENOENT. Under table->lock. */
int pf_lease_find(struct pf_leases *leases, const void *key, size_t key_size, struct pf_lease_disk *ret_disk);
/** Adds the meta record to the transaction at work. Under table->lock. */
int pf_lease_put_meta(struct pf_leases *leases, uint64_t ceiling, uint64_t now_ms);
/** Reserves @count tokens and more, and waits until that is durable. No lock held. */
int pf_lease_extend(struct pf_leases *leases, uint64_t count);

#endif
