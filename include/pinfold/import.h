/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pinfold/import.h - many records into a table: fast, and going on where a crash stopped it.
 *
 * An import says from time to time how far in its input it has come: a mark. Marks become durable together with
 * the records before them, so that an import that is begun again after a crash learns where to go on. What was
 * given after the last durable mark is given again; a record that is there already is replaced by itself.
 *
 *	r = pinfold_import_begin(table, "input.csv", PINFOLD_IMPORT_BULK, &import, &mark);
 *	seek the input to mark.offset;
 *	while (r == 0 && records are read)
 *		if (!(r = pinfold_import_add(import, records, count)))
 *			r = pinfold_import_mark(import, &mark);
 *	r = r ? (pinfold_import_stop(import), r) : pinfold_import_end(import);
 */
#ifndef PINFOLD_IMPORT_H
#define PINFOLD_IMPORT_H

#include <pinfold/table.h>

#ifdef __cplusplus
extern "C" {
#endif

/** An import under way. One thread at a time. */
struct pinfold_import;

/** How far an import is in its input. The store keeps it and looks at nothing in it: its meaning is the caller's. */
struct pinfold_import_mark {
	uint64_t offset;  /* bytes */
	uint64_t line;
	uint64_t records; /* taken */
	uint64_t bytes;   /* of keys and values taken */
	uint64_t left_out;
	uint64_t check; /* such as a hash of what was read: whether the input is still the same */
	uint64_t reserved[2]; /* 0 */
};

enum pinfold_import_flags {
	/** Into an empty table: builds extents and index beside it and adds them at the end, all at once. Until then
	 * the table reads as empty and takes no other change (-EBUSY). Into any other table this flag does nothing. */
	PINFOLD_IMPORT_BULK = 1u << 0,
	/** Forgets what an earlier import into the table left unfinished. */
	PINFOLD_IMPORT_RESTART = 1u << 1,
};

/**
 * Begins an import of @source (a name of 1..255 bytes, of the caller's choice) into @table, or goes on with one that
 * was stopped or crashed: then *ret_mark is its last durable mark, else all zeros. -EBUSY: an import into the table is
 * under way, or one of another source is unfinished (see PINFOLD_IMPORT_RESTART). @table must stay open meanwhile. Any
 * thread. -EINVAL: @source or @flags; -EROFS; -ENOMEM, -ENOSPC, -EIO, -EUCLEAN.
 */
PINFOLD_API int pinfold_import_begin(struct pinfold_table *table, const char *source, uint32_t flags,
				     struct pinfold_import **ret_import, struct pinfold_import_mark *ret_mark);
/**
 * Takes @records (values not NULL) into the import; they are copied. Of several with one key the last one counts. Seen
 * in the table soon, or, of a bulk import, at its end. -EINVAL: one of them is none (a key of 1 to PINFOLD_KEY_MAX
 * bytes, a value of at most PINFOLD_VALUE_MAX); none was taken, and the import can go on. After any other error
 * (-ENOSPC, -ENOMEM, -EIO, -EROFS) all further calls fail likewise: stop the import, and resume it when the reason is
 * gone.
 */
PINFOLD_API int pinfold_import_add(struct pinfold_import *import, const struct pinfold_record *records, size_t count);
/**
 * Says that what was added so far is the input up to @mark (copied). It becomes durable when the records before it do.
 * -EINVAL: @mark->reserved is not zero; the mark before it stands, and the import can go on. Other errors are as of
 * pinfold_import_add().
 */
PINFOLD_API int pinfold_import_mark(struct pinfold_import *import, const struct pinfold_import_mark *mark);
/**
 * Ends the import: all of it is in the table, and durable. @import is gone, also on failure, when it may be resumed.
 * -ESTALE: a bulk import that was resumed found two records of one key, of different sizes, both from before the
 * interruption, and cannot tell which came later: begin again with PINFOLD_IMPORT_RESTART.
 */
PINFOLD_API int pinfold_import_end(struct pinfold_import *import);
/** Stops the import; it may be resumed. @import is gone. NULL is allowed. */
PINFOLD_API void pinfold_import_stop(struct pinfold_import *import);

#ifdef __cplusplus
}
#endif
#endif
