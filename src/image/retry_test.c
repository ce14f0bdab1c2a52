/* SPDX-License-Identifier: Apache-2.0 */
#include "image/retry.h"

#include "base/testing.h"

#define MS_OF_2026 1767225600000ll /* 2026-01-01T00:00:00Z */

static void a_busy_server_is_asked_again_and_a_verdict_stands(void **state)
{
	(void)state;
	assert_true(retry_status(429) && retry_status(503) && retry_status(502));
	assert_false(retry_status(200) || retry_status(404) || retry_status(401) ||
	             retry_status(416));
}

static void pauses_grow_and_end_somewhere(void **state)
{
	(void)state;
	for (int i = 1; i < 20; i++) {
		int64_t ms = retry_backoff_ms(i);
		assert_in_range(ms, i == 1 ? 500 : 1000, 12500);
		assert_true(i < 6 || ms >= 10000);
	}
}

static void retry_after_is_seconds_or_a_date(void **state)
{
	int64_t now = MS_OF_2026 * 1000000;

	(void)state;
	assert_int_equal(retry_after_ms("7", now), 7000);
	assert_int_equal(retry_after_ms("Thu, 01 Jan 2026 00:00:30 GMT", now), 30000);
	assert_int_equal(retry_after_ms("Wed, 31 Dec 2025 23:00:00 GMT", now), 0);
	assert_int_equal(retry_after_ms(NULL, now), -1);
	assert_int_equal(retry_after_ms("soon", now), -1);
	assert_int_equal(retry_after_ms("-3", now), -1);
	assert_int_equal(retry_after_ms("99999999999999999999", now), -1);
}

TESTING_MAIN(TEST(a_busy_server_is_asked_again_and_a_verdict_stands),
             TEST(pauses_grow_and_end_somewhere), TEST(retry_after_is_seconds_or_a_date))
