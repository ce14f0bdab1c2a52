/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/control_testing.h"
#include "cluster/fits.h"

/* Tasks of higher priority get room where nothing fits: from whom, how many, and when. Nodes have four CPUs. */

#define RESERVE(milli) ",\"Resources\":{\"Reservations\":{\"NanoCPUs\":" #milli "000000}}"
#define SERVICE_OF(name, priority, replicas, milli)                                                \
	"{\"Name\":\"" name "\",\"Labels\":{\"buoy.priority\":\"" #priority                        \
	"\"},\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":\"x\"},\"RestartPolicy\":{\"Delay\":"  \
	"0}" RESERVE(milli) "},\"Mode\":{\"Replicated\":{\"Replicas\":" #replicas "}}}"

static size_t count_displaced(struct bench *b, const char *name)
{
	const struct task *t;
	size_t count = 0;

	for (size_t at = 0; (t = control_next_task(b->c, &at)) != NULL;)
		count += str_eq(t->service_name, name) && t->displaced;
	return count;
}

/* A request whose outcome no agent has heard of yet. */
static void create_only(struct bench *b, const char *text)
{
	char id[32];

	assert_int_equal(service_create(b->c, b->now, text, strlen(text), id, NULL), 0);
}

/* Do the messages that wait name the task? Takes them. */
static bool is_told_of(struct bench *b, const char *id)
{
	struct control_message *m;
	bool told = false;

	while ((m = control_take_message(b->c)) != NULL) {
		told = told || strstr(m->text, id);
		control_message_free(m);
	}
	return told;
}

static void the_lowest_priority_makes_room_and_says_for_whom(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, SERVICE_OF("mid", 5, 1, 3000));
	bench_create(&b, SERVICE_OF("low", -5, 1, 3000));
	bench_create(&b, SERVICE_OF("high", 10, 1, 2000));
	bench_pass(&b, 1000);
	assert_int_equal(bench_running(&b, "high", NULL), 1);
	assert_int_equal(bench_running(&b, "mid", NULL), 1);
	assert_int_equal(bench_running(&b, "low", NULL), 0);
	assert_string_equal(bench_one(&b, "low", TASK_SHUTDOWN, TASK_SHUTDOWN)->status.error,
	                    "made room for high.1 of priority 10");
	/* What was sent away waits, and gets its place back. */
	assert_non_null(bench_any(&b, "low", TASK_RUNNING, TASK_PENDING));
	bench_update(&b, "high", SERVICE_OF("high", 10, 0, 2000));
	bench_pass(&b, 1000);
	assert_int_equal(bench_running(&b, "low", NULL), 1);
	bench_done(&b);
}

static void equals_and_those_who_reserve_nothing_stay(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1);
	bench_create(&b, SERVICE_OF("same", 10, 1, 3000));
	bench_create(&b, SERVICE("none", "x", 2, "") "}");
	bench_create(&b, SERVICE_OF("high", 10, 1, 2000));
	bench_pass(&b, 15000);
	assert_int_equal(bench_running(&b, "high", NULL), 0);
	assert_int_equal(bench_running(&b, "same", NULL), 1);
	assert_int_equal(bench_running(&b, "none", NULL), 2);
	/* And nobody goes in vain: five CPUs are not to be had. */
	bench_update(&b, "high", SERVICE_OF("high", 20, 1, 5000));
	bench_pass(&b, 15000);
	assert_int_equal(bench_running(&b, "same", NULL), 1);
	assert_int_equal(count_displaced(&b, "same"), 0);
	/* A higher priority is enough, without another spec of the task. */
	bench_update(&b, "high", SERVICE_OF("high", 20, 1, 2000));
	bench_pass(&b, 1000);
	assert_int_equal(bench_running(&b, "high", NULL), 1);
	assert_int_equal(count_displaced(&b, "same"), 1);
	bench_done(&b);
}

