/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/control_testing.h"
#include "cluster/endpoints.h"

static void replicas_are_spread_over_the_nodes(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 3);
	bench_create(&b, SERVICE("web", "nginx", 6, "") "}");
	assert_int_equal(bench_running(&b, "web", NULL), 6);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(bench_running(&b, "web", bench_nodes[i]), 2);
	bench_done(&b);
}

static void a_dead_replica_is_followed_at_once_by_a_new_task_in_its_slot(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, SERVICE("web", "nginx", 2, "") "}");
	const struct task *t = bench_one(&b, "web", TASK_RUNNING, TASK_RUNNING);
	int64_t slot = t->slot;
	char id[32];
	snprintf(id, sizeof(id), "%s", t->id);

	bench_status(&b, bench_node_of(t), id, TASK_FAILED);
	const struct task *next = bench_one(&b, "web", TASK_RUNNING, TASK_ASSIGNED);
	assert_non_null(next);
	assert_int_equal(next->slot, slot);
	assert_string_not_equal(next->id, id);
	assert_int_equal(control_task(b.c, id)->desired, TASK_SHUTDOWN);
	bench_obey(&b);
	assert_int_equal(bench_running(&b, "web", NULL), 2);
	bench_done(&b);
}

static void the_restart_delay_is_kept(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1);
	bench_create(&b,
	             "{\"Name\":\"web\",\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":\"x\"}}}");
	const struct task *t = bench_one(&b, "web", TASK_RUNNING, TASK_RUNNING);
	bench_status(&b, 0, t->id, TASK_COMPLETE);
	bench_pass(&b, 4900);
	assert_int_equal(bench_running(&b, "web", NULL), 0);
	assert_non_null(bench_any(&b, "web", TASK_READY, TASK_ASSIGNED));
	bench_pass(&b, 200);
	assert_int_equal(bench_running(&b, "web", NULL), 1);
	bench_done(&b);
}

static void a_policy_of_none_lets_an_ended_task_rest(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1);
	bench_create(&b, "{\"Name\":\"job\",\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":\"x\"},"
	                 "\"RestartPolicy\":{\"Condition\":\"none\"}}}");
	bench_status(&b, 0, bench_one(&b, "job", TASK_RUNNING, TASK_RUNNING)->id, TASK_COMPLETE);
	bench_pass(&b, 10000);
	assert_int_equal(bench_count(&b, "job"), 1);
	assert_non_null(bench_any(&b, "job", TASK_SHUTDOWN, TASK_COMPLETE));
	bench_done(&b);
}

static void attempts_end(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1);
	b.refuse = "bad";
	bench_create(&b,
	             "{\"Name\":\"web\",\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":\"bad\"},"
	             "\"RestartPolicy\":{\"Delay\":0,\"MaxAttempts\":3}}}");
	bench_pass(&b, 30000);
	assert_int_equal(bench_count(&b, "web"), 4); /* the first, and three more */
	bench_done(&b);
}

static void a_task_that_dies_at_once_does_not_spin(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1);
	b.refuse = "bad";
	bench_create(&b, SERVICE("web", "bad", 1, "") "}");
	int64_t before = control_revision(b.c);
	bench_pass(&b, 20000);
	assert_true(control_revision(b.c) - before < 80);
	assert_in_range(bench_count(&b, "web"), 5, 7); /* history is kept short */
	bench_done(&b);
}

static void a_silent_node_is_dead_after_three_beats_and_its_tasks_move(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, SERVICE("web", "nginx", 4, "") "}");
	bench_pass(&b, 2000);
	b.silent[1] = true;
	bench_pass(&b, 2500);
	assert_int_equal(bench_running(&b, "web", "node1"), 2);
	bench_pass(&b, 1000);
	assert_string_equal(control_node(b.c, "node1")->status.state, "down");
	assert_int_equal(bench_running(&b, "web", "node0"), 4);
	assert_non_null(bench_any(&b, "web", TASK_SHUTDOWN, TASK_ORPHANED));
	bench_done(&b);
}

/* Whether connections to the service go to the node. */
static bool in_rotation(const struct bench *b, const char *node)
{
	auto_buf struct buf table = BUF_INIT(1 << 20);
	char key[64];

	assert_int_equal(endpoints_write(b->c, 1, &table, NULL), 0);
	snprintf(key, sizeof(key), "\"NodeID\":\"%s\"", node);
	return strstr(buf_str(&table), key) != NULL;
}

