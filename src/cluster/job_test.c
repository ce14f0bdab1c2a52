/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/control_testing.h"

/* restart: more of the policy; task: more of the template. */
#define JOB(mode, restart, task)                                                                      \
	"{\"Name\":\"job\",\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":\"x\"},\"RestartPolicy\":{" \
	"\"Condition\":\"on-failure\",\"Delay\":1000000" restart "}" task "},\"Mode\":" mode "}"

#define AGAIN        ",\"ForceUpdate\":1"
#define THREE_BY_TWO "{\"ReplicatedJob\":{\"MaxConcurrent\":2,\"TotalCompletions\":3}}"

static size_t in_state(struct bench *b, enum task_state state)
{
	const struct task *t;
	size_t count = 0;

	for (size_t at = 0; (t = control_next_task(b->c, &at)) != NULL;)
		count += t->status.state == state;
	return count;
}

/* One that runs ends so. */
static void finish(struct bench *b, enum task_state state)
{
	const struct task *t = bench_one(b, "job", TASK_RUNNING, TASK_RUNNING);

	bench_status(b, bench_node_of(t), t->id, state);
	bench_pass(b, 200);
}

static void at_most_so_many_run_until_all_have_completed(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, JOB(THREE_BY_TWO, "", ""));
	assert_int_equal(bench_running(&b, "job", NULL), 2);
	finish(&b, TASK_COMPLETE);
	assert_int_equal(bench_running(&b, "job", NULL), 2);
	finish(&b, TASK_COMPLETE);
	assert_int_equal(bench_running(&b, "job", NULL), 1);
	finish(&b, TASK_COMPLETE);
	bench_pass(&b, 60000);
	assert_int_equal(bench_running(&b, "job", NULL), 0);
	assert_int_equal(in_state(&b, TASK_COMPLETE), 3);
	assert_int_equal(bench_count(&b, "job"), 3);

	/* Nor does a new leader begin again. */
	bench_close(&b);
	bench_open(&b);
	for (size_t i = 0; i < b.nodes; i++)
		bench_hello(&b, i);
	bench_pass(&b, 10000);
	assert_int_equal(bench_count(&b, "job"), 3);
	bench_done(&b);
}

static void what_failed_is_tried_again_as_often_as_the_policy_says(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1);
	bench_create(&b, JOB("{\"ReplicatedJob\":{}}", ",\"MaxAttempts\":2", ""));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(bench_running(&b, "job", NULL), 1);
		finish(&b, TASK_FAILED);
		bench_pass(&b, 6000);
	}
	assert_int_equal(bench_running(&b, "job", NULL), 0);
	assert_int_equal(in_state(&b, TASK_FAILED), 3);
	bench_done(&b);
}

static void a_forced_update_runs_it_again(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, JOB(THREE_BY_TWO, "", ""));
	finish(&b, TASK_COMPLETE);
	bench_update(&b, "job", JOB(THREE_BY_TWO, "", AGAIN));
	bench_pass(&b, 500);
	assert_int_equal(bench_running(&b, "job", NULL), 2);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(
			bench_one(&b, "job", TASK_RUNNING, TASK_RUNNING)->job_iteration->index, 1);
		finish(&b, TASK_COMPLETE);
	}
	bench_pass(&b, 10000);
	assert_int_equal(in_state(&b, TASK_COMPLETE), 4);
	assert_int_equal(in_state(&b, TASK_SHUTDOWN), 2); /* of the first run */
	assert_null(service_find(b.c, "job", NULL)->update_status);
	/* Another change does not. */
	bench_update(
		&b, "job",
		JOB("{\"ReplicatedJob\":{\"MaxConcurrent\":1,\"TotalCompletions\":3}}", "", AGAIN));
	bench_pass(&b, 10000);
	assert_int_equal(bench_running(&b, "job", NULL), 0);
	bench_done(&b);
}

static void a_global_job_runs_once_on_every_node(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, JOB("{\"GlobalJob\":{}}", "", ""));
	assert_int_equal(bench_running(&b, "job", bench_nodes[0]), 1);
	assert_int_equal(bench_running(&b, "job", bench_nodes[1]), 1);
	finish(&b, TASK_COMPLETE);
	finish(&b, TASK_COMPLETE);
	bench_pass(&b, 10000);
	assert_int_equal(in_state(&b, TASK_COMPLETE), 2);
	/* One that joins later has it to do as well. */
	assert_int_equal(control_node_add(b.c, b.now, bench_nodes[2], "worker", "10.0.0.9", NULL),
	                 0);
	b.nodes = 3;
	bench_hello(&b, 2);
	bench_pass(&b, 500);
	assert_int_equal(bench_running(&b, "job", bench_nodes[2]), 1);
	bench_update(&b, "job", JOB("{\"GlobalJob\":{}}", "", AGAIN));
	bench_pass(&b, 500);
	assert_int_equal(bench_running(&b, "job", NULL), 3);
	bench_done(&b);
}

static void a_node_that_dies_gives_its_share_to_another(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, JOB("{\"ReplicatedJob\":{\"MaxConcurrent\":2,\"TotalCompletions\":2}}", "",
	                     ""));
	b.silent[1] = true;
	bench_pass(&b, 6000);
	assert_int_equal(bench_running(&b, "job", bench_nodes[0]), 2);
	bench_done(&b);
}

TESTING_MAIN(TEST(at_most_so_many_run_until_all_have_completed),
             TEST(what_failed_is_tried_again_as_often_as_the_policy_says),
             TEST(a_forced_update_runs_it_again), TEST(a_global_job_runs_once_on_every_node),
             TEST(a_node_that_dies_gives_its_share_to_another))
