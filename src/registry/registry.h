/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * registry - the parts of the program as one thing that the routes share.
 *
 * Routes are in api_*.c; each begins with registry_admit(), the one gate that knows names, users, rules and
 * the read-only mode.
 */

#include <stdatomic.h>

#include "http/server.h"
#include "registry/access.h"
#include "registry/blobs.h"
#include "registry/metrics.h"
#include "registry/repo.h"
#include "registry/settings.h"
#include "registry/upload.h"

struct log;
struct proxy;
struct quotas;
struct scrub;
struct tokens;
struct webhooks;

struct registry {
	const struct settings *settings;
	struct log *log;
	struct blobs blobs;
	struct repos *repos;
	struct uploads *uploads;
	struct access *access;
	struct quotas *quotas;     /* NULL: none */
	struct proxy *proxy;       /* NULL: no upstream */
	struct webhooks *webhooks; /* NULL: none */
	struct tokens *tokens;     /* NULL: none are asked for */
	struct metrics metrics;
	struct scrub *_Atomic scrub; /* the thread that runs; NULL: none yet */
};

enum registry_action {
	REGISTRY_PULL,
	REGISTRY_PUSH,
	REGISTRY_DELETE,
};

/* Opens everything below the root. `settings` and `log` are borrowed. */
int registry_open(struct registry *r, const struct settings *settings, struct log *log,
                  struct err *err);
void registry_close(struct registry *r);

/* Stands for the list of all repositories where a rule or the gate wants a name. */
#define REGISTRY_CATALOG "_catalog"
#define REGISTRY_METRICS "_metrics" /* the same for what it counts */

/* May this request do that with the repository? False: it is answered. `name` may be any text;
 * NULL: the registry as such. */
bool registry_admit(struct registry *r, struct http_request *req, const char *name,
                    enum registry_action action);

/* The same question without an answer to the client, for a second repository that a request names. */
bool registry_may(struct registry *r, struct http_request *req, const char *name,
                  enum registry_action action);

/* Where the client came to: "https://host:port". */
struct buf;
void registry_origin(const struct registry *r, const struct http_request *req, struct buf *out);
/* Who a request that was admitted is from. False: nobody in particular. */
bool registry_actor(struct registry *r, const struct http_request *req, char user[ACCESS_USER_MAX]);

/* The table for http_server_options.routes; its functions want a struct registry as ctx. */
extern const struct http_route registry_routes[];

/* A blob as an answer, with the range that the request names. `grown`: see http_reply_growing(); NULL: it is all there. */
struct api_blob {
	int fd;
	uint64_t size;
	const char *digest;
	int64_t (*grown)(void *arg, uint64_t at);
	void *grown_arg;
};
int api_blob_send(struct http_request *req, const struct api_blob *blob,
                  struct err *err); /* api_blob.c */

/* ---- the routes, by the file they are in ---- */

http_fn api_blob_get, api_blob_delete;                                         /* api_blob.c */
http_fn api_upload_begin, api_upload_status, api_upload_chunk, api_upload_end, /* api_upload.c */
	api_upload_cancel;
http_fn api_manifest_get, api_manifest_put, api_manifest_delete; /* api_manifest.c */
http_fn api_version, api_tags, api_catalog, api_referrers;       /* api_list.c */
http_fn api_page, api_page_css, api_page_js;                     /* api_page.c */
http_fn api_token;                                               /* api_token.c */
