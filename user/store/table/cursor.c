/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cursor.c - iteration that a growing table does not disturb.
 *
 * Buckets are visited in the order of their bit-reversed number. When bucket b
 * of depth d has been read, all hashes that equal b modulo 2^d are done; a split
 * only makes buckets whose hashes are all on the same side of the cursor. Buckets
 * never merge. So each hash is visited exactly once.
 *
 * A bucket is read as a whole (its first line unchanged before and after, else
 * again) and its records are copied, in one epoch; no epoch is held between calls.
 */
#include "store/table/internal.h"

#include "base/sigbus.h"

#include <sched.h>
#include <stdlib.h>

#define ATTEMPTS 10000
/* Told at the end: no prefix looks like it, as depths are small. */
#define POSITION_END UINT64_MAX

struct pf_cursor {
	struct pf_table *table;
	uint64_t position; /* reversed: next hash prefix, left-aligned */
	bool done;
	uint8_t *buf; /* records of the bucket at hand, each aligned to 8 */
	size_t size, capacity, offset;
	uint64_t entries[PF_CHAIN_MAX * PF_LINE_ENTRIES];
	unsigned entry_count;
};

static uint64_t reverse(uint64_t x)
{
	x = (x & 0x5555555555555555ull) << 1 | (x >> 1 & 0x5555555555555555ull);
	x = (x & 0x3333333333333333ull) << 2 | (x >> 2 & 0x3333333333333333ull);
	x = (x & 0x0f0f0f0f0f0f0f0full) << 4 | (x >> 4 & 0x0f0f0f0f0f0f0f0full);
	return __builtin_bswap64(x);
}

int pf_cursor_open(struct pf_table *table, struct pf_cursor **ret_cursor)
{
	struct pf_cursor *cursor = calloc(1, sizeof(*cursor));

	if (!cursor)
		return pf_error(-ENOMEM, "table %s: no memory for a cursor", table->name);
	cursor->table = table;
	*ret_cursor = cursor;
	return 0;
}

void pf_cursor_close(struct pf_cursor *cursor)
{
	if (!cursor)
		return;
	free(cursor->buf);
	free(cursor);
}

/* Collects the entries of the chain that begins with @line. 0, or -EAGAIN and errors as pf_line_read(). */
static int entries_read(struct pf_cursor *cursor, uint64_t bucket, struct pf_line line)
{
	int r;

	cursor->entry_count = 0;
	for (unsigned length = 1;; length++) {
		bool linked = line.flags & PF_LINE_LINKED;
		unsigned count = linked ? PF_LINE_ENTRIES - 1 : PF_LINE_ENTRIES;

		for (unsigned i = 0; i < count; i++)
			if (line.entry[i])
				cursor->entries[cursor->entry_count++] = line.entry[i];
		if (!linked)
			return 0;
		if (length == PF_CHAIN_MAX)
			return pf_chain_broken(cursor->table, bucket);
		r = pf_line_read(cursor->table, pf_entry_loc(line.entry[PF_LINE_ENTRIES - 1]), bucket, &line);
		if (r < 0)
			return r;
		if (!(line.flags & PF_LINE_OVERFLOW))
			return pf_chain_broken(cursor->table, bucket);
	}
}

static int record_add(struct pf_cursor *cursor, uint64_t loc)
{
	struct pf_record *record;
	int r;

	while (cursor->capacity - cursor->size < PF_RECORD_MAX) {
		size_t wanted = cursor->capacity ? cursor->capacity * 2 : 4 * PF_RECORD_MAX;
		uint8_t *p = realloc(cursor->buf, wanted);

		if (!p)
			return pf_error(-ENOMEM, "table %s: no memory for the records of a bucket",
					cursor->table->name);
		cursor->buf = p;
		cursor->capacity = wanted;
	}
	record = (struct pf_record *)(cursor->buf + cursor->size);
	r = pf_record_copy(cursor->table, loc, record);
	if (r == -EBADMSG)
		return cursor->table->tables->read_only
			       ? -EAGAIN
			       : pf_error(-EUCLEAN, "table %s: record at arena offset %llu has a wrong checksum",
					  cursor->table->name, (unsigned long long)loc);
	if (r < 0)
		return r;
	cursor->size += (pf_record_size(pf_record_key_size(record->sizes), pf_record_value_size(record->sizes)) + 7) &
			~(size_t)7;
	return 0;
}

