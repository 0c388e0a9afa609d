/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* importer.h - records into a table, some thousand per transaction. */
#ifndef PF_TOOLS_IMPORTER_H
#define PF_TOOLS_IMPORTER_H

#include "cli.h"
#include "records.h"

/** Bytes that end a batch before its count does: one transaction must fit the journal. */
#define IMPORTER_BATCH_BYTES (4u << 20)

/** Collects records and writes them in batches. */
struct importer {
	struct pinfold *pf;
	struct pinfold_table *table;
	size_t batch, count;
	size_t batch_bytes; /* a batch ends at this size too */
	struct pinfold_record *records; /* data are offsets into text until written */
	struct records_text text;
	uint64_t record_count, byte_count, batch_count;
};
int importer_init(struct importer *importer, struct pinfold *pf, struct pinfold_table *table, size_t batch);
/** Adds a record; writes a batch when it is full. -errno of the write. */
int importer_add(struct importer *importer, const void *key, size_t key_size, const void *value, size_t value_size);
int importer_flush(struct importer *importer);
void importer_done(struct importer *importer);

#endif