static void no_more_go_than_must(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1);
	bench_create(&b, SERVICE_OF("small", 0, 4, 500));
	bench_create(&b, SERVICE_OF("large", 0, 1, 1500));
	bench_create(&b, SERVICE_OF("high", 1, 1, 2000)); /* half a CPU is free */
	bench_pass(&b, 1000);
	assert_int_equal(bench_running(&b, "high", NULL), 1);
	assert_int_equal(bench_running(&b, "small", NULL), 4);
	assert_int_equal(count_displaced(&b, "large"), 1);
	bench_done(&b);
}

static void nobody_is_told_before_the_room_is_there(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1);
	bench_create(&b, SERVICE_OF("low", 0, 2, 2000));
	bench_forget_messages(&b);
	create_only(&b, SERVICE_OF("high", 10, 1, 4000));
	const struct task *high = bench_one(&b, "high", TASK_RUNNING, TASK_ASSIGNED);
	char id[32];
	snprintf(id, sizeof(id), "%s", high->id);
	assert_true(high->held);
	assert_false(is_told_of(&b, id));

	/* Nor by another leader, with everything or with one of two gone. */
	bench_close(&b);
	bench_open(&b);
	bench_hello(&b, 0);
	assert_false(is_told_of(&b, id));
	bench_status(&b, 0, bench_one(&b, "low", TASK_SHUTDOWN, TASK_RUNNING)->id, TASK_SHUTDOWN);
	assert_false(is_told_of(&b, id));
	assert_int_equal(bench_running(&b, "low", NULL), 0);
	bench_status(&b, 0, bench_one(&b, "low", TASK_SHUTDOWN, TASK_RUNNING)->id, TASK_SHUTDOWN);
	assert_true(is_told_of(&b, id));
	assert_false(control_task(b.c, id)->held);
	bench_pass(&b, 1000);
	assert_int_equal(bench_running(&b, "high", NULL), 1);
	bench_done(&b);
}

static void one_that_is_not_wanted_any_more_while_it_is_held_goes(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1);
	bench_create(&b, SERVICE_OF("low", 0, 1, 3000));
	create_only(&b, SERVICE_OF("high", 10, 1, 4000));
	assert_int_equal(service_remove(b.c, b.now, "high", NULL), 0);
	bench_pass(&b, 1000);
	assert_int_equal(bench_count(&b, "high"), 0);
	assert_int_equal(bench_running(&b, "low", NULL), 1);
	bench_done(&b);
}

static void so_many_go_at_a_time(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, SERVICE_OF("low", 0, 16, 500));
	bench_create(&b, SERVICE_OF("high", 10, 2, 4000));
	bench_pass(&b, 1000);
	assert_int_equal(bench_running(&b, "high", NULL), 1);
	assert_int_equal(bench_running(&b, "low", NULL), 8);
	const struct task *waits = bench_one(&b, "high", TASK_RUNNING, TASK_PENDING);
	assert_string_equal(waits->status.error,
	                    "no suitable node (insufficient resources on 2 nodes); more tasks of "
	                    "lower priority may make room in a moment");
	bench_pass(&b, 10000);
	assert_int_equal(bench_running(&b, "high", NULL), 2);
	assert_int_equal(bench_running(&b, "low", NULL), 0);
	bench_done(&b);
}

static void a_global_task_gets_room_on_its_own_node(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, SERVICE_OF("low", 0, 2, 3000));
	bench_create(&b, "{\"Name\":\"all\",\"Labels\":{\"buoy.priority\":\"1\"},\"TaskTemplate\":{"
	                 "\"ContainerSpec\":{\"Image\":\"x\"}" RESERVE(2000) "},\"Mode\":{"
	                                                                     "\"Global\":{}}}");
	bench_pass(&b, 1000);
	assert_int_equal(bench_running(&b, "all", "node0"), 1);
	assert_int_equal(bench_running(&b, "all", "node1"), 1);
	assert_int_equal(bench_running(&b, "low", NULL), 0);
	bench_done(&b);
}

