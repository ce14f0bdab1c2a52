/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* control_testing - a leader over a memory store, a clock that the test turns, and agents that do
 * what they are told. For the unit tests of the control plane. */

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "base/testing.h"
#include "cluster/control.h"
#include "cluster/node.h"
#include "cluster/service.h"
#include "cluster/store.h"
#include "cluster/task.h"

struct bench {
	struct store_disk *disk;
	struct store *store;
	struct control *c;
	struct control_time now;
	int64_t sequence;
	bool silent[4]; /* nodes that say nothing */
	int64_t session[4];
	size_t nodes;
	const char *refuse; /* images with this name fail when they run */
};

static const char *const bench_nodes[4] = {"node0", "node1", "node2", "node3"};

static inline void bench_open(struct bench *b)
{
	struct err err = ERR_INIT;
	struct control_config config = {.seed = {7, 9}};

	b->store = store_memory_open(b->disk, &err);
	config.store = b->store;
	config.seed[1] += (uint64_t)store_epoch(b->store);
	b->c = control_open(&config, b->now, &err);
	if (!b->c)
		fail_msg("%s", err.msg);
}

static inline void bench_close(struct bench *b)
{
	control_free(b->c);
	store_free(b->store);
}

static inline void bench_hello(struct bench *b, size_t i)
{
	char host[32], addr[32];
	struct err err = ERR_INIT;
	struct proto_hello hello = {.protocol = PROTO_VERSION, .node_id = (char *)bench_nodes[i]};

	snprintf(host, sizeof(host), "host%zu", i);
	snprintf(addr, sizeof(addr), "10.0.0.%zu", i + 1);
	hello.addr = addr;
	hello.description = (struct node_description){
		.hostname = host,
		.platform = {.os = (char *)"linux", .architecture = (char *)"x86_64"},
		.resources = {.nano_cpus = 4000000000, .memory_bytes = 8LL << 30}};
	if (control_agent_hello(b->c, b->now, &hello, &b->session[i], &err) < 0)
		fail_msg("%s", err.msg);
}

static inline void bench_forget_messages(struct bench *b)
{
	struct control_message *m;

	while ((m = control_take_message(b->c)) != NULL)
		control_message_free(m);
}

static inline void bench_init(struct bench *b, size_t nodes)
{
	*b = (struct bench){.now = {.mono_ms = 1000, .wall_ns = 1700000000LL * 1000000000},
	                    .nodes = nodes};
	b->disk = store_disk_create(NULL);
	bench_open(b);
	for (size_t i = 0; i < nodes; i++) {
		assert_int_equal(
			control_node_add(b->c, b->now, bench_nodes[i], "worker", "10.0.0.9", NULL),
			0);
		bench_hello(b, i);
	}
}

static inline void bench_done(struct bench *b)
{
	bench_close(b);
	store_disk_free(b->disk);
}

static inline void bench_status(struct bench *b, size_t node, const char *task_id,
                                enum task_state state)
{
	struct err err = ERR_INIT;
	struct proto_status status = {.task_id = (char *)task_id};
	struct proto_reply reply;
	struct proto_report report = {
		.protocol = PROTO_VERSION,
		.node_id = (char *)bench_nodes[node],
		.epoch = control_epoch(b->c),
		.session = b->session[node],
		.sequence = ++b->sequence,
		.applied = INT64_MAX,
		.statuses = {.items = &status, .count = task_id ? 1 : 0, .present = true}};

	task_set_state(&status.status, state);
	if (control_agent_report(b->c, b->now, &report, &reply, &err) < 0)
		fail_msg("%s", err.msg);
}

static inline const struct task *bench_find(struct bench *b, bool (*fn)(const struct task *t),
                                            size_t node)
{
	const struct task *t;

	for (size_t at = 0; (t = control_next_task(b->c, &at)) != NULL;)
		if (str_eq(t->node_id, bench_nodes[node]) && fn(t))
			return t;
	return NULL;
}

static inline bool bench_should_run(const struct task *t)
{
	return t->desired == TASK_RUNNING && !t->held && t->status.state >= TASK_ASSIGNED &&
	       t->status.state < TASK_RUNNING;
}

static inline bool bench_should_stop(const struct task *t)
{
	return t->desired > TASK_RUNNING && t->status.state >= TASK_ASSIGNED &&
	       t->status.state <= TASK_RUNNING;
}

