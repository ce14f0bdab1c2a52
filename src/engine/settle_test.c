/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"
#include "engine/private.h"

static struct api_restart_policy policy(const char *name, int64_t count)
{
	return (struct api_restart_policy){(char *)name, count};
}

static void back_off_doubles_to_a_minute_and_starts_over(void **state)
{
	int64_t ms = 0;

	(void)state;
	ms = restart_backoff(ms, 5);
	assert_int_equal(ms, 100);
	ms = restart_backoff(ms, 5);
	assert_int_equal(ms, 200);
	for (int i = 0; i < 20; i++)
		ms = restart_backoff(ms, 5);
	assert_int_equal(ms, 60000);
	assert_int_equal(restart_backoff(ms, 10000), 100);
}

static void policies_decide(void **state)
{
	struct api_restart_policy no = policy("no", 0), always = policy("always", 0);
	struct api_restart_policy unless = policy("unless-stopped", 0);
	struct api_restart_policy twice = policy("on-failure", 2), ever = policy("on-failure", 0);

	(void)state;
	assert_false(restart_wanted(&no, 1, false, 0));
	assert_true(restart_wanted(&always, 0, false, 99));
	assert_false(restart_wanted(&always, 0, true, 0));
	assert_true(restart_wanted(&unless, 0, false, 0));
	assert_false(restart_wanted(&unless, 0, true, 0));
	assert_false(restart_wanted(&twice, 0, false, 0));
	assert_true(restart_wanted(&twice, 1, false, 1));
	assert_false(restart_wanted(&twice, 1, false, 2));
	assert_true(restart_wanted(&ever, 1, false, 1000));
}

TESTING_MAIN(TEST(back_off_doubles_to_a_minute_and_starts_over), TEST(policies_decide))
