// SPDX-License-Identifier: LGPL-2.1-or-later
/* importer.c - records into a table, some thousand per transaction. */
#include "importer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int importer_init(struct importer *importer, struct pinfold *pf, struct pinfold_table *table, size_t batch)
{
	*importer = (struct importer){.pf = pf, .table = table, .batch = batch, .batch_bytes = IMPORTER_BATCH_BYTES};
	importer->records = calloc(batch, sizeof(*importer->records));
	return importer->records ? 0 : -ENOMEM;
}

int importer_flush(struct importer *importer)
{
	char *p = importer->text.data;
	int r;

	if (!importer->count)
		return 0;
	/* The text may have moved while it grew: addresses are known only now. */
	for (size_t i = 0; i < importer->count; i++) {
		importer->records[i].key = p;
		p += importer->records[i].key_size;
		importer->records[i].value = p;
		p += importer->records[i].value_size;
	}
	r = pinfold_table_write(importer->table, importer->records, importer->count);
	if (r)
		return r;
	importer->batch_count++;
	importer->count = 0;
	importer->text.size = 0;
	return 0;
}

int importer_add(struct importer *importer, const void *key, size_t key_size, const void *value, size_t value_size)
{
	int r = records_text_add(&importer->text, key, key_size);

	if (!r)
		r = records_text_add(&importer->text, value, value_size);
	if (r)
		return r;
	importer->records[importer->count++] = (struct pinfold_record){.key_size = key_size, .value_size = value_size};
	importer->record_count++;
	importer->byte_count += key_size + value_size;
	if (importer->count == importer->batch || importer->text.size >= importer->batch_bytes)
		return importer_flush(importer);
	return 0;
}

void importer_done(struct importer *importer)
{
	free(importer->records);
	free(importer->text.data);
	memset(importer, 0, sizeof(*importer));
}
