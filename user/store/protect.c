/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * protect.c - sealing the data mapping, and a protection key for the window.
 *
 * DESIGN
 *   Data is mapped twice (datafile.c): readers load from the data mapping, commits are applied through the window.
 *   Both stand where the kernel put them.
 *
 *  1. The data mapping cannot be made writable: it is shared, and its descriptor was opened for reading only.
 *  2. Sealed (mseal, Linux 6.10), it cannot be unmapped, replaced or moved either until the process ends. What
 *     grows, the reservation behind the last file, is not sealed; neither is the window, which must be gone once
 *     the store is closed, as another process may then write it. A sealed mapping outlives the close with its
 *     address space, and the file's blocks live as long even if the file is deleted: so sealing is for
 *     programs that keep a store for life. Advice, locks and revoked translations work on it as before.
 *  3. Behind a key (pkeys), the window faults for every thread but one that is applying right now: the key's
 *     rights are a register of each thread, which starts with none.
 *  4. What the host refuses is done without, and is named in protect_refused.
 */
#include "store/protect.h"

#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_mseal
#define SYS_mseal 462
#endif

static void refused(struct pf_store *store, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void refused(struct pf_store *store, const char *format, ...)
{
	size_t used = strlen(store->protect_refused), size = sizeof(store->protect_refused);
	va_list args;

	if (used && used + 3 < size) {
		strcpy(store->protect_refused + used, "; ");
		used += 2;
	}
	va_start(args, format);
	vsnprintf(store->protect_refused + used, size - used, format, args);
	va_end(args);
}

static void give_key_back(struct pf_store *store)
{
	if (store->window_key >= 0)
		pkey_free(store->window_key);
	store->window_key = -1;
}

void pf_protect_open(struct pf_store *store)
{
	store->seal = store->config.seal;
	store->window_key = -1;
	if (!store->config.protection_keys || store->read_only)
		return;
	store->window_key = pkey_alloc(0, PKEY_DISABLE_ACCESS);
	if (store->window_key < 0)
		refused(store, "protection keys: pkey_alloc: %s (the processor may have none)", strerror(errno));
}

int pf_protect_file(struct pf_store *store, uint64_t at)
{
	if (store->window_key >= 0 &&
	    pkey_mprotect(store->rw_base + at, store->file_size, PROT_READ | PROT_WRITE, store->window_key) != 0) {
		if (at > 0) /* what is behind the key already is not open to whoever applies without one */
			return pf_error(-errno, "%s: pkey_mprotect: %s", store->dir, strerror(errno));
		refused(store, "protection keys: pkey_mprotect: %s", strerror(errno));
		give_key_back(store);
	}
	if (!store->seal)
		return 0;
	if (syscall(SYS_mseal, store->base + at, store->file_size, 0ul) == 0) {
		store->sealed_size = at + store->file_size;
		return 0;
	}
	refused(store, "sealing: mseal: %s", strerror(errno));
	store->seal = false;
	return 0;
}

void pf_protect_close(struct pf_store *store)
{
	uint8_t *data = store->arena[0];

	if (store->arena[1])
		munmap(store->arena[1], store->arena_span[1]);
	give_key_back(store);
	if (data && store->sealed_size) { /* around it; no page of it stays mapped */
		uint8_t *sealed_end = store->base + store->sealed_size;

		madvise(store->base, store->sealed_size, MADV_DONTNEED);
		if (store->base > data)
			munmap(data, (size_t)(store->base - data));
		munmap(sealed_end, store->arena_span[0] - (size_t)(sealed_end - data));
	} else if (data) {
		munmap(data, store->arena_span[0]);
	}
}
