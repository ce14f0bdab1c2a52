/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/control_testing.h"
#include "cluster/secret.h"

static int create(struct bench *b, const char *text, struct err *err)
{
	char id[32];

	*err = ERR_INIT;
	return service_create(b->c, b->now, text, strlen(text), id, err);
}

static void bad_specs_are_refused_in_words(void **state)
{
	static const struct {
		const char *text, *words;
	} cases[] = {
		{"{}", "name must be provided"},
		{"[", NULL},
		{"{\"Name\":\"a b\"}", "name must be valid as a DNS name component: \"a b\""},
		{"{\"Name\":\"a\"}", "ContainerSpec: image reference must be provided"},
		{"{\"Name\":\"a\",\"TaskTemplate\":7}", "TaskTemplate: not an object"},
		{SERVICE("a", "x", -1, "") "}", "Number of replicas must be non-negative integer"},
		{SERVICE("a", "x", 1, ",\"Resources\":{\"Reservations\":{\"MemoryBytes\":1}}") "}",
	         "invalid memory value 1: Must be at least 4MiB"},
		{SERVICE("a", "x", 1, ",\"Placement\":{\"Constraints\":[\"node.color==red\"]}") "}",
	         "constraint \"node.color==red\": unknown key; allowed are node.id, "
	         "node.hostname, node.role, node.platform.os, node.platform.arch, "
	         "node.labels.NAME, engine.labels.NAME"},
		{SERVICE("a", "x", 1, "") ",\"EndpointSpec\":{\"Ports\":[{\"TargetPort\":0}]}}",
	         "EndpointSpec: invalid target port 0 (allowed: 1-65535)"},
		{"{\"Name\":\"a\",\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":\"x\"}},"
	         "\"Mode\":{\"ReplicatedJob\":{\"MaxConcurrent\":-1}}}",
	         "Maximum concurrent jobs must be non-negative integer"},
		{SERVICE("a", "x", 1,
	                 ",\"Resources\":{\"Reservations\":{\"GenericResources\":[{}]}}") "}",
	         "generic resources are not supported: label the nodes that have them, and "
	         "constrain the service to the label"},
		{"{\"Name\":\"a\",\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":\"x\",\"Privileges\":{"
	         "\"SELinuxContext\":null,\"NoNewPrivileges\":true}}}}",
	         "ContainerSpec: Privileges.NoNewPrivileges is not supported"},
		{"{\"Name\":\"a\",\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":\"x\"}},"
	         "\"Mode\":{\"GlobalJob\":{}},\"UpdateConfig\":{}}",
	         "update and rollback configurations are not for jobs: a job runs again with --force"},
	};
	struct bench b;
	struct err err;

	(void)state;
	bench_init(&b, 1);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(create(&b, cases[i].text, &err), -1);
		if (cases[i].words)
			assert_string_equal(err.msg, cases[i].words);
	}
	assert_int_equal(bench_count(&b, "a"), 0);
	bench_done(&b);
}

static int make_secret(struct bench *b, const char *name, char *id, struct err *err)
{
	const struct secret_spec spec = {.name = (char *)name};

	*err = ERR_INIT;
	return secret_create(b->c, b->now, STORE_SECRET, &spec, "v1:sealed", id, err);
}

#define WITH_SECRET                                                                                                 \
	"{\"Name\":\"web\",\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":\"x\",\"Secrets\":[{\"SecretID\":\"%s\"," \
	"\"SecretName\":\"%s\",\"File\":{\"Name\":\"%s\",\"UID\":\"0\",\"GID\":\"0\",\"Mode\":292}}]}}}"

