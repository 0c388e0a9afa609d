/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * recover.c - replaying the journal after a crash.
 *
 * DESIGN: from the superblock's start on, groups follow each other without a gap, each stating
 * its position, number, epoch and first LSN. Replay stops at the first that does not; replaying
 * twice is harmless.
 *
 *  1. A group is written only after the one before is durable. So if a sound group of this epoch
 *     with a higher number stands anywhere behind the stop, the stop is damage, not a torn tail: -EUCLEAN.
 *  2. Records of a torn last group are replayed as far as they are sound: that is a prefix of the commit order.
 *  3. The journal is read through a window and through the page cache, so that the kernel reads the next
 *     window while this one is replayed. Before anything is written it is back to direct I/O and out of the cache.
 */
#include "base/error.h"
#include "store/internal.h"
#include "store/record.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WINDOW_SIZE (8ull << 20)

/* Directs the segments' reads through the page cache, or past it again. */
static void set_buffered(struct pf_store *store, bool buffered)
{
	for (uint32_t i = 0; i < store->super.segment_count; i++) {
		int fd = store->segments[i].fd, flags = fcntl(fd, F_GETFL);

		if (!store->segments[i].direct || flags < 0)
			continue;
		fcntl(fd, F_SETFL, buffered ? flags & ~O_DIRECT : flags | O_DIRECT);
		if (!buffered)
			posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	}
}

/* Starts reading [@pos, @pos + @size). A hint. */
static void read_ahead(struct pf_store *store, uint64_t pos, uint64_t size)
{
	while (size > 0) {
		uint64_t offset, room, step;
		uint32_t index = pf_journal_locate(store, pos, &offset, &room);

		step = size < room ? size : room;
		posix_fadvise(store->segments[index].fd, (off_t)offset, (off_t)step, POSIX_FADV_WILLNEED);
		pos += step;
		size -= step;
	}
}

struct window {
	struct pf_store *store;
	uint8_t *data;
	uint64_t capacity, pos, size; /* holds positions [pos, pos + size) */
};

int pf_journal_read(struct pf_store *store, uint64_t pos, uint8_t *data, uint64_t size)
{
	while (size > 0) {
		uint64_t offset, room, step;
		uint32_t index = pf_journal_locate(store, pos, &offset, &room);
		ssize_t n;

		step = size < room ? size : room;
		n = pf_io_pread(store->segments[index].fd, data, step, offset);
		if (n != (ssize_t)step)
			return pf_error(n < 0 ? (int)n : -EIO, "%s/journal/%08u.%06u: offset %llu: cannot read: %s",
					store->dir, store->super.journal_generation, index, (unsigned long long)offset,
					n < 0 ? strerror((int)-n) : "it is too short");
		data += step;
		pos += step;
		size -= step;
	}
	return 0;
}

/* Makes [@pos, @pos + @size) available; *ret_data points at it. Reads ahead a whole window. */
static int window_get(struct window *w, uint64_t pos, uint64_t size, const uint8_t **ret_data)
{
	const uint64_t need = (size + PF_BLOCK_SIZE - 1) & ~(uint64_t)(PF_BLOCK_SIZE - 1);
	uint64_t want = need > WINDOW_SIZE ? need : WINDOW_SIZE, end = w->store->super.start_pos + w->store->capacity;
	int r;

	if (pos >= w->pos && pos + size <= w->pos + w->size) {
		*ret_data = w->data + (pos - w->pos);
		return 0;
	}
	if (want > end - pos)
		want = end - pos;
	if (want > w->capacity) {
		void *data;

		if (posix_memalign(&data, PF_BLOCK_SIZE, want) != 0)
			return pf_error(-ENOMEM, "no memory to read a group of %llu bytes", (unsigned long long)want);
		free(w->data);
		w->data = data;
		w->capacity = want;
	}
	w->size = 0;
	read_ahead(w->store, pos, end - pos < 2 * want ? end - pos : 2 * want);
	r = pf_journal_read(w->store, pos, w->data, want);
	if (r < 0)
		return r;
	w->pos = pos;
	w->size = want;
	*ret_data = w->data;
	return 0;
}

struct replay {
	struct pf_store *store;
	const char *what; /* why a range was refused */
	uint64_t txns, bytes;
	uint64_t next_txn_id;
};

static int check_range(void *ctx, const struct pf_record_range *range, const uint8_t *data)
{
	struct replay *replay = ctx;

	replay->what = pf_record_range_check(replay->store, range);
	return replay->what ? -EUCLEAN : 0;
}

