/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * disklog.c - records what a process does to the files of a store.
 *
 * Pages that change through the shared mapping make no call: around every call
 * each data file is compared with what it held before, so that a changed page is
 * in the log before the next flush can have taken it, and not later than the next event.
 */
#include "disklog.h"

#include "iohook.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct watched {
	ino_t inode;
	int fd;                 /* our own, for reading */
	bool mapped;
	unsigned char **shadow; /* pages as last logged; NULL: zeros */
	uint32_t page_count;
	off_t size; /* as last logged */
};

static struct {
	struct disklog *log;
	struct ledger *ledger;
	char dir[256];
	pthread_mutex_t lock;
	struct watched file[DISK_FILES];
	unsigned file_count;
} recorder = { .lock = PTHREAD_MUTEX_INITIALIZER };

struct disklog *disklog_new(void)
{
	struct disklog *log =
		mmap(NULL, sizeof(*log), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return log == MAP_FAILED ? NULL : log;
}

void disklog_reset(struct disklog *log)
{
	atomic_store(&log->count, 0);
	atomic_store(&log->page_count, 0);
	atomic_store(&log->opened, 0);
	atomic_store(&log->overflow, 0);
	log->first = 0;
}

static struct disk_record *log_event(enum disk_event_type type, uint32_t file, uint64_t value, const char *name)
{
	struct disklog *log = recorder.log;
	uint64_t number = atomic_load(&log->count);
	struct disk_record *record = &log->record[number];

	if (number + 1 >= DISKLOG_EVENTS) {
		atomic_store(&log->overflow, 1);
		return NULL;
	}
	memset(record, 0, sizeof(*record));
	record->event.type = type;
	record->event.file = file;
	record->event.value = value;
	if (name)
		snprintf(record->event.name, DISK_NAME, "%s", name);
	for (unsigned i = 0; i < WORLD_WRITERS; i++)
		record->mark.acked[i] = atomic_load(&recorder.ledger->log[i].acked);
	for (unsigned i = 0; i < WORLD_TABLE_WRITERS; i++)
		record->mark.table_acked[i] = atomic_load(&recorder.ledger->table_log[i].acked);
	record->mark.durable_ticket = atomic_load(&recorder.ledger->durable_ticket);
	record->mark.closed = atomic_load(&recorder.ledger->closed);
	record->mark.opened = atomic_load(&log->opened);
	atomic_store(&log->count, number + 1);
	return record;
}

static void log_page(unsigned index, uint32_t page, const unsigned char *bytes)
{
	struct disklog *log = recorder.log;
	uint64_t at = atomic_load(&log->page_count);
	struct disk_record *record;

	if (at >= DISKLOG_PAGES) {
		atomic_store(&log->overflow, 1);
		return;
	}
	memcpy(log->page[at], bytes, DISK_PAGE);
	atomic_store(&log->page_count, at + 1);
	record = log_event(DISK_PAGE_IS, index, page, NULL);
	if (record)
		record->page_at = at;
}

/* Logs page @page if it is not what it was. */
static void look_at_page(unsigned index, uint32_t page, const unsigned char *bytes)
{
	static const unsigned char zeros[DISK_PAGE];
	struct watched *file = &recorder.file[index];

	if (page >= DISK_FILE_PAGES) {
		atomic_store(&recorder.log->overflow, 1);
		return;
	}
	if (!memcmp(file->shadow[page] ? file->shadow[page] : zeros, bytes, DISK_PAGE))
		return;
	if (!file->shadow[page])
		file->shadow[page] = malloc(DISK_PAGE);
	memcpy(file->shadow[page], bytes, DISK_PAGE);
	if (page >= file->page_count)
		file->page_count = page + 1;
	log_page(index, page, bytes);
}

static void look_at_range(unsigned index, uint64_t offset, uint64_t size)
{
	unsigned char bytes[DISK_PAGE];

	for (uint64_t page = offset / DISK_PAGE; page * DISK_PAGE < offset + size; page++) {
		ssize_t n = pread(recorder.file[index].fd, bytes, DISK_PAGE, (off_t)(page * DISK_PAGE));

		if (n <= 0)
			break;
		memset(bytes + n, 0, DISK_PAGE - (size_t)n);
		look_at_page(index, (uint32_t)page, bytes);
	}
}

/* Pages that hold data now, and pages that held some. */
static void look_at_file(unsigned index)
{
	struct watched *file = &recorder.file[index];
	off_t at = 0, end;

	while ((at = lseek(file->fd, at, SEEK_DATA)) >= 0) {
		end = lseek(file->fd, at, SEEK_HOLE);
		if (end <= at)
			break;
		look_at_range(index, (uint64_t)at, (uint64_t)(end - at));
		at = end;
	}
	for (uint32_t page = 0; page < file->page_count; page++)
		if (file->shadow[page])
			look_at_range(index, (uint64_t)page * DISK_PAGE, DISK_PAGE);
}

static void look_at_mapped(void)
{
	for (unsigned i = 0; i < recorder.file_count; i++)
		if (recorder.file[i].mapped)
			look_at_file(i);
}

static bool name_of(int fd, char ret_name[DISK_NAME])
{
	char link[64], path[512];
	size_t length = strlen(recorder.dir);
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < (ssize_t)length || memcmp(path, recorder.dir, length))
		return false;
	path[n] = '\0';
	snprintf(ret_name, DISK_NAME, "%.*s", DISK_NAME - 1, path[length] == '/' ? path + length + 1 : path + length);
	return true;
}

