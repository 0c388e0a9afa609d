/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * flush.c - group commit: who writes the journal, who applies.
 *
 * DESIGN: there is no writer thread in the way of a commit. Whoever waits and finds nobody
 * flushing leads: takes the oldest group of the log, which is usually all that is pending, writes it from where it
 * stands, flushes, wakes the others, whose commits it carried, and applies. A lone committer so pays no
 * thread switch at all. The flusher thread leads for those who do not wait.
 *
 *  1. One leader at a time (flushing); the next group is written only after the last one is
 *     durable. Recovery relies on it: a sound group behind an unsound one is damage.
 *  2. The room that a group takes in the journal was found free when its transactions were ordered (log.c).
 *  3. Applying follows in LSN order by one thread (applying), while the next group may
 *     already be written. What is applied leaves the overlay when applied_lsn moves.
 *  4. A group that is larger than the superblock admits, which only a single large transaction makes, is written
 *     after the superblock admits it: recovery looks no further for what follows a damaged one.
 *  5. After a failed write or flush nothing is written any more: visible_lsn falls back to durable_lsn, so the group
 * and all behind it are gone for readers, and their waiters get -EIO.
 */
#include "base/clock.h"
#include "base/error.h"
#include "base/words.h"
#include "store/internal.h"
#include "store/record.h"

#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

/* Longest wait for those whom the last group acknowledged. */
#define GATHER_NS_MAX 30000u
/* In sync mode, a commit that nobody waits for is flushed after this time, at the next millisecond. */
#define LONELY_NS 200000u
/* Milliseconds without work after which the flusher sleeps until it is woken. */
#define QUIET_TURNS 20u
/* How much less of a processor the threads get than whoever submits, where nobody waits for them: who is too fast for
 * them is told to pause (log.c) and is not kept from its processor. */
#define LESS_NICE 5
#define NICE_MAX 19
/* Of whoever is patient. Kernels before 6.12 have slices of one length. */
#define SLICE_NS 500000u
/* Longest write: the count of an io_uring request is an int. */
#define WRITE_MAX (1u << 30)

/* ---- poison ---- */

/* What is not durable will never be: readers see it no more. lock held; nobody is flushing. */
static void lose_pending(struct pf_store *store)
{
	atomic_store(&store->visible_lsn, atomic_load(&store->durable_lsn));
	store->log.pending_bytes = 0;
	store->log.pending_txns = 0;
}

