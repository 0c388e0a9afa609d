/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * DESIGN: one open file description lock (OFD) on `lock` says that a writer is
 * alive; the kernel drops it with the writer, however that ends. The text in the
 * file only says who. OFD and not POSIX locks, as those vanish when any other
 * descriptor of the same file is closed in the process.
 *
 * A child that was forked and has not run another program shares the description:
 * the end of a writer's descriptor is not the end of the lock then. So whoever took
 * it gives it up in words, and nobody else does: a child that closes what it has
 * inherited must not unlock its parent's store. A writer that is killed while such a
 * child lives leaves the lock to the child.
 */
#include "base/error.h"
#include "store/internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOCK_FILE "lock"
#define LOCK_TEXT_MAX 160
#define LOCK_NOTE_MAX 64

static int lock_query(int fd, bool *ret_held)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(fd, F_OFD_GETLK, &lock) != 0)
		return -errno;
	*ret_held = lock.l_type != F_UNLCK;
	return 0;
}

/* When process @pid started, in clock ticks since boot: tells a reused pid. 0 if unknown. */
static uint64_t start_time(pid_t pid)
{
	char path[64], text[1024], *at;
	uint64_t value = 0;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	at = strrchr(text, ')'); /* the command's name may hold anything */
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (at)
		value = strtoull(at, NULL, 10);
	return value;
}

static int write_text(struct pf_store *store, const char *note)
{
	char text[LOCK_TEXT_MAX] = "";
	int n = snprintf(text, sizeof(text), "%d %" PRIu64 " %s\n", (int)getpid(), start_time(getpid()), note);
	ssize_t written;
	int r;

	/* one write of constant size: a reader never sees half of an old text behind a new one */
	memset(text + n, '\0', sizeof(text) - (size_t)n);
	written = pwrite(store->lock_fd, text, sizeof(text), 0);
	r = written < 0 ? -errno : written < (ssize_t)sizeof(text) ? -ENOSPC : 0;
	if (r < 0)
		return pf_error(r, "%s/%s: cannot write the holder's name: %s", store->dir, LOCK_FILE, strerror(-r));
	return 0;
}

int pf_lock_acquire(struct pf_store *store)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = pf_io_open(store->dirfd, LOCK_FILE, O_RDWR | O_CREAT | O_EXCL, 0600);

	if (fd == -EEXIST)
		fd = pf_io_open(store->dirfd, LOCK_FILE, O_RDWR, 0);
	if (fd < 0)
		return pf_error(fd, "%s/%s: cannot open: %s", store->dir, LOCK_FILE, strerror(-fd));
	if (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
		int r = errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
		char text[LOCK_TEXT_MAX] = "";

		if (pread(fd, text, sizeof(text) - 1, 0) <= 0)
			text[0] = '\0';
		close(fd);
		return pf_error(r, "%s: held for writing by process %d", store->dir, atoi(text));
	}
	store->lock_fd = fd;
	store->lock_pid = getpid();
	return write_text(store, "");
}

void pf_lock_release(struct pf_store *store)
{
	struct flock unlock = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	if (store->lock_fd < 0)
		return;
	if (store->lock_pid == getpid())
		fcntl(store->lock_fd, F_OFD_SETLK, &unlock);
	close(store->lock_fd);
	store->lock_fd = -1;
}

int pf_lock_held(int dirfd)
{
	int fd = pf_io_open(dirfd, LOCK_FILE, O_RDONLY, 0);
	bool held = false;
	int r;

	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return fd;
	r = lock_query(fd, &held);
	close(fd);
	return r < 0 ? r : held;
}

int pf_store_lock_note(struct pf_store *store, const char *note)
{
	if (strlen(note) > LOCK_NOTE_MAX || strchr(note, '\n'))
		return pf_error(-EINVAL, "lock note: at most %d bytes and no newline", LOCK_NOTE_MAX);
	if (store->read_only)
		return pf_error(-EROFS, "%s: opened read-only; it has no lock to note in", store->dir);
	return write_text(store, note);
}

int pf_store_lock_holder(const char *dir, pid_t *ret_pid, char *ret_note, size_t note_size)
{
	char text[LOCK_TEXT_MAX] = "", *at;
	int dirfd = pf_io_open(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY, 0);
	bool held = false;
	int fd, r;
	long pid;

	if (dirfd < 0)
		return pf_error(dirfd, "%s: %s", dir, strerror(-dirfd));
	fd = pf_io_open(dirfd, LOCK_FILE, O_RDONLY, 0);
	close(dirfd);
	if (fd < 0)
		return pf_error(fd, "%s/%s: %s", dir, LOCK_FILE, strerror(-fd));
	r = lock_query(fd, &held);
	if (r == 0 && held && pread(fd, text, sizeof(text) - 1, 0) < 0)
		r = -errno;
	close(fd);
	if (r < 0)
		return pf_error(r, "%s/%s: %s", dir, LOCK_FILE, strerror(-r));
	if (!held)
		return pf_error(-ENOENT, "%s: nobody holds it for writing", dir);
	pid = strtol(text, &at, 10);
	if (pid <= 0 || *at != ' ')
		return pf_error(-ENOENT, "%s/%s: its holder has not written its name yet", dir, LOCK_FILE);
	strtoull(at, &at, 10);
	at += *at == ' ';
	at[strcspn(at, "\n")] = '\0';
	*ret_pid = (pid_t)pid;
	if (note_size > 0)
		snprintf(ret_note, note_size, "%s", at);
	return 0;
}
