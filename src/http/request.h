/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * request - one request in the making: what server, body, reply and hijack share.
 *
 * Lives on the stack of its connection's thread. Its life: http_request_run()
 * reads the head, finds the route, collects the body if the route wants it so,
 * calls the route, and makes sure that there was an answer.
 */

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/buf.h"
#include "http/conn.h"
#include "http/parse.h"
#include "http/server.h"

#define HTTP_HEAD_TIMEOUT_MS  10000 /* first to last byte of a request's head, or a handshake */
#define HTTP_BODY_TIMEOUT_MS  60000 /* a collected body */
#define HTTP_STALL_TIMEOUT_MS 60000 /* a peer that does not take its answer */

struct http_stream {
	struct http_request *req;
	int closed_fd; /* owned; an epoll of "peer hung up" and "server stops" */
	bool raw;      /* HTTP/1.0: no chunks, the end of the connection ends it */
	bool open;
};

enum http_body_state {
	HTTP_BODY_PLAIN,      /* body_left bytes to come */
	HTTP_BODY_CHUNK_SIZE, /* a size line comes next */
	HTTP_BODY_CHUNK,      /* body_left bytes of this chunk to come */
	HTTP_BODY_CHUNK_END,  /* CRLF behind a chunk */
	HTTP_BODY_END,
	HTTP_BODY_BROKEN,
};

struct http_request {
	struct http_conn *conn;
	const struct http_server_options *options;
	struct arena arena;
	struct http_head head;
	const char *path; /* into head.path, behind the version */
	unsigned version;
	char *args[HTTP_ARGS_MAX];
	size_t arg_count;
	struct http_field *query; /* decoded */
	size_t query_count;

	enum http_body_state body_state;
	uint64_t body_left;
	bool owes_continue; /* the client waits for "100 Continue" */
	struct buf body;    /* collected */
	pthread_t feeder;   /* copies the body into a pipe */
	int feed_fd;        /* its write end */
	bool has_feeder;
	atomic_bool feeder_done;
	struct err feeder_err;

	struct buf extra; /* header lines for the answer */
	bool is_head, keep_alive, answered, hijacked;
	int status; /* of the answer */
	struct http_stream stream;
	int pair_fd; /* our end when a hijacked connection needs carrying; -1 */
	pthread_t pair_up, pair_down;
};

/* Serves the next request of the connection. True: another may follow. */
bool http_request_run(struct http_conn *conn, const struct http_server_options *options);

/* ---- body.c ---- */

void http_body_init(struct http_request *req);
/* Reads all of it into req->body. ERR_LIMIT when it is too large. */
int http_body_collect(struct http_request *req, struct err *err);
/* Has every byte of it been read? */
bool http_body_finished(struct http_request *req);
/* Waits for the feeder, if there is one. */
void http_body_done(struct http_request *req);

/* ---- reply.c ---- */

/* Frees and ends what a route left open. */
void http_reply_done(struct http_request *req);
/* Docker's error body with `status`. */
int http_reply_err(struct http_request *req, int status, const struct err *err);

/* ---- hijack.c ---- */

void http_hijack_done(struct http_request *req);

/* Starts a joinable thread in which every signal is blocked. */
int http_thread_start(pthread_t *thread, void *(*fn)(void *), void *arg, struct err *err);
