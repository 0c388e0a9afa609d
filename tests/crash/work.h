/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * work.h - the process that is killed, and the one that judges what it left.
 */
#ifndef PF_TESTS_WORK_H
#define PF_TESTS_WORK_H

#include "ledger.h"
#include "store/store.h"

/** What survived of one writer, for the laws about order. */
struct survival {
	uint64_t last_ticket, last_began; /* of the last transaction that is there */
	uint64_t next_ticket, next_ended; /* of the first that is not; 0: unknown or none */
};

/** The configuration that @world is opened with, completed. */
int work_config(const struct world *world, struct pinfold_config *ret_config);
/** Creates the store in @dir and publishes the fixed extents. 0 or -1 with the ledger's text set. */
int work_setup(struct ledger *ledger, const char *dir);
/** Opens, runs all writers for @run_ms, closes. 0 or -1. */
int work_run(struct ledger *ledger, const char *dir, unsigned run_ms);
/**
 * Opens the store that a killed run left and holds it to the laws; advances the models.
 * @leave_open: end without closing it. 0 or -1.
 */
int check_run(struct ledger *ledger, const char *dir, bool leave_open);

/** One transaction of raw writer @writer. Used by the scripted proofs too. 0, or the store's error. */
int work_step(struct ledger *ledger, struct pf_store *store, struct model *model, unsigned writer);
/** Law 1 to 5 against an open store. 0 or -1. */
int check_store(struct ledger *ledger, struct pf_store *store);

/* tablework.c: the same for record tables */
struct table_work;
int table_work_open(struct ledger *ledger, struct pf_store *store, struct table_work **ret_work);
void table_work_close(struct table_work *work);
/** One change by table writer @writer. 0, or the store's error. */
int table_work_step(struct ledger *ledger, struct table_work *work, struct table_model *model, unsigned writer);
/** @table_bytes: extents that nobody else knows. Opens and closes the tables of @store. 0 or -1. */
int table_check(struct ledger *ledger, struct pf_store *store, uint64_t table_bytes,
		struct survival ret_survivals[WORLD_TABLE_WRITERS]);

#endif
