/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fuzz.h - what the fuzz targets share: a template store that inputs are laid over.
 *
 * An input of a store fuzzer is a list of patches {u16 place, u8 size, bytes}: so
 * the fuzzer changes what matters instead of copying megabytes. Before the
 * store is opened, checksums may be made right again (first byte of the input),
 * or nothing behind them would ever be reached.
 */
#ifndef PF_TESTS_FUZZ_H
#define PF_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/** Directory of the template (as a killed process left it) and of the copy that an input is laid over. */
extern char fuzz_template[], fuzz_store[];

/** Makes the template with @fill(store), without closing it. Aborts if it cannot. */
void fuzz_template_make(int (*fill)(struct pf_store *store));
/** The configuration that the template was made with, @flags instead of CREATE. */
void fuzz_config(uint32_t flags, struct pinfold_config *ret_config);
/** Restores the copy. */
void fuzz_store_reset(void);
/** Lays the patches in @data over @image of @image_size bytes: place is in units of @unit. */
void fuzz_patch(const uint8_t *data, size_t size, uint8_t *image, size_t image_size, size_t unit);
/** Reads or writes @size bytes at @offset of @name in the copy. Aborts if it cannot. */
void fuzz_file_read(const char *name, uint64_t offset, void *ret_data, size_t size);
void fuzz_file_write(const char *name, uint64_t offset, const void *data, size_t size);

#endif