static void a_priority_is_a_number(void **state)
{
	struct bench b;
	struct err err = ERR_INIT;
	const char *bad = "{\"Name\":\"a\",\"Labels\":{\"buoy.priority\":\"high\"},"
			  "\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":\"x\"}}}";
	char id[32];

	(void)state;
	bench_init(&b, 1);
	assert_int_equal(service_create(b.c, b.now, bad, strlen(bad), id, &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);
	assert_non_null(strstr(err.msg, "buoy.priority"));
	assert_non_null(strstr(err.msg, "high"));
	bench_done(&b);
}

/* ---- whatever comes ---- */

static uint32_t chance(uint64_t *seed, uint32_t below)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*seed >> 33) % below;
}

/* What a node was told to run never exceeds what it has. */
static void check_loads(struct bench *b)
{
	struct model_resources used[4] = {0};
	const struct task *t;

	for (size_t at = 0; (t = control_next_task(b->c, &at)) != NULL;)
		if (t->status.state >= TASK_ASSIGNED && t->status.state <= TASK_RUNNING && !t->held)
			used[bench_node_of(t)].nano_cpus +=
				t->spec.resources.reservations.nano_cpus;
	for (size_t i = 0; i < b->nodes; i++)
		assert_true(used[i].nano_cpus <= 4000000000);
}

/* At rest nobody waits for whom those of lower priority could make room. */
static void check_rest(struct bench *b)
{
	const struct task *t, *u;

	for (size_t at = 0; (t = control_next_task(b->c, &at)) != NULL;) {
		int64_t room[4] = {4000000000, 4000000000, 4000000000, 4000000000};
		int64_t mine = control_service(b->c, t->service_id)->spec.priority;

		if (t->desired > TASK_RUNNING)
			continue;
		assert_false(t->held);
		if (t->status.state >= TASK_ASSIGNED)
			continue;
		for (size_t k = 0; (u = control_next_task(b->c, &k)) != NULL;)
			if (u->status.state == TASK_RUNNING &&
			    control_service(b->c, u->service_id)->spec.priority >= mine)
				room[bench_node_of(u)] -= u->spec.resources.reservations.nano_cpus;
		for (size_t i = 0; i < b->nodes; i++)
			assert_true(room[i] < t->spec.resources.reservations.nano_cpus);
	}
}

static void whatever_comes_nodes_are_not_overfull_and_the_higher_run(void **state)
{
	(void)state;
	for (uint64_t round = 1; round <= 60; round++) {
		struct bench b;
		uint64_t seed = round;

		bench_init(&b, 3);
		for (int i = 0; i < 6; i++) {
			char text[400], id[32];

			snprintf(text, sizeof(text),
			         "{\"Name\":\"s%d\",\"Labels\":{\"buoy.priority\":\"%u\"},"
			         "\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":\"x\"},"
			         "\"Resources\":{\"Reservations\":{\"NanoCPUs\":%u}}},\"Mode\":{"
			         "\"Replicated\":{\"Replicas\":%u}}}",
			         i, chance(&seed, 4), 250000000 * (1 + chance(&seed, 8)),
			         1 + chance(&seed, 5));
			assert_int_equal(service_create(b.c, b.now, text, strlen(text), id, NULL),
			                 0);
			check_loads(&b);
			if (chance(&seed, 3) > 0) { /* nobody has obeyed yet */
				bench_obey(&b);
				check_loads(&b);
			}
		}
		bench_pass(&b, 30000);
		check_loads(&b);
		check_rest(&b);
		bench_done(&b);
	}
}

TESTING_MAIN(TEST(the_lowest_priority_makes_room_and_says_for_whom),
             TEST(equals_and_those_who_reserve_nothing_stay), TEST(no_more_go_than_must),
             TEST(nobody_is_told_before_the_room_is_there),
             TEST(one_that_is_not_wanted_any_more_while_it_is_held_goes),
             TEST(so_many_go_at_a_time), TEST(a_global_task_gets_room_on_its_own_node),
             TEST(a_priority_is_a_number),
             TEST(whatever_comes_nodes_are_not_overfull_and_the_higher_run))
