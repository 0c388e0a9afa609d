// SPDX-License-Identifier: LGPL-2.1-or-later
/* loader.c - writes one object through unpublished extents. */
#include "loader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int object_writer_init(struct object_writer *writer, struct pinfold *pf, uint64_t extent_size, uint32_t extent_flags)
{
	*writer = (struct object_writer){.pf = pf, .extent_size = extent_size, .extent_flags = extent_flags};
	/* Aligned, so that the store may write it past the page cache. */
	writer->buffer = aligned_alloc(2u << 20, LOADER_BUFFER_SIZE);
	return writer->buffer ? 0 : -ENOMEM;
}

/* As large as what is still to come, if that is known and less than a whole extent. */
static uint64_t next_extent_size(const struct object_writer *writer)
{
	uint64_t size = PINFOLD_EXTENT_MIN;

	if (!writer->expected || writer->expected >= writer->extent_size)
		return writer->extent_size;
	while (size < writer->expected)
		size *= 2;
	return size < writer->extent_size ? size : writer->extent_size;
}

static int next_extent(struct object_writer *writer)
{
	struct pinfold_extent *extents;
	int r;

	if (writer->extent_count == PINFOLD_OBJECT_EXTENTS_MAX)
		return -EFBIG;
	extents = reallocarray(writer->extents, writer->extent_count + 1, sizeof(*extents));
	if (!extents)
		return -ENOMEM;
	writer->extents = extents;
	r = pinfold_extent_alloc(writer->pf, next_extent_size(writer), writer->extent_flags,
				 &extents[writer->extent_count]);
	if (r)
		return r;
	writer->extent_count++;
	writer->extent_used = 0;
	return 0;
}

static int write_buffer(struct object_writer *writer)
{
	const char *p = writer->buffer;
	size_t left = writer->buffered;

	while (left) {
		struct pinfold_extent *extent;
		size_t n = left;
		int r;

		if (!writer->extent_count || writer->extent_used == writer->extents[writer->extent_count - 1].len) {
			r = next_extent(writer);
			if (r)
				return r;
		}
		extent = &writer->extents[writer->extent_count - 1];
		if (n > extent->len - writer->extent_used)
			n = extent->len - writer->extent_used;
		r = pinfold_bulk_write(writer->pf, extent, writer->extent_used, p, n);
		if (r)
			return r;
		writer->extent_used += n;
		writer->expected = writer->expected > n ? writer->expected - n : 0;
		p += n;
		left -= n;
	}
	writer->buffered = 0;
	return 0;
}

int object_writer_add(struct object_writer *writer, const void *data, size_t size)
{
	const char *p = data;

	while (size) {
		size_t n = LOADER_BUFFER_SIZE - writer->buffered;

		if (n > size)
			n = size;
		memcpy(writer->buffer + writer->buffered, p, n);
		writer->buffered += n;
		writer->size += n;
		p += n;
		size -= n;
		if (writer->buffered == LOADER_BUFFER_SIZE) {
			int r = write_buffer(writer);

			if (r)
				return r;
		}
	}
	return 0;
}

int object_writer_add_fd(struct object_writer *writer, int fd, uint64_t *ret_size, int *ret_read_errno)
{
	uint64_t size = 0;
	int r;

	*ret_read_errno = 0;
	for (;;) {
		ssize_t n = read(fd, writer->buffer + writer->buffered, LOADER_BUFFER_SIZE - writer->buffered);

		if (n < 0 && errno == EINTR && !cli_stopped)
			continue;
		if (n <= 0 || cli_stopped) {
			*ret_read_errno = cli_stopped ? EINTR : n < 0 ? errno : 0;
			*ret_size = size;
			return 0;
		}
		writer->buffered += (size_t)n;
		writer->size += (size_t)n;
		size += (size_t)n;
		if (writer->buffered == LOADER_BUFFER_SIZE) {
			r = write_buffer(writer);
			if (r)
				return r;
			if (writer->progress)
				progress_update(writer->progress, size);
		}
	}
}

int object_writer_finish(struct object_writer *writer, const struct pinfold_object_id *id, bool replace)
{
	struct pinfold_object object = {.lifetime = PINFOLD_LIFETIME_LONG_LIVED, .flags = writer->extent_flags};
	int r = write_buffer(writer);

	/* An empty object has an extent too: its place in the store. */
	if (!r && !writer->extent_count) {
		writer->expected = 1;
		r = next_extent(writer);
	}
	if (!r)
		r = pinfold_bulk_flush(writer->pf, writer->extents, writer->extent_count);
	if (r)
		return r;
	object.size = writer->size;
	object.extents = writer->extents;
	object.extent_count = writer->extent_count;
	r = pinfold_object_create(writer->pf, id, &object, replace);
	if (r)
		return r;
	writer->extent_count = 0; /* they are the object's now */
	object_writer_reset(writer);
	return 0;
}

void object_writer_reset(struct object_writer *writer)
{
	for (size_t i = 0; i < writer->extent_count; i++)
		pinfold_extent_free(writer->pf, &writer->extents[i]);
	writer->extent_count = writer->buffered = 0;
	writer->size = writer->extent_used = writer->expected = 0;
}

void object_writer_done(struct object_writer *writer)
{
	free(writer->extents);
	free(writer->buffer);
	memset(writer, 0, sizeof(*writer));
}
