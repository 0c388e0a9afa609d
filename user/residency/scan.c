// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * scan.c - hands out ranges block by block, in order, without evicting hot data.
 *
 * DESIGN
 *
 *   The planner (scan_plan.c) cuts the ranges into segments. Segments wait in a ring, in
 *   order; those that are not resident have a buffer and a direct read in flight.
 *
 *        head                                   tail
 *     ┌─────────┬──────────┬──────────┬──────────┐
 *     │ handed  │ in place │ reading  │ reading  │ ◀── plan, while a buffer is free
 *     │ out     │          │ (buffer) │ (buffer) │
 *     └─────────┴──────────┴──────────┴──────────┘
 *          ▲ given back at the next call
 *
 *   Reads past the page cache (O_DIRECT) leave the cache as it is. Without io_uring the read is
 *   made when its turn comes. Where O_DIRECT is refused, pages are read through the cache
 *   and dropped again.
 *
 * Invariants
 *   1. No byte of the mapping is touched here: a truncated file is -EIO, never SIGBUS.
 *   2. A buffer belongs to one segment from plan to the call after its handing out.
 *   3. Buffers are unmapped only after every submitted read has completed.
 *   4. An error is final: the same error is returned from then on.
 */
#include "residency/scan.h"

#include "base/error.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_DEFAULT 16
#define DEPTH_MAX 32
#define DEPTH_MIN 2
#define SEGMENTS_MAX 64
/** In-place bytes that may wait in the ring: what is planned too early may be evicted before its turn. */
#define IN_PLACE_MAX (2 * SCAN_SPAN)
/** Direct reads that are not a multiple of this are asked for in whole units. */
#define DIRECT_ALIGN 4096
/** The largest folio of a page cache. */
#define DROP_BACK ((uint64_t)2 << 20)

struct segment_state {
	struct scan_segment is;
	int buffer;    /* -1: in place */
	bool reading;  /* submitted, not completed */
	int32_t result;
};

struct pf_scan {
	struct scan_plan plan;
	struct pf_range *ranges;
	uint32_t *file_of;
	struct scan_file *files;
	size_t file_count;
	char *buffers;
	uint32_t depth, free_count;
	int free_list[DEPTH_MAX];
	struct segment_state segments[SEGMENTS_MAX];
	uint32_t head, tail; /* free-running */
	size_t in_place_bytes;
	bool handed_out;     /* segment at head is with the caller */
	bool planned_all;
	bool has_ring;
	uint32_t in_flight;
	int error;
	char error_text[PF_ERROR_MAX];
	struct pf_ring ring;
};

static struct segment_state *segment_at(struct pf_scan *scan, uint32_t index)
{
	return &scan->segments[index % SEGMENTS_MAX];
}

static char *buffer_of(struct pf_scan *scan, const struct segment_state *segment)
{
	return scan->buffers + (size_t)segment->buffer * SCAN_BLOCK;
}

static struct scan_file *file_of(struct pf_scan *scan, const struct segment_state *segment)
{
	return &scan->files[scan->file_of[segment->is.range]];
}

static uint64_t offset_of(const struct pf_scan *scan, const struct segment_state *segment)
{
	return scan->ranges[segment->is.range].offset + segment->is.at;
}

/* ---- opening ---- */

static void add_file(struct pf_scan *scan, size_t range, uint32_t flags)
{
	int fd = scan->ranges[range].fd;
	struct scan_file *file;

	for (size_t i = scan->file_count; i-- > 0;) {
		if (scan->files[i].fd == fd) {
			scan->file_of[range] = (uint32_t)i;
			return;
		}
	}
	file = &scan->files[scan->file_count];
	*file = (struct scan_file){.fd = fd, .direct = -1, .buffered = -1, .visible = pf_residency_visible(fd)};
	if (!(flags & PF_SCAN_NO_DIRECT)) {
		file->direct = pf_reopen(fd, O_DIRECT);
		if (file->direct < 0)
			file->direct = -1;
	}
	scan->file_of[range] = (uint32_t)scan->file_count++;
}

