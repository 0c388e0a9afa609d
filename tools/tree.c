// SPDX-License-Identifier: LGPL-2.1-or-later
/* tree.c - loads the regular files below a directory: one object each, or packed into volumes. */
#include "loader.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file may begin at any such place in a volume. */
#define PACK_ALIGN 64u
/* Files of one volume whose records are written with it, in one transaction. */
#define PACK_FILES_MAX 20000u

static void skip_file(struct tree_load *load, const char *path, int error)
{
	if (!load->unreadable_count++)
		snprintf(load->first_unreadable, sizeof(load->first_unreadable), "%s: %s", path, strerror(error));
}

bool tree_load_enough(const struct tree_load *load)
{
	if (cli_stopped || (load->max_bytes && load->byte_count >= load->max_bytes))
		return true;
	return load->deadline_ns && load->byte_count >= load->min_bytes && progress_now_ns() > load->deadline_ns;
}

/* The part of @path below the root. */
static const char *below_root(const struct tree_load *load, const char *path)
{
	size_t n = strlen(load->root);

	if (!strncmp(path, load->root, n))
		path += n;
	while (*path == '/')
		path++;
	return path;
}

static int open_file(struct tree_load *load, FTSENT *entry)
{
	/* O_NONBLOCK: the name may by now be a fifo. */
	int fd = open(entry->fts_accpath, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd < 0) {
		skip_file(load, entry->fts_path, errno);
		return -1;
	}
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		skip_file(load, entry->fts_path, EINVAL);
		return -1;
	}
	posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	return fd;
}

/* A store must not be loaded into itself: it grows as it is read. */
static bool is_store(const FTSENT *entry, const struct stat *store)
{
	return entry->fts_info == FTS_D && entry->fts_statp->st_ino == store->st_ino &&
	       entry->fts_statp->st_dev == store->st_dev;
}

/* Runs @visit for each regular file that is not the store's own. */
static int walk(struct tree_load *load, int (*visit)(void *ctx, FTSENT *entry), void *ctx)
{
	char *roots[] = {(char *)load->root, NULL};
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	int status = CLI_OK;
	struct stat store;
	FTSENT *entry;

	if (!fts)
		return cli_fail(load->cli, "%s: %s", load->root, strerror(errno));
	if (stat(load->cli->store, &store)) {
		status = cli_fail(load->cli, "%s", strerror(errno));
		fts_close(fts);
		return status;
	}
	while (status == CLI_OK && !tree_load_enough(load) && (entry = fts_read(fts))) {
		if (is_store(entry, &store))
			fts_set(fts, entry, FTS_SKIP);
		else if (entry->fts_info == FTS_F)
			status = visit(ctx, entry);
		else if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR || entry->fts_info == FTS_NS)
			skip_file(load, entry->fts_path, entry->fts_errno);
	}
	fts_close(fts);
	if (status == CLI_OK && cli_stopped)
		return cli_fail(load->cli, "stopped after %" PRIu64 " files", load->file_count);
	return status;
}

/* ---- one object per file ---- */

struct each {
	struct tree_load *load;
	struct object_writer writer;
};

static int visit_each(void *ctx, FTSENT *entry)
{
	struct each *each = ctx;
	struct tree_load *load = each->load;
	struct pinfold_object_id id = {.kind = PINFOLD_OBJECT_BLOB};
	int r, read_errno, fd;
	char name[256];
	uint64_t size;

	if ((size_t)snprintf(name, sizeof(name), "%s/%s", load->name, below_root(load, entry->fts_path)) >=
	    sizeof(name)) {
		skip_file(load, entry->fts_path, ENAMETOOLONG);
		return CLI_OK;
	}
	fd = open_file(load, entry);
	if (fd < 0)
		return CLI_OK;
	id.name = name;
	each->writer.expected = (uint64_t)entry->fts_statp->st_size;
	r = object_writer_add_fd(&each->writer, fd, &size, &read_errno);
	close(fd);
	if (!r && read_errno) {
		/* Begin anew: what was read of it must not become part of the next file. */
		object_writer_reset(&each->writer);
		if (!cli_stopped)
			skip_file(load, entry->fts_path, read_errno);
		return CLI_OK;
	}
	if (!r)
		r = object_writer_finish(&each->writer, &id, load->replace);
	if (r == -EEXIST)
		return cli_fail(load->cli, "blob:%s: it is there already: --replace replaces it", name);
	if (r)
		return cli_fail_call(load->cli, load->pf, r, entry->fts_path);
	load->file_count++;
	load->byte_count += size;
	if (load->progress)
		progress_update(load->progress, load->byte_count);
	return CLI_OK;
}

