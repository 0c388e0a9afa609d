/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ledger.h - what the oracle of the crash proofs knows.
 *
 * A ledger lies in memory that is shared between the proof and the processes it
 * kills. Writers note in it what they are about to do, and what was
 * acknowledged *after* the store acknowledged it. What a writer does is a pure
 * function of (seed, writer, sequence, model), so the checker computes what the store must hold
 * instead of trusting what it holds.
 *
 * Laws that a recovered store is held to:
 *  1. Each writer's bytes are exactly the result of its first S transactions, for one S.
 *  2. acked <= S <= started, where the sync mode promises acked; always up to the durable mark.
 *  3. The transactions that survive are a prefix of the commit order: by ticket where both
 *     tickets are known, and by real time (what was acknowledged before another began).
 *  4. The published extents are exactly those of the model; nothing leaks, nothing is unpublished.
 *  5. verify finds nothing.
 */
#ifndef PF_TESTS_LEDGER_H
#define PF_TESTS_LEDGER_H

#include <pinfold/store.h>
#include <stdatomic.h>
#include <stdint.h>

#define WORLD_WRITERS 4
#define WORLD_EXTENTS 3
/* Odd, so that neighbouring writers share pages. */
#define WORLD_AREA 30011
#define WORLD_SLOTS 3
#define WORLD_RANGES 6
/* Transactions of one writer between two checks. */
#define LEDGER_TXNS 16384

#define WORLD_TABLE_WRITERS 2
#define WORLD_KEYS 1024
#define WORLD_BATCH 12

/** An extent that a writer published: content is a function of the sequence that made it. */
struct slot {
	uint64_t made_by; /* sequence; 0: empty */
	struct pinfold_extent extent;
};

/** One writer's share of the store as its first @sequence transactions leave it. */
struct model {
	uint64_t sequence;
	unsigned char image[WORLD_EXTENTS][WORLD_AREA];
	struct slot slot[WORLD_SLOTS];
};

struct table_model {
	uint64_t sequence;
	uint64_t made_by[WORLD_KEYS]; /* sequence of the last put; 0: absent */
};

/** What is known of one transaction. Zero: not known. */
struct entry {
	_Atomic uint64_t ticket;
	_Atomic uint64_t began, ended; /* the ledger's clock around the call */
	struct pinfold_extent made;    /* extent that it publishes; noted before the commit */
};

struct writer_log {
	_Atomic uint64_t started, acked;
	struct entry entry[LEDGER_TXNS]; /* of sequence model.sequence + 1 + i */
};

/** How a world is set up; derived from its seed. */
struct world {
	uint64_t seed;
	enum pinfold_sync sync;
	bool no_io_uring;
	bool large_extents; /* up to 256 MiB, so that files are added */
	bool tables;
	unsigned writer_count;
};

struct ledger {
	struct world world;
	struct pinfold_extent fixed[WORLD_EXTENTS];
	struct model model[WORLD_WRITERS];
	struct table_model table_model[WORLD_TABLE_WRITERS];
	struct writer_log log[WORLD_WRITERS];
	struct writer_log table_log[WORLD_TABLE_WRITERS];
	_Atomic uint64_t clock;
	/* the newest ticket that the store called durable; every earlier one is too */
	_Atomic uint64_t durable_ticket;
	_Atomic int closing, closed; /* pf_store_close() was called, returned 0 */
	_Atomic uint64_t checkpoint_count, recovered_txns;
	_Atomic int failed;
	char text[1024];
};

/** Notes the first failure. Any process, any thread. Returns -1. */
int ledger_fail(struct ledger *ledger, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** Forgets the logs of the last run; models stay. */
void ledger_next_run(struct ledger *ledger);

/* ---- plan.c: what transaction @sequence of @writer does ---- */

struct range {
	uint32_t extent, offset, size; /* offset in the writer's area */
};

enum life { LIFE_NONE, LIFE_CREATE, LIFE_DROP };

struct plan {
	unsigned range_count;
	struct range range[WORLD_RANGES];
	enum life life;
	unsigned slot;
	uint64_t extent_size;  /* of LIFE_CREATE */
	bool bulk;             /* the new extent is bulk-loaded, else zero but for its patch */
	uint32_t patch_offset; /* in the new extent; 64 bytes written by the publishing transaction itself */
	bool abort_first;      /* an aborted transaction with other bytes goes before */
};

#define PATCH_SIZE 64

void plan_make(const struct world *world, unsigned writer, uint64_t sequence, const struct model *model,
	       struct plan *ret_plan);
/** Bytes of range @index; @ret_data has room for its size. */
void plan_bytes(const struct world *world, unsigned writer, uint64_t sequence, const struct plan *plan, unsigned index,
		void *ret_data);
/** Where @writer's area starts in each fixed extent. */
uint64_t plan_area(unsigned writer);
/** Advances @model by transaction @sequence; @made is the extent it published, if any. */
void model_apply(const struct world *world, unsigned writer, uint64_t sequence, struct model *model,
		 const struct pinfold_extent *made);

/** The head that each transaction writes at the start of its area; what S is read from. */
struct head {
	uint64_t magic, writer, sequence, check;
};
void head_make(unsigned writer, uint64_t sequence, struct head *ret_head);

/* Content of a published extent: bulk-loaded runs, zeros, the patch. */
struct bulk_run {
	uint32_t offset, size;
};
#define BULK_RUNS 3
void bulk_runs(const struct world *world, unsigned writer, uint64_t sequence, uint64_t extent_size,
	       struct bulk_run ret_runs[BULK_RUNS]);
void bulk_bytes(const struct world *world, unsigned writer, uint64_t sequence, unsigned run, uint32_t size,
		void *ret_data);
/** What the first 2 MiB of the extent must hold. */
void bulk_image(const struct world *world, unsigned writer, uint64_t sequence, const struct plan *plan,
		unsigned char *ret_image);
#define BULK_IMAGE (2u << 20)

/* ---- tableplan.c ---- */

enum table_op { TABLE_PUT, TABLE_DELETE, TABLE_CAS, TABLE_CAS_REFUSED, TABLE_BATCH };

struct table_plan {
	enum table_op op;
	unsigned count;
	struct table_change {
		uint32_t key;
		bool delete;
	} change[WORLD_BATCH];
};

void table_plan_make(const struct world *world, unsigned writer, uint64_t sequence, const struct table_model *model,
		     struct table_plan *ret_plan);
void table_model_apply(struct table_model *model, uint64_t sequence, const struct table_plan *plan);
#define TABLE_KEY_BYTES 48
size_t table_key(unsigned writer, uint32_t key, char ret_key[TABLE_KEY_BYTES]);
#define TABLE_VALUE_BYTES 4096
/** The value that @sequence puts at @key. Returns its size. */
size_t table_value(const struct world *world, unsigned writer, uint32_t key, uint64_t sequence,
		   unsigned char ret_value[TABLE_VALUE_BYTES]);
/** The sequence that made @value, or 0 if it is not whole. */
uint64_t table_value_made_by(const struct world *world, unsigned writer, uint32_t key, const unsigned char *value,
			     size_t size);

#endif
