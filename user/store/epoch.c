/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * DESIGN: liburcu's memb flavour, whose read side is two plain stores. A thread is registered
 * when it first enters and unregistered by a key destructor when it ends.
 *
 * Of a process that forks, the child has the forking thread only, but liburcu's registry, which
 * cannot be reached from outside, still names the others; their thread-local memory, which it
 * is made of, is used again by the next threads. So this file keeps a list of its own of who
 * registered, by which the child takes the dead out before it starts any thread, and owner,
 * the process in which that is known to hold:
 *
 * 1. Nobody registers or unregisters by this file during a fork, and liburcu's own thread
 *    has paused, for which it takes itself out: the registry is at rest.
 * 2. In a child, owner is its pid only if no other reader is left afterwards. A program that
 *    registers threads with liburcu itself, a fork inside an epoch and one that runs no handlers
 *    (_Fork(), clone()) leave the parent's there, and no store is opened.
 * 3. What the parent deferred concerns its stores, whose locks may be held for ever in the
 *    child: it is dropped there.
 */
#define _LGPL_SOURCE /* as this file's licence is: the read side inline instead of by a call */
#include "base/error.h"
#include "store/internal.h"

#include <stdlib.h>
#include <unistd.h>
#include <urcu.h>

extern DECLARE_URCU_TLS(struct urcu_reader, urcu_memb_reader) __attribute__((tls_model("initial-exec")));
/* initial-exec: one load instead of a call for each, in a shared object too */
static _Thread_local bool registered __attribute__((tls_model("initial-exec")));
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int key_result;

/* A thread that this file has registered. */
struct thread {
	struct cds_list_head list; /* threads_lock */
	struct urcu_reader *reader;
};
static CDS_LIST_HEAD(threads); /* threads_lock */
static pthread_mutex_t threads_lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local struct thread self;
static pid_t owner;                /* the process whose registry is in order */
static unsigned forks;             /* that this process is away from the first */
static _Thread_local bool forking; /* between before_fork() and the handler behind it */

static void unregister(void *value)
{
	pthread_mutex_lock(&threads_lock);
	rcu_unregister_thread();
	cds_list_del(&self.list);
	pthread_mutex_unlock(&threads_lock);
	registered = false;
}

static void register_thread(void);

static void before_fork(void)
{
	if (rcu_read_ongoing()) /* liburcu's thread may be waiting for us, and we would for it */
		return;
	if (!URCU_TLS(urcu_memb_reader).registered)
		register_thread(); /* the child looks at the registry by its own place there */
	call_rcu_before_fork();
	pthread_mutex_lock(&threads_lock);
	forking = true;
}

static void after_fork_parent(void)
{
	if (!forking)
		return;
	forking = false;
	pthread_mutex_unlock(&threads_lock);
	call_rcu_after_fork_parent();
}

/* Takes all but the calling thread out of the registry. Whether it is alone there now. */
static bool forget_the_dead(void)
{
	const struct cds_list_head *own = &URCU_TLS(urcu_memb_reader).node;
	struct thread *thread, *next;

	cds_list_for_each_entry_safe(thread, next, &threads, list) {
		struct cds_list_head *node = &thread->reader->node;

		if (thread == &self)
			continue;
		/* another's handler may have started a thread in the dead one's memory */
		if (!node->next || !node->prev || node->next->prev != node || node->prev->next != node)
			return false;
		cds_list_del(node);
		cds_list_del(&thread->list);
	}
	return own->next == own->prev; /* the head of the list, on both sides */
}

static void after_fork_child(void)
{
	if (!forking)
		return;
	forking = false;
	forks++;
	if (forget_the_dead())
		owner = getpid();
	pthread_mutex_unlock(&threads_lock);
	call_rcu_after_fork_child(); /* last, as it starts a thread */
}

static void make_key(void)
{
	owner = getpid();
	key_result = -pthread_key_create(&key, unregister);
	if (key_result == 0)
		key_result = -pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

int pf_epoch_init(void)
{
	pthread_once(&once, make_key);
	if (key_result < 0)
		return pf_error(key_result, "no thread-specific key for epochs");
	if (owner != getpid())
		return pf_error(-ENOTSUP,
				"this process was forked by one that used stores, inside an epoch, without fork "
				"handlers, or beside threads that use liburcu by themselves: it cannot open a store "
				"before it has run another program");
	return 0;
}

static __attribute__((noinline)) void register_thread(void)
{
	pthread_once(&once, make_key);
	self.reader = &URCU_TLS(urcu_memb_reader);
	pthread_mutex_lock(&threads_lock);
	rcu_register_thread();
	cds_list_add(&self.list, &threads);
	pthread_mutex_unlock(&threads_lock);
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
	unsigned forks; /* when it was deferred */
};

static void run_deferred(struct rcu_head *head)
{
	struct deferred *deferred = caa_container_of(head, struct deferred, rcu);

	registered = true; /* this is liburcu's own thread: registered by it, and for good */
	if (deferred->forks == forks)
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
	deferred->forks = forks;
	pf_epoch_call(&deferred->rcu, run_deferred);
	return 0;
}
