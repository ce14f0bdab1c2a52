/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * plain - HTTP/1.1 over a unix socket, for client.c.
 *
 * A command line lives for a few milliseconds, and libcurl with all that it brings along takes longer
 * than that to load. Between two ends that are both ours, on one machine, there are no proxies,
 * redirects to elsewhere, certificates or names; this is what is left: one connection that is kept, a
 * request with a body that may be streamed, an answer that may come while the body still goes.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"

struct err;
struct http_call;
struct http_plain;
struct http_response;

struct http_plain *http_plain_create(const char *path, struct err *err);
void http_plain_free(struct http_plain *plain);
DEFINE_AUTO(http_plain)

struct http_plain_request {
	const struct http_call *call; /* method, path, headers, body */
	const char *user_agent;
	int64_t timeout_ms;             /* whole call; 0: none */
	int64_t stall_ms;               /* no byte for so long: give up; 0: none */
	struct http_response *response; /* gets status and headers; the body goes to on_body() */
	int (*on_head)(void *arg, struct err *err);
	int (*on_body)(void *arg, const char *data, size_t len, struct err *err);
	void *arg;
};

/* Blocks. A kept connection that the server has ended in between is made anew. -1: ERR_UNAVAILABLE (nobody
 * listens, the connection broke), ERR_TIMEOUT, ERR_INVALID (not HTTP), ERR_CANCELED, or what a
 * callback said. */
int http_plain_run(struct http_plain *plain, const struct http_plain_request *request,
                   struct err *err);
