/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/executor_logs.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"
#include "base/str.h"
#include "engine/container.h"

#define VIEW_ARENA (8u << 20)
#define RECORD_MAX (1u << 20)

struct output {
	int fd;
	bool timestamps;
	char details[300]; /* "com.docker.swarm.node.id=..., ... " or "" */
};

static bool is_set(const struct json *options, const char *key)
{
	const char *text = json_get_string(options, key);

	return text && (str_eq(text, "1") || str_eq(text, "true") || str_eq(text, "True"));
}

static int read_time(const struct json *options, const char *key, int64_t *ns, struct err *err)
{
	const char *text = json_get_string(options, key);

	return str_empty(text) || str_eq(text, "0") ? 0 : clock_parse(text, ns, err);
}

static int read_options(const struct json *options, struct container_logs_options *out,
                        struct err *err)
{
	const char *tail = json_get_string(options, "tail");

	*out = (struct container_logs_options){
		.out = is_set(options, "stdout"),
		.err = is_set(options, "stderr"),
		.follow = is_set(options, "follow"),
		.tail = -1,
	};
	if (!str_empty(tail) && !str_eq(tail, "all") &&
	    id_parse_int(tail, "tail", -1, INT64_MAX, &out->tail, err) < 0)
		return -1;
	if (read_time(options, "since", &out->since_ns, err) < 0)
		return -1;
	return read_time(options, "until", &out->until_ns, err);
}

static const char *label(const struct container_view *view, const char *key)
{
	const struct json_strmap *labels = &view->create->config.labels;

	for (size_t i = 0; i < labels->count; i++)
		if (str_eq(labels->items[i].key, key))
			return labels->items[i].value;
	return "";
}

static int send_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);

		if (sent <= 0)
			return -1;
		data += sent;
		len -= (size_t)sent;
	}
	return 0;
}

static int send_record(void *arg, int number, int64_t time_ns, const char *data, size_t len)
{
	struct output *out = arg;
	auto_buf struct buf frame = BUF_INIT(RECORD_MAX);
	char when[CLOCK_TEXT_MAX];
	const unsigned char empty[8] = {(unsigned char)number};

	buf_add_mem(&frame, empty, sizeof(empty));
	if (out->timestamps)
		buf_addf(&frame, "%s ", clock_format(time_ns, when));
	buf_add(&frame, out->details);
	buf_add_mem(&frame, data, len);
	if (buf_check(&frame, NULL) < 0)
		return -1;
	size_t size = frame.len - sizeof(empty);
	for (int i = 0; i < 4; i++)
		frame.data[4 + i] = (char)(size >> (24 - 8 * i));
	return send_all(out->fd, frame.data, frame.len);
}

int executor_logs(struct engine *engine, const char *container_id, const struct json *options,
                  int fd, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(VIEW_ARENA);
	struct container_logs_options what;
	struct container_view view;
	struct output out = {.fd = fd, .timestamps = is_set(options, "timestamps")};

	if (read_options(options, &what, err) < 0 ||
	    container_inspect(engine, container_id, false, &arena, &view, err) < 0)
		return -1;
	if (is_set(options, "details"))
		snprintf(out.details, sizeof(out.details),
		         "com.docker.swarm.node.id=%s,com.docker.swarm.service.id=%s,"
		         "com.docker.swarm.task.id=%s ",
		         label(&view, "com.docker.swarm.node.id"),
		         label(&view, "com.docker.swarm.service.id"),
		         label(&view, "com.docker.swarm.task.id"));
	what.cancel_fd = fd;
	return container_logs(engine, container_id, &what, send_record, &out, err);
}
