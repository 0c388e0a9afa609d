/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * live.c - the reader of another process's live board.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/board.h"
#include "engine/engine.h"

/* A reader that meets a writer this often in a row gives up with -EAGAIN; one try costs about a millisecond. */
#define SEQ_TRIES 1000

struct pinfold_live {
	const struct pf_board_head *head;
	uint64_t size;
};

int pinfold_live_open(const char *dir, struct pinfold_live **ret_live)
{
	struct pinfold_live *live;
	char note[64], path[96];
	const void *map;
	struct stat st;
	pid_t pid;
	int fd, r;

	REQUIRE(dir && ret_live);
	r = pf_store_lock_holder(dir, &pid, note, sizeof(note));
	if (r)
		return r;
	if (!note[0])
		return pf_error(-ENOENT, "%s: process %d has the store open without telemetry", dir, (int)pid);
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, atoi(note));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return pf_error(-errno, "%s: cannot watch process %d (%s: %s)", dir, (int)pid, path, strerror(errno));
	live = calloc(1, sizeof(*live));
	if (!live || fstat(fd, &st)) {
		r = pf_error(-ENOMEM, "out of memory");
		goto err_close;
	}
	if ((uint64_t)st.st_size < sizeof(struct pf_board_head)) {
		r = pf_error(-EPROTO, "%s: process %d publishes something else than a live board", dir, (int)pid);
		goto err_close;
	}
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		r = pf_error(-errno, "%s: cannot map the live board: %s", dir, strerror(errno));
		goto err_close;
	}
	live->head = map;
	live->size = (uint64_t)st.st_size;
	if (live->head->magic != PF_BOARD_MAGIC || live->head->head_size != sizeof(struct pf_board_head) ||
	    live->head->size != live->size) {
		pinfold_live_close(live);
		close(fd);
		return pf_error(-EPROTO, "%s: process %d runs another version of pinfold", dir, (int)pid);
	}
	close(fd);
	*ret_live = live;
	return 0;

err_close:
	free(live);
	close(fd);
	return r;
}

void pinfold_live_close(struct pinfold_live *live)
{
	if (!live)
		return;
	munmap((void *)live->head, live->size);
	free(live);
}

/* ---- one consistent look ---- */

static bool look_begin(const struct pinfold_live *live, uint32_t *ret_seq)
{
	*ret_seq = atomic_load_explicit(&live->head->seq, memory_order_acquire);
	return (*ret_seq & 1) == 0;
}

static bool look_end(const struct pinfold_live *live, uint32_t seq)
{
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&live->head->seq, memory_order_relaxed) == seq;
}

