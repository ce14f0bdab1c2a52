/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* member_testing - machines with a make-believe engine, on the loopback, for member_test.c. */

#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "base/testing.h"
#include "cluster/member.h"
#include "cluster/node.h"
#include "cluster/service.h"
#include "cluster/task.h"

#define BOXES_MAX 64

struct box {
	char task_id[32];
	bool started, running;
	int64_t exit_code;
	int starts;
};

struct machine {
	char dir[64];
	int root_fd;
	pthread_mutex_t lock;
	struct box boxes[BOXES_MAX];
	size_t published, backends; /* of the last table: services, and where they lead */
	char endpoint
		[ID_HEX_MAX]; /* of a plain container on one of the cluster's networks; "": none */
	int publish_failures; /* so many tables are not applied */
	int stop_ms;          /* how long a program takes to stop */
	struct agent_executor executor;
	struct node_description description;
	struct log log;
	struct member *member;
};

/* Call with the lock held. */
static inline struct box *machine_box(struct machine *m, const char *task_id)
{
	for (size_t i = 0; i < BOXES_MAX; i++)
		if (str_eq(m->boxes[i].task_id, task_id))
			return &m->boxes[i];
	return NULL;
}

static inline int fake_prepare(void *arg, const struct agent_work *work, struct err *err)
{
	struct machine *m = arg;

	if (str_eq(work->task->spec.container.image, "missing"))
		return err_set(err, ERR_NOT_FOUND, "No such image: missing");
	pthread_mutex_lock(&m->lock);
	if (!machine_box(m, work->task->id)) {
		struct box *box = machine_box(m, "");

		if (box)
			snprintf(box->task_id, sizeof(box->task_id), "%s", work->task->id);
	}
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static inline int fake_start(void *arg, const struct agent_work *work, struct err *err)
{
	struct machine *m = arg;

	(void)err;
	pthread_mutex_lock(&m->lock);
	struct box *box = machine_box(m, work->task->id);
	if (box) {
		box->started = box->running = true;
		box->starts++;
	}
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static inline int fake_stop(void *arg, const struct agent_work *work, struct err *err)
{
	struct machine *m = arg;

	(void)err;
	clock_sleep_ms(m->stop_ms);
	pthread_mutex_lock(&m->lock);
	struct box *box = machine_box(m, work->task->id);
	if (box)
		box->running = false;
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static inline int fake_remove(void *arg, const char *task_id, struct err *err)
{
	struct machine *m = arg;

	(void)err;
	pthread_mutex_lock(&m->lock);
	struct box *box = machine_box(m, task_id);
	if (box)
		*box = (struct box){0};
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static inline int fake_look(void *arg, const char *task_id, struct arena *arena,
                            struct agent_container *out, struct err *err)
{
	struct machine *m = arg;
	struct model_port *port = arena_alloc(arena, sizeof(*port), err);

	pthread_mutex_lock(&m->lock);
	struct box *box = machine_box(m, task_id);
	if (box) {
		snprintf(out->id, sizeof(out->id), "box-%s", task_id);
		out->started = box->started;
		out->running = box->running;
		out->exit_code = box->exit_code;
		out->address = (char *)"172.17.0.2";
		*port = (struct model_port){
			.protocol = (char *)"tcp", .target_port = 80, .published_port = 40000};
		out->ports = (struct json_array){.items = port, .count = 1, .present = true};
	}
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static inline int fake_list(void *arg, struct arena *arena, struct json_strings *ids,
                            struct err *err)
{
	struct machine *m = arg;

	pthread_mutex_lock(&m->lock);
	ids->items = arena_array(arena, BOXES_MAX, sizeof(char *), err);
	for (size_t i = 0; i < BOXES_MAX; i++)
		if (*m->boxes[i].task_id)
			ids->items[ids->count++] = arena_strdup(arena, m->boxes[i].task_id, err);
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static inline int fake_publish(void *arg, const struct endpoints *table, struct err *err)
{
	struct machine *m = arg;

	pthread_mutex_lock(&m->lock);
	if (m->publish_failures > 0) {
		m->publish_failures--;
		pthread_mutex_unlock(&m->lock);
		return err_set(err, ERR_SYSTEM, "the kernel says no");
	}
	m->published = table->count;
	m->backends = 0;
	for (size_t i = 0; i < table->count; i++)
		m->backends += table->services[i].count;
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static inline int fake_endpoints(void *arg, struct arena *arena, struct json_strings *ids,
                                 struct err *err)
{
	struct machine *m = arg;

	pthread_mutex_lock(&m->lock);
	*ids = (struct json_strings){.items = arena_array(arena, 1, sizeof(char *), err)};
	if (ids->items && *m->endpoint)
		ids->items[ids->count++] = arena_strdup(arena, m->endpoint, err);
	pthread_mutex_unlock(&m->lock);
	return ids->items ? 0 : -1;
}

static inline int fake_logs(void *arg, const char *task_id, const struct json *options, int fd,
                            struct err *err)
{
	static const char frame[] = {1, 0, 0, 0, 0, 0, 0, 3, 'h', 'i', '\n'};

	(void)arg, (void)task_id, (void)options;
	return send(fd, frame, sizeof(frame), MSG_NOSIGNAL) < 0 ? err_sys(err, "send") : 0;
}

static inline void machine_up(struct machine *m)
{
	struct err err = ERR_INIT;
	struct member_options options = {.root_fd = m->root_fd,
	                                 .description = &m->description,
	                                 .executor = &m->executor,
	                                 .log = &m->log};

	m->member = member_open(&options, &err);
	if (!m->member)
		fail_msg("%s", err.msg);
}

static inline void machine_down(struct machine *m)
{
	member_close(m->member);
	m->member = NULL;
}

static inline void machine_init(struct machine *m, const char *hostname)
{
	*m = (struct machine){.description = {.hostname = (char *)hostname}};
	snprintf(m->dir, sizeof(m->dir), "/tmp/buoy-member-XXXXXX");
	assert_non_null(mkdtemp(m->dir));
	m->root_fd = open(m->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	m->description.platform =
		(struct node_platform){.architecture = (char *)"x86_64", .os = (char *)"linux"};
	m->description.resources =
		(struct model_resources){.nano_cpus = 2000000000, .memory_bytes = 1LL << 30};
	m->log = (struct log){.fd = getenv("BUOY_TEST_LOG") ? 2 : -1, .level = LOG_LEVEL_DEBUG};
	pthread_mutex_init(&m->lock, NULL);
	m->executor = (struct agent_executor){
		m,         fake_prepare, fake_start,   fake_stop,      fake_remove,
		fake_look, fake_list,    fake_publish, fake_endpoints, fake_logs};
	machine_up(m);
}

static inline void machine_done(struct machine *m)
{
	machine_down(m);
	close(m->root_fd);
	testing_remove_tree(m->dir);
}

/* The program in some running box ends. The id of its task, or "". */
static inline const char *machine_kill_one(struct machine *m, int64_t exit_code)
{
	const char *id = "";

	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; i < BOXES_MAX && !*id; i++) {
		if (!m->boxes[i].running)
			continue;
		m->boxes[i].running = false;
		m->boxes[i].exit_code = exit_code;
		id = m->boxes[i].task_id;
	}
	pthread_mutex_unlock(&m->lock);
	member_poke(m->member, id);
	return id;
}

static inline size_t machine_running(struct machine *m)
{
	size_t count = 0;

	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; i < BOXES_MAX; i++)
		count += m->boxes[i].running;
	pthread_mutex_unlock(&m->lock);
	return count;
}

/* Where the published services lead, as this machine has it. */
static inline size_t machine_backends(struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	size_t count = m->backends;
	pthread_mutex_unlock(&m->lock);
	return count;
}

static inline int machine_starts(struct machine *m)
{
	int count = 0;

	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; i < BOXES_MAX; i++)
		count += m->boxes[i].starts;
	pthread_mutex_unlock(&m->lock);
	return count;
}
