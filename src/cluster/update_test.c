/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/control_testing.h"

#define UPDATE(more) ",\"UpdateConfig\":{\"Monitor\":1000000000" more "}}"

static const char *update_state(struct bench *b)
{
	const struct service *s = service_find(b->c, "web", NULL);

	return s && s->update_status ? s->update_status->state : "none";
}

/* Running or starting tasks of one image. */
static size_t count_image(struct bench *b, const char *image)
{
	const struct task *t;
	size_t count = 0;

	for (size_t at = 0; (t = control_next_task(b->c, &at)) != NULL;)
		count += t->desired <= TASK_RUNNING && str_eq(t->spec.container.image, image);
	return count;
}

static void an_update_replaces_one_at_a_time_and_completes(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, SERVICE("web", "old", 4, "") UPDATE(""));
	bench_update(&b, "web",
	             SERVICE("web", "new", 4, "") UPDATE(",\"Parallelism\":1,\"Delay\":500000000"));
	assert_string_equal(update_state(&b), "updating");
	assert_int_equal(count_image(&b, "new"), 1);
	bench_pass(&b, 400);
	assert_int_equal(count_image(&b, "new"), 1); /* the delay counts from when it ran */
	bench_pass(&b, 200);
	assert_int_equal(count_image(&b, "new"), 2);
	bench_pass(&b, 4000);
	assert_int_equal(count_image(&b, "new"), 4);
	assert_int_equal(bench_running(&b, "web", NULL), 4);
	assert_string_equal(update_state(&b), "completed");
	bench_done(&b);
}

static void a_parallelism_of_0_replaces_all_at_once(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, SERVICE("web", "old", 4, "") UPDATE(""));
	bench_update(&b, "web", SERVICE("web", "new", 4, "") UPDATE(",\"Parallelism\":0"));
	assert_int_equal(count_image(&b, "new"), 4);
	assert_int_equal(count_image(&b, "old"), 0);
	bench_done(&b);
}

static void scaling_alone_replaces_nothing(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, SERVICE("web", "old", 2, "") UPDATE(""));
	bench_update(&b, "web", SERVICE("web", "old", 5, "") UPDATE(""));
	assert_string_equal(update_state(&b), "none");
	assert_int_equal(bench_running(&b, "web", NULL), 5);
	assert_int_equal(bench_count(&b, "web"), 5);
	bench_done(&b);
}

static void a_failing_update_pauses_and_leaves_the_rest_alone(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	b.refuse = "bad";
	bench_create(&b, SERVICE("web", "old", 4, "") UPDATE(""));
	bench_update(&b, "web", SERVICE("web", "bad", 4, "") UPDATE(",\"Parallelism\":1"));
	bench_pass(&b, 5000);
	assert_string_equal(update_state(&b), "paused");
	assert_int_equal(count_image(&b, "old"), 3);
	bench_update(&b, "web", SERVICE("web", "good", 4, "") UPDATE(",\"Parallelism\":0"));
	bench_pass(&b, 5000);
	assert_string_equal(update_state(&b), "completed");
	assert_int_equal(bench_running(&b, "web", NULL), 4);
	bench_done(&b);
}

static void a_paused_update_does_not_go_on_by_way_of_restarts(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1);
	b.refuse = "bad";
	bench_create(&b, SERVICE("web", "old", 2, "") UPDATE(""));
	bench_update(&b, "web", SERVICE("web", "bad", 2, "") UPDATE(",\"Parallelism\":1"));
	bench_pass(&b, 1000);
	assert_string_equal(update_state(&b), "paused");
	bench_status(&b, 0, bench_one(&b, "web", TASK_RUNNING, TASK_RUNNING)->id, TASK_FAILED);
	bench_pass(&b, 1000);
	assert_int_equal(count_image(&b, "old"), 1);
	bench_done(&b);
}

