/* SPDX-License-Identifier: Apache-2.0 */
/* What streams from a container: attach, wait, logs, stats. */

#include "daemon/streams.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "daemon/daemon.h"
#include "daemon/relay.h"
#include "engine/container.h"
#include "engine/engine.h"

#define VIEW_ARENA    (4u << 20)
#define RECORD_MAX    (1u << 20) /* bytes of a log record with what we put before it */
#define STATS_PERIOD  1000       /* ms */
#define RAW_STREAM    "application/vnd.docker.raw-stream"
#define FRAMED_STREAM "application/vnd.docker.multiplexed-stream"

const char *streams_type(const struct http_request *req, bool tty)
{
	return !tty && http_version(req) >= 142 ? FRAMED_STREAM : RAW_STREAM;
}

/* ---- attach ---- */

static int attach(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	struct container_attach_options what = {0};
	struct relay_keys keys;
	bool stream;

	if (http_query_bool(req, "stream", false, &stream, err) < 0 ||
	    http_query_bool(req, "stdin", false, &what.in, err) < 0 ||
	    http_query_bool(req, "stdout", false, &what.out, err) < 0 ||
	    http_query_bool(req, "stderr", false, &what.err, err) < 0 ||
	    http_query_bool(req, "logs", false, &what.logs, err) < 0 ||
	    relay_keys_parse(http_query(req, "detachKeys"), &keys, err) < 0)
		return -1;
	auto_type(container_attach) attachment =
		container_attach_begin(d->engine, http_arg(req, 0), &what, err);
	if (!attachment)
		return -1;
	bool tty = container_attach_tty(attachment);
	int client = http_hijack(req, streams_type(req, tty), err);
	if (client < 0)
		return -1;
	/* The client attaches before it starts: this may take until it does. */
	auto_close int process = container_attach_end(attachment, client, NULL);
	if (process >= 0) {
		if (!what.in)
			shutdown(process, SHUT_WR);
		(void)relay_run(client, process, tty && what.in ? &keys : NULL);
	}
	http_hijack_end(req, client);
	return 0;
}

/* ---- wait ---- */

static int read_condition(struct http_request *req, enum container_condition *condition,
                          struct err *err)
{
	const char *text = http_query(req, "condition");

	*condition = CONTAINER_NOT_RUNNING;
	if (str_empty(text) || strcmp(text, "not-running") == 0)
		return 0;
	if (strcmp(text, "next-exit") == 0)
		*condition = CONTAINER_NEXT_EXIT;
	else if (strcmp(text, "removed") == 0)
		*condition = CONTAINER_REMOVED;
	else
		return err_set(err, ERR_INVALID,
		               "invalid condition: \"%s\" (not-running, next-exit or removed)",
		               text);
	return 0;
}

/* The waiter stands before the headers go out, and they go out before it waits: docker run starts the container
 * only when it has read them. */
static int wait_for(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	enum container_condition condition;
	struct container_exit result = {0};
	struct err why = ERR_INIT;

	if (read_condition(req, &condition, err) < 0)
		return -1;
	auto_type(container_wait) wait =
		container_wait_begin(d->engine, http_arg(req, 0), condition, err);
	if (!wait)
		return -1;
	struct http_stream *stream = http_stream_begin(req, 200, "application/json", err);
	if (!stream)
		return -1;
	int rc = container_wait_end(wait, http_stream_closed_fd(stream), &result, &why);
	if (rc == 0 || why.kind != ERR_CANCELED) {
		struct json *doc = json_object();
		struct json *error = json_null();
		if (rc < 0 || *result.error) {
			json_free(error);
			error = json_object();
			json_set(error, "Message", json_string(rc < 0 ? why.msg : result.error));
		}
		json_set(doc, "StatusCode", json_int(rc < 0 ? -1 : result.code));
		json_set(doc, "Error", error);
		(void)http_stream_json(stream, doc, NULL);
	}
	http_stream_end(stream);
	return 0;
}

/* ---- logs ---- */

struct log_output {
	struct http_stream *stream;
	bool tty, timestamps;
	const char *details; /* "a=b,c=d " or "" */
};

int streams_frame(struct http_stream *stream, int number, const char *data, size_t len)
{
	unsigned char head[8] = {(unsigned char)number};

	head[4] = (unsigned char)(len >> 24);
	head[5] = (unsigned char)(len >> 16);
	head[6] = (unsigned char)(len >> 8);
	head[7] = (unsigned char)len;
	auto_buf struct buf frame = BUF_INIT(RECORD_MAX + sizeof(head));
	buf_add_mem(&frame, head, sizeof(head));
	buf_add_mem(&frame, data, len);
	if (buf_check(&frame, NULL) < 0)
		return -1;
	return http_stream_write(stream, frame.data, frame.len, NULL);
}

static int send_record(void *arg, int number, int64_t time_ns, const char *data, size_t len)
{
	struct log_output *out = arg;
	auto_buf struct buf record = BUF_INIT(RECORD_MAX);
	char when[CLOCK_TEXT_MAX];

	if (out->timestamps)
		buf_addf(&record, "%s ", clock_format(time_ns, when));
	buf_add(&record, out->details);
	buf_add_mem(&record, data, len);
	if (buf_check(&record, NULL) < 0)
		return -1;
	if (out->tty)
		return http_stream_write(out->stream, record.data, record.len, NULL);
	return streams_frame(out->stream, number, record.data, record.len);
}

