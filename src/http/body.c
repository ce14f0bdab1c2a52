/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "http/request.h"

#define COPY_SIZE    16384
#define TRAILERS_MAX 64

void http_body_init(struct http_request *req)
{
	const struct http_head *head = &req->head;

	req->body_left = head->length;
	req->body_state = head->chunked ? HTTP_BODY_CHUNK_SIZE : HTTP_BODY_PLAIN;
	if (!head->chunked && head->length == 0)
		req->body_state = HTTP_BODY_END;
	req->owes_continue = head->expects_continue && req->body_state != HTTP_BODY_END;
}

static void send_continue(struct http_request *req)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
	struct iovec iov = {(void *)text, sizeof(text) - 1};

	if (!req->owes_continue)
		return;
	req->owes_continue = false;
	/* If it fails, so does reading the body. */
	(void)http_conn_write(req->conn, &iov, 1, HTTP_STALL_TIMEOUT_MS, NULL);
}

/* The next CRLF-terminated line, copied without its end. Its length, or -1. */
static ssize_t read_line(struct http_request *req, char line[HTTP_CHUNK_LINE_MAX], int64_t deadline,
                         struct err *err)
{
	for (;;) {
		size_t len = 0;
		const char *data = http_conn_peek(req->conn, &len);
		const char *end = memmem(data, len, "\r\n", 2);

		if (end && end - data < HTTP_CHUNK_LINE_MAX) {
			size_t n = (size_t)(end - data);

			memcpy(line, data, n);
			http_conn_skip(req->conn, n + 2);
			return (ssize_t)n;
		}
		if (end || len > HTTP_CHUNK_LINE_MAX)
			return err_set(err, ERR_INVALID, "bad chunk: its line is too long");

		ssize_t got = http_conn_fill(req->conn, HTTP_HEAD_MAX, deadline, err);
		if (got == 0)
			return err_set(err, ERR_CANCELED, "the client went away in its body");
		if (got < 0)
			return -1;
	}
}

static int skip_trailers(struct http_request *req, int64_t deadline, struct err *err)
{
	char line[HTTP_CHUNK_LINE_MAX];

	for (int i = 0; i < TRAILERS_MAX; i++) {
		ssize_t n = read_line(req, line, deadline, err);

		if (n <= 0)
			return (int)n;
	}
	return err_set(err, ERR_INVALID, "more than %d trailers", TRAILERS_MAX);
}

/* From between two chunks into the next, or to the end. */
static int next_chunk(struct http_request *req, int64_t deadline, struct err *err)
{
	char line[HTTP_CHUNK_LINE_MAX];
	ssize_t n = read_line(req, line, deadline, err);

	if (n < 0)
		return -1;
	if (req->body_state == HTTP_BODY_CHUNK_END) {
		if (n > 0)
			return err_set(err, ERR_INVALID, "bad chunk: it is longer than its size");
		req->body_state = HTTP_BODY_CHUNK_SIZE;
		return 0;
	}
	if (http_parse_chunk_size(line, (size_t)n, &req->body_left, err) < 0)
		return -1;
	req->body_state = HTTP_BODY_CHUNK;
	if (req->body_left > 0)
		return 0;
	if (skip_trailers(req, deadline, err) < 0)
		return -1;
	req->body_state = HTTP_BODY_END;
	return 0;
}

static ssize_t read_some(struct http_request *req, void *data, size_t len, int64_t deadline,
                         struct err *err)
{
	size_t want = req->body_left < len ? (size_t)req->body_left : len;
	ssize_t n = http_conn_read(req->conn, data, want, deadline, err);

	if (n == 0)
		return err_set(err, ERR_CANCELED, "the client went away in its body");
	if (n < 0)
		return -1;
	req->body_left -= (uint64_t)n;
	if (req->body_left == 0)
		req->body_state =
			req->body_state == HTTP_BODY_PLAIN ? HTTP_BODY_END : HTTP_BODY_CHUNK_END;
	return n;
}

static ssize_t body_read(struct http_request *req, void *data, size_t len, int64_t deadline,
                         struct err *err)
{
	ssize_t n = 0;

