/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * webhook - tells others what was pushed and deleted, in the distribution project's envelope
 * (application/vnd.docker.distribution.events.v1+json).
 *
 *	webhook = URL [SECRET-FILE]
 *
 * An event goes into a queue of bounded length per URL and leaves from a thread of its own, so no push waits for it. Events
 * of one URL come in order; one that fails is sent again with growing pauses, for about half an hour. 4xx means that it
 * is not wanted (but for 408 and 429). What does not fit into the queue, and what waits when the program ends, is lost,
 * counted and logged: the events are hints, the registry is the truth.
 *
 * With a secret, X-Hub-Signature-256 holds "sha256=" and the HMAC of the body in hex. From any thread.
 */

#include <stdint.h>

#include "base/cleanup.h"

struct buf;
struct err;
struct http_request;
struct registry;
struct webhooks;

/* NULL without an error in *err when there are none; `err` must be given. `r` is borrowed. */
struct webhooks *webhooks_open(struct registry *r, struct err *err);
void webhooks_free(struct webhooks *w); /* accepts NULL */
DEFINE_AUTO(webhooks)

struct webhook_event {
	const char *action; /* "push" or "delete" */
	const char *repository, *digest, *type;
	const char *tag; /* or NULL */
	int64_t size;    /* -1: not known */
};
/* Accepts NULL. Never waits. */
void webhooks_tell(struct webhooks *w, const struct http_request *req,
                   const struct webhook_event *event);
void webhooks_write_metrics(struct webhooks *w, struct buf *out);
