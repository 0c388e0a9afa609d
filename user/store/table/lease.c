/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lease.c - a lease table as a whole: handles, tokens, lease time, looking and sweeping.
 */
#include "store/table/lease_internal.h"

#include <stdlib.h>
#include <time.h>

#define EXPIRE_BATCH 1024

static const uint8_t meta_key = PF_LEASE_KEY_META;

/* ---- time ---- */

static uint64_t boot_ms(void *ctx)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t pf_lease_now(const struct pf_leases *leases)
{
	return leases->base_ms + leases->clock(leases->clock_ctx) - leases->base_boot_ms;
}

void pf_leases_set_clock(struct pf_leases *leases, uint64_t (*now_ms)(void *ctx), void *ctx)
{
	pthread_mutex_lock(&leases->table->lock);
	leases->base_ms = pf_lease_now(leases);
	leases->clock = now_ms;
	leases->clock_ctx = ctx;
	leases->base_boot_ms = now_ms(ctx);
	pthread_mutex_unlock(&leases->table->lock);
}

/* ---- records ---- */

int pf_lease_actor_check(const void *actor, size_t actor_size)
{
	if (!actor || actor_size < 1 || actor_size > PINFOLD_ACTOR_MAX)
		return pf_error(-EINVAL, "lease: actor of %zu bytes; 1 to %d are allowed", actor ? actor_size : 0,
				PINFOLD_ACTOR_MAX);
	return 0;
}

int pf_lease_key(const void *actor, size_t actor_size, uint8_t ret_key[PF_LEASE_KEY_MAX])
{
	int r = pf_lease_actor_check(actor, actor_size);

	if (r < 0)
		return r;
	ret_key[0] = PF_LEASE_KEY_LEASE;
	memcpy(ret_key + 1, actor, actor_size);
	return 0;
}

int pf_lease_check(const struct pf_leases *leases, const struct pf_lease_disk *disk, size_t size)
{
	if (size == sizeof(*disk) && disk->version == PF_LEASE_VERSION && disk->data_size <= PINFOLD_LEASE_DATA_MAX &&
	    disk->token)
		return 0;
	return pf_error(-EUCLEAN, "leases %s: a record of %zu bytes is no lease", leases->name, size);
}

void pf_lease_decode(const struct pf_lease_disk *disk, uint64_t now_ms, struct pinfold_lease *ret_lease)
{
	*ret_lease = (struct pinfold_lease){
		.token = disk->token,
		.node = disk->node,
		.ttl_ms = disk->ttl_ms,
		.remaining_ms = disk->expires_ms > now_ms ? disk->expires_ms - now_ms : 0,
		.granted_unix_ms = disk->granted_unix_ms,
		.data_size = disk->data_size,
	};
	memcpy(ret_lease->data, disk->data, sizeof(disk->data));
}

int pf_lease_find(struct pf_leases *leases, const void *key, size_t key_size, struct pf_lease_disk *ret_disk)
{
	const struct pf_record *record;
	size_t size;
	int r = pf_bucket_find(leases->table, key, key_size, &record);

	if (r < 0)
		return r;
	size = pf_record_value_size(record->sizes);
	memcpy(ret_disk, record->data + key_size, size < sizeof(*ret_disk) ? size : sizeof(*ret_disk));
	return pf_lease_check(leases, ret_disk, size);
}

int pf_lease_put_meta(struct pf_leases *leases, uint64_t ceiling, uint64_t now_ms)
{
	const struct pf_lease_meta meta = {
		.version = PF_LEASE_VERSION, .token_ceiling = ceiling, .lease_ms = now_ms };

	return pf_bucket_put(leases->table, &meta_key, sizeof(meta_key), &meta, sizeof(meta));
}

/* ---- tokens ---- */

int pf_lease_extend(struct pf_leases *leases, uint64_t count)
{
	struct pf_table *table = leases->table;
	pinfold_ticket ticket;
	uint64_t ceiling, now_ms;
	struct pf_tw tw;
	int r;

	pthread_mutex_lock(&leases->extend_lock);
	r = pf_tw_begin(table->tables, &table, 1, &tw);
	if (r < 0)
		goto out_unlock;
	if (leases->ceiling + 1 - leases->next_token >= count) { /* another has done it */
		pf_tw_abort(&tw);
		goto out_unlock;
	}
	ceiling = leases->ceiling_written + PF_LEASE_TOKENS;
	now_ms = pf_lease_now(leases);
	r = pf_lease_put_meta(leases, ceiling, now_ms);
	if (r < 0) {
		pf_tw_abort(&tw);
		goto out_unlock;
	}
	/* Before others take the lock, lest one of them writes the ceiling before. Too high is harmless. */
	leases->ceiling_written = ceiling;
	r = pf_tw_commit(&tw, &ticket);
	if (r == 0)
		r = pf_ticket_wait(table->store, ticket, -1);
	if (r == 0) {
		pthread_mutex_lock(&table->lock);
		leases->ceiling = ceiling;
		leases->saved_ms = now_ms;
		pthread_mutex_unlock(&table->lock);
	}
out_unlock:
	pthread_mutex_unlock(&leases->extend_lock);
	return r;
}