static int map_buffers(struct pf_scan *scan)
{
	size_t size = scan->depth * SCAN_BLOCK;
	char *buffers = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (buffers == MAP_FAILED)
		return pf_error(-errno, "scan: %zu bytes of buffers: %m", size);
	(void)madvise(buffers, size, MADV_HUGEPAGE);
	scan->buffers = buffers;
	for (uint32_t i = 0; i < scan->depth; i++)
		scan->free_list[scan->free_count++] = (int)(scan->depth - 1 - i);
	return 0;
}

/*
 * A scan hands over many reads at a time: it has no use for a kernel thread that takes them one by one. And it never
 * polls the device: a polled read completes only when it is asked for, so that a caller who does something else between
 * two blocks would hold up whoever truncates or allocates in the file, the store and itself among them.
 */
static bool open_ring(struct pf_scan *scan, const struct pf_ring_options *wish)
{
	struct pf_ring_options mine = *wish;
	char refused[160]; /* said once, by the ring of the store */

	mine.sq_polling = false;
	if (mine.sq_entries > DEPTH_MAX) {
		mine.sq_entries = DEPTH_MAX;
		mine.cq_entries = 0;
	}
	return pf_ring_open(&mine, -1, &scan->ring, refused, sizeof(refused)) == 0;
}

int pf_scan_open_flags(const struct pf_range *ranges, size_t count, uint32_t queue_depth,
		       const struct pf_ring_options *wish, uint32_t flags, struct pf_scan **ret_scan)
{
	struct pf_scan *scan;
	int r;

	for (size_t i = 0; i < count; i++) {
		r = pf_range_check(&ranges[i]);
		if (r)
			return r;
	}
	scan = calloc(1, sizeof(*scan));
	if (!scan)
		return pf_error(-ENOMEM, "scan: out of memory");
	scan->ranges = calloc(count ? count : 1, sizeof(*scan->ranges));
	scan->file_of = calloc(count ? count : 1, sizeof(*scan->file_of));
	scan->files = calloc(count ? count : 1, sizeof(*scan->files));
	if (!scan->ranges || !scan->file_of || !scan->files || scan_plan_init(&scan->plan)) {
		r = pf_error(-ENOMEM, "scan of %zu ranges: out of memory", count);
		goto err_close;
	}
	scan->depth = queue_depth ? queue_depth : DEPTH_DEFAULT;
	scan->depth = scan->depth > DEPTH_MAX ? DEPTH_MAX : scan->depth < DEPTH_MIN ? DEPTH_MIN : scan->depth;
	r = map_buffers(scan);
	if (r)
		goto err_close;
	for (size_t i = 0; i < count; i++) {
		scan->ranges[i] = ranges[i];
		add_file(scan, i, flags);
	}
	scan->plan.ranges = scan->ranges;
	scan->plan.files = scan->files;
	scan->plan.file_of = scan->file_of;
	scan->plan.count = count;
	scan->has_ring = wish && open_ring(scan, wish);
	*ret_scan = scan;
	return 0;

err_close:
	pf_scan_close(scan);
	return r;
}

int pf_scan_open(const struct pf_range *ranges, size_t count, uint32_t queue_depth, const struct pf_ring_options *wish,
		 struct pf_scan **ret_scan)
{
	return pf_scan_open_flags(ranges, count, queue_depth, wish, 0, ret_scan);
}

/* ---- reading ---- */

static int fail(struct pf_scan *scan, int code)
{
	scan->error = code;
	strncpy(scan->error_text, pf_error_text(), sizeof(scan->error_text) - 1);
	return code;
}

