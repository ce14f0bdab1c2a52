/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * api - calls to buoyd: paths, queries, JSON in and out.
 *
 *	const char *path = api_path(cli, "/containers/", name, "/json", err);
 *	auto_type(json) doc = path ? api_get(cli, path, err) : NULL;
 *
 *	struct buf path = BUF_INIT(API_PATH_MAX);
 *	api_begin(&path, "/containers/", name, "/stop");
 *	api_query(&path, "t", "5");
 *	api_send(cli, "POST", buf_str(&path), NULL, NULL, err);
 *
 * Errors carry the daemon's own words, and a kind that fits its status.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "http/client.h"

#define API_PATH_MAX       (1u << 20)
#define API_VERSION_NUMBER "1.44"
#define API_VERSION        "/v" API_VERSION_NUMBER

struct http_client *api_client(struct cli *cli, struct err *err); /* borrowed */
/* A client of its own, for another thread; the caller frees it. */
struct http_client *api_connect(const struct cli *cli, struct err *err);

/* The version, `before`, the encoded name (may be NULL), `after` (may be NULL). */
void api_begin(struct buf *path, const char *before, const char *name, const char *after);
void api_query(struct buf *path, const char *key, const char *value);
void api_query_int(struct buf *path, const char *key, int64_t value);
/* The same in one, in cli's arena. NULL: no memory. */
const char *api_path(struct cli *cli, const char *before, const char *name, const char *after,
                     struct err *err);
/* --filter key=value... as a "filters" query; nothing when there is none. */
int api_filters(struct buf *path, const struct args *args, struct err *err);
/* The same with one more of our own; key or value NULL: none. */
int api_filters_and(struct buf *path, const struct args *args, const char *key, const char *value,
                    struct err *err);
/* With any of the values (array of strings). */
int api_filters_among(struct buf *path, const struct args *args, const char *key,
                      const struct json *values, struct err *err);
/* One filter: {"key": ["value"]}. */
void api_filter(struct buf *path, const char *key, const char *value);

/* GET of path (from api_begin or api_path); the caller owns the reply. */
struct json *api_get(struct cli *cli, const char *path, struct err *err);
/* Takes ownership of body (may be NULL); *reply may be NULL. */
int api_send(struct cli *cli, const char *method, const char *path, struct json *body,
             struct json **reply, struct err *err);
/* A call whose answer is streamed away; a status >= 400 is an error. */
int api_stream(struct cli *cli, const struct http_call *call, struct err *err);
/* Docker's hijack. The caller closes the descriptor. Takes ownership of body. */
int api_hijack(struct cli *cli, const char *path, struct json *body, struct err *err);
