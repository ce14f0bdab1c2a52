/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * progress - image_progress as the JSON lines that docker draws bars from.
 *
 * The stream begins with the first line, so that what fails before it can still be answered with a status.
 */

#include "image/image.h"

struct err;
struct http_request;
struct http_stream;
struct json;

struct progress {
	struct http_request *req;
	struct http_stream *stream; /* NULL until the first line */
	struct json *heading;       /* sent before the first line; owned, may be NULL */
};

/* An image_progress that writes to p. */
struct image_progress progress_of(struct progress *p);
/* Begins the stream if need be, and sends one line (takes doc). -1: the peer is gone. */
int progress_send(struct progress *p, struct json *doc, struct err *err);
/* Ends the answer: with rc < 0 the error goes as last line, or as status if nothing was sent
 * (then -1 is returned for the server to answer). */
int progress_end(struct progress *p, int rc, const struct err *why);