/* ---- handles ---- */

static int load(struct pf_leases *leases)
{
	struct pf_lease_meta meta = { 0 };
	size_t size = 0;
	int r = pf_table_get(leases->table, &meta_key, sizeof(meta_key), &meta, sizeof(meta), &size);

	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0 && (size != sizeof(meta) || meta.version != PF_LEASE_VERSION))
		return pf_error(-EUCLEAN, "leases %s: meta record of %zu bytes, version %u; known is version %u",
				leases->name, size, meta.version, PF_LEASE_VERSION);
	leases->ceiling = leases->ceiling_written = meta.token_ceiling;
	leases->next_token = meta.token_ceiling + 1;
	leases->base_ms = leases->saved_ms = meta.lease_ms;
	leases->clock = boot_ms;
	leases->base_boot_ms = boot_ms(NULL);
	return leases->table->tables->read_only ? 0 : pf_lease_extend(leases, PF_LEASE_TOKENS / 2);
}

/* Under tables->lease_lock. */
static int open_locked(struct pf_tables *tables, const char *name, const char *full, uint32_t flags,
		       struct pf_leases **ret_leases)
{
	struct pf_leases *leases;
	int r;

	leases = calloc(1, sizeof(*leases));
	if (!leases)
		return pf_error(-ENOMEM, "leases %s: no memory", name);
	memcpy(leases->name, name, strlen(name) + 1);
	r = pf_table_open_any(tables, full, flags, &leases->table);
	if (r < 0) {
		free(leases);
		return r == -ENOENT ? pf_error(-ENOENT, "leases %s: there is no such lease table", name) : r;
	}
	pthread_mutex_init(&leases->extend_lock, NULL);
	r = load(leases);
	if (r < 0) {
		pf_table_close(leases->table);
		pthread_mutex_destroy(&leases->extend_lock);
		free(leases);
		return r;
	}
	leases->next = tables->leases;
	tables->leases = leases;
	*ret_leases = leases;
	return 0;
}

int pf_leases_open(struct pf_store *store, const char *name, uint32_t flags, struct pf_leases **ret_leases)
{
	struct pf_tables *tables = pf_tables_of(store);
	char full[PF_LEASE_FULL_MAX];
	struct pf_leases *leases;
	int r;

	if (!tables)
		return -EINVAL;
	r = pf_lease_table_name(name, full);
	if (r < 0)
		return r;
	pthread_mutex_lock(&tables->lease_lock);
	leases = pf_leases_opened(tables, name);
	if (leases) {
		r = flags & PINFOLD_TABLE_EXCLUSIVE ? pf_error(-EEXIST, "leases %s: is there already", name) : 0;
		if (r == 0)
			*ret_leases = leases;
	} else {
		r = open_locked(tables, name, full, flags, ret_leases);
	}
	pthread_mutex_unlock(&tables->lease_lock);
	return r;
}

void pf_leases_close(struct pf_leases *leases)
{
	/* What a handle knows of tokens and time is worth keeping: it goes with the store. */
}

/* Nobody waits: should it fail, lease time goes on from the last change. */
static void save_time(struct pf_leases *leases)
{
	struct pf_table *table = leases->table;
	pinfold_ticket ticket;
	uint64_t now_ms;
	struct pf_tw tw;

	if (table->tables->read_only || pf_tw_begin(table->tables, &table, 1, &tw) < 0)
		return;
	now_ms = pf_lease_now(leases);
	if (now_ms == leases->saved_ms || pf_lease_put_meta(leases, leases->ceiling_written, now_ms) < 0)
		pf_tw_abort(&tw);
	else
		(void)pf_tw_commit(&tw, &ticket);
}

void pf_leases_close_all(struct pf_tables *tables)
{
	struct pf_leases *leases;

	while ((leases = tables->leases)) {
		save_time(leases);
		tables->leases = leases->next;
		pthread_mutex_destroy(&leases->extend_lock);
		free(leases);
	}
}

/* ---- looking ---- */

/* A handle that does not write knows lease time only by what the writer remembered. */
static int now_for_reader(struct pf_leases *leases, uint64_t *ret_now_ms)
{
	struct pf_lease_meta meta;
	size_t size;
	int r;

	if (!leases->table->tables->read_only) {
		*ret_now_ms = pf_lease_now(leases);
		return 0;
	}
	r = pf_table_get(leases->table, &meta_key, sizeof(meta_key), &meta, sizeof(meta), &size);
	if (r == 0)
		*ret_now_ms = meta.lease_ms;
	return r;
}

