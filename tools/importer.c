// SPDX-License-Identifier: LGPL-2.1-or-later
/* importer.c - records of a text input into a table, some thousand per transaction. */
#include "importer.h"
#include "progress.h"
#include "subprocess.h"

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

static int import_records(struct cli *cli, struct importer *importer, struct records *records, const char *path,
			  struct progress *progress, struct import_result *result)
{
	int r;

	while ((r = records_next(records)) == 1) {
		if (cli_stopped)
			return cli_fail(cli, "%s: stopped at line %llu; batches before it are in the table", path,
					(unsigned long long)records->record_line);
		if (!records->key.size)
			return cli_fail(cli, "%s: line %llu: the key is empty: it must have 1 to %d bytes", path,
					(unsigned long long)records->record_line, PINFOLD_KEY_MAX);
		if (records->key.size > PINFOLD_KEY_MAX || records->value.size > PINFOLD_VALUE_MAX) {
			result->too_large++;
			continue;
		}
		r = importer_add(importer, records->key.data, records->key.size, records->value.data,
				 records->value.size);
		if (r)
			return cli_fail_call(cli, importer->pf, r, "writing records");
		progress_update(progress, importer->record_count);
	}
	if (r < 0)
		return cli_fail(cli, "%s: %s", path, records->error);
	r = importer_flush(importer);
	return r ? cli_fail_call(cli, importer->pf, r, "writing records") : CLI_OK;
}

int import_file(struct cli *cli, struct pinfold *pf, struct pinfold_table *table, const char *path,
		enum records_format format, const char *key_field, size_t batch, struct import_result *result)
{
	char error[256] = "";
	struct importer importer;
	struct progress progress;
	struct records records;
	struct input input;
	int status;

	if (input_open(path, &input, error, sizeof(error)))
		return cli_fail(cli, "%s", error);
	if (importer_init(&importer, pf, table, batch)) {
		input_close(&input, false, error, sizeof(error));
		return cli_fail(cli, "out of memory");
	}
	progress_start(&progress, cli, "records", PROGRESS_ITEMS, 0);
	if (records_open(&records, input.stream, format, key_field))
		status = cli_fail(cli, "%s: %s", path, records.error[0] ? records.error : "out of memory");
	else
		status = import_records(cli, &importer, &records, path, &progress, result);
	if (input_close(&input, status == CLI_OK, error, sizeof(error)))
		status = cli_fail(cli, "%s: %s", path, error);
	if (status == CLI_OK)
		progress_done(&progress);
	result->record_count += importer.record_count;
	result->byte_count += importer.byte_count;
	result->seconds += (double)(progress_now_ns() - progress.start_ns) / 1e9;
	records_close(&records);
	importer_done(&importer);
	return status;
}
