/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * call.c - submissions to one table by many threads: whoever holds the lock carries out those of the others.
 *
 * DESIGN: a lock that is handed from thread to thread costs a wake-up, or the table's lines a journey between
 * processors, with each submission. So a submission that finds the lock taken is left in a list. The holder takes
 * the list when it is done with its own. One round only, lest it never returns to its caller.
 *
 *  1. A call in the list belongs to whoever took the list, under the lock, until it is done. Then it is its owner's.
 *  2. Somebody always comes for the list: whoever leaves a call there waits, and of those who sleep one, the heir,
 *     waits for the lock itself. It steps down before it takes the list: who comes later finds no heir and becomes it.
 *  3. Words of a failure are its owner's thread's.
 */
#include "store/table/internal.h"

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* How long a call is looked at before its thread sleeps, and before that thread asks for the lock. A holder that is
 * about to come back serves it sooner than the table's lines come over. */
#define SPIN_TURNS 40u
#define ASK_TURNS 6u
#define TURN_PAUSES 16u

enum { CALL_WAITS, CALL_SLEEPS, CALL_DONE };

static void done(struct pf_call *call, int result)
{
	call->result = result;
	if (result < 0)
		memcpy(call->words, pf_error_text(), sizeof(call->words));
	/* from here on it may be gone: a wake-up of what is there by then is harmless */
	if (atomic_exchange(&call->state, CALL_DONE) == CALL_SLEEPS)
		syscall(SYS_futex, &call->state, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* Carries out what is in the list, in the order of arrival. Under table->lock. */
static void serve(struct pf_table *table)
{
	struct pf_call *call = atomic_exchange(&table->calls, NULL), *first = NULL, *next;

	for (; call; call = next) { /* newest first */
		next = call->next;
		call->next = first;
		first = call;
	}
	for (call = first; call; call = next) {
		next = call->next;
		done(call, call->run(table, call->arg));
	}
}

static void unlock_served(struct pf_table *table)
{
	if (atomic_load(&table->calls)) /* in one order with call_heir: invariant 2 */
		serve(table);
	pthread_mutex_unlock(&table->lock);
}

static bool is_done(struct pf_call *call)
{
	return atomic_load_explicit(&call->state, memory_order_acquire) == CALL_DONE;
}

/* Looks for a while whether somebody does it, or the lock is free. False: neither. */
static bool spin(struct pf_table *table, struct pf_call *call)
{
	bool over = false;

	if (atomic_fetch_add(&table->call_spinners, 1) < table->call_spinners_max) {
		for (unsigned turn = 0; !over && turn < SPIN_TURNS; turn++) {
			for (unsigned i = 0; i < TURN_PAUSES && !(over = is_done(call)); i++)
				__builtin_ia32_pause();
			if (over || turn < ASK_TURNS)
				continue;
			if (pthread_mutex_trylock(&table->lock) == 0) {
				unlock_served(table);
				over = is_done(call);
			} else {
				sched_yield(); /* the holder may be waiting for a processor */
			}
		}
	}
	atomic_fetch_sub(&table->call_spinners, 1);
	return over;
}

/* Sleeps until it is done. */
static void wait(struct pf_table *table, struct pf_call *call)
{
	uint32_t waits = CALL_WAITS;

	if (!atomic_exchange(&table->call_heir, true)) {
		pthread_mutex_lock(&table->lock);
		atomic_store(&table->call_heir, false);
		unlock_served(table);
	} else if (atomic_compare_exchange_strong(&call->state, &waits, CALL_SLEEPS)) {
		while (!is_done(call))
			syscall(SYS_futex, &call->state, FUTEX_WAIT_PRIVATE, CALL_SLEEPS, NULL, NULL, 0);
	}
	pf_assert(is_done(call)); /* the heir's too: it took the list, or found that somebody had, under the lock */
}

/* What the owner of @call, which is done, does without the lock. */
static int end(struct pf_table *table, const struct pf_call *call)
{
	if (call->result < 0)
		return pf_error(call->result, "%s", call->words);
	pf_txn_pace(table->store);
	return call->result;
}

int pf_table_call(struct pf_table *table, int (*run)(struct pf_table *table, void *arg), void *arg)
{
	struct pf_call call;

	if (pthread_mutex_trylock(&table->lock) == 0) {
		call.result = run(table, arg);
		if (call.result < 0) /* others may fail in the meantime */
			memcpy(call.words, pf_error_text(), sizeof(call.words));
		unlock_served(table);
		return end(table, &call);
	}
	call.run = run;
	call.arg = arg;
	atomic_init(&call.state, CALL_WAITS);
	call.next = atomic_load_explicit(&table->calls, memory_order_relaxed);
	while (!atomic_compare_exchange_weak(&table->calls, &call.next, &call))
		;
	if (!spin(table, &call))
		wait(table, &call);
	return end(table, &call);
}
