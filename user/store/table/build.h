/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * build.h - a table's extents built beside it: what the files build*.c share, and import.c uses.
 *
 * DESIGN: records go into heap extents that nobody knows yet, chunk by chunk of up to 2 MiB, in the order in which they
 * come; the store's writers (store/bulk.c) write the chunks. Of each record its hash and place are kept in memory. When
 * pf_build_group_bytes have come and an extent is full, the extents so far are flushed and published, with the import's
 * mark, by one transaction: a crash loses at most a group. In the end the index is sorted by bucket, the lines are
 * written one after another into new segments, and one transaction publishes those, sets the counts and ends the
 * import. Extents of overflow lines hold nothing else and come with the index: what an import that is resumed finds are
 * records.
 *
 *  1. Until then no line leads to a record: readers see an empty table. Its header says that it is being built, and
 *     other changes are refused.
 *  2. A published extent is not written any more: at the end of a group all open chunks are closed.
 *  3. Of records of one key the one that came last counts. Within a class of slots places grow with time; after a crash
 *     nothing more is known, so two of one key in slots of different classes make the import start over.
 *  4. Everything that is built is durable before the transaction that publishes it is ordered.
 */
#ifndef PF_TABLE_BUILD_H
#define PF_TABLE_BUILD_H

#include "store/table/internal.h"

/** Bytes of a group. A variable for tests. */
extern uint64_t pf_build_group_bytes;
/** Most index entries; then the build ends, and the import goes on by puts. 0: an eighth of the memory. For tests, too.
 */
extern uint64_t pf_build_entries_max;
/** Units that one transaction of pf_build_discard() clears, at most 1024. A variable for tests. */
extern uint32_t pf_build_clear_units;

#define PF_CHUNK_BYTES (2u << 20)
#define PF_CHUNK_UNITS (PF_CHUNK_BYTES >> PF_UNIT_SHIFT)

/** A heap extent being filled. */
struct pf_build_extent {
	struct pf_build_extent *next; /* in its group, then in the writer's hands */
	struct pinfold_extent extent;
	struct pf_heap_header header;
	uint64_t loc;
	uint64_t *words; /* unit words, then bitmaps, as on disk */
	uint32_t next_unit;
};

/** A run of slabs of one class being filled. */
struct pf_build_chunk {
	struct pf_build_extent *extent;
	uint8_t *buf; /* NULL: none is open */
	uint32_t unit, units;
	uint32_t used, used_before; /* units of this class in this group; in the one before */
	uint32_t slab, slot;         /* next: slab of the chunk, slot of the slab */
	uint32_t slots, run, size;   /* of a slab: slots, units; of a slot: bytes */
};

struct pf_build_entry {
	uint64_t hash;
	uint64_t loc;
};

/* Entries of a block, which is one page of 2 MiB where the kernel has one. */
#define PF_BUILD_BLOCK_SIZE (2u << 20)
#define PF_BUILD_BLOCK (PF_BUILD_BLOCK_SIZE / sizeof(struct pf_build_entry) - 1)
struct pf_build_block {
	struct pf_build_block *next;
	uint32_t count;
	struct pf_build_entry entries[PF_BUILD_BLOCK];
};
_Static_assert(sizeof(struct pf_build_block) == PF_BUILD_BLOCK_SIZE, "build block");

/** What is to be published together, in order. */
struct pf_build_group {
	struct pf_build_group *next;
	struct pf_build_extent *list;
	struct pinfold_import_mark mark;
};

/* A chunk has this part of what its class took in a group, so that what is left empty when the group ends is less. */
#define PF_CHUNK_PARTS 8u
#define PF_BUILD_BUFFERS 16u
struct pf_build {
	struct pf_table *table;
	struct pf_build_chunk chunk[PF_CLASS_COUNT];
	struct pf_build_extent *current, *group, **group_last;
	bool lines_only; /* all records are published, or on their way: what follows are overflow lines */
	struct pinfold_extent last; /* heap extent made last */
	uint32_t heap_count;
	uint64_t heap_bytes, group_bytes;
	struct pinfold_import_mark mark;

	struct pf_build_block *blocks, *block;
	uint64_t entry_count, entry_max;
	uint32_t resumed_heaps; /* heap extents that an earlier build has published, and those before */
	struct pf_table_counts counts;

	pthread_t publisher;
	bool publisher_runs; /* else whoever waits publishes */
	pthread_mutex_t lock; /* what follows */
	pthread_cond_t wake, done;
	struct pf_build_group *groups, **groups_last;
	uint8_t *pool[PF_BUILD_BUFFERS];
	unsigned pooled, made;
	unsigned writing; /* buffers that the store has */
	bool publishing, stop;
	int error;
	char words[PF_ERROR_MAX];
};

/* build.c */
int pf_build_begin(struct pf_table *table, struct pf_build **ret_build);
int pf_build_add(struct pf_build *build, const void *key, size_t key_size, const void *value, size_t value_size);
/** Room for @size bytes in a slot of @class; *ret_loc is its place in the arena. Valid until the next call. */
int pf_build_slot(struct pf_build *build, unsigned class, uint8_t **ret_slot, uint64_t *ret_loc);
int pf_build_entry_add(struct pf_build *build, uint64_t hash, uint64_t loc);
/** Writes out all open chunks. */
int pf_build_chunks_close(struct pf_build *build);
/** Nothing more is written; frees all. Unpublished extents are free again. */
void pf_build_free(struct pf_build *build);
/** No more index entries than memory allows. */
static inline bool pf_build_full(const struct pf_build *build)
{
	return build->entry_count >= build->entry_max;
}

/* build_writer.c */
int pf_build_writer_start(struct pf_build *build);
void pf_build_writer_stop(struct pf_build *build);
/** A buffer of PF_CHUNK_BYTES; waits for one. */
int pf_build_buffer(struct pf_build *build, uint8_t **ret_buf);
/** Hands @buf over: its first @size bytes go to @extent at @offset. */
int pf_build_write(struct pf_build *build, const struct pinfold_extent *extent, uint64_t offset, uint8_t *buf,
		   size_t size);
/** Hands the group over, to be published with the mark. */
int pf_build_group_publish(struct pf_build *build);
/** Waits until all is written and published: the error of any. */
int pf_build_writer_wait(struct pf_build *build);
/** Nothing more is published; waits for what is under way. @error and the text of now become everything's answer. */
void pf_build_writer_fail(struct pf_build *build, int error);
/** Headers and bitmaps of the extents in @list. */
int pf_build_headers_write(struct pf_store *store, const struct pf_build_extent *list);
/** Makes the extents of @list pieces of the write set. Under table->lock. */
int pf_build_attach(struct pf_table *table, const struct pf_build_extent *list);
void pf_build_extents_free(struct pf_table *table, struct pf_build_extent *list, bool published);

/* build_index.c */
/** Hands over what is left of the records, as a group, to be published with the mark. No record follows. */
int pf_build_records_publish(struct pf_build *build);
/** Sorts, writes lines, publishes all and ends the import. */
int pf_build_finish(struct pf_build *build);
/* build_resume.c */
/** Index entries of what an earlier build has published. */
int pf_build_resume(struct pf_build *build);
/** Takes what an earlier build has published for free space; the table is not being built any more. */
int pf_build_discard(struct pf_table *table);

#endif
