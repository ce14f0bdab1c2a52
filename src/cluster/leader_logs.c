/* SPDX-License-Identifier: Apache-2.0 */
/* Output of tasks on other nodes: the leader asks on the node's stream, the node posts it. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/str.h"
#include "cluster/leader_state.h"

#define REQUESTS_MAX 256 /* that wait for their node */
#define REQUEST_TEXT 8192
#define COPY_SIZE    (64u << 10)

/* With the lock held. */
static void drop(struct log_request *request)
{
	LIST_REMOVE(request, next);
	if (request->fd >= 0)
		close(request->fd); /* its reader sees the end */
	free(request);
}

void leader_drop_requests(struct leader *leader)
{
	while (!LIST_EMPTY(&leader->requests))
		drop(LIST_FIRST(&leader->requests));
}

/* The newest go first: what no node came for in all that time ends empty. */
static void make_room(struct leader *leader)
{
	struct log_request *request, *last = NULL;
	size_t count = 0;

	LIST_FOREACH(request, &leader->requests, next)
	{
		last = request;
		count++;
	}
	if (count >= REQUESTS_MAX)
		drop(last);
}

static int ask(struct session *session, const struct log_request *request, const char *task_id,
               const struct json *options, struct err *err)
{
	auto_type(json) doc = json_object();
	auto_buf struct buf text = BUF_INIT(REQUEST_TEXT);

	json_set(doc, "Type", json_string("logs"));
	json_set(doc, "Request", json_string(request->id));
	json_set(doc, "TaskID", json_string(task_id));
	json_set(doc, "Options", options ? json_ref((struct json *)options) : json_object());
	if (json_write(doc, &text, err) < 0)
		return -1;
	return leader_say(session, buf_str(&text), text.len, err);
}

static int place(struct leader *leader, struct log_request *request, const char *task_id,
                 const struct json *options, struct err *err)
{
	struct session *session = leader_session(leader, request->node_id);

	if (!session)
		return err_set(err, ERR_UNAVAILABLE, "node %s is not connected", request->node_id);
	if (ask(session, request, task_id, options, err) < 0)
		return -1;
	make_room(leader);
	LIST_INSERT_HEAD(&leader->requests, request, next);
	return 0;
}

int leader_logs(struct leader *leader, const char *node_id, const char *task_id,
                const struct json *options, struct err *err)
{
	int fds[2];
	char hex[ID_HEX_MAX];
	struct log_request *request = calloc(1, sizeof(*request));

	if (!request)
		return err_nomem(err);
	snprintf(request->id, sizeof(request->id), "%.32s", id_make_hex(hex));
	snprintf(request->node_id, sizeof(request->node_id), "%s", node_id);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
		free(request);
		return err_sys(err, "socket pair");
	}
	request->fd = fds[1];
	pthread_mutex_lock(&leader->lock);
	int rc = place(leader, request, task_id, options, err);
	pthread_mutex_unlock(&leader->lock);
	if (rc < 0) {
		close(fds[0]);
		close(fds[1]);
		free(request);
		return -1;
	}
	return fds[0];
}

/* Takes the descriptor that waits for this node's answer. */
static int claim(struct leader *leader, const char *id, const char *node_id, struct err *err)
{
	struct log_request *request;
	int fd = -1;

	pthread_mutex_lock(&leader->lock);
	LIST_FOREACH(request, &leader->requests, next)
	{
		if (!str_eq(request->id, id) || !str_eq(request->node_id, node_id))
			continue;
		fd = move_fd(&request->fd);
		drop(request);
		break;
	}
	pthread_mutex_unlock(&leader->lock);
	return fd >= 0 ? fd : err_set(err, ERR_NOT_FOUND, "no such log request");
}

int leader_take_logs(void *ctx, struct http_request *req, struct err *err)
{
	struct leader *leader = ctx;
	const char *peer = leader_peer(req, err);

	if (!peer)
		return -1;
	auto_close int fd = claim(leader, http_arg(req, 0), peer, err);
	if (fd < 0)
		return -1;
	auto_free char *data = malloc(COPY_SIZE);
	if (!data)
		return err_nomem(err);
	for (;;) {
		ssize_t got = http_body_read(req, data, COPY_SIZE, err);

		if (got < 0)
			return -1;
		if (got == 0)
			return http_reply_empty(req, 204);
		for (ssize_t at = 0; at < got;) {
			ssize_t sent = send(fd, data + at, (size_t)(got - at), MSG_NOSIGNAL);

			if (sent <= 0)
				return err_set(err, ERR_CANCELED, "nobody reads any more");
			at += sent;
		}
	}
}
