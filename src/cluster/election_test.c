/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/election.h"

#include "base/testing.h"

static void it_campaigns_at_once_and_renews_four_times_a_lease(void **state)
{
	(void)state;
	struct election e = {0};

	assert_int_equal(election_step(&e, 1000), ELECTION_CAMPAIGN);
	election_won(&e, 1000, 7);
	assert_int_equal(election_step(&e, 1100), ELECTION_REST);
	assert_int_equal(election_next(&e), 1000 + ELECTION_TTL_MS / 4);
	assert_int_equal(election_step(&e, election_next(&e)), ELECTION_RENEW);
	assert_int_equal(e.epoch, 7);
}

/* Others may begin ELECTION_TTL_MS after etcd got the request, which was not before it was sent. */
static void a_leader_nobody_answers_yields_before_its_lease_can_be_over(void **state)
{
	(void)state;
	struct election e = {0};
	int64_t now = 1000, yielded = 0;

	election_won(&e, now, 7);
	for (; !yielded && now < 10000; now++)
		switch (election_step(&e, now)) {
		case ELECTION_RENEW:
			election_failed(&e, now);
			break;
		case ELECTION_YIELD:
			yielded = now;
			break;
		case ELECTION_CAMPAIGN:
			fail_msg("campaigned while it led");
			break;
		case ELECTION_REST:
			break;
		}
	assert_true(yielded > 1000);
	assert_true(yielded < 1000 + ELECTION_TTL_MS);
	assert_int_equal(e.epoch, 0);
}

/* The answer took long: the time counts from before it was asked. */
static void a_late_answer_gives_no_time(void **state)
{
	(void)state;
	struct election e = {0};

	election_won(&e, 1000, 7);
	election_kept(&e, 1500); /* heard at 3400 */
	assert_int_equal(election_step(&e, 1500 + ELECTION_TTL_MS), ELECTION_YIELD);
	assert_int_equal(election_step(&e, 1500 + ELECTION_TTL_MS), ELECTION_CAMPAIGN);
}

static void a_lease_that_is_gone_ends_it_at_once(void **state)
{
	(void)state;
	struct election e = {0};

	election_won(&e, 1000, 7);
	election_dropped(&e, 1200);
	assert_int_equal(election_step(&e, 1200), ELECTION_YIELD);
	assert_int_equal(election_step(&e, 1200), ELECTION_CAMPAIGN);
}

static void who_lost_waits_until_the_place_is_vacant(void **state)
{
	(void)state;
	struct election e = {0};

	assert_int_equal(election_step(&e, 1000), ELECTION_CAMPAIGN);
	election_lost(&e, 1000);
	assert_int_equal(election_step(&e, 1010), ELECTION_REST);
	election_vacant(&e, 1020);
	assert_int_equal(election_step(&e, 1020), ELECTION_CAMPAIGN);
}

TESTING_MAIN(TEST(it_campaigns_at_once_and_renews_four_times_a_lease),
             TEST(a_leader_nobody_answers_yields_before_its_lease_can_be_over),
             TEST(a_late_answer_gives_no_time), TEST(a_lease_that_is_gone_ends_it_at_once),
             TEST(who_lost_waits_until_the_place_is_vacant))
