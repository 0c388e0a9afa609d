/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cgroup.h - a memory cgroup of a test's own, v1 or v2, for one child process.
 */
#ifndef PF_TEST_RESIDENCY_CGROUP_H
#define PF_TEST_RESIDENCY_CGROUP_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct test_cgroup {
	char dir[256];
};

static inline bool test_cgroup_write(struct test_cgroup *cgroup, const char *name, const char *text)
{
	char path[320];
	bool done;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", cgroup->dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	done = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return done;
}

/** NULL, or why there is none. */
static inline const char *test_cgroup_open(struct test_cgroup *cgroup, const char *limit_bytes)
{
	static const char *const roots[] = {"/sys/fs/cgroup/memory", "/sys/fs/cgroup"};

	if (geteuid())
		return "not root: no cgroup can be made";
	for (int i = 0; i < 2; i++) {
		const char *file = i ? "memory.max" : "memory.limit_in_bytes";

		snprintf(cgroup->dir, sizeof(cgroup->dir), "%s/pinfold-test-%d", roots[i], (int)getpid());
		if (mkdir(cgroup->dir, 0755))
			continue;
		if (test_cgroup_write(cgroup, file, limit_bytes))
			return NULL;
		rmdir(cgroup->dir);
	}
	return "no writable memory cgroup, neither v1 nor v2";
}

static inline bool test_cgroup_enter(struct test_cgroup *cgroup)
{
	return test_cgroup_write(cgroup, "cgroup.procs", "0");
}

static inline void test_cgroup_close(struct test_cgroup *cgroup)
{
	rmdir(cgroup->dir);
}

#endif
