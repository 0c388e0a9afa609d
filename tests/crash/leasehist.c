/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* leasehist.c - see leasehist.h */
#include "leasehist.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static char words[256];

static uint64_t boot_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct hist_event *hist_call(struct history *history, int what, unsigned actor, uint64_t token, uint64_t ttl_ms,
			     uint32_t run)
{
	uint32_t index = atomic_load(&history->count);
	struct hist_event *event;

	do {
		if (index == HIST_EVENTS)
			return NULL;
	} while (!atomic_compare_exchange_weak(&history->count, &index, index + 1));
	event = &history->event[index];
	event->what = (uint8_t)what;
	event->actor = (uint8_t)actor;
	event->token = token;
	event->ttl_ms = ttl_ms;
	event->run = run;
	event->called_ms = boot_ms();
	event->called = atomic_fetch_add(&history->order, 1) + 1;
	return event;
}

void hist_return(struct history *history, struct hist_event *event, int result, uint64_t ret_token)
{
	event->result = result;
	event->ret_token = ret_token;
	event->returned_ms = boot_ms();
	event->returned = atomic_fetch_add(&history->order, 1) + 1;
}

static bool is_grant(const struct hist_event *event)
{
	return event->called && event->returned && event->result == 0 &&
	       (event->what == PINFOLD_LEASE_ACQUIRE || event->what == PINFOLD_LEASE_STEAL);
}

/* By actor, then by token. */
static int by_token(const void *a, const void *b)
{
	const struct hist_event *x = *(const struct hist_event *const *)a, *y = *(const struct hist_event *const *)b;

	if (x->actor != y->actor)
		return x->actor < y->actor ? -1 : 1;
	return x->ret_token < y->ret_token ? -1 : x->ret_token > y->ret_token;
}

static int by_call(const void *a, const void *b)
{
	const struct hist_event *x = *(const struct hist_event *const *)a, *y = *(const struct hist_event *const *)b;

	return x->called < y->called ? -1 : x->called > y->called;
}

static int by_return(const void *a, const void *b)
{
	const struct hist_event *x = *(const struct hist_event *const *)a, *y = *(const struct hist_event *const *)b;

	return x->returned < y->returned ? -1 : x->returned > y->returned;
}

static const char *wrong(const char *what, const struct hist_event *a, const struct hist_event *b)
{
	snprintf(words, sizeof(words),
		 "%s: actor %u, operation %u called as %llu (token %llu -> %llu); actor %u, operation %u "
		 "called as %llu (token %llu -> %llu)",
		 what, a->actor, a->what, (unsigned long long)a->called, (unsigned long long)a->token,
		 (unsigned long long)a->ret_token, b->actor, b->what, (unsigned long long)b->called,
		 (unsigned long long)b->token, (unsigned long long)b->ret_token);
	return words;
}

/* What touched one grant of one actor: operations that name its token. */
struct touch {
	bool released;          /* by an operation that may have worked */
	uint64_t released_call; /* the first call that may have */
	uint64_t ends_ms;       /* by the holder's clock, no sooner than this */
};

/* As far as they count for grant @next of the same actor. A token is used by one thread: events stand in its order. */
static void touches(const struct history *history, uint32_t count, const struct hist_event *grant,
		    const struct hist_event *next, struct touch *ret_touch)
{
	struct touch touch = { .ends_ms = grant->called_ms + grant->ttl_ms, .released_call = UINT64_MAX };

	for (uint32_t i = 0; i < count; i++) {
		const struct hist_event *event = &history->event[i];

		if (!event->called || event->actor != grant->actor || event->token != grant->ret_token ||
		    (event->returned && event->result))
			continue;
		if (event->what == PINFOLD_LEASE_RELEASE) {
			touch.released = true;
			if (event->called < touch.released_call)
				touch.released_call = event->called;
		} else if (event->what == PINFOLD_LEASE_RENEW) {
			uint64_t ends_ms = event->called_ms + event->ttl_ms;
			bool sure = event->returned && (event->run == next->run || event->durable);

			if (sure || ends_ms < touch.ends_ms) /* one may also ask for less */
				touch.ends_ms = ends_ms;
		}
	}
	*ret_touch = touch;
}

/* Whether expired leases were removed between @touch's end and grant @b. */
static bool swept(const struct history *history, uint32_t count, const struct touch *touch, const struct hist_event *b)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct hist_event *event = &history->event[i];

		if (event->what == HIST_EXPIRE && event->called && event->called < b->returned &&
		    (!event->returned || event->returned_ms >= touch->ends_ms))
			return true;
	}
	return false;
}

