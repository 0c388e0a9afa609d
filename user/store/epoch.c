/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * DESIGN: liburcu's memb flavour, whose read side is two plain stores. A thread is registered
 * when it first enters and unregistered by a key destructor when it ends.
 */
#define _LGPL_SOURCE /* as this file's licence is: the read side inline instead of by a call */
#include "base/error.h"
#include "store/internal.h"

#include <stdlib.h>
#include <urcu.h>

extern DECLARE_URCU_TLS(struct urcu_reader, urcu_memb_reader) __attribute__((tls_model("initial-exec")));
/* initial-exec: one load instead of a call for each, in a shared object too */
static _Thread_local bool registered __attribute__((tls_model("initial-exec")));
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int key_result;

static void unregister(void *value)
{
	rcu_unregister_thread();
	registered = false;
}

static void make_key(void)
{
	key_result = -pthread_key_create(&key, unregister);
	if (key_result ==
	    0) /* a child that opens a store of its own needs liburcu's thread, which a fork does not copy */
		key_result =
			-pthread_atfork(call_rcu_before_fork, call_rcu_after_fork_parent, call_rcu_after_fork_child);
}

int pf_epoch_init(void)
{
	pthread_once(&once, make_key);
	if (key_result < 0)
		return pf_error(key_result, "no thread-specific key for epochs");
	return 0;
}

static __attribute__((noinline)) void register_thread(void)
{
	pthread_once(&once, make_key);
	rcu_register_thread();
	registered = true;
	if (key_result == 0)
		pthread_setspecific(key, &key);
}

void pf_epoch_enter(void)
{
	if (__builtin_expect(!registered, 0))
		register_thread();
	rcu_read_lock();
}

void pf_epoch_leave(void)
{
	rcu_read_unlock();
}

bool pf_epoch_inside(void)
{
	return registered && rcu_read_ongoing();
}

void pf_epoch_call(struct rcu_head *head, void (*fn)(struct rcu_head *head))
{
	pf_epoch_enter(); /* call_rcu() is for registered threads */
	call_rcu(head, fn);
	pf_epoch_leave();
}

struct deferred {
	struct rcu_head rcu;
	void (*fn)(void *ctx);
	void *ctx;
};

static void run_deferred(struct rcu_head *head)
{
	struct deferred *deferred = caa_container_of(head, struct deferred, rcu);

	registered = true; /* this is liburcu's own thread: registered by it, and for good */
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
