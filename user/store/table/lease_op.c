/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lease_op.c - acquire, steal, renew, release: one submission, one transaction.
 */
#include "store/table/lease_internal.h"

#include <time.h>

/* Lease time is remembered with the first change after this long. */
#define SAVE_EVERY_MS 1000

static bool grants(const struct pinfold_lease_op *op)
{
	return op->what == PINFOLD_LEASE_ACQUIRE || op->what == PINFOLD_LEASE_STEAL;
}

static int op_check(const struct pinfold_lease_op *op)
{
	uint8_t key[PF_LEASE_KEY_MAX];
	int r = pf_lease_key(op->actor, op->actor_size, key);

	if (r < 0)
		return r;
	if (op->what < PINFOLD_LEASE_ACQUIRE || op->what > PINFOLD_LEASE_RELEASE)
		return pf_error(-EINVAL, "lease: operation %d; 1 to 4 are known", (int)op->what);
	if (op->what != PINFOLD_LEASE_RELEASE && (op->ttl_ms < 1 || op->ttl_ms > PINFOLD_LEASE_TTL_MAX_MS))
		return pf_error(-EINVAL, "lease: %llu ms to live; 1 to %llu are allowed",
				(unsigned long long)op->ttl_ms, (unsigned long long)PINFOLD_LEASE_TTL_MAX_MS);
	if (op->data_size > PINFOLD_LEASE_DATA_MAX || (op->data_size && !op->data))
		return pf_error(-EINVAL, "lease: %u bytes of data%s; at most %d are allowed", op->data_size,
				op->data ? "" : " and no data", PINFOLD_LEASE_DATA_MAX);
	if (grants(op) && op->node == PINFOLD_LEASE_NODE_ANY)
		return pf_error(-EINVAL, "lease: node %llu means any node", (unsigned long long)op->node);
	return 0;
}

static uint64_t unix_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* What @op may do to the lease that it found (@found 0) or not (-ENOENT): 0 or its result. */
static int op_judge(const struct pinfold_lease_op *op, int found, const struct pf_lease_disk *lease, uint64_t now_ms)
{
	bool expired = found == 0 && lease->expires_ms <= now_ms, own = found == 0 && lease->token == op->token;

	switch (op->what) {
	case PINFOLD_LEASE_ACQUIRE:
		return found == 0 ? -EBUSY : 0;
	case PINFOLD_LEASE_STEAL:
		if (op->token && !own)
			return -ESTALE;
		return found == 0 && !expired ? -EBUSY : 0;
	case PINFOLD_LEASE_RENEW:
		return !own ? -ESTALE : expired ? -ETIME : 0;
	case PINFOLD_LEASE_RELEASE:
	default:
		return own ? 0 : -ESTALE;
	}
}

static void op_report(struct pinfold_lease_op *op, int result, const struct pf_lease_disk *lease, uint64_t now_ms)
{
	op->result = result;
	op->ret_token = lease ? lease->token : 0;
	op->ret_node = lease ? lease->node : 0;
	op->ret_remaining_ms = lease && lease->expires_ms > now_ms ? lease->expires_ms - now_ms : 0;
}

/* 1: something was changed; 0: refused; or a failure that undoes the submission. */
static int op_run(struct pf_leases *leases, struct pinfold_lease_op *op, uint64_t now_ms)
{
	uint8_t key[PF_LEASE_KEY_MAX];
	struct pf_lease_disk lease;
	int r, found;

	pf_lease_key(op->actor, op->actor_size, key);
	found = pf_lease_find(leases, key, 1 + op->actor_size, &lease);
	if (found < 0 && found != -ENOENT)
		return found;
	r = op_judge(op, found, &lease, now_ms);
	if (r < 0) {
		op_report(op, r, found == 0 ? &lease : NULL, now_ms);
		return 0;
	}
	if (op->what == PINFOLD_LEASE_RELEASE) {
		op_report(op, 0, &lease, now_ms);
		r = pf_bucket_delete(leases->table, key, 1 + op->actor_size);
		return r < 0 ? r : 1;
	}
	if (grants(op))
		lease = (struct pf_lease_disk){
			.version = PF_LEASE_VERSION,
			.token = leases->next_token++,
			.node = op->node,
			.granted_unix_ms = unix_ms(),
		};
	if (op->data) {
		lease.data_size = op->data_size;
		memset(lease.data, 0, sizeof(lease.data));
		memcpy(lease.data, op->data, op->data_size);
	}
	lease.ttl_ms = op->ttl_ms;
	lease.expires_ms = now_ms + op->ttl_ms;
	op_report(op, 0, &lease, now_ms);
	r = pf_bucket_put(leases->table, key, 1 + op->actor_size, &lease, sizeof(lease));
	return r < 0 ? r : 1;
}

