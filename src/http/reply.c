/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/str.h"
#include "http/request.h"
#include "http/status.h"

#define REPLY_HEAD_MAX (32u << 10)

#define DATE_MAX       40
#define FILE_BLOCK     (64u << 10)
#define JSON_REPLY_MAX (256u << 20)

/* ---- the head ---- */

/* Spelt out: strftime() would follow the locale. */
static char *format_date(char text[DATE_MAX])
{
	static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
	                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t now = time(NULL);
	struct tm tm = {0};

	gmtime_r(&now, &tm);
	snprintf(text, DATE_MAX, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday],
	         tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
	         tm.tm_sec);
	return text;
}

static void begin_head(struct http_request *req, int status, const char *type, struct buf *head)
{
	char date[DATE_MAX];
	const char *const *pair = req->options->headers;

	/* Whoever has not read the whole request cannot find the next one. */
	if (!http_body_finished(req))
		req->keep_alive = false;
	req->answered = true;
	req->status = status;
	buf_addf(head, "HTTP/1.1 %d %s\r\nDate: %s\r\n", status, http_status_text(status),
	         format_date(date));
	for (; pair && pair[0]; pair += 2)
		buf_addf(head, "%s: %s\r\n", pair[0], pair[1]);
	if (type)
		buf_addf(head, "Content-Type: %s\r\n", type);
	if (req->extra.len > 0)
		buf_add_mem(head, req->extra.data, req->extra.len);
}

static void end_head(const struct http_request *req, struct buf *head)
{
	if (!req->keep_alive)
		buf_add(head, "Connection: close\r\n");
	else if (req->head.minor == 0)
		buf_add(head, "Connection: keep-alive\r\n");
	buf_add(head, "\r\n");
}

int http_reply_header(struct http_request *req, const char *name, const char *value,
                      struct err *err)
{
	if (!http_parse_token_ok(name) || !http_parse_value_ok(value))
		return err_set(err, ERR_INVALID, "reply header %s: control character", name);
	buf_addf(&req->extra, "%s: %s\r\n", name, value);
	return buf_check(&req->extra, err);
}

/* ---- whole answers ---- */

static bool status_has_body(int status)
{
	return status >= 200 && status != 204 && status != 304;
}

int http_reply(struct http_request *req, int status, const char *type, const void *data, size_t len)
{
	auto_buf struct buf head = BUF_INIT(REPLY_HEAD_MAX);
	bool body = status_has_body(status);

	if (req->answered)
		return 0;
	begin_head(req, status, body ? type : NULL, &head);
	if (body)
		buf_addf(&head, "Content-Length: %zu\r\n", len);
	end_head(req, &head);

	struct iovec iov[2] = {{head.data, head.len}, {(void *)data, len}};
	size_t count = body && len > 0 && !req->is_head ? 2 : 1;
	if (buf_check(&head, NULL) < 0 ||
	    http_conn_write(req->conn, iov, count, HTTP_STALL_TIMEOUT_MS, NULL) < 0)
		req->keep_alive = false;
	return 0;
}

/* How far the file can be sent: more than `at`, or no more than that. */
static uint64_t end_of(const struct http_growing *file, uint64_t at)
{
	if (!file->grown)
		return file->offset + file->len;
	int64_t end = file->grown(file->arg, at);
	return end < 0 ? 0 : (uint64_t)end;
}

/* Sends what lies in the file, in pieces that stay in the processor's cache. */
static int send_file(struct http_request *req, const struct http_growing *file)
{
	auto_free char *block = malloc(FILE_BLOCK);
	uint64_t at = file->offset, end = at + file->len, ready = at;

	if (!block)
		return -1;
	while (at < end) {
		if (at >= ready)
			ready = end_of(file, at);
		if (ready > end)
			ready = end;
		if (at >= ready)
			return -1;
		size_t want = ready - at < FILE_BLOCK ? (size_t)(ready - at) : FILE_BLOCK;
		ssize_t n = pread(file->fd, block, want, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) /* shorter than announced, or unreadable */
			return -1;
		struct iovec iov = {block, (size_t)n};
		if (http_conn_write(req->conn, &iov, 1, HTTP_STALL_TIMEOUT_MS, NULL) < 0)
			return -1;
		at += (uint64_t)n;
	}
	return 0;
}

int http_reply_growing(struct http_request *req, int status, const char *type,
                       const struct http_growing *file)
{
	auto_buf struct buf head = BUF_INIT(REPLY_HEAD_MAX);

	if (req->answered)
		return 0;
	begin_head(req, status, type, &head);
	buf_addf(&head, "Content-Length: %" PRIu64 "\r\n", file->len);
	end_head(req, &head);

	struct iovec iov = {head.data, head.len};
	if (buf_check(&head, NULL) < 0 ||
	    http_conn_write(req->conn, &iov, 1, HTTP_STALL_TIMEOUT_MS, NULL) < 0 ||
	    (!req->is_head && send_file(req, file) < 0))
		req->keep_alive = false;
	return 0;
}

int http_reply_file(struct http_request *req, int status, const char *type, int fd, uint64_t offset,
                    uint64_t len)
{
	return http_reply_growing(req, status, type,
	                          &(struct http_growing){.fd = fd, .offset = offset, .len = len});
}

int http_reply_empty(struct http_request *req, int status)
{
	return http_reply(req, status, NULL, NULL, 0);
}

int http_reply_buf(struct http_request *req, int status, struct buf *json_text)
{
	auto_buf struct buf text = *json_text;

	*json_text = BUF_INIT(json_text->max);
	if (text.failure)
		return http_reply_error(req, 500, "the answer is too large or memory is short");
	return http_reply(req, status, "application/json", buf_str(&text), text.len);
}

