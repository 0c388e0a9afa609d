/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * build_writer.c - the threads that write what is built, and publish groups.
 *
 * Two write, so that the device always has something to do; a group is published when all that was to be written
 * before is, and others go on meanwhile. Buffers go round: whoever fills them waits when all are with the writers, so
 * the device sets the pace and memory stays bounded. After an error nothing more is written; it is the answer to
 * everything.
 */
#include "store/table/build.h"

#include <signal.h>
#include <stdlib.h>

/* ---- publishing ---- */

int pf_build_headers_write(struct pf_store *store, const struct pf_build_extent *list)
{
	int r = 0;

	for (; r == 0 && list; list = list->next) {
		size_t words = (size_t)list->header.unit_count * (1 + PF_UNIT_WORDS) * sizeof(*list->words);

		r = pf_bulk_write(store, &list->extent, sizeof(list->header), list->words, words);
		if (r == 0)
			r = pf_bulk_write(store, &list->extent, 0, &list->header, sizeof(list->header));
	}
	return r;
}

int pf_build_attach(struct pf_table *table, const struct pf_build_extent *list)
{
	struct pf_ws *ws = &table->ws;
	struct pf_piece *piece;
	int r = 0;

	for (; r == 0 && list; list = list->next) {
		r = PF_RESERVE(ws->pieces, ws->piece_count, ws->piece_capacity);
		if (r == 0)
			r = pf_piece_add(table, &list->extent, &piece);
		if (r < 0)
			return r;
		r = pf_heap_attach(table, piece, &list->header);
		if (r < 0) {
			pf_piece_remove(table, piece);
			return r;
		}
		ws->pieces[ws->piece_count++] = piece;
		ws->header_dirty = true;
		table->header.heap_count++;
		table->header.heap_last = list->extent;
	}
	return r;
}

static int group_flush(struct pf_store *store, const struct pf_build_extent *list)
{
	int r = pf_build_headers_write(store, list);

	for (; r == 0 && list; list = list->next)
		if (!list->next || list->next->extent.file_id != list->extent.file_id)
			r = pf_bulk_flush(store, &list->extent, 1);
	return r;
}

/* Frees the list; of @published ones the table knows the extents. */
void pf_build_extents_free(struct pf_table *table, struct pf_build_extent *list, bool published)
{
	struct pf_build_extent *next;

	for (; list; list = next) {
		next = list->next;
		if (!published)
			pf_extent_free(table->store, &list->extent);
		free(list->words);
		free(list);
	}
}

static int group_publish(struct pf_table *table, struct pf_build_job *job)
{
	pinfold_ticket ticket;
	struct pf_tw tw;
	int r;

	r = group_flush(table->store, job->group);
	if (r == 0)
		r = pf_tw_begin(table->tables, &table, 1, &tw);
	if (r < 0) {
		pf_build_extents_free(table, job->group, false);
		return r;
	}
	r = pf_build_attach(table, job->group);
	table->header.import.mark = job->mark;
	/* a rollback frees the extents that were attached; the others are free when the store is closed */
	if (r < 0)
		pf_tw_abort(&tw);
	else
		r = pf_tw_commit(&tw, &ticket);
	pf_build_extents_free(table, job->group, true);
	return r;
}

/* ---- jobs ---- */

static int job_do(struct pf_build *build, struct pf_build_job *job)
{
	if (!job->buf)
		return group_publish(build->table, job);
	return pf_bulk_write_direct(build->table->store, &job->extent, job->offset, job->buf, job->size);
}

/* Whether the first job can be done now. lock held. */
static bool job_ready(const struct pf_build *build)
{
	return build->jobs && (build->jobs->buf || build->busy == 0);
}

/* lock held; let go inside. */
static void job_run(struct pf_build *build)
{
	struct pf_build_job *job = build->jobs;
	int r = build->error;

	pf_assert(job);
	build->jobs = job->next;
	if (!build->jobs)
		build->jobs_last = &build->jobs;
	build->busy++;
	pthread_mutex_unlock(&build->lock);
	if (r == 0)
		r = job_do(build, job);
	else if (!job->buf)
		pf_build_extents_free(build->table, job->group, false);
	pthread_mutex_lock(&build->lock);
	build->busy--;
	if (r < 0 && build->error == 0) {
		build->error = r;
		strcpy(build->words, pf_error_text());
	}
	if (job->buf && build->pooled < PF_BUILD_BUFFERS)
		build->pool[build->pooled++] = job->buf;
	else
		free(job->buf);
	free(job);
	pthread_cond_broadcast(&build->done);
	if (build->jobs) /* a group may have waited for us */
		pthread_cond_broadcast(&build->wake);
}

