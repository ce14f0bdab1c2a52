/* SPDX-License-Identifier: Apache-2.0 */
/* The agent against a leader that says what the test wants. */

#include "cluster/agent.h"

#include <pthread.h>

#include "cluster/ca.h"
#include "cluster/member_testing.h"
#include "cluster/proto.h"
#include "http/server.h"

#define LINES_MAX 32

struct bench {
	struct machine machine; /* its engine and directory; no member */
	struct ca_identity root, leader, node;
	struct http_server *server;
	struct agent *agent;
	char address[64];
	pthread_mutex_t lock;
	char *lines[LINES_MAX]; /* owned; for the stream */
	size_t count, sent;
	int hellos;
	int64_t hello_epoch;
	char given_back[256]; /* the last of such messages */
	char states[2048];    /* "task=state ..." as reported */
};

/* ---- the leader ---- */

static void note(struct bench *b, const struct json_array *statuses)
{
	const struct proto_status *s = statuses->items;

	for (size_t i = 0; i < statuses->count; i++) {
		size_t used = strlen(b->states);

		snprintf(b->states + used, sizeof(b->states) - used, "%s=%s ", s[i].task_id,
		         s[i].status.state_name);
	}
}

static void take_hello(struct bench *b, struct http_request *req)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	struct proto_hello hello = {0};
	size_t len;
	const char *text = http_body(req, &len);

	assert_int_equal(proto_hello_decode(text, len, &arena, &hello, NULL), 0);
	pthread_mutex_lock(&b->lock);
	b->hellos++;
	b->hello_epoch = hello.epoch;
	note(b, &hello.statuses);
	pthread_mutex_unlock(&b->lock);
}

static int on_session(void *ctx, struct http_request *req, struct err *err)
{
	struct bench *b = ctx;
	bool gone = false;

	take_hello(b, req);
	struct http_stream *stream = http_stream_begin(req, 200, "application/json", err);
	while (stream && !gone && !http_stream_closed(stream)) {
		char *line = NULL;

		pthread_mutex_lock(&b->lock);
		if (b->sent < b->count)
			line = b->lines[b->sent++];
		pthread_mutex_unlock(&b->lock);
		gone = http_stream_write(stream, line ? line : "\n", line ? strlen(line) : 1,
		                         NULL) < 0;
		if (!line)
			clock_sleep_ms(20);
	}
	http_stream_end(stream);
	return 0;
}

static int on_detach(void *ctx, struct http_request *req, struct err *err)
{
	struct bench *b = ctx;
	size_t len;
	const char *body = http_body(req, &len);

	(void)err;
	pthread_mutex_lock(&b->lock);
	snprintf(b->given_back, sizeof(b->given_back), "%.*s", (int)len, body);
	pthread_mutex_unlock(&b->lock);
	return http_reply_json(req, 200, json_object());
}

static int on_report(void *ctx, struct http_request *req, struct err *err)
{
	struct bench *b = ctx;
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	struct proto_report report = {0};
	struct buf text = BUF_INIT(4096);
	size_t len;
	const char *body = http_body(req, &len);

	if (proto_report_decode(body, len, &arena, &report, err) < 0)
		return -1;
	pthread_mutex_lock(&b->lock);
	note(b, &report.statuses);
	pthread_mutex_unlock(&b->lock);
	struct proto_reply reply = {
		.epoch = report.epoch, .session = report.session, .acknowledged = report.sequence};
	json_encode_text(&proto_reply_table, &reply, &text, err);
	return http_reply_buf(req, 200, &text);
}

static const struct http_route routes[] = {
	{"POST", "/v1/session", on_session, false},
	{"POST", "/v1/report", on_report, false},
	{"POST", "/v1/detach", on_detach, false},
	{NULL, NULL, NULL, false},
};

/* ---- the bench ---- */

static void make_certificate(struct bench *b, struct ca_identity *identity, bool manager)
{
	auto_free char *request = NULL;
	struct ca_subject subject = {
		.node_id = manager ? "leader" : "n1", .cluster_id = "c1", .manager = manager};

	assert_int_equal(ca_request(&identity->key, &request, NULL), 0);
	assert_int_equal(ca_sign(&b->root, request, &subject, &identity->cert, NULL), 0);
}

