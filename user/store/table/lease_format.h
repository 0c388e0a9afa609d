/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lease_format.h - leases as records of a table. Documentation/on-disk-format-tables.md draws them.
 *
 * The table is named ".lease." and the lease table's name. One record, under the key of one zero byte, holds what
 * the table knows of tokens and time; the others, under a one byte and the actor's name, a lease each.
 * All integers are little-endian; the table's own checksums guard every byte.
 */
#ifndef PF_LEASE_FORMAT_H
#define PF_LEASE_FORMAT_H

#include <pinfold/lease.h>
#include <string.h>

#define PF_LEASE_PREFIX ".lease."
#define PF_LEASE_VERSION 1u
#define PF_LEASE_KEY_META 0
#define PF_LEASE_KEY_LEASE 1
#define PF_LEASE_KEY_MAX (1 + PINFOLD_ACTOR_MAX)

struct pf_lease_meta {
	uint32_t version;
	uint32_t reserved0;
	uint64_t token_ceiling; /* no larger token was granted before this record was durable */
	uint64_t lease_ms;      /* lease time when this record was written */
	uint64_t reserved[5];
};
_Static_assert(sizeof(struct pf_lease_meta) == 64, "lease meta record");

struct pf_lease_disk {
	uint32_t version;
	uint32_t data_size;
	uint64_t token;
	uint64_t node;
	uint64_t ttl_ms;
	uint64_t expires_ms; /* lease time */
	uint64_t granted_unix_ms;
	uint8_t data[PINFOLD_LEASE_DATA_MAX];
};
_Static_assert(sizeof(struct pf_lease_disk) == 256, "lease record");

#endif