static void a_node_that_falls_silent_leaves_the_rotation_before_it_is_dead(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b,
	             SERVICE("web", "nginx", 4, "") ",\"EndpointSpec\":{\"Ports\":[{\"TargetPort\":"
	                                            "80}]}}");
	bench_pass(&b, 2000);
	assert_true(in_rotation(&b, "node0") && in_rotation(&b, "node1"));
	uint64_t before = control_reach(b.c);
	b.silent[1] = true;
	bench_pass(&b, 2100);
	assert_true(in_rotation(&b, "node0") && !in_rotation(&b, "node1"));
	assert_true(control_node_is_alive(b.c, "node1"));
	assert_int_equal(control_reach(b.c), before + 1);
	b.silent[1] = false;
	bench_pass(&b, 1000);
	assert_true(in_rotation(&b, "node1"));
	assert_int_equal(bench_running(&b, "web", "node1"), 2); /* nothing was moved */
	bench_done(&b);
}

static void a_broken_stream_takes_a_node_out_unless_none_would_be_left(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b,
	             SERVICE("web", "nginx", 4, "") ",\"EndpointSpec\":{\"Ports\":[{\"TargetPort\":"
	                                            "80}]}}");
	bench_pass(&b, 2000);
	control_agent_gone(b.c, "node1", b.session[1]);
	assert_true(in_rotation(&b, "node0") && !in_rotation(&b, "node1"));
	control_agent_gone(b.c, "node0", b.session[0]);
	assert_true(in_rotation(&b, "node0") && in_rotation(&b, "node1"));
	bench_hello(&b, 0);
	assert_true(in_rotation(&b, "node0") && !in_rotation(&b, "node1"));
	bench_done(&b);
}

static void a_returning_node_is_told_to_stop_what_was_replaced(void **state)
{
	struct bench b;
	struct control_message *m;
	bool told = false;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, SERVICE("web", "nginx", 2, "") "}");
	b.silent[1] = true;
	bench_pass(&b, 5000);
	bench_forget_messages(&b);
	bench_hello(&b, 1);
	while ((m = control_take_message(b.c)) != NULL) {
		told = told || (str_eq(m->node_id, "node1") && strstr(m->text, "complete") &&
		                strstr(m->text, "\"DesiredState\":\"shutdown\""));
		control_message_free(m);
	}
	assert_true(told);
	assert_string_equal(control_node(b.c, "node1")->status.state, "ready");
	assert_int_equal(bench_running(&b, "web", "node0"), 2);
	bench_done(&b);
}

static void a_new_leader_goes_on_and_calls_nobody_dead_for_a_grace(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 3);
	bench_create(&b, SERVICE("web", "nginx", 3, "") "}");
	bench_close(&b);
	b.now.mono_ms += 60000;
	bench_open(&b);
	assert_int_equal(control_tick(b.c, b.now, NULL), 0);
	assert_int_equal(bench_running(&b, "web", NULL), 3);
	assert_int_equal(bench_count(&b, "web"), 3);
	assert_true(control_node_is_alive(b.c, "node1"));
	bench_done(&b);
}

static void the_leaders_own_absence_kills_nobody(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 3);
	bench_create(&b, SERVICE("web", "nginx", 3, "") "}");
	bench_pass(&b, 2000);
	b.now.mono_ms += 30000;
	assert_int_equal(control_tick(b.c, b.now, NULL), 0);
	assert_int_equal(bench_running(&b, "web", NULL), 3);
	bench_done(&b);
}

static void an_unplaceable_task_says_why_and_is_placed_when_it_can_be(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 3);
	bench_availability(&b, 0, "active"); /* and gets a label */
	bench_create(&b, SERVICE("big", "x", 1,
	                         ",\"Placement\":{\"Constraints\":[\"node.labels.disk==ssd\"]},"
	                         "\"Resources\":{\"Reservations\":{\"NanoCPUs\":5000000000}}") "}");
	const struct task *t = bench_one(&b, "big", TASK_RUNNING, TASK_PENDING);
	assert_non_null(t);
	assert_string_equal(t->status.error,
	                    "no suitable node (scheduling constraints not satisfied on 2 nodes; "
	                    "insufficient resources on 1 node)");
	bench_update(&b, "big",
	             SERVICE("big", "x", 1,
	                     ",\"Placement\":{\"Constraints\":[\"node.labels.disk==ssd\"]}") "}");
	bench_pass(&b, 200);
	assert_int_equal(bench_running(&b, "big", "node0"), 1);
	bench_done(&b);
}