static void reap(struct pf_scan *scan)
{
	struct io_uring_cqe *cqe;

	while (!io_uring_peek_cqe(&scan->ring.uring, &cqe)) {
		struct segment_state *segment = io_uring_cqe_get_data(cqe);

		segment->result = cqe->res;
		segment->reading = false;
		scan->in_flight--;
		io_uring_cqe_seen(&scan->ring.uring, cqe);
	}
}

/** Hands queued reads to the kernel and, if @wait, sleeps until one completes. */
static int submit(struct pf_scan *scan, bool wait)
{
	int r = io_uring_submit(&scan->ring.uring);
	struct io_uring_cqe *cqe;

	if (r >= 0)
		scan->in_flight += (uint32_t)r;
	if (r >= 0 && wait && scan->in_flight)
		r = pf_ring_wait_cqe(&scan->ring, &cqe);
	if (r < 0 && r != -EINTR && r != -EAGAIN && r != -EBUSY)
		return r;
	reap(scan);
	return 0;
}

static void start_read(struct pf_scan *scan, struct segment_state *segment)
{
	struct scan_file *file = file_of(scan, segment);
	struct io_uring_sqe *sqe;

	segment->result = 0;
	if (!scan->has_ring || file->direct < 0)
		return;
	sqe = io_uring_get_sqe(&scan->ring.uring);
	if (!sqe)
		return; /* read when its turn comes */
	io_uring_prep_read(sqe, file->direct, buffer_of(scan, segment), (unsigned)segment->is.size,
			   offset_of(scan, segment));
	io_uring_sqe_set_data(sqe, segment);
	segment->reading = true;
}

static int plan_ahead(struct pf_scan *scan)
{
	bool started = false;

	while (!scan->planned_all && scan->tail - scan->head < SEGMENTS_MAX && scan->free_count &&
	       scan->in_place_bytes < IN_PLACE_MAX) {
		struct segment_state *segment = segment_at(scan, scan->tail);

		*segment = (struct segment_state){.buffer = -1};
		if (!scan_plan_next(&scan->plan, &segment->is)) {
			scan->planned_all = true;
			break;
		}
		scan->tail++;
		if (segment->is.in_place) {
			scan->in_place_bytes += segment->is.size;
			continue;
		}
		segment->buffer = scan->free_list[--scan->free_count];
		start_read(scan, segment);
		started |= segment->reading;
	}
	return started ? submit(scan, false) : 0;
}

/** Through the page cache, leaving it as it was: the planner gave only missing pages. */
static ssize_t read_buffered(struct scan_file *file, char *buffer, size_t size, uint64_t offset)
{
	uint64_t from;
	ssize_t got;

	if (file->buffered < 0) {
		file->buffered = pf_reopen(file->fd, 0);
		if (file->buffered < 0)
			file->buffered = dup(file->fd);
		else
			(void)posix_fadvise(file->buffered, 0, 0, POSIX_FADV_RANDOM);
		if (file->buffered < 0)
			return -errno;
	}
	got = pread(file->buffered, buffer, size, (off_t)offset);
	if (got < 0)
		return -errno;
	/* A folio larger than the block is dropped with its last part: all of it must lie in what is dropped. */
	if (offset != file->run_end)
		file->run_start = offset;
	file->run_end = offset + (uint64_t)got;
	from = offset - file->run_start > DROP_BACK ? offset - DROP_BACK : file->run_start;
	(void)posix_fadvise(file->buffered, (off_t)from, (off_t)(offset + size - from), POSIX_FADV_DONTNEED);
	return got;
}

static ssize_t read_some(struct scan_file *file, char *buffer, size_t size, uint64_t offset)
{
	if (file->direct >= 0) {
		ssize_t got = pread(file->direct, buffer, size, (off_t)offset);

		if (got >= 0)
			return got;
		if (errno != EINVAL && errno != EOPNOTSUPP && errno != ENOTSUP)
			return -errno;
	}
	return read_buffered(file, buffer, size, offset);
}

