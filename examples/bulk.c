/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bulk.c - a file into a store, and all of it read again.
 *
 *	cc bulk.c $(pkg-config --cflags --libs pinfold); ./a.out DIRECTORY FILE
 *
 * Each line "KEY VALUE" of FILE becomes a record, and the file itself an object. Neither passes the journal. Killed
 * at any moment, the same command goes on; and nothing is seen of a table or an object before it is whole.
 */
#include <errno.h>
#include <pinfold.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE (1u << 20) /* bytes of one write */
#define EXTENT (64u << 20)
#define EXTENTS_MAX 64

static const struct pinfold_object_id whole = { .kind = PINFOLD_OBJECT_BLOB, .name = "input" };

/* The mark, which the store keeps beside the records, says where the input goes on after a crash. */
static int load_records(struct pinfold_table *table, FILE *file, const char *name)
{
	struct pinfold_import_mark mark;
	struct pinfold_import *import;
	size_t capacity = 0;
	char *line = NULL;
	ssize_t size;
	int r = pinfold_import_begin(table, name, PINFOLD_IMPORT_BULK, &import, &mark);

	if (r < 0)
		return r;
	printf("records before: %llu\n", (unsigned long long)mark.records);
	if (fseek(file, (long)mark.offset, SEEK_SET) != 0)
		r = -errno;
	while (r == 0 && (size = getline(&line, &capacity, file)) > 0) {
		size_t key_size = strcspn(line, " \n"), skip = key_size + (line[key_size] == ' ');
		const struct pinfold_record record = { line, key_size, line + skip, (size_t)size - skip };

		mark.offset += (uint64_t)size;
		mark.records++;
		r = pinfold_import_add(import, &record, 1);
		if (r == 0 && mark.records % 1000 == 0)
			r = pinfold_import_mark(import, &mark);
	}
	free(line);
	if (r == 0 && ferror(file))
		r = -EIO;
	if (r == 0)
		return pinfold_import_end(import);
	pinfold_import_stop(import);
	return r;
}

/* Extents are filled piece by piece, made durable, and become an object by one transaction. */
static int load_object(struct pinfold *pf, FILE *file)
{
	struct pinfold_extent extents[EXTENTS_MAX];
	struct pinfold_object object = { .extents = extents, .lifetime = PINFOLD_LIFETIME_LONG_LIVED };
	char *piece = aligned_alloc(4096, PIECE);
	size_t n;
	int r = piece ? 0 : -ENOMEM;

	rewind(file);
	while (r == 0 && (n = fread(piece, 1, PIECE, file)) > 0) {
		uint64_t offset = object.size % EXTENT;

		if (offset == 0 && object.extent_count == EXTENTS_MAX)
			r = -EFBIG;
		else if (offset == 0)
			r = pinfold_extent_alloc(pf, EXTENT, 0, &extents[object.extent_count++]);
		if (r == 0)
			r = pinfold_bulk_write(pf, &extents[object.extent_count - 1], offset, piece, n);
		object.size += n;
	}
	free(piece);
	if (r == 0 && ferror(file))
		r = -EIO;
	if (r == 0)
		r = pinfold_bulk_flush(pf, extents, object.extent_count);
	return r < 0 ? r : pinfold_object_create(pf, &whole, &object, true);
}

/* A scan goes at the device's speed and evicts nothing that others read. */
static int scan_object(struct pinfold *pf)
{
	struct pinfold_object object;
	struct pinfold_scan_block block;
	struct pinfold_scan *scan;
	uint64_t left, lines = 0;
	int r = pinfold_object_lookup(pf, &whole, &object);

	if (r < 0)
		return r;
	left = object.size;
	r = pinfold_scan_open(pf, object.extents, object.extent_count, &scan);
	if (r < 0)
		goto out;
	while ((r = pinfold_scan_next(scan, &block)) == 1 && left > 0) {
		size_t size = block.size < left ? block.size : (size_t)left; /* the last extent is not full */

		for (size_t i = 0; i < size; i++)
			lines += ((const char *)block.data)[i] == '\n';
		left -= size;
	}
	pinfold_scan_close(scan);
	printf("the object has %llu bytes in %llu lines\n", (unsigned long long)object.size, (unsigned long long)lines);
out:
	pinfold_object_done(&object);
	return r < 0 ? r : 0;
}

static int scan_records(struct pinfold_table *table)
{
	uint64_t count = 0, bytes = 0;
	struct pinfold_cursor *cursor;
	struct pinfold_record record;
	int r = pinfold_cursor_open(table, &cursor);

	if (r < 0)
		return r;
	while ((r = pinfold_cursor_next(cursor, &record)) == 1) {
		bytes += record.key_size + record.value_size;
		count++;
	}
	pinfold_cursor_close(cursor);
	printf("the table has %llu records of %llu bytes\n", (unsigned long long)count, (unsigned long long)bytes);
	return r;
}

int main(int argc, char **argv)
{
	struct pinfold_config config = { .size = sizeof(config), .flags = PINFOLD_OPEN_CREATE };
	char error[256] = "usage: bulk DIRECTORY FILE";
	FILE *file = argc == 3 ? fopen(argv[2], "r") : NULL;
	struct pinfold_table *table;
	struct pinfold *pf;
	int r;

	if (argc == 3 && !file)
		perror(argv[2]);
	if (!file || pinfold_open(argv[1], &config, error, sizeof(error), &pf) < 0)
		return fprintf(stderr, "bulk: %s\n", error), 1;
	r = pinfold_table_open(pf, "lines", PINFOLD_TABLE_CREATE, &table);
	if (r < 0 || (r = load_records(table, file, argv[2])) < 0 || (r = load_object(pf, file)) < 0 ||
	    (r = scan_object(pf)) < 0 || (r = scan_records(table)) < 0)
		fprintf(stderr, "bulk: %s: %s: %s\n", argv[2], strerror(-r), pinfold_errmsg(pf));
	fclose(file);
	return pinfold_close(pf) < 0 || r < 0;
}