static void serve(struct bench *b, const struct ca_identity *identity)
{
	int fd = http_listen_tcp("127.0.0.1:0", NULL);

	snprintf(b->address, sizeof(b->address), "127.0.0.1:%d", http_listen_port(fd));
	b->server = http_server_start(fd,
	                              &(struct http_server_options){.routes = routes,
	                                                            .ctx = b,
	                                                            .cert_pem = identity->cert,
	                                                            .key_pem = identity->key,
	                                                            .client_ca_pem = b->root.cert},
	                              NULL);
	assert_non_null(b->server);
}

static void agent_up(struct bench *b)
{
	struct err err = ERR_INIT;

	b->agent = agent_open(&(struct agent_options){.dir_fd = b->machine.root_fd,
	                                              .node_id = "n1",
	                                              .leader = b->address,
	                                              .ca = b->root.cert,
	                                              .cert = b->node.cert,
	                                              .key = b->node.key,
	                                              .description = &b->machine.description,
	                                              .executor = &b->machine.executor,
	                                              .log = &b->machine.log},
	                      &err);
	if (!b->agent)
		fail_msg("%s", err.msg);
}

static void bench_init(struct bench *b)
{
	memset(b, 0, sizeof(*b));
	machine_init(&b->machine, "host1");
	pthread_mutex_init(&b->lock, NULL);
	assert_int_equal(ca_make("c1", &b->root, NULL), 0);
	make_certificate(b, &b->leader, true);
	make_certificate(b, &b->node, false);
	serve(b, &b->leader);
	agent_up(b);
}

static void bench_done(struct bench *b)
{
	agent_close(b->agent);
	http_server_stop(b->server);
	machine_done(&b->machine);
	for (size_t i = 0; i < b->count; i++)
		free(b->lines[i]);
	ca_identity_done(&b->root);
	ca_identity_done(&b->leader);
	ca_identity_done(&b->node);
}

static void say(struct bench *b, const char *text)
{
	size_t len = strlen(text);
	char *line = malloc(len + 2);

	assert_non_null(line);
	snprintf(line, len + 2, "%s\n", text);
	pthread_mutex_lock(&b->lock);
	assert_true(b->count < LINES_MAX);
	b->lines[b->count++] = line;
	pthread_mutex_unlock(&b->lock);
}

static bool has_heard(struct bench *b, const char *what)
{
	pthread_mutex_lock(&b->lock);
	bool yes = strstr(b->states, what) != NULL;
	pthread_mutex_unlock(&b->lock);
	return yes;
}

static int hellos(struct bench *b)
{
	pthread_mutex_lock(&b->lock);
	int count = b->hellos;
	pthread_mutex_unlock(&b->lock);
	return count;
}

