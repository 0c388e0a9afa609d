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
 *  3. The next group begins at most as far behind as the largest group that the superblock admits: it is raised
 *     durably before a larger one is written (flush.c). So the search for 1 reads that much and no more.
 *  4. An opening writes its superblock, with an epoch of its own, before its first group. So a group of a later epoch
 *     proves that a newer superblock is lost. If that was the opening's own, its first group says all that it said, and
 *     nothing has moved the start since: replay begins there. Not before: what the older copy would have replayed is in
 *     the data files, and the space of what was dropped meanwhile may hold something else.
 *  5. The journal is read ahead (window.c) while groups are replayed; a group's records are judged first, then the
 *     pages that it changes in part are asked for all at once, then it is applied.
 */
#include "base/error.h"
#include "store/internal.h"
#include "store/record.h"
#include "store/super.h"
#include "store/window.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

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

#define PAGES_MAX 16384u /* asked for in one go */
#define SEEN_COUNT 65536u
/* Pages between two that are read with them: a device takes as long for some of them as for a request. */
#define GAP_MAX 8u

struct replay {
	struct pf_store *store;
	const char *what; /* why a range was refused */
	uint64_t txns, bytes;
	uint64_t next_txn_id;
	uint64_t *pages; /* numbers in the arena + 1, of pages to read; PAGES_MAX of them */
	uint32_t page_count;
	uint64_t *seen;  /* [page mod SEEN_COUNT]: the last such page that was asked for */
};