static int log_time(struct http_request *req, const char *key, int64_t *ns, struct err *err)
{
	const char *text = http_query(req, key);

	*ns = 0;
	if (str_empty(text) || strcmp(text, "0") == 0)
		return 0;
	return clock_parse(text, ns, err) < 0 ? err_wrap(err, "%s", key) : 0;
}

int streams_log_options(struct http_request *req, struct container_logs_options *out,
                        bool *timestamps, struct err *err)
{
	const char *tail = http_query(req, "tail");

	*out = (struct container_logs_options){.tail = -1};
	if (http_query_bool(req, "stdout", false, &out->out, err) < 0 ||
	    http_query_bool(req, "stderr", false, &out->err, err) < 0 ||
	    http_query_bool(req, "follow", false, &out->follow, err) < 0 ||
	    http_query_bool(req, "timestamps", false, timestamps, err) < 0 ||
	    log_time(req, "since", &out->since_ns, err) < 0 ||
	    log_time(req, "until", &out->until_ns, err) < 0)
		return -1;
	if (!out->out && !out->err)
		return err_set(err, ERR_INVALID,
		               "Bad parameters: you must choose at least one stream");
	if (!str_empty(tail) && strcmp(tail, "all") != 0 &&
	    id_parse_int(tail, "tail", -1, INT64_MAX, &out->tail, err) < 0)
		return -1;
	return 0;
}

static int logs(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_arena struct arena arena = ARENA_INIT(VIEW_ARENA);
	struct container_logs_options options;
	struct container_view view;
	struct log_output out = {.details = ""};

	if (streams_log_options(req, &options, &out.timestamps, err) < 0 ||
	    container_inspect(d->engine, http_arg(req, 0), false, &arena, &view, err) < 0)
		return -1;
	if (strcmp(view.create->host.log_config.type ? view.create->host.log_config.type : "",
	           "none") == 0)
		return err_set(err, ERR_UNSUPPORTED,
		               "configured logging driver does not support reading");
	out.tty = view.create->config.tty;
	out.stream = http_stream_begin(req, 200, streams_type(req, out.tty), err);
	if (!out.stream)
		return -1;
	options.cancel_fd = http_stream_closed_fd(out.stream);
	struct err why = ERR_INIT;
	if (container_logs(d->engine, view.id, &options, send_record, &out, &why) < 0 &&
	    why.kind != ERR_CANCELED)
		log_warn(d->log, "logs ended early", "container=%s reason=%s", view.id, why.msg);
	http_stream_end(out.stream);
	return 0;
}

/* ---- stats ---- */

static struct json *zero_reading(void)
{
	struct json *usage = json_object();
	struct json *doc = json_object();

	json_set(usage, "total_usage", json_int(0));
	json_set(usage, "usage_in_kernelmode", json_int(0));
	json_set(usage, "usage_in_usermode", json_int(0));
	json_set(doc, "cpu_usage", usage);
	return doc;
}

/* A reading with the one before in "precpu_stats": clients divide differences. */
static struct json *read_stats(struct daemon *d, const char *ref, struct json **before,
                               struct err *err)
{
	struct json *doc = container_stats(d->engine, ref, err);

	if (!doc)
		return NULL;
	json_set(doc, "precpu_stats", *before ? json_ref(*before) : zero_reading());
	json_free(*before);
	*before = json_get(doc, "cpu_stats") ? json_ref(json_get(doc, "cpu_stats")) : NULL;
	return doc;
}

static int stats(void *ctx, struct http_request *req, struct err *err)
{
	struct daemon *d = ctx;
	auto_type(json) before = NULL;
	bool follow, one_shot;

	if (http_query_bool(req, "stream", true, &follow, err) < 0 ||
	    http_query_bool(req, "one-shot", false, &one_shot, err) < 0)
		return -1;
	struct json *doc = read_stats(d, http_arg(req, 0), &before, err);
	if (!doc)
		return -1;
	if (!follow) {
		if (!one_shot) { /* a difference needs two */
			json_free(doc);
			clock_sleep_ms(STATS_PERIOD);
			doc = read_stats(d, http_arg(req, 0), &before, err);
		}
		return doc ? http_reply_json(req, 200, doc) : -1;
	}
	struct http_stream *stream = http_stream_begin(req, 200, "application/json", err);
	if (!stream) {
		json_free(doc);
		return -1;
	}
	while (doc && http_stream_json(stream, doc, NULL) == 0) {
		struct pollfd gone = {.fd = http_stream_closed_fd(stream), .events = POLLIN};
		if (poll(&gone, 1, STATS_PERIOD) != 0)
			break;
		doc = read_stats(d, http_arg(req, 0), &before, NULL);
	}
	http_stream_end(stream);
	return 0;
}

const struct http_route streams_routes[] = {
	{"POST", "/containers/{}/attach", attach, false},
	{"POST", "/containers/{}/wait", wait_for, false},
	{"GET", "/containers/{}/logs", logs, false},
	{"GET", "/containers/{}/stats", stats, false},
	{NULL, NULL, NULL, false},
};
