// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ring: whatever is wished for, it opens, does I/O, and says what it does without.
 */
#include "kselftest_harness.h"

#include "base/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIZE (64 << 10)

FIXTURE(ring)
{
	char path[256];
	int fd; /* with O_DIRECT; -1: the filesystem has none */
	char *buffer;
};

FIXTURE_VARIANT(ring)
{
	enum pf_ring_wait wait;
	bool sq_polling;
};

FIXTURE_VARIANT_ADD(ring, interrupt){};
FIXTURE_VARIANT_ADD(ring, polling){ .wait = PF_RING_POLLING };
FIXTURE_VARIANT_ADD(ring, hybrid){ .wait = PF_RING_HYBRID };
FIXTURE_VARIANT_ADD(ring, sq){ .sq_polling = true };
FIXTURE_VARIANT_ADD(ring, polling_sq){ .wait = PF_RING_POLLING, .sq_polling = true };
FIXTURE_VARIANT_ADD(ring, hybrid_sq){ .wait = PF_RING_HYBRID, .sq_polling = true };

FIXTURE_SETUP(ring)
{
	const char *dir = getenv("TMPDIR");
	int fd;

	snprintf(self->path, sizeof(self->path), "%s/pf-ring-XXXXXX", dir ? dir : "/var/tmp");
	fd = mkstemp(self->path);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, posix_memalign((void **)&self->buffer, 4096, SIZE));
	memset(self->buffer, 'r', SIZE);
	ASSERT_EQ(SIZE, write(fd, self->buffer, SIZE));
	ASSERT_EQ(0, fsync(fd));
	close(fd);
	self->fd = open(self->path, O_RDWR | O_DIRECT | O_CLOEXEC);
}

FIXTURE_TEARDOWN(ring)
{
	if (self->fd >= 0)
		close(self->fd);
	unlink(self->path);
	free(self->buffer);
}

static struct pf_ring_options wish_of(const FIXTURE_VARIANT(ring) * variant)
{
	return (struct pf_ring_options){
		.sq_entries = 16,
		.cq_entries = 64,
		.wait = variant->wait,
		.sq_polling = variant->sq_polling,
		.sq_idle_ms = 5,
	};
}

static int one(struct pf_ring *ring, int fd, bool write, char *buffer, uint64_t offset)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
	struct io_uring_cqe *cqe;
	int r;

	if (!sqe)
		return -EBUSY;
	if (write)
		io_uring_prep_write(sqe, fd, buffer, 4096, offset);
	else
		io_uring_prep_read(sqe, fd, buffer, 4096, offset);
	r = pf_ring_wait_cqe(ring, &cqe);
	if (r == 0) {
		r = cqe->res;
		io_uring_cqe_seen(&ring->uring, cqe);
	}
	return r;
}

TEST_F(ring, does_io_and_says_how)
{
	struct pf_ring_options wish = wish_of(variant);
	char refused[160], words[64];
	struct pf_ring ring;
	int r;

	if (self->fd < 0)
		SKIP(return, "the filesystem of the scratch directory has no O_DIRECT");
	r = pf_ring_open(&wish, self->fd, &ring, refused, sizeof(refused));
	if (r == -EPERM || r == -ENOSYS)
		SKIP(return, "this host has or allows no io_uring: %s", strerror(-r));
	ASSERT_EQ(0, r);
	for (int i = 0; i < 40; i++) {
		uint64_t offset = (uint64_t)(i % 16) * 4096;

		memset(self->buffer, 'a' + i % 26, 4096);
		ASSERT_EQ(4096, one(&ring, self->fd, true, self->buffer, offset));
		memset(self->buffer, 0, 4096);
		ASSERT_EQ(4096, one(&ring, self->fd, false, self->buffer, offset));
		ASSERT_EQ('a' + i % 26, self->buffer[4095]);
		if (i == 20)
			usleep(20000); /* a thread of the kernel that looks for submissions is asleep now */
	}
	EXPECT_EQ(16, ring.is.sq_entries);
	EXPECT_EQ(64, ring.is.cq_entries);
	pf_ring_describe(&ring, words, sizeof(words));
	TH_LOG("%s; refused: %s", words, refused);
	EXPECT_EQ(0, strncmp(words, "io_uring, ", 10));
	/* what was not granted has a name, what was granted has none */
	EXPECT_EQ(ring.is.wait != variant->wait, strstr(refused, "polling: ") == refused);
	EXPECT_EQ(variant->wait == PF_RING_HYBRID && !ring.iopoll,
		  strstr(refused, "hybrid polling by the kernel: ") == refused);
	EXPECT_EQ(ring.is.sq_polling != variant->sq_polling, strstr(refused, "SQ polling: ") != NULL);
	if (variant->wait == PF_RING_HYBRID)
		EXPECT_EQ(PF_RING_HYBRID, ring.is.wait);
	pf_ring_close(&ring);
}

TEST_F(ring, without_direct_files_nothing_is_polled)
{
	struct pf_ring_options wish = wish_of(variant);
	char refused[160];
	struct pf_ring ring;
	int r = pf_ring_open(&wish, -1, &ring, refused, sizeof(refused)), fd;

	if (r == -EPERM || r == -ENOSYS)
		SKIP(return, "this host has or allows no io_uring: %s", strerror(-r));
	ASSERT_EQ(0, r);
	EXPECT_FALSE(ring.iopoll);
	EXPECT_NE(PF_RING_POLLING, ring.is.wait);
	if (variant->wait == PF_RING_POLLING)
		EXPECT_NE(NULL, strstr(refused, "polling: the files are not open with O_DIRECT"));
	if (variant->wait == PF_RING_HYBRID)
		EXPECT_NE(NULL, strstr(refused, "hybrid polling by the kernel: the files are not open with O_DIRECT"));
	fd = open(self->path, O_RDWR | O_CLOEXEC);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(4096, one(&ring, fd, false, self->buffer, 0));
	close(fd);
	pf_ring_close(&ring);
}

TEST(a_ring_that_cannot_be_is_an_error)
{
	struct pf_ring_options wish = { .sq_entries = 0 };
	char refused[160];
	struct pf_ring ring;

	EXPECT_GT(0, pf_ring_open(&wish, -1, &ring, refused, sizeof(refused)));
}

TEST_HARNESS_MAIN