int pf_lease_get(struct pf_leases *leases, const void *actor, size_t actor_size, struct pinfold_lease *ret_lease)
{
	uint8_t key[PF_LEASE_KEY_MAX];
	struct pf_lease_disk disk;
	size_t size = 0;
	uint64_t now_ms;
	int r = pf_lease_key(actor, actor_size, key);

	if (r == 0)
		r = pf_table_get(leases->table, key, 1 + actor_size, &disk, sizeof(disk), &size);
	if (r == -ENOENT)
		return pf_error(-ENOENT, "leases %s: no such lease", leases->name);
	if (r == 0 || r == -ENOBUFS)
		r = pf_lease_check(leases, &disk, size);
	if (r == 0)
		r = now_for_reader(leases, &now_ms);
	if (r == 0)
		pf_lease_decode(&disk, now_ms, ret_lease);
	return r;
}

int pf_leases_foreach(struct pf_leases *leases, uint64_t node, pinfold_lease_fn fn, void *ctx)
{
	struct pinfold_record record;
	struct pf_lease_disk disk = {0};
	struct pinfold_lease lease;
	struct pf_cursor *cursor;
	uint64_t now_ms;
	int r = now_for_reader(leases, &now_ms);

	if (r == 0)
		r = pf_cursor_open(leases->table, &cursor);
	if (r)
		return r;
	while ((r = pf_cursor_next(cursor, &record)) > 0) {
		const uint8_t *key = record.key;

		if (key[0] != PF_LEASE_KEY_LEASE)
			continue;
		if (record.value_size <= sizeof(disk))
			memcpy(&disk, record.value, record.value_size);
		r = pf_lease_check(leases, &disk, record.value_size);
		if (r < 0)
			break;
		if (node != PINFOLD_LEASE_NODE_ANY && disk.node != node)
			continue;
		pf_lease_decode(&disk, now_ms, &lease);
		r = fn(ctx, key + 1, record.key_size - 1, &lease);
		if (r != 0)
			break;
	}
	pf_cursor_close(cursor);
	return r;
}

/* ---- sweeping ---- */

struct sweep {
	struct pf_leases *leases;
	uint64_t left, swept;
	pinfold_ticket ticket;
	size_t count;
	struct {
		uint8_t size;
		uint8_t key[PF_LEASE_KEY_MAX];
	} batch[EXPIRE_BATCH];
};

/* Deletes what is in the batch and still expired. */
static int sweep_batch(struct sweep *sweep)
{
	struct pf_leases *leases = sweep->leases;
	struct pf_table *table = leases->table;
	uint64_t now_ms, deleted = 0;
	struct pf_lease_disk disk;
	struct pf_tw tw;
	int r;

	if (!sweep->count)
		return 0;
	r = pf_tw_begin(table->tables, &table, 1, &tw);
	if (r < 0)
		return r;
	now_ms = pf_lease_now(leases);
	for (size_t i = 0; r == 0 && i < sweep->count; i++) {
		size_t size = 1u + sweep->batch[i].size;

		r = pf_lease_find(leases, sweep->batch[i].key, size, &disk);
		if (r == 0 && disk.expires_ms <= now_ms) {
			r = pf_bucket_delete(table, sweep->batch[i].key, size);
			deleted += r == 0;
		} else if (r == -ENOENT) {
			r = 0;
		}
	}
	sweep->count = 0;
	if (r < 0 || !deleted) {
		pf_tw_abort(&tw);
		return r;
	}
	r = pf_tw_commit(&tw, &sweep->ticket);
	if (r == 0)
		sweep->swept += deleted;
	return r;
}

static int sweep_one(void *ctx, const void *actor, size_t actor_size, const struct pinfold_lease *lease)
{
	struct sweep *sweep = ctx;

	if (lease->remaining_ms)
		return 0;
	sweep->batch[sweep->count].size = (uint8_t)actor_size;
	pf_lease_key(actor, actor_size, sweep->batch[sweep->count].key);
	sweep->count++;
	if (--sweep->left == 0)
		return 1;
	return sweep->count == EXPIRE_BATCH ? sweep_batch(sweep) : 0;
}

int pf_leases_expire(struct pf_leases *leases, uint64_t max_count, uint64_t *ret_count)
{
	struct sweep *sweep = calloc(1, sizeof(*sweep));
	int r;

	if (!sweep)
		return pf_error(-ENOMEM, "leases %s: no memory", leases->name);
	sweep->leases = leases;
	sweep->left = max_count ? max_count : UINT64_MAX;
	r = pf_leases_foreach(leases, PINFOLD_LEASE_NODE_ANY, sweep_one, sweep);
	if (r >= 0)
		r = sweep_batch(sweep);
	if (r == 0 && sweep->ticket)
		r = pf_ticket_settle(leases->table->store, sweep->ticket);
	if (r == 0 && ret_count)
		*ret_count = sweep->swept;
	free(sweep);
	return r;
}
