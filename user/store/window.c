/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * window.c - reading the journal ahead of whoever replays it.
 *
 * DESIGN: a ring of memory that is mapped twice in a row, so that any part of the journal that fits into
 * it has one address. Two threads fill it with direct reads of 4 MiB, so the device always has a
 * request, while the caller works on what is there. Should they not start, the caller reads for itself.
 *
 *  1. Memory holds positions [begin, begin + ring_size) at most; nothing below begin is read or looked at.
 *  2. How far is read ahead grows with what was used: a short journal costs a short read.
 *  3. A read that fails counts only when its bytes are asked for: behind the journal's end nobody needs them.
 */
#include "store/window.h"

#include "base/error.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHUNK (4ull << 20)
#define RING_MIN (128ull << 20)
#define AHEAD_MIN (1ull << 20)
#define READERS 2

struct flight {
	struct pf_window *window;
	pthread_t thread;
	uint64_t pos; /* of the read under way, else UINT64_MAX */
};

struct pf_window {
	struct pf_store *store;
	uint8_t *ring;
	uint64_t ring_size;
	uint64_t start, end; /* positions that may be read */
	unsigned readers;

	pthread_mutex_t lock;
	pthread_cond_t room, arrived;
	uint64_t begin, want; /* what the caller looks at: [begin, want) */
	uint64_t next;        /* behind what was read or is being read */
	struct flight flight[READERS];
	bool stop;
	int error;
	uint64_t error_pos; /* of the first read that failed, else UINT64_MAX */
	char words[PF_ERROR_MAX];
};

static int ring_map(uint64_t size, uint8_t **ret_ring)
{
	int fd = memfd_create("pinfold-journal", MFD_CLOEXEC), r = 0;
	uint8_t *ring = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, (off_t)size) == 0)
		ring = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	for (int i = 0; i < 2 && ring != MAP_FAILED; i++)
		if (mmap(ring + i * size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
			munmap(ring, 2 * size);
			ring = MAP_FAILED;
		}
	if (ring == MAP_FAILED)
		r = pf_error(-ENOMEM, "no memory to read %llu bytes of journal", (unsigned long long)size);
	else
		*ret_ring = ring;
	if (fd >= 0)
		close(fd);
	return r;
}

/* lock held, as for all below that say nothing else. */
static uint64_t ready(const struct pf_window *w)
{
	uint64_t at = w->next < w->error_pos ? w->next : w->error_pos;

	for (unsigned i = 0; i < READERS; i++)
		at = w->flight[i].pos < at ? w->flight[i].pos : at;
	return at;
}

static bool idle(const struct pf_window *w)
{
	for (unsigned i = 0; i < READERS; i++)
		if (w->flight[i].pos != UINT64_MAX)
			return false;
	return true;
}

/* Size of the next read, 0 if there is none to make now. */
static uint64_t next_size(const struct pf_window *w)
{
	uint64_t ahead = 2 * (w->begin - w->start) + AHEAD_MIN, limit, size;

	if (ahead > w->ring_size)
		ahead = w->ring_size;
	limit = w->begin + ahead > w->want ? w->begin + ahead : w->want;
	if (limit > w->end)
		limit = w->end;
	if (w->error || w->next >= limit)
		return 0;
	size = limit - w->next < CHUNK ? limit - w->next : CHUNK;
	/* no crumbs, unless somebody waits for them or there will not be more */
	return size < CHUNK && size < ahead / 4 && w->next >= w->want && limit < w->end ? 0 : size;
}

/* Makes the next read. Lets go of the lock meanwhile. */
static void read_next(struct pf_window *w, struct flight *flight, uint64_t size)
{
	const uint64_t pos = w->next;
	int r;

	flight->pos = pos;
	w->next += size;
	pthread_mutex_unlock(&w->lock);
	r = pf_journal_read(w->store, pos, w->ring + pos % w->ring_size, size);
	pthread_mutex_lock(&w->lock);
	flight->pos = UINT64_MAX;
	if (r < 0 && pos < w->error_pos) {
		w->error = r;
		w->error_pos = pos;
		strcpy(w->words, pf_error_text());
	}
	pthread_cond_signal(&w->arrived);
}