/* Rules 3 and 4 for grants @a and @b that follow one another. */
static const char *check_succession(const struct history *history, uint32_t count, const struct hist_event *a,
				    const struct hist_event *b)
{
	struct touch touch;

	for (uint32_t i = 0; i < count; i++) {
		const struct hist_event *event = &history->event[i];

		if (event->called && event->returned && !event->result && event->actor == a->actor &&
		    event->token == a->ret_token &&
		    (event->what == PINFOLD_LEASE_RENEW || event->what == PINFOLD_LEASE_RELEASE) &&
		    event->called > b->returned && (event->run == b->run || b->durable))
			return wrong("a replaced token still worked", event, b);
	}
	if (a->run != b->run && !a->durable)
		return NULL;
	touches(history, count, a, b, &touch);
	if (touch.released && touch.released_call < b->returned)
		return NULL;
	if (b->what != PINFOLD_LEASE_STEAL && !swept(history, count, &touch, b))
		return wrong("granted twice without a release between", a, b);
	if (b->returned_ms < touch.ends_ms)
		return wrong("stolen before it had expired", a, b);
	return NULL;
}

/* Rule 5: the lease that stood in the way was granted, or may have been, and was not surely gone. */
static const char *check_refusal(const struct history *history, uint32_t count, const struct hist_event *refused)
{
	const struct hist_event *grant = NULL;

	if (!refused->ret_token)
		return NULL;
	for (uint32_t i = 0; i < count; i++) {
		const struct hist_event *event = &history->event[i];

		if (!event->called || event->actor != refused->actor)
			continue;
		if (!event->returned && (event->what == PINFOLD_LEASE_ACQUIRE || event->what == PINFOLD_LEASE_STEAL) &&
		    event->called < refused->returned)
			return NULL; /* in flight when its process died: it may be anything */
		if (is_grant(event) && event->ret_token == refused->ret_token)
			grant = event;
	}
	if (!grant || grant->called > refused->returned)
		return wrong("refused because of a lease that nobody was granted", refused, grant ? grant : refused);
	for (uint32_t i = 0; i < count; i++) {
		const struct hist_event *event = &history->event[i];

		if (event->what == PINFOLD_LEASE_RELEASE && event->returned && !event->result &&
		    event->actor == refused->actor && event->token == refused->ret_token &&
		    event->returned < refused->called && (event->run == refused->run || event->durable))
			return wrong("refused because of a lease that was released before", refused, event);
	}
	return NULL;
}

/* Rules 1 and 2: by call and by return, no grant is called after a larger token was returned. */
static const char *check_order(const struct hist_event **grants, const struct hist_event **returns, uint32_t count)
{
	const struct hist_event *largest = NULL;
	uint32_t k = 0;

	qsort(grants, count, sizeof(*grants), by_call);
	qsort(returns, count, sizeof(*returns), by_return);
	for (uint32_t i = 0; i < count; i++) {
		for (; k < count && returns[k]->returned < grants[i]->called; k++)
			if (!largest || returns[k]->ret_token > largest->ret_token)
				largest = returns[k];
		if (largest && largest->ret_token >= grants[i]->ret_token)
			return wrong("a token went back", largest, grants[i]);
	}
	return NULL;
}

static int by_token_alone(const void *a, const void *b)
{
	const struct hist_event *x = *(const struct hist_event *const *)a, *y = *(const struct hist_event *const *)b;

	return x->ret_token < y->ret_token ? -1 : x->ret_token > y->ret_token;
}

const char *hist_check(const struct history *history)
{
	uint32_t count = atomic_load(&history->count), grant_count = 0;
	const struct hist_event **grants = calloc(2 * (size_t)count + 2, sizeof(*grants)), **returns;
	const char *found = NULL;

	if (!grants)
		return "no memory";
	returns = grants + count + 1;
	for (uint32_t i = 0; i < count; i++)
		if (is_grant(&history->event[i]))
			grants[grant_count] = returns[grant_count] = &history->event[i], grant_count++;
	qsort(grants, grant_count, sizeof(*grants), by_token_alone);
	for (uint32_t i = 1; !found && i < grant_count; i++)
		if (grants[i]->ret_token == grants[i - 1]->ret_token)
			found = wrong("a token was granted twice", grants[i - 1], grants[i]);
	if (!found)
		found = check_order(grants, returns, grant_count);
	qsort(grants, grant_count, sizeof(*grants), by_token);
	for (uint32_t i = 1; !found && i < grant_count; i++)
		if (grants[i]->actor == grants[i - 1]->actor)
			found = check_succession(history, count, grants[i - 1], grants[i]);
	for (uint32_t i = 0; !found && i < count; i++)
		if (history->event[i].returned && history->event[i].result == -EBUSY)
			found = check_refusal(history, count, &history->event[i]);
	free(grants);
	return found;
}

uint64_t hist_largest_token(const struct history *history)
{
	uint32_t count = atomic_load(&history->count);
	uint64_t largest = 0;

	for (uint32_t i = 0; i < count; i++)
		if (is_grant(&history->event[i]) && history->event[i].ret_token > largest)
			largest = history->event[i].ret_token;
	return largest;
}
