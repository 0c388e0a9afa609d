/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cgroup.h - a memory limit for this process alone, with cgroup v1 or v2, taken away again. */
#ifndef PF_TOOLS_CGROUP_H
#define PF_TOOLS_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cgroup {
	int version;       /* 1 or 2; 0: none was made */
	char path[512];    /* of the new group's directory */
	char home[512];    /* of the group that this process came from */
};
/**
 * Makes a group below the process's own (or the nearest place that allows
 * it), limits it to @limit_bytes and moves this process in. 0, or -errno with the words
 * in @ret_why; then nothing has changed.
 */
int cgroup_enter(uint64_t limit_bytes, struct cgroup *ret_cgroup, char *ret_why, size_t why_size);
/** Moves the process back and removes the group. Also after a failed cgroup_enter(). */
void cgroup_leave(struct cgroup *cgroup);

#endif
