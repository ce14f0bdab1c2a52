/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * server - HTTP/1.1 over unix sockets, TCP and TLS; one thread per connection.
 *
 *	static const struct http_route routes[] = {
 *		{"GET", "/_ping", ping},
 *		{"POST", "/containers/{}/start", container_start},
 *		{NULL},
 *	};
 *
 * A route's function runs on the connection's thread and may block. It answers
 * exactly once: http_reply*(), http_stream_begin() ... , or http_hijack(). A
 * function that returns -1 without having answered is answered for:
 * {"message": err.msg} with the status of err.kind (http/status.h).
 *
 * "{}" in a pattern matches one path segment, "{*}" one or more (image names
 * contain slashes; the match is the longest that lets the rest fit). Both are
 * percent-decoded. The table is searched from the top: of two patterns that fit,
 * the earlier wins. A leading "/vN.NN" is taken off and parsed into
 * http_version() when the server has version bounds.
 *
 * Limits: header 64 KiB within 10 s, a collected body 16 MiB within 60 s,
 * connections per server and per address. Every thread that starts here has all
 * signals blocked and HTTP_STACK_SIZE of stack.
 *
 * GnuTLS stands behind this file; docs/design/002-http-server.md says why the
 * HTTP part is ours.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"

struct buf;
struct json;
struct log;

struct http_request;
struct http_server;
struct http_stream;

#define HTTP_ARGS_MAX   4
#define HTTP_STACK_SIZE (1u << 20)
#define HTTP_BODY_MAX   (16u << 20) /* bytes a JSON body may have */

typedef int http_fn(void *ctx, struct http_request *req, struct err *err);

struct http_route {
	const char *method; /* GET also serves HEAD unless HEAD has a route; NULL ends the table */
	const char *pattern;
	http_fn *fn;
	bool streams_body; /* the function reads the body with http_body_read(); else it is
	                    * collected first, up to HTTP_BODY_MAX (413 beyond) */
};

struct http_server_options {
	const struct http_route *routes;
	void *ctx; /* handed to every route */
	struct log *log;
	unsigned version_min; /* e.g. 124 for API 1.24; 0: paths carry no version */
	unsigned version_max;
	/* Headers put on every response, errors included. NULL-terminated pairs, or NULL. */
	const char *const *headers;
	/* TLS, all PEM text; NULL cert_pem: plain. client_ca_pem: certificates are asked for and
	 * verified against it; `client_optional`: a request without (or with an unknown)
	 * certificate is let through with peer_cert NULL and the route decides. */
	const char *cert_pem, *key_pem, *client_ca_pem;
	bool client_optional;
	unsigned connections_max; /* 0: 4096 */
	/* Writes the JSON body of an error in the service's own form; NULL: {"message": message}. */
	void (*error_body)(int status, const char *message, struct buf *out);
	/* Called behind each answer of a route, for counting. May be NULL. */
	void (*observe)(void *ctx, const struct http_request *req, int status, int64_t took_ns);
};

/* Serves an already listening socket (owned from now on). Returns at once. */
struct http_server *http_server_start(int listen_fd, const struct http_server_options *options,
                                      struct err *err);
/* Connections from now on get this certificate, and are asked for one of client_ca_pem's (NULL: as the server was
 * started); those that are open keep theirs. On failure the old one stays. ERR_INVALID: the texts do not fit; the server
 * must have been started with TLS. */
int http_server_renew_tls(struct http_server *server, const char *cert_pem, const char *key_pem,
                          const char *client_ca_pem, struct err *err);
/* Stops accepting, waits for running requests (streams see http_closed()), frees. */
void http_server_stop(struct http_server *server);

/* A listening TCP socket on "IP:PORT" / "[v6]:PORT" (port 0: any). ERR_CONFLICT when taken. */
int http_listen_tcp(const char *address, struct err *err);
/* Chosen port of a TCP socket. */
int http_listen_port(int fd);

/* ---- the request; everything borrowed until the function returns ---- */

const char *http_method(const struct http_request *req);
const char *http_path(const struct http_request *req); /* version taken off, not decoded */
unsigned http_version(const struct http_request *req); /* 141 for /v1.41; version_max if none */
const char *http_arg(const struct http_request *req, size_t index); /* the index-th {} */
const char *http_query(const struct http_request *req,
                       const char *key); /* decoded; NULL if absent */
size_t http_query_count(const struct http_request *req, const char *key);
const char *http_query_at(const struct http_request *req, const char *key, size_t index);
/* Walks the decoded query in order. Start with *at = 0; false at the end. */
bool http_query_next(const struct http_request *req, size_t *at, const char **key,
                     const char **value);
