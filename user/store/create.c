/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * create.c - a new store, and a new journal for an old one.
 *
 * DESIGN: the superblock is what makes a directory a store, so it comes last, by rename. A marker
 * that comes first tells the remains of an interrupted creation from a store that lost its superblock.
 */
#include "base/error.h"
#include "store/internal.h"
#include "store/super.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define MARKER "creating"

static bool exists(struct pf_store *store, const char *name)
{
	return faccessat(store->dirfd, name, F_OK, 0) == 0;
}

int pf_store_check_empty(struct pf_store *store)
{
	/* looked for last: who holds no lock may have seen none before another process's creation ended */
	if (exists(store, "data.000000") && !exists(store, MARKER) && !exists(store, PF_SUPER_FILE))
		return pf_error(-EUCLEAN, "%s: holds data files but no superblock", store->dir);
	return 0;
}

static int make_marker(struct pf_store *store)
{
	int fd = pf_io_open(store->dirfd, MARKER, O_WRONLY | O_CREAT | O_EXCL, 0600), r;

	if (fd == -EEXIST)
		return 0;
	if (fd < 0)
		return pf_error(fd, "%s/%s: cannot create: %s", store->dir, MARKER, strerror(-fd));
	close(fd);
	r = pf_io_fsync(store->dirfd);
	return r < 0 ? pf_error(r, "%s: flush failed: %s", store->dir, strerror(-r)) : 0;
}

static int write_super(struct pf_store *store)
{
	struct pf_super_disk copies[2];
	int fd, r;

	pf_io_unlink(store->dirfd, PF_SUPER_FILE ".new");
	fd = pf_io_open(store->dirfd, PF_SUPER_FILE ".new", O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return pf_error(fd, "%s/%s: cannot create: %s", store->dir, PF_SUPER_FILE, strerror(-fd));
	for (int i = 0; i < 2; i++) { /* sequence 2 at slot 0, 1 at slot 1: as if written in turn */
		copies[i] = store->super;
		copies[i].sequence = i == 0 ? 2 : 1;
		pf_super_seal(&copies[i]);
	}
	store->super = copies[0];
	r = pf_io_pwrite(fd, copies, sizeof(copies), 0) == (ssize_t)sizeof(copies) ? pf_io_fsync(fd) : -EIO;
	close(fd);
	if (r == 0)
		r = pf_io_rename(store->dirfd, PF_SUPER_FILE ".new", PF_SUPER_FILE);
	if (r == 0)
		r = pf_io_fsync(store->dirfd);
	if (r < 0)
		return pf_error(r, "%s/%s: cannot write: %s", store->dir, PF_SUPER_FILE, strerror(-r));
	pf_io_unlink(store->dirfd, MARKER);
	return 0;
}

static int make_uuid(uint8_t uuid[16])
{
	if (getrandom(uuid, 16, 0) != 16)
		return pf_error(-EIO, "no random bytes for the store's uuid");
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40); /* version 4, variant 1 */
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
	return 0;
}

/* Gives back the space of what became no store. Without words: those of the failure are to be read. */
static void undo_create(struct pf_store *store)
{
	if (exists(store, PF_SUPER_FILE)) /* it is one, and only its flush failed */
		return;
	pf_journal_unlink(store, store->super.journal_generation);
	pf_io_unlink(store->dirfd, PF_SUPER_FILE ".new");
	pf_io_unlink(store->dirfd, "data.000000");
	pf_io_unlink(store->dirfd, MARKER);
}

int pf_store_create(struct pf_store *store)
{
	struct pf_super_disk *super = &store->super;
	int r = make_uuid(super->uuid);

	if (r < 0)
		return r;
	super->file_size = store->file_size = store->config.file_size;
	super->extent_size = store->config.extent_size;
	super->file_count = 1;
	super->clean = 1;
	super->epoch = 1;
	super->journal_generation = 1;
	super->next_txn_id = 1;
	super->start_group = 1;
	store->granules_per_file = (uint32_t)(store->file_size >> PF_GRANULE_SHIFT);
	super->root_offset = pf_meta_granules(store->file_size) * PF_GRANULE_SIZE;
	super->root_gen = 1;
	store->root =
		(struct pinfold_extent){ .offset = super->root_offset, .len = PF_GRANULE_SIZE, .gen = super->root_gen };
	r = make_marker(store);
	if (r == 0)
		r = pf_file_create(store, 0, true);
	if (r == 0)
		r = pf_journal_create(store, store->config.journal_size ? store->config.journal_size :
									  PF_JOURNAL_SIZE_DEFAULT);
	if (r == 0)
		r = write_super(store);
	if (r < 0)
		undo_create(store);
	return r;
}

int pf_store_resize_journal(struct pf_store *store, uint64_t journal_size)
{
	const struct pf_super_disk before = store->super;
	struct pf_log_point start;
	int r;

	pf_journal_close(store);
	store->super.journal_generation++;
	r = pf_journal_create(store, journal_size);
	if (r < 0) {
		pf_journal_unlink(store, store->super.journal_generation);
		return r;
	}
	start = (struct pf_log_point){ .lsn = before.start_lsn, .pos = 0, .number = before.start_group };
	r = pf_super_update(store, &start, true);
	if (r < 0) /* which of the two journals counts is not known: both stay */
		return r;
	return pf_journal_open(store);
}