static void a_secret_is_kept_while_a_service_refers_to_it(void **state)
{
	struct bench b;
	struct err err;
	char id[32], other[32], text[512];

	(void)state;
	bench_init(&b, 1);
	assert_int_equal(make_secret(&b, "db", id, &err), 0);
	assert_int_equal(make_secret(&b, "db", other, &err), -1);
	assert_int_equal(err.kind, ERR_CONFLICT);
	assert_int_equal(make_secret(&b, "-db", other, &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);

	snprintf(text, sizeof(text), WITH_SECRET, "nobody", "db", "db");
	assert_int_equal(create(&b, text, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	snprintf(text, sizeof(text), WITH_SECRET, id, "db", "../db");
	assert_int_equal(create(&b, text, &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);
	snprintf(text, sizeof(text), WITH_SECRET, id, "db", "db");
	bench_create(&b, text);

	assert_int_equal(secret_remove(b.c, b.now, STORE_SECRET, "db", &err), -1);
	assert_string_equal(err.msg, "secret 'db' is in use by the following service: web");
	/* A new leader knows it. */
	bench_close(&b);
	bench_open(&b);
	const struct secret *found = secret_find(b.c, STORE_SECRET, "db", &err);
	assert_string_equal(found->id, id);
	assert_string_equal(found->sealed, "v1:sealed");
	assert_null(secret_find(b.c, STORE_CONFIG, "db", NULL));
	assert_int_equal(service_remove(b.c, b.now, "web", &err), 0);
	assert_int_equal(secret_remove(b.c, b.now, STORE_SECRET, id, &err), 0);
	assert_null(secret_find(b.c, STORE_SECRET, "db", NULL));
	bench_done(&b);
}

static void a_waiting_task_is_explained_per_filter(void **state)
{
	struct bench b;
	struct err err = ERR_INIT;
	struct buf text = BUF_INIT(65536);

	(void)state;
	bench_init(&b, 3);
	bench_create(&b,
	             SERVICE("web", "x", 1,
	                     ",\"Placement\":{\"Constraints\":[\"node.hostname!=host0\"]},"
	                     "\"Resources\":{\"Reservations\":{\"MemoryBytes\":99999999999}}") "}");
	assert_int_equal(service_explain(b.c, "web", &text, &err), 0);
	const char *said = buf_str(&text);
	assert_non_null(strstr(said, "\"Running\":0"));
	assert_non_null(strstr(said,
	                       "{\"Name\":\"constraints\",\"Reason\":\"scheduling constraints "
	                       "not satisfied on\",\"Nodes\":1}"));
	assert_non_null(strstr(said, "{\"Name\":\"resources\",\"Reason\":\"insufficient resources "
	                             "on\",\"Nodes\":2}"));
	assert_non_null(strstr(said, "\"Hostname\":\"host0\",\"Filter\":\"constraints\""));
	buf_clear(&text);
	bench_update(&b, "web", SERVICE("web", "x", 1, "") "}");
	bench_pass(&b, 1000);
	assert_int_equal(service_explain(b.c, "web", &text, &err), 0);
	assert_non_null(strstr(buf_str(&text), "\"Running\":1,\"Tasks\":[]"));
	buf_free(&text);
	bench_done(&b);
}

static void a_taken_name_is_a_conflict(void **state)
{
	struct bench b;
	struct err err;

	(void)state;
	bench_init(&b, 1);
	bench_create(&b, SERVICE("web", "x", 1, "") "}");
	assert_int_equal(create(&b, SERVICE("web", "y", 1, "") "}", &err), -1);
	assert_int_equal(err.kind, ERR_CONFLICT);
	assert_string_equal(err.msg, "name conflicts with an existing object: service web already "
	                             "exists");
	bench_done(&b);
}

static void an_update_from_an_old_version_is_out_of_sequence(void **state)
{
	const char *text = SERVICE("web", "y", 1, "") "}";
	struct service_change change = {.ref = "web", .text = text, .len = strlen(text)};
	struct bench b;
	struct err err = ERR_INIT;

	(void)state;
	bench_init(&b, 1);
	bench_create(&b, SERVICE("web", "x", 1, "") "}");
	change.version = service_find(b.c, "web", NULL)->version.index - 1;
	assert_int_equal(service_update(b.c, b.now, &change, &err), -1);
	assert_int_equal(err.kind, ERR_CONFLICT);
	assert_string_equal(err.msg, "update out of sequence");
	bench_done(&b);
}

static void keys_we_do_not_know_survive(void **state)
{
	struct bench b;
	auto_buf struct buf out = BUF_INIT(1 << 16);

	(void)state;
	bench_init(&b, 1);
	bench_create(&b, "{\"Name\":\"web\",\"Colour\":{\"a\":[1,2]},\"TaskTemplate\":{"
	                 "\"ContainerSpec\":{\"Image\":\"x\",\"OomScoreAdj\":5}}}");
	bench_close(&b);
	bench_open(&b);
	assert_int_equal(service_inspect(b.c, "web", &out, NULL), 0);
	assert_non_null(strstr(buf_str(&out), "\"Colour\":{\"a\":[1,2]}"));
	assert_non_null(strstr(buf_str(&out), "\"OomScoreAdj\":5"));
	assert_non_null(strstr(buf_str(&out), "\"Replicated\":{\"Replicas\":1}"));
	buf_clear(&out);
	assert_int_equal(task_list(b.c, NULL, &out, NULL), 0);
	assert_non_null(strstr(buf_str(&out), "\"OomScoreAdj\":5"));
	bench_done(&b);
}

static int64_t first_port(struct bench *b, const char *name)
{
	const struct service *s = service_find(b->c, name, NULL);
	const struct model_port *ports = s ? s->endpoint.ports.items : NULL;

	return ports ? ports[0].published_port : -1;
}

static void ports_are_chosen_or_kept_or_refused(void **state)
{
	struct bench b;
	struct err err;

	(void)state;
	bench_init(&b, 1);
	bench_create(&b, SERVICE("a", "x", 1, "") ",\"EndpointSpec\":{\"Ports\":[{\"TargetPort\":"
	                                          "80}]}}");
	bench_create(&b, SERVICE("b", "x", 1, "") ",\"EndpointSpec\":{\"Ports\":[{\"TargetPort\":"
	                                          "80}]}}");
	assert_int_equal(first_port(&b, "a"), 30000);
	assert_int_equal(first_port(&b, "b"), 30001);
	bench_update(&b, "b",
	             SERVICE("b", "y", 1, "") ",\"EndpointSpec\":{\"Ports\":[{"
	                                      "\"TargetPort\":80}]}}");
	assert_int_equal(first_port(&b, "b"), 30001);
	assert_int_equal(create(&b,
	                        SERVICE("c", "x", 1, "") ",\"EndpointSpec\":{\"Ports\":[{"
	                                                 "\"TargetPort\":80,\"PublishedPort\":"
	                                                 "30000}]}}",
	                        &err),
	                 -1);
	assert_int_equal(err.kind, ERR_CONFLICT);
	assert_non_null(strstr(err.msg, "port '30000' is already in use by service 'a'"));
	assert_int_equal(service_remove(b.c, b.now, "a", NULL), 0);
	bench_create(&b, SERVICE("c", "x", 1, "") ",\"EndpointSpec\":{\"Ports\":[{\"TargetPort\":"
	                                          "80,\"PublishedPort\":30000}]}}");
	bench_done(&b);
}

static void the_python_sdks_spelling_of_modes_is_understood(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, "{\"Name\":\"web\",\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":"
	                 "\"x\"}},\"Mode\":{\"replicated\":{\"Replicas\":3}}}");
	bench_create(&b, "{\"Name\":\"each\",\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":"
	                 "\"x\"}},\"Mode\":{\"global\":{}}}");
	bench_pass(&b, 200);
	assert_int_equal(bench_running(&b, "web", NULL), 3);
	assert_int_equal(bench_running(&b, "each", NULL), 2);

	auto_buf struct buf out = BUF_INIT(1 << 20);
	assert_int_equal(service_list(b.c, NULL, false, &out, NULL), 0);
	assert_non_null(strstr(buf_str(&out), "\"Replicated\":{\"Replicas\":3}"));
	assert_non_null(strstr(buf_str(&out), "\"Global\":{}"));
	bench_done(&b);
}

static void lists_are_filtered(void **state)
{
	struct bench b;
	struct err err = ERR_INIT;
	auto_buf struct buf out = BUF_INIT(1 << 16);
	auto_type(json) name = json_parse("{\"name\":{\"we\":true}}", 20, NULL);
	auto_type(json) service = json_parse("{\"service\":[\"db\"]}", 18, NULL);
	auto_type(json) wrong = json_parse("{\"nome\":[\"db\"]}", 15, NULL);

	(void)state;
	bench_init(&b, 1);
	bench_create(&b, SERVICE("web", "x", 2, "") "}");
	bench_create(&b, SERVICE("db", "x", 1, "") "}");
	assert_int_equal(service_list(b.c, name, true, &out, NULL), 0);
	assert_non_null(strstr(buf_str(&out), "\"web\""));
	assert_null(strstr(buf_str(&out), "\"db\""));
	assert_non_null(strstr(buf_str(&out), "\"ServiceStatus\":{\"RunningTasks\":2,"
	                                      "\"DesiredTasks\":2"));
	buf_clear(&out);
	assert_int_equal(task_list(b.c, service, &out, NULL), 0);
	assert_non_null(strstr(buf_str(&out), "\"db\""));
	assert_null(strstr(buf_str(&out), "\"web\""));
	assert_int_equal(service_list(b.c, wrong, false, &out, &err), -1);
	assert_string_equal(err.msg,
	                    "invalid filter 'nome': allowed are id, name, label, mode, runtime");
	bench_done(&b);
}

static void objects_are_found_by_name_id_and_beginning(void **state)
{
	struct bench b;
	struct err err = ERR_INIT;
	char id[32];

	(void)state;
	bench_init(&b, 2);
	bench_create(&b, SERVICE("web", "x", 1, "") "}");
	const struct service *s = service_find(b.c, "web", NULL);
	assert_ptr_equal(service_find(b.c, s->id, NULL), s);
	snprintf(id, 9, "%s", s->id);
	assert_ptr_equal(service_find(b.c, id, NULL), s);
	assert_null(service_find(b.c, "nope", &err));
	assert_string_equal(err.msg, "service nope not found");
	assert_null(node_find(b.c, "node", &err));
	assert_string_equal(err.msg, "node node is ambiguous (2 matches found)");
	assert_non_null(node_find(b.c, "host1", NULL));
	assert_non_null(task_find(b.c, "web.1", NULL));
	bench_done(&b);
}

TESTING_MAIN(TEST(the_python_sdks_spelling_of_modes_is_understood),
             TEST(bad_specs_are_refused_in_words), TEST(a_taken_name_is_a_conflict),
             TEST(a_waiting_task_is_explained_per_filter),
             TEST(a_secret_is_kept_while_a_service_refers_to_it),
             TEST(an_update_from_an_old_version_is_out_of_sequence),
             TEST(keys_we_do_not_know_survive), TEST(ports_are_chosen_or_kept_or_refused),
             TEST(lists_are_filtered), TEST(objects_are_found_by_name_id_and_beginning))
