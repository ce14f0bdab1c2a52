/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* streams - framing and options that container, exec and service streams share. */

#include <stdbool.h>
#include <stddef.h>

struct container_logs_options;
struct err;
struct http_request;
struct http_stream;

/* Content-Type of stdio: framed without a terminal, for clients that know the name (1.42). */
const char *streams_type(const struct http_request *req, bool tty);
/* One of Docker's frames: number 1 or 2. -1 when the peer is gone. */
int streams_frame(struct http_stream *stream, int number, const char *data, size_t len);
/* stdout, stderr, follow, since, until, tail, timestamps of a query. */
int streams_log_options(struct http_request *req, struct container_logs_options *out,
                        bool *timestamps, struct err *err);
