// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ring's configuration takes effect in the store: whatever is asked for, commits are durable, and what is done
 * without has a name.
 */
#include "kselftest_harness.h"

#include "scratch.h"

FIXTURE(mode)
{
	struct pf_store *store;
};

FIXTURE_VARIANT(mode)
{
	enum pinfold_polling polling;
	bool sq_polling, none;
	const char *word;    /* of io_mode, if it is granted */
	const char *refusal; /* of io_refused, if it is not */
};

FIXTURE_VARIANT_ADD(mode, interrupt){ .word = "io_uring, interrupt" };
FIXTURE_VARIANT_ADD(mode,
		    polling){ .polling = PINFOLD_POLLING_POLLING, .word = "io_uring, polling", .refusal = "polling: " };
FIXTURE_VARIANT_ADD(mode, hybrid){ .polling = PINFOLD_POLLING_HYBRID,
				   .word = "io_uring, hybrid in the kernel",
				   .refusal = "hybrid polling by the kernel: " };
FIXTURE_VARIANT_ADD(mode, sq_polling){ .sq_polling = true, .word = "SQ polling", .refusal = "SQ polling: " };
FIXTURE_VARIANT_ADD(mode, without){ .none = true, .word = "pwrite" };

FIXTURE_SETUP(mode)
{
	ASSERT_TRUE(scratch_make());
}

FIXTURE_TEARDOWN(mode)
{
	scratch_remove();
}

TEST_F(mode, commits_are_durable)
{
	struct pinfold_config config = scratch_config(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE);
	struct pinfold_store_stats stats;
	struct pinfold_extent extent;
	uint64_t got = 0;

	config.ring.polling = variant->polling;
	config.ring.sq_polling = variant->sq_polling;
	config.no_io_uring = variant->none;
	ASSERT_EQ(0, scratch_open_config(&config, &self->store));
	stats = scratch_stat(self->store);
	TH_LOG("%s; refused: %s", stats.io_mode, stats.io_refused);
	if (variant->refusal && !strstr(stats.io_mode, variant->word)) {
		EXPECT_NE(NULL, strstr(stats.io_refused, variant->refusal));
	} else if (stats.io_uring || variant->none) {
		EXPECT_NE(NULL, strstr(stats.io_mode, variant->word));
		EXPECT_EQ('\0', stats.io_refused[0]);
	} else {
		EXPECT_NE(NULL, strstr(stats.io_refused, "io_uring: "));
	}
	EXPECT_EQ(stats.io_uring, strncmp(stats.io_mode, "io_uring, ", 10) == 0);
	ASSERT_EQ(0, scratch_extent(self->store, 2 * MIB, &extent));
	for (uint64_t i = 1; i <= 50; i++)
		ASSERT_EQ(0, scratch_write(self->store, &extent, i * 8, &i, sizeof(i)));
	ASSERT_EQ(0, pf_store_close(self->store));
	config.flags = 0;
	ASSERT_EQ(0, scratch_open_config(&config, &self->store));
	for (uint64_t i = 1; i <= 50; i++) {
		ASSERT_EQ(0, pf_read_at(self->store, &extent, i * 8, &got, sizeof(got)));
		ASSERT_EQ(i, got);
	}
	ASSERT_EQ(0, pf_store_close(self->store));
}

TEST(config_is_checked)
{
	struct pinfold_config config = { 0 }, complete;
	struct pf_ring_options wish;

	ASSERT_EQ(0, pf_config_complete(&config, &complete));
	EXPECT_EQ(256, complete.ring.sq_entries);
	EXPECT_EQ(200, complete.ring.cq_percent);
	config.ring.sq_entries = 100;
	config.ring.cq_percent = 150;
	config.ring.polling = PINFOLD_POLLING_HYBRID;
	ASSERT_EQ(0, pf_config_complete(&config, &complete));
	pf_config_ring(&complete, &wish);
	EXPECT_EQ(100, wish.sq_entries);
	EXPECT_EQ(150, wish.cq_entries);
	EXPECT_EQ(PF_RING_HYBRID, wish.wait);
#define REFUSED(field, value)                                               \
	do {                                                                \
		memset(&config, 0, sizeof(config));                         \
		config.ring.field = (value);                                \
		EXPECT_EQ(-EINVAL, pf_config_complete(&config, &complete)); \
		EXPECT_NE(NULL, strstr(pf_error_text(), "ring." #field));   \
	} while (0)
	REFUSED(sq_entries, 32769);
	REFUSED(cq_percent, 99);
	REFUSED(cq_percent, 1601);
	REFUSED(polling, 3);
	REFUSED(sq_idle_ms, 10001);
}

TEST_HARNESS_MAIN
