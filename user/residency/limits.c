// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * limits.c - effective memory: the least of RAM, the cgroup's limit and what may be locked.
 *
 * DESIGN
 *
 *   A process is in one v2 cgroup, or in one v1 cgroup of the memory controller, or (hybrid
 *   hosts) in both hierarchies. /proc/self/cgroup names the cgroup, /proc/self/mountinfo
 *   says where its hierarchy is mounted and which cgroup that mount shows as its root
 *   (containers). Limits nest: the least one from the cgroup up to the mount's root
 *   counts, and the use that belongs to it is that of the cgroup which has it.
 *   v2's memory.high counts like memory.max: above it every allocation is throttled.
 *
 * Invariants
 *   1. Whatever cannot be read is no limit; nothing here fails but a missing MemTotal.
 *   2. Every file is opened below @root, so that tests hand in trees of files.
 */
#include "residency/internal.h"

#include "base/error.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAP_IPC_LOCK_BIT 14
/** v1 writes "no limit" as LONG_MAX rounded down to a page; nothing near it is a limit. */
#define V1_UNLIMITED (INT64_MAX - ((int64_t)1 << 20))

static FILE *open_below(const char *root, const char *path)
{
	char full[PATH_MAX];

	if (snprintf(full, sizeof(full), "%s%s", root, path) >= (int)sizeof(full))
		return NULL;
	return fopen(full, "re");
}

/** The number after "@key:" in a file of such lines. */
static bool field_read(const char *root, const char *path, const char *key, int base, uint64_t *ret_value)
{
	FILE *file = open_below(root, path);
	size_t length = strlen(key);
	char line[256];
	bool found = false;

	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file)) {
		if (strncmp(line, key, length) || line[length] != ':')
			continue;
		errno = 0;
		*ret_value = strtoull(line + length + 1, NULL, base);
		found = !errno;
	}
	fclose(file);
	return found;
}

/** A cgroup's number file; "max" is UINT64_MAX. */
static bool number_read(const char *root, const char *dir, const char *name, uint64_t *ret_value)
{
	char path[PATH_MAX], text[64], *end;
	bool found = false;
	FILE *file;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return false;
	file = open_below(root, path);
	if (!file)
		return false;
	if (fgets(text, sizeof(text), file)) {
		if (!strncmp(text, "max", 3)) {
			*ret_value = UINT64_MAX;
			found = true;
		} else {
			errno = 0;
			*ret_value = strtoull(text, &end, 10);
			found = end != text && !errno;
		}
	}
	fclose(file);
	return found;
}

/** mountinfo writes space, tab, newline and backslash as three octal digits. */
static void unescape(char *text)
{
	char *out = text;

	for (; *text; text++) {
		if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] >= '0' && text[2] <= '7' &&
		    text[3] >= '0' && text[3] <= '7') {
			*out++ = (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0'));
			text += 3;
		} else {
			*out++ = *text;
		}
	}
	*out = '\0';
}

static bool has_word(const char *list, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = list; (at = strstr(at, word)); at += length)
		if ((at == list || at[-1] == ',') && (at[length] == ',' || at[length] == '\0' || at[length] == '\n'))
			return true;
	return false;
}

/** The cgroup of this process in the v2 hierarchy (@v1 false) or in v1's memory hierarchy. */
static bool cgroup_name(const char *root, bool v1, char *ret_name, size_t size)
{
	FILE *file = open_below(root, "/proc/self/cgroup");
	char line[PATH_MAX + 256];
	bool found = false;

	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file)) {
		char *controllers = strchr(line, ':'), *name;

		if (!controllers)
			continue;
		name = strchr(++controllers, ':');
		if (!name)
			continue;
		*name++ = '\0';
		name[strcspn(name, "\n")] = '\0';
		if (v1 ? !has_word(controllers, "memory") : *controllers != '\0')
			continue;
		found = snprintf(ret_name, size, "%s", name) < (int)size;
	}
	fclose(file);
	return found;
}

/** Where that hierarchy is mounted, and which of its cgroups the mount shows as its root. */
static bool cgroup_mount(const char *root, bool v1, char *ret_mount, char *ret_top, size_t size)
{
	FILE *file = open_below(root, "/proc/self/mountinfo");
	char line[2 * PATH_MAX];
	bool found = false;

	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file)) {
		char *top = NULL, *mount = NULL, *tail = strstr(line, " - "), *save = NULL;
		char *type, *options;
		int field = 0;

		if (!tail)
			continue;
		*tail = '\0';
		type = strtok_r(tail + 3, " ", &save);
		strtok_r(NULL, " ", &save);
		options = strtok_r(NULL, " \n", &save);
		if (!type || !options || strcmp(type, v1 ? "cgroup" : "cgroup2") ||
		    (v1 && !has_word(options, "memory")))
			continue;
		for (char *word = strtok_r(line, " ", &save); word; word = strtok_r(NULL, " ", &save), field++) {
			if (field == 3)
				top = word;
			else if (field == 4)
				mount = word;
		}
		if (!top || !mount)
			continue;
		unescape(top);
		unescape(mount);
		found = snprintf(ret_top, size, "%s", top) < (int)size &&
			snprintf(ret_mount, size, "%s", mount) < (int)size;
	}
	fclose(file);
	return found;
}

