/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * epoch.c - epochs that ThreadSanitizer can follow, in place of user/store/epoch.c.
 *
 * liburcu 0.13 orders its memory with inline assembly, which ThreadSanitizer cannot
 * see: it reports what is no race, and would miss what is one. This does the same
 * with C11 atomics only, slowly: a reader notes the epoch that it entered in; a
 * reclaimer moves the epoch on, waits until nobody is in an older one, and
 * runs the callbacks. The linker takes these before the store library's own.
 */
#include "base/error.h"
#include "store/internal.h"

#include <sched.h>
#include <stdlib.h>
#include <time.h>

#define READERS_MAX 256

void urcu_memb_barrier(void);

static _Atomic uint64_t epoch = 1;
static _Atomic uint64_t entered[READERS_MAX]; /* the epoch a reader is in; 0: none */
static _Atomic unsigned reader_count;
static _Thread_local unsigned self = READERS_MAX, depth;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct call {
	struct call *next;
	struct rcu_head *head;
	void (*fn)(struct rcu_head *head);
} *calls;
static uint64_t called, done; /* lock */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_t reclaimer;

void pf_epoch_enter(void)
{
	if (self == READERS_MAX)
		self = atomic_fetch_add(&reader_count, 1);
	pf_assert(self < READERS_MAX);
	if (depth++ == 0)
		atomic_exchange(&entered[self], atomic_load(&epoch));
}

void pf_epoch_leave(void)
{
	if (--depth == 0)
		atomic_exchange(&entered[self], 0);
}

bool pf_epoch_inside(void)
{
	return depth > 0;
}

static void wait_for_readers(void)
{
	uint64_t now = atomic_fetch_add(&epoch, 1) + 1;

	for (unsigned i = 0; i < atomic_load(&reader_count); i++)
		for (uint64_t in; (in = atomic_load(&entered[i])) != 0 && in < now;)
			sched_yield();
}

static void *reclaim(void *arg)
{
	for (;;) {
		struct call *list, *next;
		uint64_t count = 0;

		pthread_mutex_lock(&lock);
		list = calls;
		calls = NULL;
		pthread_mutex_unlock(&lock);
		if (!list) {
			nanosleep(&(struct timespec){ 0, 200000 }, NULL);
			continue;
		}
		wait_for_readers();
		for (; list; list = next, count++) {
			next = list->next;
			list->fn(list->head);
			free(list);
		}
		pthread_mutex_lock(&lock);
		done += count;
		pthread_mutex_unlock(&lock);
	}
	return arg;
}

static void start(void)
{
	pf_assert(pthread_create(&reclaimer, NULL, reclaim, NULL) == 0);
	pthread_detach(reclaimer);
}

int pf_epoch_init(void)
{
	pthread_once(&once, start);
	return 0;
}

void pf_epoch_call(struct rcu_head *head, void (*fn)(struct rcu_head *head))
{
	struct call *call = malloc(sizeof(*call));

	pf_assert(call);
	pf_epoch_init();
	*call = (struct call){ .head = head, .fn = fn };
	pthread_mutex_lock(&lock);
	call->next = calls;
	calls = call;
	called++;
	pthread_mutex_unlock(&lock);
}

/* Waits until every callback of before has run: liburcu's name for rcu_barrier(). */
void urcu_memb_barrier(void)
{
	uint64_t target;
	bool reached;

	pthread_mutex_lock(&lock);
	target = called;
	pthread_mutex_unlock(&lock);
	do {
		sched_yield();
		pthread_mutex_lock(&lock);
		reached = done >= target;
		pthread_mutex_unlock(&lock);
	} while (!reached);
}

struct deferred {
	struct rcu_head rcu;
	void (*fn)(void *ctx);
	void *ctx;
};

static void run_deferred(struct rcu_head *head)
{
	struct deferred *deferred = caa_container_of(head, struct deferred, rcu);

	deferred->fn(deferred->ctx);
	free(deferred);
}

int pf_epoch_defer(void (*fn)(void *ctx), void *ctx)
{
	struct deferred *deferred = malloc(sizeof(*deferred));

	if (!deferred)
		return pf_error(-ENOMEM, "no memory to defer a reclamation");
	deferred->fn = fn;
	deferred->ctx = ctx;
	pf_epoch_call(&deferred->rcu, run_deferred);
	return 0;
}
