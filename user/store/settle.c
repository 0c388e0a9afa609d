/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * settle.c - waiting for an LSN: to be durable, or applied too. Tickets are LSNs.
 */
#include "base/clock.h"
#include "base/error.h"
#include "store/internal.h"

#include <linux/futex.h>
#include <limits.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

void pf_settle_wake(struct pf_store *store, bool event)
{
	const uint64_t one = 1;
	int fd = atomic_load(&store->event_fd);

	atomic_fetch_add(&store->settle_word, 1);
	if (atomic_load(&store->settle_waiters) > 0)
		syscall(SYS_futex, &store->settle_word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
	if (event && fd >= 0) {
		ssize_t n = write(fd, &one, sizeof(one));

		(void)n; /* fails only on a full counter, which is readable all the same */
	}
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
