/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* output_file.h - files that a command writes in one go: whole, or not there. */
#ifndef PF_TOOLS_OUTPUT_FILE_H
#define PF_TOOLS_OUTPUT_FILE_H

#include <stddef.h>
#include <stdio.h>

/** Makes a file of that name, or empties the one that is there. 0, or -errno with words in @ret_error. */
int output_file_open(const char *path, FILE **ret_file, char *ret_error, size_t error_size);
/**
 * Closes @file. 0 if all of it was written and @failed (an error number of who wrote it, or 0) is 0; else -errno with
 * words in @ret_error, and what there is of the file is removed.
 */
int output_file_close(FILE *file, const char *path, int failed, char *ret_error, size_t error_size);
/** Whether a file of that name could be made or overwritten: 0 or an error number. Makes and changes nothing. */
int output_file_check(const char *path);

#endif
