/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* subprocess.h - reading a file through the decompressor that its name asks for. */
#ifndef PF_TOOLS_SUBPROCESS_H
#define PF_TOOLS_SUBPROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/** An input being read. */
struct input {
	FILE *stream;
	pid_t pid; /* of the decompressor; 0: none */
	const char *tool;
	int words_fd; /* what the tool said on its stderr */
	bool is_stdin;
	uint64_t file_size; /* of a file that is read as it is; 0: it is none */
};
/**
 * Opens @path ("-": stdin). Names ending in .xz, .gz, .lz4, .zst or .bz2 are read through that tool.
 * 0, or -errno with the words in @ret_error.
 */
int input_open(const char *path, struct input *ret_input, char *ret_error, size_t error_size);
/** 0, or -EIO with words if the tool failed. @drained: all of it was read (else the tool is stopped and not blamed). */
int input_close(struct input *input, bool drained, char *ret_error, size_t error_size);

#endif