static int replay_record(void *ctx, const struct pf_record_header *header, const void *record)
{
	struct replay *replay = ctx;
	int r = pf_record_foreach(record, check_range, replay);

	if (r < 0)
		return pf_error(r, "%s: record at LSN %llu %s", replay->store->dir, (unsigned long long)header->lsn,
				replay->what);
	r = pf_apply_record(replay->store, record, header->length, header->range_count);
	replay->txns++;
	replay->bytes += header->length;
	replay->next_txn_id = header->txn_id + 1;
	return r;
}

/* Replays the group at @point and moves it behind. 1: done; 0: the journal ends here (perhaps within). */
static int replay_group(struct window *w, struct replay *replay, struct pf_log_point *point)
{
	struct pf_store *store = w->store;
	const uint64_t left = store->super.start_pos + store->capacity - point->pos;
	struct pf_group_header header;
	const uint8_t *data;
	int64_t sound;
	int r;

	if (left < PF_BLOCK_SIZE)
		return 0;
	r = window_get(w, point->pos, PF_BLOCK_SIZE, &data);
	if (r < 0)
		return r;
	if (!pf_group_check(data, store->super.uuid, point->pos, &header) || header.epoch != store->super.epoch ||
	    header.number != point->number || header.first_lsn != point->lsn || header.length > left - sizeof(header))
		return 0;
	r = window_get(w, point->pos, sizeof(header) + header.length, &data);
	if (r < 0)
		return r;
	sound = pf_journal_parse(data, sizeof(header) + header.length, store->super.uuid, point->pos, &header,
				 replay_record, replay);
	if (sound < 0)
		return (int)sound;
	point->lsn += (uint64_t)sound;
	if ((uint64_t)sound < header.length)
		return 0;
	point->pos += pf_group_size(header.length);
	point->number++;
	return 1;
}

/* Looks behind the stop for a group that was written after it. */
static int check_stop(struct window *w, const struct pf_log_point *stop)
{
	struct pf_store *store = w->store;
	const uint64_t group_max =
		store->capacity / 4 + (2u << 20) > PF_PENDING_MAX ? store->capacity / 4 + (2u << 20) : PF_PENDING_MAX;
	uint64_t end = store->super.start_pos + store->capacity;

	if (end - stop->pos >
	    pf_group_size(group_max) + PF_BLOCK_SIZE) /* the next group's header is not further away */
		end = stop->pos + pf_group_size(group_max) + PF_BLOCK_SIZE;
	for (uint64_t pos = stop->pos + PF_BLOCK_SIZE; pos < end; pos += PF_BLOCK_SIZE) {
		struct pf_group_header header;
		uint64_t offset, room, found;
		const uint8_t *data;
		uint32_t index;
		int r = window_get(w, pos, PF_BLOCK_SIZE, &data);

		if (r < 0)
			return r;
		if (memcmp(data, PF_GROUP_MAGIC, 8) != 0)
			continue;
		memcpy(&found, data + offsetof(struct pf_group_header, pos), sizeof(found));
		if (!pf_group_check(data, store->super.uuid, found, &header) || header.epoch != store->super.epoch ||
		    header.number <= stop->number || found <= stop->pos || (found - pos) % store->capacity)
			continue;
		index = pf_journal_locate(store, stop->pos, &offset, &room);
		return pf_error(-EUCLEAN,
				"%s/journal/%08u.%06u: offset %llu: group %llu is damaged: group %llu, which was "
				"written after it, is sound",
				store->dir, store->super.journal_generation, index, (unsigned long long)offset,
				(unsigned long long)stop->number, (unsigned long long)header.number);
	}
	return 0;
}

int pf_recover(struct pf_store *store, struct pf_log_point *ret_end)
{
	struct pf_log_point point = { store->super.start_lsn, store->super.start_pos, store->super.start_group };
	struct replay replay = { .store = store, .next_txn_id = store->super.next_txn_id };
	struct window w = { .store = store };
	int r;

	set_buffered(store, true);
	do
		r = replay_group(&w, &replay, &point);
	while (r == 1);
	if (r == 0)
		r = check_stop(&w, &point);
	free(w.data);
	set_buffered(store, false);
	if (r < 0)
		return r;
	store->recovered_txns = replay.txns;
	store->recovered_bytes = replay.bytes;
	store->next_txn_id = replay.next_txn_id;
	/* what follows is written behind everything that a torn group may have left: nothing of it can match */
	*ret_end = (struct pf_log_point){ .lsn = point.lsn, .pos = point.pos, .number = point.number + 1 };
	return 0;
}
