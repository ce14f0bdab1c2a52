/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* swarm - the daemon's cluster half: its life, and what the rest of the daemon asks of it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct control;
struct daemon;
struct err;
struct http_request;
struct json;
struct member_init;

/* Sets d->member and d->executor: goes on with the cluster this machine was in. The engine is open. */
int swarm_open(struct daemon *d, struct err *err);
/* After the API's servers have stopped, before the engine is closed. Containers live on. */
void swarm_close(struct daemon *d);

/* The cluster's routes: answered here by whoever leads, else sent to the manager that does. `fn`. */
int swarm_dispatch(void *ctx, struct http_request *req, struct err *err);

/* The Swarm header of /_ping: "inactive", "active/worker", "active/manager" ... Never NULL. */
const char *swarm_ping_state(struct daemon *d);
/* The "Swarm" object of /info. The caller owns it; NULL only for lack of memory. */
struct json *swarm_info(struct daemon *d);

/* ---- for the other routes of the cluster ---- */

/* Texts of the certificates for a store. */
struct store_files {
	struct buf ca, cert, key;
};
void swarm_drop_files(struct store_files *files);
/* "Store" and "StoreTLS" of a request, or else the daemon's own; init borrows from `files`. */
int swarm_read_store(struct daemon *d, const struct json *body, struct store_files *files,
                     struct member_init *init, struct err *err);

/* The "version" of an update: `what` ("service") is for the message. */
int swarm_read_version(struct http_request *req, const char *what, uint64_t *version,
                       struct err *err);
/* The filters of the query; owned. NULL with err set when they are not understood. */
struct json *swarm_read_filters(struct http_request *req, struct err *err);
/* Calls fn with the control plane locked, and answers 200 with what it appended to out. */
int swarm_show(struct daemon *d, struct http_request *req,
               int (*fn)(struct control *c, struct http_request *req, struct buf *out,
                         struct err *err),
               struct err *err);
/* Calls fn with the control plane locked, and answers 200 with nothing. */
int swarm_change(struct daemon *d, struct http_request *req,
                 int (*fn)(struct control *c, struct http_request *req, struct err *err),
                 struct err *err);
/* Answers in Docker's words: update conflicts are 500, taken names 409. Gives -1 or the answer's 0. */
int swarm_fail(struct http_request *req, struct err *err);
