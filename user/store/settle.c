/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * settle.c - waiting for an LSN: to be durable, or applied too. Tickets are LSNs.
 *
 * DESIGN: all sleep on one futex, each with the bit of the group that its LSN is in. So a flush wakes those whose
 * commits it carried, and one of the others, to lead the next.
 */
#include "base/clock.h"
#include "base/error.h"
#include "store/internal.h"

#include <linux/futex.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Longest time that a waiter spins, and how many may. */
#define SPIN_NS_MAX 300000u
#define SPINNERS_MAX 1u

/* Groups take turns with the other bits. */
#define WAITS_APPLIED (1u << 31)

static uint32_t group_bit(uint64_t group)
{
	return 1u << group % 31;
}

static void wake(struct pf_store *store, int count, uint32_t bits)
{
	if (atomic_load(&store->settle_waiters) > 0)
		syscall(SYS_futex, &store->settle_word, FUTEX_WAKE_BITSET_PRIVATE, count, NULL, NULL, bits);
}

static void tell(struct pf_store *store)
{
	const uint64_t one = 1;
	int fd = atomic_load(&store->event_fd);

	if (fd >= 0) {
		ssize_t n = write(fd, &one, sizeof(one));

		(void)n; /* fails only on a full counter, which is readable all the same */
	}
}

void pf_settle_wake(struct pf_store *store)
{
	atomic_fetch_add(&store->settle_word, 1);
	wake(store, INT_MAX, FUTEX_BITSET_MATCH_ANY);
	tell(store);
}

void pf_settle_wake_applied(struct pf_store *store)
{
	atomic_fetch_add(&store->settle_word, 1);
	wake(store, INT_MAX, WAITS_APPLIED);
}

void pf_settle_wake_durable(struct pf_store *store, uint64_t group)
{
	atomic_fetch_add(&store->settle_word, 1);
	wake(store, INT_MAX, group_bit(group));
	if (pf_log_pending(&store->log)) /* it is not durable, so it leads */
		wake(store, 1, ~(group_bit(group) | WAITS_APPLIED));
	tell(store);
}

/* What wakes whoever waits for @lsn. lock held. */
static uint32_t wait_bits(const struct pf_store *store, uint64_t lsn, bool applied)
{
	const struct pf_log *log = &store->log;
	uint64_t group = log->written;

	if (atomic_load(&store->durable_lsn) >= lsn) /* no leader any more: not to be woken for one */
		return WAITS_APPLIED;
	while (group + 1 < log->opened && log->group[group % PF_GROUPS].end_lsn < lsn)
		group++;
	return group_bit(group) | (applied ? WAITS_APPLIED : 0);
}

/*
 * Waits a little for somebody else's flush without sleeping, as being woken takes longer than a flush of a fast device;
 * meanwhile applies what is written. False: it takes too long, or others spin.
 */
static bool spin(struct pf_store *store, const _Atomic uint64_t *target, uint64_t lsn)
{
	uint64_t until = pf_clock_ns() + SPIN_NS_MAX;
	bool reached = false;

	if (atomic_fetch_add(&store->spinners, 1) < SPINNERS_MAX) {
		for (unsigned turns = 1; !reached && !atomic_load(&store->poisoned); turns++) {
			reached = atomic_load_explicit(target, memory_order_acquire) >= lsn;
			__builtin_ia32_pause();
			if (reached || turns % 64)
				continue;
			if (pf_clock_ns() > until)
				break;
			if (pthread_mutex_trylock(&store->lock) != 0)
				continue;
			reached = pf_flush_possible(store) && atomic_load(&store->durable_lsn) < lsn; /* ours to lead */
			pf_apply_all(store);
			pthread_mutex_unlock(&store->lock);
			sched_yield();
		}
	}
	atomic_fetch_sub(&store->spinners, 1);
	return reached;
}

/* One step towards @lsn, if it is ours to do. lock held, let go inside. 1: look again; 0: wait; negative: it is over.
 */
static int settle_step(struct pf_store *store, uint64_t lsn, bool applied)
{
	const bool durable = atomic_load(&store->durable_lsn) >= lsn;

	if (durable && applied && !store->applying && store->log.applied < store->log.written) {
		pf_apply_all(store);
		return 1;
	}
	if (atomic_load(&store->poisoned) && !store->flushing) { /* a group in flight still decides about itself */
		if (!durable)
			return pf_error(-EIO, "%s: not durable: %s", store->dir, store->poison_reason);
		return !applied || store->stuck ? -EALREADY : 0;
	}
	if (durable || !pf_flush_possible(store))
		return 0;
	pf_flush_lead(store, applied);
	return 1;
}

int pf_settle(struct pf_store *store, uint64_t lsn, bool applied, uint64_t deadline_ns)
{
	const _Atomic uint64_t *target = applied ? &store->applied_lsn : &store->durable_lsn;
	int r = 0;

	while (atomic_load_explicit(target, memory_order_acquire) < lsn) {
		uint32_t word = atomic_load(&store->settle_word);
		struct timespec until, *timeout = NULL;
		uint32_t bits;

		pthread_mutex_lock(&store->lock);
		r = settle_step(store, lsn, applied);
		bits = wait_bits(store, lsn, applied);
		pthread_mutex_unlock(&store->lock);
		if (r < 0)
			break;
		if (r > 0)
			continue;
		if (deadline_ns) {
			if (pf_clock_ns() >= deadline_ns) {
				r = pf_error(-ETIMEDOUT, "%s: not durable in time", store->dir);
				break;
			}
			until = pf_clock_timespec(deadline_ns);
			timeout = &until;
		} else if (spin(store, target, lsn)) {
			continue;
		}
		/* whoever moved the word before it saw us made the wait end at once */
		atomic_fetch_add(&store->settle_waiters, 1);
		if (atomic_load_explicit(target, memory_order_acquire) < lsn)
			syscall(SYS_futex, &store->settle_word, FUTEX_WAIT_BITSET_PRIVATE, word, timeout, NULL, bits);
		atomic_fetch_sub(&store->settle_waiters, 1);
	}
	return r == -EALREADY || r > 0 ? 0 : r; /* durable, but what is there cannot be applied: visible all the same */
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
	return pf_settle(store, atomic_load(&store->ordered_lsn), true, 0);
}
