/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * scratch.h - directories of a proof's own, and processes that may die.
 */
#ifndef PF_TESTS_SCRATCH_H
#define PF_TESTS_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define SCRATCH_PATH 256

/** A fresh directory below @parent; NULL: $PF_TEST_DIR, else the memory file system if there is one, else /var/tmp. */
int scratch_make(const char *parent, char ret_path[SCRATCH_PATH]);
/** Removes all that is in @path and, if @itself, the directory. */
void scratch_clear(const char *path, bool itself);

/** Copies the files and directories in @from into the directory @to, holes as holes. 0 or -errno. */
int scratch_copy(const char *from, const char *to);
/** Copies one file into the directory @dir as @name, over what is there. 0 or -errno. */
int scratch_copy_to(const char *from, const char *dir, const char *name);

/** Runs @fn(@ctx) in a forked process whose status is its result (0: fine). */
pid_t child_start(int (*fn)(void *ctx), void *ctx);
/**
 * Waits at most @timeout_ms; then kills the process with SIGKILL. Returns what
 * waitpid() says; *ret_late says whether it was killed for being late.
 */
int child_wait(pid_t pid, unsigned timeout_ms, bool *ret_late);
/** Words for a wait status. Static. */
const char *child_status_text(int status, bool late);

#endif
