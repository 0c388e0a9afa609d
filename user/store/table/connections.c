/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * connections.c - what is read before, after and together with an extent.
 *
 * Record: three counts and the weight (16 bytes), then the extents of the lists
 * in the order forward, back, hot.
 */
#include "store/table/internal.h"

#include <math.h>

struct connections_disk {
	uint32_t forward_count, back_count, hot_count;
	float prefetch_weight;
	struct pinfold_extent extents[3 * PINFOLD_CONNECTIONS_MAX];
};
#define HEAD_SIZE offsetof(struct connections_disk, extents)

static int connections_check(const struct pinfold_connections *c)
{
	if (c->forward_count > PINFOLD_CONNECTIONS_MAX || c->back_count > PINFOLD_CONNECTIONS_MAX ||
	    c->hot_count > PINFOLD_CONNECTIONS_MAX)
		return pf_error(-EINVAL, "connections: %u forward, %u back, %u hot; at most %d each", c->forward_count,
				c->back_count, c->hot_count, PINFOLD_CONNECTIONS_MAX);
	if (!(c->prefetch_weight >= 0.0f && c->prefetch_weight <= 1.0f))
		return pf_error(-EINVAL, "connections: prefetch weight %g; 0 to 1 is allowed",
				(double)c->prefetch_weight);
	return 0;
}

int pf_connections_set(struct pf_store *store, const struct pinfold_extent *extent,
		       const struct pinfold_connections *connections)
{
	struct pf_tables *tables = pf_tables_of(store);
	const struct pinfold_connections *c = connections;
	uint8_t key[PF_EXTENT_KEY_SIZE];
	struct connections_disk disk;
	struct pf_table *table;
	size_t count = 0;
	int r;

	if (!tables)
		return -EINVAL;
	r = connections_check(c);
	if (r < 0)
		return r;
	r = pf_extent_check(store, extent);
	if (r < 0)
		return pf_error(r, "connections: file %u, offset %llu: no such extent", extent->file_id,
				(unsigned long long)extent->offset);
	r = pf_own_table(tables, PF_OWN_CONNECTIONS, true, &table);
	if (r < 0)
		return r;
	disk.forward_count = c->forward_count;
	disk.back_count = c->back_count;
	disk.hot_count = c->hot_count;
	disk.prefetch_weight = c->prefetch_weight;
	memcpy(disk.extents, c->forward, c->forward_count * sizeof(*c->forward));
	count += c->forward_count;
	memcpy(disk.extents + count, c->back, c->back_count * sizeof(*c->back));
	count += c->back_count;
	memcpy(disk.extents + count, c->hot, c->hot_count * sizeof(*c->hot));
	count += c->hot_count;
	pf_extent_key(extent, key);
	return pf_table_put(table, key, sizeof(key), &disk, HEAD_SIZE + count * sizeof(disk.extents[0]));
}

int pf_connections_get(struct pf_store *store, const struct pinfold_extent *extent,
		       struct pinfold_connections *ret_connections)
{
	struct pf_tables *tables = pf_tables_of(store);
	struct pinfold_connections c = { 0 };
	uint8_t key[PF_EXTENT_KEY_SIZE];
	const struct pinfold_extent *at;
	struct connections_disk disk;
	struct pf_table *table;
	size_t size = 0;
	int r;

	if (!tables)
		return -EINVAL;
	pf_extent_key(extent, key);
	r = pf_own_table(tables, PF_OWN_CONNECTIONS, false, &table);
	if (r == 0)
		r = pf_table_get(table, key, sizeof(key), &disk, sizeof(disk), &size);
	if (r == -ENOENT)
		return pf_error(-ENOENT, "connections: file %u, offset %llu: none are set", extent->file_id,
				(unsigned long long)extent->offset);
	if (r < 0)
		return r;
	if (size >= HEAD_SIZE) {
		c.forward_count = disk.forward_count;
		c.back_count = disk.back_count;
		c.hot_count = disk.hot_count;
		c.prefetch_weight = disk.prefetch_weight;
	}
	if (size < HEAD_SIZE || connections_check(&c) < 0 ||
	    size != HEAD_SIZE + (c.forward_count + c.back_count + c.hot_count) * sizeof(*at))
		return pf_error(-EUCLEAN, "connections: file %u, offset %llu: damaged record of %zu bytes",
				extent->file_id, (unsigned long long)extent->offset, size);
	at = disk.extents;
	memcpy(c.forward, at, c.forward_count * sizeof(*at));
	at += c.forward_count;
	memcpy(c.back, at, c.back_count * sizeof(*at));
	at += c.back_count;
	memcpy(c.hot, at, c.hot_count * sizeof(*at));
	*ret_connections = c;
	return 0;
}