static void a_failing_update_rolls_back_when_told_so(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	b.refuse = "bad";
	bench_create(&b, SERVICE("web", "old", 4, "") UPDATE(""));
	bench_update(&b, "web",
	             SERVICE("web", "bad", 4, "") UPDATE(",\"FailureAction\":\"rollback\""));
	bench_pass(&b, 10000);
	assert_string_equal(update_state(&b), "rollback_completed");
	assert_int_equal(count_image(&b, "old"), 4);
	assert_int_equal(bench_running(&b, "web", NULL), 4);
	bench_done(&b);
}

static void start_first_keeps_the_old_task_until_the_new_one_runs(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1);
	bench_create(&b, SERVICE("web", "old", 1, "") UPDATE(""));
	b.silent[0] = true; /* the agent does nothing for now */
	bench_update(&b, "web", SERVICE("web", "new", 1, "") UPDATE(",\"Order\":\"start-first\""));
	assert_int_equal(count_image(&b, "old"), 1);
	assert_int_equal(count_image(&b, "new"), 1);
	b.silent[0] = false;
	bench_pass(&b, 2000);
	assert_int_equal(count_image(&b, "old"), 0);
	assert_int_equal(bench_running(&b, "web", NULL), 1);
	bench_done(&b);
}

static void stop_first_waits_until_the_old_task_has_stopped(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1);
	bench_create(&b, SERVICE("web", "old", 1, "") UPDATE(""));
	b.silent[0] = true;
	bench_update(&b, "web", SERVICE("web", "new", 1, "") UPDATE(""));
	const struct task *old = bench_one(&b, "web", TASK_SHUTDOWN, TASK_RUNNING);
	assert_non_null(bench_any(&b, "web", TASK_READY, TASK_ASSIGNED));
	bench_status(&b, 0, old->id, TASK_SHUTDOWN);
	assert_non_null(bench_any(&b, "web", TASK_RUNNING, TASK_ASSIGNED));
	bench_done(&b);
}

static void an_update_goes_on_under_a_new_leader(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, SERVICE("web", "old", 4, "") UPDATE(""));
	bench_update(&b, "web",
	             SERVICE("web", "new", 4, "") UPDATE(",\"Parallelism\":1,\"Delay\":500000000"));
	bench_close(&b);
	bench_open(&b);
	for (size_t i = 0; i < 2; i++)
		bench_hello(&b, i);
	bench_pass(&b, 6000);
	assert_string_equal(update_state(&b), "completed");
	assert_int_equal(count_image(&b, "new"), 4);
	bench_done(&b);
}

static void the_user_can_go_back_to_the_spec_before(void **state)
{
	struct bench b;
	struct err err = ERR_INIT;
	struct service_change change = {.ref = "web", .rollback = true};

	(void)state;
	bench_init(&b, 1);
	bench_create(&b, SERVICE("web", "old", 1, "") UPDATE(""));
	change.version = service_find(b.c, "web", NULL)->version.index;
	assert_int_equal(service_update(b.c, b.now, &change, &err), -1);
	assert_string_equal(err.msg, "service web does not have a previous spec");
	bench_update(&b, "web", SERVICE("web", "new", 1, "") UPDATE(""));
	bench_pass(&b, 2000);
	change.version = service_find(b.c, "web", NULL)->version.index;
	assert_int_equal(service_update(b.c, b.now, &change, NULL), 0);
	bench_pass(&b, 7000);
	assert_string_equal(update_state(&b), "rollback_completed");
	assert_int_equal(count_image(&b, "old"), 1);
	bench_done(&b);
}

static const char *update_message(struct bench *b)
{
	const struct service *s = service_find(b->c, "web", NULL);

	return s && s->update_status ? s->update_status->message : "";
}

static void an_update_that_shall_continue_passes_over_what_fails(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	b.refuse = "bad";
	bench_create(&b, SERVICE("web", "old", 3, "") UPDATE(""));
	bench_update(&b, "web",
	             SERVICE("web", "bad", 3, "")
	                     UPDATE(",\"Parallelism\":1,\"FailureAction\":\"continue\""));
	bench_pass(&b, 8000);
	assert_int_equal(count_image(&b, "old"), 0);
	assert_string_equal(update_state(&b), "completed");
	bench_done(&b);
}