/* Index of the file behind @fd; notes a file not met before. DISK_FILES: none of ours. */
static unsigned index_of(int fd)
{
	char link[64], name[DISK_NAME];
	struct watched *file;
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return DISK_FILES;
	for (unsigned i = 0; i < recorder.file_count; i++)
		if (recorder.file[i].inode == st.st_ino)
			return i;
	if (recorder.file_count == DISK_FILES || !name_of(fd, name)) {
		atomic_store(&recorder.log->overflow, recorder.file_count == DISK_FILES);
		return DISK_FILES;
	}
	file = &recorder.file[recorder.file_count];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	*file = (struct watched){ .inode = st.st_ino,
				  .fd = open(link, O_RDONLY | O_CLOEXEC),
				  .mapped = !strncmp(name, "data", 4),
				  .shadow = calloc(DISK_FILE_PAGES, sizeof(*file->shadow)) };
	return recorder.file_count++;
}

static void path_in(int dirfd, const char *path, char ret_name[DISK_NAME])
{
	char dir[DISK_NAME];

	if (path[0] == '/')
		snprintf(ret_name, DISK_NAME, "%s", path + strlen(recorder.dir) + 1);
	else if (name_of(dirfd, dir) && dir[0])
		snprintf(ret_name, DISK_NAME, "%.20s/%.26s", dir, path);
	else
		snprintf(ret_name, DISK_NAME, "%s", path);
}

static int before_call(struct io_call *call)
{
	struct stat st;

	pthread_mutex_lock(&recorder.lock);
	if (call->op == IO_OPEN) {
		call->token = fstatat(call->fd, call->path, &st, 0) == 0;
	} else if (io_call_flushes(call)) {
		look_at_mapped();
		call->token = atomic_load(&recorder.log->count);
	}
	pthread_mutex_unlock(&recorder.lock);
	return IO_PASS;
}

static void log_naming(struct io_call *call)
{
	char name[DISK_NAME];
	struct stat st;

	path_in(call->fd, call->op == IO_RENAME ? call->path_to : call->path, name);
	if (call->op == IO_UNLINK) {
		for (unsigned i = 0; i < recorder.file_count; i++) {
			/* the inode is gone or about to be: whoever has that name loses it */
			log_event(DISK_UNNAMED, i, 0, name);
		}
		return;
	}
	if (fstatat(call->fd, call->op == IO_RENAME ? call->path_to : call->path, &st, 0) < 0)
		return;
	for (unsigned i = 0; i < recorder.file_count; i++)
		if (recorder.file[i].inode == st.st_ino)
			log_event(DISK_NAMED, i, 0, name);
}

