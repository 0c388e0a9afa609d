/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * registry.c - the tables of an open store: directory slots, handles, create, drop.
 *
 * A handle, once made, lives until its table is dropped or the store is closed,
 * so that what its writers know (bitmaps, counts) is not read twice; refs only
 * says whether somebody holds it.
 */
#include "store/table/internal.h"

#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct pf_tables *registry; /* registry_lock */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int fork_result;

static void lock_registry(void)
{
	pthread_mutex_lock(&registry_lock);
}

static void unlock_registry(void)
{
	pthread_mutex_unlock(&registry_lock);
}

/* A child may open a store of its own: no thread that it does not have holds the lock there. */
static void watch_forks(void)
{
	fork_result = -pthread_atfork(lock_registry, unlock_registry, unlock_registry);
}

struct pf_tables *pf_tables_of(struct pf_store *store)
{
	struct pf_tables *tables;

	pthread_mutex_lock(&registry_lock);
	for (tables = registry; tables && tables->store != store; tables = tables->next)
		;
	pthread_mutex_unlock(&registry_lock);
	if (!tables)
		pf_error(-EINVAL, "tables: pf_tables_open() was not called for this store");
	return tables;
}

static uint32_t root_crc(const struct pf_root_header *header)
{
	struct pf_root_header copy = *header;

	copy.crc = 0;
	return pf_crc32c(&copy, sizeof(copy));
}

/* An all-zero header is that of a store that has never had a table. */
static int root_read(struct pf_tables *tables, struct pf_root_header *ret_header)
{
	static const struct pf_root_header zero;
	struct pf_root_header header;
	int r;

	for (int attempt = 0;; attempt++) {
		r = pf_read_at(tables->store, &tables->root, 0, &header, sizeof(header));
		if (r < 0)
			return r;
		if (memcmp(&header, &zero, sizeof(header)) == 0 ||
		    (header.magic == PF_ROOT_MAGIC && header.crc == root_crc(&header)))
			break;
		if (!tables->read_only || attempt > 100) /* a live writer may be at it */
			return pf_error(-EUCLEAN,
					"table directory: offset %llu: header has magic %#llx and a wrong checksum",
					(unsigned long long)tables->root.offset, (unsigned long long)header.magic);
		sched_yield();
	}
	if (header.magic && (header.version != PF_TABLE_VERSION || header.slot_size != PF_SLOT_SIZE ||
			     header.slot_high > PF_SLOT_COUNT))
		return pf_error(-EUCLEAN,
				"table directory: version %u with slots of %u bytes; known is version %u with %u",
				header.version, header.slot_size, PF_TABLE_VERSION, PF_SLOT_SIZE);
	*ret_header = header;
	return 0;
}

int pf_tables_open(struct pf_store *store, const struct pinfold_config *config)
{
	struct pf_tables *tables, *other;
	int r;

	pthread_once(&once, watch_forks);
	if (fork_result < 0)
		return pf_error(fork_result, "tables: cannot watch forks: %s", strerror(-fork_result));
	tables = calloc(1, sizeof(*tables));
	if (!tables)
		return pf_error(-ENOMEM, "tables: no memory");
	tables->store = store;
	tables->read_only = config->flags & PINFOLD_OPEN_READONLY;
	tables->checksums = config->checksums;
	tables->extent_size = config->extent_size ? config->extent_size : PINFOLD_EXTENT_DEFAULT;
	pf_store_root(store, &tables->root);
	r = root_read(tables, &tables->header);
	if (r < 0) {
		free(tables);
		return r;
	}
	pthread_mutex_init(&tables->lock, NULL);
	pf_spare_init(tables);
	pthread_mutex_init(&tables->lease_lock, NULL);
	pthread_mutex_lock(&registry_lock);
	for (other = registry; other && other->store != store; other = other->next)
		;
	if (!other) {
		tables->next = registry;
		registry = tables;
	}
	pthread_mutex_unlock(&registry_lock);
	if (other) {
		pf_spare_done(tables);
		pthread_mutex_destroy(&tables->lease_lock);
		pthread_mutex_destroy(&tables->lock);
		free(tables);
		return pf_error(-EBUSY, "tables: already open for this store");
	}
	return 0;
}

