/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ring.h - an io_uring as it was asked for, as far as this host grants it.
 *
 * What is refused is done without, and is named: a refusal is a fact for a log, never a failure, as long as there
 * is any ring.
 */
#ifndef PF_RING_H
#define PF_RING_H

#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** How completions are waited for. */
enum pf_ring_wait {
	PF_RING_INTERRUPT = 0, /* asleep */
	PF_RING_POLLING,       /* the kernel asks the device until it has them */
	PF_RING_HYBRID,        /* asleep first and then asking, or asking for a moment and then asleep */
};

/** The wish, and after opening what was granted. */
struct pf_ring_options {
	uint32_t sq_entries; /* at least 1; the kernel rounds up to a power of two */
	uint32_t cq_entries; /* 0: twice as many */
	enum pf_ring_wait wait;
	bool sq_polling;     /* a thread of the kernel takes submissions: they cost no system call */
	uint32_t sq_idle_ms; /* how long it looks for more before it sleeps */
};

/** One thread at a time. */
struct pf_ring {
	struct io_uring uring;
	struct pf_ring_options is; /* as granted */
	/*
	 * The device is polled. Every file must be open with O_DIRECT and have no dirty pages (Linux 6.1 never
	 * completes a polled write to such a file), and whoever submits waits at once: what is not asked for does not
	 * complete, and a truncation of the file waits for it.
	 */
	bool iopoll;
	uint32_t spin_us;          /* how long pf_ring_wait_cqe() looks before it sleeps */
};

/**
 * Opens a ring for I/O on files like @direct_fd (open with O_DIRECT and readable at offset 0; -1: there is none).
 * 0 and *ret_ring; *ret_refused, of @size bytes, says what was done without and why, "" if nothing. Or -errno if
 * there is no ring at all (-ENOSYS, -EPERM, -ENOMEM). A wish for polling costs one read of 4 KiB.
 */
int pf_ring_open(const struct pf_ring_options *wish, int direct_fd, struct pf_ring *ret_ring, char *ret_refused,
		 size_t size);
void pf_ring_close(struct pf_ring *ring);

/** Hands over what is queued and waits for a completion, as the ring was opened for. 0 or -errno; not -EINTR. */
int pf_ring_wait_cqe(struct pf_ring *ring, struct io_uring_cqe **ret_cqe);

/** "io_uring, polling, SQ polling": how it works. @buf, of @size bytes. */
const char *pf_ring_describe(const struct pf_ring *ring, char *buf, size_t size);

#endif
