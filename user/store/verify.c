/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * verify.c - checking everything that the engine structures, on a live store.
 *
 * DESIGN: each part is read from the files again, not taken from memory. The journal is
 * checked between start and the last durable group, while the checkpoint lock keeps the start
 * from moving; what is behind is nobody's business. A read-only store checks the journal's records
 * only if it was closed cleanly (then there are none): a live writer moves it meanwhile.
 */
#include "base/error.h"
#include "store/internal.h"
#include "store/record.h"
#include "store/super.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STEP (1u << 20)

struct verify {
	struct pf_store *store;
	pinfold_problem_fn problem;
	pinfold_progress_fn progress;
	void *ctx;
	uint64_t done, total, problems;
	uint8_t *buffer; /* STEP bytes, aligned */
};

static void __attribute__((format(printf, 4, 5)))
report(struct verify *v, const char *path, int64_t offset, const char *format, ...)
{
	struct pinfold_problem problem = { .path = path, .offset = offset };
	char what[PF_ERROR_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	problem.what = what;
	v->problems++;
	if (v->problem)
		v->problem(v->ctx, &problem);
}

static void advance(struct verify *v, uint64_t bytes)
{
	v->done += bytes;
	if (v->progress)
		v->progress(v->ctx, v->done, v->total);
}

static void verify_super(struct verify *v)
{
	struct pf_store *store = v->store;

	pthread_mutex_lock(&store->super_lock);
	for (int i = 0; i < 2; i++) {
		int64_t at = (int64_t)i * PF_BLOCK_SIZE;
		ssize_t n = pf_io_pread(store->super_fd, v->buffer, PF_BLOCK_SIZE, (uint64_t)at);

		if (n != PF_BLOCK_SIZE)
			report(v, PF_SUPER_FILE, at, "cannot read: %s",
			       n < 0 ? strerror((int)-n) : "the file is too short");
		else if (pf_super_check((struct pf_super_disk *)v->buffer) < 0)
			report(v, PF_SUPER_FILE, at, "copy %d: %s", i, pf_error_text());
		else if (memcmp(((struct pf_super_disk *)v->buffer)->uuid, store->super.uuid, 16) != 0)
			report(v, PF_SUPER_FILE, at, "copy %d: belongs to another store", i);
	}
	pthread_mutex_unlock(&store->super_lock);
	advance(v, 2 * PF_BLOCK_SIZE);
}

static void verify_entries(struct verify *v, struct pf_file *file, uint64_t at, uint64_t size, uint64_t *extent_end)
{
	for (uint64_t i = 0; i < size / sizeof(struct pf_granule_entry); i++) {
		uint64_t offset = at + i * sizeof(struct pf_granule_entry),
			 granule = (offset - PF_BLOCK_SIZE) / sizeof(struct pf_granule_entry);
		struct pf_granule_entry entry;
		const char *what;

		if (granule >= v->store->granules_per_file)
			return;
		memcpy(&entry, v->buffer + i * sizeof(entry), sizeof(entry));
		what = pf_entry_check(&entry, file->id, (uint32_t)granule, v->store->granules_per_file);
		if (what) /* read while it was being changed? then it is sound now */
			what = pf_io_pread(file->read_fd, &entry, sizeof(entry), offset) == (ssize_t)sizeof(entry)
				       ? pf_entry_check(&entry, file->id, (uint32_t)granule,
							v->store->granules_per_file)
				       : "cannot read";
		if (what) {
			report(v, file->name, (int64_t)offset, "granule entry %llu: %s", (unsigned long long)granule,
			       what);
			continue;
		}
		if (entry.state != PF_ENTRY_PUBLISHED)
			continue;
		if (granule < *extent_end)
			report(v, file->name, (int64_t)offset, "granule entry %llu: overlaps the extent before it",
			       (unsigned long long)granule);
		else if (granule < file->meta_granules)
			report(v, file->name, (int64_t)offset, "granule entry %llu: an extent where the table is",
			       (unsigned long long)granule);
		*extent_end = granule + (1ull << entry.order);
	}
}

static void verify_file(struct verify *v, struct pf_file *file)
{
	const uint64_t end = pf_table_end(v->store);
	uint64_t extent_end = 0;

	if (pf_file_check(v->store, file) < 0)
		report(v, file->name, 0, "%s", pf_error_text());
	for (uint64_t at = PF_BLOCK_SIZE; at < end; at += STEP) {
		uint64_t size = end - at < STEP ? end - at : STEP;

		if (pf_io_pread(file->read_fd, v->buffer, size, at) != (ssize_t)size)
			report(v, file->name, (int64_t)at, "cannot read the granule table");
		else
			verify_entries(v, file, at, size, &extent_end);
		advance(v, size);
	}
}

static int check_range(void *ctx, const struct pf_record_range *range, const uint8_t *data)
{
	return pf_record_range_check(ctx, range) ? -EUCLEAN : 0;
}

static int check_record(void *ctx, const struct pf_record_header *header, const void *record)
{
	int r = pf_record_foreach(record, check_range, ctx);

	return r < 0 ? pf_error(r, "record at LSN %llu names a place that does not exist",
				(unsigned long long)header->lsn)
		     : 0;
}

/* Checks the group at @pos; returns its size, or 0 after reporting. */
static uint64_t verify_group(struct verify *v, uint64_t pos, uint64_t number, uint64_t lsn, uint64_t limit,
			     uint64_t *ret_length)
{
	struct pf_store *store = v->store;
	struct pf_group_header header;
	uint64_t offset, room, size = 0;
	uint32_t index = pf_journal_locate(store, pos, &offset, &room);
	void *data = NULL;
	char path[48];

	snprintf(path, sizeof(path), "journal/%08u.%06u", store->super.journal_generation, index);
	if (pf_journal_read(store, pos, v->buffer, PF_BLOCK_SIZE) < 0) {
		report(v, path, (int64_t)offset, "%s", pf_error_text());
	} else if (!pf_group_check(v->buffer, store->super.uuid, pos, &header) || header.number != number ||
		   header.first_lsn != lsn || header.length > limit || pf_group_size(header.length) > limit) {
		report(v, path, (int64_t)offset, "group %llu: its header is not sound", (unsigned long long)number);
	} else if (posix_memalign(&data, PF_BLOCK_SIZE, pf_group_size(header.length)) != 0) {
		report(v, path, (int64_t)offset, "no memory to check a group of %llu bytes",
		       (unsigned long long)header.length);
	} else if (pf_journal_read(store, pos, data, pf_group_size(header.length)) < 0) {
		report(v, path, (int64_t)offset, "%s", pf_error_text());
	} else if (pf_journal_parse(data, sizeof(header) + header.length, store->super.uuid, pos, &header, check_record,
				    store) != (int64_t)header.length) {
		report(v, path, (int64_t)offset, "group %llu: %s", (unsigned long long)number, pf_error_text());
	} else {
		size = pf_group_size(header.length);
		*ret_length = header.length;
	}
	free(data);
	return size;
}

static void verify_journal(struct verify *v)
{
	struct pf_store *store = v->store;
	struct pf_log_point end;
	uint64_t pos, number, lsn;

	pthread_mutex_lock(&store->ckpt_lock);
	pthread_mutex_lock(&store->lock);
	end = store->applied_point;
	pthread_mutex_unlock(&store->lock);
	pos = store->super.start_pos;
	number = store->super.start_group;
	lsn = store->super.start_lsn;
	while (pos < end.pos) {
		uint64_t length, size = verify_group(v, pos, number, lsn, end.pos - pos, &length);

		if (size == 0) /* the next group's place is unknown */
			break;
		advance(v, size);
		pos += size;
		lsn += length;
		number++;
	}
	pthread_mutex_unlock(&store->ckpt_lock);
}

static void verify_segments(struct verify *v)
{
	struct pf_store *store = v->store;

	if (store->read_only) {
		if (pf_journal_open(store) < 0)
			report(v, "journal", -1, "%s", pf_error_text());
		pf_journal_close(store);
		return;
	}
	for (uint32_t i = 0; i < store->super.segment_count; i++) {
		struct pf_segment_header expected;
		char path[48];

		snprintf(path, sizeof(path), "journal/%08u.%06u", store->super.journal_generation, i);
		pf_segment_header_make(store, i, &expected);
		if (pf_io_pread(store->segments[i].fd, v->buffer, PF_BLOCK_SIZE, 0) != PF_BLOCK_SIZE)
			report(v, path, 0, "cannot read the header");
		else if (memcmp(v->buffer, &expected, sizeof(expected)) != 0)
			report(v, path, 0, "header does not match the superblock");
	}
	verify_journal(v);
}

int pf_store_verify(struct pf_store *store, pinfold_problem_fn problem, pinfold_progress_fn progress, void *ctx)
{
	struct verify v = { .store = store, .problem = problem, .progress = progress, .ctx = ctx };
	uint32_t count = pf_store_file_count(store);

	if (posix_memalign((void **)&v.buffer, PF_BLOCK_SIZE, STEP) != 0)
		return pf_error(-ENOMEM, "no memory to verify");
	pthread_mutex_lock(&store->lock);
	v.total = 2 * PF_BLOCK_SIZE + count * (pf_table_end(store) - PF_BLOCK_SIZE) + store->applied_point.pos -
		  store->start_pos;
	pthread_mutex_unlock(&store->lock);
	verify_super(&v);
	for (uint32_t id = 0; id < count; id++)
		verify_file(&v, store->files[id]);
	verify_segments(&v);
	free(v.buffer);
	if (v.problems)
		return pf_error(-EUCLEAN, "%s: %llu problems found", store->dir, (unsigned long long)v.problems);
	return 0;
}
