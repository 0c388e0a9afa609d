/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * loader.h - bulk loading: files and trees as objects.
 *
 * An object is written into extents that nobody can find yet, flushed, and
 * published with its catalog entry in one transaction. What fails half-way
 * leaves nothing behind: unpublished extents are freed when the store closes.
 */
#ifndef PF_TOOLS_LOADER_H
#define PF_TOOLS_LOADER_H

#include "cli.h"
#include "importer.h"
#include "progress.h"

/** Bytes given to the store at a time: two huge pages, so large folios can back them. */
#define LOADER_BUFFER_SIZE (4u << 20)

/** An object being written, from its first byte to its last. */
struct object_writer {
	struct pinfold *pf;
	uint64_t extent_size;
	uint32_t extent_flags;
	uint64_t expected; /* bytes still to come, if known: sizes the last extent; 0: unknown */
	struct pinfold_extent *extents;
	size_t extent_count;
	uint64_t size;        /* bytes added */
	uint64_t extent_used; /* bytes written to the last extent */
	char *buffer;
	size_t buffered;
	struct progress *progress; /* of object_writer_add_fd(); may be NULL */
};
/** @extent_size: of each extent (a power of two). */
int object_writer_init(struct object_writer *writer, struct pinfold *pf, uint64_t extent_size, uint32_t extent_flags);
int object_writer_add(struct object_writer *writer, const void *data, size_t size);
/**
 * Adds all that @fd gives. @ret_read_errno: a failed read of @fd, which is no failure of the store; EINTR: cli_stopped.
 */
int object_writer_add_fd(struct object_writer *writer, int fd, uint64_t *ret_size, int *ret_read_errno);
/** Flushes and publishes as @id; the writer may then be used for the next object. */
int object_writer_finish(struct object_writer *writer, const struct pinfold_object_id *id, bool replace);
/** Forgets what was added since the last object, and gives its extents back. */
void object_writer_reset(struct object_writer *writer);
void object_writer_done(struct object_writer *writer);

/** What a load of a tree does and did. */
struct tree_load {
	struct cli *cli;
	struct pinfold *pf;
	const char *root;
	const char *name;       /* objects or volumes are NAME/... */
	uint64_t extent_size;
	uint64_t volume_size;   /* pack: bytes after which a volume is closed */
	uint64_t max_bytes;     /* stop after that much; 0: all */
	uint64_t deadline_ns;   /* then stop as soon as min_bytes are loaded; 0: none */
	uint64_t min_bytes;
	const char *files_table; /* pack: which table says where each file is */
	const char *file_prefix; /* pack: before the path in the table */
	bool replace;
	struct progress *progress; /* may be NULL */
	/* results, added to */
	uint64_t file_count, byte_count, volume_count;
	uint64_t unreadable_count;
	char first_unreadable[200];
};
/** Has it loaded what it was told to, or was it stopped by a signal? */
bool tree_load_enough(const struct tree_load *load);
/** Every regular file as a blob of its own. An exit status; says what failed. */
int tree_load_each(struct tree_load *load);
/** Many files per volume; @files_table maps each path to {"object", "offset", "size"}. */
int tree_load_packed(struct tree_load *load);

#endif