void pf_tables_close(struct pf_store *store)
{
	struct pf_tables **place, *tables = NULL;
	struct pf_table *table;

	pthread_mutex_lock(&registry_lock);
	for (place = &registry; *place; place = &(*place)->next) {
		if ((*place)->store == store) {
			tables = *place;
			*place = tables->next;
			break;
		}
	}
	pthread_mutex_unlock(&registry_lock);
	if (!tables)
		return;
	pf_leases_close_all(tables);
	while ((table = tables->list)) {
		tables->list = table->next;
		pf_table_free(table);
	}
	pf_spare_done(tables);
	pthread_mutex_destroy(&tables->lease_lock);
	pthread_mutex_destroy(&tables->lock);
	free(tables);
}

int pf_table_name_check(const char *name)
{
	size_t length = name ? strlen(name) : 0;

	if (length < 1 || length > PINFOLD_TABLE_NAME_MAX)
		return pf_error(-EINVAL, "table name: %zu characters; 1 to %d are allowed", length,
				PINFOLD_TABLE_NAME_MAX);
	for (size_t i = 0; i < length; i++) {
		char c = name[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
		      c == '_' || c == '-'))
			return pf_error(-EINVAL,
					"table name: character %#x; letters, digits, '.', '_' and '-' are allowed",
					(unsigned char)c);
	}
	return 0;
}

/* Looks for @name in the directory; *ret_free is a slot for a new table (0: none). Under tables->lock. */
static int slot_find(struct pf_tables *tables, const char *name, uint32_t *ret_slot, uint32_t *ret_free)
{
	struct pf_table_header header;
	int r;

	*ret_free = 0;
	r = root_read(tables, &tables->header);
	if (r < 0)
		return r;
	for (uint32_t slot = 1; slot <= tables->header.slot_high; slot++) {
		r = pf_table_header_read(tables, slot, &header);
		if (r == -ENOENT) {
			if (!*ret_free)
				*ret_free = slot;
			continue;
		}
		if (r < 0)
			return r;
		if (strcmp(header.name, name) == 0) {
			*ret_slot = slot;
			return 0;
		}
	}
	if (!*ret_free && tables->header.slot_high < PF_SLOT_COUNT)
		*ret_free = tables->header.slot_high + 1;
	return -ENOENT;
}

/* Adds directory header, table header and first heap extent to @txn. */
static int create_writes(struct pf_tables *tables, struct pf_txn *txn, uint32_t slot, const char *name,
			 const struct pinfold_extent *extent, struct pf_root_header *root)
{
	struct pf_heap_header heap = { .magic = PF_HEAP_MAGIC, .version = PF_TABLE_VERSION };
	struct pf_table_header header = { .magic = PF_TABLE_MAGIC, .version = PF_TABLE_VERSION };
	struct timespec now;
	int r;

	if (getrandom(&header.seed, sizeof(header.seed), 0) != sizeof(header.seed))
		return pf_error(-EIO, "table %s: getrandom: %s", name, strerror(errno));
	clock_gettime(CLOCK_REALTIME, &now);
	*root = tables->header;
	root->magic = PF_ROOT_MAGIC;
	root->version = PF_TABLE_VERSION;
	root->slot_size = PF_SLOT_SIZE;
	root->incarnation++;
	if (slot > root->slot_high)
		root->slot_high = slot;
	root->crc = root_crc(root);

	heap.incarnation = root->incarnation;
	heap.unit_count = extent->len >> PF_UNIT_SHIFT;
	heap.header_units = pf_heap_header_units(heap.unit_count);
	heap.bucket_units = PF_SEG0_UNITS;
	heap.crc = pf_crc32c(&heap, sizeof(heap));

	header.incarnation = root->incarnation;
	header.created_unix_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	header.heap_count = 1;
	header.segment_count = 1;
	header.heap_last = *extent;
	header.segment[0] = *extent;
	memcpy(header.name, name, strlen(name));
	header.crc = pf_table_header_crc(&header);
	header.counts.bucket_count = PF_BUCKETS_MIN;
	header.counts.crc = pf_table_counts_crc(&header.counts);

	r = pf_txn_publish(txn, extent);
	if (r == 0)
		r = pf_txn_write(txn, extent, 0, &heap, sizeof(heap));
	if (r == 0)
		r = pf_txn_write(txn, &tables->root, (uint64_t)slot * PF_SLOT_SIZE, &header, sizeof(header));
	if (r == 0)
		r = pf_txn_write(txn, &tables->root, 0, root, sizeof(*root));
	return r;
}