static void *reader(void *arg)
{
	struct flight *flight = arg;
	struct pf_window *w = flight->window;

	pthread_mutex_lock(&w->lock);
	while (!w->stop) {
		uint64_t size = next_size(w);

		if (size)
			read_next(w, flight, size);
		else
			pthread_cond_wait(&w->room, &w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static void wait_idle(struct pf_window *w)
{
	while (!idle(w))
		pthread_cond_wait(&w->arrived, &w->lock);
}

/* Forgets everything; reading goes on at @pos, in a ring of at least @need bytes. */
static int restart(struct pf_window *w, uint64_t pos, uint64_t need)
{
	uint8_t *ring;
	uint64_t size = (need + CHUNK - 1) / CHUNK * CHUNK + 2 * CHUNK;
	int r;

	w->want = w->begin; /* nothing new is started */
	w->next = w->end;
	wait_idle(w);
	if (size > w->ring_size) {
		r = ring_map(size, &ring);
		if (r < 0)
			return r;
		munmap(w->ring, 2 * w->ring_size);
		w->ring = ring;
		w->ring_size = size;
	}
	w->begin = w->want = w->next = pos;
	w->error = 0;
	w->error_pos = UINT64_MAX;
	return 0;
}

int pf_window_get(struct pf_window *w, uint64_t pos, uint64_t size, const uint8_t **ret_data)
{
	const uint64_t need = (size + PF_BLOCK_SIZE - 1) & ~(uint64_t)(PF_BLOCK_SIZE - 1);
	int r = 0;

	if (pos < w->start || pos > w->end || need > w->end - pos)
		return pf_error(-EINVAL, "journal position %llu: %llu bytes are not there", (unsigned long long)pos,
				(unsigned long long)need);
	pthread_mutex_lock(&w->lock);
	if (pos < w->begin || pos > w->next || need > w->ring_size)
		r = restart(w, pos, need);
	w->begin = pos;
	if (r == 0)
		w->want = pos + need;
	if (w->readers)
		pthread_cond_broadcast(&w->room);
	while (r == 0 && ready(w) < pos + need) {
		if (w->error && w->error_pos <= ready(w) && w->error_pos < pos + need)
			r = pf_error(w->error, "%s", w->words);
		else if (w->readers)
			pthread_cond_wait(&w->arrived, &w->lock);
		else
			read_next(w, &w->flight[0], next_size(w));
	}
	*ret_data = w->ring + pos % w->ring_size;
	pthread_mutex_unlock(&w->lock);
	return r;
}

int pf_window_open(struct pf_store *store, uint64_t pos, uint64_t end, struct pf_window **ret_window)
{
	struct pf_window *w = calloc(1, sizeof(*w));
	uint64_t size = (end - pos + CHUNK - 1) / CHUNK * CHUNK;
	sigset_t all, before;
	int r;

	if (!w)
		return pf_error(-ENOMEM, "no memory to read the journal");
	w->store = store;
	w->ring_size = size < RING_MIN ? size : RING_MIN;
	w->start = w->begin = w->want = w->next = pos;
	w->end = end;
	w->error_pos = UINT64_MAX;
	r = ring_map(w->ring_size, &w->ring);
	if (r < 0) {
		free(w);
		return r;
	}
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->room, NULL);
	pthread_cond_init(&w->arrived, NULL);
	for (unsigned i = 0; i < READERS; i++)
		w->flight[i] = (struct flight){ .window = w, .pos = UINT64_MAX };
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (w->readers < READERS &&
	       pthread_create(&w->flight[w->readers].thread, NULL, reader, &w->flight[w->readers]) == 0)
		w->readers++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	*ret_window = w;
	return 0;
}

void pf_window_close(struct pf_window *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_broadcast(&w->room);
	pthread_mutex_unlock(&w->lock);
	for (unsigned i = 0; i < w->readers; i++)
		pthread_join(w->flight[i].thread, NULL);
	munmap(w->ring, 2 * w->ring_size);
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->room);
	pthread_cond_destroy(&w->arrived);
	free(w);
}