static int compare_pages(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Asks for the pages noted so far, runs of neighbours at once. A hint. */
static void ask_for_pages(struct replay *replay)
{
	struct pf_store *store = replay->store;
	uint64_t *pages = replay->pages;

	qsort(pages, replay->page_count, sizeof(*pages), compare_pages);
	for (uint32_t i = 0, end; i < replay->page_count; i = end) {
		uint64_t at = (pages[i] - 1) << PF_PAGE_SHIFT;
		struct pf_file *file = store->files[at / store->file_size];

		for (end = i + 1; end < replay->page_count && pages[end] - pages[end - 1] <= GAP_MAX; end++)
			;
		posix_fadvise(file->fd, (off_t)(at % store->file_size),
			      (off_t)((pages[end - 1] - pages[i] + 1) << PF_PAGE_SHIFT), POSIX_FADV_WILLNEED);
	}
	replay->page_count = 0;
}

static void note_page(struct replay *replay, uint64_t page)
{
	uint64_t *seen = &replay->seen[page % SEEN_COUNT];

	if (*seen == page + 1)
		return;
	*seen = page + 1;
	if (replay->page_count == PAGES_MAX)
		ask_for_pages(replay);
	replay->pages[replay->page_count++] = page + 1;
}

/* Judges a range, and notes which pages it needs from the device: those that it does not fill. */
static int check_range(void *ctx, const struct pf_record_range *range, const uint8_t *data)
{
	struct replay *replay = ctx;
	uint64_t at, end;

	replay->what = pf_record_range_check(replay->store, range);
	if (replay->what)
		return -EUCLEAN;
	at = range->file_id * replay->store->file_size + range->offset;
	end = at + range->length;
	if (at % PF_BLOCK_SIZE || range->length < PF_BLOCK_SIZE)
		note_page(replay, at >> PF_PAGE_SHIFT);
	if (end % PF_BLOCK_SIZE)
		note_page(replay, end >> PF_PAGE_SHIFT);
	return 0;
}

static int check_record(void *ctx, const struct pf_record_header *header, const void *record)
{
	struct replay *replay = ctx;
	int r = pf_record_foreach(record, check_range, replay);

	if (r < 0)
		return pf_error(r, "%s: record at LSN %llu %s", replay->store->dir, (unsigned long long)header->lsn,
				replay->what);
	replay->txns++;
	replay->bytes += header->length;
	replay->next_txn_id = header->txn_id + 1;
	return 0;
}

/* The header of the group at @pos. 1: it is sound; 0: none is there. */
static int group_at(struct pf_store *store, struct pf_window *w, uint64_t pos, struct pf_group_header *ret_header)
{
	const uint8_t *data;
	int r;

	if (store->super.start_pos + store->capacity - pos < PF_BLOCK_SIZE)
		return 0;
	r = pf_window_get(w, pos, PF_BLOCK_SIZE, &data);
	return r < 0 ? r : pf_group_check(data, store->super.uuid, pos, ret_header);
}

/* Whether the group at @point is the one that follows what is before it. */
static bool follows(const struct pf_store *store, const struct pf_group_header *header,
		    const struct pf_log_point *point)
{
	const uint64_t left = store->super.start_pos + store->capacity - point->pos;

	return header->epoch == store->super.epoch && header->number == point->number &&
	       header->first_lsn == point->lsn && header->length <= left - sizeof(*header);
}

/* Replays the group at @point and moves it behind. 1: done; 0: the journal ends here (perhaps within). */
static int replay_group(struct pf_window *w, struct replay *replay, struct pf_log_point *point)
{
	struct pf_store *store = replay->store;
	struct pf_group_header header;
	const uint8_t *data;
	int64_t sound;
	int r = group_at(store, w, point->pos, &header);

	if (r <= 0 || !follows(store, &header, point))
		return r < 0 ? r : 0;
	r = pf_window_get(w, point->pos, sizeof(header) + header.length, &data);
	if (r < 0)
		return r;
	sound = pf_journal_parse(data, sizeof(header) + header.length, store->super.uuid, point->pos, &header,
				 check_record, replay);
	if (sound < 0)
		return (int)sound;
	ask_for_pages(replay);
	r = pf_apply_records(store, data + sizeof(header), (uint64_t)sound);
	if (r < 0)
		return r;
	point->lsn += (uint64_t)sound;
	if ((uint64_t)sound < header.length)
		return 0;
	point->pos += pf_group_size(header.length);
	point->number++;
	return 1;
}

/* Looks behind the stop for a group that was written after it. */
static int check_stop(struct pf_store *store, struct pf_window *w, const struct pf_log_point *stop)
{
	const uint64_t reach = (store->super.group_blocks ? store->super.group_blocks * (uint64_t)PF_BLOCK_SIZE :
							    pf_group_size(pf_record_max(store))) + PF_BLOCK_SIZE;
	uint64_t end = store->super.start_pos + store->capacity;

	if (end - stop->pos > reach) /* the next group's header is not further away */
		end = stop->pos + reach;
	for (uint64_t pos = stop->pos; pos < end; pos += PF_BLOCK_SIZE) {
		struct pf_group_header header;
		uint64_t offset, room, found;
		const uint8_t *data;
		uint32_t index;
		int r = pf_window_get(w, pos, PF_BLOCK_SIZE, &data);

		if (r < 0)
			return r;
		if (memcmp(data, PF_GROUP_MAGIC, 8) != 0)
			continue;
		memcpy(&found, data + offsetof(struct pf_group_header, pos), sizeof(found));
		if (!pf_group_check(data, store->super.uuid, found, &header) || header.epoch < store->super.epoch ||
		    header.number <= stop->number || found < stop->pos || (found - pos) % store->capacity)
			continue;
		if (header.epoch > store->super.epoch)
			return pf_error(-EUCLEAN,
					"%s/super: is of epoch %u, and the journal holds group %llu of epoch %u: the "
					"newer copy of the superblock is lost",
					store->dir, store->super.epoch, (unsigned long long)header.number,
					header.epoch);
		index = pf_journal_locate(store, stop->pos, &offset, &room);
		return pf_error(-EUCLEAN,
				"%s/journal/%08u.%06u: offset %llu: group %llu is damaged: group %llu, which was "
				"written after it, is sound",
				store->dir, store->super.journal_generation, index, (unsigned long long)offset,
				(unsigned long long)stop->number, (unsigned long long)header.number);
	}
	return 0;
}

/* Has store->super say what the copy said that was written when the opening began whose first group @header is. */
static int take_opening(struct pf_store *store, const struct pf_group_header *header)
{
	struct pf_super_disk lost = store->super;
	char words[PF_ERROR_MAX];
	int r;

	lost.epoch = header->epoch;
	lost.start_lsn = header->first_lsn;
	lost.start_pos = header->pos;
	lost.start_group = header->number;
	lost.clean = 0;
	pf_super_seal(&lost);
	r = pf_super_check(&lost);
	if (r < 0) {
		strcpy(words, pf_error_text());
		return pf_error(r, "%s/super: a copy is lost, of which the journal says: %.300s", store->dir, words);
	}
	store->super = lost;
	return 0;
}

int pf_recover_super(struct pf_store *store)
{
	const struct pf_super_disk *super = &store->super;
	struct pf_log_point end = { super->start_lsn, super->start_pos, super->start_group };
	struct pf_group_header header;
	struct pf_window *w = NULL;
	int r;

	store->super.group_blocks = 0; /* the lost copy may have admitted larger ones */
	r = pf_window_open(store, end.pos, end.pos + store->capacity, &w);
	if (r < 0)
		return r;
	while ((r = group_at(store, w, end.pos, &header)) == 1 && follows(store, &header, &end)) {
		end.lsn += header.length;
		end.pos += pf_group_size(header.length);
		end.number++;
	}
	/* after a replay the opening leaves a number out, and the records of a torn group are before it */
	if (r == 1 && header.epoch == super->epoch + 1 && header.number == end.number + !super->clean &&
	    (super->clean ? header.first_lsn == end.lsn : header.first_lsn >= end.lsn))
		r = take_opening(store, &header);
	else if (r >= 0)
		r = check_stop(store, w, &end);
	pf_window_close(w);
	return r;
}

int pf_recover(struct pf_store *store, struct pf_log_point *ret_end)
{
	struct pf_log_point point = { store->super.start_lsn, store->super.start_pos, store->super.start_group };
	struct replay replay = { .store = store, .next_txn_id = store->super.next_txn_id };
	struct pf_window *w = NULL;
	int r;

	replay.pages = malloc(PAGES_MAX * sizeof(*replay.pages));
	replay.seen = calloc(SEEN_COUNT, sizeof(*replay.seen));
	if (replay.pages && replay.seen)
		r = pf_window_open(store, point.pos, point.pos + store->capacity, &w);
	else
		r = pf_error(-ENOMEM, "no memory to replay the journal");
	if (r == 0) {
		do
			r = replay_group(w, &replay, &point);
		while (r == 1);
		if (r == 0)
			r = check_stop(store, w, &point);
	}
	pf_window_close(w);
	free(replay.pages);
	free(replay.seen);
	if (r < 0)
		return r;
	store->recovered_txns = replay.txns;
	store->recovered_bytes = replay.bytes;
	store->next_txn_id = replay.next_txn_id;
	/* what follows is written behind everything that a torn group may have left: nothing of it can match */
	*ret_end = (struct pf_log_point){ .lsn = point.lsn, .pos = point.pos, .number = point.number + 1 };
	return 0;
}
