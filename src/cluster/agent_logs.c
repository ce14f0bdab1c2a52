/* SPDX-License-Identifier: Apache-2.0 */
/* Output of a task for somebody who asked the leader for it. */

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/id.h"
#include "base/str.h"
#include "cluster/agent_state.h"
#include "http/client.h"
#include "http/server.h"

#define SENDERS_MAX 32
#define IDLE_MS     5000 /* an empty frame then shows whether somebody still listens */

struct sending {
	struct agent *agent;
	char request[33];
	char task_id[32];
	struct json *options; /* owned */
	int read_fd, write_fd;
};

/* ---- from the container into the socket ---- */

static void *produce(void *arg)
{
	struct sending *s = arg;
	struct err err = ERR_INIT;

	if (s->agent->executor.logs(s->agent->executor.arg, s->task_id, s->options, s->write_fd,
	                            &err) < 0)
		log_debug(&s->agent->log, "logs ended", "task=%s error=%s", s->task_id, err.msg);
	shutdown(s->write_fd, SHUT_WR);
	return NULL;
}

/* ---- from the socket to the leader ---- */

static bool is_stopping(struct agent *agent)
{
	pthread_mutex_lock(&agent->lock);
	bool stop = agent->stop;
	pthread_mutex_unlock(&agent->lock);
	return stop;
}

static ssize_t on_read(void *arg, void *data, size_t len)
{
	static const char nothing[8] = {1};
	struct sending *s = arg;
	struct pollfd poll_fd = {.fd = s->read_fd, .events = POLLIN};

	for (int waited = 0; poll(&poll_fd, 1, 500) == 0; waited += 500) {
		if (is_stopping(s->agent))
			return -1;
		if (waited < IDLE_MS || len < sizeof(nothing))
			continue;
		memcpy(data, nothing, sizeof(nothing));
		return sizeof(nothing);
	}
	return recv(s->read_fd, data, len, 0);
}

static void post(struct sending *s)
{
	struct http_response response = {0};
	struct err err = ERR_INIT;
	char path[64];
	auto_type(http_client) client = agent_client(s->agent, 0, &err);

	snprintf(path, sizeof(path), "/v1/logs/%s", s->request);
	if (client)
		(void)http_call_run(client,
		                    &(struct http_call){.method = "POST",
		                                        .path = path,
		                                        .read = on_read,
		                                        .read_arg = s,
		                                        .body_len = SIZE_MAX},
		                    &response, &err);
	http_response_done(&response);
}

static void *answer(void *arg)
{
	struct sending *s = arg;
	struct agent *agent = s->agent;
	pthread_t producer;

	bool started = pthread_create(&producer, NULL, produce, s) == 0;
	if (started)
		post(s);
	shutdown(s->read_fd, SHUT_RDWR); /* the producer sees it */
	close(s->read_fd);
	if (started)
		pthread_join(producer, NULL);
	close(s->write_fd);
	json_free(s->options);
	free(s);
	pthread_mutex_lock(&agent->lock);
	agent->log_senders--;
	pthread_cond_broadcast(&agent->woken);
	pthread_mutex_unlock(&agent->lock);
	return NULL;
}

static struct sending *make(struct agent *agent, const struct json *request)
{
	const char *id = json_get_string(request, "Request");
	const char *task = json_get_string(request, "TaskID");
	struct sending *s = calloc(1, sizeof(*s));
	int fds[2];

	if (!s || !id || !task || !id_is_hex(id, 32, 32) || strlen(task) >= sizeof(s->task_id) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
		free(s);
		return NULL;
	}
	s->agent = agent;
	snprintf(s->request, sizeof(s->request), "%s", id);
	snprintf(s->task_id, sizeof(s->task_id), "%s", task);
	s->options = json_ref(json_get(request, "Options"));
	s->read_fd = fds[0];
	s->write_fd = fds[1];
	return s;
}

void logs_answer(struct agent *agent, const struct json *request)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_mutex_lock(&agent->lock);
	bool room = agent->log_senders < SENDERS_MAX && !agent->stop;
	agent->log_senders += room;
	pthread_mutex_unlock(&agent->lock);
	struct sending *s = room ? make(agent, request) : NULL;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	bool started = s && pthread_create(&thread, &attr, answer, s) == 0;
	pthread_attr_destroy(&attr);
	if (started || !room)
		return;
	if (s) {
		close(s->read_fd);
		close(s->write_fd);
		json_free(s->options);
		free(s);
	}
	pthread_mutex_lock(&agent->lock);
	agent->log_senders--;
	pthread_mutex_unlock(&agent->lock);
}

void logs_wait(struct agent *agent)
{
	pthread_mutex_lock(&agent->lock);
	while (agent->log_senders > 0)
		pthread_cond_wait(&agent->woken, &agent->lock);
	pthread_mutex_unlock(&agent->lock);
}