/* 1 t true True yes on -> true; 0 f false False no off and "" -> false; absent -> otherwise;
 * anything else ERR_INVALID. */
int http_query_bool(const struct http_request *req, const char *key, bool otherwise, bool *value,
                    struct err *err);
int http_query_int(const struct http_request *req, const char *key, int64_t otherwise,
                   int64_t *value, struct err *err);
const char *http_header(const struct http_request *req, const char *name);
/* SHA-256 of the peer certificate's DER as hex, its common name and its organisational
 * unit, or NULL where there is no verified certificate. */
const char *http_peer_fingerprint(const struct http_request *req);
const char *http_peer_name(const struct http_request *req);
const char *http_peer_role(const struct http_request *req);
const char *
http_peer_address(const struct http_request *req); /* "10.0.0.2"; "" for a unix socket */
int http_peer_uid(const struct http_request *req); /* unix socket: uid; else -1 */

/* The collected body. */
const char *http_body(const struct http_request *req, size_t *len);
/* The collected body as a JSON object the caller owns. An empty body gives an empty object. */
struct json *http_body_json(const struct http_request *req, struct err *err);
/* streams_body routes: blocks for up to len bytes. 0 at the end, -1 when the peer went away. */
ssize_t http_body_read(struct http_request *req, void *data, size_t len, struct err *err);
/* A read end of a pipe that carries the streamed body (an internal thread feeds it). The caller
 * closes it. Not mixed with http_body_read(). */
int http_body_fd(struct http_request *req, struct err *err);
/* After the pipe's end of file: 0 if the body was complete, -1 if the peer went away in it. (A pipe
 * cannot tell.) */
int http_body_check(struct http_request *req, struct err *err);

/* ---- answering ---- */

/* Extra header for the coming answer. */
int http_reply_header(struct http_request *req, const char *name, const char *value,
                      struct err *err);
/* Whole answers; these return 0 even if the peer is gone. */
int http_reply(struct http_request *req, int status, const char *type, const void *data,
               size_t len);
int http_reply_json(struct http_request *req, int status, struct json *doc); /* takes doc */
int http_reply_buf(struct http_request *req, int status,
                   struct buf *json_text); /* takes the text */
int http_reply_empty(struct http_request *req, int status);
int http_reply_error(struct http_request *req, int status, const char *message);
/* len bytes of a file from offset on, straight from the page cache where there is no TLS. Should the file
 * be shorter, the connection ends in the middle of it: the client sees that something is missing. */
int http_reply_file(struct http_request *req, int status, const char *type, int fd, uint64_t offset,
                    uint64_t len);

/* The same of a file that is still being written: grown(arg, at) waits until there is something behind `at`, and says up to
 * where; -1 or no more: there will be nothing, and the connection ends. NULL: the file is whole. */
struct http_growing {
	int fd;
	uint64_t offset, len;
	int64_t (*grown)(void *arg, uint64_t at);
	void *arg;
};
int http_reply_growing(struct http_request *req, int status, const char *type,
                       const struct http_growing *file);

/* A chunked answer: the headers are on the wire when this returns. NULL if the peer is gone. */
struct http_stream *http_stream_begin(struct http_request *req, int status, const char *type,
                                      struct err *err);
/* Sends and flushes. -1 (ERR_CANCELED) when the peer went away. */
int http_stream_write(struct http_stream *stream, const void *data, size_t len, struct err *err);
int http_stream_json(struct http_stream *stream, struct json *doc,
                     struct err *err); /* takes doc; adds "\r\n" */
/* A descriptor that becomes readable (POLLHUP/POLLIN) when the peer goes away or the server
 * stops: for poll(2) beside what the function waits for. Borrowed. */
int http_stream_closed_fd(struct http_stream *stream);
bool http_stream_closed(struct http_stream *stream);
void http_stream_end(struct http_stream *stream); /* always call it, also after failure */

/* Takes the connection over (Docker's hijack): sends 101 UPGRADED with Upgrade: tcp when the
 * client asked to upgrade, else 200, then gives the socket (blocking; a socket pair that two threads
 * serve when the connection is TLS). The caller shuts down and closes it with http_hijack_end(),
 * before the route returns. Reading EOF means: the client sent all it has, not: it went away. */
int http_hijack(struct http_request *req, const char *type, struct err *err);
void http_hijack_end(struct http_request *req, int fd);
