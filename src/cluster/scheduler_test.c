/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/control_testing.h"

/* The scheduler inside the control plane: who waits, who is woken, who goes where. */

#define RESERVE(cpus) ",\"Resources\":{\"Reservations\":{\"NanoCPUs\":" #cpus "000000000}}"
#define HOST_PORT(mode)                                                                            \
	",\"EndpointSpec\":{\"Ports\":[{\"Protocol\":\"tcp\",\"TargetPort\":80,"                   \
	"\"PublishedPort\":8080,\"PublishMode\":\"" mode "\"}]}"

static void label_node(struct bench *b, size_t node, const char *zone, const char *rack)
{
	char text[200];
	const struct node *n = control_node(b->c, bench_nodes[node]);
	struct node_change change = {.ref = bench_nodes[node], .version = n->version.index};

	snprintf(text, sizeof(text),
	         "{\"Role\":\"worker\",\"Availability\":\"active\",\"Labels\":{\"zone\":\"%s\","
	         "\"rack\":\"%s\"}}",
	         zone, rack);
	change.text = text;
	change.len = strlen(text);
	assert_int_equal(node_update(b->c, b->now, &change, NULL), 0);
}

static const char *error_of(struct bench *b, const char *name)
{
	const struct task *t = bench_any(b, name, TASK_READY, TASK_PENDING);

	if (!t)
		t = bench_any(b, name, TASK_RUNNING, TASK_PENDING);
	return t ? t->status.error : NULL;
}

static void waiting_tasks_get_the_room_that_others_leave(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, SERVICE("old", "x", 2, RESERVE(3)) "}");
	bench_create(&b, SERVICE("new", "x", 3, RESERVE(3)) "}");
	bench_pass(&b, 1000);
	assert_int_equal(bench_running(&b, "new", NULL), 0);
	assert_string_equal(error_of(&b, "new"),
	                    "no suitable node (insufficient resources on 2 nodes)");
	bench_update(&b, "old", SERVICE("old", "x", 1, RESERVE(3)) "}");
	bench_pass(&b, 1000);
	assert_int_equal(bench_running(&b, "new", NULL), 1);
	bench_update(&b, "old", SERVICE("old", "x", 0, RESERVE(3)) "}");
	bench_pass(&b, 1000);
	assert_int_equal(bench_running(&b, "new", NULL), 2);
	assert_non_null(error_of(&b, "new")); /* the third waits on */
	bench_done(&b);
}

static void waiting_tasks_see_new_labels_and_lost_nodes(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, SERVICE("web", "x", 1,
	                         ",\"Placement\":{\"Constraints\":[\"node.labels.zone==a\"]}") "}");
	bench_pass(&b, 300);
	assert_string_equal(error_of(&b, "web"),
	                    "no suitable node (scheduling constraints not satisfied on 2 nodes)");
	bench_availability(&b, 1, "drain");
	bench_pass(&b, 300);
	assert_string_equal(error_of(&b, "web"),
	                    "no suitable node (not available for new tasks on 1 node; scheduling "
	                    "constraints not satisfied on 1 node)");
	label_node(&b, 0, "a", "1");
	bench_pass(&b, 300);
	assert_int_equal(bench_running(&b, "web", "node0"), 1);
	bench_done(&b);
}

static void waiting_tasks_get_a_port_that_others_leave(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, SERVICE("old", "x", 1, "") HOST_PORT("host") "}");
	bench_create(&b, SERVICE("new", "x", 2, "") HOST_PORT("host") "}");
	bench_pass(&b, 1000);
	assert_int_equal(bench_running(&b, "new", NULL), 1); /* one per node, old's is taken */
	bench_update(&b, "old", SERVICE("old", "x", 0, "") HOST_PORT("host") "}");
	bench_pass(&b, 1000);
	assert_int_equal(bench_running(&b, "new", "node0"), 1);
	assert_int_equal(bench_running(&b, "new", "node1"), 1);
	bench_done(&b);
}

