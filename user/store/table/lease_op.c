/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lease_op.c - acquire, steal, renew, release: one submission, one transaction.
 *
 * DESIGN: a lease that exists is found and written over where it stands (update.c), without a copy of its bucket's
 * line in the write set; only what comes or goes takes the long way (bucket.c). Each operation waits for memory twice,
 * for line and record, so both are asked for some operations ahead.
 */
#include "store/table/lease_internal.h"

#include "base/sigbus.h"

#include <time.h>

/* Lease time is remembered with the first change after this long. */
#define SAVE_EVERY_MS 1000
/* Operations between two stages, and a power of two beyond twice that. */
#define DISTANCE 4u
#define ASKED 16u

/* An operation on its way through the stages: its key, as a change of the table, which has no value yet. */
struct step {
	struct pinfold_change change;
	uint64_t hash;
	uint8_t key[PF_LEASE_KEY_MAX];
};

static bool grants(const struct pinfold_lease_op *op)
{
	return op->what == PINFOLD_LEASE_ACQUIRE || op->what == PINFOLD_LEASE_STEAL;
}

static int op_check(const struct pinfold_lease_op *op)
{
	int r = pf_lease_actor_check(op->actor, op->actor_size);

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

/* The lease as it stands: 0 with *ret_found where it is, or with its record NULL if it was found the long way; -ENOENT;
 * or a failure. */
static int lease_look(struct pf_leases *leases, const struct step *step, struct pf_found *ret_found,
		      struct pf_lease_disk *ret_disk)
{
	const struct pinfold_change *change = &step->change;
	int r = pf_update_find(leases->table, change, step->hash, ret_found);

	if (r == -ENOTSUP) {
		ret_found->record = NULL;
		return pf_lease_find(leases, change->key, change->key_size, ret_disk);
	}
	if (r < 0)
		return r;
	/* what is not replaced is kept, so it must be sound */
	if (ret_found->record->crc != pf_record_crc(ret_found->record,
						    pf_record_size(change->key_size, change->value_size),
						    leases->table->seed))
		return pf_error(-EUCLEAN, "leases %s: a record has a wrong checksum", leases->name);
	memcpy(ret_disk, ret_found->record->data + change->key_size, sizeof(*ret_disk));
	return pf_lease_check(leases, ret_disk, sizeof(*ret_disk));
}

/* What @op, which may, makes of the lease. */
static void lease_change(struct pf_leases *leases, const struct pinfold_lease_op *op, uint64_t now_ms,
			 struct pf_lease_disk *lease)
{
	if (grants(op))
		*lease = (struct pf_lease_disk){
			.version = PF_LEASE_VERSION,
			.token = leases->next_token++,
			.node = op->node,
			.granted_unix_ms = unix_ms(),
		};
	if (op->data) {
		lease->data_size = op->data_size;
		memcpy(lease->data, op->data, op->data_size);
		memset(lease->data + op->data_size, 0, sizeof(lease->data) - op->data_size);
	}
	lease->ttl_ms = op->ttl_ms;
	lease->expires_ms = now_ms + op->ttl_ms;
}

/* 1: something was changed; 0: refused; or a failure that undoes the submission. */
static int op_run(struct pf_leases *leases, struct pinfold_lease_op *op, struct step *step, uint64_t now_ms)
{
	struct pinfold_change *change = &step->change;
	struct pf_lease_disk lease;
	struct pf_found place;
	int r, found = lease_look(leases, step, &place, &lease);

	if (found < 0 && found != -ENOENT)
		return found;
	r = op_judge(op, found, &lease, now_ms);
	if (r < 0) {
		op_report(op, r, found == 0 ? &lease : NULL, now_ms);
		return 0;
	}
	if (op->what == PINFOLD_LEASE_RELEASE) {
		op_report(op, 0, &lease, now_ms);
		r = pf_bucket_delete(leases->table, change->key, change->key_size);
		return r < 0 ? r : 1;
	}
	lease_change(leases, op, now_ms, &lease);
	op_report(op, 0, &lease, now_ms);
	change->value = &lease;
	if (found == 0 && place.record)
		r = pf_update_over(leases->table, &place, change);
	else
		r = pf_bucket_put(leases->table, change->key, change->key_size, &lease, sizeof(lease));
	return r < 0 ? r : 1;
}

static void step_begin(const struct pf_leases *leases, const struct pinfold_lease_op *op, struct step *step)
{
	step->key[0] = PF_LEASE_KEY_LEASE;
	memcpy(step->key + 1, op->actor, op->actor_size);
	step->change = (struct pinfold_change){
		.key = step->key, .key_size = 1 + op->actor_size, .value_size = sizeof(struct pf_lease_disk)};
	step->hash = pf_update_ask(leases->table, &step->change);
}

static __attribute__((noinline)) int ops_all(struct pf_leases *leases, struct pinfold_lease_op *ops, size_t count,
					     uint64_t now_ms)
{
	struct step steps[ASKED];
	int changed = 0;

	for (size_t i = 0; i < count + 2 * DISTANCE; i++) {
		if (i < count)
			step_begin(leases, &ops[i], &steps[i % ASKED]);
		if (i >= DISTANCE && i - DISTANCE < count) {
			const struct step *step = &steps[(i - DISTANCE) % ASKED];

			pf_update_ask_record(leases->table, &step->change, step->hash);
		}
		if (i >= 2 * DISTANCE) {
			int r = op_run(leases, &ops[i - 2 * DISTANCE], &steps[(i - 2 * DISTANCE) % ASKED], now_ms);

			if (r < 0)
				return r;
			changed += r;
		}
	}
	return changed;
}

/* Under table->lock, in a transaction: how many operations changed something. Leases are looked at in place: a SIGBUS
 * ends the whole submission. */
static PF_SIGBUS_FUNCTION int ops_run(struct pf_leases *leases, struct pinfold_lease_op *ops, size_t count,
				      uint64_t now_ms)
{
	struct pf_table *table = leases->table;
	struct pf_sigbus_guard guard;
	int changed;

	if (__builtin_setjmp(guard.place))
		return pf_error(-EIO, "leases %s: the mapped file could not be read at arena offset %llu", leases->name,
				(unsigned long long)((const char *)pf_sigbus_address() - table->base));
	pf_sigbus_enter(&guard, &table->range);
	changed = ops_all(leases, ops, count, now_ms);
	pf_sigbus_leave(&guard);
	return changed;
}

struct submission {
	struct pf_leases *leases;
	struct pinfold_lease_op *ops;
	size_t count;
	uint64_t grant_count;
	pinfold_ticket ticket; /* out: 0 where nothing changed */
	bool short_of_tokens;  /* out: more are wanted soon */
};

/* Under table->lock. -EAGAIN: there are not enough tokens. */
static int submission_run(struct pf_table *table, void *arg)
{
	struct submission *submission = arg;
	struct pf_leases *leases = submission->leases;
	uint64_t now_ms;
	struct pf_tw tw;
	int changed, r;
	bool saves;

	if (leases->ceiling + 1 - leases->next_token < submission->grant_count)
		return -EAGAIN;
	r = pf_tw_begin_held(table, &tw);
	if (r < 0)
		return r;
	now_ms = pf_lease_now(leases);
	changed = ops_run(leases, submission->ops, submission->count, now_ms);
	saves = changed > 0 && now_ms >= leases->saved_ms + SAVE_EVERY_MS;
	r = saves ? pf_lease_put_meta(leases, leases->ceiling_written, now_ms) : 0;
	if (changed <= 0 || r < 0) {
		pf_tw_abort(&tw);
		return changed < 0 ? changed : r;
	}
	if (saves) /* should the commit fail it is only remembered later */
		leases->saved_ms = now_ms;
	submission->short_of_tokens = leases->ceiling + 1 - leases->next_token < PF_LEASE_TOKENS / 2;
	return pf_tw_commit(&tw, &submission->ticket);
}

int pf_lease_submit(struct pf_leases *leases, struct pinfold_lease_op *ops, size_t count, pinfold_ticket *ret_ticket)
{
	struct submission submission = { .leases = leases, .ops = ops, .count = count };
	int r;

	if (count > PINFOLD_LEASE_OPS_MAX)
		return pf_error(-EINVAL, "lease: %zu operations; at most %d are allowed", count, PINFOLD_LEASE_OPS_MAX);
	for (size_t i = 0; i < count; i++) {
		r = op_check(&ops[i]);
		if (r < 0)
			return r;
		submission.grant_count += grants(&ops[i]);
	}
	while ((r = pf_table_call(leases->table, submission_run, &submission)) == -EAGAIN) {
		r = pf_lease_extend(leases, submission.grant_count);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	*ret_ticket = submission.ticket;
	if (submission.short_of_tokens) /* well before anybody has to wait; a failure is met again when it matters */
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
