/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ring.c - opening an io_uring by trial, wish by wish.
 *
 * DESIGN
 *   Whether a wish can be had depends on the kernel (flags that it does not know), on the filesystem (no polled
 *   I/O) and on the device (no polling queue), so nothing is looked up that can be tried: the ring is set up with
 *   all wishes, then with one less; a ring that is to poll reads one block before it is believed.
 *
 *  1. A ring that polls (IORING_SETUP_IOPOLL) was seen to complete a read of the caller's file.
 *  2. Where the kernel cannot sleep and then poll, hybrid is kept as far as it goes: the waiter looks at the completion
 *     queue for SPIN_US and then sleeps, which needs nothing of kernel or device. That is a refusal, and named as one.
 */
#include "base/ring.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* Linux 6.13 */
#ifndef IORING_SETUP_HYBRID_IOPOLL
#define IORING_SETUP_HYBRID_IOPOLL (1U << 17)
#endif

#define BLOCK 4096
/* About one flush of a fast device; what sleeping and waking cost is a tenth of it. */
#define SPIN_US 50

static void refuse(char *refused, size_t size, const char *what, const char *why)
{
	size_t used = strlen(refused);

	snprintf(refused + used, size - used, "%s%s: %s", used ? "; " : "", what, why);
}

static int setup(const struct pf_ring_options *wish, uint32_t flags, struct io_uring *ret_uring)
{
	struct io_uring_params params = {
		.flags = flags | IORING_SETUP_CLAMP,
		.sq_thread_idle = wish->sq_idle_ms,
	};

	/* who waits in the kernel finds completions there, and needs no interrupt to tell it */
	if (wish->wait == PF_RING_INTERRUPT && !(flags & IORING_SETUP_SQPOLL))
		params.flags |= IORING_SETUP_COOP_TASKRUN;
	if (wish->cq_entries) {
		params.flags |= IORING_SETUP_CQSIZE;
		params.cq_entries = wish->cq_entries < wish->sq_entries ? wish->sq_entries : wish->cq_entries;
	}
	return io_uring_queue_init_params(wish->sq_entries, ret_uring, &params);
}

/* Why the device behind @fd cannot be polled; NULL if it can, or if that cannot be told before trying. */
static const char *device_refuses(int fd)
{
	char path[96], answer = '1';
	struct stat st;
	FILE *file;

	if (fstat(fd, &st) != 0 || major(st.st_dev) == 0)
		return NULL;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/queue/io_poll", major(st.st_dev), minor(st.st_dev));
	file = fopen(path, "re");
	if (!file) { /* a partition has no queue of its own */
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../queue/io_poll", major(st.st_dev),
			 minor(st.st_dev));
		file = fopen(path, "re");
	}
	if (file) {
		if (fread(&answer, 1, 1, file) != 1)
			answer = '1';
		fclose(file);
	}
	return answer == '0' ? "the device has no queue to poll (its queue/io_poll is 0)" : NULL;
}

/* One polled read. 0 or what it failed with. */
static int try_read(struct io_uring *uring, int fd)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(uring);
	struct io_uring_cqe *cqe = NULL;
	void *block = NULL;
	int r;

	if (!sqe || posix_memalign(&block, BLOCK, BLOCK) != 0)
		return -ENOMEM;
	io_uring_prep_read(sqe, fd, block, BLOCK, 0);
	r = io_uring_submit(uring);
	if (r == 1)
		do
			r = io_uring_wait_cqe(uring, &cqe);
		while (r == -EINTR);
	if (r == 0) {
		r = cqe->res < 0 ? cqe->res : 0;
		io_uring_cqe_seen(uring, cqe);
	}
	free(block);
	return r < 0 ? r : 0;
}

/* A ring that polls the device behind @fd. 0, or -errno and *ret_why. */
static int open_polled(const struct pf_ring_options *wish, uint32_t flags, int fd, struct io_uring *ret_uring,
		       const char **ret_why)
{
	int r;

	*ret_why = fd < 0 ? "the files are not open with O_DIRECT" : device_refuses(fd);
	if (*ret_why)
		return -EOPNOTSUPP;
	r = setup(wish, flags | IORING_SETUP_IOPOLL, ret_uring);
	if (r == 0) {
		r = try_read(ret_uring, fd);
		if (r < 0)
			io_uring_queue_exit(ret_uring);
	}
	if (r < 0)
		*ret_why = strerror(-r);
	return r;
}