static void log_flush(struct io_call *call)
{
	struct disk_record *record;
	char name[DISK_NAME];
	struct stat st;
	unsigned index;

	if (fstat(call->fd, &st) < 0)
		return;
	if (S_ISDIR(st.st_mode)) {
		if (name_of(call->fd, name))
			log_event(DISK_FLUSH_NAMES, 0, call->token, name);
		return;
	}
	index = index_of(call->fd);
	if (index == DISK_FILES)
		return;
	record = log_event(call->op == IO_FLUSH_RANGE ? DISK_FLUSH_PAGES : DISK_FLUSH_FILE, index, call->token, NULL);
	if (record && call->op == IO_FLUSH_RANGE) {
		record->event.first = (uint32_t)(call->offset / DISK_PAGE);
		record->event.end = (uint32_t)((call->offset + call->size) / DISK_PAGE);
	}
}

static void after_call(struct io_call *call)
{
	unsigned index;
	struct stat st;

	if (call->result < 0 || call->op == IO_READ || call->op == IO_MKDIR || call->op == IO_RING_OPEN)
		return;
	pthread_mutex_lock(&recorder.lock);
	look_at_mapped();
	if (call->op == IO_OPEN) {
		index = index_of((int)call->result);
		if (index < DISK_FILES && !call->token && (call->flags & O_CREAT))
			log_naming(call);
	} else if (call->op == IO_RENAME || call->op == IO_UNLINK) {
		log_naming(call);
	} else if (io_call_flushes(call)) {
		log_flush(call);
	} else {
		index = index_of(call->fd);
		if (index < DISK_FILES && call->op == IO_WRITE)
			look_at_range(index, call->offset, (uint64_t)call->result);
		if (index < DISK_FILES && fstat(call->fd, &st) == 0 && st.st_size != recorder.file[index].size) {
			recorder.file[index].size = st.st_size;
			log_event(DISK_SIZE_IS, index, (uint64_t)st.st_size, NULL);
		}
	}
	pthread_mutex_unlock(&recorder.lock);
}

/* What is there already, as durable. */
static int log_present(const char *path, const char *prefix)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char name[DISK_NAME], below[512];
		struct stat st;
		unsigned index;
		int fd;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		snprintf(name, sizeof(name), "%.10s%.36s", prefix, entry->d_name);
		snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
		if (stat(below, &st) == 0 && S_ISDIR(st.st_mode)) {
			strcat(name, "/");
			log_present(below, name);
			continue;
		}
		fd = open(below, O_RDONLY | O_CLOEXEC);
		index = fd < 0 ? DISK_FILES : index_of(fd);
		if (index < DISK_FILES) {
			log_event(DISK_NAMED, index, 0, name);
			recorder.file[index].size = st.st_size;
			log_event(DISK_SIZE_IS, index, (uint64_t)st.st_size, NULL);
			look_at_file(index);
			log_event(DISK_FLUSH_FILE, index, UINT64_MAX, NULL);
		}
		close(fd);
	}
	if (dir)
		closedir(dir);
	return dir ? 0 : -errno;
}

int disklog_start(struct disklog *log, struct ledger *ledger, const char *dir)
{
	static const struct io_hooks hooks = { .before = before_call, .after = after_call };
	char resolved[4096];
	int r;

	recorder.log = log;
	recorder.ledger = ledger;
	if (!realpath(dir, resolved) || strlen(resolved) >= sizeof(recorder.dir))
		return -EINVAL;
	strcpy(recorder.dir, resolved);
	r = log_present(recorder.dir, "");
	log_event(DISK_FLUSH_NAMES, 0, UINT64_MAX, "");
	log_event(DISK_FLUSH_NAMES, 0, UINT64_MAX, "journal");
	log->first = atomic_load(&log->count);
	io_hook_set(&hooks);
	return r;
}

void disklog_stop(void)
{
	io_hook_set(NULL);
}