/** Completes what the ring did not: short reads, refusals, scans without a ring. */
static int finish_read(struct pf_scan *scan, struct segment_state *segment)
{
	struct scan_file *file = file_of(scan, segment);
	char *buffer = buffer_of(scan, segment);
	/* a direct read cannot go on from the middle of a block */
	size_t done = segment->result > 0 ? (size_t)segment->result & ~(size_t)(DIRECT_ALIGN - 1) : 0;
	uint64_t offset = offset_of(scan, segment);

	while (done < segment->is.size) {
		ssize_t got = read_some(file, buffer + done, segment->is.size - done, offset + done);
		unsigned long long where = offset + done;

		if (got == -EINTR || got == -EAGAIN)
			continue;
		if (got < 0)
			return pf_error(-EIO, "scan: file offset %llu: read of %zu bytes failed: %s", where,
					segment->is.size - done, strerror((int)-got));
		if (got < (ssize_t)(segment->is.size - done) && (got & (DIRECT_ALIGN - 1))) {
			struct stat st;

			/* only the end of a file is not aligned; ask again unless it is there */
			if (!fstat(file->fd, &st) && (uint64_t)st.st_size <= where + (uint64_t)got)
				got = 0;
			else
				got &= ~(ssize_t)(DIRECT_ALIGN - 1);
		}
		if (!got)
			return pf_error(-EIO,
					"scan: file offset %llu: the file ends there, %zu bytes short of the range",
					where, segment->is.size - done);
		done += (size_t)got;
	}
	return 0;
}

static void give_back(struct pf_scan *scan)
{
	struct segment_state *segment = segment_at(scan, scan->head);

	if (segment->buffer >= 0)
		scan->free_list[scan->free_count++] = segment->buffer;
	else
		scan->in_place_bytes -= segment->is.size;
	scan->head++;
	scan->handed_out = false;
}

int pf_scan_next(struct pf_scan *scan, const void **ret_data, size_t *ret_size, size_t *ret_range, uint64_t *ret_offset)
{
	struct segment_state *segment;
	int r;

	if (scan->error)
		return pf_error(scan->error, "%s", scan->error_text);
	if (scan->handed_out)
		give_back(scan);
	r = plan_ahead(scan);
	if (r)
		return fail(scan, pf_error(r, "scan: io_uring_submit: %s", strerror(-r)));
	if (scan->head == scan->tail)
		return 0;
	segment = segment_at(scan, scan->head);
	while (segment->reading) {
		r = submit(scan, true);
		if (r)
			return fail(scan, pf_error(r, "scan: io_uring_submit: %s", strerror(-r)));
	}
	if (segment->buffer >= 0 && segment->result != (int32_t)segment->is.size) {
		r = finish_read(scan, segment);
		if (r)
			return fail(scan, r);
	}
	scan->handed_out = true;
	*ret_data = segment->buffer >= 0 ? buffer_of(scan, segment)
					 : (char *)scan->ranges[segment->is.range].addr + segment->is.at;
	*ret_size = segment->is.size;
	*ret_range = segment->is.range;
	*ret_offset = segment->is.at;
	return 1;
}

void pf_scan_close(struct pf_scan *scan)
{
	if (!scan)
		return;
	if (scan->has_ring) {
		while (scan->in_flight) {
			struct io_uring_cqe *cqe;

			/* not submit: reads that the kernel has not seen need not be made any more */
			if (!io_uring_wait_cqe(&scan->ring.uring, &cqe))
				reap(scan);
		}
		pf_ring_close(&scan->ring);
	}
	if (scan->buffers)
		munmap(scan->buffers, scan->depth * SCAN_BLOCK);
	for (size_t i = 0; i < scan->file_count; i++) {
		if (scan->files[i].direct >= 0)
			close(scan->files[i].direct);
		if (scan->files[i].buffered >= 0)
			close(scan->files[i].buffered);
	}
	scan_plan_done(&scan->plan);
	free(scan->files);
	free(scan->file_of);
	free(scan->ranges);
	free(scan);
}
