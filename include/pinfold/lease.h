/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pinfold/lease.h - actor leases: who may act for which actor, for how long.
 *
 * A lease table maps an actor to its holder: a node, a time, and a *fencing token*. Every grant (acquire, steal) has a
 * token larger than any that this table ever granted, to whomever: not a crash, not a step of the wall clock, not a
 * steal takes it back. Whoever guards a resource remembers the largest token it saw and refuses smaller ones; then a
 * holder that is late does no harm.
 *
 * LEASE TIME. A lease lasts ttl_ms of *lease time*, which is the store's own: it runs, suspend included, while the
 * table is open for writing, whatever the wall clock does, and stands still while it is not. It is saved at the close,
 * and with the first change that comes a second or more after it was saved last. After a crash it goes on from what was
 * saved, which is less than a second *before* the last change that is left. So a restart may lengthen a lease and never
 * shortens one: the holder, which counts by its own clock from before it asked, is always done first.
 *
 * Whoever reads beside the writer (PINFOLD_OPEN_READONLY) sees leases as of the time that was saved: where nothing has
 * changed for a while, one that the writer would call expired still has time left.
 *
 * DURABILITY. A grant holds from the moment it is ordered: every later operation sees it. Act on it when its ticket is
 * durable (blocking calls return then, in sync mode): before that a crash of the machine may undo it, and
 * the next grant of the actor, with a larger token, would know nothing of it.
 */
#ifndef PINFOLD_LEASE_H
#define PINFOLD_LEASE_H

#include <pinfold/table.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Longest name of an actor and most data kept with a lease, bytes; longest time to live, ms (ten years). */
#define PINFOLD_ACTOR_MAX 255
#define PINFOLD_LEASE_DATA_MAX 208
#define PINFOLD_LEASE_TTL_MAX_MS (3650ull * 86400 * 1000)
#define PINFOLD_LEASES_NAME_MAX 48
/** Most operations of one pinfold_lease_submit(). */
#define PINFOLD_LEASE_OPS_MAX 4096

/** An open lease table. Any thread. Closed by pinfold_close() of the store at the latest. */
struct pinfold_leases;

/**
 * Opens lease table @name (1 to 48 of [A-Za-z0-9._-]); @flags: PINFOLD_TABLE_CREATE makes it if there is none.
 * The same table may be opened again: it is the same handle. -ENOENT, -EROFS (read-only and to be made), -EUCLEAN.
 */
PINFOLD_API int pinfold_leases_open(struct pinfold *pf, const char *name, uint32_t flags,
				    struct pinfold_leases **ret_leases);
/** Gives back one pinfold_leases_open(). NULL is allowed. */
PINFOLD_API void pinfold_leases_close(struct pinfold_leases *leases);
/**
 * Calls @fn with the name of each lease table, valid during the call, until it returns non-zero, which is returned. @fn
 * may open lease tables. Any thread.
 */
PINFOLD_API int pinfold_leases_table_foreach(struct pinfold *pf, int (*fn)(void *ctx, const char *name), void *ctx);
/** Counts and sizes (bytes); record_count is the number of leases, expired ones too. Any thread. */
PINFOLD_API int pinfold_leases_stat(struct pinfold_leases *leases, struct pinfold_table_stats *ret_stats);
/**
 * Drops lease table @name with all its leases and frees its extents; durable when it returns, as the sync mode says.
 * Its memory of tokens goes, too: a lease table of that name that is made later grants from token 1 on, which whoever
 * guards a resource and remembers larger ones refuses. -ENOENT; -EBUSY: it was opened since the store was (a handle
 * lasts until pinfold_close()); -EROFS; -EINVAL: no name of a lease table. Any thread.
 */
PINFOLD_API int pinfold_leases_drop(struct pinfold *pf, const char *name);

/** A lease as it stands. */
struct pinfold_lease {
	uint64_t token;
	uint64_t node;
	uint64_t ttl_ms;
	uint64_t remaining_ms;    /* 0: expired, and not released or taken since; for readers see LEASE TIME */
	uint64_t granted_unix_ms; /* wall clock of the grant: for people, nothing is decided by it */
	uint32_t data_size;
	uint8_t data[PINFOLD_LEASE_DATA_MAX]; /* the holder's own */
};