int tree_load_each(struct tree_load *load)
{
	struct each each = {.load = load};
	int status;

	if (object_writer_init(&each.writer, load->pf, load->extent_size, 0))
		return cli_fail(load->cli, "out of memory");
	status = walk(load, visit_each, &each);
	object_writer_done(&each.writer);
	return status;
}

/* ---- many files per volume ---- */

struct pack {
	struct tree_load *load;
	struct object_writer writer;
	struct importer importer;
	uint64_t bytes_before; /* progress within this volume */
	char volume[200];
};

/* Publishes the volume, then the records that point into it: a record never points to nothing. */
static int close_volume(struct pack *pack)
{
	struct pinfold_object_id id = {.kind = PINFOLD_OBJECT_BLOB, .name = pack->volume};
	struct tree_load *load = pack->load;
	int r;

	if (!pack->importer.count)
		return CLI_OK;
	r = object_writer_finish(&pack->writer, &id, load->replace);
	if (r == -EEXIST)
		return cli_fail(load->cli, "blob:%s: it is there already: --replace replaces it", pack->volume);
	if (r)
		return cli_fail_call(load->cli, load->pf, r, pack->volume);
	r = importer_flush(&pack->importer);
	if (r)
		return cli_fail_call(load->cli, load->pf, r, "writing the table of files");
	load->volume_count++;
	return CLI_OK;
}

static int add_file_record(struct pack *pack, const char *path, uint64_t offset, uint64_t size)
{
	char key[PINFOLD_KEY_MAX + 1], value[320];
	int key_size = snprintf(key, sizeof(key), "%s%s", pack->load->file_prefix, path);
	int value_size =
		snprintf(value, sizeof(value), "{\"object\":\"%s\",\"offset\":%" PRIu64 ",\"size\":%" PRIu64 "}",
			 pack->volume, offset, size);

	if (key_size > PINFOLD_KEY_MAX) {
		skip_file(pack->load, path, ENAMETOOLONG);
		return 0;
	}
	return importer_add(&pack->importer, key, (size_t)key_size, value, (size_t)value_size);
}

static int visit_packed(void *ctx, FTSENT *entry)
{
	static const char zeros[PACK_ALIGN];
	struct pack *pack = ctx;
	struct tree_load *load = pack->load;
	uint64_t size = 0, offset;
	int r, read_errno = 0, fd = open_file(load, entry);

	if (fd < 0)
		return CLI_OK;
	if (!pack->importer.count)
		snprintf(pack->volume, sizeof(pack->volume), "%s/%04" PRIu64, load->name, load->volume_count);
	r = object_writer_add(&pack->writer, zeros, (size_t)(-pack->writer.size % PACK_ALIGN));
	offset = pack->writer.size;
	if (!r)
		r = object_writer_add_fd(&pack->writer, fd, &size, &read_errno);
	close(fd);
	if (!r && read_errno) {
		/* The part that was read stays in the volume as padding. */
		if (!cli_stopped)
			skip_file(load, entry->fts_path, read_errno);
		return CLI_OK;
	}
	if (!r)
		r = add_file_record(pack, entry->fts_path, offset, size);
	if (r)
		return cli_fail_call(load->cli, load->pf, r, entry->fts_path);
	load->file_count++;
	load->byte_count += size;
	if (load->progress)
		progress_update(load->progress, load->byte_count);
	if (pack->writer.size >= load->volume_size || pack->importer.count >= PACK_FILES_MAX)
		return close_volume(pack);
	return CLI_OK;
}

int tree_load_packed(struct tree_load *load)
{
	struct pack pack = {.load = load};
	struct pinfold_table *table;
	int status, r;

	r = pinfold_table_open(load->pf, load->files_table, PINFOLD_TABLE_CREATE, &table);
	if (r)
		return cli_fail_call(load->cli, load->pf, r, load->files_table);
	if (object_writer_init(&pack.writer, load->pf, load->extent_size, 0))
		return cli_fail(load->cli, "out of memory");
	/* One more than a volume ever holds: only close_volume() writes. */
	if (importer_init(&pack.importer, load->pf, table, PACK_FILES_MAX + 1)) {
		object_writer_done(&pack.writer);
		return cli_fail(load->cli, "out of memory");
	}
	pack.importer.batch_bytes = SIZE_MAX;
	status = walk(load, visit_packed, &pack);
	if (status == CLI_OK)
		status = close_volume(&pack);
	importer_done(&pack.importer);
	object_writer_done(&pack.writer);
	return status;
}
