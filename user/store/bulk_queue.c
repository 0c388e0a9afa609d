/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bulk_queue.c - the threads that write what is loaded.
 *
 * Two, so that the device has something to do while one of them comes back. They are threads and not an io_uring:
 * Linux before 6.5 has a ring's writes to one file done one after another, by a thread as well.
 */
#include "store/bulk.h"

#include "store/internal.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Less than this is not worth a wait for the device: the page cache takes it, and the flush writes it. */
#define DIRECT_MIN (64u << 10)

/* -1: there is none. */
static int direct_fd(struct pf_store *store, struct pf_file *file)
{
	int fd = atomic_load(&file->direct_fd), none = -1;

	if (fd != -1)
		return fd >= 0 ? fd : -1;
	fd = pf_io_open(store->dirfd, file->name, O_WRONLY | O_DIRECT, 0);
	if (!atomic_compare_exchange_strong(&file->direct_fd, &none, fd >= 0 ? fd : -2)) { /* somebody was faster */
		if (fd >= 0)
			close(fd);
		return none >= 0 ? none : -1;
	}
	return fd >= 0 ? fd : -1;
}

static int write_part(struct pf_store *store, const struct pf_file *file, int fd, uint64_t at, const uint8_t *data,
		      size_t size)
{
	ssize_t n = size > 0 ? pf_io_pwrite(fd, data, size, at) : 0;

	if (n < 0 || (size_t)n < size)
		return pf_error(n < 0 ? (int)n : -EIO, "%s/%s: offset %llu: wrote %zd of %zu bytes", store->dir,
				file->name, (unsigned long long)at, n, size);
	return 0;
}

/* Whole blocks go past the page cache; parts of blocks at either end through it, as what is beside them may. */
static int job_write(struct pf_store *store, const struct pf_bulk_job *job)
{
	struct pf_file *file = job->to->file;
	uint64_t at = job->to->extent.offset + job->at;
	const uint8_t *data = job->data;
	size_t size = job->size, head = (size_t)(-at % PF_BLOCK_SIZE), whole;
	int r, fd = -1;

	if (size >= DIRECT_MIN && ((uintptr_t)data + head) % PF_BLOCK_SIZE == 0)
		fd = direct_fd(store, file);
	if (fd < 0)
		return write_part(store, file, file->fd, at, data, size);
	whole = (size - head) & ~(size_t)(PF_BLOCK_SIZE - 1);
	r = write_part(store, file, file->fd, at, data, head);
	if (r < 0)
		return r;
	r = write_part(store, file, fd, at + head, data + head, whole);
	if (r == -EINVAL) /* nothing was begun: the device's blocks may be larger than ours */
		r = write_part(store, file, file->fd, at + head, data + head, whole);
	if (r < 0)
		return r;
	return write_part(store, file, file->fd, at + head + whole, data + head + whole, size - head - whole);
}

static void job_unlink(struct pf_bulk_job *job)
{
	struct pf_bulk_job **at = &job->to->jobs;

	while (*at != job)
		at = &(*at)->sibling;
	*at = job->sibling;
}

/* lock held; let go inside. There is one. */
static void job_run(struct pf_bulk *bulk)
{
	struct pf_bulk_job *job = bulk->first;
	struct pf_bulk_extent *to = job->to;
	int r = to->error < 0 ? pf_error(to->error, "%s", to->words) : 0;

	bulk->first = job->next;
	if (!bulk->first)
		bulk->last = &bulk->first;
	bulk->busy++;
	pthread_mutex_unlock(&bulk->lock);
	if (r == 0)
		r = job_write(bulk->store, job);
	if (job->done)
		job->done(job->ctx, (void *)(uintptr_t)job->data, r);
	pthread_mutex_lock(&bulk->lock);
	bulk->busy--;
	if (r < 0 && to->error == 0) {
		to->error = r;
		strcpy(to->words, pf_error_text());
	}
	job_unlink(job);
	if (job->stage) {
		job->next = bulk->idle;
		bulk->idle = job;
	} else {
		free(job);
	}
	pf_bulk_leave(bulk, to);
	pthread_cond_broadcast(&bulk->done);
}

static void *writer(void *arg)
{
	struct pf_bulk *bulk = arg;

	pthread_mutex_lock(&bulk->lock);
	while (!bulk->stop) {
		if (bulk->first)
			job_run(bulk);
		else
			pthread_cond_wait(&bulk->wake, &bulk->lock);
	}
	pthread_mutex_unlock(&bulk->lock);
	return NULL;
}

/* Without any, whoever waits writes. */
static void threads_start(struct pf_bulk *bulk)
{
	sigset_t all, before;

	bulk->started = true;
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (bulk->thread_count < PF_BULK_WRITERS &&
	       pthread_create(&bulk->threads[bulk->thread_count], NULL, writer, bulk) == 0)
		pthread_setname_np(bulk->threads[bulk->thread_count++], "pinfold-bulk");
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void pf_bulk_queue(struct pf_bulk *bulk, struct pf_bulk_job *job)
{
	if (!bulk->started)
		threads_start(bulk);
	job->to->waiting++;
	job->sibling = job->to->jobs;
	job->to->jobs = job;
	job->next = NULL;
	*bulk->last = job;
	bulk->last = &job->next;
	pthread_cond_signal(&bulk->wake);
}

void pf_bulk_progress(struct pf_bulk *bulk)
{
	if (bulk->thread_count == 0 && bulk->first)
		job_run(bulk);
	else
		pthread_cond_wait(&bulk->done, &bulk->lock);
}

void pf_bulk_queue_stop(struct pf_bulk *bulk)
{
	bulk->stop = true;
	pthread_cond_broadcast(&bulk->wake);
	pthread_mutex_unlock(&bulk->lock);
	while (bulk->thread_count > 0)
		pthread_join(bulk->threads[--bulk->thread_count], NULL);
	pthread_mutex_lock(&bulk->lock);
}
