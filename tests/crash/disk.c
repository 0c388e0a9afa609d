/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct version {
	struct version *next;
	uint64_t number;
	uint32_t page;
	unsigned char bytes[DISK_PAGE];
};

struct file {
	unsigned char **durable; /* by page; NULL: zeros */
	uint32_t page_count;     /* highest page ever written + 1 */
	uint64_t size, size_pending, size_number;
	bool size_is_pending;
	struct version *first, **last; /* not yet durable, oldest first */
};

struct naming {
	struct naming *next;
	uint64_t number;
	uint32_t file;
	bool added;
	char name[DISK_NAME];
};

struct disk {
	struct file file[DISK_FILES];
	char name[DISK_FILES][DISK_NAME]; /* durable; "": none */
	struct naming *first, **last;
};

struct disk *disk_new(void)
{
	struct disk *disk = calloc(1, sizeof(*disk));

	if (disk)
		disk->last = &disk->first;
	for (unsigned i = 0; disk && i < DISK_FILES; i++)
		disk->file[i].last = &disk->file[i].first;
	return disk;
}

static void drop_versions(struct file *file)
{
	while (file->first) {
		struct version *next = file->first->next;

		free(file->first);
		file->first = next;
	}
	file->last = &file->first;
}

void disk_free(struct disk *disk)
{
	for (unsigned i = 0; disk && i < DISK_FILES; i++) {
		struct file *file = &disk->file[i];

		drop_versions(file);
		for (uint32_t page = 0; file->durable && page < file->page_count; page++)
			free(file->durable[page]);
		free(file->durable);
	}
	while (disk && disk->first) {
		struct naming *next = disk->first->next;

		free(disk->first);
		disk->first = next;
	}
	free(disk);
}

static int add_version(struct file *file, uint64_t number, uint64_t page, const void *bytes)
{
	struct version *version = malloc(sizeof(*version));

	if (!file->durable)
		file->durable = calloc(DISK_FILE_PAGES, sizeof(*file->durable));
	if (!version || !file->durable || page >= DISK_FILE_PAGES) {
		free(version);
		return -ENOMEM;
	}
	*version = (struct version){ .number = number, .page = (uint32_t)page };
	memcpy(version->bytes, bytes, DISK_PAGE);
	*file->last = version;
	file->last = &version->next;
	if (page >= file->page_count)
		file->page_count = (uint32_t)page + 1;
	return 0;
}

static void flush_size(struct file *file, uint64_t before)
{
	if (file->size_is_pending && file->size_number < before) {
		file->size = file->size_pending;
		file->size_is_pending = false;
	}
}

static int flush_pages(struct file *file, uint64_t before, uint32_t first, uint32_t end)
{
	struct version **at = &file->first;

	file->last = &file->first;
	while (*at) {
		struct version *version = *at;

		if (version->number >= before || version->page < first || version->page >= end) {
			at = &version->next;
			file->last = at;
			continue;
		}
		if (!file->durable[version->page])
			file->durable[version->page] = malloc(DISK_PAGE);
		if (!file->durable[version->page])
			return -ENOMEM;
		memcpy(file->durable[version->page], version->bytes, DISK_PAGE);
		*at = version->next;
		free(version);
	}
	return 0;
}

static void rename_in(char (*names)[DISK_NAME], const struct naming *naming)
{
	if (!naming->added) {
		if (!strcmp(names[naming->file], naming->name))
			names[naming->file][0] = '\0';
		return;
	}
	for (unsigned i = 0; i < DISK_FILES; i++) /* a rename over another file */
		if (!strcmp(names[i], naming->name))
			names[i][0] = '\0';
	memcpy(names[naming->file], naming->name, DISK_NAME);
}

static int add_naming(struct disk *disk, uint64_t number, const struct disk_event *event)
{
	struct naming *naming = calloc(1, sizeof(*naming));

	if (!naming)
		return -ENOMEM;
	naming->number = number;
	naming->file = event->file;
	naming->added = event->type == DISK_NAMED;
	memcpy(naming->name, event->name, DISK_NAME);
	*disk->last = naming;
	disk->last = &naming->next;
	return 0;
}

static bool is_in(const char *name, const char *dir)
{
	size_t length = strlen(dir);

	if (!length)
		return !strchr(name, '/');
	return !strncmp(name, dir, length) && name[length] == '/';
}

static void flush_names(struct disk *disk, const char *dir, uint64_t before)
{
	struct naming **at = &disk->first;

	while (*at) {
		struct naming *naming = *at;

		if (naming->number >= before || !is_in(naming->name, dir)) {
			at = &naming->next;
			continue;
		}
		rename_in(disk->name, naming);
		*at = naming->next;
		free(naming);
	}
	disk->last = at;
}

