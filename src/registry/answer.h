/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * answer - errors in the words of the distribution specification:
 * {"errors":[{"code":"BLOB_UNKNOWN","message":"..."}]}.
 */

#include <stdbool.h>

struct buf;
struct err;
struct http_request;

/* Answers with one error of the specification's codes. Always 0, so that a route may return it. */
int answer_error(struct http_request *req, int status, const char *code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Is it that the disk is full? */
bool answer_is_full(const struct err *err);
/* Answers for err: what the disk, a quota or a limit has said. */
int answer_err(struct http_request *req, const struct err *err);

/* For the server's own errors (struct http_server_options, error_body). */
void answer_body(int status, const char *message, struct buf *out);