enum pinfold_lease_what {
	PINFOLD_LEASE_ACQUIRE =
		1, /* take an actor that nobody holds or held; -EBUSY if there is a lease, even an expired one */
	PINFOLD_LEASE_STEAL, /* take an actor whose lease has expired, or that has none; -EBUSY while it lasts;
				with @token: only from that lease, else -ESTALE */
	PINFOLD_LEASE_RENEW, /* the holder of @token goes on for @ttl_ms from now; -ETIME if it has expired, -ESTALE if
				the actor has another lease or none */
	PINFOLD_LEASE_RELEASE, /* the holder of @token gives it back, expired or not; -ESTALE */
};

/** One operation. The caller sets the upper part; the lower part is set by pinfold_lease_submit(). */
struct pinfold_lease_op {
	enum pinfold_lease_what what;
	uint32_t data_size;
	const void *actor; /* 1 to 255 bytes, any */
	size_t actor_size;
	uint64_t node;     /* the new holder, for ACQUIRE and STEAL; not PINFOLD_LEASE_NODE_ANY: -EINVAL */
	uint64_t token;    /* for RENEW and RELEASE; for STEAL, 0: from whomever */
	uint64_t ttl_ms;   /* 1 to ten years; not for RELEASE */
	const void *data;  /* NULL: none; for RENEW, NULL: what was there stays */

	int result;               /* 0 or the operation's own -errno */
	uint64_t ret_token; /* the token granted; else of the lease that stands in the way or is gone, 0 if none */
	uint64_t ret_node;        /* the holder that @ret_token belongs to */
	uint64_t ret_remaining_ms;
};

/**
 * Carries out @ops in order, as one transaction but each on its own: one that is refused says so in its
 * result and changes nothing; the others go on. Does not wait: the results are final, and durable when
 * *ret_ticket is (see pinfold_ticket_poll(), _wait() and _fd()); 0 where nothing changed. Any thread; many submissions
 * may be in flight. A failure of the call itself (-EROFS, -ENOSPC, -ENOMEM, -EINVAL for operations
 * that make no sense) means that nothing was done, whatever the results say.
 * Once in some sixteen million grants it does wait, for a flush that reserves further tokens.
 */
PINFOLD_API int pinfold_lease_submit(struct pinfold_leases *leases, struct pinfold_lease_op *ops, size_t count,
				     pinfold_ticket *ret_ticket);

/**
 * The same one at a time, waiting as the store's sync mode says; the result is the return value. *ret_token is the
 * fencing token, untouched on failure. @from_token: only from that lease, 0: from whomever. @node UINT64_MAX, which
 * means any node elsewhere, is -EINVAL. Any thread.
 */
PINFOLD_API int pinfold_lease_acquire(struct pinfold_leases *leases, const void *actor, size_t actor_size,
				      uint64_t node, uint64_t ttl_ms, uint64_t *ret_token);
PINFOLD_API int pinfold_lease_steal(struct pinfold_leases *leases, const void *actor, size_t actor_size, uint64_t node,
				    uint64_t from_token, uint64_t ttl_ms, uint64_t *ret_token);
PINFOLD_API int pinfold_lease_renew(struct pinfold_leases *leases, const void *actor, size_t actor_size, uint64_t token,
				    uint64_t ttl_ms);
PINFOLD_API int pinfold_lease_release(struct pinfold_leases *leases, const void *actor, size_t actor_size,
				      uint64_t token);

/**
 * The lease of @actor, expired ones too. -ENOENT. Any thread, never waits. Of a store that is open for reading
 * @ret_lease->remaining_ms is at least what is left, as of the lease time that was saved last (see LEASE TIME).
 */
PINFOLD_API int pinfold_lease_get(struct pinfold_leases *leases, const void *actor, size_t actor_size,
				  struct pinfold_lease *ret_lease);

/** Leases of any node, for pinfold_leases_foreach(). */
#define PINFOLD_LEASE_NODE_ANY UINT64_MAX
typedef int (*pinfold_lease_fn)(void *ctx, const void *actor, size_t actor_size, const struct pinfold_lease *lease);
/**
 * Calls @fn for every lease of @node, in no order, until it returns non-zero, which is returned. Reads the whole table.
 * Leases that come, go or change meanwhile may be seen old, new or not at all. @fn may call anything of this table.
 */
PINFOLD_API int pinfold_leases_foreach(struct pinfold_leases *leases, uint64_t node, pinfold_lease_fn fn, void *ctx);

/**
 * Removes leases that have expired, at most @max_count (0: all), in transactions of up to 1024; waits for
 * the last as the sync mode says. *ret_count (may be NULL) is how many. A later grant still has a larger token.
 */
PINFOLD_API int pinfold_leases_expire(struct pinfold_leases *leases, uint64_t max_count, uint64_t *ret_count);

#ifdef __cplusplus
}
#endif
#endif
