/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* records_write_csv.h - between records_write.c and records_write_csv.c. */
#ifndef PF_TOOLS_RECORDS_WRITE_CSV_H
#define PF_TOOLS_RECORDS_WRITE_CSV_H

#include "records_write.h"

int records_csv_look(struct records_writer *writer, const struct pinfold_record *record);
int records_csv_settle(struct records_writer *writer);
int records_csv_head(const struct records_writer *writer, struct records_text *out);
int records_csv_add(struct records_writer *writer, const struct pinfold_record *record, struct records_text *out);
int records_csv_column_add(struct records_writer *writer, const char *name);
void records_writer_columns_free(struct records_writer *writer);
/** The other way of records_unescape(). @one_line: line ends, and blanks at the ends, are escaped too. */
int records_text_escape(struct records_text *out, const void *data, size_t size, bool one_line);

#endif
