// SPDX-License-Identifier: GPL-2.0-only
/* What a forked child inherits of epochs: a store of its own works in it, or is refused in words. */
#include "scratch.h"
#include "kselftest_harness.h"

#include <pthread.h>
#include <stdatomic.h>

#define READERS 4
#define CHILD_SECONDS 10

struct shared {
	_Atomic int begun, ran_in_child;
};

FIXTURE(fork)
{
	struct pf_store *store;
	struct shared *shared;
	pthread_t readers[READERS];
};

static _Atomic int there;
static _Atomic bool leave;
static pid_t first;

FIXTURE_SETUP(fork)
{
	struct pinfold_extent extent;

	self->shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->shared);
	first = getpid();
	ASSERT_TRUE(scratch_make());
	ASSERT_EQ(0, scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE, &self->store));
	ASSERT_EQ(0, pf_extent_alloc(self->store, 0, 0, &extent)); /* liburcu's thread runs from here on */
	ASSERT_EQ(0, pf_extent_free(self->store, &extent));
}
FIXTURE_TEARDOWN(fork)
{
	EXPECT_EQ(0, pf_store_close(self->store));
	scratch_remove();
}

/* Odd ones stay inside an epoch, the others have only been in one. */
static void *reader(void *arg)
{
	const bool inside = (intptr_t)arg % 2;

	pf_epoch_enter();
	if (!inside)
		pf_epoch_leave();
	there++;
	while (!leave)
		usleep(1000);
	if (inside)
		pf_epoch_leave();
	return NULL;
}

static void *read_once(void *arg)
{
	pf_epoch_enter();
	pf_epoch_leave();
	return arg;
}

/* A store beside the parent's, with threads that begin and end. 0, or the step that failed. */
static int use_own_store(void)
{
	struct pinfold_extent extent;
	struct pf_store *store;
	pthread_t threads[READERS];

	if (!scratch_make())
		return 1;
	if (scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE, &store) != 0)
		return 2;
	for (int i = 0; i < READERS; i++)
		if (pthread_create(&threads[i], NULL, read_once, NULL) != 0)
			return 3;
	if (pf_extent_alloc(store, 0, 0, &extent) != 0 || pf_extent_free(store, &extent) != 0)
		return 4;
	for (int i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	if (pf_store_close(store) != 0) /* waits for a grace period */
		return 5;
	scratch_remove();
	return 0;
}

/* The exit status of @fn in a child that a hang ends. */
static int in_child(int (*fn)(void))
{
	int status = -1;
	pid_t child = fork();

	if (child == 0) {
		alarm(CHILD_SECONDS);
		_exit(fn());
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int use_own_store_in_grandchild(void)
{
	int r = use_own_store();

	return r == 0 ? in_child(use_own_store) : r;
}

TEST_F(fork, child_uses_a_store_of_its_own)
{
	SCRATCH_FORKS();
	usleep(100000); /* what the set-up freed is through its grace period: the fork has none to wait for */
	for (intptr_t i = 0; i < READERS; i++)
		ASSERT_EQ(0, pthread_create(&self->readers[i], NULL, reader, (void *)i));
	while (there < READERS)
		usleep(1000);
	EXPECT_EQ(0, in_child(use_own_store));
	EXPECT_EQ(0, in_child(use_own_store_in_grandchild));
	leave = true;
	for (int i = 0; i < READERS; i++)
		pthread_join(self->readers[i], NULL);
	EXPECT_EQ(0, in_child(use_own_store)); /* and the parent's registry has stayed in order */
}

static void note_child(void *ctx)
{
	struct shared *shared = ctx;

	if (getpid() != first)
		shared->ran_in_child++;
}

/* Defers another and lasts until the fork waits for this one: the other is not begun before the fork. */
static void defer_and_last(void *ctx)
{
	struct shared *shared = ctx;

	pf_epoch_defer(note_child, shared);
	shared->begun = 1;
	usleep(200000);
}

TEST_F(fork, deferred_by_the_parent_is_not_done_by_the_child)
{
	SCRATCH_FORKS();
	ASSERT_EQ(0, pf_epoch_defer(defer_and_last, self->shared));
	while (!self->shared->begun)
		usleep(1000);
	EXPECT_EQ(0, in_child(use_own_store)); /* its close waits for everything deferred */
	EXPECT_EQ(0, self->shared->ran_in_child);
}

static int open_refused(void)
{
	struct pf_store *store;

	if (!scratch_make())
		return 1;
	if (scratch_open(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE, &store) != -ENOTSUP)
		return 2;
	scratch_remove();
	return strstr(pf_error_text(), "inside an epoch") ? 0 : 3;
}

TEST_F(fork, inside_an_epoch)
{
	SCRATCH_FORKS();
	pf_epoch_enter();
	ASSERT_EQ(0, pf_epoch_defer(note_child, self->shared)); /* waits for this thread */
	usleep(100000);
	EXPECT_EQ(0, in_child(open_refused));
	pf_epoch_leave();
	EXPECT_EQ(0, in_child(use_own_store));
}

TEST_HARNESS_MAIN