#define WAIT(condition)                                                                            \
	do {                                                                                       \
		int64_t end_ = clock_mono_ms() + 3000;                                             \
		while (!(condition) && clock_mono_ms() < end_)                                     \
			clock_sleep_ms(5);                                                         \
		if (!(condition))                                                                  \
			fail_msg("not within 3 s: %s", #condition);                                \
	} while (0)

#define TASK(id, slot, desired)                                                                    \
	"{\"ID\":\"" id "\",\"Spec\":{\"ContainerSpec\":{\"Image\":\"img\"}},"                     \
	"\"ServiceID\":\"s\",\"ServiceName\":\"web\",\"Slot\":" slot                               \
	",\"NodeID\":\"n1\",\"Status\":{\"State\":\"assigned\"},\"DesiredState\":\"" desired "\"}"
#define COMPLETE(epoch, session, tasks)                                                            \
	"{\"Type\":\"complete\",\"Epoch\":" epoch ",\"Session\":" session                          \
	",\"To\":1,\"Tasks\":[" tasks "]}"
#define INCREMENT(epoch, session, from, to, rest)                                                  \
	"{\"Type\":\"increment\",\"Epoch\":" epoch ",\"Session\":" session ",\"From\":" from       \
	",\"To\":" to "," rest "}"

static void task_is_started_reported_and_removed(void **state)
{
	(void)state;
	struct bench b;

	bench_init(&b);
	say(&b, COMPLETE("5", "1", TASK("t1", "1", "running")));
	WAIT(has_heard(&b, "t1=running"));
	assert_int_equal(machine_running(&b.machine), 1);
	say(&b, INCREMENT("5", "1", "1", "2", "\"Tasks\":[" TASK("t1", "1", "shutdown") "]"));
	WAIT(has_heard(&b, "t1=shutdown"));
	assert_int_equal(machine_running(&b.machine), 0);
	say(&b, INCREMENT("5", "1", "2", "3", "\"Tasks\":[],\"Removed\":[\"t1\"]"));
	WAIT(({
		pthread_mutex_lock(&b.machine.lock);
		bool none = machine_box(&b.machine, "t1") == NULL;
		pthread_mutex_unlock(&b.machine.lock);
		none;
	}));
	bench_done(&b);
}

static void leader_of_the_past_is_not_obeyed(void **state)
{
	(void)state;
	struct bench b;

	bench_init(&b);
	say(&b, COMPLETE("5", "1", TASK("t1", "1", "running")));
	WAIT(has_heard(&b, "t1=running"));
	say(&b, "{\"Type\":\"complete\",\"Epoch\":4,\"Session\":9,\"To\":1,\"Empty\":true}");
	WAIT(hellos(&b) >= 2); /* it hung up */
	assert_int_equal(machine_running(&b.machine), 1);
	assert_int_equal(b.hello_epoch, 5);
	bench_done(&b);
}

static void empty_set_must_say_that_it_is(void **state)
{
	(void)state;
	struct bench b;

	bench_init(&b);
	say(&b, COMPLETE("5", "1", TASK("t1", "1", "running")));
	WAIT(has_heard(&b, "t1=running"));
	say(&b, COMPLETE("5", "2", ""));
	WAIT(hellos(&b) >= 2);
	assert_int_equal(machine_running(&b.machine), 1);
	say(&b, "{\"Type\":\"complete\",\"Epoch\":5,\"Session\":3,\"To\":1,\"Empty\":true}");
	WAIT(machine_running(&b.machine) == 0);
	bench_done(&b);
}

static void increment_that_does_not_fit_makes_it_say_hello_again(void **state)
{
	(void)state;
	struct bench b;

	bench_init(&b);
	say(&b, COMPLETE("5", "1", TASK("t1", "1", "running")));
	WAIT(has_heard(&b, "t1=running"));
	say(&b, INCREMENT("5", "1", "7", "8", "\"Tasks\":[" TASK("t2", "2", "running") "]"));
	WAIT(hellos(&b) >= 2);
	assert_int_equal(machine_running(&b.machine), 1);
	bench_done(&b);
}

static void repeated_increment_changes_nothing(void **state)
{
	(void)state;
	struct bench b;
	const char *twice =
		INCREMENT("5", "1", "1", "2", "\"Tasks\":[" TASK("t2", "2", "running") "]");

	bench_init(&b);
	say(&b, COMPLETE("5", "1", TASK("t1", "1", "running")));
	say(&b, twice);
	say(&b, twice);
	WAIT(has_heard(&b, "t2=running"));
	clock_sleep_ms(100);
	assert_int_equal(hellos(&b), 1);
	assert_int_equal(machine_starts(&b.machine), 2);
	bench_done(&b);
}

static void successor_waits_until_the_slot_is_free(void **state)
{
	(void)state;
	struct bench b;

	bench_init(&b);
	b.machine.stop_ms = 300;
	say(&b, COMPLETE("5", "1", TASK("t1", "1", "running")));
	WAIT(has_heard(&b, "t1=running"));
	say(&b, INCREMENT("5", "1", "1", "2",
	                  "\"Tasks\":[" TASK("t1", "1", "shutdown") "," TASK("t2", "1",
	                                                                     "running") "]"));
	for (int i = 0; i < 20; i++) {
		assert_true(machine_running(&b.machine) <= 1);
		clock_sleep_ms(10);
	}
	WAIT(has_heard(&b, "t2=running"));
	assert_int_equal(machine_running(&b.machine), 1);
	bench_done(&b);
}

static void program_that_ended_while_the_agent_was_away_is_told(void **state)
{
	(void)state;
	struct bench b;

	bench_init(&b);
	say(&b, COMPLETE("5", "1", TASK("t1", "1", "running") "," TASK("t2", "2", "running")));
	WAIT(has_heard(&b, "t1=running") && has_heard(&b, "t2=running"));
	agent_close(b.agent);
	struct box *box = machine_box(&b.machine, "t1");
	assert_non_null(box);
	if (box) {
		box->running = false;
		box->exit_code = 3;
	}
	say(&b, COMPLETE("5", "2", TASK("t1", "1", "running") "," TASK("t2", "2", "running")));
	agent_up(&b);
	WAIT(has_heard(&b, "t1=failed"));
	assert_int_equal(machine_starts(&b.machine), 2); /* and it is not started again */
	bench_done(&b);
}

static void container_of_no_task_is_swept_at_the_start(void **state)
{
	(void)state;
	struct bench b;

	bench_init(&b);
	agent_close(b.agent);
	snprintf(b.machine.boxes[0].task_id, sizeof(b.machine.boxes[0].task_id), "stray");
	b.machine.boxes[0].started = b.machine.boxes[0].running = true;
	agent_up(&b);
	WAIT(machine_running(&b.machine) == 0);
	bench_done(&b);
}

static void table_that_failed_is_tried_again_at_the_next_heartbeat(void **state)
{
	(void)state;
	struct bench b;

	bench_init(&b);
	say(&b, COMPLETE("5", "1", TASK("t1", "1", "running")));
	WAIT(has_heard(&b, "t1=running"));
	pthread_mutex_lock(&b.machine.lock);
	b.machine.publish_failures = 2;
	pthread_mutex_unlock(&b.machine.lock);
	int64_t began = clock_mono_ms();
	say(&b, "{\"Type\":\"endpoints\",\"Epoch\":5,\"Version\":3,\"Services\":[{\"ID\":\"s\","
	        "\"Name\":\"web\",\"Ports\":[{\"Protocol\":\"tcp\",\"TargetPort\":80,"
	        "\"PublishedPort\":8080}],\"Backends\":[]}]}");
	WAIT(({
		pthread_mutex_lock(&b.machine.lock);
		bool applied = b.machine.published == 1;
		pthread_mutex_unlock(&b.machine.lock);
		applied;
	}));
	/* Not over and over until it works: the third time was a whole beat after the second. */
	assert_true(clock_mono_ms() - began >= PROTO_HEARTBEAT_MS);
	bench_done(&b);
}

#define CONTAINER(id, node)                                                                        \
	"{\"Address\":\"10.0.1.2\",\"NodeID\":\"" node "\",\"Attachment\":\"" id "\"}"

static void address_of_an_endpoint_that_is_gone_is_given_back(void **state)
{
	(void)state;
	struct bench b;

	bench_init(&b);
	pthread_mutex_lock(&b.machine.lock);
	snprintf(b.machine.endpoint, sizeof(b.machine.endpoint), "stays");
	pthread_mutex_unlock(&b.machine.lock);
	say(&b, COMPLETE("5", "1", TASK("t1", "1", "running")));
	say(&b,
	    "{\"Type\":\"endpoints\",\"Epoch\":5,\"Version\":3,\"Networks\":[{\"Network\":{\"ID\":\"n\","
	    "\"Subnet\":\"10.0.1.0/24\",\"Gateway\":\"10.0.1.1\",\"VNI\":4096},\"Members\":[" CONTAINER(
		    "stays", "n1") "," CONTAINER("gone", "n1") "," CONTAINER("other", "n2") "]}]}");
	WAIT(({
		pthread_mutex_lock(&b.lock);
		bool told = b.given_back[0] != '\0';
		pthread_mutex_unlock(&b.lock);
		told;
	}));
	assert_non_null(strstr(b.given_back, "[\"gone\"]"));
	bench_done(&b);
}

static void worker_cannot_pose_as_the_leader(void **state)
{
	(void)state;
	struct bench b;
	struct agent_state view;

	bench_init(&b);
	WAIT(hellos(&b) >= 1);
	agent_close(b.agent);
	http_server_stop(b.server);
	serve(&b, &b.node); /* a certificate of this cluster, but a worker's */
	int before = hellos(&b);
	agent_up(&b);
	WAIT(({
		agent_look(b.agent, &view);
		view.error[0] != '\0';
	}));
	assert_false(view.connected);
	assert_int_equal(hellos(&b), before);
	bench_done(&b);
}

TESTING_MAIN(TEST(task_is_started_reported_and_removed), TEST(leader_of_the_past_is_not_obeyed),
             TEST(empty_set_must_say_that_it_is),
             TEST(increment_that_does_not_fit_makes_it_say_hello_again),
             TEST(repeated_increment_changes_nothing), TEST(successor_waits_until_the_slot_is_free),
             TEST(program_that_ended_while_the_agent_was_away_is_told),
             TEST(container_of_no_task_is_swept_at_the_start),
             TEST(address_of_an_endpoint_that_is_gone_is_given_back),
             TEST(table_that_failed_is_tried_again_at_the_next_heartbeat),
             TEST(worker_cannot_pose_as_the_leader))
