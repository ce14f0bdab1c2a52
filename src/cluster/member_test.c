/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/member.h"

#include <arpa/inet.h>

#include "cluster/address.h"
#include "cluster/member_testing.h"
#include "cluster/port_testing.h"

#define SERVICE(name, image, replicas)                                                             \
	"{\"Name\":\"" name "\",\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":\"" image           \
	"\"},\"RestartPolicy\":{\"Delay\":0}},\"Mode\":{\"Replicated\":{\"Replicas\":" #replicas   \
	"}},\"EndpointSpec\":{\"Ports\":[{\"Protocol\":\"tcp\",\"TargetPort\":80,"                 \
	"\"PublishedPort\":8080,\"PublishMode\":\"ingress\"}]}}"

#define ROOT_MAX 8192

/* A manager and a worker. */
struct fleet {
	struct machine manager, worker;
	char listen[ADDRESS_MAX], token[128];
};

static void free_port(char out[ADDRESS_MAX])
{
	snprintf(out, ADDRESS_MAX, "127.0.0.1:%d", testing_port());
}

static void read_token(struct fleet *f)
{
	struct control *c = member_enter(f->manager.member, NULL);

	assert_non_null(c);
	snprintf(f->token, sizeof(f->token), "%s", control_cluster(c)->tokens.worker);
	member_exit(f->manager.member);
}

static void fleet_init(struct fleet *f)
{
	struct err err = ERR_INIT;
	char id[ID_SWARM_MAX];

	free_port(f->listen);
	machine_init(&f->manager, "m");
	machine_init(&f->worker, "w");
	struct member_init init = {.listen = f->listen};
	if (member_init(f->manager.member, &init, id, &err) < 0)
		fail_msg("init: %s", err.msg);
	read_token(f);
	struct member_join join = {.remote = f->listen, .token = f->token};
	if (member_join(f->worker.member, &join, &err) < 0)
		fail_msg("join: %s", err.msg);
}

static void fleet_done(struct fleet *f)
{
	machine_done(&f->worker);
	machine_done(&f->manager);
}

static void create(struct fleet *f, const char *text)
{
	struct err err = ERR_INIT;
	char id[ID_SWARM_MAX];
	struct control *c = member_enter(f->manager.member, &err);

	assert_non_null(c);
	if (service_create(c, leader_now(), text, strlen(text), id, &err) < 0)
		fail_msg("%s", err.msg);
	member_exit(f->manager.member);
}

/* How many tasks the leader sees in a state. */
static size_t tasks_in(struct fleet *f, enum task_state state)
{
	struct control *c = member_enter(f->manager.member, NULL);
	const struct task *t;
	size_t count = 0;

	for (size_t at = 0; (t = control_next_task(c, &at)) != NULL;)
		count += t->status.state == state;
	member_exit(f->manager.member);
	return count;
}

static size_t nodes_alive(struct fleet *f)
{
	struct control *c = member_enter(f->manager.member, NULL);
	const struct node *n;
	size_t count = 0;

	for (size_t at = 0; (n = control_next_node(c, &at)) != NULL;)
		count += control_node_is_alive(c, n->id);
	member_exit(f->manager.member);
	return count;
}

