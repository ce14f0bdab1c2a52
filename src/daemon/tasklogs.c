/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/tasklogs.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "cluster/member.h"
#include "cluster/service.h"
#include "cluster/task.h"
#include "daemon/daemon.h"
#include "daemon/streams.h"

#define SOURCES_MAX 256 /* tasks whose output one request may carry */
#define HEAD_SIZE   8   /* of a frame */
#define FRAME_MAX   (2u << 20)
#define READ_SIZE   (32u << 10)

/* A task's stream of frames; only whole ones are passed on, for they come in between one another. */
struct source {
	char task_id[ID_SWARM_MAX], node_id[ID_SWARM_MAX];
	int fd; /* -1: ended */
	struct buf pending;
};

struct sources {
	struct source items[SOURCES_MAX];
	size_t count;
	bool tty; /* their output has no frames for the client */
};

/* ---- which tasks ---- */

static void add(struct sources *s, const struct task *t)
{
	if (s->count == SOURCES_MAX || str_empty(t->node_id) || t->status.state < TASK_STARTING)
		return;
	struct source *source = &s->items[s->count++];
	snprintf(source->task_id, sizeof(source->task_id), "%s", t->id);
	snprintf(source->node_id, sizeof(source->node_id), "%s", t->node_id);
	source->fd = -1;
	source->pending = BUF_INIT(FRAME_MAX);
	s->tty = t->spec.container.tty;
}

static int tasks_of_service(struct daemon *d, const char *ref, struct sources *s, struct err *err)
{
	struct control *c = member_enter(d->member, err);
	const struct task *t;

	if (!c)
		return -1;
	const struct service *service = service_find(c, ref, err);
	for (size_t at = 0; service && (t = control_next_task(c, &at)) != NULL;)
		if (str_eq(t->service_id, service->id))
			add(s, t);
	member_exit(d->member);
	return service ? 0 : -1;
}

static int one_task(struct daemon *d, const char *ref, struct sources *s, struct err *err)
{
	struct control *c = member_enter(d->member, err);

	if (!c)
		return -1;
	const struct task *t = task_find(c, ref, err);
	if (t)
		add(s, t);
	member_exit(d->member);
	return t ? 0 : -1;
}

/* ---- copying ---- */

static struct json *options_of(struct http_request *req)
{
	static const char *const keys[] = {"stdout", "stderr", "follow",     "since",
	                                   "until",  "tail",   "timestamps", "details"};
	struct json *doc = json_object();

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (!str_empty(http_query(req, keys[i])))
			json_set(doc, keys[i], json_string(http_query(req, keys[i])));
	return doc;
}

static size_t frame_size(const struct buf *b)
{
	const unsigned char *head = (const unsigned char *)b->data;

	if (b->len < HEAD_SIZE)
		return SIZE_MAX;
	return HEAD_SIZE +
	       ((size_t)head[4] << 24 | (size_t)head[5] << 16 | (size_t)head[6] << 8 | head[7]);
}

/* Sends the whole frames that are there. -1: the client is gone. */
static int pass_on(struct source *source, struct http_stream *stream, bool tty)
{
	struct buf *b = &source->pending;
	size_t at = 0;

	for (;;) {
		struct buf rest = {.data = b->data + at, .len = b->len - at, .max = b->max};
		size_t size = frame_size(&rest);

		if (size > rest.len)
			break;
		size_t head = tty ? HEAD_SIZE : 0;
		if (size > HEAD_SIZE &&
		    http_stream_write(stream, rest.data + head, size - head, NULL) < 0)
			return -1;
		at += size;
	}
	memmove(b->data, b->data + at, b->len - at);
	b->len -= at;
	return 0;
}

static void end(struct source *source)
{
	if (source->fd >= 0)
		close(source->fd);
	source->fd = -1;
	buf_free(&source->pending);
}

static int take(struct source *source, struct http_stream *stream, bool tty)
{
	char data[READ_SIZE];
	ssize_t got = read(source->fd, data, sizeof(data));

	if (got <= 0) {
		end(source);
		return 0;
	}
	buf_add_mem(&source->pending, data, (size_t)got);
	if (buf_check(&source->pending, NULL) < 0) { /* no frame is that long */
		end(source);
		return 0;
	}
	return pass_on(source, stream, tty);
}

static void copy_all(struct sources *s, struct http_stream *stream)
{
	struct pollfd fds[SOURCES_MAX + 1];

	for (;;) {
		size_t open = 0;

		for (size_t i = 0; i < s->count; i++) {
			fds[i] = (struct pollfd){.fd = s->items[i].fd, .events = POLLIN};
			open += s->items[i].fd >= 0;
		}
		fds[s->count] =
			(struct pollfd){.fd = http_stream_closed_fd(stream), .events = POLLIN};
		if (open == 0 || (poll(fds, s->count + 1, -1) < 0 && errno != EINTR) ||
		    fds[s->count].revents != 0)
			return;
		for (size_t i = 0; i < s->count; i++)
			if (fds[i].revents != 0 && s->items[i].fd >= 0 &&
			    take(&s->items[i], stream, s->tty) < 0)
				return;
	}
}

static int run(struct daemon *d, struct http_request *req, struct sources *s, struct err *err)
{
	auto_type(json) options = options_of(req);
	struct http_stream *stream = http_stream_begin(req, 200, streams_type(req, s->tty), err);

	if (!stream)
		return -1;
	for (size_t i = 0; i < s->count; i++) {
		struct source *source = &s->items[i];
		struct err why = ERR_INIT;

		source->fd =
			member_logs(d->member, source->node_id, source->task_id, options, &why);
		if (source->fd < 0)
			log_info(d->log, "output of a task not available", "task=%s reason=%s",
			         source->task_id, why.msg);
	}
	copy_all(s, stream);
	http_stream_end(stream);
	return 0;
}

static int serve(struct daemon *d, struct http_request *req,
                 int (*fill)(struct daemon *d, const char *ref, struct sources *s, struct err *err),
                 struct err *err)
{
	struct sources *s = calloc(1, sizeof(*s));

	if (!s)
		return err_nomem(err);
	int rc = fill(d, http_arg(req, 0), s, err);
	if (rc == 0)
		rc = run(d, req, s, err);
	for (size_t i = 0; i < s->count; i++)
		end(&s->items[i]);
	free(s);
	return rc;
}

int tasklogs_service(struct daemon *d, struct http_request *req, struct err *err)
{
	return serve(d, req, tasks_of_service, err);
}

int tasklogs_task(struct daemon *d, struct http_request *req, struct err *err)
{
	return serve(d, req, one_task, err);
}
