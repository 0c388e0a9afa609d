/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * journal.c - the ring of segment files that journal positions run through.
 *
 * DESIGN: a position is an endless byte count of the ring's space behind the segment
 * headers; position p stands in segment (p / segment_data) % count. Segments are
 * written with zeros once, at creation: from then on a write changes no metadata, so
 * that fdatasync needs no commit of the filesystem's own journal. Nothing is
 * written to recycle a segment: every group states its position, and a stale one does not
 * match.
 */
#include "base/crc.h"
#include "base/error.h"
#include "store/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define JOURNAL_DIR "journal"
#define ZERO_STEP (1u << 20)

void pf_journal_geometry(uint64_t journal_size, uint32_t *ret_count, uint64_t *ret_segment_size)
{
	uint64_t size = journal_size / 8;

	if (size < 4ull << 20)
		size = 4ull << 20;
	if (size > 1ull << 30)
		size = 1ull << 30;
	size &= ~(uint64_t)(PF_BLOCK_SIZE - 1);
	*ret_count = (uint32_t)(journal_size / size);
	*ret_segment_size = size;
}

uint32_t pf_journal_locate(const struct pf_store *store, uint64_t pos, uint64_t *ret_offset, uint64_t *ret_room)
{
	uint64_t in_segment = pos % store->segment_data;

	*ret_offset = PF_BLOCK_SIZE + in_segment;
	*ret_room = store->segment_data - in_segment;
	return (uint32_t)(pos / store->segment_data % store->super.segment_count);
}

uint64_t pf_record_max(const struct pf_store *store)
{
	return (store->capacity / 4 > store->config.journal_size / 4 ? store->capacity / 4
								     : store->config.journal_size / 4) +
	       PF_BLOCK_SIZE;
}

static void segment_name(char *ret_name, size_t size, uint32_t generation, uint32_t index)
{
	snprintf(ret_name, size, "%08u.%06u", generation, index);
}

void pf_segment_header_make(const struct pf_store *store, uint32_t index, struct pf_segment_header *ret_header)
{
	struct pf_segment_header *header = ret_header;

	*header = (struct pf_segment_header){
		.version = PF_FORMAT_VERSION,
		.segment_size = store->super.segment_size,
		.generation = store->super.journal_generation,
		.index = index,
		.segment_count = store->super.segment_count,
	};
	memcpy(header->magic, PF_SEGMENT_MAGIC, sizeof(header->magic));
	memcpy(header->uuid, store->super.uuid, sizeof(header->uuid));
	header->crc = pf_crc32c(header, sizeof(*header));
}