static void reservations_are_never_exceeded(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b,
	             SERVICE("big", "x", 6,
	                     ",\"Resources\":{\"Reservations\":{\"NanoCPUs\":2000000000}}") "}");
	assert_int_equal(bench_running(&b, "big", NULL), 4);
	bench_create(&b, SERVICE("small", "x", 1, "") "}");
	assert_int_equal(bench_running(&b, "small", NULL), 1);
	bench_done(&b);
}

static void a_drained_node_is_emptied_and_gets_nothing(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, SERVICE("web", "nginx", 4, "") "}");
	bench_availability(&b, 1, "drain");
	bench_pass(&b, 1000);
	assert_int_equal(bench_running(&b, "web", "node0"), 4);
	assert_int_equal(bench_running(&b, "web", "node1"), 0);
	bench_availability(&b, 1, "active");
	bench_pass(&b, 1000);
	assert_int_equal(bench_running(&b, "web", "node0"), 4); /* no needless move */
	bench_done(&b);
}

static void a_paused_node_keeps_what_it_has(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, SERVICE("web", "nginx", 4, "") "}");
	bench_availability(&b, 1, "pause");
	bench_update(&b, "web", SERVICE("web", "nginx", 6, "") "}");
	assert_int_equal(bench_running(&b, "web", "node0"), 4);
	assert_int_equal(bench_running(&b, "web", "node1"), 2);
	bench_done(&b);
}

static void a_global_service_runs_once_on_every_node(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 3);
	bench_create(&b, "{\"Name\":\"log\",\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":\"x\"},"
	                 "\"RestartPolicy\":{\"Delay\":0}},\"Mode\":{\"Global\":{}}}");
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(bench_running(&b, "log", bench_nodes[i]), 1);
	b.silent[2] = true;
	bench_pass(&b, 5000);
	assert_int_equal(bench_running(&b, "log", NULL), 2);
	b.silent[2] = false;
	bench_hello(&b, 2);
	bench_obey(&b);
	assert_int_equal(bench_running(&b, "log", "node2"), 1);
	bench_availability(&b, 0, "drain");
	assert_int_equal(bench_running(&b, "log", NULL), 2);
	bench_done(&b);
}

static void scaling_down_takes_from_the_crowded_node_and_leaves_nothing_behind(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, SERVICE("web", "nginx", 6, "") "}");
	bench_update(&b, "web", SERVICE("web", "nginx", 2, "") "}");
	assert_int_equal(bench_running(&b, "web", "node0"), 1);
	assert_int_equal(bench_running(&b, "web", "node1"), 1);
	assert_int_equal(bench_count(&b, "web"), 2);
	bench_done(&b);
}

static void a_removed_service_takes_its_tasks_along(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, SERVICE("web", "nginx", 3, "") "}");
	assert_int_equal(service_remove(b.c, b.now, "web", NULL), 0);
	assert_int_equal(bench_count(&b, "web"), 3);
	bench_obey(&b);
	bench_pass(&b, 200);
	assert_int_equal(bench_count(&b, "web"), 0);
	bench_done(&b);
}

static void a_node_speaks_only_of_its_own_tasks_and_states_never_fall(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, SERVICE("web", "nginx", 1, "") "}");
	const struct task *t = bench_one(&b, "web", TASK_RUNNING, TASK_RUNNING);
	size_t node = bench_node_of(t);
	bench_status(&b, 1 - node, t->id, TASK_FAILED);
	assert_int_equal(bench_running(&b, "web", NULL), 1);
	bench_status(&b, node, t->id, TASK_STARTING);
	assert_int_equal(bench_running(&b, "web", NULL), 1);
	bench_status(&b, node, t->id, TASK_ORPHANED);
	assert_int_equal(bench_running(&b, "web", NULL), 1);
	bench_done(&b);
}

