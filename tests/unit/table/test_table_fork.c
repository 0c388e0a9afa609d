// SPDX-License-Identifier: GPL-2.0-only
/* A process that forks while its threads look for their tables leaves the child able to look for its own. */
#include "fixture.h"
#include "kselftest_harness.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

#define THREADS 4
#define FORKS 300
#define CHILD_SECONDS 5

static _Atomic bool leave;

/* A name that is refused, after the store's tables were looked for. */
static int look(struct pf_store *store)
{
	struct pf_table *table;

	return pf_table_open(store, "", 0, &table);
}

static void *looker(void *arg)
{
	struct pf_store *store = arg;

	while (!leave)
		if (look(store) != -EINVAL)
			return arg;
	return NULL;
}

FIXTURE(table_fork)
{
	struct env env;
};
FIXTURE_SETUP(table_fork)
{
	ASSERT_EQ(0, env_begin(&self->env, PINFOLD_SYNC_SYNC));
}
FIXTURE_TEARDOWN(table_fork)
{
	env_end(&self->env);
}

TEST_F(table_fork, while_threads_look_for_tables)
{
	pthread_t threads[THREADS];
	int failed = 0;
	void *result;

#ifdef __SANITIZE_ADDRESS__
	SKIP(return, "a child forked beside threads may wait for a lock of ASan's allocator");
#endif
	for (int i = 0; i < THREADS; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, looker, self->env.store));
	for (int i = 0; i < FORKS && !failed; i++) {
		int status = -1;
		pid_t child = fork();

		if (child == 0) {
			alarm(CHILD_SECONDS);
			_exit(look(NULL) == -EINVAL ? 0 : 1); /* of no store that its parent has open */
		}
		failed = child < 0 || waitpid(child, &status, 0) != child || status != 0;
	}
	leave = true;
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &result);
		EXPECT_EQ(NULL, result);
	}
	EXPECT_EQ(0, failed);
}

TEST_HARNESS_MAIN
