/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * DESIGN: a reader of the journal trusts nothing: each length is compared with
 * what is there before it is used, and each structure states its own place.
 */
#include "store/record.h"

#include "base/crc.h"
#include "base/error.h"

#include <pinfold/types.h>
#include <string.h>

void pf_group_seal(struct pf_group_header *header)
{
	header->crc = pf_crc32c(header, offsetof(struct pf_group_header, crc));
}

bool pf_group_check(const void *data, const uint8_t uuid[16], uint64_t pos, struct pf_group_header *ret_header)
{
	struct pf_group_header header;

	memcpy(&header, data, sizeof(header));
	if (memcmp(header.magic, PF_GROUP_MAGIC, sizeof(header.magic)) != 0 || header.pos != pos ||
	    memcmp(header.uuid, uuid, sizeof(header.uuid)) != 0)
		return false;
	if (header.crc != pf_crc32c(&header, offsetof(struct pf_group_header, crc)))
		return false;
	*ret_header = header;
	return true;
}

void pf_record_seal_body(void *record, uint64_t length)
{
	struct pf_record_header *header = record;

	header->body_crc = pf_crc32c(header + 1, length - sizeof(*header));
}

void pf_record_seal(void *record, uint64_t lsn, uint64_t txn_id)
{
	struct pf_record_header *header = record;

	header->magic = PF_RECORD_MAGIC;
	header->lsn = lsn;
	header->txn_id = txn_id;
	header->crc = pf_crc32c(&header->lsn, sizeof(*header) - offsetof(struct pf_record_header, lsn));
}

static int check_ranges(const uint8_t *body, uint64_t size, uint32_t count)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct pf_record_range range;

		if (size - at < sizeof(range))
			return -EUCLEAN;
		memcpy(&range, body + at, sizeof(range));
		at += sizeof(range);
		if (range.length == 0 || range.length > PINFOLD_EXTENT_MAX || pf_record_pad(range.length) > size - at)
			return -EUCLEAN;
		at += pf_record_pad(range.length);
	}
	return at == size ? 0 : -EUCLEAN;
}

int64_t pf_record_parse(const void *data, size_t size, uint64_t lsn, struct pf_record_header *ret_header)
{
	const uint8_t *bytes = data;
	struct pf_record_header header;

	if (size < sizeof(header))
		return pf_error(-EUCLEAN, "%zu bytes left where a record header of %zu is expected", size,
				sizeof(header));
	memcpy(&header, bytes, sizeof(header));
	if (header.magic != PF_RECORD_MAGIC ||
	    header.crc != pf_crc32c(bytes + offsetof(struct pf_record_header, lsn),
				    sizeof(header) - offsetof(struct pf_record_header, lsn)))
		return pf_error(-EUCLEAN, "no sound record header (LSN %llu expected)", (unsigned long long)lsn);
	if (header.lsn != lsn)
		return pf_error(-EUCLEAN, "record has LSN %llu where %llu is expected", (unsigned long long)header.lsn,
				(unsigned long long)lsn);
	if (header.length < sizeof(header) || header.length % 8 || header.length > size)
		return pf_error(-EUCLEAN, "record at LSN %llu is %llu bytes long; %zu are there",
				(unsigned long long)lsn, (unsigned long long)header.length, size);
	if (header.body_crc != pf_crc32c(bytes + sizeof(header), header.length - sizeof(header)))
		return pf_error(-EUCLEAN, "record at LSN %llu does not match its CRC", (unsigned long long)lsn);
	if (check_ranges(bytes + sizeof(header), header.length - sizeof(header), header.range_count) != 0)
		return pf_error(-EUCLEAN, "record at LSN %llu has ranges that do not fill it", (unsigned long long)lsn);
	*ret_header = header;
	return (int64_t)header.length;
}

int pf_record_foreach(const void *record, pf_range_fn fn, void *ctx)
{
	const uint8_t *at = record;
	struct pf_record_header header;

	memcpy(&header, at, sizeof(header));
	at += sizeof(header);
	for (uint32_t i = 0; i < header.range_count; i++) {
		struct pf_record_range range;
		int r;

		memcpy(&range, at, sizeof(range));
		r = fn(ctx, &range, at + sizeof(range));
		if (r != 0)
			return r;
		at += sizeof(range) + pf_record_pad(range.length);
	}
	return 0;
}

int64_t pf_journal_parse(const void *data, size_t size, const uint8_t uuid[16], uint64_t pos,
			 struct pf_group_header *ret_header, pf_record_fn fn, void *ctx)
{
	const uint8_t *bytes = data;
	struct pf_group_header header;
	uint64_t there, at = 0;

	if (size < sizeof(header) || !pf_group_check(bytes, uuid, pos, &header))
		return pf_error(-EUCLEAN, "no sound group header for journal position %llu", (unsigned long long)pos);
	there = size - sizeof(header) < header.length ? size - sizeof(header) : header.length;
	bytes += sizeof(header);
	while (at < there) {
		struct pf_record_header record;
		int64_t length = pf_record_parse(bytes + at, there - at, header.first_lsn + at, &record);
		int r;

		if (length < 0)
			break;
		r = fn ? fn(ctx, &record, bytes + at) : 0;
		if (r != 0)
			return r;
		at += (uint64_t)length;
	}
	*ret_header = header;
	return (int64_t)at;
}
