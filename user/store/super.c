/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * DESIGN: two copies, written in turn. A torn write leaves the other copy, which
 * still describes a consistent store: what it refers to is recycled only after
 * the newer copy is durable.
 */
#include "store/super.h"

#include "base/crc.h"
#include "base/error.h"

#include <pinfold/types.h>
#include <stdio.h>
#include <string.h>

static uint32_t super_crc(const struct pf_super_disk *super)
{
	const size_t at = offsetof(struct pf_super_disk, crc);
	const uint32_t zero = 0;
	uint32_t crc = pf_crc32c(super, at);

	crc = pf_crc32c_update(crc, &zero, sizeof(zero));
	return pf_crc32c_update(crc, (const char *)super + at + sizeof(zero), sizeof(*super) - at - sizeof(zero));
}

void pf_super_seal(struct pf_super_disk *super)
{
	memcpy(super->magic, PF_SUPER_MAGIC, sizeof(super->magic));
	super->version = PF_FORMAT_VERSION;
	super->crc = super_crc(super);
}

static int bad(const char *field, uint64_t value)
{
	return pf_error(-EUCLEAN, "%s is %llu, which is out of range", field, (unsigned long long)value);
}

static int check_fields(const struct pf_super_disk *s)
{
	uint64_t ring = (s->segment_size - PF_BLOCK_SIZE) * (uint64_t)s->segment_count;
	uint64_t journal = s->segment_size * s->segment_count; /* looked at when both are in range */

	if (s->sequence > PF_SEQUENCE_MAX) /* the next write's must be higher */
		return bad("sequence", s->sequence);
	if (s->file_size < PF_FILE_SIZE_MIN || s->file_size > PF_FILE_SIZE_MAX || s->file_size % PF_FILE_SIZE_MIN)
		return bad("file_size", s->file_size);
	if (s->extent_size < PINFOLD_EXTENT_MIN || s->extent_size > PINFOLD_EXTENT_MAX ||
	    (s->extent_size & (s->extent_size - 1)))
		return bad("extent_size", s->extent_size);
	if (s->file_count < 1 || s->file_count > PF_FILE_COUNT_MAX)
		return bad("file_count", s->file_count);
	if (s->root_file >= s->file_count)
		return bad("root_file", s->root_file);
	if (s->root_offset % PF_GRANULE_SIZE || s->root_offset > s->file_size - PF_GRANULE_SIZE)
		return bad("root_offset", s->root_offset);
	if (s->clean > 1)
		return bad("clean", s->clean);
	if (s->segment_size < PF_SEGMENT_SIZE_MIN || s->segment_size > PF_SEGMENT_SIZE_MAX ||
	    s->segment_size % PF_BLOCK_SIZE)
		return bad("segment_size", s->segment_size);
	if (s->segment_count < 1 || s->segment_count > PF_SEGMENT_COUNT_MAX)
		return bad("segment_count", s->segment_count);
	if (journal < PF_JOURNAL_SIZE_MIN || journal > PF_JOURNAL_SIZE_MAX)
		return bad("segment_size times segment_count", journal);
	if (s->group_blocks > ring / PF_BLOCK_SIZE)
		return bad("group_blocks", s->group_blocks);
	if (s->start_pos % PF_BLOCK_SIZE || s->start_pos > UINT64_MAX / 2 - ring)
		return bad("start_pos", s->start_pos);
	if (s->start_lsn % 8 || s->start_lsn > UINT64_MAX / 2)
		return bad("start_lsn", s->start_lsn);
	return 0;
}

int pf_super_check(const struct pf_super_disk *block)
{
	if (memcmp(block->magic, PF_SUPER_MAGIC, sizeof(block->magic)) != 0)
		return pf_error(-EUCLEAN, "no magic \"%s\"", PF_SUPER_MAGIC);
	if (block->crc != super_crc(block))
		return pf_error(-EUCLEAN, "CRC is 0x%08x, computed 0x%08x", block->crc, super_crc(block));
	if (block->version != PF_FORMAT_VERSION)
		return pf_error(-EPROTONOSUPPORT, "format version %u; this library reads version %u",
				block->version, PF_FORMAT_VERSION);
	return check_fields(block);
}

int pf_super_parse(const void *data, size_t size, struct pf_super_disk *ret_super, int *ret_slot)
{
	struct pf_super_disk copy, best;
	char words[2][160];
	int slot = -1, code = -EUCLEAN;

	for (int i = 0; i < 2; i++) {
		int r;

		if (size < (size_t)(i + 1) * PF_BLOCK_SIZE) {
			snprintf(words[i], sizeof(words[i]),
				 "the file ends at %zu; two copies of %u are expected", size,
				 PF_BLOCK_SIZE);
			continue;
		}
		memcpy(&copy, (const char *)data + (size_t)i * PF_BLOCK_SIZE, sizeof(copy));
		r = pf_super_check(&copy);
		if (r < 0) {
			snprintf(words[i], sizeof(words[i]), "%.150s", pf_error_text());
			if (r != -EUCLEAN) /* a version that we do not know says more than a copy that is damaged */
				code = r;
			continue;
		}
		if (slot < 0 || copy.sequence > best.sequence) {
			best = copy;
			slot = i;
		}
	}
	if (slot < 0)
		return pf_error(code, "super: offset 0: %s; offset %u: %s", words[0], PF_BLOCK_SIZE, words[1]);
	*ret_super = best;
	if (ret_slot)
		*ret_slot = slot;
	return 0;
}
