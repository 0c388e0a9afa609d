/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "scratch.h"

#include <dirent.h>
#include <errno.h>
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
