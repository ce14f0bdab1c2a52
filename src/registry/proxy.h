/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * proxy - repositories of an upstream, fetched when somebody asks for them and kept.
 *
 * A manifest by digest and a blob are kept as long as the cache has room; a tag is asked for again when its time
 * (upstream-ttl) is up, and what is here is served when the upstream does not answer. A blob streams to who asks for it
 * while it is stored; who asks for the same one meanwhile reads along. The last byte is held back until the digest
 * has proved right. A fetch goes on when its clients leave.
 *
 * All calls may come from any thread and block on the network.
 */

#include <stdbool.h>

#include "base/cleanup.h"

struct buf;
struct err;
struct http_request;
struct proxy;
struct registry;

/* NULL without an error in *err when no upstream is configured; `err` must be given. `r` is borrowed. */
struct proxy *proxy_open(struct registry *r, struct err *err);
/* Ends what is being fetched; requests that wait for it fail. Accepts NULL. */
void proxy_stop(struct proxy *p);
void proxy_free(struct proxy *p); /* after proxy_stop(); waits */
DEFINE_AUTO(proxy)

/* Is the repository an upstream's? Its URL, or NULL. Accepts NULL. */
const char *proxy_covers(const struct proxy *p, const char *name);

/* Makes our copy as good as it can be. 0: look it up now; 1: the same, but the upstream did not answer and it may be
 * old. -1: ERR_NOT_FOUND, ERR_UNAVAILABLE, ERR_DENIED, ... */
int proxy_manifest(struct proxy *p, const char *name, const char *reference, struct err *err);
/* Answers with a blob that we do not have. */
int proxy_blob(struct proxy *p, struct http_request *req, const char *name, const char *digest,
               struct err *err);
/* Fetches it anew, and waits. */
int proxy_fetch(struct proxy *p, const char *name, const char *digest, struct err *err);

void proxy_write_metrics(struct proxy *p, struct buf *out);
