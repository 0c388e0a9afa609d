/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* lease_list.c - which lease tables there are: names, sizes, and dropping one. */
#include "store/table/lease_internal.h"

#include <stdio.h>

int pf_lease_table_name(const char *name, char ret_full[PF_LEASE_FULL_MAX])
{
	int r;

	if (strlen(name) > PINFOLD_LEASES_NAME_MAX)
		return pf_error(-EINVAL, "lease table's name: %zu characters; 1 to %d are allowed", strlen(name),
				PINFOLD_LEASES_NAME_MAX);
	r = pf_table_name_check(name);
	if (r == 0)
		snprintf(ret_full, PF_LEASE_FULL_MAX, "%s%s", PF_LEASE_PREFIX, name);
	return r;
}

struct pf_leases *pf_leases_opened(const struct pf_tables *tables, const char *name)
{
	struct pf_leases *leases = tables->leases;

	while (leases && strcmp(leases->name, name) != 0)
		leases = leases->next;
	return leases;
}

struct listing {
	int (*fn)(void *ctx, const char *name);
	void *ctx;
};

static int list_one(void *ctx, const char *name)
{
	const struct listing *listing = ctx;
	size_t size = strlen(PF_LEASE_PREFIX);

	return strncmp(name, PF_LEASE_PREFIX, size) == 0 ? listing->fn(listing->ctx, name + size) : 0;
}

int pf_leases_table_foreach(struct pf_store *store, int (*fn)(void *ctx, const char *name), void *ctx)
{
	struct listing listing = { .fn = fn, .ctx = ctx };

	return pf_table_foreach_any(store, list_one, &listing);
}

int pf_leases_stat(struct pf_leases *leases, struct pinfold_table_stats *ret_stats)
{
	struct pinfold_table_stats stats;
	int r = pf_table_stat(leases->table, &stats);

	if (r < 0)
		return r;
	stats.record_count -= stats.record_count > 0; /* the meta record is no lease */
	*ret_stats = stats;
	return 0;
}

int pf_leases_drop(struct pf_store *store, const char *name)
{
	struct pf_tables *tables = pf_tables_of(store);
	char full[PF_LEASE_FULL_MAX];
	int r;

	if (!tables)
		return -EINVAL;
	r = pf_lease_table_name(name, full);
	if (r < 0)
		return r;
	/* Handles last as long as the store is open, so that nobody can be inside one that there is not. */
	pthread_mutex_lock(&tables->lease_lock);
	r = pf_leases_opened(tables, name) ? pf_error(-EBUSY, "leases %s: was opened since the store was", name)
					   : pf_table_drop_any(tables, full);
	pthread_mutex_unlock(&tables->lease_lock);
	return r == -ENOENT ? pf_error(-ENOENT, "leases %s: there is no such lease table", name) : r;
}