static void take_level(const char *root, const char *dir, bool v1, struct pf_memory_limits *limits)
{
	uint64_t limit = UINT64_MAX, high, used;

	if (!number_read(root, dir, v1 ? "memory.limit_in_bytes" : "memory.max", &limit))
		limit = UINT64_MAX;
	if (v1 && limit >= (uint64_t)V1_UNLIMITED)
		limit = UINT64_MAX;
	if (!v1 && number_read(root, dir, "memory.high", &high) && high < limit)
		limit = high;
	if (limit >= limits->cgroup_bytes)
		return;
	limits->cgroup_bytes = limit;
	limits->cgroup_used_bytes =
		number_read(root, dir, v1 ? "memory.usage_in_bytes" : "memory.current", &used) ? used : 0;
	snprintf(limits->cgroup_path, sizeof(limits->cgroup_path), "%.255s", dir);
}

static void take_hierarchy(const char *root, bool v1, struct pf_memory_limits *limits)
{
	char name[PATH_MAX], mount[PATH_MAX], top[PATH_MAX], dir[2 * PATH_MAX];
	const char *below = name;
	size_t mount_length, top_length;

	if (!cgroup_name(root, v1, name, sizeof(name)) || !cgroup_mount(root, v1, mount, top, sizeof(mount)))
		return;
	top_length = strcmp(top, "/") ? strlen(top) : 0;
	if (!strncmp(name, "/..", 3)) {
		below = ""; /* outside of what this namespace shows: only the mount's root can be asked */
	} else if (top_length) {
		if (!strncmp(name, top, top_length) && (name[top_length] == '/' || !name[top_length]))
			below = name + top_length;
		else if (strcmp(name, "/"))
			below = "";
	}
	mount_length = strlen(mount);
	snprintf(dir, sizeof(dir), "%s%s", mount, below);
	for (;;) {
		size_t length = strlen(dir);

		while (length > mount_length && dir[length - 1] == '/')
			dir[--length] = '\0';
		take_level(root, dir, v1, limits);
		if (length <= mount_length)
			return;
		*strrchr(dir, '/') = '\0';
	}
}

/** Max locked memory (soft) of /proc/self/limits, unless CAP_IPC_LOCK is effective. */
static uint64_t memlock_read(const char *root)
{
	static const char name[] = "Max locked memory";
	uint64_t capabilities, limit = UINT64_MAX;
	char line[256];
	FILE *file;

	if (field_read(root, "/proc/self/status", "CapEff", 16, &capabilities) &&
	    (capabilities >> CAP_IPC_LOCK_BIT & 1))
		return UINT64_MAX;
	file = open_below(root, "/proc/self/limits");
	if (!file)
		return UINT64_MAX;
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, name, sizeof(name) - 1))
			continue;
		if (sscanf(line + sizeof(name) - 1, "%" SCNu64, &limit) != 1)
			limit = UINT64_MAX;
		break;
	}
	fclose(file);
	return limit;
}

int pf_memory_limits_read_at(const char *root, struct pf_memory_limits *ret_limits)
{
	struct pf_memory_limits limits = {.cgroup_bytes = UINT64_MAX};
	uint64_t ram_kib;

	if (!field_read(root, "/proc/meminfo", "MemTotal", 10, &ram_kib) || ram_kib > UINT64_MAX / 1024)
		return pf_error(-ENODATA, "%s/proc/meminfo has no MemTotal", root);
	limits.ram_bytes = ram_kib * 1024;
	take_hierarchy(root, false, &limits);
	take_hierarchy(root, true, &limits);
	limits.memlock_bytes = memlock_read(root);

	limits.effective_bytes = limits.ram_bytes;
	limits.limit_name = "ram";
	if (limits.cgroup_bytes < limits.effective_bytes) {
		limits.effective_bytes = limits.cgroup_bytes;
		limits.limit_name = "cgroup";
	}
	if (limits.memlock_bytes < limits.effective_bytes) {
		limits.effective_bytes = limits.memlock_bytes;
		limits.limit_name = "rlimit_memlock";
	}
	*ret_limits = limits;
	return 0;
}

int pf_memory_limits_read(struct pf_memory_limits *ret_limits)
{
	return pf_memory_limits_read_at("", ret_limits);
}

uint64_t pf_locked_bytes(void)
{
	uint64_t kib;

	return field_read("", "/proc/self/status", "VmLck", 10, &kib) ? kib * 1024 : 0;
}