static int table_create(struct pf_tables *tables, uint32_t slot, const char *name)
{
	struct pinfold_extent extent;
	struct pf_root_header root;
	pinfold_ticket ticket;
	struct pf_txn *txn;
	int r;

	if (slot == 0)
		return pf_error(-ENOSPC, "table %s: all %u directory slots are used", name, PF_SLOT_COUNT);
	r = pf_txn_begin(tables->store, &txn);
	if (r < 0)
		return r;
	r = pf_extent_alloc(tables->store, PINFOLD_EXTENT_MIN, 0, &extent);
	if (r < 0)
		goto err_abort;
	r = create_writes(tables, txn, slot, name, &extent, &root);
	if (r < 0)
		goto err_extent;
	r = pf_txn_submit(txn, &ticket);
	if (r < 0) {
		pf_extent_back_out(tables->store, &extent);
		return r;
	}
	tables->header = root;
	return pf_ticket_settle(tables->store, ticket);

err_extent:
	pf_extent_back_out(tables->store, &extent);
err_abort:
	pf_txn_abort(txn);
	return r;
}

/* Under tables->lock. */
static int table_open_locked(struct pf_tables *tables, const char *name, uint32_t flags, struct pf_table **ret_table)
{
	struct pf_table *table;
	uint32_t slot, spare;
	int r;

	for (table = tables->list; table; table = table->next)
		if (strcmp(table->name, name) == 0)
			break;
	if (table) {
		if (flags & PINFOLD_TABLE_EXCLUSIVE)
			return pf_error(-EEXIST, "table %s: exists", name);
		goto out;
	}
	r = slot_find(tables, name, &slot, &spare);
	if (r == 0 && (flags & PINFOLD_TABLE_EXCLUSIVE))
		return pf_error(-EEXIST, "table %s: exists", name);
	if (r == -ENOENT) {
		if (!(flags & PINFOLD_TABLE_CREATE))
			return pf_error(-ENOENT, "table %s: there is none", name);
		if (tables->read_only)
			return pf_error(-EROFS, "table %s: cannot be created, the store is open read-only", name);
		slot = spare;
		r = table_create(tables, slot, name);
	}
	if (r < 0)
		return r;
	r = pf_table_load(tables, slot, &table);
	if (r < 0)
		return r;
	table->next = tables->list;
	tables->list = table;
out:
	table->refs++;
	*ret_table = table;
	return 0;
}

int pf_table_open_any(struct pf_tables *tables, const char *name, uint32_t flags, struct pf_table **ret_table)
{
	int r;

	if (flags & ~(uint32_t)(PINFOLD_TABLE_CREATE | PINFOLD_TABLE_EXCLUSIVE))
		return pf_error(-EINVAL, "table %s: flags %#x; PINFOLD_TABLE_CREATE and _EXCLUSIVE are known", name,
				flags);
	if ((flags & PINFOLD_TABLE_EXCLUSIVE) && !(flags & PINFOLD_TABLE_CREATE))
		return pf_error(-EINVAL, "table %s: PINFOLD_TABLE_EXCLUSIVE needs PINFOLD_TABLE_CREATE", name);
	pthread_mutex_lock(&tables->lock);
	r = table_open_locked(tables, name, flags, ret_table);
	pthread_mutex_unlock(&tables->lock);
	return r;
}

int pf_table_open(struct pf_store *store, const char *name, uint32_t flags, struct pf_table **ret_table)
{
	struct pf_tables *tables = pf_tables_of(store);
	int r;

	if (!tables)
		return -EINVAL;
	r = pf_table_name_check(name);
	if (r < 0)
		return r;
	if (name[0] == '.')
		return pf_error(-EPERM, "table %s: names that start with '.' are the store's own", name);
	return pf_table_open_any(tables, name, flags, ret_table);
}

