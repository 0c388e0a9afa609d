/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* export_file.h - a table as a text file; goes on where it was interrupted. */
#ifndef PF_TOOLS_EXPORT_FILE_H
#define PF_TOOLS_EXPORT_FILE_H

#include "cli.h"
#include "records.h"

struct export_options {
	const char *table;
	const char *output; /* NULL: stdout */
	enum records_format format;
	const char *key_field; /* NULL: the first record tells */
};

struct export_result {
	uint64_t record_count, byte_count;
	uint64_t resumed_records; /* that an interrupted run had written */
	double seconds;
};
/** Exports a table; says what failed. An exit status. */
int export_file(struct cli *cli, struct pinfold *pf, struct pinfold_table *table, const struct export_options *options,
		struct export_result *ret_result);

#endif
