/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * registry - one repository of a registry, with the credentials to talk to it: the OCI
 * distribution spec's client side.
 *
 *	auto_type(registry) r = registry_open(store, ref, auth, "pull", err);
 *	registry_call(r, &(struct http_call){.method = "GET", .path = path}, NULL, &response, err);
 *
 * A 401 is answered by asking for a token (Bearer) or by the password (Basic), once. Credentials go
 * to the registry's own origin, and to a token server only over https under the same registrable
 * name (or at the same host); nowhere else. A mirror gets none at all. Whether TLS is spoken, and with which
 * certificates: endpoint.h.
 *
 * A call that gets no answer fails with words that say what can be done about it.
 *
 * Manifests, small blobs, tokens and questions are asked for again when the registry is busy (retry.h); what
 * registry_call() runs is the caller's to repeat.
 *
 * One thread at a time; registry_clone() gives another thread its own.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "http/client.h"
#include "image/image.h"

struct err;
struct registry;

#define REGISTRY_CONFIG_MAX (8u << 20) /* bytes of an image's config */

/* actions: "pull", "pull,push", or "" (only to log in). `ref` is copied, auth is borrowed. */
struct registry *registry_open(struct image_store *store, const struct reference *ref,
                               const struct image_auth *auth, const char *actions, struct err *err);
/* The same repository at a mirror ("https://host"), without credentials: what it sends has to be checked. */
struct registry *registry_open_mirror(struct image_store *store, const struct reference *ref,
                                      const char *url, struct err *err);
struct registry *registry_clone(const struct registry *from, struct err *err);
void registry_free(struct registry *r);
DEFINE_AUTO(registry)
const char *registry_host(const struct registry *r); /* "host:port", for messages */

/* "/v2/<repository>/<rest>". Returns path. */
#define REGISTRY_PATH_MAX 640
char *registry_path(const struct registry *r, const char *kind, const char *name,
                    char path[REGISTRY_PATH_MAX]);

/* Runs the call with up to REGISTRY_HEADERS_MAX headers of the caller (NULL-terminated or NULL) and the
 * authorization. A path that is a whole URL of another origin gets none. Status >= 400 is no failure but for
 * 401 and 403 (ERR_DENIED). */
#define REGISTRY_HEADERS_MAX 8
int registry_call(struct registry *r, const struct http_call *call, const char *const *headers,
                  struct http_response *response, struct err *err);

/* A manifest or index by tag or digest: its bytes, its type, its digest (computed). */
struct registry_manifest {
	char *body; /* owned */
	size_t len;
	char type[128]; /* media type, or "" when the registry gave none of use */
	char digest[DIGEST_TEXT_MAX];
};
void registry_manifest_done(struct registry_manifest *m);
int registry_get_manifest(struct registry *r, const char *tag_or_digest,
                          struct registry_manifest *out, struct err *err);
/* A small blob, verified. `size` as its descriptor says. */
int registry_get_blob(struct registry *r, const char *digest, int64_t size, struct buf *out,
                      struct err *err);
/* 1 the registry has the blob, 0 not. */
int registry_has_blob(struct registry *r, const char *digest, struct err *err);
