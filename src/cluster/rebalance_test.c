/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/control_testing.h"

/* Tasks move to nodes that have fewer of them: which, how many at a time, and when not. */

#define MOVING(replicas, task, update)                                                             \
	"{\"Name\":\"web\",\"Labels\":{\"buoy.rebalance\":\"true\"},\"TaskTemplate\":{"            \
	"\"ContainerSpec\":{\"Image\":\"x\"},\"RestartPolicy\":{\"Delay\":0}" task                 \
	"},\"Mode\":{\"Replicated\":{\"Replicas\":" #replicas "}}" update "}"
#define START_FIRST ",\"UpdateConfig\":{\"Order\":\"start-first\"}"
#define BY_ZONE                                                                                    \
	",\"Placement\":{\"Preferences\":[{\"Spread\":{\"SpreadDescriptor\":"                      \
	"\"node.labels.disk\"}}]}"

static void join(struct bench *b)
{
	assert_int_equal(
		control_node_add(b->c, b->now, bench_nodes[b->nodes], "worker", "10.0.0.9", NULL),
		0);
	bench_hello(b, b->nodes++);
}

static void tasks_move_one_after_the_other_to_a_node_that_joins(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1);
	bench_create(&b, MOVING(6, "", START_FIRST));
	bench_pass(&b, 20000);
	assert_int_equal(bench_count(&b, "web"), 6); /* there is nowhere to go */
	join(&b);
	for (int i = 0; i < 600; i++) { /* none is missing at any time, and one moves at a time */
		bench_pass(&b, 100);
		assert_in_range(bench_running(&b, "web", NULL), 6, 7);
	}
	assert_int_equal(bench_running(&b, "web", "node0"), 3);
	assert_int_equal(bench_running(&b, "web", "node1"), 3);
	assert_int_equal(bench_count(&b, "web"), 9);
	bench_pass(&b, 60000); /* and that was all */
	assert_int_equal(bench_count(&b, "web"), 9);
	bench_done(&b);
}

static void one_that_is_stopped_first_is_not_there_twice(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1);
	bench_create(&b, MOVING(2, "", ""));
	join(&b);
	for (int i = 0; i < 200; i++) {
		bench_pass(&b, 100);
		assert_in_range(bench_running(&b, "web", NULL), 1, 2);
	}
	assert_int_equal(bench_running(&b, "web", "node0"), 1);
	assert_int_equal(bench_running(&b, "web", "node1"), 1);
	bench_done(&b);
}

static void nothing_moves_unasked_or_for_nothing(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1);
	bench_create(&b, SERVICE("stays", "x", 4, "") "}");
	bench_create(&b, MOVING(1, "", ""));
	join(&b);
	bench_pass(&b, 60000);
	assert_int_equal(bench_count(&b, "stays"), 4);
	assert_int_equal(bench_count(&b, "web"), 1);
	/* Two and one is as even as it gets. */
	bench_update(&b, "web", MOVING(3, "", ""));
	bench_pass(&b, 60000);
	assert_int_equal(bench_count(&b, "web"), 3);
	bench_done(&b);
}

static void constraints_and_limits_are_kept(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1);
	bench_create(&b,
	             MOVING(4, ",\"Placement\":{\"Constraints\":[\"node.hostname==host0\"]}", ""));
	join(&b);
	bench_pass(&b, 60000);
	assert_int_equal(bench_count(&b, "web"), 4);
	bench_update(&b, "web",
	             MOVING(4, ",\"Resources\":{\"Reservations\":{\"NanoCPUs\":1000000000}}", ""));
	bench_availability(&b, 1, "pause");
	bench_pass(&b, 60000);
	assert_int_equal(bench_running(&b, "web", NULL), 4);
	bench_done(&b);
}

static void label(struct bench *b, size_t node, const char *disk)
{
	char text[160];
	const struct node *n = control_node(b->c, bench_nodes[node]);
	struct node_change change = {.ref = bench_nodes[node], .version = n->version.index};

	snprintf(text, sizeof(text),
	         "{\"Role\":\"worker\",\"Availability\":\"active\",\"Labels\":{\"disk\":\"%s\"}}",
	         disk);
	change.text = text;
	change.len = strlen(text);
	assert_int_equal(node_update(b->c, b->now, &change, NULL), 0);
}

static void preferences_come_before_nodes(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	label(&b, 0, "a");
	label(&b, 1, "b");
	bench_create(&b, MOVING(4, BY_ZONE, ""));
	bench_pass(&b, 10000);
	join(&b); /* another of a: the two zones stay even, and a's two are shared */
	label(&b, 2, "a");
	bench_pass(&b, 60000);
	assert_int_equal(bench_running(&b, "web", "node0"), 1);
	assert_int_equal(bench_running(&b, "web", "node1"), 2);
	assert_int_equal(bench_running(&b, "web", "node2"), 1);
	assert_int_equal(bench_count(&b, "web"), 5);
	join(&b); /* and a third zone takes of the others what is too much */
	label(&b, 3, "c");
	bench_pass(&b, 60000);
	assert_int_equal(bench_running(&b, "web", NULL), 4);
	assert_int_equal(bench_running(&b, "web", "node3"), 1);
	assert_in_range(bench_count(&b, "web"), 6, 7);
	bench_done(&b);
}

TESTING_MAIN(TEST(tasks_move_one_after_the_other_to_a_node_that_joins),
             TEST(one_that_is_stopped_first_is_not_there_twice),
             TEST(nothing_moves_unasked_or_for_nothing), TEST(constraints_and_limits_are_kept),
             TEST(preferences_come_before_nodes))
