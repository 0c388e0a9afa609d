/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * flush.c - group commit: who writes the journal, who applies, who waits.
 *
 * DESIGN: there is no writer thread in the way of a commit. Whoever waits and finds nobody
 * flushing leads: takes all that is pending as one group, writes it behind one header, flushes,
 * applies, wakes the others, whose commits it carried. A lone committer so pays no
 * thread switch at all. The flusher thread leads for those who do not wait.
 *
 *  1. One leader at a time (flushing); the next group is written only after the last one is
 *     durable. Recovery relies on it: a sound group behind an unsound one is damage.
 *  2. A group takes *all* of pending, so the room that was reserved when its transactions
 *     were ordered suffices, and at most one block per group is wasted.
 *  3. Applying follows in LSN order by one thread (applying), while the next group may
 *     already be written. It is what removes overlay nodes.
 *  4. A group that is larger than the superblock admits, which only a single large transaction makes, is written
 *     after the superblock admits it: recovery looks no further for what follows a damaged one.
 *  5. After a failed write or flush nothing is written any more: the group and all
 *     behind it are discarded (they leave the overlay), their waiters get -EIO.
 */
#include "base/clock.h"
#include "base/error.h"
#include "store/internal.h"
#include "store/record.h"

#include <linux/futex.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <urcu.h>

/* Written and unapplied bytes, beyond which no further group is started. */
#define APPLY_BACKLOG_MAX (4 * PF_PENDING_MAX)

/* ---- waking and poison ---- */

