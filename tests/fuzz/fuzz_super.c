/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Any bytes as a superblock: parsed without harm, and what is accepted is in range and
 * comes out of the copy that says so.
 *
 * Input: one byte (bit i: seal copy i), then the bytes of both copies, as many as there are.
 */
#include "fuzz.h"

#include "store/super.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct pf_super_disk copies[2];
	struct pf_super_disk found;
	int slot = -1, r;

	if (size < 1)
		return 0;
	memset(copies, 0, sizeof(copies));
	size = size - 1 < sizeof(copies) ? size : sizeof(copies) + 1;
	memcpy(copies, data + 1, size - 1);
	for (int i = 0; i < 2; i++)
		if (data[0] >> i & 1)
			pf_super_seal(&copies[i]);
	r = pf_super_parse(copies, data[0] & 4 ? size - 1 : sizeof(copies), &found, &slot);
	if (r != 0)
		return 0;
	if (slot < 0 || slot > 1 || memcmp(&found, &copies[slot], sizeof(found)) != 0)
		abort();
	if (found.file_count < 1 || found.root_file >= found.file_count || found.segment_count < 1 ||
	    found.file_size < PF_FILE_SIZE_MIN || found.root_offset > found.file_size - PF_GRANULE_SIZE ||
	    found.sequence > PF_SEQUENCE_MAX || found.segment_size * found.segment_count < PF_JOURNAL_SIZE_MIN ||
	    found.segment_size * found.segment_count > PF_JOURNAL_SIZE_MAX)
		abort();
	if ((!(data[0] & 4) || size - 1 == sizeof(copies)) && !pf_super_check(&copies[!slot]) &&
	    copies[!slot].sequence > found.sequence)
		abort();
	return 0;
}
