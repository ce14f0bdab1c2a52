/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/plan.h"

#include <stdio.h>

#include "base/json.h"
#include "cluster/control_testing.h"

#define SPEC(name, replicas, more)                                                                 \
	"{\"Name\":\"" name "\",\"Mode\":{\"Replicated\":{\"Replicas\":" replicas                  \
	"}},\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":\"x\"" more "}}}"

/* What the cluster of `b` would do. The caller owns it; NULL with err. */
static struct json *ask(struct bench *b, const char *text, struct err *err)
{
	auto_buf struct buf out = BUF_INIT(1u << 20);
	auto_type(json) request = json_parse(text, strlen(text), NULL);
	auto_type(plan) plan = plan_open(b->c, b->now, err);

	assert_non_null(request);
	if (!plan || plan_run(plan, request, &out, err) < 0)
		return NULL;
	return json_parse(buf_str(&out), out.len, err);
}

static struct json *only(const struct json *doc)
{
	assert_true(json_truth(json_get(doc, "Ended")));
	assert_int_equal(json_count(json_get(doc, "Services")), 1);
	return json_at(json_get(doc, "Services"), 0);
}

static void assert_counts(const struct json *one, int64_t kept, int64_t stopped, int64_t started,
                          int64_t waiting)
{
	assert_int_equal(json_get_int(one, "Kept", -1), kept);
	assert_int_equal(json_get_int(one, "Stopped", -1), stopped);
	assert_int_equal(json_get_int(one, "Started", -1), started);
	assert_int_equal(json_get_int(one, "Waiting", -1), waiting);
}

static void a_new_service_is_placed_and_nothing_is_done(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 3);
	int64_t revision = control_revision(b.c);
	auto_type(json) doc = ask(&b, "{\"Services\":[" SPEC("web", "6", "") "]}", NULL);
	const struct json *one = only(doc);
	assert_string_equal(json_get_string(one, "Action"), "create");
	assert_counts(one, 0, 0, 6, 0);
	assert_int_equal(json_count(json_get(one, "Nodes")), 3);
	for (size_t i = 0; i < 3; i++) {
		const struct json *row = json_at(json_get(one, "Nodes"), i);
		assert_int_equal(json_get_int(row, "Before", -1), 0);
		assert_int_equal(json_get_int(row, "After", -1), 2);
		assert_true(str_starts(json_get_string(row, "Hostname"), "host"));
	}
	assert_int_equal(control_revision(b.c), revision);
	assert_int_equal(bench_count(&b, "web"), 0);
	bench_done(&b);
}

/* The control: what was foretold is what then happens. */
static void a_change_replaces_tasks_as_it_then_does(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, SPEC("web", "4", ""));
	bench_pass(&b, 1000);
	auto_type(json) more = ask(&b, "{\"Services\":[" SPEC("web", "7", "") "]}", NULL);
	assert_counts(only(more), 4, 0, 3, 0);
	auto_type(json) other =
		ask(&b, "{\"Services\":[" SPEC("web", "4", ",\"Env\":[\"A=1\"]") "]}", NULL);
	assert_string_equal(json_get_string(only(other), "Action"), "update");
	assert_counts(only(other), 0, 4, 4, 0);
	auto_type(json) slow =
		ask(&b,
	            "{\"Services\":[{\"Name\":\"web\",\"Mode\":{\"Replicated\":{\"Replicas\":4}},"
	            "\"UpdateConfig\":{\"Parallelism\":1,\"Delay\":20000000000},"
	            "\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":\"y\"}}}]}",
	            NULL);
	assert_counts(only(slow), 0, 4, 4, 0);
	assert_in_range(json_get_int(slow, "Seconds", 0), 60, 90);
	auto_type(json) same = ask(&b, "{\"Services\":[" SPEC("web", "4", "") "]}", NULL);
	assert_counts(only(same), 4, 0, 0, 0);
	bench_update(&b, "web", SPEC("web", "4", ",\"Env\":[\"A=1\"]"));
	bench_pass(&b, 60000);
	assert_int_equal(bench_running(&b, "web", NULL), 4);
	bench_done(&b);
}

static void what_fits_nowhere_waits_and_says_why(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	auto_type(json) doc =
		ask(&b,
	            "{\"Services\":[{\"Name\":\"big\",\"Mode\":{\"Replicated\":{\"Replicas\":3}},"
	            "\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":\"x\"},\"Resources\":{"
	            "\"Reservations\":{\"NanoCPUs\":3000000000}}}}]}",
	            NULL);
	assert_counts(only(doc), 0, 0, 2, 1);
	assert_non_null(strstr(json_get_string(only(doc), "Why"), "insufficient resources"));
	bench_done(&b);
}

static void a_removed_service_makes_room_and_secrets_are_taken_as_made(void **state)
{
	struct bench b;
	struct err err = ERR_INIT;

	(void)state;
	bench_init(&b, 1);
	bench_create(&b, SPEC("old", "2", ""));
	bench_pass(&b, 1000);
	auto_type(json) doc = ask(
		&b,
		"{\"Remove\":[\"old\"],\"Secrets\":[\"key\"],\"Services\":[" SPEC(
			"web", "1",
			",\"Secrets\":[{\"SecretName\":\"key\",\"File\":{\"Name\":\"key\"}}]") "]}",
		&err);
	assert_non_null(doc);
	const struct json *services = json_get(doc, "Services");
	assert_int_equal(json_count(services), 2);
	assert_string_equal(json_get_string(json_at(services, 0), "Action"), "remove");
	assert_counts(json_at(services, 0), 0, 2, 0, 0);
	assert_counts(json_at(services, 1), 0, 0, 1, 0);
	assert_null(ask(&b, "{\"Services\":[{\"Name\":\"bad\"}]}", &err));
	assert_non_null(strstr(err.msg, "service bad: "));
	assert_null(ask(&b, "{\"Remove\":[\"nobody\"]}", &err));
	assert_int_equal(bench_running(&b, "old", NULL), 2);
	bench_done(&b);
}

static void jobs_run_through_and_dead_nodes_get_nothing(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 3);
	b.silent[2] = true;
	bench_pass(&b, 10000);
	auto_type(json) doc =
		ask(&b,
	            "{\"Services\":[{\"Name\":\"job\",\"Mode\":{\"ReplicatedJob\":{"
	            "\"MaxConcurrent\":2,\"TotalCompletions\":6}},\"TaskTemplate\":{"
	            "\"RestartPolicy\":{\"Condition\":\"none\"},\"ContainerSpec\":{\"Image\":"
	            "\"x\"}}}]}",
	            NULL);
	assert_counts(only(doc), 0, 0, 6, 0);
	assert_int_equal(json_count(json_get(only(doc), "Nodes")), 2);
	bench_done(&b);
}

TESTING_MAIN(TEST(a_new_service_is_placed_and_nothing_is_done),
             TEST(a_change_replaces_tasks_as_it_then_does),
             TEST(what_fits_nowhere_waits_and_says_why),
             TEST(a_removed_service_makes_room_and_secrets_are_taken_as_made),
             TEST(jobs_run_through_and_dead_nodes_get_nothing))