void pf_table_close(struct pf_table *table)
{
	if (!table)
		return;
	pthread_mutex_lock(&table->tables->lock);
	pf_assert(table->refs > 0);
	table->refs--;
	pthread_mutex_unlock(&table->tables->lock);
}

int pf_table_foreach_any(struct pf_store *store, int (*fn)(void *ctx, const char *name), void *ctx)
{
	struct pf_tables *tables = pf_tables_of(store);
	struct pf_table_header header;
	uint32_t high;
	int r;

	if (!tables)
		return -EINVAL;
	pthread_mutex_lock(&tables->lock);
	r = root_read(tables, &tables->header);
	high = tables->header.slot_high;
	pthread_mutex_unlock(&tables->lock);
	/* Without the lock: @fn may open tables. A slot is read as a whole, old or new. */
	for (uint32_t slot = 1; r == 0 && slot <= high; slot++) {
		r = pf_table_header_read(tables, slot, &header);
		if (r == -ENOENT)
			r = 0;
		else if (r == 0)
			r = fn(ctx, header.name);
	}
	return r;
}

struct listing {
	int (*fn)(void *ctx, const char *name);
	void *ctx;
};

static int list_one(void *ctx, const char *name)
{
	const struct listing *listing = ctx;

	return name[0] == '.' ? 0 : listing->fn(listing->ctx, name);
}

int pf_table_foreach(struct pf_store *store, int (*fn)(void *ctx, const char *name), void *ctx)
{
	struct listing listing = { .fn = fn, .ctx = ctx };

	return pf_table_foreach_any(store, list_one, &listing);
}

/* Puts the drop of every extent of @table, and its directory slot, into @txn. */
static int drop_writes(struct pf_table *table, struct pf_txn *txn)
{
	static const struct pf_table_header zero;
	struct pf_tables *tables = table->tables;
	int r = 0;

	for (size_t i = 0; r == 0 && i < table->piece_count; i++)
		r = pf_txn_drop(txn, &table->pieces[i]->extent);
	if (r == 0)
		r = pf_txn_write(txn, &tables->root, (uint64_t)table->slot * PF_SLOT_SIZE, &zero, sizeof(zero));
	return r;
}

/* Under tables->lock. */
static int table_drop_locked(struct pf_tables *tables, const char *name, pinfold_ticket *ret_ticket)
{
	struct pf_table *table, **place;
	struct pf_txn *txn;
	int r;

	r = table_open_locked(tables, name, 0, &table);
	if (r < 0)
		return r;
	if (--table->refs > 0)
		return pf_error(-EBUSY, "table %s: is open %u more times in this process", name, table->refs);
	r = pf_txn_begin(tables->store, &txn);
	if (r < 0)
		return r;
	r = drop_writes(table, txn);
	if (r < 0) {
		pf_txn_abort(txn);
		return r;
	}
	r = pf_txn_submit(txn, ret_ticket);
	if (r < 0)
		return r;
	for (place = &tables->list; *place != table; place = &(*place)->next)
		;
	*place = table->next;
	pf_table_free(table); /* refs was 0: no call is inside it */
	return 0;
}

int pf_table_drop_any(struct pf_tables *tables, const char *name)
{
	pinfold_ticket ticket;
	int r;

	pthread_mutex_lock(&tables->lock);
	r = table_drop_locked(tables, name, &ticket);
	pthread_mutex_unlock(&tables->lock);
	return r < 0 ? r : pf_ticket_settle(tables->store, ticket);
}

int pf_table_drop(struct pf_store *store, const char *name)
{
	struct pf_tables *tables = pf_tables_of(store);
	int r;

	if (!tables)
		return -EINVAL;
	r = pf_table_name_check(name);
	if (r < 0)
		return r;
	if (name[0] == '.')
		return pf_error(-EPERM, "table %s: names that start with '.' are the store's own", name);
	return pf_table_drop_any(tables, name);
}
