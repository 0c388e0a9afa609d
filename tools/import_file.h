/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* import_file.h - a text file into a table; goes on where it was interrupted. */
#ifndef PF_TOOLS_IMPORT_FILE_H
#define PF_TOOLS_IMPORT_FILE_H

#include "cli.h"
#include "records.h"

struct import_options {
	const char *path; /* "-": stdin */
	enum records_format format;
	const char *key_field; /* NULL: the format's usual one */
	bool restart;          /* forget what an unfinished import left */
};

/** What an import did, with what it had done before it was interrupted. */
struct import_result {
	uint64_t record_count, byte_count;
	uint64_t left_out;     /* key or value above the table's limits */
	uint64_t resumed_line; /* 0: from the start */
	double seconds;
};
/** Imports a file; says what failed. An exit status. Adds to @result. */
int import_file(struct cli *cli, struct pinfold *pf, struct pinfold_table *table, const struct import_options *options,
		struct import_result *result);

#endif
