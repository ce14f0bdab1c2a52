/* SPDX-License-Identifier: Apache-2.0 */
#include "http/request.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "http/route.h"
#include "http/status.h"

#define TLS_HANDSHAKE   0x16 /* the first byte that a TLS client sends */
#define ARENA_MAX       (512u << 10)
#define EXTRA_MAX       (16u << 10)
#define QUERY_PAIRS_MAX 256
#define LINGER_MS       3000

/* ---- what a route may ask ---- */

const char *http_method(const struct http_request *req)
{
	return req->head.method;
}

const char *http_path(const struct http_request *req)
{
	return req->path;
}

unsigned http_version(const struct http_request *req)
{
	return req->version;
}

const char *http_arg(const struct http_request *req, size_t index)
{
	return index < req->arg_count ? req->args[index] : NULL;
}

const char *http_query_at(const struct http_request *req, const char *key, size_t index)
{
	for (size_t i = 0; i < req->query_count; i++)
		if (str_eq(req->query[i].name, key) && index-- == 0)
			return req->query[i].value;
	return NULL;
}

const char *http_query(const struct http_request *req, const char *key)
{
	return http_query_at(req, key, 0);
}

bool http_query_next(const struct http_request *req, size_t *at, const char **key,
                     const char **value)
{
	if (*at >= req->query_count)
		return false;
	*key = req->query[*at].name;
	*value = req->query[*at].value;
	++*at;
	return true;
}

size_t http_query_count(const struct http_request *req, const char *key)
{
	size_t n = 0;

	for (size_t i = 0; i < req->query_count; i++)
		n += str_eq(req->query[i].name, key);
	return n;
}

int http_query_bool(const struct http_request *req, const char *key, bool otherwise, bool *value,
                    struct err *err)
{
	static const char *const yes[] = {"1", "t", "T", "true", "True", "TRUE", "yes", "on"};
	static const char *const no[] = {"", "0", "f", "F", "false", "False", "FALSE", "no", "off"};
	const char *text = http_query(req, key);

	if (!text) {
		*value = otherwise;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(yes); i++)
		if (str_eq(text, yes[i])) {
			*value = true;
			return 0;
		}
	for (size_t i = 0; i < ARRAY_LEN(no); i++)
		if (str_eq(text, no[i])) {
			*value = false;
			return 0;
		}
	return err_set(err, ERR_INVALID, "bad %s=\"%s\": it must be 1, true, 0 or false", key,
	               text);
}

int http_query_int(const struct http_request *req, const char *key, int64_t otherwise,
                   int64_t *value, struct err *err)
{
	const char *text = http_query(req, key);
	char *end = NULL;

	if (str_empty(text)) {
		*value = otherwise;
		return 0;
	}
	errno = 0;
	long long n = strtoll(text, &end, 10);
	if (errno || *end || end == text || strspn(text, "+-0123456789") != strlen(text))
		return err_set(err, ERR_INVALID, "bad %s=\"%s\": it must be a whole number", key,
		               text);
	*value = n;
	return 0;
}

const char *http_header(const struct http_request *req, const char *name)
{
	return http_parse_field(&req->head, name);
}

static const char *verified(const struct http_request *req, const char *text)
{
	return req->conn->peer.verified && text[0] ? text : NULL;
}

const char *http_peer_fingerprint(const struct http_request *req)
{
	return verified(req, req->conn->peer.fingerprint);
}

const char *http_peer_name(const struct http_request *req)
{
	return verified(req, req->conn->peer.name);
}

const char *http_peer_role(const struct http_request *req)
{
	return verified(req, req->conn->peer.role);
}

const char *http_peer_address(const struct http_request *req)
{
	return req->conn->peer.address;
}

int http_peer_uid(const struct http_request *req)
{
	return req->conn->peer.uid;
}

/* ---- one request from start to end ---- */

static int decode_pair(struct http_request *req, const char *text, size_t len, struct err *err)
{
	const char *eq = memchr(text, '=', len);
	size_t name_len = eq ? (size_t)(eq - text) : len;
	struct http_field *pair = &req->query[req->query_count];

	pair->name = http_parse_escapes(text, name_len, true, &req->arena, err);
	pair->value = http_parse_escapes(eq ? eq + 1 : "", eq ? len - name_len - 1 : 0, true,
	                                 &req->arena, err);
	if (!pair->name || !pair->value)
		return -1;
	req->query_count++;
	return 0;
}

static int decode_query(struct http_request *req, struct err *err)
{
	const char *p = req->head.query;

	if (str_empty(p))
		return 0;
	req->query = arena_array(&req->arena, QUERY_PAIRS_MAX, sizeof(*req->query), err);
	if (!req->query)
		return -1;
	for (;;) {
		size_t len = strcspn(p, "&");

		if (len > 0 && req->query_count == QUERY_PAIRS_MAX)
			return err_set(err, ERR_INVALID, "more than %d query parameters",
			               QUERY_PAIRS_MAX);
		if (len > 0 && decode_pair(req, p, len, err) < 0)
			return -1;
		if (p[len] == '\0')
			return 0;
		p += len + 1;
	}
}

static int decode_args(struct http_request *req, const struct http_route_match *match,
                       struct err *err)
{
	for (size_t i = 0; i < match->count; i++) {
		req->args[i] = http_parse_escapes(match->args[i].text, match->args[i].len, false,
		                                  &req->arena, err);
		if (!req->args[i])
			return -1;
	}
	req->arg_count = match->count;
	return 0;
}

