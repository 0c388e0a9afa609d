/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * build_writer.c - chunks to the store's writers, and the thread that publishes groups.
 *
 * A group is published when its extents are durable; others are filled and written meanwhile. Buffers go round:
 * whoever fills them waits when all are with the writers, so the device sets the pace and memory stays bounded. After
 * an error nothing more is published; it is the answer to everything.
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

/* All of them at once: what of one is not in its file when that is flushed, no later flush makes durable. */
static int group_flush(struct pf_store *store, const struct pf_build_extent *list)
{
	struct pinfold_extent *all;
	size_t count = 0;
	int r = pf_build_headers_write(store, list);

	if (r < 0)
		return r;
	for (const struct pf_build_extent *at = list; at; at = at->next)
		count++;
	all = calloc(count + 1, sizeof(*all));
	if (!all)
		return pf_error(-ENOMEM, "no memory for a group of %zu extents", count);
	count = 0;
	for (; list; list = list->next)
		all[count++] = list->extent;
	r = pf_bulk_flush(store, all, count);
	free(all);
	return r;
}

/* Frees the list; of @published ones the table knows the extents. */
void pf_build_extents_free(struct pf_table *table, struct pf_build_extent *list, bool published)
{
	struct pf_build_extent *next;

	for (; list; list = next) {
		next = list->next;
		if (!published)
			pf_extent_back_out(table->store, &list->extent);
		free(list->words);
		free(list);
	}
}

static int group_publish(struct pf_table *table, struct pf_build_group *group)
{
	pinfold_ticket ticket;
	struct pf_tw tw;
	int r;

	r = group_flush(table->store, group->list);
	if (r == 0)
		r = pf_tw_begin(table->tables, &table, 1, &tw);
	if (r < 0) {
		pf_build_extents_free(table, group->list, false);
		return r;
	}
	r = pf_build_attach(table, group->list);
	table->header.import.mark = group->mark;
	/* a rollback frees the extents that were attached; the others are free when the store is closed */
	if (r < 0)
		pf_tw_abort(&tw);
	else
		r = pf_tw_commit(&tw, &ticket);
	pf_build_extents_free(table, group->list, true);
	return r;
}

/* ---- the publisher ---- */

static void error_note(struct pf_build *build, int error)
{
	if (build->error == 0) {
		build->error = error;
		strcpy(build->words, pf_error_text());
	}
}

/* Publishes the first group. lock held; let go inside. */
static void group_run(struct pf_build *build)
{
	struct pf_build_group *group = build->groups;
	int r = build->error;

	pf_assert(group);
	build->groups = group->next;
	if (!build->groups)
		build->groups_last = &build->groups;
	build->publishing = true;
	pthread_mutex_unlock(&build->lock);
	if (r == 0)
		r = group_publish(build->table, group);
	else
		pf_build_extents_free(build->table, group->list, false);
	free(group);
	pthread_mutex_lock(&build->lock);
	build->publishing = false;
	if (r < 0)
		error_note(build, r);
	pthread_cond_broadcast(&build->done);
}

static void *publisher(void *arg)
{
	struct pf_build *build = arg;

	pthread_mutex_lock(&build->lock);
	while (!build->stop || build->groups) {
		if (build->groups)
			group_run(build);
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
	build->publisher_runs = pthread_create(&build->publisher, NULL, publisher, build) == 0;
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
	while (!build->publisher_runs && build->groups)
		group_run(build);
	while (build->writing > 0)
		pthread_cond_wait(&build->done, &build->lock);
	pthread_mutex_unlock(&build->lock);
	if (build->publisher_runs)
		pthread_join(build->publisher, NULL);
	while (build->pooled > 0)
		free(build->pool[--build->pooled]);
	pthread_cond_destroy(&build->wake);
	pthread_cond_destroy(&build->done);
	pthread_mutex_destroy(&build->lock);
}

void pf_build_writer_fail(struct pf_build *build, int error)
{
	pthread_mutex_lock(&build->lock);
	error_note(build, error);
	pthread_mutex_unlock(&build->lock);
	(void)pf_build_writer_wait(build);
}

static int failed(const struct pf_build *build)
{
	return build->error < 0 ? pf_error(build->error, "%s", build->words) : 0;
}

/* Something is done by somebody. lock held. */
static void progress(struct pf_build *build)
{
	if (build->publisher_runs || !build->groups)
		pthread_cond_wait(&build->done, &build->lock);
	else
		group_run(build);
}

static bool under_way(const struct pf_build *build)
{
	return build->groups || build->publishing || build->writing > 0;
}

/* ---- chunks ---- */

/* lock held. */
static void buffer_put(struct pf_build *build, uint8_t *buf)
{
	if (build->pooled < PF_BUILD_BUFFERS)
		build->pool[build->pooled++] = buf;
	else
		free(buf);
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
	while (!buf && build->pooled == 0 && build->error == 0 && under_way(build))
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

static void chunk_written(void *ctx, void *buf, int r)
{
	struct pf_build *build = ctx;

	pthread_mutex_lock(&build->lock);
	build->writing--;
	buffer_put(build, buf);
	if (r < 0)
		error_note(build, r);
	pthread_cond_broadcast(&build->done);
	pthread_mutex_unlock(&build->lock);
}

int pf_build_write(struct pf_build *build, const struct pinfold_extent *extent, uint64_t offset, uint8_t *buf,
		   size_t size)
{
	int r;

	pthread_mutex_lock(&build->lock);
	r = failed(build);
	if (r < 0)
		buffer_put(build, buf);
	else
		build->writing++;
	pthread_mutex_unlock(&build->lock);
	if (r < 0)
		return r;
	r = pf_bulk_hand_over(build->table->store, extent, offset, buf, size, chunk_written, build);
	if (r < 0)
		chunk_written(build, buf, r);
	return r;
}

int pf_build_group_publish(struct pf_build *build)
{
	struct pf_build_group *group = calloc(1, sizeof(*group));
	int r;

	if (!group)
		return pf_error(-ENOMEM, "table %s: no memory", build->table->name);
	group->list = build->group;
	group->mark = build->mark;
	build->group = build->current = NULL;
	build->group_last = &build->group;
	build->group_bytes = 0;
	for (unsigned class = 1; class < PF_CLASS_COUNT; class++) {
		build->chunk[class].used_before = build->chunk[class].used;
		build->chunk[class].used = 0;
	}
	pthread_mutex_lock(&build->lock);
	*build->groups_last = group;
	build->groups_last = &group->next;
	pthread_cond_signal(&build->wake);
	r = failed(build);
	pthread_mutex_unlock(&build->lock);
	return r;
}

int pf_build_writer_wait(struct pf_build *build)
{
	int r;

	pthread_mutex_lock(&build->lock);
	while (under_way(build))
		progress(build);
	r = failed(build);
	pthread_mutex_unlock(&build->lock);
	return r;
}