static void look_again(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

static int look_failed(void)
{
	return pf_error(-EAGAIN, "the live board does not come to rest; its process may be stopped");
}

static const void *at(const struct pinfold_live *live, uint64_t offset)
{
	return (const char *)live->head + offset;
}

int pinfold_live_info(struct pinfold_live *live, struct pinfold_live_info *ret_info)
{
	struct pinfold_live_info info;
	uint32_t seq;

	for (int i = 0; i < SEQ_TRIES; i++, look_again()) {
		if (!look_begin(live, &seq))
			continue;
		info = live->head->info;
		if (look_end(live, seq)) {
			*ret_info = info;
			return 0;
		}
	}
	return look_failed();
}

static uint32_t clamp_ms(uint64_t ms)
{
	return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

int pinfold_live_slices(struct pinfold_live *live, struct pinfold_live_slice *ret_slices, size_t capacity,
			size_t *ret_count)
{
	const struct pf_board_slice *slices = at(live, live->head->slices_at);
	uint64_t count, now = pf_now_ms();
	uint32_t seq;

	for (int i = 0; i < SEQ_TRIES; i++, look_again()) {
		if (!look_begin(live, &seq))
			continue;
		count = live->head->slice_count;
		if (count > PF_BOARD_SLICES_MAX)
			continue;
		for (uint64_t n = 0; n < count && n < capacity; n++) {
			ret_slices[n] = slices[n].view;
			ret_slices[n].pin_age_ms = clamp_ms(now - slices[n].since_ms);
			ret_slices[n].pin_left_ms =
				slices[n].expires_ms > now ? clamp_ms(slices[n].expires_ms - now) : 0;
		}
		if (look_end(live, seq)) {
			*ret_count = count;
			return 0;
		}
	}
	return look_failed();
}

int pinfold_live_decisions(struct pinfold_live *live, uint64_t since, struct pinfold_live_decision *ret_decisions,
			   size_t capacity, size_t *ret_count)
{
	const struct pinfold_live_decision *ring = at(live, live->head->decisions_at);
	uint32_t seq;

	for (int i = 0; i < SEQ_TRIES; i++, look_again()) {
		uint64_t end, from;
		size_t n = 0;

		if (!look_begin(live, &seq))
			continue;
		end = live->head->decision_count;
		from = end > PF_BOARD_DECISIONS ? end - PF_BOARD_DECISIONS : 0;
		if (from < since)
			from = since;
		for (uint64_t s = from; s < end && n < capacity; s++)
			ret_decisions[n++] = ring[s % PF_BOARD_DECISIONS];
		if (look_end(live, seq)) {
			*ret_count = n;
			return 0;
		}
	}
	return look_failed();
}

int pinfold_live_history(struct pinfold_live *live, struct pinfold_live_history *ret_history)
{
	const struct pf_board_head *head = live->head;
	struct pinfold_live_history history = { 0 };
	uint8_t *planes = malloc((size_t)PF_PLANE_COUNT * PF_BOARD_ROWS * PF_BOARD_COLUMNS);
	uint32_t *places = malloc(2 * PF_BOARD_COLUMNS * sizeof(*places));
	uint32_t seq, per_column = 1, per_file = 1;

	if (!planes || !places)
		goto err_memory;
	for (int i = 0; i < SEQ_TRIES; i++, look_again()) {
		if (!look_begin(live, &seq))
			continue;
		history.row_ms = head->row_ms;
		history.row_count = head->row_count;
		history.column_count = head->column_count;
		per_column = head->slices_per_column;
		per_file = head->slices_per_file;
		if (history.row_count > PF_BOARD_ROWS || history.column_count > PF_BOARD_COLUMNS || !per_file)
			continue;
		for (uint32_t plane = 0; plane < PF_PLANE_COUNT; plane++)
			for (uint32_t row = 0; row < history.row_count; row++)
				memcpy(planes + ((uint64_t)plane * history.row_count + row) * history.column_count,
				       (const uint8_t *)at(live, head->history_at) +
					       ((uint64_t)plane * PF_BOARD_ROWS + row) * PF_BOARD_COLUMNS,
				       history.column_count);
		if (look_end(live, seq))
			goto found;
	}
	free(planes);
	free(places);
	return look_failed();

found:
	history.faults = planes;
	history.heat = planes + (uint64_t)PF_PLANE_HEAT * history.row_count * history.column_count;
	history.state = planes + (uint64_t)PF_PLANE_STATE * history.row_count * history.column_count;
	history.file_id = places;
	history.index = places + PF_BOARD_COLUMNS;
	for (uint32_t column = 0; column < history.column_count; column++) {
		uint64_t position = (uint64_t)column * per_column;

		history.file_id[column] = (uint32_t)(position / per_file);
		history.index[column] = (uint32_t)(position % per_file);
	}
	*ret_history = history;
	return 0;

err_memory:
	free(planes);
	free(places);
	return pf_error(-ENOMEM, "out of memory");
}

void pinfold_live_history_done(struct pinfold_live_history *history)
{
	if (!history)
		return;
	free(history->faults);  /* one block with heat and state */
	free(history->file_id); /* one block with index */
	memset(history, 0, sizeof(*history));
}
