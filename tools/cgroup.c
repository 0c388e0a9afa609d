// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * cgroup.c - a memory limit for this process alone.
 *
 * v1: a group below this process's own in the memory hierarchy.
 * v2: a process may not live in a group that hands the memory controller to
 *     its children. So the place is the nearest ancestor whose children have
 *     that controller: a new group beside our own, most often.
 *
 * A group is named pinfold-PID. Those of processes that no longer live (they were
 * killed) are removed on the way.
 */
#include "cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define GROUP_PREFIX "pinfold-"
#define REMOVE_TRIES 50

static int write_file(const char *dir, const char *name, const char *text)
{
	char path[640];
	size_t size = strlen(text);
	int fd, r = 0;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, size) != (ssize_t)size)
		r = errno ? -errno : -EIO;
	close(fd);
	return r;
}

static bool file_has_word(const char *dir, const char *name, const char *word)
{
	char path[640], text[512];
	FILE *file;
	bool found = false;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "re");
	if (!file)
		return false;
	while (!found && fscanf(file, "%511s", text) == 1)
		found = !strcmp(text, word);
	fclose(file);
	return found;
}

/* Where hierarchy @version is mounted and which of its groups this process is in. */
static bool find_home(int version, char *ret_mount, char *ret_group, size_t size)
{
	char line[1024], mount[512], type[64], options[512];
	bool found = false;
	FILE *file = fopen("/proc/self/mounts", "re");

	while (file && !found && fgets(line, sizeof(line), file)) {
		char *memory;

		if (sscanf(line, "%*s %511s %63s %511s", mount, type, options) != 3)
			continue;
		memory = strstr(options, "memory");
		if (version == 2)
			found = !strcmp(type, "cgroup2");
		else
			found = !strcmp(type, "cgroup") && memory && (memory == options || memory[-1] == ',') &&
				(memory[6] == ',' || !memory[6]);
	}
	if (file)
		fclose(file);
	if (!found)
		return false;
	snprintf(ret_mount, size, "%s", mount);
	found = false;
	file = fopen("/proc/self/cgroup", "re");
	while (file && !found && fgets(line, sizeof(line), file)) {
		char *first = strchr(line, ':'), *second = first ? strchr(first + 1, ':') : NULL;

		if (!second)
			continue;
		*second = 0;
		second[1 + strcspn(second + 1, "\n")] = 0;
		found = version == 2 ? !strncmp(line, "0::", 2) && !first[1] : !strcmp(first + 1, "memory");
		if (found)
			snprintf(ret_group, size, "%s", !strcmp(second + 1, "/") ? "" : second + 1);
	}
	if (file)
		fclose(file);
	return found;
}

/* Groups that an earlier, killed process left behind. */
static void remove_stale(const char *parent)
{
	DIR *dir = opendir(parent);
	struct dirent *entry;
	char path[1024];

	while (dir && (entry = readdir(dir))) {
		int pid;

		if (strncmp(entry->d_name, GROUP_PREFIX, strlen(GROUP_PREFIX)))
			continue;
		pid = atoi(entry->d_name + strlen(GROUP_PREFIX));
		if (pid <= 0 || kill(pid, 0) == 0 || errno != ESRCH)
			continue;
		snprintf(path, sizeof(path), "%s/%s", parent, entry->d_name);
		rmdir(path);
	}
	if (dir)
		closedir(dir);
}

static int make_group(struct cgroup *cgroup, const char *parent, uint64_t limit_bytes)
{
	char text[32];
	int r;

	remove_stale(parent);
	if ((size_t)snprintf(cgroup->path, sizeof(cgroup->path), "%s/" GROUP_PREFIX "%d", parent, (int)getpid()) >=
	    sizeof(cgroup->path))
		return -ENAMETOOLONG;
	if (mkdir(cgroup->path, 0755))
		return -errno;
	snprintf(text, sizeof(text), "%" PRIu64, limit_bytes);
	r = write_file(cgroup->path, cgroup->version == 2 ? "memory.max" : "memory.limit_in_bytes", text);
	/* Swapping the program out is not what is to be shown; not every host has the file. */
	if (!r && cgroup->version == 2)
		write_file(cgroup->path, "memory.swap.max", "0");
	if (!r && cgroup->version == 1)
		write_file(cgroup->path, "memory.swappiness", "0");
	snprintf(text, sizeof(text), "%d", (int)getpid());
	if (!r)
		r = write_file(cgroup->path, "cgroup.procs", text);
	if (r)
		rmdir(cgroup->path);
	return r;
}