int http_reply_json(struct http_request *req, int status, struct json *doc)
{
	auto_type(json) owned = doc;
	auto_buf struct buf text = BUF_INIT(JSON_REPLY_MAX);

	if (!doc)
		return http_reply_error(req, 500, "out of memory");
	if (json_write(doc, &text, NULL) < 0)
		return http_reply_error(req, 500, "the answer cannot be written as JSON");
	buf_add(&text, "\n");
	return http_reply_buf(req, status, &text);
}

/* Messages may quote anything a client sent; JSON holds UTF-8 only. */
static struct json *message_of(const char *message)
{
	struct json *text = json_string(message);

	if (text)
		return text;

	char plain[ERR_MSG_MAX];
	snprintf(plain, sizeof(plain), "%s", message);
	for (char *p = plain; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	return json_string(plain);
}

int http_reply_error(struct http_request *req, int status, const char *message)
{
	static const char last_resort[] = "{\"message\":\"out of memory\"}\n";
	auto_type(json) doc = NULL;
	auto_buf struct buf text = BUF_INIT(REPLY_HEAD_MAX);

	if (req->options->error_body) {
		req->options->error_body(status, message, &text);
		return http_reply(req, status, "application/json", buf_str(&text), text.len);
	}
	doc = json_object();
	if (json_set(doc, "message", message_of(message)) < 0 || json_write(doc, &text, NULL) < 0)
		return http_reply(req, 500, "application/json", last_resort,
		                  sizeof(last_resort) - 1);
	buf_add(&text, "\n");
	return http_reply(req, status, "application/json", buf_str(&text), text.len);
}

int http_reply_err(struct http_request *req, int status, const struct err *err)
{
	return http_reply_error(req, status, err->kind == ERR_NONE ? "unknown error" : err->msg);
}

/* ---- streams ---- */

static int watch(int epoll_fd, int fd, uint32_t events, struct err *err)
{
	struct epoll_event event = {.events = events};

	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return err_sys(err, "watching a connection");
	return 0;
}

/* Readable when the peer hangs up or the server stops, and not when the peer merely sends. */
static int open_closed_fd(const struct http_conn *conn, struct err *err)
{
	auto_close int fd = epoll_create1(EPOLL_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "watching a connection");
	if (watch(fd, conn->fd, EPOLLRDHUP, err) < 0 || watch(fd, conn->stop_fd, EPOLLIN, err) < 0)
		return -1;
	return move_fd(&fd);
}

struct http_stream *http_stream_begin(struct http_request *req, int status, const char *type,
                                      struct err *err)
{
	struct http_stream *stream = &req->stream;
	auto_buf struct buf head = BUF_INIT(REPLY_HEAD_MAX);

	if (req->answered) {
		err_set(err, ERR_INTERNAL, "the request is answered already");
		return NULL;
	}

	auto_close int closed_fd = open_closed_fd(req->conn, err);
	if (closed_fd < 0)
		return NULL;

	stream->raw = req->head.minor == 0;
	if (stream->raw)
		req->keep_alive = false;
	begin_head(req, status, type, &head);
	if (!stream->raw)
		buf_add(&head, "Transfer-Encoding: chunked\r\n");
	end_head(req, &head);

	struct iovec iov = {head.data, head.len};
	if (buf_check(&head, err) < 0 || http_conn_write(req->conn, &iov, 1, -1, err) < 0) {
		req->keep_alive = false;
		return NULL;
	}
	stream->req = req;
	stream->closed_fd = move_fd(&closed_fd);
	stream->open = true;
	return stream;
}

int http_stream_write(struct http_stream *stream, const void *data, size_t len, struct err *err)
{
	struct http_request *req = stream->req;
	char size[20];
	struct iovec iov[3] = {
		{size, (size_t)snprintf(size, sizeof(size), "%zx\r\n", len)},
		{(void *)data, len},
		{(char[]){'\r', '\n'}, 2},
	};

	if (len == 0 || req->is_head)
		return 0;

	int rc = stream->raw ? http_conn_write(req->conn, iov + 1, 1, -1, err)
	                     : http_conn_write(req->conn, iov, 3, -1, err);
	if (rc < 0)
		req->keep_alive = false;
	return rc;
}

int http_stream_json(struct http_stream *stream, struct json *doc, struct err *err)
{
	auto_type(json) owned = doc;
	auto_buf struct buf text = BUF_INIT(JSON_REPLY_MAX);

	if (!doc)
		return err_nomem(err);
	if (json_write(doc, &text, err) < 0)
		return -1;
	buf_add(&text, "\r\n");
	if (buf_check(&text, err) < 0)
		return -1;
	return http_stream_write(stream, text.data, text.len, err);
}

int http_stream_closed_fd(struct http_stream *stream)
{
	return stream->closed_fd;
}

bool http_stream_closed(struct http_stream *stream)
{
	struct pollfd p = {.fd = stream->closed_fd, .events = POLLIN};

	return atomic_load(&stream->req->conn->broken) || poll(&p, 1, 0) > 0;
}

void http_stream_end(struct http_stream *stream)
{
	static const char text[] = "0\r\n\r\n";
	struct iovec iov = {(void *)text, sizeof(text) - 1};

	if (!stream || !stream->open)
		return;
	stream->open = false;
	close(stream->closed_fd);
	if (!stream->raw && !stream->req->is_head &&
	    http_conn_write(stream->req->conn, &iov, 1, HTTP_STALL_TIMEOUT_MS, NULL) < 0)
		stream->req->keep_alive = false;
}

void http_reply_done(struct http_request *req)
{
	if (req->stream.open) { /* left open: let the client see that the answer is cut */
		req->keep_alive = false;
		req->stream.open = false;
		close(req->stream.closed_fd);
	}
	buf_free(&req->extra);
}
