/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* embed.c - a durable, zero-copy store inside. cc embed.c $(pkg-config --cflags --libs pinfold); ./a.out DIRECTORY */
#include <pinfold.h>
#include <stdio.h>

struct reading { uint64_t time_ms; double celsius; };

/* Readings of series 7, day 1. */
static const struct pinfold_object_id bucket = { .kind = PINFOLD_OBJECT_TIME_BUCKET, .a = 7, .b = 1 };

/* A new extent, filled past the journal, becomes an object by one transaction: whole or not at all. */
static int load(struct pinfold *pf, struct pinfold_extent *extent)
{
	const struct reading day[2] = { { 1700000000000, 21.5 }, { 1700000001000, 21.75 } };
	struct pinfold_object object = { .size = sizeof(day), .extent_count = 1, .extents = extent,
					 .lifetime = PINFOLD_LIFETIME_LONG_LIVED };

	if (pinfold_extent_alloc(pf, PINFOLD_EXTENT_MIN, PINFOLD_EXTENT_HOT, extent) < 0 ||
	    pinfold_bulk_write(pf, extent, 0, day, sizeof(day)) < 0 || pinfold_bulk_flush(pf, extent, 1) < 0)
		return -1;
	return pinfold_object_create(pf, &bucket, &object, false);
}

/* A published extent is changed by transactions. Durable when commit returns: power may fail then. */
static int correct(struct pinfold *pf, const struct pinfold_extent *extent, double celsius)
{
	struct reading fixed = { 1700000001000, celsius };
	struct pinfold_txn *txn;

	if (pinfold_txn_begin(pf, &txn) < 0)
		return -1;
	if (pinfold_txn_write(txn, extent, sizeof(fixed), &fixed, sizeof(fixed)) < 0) {
		pinfold_txn_abort(txn);
		return -1;
	}
	return pinfold_txn_commit(txn);
}

int main(int argc, char **argv)
{
	struct pinfold_config config = { .size = sizeof(config), .flags = PINFOLD_OPEN_CREATE };
	struct pinfold_extent extent;
	struct pinfold *pf;
	char error[256] = "usage: embed DIRECTORY";
	const void *at;
	size_t count;

	if (argc != 2 || pinfold_open(argv[1], &config, error, sizeof(error), &pf) < 0)
		return fprintf(stderr, "embed: %s\n", error), 1;
	if ((pinfold_lookup_time_bucket(pf, bucket.a, bucket.b, &extent, 1, &count) < 0 && load(pf, &extent) < 0) ||
	    correct(pf, &extent, 22.25) < 0)
		return fprintf(stderr, "embed: %s\n", pinfold_errmsg(pf)), pinfold_close(pf), 1;

	pinfold_read_begin(pf); /* zero copy: plain loads from the mapping, for as long as the epoch lasts */
	if (pinfold_extent_ptr(pf, &extent, &at) == 0)
		for (const struct reading *r = at; r->time_ms; r++)
			printf("%llu: %.2f degrees\n", (unsigned long long)r->time_ms, r->celsius);
	pinfold_read_end(pf);
	return pinfold_close(pf) < 0;
}