static int create_segment(struct pf_store *store, int dirfd, uint32_t index, uint8_t *zeros)
{
	const uint64_t size = store->super.segment_size;
	char name[32];
	int fd, r;

	segment_name(name, sizeof(name), store->super.journal_generation, index);
	pf_io_unlink(dirfd, name);
	fd = pf_io_open(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_DIRECT, 0600);
	if (fd == -EINVAL)
		fd = pf_io_open(dirfd, name, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return pf_error(fd, "%s/%s/%s: cannot create: %s", store->dir, JOURNAL_DIR, name, strerror(-fd));
	r = pf_io_fallocate(fd, 0, 0, size);
	if (r == -EOPNOTSUPP)
		r = 0;
	for (uint64_t at = 0; r == 0 && at < size; at += ZERO_STEP) {
		uint64_t step = size - at < ZERO_STEP ? size - at : ZERO_STEP;
		ssize_t n;

		if (at == 0)
			pf_segment_header_make(store, index, (struct pf_segment_header *)zeros);
		n = pf_io_pwrite(fd, zeros, step, at);
		memset(zeros, 0, PF_BLOCK_SIZE);
		if (n < 0 || (uint64_t)n < step)
			r = n < 0 ? (int)n : -ENOSPC;
	}
	if (r == 0)
		r = pf_io_fsync(fd);
	close(fd);
	if (r < 0)
		return pf_error(r, "%s/%s/%s: cannot write %llu bytes: %s", store->dir, JOURNAL_DIR, name,
				(unsigned long long)size, strerror(-r));
	return 0;
}

int pf_journal_create(struct pf_store *store, uint64_t journal_size)
{
	uint8_t *zeros = NULL;
	int dirfd, r;

	r = pf_io_mkdir(store->dirfd, JOURNAL_DIR, 0700);
	if (r < 0 && r != -EEXIST)
		return pf_error(r, "%s/%s: cannot create: %s", store->dir, JOURNAL_DIR, strerror(-r));
	dirfd = pf_io_open(store->dirfd, JOURNAL_DIR, O_RDONLY | O_DIRECTORY, 0);
	if (dirfd < 0)
		return pf_error(dirfd, "%s/%s: cannot open: %s", store->dir, JOURNAL_DIR, strerror(-dirfd));
	if (posix_memalign((void **)&zeros, PF_BLOCK_SIZE, ZERO_STEP) != 0) {
		r = pf_error(-ENOMEM, "no memory for the journal");
		goto out;
	}
	memset(zeros, 0, ZERO_STEP);
	pf_journal_unlink(store, store->super.journal_generation); /* an interrupted one may have had more segments */
	pf_journal_geometry(journal_size, &store->super.segment_count, &store->super.segment_size);
	r = 0;
	for (uint32_t i = 0; r == 0 && i < store->super.segment_count; i++)
		r = create_segment(store, dirfd, i, zeros);
	if (r == 0) {
		r = pf_io_fsync(dirfd);
		if (r == 0)
			r = pf_io_fsync(store->dirfd);
		if (r < 0)
			pf_error(r, "%s/%s: flush failed: %s", store->dir, JOURNAL_DIR, strerror(-r));
	}
out:
	free(zeros);
	close(dirfd);
	return r;
}

void pf_journal_unlink(struct pf_store *store, uint32_t generation)
{
	int dirfd = pf_io_open(store->dirfd, JOURNAL_DIR, O_RDONLY | O_DIRECTORY, 0);
	char name[32];

	if (dirfd < 0)
		return;
	segment_name(name, sizeof(name), generation, 0);
	if (faccessat(dirfd, name, F_OK, 0) == 0)
		for (uint32_t i = PF_SEGMENT_COUNT_MAX;
		     i-- > 0;) { /* the first goes last: while it is there, others may be */
			segment_name(name, sizeof(name), generation, i);
			pf_io_unlink(dirfd, name);
		}
	close(dirfd);
}

static int open_segment(struct pf_store *store, uint32_t index, uint8_t *block)
{
	const int mode = store->read_only ? O_RDONLY : O_RDWR;
	struct pf_segment_header *expected = (struct pf_segment_header *)(block + PF_BLOCK_SIZE);
	char name[32];
	ssize_t n;
	int fd;

	segment_name(name, sizeof(name), store->super.journal_generation, index);
	fd = pf_io_open(store->journal_dirfd, name, mode | O_DIRECT, 0);
	if (fd == -EINVAL)
		fd = pf_io_open(store->journal_dirfd, name, mode, 0);
	if (fd < 0)
		return pf_error(fd == -ENOENT ? -EUCLEAN : fd, "%s/%s/%s: cannot open: %s", store->dir, JOURNAL_DIR,
				name, strerror(-fd));
	store->segments[index].fd = fd;
	store->segments[index].direct = fcntl(fd, F_GETFL) & O_DIRECT;
	n = pf_io_pread(fd, block, PF_BLOCK_SIZE, 0);
	if (n < 0)
		return pf_error((int)n, "%s/%s/%s: offset 0: %s", store->dir, JOURNAL_DIR, name, strerror((int)-n));
	pf_segment_header_make(store, index, expected);
	if (n != PF_BLOCK_SIZE || memcmp(block, expected, PF_BLOCK_SIZE) != 0)
		return pf_error(-EUCLEAN, "%s/%s/%s: offset 0: header does not match the superblock", store->dir,
				JOURNAL_DIR, name);
	if (lseek(fd, 0, SEEK_END) != (off_t)store->super.segment_size)
		return pf_error(-EUCLEAN, "%s/%s/%s: is not %llu bytes long", store->dir, JOURNAL_DIR, name,
				(unsigned long long)store->super.segment_size);
	return 0;
}

int pf_journal_open(struct pf_store *store)
{
	uint8_t *block = NULL;
	int r;

	store->segment_data = store->super.segment_size - PF_BLOCK_SIZE;
	store->capacity = store->segment_data * store->super.segment_count;
	r = pf_io_open(store->dirfd, JOURNAL_DIR, O_RDONLY | O_DIRECTORY, 0);
	if (r < 0)
		return pf_error(r == -ENOENT ? -EUCLEAN : r, "%s/%s: cannot open: %s", store->dir, JOURNAL_DIR,
				strerror(-r));
	store->journal_dirfd = r;
	store->segments = calloc(store->super.segment_count, sizeof(*store->segments));
	if (!store->segments || posix_memalign((void **)&block, PF_BLOCK_SIZE, 2 * PF_BLOCK_SIZE) != 0)
		return pf_error(-ENOMEM, "no memory for the journal");
	for (uint32_t i = 0; i < store->super.segment_count; i++)
		store->segments[i].fd = -1;
	r = 0;
	for (uint32_t i = 0; r == 0 && i < store->super.segment_count; i++)
		r = open_segment(store, i, block);
	free(block);
	return r;
}

void pf_journal_close(struct pf_store *store)
{
	for (uint32_t i = 0; store->segments && i < store->super.segment_count; i++)
		if (store->segments[i].fd >= 0)
			close(store->segments[i].fd);
	free(store->segments);
	store->segments = NULL;
	if (store->journal_dirfd >= 0)
		close(store->journal_dirfd);
	store->journal_dirfd = -1;
}