static int enter_v1(struct cgroup *cgroup, uint64_t limit_bytes)
{
	char mount[512], group[512];

	if (!find_home(1, mount, group, sizeof(mount)))
		return -ENOENT;
	cgroup->version = 1;
	/* In a container the group's path may be of another mount: then the mount itself is our place. */
	if ((size_t)snprintf(cgroup->home, sizeof(cgroup->home), "%s%s", mount, group) >= sizeof(cgroup->home))
		return -ENAMETOOLONG;
	if (access(cgroup->home, F_OK))
		snprintf(cgroup->home, sizeof(cgroup->home), "%s", mount);
	return make_group(cgroup, cgroup->home, limit_bytes);
}

static int enter_v2(struct cgroup *cgroup, uint64_t limit_bytes)
{
	char mount[512], group[512], parent[512];
	int r = -EOPNOTSUPP;

	if (!find_home(2, mount, group, sizeof(mount)))
		return -ENOENT;
	cgroup->version = 2;
	if ((size_t)snprintf(cgroup->home, sizeof(cgroup->home), "%s%s", mount, group) >= sizeof(cgroup->home))
		return -ENAMETOOLONG;
	if (access(cgroup->home, F_OK))
		snprintf(cgroup->home, sizeof(cgroup->home), "%s", mount);
	strcpy(parent, cgroup->home);
	for (;;) {
		char *slash = strrchr(parent, '/');

		/* The root of a hierarchy may hold processes and hand out controllers too. */
		if (!file_has_word(parent, "cgroup.subtree_control", "memory") && !strcmp(parent, mount) &&
		    file_has_word(parent, "cgroup.controllers", "memory"))
			write_file(parent, "cgroup.subtree_control", "+memory");
		if (file_has_word(parent, "cgroup.subtree_control", "memory")) {
			r = make_group(cgroup, parent, limit_bytes);
			if (!r)
				return 0;
		}
		if (!strcmp(parent, mount) || !slash)
			return r;
		*slash = 0;
	}
}

int cgroup_enter(uint64_t limit_bytes, struct cgroup *ret_cgroup, char *ret_why, size_t why_size)
{
	struct cgroup v1 = {0}, v2 = {0};
	int r1 = enter_v1(&v1, limit_bytes), r2;

	if (!r1) {
		*ret_cgroup = v1;
		return 0;
	}
	r2 = enter_v2(&v2, limit_bytes);
	if (!r2) {
		*ret_cgroup = v2;
		return 0;
	}
	if (r1 == -ENOENT && r2 == -ENOENT)
		snprintf(ret_why, why_size, "no cgroup hierarchy with a memory controller is mounted");
	else if (r1 == -ENOENT)
		snprintf(ret_why, why_size, "cgroup v2: %s",
			 r2 == -EOPNOTSUPP ? "no group above this one hands out the memory controller" : strerror(-r2));
	else
		snprintf(ret_why, why_size, "cgroup v1: %s: %s", v1.home, strerror(-r1));
	memset(ret_cgroup, 0, sizeof(*ret_cgroup));
	return r1 == -ENOENT ? r2 : r1;
}

void cgroup_leave(struct cgroup *cgroup)
{
	const struct timespec nap = {.tv_nsec = 20000000};
	char pid[16];

	if (!cgroup->version)
		return;
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	write_file(cgroup->home, "cgroup.procs", pid);
	/* Pages still being written keep a group busy for a moment. */
	for (int i = 0; i < REMOVE_TRIES && rmdir(cgroup->path) && errno == EBUSY; i++)
		nanosleep(&nap, NULL);
	memset(cgroup, 0, sizeof(*cgroup));
}
