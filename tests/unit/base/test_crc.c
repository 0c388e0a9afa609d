// SPDX-License-Identifier: GPL-2.0-only
#include "base/crc.h"
#include "kselftest_harness.h"

TEST(known_vectors)
{
	uint8_t buffer[32];

	/* RFC 3720, B.4 */
	EXPECT_EQ(0xe3069283u, pf_crc32c("123456789", 9));
	memset(buffer, 0, sizeof(buffer));
	EXPECT_EQ(0x8a9136aau, pf_crc32c(buffer, sizeof(buffer)));
	memset(buffer, 0xff, sizeof(buffer));
	EXPECT_EQ(0x62a8ab43u, pf_crc32c(buffer, sizeof(buffer)));
	EXPECT_EQ(0u, pf_crc32c(buffer, 0));
}

TEST(update_continues)
{
	uint8_t buffer[300];

	for (size_t i = 0; i < sizeof(buffer); i++)
		buffer[i] = (uint8_t)(i * 31);
	for (size_t cut = 0; cut <= sizeof(buffer); cut++)
		ASSERT_EQ(pf_crc32c(buffer, sizeof(buffer)),
			  pf_crc32c_update(pf_crc32c(buffer, cut), buffer + cut, sizeof(buffer) - cut));
}

TEST_HARNESS_MAIN
