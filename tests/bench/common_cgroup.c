/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * common_cgroup.c - a memory cgroup for a benchmark's child, on cgroup v1 or v2.
 *
 * DESIGN
 *   The new group is made as close to our own as the host allows, so that limits
 *   above us still hold. On v2 a group that has processes cannot hand the memory
 *   controller to children (but the root), so we walk up from our own group to the first
 *   that can. Paths are read from /proc/self/mountinfo and /proc/self/cgroup; where
 *   our own group is outside of what is mounted (containers), the mount's top is used.
 */
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_text(const char *dir, const char *file, const char *text)
{
	char path[800];
	int fd, r = 0;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		r = -errno;
	close(fd);
	return r;
}

static int read_text(const char *dir, const char *file, char *text, size_t size)
{
	char path[800];
	ssize_t n;
	int fd, r;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, size - 1);
	r = n < 0 ? -errno : 0;
	text[n < 0 ? 0 : n] = 0;
	close(fd);
	return r;
}

/* Is @word one of the words of @list, which @separators divide? */
static bool has_word(const char *list, const char *word, const char *separators)
{
	size_t n = strlen(word);

	while (*list) {
		size_t span = strcspn(list, separators);

		if (span == n && !memcmp(list, word, n))
			return true;
		list += span;
		list += strspn(list, separators);
	}
	return false;
}

/* Mount point of the hierarchy that limits memory. Returns its version, 0 if there is none. */
static int find_mount(char *ret_mount, size_t size)
{
	char line[4096], mount[512], type[64], options[512];
	FILE *file = fopen("/proc/self/mountinfo", "re");
	int version = 0;

	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file)) {
		const char *tail = strstr(line, " - ");
		char controllers[512];
		int found = 0;

		if (!tail || sscanf(line, "%*s %*s %*s %*s %511s", mount) != 1 ||
		    sscanf(tail, " - %63s %*s %511s", type, options) != 2)
			continue;
		if (!strcmp(type, "cgroup") && has_word(options, "memory", ",\n"))
			found = 1;
		else if (!strcmp(type, "cgroup2") &&
			 !read_text(mount, "cgroup.controllers", controllers, sizeof(controllers)) &&
			 has_word(controllers, "memory", " \n"))
			found = 2;
		if (found && !version) {
			version = found;
			snprintf(ret_mount, size, "%s", mount);
		}
	}
	fclose(file);
	return version;
}

/* Our own group in the hierarchy of @version, as /proc/self/cgroup names it. */
static void own_group(int version, char *ret_group, size_t size)
{
	FILE *file = fopen("/proc/self/cgroup", "re");
	char line[4096];

	snprintf(ret_group, size, "/");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		char *controllers = strchr(line, ':');
		char *group = controllers ? strchr(controllers + 1, ':') : NULL;

		if (!group)
			continue;
		*group++ = 0;
		group[strcspn(group, "\n")] = 0;
		if (version == 2 ? !strcmp(controllers, ":") : has_word(controllers + 1, "memory", ","))
			snprintf(ret_group, size, "%s", group);
	}
	fclose(file);
}

/* Makes @parent/@name with a limit; leaves nothing behind on failure. */
static int make_group(int version, const char *parent, const char *name, uint64_t limit_bytes, char *ret_path,
		      size_t size)
{
	char text[32], have[512];
	int r;

	if (version == 2 && !read_text(parent, "cgroup.subtree_control", have, sizeof(have)) &&
	    !has_word(have, "memory", " \n")) {
		r = write_text(parent, "cgroup.subtree_control", "+memory");
		if (r)
			return r;
	}
	if (snprintf(ret_path, size, "%s/%s", parent, name) >= (int)size)
		return -ENAMETOOLONG;
	if (mkdir(ret_path, 0755))
		return -errno;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)limit_bytes);
	r = write_text(ret_path, version == 2 ? "memory.max" : "memory.limit_in_bytes", text);
	if (r)
		rmdir(ret_path);
	return r;
}

int bench_cgroup_create(const char *name, uint64_t limit_bytes, struct bench_cgroup *ret_cgroup)
{
	char mount[512], group[512], parent[1100], unique[128];
	int version = find_mount(mount, sizeof(mount)), r;
	static unsigned int serial;

	if (!version)
		return -ENOTSUP;
	snprintf(unique, sizeof(unique), "%.80s-%d-%u", name, (int)getpid(), serial++);
	own_group(version, group, sizeof(group));
	for (;;) {
		char *slash;

		snprintf(parent, sizeof(parent), "%s%s", mount, strcmp(group, "/") ? group : "");
		r = make_group(version, parent, unique, limit_bytes, ret_cgroup->path, sizeof(ret_cgroup->path));
		if (!r || !strcmp(group, "/"))
			break;
		slash = strrchr(group, '/');
		if (!slash)
			break;
		slash[slash == group] = 0;
	}
	if (!r)
		ret_cgroup->version = version;
	return r;
}

int bench_cgroup_enter(const struct bench_cgroup *cgroup)
{
	char text[32];

	if (!cgroup->version)
		return 0;
	snprintf(text, sizeof(text), "%d", (int)getpid());
	return write_text(cgroup->path, "cgroup.procs", text);
}

uint64_t bench_cgroup_used(const struct bench_cgroup *cgroup)
{
	char text[64];

	if (!cgroup->version ||
	    read_text(cgroup->path, cgroup->version == 2 ? "memory.current" : "memory.usage_in_bytes", text,
		      sizeof(text)))
		return 0;
	return strtoull(text, NULL, 10);
}

int bench_cgroup_remove(const struct bench_cgroup *cgroup)
{
	if (!cgroup->version)
		return 0;
	for (int i = 0;; i++) {
		if (!rmdir(cgroup->path) || errno == ENOENT)
			return 0;
		if (errno != EBUSY || i == 100)
			return -errno;
		usleep(50000);
	}
}