/* One attempt at the bucket of @hash. -EAGAIN if it changed shape meanwhile. */
static int bucket_read(struct pf_cursor *cursor, uint64_t hash, unsigned *ret_depth)
{
	struct pf_line line, again;
	uint64_t bucket;
	int r, r2;

	r = pf_line_find(cursor->table, hash, &bucket, &line);
	if (r < 0)
		return r;
	r = entries_read(cursor, bucket, line);
	cursor->size = 0;
	for (unsigned i = 0; r == 0 && i < cursor->entry_count; i++)
		r = record_add(cursor, pf_entry_loc(cursor->entries[i]));
	if (r < 0 && r != -EAGAIN && r != -EUCLEAN)
		return r;
	r2 = pf_bucket_read(cursor->table, bucket, &again);
	if (r2 < 0)
		return r2;
	if (r2 == 0 || again.version != line.version || again.depth != line.depth)
		return -EAGAIN;
	*ret_depth = line.depth;
	return r;
}

static int bucket_read_guarded(struct pf_cursor *cursor, uint64_t hash, unsigned *ret_depth)
{
	struct pf_table *table = cursor->table;
	sigjmp_buf env;
	void *guard;
	int r;

	if (sigsetjmp(env, 0))
		return pf_error(-EIO, "table %s: the mapped file could not be read at arena offset %llu", table->name,
				(unsigned long long)((const char *)pf_sigbus_address() - table->base));
	guard = pf_sigbus_arm(&env, table->base, table->arena_size);
	r = bucket_read(cursor, hash, ret_depth);
	pf_sigbus_disarm(guard);
	return r;
}

static int bucket_next(struct pf_cursor *cursor)
{
	unsigned depth = 0;
	uint64_t step;
	int r = -EAGAIN;

	for (int i = 0; r == -EAGAIN && i < ATTEMPTS; i++) {
		pf_epoch_enter();
		r = bucket_read_guarded(cursor, reverse(cursor->position), &depth);
		pf_epoch_leave();
		if (r == -EAGAIN && i > 16)
			sched_yield();
	}
	cursor->offset = 0;
	if (r < 0)
		cursor->size = 0;
	if (r == -EAGAIN)
		return pf_error(-EUCLEAN, "table %s: no consistent state of a bucket found in %d attempts",
				cursor->table->name, ATTEMPTS);
	if (r < 0)
		return r;
	step = 1ull << (64 - depth);
	cursor->position = (cursor->position & ~(step - 1)) + step;
	cursor->done = cursor->position == 0;
	return 0;
}

int pf_cursor_next(struct pf_cursor *cursor, struct pinfold_record *ret_record)
{
	const struct pf_record *record;
	int r;

	while (cursor->offset == cursor->size) {
		if (cursor->done)
			return 0;
		r = bucket_next(cursor);
		if (r < 0)
			return r;
	}
	record = (const struct pf_record *)(cursor->buf + cursor->offset);
	ret_record->key = record->data;
	ret_record->key_size = pf_record_key_size(record->sizes);
	ret_record->value = record->data + ret_record->key_size;
	ret_record->value_size = pf_record_value_size(record->sizes);
	cursor->offset += (pf_record_size(ret_record->key_size, ret_record->value_size) + 7) & ~(size_t)7;
	return 1;
}

int pf_cursor_tell(const struct pf_cursor *cursor, uint64_t *ret_position)
{
	if (cursor->offset != cursor->size)
		return -EAGAIN;
	*ret_position = cursor->done ? POSITION_END : cursor->position;
	return 0;
}

void pf_cursor_seek(struct pf_cursor *cursor, uint64_t position)
{
	cursor->size = cursor->offset = 0;
	cursor->done = position == POSITION_END;
	cursor->position = cursor->done ? 0 : position;
}