static void poison(struct pf_store *store, const char *format, va_list args)
{
	if (atomic_load(&store->poisoned))
		return;
	vsnprintf(store->poison_reason, sizeof(store->poison_reason), format, args);
	atomic_store(&store->poisoned, true);
	if (!store->flushing) /* else the group in flight still decides about itself */
		lose_pending(store);
	pthread_cond_broadcast(&store->flusher_wake);
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

/* One write within a segment, durable when it returns. */
static int write_piece(struct pf_store *store, uint32_t index, const uint8_t *data, size_t size, uint64_t offset)
{
	int fd = store->segments[index].fd, r = 0;
	ssize_t n;

	if (store->ring) {
		pf_io_ring_in_person(store->ring, store->in_person);
		n = pf_io_ring_write_flush(store->ring, fd, data, size, offset);
	} else {
		n = pf_io_pwrite(fd, data, size, offset);
		if (n == (ssize_t)size)
			r = pf_io_fdatasync(fd);
	}
	if (n == (ssize_t)size && r == 0)
		return 0;
	pf_poison(store, "journal/%08u.%06u: offset %llu: %s %zu bytes: %s", store->super.journal_generation, index,
		  (unsigned long long)offset, r < 0 ? "cannot flush" : "cannot write", size,
		  r < 0 ? strerror(-r) : n < 0 ? strerror((int)-n) : "short write");
	return -EIO;
}

/* Heads the group, fills its last block with zeros, and writes it out segment by segment. */
static int write_group(struct pf_store *store, const struct pf_group *group)
{
	uint8_t *data = store->log.data + group->start;
	uint64_t size = pf_group_size(group->bytes), pos = group->pos,
		 end = sizeof(struct pf_group_header) + group->bytes;
	struct pf_group_header header = {
		.pos = pos,
		.number = group->number,
		.first_lsn = group->end_lsn - group->bytes,
		.length = group->bytes,
		.epoch = store->super.epoch,
	};

	memcpy(header.magic, PF_GROUP_MAGIC, sizeof(header.magic));
	memcpy(header.uuid, store->super.uuid, sizeof(header.uuid));
	pf_group_seal(&header);
	pf_words_store(data, &header, sizeof(header));
	pf_words_zero(data + end, size - end);
	while (size > 0) {
		uint64_t offset, room;
		uint32_t index = pf_journal_locate(store, pos, &offset, &room);
		size_t step = size < room ? size : room;
		int r;

		if (step > WRITE_MAX)
			step = WRITE_MAX;
		r = write_piece(store, index, data, step, offset);
		if (r < 0)
			return r;
		data += step;
		pos += step;
		size -= step;
	}
	return 0;
}

/* ---- applying ---- */

/* lock held on entry and exit. Whoever finds no applier becomes it. */
void pf_apply_all(struct pf_store *store)
{
	struct pf_log *log = &store->log;

	if (store->applying)
		return;
	store->applying = true;
	while (log->applied < log->written) {
		const struct pf_group *group = &log->group[log->applied % PF_GROUPS];
		int r;

		pthread_mutex_unlock(&store->lock);
		r = pf_apply_group(store, group);
		pthread_mutex_lock(&store->lock);
		if (r < 0) { /* it stays in the overlay until close */
			store->stuck = true;
			pf_settle_wake_applied(store);
			return; /* applying stays true: nobody goes on */
		}
		store->applied_point = (struct pf_log_point){ .lsn = group->end_lsn,
							      .pos = group->pos + pf_group_size(group->bytes),
							      .number = group->number + 1 };
		atomic_store(&store->applied_lsn, group->end_lsn);
		pf_log_applied(store);
		atomic_store_explicit(&store->pages->applied, (uint32_t)log->applied, memory_order_release);
		pf_settle_wake_applied(store);
	}
	store->applying = false;
}

/* ---- leading ---- */

bool pf_flush_possible(const struct pf_store *store)
{
	return !store->flushing && pf_log_pending(&store->log) && !atomic_load(&store->poisoned);
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

/* @group is durable. lock held. */
static void group_written(struct pf_store *store, const struct pf_group *group)
{
	store->log.written++;
	atomic_store(&store->durable_lsn, group->end_lsn);
	store->flush_count++;
	store->in_flight = group->txn_count + atomic_load_explicit(&store->log.pending_txns, memory_order_relaxed);
	if (store->head_pos - store->start_pos > store->capacity / 2 && !store->checkpoint_wanted) {
		store->checkpoint_wanted = true;
		pthread_cond_signal(&store->checkpointer_wake);
	}
}

/*
 * Those whom the last group acknowledged come back together: a moment's wait for as many as were in flight at its end,
 * in it or behind it, makes the next one as large as all of them. Without it, two committers would take turns, each
 * waiting for the other's flush. Only where they wait for the flush. lock held, let go inside; flushing is set.
 */
static void gather(struct pf_store *store)
{
	const uint64_t patience = store->flush_ns / 4 < GATHER_NS_MAX ? store->flush_ns / 4 : GATHER_NS_MAX;
	const uint32_t expected = store->in_flight;
	uint64_t until;

	if (store->config.sync != PINFOLD_SYNC_SYNC ||
	    atomic_load_explicit(&store->log.pending_txns, memory_order_relaxed) >= expected)
		return;
	pthread_mutex_unlock(&store->lock);
	until = pf_clock_ns() + patience;
	while (atomic_load_explicit(&store->log.pending_txns, memory_order_relaxed) < expected && pf_clock_ns() < until)
		sched_yield(); /* who comes back may be waiting for a processor */
	pthread_mutex_lock(&store->lock);
}

/*
 * A ring has the flush done by a worker of the kernel. That is one sleep less of the leader, but another thread that
 * has to be woken: a twentieth of a commit's time or more for who is alone. And where all processors are busy the
 * worker waits for one, for milliseconds. lock held.
 */
static bool waits_in_person(const struct pf_store *store, const struct pf_group *group)
{
	const bool alone = group->txn_count == 1 && store->in_flight <= 1;

	return alone || group->txn_count > store->processors;
}

void pf_flush_lead(struct pf_store *store, bool apply)
{
	const struct pf_group *group;
	uint64_t begin;
	int r = 0;

	store->flushing = true;
	gather(store);
	if (atomic_load(&store->poisoned)) {
		store->flushing = false;
		lose_pending(store);
		pf_settle_wake(store);
		return;
	}
	group = pf_log_take(store);
	store->in_person = waits_in_person(store, group);
	if (pf_group_size(group->bytes) > store->group_max)
		r = admit_largest(store);
	pthread_mutex_unlock(&store->lock);
	begin = pf_clock_ns();
	if (r == 0)
		r = write_group(store, group);
	begin = pf_clock_ns() - begin;
	pthread_mutex_lock(&store->lock);
	store->flush_ns += (begin >> 3) - (store->flush_ns >> 3);
	store->flushing = false;
	if (r == 0)
		group_written(store, group);
	if (atomic_load(&store->poisoned)) { /* by us, or while we wrote */
		lose_pending(store);
		pf_settle_wake(store);
	} else {
		pf_settle_wake_durable(store, store->log.written - 1);
	}
	if (apply)
		pf_apply_all(store);
	else if (store->flusher_sleeps && store->log.applied < store->log.written)
		pthread_cond_signal(&store->flusher_wake);
}

/* ---- the flusher ---- */

/* When the flusher should lead: 0 now, UINT64_MAX not until it is woken. lock held. */
static uint64_t flush_time(const struct pf_store *store)
{
	if (!pf_flush_possible(store))
		return UINT64_MAX;
	switch (store->config.sync) {
	case PINFOLD_SYNC_SYNC: /* who waits leads; whoever only listens is served at once, others soon */
		return atomic_load(&store->event_fd) >= 0 ? 0 : store->oldest_ns + LONELY_NS;
	case PINFOLD_SYNC_ASYNC: /* half of the interval to gather, half for the device */
		if (store->log.pending_bytes >= PF_ASYNC_BATCH)
			return 0;
		return store->oldest_ns + store->config.flush_interval_ms * PF_NS_PER_MS / 2;
	case PINFOLD_SYNC_NONE:
		return store->log.pending_bytes >= store->pending_max / 2 ? 0 : UINT64_MAX;
	}
	return 0;
}

/*
 * Where nobody waits for them the threads take no processor from those who submit, while another is idle or until the
 * next tick: what they do per group would stand in the way of some tens of submissions. One that was started among
 * real-time threads stays what it is. What one of them has to catch up with when it gets a processor is some slices of
 * its own, or a tick if that is more, and whoever submits waits as long: so slices are short.
 */
static void be_patient(const struct pf_store *store)
{
	struct { /* as the kernel knows it: libraries name it only since lately */
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} attr = { .size = sizeof(attr), .policy = SCHED_BATCH, .runtime = SLICE_NS };
	struct sched_param param;
	int policy;

	if (store->config.sync == PINFOLD_SYNC_SYNC || pthread_getschedparam(pthread_self(), &policy, &param) != 0 ||
	    policy != SCHED_OTHER)
		return;
	attr.nice = getpriority(PRIO_PROCESS, 0) + LESS_NICE;
	if (attr.nice > NICE_MAX)
		attr.nice = NICE_MAX;
	syscall(SYS_sched_setattr, 0, &attr, 0u); /* without, it is only less patient */
}

static void *flusher(void *arg)
{
	struct pf_store *store = arg;

	unsigned quiet = 0;

	be_patient(store);
	pthread_mutex_lock(&store->lock);
	while (!store->stop) {
		uint64_t when = flush_time(store);

		if (store->log.applied < store->log.written && !store->applying) {
			pf_apply_all(store); /* who led did not */
			quiet = 0;
			continue;
		}
		if (when != UINT64_MAX && (when == 0 || pf_clock_ns() >= when)) {
			pf_flush_lead(store, true);
		} else if (when == UINT64_MAX && (store->config.sync != PINFOLD_SYNC_SYNC || quiet++ > QUIET_TURNS)) {
			store->flusher_sleeps = true;
			pthread_cond_wait(&store->flusher_wake, &store->lock);
			store->flusher_sleeps = false;
			quiet = 0;
		} else if (when == UINT64_MAX) { /* looks again by itself: nobody need wake it at each commit */
			struct timespec until = pf_clock_timespec(pf_clock_ns() + PF_NS_PER_MS);

			pthread_cond_timedwait(&store->flusher_wake, &store->lock, &until);
		} else {
			quiet = 0;
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

	be_patient(store);
	if (store->config.sync != PINFOLD_SYNC_SYNC)
		pf_log_fault_in(store);
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

	store->processors = (uint32_t)get_nprocs();
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