/* Every agent that speaks does one thing after another until there is nothing to do. */
static inline void bench_obey(struct bench *b)
{
	for (size_t i = 0; i < b->nodes; i++) {
		const struct task *t;

		while (!b->silent[i] && ((t = bench_find(b, bench_should_stop, i)) != NULL ||
		                         (t = bench_find(b, bench_should_run, i)) != NULL)) {
			bool bad = b->refuse && str_eq(t->spec.container.image, b->refuse);

			if (t->desired > TASK_RUNNING)
				bench_status(b, i, t->id, TASK_SHUTDOWN);
			else
				bench_status(b, i, t->id, bad ? TASK_FAILED : TASK_RUNNING);
		}
	}
}

/* Lets time pass: heartbeats, ticks, and agents at work. */
static inline void bench_pass(struct bench *b, int64_t ms)
{
	for (int64_t end = b->now.mono_ms + ms; b->now.mono_ms < end;) {
		b->now.mono_ms += 100;
		b->now.wall_ns += 100000000;
		if (b->now.mono_ms % 1000 == 0)
			for (size_t i = 0; i < b->nodes; i++)
				if (!b->silent[i])
					bench_status(b, i, NULL, TASK_NEW);
		assert_int_equal(control_tick(b->c, b->now, NULL), 0);
		bench_obey(b);
	}
}

static inline void bench_create(struct bench *b, const char *text)
{
	struct err err = ERR_INIT;
	char id[32];

	if (service_create(b->c, b->now, text, strlen(text), id, &err) < 0)
		fail_msg("%s", err.msg);
	bench_obey(b);
}

static inline void bench_update(struct bench *b, const char *name, const char *text)
{
	struct err err = ERR_INIT;
	const struct service *s = service_find(b->c, name, &err);
	struct service_change change = {.ref = name, .text = text, .len = strlen(text)};

	assert_non_null(s);
	change.version = s->version.index;
	if (service_update(b->c, b->now, &change, &err) < 0)
		fail_msg("%s", err.msg);
	bench_obey(b);
}

/* How many tasks of the service the leader wants and sees running; on one node or, with NULL, all. */
static inline size_t bench_running(struct bench *b, const char *name, const char *node)
{
	const struct task *t;
	size_t count = 0;

	for (size_t at = 0; (t = control_next_task(b->c, &at)) != NULL;)
		count += str_eq(t->service_name, name) && t->desired == TASK_RUNNING &&
		         t->status.state == TASK_RUNNING && (!node || str_eq(t->node_id, node));
	return count;
}

static inline size_t bench_count(struct bench *b, const char *name)
{
	const struct task *t;
	size_t count = 0;

	for (size_t at = 0; (t = control_next_task(b->c, &at)) != NULL;)
		count += str_eq(t->service_name, name);
	return count;
}

static inline const struct task *bench_any(struct bench *b, const char *name,
                                           enum task_state desired, enum task_state state)
{
	const struct task *t;

	for (size_t at = 0; (t = control_next_task(b->c, &at)) != NULL;)
		if (str_eq(t->service_name, name) && t->desired == desired &&
		    t->status.state == state)
			return t;
	return NULL;
}

/* The same, and there must be one. */
static inline const struct task *bench_one(struct bench *b, const char *name,
                                           enum task_state desired, enum task_state state)
{
	static const struct task nobody = {.id = (char *)"", .node_id = (char *)"node0"};
	const struct task *t = bench_any(b, name, desired, state);

	if (!t)
		fail_msg("%s has no task that is %s and shall be %s", name, task_state_name(state),
		         task_state_name(desired));
	return t ? t : &nobody;
}

static inline size_t bench_node_of(const struct task *t)
{
	return (size_t)(t->node_id[4] - '0');
}

static inline void bench_availability(struct bench *b, size_t node, const char *availability)
{
	char text[128];
	const struct node *n = control_node(b->c, bench_nodes[node]);
	struct node_change change = {.ref = bench_nodes[node], .version = n->version.index};

	snprintf(text, sizeof(text),
	         "{\"Role\":\"worker\",\"Availability\":\"%s\",\"Labels\":{\"disk\":\"ssd\"}}",
	         availability);
	change.text = text;
	change.len = strlen(text);
	assert_int_equal(node_update(b->c, b->now, &change, NULL), 0);
	bench_obey(b);
}

#define SERVICE(name, image, replicas, more)                                                       \
	"{\"Name\":\"" name "\",\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":\"" image           \
	"\"},\"RestartPolicy\":{\"Delay\":0}" more                                                 \
	"},\"Mode\":{\"Replicated\":{\"Replicas\":" #replicas "}}"