static void *writer(void *arg)
{
	struct pf_build *build = arg;

	pthread_mutex_lock(&build->lock);
	while (!build->stop || build->jobs) {
		if (job_ready(build))
			job_run(build);
		else
			pthread_cond_wait(&build->wake, &build->lock);
	}
	pthread_mutex_unlock(&build->lock);
	return NULL;
}

int pf_build_writer_start(struct pf_build *build)
{
	sigset_t all, before;

	pthread_mutex_init(&build->lock, NULL);
	pthread_cond_init(&build->wake, NULL);
	pthread_cond_init(&build->done, NULL);
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (build->thread_count < PF_BUILD_WRITERS &&
	       pthread_create(&build->threads[build->thread_count], NULL, writer, build) == 0)
		build->thread_count++; /* without any, whoever waits writes */
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return 0;
}

void pf_build_writer_stop(struct pf_build *build)
{
	pthread_mutex_lock(&build->lock);
	build->stop = true;
	if (build->error == 0)
		build->error = -ECANCELED; /* what is still to be done is not */
	pthread_cond_broadcast(&build->wake);
	while (build->thread_count == 0 && build->jobs)
		job_run(build);
	pthread_mutex_unlock(&build->lock);
	while (build->thread_count > 0)
		pthread_join(build->threads[--build->thread_count], NULL);
	while (build->pooled > 0)
		free(build->pool[--build->pooled]);
	pthread_cond_destroy(&build->wake);
	pthread_cond_destroy(&build->done);
	pthread_mutex_destroy(&build->lock);
}

void pf_build_writer_fail(struct pf_build *build, int error)
{
	pthread_mutex_lock(&build->lock);
	if (build->error == 0) {
		build->error = error;
		strcpy(build->words, pf_error_text());
	}
	pthread_mutex_unlock(&build->lock);
	(void)pf_build_writer_wait(build);
}

static int failed(const struct pf_build *build)
{
	return build->error < 0 ? pf_error(build->error, "%s", build->words) : 0;
}

/* One job done by somebody. lock held. */
static void progress(struct pf_build *build)
{
	if (build->thread_count > 0)
		pthread_cond_wait(&build->done, &build->lock);
	else
		job_run(build);
}

int pf_build_buffer(struct pf_build *build, uint8_t **ret_buf)
{
	uint8_t *buf = NULL;
	int r;

	pthread_mutex_lock(&build->lock);
	if (build->pooled == 0 && build->made < PF_BUILD_BUFFERS) {
		buf = aligned_alloc(4096, PF_CHUNK_BYTES);
		build->made += buf != NULL;
	}
	while (!buf && build->pooled == 0 && build->error == 0 && (build->jobs || build->busy))
		progress(build);
	if (!buf && build->pooled > 0)
		buf = build->pool[--build->pooled];
	if (!buf && build->error == 0) { /* chunks of many sizes are open: one more than go round */
		buf = aligned_alloc(4096, PF_CHUNK_BYTES);
		if (!buf)
			build->error = pf_error(-ENOMEM, "table %s: no memory for a chunk", build->table->name);
	}
	r = failed(build);
	if (r < 0) {
		free(buf);
		build->made -= buf != NULL;
	} else {
		*ret_buf = buf;
	}
	pthread_mutex_unlock(&build->lock);
	return r;
}

static int enqueue(struct pf_build *build, struct pf_build_job *job)
{
	int r;

	pthread_mutex_lock(&build->lock);
	*build->jobs_last = job;
	build->jobs_last = &job->next;
	pthread_cond_signal(&build->wake);
	r = failed(build);
	pthread_mutex_unlock(&build->lock);
	return r;
}

int pf_build_write(struct pf_build *build, const struct pinfold_extent *extent, uint64_t offset, uint8_t *buf,
		   size_t size)
{
	struct pf_build_job *job = calloc(1, sizeof(*job));

	if (!job) {
		free(buf);
		return pf_error(-ENOMEM, "table %s: no memory", build->table->name);
	}
	*job = (struct pf_build_job){ .extent = *extent, .offset = offset, .buf = buf, .size = size };
	return enqueue(build, job);
}

int pf_build_group_publish(struct pf_build *build)
{
	struct pf_build_job *job = calloc(1, sizeof(*job));

	if (!job)
		return pf_error(-ENOMEM, "table %s: no memory", build->table->name);
	job->group = build->group;
	job->mark = build->mark;
	build->group = build->current = NULL;
	build->group_last = &build->group;
	build->group_bytes = 0;
	for (unsigned class = 1; class < PF_CLASS_COUNT; class++) {
		build->chunk[class].used_before = build->chunk[class].used;
		build->chunk[class].used = 0;
	}
	return enqueue(build, job);
}

int pf_build_writer_wait(struct pf_build *build)
{
	int r;

	pthread_mutex_lock(&build->lock);
	while (build->jobs || build->busy)
		progress(build);
	r = failed(build);
	pthread_mutex_unlock(&build->lock);
	return r;
}
