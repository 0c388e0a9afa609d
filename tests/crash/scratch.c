/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *scratch_parent(void)
{
	const char *chosen = getenv("PF_TEST_DIR");

	if (chosen && *chosen)
		return chosen;
	return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/var/tmp";
}

int scratch_make(const char *parent, char ret_path[SCRATCH_PATH])
{
	snprintf(ret_path, SCRATCH_PATH, "%s/pf-proof-XXXXXX", parent ? parent : scratch_parent());
	return mkdtemp(ret_path) ? 0 : -errno;
}

void scratch_clear(const char *path, bool itself)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char name[SCRATCH_PATH + 260];
		struct stat st;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		if (lstat(name, &st) == 0 && S_ISDIR(st.st_mode))
			scratch_clear(name, true);
		else
			unlink(name);
	}
	if (dir)
		closedir(dir);
	if (itself)
		rmdir(path);
}

/* Blocks of zeros become holes: a copy of a copy finds nothing to read there. */
static int copy_block(int to, const char *bytes, size_t size, off_t at)
{
	static const char zeros[4096];

	for (size_t done = 0; done < size; done += sizeof(zeros)) {
		size_t part = size - done < sizeof(zeros) ? size - done : sizeof(zeros);

		if (memcmp(bytes + done, zeros, part) &&
		    pwrite(to, bytes + done, part, at + (off_t)done) != (ssize_t)part)
			return -EIO;
	}
	return 0;
}

static int copy_data(int from, int to, off_t size)
{
	static char bytes[1 << 16];
	off_t at = 0;

	while ((at = lseek(from, at, SEEK_DATA)) >= 0 && at < size) {
		off_t end = lseek(from, at, SEEK_HOLE);

		while (at < end) {
			size_t want = (size_t)(end - at) < sizeof(bytes) ? (size_t)(end - at) : sizeof(bytes);
			ssize_t n = pread(from, bytes, want, at);

			if (n <= 0 || copy_block(to, bytes, (size_t)n, at) < 0)
				return -EIO;
			at += n;
		}
	}
	return 0;
}

static int copy_file(int from_dir, const char *from_name, int to_dir, const char *name)
{
	int from = openat(from_dir, from_name, O_RDONLY | O_CLOEXEC);
	int to = openat(to_dir, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct stat st;
	int r = -EIO;

	if (from >= 0 && to >= 0 && fstat(from, &st) == 0 && ftruncate(to, st.st_size) == 0)
		r = copy_data(from, to, st.st_size);
	close(from);
	close(to);
	return r;
}

int scratch_copy_to(const char *from, const char *dir, const char *name)
{
	int to_dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = to_dir < 0 ? -errno : copy_file(AT_FDCWD, from, to_dir, name);

	close(to_dir);
	return r;
}

static int copy_entry(int from_dir, int to_dir, const char *from, const char *to, const char *name)
{
	char below_from[SCRATCH_PATH + 260], below_to[SCRATCH_PATH + 260];
	struct stat st;

	if (!strcmp(name, ".") || !strcmp(name, "..") || fstatat(from_dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (S_ISREG(st.st_mode))
		return copy_file(from_dir, name, to_dir, name);
	if (!S_ISDIR(st.st_mode))
		return 0;
	snprintf(below_from, sizeof(below_from), "%s/%s", from, name);
	snprintf(below_to, sizeof(below_to), "%s/%s", to, name);
	if (mkdir(below_to, 0700) < 0 && errno != EEXIST)
		return -errno;
	return scratch_copy(below_from, below_to);
}

int scratch_copy(const char *from, const char *to)
{
	int to_dir = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = opendir(from);
	struct dirent *entry;
	int r = dir && to_dir >= 0 ? 0 : -ENOENT;

	while (r == 0 && (entry = readdir(dir)))
		r = copy_entry(dirfd(dir), to_dir, from, to, entry->d_name);
	if (dir)
		closedir(dir);
	close(to_dir);
	return r;
}

pid_t child_start(int (*fn)(void *ctx), void *ctx)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
		_exit(fn(ctx) ? 1 : 0);
	return pid;
}

int child_wait(pid_t pid, unsigned timeout_ms, bool *ret_late)
{
	struct timespec nap = { 0, 200000 };
	int status = 0;

	*ret_late = false;
	for (unsigned waited_us = 0; waitpid(pid, &status, WNOHANG) == 0; waited_us += 200) {
		if (waited_us / 1000 >= timeout_ms) {
			*ret_late = true;
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			break;
		}
		nanosleep(&nap, NULL);
	}
	return status;
}

const char *child_status_text(int status, bool late)
{
	static char text[64];

	if (late)
		snprintf(text, sizeof(text), "did not end in time");
	else if (WIFSIGNALED(status))
		snprintf(text, sizeof(text), "died of signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(text, sizeof(text), "ended with status %d", WEXITSTATUS(status));
	return text;
}
