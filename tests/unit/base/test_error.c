// SPDX-License-Identifier: GPL-2.0-only
#include "base/error.h"
#include "kselftest_harness.h"

#include <pthread.h>

TEST(sets_and_clears)
{
	EXPECT_STREQ("", pf_error_text());
	EXPECT_EQ(-EIO, pf_error(-EIO, "disk %d", 7));
	EXPECT_STREQ("disk 7", pf_error_text());
	pf_error_clear();
	EXPECT_STREQ("", pf_error_text());
}

TEST(too_long_is_cut)
{
	char text[2 * PF_ERROR_MAX];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	pf_error(-EIO, "%s", text);
	EXPECT_EQ(PF_ERROR_MAX - 1, strlen(pf_error_text()));
}

static void *other(void *ret)
{
	*(int *)ret = pf_error_text()[0] == '\0';
	pf_error(-EIO, "of the other thread");
	return NULL;
}

TEST(is_per_thread)
{
	pthread_t thread;
	int empty = 0;

	pf_error(-EIO, "mine");
	ASSERT_EQ(0, pthread_create(&thread, NULL, other, &empty));
	pthread_join(thread, NULL);
	EXPECT_TRUE(empty);
	EXPECT_STREQ("mine", pf_error_text());
}

TEST_HARNESS_MAIN