int disk_apply(struct disk *disk, uint64_t number, const struct disk_event *event, const void *page)
{
	struct file *file = &disk->file[event->file % DISK_FILES];

	switch ((enum disk_event_type)event->type) {
	case DISK_PAGE_IS:
		return add_version(file, number, event->value, page);
	case DISK_SIZE_IS:
		file->size_pending = event->value;
		file->size_number = number;
		file->size_is_pending = true;
		return 0;
	case DISK_NAMED:
	case DISK_UNNAMED:
		return add_naming(disk, number, event);
	case DISK_FLUSH_FILE:
		flush_size(file, event->value);
		return flush_pages(file, event->value, 0, UINT32_MAX);
	case DISK_FLUSH_PAGES: /* no promise about the size */
		return flush_pages(file, event->value, event->first, event->end);
	case DISK_FLUSH_NAMES:
		flush_names(disk, event->name, event->value);
		return 0;
	}
	return -EINVAL;
}

static int put(int fd, const void *bytes, size_t size, uint64_t offset)
{
	return pwrite(fd, bytes, size, (off_t)offset) == (ssize_t)size ? 0 : -EIO;
}

static int put_torn(int fd, const struct version *version, struct rnd *rnd)
{
	uint64_t sectors = rnd_next(rnd);
	int r = 0;

	for (unsigned i = 0; i < DISK_PAGE / DISK_SECTOR && r == 0; i++)
		if (sectors >> i & 1)
			r = put(fd, version->bytes + i * DISK_SECTOR, DISK_SECTOR,
				(uint64_t)version->page * DISK_PAGE + i * DISK_SECTOR);
	return r;
}

/* Directories are taken to be there as soon as a file in them is. */
static void make_parent(int dir, const char *name)
{
	const char *slash = strchr(name, '/');
	char parent[DISK_NAME];

	if (!slash)
		return;
	snprintf(parent, sizeof(parent), "%.*s", (int)(slash - name), name);
	mkdirat(dir, parent, 0700);
}

/* Pages of data files are dirtied through the mapping; the journal and the superblock are written. */
static bool is_mapped(const char *name)
{
	return !strncmp(name, "data", 4);
}

static int put_pending(const struct file *file, const char *name, enum disk_cut cut, struct rnd *rnd, int fd)
{
	unsigned keep_of_8 = (unsigned)rnd_below(rnd, 9);
	bool all = cut == DISK_CUT_ALL || (cut == DISK_CUT_EARLY && is_mapped(name)) ||
		   (cut == DISK_CUT_LATE && !is_mapped(name));
	int r = 0;

	for (const struct version *version = file->first; version && r == 0; version = version->next) {
		if (all)
			r = put(fd, version->bytes, DISK_PAGE, (uint64_t)version->page * DISK_PAGE);
		else if (cut == DISK_CUT_RANDOM && rnd_below(rnd, 8) < keep_of_8)
			r = rnd_below(rnd, 4) ? put(fd, version->bytes, DISK_PAGE, (uint64_t)version->page * DISK_PAGE)
					      : put_torn(fd, version, rnd);
	}
	return r;
}

static int put_file(const struct file *file, const char *name, enum disk_cut cut, struct rnd *rnd, int dir)
{
	uint64_t size = file->size;
	int fd, r;

	make_parent(dir, name);
	fd = openat(dir, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	r = fd < 0 ? -errno : 0;
	if (file->size_is_pending &&
	    (cut == DISK_CUT_ALL || cut == DISK_CUT_LATE || (cut == DISK_CUT_RANDOM && rnd_below(rnd, 2))))
		size = file->size_pending;
	for (uint32_t page = 0; r == 0 && file->durable && page < file->page_count; page++)
		if (file->durable[page])
			r = put(fd, file->durable[page], DISK_PAGE, (uint64_t)page * DISK_PAGE);
	if (r == 0)
		r = put_pending(file, name, cut, rnd, fd);
	if (r == 0 && ftruncate(fd, (off_t)size) < 0)
		r = -errno;
	if (fd >= 0)
		close(fd);
	return r;
}

int disk_cut(struct disk *disk, enum disk_cut cut, struct rnd *rnd, const char *path)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = dir < 0 ? -errno : 0;
	char (*names)[DISK_NAME] = malloc(sizeof(disk->name));
	unsigned namings = 0, kept;

	if (!names) {
		close(dir);
		return -ENOMEM;
	}
	memcpy(names, disk->name, sizeof(disk->name));
	for (struct naming *naming = disk->first; naming; naming = naming->next)
		namings++;
	kept = cut == DISK_CUT_STRICT ? 0 : cut == DISK_CUT_RANDOM ? (unsigned)rnd_below(rnd, namings + 1) : namings;
	for (struct naming *naming = disk->first; naming && kept > 0; naming = naming->next, kept--)
		rename_in(names, naming);
	for (unsigned i = 0; i < DISK_FILES && r == 0; i++)
		if (names[i][0])
			r = put_file(&disk->file[i], names[i], cut, rnd, dir);
	free(names);
	close(dir);
	return r;
}