/* Under table->lock, in a transaction: how many operations changed something. */
static int ops_run(struct pf_leases *leases, struct pinfold_lease_op *ops, size_t count, uint64_t now_ms)
{
	int changed = 0, r;

	for (size_t i = 0; i < count; i++) {
		r = op_run(leases, &ops[i], now_ms);
		if (r < 0)
			return r;
		changed += r;
	}
	return changed;
}

int pf_lease_submit(struct pf_leases *leases, struct pinfold_lease_op *ops, size_t count, pinfold_ticket *ret_ticket)
{
	struct pf_table *table = leases->table;
	uint64_t now_ms, grant_count = 0;
	pinfold_ticket ticket = 0;
	bool saves, short_of_tokens;
	struct pf_tw tw;
	int changed, r;

	if (count > PINFOLD_LEASE_OPS_MAX)
		return pf_error(-EINVAL, "lease: %zu operations; at most %d are allowed", count, PINFOLD_LEASE_OPS_MAX);
	for (size_t i = 0; i < count; i++) {
		r = op_check(&ops[i]);
		if (r < 0)
			return r;
		grant_count += grants(&ops[i]);
	}
	for (;;) {
		r = pf_tw_begin(table->tables, &table, 1, &tw);
		if (r < 0)
			return r;
		if (leases->ceiling + 1 - leases->next_token >= grant_count)
			break;
		pf_tw_abort(&tw);
		r = pf_lease_extend(leases, grant_count);
		if (r < 0)
			return r;
	}
	now_ms = pf_lease_now(leases);
	changed = ops_run(leases, ops, count, now_ms);
	saves = changed > 0 && now_ms >= leases->saved_ms + SAVE_EVERY_MS;
	r = saves ? pf_lease_put_meta(leases, leases->ceiling_written, now_ms) : 0;
	if (changed <= 0 || r < 0) {
		pf_tw_abort(&tw);
		if (changed == 0)
			*ret_ticket = 0;
		return changed < 0 ? changed : r;
	}
	if (saves) /* should the commit fail it is only remembered later */
		leases->saved_ms = now_ms;
	short_of_tokens = leases->ceiling + 1 - leases->next_token < PF_LEASE_TOKENS / 2;
	r = pf_tw_commit(&tw, &ticket);
	if (r < 0)
		return r;
	*ret_ticket = ticket;
	if (short_of_tokens) /* well before anybody has to wait; a failure is met again when it matters */
		(void)pf_lease_extend(leases, PF_LEASE_TOKENS / 2);
	return 0;
}

static int op_words(const struct pf_leases *leases, const struct pinfold_lease_op *op)
{
	static const char *const names[] = { "", "acquire", "steal", "renew", "release" };

	switch (op->result) {
	case -EBUSY:
		return pf_error(-EBUSY, "leases %s: %s: node %llu holds it by token %llu, %s", leases->name,
				names[op->what], (unsigned long long)op->ret_node, (unsigned long long)op->ret_token,
				op->ret_remaining_ms ? "not expired" : "expired: steal it");
	case -ESTALE:
		if (!op->ret_token)
			return pf_error(-ESTALE, "leases %s: %s: token %llu is stale: there is no lease", leases->name,
					names[op->what], (unsigned long long)op->token);
		return pf_error(-ESTALE, "leases %s: %s: token %llu is stale: node %llu has token %llu", leases->name,
				names[op->what], (unsigned long long)op->token, (unsigned long long)op->ret_node,
				(unsigned long long)op->ret_token);
	case -ETIME:
		return pf_error(-ETIME, "leases %s: %s: token %llu has expired", leases->name, names[op->what],
				(unsigned long long)op->token);
	default:
		return op->result;
	}
}

int pf_lease_do(struct pf_leases *leases, struct pinfold_lease_op *op, uint64_t *ret_token)
{
	pinfold_ticket ticket;
	int r = pf_lease_submit(leases, op, 1, &ticket);

	if (r < 0)
		return r;
	if (op->result < 0)
		return op_words(leases, op);
	r = pf_ticket_settle(leases->table->store, ticket);
	if (r < 0)
		return r;
	if (ret_token)
		*ret_token = op->ret_token;
	return 0;
}