static void max_replicas_leave_room_when_one_goes(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1);
	bench_create(&b, SERVICE("web", "x", 3, ",\"Placement\":{\"MaxReplicas\":2}") "}");
	bench_pass(&b, 1000);
	assert_int_equal(bench_running(&b, "web", NULL), 2);
	assert_string_equal(error_of(&b, "web"),
	                    "no suitable node (max replicas per node limit exceed on 1 node)");
	bench_update(&b, "web", SERVICE("web", "y", 2, ",\"Placement\":{\"MaxReplicas\":2}") "}");
	bench_pass(&b, 20000);
	assert_int_equal(bench_running(&b, "web", NULL), 2);
	assert_null(error_of(&b, "web"));
	bench_done(&b);
}

static void all_preferences_count(void **state)
{
	struct bench b;
	const char *by = ",\"Placement\":{\"Preferences\":[{\"Spread\":{\"SpreadDescriptor\":"
			 "\"node.labels.zone\"}},{\"Spread\":{\"SpreadDescriptor\":"
			 "\"node.labels.rack\"}}]}";
	char text[600];

	(void)state;
	bench_init(&b, 4);
	label_node(&b, 0, "a", "1"); /* alone in its zone */
	label_node(&b, 1, "b", "1"); /* alone in its rack */
	label_node(&b, 2, "b", "2");
	label_node(&b, 3, "b", "2");
	snprintf(text, sizeof(text), SERVICE("web", "x", 8, "%s") "}", by);
	bench_create(&b, text);
	bench_pass(&b, 1000);
	assert_int_equal(bench_running(&b, "web", "node0"), 4);
	assert_int_equal(bench_running(&b, "web", "node1"), 2);
	assert_int_equal(bench_running(&b, "web", "node2"), 1);
	assert_int_equal(bench_running(&b, "web", "node3"), 1);
	bench_done(&b);
}

static void global_tasks_wait_each_for_its_own_node(void **state)
{
	struct bench b;
	const char *text =
		"{\"Name\":\"all\",\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":\"x\"}" RESERVE(
			2) "},\"Mode\":{\"Global\":{}}}";

	(void)state;
	bench_init(&b, 3);
	bench_create(&b, SERVICE("big", "x", 1, RESERVE(3)) "}");
	bench_create(&b, text);
	bench_pass(&b, 1000);
	assert_int_equal(bench_running(&b, "all", NULL), 2);
	assert_string_equal(error_of(&b, "all"),
	                    "no suitable node (insufficient resources on 1 node)");
	bench_update(&b, "big", SERVICE("big", "x", 0, RESERVE(3)) "}");
	bench_pass(&b, 1000);
	assert_int_equal(bench_running(&b, "all", NULL), 3);
	bench_done(&b);
}

static void a_new_leader_places_what_waited(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1);
	bench_create(&b, SERVICE("web", "x", 2, RESERVE(3)) "}");
	bench_pass(&b, 500);
	assert_int_equal(bench_running(&b, "web", NULL), 1);
	bench_close(&b);
	bench_open(&b);
	bench_hello(&b, 0);
	assert_int_equal(control_node_add(b.c, b.now, bench_nodes[1], "worker", "10.0.0.9", NULL),
	                 0);
	b.nodes = 2;
	bench_hello(&b, 1);
	bench_pass(&b, 1000);
	assert_int_equal(bench_running(&b, "web", "node1"), 1);
	bench_done(&b);
}

TESTING_MAIN(TEST(waiting_tasks_get_the_room_that_others_leave),
             TEST(waiting_tasks_see_new_labels_and_lost_nodes),
             TEST(waiting_tasks_get_a_port_that_others_leave),
             TEST(max_replicas_leave_room_when_one_goes), TEST(all_preferences_count),
             TEST(global_tasks_wait_each_for_its_own_node), TEST(a_new_leader_places_what_waited))
