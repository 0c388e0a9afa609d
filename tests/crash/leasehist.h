/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * leasehist.h - histories of lease operations, and whether any order of them that the clients could have seen is right.
 *
 * A history lies in memory that outlives the process that writes it. Each operation is noted before it is
 * called and after it returned, with numbers out of one counter: so "a returned before b was called" is known
 * across threads and across kills, and what was in flight when a process died is known as such.
 */
#ifndef PF_TESTS_LEASEHIST_H
#define PF_TESTS_LEASEHIST_H

#include <pinfold/lease.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define HIST_EVENTS 60000
#define HIST_ACTORS 6
#define HIST_RUNS_MAX 4096

/** Removal of all that has expired, among the operations; of no actor and no token. */
#define HIST_EXPIRE 5

struct hist_event {
	uint8_t what; /* enum pinfold_lease_what, or HIST_EXPIRE */
	uint8_t actor;
	bool durable; /* known to be when it returned, or later */
	int result;
	uint32_t run; /* the life of the process that called it */
	uint64_t ttl_ms, token; /* of the call */
	uint64_t ret_token;
	uint64_t called, returned;       /* order; returned 0: in flight when the process died */
	uint64_t called_ms, returned_ms; /* CLOCK_BOOTTIME */
};

struct history {
	_Atomic uint32_t count;
	_Atomic uint64_t order;
	struct hist_event event[HIST_EVENTS];
};

/** The next event of @history, called now, or NULL if there is no room. Any thread. */
struct hist_event *hist_call(struct history *history, int what, unsigned actor, uint64_t token, uint64_t ttl_ms,
			     uint32_t run);
void hist_return(struct history *history, struct hist_event *event, int result, uint64_t ret_token);

/**
 * Whether @history is that of a lease table: NULL, or static words that say what is wrong.
 *
 *  1. No token is granted twice, to whichever actors.
 *  2. A grant that returned before another was called has the smaller token.
 *  3. Between two grants of an actor the first was released, or it was stolen or removed when it had expired: no
 *     sooner than its holder, who counts from before it asked, knew its time to be over. A grant that a crash
 *     undid before it was durable needs neither.
 *  4. A token that another grant of the actor has replaced renews and releases nothing any more.
 *  5. What was refused because of a lease was refused because of one that could have been there.
 */
const char *hist_check(const struct history *history);

/** Tokens granted so far, durable or not: the largest, 0 if none. */
uint64_t hist_largest_token(const struct history *history);

#endif
