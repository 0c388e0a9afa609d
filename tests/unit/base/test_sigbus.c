// SPDX-License-Identifier: GPL-2.0-only
/* A mapping longer than its file: touching what is behind the end is a SIGBUS, as a bad block is. */
#include "base/sigbus.h"
#include "kselftest_harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE (64 << 10)

static volatile char *map_short(void)
{
	int fd = memfd_create("short", MFD_CLOEXEC);
	void *p;

	if (fd < 0 || ftruncate(fd, 4096) != 0)
		return NULL;
	p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}

static int guarded_touch(volatile char *map, uint64_t size, size_t at)
{
	sigjmp_buf env;
	void *prev;

	if (sigsetjmp(env, 0) != 0)
		return -1;
	prev = pf_sigbus_arm(&env, (const void *)map, size);
	(void)map[at];
	pf_sigbus_disarm(prev);
	return 0;
}

static volatile sig_atomic_t chained;
static sigjmp_buf chain_env;

static void chain_handler(int signo)
{
	chained++;
	siglongjmp(chain_env, 1);
}

static const struct pf_sigbus_range *touched_range;

static __attribute__((noinline)) void touch_in_guard(volatile char *map, size_t at, struct pf_sigbus_guard *guard)
{
	pf_sigbus_enter(guard, touched_range);
	(void)map[at];
	pf_sigbus_leave(guard);
}

static PF_SIGBUS_FUNCTION int placed_touch(volatile char *map, size_t at)
{
	struct pf_sigbus_guard guard;

	if (__builtin_setjmp(guard.place))
		return -1;
	touch_in_guard(map, at, &guard);
	return 0;
}

TEST(guards_on_the_stack_nest_with_others)
{
	volatile char *map = map_short(), *other = map_short();
	const struct pf_sigbus_range range = {(uintptr_t)map, SIZE};
	volatile int inner = 0;
	sigjmp_buf env;
	void *prev;

	ASSERT_NE(NULL, map);
	ASSERT_NE(NULL, other);
	ASSERT_EQ(0, pf_sigbus_install());
	touched_range = &range;
	for (int i = 0; i < 1000; i++) {
		ASSERT_EQ(0, placed_touch(map, 0));
		ASSERT_EQ(-1, placed_touch(map, 8192));
	}
	if (sigsetjmp(env, 0) == 0) {
		prev = pf_sigbus_arm(&env, (const void *)other, SIZE);
		inner = placed_touch(map, 8192); /* the inner one answers for its range ... */
		(void)placed_touch(other, 8192); /* ... and the outer one for its own, through the inner one */
		pf_sigbus_disarm(prev);
		inner = 0;
	}
	EXPECT_EQ(-1, inner);
	EXPECT_EQ((const void *)(other + 8192), pf_sigbus_address());
	EXPECT_EQ(-1, placed_touch(map, 8192)); /* nothing is left over */
	EXPECT_EQ(-1, guarded_touch(other, SIZE, 8192));
}

static PF_SIGBUS_FUNCTION int jumped_touch(volatile char *map, size_t at)
{
	struct pf_sigbus_guard guard;
	volatile char byte;

	PF_SIGBUS_PLACE(&guard, fault);
	pf_sigbus_enter(&guard, touched_range);
	byte = map[at];
	pf_sigbus_leave(&guard);
	return byte;
fault:
	return guard.node.range == touched_range ? -1 : -2;
}

TEST(guards_that_keep_registers)
{
	volatile char *map = map_short();
	const struct pf_sigbus_range range = {(uintptr_t)map, SIZE};
	unsigned long kept[6] = {1, 2, 3, 4, 5, 6};

	ASSERT_NE(NULL, map);
	ASSERT_EQ(0, pf_sigbus_install());
	touched_range = &range;
	for (unsigned i = 0; i < 1000; i++) {
		for (unsigned k = 0; k < 6; k++)
			kept[k] += i * k;
		ASSERT_EQ(0, jumped_touch(map, 0));
		ASSERT_EQ(-1, jumped_touch(map, 8192));
		for (unsigned k = 0; k < 6; k++)
			kept[k] -= i * k;
	}
	for (unsigned k = 0; k < 6; k++)
		EXPECT_EQ(k + 1, kept[k]);
	EXPECT_EQ(-1, guarded_touch(map, SIZE, 8192)); /* nothing is left over */
}