/* A task of the new spec, which runs, ends by itself. */
static void end_new(struct bench *b, enum task_state state)
{
	const struct task *t;

	for (size_t at = 0; (t = control_next_task(b->c, &at)) != NULL;)
		if (str_eq(t->spec.container.image, "new") && t->status.state == TASK_RUNNING) {
			bench_status(b, bench_node_of(t), t->id, state);
			return;
		}
	fail_msg("no new task runs");
}

static void failures_within_the_ratio_are_passed_over(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, SERVICE("web", "old", 4, "") UPDATE(""));
	bench_update(&b, "web",
	             SERVICE("web", "new", 4, "") UPDATE(
			     ",\"Parallelism\":1,\"Delay\":300000000,\"MaxFailureRatio\":0.25"));
	end_new(&b, TASK_FAILED);
	bench_pass(&b, 10000);
	assert_string_equal(update_state(&b), "completed");
	assert_int_equal(bench_running(&b, "web", NULL), 4);
	bench_done(&b);
}

static void a_task_that_ends_early_is_a_failure_whatever_its_exit_code(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, SERVICE("web", "old", 2, "") UPDATE(""));
	bench_update(&b, "web",
	             SERVICE("web", "new", 2, "") UPDATE(",\"FailureAction\":\"rollback\""));
	end_new(&b, TASK_COMPLETE);
	assert_string_equal(update_state(&b), "rollback_started");
	assert_non_null(strstr(update_message(&b), "update rolled back due to failure or early "
	                                           "termination of task "));
	bench_pass(&b, 10000);
	assert_string_equal(update_state(&b), "rollback_completed");
	assert_int_equal(count_image(&b, "old"), 2);
	bench_done(&b);
}

static void a_rollback_leaves_tasks_of_the_old_spec_alone(void **state)
{
	struct bench b;
	const struct task *t;
	size_t kept = 0;

	(void)state;
	bench_init(&b, 2);
	b.refuse = "bad";
	bench_create(&b, SERVICE("web", "old", 4, "") UPDATE(""));
	bench_update(&b, "web",
	             SERVICE("web", "bad", 4, "")
	                     UPDATE(",\"Order\":\"start-first\",\"FailureAction\":\"rollback\""));
	bench_pass(&b, 10000);
	assert_string_equal(update_state(&b), "rollback_completed");
	for (size_t at = 0; (t = control_next_task(b.c, &at)) != NULL;)
		kept += t->generation == 1 && t->desired == TASK_RUNNING &&
		        t->status.state == TASK_RUNNING;
	assert_int_equal(kept, 4); /* the first of each slot still runs */
	/* And the next update is one. */
	bench_update(&b, "web", SERVICE("web", "new", 4, "") UPDATE(",\"Parallelism\":0"));
	bench_pass(&b, 5000);
	assert_int_equal(count_image(&b, "new"), 4);
	bench_done(&b);
}

TESTING_MAIN(TEST(a_rollback_leaves_tasks_of_the_old_spec_alone),
             TEST(an_update_that_shall_continue_passes_over_what_fails),
             TEST(failures_within_the_ratio_are_passed_over),
             TEST(a_task_that_ends_early_is_a_failure_whatever_its_exit_code),
             TEST(an_update_replaces_one_at_a_time_and_completes),
             TEST(a_parallelism_of_0_replaces_all_at_once), TEST(scaling_alone_replaces_nothing),
             TEST(a_failing_update_pauses_and_leaves_the_rest_alone),
             TEST(a_paused_update_does_not_go_on_by_way_of_restarts),
             TEST(a_failing_update_rolls_back_when_told_so),
             TEST(start_first_keeps_the_old_task_until_the_new_one_runs),
             TEST(stop_first_waits_until_the_old_task_has_stopped),
             TEST(an_update_goes_on_under_a_new_leader),
             TEST(the_user_can_go_back_to_the_spec_before))