void pf_settle_wake(struct pf_store *store)
{
	const uint64_t one = 1;
	int fd = atomic_load(&store->event_fd);

	atomic_fetch_add(&store->settle_word, 1);
	if (atomic_load(&store->settle_waiters) > 0)
		syscall(SYS_futex, &store->settle_word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
	if (fd >= 0) {
		ssize_t n = write(fd, &one, sizeof(one));

		(void)n; /* fails only on a full counter, which is readable all the same */
	}
}

static void poison(struct pf_store *store, const char *format, va_list args)
{
	if (atomic_load(&store->poisoned))
		return;
	vsnprintf(store->poison_reason, sizeof(store->poison_reason), format, args);
	atomic_store(&store->poisoned, true);
	pthread_cond_broadcast(&store->flusher_wake);
}

void pf_poison_locked(struct pf_store *store, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	poison(store, format, args);
	va_end(args);
}

void pf_poison(struct pf_store *store, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	pthread_mutex_lock(&store->lock);
	poison(store, format, args);
	pthread_mutex_unlock(&store->lock);
	va_end(args);
	pf_settle_wake(store);
}

int pf_writable(struct pf_store *store)
{
	if (__builtin_expect(store->read_only, 0))
		return pf_error(-EROFS, "%s: opened read-only", store->dir);
	if (__builtin_expect(atomic_load(&store->poisoned), 0))
		return pf_error(-EROFS, "%s: takes no more changes: %s", store->dir, store->poison_reason);
	return 0;
}

/* ---- writing a group ---- */

/* What streams a group through the stage into the ring. */
struct writer {
	struct pf_store *store;
	uint64_t pos;    /* where the stage's first byte goes */
	size_t fill;
	bool unflushed; /* an earlier piece in this segment is not durable yet */
};

static int write_piece(struct writer *w, const uint8_t *data, size_t size, bool flush)
{
	struct pf_store *store = w->store;
	uint64_t offset, room;
	uint32_t index = pf_journal_locate(store, w->pos, &offset, &room);
	int fd = store->segments[index].fd;
	ssize_t n;
	int r = 0;

	if (flush && !w->unflushed && store->ring) {
		n = pf_io_ring_write_flush(store->ring, fd, data, size,
					   offset); /* the usual case: a group in one piece */
	} else {
		n = pf_io_pwrite(fd, data, size, offset);
		if (n == (ssize_t)size && flush)
			r = pf_io_fdatasync(fd);
	}
	w->unflushed = !flush;
	if (n == (ssize_t)size && r == 0)
		return 0;
	pf_poison(store, "journal/%08u.%06u: offset %llu: %s %zu bytes: %s", store->super.journal_generation, index,
		  (unsigned long long)offset, r < 0 ? "cannot flush" : "cannot write", size,
		  r < 0 ? strerror(-r) : n < 0 ? strerror((int)-n) : "short write");
	return -EIO;
}

/* Writes the stage out; a piece that ends a segment is flushed, as is the @last one. */
static int drain(struct writer *w, bool last)
{
	const uint8_t *data = w->store->stage;

	while (w->fill > 0) {
		uint64_t offset, room;
		size_t size = w->fill;
		int r;

		pf_journal_locate(w->store, w->pos, &offset, &room);
		if (size > room)
			size = room;
		r = write_piece(w, data, size, size == room || (last && size == w->fill));
		if (r < 0)
			return r;
		data += size;
		w->pos += size;
		w->fill -= size;
	}
	return 0;
}

static int put(struct writer *w, const void *data, size_t size)
{
	const uint8_t *from = data;

	while (size > 0) {
		size_t step = PF_STAGE_SIZE - w->fill;
		int r = 0;

		if (step > size)
			step = size;
		memcpy(w->store->stage + w->fill, from, step);
		w->fill += step;
		from += step;
		size -= step;
		if (w->fill == PF_STAGE_SIZE && size > 0)
			r = drain(w, false);
		if (r < 0)
			return r;
	}
	return 0;
}

static int write_group(struct pf_store *store, const struct pf_txn_list *group, uint64_t pos, uint64_t number,
		       uint64_t first_lsn)
{
	struct writer w = { .store = store, .pos = pos };
	struct pf_group_header header = {
		.pos = pos,
		.number = number,
		.first_lsn = first_lsn,
		.length = group->bytes,
		.epoch = store->super.epoch,
	};
	size_t tail;
	int r;

	memcpy(header.magic, PF_GROUP_MAGIC, sizeof(header.magic));
	memcpy(header.uuid, store->super.uuid, sizeof(header.uuid));
	pf_group_seal(&header);
	r = put(&w, &header, sizeof(header));
	for (const struct pf_txn *txn = group->head; r == 0 && txn; txn = txn->next)
		r = put(&w, txn->record, txn->length);
	if (r < 0)
		return r;
	tail = w.fill % PF_BLOCK_SIZE ? PF_BLOCK_SIZE - w.fill % PF_BLOCK_SIZE : 0;
	memset(store->stage + w.fill, 0, tail); /* the stage is a whole number of blocks */
	w.fill += tail;
	return drain(&w, true);
}

/* ---- applying ---- */

static void free_txns(struct rcu_head *head)
{
	struct pf_txn *txn = caa_container_of(head, struct pf_txn, rcu);

	while (txn) {
		struct pf_txn *next = txn->next;

		pf_txn_free(txn);
		txn = next;
	}
}

static void append(struct pf_txn_list *list, struct pf_txn_list *more)
{
	if (!more->head)
		return;
	if (list->tail)
		list->tail->next = more->head;
	else
		list->head = more->head;
	list->tail = more->tail;
	list->bytes += more->bytes;
	*more = (struct pf_txn_list){ 0 };
}

/* Applies or discards @list as far as it goes. Returns the first that could not be applied. No lock. */
static struct pf_txn *apply_list(struct pf_store *store, struct pf_txn_list *list, struct pf_log_point *point,
				 uint64_t *ret_lsn)
{
	struct pf_txn *txn;

	for (txn = list->head; txn; txn = txn->next) {
		if (!txn->discard) {
			if (pf_apply(store, txn) < 0)
				return txn;
			*ret_lsn = txn->end_lsn;
			if (txn->group_end_pos)
				*point = (struct pf_log_point){ .lsn = txn->end_lsn,
								.pos = txn->group_end_pos,
								.number = txn->group_number + 1 };
		}
		for (uint64_t i = 0; i < txn->node_count; i++)
			pf_overlay_remove(store, &txn->nodes[i]);
		list->bytes -= txn->length;
	}
	return NULL;
}

/* lock held on entry and exit. Whoever finds no applier becomes it. */
static void apply_all(struct pf_store *store)
{
	if (store->applying)
		return;
	store->applying = true;
	while (store->apply.head) {
		struct pf_txn_list list = store->apply;
		struct pf_log_point point = store->applied_point;
		uint64_t lsn = atomic_load(&store->applied_lsn);
		const bool full = store->apply.bytes >= APPLY_BACKLOG_MAX;
		struct pf_txn *first = list.head, *stuck;

		store->apply.head = store->apply.tail = NULL;
		pthread_mutex_unlock(&store->lock);
		stuck = apply_list(store, &list, &point, &lsn);
		if (stuck) { /* what is left stays in the overlay until close */
			for (struct pf_txn *txn = first; txn != stuck; txn = txn->next)
				if (txn->next == stuck) {
					txn->next = NULL;
					break;
				}
		}
		if (first != stuck)
			pf_epoch_call(&first->rcu, free_txns);
		pthread_mutex_lock(&store->lock);
		store->applied_point = point;
		atomic_store(&store->applied_lsn, lsn);
		if (stuck) {
			list.head = stuck;
			list.bytes = 0;
			append(&list, &store->apply);
			store->apply = list;
			store->stuck = true;
			pf_settle_wake(store);
			return; /* applying stays true: nobody goes on */
		}
		store->apply.bytes = 0;
		for (struct pf_txn *txn = store->apply.head; txn; txn = txn->next)
			store->apply.bytes += txn->length;
		if (full) /* it held the flusher back */
			pthread_cond_signal(&store->flusher_wake);
		pf_settle_wake(store);
	}
	store->applying = false;
}

/* ---- leading ---- */

bool pf_flush_possible(const struct pf_store *store)
{
	return !store->flushing && store->pending.head && store->apply.bytes < APPLY_BACKLOG_MAX &&
	       !atomic_load(&store->poisoned);
}

static void discard(struct pf_txn_list *list)
{
	for (struct pf_txn *txn = list->head; txn; txn = txn->next)
		txn->discard = true;
}

/* Makes the superblock admit groups as large as any can be. lock held, let go inside; we lead, so nobody else does. */
static int admit_largest(struct pf_store *store)
{
	int r;

	store->group_max = pf_group_size(pf_record_max(store));
	pthread_mutex_unlock(&store->lock);
	r = pf_super_update(store, NULL, false);
	pthread_mutex_lock(&store->lock);
	return r;
}

void pf_flush_lead(struct pf_store *store)
{
	struct pf_txn_list group = store->pending;
	uint64_t pos = store->head_pos, number = store->next_group, first_lsn = atomic_load(&store->durable_lsn);
	int r = 0;

	store->pending = (struct pf_txn_list){ 0 };
	store->head_pos += pf_group_size(group.bytes);
	store->next_group++;
	store->flushing = true;
	group.tail->group_end_pos = store->head_pos;
	group.tail->group_number = number;
	if (pf_group_size(group.bytes) > store->group_max)
		r = admit_largest(store);
	pthread_mutex_unlock(&store->lock);
	if (r == 0)
		r = write_group(store, &group, pos, number, first_lsn);
	pthread_mutex_lock(&store->lock);
	store->flushing = false;
	if (r == 0) {
		atomic_store(&store->durable_lsn, group.tail->end_lsn);
		store->flush_count++;
		append(&store->apply, &group);
		if (store->pending.head && atomic_load(&store->settle_waiters) > 0) {
			store->flush_urgent = true;
			pthread_cond_signal(&store->flusher_wake);
		}
		if (store->head_pos - store->start_pos > store->capacity / 2 && !store->checkpoint_wanted) {
			store->checkpoint_wanted = true;
			pthread_cond_signal(&store->checkpointer_wake);
		}
	} else {
		append(&group, &store->pending); /* nothing is ordered any more: poisoned under this lock */
		discard(&group);
		append(&store->apply, &group);
	}
	apply_all(store);
	pf_settle_wake(store);
}

int pf_settle(struct pf_store *store, uint64_t lsn, bool applied, uint64_t deadline_ns)
{
	const _Atomic uint64_t *target = applied ? &store->applied_lsn : &store->durable_lsn;
	int r = 0;

	atomic_fetch_add(&store->settle_waiters, 1);
	while (atomic_load_explicit(target, memory_order_acquire) < lsn) {
		uint32_t word = atomic_load(&store->settle_word);
		struct timespec left, *timeout = NULL;

		if (atomic_load(&store->poisoned)) {
			pthread_mutex_lock(&store->lock); /* a group in flight still decides about itself */
			if (!store->flushing) {
				bool durable = atomic_load(&store->durable_lsn) >= lsn,
				     over = !durable || !applied || store->stuck;

				if (!durable)
					r = pf_error(-EIO, "%s: not durable: %s", store->dir, store->poison_reason);
				pthread_mutex_unlock(&store->lock);
				if (over)
					break;
				goto wait; /* it is being applied */
			}
			pthread_mutex_unlock(&store->lock);
		}
		pthread_mutex_lock(&store->lock);
		if (pf_flush_possible(store) && atomic_load(&store->durable_lsn) < lsn) {
			pf_flush_lead(store);
			pthread_mutex_unlock(&store->lock);
			continue;
		}
		pthread_mutex_unlock(&store->lock);
		if (deadline_ns) {
			uint64_t now = pf_clock_ns();

			if (now >= deadline_ns) {
				r = pf_error(-ETIMEDOUT, "%s: not durable in time", store->dir);
				break;
			}
			left = pf_clock_timespec(deadline_ns - now);
			timeout = &left;
		}
wait:
		if (atomic_load_explicit(target, memory_order_acquire) < lsn)
			syscall(SYS_futex, &store->settle_word, FUTEX_WAIT_PRIVATE, word, timeout, NULL, 0);
	}
	atomic_fetch_sub(&store->settle_waiters, 1);
	return r;
}

/* ---- the flusher ---- */

/* When the flusher should lead: 0 now, UINT64_MAX not until it is woken. lock held. */
static uint64_t flush_time(const struct pf_store *store)
{
	if (!pf_flush_possible(store))
		return UINT64_MAX;
	if (store->flush_urgent)
		return 0;
	switch (store->config.sync) {
	case PINFOLD_SYNC_SYNC:
		return 0;
	case PINFOLD_SYNC_ASYNC: /* half of the interval to gather, half for the device */
		if (store->pending.bytes >= PF_ASYNC_BATCH)
			return 0;
		return store->oldest_ns + store->config.flush_interval_ms * PF_NS_PER_MS / 2;
	case PINFOLD_SYNC_NONE:
		return store->pending.bytes >= store->pending_max / 2 ? 0 : UINT64_MAX;
	}
	return 0;
}

static void *flusher(void *arg)
{
	struct pf_store *store = arg;

	pthread_mutex_lock(&store->lock);
	while (!store->stop) {
		uint64_t when = flush_time(store);

		if (atomic_load(&store->poisoned) && !store->flushing && store->pending.head) {
			discard(&store->pending); /* no leader will come for them */
			append(&store->apply, &store->pending);
			apply_all(store);
			pf_settle_wake(store);
			continue;
		}
		if (when != UINT64_MAX && (when == 0 || pf_clock_ns() >= when)) {
			store->flush_urgent = false;
			pf_flush_lead(store);
		} else if (when == UINT64_MAX) {
			pthread_cond_wait(&store->flusher_wake, &store->lock);
		} else {
			struct timespec until = pf_clock_timespec(when);

			pthread_cond_timedwait(&store->flusher_wake, &store->lock, &until);
		}
	}
	pthread_mutex_unlock(&store->lock);
	return NULL;
}

static void *checkpointer(void *arg)
{
	struct pf_store *store = arg;

	pthread_mutex_lock(&store->lock);
	while (!store->stop) {
		if (!store->checkpoint_wanted || atomic_load(&store->poisoned)) {
			pthread_cond_wait(&store->checkpointer_wake, &store->lock);
			continue;
		}
		pthread_mutex_unlock(&store->lock);
		pf_checkpoint_run(store); /* its failure poisons, which says more than we could here */
		pthread_mutex_lock(&store->lock);
		store->checkpoint_wanted = false;
	}
	pthread_mutex_unlock(&store->lock);
	return NULL;
}

int pf_threads_start(struct pf_store *store)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	sigdelset(&all, SIGBUS); /* the guard needs it */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = -pthread_create(&store->flusher, NULL, flusher, store);
	if (r == 0) {
		r = -pthread_create(&store->checkpointer, NULL, checkpointer, store);
		if (r == 0) {
			store->threads_running = true;
			pthread_setname_np(store->flusher, "pinfold-flush");
			pthread_setname_np(store->checkpointer, "pinfold-ckpt");
		} else {
			pthread_mutex_lock(&store->lock);
			store->stop = true;
			pthread_cond_signal(&store->flusher_wake);
			pthread_mutex_unlock(&store->lock);
			pthread_join(store->flusher, NULL);
		}
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r == 0 ? 0 : pf_error(r, "cannot start the store's threads");
}

void pf_threads_stop(struct pf_store *store)
{
	if (!store->threads_running)
		return;
	pthread_mutex_lock(&store->lock);
	store->stop = true;
	pthread_cond_signal(&store->flusher_wake);
	pthread_cond_signal(&store->checkpointer_wake);
	pthread_mutex_unlock(&store->lock);
	pthread_join(store->flusher, NULL);
	pthread_join(store->checkpointer, NULL);
	store->threads_running = false;
}

/* ---- tickets ---- */

static int ticket_check(struct pf_store *store, pinfold_ticket ticket)
{
	if (ticket > atomic_load(&store->ordered_lsn))
		return pf_error(-EINVAL, "ticket %llu: never given out", (unsigned long long)ticket);
	return 0;
}

int pf_ticket_settle(struct pf_store *store, pinfold_ticket ticket)
{
	int r = ticket_check(store, ticket);

	if (r < 0 || store->config.sync != PINFOLD_SYNC_SYNC)
		return r;
	return pf_settle(store, ticket, true, 0);
}

int pf_ticket_poll(struct pf_store *store, pinfold_ticket ticket)
{
	int r = ticket_check(store, ticket);

	if (r < 0)
		return r;
	if (atomic_load(&store->durable_lsn) >= ticket)
		return 1;
	if (atomic_load(&store->poisoned))
		return pf_error(-EIO, "%s: not durable: %s", store->dir, store->poison_reason);
	return 0;
}

int pf_ticket_wait(struct pf_store *store, pinfold_ticket ticket, int timeout_ms)
{
	uint64_t deadline = timeout_ms < 0 ? 0 : pf_clock_ns() + (uint64_t)timeout_ms * PF_NS_PER_MS;
	int r = ticket_check(store, ticket);

	if (r < 0)
		return r;
	if (timeout_ms == 0) {
		r = pf_ticket_poll(store, ticket);
		return r == 0  ? pf_error(-ETIMEDOUT, "ticket %llu: not durable yet", (unsigned long long)ticket)
		       : r < 0 ? r
			       : 0;
	}
	return pf_settle(store, ticket, false, deadline);
}

int pf_ticket_fd(struct pf_store *store)
{
	int none = -1, fd = atomic_load(&store->event_fd);

	if (fd >= 0)
		return fd;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return pf_error(-errno, "cannot make an eventfd: %s", strerror(errno));
	if (!atomic_compare_exchange_strong(&store->event_fd, &none, fd)) {
		close(fd);
		return none;
	}
	return fd;
}

int pf_store_sync(struct pf_store *store)
{
	return pf_settle(store, atomic_load(&store->ordered_lsn), false, 0);
}