TEST(loads_that_say_where_to_go_on)
{
#ifdef PF_SIGBUS_LOADS
	volatile char *map = map_short();
	uint64_t word = 1;

	ASSERT_NE(NULL, map);
	ASSERT_EQ(0, pf_sigbus_install());
	for (unsigned i = 0; i < 1000; i++) {
		ASSERT_TRUE(pf_sigbus_load_8((const void *)map, &word));
		ASSERT_EQ(0, word);
		ASSERT_FALSE(pf_sigbus_load_8((const void *)(map + 8192), &word));
	}
	EXPECT_EQ(-1, guarded_touch(map, SIZE, 8192));
#else
	SKIP(return, "no such loads on this processor");
#endif
}

TEST(fault_returns_and_again)
{
	volatile char *map = map_short();

	ASSERT_NE(NULL, map);
	ASSERT_EQ(0, pf_sigbus_install());
	ASSERT_EQ(0, guarded_touch(map, SIZE, 0));
	for (int i = 0; i < 1000; i++) /* the signal stays deliverable after a jump */
		ASSERT_EQ(-1, guarded_touch(map, SIZE, 8192));
	EXPECT_EQ((const void *)(map + 8192), pf_sigbus_address());
	EXPECT_EQ(0, guarded_touch(map, SIZE, 100));
}

TEST(outside_the_range_goes_to_the_handler_before)
{
	volatile char *map = map_short();

	ASSERT_NE(NULL, map);
	signal(SIGBUS, chain_handler);
	ASSERT_EQ(0, pf_sigbus_install());
	if (sigsetjmp(chain_env, 1) == 0)
		guarded_touch(map, 4096, 8192);
	EXPECT_EQ(1, chained);
}

TEST_SIGNAL(unguarded_dies, SIGBUS)
{
	volatile char *map = map_short();

	signal(SIGBUS, SIG_DFL); /* a sanitizer's handler would exit */
	ASSERT_EQ(0, pf_sigbus_install());
	(void)map[8192];
}

TEST(inner_guard_that_does_not_cover_is_skipped)
{
	volatile char *a = map_short(), *b = map_short();
	sigjmp_buf env;
	void *prev;

	ASSERT_EQ(0, pf_sigbus_install());
	if (sigsetjmp(env, 0) == 0) {
		prev = pf_sigbus_arm(&env, (const void *)a, SIZE);
		guarded_touch(b, SIZE, 0);
		{
			sigjmp_buf inner;

			if (sigsetjmp(inner, 0) == 0) {
				pf_sigbus_arm(&inner, (const void *)b, SIZE);
				(void)a[8192];
			}
			pf_sigbus_disarm(prev);
			ASSERT_TRUE(false); /* the outer one was to be jumped to */
		}
	}
	EXPECT_EQ((const void *)(a + 8192), pf_sigbus_address());
	EXPECT_EQ(-1, guarded_touch(b, SIZE, 8192));
}

static void *faulting_thread(void *arg)
{
	volatile char *map = arg;
	long caught = 0;

	for (int i = 0; i < 2000; i++)
		caught += guarded_touch(map, SIZE, 8192) == -1;
	return (void *)caught;
}

TEST(threads_fault_independently)
{
	volatile char *map = map_short();
	pthread_t threads[4];

	ASSERT_EQ(0, pf_sigbus_install());
	for (int i = 0; i < 4; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, faulting_thread, (void *)map));
	for (int i = 0; i < 4; i++) {
		void *caught;

		pthread_join(threads[i], &caught);
		EXPECT_EQ(2000, (long)caught);
	}
}

TEST_HARNESS_MAIN