#define WAIT(condition, ms)                                                                        \
	do {                                                                                       \
		int64_t end_ = clock_mono_ms() + (ms);                                             \
		while (!(condition) && clock_mono_ms() < end_)                                     \
			clock_sleep_ms(10);                                                        \
		if (!(condition))                                                                  \
			fail_msg("not within %d ms: %s", (ms), #condition);                        \
	} while (0)

static void await_nodes(struct fleet *f, size_t count)
{
	WAIT(nodes_alive(f) >= count, 5000);
}

static size_t running(struct fleet *f)
{
	return machine_running(&f->manager) + machine_running(&f->worker);
}

static void service_runs_on_both_machines(void **state)
{
	(void)state;
	struct fleet f;

	fleet_init(&f);
	await_nodes(&f, 2);
	create(&f, SERVICE("web", "img", 6));
	WAIT(tasks_in(&f, TASK_RUNNING) == 6, 3000);
	assert_int_equal(machine_running(&f.manager), 3);
	assert_int_equal(machine_running(&f.worker), 3);
	WAIT(machine_backends(&f.manager) == 6 && machine_backends(&f.worker) == 6, 2000);
	fleet_done(&f);
}

static void ended_program_is_replaced_at_once(void **state)
{
	(void)state;
	struct fleet f;

	fleet_init(&f);
	await_nodes(&f, 2);
	create(&f, SERVICE("web", "img", 2));
	WAIT(tasks_in(&f, TASK_RUNNING) == 2, 3000);
	machine_kill_one(&f.worker, 137);
	WAIT(tasks_in(&f, TASK_FAILED) == 1 && tasks_in(&f, TASK_RUNNING) == 2, 1000);
	fleet_done(&f);
}

static void restarted_agent_keeps_its_containers(void **state)
{
	(void)state;
	struct fleet f;

	fleet_init(&f);
	await_nodes(&f, 2);
	create(&f, SERVICE("web", "img", 4));
	WAIT(tasks_in(&f, TASK_RUNNING) == 4, 3000);
	machine_down(&f.worker);
	assert_int_equal(machine_running(&f.worker), 2);
	machine_up(&f.worker);
	WAIT(({
		     struct member_view view;
		     member_look(f.worker.member, &view);
		     view.connected;
	     }),
	     2000);
	clock_sleep_ms(300);
	assert_int_equal(machine_starts(&f.worker), 2);
	assert_int_equal(tasks_in(&f, TASK_RUNNING), 4);
	fleet_done(&f);
}

static void restarted_manager_goes_on_where_it_was(void **state)
{
	(void)state;
	struct fleet f;

	fleet_init(&f);
	await_nodes(&f, 2);
	create(&f, SERVICE("web", "img", 4));
	WAIT(tasks_in(&f, TASK_RUNNING) == 4, 3000);
	machine_down(&f.manager);
	machine_up(&f.manager);
	await_nodes(&f, 2);
	clock_sleep_ms(500);
	assert_int_equal(tasks_in(&f, TASK_RUNNING), 4);
	assert_int_equal(machine_starts(&f.worker) + machine_starts(&f.manager), 4);
	fleet_done(&f);
}

static void tasks_of_a_lost_machine_come_back_elsewhere(void **state)
{
	(void)state;
	struct fleet f;

	fleet_init(&f);
	await_nodes(&f, 2);
	create(&f, SERVICE("web", "img", 4));
	WAIT(tasks_in(&f, TASK_RUNNING) == 4, 3000);
	machine_down(&f.worker);
	WAIT(machine_running(&f.manager) == 4, 6000);
	WAIT(machine_backends(&f.manager) == 4, 1000);
	fleet_done(&f);
}

static void image_that_is_missing_rejects_the_task(void **state)
{
	(void)state;
	struct fleet f;

	fleet_init(&f);
	await_nodes(&f, 2);
	create(&f, SERVICE("web", "missing", 1));
	WAIT(tasks_in(&f, TASK_REJECTED) >= 1, 3000);
	fleet_done(&f);
}

static void who_leaves_takes_its_containers_away(void **state)
{
	(void)state;
	struct fleet f;
	struct err err = ERR_INIT;
	struct member_view view;

	fleet_init(&f);
	await_nodes(&f, 2);
	create(&f, SERVICE("web", "img", 4));
	WAIT(tasks_in(&f, TASK_RUNNING) == 4, 3000);
	assert_int_equal(member_leave(f.worker.member, false, &err), 0);
	assert_int_equal(machine_running(&f.worker), 0);
	member_look(f.worker.member, &view);
	assert_false(view.active);
	assert_int_equal(member_leave(f.manager.member, false, &err), -1);
	assert_int_equal(member_leave(f.manager.member, true, &err), 0);
	assert_int_equal(running(&f), 0);
	assert_null(member_enter(f.manager.member, &err));
	assert_int_equal(err.kind, ERR_UNAVAILABLE);
	fleet_done(&f);
}

static void wrong_token_or_foreign_ca_is_refused(void **state)
{
	(void)state;
	struct fleet f;
	struct machine third;
	struct err err = ERR_INIT;
	char token[128];

	fleet_init(&f);
	machine_init(&third, "t");
	snprintf(token, sizeof(token), "%s", f.token);
	token[80] = token[80] == 'a' ? 'b' : 'a'; /* the secret */
	struct member_join join = {.remote = f.listen, .token = token};
	assert_int_equal(member_join(third.member, &join, &err), -1);
	assert_int_equal(err.kind, ERR_DENIED);
	snprintf(token, sizeof(token), "%s", f.token);
	token[40] = token[40] == 'a' ? 'b' : 'a'; /* the digest */
	assert_int_equal(member_join(third.member, &join, &err), -1);
	assert_int_equal(err.kind, ERR_DENIED);
	join.token = f.token;
	assert_int_equal(member_join(third.member, &join, &err), 0);
	assert_int_equal(member_join(third.member, &join, &err), -1);
	machine_done(&third);
	fleet_done(&f);
}

/* The cluster's root, and whether another is about to take its place. */
static bool rotates(struct fleet *f, char root[ROOT_MAX])
{
	auto_buf struct buf text = BUF_INIT(64 << 10);

	assert_int_equal(member_inspect(f->manager.member, true, &text, NULL), 0);
	auto_type(json) doc = json_parse(buf_str(&text), text.len, NULL);
	snprintf(root, ROOT_MAX, "%s", json_get_string(json_get(doc, "TLSInfo"), "TrustRoot"));
	return json_get_bool(doc, "RootRotationInProgress", true);
}

static void ask_for_rotation(struct fleet *f)
{
	struct err err = ERR_INIT;
	struct control *c = member_enter(f->manager.member, &err);
	uint64_t version = control_cluster(c)->version.index;
	auto_type(json) spec = json_parse("{\"CAConfig\":{\"ForceRotate\":1}}", 30, NULL);

	member_exit(f->manager.member);
	if (member_update(f->manager.member, spec, version, 0, &err) < 0)
		fail_msg("%s", err.msg);
}

static void read_ca(const struct machine *m, char text[ROOT_MAX])
{
	int fd = openat(m->root_fd, "cluster/ca.pem", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, ROOT_MAX - 1);

	assert_true(n > 0);
	text[n] = '\0';
	close(fd);
}

static void await_end(struct fleet *f, char root[ROOT_MAX])
{
	WAIT(!rotates(f, root), 8000);
}

static void await_ca(const struct machine *m, const char *root)
{
	char own[ROOT_MAX];

	WAIT((read_ca(m, own), str_eq(own, root)), 5000);
}

/* The machine trusts another root besides. */
static void await_both(const struct machine *m, const char *root)
{
	char own[ROOT_MAX];

	WAIT((read_ca(m, own), strlen(own) > strlen(root)), 5000);
}

static void join_third(struct fleet *f, struct machine *third)
{
	struct member_join join = {.remote = f->listen, .token = f->token};
	struct err err = ERR_INIT;

	if (member_join(third->member, &join, &err) < 0)
		fail_msg("join: %s", err.msg);
}

static void another_root_takes_the_place_of_the_first(void **state)
{
	(void)state;
	struct fleet f;
	char before[ROOT_MAX], after[ROOT_MAX];

	fleet_init(&f);
	await_nodes(&f, 2);
	create(&f, SERVICE("web", "img", 4));
	WAIT(tasks_in(&f, TASK_RUNNING) == 4, 3000);
	assert_false(rotates(&f, before));
	ask_for_rotation(&f);
	await_end(&f, after);
	assert_string_not_equal(before, after);
	await_ca(&f.worker, after);
	await_ca(&f.manager, after);
	await_nodes(&f, 2);
	assert_int_equal(machine_starts(&f.worker) + machine_starts(&f.manager), 4);
	/* And all are let in anew. */
	machine_down(&f.worker);
	machine_down(&f.manager);
	machine_up(&f.manager);
	machine_up(&f.worker);
	await_nodes(&f, 2);
	fleet_done(&f);
}

static void tokens_name_the_root_that_there_is(void **state)
{
	(void)state;
	struct fleet f;
	char after[ROOT_MAX];
	struct machine third;
	struct err err = ERR_INIT;

	fleet_init(&f);
	await_nodes(&f, 2);
	ask_for_rotation(&f);
	await_end(&f, after);
	await_ca(&f.manager, after);
	machine_init(&third, "t");
	struct member_join join = {.remote = f.listen, .token = f.token};
	assert_int_equal(member_join(third.member, &join, &err), -1);
	assert_int_equal(err.kind, ERR_DENIED);
	read_token(&f);
	join_third(&f, &third);
	machine_done(&third);
	fleet_done(&f);
}

static void a_rotation_waits_for_who_is_away(void **state)
{
	(void)state;
	struct fleet f;
	char before[ROOT_MAX], now[ROOT_MAX];
	struct machine third;

	fleet_init(&f);
	await_nodes(&f, 2);
	machine_down(&f.worker);
	rotates(&f, before);
	ask_for_rotation(&f);
	await_both(&f.manager, before);
	/* Meanwhile the manager falls, and another machine joins by the token that there is. */
	machine_down(&f.manager);
	machine_up(&f.manager);
	machine_init(&third, "t");
	join_third(&f, &third);
	await_nodes(&f, 2);
	assert_true(rotates(&f, now));
	assert_string_equal(now, before);
	machine_up(&f.worker);
	await_end(&f, now);
	assert_string_not_equal(now, before);
	await_ca(&third, now);
	machine_done(&third);
	fleet_done(&f);
}

static void output_of_a_task_elsewhere_can_be_read(void **state)
{
	(void)state;
	struct fleet f;
	struct err err = ERR_INIT;
	struct member_view view;
	char data[64];
	size_t len = 0;
	ssize_t n;

	fleet_init(&f);
	await_nodes(&f, 2);
	member_look(f.worker.member, &view);
	int fd = member_logs(f.manager.member, view.node_id, "any", NULL, &err);
	assert_true(fd >= 0);
	while ((n = read(fd, data + len, sizeof(data) - len)) > 0)
		len += (size_t)n;
	close(fd);
	assert_int_equal(len, 11);
	assert_memory_equal(data + 8, "hi\n", 3);
	fleet_done(&f);
}

static void addresses_are_completed(void **state)
{
	(void)state;
	char out[ADDRESS_MAX];
	struct err err = ERR_INIT;
	const char *const cases[][2] = {{"10.0.0.1", "10.0.0.1:2377"},
	                                {"10.0.0.1:99", "10.0.0.1:99"},
	                                {":99", "0.0.0.0:99"},
	                                {"fd00::1", "[fd00::1]:2377"},
	                                {"[fd00::1]:99", "[fd00::1]:99"}};

	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(address_complete(cases[i][0], "0.0.0.0", 2377, out, NULL), 0);
		assert_string_equal(out, cases[i][1]);
	}
	assert_int_equal(address_complete("eth0", NULL, 2377, out, &err), -1);
	assert_int_equal(address_complete("1.2.3.4:99999", NULL, 2377, out, &err), -1);
}

TESTING_MAIN(TEST(addresses_are_completed), TEST(service_runs_on_both_machines),
             TEST(ended_program_is_replaced_at_once), TEST(restarted_agent_keeps_its_containers),
             TEST(restarted_manager_goes_on_where_it_was),
             TEST(tasks_of_a_lost_machine_come_back_elsewhere),
             TEST(image_that_is_missing_rejects_the_task),
             TEST(who_leaves_takes_its_containers_away), TEST(wrong_token_or_foreign_ca_is_refused),
             TEST(another_root_takes_the_place_of_the_first),
             TEST(tokens_name_the_root_that_there_is), TEST(a_rotation_waits_for_who_is_away),
             TEST(output_of_a_task_elsewhere_can_be_read))