	if (len == 0)
		return 0;
	send_continue(req);
	while (n == 0 && req->body_state != HTTP_BODY_END) {
		if (req->body_state == HTTP_BODY_BROKEN)
			return err_set(err, ERR_CANCELED, "the body is broken");
		if (req->body_state == HTTP_BODY_PLAIN || req->body_state == HTTP_BODY_CHUNK)
			n = read_some(req, data, len, deadline, err);
		else
			n = next_chunk(req, deadline, err);
		if (n < 0)
			req->body_state = HTTP_BODY_BROKEN;
	}
	return n;
}

int http_body_collect(struct http_request *req, struct err *err)
{
	char data[COPY_SIZE];
	int64_t deadline = clock_mono_ms() + HTTP_BODY_TIMEOUT_MS;

	req->body = BUF_INIT(HTTP_BODY_MAX);
	if (req->head.length > HTTP_BODY_MAX)
		return err_set(err, ERR_LIMIT, "request body is larger than %u bytes",
		               HTTP_BODY_MAX);
	for (;;) {
		ssize_t n = body_read(req, data, sizeof(data), deadline, err);

		if (n <= 0)
			return (int)n;
		buf_add_mem(&req->body, data, (size_t)n);
		if (buf_check(&req->body, err) < 0)
			return err_wrap(err, "request body");
	}
}

bool http_body_finished(struct http_request *req)
{
	if (req->has_feeder && !atomic_load(&req->feeder_done))
		return false;
	return req->body_state == HTTP_BODY_END;
}

const char *http_body(const struct http_request *req, size_t *len)
{
	if (len)
		*len = req->body.len;
	return buf_str(&req->body);
}

struct json *http_body_json(const struct http_request *req, struct err *err)
{
	const char *text = buf_str(&req->body);

	if (text[strspn(text, " \t\r\n")] == '\0' && strlen(text) == req->body.len) {
		struct json *empty = json_object();

		if (!empty)
			err_nomem(err);
		return empty;
	}

	auto_type(json) doc = json_parse(text, req->body.len, err);
	if (!doc) {
		err_wrap(err, "request body");
		return NULL;
	}
	if (!json_is_object(doc)) {
		err_set(err, ERR_INVALID, "request body: it must be a JSON object");
		return NULL;
	}
	return move_ptr(doc);
}

ssize_t http_body_read(struct http_request *req, void *data, size_t len, struct err *err)
{
	if (req->has_feeder)
		return err_set(err, ERR_INTERNAL, "the body goes into a pipe already");
	return body_read(req, data, len, -1, err);
}

/* Writes all of it; false when the reader closed its end (SIGPIPE is blocked in this thread). */
static bool feed_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
	return true;
}

/* Its own thread, so that a route can hand the read end to a process and wait for that. */
static void *feed(void *arg)
{
	struct http_request *req = arg;
	char data[COPY_SIZE];
	struct err err = ERR_INIT;
	ssize_t n = 0;

	while ((n = body_read(req, data, sizeof(data), -1, &err)) > 0)
		if (!feed_all(req->feed_fd, data, (size_t)n))
			break;
	if (n < 0)
		req->feeder_err = err;
	atomic_store(&req->feeder_done, true);
	close(req->feed_fd); /* the reader's end of file comes after the verdict */
	return NULL;
}

int http_body_fd(struct http_request *req, struct err *err)
{
	int fds[2];

	if (req->has_feeder)
		return err_set(err, ERR_INTERNAL, "the body goes into a pipe already");
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, "pipe for a request body");

	auto_close int reader = fds[0];
	req->feed_fd = fds[1];
	req->conn->abandon_fd = fds[1]; /* the reader closed its end: stop waiting */
	if (http_thread_start(&req->feeder, feed, req, err) < 0) {
		req->conn->abandon_fd = -1;
		close(fds[1]);
		return -1;
	}
	req->has_feeder = true;
	return move_fd(&reader);
}

int http_body_check(struct http_request *req, struct err *err)
{
	if (!req->has_feeder || !atomic_load(&req->feeder_done))
		return err_set(err, ERR_INTERNAL, "the body has not been read to its end");
	if (req->feeder_err.kind == ERR_NONE)
		return 0;
	if (err)
		*err = req->feeder_err;
	return -1;
}

void http_body_done(struct http_request *req)
{
	if (req->has_feeder) {
		pthread_join(req->feeder, NULL);
		req->conn->abandon_fd = -1;
	}
	buf_free(&req->body);
}