/* The ring without looking at sq_polling: @flags say it. */
static int open_waiting(const struct pf_ring_options *wish, uint32_t flags, int fd, struct pf_ring *ring, char *refused,
			size_t size)
{
	const char *why = "";
	int r;

	if (wish->wait == PF_RING_HYBRID) {
		r = open_polled(wish, flags | IORING_SETUP_HYBRID_IOPOLL, fd, &ring->uring, &why);
		ring->is.wait = PF_RING_HYBRID;
		ring->iopoll = r == 0;
		if (r == 0)
			return 0;
		if (r == -EINVAL)
			why = "this kernel has none (Linux 6.13 has)";
		ring->spin_us = SPIN_US;
	} else if (wish->wait == PF_RING_POLLING) {
		r = open_polled(wish, flags, fd, &ring->uring, &why);
		ring->iopoll = r == 0;
		if (r == 0)
			return 0;
		ring->is.wait = PF_RING_INTERRUPT;
	}
	r = setup(wish, flags, &ring->uring);
	/* one that cannot be had at all is no refusal of polling, and refusals without a ring are of no use */
	if (r == 0 && wish->wait != PF_RING_INTERRUPT)
		refuse(refused, size, wish->wait == PF_RING_HYBRID ? "hybrid polling by the kernel" : "polling", why);
	return r;
}

int pf_ring_open(const struct pf_ring_options *wish, int direct_fd, struct pf_ring *ret_ring, char *ret_refused,
		 size_t size)
{
	struct pf_ring ring = { .is = *wish };
	int r = -EINVAL, refused = 0;

	ret_refused[0] = '\0';
	if (wish->sq_polling) {
		r = open_waiting(wish, IORING_SETUP_SQPOLL, direct_fd, &ring, ret_refused, size);
		refused = r;
	}
	if (r < 0) {
		ring = (struct pf_ring){ .is = *wish };
		ret_refused[0] = '\0';
		r = open_waiting(wish, 0, direct_fd, &ring, ret_refused, size);
		ring.is.sq_polling = false;
	}
	if (r < 0)
		return r;
	if (refused < 0)
		refuse(ret_refused, size, "SQ polling", strerror(-refused));
	ring.is.sq_entries = ring.uring.sq.ring_entries;
	ring.is.cq_entries = ring.uring.cq.ring_entries;
	*ret_ring = ring;
	return 0;
}

void pf_ring_close(struct pf_ring *ring)
{
	io_uring_queue_exit(&ring->uring);
}

int pf_ring_wait_cqe(struct pf_ring *ring, struct io_uring_cqe **ret_cqe)
{
	uint64_t until;
	int r;

	if (!ring->spin_us || ring->iopoll) {
		do /* one call for both, unless a signal comes between */
			r = io_uring_submit_and_wait(&ring->uring, 1);
		while (r == -EINTR);
		if (r < 0)
			return r;
	} else {
		do
			r = io_uring_submit(&ring->uring);
		while (r == -EINTR);
		if (r < 0)
			return r;
		until = pf_clock_ns() + ring->spin_us * 1000ull;
		do {
			if (io_uring_peek_cqe(&ring->uring, ret_cqe) == 0)
				return 0;
			__builtin_ia32_pause();
		} while (pf_clock_ns() < until);
	}
	do
		r = io_uring_wait_cqe(&ring->uring, ret_cqe);
	while (r == -EINTR);
	return r;
}

const char *pf_ring_describe(const struct pf_ring *ring, char *buf, size_t size)
{
	static const char *const waits[] = {
		[PF_RING_INTERRUPT] = "interrupt",
		[PF_RING_POLLING] = "polling",
		[PF_RING_HYBRID] = "hybrid",
	};

	snprintf(buf, size, "io_uring, %s%s%s", waits[ring->is.wait],
		 ring->is.wait != PF_RING_HYBRID ? ""
		 : ring->iopoll                  ? " in the kernel"
						 : " by the waiter",
		 ring->is.sq_polling ? ", SQ polling" : "");
	return buf;
}
