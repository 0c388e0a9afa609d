/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * verify_orphans.c - extents of tables that the directory does not know.
 *
 * The directory of a store that never had a table is all zeros, and so is a slot of a table that was dropped: zeros
 * where a directory should be read as "no tables". What betrays them is that a table's extents are still published:
 * each heap extent begins with a checksummed header that names its table by incarnation, and a drop of the
 * table would have dropped them in the same transaction.
 */
#include "store/table/internal.h"

#include <stdlib.h>

struct orphans {
	struct pf_verify *verify;
	uint64_t *known; /* incarnations in the directory */
	size_t count;
};

/* Slots that cannot be read count as known: they are reported for themselves, and the extents may be theirs. */
static int known_read(struct orphans *orphans, bool *ret_all_known)
{
	struct pf_table_header header;

	orphans->count = 0;
	*ret_all_known = false;
	for (uint32_t slot = 1; slot <= PF_SLOT_COUNT; slot++) {
		int r = pf_table_header_read(orphans->verify->tables, slot, &header);

		if (r == 0)
			orphans->known[orphans->count++] = header.incarnation;
		else if (r == -EUCLEAN || r == -EIO)
			*ret_all_known = true;
		else if (r != -ENOENT)
			return r;
	}
	return 0;
}

static bool is_known(const struct orphans *orphans, uint64_t incarnation)
{
	for (size_t i = 0; i < orphans->count; i++)
		if (orphans->known[i] == incarnation)
			return true;
	return false;
}

/* Is @extent published, and the heap of a table that is not known? */
static bool is_orphan(const struct orphans *orphans, const struct pinfold_extent *extent,
		      struct pf_heap_header *ret_header)
{
	struct pf_heap_header header, plain;

	if (pf_read_at(orphans->verify->tables->store, extent, 0, &header, sizeof(header)) < 0)
		return false; /* dropped meanwhile, or unreadable: nothing is known of it */
	plain = header;
	plain.crc = 0;
	*ret_header = header;
	return header.magic == PF_HEAP_MAGIC && header.crc == pf_crc32c(&plain, sizeof(plain)) &&
	       header.unit_count == extent->len >> PF_UNIT_SHIFT && !is_known(orphans, header.incarnation);
}

static int visit(void *ctx, const struct pinfold_extent *extent, bool published)
{
	struct orphans *orphans = ctx;
	struct pf_heap_header header;
	bool all_known;
	int r;

	if (!published || !is_orphan(orphans, extent, &header))
		return 0;
	/* A table made since the directory was read, or one dropped since the extent was found? */
	r = known_read(orphans, &all_known);
	if (r == 0 && !all_known && is_orphan(orphans, extent, &header))
		pf_verify_problem(orphans->verify, extent, 0,
				  "an extent of table number %llu, which the directory of tables does not have",
				  (unsigned long long)header.incarnation);
	return r;
}

int pf_verify_orphans(struct pf_verify *verify)
{
	struct orphans orphans = { .verify = verify, .known = calloc(PF_SLOT_COUNT, sizeof(*orphans.known)) };
	bool all_known;
	int r;

	if (!orphans.known)
		return pf_error(-ENOMEM, "verify: no memory");
	r = known_read(&orphans, &all_known);
	if (r == 0 && !all_known)
		r = pf_extent_foreach(verify->tables->store, visit, &orphans);
	free(orphans.known);
	return r;
}