/* The bytes of a request that are here already; line ends before it do not count (RFC 9112, 2.2). */
static const char *peek_request(struct http_conn *conn, size_t *len)
{
	const char *data = http_conn_peek(conn, len);

	while (*len >= 2 && data[0] == '\r' && data[1] == '\n') {
		http_conn_skip(conn, 2);
		data = http_conn_peek(conn, len);
	}
	return data;
}

static int status_of_fill(enum err_kind kind)
{
	return kind == ERR_LIMIT ? 431 : kind == ERR_TIMEOUT ? 408 : 500;
}

/* Reads the head into the arena. 1: done; 0: the client has closed; -1: answered or hopeless. */
static int read_head(struct http_request *req, struct err *err)
{
	int64_t deadline = clock_mono_ms() + HTTP_HEAD_TIMEOUT_MS;
	int status = 400;

	for (;;) {
		size_t len = 0;
		const char *data = peek_request(req->conn, &len);
		size_t end = http_parse_head_end(data, len);
		if (end > 0) {
			char *text = arena_memdup(&req->arena, data, end, err);

			http_conn_skip(req->conn, end);
			if (text && http_parse_head(text, end, &req->head, &status, err) == 0)
				return 1;
			break;
		}
		if (len > 0 && data[0] == TLS_HANDSHAKE) { /* it will never have an end */
			err_set(err, ERR_INVALID, "TLS to a port that speaks plain HTTP");
			break;
		}

		struct err why = ERR_INIT;
		ssize_t n = http_conn_fill(req->conn, HTTP_HEAD_MAX, deadline, &why);
		if (n > 0)
			continue;
		if (n == 0 && len == 0)
			return 0;
		if (n == 0 || why.kind == ERR_CANCELED)
			return -1;
		status = status_of_fill(why.kind);
		err_set(err, why.kind, "request header: %s", why.msg);
		break;
	}
	req->keep_alive = false;
	req->body_state = HTTP_BODY_BROKEN;
	http_reply_err(req, status, err);
	return -1;
}

/* The route for the request, with its arguments. NULL: it is answered. */
static const struct http_route *find_route(struct http_request *req)
{
	const struct http_server_options *options = req->options;
	struct http_route_match match;
	struct err err = ERR_INIT;

	req->path = req->head.path;
	if (options->version_max > 0 &&
	    http_route_version(&req->path, options->version_min, options->version_max,
	                       &req->version, &err) < 0) {
		http_reply_err(req, 400, &err);
		return NULL;
	}
	if (req->version == 0)
		req->version = options->version_max;

	http_route_find(options->routes, req->head.method, req->path, &match);
	if (!match.route) {
		http_reply_error(req, match.other_method ? 405 : 404,
		                 match.other_method ? "method not allowed" : "page not found");
		return NULL;
	}
	if (decode_args(req, &match, &err) < 0 || decode_query(req, &err) < 0) {
		http_reply_err(req, http_status_of(err.kind), &err);
		return NULL;
	}
	return match.route;
}

static bool collect_body(struct http_request *req)
{
	struct err err = ERR_INIT;

	if (http_body_collect(req, &err) == 0)
		return true;
	http_reply_err(req,
	               err.kind == ERR_LIMIT     ? 413
	               : err.kind == ERR_TIMEOUT ? 408
	                                         : http_status_of(err.kind),
	               &err);
	return false;
}

static void log_request(const struct http_request *req, const struct err *err, int64_t took_ns)
{
	enum log_level level = err->kind == ERR_NONE || http_status_of(err->kind) < 500 ||
	                                       err->kind == ERR_UNSUPPORTED
	                               ? LOG_LEVEL_DEBUG
	                               : LOG_LEVEL_WARN;

	log_write(req->options->log, level, "request", "method=%s path=%s ms=%" PRId64 "%s%s",
	          req->head.method, req->path, took_ns / 1000000,
	          err->kind == ERR_NONE ? "" : " error=", err->kind == ERR_NONE ? "" : err->msg);
}

static void call_route(struct http_request *req, const struct http_route *route)
{
	struct err err = ERR_INIT;
	int64_t start_ns = clock_mono_ns();

	if (route->fn(req->options->ctx, req, &err) < 0) {
		if (!req->answered)
			http_reply_err(req, http_status_of(err.kind), &err);
	} else if (!req->answered) {
		err_set(&err, ERR_INTERNAL, "the request got no answer");
		http_reply_err(req, 500, &err);
	}
	log_request(req, &err, clock_mono_ns() - start_ns);
	if (req->options->observe)
		req->options->observe(req->options->ctx, req, req->status,
		                      clock_mono_ns() - start_ns);
}

static void answer(struct http_request *req)
{
	struct err err = ERR_INIT;

	if (read_head(req, &err) <= 0)
		return;
	req->keep_alive = req->head.keep_alive;
	req->is_head = str_eq(req->head.method, "HEAD");
	http_body_init(req);

	const struct http_route *route = find_route(req);
	if (route && (route->streams_body || collect_body(req)))
		call_route(req, route);
}

bool http_request_run(struct http_conn *conn, const struct http_server_options *options)
{
	struct http_request req = {
		.conn = conn,
		.options = options,
		.arena = ARENA_INIT(ARENA_MAX),
		.body = BUF_INIT(HTTP_BODY_MAX),
		.extra = BUF_INIT(EXTRA_MAX),
		.pair_fd = -1,
		.feed_fd = -1,
		.path = "",
	};

	answer(&req);
	http_reply_done(&req);
	http_hijack_done(&req);
	http_body_done(&req);
	arena_done(&req.arena);

	bool more = req.keep_alive && req.answered && req.body_state == HTTP_BODY_END &&
	            !atomic_load(&conn->broken);
	if (!more && req.answered)
		http_conn_linger(conn, LINGER_MS);
	return more;
}