static void a_removed_node_is_forgotten_and_its_tasks_run_elsewhere(void **state)
{
	struct err err = ERR_INIT;
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, SERVICE("web", "nginx", 2, "") "}");
	assert_int_equal(node_remove(b.c, b.now, "host1", false, &err), -1);
	assert_int_equal(err.kind, ERR_CONFLICT);
	assert_int_equal(node_remove(b.c, b.now, "host1", true, NULL), 0);
	b.silent[1] = true;
	bench_obey(&b);
	assert_int_equal(bench_running(&b, "web", "node0"), 2);

	struct proto_hello hello = {.protocol = PROTO_VERSION, .node_id = (char *)"node1"};
	int64_t session;
	assert_int_equal(control_agent_hello(b.c, b.now, &hello, &session, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	bench_done(&b);
}

static void a_replaced_leader_can_do_nothing(void **state)
{
	struct err err = ERR_INIT;
	struct bench b;
	char id[32];
	const char *text = SERVICE("web", "nginx", 1, "") "}";

	(void)state;
	bench_init(&b, 1);
	auto_type(store) newer = store_memory_open(b.disk, NULL);
	(void)newer;
	bench_forget_messages(&b);
	assert_int_equal(service_create(b.c, b.now, text, strlen(text), id, &err), -1);
	assert_true(store_is_stale(&err));
	assert_null(control_take_message(b.c));
	bench_done(&b);
}

static void the_same_holds_over_sqlite_across_a_restart(void **state)
{
	const char *text = SERVICE("web", "nginx", 3, "") "}";
	struct control_time now = {.mono_ms = 1000, .wall_ns = 1700000000000000000};
	struct err err = ERR_INIT;
	char dir[] = "/tmp/buoy-control-XXXXXX", id[32];

	(void)state;
	assert_non_null(mkdtemp(dir));
	int dir_fd = open(dir, O_DIRECTORY | O_CLOEXEC);
	for (int life = 0; life < 2; life++) {
		auto_type(store) store = store_sqlite_open(dir_fd, "cluster.db", &err);
		struct control_config config = {.store = store, .seed = {1, (uint64_t)life}};
		auto_type(control) c = control_open(&config, now, &err);
		size_t at = 0, count = 0;

		assert_non_null(c);
		if (life == 0)
			assert_int_equal(service_create(c, now, text, strlen(text), id, &err), 0);
		assert_non_null(service_find(c, "web", NULL));
		while (control_next_task(c, &at))
			count++;
		assert_int_equal(count, 3);
	}
	close(dir_fd);
	testing_remove_tree(dir);
}

TESTING_MAIN(TEST(replicas_are_spread_over_the_nodes),
             TEST(a_dead_replica_is_followed_at_once_by_a_new_task_in_its_slot),
             TEST(the_restart_delay_is_kept), TEST(a_policy_of_none_lets_an_ended_task_rest),
             TEST(attempts_end), TEST(a_task_that_dies_at_once_does_not_spin),
             TEST(a_silent_node_is_dead_after_three_beats_and_its_tasks_move),
             TEST(a_node_that_falls_silent_leaves_the_rotation_before_it_is_dead),
             TEST(a_broken_stream_takes_a_node_out_unless_none_would_be_left),
             TEST(a_returning_node_is_told_to_stop_what_was_replaced),
             TEST(a_new_leader_goes_on_and_calls_nobody_dead_for_a_grace),
             TEST(the_leaders_own_absence_kills_nobody),
             TEST(an_unplaceable_task_says_why_and_is_placed_when_it_can_be),
             TEST(reservations_are_never_exceeded),
             TEST(a_drained_node_is_emptied_and_gets_nothing),
             TEST(a_paused_node_keeps_what_it_has), TEST(a_global_service_runs_once_on_every_node),
             TEST(scaling_down_takes_from_the_crowded_node_and_leaves_nothing_behind),
             TEST(a_removed_service_takes_its_tasks_along),
             TEST(a_node_speaks_only_of_its_own_tasks_and_states_never_fall),
             TEST(a_removed_node_is_forgotten_and_its_tasks_run_elsewhere),
             TEST(a_replaced_leader_can_do_nothing),
             TEST(the_same_holds_over_sqlite_across_a_restart))
